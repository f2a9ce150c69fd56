//! How orphaned calls are judged by what their agent still told.

use std::time::Duration;

use super::*;
use crate::domain::{AttemptId, FaxId, FaxState};
use crate::store::testing::{self, TestStore};
use crate::store::{AttemptFact, JournalFact, ParkedFact};

const LEASE: Duration = Duration::from_secs(60);

struct Bench {
    test: TestStore,
    settler: Settler,
    fax: FaxId,
    attempt: AttemptId,
}

impl Bench {
    /// A fax of three pages whose agent has begun a call.
    async fn in_call() -> Self {
        let test = testing::sqlite().await;
        let (agent, message) = (testing::owner("gw-a"), testing::message(&["+99910200"]));
        let fax = message.faxes[0].id;
        test.store.submit(message).await.unwrap();
        let work = test.store.claim_render(&agent, LEASE).await.unwrap().unwrap();
        test.store.rendered(fax, work.faxes[0].1, testing::pages(3)).await.unwrap();
        let work = test.store.claim_calls(&agent, 1, LEASE).await.unwrap().remove(0);
        let attempt = testing::attempt(1);
        test.store.begin_attempt(fax, work.token, attempt.clone()).await.unwrap();
        let config = crate::config::Config::sandbox(test.directory.path().to_owned(), 1);
        let (store, domain) = (test.store.clone(), "fax.example.com".to_owned());
        let settler = Settler { store, domain, retry: config.dial.retry, hints: vec![], steps: Default::default() };
        Self { test, settler, fax, attempt: attempt.id }
    }

    /// Its agent is gone, and starts anew.
    async fn settle(&self) -> crate::store::FaxRecord {
        self.test.store.take_back(&testing::owner("gw-a")).await.unwrap();
        assert_eq!(self.settler.step().await.unwrap(), 1);
        self.test.store.fax(self.fax).await.unwrap()
    }
}

#[tokio::test]
async fn an_orphan_is_judged_by_the_pages_on_record_and_by_the_end_that_was_told() {
    let told = |cause: Option<Cause>| AttemptEnd { cause, detail: "told".to_owned(), ..AttemptEnd::default() };
    let unassigned = Some(told(Some(Cause::NumberUnassigned)));
    let busy = Some(told(Some(Cause::Busy)));
    let lost = Some(told(Some(Cause::ConfirmationLost)));
    let rejected = Some(told(Some(Cause::PageRejected)));
    let cancelled = Some(told(Some(Cause::Cancelled)));
    use FaxState::{Cancelled, Failed, Partial, Ready, Sent, Unknown};
    for (pages, all_sent, end, state, cause) in [
        (0, false, None, Ready, Some(Cause::RemoteHangup)),
        (2, true, None, Unknown, Some(Cause::ConfirmationLost)),
        (3, true, None, Sent, None),
        (3, true, Some(told(None)), Sent, None),
        (2, true, Some(told(None)), Unknown, Some(Cause::ConfirmationLost)),
        (0, false, busy, Ready, Some(Cause::Busy)),
        (0, false, unassigned.clone(), Failed, Some(Cause::NumberUnassigned)),
        (2, false, unassigned, Partial, Some(Cause::NumberUnassigned)),
        (2, false, lost, Unknown, Some(Cause::ConfirmationLost)),
        (2, true, rejected, Ready, Some(Cause::PageRejected)),
        (1, false, cancelled, Cancelled, Some(Cause::Cancelled)),
    ] {
        let bench = Bench::in_call().await;
        for page in 1..=pages {
            bench.test.store.page_confirmed(bench.attempt, testing::confirmed(page)).await.unwrap();
        }
        let all_sent = all_sent.then_some(AttemptFact::AllPagesSent);
        for fact in all_sent.into_iter().chain(end.clone().map(AttemptFact::Ended)) {
            bench.test.store.record_fact(bench.attempt, fact).await.unwrap();
        }
        let record = bench.settle().await;
        assert_eq!((record.fax.state, record.fax.cause), (state, cause), "{pages} pages, {end:?}");
        assert_eq!(record.notices.len(), usize::from(state.is_final()));
        let now = bench.test.store.now().await.unwrap();
        let waits = record.fax.not_before > now;
        assert_eq!(waits, state == Ready && end.is_some(), "our own crash is no reason to wait, a busy number is");
    }
}

#[tokio::test]
async fn a_parked_fact_is_told_again_and_stays_when_it_still_fits_no_row() {
    let bench = Bench::in_call().await;
    for attempt in [bench.attempt, AttemptId::new()] {
        let fact = ParkedFact {
            id: uuid::Uuid::new_v4(),
            node: "gw-a".to_owned(),
            attempt,
            fact: JournalFact::Page(testing::confirmed(1)),
            why: "no attempt".to_owned(),
            happened_at: Timestamp(1),
            parked_at: Timestamp(1),
        };
        bench.test.store.park_fact(fact).await.unwrap();
    }
    assert_eq!(bench.settler.tell_parked().await.unwrap(), 1);
    let left = bench.test.store.parked_facts(9).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_ne!(left[0].attempt, bench.attempt);
    assert_eq!(bench.test.store.fax(bench.fax).await.unwrap().fax.pages_confirmed, 1);
}
