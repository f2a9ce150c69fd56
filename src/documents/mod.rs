//! Documents: mails as they came, pages as they are sent, by the SHA-256 of their bytes.
//!
//! Putting: small documents (16 KiB) come back inline and go into the transaction of the row that names them; larger
//! ones are written to a file `sha256/ab/cd/<hex>` and synced, file and directories, before `put` returns. So bytes
//! are durable before any row names them: a crash in between leaves an orphan file, never a dangling row. The same
//! bytes are stored once. Getting: every read checks the hash; a mismatch is an error that names the document.
//! Removing (`sweep`): rows go first, then files that no row needs and that nobody has put for a while.
//!
//! Failure: below the minimum of free space nothing is taken any more ([`DocumentsError::Full`], SMTP answers 452
//! 4.3.1, RFC 3463 §3.4), so that the store keeps room for the notices of what was accepted.

mod header_line;
mod sweep;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use sha2::{Digest, Sha256};
use tokio::sync::{RwLock, Semaphore};
use tracing::warn;

use crate::domain::Timestamp;
use crate::fault::crash_point;
use crate::store::{DocumentKey, DocumentRef, Store, StoreError, StoredDocument};
pub use header_line::header_line;
pub use sweep::{FOLDERS, Kept, Listed, Removed, list, path_in};

/// Documents up to this size travel in SQL: a file of its own would cost more than its bytes.
pub const INLINE_BYTES_MAX: usize = 16 * 1024;
/// Hashing more than this is work for a blocking thread.
const HASH_INLINE_BYTES_MAX: usize = 64 * 1024;

/// Limits of the repository.
#[derive(Debug, Clone)]
pub struct DocumentsSettings {
    /// The largest document. TIFF-F of the longest fax stays far below.
    pub size_bytes_max: u64,
    /// Nothing is put when less than this would stay free.
    pub free_bytes_min: u64,
    /// Puts at once: they sync in parallel, and each holds its bytes in memory.
    pub puts_max: usize,
}

impl Default for DocumentsSettings {
    fn default() -> Self {
        Self { size_bytes_max: 256 << 20, free_bytes_min: 256 << 20, puts_max: 32 }
    }
}

/// Why a document was not put or got.
#[derive(Debug, thiserror::Error)]
pub enum DocumentsError {
    /// The disk is full, or would be below its minimum of free space.
    #[error("{directory} has {free_bytes} bytes free and needs {needed_bytes}; fix: make room on its disk")]
    Full {
        /// Where the documents lie.
        directory: PathBuf,
        /// What is free now.
        free_bytes: u64,
        /// The document and the minimum that stays free.
        needed_bytes: u64,
    },
    /// Larger than any document may be.
    #[error("a document of {size_bytes} bytes is larger than the limit of {size_bytes_max}")]
    TooLarge {
        /// Its length.
        size_bytes: u64,
        /// The limit.
        size_bytes_max: u64,
    },
    /// The store has no such document.
    #[error("no document {0}")]
    NotFound(DocumentKey),
    /// Retention has removed its bytes; that it was there is known.
    #[error("its pages were removed on {at} by retention")]
    Pruned {
        /// Which one.
        key: DocumentKey,
        /// When.
        at: Timestamp,
    },
    /// Its bytes are gone or are not the ones that were put.
    #[error("document {key} is damaged: {why}; fix: restore it from a backup")]
    Damaged {
        /// Which one.
        key: DocumentKey,
        /// What is wrong with it.
        why: String,
    },
    /// The directory cannot be read or written now.
    #[error("documents are not available: {0}")]
    Unavailable(String),
    /// The store cannot say where the document is.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Shorthand.
pub type Result<T> = std::result::Result<T, DocumentsError>;

/// The repository of documents in a directory. Cheap to clone, one for the whole process.
#[derive(Clone)]
pub struct Documents {
    inner: Arc<Inner>,
}

struct Inner {
    directory: PathBuf,
    files: LocalFileSystem,
    store: Arc<dyn Store>,
    puts: Semaphore,
    /// Puts share it, removing has it alone: a file is not taken away while somebody finds it there.
    files_stay: Arc<RwLock<()>>,
    /// Whoever copies the repository; nothing is removed meanwhile.
    keepers: Arc<AtomicUsize>,
    settings: DocumentsSettings,
}

impl Documents {
    /// Opens the repository in `directory`, which is made if there is none. `store` knows the inline documents.
    pub fn open(directory: impl AsRef<Path>, store: Arc<dyn Store>, settings: DocumentsSettings) -> Result<Self> {
        let directory = directory.as_ref().to_path_buf();
        let unavailable = |e: &dyn std::fmt::Display| {
            let fix = "fix: the directory must be writable for the gateway";
            DocumentsError::Unavailable(format!("cannot use {}: {e}; {fix}", directory.display()))
        };
        // For the gateway's user alone: these are other people's letters.
        let mut private = std::fs::DirBuilder::new();
        private.recursive(true).mode(0o700).create(&directory).map_err(|e| unavailable(&e))?;
        // Without fsync, which is the default, a 250 after a put would be a lie.
        let files = LocalFileSystem::new_with_prefix(&directory).map_err(|e| unavailable(&e))?.with_fsync(true);
        let puts = Semaphore::new(settings.puts_max.max(1));
        let (files_stay, keepers) = (Arc::default(), Arc::default());
        Ok(Self { inner: Arc::new(Inner { directory, files, store, puts, files_stay, keepers, settings }) })
    }

