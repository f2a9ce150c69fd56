//! Claims of line agents, attempts, pages and facts.

use super::*;
use crate::domain::{Cause, FaxState};

pub(super) async fn calls_are_claimed_urgent_and_old_ones_first(bench: Bench) {
    let mut expected = Vec::new();
    for (priority, number) in [(5, "+99940001"), (5, "+99940002"), (9, "+99940003"), (1, "+99940004")] {
        let mut message = testing::message(&[number]);
        message.priority = priority;
        bench.submit_message(message).await;
        bench.clock.advance(SECOND);
        bench.render_all().await;
        expected.push((priority, number));
    }
    expected.sort();
    let agent = testing::owner("gw-a");
    let first = bench.store.claim_calls(&agent, 3, LEASE).await.unwrap();
    let rest = bench.store.claim_calls(&agent, 9, LEASE).await.unwrap();
    let claimed: Vec<_> = first.iter().chain(&rest).map(|w| (w.fax.priority, w.fax.number.as_str())).collect();
    assert_eq!((first.len(), rest.len()), (3, 1));
    assert_eq!(claimed, expected);
    assert_eq!(first[0].lease_until, bench.now().await.plus(LEASE));
    assert!(bench.store.claim_calls(&agent, 9, LEASE).await.unwrap().is_empty());
    assert!(bench.store.claim_calls(&agent, 0, LEASE).await.unwrap().is_empty());
}

pub(super) async fn one_number_has_one_call_at_a_time(bench: Bench) {
    let (here, there) = (testing::owner("gw-a"), testing::owner("gw-b"));
    let ids = bench.ready(&["+99910200", "+99910200", "+99910486", "+99910200"]).await;
    let claimed = bench.store.claim_calls(&here, 9, LEASE).await.unwrap();
    let faxes: Vec<_> = claimed.iter().map(|work| work.fax.id).collect();
    assert_eq!(faxes, [ids[0], ids[2]], "never two of one number in a claim");
    assert!(bench.store.claim_calls(&there, 9, LEASE).await.unwrap().is_empty(), "nor in two claims");

    let attempt = testing::attempt(1);
    bench.store.begin_attempt(ids[0], claimed[0].token, attempt.clone()).await.unwrap();
    bench.run_out().await;
    let claimed = bench.store.claim_calls(&there, 9, LEASE).await.unwrap();
    assert_eq!(claimed.len(), 1, "an open attempt keeps its number, whoever owned it");
    assert_eq!(claimed[0].fax.id, ids[2], "a lease alone does not, once it is freed");

    let orphan = bench.store.orphans().await.unwrap().remove(0);
    let next = Next::Again { not_before: bench.now().await.plus(SECOND * 1000) };
    bench.store.settle(&orphan, testing::busy(), next).await.unwrap();
    let claimed = bench.store.claim_calls(&there, 9, LEASE).await.unwrap();
    assert_eq!(claimed.iter().map(|work| work.fax.id).collect::<Vec<_>>(), [ids[1]]);
}

pub(super) async fn an_attempt_is_counted_once_and_begins_with_the_first_unconfirmed_page(bench: Bench) {
    let agent = testing::owner("gw-a");
    let ids = bench.ready(&["+99910200"]).await;
    let token = bench.store.claim_calls(&agent, 1, LEASE).await.unwrap()[0].token;
    for page in [0, 2, 4] {
        assert_refused("not page 1", bench.store.begin_attempt(ids[0], token, testing::attempt(page)).await);
    }
    let first = testing::attempt(1);
    for _ in 0..2 {
        let number = bench.store.begin_attempt(ids[0], token, first.clone()).await.unwrap();
        assert_eq!(number, 1, "repeating it changes nothing");
    }
    assert_refused("a second open attempt", bench.store.begin_attempt(ids[0], token, testing::attempt(1)).await);
    let record = bench.store.fax(ids[0]).await.unwrap();
    assert_eq!((record.fax.attempts, record.attempts.len()), (1, 1));
    let attempt = &record.attempts[0];
    assert_eq!((attempt.node.as_str(), attempt.line.as_str(), attempt.first_page), ("gw-a", "sandbox", 1));

    let call = InCall { fax: ids[0], token, attempt: first.id };
    bench.confirm(&call, [1, 2]).await;
    let next = Next::Again { not_before: bench.now().await };
    bench.store.end_attempt(first.id, token, testing::busy(), next).await.unwrap();
    let token = bench.store.claim_calls(&agent, 1, LEASE).await.unwrap()[0].token;
    for page in [1, 2] {
        let begun = bench.store.begin_attempt(ids[0], token, testing::attempt(page)).await;
        assert_refused("a confirmed page is never sent again", begun);
    }
    assert_eq!(bench.store.begin_attempt(ids[0], token, testing::attempt(3)).await.unwrap(), 2);
}

