//! Notices: the mails we owe somebody.

use crate::domain::page::words;
use crate::domain::state::Outcome;

/// What a notice tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoticeKind {
    /// Final: every page was confirmed.
    Sent,
    /// Final: pages 1..k arrived.
    Partial,
    /// Final: nothing arrived.
    Failed,
    /// Final: the last page may have arrived.
    Unknown,
    /// Final: somebody stopped it.
    Cancelled,
    /// Once, while it waits.
    Delayed,
    /// A fax came in.
    Received,
    /// The pages that would be sent.
    Preview,
    /// The instructions.
    Help,
}

words!(NoticeKind {
    Sent = "sent",
    Partial = "partial",
    Failed = "failed",
    Unknown = "unknown",
    Cancelled = "cancelled",
    Delayed = "delayed",
    Received = "received",
    Preview = "preview",
    Help = "help",
});

impl NoticeKind {
    /// Whether this is the one final report of a fax.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Sent | Self::Partial | Self::Failed | Self::Unknown | Self::Cancelled)
    }
}

impl From<Outcome> for NoticeKind {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Sent => Self::Sent,
            Outcome::Partial => Self::Partial,
            Outcome::Failed => Self::Failed,
            Outcome::Unknown => Self::Unknown,
            Outcome::Cancelled => Self::Cancelled,
        }
    }
}

/// Where a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoticeState {
    /// We owe it.
    Owed,
    /// A smart host (or a mailbox) took it.
    Sent,
    /// Nobody takes it; shown and counted, never dropped.
    Dead,
    /// A received fax's mail that was taken and came back later; the default mailboxes have it instead.
    Bounced,
    /// Recorded, and by rule not mailed: a null sender, a bulk mail, or `NOTIFY=NEVER`.
    Withheld,
}

words!(NoticeState { Owed = "owed", Sent = "sent", Dead = "dead", Bounced = "bounced", Withheld = "withheld" });

/// Which final reports a recipient's sender asked for (RFC 3461 §4.1 NOTIFY).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct NotifyOn {
    /// Tell when the fax was sent.
    pub success: bool,
    /// Tell when it was not.
    pub failure: bool,
    /// Tell when it waits.
    pub delay: bool,
}

impl Default for NotifyOn {
    /// Without NOTIFY the contract of the gateway holds: every final report and the delay notice.
    fn default() -> Self {
        Self { success: true, failure: true, delay: true }
    }
}

impl NotifyOn {
    /// RFC 3461 §4.1 `NOTIFY=NEVER`.
    pub const NEVER: Self = Self { success: false, failure: false, delay: false };

    /// What both ask for.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            success: self.success && other.success,
            failure: self.failure && other.failure,
            delay: self.delay && other.delay,
        }
    }

    /// Whether a notice of this kind was asked for.
    pub fn wants(self, kind: NoticeKind) -> bool {
        match kind {
            NoticeKind::Sent => self.success,
            NoticeKind::Delayed => self.delay,
            NoticeKind::Partial | NoticeKind::Failed | NoticeKind::Unknown | NoticeKind::Cancelled => self.failure,
            NoticeKind::Received | NoticeKind::Preview | NoticeKind::Help => true,
        }
    }
}
