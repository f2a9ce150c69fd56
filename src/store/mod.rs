//! The store: the only thing the stages share, and the only place that knows SQL.
//!
//! The trait's methods are transitions of the domain, never create-read-update-delete. Each writes everything that
//! belongs together in one transaction. A write-back carries the lease token it was claimed with; when the token is
//! not the row's any more the answer is [`StoreError::LeaseLost`] and nothing has changed. Facts about the past
//! ([`Store::record_fact`], [`Store::page_confirmed`]) are accepted even from a stale token: what the far end was
//! told cannot be taken back. The conformance suite in `store/conformance.rs` runs against every implementation.

#[cfg(test)]
mod conformance;
pub mod model;
mod report;
mod sqlite;
#[cfg(test)]
pub(crate) mod testing;

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{AttemptId, FaxId, MessageId, NoticeId, ShortId, Timestamp};
pub use model::*;
pub use sqlite::{SqliteSettings, SqliteStore, WriterStats};

/// Why the store did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached or cannot write; nothing is known to have changed. Trying again later is right.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// The lease token is not the row's any more: somebody else owns it now. Nothing has changed.
    #[error("the lease on {0} is lost: another worker owns it now")]
    LeaseLost(String),
    /// No such row.
    #[error("no {kind} {id}")]
    NotFound {
        /// What was looked for.
        kind: &'static str,
        /// Under which id.
        id: String,
    },
    /// A constraint or trigger refused the move. Our mistake: it is logged and nothing has changed.
    #[error("the store refused an illegal move: {0}")]
    Refused(String),
    /// A new id met an old one; make another and repeat.
    #[error("the id {0} is taken")]
    IdTaken(String),
    /// The schema is newer or older than this program knows, or a second process uses the file.
    #[error("{0}")]
    Unusable(String),
}

