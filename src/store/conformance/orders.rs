//! Orders of people, at every moment of a fax's life.

use super::*;
use crate::domain::{Cause, FaxState};

const BY: &str = "anna";
const DOMAIN: &str = "fax.example.com";
const HOUR: Duration = Duration::from_secs(3600);

#[track_caller]
fn assert_wrong_state<T: std::fmt::Debug>(what: &str, result: Result<T>) {
    let Err(StoreError::WrongState { why, fix, .. }) = &result else { panic!("{what}: {result:?}") };
    assert!(!why.is_empty() && !fix.is_empty(), "{what}: {result:?}");
}

impl Bench {
    /// Nothing is claimed for pages, calls or overdue ends.
    async fn assert_nobody_works(&self, why: &str) {
        let node = testing::owner("gw-b");
        assert!(self.store.claim_render(&node, LEASE).await.unwrap().is_none(), "{why}");
        assert!(self.store.claim_calls(&node, 9, LEASE).await.unwrap().is_empty(), "{why}");
        assert!(self.store.claim_overdue(&node, 9, LEASE).await.unwrap().is_empty(), "{why}");
    }

    async fn carry_out(&self) -> u64 {
        self.store.carry_out_orders(DOMAIN).await.unwrap()
    }

    async fn state(&self, fax: FaxId) -> (FaxState, Option<Order>) {
        let fax = self.fax(fax).await;
        (fax.state, fax.ordered)
    }

    /// A fax that ended like this with these pages confirmed.
    async fn ended(&self, confirmed: u32, outcome: Outcome) -> FaxId {
        let call = self.in_call(&testing::owner("gw-a")).await;
        self.confirm(&call, 1..=confirmed).await;
        self.end(&call, outcome).await.unwrap();
        call.fax
    }

    /// The kinds of its final notices.
    async fn reports(&self, fax: FaxId) -> Vec<NoticeKind> {
        let notices = self.store.fax(fax).await.unwrap().notices;
        notices.iter().map(|notice| notice.kind).filter(|kind| kind.is_final()).collect()
    }
}

fn retried_as(retried: Retried) -> FaxId {
    let Retried::As { fax } = retried else { panic!("{retried:?}") };
    fax
}

pub(super) async fn a_held_fax_is_nobodys_work_and_its_time_stands_still(bench: Bench) {
    let accepted = bench.submit(&["+99910200"]).await[0];
    let ready = {
        bench.store.hold(accepted, BY).await.unwrap();
        bench.ready(&["+99910486"]).await[0]
    };
    let give_up_at = bench.fax(ready).await.give_up_at;
    assert_eq!(bench.store.hold(ready, BY).await.unwrap(), Ordered::Done);
    assert_eq!(bench.store.hold(ready, "somebody else").await.unwrap(), Ordered::Done, "repeating it changes nothing");
    bench.clock.advance(HOUR * 48);
    bench.assert_nobody_works("it is held").await;
    assert_wrong_state("retry", bench.store.retry(ready, RetryPages::Rest, BY, HOUR).await);

    for (fax, state) in [(accepted, FaxState::Accepted), (ready, FaxState::Ready)] {
        assert_eq!(bench.state(fax).await, (FaxState::Held, None));
        bench.store.release(fax, BY).await.unwrap();
        assert_eq!(bench.state(fax).await, (state, None), "where it was");
        assert_wrong_state("a second release", bench.store.release(fax, BY).await);
    }
    assert_eq!(bench.fax(ready).await.give_up_at, give_up_at.plus(HOUR * 48), "as much later as it was held");
    let node = testing::owner("gw-a");
    assert!(bench.store.claim_overdue(&node, 9, LEASE).await.unwrap().is_empty());
    assert_eq!(bench.store.claim_calls(&node, 9, LEASE).await.unwrap()[0].fax.id, ready);
    assert_eq!(bench.store.claim_render(&node, LEASE).await.unwrap().unwrap().faxes[0].0.id, accepted);
    let story = bench.all(ready).await.1;
    assert!(story.iter().any(|event| event.kind == "held" && event.text == "held by anna"), "{story:?}");
}

