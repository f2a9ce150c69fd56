//! Limits of trunks over all nodes.

use super::*;
use crate::domain::FaxState;

#[track_caller]
fn assert_not_now<T: std::fmt::Debug>(what: &str, result: Result<T>) {
    assert!(matches!(result, Err(StoreError::NotNow(_))), "{what}: {result:?}");
}

fn attempt(limits: CallLimits) -> NewAttempt {
    NewAttempt { line: "trunk1".to_owned(), limits, ..testing::attempt(1) }
}

fn channels(most: u32) -> CallLimits {
    CallLimits { channels: Some(most), ..CallLimits::default() }
}

fn incoming(most: u32) -> NewIncoming {
    NewIncoming { id: uuid::Uuid::now_v7(), line: "trunk1".to_owned(), channels: most }
}

async fn used(bench: &Bench) -> Vec<(String, u32, u32)> {
    let used = bench.store.line_use().await.unwrap().into_iter();
    used.map(|line| (line.line, line.calls, line.begun_last_minute)).collect()
}

pub(super) async fn the_channels_of_a_trunk_are_shared_by_all_nodes_and_both_directions(bench: Bench) {
    let (here, there) = (testing::owner("gw-a"), testing::owner("gw-b"));
    let store = &bench.store;
    bench.ready(&["+99940001", "+99940002", "+99940003"]).await;
    let mine = store.claim_calls(&here, 1, LEASE).await.unwrap().remove(0);
    let mut others = store.claim_calls(&there, 2, LEASE).await.unwrap().into_iter();
    let (second, third) = (others.next().unwrap(), others.next().unwrap());

    let begun = attempt(channels(3));
    store.begin_attempt(mine.fax.id, mine.token, begun.clone()).await.unwrap();
    store.begin_attempt(second.fax.id, second.token, attempt(channels(3))).await.unwrap();
    let call = incoming(3);
    for _ in 0..2 {
        store.begin_incoming(&here, call.clone(), LEASE).await.unwrap();
    }
    assert_eq!(used(&bench).await, [("trunk1".to_owned(), 3, 2)], "told twice is one call");
    assert_not_now("one to others", store.begin_attempt(third.fax.id, third.token, attempt(channels(3))).await);
    assert_not_now("one to us", store.begin_incoming(&there, incoming(3), LEASE).await);
    // Repeated because its answer got lost: it has its channel.
    store.begin_attempt(mine.fax.id, mine.token, begun).await.unwrap();
    let elsewhere = NewAttempt { line: "trunk2".to_owned(), ..attempt(channels(1)) };
    store.begin_attempt(third.fax.id, third.token, elsewhere).await.unwrap();

    store.end_incoming(call.id).await.unwrap();
    store.end_incoming(call.id).await.unwrap();
    store.begin_incoming(&there, incoming(3), LEASE).await.unwrap();
}

pub(super) async fn calls_within_a_minute_are_counted_over_all_nodes(bench: Bench) {
    let store = &bench.store;
    bench.ready(&["+99940001", "+99940002", "+99940003", "+99940004"]).await;
    let line = CallLimits { line_per_minute: Some(2), ..CallLimits::default() };
    let all = CallLimits { all_per_minute: Some(3), ..CallLimits::default() };
    let mut work = Vec::new();
    for node in ["gw-a", "gw-b", "gw-c", "gw-d"] {
        work.extend(store.claim_calls(&testing::owner(node), 1, LEASE * 10).await.unwrap());
    }
    let begin = async |nth: usize, on: &str, limits| {
        let attempt = NewAttempt { line: on.to_owned(), ..attempt(limits) };
        store.begin_attempt(work[nth].fax.id, work[nth].token, attempt).await
    };
    begin(0, "trunk1", line).await.unwrap();
    bench.clock.advance(SECOND * 30);
    begin(1, "trunk1", line).await.unwrap();
    assert_not_now("a third on the trunk", begin(2, "trunk1", line).await);
    begin(2, "trunk2", all).await.unwrap();
    assert_not_now("a fourth on all trunks", begin(3, "trunk3", all).await);
    assert_eq!(used(&bench).await, [("trunk1".to_owned(), 2, 2), ("trunk2".to_owned(), 1, 1)]);
    bench.clock.advance(SECOND * 30);
    begin(3, "trunk1", CallLimits { all_per_minute: Some(3), ..line }).await.unwrap();
    assert_eq!(used(&bench).await[0], ("trunk1".to_owned(), 3, 2), "the first is a minute ago");
}

