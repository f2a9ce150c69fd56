//! One step of the worker: claim a notice, make the mail, give it away, write back.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::compose::{ComposeError, Composed, Composer, Material, NoPreview, Withheld};
use super::{Bound, Images, ImagesError, Outgoing, PreviewError, SendError, Transport};
use crate::domain::{NoticeKind, ReceivedFormat, ReportStyle, Timestamp};
use crate::fault::crash_point;
use crate::mail::bounce::ReturnPaths;
use crate::store::{
    self, About, DocumentKey, FaxRecord, Instead, Message, NoticeWork, Owner, ReceivedRecord, Store, StoreError,
};
use crate::work::{Leases, Progress, WorkError, Worker, written_back};

/// A lease at the first claim; it is renewed while the mail is on its way, so that nobody else sends the same notice.
/// Short: when the answer to the claim gets lost, the notice waits until it has run out.
const LEASE: Duration = Duration::from_secs(60);
/// A step ends by then: composing, each host's time-outs and the ten minutes for the final dot.
const STEP_TIME_MAX: Duration = Duration::from_secs(18 * 60);
/// RFC 5321 §4.5.4.1: four to five days before giving up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(5 * 24 * 60 * 60);
const FIRST_WAIT: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);
/// Larger files are left out: relays refuse mails of that size, and what the mail tells matters more.
const FILES_BYTES_MAX: usize = 15 * 1024 * 1024;
/// Tries with pages that cannot be read before the report goes out without them.
const TRIES_FOR_IMAGES: u32 = 3;
/// Wide enough for the 150 CSS pixels that the HTML shows, at twice the density.
const THUMBNAIL_WIDTH_PX: u32 = 300;

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// No notice was due.
    Idle,
    /// A notice was taken.
    Sent,
    /// It is tried again later.
    Again,
    /// Nobody will ever take it.
    Dead,
    /// What it was to tell is not true any more.
    Withdrawn,
}

/// A deliverer as a worker of this node.
#[derive(Clone)]
pub struct Deliveries {
    /// Shared by the workers of a process.
    pub deliverer: Arc<Deliverer>,
    /// This node.
    pub owner: Owner,
}

#[async_trait]
impl Worker for Deliveries {
    async fn step(&mut self) -> Result<Progress, WorkError> {
        match self.deliverer.step(&self.owner).await? {
            Step::Idle => Ok(Progress::Idle),
            Step::Sent | Step::Again | Step::Dead | Step::Withdrawn => Ok(Progress::Worked),
        }
    }
}

/// Makes and sends mails.
pub struct Deliverer {
    store: Arc<dyn Store>,
    images: Arc<dyn Images>,
    composer: Composer,
    transport: Transport,
    returns: ReturnPaths,
    instead: Instead,
    leases: Leases,
}

impl Deliverer {
    /// With what it needs. `instead` gets the received faxes that nobody takes.
    pub fn new(
        store: Arc<dyn Store>,
        images: Arc<dyn Images>,
        composer: Composer,
        transport: Transport,
        (returns, instead): (ReturnPaths, Instead),
        leases: Leases,
    ) -> Self {
        Self { store, images, composer, transport, returns, instead, leases }
    }

    /// Claims one notice and sees it through. Several may run at once.
    ///
    /// # Errors
    /// The store's. When the record of an accepted mail fails, the notice is sent again later as the same mail.
    pub async fn step(&self, owner: &Owner) -> store::Result<Step> {
        let Some(work) = self.store.claim_notices(owner, 1, LEASE).await?.into_iter().next() else {
            return Ok(Step::Idle);
        };
        let _held = self.leases.hold([work.lease()]);
        crash_point!("deliver.claimed");
        let step = match over(&work) {
            Some(why) => self.withdraw(&work, &why).await,
            None => {
                let now = self.store.now().await?;
                let sent = tokio::time::timeout(STEP_TIME_MAX, self.send(&work, now)).await;
                let late = |_| Err(SendError::Again("no mail server answered in time".to_owned()));
                let verdict = sent.unwrap_or_else(late);
                // A mail that was taken and could not be noted would be sent once more.
                written_back(|| self.write_back(&work, &verdict)).await
            }
        };
        if let Err(StoreError::LeaseLost(row)) = &step {
            tracing::warn!(notice = %work.notice.id, %row, "somebody else owns the notice now");
        }
        step
    }

    async fn send(&self, work: &NoticeWork, now: Timestamp) -> Result<String, SendError> {
        let material = match &work.about {
            About::Fax(record) => self.material(work, record).await?,
            About::Received(record) => self.received_material(work, record).await?,
            About::Message(message) => self.answer_material(work, message).await?,
        };
        match self.send_with(work, &material, now).await {
            Err(SendError::TooLarge(why)) if material.pdf.is_some() || material.tiff.is_some() => {
                tracing::info!(notice = %work.notice.id, %why, "the mail goes out without its pages");
                let Material { original, preview, .. } = material;
                let bare = Material { withheld: Some(Withheld::Size), original, preview, ..Material::default() };
                self.send_with(work, &bare, now).await
            }
            other => other,
        }
    }

