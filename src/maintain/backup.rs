//! Backup into a directory, and restore from one.
//!
//! ```text
//! DIR/manifest.json      written last, renamed into place: what is named here is whole
//! DIR/store-TIME.db      the copy of the store
//! DIR/documents/…         the objects that the copy names, as they lie in the repository
//! DIR/incomplete         there while a backup is being written
//! ```
//! Documents that are sealed stay so, and their wrapped keys are in the copy of the store; the file of `store.keys` is in no
//! backup, and no restore without it. Every document is opened and checked when it comes in and when it is restored.
//!
//! A backup into a directory that holds one already adds what is new, and takes away what only the older one named when
//! the new manifest is in place; a backup that is cut off leaves the older one as it was. A restore checks every hash,
//! writes the store last, and leaves `restoring` behind when it is cut off: no gateway starts there.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::verify::{Depth, blocking, wrong};
use crate::config::DocumentsPlace;
use crate::documents::{BucketTimes, DocumentsError, FOLDERS, KeyRing, Repository, path_in, stored_size};
use crate::domain::{Clock, Timestamp};
use crate::store::{
    DocumentRow, Inspection, ObjectName, Restored, SqlStore, SqliteSettings, Store, StoreError, Unended,
};

/// The layout that this program writes and reads.
const FORMAT: u32 = 1;
const MANIFEST: &str = "manifest.json";
const INCOMPLETE: &str = "incomplete";
/// In a data directory that a restore has not finished.
pub const RESTORING: &str = "restoring";
/// Documents named by the store at once.
const ROWS_AT_ONCE: u32 = 200;
/// Damaged documents that a manifest names; where there are more the disk is broken.
const DAMAGED_MAX: usize = 1000;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The layout of the directory.
    pub format: u32,
    /// Version of the program that wrote it.
    pub program: String,
    /// The node whose store it is.
    pub node: String,
    /// When the copy of the store was taken, RFC 3339.
    pub taken_at: String,
    /// Name of the copy of the store.
    pub store: String,
    /// Its octets.
    pub store_bytes: u64,
    /// Its SHA-256, hex.
    pub store_sha256: String,
    /// Documents in files.
    pub documents: u64,
    /// Their octets.
    pub documents_bytes: u64,
    /// Documents that were damaged or missing already, with what is wrong.
    pub damaged: Vec<String>,
}

/// Why there is no backup, or nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The directory is not what it should be; nothing was changed.
    #[error("{what}")]
    Unfit {
        /// What is wrong with it.
        what: String,
        /// What to do.
        fix: &'static str,
    },
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The store of the backup.
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Result<T> = std::result::Result<T, BackupError>;

fn at(path: &Path) -> impl FnOnce(io::Error) -> BackupError + '_ {
    move |source| BackupError::File { path: path.to_owned(), source }
}

fn unfit(what: String, fix: &'static str) -> BackupError {
    BackupError::Unfit { what, fix }
}

/// Where a backup comes from.
#[derive(Debug, Clone)]
pub struct Source {
    /// A consistent copy of the store that nobody writes to.
    pub copy: PathBuf,
    /// The documents with their keys; none is removed meanwhile.
    pub documents: Repository,
    /// The node.
    pub node: String,
    /// When the copy was taken.
    pub taken_at: Timestamp,
}

/// What is restored to.
#[derive(Debug, Clone)]
pub struct Place {
    /// The store's file.
    pub database: PathBuf,
    /// Where its documents go.
    pub documents: DocumentsPlace,
    /// The keys of its documents; none: only documents in the clear can be restored.
    pub keys: Option<Arc<KeyRing>>,
}

/// Writes a backup, or brings the one in `target` up to date.
pub async fn write(source: &Source, target: &Path) -> Result<Manifest> {
    let (from, to) = (source.clone(), target.to_owned());
    let mut manifest = blocking(move || begin(&from, &to)).await??;
    let mut store = Inspection::open(&target.join(&manifest.store)).await?;
    let mut after = None;
    loop {
        let rows = store.document_rows(after, ROWS_AT_ONCE).await?;
        let Some(last) = rows.last() else { break };
        after = Some(last.key);
        let added = add(&source.documents, &target.join("documents"), &rows).await?;
        manifest.documents += added.documents;
        manifest.documents_bytes += added.size_bytes;
        manifest.damaged.extend(added.damaged);
        manifest.damaged.truncate(DAMAGED_MAX);
    }
    let (to, text) = (target.to_owned(), manifest.clone());
    blocking(move || finish(&to, &text)).await??;
    tidy(target, &manifest, &mut store).await?;
    store.close().await;
    Ok(manifest)
}

