//! Values of parameters: each reads one and says what is wrong with it.

use super::{BodyKind, DeliverBy, Hold, LateMode, Notify, OriginalRecipient, ParamError, Ret, clipped, syntax};

/// RFC 3461 §4.4: ENVID has at most 100 characters as it is written.
const ENVID_MAX: usize = 100;
/// RFC 3461 §4.2: ORCPT has at most 500 characters as it is written.
const ORCPT_MAX: usize = 500;
/// RFC 4865 §4 and RFC 2852 §4: times have at most 9 digits.
const SECONDS_DIGITS_MAX: usize = 9;

/// RFC 1870 §3: 1 to 20 digits. A number beyond 2^64 is larger than anything we take.
pub(super) fn size(value: &str) -> Result<u64, ParamError> {
    if (1..=20).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit()) {
        Ok(value.parse().unwrap_or(u64::MAX))
    } else {
        Err(syntax(&format!("SIZE={} is not a number of octets; write it as in SIZE=1000", clipped(value))))
    }
}

pub(super) fn body(value: &str) -> Result<BodyKind, ParamError> {
    match value.to_ascii_uppercase().as_str() {
        "7BIT" => Ok(BodyKind::SevenBit),
        "8BITMIME" => Ok(BodyKind::EightBitMime),
        "BINARYMIME" => Ok(BodyKind::BinaryMime),
        _ => Err(syntax(&format!("BODY={} is not known; use 7BIT, 8BITMIME or BINARYMIME", clipped(value)))),
    }
}

pub(super) fn ret(value: &str) -> Result<Ret, ParamError> {
    match value.to_ascii_uppercase().as_str() {
        "FULL" => Ok(Ret::Full),
        "HDRS" => Ok(Ret::Hdrs),
        _ => Err(syntax(&format!("RET={} is not known; use RET=FULL or RET=HDRS", clipped(value)))),
    }
}

pub(super) fn envid(value: &str) -> Result<String, ParamError> {
    if value.len() > ENVID_MAX {
        return Err(syntax("ENVID has more than 100 characters; shorten it"));
    }
    let text = xtext(value).ok_or_else(|| syntax("ENVID is not xtext; encode it as RFC 3461 section 4 says"))?;
    // RFC 3461 §4.4: it encodes printable US-ASCII only, so that it can stand in a header field of a report.
    if text.is_empty() || !text.is_ascii() {
        return Err(syntax("ENVID does not encode printable ASCII; use printable characters only"));
    }
    Ok(text)
}

/// RFC 3461 §4.1: `NEVER` alone, or a list of the others without repetition.
pub(super) fn notify(value: &str) -> Result<Notify, ParamError> {
    let mut notify = Notify::default();
    if value.eq_ignore_ascii_case("NEVER") {
        return Ok(notify);
    }
    for word in value.split(',') {
        let flag = match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => &mut notify.success,
            "FAILURE" => &mut notify.failure,
            "DELAY" => &mut notify.delay,
            _ => return Err(bad_notify(value)),
        };
        if std::mem::replace(flag, true) {
            return Err(bad_notify(value));
        }
    }
    Ok(notify)
}

fn bad_notify(value: &str) -> ParamError {
    syntax(&format!("NOTIFY={} is not known; use NEVER alone or a list of SUCCESS,FAILURE,DELAY", clipped(value)))
}

pub(super) fn orcpt(value: &str) -> Result<OriginalRecipient, ParamError> {
    if value.len() > ORCPT_MAX {
        return Err(syntax("ORCPT has more than 500 characters; shorten it"));
    }
    let bad = || syntax("ORCPT is not type;xtext; encode it as in ORCPT=rfc822;user@example.com");
    let Some((kind, address)) = value.split_once(';') else {
        return xtext(value).map(OriginalRecipient::Untyped).ok_or_else(bad);
    };
    let is_atom = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let address = xtext(address).and_then(|address| {
        // RFC 6533 §3: characters of an internationalised address are written as \x{20AC}.
        if kind.eq_ignore_ascii_case("utf-8") { embedded(&address) } else { Some(address) }
    });
    match address {
        Some(address) if is_atom && !address.is_empty() => Ok(OriginalRecipient::Typed(format!("{kind};{address}"))),
        _ => Err(bad()),
    }
}

