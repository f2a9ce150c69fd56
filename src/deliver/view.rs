//! What the templates see of a fax: facts, ready to print, in no language.

use std::time::Duration;

use jiff::tz::TimeZone;
use serde::Serialize;

use super::compose::Withheld;
use super::words;
use crate::domain::cause::Entry;
use crate::domain::{Cause, FaxState, NoticeKind, Timestamp};
use crate::mail::mime::clean;
use crate::store::{Attempt, FaxRecord, Transport};

/// Longer subjects are cut with an ellipsis.
const SUBJECT_CHARS_MAX: usize = 120;
/// Rows of a table; a fax of more pages or calls says how many are not listed.
const ROWS_MAX: usize = 200;

/// A fax for the templates.
#[derive(Debug, Serialize)]
pub(super) struct View {
    id: String,
    /// The fax that this one sends once more.
    retry_of: Option<String>,
    /// First page that it sends.
    begin_page: u32,
    number: String,
    name: Option<String>,
    subaddress: Option<String>,
    subject: Option<String>,
    reference: Option<String>,
    administrator: Option<String>,
    accepted: String,
    ended: Option<String>,
    /// Time that calls were connected.
    duration: Option<String>,
    colour: &'static str,
    /// 0 when no pages were made.
    total: u32,
    /// Pages 1..=this arrived.
    arrived: u32,
    /// Pages of which nobody knows.
    open_from: u32,
    open_to: u32,
    all_sent: bool,
    /// Whether the image of any page began to leave.
    started: bool,
    attempts: u32,
    remote_id: Option<String>,
    cause: Option<CauseView>,
    status: String,
    evidence: Option<String>,
    fix: String,
    next: String,
    /// When the next call begins; none when it begins as soon as a line is free.
    next_call: Option<String>,
    /// Until when the gateway tries.
    until: String,
    /// Whether its pages are made.
    rendered: bool,
    calls: Vec<CallView>,
    calls_omitted: usize,
    pages: Vec<PageView>,
    pages_omitted: usize,
    /// Content-ID of the picture.
    picture: Option<String>,
    /// Names of the attached files.
    file: Option<String>,
    /// `style`, `size`, `unavailable` or `removed`: why nothing is attached.
    withheld: Option<&'static str>,
    /// On which day retention removed the pages.
    removed: Option<String>,
    /// The address by which it is sent again, or stopped.
    order: Option<String>,
}

#[derive(Debug, Serialize)]
struct CauseView {
    slug: &'static str,
    title: &'static str,
    cause: &'static str,
}

#[derive(Debug, Serialize)]
struct CallView {
    number: u32,
    time: String,
    clock: String,
    line: String,
    transport: Option<&'static str>,
    rate_bps: Option<u32>,
    /// Confirmed in this call.
    pages: usize,
    title: Option<&'static str>,
    detail: Option<String>,
}

#[derive(Debug, Serialize)]
struct PageView {
    page: u32,
    time: Option<String>,
    rate_bps: Option<u32>,
    ecm: bool,
    /// `confirmed`, `earlier` (with the fax that this one sends once more), `missing`, `open`.
    state: &'static str,
    blocks_resent: u32,
}

/// What the record does not say.
#[derive(Debug)]
pub(super) struct Around<'a> {
    pub(super) kind: NoticeKind,
    pub(super) status: String,
    /// When the notice became owed.
    pub(super) told_at: Timestamp,
    pub(super) zone: &'a TimeZone,
    pub(super) administrator: Option<&'a str>,
    pub(super) picture: Option<String>,
    pub(super) file: Option<String>,
    pub(super) withheld: Option<Withheld>,
    pub(super) order: Option<String>,
}

