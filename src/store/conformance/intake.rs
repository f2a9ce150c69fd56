//! Submission and rendering.

use super::*;
use crate::domain::{Cause, FaxState, NoticeState, NotifyOn};

pub(super) async fn a_message_is_stored_whole(bench: Bench) {
    let mut message = testing::message(&["+99910200", "+99910486"]);
    message.ret = Some(Ret::Hdrs);
    message.envid = Some("QQ314159".to_owned());
    message.automatic = true;
    message.options.reference = Some("Ümläut 4711".to_owned());
    message.faxes[1].notify = NotifyOn::NEVER;
    message.faxes[1].post_dial = Some("1234#".to_owned());
    message.faxes[1].original_recipient = Some("rfc822;x@example.com".to_owned());
    let ids = bench.submit_message(message.clone()).await;

    let stored = bench.store.message(message.id).await.unwrap();
    assert_eq!(stored.subject, message.subject);
    assert_eq!((stored.ret, stored.envid, stored.automatic), (message.ret, message.envid, true));
    assert_eq!(stored.options, message.options);
    assert_eq!((stored.raw, stored.accepted_at), (message.raw.key, bench.now().await));

    let fax = bench.fax(ids[1]).await;
    assert_eq!(fax.state, FaxState::Accepted);
    assert_eq!(fax.notify, NotifyOn::NEVER);
    assert_eq!(fax.post_dial.as_deref(), Some("1234#"));
    assert_eq!(fax.original_recipient.as_deref(), Some("rfc822;x@example.com"));
    assert_eq!(fax.give_up_at, bench.now().await.plus(message.faxes[1].give_up_after));
    assert_eq!(bench.store.find_fax(&ids[0].short()).await.unwrap(), ids[0]);
}

pub(super) async fn a_message_that_comes_again_is_stored_once(bench: Bench) {
    let mut first = testing::message(&["+99910200"]);
    first.idem_key = Some([7; 32]);
    bench.submit_message(first.clone()).await;
    let accepted_at = bench.now().await;
    bench.clock.advance(SECOND);

    let mut second = testing::message(&["+99910200"]);
    second.idem_key = Some([7; 32]);
    let duplicate = bench.store.submit(second).await.unwrap();
    assert_eq!(duplicate, Submitted::Duplicate { message: first.id }, "another submission of the same mail");

    let again = bench.store.submit(first).await.unwrap();
    assert_eq!(again, Submitted::Accepted { at: accepted_at }, "the same submission, whose answer got lost");

    let mut other = testing::message(&["+99910200"]);
    other.idem_key = Some([8; 32]);
    bench.submit_message(other).await;
    assert_eq!(bench.store.faxes(&FaxFilter::default()).await.unwrap().len(), 2);
}

pub(super) async fn a_taken_id_is_told_and_nothing_is_stored(bench: Bench) {
    let first = testing::message(&["+99910200"]);
    let taken = first.faxes[0].id;
    bench.submit_message(first.clone()).await;

    // The same short id behind another UUID: only the digits that people read are equal.
    let like = FaxId(uuid::Uuid::from_u128(taken.0.as_u128() ^ (1 << 64)));
    assert_eq!(like.short(), taken.short());
    for id in [taken, like] {
        let mut second = testing::message(&["+99910486", "+99910480"]);
        second.faxes[1].id = id;
        let (message, fax) = (second.id, second.faxes[0].id);
        let refused = bench.store.submit(second).await;
        assert!(matches!(refused, Err(StoreError::IdTaken(_))), "{refused:?}");
        assert!(bench.store.message(message).await.is_err() && bench.store.fax(fax).await.is_err());
    }
    let mut second = testing::message(&["+99910486"]);
    second.id = first.id;
    let refused = bench.store.submit(second).await;
    assert!(matches!(refused, Err(StoreError::IdTaken(_))), "{refused:?}");
}

pub(super) async fn a_message_without_recipients_is_refused(bench: Bench) {
    assert_refused("no recipients", bench.store.submit(testing::message(&[])).await);
}

pub(super) async fn one_claim_takes_all_faxes_of_a_message_urgent_and_old_ones_first(bench: Bench) {
    let old = testing::message(&["+99910200", "+99910486", "+99910480"]);
    let (old_id, faxes) = (old.id, old.faxes.len());
    bench.submit_message(old).await;
    bench.clock.advance(SECOND);
    let young = testing::message(&["+99910200"]);
    let young_id = young.id;
    bench.submit_message(young).await;
    let mut urgent = testing::message(&["+99910200"]);
    urgent.priority = 1;
    let urgent_id = urgent.id;
    bench.submit_message(urgent).await;

    let renderer = testing::owner("gw-a");
    let mut claimed = Vec::new();
    while let Some(work) = bench.store.claim_render(&renderer, LEASE).await.unwrap() {
        assert_eq!(work.faxes.len(), if work.message.id == old_id { faxes } else { 1 });
        assert!(work.faxes.iter().all(|(fax, token)| fax.message == work.message.id && *token == 1));
        claimed.push(work.message.id);
    }
    assert_eq!(claimed, [urgent_id, old_id, young_id]);
}

