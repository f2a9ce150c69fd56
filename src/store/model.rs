//! What the store takes and gives. Plain data; the rules are in the implementations and in the schema.

mod orders;
mod received;
mod retention;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::page::words;
use crate::domain::{
    AttemptId, Cause, FaxId, FaxNumber, FaxOptions, FaxState, MessageId, NoticeId, NoticeKind, NoticeState, NotifyOn,
    Outcome, ReceivedFaxId, ReceivedFormat, Timestamp,
};
pub use orders::*;
pub use received::*;
pub use retention::*;

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
}

/// SHA-256 of a document's bytes: its name everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DocumentKey(pub [u8; 32]);

impl fmt::Display for DocumentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl FromStr for DocumentKey {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|e| e.to_string())?;
        bytes.try_into().map(Self).map_err(|_| format!("\"{text}\" is not a SHA-256"))
    }
}

impl TryFrom<String> for DocumentKey {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<DocumentKey> for String {
    fn from(key: DocumentKey) -> Self {
        key.to_string()
    }
}

/// A document that `documents/` has made durable, or that is small enough to go into the same transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentRef {
    /// Its name.
    pub key: DocumentKey,
    /// Its length.
    pub size_bytes: u64,
    /// MIME type.
    pub media: String,
    /// The bytes themselves when they go into the row (16 KiB at most).
    pub inline: Option<Vec<u8>>,
}

/// Where a document's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredDocument {
    /// In the row.
    Inline(Vec<u8>),
    /// In the repository, this many bytes.
    Repository {
        /// Its length.
        size_bytes: u64,
    },
    /// Retention removed the bytes.
    Pruned {
        /// When.
        at: Timestamp,
    },
}

/// Which way a message came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// SMTP.
    Smtp,
    /// `faxwell send`.
    Command,
}
words!(Source { Smtp = "smtp", Command = "command" });

/// RFC 3461 §4.3 RET.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ret {
    /// The whole message, in failure reports.
    Full,
    /// Its header only.
    Hdrs,
}
words!(Ret { Full = "full", Hdrs = "hdrs" });

/// A message to store.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// Made by the caller.
    pub id: MessageId,
    /// Absorbs a client that sends again because the 250 got lost (RFC 1047).
    pub idem_key: Option<[u8; 32]>,
    /// Which way it came in.
    pub source: Source,
    /// Who gave it to us, as in `10.0.5.7 (mail.example.com)`.
    pub client: String,
    /// Whom reports go to; none for a null sender.
    pub reverse_path: Option<String>,
    /// RFC 3461 RET.
    pub ret: Option<Ret>,
    /// RFC 3461 ENVID, decoded.
    pub envid: Option<String>,
    /// `Message-ID` of the mail, without angle brackets.
    pub header_message_id: Option<String>,
    /// `Subject`, decoded and without directives.
    pub subject: String,
    /// Display name of `From`.
    pub from_name: Option<String>,
    /// Address of `From`.
    pub from_address: Option<String>,
    /// Whether reports must not be mailed (bulk or automatic mail, RFC 3834).
    pub automatic: bool,
    /// How to render and report.
    pub options: FaxOptions,
    /// Lower is sooner; 5 is normal.
    pub priority: i16,
    /// The mail as it came, CRLF line ends.
    pub raw: DocumentRef,
    /// One for each recipient; never empty.
    pub faxes: Vec<NewFax>,
}

/// One recipient of a message to store.
#[derive(Debug, Clone)]
pub struct NewFax {
    /// Made by the caller.
    pub id: FaxId,
    /// The forward-path exactly as it was accepted (RFC 3464 §2.3.2).
    pub recipient: String,
    /// What to dial.
    pub number: FaxNumber,
    /// T.33 subaddress: digits, as written.
    pub subaddress: Option<String>,
    /// DTMF after the answer. Never printed.
    pub post_dial: Option<String>,
    /// Name for the cover.
    pub to_name: Option<String>,
    /// Company for the cover.
    pub to_company: Option<String>,
    /// RFC 3461 ORCPT, decoded, as in `rfc822;…`.
    pub original_recipient: Option<String>,
    /// Which reports were asked for.
    pub notify: NotifyOn,
    /// When the first call may start at the earliest; none means at once.
    pub not_before: Option<Timestamp>,
    /// When to give up, counted from when the first call may start.
    pub give_up_after: std::time::Duration,
}

/// What became of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// It is stored.
    Accepted {
        /// When, by the store's clock.
        at: Timestamp,
    },
    /// It was stored before, under this id.
    Duplicate {
        /// The first one.
        message: MessageId,
    },
}

/// A stored message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// Which way it came in.
    pub source: Source,
    /// Who gave it to us.
    pub client: String,
    /// Whom reports go to; none for a null sender.
    pub reverse_path: Option<String>,
    /// RFC 3461 RET.
    pub ret: Option<Ret>,
    /// RFC 3461 ENVID, decoded.
    pub envid: Option<String>,
    /// `Message-ID` of the mail.
    pub header_message_id: Option<String>,
    /// `Subject`, decoded and without directives.
    pub subject: String,
    /// Display name of `From`.
    pub from_name: Option<String>,
    /// Address of `From`.
    pub from_address: Option<String>,
    /// Whether reports must not be mailed.
    pub automatic: bool,
    /// How to render and report.
    pub options: FaxOptions,
    /// The mail as it came.
    pub raw: DocumentKey,
}

