//! Copies of a whole store between files: the same code takes an installation to PostgreSQL and back.

use super::retention::two_faxes;
use super::schema::foreign;
use crate::store::sql::Conn;
use crate::store::testing;
use crate::store::*;

async fn copied_to(test: &testing::TestStore, name: &str) -> Result<std::path::PathBuf> {
    let (from, to) = (test.directory.path().join("faxwell.db"), test.directory.path().join(name));
    let mut source = sqlite::verify::open_file(&from).await?;
    sqlite::verify::begin(&mut source).await?;
    copy::into_file(&mut source, to.clone(), Timestamp(1)).await?;
    Ok(to)
}

#[tokio::test]
async fn a_copy_has_every_row_and_is_a_store_that_goes_on() {
    let test = testing::sqlite().await;
    two_faxes(&test).await;
    let to = copied_to(&test, "copy.db").await.unwrap();
    let mut inspection = Inspection::open(&to).await.unwrap();
    assert_eq!(inspection.broken().await.unwrap(), []);
    inspection.close().await;
    let copy = SqlStore::open_sqlite(&to, test.clock.clone(), SqliteSettings::default()).await.unwrap();
    let all = FaxFilter::default();
    assert_eq!(test.store.faxes(&all).await.unwrap(), copy.faxes(&all).await.unwrap());
    let events = |store| async move { SqlStore::events(store, EventsOf::All, 0, 2000).await.unwrap() };
    assert_eq!(events(&test.store).await, events(&copy).await);
    // The rules watch again, and events are counted on.
    let newest = events(&copy).await.last().unwrap().seq;
    copy.submit(testing::message(&["+99910003"])).await.unwrap();
    assert!(events(&copy).await.last().unwrap().seq > newest);
    let mut conn = sqlite::verify::open_file(&to).await.unwrap();
    assert_eq!(triggers(&mut conn).await, triggers(&mut Conn::Sqlite(foreign(&test).await)).await);
}

#[tokio::test]
async fn a_store_that_holds_something_takes_nothing_over() {
    let test = testing::sqlite().await;
    two_faxes(&test).await;
    copied_to(&test, "copy.db").await.unwrap();
    let refused = copied_to(&test, "copy.db").await.unwrap_err().to_string();
    assert!(refused.contains("documents holds rows already"), "{refused}");
}

#[tokio::test]
async fn every_table_is_copied_or_named_as_one_that_is_not() {
    let test = testing::sqlite().await;
    let mut connection = foreign(&test).await;
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";
    let found: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap();
    let mut known: Vec<&str> =
        copy::TABLES.iter().map(|(name, _)| *name).chain(copy::NOT_COPIED.iter().copied()).collect();
    known.sort_unstable();
    assert_eq!(found, known);
}

async fn triggers(conn: &mut Conn) -> Vec<String> {
    let sql = "SELECT sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name";
    sqlx::query_scalar(sql).fetch_all(conn.sqlite()).await.unwrap()
}
