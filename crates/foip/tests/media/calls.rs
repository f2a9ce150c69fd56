//! Calls that go well.

use fax_image::Resolution;
use foip::call::{AudioTarget, CallEvent, Transport};
use foip::media::{MediaCommand, MediaEvent, Role, SendDocument};

use crate::pair::{Call, End, Seen, folder, hang_up_when_told, loopback, order, page, write_pages};

fn check(call: Call) -> (Seen, Seen) {
    let sent: Vec<_> =
        call.pages.iter().skip(call.first_page as usize - 1).map(|page| (page.clone(), call.resolution)).collect();
    let (first, last) = (call.first_page, call.pages.len() as u32);
    let (transport, ecm) = (call.transport, call.ecm);
    let (calling, called) = call.run();
    assert!(called.images() == sent, "the pages arrive pixel by pixel");
    assert_eq!(calling.pages(), Vec::from_iter(first..=last), "the caller counts in the document");
    assert_eq!(called.pages(), Vec::from_iter(1..=sent.len() as u32), "the called end counts in the call");
    for (end, other) in [(&calling, "+41 44 222"), (&called, "+41 44 111")] {
        let outcome = &end.outcome;
        assert_eq!(outcome.t30.as_ref().map(|t30| t30.code), Some(0), "{outcome:?}");
        assert_eq!(outcome.transport, Some(transport));
        assert_eq!(outcome.ecm, Some(ecm));
        assert_eq!(outcome.remote_id.as_deref(), Some(other));
        assert!(outcome.fax_seen && outcome.all_pages_sent && !outcome.page_rejected && !outcome.voice_heard);
        assert!(!outcome.dead && outcome.refused.is_none());
        assert_eq!((outcome.packets_lost, outcome.packets_recovered), (0, 0), "lock-step loses nothing");
    }
    assert_eq!(calling.outcome.last_page_confirmed, last);
    (calling, called)
}

#[test]
fn pages_arrive_identical_over_each_transport_with_and_without_error_correction() {
    for transport in [Transport::T38, Transport::G711] {
        for ecm in [true, false] {
            let pages = vec![page(1, 500), page(2, 300), page(3, 700)];
            let (calling, _) = check(Call { transport, ecm, pages, ..Call::default() });
            assert_eq!(calling.outcome.rate_bps, Some(14_400));
        }
    }
}

#[test]
fn every_resolution_arrives_as_it_was_sent() {
    for resolution in [Resolution::STANDARD, Resolution::FINE, Resolution::SUPERFINE] {
        check(Call { resolution, pages: vec![page(4, 800), page(5, 600)], ..Call::default() });
    }
}

#[test]
fn a_call_may_begin_with_a_later_page() {
    check(Call { first_page: 2, pages: vec![page(1, 200), page(2, 300), page(3, 400)], ..Call::default() });
}

#[test]
fn a_long_page_needs_several_blocks_of_error_correction() {
    // 256 frames of 256 octets make a block.
    let mut dense = page(1, 2200);
    for y in 0..2200 {
        for x in (0..1728).filter(|x| (x * 7919 + y * 104_729) % 11 < 2) {
            dense.set(x, y, fax_image::Ink::Black);
        }
    }
    check(Call { pages: vec![dense, page(2, 100)], ..Call::default() });
}

#[test]
fn events_come_in_the_order_of_the_call() {
    let pages = vec![page(1, 200), page(2, 200)];
    let (calling, called) = check(Call { pages, switched: true, ..Call::default() });
    let words = |end: &Seen| -> Vec<String> {
        let word = |event: &CallEvent| match event {
            CallEvent::Carried(transport) => format!("{transport:?}"),
            CallEvent::Trained { rate_bps, .. } => format!("trained {rate_bps}"),
            CallEvent::PageStarted { page } => format!("page {page}"),
            CallEvent::Page { page, .. } => format!("page {page} done"),
            other => format!("{other:?}"),
        };
        end.events.iter().map(word).collect()
    };
    let expected = ["G711", "T38", "trained 14400", "page 1", "page 1 done", "page 2", "AllPagesSent", "page 2 done"];
    assert_eq!(words(&calling), expected);
    assert_eq!(words(&called), expected);
    assert_eq!(calling.media_events.last().or(called.media_events.last()), Some(&MediaEvent::Finished));
}

#[test]
fn a_receiver_of_2400_bits_per_second_is_sent_no_faster() {
    for transport in [Transport::T38, Transport::G711] {
        let (calling, called) =
            check(Call { transport, called_max_rate_bps: 2400, pages: vec![page(1, 60)], ..Call::default() });
        assert_eq!((calling.outcome.rate_bps, called.outcome.rate_bps), (Some(2400), Some(2400)));
    }
}

#[test]
fn a_re_invite_switches_both_ends_at_the_same_moment_of_the_call() {
    let (calling, _) = check(Call { switched: true, ..Call::default() });
    // CED and DIS take 3 s and more when the fax begins anew; nothing is lost by the switch.
    assert!(calling.outcome.duration.as_secs() < 30, "{:?}", calling.outcome.duration);
}

#[test]
fn the_switch_is_refused_once_the_audio_fax_has_begun() {
    let dir = folder();
    let path = write_pages(dir.path(), &[page(1, 300)], Resolution::FINE);
    let sockets = [loopback(), loopback()];
    let addresses = sockets.each_ref().map(|socket| socket.local_addr().expect("bound"));
    let [near, far] = sockets;
    let send = SendDocument { path, page_count: 1, first_page: 1, codings: Default::default() };
    let calling = End::spawn(order(Role::Calling, Some(send), dir.path()), near, Box::new(|_| Ok(())));
    let called = End::spawn(order(Role::Called, None, dir.path()), far, Box::new(|_| Ok(())));
    assert!(calling.may_switch() && called.may_switch());
    calling.command(MediaCommand::Audio(AudioTarget { remote: addresses[1], a_law: true }));
    called.command(MediaCommand::Audio(AudioTarget { remote: addresses[0], a_law: true }));
    hang_up_when_told([&calling, &called]);
    assert!(!calling.may_switch() && !called.may_switch());
    assert_eq!(calling.seen().pages(), [1]);
}
