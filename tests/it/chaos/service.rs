//! What people notice of a cluster: how long no mail is accepted around each fault, what planned work on a node refuses
//! or cuts, and how soon others take over. A pure function over the ledgers, as the checker.

use std::collections::BTreeMap;
use std::fmt;

use super::checker::Score;
use super::evidence::{Call, Evidence};
use super::ledger::{Fault, FaultKind, Sent, SentOutcome};

/// What a fault may still do to acceptance after it is healed.
const AFTERMATH_MS: u64 = 5_000;

/// The cluster's part of the score.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Service {
    /// For each fault the longest time without a 250, in the order of their lengths.
    pub(crate) outages_ms: Vec<u64>,
    /// Answers other than 250, and none, to mails during planned work.
    pub(crate) drain_refused: usize,
    /// Calls of a node under planned work that ended before their last page.
    pub(crate) drain_cut: usize,
}

impl Service {
    /// The median and the longest, in milliseconds; 0 without a fault.
    fn outage(&self) -> (u64, u64) {
        let middle = self.outages_ms.get(self.outages_ms.len() / 2).copied().unwrap_or(0);
        (middle, self.outages_ms.last().copied().unwrap_or(0))
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (middle, longest) = self.outage();
        write!(
            f,
            "outage-p50 {} s outage-max {} s drain-refused {} drain-cut {}",
            seconds(middle),
            seconds(longest),
            self.drain_refused,
            self.drain_cut
        )
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{}", ms / 1000, ms % 1000 / 100)
}

/// Adds the cluster's rules to a score.
pub(crate) fn judge(evidence: &Evidence, score: &mut Score) {
    let accepted = accepted(evidence);
    let mut outages_ms: Vec<u64> = evidence.faults.iter().map(|fault| outage(fault, &accepted)).collect();
    outages_ms.sort_unstable();
    let mut service = Service { outages_ms, ..Service::default() };
    for work in evidence.faults.iter().filter(|fault| fault.kind.is_planned_work()) {
        for sent in evidence.sent.iter().filter(|sent| turned_away(work, sent)) {
            service.drain_refused += 1;
            score.find("I12", format!("{} got {:?} while {} was drained", sent.token, sent.reply, work.node));
        }
        let ended =
            |call: &&Call| call.node == work.node && ends_within(work, call) && !is_struck(evidence, work, call);
        for call in evidence.calls.iter().filter(ended) {
            let record = evidence.records.get(&call.fax);
            let last = record.and_then(|record| record.bodies.last());
            if last.is_some() && call.confirmed.last().map(|page| &page.body) != last {
                service.drain_cut += 1;
                score.find("I13", format!("{}: its call ended early while {} was drained", call.fax, work.node));
            }
        }
        for call in evidence.inbound.iter().filter(ended) {
            // A call that was not answered goes to the other node, as a carrier with two routes does.
            if matches!(call.outcome.as_str(), "broken" | "last-page-unconfirmed") {
                service.drain_cut += 1;
                score.find("I13", format!("{}: was cut off while {} was drained", call.fax, work.node));
            }
        }
    }
    score.service = Some(service);
}

/// When mails were accepted, in order.
fn accepted(evidence: &Evidence) -> Vec<u64> {
    let accepted = evidence.sent.iter().filter(|sent| sent.outcome == SentOutcome::Accepted);
    let mut times: Vec<u64> = accepted.map(|sent| sent.at_ms).collect();
    times.sort_unstable();
    times
}

/// The longest time between two mails accepted in turn that touches the fault or its aftermath.
fn outage(fault: &Fault, accepted: &[u64]) -> u64 {
    let touches = |pair: &&[u64]| pair[1] > fault.at_ms && pair[0] < fault.until_ms + AFTERMATH_MS;
    accepted.windows(2).filter(touches).map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
}

/// Whether a client that came during the work was not served.
fn turned_away(work: &Fault, sent: &Sent) -> bool {
    let served = sent.outcome == SentOutcome::Accepted;
    !served && sent.at_ms >= work.at_ms && sent.at_ms - sent.took_ms.min(sent.at_ms) <= work.until_ms
}

fn ends_within(work: &Fault, call: &Call) -> bool {
    call.end_ms.is_some_and(|end| end >= work.at_ms && end <= work.until_ms)
}

/// Whether another fault than this work falls into the call: one of its node, or the death of the primary, which outlasts a
/// sender's patience.
fn is_struck(evidence: &Evidence, work: &Fault, call: &Call) -> bool {
    let touches = |fault: &&Fault| fault.until_ms >= call.begin_ms && call.end_ms.is_none_or(|end| fault.at_ms <= end);
    let others =
        evidence.faults.iter().filter(|fault| *fault != work && (fault.node.is_empty() || fault.node == call.node));
    others.filter(touches).count() > 0
}

/// How soon work went on after a fault, over all faults of its kind: the longest times in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TakeOver {
    pub(crate) times: usize,
    /// From its begin to the next 250.
    pub(crate) mail_ms: u64,
    /// To the next page that the far end confirmed.
    pub(crate) page_ms: u64,
    /// To the next call.
    pub(crate) call_ms: u64,
    /// To the next call of the numbers whose calls the fault had cut: how many, and the longest.
    pub(crate) cut: usize,
    pub(crate) again_ms: u64,
}

/// Deaths and what looks like one: by kind.
pub(crate) fn take_overs(evidence: &Evidence) -> BTreeMap<FaultKind, TakeOver> {
    let mails = accepted(evidence);
    let pages: Vec<u64> = evidence.calls.iter().flat_map(|call| &call.confirmed).map(|page| page.at_ms).collect();
    let calls: Vec<u64> = evidence.calls.iter().map(|call| call.begin_ms).collect();
    let mut table: BTreeMap<FaultKind, TakeOver> = BTreeMap::new();
    for fault in &evidence.faults {
        let next = |times: &[u64]| times.iter().filter(|at| **at > fault.at_ms).min().map_or(0, |at| at - fault.at_ms);
        let row = table.entry(fault.kind).or_default();
        row.times += 1;
        row.mail_ms = row.mail_ms.max(next(&mails));
        row.page_ms = row.page_ms.max(next(&pages));
        row.call_ms = row.call_ms.max(next(&calls));
        if fault.kind.cuts_calls() {
            for again in evidence.calls.iter().filter_map(|call| called_again(evidence, fault, call)) {
                row.cut += 1;
                row.again_ms = row.again_ms.max(again - fault.at_ms);
            }
        }
    }
    table
}

/// When the number was called next whose call was open at the fault.
fn called_again(evidence: &Evidence, fault: &Fault, call: &Call) -> Option<u64> {
    if !call.is_open_at(fault.at_ms) || call.node != fault.node {
        return None;
    }
    let later = evidence.calls.iter().filter(|other| other.number == call.number && other.begin_ms > fault.at_ms);
    later.map(|other| other.begin_ms).min()
}
