//! What a mail to a return address says: that our mail was given back for good, or nothing that matters.
//!
//! In: the beginning of a mail from any host, however broken. Out: [`Returned`]. Nothing fails: what cannot be understood
//! counts as given back, because a fax that two mailboxes have is better than one that nobody has. The one exception are
//! automatic answers, which hosts send to the same address ("I am on holiday"). RFC 3464, RFC 6533, RFC 3834.
//!
//! Lines are looked through instead of a tree of parts: the report may be cut off, and nesting costs nothing.

use super::mime::clean;

/// Of what a host says this much is kept.
const WHY_CHARS_MAX: usize = 300;
/// Fields of a header or of a status that are looked at.
const FIELDS_MAX: usize = 1000;

/// What a mail to a return address means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Returned {
    /// Nobody has our mail: what the host says.
    Failed(String),
    /// Our mail is still on its way, has arrived, or was answered by a machine: what the host says.
    Nothing(String),
}

/// Reads it.
pub fn read(raw: &[u8]) -> Returned {
    let text = String::from_utf8_lossy(raw);
    let mut lines = text.lines();
    let header = fields(&mut lines);
    let of = |name: &str| value(&header, name);
    let statuses = statuses(lines);
    let said = |status: &[Field]| {
        let parts = [value(status, "status"), value(status, "diagnostic-code")];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    let action = |status: &Vec<Field>, wanted: &str| {
        value(status, "action").is_some_and(|action| action.trim().eq_ignore_ascii_case(wanted))
    };
    if let Some(failed) = statuses.iter().find(|status| action(status, "failed")) {
        return Returned::Failed(shown(&said(failed), "no reason given"));
    }
    if let Some(status) = statuses.iter().find(|status| value(status, "action").is_some()) {
        return Returned::Nothing(shown(
            &format!("{}: {}", value(status, "action").unwrap_or_default(), said(status)),
            "",
        ));
    }
    let subject = of("subject").unwrap_or_default();
    let automatic = of("auto-submitted").is_some_and(|auto| !auto.trim().eq_ignore_ascii_case("no"))
        || ["x-autoreply", "x-autorespond", "x-autoresponder"].iter().any(|name| of(name).is_some())
        || of("precedence").is_some_and(|precedence| precedence.trim().eq_ignore_ascii_case("auto_reply"))
        || of("content-type").is_some_and(|kind| kind.to_ascii_lowercase().contains("disposition-notification"));
    if automatic {
        return Returned::Nothing(shown(&format!("an automatic answer: {subject}"), ""));
    }
    Returned::Failed(shown(&format!("came back without a delivery status: {subject}"), ""))
}

type Field = (String, String);

fn value<'f>(fields: &'f [Field], name: &str) -> Option<&'f str> {
    fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// The fields up to an empty line, unfolded, with lower-case names. A line that is no field is passed over.
fn fields<'t>(lines: &mut impl Iterator<Item = &'t str>) -> Vec<Field> {
    let mut found: Vec<Field> = Vec::new();
    for line in lines.take_while(|line| !line.trim().is_empty()).take(FIELDS_MAX) {
        match (line.starts_with([' ', '\t']), found.last_mut(), line.split_once(':')) {
            (true, Some((_, value)), _) => {
                value.push(' ');
                value.push_str(line.trim());
            }
            (false, _, Some((name, value))) => {
                found.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
            }
            _ => {}
        }
    }
    found
}

/// The groups of fields of the first part that is a delivery status: about the message, then about each recipient.
fn statuses<'t>(mut lines: impl Iterator<Item = &'t str>) -> Vec<Vec<Field>> {
    let is_status = |line: &str| {
        let line = line.to_ascii_lowercase();
        line.starts_with("content-type:")
            && (line.contains("message/delivery-status") || line.contains("message/global-delivery-status"))
    };
    if !lines.any(is_status) {
        return Vec::new();
    }
    // What is left of the part's own header.
    lines.by_ref().take_while(|line| !line.trim().is_empty()).take(FIELDS_MAX).for_each(drop);
    let mut status = lines.take_while(|line| !line.starts_with("--")).take(FIELDS_MAX).peekable();
    let mut groups = Vec::new();
    while status.peek().is_some() {
        groups.push(fields(&mut status));
    }
    groups
}

