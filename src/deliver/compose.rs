//! A notice becomes a mail: texts from `templates/mail/<language>/<kind>/`, facts for machines from the record.
//!
//! RFC 3461 §6 (what a report says), RFC 3464 (its fields), RFC 3834 (automatic answers). The same notice gives the
//! same octets every time. A notice that cannot be composed is our mistake and is shown as dead, never dropped.

#[cfg(test)]
mod tests;

use jiff::tz::TimeZone;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, context};

use super::view::{Around, view};
use super::words;
use crate::domain::{Cause, NoticeKind, ReportStyle};
use crate::mail::build::{
    DeliveryStatus, File, HeaderText, MailAddress, MessageIdText, NamedAddress, RecipientField, Report, Return,
    StatusField,
};
use crate::store::{Attempt, FaxRecord, NoticeWork, Ret};

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
}

/// Why a notice cannot become a mail.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// `delivery.from` is no mailbox.
    #[error("delivery.from \"{0}\" is no address; fix: write it as in Fax <fax@fax.example.com>")]
    From(String),
    /// The address of the recipient cannot be put into a mail.
    #[error("the report cannot be addressed: \"{0}\" is not usable as an address")]
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
    /// Reports without images were asked for.
    Style,
    /// Nobody takes a mail of that size.
    Size,
    /// The pages cannot be read.
    Unavailable,
}

impl Withheld {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Style => "style",
            Self::Size => "size",
            Self::Unavailable => "unavailable",
        }
    }
}

/// What a report carries besides its text.
#[derive(Debug, Clone, Default)]
pub struct Material {
    /// The pages.
    pub pdf: Option<Vec<u8>>,
    /// Page 1 as PNG.
    pub thumbnail: Option<Vec<u8>>,
    /// The mail as it came in.
    pub original: Option<Vec<u8>>,
    /// Why the pages are not here.
    pub withheld: Option<Withheld>,
}

/// A notice as a mail.
#[derive(Debug)]
pub struct Composed {
    /// Its one recipient.
    pub to: MailAddress,
    /// The mail.
    pub octets: Vec<u8>,
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

    /// Whether the report of this notice shows pages, by the wish of the sender and by configuration.
    pub fn style(&self, work: &NoticeWork) -> ReportStyle {
        let configured = match work.notice.kind {
            NoticeKind::Sent => self.settings.success,
            _ => self.settings.failure,
        };
        match (configured, work.record.message.options.report) {
            (ReportStyle::Image, ReportStyle::Image) => ReportStyle::Image,
            // A notice that is switched off is withheld before it gets here; one that is here is owed.
            _ => ReportStyle::Text,
        }
    }

    /// The mail for a notice.
    ///
    /// # Errors
    /// See [`ComposeError`].
    pub fn compose(&self, work: &NoticeWork, material: &Material) -> Result<Composed, ComposeError> {
        let NoticeWork { notice, record, .. } = work;
        let recipient = notice.recipient.clone().unwrap_or_default();
        let to = MailAddress::parse(&recipient)
            .ok_or_else(|| ComposeError::Recipient(HeaderText::new(&recipient).to_string()))?;
        let message_id = MessageIdText::parse(&notice.header_message_id)
            .ok_or_else(|| ComposeError::MessageId(HeaderText::new(&notice.header_message_id).to_string()))?;
        let shows_pages = self.style(work) == ReportStyle::Image;
        let name = HeaderText::new(&format!("fax-{}.pdf", record.fax.id.short()));
        let file =
            material.pdf.clone().filter(|_| shows_pages).map(|bytes| File { name, media: "application/pdf", bytes });
        let picture = material.thumbnail.clone().filter(|_| shows_pages);
        let picture = picture.map(|bytes| File { name: HeaderText::new("page-1.png"), media: "image/png", bytes });
        let [subject, text, html] = self.texts(work, material, picture.is_some(), file.as_ref())?;
        let failed = notice.kind != NoticeKind::Sent;
        let full = failed && shows_pages && record.message.ret == Some(Ret::Full);
        let report = Report {
            notice: notice.id,
            message_id,
            date: notice.created_at,
            from: self.from.clone(),
            to: to.clone(),
            subject: HeaderText::new(&subject),
            in_reply_to: record.message.header_message_id.as_deref().and_then(MessageIdText::parse),
            fields: fields(record, notice.kind),
            language: LANGUAGE,
            text: tidy(&text),
            html,
            picture,
            file,
            status: self.status(record, notice.kind),
            original: material.original.as_deref(),
            // RFC 3461 §4.3: RET applies to failures only.
            ret: if full { Return::Full } else { Return::Header },
        };
        Ok(Composed { to, octets: report.to_bytes() })
    }

