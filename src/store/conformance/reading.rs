//! Lists, figures, documents, events, nodes.

use super::*;
use crate::domain::FaxState;

pub(super) async fn lists_are_filtered_newest_first(bench: Bench) {
    let mut ids = Vec::new();
    for (number, from) in
        [("+41441234567", Some("anna@example.com")), ("+41449999999", Some("Bob@Example.org")), ("+4930111222", None)]
    {
        let mut message = testing::message(&[number]);
        message.reverse_path = from.map(str::to_owned);
        message.subject = format!("to {number}");
        ids.extend(bench.submit_message(message).await);
        bench.clock.advance(SECOND);
    }
    let work = bench.store.claim_render(&testing::owner("gw-a"), LEASE).await.unwrap().unwrap();
    bench.store.rendered(ids[0], work.faxes[0].1, testing::pages(1)).await.unwrap();
    let call = bench.call(&testing::owner("gw-a")).await;
    let since = bench.fax(ids[1]).await.accepted_at;

    let filter = FaxFilter::default;
    let table: [(FaxFilter, &[usize]); 9] = [
        (filter(), &[2, 1, 0]),
        (FaxFilter { limit: 2, ..filter() }, &[2, 1]),
        (FaxFilter { states: vec![FaxState::Ready], ..filter() }, &[0]),
        (FaxFilter { states: vec![FaxState::Ready, FaxState::Accepted], ..filter() }, &[2, 1, 0]),
        (FaxFilter { states: vec![FaxState::Sent], ..filter() }, &[]),
        (FaxFilter { to: Some("+4144".to_owned()), ..filter() }, &[1, 0]),
        (FaxFilter { to: Some("%".to_owned()), ..filter() }, &[]),
        (FaxFilter { from: Some("EXAMPLE.".to_owned()), ..filter() }, &[1, 0]),
        (FaxFilter { since: Some(since), ..filter() }, &[2, 1]),
    ];
    for (filter, expected) in table {
        let found: Vec<_> = bench.store.faxes(&filter).await.unwrap().iter().map(|summary| summary.fax.id).collect();
        let expected: Vec<_> = expected.iter().map(|index| ids[*index]).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
    let all = bench.store.faxes(&filter()).await.unwrap();
    assert_eq!(all.iter().map(|summary| summary.in_call).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!((all[2].fax.id, all[2].subject.as_str()), (call.fax, "to +41441234567"));
    assert_eq!((all[0].reverse_path.as_deref(), all[1].reverse_path.as_deref()), (None, Some("Bob@Example.org")));
}

pub(super) async fn counts_tell_what_is_where(bench: Bench) {
    let agent = testing::owner("gw-a");
    let empty = bench.store.counts().await.unwrap();
    assert_eq!(empty.faxes.len(), FaxState::ALL.len(), "every state has its figure");
    assert!(empty.faxes.values().chain(empty.notices.values()).all(|n| *n == 0));
    assert_eq!((empty.calls, empty.oldest_waiting), (0, None));

    bench.ready(&["+99910200", "+99910486"]).await;
    bench.clock.advance(SECOND);
    let oldest = bench.now().await;
    bench.submit(&["+99910480"]).await;
    let (first, _second) = (bench.call(&agent).await, bench.call(&agent).await);
    bench.end(&first, Outcome::Failed).await.unwrap();
    let counts = bench.store.counts().await.unwrap();
    assert_eq!((counts.faxes["accepted"], counts.faxes["ready"], counts.faxes["failed"]), (1, 1, 1));
    assert_eq!((counts.calls, counts.notices["owed"]), (1, 1));
    assert_eq!(counts.causes_24h, [("busy".to_owned(), 1)].into());
    assert!(counts.oldest_waiting.is_some_and(|at| at < oldest));
    bench.clock.advance(Duration::from_secs(24 * 60 * 60 + 1));
    assert!(bench.store.counts().await.unwrap().causes_24h.is_empty());
}

pub(super) async fn documents_are_inline_or_in_the_repository(bench: Bench) {
    let mut message = testing::message(&["+99910200"]);
    let inline = message.raw.clone();
    bench.submit_message(message.clone()).await;
    let stored = bench.store.document(&inline.key).await.unwrap();
    assert_eq!(stored, StoredDocument::Kept { size_bytes: inline.size_bytes, placement: inline.placement });

    message = testing::message(&["+99910200"]);
    message.raw = DocumentRef { size_bytes: 1_000_000, placement: Placement::default(), ..testing::document(b"large") };
    for _ in 0..2 {
        bench.submit_message(NewMessage { raw: message.raw.clone(), ..testing::message(&["+99910200"]) }).await;
    }
    let stored = bench.store.document(&message.raw.key).await.unwrap();
    assert_eq!(stored, StoredDocument::Kept { size_bytes: 1_000_000, placement: Placement::default() });
}

pub(super) async fn events_tell_the_story_of_a_fax(bench: Bench) {
    let agent = testing::owner("gw-a");
    let call = bench.in_call(&agent).await;
    bench.store.record_fact(call.attempt, AttemptFact::Answered).await.unwrap();
    bench.confirm(&call, 1..=3).await;
    bench.end(&call, Outcome::Sent).await.unwrap();
    let notice = bench.store.claim_notices(&agent, 1, LEASE).await.unwrap().remove(0);
    bench.store.notice_sent(notice.notice.id, notice.token, "mx1:\r\n250 ok").await.unwrap();

    let events = bench.store.events(EventsOf::Fax(call.fax), 0, 2000).await.unwrap();
    let story: Vec<_> = events.iter().map(|event| (event.kind.as_str(), event.text.as_str())).collect();
    let expected = [
        ("accepted", "accepted from anna@example.com, 10.0.5.7 (mail.example.com) by smtp, for +99910200"),
        ("rendered", "3 pages are ready"),
        ("attempt", "attempt 1 to +99910200 on line sandbox, from page 1"),
        ("answered", "attempt 1: answered"),
        ("page", "page 1 of 3 confirmed in attempt 1 (14400 bit/s, ECM)"),
        ("page", "page 2 of 3 confirmed in attempt 1 (14400 bit/s, ECM)"),
        ("page", "page 3 of 3 confirmed in attempt 1 (14400 bit/s, ECM)"),
        ("attempt-ended", "attempt 1 ended: over"),
        ("sent", "sent, 3 of 3 pages confirmed"),
        ("notice-owed", "report \"sent\" is owed to anna@example.com"),
        ("notice-sent", "report \"sent\" taken by mx1:  250 ok"),
    ];
    assert_eq!(story, expected);
    assert!(events.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    assert_eq!(events[2].node.as_deref(), Some("gw-a"));
}

pub(super) async fn nodes_and_lines_are_as_they_last_said(bench: Bench) {
    let now = bench.now().await;
    let mut node = NodeState {
        owner: testing::owner("gw-a"),
        version: "0.1.0".to_owned(),
        roles: "smtp,line".to_owned(),
        started_at: now,
        seen_at: Timestamp(0),
        draining: false,
        drained: false,
        ordered: None,
    };
    let mut line = LineState {
        line: "trunk1".to_owned(),
        node: "gw-a".to_owned(),
        channels: 8,
        calls: 0,
        up: true,
        detail: "udp to sip.example.com".to_owned(),
        seen_at: Timestamp(0),
    };
    for draining in [false, true] {
        bench.clock.advance(SECOND);
        (node.draining, line.up) = (draining, !draining);
        bench.store.node_seen(&node).await.unwrap();
        bench.store.line_seen(&line).await.unwrap();
        (node.seen_at, line.seen_at) = (bench.now().await, bench.now().await);
    }
    assert_eq!(bench.store.nodes_and_lines().await.unwrap(), (vec![node], vec![line]));
}

pub(super) async fn what_is_not_there_is_not_found(bench: Bench) {
    let store = &bench.store;
    let fax = FaxId::new();
    let missing = [
        ("fax", store.fax(fax).await.err()),
        ("fax", store.find_fax(&fax.short()).await.err()),
        ("fax", store.events(EventsOf::Fax(fax), 0, 2000).await.err()),
        ("fax", store.rendered(fax, 1, testing::pages(1)).await.err()),
        ("message", store.message(MessageId::new()).await.err()),
        ("attempt", store.record_fact(AttemptId::new(), AttemptFact::Answered).await.err()),
        ("notice", store.notice_sent(NoticeId::new(), 1, "mx").await.err()),
        ("document", store.document(&DocumentKey([1; 32])).await.err()),
    ];
    for (what, error) in missing {
        assert!(matches!(&error, Some(StoreError::NotFound { kind, .. }) if *kind == what), "{what}: {error:?}");
    }
}

pub(super) async fn the_store_says_whether_it_can_write(bench: Bench) {
    for _ in 0..2 {
        bench.store.check_writable().await.unwrap();
    }
    assert_eq!(bench.store.faxes(&FaxFilter::default()).await.unwrap(), []);
}
