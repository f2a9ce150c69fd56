//! What commands, console and mails read.

use serde::{Deserialize, Serialize};

use super::{Attempt, Destination, DrainOrder, Fax, Message, Notice, Owner, PageRecord};
use crate::domain::{FaxId, FaxState, MessageId, ReceivedFaxId, Timestamp};

/// Everything that is known of a fax.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FaxRecord {
    /// The fax.
    pub fax: Fax,
    /// Its message.
    pub message: Message,
    /// Its calls, oldest first.
    pub attempts: Vec<Attempt>,
    /// Its confirmed pages in order.
    pub pages: Vec<PageRecord>,
    /// The mails owed for it.
    pub notices: Vec<Notice>,
    /// The fax that sends this one once more.
    pub retried_as: Option<FaxId>,
    /// What calls have taught about its number, while that is kept.
    pub destination: Option<Destination>,
}

/// A line of `fax list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FaxSummary {
    /// The fax.
    #[serde(flatten)]
    pub fax: Fax,
    /// Subject of its message.
    pub subject: String,
    /// Whom reports go to.
    pub reverse_path: Option<String>,
    /// Whether a call is open for it now.
    pub in_call: bool,
}

/// What `fax list` shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaxFilter {
    /// Only these states; empty means all.
    #[serde(default)]
    pub states: Vec<FaxState>,
    /// Only numbers that begin so.
    pub to: Option<String>,
    /// Only reports that go to addresses that hold this.
    pub from: Option<String>,
    /// Only messages accepted since.
    pub since: Option<Timestamp>,
    /// At most this many; 0 means 50, and 1000 is the most.
    #[serde(default)]
    pub limit: u32,
}

/// Whose events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventsOf {
    /// A fax and its message.
    Fax(FaxId),
    /// A received fax.
    Received(ReceivedFaxId),
    /// A message and all its faxes.
    Message(MessageId),
    /// Everybody.
    All,
}

/// Something that happened, for `log` and the console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Rises.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// Which node said so.
    pub node: Option<String>,
    /// The fax or received fax in its short form, else the message; none for what concerns a node.
    pub of: Option<String>,
    /// `accepted`, `rendered`, `attempt`, `page`, `sent`, …
    pub kind: String,
    /// One line for people.
    pub text: String,
}

/// How many of what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Faxes by state.
    pub faxes: std::collections::BTreeMap<String, u64>,
    /// Calls that are open.
    pub calls: u64,
    /// Facts of calls that no row takes.
    pub parked_facts: u64,
    /// Notices by state.
    pub notices: std::collections::BTreeMap<String, u64>,
    /// When the fax that waits longest was accepted.
    pub oldest_waiting: Option<Timestamp>,
    /// Final faxes of the last 24 hours by cause.
    pub causes_24h: std::collections::BTreeMap<String, u64>,
}

/// A node as it last said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeState {
    /// Who.
    pub owner: Owner,
    /// Version of the program.
    pub version: String,
    /// Its roles, with commas.
    pub roles: String,
    /// When it started.
    pub started_at: Timestamp,
    /// When it was last seen, by the store's clock; ignored when writing.
    pub seen_at: Timestamp,
    /// Whether it is being taken out of service.
    pub draining: bool,
    /// Whether nothing is left that it works on.
    pub drained: bool,
    /// Who ordered that, until it is resumed; ignored when writing.
    pub ordered: Option<DrainOrder>,
}

/// A line as its agent last said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LineState {
    /// The trunk.
    pub line: String,
    /// The node whose agent says so.
    pub node: String,
    /// Calls it may have at once.
    pub channels: u32,
    /// Calls it has.
    pub calls: u32,
    /// Whether the far side answers.
    pub up: bool,
    /// What is wrong, or how it is reached.
    pub detail: String,
    /// When it was last seen, by the store's clock; ignored when writing.
    pub seen_at: Timestamp,
}

/// What a database says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct StoreHealth {
    /// The server that takes writes; none where the store is a file.
    pub host: Option<String>,
    /// Synchronous copies beside it; none where there can be none, or where that may not be seen.
    pub copies: Option<u32>,
    /// Octets that the database takes; none where the store is a file.
    pub size_bytes: Option<u64>,
}

/// Whether a commit is on as many other servers as are asked for. Copies that may not be seen are none: a promise that
/// nobody can check is not given.
///
/// # Errors
/// The reason, in words, with the fix where it is one of rights.
pub fn check_copies(copies: Option<u32>, min_copies: u32) -> Result<(), String> {
    match copies {
        Some(copies) if copies < min_copies => {
            Err(format!("the store has {copies} synchronous copies, and store.min_copies asks for {min_copies}"))
        }
        None if min_copies > 0 => Err(format!(
            "the gateway's role may not see how many synchronous copies the store has, and store.min_copies asks for \
             {min_copies}; fix: grant pg_monitor to the role, as in GRANT pg_monitor TO faxwell"
        )),
        _ => Ok(()),
    }
}