pub(super) async fn an_order_waits_for_the_renderer_and_then_holds(bench: Bench) {
    let node = testing::owner("gw-a");
    for (order, end) in [(Order::Hold, FaxState::Held), (Order::Cancel, FaxState::Cancelled)] {
        let fax = bench.submit(&["+99910200"]).await[0];
        let token = bench.store.claim_render(&node, LEASE).await.unwrap().unwrap().faxes[0].1;
        let ordered = match order {
            Order::Hold => bench.store.hold(fax, BY).await.unwrap(),
            Order::Cancel => bench.store.cancel(fax, BY, DOMAIN).await.unwrap(),
        };
        assert_eq!((ordered, bench.carry_out().await), (Ordered::Soon, 0), "its pages are being made");
        bench.store.rendered(fax, token, testing::pages(3)).await.unwrap();
        bench.assert_nobody_works("ordered before it was ready").await;
        assert_eq!((bench.carry_out().await, bench.carry_out().await), (1, 0));
        assert_eq!(bench.state(fax).await, (end, None));
    }
}

pub(super) async fn an_order_waits_for_the_end_of_the_call(bench: Bench) {
    let table = [(Order::Hold, 1, FaxState::Held), (Order::Cancel, 2, FaxState::Cancelled)];
    for (order, confirmed, end) in table {
        let call = bench.in_call(&testing::owner("gw-a")).await;
        bench.confirm(&call, 1..=confirmed).await;
        let ordered = match order {
            Order::Hold => bench.store.hold(call.fax, BY).await.unwrap(),
            Order::Cancel => bench.store.cancel(call.fax, BY, DOMAIN).await.unwrap(),
        };
        assert_eq!((ordered, bench.carry_out().await), (Ordered::Soon, 0), "a call is open");
        assert_wrong_state("retry", bench.store.retry(call.fax, RetryPages::Rest, BY, HOUR).await);
        let next = Next::Again { not_before: bench.now().await };
        bench.store.end_attempt(call.attempt, call.token, testing::busy(), next).await.unwrap();
        bench.assert_nobody_works("ordered in the call").await;
        assert_eq!(bench.carry_out().await, 1);
        let fax = bench.fax(call.fax).await;
        assert_eq!((fax.state, fax.ordered, fax.pages_confirmed), (end, None, confirmed));
    }
}

pub(super) async fn an_order_is_carried_out_when_the_agent_died_in_the_call(bench: Bench) {
    let call = bench.in_call(&testing::owner("gw-a")).await;
    bench.confirm(&call, [1]).await;
    bench.store.cancel(call.fax, BY, DOMAIN).await.unwrap();
    bench.store.take_back(&testing::owner("gw-a")).await.unwrap();
    assert_eq!(bench.carry_out().await, 0, "the attempt is settled first");
    let orphan = bench.store.orphans().await.unwrap().remove(0);
    let next = Next::Again { not_before: bench.now().await };
    bench.store.settle(&orphan, testing::busy(), next).await.unwrap();
    assert_eq!(bench.carry_out().await, 1);
    assert_eq!(bench.reports(call.fax).await, [NoticeKind::Cancelled]);
}

pub(super) async fn an_end_in_the_call_comes_before_the_order(bench: Bench) {
    for (confirmed, outcome) in
        [(3, Outcome::Sent), (1, Outcome::Partial), (2, Outcome::Unknown), (1, Outcome::Cancelled)]
    {
        let call = bench.in_call(&testing::owner("gw-a")).await;
        bench.confirm(&call, 1..=confirmed).await;
        bench.store.cancel(call.fax, BY, DOMAIN).await.unwrap();
        bench.end(&call, outcome).await.unwrap();
        assert_eq!(bench.carry_out().await, 0);
        assert_eq!(bench.state(call.fax).await, (outcome.into(), None));
        let who = (outcome == Outcome::Cancelled).then_some("by anna");
        assert_eq!(bench.fax(call.fax).await.detail.as_deref(), who);
        assert_eq!(bench.reports(call.fax).await, [NoticeKind::from(outcome)]);
    }
}

pub(super) async fn a_call_that_was_claimed_and_not_begun_does_not_begin(bench: Bench) {
    let fax = bench.ready(&["+99910200"]).await[0];
    let work = bench.store.claim_calls(&testing::owner("gw-a"), 1, LEASE).await.unwrap().remove(0);
    assert_eq!(bench.store.hold(fax, BY).await.unwrap(), Ordered::Soon);
    assert_refused("begin", bench.store.begin_attempt(fax, work.token, testing::attempt(1)).await);
    bench.store.call_again(fax, work.token, bench.now().await, "ordered").await.unwrap();
    assert_eq!(bench.carry_out().await, 1);
    assert_eq!((bench.fax(fax).await.attempts, bench.state(fax).await), (0, (FaxState::Held, None)));
}

