//! Where documents are and which key sealed them, and duties that one node has.

use super::*;

fn sealed(by: &str, wrapped: u8) -> SealedKey {
    SealedKey { by: by.to_owned(), wrapped: vec![wrapped; 60] }
}

/// A large document under a drawn name.
fn drawn(bytes: &[u8], key: SealedKey) -> DocumentRef {
    let placement = Placement { inline: None, drawn: Some(uuid::Uuid::new_v4()), sealed: Some(key) };
    DocumentRef { size_bytes: 100_000, placement, ..testing::document(bytes) }
}

async fn submit(bench: &Bench, raw: &DocumentRef) {
    let message = NewMessage { raw: raw.clone(), ..testing::message(&["+99910200"]) };
    bench.store.submit(message).await.unwrap();
}

async fn placement(bench: &Bench, document: &DocumentRef) -> Placement {
    match bench.store.document(&document.key).await.unwrap() {
        StoredDocument::Kept { placement, .. } => placement,
        StoredDocument::Pruned { at } => panic!("pruned at {at}"),
    }
}

pub(super) async fn the_row_that_was_first_keeps_its_object_and_its_key(bench: Bench) {
    let (first, second) = (drawn(b"mail", sealed("2026", 1)), drawn(b"mail", sealed("2027", 2)));
    submit(&bench, &first).await;
    submit(&bench, &second).await;
    assert_eq!(placement(&bench, &first).await, first.placement);
    let names = [&first, &second].map(|document| document.placement.object(&document.key).unwrap());
    assert_eq!(bench.store.needed_objects(&names).await.unwrap(), names[..1]);
    assert_eq!(bench.store.needed_objects(&[ObjectName::Content(first.key)]).await.unwrap(), []);
    assert_eq!(bench.store.sealers().await.unwrap(), [("2026".to_owned(), 1)]);
}

pub(super) async fn a_document_that_loses_its_bytes_loses_its_key_in_the_same_step(bench: Bench) {
    let (first, second) = (drawn(b"mail", sealed("2026", 1)), drawn(b"mail", sealed("2026", 2)));
    submit(&bench, &first).await;
    let work = bench.store.claim_render(&testing::owner("gw-a"), LEASE).await.unwrap().unwrap();
    let (fax, token) = (work.faxes[0].0.id, work.faxes[0].1);
    bench.store.render_failed(fax, token, testing::end(Outcome::Failed)).await.unwrap();
    let owed = bench.store.claim_notices(&testing::owner("gw-a"), 9, LEASE).await.unwrap();
    for work in owed {
        bench.store.notice_sent(work.notice.id, work.token, "mx1: 250").await.unwrap();
    }
    bench.clock.advance(SECOND);
    let now = bench.now().await;
    let rules = PruneRules { images_before: now, records_before: Timestamp(0), limit: 10 };
    let pruned = bench.store.prune(rules).await.unwrap();
    let name = first.placement.object(&first.key).unwrap();
    assert_eq!(pruned.gone, [name]);
    assert_eq!(bench.store.needed_objects(&[name]).await.unwrap(), []);
    assert_eq!(bench.store.sealers().await.unwrap(), []);
    let row = bench.store.document_rows(None, 10).await.unwrap().remove(0);
    assert_eq!((&row.placement.sealed, row.object()), (&None, None));

    // Put once more it is where that put says.
    submit(&bench, &second).await;
    assert_eq!(placement(&bench, &second).await, second.placement);
}

