//! The call journal: what the far end was told in this node's calls, durable before the call goes on.
//!
//! ```text
//! media thread ─► write (fdatasync) ─► next page may start        store takes it ─► taken ─► the file is emptied
//!                       └─► store, at once or when it is back ──────────┘
//! start: file ─► torn tail cut off ─► every fact told to the store again, in order (`replay`)
//! ```
//! One file, opened for appending; a record is a line: CRC-32 of the rest in hex, a blank, the record as JSON. Facts may
//! be told twice, so a record is only removed when the store has it. A line that was half written (power failure, full
//! disk) is skipped; a whole one that this version does not know keeps the node from starting, since what the far end was
//! told would be forgotten with it. When the file cannot be written the caller is told, and the fact must reach the store
//! instead.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::FallocateFlags;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{AttemptId, Clock, Timestamp};
use crate::fault::{self, crash_point};
use crate::store::{AttemptFact, JournalFact, ParkedFact, Result as StoreResult, Store, StoreError};

/// Beyond this the file is written anew with what the store has not taken; is that too much, nothing more is taken.
/// Sixteen thousand pages that nobody could store.
const SIZE_BYTES_MAX: u64 = 4 << 20;

/// More than it can ever have.
const SIZE_BYTES_READ_MAX: u64 = 2 * SIZE_BYTES_MAX;

/// Room that the file has although it is empty: a disk that fills up in the middle of calls still takes their facts, and
/// a page that the far end has confirmed is not sent again after a restart. About two hundred pages.
const RESERVED_BYTES: u64 = 64 << 10;

/// Where the records are, in the journal's folder.
const FILE: &str = "calls.log";
/// The file that takes its place.
const FRESH: &str = "calls.new";

/// One fact of one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its own.
    pub id: Uuid,
    /// The call.
    pub attempt: AttemptId,
    /// By this node's clock.
    pub at: Timestamp,
    /// What happened.
    pub fact: JournalFact,
}

/// A record in the journal, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry(u64);

/// Whether a record must survive a power failure when [`Journal::write`] returns; each survives the end of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It must.
    Durably,
    /// The next durable one takes it along.
    Lightly,
}

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be read or written.
    #[error(
        "the call journal {path} cannot be used: {source}; fix: make the data directory writable and make room on its disk"
    )]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A whole record that says something new.
    #[error(
        "the call journal {path} holds a fact that this version does not know (record {line}: {why}); \
         fix: start the version that wrote it, which tells the store, and stop it again"
    )]
    Unknown {
        /// Which.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is not known.
        why: String,
    },
    /// It was never written by a gateway.
    #[error(
        "the call journal {path} has {size_bytes} octets and never more than {SIZE_BYTES_READ_MAX}; fix: move the file away"
    )]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// Its length.
        size_bytes: u64,
    },
}

/// The journal of one node.
pub struct Journal {
    folder: PathBuf,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    file: File,
    size_bytes: u64,
    /// What the store has not taken, in order.
    pending: BTreeMap<Entry, Record>,
    next: u64,
    /// The last write has failed: half a line may stand there.
    torn: bool,
}

impl Journal {
    /// Opens the journal in `folder`, which is made if there is none. What it holds is pending.
    pub fn open(folder: &Path, clock: Arc<dyn Clock>) -> Result<Self, JournalError> {
        let path = folder.join(FILE);
        let state = open(folder, &path)?;
        Ok(Self { folder: folder.to_owned(), clock, state: Mutex::new(state) })
    }

    /// Adds a fact. On an error it may or may not survive.
    pub fn write(&self, attempt: AttemptId, fact: JournalFact, keep: Keep) -> io::Result<Entry> {
        let record = Record { id: Uuid::now_v7(), attempt, at: self.clock.now(), fact };
        let mut state = self.lock();
        if !fault::is_on("no-journal") {
            state.append(&self.folder, &record, keep)?;
        }
        let entry = Entry(state.next);
        state.next += 1;
        state.pending.insert(entry, record);
        Ok(entry)
    }

    /// The store has it. The file is emptied when the store has everything.
    pub fn taken(&self, entry: Entry) {
        let mut state = self.lock();
        if state.pending.remove(&entry).is_some() && state.pending.is_empty() && state.size_bytes > 0 {
            // Not synced: what comes back after a power failure is told once more.
            match state.file.set_len(0) {
                Ok(()) => {
                    (state.size_bytes, state.torn) = (0, false);
                    reserve(&state.file);
                }
                Err(error) => tracing::warn!(%error, "the call journal cannot be emptied"),
            }
        }
    }

    /// What the store has not taken, in order.
    pub fn pending(&self) -> Vec<(Entry, Record)> {
        self.lock().pending.iter().map(|(entry, record)| (*entry, record.clone())).collect()
    }

    /// Tells the store everything that an earlier life of this node could not. To be called before anything is settled
    /// or claimed. Answers how many facts there were; an error when the store is away.
    pub async fn replay(&self, store: &dyn Store, node: &str) -> StoreResult<usize> {
        let (mut told, mut last) = (0, BTreeMap::new());
        let pending = self.pending();
        for (entry, record) in pending.iter().filter(|(_, record)| about_last_page(record)) {
            last.insert(record.attempt, *entry);
        }
        for (entry, record) in &pending {
            // Told again one by one, an earlier word about the last page would hold for a moment.
            if about_last_page(record) && last.get(&record.attempt) != Some(entry) {
                self.taken(*entry);
                continue;
            }
            self.tell(store, node, *entry).await?;
            crash_point!("journal.replayed-one");
            told += 1;
        }
        Ok(told)
    }

