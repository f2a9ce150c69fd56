//! The line at the top of a fax's pages, from its message: for the renderer, and for a call that continues a fax.

use jiff::tz::TimeZone;
use pages::HeaderLine;

use crate::config::{Config, dialplan};
use crate::domain::FaxNumber;
use crate::store::{Fax, Message};

/// Date of acceptance in `zone`, sender, the sending line's number, and the recipient's; without a remark.
pub fn header_line(config: &Config, zone: &TimeZone, message: &Message, fax: &Fax) -> HeaderLine {
    let sender = message.from_name.clone().or_else(|| message.from_address.clone());
    HeaderLine {
        date: message.accepted_at.to_jiff().to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M %z").to_string(),
        sender: sender.unwrap_or_else(|| config.domain.clone()),
        sender_number: sender_number(config, &fax.number),
        to_number: fax.number.to_string(),
        remark: String::new(),
    }
}

/// Number of the line that calls this number first: 47 CFR 68.318(d) wants the sending machine's on the page.
fn sender_number(config: &Config, to: &FaxNumber) -> String {
    let plan = dialplan::plan(&config.dial, &config.sip, to).ok();
    let line = plan.and_then(|plan| plan.lines.first().cloned());
    line.and_then(|line| config.sip.get(&line)).map(|sip| sip.number.clone()).unwrap_or_default()
}
