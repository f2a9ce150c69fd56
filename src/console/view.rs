//! What the API says: the published form of the store's records. Times are RFC 3339, ids are those people see.
//!
//! Programs should ignore members that are not listed here; the list is expected to grow.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::nodes::Standing;
use crate::domain::page::words;
use crate::domain::{Cause, Class, FaxId, FaxState, NoticeKind, NoticeState, Timestamp};
use crate::store::{
    Attempt, Counts, Event, Fax, FaxRecord, FaxSummary, LineState, NodeState, Notice, Order, PageRecord,
};

/// A fax in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaxView {
    /// Its UUID.
    pub id: FaxId,
    /// What people call it, as in `F-8KQ2XW4DZP`.
    pub short: String,
    /// As in `M-8KQ2XW4DZP`.
    pub message: String,
    /// Where it is.
    pub state: FaxState,
    /// What is dialled; masked where anybody may look.
    pub number: String,
    /// The forward-path as it was accepted.
    pub recipient: Option<String>,
    /// Subject of the mail.
    pub subject: Option<String>,
    /// Whom reports go to.
    pub from: Option<String>,
    /// Pages of the fax, once they are made.
    pub pages: Option<u32>,
    /// Pages 1..=this were confirmed.
    pub pages_confirmed: u32,
    /// Calls begun.
    pub attempts: u32,
    /// Whether a call is open now.
    pub in_call: bool,
    /// Why it failed or waits.
    pub cause: Option<CauseView>,
    /// The evidence behind the cause.
    pub detail: Option<String>,
    /// When the mail was accepted.
    pub accepted_at: String,
    /// Not worked on before.
    pub not_before: String,
    /// Given up after.
    pub give_up_at: String,
    /// When it became final.
    pub ended_at: Option<String>,
    /// What a person ordered, when that waits for whoever works on it.
    pub ordered: Option<Order>,
    /// The fax that this one sends once more.
    pub retry_of: Option<String>,
    /// First page to send; those before it arrived with `retry_of`.
    pub begin_page: u32,
    /// Whether retention leaves it alone.
    #[serde(default)]
    pub legal_hold: bool,
}

/// An entry of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseView {
    /// As in `number-unassigned`.
    pub slug: String,
    /// Whether trying again can help.
    pub class: Class,
    /// A few words.
    pub title: String,
    /// What happened.
    pub cause: String,
    /// What the person can do.
    pub fix: String,
    /// What the gateway does next.
    pub next: String,
}

/// Everything about a fax.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaxDetail {
    /// The fax.
    #[serde(flatten)]
    pub fax: FaxView,
    /// Its calls, oldest first.
    pub calls: Vec<AttemptView>,
    /// Its confirmed pages in order.
    pub confirmed: Vec<PageView>,
    /// The mails owed for it.
    pub notices: Vec<NoticeView>,
    /// What happened, oldest first.
    pub events: Vec<EventView>,
    /// The fax that sends this one once more.
    pub retried_as: Option<String>,
    /// What calls have taught about the number.
    pub destination: Option<DestinationView>,
}

/// What calls have taught about a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationView {
    /// T.38 is not tried until then.
    pub avoid_t38_until: String,
    /// Why.
    pub detail: String,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptView {
    /// 1 for the first.
    pub number: u32,
    /// The node that called.
    pub node: String,
    /// The line.
    pub line: String,
    /// First page to send.
    pub first_page: u32,
    /// When it began.
    pub started_at: String,
    /// When it was answered.
    pub answered_at: Option<String>,
    /// When it ended.
    pub ended_at: Option<String>,
    /// `t38` or `g711`.
    pub transport: Option<String>,
    /// Bits per second.
    pub rate_bps: Option<u32>,
    /// Whether error correction was on.
    pub ecm: Option<bool>,
    /// What the far end calls itself.
    pub remote_id: Option<String>,
    /// Last SIP status.
    pub sip_code: Option<u16>,
    /// Why it did not send everything.
    pub cause: Option<CauseView>,
    /// The evidence.
    pub detail: String,
}

/// A confirmed page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageView {
    /// From 1.
    pub page: u32,
    /// In which call.
    pub call: u32,
    /// When.
    pub confirmed_at: String,
    /// Bits per second.
    pub rate_bps: u32,
    /// Whether error correction was on.
    pub ecm: bool,
    /// How long it took, in the call's own clock.
    pub duration_ms: u64,
    /// Blocks that were sent again.
    pub blocks_resent: u32,
}

