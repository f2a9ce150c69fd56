//! Calls that end badly, each in its own way.

use std::time::{Duration, Instant};

use fax_image::Resolution;
use foip::call::{AudioTarget, CallEvent, Keeping, Pace, ReceivedPage, Refusal, Transport};
use foip::media::{Faults, MediaCommand, MediaEvent, MediaOrder, Role, SendDocument};

use crate::pair::{Call, End, Keep, folder, hang_up_when_told, loopback, order, page, t38, write_pages};

fn three_pages() -> Vec<fax_image::Bitmap> {
    vec![page(1, 300), page(2, 900), page(3, 300)]
}

#[test]
fn a_far_end_that_hangs_up_in_a_page_leaves_the_pages_before_it_confirmed() {
    for transport in [Transport::T38, Transport::G711] {
        for ecm in [true, false] {
            for number in 1..=3 {
                let faults = Faults { hang_up_in_page: Some(number), ..Faults::default() };
                let (calling, called) = Call { transport, ecm, faults, pages: three_pages(), ..Call::default() }.run();
                let before = Vec::from_iter(1..number);
                assert_eq!((calling.pages(), called.pages()), (before.clone(), before), "page {number}, {transport:?}");
                assert!(calling.events.contains(&CallEvent::PageStarted { page: number }));
                assert!(calling.outcome.remote_hung_up);
                assert_eq!(calling.outcome.last_page_confirmed, number - 1);
                assert_ne!(calling.outcome.t30.map(|t30| t30.code), Some(0));
                assert_eq!(called.media_events, [MediaEvent::HangUpNow]);
            }
        }
    }
}

#[test]
fn a_rejected_page_is_sent_again_and_given_up_at_the_third_time() {
    let empty = || fax_image::Bitmap::white(1728, 1100).expect("a small page");
    for transport in [Transport::T38, Transport::G711] {
        for (pages, times) in [
            (three_pages(), 3),
            (vec![empty(), empty(), empty()], 3),
            // spandsp as a receiver does not take a last page again that it has rejected, and hangs up.
            (vec![page(1, 300), page(2, 300)], 1),
        ] {
            let faults = Faults { reject_page: Some(2), ..Faults::default() };
            let (calling, called) = Call { transport, pages, faults, ..Call::default() }.run();
            let rejections = calling.events.iter().filter(|event| **event == CallEvent::PageRejected { page: 2 });
            assert_eq!(rejections.count(), times, "{:?}", calling.events);
            assert_eq!((calling.pages(), called.pages()), (vec![1], vec![1]));
            assert!(calling.outcome.page_rejected && !calling.outcome.all_pages_sent);
            assert_eq!(calling.outcome.last_page_confirmed, 1);
        }
    }
}

#[test]
fn a_lost_last_confirmation_leaves_all_pages_sent_and_the_last_one_unconfirmed() {
    for transport in [Transport::T38, Transport::G711] {
        for ecm in [true, false] {
            let faults = Faults { lose_last_confirmation: true, ..Faults::default() };
            let (calling, called) = Call { transport, ecm, faults, pages: three_pages(), ..Call::default() }.run();
            assert_eq!((calling.pages(), called.pages()), (vec![1, 2], vec![1, 2, 3]));
            assert!(calling.outcome.all_pages_sent && calling.outcome.remote_hung_up);
            assert_eq!(calling.outcome.last_page_confirmed, 2);
            assert_ne!(calling.outcome.t30.map(|t30| t30.code), Some(0));
        }
    }
}

#[test]
fn a_person_who_answers_is_heard() {
    let faults = Faults { voice: true, ..Faults::default() };
    let (calling, called) = Call { transport: Transport::G711, faults, ..Call::default() }.run();
    assert!(calling.outcome.voice_heard && !calling.outcome.fax_seen, "{:?}", calling.outcome);
    // T0: nothing of a fax within 60 s.
    assert_eq!(calling.outcome.t30.map(|t30| t30.code), Some(2));
    assert_eq!(called.pages(), []);
    assert!(called.outcome.remote_hung_up);
}

