//! Where a received fax goes: the routes of the configuration and those that a person set, in one order.
//!
//! In come the numbers as the trunk writes them; they are brought into the form of the routes first, so that
//! `0440000001`, `0041440000001` and `+41440000001` find the same one. Out goes a list of mailboxes that is never empty.

use std::panic::catch_unwind;
use std::sync::Arc;

use jiff::tz::TimeZone;
use phonenumber::metadata::DATABASE;
use serde::{Deserialize, Serialize};

use super::model::{Config, InboundConfig};
use crate::domain::inbound::{Destination, Incoming, Rule};
use crate::domain::{ReceivedFormat, Timestamp};

/// Shorter digits are an extension and no national number.
const NATIONAL_DIGITS_MIN: usize = 7;
/// Longest number that is looked at; what a trunk writes beyond it is cut.
const NUMBER_CHARS_MAX: usize = 64;

/// Where a rule comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The configuration.
    Configuration,
    /// A person set it.
    Stored,
}

/// A rule and what it says to a fax.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// The rule, with numbers in the form that is compared.
    pub rule: Rule,
    /// Where it comes from.
    pub source: Source,
    /// Why it does not hold; none when it does.
    pub mismatch: Option<String>,
}

/// What choosing the mailboxes needs beside the fax and the stored rules. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Mailboxes {
    config: Arc<InboundConfig>,
    country: Option<String>,
    zone: TimeZone,
}

impl Mailboxes {
    /// Those of this configuration; times of routes are read in `zone`.
    pub fn new(config: &Config, zone: TimeZone) -> Self {
        Self { config: Arc::new(config.inbound.clone()), country: config.dial.country.clone(), zone }
    }

    /// Whether there is a mailbox for every fax: else no call is answered.
    pub fn any(&self) -> bool {
        !self.config.default.is_empty()
    }

    /// Where a fax goes that came in at `at`. `stored` are the rules that a person set.
    pub fn choose(&self, fax: Incoming, at: Timestamp, stored: Vec<Rule>) -> Destination {
        self.routing(stored).choose(&self.normalised(fax), at, &self.zone)
    }

    /// The fax as the rules see it, and every rule with what it says to it.
    pub fn explain(&self, fax: Incoming, at: Timestamp, stored: Vec<Rule>) -> (Incoming, Vec<Explained>) {
        let fax = self.normalised(fax);
        let explained = self.routing(stored).explain(&fax, at, &self.zone);
        (fax, explained)
    }

    /// The rules with `stored` among them.
    pub fn routing(&self, stored: Vec<Rule>) -> Routing {
        Routing::new(&self.config, stored, self.country.as_deref())
    }

    /// The numbers of a fax in the form of the rules; a caller that is no number is none.
    pub fn normalised(&self, fax: Incoming) -> Incoming {
        let country = self.country.as_deref();
        let caller = fax.caller.map(|caller| one_form(&caller, country)).filter(|caller| is_number(caller));
        Incoming { did: one_form(&fax.did, country), caller, ..fax }
    }

    /// The configuration's own rules: their names are taken.
    pub fn configured(&self) -> Vec<Rule> {
        self.config.rules()
    }
}

/// Every rule in the order they are asked.
#[derive(Debug, Clone)]
pub struct Routing {
    rules: Vec<(Rule, Source)>,
    default: Vec<String>,
    format: ReceivedFormat,
}

impl InboundConfig {
    /// The rules of the configuration: its routes, and one for each number of `[inbound.did]`.
    pub fn rules(&self) -> Vec<Rule> {
        let did = |(number, to): (&String, &Vec<String>)| Rule {
            name: format!("did-{}", number.trim_start_matches('+')),
            did: Some(number.clone()),
            to: to.clone(),
            format: self.format,
            ..Rule::default()
        };
        self.routes.values().cloned().chain(self.did.iter().map(did)).collect()
    }
}