/// A mail that is or was owed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeView {
    /// What it tells.
    pub kind: NoticeKind,
    /// Where it is.
    pub state: NoticeState,
    /// Whom it goes to.
    pub recipient: Option<String>,
    /// Its Message-ID.
    pub message_id: String,
    /// When it became owed.
    pub created_at: String,
    /// When it was taken.
    pub sent_at: Option<String>,
    /// Tries so far.
    pub tries: u32,
    /// Last error, or who took it.
    pub detail: Option<String>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventView {
    /// Rises.
    pub seq: i64,
    /// When.
    pub at: String,
    /// Which node said so.
    pub node: Option<String>,
    /// The fax, received fax or message, in its short form.
    pub of: Option<String>,
    /// `accepted`, `rendered`, `attempt`, `page`, `sent`, …
    pub kind: String,
    /// One line for people.
    pub text: String,
}

/// A part of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventList {
    /// Oldest first.
    pub events: Vec<EventView>,
    /// Where the next part begins: ask with `after` for what comes then.
    pub after: i64,
    /// Whether there is more already.
    pub more: bool,
}

/// What people order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrderName {
    /// Keep it back.
    Hold,
    /// Let it go on.
    Release,
    /// End it.
    Cancel,
    /// Now, or once more.
    Retry,
    /// Its mails once more.
    Redeliver,
}
words!(OrderName { Hold = "hold", Release = "release", Cancel = "cancel", Retry = "retry", Redeliver = "redeliver" });

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "result")]
pub enum OrderResult {
    /// It is carried out.
    Done,
    /// It is carried out when nobody works on the fax any more.
    Soon,
    /// The fax is sent once more.
    New {
        /// As this one.
        fax: String,
    },
    /// Mails are owed once more.
    Owed {
        /// How many.
        mails: u64,
    },
}

/// An order that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderView {
    /// Of which fax.
    pub id: String,
    /// What was ordered.
    pub order: OrderName,
    /// What became of it.
    #[serde(flatten)]
    pub result: OrderResult,
    /// The same in words.
    pub text: String,
}

/// A list of faxes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaxList {
    /// Newest first.
    pub faxes: Vec<FaxView>,
    /// Whether there are more than these.
    pub truncated: bool,
    /// How many more, where that is known without reading them.
    pub more: Option<u64>,
}

/// A line of a watch: something happened, or the fax changed. The last line is the fax in its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WatchLine {
    /// Something happened.
    Event(EventView),
    /// The fax as it is now.
    Fax(Box<FaxView>),
}

/// What a submission became.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedView {
    /// As in `M-8KQ2XW4DZP`.
    pub message: String,
    /// One id for each recipient.
    pub faxes: Vec<String>,
    /// The same in words.
    pub text: String,
}

/// How the gateway does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// Version of the program.
    pub version: String,
    /// This node.
    pub node: String,
    /// Mail to numbers in this domain becomes faxes.
    pub domain: String,
    /// Whether nothing can be dialled but the pretend fax machine.
    pub sandbox: bool,
    /// Where mail comes in.
    pub smtp: Vec<String>,
    /// Where the status page is.
    pub web: Option<String>,
    /// The time by the store's clock.
    pub now: String,
    /// Faxes by state.
    pub faxes: BTreeMap<String, u64>,
    /// Calls that are open.
    pub calls: u64,
    /// Facts of calls that fit no row: something was lost in the store.
    #[serde(default)]
    pub parked_facts: u64,
    /// Notices by state.
    pub notices: BTreeMap<String, u64>,
    /// When the fax that waits longest was accepted.
    pub oldest_waiting: Option<String>,
    /// Final faxes of the last 24 hours by cause.
    pub causes_24h: BTreeMap<String, u64>,
    /// How much is kept; only where content is shown.
    #[serde(default)]
    pub storage: Option<StorageView>,
    /// Every node that was ever seen.
    pub nodes: Vec<NodeView>,
    /// Every line that was ever seen.
    pub lines: Vec<LineView>,
}

/// How much is kept, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StorageView {
    /// The store's file, octets.
    pub database_bytes: u64,
    /// Documents with their bytes; none before they were counted for the first time.
    pub documents: Option<u64>,
    /// Their octets.
    pub documents_bytes: Option<u64>,
    /// When the oldest message that is kept was accepted.
    pub oldest: Option<String>,
    /// When retention last ran to its end.
    pub last_prune: Option<String>,
    /// About when it runs next.
    pub next_prune: Option<String>,
}

