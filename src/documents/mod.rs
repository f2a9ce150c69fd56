//! Documents: mails as they came, pages as they are sent, by the SHA-256 of their bytes.
//!
//! ```text
//! put ─► hash ─► 16 KiB or less ─► [seal] ─► inline, for the transaction of the row that names it
//!           └──► more ─► a directory in the clear: sha256/ab/cd/<hash>
//!                   └──► a bucket, or sealed: known and young? its row ─► else [seal] ─► drawn/ab/cd/<name>
//! ```
//! Bytes are durable before `put` returns, so before any row names them: a crash in between leaves an object that no row
//! needs, never a dangling row. The same bytes are one row: the row that was there first keeps its object, and the other
//! object goes with the next sweep. With `store.keys` every document has a key of its own, wrapped in its row (`envelope`):
//! when the row loses it, the bytes are unreadable wherever copies of them lie. Getting: every read checks the hash; a
//! mismatch is an error that names the document. Removing (`maintain/retention`): rows go first, then objects that no row
//! needs and that nobody has put for a day.
//!
//! Failure: below the minimum of free space in a directory nothing is taken any more ([`DocumentsError::Full`], SMTP answers
//! 452 4.3.1, RFC 3463 §3.4), so that the store keeps room for the notices of what was accepted. A bucket that is away is
//! [`DocumentsError::Unavailable`] within some 20 s (SMTP answers 451).

mod envelope;
mod header_line;
mod keys;
mod objects;
mod repository;
mod sealing;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::warn;
use uuid::Uuid;

use crate::config::DocumentsPlace;
use crate::domain::Timestamp;
use crate::store::{DocumentKey, DocumentRef, ObjectName, Placement, Store, StoreError, StoredDocument};
pub use header_line::header_line;
pub use keys::KeyRing;
pub use objects::{BucketTimes, FOLDERS, Found, Listed, Removed, path_in};
pub use repository::{Repository, stored_size};
pub use sealing::Progress;

/// Documents up to this size travel in SQL: a file of its own would cost more than its bytes.
pub const INLINE_BYTES_MAX: usize = 16 * 1024;
/// Hashing more than this is work for a blocking thread.
const HASH_INLINE_BYTES_MAX: usize = 64 * 1024;
/// From the last put of an object, or from the last row that named it, until it may go: far longer than any transaction.
pub const OBJECTS_WAIT: Duration = Duration::from_secs(24 * 3600);
/// An object that has half of that time left is named once more; an older one is written anew.
const NAMED_AGAIN_WAIT: Duration = Duration::from_secs(12 * 3600);

/// A repository that took something is not asked again for so long: each question costs a bucket a write.
const CHECK_WAIT: Duration = Duration::from_secs(10);

/// Limits of the repository, and its keys.
#[derive(Debug, Clone)]
pub struct DocumentsSettings {
    /// The largest document. TIFF-F of the longest fax stays far below.
    pub size_bytes_max: u64,
    /// Nothing is put into a directory when less than this would stay free.
    pub free_bytes_min: u64,
    /// Puts at once: they sync in parallel, and each holds its bytes in memory.
    pub puts_max: usize,
    /// Keys that seal and open; none: documents lie in the clear.
    pub keys: Option<Arc<KeyRing>>,
    /// How long a bucket is waited for.
    pub times: BucketTimes,
}

impl Default for DocumentsSettings {
    fn default() -> Self {
        Self {
            size_bytes_max: 256 << 20,
            free_bytes_min: 256 << 20,
            puts_max: 32,
            keys: None,
            times: BucketTimes::default(),
        }
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
    /// A key that is needed to read it is not there; with the key it is whole.
    #[error(
        "document {key} is sealed with the key \"{by}\", which this node does not have; fix: put its line into the file of store.keys"
    )]
    KeyMissing {
        /// Which one.
        key: DocumentKey,
        /// Name of the key.
        by: String,
    },
    /// The keys are not what they should be; the words say which, and the fix.
    #[error("{0}")]
    Keys(String),
    /// The directory or the bucket cannot be read or written now.
    #[error("documents are not available: {0}")]
    Unavailable(String),
    /// The store cannot say where the document is.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Shorthand.
