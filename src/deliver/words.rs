//! Numbers, times and durations as people read them.

use std::time::Duration;

use jiff::tz::TimeZone;

use crate::domain::{FaxNumber, Timestamp};

/// `+41 44 123 45 67` where the numbering plan is known, the plain number elsewhere.
pub(super) fn number(number: &FaxNumber) -> String {
    if number.is_sandbox() {
        return sandbox(number.digits());
    }
    let plain = number.as_str().to_owned();
    // The library has had panics on odd input; a report must not fail over the look of a number.
    let grouped = std::panic::catch_unwind(|| {
        let parsed = phonenumber::parse(None, &plain).ok()?;
        Some(parsed.format().mode(phonenumber::Mode::International).to_string())
    });
    let same_digits = |text: &String| text.chars().filter(char::is_ascii_digit).eq(number.digits().chars());
    grouped.ok().flatten().filter(same_digits).unwrap_or(plain)
}

/// A number as a trunk wrote it: grouped when it is one, as it came when it is not (an extension, `anonymous`).
pub(super) fn dialled(text: &str) -> String {
    text.parse().map_or_else(|_| text.to_owned(), |parsed| number(&parsed))
}

/// `+999 1 0200`: country code, kind, behaviour.
fn sandbox(digits: &str) -> String {
    match digits.len() {
        8 => format!("+{} {} {}", &digits[..3], &digits[3..4], &digits[4..]),
        _ => format!("+{} {}", &digits[..3], &digits[3..]),
    }
}

/// `22 Nov 2026 10:32 UTC`.
pub(super) fn moment(at: Timestamp, zone: &TimeZone) -> String {
    at.to_jiff().to_zoned(zone.clone()).strftime("%-d %b %Y %H:%M %Z").to_string()
}

/// `22 Nov 2026`.
pub(super) fn day(at: Timestamp, zone: &TimeZone) -> String {
    at.to_jiff().to_zoned(zone.clone()).strftime("%-d %b %Y").to_string()
}

/// `10:31:20`.
pub(super) fn clock(at: Timestamp, zone: &TimeZone) -> String {
    at.to_jiff().to_zoned(zone.clone()).strftime("%H:%M:%S").to_string()
}

/// `10:31`.
pub(super) fn minute(at: Timestamp, zone: &TimeZone) -> String {
    at.to_jiff().to_zoned(zone.clone()).strftime("%H:%M").to_string()
}

/// RFC 5322 date with a numeric zone, as RFC 3464 §2.3.7 wants.
pub(super) fn rfc5322(at: Timestamp) -> String {
    at.to_jiff().to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S %z").to_string()
}

/// `1 min 04 s`, `2 h 05 min`, `12 s`; none under a second.
pub(super) fn duration(length: Duration) -> Option<String> {
    let seconds = (length.as_millis() + 500) / 1000;
    match seconds {
        0 => None,
        1..60 => Some(format!("{seconds} s")),
        60..3600 => Some(format!("{} min {:02} s", seconds / 60, seconds % 60)),
        _ => Some(format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_as_their_country_does() {
        for (plain, grouped) in [
            ("+41441234567", "+41 44 123 45 67"),
            ("+493012345678", "+49 30 12345678"),
            ("+12145551212", "+1 214-555-1212"),
            ("+99910486", "+999 1 0486"),
            ("+999123456789", "+999 123456789"),
            ("+2101234567", "+2101234567"),
        ] {
            assert_eq!(number(&plain.parse().unwrap()), grouped);
        }
    }

    #[test]
    fn times_and_durations_read_well() {
        let at = Timestamp(1_795_343_467_000);
        assert_eq!(moment(at, &TimeZone::UTC), "22 Nov 2026 10:31 UTC");
        assert_eq!(clock(at, &TimeZone::UTC), "10:31:07");
        assert_eq!(rfc5322(at), "Sun, 22 Nov 2026 10:31:07 +0000");
        for (millis, expected) in
            [(0, None), (499, None), (900, Some("1 s")), (64_000, Some("1 min 04 s")), (7_500_000, Some("2 h 05 min"))]
        {
            assert_eq!(duration(Duration::from_millis(millis)).as_deref(), expected);
        }
    }
}
