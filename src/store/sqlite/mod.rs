//! The store on SQLite: one file, one process, every role.
//!
//! Writing: each method sends a command to the one writer task, which puts the commands that wait into one
//! transaction (`writer`) and answers when it is committed and synced. Reading: a few read-only connections, each
//! reading a snapshot. Failure: a full disk, a lock or an I/O error is [`StoreError::Unavailable`], nothing is half
//! done, and the writer opens the file anew for the next command. A second process on the same file is refused.
//!
//! Statements stand beside the functions that use them, as constants named in their first line.

mod again;
mod backup;
mod delayed;
mod deliver;
mod error;
mod expiry;
mod facts;
mod intake;
mod line;
mod maintain;
mod open;
mod orders;
mod ownership;
mod reading;
mod received;
mod render;
mod retention;
mod returned;
mod routes;
mod rows;
mod settle;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::pool::PoolOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, Sqlite, SqliteConnection, SqlitePool};

use super::*;
use crate::domain::{Clock, FaxState};
use error::Place;
pub use verify::Inspection;
pub use writer::WriterStats;
use writer::{Tx, Writer};

/// A future that borrows the connection it runs on.
type BoxFuture<'c, T> = Pin<Box<dyn Future<Output = T> + Send + 'c>>;

/// Declares statements and, for the test that prepares each of them, their list.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)+) => {
        $($(#[$doc])* const $name: &str = $sql;)+
        /// Every statement of this module.
        #[cfg(test)]
        pub(super) const STATEMENTS: &[&str] = &[$($name),+];
    };
}
use statements;

/// Limits of the store. The defaults suit a gateway that sends a few thousand faxes an hour.
#[derive(Debug, Clone)]
pub struct SqliteSettings {
    /// Read-only connections.
    pub readers: u32,
    /// Most commands that share one transaction: bounds what one failed commit can take along.
    pub group_max: usize,
    /// Most commands that wait for the writer; more wait outside, for `statement_timeout` at most.
    pub queue_max: usize,
    /// How long a command may take from its call to its answer.
    pub statement_timeout: Duration,
    /// How long SQLite waits for a lock, which only a foreign program on the same file can hold.
    pub busy_timeout: Duration,
    /// The largest the file may get; beyond it the store is unavailable for writing, as with a full disk.
    pub file_size_bytes_max: u64,
}

impl Default for SqliteSettings {
    fn default() -> Self {
        Self {
            readers: 4,
            group_max: 128,
            queue_max: 1024,
            statement_timeout: Duration::from_secs(15),
            busy_timeout: Duration::from_secs(5),
            file_size_bytes_max: 64 << 30,
        }
    }
}

/// The store's clock: the process's clock that never goes backwards between two calls.
struct StoreClock {
    clock: Arc<dyn Clock>,
    latest: AtomicI64,
}

impl StoreClock {
    fn now(&self) -> Timestamp {
        let now = self.clock.now().0;
        Timestamp(self.latest.fetch_max(now, Ordering::SeqCst).max(now))
    }
}

/// The store in one SQLite file.
pub struct SqliteStore {
    writer: Writer,
    readers: SqlitePool,
    clock: Arc<StoreClock>,
    statement_timeout: Duration,
    /// Of connections that only read, for copies of the whole.
    reading: SqliteConnectOptions,
    settings: SqliteSettings,
}

impl SqliteStore {
    /// Opens the file, makes it if there is none, and brings its schema up to date.
    ///
    /// [`StoreError::Unusable`] when another process has it open (the error names its pid) or when the schema is
    /// one that this program does not know; [`StoreError::Unavailable`] when it cannot be read or written.
    pub async fn open(path: impl AsRef<Path>, clock: Arc<dyn Clock>, settings: SqliteSettings) -> Result<Self> {
        let path = path.as_ref();
        let lock = open::lock(path).await?;
        open::make_private(path)?;
        let options = open::options(path, &settings);
        let connection = open::first_connection(path, &options, settings.statement_timeout).await?;
        let clock = Arc::new(StoreClock { clock, latest: AtomicI64::new(i64::MIN) });
        let reading = options.clone().read_only(true).create_if_missing(false);
        let readers = PoolOptions::<Sqlite>::new()
            .max_connections(settings.readers.max(1))
            .acquire_timeout(settings.statement_timeout)
            .connect_lazy_with(reading.clone());
        let statement_timeout = settings.statement_timeout;
        let writer = Writer::start(connection, options, lock, Arc::clone(&clock), &settings);
        Ok(Self { writer, readers, clock, statement_timeout, reading, settings })
    }