#[test]
fn a_page_that_the_receivers_store_refuses_is_not_confirmed() {
    for (transport, ecm) in [(Transport::T38, true), (Transport::T38, false), (Transport::G711, true)] {
        let refuses = |event: &CallEvent| match event {
            CallEvent::Page { page: 2, .. } => Err(Refusal("the store is away".into())),
            _ => Ok(()),
        };
        let (calling, called) =
            Call { transport, ecm, pages: three_pages(), called_answers: Box::new(refuses), ..Call::default() }.run();
        assert_eq!(calling.pages(), [1], "no MCF left for page 2");
        assert_eq!(called.outcome.last_page_confirmed, 1);
        assert_eq!(called.outcome.refused.as_deref(), Some("the store is away"));
        assert_ne!(called.outcome.t30.map(|t30| t30.code), Some(0));
        assert!(calling.outcome.remote_hung_up);
    }
}

/// A store on another thread, which answers when it comes to it.
fn store(answer: Result<(), Refusal>) -> Keep {
    Box::new(move |page: &ReceivedPage| {
        let (sender, receiver) = std::sync::mpsc::channel();
        let answer = if page.page < 3 { Ok(()) } else { answer.clone() };
        std::thread::spawn(move || sender.send(answer));
        Keeping::Pending(receiver)
    })
}

#[test]
fn a_store_on_another_thread_is_waited_for() {
    for transport in [Transport::T38, Transport::G711] {
        // How late it may be in the call's clock is played tick by tick in the tests of the leg: here a thread that the
        // machine does not run for a moment would be late by minutes of it.
        let call = || Call { transport, pages: three_pages(), ..Call::default() };
        let (calling, called) = Call { called_keeps: store(Ok(())), ..call() }.run();
        assert_eq!((calling.pages(), called.pages()), (vec![1, 2, 3], vec![1, 2, 3]));
        assert_eq!(called.received.len(), 3);
        let full = Err(Refusal("the disk is full".into()));
        let (calling, called) = Call { called_keeps: store(full), ..call() }.run();
        assert_eq!((calling.pages(), called.pages()), (vec![1, 2], vec![1, 2]));
        assert_eq!(called.outcome.refused.as_deref(), Some("the disk is full"));
        assert!(calling.outcome.remote_hung_up && calling.outcome.all_pages_sent, "{:?}", calling.outcome);
    }
}

#[test]
fn a_confirmation_that_the_senders_store_refuses_stops_the_call_before_the_next_page() {
    let refuses = |event: &CallEvent| match event {
        CallEvent::Page { page: 1, .. } => Err(Refusal("the lease is lost".into())),
        _ => Ok(()),
    };
    let (calling, called) = Call { pages: three_pages(), calling_answers: Box::new(refuses), ..Call::default() }.run();
    assert_eq!(called.pages(), [1]);
    assert!(!called.events.contains(&CallEvent::PageStarted { page: 3 }));
    // It is confirmed all the same, and never to be sent again.
    assert_eq!(calling.outcome.last_page_confirmed, 1);
    assert_eq!(calling.outcome.refused.as_deref(), Some("the lease is lost"));
}

#[test]
fn an_observer_that_panics_ends_its_call_and_nothing_else() {
    let panics = |event: &CallEvent| match event {
        CallEvent::Page { .. } => panic!("on purpose"),
        _ => Ok(()),
    };
    let (calling, called) = Call { called_answers: Box::new(panics), ..Call::default() }.run();
    assert_eq!(calling.pages(), []);
    assert_eq!(called.outcome.refused.as_deref(), Some("the observer panicked"));
    assert!(calling.outcome.remote_hung_up);
}

#[test]
fn a_slow_observer_only_delays_the_clock_that_both_ends_share() {
    let slow = |event: &CallEvent| {
        if matches!(event, CallEvent::Page { .. }) {
            let until = Instant::now() + Duration::from_millis(300);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
        }
        Ok(())
    };
    let (calling, called) = Call { pages: three_pages(), called_answers: Box::new(slow), ..Call::default() }.run();
    assert_eq!((calling.pages(), called.pages()), (vec![1, 2, 3], vec![1, 2, 3]));
    assert_eq!(calling.outcome.t30.map(|t30| t30.code), Some(0));
}

#[test]
fn a_far_end_that_vanishes_is_dead_after_a_while() {
    let dir = folder();
    let path = write_pages(dir.path(), &three_pages(), Resolution::FINE);
    let send = SendDocument { path, page_count: 3, first_page: 1, codings: Default::default() };
    let silent = loopback();
    let calling = End::spawn(order(Role::Calling, Some(send), dir.path()), loopback(), Box::new(|_| Ok(())));
    calling.command(t38(silent.local_addr().expect("bound")));
    let seen = calling.seen();
    assert!(seen.outcome.dead && !seen.outcome.fax_seen);
    assert!(matches!(seen.media_events[..], [MediaEvent::Dead(silence)] if silence >= Duration::from_secs(10)));
}

