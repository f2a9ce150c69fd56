//! The engine: PostgreSQL, one primary that is looked for among several hosts.
//!
//! Writing: each command is one transaction on a pooled connection. What the command does not wait for (events) is sent
//! behind it and answered together with the commit. Reading: a snapshot on the same primary; a replica may be behind, so it
//! decides nothing and reports nothing.
//!
//! Failure: every statement has the client's own time limit, since the server's does not end the wait for a synchronous
//! standby. A connection that broke or was late is closed and never used again, and nothing is ever cancelled at the server: a
//! cancelled wait makes an unreplicated commit visible. Before COMMIT is sent a broken transaction has not happened; after
//! that nobody knows, the answer is [`StoreError::Unavailable`], and the caller repeats what can be repeated.
//! Source of the behaviour: PostgreSQL 15 documentation §27.2.8 (synchronous replication) and §55.2 (message flow).

mod connect;
mod error;
mod events;
mod migrate;
mod transaction;
mod values;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use deadpool::managed::{Object, Pool, PoolError, TimeoutType};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, error, warn};

use super::sql::{BoxFuture, Conn, Dialect, Tx};
use super::{Result, StoreError, StoreHealth};
use crate::domain::{Clock, Timestamp};
use crate::fault::crash_point;
use crate::work::catch_panic;
use connect::{Connector, Manager};
pub(in crate::store) use error::Error;
pub use migrate::migrate_postgres;
use transaction::NotCommitted;
pub(in crate::store) use transaction::Transaction;

/// How often a command is tried that met another one: a deadlock, a lock that was not to be had.
const TRIES: u32 = 4;

/// How PostgreSQL is reached, and the limits.
#[derive(Clone)]
pub struct PostgresSettings {
    /// `postgres://user@host:port/database?sslmode=…`; without a password.
    pub url: String,
    /// `host[:port]` of every server that may be the primary, or of one load balancer; those of the URL when empty.
    pub hosts: Vec<String>,
    /// The user's password.
    pub password: Option<String>,
    /// PEM file of the certificate authority that the servers' certificates come from; the system's when none.
    pub tls_ca: Option<std::path::PathBuf>,
    /// Connections at once.
    pub connections: usize,
    /// How long a command looks for a connection and may begin anew, and how long each of its statements may take.
    pub statement_timeout: Duration,
    /// How long one server may take to answer to a connection.
    pub connect_timeout: Duration,
    /// In place of the database's clock, for tests.
    pub clock: Option<Arc<dyn Clock>>,
}

impl std::fmt::Debug for PostgresSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresSettings").field("url", &self.url).field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

impl PostgresSettings {
    /// The usual limits.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            hosts: Vec::new(),
            password: None,
            tls_ca: None,
            connections: 16,
            statement_timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(3),
            clock: None,
        }
    }
}

/// The engine.
pub(in crate::store) struct Postgres {
    pool: Pool<Manager>,
    connector: Arc<Connector>,
    limit: Duration,
    clock: Option<Arc<dyn Clock>>,
    /// The latest that `clock` has said: it never goes backwards.
    latest: AtomicI64,
}

/// How a transaction ended without its result.
enum Broken {
    /// It has not happened; `again` when that was another transaction's doing and trying anew is right.
    Undone { why: StoreError, again: bool },
    /// Perhaps it has happened.
    Unknown(StoreError),
}

impl Postgres {
    /// Connects, and sets up an empty database. `Unusable` for a schema that this program cannot work with.
    pub(in crate::store) async fn open(settings: PostgresSettings) -> Result<Self> {
        let connector = Arc::new(Connector::new(&settings)?);
        migrate::check(&connector, &settings.url).await?;
        let pool = Pool::builder(Manager(Arc::clone(&connector)))
            .max_size(settings.connections.max(1))
            .build()
            .map_err(|error| StoreError::Unusable(error.to_string()))?;
        Ok(Self {
            pool,
            connector,
            limit: settings.statement_timeout,
            clock: settings.clock,
            latest: AtomicI64::new(i64::MIN),
        })
    }

    /// Closes every connection. Later calls answer `Unavailable`.
    pub(in crate::store) async fn close(&self) {
        self.pool.close();
    }

    /// The database's clock.
    pub(in crate::store) async fn now(&self) -> Result<Timestamp> {
        self.read("now", |tx| Box::pin(tx.now())).await
    }

