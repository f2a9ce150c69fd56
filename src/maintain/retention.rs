//! Retention: what is over for long enough goes, a little at a time, every hour.
//!
//! One run has four parts, each in steps that hold nobody up:
//!
//! | part | what goes | after |
//! |---|---|---|
//! | prune | bytes of mails and pages; later messages, faxes and received faxes | `store.retain` |
//! | mark | nothing: documents that no row names get a time | |
//! | sweep | rows of documents that nobody has named since they were marked | a day |
//! | files | objects that no row needs, and what crashes left of puts | a day since the last put, an hour |
//!
//! Rows go before files. A crash anywhere leaves files that the next run finds, never a row without its file. A failure
//! (a full disk, a store that is away) ends the step; the next one goes on where it was.
//!
//! One node at a time has the duty of it, by a lease in the store. Two that have it for a moment do no harm: only what is a
//! day old goes, and a row goes once. A backup takes the duty too ([`Retention::pause`]), so that nothing it names goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config::RetainConfig;
use crate::documents::{Documents, DocumentsError, OBJECTS_WAIT};
use crate::domain::Timestamp;
use crate::store::{DocumentKey, ObjectName, Owner, PruneRules, Pruned, Store};
use crate::work::{Progress, WorkError, Worker};

/// How often a run begins.
pub const PERIOD: Duration = Duration::from_secs(3600);
/// From the beginning of a put until what is left of it is a crash's.
pub const UNFINISHED_WAIT: Duration = Duration::from_secs(3600);
/// Messages, received faxes or documents in one transaction: some ten milliseconds.
const PRUNED_AT_ONCE: u32 = 100;
/// Documents looked at in one transaction.
const MARKED_AT_ONCE: u32 = 1000;
/// Files asked about at once.
const FILES_AT_ONCE: usize = 500;

/// What the duty is called in the store.
const DUTY: &str = "retention";
/// How long a node has the duty without saying so again.
const DUTY_LEASE: Duration = Duration::from_secs(120);
/// How often it says so.
const DUTY_RENEWAL: Duration = Duration::from_secs(30);
/// How long a backup waits for the node that has the duty: one that is dead loses it meanwhile.
const DUTY_WAIT: Duration = Duration::from_secs(150);
/// From one look to the next.
const DUTY_POLL: Duration = Duration::from_secs(1);

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
#[derive(Debug, Clone, Default)]
enum Part {
    #[default]
    Prune,
    Mark(Option<DocumentKey>),
    Sweep,
    /// A folder, and where in it.
    Files(u8, Option<String>),
}

#[derive(Debug, Default)]
struct Run {
    part: Part,
    tidied: Tidied,
    counted: Kept,
    kept: Kept,
    /// When the duty was taken or extended last.
    on_duty_since: Option<Instant>,
}

/// As long as it lives nothing is removed, on no node.
#[must_use = "everything stays as long as this lives"]
pub struct Pause {
    pauses: Arc<AtomicUsize>,
    renewing: tokio::task::JoinHandle<()>,
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.renewing.abort();
        // The lease that is left goes to this node's next run, or runs out.
        self.pauses.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Carries out `store.retain`.
pub struct Retention {
    store: Arc<dyn Store>,
    documents: Documents,
    retain: RetainConfig,
    owner: Owner,
    run: Mutex<Run>,
    pauses: Arc<AtomicUsize>,
}

impl Retention {
    /// Nothing is removed yet.
    pub fn new(store: Arc<dyn Store>, documents: Documents, retain: RetainConfig, owner: Owner) -> Self {
        Self { store, documents, retain, owner, run: Mutex::default(), pauses: Arc::default() }
    }

