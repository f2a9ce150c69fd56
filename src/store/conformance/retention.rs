//! What goes and what stays.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::domain::FaxState;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Everything that was over before now may go.
async fn everything(bench: &Bench) -> PruneRules {
    let now = bench.now().await;
    PruneRules { images_before: now, records_before: now, limit: 100 }
}

/// Pages after the first of these days, records after the second.
async fn after_days(bench: &Bench, images: u32, records: u32) -> PruneRules {
    let now = bench.now().await;
    let before = |days: u32| Timestamp(now.0 - i64::try_from((DAY * days).as_millis()).unwrap());
    PruneRules { images_before: before(images), records_before: before(records), limit: 100 }
}

/// Ends whatever is in no call and sends every report.
async fn end_all(bench: &Bench) {
    let owner = testing::owner("gw-a");
    bench.render_all().await;
    while let Some(work) = bench.store.claim_calls(&owner, 1, LEASE).await.unwrap().pop() {
        bench.store.call_failed(work.fax.id, work.token, testing::end(Outcome::Failed)).await.unwrap();
    }
    report_all(bench).await;
}

async fn report_all(bench: &Bench) {
    let owner = testing::owner("gw-a");
    while let Some(work) = bench.store.claim_notices(&owner, 1, LEASE).await.unwrap().pop() {
        bench.store.notice_sent(work.notice.id, work.token, "mx1: 250").await.unwrap();
    }
}

async fn is_pruned(bench: &Bench, key: &DocumentKey) -> bool {
    matches!(bench.store.document(key).await.unwrap(), StoredDocument::Pruned { .. })
}

pub(super) async fn bytes_go_before_records_and_both_only_when_everything_is_over(bench: Bench) {
    let fax = bench.submit(&["+99910200"]).await[0];
    let nothing = Pruned::default();
    assert_eq!(bench.store.prune(everything(&bench).await).await.unwrap(), nothing, "it waits for its pages");
    bench.render_all().await;
    bench.clock.advance(DAY);
    assert_eq!(bench.store.prune(everything(&bench).await).await.unwrap(), nothing, "it waits for its call");
    let owner = testing::owner("gw-a");
    let call = bench.call(&owner).await;
    assert_eq!(bench.store.prune(everything(&bench).await).await.unwrap(), nothing, "it is in a call");
    bench.confirm(&call, 1..=3).await;
    bench.end(&call, Outcome::Sent).await.unwrap();
    bench.clock.advance(DAY);
    assert_eq!(bench.store.prune(everything(&bench).await).await.unwrap(), nothing, "its report is owed");
    report_all(&bench).await;

    let (record, pages) = (bench.store.fax(fax).await.unwrap(), testing::pages(3).document.key);
    bench.clock.advance(DAY * 29);
    let rules = after_days(&bench, 30, 400).await;
    assert_eq!(
        bench.store.prune(PruneRules { images_before: Timestamp(rules.images_before.0 - 1), ..rules }).await.unwrap(),
        nothing
    );
    bench.clock.advance(SECOND);
    let rules = after_days(&bench, 30, 400).await;
    let foreseen = bench.store.prunable(rules).await.unwrap();
    let pruned = bench.store.prune(rules).await.unwrap();
    assert_eq!((pruned.documents, pruned.messages), (2, 0));
    assert_eq!(Pruned { gone: vec![], ..pruned.clone() }, foreseen);
    let gone = [pages, record.message.raw].map(ObjectName::Content);
    assert_eq!(pruned.gone.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from(gone));
    assert!(is_pruned(&bench, &pages).await && is_pruned(&bench, &record.message.raw).await);
    assert_eq!(bench.store.fax(fax).await.unwrap(), record, "what happened is still known");
    assert_eq!(bench.store.prune(rules).await.unwrap(), nothing, "once");

    bench.clock.advance(DAY * 371);
    let rules = after_days(&bench, 30, 400).await;
    assert_eq!(bench.store.prune(rules).await.unwrap().messages, 1);
    assert!(matches!(bench.store.fax(fax).await, Err(StoreError::NotFound { .. })));
    assert!(matches!(bench.store.message(record.message.id).await, Err(StoreError::NotFound { .. })));
    assert_eq!(forget_unreferenced(&bench).await.len(), 2);
}

