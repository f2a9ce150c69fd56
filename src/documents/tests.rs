use std::path::Path;
use std::time::SystemTime;

use super::*;
use crate::domain::{Clock as _, SystemClock};
use crate::store::testing::{self, TestStore};
use crate::store::{SqlStore, SqliteSettings};

mod s3;

struct Bench {
    test: TestStore,
    documents: Documents,
}

/// How documents are kept in a case.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kept {
    Clear,
    Sealed,
}

const BOTH: [Kept; 2] = [Kept::Clear, Kept::Sealed];

/// A file with one key more.
fn add_key(folder: &Path, day: &str) -> PathBuf {
    let file = folder.join("store.keys");
    let before = std::fs::read_to_string(&file).unwrap_or_default();
    std::fs::write(&file, format!("{before}{}\n", KeyRing::new_line(day))).unwrap();
    file
}

/// Files carry the machine's time, and a store's clock never goes back.
async fn store_of_today() -> TestStore {
    let directory = tempfile::tempdir().unwrap();
    let clock = testing::ManualClock::new();
    clock.set(SystemClock.now());
    let path = directory.path().join("faxwell.db");
    let store = SqlStore::open_sqlite(path, clock.clone(), SqliteSettings::default()).await.unwrap();
    TestStore { store: Arc::new(store), clock, directory }
}

async fn bench(settings: DocumentsSettings) -> Bench {
    let test = store_of_today().await;
    let store: Arc<dyn Store> = test.store.clone();
    let documents = Documents::open(test.directory.path().join("documents"), store, settings).unwrap();
    Bench { test, documents }
}

async fn kept(kept: Kept) -> Bench {
    let mut bench = bench(small_disk_settings()).await;
    if kept == Kept::Sealed {
        bench.seal_from_now("2026-01-01");
    }
    bench
}

fn small_disk_settings() -> DocumentsSettings {
    DocumentsSettings { free_bytes_min: 0, ..DocumentsSettings::default() }
}

fn bytes(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed) ^ (i >> 8) as u8).collect()
}

impl Bench {
    /// Stores a message that names the document, as intake does.
    async fn name(&self, document: &DocumentRef) {
        let mut message = testing::message(&["+99910200"]);
        message.raw = document.clone();
        self.test.store.submit(message).await.unwrap();
    }

    async fn put(&self, bytes: Vec<u8>) -> DocumentRef {
        let put = self.documents.put(bytes, "image/tiff").await.unwrap();
        self.name(&put).await;
        put
    }

    fn file_of(&self, document: &DocumentRef) -> PathBuf {
        let name = document.placement.object(&document.key).unwrap();
        path_in(self.documents.repository().directory().unwrap(), &name)
    }

    /// The gateway starts again with one key more.
    fn seal_from_now(&mut self, day: &str) {
        let file = add_key(self.test.directory.path(), day);
        let keys = Some(Arc::new(KeyRing::read(&file).unwrap()));
        let settings = DocumentsSettings { keys, ..small_disk_settings() };
        let place = self.test.directory.path().join("documents");
        self.documents = Documents::open(place, self.test.store.clone(), settings).unwrap();
    }

    /// Every file of a document, wherever it lies.
    fn files(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.documents.repository().directory().unwrap().to_owned()];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files
    }

    async fn row(&self, key: &DocumentKey) -> Placement {
        self.documents.placement(key).await.unwrap().1
    }
}

#[tokio::test]
async fn what_was_put_is_got_whether_inline_or_in_a_file() {
    for how in BOTH {
        let bench = kept(how).await;
        for len in [0, 1, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, 300_000] {
            let put = bench.put(bytes(len, 7)).await;
            assert_eq!(put.size_bytes, len as u64);
            assert_eq!(put.placement.inline.is_some(), len <= INLINE_BYTES_MAX, "{how:?} {len} bytes");
            assert_eq!(put.placement.sealed.is_some(), how == Kept::Sealed, "{how:?} {len} bytes");
            assert_eq!(bench.documents.get(&put.key).await.unwrap(), bytes(len, 7), "{how:?} {len} bytes");
            assert!(bench.documents.keeps(&put).await.unwrap());
        }
        assert_eq!(bench.files().len(), 2, "{how:?}");
    }
}

