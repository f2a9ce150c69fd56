//! Faults on purpose, so that tests can see what a crash leaves. Debug builds alone carry them.
//!
//! `FAXWELL_CRASH_AT=NAME` aborts the process where the code says `crash_point!("NAME")`, `NAME:3` when it passes there
//! for the third time: nothing of it gets to run any more, as after `kill -9`. `FAXWELL_FAULT=NAME,NAME` switches a
//! guarantee off, for tests that must be able to fail. A release build knows neither variable, and refuses both as
//! settings that do not exist.

#[cfg(debug_assertions)]
use std::sync::OnceLock;
#[cfg(debug_assertions)]
use std::sync::atomic::{AtomicU32, Ordering};

/// Whether a guarantee is switched off.
#[cfg(debug_assertions)]
pub fn is_on(name: &str) -> bool {
    static ON: OnceLock<Vec<String>> = OnceLock::new();
    ON.get_or_init(|| names(&std::env::var("FAXWELL_FAULT").unwrap_or_default())).iter().any(|on| on == name)
}

/// Whether a guarantee is switched off: never.
#[cfg(not(debug_assertions))]
pub const fn is_on(_: &str) -> bool {
    false
}

#[cfg(debug_assertions)]
fn names(text: &str) -> Vec<String> {
    text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// Where to crash: the point, and how often it is passed until then.
#[cfg(debug_assertions)]
struct Crash {
    point: String,
    left: AtomicU32,
}

/// Ends the process here, when the environment says so.
#[cfg(debug_assertions)]
pub fn pass(point: &str) {
    static CRASH: OnceLock<Option<Crash>> = OnceLock::new();
    let crash = CRASH.get_or_init(|| std::env::var("FAXWELL_CRASH_AT").ok().map(|text| crash(&text)));
    if let Some(crash) = crash
        && crash.point == point
        && crash.left.fetch_sub(1, Ordering::AcqRel) == 1
    {
        std::process::abort();
    }
}

#[cfg(debug_assertions)]
fn crash(text: &str) -> Crash {
    let (point, count) = match text.rsplit_once(':') {
        Some((point, count)) => (point, count.parse().unwrap_or(1)),
        None => (text, 1),
    };
    Crash { point: point.to_owned(), left: AtomicU32::new(count) }
}

/// A place at which tests kill the process. Nothing in a release build.
macro_rules! crash_point {
    ($name:literal) => {
        #[cfg(debug_assertions)]
        $crate::fault::pass($name);
    };
}
pub(crate) use crash_point;

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_named_with_or_without_the_pass_that_ends_the_process() {
        for (text, point, left) in [("line.answered", "line.answered", 1), ("store.page:3", "store.page", 3)] {
            let crash = crash(text);
            assert_eq!((crash.point.as_str(), crash.left.into_inner()), (point, left));
        }
    }

    #[test]
    fn nothing_is_switched_off_unless_it_is_named() {
        assert_eq!(names("no-journal, no-lease-token"), ["no-journal", "no-lease-token"]);
        assert!(names("").is_empty());
        assert!(!is_on("no-journal"));
    }
}
