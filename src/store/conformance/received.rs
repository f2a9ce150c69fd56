//! Faxes that come in, and the routes that lead them.

use super::*;
use crate::domain::inbound::Rule;
use crate::domain::{NoticeState, ReceivedFormat, ReceivedState};

pub(super) fn page(page: u32) -> ReceivedPage {
    let document = testing::document(format!("page {page}").as_bytes());
    ReceivedPage { page, document, width_px: 1728, height_px: 2291, rate_bps: 14_400, ecm: false, damaged_lines: page }
}

pub(super) fn fax(call_no: i64) -> NewReceived {
    NewReceived {
        id: ReceivedFaxId::new(),
        call_no,
        line: "trunk1".to_owned(),
        called_number: "+41440000001".to_owned(),
        calling_number: Some("+41310000002".to_owned()),
        remote_id: Some("+41 31 000 00 02".to_owned()),
        subaddress: Some("12".to_owned()),
        transport: Some(Transport::T38),
    }
}

/// An end for these mailboxes.
pub(super) fn end(fax: ReceivedFaxId, complete: bool, mailboxes: &[&str]) -> ReceivedEnd {
    let notice = |mailbox: &&str| NewNotice::received(fax, mailbox, ReceivedFormat::Pdf, "fax.example.com");
    ReceivedEnd {
        complete,
        cause: (!complete).then_some(Cause::RemoteHangup),
        detail: (!complete).then(|| "the far end hung up".to_owned()),
        route: Some("sales".to_owned()),
        notices: mailboxes.iter().map(notice).collect(),
    }
}

/// Everything the store tells of it, to see that nothing has changed.
async fn all(bench: &Bench, fax: ReceivedFaxId) -> ReceivedRecord {
    bench.store.received(fax).await.unwrap()
}

pub(super) async fn a_received_fax_is_stored_page_by_page_and_then_owed_to_its_mailboxes(bench: Bench) {
    let (store, owner, fax) = (&bench.store, testing::owner("gw-a"), fax(1));
    let token = store.begin_received(&owner, fax.clone(), page(1), LEASE).await.unwrap();
    bench.clock.advance(SECOND);
    store.received_page(fax.id, token, page(2)).await.unwrap();
    let record = all(&bench, fax.id).await;
    let received = &record.received;
    assert_eq!((received.state, received.page_count, received.complete), (ReceivedState::Receiving, 2, None));
    assert_eq!((received.node.as_str(), received.line.as_str()), ("gw-a", "trunk1"));
    assert_eq!((&received.called_number, &received.calling_number), (&fax.called_number, &fax.calling_number));
    assert_eq!((&received.remote_id, &received.subaddress), (&fax.remote_id, &fax.subaddress));
    assert_eq!(record.pages.iter().map(|page| page.damaged_lines).collect::<Vec<_>>(), [1, 2]);
    let documents: Vec<_> = record.pages.iter().map(|page| (page.page, page.document)).collect();
    assert_eq!(documents, [(1, page(1).document.key), (2, page(2).document.key)]);
    assert!(record.notices.is_empty(), "nothing is owed before the call is over");
    assert_eq!(store.find_received(&fax.id.short()).await.unwrap(), fax.id);

    let end = end(fax.id, true, &["anna@example.com", "ben@example.com"]);
    store.end_received(fax.id, token, end.clone()).await.unwrap();
    let record = all(&bench, fax.id).await;
    let received = &record.received;
    assert_eq!((received.state, received.page_count, received.complete), (ReceivedState::Received, 2, Some(true)));
    assert_eq!(received.route.as_deref(), Some("sales"));
    assert_eq!(received.received_at, Some(bench.now().await));
    let mut owed: Vec<_> = record.notices.iter().map(|n| (n.recipient.clone().unwrap(), n.state, n.format)).collect();
    owed.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let pdf = Some(ReceivedFormat::Pdf);
    let expected = ["anna@example.com", "ben@example.com"].map(|to| (to.to_owned(), NoticeState::Owed, pdf));
    assert_eq!(owed, expected);
    assert!(record.notices.iter().all(|notice| notice.kind == NoticeKind::Received && notice.received == Some(fax.id)));

    store.end_received(fax.id, token, end).await.unwrap();
    assert_eq!(all(&bench, fax.id).await, record, "the same end once more changes nothing");
}