    /// Runs `task` in a transaction; answers when it is committed.
    pub(in crate::store) async fn write<T, F>(&self, name: &'static str, task: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Tx) -> BoxFuture<'c, Result<T>> + Clone + Send + 'static,
    {
        self.run(name, task, Dialect::PostgresWriting).await
    }

    /// Runs `task` on a snapshot.
    pub(in crate::store) async fn read<T, F>(&self, name: &'static str, task: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Tx) -> BoxFuture<'c, Result<T>> + Clone + Send + 'static,
    {
        self.run(name, task, Dialect::PostgresReading).await
    }

    /// What the primary says of itself and of its copies.
    pub(in crate::store) async fn health(&self) -> Result<StoreHealth> {
        let health = self.read("health", |tx| connect::health(&mut tx.conn)).await?;
        Ok(StoreHealth { host: self.connector.primary(), ..health })
    }

    /// Tries it until it has an answer: the time limit is for finding a connection and for another try to begin.
    async fn run<T, F>(&self, name: &'static str, task: F, dialect: Dialect) -> Result<T>
    where
        F: for<'c> FnOnce(&'c mut Tx) -> BoxFuture<'c, Result<T>> + Clone,
    {
        let until = Instant::now() + self.limit;
        let mut tries = 0;
        loop {
            tries += 1;
            let session = timeout_at(until, self.pool.get()).await;
            let session = session.unwrap_or(Err(PoolError::Timeout(TimeoutType::Wait)));
            let session = session.map_err(|error| self.no_connection(name, error))?;
            match self.transaction(name, session, task.clone(), dialect).await {
                Err(Broken::Undone { again: true, why }) if tries < TRIES && Instant::now() < until => {
                    debug!(command = name, %why, "a transaction was broken off and is tried again");
                }
                Err(Broken::Undone { why, .. } | Broken::Unknown(why)) => return Err(why),
                Ok(done) => return Ok(done),
            }
        }
    }

    async fn transaction<T, F>(
        &self,
        name: &'static str,
        session: Object<Manager>,
        task: F,
        dialect: Dialect,
    ) -> std::result::Result<T, Broken>
    where
        F: for<'c> FnOnce(&'c mut Tx) -> BoxFuture<'c, Result<T>>,
    {
        let epoch = session.epoch;
        let begun = Transaction::begin(session, dialect, self.limit);
        let transaction = begun.map_err(|error| self.failed(name, epoch, error))?;
        let now = self.clock.as_ref().map(|clock| {
            let now = clock.now().0;
            Timestamp(self.latest.fetch_max(now, Ordering::SeqCst).max(now))
        });
        let mut tx = Tx::new(Conn::Postgres(transaction), now);
        let result = match catch_panic(task(&mut tx)).await {
            Ok(result) => result,
            Err(panic) => {
                error!(command = name, %panic, "a command of the store panicked; its transaction is undone");
                let why = StoreError::Unavailable(format!("{name} panicked"));
                return Err(Broken::Undone { why, again: false });
            }
        };
        let Conn::Postgres(mut transaction) = tx.conn else { unreachable!("a task does not change its connection") };
        let value = match result {
            Ok(value) => value,
            Err(why) => {
                let trouble = transaction.roll_back().await;
                if trouble.lost {
                    self.connector.forget_primary(epoch);
                }
                return Err(Broken::Undone { why, again: trouble.again });
            }
        };
        if dialect == Dialect::PostgresReading {
            // Everything has been read: there is nothing that the end of the snapshot could change.
            transaction.roll_back().await;
            return Ok(value);
        }
        crash_point!("store.before-commit");
        match transaction.commit().await {
            Ok(()) => {
                crash_point!("store.after-commit");
                Ok(value)
            }
            Err(NotCommitted::Undone(error)) => Err(self.failed(name, epoch, error)),
            Err(NotCommitted::Unknown(error)) => {
                self.connector.forget_primary(epoch);
                let why = format!("{name}: {error}; whether it was committed is not known");
                warn!(command = name, %error, "the outcome of a commit is not known");
                Err(Broken::Unknown(StoreError::Unavailable(why)))
            }
        }
    }

    fn failed(&self, name: &str, epoch: u64, error: Error) -> Broken {
        let trouble = error.trouble();
        if trouble.lost {
            self.connector.forget_primary(epoch);
        }
        Broken::Undone { why: error.meaning(name), again: trouble.again }
    }

    fn no_connection(&self, name: &str, error: PoolError<Error>) -> StoreError {
        match error {
            PoolError::Backend(error) => error.meaning(name),
            PoolError::Timeout(_) => StoreError::Unavailable(format!(
                "{name}: no connection to the primary within {} s",
                self.limit.as_secs()
            )),
            PoolError::Closed => StoreError::Unavailable(format!("{name}: the store is closed")),
            other => StoreError::Unavailable(format!("{name}: {other}")),
        }
    }
}
