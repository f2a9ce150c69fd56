//! Mails of received faxes that are taken, refused and come back, and notices of faxes that wait.

use super::received::{end, fax, page};
use super::*;
use crate::domain::{NoticeState, NotifyOn, ReceivedState, ReportStyle};

fn instead(mailboxes: &[&str]) -> Instead {
    let mailboxes = mailboxes.iter().map(|mailbox| (*mailbox).to_owned()).collect();
    Instead { mailboxes, domain: "fax.example.com".to_owned() }
}

/// A fax of two pages that came in and is owed to these mailboxes.
async fn received(bench: &Bench, mailboxes: &[&str]) -> ReceivedFaxId {
    let (store, owner, fax) = (&bench.store, testing::owner("gw-a"), fax(1));
    let token = store.begin_received(&owner, fax.clone(), page(1), LEASE).await.unwrap();
    store.received_page(fax.id, token, page(2)).await.unwrap();
    store.end_received(fax.id, token, end(fax.id, true, mailboxes)).await.unwrap();
    fax.id
}

/// The next notice that is due, with whom it goes to.
async fn next(bench: &Bench) -> (String, NoticeWork) {
    let work = bench.store.claim_notices(&testing::owner("gw-a"), 1, LEASE).await.unwrap().pop().expect("one is due");
    (work.notice.recipient.clone().unwrap(), work)
}

/// State of the fax, and of its notices by mailbox.
async fn states(bench: &Bench, fax: ReceivedFaxId) -> (ReceivedState, Vec<(String, NoticeState)>) {
    let record = bench.store.received(fax).await.unwrap();
    assert_eq!(record.received.delivered_at.is_some(), record.received.state == ReceivedState::Delivered);
    let mut notices: Vec<_> = record.notices.into_iter().map(|n| (n.recipient.unwrap(), n.state)).collect();
    notices.sort_by(|a, b| a.0.cmp(&b.0));
    (record.received.state, notices)
}

fn list(expected: &[(&str, NoticeState)]) -> Vec<(String, NoticeState)> {
    expected.iter().map(|(mailbox, state)| ((*mailbox).to_owned(), *state)).collect()
}

pub(super) async fn a_received_fax_is_delivered_when_its_last_mail_is_taken(bench: Bench) {
    let fax = received(&bench, &["anna@example.com", "ben@example.com"]).await;
    let (_, first) = next(&bench).await;
    let About::Received(record) = &first.about else { panic!("{:?}", first.about) };
    assert_eq!(**record, bench.store.received(fax).await.unwrap(), "the work is the whole record");
    assert_eq!((record.pages.len(), record.pages[1].damaged_lines), (2, 2));
    bench.store.notice_sent(first.notice.id, first.token, "mx1: 250 ok").await.unwrap();
    assert_eq!(states(&bench, fax).await.0, ReceivedState::Received, "one is owed");
    let (_, second) = next(&bench).await;
    bench.store.notice_again(second.notice.id, second.token, bench.now().await, "451 later").await.unwrap();
    let (_, second) = next(&bench).await;
    bench.store.notice_sent(second.notice.id, second.token, "mx1: 250 ok").await.unwrap();
    assert_eq!(states(&bench, fax).await.0, ReceivedState::Delivered);
}

pub(super) async fn what_a_mailbox_refuses_is_owed_to_the_default_mailboxes_once(bench: Bench) {
    use NoticeState::{Dead, Owed, Sent};
    let fax = received(&bench, &["anna@example.com", "ben@example.com"]).await;
    for _ in 0..2 {
        let (_, work) = next(&bench).await;
        let instead = instead(&["office@example.com", "Ben@Example.com"]);
        bench.store.notice_dead(work.notice.id, work.token, "550 no such user", &instead).await.unwrap();
    }
    let expected = list(&[("anna@example.com", Dead), ("ben@example.com", Dead), ("office@example.com", Owed)]);
    assert_eq!(states(&bench, fax).await, (ReceivedState::Received, expected), "a mailbox has one notice");
    let (to, work) = next(&bench).await;
    assert_eq!((to.as_str(), work.notice.format), ("office@example.com", Some(crate::domain::ReceivedFormat::Pdf)));
    bench.store.notice_sent(work.notice.id, work.token, "mx1: 250 ok").await.unwrap();
    let expected = list(&[("anna@example.com", Dead), ("ben@example.com", Dead), ("office@example.com", Sent)]);
    assert_eq!(states(&bench, fax).await, (ReceivedState::Delivered, expected));
}