pub(super) async fn what_is_told_twice_of_a_received_fax_is_stored_once(bench: Bench) {
    let (store, owner, fax) = (&bench.store, testing::owner("gw-a"), fax(1));
    let token = store.begin_received(&owner, fax.clone(), page(1), LEASE).await.unwrap();
    assert_eq!(store.begin_received(&owner, fax.clone(), page(1), LEASE).await.unwrap(), token);
    for _ in 0..2 {
        store.received_page(fax.id, token, page(2)).await.unwrap();
    }
    let before = all(&bench, fax.id).await;
    assert_eq!(before.pages.len(), 2);
    let other = ReceivedPage { document: testing::document(b"another"), ..page(2) };
    assert_refused("another page 2", store.received_page(fax.id, token, other).await);
    assert_refused("a gap", store.received_page(fax.id, token, page(4)).await);
    let same_call = NewReceived { id: ReceivedFaxId::new(), ..fax.clone() };
    assert_refused("one call is one fax", store.begin_received(&owner, same_call, page(1), LEASE).await);
    assert_refused("nobody", store.end_received(fax.id, token, end(fax.id, true, &[])).await);
    let twice = end(fax.id, true, &["anna@example.com", "anna@example.com"]);
    assert_refused("one mail for a mailbox", store.end_received(fax.id, token, twice).await);
    assert_eq!(all(&bench, fax.id).await, before);
    let unknown = ReceivedFaxId::new();
    let not_there = store.received_page(unknown, token, page(1)).await;
    assert!(matches!(not_there, Err(StoreError::NotFound { .. })), "{not_there:?}");
    assert!(matches!(store.received(unknown).await, Err(StoreError::NotFound { .. })));
    assert!(matches!(store.find_received(&unknown.short()).await, Err(StoreError::NotFound { .. })));
}

pub(super) async fn a_received_fax_whose_agent_is_gone_is_settled_once_with_the_pages_it_has(bench: Bench) {
    let (store, owner, fax) = (&bench.store, testing::owner("gw-a"), fax(1));
    let token = store.begin_received(&owner, fax.clone(), page(1), LEASE).await.unwrap();
    store.received_page(fax.id, token, page(2)).await.unwrap();
    assert!(store.stale_received().await.unwrap().is_empty(), "its agent holds it");

    let next_life = testing::owner("gw-a");
    assert_eq!(store.take_back(&next_life).await.unwrap(), TakenBack { leases: 1, orphans: 0 });
    assert_lost("a page after the lease", store.received_page(fax.id, token, page(3)).await);
    store.received_page(fax.id, token, page(2)).await.expect("a stored page is true whoever asks");
    let held = [Lease::Received(fax.id, token)];
    assert_eq!(store.renew(&owner, &held, LEASE).await.unwrap(), held);

    let stale = store.stale_received().await.unwrap().remove(0);
    assert_eq!((stale.record.received.id, stale.record.pages.len(), stale.token), (fax.id, 2, token));
    assert_lost(
        "a token of nobody",
        store.end_received(fax.id, token + 1, end(fax.id, false, &["a@example.com"])).await,
    );
    store.end_received(fax.id, stale.token, end(fax.id, false, &["a@example.com"])).await.unwrap();
    let record = all(&bench, fax.id).await;
    assert_eq!((record.received.page_count, record.received.complete), (2, Some(false)));
    assert_eq!(record.received.cause, Some(Cause::RemoteHangup));
    assert!(store.stale_received().await.unwrap().is_empty());
    let late = store.end_received(fax.id, token, end(fax.id, true, &["a@example.com"])).await;
    assert_lost("the agent comes back too late", late);
    assert_eq!(all(&bench, fax.id).await, record);
}