pub(super) async fn orders_that_wait_replace_and_withdraw_one_another(bench: Bench) {
    let call = bench.in_call(&testing::owner("gw-a")).await;
    bench.store.hold(call.fax, BY).await.unwrap();
    assert_eq!(bench.state(call.fax).await.1, Some(Order::Hold));
    bench.store.release(call.fax, BY).await.unwrap();
    assert_eq!(bench.state(call.fax).await, (FaxState::Ready, None), "the order is withdrawn");
    bench.store.hold(call.fax, BY).await.unwrap();
    assert_eq!(bench.store.cancel(call.fax, BY, DOMAIN).await.unwrap(), Ordered::Soon);
    assert_eq!(bench.state(call.fax).await.1, Some(Order::Cancel));
    assert_wrong_state("hold what is being cancelled", bench.store.hold(call.fax, BY).await);
    assert_wrong_state("release what is being cancelled", bench.store.release(call.fax, BY).await);
    assert_eq!(bench.store.cancel(call.fax, BY, DOMAIN).await.unwrap(), Ordered::Soon, "repeating it");
}

pub(super) async fn a_cancelled_fax_ends_with_its_one_report_and_stays_ended(bench: Bench) {
    let accepted = bench.submit(&["+99910200"]).await[0];
    let held = bench.ready(&["+99910486"]).await;
    let held = held[0];
    bench.store.hold(held, BY).await.unwrap();
    for fax in [accepted, held] {
        // The first of them was rendered on the way.
        assert_eq!(bench.store.cancel(fax, BY, DOMAIN).await.unwrap(), Ordered::Done);
        let record = bench.fax(fax).await;
        assert_eq!((record.state, record.cause), (FaxState::Cancelled, Some(Cause::Cancelled)));
        assert_eq!(record.detail.as_deref(), Some("by anna"));
        assert_eq!(bench.reports(fax).await, [NoticeKind::Cancelled]);
        let before = bench.all(fax).await;
        assert_wrong_state("cancel", bench.store.cancel(fax, BY, DOMAIN).await);
        assert_wrong_state("hold", bench.store.hold(fax, BY).await);
        assert_wrong_state("release", bench.store.release(fax, BY).await);
        assert_eq!(bench.all(fax).await, before);
    }
}

pub(super) async fn what_has_arrived_is_sent_and_never_cancelled(bench: Bench) {
    // The last confirmation comes from a journal, when the fax waits again, and when it is held.
    for hold in [false, true] {
        let call = bench.in_call(&testing::owner("gw-a")).await;
        bench.confirm(&call, [1, 2]).await;
        let next = Next::Again { not_before: bench.now().await.plus(HOUR) };
        bench.store.end_attempt(call.attempt, call.token, testing::busy(), next).await.unwrap();
        if hold {
            bench.store.hold(call.fax, BY).await.unwrap();
        }
        bench.confirm(&call, [3]).await;
        if !hold {
            assert_wrong_state("hold", bench.store.hold(call.fax, BY).await);
        }
        assert_eq!(bench.store.cancel(call.fax, BY, DOMAIN).await.unwrap(), Ordered::Done);
        assert_eq!(bench.fax(call.fax).await.state, FaxState::Sent);
        assert_eq!(bench.reports(call.fax).await, [NoticeKind::Sent]);
    }
    // It comes while an order to hold it waits.
    let call = bench.in_call(&testing::owner("gw-a")).await;
    bench.store.hold(call.fax, BY).await.unwrap();
    let next = Next::Again { not_before: bench.now().await.plus(HOUR) };
    bench.store.end_attempt(call.attempt, call.token, testing::busy(), next).await.unwrap();
    bench.confirm(&call, 1..=3).await;
    assert_eq!(bench.carry_out().await, 1);
    assert_eq!(bench.reports(call.fax).await, [NoticeKind::Sent]);
}

