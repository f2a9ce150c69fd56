//! Recipient addresses to fax numbers: the one function that reads every form of them.
//!
//! In: a forward-path of RCPT (or what somebody types into a command). Out: the number, and what the address says about subaddress,
//! tones and names; or an error that is an SMTP reply with cause and fix. It never panics and never guesses: an address that
//! could mean two numbers is refused.
//!
//! Forms: `+41441234567`, national and 00 forms by `dial.country`, RFC 3191/3192 `FAX=+41…/T33S=12/ATTN=…`, `Name/+41…`, Exchange's
//! `IMCEAFAX-…`. Whether the number may be dialled is the dial plan's question.

mod imcea;
mod number;
#[cfg(test)]
mod tests;

use crate::domain::{Cause, FaxNumber};

/// T.30 §5.3.6.2.5 (SUB): 20 digits.
const SUBADDRESS_MAX: usize = 20;
/// More tones than any voice menu takes.
const POST_DIAL_MAX: usize = 64;
/// What fits a cover's line.
const NAME_MAX: usize = 80;

/// What is needed to read an address.
#[derive(Debug, Clone)]
pub struct AddressRules {
    /// Our domain.
    pub domain: String,
    /// ISO 3166 code for national numbers; none: international numbers only.
    pub country: Option<String>,
}

/// What an address says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FaxAddress {
    /// What to dial.
    pub number: FaxNumber,
    /// T.33 subaddress: 1 to 20 digits.
    pub subaddress: Option<String>,
    /// Tones after the answer: digits, `#`, `*`, A to D, `p` (a second's pause) and `w` (wait for a tone). Never printed, never logged.
    pub post_dial: Option<String>,
    /// Name for the cover.
    pub to_name: Option<String>,
    /// Company for the cover.
    pub to_company: Option<String>,
}

/// Why an address is refused: an SMTP reply in parts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct AddressError {
    /// SMTP reply code.
    pub code: u16,
    /// Enhanced status.
    pub status: &'static str,
    /// The entry of the catalogue.
    pub cause: Cause,
    /// What is wrong and what would do.
    pub text: String,
}

impl AddressError {
    fn new(code: u16, status: &'static str, cause: Cause, text: String) -> Self {
        Self { code, status, cause, text }
    }

    fn invalid(text: String) -> Self {
        Self::new(550, "5.1.3", Cause::NumberInvalid, text)
    }

    fn malformed(text: String) -> Self {
        Self::new(501, "5.1.3", Cause::NumberInvalid, text)
    }

    fn no_such_number(text: String) -> Self {
        Self::new(550, "5.1.1", Cause::NumberInvalid, text)
    }

    fn not_allowed(text: String) -> Self {
        Self::new(550, "5.7.1", Cause::NumberNotAllowed, text)
    }

    /// RFC 6531 §3.5.
    fn not_ascii(text: String) -> Self {
        Self::new(553, "5.6.7", Cause::NumberInvalid, text)
    }
}

/// Reads a forward-path.
///
/// # Errors
/// `relay-denied` for other domains, `number-invalid` for what is no number, `number-not-allowed` for dial strings.
pub fn parse(path: &smtp::Path, rules: &AddressRules) -> Result<FaxAddress, AddressError> {
    if let Some(domain) = path.domain() {
        check_domain(domain, rules)?;
    }
    parse_local(path.local(), rules)
}

/// Reads what stands before the `@`, or a number that somebody types into a command.
///
/// # Errors
/// As [`parse`].
pub fn parse_local(local: &str, rules: &AddressRules) -> Result<FaxAddress, AddressError> {
    let local: String = local.chars().map(narrow).collect();
    refuse_services(&local, rules)?;
    match imcea::read(&local) {
        Some(Ok(one_off)) => from_one_off(one_off, rules),
        Some(Err(imcea::Fault::Malformed)) => Err(AddressError::malformed(format!(
            "{} is not encoded as IMCEA addresses are; {}",
            quoted(&local),
            full_number(&rules.domain)
        ))),
        Some(Err(imcea::Fault::OtherType)) => Err(AddressError::no_such_number(format!(
            "{} holds no fax address; {}",
            quoted(&local),
            full_number(&rules.domain)
        ))),
        None => from_segments(&local, rules),
    }
}

