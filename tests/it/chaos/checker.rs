//! The judge: a pure function from what was seen outside to what is wrong.
//!
//! | | what must hold |
//! |---|---|
//! | I1 | a mail answered with 250 has exactly one final report; the same one twice only when its reply could get lost |
//! | I2 | no report without a mail that was handed in |
//! | I3 | reported as sent: the far end confirmed every page, and each is the page of this fax |
//! | I4 | reported as anything less: the far end lacks a page, or the report says that this is not known |
//! | I5 | no page is confirmed twice, but for one in flight when an end of its call was struck |
//! | I6 | each confirmed page is on the gateway's record, but for one in flight |
//! | I7 | no two calls of one fax, nor to one number, at the same time |
//! | I8 | each page that the gateway confirmed to a caller came as mail, once |
//! | I9 | how long it took until work went on after a fault: told, not judged |
//! | I10 | gateways end when they are asked to, cleanly, and never by themselves; a healed system works (`local`, `cluster`) |
//! | I11 | the gateway's own check of store and documents finds nothing (`site`) |
//! | I12, I13 | planned work on a node refuses no mail and cuts no call (`service`) |

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::evidence::{Call, Evidence, Record};
use super::ledger::{Delivered, Fault, SentOutcome};
use super::service::Service;

/// A struck end of a call is noticed by the other one this much later at most: SIP's and T.30's last words.
const STRUCK_MS: u64 = 2_000;

/// A far end that rang when its caller died answers this much later at most.
const LAST_INVITE_MS: u64 = 1_000;

/// The far end's own end of a call is on its ledger this much after the gateway's at most.
const GOODBYE_MS: u64 = 2_000;

/// The number whose last confirmation gets lost: the far end has a page that no gateway can know of.
const LOSES_LAST_CONFIRMATION: &str = "+99920200";

/// A rule that was broken, with the case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) rule: &'static str,
    pub(crate) what: String,
}

/// What the run came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Score {
    pub(crate) accepted: usize,
    pub(crate) reports: usize,
    pub(crate) lost: usize,
    pub(crate) twice: usize,
    pub(crate) pages_confirmed_twice: usize,
    /// Calls that were open when an end of them was struck: each may have had one page in flight.
    pub(crate) allowed: usize,
    pub(crate) calls_overlapping: usize,
    pub(crate) mcf_without_mail: usize,
    /// What a cluster is asked besides.
    pub(crate) service: Option<Service>,
    /// Longest time from the end of a fault to the next 250, and to the next confirmed page.
    pub(crate) slowest_250_ms: u64,
    pub(crate) slowest_page_ms: u64,
    /// Reports that say that it is not known.
    pub(crate) unknown: usize,
    /// Mails that came more than once, as RFC 1047 has it.
    pub(crate) resent: usize,
    /// Calls that came in, and the pages of them that were confirmed.
    pub(crate) calls_in: usize,
    pub(crate) pages_in: usize,
    pub(crate) violations: Vec<Violation>,
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "chaos: accepted {} reports {} lost {} twice {} pages-confirmed-twice {} (allowed {}) calls-overlapping {} \
             mcf-without-mail {}",
            self.accepted,
            self.reports,
            self.lost,
            self.twice,
            self.pages_confirmed_twice,
            self.allowed,
            self.calls_overlapping,
            self.mcf_without_mail
        )?;
        self.service.as_ref().map_or(Ok(()), |service| write!(f, " {service}"))
    }
}

impl Score {
    pub(crate) fn find(&mut self, rule: &'static str, what: String) {
        self.violations.push(Violation { rule, what });
    }

    /// Whether a rule was broken.
    #[cfg(test)]
    pub(crate) fn breaks(&self, rule: &str) -> bool {
        self.violations.iter().any(|violation| violation.rule == rule)
    }
}

