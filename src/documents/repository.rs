//! Documents at rest, without a store: whoever has a row gets the bytes, opened and checked against the hash.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::envelope::{DataKey, NotSealedSo, sealed_size};
use super::objects::{BucketTimes, Found, Listed, Objects, Removed};
use super::{DocumentsError, KeyRing, Result, blocking, hash};
use crate::config::DocumentsPlace;
use crate::store::{DocumentKey, ObjectName, Placement, SealedKey};

/// Sealing more than this is work for a blocking thread.
const SEAL_INLINE_BYTES_MAX: usize = 64 * 1024;

/// Objects, and the keys that open them. Cheap to clone.
#[derive(Clone)]
pub struct Repository {
    pub(super) objects: Objects,
    pub(super) keys: Option<Arc<KeyRing>>,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Repository({:?}, {:?})", self.directory(), self.keys)
    }
}

impl Repository {
    /// A directory is made if there is none; a bucket is not asked for anything yet.
    pub fn open(place: &DocumentsPlace, keys: Option<Arc<KeyRing>>, times: BucketTimes) -> Result<Self> {
        Ok(Self { objects: Objects::open(place, times)?, keys })
    }

    /// For reading alone: no directory is made.
    pub fn look_at(place: &DocumentsPlace, keys: Option<Arc<KeyRing>>) -> Result<Self> {
        let objects = match place {
            DocumentsPlace::Directory(path) => Objects::look_at(path),
            bucket @ DocumentsPlace::Bucket(_) => Objects::open(bucket, BucketTimes::default())?,
        };
        Ok(Self { objects, keys })
    }

    /// Where its files lie; none for a bucket.
    pub fn directory(&self) -> Option<&Path> {
        self.objects.directory()
    }

    /// The bytes of a document of this length, opened and checked.
    pub async fn bytes(&self, key: &DocumentKey, size_bytes: u64, placement: &Placement) -> Result<Vec<u8>> {
        let bytes = match (&placement.inline, placement.object(key)) {
            (Some(bytes), _) => bytes.clone(),
            (None, Some(name)) => self.objects.read(&name).await?.ok_or_else(|| damaged(key, "its file is missing"))?,
            (None, None) => return Err(damaged(key, "no row says where it is")),
        };
        let stored_bytes = stored_size(size_bytes, placement);
        if bytes.len() as u64 != stored_bytes {
            return Err(damaged(key, &format!("its file has {} bytes, not {stored_bytes}", bytes.len())));
        }
        let bytes = match &placement.sealed {
            None => bytes,
            Some(sealed) => {
                let (data, of) = (self.data_key(key, sealed)?, *key);
                let opened = on_a_thread(bytes.len(), move || data.open(&of, bytes)).await?;
                opened.map_err(|NotSealedSo| damaged(key, "its bytes are not what was sealed"))?
            }
        };
        let (found, bytes) = hash(bytes).await?;
        if found != *key {
            return Err(damaged(key, &format!("its bytes have the hash {found}")));
        }
        Ok(bytes)
    }

    /// What is wrong with where the bytes are, without reading them: `None` when they are there with their length.
    pub async fn lacks(&self, key: &DocumentKey, size_bytes: u64, placement: &Placement) -> Result<Option<String>> {
        let stored_bytes = stored_size(size_bytes, placement);
        let Some(name) = placement.object(key) else { return Ok(None) };
        Ok(match self.objects.find(&name).await? {
            Some(found) if found.size_bytes == stored_bytes => None,
            Some(found) => Some(format!("its file has {} bytes, not {stored_bytes}", found.size_bytes)),
            None => Some("its file is missing".to_owned()),
        })
    }

    /// The octets as they lie there.
    pub async fn stored(&self, name: &ObjectName) -> Result<Option<Vec<u8>>> {
        self.objects.read(name).await
    }

    /// Makes octets durable as they are, in the place of whatever has the name.
    pub async fn store(&self, name: &ObjectName, bytes: Vec<u8>) -> Result<()> {
        self.objects.replace(name, bytes).await
    }

    /// Length and age; none when there is no such object.
    pub async fn find(&self, name: &ObjectName) -> Result<Option<Found>> {
        self.objects.find(name).await
    }

