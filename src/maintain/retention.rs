//! Retention: what is over for long enough goes, a little at a time, every hour.
//!
//! One run has four parts, each in steps that hold nobody up:
//!
//! | part | what goes | after |
//! |---|---|---|
//! | prune | bytes of mails and pages; later messages, faxes and received faxes | `store.retain` |
//! | mark | nothing: documents that no row names get a time | |
//! | sweep | rows of documents that nobody has named since they were marked | a day |
//! | files | files that no row needs, and what crashes left of puts | a day since the last put, an hour |
//!
//! Rows go before files. A crash anywhere leaves files that the next run finds, never a row without its file. A failure
//! (a full disk, a store that is away) ends the step; the next one goes on where it was.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config::RetainConfig;
use crate::documents::{Documents, DocumentsError};
use crate::domain::Timestamp;
use crate::store::{DocumentKey, PruneRules, Pruned, Store};
use crate::work::{Progress, WorkError, Worker};

/// How often a run begins.
pub const PERIOD: Duration = Duration::from_secs(3600);
/// From the last put of a file, or from the last row that named it, until it may go: far longer than any transaction.
pub const FILES_WAIT: Duration = Duration::from_secs(24 * 3600);
/// From the beginning of a put until what is left of it is a crash's.
pub const UNFINISHED_WAIT: Duration = Duration::from_secs(3600);
/// Messages, received faxes or documents in one transaction: some ten milliseconds.
const PRUNED_AT_ONCE: u32 = 100;
/// Documents looked at in one transaction.
const MARKED_AT_ONCE: u32 = 1000;
/// Files asked about at once.
const FILES_AT_ONCE: usize = 500;

/// What a run has done so far, or did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tidied {
    /// Rows that went.
    #[serde(flatten)]
    pub pruned: Pruned,
    /// Documents whose rows were forgotten.
    pub forgotten: u64,
    /// Files that went.
    pub files: u64,
    /// Their octets.
    pub size_bytes: u64,
    /// Whether the run is over; else the next call goes on with it.
    pub done: bool,
}

/// What retention knows of the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// Documents that have their bytes, when they were last counted.
    pub documents: u64,
    /// Their octets.
    pub size_bytes: u64,
    /// When the last run ended.
    pub last_run: Option<Timestamp>,
}

/// Where a run is.
#[derive(Debug, Clone, Copy, Default)]
enum Part {
    #[default]
    Prune,
    Mark(Option<DocumentKey>),
    Sweep,
    Files(u8),
}

#[derive(Debug, Default)]
struct Run {
    part: Part,
    tidied: Tidied,
    counted: Kept,
    kept: Kept,
}

/// Carries out `store.retain`.
pub struct Retention {
    store: Arc<dyn Store>,
    documents: Documents,
    retain: RetainConfig,
    run: Mutex<Run>,
}

impl Retention {
    /// Nothing is removed yet.
    pub fn new(store: Arc<dyn Store>, documents: Documents, retain: RetainConfig) -> Self {
        Self { store, documents, retain, run: Mutex::default() }
    }

    /// Goes on with the run that is under way, or begins one, for about this long. The answer counts the whole run.
    pub async fn run_for(&self, time: Duration) -> Result<Tidied, WorkError> {
        let until = Instant::now() + time;
        loop {
            let tidied = self.step().await?;
            if tidied.done || Instant::now() >= until {
                return Ok(tidied);
            }
        }
    }

    /// What a run would remove now, at most this many of each kind.
    pub async fn prunable(&self, limit: u32) -> Result<Pruned, WorkError> {
        let rules = PruneRules { limit, ..self.rules(self.store.now().await?) };
        Ok(self.store.prunable(rules).await?)
    }

    /// What the last run counted.
    pub async fn kept(&self) -> Kept {
        self.run.lock().await.kept
    }

    fn rules(&self, now: Timestamp) -> PruneRules {
        PruneRules {
            images_before: before(now, self.retain.images),
            records_before: before(now, self.retain.records.max(self.retain.images)),
            limit: PRUNED_AT_ONCE,
        }
    }

    /// One step of the run.
    async fn step(&self) -> Result<Tidied, WorkError> {
        let mut run = self.run.lock().await;
        let now = self.store.now().await?;
        let next = match run.part {
            Part::Prune => self.prune(&mut run, now).await?,
            Part::Mark(after) => self.mark(&mut run, after).await?,
            Part::Sweep => self.sweep(&mut run, now).await?,
            Part::Files(folder) => self.files(&mut run, folder, now).await?,
        };
        match next {
            Some(part) => {
                run.part = part;
                Ok(run.tidied.clone())
            }
            None => Ok(finish(&mut run, now)),
        }
    }

