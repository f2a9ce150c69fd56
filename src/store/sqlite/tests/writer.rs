//! Group commit, and trouble in the middle of it.

use sqlx::{Connection, SqliteConnection};
use tokio::sync::oneshot;

use super::super::*;
use super::schema::foreign;
use crate::store::testing::{self, ManualClock};
use crate::store::*;

/// Occupies the writer until the sender is used, so that what comes now waits together.
async fn hold_writer(store: &Arc<SqlStore>) -> oneshot::Sender<()> {
    let (release, released) = oneshot::channel::<()>();
    let (began, begun) = oneshot::channel();
    let store = Arc::clone(store);
    tokio::spawn(async move {
        store
            .sqlite()
            .write("test.hold", move |_| {
                Box::pin(async move {
                    let _ = began.send(());
                    let _ = released.await;
                    Ok(())
                })
            })
            .await
    });
    begun.await.unwrap();
    release
}

/// Lets every task that was spawned put its command into the queue.
async fn queue_up() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn commands_that_wait_together_share_one_commit() {
    let test = testing::sqlite().await;
    let release = hold_writer(&test.store).await;
    let before = test.store.writer_stats().unwrap();
    let submissions: Vec<_> = (0..50)
        .map(|_| {
            let store = Arc::clone(&test.store);
            tokio::spawn(async move { store.submit(testing::message(&["+99910200"])).await })
        })
        .collect();
    queue_up().await;
    release.send(()).unwrap();
    for submission in submissions {
        submission.await.unwrap().unwrap();
    }
    let after = test.store.writer_stats().unwrap();
    assert_eq!(after.commands - before.commands, 51);
    assert_eq!(after.transactions - before.transactions, 2, "the one that was held, and one for all the others");
    assert_eq!(test.store.counts().await.unwrap().faxes["accepted"], 50);
}

#[tokio::test]
async fn a_refused_command_leaves_the_others_of_its_transaction_alone() {
    let test = testing::sqlite().await;
    let release = hold_writer(&test.store).await;
    let submissions: Vec<_> = (0..9)
        .map(|n| {
            let store = Arc::clone(&test.store);
            let mut message = testing::message(&["+99910200", "+99910486"]);
            if n % 3 == 1 {
                // Refused at its second fax, when the rest of it is written already.
                message.faxes[1].id = message.faxes[0].id;
            }
            tokio::spawn(async move { store.submit(message).await })
        })
        .collect();
    queue_up().await;
    release.send(()).unwrap();
    for (n, submission) in submissions.into_iter().enumerate() {
        let result = submission.await.unwrap();
        assert_eq!(result.is_ok(), n % 3 != 1, "{n}: {result:?}");
    }
    assert_eq!(test.store.counts().await.unwrap().faxes["accepted"], 12);
}

#[tokio::test]
async fn a_command_whose_caller_has_gone_does_not_take_effect() {
    let test = testing::sqlite().await;
    let release = hold_writer(&test.store).await;
    let store = Arc::clone(&test.store);
    let gone = tokio::spawn(async move { store.submit(testing::message(&["+99910200"])).await });
    queue_up().await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    release.send(()).unwrap();
    test.store.check_writable().await.unwrap();
    assert_eq!(test.store.counts().await.unwrap().faxes["accepted"], 0);
}

#[tokio::test]
async fn a_panic_in_a_command_fails_its_transaction_and_nothing_else() {
    let test = testing::sqlite().await;
    let panicked: Result<()> = test
        .store
        .write("test.panic", |tx| {
            Box::pin(async move {
                sqlx::query("INSERT INTO probe VALUES (1, 1)").execute(tx.conn.sqlite()).await.place("test.panic")?;
                panic!("a bug")
            })
        })
        .await;
    assert!(matches!(panicked, Err(StoreError::Unavailable(_))), "{panicked:?}");
    let probes: i64 =
        sqlx::query_scalar("SELECT count(*) FROM probe").fetch_one(&mut foreign(&test).await).await.unwrap();
    assert_eq!(probes, 0);
    test.store.check_writable().await.unwrap();
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_broken_off_and_the_writer_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let settings = SqliteSettings { statement_timeout: Duration::from_millis(300), ..SqliteSettings::default() };
    let store = SqlStore::open_sqlite(directory.path().join("faxwell.db"), ManualClock::new(), settings).await.unwrap();
    let stuck: Result<()> = store.write("test.stuck", |_| Box::pin(std::future::pending())).await;
    assert!(matches!(stuck, Err(StoreError::Unavailable(_))), "{stuck:?}");
    eventually(|| store.check_writable()).await;
}

