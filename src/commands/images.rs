//! Pages of stored documents as PDF and PNG, for reports, commands and the console.
//!
//! A PDF of our own pages is the stored strips in a new envelope and needs no decoding; a picture is made in the converter's process.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::tz::TimeZone;

use crate::config::Config;
use crate::console::{Pages, PagesError};
use crate::deliver::{Bound, Images, ImagesError, Preview, PreviewError};
use crate::documents::{Documents, DocumentsError};
use crate::domain::Timestamp;
use crate::intake::{self, Handed, IntakeSettings};
use crate::render::{self, RenderError, RenderSettings};
use crate::store::{DocumentKey, Message};

/// Width of a page in the console and of `fax pages -o page.png`: the page's own.
const PAGE_WIDTH_PX: u32 = pages::WIDTH_PX;

/// Width of page 1 in the mail of a preview.
const PREVIEW_WIDTH_PX: u32 = 300;

/// Why pages cannot be shown.
enum Unread {
    NotFound(String),
    Removed { at: Timestamp, why: String },
    Failed(String),
}

impl Unread {
    fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<DocumentsError> for Unread {
    fn from(error: DocumentsError) -> Self {
        let why = error.to_string();
        match error {
            DocumentsError::Pruned { at, .. } => Self::Removed { at, why },
            DocumentsError::NotFound(_) => Self::NotFound(why),
            _ => Self::Failed(why),
        }
    }
}

impl From<Unread> for PagesError {
    fn from(error: Unread) -> Self {
        match error {
            Unread::NotFound(why) => Self::NotFound(why),
            Unread::Removed { why, .. } => Self::Removed(why),
            Unread::Failed(why) => Self::Failed(why),
        }
    }
}

impl From<Unread> for ImagesError {
    fn from(error: Unread) -> Self {
        match error {
            Unread::Removed { at, .. } => Self::Removed { at },
            Unread::NotFound(why) | Unread::Failed(why) => Self::Failed(why),
        }
    }
}

/// Reads documents and shows them.
#[derive(Clone)]
pub(super) struct StoredImages {
    documents: Documents,
    converter: pages::Converter,
    previews: Option<Arc<(IntakeSettings, RenderSettings)>>,
}

impl StoredImages {
    pub(super) fn new(documents: Documents, converter: pages::Converter) -> Self {
        Self { documents, converter, previews: None }
    }

    /// Makes previews too, as intake and rendering would make the fax.
    pub(super) fn with_previews(self, config: &Config) -> Self {
        let mut intake = IntakeSettings::new(config, super::covers(config));
        // What was accepted has our own fields in front of it.
        intake.smtp.max_size_bytes = u64::MAX;
        let render = RenderSettings::new(config, TimeZone::system());
        Self { previews: Some(Arc::new((intake, render))), ..self }
    }

    async fn pages_of(&self, message: &Message) -> Result<Preview, PreviewError> {
        let again = |error: &dyn std::fmt::Display| PreviewError::Again(error.to_string());
        let settings = self.previews.clone().ok_or_else(|| again(&"previews are not made here"))?;
        let mail = self.documents.get(&message.raw).await.map_err(|error| again(&error))?;
        let recipients = message.options.preview_for.iter().cloned().collect();
        let handed = Handed { from: message.reverse_path.clone(), recipients, mail, idempotency_key: None };
        let (at, for_reader) = (message.accepted_at, Arc::clone(&settings));
        let readers = super::mail_readers(self.converter.formats());
        let read = tokio::task::spawn_blocking(move || {
            let read = intake::preview(&for_reader.0, readers, &handed, at);
            read.map(|(read, faxes)| (read, faxes, handed.mail))
        });
        let (read, faxes, mail) = read
            .await
            .map_err(|error| again(&error))?
            .map_err(|refusal| PreviewError::Final { cause: refusal.cause, detail: refusal.text })?;
        let fax = faxes.first().ok_or_else(|| again(&"the mail names no recipient"))?;
        // What was decided when it was accepted: its sender's own cover, for one.
        let read = Message { options: message.options.clone(), ..read };
        let made =
            render::preview(&self.converter, &settings.1, &read, fax, &mail).await.map_err(|error| match error {
                RenderError::Final { cause, detail } => PreviewError::Final { cause, detail },
                RenderError::Again(why) => PreviewError::Again(why),
            })?;
        let reader = fax_image::tiff::TiffReader::open(&made.bytes).map_err(|error| again(&error))?;
        let strips = (0..reader.page_count()).map(|page| reader.strip(page).map(|strip| strip.map_or(0, <[u8]>::len)));
        Ok(Preview {
            number: fax.number.to_string(),
            pages_bytes: strips.collect::<Result<_, _>>().map_err(|error| again(&error))?,
            pdf: pages::pdf_out::wrap(&made.bytes).map_err(|error| again(&error))?,
            thumbnail: self
                .converter
                .thumbnail(made.bytes, 1, PREVIEW_WIDTH_PX)
                .await
                .map_err(|error| again(&error))?,
        })
    }

