//! What a journal keeps through torn writes, full disks and restarts, and what the store has after it was told.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::store::testing::{self, ManualClock, TestStore};

const LEASE: Duration = Duration::from_secs(60);

struct Bench {
    directory: tempfile::TempDir,
    attempt: AttemptId,
}

impl Bench {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), attempt: AttemptId::new() }
    }

    fn open(&self) -> Journal {
        Journal::open(self.directory.path(), ManualClock::new()).unwrap()
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join(FILE)
    }

    fn write_pages(&self, pages: impl IntoIterator<Item = u32>) -> Vec<Entry> {
        let journal = self.open();
        pages.into_iter().map(|n| journal.write(self.attempt, page(n), Keep::Durably).unwrap()).collect()
    }

    /// Pages that a new life of the node finds.
    fn pages(&self) -> Vec<u32> {
        pages(&self.open())
    }
}

fn page(page: u32) -> JournalFact {
    JournalFact::Page(testing::confirmed(page))
}

fn pages(journal: &Journal) -> Vec<u32> {
    let number = |(_, record): &(Entry, Record)| match &record.fact {
        JournalFact::Page(page) => page.page,
        JournalFact::Fact(fact) => panic!("{fact:?}"),
    };
    journal.pending().iter().map(number).collect()
}

/// A fax of three pages with an open attempt.
async fn in_call(test: &TestStore) -> (crate::domain::FaxId, AttemptId) {
    let message = testing::message(&["+99910200"]);
    let fax = message.faxes[0].id;
    test.store.submit(message).await.unwrap();
    let work = test.store.claim_render(&testing::owner("gw-a"), LEASE).await.unwrap().unwrap();
    test.store.rendered(fax, work.faxes[0].1, testing::pages(3)).await.unwrap();
    let work = test.store.claim_calls(&testing::owner("gw-a"), 1, LEASE).await.unwrap().remove(0);
    let attempt = testing::attempt(1);
    test.store.begin_attempt(fax, work.token, attempt.clone()).await.unwrap();
    (fax, attempt.id)
}

#[test]
fn a_new_life_finds_what_the_store_has_not_taken_in_its_order() {
    let bench = Bench::new();
    assert_eq!(bench.pages(), [] as [u32; 0]);
    bench.write_pages([1, 2]);
    bench.write_pages([3]);
    assert_eq!(bench.pages(), [1, 2, 3]);
    let journal = bench.open();
    let entries: Vec<Entry> = journal.pending().iter().map(|(entry, _)| *entry).collect();
    journal.taken(entries[1]);
    assert_eq!(bench.pages(), [1, 2, 3], "told twice is harmless, told never is not");
    journal.taken(entries[0]);
    journal.taken(entries[2]);
    assert_eq!(fs::metadata(bench.file()).unwrap().len(), 0, "the store has everything");
    journal.write(bench.attempt, page(4), Keep::Lightly).unwrap();
    assert_eq!(bench.pages(), [4]);
}

#[test]
fn a_torn_tail_is_cut_off_wherever_it_was_torn() {
    let bench = Bench::new();
    bench.write_pages([1, 2]);
    let whole = fs::read(bench.file()).unwrap();
    let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for length in first..whole.len() {
        fs::write(bench.file(), &whole[..length]).unwrap();
        assert_eq!(bench.pages(), [1], "torn at {length}");
        assert_eq!(fs::metadata(bench.file()).unwrap().len(), first as u64);
        bench.write_pages([3]);
        assert_eq!(bench.pages(), [1, 3], "and what follows is whole");
    }
}

#[test]
fn a_damaged_record_is_skipped_and_those_around_it_are_not() {
    let bench = Bench::new();
    bench.write_pages([1, 2, 3]);
    let whole = fs::read(bench.file()).unwrap();
    let ends: Vec<usize> = whole.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at).collect();
    for at in ends[0] + 1..ends[1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(bench.file(), damaged).unwrap();
        assert_eq!(bench.pages(), [1, 3], "octet {at}");
    }
}

#[test]
fn what_this_version_does_not_know_keeps_the_node_from_starting_and_stays_where_it_is() {
    let bench = Bench::new();
    bench.write_pages([1]);
    let json = fs::read_to_string(bench.file()).unwrap()[9..].trim_end().replace("\"fact\":", "\"feature\":");
    let newer = format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes()));
    let before = [fs::read(bench.file()).unwrap(), newer.into_bytes()].concat();
    fs::write(bench.file(), &before).unwrap();
    let error = Journal::open(bench.directory.path(), ManualClock::new()).err().expect("it does not open").to_string();
    assert!(error.contains("record 2") && error.contains("fix: start the version that wrote it"), "{error}");
    assert_eq!(fs::read(bench.file()).unwrap(), before, "the version that wrote it finds it");
}

#[test]
fn a_file_that_is_too_large_to_be_read_whole_is_not_cut_off() {
    let bench = Bench::new();
    bench.write_pages([1]);
    let file = OpenOptions::new().write(true).open(bench.file()).unwrap();
    file.set_len(SIZE_BYTES_READ_MAX + 1).unwrap();
    let error = Journal::open(bench.directory.path(), ManualClock::new()).err().expect("it does not open").to_string();
    assert!(error.contains("8388609 octets"), "{error}");
    assert_eq!(file.metadata().unwrap().len(), SIZE_BYTES_READ_MAX + 1);
}