pub(super) async fn keys_are_wrapped_anew_where_they_are_as_they_were_read(bench: Bench) {
    let documents = [1, 2, 3].map(|n| drawn(&[n], sealed("2026", n)));
    for document in &documents {
        submit(&bench, document).await;
    }
    let mut read = Vec::new();
    let mut after = None;
    loop {
        let some = bench.store.sealed_otherwise("2027", after, 2).await.unwrap();
        let Some((last, _)) = some.last() else { break };
        after = Some(*last);
        read.extend(some);
    }
    assert_eq!(read.len(), 3);
    assert!(read.is_sorted_by_key(|(key, _)| *key));
    let mut rewrapped: Vec<Rewrapped> =
        read.into_iter().map(|(key, was)| Rewrapped { key, becomes: sealed("2027", was.wrapped[0]), was }).collect();
    let stale = Rewrapped { was: sealed("2026", 99), ..rewrapped.remove(0) };
    let left_alone = stale.key;
    rewrapped.push(stale);
    assert_eq!(bench.store.rewrap(rewrapped).await.unwrap(), 2);
    let left: Vec<DocumentKey> =
        bench.store.sealed_otherwise("2027", None, 9).await.unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(left, [left_alone]);
    assert_eq!(bench.store.sealers().await.unwrap(), [("2026".to_owned(), 1), ("2027".to_owned(), 2)]);
}

pub(super) async fn what_lies_in_the_clear_is_sealed_once_and_never_opened_again(bench: Bench) {
    let small = testing::document(b"small");
    let large = DocumentRef { size_bytes: 90_000, placement: Placement::default(), ..testing::document(b"large") };
    submit(&bench, &small).await;
    submit(&bench, &large).await;
    let clear = bench.store.unsealed(None, 9).await.unwrap();
    assert_eq!(clear.len(), 2);
    assert_eq!(bench.store.unsealed(Some(clear[0].0), 9).await.unwrap(), clear[1..]);

    let inline = Placement { inline: Some(vec![7; 5 + 16]), drawn: None, sealed: Some(sealed("2026", 1)) };
    assert!(bench.store.seal(small.key, inline.clone()).await.unwrap());
    let object = drawn(b"", sealed("2026", 2)).placement;
    assert!(bench.store.seal(large.key, object.clone()).await.unwrap());
    assert!(!bench.store.seal(large.key, drawn(b"", sealed("2026", 3)).placement).await.unwrap(), "it is sealed");
    assert_eq!(placement(&bench, &small).await, inline);
    assert_eq!(placement(&bench, &large).await, object);
    assert_eq!(bench.store.unsealed(None, 9).await.unwrap(), []);
    assert_eq!(bench.store.needed_objects(&[ObjectName::Content(large.key)]).await.unwrap(), []);
    // The mail that comes again finds it as it is.
    submit(&bench, &small).await;
    assert_eq!(placement(&bench, &small).await, inline);
}

pub(super) async fn a_duty_has_one_node_until_its_lease_is_over(bench: Bench) {
    let (a, b) = (testing::owner("gw-a"), testing::owner("gw-b"));
    let store = &bench.store;
    assert!(store.take_duty(&a, "retention", LEASE).await.unwrap());
    assert!(!store.take_duty(&b, "retention", LEASE).await.unwrap());
    assert!(store.take_duty(&b, "another", LEASE).await.unwrap(), "each duty by itself");
    bench.clock.advance(LEASE - SECOND);
    assert!(store.take_duty(&a, "retention", LEASE).await.unwrap(), "extended");
    bench.clock.advance(LEASE - SECOND);
    assert!(!store.take_duty(&b, "retention", LEASE).await.unwrap());
    bench.clock.advance(SECOND);
    assert!(store.take_duty(&b, "retention", LEASE).await.unwrap(), "it ran out");
    assert!(!store.take_duty(&a, "retention", LEASE).await.unwrap());
    store.give_duty_back(&a, "retention").await.unwrap();
    assert!(!store.take_duty(&a, "retention", LEASE).await.unwrap(), "what is another's is not given back");
    assert!(store.take_duty(&testing::owner("gw-b"), "retention", LEASE).await.unwrap(), "its node lives again");
    store.give_duty_back(&b, "retention").await.unwrap();
    assert!(!store.take_duty(&a, "retention", LEASE).await.unwrap(), "an earlier life gives nothing back");
}
