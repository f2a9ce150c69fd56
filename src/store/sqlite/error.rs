//! What SQLite's errors mean for the caller.
//!
//! Constraints and triggers are our mistakes (`Refused`); a disk, a lock or a lost connection is the world's
//! (`Unavailable`); a value that cannot be read was written by a program that this one does not know (`Unusable`).

use std::time::Duration;

use crate::store::{Result, StoreError};

/// Primary result codes, <https://www.sqlite.org/rescode.html>.
const SQLITE_ERROR: i32 = 1;
const SQLITE_FULL: i32 = 13;
const SQLITE_TOOBIG: i32 = 18;
const SQLITE_CONSTRAINT: i32 = 19;
const SQLITE_MISMATCH: i32 = 20;
const SQLITE_RANGE: i32 = 25;

/// Says where an error of the driver came up and what it means.
pub(super) trait Place<T> {
    /// `name` is the command or statement.
    fn place(self, name: &str) -> Result<T>;
}

impl<T> Place<T> for std::result::Result<T, sqlx::Error> {
    fn place(self, name: &str) -> Result<T> {
        self.map_err(|error| meaning(name, &error))
    }
}

/// The error for a command that took too long.
pub(super) fn timed_out(name: &str, limit: Duration) -> StoreError {
    StoreError::Unavailable(format!("{name} took longer than {} s", limit.as_secs()))
}

fn meaning(name: &str, error: &sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Database(database) => {
            let code = database.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or(SQLITE_ERROR);
            // The low byte of an extended result code is the primary one.
            match code & 0xff {
                SQLITE_CONSTRAINT | SQLITE_ERROR | SQLITE_TOOBIG | SQLITE_MISMATCH | SQLITE_RANGE => {
                    StoreError::Refused(format!("{name}: {}", database.message()))
                }
                SQLITE_FULL => StoreError::Unavailable(format!(
                    "{name}: the disk or the file's size limit is full; fix: make room where the store lies"
                )),
                _ => StoreError::Unavailable(format!("{name}: {database}")),
            }
        }
        sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. } => unknown_value(name, &error.to_string()),
        other => StoreError::Unavailable(format!("{name}: {other}")),
    }
}

/// The error for a stored value that this program cannot read.
pub(super) fn unknown_value(name: &str, what: &str) -> StoreError {
    StoreError::Unusable(format!(
        "the store holds a value that this program does not know ({name}: {what}); fix: run the version that wrote it"
    ))
}
