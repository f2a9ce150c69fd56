//! The store on SQL: the transitions, written once for SQLite and PostgreSQL.
//!
//! Each method is one transaction ([`Tx`]) or one snapshot on the engine it runs on. The modules hold the logic and its
//! statements; `statement` says how one text serves both engines. On SQLite one writer runs command after command; on
//! PostgreSQL transactions of many nodes run at once, so a command locks the row of the fax, the received fax or the
//! notice that it is about (`locking`) before it looks at anything that belongs to it.

mod again;
mod claims;
mod delayed;
mod deliver;
mod duties;
mod error;
mod expiry;
mod facts;
pub(in crate::store) mod intake;
mod limits;
mod line;
mod maintain;
mod nodes;
mod orders;
mod ownership;
mod query;
pub(in crate::store) mod reading;
mod received;
mod render;
mod restore;
pub(in crate::store) mod retention;
mod returned;
mod routes;
mod rows;
mod sealing;
mod secrets;
mod senders;
mod settle;
mod statement;
mod value;
pub(in crate::store) mod verify;

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;

use super::*;
use crate::domain::{Clock, FaxState};
pub(in crate::store) use error::{DbError, Place, timed_out, unknown_value};
pub(in crate::store) use query::{Conn, Done, Query, execute_list, fetch_each, fetch_list, sql};
pub(in crate::store) use statement::{Dialect, Statement, statements};
pub(in crate::store) use value::{Row, Value};

/// A future that borrows the connection it runs on.
pub(in crate::store) type BoxFuture<'c, T> = Pin<Box<dyn Future<Output = T> + Send + 'c>>;

/// What a command works with: a connection inside a transaction, and the store's time.
pub(in crate::store) struct Tx {
    /// For statements.
    pub(in crate::store) conn: Conn,
    /// When this command began, by the store's clock; none while PostgreSQL has not been waited for.
    now: Option<Timestamp>,
}

impl Tx {
    /// A command that begins now; without a time PostgreSQL's own counts.
    pub(in crate::store) fn new(conn: Conn, now: Option<Timestamp>) -> Self {
        Self { conn, now }
    }

    /// When this command began, by the store's clock. On PostgreSQL the time comes with the answer to the first statement,
    /// and whoever asks earlier waits for it alone: commands ask after a statement that needs no time.
    pub(in crate::store) async fn now(&mut self) -> Result<Timestamp> {
        if let (None, Conn::Postgres(transaction)) = (self.now, &mut self.conn) {
            self.now = Some(transaction.began_at().await.place("now")?);
        }
        Ok(self.now.expect("SQLite's commands begin with their time"))
    }

    /// Another command begins on the same connection.
    pub(in crate::store) fn begin_at(&mut self, now: Timestamp) {
        self.now = Some(now);
    }
}

/// The store on one of the two engines.
pub struct SqlStore {
    engine: Engine,
    observer: OnceLock<Arc<dyn Observer>>,
}

enum Engine {
    Sqlite(Box<sqlite::Sqlite>),
    Postgres(postgres::Postgres),
}

impl SqlStore {
    /// Opens an SQLite file, makes it if there is none, and brings its schema up to date.
    ///
    /// [`StoreError::Unusable`] when another process has it open (the error names its pid) or when the schema is
    /// one that this program does not know; [`StoreError::Unavailable`] when it cannot be read or written.
    pub async fn open_sqlite(path: impl AsRef<Path>, clock: Arc<dyn Clock>, settings: SqliteSettings) -> Result<Self> {
        Ok(Self {
            engine: Engine::Sqlite(Box::new(sqlite::Sqlite::open(path.as_ref(), clock, settings).await?)),
            observer: OnceLock::new(),
        })
    }

    /// Connects to PostgreSQL, whose schema must be one that this program can work with.
    pub async fn open_postgres(settings: PostgresSettings) -> Result<Self> {
        Ok(Self { engine: Engine::Postgres(postgres::Postgres::open(settings).await?), observer: OnceLock::new() })
    }

