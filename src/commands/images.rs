//! Pages of stored documents as PDF and PNG, for reports, commands and the console.
//!
//! A PDF of our own pages is the stored strips in a new envelope and needs no decoding; a picture is made in the converter's process.

use async_trait::async_trait;

use crate::console::{Pages, PagesError};
use crate::deliver::{Bound, Images, ImagesError};
use crate::documents::{Documents, DocumentsError};
use crate::store::DocumentKey;

/// Width of a page in the console and of `fax pages -o page.png`: the page's own.
const PAGE_WIDTH_PX: u32 = pages::WIDTH_PX;

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

    async fn read(&self, key: &DocumentKey) -> Result<Vec<u8>, PagesError> {
        self.documents.get(key).await.map_err(|error| match error {
            DocumentsError::Pruned { .. } => PagesError::Removed(error.to_string()),
            DocumentsError::NotFound(_) => PagesError::NotFound(error.to_string()),
            _ => PagesError::Failed(error.to_string()),
        })
    }

    async fn picture(&self, key: &DocumentKey, page: u32, width_px: u32) -> Result<Vec<u8>, PagesError> {
        let tiff = self.read(key).await?;
        self.converter.thumbnail(tiff, page, width_px).await.map_err(|error| PagesError::Failed(error.to_string()))
    }

    async fn wrapped(&self, key: &DocumentKey) -> Result<Vec<u8>, PagesError> {
        let tiff = self.read(key).await?;
        pages::pdf_out::wrap(&tiff).map_err(|error| PagesError::Failed(error.to_string()))
    }
}

#[async_trait]
impl Pages for StoredImages {
    async fn tiff(&self, key: &DocumentKey) -> Result<Vec<u8>, PagesError> {
        self.read(key).await
    }

    async fn pdf(&self, key: &DocumentKey) -> Result<Vec<u8>, PagesError> {
        self.wrapped(key).await
    }

    async fn png(&self, key: &DocumentKey, page: u32) -> Result<Vec<u8>, PagesError> {
        self.picture(key, page, PAGE_WIDTH_PX).await
    }
}

#[async_trait]
impl Images for StoredImages {
    async fn pdf(&self, document: &DocumentKey) -> Result<Vec<u8>, ImagesError> {
        self.wrapped(document).await.map_err(|error| ImagesError(error.to_string()))
    }

    async fn thumbnail(&self, document: &DocumentKey, page: u32, width_px: u32) -> Result<Vec<u8>, ImagesError> {
        self.picture(document, page, width_px).await.map_err(|error| ImagesError(error.to_string()))
    }

    /// Pages from outside are read in the converter's process alone, strips that nobody decodes too.
    async fn bound(&self, pages: &[DocumentKey], form: Bound) -> Result<Vec<u8>, ImagesError> {
        let mut tiffs = Vec::with_capacity(pages.len());
        for (number, page) in (1..).zip(pages) {
            let tiff = self.documents.get(page).await;
            tiffs.push(tiff.map_err(|error| ImagesError(format!("page {number}: {error}")))?);
        }
        let form = match form {
            Bound::Pdf => pages::Bound::Pdf,
            Bound::Tiff => pages::Bound::Tiff,
        };
        self.converter.bind(tiffs, form).await.map_err(|error| ImagesError(error.to_string()))
    }

    async fn mail(&self, document: &DocumentKey) -> Result<Vec<u8>, ImagesError> {
        self.documents.get(document).await.map_err(|error| ImagesError(error.to_string()))
    }
}
