//! The last mails that this process has accepted, kept for a while in case the store loses them.
//!
//! A store that fails over to a copy, or that somebody restores from a backup, can go back in time: messages that it had
//! confirmed are gone, and nobody but the listener that said 250 knows of them. So each accepted submission is kept here,
//! within limits of count, octets and age. [`watch`] asks the store for them every half minute, and at once when it
//! answers again after it was away; what is missing is submitted again under the same ids.
//!
//! Failure: a store that does not answer is asked again later. A mail that cannot be submitted again is told as an error.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{Intake, masked_address};
use crate::domain::MessageId;
use crate::fault;
use crate::store::{NewFax, NewMessage, StoreError, SubmitLimits, Submitted};
use crate::work::{self, Hint, Pace, Progress, WorkError, Worker};

/// How often the store is asked whether it still has what it confirmed.
const ASK_EVERY: Duration = Duration::from_secs(30);

/// How much is kept; the oldest goes first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RingLimits {
    /// Submissions.
    pub(crate) count: usize,
    /// What they take in memory, about.
    pub(crate) size_bytes: usize,
    /// A store that loses more than its last minutes has lost more than a listener can repair.
    pub(crate) age: Duration,
}

impl Default for RingLimits {
    fn default() -> Self {
        Self { count: 4096, size_bytes: 64 << 20, age: Duration::from_secs(600) }
    }
}

/// Accepted submissions, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    limits: RingLimits,
    kept: Mutex<Kept>,
    /// The store was away when it was asked last.
    away: AtomicBool,
    hint: Hint,
}

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Entry>,
    size_bytes: usize,
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    size_bytes: usize,
    message: Arc<NewMessage>,
}

impl Ring {
    /// Keeps what the store has confirmed just now.
    pub(crate) fn keep(&self, message: NewMessage, now: Instant) {
        if fault::is_on("no-ring") {
            return;
        }
        let size_bytes = size_bytes(&message);
        let mut kept = self.lock();
        kept.size_bytes += size_bytes;
        kept.entries.push_back(Entry { at: now, size_bytes, message: Arc::new(message) });
        self.trim(&mut kept, now);
        drop(kept);
        if self.away.swap(false, Ordering::Relaxed) {
            self.hint.wake();
        }
    }

    /// The store was away: when it is back, it is asked at once.
    pub(crate) fn store_away(&self) {
        self.away.store(true, Ordering::Relaxed);
    }

    fn all(&self, now: Instant) -> Vec<Arc<NewMessage>> {
        let mut kept = self.lock();
        self.trim(&mut kept, now);
        kept.entries.iter().map(|entry| Arc::clone(&entry.message)).collect()
    }

    fn forget(&self, id: MessageId) {
        let mut kept = self.lock();
        if let Some(at) = kept.entries.iter().position(|entry| entry.message.id == id)
            && let Some(entry) = kept.entries.remove(at)
        {
            kept.size_bytes -= entry.size_bytes;
        }
    }