/// Everything that the templates may say about a fax.
pub(super) fn view(record: &FaxRecord, around: Around<'_>) -> View {
    let fax = &record.fax;
    let total = fax.page_count.unwrap_or(0);
    let (open_from, open_to) = open_pages(record, around.kind);
    let entry = fax.cause.map(Cause::entry);
    let connected: Duration = record.attempts.iter().filter_map(connected).sum();
    let text = |text: &Option<String>| text.as_deref().map(clean).filter(|t| !t.is_empty());
    let (pages, pages_omitted) = pages(record, around.zone, open_from..=open_to);
    let (calls, calls_omitted) = calls(record, around.zone);
    View {
        id: fax.id.short().to_string(),
        retry_of: fax.retry_of.map(|first| first.short().to_string()),
        begin_page: fax.begin_page,
        number: words::number(&fax.number),
        name: addressee(text(&fax.to_name), text(&fax.to_company)),
        subaddress: text(&fax.subaddress),
        subject: shortened(&record.message.subject),
        reference: text(&record.message.options.reference),
        administrator: around.administrator.map(clean),
        accepted: words::moment(fax.accepted_at, around.zone),
        ended: fax.ended_at.map(|at| words::moment(at, around.zone)),
        duration: words::duration(connected),
        colour: match around.kind {
            NoticeKind::Sent => "#1a7f37",
            NoticeKind::Unknown | NoticeKind::Delayed => "#8a5a00",
            NoticeKind::Partial | NoticeKind::Failed => "#b42318",
            _ => "#3c4753",
        },
        total,
        arrived: fax.pages_confirmed,
        open_from,
        open_to,
        all_sent: record.attempts.last().is_some_and(|a| a.all_pages_sent),
        started: record.attempts.iter().any(|a| a.page_started > 0),
        attempts: fax.attempts,
        remote_id: record.attempts.iter().rev().find_map(|a| text(&a.end.remote_id)),
        cause: entry.zip(fax.cause).map(|(e, c)| CauseView { slug: c.slug(), title: e.title, cause: e.cause }),
        status: around.status,
        evidence: text(&fax.detail),
        fix: entry.map_or_else(|| "Nothing.".to_owned(), Entry::final_fix),
        next: entry.map_or("Nothing more; this is final.", Entry::final_next).to_owned(),
        next_call: (fax.not_before > around.told_at).then(|| words::moment(fax.not_before, around.zone)),
        until: words::moment(fax.give_up_at, around.zone),
        rendered: fax.state != FaxState::Accepted,
        calls,
        calls_omitted,
        pages,
        pages_omitted,
        picture: around.picture,
        file: around.file,
        withheld: around.withheld.map(Withheld::as_str),
        order: around.order,
        removed: around.withheld.and_then(|withheld| withheld.removed(around.zone)),
    }
}

fn addressee(name: Option<String>, company: Option<String>) -> Option<String> {
    match (name, company) {
        (Some(name), Some(company)) => Some(format!("{name}, {company}")),
        (name, company) => name.or(company),
    }
}

fn shortened(subject: &str) -> Option<String> {
    let subject = clean(subject);
    let cut = subject.char_indices().nth(SUBJECT_CHARS_MAX).map(|(at, _)| format!("{}…", subject[..at].trim_end()));
    (!subject.is_empty()).then(|| cut.unwrap_or(subject))
}

fn connected(attempt: &Attempt) -> Option<Duration> {
    Some(attempt.ended_at?.since(attempt.answered_at?))
}

/// First and last page whose image left and that was not confirmed; (1, 0) when there is none.
fn open_pages(record: &FaxRecord, kind: NoticeKind) -> (u32, u32) {
    let total = record.fax.page_count.unwrap_or(0);
    let first = record.fax.pages_confirmed + 1;
    let started = record.attempts.iter().map(|a| a.page_started).max().unwrap_or(0).min(total);
    match kind {
        // At least one page is open, or the outcome would be another.
        NoticeKind::Unknown if first <= total => (first, started.max(first)),
        _ => (1, 0),
    }
}

fn pages(record: &FaxRecord, zone: &TimeZone, open: std::ops::RangeInclusive<u32>) -> (Vec<PageView>, usize) {
    let total = record.fax.page_count.unwrap_or(0);
    let rows = (1..=total).take(ROWS_MAX).map(|page| match record.pages.iter().find(|p| p.page.page == page) {
        Some(found) => PageView {
            page,
            time: Some(words::clock(found.confirmed_at, zone)),
            rate_bps: Some(found.page.rate_bps),
            ecm: found.page.ecm,
            state: "confirmed",
            blocks_resent: found.page.blocks_resent,
        },
        None => PageView {
            page,
            time: None,
            rate_bps: None,
            ecm: false,
            state: match page {
                page if page < record.fax.begin_page => "earlier",
                page if open.contains(&page) => "open",
                _ => "missing",
            },
            blocks_resent: 0,
        },
    });
    (rows.collect(), (total as usize).saturating_sub(ROWS_MAX))
}

fn calls(record: &FaxRecord, zone: &TimeZone) -> (Vec<CallView>, usize) {
    let omitted = record.attempts.len().saturating_sub(ROWS_MAX);
    let row = |attempt: &Attempt| {
        let detail = clean(&attempt.end.detail);
        CallView {
            number: attempt.number,
            time: words::moment(attempt.started_at, zone),
            clock: words::minute(attempt.started_at, zone),
            line: clean(&attempt.line),
            transport: attempt.end.transport.map(|t| match t {
                Transport::T38 => "T.38",
                Transport::G711 => "G.711",
            }),
            rate_bps: attempt.end.rate_bps,
            pages: record.pages.iter().filter(|p| p.attempt == attempt.id).count(),
            title: attempt.end.cause.map(|c| c.entry().title),
            detail: (!detail.is_empty()).then_some(detail),
        }
    };
    (record.attempts.iter().skip(omitted).map(row).collect(), omitted)
}
