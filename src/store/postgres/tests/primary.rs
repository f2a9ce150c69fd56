//! The primary changes, falls silent or only reads; the engine finds the one that takes writes, or says that none does.

use std::time::Duration;

use super::{DEADLINE, submit_until_taken, until};
use crate::store::testing::postgres::{Database, Server, connect, fresh_database};
use crate::store::testing::proxy::{Proxy, Weather};
use crate::store::testing::{self, ManualClock};
use crate::store::*;

const LOGIC: [&str; 1] = ["fsync=off"];

fn settings(database: &Database, ports: &[u16]) -> PostgresSettings {
    let mut settings = PostgresSettings::new(database.url());
    settings.hosts = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    settings.clock = Some(ManualClock::new());
    settings.connections = 3;
    settings
}

/// The same for networks that fall silent: they are waited for no longer.
fn impatient(database: &Database, ports: &[u16]) -> PostgresSettings {
    let patience = Duration::from_secs(3);
    PostgresSettings { statement_timeout: patience, connect_timeout: patience, ..settings(database, ports) }
}

fn host(server: &Server) -> Option<String> {
    Some(format!("127.0.0.1:{}", server.port()))
}

async fn promote(server: &Server) {
    let admin = connect(&server.url("postgres")).await;
    admin.query_one("SELECT pg_promote(true, 60)", &[]).await.unwrap();
    until(&admin, "SELECT NOT pg_is_in_recovery()").await;
}

#[tokio::test]
async fn the_promoted_copy_is_found_and_has_every_message_that_was_answered_for() {
    let old = Server::start(&LOGIC);
    let database = old.fresh_database().await;
    let copy = old.follower(&LOGIC);
    let admin = connect(&old.url("postgres")).await;
    let synchronous = "ALTER SYSTEM SET synchronous_standby_names = '*'";
    admin.batch_execute(synchronous).await.unwrap();
    admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    until(&admin, "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync' AND state = 'streaming'")
        .await;

    let store = SqlStore::open_postgres(settings(&database, &[copy.port(), old.port()])).await.unwrap();
    let health = store.health().await.unwrap();
    assert_eq!((health.host, health.copies), (host(&old), Some(1)));
    let mut answered = Vec::new();
    for number in ["+4930111", "+4930222", "+4930333"] {
        let message = testing::message(&[number]);
        answered.push(message.id);
        store.submit(message).await.unwrap();
    }
    drop(admin);
    drop(old);
    let message = testing::message(&["+4930444"]);
    let error = store.submit(message.clone()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(why) if why.contains("it only reads")), "{error:?}");
    promote(&copy).await;
    answered.push(message.id);
    assert!(matches!(submit_until_taken(&store, &message).await, Submitted::Accepted { .. }));
    assert_eq!(store.missing(&answered).await.unwrap(), []);
    let health = store.health().await.unwrap();
    assert_eq!((health.host, health.copies), (host(&copy), Some(0)));
}

#[tokio::test]
async fn of_two_that_take_writes_the_one_promoted_later_is_the_primary() {
    let old = Server::start(&LOGIC);
    let database = old.fresh_database().await;
    let copy = old.follower(&LOGIC);
    promote(&copy).await;
    for ports in [[old.port(), copy.port()], [copy.port(), old.port()]] {
        let store = SqlStore::open_postgres(settings(&database, &ports)).await.unwrap();
        assert_eq!(store.health().await.unwrap().host, host(&copy));
    }
}

#[tokio::test]
async fn a_role_that_may_not_see_copies_does_not_say_that_there_are_none() {
    let server = Server::start(&LOGIC);
    let database = server.fresh_database().await;
    let _copy = server.follower(&LOGIC);
    let admin = database.connect().await;
    until(&admin, "SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'").await;
    let role = "CREATE ROLE gateway LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO gateway; \
        GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO gateway";
    admin.batch_execute(role).await.unwrap();
    let mut settings = settings(&database, &[server.port()]);
    settings.url = database.url().replace("postgres@", "gateway@");
    let store = SqlStore::open_postgres(settings).await.unwrap();
    let copies = store.health().await.unwrap().copies;
    assert_eq!(copies, None);
    assert!(check_copies(copies, 1).unwrap_err().contains("GRANT pg_monitor TO"));
    store.submit(testing::message(&["+4930111"])).await.unwrap();
    admin.batch_execute("GRANT pg_monitor TO gateway").await.unwrap();
    // It follows, and no commit waits for it.
    assert_eq!(store.health().await.unwrap().copies, Some(0));
}

