//! A process that is killed: what it was told is stored is stored.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::super::*;
use crate::domain::SystemClock;
use crate::store::testing::{self, ManualClock};
use crate::store::*;

const STORE_OF_CHILD: &str = "FAXWELL_TEST_STORE";
/// The child is killed when it has acknowledged this many messages.
const ACKNOWLEDGED: usize = 60;

/// Not a test of its own: what the killed process does, under the name that the test below starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs as the child of killed_in_the_middle_of_its_commits_it_keeps_every_acknowledged_message"]
async fn child_that_submits_until_it_is_killed() {
    let Some(path) = std::env::var_os(STORE_OF_CHILD) else { return };
    let store = SqlStore::open_sqlite(path, Arc::new(SystemClock), SqliteSettings::default()).await.unwrap();
    let store = Arc::new(store);
    let submitters: Vec<_> = (0..8)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                // Far more than the parent waits for: an end for the case that nobody kills it.
                for _ in 0..5000 {
                    let message = testing::message(&["+99910200", "+99910486"]);
                    let id = message.id;
                    store.submit(message).await.unwrap();
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "acknowledged {id}").and_then(|()| out.flush()).unwrap();
                }
            })
        })
        .collect();
    for submitter in submitters {
        submitter.await.unwrap();
    }
}

#[tokio::test]
async fn killed_in_the_middle_of_its_commits_it_keeps_every_acknowledged_message() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("faxwell.db");
    let child = "store::sqlite::tests::crash::child_that_submits_until_it_is_killed";
    for round in 1..=3u64 {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([child, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env(STORE_OF_CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut acknowledged = Vec::new();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(|line| line.ok());
        let mut id_of = |line: String| -> Option<MessageId> {
            line.split_once("acknowledged ").map(|(_, id)| id.trim().parse().unwrap())
        };
        acknowledged.extend(lines.by_ref().filter_map(&mut id_of).take(ACKNOWLEDGED));
        process.kill().unwrap();
        process.wait().unwrap();
        // What it had written into the pipe before it died was acknowledged too; a cut line was not.
        acknowledged.extend(lines.filter(|line| line.len() == "acknowledged ".len() + 36).filter_map(id_of));
        assert!(acknowledged.len() >= ACKNOWLEDGED, "round {round}: only {}", acknowledged.len());

        let store = SqlStore::open_sqlite(&path, ManualClock::new(), SqliteSettings::default()).await.unwrap();
        for id in &acknowledged {
            store.message(*id).await.unwrap_or_else(|e| panic!("round {round}: an acknowledged message is gone: {e}"));
        }
        whole(&path).await;
        store.close().await;
    }
}

/// The file is sound, and no message is without its faxes.
async fn whole(path: &Path) {
    let mut connection =
        open::connect(&open::options(path, &SqliteSettings::default()), Duration::from_secs(20)).await.unwrap();
    let check: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await.unwrap();
    assert_eq!(check, "ok");
    let broken: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pragma_foreign_key_check").fetch_one(&mut connection).await.unwrap();
    assert_eq!(broken, 0);
    let halves: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM messages m WHERE (SELECT count(*) FROM faxes WHERE message_id = m.id) <> 2
            OR (SELECT count(*) FROM events e JOIN faxes f ON f.id = e.fax_id WHERE f.message_id = m.id) <> 2",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(halves, 0);
}
