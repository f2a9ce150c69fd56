//! What a caller hears when a command breaks off: that it has not happened, or that nobody knows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::{Barrier, Notify};

use super::{submit_until_taken, until};
use crate::store::sql::{Place, sql, statements};
use crate::store::testing::postgres::{Database, Server, connect, fresh_database};
use crate::store::testing::proxy::{Proxy, Weather};
use crate::store::testing::{self, ManualClock};
use crate::store::*;

statements! {
    DIVIDE = "-- test.divide
        SELECT $1 / 0 AS quotient";
    PUT = "-- test.put
        INSERT INTO documents (key, size_bytes, media, inline, stored_at) VALUES ($1, 1, 'text/plain', $2, 0)";
    LOCK = "-- test.lock
        SELECT pg_advisory_xact_lock($1) IS NULL AS locked";
}

/// In whose transactions the wait for a copy shows.
const WAITS: &str = "FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 'faxwell'";
const IS_UNKNOWN: &str = "whether it was committed is not known";

async fn open(url: &str, change: impl FnOnce(&mut PostgresSettings)) -> SqlStore {
    let mut settings = PostgresSettings::new(url);
    settings.clock = Some(ManualClock::new());
    settings.connections = 2;
    change(&mut settings);
    SqlStore::open_postgres(settings).await.unwrap()
}

async fn behind(proxy: &Proxy, database: &Database) -> SqlStore {
    let host = format!("127.0.0.1:{}", proxy.port());
    open(database.url(), |settings| settings.hosts = vec![host]).await
}

async fn messages(database: &Database) -> i64 {
    database.connect().await.query_one("SELECT count(*) FROM messages", &[]).await.unwrap().get(0)
}

