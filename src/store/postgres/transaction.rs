//! One transaction on one connection: statements in order, those that nobody waits for in one go with what follows.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::Object;
use futures_util::FutureExt as _;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::connect::Manager;
use super::error::{Error, Trouble};
use super::values::{Field, Parameter};
use crate::domain::Timestamp;
use crate::store::sql::{DbError, Dialect, Row, Statement, Value};

/// Statements under way at once: what waits for no answer is bounded all the same.
const UNDER_WAY_MAX: usize = 64;

const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";

type Asked<T> = Pin<Box<dyn Future<Output = Result<T, tokio_postgres::Error>> + Send>>;
type Request = Asked<u64>;
/// A statement with its parameters.
type Asking<'v> = (&'static Statement, &'v [Value<'v>]);

/// A transaction. Dropped before its end it takes its connection with it, which makes the server roll back.
pub(in crate::store) struct Transaction {
    /// None once it has ended.
    session: Option<Object<Manager>>,
    dialect: Dialect,
    limit: Duration,
    /// BEGIN and the question for the time, until they are answered: the first of all answers.
    begin: Option<Asked<Vec<SimpleQueryMessage>>>,
    /// What the database's clock said then.
    began_at: Option<Timestamp>,
    /// Sent and not yet answered, in order.
    under_way: Vec<Request>,
    /// What the first error said; none while all is well.
    trouble: Option<Trouble>,
}

/// Why a transaction is not known to be committed.
pub(super) enum NotCommitted {
    /// It has not happened.
    Undone(Error),
    /// The server has had the COMMIT, and its answer has not come.
    Unknown(Error),
}