/// Marks, waits, sweeps; the keys that were forgotten.
async fn forget_unreferenced(bench: &Bench) -> Vec<ObjectName> {
    let mut after = None;
    loop {
        let marked = bench.store.mark_unreferenced(after, 3, DAY).await.unwrap();
        after = marked.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(bench.store.sweep_documents(100).await.unwrap(), [], "not before the wait is over");
    bench.clock.advance(DAY);
    bench.store.sweep_documents(100).await.unwrap()
}

pub(super) async fn a_document_stays_until_the_last_that_names_it_lets_it_go(bench: Bench) {
    // Both have the same pages.
    bench.submit(&["+99910200"]).await;
    end_all(&bench).await;
    bench.clock.advance(DAY * 10);
    let second = bench.submit(&["+99910200"]).await[0];
    end_all(&bench).await;
    let pages = testing::pages(3).document.key;
    bench.clock.advance(DAY * 5);
    let pruned = bench.store.prune(after_days(&bench, 10, 10).await).await.unwrap();
    assert_eq!((pruned.messages, pruned.documents), (1, 1), "the first message is forgotten, and its mail alone");
    assert_eq!(forget_unreferenced(&bench).await.len(), 1, "its mail alone");
    assert!(!is_pruned(&bench, &pages).await);
    assert!(bench.store.fax(second).await.is_ok());
    bench.clock.advance(DAY * 10);
    assert_eq!(bench.store.prune(after_days(&bench, 10, 90).await).await.unwrap().documents, 2);
    assert!(is_pruned(&bench, &pages).await);
}

pub(super) async fn a_document_that_comes_again_is_there_again(bench: Bench) {
    bench.submit(&["+99910200"]).await;
    end_all(&bench).await;
    let pages = testing::pages(3).document.key;
    bench.clock.advance(DAY);
    bench.store.prune(PruneRules { records_before: Timestamp(0), ..everything(&bench).await }).await.unwrap();
    assert!(is_pruned(&bench, &pages).await);
    bench.submit(&["+99910200"]).await;
    bench.render_all().await;
    assert!(matches!(bench.store.document(&pages).await.unwrap(), StoredDocument::Kept { .. }));
    assert_eq!(bench.store.prune(everything(&bench).await).await.unwrap().documents, 0, "it is wanted");

    // Forgotten rows come again too, before and after the sweep.
    end_all(&bench).await;
    bench.clock.advance(DAY);
    bench.store.prune(everything(&bench).await).await.unwrap();
    bench.store.mark_unreferenced(None, 100, DAY).await.unwrap();
    bench.submit(&["+99910200"]).await;
    bench.render_all().await;
    bench.clock.advance(DAY * 2);
    let swept = bench.store.sweep_documents(100).await.unwrap();
    assert!(!swept.is_empty() && !swept.contains(&ObjectName::Content(pages)), "named again since it was marked");
    assert!(matches!(bench.store.document(&pages).await.unwrap(), StoredDocument::Kept { .. }));
}

pub(super) async fn a_legal_hold_keeps_a_message_until_it_is_ended(bench: Bench) {
    let faxes = bench.submit(&["+99910200", "+99910486"]).await;
    end_all(&bench).await;
    bench.clock.advance(DAY * 500);
    let of = EventsOf::Fax(faxes[1]);
    for _ in 0..2 {
        bench.store.set_legal_hold(of, true, "anna").await.unwrap();
    }
    let events = bench.store.events(of, 0, 2000).await.unwrap();
    let told: Vec<&str> = events.iter().filter(|e| e.kind == "legal-hold").map(|e| e.text.as_str()).collect();
    assert_eq!(told, ["legal hold set by anna"], "once");
    let pruned = bench.store.prune(after_days(&bench, 30, 400).await).await.unwrap();
    assert_eq!(pruned, Pruned { held: 1, ..Pruned::default() });
    assert!(bench.fax(faxes[1]).await.legal_hold && !bench.fax(faxes[0]).await.legal_hold);

    bench.store.set_legal_hold(of, false, "anna").await.unwrap();
    assert_eq!(bench.store.prune(after_days(&bench, 30, 400).await).await.unwrap().messages, 1);
    let missing = bench.store.set_legal_hold(of, true, "anna").await;
    assert!(matches!(missing, Err(StoreError::NotFound { kind: "fax", .. })));
}

pub(super) async fn pruning_keeps_to_its_limit_and_goes_on_where_it_stopped(bench: Bench) {
    for _ in 0..5 {
        bench.submit(&["+99910200"]).await;
        end_all(&bench).await;
    }
    bench.clock.advance(DAY);
    let rules = PruneRules { limit: 2, ..everything(&bench).await };
    let mut steps = Vec::new();
    loop {
        let pruned = bench.store.prune(rules).await.unwrap();
        if pruned.is_nothing() {
            break;
        }
        steps.push(pruned.messages);
    }
    assert_eq!(steps, [2, 2, 1]);
    assert_eq!(bench.store.oldest_message().await.unwrap(), None);
    assert_eq!(forget_unreferenced(&bench).await.len(), 6, "five mails and the pages that all had");
}

pub(super) async fn what_had_not_ended_is_held_after_a_restore_and_nothing_is_called(bench: Bench) {
    let owner = testing::owner("gw-a");
    let mut calls = Vec::new();
    for number in ["+99910001", "+99910002", "+99910003"] {
        let fax = bench.ready(&[number]).await[0];
        let work = bench.store.claim_calls(&owner, 1, LEASE).await.unwrap().pop().unwrap();
        assert_eq!(work.fax.id, fax);
        let attempt = testing::attempt(1);
        bench.store.begin_attempt(fax, work.token, attempt.clone()).await.unwrap();
        calls.push(InCall { fax, token: work.token, attempt: attempt.id });
    }
    let ready = bench.ready(&["+99910480"]).await[0];
    let waiting = bench.submit(&["+99910486"]).await[0];
    bench.confirm(&calls[0], 1..=1).await;
    bench.confirm(&calls[1], 1..=3).await;
    bench.confirm(&calls[2], 1..=2).await;
    bench.store.record_fact(calls[2].attempt, AttemptFact::AllPagesSent).await.unwrap();

    let why = "restored from the backup of 2027-01-15";
    let restored = bench.store.restored(Unended::Hold, why).await.unwrap();
    assert_eq!(restored.to_settle, 2);
    for fax in [waiting, ready, calls[0].fax] {
        let record = bench.store.fax(fax).await.unwrap();
        assert_eq!((record.fax.state, record.fax.detail.as_deref()), (FaxState::Held, Some(why)));
        assert!(record.attempts.iter().all(|attempt| attempt.ended_at.is_some()));
    }
    assert_eq!(bench.fax(calls[0].fax).await.pages_confirmed, 1, "confirmed pages stay so");
    let orphans = bench.store.orphans().await.unwrap();
    let orphaned: BTreeSet<FaxId> = orphans.iter().map(|orphan| orphan.fax.id).collect();
    assert_eq!(orphaned, BTreeSet::from([calls[1].fax, calls[2].fax]), "the settler knows how these ended");
    bench.clock.advance(DAY);
    assert!(bench.store.claim_calls(&owner, 9, LEASE).await.unwrap().is_empty());
    assert!(bench.store.claim_render(&owner, LEASE).await.unwrap().is_none());
}

// ------------------------------------------------------------------------------------------------ random lives

#[derive(Debug, Clone)]
enum Step {
    /// A message with this mail to so many numbers.
    Submit {
        mail: u8,
        faxes: usize,
    },
    Render {
        pages: u32,
    },
    End,
    Report,
    Hold {
        fax: usize,
        held: bool,
    },
    Pass {
        days: u32,
    },
    Prune {
        images: u32,
        records: u32,
        limit: u32,
    },
    Mark,
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4u8, 1..3usize).prop_map(|(mail, faxes)| Step::Submit { mail, faxes }),
        4 => (1..4u32).prop_map(|pages| Step::Render { pages }),
        4 => Just(Step::End),
        3 => Just(Step::Report),
        1 => (0..16usize, any::<bool>()).prop_map(|(fax, held)| Step::Hold { fax, held }),
        4 => (0..5u32).prop_map(|days| Step::Pass { days }),
        4 => (1..6u32, 0..8u32, 1..4u32).prop_map(|(images, more, limit)| Step::Prune { images, records: images + more, limit }),
        3 => Just(Step::Mark),
        3 => Just(Step::Sweep),
    ]
}