impl Routing {
    /// Puts the rules together. A stored rule with the name of a configured one is left out: the file says what holds.
    pub fn new(config: &InboundConfig, stored: Vec<Rule>, country: Option<&str>) -> Self {
        let configured = config.rules();
        let stored: Vec<Rule> =
            stored.into_iter().filter(|rule| configured.iter().all(|other| other.name != rule.name)).collect();
        let mut rules: Vec<(Rule, Source)> = configured
            .into_iter()
            .map(|rule| (rule, Source::Configuration))
            .chain(stored.into_iter().map(|rule| (rule, Source::Stored)))
            .collect();
        for (rule, _) in &mut rules {
            for pattern in [&mut rule.did, &mut rule.caller].into_iter().flatten() {
                *pattern = one_form(pattern, country);
            }
        }
        rules.sort_by(|(a, _), (b, _)| a.place().cmp(&b.place()));
        Self { rules, default: config.default.clone(), format: config.format }
    }

    /// Every rule in the order they are asked.
    pub fn into_rules(self) -> Vec<(Rule, Source)> {
        self.rules
    }

    /// Where a fax goes that came in at this time.
    pub fn choose(&self, fax: &Incoming, at: Timestamp, zone: &TimeZone) -> Destination {
        let now = at.to_jiff().to_zoned(zone.clone());
        let holds = self.rules.iter().map(|(rule, _)| rule).find(|rule| rule.mismatch(fax, &now).is_none());
        match holds.filter(|rule| !rule.to.is_empty()) {
            Some(rule) => Destination { route: Some(rule.name.clone()), to: unique(&rule.to), format: rule.format },
            None => Destination { route: None, to: unique(&self.default), format: self.format },
        }
    }

    /// Every rule in the order they are asked, with what it says to this fax.
    pub fn explain(&self, fax: &Incoming, at: Timestamp, zone: &TimeZone) -> Vec<Explained> {
        let now = at.to_jiff().to_zoned(zone.clone());
        let explained = |(rule, source): &(Rule, Source)| Explained {
            rule: rule.clone(),
            source: *source,
            mismatch: rule.mismatch(fax, &now),
        };
        self.rules.iter().map(explained).collect()
    }
}

/// One mail for a mailbox, however often and in which case it is named.
fn unique(to: &[String]) -> Vec<String> {
    let mut list: Vec<String> = Vec::with_capacity(to.len());
    for mailbox in to {
        if !list.iter().any(|earlier| earlier.eq_ignore_ascii_case(mailbox)) {
            list.push(mailbox.clone());
        }
    }
    list
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// A number, or the beginning of one with a star, as an international number where that is what it is: `00` and the
/// country's own prefixes are understood; what is no number, and what is too short for one, stays as it is.
pub fn one_form(text: &str, country: Option<&str>) -> String {
    let text: String = text.chars().take(NUMBER_CHARS_MAX).collect();
    let (plain, star) = text.strip_suffix('*').map_or((text.as_str(), ""), |plain| (plain, "*"));
    let plain: String = plain.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')')).collect();
    if plain.starts_with('+') || !is_number(&plain) {
        return format!("{plain}{star}");
    }
    let whole = !star.is_empty() || plain.len() >= NATIONAL_DIGITS_MIN;
    let prefixes = country.and_then(prefixes);
    let (code, trunk, international) =
        prefixes.as_ref().map_or(("", "", "00"), |(code, trunk)| (code.as_str(), trunk.as_str(), "00"));
    let form = if let Some(rest) = plain.strip_prefix(international).filter(|rest| whole && !rest.starts_with('0')) {
        format!("+{rest}")
    } else if let Some(rest) = plain.strip_prefix(trunk).filter(|_| whole && !code.is_empty() && !trunk.is_empty()) {
        format!("+{code}{rest}")
    } else {
        plain
    };
    format!("{form}{star}")
}

