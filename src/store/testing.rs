//! For tests of every module: a store in a directory of its own, a clock that stands still, and ready-made messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::*;
use crate::domain::{Cause, Clock, FaxOptions, NoticeKind, NotifyOn, Outcome};

/// A clock that a test moves by hand.
#[derive(Debug)]
pub(crate) struct ManualClock(AtomicI64);

impl ManualClock {
    /// It begins at a round time in 2027.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_800_000_000_000)))
    }

    /// Time passes.
    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Time jumps, backwards too.
    pub(crate) fn set(&self, to: Timestamp) {
        self.0.store(to.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// An empty store; its directory goes with it.
pub(crate) struct TestStore {
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) directory: tempfile::TempDir,
}

/// An empty SQLite store whose clock stands still.
pub(crate) async fn sqlite() -> TestStore {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::new();
    let path = directory.path().join("faxwell.db");
    let store = SqliteStore::open(path, clock.clone(), SqliteSettings::default()).await.unwrap();
    TestStore { store: Arc::new(store), clock, directory }
}

/// A new life of a node.
pub(crate) fn owner(node: &str) -> Owner {
    Owner { node: node.to_owned(), epoch: uuid::Uuid::new_v4() }
}

/// An inline document.
pub(crate) fn document(bytes: &[u8]) -> DocumentRef {
    DocumentRef {
        key: DocumentKey(Sha256::digest(bytes).into()),
        size_bytes: bytes.len() as u64,
        media: "application/octet-stream".to_owned(),
        inline: Some(bytes.to_vec()),
    }
}

/// A message for these numbers that waits for nothing.
pub(crate) fn message(numbers: &[&str]) -> NewMessage {
    let id = MessageId::new();
    NewMessage {
        id,
        idem_key: None,
        source: Source::Smtp,
        client: "10.0.5.7 (mail.example.com)".to_owned(),
        reverse_path: Some("anna@example.com".to_owned()),
        ret: None,
        envid: None,
        header_message_id: Some(format!("{id}@example.com")),
        subject: "Offer 4711".to_owned(),
        from_name: Some("Anna Meier".to_owned()),
        from_address: Some("anna@example.com".to_owned()),
        automatic: false,
        options: FaxOptions::default(),
        priority: 5,
        raw: document(id.to_string().as_bytes()),
        faxes: numbers.iter().map(|number| fax(number)).collect(),
    }
}

/// One recipient.
pub(crate) fn fax(number: &str) -> NewFax {
    NewFax {
        id: FaxId::new(),
        recipient: format!("{number}@fax.example.com"),
        number: number.parse().unwrap(),
        subaddress: None,
        post_dial: None,
        to_name: None,
        to_company: None,
        original_recipient: None,
        notify: NotifyOn::default(),
        not_before: None,
        give_up_after: Duration::from_secs(3600),
    }
}

/// Pages as a renderer hands them over.
pub(crate) fn pages(page_count: u32) -> RenderedPages {
    RenderedPages { document: document(format!("pages {page_count}").as_bytes()), page_count }
}

/// A notice of this kind.
pub(crate) fn notice(kind: NoticeKind) -> NewNotice {
    let id = NoticeId::new();
    NewNotice {
        id,
        kind,
        recipient: Some("anna@example.com".to_owned()),
        header_message_id: format!("{id}@fax.example.com"),
        withheld: None,
    }
}

/// An end with its notice.
pub(crate) fn end(outcome: Outcome) -> FinalEnd {
    let cause = match outcome {
        Outcome::Sent => None,
        Outcome::Partial => Some(Cause::RemoteHangup),
        Outcome::Failed => Some(Cause::Busy),
        Outcome::Unknown => Some(Cause::ConfirmationLost),
        Outcome::Cancelled => Some(Cause::Cancelled),
    };
    FinalEnd { outcome, cause, detail: None, notice: notice(outcome.into()) }
}

/// An attempt from this page on.
pub(crate) fn attempt(first_page: u32) -> NewAttempt {
    NewAttempt { id: AttemptId::new(), line: "sandbox".to_owned(), first_page }
}

/// The confirmation of this page.
pub(crate) fn confirmed(page: u32) -> ConfirmedPage {
    ConfirmedPage { page, rate_bps: 14_400, ecm: true, duration_ms: 12_000, blocks_resent: 0 }
}

/// How a busy call ends.
pub(crate) fn busy() -> AttemptEnd {
    AttemptEnd {
        sip_code: Some(486),
        detail: "486 Busy Here".to_owned(),
        cause: Some(Cause::Busy),
        ..AttemptEnd::default()
    }
}
