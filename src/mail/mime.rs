//! A mail's octets in; its text, attachments and the header fields that matter out.
//!
//! Nothing is lost silently: what cannot be read is an error that names the part.

use crate::domain::Cause;

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

/// Why a mail cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct MimeError {
    /// The entry of the catalogue.
    pub cause: Cause,
    /// What is wrong and where, one line.
    pub detail: String,
}
