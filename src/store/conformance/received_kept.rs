//! Received faxes later: mails that go out once more, what is kept of them and for how long, and a restore.

use std::collections::BTreeSet;

use super::received::{end, fax, page};
use super::*;
use crate::domain::{NoticeState, ReceivedState};

const DAY: Duration = Duration::from_secs(24 * 3600);
const MAILBOX: &str = "anna@example.com";

/// A fax of two pages whose mail is owed.
async fn owed(bench: &Bench, call_no: i64) -> ReceivedFaxId {
    let (owner, fax) = (testing::owner("gw-a"), fax(call_no));
    let token = bench.store.begin_received(&owner, fax.clone(), page(1), LEASE).await.unwrap();
    bench.store.received_page(fax.id, token, page(2)).await.unwrap();
    bench.store.end_received(fax.id, token, end(fax.id, true, &[MAILBOX])).await.unwrap();
    fax.id
}

/// The only mail that is owed.
async fn claim(bench: &Bench) -> NoticeWork {
    let mut work = bench.store.claim_notices(&testing::owner("gw-a"), 9, LEASE).await.unwrap();
    assert_eq!(work.len(), 1, "{work:?}");
    work.remove(0)
}

async fn deliver(bench: &Bench) {
    let work = claim(bench).await;
    bench.store.notice_sent(work.notice.id, work.token, "mx1: 250 ok").await.unwrap();
}

/// Pages that are over for 30 days and records that are over for 400 go.
async fn prune(bench: &Bench) -> Pruned {
    let now = bench.now().await;
    let before = |days: u32| Timestamp(now.0 - i64::try_from((DAY * days).as_millis()).unwrap());
    let rules = PruneRules { images_before: before(30), records_before: before(400), limit: 100 };
    let foreseen = bench.store.prunable(rules).await.unwrap();
    let pruned = bench.store.prune(rules).await.unwrap();
    assert_eq!(Pruned { gone: vec![], ..pruned.clone() }, foreseen);
    pruned
}

pub(super) async fn the_mail_of_a_received_fax_is_owed_once_more_as_the_same_mail(bench: Bench) {
    let fax = owed(&bench, 1).await;
    let of = EventsOf::Received(fax);
    let early = bench.store.redeliver(of, None, "anna").await;
    assert!(matches!(&early, Err(StoreError::WrongState { .. })), "it is owed still: {early:?}");
    let first = claim(&bench).await;
    bench.store.notice_sent(first.notice.id, first.token, "mx1: 250 ok").await.unwrap();
    bench.clock.advance(DAY);
    let other = bench.store.redeliver(of, Some("ben@example.com"), "anna").await;
    assert!(format!("{other:?}").contains("faxwell inbound show R-"), "{other:?}");
    assert_eq!(bench.store.redeliver(of, None, "anna").await.unwrap(), 1);
    let again = claim(&bench).await;
    let same = |work: &NoticeWork| {
        let notice = work.notice.clone();
        (notice.id, notice.header_message_id, notice.created_at, notice.recipient, notice.format)
    };
    assert_eq!(same(&again), same(&first));
    bench.store.notice_sent(again.notice.id, again.token, "mx1: 250 ok").await.unwrap();
    assert_eq!(bench.store.received(fax).await.unwrap().received.state, ReceivedState::Delivered);
    // One that came back, too: its mailbox may be there again.
    let office = Instead { mailboxes: vec!["office@example.com".to_owned()], domain: "fax.example.com".to_owned() };
    assert!(bench.store.notice_bounced(first.notice.id, "5.1.1", &office).await.unwrap());
    deliver(&bench).await;
    assert_eq!(bench.store.redeliver(of, Some("ANNA@example.com"), "anna").await.unwrap(), 1);
    assert_eq!(same(&claim(&bench).await), same(&first));
    let unknown = bench.store.redeliver(EventsOf::Received(ReceivedFaxId::new()), None, "anna").await;
    assert!(matches!(unknown, Err(StoreError::NotFound { .. })), "{unknown:?}");
}