pub(super) async fn a_mail_that_comes_back_makes_its_fax_owed_again(bench: Bench) {
    use NoticeState::{Bounced, Owed, Sent};
    let fax = received(&bench, &["anna@example.com"]).await;
    let (_, work) = next(&bench).await;
    let (id, office) = (work.notice.id, instead(&["office@example.com"]));
    assert!(!bench.store.notice_bounced(id, "5.1.1", &office).await.unwrap(), "it has not left yet");
    bench.store.notice_sent(id, work.token, "mx1: 250 ok").await.unwrap();
    assert_eq!(states(&bench, fax).await.0, ReceivedState::Delivered);
    assert!(bench.store.notice_bounced(id, "5.1.1 no such user", &office).await.unwrap());
    let expected = list(&[("anna@example.com", Bounced), ("office@example.com", Owed)]);
    assert_eq!(states(&bench, fax).await, (ReceivedState::Received, expected.clone()));
    assert!(!bench.store.notice_bounced(id, "5.1.1 again", &office).await.unwrap());
    assert_eq!(states(&bench, fax).await.1, expected, "telling it twice changes nothing");
    let notices = bench.store.received(fax).await.unwrap().notices;
    assert!(notices.iter().any(|notice| notice.detail.as_deref() == Some("5.1.1 no such user")), "{notices:?}");
    let (to, work) = next(&bench).await;
    assert_eq!(to, "office@example.com");
    bench.store.notice_sent(work.notice.id, work.token, "mx1: 250 ok").await.unwrap();
    let expected = list(&[("anna@example.com", Bounced), ("office@example.com", Sent)]);
    assert_eq!(states(&bench, fax).await, (ReceivedState::Delivered, expected));

    let report = bench.ready(&["+99910486"]).await[0];
    let token = bench.store.claim_calls(&testing::owner("line"), 1, LEASE).await.unwrap()[0].token;
    let failed = testing::end(Outcome::Failed);
    let notice = failed.notice.id;
    bench.store.call_failed(report, token, failed).await.unwrap();
    assert_refused("a report", bench.store.notice_bounced(notice, "5.1.1", &office).await);
    let unknown = bench.store.notice_bounced(NoticeId::new(), "5.1.1", &office).await;
    assert!(matches!(unknown, Err(StoreError::NotFound { .. })), "{unknown:?}");
}

pub(super) async fn a_fax_that_nobody_takes_is_dead_and_never_delivered(bench: Bench) {
    use NoticeState::{Bounced, Dead};
    let fax = received(&bench, &["anna@example.com"]).await;
    let office = instead(&["office@example.com"]);
    for expected in [Bounced, Dead] {
        let (to, work) = next(&bench).await;
        bench.store.notice_sent(work.notice.id, work.token, "mx1: 250 ok").await.unwrap();
        assert!(bench.store.notice_bounced(work.notice.id, "5.2.2 mailbox full", &office).await.unwrap());
        assert!(states(&bench, fax).await.1.contains(&(to, expected)), "the default mailboxes are the last ones");
    }
    assert_eq!(states(&bench, fax).await.0, ReceivedState::Received);
    assert!(bench.store.claim_notices(&testing::owner("gw-a"), 9, LEASE).await.unwrap().is_empty());
    assert_eq!(bench.store.counts().await.unwrap().notices["dead"], 1, "shown and counted");
}

pub(super) async fn a_sender_is_told_once_that_a_fax_waits(bench: Bench) {
    let after = SECOND * 900;
    let with = |change: fn(&mut NewMessage)| {
        let mut message = testing::message(&["+99910200"]);
        change(&mut message);
        message
    };
    let waits = bench.submit_message(with(|_| {})).await[0];
    for silent in [
        with(|m| m.reverse_path = None),
        with(|m| m.automatic = true),
        with(|m| m.options.report = ReportStyle::Off),
        with(|m| m.faxes[0].notify = NotifyOn { delay: false, ..NotifyOn::default() }),
        with(|m| m.faxes[0].not_before = Some(Timestamp(1_800_003_600_000))),
    ] {
        bench.submit_message(silent).await;
    }
    bench.clock.advance(after - SECOND);
    assert_eq!(bench.store.owe_delayed(after, "fax.example.com", 9).await.unwrap(), 0, "it has not waited for long");
    bench.clock.advance(SECOND);
    assert_eq!(bench.store.owe_delayed(after, "fax.example.com", 9).await.unwrap(), 1);
    assert_eq!(bench.store.owe_delayed(after, "fax.example.com", 9).await.unwrap(), 0, "once");
    let (to, work) = next(&bench).await;
    assert_eq!(
        (to.as_str(), work.notice.kind, work.notice.fax),
        ("anna@example.com", NoticeKind::Delayed, Some(waits))
    );
    assert_eq!(work.notice.header_message_id, format!("{}.delayed@fax.example.com", waits.short()));
}