/// RFC 4160 §3.2: only addresses in our domain are considered.
fn check_domain(domain: &str, rules: &AddressRules) -> Result<(), AddressError> {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    if domain.eq_ignore_ascii_case(&rules.domain) {
        return Ok(());
    }
    let text = format!(
        "{} is not a domain of this gateway; use the gateway's domain, as in +41441234567@{}",
        quoted(domain),
        rules.domain
    );
    Err(AddressError::new(550, "5.7.1", Cause::RelayDenied, text))
}

/// Addresses that are words: the mailboxes that every domain should have, and what a mail alone can ask for.
fn refuse_services(local: &str, rules: &AddressRules) -> Result<(), AddressError> {
    let lower = local.to_ascii_lowercase();
    let word = lower.split('+').next().unwrap_or_default();
    let text = match word {
        "preview" | "help" => format!("{} is no number; send a mail to {word}@{}", quoted(local), rules.domain),
        "retry" | "cancel" if lower.contains('+') => {
            format!("{} is an order and no number; send a mail to it as a report has it", quoted(local))
        }
        "postmaster" | "abuse" => {
            format!("this gateway has no mailbox {}; write to the administrator of {}", quoted(word), rules.domain)
        }
        _ => return Ok(()),
    };
    Err(AddressError::no_such_number(text))
}

fn from_one_off(one_off: imcea::OneOff, rules: &AddressRules) -> Result<FaxAddress, AddressError> {
    Ok(FaxAddress {
        number: number::read(&one_off.number, rules.country.as_deref(), &rules.domain)?,
        subaddress: one_off.subaddress.map(|text| subaddress(&text)).transpose()?,
        post_dial: one_off.post_dial.map(|text| post_dial(&text)).transpose()?,
        to_name: one_off.name.and_then(|name| clean(&name)),
        to_company: None,
    })
}

/// `[/] segment / KEY=value / … [/]`: what stands before `FAX=`, or before the number, are name and company.
fn from_segments(local: &str, rules: &AddressRules) -> Result<FaxAddress, AddressError> {
    // RFC 3192 §4: slashes at both ends are accepted, never written.
    let local = local.strip_prefix('/').unwrap_or(local);
    let local = local.strip_suffix('/').unwrap_or(local);
    let mut words: Vec<&str> = Vec::new();
    let mut keys: Vec<(String, String)> = Vec::new();
    for segment in local.split('/') {
        match keyword(segment) {
            Some((key, value)) => keys.push((key, value.to_owned())),
            // A22: a slash that begins no keyword belongs to the value before it.
            None => match keys.last_mut() {
                Some((_, value)) => {
                    value.push('/');
                    value.push_str(segment);
                }
                None => words.push(segment),
            },
        }
    }
    let text = match keys.first() {
        Some((key, value)) if key == "FAX" => value.clone(),
        // A13: another service than fax, and no number in front of it.
        Some((key, _)) if words.is_empty() => {
            return Err(AddressError::no_such_number(format!(
                "{} is not a fax service; write it as in FAX=+41441234567@{}",
                quoted(key),
                rules.domain
            )));
        }
        _ => words.pop().unwrap_or_default().to_owned(),
    };
    if text.is_empty() {
        // A12: nothing but tones.
        let text = format!("{} has no number; {}", quoted(local), full_number(&rules.domain));
        return Err(AddressError::no_such_number(text));
    }
    let number = number::read(&text, rules.country.as_deref(), &rules.domain)?;
    let mut address = FaxAddress { number, subaddress: None, post_dial: None, to_name: None, to_company: None };
    apply_keywords(&mut address, &keys)?;
    if let Some(name) = words.first() {
        address.to_name = cover_text(name);
    }
    if words.len() > 1 {
        address.to_company = cover_text(&words[1..].join("/"));
    }
    Ok(address)
}

