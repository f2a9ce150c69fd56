//! The one writer: commands come in by a queue, those that wait together share one transaction.
//!
//! A sync of the log costs milliseconds, a command much less: k waiting commands cost one sync. Each command runs in
//! its own savepoint, so that a refused one leaves the others alone; answers go out after the commit. When the file
//! cannot be written, every command of the transaction answers `Unavailable`, the connection is closed, and the next
//! commands get a new one. `BEGIN IMMEDIATE` takes the write lock at once: a transaction that begins by reading
//! could not get it later without failing.

use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{SqliteSettings, StoreClock, open};
use crate::fault::crash_point;
use crate::store::sql::{BoxFuture, Conn, Place, Tx, timed_out};
use crate::store::{Result, StoreError};
use crate::work::catch_panic;

const BEGIN: &str = "-- writer.begin\nBEGIN IMMEDIATE";
const COMMIT: &str = "-- writer.commit\nCOMMIT";
const SAVE: &str = "-- writer.save\nSAVEPOINT command";
const KEEP: &str = "-- writer.keep\nRELEASE command";
const CHANGED: &str = "-- writer.changed\nSELECT total_changes() > 0";
const UNDO: &str = "-- writer.undo\nROLLBACK TO command";
const CHECKPOINT: &str = "-- writer.checkpoint\nPRAGMA wal_checkpoint(TRUNCATE)";

/// What became of a command before the commit.
enum Ran {
    /// Its writes count.
    Kept,
    /// It was refused or abandoned: its writes are undone.
    Undone,
    /// The store cannot be written to, and why.
    Broken(String),
}

/// Tells the caller: the command's own result, or why the transaction around it failed.
type Answer = Box<dyn FnOnce(Option<StoreError>) + Send>;

type Run = dyn for<'c> FnOnce(&'c mut Tx) -> BoxFuture<'c, (Ran, Answer)> + Send;

/// A command without its types.
struct Queued {
    name: &'static str,
    run: Box<Run>,
}

/// How much the writer has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriterStats {
    /// Commands that were answered.
    pub commands: u64,
    /// Transactions that were committed.
    pub transactions: u64,
    /// Transactions that failed.
    pub failures: u64,
    /// Times that writing became impossible, each told once in the log.
    pub outages: u64,
}

#[derive(Default)]
struct Counters {
    commands: AtomicU64,
    transactions: AtomicU64,
    failures: AtomicU64,
    outages: AtomicU64,
    /// Why the last transaction failed.
    trouble: std::sync::Mutex<String>,
}

impl Counters {
    fn trouble(&self) -> MutexGuard<'_, String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The handle that every method of the store holds.
pub(super) struct Writer {
    queue: mpsc::Sender<Queued>,
    closing: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
    counters: Arc<Counters>,
    limit: Duration,
}

impl Writer {
    /// Starts the writer's task; `lock` is held until it ends.
    pub(super) fn start(
        connection: SqliteConnection,
        options: SqliteConnectOptions,
        lock: File,
        clock: Arc<StoreClock>,
        settings: &SqliteSettings,
    ) -> Self {
        let (queue, commands) = mpsc::channel(settings.queue_max.max(1));
        let closing = CancellationToken::new();
        let counters = Arc::new(Counters::default());
        let engine = Engine {
            tx: Some(Tx::new(Conn::Sqlite(connection), Some(clock.now()))),
            options,
            clock,
            counters: Arc::clone(&counters),
            limit: settings.statement_timeout,
            available: true,
        };
        let task = tokio::spawn(serve(engine, commands, closing.clone(), settings.group_max.max(1), lock));
        Self { queue, closing, task: Mutex::new(Some(task)), counters, limit: settings.statement_timeout }
    }

    /// Puts a command into the queue and waits for its answer. When that takes too long nothing is known about it.
    pub(super) async fn run<T, F>(&self, name: &'static str, task: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Tx) -> BoxFuture<'c, Result<T>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel::<Result<T>>();
        let queued = Queued { name, run: Box::new(move |tx| Box::pin(run_typed(tx, reply, task))) };
        let work = async {
            let closed = || StoreError::Unavailable(format!("{name}: the store is closed"));
            self.queue.send(queued).await.map_err(|_| closed())?;
            // The sender is dropped unanswered when the transaction failed before or in the middle of the command.
            let broken_off = || StoreError::Unavailable(format!("{name} was broken off: {}", self.counters.trouble()));
            answer.await.unwrap_or_else(|_| Err(broken_off()))
        };
        match tokio::time::timeout(self.limit, work).await {
            Ok(result) => result,
            Err(_) => Err(timed_out(name, self.limit)),
        }
    }

    /// Finishes what waits and ends the task.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        if let Some(task) = self.task.lock().await.take() {
            let _ = task.await;
        }
    }

    pub(super) fn stats(&self) -> WriterStats {
        WriterStats {
            commands: self.counters.commands.load(Ordering::Relaxed),
            transactions: self.counters.transactions.load(Ordering::Relaxed),
            failures: self.counters.failures.load(Ordering::Relaxed),
            outages: self.counters.outages.load(Ordering::Relaxed),
        }
    }
}