/// RFC 3461 §5.2: six forms of NOTIFY, three things that happen to a fax. Without NOTIFY every fax is answered, as is promised.
pub(super) async fn d2_each_notify_gets_the_reports_that_it_asks_for_and_no_other(bench: Bench) {
    let asked = |success, failure, delay| NotifyOn { success, failure, delay };
    let agent = testing::owner("gw-a");
    for (notify, text) in [
        (NotifyOn::default(), "none: sent failed delayed"),
        (NotifyOn::NEVER, "NEVER:"),
        (asked(true, false, false), "SUCCESS: sent"),
        (asked(false, true, false), "FAILURE: failed"),
        (asked(false, false, true), "DELAY: delayed"),
        (asked(true, true, true), "SUCCESS,FAILURE,DELAY: sent failed delayed"),
    ] {
        let mut owed = Vec::new();
        for outcome in [Some(Outcome::Sent), Some(Outcome::Failed), None] {
            let mut message = testing::message(&["+99910200"]);
            message.faxes[0].notify = notify;
            let id = bench.submit_message(message).await[0];
            let Some(outcome) = outcome else {
                bench.clock.advance(SECOND * 900);
                bench.store.owe_delayed(SECOND * 900, "fax.example.com", 9).await.unwrap();
                let notices = bench.store.fax(id).await.unwrap().notices;
                owed.extend(notices.iter().map(|notice| (notice.kind, notice.recipient.clone())));
                continue;
            };
            bench.render_all().await;
            let call = bench.call(&agent).await;
            if outcome == Outcome::Sent {
                bench.confirm(&call, 1..=3).await;
            }
            let record = bench.store.fax(id).await.unwrap();
            let cause = (outcome == Outcome::Failed).then_some(Cause::Busy);
            let end = FinalEnd::new(&record.message, &record.fax, outcome, cause, None, "fax.example.com");
            let over = AttemptEnd { detail: "over".to_owned(), ..AttemptEnd::default() };
            bench.store.end_attempt(call.attempt, call.token, over, Next::Final(end)).await.unwrap();
            let notices = bench.store.fax(id).await.unwrap().notices;
            assert_eq!(notices.len(), 1, "{text}: mailed or not, one is recorded");
            let mailed = notices.iter().filter(|notice| notice.state == NoticeState::Owed);
            owed.extend(mailed.map(|notice| (notice.kind, notice.recipient.clone())));
        }
        let name = text.split(':').next().unwrap();
        assert!(owed.iter().all(|(_, to)| to.as_deref() == Some("anna@example.com")), "{name}: {owed:?}");
        let kinds: String = owed.iter().map(|(kind, _)| format!(" {kind}")).collect();
        assert_eq!(format!("{name}:{kinds}"), text);
        // What waits is not claimed in the next round.
        while let Some(work) = bench.store.claim_render(&agent, LEASE).await.unwrap() {
            for (fax, token) in work.faxes {
                let end =
                    FinalEnd::new(&work.message, &fax, Outcome::Failed, Some(Cause::Busy), None, "fax.example.com");
                bench.store.render_failed(fax.id, token, end).await.unwrap();
            }
        }
    }
}

pub(super) async fn a_fax_in_a_call_is_not_told_to_wait(bench: Bench) {
    let call = bench.in_call(&testing::owner("gw-a")).await;
    bench.clock.advance(SECOND * 900);
    assert_eq!(bench.store.owe_delayed(SECOND * 900, "fax.example.com", 9).await.unwrap(), 0);
    assert!(bench.store.fax(call.fax).await.unwrap().notices.is_empty());
}

pub(super) async fn what_is_not_true_any_more_is_withdrawn(bench: Bench) {
    let fax = bench.submit(&["+99910200"]).await[0];
    bench.clock.advance(SECOND * 900);
    assert_eq!(bench.store.owe_delayed(SECOND * 900, "fax.example.com", 9).await.unwrap(), 1);
    let (_, work) = next(&bench).await;
    bench.store.notice_withdrawn(work.notice.id, work.token, "the fax is sent").await.unwrap();
    let notice = bench.store.fax(fax).await.unwrap().notices.remove(0);
    assert_eq!((notice.state, notice.detail.as_deref()), (NoticeState::Withheld, Some("the fax is sent")));
    assert_lost("withdrawn before", bench.store.notice_sent(work.notice.id, work.token, "mx1").await);
    bench.clock.advance(LEASE * 2);
    assert!(bench.store.claim_notices(&testing::owner("gw-a"), 9, LEASE).await.unwrap().is_empty());
}
