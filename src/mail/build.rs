//! Builds the mails of the gateway: typed values in, octets out that any relay takes as they are.
//!
//! ```text
//! multipart/report; report-type=delivery-status                       RFC 6522, for a letter that reports on a mail
//! ├─ multipart/mixed                          only when there are files to attach
//! │  ├─ multipart/alternative
//! │  │  ├─ text/plain                         complete without what follows
//! │  │  └─ multipart/related                  only with a picture, else the text/html itself
//! │  │     ├─ text/html
//! │  │     └─ image/png, inline, Content-ID
//! │  └─ application/pdf, image/tiff           the pages
//! ├─ message/delivery-status                                          RFC 3464, RFC 6533 (`report`)
//! └─ text/rfc822-headers, or message/rfc822 where RET=FULL asked for it
//! ```
//! The file lies inside the first part because a report has two or three parts and no more (RFC 6522 §3); mail
//! programs show the first part as the mail and list its file as an attachment. A letter that reports on no mail (a
//! received fax) is that first part alone.
//!
//! The same letter gives the same octets, boundaries and date included. Lines end in CRLF, have 998 octets at most
//! (RFC 5322 §2.1.1) and only ASCII, but for what its [`Form`] allows. No value of a peer can begin a new field: [`HeaderText`] has no CR, LF or NUL.

mod report;
#[cfg(test)]
mod tests;

use std::fmt;

use mail_builder::MessageBuilder;
use mail_builder::headers::HeaderType;
use mail_builder::headers::address::Address;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::date::Date;
use mail_builder::headers::raw::Raw;
use mail_builder::headers::text::Text;
use mail_builder::mime::MimePart;

use crate::domain::{NoticeId, Timestamp};
use crate::mail::mime::clean;
pub use report::{DeliveryStatus, Form, RecipientField, Report, Return, StatusField};

/// Longer header values are cut: nobody reads them.
const TEXT_CHARS_MAX: usize = 500;

/// Text for a header or a status field: no control characters, no bidirectional overrides, 500 characters at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderText(String);

impl HeaderText {
    /// Whatever was dangerous in the text becomes spaces.
    pub fn new(text: &str) -> Self {
        Self(clean(text).chars().take(TEXT_CHARS_MAX).collect())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HeaderText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands between the angle brackets of a message id: printable ASCII, no brackets, 900 octets at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageIdText(String);

impl MessageIdText {
    /// None when the text cannot be put into a header as it is.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= 900;
        (fits && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>'))).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A mail address that is safe in a header and in an SMTP command: `local@domain`, no white space outside quotes, no
/// angle brackets, no control characters, 1000 octets at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailAddress {
    text: String,
    at: usize,
}

impl MailAddress {
    /// None when it is no such address.
    pub fn parse(text: &str) -> Option<Self> {
        let at = text.rfind('@')?;
        let (local, domain) = (&text[..at], &text[at + 1..]);
        let quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
        let harmless = |c: char| !c.is_control() && !matches!(c, '<' | '>') && !c.is_whitespace();
        let local_fits =
            !local.is_empty() && local.chars().all(|c| harmless(c) && (quoted || c != '"') || quoted && c == ' ');
        let domain_fits =
            !domain.is_empty() && domain.chars().all(|c| harmless(c) && !matches!(c, '"' | ',' | ';' | '@'));
        (local_fits && domain_fits && text.len() <= 1000).then(|| Self { text: text.to_owned(), at })
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What comes before the last `@`.
    pub fn local(&self) -> &str {
        &self.text[..self.at]
    }

    /// What comes after the last `@`.
    pub fn domain(&self) -> &str {
        &self.text[self.at + 1..]
    }
}

/// A mailbox: `Fax <fax@fax.example.com>` or the address alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedAddress {
    /// Display name.
    pub name: Option<HeaderText>,
    /// Address.
    pub address: MailAddress,
}

impl NamedAddress {
    /// None when there is no usable address in the text.
    pub fn parse(text: &str) -> Option<Self> {
        let Some((name, rest)) = text.rsplit_once('<') else {
            return MailAddress::parse(text.trim()).map(|address| Self { name: None, address });
        };
        let address = MailAddress::parse(rest.trim().strip_suffix('>')?)?;
        let name = HeaderText::new(name.trim().trim_matches('"'));
        Some(Self { name: (!name.as_str().is_empty()).then_some(name), address })
    }
}

/// A file or picture in a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub name: HeaderText,
    /// `application/pdf`, `image/png`, `image/tiff; application=faxbw`.
    pub media: &'static str,
    /// Its octets.
    pub bytes: Vec<u8>,
}

/// Why a mail is made without a person (RFC 3834 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auto {
    /// It answers a mail.
    Replied,
    /// Something else brought it about.
    Generated,
}

/// A mail as octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The mail; what is not ASCII in it needs 8BITMIME, and to an internationalised address SMTPUTF8.
    pub octets: Vec<u8>,
    /// The same mail, returning less, for a relay without 8BITMIME; none: the first is ASCII.
    pub seven_bit: Option<Vec<u8>>,
}

