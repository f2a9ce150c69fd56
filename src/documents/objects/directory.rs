//! Objects as files of a directory, which several nodes may share.
//!
//! A put writes beside, syncs, and links into place; it syncs the directories above too, since another put may have made one
//! of them a moment ago and not have synced it yet. Putting what is there already touches its file and looks whether it is
//! still there after that. A removal moves the file aside, looks at its age once more, and puts it back when it became young:
//! of a touch and a removal at the same moment, on whichever nodes, either the removal sees the touch or the put sees the
//! removal.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use tracing::warn;

use super::{Found, KINDS, LISTED_MAX, Listed, Removed, head, named, path_in};
use crate::documents::{DocumentsError, Result, blocking};
use crate::fault::crash_point;
use crate::store::ObjectName;

/// What a file is called behind its name while it is being removed.
const ASIDE: &str = "#gone";
/// Puts of one file that lose it to a removal, one after another.
const TRIES_MAX: usize = 8;

/// Files below one directory.
pub(in crate::documents) struct Directory {
    path: PathBuf,
    files: LocalFileSystem,
}

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let unavailable = |e: &dyn std::fmt::Display| {
            let fix = "fix: the directory must be writable for the gateway";
            DocumentsError::Unavailable(format!("cannot use {}: {e}; {fix}", path.display()))
        };
        // For the gateway's user alone: these are other people's letters.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| unavailable(&e))?;
        let path = path.canonicalize().map_err(|e| unavailable(&e))?;
        Ok(Self::look_at(&path))
    }

    /// Paths are checked by whoever uses them: with a prefix the library would make the directory.
    pub(super) fn look_at(path: &Path) -> Self {
        // Without fsync, which is the default, a 250 after a put would be a lie.
        Self { path: path.to_owned(), files: LocalFileSystem::new().with_fsync(true) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self, name: &ObjectName) -> PathBuf {
        path_in(&self.path, name)
    }

    fn at(&self, name: &ObjectName) -> Result<object_store::path::Path> {
        let file = self.file(name);
        object_store::path::Path::from_absolute_path(&file).map_err(|e| {
            DocumentsError::Unavailable(format!("cannot use {}: {e}; fix: name it otherwise", file.display()))
        })
    }

    pub(super) async fn create(&self, name: &ObjectName, bytes: Vec<u8>) -> Result<()> {
        let (at, size_bytes) = (self.at(name)?, bytes.len() as u64);
        let payload = PutPayload::from(bytes);
        crash_point!("documents.unwritten");
        for _ in 0..TRIES_MAX {
            let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            match self.files.put_opts(&at, payload.clone(), create).await {
                Ok(_) => return self.sync(name).await,
                Err(object_store::Error::AlreadyExists { .. }) => {}
                Err(other) => return Err(self.meaning(other)),
            }
            let stored = self.find(name).await?;
            if let Some(damaged) = stored.filter(|stored| stored.size_bytes != size_bytes) {
                warn!(document = %name, found = damaged.size_bytes, expected = size_bytes, "a damaged document is replaced");
                return self.put(name, payload).await;
            }
            // Perhaps no row names it any more. From now on it is as young as a new one, until ours does.
            let file = self.file(name);
            if blocking(move || touch(&file)).await? {
                return self.sync(name).await;
            }
        }
        Err(DocumentsError::Unavailable(format!(
            "{name} was removed {TRIES_MAX} times while it was put; fix: try again"
        )))
    }

    pub(super) async fn replace(&self, name: &ObjectName, bytes: Vec<u8>) -> Result<()> {
        self.put(name, PutPayload::from(bytes)).await
    }

    async fn put(&self, name: &ObjectName, payload: PutPayload) -> Result<()> {
        self.files.put(&self.at(name)?, payload).await.map_err(|e| self.meaning(e))?;
        self.sync(name).await
    }

    async fn sync(&self, name: &ObjectName) -> Result<()> {
        crash_point!("documents.unsynced");
        let (file, top) = (self.file(name), self.path.clone());
        blocking(move || sync_up_to(&file, &top)).await
    }

    pub(super) async fn find(&self, name: &ObjectName) -> Result<Option<Found>> {
        head(&self.files, &self.at(name)?, |e| self.meaning(e)).await
    }

    pub(super) async fn read(&self, name: &ObjectName) -> Result<Option<Vec<u8>>> {
        match self.files.get(&self.at(name)?).await {
            Ok(found) => Ok(Some(found.bytes().await.map_err(|e| self.meaning(e))?.into())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(other) => Err(self.meaning(other)),
        }
    }

    pub(super) async fn remove(&self, names: &[ObjectName], since: SystemTime) -> Result<Removed> {
        let files: Vec<PathBuf> = names.iter().map(|name| self.file(name)).collect();
        blocking(move || {
            let mut removed = Removed::default();
            for file in &files {
                removed.add(remove_old(file, since)?);
            }
            Ok(removed)
        })
        .await
    }

    pub(super) async fn list(
        &self,
        folder: u8,
        after: Option<&str>,
        old: SystemTime,
        unfinished: SystemTime,
    ) -> Result<Listed> {
        let (top, after) = (self.path.clone(), after.map(str::to_owned));
        let listed = blocking(move || list(&top, folder, after.as_deref(), old, unfinished)).await;
        listed.map_err(|e| match e {
            DocumentsError::Unavailable(why) => {
                let fix = "fix: run this as the gateway's user";
                DocumentsError::Unavailable(format!("cannot list {}: {why}; {fix}", self.path.display()))
            }
            other => other,
        })
    }

    pub(super) async fn tidy(&self, unfinished: Vec<PathBuf>, since: SystemTime) -> Result<Removed> {
        blocking(move || {
            let mut removed = Removed::default();
            for file in &unfinished {
                match file.to_str().and_then(|text| text.strip_suffix(ASIDE)) {
                    // Its removal goes on as if it had not begun: perhaps somebody has put it meanwhile.
                    Some(whole) => bring_back(file, Path::new(whole))?,
                    None => removed.add(unlink_old(file, since)?),
                }
            }
            Ok(removed)
        })
        .await
    }

    pub(super) async fn check(&self) -> Result<()> {
        let path = self.path.clone();
        let written =
            blocking(move || tempfile::Builder::new().prefix("check-").tempfile_in(&path)?.as_file().sync_all());
        written.await.map_err(|error| {
            let fix = "fix: the directory must be there and writable for the gateway";
            DocumentsError::Unavailable(format!("{} cannot be written: {error}; {fix}", self.path.display()))
        })
    }

    fn meaning(&self, error: object_store::Error) -> DocumentsError {
        if is_full(&error) {
            let free_bytes = free_bytes(&self.path).unwrap_or(0);
            return DocumentsError::Full { directory: self.path.clone(), free_bytes, needed_bytes: 0 };
        }
        DocumentsError::Unavailable(format!("{error}; fix: check {}", self.path.display()))
    }
}

/// Syncs a file and each directory above it, up to `top`. Syncing what is clean costs next to nothing.
fn sync_up_to(file: &Path, top: &Path) -> io::Result<()> {
    for path in file.ancestors() {
        File::open(path)?.sync_all()?;
        if path == top {
            break;
        }
    }
    Ok(())
}

/// Makes a file young. False when it is not there, or not there any more after that.
fn touch(path: &Path) -> io::Result<bool> {
    let time = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let times = Timestamps { last_access: time(UTIME_OMIT), last_modification: time(UTIME_NOW) };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    rustix::fs::futimens(&file, &times)?;
    path.try_exists()
}

/// Answers the octets that went; none when the file is young or not there.
fn remove_old(path: &Path, since: SystemTime) -> io::Result<Option<u64>> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.modified()? < since => {}
        Ok(_) => return Ok(None),
        Err(error) => return gone(error),
    }
    let mut aside = path.as_os_str().to_owned();
    aside.push(ASIDE);
    let aside = PathBuf::from(aside);
    if let Err(error) = fs::rename(path, &aside) {
        return gone(error);
    }
    // Opened, so that a share asks its server: somebody may have touched it just before it moved.
    let meta = File::open(&aside)?.metadata()?;
    if meta.modified()? >= since {
        bring_back(&aside, path)?;
        return Ok(None);
    }
    fs::remove_file(&aside).map(|()| Some(meta.len())).or_else(gone)
}

