//! The audit: rows and documents against one another, and the store against its own rules.
//!
//! It looks at the files alone, read-only, so that it works beside a running gateway and on a stopped one. What a running
//! gateway is doing just then is not damage: a file that is young may be about to be named, and whatever looks wrong is
//! looked at once more, since a row may have changed in between.

use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::retention::{FILES_WAIT, PERIOD, UNFINISHED_WAIT, file_time};
use crate::documents::{FOLDERS, list, path_in};
use crate::domain::Timestamp;
use crate::store::{DocumentKey, DocumentRow, Inspection, Result, StoreError, StoredDocument};

/// Rows read at once: with 16 KiB inline at most, 8 MiB.
const ROWS_AT_ONCE: u32 = 500;
/// Findings that are kept; beyond that more of them tell nothing new.
const FINDINGS_MAX: usize = 1000;

/// What lies where.
#[derive(Debug, Clone)]
pub struct Place {
    /// The store's file.
    pub database: PathBuf,
    /// The directory of documents.
    pub documents: PathBuf,
}

/// How far it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Rows, and that files are there with their lengths.
    Lengths,
    /// The bytes of every document against their hash too.
    Bytes,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// As in `missing-file`.
    pub kind: &'static str,
    /// Which document, fax or file.
    pub what: String,
    /// What is wrong.
    pub cause: String,
    /// What to do.
    pub fix: &'static str,
    /// Whether anything is lost; else it is only untidy.
    pub damage: bool,
}

/// What the audit saw.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Verdict {
    /// Documents that have their bytes.
    pub documents: u64,
    /// Their octets.
    pub size_bytes: u64,
    /// Documents whose bytes retention removed.
    pub pruned: u64,
    /// How many things are not as they should be.
    pub found: u64,
    /// How many of them are damage.
    pub damaged: u64,
    /// The first thousand of them.
    pub findings: Vec<Finding>,
}

impl Verdict {
    fn find(&mut self, finding: Finding) {
        self.found += 1;
        self.damaged += u64::from(finding.damage);
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}

const FROM_BACKUP: &str = "restore it from a backup: faxwell restore BACKUP --data DIR, then take the file from there";
const STORE_FROM_BACKUP: &str = "stop the gateway and restore the last backup whose db verify is clean";

/// Looks at everything. `now` is the machine's time, which the ages of files are told by.
pub async fn verify(place: &Place, depth: Depth, now: Timestamp) -> Result<Verdict> {
    let mut store = Inspection::open(&place.database).await?;
    let mut verdict = Verdict::default();
    for broken in store.broken().await? {
        let (what, cause, fix) = (broken.what, broken.cause.to_owned(), STORE_FROM_BACKUP);
        verdict.find(Finding { kind: broken.rule, what, cause, fix, damage: true });
    }
    rows(place, depth, &mut store, &mut verdict).await?;
    files(place, now, &mut store, &mut verdict).await?;
    store.close().await;
    Ok(verdict)
}

/// Every row that has its bytes has them.
async fn rows(place: &Place, depth: Depth, store: &mut Inspection, verdict: &mut Verdict) -> Result<()> {
    let mut after = None;
    loop {
        let rows = store.document_rows(after, ROWS_AT_ONCE).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = Some(last.key);
        verdict.pruned += rows.iter().filter(|row| row.pruned_at.is_some()).count() as u64;
        verdict.documents += rows.iter().filter(|row| row.pruned_at.is_none()).count() as u64;
        verdict.size_bytes += rows.iter().filter(|row| row.pruned_at.is_none()).map(|row| row.size_bytes).sum::<u64>();
        for (row, kind, cause) in suspects(place.documents.clone(), depth, rows).await? {
            // Retention may have removed it, or a put may have mended it, since the row was read.
            let still = match store.document(&row.key).await {
                Ok(StoredDocument::Repository { .. }) => {
                    !suspects(place.documents.clone(), depth, vec![row.clone()]).await?.is_empty()
                }
                Ok(StoredDocument::Inline(_)) => true,
                Ok(StoredDocument::Pruned { .. }) | Err(StoreError::NotFound { .. }) => false,
                Err(error) => return Err(error),
            };
            if still {
                verdict.find(Finding { kind, what: row.key.to_string(), cause, fix: FROM_BACKUP, damage: true });
            }
        }
    }
}

async fn suspects(
    documents: PathBuf,
    depth: Depth,
    rows: Vec<DocumentRow>,
) -> Result<Vec<(DocumentRow, &'static str, String)>> {
    blocking(move || {
        let wrong = |row: DocumentRow| {
            let (kind, cause) = wrong(&documents, depth, &row)?;
            Some((row, kind, cause))
        };
        rows.into_iter().filter(|row| row.pruned_at.is_none()).filter_map(wrong).collect()
    })
    .await
}

/// What is wrong with the bytes of a document.
pub(super) fn wrong(documents: &Path, depth: Depth, row: &DocumentRow) -> Option<(&'static str, String)> {
    if let Some(bytes) = &row.inline {
        let right = depth == Depth::Lengths || hash(bytes) == row.key;
        return (!right).then(|| ("damaged-row", "the bytes in its row do not have its hash".to_owned()));
    }
    let path = path_in(documents, &row.key);
    let size_bytes = match std::fs::metadata(&path) {
        Ok(meta) => meta.len(),
        Err(error) => return Some(("missing-file", format!("its file {} cannot be read: {error}", path.display()))),
    };
    if size_bytes != row.size_bytes {
        return Some(("damaged-file", format!("its file has {size_bytes} bytes, not {}", row.size_bytes)));
    }
    if depth == Depth::Lengths {
        return None;
    }
    match std::fs::read(&path) {
        Ok(bytes) if hash(&bytes) == row.key => None,
        Ok(_) => Some(("damaged-file", "the bytes of its file do not have its hash".to_owned())),
        Err(error) => Some(("missing-file", format!("its file {} cannot be read: {error}", path.display()))),
    }
}

pub(super) fn hash(bytes: &[u8]) -> DocumentKey {
    DocumentKey(Sha256::digest(bytes).into())
}

/// Files that nobody needs, far older than the time after which retention takes them away. No damage, only room.
async fn files(place: &Place, now: Timestamp, store: &mut Inspection, verdict: &mut Verdict) -> Result<()> {
    let (old, unfinished) = (file_time(now, FILES_WAIT + 2 * PERIOD), file_time(now, UNFINISHED_WAIT + 2 * PERIOD));
    for folder in 0..FOLDERS {
        let path = place.documents.join("sha256").join(format!("{folder:02x}"));
        let listed = blocking(move || list(&path, old, unfinished)).await?;
        let listed = listed.map_err(|error| {
            let documents = place.documents.display();
            StoreError::Unavailable(format!("cannot list {documents}: {error}; fix: run this as the gateway's user"))
        })?;
        let needed = store.needed(&listed.old).await?;
        let orphans = listed.old.iter().filter(|key| !needed.contains(key)).map(|key| path_in(&place.documents, key));
        for file in orphans.chain(listed.unfinished) {
            let cause = "no row needs this file; a crash left it".to_owned();
            let (what, fix) = (file.display().to_string(), "nothing is lost; faxwell db prune removes it");
            verdict.find(Finding { kind: "orphan-file", what, cause, fix, damage: false });
        }
    }
    Ok(())
}

pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let broke = |error: tokio::task::JoinError| StoreError::Unavailable(format!("a disk task broke off: {error}"));
    tokio::task::spawn_blocking(work).await.map_err(broke)
}
