use std::path::PathBuf;
use std::time::SystemTime;

use super::*;
use crate::documents::{DocumentsSettings, KeyRing, path_in};
use crate::domain::Outcome;
use crate::store::testing::{self, TestStore};
use crate::store::{DocumentKey, DocumentRef, RenderedPages, StoredDocument};

const DAY: Duration = Duration::from_secs(24 * 3600);
const LEASE: Duration = Duration::from_secs(60);

struct Bench {
    test: TestStore,
    documents: Documents,
    retention: Arc<Retention>,
}

/// Pages for 30 days, records for 400; files become as old as the store's clock says.
async fn bench() -> Bench {
    let test = testing::sqlite().await;
    let store: Arc<dyn Store> = test.store.clone();
    let settings = DocumentsSettings { free_bytes_min: 0, ..DocumentsSettings::default() };
    let documents = Documents::open(test.directory.path().join("documents"), Arc::clone(&store), settings).unwrap();
    let retain = RetainConfig { images: DAY * 30, records: DAY * 400 };
    let retention = Arc::new(Retention::new(store, documents.clone(), retain, testing::owner("gw-a")));
    Bench { test, documents, retention }
}

fn bytes(seed: u8) -> Vec<u8> {
    (0..50_000_u32).map(|i| (i % 251) as u8 ^ seed).collect()
}

impl Bench {
    /// A put in the time of the store's clock.
    async fn put(&self, seed: u8) -> DocumentRef {
        let put = self.documents.put(bytes(seed), "image/tiff").await.unwrap();
        self.age(&put.key, Duration::ZERO).await;
        put
    }

    async fn age(&self, key: &DocumentKey, by: Duration) {
        let now = self.test.store.now().await.unwrap();
        let file = std::fs::File::options().write(true).open(self.file(key)).unwrap();
        file.set_modified(now.minus(by).to_system()).unwrap();
    }

    fn file(&self, key: &DocumentKey) -> PathBuf {
        path_in(self.documents.repository().directory().unwrap(), &ObjectName::Content(*key))
    }

    /// A fax with these pages that has ended and was reported.
    async fn ended(&self, pages: &DocumentRef) {
        let (store, owner) = (&self.test.store, testing::owner("gw-a"));
        store.submit(testing::message(&["+99910200"])).await.unwrap();
        let work = store.claim_render(&owner, LEASE).await.unwrap().unwrap();
        let (fax, token) = (work.faxes[0].0.id, work.faxes[0].1);
        store.rendered(fax, token, RenderedPages { document: pages.clone(), page_count: 1 }).await.unwrap();
        let work = store.claim_calls(&owner, 1, LEASE).await.unwrap().remove(0);
        store.call_failed(fax, work.token, testing::end(Outcome::Failed)).await.unwrap();
        let work = store.claim_notices(&owner, 1, LEASE).await.unwrap().remove(0);
        store.notice_sent(work.notice.id, work.token, "mx1: 250").await.unwrap();
    }

    async fn run(&self) -> Tidied {
        loop {
            let tidied = self.retention.step().await.unwrap().expect("nobody else has the duty");
            if tidied.done {
                return tidied;
            }
        }
    }
}

#[tokio::test]
async fn pages_go_after_their_time_with_their_files_and_are_told_as_removed() {
    let bench = bench().await;
    let pages = bench.put(1).await;
    bench.ended(&pages).await;
    bench.test.clock.advance(DAY * 29);
    let tidied = bench.run().await;
    assert_eq!((tidied.pruned.documents, tidied.files), (0, 0));
    assert_eq!(bench.documents.get(&pages.key).await.unwrap(), bytes(1));
    bench.test.clock.advance(DAY * 2);
    assert_eq!(bench.retention.prunable(100).await.unwrap().documents, 2, "mail and pages");
    let tidied = bench.run().await;
    assert_eq!((tidied.pruned.documents, tidied.files, tidied.size_bytes), (2, 1, 50_000));
    let told = bench.documents.get(&pages.key).await.unwrap_err();
    assert!(told.is_pruned() && told.to_string().contains("removed on 2027-02-"), "{told}");
    assert!(!bench.file(&pages.key).exists());

    bench.test.clock.advance(DAY * 400);
    assert_eq!(bench.run().await.pruned.messages, 1);
    bench.test.clock.advance(DAY * 2);
    assert_eq!(bench.run().await.forgotten, 2);
    assert!(bench.test.store.document(&pages.key).await.is_err());
    assert_eq!(bench.retention.kept().await.documents, 0);
}

