//! When a fax is called again, and when the gateway gives up.
//!
//! Each group of causes has a rule, `"3x 5m"`: so many calls after the first, so long apart. Calls of other groups
//! do not use up a group's calls. A trunk that cannot be reached at all is not an attempt and never comes here.

use std::time::Duration;

use crate::config::model::{RetryConfig, RetryRule};
use crate::domain::{Cause, Class, Timestamp};

/// What to do after a call that did not send everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Call again then.
    Again(Timestamp),
    /// It is over.
    GiveUp,
}

/// Causes that share a rule and its count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Busy,
    NoAnswer,
    Line,
    Other,
}

/// A machine that never sounds like one is not called a third time: somebody may be woken by it.
const NO_TONE_RETRIES_MAX: u32 = 2;

/// Decides after a call that ended with `cause` at `now`; `earlier` are the causes of the calls before it.
///
/// `jitter` spreads calls that would fall together, -1.0 to 1.0; it moves the wait by a tenth at most.
pub fn decide(
    rules: &RetryConfig,
    cause: Cause,
    earlier: &[Cause],
    now: Timestamp,
    give_up_at: Timestamp,
    jitter: f64,
) -> Decision {
    if cause.class() != Class::Retry {
        return Decision::GiveUp;
    }
    let group = group(cause);
    let rule = rule(rules, cause);
    let used = u32::try_from(earlier.iter().filter(|c| self::group(**c) == group).count()).unwrap_or(u32::MAX);
    if used >= rule.times {
        return Decision::GiveUp;
    }
    let wait = rule.wait.as_secs_f64() * (1.0 + jitter.clamp(-1.0, 1.0) / 10.0);
    let at = now.plus(Duration::from_secs_f64(wait));
    if at > give_up_at { Decision::GiveUp } else { Decision::Again(at) }
}

fn group(cause: Cause) -> Group {
    match cause {
        Cause::Busy => Group::Busy,
        Cause::NoAnswer | Cause::NoFaxTone => Group::NoAnswer,
        // A carrier's bad hour must not use up the calls that a recipient's machine needs.
        Cause::LineDown | Cause::TrunkAuth | Cause::NoFreeChannel => Group::Line,
        _ => Group::Other,
    }
}

fn rule(rules: &RetryConfig, cause: Cause) -> RetryRule {
    match cause {
        Cause::Busy => rules.busy,
        Cause::NoAnswer => rules.no_answer,
        Cause::NoFaxTone => RetryRule { times: rules.no_answer.times.min(NO_TONE_RETRIES_MAX), ..rules.no_answer },
        _ => rules.other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn rules() -> RetryConfig {
        RetryConfig {
            busy: RetryRule { times: 3, wait: 5 * MINUTE },
            no_answer: RetryRule { times: 3, wait: 15 * MINUTE },
            other: RetryRule { times: 5, wait: 10 * MINUTE },
            give_up: 24 * 60 * MINUTE,
        }
    }

    fn check(cause: Cause, earlier: &[Cause], expected: Option<Duration>) {
        let now = Timestamp(1_000_000);
        let far = now.plus(24 * 60 * MINUTE);
        let expected = expected.map_or(Decision::GiveUp, |wait| Decision::Again(now.plus(wait)));
        assert_eq!(decide(&rules(), cause, earlier, now, far, 0.0), expected, "{cause} after {earlier:?}");
    }

    #[test]
    fn a_busy_number_is_called_three_more_times() {
        check(Cause::Busy, &[], Some(5 * MINUTE));
        check(Cause::Busy, &[Cause::Busy; 2], Some(5 * MINUTE));
        check(Cause::Busy, &[Cause::Busy; 3], None);
    }

    #[test]
    fn calls_of_another_group_do_not_use_up_the_calls() {
        check(Cause::Busy, &[Cause::NoAnswer, Cause::NoAnswer, Cause::RemoteHangup], Some(5 * MINUTE));
        check(Cause::RemoteHangup, &[Cause::PageRejected; 5], None);
        check(Cause::RemoteHangup, &[Cause::LineDown; 9], Some(10 * MINUTE));
    }

    #[test]
    fn what_cannot_work_later_is_not_tried_again() {
        for cause in [Cause::NumberUnassigned, Cause::CallRefused, Cause::VoiceAnswered, Cause::ConfirmationLost] {
            check(cause, &[], None);
        }
    }

    #[test]
    fn a_line_without_a_fax_tone_is_called_twice_more_at_most() {
        check(Cause::NoFaxTone, &[Cause::NoFaxTone], Some(15 * MINUTE));
        check(Cause::NoFaxTone, &[Cause::NoFaxTone; 2], None);
    }

    #[test]
    fn no_call_begins_after_the_time_to_give_up() {
        let now = Timestamp(0);
        assert_eq!(decide(&rules(), Cause::Busy, &[], now, now.plus(4 * MINUTE), 0.0), Decision::GiveUp);
    }

    #[test]
    fn jitter_moves_the_wait_by_a_tenth_at_most() {
        let now = Timestamp(0);
        for (jitter, wait) in [(-1.0, 270), (1.0, 330), (9.0, 330)] {
            let decision = decide(&rules(), Cause::Busy, &[], now, now.plus(60 * MINUTE), jitter);
            assert_eq!(decision, Decision::Again(now.plus(Duration::from_secs(wait))));
        }
    }
}