pub(super) async fn a_race_for_a_channel_or_a_number_has_one_winner_and_costs_the_loser_no_attempt(bench: Bench) {
    const NODES: usize = 8;
    const CHANNELS: u32 = 3;
    let store = &bench.store;
    let numbers: Vec<String> = (0..NODES).map(|n| format!("+9994{n:04}")).collect();
    let ids = bench.ready(&numbers.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut racing = tokio::task::JoinSet::new();
    for node in 0..NODES {
        let work = store.claim_calls(&testing::owner(&format!("gw-{node}")), 1, LEASE).await.unwrap().remove(0);
        let store = Arc::clone(store);
        racing.spawn(async move {
            let begun = store.begin_attempt(work.fax.id, work.token, attempt(channels(CHANNELS))).await;
            (work, begun)
        });
    }
    let mut begun = 0;
    for (work, result) in racing.join_all().await {
        match result {
            Ok(number) => begun += number,
            Err(StoreError::NotNow(why)) => {
                let now = bench.now().await;
                store.call_again(work.fax.id, work.token, now, &why).await.unwrap();
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(begun, CHANNELS);
    let mut attempts = 0;
    for id in ids {
        let fax = bench.fax(id).await;
        attempts += fax.attempts;
        assert_eq!(fax.state, FaxState::Ready);
    }
    assert_eq!(attempts, CHANNELS);
    let waiting = store.claim_calls(&testing::owner("gw-x"), 99, LEASE).await.unwrap().len();
    assert_eq!(waiting, NODES - CHANNELS as usize, "the losers are claimable at once");
}

pub(super) async fn the_channel_of_an_incoming_call_is_free_when_it_ends_or_its_node_is_gone(bench: Bench) {
    let (here, there) = (testing::owner("gw-a"), testing::owner("gw-b"));
    let store = &bench.store;
    let call = incoming(1);
    store.begin_incoming(&here, call.clone(), LEASE).await.unwrap();
    // Renewed as every lease that a worker holds.
    bench.clock.advance(LEASE / 2);
    let held = [Lease::Incoming(call.id)];
    assert_eq!(store.renew(&here, &held, LEASE).await.unwrap(), []);
    assert_eq!(store.renew(&there, &held, LEASE).await.unwrap(), held, "it is another's");
    bench.clock.advance(LEASE / 2);
    testing::expire(&**store).await;
    assert_not_now("it goes on", store.begin_incoming(&there, incoming(1), LEASE).await);
    // Its node is gone: suspect first, and free after its grace.
    bench.clock.advance(LEASE);
    let rules = ExpiryRules { grace: LEASE, call_grace: LEASE, reachable_since: Timestamp(0) };
    store.expire_leases(rules).await.unwrap();
    assert_not_now("its node may be back", store.begin_incoming(&there, incoming(1), LEASE).await);
    bench.clock.advance(LEASE);
    assert_eq!(store.expire_leases(rules).await.unwrap().freed, 1);
    assert_eq!(store.renew(&here, &held, LEASE).await.unwrap(), held, "it is lost for its owner");
    let second = incoming(1);
    store.begin_incoming(&there, second, LEASE).await.unwrap();
    // The node comes back in another life.
    store.take_back(&testing::owner("gw-b")).await.unwrap();
    store.begin_incoming(&here, incoming(1), LEASE).await.unwrap();
}

pub(super) async fn what_a_dead_node_held_is_free_when_its_attempt_is_settled(bench: Bench) {
    let (dead, other) = (testing::owner("gw-a"), testing::owner("gw-b"));
    let store = &bench.store;
    bench.ready(&["+99940001", "+99940002"]).await;
    let work = store.claim_calls(&dead, 1, LEASE).await.unwrap().remove(0);
    store.begin_attempt(work.fax.id, work.token, attempt(channels(1))).await.unwrap();
    bench.run_out().await;
    let next = store.claim_calls(&other, 1, LEASE).await.unwrap().remove(0);
    assert_not_now(
        "the far end may still talk",
        store.begin_attempt(next.fax.id, next.token, attempt(channels(1))).await,
    );
    let orphan = store.orphans().await.unwrap().remove(0);
    let later = Next::Again { not_before: bench.now().await.plus(SECOND) };
    store.settle(&orphan, testing::busy(), later).await.unwrap();
    store.begin_attempt(next.fax.id, next.token, attempt(channels(1))).await.unwrap();
}