pub(super) async fn an_attempt_never_begins_under_an_expired_lease(bench: Bench) {
    let agent = testing::owner("gw-a");
    let ids = bench.ready(&["+99910200"]).await;
    let token = bench.store.claim_calls(&agent, 1, LEASE).await.unwrap()[0].token;
    bench.clock.advance(LEASE);
    let before = bench.all(ids[0]).await;
    assert_lost("begin", bench.store.begin_attempt(ids[0], token, testing::attempt(1)).await);
    assert_eq!(bench.all(ids[0]).await, before);
}

pub(super) async fn confirmed_pages_count_without_gaps_once_and_from_stale_tokens(bench: Bench) {
    let call = bench.in_call(&testing::owner("gw-a")).await;
    bench.confirm(&call, [1]).await;
    let before = bench.all(call.fax).await;
    let mut other_evidence = testing::confirmed(1);
    other_evidence.rate_bps = 2400;
    bench.store.page_confirmed(call.attempt, other_evidence).await.unwrap();
    assert_eq!(bench.all(call.fax).await, before, "repeating it changes nothing");

    bench.confirm(&call, [3]).await;
    assert_eq!(bench.fax(call.fax).await.pages_confirmed, 1, "page 2 is missing");
    bench.run_out().await;
    let orphan = bench.store.orphans().await.unwrap().remove(0);
    let next = Next::Again { not_before: bench.now().await.plus(SECOND * 9) };
    bench.store.settle(&orphan, testing::busy(), next).await.unwrap();
    bench.confirm(&call, [2]).await;

    let record = bench.store.fax(call.fax).await.unwrap();
    assert_eq!(record.fax.pages_confirmed, 3, "a fact from a journal that comes late");
    assert_eq!(record.pages.iter().map(|page| page.page.page).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(record.pages[0].page, testing::confirmed(1));
    assert_eq!((record.pages[0].attempt, record.pages[0].attempt_number), (call.attempt, 1));
    assert_eq!(record.attempts[0].page_started, 3);
    bench.clock.advance(SECOND * 9);
    let work = bench.store.claim_calls(&testing::owner("gw-b"), 1, LEASE).await.unwrap().remove(0);
    assert_refused(
        "nothing is left to send",
        bench.store.begin_attempt(call.fax, work.token, testing::attempt(4)).await,
    );
    bench.store.call_failed(call.fax, work.token, testing::end(Outcome::Sent)).await.unwrap();
}

pub(super) async fn a_page_that_the_fax_does_not_have_is_refused(bench: Bench) {
    let call = bench.in_call(&testing::owner("gw-a")).await;
    let before = bench.all(call.fax).await;
    for page in [0, 4, u32::MAX] {
        let confirmed = bench.store.page_confirmed(call.attempt, testing::confirmed(page)).await;
        assert_refused("no such page", confirmed);
    }
    let unknown = bench.store.page_confirmed(AttemptId::new(), testing::confirmed(1)).await;
    assert!(matches!(unknown, Err(StoreError::NotFound { kind: "attempt", .. })), "{unknown:?}");
    assert_eq!(bench.all(call.fax).await, before);
}

pub(super) async fn a_late_confirmation_is_kept_after_the_end(bench: Bench) {
    let call = bench.in_call(&testing::owner("gw-a")).await;
    bench.end(&call, Outcome::Failed).await.unwrap();
    bench.confirm(&call, [1]).await;
    let record = bench.store.fax(call.fax).await.unwrap();
    assert_eq!((record.fax.state, record.fax.pages_confirmed, record.pages.len()), (FaxState::Failed, 1, 1));
    let events = bench.store.events(EventsOf::Fax(call.fax), 0, 2000).await.unwrap();
    assert!(events.last().unwrap().text.contains("after the fax had ended"), "{events:?}");
}

pub(super) async fn facts_are_kept_and_never_taken_back(bench: Bench) {
    let call = bench.in_call(&testing::owner("gw-a")).await;
    let trained = |rate_bps| AttemptFact::Trained { rate_bps, ecm: true, remote_id: "+41 44 123".to_owned() };
    for fact in [
        AttemptFact::Ringing,
        AttemptFact::Answered,
        AttemptFact::Carried { transport: Transport::G711 },
        AttemptFact::Carried { transport: Transport::T38 },
        trained(14_400),
        AttemptFact::PageStarted { page: 2 },
        AttemptFact::PageStarted { page: 1 },
        trained(9600),
        AttemptFact::AllPagesSent,
    ] {
        bench.store.record_fact(call.attempt, fact).await.unwrap();
    }
    let answered_at = bench.now().await;
    bench.clock.advance(SECOND);
    bench.store.record_fact(call.attempt, AttemptFact::Answered).await.unwrap();
    let attempt = bench.store.fax(call.fax).await.unwrap().attempts.remove(0);
    assert_eq!((attempt.answered_at, attempt.page_started, attempt.all_pages_sent), (Some(answered_at), 2, true));
    assert_eq!((attempt.end.transport, attempt.end.rate_bps), (Some(Transport::T38), Some(9600)));

    bench.end(&call, Outcome::Unknown).await.unwrap();
    for fact in [trained(2400), AttemptFact::PageStarted { page: 3 }] {
        bench.store.record_fact(call.attempt, fact).await.unwrap();
    }
    let attempt = bench.store.fax(call.fax).await.unwrap().attempts.remove(0);
    assert_eq!(attempt.end.rate_bps, Some(9600), "the end had the last word");
    assert_eq!(attempt.page_started, 3, "but what has left has left");
}

pub(super) async fn an_attempt_ends_in_another_call_or_for_good(bench: Bench) {
    let agent = testing::owner("gw-a");
    let call = bench.in_call(&agent).await;
    bench.confirm(&call, [1]).await;
    let not_before = bench.now().await.plus(SECOND * 30);
    let again = Next::Again { not_before };
    bench.store.end_attempt(call.attempt, call.token, testing::busy(), again).await.unwrap();
    let record = bench.store.fax(call.fax).await.unwrap();
    assert_eq!((record.fax.state, record.fax.not_before), (FaxState::Ready, not_before));
    assert_eq!((record.fax.cause, record.fax.detail.as_deref()), (Some(Cause::Busy), Some("486 Busy Here")));
    assert_eq!(record.attempts[0].end, testing::busy());
    assert_eq!(record.attempts[0].ended_at, Some(bench.now().await));
    assert!(record.notices.is_empty());

    bench.clock.advance(SECOND * 30);
    let work = bench.store.claim_calls(&agent, 1, LEASE).await.unwrap().remove(0);
    assert_eq!((work.earlier, work.fax.pages_confirmed), (vec![Cause::Busy], 1));
    let attempt = testing::attempt(2);
    bench.store.begin_attempt(call.fax, work.token, attempt.clone()).await.unwrap();
    let call = InCall { fax: call.fax, token: work.token, attempt: attempt.id };
    bench.confirm(&call, [2, 3]).await;
    bench.end(&call, Outcome::Sent).await.unwrap();
    let record = bench.store.fax(call.fax).await.unwrap();
    assert_eq!((record.fax.state, record.fax.cause, record.fax.attempts), (FaxState::Sent, None, 2));
    assert_eq!(record.notices.iter().map(|notice| notice.kind).collect::<Vec<_>>(), [NoticeKind::Sent]);
    assert!(bench.store.orphans().await.unwrap().is_empty());
}

pub(super) async fn an_end_that_is_not_true_is_refused(bench: Bench) {
    use Outcome::{Failed, Partial, Sent, Unknown};
    let refused: [(u32, &[Outcome]); 3] =
        [(0, &[Sent, Partial]), (2, &[Sent, Failed]), (3, &[Partial, Failed, Unknown])];
    let call = bench.in_call(&testing::owner("gw-a")).await;
    for (confirmed, outcomes) in refused {
        bench.confirm(&call, 1..=confirmed).await;
        let before = bench.all(call.fax).await;
        for outcome in outcomes {
            assert_refused(&format!("{outcome} with {confirmed} pages"), bench.end(&call, *outcome).await);
        }
        let mut end = testing::end(Outcome::Cancelled);
        end.notice = testing::notice(NoticeKind::Delayed);
        let ended = bench.store.end_attempt(call.attempt, call.token, testing::busy(), Next::Final(end)).await;
        assert_refused("a notice of another kind", ended);
        assert_eq!(bench.all(call.fax).await, before);
    }
    let again = Next::Again { not_before: bench.now().await };
    let ended = bench.store.end_attempt(call.attempt, call.token, testing::busy(), again).await;
    assert_refused("another call when all is confirmed", ended);
    let failed = bench.store.call_failed(call.fax, call.token, testing::end(Sent)).await;
    assert_refused("an end beside the open attempt", failed);
    bench.end(&call, Sent).await.unwrap();
}

pub(super) async fn what_is_overdue_is_claimed_whatever_it_waits_for(bench: Bench) {
    let owner = testing::owner("gw-a");
    bench.ready(&["+99910200", "+99910486", "+99910480"]).await;
    let store = &bench.store;
    let in_call = bench.call(&owner).await;
    let waits = store.claim_calls(&owner, 1, LEASE).await.unwrap().remove(0);
    let far = bench.now().await.plus(testing::fax("+99910200").give_up_after * 2);
    store.call_again(waits.fax.id, waits.token, far, "no line").await.unwrap();
    assert!(store.claim_overdue(&owner, 9, LEASE).await.unwrap().is_empty(), "nobody's time is over");
    bench.clock.advance(testing::fax("+99910200").give_up_after);
    let overdue = store.claim_overdue(&owner, 9, LEASE).await.unwrap();
    assert_eq!(overdue.len(), 2, "not the one in a call");
    assert!(overdue.iter().all(|work| work.fax.id != in_call.fax));
    assert!(store.claim_overdue(&owner, 9, LEASE).await.unwrap().is_empty(), "leased");
    for work in overdue {
        store.call_failed(work.fax.id, work.token, testing::end(Outcome::Failed)).await.unwrap();
    }
}

pub(super) async fn a_fax_given_back_without_a_call_is_not_counted(bench: Bench) {
    let agent = testing::owner("gw-a");
    let ids = bench.ready(&["+99910200"]).await;
    let token = bench.store.claim_calls(&agent, 1, LEASE).await.unwrap()[0].token;
    let not_before = bench.now().await.plus(SECOND);
    bench.store.call_again(ids[0], token, not_before, "no free channel").await.unwrap();
    let fax = bench.fax(ids[0]).await;
    assert_eq!((fax.attempts, fax.not_before, fax.state), (0, not_before, FaxState::Ready));
    bench.clock.advance(SECOND);
    let call = bench.call(&agent).await;
    let again = bench.store.call_again(ids[0], call.token, not_before, "no").await;
    assert_refused("with an open attempt", again);
}
