//! Parameters of MAIL and RCPT: SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), RET, ENVID, NOTIFY, ORCPT (RFC 3461).

/// RFC 3461 §4.4: ENVID has at most 100 characters as it is written.
const ENVID_MAX: usize = 100;
/// RFC 3461 §4.2: ORCPT has at most 500 characters as it is written.
const ORCPT_MAX: usize = 500;
/// More parameters than exist are not a mistake.
const PARAMS_MAX: usize = 16;

/// RFC 6152 §2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyKind {
    /// `BODY=7BIT` or nothing.
    #[default]
    SevenBit,
    /// `BODY=8BITMIME`.
    EightBitMime,
}

/// RFC 3461 §4.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ret {
    /// Failure reports carry the whole message.
    Full,
    /// Failure reports carry its header.
    Hdrs,
}

/// Parameters of MAIL.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MailParams {
    /// Declared size in octets.
    pub size_bytes: Option<u64>,
    /// Kind of the body.
    pub body: BodyKind,
    /// Whether addresses and header are in UTF-8.
    pub smtputf8: bool,
    /// What failure reports carry.
    pub ret: Option<Ret>,
    /// Decoded from xtext; printable US-ASCII.
    pub envid: Option<String>,
}

/// RFC 3461 §4.1: when the sender wants a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notify {
    /// On success.
    pub success: bool,
    /// On failure.
    pub failure: bool,
    /// On delay.
    pub delay: bool,
}

/// RFC 3461 §4.2: whom the sender first addressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginalRecipient {
    /// `type;address`, decoded from xtext; printable.
    Typed(String),
    /// Without a type, as the example in RFC 3249 §6 writes it. It cannot be repeated in a report; the driver logs it.
    Untyped(String),
}

/// Parameters of RCPT.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RcptParams {
    /// `NOTIFY`; `NEVER` is one with nothing set.
    pub notify: Option<Notify>,
    /// `ORCPT`.
    pub orcpt: Option<OriginalRecipient>,
}

/// Why parameters cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    /// A known parameter with a bad value, or twice: `501 5.5.4`.
    #[error("{0}")]
    Syntax(String),
    /// Not a parameter of this command here: `555 5.5.4` (RFC 5321 §4.1.1.11).
    #[error("{0}")]
    Unknown(String),
}

/// Reads the parameters of MAIL from what follows the path.
pub fn mail(rest: &str) -> Result<MailParams, ParamError> {
    let mut params = MailParams::default();
    let mut seen = Vec::new();
    for (key, value) in split(rest)? {
        once(&mut seen, &key)?;
        match (key.as_str(), value) {
            ("SIZE", Some(value)) => params.size_bytes = Some(size(value)?),
            ("BODY", Some(value)) => params.body = body(value)?,
            ("SMTPUTF8", None) => params.smtputf8 = true,
            ("RET", Some(value)) => params.ret = Some(ret(value)?),
            ("ENVID", Some(value)) => params.envid = Some(envid(value)?),
            _ => return Err(unknown("MAIL", &key, "SIZE=, BODY=, SMTPUTF8, RET= and ENVID=")),
        }
    }
    Ok(params)
}

/// Reads the parameters of RCPT from what follows the path.
pub fn rcpt(rest: &str) -> Result<RcptParams, ParamError> {
    let mut params = RcptParams::default();
    let mut seen = Vec::new();
    for (key, value) in split(rest)? {
        once(&mut seen, &key)?;
        match (key.as_str(), value) {
            ("NOTIFY", Some(value)) => params.notify = Some(notify(value)?),
            ("ORCPT", Some(value)) => params.orcpt = Some(orcpt(value)?),
            _ => return Err(unknown("RCPT", &key, "NOTIFY= and ORCPT=")),
        }
    }
    Ok(params)
}

/// `KEY[=value]` separated by spaces; keys in upper case.
fn split(rest: &str) -> Result<Vec<(String, Option<&str>)>, ParamError> {
    if !rest.is_empty() && !rest.starts_with(' ') {
        return Err(syntax("something stands right behind the address; put a space before parameters"));
    }
    let words: Vec<&str> = rest.split(' ').filter(|word| !word.is_empty()).collect();
    if words.len() > PARAMS_MAX {
        return Err(syntax("more than 16 parameters; leave out what is not needed"));
    }
    let pair = |word: &str| word.split_once('=').map_or(word.len(), |(key, _)| key.len());
    Ok(words
        .into_iter()
        .map(|word| {
            let (key, value) = word.split_at(pair(word));
            (key.to_ascii_uppercase(), value.strip_prefix('='))
        })
        .collect())
}

fn once(seen: &mut Vec<String>, key: &str) -> Result<(), ParamError> {
    if seen.iter().any(|k| k == key) {
        return Err(syntax(&format!("{} is given twice; give it once", clipped(key))));
    }
    seen.push(key.to_owned());
    Ok(())
}

/// RFC 1870 §3: 1 to 20 digits. A number beyond 2^64 is larger than anything we take.
fn size(value: &str) -> Result<u64, ParamError> {
    if (1..=20).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit()) {
        Ok(value.parse().unwrap_or(u64::MAX))
    } else {
        Err(syntax(&format!("SIZE={} is not a number of octets; write it as in SIZE=1000", clipped(value))))
    }
}

fn body(value: &str) -> Result<BodyKind, ParamError> {
    match value.to_ascii_uppercase().as_str() {
        "7BIT" => Ok(BodyKind::SevenBit),
        "8BITMIME" => Ok(BodyKind::EightBitMime),
        _ => Err(syntax(&format!("BODY={} is not offered here; use BODY=7BIT or BODY=8BITMIME", clipped(value)))),
    }
}

