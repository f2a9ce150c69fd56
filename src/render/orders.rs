//! What the converter is asked for: from mail, message and fax to its orders. Pure, so that preview and sending agree.

use jiff::tz::TimeZone;
use pages::{ConvertOrder, CoverFields, FinishOrder, Inline, Part, Text};

use super::{Covers, Prepared, RenderError};
use crate::config::Config;
use crate::documents::header_line;
use crate::domain::{BodyPlace, Cause, FaxOptions, Paper, Quality};
use crate::mail::mime::{self, Body, Mail, is_logo};
use crate::store::{Fax, Message};

/// What the gateway adds to a message.
#[derive(Debug, Clone)]
pub struct RenderSettings {
    /// The gateway's domain: for message ids and the foot of covers.
    pub domain: String,
    /// Most pages of one fax, cover included.
    pub max_pages: u32,
    /// The zone of dates on pages: that of the machine that sends.
    pub zone: TimeZone,
    /// The cover pages that there are.
    pub covers: Covers,
    config: Config,
}

impl RenderSettings {
    /// From the configuration; `zone` is the machine's.
    pub fn new(config: &Config, zone: TimeZone) -> Self {
        let covers = Covers::new(config.render.covers.clone());
        Self { domain: config.domain.clone(), max_pages: config.render.max_pages, zone, covers, config: config.clone() }
    }
}

/// What a mail brings, by where it goes.
#[derive(Debug)]
pub(super) struct Split {
    /// The text for the cover.
    pub note: Option<Text>,
    /// What becomes pages.
    pub order: Option<ConvertOrder>,
}

pub(super) fn split(mail: Mail, options: &FaxOptions, settings: &RenderSettings) -> Result<Split, RenderError> {
    let text = match mail.body {
        Some(Body::Plain(text)) => Some(Text::Plain(text)),
        Some(Body::Html(text)) => Some(Text::Html(text)),
        None => None,
    };
    let text = text.filter(|text| !text.is_blank());
    let (note, body) = match (options.body, &options.cover) {
        (BodyPlace::Drop, _) => (None, None),
        (BodyPlace::Cover, Some(_)) => (text, None),
        // Without a cover the text becomes the first page, so that it is not lost.
        (BodyPlace::Cover, None) | (BodyPlace::Page, _) => (None, text),
    };
    let (inline, apart) = in_place(mail.inline, body.as_ref(), options.body);
    let attached = mail.attachments.into_iter().filter(|attachment| options.wants(&attachment.name));
    let attached = attached.map(|a| Part { name: a.name, media: a.media, charset: a.charset, bytes: a.bytes });
    let parts: Vec<Part> = apart.into_iter().chain(attached).collect();
    if note.is_none() && body.is_none() && parts.is_empty() {
        return Err(RenderError::fatal(Cause::DocumentEmpty, "the mail has neither text nor an attachment"));
    }
    let (paper, quality) = (paper(options.paper), quality(options.quality));
    let order = ConvertOrder { paper, quality, max_pages: settings.max_pages, body, inline, parts };
    let order = (order.body.is_some() || !order.parts.is_empty()).then_some(order);
    Ok(Split { note, order })
}

/// Pictures of the HTML: in their places where it is drawn, gone with a text that is dropped. On a cover it is text, and what is more
/// than a signature's logo gets a page of its own.
fn in_place(pictures: Vec<mime::Inline>, body: Option<&Text>, place: BodyPlace) -> (Vec<Inline>, Vec<Part>) {
    if matches!(body, Some(Text::Html(_))) {
        let shown = pictures.into_iter().map(|p| Inline { id: p.id, name: p.name, bytes: p.bytes });
        return (shown.collect(), Vec::new());
    }
    let kept = pictures.into_iter().filter(|picture| place != BodyPlace::Drop && !is_logo(&picture.bytes));
    let parts = kept.map(|p| Part { name: p.name, media: p.media, charset: None, bytes: p.bytes });
    (Vec::new(), parts.collect())
}

/// `source` is the operator's own template of the message's cover, when there is one.
pub(super) fn finish(
    message: &Message,
    fax: &Fax,
    prepared: Prepared,
    source: Option<String>,
    settings: &RenderSettings,
) -> FinishOrder {
    let Prepared { note, document, zone, .. } = prepared;
    // The sender reads his own time on the cover; the header line says the time of the machine that sends.
    let zone = zone.map_or_else(|| settings.zone.clone(), TimeZone::fixed);
    let at = message.accepted_at.to_jiff().to_zoned(zone);
    let header = header_line(&settings.config, &settings.zone, message, fax);
    let options = &message.options;
    let cover = options.cover.as_ref().map(|template| CoverFields {
        template: template.clone(),
        source,
        to_name: fax.to_name.clone(),
        to_company: fax.to_company.clone(),
        // The number alone: post-dial digits and PINs are never printed (RFC 3965 §5.2.3).
        to_number: fax.number.to_string(),
        from_name: message.from_name.clone(),
        from_company: None,
        from_address: message.from_address.clone(),
        from_number: Some(header.sender_number.clone()).filter(|number| !number.is_empty()),
        subject: message.subject.clone(),
        date: at.strftime("%-d %B %Y, %H:%M %:z").to_string(),
        reference: options.reference.clone(),
        note,
        footer: format!("Sent by {}.", settings.domain),
    });
    FinishOrder {
        paper: paper(options.paper),
        quality: quality(options.quality),
        max_pages: settings.max_pages,
        document,
        cover,
        header: Some(header),
    }
}

fn paper(paper: Paper) -> pages::Paper {
    match paper {
        Paper::A4 => pages::Paper::A4,
        Paper::Letter => pages::Paper::Letter,
        Paper::Legal => pages::Paper::Legal,
    }
}

fn quality(quality: Quality) -> pages::Quality {
    match quality {
        Quality::Standard => pages::Quality::Standard,
        Quality::Fine => pages::Quality::Fine,
        Quality::Superfine => pages::Quality::Superfine,
    }
}