/// A file that moved aside has its name again, unless somebody has put it anew.
fn bring_back(aside: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(aside, path) {
        Ok(()) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {}
        Err(error) => return Err(error),
    }
    fs::remove_file(aside).or_else(|error| gone::<()>(error).map(drop))
}

fn unlink_old(path: &Path, since: SystemTime) -> io::Result<Option<u64>> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.modified()? < since => fs::remove_file(path).map(|()| Some(meta.len())).or_else(gone),
        Ok(_) => Ok(None),
        Err(error) => gone(error),
    }
}

fn gone<T>(error: io::Error) -> io::Result<Option<T>> {
    if error.kind() == io::ErrorKind::NotFound { Ok(None) } else { Err(error) }
}

/// Objects and unfinished files below `sha256/ab` and `drawn/ab`. `after` is `KIND/ab/cd` of the last folder before.
fn list(top: &Path, folder: u8, after: Option<&str>, old: SystemTime, unfinished: SystemTime) -> io::Result<Listed> {
    let mut listed = Listed::default();
    for kind in KINDS {
        let mut inner = match fs::read_dir(top.join(kind).join(format!("{folder:02x}"))) {
            Ok(below) => below.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        inner.sort();
        for path in inner.into_iter().filter(|path| path.is_dir()) {
            // Kinds in their own order, then folders: "sha256" goes before "drawn" here.
            let place = format!("{}{}", u8::from(kind != KINDS[0]), path.display());
            if after.is_some_and(|after| place.as_str() <= after) {
                continue;
            }
            list_inner(kind, &path, old, unfinished, &mut listed)?;
            if listed.old.len() + listed.unfinished.len() >= LISTED_MAX {
                listed.next = Some(place);
                return Ok(listed);
            }
        }
    }
    Ok(listed)
}

fn list_inner(kind: &str, path: &Path, old: SystemTime, unfinished: SystemTime, listed: &mut Listed) -> io::Result<()> {
    for file in fs::read_dir(path)? {
        let file = file?;
        let name = file.file_name().to_string_lossy().into_owned();
        let Ok(meta) = file.metadata() else { continue };
        match named(kind, &name) {
            Some(object) if meta.modified()? < old => listed.old.push(object),
            Some(_) => {}
            // `<name>#1` is a put under way, `<name>#gone` a removal; anything else is not ours.
            None if name.contains('#') && meta.modified()? < unfinished => listed.unfinished.push(file.path()),
            None => {}
        }
    }
    Ok(())
}

pub(in crate::documents) fn free_bytes(directory: &Path) -> io::Result<u64> {
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