fn unavailable<T: std::fmt::Debug>(result: Result<T>) -> String {
    match result {
        Err(StoreError::Unavailable(why)) => why,
        other => panic!("not unavailable: {other:?}"),
    }
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_unknown_and_its_repetition_changes_nothing() {
    let database = fresh_database().await;
    let proxy = Proxy::before(Server::for_logic().port()).await;
    let store = behind(&proxy, &database).await;
    let message = testing::message(&["+4930111", "+4930222"]);
    proxy.set(Weather::LosesAnswer);
    let why = unavailable(store.submit(message.clone()).await);
    assert!(why.contains(IS_UNKNOWN), "{why}");
    // Nobody has tried again behind the caller's back, and it is there.
    assert_eq!(messages(&database).await, 1);
    assert!(matches!(store.submit(message).await.unwrap(), Submitted::Accepted { .. }));
    assert_eq!(messages(&database).await, 1);
}

#[tokio::test]
async fn a_commit_that_is_lost_on_its_way_is_unknown_and_its_repetition_is_stored() {
    let database = fresh_database().await;
    let proxy = Proxy::before(Server::for_logic().port()).await;
    let store = behind(&proxy, &database).await;
    let message = testing::message(&["+4930111"]);
    proxy.set(Weather::LosesCommit);
    let why = unavailable(store.submit(message.clone()).await);
    assert!(why.contains(IS_UNKNOWN), "{why}");
    assert_eq!(messages(&database).await, 0);
    assert!(matches!(store.submit(message).await.unwrap(), Submitted::Accepted { .. }));
    assert_eq!(messages(&database).await, 1);
}

/// A server whose commits wait for a copy that does not exist, from `wait` on.
async fn lonely_server() -> (Server, Database) {
    // Commits of the role do not wait by themselves: the engine's must.
    let server = Server::start(&["fsync=off", "synchronous_commit=off"]);
    let database = server.fresh_database().await;
    (server, database)
}

async fn wait_for_copies(server: &Server, names: &str) {
    let admin = connect(&server.url("postgres")).await;
    admin.batch_execute(&format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'")).await.unwrap();
    admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    until(&admin, &format!("SELECT current_setting('synchronous_standby_names') = '{names}'")).await;
}

#[tokio::test]
async fn a_cancelled_wait_for_a_copy_is_an_unknown_outcome_and_ends_the_connection() {
    let (server, database) = lonely_server().await;
    let store = Arc::new(open(database.url(), |_| {}).await);
    store.now().await.unwrap();
    wait_for_copies(&server, "nobody").await;
    let message = testing::message(&["+4930111"]);
    let submitting = tokio::spawn({
        let (store, message) = (Arc::clone(&store), message.clone());
        async move { store.submit(message).await }
    });
    let admin = connect(&server.url("postgres")).await;
    until(&admin, &format!("SELECT count(*) = 1 {WAITS}")).await;
    let waiting: i32 = admin.query_one(&format!("SELECT pid {WAITS}"), &[]).await.unwrap().get(0);
    admin.query_one("SELECT pg_cancel_backend($1)", &[&waiting]).await.unwrap();
    let why = unavailable(submitting.await.unwrap());
    assert!(why.contains("may not have been replicated") && why.contains(IS_UNKNOWN), "{why}");
    until(&admin, &format!("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = {waiting}")).await;
    // It is on this server, and not on a copy: the repetition says so when a copy is not needed any more.
    wait_for_copies(&server, "").await;
    assert!(matches!(submit_until_taken(&store, &message).await, Submitted::Accepted { .. }));
    assert_eq!(messages(&database).await, 1);
}

#[tokio::test]
async fn a_wait_for_a_copy_that_takes_too_long_is_given_up_here_and_goes_on_at_the_server() {
    let (server, database) = lonely_server().await;
    let store = open(database.url(), |settings| settings.statement_timeout = Duration::from_secs(1)).await;
    store.now().await.unwrap();
    wait_for_copies(&server, "nobody").await;
    let message = testing::message(&["+4930111"]);
    let why = unavailable(store.submit(message.clone()).await);
    assert!(why.contains("no answer within 1 s") && why.contains(IS_UNKNOWN), "{why}");
    let admin = connect(&server.url("postgres")).await;
    // Nothing was cancelled: nobody sees the row before its copy is there.
    until(&admin, &format!("SELECT count(*) = 1 {WAITS}")).await;
    assert_eq!(messages(&database).await, 0);
    // The repetition meets its own first try, which still waits.
    let again = unavailable(store.submit(message.clone()).await);
    assert!(!again.contains(IS_UNKNOWN), "{again}");
    wait_for_copies(&server, "").await;
    assert!(matches!(submit_until_taken(&store, &message).await, Submitted::Accepted { .. }));
    assert_eq!(messages(&database).await, 1);
}

#[tokio::test]
async fn a_repetition_that_waits_for_its_own_first_try_is_the_same_message() {
    let (server, database) = lonely_server().await;
    let store = Arc::new(open(database.url(), |_| {}).await);
    store.now().await.unwrap();
    wait_for_copies(&server, "nobody").await;
    let message = testing::message(&["+4930111"]);
    let (first, second) = (Arc::clone(&store), Arc::clone(&store));
    let (one, two) = (message.clone(), message.clone());
    let first = tokio::spawn(async move { first.submit(one).await });
    let admin = connect(&server.url("postgres")).await;
    until(&admin, &format!("SELECT count(*) = 1 {WAITS}")).await;
    let second = tokio::spawn(async move { second.submit(two).await });
    until(&admin, "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'").await;
    wait_for_copies(&server, "").await;
    for answer in [first.await.unwrap(), second.await.unwrap()] {
        assert!(matches!(answer.unwrap(), Submitted::Accepted { .. }));
    }
    assert_eq!(messages(&database).await, 1);
}

#[tokio::test]
async fn a_statement_that_failed_is_never_committed_over() {
    let database = fresh_database().await;
    let store = open(database.url(), |_| {}).await;
    let ignored = store.write("ignored", |tx| {
        Box::pin(async move {
            sql(&PUT).bind("ab".repeat(32)).bind(&b"x"[..]).execute(&mut tx.conn).await.place("put")?;
            let _ = sql(&DIVIDE).bind(1_i64).fetch_one(&mut tx.conn).await;
            Ok(())
        })
    });
    assert!(ignored.await.is_err());
    // Sent without waiting, together with the commit: it is known that nothing was committed, and why.
    let unheard = store.write("unheard", |tx| {
        Box::pin(async move {
            sql(&PUT).bind("ab".repeat(32)).bind(&b"x"[..]).later(&mut tx.conn).await.place("put")?;
            sql(&DIVIDE).bind(1_i64).later(&mut tx.conn).await.place("divide")?;
            Ok(())
        })
    });
    let why = unheard.await.unwrap_err();
    assert!(matches!(&why, StoreError::Refused(why) if why.contains("division by zero")), "{why:?}");
    // An earlier error is the one that is told, though later ones come of it.
    let followed = store.write("followed", |tx| {
        Box::pin(async move {
            sql(&DIVIDE).bind(1_i64).later(&mut tx.conn).await.place("divide")?;
            sql(&LOCK).bind(1_i64).fetch_one(&mut tx.conn).await.place("lock").map(drop)
        })
    });
    let why = followed.await.unwrap_err().to_string();
    assert!(why.contains("division by zero"), "{why}");
    let stored = "SELECT count(*) FROM documents";
    let stored: i64 = database.connect().await.query_one(stored, &[]).await.unwrap().get(0);
    assert_eq!(stored, 0);
    store.check_writable().await.unwrap();
}

#[tokio::test]
async fn a_value_that_does_not_fit_is_our_mistake_and_not_an_outage() {
    let database = fresh_database().await;
    let store = open(database.url(), |_| {}).await;
    let unfit = store.read("unfit", |tx| {
        Box::pin(async move { sql(&LOCK).bind("a text").fetch_one(&mut tx.conn).await.place("lock").map(drop) })
    });
    let why = unfit.await.unwrap_err();
    assert!(matches!(why, StoreError::Refused(_)), "{why:?}");
    assert!(store.health().await.unwrap().host.is_some());
}

#[tokio::test]
async fn commands_that_lock_each_other_out_are_both_done() {
    let database = fresh_database().await;
    let store = Arc::new(open(database.url(), |_| {}).await);
    let (meeting, runs) = (Arc::new(Barrier::new(2)), Arc::new(AtomicU32::new(0)));
    let locks = |first: i64, second: i64| {
        let (store, meeting, runs) = (Arc::clone(&store), Arc::clone(&meeting), Arc::clone(&runs));
        tokio::spawn(async move {
            let done = store.write("locks", move |tx| {
                Box::pin(async move {
                    let run = runs.fetch_add(1, Ordering::SeqCst);
                    sql(&LOCK).bind(first).fetch_one(&mut tx.conn).await.place("lock")?;
                    if run < 2 {
                        meeting.wait().await;
                    }
                    sql(&LOCK).bind(second).fetch_one(&mut tx.conn).await.place("lock").map(drop)
                })
            });
            done.await
        })
    };
    let (one, other) = (locks(1, 2), locks(2, 1));
    one.await.unwrap().unwrap();
    other.await.unwrap().unwrap();
    assert_eq!(runs.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_command_that_is_dropped_half_way_leaves_nothing_and_its_connection_is_not_used_again() {
    let database = fresh_database().await;
    let store = open(database.url(), |settings| settings.connections = 1).await;
    let reached = Arc::new(Notify::new());
    let there = Arc::clone(&reached);
    let endless = store.write("dropped", move |tx| {
        Box::pin(async move {
            sql(&PUT).bind("cd".repeat(32)).bind(&b"x"[..]).execute(&mut tx.conn).await.place("put")?;
            there.notify_one();
            std::future::pending::<Result<()>>().await
        })
    });
    tokio::select! {
        done = endless => panic!("{done:?}"),
        () = reached.notified() => {}
    }
    store.check_writable().await.unwrap();
    let client = database.connect().await;
    let idle = "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'";
    until(&client, idle).await;
    let stored: i64 =
        client.query_one("SELECT count(*) FROM documents WHERE media = 'text/plain'", &[]).await.unwrap().get(0);
    assert_eq!(stored, 0);
}

#[tokio::test]
async fn a_warning_that_came_with_the_connection_is_no_commits() {
    let database = fresh_database().await;
    let name = database.name();
    // As after an upgrade of the system's library: each connection begins with a warning of the same code.
    let client = database.connect().await;
    let age = format!("UPDATE pg_database SET datcollversion = '1.0' WHERE datname = '{name}'");
    client.batch_execute(&age).await.unwrap();
    let store = open(database.url(), |_| {}).await;
    store.submit(testing::message(&["+4930111"])).await.unwrap();
}