/// Judges everything.
pub(crate) fn check(evidence: &Evidence) -> Score {
    let mut score = Score::default();
    let mails = Mails::of(evidence);
    every_accepted_mail_has_one_report(evidence, &mails, &mut score);
    no_report_comes_from_nowhere(evidence, &mails, &mut score);
    reports_are_true(evidence, &mails, &mut score);
    pages_are_confirmed_once(evidence, &mut score);
    confirmed_pages_are_on_record(evidence, &mut score);
    calls_do_not_overlap(evidence, &mut score);
    received_pages_came_as_mail(evidence, &mut score);
    work_goes_on(evidence, &mut score);
    score
}

/// What became of one mail on its way in.
struct Mail<'a> {
    outcome: SentOutcome,
    number: &'a str,
    pages: u32,
    reports: Vec<&'a Delivered>,
}

/// By token.
struct Mails<'a>(BTreeMap<&'a str, Mail<'a>>);

impl<'a> Mails<'a> {
    fn of(evidence: &'a Evidence) -> Self {
        let mut mails: BTreeMap<&str, Mail<'_>> = BTreeMap::new();
        for sent in &evidence.sent {
            let new = Mail { outcome: sent.outcome, number: &sent.number, pages: sent.pages, reports: Vec::new() };
            let mail = mails.entry(&sent.token).or_insert(new);
            mail.outcome = strongest(mail.outcome, sent.outcome);
        }
        for report in evidence.mails.iter().filter(|mail| mail.is_final()) {
            if let Some(mail) = mails.get_mut(report.token()) {
                mail.reports.push(report);
            }
        }
        Self(mails)
    }
}

/// What several tries at one mail come to: a 250 binds, and a connection that broke may have been one.
fn strongest(one: SentOutcome, other: SentOutcome) -> SentOutcome {
    use SentOutcome::{Accepted, NotSent, Refused, Unknown};
    [Accepted, Unknown, Refused, NotSent].into_iter().find(|it| *it == one || *it == other).unwrap_or(NotSent)
}

fn every_accepted_mail_has_one_report(evidence: &Evidence, mails: &Mails<'_>, score: &mut Score) {
    for (token, mail) in &mails.0 {
        let ids: BTreeSet<&str> = mail.reports.iter().map(|report| report.message_id.as_str()).collect();
        if mail.outcome == SentOutcome::Accepted {
            score.accepted += 1;
            if ids.is_empty() {
                score.lost += 1;
                score.find("I1", format!("{token} to {} was accepted and has no report", mail.number));
            }
        }
        score.reports += usize::from(!ids.is_empty());
        if ids.len() > 1 {
            score.twice += 1;
            score.find("I1", format!("{token} to {} has {} different reports: {ids:?}", mail.number, ids.len()));
        }
    }
    let mut by_id: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for mail in &evidence.mails {
        by_id.entry(&mail.message_id).or_default().push(mail.at_ms);
    }
    for (id, times) in by_id {
        for pair in times.windows(2) {
            score.resent += 1;
            let lost = |fault: &Fault| {
                fault.kind.cuts_deliveries() && fault.at_ms <= pair[1] && fault.until_ms + STRUCK_MS >= pair[0]
            };
            if !evidence.faults.iter().any(lost) {
                score.find("I1", format!("{id} came again at {} although nothing had cut its reply off", pair[1]));
            }
        }
    }
}

fn no_report_comes_from_nowhere(evidence: &Evidence, mails: &Mails<'_>, score: &mut Score) {
    for report in evidence.mails.iter().filter(|mail| mail.is_final()) {
        let why = match mails.0.get(report.token()).map(|mail| mail.outcome) {
            None => "nobody sent that mail",
            Some(SentOutcome::Refused) => "that mail was refused",
            Some(SentOutcome::NotSent) => "that mail was never handed in",
            Some(SentOutcome::Accepted | SentOutcome::Unknown) => continue,
        };
        score.find("I2", format!("report {} on {:?}: {why}", report.message_id, report.in_reply_to));
    }
}