pub(super) async fn an_agent_that_comes_back_in_time_ends_its_received_fax_itself(bench: Bench) {
    let (store, owner) = (&bench.store, testing::owner("gw-a"));
    let fax = fax(1);
    let token = store.begin_received(&owner, fax.clone(), page(1), LEASE).await.unwrap();
    let held = [Lease::Received(fax.id, token)];
    for _ in 0..3 {
        bench.clock.advance(LEASE - SECOND);
        assert_eq!(store.renew(&owner, &held, LEASE).await.unwrap(), []);
    }
    assert_eq!(store.renew(&testing::owner("gw-b"), &held, LEASE).await.unwrap(), held);
    store.received_page(fax.id, token, page(2)).await.unwrap();
    store.take_back(&testing::owner("gw-a")).await.unwrap();
    store.end_received(fax.id, token, end(fax.id, true, &["anna@example.com"])).await.unwrap();
    assert_eq!(all(&bench, fax.id).await.received.complete, Some(true));
}

pub(super) async fn received_faxes_are_listed_newest_first(bench: Bench) {
    let (store, owner) = (&bench.store, testing::owner("gw-a"));
    let mut ids = Vec::new();
    let began = bench.now().await;
    for (call_no, did, from) in
        [(1, "+41440000001", Some("+41310000002")), (2, "+41440000002", None), (3, "12", Some("+4930000"))]
    {
        let fax =
            NewReceived { called_number: did.to_owned(), calling_number: from.map(str::to_owned), ..fax(call_no) };
        ids.push(fax.id);
        store.begin_received(&owner, fax, page(1), LEASE).await.unwrap();
        bench.clock.advance(SECOND);
    }
    let no = ReceivedFilter::default;
    let cases = [
        (no(), vec![2, 1, 0]),
        (ReceivedFilter { did: Some("+4144".to_owned()), ..no() }, vec![1, 0]),
        (ReceivedFilter { from: Some("+41".to_owned()), ..no() }, vec![0]),
        (ReceivedFilter { since: Some(began.plus(SECOND)), ..no() }, vec![2, 1]),
        (ReceivedFilter { limit: 1, ..no() }, vec![2]),
    ];
    for (filter, expected) in cases {
        let found: Vec<_> = store.received_faxes(&filter).await.unwrap().into_iter().map(|fax| fax.id).collect();
        let expected: Vec<_> = expected.into_iter().map(|index: usize| ids[index]).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
}

pub(super) async fn inbound_routes_are_set_replaced_and_removed(bench: Bench) {
    let store = &bench.store;
    let rule = |name: &str, to: &str| Rule {
        name: name.to_owned(),
        did: Some("+4144*".to_owned()),
        times: Some("mon-fri 08:00-18:00".to_owned()),
        to: vec![to.to_owned()],
        ..Rule::default()
    };
    for (name, to) in [("sales", "old@example.com"), ("office", "office@example.com"), ("sales", "sales@example.com")] {
        store.set_inbound_route(&rule(name, to), "anna").await.unwrap();
    }
    let routes = store.inbound_routes().await.unwrap();
    let rules: Vec<_> = routes.iter().map(|route| route.rule.clone()).collect();
    assert_eq!(rules, [rule("office", "office@example.com"), rule("sales", "sales@example.com")]);
    assert!(routes.iter().all(|route| route.changed_by == "anna"));
    assert_eq!(routes[0].changed_at, bench.now().await);
    store.remove_inbound_route("sales", "ben").await.unwrap();
    assert_eq!(store.inbound_routes().await.unwrap().len(), 1);
    let again = store.remove_inbound_route("sales", "ben").await;
    assert!(matches!(again, Err(StoreError::NotFound { .. })), "{again:?}");
}
