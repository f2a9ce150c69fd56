//! When a route holds, as people write it: `mon-fri 08:00-12:00,13:00-18:00; sat 09:00-12:00`.
//!
//! Periods are separated by semicolons. A period is days, times of day, or both, each a list with commas; days alone
//! mean all day, times alone every day. A time of day that ends before it begins goes on into the next day:
//! `fri 22:00-06:00` ends on Saturday morning. All of it is local time as clocks on the wall show it, so that an hour
//! that comes twice in autumn holds twice, and one that is left out in spring not at all.

use jiff::Zoned;

/// Periods of one rule: more belong into several rules.
const PERIODS_MAX: usize = 50;
const MINUTES_OF_DAY: u16 = 24 * 60;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// When a route holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times(Vec<Period>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Period {
    /// Monday first.
    days: [bool; 7],
    /// From, inclusive, to, exclusive, in minutes of the day.
    spans: Vec<(u16, u16)>,
}

impl Times {
    /// Reads the text.
    ///
    /// # Errors
    /// What is wrong with which word.
    pub fn parse(text: &str) -> Result<Self, String> {
        let periods: Vec<&str> = text.split(';').map(str::trim).collect();
        if periods.len() > PERIODS_MAX {
            return Err(format!("{} periods are more than {PERIODS_MAX}", periods.len()));
        }
        periods.into_iter().map(Period::parse).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the route holds at this moment.
    pub fn hold_at(&self, now: &Zoned) -> bool {
        let minute = u16::try_from(i32::from(now.hour()) * 60 + i32::from(now.minute())).unwrap_or(0);
        let today = usize::try_from(now.weekday().to_monday_zero_offset()).unwrap_or(0);
        let yesterday = (today + 6) % 7;
        self.0.iter().any(|period| {
            period.spans.iter().any(|&(from, to)| {
                if from < to {
                    period.days[today] && (from..to).contains(&minute)
                } else {
                    (period.days[today] && minute >= from) || (period.days[yesterday] && minute < to)
                }
            })
        })
    }
}

impl Period {
    fn parse(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let words: Vec<&str> = lower.split_whitespace().collect();
        let (days, spans) = match words[..] {
            [] => return Err("a period is empty".to_owned()),
            [word] if word.starts_with(|c: char| c.is_ascii_digit()) => (None, Some(word)),
            [word] => (Some(word), None),
            [days, spans] => (Some(days), Some(spans)),
            _ => return Err(format!("\"{text}\" is not days and times; lists have commas and no spaces")),
        };
        Ok(Self {
            days: days.map_or(Ok([true; 7]), parse_days)?,
            spans: spans.map_or(Ok(vec![(0, MINUTES_OF_DAY)]), parse_spans)?,
        })
    }
}

fn parse_days(text: &str) -> Result<[bool; 7], String> {
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (parse_day(first)?, parse_day(last)?);
        // From Friday to Monday goes over the end of the week.
        let count = (last + 7 - first) % 7;
        for step in 0..=count {
            days[(first + step) % 7] = true;
        }
    }
    Ok(days)
}

fn parse_day(text: &str) -> Result<usize, String> {
    let found = DAYS.iter().position(|day| *day == text);
    found.ok_or_else(|| format!("\"{text}\" is no day; days are {}", DAYS.join(", ")))
}

fn parse_spans(text: &str) -> Result<Vec<(u16, u16)>, String> {
    let span = |part: &str| {
        let (from, to) = part.split_once('-').ok_or_else(|| format!("\"{part}\" has no end, as in 08:00-18:00"))?;
        let (from, to) = (parse_minute(from)?, parse_minute(to)?);
        if from == to || from == MINUTES_OF_DAY {
            return Err(format!("\"{part}\" holds at no time; all day is 00:00-24:00"));
        }
        Ok((from, to))
    };
    text.split(',').map(span).collect()
}

fn parse_minute(text: &str) -> Result<u16, String> {
    let wrong = || format!("\"{text}\" is no time of day, as in 08:00");
    let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
    let digits = |part: &str| (part.len() <= 2 && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse().ok());
    let (hour, minute): (u16, u16) =
        (digits(hour).flatten().ok_or_else(wrong)?, digits(minute).flatten().ok_or_else(wrong)?);
    let total = hour * 60 + minute;
    if minute < 60 && total <= MINUTES_OF_DAY { Ok(total) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(times: &str, holds: &[&str], not: &[&str]) {
        let times_read = Times::parse(times).unwrap_or_else(|e| panic!("{times}: {e}"));
        for (moments, expected) in [(holds, true), (not, false)] {
            for moment in moments {
                let moment: Zoned = format!("{moment}[Europe/Zurich]").parse().unwrap();
                assert_eq!(times_read.hold_at(&moment), expected, "{times} at {moment}");
            }
        }
    }

    #[test]
    fn office_hours_hold_on_their_days_and_end_before_their_end() {
        // 2027-01-04 is a Monday.
        check(
            "mon-fri 08:00-18:00",
            &["2027-01-04T08:00", "2027-01-08T17:59:59"],
            &["2027-01-04T07:59", "2027-01-04T18:00", "2027-01-09T12:00"],
        );
        check(
            "Mon,wed-fri 8:00-12:00,13:00-18:00; sat",
            &["2027-01-04T13:00", "2027-01-06T11:59", "2027-01-09T23:59"],
            &["2027-01-05T09:00", "2027-01-04T12:30", "2027-01-10T00:00"],
        );
        check("sat-mon", &["2027-01-09T00:00", "2027-01-10T12:00", "2027-01-04T23:59"], &["2027-01-05T00:00"]);
    }

    #[test]
    fn a_night_belongs_to_the_day_it_begins_on() {
        check(
            "fri 22:00-06:00",
            &["2027-01-08T22:00", "2027-01-09T05:59"],
            &["2027-01-08T05:00", "2027-01-09T06:00", "2027-01-09T22:00"],
        );
        check("18:00-08:00", &["2027-01-04T00:00", "2027-01-04T18:00", "2027-01-10T07:59"], &["2027-01-04T08:00"]);
        check("sun 00:00-24:00", &["2027-01-10T23:59"], &["2027-01-04T00:00"]);
    }

    #[test]
    fn summer_time_comes_and_goes_as_the_clocks_on_the_wall() {
        // In Zurich 2027-03-28 goes from 02:00 to 03:00, and 2027-10-31 has 02:30 twice.
        check("02:00-03:00", &["2027-10-31T02:30+02:00", "2027-10-31T02:30+01:00"], &["2027-03-28T03:00"]);
        check("sun 01:00-04:00", &["2027-03-28T01:59", "2027-03-28T03:30"], &["2027-03-28T04:00"]);
    }

    #[test]
    fn what_is_no_time_is_named_in_the_error() {
        for (text, part) in [
            ("", "empty"),
            ("mon;", "empty"),
            ("monday 08:00-18:00", "\"monday\" is no day"),
            ("mon 08:00", "no end"),
            ("mon 8-18", "no time of day"),
            ("mon 08:00-24:01", "no time of day"),
            ("mon 08:60-09:00", "no time of day"),
            ("mon 08:00-08:00", "holds at no time"),
            ("mon 08:00 - 18:00", "no spaces"),
            ("mon 24:00-01:00", "holds at no time"),
            ("mon +8:00-18:00", "no time of day"),
        ] {
            let error = Times::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
