//! What the schema refuses whoever asks, what the audit finds, and that a full disk can still be emptied.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::super::*;
use super::schema::foreign;
use crate::domain::Outcome;
use crate::store::testing::{self, TestStore};
use crate::store::*;

const LEASE: Duration = Duration::from_secs(60);

/// A fax that was sent and reported, and one that waits for its pages.
pub(super) async fn two_faxes(test: &TestStore) {
    let owner = testing::owner("gw-a");
    send_one(test, &owner).await;
    test.store.submit(testing::message(&["+99910002"])).await.unwrap();
}

async fn send_one(test: &TestStore, owner: &Owner) {
    test.store.submit(testing::message(&["+99910001"])).await.unwrap();
    let work = test.store.claim_render(owner, LEASE).await.unwrap().unwrap();
    test.store.rendered(work.faxes[0].0.id, work.faxes[0].1, testing::pages(1)).await.unwrap();
    let work = test.store.claim_calls(owner, 1, LEASE).await.unwrap().remove(0);
    let attempt = testing::attempt(1);
    test.store.begin_attempt(work.fax.id, work.token, attempt.clone()).await.unwrap();
    test.store.page_confirmed(attempt.id, testing::confirmed(1)).await.unwrap();
    let next = Next::Final(testing::end(Outcome::Sent));
    test.store.end_attempt(attempt.id, work.token, AttemptEnd::default(), next).await.unwrap();
    let work = test.store.claim_notices(owner, 1, LEASE).await.unwrap().remove(0);
    test.store.notice_sent(work.notice.id, work.token, "mx1: 250").await.unwrap();
}