#[tokio::test]
async fn a_file_that_somebody_locks_is_unavailable_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("faxwell.db");
    let settings = SqliteSettings { busy_timeout: Duration::from_millis(20), ..SqliteSettings::default() };
    let store = SqlStore::open_sqlite(&path, ManualClock::new(), settings).await.unwrap();
    let mut foreign = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut foreign).await.unwrap();
    let message = testing::message(&["+99910200"]);
    let refused = store.submit(message.clone()).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert!(store.message(message.id).await.is_err(), "reading goes on, and nothing is there");
    sqlx::raw_sql("ROLLBACK").execute(&mut foreign).await.unwrap();
    assert!(matches!(store.submit(message).await, Ok(Submitted::Accepted { .. })));
    assert!(store.writer_stats().unwrap().failures > 0);
}

#[tokio::test]
async fn a_full_disk_leaves_nothing_half_done_and_the_writer_recovers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("faxwell.db");
    let settings = SqliteSettings { file_size_bytes_max: 1 << 20, ..SqliteSettings::default() };
    let store = SqlStore::open_sqlite(&path, ManualClock::new(), settings).await.unwrap();
    // Documents that nobody names: what is removed later to make room.
    ballast(&store, 20).await;
    let mut accepted = Vec::new();
    let refused = loop {
        let mut message = testing::message(&["+99910200", "+99910486"]);
        message.raw = testing::document(&[accepted.len() as u8; 16_000]);
        match store.submit(message.clone()).await {
            Ok(_) => accepted.push(message.id),
            Err(error) => break (message, error),
        }
        assert!(accepted.len() < 200, "the limit does not hold");
    };
    let (message, error) = refused;
    assert!(
        matches!(&error, StoreError::Unavailable(why) if why.contains("full") && why.contains("make room")),
        "{error}"
    );
    assert!(store.message(message.id).await.is_err(), "nothing half done");
    for id in &accepted {
        store.message(*id).await.unwrap();
    }
    assert_eq!(store.counts().await.unwrap().faxes["accepted"], 2 * accepted.len() as u64);
    let before = store.writer_stats().unwrap();
    for _ in 0..3 {
        store.owe_delayed(Duration::from_secs(3600), "fax.example.com", 9).await.expect("there is nothing to write");
        store.submit(message.clone()).await.unwrap_err();
    }
    let after = store.writer_stats().unwrap();
    assert_eq!((after.transactions, after.failures), (before.transactions + 3, before.failures + 3));
    assert_eq!(after.outages, 1, "one outage, told once");

    store
        .write("test.make_room", |tx| {
            Box::pin(async move {
                let removed =
                    sqlx::query("DELETE FROM documents WHERE media = 'ballast'").execute(tx.conn.sqlite()).await;
                removed.place("test.make_room").map(|_| ())
            })
        })
        .await
        .unwrap();
    assert!(matches!(store.submit(message).await, Ok(Submitted::Accepted { .. })));
}

async fn ballast(store: &SqlStore, count: u8) {
    store
        .write("test.ballast", move |tx| {
            Box::pin(async move {
                for n in 0..count {
                    let mut document = testing::document(&[255 - n; 16_384]);
                    document.media = "ballast".to_owned();
                    sql::intake::put_document(tx, &document).await?;
                }
                Ok(())
            })
        })
        .await
        .unwrap();
}

async fn eventually<F: Future<Output = Result<()>>>(mut attempt: impl FnMut() -> F) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while let Err(error) = attempt().await {
        assert!(std::time::Instant::now() < deadline, "{error}");
        tokio::task::yield_now().await;
    }
}
