//! Rendering: an accepted message becomes the pages of its faxes.
//!
//! In: a claimed message with those of its faxes that wait for pages. Its mail is read, its attachments (and its text, when
//! that gets pages of its own) become pages once, in the converter's process; then each fax gets its cover and
//! header line, its own document, and moves on to `ready`. Failure: what is wrong with the mail is final for all its faxes, named by
//! file and reason (RFC 3965 §2.2.4: all or nothing); what is wrong with one fax alone ends that one; what is wrong with this
//! machine (store, disk, a converter that does not start) gives the faxes back for later. A message over which workers
//! died repeatedly is damaged, not the workers.

mod covers;
mod orders;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pages::{ConvertError, Converted, Converter, ErrorKind};
use tracing::{info, warn};

use crate::documents::{Documents, DocumentsError};
use crate::domain::Cause;
use crate::fault::crash_point;
use crate::mail::mime;
use crate::store::{Fax, FinalEnd, LeaseToken, Message, Owner, RenderWork, RenderedPages, Store, StoreError};
use crate::work::{Leases, Progress, WorkError, Worker, catch_panic, written_back};

pub use covers::{Cover, Covers, read as read_cover};
pub use orders::RenderSettings;

/// A lease at the first claim; it is renewed while this works. Short: when the answer to the claim gets lost, nobody
/// works on the message until it has run out.
const LEASE: Duration = Duration::from_secs(60);
/// After so many dead processes the document is to blame. Documents are decoded in the converter's process, so a process
/// of ours hardly ever dies of one: a machine that loses power again and again must not fail the mails that were
/// being rendered.
const CRASHES_MAX: u32 = 10;
/// When the machine is to blame.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// What a TIFF-F is called (RFC 3250: profile F is `image/tiff`).
const TIFF: &str = "image/tiff";

/// Why pages cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The mail is to blame: this is final.
    #[error("{detail} ({cause})")]
    Final {
        /// The entry of the catalogue.
        cause: Cause,
        /// File name and reason, one line.
        detail: String,
    },
    /// The machine is to blame: worth another try.
    #[error("{0}")]
    Again(String),
}

impl RenderError {
    fn fatal(cause: Cause, detail: impl Into<String>) -> Self {
        Self::Final { cause, detail: detail.into() }
    }
}

impl From<mime::MimeError> for RenderError {
    fn from(error: mime::MimeError) -> Self {
        Self::Final { cause: error.cause, detail: error.detail }
    }
}

impl From<ConvertError> for RenderError {
    fn from(error: ConvertError) -> Self {
        let cause = match error.kind {
            ErrorKind::Unsupported => Cause::DocumentUnsupported,
            ErrorKind::Encrypted => Cause::DocumentEncrypted,
            ErrorKind::Damaged => Cause::DocumentDamaged,
            ErrorKind::Empty => Cause::DocumentEmpty,
            ErrorKind::TooManyPages => Cause::TooManyPages,
            ErrorKind::TooLarge => Cause::TooLarge,
            ErrorKind::Unavailable => return Self::Again(error.to_string()),
        };
        Self::fatal(cause, error.to_string())
    }
}

impl From<DocumentsError> for RenderError {
    fn from(error: DocumentsError) -> Self {
        // A document that is gone or damaged comes back when somebody restores it; until then its faxes wait.
        Self::Again(error.to_string())
    }
}

/// Makes pages. Cheap to clone: one for each worker, all with the same converter.
#[derive(Clone)]
pub struct Renderer {
    store: Arc<dyn Store>,
    documents: Documents,
    converter: Converter,
    settings: Arc<RenderSettings>,
    owner: Owner,
    leases: Leases,
}

#[async_trait]
impl Worker for Renderer {
    async fn step(&mut self) -> Result<Progress, WorkError> {
        self.render_next().await
    }
}

impl Renderer {
    /// With what it needs.
    pub fn new(
        store: Arc<dyn Store>,
        documents: Documents,
        converter: Converter,
        settings: RenderSettings,
        owner: Owner,
        leases: Leases,
    ) -> Self {
        Self { store, documents, converter, settings: Arc::new(settings), owner, leases }
    }

