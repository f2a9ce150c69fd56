//! How a command ends: one enum of exit codes, and the refusal that says cause and fix.

use std::fmt;

use crate::console::Problem;
use crate::domain::FaxState;

/// Exit codes, the same for every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Not done.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// There is no such thing.
    NotFound = 3,
    /// No gateway answers.
    Unreachable = 4,
    /// Not allowed.
    NotAllowed = 5,
    /// Some of several failed.
    SomeFailed = 6,
    /// It exists, and not yet or no longer so.
    WrongState = 7,
    /// `--wait`: the fax failed for good.
    FaxFailed = 10,
    /// `--wait`: it is still queued.
    StillQueued = 11,
    /// `--wait`: pages may have arrived.
    OutcomeUnknown = 12,
}

impl Exit {
    /// What `--wait` answers for a fax in this state.
    pub fn of_fax(state: FaxState) -> Self {
        match state {
            FaxState::Sent => Self::Ok,
            FaxState::Accepted | FaxState::Ready | FaxState::Held => Self::StillQueued,
            FaxState::Partial | FaxState::Failed | FaxState::Cancelled => Self::FaxFailed,
            FaxState::Unknown => Self::OutcomeUnknown,
        }
    }

    /// What `--wait` answers for several faxes.
    pub fn of_faxes(states: &[FaxState]) -> Self {
        Self::of_several(&states.iter().map(|state| Self::of_fax(*state)).collect::<Vec<_>>())
    }

    /// What all have in common, else that some failed.
    pub fn of_several(exits: &[Self]) -> Self {
        let Some(first) = exits.first() else { return Self::Ok };
        if exits.iter().all(|exit| exit == first) { *first } else { Self::SomeFailed }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command that could not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Its exit code.
    pub exit: Exit,
    /// What did not work, one line.
    pub message: String,
    /// Why.
    pub cause: String,
    /// What to do.
    pub fix: String,
}

impl Failed {
    /// A refusal with cause and fix.
    pub fn new(exit: Exit, message: impl Into<String>, cause: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { exit, message: message.into(), cause: cause.into(), fix: fix.into() }
    }

    /// The same with an error as the cause; the error's own fix is the better one.
    pub fn because(exit: Exit, message: impl Into<String>, error: &dyn fmt::Display, fix: &str) -> Self {
        let text = error.to_string();
        let (cause, fix) = text.split_once("; fix: ").unwrap_or((&text, fix));
        Self::new(exit, message, cause, fix)
    }

    /// Whoever read the output has seen enough (`| head`): the command ends, and nothing is said.
    pub fn reader_gone() -> Self {
        Self { exit: Exit::Ok, message: String::new(), cause: String::new(), fix: String::new() }
    }

    /// Whether there is anything to say.
    pub fn is_silent(&self) -> bool {
        self.exit == Exit::Ok
    }

    /// For programs.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({ "error": self.message, "cause": self.cause, "fix": self.fix, "exit": self.exit as u8 })
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}\ncause: {}\nfix: {}", self.message, self.cause, self.fix)
    }
}

impl std::error::Error for Failed {}

/// What the gateway said.
impl From<Problem> for Failed {
    fn from(problem: Problem) -> Self {
        let exit = match problem.status {
            400 | 413 => Exit::Usage,
            403 => Exit::NotAllowed,
            404 | 410 => Exit::NotFound,
            409 => Exit::WrongState,
            _ => Exit::Failed,
        };
        Self { exit, message: format!("{} ({})", problem.title, problem.slug), cause: problem.cause, fix: problem.fix }
    }
}

/// Shorthand.
pub(super) type Outcome = Result<Exit, Failed>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_of_a_fax_has_the_exit_code_that_scripts_count_on() {
        let codes: Vec<(FaxState, u8)> =
            FaxState::ALL.iter().map(|state| (*state, Exit::of_fax(*state) as u8)).collect();
        use FaxState::{Accepted, Cancelled, Failed, Held, Partial, Ready, Sent, Unknown};
        let expected = [
            (Accepted, 11),
            (Ready, 11),
            (Held, 11),
            (Sent, 0),
            (Partial, 10),
            (Failed, 10),
            (Unknown, 12),
            (Cancelled, 10),
        ];
        assert_eq!(codes, expected);
    }

    #[test]
    fn several_faxes_that_end_differently_are_some_of_several() {
        assert_eq!(Exit::of_faxes(&[FaxState::Sent, FaxState::Sent]), Exit::Ok);
        assert_eq!(Exit::of_faxes(&[FaxState::Sent, FaxState::Failed]), Exit::SomeFailed);
        assert_eq!(Exit::of_faxes(&[FaxState::Failed, FaxState::Cancelled]), Exit::FaxFailed);
    }
}
