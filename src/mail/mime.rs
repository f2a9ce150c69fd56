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
mod select;
#[cfg(test)]
mod tests;
mod text;
mod transfer;
mod tree;

pub(crate) use header::clean;
pub(crate) use select::refers_to;

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
    /// The zone of `Date`, when it says one: zero is what programs write that do not know it (RFC 5322 §3.3).
    pub zone: Option<jiff::tz::Offset>,
    /// `Message-ID` without angle brackets.
    pub message_id: Option<String>,
    /// `Reply-To`, first mailbox.
    pub reply_to: Option<Mailbox>,
    /// Whether it is automatic or bulk mail (RFC 3834 §2): never answered.
    pub automatic: bool,
    /// Fields whose name begins with `X-Fax-`, lower-case names, in order.
    pub fax_fields: Vec<(String, String)>,
    /// How many `Received` fields it has.
    pub received_count: usize,
    /// Its text.
    pub body: Option<Body>,
    /// Its attachments, in the order of the mail.
    pub attachments: Vec<Attachment>,
    /// Names of pictures that only the HTML version shows while the plain text is used: logos of signatures, mostly.
    pub left_out: Vec<String>,
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
    /// `Content-ID` without angle brackets: an HTML text may show it in a place of its own (RFC 2392).
    pub content_id: Option<String>,
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
    // RFC 3834 §2: a report is an automatic mail whether or not it says so.
    mail.automatic |= root.media.kind == "multipart/report";
    let content = containers::content(&root, &mut Opening::new(raw.len(), budget))?;
    mail.body = content.body;
    mail.attachments = content.attachments;
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
        zone: first("date").and_then(|f| zone(&f.text())),
        message_id: first("message-id").and_then(Field::message_id),
        reply_to: mailboxes("reply-to").into_iter().next(),
        automatic: is_automatic(fields),
        fax_fields: fields
            .iter()
            .filter(|f| f.name.starts_with("x-fax-"))
            .map(|f| (f.name.clone(), f.text()))
            .collect(),
        received_count: fields.iter().filter(|f| f.name == "received").count(),
        ..Mail::default()
    }
}

fn zone(date: &str) -> Option<jiff::tz::Offset> {
    let date = jiff::fmt::rfc2822::parse(date.trim()).ok()?;
    Some(date.offset()).filter(|offset| *offset != jiff::tz::Offset::UTC)
}

/// RFC 3834 §2 and the older signs of bulk mail that it lists.
fn is_automatic(fields: &[Field<'_>]) -> bool {
    fields.iter().any(|field| {
        let value = field.text().to_ascii_lowercase();
        match field.name.as_str() {
            // RFC 3834 §5: any value but "no" (parameters may follow).
            "auto-submitted" => value.split([';', ' ', '(']).next() != Some("no"),
            "precedence" => matches!(value.as_str(), "bulk" | "junk" | "list"),
            "list-id" => true,
            // MS-OXCMAIL: a sender that wants no automatic answer of any kind.
            "x-auto-response-suppress" => value.split(',').any(|v| matches!(v.trim(), "all" | "autoreply")),
            _ => false,
        }
    })
}