    async fn prune(&self, run: &mut Run, now: Timestamp) -> Result<Option<Part>, WorkError> {
        let pruned = self.store.prune(self.rules(now)).await?;
        let sum = &mut run.tidied.pruned;
        sum.documents += pruned.documents;
        sum.messages += pruned.messages;
        sum.received += pruned.received;
        sum.held = pruned.held;
        let part = if pruned.is_nothing() { Part::Mark(None) } else { Part::Prune };
        self.remove(run, &pruned.gone, now).await?;
        Ok(Some(part))
    }

    async fn mark(&self, run: &mut Run, after: Option<DocumentKey>) -> Result<Option<Part>, WorkError> {
        let marked = self.store.mark_unreferenced(after, MARKED_AT_ONCE, FILES_WAIT).await?;
        run.counted.documents += marked.documents;
        run.counted.size_bytes += marked.size_bytes;
        Ok(Some(marked.next.map_or(Part::Sweep, |next| Part::Mark(Some(next)))))
    }

    async fn sweep(&self, run: &mut Run, now: Timestamp) -> Result<Option<Part>, WorkError> {
        let swept = self.store.sweep_documents(PRUNED_AT_ONCE).await?;
        run.tidied.forgotten += swept.len() as u64;
        let part = if swept.is_empty() { Part::Files(0) } else { Part::Sweep };
        self.remove(run, &swept, now).await?;
        Ok(Some(part))
    }

    /// One folder of the repository: what an earlier life did not come to remove, and puts that nobody named.
    async fn files(&self, run: &mut Run, folder: u8, now: Timestamp) -> Result<Option<Part>, WorkError> {
        let (old, unfinished) = (file_time(now, FILES_WAIT), file_time(now, UNFINISHED_WAIT));
        let listed = self.documents.list_old(folder, old, unfinished).await.map_err(failed)?;
        for keys in listed.old.chunks(FILES_AT_ONCE) {
            let needed = self.store.needed_documents(keys).await?;
            let orphans: Vec<DocumentKey> = keys.iter().filter(|key| !needed.contains(key)).copied().collect();
            self.remove(run, &orphans, now).await?;
        }
        let removed = self.documents.remove_unfinished(listed.unfinished, unfinished).await.map_err(failed)?;
        run.tidied.files += removed.files;
        run.tidied.size_bytes += removed.size_bytes;
        Ok(folder.checked_add(1).map(Part::Files))
    }

    async fn remove(&self, run: &mut Run, keys: &[DocumentKey], now: Timestamp) -> Result<(), WorkError> {
        let removed = self.documents.remove(keys, file_time(now, FILES_WAIT)).await.map_err(failed)?;
        run.tidied.files += removed.files;
        run.tidied.size_bytes += removed.size_bytes;
        Ok(())
    }
}

/// Closes the run: the next step begins another.
fn finish(run: &mut Run, now: Timestamp) -> Tidied {
    let tidied = Tidied { done: true, ..std::mem::take(&mut run.tidied) };
    run.kept = Kept { last_run: Some(now), ..std::mem::take(&mut run.counted) };
    run.part = Part::Prune;
    if !tidied.pruned.is_nothing() || tidied.files > 0 {
        tracing::info!(
            documents = tidied.pruned.documents,
            messages = tidied.pruned.messages,
            received = tidied.pruned.received,
            held = tidied.pruned.held,
            files = tidied.files,
            size_bytes = tidied.size_bytes,
            "retention has removed what was over"
        );
    }
    tidied
}

fn failed(error: DocumentsError) -> WorkError {
    WorkError::Other(error.to_string())
}

fn before(now: Timestamp, wait: Duration) -> Timestamp {
    Timestamp(now.0.saturating_sub(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)))
}

/// Files carry the machine's time; where the store runs elsewhere the clocks may differ by far less than the waits.
pub fn file_time(now: Timestamp, wait: Duration) -> SystemTime {
    let since_epoch = Duration::from_millis(u64::try_from(before(now, wait).0).unwrap_or(0));
    SystemTime::UNIX_EPOCH + since_epoch
}

/// Retention as a worker: a run, then a pause.
pub struct Tidying(pub Arc<Retention>);

#[async_trait]
impl Worker for Tidying {
    async fn step(&mut self) -> Result<Progress, WorkError> {
        let tidied = self.0.step().await?;
        Ok(if tidied.done { Progress::Idle } else { Progress::Worked })
    }
}

#[cfg(test)]
mod tests;
