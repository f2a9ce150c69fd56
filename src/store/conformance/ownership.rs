//! Leases, restarts, orphans.

use super::*;
use crate::domain::FaxState;

pub(super) async fn a_stale_token_changes_nothing(bench: Bench) {
    let (late, owner) = (testing::owner("gw-a"), testing::owner("gw-b"));
    let store = &bench.store;
    let now = bench.now().await;

    let fax = bench.submit(&["+99910200"]).await[0];
    let stale = store.claim_render(&late, LEASE).await.unwrap().unwrap().faxes[0].1;
    bench.run_out().await;
    let token = store.claim_render(&owner, LEASE).await.unwrap().unwrap().faxes[0].1;
    assert!(token > stale);
    let before = bench.all(fax).await;
    for token in [stale, token + 1, 0] {
        assert_lost("rendered", store.rendered(fax, token, testing::pages(1)).await);
        assert_lost("render_again", store.render_again(fax, token, now, "late").await);
        assert_lost("render_failed", store.render_failed(fax, token, testing::end(Outcome::Failed)).await);
    }
    assert_eq!(bench.all(fax).await, before);
    store.rendered(fax, token, testing::pages(3)).await.unwrap();
    assert_lost("a lease that was given back", store.rendered(fax, token, testing::pages(3)).await);

    let stale = store.claim_calls(&late, 1, LEASE).await.unwrap()[0].token;
    bench.run_out().await;
    let call = bench.call(&owner).await;
    let before = bench.all(fax).await;
    for token in [stale, call.token + 1] {
        assert_lost("begin_attempt", store.begin_attempt(fax, token, testing::attempt(1)).await);
        assert_lost("call_again", store.call_again(fax, token, now, "late").await);
        assert_lost("call_failed", store.call_failed(fax, token, testing::end(Outcome::Failed)).await);
        let again = Next::Again { not_before: now };
        assert_lost("end_attempt", store.end_attempt(call.attempt, token, testing::busy(), again).await);
    }
    assert_eq!(bench.all(fax).await, before);
    bench.end(&call, Outcome::Failed).await.unwrap();
    assert_lost("an attempt that has ended", bench.end(&call, Outcome::Failed).await);

    let stale = store.claim_notices(&late, 1, LEASE).await.unwrap()[0].token;
    bench.run_out().await;
    let work = store.claim_notices(&owner, 1, LEASE).await.unwrap().remove(0);
    let (notice, before) = (work.notice.id, bench.all(fax).await);
    for token in [stale, work.token + 1] {
        assert_lost("notice_sent", store.notice_sent(notice, token, "mx").await);
        assert_lost("notice_again", store.notice_again(notice, token, now, "late").await);
        assert_lost("notice_dead", store.notice_dead(notice, token, "late", &Instead::default()).await);
    }
    assert_eq!(bench.all(fax).await, before);
    store.notice_sent(notice, work.token, "mx").await.unwrap();
}

pub(super) async fn a_lease_ends_by_the_stores_clock_and_a_renewal_keeps_it(bench: Bench) {
    let (owner, other) = (testing::owner("gw-a"), testing::owner("gw-b"));
    let earlier_life = Owner { epoch: uuid::Uuid::new_v4(), ..owner.clone() };
    bench.ready(&["+99910200", "+99910486"]).await;
    bench.submit(&["+99910480"]).await;
    let store = &bench.store;
    let calls = store.claim_calls(&owner, 9, LEASE).await.unwrap();
    assert_eq!(calls.len(), 2);
    let mut held = store.claim_render(&owner, LEASE).await.unwrap().unwrap().leases();
    held.extend(calls.iter().map(CallWork::lease));
    for _ in 0..3 {
        bench.clock.advance(LEASE - SECOND);
        assert_eq!(store.renew(&owner, &held, LEASE).await.unwrap(), []);
        for nobody in [&other, &earlier_life] {
            assert_eq!(store.renew(nobody, &held, LEASE).await.unwrap(), held);
        }
        testing::expire(&*bench.store).await;
        assert!(store.claim_calls(&other, 9, LEASE).await.unwrap().is_empty());
        assert!(store.claim_render(&other, LEASE).await.unwrap().is_none());
    }
    bench.clock.advance(LEASE - Duration::from_millis(1));
    assert_eq!(store.renew(&owner, &held, SECOND / 2).await.unwrap(), []);
    bench.clock.advance(SECOND / 2);
    testing::expire(&*bench.store).await;
    assert_eq!(store.claim_calls(&other, 9, LEASE).await.unwrap().len(), 2);
    assert_eq!(store.renew(&owner, &held, LEASE).await.unwrap(), held, "what was freed does not come back");
}

pub(super) async fn a_lease_that_no_worker_holds_runs_out(bench: Bench) {
    let (owner, other) = (testing::owner("gw-a"), testing::owner("gw-b"));
    bench.ready(&["+99910200", "+99910486"]).await;
    let store = &bench.store;
    let claimed = store.claim_calls(&owner, 9, LEASE).await.unwrap();
    bench.clock.advance(LEASE - SECOND);
    let stale = Lease::Fax(claimed[1].fax.id, claimed[1].token - 1);
    assert_eq!(store.renew(&owner, &[claimed[0].lease(), stale], LEASE).await.unwrap(), [stale]);
    bench.clock.advance(SECOND);
    testing::expire(&*bench.store).await;
    let found = store.claim_calls(&other, 9, LEASE).await.unwrap();
    assert_eq!(found.iter().map(|work| work.fax.id).collect::<Vec<_>>(), [claimed[1].fax.id]);
}

