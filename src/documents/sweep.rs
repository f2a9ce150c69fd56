//! Taking files away, without ever taking one that somebody is about to name.
//!
//! The order is always: rows first, then the file. Between a put and the commit of the row that names it nothing but the
//! file's age tells that it is wanted, so a put of bytes that are there already makes their file young again, and only
//! files older than a delay go. The delay must be longer than any transaction waits; a day is. Puts and removals exclude
//! one another, so that no put can find a file a moment before it goes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use super::{Documents, DocumentsError, Result, blocking, location};
use crate::store::DocumentKey;

/// Folders below `sha256/`: the first octet of the key.
pub const FOLDERS: u16 = 256;
/// Files removed while puts wait: some milliseconds.
const REMOVED_AT_ONCE: usize = 64;
/// Files of one folder in one listing; there are more in the next one, when these are gone.
const LISTED_MAX: usize = 20_000;

/// Files that went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// How many.
    pub files: u64,
    /// Their octets.
    pub size_bytes: u64,
}

/// What lies in a folder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listed {
    /// Documents that nobody has put since the time asked for.
    pub old: Vec<DocumentKey>,
    /// Files of puts that a crash broke off.
    pub unfinished: Vec<PathBuf>,
}

/// As long as it lives nothing is removed.
#[derive(Debug)]
#[must_use = "files stay as long as this lives"]
pub struct Kept(Arc<AtomicUsize>);

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Documents {
    /// Keeps every file until the answer is dropped: a copy of the store names documents that retention may let go.
    pub async fn keep(&self) -> Kept {
        // A removal that is under way ends first.
        let _alone = self.inner.files_stay.write().await;
        self.inner.keepers.fetch_add(1, Ordering::SeqCst);
        Kept(Arc::clone(&self.inner.keepers))
    }

    /// Where the files lie.
    pub fn directory(&self) -> &Path {
        &self.inner.directory
    }

    /// Removes the files of these documents that nobody has put since `since`. The rows must be gone, or say that the
    /// bytes are. Files that are not there are no error.
    pub async fn remove(&self, keys: &[DocumentKey], since: SystemTime) -> Result<Removed> {
        let mut removed = Removed::default();
        for some in keys.chunks(REMOVED_AT_ONCE) {
            let paths: Vec<PathBuf> = some.iter().map(|key| self.file(key)).collect();
            let alone = Arc::clone(&self.inner.files_stay).write_owned().await;
            if self.inner.keepers.load(Ordering::SeqCst) > 0 {
                return Ok(removed);
            }
            let done = blocking(move || {
                let _alone = alone;
                paths.iter().try_fold(Removed::default(), |sum, path| {
                    let size_bytes = remove_old(path, since)?;
                    Ok(Removed {
                        files: sum.files + u64::from(size_bytes.is_some()),
                        size_bytes: sum.size_bytes + size_bytes.unwrap_or(0),
                    })
                })
            });
            let done = done.await?;
            removed.files += done.files;
            removed.size_bytes += done.size_bytes;
        }
        Ok(removed)
    }

    /// What in a folder, 0 to 255, nobody has touched since: documents and broken-off puts.
    pub async fn list_old(&self, folder: u8, documents: SystemTime, unfinished: SystemTime) -> Result<Listed> {
        let folder = self.inner.directory.join("sha256").join(format!("{folder:02x}"));
        blocking(move || list(&folder, documents, unfinished)).await
    }

    /// Removes what a crash left of puts.
    pub async fn remove_unfinished(&self, files: Vec<PathBuf>, since: SystemTime) -> Result<Removed> {
        blocking(move || {
            let mut removed = Removed::default();
            for file in &files {
                if let Some(size_bytes) = remove_old(file, since)? {
                    removed.files += 1;
                    removed.size_bytes += size_bytes;
                }
            }
            Ok(removed)
        })
        .await
    }

    /// The length of a document's file; none when there is no file.
    pub fn file_size(directory: &Path, key: &DocumentKey) -> io::Result<Option<u64>> {
        match fs::metadata(path_in(directory, key)) {
            Ok(meta) => Ok(Some(meta.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn file(&self, key: &DocumentKey) -> PathBuf {
        path_in(&self.inner.directory, key)
    }
}

/// Where a document's file lies below the directory of documents.
pub fn path_in(directory: &Path, key: &DocumentKey) -> PathBuf {
    directory.join(location(key).as_ref())
}

/// Answers the octets that went, none when the file is young or not there.
fn remove_old(path: &Path, since: SystemTime) -> io::Result<Option<u64>> {
    let gone = |error: io::Error| if error.kind() == io::ErrorKind::NotFound { Ok(None) } else { Err(error) };
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) => return gone(error),
    };
    if meta.modified()? >= since {
        return Ok(None);
    }
    fs::remove_file(path).map(|()| Some(meta.len())).or_else(gone)
}

/// Documents and unfinished puts below `sha256/ab`, those older than each time.
pub fn list(folder: &Path, documents: SystemTime, unfinished: SystemTime) -> io::Result<Listed> {
    let mut listed = Listed::default();
    let below = match fs::read_dir(folder) {
        Ok(below) => below,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(listed),
        Err(error) => return Err(error),
    };
    for inner in below {
        let inner = inner?;
        if !inner.file_type()?.is_dir() {
            continue;
        }
        for file in fs::read_dir(inner.path())? {
            let file = file?;
            let name = file.file_name().to_string_lossy().into_owned();
            let Ok(meta) = file.metadata() else { continue };
            match name.parse::<DocumentKey>() {
                Ok(key) if meta.modified()? < documents => listed.old.push(key),
                Ok(_) => {}
                // `<key>#1` is a put under way; anything else is not ours.
                Err(_) if name.contains('#') && meta.modified()? < unfinished => listed.unfinished.push(file.path()),
                Err(_) => {}
            }
            if listed.old.len() + listed.unfinished.len() >= LISTED_MAX {
                return Ok(listed);
            }
        }
    }
    Ok(listed)
}

impl DocumentsError {
    /// Whether retention has removed the bytes: trying again is of no use.
    pub fn is_pruned(&self) -> bool {
        matches!(self, Self::Pruned { .. })
    }
}
