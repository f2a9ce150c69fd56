//! One transaction on one connection: its beginning, its end, and what is still under way (`requests` sends statements).

mod requests;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::Object;
use futures_util::FutureExt as _;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::connect::Manager;
use super::error::{Error, Trouble};
use crate::domain::Timestamp;
use crate::store::sql::Dialect;

const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";

type Asked<T> = Pin<Box<dyn Future<Output = Result<T, tokio_postgres::Error>> + Send>>;
type Request = Asked<u64>;

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

    /// Awaits what is under way; the first error counts. What is behind it fails too, or waits for the same silence.
    async fn settle(&mut self) -> Result<(), Error> {
        self.has_begun().await?;
        for request in std::mem::take(&mut self.under_way) {
            self.in_time(request).await?;
        }
        Ok(())
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

async fn answer<T>(limit: Duration, work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Error> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done.map_err(Error::from),
        Err(_) => Err(Error::Late(limit)),
    }
}

fn ended() -> Error {
    Error::NoPrimary("the transaction has ended".to_owned())
}
