//! What SQLite's errors mean for the caller.
//!
//! Constraints and triggers are our mistakes (`Refused`); a disk, a lock or a lost connection is the world's
//! (`Unavailable`); a value that cannot be read was written by a program that this one does not know (`Unusable`).

use crate::store::StoreError;
use crate::store::sql::unknown_value;

/// Primary result codes, <https://www.sqlite.org/rescode.html>.
const SQLITE_ERROR: i32 = 1;
const SQLITE_FULL: i32 = 13;
const SQLITE_TOOBIG: i32 = 18;
const SQLITE_CONSTRAINT: i32 = 19;
const SQLITE_MISMATCH: i32 = 20;
const SQLITE_RANGE: i32 = 25;

/// What an error of sqlx means.
pub(in crate::store) fn meaning(name: &str, error: &sqlx::Error) -> StoreError {
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