    async fn send_with(&self, work: &NoticeWork, material: &Material, now: Timestamp) -> Result<String, SendError> {
        let Composed { to, mail } = self.composer.compose(work, material).map_err(|e| unsendable(&e))?;
        let notice = &work.notice;
        let reverse_path = match work.about {
            About::Fax(_) | About::Message(_) => None,
            About::Received(_) => self.returns.address(notice.id, now),
        };
        let outgoing = Outgoing {
            notice: notice.id,
            created_at: notice.created_at,
            reverse_path: reverse_path.as_ref(),
            to: &to,
            mail: &mail,
        };
        crash_point!("deliver.composed");
        self.transport.send(&outgoing).await
    }

    /// What a report carries; without its pages when they cannot be had for some time.
    async fn material(&self, work: &NoticeWork, record: &FaxRecord) -> Result<Material, SendError> {
        let mut material = Material::default();
        match self.images.mail(&record.message.raw).await {
            Ok(original) => material.original = Some(original),
            Err(error) => missing(work, "the original mail", &error)?,
        }
        let Some(document) = record.fax.document.filter(|_| self.composer.style(work) == ReportStyle::Image) else {
            return Ok(material);
        };
        match self.images.pdf(&document).await {
            Ok(pdf) if pdf.len() > FILES_BYTES_MAX => material.withheld = Some(Withheld::Size),
            Ok(pdf) => material.pdf = Some(pdf),
            Err(ImagesError::Removed { at }) => {
                return Ok(Material { withheld: Some(Withheld::Removed(at)), ..material });
            }
            Err(error) => {
                missing(work, "the PDF of the pages", &error)?;
                material.withheld = Some(Withheld::Unavailable);
            }
        }
        material.thumbnail = self.thumbnail(work, &document).await?;
        Ok(material)
    }

    /// What the mail of a received fax carries. Its pages are all there or it waits: a fax that the far end was told is
    /// received is never passed on short of a page. What retention has removed was delivered before; delivered once more,
    /// the mail says so.
    async fn received_material(&self, work: &NoticeWork, record: &ReceivedRecord) -> Result<Material, SendError> {
        let mut material = Material::default();
        let format = work.notice.format.unwrap_or_default();
        let pages: Vec<DocumentKey> = record.pages.iter().map(|page| page.document).collect();
        let Some(first) = pages.first().filter(|_| format != ReceivedFormat::Text) else { return Ok(material) };
        for (form, wanted) in [
            (Bound::Pdf, matches!(format, ReceivedFormat::Pdf | ReceivedFormat::Both)),
            (Bound::Tiff, matches!(format, ReceivedFormat::Tiff | ReceivedFormat::Both)),
        ] {
            if !wanted {
                continue;
            }
            match (form, self.images.bound(&pages, form).await) {
                (Bound::Pdf, Ok(pdf)) => material.pdf = Some(pdf),
                (Bound::Tiff, Ok(tiff)) => material.tiff = Some(tiff),
                (_, Err(ImagesError::Removed { at })) => {
                    return Ok(Material { withheld: Some(Withheld::Removed(at)), ..Material::default() });
                }
                (_, Err(error)) => {
                    let why = format!("the pages of {} cannot be read: {error}", record.received.id.short());
                    return Err(SendError::Again(why));
                }
            }
        }
        let size = |octets: &Option<Vec<u8>>| octets.as_ref().map_or(0, Vec::len);
        if material.pdf.is_some() && size(&material.pdf) + size(&material.tiff) > FILES_BYTES_MAX {
            // The same pages in another form, and much larger.
            material.tiff = None;
        }
        if size(&material.pdf) + size(&material.tiff) > FILES_BYTES_MAX {
            return Ok(Material { withheld: Some(Withheld::Size), ..Material::default() });
        }
        material.thumbnail = self.thumbnail(work, first).await?;
        Ok(material)
    }

    /// What answers a mail that is no fax.
    async fn answer_material(&self, work: &NoticeWork, message: &Message) -> Result<Material, SendError> {
        if work.notice.kind != NoticeKind::Preview {
            return Ok(Material::default());
        }
        match self.images.preview(message).await {
            Ok(mut preview) => {
                let (pdf, thumbnail) = (std::mem::take(&mut preview.pdf), std::mem::take(&mut preview.thumbnail));
                let fits = pdf.len() <= FILES_BYTES_MAX;
                Ok(Material {
                    pdf: fits.then_some(pdf),
                    thumbnail: Some(thumbnail),
                    withheld: (!fits).then_some(Withheld::Size),
                    preview: Some(Ok(preview)),
                    ..Material::default()
                })
            }
            Err(PreviewError::Final { cause, detail }) => {
                Ok(Material { preview: Some(Err(NoPreview { cause, detail })), ..Material::default() })
            }
            Err(PreviewError::Again(why)) => Err(SendError::Again(format!("the preview cannot be made now: {why}"))),
        }
    }

