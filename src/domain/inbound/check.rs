//! Whether a rule can hold at all and leads anywhere.

use super::{Rule, Times};

/// Mailboxes of one rule.
pub const MAILBOXES_MAX: usize = 100;
/// Longest name of a rule, and longest pattern.
const NAME_CHARS_MAX: usize = 60;
const PATTERN_CHARS_MAX: usize = 64;
/// RFC 5321 §4.5.3.1.3: 256 octets with the angle brackets.
const ADDRESS_OCTETS_MAX: usize = 254;
/// Digits of the longest number that a trunk may write, with prefixes.
const NUMBER_DIGITS_MAX: usize = 20;
/// T.30 §5.3.6.1.2: SUB has 20 digits.
const SUBADDRESS_MAX: usize = 20;
const PRIORITY_RANGE: std::ops::RangeInclusive<i32> = 0..=10_000;

/// What is wrong with a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}; fix: {fix}")]
pub struct RuleFault {
    /// Which part of it: `did`, `times`, …
    pub field: &'static str,
    /// What is wrong.
    pub message: String,
    /// What would do.
    pub fix: String,
}

fn fault(field: &'static str, message: impl Into<String>, fix: impl Into<String>) -> RuleFault {
    RuleFault { field, message: message.into(), fix: fix.into() }
}

impl Rule {
    /// Everything that is wrong with it; nothing when it can be used.
    pub fn faults(&self) -> Vec<RuleFault> {
        let numbers = [("did", &self.did), ("caller", &self.caller)];
        let numbers = numbers.into_iter().filter_map(|(field, text)| Some((field, text.as_deref()?)));
        let mut faults: Vec<RuleFault> = [
            check_name(&self.name).err(),
            self.tsi.as_deref().and_then(|text| check_tsi(text).err()),
            self.subaddress.as_deref().and_then(|text| check_subaddress(text).err()),
            self.times.as_deref().and_then(|text| check_times(text).err()),
            (!PRIORITY_RANGE.contains(&self.priority)).then(|| {
                let fix = format!("take {} to {}; 100 is usual", PRIORITY_RANGE.start(), PRIORITY_RANGE.end());
                fault("priority", format!("{} is out of range", self.priority), fix)
            }),
        ]
        .into_iter()
        .flatten()
        .collect();
        faults.extend(numbers.filter_map(|(field, text)| check_number(field, text).err()));
        faults.extend(self.mailbox_faults());
        faults
    }

    fn mailbox_faults(&self) -> Vec<RuleFault> {
        if self.to.is_empty() {
            return vec![fault("to", "no mailbox is named", "name one, as in sales@example.com")];
        }
        if self.to.len() > MAILBOXES_MAX {
            let message = format!("{} mailboxes are more than {MAILBOXES_MAX}", self.to.len());
            return vec![fault("to", message, "use a distribution list of your mail server")];
        }
        let mut faults: Vec<RuleFault> = self.to.iter().filter_map(|to| check_mailbox(to).err()).collect();
        let twice =
            self.to.iter().enumerate().find(|(at, to)| self.to[..*at].iter().any(|e| e.eq_ignore_ascii_case(to)));
        if let Some((_, to)) = twice {
            faults.push(fault("to", format!("\"{to}\" stands twice"), "name each mailbox once"));
        }
        faults
    }
}

fn check_name(name: &str) -> Result<(), RuleFault> {
    let inside = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let fits = (1..=NAME_CHARS_MAX).contains(&name.len()) && inside && !name.starts_with('-') && !name.ends_with('-');
    if fits {
        Ok(())
    } else {
        Err(fault(
            "name",
            format!("\"{name}\" is not a name"),
            "take lower-case letters, digits and hyphens, as in sales-night",
        ))
    }
}

