//! The dial plan: may this number be dialled, over which lines, and when again.
//!
//! Pure functions over `[dial]` and `[sip.*]`, asked twice: at intake, so that a sender hears at once what is not allowed, and
//! before the call, so that a rule that was tightened in between holds. `faxwell dial explain` shows the same answer.
//!
//! Default deny (toll fraud is the attack on a fax gateway): what no `dial.allow` prefix names is not dialled. Numbers of the
//! sandbox (+999) leave through sandbox lines alone. Other numbers leave through real lines; where every line is a
//! sandbox line nothing is ever dialled, and allowed numbers go there too.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::forbidden::{self, Forbidden};
use crate::config::model::{DialConfig, RetryConfig, RetryRule, RouteConfig, SipConfig};
use crate::domain::{Cause, FaxNumber};
use crate::store::Reach;

/// How the numbers of the sandbox begin.
const SANDBOX_PREFIX: &str = "+999";

/// How a number is dialled.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Plan {
    /// The `dial.allow` prefix that allows it; none for the sandbox's numbers.
    pub allowed_by: Option<String>,
    /// `[dial.route.NAME]` that it takes; none for the default, every line.
    pub route: Option<String>,
    /// Lines in the order in which they are tried; never empty.
    pub lines: Vec<String>,
}

/// Why a number is not dialled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDialled {
    /// A `dial.deny` prefix names it.
    #[error("{number} is not dialled: dial.deny names {prefix}; use another number or ask the administrator")]
    Denied {
        /// The number.
        number: FaxNumber,
        /// The prefix.
        prefix: String,
    },
    /// No `dial.allow` prefix names it.
    #[error("{number} is not allowed: no prefix in dial.allow names it; ask the administrator to allow it")]
    NotAllowed {
        /// The number.
        number: FaxNumber,
    },
    /// A sandbox number without a sandbox line.
    #[error("{number} is a number of the sandbox and this gateway has no sandbox line; use a real number")]
    NoSandbox {
        /// The number.
        number: FaxNumber,
    },
    /// Nobody faxes there.
    #[error("{number} reaches an emergency service; faxes are never sent there")]
    Emergency {
        /// The number.
        number: FaxNumber,
    },
    /// Whoever is called earns by it.
    #[error("{number} is a premium-rate number; ask the administrator, who can set dial.premium")]
    Premium {
        /// The number.
        number: FaxNumber,
    },
    /// Who has it asked not to be faxed.
    #[error("{number} is on the do-not-fax list: who has it asked not to be faxed")]
    Listed {
        /// The number.
        number: FaxNumber,
    },
    /// Tones after the answer would dial on.
    #[error("the tones for {number} reach an emergency service; faxes are never sent there")]
    Tones {
        /// The number.
        number: FaxNumber,
    },
    /// No line can take it.
    #[error("{number} has no line: {detail}; ask the administrator to add a [sip.NAME] table or correct the route")]
    NoLine {
        /// The number.
        number: FaxNumber,
        /// What is missing.
        detail: String,
    },
}

impl NotDialled {
    /// The entry of the catalogue.
    pub fn cause(&self) -> Cause {
        Cause::NumberNotAllowed
    }
}

/// What `faxwell dial explain` shows.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Explanation {
    /// The number as it would be dialled.
    pub number: FaxNumber,
    /// Whether it would be dialled.
    pub dialled: bool,
    /// How, when it would.
    #[serde(flatten)]
    pub plan: Option<Plan>,
    /// Why not, when it would not.
    pub refusal: Option<String>,
    /// When it is called again, one line for each kind of cause.
    pub retry: Vec<String>,
}

