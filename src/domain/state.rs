//! States of a fax and how it ends.
//!
//! There is no running state: whoever works on a row holds a lease, and a dead owner's row is claimable again.

use crate::domain::page::words;

/// Where a fax is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FaxState {
    /// Stored and answered with 250; `render/` takes it from here.
    Accepted,
    /// Pages are stored; `line/` calls when `not_before` has come.
    Ready,
    /// An operator keeps it from being worked on.
    Held,
    /// Final: the far end confirmed every page.
    Sent,
    /// Final: pages 1..k were confirmed, the rest will not be sent.
    Partial,
    /// Final: no page was confirmed.
    Failed,
    /// Final: page k may have arrived; never sent again silently.
    Unknown,
    /// Final: an operator or the sender stopped it.
    Cancelled,
}

words!(FaxState {
    Accepted = "accepted",
    Ready = "ready",
    Held = "held",
    Sent = "sent",
    Partial = "partial",
    Failed = "failed",
    Unknown = "unknown",
    Cancelled = "cancelled",
});

impl FaxState {
    /// Whether nothing moves the fax on from here.
    pub fn is_final(self) -> bool {
        self.outcome().is_some()
    }

    /// The outcome that a final state stands for.
    pub fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Accepted | Self::Ready | Self::Held => None,
            Self::Sent => Some(Outcome::Sent),
            Self::Partial => Some(Outcome::Partial),
            Self::Failed => Some(Outcome::Failed),
            Self::Unknown => Some(Outcome::Unknown),
            Self::Cancelled => Some(Outcome::Cancelled),
        }
    }
}

/// How a fax ended: exactly one of these reaches the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Every page confirmed.
    Sent,
    /// Pages 1..k confirmed.
    Partial,
    /// Nothing confirmed.
    Failed,
    /// The last page sent may have arrived.
    Unknown,
    /// Stopped by a person.
    Cancelled,
}

words!(Outcome {
    Sent = "sent",
    Partial = "partial",
    Failed = "failed",
    Unknown = "unknown",
    Cancelled = "cancelled",
});

impl From<Outcome> for FaxState {
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

/// Where a received fax is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReceivedState {
    /// Its call is under way.
    Receiving,
    /// Its call is over; mails are owed for it.
    Received,
    /// Every mailbox has it, or the default mailboxes instead.
    Delivered,
}

words!(ReceivedState { Receiving = "receiving", Received = "received", Delivered = "delivered" });
