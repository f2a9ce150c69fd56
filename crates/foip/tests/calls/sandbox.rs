//! The agent against the sandbox's far end: every number of the table, in lock-step, with its evidence and its tray.

use std::path::Path;
use std::time::Duration;

use super::common::{Recorder, agent, agent_settings, document, eventually, far_end, order, pages, read, trunk};
use foip::agent::{Agent, AgentSettings};
use foip::call::{CallEvent, CallReport, Transport};
use foip::far_end::FarEnd;
use tokio_util::sync::CancellationToken;

const PAGES: u32 = 3;

struct Sandbox {
    agent: Agent,
    far_end: FarEnd,
    folder: tempfile::TempDir,
}

impl Sandbox {
    async fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        document(folder.path(), &pages(PAGES));
        let ledger = folder.path().join("farend.jsonl");
        let far_end = far_end(&folder.path().join("tray"), Some(ledger)).await;
        Self { agent: agent().await, far_end, folder }
    }

    fn document(&self) -> std::path::PathBuf {
        self.folder.path().join(format!("document-{PAGES}.tif"))
    }

    async fn call(&self, number: &str, fax_id: &str) -> CallReport {
        let mut trunk = trunk(self.far_end.local_addr());
        trunk.reinvite_after = (number == "+99910488").then_some(Duration::from_secs(2));
        let order = order(trunk, number, &self.document(), PAGES, fax_id);
        let call = self.agent.call(order, Box::new(Recorder::default()), CancellationToken::new());
        tokio::time::timeout(Duration::from_secs(60), call).await.unwrap_or_else(|_| panic!("{number} does not end"))
    }

    /// Whatever is in the tray for this fax: its suffix and pages, equal to those sent.
    async fn tray(&self, number: &str, fax_id: &str) -> Option<(&'static str, usize)> {
        let tray = self.folder.path().join("tray");
        eventually("the end of the far end's calls", || self.far_end.dialog_count() == 0).await;
        eventually("the work file's end", || !hidden(&tray, fax_id)).await;
        for suffix in ["tif", "partial.tif"] {
            let path = tray.join(format!("{number}-{fax_id}.{suffix}"));
            if path.exists() {
                let received = read(&path);
                assert_eq!(received, pages(PAGES)[..received.len()], "{number}");
                return Some((suffix, received.len()));
            }
        }
        None
    }
}

fn hidden(tray: &Path, fax_id: &str) -> bool {
    let entries = std::fs::read_dir(tray).expect("the tray");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.into_iter().any(|name| name.starts_with('.') && name.contains(&format!("-{fax_id}~")))
}