#[tokio::test]
async fn whatever_a_crash_leaves_the_next_run_finds() {
    let bench = bench().await;
    let (pruned, forgotten) = (bench.put(1).await, bench.put(2).await);
    bench.ended(&pruned).await;
    bench.ended(&forgotten).await;
    bench.test.clock.advance(DAY * 31);
    // A crash after the rows and before the files.
    let now = bench.test.store.now().await.unwrap();
    bench.test.store.prune(bench.retention.rules(now)).await.unwrap();
    assert!(bench.file(&pruned.key).exists());
    assert_eq!(bench.run().await.files, 2, "found by its own name");

    let forgotten = bench.put(2).await;
    bench.ended(&forgotten).await;
    bench.test.clock.advance(DAY * 401);
    let now = bench.test.store.now().await.unwrap();
    while !bench.test.store.prune(bench.retention.rules(now)).await.unwrap().is_nothing() {}
    bench.test.store.mark_unreferenced(None, 1000, OBJECTS_WAIT).await.unwrap();
    bench.test.clock.advance(DAY * 2);
    assert!(bench.test.store.sweep_documents(1000).await.unwrap().contains(&ObjectName::Content(forgotten.key)));
    assert!(bench.file(&forgotten.key).exists());
    assert_eq!(bench.run().await.files, 1);

    // A crash after a put and before its row, and one in the middle of a put.
    let orphan = bench.put(3).await;
    let half = bench.file(&orphan.key).with_extension("").to_string_lossy().into_owned() + "#1";
    std::fs::write(&half, b"half of it").unwrap();
    std::fs::File::options().write(true).open(&half).unwrap().set_modified(now.minus(DAY).to_system()).unwrap();
    assert_eq!(bench.run().await.files, 1, "the put may be about to be named, the half one is broken off");
    assert!(bench.file(&orphan.key).exists() && !std::path::Path::new(&half).exists());
    bench.test.clock.advance(DAY + Duration::from_secs(1));
    assert_eq!(bench.run().await.files, 1);
    assert!(!bench.file(&orphan.key).exists());
}

#[tokio::test]
async fn a_put_of_bytes_that_are_there_keeps_their_file() {
    let bench = bench().await;
    let orphan = bench.put(1).await;
    // Removing wants files older than this; the second put makes the file young.
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    std::fs::File::options().write(true).open(bench.file(&orphan.key)).unwrap().set_modified(old).unwrap();
    let since = old + DAY;
    bench.documents.put(bytes(1), "image/tiff").await.unwrap();
    assert_eq!(bench.documents.repository().remove(&[ObjectName::Content(orphan.key)], since).await.unwrap().files, 0);
    assert!(bench.file(&orphan.key).exists());
}

#[tokio::test]
async fn puts_and_removals_of_the_same_bytes_at_once_never_lose_a_named_document() {
    let bench = bench().await;
    let key = bench.put(1).await.key;
    // Another node: the directory alone is the same.
    let place = bench.test.directory.path().join("documents");
    let elsewhere = Documents::open(place, bench.test.store.clone(), DocumentsSettings::default()).unwrap();
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    for _ in 0..100 {
        if let Ok(file) = std::fs::File::options().write(true).open(bench.file(&key)) {
            file.set_modified(old).unwrap();
        }
        let (documents, other) = (bench.documents.clone(), elsewhere.clone());
        let put = tokio::spawn(async move { documents.put(bytes(1), "image/tiff").await.unwrap() });
        let removed =
            tokio::spawn(
                async move { other.repository().remove(&[ObjectName::Content(key)], old + DAY).await.unwrap() },
            );
        let put = put.await.unwrap();
        removed.await.unwrap();
        // From here a row may name it, so it must be there whatever came first.
        assert!(bench.file(&put.key).exists());
    }
    let mut message = testing::message(&["+99910200"]);
    message.raw = bench.documents.put(bytes(1), "image/tiff").await.unwrap();
    bench.test.store.submit(message).await.unwrap();
    assert_eq!(bench.documents.get(&key).await.unwrap(), bytes(1));
}

#[tokio::test]
async fn nothing_goes_while_somebody_copies() {
    let bench = bench().await;
    let pages = bench.put(1).await;
    bench.ended(&pages).await;
    bench.test.clock.advance(DAY * 31);
    let kept = bench.retention.pause().await.unwrap();
    assert_eq!(bench.retention.step().await.unwrap(), None);
    let refused = bench.retention.run_for(Duration::from_secs(1)).await.unwrap_err();
    assert!(refused.to_string().contains("a backup is being taken"), "{refused}");
    assert!(bench.file(&pages.key).exists());
    drop(kept);
    let tidied = bench.run().await;
    assert_eq!((tidied.pruned.documents, tidied.files), (2, 1));
}