/// The directory and the copy of the store.
fn begin(source: &Source, target: &Path) -> Result<Manifest> {
    let there = names(target)?;
    let ours = there.iter().any(|name| name == MANIFEST || name == INCOMPLETE);
    if !there.is_empty() && !ours {
        let what = format!("{} holds something else than a backup", target.display());
        return Err(unfit(what, "name an empty or a new directory, or one that holds a backup"));
    }
    make_directory(target)?;
    write_synced(&target.join(INCOMPLETE), b"a backup is being written here, or was cut off\n")?;
    let stamp: String = source.taken_at.to_string().chars().filter(char::is_ascii_alphanumeric).collect();
    // Two backups within a second must not write one file.
    let free = |name: &String| !target.join(name).exists();
    let store = (0..).map(|n: u32| format!("store-{stamp}-{n}.db")).find(free).unwrap_or_default();
    let (store_bytes, store_sha256) = copy(&source.copy, &target.join(&store))?;
    Ok(Manifest {
        format: FORMAT,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        node: source.node.clone(),
        taken_at: source.taken_at.to_string(),
        store,
        store_bytes,
        store_sha256,
        documents: 0,
        documents_bytes: 0,
        damaged: Vec::new(),
    })
}

#[derive(Default)]
struct Added {
    documents: u64,
    size_bytes: u64,
    damaged: Vec<String>,
}

/// Brings over those documents that have objects and are not there yet: linked on one disk, else copied.
async fn add(from: &Repository, to: &Path, rows: &[DocumentRow]) -> Result<Added> {
    let mut added = Added::default();
    for (row, name) in rows.iter().filter_map(|row| Some((row, row.object()?))) {
        let target = path_in(to, &name);
        // What is there was checked when it came, and its name says which bytes it holds.
        let there = fs::metadata(&target).is_ok_and(|meta| meta.len() == stored_size(row.size_bytes, &row.placement));
        if !there {
            // Checked now: when the original is gone it is too late.
            if let Some(wrong) = wrong(from, Depth::Bytes, row).await? {
                added.damaged.push(format!("{}: {}", row.key, wrong.cause));
                continue;
            }
            bring_over(from, to, &name, target).await?;
        }
        added.documents += 1;
        added.size_bytes += row.size_bytes;
    }
    Ok(added)
}

async fn bring_over(from: &Repository, to: &Path, name: &ObjectName, target: PathBuf) -> Result<()> {
    let source = from.directory().map(|directory| path_in(directory, name));
    let bytes = if source.is_some() { None } else { from.stored(name).await.map_err(documents)? };
    let to = to.to_owned();
    blocking(move || {
        let folder = target.parent().unwrap_or(&to);
        make_directory(folder)?;
        let _ = fs::remove_file(&target);
        match (source, bytes) {
            (Some(source), _) if fs::hard_link(&source, &target).is_ok() => {}
            (Some(source), _) => drop(copy(&source, &target)?),
            (None, bytes) => write_synced(&target, &bytes.unwrap_or_default())?,
        }
        sync_up(folder, &to)
    })
    .await?
}

fn documents(error: DocumentsError) -> BackupError {
    StoreError::Unavailable(error.to_string()).into()
}

/// From here the backup is whole.
fn finish(target: &Path, manifest: &Manifest) -> Result<()> {
    let text = serde_json::to_vec_pretty(manifest).expect("texts and numbers always serialise");
    let fresh = target.join("manifest.new");
    write_synced(&fresh, &text)?;
    fs::rename(&fresh, target.join(MANIFEST)).map_err(at(target))?;
    sync(target)?;
    let incomplete = target.join(INCOMPLETE);
    fs::remove_file(&incomplete).map_err(at(&incomplete))
}

