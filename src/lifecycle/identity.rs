//! One process for one node's name and one data directory.
//!
//! Leases, call journal and drains go by the node's name: a process that starts takes back what an earlier life of its node
//! held. Were that life still calling, its faxes would be called twice. So a start is refused when another process has the data
//! directory (`node.lock`), or when the store has just heard of this name from an earlier life that this directory does not
//! know: the same name on another machine. The directory remembers its lives in `node.lives`.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use uuid::Uuid;

use crate::store::{Owner, Store, StoreError};

const LOCK: &str = "node.lock";
const LIVES: &str = "node.lives";
/// A store that is taken back in time knows an earlier life than the last one.
const LIVES_MAX: usize = 100;
/// More than [`LIVES_MAX`] lines can have.
const LIVES_BYTES_MAX: u64 = 8 << 10;
/// A process that is about to end, or a child that is not yet another program, may hold the lock a little longer.
const LOCK_WAITS: [Duration; 40] = [Duration::from_millis(25); 40];

/// Why this process cannot be this node.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Another process has the directory.
    #[error("the data directory {0} is in use by process {1}; fix: stop that one, or name another with --data DIR")]
    DirectoryInUse(PathBuf, String),
    /// Another process has the name.
    #[error(
        "the node \"{node}\" runs already: the store heard of it {ago_s} s ago, from another data directory; fix: give each \
         process a name of its own (`node`, FAXWELL_NODE); when that one is gone, start again in {wait_s} s"
    )]
    NameInUse {
        /// The name.
        node: String,
        /// How long ago.
        ago_s: u64,
        /// When it is surely gone.
        wait_s: u64,
    },
    /// The directory cannot be read or written.
    #[error("{path}: {source}; fix: make the data directory writable and make room on its disk")]
    File {
        /// Which file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The data directory, held until this is dropped or the process is gone.
#[derive(Debug)]
pub struct DataHeld(#[expect(dead_code, reason = "the lock is the open file")] File);

/// Takes the data directory for this process.
///
/// # Errors
/// [`IdentityError::DirectoryInUse`] when another process has it.
pub async fn hold(data: &Path) -> Result<DataHeld, IdentityError> {
    let path = data.join(LOCK);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(|source| IdentityError::File { path: path.clone(), source })?;
    for wait in LOCK_WAITS {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                // For people only: the lock itself is what counts.
                let told = file.set_len(0).and_then(|()| writeln!(&file, "{}", std::process::id()));
                told.map_err(|source| IdentityError::File { path, source })?;
                return Ok(DataHeld(file));
            }
            Err(Errno::WOULDBLOCK | Errno::INTR) => tokio::time::sleep(wait).await,
            Err(error) => return Err(IdentityError::File { path, source: error.into() }),
        }
    }
    let pid = std::fs::read_to_string(&path).unwrap_or_default();
    let pid = if pid.trim().is_empty() { "(unknown)" } else { pid.trim() };
    Err(IdentityError::DirectoryInUse(data.to_owned(), pid.to_owned()))
}

/// Makes sure that no other process is this node, and remembers `owner` as a life of this directory. `gone_after`: a life
/// that the store has not heard of for so long holds no lease any more.
///
/// # Errors
/// [`IdentityError::NameInUse`] when a life that this directory does not know may still work.
pub async fn claim(
    _held: &DataHeld,
    data: &Path,
    owner: &Owner,
    gone_after: Duration,
    store: &dyn Store,
) -> Result<(), IdentityError> {
    let path = data.join(LIVES);
    let failed = |source| IdentityError::File { path: path.clone(), source };
    let mut lives = read(&path).map_err(failed)?;
    let (nodes, _) = store.nodes_and_lines().await?;
    if let Some(seen) = nodes.iter().find(|node| node.owner.node == owner.node) {
        let ago_ms = store.now().await?.0.saturating_sub(seen.seen_at.0);
        let ago = Duration::from_millis(u64::try_from(ago_ms).unwrap_or(0));
        if ago < gone_after && !lives.contains(&seen.owner.epoch) {
            let (ago_s, wait_s) = (ago.as_secs(), (gone_after - ago).as_secs() + 1);
            return Err(IdentityError::NameInUse { node: owner.node.clone(), ago_s, wait_s });
        }
    }
    // Before the store hears of this life: a crash in between must not lock the directory out of its own name.
    lives.push(owner.epoch);
    let latest = &lives[lives.len().saturating_sub(LIVES_MAX)..];
    write(&path, latest).map_err(failed)
}

