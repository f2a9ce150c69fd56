//! Who made a mail: a person, or a machine whose mail is never answered and, by default, never faxed.
//!
//! RFC 3834 §2 and §5 (`Auto-Submitted` and the older signs of bulk mail that it lists), RFC 6522 (reports), and what Exchange
//! and answering programs write. A fax that answers an answer would be a loop that costs a call each time.

use super::header::Field;

/// What kind of machine made a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// This gateway: a report of a fax, or a fax that came in.
    Gateway,
    /// A mail server that tells what became of a mail, or a mail program that it was read.
    Report,
    /// An answer that nobody wrote by hand: "I am on holiday".
    Answer,
    /// A copy for the records of Exchange.
    Journal,
    /// A list, or something sent to many.
    Bulk,
    /// A program that tells something: monitoring, an order system.
    Program,
}

impl Machine {
    /// Whether its mail may be faxed where the sender's table says so: it tells something, and answers nothing.
    pub fn may_tell(self) -> bool {
        matches!(self, Self::Bulk | Self::Program)
    }

    /// As in "the mail is …".
    pub fn what(self) -> &'static str {
        match self {
            Self::Gateway => "a mail of this gateway",
            Self::Report => "a report on another mail",
            Self::Answer => "an automatic answer",
            Self::Journal => "a journal report",
            Self::Bulk => "a mail of a list or in bulk",
            Self::Program => "a mail that a program made",
        }
    }
}

/// The machine that made the mail of this header; none where a person may have written it.
pub(super) fn machine(fields: &[Field<'_>], media: &str) -> Option<Machine> {
    let value = |name: &str| {
        let field = fields.iter().find(|field| field.name == name);
        field.map(|field| field.text().trim().to_ascii_lowercase())
    };
    let has = |name: &str| fields.iter().any(|field| field.name == name);
    if has("x-fax-id") && has("x-fax-status") {
        return Some(Machine::Gateway);
    }
    if has("x-ms-journal-report") {
        return Some(Machine::Journal);
    }
    if media == "multipart/report" {
        return Some(Machine::Report);
    }
    // RFC 3834 §5: any value but "no" (parameters may follow).
    let submitted = value("auto-submitted");
    match submitted.as_deref().map(|value| value.split([';', ' ', '(']).next().unwrap_or_default()) {
        Some("auto-replied") => return Some(Machine::Answer),
        Some("no") | None => {}
        Some(_) => return Some(Machine::Program),
    }
    let precedence = value("precedence").unwrap_or_default();
    if has("x-autoreply") || has("x-autorespond") || precedence == "auto_reply" {
        return Some(Machine::Answer);
    }
    (has("list-id") || matches!(precedence.as_str(), "bulk" | "junk" | "list")).then_some(Machine::Bulk)
}

/// How much its sender thinks of it: more than zero for urgent, less for what can wait. MS-OXCMAIL §2.1.3.2.15.
pub(super) fn importance(fields: &[Field<'_>]) -> i8 {
    let value = |name: &str| {
        let field = fields.iter().find(|field| field.name == name);
        field.map(|field| field.text().trim().to_ascii_lowercase())
    };
    let of_words = |text: &str| match text {
        "high" | "urgent" => Some(1),
        "low" | "non-urgent" => Some(-1),
        "normal" => Some(0),
        _ => None,
    };
    // `1 (Highest)`: a digit and words for people.
    let of_digit = |text: &str| match text.bytes().next() {
        Some(b'1' | b'2') => Some(1),
        Some(b'3') => Some(0),
        Some(b'4' | b'5') => Some(-1),
        _ => None,
    };
    let words = ["importance", "x-msmail-priority", "priority"].into_iter().find_map(|name| of_words(&value(name)?));
    words.or_else(|| of_digit(&value("x-priority")?)).unwrap_or(0)
}