pub type Result<T> = std::result::Result<T, DocumentsError>;

/// The documents of a gateway. Cheap to clone, one for the whole process.
#[derive(Clone)]
pub struct Documents {
    inner: Arc<Inner>,
}

struct Inner {
    repository: Repository,
    store: Arc<dyn Store>,
    puts: Semaphore,
    settings: DocumentsSettings,
    /// When the repository last took something.
    checked: Mutex<Option<Instant>>,
}

impl Documents {
    /// Opens the repository; a directory is made if there is none. `store` knows where each document is.
    pub fn open(place: impl Into<DocumentsPlace>, store: Arc<dyn Store>, settings: DocumentsSettings) -> Result<Self> {
        let repository = Repository::open(&place.into(), settings.keys.clone(), settings.times)?;
        let puts = Semaphore::new(settings.puts_max.max(1));
        Ok(Self { inner: Arc::new(Inner { repository, store, puts, settings, checked: Mutex::default() }) })
    }

    /// Where they lie, and their keys.
    pub fn repository(&self) -> &Repository {
        &self.inner.repository
    }

    /// Makes `bytes` durable, or gives them back inline for the transaction that names them.
    ///
    /// Putting the same bytes again is free of effect once a row names them.
    pub async fn put(&self, bytes: Vec<u8>, media: &str) -> Result<DocumentRef> {
        let size_bytes = bytes.len() as u64;
        let size_bytes_max = self.inner.settings.size_bytes_max;
        if size_bytes > size_bytes_max {
            return Err(DocumentsError::TooLarge { size_bytes, size_bytes_max });
        }
        let _permit = self.inner.puts.acquire().await.expect("the semaphore is never closed");
        self.check_space(size_bytes).await?;
        let (key, bytes) = hash(bytes).await?;
        let placement = self.place(&key, bytes).await?;
        Ok(DocumentRef { key, size_bytes, media: media.to_owned(), placement })
    }

    /// The bytes of a document that the store knows, checked against its hash.
    pub async fn get(&self, key: &DocumentKey) -> Result<Vec<u8>> {
        let (size_bytes, placement) = self.placement(key).await?;
        match self.inner.repository.bytes(key, size_bytes, &placement).await {
            Err(error @ DocumentsError::Damaged { .. }) => {
                // Perhaps it was sealed, or removed, since the row was read.
                let (size_bytes, now) = self.placement(key).await?;
                if now == placement { Err(error) } else { self.inner.repository.bytes(key, size_bytes, &now).await }
            }
            other => other,
        }
    }

    /// Whether the bytes of a document that [`Self::put`] answered are still there, whatever the store knows of it.
    pub async fn keeps(&self, document: &DocumentRef) -> Result<bool> {
        let DocumentRef { key, size_bytes, placement, .. } = document;
        Ok(self.inner.repository.lacks(key, *size_bytes, placement).await?.is_none())
    }

    /// Errors when `size_bytes` more would leave less than the minimum of free space in a directory.
    pub async fn check_space(&self, size_bytes: u64) -> Result<()> {
        let Some(directory) = self.inner.repository.directory().map(PathBuf::from) else { return Ok(()) };
        let (free_bytes, directory) = blocking(move || Ok((objects::free_bytes(&directory)?, directory))).await?;
        let needed_bytes = self.inner.settings.free_bytes_min.saturating_add(size_bytes);
        if free_bytes < needed_bytes {
            return Err(DocumentsError::Full { directory, free_bytes, needed_bytes });
        }
        Ok(())
    }

