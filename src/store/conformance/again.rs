//! Submissions that come again, and those that are gone.

use super::*;

pub(super) async fn what_is_not_stored_is_missing(bench: Bench) {
    let (stored, lost) = (testing::message(&["+99910200"]), testing::message(&["+99910200"]));
    let (stored_id, lost_id) = (stored.id, lost.id);
    bench.submit_message(stored).await;
    assert_eq!(bench.store.missing(&[]).await.unwrap(), []);
    assert_eq!(bench.store.missing(&[stored_id]).await.unwrap(), []);
    assert_eq!(bench.store.missing(&[stored_id, lost_id]).await.unwrap(), [lost_id]);
    bench.submit_message(lost).await;
    assert_eq!(bench.store.missing(&[stored_id, lost_id]).await.unwrap(), []);
    let many: Vec<MessageId> = (0..5000).map(|_| MessageId::new()).collect();
    assert_eq!(bench.store.missing(&many).await.unwrap().len(), many.len());
}

pub(super) async fn idempotency_keys_are_forgotten_oldest_part_by_part(bench: Bench) {
    let message = |key: u8| {
        let mut message = testing::message(&["+99910200"]);
        message.idem_key = Some([key; 32]);
        message
    };
    for key in 0..5 {
        bench.submit_message(message(key)).await;
        bench.clock.advance(SECOND);
    }
    let before = Timestamp(bench.now().await.0 - 1000);
    let mut forgotten = Vec::new();
    for _ in 0..4 {
        forgotten.push(bench.store.forget_idem_keys(before, 3).await.unwrap());
    }
    assert_eq!(forgotten, [3, 1, 0, 0], "the last one is younger");
    bench.submit_message(message(0)).await;
    let again = bench.store.submit(message(4)).await.unwrap();
    assert!(matches!(again, Submitted::Duplicate { .. }), "{again:?}");
}
