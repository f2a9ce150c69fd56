//! What PostgreSQL's errors mean for the caller.

use std::time::Duration;

use tokio_postgres::error::{DbError, Severity, SqlState};

use super::values::Unfit;
use crate::store::StoreError;

/// An error of the engine.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum Error {
    /// The driver's, or the server's.
    #[error("{}", words(.0))]
    Driver(#[from] tokio_postgres::Error),
    /// A statement or connection took longer than this.
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
    /// No server takes writes.
    #[error("{0}")]
    NoPrimary(String),
    /// The commit is on the primary alone: the wait for its copy was cancelled.
    #[error("the commit may not have been replicated: its wait for a synchronous copy was cancelled")]
    NotReplicated,
    /// A statement failed and its command wanted to commit all the same.
    #[error("a statement of it had failed")]
    Aborted,
}

/// What an error says about the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::store) struct Trouble {
    /// The transaction met another one, or an idle connection had died: trying again is right.
    pub(in crate::store) again: bool,
    /// The server is not the primary any more, or cannot be reached.
    pub(in crate::store) lost: bool,
}

impl Error {
    /// Whether a unique index refused a row.
    pub(in crate::store) fn is_unique_violation(&self) -> bool {
        self.code() == Some(&SqlState::UNIQUE_VIOLATION)
    }

    /// Whether the server has said that it did not do what this is the answer to: not a connection that broke, nor a
    /// server that ended in the middle of it.
    pub(super) fn is_refusal(&self) -> bool {
        self.told().is_some_and(|told| !ends_the_connection(told))
    }

    /// Whether the server has answered at all.
    pub(super) fn is_answer(&self) -> bool {
        self.told().is_some()
    }

    fn told(&self) -> Option<&DbError> {
        match self {
            Self::Driver(error) => error.as_db_error(),
            _ => None,
        }
    }

    fn code(&self) -> Option<&SqlState> {
        self.told().map(DbError::code)
    }

    /// What it says about the connection, when it came before the commit was sent.
    pub(super) fn trouble(&self) -> Trouble {
        match self {
            Self::Driver(error) if is_ours(error) => Trouble { again: false, lost: false },
            Self::Driver(error) => match error.as_db_error() {
                Some(told) => {
                    let lost = is_no_primary(told);
                    Trouble { again: lost || meets_another(told.code()), lost }
                }
                None => Trouble { again: true, lost: true },
            },
            Self::Aborted => Trouble { again: false, lost: false },
            Self::Late(_) | Self::NoPrimary(_) | Self::NotReplicated => Trouble { again: false, lost: true },
        }
    }

    /// What it means for the caller.
    pub(in crate::store) fn meaning(&self, name: &str) -> StoreError {
        let text = format!("{name}: {self}");
        if let Self::Driver(error) = self
            && is_ours(error)
        {
            return StoreError::Refused(text);
        }
        let Some(code) = self.code() else { return StoreError::Unavailable(text) };
        match &code.code()[..2] {
            // Integrity constraints, data that does not fit, our own syntax: our mistakes.
            "23" | "22" | "42" => StoreError::Refused(text),
            _ => StoreError::Unavailable(text),
        }
    }
}

/// Deadlock, serialization, a lock that was not to be had in time.
fn meets_another(code: &SqlState) -> bool {
    [&SqlState::T_R_DEADLOCK_DETECTED, &SqlState::T_R_SERIALIZATION_FAILURE, &SqlState::LOCK_NOT_AVAILABLE]
        .contains(&code)
}

/// A standby, a server that shuts down or starts, a connection that is gone.
fn is_no_primary(told: &DbError) -> bool {
    *told.code() == SqlState::READ_ONLY_SQL_TRANSACTION || ends_the_connection(told)
}

/// After FATAL and PANIC the server closes the connection.
fn ends_the_connection(told: &DbError) -> bool {
    matches!(told.parsed_severity(), None | Some(Severity::Fatal | Severity::Panic))
        || told.code().code().starts_with("08")
}

/// A value of ours that does not fit its parameter or column: no server has seen it, or it was read whole.
fn is_ours(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(|cause| cause.is::<Unfit>())
}

fn words(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(told) => match told.detail() {
            Some(detail) => format!("{} ({detail})", told.message()),
            None => told.message().to_owned(),
        },
        None => match std::error::Error::source(error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        },
    }
}