    /// What in a folder, 0 to 255, nobody has put since `old`, and what a crash left before `unfinished`.
    pub async fn list_old(
        &self,
        folder: u8,
        after: Option<&str>,
        old: SystemTime,
        unfinished: SystemTime,
    ) -> Result<Listed> {
        self.objects.list(folder, after, old, unfinished).await
    }

    /// Removes objects that nobody has put since `since`. Rows must be gone first, or say that the bytes are.
    pub async fn remove(&self, names: &[ObjectName], since: SystemTime) -> Result<Removed> {
        self.objects.remove(names, since).await
    }

    /// Finishes what a crash left of puts and removals.
    pub async fn tidy(&self, unfinished: Vec<PathBuf>, since: SystemTime) -> Result<Removed> {
        self.objects.tidy(unfinished, since).await
    }

    /// Whether it answers and takes something: `Unavailable` says why not.
    pub async fn check(&self) -> Result<()> {
        self.objects.check().await
    }

    /// The keys; none when documents lie in the clear.
    pub fn keys(&self) -> Option<&KeyRing> {
        self.keys.as_deref()
    }

    /// Errors, naming them, when one of these keys is not there.
    pub fn check_keys(&self, sealers: &[(String, u64)]) -> Result<()> {
        let missing = sealers.iter().find(|(id, _)| !self.keys.as_ref().is_some_and(|keys| keys.has(id)));
        let Some((id, count)) = missing else { return Ok(()) };
        let fix = "put its line back; it may go after: faxwell storage rotate-keys";
        Err(DocumentsError::Keys(match &self.keys {
            Some(keys) => format!("{} lacks the key \"{id}\" of {count} documents; fix: {fix}", keys.file().display()),
            None => format!(
                "{count} documents are sealed with the key \"{id}\", and store.keys is not set; fix: name the file of keys"
            ),
        }))
    }

    /// Seals with a fresh key, when there are keys.
    pub(super) async fn seal(&self, key: &DocumentKey, bytes: Vec<u8>) -> Result<(Vec<u8>, Option<SealedKey>)> {
        let Some(keys) = &self.keys else { return Ok((bytes, None)) };
        let (data, of) = (DataKey::draw(), *key);
        let sealed = keys.wrap(key, &data);
        let bytes = on_a_thread(bytes.len(), move || data.seal(&of, &bytes)).await?;
        Ok((bytes, Some(sealed)))
    }

    /// The octets that a placement must have, made once more from the document's bytes.
    pub(super) async fn seal_again(&self, key: &DocumentKey, bytes: Vec<u8>, placement: &Placement) -> Result<Vec<u8>> {
        let Some(sealed) = &placement.sealed else { return Ok(bytes) };
        let (data, of) = (self.data_key(key, sealed)?, *key);
        on_a_thread(bytes.len(), move || data.seal(&of, &bytes)).await
    }

    /// Wraps a document's key with the newest key.
    pub(super) fn rewrap(&self, key: &DocumentKey, sealed: &SealedKey) -> Result<SealedKey> {
        let data = self.data_key(key, sealed)?;
        let keys = self.keys.as_ref().ok_or_else(|| key_missing(key, sealed))?;
        Ok(keys.wrap(key, &data))
    }

    fn data_key(&self, key: &DocumentKey, sealed: &SealedKey) -> Result<DataKey> {
        self.keys.as_ref().ok_or_else(|| key_missing(key, sealed))?.unwrap(key, sealed)
    }
}

/// Octets of a document as it lies there.
pub fn stored_size(size_bytes: u64, placement: &Placement) -> u64 {
    if placement.sealed.is_some() { sealed_size(size_bytes) } else { size_bytes }
}

fn key_missing(key: &DocumentKey, sealed: &SealedKey) -> DocumentsError {
    DocumentsError::KeyMissing { key: *key, by: sealed.by.clone() }
}

fn damaged(key: &DocumentKey, why: &str) -> DocumentsError {
    DocumentsError::Damaged { key: *key, why: why.to_owned() }
}

async fn on_a_thread<T: Send + 'static>(len: usize, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    if len <= SEAL_INLINE_BYTES_MAX {
        return Ok(work());
    }
    blocking(move || Ok(work())).await
}