pub(super) async fn a_restart_takes_back_what_its_earlier_life_held(bench: Bench) {
    let earlier = testing::owner("gw-a");
    let (again, other) = (testing::owner("gw-a"), testing::owner("gw-b"));
    let store = &bench.store;
    bench.ready(&["+99910200", "+99910486", "+99910480"]).await;
    let call = bench.call(&earlier).await;
    assert_eq!(store.claim_calls(&earlier, 1, LEASE).await.unwrap().len(), 1);
    assert_eq!(store.claim_calls(&other, 1, LEASE).await.unwrap().len(), 1);
    assert!(store.claim_calls(&again, 9, LEASE).await.unwrap().is_empty());
    assert!(store.orphans().await.unwrap().is_empty(), "nobody has died yet");

    assert_eq!(store.take_back(&again).await.unwrap(), TakenBack { leases: 1, orphans: 1 });
    assert_eq!(store.take_back(&again).await.unwrap(), TakenBack::default());
    assert_eq!(store.claim_calls(&again, 9, LEASE).await.unwrap().len(), 1, "at once, without waiting for the lease");
    assert_eq!(store.orphans().await.unwrap().len(), 1);
    assert_lost("the earlier life", bench.end(&call, Outcome::Failed).await);
}

pub(super) async fn an_open_attempt_without_owner_is_settled_once(bench: Bench) {
    let owner = testing::owner("gw-a");
    let call = bench.in_call(&owner).await;
    bench.confirm(&call, [1]).await;
    bench.store.record_fact(call.attempt, AttemptFact::PageStarted { page: 2 }).await.unwrap();
    bench.run_out().await;
    assert!(
        bench.store.claim_calls(&testing::owner("gw-b"), 9, LEASE).await.unwrap().is_empty(),
        "not before it is settled"
    );

    let orphan = bench.store.orphans().await.unwrap().remove(0);
    assert_eq!((orphan.fax.id, orphan.attempt.id, orphan.fax.pages_confirmed), (call.fax, call.attempt, 1));
    assert_eq!((orphan.attempt.page_started, orphan.attempt.all_pages_sent), (2, false));
    let end = || AttemptEnd { detail: "the agent died".to_owned(), ..AttemptEnd::default() };
    let not_before = bench.now().await;
    bench.store.settle(&orphan, end(), Next::Again { not_before }).await.unwrap();
    let before = bench.all(call.fax).await;
    assert_lost("settled before", bench.store.settle(&orphan, end(), Next::Again { not_before }).await);
    assert_eq!(bench.all(call.fax).await, before);
    assert!(bench.store.orphans().await.unwrap().is_empty());

    let call = bench.call(&testing::owner("gw-b")).await;
    bench.confirm(&call, [2, 3]).await;
    bench.run_out().await;
    let orphan = bench.store.orphans().await.unwrap().remove(0);
    bench.store.settle(&orphan, end(), Next::Final(testing::end(Outcome::Sent))).await.unwrap();
    assert_eq!(bench.fax(call.fax).await.state, FaxState::Sent);
}

pub(super) async fn an_orphan_is_judged_by_what_is_on_record_when_it_is_settled(bench: Bench) {
    let call = bench.in_call(&testing::owner("gw-a")).await;
    bench.run_out().await;
    let orphan = bench.store.orphans().await.unwrap().remove(0);
    // A confirmation that comes while the settler thinks must not be overruled by what it had read.
    bench.confirm(&call, [1]).await;
    let failed = Next::Final(testing::end(Outcome::Failed));
    assert_refused("failed with a page", bench.store.settle(&orphan, testing::busy(), failed).await);
    assert_eq!(bench.store.orphans().await.unwrap()[0].fax.pages_confirmed, 1);
}

pub(super) async fn the_clock_never_goes_backwards(bench: Bench) {
    let first = bench.now().await;
    bench.clock.set(Timestamp(first.0 - 5000));
    assert_eq!(bench.now().await, first);
    bench.clock.set(Timestamp(first.0 + 1));
    assert_eq!(bench.now().await, Timestamp(first.0 + 1));
}

pub(super) async fn a_secret_is_what_the_first_node_brought(bench: Bench) {
    let store = &bench.store;
    let (a, b) = tokio::join!(store.secret("key", &[1; 32]), store.secret("key", &[2; 32]));
    let first = a.unwrap();
    assert_eq!(first, b.unwrap(), "two nodes that start at once");
    assert!(first == [1; 32] || first == [2; 32], "{first:?}");
    assert_eq!(store.secret("key", &[3; 32]).await.unwrap(), first);
    assert_eq!(store.secret("another key", &[4; 32]).await.unwrap(), [4; 32]);
    assert!(store.secret("too short to be one", &[5; 8]).await.is_err());
}
