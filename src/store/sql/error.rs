//! What the engines' errors mean for the caller.
//!
//! Constraints and triggers are our mistakes (`Refused`); a disk, a lock or a lost connection is the world's
//! (`Unavailable`); a value that cannot be read was written by a program that this one does not know (`Unusable`).

use std::time::Duration;

use crate::store::{Result, StoreError, postgres, sqlite};

/// An error of either engine's driver.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum DbError {
    /// SQLite's.
    #[error(transparent)]
    Sqlite(#[from] sqlx::Error),
    /// PostgreSQL's.
    #[error(transparent)]
    Postgres(#[from] postgres::Error),
    /// What came out is not what the statement promises.
    #[error("{0}")]
    Value(String),
}

impl DbError {
    /// Whether a unique index refused a row.
    pub(in crate::store) fn is_unique_violation(&self) -> bool {
        match self {
            Self::Sqlite(sqlx::Error::Database(error)) => error.is_unique_violation(),
            Self::Postgres(error) => error.is_unique_violation(),
            _ => false,
        }
    }
}

/// Says where an error of a driver came up and what it means.
pub(in crate::store) trait Place<T> {
    /// `name` is the command or statement.
    fn place(self, name: &str) -> Result<T>;
}

impl<T, E: Into<DbError>> Place<T> for std::result::Result<T, E> {
    fn place(self, name: &str) -> Result<T> {
        self.map_err(|error| match error.into() {
            DbError::Sqlite(error) => sqlite::error::meaning(name, &error),
            DbError::Postgres(error) => error.meaning(name),
            DbError::Value(what) => unknown_value(name, &what),
        })
    }
}

/// The error for a command that took too long.
pub(in crate::store) fn timed_out(name: &str, limit: Duration) -> StoreError {
    StoreError::Unavailable(format!("{name} took longer than {} s", limit.as_secs()))
}

/// The error for a stored value that this program cannot read.
pub(in crate::store) fn unknown_value(name: &str, what: &str) -> StoreError {
    StoreError::Unusable(format!(
        "the store holds a value that this program does not know ({name}: {what}); fix: run the version that wrote it"
    ))
}
