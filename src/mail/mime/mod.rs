//! A mail's octets in; its text, attachments and the header fields that matter out.
//!
//! Nothing is lost silently: what cannot be read is an error that names the part. Five steps: [`header`] splits the
//! header block into fields, [`tree`] cuts the parts at their boundaries, [`transfer`] undoes base64 and
//! quoted-printable, [`text`] turns octets into Unicode; [`select`] then decides what is text and what is attachment;
//! [`containers`] opens the attachments that are mails themselves.
//! RFC 5322, 2045-2047, 2231, 2387 (related), 3676 (flowed), 1847 (signed, encrypted).
//!
//! mailparse reads parameters and address lists. The cutting of parts is ours, because mailparse takes each line that
//! begins with the boundary for a boundary and loses the rest of that line, and because depth, count and size need limits.

mod containers;
mod header;
mod machine;
mod select;
#[cfg(test)]
mod tests;
mod text;
mod transfer;
mod tree;

pub(crate) use header::clean;
pub use machine::Machine;
pub(crate) use select::is_logo;

use crate::domain::Cause;
use containers::Opening;
use header::Field;
use tree::Budget;

/// A mail that was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mail {
    /// `Subject`, decoded; control characters become spaces.
    pub subject: String,
    /// First mailbox of `From`.
    pub from: Option<Mailbox>,
    /// Mailboxes of `To` and `Cc`. `Bcc` is never read.
    pub to: Vec<Mailbox>,
    /// `Message-ID` without angle brackets.
    pub message_id: Option<String>,
    /// `Reply-To`, first mailbox.
    pub reply_to: Option<Mailbox>,
    /// Whether it is never answered: a machine made it, or its sender asks for no answers.
    pub automatic: bool,
    /// The machine that made it; none where a person may have written it.
    pub machine: Option<Machine>,
    /// More than zero for urgent, less for what can wait.
    pub importance: i8,
    /// Fields whose name begins with `X-Fax-`, lower-case names, in order.
    pub fax_fields: Vec<(String, String)>,
    /// How many seconds east of UTC its sender is, as `Date` says.
    pub sent_offset_s: Option<i32>,
    /// How many `Received` fields it has.
    pub received_count: usize,
    /// Its text.
    pub body: Option<Body>,
    /// Its attachments, in the order of the mail.
    pub attachments: Vec<Attachment>,
    /// Pictures that the HTML of `body` shows by `cid:`.
    pub inline: Vec<Inline>,
    /// Names of pictures that only the HTML version shows while the plain text is used: logos of signatures, mostly.
    pub left_out: Vec<String>,
}

impl Mail {
    /// The sender's zone; none for zero, which programs write that do not know it (RFC 5322 §3.3).
    pub fn zone(&self) -> Option<jiff::tz::Offset> {
        let seconds = self.sent_offset_s.filter(|seconds| *seconds != 0)?;
        jiff::tz::Offset::from_seconds(seconds).ok()
    }
}

/// Name and address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mailbox {
    /// Display name, decoded; control characters become spaces.
    pub name: Option<String>,
    /// addr-spec as written.
    pub address: String,
}

/// The text of a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// text/plain, decoded to Unicode, LF line ends; format=flowed is unwrapped.
    Plain(String),
    /// text/html, when there is no plain text beside it; decoded to Unicode.
    Html(String),
}

/// One attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// File name as the sender sees it; `attachment 2` when it has none.
    pub name: String,
    /// `type/subtype`, lower case.
    pub media: String,
    /// For text: its charset as declared.
    pub charset: Option<String>,
    /// Decoded octets.
    pub bytes: Vec<u8>,
}

/// A picture that an HTML text shows in a place of its own (RFC 2387, RFC 2392).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inline {
    /// `Content-ID` without angle brackets.
    pub id: String,
    /// File name, or what the part is called.
    pub name: String,
    /// `type/subtype`, lower case.
    pub media: String,
    /// Decoded octets.
    pub bytes: Vec<u8>,
}

/// Why a mail cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct MimeError {
    /// The entry of the catalogue.
    pub cause: Cause,
    /// What is wrong and where, one line.
    pub detail: String,
}

impl MimeError {
    fn unsupported(detail: impl Into<String>) -> Self {
        Self { cause: Cause::DocumentUnsupported, detail: detail.into() }
    }

    fn damaged(detail: impl Into<String>) -> Self {
        Self { cause: Cause::DocumentDamaged, detail: detail.into() }
    }
}

/// Reads a whole mail: header and content. Lines may end in CRLF or LF.
///
/// # Errors
/// `document-unsupported` for encrypted mail, unknown charsets and transfer encodings, and for more depth, parts or
/// header than the limits allow; `document-damaged` for a part that cannot be decoded. The detail names the part.
pub fn read(raw: &[u8]) -> Result<Mail, MimeError> {
    let mut budget = Budget::default();
    let root = tree::parse(raw, &mut budget)?;
    let mut mail = from_header(&root.fields);
    mail.machine = machine::machine(&root.fields, &root.media.kind);
    mail.automatic = mail.machine.is_some() || wants_no_answer(&root.fields);
    let content = containers::content(&root, &mut Opening::new(raw.len(), budget))?;
    mail.body = content.body;
    mail.attachments = content.attachments;
    mail.inline = content.inline;
    mail.left_out = content.left_out;
    Ok(mail)
}

fn from_header(fields: &[Field<'_>]) -> Mail {
    let first = |name: &str| fields.iter().find(|f| f.name == name);
    let mailboxes =
        |name: &str| fields.iter().filter(|f| f.name == name).flat_map(Field::mailboxes).collect::<Vec<_>>();
    let mut to = mailboxes("to");
    to.extend(mailboxes("cc"));
    Mail {
        subject: first("subject").map(Field::text).unwrap_or_default(),
        from: mailboxes("from").into_iter().next(),
        to,
        message_id: first("message-id").and_then(Field::message_id),
        reply_to: mailboxes("reply-to").into_iter().next(),
        importance: machine::importance(fields),
        fax_fields: fields
            .iter()
            .filter(|f| f.name.starts_with("x-fax-"))
            .map(|f| (f.name.clone(), f.text()))
            .collect(),
        sent_offset_s: first("date").and_then(|field| offset_s(&field.text())),
        received_count: fields.iter().filter(|f| f.name == "received").count(),
        ..Mail::default()
    }
}

/// RFC 5322 §3.3. A day of the week that is wrong is no reason not to believe the zone.
fn offset_s(date: &str) -> Option<i32> {
    let parser = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true);
    Some(parser.parse_zoned(date.trim()).ok()?.offset().seconds())
}

/// MS-OXCMAIL §2.2.3.2.14: a sender that wants no automatic answer of any kind.
fn wants_no_answer(fields: &[Field<'_>]) -> bool {
    let suppress = fields.iter().find(|field| field.name == "x-auto-response-suppress");
    suppress.is_some_and(|field| {
        field.text().to_ascii_lowercase().split(',').any(|value| matches!(value.trim(), "all" | "autoreply"))
    })
}