fn reports_are_true(evidence: &Evidence, mails: &Mails<'_>, score: &mut Score) {
    for (token, mail) in &mails.0 {
        let Some(report) = mail.reports.first() else { continue };
        score.unknown += usize::from(report.kind == "unknown");
        let record = evidence.records.get(&report.fax).cloned().unwrap_or_default();
        let confirmed = pages_of(evidence, &report.fax, &record);
        let wanted = record.bodies.len();
        let all = wanted > 0 && (0..wanted).all(|page| confirmed.contains_key(&page));
        match report.kind.as_str() {
            "sent" if !all || wanted != mail.pages as usize || report.pages != (mail.pages, mail.pages) => score.find(
                "I3",
                format!(
                    "{token} ({}) is reported as sent with {:?} pages: asked for {}, made {wanted}, the far end has {:?}",
                    report.fax,
                    report.pages,
                    mail.pages,
                    confirmed.keys().map(|page| page + 1).collect::<Vec<_>>()
                ),
            ),
            "partial" | "failed" | "cancelled" if all => {
                score.find("I4", format!("{token} ({}) is reported as {} and arrived whole", report.fax, report.kind));
            }
            "failed" if report.pages.0 > 0 => {
                score.find("I4", format!("{token} ({}) is reported as failed with pages", report.fax));
            }
            _ => {}
        }
        for body in calls_of(evidence, &report.fax).flat_map(|call| &call.confirmed).map(|page| &page.body) {
            if !record.bodies.contains(body) {
                score
                    .find("I3", format!("{token} ({}): the far end has a page {body} of another document", report.fax));
            }
        }
    }
}

fn calls_of<'a>(evidence: &'a Evidence, fax: &'a str) -> impl Iterator<Item = &'a Call> {
    evidence.calls.iter().filter(move |call| call.fax == fax)
}

/// How often each page (from 0) of a fax was confirmed.
fn pages_of(evidence: &Evidence, fax: &str, record: &Record) -> BTreeMap<usize, usize> {
    let mut found = BTreeMap::new();
    for page in calls_of(evidence, fax).flat_map(|call| &call.confirmed) {
        if let Some(index) = record.bodies.iter().position(|body| *body == page.body) {
            *found.entry(index).or_default() += 1;
        }
    }
    found
}

/// Whether an end of this call was struck while it was open.
fn was_struck(evidence: &Evidence, call: &Call) -> bool {
    evidence.faults.iter().any(|fault| strikes(fault, call))
}

fn strikes(fault: &Fault, call: &Call) -> bool {
    let end = call.end_ms.unwrap_or(u64::MAX);
    fault.kind.cuts_calls() && is_of(fault, call) && fault.at_ms <= end && fault.until_ms + STRUCK_MS >= call.begin_ms
}

/// Whether what was struck has this call: the far end has them all, a node of the gateway its own.
fn is_of(fault: &Fault, call: &Call) -> bool {
    fault.node.is_empty() || fault.node == call.node
}

fn pages_are_confirmed_once(evidence: &Evidence, score: &mut Score) {
    score.allowed = evidence.calls.iter().filter(|call| was_struck(evidence, call)).count();
    let faxes: BTreeSet<&str> = evidence.calls.iter().map(|call| call.fax.as_str()).collect();
    for fax in faxes {
        let mut seen: BTreeMap<&str, Excuse> = BTreeMap::new();
        for call in calls_of(evidence, fax) {
            let struck = was_struck(evidence, call);
            for (index, page) in call.confirmed.iter().enumerate() {
                // Only the last page of a call can have been in flight.
                let last = index + 1 == call.confirmed.len();
                let excuse = if struck && last { Excuse::InFlight } else { Excuse::None };
                let Some(before) = seen.insert(&page.body, excuse) else { continue };
                score.pages_confirmed_twice += 1;
                if before == Excuse::None {
                    score.find("I5", format!("{fax}: page {} is confirmed again at {}", page.body, page.at_ms));
                }
            }
        }
    }
}

/// Why a page may be sent again after its confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Excuse {
    None,
    InFlight,
}

