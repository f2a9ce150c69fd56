//! A notice becomes a mail: texts from `templates/mail/<language>/<kind>/`, facts for machines from the record.
//!
//! [`report`] tells senders what became of their faxes, [`received`] carries faxes that came in. The same record gives the
//! same octets every time. A notice that cannot be composed is our mistake and is shown as dead, never dropped.

mod answer;
mod received;
mod report;
#[cfg(test)]
mod tests;

pub use answer::NoPreview;

use jiff::tz::TimeZone;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, context};

use super::Preview;
use crate::domain::{NoticeKind, ReceivedFormat, ReportStyle, Timestamp};
use crate::mail::build::{Encoded, File, HeaderText, MailAddress, MessageIdText, NamedAddress};
use crate::mail::order_address::OrderAddresses;
use crate::store::{About, Notice, NoticeWork};

/// Every language so far; another one is a folder and a line here.
const LANGUAGE: &str = "en";

macro_rules! templates {
    ($($path:literal),+ $(,)?) => {
        &[$(($path, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/mail/", $path)))),+]
    };
}

const TEMPLATES: &[(&str, &str)] = templates![
    "en/words.txt",
    "en/frame.txt",
    "en/frame.html",
    "en/shell.html",
    "en/styles.txt",
    "en/sent/subject.txt",
    "en/sent/body.txt",
    "en/sent/body.html",
    "en/partial/subject.txt",
    "en/partial/body.txt",
    "en/partial/body.html",
    "en/failed/subject.txt",
    "en/failed/body.txt",
    "en/failed/body.html",
    "en/unknown/subject.txt",
    "en/unknown/body.txt",
    "en/unknown/body.html",
    "en/cancelled/subject.txt",
    "en/cancelled/body.txt",
    "en/cancelled/body.html",
    "en/delayed/subject.txt",
    "en/delayed/body.txt",
    "en/delayed/body.html",
    "en/received/subject.txt",
    "en/received/body.txt",
    "en/received/body.html",
    "en/preview/subject.txt",
    "en/preview/body.txt",
    "en/preview/body.html",
    "en/help/subject.txt",
    "en/help/body.txt",
    "en/help/body.html",
];

/// What the configuration says about notices.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `From`, as in `Fax <fax@fax.example.com>`.
    pub from: String,
    /// What the gateway calls itself in EHLO: the `Reporting-MTA`.
    pub reporting_mta: String,
    /// Whom people ask: an address or a telephone number.
    pub administrator: Option<String>,
    /// In which zone times are shown.
    pub zone: TimeZone,
    /// Style of the report of success.
    pub success: ReportStyle,
    /// Style of every other report.
    pub failure: ReportStyle,
    /// What makes the addresses by which a fax is sent again or stopped.
    pub orders: OrderAddresses,
}

/// Why a notice cannot become a mail.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// `delivery.from` is no mailbox.
    #[error("delivery.from \"{0}\" is no address; fix: write it as in Fax <fax@fax.example.com>")]
    From(String),
    /// The address of the recipient cannot be put into a mail.
    #[error("the mail cannot be addressed: \"{0}\" is not usable as an address")]
    Recipient(String),
    /// The stored Message-ID cannot be put into a header.
    #[error("the notice has an unusable Message-ID: \"{0}\"")]
    MessageId(String),
    /// There are no templates for this kind.
    #[error("notices of the kind \"{0}\" are not made by this version")]
    Kind(NoticeKind),
    /// A template is wrong.
    #[error("a mail template is wrong: {0:#}")]
    Template(#[from] minijinja::Error),
}

/// Why no pages are attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    /// Mails without images were asked for.
    Style,
    /// Nobody takes a mail of that size.
    Size,
    /// The pages cannot be read.
    Unavailable,
    /// Retention has removed them, then.
    Removed(Timestamp),
}

impl Withheld {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Style => "style",
            Self::Size => "size",
            Self::Unavailable => "unavailable",
            Self::Removed(_) => "removed",
        }
    }

    /// When they were removed, as people read it.
    pub(super) fn removed(self, zone: &TimeZone) -> Option<String> {
        match self {
            Self::Removed(at) => Some(super::words::day(at, zone)),
            Self::Style | Self::Size | Self::Unavailable => None,
        }
    }
}

/// What a mail carries besides its text.
#[derive(Debug, Clone, Default)]
pub struct Material {
    /// The pages.
    pub pdf: Option<Vec<u8>>,
    /// The pages as TIFF-F.
    pub tiff: Option<Vec<u8>>,
    /// Page 1 as PNG.
    pub thumbnail: Option<Vec<u8>>,
    /// The mail as it came in.
    pub original: Option<Vec<u8>>,
    /// Why the pages are not here.
    pub withheld: Option<Withheld>,
    /// What a preview tells of its pages, or why it has none.
    pub preview: Option<Result<Preview, NoPreview>>,
}

/// A notice as a mail.
#[derive(Debug)]
pub struct Composed {
    /// Its one recipient.
    pub to: MailAddress,
    /// The mail.
    pub mail: Encoded,
}