    fn trim(&self, kept: &mut Kept, now: Instant) {
        let RingLimits { count, size_bytes, age } = self.limits;
        while let Some(oldest) = kept.entries.front()
            && (kept.entries.len() > count || kept.size_bytes > size_bytes || oldest.at + age <= now)
        {
            kept.size_bytes -= oldest.size_bytes;
            kept.entries.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Whoever panicked in between left a whole ring.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// About what a submission takes in memory: its inline document and its recipients are what can be large.
fn size_bytes(message: &NewMessage) -> usize {
    let texts = |fax: &NewFax| {
        let optional = [&fax.post_dial, &fax.to_name, &fax.to_company, &fax.original_recipient];
        fax.recipient.len() + optional.into_iter().flatten().map(String::len).sum::<usize>()
    };
    let faxes: usize = message.faxes.iter().map(|fax| size_of::<NewFax>() + texts(fax)).sum();
    size_of::<NewMessage>() + message.raw.placement.inline.as_ref().map_or(0, Vec::len) + message.subject.len() + faxes
}

/// Watches over the accepted mails until `shutdown`.
pub async fn watch(intake: Arc<Intake>, random: fastrand::Rng, shutdown: CancellationToken) {
    let pace = Pace { poll: ASK_EVERY, ..Pace::new(random) };
    let hint = intake.ring.hint.clone();
    work::run("accepted mails", Watch(intake), pace, hint, shutdown).await;
}

struct Watch(Arc<Intake>);

#[async_trait]
impl Worker for Watch {
    async fn step(&mut self) -> Result<Progress, WorkError> {
        restore(&self.0, Instant::now()).await?;
        Ok(Progress::Idle)
    }
}

/// Asks the store for everything that is kept and submits again what is missing. Answers how many.
pub(crate) async fn restore(intake: &Intake, now: Instant) -> Result<usize, StoreError> {
    let kept = intake.ring.all(now);
    if kept.is_empty() {
        return Ok(0);
    }
    let ids: Vec<MessageId> = kept.iter().map(|message| message.id).collect();
    let missing = intake.store.missing(&ids).await?;
    for id in &missing {
        if let Some(message) = kept.iter().find(|message| message.id == *id) {
            again(intake, message).await?;
        }
    }
    if !missing.is_empty() {
        intake.accepted.notify_one();
    }
    Ok(missing.len())
}

async fn again(intake: &Intake, message: &NewMessage) -> Result<(), StoreError> {
    let (id, client) = (message.id.short(), &message.client);
    let sender = masked_address(message.reverse_path.as_deref());
    // Submitted all the same: its faxes then end with a report that says that the mail is damaged, and none is lost.
    match intake.documents.keeps(&message.raw).await {
        Ok(true) => {}
        Ok(false) => error!(
            %id, client, %sender, document = %message.raw.key,
            "a mail that was accepted is gone from the documents; fix: restore the documents from a backup"
        ),
        Err(error) => return Err(StoreError::Unavailable(error.to_string())),
    }
    let mut message = message.clone();
    if let Some(submitter) = &mut message.submitter {
        // It was within its limits when it was accepted.
        submitter.limits = SubmitLimits::default();
    }
    match intake.store.submit(message.clone()).await {
        Ok(Submitted::Accepted { .. }) => {
            warn!(%id, client, %sender, "the store had lost a mail that it had confirmed; it is stored again");
        }
        Ok(Submitted::Duplicate { message: other }) => {
            // The client sent it once more after the store had lost it.
            warn!(%id, other = %other.short(), client, %sender, "the store had lost a mail, and it came again meanwhile");
            intake.ring.forget(message.id);
        }
        Ok(refused @ (Submitted::OverLimit(_) | Submitted::Replayed { .. })) => {
            error!(
                %id, client, %sender, ?refused,
                "a mail that was accepted is gone from the store and its signature was used since; fix: let its sender send it again"
            );
            intake.ring.forget(message.id);
        }
        Err(error @ StoreError::Unavailable(_)) => return Err(error),
        Err(error) => {
            error!(
                %id, client, %sender, %error,
                "a mail that was accepted is gone from the store and cannot be stored again; fix: let its sender send it again"
            );
            intake.ring.forget(message.id);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing;

    fn ring(limits: RingLimits) -> Ring {
        Ring { limits, ..Ring::default() }
    }

    fn ids(ring: &Ring, now: Instant) -> Vec<MessageId> {
        ring.all(now).iter().map(|message| message.id).collect()
    }

    #[tokio::test]
    async fn the_oldest_go_when_there_are_too_many() {
        let (ring, now) = (ring(RingLimits { count: 2, ..RingLimits::default() }), Instant::now());
        let messages = [(); 3].map(|()| testing::message(&["+99910200"]));
        let expected = [messages[1].id, messages[2].id];
        messages.into_iter().for_each(|message| ring.keep(message, now));
        assert_eq!(ids(&ring, now), expected);
    }

    #[tokio::test]
    async fn the_oldest_go_when_they_are_too_large_with_their_recipients() {
        let (many, small) = (testing::message(&["+99910200"; 500]), testing::message(&["+99910200"]));
        let size = size_bytes(&many);
        assert!(size > 500 * size_bytes(&small) / 5, "{size}");
        let (ring, now) = (ring(RingLimits { size_bytes: size, ..RingLimits::default() }), Instant::now());
        let expected = small.id;
        ring.keep(many, now);
        assert_eq!(ids(&ring, now).len(), 1);
        ring.keep(small, now);
        assert_eq!(ids(&ring, now), [expected]);
        assert!(ring.lock().size_bytes < size / 100, "its size is forgotten with it");
    }

    #[tokio::test]
    async fn the_oldest_go_when_their_time_is_over() {
        let (ring, now) = (Ring::default(), Instant::now());
        let age = ring.limits.age;
        ring.keep(testing::message(&["+99910200"]), now);
        assert_eq!(ids(&ring, now + age - Duration::from_millis(1)).len(), 1);
        assert_eq!(ids(&ring, now + age), []);
        assert_eq!(ring.lock().size_bytes, 0);
    }
}