    async fn thumbnail(&self, work: &NoticeWork, document: &DocumentKey) -> Result<Option<Vec<u8>>, SendError> {
        match self.images.thumbnail(document, 1, THUMBNAIL_WIDTH_PX).await {
            Ok(picture) => Ok(Some(picture)),
            Err(error) => missing(work, "the picture of page 1", &error).map(|()| None),
        }
    }

    async fn write_back(&self, work: &NoticeWork, verdict: &Result<String, SendError>) -> store::Result<Step> {
        let NoticeWork { notice, token, .. } = work;
        match verdict {
            Ok(taken_by) => {
                crash_point!("deliver.taken");
                self.store.notice_sent(notice.id, *token, taken_by).await?;
                crash_point!("deliver.written-back");
                tracing::info!(notice = %notice.id, kind = %notice.kind, tries = notice.tries, %taken_by, "mail sent");
                Ok(Step::Sent)
            }
            Err(SendError::Again(why)) => {
                let not_before = self.store.now().await?.plus(wait(work));
                if not_before.since(notice.created_at) < GIVE_UP_AFTER {
                    self.store.notice_again(notice.id, *token, not_before, why).await?;
                    tracing::warn!(notice = %notice.id, tries = notice.tries, %why, %not_before, "mail not taken yet");
                    return Ok(Step::Again);
                }
                self.bury(work, &format!("given up after 5 days: {why}")).await
            }
            Err(SendError::Refused(why) | SendError::TooLarge(why)) => self.bury(work, why).await,
        }
    }

    async fn bury(&self, work: &NoticeWork, why: &str) -> store::Result<Step> {
        let (id, instead) = match &work.about {
            About::Fax(record) => (record.fax.id.short(), Instead::default()),
            About::Received(record) => (record.received.id.short(), self.instead.clone()),
            About::Message(message) => (message.id.short(), Instead::default()),
        };
        self.store.notice_dead(work.notice.id, work.token, why, &instead).await?;
        tracing::error!(notice = %work.notice.id, fax = %id, kind = %work.notice.kind, %why, "nobody takes the mail");
        Ok(Step::Dead)
    }

    async fn withdraw(&self, work: &NoticeWork, why: &str) -> store::Result<Step> {
        self.store.notice_withdrawn(work.notice.id, work.token, why).await?;
        tracing::info!(notice = %work.notice.id, kind = %work.notice.kind, why, "a mail is not sent any more");
        Ok(Step::Withdrawn)
    }
}

/// Why the notice is not to be told any more.
fn over(work: &NoticeWork) -> Option<String> {
    let About::Fax(record) = &work.about else { return None };
    let waited = work.notice.kind == NoticeKind::Delayed && record.fax.ended_at.is_some();
    waited.then(|| format!("the fax does not wait any more: it is {}", record.fax.state))
}

/// A part that cannot be had is waited for a few times, and one that retention has removed is not.
fn missing(work: &NoticeWork, what: &str, error: &ImagesError) -> Result<(), SendError> {
    if matches!(error, ImagesError::Removed { .. }) {
        return Ok(());
    }
    tracing::warn!(notice = %work.notice.id, %error, "{what} for a mail cannot be read");
    let again = SendError::Again(format!("{what} cannot be read: {error}"));
    if work.notice.tries <= TRIES_FOR_IMAGES { Err(again) } else { Ok(()) }
}

fn unsendable(error: &ComposeError) -> SendError {
    match error {
        // Our mistake or the configuration's: a later version or setting can do it.
        ComposeError::Template(_) | ComposeError::From(_) | ComposeError::Kind(_) => {
            SendError::Again(error.to_string())
        }
        ComposeError::Recipient(_) | ComposeError::MessageId(_) => SendError::Refused(error.to_string()),
    }
}

/// 1, 2, 4 … 60 minutes, perturbed by up to a tenth so that notices of one failure do not come back at one moment. The
/// notice's own id gives the perturbation, so it needs no randomness.
fn wait(work: &NoticeWork) -> Duration {
    // The store counts a try when it is claimed, so the first one is 1.
    let earlier = work.notice.tries.saturating_sub(1);
    let doubled = FIRST_WAIT.saturating_mul(1_u32 << earlier.min(16)).min(LONGEST_WAIT);
    let tenth = doubled / 10;
    let share = u32::try_from(work.notice.id.0.as_u128() % 1000).unwrap_or(0);
    doubled - tenth + tenth * 2 * share / 1000
}