/// What retention removed, or would remove.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PruneView {
    /// Documents that have lost their bytes.
    pub documents: u64,
    /// Messages that were forgotten with their faxes.
    pub messages: u64,
    /// Received faxes that were forgotten.
    pub received: u64,
    /// Old enough, and kept by a legal hold.
    pub held: u64,
    /// Files that went.
    pub files: u64,
    /// Their octets.
    pub size_bytes: u64,
    /// Whether the run is over; else ask again.
    pub done: bool,
}

/// What was done about the keys of some documents.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SealingView {
    /// Documents that were changed.
    pub done: u64,
    /// Documents that could not be read, and stay as they are.
    pub damaged: u64,
    /// Ask again from here; none when there is nothing left.
    pub next: Option<String>,
}

/// Where a backup takes everything from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyView {
    /// The copy of the store.
    pub store: std::path::PathBuf,
    /// The directory of documents; none when they are in a bucket, which the configuration names.
    pub documents: Option<std::path::PathBuf>,
    /// The file of keys that seal them; none when they lie in the clear.
    pub keys: Option<std::path::PathBuf>,
    /// The node.
    pub node: String,
    /// When the copy was taken.
    pub taken_at: Timestamp,
}

/// A line of a backup's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CopyLine {
    /// The copy is there.
    Copy(CopyView),
    /// It is still kept.
    Kept,
    /// There is none, and why.
    Failed(String),
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its name.
    pub node: String,
    /// Version of its program.
    pub version: String,
    /// Its roles.
    pub roles: String,
    /// When it started.
    pub started_at: String,
    /// When it was last seen.
    pub seen_at: String,
    /// Whether it is being taken out of service.
    pub draining: bool,
    /// How it stands.
    pub standing: Standing,
    /// Who ordered it out of service, until it is resumed.
    pub drain_ordered_by: Option<String>,
    /// When.
    pub drain_ordered_at: Option<String>,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineView {
    /// Its name.
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
    /// When it was last seen.
    pub seen_at: String,
}

fn at(time: Timestamp) -> String {
    time.to_string()
}

impl CauseView {
    /// Of what is over.
    pub(super) fn ended(cause: Cause) -> Self {
        Self::of(cause, Over::Yes)
    }

    /// Of a fax that is still tried, or of one whose tries are over: what to do and what comes next differ.
    fn of(cause: Cause, over: Over) -> Self {
        let entry = cause.entry();
        let (fix, next) = match over {
            Over::No => (entry.fix.to_owned(), entry.next),
            Over::Yes => (entry.final_fix(), entry.final_next()),
        };
        Self {
            slug: cause.slug().to_owned(),
            class: entry.class,
            title: entry.title.to_owned(),
            cause: entry.cause.to_owned(),
            fix,
            next: next.to_owned(),
        }
    }
}

/// Whether the tries of a fax are over.
#[derive(Debug, Clone, Copy)]
enum Over {
    Yes,
    No,
}

impl FaxView {
    /// A fax with what its message adds.
    pub fn new(fax: &Fax, subject: &str, reverse_path: Option<&str>, in_call: bool) -> Self {
        Self {
            id: fax.id,
            short: fax.id.short().to_string(),
            message: fax.message.short().to_string(),
            state: fax.state,
            number: fax.number.to_string(),
            recipient: Some(fax.recipient.clone()),
            subject: Some(subject.to_owned()),
            from: reverse_path.map(str::to_owned),
            pages: fax.page_count,
            pages_confirmed: fax.pages_confirmed,
            attempts: fax.attempts,
            in_call,
            cause: fax.cause.map(|cause| CauseView::of(cause, if fax.state.is_final() { Over::Yes } else { Over::No })),
            detail: fax.detail.clone(),
            accepted_at: at(fax.accepted_at),
            not_before: at(fax.not_before),
            give_up_at: at(fax.give_up_at),
            ended_at: fax.ended_at.map(at),
            ordered: fax.ordered,
            retry_of: fax.retry_of.map(|fax| fax.short().to_string()),
            begin_page: fax.begin_page,
            legal_hold: fax.legal_hold,
        }
    }

    /// What anybody may see: no address, no subject, no evidence (it may hold a file's name), the number masked.
    pub fn masked(mut self) -> Self {
        self.number = crate::telemetry::mask_number(&self.number);
        Self { recipient: None, subject: None, from: None, detail: None, ..self }
    }
}

impl From<&FaxSummary> for FaxView {
    fn from(summary: &FaxSummary) -> Self {
        Self::new(&summary.fax, &summary.subject, summary.reverse_path.as_deref(), summary.in_call)
    }
}