/// Shorthand.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Durable state of the gateway. Every method is one transaction, durable when it returns.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The store's clock: the only one that decides about leases.
    async fn now(&self) -> Result<Timestamp>;

    /// Writes a row of its own and commits it; errors when nothing can be stored now.
    async fn check_writable(&self) -> Result<()>;

    // ---- intake/

    /// Stores a message with its faxes. The documents it names are durable already.
    ///
    /// A message whose `idem_key` was stored before changes nothing and answers [`Submitted::Duplicate`]. The same
    /// message submitted again under its id (the first answer got lost) changes nothing and is `Accepted`.
    /// [`StoreError::IdTaken`] when an id or short id is another's: make new ids and repeat.
    async fn submit(&self, message: NewMessage) -> Result<Submitted>;

    // ---- render/

    /// Leases every claimable fax in state `accepted` of one message: the most urgent, then the one that waits longest.
    async fn claim_render(&self, owner: &Owner, lease: Duration) -> Result<Option<RenderWork>>;

    /// `accepted` → `ready`: the pages are stored. The first call may start at once, or at [`NewFax::not_before`].
    async fn rendered(&self, fax: FaxId, token: LeaseToken, pages: RenderedPages) -> Result<()>;

    /// Gives the lease back; the fax is claimable again from `not_before`.
    async fn render_again(&self, fax: FaxId, token: LeaseToken, not_before: Timestamp, why: &str) -> Result<()>;

    /// `accepted` → final: the pages cannot be made. State and notice change together.
    async fn render_failed(&self, fax: FaxId, token: LeaseToken, end: FinalEnd) -> Result<()>;

    // ---- line/

    /// Leases up to `limit` faxes in state `ready` whose time has come, urgent and old ones first; never two for one
    /// number, and none for a number that a call is open for or leased for elsewhere. A fax with an open attempt is not
    /// claimable before that is ended or settled.
    async fn claim_calls(&self, owner: &Owner, limit: u32, lease: Duration) -> Result<Vec<CallWork>>;

    /// Leases up to `limit` faxes in state `ready` whose time is over, those that wait for their time or for a line too.
    /// A fax with an open attempt is not among them.
    async fn claim_overdue(&self, owner: &Owner, limit: u32, lease: Duration) -> Result<Vec<CallWork>>;

    /// Records the attempt before the first packet leaves, counts it and answers its number. Repeating it with the same
    /// id answers the same.
    ///
    /// `LeaseLost` also when the lease has run out; `Refused` when `first_page` is not the first unconfirmed page (a
    /// late confirmation may have come in since the claim: give the fax back with [`Store::call_again`]).
    async fn begin_attempt(&self, fax: FaxId, token: LeaseToken, attempt: NewAttempt) -> Result<u32>;

    /// Records something that happened in a call. Accepted from a stale token too.
    async fn record_fact(&self, attempt: AttemptId, fact: AttemptFact) -> Result<()>;

    /// Records that the far end confirmed a page (MCF). Accepted from a stale token and after the end of the fax too;
    /// repeating it changes nothing. `Refused` for a page that the fax does not have.
    async fn page_confirmed(&self, attempt: AttemptId, page: ConfirmedPage) -> Result<()>;

    /// Closes the attempt and moves the fax on: again later, or final with its notice. Releases the lease.
    ///
    /// `Refused` when the end is not true: `sent` wants every page confirmed, `partial` some but not all, `failed` none,
    /// `unknown` and another call not all. The lease is kept then.
    async fn end_attempt(&self, attempt: AttemptId, token: LeaseToken, end: AttemptEnd, next: Next) -> Result<()>;

    /// Gives a claimed fax back without an attempt (no channel, line down): not counted, due again at `not_before`.
    async fn call_again(&self, fax: FaxId, token: LeaseToken, not_before: Timestamp, why: &str) -> Result<()>;

    /// `ready` → final without a call: its time is over, the number is not allowed any more, or a late fact has
    /// confirmed its last page (`sent`).
    async fn call_failed(&self, fax: FaxId, token: LeaseToken, end: FinalEnd) -> Result<()>;

    // ---- deliver/

    /// Leases up to `limit` notices that are owed and due, oldest first. Counts the try.
    async fn claim_notices(&self, owner: &Owner, limit: u32, lease: Duration) -> Result<Vec<NoticeWork>>;

    /// `owed` → `sent`; `taken_by` says which host took it with which reply.
    async fn notice_sent(&self, notice: NoticeId, token: LeaseToken, taken_by: &str) -> Result<()>;

    /// Stays `owed`, due again at `not_before`.
    async fn notice_again(&self, notice: NoticeId, token: LeaseToken, not_before: Timestamp, why: &str) -> Result<()>;

    /// `owed` → `dead`: nobody takes it. Shown and counted.
    async fn notice_dead(&self, notice: NoticeId, token: LeaseToken, why: &str) -> Result<()>;

    // ---- ownership and maintenance

    /// Extends those of the leases in `held` that this owner still holds, all in one transaction; never shortens one.
    /// Answers how many. A lease that has run out and that nobody took meanwhile is still held.
    ///
    /// What is not in `held` runs out: a claim whose answer got lost, or whose worker has failed, belongs to nobody in
    /// this process, and renewing it would keep its fax from everybody for ever.
    async fn renew(&self, owner: &Owner, held: &[Lease], lease: Duration) -> Result<u64>;

    /// Frees what earlier lives of this node still hold: leases without an open attempt become claimable at once;
    /// open attempts become orphans. Called once at start, before any worker claims.
    async fn take_back(&self, owner: &Owner) -> Result<TakenBack>;

    /// Attempts that are open while nobody holds a valid lease on their fax.
    async fn orphans(&self) -> Result<Vec<Orphan>>;

    /// Closes an orphan and moves its fax on. `LeaseLost` when somebody settled it before or its owner is back;
    /// `Refused` when the end is not true any more (see [`Store::end_attempt`]): read the orphans again.
    async fn settle(&self, orphan: &Orphan, end: AttemptEnd, next: Next) -> Result<()>;

    /// Says that this node lives.
    async fn node_seen(&self, node: &NodeState) -> Result<()>;

    /// Says how a line does.
    async fn line_seen(&self, line: &LineState) -> Result<()>;

    // ---- reading, for commands, console, notices

    /// One fax with everything that is known of it.
    async fn fax(&self, id: FaxId) -> Result<FaxRecord>;

    /// The fax that people call by this id.
    async fn find_fax(&self, id: &ShortId) -> Result<FaxId>;

    /// Newest first.
    async fn faxes(&self, filter: &FaxFilter) -> Result<Vec<FaxSummary>>;

    /// One message.
    async fn message(&self, id: MessageId) -> Result<Message>;

    /// The events of a fax and of its message, oldest first.
    async fn events(&self, fax: FaxId) -> Result<Vec<Event>>;

    /// How many of what.
    async fn counts(&self) -> Result<Counts>;

    /// Every node and line that was ever seen.
    async fn nodes_and_lines(&self) -> Result<(Vec<NodeState>, Vec<LineState>)>;

    /// The inline bytes of a document, or where it lies. For `documents/` only.
    async fn document(&self, key: &DocumentKey) -> Result<StoredDocument>;
}