/// A network between two sockets that loses each n-th datagram; ends when its sockets' far ends are gone.
fn lossy_relay(ends: [std::net::SocketAddr; 2], lose_each: usize) -> [std::net::SocketAddr; 2] {
    let sockets = [loopback(), loopback()];
    let addresses = sockets.each_ref().map(|socket| socket.local_addr().expect("bound"));
    for (here, there) in [(0, 1), (1, 0)] {
        let from = sockets[here].try_clone().expect("a handle");
        let out = sockets[there].try_clone().expect("a handle");
        from.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out");
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            let mut count = 0;
            while let Ok((length, _)) = from.recv_from(&mut buffer) {
                count += 1;
                if count % lose_each != 0 {
                    let _ = out.send_to(&buffer[..length], ends[there]);
                }
            }
        });
    }
    // What each end is to send to: the relay's socket on its side.
    [addresses[0], addresses[1]]
}

#[test]
#[ignore = "takes as long as a call: 25 s; the pace of real trunks"]
fn in_real_time_a_call_over_a_network_that_loses_packets_goes_well() {
    for transport in [Transport::T38, Transport::G711] {
        let dir = folder();
        let path = write_pages(dir.path(), &[page(1, 300), page(2, 300)], Resolution::FINE);
        let sockets = [loopback(), loopback()];
        let lose_each = if transport == Transport::T38 { 20 } else { usize::MAX };
        let relay = lossy_relay(sockets.each_ref().map(|socket| socket.local_addr().expect("bound")), lose_each);
        let send = SendDocument { path, page_count: 2, first_page: 1, codings: Default::default() };
        let [near, far] = sockets;
        let real_time = |order| MediaOrder { pace: Pace::RealTime, ..order };
        let calling = End::spawn(real_time(order(Role::Calling, Some(send), dir.path())), near, Box::new(|_| Ok(())));
        let called = End::spawn(real_time(order(Role::Called, None, dir.path())), far, Box::new(|_| Ok(())));
        for (end, remote) in [(&calling, relay[0]), (&called, relay[1])] {
            end.command(match transport {
                Transport::T38 => t38(remote),
                Transport::G711 => MediaCommand::Audio(AudioTarget { remote, a_law: true }),
            });
        }
        hang_up_when_told([&calling, &called]);
        let (calling, called) = (calling.seen(), called.seen());
        assert_eq!((calling.pages(), called.pages()), (vec![1, 2], vec![1, 2]), "{:?}", calling.outcome);
        assert_eq!(called.images().len(), 2);
        assert_eq!(calling.outcome.packets_recovered > 0, transport == Transport::T38, "{:?}", calling.outcome);
    }
}

#[test]
fn media_goes_to_where_the_far_ends_packets_come_from() {
    let dir = folder();
    let path = write_pages(dir.path(), &[page(1, 100)], Resolution::FINE);
    // What the SDP of a far end behind a NAT says, and where its packets come from.
    let (elsewhere, far) = (loopback(), loopback());
    let near = loopback();
    let near_address = near.local_addr().expect("bound");
    let send = SendDocument { path, page_count: 1, first_page: 1, codings: Default::default() };
    let order = MediaOrder { pace: Pace::RealTime, ..order(Role::Calling, Some(send), dir.path()) };
    let calling = End::spawn(order, near, Box::new(|_| Ok(())));
    calling.command(t38(elsewhere.local_addr().expect("bound")));
    // T.38 §7.3.1: the indicator "no signal".
    let hello = foip::udptl::Sender::new(0, 400).datagram(&[0]);
    far.set_read_timeout(Some(Duration::from_millis(200))).expect("a time-out");
    let mut buffer = [0; 2048];
    let started = Instant::now();
    let from = loop {
        far.send_to(&hello, near_address).expect("sent");
        if let Ok((_, from)) = far.recv_from(&mut buffer) {
            break from;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "nothing comes to where the packets came from");
    };
    assert_eq!(from, near_address);
    calling.command(MediaCommand::Stop);
    calling.seen();
}