/// A mail to build.
#[derive(Debug, Clone)]
pub struct Letter<'a> {
    /// Boundaries are made of it.
    pub notice: NoticeId,
    /// `Message-ID`.
    pub message_id: MessageIdText,
    /// `Date`.
    pub date: Timestamp,
    /// `From`.
    pub from: NamedAddress,
    /// `To`.
    pub to: MailAddress,
    /// `Subject`.
    pub subject: HeaderText,
    /// `Auto-Submitted`.
    pub auto: Auto,
    /// `In-Reply-To` and `References`: the mail that is reported on.
    pub in_reply_to: Option<MessageIdText>,
    /// Further fields, `X-…`.
    pub fields: Vec<(&'static str, HeaderText)>,
    /// RFC 5646 tag of the texts.
    pub language: &'static str,
    /// Complete without HTML.
    pub text: String,
    /// HTML; a picture is referred to as `cid:` and [`Letter::picture_cid`].
    pub html: String,
    /// Shown in the HTML.
    pub picture: Option<File>,
    /// The pages.
    pub files: Vec<File>,
    /// For machines.
    pub report: Option<Report<'a>>,
}

impl Letter<'_> {
    /// Content-ID of the picture of a notice.
    pub fn picture_cid(notice: NoticeId) -> String {
        format!("page-1.{}@faxwell", notice.0.simple())
    }

    /// The mail: CRLF line ends, ends in CRLF.
    pub fn encode(&self) -> Encoded {
        if !self.to.as_str().is_ascii() {
            return Encoded { octets: self.to_bytes(Form::International), seven_bit: None };
        }
        let octets = self.to_bytes(Form::EightBit);
        let seven_bit = (!octets.is_ascii()).then(|| self.to_bytes(Form::SevenBit));
        Encoded { octets, seven_bit }
    }

    fn to_bytes(&self, form: Form) -> Vec<u8> {
        let auto = match self.auto {
            Auto::Replied => "auto-replied",
            Auto::Generated => "auto-generated",
        };
        let mut message = MessageBuilder::new()
            .message_id(self.message_id.as_str())
            .date(Date::new(self.date.0.div_euclid(1000)))
            .header("From", from(&self.from))
            .header("To", Address::new_address(None::<&str>, self.to.as_str()))
            .header("Subject", Text::new(self.subject.as_str()))
            .header("Auto-Submitted", Raw::new(auto));
        if let Some(id) = &self.in_reply_to {
            message = message.in_reply_to(id.as_str()).references(id.as_str());
        }
        for (name, value) in &self.fields {
            message = message.header(*name, Text::new(value.as_str()));
        }
        let body = match &self.report {
            None => self.readable(),
            Some(report) => {
                let parts = std::iter::once(self.readable()).chain(report.parts(form)).collect();
                let kind = ContentType::new("multipart/report").attribute("report-type", "delivery-status");
                self.multipart(kind, 1, parts)
            }
        };
        let mut out = Vec::new();
        message.body(body).serialize(&mut out);
        out
    }

    fn multipart<'x>(&self, kind: ContentType<'x>, number: u8, parts: Vec<MimePart<'x>>) -> MimePart<'x> {
        // RFC 2045 §6.7 suggests `=_`: it occurs in neither base64 nor quoted-printable.
        let boundary = format!("=_{}_{number}", self.notice.0.simple());
        MimePart::new(kind.attribute("boundary", boundary), parts)
    }

    fn readable(&self) -> MimePart<'_> {
        let text = MimePart::new(text_type("text/plain"), self.text.as_str()).language(self.language);
        let html = MimePart::new(text_type("text/html"), self.html.as_str()).language(self.language);
        let html = match &self.picture {
            None => html,
            Some(picture) => {
                let shown = MimePart::new(picture.media, picture.bytes.as_slice())
                    .cid(Self::picture_cid(self.notice))
                    .header("Content-Disposition", file_field("inline", picture));
                let kind = ContentType::new("multipart/related").attribute("type", "text/html");
                self.multipart(kind, 4, vec![html, shown])
            }
        };
        let both = self.multipart(ContentType::new("multipart/alternative"), 3, vec![text, html]);
        if self.files.is_empty() {
            return both;
        }
        let attached = self.files.iter().map(|file| {
            MimePart::new(media_type(file.media), file.bytes.as_slice())
                .header("Content-Disposition", file_field("attachment", file))
        });
        let parts = std::iter::once(both).chain(attached).collect();
        self.multipart(ContentType::new("multipart/mixed"), 2, parts)
    }
}

fn from(from: &NamedAddress) -> HeaderType<'_> {
    Address::new_address(from.name.as_ref().map(HeaderText::as_str), from.address.as_str()).into()
}

fn text_type(kind: &'static str) -> ContentType<'static> {
    ContentType::new(kind).attribute("charset", "utf-8")
}

/// `image/tiff; application=faxbw`: a type with its parameters.
fn media_type(media: &'static str) -> ContentType<'static> {
    let mut pieces = media.split("; ");
    let kind = ContentType::new(pieces.next().unwrap_or_default());
    pieces.filter_map(|piece| piece.split_once('=')).fold(kind, |kind, (name, value)| kind.attribute(name, value))
}

fn file_field<'x>(disposition: &'static str, file: &'x File) -> ContentType<'x> {
    ContentType::new(disposition).attribute("filename", file.name.as_str())
}