/// A number, or the beginning of one with a star.
pub fn check_number(field: &'static str, text: &str) -> Result<(), RuleFault> {
    let plain = text.strip_suffix('*').unwrap_or(text);
    let digits = plain.strip_prefix('+').unwrap_or(plain);
    let fits = (1..=NUMBER_DIGITS_MAX).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if fits {
        return Ok(());
    }
    let fix = "write a number as in +41440000001, or its beginning with a star as in +4144*; leave it out for any";
    Err(fault(field, format!("\"{text}\" is neither a number nor the beginning of one"), fix))
}

/// A station id, `*` standing for any characters.
pub fn check_tsi(text: &str) -> Result<(), RuleFault> {
    let fits = !text.trim().is_empty()
        && text.chars().count() <= PATTERN_CHARS_MAX
        && text.bytes().all(|b| (0x20..0x7f).contains(&b));
    if fits {
        Ok(())
    } else {
        Err(fault("tsi", format!("\"{text}\" is not a station id"), "write printable ASCII, with * for any characters"))
    }
}

/// A subaddress.
pub fn check_subaddress(text: &str) -> Result<(), RuleFault> {
    if (1..=SUBADDRESS_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || b"*#+ ".contains(&b)) {
        Ok(())
    } else {
        Err(fault("subaddress", format!("\"{text}\" is not a subaddress"), "write 1 to 20 digits"))
    }
}

/// Days and times of day.
pub fn check_times(text: &str) -> Result<(), RuleFault> {
    let written = "write it as in mon-fri 08:00-18:00; sat 09:00-12:00";
    Times::parse(text).map(drop).map_err(|message| fault("times", message, written))
}

fn check_mailbox(text: &str) -> Result<(), RuleFault> {
    let label = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let plain = text.len() <= ADDRESS_OCTETS_MAX
        && text.bytes().all(|b| (0x21..0x7f).contains(&b) && !b"<>\",;:\\()[]".contains(&b))
        && text
            .rsplit_once('@')
            .is_some_and(|(local, domain)| !local.is_empty() && !local.contains('@') && domain.split('.').all(label));
    if plain {
        Ok(())
    } else {
        Err(fault("to", format!("\"{text}\" is not a mail address"), "write one as in sales@example.com"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Rule {
        Rule {
            name: "sales".to_owned(),
            did: Some("+4144*".to_owned()),
            caller: Some("201".to_owned()),
            tsi: Some("*ACME*".to_owned()),
            subaddress: Some("12".to_owned()),
            times: Some("mon-fri 08:00-18:00".to_owned()),
            to: vec!["sales@example.com".to_owned()],
            ..Rule::default()
        }
    }

    #[test]
    fn a_good_rule_has_no_fault_and_each_bad_part_has_its_own() {
        assert_eq!(good().faults(), []);
        let some = |text: &str| Some(text.to_owned());
        let cases: [(&str, Rule); 14] = [
            ("name", Rule { name: String::new(), ..good() }),
            ("name", Rule { name: "Sales".to_owned(), ..good() }),
            ("did", Rule { did: some("*"), ..good() }),
            ("did", Rule { did: some("+41 44"), ..good() }),
            ("did", Rule { did: some("+41*44"), ..good() }),
            ("caller", Rule { caller: some("anna"), ..good() }),
            ("tsi", Rule { tsi: some("Zürich"), ..good() }),
            ("subaddress", Rule { subaddress: some("x"), ..good() }),
            ("times", Rule { times: some("always"), ..good() }),
            ("priority", Rule { priority: -1, ..good() }),
            ("to", Rule { to: vec![], ..good() }),
            ("to", Rule { to: vec!["sales".to_owned()], ..good() }),
            ("to", Rule { to: vec!["a@b\r\nRCPT".to_owned()], ..good() }),
            ("to", Rule { to: vec!["a@b.c".to_owned(), "A@b.c".to_owned()], ..good() }),
        ];
        for (field, rule) in cases {
            let faults = rule.faults();
            assert_eq!(faults.iter().map(|fault| fault.field).collect::<Vec<_>>(), [field], "{rule:?}");
            assert!(!faults[0].fix.is_empty());
        }
    }
}
