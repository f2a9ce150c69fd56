//! What becomes of a fax around its call: before it, without one, and when what the call tells is not what is on record.

use foip::SipStatus;

use super::*;
use crate::documents::DocumentsSettings;
use crate::domain::{AttemptId, FaxId, FaxState, Timestamp};
use crate::store::testing::{self, TestStore};
use crate::store::{Fax, Next};

const NUMBER: &str = "+99910200";
const SECOND: Duration = Duration::from_secs(1);
const LEASE: Duration = CALL_LEASE;

struct Bench {
    test: TestStore,
    agent: LineAgent,
    line: Arc<Line>,
}

impl Bench {
    /// A line whose trunk is a socket that says nothing, and nothing queued.
    async fn new() -> (Self, tokio::net::UdpSocket) {
        let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let test = testing::sqlite().await;
        let data = test.directory.path().to_owned();
        let mut config = Config::sandbox(data.clone(), 1);
        for line in config.sip.values_mut() {
            line.server = silent.local_addr().unwrap().to_string();
        }
        let documents = Documents::open(data.join("documents"), test.store.clone(), DocumentsSettings::default());
        let context = Context {
            store: test.store.clone(),
            documents: Arc::new(documents.unwrap()),
            owner: testing::owner("gw-a"),
            leases: Leases::new(),
            domain: "fax.example.com".to_owned(),
            dial: config.dial.clone(),
            spool: data.join("calls"),
            delivery_hint: Hint::new(),
        };
        std::fs::create_dir(&context.spool).unwrap();
        std::fs::write(context.spool.join("left-by-a-crash.tif"), b"II*").unwrap();
        let agent = LineAgent::start(&config, context, Hint::new()).await.unwrap();
        let line = Arc::clone(agent.lines.values().next().unwrap());
        (Self { test, agent, line }, silent)
    }

    /// A fax of three pages that is ready.
    async fn ready(&self) -> FaxId {
        let message = testing::message(&[NUMBER]);
        let id = message.faxes[0].id;
        let store = &self.test.store;
        store.submit(message).await.unwrap();
        let work = store.claim_render(&testing::owner("renderer"), LEASE).await.unwrap().unwrap();
        store.rendered(id, work.faxes[0].1, testing::pages(3)).await.unwrap();
        id
    }

    /// Its call, claimed and with an attempt on record.
    async fn in_call(&self) -> (call::Call, AttemptId) {
        let store = &self.test.store;
        let work = store.claim_calls(&self.agent.context.owner, 1, LEASE).await.unwrap().remove(0);
        let attempt = testing::attempt(work.fax.pages_confirmed + 1);
        let id = attempt.id;
        store.begin_attempt(work.fax.id, work.token, attempt).await.unwrap();
        let channel = Channel::take(&self.line).unwrap();
        (call::Call::new(self.agent.context.clone(), channel, work, self.agent.stop_calls.child_token()), id)
    }

    async fn fax(&self, id: FaxId) -> Fax {
        self.test.store.fax(id).await.unwrap().fax
    }

    async fn confirm(&self, attempt: AttemptId, pages: std::ops::RangeInclusive<u32>) {
        for page in pages {
            self.test.store.page_confirmed(attempt, testing::confirmed(page)).await.unwrap();
        }
    }
}

/// A call that the gateway broke off itself before anybody answered.
fn given_up() -> foip::CallReport {
    let phrase = "the call was cancelled".to_owned();
    let sip = SipStatus { code: 487, phrase, q850: None, retry_after_s: None, rang: false, local: true };
    foip::CallReport { sip: Some(sip), ..foip::CallReport::default() }
}

#[tokio::test]
async fn a_fax_whose_last_page_was_confirmed_late_is_sent_without_another_call() {
    let (bench, _trunk) = Bench::new().await;
    let fax = bench.ready().await;
    let (call, attempt) = bench.in_call().await;
    call.write_back(attempt, given_up()).await.unwrap();
    assert_eq!(bench.fax(fax).await.state, FaxState::Ready);
    bench.confirm(attempt, 1..=3).await;
    bench.test.clock.advance(3600 * SECOND / 2);
    assert_eq!(bench.agent.step().await.unwrap(), 1);
    let fax = bench.fax(fax).await;
    assert_eq!((fax.state, fax.attempts), (FaxState::Sent, 1));
}

#[tokio::test]
async fn what_is_on_record_decides_and_not_what_the_call_could_tell() {
    // The store took too long over a confirmation, the call was ended for it, and then it was stored after all.
    for (on_record, expected) in [(3, FaxState::Sent), (2, FaxState::Unknown), (0, FaxState::Unknown)] {
        let (bench, _trunk) = Bench::new().await;
        let fax = bench.ready().await;
        let (call, attempt) = bench.in_call().await;
        bench.confirm(attempt, 1..=on_record).await;
        let refused = Some("the store took too long".to_owned());
        let told = foip::CallReport { all_pages_sent: true, last_page_confirmed: 1, refused, ..given_up() };
        call.write_back(attempt, told).await.unwrap();
        assert_eq!(bench.fax(fax).await.state, expected, "{on_record} pages on record");
    }
}