async fn run_typed<T, F>(tx: &mut Tx, reply: oneshot::Sender<Result<T>>, task: F) -> (Ran, Answer)
where
    T: Send + 'static,
    F: for<'c> FnOnce(&'c mut Tx) -> BoxFuture<'c, Result<T>> + Send + 'static,
{
    if reply.is_closed() {
        // Its caller has given up and may have said so to others: it must not take effect now.
        return (Ran::Undone, Box::new(|_| {}));
    }
    let result = task(tx).await;
    let ran = match &result {
        Ok(_) => Ran::Kept,
        Err(StoreError::Unavailable(why)) => Ran::Broken(why.clone()),
        Err(_) => Ran::Undone,
    };
    let answer = move |failure: Option<StoreError>| {
        let _ = reply.send(match failure {
            None => result,
            Some(failure) => Err(failure),
        });
    };
    (ran, Box::new(answer))
}

async fn serve(
    mut engine: Engine,
    mut commands: mpsc::Receiver<Queued>,
    closing: CancellationToken,
    group_max: usize,
    lock: File,
) {
    let mut group = Vec::with_capacity(group_max);
    loop {
        tokio::select! {
            biased;
            () = closing.cancelled(), if !commands.is_closed() => {
                // From here nothing new comes in, and what waits is still done.
                commands.close();
                continue;
            }
            count = commands.recv_many(&mut group, group_max) => {
                if count == 0 {
                    break;
                }
            }
        }
        engine.commit_group(&mut group).await;
    }
    if let Some(Tx { conn: Conn::Sqlite(mut connection), .. }) = engine.tx.take() {
        let _ = sqlx::query(CHECKPOINT).execute(&mut connection).await;
        let _ = connection.close().await;
    }
    drop(lock);
}

/// The task's side: the connection and what it takes to replace it.
struct Engine {
    tx: Option<Tx>,
    options: SqliteConnectOptions,
    clock: Arc<StoreClock>,
    counters: Arc<Counters>,
    limit: Duration,
    available: bool,
}

impl Engine {
    /// One transaction around `group`, which is empty afterwards; every command has its answer.
    async fn commit_group(&mut self, group: &mut Vec<Queued>) {
        let mut answers = Vec::with_capacity(group.len());
        let outcome = self.transaction(group, &mut answers).await;
        if let Err(why) = &outcome {
            *self.counters.trouble() = why.to_string();
        }
        // The commands that did not get their turn are dropped with the group: their callers hear that they broke off.
        group.clear();
        self.counters.commands.fetch_add(answers.len() as u64, Ordering::Relaxed);
        match outcome {
            Ok(()) => {
                self.counters.transactions.fetch_add(1, Ordering::Relaxed);
                if !self.available && self.has_written().await {
                    self.available = true;
                    info!("the store takes writes again");
                }
                answers.into_iter().for_each(|answer: Answer| answer(None));
            }
            Err(why) => {
                self.counters.failures.fetch_add(1, Ordering::Relaxed);
                if std::mem::replace(&mut self.available, false) {
                    self.counters.outages.fetch_add(1, Ordering::Relaxed);
                    warn!(error = %why, "the store cannot be written to; nothing is accepted until it can");
                }
                // Closing the connection rolls back what is open in it.
                self.tx = None;
                let why = match why {
                    StoreError::Unavailable(why) => why,
                    other => other.to_string(),
                };
                for answer in answers {
                    answer(Some(StoreError::Unavailable(why.clone())));
                }
            }
        }
    }

    /// Whether the connection, new since the trouble began, has changed a row: on a full disk a transaction that has
    /// nothing to write succeeds, and would have the trouble told anew every moment.
    async fn has_written(&mut self) -> bool {
        let Some(tx) = &mut self.tx else { return false };
        let changed = sqlx::query_scalar(CHANGED).fetch_one(tx.conn.sqlite());
        matches!(tokio::time::timeout(self.limit, changed).await, Ok(Ok(true)))
    }

    async fn transaction(&mut self, group: &mut Vec<Queued>, answers: &mut Vec<Answer>) -> Result<()> {
        let limit = self.limit;
        if self.tx.is_none() {
            let conn = open::connect(&self.options, limit).await?;
            self.tx = Some(Tx::new(Conn::Sqlite(conn), Some(self.clock.now())));
        }
        let tx = self.tx.as_mut().expect("the connection was made above");
        statement(tx, BEGIN, limit).await?;
        for queued in group.drain(..) {
            tx.begin_at(self.clock.now());
            statement(tx, SAVE, limit).await?;
            let name = queued.name;
            let run = tokio::time::timeout(limit, catch_panic((queued.run)(tx)));
            let (ran, answer) = match run.await {
                Ok(Ok(ran)) => ran,
                Ok(Err(panic)) => {
                    error!(command = name, %panic, "a command of the store panicked; its transaction is undone");
                    return Err(StoreError::Unavailable(format!("{name} panicked")));
                }
                Err(_) => return Err(timed_out(name, limit)),
            };
            answers.push(answer);
            match ran {
                Ran::Kept => {}
                Ran::Undone => statement(tx, UNDO, limit).await?,
                // A full disk or an I/O error has rolled the whole transaction back already.
                Ran::Broken(why) => return Err(StoreError::Unavailable(why)),
            }
            statement(tx, KEEP, limit).await?;
        }
        crash_point!("store.before-commit");
        statement(tx, COMMIT, limit).await?;
        crash_point!("store.after-commit");
        Ok(())
    }
}

async fn statement(tx: &mut Tx, sql: &'static str, limit: Duration) -> Result<()> {
    // Each statement is named in its first line.
    let name = sql.lines().next().unwrap_or(sql).trim_start_matches("-- ");
    match tokio::time::timeout(limit, sqlx::query(sql).execute(tx.conn.sqlite())).await {
        Ok(done) => done.map(|_| ()).place(name),
        Err(_) => Err(timed_out(name, limit)),
    }
}