    /// From now on `observer` hears of every transition. Nothing changes when somebody does already.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        let _ = self.observer.set(observer);
    }

    /// Finishes what waits and closes it. Later calls answer `Unavailable`.
    pub async fn close(&self) {
        match &self.engine {
            Engine::Sqlite(engine) => engine.close().await,
            Engine::Postgres(engine) => engine.close().await,
        }
    }

    /// Takes over everything that the SQLite file of a stopped gateway holds, compared row by row before it counts. This
    /// store must be empty and on PostgreSQL.
    pub async fn take_over(&self, file: &Path) -> Result<Vec<Copied>> {
        let path = file.to_owned();
        self.write("take_over", move |tx| Box::pin(async move { copy::from_file(&path, &mut tx.conn).await })).await
    }

    /// What SQLite's writer has done so far; none on PostgreSQL.
    pub fn writer_stats(&self) -> Option<WriterStats> {
        match &self.engine {
            Engine::Sqlite(engine) => Some(engine.writer_stats()),
            Engine::Postgres(_) => None,
        }
    }

    /// The engine itself.
    #[cfg(test)]
    pub(in crate::store) fn sqlite(&self) -> &sqlite::Sqlite {
        match &self.engine {
            Engine::Sqlite(engine) => engine,
            Engine::Postgres(_) => panic!("the store is on PostgreSQL"),
        }
    }

    /// Runs `task` in a transaction; answers when that is committed. PostgreSQL may run it more than once, when it met
    /// another transaction.
    pub(in crate::store) async fn write<T, F>(&self, name: &'static str, task: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Tx) -> BoxFuture<'c, Result<T>> + Clone + Send + 'static,
    {
        let begun = tokio::time::Instant::now();
        let done = match &self.engine {
            Engine::Sqlite(engine) => engine.write(name, task).await,
            Engine::Postgres(engine) => Box::pin(engine.write(name, task)).await,
        };
        if let Some(observer) = self.observer.get() {
            observer.transition(name, begun.elapsed(), done.as_ref().err());
        }
        done
    }

    /// Runs `task` on a snapshot.
    pub(in crate::store) async fn read<T, F>(&self, name: &'static str, task: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Tx) -> BoxFuture<'c, Result<T>> + Clone + Send + 'static,
    {
        match &self.engine {
            Engine::Sqlite(engine) => engine.read(name, task).await,
            Engine::Postgres(engine) => Box::pin(engine.read(name, task)).await,
        }
    }
}

/// Every statement that both engines run.
#[cfg(test)]
pub(in crate::store) fn every_statement() -> impl Iterator<Item = &'static Statement> {
    let modules = [
        again::STATEMENTS,
        claims::STATEMENTS,
        delayed::STATEMENTS,
        deliver::STATEMENTS,
        duties::STATEMENTS,
        expiry::STATEMENTS,
        facts::STATEMENTS,
        intake::STATEMENTS,
        limits::STATEMENTS,
        senders::STATEMENTS,
        line::STATEMENTS,
        maintain::STATEMENTS,
        nodes::STATEMENTS,
        orders::STATEMENTS,
        ownership::STATEMENTS,
        reading::STATEMENTS,
        received::STATEMENTS,
        render::STATEMENTS,
        restore::STATEMENTS,
        retention::STATEMENTS,
        returned::STATEMENTS,
        routes::STATEMENTS,
        sealing::STATEMENTS,
        secrets::STATEMENTS,
        settle::STATEMENTS,
        verify::STATEMENTS,
    ];
    modules.into_iter().flatten().copied()
}

#[async_trait]
impl Store for SqlStore {
    async fn now(&self) -> Result<Timestamp> {
        match &self.engine {
            Engine::Sqlite(engine) => Ok(engine.now()),
            Engine::Postgres(engine) => engine.now().await,
        }
    }

    async fn check_writable(&self) -> Result<()> {
        self.write("probe.write", |tx| Box::pin(maintain::probe(tx))).await
    }

    async fn health(&self) -> Result<StoreHealth> {
        match &self.engine {
            Engine::Sqlite(_) => Ok(StoreHealth::default()),
            Engine::Postgres(engine) => engine.health().await,
        }
    }

    async fn submit(&self, message: NewMessage) -> Result<Submitted> {
        let message = Arc::new(message);
        let once = |message: Arc<NewMessage>| {
            self.write("messages.submit", move |tx| Box::pin(async move { intake::submit(tx, &message).await }))
        };
        match once(Arc::clone(&message)).await {
            // On PostgreSQL it may have met its own first try, whose commit was still waiting and is done now: it was
            // not to be seen then, and is now.
            Err(StoreError::IdTaken(_)) => once(message).await,
            done => done,
        }
    }

