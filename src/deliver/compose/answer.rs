//! Answers to mails that are no fax: the pages that would be sent, and the instructions.

use serde::Serialize;

use super::{ComposeError, Composer, Envelope, LANGUAGE, Material, files, names, picture};
use crate::deliver::{Preview, words};
use crate::domain::{Cause, NoticeKind};
use crate::mail::build::{Auto, Encoded, HeaderText, Letter, MessageIdText};
use crate::mail::mime::clean;
use crate::store::{Message, Notice};

/// Rows of the table; a preview of more pages says how many are not listed.
const ROWS_MAX: usize = 200;
/// What most calls carry.
const RATE_BPS: usize = 14_400;

/// Why a mail would not become a fax.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoPreview {
    /// The entry of the catalogue.
    pub cause: Cause,
    /// What and why, one line.
    pub detail: String,
}

/// What the templates see.
#[derive(Debug, Default, Serialize)]
struct View {
    id: String,
    domain: String,
    colour: &'static str,
    administrator: Option<String>,
    subject: Option<String>,
    asked: String,
    number: Option<String>,
    /// As it stands in an address.
    dialled: String,
    total: usize,
    /// Of all pages, at 14,400 bit/s.
    duration: String,
    pages: Vec<PageView>,
    pages_omitted: usize,
    cause: Option<&'static str>,
    evidence: Option<String>,
    fix: Option<&'static str>,
    picture: Option<String>,
    file: Option<String>,
    withheld: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct PageView {
    page: usize,
    kilobytes: String,
    seconds: usize,
}

impl Composer {
    pub(super) fn answer(
        &self,
        notice: &Notice,
        message: &Message,
        mut material: Material,
        envelope: Envelope,
    ) -> Result<Encoded, ComposeError> {
        let id = message.id.short();
        let (picture, files) = (picture(&mut material), files(&mut material, id.as_str()));
        let mut view = View {
            id: id.to_string(),
            domain: self.settings.reporting_mta.clone(),
            colour: "#1d5fa8",
            administrator: self.settings.administrator.as_deref().map(clean),
            subject: Some(clean(&message.subject)).filter(|subject| !subject.is_empty()),
            asked: words::moment(message.accepted_at, &self.settings.zone),
            picture: picture.as_ref().map(|_| Letter::picture_cid(notice.id)),
            file: names(&files),
            withheld: material.withheld.map(super::Withheld::as_str),
            ..View::default()
        };
        match material.preview.take() {
            Some(Ok(preview)) => view.show(&preview),
            Some(Err(NoPreview { cause, detail })) => {
                view.colour = "#b42318";
                view.cause = Some(cause.entry().cause);
                view.fix = Some(cause.entry().fix);
                view.evidence = Some(clean(&detail));
            }
            None if notice.kind == NoticeKind::Preview => return Err(ComposeError::Kind(notice.kind)),
            None => {}
        }
        let [subject, text, html] = self.texts(notice.kind, &view)?;
        let letter = Letter {
            notice: notice.id,
            message_id: envelope.message_id,
            date: notice.created_at,
            from: self.from.clone(),
            to: envelope.to,
            subject: HeaderText::new(&subject),
            auto: Auto::Replied,
            in_reply_to: message.header_message_id.as_deref().and_then(MessageIdText::parse),
            fields: vec![
                ("X-Fax-Id", HeaderText::new(id.as_str())),
                ("X-Fax-Status", HeaderText::new(notice.kind.as_str())),
            ],
            language: LANGUAGE,
            text,
            html,
            picture,
            files,
            report: None,
        };
        Ok(letter.encode())
    }
}

impl View {
    fn show(&mut self, preview: &Preview) {
        let seconds = |bytes: usize| (bytes * 8).div_ceil(RATE_BPS);
        self.dialled = clean(&preview.number);
        self.number = Some(words::dialled(&clean(&preview.number)));
        self.total = preview.pages_bytes.len();
        let all = preview.pages_bytes.iter().map(|bytes| seconds(*bytes)).sum::<usize>();
        self.duration = if all < 120 { format!("{all} s") } else { format!("{} min", all.div_ceil(60)) };
        let row = |(page, bytes): (usize, &usize)| PageView {
            page,
            kilobytes: format!("{:.1} kB", *bytes as f64 / 1000.0),
            seconds: seconds(*bytes),
        };
        self.pages = (1..).zip(&preview.pages_bytes).take(ROWS_MAX).map(row).collect();
        self.pages_omitted = self.total.saturating_sub(ROWS_MAX);
    }
}
