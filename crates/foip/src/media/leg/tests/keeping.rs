//! Received pages whose keeping takes its time.

use super::*;

const TRANSPORTS: [Transport; 2] = [Transport::T38, Transport::G711];

#[test]
fn a_slow_store_holds_the_sender_off_and_each_page_arrives_once() {
    for transport in TRANSPORTS {
        for seconds in [1, 8, 40] {
            let played = Scene { transport, keeps: Keeps::After(seconds), ..Scene::default() }.play();
            assert_eq!(played.calling.last_page_confirmed, 2, "{transport:?}, {seconds} s: {:?}", played.calling);
            assert_eq!(played.called.last_page_confirmed, 2);
            assert!(played.images() == pages(), "{transport:?}, {seconds} s: {} pages", played.received.len());
            assert_eq!(
                played.received.iter().map(|page| (page.page, page.last)).collect::<Vec<_>>(),
                [(1, false), (2, true)]
            );
            // The pages waited in the call's own clock.
            assert!(played.calling.duration > Duration::from_secs(2 * seconds));
        }
    }
}

#[test]
fn a_page_that_cannot_be_kept_is_never_confirmed_however_late_that_is_known() {
    for transport in TRANSPORTS {
        for keeps in [Keeps::FailsAfter(0), Keeps::FailsAfter(9), Keeps::ForgetsAfter(9), Keeps::After(51)] {
            let played = Scene { transport, keeps, ..Scene::default() }.play();
            assert_eq!((played.calling.last_page_confirmed, played.called.last_page_confirmed), (0, 0));
            assert!(!played.events.iter().any(|event| matches!(event, CallEvent::Page { .. })), "{:?}", played.events);
            assert_eq!(played.received.len(), 1);
            assert!(played.called.refused.is_some());
            assert!(played.calling.duration < Duration::from_secs(100), "{:?}", played.calling.duration);
        }
    }
}

#[test]
fn a_sender_without_error_correction_is_not_kept_waiting() {
    for transport in TRANSPORTS {
        let played = Scene { transport, ecm: false, keeps: Keeps::After(8), ..Scene::default() }.play();
        assert_eq!((played.calling.last_page_confirmed, played.received.len()), (0, 1));
        assert!(played.called.refused.is_some_and(|words| words.contains("without error correction")));
    }
}

#[test]
fn a_page_that_is_repeated_because_its_confirmation_was_lost_comes_once() {
    for transport in TRANSPORTS {
        for ecm in [true, false] {
            // The called end is not heard for 3 s after its first page: the MCF is lost, and the command repeated.
            let mut until = None;
            let arrives = move |passing: &Passing| {
                if passing.pages == 1 && passing.from == 1 {
                    return passing.tick > *until.get_or_insert(passing.tick + 3 * TICKS_PER_S);
                }
                true
            };
            let played = Scene { transport, ecm, arrives: Box::new(arrives), ..Scene::default() }.play();
            assert_eq!(
                played.received.iter().map(|page| page.page).collect::<Vec<_>>(),
                [1, 2],
                "{transport:?}, {ecm}"
            );
            assert_eq!(played.calling.last_page_confirmed, 2, "{transport:?}, {ecm}: {:?}", played.calling);
            assert!(played.images() == pages());
        }
    }
}

#[test]
fn who_calls_and_whom_they_want_is_known_before_the_first_page() {
    let played = Scene::default().play();
    let before_pages = played.called_events.split(|event| matches!(event, CallEvent::PageStarted { .. })).next();
    assert!(before_pages.expect("a part").iter().any(|event| matches!(
        event,
        CallEvent::Trained { remote_id, subaddress: Some(subaddress), .. } if remote_id == "1" && subaddress == "4711"
    )));
}