/// Replaces each `\x{HEX}` by its character. None when one is no character that may stand in a header field.
fn embedded(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        let (digits, behind) = after.strip_prefix("x{")?.split_once('}')?;
        let hex = (1..=6).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let found = hex.then(|| u32::from_str_radix(digits, 16).ok().and_then(char::from_u32))??;
        out.push_str(before);
        out.push(Some(found).filter(|c| !c.is_control())?);
        rest = behind;
    }
    out.push_str(rest);
    Some(out)
}

/// RFC 3461 §4: `!` to `~` without `+` and `=` stand for themselves, `+HH` for an octet. Lower-case hex is read too. None for
/// anything else, and for what decodes to a control character or to no UTF-8: it is going to stand in header fields.
pub(crate) fn xtext(value: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(octet) = rest.next() {
        match octet {
            b'+' => {
                let pair = [rest.next()?, rest.next()?];
                if !pair.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                octets.push(u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?);
            }
            b'=' => return None,
            b'!'..=b'~' => octets.push(octet),
            // RFC 6533 §3: utf-8-addr-unitext may stand there unencoded.
            0x80.. => octets.push(octet),
            _ => return None,
        }
    }
    String::from_utf8(octets).ok().filter(|text| !text.chars().any(char::is_control))
}

/// RFC 4865 §4: how many seconds.
pub(super) fn hold_for(value: &str) -> Result<Hold, ParamError> {
    let bad = || syntax(&format!("HOLDFOR={} is no number of seconds; write it as in HOLDFOR=3600", clipped(value)));
    seconds(value).filter(|seconds| *seconds > 0).map(|seconds| Hold::For { seconds }).ok_or_else(bad)
}

/// RFC 4865 §4: a date and time of RFC 3339, with its zone.
pub(super) fn hold_until(value: &str) -> Result<Hold, ParamError> {
    let bad = || {
        let text = format!("HOLDUNTIL={} is no time; write it as in HOLDUNTIL=2027-01-31T18:00:00Z", clipped(value));
        syntax(&text)
    };
    // The form is fixed; jiff alone reads more of them.
    let form = value.get(..19).is_some_and(|head| {
        head.bytes().enumerate().all(|(at, octet)| match at {
            4 | 7 => octet == b'-',
            10 => octet.eq_ignore_ascii_case(&b'T'),
            13 | 16 => octet == b':',
            _ => octet.is_ascii_digit(),
        })
    });
    let time = value.parse::<jiff::Timestamp>().ok().filter(|_| form).ok_or_else(bad)?;
    Ok(Hold::Until { unix_s: time.as_second() })
}

/// RFC 2852 §4: `BY=seconds;R` or `BY=seconds;N`, each with `T` behind it or not.
pub(super) fn deliver_by(value: &str) -> Result<DeliverBy, ParamError> {
    let bad = || syntax(&format!("BY={} is not seconds;mode; write it as in BY=3600;R or BY=3600;N", clipped(value)));
    let (number, mode) = value.split_once(';').ok_or_else(bad)?;
    let (sign, digits) = match number.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let seconds = i64::from(seconds(digits).ok_or_else(bad)?) * sign;
    let mode = match mode.to_ascii_uppercase().as_str() {
        "R" | "RT" => LateMode::Return,
        "N" | "NT" => LateMode::Notify,
        _ => return Err(bad()),
    };
    if mode == LateMode::Return && seconds <= 0 {
        return Err(syntax("BY with R needs a time that is not over; give more than 0 seconds"));
    }
    Ok(DeliverBy { seconds, mode })
}

/// RFC 6710 §3: -9 to 9.
pub(super) fn priority(value: &str) -> Result<i8, ParamError> {
    let bad = || syntax(&format!("MT-PRIORITY={} is not from -9 to 9; write it as in MT-PRIORITY=3", clipped(value)));
    let digits = value.strip_prefix('-').unwrap_or(value);
    let one_digit = digits.len() == 1 && digits.bytes().all(|b| b.is_ascii_digit()) && value != "-0";
    if one_digit { value.parse().map_err(|_| bad()) } else { Err(bad()) }
}

/// RFC 4954 §5: whom the client says the mail is from. It is read and not kept: who may submit is decided by the connection.
pub(super) fn auth(value: &str) -> Result<(), ParamError> {
    match xtext(value) {
        Some(_) => Ok(()),
        None => Err(syntax("AUTH is not xtext; encode it as RFC 3461 section 4 says, or leave it out")),
    }
}

fn seconds(digits: &str) -> Option<u32> {
    let good = (1..=SECONDS_DIGITS_MAX).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if good { digits.parse().ok() } else { None }
}
