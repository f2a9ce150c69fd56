//! Objects: octets under a name, durable when a call returns, in a directory or a bucket.
//!
//! ```text
//! sha256/ab/cd/<hash>    called by its content: directories without encryption
//! drawn/ab/cd/<name>     called by a name that was drawn for it
//! ```
//! An object that has a drawn name is written once and never again under that name, so nobody can be about to name one that
//! is old. One that is called by its content is put again by whoever has the same bytes: that makes it young.

mod bucket;
mod directory;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use object_store::{ObjectMeta, ObjectStore};

pub use bucket::BucketTimes;
pub(super) use directory::free_bytes;

use super::{DocumentsError, Result};
use crate::config::DocumentsPlace;
use crate::store::ObjectName;

/// Folders below each kind: the first octet of the name.
pub const FOLDERS: u16 = 256;
/// Kinds of names, as folders.
const KINDS: [&str; 2] = ["sha256", "drawn"];
/// Names in one listing; the next one goes on behind them.
const LISTED_MAX: usize = 20_000;

/// What is known of an object without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Its length.
    pub size_bytes: u64,
    /// When it was put or touched, by the clock of where it lies.
    pub at: SystemTime,
}

/// What lies in a folder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listed {
    /// Objects that nobody has put since the time asked for.
    pub old: Vec<ObjectName>,
    /// Files of puts, and of removals, that a crash broke off.
    pub unfinished: Vec<PathBuf>,
    /// Where the next listing goes on; none when this was all.
    pub next: Option<String>,
}

/// What went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// How many.
    pub files: u64,
    /// Their octets.
    pub size_bytes: u64,
}

impl Removed {
    fn add(&mut self, size_bytes: Option<u64>) {
        self.files += u64::from(size_bytes.is_some());
        self.size_bytes += size_bytes.unwrap_or(0);
    }
}

/// A directory or a bucket.
#[derive(Clone)]
pub(super) enum Objects {
    Directory(Arc<directory::Directory>),
    Bucket(Arc<bucket::Bucket>),
}

impl Objects {
    /// A directory is made if there is none; a bucket is not asked for anything yet.
    pub(super) fn open(place: &DocumentsPlace, times: BucketTimes) -> Result<Self> {
        Ok(match place {
            DocumentsPlace::Directory(path) => Self::Directory(Arc::new(directory::Directory::open(path)?)),
            DocumentsPlace::Bucket(config) => Self::Bucket(Arc::new(bucket::Bucket::open(config, times)?)),
        })
    }

    /// A directory that is only read: it is not made when there is none.
    pub(super) fn look_at(path: &Path) -> Self {
        Self::Directory(Arc::new(directory::Directory::look_at(path)))
    }

    /// Where a directory lies; none for a bucket.
    pub(super) fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(directory) => Some(directory.path()),
            Self::Bucket(_) => None,
        }
    }

    /// Makes octets durable under a name that nobody else uses. Doing it again answers the same.
    pub(super) async fn create(&self, name: &ObjectName, bytes: Vec<u8>) -> Result<()> {
        match self {
            Self::Directory(directory) => directory.create(name, bytes).await,
            Self::Bucket(bucket) => bucket.create(name, bytes).await,
        }
    }

    /// The same in the place of whatever has the name.
    pub(super) async fn replace(&self, name: &ObjectName, bytes: Vec<u8>) -> Result<()> {
        match self {
            Self::Directory(directory) => directory.replace(name, bytes).await,
            Self::Bucket(bucket) => bucket.replace(name, bytes).await,
        }
    }

    /// None when there is no such object.
    pub(super) async fn find(&self, name: &ObjectName) -> Result<Option<Found>> {
        match self {
            Self::Directory(directory) => directory.find(name).await,
            Self::Bucket(bucket) => bucket.find(name).await,
        }
    }

    /// Its octets; none when there is no such object.
    pub(super) async fn read(&self, name: &ObjectName) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Directory(directory) => directory.read(name).await,
            Self::Bucket(bucket) => bucket.read(name).await,
        }
    }

    /// Removes those that nobody has put since `since`. One that is not there is no error.
    pub(super) async fn remove(&self, names: &[ObjectName], since: SystemTime) -> Result<Removed> {
        match self {
            Self::Directory(directory) => directory.remove(names, since).await,
            Self::Bucket(bucket) => bucket.remove(names, since).await,
        }
    }

    /// What in this folder of both kinds nobody has put since `old`, and what has been unfinished since `unfinished`.
    pub(super) async fn list(
        &self,
        folder: u8,
        after: Option<&str>,
        old: SystemTime,
        unfinished: SystemTime,
    ) -> Result<Listed> {
        match self {
            Self::Directory(directory) => directory.list(folder, after, old, unfinished).await,
            Self::Bucket(bucket) => bucket.list(folder, after, old).await,
        }
    }

    /// Finishes what a crash left of puts and removals.
    pub(super) async fn tidy(&self, unfinished: Vec<PathBuf>, since: SystemTime) -> Result<Removed> {
        match self {
            Self::Directory(directory) => directory.tidy(unfinished, since).await,
            Self::Bucket(_) => Ok(Removed::default()),
        }
    }

    /// Writes something small, so that the answer is true.
    pub(super) async fn check(&self) -> Result<()> {
        match self {
            Self::Directory(directory) => directory.check().await,
            Self::Bucket(bucket) => bucket.check().await,
        }
    }
}

/// Where an object lies: at most 256 entries a folder on the way.
pub(super) fn location(name: &ObjectName) -> object_store::path::Path {
    let text = name.to_string();
    let kind = match name {
        ObjectName::Content(_) => KINDS[0],
        ObjectName::Drawn(_) => KINDS[1],
    };
    object_store::path::Path::from_iter([kind, &text[..2], &text[2..4], &text])
}

/// Where an object's file lies below a directory of documents.
pub fn path_in(directory: &Path, name: &ObjectName) -> PathBuf {
    directory.join(location(name).as_ref())
}

/// The object of this kind that has this name; none when it is something else.
fn named(kind: &str, text: &str) -> Option<ObjectName> {
    match kind {
        "sha256" => text.parse().ok().map(ObjectName::Content),
        _ if text.len() == 32 => text.parse().ok().map(ObjectName::Drawn),
        _ => None,
    }
}

fn found(meta: &ObjectMeta) -> Found {
    Found { size_bytes: meta.size, at: meta.last_modified.into() }
}

/// The head of an object, none when there is no such object; other errors are told by `meaning`.
async fn head(
    store: &dyn ObjectStore,
    name: &object_store::path::Path,
    meaning: impl FnOnce(object_store::Error) -> DocumentsError,
) -> Result<Option<Found>> {
    use object_store::ObjectStoreExt as _;
    match store.head(name).await {
        Ok(meta) => Ok(Some(found(&meta))),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(other) => Err(meaning(other)),
    }
}