/// Takes away what only an older backup in this directory named: what was forgotten is not kept here for ever.
async fn tidy(target: &Path, manifest: &Manifest, store: &mut Inspection) -> Result<()> {
    for name in names(target)? {
        if name.starts_with("store-") && name != manifest.store {
            let old = target.join(&name);
            fs::remove_file(&old).map_err(at(&old))?;
        }
    }
    let directory = target.join("documents");
    let kept = Repository::look_at(&DocumentsPlace::Directory(directory.clone()), None).map_err(documents)?;
    // Every file, however young: nobody else writes here.
    let any = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1 << 40);
    for folder in 0..FOLDERS {
        let mut after: Option<String> = None;
        loop {
            let listed = kept.list_old(folder as u8, after.as_deref(), any, any).await.map_err(documents)?;
            let needed = store.needed(&listed.old).await?;
            let gone = listed.old.iter().filter(|name| !needed.contains(name)).map(|name| path_in(&directory, name));
            for file in gone.chain(listed.unfinished) {
                fs::remove_file(&file).map_err(at(&file))?;
            }
            let Some(next) = listed.next else { break };
            after = Some(next);
        }
    }
    Ok(())
}

/// Reads what a backup says of itself. A directory that a backup was cut off in is told as such.
pub fn manifest(backup: &Path) -> Result<Manifest> {
    let path = backup.join(MANIFEST);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(_) if backup.join(INCOMPLETE).exists() => {
            let what = format!("the backup {} was cut off before it was whole", backup.display());
            return Err(unfit(what, "use another backup, or run faxwell backup again into this directory"));
        }
        Err(error) => {
            let what = format!("{} is no backup: {error}", backup.display());
            return Err(unfit(what, "name the directory that faxwell backup wrote"));
        }
    };
    let parsed: Manifest = serde_json::from_slice(&text)
        .map_err(|error| unfit(format!("{} cannot be read: {error}", path.display()), "use another backup"))?;
    if parsed.format != FORMAT || parsed.store.contains('/') {
        let what = format!("{} has format {}, and this program reads {FORMAT}", path.display(), parsed.format);
        return Err(unfit(what, "restore it with the faxwell that wrote it"));
    }
    Ok(parsed)
}

/// Restores a backup into an empty data directory. `clock` gives the time of what is changed.
pub async fn restore(
    backup: &Path,
    data: &Path,
    place: &Place,
    unended: Unended,
    clock: Arc<dyn Clock>,
) -> Result<Restored> {
    let manifest = manifest(backup)?;
    let (from, to, whole) = (backup.to_owned(), data.to_owned(), manifest.clone());
    blocking(move || prepare(&from, &to, &whole)).await??;
    if place.database.exists() {
        let what = format!("there is a store already: {}", place.database.display());
        return Err(unfit(what, "restore into an empty data directory"));
    }
    let from = DocumentsPlace::Directory(backup.join("documents"));
    let from = Repository::look_at(&from, place.keys.clone()).map_err(documents)?;
    let to = Repository::open(&place.documents, place.keys.clone(), BucketTimes::default()).map_err(documents)?;
    let mut store = Inspection::open(&backup.join(&manifest.store)).await?;
    let mut after = None;
    loop {
        let rows = store.document_rows(after, ROWS_AT_ONCE).await?;
        let Some(last) = rows.last() else { break };
        after = Some(last.key);
        bring_back(&from, &to, &rows, &manifest.damaged).await?;
    }
    store.close().await;
    let fresh = data.join("restoring.db");
    let (from, to) = (backup.join(&manifest.store), fresh.clone());
    blocking(move || {
        // What an earlier restore left.
        let _ = fs::remove_file(&to);
        copy(&from, &to)
    })
    .await??;
    let restored = make_fit(&fresh, &manifest, unended, clock).await?;
    // The store comes last: without it no gateway takes this directory for its own.
    if let Some(folder) = place.database.parent() {
        make_directory(folder)?;
    }
    fs::rename(&fresh, &place.database).map_err(at(&fresh))?;
    let _ = fs::remove_file(data.join("restoring.db.lock"));
    sync(data)?;
    let marker = data.join(RESTORING);
    fs::remove_file(&marker).map_err(at(&marker))?;
    Ok(restored)
}

