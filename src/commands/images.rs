//! Pages of stored documents as PDF and PNG, for reports, commands and the console.
//!
//! A PDF of our own pages is the stored strips in a new envelope and needs no decoding; a picture is made in the converter's process.

use async_trait::async_trait;

use crate::console::{Pages, PagesError};
use crate::deliver::{Bound, Images, ImagesError};
use crate::documents::{Documents, DocumentsError};
use crate::domain::Timestamp;
use crate::store::DocumentKey;

/// Width of a page in the console and of `fax pages -o page.png`: the page's own.
const PAGE_WIDTH_PX: u32 = pages::WIDTH_PX;

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
}

impl StoredImages {
    pub(super) fn new(documents: Documents, converter: pages::Converter) -> Self {
        Self { documents, converter }
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