/// How this number is dialled, or why not.
///
/// # Errors
/// Every reason that [`NotDialled`] names; all are final until the configuration changes.
pub fn plan(dial: &DialConfig, sip: &BTreeMap<String, SipConfig>, number: &FaxNumber) -> Result<Plan, NotDialled> {
    if let Some(prefix) = longest_prefix(dial.deny.iter(), number) {
        return Err(NotDialled::Denied { number: number.clone(), prefix: prefix.clone() });
    }
    if dial.do_not_fax.contains(number) {
        return Err(NotDialled::Listed { number: number.clone() });
    }
    if number.is_sandbox() {
        let lines = names(sip, |line| line.sandbox);
        return if lines.is_empty() {
            Err(NotDialled::NoSandbox { number: number.clone() })
        } else {
            Ok(Plan { allowed_by: None, route: None, lines })
        };
    }
    match forbidden(dial, number) {
        Some(Forbidden::Emergency) => return Err(NotDialled::Emergency { number: number.clone() }),
        Some(Forbidden::Premium) => return Err(NotDialled::Premium { number: number.clone() }),
        None => {}
    }
    let allowed_by = longest_prefix(dial.allow.iter(), number)
        .ok_or_else(|| NotDialled::NotAllowed { number: number.clone() })?
        .clone();
    let (route, lines) = route(dial, sip, number);
    if lines.is_empty() {
        let detail = match &route {
            Some(name) => format!("none of dial.route.{name}.via is a usable line"),
            None => "no line is configured".to_owned(),
        };
        return Err(NotDialled::NoLine { number: number.clone(), detail });
    }
    Ok(Plan { allowed_by: Some(allowed_by), route, lines })
}

fn forbidden(dial: &DialConfig, number: &FaxNumber) -> Option<Forbidden> {
    if forbidden::reaches_emergency(number) {
        Some(Forbidden::Emergency)
    } else if !dial.premium && forbidden::is_premium(number) {
        Some(Forbidden::Premium)
    } else {
        None
    }
}

/// Whether these tones may be sent once this number has answered.
///
/// # Errors
/// [`NotDialled::Tones`].
pub fn tones(dial: &DialConfig, number: &FaxNumber, post_dial: Option<&str>) -> Result<(), NotDialled> {
    match post_dial {
        Some(tones) if forbidden::tones_reach_emergency(tones, dial.country.as_deref()) => {
            Err(NotDialled::Tones { number: number.clone() })
        }
        _ => Ok(()),
    }
}

/// All numbers, parted by the lines that carry them: each group as [`plan`] sees it, with the lines in their order.
/// Numbers that no line carries have none.
pub fn reach(dial: &DialConfig, sip: &BTreeMap<String, SipConfig>) -> Vec<(Reach, Vec<String>)> {
    let mut prefixes: Vec<&str> = dial.routes.values().map(|route| route.prefix.as_str()).collect();
    // The sandbox's numbers never take a route.
    prefixes.retain(|prefix| !prefix.starts_with(SANDBOX_PREFIX));
    prefixes.extend(["+", SANDBOX_PREFIX]);
    prefixes.sort_unstable();
    prefixes.dedup();
    let group = |prefix: &&str| {
        let longer = prefixes.iter().filter(|other| other.len() > prefix.len() && other.starts_with(*prefix));
        let except = longer.map(ToString::to_string).collect();
        let lines = if *prefix == SANDBOX_PREFIX {
            names(sip, |line| line.sandbox)
        } else {
            usable_lines(sip, dial.routes.values().find(|route| route.prefix == **prefix))
        };
        (Reach { prefix: (*prefix).to_owned(), except }, lines)
    };
    prefixes.iter().map(group).collect()
}

/// The whole answer, for people.
pub fn explain(dial: &DialConfig, sip: &BTreeMap<String, SipConfig>, number: &FaxNumber) -> Explanation {
    let plan = plan(dial, sip, number);
    Explanation {
        number: number.clone(),
        dialled: plan.is_ok(),
        refusal: plan.as_ref().err().map(ToString::to_string),
        plan: plan.ok(),
        retry: retry_text(&dial.retry),
    }
}

/// When a number is called again, one line for each kind of cause.
pub fn retry_text(retry: &RetryConfig) -> Vec<String> {
    let rule = |name: &str, rule: RetryRule| match rule.times {
        0 => format!("{name}: not called again"),
        times => format!("{name}: up to {times} more, {} apart", span(rule.wait)),
    };
    vec![
        rule("busy", retry.busy),
        rule("no answer", retry.no_answer),
        rule("other", retry.other),
        format!("given up {} after the mail was accepted", span(retry.give_up)),
    ]
}

