//! Faxes that come in: what an agent tells of them, what is stored, and whom they go to.

use serde::{Deserialize, Serialize};

use super::{DocumentKey, DocumentRef, LeaseToken, NewNotice, Notice, Transport};
use crate::domain::inbound::Rule;
use crate::domain::{Cause, ReceivedFaxId, ReceivedState, Timestamp};

/// A fax whose first page has come, under a new lease of the agent that answered.
#[derive(Debug, Clone)]
pub struct NewReceived {
    /// Made by the caller.
    pub id: ReceivedFaxId,
    /// Counted by the agent within its life: telling it twice stores it once.
    pub call_no: i64,
    /// The trunk it came in by.
    pub line: String,
    /// The DID that was called, as the trunk writes it, normalised where it can be.
    pub called_number: String,
    /// Who called, if the trunk says so.
    pub calling_number: Option<String>,
    /// TSI, printable ASCII.
    pub remote_id: Option<String>,
    /// T.30 SUB: digits.
    pub subaddress: Option<String>,
    /// How it is carried.
    pub transport: Option<Transport>,
}

/// A page that is durable before the far end is told that it was received.
#[derive(Debug, Clone)]
pub struct ReceivedPage {
    /// From 1.
    pub page: u32,
    /// TIFF of this page alone, as it came over the wire.
    pub document: DocumentRef,
    /// Pixels a line.
    pub width_px: u32,
    /// Lines.
    pub height_px: u32,
    /// Bits per second.
    pub rate_bps: u32,
    /// Whether error correction was on.
    pub ecm: bool,
    /// Lines that could not be read; 0 with error correction.
    pub damaged_lines: u32,
}

/// Who gets a received fax when a mailbox does not take it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Instead {
    /// The default mailboxes. One that has a notice of the fax already gets no second one.
    pub mailboxes: Vec<String>,
    /// The gateway's domain, for the `Message-ID`.
    pub domain: String,
}

/// How a received fax ended.
#[derive(Debug, Clone)]
pub struct ReceivedEnd {
    /// Whether the end of the document was confirmed to the far end; else these are the pages until the call broke.
    pub complete: bool,
    /// Why the call broke.
    pub cause: Option<Cause>,
    /// The evidence, one line.
    pub detail: Option<String>,
    /// Name of the rule that chose the mailboxes; none when the default mailboxes take it.
    pub route: Option<String>,
    /// One for each mailbox, never empty.
    pub notices: Vec<NewNotice>,
}

/// A stored received fax.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Received {
    /// Its id.
    pub id: ReceivedFaxId,
    /// The node that answered.
    pub node: String,
    /// The trunk it came in by.
    pub line: String,
    /// The DID.
    pub called_number: String,
    /// Who called.
    pub calling_number: Option<String>,
    /// TSI.
    pub remote_id: Option<String>,
    /// SUB.
    pub subaddress: Option<String>,
    /// How it was carried.
    pub transport: Option<Transport>,
    /// Where it is.
    pub state: ReceivedState,
    /// Whether the end of the document was confirmed; none while it is being received.
    pub complete: Option<bool>,
    /// Pages that are stored.
    pub page_count: u32,
    /// The rule that chose the mailboxes.
    pub route: Option<String>,
    /// Why the call broke.
    pub cause: Option<Cause>,
    /// The evidence.
    pub detail: Option<String>,
    /// When its first page was stored.
    pub started_at: Timestamp,
    /// When its call was over.
    pub received_at: Option<Timestamp>,
    /// When the last mailbox had it.
    pub delivered_at: Option<Timestamp>,
    /// Whether retention leaves it alone.
    pub legal_hold: bool,
}

/// A stored page of a received fax.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReceivedPageRecord {
    /// From 1.
    pub page: u32,
    /// TIFF of this page alone.
    pub document: DocumentKey,
    /// Pixels a line.
    pub width_px: u32,
    /// Lines.
    pub height_px: u32,
    /// Bits per second.
    pub rate_bps: u32,
    /// Whether error correction was on.
    pub ecm: bool,
    /// Lines that could not be read; 0 with error correction.
    pub damaged_lines: u32,
    /// When it was stored; its confirmation left after that.
    pub stored_at: Timestamp,
}

/// Everything that is known of a received fax.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReceivedRecord {
    /// The fax.
    pub received: Received,
    /// Its pages in order.
    pub pages: Vec<ReceivedPageRecord>,
    /// The mails owed for it.
    pub notices: Vec<Notice>,
}

/// A fax whose agent is gone in the middle of its call.
#[derive(Debug, Clone)]
pub struct StaleReceived {
    /// What was stored of it.
    pub record: ReceivedRecord,
    /// Its token when this was read.
    pub token: LeaseToken,
}

/// What `inbound list` shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedFilter {
    /// Only called numbers that begin so.
    pub did: Option<String>,
    /// Only calling numbers that begin so.
    pub from: Option<String>,
    /// Only those that began since.
    pub since: Option<Timestamp>,
    /// At most this many; 0 means 50, and 1000 is the most.
    #[serde(default)]
    pub limit: u32,
}

/// A route that a person set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRoute {
    /// What it matches and where it leads.
    pub rule: Rule,
    /// When it was set last.
    pub changed_at: Timestamp,
    /// By whom.
    pub changed_by: String,
}