#[tokio::test]
async fn nothing_of_a_sealed_document_can_be_read_and_its_name_tells_nothing() {
    let bench = kept(Kept::Sealed).await;
    let (small, large) = (bytes(5_000, 1), bytes(100_000, 2));
    let mut found = 0;
    for plain in [&small, &large] {
        let put = bench.put(plain.clone()).await;
        let stored = match &put.placement.inline {
            Some(inline) => inline.clone(),
            None => std::fs::read(bench.file_of(&put)).unwrap(),
        };
        assert!(!stored.windows(16).any(|w| w == &plain[1000..1016]));
        found += bench.files().iter().filter(|file| file.to_string_lossy().contains(&put.key.to_string())).count();
    }
    assert_eq!(found, 0);
}

#[tokio::test]
async fn many_puts_of_the_same_bytes_make_one_file_or_one_row() {
    for how in BOTH {
        let bench = kept(how).await;
        let puts = (0..24).map(|_| {
            let documents = bench.documents.clone();
            tokio::spawn(async move { documents.put(bytes(100_000, 1), "image/tiff").await })
        });
        let mut put = Vec::new();
        for one in puts.collect::<Vec<_>>() {
            put.push(one.await.unwrap().unwrap());
        }
        assert!(put.iter().all(|one| one.key == put[0].key));
        for one in &put {
            bench.name(one).await;
        }
        assert_eq!(bench.row(&put[0].key).await, put[0].placement, "the first row wins");
        assert_eq!(bench.documents.get(&put[0].key).await.unwrap(), bytes(100_000, 1));
        // The files of the others no row needs: the sweep takes them in a day.
        assert_eq!(bench.files().len(), if how == Kept::Clear { 1 } else { 24 }, "no half-written file stays");
        let again = bench.documents.put(bytes(100_000, 1), "image/tiff").await.unwrap();
        assert_eq!(again.placement, put[0].placement, "what is known is not written again");
    }
}

#[tokio::test]
async fn a_known_document_that_is_old_is_written_anew_so_that_nobody_takes_it_away() {
    let bench = kept(Kept::Sealed).await;
    let first = bench.put(bytes(60_000, 5)).await;
    bench.test.clock.advance(NAMED_AGAIN_WAIT + Duration::from_secs(60));
    let second = bench.documents.put(bytes(60_000, 5), "image/tiff").await.unwrap();
    assert_ne!(second.placement, first.placement);
    bench.name(&second).await;
    assert_eq!(bench.row(&first.key).await, first.placement, "the row that is there keeps what it has");
    assert_eq!(bench.documents.get(&first.key).await.unwrap(), bytes(60_000, 5));
}

#[tokio::test]
async fn a_damaged_document_is_an_error_that_names_it_and_putting_it_again_mends_it() {
    for how in BOTH {
        let bench = kept(how).await;
        let put = bench.put(bytes(50_000, 3)).await;
        let file = bench.file_of(&put);
        let whole = std::fs::read(&file).unwrap();
        let mut flipped = whole.clone();
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
                Err(DocumentsError::Damaged { key, .. }) => assert_eq!(key, put.key, "{how:?} {what}"),
                other => panic!("{how:?} {what}: {other:?}"),
            }
        }
        bench.documents.put(bytes(50_000, 3), "image/tiff").await.unwrap();
        assert_eq!(bench.documents.get(&put.key).await.unwrap(), bytes(50_000, 3), "{how:?}");
        assert_eq!(std::fs::read(&file).unwrap(), whole, "the same octets once more");

        std::fs::write(&file, &flipped[..100]).unwrap();
        bench.documents.put(bytes(50_000, 3), "image/tiff").await.unwrap();
        assert_eq!(bench.documents.get(&put.key).await.unwrap(), bytes(50_000, 3), "a cut file is replaced");
    }
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
    assert_eq!(full.files(), Vec::<PathBuf>::new());
    assert!(full.documents.check().await.is_err());
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

#[tokio::test]
async fn a_check_tells_when_the_directory_takes_nothing_any_more() {
    let bench = bench(small_disk_settings()).await;
    bench.documents.check().await.unwrap();
    assert_eq!(bench.files(), Vec::<PathBuf>::new(), "the check leaves nothing");
    let fresh = self::bench(small_disk_settings()).await;
    std::fs::remove_dir(fresh.documents.repository().directory().unwrap()).unwrap();
    let error = fresh.documents.check().await.unwrap_err();
    assert!(matches!(error, DocumentsError::Unavailable(_)), "{error}");
}