/// The route with the longest prefix and its lines; without a route every line in the order of their names.
fn route(dial: &DialConfig, sip: &BTreeMap<String, SipConfig>, number: &FaxNumber) -> (Option<String>, Vec<String>) {
    let matching = dial.routes.iter().filter(|(_, route)| number.as_str().starts_with(&route.prefix));
    let route = matching.max_by_key(|(_, route)| route.prefix.len());
    (route.map(|(name, _)| name.clone()), usable_lines(sip, route.map(|(_, route)| route)))
}

/// Lines of a route, or of the numbers without one, as far as they may carry numbers that are not the sandbox's.
fn usable_lines(sip: &BTreeMap<String, SipConfig>, route: Option<&RouteConfig>) -> Vec<String> {
    let only_sandbox = sip.values().all(|line| line.sandbox);
    let usable = |line: &SipConfig| only_sandbox || !line.sandbox;
    match route {
        Some(route) => route.via.iter().filter(|line| sip.get(*line).is_some_and(usable)).cloned().collect(),
        None => names(sip, usable),
    }
}

fn names(sip: &BTreeMap<String, SipConfig>, wanted: impl Fn(&SipConfig) -> bool) -> Vec<String> {
    sip.iter().filter(|(_, line)| wanted(line)).map(|(name, _)| name.clone()).collect()
}

fn longest_prefix<'a>(prefixes: impl Iterator<Item = &'a String>, number: &FaxNumber) -> Option<&'a String> {
    prefixes.filter(|prefix| !prefix.is_empty() && number.as_str().starts_with(*prefix)).max_by_key(|p| p.len())
}

