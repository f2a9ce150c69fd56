//! What the console asks of maintenance: retention now, figures, a copy for a backup.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::exit::{Exit, Failed};
use super::stages::Parts;
use crate::config::Config;
use crate::console::view::{CopyView, PruneView, SealingView, StorageView};
use crate::console::{Storage, StoreCopy};
use crate::documents::{Documents, DocumentsError, KeyRing, Progress};
use crate::maintain::backup;
use crate::maintain::retention::{PERIOD, Pause, Retention, Tidied};
use crate::store::{DocumentKey, Store};

/// How long one request may prune: far less than a command waits for an answer.
const PRUNE_TIME: Duration = Duration::from_secs(3);
/// What a preview of retention counts of each kind at most.
const PREVIEW_MAX: u32 = 100_000;
/// Where copies of the store lie while somebody reads them, below the data directory.
const COPIES: &str = "copies";

/// The store and its care.
pub(super) struct Stored {
    config: Arc<Config>,
    store: Arc<dyn Store>,
    documents: Documents,
    retention: Arc<Retention>,
}

impl Stored {
    pub(super) fn new(parts: &Parts) -> Self {
        Self {
            config: Arc::clone(&parts.config),
            store: Arc::clone(&parts.store),
            documents: parts.documents.clone(),
            retention: Arc::clone(&parts.retention),
        }
    }
}

impl Stored {
    /// Octets of the file, or what PostgreSQL says of its database; 0 when neither can be asked.
    async fn database_bytes(&self) -> u64 {
        match self.config.store.database.file() {
            Some(file) => std::fs::metadata(file).map_or(0, |meta| meta.len()),
            None => self.store.health().await.ok().and_then(|health| health.size_bytes).unwrap_or(0),
        }
    }
}

fn view(tidied: &Tidied) -> PruneView {
    let pruned = &tidied.pruned;
    PruneView {
        documents: pruned.documents,
        messages: pruned.messages,
        received: pruned.received,
        held: pruned.held,
        files: tidied.files,
        size_bytes: tidied.size_bytes,
        done: tidied.done,
    }
}

#[async_trait]
impl Storage for Stored {
    async fn prune(&self) -> Result<PruneView, String> {
        self.retention.run_for(PRUNE_TIME).await.map(|tidied| view(&tidied)).map_err(|error| error.to_string())
    }

    async fn prunable(&self) -> Result<PruneView, String> {
        let pruned = self.retention.prunable(PREVIEW_MAX).await.map_err(|error| error.to_string())?;
        Ok(view(&Tidied { pruned, done: true, ..Tidied::default() }))
    }

    async fn state(&self) -> StorageView {
        let kept = self.retention.kept().await;
        let known = kept.last_run.is_some();
        StorageView {
            database_bytes: self.database_bytes().await,
            documents: known.then_some(kept.documents),
            documents_bytes: known.then_some(kept.size_bytes),
            oldest: self.store.oldest_message().await.ok().flatten().map(|at| at.to_string()),
            last_prune: kept.last_run.map(|at| at.to_string()),
            next_prune: kept.last_run.map(|at| at.plus(PERIOD).to_string()),
        }
    }

    async fn rewrap(&self, after: Option<DocumentKey>) -> Result<SealingView, String> {
        self.documents.rewrap_some(after).await.map(sealing).map_err(|error| error.to_string())
    }

    async fn seal(&self, after: Option<DocumentKey>) -> Result<SealingView, String> {
        self.documents.seal_some(after).await.map(sealing).map_err(|error| error.to_string())
    }

    async fn copy(&self) -> Result<StoreCopy, String> {
        // First, so that whatever the copy names stays.
        let kept = self.retention.pause().await.map_err(|error| error.to_string())?;
        let folder = self.config.data.join(COPIES);
        std::fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        let copy = Copy { path: folder.join(format!("{}.db", uuid::Uuid::new_v4())), _kept: kept };
        let taken_at = self.store.now().await.map_err(|error| error.to_string())?;
        self.store.backup_to(&copy.path).await.map_err(|error| error.to_string())?;
        let view = CopyView {
            store: absolute(&copy.path),
            documents: self.documents.repository().directory().map(absolute),
            keys: self.config.store.keys.as_deref().map(absolute),
            node: self.config.node.clone(),
            taken_at,
        };
        Ok(StoreCopy { view, keep: Box::new(copy) })
    }
}

fn sealing(progress: Progress) -> SealingView {
    SealingView { done: progress.done, damaged: progress.damaged, next: progress.next.map(|key| key.to_string()) }
}

/// The keys of this file; none when none is named.
pub(super) fn read_keys(file: Option<&Path>) -> Result<Option<Arc<KeyRing>>, DocumentsError> {
    file.map(|file| KeyRing::read(file).map(Arc::new)).transpose()
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// A copy that goes when nobody reads it any more.
struct Copy {
    path: PathBuf,
    _kept: Pause,
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Removes the copies that an earlier life did not come to remove.
pub(super) fn remove_copies(data: &Path) {
    let _ = std::fs::remove_dir_all(data.join(COPIES));
}

/// A directory that a restore did not finish is nobody's store yet.
pub(super) fn refuse_half_restored(data: &Path) -> Result<(), Failed> {
    if !data.join(backup::RESTORING).exists() {
        return Ok(());
    }
    let message = format!("a restore into {} was not finished", data.display());
    let fix = "run it again: faxwell restore BACKUP --data DIR";
    Err(Failed::new(Exit::WrongState, message, "it was cut off, or is still under way", fix))
}