/// The directory is empty, or what an earlier restore did not finish; the backup's store is whole.
fn prepare(backup: &Path, data: &Path, manifest: &Manifest) -> Result<()> {
    let store = backup.join(&manifest.store);
    if hash_of(&store)? != manifest.store_sha256 {
        let what = format!("{} is damaged: it does not have the hash of its manifest", store.display());
        return Err(unfit(what, "use another backup"));
    }
    let there = names(data)?;
    if !there.is_empty() && !there.iter().any(|name| name == RESTORING) {
        let what = format!("the data directory {} is not empty", data.display());
        return Err(unfit(
            what,
            "name a new one with --data DIR; stop its gateway and move it away to use the same one",
        ));
    }
    make_directory(data)?;
    write_synced(&data.join(RESTORING), b"a restore is under way here, or was cut off: run it again\n")
}

async fn bring_back(from: &Repository, to: &Repository, rows: &[DocumentRow], known: &[String]) -> Result<()> {
    for row in rows.iter().filter(|row| row.pruned_at.is_none()) {
        if let Some(sealed) =
            row.placement.sealed.as_ref().filter(|sealed| !from.keys().is_some_and(|k| k.has(&sealed.by)))
        {
            let what = format!("the backup is sealed with the key \"{}\", which is not in store.keys", sealed.by);
            return Err(unfit(what, "bring the file of keys back first: no backup holds it; name it in store.keys"));
        }
        let key = row.key.to_string();
        let Some(name) = row.object().filter(|_| !known.iter().any(|damaged| damaged.starts_with(&key))) else {
            continue;
        };
        if let Some(wrong) = wrong(from, Depth::Bytes, row).await? {
            return Err(unfit(
                format!("the document {key} of the backup is damaged: {}", wrong.cause),
                "use another backup",
            ));
        }
        let bytes = from.stored(&name).await.map_err(documents)?.unwrap_or_default();
        to.store(&name, bytes).await.map_err(documents)?;
    }
    Ok(())
}

/// The copy becomes a store that may go on: nothing in it is called again unless it is asked for.
async fn make_fit(file: &Path, manifest: &Manifest, unended: Unended, clock: Arc<dyn Clock>) -> Result<Restored> {
    let store = SqlStore::open_sqlite(file, clock, SqliteSettings::default()).await?;
    let why = format!(
        "restored from the backup of {}: calls may have been made since; release it to send it",
        manifest.taken_at
    );
    let restored = store.restored(unended, &why).await;
    store.close().await;
    Ok(restored?)
}

fn names(directory: &Path) -> Result<Vec<String>> {
    match fs::read_dir(directory) {
        Ok(entries) => {
            entries.map(|entry| Ok(entry.map_err(at(directory))?.file_name().to_string_lossy().into_owned())).collect()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(at(directory)(error)),
    }
}

fn make_directory(path: &Path) -> Result<()> {
    // For its owner alone: these are other people's letters.
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    let written = options.write(true).create(true).truncate(true).mode(0o600).open(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(at(path))
}

/// Copies and syncs; the octets and their SHA-256.
fn copy(from: &Path, to: &Path) -> Result<(u64, String)> {
    let mut source = File::open(from).map_err(at(from))?;
    let mut options = fs::OpenOptions::new();
    let mut target = options.write(true).create_new(true).mode(0o600).open(to).map_err(at(to))?;
    let size_bytes = io::copy(&mut source, &mut target).map_err(at(to))?;
    target.sync_all().map_err(at(to))?;
    Ok((size_bytes, hash_of(to)?))
}

fn hash_of(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(at(path))?;
    let mut digest = Sha256::new();
    io::copy(&mut file, &mut digest).map_err(at(path))?;
    Ok(data_encoding::HEXLOWER.encode(&digest.finalize()))
}

fn sync(directory: &Path) -> Result<()> {
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(at(directory))
}

/// Syncs a directory and those above it, up to `top`.
fn sync_up(directory: &Path, top: &Path) -> Result<()> {
    for path in directory.ancestors() {
        sync(path)?;
        if path == top {
            break;
        }
    }
    Ok(())
}