    async fn missing(&self, messages: &[MessageId]) -> Result<Vec<MessageId>> {
        let messages = messages.to_vec();
        self.read("messages.missing", move |c| Box::pin(async move { again::missing(&mut c.conn, &messages).await }))
            .await
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
            Box::pin(async move { claims::claim(tx, &owner, &reach, limit, lease).await })
        })
        .await
    }

    async fn claim_overdue(&self, owner: &Owner, limit: u32, lease: Duration) -> Result<Vec<CallWork>> {
        let owner = owner.clone();
        self.write("faxes.claim_overdue", move |tx| {
            Box::pin(async move { claims::claim_overdue(tx, &owner, limit, lease).await })
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
        self.read("received_faxes.stale", |c| Box::pin(received::stale(&mut c.conn))).await
    }

    async fn received(&self, id: ReceivedFaxId) -> Result<ReceivedRecord> {
        self.read("received_faxes.record", move |c| Box::pin(received::record(&mut c.conn, id))).await
    }

    async fn find_received(&self, id: &ShortId) -> Result<ReceivedFaxId> {
        let id = id.clone();
        self.read("received_faxes.find", move |c| Box::pin(async move { received::find(&mut c.conn, &id).await })).await
    }

    async fn received_faxes(&self, filter: &ReceivedFilter) -> Result<Vec<Received>> {
        let filter = filter.clone();
        self.read("received_faxes.list", move |c| Box::pin(async move { received::list(&mut c.conn, &filter).await }))
            .await
    }

    async fn inbound_routes(&self) -> Result<Vec<StoredRoute>> {
        self.read("inbound_routes.list", |c| Box::pin(routes::list(&mut c.conn))).await
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
        self.read("attempts.orphans", |c| Box::pin(ownership::orphans(&mut c.conn))).await
    }

    async fn settle(&self, orphan: &Orphan, end: AttemptEnd, next: Next) -> Result<()> {
        let (attempt, token) = (orphan.attempt.id, orphan.token);
        self.write("attempts.settle", move |tx| {
            Box::pin(async move { settle::settle(tx, attempt, token, &end, &next).await })
        })
        .await
    }

    async fn over_limit(
        &self,
        identity: &str,
        reverse_path: Option<&str>,
        limits: &SubmitLimits,
    ) -> Result<Option<OverLimit>> {
        let (identity, path, limits) = (identity.to_owned(), reverse_path.map(str::to_owned), *limits);
        self.read("submitters.over", move |c| {
            Box::pin(async move {
                let now = c.now().await?;
                senders::over(&mut c.conn, &identity, path.as_deref(), &limits, 1, now).await
            })
        })
        .await
    }

    async fn put_account(&self, account: &Account) -> Result<()> {
        let account = account.clone();
        self.write("accounts.put", move |tx| Box::pin(async move { senders::put(tx, &account).await })).await
    }

    async fn remove_account(&self, name: &str, by: &str) -> Result<()> {
        let (name, by) = (name.to_owned(), by.to_owned());
        self.write("accounts.remove", move |tx| Box::pin(async move { senders::remove(tx, &name, &by).await })).await
    }

    async fn account(&self, name: &str) -> Result<Option<Account>> {
        let name = name.to_owned();
        self.read("accounts.one", move |c| Box::pin(async move { senders::one(&mut c.conn, &name).await })).await
    }

    async fn accounts(&self) -> Result<Vec<Account>> {
        self.read("accounts.all", |c| Box::pin(senders::all(&mut c.conn))).await
    }

    async fn login_failed(&self, what: &[String], forgotten_after: Duration) -> Result<()> {
        let what = what.to_vec();
        self.write("login_failures.add", move |tx| {
            Box::pin(async move { senders::failed(tx, &what, forgotten_after).await })
        })
        .await
    }

    async fn login_failures(&self, what: &[String], forgotten_after: Duration) -> Result<Vec<(String, u32)>> {
        let what = what.to_vec();
        self.read("login_failures.count", move |c| {
            Box::pin(async move {
                let now = c.now().await?;
                senders::failures(&mut c.conn, &what, now, forgotten_after).await
            })
        })
        .await
    }

    async fn login_forgiven(&self, what: &str) -> Result<()> {
        let what = what.to_owned();
        self.write("login_failures.forgive", move |tx| Box::pin(async move { senders::forgive(tx, &what).await })).await
    }

    async fn secret(&self, name: &str, fresh: &[u8]) -> Result<Vec<u8>> {
        let (name, fresh) = (name.to_owned(), fresh.to_vec());
        self.write("secrets.keep", move |tx| Box::pin(async move { secrets::secret(tx, &name, &fresh).await })).await
    }

    async fn node_seen(&self, node: &NodeState) -> Result<()> {
        let node = node.clone();
        self.write("nodes.seen", move |tx| Box::pin(async move { nodes::node_seen(tx, &node).await })).await
    }

    async fn drain_node(&self, node: &str, by: &str) -> Result<()> {
        let (node, by) = (node.to_owned(), by.to_owned());
        self.write("nodes.drain", move |tx| Box::pin(async move { nodes::drain(tx, &node, &by).await })).await
    }

    async fn resume_node(&self, node: &str, by: &str) -> Result<()> {
        let (node, by) = (node.to_owned(), by.to_owned());
        self.write("nodes.resume", move |tx| Box::pin(async move { nodes::resume(tx, &node, &by).await })).await
    }

    async fn drain_order(&self, node: &str) -> Result<Option<DrainOrder>> {
        let node = node.to_owned();
        self.read("nodes.drain_order", move |c| Box::pin(async move { nodes::order(&mut c.conn, &node).await })).await
    }

    async fn line_use(&self) -> Result<Vec<LineUse>> {
        self.read("trunks.use", |c| Box::pin(limits::line_use(c))).await
    }

    async fn begin_incoming(&self, owner: &Owner, call: NewIncoming, lease: Duration) -> Result<()> {
        let owner = owner.clone();
        self.write("incoming_calls.begin", move |tx| {
            Box::pin(async move { limits::begin_incoming(tx, &owner, &call, lease).await })
        })
        .await
    }

    async fn end_incoming(&self, id: uuid::Uuid) -> Result<()> {
        self.write("incoming_calls.end", move |tx| Box::pin(limits::end_incoming(tx, id))).await
    }

    async fn line_seen(&self, line: &LineState) -> Result<()> {
        let line = line.clone();
        self.write("lines.seen", move |tx| Box::pin(async move { nodes::line_seen(tx, &line).await })).await
    }

    async fn fax(&self, id: FaxId) -> Result<FaxRecord> {
        self.read("faxes.record", move |c| Box::pin(reading::record(c, id))).await
    }

    async fn find(&self, id: &ShortId) -> Result<EventsOf> {
        let id = id.clone();
        self.read("ids.find", move |c| Box::pin(async move { reading::find_any(&mut c.conn, &id).await })).await
    }

    async fn find_fax(&self, id: &ShortId) -> Result<FaxId> {
        let id = id.clone();
        self.read("faxes.find", move |c| Box::pin(async move { reading::find(&mut c.conn, &id).await })).await
    }

    async fn faxes(&self, filter: &FaxFilter) -> Result<Vec<FaxSummary>> {
        let filter = filter.clone();
        self.read("faxes.list", move |c| Box::pin(async move { reading::list(&mut c.conn, &filter).await })).await
    }

    async fn message(&self, id: MessageId) -> Result<Message> {
        self.read("messages.get", move |c| Box::pin(reading::message(&mut c.conn, id))).await
    }

    async fn events(&self, of: EventsOf, after: i64, limit: u32) -> Result<Vec<Event>> {
        if let (Engine::Postgres(engine), EventsOf::All) = (&self.engine, of) {
            return engine.all_events(after, limit).await;
        }
        self.read("events.list", move |c| Box::pin(reading::events(&mut c.conn, of, after, limit))).await
    }

    async fn last_event_before(&self, time: Timestamp) -> Result<i64> {
        self.read("events.last_before", move |c| Box::pin(reading::last_event_before(&mut c.conn, time))).await
    }

    async fn counts(&self) -> Result<Counts> {
        self.read("counts", |c| Box::pin(maintain::counts(c))).await
    }

    async fn nodes_and_lines(&self) -> Result<(Vec<NodeState>, Vec<LineState>)> {
        self.read("nodes_and_lines", |c| Box::pin(nodes::nodes_and_lines(&mut c.conn))).await
    }

    async fn document(&self, key: &DocumentKey) -> Result<StoredDocument> {
        let key = *key;
        self.read("documents.get", move |c| Box::pin(reading::document(&mut c.conn, key))).await
    }

    async fn park_fact(&self, fact: ParkedFact) -> Result<()> {
        self.write("parked_facts.park", move |tx| Box::pin(async move { facts::park(tx, &fact).await })).await
    }

    async fn parked_facts(&self, limit: u32) -> Result<Vec<ParkedFact>> {
        self.read("parked_facts.list", move |c| Box::pin(facts::parked(&mut c.conn, limit))).await
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
        self.read("faxes.orders", move |c| Box::pin(async move { facts::orders(&mut c.conn, &owner).await })).await
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
        if !self.read("faxes.any_ordered", |c| Box::pin(orders::any(&mut c.conn))).await? {
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
        self.read("prunable", move |c| Box::pin(retention::prunable(&mut c.conn, rules))).await
    }

    async fn document_rows(&self, after: Option<DocumentKey>, limit: u32) -> Result<Vec<DocumentRow>> {
        self.read("documents.rows", move |c| Box::pin(retention::document_rows(&mut c.conn, after, limit))).await
    }

    async fn mark_unreferenced(&self, after: Option<DocumentKey>, limit: u32, wait: Duration) -> Result<Marked> {
        self.write("documents.mark", move |tx| Box::pin(retention::mark(tx, after, limit, wait))).await
    }

    async fn sweep_documents(&self, limit: u32) -> Result<Vec<ObjectName>> {
        self.write("documents.sweep", move |tx| Box::pin(retention::sweep(tx, limit))).await
    }

    async fn needed_objects(&self, names: &[ObjectName]) -> Result<Vec<ObjectName>> {
        let names = names.to_vec();
        self.read("documents.needed", move |c| Box::pin(async move { retention::needed(&mut c.conn, &names).await }))
            .await
    }

    async fn sealers(&self) -> Result<Vec<(String, u64)>> {
        self.read("documents.sealers", |c| Box::pin(sealing::sealers(&mut c.conn))).await
    }

    async fn sealed_otherwise(
        &self,
        by: &str,
        after: Option<DocumentKey>,
        limit: u32,
    ) -> Result<Vec<(DocumentKey, SealedKey)>> {
        let by = by.to_owned();
        self.read("documents.sealed_otherwise", move |c| {
            Box::pin(async move { sealing::sealed_otherwise(&mut c.conn, &by, after, limit).await })
        })
        .await
    }

    async fn rewrap(&self, rewrapped: Vec<Rewrapped>) -> Result<u64> {
        self.write("documents.rewrap", move |tx| Box::pin(async move { sealing::rewrap(tx, &rewrapped).await })).await
    }

    async fn unsealed(&self, after: Option<DocumentKey>, limit: u32) -> Result<Vec<(DocumentKey, u64, Placement)>> {
        self.read("documents.unsealed", move |c| Box::pin(sealing::unsealed(&mut c.conn, after, limit))).await
    }

    async fn seal(&self, key: DocumentKey, placement: Placement) -> Result<bool> {
        self.write("documents.seal", move |tx| Box::pin(async move { sealing::seal(tx, key, &placement).await })).await
    }

    async fn take_duty(&self, owner: &Owner, name: &str, lease: Duration) -> Result<bool> {
        let (owner, name) = (owner.clone(), name.to_owned());
        self.write("duties.take", move |tx| Box::pin(async move { duties::take(tx, &owner, &name, lease).await })).await
    }

    async fn give_duty_back(&self, owner: &Owner, name: &str) -> Result<()> {
        let (owner, name) = (owner.clone(), name.to_owned());
        self.write("duties.give_back", move |tx| Box::pin(async move { duties::give_back(tx, &owner, &name).await }))
            .await
    }

    async fn oldest_message(&self) -> Result<Option<Timestamp>> {
        self.read("messages.oldest", |c| Box::pin(retention::oldest(&mut c.conn))).await
    }

    async fn backup_to(&self, path: &Path) -> Result<()> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.backup_to(path).await,
            Engine::Postgres(engine) => {
                let path = path.to_owned();
                engine
                    .read("backup", |tx| {
                        Box::pin(async move {
                            let now = tx.now().await?;
                            copy::into_file(&mut tx.conn, path, now).await
                        })
                    })
                    .await
            }
        }
    }

    async fn restored(&self, unended: Unended, why: &str) -> Result<Restored> {
        let why = why.to_owned();
        self.write("restore", move |tx| Box::pin(async move { restore::restored(tx, unended, &why).await })).await
    }

    async fn expire_leases(&self, rules: ExpiryRules) -> Result<Expired> {
        self.write("leases.expire", move |tx| Box::pin(expiry::expire(tx, rules))).await
    }
}