#[tokio::test]
async fn a_server_that_only_reads_is_refused_and_left_by_its_connections() {
    let server = Server::start(&LOGIC);
    let database = server.fresh_database().await;
    let store = SqlStore::open_postgres(settings(&database, &[server.port()])).await.unwrap();
    store.check_writable().await.unwrap();
    let admin = connect(&server.url("postgres")).await;
    let all_reading = |on: &'static str| {
        let (admin, server) = (&admin, &server);
        async move {
            let set = format!("ALTER SYSTEM SET default_transaction_read_only = {on}");
            admin.batch_execute("SET default_transaction_read_only = off").await.unwrap();
            admin.batch_execute(&set).await.unwrap();
            admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
            // A session of its own sees what is new; each asks anew.
            let deadline = tokio::time::Instant::now() + DEADLINE;
            loop {
                let fresh = connect(&server.url("postgres")).await;
                let is: String = fresh.query_one("SHOW default_transaction_read_only", &[]).await.unwrap().get(0);
                if is == on {
                    return;
                }
                assert!(tokio::time::Instant::now() < deadline);
            }
        }
    };
    all_reading("on").await;
    let error = store.submit(testing::message(&["+4930111"])).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(why) if why.contains("it only reads")), "{error:?}");
    let refused = SqlStore::open_postgres(settings(&database, &[server.port()])).await;
    assert!(matches!(refused.err(), Some(StoreError::Unavailable(why)) if why.contains("it only reads")));
    all_reading("off").await;
    submit_until_taken(&store, &testing::message(&["+4930111"])).await;
}

#[tokio::test]
async fn connections_that_the_server_ended_are_replaced_unnoticed() {
    let database = fresh_database().await;
    let store = SqlStore::open_postgres(settings(&database, &[Server::for_logic().port()])).await.unwrap();
    let admin = database.connect().await;
    for round in 0..3 {
        store.submit(testing::message(&["+4930111"])).await.unwrap();
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
            WHERE datname = current_database() AND application_name = 'faxwell'";
        let ended = admin.query(end, &[]).await.unwrap().len();
        assert!(ended > 0, "in round {round} it has no connection");
        store.submit(testing::message(&["+4930222"])).await.unwrap();
    }
}

#[tokio::test]
async fn a_silent_network_hangs_nobody_and_its_connections_are_closed_and_replaced() {
    let database = fresh_database().await;
    let proxy = Proxy::before(Server::for_logic().port()).await;
    let store = std::sync::Arc::new(SqlStore::open_postgres(impatient(&database, &[proxy.port()])).await.unwrap());
    store.check_writable().await.unwrap();
    assert!(proxy.open() > 0);
    proxy.set(Weather::Silent);
    // More of them than connections: those that wait for one give up too.
    let stuck: Vec<_> = (0..8)
        .map(|_| {
            let store = std::sync::Arc::clone(&store);
            tokio::spawn(async move { store.submit(testing::message(&["+4930111"])).await })
        })
        .collect();
    for submitted in stuck {
        let answer = tokio::time::timeout(DEADLINE, submitted).await.expect("a command hangs").unwrap();
        assert!(matches!(&answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    }
    // Silent ones are not waited for: their sockets are closed.
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while proxy.open() > 0 {
        assert!(tokio::time::Instant::now() < deadline, "{} connections are still open", proxy.open());
        tokio::task::yield_now().await;
    }
    let stored: i64 = database.connect().await.query_one("SELECT count(*) FROM messages", &[]).await.unwrap().get(0);
    assert_eq!(stored, 0);
    proxy.set(Weather::Fair);
    submit_until_taken(&store, &testing::message(&["+4930222"])).await;
}

#[tokio::test]
async fn every_host_is_asked_when_the_known_one_is_gone() {
    let database = fresh_database().await;
    let port = Server::for_logic().port();
    let (silent, proxy) = (Proxy::before(port).await, Proxy::before(port).await);
    silent.set(Weather::Silent);
    let store = SqlStore::open_postgres(impatient(&database, &[silent.port(), proxy.port()])).await.unwrap();
    assert_eq!(store.health().await.unwrap().host, Some(format!("127.0.0.1:{}", proxy.port())));
    silent.set(Weather::Fair);
    proxy.set(Weather::Silent);
    submit_until_taken(&store, &testing::message(&["+4930111"])).await;
    assert_eq!(store.health().await.unwrap().host, Some(format!("127.0.0.1:{}", silent.port())));
}
