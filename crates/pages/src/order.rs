//! What the gateway asks the converter process for, and how it can fail. Plain data, carried over the pipe as JSON
//! with the documents' octets beside it.

use serde::{Deserialize, Serialize};

/// Paper of the pages we make. The width is always 1728 pixels (T.4 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Paper {
    /// 210 × 297 mm.
    #[default]
    A4,
    /// 8.5 × 11 in.
    Letter,
    /// 8.5 × 14 in.
    Legal,
}

/// Line density (T.4 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// 3.85 lines to the millimetre: 204 × 98 dpi.
    Standard,
    /// 7.7 lines to the millimetre: 204 × 196 dpi.
    #[default]
    Fine,
    /// 15.4 lines to the millimetre: 204 × 391 dpi.
    Superfine,
}

/// One attachment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Part {
    /// File name as the sender sees it: errors name it.
    pub name: String,
    /// `type/subtype`, lower case. A hint only: the content decides.
    pub media: String,
    /// For text: its charset as declared.
    pub charset: Option<String>,
    /// Decoded octets.
    pub bytes: Vec<u8>,
}

/// A picture that an HTML text shows by `cid:` (RFC 2392).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inline {
    /// Its `Content-ID` without angle brackets.
    pub id: String,
    /// File name as the sender sees it: errors name it.
    pub name: String,
    /// Decoded octets.
    pub bytes: Vec<u8>,
}

/// Text that was decoded before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Text {
    /// LF line ends.
    Plain(String),
    /// HTML; nothing in it is ever fetched.
    Html(String),
}

impl Text {
    /// Whether nothing would be seen of it. HTML is taken at its word.
    pub fn is_blank(&self) -> bool {
        match self {
            Self::Plain(text) | Self::Html(text) => text.chars().all(|c| c.is_whitespace() || c.is_control()),
        }
    }
}

/// Turn the documents of a message into pages, once for all its faxes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConvertOrder {
    /// Paper of the pages.
    pub paper: Paper,
    /// Line density of the pages.
    pub quality: Quality,
    /// Most pages of the whole.
    pub max_pages: u32,
    /// The mail's text, when it gets pages of its own; it comes first.
    pub body: Option<Text>,
    /// The pictures that the text, when it is HTML, shows in their places.
    pub inline: Vec<Inline>,
    /// The attachments in the order of the mail.
    pub parts: Vec<Part>,
}

/// What the cover page shows. Never holds post-dial digits, PINs or anybody else's number (RFC 3965 §5.2.3).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CoverFields {
    /// The template's name: `plain`.
    pub template: String,
    /// The operator's own template; none: the one of that name that ships.
    #[serde(default)]
    pub source: Option<String>,
    /// Recipient.
    pub to_name: Option<String>,
    /// Recipient's company.
    pub to_company: Option<String>,
    /// Recipient's number as people read it.
    pub to_number: String,
    /// Sender.
    pub from_name: Option<String>,
    /// Sender's company.
    pub from_company: Option<String>,
    /// Sender's mail address.
    pub from_address: Option<String>,
    /// Sender's fax number.
    pub from_number: Option<String>,
    /// Subject; empty shows no such row.
    pub subject: String,
    /// Date as people read it.
    pub date: String,
    /// Sender's reference.
    pub reference: Option<String>,
    /// The mail's text; what does not fit goes on to further pages.
    pub note: Option<Text>,
    /// Small print at the foot: the gateway's contact.
    pub footer: String,
}

/// The line at the top of every page (47 CFR 68.318(d): date and time, sender, sender's number).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HeaderLine {
    /// Date and time with zone, as in `2026-11-22 04:31 +0100`.
    pub date: String,
    /// Who sends, as in `Contoso Ltd`.
    pub sender: String,
    /// The sender's number.
    pub sender_number: String,
    /// The recipient's number.
    pub to_number: String,
    /// What else the line says, before the page's number, as in `continued, call 2`.
    #[serde(default)]
    pub remark: String,
}

/// Give one page of a fax that is ready another header line. Nothing below the line changes, nor any other page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestampOrder {
    /// TIFF-F, as a [`FinishOrder`] with a header line gave it.
    pub document: Vec<u8>,
    /// From 1.
    pub page: u32,
    /// The new line.
    pub header: HeaderLine,
}

/// Make the pages of one fax as they are sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FinishOrder {
    /// Paper of the pages.
    pub paper: Paper,
    /// Line density of the pages.
    pub quality: Quality,
    /// Most pages of the whole, cover included.
    pub max_pages: u32,
    /// The document pages: the TIFF-F that a [`ConvertOrder`] gave; none: the cover is all.
    pub document: Option<Vec<u8>>,
    /// The cover page, if there is to be one.
    pub cover: Option<CoverFields>,
    /// The header line, if there is to be one.
    pub header: Option<HeaderLine>,
}

/// What the pages of a received fax become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// A PDF that holds the strips as they came.
    Pdf,
    /// TIFF-F, profile S where the pages allow it.
    Tiff,
}

/// One order to the converter process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Documents into pages.
    Convert(ConvertOrder),
    /// Pages as they are sent.
    Finish(Box<FinishOrder>),
    /// Another header line on one page.
    Restamp(Box<RestampOrder>),
    /// A small picture of a page for mails and lists.
    Thumbnail {
        /// TIFF-F.
        tiff: Vec<u8>,
        /// From 1.
        page: u32,
        /// Width of the picture, 16 to 1728 pixels.
        width_px: u32,
    },
    /// Pages that came in one by one, as one file.
    Bind {
        /// A TIFF for each page.
        pages: Vec<Vec<u8>>,
        /// What they become.
        form: Bound,
    },
    /// The files in an archive.
    Unpack(Part),
}

/// Why an order was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// No converter for this kind of document.
    Unsupported,
    /// A password locks it.
    Encrypted,
    /// It cannot be read, or it crashed the converter, or it needs more time or memory than is allowed.
    Damaged,
    /// It has no pages.
    Empty,
    /// More pages than allowed.
    TooManyPages,
    /// The result has more octets than allowed.
    TooLarge,
    /// The converter could not be started or spoken to: not the document's fault, worth another try.
    Unavailable,
}

/// Why an order was not carried out, and through which part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{}{detail}", part.as_ref().map(|p| format!("{p}: ")).unwrap_or_default())]
pub struct ConvertError {
    /// What went wrong.
    pub kind: ErrorKind,
    /// The guilty part's file name, when there is one.
    pub part: Option<String>,
    /// One line for people.
    pub detail: String,
    /// What the process said on standard error, bounded; for logs only.
    #[serde(default)]
    pub log: String,
}

impl ConvertError {
    /// Without a part: [`ConvertError::of`] adds it.
    pub fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, part: None, detail: detail.into(), log: String::new() }
    }

    /// Names the guilty part unless it is named already.
    #[must_use]
    pub fn of(mut self, part: &str) -> Self {
        self.part.get_or_insert_with(|| part.to_owned());
        self
    }
}

/// Shorthand.
pub(crate) type Result<T> = std::result::Result<T, ConvertError>;

pub(crate) fn damaged(detail: impl Into<String>) -> ConvertError {
    ConvertError::new(ErrorKind::Damaged, detail)
}
