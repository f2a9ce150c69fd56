//! A whole installation moves between the engines.

use std::sync::Arc;
use std::time::Duration;

use crate::store::testing::{self, ManualClock, postgres};
use crate::store::*;

async fn open(database: &postgres::Database, clock: &Arc<ManualClock>) -> SqlStore {
    let mut settings = PostgresSettings::new(database.url());
    settings.clock = Some(clock.clone());
    SqlStore::open_postgres(settings).await.unwrap()
}

#[tokio::test]
async fn an_installation_moves_from_a_file_and_back_with_every_row() {
    let test = testing::sqlite().await;
    two_faxes(&test.store).await;
    let file = test.directory.path().join("faxwell.db");
    let database = postgres::fresh_database().await;
    let store = open(&database, &test.clock).await;
    let copied = store.take_over(&file).await.unwrap();
    let rows = |name: &str| copied.iter().find(|copied| copied.table == name).unwrap().rows;
    assert_eq!((rows("faxes"), rows("attempts"), rows("fax_pages")), (2, 1, 1));
    let all = FaxFilter::default();
    assert_eq!(store.faxes(&all).await.unwrap(), test.store.faxes(&all).await.unwrap());
    // It goes on there: the fax that waited is rendered, and events are counted on.
    let newest = store.events(EventsOf::All, 0, 2000).await.unwrap().last().unwrap().seq;
    let work = store.claim_render(&testing::owner("gw-b"), Duration::from_secs(60)).await.unwrap().unwrap();
    store.rendered(work.faxes[0].0.id, work.faxes[0].1, testing::pages(2)).await.unwrap();
    assert!(store.events(EventsOf::All, 0, 2000).await.unwrap().last().unwrap().seq > newest);
    let refused = store.take_over(&file).await.unwrap_err().to_string();
    assert!(refused.contains("holds rows already"), "{refused}");

    let back = test.directory.path().join("back.db");
    store.backup_to(&back).await.unwrap();
    let mut inspection = Inspection::open(&back).await.unwrap();
    assert_eq!(inspection.broken().await.unwrap(), []);
    inspection.close().await;
    let back = SqlStore::open_sqlite(&back, test.clock.clone(), SqliteSettings::default()).await.unwrap();
    assert_eq!(back.faxes(&all).await.unwrap(), store.faxes(&all).await.unwrap());
}

/// A fax that was sent and reported, and one that waits for its pages.
async fn two_faxes(store: &SqlStore) {
    let (owner, lease) = (testing::owner("gw-a"), Duration::from_secs(60));
    store.submit(testing::message(&["+99910001"])).await.unwrap();
    let work = store.claim_render(&owner, lease).await.unwrap().unwrap();
    store.rendered(work.faxes[0].0.id, work.faxes[0].1, testing::pages(1)).await.unwrap();
    let work = store.claim_calls(&owner, 1, lease).await.unwrap().remove(0);
    let attempt = testing::attempt(1);
    store.begin_attempt(work.fax.id, work.token, attempt.clone()).await.unwrap();
    store.page_confirmed(attempt.id, testing::confirmed(1)).await.unwrap();
    let next = Next::Final(testing::end(crate::domain::Outcome::Sent));
    store.end_attempt(attempt.id, work.token, AttemptEnd::default(), next).await.unwrap();
    let work = store.claim_notices(&owner, 1, lease).await.unwrap().remove(0);
    store.notice_sent(work.notice.id, work.token, "mx1: 250").await.unwrap();
    store.submit(testing::message(&["+99910002"])).await.unwrap();
}