    /// Subject, text, HTML.
    fn texts(
        &self,
        work: &NoticeWork,
        material: &Material,
        has_picture: bool,
        file: Option<&File>,
    ) -> Result<[String; 3], ComposeError> {
        let kind = work.notice.kind;
        let style = (self.style(work) == ReportStyle::Text).then_some(Withheld::Style);
        let fax = view(
            &work.record,
            Around {
                kind,
                status: status(&work.record, kind).to_owned(),
                zone: &self.settings.zone,
                administrator: self.settings.administrator.as_deref(),
                picture: has_picture.then(|| Report::picture_cid(work.notice.id)),
                file: file.map(|f| f.name.to_string()),
                withheld: style.or(material.withheld),
            },
        );
        let fax = minijinja::Value::from(minijinja::value::Serde(&fax));
        let template = |name: &str| {
            self.environment.get_template(&format!("{LANGUAGE}/{kind}/{name}")).map_err(|error| match error.kind() {
                minijinja::ErrorKind::TemplateNotFound => ComposeError::Kind(kind),
                _ => ComposeError::Template(error),
            })
        };
        let subject = template("subject.txt")?.render(context! { fax => fax.clone() })?.trim().to_owned();
        let text = template("body.txt")?.render(context! { fax => fax.clone() })?;
        let html = template("body.html")?.render(context! { fax, subject => subject.as_str() })?;
        Ok([subject, text, html])
    }

    fn status(&self, record: &FaxRecord, kind: NoticeKind) -> DeliveryStatus {
        let mut message: Vec<StatusField> =
            vec![("Reporting-MTA", HeaderText::new(&format!("dns; {}", self.settings.reporting_mta)))];
        if let Some(envid) = &record.message.envid {
            message.push(("Original-Envelope-Id", HeaderText::new(envid)));
        }
        message.push(("Arrival-Date", HeaderText::new(&words::rfc5322(record.fax.accepted_at))));
        let mut addresses = Vec::new();
        if let Some(orcpt) = &record.fax.original_recipient {
            addresses.push(("Original-Recipient", RecipientField::original(orcpt)));
        }
        addresses.push(("Final-Recipient", RecipientField::rfc822(&record.fax.recipient)));
        DeliveryStatus { message, addresses, recipient: recipient_fields(record, kind) }
    }
}