    /// Makes `bytes` durable, or gives them back inline for the transaction that names them.
    ///
    /// Putting the same bytes again is free of effect and answers the same.
    pub async fn put(&self, bytes: Vec<u8>, media: &str) -> Result<DocumentRef> {
        let size_bytes = bytes.len() as u64;
        let size_bytes_max = self.inner.settings.size_bytes_max;
        if size_bytes > size_bytes_max {
            return Err(DocumentsError::TooLarge { size_bytes, size_bytes_max });
        }
        let _permit = self.inner.puts.acquire().await.expect("the semaphore is never closed");
        self.check_space(size_bytes).await?;
        let (key, bytes) = hash(bytes).await?;
        let media = media.to_owned();
        if bytes.len() <= INLINE_BYTES_MAX {
            return Ok(DocumentRef { key, size_bytes, media, inline: Some(bytes) });
        }
        self.write(&key, bytes).await?;
        Ok(DocumentRef { key, size_bytes, media, inline: None })
    }

    /// The bytes of a document that the store knows, checked against its hash.
    pub async fn get(&self, key: &DocumentKey) -> Result<Vec<u8>> {
        let bytes = match self.inner.store.document(key).await {
            Ok(StoredDocument::Inline(bytes)) => bytes,
            Ok(StoredDocument::Repository { size_bytes }) => self.read(key, size_bytes).await?,
            Ok(StoredDocument::Pruned { at }) => return Err(DocumentsError::Pruned { key: *key, at }),
            Err(StoreError::NotFound { .. }) => return Err(DocumentsError::NotFound(*key)),
            Err(other) => return Err(other.into()),
        };
        let (found, bytes) = hash(bytes).await?;
        if found != *key {
            return Err(DocumentsError::Damaged { key: *key, why: format!("its bytes have the hash {found}") });
        }
        Ok(bytes)
    }

    /// Whether the bytes of a document that [`Self::put`] answered are still there, whatever the store knows of it.
    pub async fn keeps(&self, document: &DocumentRef) -> Result<bool> {
        if document.inline.is_some() {
            return Ok(true);
        }
        match self.inner.files.head(&location(&document.key)).await {
            Ok(found) => Ok(found.size == document.size_bytes),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(other) => Err(self.meaning(&document.key, other)),
        }
    }

    /// Errors when `size_bytes` more would leave less than the minimum of free space.
    pub async fn check_space(&self, size_bytes: u64) -> Result<()> {
        let directory = self.inner.directory.clone();
        let (free_bytes, directory) = blocking(move || Ok((free_bytes(&directory)?, directory))).await?;
        let needed_bytes = self.inner.settings.free_bytes_min.saturating_add(size_bytes);
        if free_bytes < needed_bytes {
            return Err(DocumentsError::Full { directory, free_bytes, needed_bytes });
        }
        Ok(())
    }