    /// Tells the store one fact. What it does not take is parked there; an error when it is away.
    pub async fn tell(&self, store: &dyn Store, node: &str, entry: Entry) -> StoreResult<()> {
        let Some(record) = self.lock().pending.get(&entry).cloned() else { return Ok(()) };
        tell(store, node, record).await?;
        crash_point!("journal.fact-stored");
        self.taken(entry);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked in between left a whole state: the file is written before it changes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the store a fact, or parks it there when no row takes it: a store that was taken back in time has lost the
/// attempt, and the fact stays true. An error when the store is away.
async fn tell(store: &dyn Store, node: &str, record: Record) -> StoreResult<()> {
    let why = match record.fact.tell(store, record.attempt).await {
        Ok(()) => return Ok(()),
        Err(StoreError::Unavailable(why)) => return Err(StoreError::Unavailable(why)),
        Err(other) => other.to_string(),
    };
    tracing::error!(attempt = %record.attempt, fact = ?record.fact, why, "a fact of a call fits no row: it is parked");
    let Record { id, attempt, at, fact } = record;
    let node = node.to_owned();
    store.park_fact(ParkedFact { id, node, attempt, fact, why, happened_at: at, parked_at: at }).await
}

fn about_last_page(record: &Record) -> bool {
    matches!(record.fact, JournalFact::Fact(AttemptFact::AllPagesSent | AttemptFact::PageRefused { .. }))
}

impl State {
    fn append(&mut self, folder: &Path, record: &Record, keep: Keep) -> io::Result<()> {
        let line = line(record)?;
        if self.size_bytes + line.len() as u64 > SIZE_BYTES_MAX {
            self.compact(folder)?;
            if self.size_bytes + line.len() as u64 > SIZE_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::StorageFull, "the call journal is full"));
            }
        }
        // A line of its own, whatever the failed write before it has left.
        let bytes = if self.torn { [b"\n", line.as_slice()].concat() } else { line };
        let written = self.file.write_all(&bytes).and_then(|()| match keep {
            Keep::Durably => {
                crash_point!("journal.unsynced");
                self.file.sync_data()
            }
            Keep::Lightly => Ok(()),
        });
        self.torn = written.is_err();
        self.size_bytes += bytes.len() as u64;
        written
    }

    /// Writes a fresh file of what is pending, durable before it takes the place of the old one.
    fn compact(&mut self, folder: &Path) -> io::Result<()> {
        let (path, fresh) = (folder.join(FILE), folder.join(FRESH));
        let lines: Vec<u8> = self.pending.values().map(line).collect::<io::Result<Vec<_>>>()?.concat();
        match std::fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = options().create_new(true).open(&fresh)?;
        file.write_all(&lines)?;
        file.sync_all()?;
        std::fs::rename(&fresh, &path)?;
        File::open(folder)?.sync_all()?;
        reserve(&file);
        (self.file, self.size_bytes, self.torn) = (file, lines.len() as u64, false);
        Ok(())
    }
}

fn line(record: &Record) -> io::Result<Vec<u8>> {
    let json = serde_json::to_string(record)?;
    Ok(format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes())).into_bytes())
}

/// The JSON of a line; none when its CRC is not right.
fn whole(line: &[u8]) -> Option<&[u8]> {
    let (crc, json) = line.split_at_checked(9)?;
    let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?.strip_suffix(' ')?, 16).ok()?;
    (crc == crc32fast::hash(json)).then_some(json)
}

/// Takes the room, without the file looking longer.
fn reserve(file: &File) {
    if let Err(error) = rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, RESERVED_BYTES) {
        // A file system that cannot, or a full disk: every write says for itself whether it is kept.
        tracing::debug!(%error, "no room is reserved for the call journal");
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    // For the gateway's user alone: numbers of machines that were called stand in it.
    options.read(true).append(true).mode(0o600);
    options
}

fn open(folder: &Path, path: &Path) -> Result<State, JournalError> {
    let failed = |source: io::Error| JournalError::File { path: path.to_owned(), source };
    let (file, bytes) = read(folder, path).map_err(failed)?;
    let size_bytes = bytes.len() as u64;
    if size_bytes > SIZE_BYTES_READ_MAX {
        return Err(JournalError::TooLarge { path: path.to_owned(), size_bytes });
    }
    let mut state = State { file, size_bytes: 0, pending: BTreeMap::new(), next: 0, torn: false };
    let (mut at, mut damaged) = (0, 0_u32);
    for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        at += line.len() as u64;
        let Some(json) = line.strip_suffix(b"\n").and_then(whole) else {
            damaged += u32::from(line != b"\n");
            continue;
        };
        let record = serde_json::from_slice(json).map_err(|error| {
            let (path, why) = (path.to_owned(), error.to_string());
            JournalError::Unknown { path, line: number + 1, why }
        })?;
        state.pending.insert(Entry(state.next), record);
        state.next += 1;
        state.size_bytes = at;
    }
    if damaged > 0 {
        tracing::warn!(path = %path.display(), damaged, "records of the call journal were half written and are skipped");
    }
    if at > state.size_bytes {
        state.file.set_len(state.size_bytes).and_then(|()| state.file.sync_all()).map_err(failed)?;
    }
    // After the cut: it frees what lies behind the end.
    reserve(&state.file);
    Ok(state)
}

/// Opens the file, and makes it if there is none. Of one that is too large no more is read than shows it.
fn read(folder: &Path, path: &Path) -> io::Result<(File, Vec<u8>)> {
    std::fs::create_dir_all(folder)?;
    let file = options().create(true).open(path)?;
    File::open(folder)?.sync_all()?;
    let mut bytes = Vec::new();
    // Its length alone is read, were it something else than a file.
    let length = file.metadata()?.len().min(SIZE_BYTES_READ_MAX + 1);
    (&file).take(length).read_to_end(&mut bytes)?;
    Ok((file, bytes))
}

#[cfg(test)]
mod tests;