pub(super) async fn workers_that_died_over_a_message_are_counted(bench: Bench) {
    let renderer = testing::owner("gw-a");
    bench.submit(&["+99910200", "+99910486"]).await;
    for crashes in 0..3 {
        let work = bench.store.claim_render(&renderer, LEASE).await.unwrap().unwrap();
        assert_eq!(work.crashes, crashes);
        bench.run_out().await;
    }
    let work = bench.store.claim_render(&renderer, LEASE).await.unwrap().unwrap();
    for (fax, token) in work.faxes {
        bench.store.render_again(fax.id, token, bench.now().await, "the converter is busy").await.unwrap();
    }
    let work = bench.store.claim_render(&renderer, LEASE).await.unwrap().unwrap();
    assert_eq!(work.crashes, 3, "a worker that wrote back did not die");
}

pub(super) async fn the_first_call_waits_for_the_time_asked_for(bench: Bench) {
    let agent = testing::owner("gw-a");
    let mut message = testing::message(&["+99910200"]);
    let at = bench.now().await.plus(SECOND * 100);
    message.faxes[0].not_before = Some(at);
    let ids = bench.submit_message(message.clone()).await;
    bench.render_all().await;
    let fax = bench.fax(ids[0]).await;
    assert_eq!((fax.state, fax.not_before), (FaxState::Ready, at), "pages are made at once");
    assert_eq!(fax.give_up_at, at.plus(message.faxes[0].give_up_after), "and given up later, too");
    bench.clock.advance(SECOND * 99);
    assert!(bench.store.claim_calls(&agent, 9, LEASE).await.unwrap().is_empty());
    bench.clock.advance(SECOND);
    assert_eq!(bench.store.claim_calls(&agent, 9, LEASE).await.unwrap().len(), 1);
}

pub(super) async fn a_message_that_cannot_be_rendered_ends_with_its_notice(bench: Bench) {
    let ids = bench.submit(&["+99910200"]).await;
    let work = bench.store.claim_render(&testing::owner("gw-a"), LEASE).await.unwrap().unwrap();
    let (fax, token) = (ids[0], work.faxes[0].1);
    for outcome in [Outcome::Sent, Outcome::Partial, Outcome::Unknown] {
        let ended = bench.store.render_failed(fax, token, testing::end(outcome)).await;
        assert_refused(outcome.as_str(), ended);
    }
    let mut end = testing::end(Outcome::Failed);
    end.cause = Some(Cause::DocumentDamaged);
    end.detail = Some("offer.pdf: truncated".to_owned());
    bench.store.render_failed(fax, token, end).await.unwrap();

    let record = bench.store.fax(fax).await.unwrap();
    assert_eq!((record.fax.state, record.fax.cause), (FaxState::Failed, Some(Cause::DocumentDamaged)));
    assert_eq!(record.fax.detail.as_deref(), Some("offer.pdf: truncated"));
    assert_eq!(record.fax.ended_at, Some(bench.now().await));
    assert_eq!(record.notices.len(), 1);
    assert_eq!((record.notices[0].kind, record.notices[0].state), (NoticeKind::Failed, NoticeState::Owed));
}

pub(super) async fn pages_are_tried_again_when_their_time_has_come(bench: Bench) {
    let renderer = testing::owner("gw-a");
    let ids = bench.submit(&["+99910200"]).await;
    let work = bench.store.claim_render(&renderer, LEASE).await.unwrap().unwrap();
    let later = bench.now().await.plus(SECOND * 5);
    bench.store.render_again(ids[0], work.faxes[0].1, later, "no memory").await.unwrap();
    assert_eq!(bench.fax(ids[0]).await.detail.as_deref(), Some("no memory"));
    assert!(bench.store.claim_render(&renderer, LEASE).await.unwrap().is_none());
    bench.clock.advance(SECOND * 5);
    let work = bench.store.claim_render(&renderer, LEASE).await.unwrap().unwrap();
    bench.store.rendered(ids[0], work.faxes[0].1, testing::pages(2)).await.unwrap();
    let fax = bench.fax(ids[0]).await;
    assert_eq!((fax.page_count, fax.document), (Some(2), Some(testing::pages(2).document.key)));
    assert_eq!((fax.not_before, fax.detail), (bench.now().await, None));
}
