//! Everything the checker judges: the ledgers, and what the gateway itself says at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::ledger::{self, Delivered, Fault, Sent, SentOutcome};

/// What was seen from outside, and the gateway's own records.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evidence {
    pub(crate) sent: Vec<Sent>,
    pub(crate) mails: Vec<Delivered>,
    pub(crate) calls: Vec<Call>,
    /// Calls that the far end made to the gateway.
    pub(crate) inbound: Vec<Call>,
    pub(crate) faults: Vec<Fault>,
    /// By `F-…`.
    pub(crate) records: BTreeMap<String, Record>,
}

/// A call as the far end saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) number: String,
    /// `F-…` for a call of the gateway, the caller's token for one to it.
    pub(crate) fax: String,
    /// Calling number.
    pub(crate) caller: String,
    /// The gateway's node; empty where there is one alone.
    pub(crate) node: String,
    pub(crate) begin_ms: u64,
    /// How it ended for a caller of the gateway; empty elsewhere.
    pub(crate) outcome: String,
    /// None when the far end was killed in it.
    pub(crate) end_ms: Option<u64>,
    pub(crate) confirmed: Vec<Page>,
}

impl Call {
    pub(crate) fn is_open_at(&self, at_ms: u64) -> bool {
        self.begin_ms <= at_ms && self.end_ms.is_none_or(|end| end > at_ms)
    }
}

/// A page that was confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) at_ms: u64,
    /// Hash of the raster: below the header line in calls of the gateway, whole in calls to it.
    pub(crate) body: String,
}

/// What the gateway says of a fax in the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) state: String,
    pub(crate) pages_confirmed: u32,
    /// Hashes of the pages of its document; empty when none was made.
    pub(crate) bodies: Vec<String>,
}

impl Evidence {
    /// Reads the ledgers of a site. The records are the gateway's to give.
    pub(crate) fn read(folder: &Path, records: BTreeMap<String, Record>) -> Self {
        Self {
            sent: ledger::read(&folder.join("sent.jsonl")),
            mails: ledger::read(&folder.join("mailbox.jsonl")),
            calls: calls(&ledger::read(&folder.join("farend.jsonl"))),
            inbound: calls(&ledger::read(&folder.join("inbound.jsonl"))),
            faults: ledger::read(&folder.join("faults.jsonl")),
            records,
        }
    }

    /// Accepted mails without a report, by their tokens.
    pub(crate) fn unanswered(&self) -> BTreeSet<String> {
        let answered: BTreeSet<&str> = self.mails.iter().filter(|mail| mail.is_final()).map(Delivered::token).collect();
        let accepted = self.sent.iter().filter(|sent| sent.outcome == SentOutcome::Accepted);
        accepted.filter(|sent| !answered.contains(sent.token.as_str())).map(|sent| sent.token.clone()).collect()
    }

    /// Every fax that a ledger names.
    pub(crate) fn faxes(&self) -> BTreeSet<&str> {
        let sent = self.sent.iter().filter_map(|sent| sent.fax.as_deref());
        let mails = self.mails.iter().map(|mail| mail.fax.as_str());
        let calls = self.calls.iter().map(|call| call.fax.as_str());
        sent.chain(mails).chain(calls).filter(|fax| fax.starts_with("F-")).collect()
    }
}

/// The far end's lines, grouped into calls: those that it took, or those that it made (`send-…`).
fn calls(lines: &[Value]) -> Vec<Call> {
    let mut calls: BTreeMap<&str, Call> = BTreeMap::new();
    for line in lines {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let (id, at_ms) = (line["call"].as_str().unwrap(), line["at_ms"].as_u64().unwrap());
        let call = calls.entry(id).or_insert_with(|| Call {
            number: text("number"),
            fax: text("fax_id"),
            caller: text("caller"),
            node: String::new(),
            begin_ms: at_ms,
            outcome: String::new(),
            end_ms: None,
            confirmed: Vec::new(),
        });
        match line["event"].as_str() {
            Some("page") => call.confirmed.push(Page { at_ms, body: text("body_fnv64") }),
            Some("send-page") => call.confirmed.push(Page { at_ms, body: text("sha256") }),
            Some("end" | "send-end") => (call.end_ms, call.outcome) = (Some(at_ms), text("outcome")),
            _ => {}
        }
    }
    let mut calls: Vec<Call> = calls.into_values().collect();
    calls.sort_by_key(|call| call.begin_ms);
    calls
}