#[tokio::test]
async fn a_document_that_was_removed_and_comes_again_is_whole() {
    let bench = bench().await;
    let pages = bench.put(1).await;
    bench.ended(&pages).await;
    bench.test.clock.advance(DAY * 31);
    bench.run().await;
    let again = bench.put(1).await;
    bench.ended(&again).await;
    assert_eq!(bench.documents.get(&pages.key).await.unwrap(), bytes(1));
    assert!(matches!(bench.test.store.document(&pages.key).await.unwrap(), StoredDocument::Kept { .. }));
    bench.run().await;
    assert_eq!(bench.documents.get(&pages.key).await.unwrap(), bytes(1));
}

#[tokio::test]
async fn one_node_at_a_time_removes_what_is_over() {
    let bench = bench().await;
    let other = Retention::new(
        bench.test.store.clone(),
        bench.documents.clone(),
        RetainConfig { images: DAY * 30, records: DAY * 400 },
        testing::owner("gw-b"),
    );
    let pages = bench.put(1).await;
    bench.ended(&pages).await;
    bench.test.clock.advance(DAY * 31);
    assert!(bench.retention.step().await.unwrap().is_some());
    assert_eq!(other.step().await.unwrap(), None, "the duty is the other node's");
    bench.test.clock.advance(DUTY_LEASE);
    assert!(other.step().await.unwrap().is_some(), "the duty of a node that is gone runs out");
    while !other.step().await.unwrap().unwrap().done {}
    assert!(!bench.file(&pages.key).exists());
}

#[tokio::test]
async fn a_backup_on_one_node_stops_the_others() {
    let bench = bench().await;
    let other = Retention::new(
        bench.test.store.clone(),
        bench.documents.clone(),
        RetainConfig { images: DAY * 30, records: DAY * 400 },
        testing::owner("gw-b"),
    );
    let kept = other.pause().await.unwrap();
    assert_eq!(bench.retention.step().await.unwrap(), None);
    drop(kept);
    bench.test.clock.advance(DUTY_LEASE);
    assert!(bench.retention.step().await.unwrap().is_some());
}

#[tokio::test]
async fn a_sealed_document_that_is_over_loses_its_key_and_what_is_left_of_it_stays_unreadable() {
    let mut bench = bench().await;
    let folder = bench.test.directory.path();
    let file = folder.join("store.keys");
    std::fs::write(&file, KeyRing::new_line("2027-01-01")).unwrap();
    let keys = Arc::new(KeyRing::read(&file).unwrap());
    let settings = DocumentsSettings { free_bytes_min: 0, keys: Some(keys), ..DocumentsSettings::default() };
    let store: Arc<dyn Store> = bench.test.store.clone();
    bench.documents = Documents::open(folder.join("sealed"), Arc::clone(&store), settings).unwrap();
    let retain = RetainConfig { images: DAY * 30, records: DAY * 400 };
    bench.retention = Arc::new(Retention::new(store, bench.documents.clone(), retain, testing::owner("gw-a")));

    let pages = bench.documents.put(bytes(1), "image/tiff").await.unwrap();
    bench.ended(&pages).await;
    let name = pages.placement.object(&pages.key).unwrap();
    let object = path_in(bench.documents.repository().directory().unwrap(), &name);
    let now = bench.test.store.now().await.unwrap();
    std::fs::File::options().write(true).open(&object).unwrap().set_modified(now.to_system()).unwrap();
    let copy = std::fs::read(&object).unwrap();
    bench.test.clock.advance(DAY * 31);
    assert_eq!(bench.run().await.files, 1);
    assert!(!object.exists());

    // An old version in a bucket, a backup of a disk.
    std::fs::write(&object, copy).unwrap();
    assert!(bench.documents.get(&pages.key).await.unwrap_err().is_pruned());
    let row = bench.test.store.document_rows(None, 100).await.unwrap().into_iter().find(|row| row.key == pages.key);
    assert_eq!(row.unwrap().placement.sealed, None, "its key is nowhere any more");
    assert_eq!(bench.test.store.sealers().await.unwrap(), []);
    assert!(bench.retention.prunable(10).await.unwrap().is_nothing());
}
