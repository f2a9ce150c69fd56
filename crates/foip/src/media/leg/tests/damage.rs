//! Pages without error correction over a network that loses packets.

use std::collections::HashSet;

use super::*;

/// Lines of the page that are not in what came, in order.
fn missing_lines(sent: &Bitmap, came: &Bitmap) -> u32 {
    let lines = |page: &Bitmap| (0..page.height()).map(|y| page.row(y).to_vec()).collect::<Vec<_>>();
    let came: HashSet<_> = lines(came).into_iter().collect();
    lines(sent).iter().filter(|line| !came.contains(*line)).count() as u32
}

/// Over what is confirmed to the sender: so much of a page may lack.
fn check(played: &Played, what: &str) {
    let images = played.images();
    let confirmed = played.calling.last_page_confirmed as usize;
    assert!(images.len() >= confirmed, "{what}: {confirmed} confirmed, {} came", images.len());
    for (number, (sent, came)) in pages().iter().zip(&images).take(confirmed).enumerate() {
        let missing = missing_lines(sent, came);
        assert!(missing * 20 <= sent.height(), "{what}: {missing} lines of page {} are missing", number + 1);
    }
}

#[test]
fn no_page_with_missing_lines_is_confirmed_without_error_correction() {
    let mut ends = [0, 0];
    for transport in [Transport::T38, Transport::G711] {
        for seed in 0..12 {
            for loss in [0.002, 0.01, 0.05] {
                // No redundancy: each datagram that is lost is missed.
                let arrives = losing(loss, seed);
                let played = Scene { transport, ecm: false, target: target(0, 0), arrives, ..Scene::default() }.play();
                check(&played, &format!("{transport:?}, seed {seed}, loss {loss}"));
                ends[usize::from(played.calling.last_page_confirmed == 2)] += 1;
            }
        }
    }
    assert!(ends[0] > 0 && ends[1] > 0, "both good and bad calls were played: {ends:?}");
}

#[test]
fn a_burst_anywhere_in_an_image_leaves_no_page_confirmed_that_lacks_it() {
    for transport in [Transport::T38, Transport::G711] {
        for (first, length) in [(0, 5), (20, 10), (50, 30), (100, 150), (0, 400)] {
            for page in 0..2 {
                let mut begin = None;
                let arrives = move |passing: &Passing| {
                    let image = passing.image && passing.pages == page;
                    if image || begin.is_some() {
                        let from = *begin.get_or_insert(passing.tick) + first;
                        return passing.from == 1 || !(from..from + length).contains(&passing.tick);
                    }
                    true
                };
                let played = Scene {
                    transport,
                    ecm: false,
                    target: target(0, 0),
                    arrives: Box::new(arrives),
                    ..Scene::default()
                }
                .play();
                check(&played, &format!("{transport:?}, page {}, {length} from {first}", page + 1));
            }
        }
    }
}

#[test]
fn with_error_correction_pages_are_identical_or_unconfirmed() {
    for transport in [Transport::T38, Transport::G711] {
        for seed in 0..4 {
            let arrives = losing(0.02, seed);
            let played = Scene { transport, target: target(0, 0), arrives, ..Scene::default() }.play();
            let confirmed = played.calling.last_page_confirmed as usize;
            let images = played.images();
            assert!(images.len() >= confirmed && images[..confirmed] == pages()[..confirmed], "{transport:?}, {seed}");
        }
    }
}

#[test]
fn a_last_page_that_is_asked_for_again_is_in_doubt_only_when_it_has_left_again() {
    for transport in [Transport::T38, Transport::G711] {
        // Half a second of the only page is lost, the first time that it is sent.
        let mut begin = None;
        let arrives = move |passing: &Passing| {
            let image = passing.image || begin.is_some();
            !image || !(20..45).contains(&(passing.tick - *begin.get_or_insert(passing.tick)))
        };
        let pages = pages()[..1].to_vec();
        let played =
            Scene { transport, target: target(0, 0), pages, arrives: Box::new(arrives), ..Scene::default() }.play();
        let end: Vec<_> = played.events.iter().skip_while(|event| **event != CallEvent::AllPagesSent).collect();
        assert!(
            matches!(
                end[..],
                [
                    CallEvent::AllPagesSent,
                    CallEvent::PageAskedAgain { page: 1 },
                    CallEvent::AllPagesSent,
                    CallEvent::Page { page: 1, .. }
                ]
            ),
            "{transport:?}: {end:?}"
        );
        assert!(played.images()[0] == self::pages()[0]);
    }
}
