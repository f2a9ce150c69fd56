//! Runs statements on the connection of either engine.

use sqlx::{Sqlite, SqliteConnection, Transaction};

use super::error::DbError;
use super::statement::{Dialect, Statement};
use super::value::{Row, Value};
use crate::store::{postgres, sqlite};

/// What came of a statement.
type Answer<T> = Result<T, DbError>;

/// A connection, inside a transaction.
pub(in crate::store) enum Conn {
    /// The writer's, or one that only looks.
    Sqlite(SqliteConnection),
    /// A snapshot of one that reads; rolled back when it is dropped.
    SqliteSnapshot(Transaction<'static, Sqlite>),
    /// A transaction on PostgreSQL.
    Postgres(postgres::Transaction),
}

impl Conn {
    /// SQLite's own connection, for what only that engine has.
    pub(in crate::store) fn sqlite(&mut self) -> &mut SqliteConnection {
        match self {
            Self::Sqlite(connection) => connection,
            Self::SqliteSnapshot(snapshot) => snapshot,
            Self::Postgres(_) => unreachable!("only SQLite's engine asks for its connection"),
        }
    }
}

/// A statement with its parameters.
#[must_use]
pub(in crate::store) struct Query<'q> {
    statement: &'static Statement,
    values: Vec<Value<'q>>,
}

/// How many rows a statement changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Done(pub(in crate::store) u64);

impl Done {
    pub(in crate::store) fn rows_affected(self) -> u64 {
        self.0
    }
}

/// Begins a query; parameters follow in order.
pub(in crate::store) fn sql(statement: &'static Statement) -> Query<'static> {
    Query { statement, values: Vec::new() }
}

impl<'q> Query<'q> {
    /// The next parameter.
    pub(in crate::store) fn bind<'b>(self, value: impl Into<Value<'b>>) -> Query<'b>
    where
        'q: 'b,
    {
        let mut values: Vec<Value<'b>> = self.values;
        values.push(value.into());
        Query { statement: self.statement, values }
    }

    /// Runs it for its effect.
    pub(in crate::store) async fn execute(self, conn: &mut Conn) -> Answer<Done> {
        match conn {
            Conn::Postgres(transaction) => transaction.execute(self.statement, &self.values).await.map(Done),
            lite => {
                let text = self.statement.spelled(Dialect::Sqlite);
                sqlite::query::execute(lite.sqlite(), text, &self.values).await.map(Done)
            }
        }
    }

    /// Runs it for its effect, which nothing in this transaction waits for: its error comes with the commit at the latest.
    pub(in crate::store) async fn later(self, conn: &mut Conn) -> Answer<()> {
        match conn {
            Conn::Postgres(transaction) => transaction.later(self.statement, &self.values).await,
            lite => self.execute(lite).await.map(drop),
        }
    }

    /// Every row.
    pub(in crate::store) async fn fetch_all(self, conn: &mut Conn) -> Answer<Vec<Row>> {
        match conn {
            Conn::Postgres(transaction) => transaction.rows(self.statement, &self.values).await,
            lite => {
                let text = self.statement.spelled(Dialect::Sqlite);
                sqlite::query::rows(lite.sqlite(), text, &self.values).await
            }
        }
    }

    /// The first row, if there is one.
    pub(in crate::store) async fn fetch_optional(self, conn: &mut Conn) -> Answer<Option<Row>> {
        Ok(self.fetch_all(conn).await?.into_iter().next())
    }

    /// The one row.
    pub(in crate::store) async fn fetch_one(self, conn: &mut Conn) -> Answer<Row> {
        let name = self.statement.name();
        self.fetch_optional(conn).await?.ok_or_else(|| DbError::Value(format!("{name} answered no row")))
    }
}

/// Runs queries for their rows, each as its own statement and in order, but sent together where that saves waiting. After
/// an error the rest counts for nothing.
pub(in crate::store) async fn fetch_each<const N: usize>(
    queries: [Query<'_>; N],
    conn: &mut Conn,
) -> [Answer<Vec<Row>>; N] {
    let answers = fetch_list(queries.into(), conn).await;
    answers.try_into().unwrap_or_else(|_| unreachable!("each query has its answer"))
}

/// The same for a list whose length is bounded by the caller.
pub(in crate::store) async fn fetch_list(queries: Vec<Query<'_>>, conn: &mut Conn) -> Vec<Answer<Vec<Row>>> {
    if let Conn::Postgres(transaction) = conn {
        let asked: Vec<_> = queries.iter().map(|query| (query.statement, &query.values[..])).collect();
        return transaction.rows_of_each(&asked).await;
    }
    let mut answers = Vec::with_capacity(queries.len());
    for query in queries {
        answers.push(query.fetch_all(conn).await);
    }
    answers
}

/// The same for effects: how many rows each has changed.
pub(in crate::store) async fn execute_list(queries: Vec<Query<'_>>, conn: &mut Conn) -> Vec<Answer<Done>> {
    if let Conn::Postgres(transaction) = conn {
        let asked: Vec<_> = queries.iter().map(|query| (query.statement, &query.values[..])).collect();
        return transaction.execute_each(&asked).await.into_iter().map(|done| done.map(Done)).collect();
    }
    let mut answers = Vec::with_capacity(queries.len());
    for query in queries {
        answers.push(query.execute(conn).await);
    }
    answers
}
