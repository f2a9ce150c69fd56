//! Who follows everybody's events misses none of a transaction that commits late.

use crate::store::testing::postgres::{Database, Server, fresh_database};
use crate::store::*;

const DRAW: &str = "INSERT INTO events (at, kind, text) VALUES (1, 'test', $1) RETURNING seq";

async fn store(database: &Database) -> SqlStore {
    let mut settings = PostgresSettings::new(database.url());
    settings.hosts = vec![format!("127.0.0.1:{}", Server::for_logic().port())];
    SqlStore::open_postgres(settings).await.unwrap()
}

async fn texts(store: &SqlStore, after: i64) -> Vec<String> {
    let events = store.events(EventsOf::All, after, 100).await.unwrap();
    events.into_iter().map(|event| event.text).collect()
}

async fn draw(client: &tokio_postgres::Client, text: &str) -> i64 {
    client.query_one(DRAW, &[&text]).await.unwrap().get(0)
}

#[tokio::test]
async fn what_commits_late_is_waited_for_and_not_passed_over() {
    let database = fresh_database().await;
    let store = store(&database).await;
    let (late, early) = (database.connect().await, database.connect().await);
    let first = draw(&early, "first").await;
    late.batch_execute("BEGIN").await.unwrap();
    let low = draw(&late, "late").await;
    assert!(low < draw(&early, "early").await);

    assert_eq!(texts(&store, 0).await, ["first"], "what stands behind the missing one is not told yet");
    assert!(texts(&store, first).await.is_empty());
    late.batch_execute("COMMIT").await.unwrap();
    assert_eq!(texts(&store, first).await, ["late", "early"]);
}

#[tokio::test]
async fn what_never_commits_is_passed_as_soon_as_that_is_known() {
    let database = fresh_database().await;
    let store = store(&database).await;
    let (late, early) = (database.connect().await, database.connect().await);
    late.batch_execute("BEGIN").await.unwrap();
    draw(&late, "undone").await;
    draw(&early, "early").await;
    assert!(texts(&store, 0).await.is_empty());
    late.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(texts(&store, 0).await, ["early"]);
    late.batch_execute("BEGIN").await.unwrap();
    draw(&late, "open").await;
    let settled = store.events(EventsOf::All, 1, 100).await.unwrap();
    assert_eq!(settled.len(), 1, "nothing is missing below");
}
