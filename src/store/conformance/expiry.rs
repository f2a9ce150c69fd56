//! Leases that have run out: marked, kept for a grace, freed.

use super::*;

const GRACE: Duration = Duration::from_secs(15);
const CALL_GRACE: Duration = Duration::from_secs(90);

/// Looks at every lease; the store has been reachable for ever.
async fn expire(bench: &Bench) -> (u64, u64) {
    expire_since(bench, Timestamp(0)).await
}

async fn expire_since(bench: &Bench, reachable_since: Timestamp) -> (u64, u64) {
    let rules = ExpiryRules { grace: GRACE, call_grace: CALL_GRACE, reachable_since };
    let expired = bench.store.expire_leases(rules).await.unwrap();
    (expired.suspects, expired.freed)
}

/// A fax to render, a call and a notice, all leased by one owner. Answers the leases.
async fn one_of_each(bench: &Bench, owner: &Owner) -> Vec<Lease> {
    let store = &bench.store;
    bench.ready(&["+99910200", "+99910486"]).await;
    let ended = store.claim_calls(owner, 1, LEASE).await.unwrap().remove(0);
    store.call_failed(ended.fax.id, ended.token, testing::end(Outcome::Failed)).await.unwrap();
    bench.submit(&["+99910480"]).await;
    let mut leases = store.claim_render(owner, LEASE).await.unwrap().unwrap().leases();
    leases.push(store.claim_calls(owner, 1, LEASE).await.unwrap()[0].lease());
    leases.push(store.claim_notices(owner, 1, LEASE).await.unwrap()[0].lease());
    leases
}

/// How much of it others can claim.
async fn claimable(bench: &Bench) -> usize {
    let (other, store) = (testing::owner("gw-b"), &bench.store);
    let pages = store.claim_render(&other, LEASE).await.unwrap().into_iter().count();
    let calls = store.claim_calls(&other, 9, LEASE).await.unwrap().len();
    pages + calls + store.claim_notices(&other, 9, LEASE).await.unwrap().len()
}

pub(super) async fn a_lease_that_ran_out_is_a_suspect_first_and_nobody_elses_before_it_is_freed(bench: Bench) {
    one_of_each(&bench, &testing::owner("gw-a")).await;
    bench.clock.advance(LEASE - Duration::from_millis(1));
    assert_eq!(expire(&bench).await, (0, 0));
    bench.clock.advance(Duration::from_millis(1));
    assert_eq!(claimable(&bench).await, 0, "it has run out and nobody has marked it");
    assert_eq!(expire(&bench).await, (3, 0));
    assert_eq!(expire(&bench).await, (0, 0), "marked once");
    bench.clock.advance(GRACE - Duration::from_millis(1));
    assert_eq!((expire(&bench).await, claimable(&bench).await), ((0, 0), 0));
    bench.clock.advance(Duration::from_millis(1));
    assert_eq!(expire(&bench).await, (0, 3));
    assert_eq!(claimable(&bench).await, 3);
    assert_eq!(expire(&bench).await, (0, 0), "a new claim is no suspect");
}

pub(super) async fn a_renewal_in_the_grace_keeps_the_lease(bench: Bench) {
    let owner = testing::owner("gw-a");
    let held = one_of_each(&bench, &owner).await;
    bench.clock.advance(LEASE);
    assert_eq!(expire(&bench).await, (3, 0));
    bench.clock.advance(GRACE);
    assert_eq!(bench.store.renew(&owner, &held, LEASE).await.unwrap(), []);
    assert_eq!((expire(&bench).await, claimable(&bench).await), ((0, 0), 0));
    // It runs out once more: the whole grace begins once more.
    bench.clock.advance(LEASE);
    assert_eq!(expire(&bench).await, (3, 0));
    bench.clock.advance(GRACE - SECOND);
    assert_eq!(expire(&bench).await, (0, 0));
    bench.clock.advance(SECOND);
    assert_eq!((expire(&bench).await, claimable(&bench).await), ((0, 3), 3));
    assert_eq!(bench.store.renew(&owner, &held, LEASE).await.unwrap(), held, "what was freed does not come back");
}

pub(super) async fn a_call_has_the_longer_grace_and_then_is_an_orphan(bench: Bench) {
    let call = bench.in_call(&testing::owner("gw-a")).await;
    bench.clock.advance(LEASE);
    assert_eq!(expire(&bench).await, (1, 0));
    bench.clock.advance(CALL_GRACE - SECOND);
    assert_eq!(expire(&bench).await, (0, 0));
    assert!(bench.store.orphans().await.unwrap().is_empty(), "its agent may be back");
    bench.clock.advance(SECOND);
    assert_eq!(expire(&bench).await, (0, 1));
    let orphan = bench.store.orphans().await.unwrap().remove(0);
    assert_eq!((orphan.attempt.id, orphan.token), (call.attempt, call.token));
    assert_eq!(claimable(&bench).await, 0, "not before it is settled");
    let next = Next::Again { not_before: bench.now().await };
    bench.store.settle(&orphan, testing::busy(), next).await.unwrap();
    assert_eq!(claimable(&bench).await, 1);
}

pub(super) async fn the_grace_counts_from_when_the_store_was_reachable(bench: Bench) {
    one_of_each(&bench, &testing::owner("gw-a")).await;
    bench.clock.advance(LEASE);
    assert_eq!(expire(&bench).await, (3, 0));
    bench.clock.advance(SECOND * 3600);
    let back = bench.now().await;
    assert_eq!(expire_since(&bench, back).await, (0, 0), "the mark is old, and the store was away");
    bench.clock.advance(GRACE - SECOND);
    assert_eq!(expire_since(&bench, back).await, (0, 0));
    bench.clock.advance(SECOND);
    assert_eq!(expire_since(&bench, back).await, (0, 3));
}

pub(super) async fn what_is_freed_is_lost_for_its_owner_before_anybody_claims_it(bench: Bench) {
    let (owner, store) = (testing::owner("gw-a"), &bench.store);
    let call = bench.in_call(&owner).await;
    let late = Next::Again { not_before: bench.now().await };
    bench.clock.advance(LEASE);
    assert_eq!(expire(&bench).await, (1, 0));
    bench.confirm(&call, [1]).await;
    bench.clock.advance(CALL_GRACE);
    assert_eq!(expire(&bench).await, (0, 1));
    let before = bench.all(call.fax).await;
    assert_lost("end_attempt", store.end_attempt(call.attempt, call.token, testing::busy(), late.clone()).await);
    assert_lost("call_again", store.call_again(call.fax, call.token, bench.now().await, "late").await);
    assert_eq!(bench.all(call.fax).await, before);
    bench.confirm(&call, [2]).await;
    let orphan = store.orphans().await.unwrap().remove(0);
    assert_eq!(orphan.fax.pages_confirmed, 2, "facts come in whoever owns it");
    store.settle(&orphan, testing::busy(), late.clone()).await.unwrap();
    let again = bench.call(&testing::owner("gw-b")).await;
    assert!(again.token > call.token);
    assert_lost("end_attempt", store.end_attempt(again.attempt, call.token, testing::busy(), late).await);
}
