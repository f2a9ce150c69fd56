//! Who works on what, until when, and what becomes of it when the owner is gone.

use serde::{Deserialize, Serialize};

use crate::domain::{FaxId, NoticeId, ReceivedFaxId, Timestamp};

/// Who holds a lease: a node in one of its lives.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// The node's name, unique in the cluster.
    pub node: String,
    /// Made anew at each start.
    pub epoch: uuid::Uuid,
}

/// Rises by one with every claim of a row.
pub type LeaseToken = i64;

/// A lease that a worker of this process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lease {
    /// Of a fax, for its pages or its call.
    Fax(FaxId, LeaseToken),
    /// Of a notice.
    Notice(NoticeId, LeaseToken),
    /// Of a fax that is being received.
    Received(ReceivedFaxId, LeaseToken),
    /// Of the channel of a call that came in.
    Incoming(uuid::Uuid),
}

/// When leases that have run out are taken from their owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpiryRules {
    /// From the first sight of a lease that has run out until it is freed.
    pub grace: std::time::Duration,
    /// The same where a call is open: an agent that is cut off may finish the page on the wire.
    pub call_grace: std::time::Duration,
    /// Since when the store has answered without a gap: after an outage all leases look expired at once, and the grace
    /// begins anew.
    pub reachable_since: Timestamp,
}

/// What became of leases that had run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expired {
    /// Marked now.
    pub suspects: u64,
    /// Freed after their grace.
    pub freed: u64,
}

/// What a restart found of its earlier lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TakenBack {
    /// Leases that were freed.
    pub leases: u64,
    /// Attempts that became orphans.
    pub orphans: u64,
}