    /// Claims the message that waits longest, makes the pages of its faxes and writes back.
    ///
    /// # Errors
    /// The store's. What is wrong with one message is written back and no error.
    pub async fn render_next(&self) -> Result<Progress, WorkError> {
        let Some(work) = self.store.claim_render(&self.owner, LEASE).await? else {
            return Ok(Progress::Idle);
        };
        let _held = self.leases.hold(work.leases());
        crash_point!("render.claimed");
        let document = unbroken(self.document(&work)).await;
        for (fax, token) in &work.faxes {
            let made = match &document {
                Ok(document) => unbroken(self.pages(&work.message, fax, document.as_ref())).await,
                Err(RenderError::Final { cause, detail }) => Err(RenderError::fatal(*cause, detail)),
                Err(RenderError::Again(why)) => Err(RenderError::Again(why.clone())),
            };
            match written_back(|| self.write_back(&work.message, fax, *token, &made)).await {
                Err(StoreError::LeaseLost(row)) => {
                    warn!(fax = %fax.id.short(), %row, "somebody else owns the fax now; these pages are dropped");
                }
                other => other?,
            }
        }
        Ok(Progress::Worked)
    }

    /// The pages that all faxes of the message share; none when its text on the cover is all.
    async fn document(&self, work: &RenderWork) -> Result<Option<Prepared>, RenderError> {
        if work.crashes >= CRASHES_MAX {
            let detail = format!("the renderer died {} times over this mail", work.crashes);
            return Err(RenderError::fatal(Cause::DocumentDamaged, detail));
        }
        let raw = self.documents.get(&work.message.raw).await?;
        prepare(&self.converter, &self.settings, &work.message, &raw).await.map(Some)
    }

    async fn pages(
        &self,
        message: &Message,
        fax: &Fax,
        prepared: Option<&Prepared>,
    ) -> Result<RenderedPages, RenderError> {
        let now = self.store.now().await.map_err(|error| RenderError::Again(error.to_string()))?;
        if now > fax.give_up_at {
            return Err(RenderError::fatal(Cause::Expired, "its time was over before its pages were made"));
        }
        let prepared = prepared.ok_or_else(|| RenderError::Again("no document was prepared".to_owned()))?;
        let finished = finish(&self.converter, &self.settings, message, fax, prepared).await?;
        let page_count = finished.page_count();
        crash_point!("render.pages-made");
        let document = self.documents.put(finished.bytes, TIFF).await?;
        crash_point!("render.document-kept");
        Ok(RenderedPages { document, page_count })
    }

    async fn write_back(
        &self,
        message: &Message,
        fax: &Fax,
        token: LeaseToken,
        made: &Result<RenderedPages, RenderError>,
    ) -> Result<(), StoreError> {
        match made {
            Ok(pages) => {
                info!(fax = %fax.id.short(), pages = pages.page_count, to = %fax.number.masked(), "pages are made");
                self.store.rendered(fax.id, token, pages.clone()).await?;
                crash_point!("render.written-back");
                Ok(())
            }
            Err(RenderError::Final { cause, detail }) => {
                info!(fax = %fax.id.short(), %cause, "pages cannot be made");
                let end = FinalEnd::not_sent(message, fax, *cause, detail.clone(), &self.settings.domain);
                self.store.render_failed(fax.id, token, end).await
            }
            Err(RenderError::Again(why)) => self.again(message, fax, token, why).await,
        }
    }

    /// This machine is to blame: later, unless the fax's time is over by then.
    async fn again(&self, message: &Message, fax: &Fax, token: LeaseToken, why: &str) -> Result<(), StoreError> {
        let not_before = self.store.now().await?.plus(AGAIN_AFTER);
        if not_before > fax.give_up_at {
            warn!(fax = %fax.id.short(), why, "pages could not be made in time");
            let end = FinalEnd::not_sent(message, fax, Cause::Expired, why.to_owned(), &self.settings.domain);
            return self.store.render_failed(fax.id, token, end).await;
        }
        warn!(fax = %fax.id.short(), why, "pages are made later");
        self.store.render_again(fax.id, token, not_before, why).await
    }
}

/// A panic over a mail would come again with every try: it is that mail's end, and no other's.
async fn unbroken<T>(making: impl Future<Output = Result<T, RenderError>>) -> Result<T, RenderError> {
    catch_panic(making).await.unwrap_or_else(|panic| {
        tracing::error!(%panic, "rendering panicked");
        Err(RenderError::fatal(Cause::DocumentDamaged, "the renderer broke over this mail"))
    })
}

