//! Opening the file: the lock against a second process, the connection's settings, the schema.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::SqliteSettings;
use crate::domain::Timestamp;
use crate::store::migrations::{self, Allowed, Schema, Target};
use crate::store::sql::{Place, timed_out};
use crate::store::{Result, StoreError};

/// SQLite's default page size, which `file_size_bytes_max` is counted in.
const PAGE_SIZE_BYTES: u64 = 4096;

/// How long to wait for the lock file between tries: half a second in all.
const LOCK_WAITS: [Duration; 20] = [Duration::from_millis(25); 20];

/// Takes the lock file `<path>.lock`, or names the process that has it. It is free again when that process is gone,
/// however it went. SQLite's own locks cannot do this: they are held for the time of a statement only.
///
/// It waits a moment for the lock: a process that is about to end, or a child that was forked and has not yet become
/// another program, may hold it a little longer.
pub(in crate::store) async fn lock(path: &Path) -> Result<File> {
    let name = {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        std::path::PathBuf::from(name)
    };
    let unavailable = |what: &str, e: &dyn std::fmt::Display| {
        StoreError::Unavailable(format!(
            "{what} {}: {e}; fix: the directory must exist and be writable",
            name.display()
        ))
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&name)
        .map_err(|e| unavailable("cannot open", &e))?;
    for wait in LOCK_WAITS {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return write_pid(file).map_err(|e| unavailable("cannot write", &e)),
            Err(Errno::WOULDBLOCK | Errno::INTR) => tokio::time::sleep(wait).await,
            Err(e) => return Err(unavailable("cannot lock", &e)),
        }
    }
    let mut pid = String::new();
    // A name that cannot be read is no reason for another error.
    let _ = file.take(32).read_to_string(&mut pid);
    Err(StoreError::Unusable(format!(
        "the store {} is in use by process {}; fix: stop that process, or name another data directory with --data DIR",
        path.display(),
        if pid.trim().is_empty() { "(unknown)" } else { pid.trim() }
    )))
}

/// The pid is for people only; the lock itself is what counts.
fn write_pid(mut file: File) -> std::io::Result<File> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
}

/// Makes the file, if there is none, for its owner alone: it holds mails and post-dial digits. SQLite gives its log
/// the same permissions.
pub(in crate::store) fn make_private(path: &Path) -> Result<()> {
    let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    made.map(|_| ()).map_err(|e| {
        let fix = "fix: the directory must exist and be writable";
        StoreError::Unavailable(format!("cannot open {}: {e}; {fix}", path.display()))
    })
}

/// The settings of every connection.
pub(in crate::store) fn options(path: &Path, settings: &SqliteSettings) -> SqliteConnectOptions {
    let pages_max = (settings.file_size_bytes_max / PAGE_SIZE_BYTES).clamp(1, u64::from(u32::MAX - 1));
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .page_size(PAGE_SIZE_BYTES as u32)
        .journal_mode(SqliteJournalMode::Wal)
        // FULL syncs the log at each commit. NORMAL may lose the last commits when the power fails: not after a 250.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(settings.busy_timeout)
        .pragma("max_page_count", pages_max.to_string())
        .statement_cache_capacity(256)
        .disable_statement_logging()
}

/// The settings of a connection that only looks.
pub(super) fn reading_options(path: &Path, settings: &SqliteSettings) -> SqliteConnectOptions {
    // No journal mode is asked for: a copy stays as it is, and a file beside it would be one that nobody takes away.
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .read_only(true)
        .busy_timeout(settings.busy_timeout)
        .disable_statement_logging()
}

/// Connects within the time limit.
pub(super) async fn connect(options: &SqliteConnectOptions, limit: Duration) -> Result<SqliteConnection> {
    match tokio::time::timeout(limit, options.connect()).await {
        Ok(connection) => connection.place("open"),
        Err(_) => Err(timed_out("open", limit)),
    }
}

/// Connects and brings the schema up to date. No time limit on migrations: a large file may take minutes.
pub(in crate::store) async fn first_connection(
    path: &Path,
    options: &SqliteConnectOptions,
    limit: Duration,
    now: Timestamp,
) -> Result<SqliteConnection> {
    let mut connection = connect(options, limit).await?;
    // Nobody else has the file, so that a contract takes nothing from anybody.
    schema(path, &mut connection, now, Allowed::Contract).await?;
    Ok(connection)
}

/// Looks at the schema and applies what is allowed.
pub(super) async fn schema(
    path: &Path,
    connection: &mut SqliteConnection,
    now: Timestamp,
    allowed: Allowed,
) -> Result<Schema> {
    let place = path.display().to_string();
    migrations::bring_up(Target::Sqlite { connection, now }, migrations::of_sqlite(), &place, allowed).await
}

/// The same for a file that no gateway runs on; it is made when it is not there.
///
/// A look takes no lock and makes nothing: the schema of a file that is not there has version 0.
pub async fn migrate_sqlite(path: &Path, now: Timestamp, allowed: Allowed) -> Result<Schema> {
    let settings = SqliteSettings::default();
    if allowed == Allowed::Nothing && !path.exists() {
        return Ok(Schema::of_nothing(migrations::of_sqlite()));
    }
    let (_lock, options) = if allowed == Allowed::Nothing {
        (None, reading_options(path, &settings))
    } else {
        let lock = lock(path).await?;
        make_private(path)?;
        (Some(lock), options(path, &settings))
    };
    let mut connection = connect(&options, settings.statement_timeout).await?;
    let found = schema(path, &mut connection, now, allowed).await;
    let _ = tokio::time::timeout(settings.statement_timeout, connection.close()).await;
    found
}
