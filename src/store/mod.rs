//! The store: the only thing the stages share, and the only place that knows SQL.
//!
//! The trait's methods are transitions of the domain, never create-read-update-delete. Each writes everything that
//! belongs together in one transaction. A write-back carries the lease token it was claimed with; when the token is
//! not the row's any more the answer is [`StoreError::LeaseLost`] and nothing has changed. Facts about the past
//! ([`Store::record_fact`], [`Store::page_confirmed`]) are accepted even from a stale token: what the far end was
//! told cannot be taken back. The conformance suite in `store/conformance.rs` runs against every implementation.

#[cfg(test)]
mod conformance;
mod copy;
mod inspection;
mod journal_fact;
mod migrations;
pub mod model;
mod postgres;
mod report;
mod sql;
mod sqlite;
#[cfg(test)]
pub(crate) mod testing;

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{AttemptId, FaxId, MessageId, NoticeId, ReceivedFaxId, ShortId, Timestamp};
pub use copy::Copied;
pub use inspection::Inspection;
pub use migrations::{Allowed, Kind as MigrationKind, Schema, Step as MigrationStep};
pub use model::*;
pub use postgres::{PostgresSettings, migrate_postgres};
pub use sql::SqlStore;
pub use sqlite::{SqliteSettings, WriterStats, migrate_sqlite};

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
    /// The state does not allow what a person asked for; nothing has changed.
    #[error("{what}: {why}; fix: {fix}")]
    WrongState {
        /// What is not done.
        what: String,
        /// Which state it is in, and why that forbids it.
        why: String,
        /// What the person can do.
        fix: String,
    },
    /// No call may begin at this moment: its number or every channel is taken, or enough calls began within a minute.
    /// Nothing has changed, and trying again is right as soon as that is over.
    #[error("no call begins now: {0}")]
    NotNow(String),
    /// A new id met an old one; make another and repeat.
    #[error("the id {0} is taken")]
    IdTaken(String),
    /// The schema is newer or older than this program knows, or a second process uses the file.
    #[error("{0}")]
    Unusable(String),
}

/// The state does not allow what a person asked for.
fn wrong_state(what: impl Into<String>, why: impl Into<String>, fix: impl Into<String>) -> StoreError {
    StoreError::WrongState { what: what.into(), why: why.into(), fix: fix.into() }
}

/// Shorthand.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Hears of every transition.
pub trait Observer: Send + Sync + 'static {
    /// This one took so long from its call to its durable answer; why it failed, when it did.
    fn transition(&self, name: &'static str, took: Duration, failed: Option<&StoreError>);
}

/// Holds the lock of an SQLite store whose gateway must not run meanwhile. `Unusable` names the process that has it.
pub async fn lock_file(path: &std::path::Path) -> Result<std::fs::File> {
    sqlite::open::lock(path).await
}