/// RFC 3191 §2, RFC 3192 §2, RFC 2846 §3. Keywords that we do not know are no reason to refuse; the report repeats them with the
/// whole address.
fn apply_keywords(address: &mut FaxAddress, keys: &[(String, String)]) -> Result<(), AddressError> {
    for (index, (key, value)) in keys.iter().enumerate() {
        if keys[..index].iter().any(|(earlier, _)| earlier == key) {
            let text = format!("{} is given twice; give it once, and send to each subaddress on its own", quoted(key));
            return Err(AddressError::malformed(text));
        }
        match key.as_str() {
            "T33S" => address.subaddress = Some(subaddress(value)?),
            "POSTD" => address.post_dial = Some(post_dial(value)?),
            "ATTN" => address.to_name = cover_text(value),
            "ORG" => address.to_company = cover_text(value),
            _ => {}
        }
    }
    Ok(())
}

/// `KEY=value`; the key in upper case.
fn keyword(segment: &str) -> Option<(String, &str)> {
    let (key, value) = segment.split_once('=')?;
    let good = key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && key.len() <= 16;
    good.then(|| (key.to_ascii_uppercase(), value))
}

fn subaddress(text: &str) -> Result<String, AddressError> {
    if (1..=SUBADDRESS_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    Err(AddressError::malformed(format!(
        "subaddress {} is not 1 to 20 digits; write it as in /T33S=12, each subaddress as a recipient of its own",
        quoted(text)
    )))
}

fn post_dial(text: &str) -> Result<String, AddressError> {
    let tones: String = text.chars().filter(|c| !"-. ".contains(*c)).collect();
    let tone = |c: char| c.is_ascii_digit() || "#*ABCDabcdpwPW".contains(c);
    if (1..=POST_DIAL_MAX).contains(&tones.len()) && tones.chars().all(tone) {
        return Ok(tones);
    }
    // The tones may be a secret: they are not echoed.
    let text = "the tones after the answer are not 1 to 64 of 0-9 # * A-D p w; write them as in /POSTD=p1w7005";
    Err(AddressError::malformed(text.to_owned()))
}

/// `Jane_Doe` and `Mark.Collins` as people write them (RFC 2846 §3.1: given name and surname have a dot between them).
fn cover_text(text: &str) -> Option<String> {
    let text = text.replace('_', " ");
    let text = if text.contains(' ') { text } else { text.replace('.', " ") };
    clean(&text)
}

/// One line without control characters, at most 80 characters; none when nothing is left.
fn clean(text: &str) -> Option<String> {
    let text: String = text.chars().map(|c| if is_hostile(c) { ' ' } else { c }).take(NAME_MAX).collect();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (!text.is_empty()).then_some(text)
}

/// Characters that turn the reading direction or end a line: they let a name look like something else.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// A21: full-width digits and signs are the same characters in another width.
fn narrow(c: char) -> char {
    match c {
        '\u{ff10}'..='\u{ff19}' | '\u{ff0b}' | '\u{ff0d}' | '\u{ff0e}' | '\u{ff0f}' | '\u{ff1d}' => {
            char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c)
        }
        _ => c,
    }
}

/// At most 64 characters in double quotes, fit for a reply and a log.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", shown(text, 64))
}

/// At most so many characters, fit for a reply and a log.
pub(crate) fn shown(text: &str, chars_max: usize) -> String {
    let mut shown: String = text.chars().map(|c| if is_hostile(c) { '?' } else { c }).take(chars_max).collect();
    if shown.chars().count() < text.chars().count() {
        shown.push_str("...");
    }
    shown
}

fn full_number(domain: &str) -> String {
    format!("use the full number, as in +41441234567@{domain}")
}
