use std::sync::Arc;

use super::*;
use crate::store::testing::{self, TestStore};

struct Bench {
    test: TestStore,
    documents: Documents,
}

async fn bench(settings: DocumentsSettings) -> Bench {
    let test = testing::sqlite().await;
    let store: Arc<dyn Store> = test.store.clone();
    let documents = Documents::open(test.directory.path().join("documents"), store, settings).unwrap();
    Bench { test, documents }
}

fn small_disk_settings() -> DocumentsSettings {
    DocumentsSettings { free_bytes_min: 0, ..DocumentsSettings::default() }
}

fn bytes(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect()
}

impl Bench {
    /// Stores a message that names the document, as intake does.
    async fn name(&self, document: &DocumentRef) {
        let mut message = testing::message(&["+99910200"]);
        message.raw = document.clone();
        self.test.store.submit(message).await.unwrap();
    }

    fn file_of(&self, key: &DocumentKey) -> PathBuf {
        self.documents.inner.directory.join(location(key).as_ref())
    }
}

#[tokio::test]
async fn what_was_put_is_got_whether_inline_or_in_a_file() {
    let bench = bench(small_disk_settings()).await;
    for len in [0, 1, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, 300_000] {
        let put = bench.documents.put(bytes(len, 7), "message/rfc822").await.unwrap();
        assert_eq!(put.size_bytes, len as u64);
        assert_eq!(put.inline.is_some(), len <= INLINE_BYTES_MAX, "{len} bytes");
        assert_eq!(bench.file_of(&put.key).exists(), len > INLINE_BYTES_MAX, "{len} bytes");
        bench.name(&put).await;
        assert_eq!(bench.documents.get(&put.key).await.unwrap(), bytes(len, 7), "{len} bytes");
    }
}

#[tokio::test]
async fn many_puts_of_the_same_bytes_make_one_file() {
    let bench = bench(small_disk_settings()).await;
    let puts = (0..24).map(|_| {
        let documents = bench.documents.clone();
        tokio::spawn(async move { documents.put(bytes(100_000, 1), "image/tiff").await })
    });
    let mut keys = std::collections::BTreeSet::new();
    for put in puts.collect::<Vec<_>>() {
        keys.insert(put.await.unwrap().unwrap().key);
    }
    assert_eq!(keys.len(), 1);
    let beside = std::fs::read_dir(bench.file_of(keys.first().unwrap()).parent().unwrap()).unwrap();
    assert_eq!(beside.count(), 1, "no half-written file stays");
}

#[tokio::test]
async fn a_damaged_document_is_an_error_that_names_it_and_putting_it_again_mends_it() {
    let bench = bench(small_disk_settings()).await;
    let put = bench.documents.put(bytes(50_000, 3), "image/tiff").await.unwrap();
    bench.name(&put).await;
    let file = bench.file_of(&put.key);

    let mut flipped = bytes(50_000, 3);
    flipped[25_000] ^= 1;
    type Damage<'a> = (&'a str, Box<dyn Fn() + 'a>);
    let cases: [Damage; 3] = [
        ("one bit", Box::new(|| std::fs::write(&file, &flipped).unwrap())),
        ("cut", Box::new(|| std::fs::write(&file, &flipped[..100]).unwrap())),
        ("missing", Box::new(|| std::fs::remove_file(&file).unwrap())),
    ];
    for (what, damage) in &cases {
        damage();
        match bench.documents.get(&put.key).await {
            Err(DocumentsError::Damaged { key, .. }) => assert_eq!(key, put.key, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
    bench.documents.put(bytes(50_000, 3), "image/tiff").await.unwrap();
    assert_eq!(bench.documents.get(&put.key).await.unwrap(), bytes(50_000, 3));

    std::fs::write(&file, &flipped[..100]).unwrap();
    bench.documents.put(bytes(50_000, 3), "image/tiff").await.unwrap();
    assert_eq!(bench.documents.get(&put.key).await.unwrap(), bytes(50_000, 3), "a cut file is replaced");
}

#[tokio::test]
async fn a_document_beyond_a_limit_is_refused_and_leaves_nothing() {
    let tight = DocumentsSettings { size_bytes_max: 20_000, ..small_disk_settings() };
    let refused = bench(tight).await.documents.put(bytes(20_001, 0), "text/plain").await;
    assert!(matches!(refused, Err(DocumentsError::TooLarge { size_bytes: 20_001, size_bytes_max: 20_000 })));

    let full = bench(DocumentsSettings { free_bytes_min: u64::MAX, ..DocumentsSettings::default() }).await;
    for len in [10, 50_000] {
        let refused = full.documents.put(bytes(len, 0), "text/plain").await;
        let Err(error @ DocumentsError::Full { .. }) = refused else { panic!("{len}: {refused:?}") };
        assert!(error.to_string().contains("make room"), "{error}");
    }
    assert_eq!(std::fs::read_dir(&full.documents.inner.directory).unwrap().count(), 0);
}

#[tokio::test]
async fn an_unknown_document_is_not_found() {
    let bench = bench(small_disk_settings()).await;
    let key = DocumentKey([9; 32]);
    assert!(matches!(bench.documents.get(&key).await, Err(DocumentsError::NotFound(found)) if found == key));
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_named() {
    let test = testing::sqlite().await;
    let file = test.directory.path().join("a-file");
    std::fs::write(&file, "x").unwrap();
    let Err(error) = Documents::open(file.join("below"), test.store.clone(), small_disk_settings()) else {
        panic!("a directory below a file");
    };
    assert!(error.to_string().contains("a-file"), "{error}");
}
