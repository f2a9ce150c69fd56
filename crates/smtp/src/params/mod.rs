//! Parameters of MAIL and RCPT: SIZE (RFC 1870), BODY (RFC 6152, RFC 3030), SMTPUTF8 (RFC 6531), RET, ENVID, NOTIFY, ORCPT (RFC 3461),
//! HOLDFOR, HOLDUNTIL (RFC 4865), BY (RFC 2852), MT-PRIORITY (RFC 6710), AUTH (RFC 4954).

mod values;

pub(crate) use values::xtext;

/// More parameters than exist are not a mistake.
const PARAMS_MAX: usize = 16;
/// For the refusal.
const MAIL_KNOWN: &str = "SIZE=, BODY=, SMTPUTF8, RET=, ENVID=, HOLDFOR=, HOLDUNTIL=, BY=, MT-PRIORITY= and AUTH=";

/// RFC 6152 §2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyKind {
    /// `BODY=7BIT` or nothing.
    #[default]
    SevenBit,
    /// `BODY=8BITMIME`.
    EightBitMime,
    /// `BODY=BINARYMIME`: octets that are no lines; they come in chunks alone (RFC 3030 §3).
    BinaryMime,
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
    /// Not before this time.
    pub hold: Option<Hold>,
    /// Until this time.
    pub deliver_by: Option<DeliverBy>,
    /// From -9 to 9; 0 is normal and higher is sooner.
    pub priority: Option<i8>,
}

/// RFC 4865 §4: when work on the mail may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// This long after it came; 1 to 999,999,999 seconds.
    For {
        /// How long.
        seconds: u32,
    },
    /// At this time.
    Until {
        /// Seconds since 1970 in UTC.
        unix_s: i64,
    },
}

/// RFC 2852 §4: when the mail must have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliverBy {
    /// Seconds from now; over already when it is not above 0, which `LateMode::Notify` alone allows.
    pub seconds: i64,
    /// What is done when it is late.
    pub mode: LateMode,
}

/// RFC 2852 §4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LateMode {
    /// Give up and report the failure.
    Return,
    /// Report the delay and go on.
    Notify,
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
            ("SIZE", Some(value)) => params.size_bytes = Some(values::size(value)?),
            ("BODY", Some(value)) => params.body = values::body(value)?,
            ("SMTPUTF8", None) => params.smtputf8 = true,
            ("RET", Some(value)) => params.ret = Some(values::ret(value)?),
            ("ENVID", Some(value)) => params.envid = Some(values::envid(value)?),
            // RFC 4865 §4: one of the two.
            ("HOLDFOR" | "HOLDUNTIL", Some(_)) if params.hold.is_some() => {
                return Err(syntax("HOLDFOR and HOLDUNTIL stand together; give one of them"));
            }
            ("HOLDFOR", Some(value)) => params.hold = Some(values::hold_for(value)?),
            ("HOLDUNTIL", Some(value)) => params.hold = Some(values::hold_until(value)?),
            ("BY", Some(value)) => params.deliver_by = Some(values::deliver_by(value)?),
            ("MT-PRIORITY", Some(value)) => params.priority = Some(values::priority(value)?),
            ("AUTH", Some(value)) => values::auth(value)?,
            _ => return Err(unknown("MAIL", &key, MAIL_KNOWN)),
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
            ("NOTIFY", Some(value)) => params.notify = Some(values::notify(value)?),
            ("ORCPT", Some(value)) => params.orcpt = Some(values::orcpt(value)?),
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
            ..MailParams::default()
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
            " BODY=9BIT",
            " AUTH=a=b",
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
        for unknown in [" AUTH", " XOORG=a", " SIZE", " SMTPUTF8=1", " NOTIFY=NEVER", " =x"] {
            assert!(matches!(mail(unknown), Err(ParamError::Unknown(_))), "{unknown}");
        }
    }

    #[test]
    fn when_and_how_urgently_is_read_with_units_and_signs() {
        let params = mail(" HOLDFOR=60 BY=+120;rt MT-PRIORITY=-9 AUTH=<>").unwrap();
        assert_eq!(params.hold, Some(Hold::For { seconds: 60 }));
        assert_eq!(params.deliver_by, Some(DeliverBy { seconds: 120, mode: LateMode::Return }));
        assert_eq!(params.priority, Some(-9));
        let until = |text: &str| mail(&format!(" HOLDUNTIL={text}")).map(|params| params.hold);
        assert_eq!(until("2026-11-22T10:00:00Z"), Ok(Some(Hold::Until { unix_s: 1_795_341_600 })));
        assert_eq!(until("2026-11-22t11:00:00.5+01:00"), Ok(Some(Hold::Until { unix_s: 1_795_341_600 })));
        let late = mail(" BY=-5;N").unwrap().deliver_by;
        assert_eq!(late, Some(DeliverBy { seconds: -5, mode: LateMode::Notify }));
        for bad in [
            "HOLDFOR=0",
            "HOLDFOR=-1",
            "HOLDFOR=1234567890",
            "HOLDFOR=1h",
            "HOLDFOR=1 HOLDUNTIL=2026-11-22T10:00:00Z",
            "HOLDUNTIL=2026-11-22",
            "HOLDUNTIL=2026-11-22T10:00:00",
            "HOLDUNTIL=20261122T100000Z",
            "HOLDUNTIL=2026-13-22T10:00:00Z",
            "BY=120",
            "BY=120;X",
            "BY=0;R",
            "BY=-1;R",
            "BY=;R",
            "BY=1234567890;N",
            "MT-PRIORITY=10",
            "MT-PRIORITY=+1",
            "MT-PRIORITY=-0",
            "MT-PRIORITY=",
            "MT-PRIORITY=1 MT-PRIORITY=1",
        ] {
            assert!(matches!(mail(&format!(" {bad}")), Err(ParamError::Syntax(_))), "{bad}");
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
        // RFC 6533 §3: both forms of an internationalised address.
        assert_eq!(orcpt(r"UTF-8;J\x{f6}rg\x{2B}1@b\x{FC}cher.test"), typed("UTF-8;Jörg+1@bücher.test"));
        assert_eq!(orcpt("utf-8;Jörg@bücher.test"), typed("utf-8;Jörg@bücher.test"));
        assert_eq!(orcpt(r"rfc822;a\b@c"), typed(r"rfc822;a\b@c"));
        let untyped = OriginalRecipient::Untyped("FAX=+390408565@example.com".into());
        assert_eq!(orcpt("FAX+3D+2B390408565@example.com"), Ok(untyped));
        let long = format!("rfc822;{}", "x".repeat(494));
        let bad = ["rfc822;", ";a", "rf c;a", "rfc822;a=b", "rfc822;+0D+0Ax", "rfc822;a+", "rfc822;+C3", long.as_str()];
        for bad in
            bad.into_iter().chain([r"utf-8;a\x{D}b", r"utf-8;a\x{D800}", r"utf-8;a\x{}", r"utf-8;a\b", r"utf-8;\x{41"])
        {
            assert!(orcpt(bad).is_err(), "{bad}");
        }
        assert!(rcpt(" NOTIFY=NEVER NOTIFY=NEVER").is_err());
    }
}
