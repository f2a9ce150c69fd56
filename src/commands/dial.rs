//! `dial explain`: how an address is read and how its number is dialled, without a gateway and without a call.

use clap::Subcommand;
use serde_json::json;

use super::exit::{Exit, Failed, Outcome};
use super::out::Out;
use super::place::Place;
use crate::config::dialplan;
use crate::intake::address::{self, AddressRules, FaxAddress};

/// Ask the dial plan
#[derive(Debug, Subcommand)]
pub(super) enum DialCommand {
    /// Show what number an address means, whether it may be dialled, over which line, and when it is tried again
    #[command(after_help = "Example: faxwell dial explain 'FAX=+41441234567/T33S=12@fax.example.com'")]
    Explain {
        /// A number, or an address as in a mail
        #[arg(value_name = "NUMBER")]
        number: String,
    },
}

pub(super) fn run(command: DialCommand, place: &Place, out: Out) -> Outcome {
    let DialCommand::Explain { number } = command;
    let config = place.load_for_questions()?.config;
    let rules = AddressRules { domain: config.domain.clone(), country: config.dial.country.clone() };
    let parsed = read(&number, &rules)?;
    let explanation = dialplan::explain(&config.dial, &config.sip, &parsed.number);
    if out.json() {
        let mut object = serde_json::to_value(&explanation).unwrap_or_default();
        object["subaddress"] = json!(parsed.subaddress);
        object["post_dial"] = json!(parsed.post_dial);
        object["to_name"] = json!(parsed.to_name);
        object["to_company"] = json!(parsed.to_company);
        out.object(&object)?;
    } else {
        print(&parsed, &explanation, out)?;
    }
    Ok(if explanation.dialled { Exit::Ok } else { Exit::NotAllowed })
}

fn read(text: &str, rules: &AddressRules) -> Result<FaxAddress, Failed> {
    let refused = |error: address::AddressError| {
        let entry = error.cause.entry();
        Failed::new(Exit::Usage, format!("{} ({})", error.text, error.cause.slug()), entry.cause, entry.fix)
    };
    // A name on the cover may hold an at sign only in quotes; an address ends in the last one.
    match text.rsplit_once('@') {
        Some((local, domain)) if domain.trim_end_matches('.').eq_ignore_ascii_case(&rules.domain) => {
            address::parse_local(local, rules).map_err(refused)
        }
        Some((_, domain)) => {
            let cause = format!("this gateway serves {} and not {domain}", rules.domain);
            let fix = format!("use {}, as in +41441234567@{}", rules.domain, rules.domain);
            Err(Failed::new(Exit::Usage, "not a fax address (relay-denied)", cause, fix))
        }
        None => address::parse_local(text, rules).map_err(refused),
    }
}

fn print(parsed: &FaxAddress, explanation: &dialplan::Explanation, out: Out) -> Result<(), Failed> {
    let mut rows = vec![("Number", explanation.number.to_string())];
    let optional = [
        ("Subaddress", &parsed.subaddress),
        ("Tones", &parsed.post_dial),
        ("Name", &parsed.to_name),
        ("Company", &parsed.to_company),
    ];
    rows.extend(optional.into_iter().filter_map(|(name, value)| value.clone().map(|value| (name, value))));
    match &explanation.plan {
        Some(plan) => {
            rows.push((
                "Allowed by",
                plan.allowed_by.clone().unwrap_or_else(|| "the sandbox: it never leaves this machine".to_owned()),
            ));
            rows.push(("Route", plan.route.clone().unwrap_or_else(|| "none: every line".to_owned())));
            rows.push(("Lines", plan.lines.join(", ")));
        }
        None => rows.push(("Not dialled", explanation.refusal.clone().unwrap_or_default())),
    }
    rows.extend(explanation.retry.iter().map(|rule| ("Retry", rule.clone())));
    rows.iter().try_for_each(|(name, value)| out.line(&format!("{name:<12} {value}")))
}