#[tokio::test]
async fn what_lay_in_the_clear_is_sealed_and_the_old_files_are_needed_by_nobody() {
    let mut bench = kept(Kept::Clear).await;
    let mut put = Vec::new();
    for seed in 0..5 {
        put.push(bench.put(bytes(40_000, seed)).await);
        put.push(bench.put(bytes(900, seed)).await);
    }
    assert!(matches!(bench.documents.seal_some(None).await, Err(DocumentsError::Keys(_))), "there are no keys yet");
    bench.seal_from_now("2026-01-01");
    std::fs::write(bench.file_of(&put[0]), "damaged").unwrap();
    let progress = bench.documents.seal_some(None).await.unwrap();
    assert_eq!(progress, Progress { done: 9, damaged: 1, next: None });
    for document in &put[1..] {
        let row = bench.row(&document.key).await;
        assert!(row.sealed.is_some() && row.inline.is_some() == document.placement.inline.is_some());
        let seed = put.iter().position(|one| one.key == document.key).unwrap() as u8 / 2;
        let len = document.size_bytes as usize;
        assert_eq!(bench.documents.get(&document.key).await.unwrap(), bytes(len, seed));
        if let Some(old) = document.placement.object(&document.key) {
            assert_eq!(bench.test.store.needed_objects(&[old]).await.unwrap(), []);
        }
    }
    assert_eq!(bench.documents.seal_some(None).await.unwrap().done, 0, "again does nothing");
}

#[tokio::test]
async fn keys_change_hands_without_the_documents_and_the_old_line_may_go_then() {
    let mut bench = kept(Kept::Sealed).await;
    let (large, small) = (bench.put(bytes(40_000, 1)).await, bench.put(bytes(900, 2)).await);
    let before = std::fs::read(bench.file_of(&large)).unwrap();
    bench.seal_from_now("2027-01-01");
    let newer = bench.put(bytes(40_000, 3)).await;
    assert!(newer.placement.sealed.as_ref().unwrap().by.starts_with("2027"));
    let progress = bench.documents.rewrap_some(None).await.unwrap();
    assert_eq!(progress, Progress { done: 2, damaged: 0, next: None });
    assert_eq!(std::fs::read(bench.file_of(&large)).unwrap(), before);
    assert_eq!(bench.documents.rewrap_some(None).await.unwrap().done, 0, "again does nothing");

    let file = bench.test.directory.path().join("store.keys");
    let lines = std::fs::read_to_string(&file).unwrap();
    let (old, new) = lines.split_once('\n').unwrap();
    std::fs::write(&file, new).unwrap();
    bench.documents.repository().keys().unwrap().read_again().unwrap();
    bench.documents.check_keys().await.unwrap();
    for (document, plain) in [(&large, bytes(40_000, 1)), (&small, bytes(900, 2)), (&newer, bytes(40_000, 3))] {
        assert_eq!(bench.documents.get(&document.key).await.unwrap(), plain);
    }

    std::fs::write(&file, old).unwrap();
    bench.documents.repository().keys().unwrap().read_again().unwrap();
    let error = bench.documents.check_keys().await.unwrap_err().to_string();
    assert!(error.contains("lacks the key \"2027-01-01") && error.contains("3 documents"), "{error}");
    let refused = bench.documents.get(&large.key).await;
    assert!(matches!(refused, Err(DocumentsError::KeyMissing { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_removal_that_a_crash_broke_off_is_undone() {
    let bench = kept(Kept::Clear).await;
    let put = bench.put(bytes(40_000, 4)).await;
    let file = bench.file_of(&put);
    let aside = file.with_file_name(format!("{}#gone", put.key));
    std::fs::rename(&file, &aside).unwrap();
    let repository = bench.documents.repository();
    let later = SystemClock.now().plus(OBJECTS_WAIT).to_system();
    let listed = repository.list_old(put.key.0[0], None, SystemTime::UNIX_EPOCH, later).await.unwrap();
    assert_eq!(listed.unfinished.len(), 1);
    repository.tidy(listed.unfinished, later).await.unwrap();
    assert!(!aside.exists());
    assert_eq!(bench.documents.get(&put.key).await.unwrap(), bytes(40_000, 4));
}