    /// Whether the repository takes something now; else the error says why not. It may be asked every second: something is
    /// written only when that was not done for some seconds, or failed the last time.
    pub async fn check(&self) -> Result<()> {
        self.check_space(0).await?;
        let checked = *self.inner.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if checked.is_some_and(|at| at.elapsed() < CHECK_WAIT) {
            return Ok(());
        }
        // Whoever does not wait for the answer leaves this as it was, to be asked again.
        *self.inner.checked.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.inner.repository.check().await?;
        *self.inner.checked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Ok(())
    }

    /// Errors when documents are sealed with a key that is not there.
    pub async fn check_keys(&self) -> Result<()> {
        self.inner.repository.check_keys(&self.inner.store.sealers().await?)
    }

    async fn placement(&self, key: &DocumentKey) -> Result<(u64, Placement)> {
        match self.inner.store.document(key).await {
            Ok(StoredDocument::Kept { size_bytes, placement }) => Ok((size_bytes, placement)),
            Ok(StoredDocument::Pruned { at }) => Err(DocumentsError::Pruned { key: *key, at }),
            Err(StoreError::NotFound { .. }) => Err(DocumentsError::NotFound(*key)),
            Err(other) => Err(other.into()),
        }
    }

    async fn place(&self, key: &DocumentKey, bytes: Vec<u8>) -> Result<Placement> {
        let repository = &self.inner.repository;
        if bytes.len() <= INLINE_BYTES_MAX {
            let (bytes, sealed) = repository.seal(key, bytes).await?;
            return Ok(Placement { inline: Some(bytes), drawn: None, sealed });
        }
        if repository.keys.is_none() && repository.directory().is_some() {
            repository.objects.create(&ObjectName::Content(*key), bytes).await?;
            return Ok(Placement::default());
        }
        let bytes = match self.known(key, bytes).await? {
            Known::There(placement) => return Ok(placement),
            Known::No(bytes) => bytes,
        };
        self.write(key, bytes).await
    }

    /// Writes an object of its own.
    async fn write(&self, key: &DocumentKey, bytes: Vec<u8>) -> Result<Placement> {
        let repository = &self.inner.repository;
        let drawn = Uuid::new_v4();
        let (bytes, sealed) = repository.seal(key, bytes).await?;
        repository.objects.create(&ObjectName::Drawn(drawn), bytes).await?;
        Ok(Placement { inline: None, drawn: Some(drawn), sealed })
    }

    /// Looks whether a row has these bytes in an object that stays until another row can name it.
    ///
    /// An old one may go before that, when its row goes just now: it is written anew, and the row that is there keeps what
    /// it has. One that is damaged or missing is mended.
    async fn known(&self, key: &DocumentKey, bytes: Vec<u8>) -> Result<Known> {
        let (size_bytes, placement) = match self.placement(key).await {
            Ok(known) => known,
            Err(DocumentsError::NotFound(_) | DocumentsError::Pruned { .. }) => return Ok(Known::No(bytes)),
            Err(other) => return Err(other),
        };
        let Some(name) = placement.object(key) else { return Ok(Known::No(bytes)) };
        let repository = &self.inner.repository;
        let expected = stored_size(size_bytes, &placement);
        match repository.find(&name).await? {
            Some(found) if found.size_bytes == expected => {
                let oldest = self.inner.store.now().await?.minus(NAMED_AGAIN_WAIT).to_system();
                Ok(if found.at >= oldest { Known::There(placement) } else { Known::No(bytes) })
            }
            other => {
                warn!(document = %key, found = ?other.map(|found| found.size_bytes), expected, "a damaged document is replaced");
                let again = repository.seal_again(key, bytes, &placement).await?;
                repository.objects.replace(&name, again).await?;
                Ok(Known::There(placement))
            }
        }
    }
}

/// What a put finds of its bytes.
enum Known {
    There(Placement),
    /// Nothing that can be named.
    No(Vec<u8>),
}

impl DocumentsError {
    /// Whether retention has removed the bytes: trying again is of no use.
    pub fn is_pruned(&self) -> bool {
        matches!(self, Self::Pruned { .. })
    }
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