/// The code of a country and what its national numbers begin with.
fn prefixes(country: &str) -> Option<(String, String)> {
    // The tables are made of regular expressions; a panic in there must not cost a call.
    catch_unwind(|| {
        let metadata = DATABASE.by_id(country)?;
        Some((metadata.country_code().to_string(), metadata.national_prefix().unwrap_or("").to_owned()))
    })
    .unwrap_or(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_number_finds_the_same_route() {
        for (text, country, expected) in [
            ("+41440000001", Some("CH"), "+41440000001"),
            ("0041440000001", Some("CH"), "+41440000001"),
            ("0440000001", Some("CH"), "+41440000001"),
            ("044 000 00 01", Some("CH"), "+41440000001"),
            ("044*", Some("CH"), "+4144*"),
            ("+4144*", Some("CH"), "+4144*"),
            ("0440000001", None, "0440000001"),
            ("0041440000001", None, "+41440000001"),
            ("201", Some("CH"), "201"),
            ("012", Some("CH"), "012"),
            ("anonymous", Some("CH"), "anonymous"),
            ("0440000001", Some("XX"), "0440000001"),
            ("", Some("CH"), ""),
        ] {
            assert_eq!(one_form(text, country), expected, "{text} in {country:?}");
        }
    }

    fn mailboxes() -> (Mailboxes, Vec<Rule>) {
        let rule = |name: &str, did: &str, to: &[&str]| Rule {
            name: name.to_owned(),
            did: Some(did.to_owned()),
            to: to.iter().map(|to| (*to).to_owned()).collect(),
            ..Rule::default()
        };
        let inbound = InboundConfig {
            default: vec!["office@example.com".to_owned()],
            format: ReceivedFormat::Tiff,
            did: [("+41440000001".to_owned(), vec!["sales@example.com".to_owned()])].into(),
            routes: [(
                "night".to_owned(),
                Rule {
                    times: Some("18:00-08:00".to_owned()),
                    priority: 1,
                    ..rule("night", "+4144*", &["night@example.com"])
                },
            )]
            .into(),
        };
        let stored = vec![
            rule("night", "+41440000001", &["thief@example.com"]),
            rule("lab", "0440000002", &["lab@example.com", "LAB@example.com", "chief@example.com"]),
        ];
        let zone = TimeZone::get("Europe/Zurich").unwrap();
        (Mailboxes { config: Arc::new(inbound), country: Some("CH".to_owned()), zone }, stored)
    }

    fn chosen(did: &str, at: &str) -> Destination {
        let (mailboxes, stored) = mailboxes();
        let at: jiff::Timestamp = at.parse().unwrap();
        mailboxes.choose(Incoming { did: did.to_owned(), ..Incoming::default() }, at.into(), stored)
    }

    #[test]
    fn configured_and_stored_rules_share_one_order_and_nobody_is_never_the_answer() {
        let cases = [
            ("0440000001", "2027-01-04T09:00Z", Some("did-41440000001"), vec!["sales@example.com"]),
            ("0440000001", "2027-01-04T17:00Z", Some("night"), vec!["night@example.com"]),
            ("+41440000002", "2027-01-04T09:00Z", Some("lab"), vec!["lab@example.com", "chief@example.com"]),
            ("+41310000000", "2027-01-04T17:00Z", None, vec!["office@example.com"]),
            ("?", "2027-01-04T17:00Z", None, vec!["office@example.com"]),
        ];
        for (did, at, route, to) in cases {
            let destination = chosen(did, at);
            assert_eq!(
                (destination.route.as_deref(), destination.to),
                (route, to.iter().map(|to| (*to).to_owned()).collect()),
                "{did}"
            );
        }
        assert_eq!(chosen("+41310000000", "2027-01-04T17:00Z").format, ReceivedFormat::Tiff);
    }

    #[test]
    fn an_explanation_names_every_rule_in_order_with_its_reason() {
        let (mailboxes, stored) = mailboxes();
        let at: jiff::Timestamp = "2027-01-04T09:00Z".parse().unwrap();
        let fax = Incoming { did: "044 000 00 02".to_owned(), ..Incoming::default() };
        let (fax, explained) = mailboxes.explain(fax, at.into(), stored);
        assert_eq!(fax.did, "+41440000002");
        let said: Vec<_> = explained.iter().map(|e| (e.rule.name.as_str(), e.source, e.mismatch.is_none())).collect();
        let expected = [
            ("night", Source::Configuration, false),
            ("did-41440000001", Source::Configuration, false),
            ("lab", Source::Stored, true),
        ];
        assert_eq!(said, expected);
    }
}
