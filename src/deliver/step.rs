//! One step of the worker: claim a notice, make the mail, give it away, write back.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::compose::{ComposeError, Composed, Composer, Material, Withheld};
use super::{Images, ImagesError, Outgoing, SendError, Transport};
use crate::domain::ReportStyle;
use crate::store::{self, NoticeWork, Owner, Store, StoreError};
use crate::work::{Leases, Progress, WorkError, Worker};

/// Longer than everything that a step may wait for, so that nobody else sends the same notice meanwhile.
const LEASE: Duration = Duration::from_secs(20 * 60);
/// A step ends by then: composing, each host's time-outs and the ten minutes for the final dot.
const STEP_TIME_MAX: Duration = Duration::from_secs(18 * 60);
/// RFC 5321 §4.5.4.1: four to five days before giving up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(5 * 24 * 60 * 60);
const FIRST_WAIT: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);
/// A larger PDF is left out: relays refuse mails of that size, and the report matters more.
const PDF_BYTES_MAX: usize = 15 * 1024 * 1024;
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
            Step::Sent | Step::Again | Step::Dead => Ok(Progress::Worked),
        }
    }
}

/// Makes and sends mails.
pub struct Deliverer {
    store: Arc<dyn Store>,
    images: Arc<dyn Images>,
    composer: Composer,
    transport: Transport,
    leases: Leases,
}

impl Deliverer {
    /// With what it needs.
    pub fn new(
        store: Arc<dyn Store>,
        images: Arc<dyn Images>,
        composer: Composer,
        transport: Transport,
        leases: Leases,
    ) -> Self {
        Self { store, images, composer, transport, leases }
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
        let sent = tokio::time::timeout(STEP_TIME_MAX, self.send(&work)).await;
        let verdict = sent.unwrap_or_else(|_| Err(SendError::Again("no mail server answered in time".to_owned())));
        let step = self.write_back(&work, verdict).await;
        if let Err(StoreError::LeaseLost(row)) = &step {
            tracing::warn!(notice = %work.notice.id, %row, "somebody else owns the notice now");
        }
        step
    }

    async fn send(&self, work: &NoticeWork) -> Result<String, SendError> {
        let material = self.material(work).await?;
        match self.send_with(work, &material).await {
            Err(SendError::TooLarge(why)) if material.pdf.is_some() => {
                tracing::info!(notice = %work.notice.id, %why, "the report goes out without its pages");
                let bare =
                    Material { withheld: Some(Withheld::Size), original: material.original, ..Material::default() };
                self.send_with(work, &bare).await
            }
            other => other,
        }
    }

    async fn send_with(&self, work: &NoticeWork, material: &Material) -> Result<String, SendError> {
        let Composed { to, octets } = self.composer.compose(work, material).map_err(|e| unsendable(&e))?;
        let notice = &work.notice;
        self.transport
            .send(&Outgoing { notice: notice.id, created_at: notice.created_at, to: &to, octets: &octets })
            .await
    }

    /// What the report carries; without its pages when they cannot be had for some time.
    async fn material(&self, work: &NoticeWork) -> Result<Material, SendError> {
        let patience = work.notice.tries <= TRIES_FOR_IMAGES;
        let missing = |what: &str, error: &ImagesError| {
            tracing::warn!(notice = %work.notice.id, %error, "{what} for a report cannot be read");
            let again = SendError::Again(format!("{what} cannot be read: {error}"));
            if patience { Err(again) } else { Ok(()) }
        };
        let mut material = Material::default();
        match self.images.mail(&work.record.message.raw).await {
            Ok(original) => material.original = Some(original),
            Err(error) => missing("the original mail", &error)?,
        }
        let Some(document) = work.record.fax.document.filter(|_| self.composer.style(work) == ReportStyle::Image)
        else {
            return Ok(material);
        };
        match self.images.pdf(&document).await {
            Ok(pdf) if pdf.len() > PDF_BYTES_MAX => material.withheld = Some(Withheld::Size),
            Ok(pdf) => material.pdf = Some(pdf),
            Err(error) => {
                missing("the PDF of the pages", &error)?;
                material.withheld = Some(Withheld::Unavailable);
            }
        }
        match self.images.thumbnail(&document, 1, THUMBNAIL_WIDTH_PX).await {
            Ok(picture) => material.thumbnail = Some(picture),
            Err(error) => missing("the picture of page 1", &error)?,
        }
        Ok(material)
    }

    async fn write_back(&self, work: &NoticeWork, verdict: Result<String, SendError>) -> store::Result<Step> {
        let NoticeWork { notice, token, .. } = work;
        match verdict {
            Ok(taken_by) => {
                self.store.notice_sent(notice.id, *token, &taken_by).await?;
                tracing::info!(notice = %notice.id, kind = %notice.kind, tries = notice.tries, %taken_by, "report sent");
                Ok(Step::Sent)
            }
            Err(SendError::Again(why)) => {
                let not_before = self.store.now().await?.plus(wait(work));
                if not_before.since(notice.created_at) < GIVE_UP_AFTER {
                    self.store.notice_again(notice.id, *token, not_before, &why).await?;
                    tracing::warn!(notice = %notice.id, tries = notice.tries, %why, %not_before, "report not taken yet");
                    return Ok(Step::Again);
                }
                self.bury(work, &format!("given up after 5 days: {why}")).await
            }
            Err(SendError::Refused(why) | SendError::TooLarge(why)) => self.bury(work, &why).await,
        }
    }

    async fn bury(&self, work: &NoticeWork, why: &str) -> store::Result<Step> {
        self.store.notice_dead(work.notice.id, work.token, why).await?;
        tracing::error!(notice = %work.notice.id, fax = %work.record.fax.id, %why, "nobody takes the report");
        Ok(Step::Dead)
    }
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