fn shown(text: &str, otherwise: &str) -> String {
    let text: String = clean(text).chars().take(WHY_CHARS_MAX).collect();
    if text.is_empty() { otherwise.to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report as a host sends it, with this status about the recipient.
    fn report(status: &str) -> String {
        format!(
            "From: MAILER-DAEMON@mx.test\r\nSubject: Undelivered Mail\r\nAuto-Submitted: auto-replied\r\n\
             Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"B\"\r\n\r\n\
             --B\r\nContent-Type: text/plain\r\n\r\nAction: failed, says nobody\r\n\
             --B\r\nContent-Description: Delivery report\r\nContent-Type: message/delivery-status\r\n\r\n\
             Reporting-MTA: dns; mx.test\r\n\r\n{status}\r\n\
             --B\r\nContent-Type: message/rfc822\r\n\r\nSubject: Fax\r\n\r\nx\r\n--B--\r\n"
        )
    }

    #[test]
    fn only_failure_counts_and_the_hosts_words_are_kept() {
        let failed = "Final-Recipient: rfc822; anna@corp.test\r\nAction: failed\r\nStatus: 5.1.1\r\n\
                      Diagnostic-Code: smtp; 550 5.1.1 <anna@corp.test>:\r\n    no such user\r\n";
        let why = "5.1.1 smtp; 550 5.1.1 <anna@corp.test>: no such user";
        assert_eq!(read(report(failed).as_bytes()), Returned::Failed(why.to_owned()));
        assert_eq!(read(report(failed).replace("\r\n", "\n").as_bytes()), Returned::Failed(why.to_owned()));
        let global = report(failed).replace("message/delivery-status", "message/global-delivery-status");
        assert_eq!(read(global.as_bytes()), Returned::Failed(why.to_owned()));
        // Cut off after the status: what follows is our own mail.
        let cut = report(failed);
        assert_eq!(
            read(&cut.as_bytes()[..cut.find("Content-Type: message/rfc822").unwrap()]),
            Returned::Failed(why.to_owned())
        );
        for action in ["delayed", "Delivered", "relayed", "expanded"] {
            let status = format!("Final-Recipient: rfc822; anna@corp.test\r\nAction: {action}\r\nStatus: 4.4.1\r\n");
            assert!(
                matches!(read(report(&status).as_bytes()), Returned::Nothing(why) if why.contains("4.4.1")),
                "{action}"
            );
        }
        assert!(matches!(read(report("Action: failed").as_bytes()), Returned::Failed(why) if why == "no reason given"));
    }

    #[test]
    fn a_machine_that_answers_is_no_bounce_and_anything_else_is() {
        for field in ["Auto-Submitted: auto-replied (vacation)", "X-Autoreply: yes", "Precedence: auto_reply"] {
            let answer = format!("Subject: On holiday\r\n{field}\r\n\r\nBack on Monday.\r\n");
            assert_eq!(
                read(answer.as_bytes()),
                Returned::Nothing("an automatic answer: On holiday".to_owned()),
                "{field}"
            );
        }
        for (mail, why) in [
            (
                "Subject: failure notice\n\nHi. This is the mail program.\n",
                "came back without a delivery status: failure notice",
            ),
            ("Auto-Submitted: no\n\nx", "came back without a delivery status:"),
            ("", "came back without a delivery status:"),
            ("\u{0}\u{1}\r\r\r\n::::\n\n--", "came back without a delivery status:"),
        ] {
            assert_eq!(read(mail.as_bytes()), Returned::Failed(why.to_owned()), "{mail:?}");
        }
    }

    #[test]
    fn a_long_hostile_mail_costs_no_more_than_reading_it() {
        let evil = format!("{}Action: failed\r\n", "Content-Type: message/delivery-status\r\n".repeat(20_000));
        assert!(matches!(read(evil.as_bytes()), Returned::Failed(why) if why.chars().count() <= WHY_CHARS_MAX));
        let long = report(&format!("Action: failed\r\nDiagnostic-Code: {}\r\n", "x".repeat(100_000)));
        assert!(matches!(read(long.as_bytes()), Returned::Failed(why) if why.chars().count() == WHY_CHARS_MAX));
    }
}