pub(super) async fn a_received_fax_keeps_its_pages_until_it_was_delivered_for_long_enough(bench: Bench) {
    let fax = owed(&bench, 1).await;
    let documents = BTreeSet::from([1, 2].map(|number| page(number).document.key));
    bench.clock.advance(DAY * 500);
    assert!(prune(&bench).await.is_nothing(), "its mail is owed");
    deliver(&bench).await;
    assert!(prune(&bench).await.is_nothing(), "it was delivered just now");
    bench.clock.advance(DAY * 30 + SECOND);
    let record = bench.store.received(fax).await.unwrap();
    let pruned = prune(&bench).await;
    assert_eq!((pruned.documents, pruned.received), (2, 0));
    let names: BTreeSet<_> = documents.iter().copied().map(ObjectName::Content).collect();
    assert_eq!(pruned.gone.into_iter().collect::<BTreeSet<_>>(), names);
    for key in &documents {
        assert!(matches!(bench.store.document(key).await.unwrap(), StoredDocument::Pruned { .. }));
    }
    assert_eq!(bench.store.received(fax).await.unwrap(), record, "what came in is still known");
    bench.clock.advance(DAY * 370);
    assert_eq!(prune(&bench).await.received, 1);
    assert!(matches!(bench.store.received(fax).await, Err(StoreError::NotFound { .. })));
}

pub(super) async fn a_received_fax_that_nobody_has_is_never_removed(bench: Bench) {
    let fax = owed(&bench, 1).await;
    let work = claim(&bench).await;
    bench.store.notice_dead(work.notice.id, work.token, "550 no such user", &Instead::default()).await.unwrap();
    bench.clock.advance(DAY * 500);
    assert!(prune(&bench).await.is_nothing(), "the far end was told that it is received");
    assert_eq!(bench.store.redeliver(EventsOf::Received(fax), None, "anna").await.unwrap(), 1);
    deliver(&bench).await;
    bench.clock.advance(DAY * 500);
    assert_eq!(prune(&bench).await.received, 1);
}

pub(super) async fn a_legal_hold_keeps_a_received_fax_until_it_is_ended(bench: Bench) {
    let fax = owed(&bench, 1).await;
    deliver(&bench).await;
    let of = EventsOf::Received(fax);
    for _ in 0..2 {
        bench.store.set_legal_hold(of, true, "anna").await.unwrap();
    }
    let told = bench.store.events(of, 0, 100).await.unwrap();
    assert_eq!(told.iter().filter(|event| event.text == "legal hold set by anna").count(), 1, "once");
    bench.clock.advance(DAY * 500);
    assert_eq!(prune(&bench).await, Pruned { held: 1, ..Pruned::default() });
    bench.store.set_legal_hold(of, false, "anna").await.unwrap();
    assert_eq!(prune(&bench).await.received, 1);
    let missing = bench.store.set_legal_hold(of, true, "anna").await;
    assert!(matches!(missing, Err(StoreError::NotFound { kind: "received fax", .. })), "{missing:?}");
}

pub(super) async fn a_restore_changes_no_received_fax_and_lets_go_of_one_that_was_coming_in(bench: Bench) {
    let delivered = owed(&bench, 1).await;
    deliver(&bench).await;
    let waits = owed(&bench, 2).await;
    let (owner, coming) = (testing::owner("gw-a"), fax(3));
    bench.store.begin_received(&owner, coming.clone(), page(1), LEASE).await.unwrap();
    let before = [bench.store.received(delivered).await.unwrap(), bench.store.received(waits).await.unwrap()];
    let restored = bench.store.restored(Unended::Hold, "restored from the backup of today").await.unwrap();
    assert_eq!((restored.held, restored.notices_owed), (0, 1));
    let after = [bench.store.received(delivered).await.unwrap(), bench.store.received(waits).await.unwrap()];
    assert_eq!(after, before);
    let stale = bench.store.stale_received().await.unwrap();
    assert_eq!(stale.iter().map(|stale| stale.record.received.id).collect::<Vec<_>>(), [coming.id]);
    let work = claim(&bench).await;
    assert_eq!((work.notice.received, work.notice.state), (Some(waits), NoticeState::Owed));
}