/// Makes mails of notices.
#[derive(Debug)]
pub struct Composer {
    settings: Settings,
    from: NamedAddress,
    environment: Environment<'static>,
}

impl Composer {
    /// Checks the settings and the templates.
    ///
    /// # Errors
    /// [`ComposeError::From`], [`ComposeError::Template`].
    pub fn new(settings: Settings) -> Result<Self, ComposeError> {
        let from = NamedAddress::parse(&settings.from).ok_or_else(|| ComposeError::From(settings.from.clone()))?;
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        // A line that holds a tag alone leaves no empty line behind.
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        for (name, source) in TEMPLATES {
            environment.add_template(name, source)?;
        }
        Ok(Self { settings, from, environment })
    }

    /// Whether the mail of this notice shows pages: by the wish of the sender and by configuration for a report, by its
    /// route for a received fax.
    pub fn style(&self, work: &NoticeWork) -> ReportStyle {
        match &work.about {
            About::Fax(record) => self.report_style(work.notice.kind, record),
            About::Received(_) if work.notice.format == Some(ReceivedFormat::Text) => ReportStyle::Text,
            About::Received(_) | About::Message(_) => ReportStyle::Image,
        }
    }

    /// The mail for a notice.
    ///
    /// # Errors
    /// See [`ComposeError`].
    pub fn compose(&self, work: &NoticeWork, material: &Material) -> Result<Composed, ComposeError> {
        let envelope = self.envelope(&work.notice)?;
        let to = envelope.to.clone();
        let shown = match self.style(work) {
            ReportStyle::Image => material.clone(),
            _ => {
                Material { original: material.original.clone(), withheld: Some(Withheld::Style), ..Material::default() }
            }
        };
        let mail = match &work.about {
            About::Fax(record) => self.report(&work.notice, record, shown, envelope)?,
            About::Received(record) => self.received(&work.notice, record, shown, envelope)?,
            About::Message(message) => self.answer(&work.notice, message, shown, envelope)?,
        };
        Ok(Composed { to, mail })
    }

    fn envelope(&self, notice: &Notice) -> Result<Envelope, ComposeError> {
        let recipient = notice.recipient.clone().unwrap_or_default();
        let to = MailAddress::parse(&recipient)
            .ok_or_else(|| ComposeError::Recipient(HeaderText::new(&recipient).to_string()))?;
        let message_id = MessageIdText::parse(&notice.header_message_id)
            .ok_or_else(|| ComposeError::MessageId(HeaderText::new(&notice.header_message_id).to_string()))?;
        Ok(Envelope { to, message_id })
    }

    /// Subject, text, HTML.
    fn texts(&self, kind: NoticeKind, view: &impl serde::Serialize) -> Result<[String; 3], ComposeError> {
        let fax = minijinja::Value::from(minijinja::value::Serde(view));
        let template = |name: &str| {
            self.environment.get_template(&format!("{LANGUAGE}/{kind}/{name}")).map_err(|error| match error.kind() {
                minijinja::ErrorKind::TemplateNotFound => ComposeError::Kind(kind),
                _ => ComposeError::Template(error),
            })
        };
        let subject = template("subject.txt")?.render(context! { fax => fax.clone() })?.trim().to_owned();
        let text = template("body.txt")?.render(context! { fax => fax.clone() })?;
        let html = template("body.html")?.render(context! { fax, subject => subject.as_str() })?;
        Ok([subject, tidy(&text), html])
    }
}

/// What every mail needs and may turn out to be unusable.
#[derive(Debug)]
struct Envelope {
    to: MailAddress,
    message_id: MessageIdText,
}

/// The picture of page 1.
fn picture(material: &mut Material) -> Option<File> {
    let bytes = material.thumbnail.take()?;
    Some(File { name: HeaderText::new("page-1.png"), media: "image/png", bytes })
}

/// The pages, as PDF and as TIFF-F, named after the fax.
fn files(material: &mut Material, id: &str) -> Vec<File> {
    let file = |bytes, ending: &str, media| File { name: HeaderText::new(&format!("fax-{id}.{ending}")), media, bytes };
    let pdf = material.pdf.take().map(|bytes| file(bytes, "pdf", "application/pdf"));
    // RFC 3949 §8, RFC 2306: what readers of Internet fax and voice mail look for.
    let tiff = material.tiff.take().map(|bytes| file(bytes, "tif", "image/tiff; application=faxbw"));
    pdf.into_iter().chain(tiff).collect()
}

/// Names of the attached files, as a text says them.
fn names(files: &[File]) -> Option<String> {
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    (!names.is_empty()).then(|| names.join(" and "))
}

/// No white space at line ends, no more than one empty line at a time.
fn tidy(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut empty = true;
    for line in text.lines().map(str::trim_end) {
        if !(line.is_empty() && empty) {
            out.push_str(line);
            out.push('\n');
        }
        empty = line.is_empty();
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}