    /// Finishes what waits, moves the log into the file and closes it. Later calls answer `Unavailable`.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// What the writer has done so far.
    pub fn writer_stats(&self) -> WriterStats {
        self.writer.stats()
    }

    /// Runs `task` in the writer's next transaction; answers when that is committed.
    async fn write<T, F>(&self, name: &'static str, task: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Tx) -> BoxFuture<'c, Result<T>> + Send + 'static,
    {
        self.writer.run(name, task).await
    }

    /// Runs `task` on a snapshot.
    async fn read<T, F>(&self, name: &'static str, task: F) -> Result<T>
    where
        T: Send,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T>> + Send,
    {
        let mut connection = self.readers.acquire().await.place(name)?;
        let work = async {
            // A dropped sqlx transaction is rolled back before the connection is used again.
            let mut snapshot = connection.begin().await.place(name)?;
            let result = task(&mut snapshot).await?;
            snapshot.commit().await.place(name)?;
            Ok(result)
        };
        let result = match tokio::time::timeout(self.statement_timeout, work).await {
            Ok(result) => result,
            Err(_) => Err(error::timed_out(name, self.statement_timeout)),
        };
        if matches!(result, Err(StoreError::Unavailable(_))) {
            connection.close_on_drop();
        }
        result
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn now(&self) -> Result<Timestamp> {
        Ok(self.clock.now())
    }

    async fn check_writable(&self) -> Result<()> {
        self.write("probe.write", |tx| Box::pin(maintain::probe(tx))).await
    }

    async fn submit(&self, message: NewMessage) -> Result<Submitted> {
        self.write("messages.submit", move |tx| Box::pin(async move { intake::submit(tx, &message).await })).await
    }

    async fn missing(&self, messages: &[MessageId]) -> Result<Vec<MessageId>> {
        let messages = messages.to_vec();
        self.read("messages.missing", move |c| Box::pin(async move { again::missing(c, &messages).await })).await
    }

    async fn forget_idem_keys(&self, before: Timestamp, limit: u32) -> Result<u64> {
        self.write("messages.forget_idem_keys", move |tx| Box::pin(again::forget_idem_keys(tx, before, limit))).await
    }

    async fn claim_render(&self, owner: &Owner, lease: Duration) -> Result<Option<RenderWork>> {
        let owner = owner.clone();
        self.write("faxes.claim_render", move |tx| Box::pin(async move { render::claim(tx, &owner, lease).await }))
            .await
    }

    async fn rendered(&self, fax: FaxId, token: LeaseToken, pages: RenderedPages) -> Result<()> {
        self.write("faxes.rendered", move |tx| Box::pin(async move { render::rendered(tx, fax, token, &pages).await }))
            .await
    }

    async fn render_again(&self, fax: FaxId, token: LeaseToken, not_before: Timestamp, why: &str) -> Result<()> {
        let why = why.to_owned();
        self.write("faxes.render_again", move |tx| {
            Box::pin(async move { render::again(tx, fax, token, not_before, &why).await })
        })
        .await
    }

    async fn render_failed(&self, fax: FaxId, token: LeaseToken, end: FinalEnd) -> Result<()> {
        self.write("faxes.render_failed", move |tx| {
            Box::pin(async move { settle::end_without_call(tx, fax, token, FaxState::Accepted, &end).await })
        })
        .await
    }

    async fn claim_calls_to(
        &self,
        owner: &Owner,
        reach: &[Reach],
        limit: u32,
        lease: Duration,
    ) -> Result<Vec<CallWork>> {
        let (owner, reach) = (owner.clone(), reach.to_vec());
        self.write("faxes.claim_calls", move |tx| {
            Box::pin(async move { line::claim(tx, &owner, &reach, limit, lease).await })
        })
        .await
    }

    async fn claim_overdue(&self, owner: &Owner, limit: u32, lease: Duration) -> Result<Vec<CallWork>> {
        let owner = owner.clone();
        self.write("faxes.claim_overdue", move |tx| {
            Box::pin(async move { line::claim_overdue(tx, &owner, limit, lease).await })
        })
        .await
    }

    async fn begin_attempt(&self, fax: FaxId, token: LeaseToken, attempt: NewAttempt) -> Result<u32> {
        self.write("attempts.begin", move |tx| Box::pin(async move { line::begin(tx, fax, token, &attempt).await }))
            .await
    }

    async fn record_fact(&self, attempt: AttemptId, fact: AttemptFact) -> Result<()> {
        self.write("attempts.fact", move |tx| Box::pin(async move { line::fact(tx, attempt, &fact).await })).await
    }

    async fn page_confirmed(&self, attempt: AttemptId, page: ConfirmedPage) -> Result<()> {
        self.write("fax_pages.confirm", move |tx| {
            Box::pin(async move { line::page_confirmed(tx, attempt, &page).await })
        })
        .await
    }

    async fn end_attempt(&self, attempt: AttemptId, token: LeaseToken, end: AttemptEnd, next: Next) -> Result<()> {
        self.write("attempts.end", move |tx| {
            Box::pin(async move { settle::end_attempt(tx, attempt, token, &end, &next).await })
        })
        .await
    }

    async fn begin_received(
        &self,
        owner: &Owner,
        fax: NewReceived,
        first: ReceivedPage,
        lease: Duration,
    ) -> Result<LeaseToken> {
        let owner = owner.clone();
        self.write("received_faxes.begin", move |tx| {
            Box::pin(async move { received::begin(tx, &owner, &fax, &first, lease).await })
        })
        .await
    }

    async fn received_page(&self, fax: ReceivedFaxId, token: LeaseToken, page: ReceivedPage) -> Result<()> {
        self.write("received_pages.add", move |tx| Box::pin(async move { received::page(tx, fax, token, &page).await }))
            .await
    }

    async fn end_received(&self, fax: ReceivedFaxId, token: LeaseToken, end: ReceivedEnd) -> Result<()> {
        self.write("received_faxes.end", move |tx| Box::pin(async move { received::end(tx, fax, token, &end).await }))
            .await
    }

    async fn stale_received(&self) -> Result<Vec<StaleReceived>> {
        self.read("received_faxes.stale", |c| Box::pin(received::stale(c))).await
    }

    async fn received(&self, id: ReceivedFaxId) -> Result<ReceivedRecord> {
        self.read("received_faxes.record", move |c| Box::pin(received::record(c, id))).await
    }

    async fn find_received(&self, id: &ShortId) -> Result<ReceivedFaxId> {
        let id = id.clone();
        self.read("received_faxes.find", move |c| Box::pin(async move { received::find(c, &id).await })).await
    }

    async fn received_faxes(&self, filter: &ReceivedFilter) -> Result<Vec<Received>> {
        let filter = filter.clone();
        self.read("received_faxes.list", move |c| Box::pin(async move { received::list(c, &filter).await })).await
    }

    async fn inbound_routes(&self) -> Result<Vec<StoredRoute>> {
        self.read("inbound_routes.list", |c| Box::pin(routes::list(c))).await
    }

    async fn set_inbound_route(&self, rule: &crate::domain::inbound::Rule, by: &str) -> Result<()> {
        let (rule, by) = (rule.clone(), by.to_owned());
        self.write("inbound_routes.set", move |tx| Box::pin(async move { routes::set(tx, &rule, &by).await })).await
    }

    async fn remove_inbound_route(&self, name: &str, by: &str) -> Result<()> {
        let (name, by) = (name.to_owned(), by.to_owned());
        self.write("inbound_routes.remove", move |tx| Box::pin(async move { routes::remove(tx, &name, &by).await }))
            .await
    }

    async fn call_again(&self, fax: FaxId, token: LeaseToken, not_before: Timestamp, why: &str) -> Result<()> {
        let why = why.to_owned();
        self.write("faxes.call_again", move |tx| {
            Box::pin(async move { line::again(tx, fax, token, not_before, &why).await })
        })
        .await
    }

    async fn call_failed(&self, fax: FaxId, token: LeaseToken, end: FinalEnd) -> Result<()> {
        self.write("faxes.call_failed", move |tx| {
            Box::pin(async move { settle::end_without_call(tx, fax, token, FaxState::Ready, &end).await })
        })
        .await
    }

    async fn claim_notices(&self, owner: &Owner, limit: u32, lease: Duration) -> Result<Vec<NoticeWork>> {
        let owner = owner.clone();
        self.write("notices.claim", move |tx| Box::pin(async move { deliver::claim(tx, &owner, limit, lease).await }))
            .await
    }

    async fn notice_sent(&self, notice: NoticeId, token: LeaseToken, taken_by: &str) -> Result<()> {
        let taken_by = taken_by.to_owned();
        self.write("notices.sent", move |tx| Box::pin(async move { deliver::sent(tx, notice, token, &taken_by).await }))
            .await
    }

    async fn notice_again(&self, notice: NoticeId, token: LeaseToken, not_before: Timestamp, why: &str) -> Result<()> {
        let why = why.to_owned();
        self.write("notices.again", move |tx| {
            Box::pin(async move { deliver::again(tx, notice, token, not_before, &why).await })
        })
        .await
    }

    async fn notice_dead(&self, notice: NoticeId, token: LeaseToken, why: &str, instead: &Instead) -> Result<()> {
        let (why, instead) = (why.to_owned(), instead.clone());
        self.write("notices.dead", move |tx| {
            Box::pin(async move { deliver::dead(tx, notice, token, &why, &instead).await })
        })
        .await
    }

    async fn notice_withdrawn(&self, notice: NoticeId, token: LeaseToken, why: &str) -> Result<()> {
        let why = why.to_owned();
        self.write("notices.withdrawn", move |tx| {
            Box::pin(async move { deliver::withdrawn(tx, notice, token, &why).await })
        })
        .await
    }

    async fn notice_bounced(&self, notice: NoticeId, why: &str, instead: &Instead) -> Result<bool> {
        let (why, instead) = (why.to_owned(), instead.clone());
        self.write("notices.bounced", move |tx| {
            Box::pin(async move { returned::bounced(tx, notice, &why, &instead).await })
        })
        .await
    }

    async fn owe_delayed(&self, after: Duration, domain: &str, limit: u32) -> Result<u64> {
        let domain = domain.to_owned();
        self.write("notices.owe_delayed", move |tx| {
            Box::pin(async move { delayed::owe(tx, after, &domain, limit).await })
        })
        .await
    }

    async fn renew(&self, owner: &Owner, held: &[Lease], lease: Duration) -> Result<Vec<Lease>> {
        let (owner, held) = (owner.clone(), held.to_vec());
        self.write("leases.renew", move |tx| Box::pin(async move { ownership::renew(tx, &owner, &held, lease).await }))
            .await
    }

    async fn take_back(&self, owner: &Owner) -> Result<TakenBack> {
        let owner = owner.clone();
        self.write("leases.take_back", move |tx| Box::pin(async move { ownership::take_back(tx, &owner).await })).await
    }

    async fn orphans(&self) -> Result<Vec<Orphan>> {
        self.read("attempts.orphans", |c| Box::pin(ownership::orphans(c))).await
    }

    async fn settle(&self, orphan: &Orphan, end: AttemptEnd, next: Next) -> Result<()> {
        let (attempt, token) = (orphan.attempt.id, orphan.token);
        self.write("attempts.settle", move |tx| {
            Box::pin(async move { settle::settle(tx, attempt, token, &end, &next).await })
        })
        .await
    }

    async fn node_seen(&self, node: &NodeState) -> Result<()> {
        let node = node.clone();
        self.write("nodes.seen", move |tx| Box::pin(async move { maintain::node_seen(tx, &node).await })).await
    }

    async fn line_seen(&self, line: &LineState) -> Result<()> {
        let line = line.clone();
        self.write("lines.seen", move |tx| Box::pin(async move { maintain::line_seen(tx, &line).await })).await
    }

    async fn fax(&self, id: FaxId) -> Result<FaxRecord> {
        let now = self.clock.now();
        self.read("faxes.record", move |c| Box::pin(reading::record(c, id, now))).await
    }

    async fn find(&self, id: &ShortId) -> Result<EventsOf> {
        let id = id.clone();
        self.read("ids.find", move |c| Box::pin(async move { reading::find_any(c, &id).await })).await
    }

    async fn find_fax(&self, id: &ShortId) -> Result<FaxId> {
        let id = id.clone();
        self.read("faxes.find", move |c| Box::pin(async move { reading::find(c, &id).await })).await
    }

    async fn faxes(&self, filter: &FaxFilter) -> Result<Vec<FaxSummary>> {
        let filter = filter.clone();
        self.read("faxes.list", move |c| Box::pin(async move { reading::list(c, &filter).await })).await
    }

    async fn message(&self, id: MessageId) -> Result<Message> {
        self.read("messages.get", move |c| Box::pin(reading::message(c, id))).await
    }

    async fn events(&self, of: EventsOf, after: i64, limit: u32) -> Result<Vec<Event>> {
        self.read("events.list", move |c| Box::pin(reading::events(c, of, after, limit))).await
    }

    async fn last_event_before(&self, time: Timestamp) -> Result<i64> {
        self.read("events.last_before", move |c| Box::pin(reading::last_event_before(c, time))).await
    }

    async fn counts(&self) -> Result<Counts> {
        let now = self.clock.now();
        self.read("counts", move |c| Box::pin(maintain::counts(c, now))).await
    }

    async fn nodes_and_lines(&self) -> Result<(Vec<NodeState>, Vec<LineState>)> {
        self.read("nodes_and_lines", |c| Box::pin(maintain::nodes_and_lines(c))).await
    }

    async fn document(&self, key: &DocumentKey) -> Result<StoredDocument> {
        let key = *key;
        self.read("documents.get", move |c| Box::pin(reading::document(c, key))).await
    }

    async fn park_fact(&self, fact: ParkedFact) -> Result<()> {
        self.write("parked_facts.park", move |tx| Box::pin(async move { facts::park(tx, &fact).await })).await
    }

    async fn parked_facts(&self, limit: u32) -> Result<Vec<ParkedFact>> {
        self.read("parked_facts.list", move |c| Box::pin(facts::parked(c, limit))).await
    }

    async fn unpark_fact(&self, id: uuid::Uuid) -> Result<()> {
        self.write("parked_facts.applied", move |tx| Box::pin(facts::unpark(tx, id))).await
    }

    async fn avoid_t38(&self, fax: FaxId, until: Timestamp, why: &str) -> Result<()> {
        let why = why.to_owned();
        self.write("destinations.avoid_t38", move |tx| {
            Box::pin(async move { facts::avoid_t38(tx, fax, until, &why).await })
        })
        .await
    }

    async fn orders(&self, owner: &Owner) -> Result<Vec<(FaxId, Order)>> {
        let owner = owner.clone();
        self.read("faxes.orders", move |c| Box::pin(async move { facts::orders(c, &owner).await })).await
    }
    async fn hold(&self, fax: FaxId, by: &str) -> Result<Ordered> {
        let by = by.to_owned();
        self.write("faxes.hold", move |tx| Box::pin(async move { orders::hold(tx, fax, &by).await })).await
    }

    async fn release(&self, fax: FaxId, by: &str) -> Result<()> {
        let by = by.to_owned();
        self.write("faxes.release", move |tx| Box::pin(async move { orders::release(tx, fax, &by).await })).await
    }

    async fn cancel(&self, fax: FaxId, by: &str, domain: &str) -> Result<Ordered> {
        let (by, domain) = (by.to_owned(), domain.to_owned());
        self.write("faxes.cancel", move |tx| Box::pin(async move { orders::cancel(tx, fax, &by, &domain).await })).await
    }

    async fn carry_out_orders(&self, domain: &str) -> Result<u64> {
        // Asked every second: nothing is written while nothing is ordered.
        if !self.read("faxes.any_ordered", |c| Box::pin(orders::any(c))).await? {
            return Ok(0);
        }
        let domain = domain.to_owned();
        self.write("faxes.carry_out", move |tx| Box::pin(async move { orders::carry_out(tx, &domain).await })).await
    }

    async fn retry(&self, fax: FaxId, pages: RetryPages, by: &str, give_up_after: Duration) -> Result<Retried> {
        let by = by.to_owned();
        self.write("faxes.retry", move |tx| {
            Box::pin(async move { orders::retry(tx, fax, pages, &by, give_up_after).await })
        })
        .await
    }

    async fn redeliver(&self, of: EventsOf, only: Option<&str>, by: &str) -> Result<u64> {
        let (only, by) = (only.map(str::to_owned), by.to_owned());
        self.write("notices.redeliver", move |tx| {
            Box::pin(async move { orders::redeliver(tx, of, only.as_deref(), &by).await })
        })
        .await
    }

    async fn set_legal_hold(&self, of: EventsOf, held: bool, by: &str) -> Result<()> {
        let by = by.to_owned();
        self.write("faxes.legal_hold", move |tx| {
            Box::pin(async move { retention::legal_hold(tx, of, held, &by).await })
        })
        .await
    }

    async fn prune(&self, rules: PruneRules) -> Result<Pruned> {
        self.write("prune", move |tx| Box::pin(retention::prune(tx, rules))).await
    }

    async fn prunable(&self, rules: PruneRules) -> Result<Pruned> {
        self.read("prunable", move |c| Box::pin(retention::prunable(c, rules))).await
    }

    async fn document_rows(&self, after: Option<DocumentKey>, limit: u32) -> Result<Vec<DocumentRow>> {
        self.read("documents.rows", move |c| Box::pin(retention::document_rows(c, after, limit))).await
    }

    async fn mark_unreferenced(&self, after: Option<DocumentKey>, limit: u32, wait: Duration) -> Result<Marked> {
        self.write("documents.mark", move |tx| Box::pin(retention::mark(tx, after, limit, wait))).await
    }

    async fn sweep_documents(&self, limit: u32) -> Result<Vec<DocumentKey>> {
        self.write("documents.sweep", move |tx| Box::pin(retention::sweep(tx, limit))).await
    }

    async fn needed_documents(&self, keys: &[DocumentKey]) -> Result<Vec<DocumentKey>> {
        let keys = keys.to_vec();
        self.read("documents.needed", move |c| Box::pin(async move { retention::needed(c, &keys).await })).await
    }

    async fn oldest_message(&self) -> Result<Option<Timestamp>> {
        self.read("messages.oldest", |c| Box::pin(retention::oldest(c))).await
    }

    async fn backup_to(&self, path: &Path) -> Result<()> {
        backup::copy(&self.reading, &self.settings, path).await
    }

    async fn restored(&self, unended: Unended, why: &str) -> Result<Restored> {
        let why = why.to_owned();
        self.write("restore", move |tx| Box::pin(async move { backup::restored(tx, unended, &why).await })).await
    }

    async fn expire_leases(&self, rules: ExpiryRules) -> Result<Expired> {
        self.write("leases.expire", move |tx| Box::pin(expiry::expire(tx, rules))).await
    }
}
