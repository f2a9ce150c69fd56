//! The audit: rows and documents against one another, and the store against its own rules.
//!
//! It looks at the files alone, read-only, so that it works beside a running gateway and on a stopped one. What a running
//! gateway is doing just then is not damage: a file that is young may be about to be named, and whatever looks wrong is
//! looked at once more, since a row may have changed in between.

use futures_util::StreamExt as _;
use serde::Serialize;

use super::retention::{PERIOD, UNFINISHED_WAIT};
use crate::documents::{DocumentsError, FOLDERS, OBJECTS_WAIT, Repository, path_in};
use crate::domain::Timestamp;
use crate::store::{DocumentRow, Inspection, Result, StoreError, StoredDocument};

/// Rows read at once: with 16 KiB inline at most, 8 MiB.
const ROWS_AT_ONCE: u32 = 500;
/// Documents looked at side by side: a bucket answers each after some milliseconds.
const LOOKS_AT_ONCE: usize = 8;
/// Objects asked about at once.
const NAMES_AT_ONCE: usize = 500;
/// Findings that are kept; beyond that more of them tell nothing new.
const FINDINGS_MAX: usize = 1000;

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
const KEY_BACK: &str = "put the key's line back into the file of store.keys";
const STORE_FROM_BACKUP: &str = "stop the gateway and restore the last backup whose db verify is clean";

/// Looks at everything in the store and in the repository. `now` is the machine's time, which the ages of files are told by.
pub async fn verify(mut store: Inspection, documents: &Repository, depth: Depth, now: Timestamp) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    for broken in store.broken().await? {
        let (what, cause, fix) = (broken.what, broken.cause.to_owned(), STORE_FROM_BACKUP);
        verdict.find(Finding { kind: broken.rule, what, cause, fix, damage: true });
    }
    rows(documents, depth, &mut store, &mut verdict).await?;
    files(documents, now, &mut store, &mut verdict).await?;
    store.close().await;
    Ok(verdict)
}

/// Every row that has its bytes has them.
async fn rows(documents: &Repository, depth: Depth, store: &mut Inspection, verdict: &mut Verdict) -> Result<()> {
    let mut after = None;
    loop {
        let rows = store.document_rows(after, ROWS_AT_ONCE).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = Some(last.key);
        verdict.pruned += rows.iter().filter(|row| row.pruned_at.is_some()).count() as u64;
        verdict.documents += rows.iter().filter(|row| row.pruned_at.is_none()).count() as u64;
        verdict.size_bytes += rows.iter().filter(|row| row.pruned_at.is_none()).map(|row| row.size_bytes).sum::<u64>();
        let looks = rows
            .into_iter()
            .filter(|row| row.pruned_at.is_none())
            .map(|row| async move { wrong(documents, depth, &row).await.map(|wrong| wrong.map(|wrong| (row, wrong))) });
        let mut looks = futures_util::stream::iter(looks).buffered(LOOKS_AT_ONCE);
        while let Some(suspect) = looks.next().await {
            let Some((row, wrong)) = suspect? else { continue };
            // Retention may have removed it, it may have been sealed, or a put may have mended it, since the row was read.
            let now = match store.document(&row.key).await {
                Ok(StoredDocument::Kept { size_bytes, placement }) => DocumentRow { size_bytes, placement, ..row },
                Ok(StoredDocument::Pruned { .. }) | Err(StoreError::NotFound { .. }) => continue,
                Err(error) => return Err(error),
            };
            if now.placement.inline.is_none() && self::wrong(documents, depth, &now).await?.is_none() {
                continue;
            }
            let Wrong { kind, cause, fix } = wrong;
            verdict.find(Finding { kind, what: now.key.to_string(), cause, fix, damage: true });
        }
    }
}

/// What is wrong with the bytes of a document.
pub(super) struct Wrong {
    kind: &'static str,
    pub(super) cause: String,
    fix: &'static str,
}

/// Looks at the bytes of a document. `Unavailable` when the repository cannot be asked.
pub(super) async fn wrong(documents: &Repository, depth: Depth, row: &DocumentRow) -> Result<Option<Wrong>> {
    let kind = if row.placement.inline.is_some() { "damaged-row" } else { "damaged-file" };
    let damaged = |cause: String| {
        let kind = if cause.contains("missing") { "missing-file" } else { kind };
        Some(Wrong { kind, cause, fix: FROM_BACKUP })
    };
    if depth == Depth::Lengths {
        let lacks = documents.lacks(&row.key, row.size_bytes, &row.placement).await;
        return lacks.map(|why| why.and_then(damaged)).map_err(away);
    }
    match documents.bytes(&row.key, row.size_bytes, &row.placement).await {
        Ok(_) => Ok(None),
        Err(DocumentsError::Damaged { why, .. }) => Ok(damaged(why)),
        Err(error @ DocumentsError::KeyMissing { .. }) => {
            Ok(Some(Wrong { kind: "missing-key", cause: error.to_string(), fix: KEY_BACK }))
        }
        Err(other) => Err(away(other)),
    }
}

fn away(error: DocumentsError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

/// Objects that nobody needs, far older than the time after which retention takes them away. No damage, only room.
async fn files(documents: &Repository, now: Timestamp, store: &mut Inspection, verdict: &mut Verdict) -> Result<()> {
    let old = now.minus(OBJECTS_WAIT + 2 * PERIOD).to_system();
    let unfinished = now.minus(UNFINISHED_WAIT + 2 * PERIOD).to_system();
    for folder in 0..FOLDERS {
        let mut after: Option<String> = None;
        loop {
            let listed = documents.list_old(folder as u8, after.as_deref(), old, unfinished).await.map_err(away)?;
            for names in listed.old.chunks(NAMES_AT_ONCE) {
                let needed = store.needed(names).await?;
                for name in names.iter().filter(|name| !needed.contains(name)) {
                    let what = match documents.directory() {
                        Some(directory) => path_in(directory, name).display().to_string(),
                        None => name.to_string(),
                    };
                    verdict.find(orphan(what));
                }
            }
            listed.unfinished.iter().for_each(|file| verdict.find(orphan(file.display().to_string())));
            let Some(next) = listed.next else { break };
            after = Some(next);
        }
    }
    Ok(())
}

fn orphan(what: String) -> Finding {
    let cause = "no row needs this file; a crash left it".to_owned();
    let fix = "nothing is lost; faxwell db prune removes it";
    Finding { kind: "orphan-file", what, cause, fix, damage: false }
}

pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let broke = |error: tokio::task::JoinError| StoreError::Unavailable(format!("a disk task broke off: {error}"));
    tokio::task::spawn_blocking(work).await.map_err(broke)
}
