use std::path::PathBuf;

use super::*;
use crate::documents::{DocumentsSettings, path_in};
use crate::domain::Outcome;
use crate::store::testing::{self, TestStore};
use crate::store::{DocumentRef, RenderedPages, StoredDocument};

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
    let retention = Arc::new(Retention::new(store, documents.clone(), retain));
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
        file.set_modified(file_time(now, by)).unwrap();
    }

    fn file(&self, key: &DocumentKey) -> PathBuf {
        path_in(self.documents.directory(), key)
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
            let tidied = self.retention.step().await.unwrap();
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
    bench.test.store.mark_unreferenced(None, 1000, FILES_WAIT).await.unwrap();
    bench.test.clock.advance(DAY * 2);
    assert!(bench.test.store.sweep_documents(1000).await.unwrap().contains(&forgotten.key));
    assert!(bench.file(&forgotten.key).exists());
    assert_eq!(bench.run().await.files, 1);

    // A crash after a put and before its row, and one in the middle of a put.
    let orphan = bench.put(3).await;
    let half = bench.file(&orphan.key).with_extension("").to_string_lossy().into_owned() + "#1";
    std::fs::write(&half, b"half of it").unwrap();
    std::fs::File::options().write(true).open(&half).unwrap().set_modified(file_time(now, DAY)).unwrap();
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
    assert_eq!(bench.documents.remove(&[orphan.key], since).await.unwrap().files, 0);
    assert!(bench.file(&orphan.key).exists());
}

#[tokio::test]
async fn puts_and_removals_of_the_same_bytes_at_once_never_lose_a_named_document() {
    let bench = bench().await;
    let key = bench.put(1).await.key;
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    for _ in 0..100 {
        if let Ok(file) = std::fs::File::options().write(true).open(bench.file(&key)) {
            file.set_modified(old).unwrap();
        }
        let (documents, other) = (bench.documents.clone(), bench.documents.clone());
        let put = tokio::spawn(async move { documents.put(bytes(1), "image/tiff").await.unwrap() });
        let removed = tokio::spawn(async move { other.remove(&[key], old + DAY).await.unwrap() });
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
    let kept = bench.documents.keep().await;
    let tidied = bench.run().await;
    assert_eq!((tidied.pruned.documents, tidied.files), (2, 0));
    assert!(bench.file(&pages.key).exists());
    drop(kept);
    assert_eq!(bench.run().await.files, 1, "the next run finds it");
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
    assert!(matches!(bench.test.store.document(&pages.key).await.unwrap(), StoredDocument::Repository { .. }));
    bench.run().await;
    assert_eq!(bench.documents.get(&pages.key).await.unwrap(), bytes(1));
}