struct ModelFax {
    message: usize,
    id: FaxId,
    pages: Option<DocumentKey>,
    ended_at: Option<Timestamp>,
    owed: bool,
    held: bool,
}

/// What must be there: messages with their documents, in plain lists.
struct Model {
    bench: Bench,
    owner: Owner,
    messages: BTreeMap<usize, (MessageId, DocumentKey)>,
    faxes: Vec<ModelFax>,
    /// Documents with a row, and whether their bytes are there.
    bytes: BTreeMap<DocumentKey, bool>,
    marked: BTreeMap<DocumentKey, Timestamp>,
}

impl Model {
    fn stays(&self, message: usize, before: Timestamp) -> bool {
        let of = |fax: &&ModelFax| fax.message == message;
        self.faxes.iter().filter(of).any(|f| f.ended_at.is_none_or(|at| at >= before) || f.owed || f.held)
    }

    fn names(&self) -> BTreeMap<DocumentKey, BTreeSet<usize>> {
        let mut names: BTreeMap<DocumentKey, BTreeSet<usize>> = BTreeMap::new();
        for (number, (_, raw)) in &self.messages {
            names.entry(*raw).or_default().insert(*number);
        }
        for fax in &self.faxes {
            if let Some(pages) = fax.pages {
                names.entry(pages).or_default().insert(fax.message);
            }
        }
        names
    }