    /// Goes on with the run that is under way, or begins one, for about this long. The answer counts the whole run.
    pub async fn run_for(&self, time: Duration) -> Result<Tidied, WorkError> {
        let until = Instant::now() + time;
        loop {
            let Some(tidied) = self.step().await? else {
                let why = "a backup is being taken, or another node removes what is over just now";
                return Err(WorkError::Other(format!("{why}; fix: try again when it is done")));
            };
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

    /// Keeps every document until the answer is dropped: a copy of the store names documents that retention may let go.
    /// Waits for a node that removes something just now.
    pub async fn pause(&self) -> Result<Pause, WorkError> {
        self.pauses.fetch_add(1, Ordering::SeqCst);
        let (store, owner) = (Arc::clone(&self.store), self.owner.clone());
        let renewing = tokio::spawn(async move {
            loop {
                tokio::time::sleep(DUTY_RENEWAL).await;
                match store.take_duty(&owner, DUTY, DUTY_LEASE).await {
                    Ok(true) => {}
                    Ok(false) => tracing::error!("another node removes documents while a backup is taken here"),
                    Err(error) => tracing::warn!(%error, "the duty of retention cannot be extended for a backup"),
                }
            }
        });
        let pause = Pause { pauses: Arc::clone(&self.pauses), renewing };
        // A step that is under way ends first.
        drop(self.run.lock().await);
        let until = Instant::now() + DUTY_WAIT;
        while !self.store.take_duty(&self.owner, DUTY, DUTY_LEASE).await? {
            if Instant::now() >= until {
                let why = "another node removes what is over, or takes a backup";
                return Err(WorkError::Other(format!("{why}; fix: try again when it is done")));
            }
            tokio::time::sleep(DUTY_POLL).await;
        }
        Ok(pause)
    }

    /// Whether this node may remove something now.
    async fn is_on_duty(&self, run: &mut Run) -> Result<bool, WorkError> {
        if self.pauses.load(Ordering::SeqCst) > 0 {
            run.on_duty_since = None;
            return Ok(false);
        }
        if run.on_duty_since.is_some_and(|at| at.elapsed() < DUTY_RENEWAL) {
            return Ok(true);
        }
        let asked = Instant::now();
        let taken = self.store.take_duty(&self.owner, DUTY, DUTY_LEASE).await?;
        run.on_duty_since = taken.then_some(asked);
        Ok(taken)
    }

    fn rules(&self, now: Timestamp) -> PruneRules {
        PruneRules {
            images_before: now.minus(self.retain.images),
            records_before: now.minus(self.retain.records.max(self.retain.images)),
            limit: PRUNED_AT_ONCE,
        }
    }

    /// One step of the run; none while it is another node's duty, or a backup is taken.
    async fn step(&self) -> Result<Option<Tidied>, WorkError> {
        let mut run = self.run.lock().await;
        if !self.is_on_duty(&mut run).await? {
            return Ok(None);
        }
        let now = self.store.now().await?;
        let next = match run.part.clone() {
            Part::Prune => self.prune(&mut run, now).await?,
            Part::Mark(after) => self.mark(&mut run, after).await?,
            Part::Sweep => self.sweep(&mut run, now).await?,
            Part::Files(folder, after) => self.files(&mut run, folder, after, now).await?,
        };
        match next {
            Some(part) => {
                run.part = part;
                Ok(Some(run.tidied.clone()))
            }
            None => {
                run.on_duty_since = None;
                self.store.give_duty_back(&self.owner, DUTY).await?;
                Ok(Some(finish(&mut run, now)))
            }
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
        let marked = self.store.mark_unreferenced(after, MARKED_AT_ONCE, OBJECTS_WAIT).await?;
        run.counted.documents += marked.documents;
        run.counted.size_bytes += marked.size_bytes;
        Ok(Some(marked.next.map_or(Part::Sweep, |next| Part::Mark(Some(next)))))
    }

    async fn sweep(&self, run: &mut Run, now: Timestamp) -> Result<Option<Part>, WorkError> {
        let swept = self.store.sweep_documents(PRUNED_AT_ONCE).await?;
        run.tidied.forgotten += swept.len() as u64;
        let part = if swept.is_empty() { Part::Files(0, None) } else { Part::Sweep };
        self.remove(run, &swept, now).await?;
        Ok(Some(part))
    }

    /// One folder of the repository: what an earlier life did not come to remove, and puts that nobody named.
    async fn files(
        &self,
        run: &mut Run,
        folder: u8,
        after: Option<String>,
        now: Timestamp,
    ) -> Result<Option<Part>, WorkError> {
        let repository = self.documents.repository();
        let (old, unfinished) = (now.minus(OBJECTS_WAIT).to_system(), now.minus(UNFINISHED_WAIT).to_system());
        let listed = repository.list_old(folder, after.as_deref(), old, unfinished).await.map_err(failed)?;
        for names in listed.old.chunks(FILES_AT_ONCE) {
            let needed = self.store.needed_objects(names).await?;
            let orphans: Vec<ObjectName> = names.iter().filter(|name| !needed.contains(name)).copied().collect();
            self.remove(run, &orphans, now).await?;
        }
        let removed = repository.tidy(listed.unfinished, unfinished).await.map_err(failed)?;
        run.tidied.files += removed.files;
        run.tidied.size_bytes += removed.size_bytes;
        Ok(match listed.next {
            Some(next) => Some(Part::Files(folder, Some(next))),
            None => folder.checked_add(1).map(|folder| Part::Files(folder, None)),
        })
    }

    async fn remove(&self, run: &mut Run, names: &[ObjectName], now: Timestamp) -> Result<(), WorkError> {
        let since = now.minus(OBJECTS_WAIT).to_system();
        let removed = self.documents.repository().remove(names, since).await.map_err(failed)?;
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

/// Retention as a worker: a run, then a pause.
pub struct Tidying(pub Arc<Retention>);

#[async_trait]
impl Worker for Tidying {
    async fn step(&mut self) -> Result<Progress, WorkError> {
        let tidied = self.0.step().await?;
        Ok(if tidied.is_none_or(|tidied| tidied.done) { Progress::Idle } else { Progress::Worked })
    }
}

#[cfg(test)]
mod tests;