/// What all faxes of a message share.
#[derive(Debug, Clone, Default)]
pub struct Prepared {
    /// The mail's text for the covers.
    note: Option<pages::Text>,
    /// TIFF-F of the attachments (and the text, when it gets pages of its own).
    document: Option<Vec<u8>>,
    /// The sender's zone, when the mail says it.
    zone: Option<jiff::tz::Offset>,
    /// How the pages of the document were made.
    made: Vec<MadePage>,
    /// What was substituted, left out, turned or scaled.
    remarks: Vec<String>,
}

/// Where a page comes from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MadePage {
    /// The file, or what of the mail it is.
    pub part: String,
    /// What drew it, as in `PDF`.
    pub drawn_by: String,
}

/// The pages of a fax that nobody sends, and how they were made.
#[derive(Debug, Clone)]
pub struct Previewed {
    /// TIFF-F: the same octets that would be sent.
    pub bytes: Vec<u8>,
    /// One for each page.
    pub pages: Vec<MadePage>,
    /// What was substituted, left out, turned or scaled.
    pub remarks: Vec<String>,
}

fn made(converted: &Converted) -> Vec<MadePage> {
    let drawn_by = converted.drawn_by.iter().cloned().chain(std::iter::repeat_with(String::new));
    converted.pages.iter().cloned().zip(drawn_by).map(|(part, drawn_by)| MadePage { part, drawn_by }).collect()
}

/// Reads the mail and turns what it brings into pages.
pub async fn prepare(
    converter: &Converter,
    settings: &RenderSettings,
    message: &Message,
    raw: &[u8],
) -> Result<Prepared, RenderError> {
    let mail = mime::read(raw)?;
    let zone = mail.zone();
    let left_out: Vec<String> =
        mail.left_out.iter().map(|name| format!("{name}: left out, because only the HTML shows it")).collect();
    if !mail.left_out.is_empty() {
        info!(message = %message.id.short(), pictures = mail.left_out.len(), "pictures that only the HTML shows are left out");
    }
    let orders::Split { note, order } = orders::split(mail, &message.options, settings)?;
    let Some(order) = order else { return Ok(Prepared { note, zone, remarks: left_out, ..Prepared::default() }) };
    let converted = converter.convert(order).await.inspect_err(log)?;
    for remark in &converted.notes {
        info!(message = %message.id.short(), remark, "rendering");
    }
    let made = made(&converted);
    let remarks = left_out.into_iter().chain(converted.notes).collect();
    Ok(Prepared { note, document: Some(converted.bytes), zone, made, remarks })
}

/// The pages of one fax as they are sent. The same message, fax and settings give the same octets.
pub async fn finish(
    converter: &Converter,
    settings: &RenderSettings,
    message: &Message,
    fax: &Fax,
    prepared: &Prepared,
) -> Result<Converted, RenderError> {
    let template = message.options.cover.as_deref();
    let source = match template.map(|name| settings.covers.source(name)).transpose() {
        Ok(source) => source.flatten(),
        Err(why) => {
            // The name is not one that ships: the converter draws the plain one, and says so.
            warn!(fax = %fax.id.short(), why, "the cover's template cannot be read");
            None
        }
    };
    let order = orders::finish(message, fax, prepared.clone(), source, settings);
    let finished = converter.finish(order).await.inspect_err(log)?;
    for remark in &finished.notes {
        warn!(fax = %fax.id.short(), remark, "rendering");
    }
    Ok(finished)
}

/// The pages that would be sent for this mail to this fax: what `faxwell preview` shows. Nothing is stored.
pub async fn preview(
    converter: &Converter,
    settings: &RenderSettings,
    message: &Message,
    fax: &Fax,
    raw: &[u8],
) -> Result<Previewed, RenderError> {
    let mut prepared = prepare(converter, settings, message, raw).await?;
    let finished = finish(converter, settings, message, fax, &prepared).await?;
    // What finishing did not draw itself comes from the document, in its order.
    let mut document = std::mem::take(&mut prepared.made).into_iter();
    let pages = made(&finished)
        .into_iter()
        .map(|page| if page.drawn_by.is_empty() { document.next().unwrap_or(page) } else { page })
        .collect();
    let mut remarks = prepared.remarks;
    remarks.extend(finished.notes);
    remarks.dedup();
    Ok(Previewed { bytes: finished.bytes, pages, remarks })
}

fn log(error: &ConvertError) {
    // The process's own words may quote a document: they are for debugging alone.
    tracing::debug!(kind = ?error.kind, log = %error.log, "the converter failed");
}