#[test]
fn the_room_for_the_facts_of_calls_under_way_is_taken_before_a_disk_is_full() {
    use std::os::unix::fs::MetadataExt;
    let bench = Bench::new();
    let taken = || {
        let metadata = fs::metadata(bench.file()).unwrap();
        (metadata.len(), metadata.blocks() * 512 >= RESERVED_BYTES)
    };
    let journal = bench.open();
    assert_eq!(taken(), (0, true), "from the beginning");
    let entry = journal.write(bench.attempt, page(1), Keep::Durably).unwrap();
    journal.taken(entry);
    assert_eq!(taken(), (0, true), "and after it was emptied");
    let half = b"half a line";
    fs::write(bench.file(), half).unwrap();
    bench.open();
    assert_eq!(taken(), (0, true), "and after its torn end was cut off");
}

#[test]
fn a_full_disk_is_told_and_what_follows_it_is_whole() {
    let bench = Bench::new();
    std::os::unix::fs::symlink("/dev/full", bench.file()).unwrap();
    let journal = bench.open();
    let error = journal.write(bench.attempt, page(1), Keep::Durably).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(journal.pending().is_empty(), "who wrote it keeps it");

    // Half a line, and then there is room again.
    fs::remove_file(bench.file()).unwrap();
    bench.write_pages([1]);
    let journal = bench.open();
    let half = fs::read(bench.file()).unwrap()[..20].to_vec();
    journal.lock().file.write_all(&half).unwrap();
    journal.lock().torn = true;
    journal.write(bench.attempt, page(2), Keep::Durably).unwrap();
    assert_eq!(bench.pages(), [1, 2]);
}

#[test]
fn the_file_is_bounded_and_keeps_what_is_pending() {
    let bench = Bench::new();
    let journal = bench.open();
    let first = journal.write(bench.attempt, page(1), Keep::Lightly).unwrap();
    let long = AttemptFact::Trained { rate_bps: 1, ecm: true, remote_id: "x".repeat(100_000) };
    let mut written = Vec::new();
    let full = loop {
        match journal.write(bench.attempt, JournalFact::Fact(long.clone()), Keep::Lightly) {
            Ok(entry) => written.push(entry),
            Err(error) => break error,
        }
        assert!(written.len() < 1000);
    };
    assert_eq!(full.kind(), io::ErrorKind::StorageFull, "all of it is pending");
    for entry in &written {
        journal.taken(*entry);
    }
    let last = journal.write(bench.attempt, JournalFact::Fact(long), Keep::Durably).unwrap();
    let size = fs::metadata(bench.file()).unwrap().len();
    assert!(first < last && size < SIZE_BYTES_MAX / 2, "written anew: {size}");
    assert_eq!(bench.open().pending().len(), 2, "the first and the last");
}

#[tokio::test]
async fn the_store_is_told_everything_once_more_and_twice_is_as_good_as_once() {
    let test = testing::impatient().await;
    let (fax, attempt) = in_call(&test).await;
    let bench = Bench::new();
    let journal = bench.open();
    let last_page = [AttemptFact::AllPagesSent, AttemptFact::PageRefused { page: 3 }];
    let facts = [page(1), page(2)].into_iter().chain(last_page.map(JournalFact::Fact));
    for fact in facts.chain([JournalFact::Fact(AttemptFact::Ended(testing::busy()))]) {
        journal.write(attempt, fact, Keep::Durably).unwrap();
    }
    let kept = fs::read(bench.file()).unwrap();
    assert_eq!(bench.open().replay(&*test.store, "gw-a").await.unwrap(), 4, "of the last page its last word");
    let told = test.store.fax(fax).await.unwrap();
    assert_eq!((told.fax.pages_confirmed, told.attempts[0].all_pages_sent), (2, false));
    assert_eq!(told.attempts[0].told_end, Some(testing::busy()));
    assert_eq!(fs::metadata(bench.file()).unwrap().len(), 0);

    fs::write(bench.file(), kept).unwrap();
    let events = test.store.events(crate::store::EventsOf::Fax(fax), 0, 100).await.unwrap();
    bench.open().replay(&*test.store, "gw-a").await.unwrap();
    assert_eq!(test.store.fax(fax).await.unwrap(), told);
    assert_eq!(test.store.events(crate::store::EventsOf::Fax(fax), 0, 100).await.unwrap(), events);
}

#[tokio::test]
async fn a_fact_that_fits_no_row_is_parked_and_keeps_nothing_else_from_being_told() {
    let test = testing::impatient().await;
    let (fax, attempt) = in_call(&test).await;
    let bench = Bench::new();
    let journal = bench.open();
    for (attempt, fact) in [(AttemptId::new(), page(1)), (attempt, page(9)), (attempt, page(1))] {
        journal.write(attempt, fact, Keep::Durably).unwrap();
    }
    assert_eq!(journal.replay(&*test.store, "gw-a").await.unwrap(), 3);
    assert_eq!(test.store.fax(fax).await.unwrap().fax.pages_confirmed, 1);
    let parked = test.store.parked_facts(9).await.unwrap();
    assert_eq!(parked.iter().map(|parked| &parked.fact).collect::<Vec<_>>(), [&page(1), &page(9)]);
    assert!(bench.pages().is_empty());
}

#[tokio::test]
async fn nothing_is_forgotten_while_the_store_is_away() {
    let test = testing::impatient().await;
    let (fax, attempt) = in_call(&test).await;
    let bench = Bench::new();
    let journal = bench.open();
    journal.write(attempt, page(1), Keep::Durably).unwrap();
    let away = test.away().await;
    assert!(matches!(journal.replay(&*test.store, "gw-a").await, Err(StoreError::Unavailable(_))));
    assert_eq!(pages(&journal), [1]);
    away.back().await;
    journal.replay(&*test.store, "gw-a").await.unwrap();
    assert_eq!(test.store.fax(fax).await.unwrap().fax.pages_confirmed, 1);
}
