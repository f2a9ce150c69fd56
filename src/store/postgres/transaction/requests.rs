//! The statements of a transaction: those that do not wait for one another's answers are sent together.

use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio_postgres::types::ToSql;

use super::{Asked, Error, Request, Transaction, answer, ended};
use crate::store::postgres::values::{Field, Parameter};
use crate::store::sql::{DbError, Row, Statement, Value};

/// Statements under way at once: what waits for no answer is bounded all the same.
const UNDER_WAY_MAX: usize = 64;

/// A statement with its parameters.
type Asking<'v> = (&'static Statement, &'v [Value<'v>]);

impl Transaction {
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

    async fn request(&mut self, statement: &'static Statement, values: &[Value<'_>]) -> Result<Request, Error> {
        let prepared = self.prepared(statement).await?;
        let client = self.client()?;
        let parameters = parameters(values);
        Ok(Box::pin(async move { client.execute(&prepared, &references(&parameters)).await }))
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

fn parameters(values: &[Value<'_>]) -> Vec<Parameter> {
    values.iter().map(Parameter::new).collect()
}

fn references(parameters: &[Parameter]) -> Vec<&(dyn ToSql + Sync)> {
    parameters.iter().map(|parameter| parameter as &(dyn ToSql + Sync)).collect()
}