impl From<&FaxRecord> for FaxView {
    fn from(record: &FaxRecord) -> Self {
        let in_call = record.attempts.iter().any(|attempt| attempt.ended_at.is_none());
        Self::new(&record.fax, &record.message.subject, record.message.reverse_path.as_deref(), in_call)
    }
}

impl FaxDetail {
    /// A record with its events.
    pub fn new(record: &FaxRecord, events: &[Event]) -> Self {
        Self {
            fax: record.into(),
            calls: record.attempts.iter().map(AttemptView::from).collect(),
            confirmed: record.pages.iter().map(PageView::from).collect(),
            notices: record.notices.iter().map(NoticeView::from).collect(),
            events: events.iter().map(EventView::from).collect(),
            retried_as: record.retried_as.map(|fax| fax.short().to_string()),
            destination: record.destination.as_ref().map(|memory| DestinationView {
                avoid_t38_until: at(memory.avoid_t38_until),
                detail: memory.detail.clone(),
            }),
        }
    }
}

impl From<&Attempt> for AttemptView {
    fn from(attempt: &Attempt) -> Self {
        let end = &attempt.end;
        Self {
            number: attempt.number,
            node: attempt.node.clone(),
            line: attempt.line.clone(),
            first_page: attempt.first_page,
            started_at: at(attempt.started_at),
            answered_at: attempt.answered_at.map(at),
            ended_at: attempt.ended_at.map(at),
            transport: end.transport.map(|transport| transport.to_string()),
            rate_bps: end.rate_bps,
            ecm: end.ecm,
            remote_id: end.remote_id.clone(),
            sip_code: end.sip_code,
            cause: end.cause.map(|cause| CauseView::of(cause, Over::No)),
            detail: end.detail.clone(),
        }
    }
}

impl From<&PageRecord> for PageView {
    fn from(record: &PageRecord) -> Self {
        let page = &record.page;
        Self {
            page: page.page,
            call: record.attempt_number,
            confirmed_at: at(record.confirmed_at),
            rate_bps: page.rate_bps,
            ecm: page.ecm,
            duration_ms: page.duration_ms,
            blocks_resent: page.blocks_resent,
        }
    }
}

impl From<&Notice> for NoticeView {
    fn from(notice: &Notice) -> Self {
        Self {
            kind: notice.kind,
            state: notice.state,
            recipient: notice.recipient.clone(),
            message_id: notice.header_message_id.clone(),
            created_at: at(notice.created_at),
            sent_at: notice.sent_at.map(at),
            tries: notice.tries,
            detail: notice.detail.clone(),
        }
    }
}

impl From<&Event> for EventView {
    fn from(event: &Event) -> Self {
        let Event { seq, at: time, node, of, kind, text } = event;
        Self { seq: *seq, at: at(*time), node: node.clone(), of: of.clone(), kind: kind.clone(), text: text.clone() }
    }
}

impl StatusView {
    /// Fills in what the store counts.
    pub fn count(&mut self, counts: Counts, nodes: &[NodeState], lines: &[LineState], now: Timestamp) {
        self.faxes = counts.faxes;
        self.calls = counts.calls;
        self.parked_facts = counts.parked_facts;
        self.notices = counts.notices;
        self.oldest_waiting = counts.oldest_waiting.map(at);
        self.causes_24h = counts.causes_24h;
        self.nodes = nodes.iter().map(|node| NodeView::new(node, now)).collect();
        self.lines = lines.iter().map(LineView::from).collect();
    }
}

impl NodeView {
    /// As it is at this time by the store's clock.
    pub(super) fn new(node: &NodeState, now: Timestamp) -> Self {
        Self {
            node: node.owner.node.clone(),
            version: node.version.clone(),
            roles: node.roles.clone(),
            started_at: at(node.started_at),
            seen_at: at(node.seen_at),
            draining: node.draining,
            standing: Standing::of(node, now),
            drain_ordered_by: node.ordered.as_ref().map(|order| order.by.clone()),
            drain_ordered_at: node.ordered.as_ref().map(|order| at(order.at)),
        }
    }
}

impl From<&LineState> for LineView {
    fn from(line: &LineState) -> Self {
        Self {
            line: line.line.clone(),
            node: line.node.clone(),
            channels: line.channels,
            calls: line.calls,
            up: line.up,
            detail: line.detail.clone(),
            seen_at: at(line.seen_at),
        }
    }
}