/// Durable state of the gateway. Every method is one transaction, durable when it returns.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The store's clock: the only one that decides about leases.
    async fn now(&self) -> Result<Timestamp>;

    /// Writes a row of its own and commits it; errors when nothing can be stored now.
    async fn check_writable(&self) -> Result<()>;

    /// What the database says of itself.
    async fn health(&self) -> Result<StoreHealth>;

    // ---- intake/

    /// Stores a message with its faxes. The documents it names are durable already.
    ///
    /// A message whose `idem_key` was stored before changes nothing and answers [`Submitted::Duplicate`]. The same
    /// message submitted again under its id (the first answer got lost) changes nothing and is `Accepted`.
    /// [`StoreError::IdTaken`] when an id or short id is another's: make new ids and repeat.
    async fn submit(&self, message: NewMessage) -> Result<Submitted>;

    /// Which of these messages are not stored: a store that was taken back in time has lost what it had confirmed, and
    /// the listener that holds them submits them again.
    async fn missing(&self, messages: &[MessageId]) -> Result<Vec<MessageId>>;

    /// Forgets the idempotency keys of messages accepted before: the same mail is a new one after that. Answers how many.
    async fn forget_idem_keys(&self, before: Timestamp, limit: u32) -> Result<u64>;

    /// `sent` → `bounced`: the mail of a received fax came back, and the mailboxes `instead` are owed it from now on. When
    /// they all had it before and none of them has kept it, the notice is `dead`. Repeating it changes nothing. Answers
    /// whether it was new. `Refused` for a notice that carries no received fax.
    async fn notice_bounced(&self, notice: NoticeId, why: &str, instead: &Instead) -> Result<bool>;

    // ---- who may submit

    /// The limit that an identity, or this reverse-path of it, has reached; none when it may submit one fax more.
    async fn over_limit(
        &self,
        identity: &str,
        reverse_path: Option<&str>,
        limits: &SubmitLimits,
    ) -> Result<Option<OverLimit>>;

    /// Adds an account, or replaces the one of its name.
    async fn put_account(&self, account: &Account) -> Result<()>;

    /// Removes an account. `NotFound` when there is none.
    async fn remove_account(&self, name: &str, by: &str) -> Result<()>;

    /// The account of this name.
    async fn account(&self, name: &str) -> Result<Option<Account>>;

    /// All of them, by name.
    async fn accounts(&self) -> Result<Vec<Account>>;

    /// Counts a failed login for each of `what` (a name, a network); the count begins anew when the last one is longer ago
    /// than `forgotten_after`.
    async fn login_failed(&self, what: &[String], forgotten_after: Duration) -> Result<()>;

    /// How often logins of `what` have failed, over all nodes; those that never did are not among the answers.
    async fn login_failures(&self, what: &[String], forgotten_after: Duration) -> Result<Vec<(String, u32)>>;

    /// Forgets the failed logins of one of them.
    async fn login_forgiven(&self, what: &str) -> Result<()>;

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

    /// Leases up to `limit` faxes in state `ready` whose time has come and whose number lies in one of `reach`, urgent
    /// and old ones first; never two for one number, and none for a number that a call is open for or leased for
    /// elsewhere. Not claimable are a fax with an open attempt, before that is ended or settled, and one that an order
    /// waits for. What is not claimed keeps its place.
    async fn claim_calls_to(
        &self,
        owner: &Owner,
        reach: &[Reach],
        limit: u32,
        lease: Duration,
    ) -> Result<Vec<CallWork>>;

    /// The same for every number.
    async fn claim_calls(&self, owner: &Owner, limit: u32, lease: Duration) -> Result<Vec<CallWork>> {
        self.claim_calls_to(owner, &[Reach::everywhere()], limit, lease).await
    }

    /// Leases up to `limit` faxes in state `ready` whose time is over, those that wait for their time or for a line too.
    /// A fax with an open attempt, one that is held and one that an order waits for are not among them.
    async fn claim_overdue(&self, owner: &Owner, limit: u32, lease: Duration) -> Result<Vec<CallWork>>;

    /// Records the attempt before the first packet leaves, counts it and answers its number. Repeating it with the same
    /// id answers the same.
    ///
    /// `LeaseLost` also when the lease has run out; `Refused` when `first_page` is not the first unconfirmed page (a
    /// late confirmation may have come in since the claim: give the fax back with [`Store::call_again`]); `NotNow` when
    /// another node was faster to the number or the channel, or the limits say so: give it back at once.
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

    /// Keeps a fact that no row takes, to be shown and tried again. Repeating it with the same id changes nothing.
    async fn park_fact(&self, fact: ParkedFact) -> Result<()>;

    /// Facts that are parked, oldest first.
    async fn parked_facts(&self, limit: u32) -> Result<Vec<ParkedFact>>;

    /// The fact is applied, or a person has dealt with it.
    async fn unpark_fact(&self, id: uuid::Uuid) -> Result<()>;

    /// What a call of this fax has taught about its number: audio alone until then. A time that is over forgets it.
    async fn avoid_t38(&self, fax: FaxId, until: Timestamp, why: &str) -> Result<()>;

    /// Orders for faxes that this owner holds a lease on, asked for between pages.
    async fn orders(&self, owner: &Owner) -> Result<Vec<(FaxId, Order)>>;

    /// What all nodes together do with their trunks: those in use only.
    async fn line_use(&self) -> Result<Vec<LineUse>>;

    // ---- line/, inbound

    /// Takes a channel of the trunk for a call that is about to be answered, under a lease ([`Lease::Incoming`]).
    /// `NotNow` when every channel is taken, on whichever node. Repeating it changes nothing.
    async fn begin_incoming(&self, owner: &Owner, call: NewIncoming, lease: Duration) -> Result<()>;

    /// The call is over; its channel is free. Repeating it changes nothing.
    async fn end_incoming(&self, id: uuid::Uuid) -> Result<()>;

    /// Stores a received fax with its first page, under a lease. Telling it again stores it once and answers the same
    /// token.
    async fn begin_received(
        &self,
        owner: &Owner,
        fax: NewReceived,
        first: ReceivedPage,
        lease: Duration,
    ) -> Result<LeaseToken>;

    /// Stores a further page. Durable when it returns: the far end is told after that. The same page again changes
    /// nothing. `LeaseLost` when its call was settled without it: the page must not be confirmed.
    async fn received_page(&self, fax: ReceivedFaxId, token: LeaseToken, page: ReceivedPage) -> Result<()>;

    /// `receiving` → `received` with the mails that carry it, in one transaction. Repeating it changes nothing.
    async fn end_received(&self, fax: ReceivedFaxId, token: LeaseToken, end: ReceivedEnd) -> Result<()>;

    /// Faxes in state `receiving` that nobody holds a lease on.
    async fn stale_received(&self) -> Result<Vec<StaleReceived>>;

    /// One received fax with everything that is known of it.
    async fn received(&self, id: ReceivedFaxId) -> Result<ReceivedRecord>;

    /// The received fax that people call by this id.
    async fn find_received(&self, id: &ShortId) -> Result<ReceivedFaxId>;

    /// Newest first.
    async fn received_faxes(&self, filter: &ReceivedFilter) -> Result<Vec<Received>>;

    /// Routes that a person set.
    async fn inbound_routes(&self) -> Result<Vec<StoredRoute>>;

    /// Sets a route, in place of one with its name.
    async fn set_inbound_route(&self, rule: &crate::domain::inbound::Rule, by: &str) -> Result<()>;

    /// Removes a route. `NotFound` when there is none.
    async fn remove_inbound_route(&self, name: &str, by: &str) -> Result<()>;

    /// Gives a claimed fax back without an attempt (no channel, line down): not counted, due again at `not_before`.
    async fn call_again(&self, fax: FaxId, token: LeaseToken, not_before: Timestamp, why: &str) -> Result<()>;

    /// `ready` → final without a call: its time is over, the number is not allowed any more, or a late fact has
    /// confirmed its last page (`sent`).
    async fn call_failed(&self, fax: FaxId, token: LeaseToken, end: FinalEnd) -> Result<()>;

    // ---- deliver/

    /// Leases up to `limit` notices that are owed and due, oldest first. Counts the try.
    async fn claim_notices(&self, owner: &Owner, limit: u32, lease: Duration) -> Result<Vec<NoticeWork>>;

    /// `owed` → `sent`; `taken_by` says which host took it with which reply. A received fax is `delivered` when no further
    /// notice of it is owed.
    async fn notice_sent(&self, notice: NoticeId, token: LeaseToken, taken_by: &str) -> Result<()>;

    /// Stays `owed`, due again at `not_before`.
    async fn notice_again(&self, notice: NoticeId, token: LeaseToken, not_before: Timestamp, why: &str) -> Result<()>;

    /// `owed` → `dead`: nobody takes it. Shown and counted. The mailboxes `instead` are owed what a received fax's mail
    /// carries; none for every other kind.
    async fn notice_dead(&self, notice: NoticeId, token: LeaseToken, why: &str, instead: &Instead) -> Result<()>;

    /// `owed` → `withheld`: what it was to tell is not true any more.
    async fn notice_withdrawn(&self, notice: NoticeId, token: LeaseToken, why: &str) -> Result<()>;

    /// Owes a delayed notice for each fax that has waited for `after` since it was accepted and whose sender may hear
    /// of it; once a fax. Answers how many.
    async fn owe_delayed(&self, after: Duration, domain: &str, limit: u32) -> Result<u64>;

    // ---- orders of people

    // What the state does not allow is `WrongState` for all of them. `by` is who orders, for the story and the report.

    /// Keeps a fax back: `accepted` or `ready` → `held`, until it is released; its time stands still meanwhile. A fax
    /// that somebody works on follows `Soon`. Repeating it changes nothing. `WrongState` when it has ended.
    async fn hold(&self, fax: FaxId, by: &str) -> Result<Ordered>;

    /// `held` → where it was, given up as much later as it was held; or withdraws the order to hold it. `WrongState` when
    /// it is not held.
    async fn release(&self, fax: FaxId, by: &str) -> Result<()>;

    /// Ends a fax as `cancelled` with its report, or as `sent` when all its pages are confirmed. A page on the wire is
    /// finished first (`Soon`). `WrongState` when it has ended.
    async fn cancel(&self, fax: FaxId, by: &str, domain: &str) -> Result<Ordered>;

    /// Carries out the orders for faxes that nobody works on any more: no lease, no open attempt. Answers how many.
    async fn carry_out_orders(&self, domain: &str) -> Result<u64>;

    /// Lets a waiting fax be called now, or sends an ended one once more as a new fax of the same message, with
    /// `give_up_after` from now. `WrongState` for one that was sent (unless all pages are asked for), was retried before
    /// (retry the new one), is held, or is in a call, and when retention has removed what it would send.
    async fn retry(&self, fax: FaxId, pages: RetryPages, by: &str, give_up_after: Duration) -> Result<Retried>;

    /// Owes the mails of this fax once more, under their Message-IDs: its final report, or the received fax. `only` names
    /// one mailbox. Answers how many, at least one; `WrongState` when none was taken or given up before.
    async fn redeliver(&self, of: EventsOf, only: Option<&str>, by: &str) -> Result<u64>;

    /// Sets or ends a legal hold: retention leaves the fax, its message and its other faxes alone. It being so already
    /// changes nothing.
    async fn set_legal_hold(&self, of: EventsOf, held: bool, by: &str) -> Result<()>;

    // ---- retention and integrity

    /// Removes what is over for long enough, at most `limit` of each: rows here, and the answer names the documents
    /// whose files may go after that.
    async fn prune(&self, rules: PruneRules) -> Result<Pruned>;

    /// What [`Store::prune`] would remove; nothing changes.
    async fn prunable(&self, rules: PruneRules) -> Result<Pruned>;

    /// Documents in order of their keys, after this one.
    async fn document_rows(&self, after: Option<DocumentKey>, limit: u32) -> Result<Vec<DocumentRow>>;

    /// Looks at `limit` documents after this one: marks those that no row names, to be forgotten after `wait`, and
    /// unmarks those that are named again.
    async fn mark_unreferenced(&self, after: Option<DocumentKey>, limit: u32, wait: Duration) -> Result<Marked>;

    /// Forgets marked documents whose wait is over and that still nobody names, and answers them: their files may go
    /// after that.
    async fn sweep_documents(&self, limit: u32) -> Result<Vec<ObjectName>>;

    /// Those of `names` that a row needs.
    async fn needed_objects(&self, names: &[ObjectName]) -> Result<Vec<ObjectName>>;

    /// How many documents each key of `store.keys` has sealed, by the names of the keys.
    async fn sealers(&self) -> Result<Vec<(String, u64)>>;

    /// Documents whose key is not wrapped by this one, in order of their hashes, after this one.
    async fn sealed_otherwise(
        &self,
        by: &str,
        after: Option<DocumentKey>,
        limit: u32,
    ) -> Result<Vec<(DocumentKey, SealedKey)>>;

    /// Puts wrapped keys in the place of others. One that is not as it was read any more is left alone. Answers how many.
    async fn rewrap(&self, rewrapped: Vec<Rewrapped>) -> Result<u64>;

    /// Documents that lie in the clear, with their lengths, in order of their hashes, after this one.
    async fn unsealed(&self, after: Option<DocumentKey>, limit: u32) -> Result<Vec<(DocumentKey, u64, Placement)>>;

    /// From now on the document is where `placement` says, sealed. Answers whether it was in the clear until now; else
    /// nothing has changed.
    async fn seal(&self, key: DocumentKey, placement: Placement) -> Result<bool>;

    /// When the oldest message that is kept was accepted.
    async fn oldest_message(&self) -> Result<Option<Timestamp>>;

    /// Writes a consistent copy of the whole store to a new file, synced, while everything goes on.
    async fn backup_to(&self, path: &std::path::Path) -> Result<()>;

    /// Makes a copy that was taken earlier fit to go on: no lease is held any more, and what had not ended is held or
    /// goes on. `why` is what its faxes tell. Called once, before any worker claims.
    async fn restored(&self, unended: Unended, why: &str) -> Result<Restored>;

    // ---- ownership and maintenance

    /// Extends those of the leases in `held` that this owner still holds, all in one transaction; never shortens one.
    /// Answers the others: they were freed, and somebody else may own their rows; or they were given back just now.
    /// A lease that has run out and was not freed meanwhile is still held, and is no suspect any more.
    ///
    /// What is not in `held` runs out: a claim whose answer got lost, or whose worker has failed, belongs to nobody in
    /// this process, and renewing it would keep its fax from everybody for ever.
    async fn renew(&self, owner: &Owner, held: &[Lease], lease: Duration) -> Result<Vec<Lease>>;

    /// Frees what earlier lives of this node still hold: leases without an open attempt become claimable at once;
    /// open attempts become orphans. Called once at start, before any worker claims.
    async fn take_back(&self, owner: &Owner) -> Result<TakenBack>;

    /// Marks leases that have run out and frees those whose grace is over, counted from the mark or from
    /// [`ExpiryRules::reachable_since`], whichever is later. Only what is freed can be claimed or settled by somebody else:
    /// until then its owner may be back. Freeing changes no token: a late write-back of the owner is `LeaseLost`.
    async fn expire_leases(&self, rules: ExpiryRules) -> Result<Expired>;

    /// Attempts that are open while nobody holds a lease on their fax.
    async fn orphans(&self) -> Result<Vec<Orphan>>;

    /// Closes an orphan and moves its fax on. `LeaseLost` when somebody settled it before or its owner is back;
    /// `Refused` when the end is not true any more (see [`Store::end_attempt`]): read the orphans again.
    async fn settle(&self, orphan: &Orphan, end: AttemptEnd, next: Next) -> Result<()>;

    /// Takes a duty that one node has at a time, or extends one that this node has, for `lease` from now by the store's
    /// clock. Answers whether it is this owner's now. What is done under it must be harmless when two do it for a moment.
    async fn take_duty(&self, owner: &Owner, name: &str, lease: Duration) -> Result<bool>;

    /// Gives a duty back before its lease is over. One that this owner does not have is left alone.
    async fn give_duty_back(&self, owner: &Owner, name: &str) -> Result<()>;

    /// The secret of this name, 16 to 1024 octets, alike on every node. `fresh` becomes it when there is none: of two nodes
    /// that ask at once, both are answered what the first one brought.
    async fn secret(&self, name: &str, fresh: &[u8]) -> Result<Vec<u8>>;

    /// Says that this node lives.
    async fn node_seen(&self, node: &NodeState) -> Result<()>;

    /// Takes a node out of service until [`Store::resume_node`], its restarts included. `NotFound` for one that was never
    /// seen. Repeating it changes nothing.
    async fn drain_node(&self, node: &str, by: &str) -> Result<()>;

    /// Ends that order. `NotFound` for a node that was never seen.
    async fn resume_node(&self, node: &str, by: &str) -> Result<()>;

    /// The order that this node is under; none for one that is in service or was never seen.
    async fn drain_order(&self, node: &str) -> Result<Option<DrainOrder>>;

    /// Says how a line does.
    async fn line_seen(&self, line: &LineState) -> Result<()>;

    // ---- reading, for commands, console, notices

    /// One fax with everything that is known of it.
    async fn fax(&self, id: FaxId) -> Result<FaxRecord>;

    /// What people call by this id: a fax, a received fax or a message.
    async fn find(&self, id: &ShortId) -> Result<EventsOf>;

    /// The fax that people call by this id.
    async fn find_fax(&self, id: &ShortId) -> Result<FaxId>;

    /// Newest first.
    async fn faxes(&self, filter: &FaxFilter) -> Result<Vec<FaxSummary>>;

    /// One message.
    async fn message(&self, id: MessageId) -> Result<Message>;

    /// Events after the one with this number, oldest first; at most `limit`, and never more than 2000.
    async fn events(&self, of: EventsOf, after: i64, limit: u32) -> Result<Vec<Event>>;

    /// Number of the newest event that happened before this time; 0 when there is none.
    async fn last_event_before(&self, time: Timestamp) -> Result<i64>;

    /// How many of what.
    async fn counts(&self) -> Result<Counts>;

    /// Every node and line that was ever seen.
    async fn nodes_and_lines(&self) -> Result<(Vec<NodeState>, Vec<LineState>)>;

    /// The inline bytes of a document, or where it lies. For `documents/` only.
    async fn document(&self, key: &DocumentKey) -> Result<StoredDocument>;
}