/// A stored fax.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fax {
    /// Its id.
    pub id: FaxId,
    /// The message it belongs to.
    pub message: MessageId,
    /// The forward-path exactly as it was accepted.
    pub recipient: String,
    /// What to dial.
    pub number: FaxNumber,
    /// T.33 subaddress.
    pub subaddress: Option<String>,
    /// DTMF after the answer.
    #[serde(skip)]
    pub post_dial: Option<String>,
    /// Name for the cover.
    pub to_name: Option<String>,
    /// Company for the cover.
    pub to_company: Option<String>,
    /// RFC 3461 ORCPT, decoded.
    pub original_recipient: Option<String>,
    /// Which reports were asked for.
    pub notify: NotifyOn,
    /// Where it is.
    pub state: FaxState,
    /// Lower is sooner.
    pub priority: i16,
    /// Not worked on before.
    pub not_before: Timestamp,
    /// Given up after.
    pub give_up_at: Timestamp,
    /// The pages as they are sent: TIFF-F, header line included.
    pub document: Option<DocumentKey>,
    /// Pages of the document.
    pub page_count: Option<u32>,
    /// Pages 1..=this are confirmed.
    pub pages_confirmed: u32,
    /// Calls begun.
    pub attempts: u32,
    /// Why it failed or waits.
    pub cause: Option<Cause>,
    /// The evidence behind the cause, one line: `486 Busy Here`, or a file name and what is wrong with it.
    pub detail: Option<String>,
    /// When the message was accepted.
    pub accepted_at: Timestamp,
    /// When it became final.
    pub ended_at: Option<Timestamp>,
    /// A person had this ended fax sent once more.
    pub retry_of: Option<FaxId>,
    /// First page to send; those before it arrived with [`Self::retry_of`].
    pub begin_page: u32,
    /// What a person ordered and nobody has carried out yet.
    pub ordered: Option<Order>,
    /// Whether retention leaves it alone.
    pub legal_hold: bool,
}

impl Fax {
    /// Whether all its pages are confirmed.
    pub fn is_complete(&self) -> bool {
        self.page_count == Some(self.pages_confirmed)
    }
}

/// What a renderer works on: one message and those of its faxes that wait for pages.
#[derive(Debug, Clone)]
pub struct RenderWork {
    /// The message.
    pub message: Message,
    /// Its faxes, each with the token of its lease.
    pub faxes: Vec<(Fax, LeaseToken)>,
    /// How often a worker has died over this message: after two a document is damaged, not the worker.
    pub crashes: u32,
}

impl RenderWork {
    /// The leases that came with it.
    pub fn leases(&self) -> Vec<Lease> {
        self.faxes.iter().map(|(fax, token)| Lease::Fax(fax.id, *token)).collect()
    }
}

/// Pages that a renderer made.
#[derive(Debug, Clone)]
pub struct RenderedPages {
    /// TIFF-F as it will be sent.
    pub document: DocumentRef,
    /// Its pages, 1 or more.
    pub page_count: u32,
}

/// The end of a fax.
#[derive(Debug, Clone)]
pub struct FinalEnd {
    /// How it ended.
    pub outcome: Outcome,
    /// Why; none for `sent`.
    pub cause: Option<Cause>,
    /// The evidence, one line.
    pub detail: Option<String>,
    /// The final report.
    pub notice: NewNotice,
}

/// A mail that we shall owe somebody.
#[derive(Debug, Clone)]
pub struct NewNotice {
    /// Made by the caller.
    pub id: NoticeId,
    /// What it tells.
    pub kind: NoticeKind,
    /// Whom it goes to; none when it is withheld.
    pub recipient: Option<String>,
    /// `Message-ID` without angle brackets; the same whenever this notice is sent again.
    pub header_message_id: String,
    /// Why it is recorded but not mailed.
    pub withheld: Option<String>,
    /// What the mail of a received fax carries; none for every other kind.
    pub format: Option<ReceivedFormat>,
}

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

/// A stored notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// Its id.
    pub id: NoticeId,
    /// The fax it reports on.
    pub fax: Option<FaxId>,
    /// The received fax it carries.
    pub received: Option<ReceivedFaxId>,
    /// What it tells.
    pub kind: NoticeKind,
    /// Where it is.
    pub state: NoticeState,
    /// Whom it goes to.
    pub recipient: Option<String>,
    /// `Message-ID` without angle brackets.
    pub header_message_id: String,
    /// When it became owed: the `Date` of the mail, so that every copy is the same.
    pub created_at: Timestamp,
    /// When it was taken.
    pub sent_at: Option<Timestamp>,
    /// Tries so far.
    pub tries: u32,
    /// Last error, or why it is withheld, dead or bounced, or who took it.
    pub detail: Option<String>,
    /// What the mail of a received fax carries.
    pub format: Option<ReceivedFormat>,
}

/// A notice to compose and deliver.
#[derive(Debug, Clone)]
pub struct NoticeWork {
    /// The notice.
    pub notice: Notice,
    /// Token of its lease.
    pub token: LeaseToken,
    /// Everything about what it tells of.
    pub about: About,
}

/// What a notice tells of.
#[derive(Debug, Clone)]
pub enum About {
    /// A fax that was to be sent.
    Fax(Box<FaxRecord>),
    /// A fax that came in.
    Received(Box<ReceivedRecord>),
}

impl NoticeWork {
    /// The lease that came with it.
    pub fn lease(&self) -> Lease {
        Lease::Notice(self.notice.id, self.token)
    }
}

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

/// What calls have taught about a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Destination {
    /// Audio until then: T.38 failed.
    pub avoid_t38_until: Timestamp,
    /// The evidence, one line.
    pub detail: String,
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