async fn run(connection: &mut SqliteConnection, sql: &str) -> std::result::Result<(), String> {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await;
    done.map(|_| ()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn no_program_can_remove_what_is_still_needed() {
    let test = testing::sqlite().await;
    two_faxes(&test).await;
    let mut connection = foreign(&test).await;
    let prune = |state: &str| {
        format!(
            "UPDATE documents SET pruned_at = 1, inline = NULL WHERE key IN
                (SELECT raw_document FROM messages m JOIN faxes f ON f.message_id = m.id WHERE f.state = '{state}')"
        )
    };
    let hold = |held: u8| format!("UPDATE faxes SET legal_hold = {held} WHERE state = 'sent'");
    let forget = "DELETE FROM events; DELETE FROM notices; DELETE FROM fax_pages; DELETE FROM attempts;
        DELETE FROM faxes WHERE state = 'sent'";
    let again = "INSERT INTO faxes SELECT 'x', 'F-X', message_id, recipient, number, NULL, NULL, NULL, NULL, NULL, 1, 1, 1,
        'accepted', 5, 1, 1, 1, NULL, NULL, 0, 0, 0, NULL, NULL, 1, NULL, NULL, NULL, 0, NULL, NULL, id, 1, NULL, NULL, NULL, 0
        FROM faxes WHERE state = 'sent'";
    let told = run(&mut connection, &prune("accepted")).await.unwrap_err();
    assert!(told.contains("still needs"), "{told}");
    run(&mut connection, &hold(1)).await.unwrap();
    let told = run(&mut connection, &prune("sent")).await.unwrap_err();
    assert!(told.contains("still needs"), "{told}");
    let told = run(&mut connection, &format!("BEGIN; {forget}; COMMIT")).await.unwrap_err();
    assert!(told.contains("legal hold"), "{told}");
    run(&mut connection, "ROLLBACK").await.unwrap();

    run(&mut connection, &hold(0)).await.unwrap();
    run(&mut connection, &format!("BEGIN; {again}; ROLLBACK")).await.unwrap();
    run(&mut connection, &prune("sent")).await.unwrap();
    let told = run(&mut connection, again).await.unwrap_err();
    assert!(told.contains("retention has removed"), "{told}");
}

#[tokio::test]
async fn the_audit_finds_every_broken_rule_and_nothing_in_a_whole_store() {
    let received =
        "DROP TRIGGER received_faxes_begin; INSERT INTO received_faxes (id, short_id, node, epoch, call_no, line,
        called_number, state, started_at, received_at, page_count, complete)
        VALUES ('r1', 'R-1', 'gw-a', 'e', 1, 'trunk1', '+41441234567', 'received', 1, 2, 1, 1)";
    let early = "INSERT INTO notices (id, fax_id, kind, state, recipient, header_message_id, created_at, not_before)
        SELECT 'n', id, 'failed', 'owed', 'a@b', 'm', 1, 1 FROM faxes WHERE state = 'accepted'";
    let table: [(&str, &[&str]); 9] = [
        ("DROP TRIGGER notices_stay; DELETE FROM notices", &["final-notice"]),
        (early, &["early-notice"]),
        ("DROP TRIGGER attempts_keep; UPDATE attempts SET ended_at = NULL", &["open-attempt"]),
        ("DELETE FROM fax_pages", &["confirmed-pages"]),
        ("DROP TRIGGER faxes_keep; UPDATE faxes SET pages_confirmed = 0", &["confirmed-pages", "true-end"]),
        (received, &["received-notice", "received-pages"]),
        ("DROP TRIGGER documents_prune; UPDATE documents SET pruned_at = 1, inline = NULL", &["pruned-too-early"]),
        ("PRAGMA foreign_keys = OFF; DELETE FROM documents", &["foreign-key"]),
        ("PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'faxes_newest'", &["integrity"]),
    ];
    for (damage, rules) in table {
        let test = testing::sqlite().await;
        two_faxes(&test).await;
        let path = test.directory.path().join("faxwell.db");
        let mut look = Inspection::open(&path).await.unwrap();
        assert_eq!(look.broken().await.unwrap(), [], "whole");
        look.close().await;
        run(&mut foreign(&test).await, damage).await.unwrap_or_else(|error| panic!("{damage}: {error}"));
        let mut look = Inspection::open(&path).await.unwrap();
        let found: BTreeSet<&str> = look.broken().await.unwrap().iter().map(|broken| broken.rule).collect();
        assert_eq!(found, BTreeSet::from_iter(rules.iter().copied()), "{damage}");
        look.close().await;
    }
}

#[tokio::test]
async fn a_copy_of_a_store_at_work_is_a_whole_store_and_needs_no_file_beside_it() {
    let test = testing::sqlite().await;
    two_faxes(&test).await;
    let folder = test.directory.path().join("copies");
    std::fs::create_dir(&folder).unwrap();
    let copy = folder.join("copy.db");
    test.store.backup_to(&copy).await.unwrap();
    // What comes after the copy is not in it.
    test.store.submit(testing::message(&["+99910003"])).await.unwrap();
    let mut look = Inspection::open(&copy).await.unwrap();
    assert_eq!(look.broken().await.unwrap(), []);
    assert_eq!(look.document_rows(None, 100).await.unwrap().len(), 3, "two mails and the pages of one");
    look.close().await;
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "no log and no lock");
    let none = Inspection::open(&folder.join("missing.db")).await;
    assert!(matches!(none, Err(StoreError::Unusable(_))));
    let reopened = SqlStore::open_sqlite(&copy, test.clock.clone(), SqliteSettings::default()).await.unwrap();
    assert_eq!(reopened.faxes(&FaxFilter::default()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_store_that_is_full_can_still_be_pruned_and_then_takes_mail_again() {
    let directory = tempfile::tempdir().unwrap();
    let clock = testing::ManualClock::new();
    let settings = SqliteSettings { file_size_bytes_max: 1 << 20, ..SqliteSettings::default() };
    let store = SqlStore::open_sqlite(directory.path().join("faxwell.db"), clock.clone(), settings).await.unwrap();
    let test = TestStore { store: Arc::new(store), clock, directory };
    let owner = testing::owner("gw-a");
    send_one(&test, &owner).await;
    send_one(&test, &owner).await;
    let large = || {
        let mut message = testing::message(&["+99910002"]);
        message.raw = testing::document(&[message.id.to_string().as_bytes(), &[7; 15_000]].concat());
        message
    };
    // Larger than what pruning two small faxes could make room for is not asked for: only that it works at all.
    let full = async {
        for _ in 0..200 {
            if let Err(error) = test.store.submit(large()).await {
                return error;
            }
        }
        panic!("a store of 1 MiB took 3 MB")
    };
    assert!(matches!(full.await, StoreError::Unavailable(_)));
    test.clock.advance(Duration::from_secs(24 * 3600));
    let now = test.store.now().await.unwrap();
    let rules = PruneRules { images_before: now, records_before: now, limit: 1 };
    let mut forgotten = 0;
    loop {
        let pruned = test.store.prune(rules).await.unwrap();
        if pruned.is_nothing() {
            break;
        }
        forgotten += pruned.messages;
    }
    assert_eq!(forgotten, 2);
    test.store.check_writable().await.unwrap();
    // Everything that waits ends, and with it goes what filled the store.
    while let Some(work) = test.store.claim_render(&owner, LEASE).await.unwrap() {
        let (fax, token) = (&work.faxes[0].0, work.faxes[0].1);
        let ended = test.store.render_failed(fax.id, token, testing::end(Outcome::Failed)).await;
        if ended.is_err() {
            break;
        }
        let work = test.store.claim_notices(&owner, 1, LEASE).await.unwrap().remove(0);
        test.store.notice_sent(work.notice.id, work.token, "mx1: 250").await.unwrap();
        test.clock.advance(Duration::from_secs(1));
        let now = test.store.now().await.unwrap();
        test.store.prune(PruneRules { images_before: now, records_before: now, limit: 1 }).await.unwrap();
        test.store.mark_unreferenced(None, 1000, Duration::ZERO).await.unwrap();
        test.store.sweep_documents(1000).await.unwrap();
    }
    test.store.submit(large()).await.unwrap();
}