fn recipient_fields(record: &FaxRecord, kind: NoticeKind) -> Vec<StatusField> {
    let fax = &record.fax;
    let mut fields: Vec<StatusField> = Vec::new();
    let mut push = |name: &'static str, value: Option<String>| {
        fields.extend(value.filter(|v| !v.is_empty()).map(|v| (name, HeaderText::new(&v))));
    };
    let last = record.attempts.last();
    push("Action", Some(if kind == NoticeKind::Sent { "delivered" } else { "failed" }.to_owned()));
    push("Status", Some(status(record, kind).to_owned()));
    push("Diagnostic-Code", (kind != NoticeKind::Sent).then(|| diagnostic(record)).flatten());
    push("Last-Attempt-Date", last.map(|a| words::rfc5322(a.ended_at.unwrap_or(a.started_at))));
    push("X-Faxwell-Job", Some(fax.id.short().to_string()));
    push("X-Faxwell-Number", Some(fax.number.to_string()));
    push("X-Faxwell-Outcome", Some(kind.to_string()));
    push("X-Faxwell-Cause", fax.cause.map(|c| c.slug().to_owned()));
    push("X-Faxwell-Attempts", Some(fax.attempts.to_string()));
    push("X-Faxwell-Pages-Sent", Some(fax.pages_confirmed.to_string()));
    push("X-Faxwell-Pages-Total", fax.page_count.map(|n| n.to_string()));
    push("X-Faxwell-Speed", last.and_then(|a| a.end.rate_bps).map(|bps| bps.to_string()));
    push("X-Faxwell-Remote-CSID", last.and_then(|a| a.end.remote_id.clone()));
    push("X-Faxwell-Sip-Code", last.and_then(|a| a.end.sip_code).map(|code| code.to_string()));
    push("X-Faxwell-T30-Status", last.and_then(|a| a.end.t30_code).map(|code| code.to_string()));
    fields
}

/// RFC 3463 status of a final report.
fn status(record: &FaxRecord, kind: NoticeKind) -> &'static str {
    let last_cause = record.attempts.iter().rev().find_map(|a| a.end.cause);
    let cause = match record.fax.cause {
        // RFC 3463 §3.5 X.4.7: when the time is over, the report gives the reason for the delay.
        Some(Cause::Expired) => last_cause.or(Some(Cause::Expired)),
        cause => cause,
    };
    match (kind, cause) {
        // RFC 3463 §3.2 X.1.5: for positive delivery reports.
        (NoticeKind::Sent, _) => "2.1.5",
        (_, Some(cause)) if !cause.status().starts_with('2') => cause.status(),
        (NoticeKind::Partial | NoticeKind::Unknown, _) => "4.4.2",
        _ => "5.0.0",
    }
}

/// RFC 3464 §2.3.6: type and text, from the last call; its types begin with `x-` because none is registered.
fn diagnostic(record: &FaxRecord) -> Option<String> {
    let of_call = |attempt: &Attempt| {
        let detail = attempt.end.detail.trim();
        match (attempt.end.sip_code, attempt.end.t30_code) {
            // 2xx: the call was answered, the reason lies in T.30.
            (Some(code), _) if code >= 300 && detail.starts_with(&code.to_string()) => Some(format!("x-sip; {detail}")),
            (Some(code), _) if code >= 300 => Some(format!("x-sip; {code} {detail}")),
            (_, Some(code)) if code != 0 => Some(format!("x-t30; 0x{code:02x} {detail}")),
            _ if !detail.is_empty() => Some(format!("x-t30; {detail}")),
            _ => None,
        }
    };
    record.attempts.iter().rev().find_map(of_call).or_else(|| {
        let cause = record.fax.cause?;
        Some(
            format!("x-faxwell; {} {}", cause.slug(), record.fax.detail.as_deref().unwrap_or_default())
                .trim()
                .to_owned(),
        )
    })
}

/// For rules of mail programs.
fn fields(record: &FaxRecord, kind: NoticeKind) -> Vec<(&'static str, HeaderText)> {
    let fax = &record.fax;
    let mut fields = vec![
        ("X-Fax-Id", HeaderText::new(fax.id.short().as_str())),
        ("X-Fax-To", HeaderText::new(fax.number.as_str())),
        ("X-Fax-Status", HeaderText::new(kind.as_str())),
        ("X-Fax-Pages", HeaderText::new(&format!("{}/{}", fax.pages_confirmed, fax.page_count.unwrap_or(0)))),
    ];
    fields.extend(fax.cause.map(|c| ("X-Fax-Cause", HeaderText::new(c.slug()))));
    fields.extend(record.message.options.reference.as_deref().map(|r| ("X-Fax-Reference", HeaderText::new(r))));
    fields
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