pub(super) async fn a_waiting_fax_is_tried_now(bench: Bench) {
    let mut later = testing::message(&["+99910200"]);
    later.faxes[0].not_before = Some(bench.now().await.plus(HOUR));
    let later = bench.submit_message(later).await[0];
    bench.render_all().await;
    let call = bench.in_call(&testing::owner("gw-a")).await;
    let next = Next::Again { not_before: bench.now().await.plus(HOUR) };
    bench.store.end_attempt(call.attempt, call.token, testing::busy(), next).await.unwrap();
    bench.assert_nobody_works("both wait").await;
    for fax in [later, call.fax] {
        assert_eq!(bench.store.retry(fax, RetryPages::Rest, BY, HOUR).await.unwrap(), Retried::Now);
        assert_eq!(bench.fax(fax).await.not_before, bench.now().await);
    }
    assert_eq!(bench.store.claim_calls(&testing::owner("gw-a"), 9, LEASE).await.unwrap().len(), 1, "one number");
}

pub(super) async fn an_ended_fax_is_sent_once_more_from_the_first_page_that_is_missing(bench: Bench) {
    use Outcome::{Cancelled, Failed, Partial, Unknown};
    for (confirmed, outcome) in [(0, Failed), (1, Partial), (2, Unknown), (2, Cancelled)] {
        let old = bench.ended(confirmed, outcome).await;
        let ended = bench.fax(old).await;
        bench.clock.advance(HOUR);
        let new = retried_as(bench.store.retry(old, RetryPages::Rest, BY, HOUR).await.unwrap());
        let fax = bench.fax(new).await;
        assert_eq!((fax.state, fax.message, fax.document), (FaxState::Ready, ended.message, ended.document));
        assert_eq!((fax.retry_of, fax.begin_page, fax.pages_confirmed), (Some(old), confirmed + 1, confirmed));
        assert_eq!((fax.accepted_at, fax.give_up_at), (bench.now().await, bench.now().await.plus(HOUR)));
        assert_eq!((fax.recipient.as_str(), fax.number, fax.attempts), (&*ended.recipient, ended.number.clone(), 0));
        assert_eq!(bench.fax(old).await, ended, "the end of a fax never changes");
        assert_eq!(bench.store.fax(old).await.unwrap().retried_as, Some(new));

        assert_wrong_state("a second time", bench.store.retry(old, RetryPages::All, BY, HOUR).await);
        let call = bench.call(&testing::owner("gw-a")).await;
        assert_eq!((call.fax, bench.store.fax(new).await.unwrap().attempts[0].first_page), (new, confirmed + 1));
        bench.confirm(&call, [3]).await;
        assert_eq!(bench.fax(new).await.pages_confirmed, if confirmed == 2 { 3 } else { confirmed }, "no gap");
        bench.confirm(&call, confirmed + 1..=3).await;
        bench.end(&call, Outcome::Sent).await.unwrap();
        assert_eq!(bench.reports(new).await, [NoticeKind::Sent], "a report of its own");
        assert_eq!(bench.reports(old).await, [NoticeKind::from(outcome)]);
    }
}

pub(super) async fn a_fax_that_arrived_is_sent_again_only_when_all_pages_are_asked_for(bench: Bench) {
    let sent = bench.ended(3, Outcome::Sent).await;
    let late = {
        let call = bench.in_call(&testing::owner("gw-a")).await;
        bench.confirm(&call, [1, 2]).await;
        bench.end(&call, Outcome::Unknown).await.unwrap();
        bench.confirm(&call, [3]).await;
        call.fax
    };
    for fax in [sent, late] {
        assert_wrong_state("rest", bench.store.retry(fax, RetryPages::Rest, BY, HOUR).await);
        let new = retried_as(bench.store.retry(fax, RetryPages::All, BY, HOUR).await.unwrap());
        let new = bench.fax(new).await;
        assert_eq!((new.begin_page, new.pages_confirmed, new.state), (1, 0, FaxState::Ready));
    }
}

pub(super) async fn a_fax_without_pages_is_rendered_for_its_retry(bench: Bench) {
    let fax = bench.submit(&["+99910200"]).await[0];
    let node = testing::owner("gw-a");
    let token = bench.store.claim_render(&node, LEASE).await.unwrap().unwrap().faxes[0].1;
    bench.store.render_failed(fax, token, testing::end(Outcome::Failed)).await.unwrap();
    let new = retried_as(bench.store.retry(fax, RetryPages::Rest, BY, HOUR).await.unwrap());
    assert_eq!(bench.state(new).await.0, FaxState::Accepted);
    bench.render_all().await;
    assert_eq!(bench.state(new).await.0, FaxState::Ready);
}