fn ret(value: &str) -> Result<Ret, ParamError> {
    match value.to_ascii_uppercase().as_str() {
        "FULL" => Ok(Ret::Full),
        "HDRS" => Ok(Ret::Hdrs),
        _ => Err(syntax(&format!("RET={} is not known; use RET=FULL or RET=HDRS", clipped(value)))),
    }
}

fn envid(value: &str) -> Result<String, ParamError> {
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
fn notify(value: &str) -> Result<Notify, ParamError> {
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

fn orcpt(value: &str) -> Result<OriginalRecipient, ParamError> {
    if value.len() > ORCPT_MAX {
        return Err(syntax("ORCPT has more than 500 characters; shorten it"));
    }
    let bad = || syntax("ORCPT is not type;xtext; encode it as in ORCPT=rfc822;user@example.com");
    let Some((kind, address)) = value.split_once(';') else {
        return xtext(value).map(OriginalRecipient::Untyped).ok_or_else(bad);
    };
    let is_atom = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    match xtext(address) {
        Some(address) if is_atom && !address.is_empty() => Ok(OriginalRecipient::Typed(format!("{kind};{address}"))),
        _ => Err(bad()),
    }
}

/// RFC 3461 §4: `!` to `~` without `+` and `=` stand for themselves, `+HH` for an octet. Lower-case hex is read too. None for
/// anything else, and for what decodes to a control character or to no UTF-8: it is going to stand in header fields.
fn xtext(value: &str) -> Option<String> {
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

fn syntax(text: &str) -> ParamError {
    ParamError::Syntax(text.to_owned())
}

fn unknown(verb: &str, key: &str, known: &str) -> ParamError {
    ParamError::Unknown(format!("{verb} has no parameter {} here; use {known} only", clipped(key)))
}

/// At most 40 characters of what a client wrote.
fn clipped(text: &str) -> String {
    if text.chars().count() <= 40 { text.to_owned() } else { text.chars().take(39).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d1_mail_parameters_are_read_in_any_case_and_order() {
        let params = mail(" size=10 Body=8bitmime SMTPUTF8 ret=hdrs EnvId=a+2Bb").unwrap();
        let expected = MailParams {
            size_bytes: Some(10),
            body: BodyKind::EightBitMime,
            smtputf8: true,
            ret: Some(Ret::Hdrs),
            envid: Some("a+b".into()),
        };
        assert_eq!(params, expected);
        assert_eq!(mail("  SIZE=99999999999999999999 ").unwrap().size_bytes, Some(u64::MAX));
    }

    #[test]
    fn d1_bad_mail_parameters_are_named() {
        let long = format!(" ENVID={}", "x".repeat(101));
        for bad in [
            " SIZE=",
            " SIZE=-1",
            " SIZE=1x",
            " SIZE=1 SIZE=2",
            " BODY=BINARYMIME",
            " RET=ALL",
            " RET=FULL RET=FULL",
            " ENVID=",
            " ENVID=a+2",
            " ENVID=a+0D+0Ab",
            " ENVID=a=b",
            " ENVID=+C3+A9",
            "SIZE=1",
            long.as_str(),
        ] {
            assert!(matches!(mail(bad), Err(ParamError::Syntax(_))), "{bad}");
        }
        for unknown in [" AUTH=<>", " XOORG=a", " SIZE", " SMTPUTF8=1", " NOTIFY=NEVER", " =x"] {
            assert!(matches!(mail(unknown), Err(ParamError::Unknown(_))), "{unknown}");
        }
    }

    #[test]
    fn d1_notify_is_never_alone_or_a_list_without_repetition() {
        let notify = |value: &str| rcpt(&format!(" NOTIFY={value}")).map(|p| p.notify.unwrap());
        assert_eq!(notify("NEVER"), Ok(Notify::default()));
        let all = Notify { success: true, failure: true, delay: true };
        assert_eq!(notify("delay,Success,FAILURE"), Ok(all));
        for bad in ["", "NEVER,SUCCESS", "SUCCESS,SUCCESS", "SUCCESS,", "ALWAYS"] {
            assert!(notify(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a23_orcpt_is_read_in_both_forms() {
        let orcpt = |value: &str| rcpt(&format!(" ORCPT={value}")).map(|p| p.orcpt.unwrap());
        let typed = |text: &str| Ok(OriginalRecipient::Typed(text.to_owned()));
        assert_eq!(orcpt("rfc822;FAX+3D+2B390408565@example.com"), typed("rfc822;FAX=+390408565@example.com"));
        assert_eq!(orcpt("fax;+2b49"), typed("fax;+49"));
        assert_eq!(orcpt("rfc822;a+20b@c"), typed("rfc822;a b@c"));
        let untyped = OriginalRecipient::Untyped("FAX=+390408565@example.com".into());
        assert_eq!(orcpt("FAX+3D+2B390408565@example.com"), Ok(untyped));
        let long = format!("rfc822;{}", "x".repeat(494));
        for bad in ["rfc822;", ";a", "rf c;a", "rfc822;a=b", "rfc822;+0D+0Ax", "rfc822;a+", "rfc822;+C3", long.as_str()]
        {
            assert!(orcpt(bad).is_err(), "{bad}");
        }
        assert!(rcpt(" NOTIFY=NEVER NOTIFY=NEVER").is_err());
    }
}