fn confirmed_pages_are_on_record(evidence: &Evidence, score: &mut Score) {
    for call in evidence.calls.iter().filter(|call| call.number != LOSES_LAST_CONFIRMATION) {
        let Some(record) = evidence.records.get(&call.fax) else {
            if !call.confirmed.is_empty() {
                score.find("I6", format!("{}: the gateway knows nothing of a fax that it sent", call.fax));
            }
            continue;
        };
        for (index, page) in call.confirmed.iter().enumerate() {
            let last = index + 1 == call.confirmed.len();
            let number = record.bodies.iter().position(|body| *body == page.body).map(|at| at as u32 + 1);
            let known = number.is_some_and(|number| number <= record.pages_confirmed);
            let in_flight = last && was_struck(evidence, call);
            if !known && !in_flight {
                score.find(
                    "I6",
                    format!("{}: page {number:?} was confirmed, on record are {}", call.fax, record.pages_confirmed),
                );
            }
        }
    }
}

fn calls_do_not_overlap(evidence: &Evidence, score: &mut Score) {
    let mut open: BTreeMap<&str, u64> = BTreeMap::new();
    // By number, with the fax: one machine at the other end takes one call.
    let mut busy: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
    for call in &evidence.calls {
        let end = driven_until(evidence, call);
        if let Some(before) = open.get(call.fax.as_str()).copied()
            && before > call.begin_ms
        {
            score.calls_overlapping += 1;
            score.find("I7", format!("{}: called at {} during a call until {before}", call.fax, call.begin_ms));
        }
        let until = open.entry(&call.fax).or_default();
        *until = end.max(*until);
        if let Some((before, fax)) = busy.get(call.number.as_str()).copied()
            && fax != call.fax
            && before > call.begin_ms + GOODBYE_MS
        {
            score.calls_overlapping += 1;
            let Call { number, fax: own, begin_ms, .. } = call;
            score
                .find("I7", format!("{number}: called for {own} at {begin_ms} during a call for {fax} until {before}"));
        }
        if busy.get(call.number.as_str()).is_none_or(|(before, _)| *before <= end) {
            busy.insert(&call.number, (end, &call.fax));
        }
    }
}

/// A dead gateway drives no call, although the far end waits a while for it; a dead far end takes part in none.
fn driven_until(evidence: &Evidence, call: &Call) -> u64 {
    let kills = evidence.faults.iter().filter(|fault| fault.kind.ends_calls() && is_of(fault, call));
    // It died at some moment between the two times of the fault; a call that began in between had begun before.
    // The INVITE of a gateway that has died meanwhile is still answered, and nothing ever comes of that call.
    let late = if call.confirmed.is_empty() { LAST_INVITE_MS } else { 0 };
    let killed =
        kills.filter(|fault| fault.until_ms + late >= call.begin_ms).map(|fault| fault.at_ms.max(call.begin_ms)).min();
    killed.into_iter().chain(call.end_ms).min().unwrap_or(u64::MAX)
}

fn received_pages_came_as_mail(evidence: &Evidence, score: &mut Score) {
    let mut carried: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for mail in evidence.mails.iter().filter(|mail| mail.kind == "received") {
        for body in &mail.bodies {
            carried.entry(body).or_default().insert(&mail.message_id);
        }
    }
    score.calls_in = evidence.inbound.len();
    for call in &evidence.inbound {
        score.pages_in += call.confirmed.len();
        for page in &call.confirmed {
            match carried.get(page.body.as_str()).map_or(0, BTreeSet::len) {
                1 => {}
                0 => {
                    score.mcf_without_mail += 1;
                    score.find("I8", format!("{}: page {} was confirmed and no mail has it", call.fax, page.body));
                }
                many => score.find("I8", format!("{}: page {} came in {many} mails", call.fax, page.body)),
            }
        }
    }
}

fn work_goes_on(evidence: &Evidence, score: &mut Score) {
    let accepted: Vec<u64> =
        evidence.sent.iter().filter(|sent| sent.outcome == SentOutcome::Accepted).map(|sent| sent.at_ms).collect();
    let pages: Vec<u64> = evidence.calls.iter().flat_map(|call| &call.confirmed).map(|page| page.at_ms).collect();
    for fault in &evidence.faults {
        let wait =
            |times: &[u64]| times.iter().filter(|at| **at >= fault.until_ms).min().map_or(0, |at| at - fault.until_ms);
        score.slowest_250_ms = score.slowest_250_ms.max(wait(&accepted));
        score.slowest_page_ms = score.slowest_page_ms.max(wait(&pages));
    }
}