pub(super) async fn mails_are_owed_once_more_under_their_message_ids(bench: Bench) {
    let fax = bench.ended(3, Outcome::Sent).await;
    let of = EventsOf::Fax(fax);
    assert_wrong_state("it is owed still", bench.store.redeliver(of, None, BY).await);
    let node = testing::owner("gw-a");
    let work = bench.store.claim_notices(&node, 1, LEASE).await.unwrap().remove(0);
    bench.store.notice_sent(work.notice.id, work.token, "mx1 250 ok").await.unwrap();
    assert_wrong_state("another mailbox", bench.store.redeliver(of, Some("bob@example.com"), BY).await);
    assert_eq!(bench.store.redeliver(of, Some("Anna@Example.com"), BY).await.unwrap(), 1);
    let again = bench.store.claim_notices(&node, 1, LEASE).await.unwrap().remove(0);
    assert_eq!(again.notice.header_message_id, work.notice.header_message_id);
    assert_eq!((again.notice.id, again.notice.created_at), (work.notice.id, work.notice.created_at));
    bench.store.notice_dead(again.notice.id, again.token, "550 no", &Instead::default()).await.unwrap();
    assert_eq!(bench.store.redeliver(of, None, BY).await.unwrap(), 1, "a dead one too");
    assert_eq!(bench.reports(fax).await, [NoticeKind::Sent], "still one report");

    let mut silent = testing::message(&["+99910486"]);
    silent.reverse_path = None;
    let silent = bench.submit_message(silent).await[0];
    bench.store.cancel(silent, BY, DOMAIN).await.unwrap();
    assert_wrong_state("withheld", bench.store.redeliver(EventsOf::Fax(silent), None, BY).await);
    let none = bench.store.redeliver(EventsOf::Fax(FaxId::new()), None, BY).await;
    assert!(matches!(none, Err(StoreError::NotFound { .. })), "{none:?}");
}

pub(super) async fn the_journal_is_read_by_fax_by_message_and_whole(bench: Bench) {
    let faxes = bench.submit(&["+99910200", "+99910486"]).await;
    bench.clock.advance(SECOND);
    let other = bench.submit(&["+99910480"]).await[0];
    let between = bench.now().await;
    bench.clock.advance(SECOND);
    bench.store.hold(faxes[1], BY).await.unwrap();
    let message = bench.fax(faxes[0]).await.message;

    let all = bench.store.events(EventsOf::All, 0, 100).await.unwrap();
    let of: Vec<_> = all.iter().map(|event| event.of.clone().unwrap()).collect();
    let short = |fax: FaxId| fax.short().to_string();
    assert_eq!(of, [short(faxes[0]), short(faxes[1]), short(other), short(faxes[1])]);
    let seqs = |events: Vec<Event>| events.iter().map(|event| event.seq).collect::<Vec<_>>();
    let read = async |of, after, limit| seqs(bench.store.events(of, after, limit).await.unwrap());
    let expected = |which: &[usize]| which.iter().map(|nth| all[*nth].seq).collect::<Vec<_>>();
    assert_eq!(read(EventsOf::All, all[0].seq, 2).await, expected(&[1, 2]), "a page of the journal");
    assert_eq!(read(EventsOf::Fax(faxes[1]), 0, 9).await, expected(&[1, 3]));
    assert_eq!(read(EventsOf::Fax(faxes[1]), all[1].seq, 9).await, expected(&[3]));
    assert_eq!(read(EventsOf::Message(message), 0, 9).await, expected(&[0, 1, 3]));
    assert_eq!(bench.store.last_event_before(between).await.unwrap(), all[1].seq);
    assert_eq!(bench.store.last_event_before(between.plus(HOUR)).await.unwrap(), all[3].seq);

    assert_eq!(bench.store.find(&faxes[0].short()).await.unwrap(), EventsOf::Fax(faxes[0]));
    assert_eq!(bench.store.find(&message.short()).await.unwrap(), EventsOf::Message(message));
    for id in [FaxId::new().short(), MessageId::new().short(), ReceivedFaxId::new().short()] {
        let found = bench.store.find(&id).await;
        assert!(matches!(found, Err(StoreError::NotFound { .. })), "{id}: {found:?}");
    }
}
