//! The conformance suite on PostgreSQL, and what the engine makes of servers and networks that fail.

mod events;
mod moving;
mod outcomes;
mod primary;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use crate::store::conformance::{self, Bench};
use crate::store::sql::{Dialect, every_statement};
use crate::store::testing::ManualClock;
use crate::store::testing::postgres::fresh_database;
use crate::store::{NewMessage, PostgresSettings, SqlStore, Store, StoreError, Submitted};

/// Longer than anything takes on a busy machine; then a test has failed.
const DEADLINE: Duration = Duration::from_secs(60);

async fn bench() -> Bench {
    let database = fresh_database().await;
    let clock = ManualClock::new();
    let mut settings = PostgresSettings::new(database.url());
    settings.clock = Some(clock.clone());
    settings.connections = 4;
    let store = SqlStore::open_postgres(settings).await.unwrap();
    Bench { store: Arc::new(store), clock, _keep: Box::new(database) }
}

#[tokio::test]
async fn postgres_does_what_every_store_must_do() {
    conformance::run(bench).await;
}

#[test]
fn random_lives_end_as_the_model_says() {
    conformance::random_life(bench);
}

#[test]
fn nothing_that_is_wanted_goes_and_nothing_else_stays() {
    conformance::random_retention(bench);
}

#[tokio::test]
async fn every_statement_is_understood_by_postgres() {
    let database = fresh_database().await;
    let client = database.connect().await;
    for statement in every_statement().chain(
        [super::connect::STATEMENTS, super::events::STATEMENTS, outcomes::STATEMENTS].into_iter().flatten().copied(),
    ) {
        for dialect in [Dialect::PostgresReading, Dialect::PostgresWriting] {
            let prepared = client.prepare(statement.spelled(dialect)).await;
            prepared.unwrap_or_else(|error| panic!("{} for {dialect:?}: {error:?}", statement.name()));
        }
    }
}

/// Waits until a question about the server is answered with yes.
async fn until(client: &tokio_postgres::Client, question: &str) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !client.query_one(question, &[]).await.unwrap().get::<_, bool>(0) {
        assert!(tokio::time::Instant::now() < deadline, "still not true: {question}");
        tokio::task::yield_now().await;
    }
}

/// Tries until the store takes it.
async fn submit_until_taken(store: &SqlStore, message: &NewMessage) -> Submitted {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        match store.submit(message.clone()).await {
            Ok(done) => return done,
            Err(StoreError::Unavailable(why)) => assert!(tokio::time::Instant::now() < deadline, "{why}"),
            Err(other) => panic!("{other}"),
        }
    }
}