    fn put(&mut self, key: DocumentKey) {
        self.bytes.insert(key, true);
        self.marked.remove(&key);
    }

    async fn play(&mut self, step: &Step) {
        let store = Arc::clone(&self.bench.store);
        match step {
            Step::Submit { mail, faxes } => {
                let mut message = testing::message(&vec!["+99910200"; *faxes]);
                message.raw = testing::document(&[b'm', *mail]);
                let number = self.messages.keys().last().map_or(0, |last| last + 1);
                self.put(message.raw.key);
                self.messages.insert(number, (message.id, message.raw.key));
                for fax in &message.faxes {
                    let (id, pages, ended_at) = (fax.id, None, None);
                    self.faxes.push(ModelFax { message: number, id, pages, ended_at, owed: false, held: false });
                }
                store.submit(message).await.unwrap();
            }
            Step::Render { pages } => {
                let Some(work) = store.claim_render(&self.owner, LEASE).await.unwrap() else { return };
                for (fax, token) in work.faxes {
                    let pages = testing::pages(*pages);
                    let key = pages.document.key;
                    store.rendered(fax.id, token, pages).await.unwrap();
                    self.put(key);
                    self.fax(fax.id).pages = Some(key);
                }
            }
            Step::End => {
                let Some(work) = store.claim_calls(&self.owner, 1, LEASE).await.unwrap().pop() else { return };
                store.call_failed(work.fax.id, work.token, testing::end(Outcome::Failed)).await.unwrap();
                let now = self.bench.now().await;
                let fax = self.fax(work.fax.id);
                (fax.ended_at, fax.owed) = (Some(now), true);
            }
            Step::Report => {
                report_all(&self.bench).await;
                self.faxes.iter_mut().for_each(|fax| fax.owed = false);
            }
            Step::Hold { fax, held } => {
                let count = self.faxes.len().max(1);
                let Some(fax) = self.faxes.get_mut(fax % count) else { return };
                store.set_legal_hold(EventsOf::Fax(fax.id), *held, "anna").await.unwrap();
                fax.held = *held;
            }
            Step::Pass { days } => self.bench.clock.advance(DAY * *days),
            Step::Prune { images, records, limit } => self.prune(*images, *records, *limit).await,
            Step::Mark => {
                let now = self.bench.now().await;
                store.mark_unreferenced(None, 100, DAY).await.unwrap();
                let names = self.names();
                self.marked.retain(|key, _| !names.contains_key(key));
                for key in self.bytes.keys().filter(|key| !names.contains_key(key)) {
                    self.marked.entry(*key).or_insert(now.plus(DAY));
                }
            }
            Step::Sweep => {
                let (now, names) = (self.bench.now().await, self.names());
                let due = |(key, at): &(&DocumentKey, &Timestamp)| **at <= now && !names.contains_key(key);
                let expected: BTreeSet<DocumentKey> = self.marked.iter().filter(due).map(|(key, _)| *key).collect();
                let swept = store.sweep_documents(100).await.unwrap();
                let names: BTreeSet<_> = expected.iter().copied().map(ObjectName::Content).collect();
                assert_eq!(swept.into_iter().collect::<BTreeSet<_>>(), names);
                self.bytes.retain(|key, _| !expected.contains(key));
                self.marked.retain(|key, _| !expected.contains(key));
            }
        }
    }

