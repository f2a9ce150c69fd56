//! The store on SQLite: one file, one process, every role.
//!
//! Writing: each method sends a command to the one writer task, which puts the commands that wait into one
//! transaction (`writer`) and answers when it is committed and synced. Reading: a few read-only connections, each
//! reading a snapshot. Failure: a full disk, a lock or an I/O error is [`StoreError::Unavailable`], nothing is half
//! done, and the writer opens the file anew for the next command. A second process on the same file is refused.
//!
//! Statements stand beside the functions that use them, as constants named in their first line.

mod deliver;
mod error;
mod intake;
mod line;
mod maintain;
mod open;
mod ownership;
mod reading;
mod render;
mod rows;
mod settle;
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
use sqlx::{Connection, Sqlite, SqliteConnection, SqlitePool};

use super::*;
use crate::domain::{Clock, FaxState};
use error::Place;
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
        let readers = PoolOptions::<Sqlite>::new()
            .max_connections(settings.readers.max(1))
            .acquire_timeout(settings.statement_timeout)
            .connect_lazy_with(options.clone().read_only(true).create_if_missing(false));
        let statement_timeout = settings.statement_timeout;
        let writer = Writer::start(connection, options, lock, Arc::clone(&clock), &settings);
        Ok(Self { writer, readers, clock, statement_timeout })
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

    async fn claim_calls(&self, owner: &Owner, limit: u32, lease: Duration) -> Result<Vec<CallWork>> {
        let owner = owner.clone();
        self.write("faxes.claim_calls", move |tx| Box::pin(async move { line::claim(tx, &owner, limit, lease).await }))
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

    async fn notice_dead(&self, notice: NoticeId, token: LeaseToken, why: &str) -> Result<()> {
        let why = why.to_owned();
        self.write("notices.dead", move |tx| Box::pin(async move { deliver::dead(tx, notice, token, &why).await }))
            .await
    }

    async fn renew(&self, owner: &Owner, held: &[Lease], lease: Duration) -> Result<u64> {
        let (owner, held) = (owner.clone(), held.to_vec());
        self.write("leases.renew", move |tx| Box::pin(async move { ownership::renew(tx, &owner, &held, lease).await }))
            .await
    }

    async fn take_back(&self, owner: &Owner) -> Result<TakenBack> {
        let owner = owner.clone();
        self.write("leases.take_back", move |tx| Box::pin(async move { ownership::take_back(tx, &owner).await })).await
    }

    async fn orphans(&self) -> Result<Vec<Orphan>> {
        let now = self.clock.now();
        self.read("attempts.orphans", move |c| Box::pin(ownership::orphans(c, now))).await
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
        self.read("faxes.record", move |c| Box::pin(reading::record(c, id))).await
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

    async fn events(&self, fax: FaxId) -> Result<Vec<Event>> {
        self.read("events.of_fax", move |c| Box::pin(reading::events(c, fax))).await
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
}