impl Transaction {
    /// Begins one, in the same round trip as its first statement. A server refuses to begin only when it ends the
    /// connection; whatever else it says, the connection is not used again.
    pub(super) fn begin(session: Object<Manager>, dialect: Dialect, limit: Duration) -> Result<Self, Error> {
        let begin = match dialect {
            Dialect::PostgresWriting => "BEGIN ISOLATION LEVEL READ COMMITTED",
            _ => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        session.forget_warnings();
        let client = Arc::clone(&session.client);
        // Owned by the transaction from here on: a connection that does not even begin is not used again.
        let mut begun = Self {
            session: Some(session),
            dialect,
            limit,
            begin: None,
            began_at: None,
            under_way: Vec::new(),
            trouble: None,
        };
        let text = format!("{begin}; {NOW}");
        let mut request: Asked<_> = Box::pin(async move { client.simple_query(&text).await });
        match request.as_mut().now_or_never() {
            Some(done) => begun.heard(done.map_err(Error::from))?,
            None => begun.begin = Some(request),
        }
        Ok(begun)
    }

    /// When it began, by the database's clock.
    pub(in crate::store) async fn began_at(&mut self) -> Result<Timestamp, Error> {
        self.has_begun().await?;
        self.began_at.ok_or_else(|| Error::NoPrimary("the database does not say what time it is".to_owned()))
    }

    async fn has_begun(&mut self) -> Result<(), Error> {
        let Some(begin) = self.begin.take() else { return Ok(()) };
        let answers = answer(self.limit, begin).await;
        self.heard(answers)
    }

    fn heard(&mut self, answers: Result<Vec<SimpleQueryMessage>, Error>) -> Result<(), Error> {
        let answers = answers.inspect_err(|error| {
            self.trouble.get_or_insert(Trouble { lost: true, ..error.trouble() });
        })?;
        self.began_at = answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.get(0).and_then(|text| text.parse().ok()).map(Timestamp),
            _ => None,
        });
        Ok(())
    }

    /// Runs a statement for its effect; answers how many rows it changed.
    pub(in crate::store) async fn execute(
        &mut self,
        statement: &'static Statement,
        values: &[Value<'_>],
    ) -> Result<u64, DbError> {
        let mut one = self.execute_each(&[(statement, values)]).await;
        one.pop().expect("each statement has its answer")
    }

    /// Runs statements for their effect: all are sent before the first answer is awaited. After an error the rest is not done.
    pub(in crate::store) async fn execute_each(&mut self, statements: &[Asking<'_>]) -> Vec<Result<u64, DbError>> {
        let mut answers = Vec::with_capacity(statements.len());
        for some in statements.chunks(UNDER_WAY_MAX) {
            let mut failed = self.prepare_all(some).await.err();
            let mut sent = Vec::with_capacity(some.len());
            for (statement, values) in some {
                sent.push(self.request(statement, values).await.map(Sent::now));
            }
            failed = failed.or(self.settle().await.err());
            for asked in sent {
                let changed = match self.unless_failed(failed.take(), asked) {
                    Err(error) => Err(error),
                    Ok(Sent::Answered(done)) => self.note(done.map_err(Error::from)),
                    Ok(Sent::Awaited(request)) => self.in_time(request).await,
                };
                answers.push(changed.map_err(DbError::from));
            }
        }
        answers
    }

    /// Sends a statement whose answer nobody needs. Its error comes with the next answer or with the commit.
    pub(in crate::store) async fn later(
        &mut self,
        statement: &'static Statement,
        values: &[Value<'_>],
    ) -> Result<(), DbError> {
        match Sent::now(self.request(statement, values).await?) {
            Sent::Answered(done) => {
                self.note(done.map_err(Error::from))?;
            }
            Sent::Awaited(request) => self.under_way.push(request),
        }
        if self.under_way.len() >= UNDER_WAY_MAX {
            self.settle().await?;
        }
        Ok(())
    }

    /// Runs a statement for its rows.
    pub(in crate::store) async fn rows(
        &mut self,
        statement: &'static Statement,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, DbError> {
        let mut one = self.rows_of_each(&[(statement, values)]).await;
        one.pop().expect("each statement has its answer")
    }

    /// Runs statements for their rows: all are sent before the first answer is awaited. After an error the rest is not done.
    pub(in crate::store) async fn rows_of_each(&mut self, statements: &[Asking<'_>]) -> Vec<Result<Vec<Row>, DbError>> {
        let mut answers = Vec::with_capacity(statements.len());
        for some in statements.chunks(UNDER_WAY_MAX) {
            let mut failed = self.prepare_all(some).await.err();
            let mut sent = Vec::with_capacity(some.len());
            for (statement, values) in some {
                sent.push(self.ask(statement, values).await);
            }
            failed = failed.or(self.settle().await.err());
            for asked in sent {
                let found = match self.unless_failed(failed.take(), asked) {
                    Err(error) => Err(error),
                    Ok((prepared, Sent::Answered(done))) => {
                        self.note(done.map_err(Error::from)).and_then(|found| read(&prepared, &found))
                    }
                    Ok((prepared, Sent::Awaited(request))) => {
                        self.in_time(request).await.and_then(|found| read(&prepared, &found))
                    }
                };
                answers.push(found.map_err(DbError::from));
            }
        }
        answers
    }

    /// Before the first is sent: what comes behind a failed statement is not prepared any more.
    async fn prepare_all(&mut self, statements: &[Asking<'_>]) -> Result<(), Error> {
        for (statement, _) in statements {
            self.prepared(statement).await?;
        }
        Ok(())
    }

    /// What failed, or else what was sent; after an error nothing is waited for any more.
    fn unless_failed<T>(&self, failed: Option<Error>, sent: Result<T, Error>) -> Result<T, Error> {
        match failed {
            Some(error) => Err(error),
            None if self.trouble.is_some() => Err(Error::Aborted),
            None => sent,
        }
    }

    async fn ask(
        &mut self,
        statement: &'static Statement,
        values: &[Value<'_>],
    ) -> Result<(tokio_postgres::Statement, Sent<Vec<tokio_postgres::Row>>), Error> {
        let prepared = self.prepared(statement).await?;
        let client = self.client()?;
        let parameters = parameters(values);
        let ask = prepared.clone();
        let request = Box::pin(async move { client.query(&ask, &references(&parameters)).await });
        Ok((prepared, Sent::now(request)))
    }

    /// Commits, together with what is still under way.
    pub(super) async fn commit(mut self) -> Result<(), NotCommitted> {
        if self.trouble.is_some() {
            // The server would answer COMMIT with ROLLBACK, which reads like a success here.
            self.roll_back().await;
            return Err(NotCommitted::Undone(Error::Aborted));
        }
        let client = self.client().map_err(NotCommitted::Undone)?;
        let mut commit: Request = Box::pin(async move { client.batch_execute("COMMIT").await.map(|()| 0) });
        let early = commit.as_mut().now_or_never();
        if let Err(error) = self.settle().await {
            // Refused before the COMMIT behind it was looked at, which makes that a ROLLBACK; without the server's word
            // both may have been done. The connection goes all the same.
            let refused = error.is_answer();
            return Err(if refused { NotCommitted::Undone(error) } else { NotCommitted::Unknown(error) });
        }
        let done = match early {
            Some(done) => done.map_err(Error::from),
            None => self.in_time(commit).await,
        };
        match done {
            Err(error) if error.is_refusal() => return Err(NotCommitted::Undone(error)),
            Err(error) => return Err(NotCommitted::Unknown(error)),
            Ok(_) => {}
        }
        // A snapshot has written nothing that a copy could lack.
        if self.dialect == Dialect::PostgresWriting
            && self.session.as_ref().is_some_and(|session| session.was_not_replicated())
        {
            return Err(NotCommitted::Unknown(Error::NotReplicated));
        }
        self.session.take();
        Ok(())
    }

    /// Undoes everything; a connection that does not answer to that goes. Answers what the errors say of it.
    pub(super) async fn roll_back(&mut self) -> Trouble {
        // Its error is noted, and there is nothing left that it could spoil.
        let _ = self.settle().await;
        if !self.trouble.unwrap_or_default().lost
            && let Ok(client) = self.client()
            && self.in_time(client.batch_execute("ROLLBACK")).await.is_ok()
        {
            self.session.take();
        }
        self.trouble.unwrap_or_default()
    }

    async fn request(&mut self, statement: &'static Statement, values: &[Value<'_>]) -> Result<Request, Error> {
        let prepared = self.prepared(statement).await?;
        let client = self.client()?;
        let parameters = parameters(values);
        Ok(Box::pin(async move { client.execute(&prepared, &references(&parameters)).await }))
    }

    /// Awaits what is under way; the first error counts. What is behind it fails too, or waits for the same silence.
    async fn settle(&mut self) -> Result<(), Error> {
        self.has_begun().await?;
        for request in std::mem::take(&mut self.under_way) {
            self.in_time(request).await?;
        }
        Ok(())
    }

    async fn prepared(&mut self, statement: &'static Statement) -> Result<tokio_postgres::Statement, Error> {
        let key = (std::ptr::from_ref(statement).addr(), self.dialect);
        let session = self.session.as_ref().ok_or_else(ended)?;
        if let Some(prepared) = session.statements.get(&key) {
            return Ok(prepared.clone());
        }
        let client = Arc::clone(&session.client);
        let prepared = match answer(self.limit, client.prepare(statement.spelled(self.dialect))).await {
            Ok(prepared) => prepared,
            Err(error) => {
                // After a failed statement nothing is prepared any more: that one's error is the one to tell.
                self.settle().await?;
                return self.note(Err(error));
            }
        };
        if let Some(session) = &mut self.session {
            session.statements.insert(key, prepared.clone());
        }
        Ok(prepared)
    }

    fn client(&self) -> Result<Arc<Client>, Error> {
        self.session.as_ref().map(|session| Arc::clone(&session.client)).ok_or_else(ended)
    }

    async fn in_time<T>(&mut self, work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Error> {
        let done = answer(self.limit, work).await;
        self.note(done)
    }

    fn note<T>(&mut self, done: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &done {
            self.trouble.get_or_insert_with(|| error.trouble());
        }
        done
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            drop(Object::take(session));
        }
    }
}

/// A request with its first poll behind it, which sends it.
enum Sent<T> {
    Answered(Result<T, tokio_postgres::Error>),
    Awaited(Asked<T>),
}

impl<T> Sent<T> {
    fn now(mut request: Asked<T>) -> Self {
        match request.as_mut().now_or_never() {
            Some(done) => Self::Answered(done),
            None => Self::Awaited(request),
        }
    }
}

fn read(prepared: &tokio_postgres::Statement, found: &[tokio_postgres::Row]) -> Result<Vec<Row>, Error> {
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let names: Arc<[String]> = prepared.columns().iter().map(|column| column.name().to_owned()).collect();
    let read = |row: &tokio_postgres::Row| -> Result<Row, Error> {
        let values = (0..row.len()).map(|at| Ok(row.try_get::<_, Field>(at)?.0)).collect::<Result<_, Error>>()?;
        Ok(Row { names: Arc::clone(&names), values })
    };
    found.iter().map(read).collect()
}

async fn answer<T>(limit: Duration, work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Error> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done.map_err(Error::from),
        Err(_) => Err(Error::Late(limit)),
    }
}

fn ended() -> Error {
    Error::NoPrimary("the transaction has ended".to_owned())
}

fn parameters(values: &[Value<'_>]) -> Vec<Parameter> {
    values.iter().map(Parameter::new).collect()
}

fn references(parameters: &[Parameter]) -> Vec<&(dyn ToSql + Sync)> {
    parameters.iter().map(|parameter| parameter as &(dyn ToSql + Sync)).collect()
}