/// What a number does: the INVITE's answer, and whatever else is worth saying.
struct Row {
    number: &'static str,
    /// Code, Q.850 cause, whether it rang.
    sip: (u16, Option<u16>, bool),
    confirmed: u32,
    tray: Option<(&'static str, usize)>,
    evidence: fn(&CallReport) -> bool,
}

const OK: (u16, Option<u16>, bool) = (200, None, true);
const WHOLE: Option<(&str, usize)> = Some(("tif", 3));

fn by_t38(report: &CallReport) -> bool {
    report.transport == Some(Transport::T38) && report.all_pages_sent && !report.remote_hung_up
}

fn unanswered(report: &CallReport) -> bool {
    let local = report.sip.as_ref().is_some_and(|sip| sip.local);
    report.t30.is_none() && report.transport.is_none() && !local
}

const ROWS: &[Row] = &[
    Row { number: "+99910200", sip: OK, confirmed: 3, tray: WHOLE, evidence: by_t38 },
    Row { number: "+41441234567", sip: OK, confirmed: 3, tray: WHOLE, evidence: |r| by_t38(r) && r.ecm == Some(true) },
    Row { number: "+99910486", sip: (486, Some(17), false), confirmed: 0, tray: None, evidence: unanswered },
    Row { number: "+99910480", sip: (480, Some(19), true), confirmed: 0, tray: None, evidence: unanswered },
    Row { number: "+99910404", sip: (404, Some(1), false), confirmed: 0, tray: None, evidence: unanswered },
    Row { number: "+99910403", sip: (403, Some(21), false), confirmed: 0, tray: None, evidence: unanswered },
    Row { number: "+99910503", sip: (503, Some(38), false), confirmed: 0, tray: None, evidence: unanswered },
    Row { number: "+99910408", sip: (408, Some(102), false), confirmed: 0, tray: None, evidence: unanswered },
    Row {
        number: "+99910488",
        sip: OK,
        confirmed: 3,
        tray: WHOLE,
        evidence: |r| r.t38_refused && r.transport == Some(Transport::G711),
    },
    Row { number: "+99920001", sip: OK, confirmed: 0, tray: None, evidence: |r| r.remote_hung_up },
    Row {
        number: "+99920003",
        sip: OK,
        confirmed: 2,
        tray: Some(("partial.tif", 2)),
        evidence: |r| r.remote_hung_up && !r.all_pages_sent,
    },
    Row {
        number: "+99920102",
        sip: OK,
        confirmed: 1,
        tray: Some(("partial.tif", 1)),
        evidence: |r| r.page_rejected && !r.all_pages_sent,
    },
    // The far end has it all; the caller cannot know.
    Row { number: "+99920200", sip: OK, confirmed: 2, tray: WHOLE, evidence: |r| r.all_pages_sent },
    Row { number: "+99930001", sip: OK, confirmed: 0, tray: None, evidence: |r| r.voice_heard && !r.fax_seen },
    Row { number: "+99930002", sip: OK, confirmed: 3, tray: WHOLE, evidence: |r| r.ecm == Some(false) },
    Row { number: "+99930003", sip: OK, confirmed: 3, tray: WHOLE, evidence: |r| r.rate_bps == Some(2400) },
    Row { number: "+99930004", sip: OK, confirmed: 0, tray: None, evidence: |r| r.remote_hung_up },
    Row { number: "+99940001", sip: OK, confirmed: 3, tray: WHOLE, evidence: by_t38 },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_number_of_the_sandbox_does_what_it_says() {
    let sandbox = Sandbox::open().await;
    for row in ROWS {
        let number = row.number;
        let fax_id = format!("F{}", &number[1..]);
        let report = sandbox.call(number, &fax_id).await;
        let sip = report.sip.clone().expect("a status");
        assert_eq!((sip.code, sip.q850, sip.rang), row.sip, "{number}: {report:?}");
        assert_eq!(report.last_page_confirmed, row.confirmed, "{number}: {report:?}");
        assert!((row.evidence)(&report), "{number}: {report:?}");
        assert_eq!(report.refused, None, "{number}");
        assert_eq!(sandbox.tray(number, &fax_id).await, row.tray, "{number}: {report:?}");
        eventually("the end of our dialogs", || sandbox.agent.dialog_count() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_fails_the_first_call_takes_the_second_of_the_same_fax() {
    let sandbox = Sandbox::open().await;
    for (fax_id, confirmed) in [("A", 0), ("B", 0), ("A", PAGES), ("B", PAGES)] {
        let report = sandbox.call("+99930004", fax_id).await;
        assert_eq!(report.last_page_confirmed, confirmed, "{fax_id}: {report:?}");
    }
    assert_eq!(sandbox.tray("+99930004", "A").await, WHOLE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_calls_at_once_arrive_and_each_page_is_in_the_ledger() {
    let sandbox = std::sync::Arc::new(Sandbox::open().await);
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..20 {
        let sandbox = sandbox.clone();
        calls.spawn(async move { sandbox.call("+41441234567", &format!("N{n}")).await });
    }
    while let Some(report) = calls.join_next().await {
        let report = report.expect("no panic");
        assert_eq!(report.last_page_confirmed, PAGES, "{report:?}");
    }
    for n in 0..20 {
        assert_eq!(sandbox.tray("+41441234567", &format!("N{n}")).await, WHOLE);
    }
    let ledger = std::fs::read_to_string(sandbox.folder.path().join("farend.jsonl")).expect("a ledger");
    let count = |event: &str, of: &str| {
        let event = format!("\"event\":\"{event}\"");
        ledger.lines().filter(|line| line.contains(&event) && line.contains(of)).count()
    };
    assert_eq!((count("begin", ""), count("page", ""), count("end", "")), (20, 20 * PAGES as usize, 20));
    assert!((0..20).all(|n| count("page", &format!("\"fax_id\":\"N{n}\"")) == PAGES as usize), "{ledger}");
    eventually("the end of our dialogs", || sandbox.agent.dialog_count() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_cancelled_in_the_middle_keeps_what_was_confirmed() {
    let sandbox = Sandbox::open().await;
    let order = order(trunk(sandbox.far_end.local_addr()), "+41441234567", &sandbox.document(), PAGES, "C");
    let (recorder, cancel) = (Recorder::default(), CancellationToken::new());
    let (agent, observer, token) = (sandbox.agent.clone(), recorder.clone(), cancel.clone());
    let call = tokio::spawn(async move { agent.call(order, Box::new(observer), token).await });
    recorder.wait(|event| matches!(event, CallEvent::Page { .. })).await;
    cancel.cancel();
    let report = call.await.expect("no panic");
    assert!((1..=PAGES).contains(&report.last_page_confirmed), "{report:?}");
    let (_, received) = sandbox.tray("+41441234567", "C").await.expect("a file");
    assert!(received >= report.last_page_confirmed as usize, "{report:?}");
    eventually("the end of our dialogs", || sandbox.agent.dialog_count() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_nobody_waits_for_any_more_is_hung_up() {
    let sandbox = Sandbox::open().await;
    for (number, reached) in [("+99940060", CallEvent::Ringing), ("+41441234567", CallEvent::Carried(Transport::T38))] {
        let order = order(trunk(sandbox.far_end.local_addr()), number, &sandbox.document(), PAGES, "W");
        let recorder = Recorder::default();
        let (agent, observer) = (sandbox.agent.clone(), recorder.clone());
        let call = tokio::spawn(async move { agent.call(order, Box::new(observer), CancellationToken::new()).await });
        recorder.wait(|event| *event == reached).await;
        call.abort();
        eventually("the end of our dialogs", || sandbox.agent.dialog_count() == 0).await;
        eventually("the end of the far end's dialogs", || sandbox.far_end.dialog_count() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trunk_over_tcp_carries_a_fax_as_well() {
    let sandbox = Sandbox::open().await;
    let mut trunk = trunk(sandbox.far_end.local_addr());
    trunk.server.push_str(";transport=tcp");
    let order = order(trunk, "+41441234567", &sandbox.document(), PAGES, "T");
    let report = sandbox.agent.call(order, Box::new(Recorder::default()), CancellationToken::new()).await;
    assert_eq!((report.last_page_confirmed, report.transport), (PAGES, Some(Transport::T38)), "{report:?}");
    assert_eq!(sandbox.tray("+41441234567", "T").await, WHOLE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_stops_ends_its_calls() {
    let sandbox = Sandbox::open().await;
    let order = order(trunk(sandbox.far_end.local_addr()), "+99940060", &sandbox.document(), PAGES, "S");
    let recorder = Recorder::default();
    let (agent, observer) = (sandbox.agent.clone(), recorder.clone());
    let call = tokio::spawn(async move { agent.call(order, Box::new(observer), CancellationToken::new()).await });
    recorder.wait(|event| *event == CallEvent::Ringing).await;
    sandbox.agent.stop().await;
    let sip = call.await.expect("no panic").sip.expect("a status");
    assert_eq!((sip.code, sip.local), (487, true));
    eventually("the far end's dialog ends with the CANCEL", || sandbox.far_end.dialog_count() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trunk_where_nobody_listens_is_down_within_seconds() {
    let sandbox = Sandbox::open().await;
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
    let mut trunk = trunk(nobody);
    trunk.invite_timeout = Duration::from_secs(1);
    let order = order(trunk, "+41441234567", &sandbox.document(), PAGES, "D");
    let report = sandbox.agent.call(order, Box::new(Recorder::default()), CancellationToken::new()).await;
    let sip = report.sip.expect("a status");
    assert_eq!((sip.code, sip.local, sip.rang), (408, true, false));
    eventually("the end of our dialogs", || sandbox.agent.dialog_count() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_has_stopped_leaves_its_address_to_the_next_one_at_once() {
    let mut sandbox = Sandbox::open().await;
    let bind = sandbox.agent.local_addr();
    // A call that we end and one that the far end does: each leaves another transaction behind.
    for (time, number) in ["+99910200", "+99920002"].into_iter().enumerate() {
        sandbox.call(number, &format!("F-{time}")).await;
        sandbox.agent.stop().await;
        let settings = AgentSettings { bind, ..agent_settings() };
        sandbox.agent = Agent::start(settings).await.expect("the address that was given back");
    }
}
