//! `at TIME`: when the first call may begin. A clock without a zone is the sender's, whose mail says how far it is from UTC.

use std::str::FromStr;
use std::time::Duration;

use jiff::civil;
use jiff::tz::{Offset, TimeZone};

use crate::domain::{Cause, Timestamp};
use crate::intake::refusal::Refusal;

/// As far ahead as HOLDFOR allows (RFC 4865).
const AHEAD_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// When, as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// The next time that clocks show this; tomorrow's when it says so.
    Clock { time: civil::Time, tomorrow: bool },
    /// On a day, by the sender's clock.
    Day(civil::DateTime),
    /// With its own distance from UTC.
    Exact(Timestamp),
}

/// No form that is understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoTime;

impl FromStr for At {
    type Err = NoTime;

    fn from_str(text: &str) -> Result<Self, NoTime> {
        let text = text.trim();
        if let Some(rest) = strip_word(text, "tomorrow") {
            return clock(rest).map(|time| Self::Clock { time, tomorrow: true }).ok_or(NoTime);
        }
        if let Some(time) = clock(strip_word(text, "today").unwrap_or(text)) {
            return Ok(Self::Clock { time, tomorrow: false });
        }
        if let Ok(instant) = text.parse::<jiff::Timestamp>() {
            return Ok(Self::Exact(Timestamp(instant.as_millisecond())));
        }
        // A date alone would be midnight, which nobody means.
        let has_time = text.contains(':');
        text.parse::<civil::DateTime>().ok().filter(|_| has_time).map(Self::Day).ok_or(NoTime)
    }
}

fn strip_word<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let head = text.get(..word.len()).filter(|head| head.eq_ignore_ascii_case(word))?;
    text[head.len()..].strip_prefix(' ').map(str::trim)
}

/// `8:30`, `18:00`, `18h00`, `6pm`, `6:30 pm`.
fn clock(text: &str) -> Option<civil::Time> {
    let lower = text.to_ascii_lowercase();
    let (digits, half) = match lower.strip_suffix("pm") {
        Some(rest) => (rest, Some(12)),
        None => lower.strip_suffix("am").map_or((lower.as_str(), None), |rest| (rest, Some(0))),
    };
    let digits = digits.trim();
    let (hour, minute) = match digits.split_once([':', 'h']) {
        Some((hour, minute)) if minute.len() == 2 => (hour, minute),
        None if half.is_some() => (digits, "00"),
        _ => return None,
    };
    let number = |text: &str| {
        let plain = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<i8>().ok().filter(|_| plain)
    };
    let hour = match (number(hour)?, half) {
        (hour @ 1..=12, Some(half)) => hour % 12 + half,
        (_, Some(_)) => return None,
        (hour, None) => hour,
    };
    civil::Time::new(hour, number(minute)?, 0, 0).ok()
}

impl At {
    /// The moment, by the clock of a sender `offset_s` seconds east of UTC.
    ///
    /// # Errors
    /// `directive-unknown` for a time that has passed, is more than 30 days ahead, or needs a zone that nobody has told.
    pub(crate) fn resolve(self, now: Timestamp, offset_s: Option<i32>) -> Result<Timestamp, Refusal> {
        let offset = offset_s.and_then(|seconds| Offset::from_seconds(seconds).ok());
        self.resolve_in(now, offset.map(TimeZone::fixed))
    }

    /// The moment, by clocks of this zone.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub(crate) fn resolve_in(self, now: Timestamp, zone: Option<TimeZone>) -> Result<Timestamp, Refusal> {
        let zone = || {
            zone.clone().ok_or_else(|| {
                let text = "the mail has no Date with a zone, so that \"at\" is not clear; write it as in at 2026-12-24T18:00+01:00";
                refuse(text.to_owned())
            })
        };
        let unreadable = |_| refuse("the time of \"at\" does not exist; write another one".to_owned());
        let moment = match self {
            Self::Exact(moment) => moment,
            Self::Day(day) => Timestamp(day.to_zoned(zone()?).map_err(unreadable)?.timestamp().as_millisecond()),
            Self::Clock { time, tomorrow } => {
                let here = now.to_jiff().to_zoned(zone()?);
                let over = here.time() >= time;
                let date = if tomorrow || over { here.date().tomorrow().map_err(unreadable)? } else { here.date() };
                let moment = date.to_datetime(time).to_zoned(here.time_zone().clone()).map_err(unreadable)?;
                Timestamp(moment.timestamp().as_millisecond())
            }
        };
        if moment < now {
            return Err(refuse("the time of \"at\" has passed; write a later one, or leave it out".to_owned()));
        }
        if moment.since(now) > AHEAD_MAX {
            return Err(refuse("the time of \"at\" is more than 30 days ahead; send the mail then".to_owned()));
        }
        Ok(moment)
    }
}

fn refuse(text: String) -> Refusal {
    Refusal::new(554, Cause::DirectiveUnknown, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sunday, 22 November 2026, 10:00 UTC, which is 11:00 in Zurich.
    const NOW: Timestamp = Timestamp(1_795_341_600_000);
    const ZURICH_S: i32 = 3600;

    fn at(text: &str, offset_s: Option<i32>) -> Result<String, String> {
        let at: At = text.parse().map_err(|NoTime| "not understood".to_owned())?;
        at.resolve(NOW, offset_s).map(|at| at.to_jiff().to_string()).map_err(|refusal| refusal.text)
    }

    #[test]
    fn a_clock_is_the_next_one_of_the_senders_zone() {
        for (text, expected) in [
            ("18:00", "2026-11-22T17:00:00Z"),
            ("11:01", "2026-11-22T10:01:00Z"),
            ("11:00", "2026-11-23T10:00:00Z"),
            ("8:30", "2026-11-23T07:30:00Z"),
            ("today 23:59", "2026-11-22T22:59:00Z"),
            ("tomorrow 8:30", "2026-11-23T07:30:00Z"),
            ("Tomorrow 18:00", "2026-11-23T17:00:00Z"),
            ("6pm", "2026-11-22T17:00:00Z"),
            ("6:30 PM", "2026-11-22T17:30:00Z"),
            ("12am", "2026-11-22T23:00:00Z"),
            ("18h15", "2026-11-22T17:15:00Z"),
            ("2026-12-20 18:00", "2026-12-20T17:00:00Z"),
            ("2026-12-20T18:00:30", "2026-12-20T17:00:30Z"),
            ("2026-12-20T18:00-05:00", "2026-12-20T23:00:00Z"),
            ("2026-12-20T18:00Z", "2026-12-20T18:00:00Z"),
        ] {
            assert_eq!(at(text, Some(ZURICH_S)).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_has_passed_or_is_far_ahead_is_refused() {
        for text in [
            "",
            "noon",
            "18",
            "24:00",
            "18:60",
            "1:5",
            "13pm",
            "0am",
            "-1:00",
            "+1:00",
            "18:00:00:00",
            "2026-12-20",
            "tomorrow",
        ] {
            assert_eq!(at(text, Some(0)), Err("not understood".to_owned()), "{text}");
        }
        assert!(at("2026-11-22 10:59", Some(ZURICH_S)).unwrap_err().contains("has passed"));
        assert!(at("2026-12-23 10:00", Some(ZURICH_S)).unwrap_err().contains("30 days"));
        assert!(at("18:00", None).unwrap_err().contains("no Date with a zone"));
        assert!(at("2026-12-20T18:00Z", None).is_ok(), "its own zone is enough");
    }
}