    fn fax(&mut self, id: FaxId) -> &mut ModelFax {
        self.faxes.iter_mut().find(|fax| fax.id == id).unwrap()
    }

    async fn prune(&mut self, images: u32, records: u32, limit: u32) {
        let rules = PruneRules { limit, ..after_days(&self.bench, images, records).await };
        // Until nothing goes any more; each step keeps to its limit.
        loop {
            let pruned = self.bench.store.prune(rules).await.unwrap();
            assert!(pruned.messages <= u64::from(limit));
            assert!(pruned.messages > 0 || pruned.documents <= u64::from(limit));
            if pruned.is_nothing() {
                break;
            }
        }
        let gone: Vec<usize> =
            self.messages.keys().copied().filter(|number| !self.stays(*number, rules.records_before)).collect();
        let named_by_gone = |messages: &BTreeSet<usize>| messages.iter().any(|number| gone.contains(number));
        let before: Vec<DocumentKey> =
            self.names().into_iter().filter(|(_, by)| named_by_gone(by)).map(|(key, _)| key).collect();
        self.messages.retain(|number, _| !gone.contains(number));
        self.faxes.retain(|fax| !gone.contains(&fax.message));
        let names = self.names();
        for key in before.into_iter().filter(|key| !names.contains_key(key)) {
            self.bytes.insert(key, false);
        }
        for (key, messages) in self.names() {
            if messages.iter().all(|number| !self.stays(*number, rules.images_before)) {
                self.bytes.insert(key, false);
            }
        }
    }

    async fn compare(&self) {
        let rows = self.bench.store.document_rows(None, 1000).await.unwrap();
        let names = self.names();
        let found: BTreeMap<DocumentKey, bool> = rows.iter().map(|row| (row.key, row.pruned_at.is_none())).collect();
        assert_eq!(found, self.bytes, "documents and whether their bytes are there");
        assert!(rows.iter().all(|row| row.referenced == names.contains_key(&row.key)));
        let listed = self.bench.store.faxes(&FaxFilter { limit: 1000, ..FaxFilter::default() }).await.unwrap();
        let listed: BTreeSet<FaxId> = listed.iter().map(|summary| summary.fax.id).collect();
        assert_eq!(listed, self.faxes.iter().map(|fax| fax.id).collect::<BTreeSet<_>>(), "faxes");
    }
}

/// Nothing that is wanted goes, and nothing else stays, whatever comes in which order.
pub(crate) fn random_retention<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Bench>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases: 32, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&prop::collection::vec(step(), 1..60), |steps| {
        runtime.block_on(async {
            let (bench, owner) = (make().await, testing::owner("gw-a"));
            let (messages, faxes, bytes, marked) = Default::default();
            let mut model = Model { bench, owner, messages, faxes, bytes, marked };
            for step in &steps {
                model.play(step).await;
                model.compare().await;
            }
        });
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
