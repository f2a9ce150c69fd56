//! Orders to nodes.

use super::*;

fn state(owner: &Owner, draining: bool) -> NodeState {
    NodeState {
        owner: owner.clone(),
        version: "0.1.0".to_owned(),
        roles: "smtp,line".to_owned(),
        started_at: Timestamp(1),
        seen_at: Timestamp(0),
        draining,
        drained: draining,
        ordered: None,
    }
}

pub(super) async fn an_order_to_drain_holds_until_it_is_resumed_whatever_the_node_says(bench: Bench) {
    let store = &bench.store;
    for unknown in [store.drain_node("gw-a", "anna").await, store.resume_node("gw-a", "anna").await] {
        assert!(matches!(unknown, Err(StoreError::NotFound { kind: "node", .. })), "{unknown:?}");
    }
    assert_eq!(store.drain_order("gw-a").await.unwrap(), None);
    let (here, there) = (testing::owner("gw-a"), testing::owner("gw-b"));
    store.node_seen(&state(&here, false)).await.unwrap();
    store.node_seen(&state(&there, false)).await.unwrap();
    store.resume_node("gw-a", "anna").await.unwrap();

    let order = DrainOrder { by: "anna".to_owned(), at: bench.now().await };
    store.drain_node("gw-a", "anna").await.unwrap();
    bench.clock.advance(SECOND);
    store.drain_node("gw-a", "bert").await.unwrap();
    assert_eq!(store.drain_order("gw-a").await.unwrap(), Some(order.clone()), "the first order stands");
    assert_eq!(store.drain_order("gw-b").await.unwrap(), None);

    // What the node says about itself, in this life and the next, is no answer to the order.
    for owner in [here, testing::owner("gw-a")] {
        store.node_seen(&state(&owner, true)).await.unwrap();
        let (nodes, _) = store.nodes_and_lines().await.unwrap();
        let told: Vec<_> = nodes.iter().map(|n| (n.owner.node.as_str(), n.drained, n.ordered.clone())).collect();
        assert_eq!(told, [("gw-a", true, Some(order.clone())), ("gw-b", false, None)]);
    }
    store.resume_node("gw-a", "bert").await.unwrap();
    assert_eq!(store.drain_order("gw-a").await.unwrap(), None);
    let events = store.events(EventsOf::All, 0, 100).await.unwrap();
    let told: Vec<_> = events.iter().map(|event| (event.node.as_deref(), event.kind.as_str())).collect();
    assert_eq!(told, [(Some("gw-a"), "drain"), (Some("gw-a"), "resume")], "each once, and none for nothing");
}