    async fn read(&self, key: &DocumentKey) -> Result<Vec<u8>, Unread> {
        Ok(self.documents.get(key).await?)
    }

    async fn picture(&self, key: &DocumentKey, page: u32, width_px: u32) -> Result<Vec<u8>, Unread> {
        let tiff = self.read(key).await?;
        self.converter.thumbnail(tiff, page, width_px).await.map_err(Unread::failed)
    }

    async fn wrapped(&self, key: &DocumentKey) -> Result<Vec<u8>, Unread> {
        let tiff = self.read(key).await?;
        pages::pdf_out::wrap(&tiff).map_err(Unread::failed)
    }

    /// Pages from outside are read in the converter's process alone, strips that nobody decodes too.
    async fn bind(&self, keys: &[DocumentKey], form: pages::Bound) -> Result<Vec<u8>, Unread> {
        let mut tiffs = Vec::with_capacity(keys.len());
        for (number, key) in (1..).zip(keys) {
            tiffs.push(self.read(key).await.map_err(|error| match error {
                Unread::Failed(why) => Unread::Failed(format!("page {number}: {why}")),
                other => other,
            })?);
        }
        self.converter.bind(tiffs, form).await.map_err(Unread::failed)
    }
}

#[async_trait]
impl Pages for StoredImages {
    async fn tiff(&self, key: &DocumentKey) -> Result<Vec<u8>, PagesError> {
        Ok(self.read(key).await?)
    }

    async fn pdf(&self, key: &DocumentKey) -> Result<Vec<u8>, PagesError> {
        Ok(self.wrapped(key).await?)
    }

    async fn png(&self, key: &DocumentKey, page: u32) -> Result<Vec<u8>, PagesError> {
        Ok(self.picture(key, page, PAGE_WIDTH_PX).await?)
    }

    async fn bound(&self, keys: &[DocumentKey]) -> Result<Vec<u8>, PagesError> {
        Ok(self.bind(keys, pages::Bound::Pdf).await?)
    }
}

#[async_trait]
impl Images for StoredImages {
    async fn preview(&self, message: &Message) -> Result<Preview, PreviewError> {
        self.pages_of(message).await
    }

    async fn pdf(&self, document: &DocumentKey) -> Result<Vec<u8>, ImagesError> {
        Ok(self.wrapped(document).await?)
    }

    async fn thumbnail(&self, document: &DocumentKey, page: u32, width_px: u32) -> Result<Vec<u8>, ImagesError> {
        Ok(self.picture(document, page, width_px).await?)
    }

    async fn bound(&self, pages: &[DocumentKey], form: Bound) -> Result<Vec<u8>, ImagesError> {
        let form = match form {
            Bound::Pdf => pages::Bound::Pdf,
            Bound::Tiff => pages::Bound::Tiff,
        };
        Ok(self.bind(pages, form).await?)
    }

    async fn mail(&self, document: &DocumentKey) -> Result<Vec<u8>, ImagesError> {
        Ok(self.read(document).await?)
    }
}