/// `90 s`, `5 min`, `24 h`.
fn span(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds > 0 && seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        seconds if seconds > 0 && seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::forbidden::DoNotFax;
    use crate::config::model::T38Config;

    fn dial(allow: &[&str], deny: &[&str], routes: &[(&str, &str, &[&str])]) -> DialConfig {
        let rule = |times, minutes: u64| RetryRule { times, wait: Duration::from_secs(minutes * 60) };
        let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        DialConfig {
            country: Some("CH".into()),
            allow: texts(allow),
            deny: texts(deny),
            calls_per_minute: None,
            premium: false,
            do_not_fax: DoNotFax::default(),
            retry: RetryConfig {
                busy: rule(3, 5),
                no_answer: rule(3, 15),
                other: rule(0, 10),
                give_up: Duration::from_secs(24 * 3600),
            },
            routes: routes
                .iter()
                .map(|(name, prefix, via)| {
                    ((*name).to_owned(), RouteConfig { prefix: (*prefix).to_owned(), via: texts(via) })
                })
                .collect(),
        }
    }

    fn lines(list: &[(&str, bool)]) -> BTreeMap<String, SipConfig> {
        let line = |sandbox| SipConfig {
            server: "sip.example.net".into(),
            bind: ([0, 0, 0, 0], 0).into(),
            accept_from: vec![],
            user: None,
            password: None,
            number: "+41440000000".into(),
            channels: 1,
            calls_per_minute: None,
            t38: T38Config {
                enabled: true,
                ecm: true,
                max_rate_bps: 14_400,
                version: 0,
                fallback_g711: true,
                reinvite_after: None,
                remember: Duration::ZERO,
            },
            sandbox,
            pace: foip::call::Pace::RealTime,
            ring_timeout: Duration::from_secs(60),
        };
        list.iter().map(|(name, sandbox)| ((*name).to_owned(), line(*sandbox))).collect()
    }

    fn check(dial: &DialConfig, sip: &BTreeMap<String, SipConfig>, number: &str, expected: &str) {
        let number: FaxNumber = number.parse().unwrap();
        let got = match plan(dial, sip, &number) {
            Ok(plan) => format!("{} via {}", plan.route.as_deref().unwrap_or("default"), plan.lines.join(",")),
            Err(error) => {
                assert_eq!(error.cause(), Cause::NumberNotAllowed);
                let text = format!("{error:?}");
                text.split([' ', '{']).next().unwrap().to_owned()
            }
        };
        assert_eq!(got, expected, "{number}");
    }

    #[test]
    fn what_no_prefix_allows_is_not_dialled_and_deny_wins() {
        let sip = lines(&[("a", false), ("b", false)]);
        let plan = dial(&["+41", "+49", "+1"], &["+41900", "+4190"], &[]);
        check(&plan, &sip, "+41441234567", "default via a,b");
        check(&plan, &sip, "+41900123456", "Denied");
        check(&plan, &sip, "+33188335215", "NotAllowed");
        check(&plan, &sip, "+19112345678", "Emergency");
        check(&plan, &sip, "+4990012345678", "Premium");
        check(&DialConfig { premium: true, ..plan.clone() }, &sip, "+4990012345678", "default via a,b");
        let listed = DoNotFax::open(["+41441234567".to_owned()], None).unwrap();
        check(&DialConfig { do_not_fax: listed, ..plan.clone() }, &sip, "+41441234567", "Listed");
        check(&dial(&[], &[], &[]), &sip, "+41441234567", "NotAllowed");
        check(&dial(&["+41"], &[], &[]), &lines(&[]), "+41441234567", "NoLine");
    }

    #[test]
    fn the_longest_prefix_is_the_route() {
        let sip = lines(&[("a", false), ("b", false), ("box", true)]);
        let routes: &[(&str, &str, &[&str])] =
            &[("germany", "+49", &["b", "a"]), ("berlin", "+4930", &["a"]), ("lost", "+43", &["gone", "box"])];
        let plan = dial(&["+"], &[], routes);
        check(&plan, &sip, "+4930901820", "berlin via a");
        check(&plan, &sip, "+498912345", "germany via b,a");
        check(&plan, &sip, "+41441234567", "default via a,b");
        check(&plan, &sip, "+431234567", "NoLine");
    }

    #[test]
    fn sandbox_numbers_leave_through_the_sandbox_alone_and_real_ones_never_beside_real_lines() {
        let plan = dial(&["+41"], &["+9994"], &[]);
        let mixed = lines(&[("box", true), ("trunk", false)]);
        check(&plan, &mixed, "+99910200", "default via box");
        check(&plan, &mixed, "+41441234567", "default via trunk");
        check(&plan, &lines(&[("trunk", false)]), "+99910200", "NoSandbox");
        check(&plan, &mixed, "+99940005", "Denied");
        // Where nothing is ever dialled, allowed numbers are received by the pretend machine.
        check(&plan, &lines(&[("box", true)]), "+41441234567", "default via box");
        check(&plan, &lines(&[("box", true)]), "+49441234567", "NotAllowed");
    }

    #[test]
    fn every_number_is_reached_by_the_lines_of_its_plan() {
        let sip = lines(&[("a", false), ("b", false), ("box", true)]);
        let routes: &[(&str, &str, &[&str])] = &[
            ("germany", "+49", &["b", "a"]),
            ("berlin", "+4930", &["a"]),
            ("lost", "+43", &["gone", "box"]),
            ("box", "+9991", &["a"]),
        ];
        let dial = dial(&["+"], &[], routes);
        let all = reach(&dial, &sip);
        for number in ["+4930901820", "+498912345", "+41441234567", "+431234567", "+99910200", "+99810200", "+9982345"]
        {
            let of = |(reach, _): &&(Reach, Vec<String>)| {
                number.starts_with(&reach.prefix) && !reach.except.iter().any(|prefix| number.starts_with(prefix))
            };
            let groups: Vec<_> = all.iter().filter(of).collect();
            let planned = plan(&dial, &sip, &number.parse().unwrap()).map(|plan| plan.lines).unwrap_or_default();
            assert_eq!(groups.len(), 1, "{number} is in one group");
            assert_eq!(groups[0].1, planned, "{number}");
        }
    }

    #[test]
    fn an_explanation_says_everything_as_json() {
        let number: FaxNumber = "+41441234567".parse().unwrap();
        let good = explain(&dial(&["+41"], &[], &[]), &lines(&[("a", false)]), &number);
        let expected = serde_json::json!({
            "number": "+41441234567", "dialled": true, "allowed_by": "+41", "route": null, "lines": ["a"], "refusal": null,
            "retry": ["busy: up to 3 more, 5 min apart", "no answer: up to 3 more, 15 min apart", "other: not called again",
                      "given up 24 h after the mail was accepted"],
        });
        assert_eq!(serde_json::to_value(&good).unwrap(), expected);
        let bad = explain(&dial(&[], &[], &[]), &lines(&[("a", false)]), &number);
        assert!(!bad.dialled && bad.plan.is_none());
        assert!(bad.refusal.unwrap().contains("dial.allow"));
    }
}
