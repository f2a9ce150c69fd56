//! One process, one file, one schema.

use super::super::*;
use super::schema::foreign;
use crate::store::testing::{self, ManualClock};
use crate::store::*;

async fn open_at(path: &Path) -> Result<SqlStore> {
    SqlStore::open_sqlite(path, ManualClock::new(), SqliteSettings::default()).await
}

fn text<T>(result: Result<T>) -> String {
    result.err().expect("it must fail").to_string()
}

#[tokio::test]
async fn a_second_process_is_refused_and_told_who_has_the_store() {
    let test = testing::sqlite().await;
    let path = test.directory.path().join("faxwell.db");
    let second = open_at(&path).await;
    assert!(matches!(second, Err(StoreError::Unusable(_))));
    let told = text(second);
    assert!(told.contains(&format!("process {}", std::process::id())) && told.contains("fix:"), "{told}");

    test.store.close().await;
    assert!(matches!(test.store.check_writable().await, Err(StoreError::Unavailable(_))));
    let reopened = open_at(&path).await.unwrap();
    reopened.check_writable().await.unwrap();
}

#[tokio::test]
async fn nobody_else_may_read_the_files_of_a_store() {
    use std::os::unix::fs::PermissionsExt;
    let test = testing::sqlite().await;
    test.store.submit(testing::message(&["+99910200"])).await.unwrap();
    let files: Vec<_> = std::fs::read_dir(test.directory.path()).unwrap().map(|file| file.unwrap()).collect();
    assert!(files.len() >= 3, "database, log and lock: {files:?}");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", file.path());
    }
}

#[tokio::test]
async fn a_schema_that_this_program_does_not_know_is_unusable() {
    let later = |oldest| {
        format!(
            "INSERT INTO schema_history SELECT 2, 'later', checksum, 'contract', {oldest}, 1, 'a' FROM schema_history"
        )
    };
    let statements = [
        (later(2), "version 2, which needs"),
        ("UPDATE schema_history SET checksum = '00'".to_owned(), "another schema version 1"),
        (format!("{}; DELETE FROM schema_history WHERE version = 1", later(1)), "another schema version 1"),
        ("DELETE FROM schema_history".to_owned(), "no schema history"),
        ("DROP TABLE schema_history".to_owned(), "no schema history"),
    ];
    for (statement, words) in statements {
        let test = testing::sqlite().await;
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement.clone())).execute(&mut foreign(&test).await).await.unwrap();
        test.store.close().await;
        let reopened = open_at(&test.directory.path().join("faxwell.db")).await;
        assert!(matches!(reopened, Err(StoreError::Unusable(_))), "{statement}");
        let told = text(reopened);
        assert!(told.contains(words) && told.contains("fix:"), "{told}");
    }
}

#[tokio::test]
async fn a_store_that_newer_programs_have_extended_goes_on() {
    let test = testing::sqlite().await;
    let later = "INSERT INTO schema_history SELECT 2, 'later', checksum, 'expand', 1, 1, 'a' FROM schema_history";
    sqlx::raw_sql(later).execute(&mut foreign(&test).await).await.unwrap();
    test.store.close().await;
    open_at(&test.directory.path().join("faxwell.db")).await.unwrap().check_writable().await.unwrap();
}

#[tokio::test]
async fn what_is_no_store_is_told_with_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let told = text(open_at(&directory.path().join("missing/faxwell.db")).await);
    assert!(told.contains("missing") && told.contains("fix:"), "{told}");

    let path = directory.path().join("faxwell.db");
    std::fs::write(&path, "this is a text and no database, and it is long enough to be read as one.".repeat(99))
        .unwrap();
    let told = text(open_at(&path).await);
    assert!(told.contains("not a database"), "{told}");
}

#[tokio::test]
async fn a_commit_is_synced_and_references_are_checked() {
    let test = testing::sqlite().await;
    for (pragma, expected) in [("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 5000)] {
        let value: i64 = test
            .store
            .write("test.pragma", move |tx| {
                Box::pin(async move {
                    let sql = sqlx::AssertSqlSafe(format!("PRAGMA {pragma}"));
                    sqlx::query_scalar(sql).fetch_one(tx.conn.sqlite()).await.place("test.pragma")
                })
            })
            .await
            .unwrap();
        assert_eq!(value, expected, "{pragma}");
    }
    let mode: String = test
        .store
        .read("test.mode", |c| {
            Box::pin(async {
                sqlx::query_scalar("PRAGMA journal_mode").fetch_one(c.conn.sqlite()).await.place("test.mode")
            })
        })
        .await
        .unwrap();
    assert_eq!(mode, "wal");
    let written = test
        .store
        .read("test.write", |c| {
            Box::pin(async {
                sqlx::query("DELETE FROM probe").execute(c.conn.sqlite()).await.place("test.write").map(|_| ())
            })
        })
        .await;
    assert!(written.is_err(), "readers cannot write");
}
