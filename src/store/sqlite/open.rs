//! Opening the file: the lock against a second process, the connection's settings, the schema.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection};

use super::SqliteSettings;
use super::error::{Place, timed_out};
use crate::store::{Result, StoreError};

/// `migrations/sqlite`, compiled in.
pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// SQLite's default page size, which `file_size_bytes_max` is counted in.
const PAGE_SIZE_BYTES: u64 = 4096;

/// How long to wait for the lock file between tries: half a second in all.
const LOCK_WAITS: [Duration; 20] = [Duration::from_millis(25); 20];

/// Takes the lock file `<path>.lock`, or names the process that has it. It is free again when that process is gone,
/// however it went. SQLite's own locks cannot do this: they are held for the time of a statement only.
///
/// It waits a moment for the lock: a process that is about to end, or a child that was forked and has not yet become
/// another program, may hold it a little longer.
pub(super) async fn lock(path: &Path) -> Result<File> {
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
pub(super) fn make_private(path: &Path) -> Result<()> {
    let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    made.map(|_| ()).map_err(|e| {
        let fix = "fix: the directory must exist and be writable";
        StoreError::Unavailable(format!("cannot open {}: {e}; {fix}", path.display()))
    })
}

/// The settings of every connection.
pub(super) fn options(path: &Path, settings: &SqliteSettings) -> SqliteConnectOptions {
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

/// The schema that this program makes.
pub(super) fn schema_version() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Connects within the time limit.
pub(super) async fn connect(options: &SqliteConnectOptions, limit: Duration) -> Result<SqliteConnection> {
    match tokio::time::timeout(limit, options.connect()).await {
        Ok(connection) => connection.place("open"),
        Err(_) => Err(timed_out("open", limit)),
    }
}

/// Connects and brings the schema up to date. No time limit on migrations: a large file may take minutes.
pub(super) async fn first_connection(
    path: &Path,
    options: &SqliteConnectOptions,
    limit: Duration,
) -> Result<SqliteConnection> {
    let mut connection = connect(options, limit).await?;
    MIGRATIONS.run(&mut connection).await.map_err(|error| explain(path, error))?;
    Ok(connection)
}

fn explain(path: &Path, error: MigrateError) -> StoreError {
    let path = path.display();
    let known = schema_version();
    match error {
        MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _) => {
            StoreError::Unusable(format!(
                "the store {path} has schema version {version}, and this program knows versions up to {known}; \
                 fix: run the newer faxwell that made it"
            ))
        }
        MigrateError::VersionMismatch(version) | MigrateError::Dirty(version) => StoreError::Unusable(format!(
            "the store {path} was made with another schema version {version} than this program's; \
             fix: run the faxwell that made it, or give this one another data directory"
        )),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            match Err::<(), _>(error).place("migrations") {
                Err(StoreError::Refused(why)) => {
                    StoreError::Unusable(format!("the schema of the store {path} cannot be brought up to date: {why}"))
                }
                Err(other) => other,
                Ok(()) => unreachable!("an error was placed"),
            }
        }
        other => StoreError::Unusable(format!("the schema of the store {path} cannot be read: {other}")),
    }
}
