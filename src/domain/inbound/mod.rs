//! Which mailboxes a received fax goes to: rules by DID, caller, TSI and subaddress, with priorities and times.
//!
//! The rule with the lowest priority number that holds decides; among equals the more specific one, then the first by
//! name, so that the answer never depends on the order they are kept in. When none holds the default mailboxes take the
//! fax: it is never lost and never guessed. Pure: `config::inbound` puts the configuration's rules and those that a
//! person set together and brings numbers into one form.

mod check;
mod times;

use std::cmp::Reverse;

use jiff::Zoned;
use serde::{Deserialize, Serialize};

pub use check::{MAILBOXES_MAX, RuleFault, check_number, check_subaddress, check_times, check_tsi};
pub use times::Times;

use crate::domain::page::words;

/// What the mail of a received fax carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReceivedFormat {
    /// A PDF whose pages are the CCITT strips as they came.
    #[default]
    Pdf,
    /// TIFF-F profile S.
    Tiff,
    /// Both.
    Both,
    /// Facts without images (health data).
    Text,
}
words!(ReceivedFormat { Pdf = "pdf", Tiff = "tiff", Both = "both", Text = "text" });

/// One rule. A condition that is absent holds for every fax; all that are there must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name, unique: lower-case letters, digits, hyphens.
    pub name: String,
    /// The called number, or its beginning when it ends in `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub did: Option<String>,
    /// The calling number, or its beginning when it ends in `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// The TSI; `*` stands for any characters, case does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tsi: Option<String>,
    /// The subaddress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subaddress: Option<String>,
    /// When it holds, as in `mon-fri 08:00-18:00`, in the gateway's time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<String>,
    /// Rules with a lower number are asked first; 100 is usual.
    #[serde(default = "usual_priority")]
    pub priority: i32,
    /// The mailboxes; never empty.
    pub to: Vec<String>,
    /// What the mail carries.
    #[serde(default)]
    pub format: ReceivedFormat,
}

/// What a rule's priority is when nobody says so.
pub const USUAL_PRIORITY: i32 = 100;

fn usual_priority() -> i32 {
    USUAL_PRIORITY
}

impl Default for Rule {
    /// Holds for every fax and leads nowhere yet.
    fn default() -> Self {
        Self {
            name: String::new(),
            did: None,
            caller: None,
            tsi: None,
            subaddress: None,
            times: None,
            priority: USUAL_PRIORITY,
            to: Vec::new(),
            format: ReceivedFormat::default(),
        }
    }
}

/// What is known of a fax when its mailboxes are chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Incoming {
    /// The called number.
    pub did: String,
    /// The calling number, if the trunk says so.
    pub caller: Option<String>,
    /// TSI.
    pub tsi: Option<String>,
    /// SUB.
    pub subaddress: Option<String>,
}

/// Where a fax goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// Name of the rule; none when the default mailboxes take it.
    pub route: Option<String>,
    /// The mailboxes, never empty.
    pub to: Vec<String>,
    /// What the mails carry.
    pub format: ReceivedFormat,
}

impl Rule {
    /// Why it does not hold for this fax at this time; none when it does. One line for people.
    ///
    /// Times that cannot be read hold never: a rule is checked before it is used ([`Rule::faults`]).
    pub fn mismatch(&self, fax: &Incoming, now: &Zoned) -> Option<String> {
        let numbers = [("called number", &self.did, Some(&fax.did)), ("caller", &self.caller, fax.caller.as_ref())];
        for (what, pattern, value) in numbers {
            if let Some(pattern) = pattern
                && !value.is_some_and(|value| number_fits(pattern, value))
            {
                return Some(other(what, value.map(String::as_str), pattern));
            }
        }
        if let Some(pattern) = &self.tsi
            && !fax.tsi.as_ref().is_some_and(|tsi| text_fits(pattern.trim(), tsi.trim()))
        {
            return Some(other("station id", fax.tsi.as_deref(), pattern));
        }
        if let Some(wanted) = &self.subaddress
            && fax.subaddress.as_ref() != Some(wanted)
        {
            return Some(other("subaddress", fax.subaddress.as_deref(), wanted));
        }
        let times = self.times.as_ref()?;
        let holds = Times::parse(times).is_ok_and(|read| read.hold_at(now));
        (!holds).then(|| format!("it is {}, not {times}", now.strftime("%a %H:%M").to_string().to_lowercase()))
    }

    /// Its place among others: what comes first is asked first.
    pub fn place(&self) -> impl Ord + '_ {
        // A whole number says more than any beginning of one.
        let number = |pattern: &Option<String>| {
            pattern.as_ref().map_or(0, |text| if text.ends_with('*') { text.len() } else { usize::MAX })
        };
        let tsi = self.tsi.as_ref().map_or(0, |text| if text.contains('*') { 1 } else { 2 });
        let specific = (number(&self.did), self.subaddress.is_some(), number(&self.caller), tsi, self.times.is_some());
        (self.priority, Reverse(specific), self.name.as_str())
    }
}

fn other(what: &str, value: Option<&str>, pattern: &str) -> String {
    match value {
        Some(value) => format!("{what} is {value}, not {pattern}"),
        None => format!("{what} is not known, and {pattern} is asked for"),
    }
}

fn number_fits(pattern: &str, number: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => number.starts_with(beginning),
        None => number == pattern,
    }
}

/// Whether `text` is what `pattern` says, `*` standing for any characters, case ignored.
fn text_fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or("")) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    // The earliest place of each part leaves the most room for the others.
    for part in between {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests;