    async fn write(&self, key: &DocumentKey, bytes: Vec<u8>) -> Result<()> {
        let location = location(key);
        let size_bytes = bytes.len() as u64;
        let payload = PutPayload::from(bytes);
        let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let _files_stay = self.inner.files_stay.read().await;
        crash_point!("documents.unwritten");
        match self.inner.files.put_opts(&location, payload.clone(), create).await {
            Ok(_) => {}
            Err(object_store::Error::AlreadyExists { .. }) => {
                let stored = self.inner.files.head(&location).await.map_err(|e| self.meaning(key, e))?;
                if stored.size != size_bytes {
                    warn!(document = %key, found = stored.size, expected = size_bytes, "a damaged document is replaced");
                    let replaced = self.inner.files.put(&location, payload).await;
                    replaced.map_err(|e| self.meaning(key, e))?;
                } else {
                    // Perhaps no row names it any more. From now on it is as young as a new one, until ours does.
                    let file = self.inner.directory.join(location.as_ref());
                    blocking(move || touch(&file)).await?;
                }
            }
            Err(other) => return Err(self.meaning(key, other)),
        }
        crash_point!("documents.unsynced");
        let file = self.inner.directory.join(location.as_ref());
        let directory = self.inner.directory.clone();
        blocking(move || sync_up_to(&file, &directory)).await
    }

    async fn read(&self, key: &DocumentKey, size_bytes: u64) -> Result<Vec<u8>> {
        let found = self.inner.files.get(&location(key)).await.map_err(|e| self.meaning(key, e))?;
        if found.meta.size != size_bytes {
            let why = format!("its file has {} bytes, not {size_bytes}", found.meta.size);
            return Err(DocumentsError::Damaged { key: *key, why });
        }
        Ok(found.bytes().await.map_err(|e| self.meaning(key, e))?.into())
    }

    fn meaning(&self, key: &DocumentKey, error: object_store::Error) -> DocumentsError {
        if is_full(&error) {
            let directory = self.inner.directory.clone();
            let free_bytes = free_bytes(&directory).unwrap_or(0);
            let needed_bytes = self.inner.settings.free_bytes_min;
            return DocumentsError::Full { directory, free_bytes, needed_bytes };
        }
        match error {
            object_store::Error::NotFound { .. } => {
                DocumentsError::Damaged { key: *key, why: "its file is missing".to_owned() }
            }
            other => DocumentsError::Unavailable(format!("{other}; fix: check {}", self.inner.directory.display())),
        }
    }
}

/// `sha256/ab/cd/<hex>`: at most 256 entries a directory on the way.
pub(crate) fn location(key: &DocumentKey) -> object_store::path::Path {
    let hex = key.to_string();
    object_store::path::Path::from_iter(["sha256", &hex[..2], &hex[2..4], &hex])
}

async fn hash(bytes: Vec<u8>) -> Result<(DocumentKey, Vec<u8>)> {
    let hash = |bytes: Vec<u8>| (DocumentKey(Sha256::digest(&bytes).into()), bytes);
    if bytes.len() <= HASH_INLINE_BYTES_MAX {
        return Ok(hash(bytes));
    }
    blocking(move || Ok(hash(bytes))).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(e)) => Err(DocumentsError::Unavailable(e.to_string())),
        Err(e) => Err(DocumentsError::Unavailable(format!("a disk task broke off: {e}"))),
    }
}

/// Syncs a file and each directory above it, up to `top`.
///
/// Another put may have made the file or a directory a moment ago and not have synced it yet: seeing it there does
/// not mean that it survives a power failure. Syncing what is clean costs next to nothing.
fn sync_up_to(file: &Path, top: &Path) -> io::Result<()> {
    for path in file.ancestors() {
        File::open(path)?.sync_all()?;
        if path == top {
            break;
        }
    }
    Ok(())
}

fn touch(file: &Path) -> io::Result<()> {
    let time = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let times = Timestamps { last_access: time(UTIME_OMIT), last_modification: time(UTIME_NOW) };
    Ok(rustix::fs::futimens(File::open(file)?, &times)?)
}

fn free_bytes(directory: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(directory)?;
    // What an ordinary user may use, not what is kept for root.
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn is_full(error: &object_store::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        }
        cause = error.source();
    }
    false
}
