//! The store on SQLite: one file, one process, every role.
//!
//! Writing: each method sends a command to the one writer task, which puts the commands that wait into one
//! transaction (`writer`) and answers when it is committed and synced. Reading: a few read-only connections, each
//! reading a snapshot. Failure: a full disk, a lock or an I/O error is [`StoreError::Unavailable`], nothing is half
//! done, and the writer opens the file anew for the next command. A second process on the same file is refused.
//!
//! Statements stand beside the functions that use them, as constants named in their first line.

pub(in crate::store) mod error;
pub(in crate::store) mod query;

pub(in crate::store) mod backup;
pub(in crate::store) mod open;
pub(in crate::store) mod verify;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::pool::PoolOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Sqlite as Driver, SqlitePool};

use super::Result;
use super::sql::{BoxFuture, Conn, Place, Tx, timed_out};
use crate::domain::{Clock, Timestamp};
pub use open::migrate_sqlite;
use writer::Writer;
pub use writer::WriterStats;

/// Limits of the store. The defaults suit a gateway that sends a few thousand faxes an hour.
#[derive(Debug, Clone)]
pub struct SqliteSettings {
    /// Read-only connections.
    pub readers: u32,
    /// Most commands that share one transaction: bounds what one failed commit can take along.
    pub group_max: usize,
    /// Most commands that wait for the writer; more wait outside, for `statement_timeout` at most.
    pub queue_max: usize,
    /// How long a command may take from its call to its answer.
    pub statement_timeout: Duration,
    /// How long SQLite waits for a lock, which only a foreign program on the same file can hold.
    pub busy_timeout: Duration,
    /// The largest the file may get; beyond it the store is unavailable for writing, as with a full disk.
    pub file_size_bytes_max: u64,
}

impl Default for SqliteSettings {
    fn default() -> Self {
        Self {
            readers: 4,
            group_max: 128,
            queue_max: 1024,
            statement_timeout: Duration::from_secs(15),
            busy_timeout: Duration::from_secs(5),
            file_size_bytes_max: 64 << 30,
        }
    }
}

/// The store's clock: the process's clock that never goes backwards between two calls.
struct StoreClock {
    clock: Arc<dyn Clock>,
    latest: AtomicI64,
}

impl StoreClock {
    fn now(&self) -> Timestamp {
        let now = self.clock.now().0;
        Timestamp(self.latest.fetch_max(now, Ordering::SeqCst).max(now))
    }
}

/// The engine: one SQLite file.
pub(in crate::store) struct Sqlite {
    writer: Writer,
    readers: SqlitePool,
    clock: Arc<StoreClock>,
    statement_timeout: Duration,
    /// Of connections that only read, for copies of the whole.
    reading: SqliteConnectOptions,
    settings: SqliteSettings,
}

impl Sqlite {
    /// Opens the file, makes it if there is none, and brings its schema up to date.
    ///
    /// [`StoreError::Unusable`] when another process has it open (the error names its pid) or when the schema is
    /// one that this program does not know; [`StoreError::Unavailable`] when it cannot be read or written.
    pub(in crate::store) async fn open(path: &Path, clock: Arc<dyn Clock>, settings: SqliteSettings) -> Result<Self> {
        let lock = open::lock(path).await?;
        open::make_private(path)?;
        let options = open::options(path, &settings);
        let connection = open::first_connection(path, &options, settings.statement_timeout, clock.now()).await?;
        let clock = Arc::new(StoreClock { clock, latest: AtomicI64::new(i64::MIN) });
        let reading = options.clone().read_only(true).create_if_missing(false);
        let readers = PoolOptions::<Driver>::new()
            .max_connections(settings.readers.max(1))
            .acquire_timeout(settings.statement_timeout)
            .connect_lazy_with(reading.clone());
        let statement_timeout = settings.statement_timeout;
        let writer = Writer::start(connection, options, lock, Arc::clone(&clock), &settings);
        Ok(Self { writer, readers, clock, statement_timeout, reading, settings })
    }

    /// Finishes what waits, moves the log into the file and closes it. Later calls answer `Unavailable`.
    pub(in crate::store) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// What the writer has done so far.
    pub(in crate::store) fn writer_stats(&self) -> WriterStats {
        self.writer.stats()
    }

    /// Runs `task` in the writer's next transaction; answers when that is committed.
    pub(in crate::store) async fn write<T, F>(&self, name: &'static str, task: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Tx) -> BoxFuture<'c, Result<T>> + Send + 'static,
    {
        self.writer.run(name, task).await
    }

    /// Runs `task` on a snapshot.
    pub(in crate::store) async fn read<T, F>(&self, name: &'static str, task: F) -> Result<T>
    where
        T: Send,
        F: for<'c> FnOnce(&'c mut Tx) -> BoxFuture<'c, Result<T>> + Send,
    {
        let work = async {
            // A dropped sqlx transaction is rolled back before its connection is used again.
            let snapshot = self.readers.begin().await.place(name)?;
            let mut tx = Tx::new(Conn::SqliteSnapshot(snapshot), Some(self.clock.now()));
            task(&mut tx).await
        };
        match tokio::time::timeout(self.statement_timeout, work).await {
            Ok(result) => result,
            Err(_) => Err(timed_out(name, self.statement_timeout)),
        }
    }

    /// The store's clock.
    pub(in crate::store) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Writes a consistent copy of the file to a new one, synced.
    pub(in crate::store) async fn backup_to(&self, path: &Path) -> Result<()> {
        backup::copy(&self.reading, &self.settings, path).await
    }
}
