//! Calls for faxes: what is claimed, what is told while they last, and how they end.

use serde::{Deserialize, Serialize};

use super::{CallLimits, Fax, FinalEnd, Lease, LeaseToken, Message};
use crate::domain::page::words;
use crate::domain::{AttemptId, Cause, Timestamp};

/// Numbers that the same lines carry: those that begin with a prefix and with none of its exceptions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// As in `+49`.
    pub prefix: String,
    /// Longer prefixes that other lines carry, as in `+4930`.
    pub except: Vec<String>,
}

impl Reach {
    /// Every number.
    pub fn everywhere() -> Self {
        Self { prefix: "+".to_owned(), except: Vec::new() }
    }

    /// Whether this is every number.
    pub fn is_everywhere(&self) -> bool {
        self.prefix == "+" && self.except.is_empty()
    }
}

/// What a line agent works on.
#[derive(Debug, Clone)]
pub struct CallWork {
    /// The fax; its document is present.
    pub fax: Fax,
    /// Its message.
    pub message: Message,
    /// Token of its lease.
    pub token: LeaseToken,
    /// When the lease ends by the store's clock.
    pub lease_until: Timestamp,
    /// Causes of the attempts so far, oldest first.
    pub earlier: Vec<Cause>,
    /// Why T.38 is not to be tried with this number for now.
    pub avoid_t38: Option<String>,
}

impl CallWork {
    /// The lease that came with it.
    pub fn lease(&self) -> Lease {
        Lease::Fax(self.fax.id, self.token)
    }
}

/// An attempt that is about to begin.
#[derive(Debug, Clone)]
pub struct NewAttempt {
    /// Made by the caller.
    pub id: AttemptId,
    /// The trunk.
    pub line: String,
    /// First page to send, from 1.
    pub first_page: u32,
    /// What must not be exceeded.
    pub limits: CallLimits,
}

/// How a call carries the fax.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// T.38 over UDPTL.
    T38,
    /// Audio, G.711 over RTP.
    G711,
}
words!(Transport { T38 = "t38", G711 = "g711" });

/// Something that happened in a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum AttemptFact {
    /// It rings.
    Ringing,
    /// The call was answered.
    Answered,
    /// The fax is carried so from here.
    Carried {
        /// T.38 or audio.
        transport: Transport,
    },
    /// Training succeeded: pages follow.
    Trained {
        /// Bits per second.
        rate_bps: u32,
        /// Whether error correction is on.
        ecm: bool,
        /// CSI of the far end.
        remote_id: String,
    },
    /// The page's image has begun to leave.
    PageStarted {
        /// From 1, counted in the fax.
        page: u32,
    },
    /// The last page's image and its end of procedure have left; a confirmation is outstanding.
    AllPagesSent,
    /// The far end asked for a page again (RTN, PPR): no confirmation is outstanding any more.
    PageRefused {
        /// From 1, counted in the fax.
        page: u32,
    },
    /// The call is over, and how. Closes nothing: who owns the attempt, or the settler, decides by it.
    Ended(AttemptEnd),
}

/// A fact that no row takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ParkedFact {
    /// Its id in the journal: parking it twice keeps it once.
    pub id: uuid::Uuid,
    /// Whose journal it comes from.
    pub node: String,
    /// The attempt that the store does not know, or that does not take it.
    pub attempt: AttemptId,
    /// What happened: a page, or another fact.
    pub fact: JournalFact,
    /// Why it was not applied.
    pub why: String,
    /// When it happened, by the agent's clock.
    pub happened_at: Timestamp,
    /// When it was parked, by the store's; ignored when writing.
    pub parked_at: Timestamp,
}

/// What the journal of an agent holds of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JournalFact {
    /// A confirmed page.
    Page(ConfirmedPage),
    /// Anything else.
    Fact(AttemptFact),
}

/// A page that the far end confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmedPage {
    /// From 1, counted in the fax.
    pub page: u32,
    /// Bits per second.
    pub rate_bps: u32,
    /// Whether error correction was on.
    pub ecm: bool,
    /// How long the page took, as the far end's clock sees it.
    pub duration_ms: u64,
    /// ECM blocks that had to be sent again.
    pub blocks_resent: u32,
}

/// How an attempt ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptEnd {
    /// How the fax was carried, if it came to that.
    pub transport: Option<Transport>,
    /// Last bit rate.
    pub rate_bps: Option<u32>,
    /// Whether error correction was on.
    pub ecm: Option<bool>,
    /// CSI of the far end.
    pub remote_id: Option<String>,
    /// Last SIP status, as in `486`.
    pub sip_code: Option<u16>,
    /// Q.850 cause of the Reason header.
    pub q850: Option<u16>,
    /// spandsp's completion code.
    pub t30_code: Option<i32>,
    /// The evidence, one line for people: `486 Busy Here`.
    pub detail: String,
    /// Why it did not send everything; none when it did.
    pub cause: Option<Cause>,
}

/// Where an attempt's fax goes.
#[derive(Debug, Clone)]
pub enum Next {
    /// Called again from then on.
    Again {
        /// By the store's clock.
        not_before: Timestamp,
    },
    /// It is over.
    Final(FinalEnd),
}

/// A stored attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// Its id.
    pub id: AttemptId,
    /// 1 for the fax's first call.
    pub number: u32,
    /// The node that called.
    pub node: String,
    /// The trunk.
    pub line: String,
    /// First page to send, from 1.
    pub first_page: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was answered.
    pub answered_at: Option<Timestamp>,
    /// When it ended; none while it is open.
    pub ended_at: Option<Timestamp>,
    /// Highest page whose image began to leave; 0 for none.
    pub page_started: u32,
    /// Whether the last page and its end of procedure have left, with their confirmation outstanding.
    pub all_pages_sent: bool,
    /// How it ended, told as a fact and not yet decided upon.
    pub told_end: Option<AttemptEnd>,
    /// How it ended.
    pub end: AttemptEnd,
}

/// A confirmed page with its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PageRecord {
    /// In which attempt.
    pub attempt: AttemptId,
    /// Number of that attempt.
    pub attempt_number: u32,
    /// When the confirmation was recorded.
    pub confirmed_at: Timestamp,
    /// What was confirmed.
    #[serde(flatten)]
    pub page: ConfirmedPage,
}

/// An open attempt that nobody owns.
#[derive(Debug, Clone)]
pub struct Orphan {
    /// The attempt.
    pub attempt: Attempt,
    /// Its fax.
    pub fax: Fax,
    /// Its message.
    pub message: Message,
    /// The fax's token when this was read.
    pub token: LeaseToken,
    /// Causes of the attempts before this one, oldest first.
    pub earlier: Vec<Cause>,
}

/// What calls have taught about a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Destination {
    /// Audio until then: T.38 failed.
    pub avoid_t38_until: Timestamp,
    /// The evidence, one line.
    pub detail: String,
}