/// What is no life is passed over: a torn line costs a wait at the most.
fn read(path: &Path) -> io::Result<Vec<Uuid>> {
    let mut text = String::new();
    match File::open(path) {
        Ok(file) => file.take(LIVES_BYTES_MAX).read_to_string(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
}

fn write(path: &Path, lives: &[Uuid]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    let text: String = lives.iter().map(|life| format!("{life}\n")).collect();
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::store::{NodeState, testing};

    const GONE: Duration = Duration::from_secs(60);

    async fn seen(store: &dyn Store, owner: &Owner) {
        let node = NodeState {
            owner: owner.clone(),
            version: "1".to_owned(),
            roles: "line".to_owned(),
            started_at: Timestamp(0),
            seen_at: Timestamp(0),
            draining: false,
            drained: false,
            ordered: None,
        };
        store.node_seen(&node).await.unwrap();
    }

    /// A life of `gw-a` begins in this directory.
    async fn begin(test: &testing::TestStore, data: &Path) -> Result<Owner, IdentityError> {
        let owner = testing::owner("gw-a");
        let held = hold(data).await?;
        claim(&held, data, &owner, GONE, &*test.store).await?;
        seen(&*test.store, &owner).await;
        Ok(owner)
    }

    #[tokio::test]
    async fn a_second_process_is_refused_the_directory_until_the_first_is_gone() {
        let data = tempfile::tempdir().unwrap();
        let first = hold(data.path()).await.unwrap();
        assert!(matches!(hold(data.path()).await, Err(IdentityError::DirectoryInUse(..))));
        drop(first);
        hold(data.path()).await.unwrap();
    }

    #[tokio::test]
    async fn a_node_starts_again_in_its_own_directory_at_once() {
        let (test, data) = (testing::sqlite().await, tempfile::tempdir().unwrap());
        let mut lives = vec![begin(&test, data.path()).await.unwrap()];
        for _ in 0..2 * LIVES_MAX {
            lives.push(begin(&test, data.path()).await.unwrap());
        }
        let length = std::fs::metadata(data.path().join(LIVES)).unwrap().len();
        assert!(length < LIVES_BYTES_MAX, "{length}");
        // A store that went back in time knows an earlier life.
        seen(&*test.store, &lives[lives.len() - LIVES_MAX / 2]).await;
        begin(&test, data.path()).await.unwrap();
        // A life that ended before the store heard of it changes nothing.
        let held = hold(data.path()).await.unwrap();
        claim(&held, data.path(), &testing::owner("gw-a"), GONE, &*test.store).await.unwrap();
        drop(held);
        begin(&test, data.path()).await.unwrap();
    }

    #[tokio::test]
    async fn the_same_name_elsewhere_is_refused_until_the_other_is_surely_gone() {
        let (test, data, other) = (testing::sqlite().await, tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        begin(&test, data.path()).await.unwrap();
        test.clock.advance(Duration::from_secs(10));
        let refused = begin(&test, other.path()).await.unwrap_err();
        assert!(matches!(refused, IdentityError::NameInUse { ago_s: 10, wait_s: 51, .. }), "{refused}");
        assert!(!other.path().join(LIVES).exists(), "a refused start leaves no trace");
        test.clock.advance(GONE);
        begin(&test, other.path()).await.unwrap();
        // And now the first one is the stranger.
        assert!(matches!(begin(&test, data.path()).await, Err(IdentityError::NameInUse { .. })));
    }

    #[tokio::test]
    async fn a_clock_that_went_back_refuses_rather_than_trusts() {
        let (test, data, other) = (testing::sqlite().await, tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        begin(&test, data.path()).await.unwrap();
        test.clock.set(Timestamp(1));
        assert!(matches!(begin(&test, other.path()).await, Err(IdentityError::NameInUse { ago_s: 0, .. })));
    }
}
