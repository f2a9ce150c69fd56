//! The far end as a caller: against a second far end, which answers as a gateway would.

use std::path::Path;

use foip::call::{CallReport, Pace, Transport};
use foip::far_end::{FarEnd, SendFax, SendOutcome, test_document};

use super::common::{eventually, far_end};

const PAGES: u32 = 3;

struct Two {
    here: FarEnd,
    there: FarEnd,
    folder: tempfile::TempDir,
}

impl Two {
    async fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let here = far_end(&path("here"), Some(path("sent.jsonl"))).await;
        let there = far_end(&path("there"), Some(path("received.jsonl"))).await;
        let document = test_document("two", PAGES).expect("three pages");
        std::fs::write(path("document.tif"), document).expect("a writable folder");
        Self { here, there, folder }
    }

    fn fax(&self, number: &str) -> SendFax {
        SendFax {
            gateway: self.there.local_addr(),
            number: number.to_owned(),
            caller: "+41440000001".to_owned(),
            station_id: "+41 44 000 00 01".to_owned(),
            subaddress: None,
            document: self.folder.path().join("document.tif"),
            page_count: PAGES,
            fax_id: None,
            hang_up_in_page: None,
            t38: true,
            ecm: true,
            pace: Pace::LockStep(f32::INFINITY),
        }
    }

    async fn send(&self, fax: SendFax) -> CallReport {
        let report = self.here.send(fax).await.expect("a document and a ledger");
        eventually("the end of the other end's dialogs", || self.there.dialog_count() == 0).await;
        report
    }

    /// What the lines of an event say under a key, as it is written.
    fn ledger(&self, name: &str, event: &str, key: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        let lines = text.lines().filter(|line| line.contains(&format!("{{\"event\":\"{event}\"")));
        let value = |line: &str| {
            let (_, rest) = line.split_once(&format!("\"{key}\":")).unwrap_or_else(|| panic!("no {key} in {line}"));
            rest.split([',', '}']).next().unwrap_or_default().trim_matches('"').to_owned()
        };
        lines.map(value).collect()
    }

    /// Whether the fax lies in the other end's tray, whole or in part.
    fn tray(&self, suffix: &str) -> bool {
        let ends = |path: &Path| path.to_string_lossy().ends_with(suffix);
        let entries = std::fs::read_dir(self.folder.path().join("there")).expect("a tray");
        entries.filter_map(Result::ok).any(|entry| ends(&entry.path()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fax_that_the_far_end_sends_is_in_both_ledgers_with_the_same_pages() {
    for (t38, ecm, transport) in
        [(true, true, Transport::T38), (false, true, Transport::G711), (true, false, Transport::T38)]
    {
        let two = Two::open().await;
        let report = two.send(SendFax { t38, ecm, ..two.fax("+41441234567") }).await;
        assert_eq!(SendOutcome::of(&report, PAGES), SendOutcome::Sent, "{report:?}");
        assert_eq!((report.transport, report.ecm), (Some(transport), Some(ecm)));
        let sent = two.ledger("sent.jsonl", "send-page", "sha256");
        assert_eq!(sent.len(), PAGES as usize);
        assert_eq!(two.ledger("received.jsonl", "page", "sha256"), sent);
        assert_eq!(two.ledger("received.jsonl", "page", "tsi"), ["+41 44 000 00 01"; 3]);
        assert_eq!(two.ledger("received.jsonl", "begin", "caller"), ["+41440000001"]);
        assert_eq!(two.ledger("sent.jsonl", "send-begin", "fax_id"), two.ledger("received.jsonl", "begin", "fax_id"));
        assert_eq!(two.ledger("sent.jsonl", "send-end", "outcome"), ["sent"]);
        eventually("the received call's end", || two.ledger("received.jsonl", "end", "call").len() == 1).await;
        assert!(two.tray(".tif") && !two.tray(".partial.tif"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_hangs_up_in_a_page_leaves_the_pages_before_it() {
    for t38 in [true, false] {
        for page in 1..=PAGES {
            let two = Two::open().await;
            let report = two.send(SendFax { t38, hang_up_in_page: Some(page), ..two.fax("+41441234567") }).await;
            assert_eq!(SendOutcome::of(&report, PAGES), SendOutcome::Broken, "page {page}: {report:?}");
            assert_eq!(two.ledger("sent.jsonl", "send-end", "pages"), [(page - 1).to_string()]);
            let received = two.ledger("received.jsonl", "page", "sha256");
            assert_eq!(received, two.ledger("sent.jsonl", "send-page", "sha256"), "page {page}, T.38 {t38}");
            eventually("the fax in the tray", || two.tray(".partial.tif") == (page > 1)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_not_answered_and_a_document_that_is_none_are_told_apart() {
    let two = Two::open().await;
    let report = two.send(two.fax("+99910486")).await;
    assert_eq!(SendOutcome::of(&report, PAGES), SendOutcome::NotAnswered);
    assert_eq!(two.ledger("sent.jsonl", "send-end", "outcome"), ["not-answered"]);
    let error = two.here.send(SendFax { page_count: PAGES + 1, ..two.fax("+41441234567") }).await;
    assert!(error.is_err_and(|error| error.to_string().contains("it has 3 pages, asked for 4")));
    assert_eq!(two.ledger("sent.jsonl", "send-begin", "call").len(), 1, "no call was made");
}