#[tokio::test]
async fn a_call_that_a_drain_ends_is_made_again_however_many_there_were() {
    let (bench, _trunk) = Bench::new().await;
    let fax = bench.ready().await;
    bench.agent.stop_calls.cancel();
    for calls in 1..=9 {
        let (call, attempt) = bench.in_call().await;
        call.write_back(attempt, given_up()).await.unwrap();
        let fax = bench.fax(fax).await;
        assert_eq!((fax.state, fax.attempts), (FaxState::Ready, calls));
    }
    let (call, attempt) = bench.in_call().await;
    bench.confirm(attempt, 1..=2).await;
    let last_page_out = foip::CallReport { all_pages_sent: true, ..given_up() };
    call.write_back(attempt, last_page_out).await.unwrap();
    assert_eq!(bench.fax(fax).await.state, FaxState::Unknown, "nobody can know, drain or not");
}

#[tokio::test]
async fn a_call_that_is_lost_without_a_write_back_is_settled_when_its_lease_ends() {
    let (bench, _trunk) = Bench::new().await;
    let fax = bench.ready().await;
    let (call, _) = bench.in_call().await;
    let context = &bench.agent.context;
    assert_eq!(context.leases.held().len(), 1);
    // As a panic leaves it: the task is gone, the attempt is open.
    drop(call);
    assert!(context.leases.held().is_empty() && bench.line.free() == bench.line.channels);
    bench.test.clock.advance(LEASE);
    context.store.renew(&context.owner, &context.leases.held(), LEASE).await.unwrap();
    assert_eq!(context.store.orphans().await.unwrap()[0].fax.id, fax);
}

#[tokio::test]
async fn a_fax_that_a_call_to_its_number_keeps_from_beginning_is_given_back() {
    let (bench, _trunk) = Bench::new().await;
    let fax = bench.ready().await;
    let store = &bench.test.store;
    let work = store.claim_calls(&bench.agent.context.owner, 1, LEASE).await.unwrap().remove(0);
    // The claim is overtaken: a page is confirmed that it does not know of.
    let earlier = testing::attempt(1);
    store.begin_attempt(fax, work.token, earlier.clone()).await.unwrap();
    let again = Next::Again { not_before: Timestamp(0) };
    store.end_attempt(earlier.id, work.token, testing::busy(), again).await.unwrap();
    let stale = store.claim_calls(&bench.agent.context.owner, 1, LEASE).await.unwrap().remove(0);
    bench.confirm(earlier.id, 1..=1).await;
    bench.agent.start_call(stale).await.unwrap();
    bench.agent.calls.close();
    tokio::time::timeout(20 * SECOND, bench.agent.calls.wait()).await.unwrap();
    let fax = bench.fax(fax).await;
    assert_eq!((fax.state, fax.attempts, fax.not_before > store.now().await.unwrap()), (FaxState::Ready, 1, true));
}

#[tokio::test]
async fn a_dead_trunk_uses_up_no_calls_and_its_faxes_get_their_answer_in_time() {
    let (bench, _trunk) = Bench::new().await;
    let fax = bench.ready().await;
    assert_eq!(bench.agent.step().await.unwrap(), 1);
    bench.agent.calls.close();
    tokio::time::timeout(20 * SECOND, bench.agent.calls.wait()).await.unwrap();
    let waiting = bench.fax(fax).await;
    assert_eq!((waiting.state, waiting.cause), (FaxState::Ready, Some(Cause::LineDown)));
    let soon = bench.test.store.now().await.unwrap().plus(10 * SECOND);
    assert!(waiting.not_before < soon && !bench.line.is_up());
    bench.test.clock.advance(30 * SECOND);
    assert_eq!(bench.agent.step().await.unwrap(), 0, "nothing is tried on a line that is down");
    assert_eq!(bench.agent.give_up_overdue().await.unwrap(), 0);

    bench.test.clock.advance(testing::fax(NUMBER).give_up_after);
    assert_eq!(bench.agent.give_up_overdue().await.unwrap(), 1);
    let record = bench.test.store.fax(fax).await.unwrap();
    assert_eq!((record.fax.state, record.fax.cause), (FaxState::Failed, Some(Cause::LineDown)));
    assert_eq!(record.notices.len(), 1);
}

#[tokio::test]
async fn documents_of_calls_that_a_crash_ended_are_removed_at_the_start() {
    let (bench, _trunk) = Bench::new().await;
    assert_eq!(std::fs::read_dir(&bench.agent.context.spool).unwrap().count(), 0);
}
