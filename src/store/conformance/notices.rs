//! The mails that are owed.

use super::*;
use crate::domain::NoticeState;

pub(super) async fn each_fax_gets_exactly_one_final_notice(bench: Bench) {
    let agent = testing::owner("gw-a");
    bench.ready(&["+99910200", "+99910486", "+99910480", "+99910404"]).await;
    let cases = [(3, Outcome::Sent), (1, Outcome::Partial), (0, Outcome::Failed), (2, Outcome::Unknown)];
    for (confirmed, outcome) in cases {
        let call = bench.call(&agent).await;
        bench.confirm(&call, 1..=confirmed).await;
        bench.end(&call, outcome).await.unwrap();
        for other in [Outcome::Sent, Outcome::Failed, Outcome::Cancelled] {
            assert_lost("ended before", bench.end(&call, other).await);
            let failed = bench.store.call_failed(call.fax, call.token, testing::end(other)).await;
            assert_lost("ended before", failed);
        }
        let record = bench.store.fax(call.fax).await.unwrap();
        assert_eq!(record.fax.state.outcome(), Some(outcome));
        let kinds: Vec<_> = record.notices.iter().map(|notice| notice.kind).collect();
        assert_eq!(kinds, [NoticeKind::from(outcome)]);
    }
    assert!(bench.store.claim_calls(&agent, 9, LEASE).await.unwrap().is_empty());
}

fn fax_of(work: &NoticeWork) -> &FaxRecord {
    let About::Fax(record) = &work.about else { panic!("{:?}", work.about) };
    record
}

/// A fax that has failed and owes a notice.
async fn owed(bench: &Bench, withheld: Option<&str>) -> NoticeId {
    let ids = bench.ready(&["+99910200"]).await;
    let token = bench.store.claim_calls(&testing::owner("line"), 1, LEASE).await.unwrap()[0].token;
    let mut end = testing::end(Outcome::Failed);
    end.notice.withheld = withheld.map(str::to_owned);
    if withheld.is_some() {
        end.notice.recipient = None;
    }
    let notice = end.notice.id;
    bench.store.call_failed(ids[0], token, end).await.unwrap();
    notice
}

pub(super) async fn a_notice_is_owed_until_somebody_takes_it(bench: Bench) {
    let owner = testing::owner("gw-a");
    let created_at = bench.now().await;
    let id = owed(&bench, None).await;
    let store = &bench.store;
    let work = store.claim_notices(&owner, 9, LEASE).await.unwrap().remove(0);
    assert_eq!((work.notice.id, work.notice.state, work.notice.tries), (id, NoticeState::Owed, 1));
    assert_eq!(fax_of(&work).notices, std::slice::from_ref(&work.notice));
    assert!(store.claim_notices(&owner, 9, LEASE).await.unwrap().is_empty());
    let later = bench.now().await.plus(SECOND * 30);
    store.notice_again(id, work.token, later, "451 try later").await.unwrap();
    assert!(store.claim_notices(&owner, 9, LEASE).await.unwrap().is_empty());
    bench.clock.advance(SECOND * 30);

    let first = store.claim_notices(&owner, 9, LEASE).await.unwrap().remove(0);
    assert_eq!((first.notice.tries, first.notice.detail.as_deref()), (2, Some("451 try later")));
    bench.run_out().await;
    let second = store.claim_notices(&owner, 9, LEASE).await.unwrap().remove(0);
    assert_eq!(second.notice.header_message_id, work.notice.header_message_id, "every copy is the same");
    assert_eq!((second.notice.created_at, second.notice.tries), (created_at, 3));
    store.notice_sent(id, second.token, "mx1: 250 ok").await.unwrap();
    bench.run_out().await;
    assert!(store.claim_notices(&owner, 9, LEASE).await.unwrap().is_empty());
    let notice = store.fax(second.notice.fax.unwrap()).await.unwrap().notices.remove(0);
    assert_eq!((notice.state, notice.detail.as_deref()), (NoticeState::Sent, Some("mx1: 250 ok")));
    assert!(notice.sent_at.is_some());
    assert_lost("sent before", store.notice_sent(id, second.token, "mx1").await);
}

pub(super) async fn a_dead_notice_is_kept_and_a_withheld_one_never_claimed(bench: Bench) {
    let owner = testing::owner("gw-a");
    let withheld = owed(&bench, Some("null sender")).await;
    let dead = owed(&bench, None).await;
    let work = bench.store.claim_notices(&owner, 9, LEASE).await.unwrap();
    assert_eq!(work.iter().map(|work| work.notice.id).collect::<Vec<_>>(), [dead]);
    bench.store.notice_dead(dead, work[0].token, "550 no such user", &Instead::default()).await.unwrap();
    bench.run_out().await;
    assert!(bench.store.claim_notices(&owner, 9, LEASE).await.unwrap().is_empty());
    let counts = bench.store.counts().await.unwrap();
    assert_eq!((counts.notices["dead"], counts.notices["withheld"], counts.notices["owed"]), (1, 1, 0));
    let mut details = Vec::new();
    for summary in bench.store.faxes(&FaxFilter::default()).await.unwrap() {
        let notice = bench.store.fax(summary.fax.id).await.unwrap().notices.remove(0);
        details.push((notice.id, notice.detail));
    }
    assert!(details.contains(&(withheld, Some("null sender".to_owned()))), "{details:?}");
    assert!(details.contains(&(dead, Some("550 no such user".to_owned()))), "{details:?}");
}
