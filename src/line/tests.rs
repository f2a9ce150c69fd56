//! What becomes of a fax around its call: before it, without one, and when what the call tells is not what is on record.

use foip::SipStatus;
use foip::call::{CallEvent, CallObserver};

use super::record::Recorder;
use super::*;
use crate::documents::DocumentsSettings;
use crate::domain::{AttemptId, FaxId, FaxState, Timestamp};
use crate::lifecycle::{Holding, LeaseKeeper, Uptime};
use crate::store::testing::{self, TestStore};
use crate::store::{AttemptFact, Fax, JournalFact, Lease, Next, Order};

const NUMBER: &str = "+99910200";
const SECOND: Duration = Duration::from_secs(1);
const LEASE: Duration = CALL_LEASE;

struct Bench {
    test: TestStore,
    agent: LineAgent,
    line: Arc<Line>,
}

impl Bench {
    /// A line whose trunk is a socket that says nothing, and nothing queued.
    async fn new() -> (Self, tokio::net::UdpSocket) {
        Self::held(held_for_ever()).await
    }

    /// The same, with leases that are held so long.
    async fn held(held_until: HeldUntil) -> (Self, tokio::net::UdpSocket) {
        let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let test = testing::impatient().await;
        let data = test.directory.path().to_owned();
        let mut config = Config::sandbox(data.clone(), 1);
        for line in config.sip.values_mut() {
            line.server = silent.local_addr().unwrap().to_string();
        }
        let documents = Documents::open(data.join("documents"), test.store.clone(), DocumentsSettings::default());
        let context = Context {
            store: test.store.clone(),
            documents: Arc::new(documents.unwrap()),
            marker: Marker::new(no_converter(), Arc::new(config.clone()), jiff::tz::TimeZone::UTC),
            owner: testing::owner("gw-a"),
            leases: Leases::new(),
            held_until,
            journal: Arc::new(Journal::open(&data.join("journal"), test.clock.clone()).unwrap()),
            domain: "fax.example.com".to_owned(),
            dial: config.dial.clone(),
            spool: data.join("calls"),
            delivery_hint: Hint::new(),
            mailboxes: Mailboxes::new(&config, jiff::tz::TimeZone::UTC),
        };
        std::fs::create_dir(&context.spool).unwrap();
        std::fs::write(context.spool.join("left-by-a-crash.tif"), b"II*").unwrap();
        let agent = LineAgent::start(&config, context, Hint::new()).await.unwrap();
        let line = Arc::clone(agent.lines.values().next().unwrap());
        (Self { test, agent, line }, silent)
    }

    /// A fax of three pages that is ready.
    async fn ready(&self) -> FaxId {
        self.ready_for(NUMBER).await
    }

    async fn ready_for(&self, number: &str) -> FaxId {
        let message = testing::message(&[number]);
        let id = message.faxes[0].id;
        let store = &self.test.store;
        store.submit(message).await.unwrap();
        let work = store.claim_render(&testing::owner("renderer"), LEASE).await.unwrap().unwrap();
        store.rendered(id, work.faxes[0].1, testing::pages(3)).await.unwrap();
        id
    }

    /// Its call, claimed and with an attempt on record.
    async fn in_call(&self) -> (call::Call, AttemptId) {
        let store = &self.test.store;
        let work = store.claim_calls(&self.agent.context.owner, 1, LEASE).await.unwrap().remove(0);
        let attempt = testing::attempt(work.fax.pages_confirmed + 1);
        let id = attempt.id;
        store.begin_attempt(work.fax.id, work.token, attempt).await.unwrap();
        let channel = Channel::take(&self.line).unwrap();
        let (context, cancel) = (self.agent.context.clone(), self.agent.stop_calls.child_token());
        (call::Call::new(context, channel, work, cancel, &self.agent.under_way), id)
    }

    /// What the media thread of this call tells it, told in order on a thread of its own. Answers the first refusal.
    async fn tell(&self, call: &call::Call, attempt: AttemptId, events: Vec<CallEvent>) -> Option<String> {
        let context = &self.agent.context;
        let (store, journal) = (context.store.clone(), Arc::clone(&context.journal));
        let (mut recorder, writer) = Recorder::new(store, journal, "gw-a", attempt, call.watch());
        tokio::spawn(writer.run());
        let told =
            tokio::task::spawn_blocking(move || events.into_iter().find_map(|event| recorder.event(event).err()));
        told.await.unwrap().map(|refusal| refusal.0)
    }

    /// Waits until so many pages are on record.
    async fn on_record(&self, fax: FaxId, pages: u32) {
        let reached = async {
            while self.fax(fax).await.pages_confirmed < pages {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(20 * SECOND, reached).await.unwrap_or_else(|_| panic!("{pages} pages on record in time"));
    }

    async fn fax(&self, id: FaxId) -> Fax {
        self.test.store.fax(id).await.unwrap().fax
    }

    async fn confirm(&self, attempt: AttemptId, pages: std::ops::RangeInclusive<u32>) {
        for page in pages {
            self.test.store.page_confirmed(attempt, testing::confirmed(page)).await.unwrap();
        }
    }
}

/// One that cannot be started.
fn no_converter() -> pages::Converter {
    pages::Converter::new("/nonexistent".into(), Vec::new(), pages::Limits::default())
}

/// Leases that are never over.
fn held_for_ever() -> HeldUntil {
    Holding::new(Uptime::now().plus(1_000_000 * SECOND)).1
}

/// A call that the gateway broke off itself before anybody answered.
fn given_up() -> foip::CallReport {
    let phrase = "the call was cancelled".to_owned();
    let sip = SipStatus { code: 487, phrase, q850: None, retry_after_s: None, rang: false, local: true };
    foip::CallReport { sip: Some(sip), ..foip::CallReport::default() }
}

#[tokio::test]
async fn a_fax_whose_last_page_was_confirmed_late_is_sent_without_another_call() {
    let (bench, _trunk) = Bench::new().await;
    let fax = bench.ready().await;
    let (call, attempt) = bench.in_call().await;
    call.write_back(attempt, given_up()).await.unwrap();
    assert_eq!(bench.fax(fax).await.state, FaxState::Ready);
    bench.confirm(attempt, 1..=3).await;
    bench.test.clock.advance(3600 * SECOND / 2);
    assert_eq!(bench.agent.step().await.unwrap(), 1);
    let fax = bench.fax(fax).await;
    assert_eq!((fax.state, fax.attempts), (FaxState::Sent, 1));
}

#[tokio::test]
async fn what_is_on_record_decides_and_not_what_the_call_could_tell() {
    // The store took too long over a confirmation, the call was ended for it, and then it was stored after all.
    for (on_record, expected) in [(3, FaxState::Sent), (2, FaxState::Unknown), (0, FaxState::Unknown)] {
        let (bench, _trunk) = Bench::new().await;
        let fax = bench.ready().await;
        let (call, attempt) = bench.in_call().await;
        bench.confirm(attempt, 1..=on_record).await;
        let refused = Some("the store took too long".to_owned());
        let told = foip::CallReport { all_pages_sent: true, last_page_confirmed: 1, refused, ..given_up() };
        call.write_back(attempt, told).await.unwrap();
        assert_eq!(bench.fax(fax).await.state, expected, "{on_record} pages on record");
    }
}

#[tokio::test]
async fn a_call_that_a_drain_ends_is_made_again_however_many_there_were() {
    let (bench, _trunk) = Bench::new().await;
    let fax = bench.ready().await;
    bench.agent.stop_calls.cancel();
    for calls in 1..=9 {
        let (call, attempt) = bench.in_call().await;
        call.write_back(attempt, given_up()).await.unwrap();
        let fax = bench.fax(fax).await;
        assert_eq!((fax.state, fax.attempts), (FaxState::Ready, calls));
    }
    let (call, attempt) = bench.in_call().await;
    bench.confirm(attempt, 1..=2).await;
    let last_page_out = foip::CallReport { all_pages_sent: true, ..given_up() };
    call.write_back(attempt, last_page_out).await.unwrap();
    assert_eq!(bench.fax(fax).await.state, FaxState::Unknown, "nobody can know, drain or not");
}

#[tokio::test]
async fn a_call_that_is_lost_without_a_write_back_is_settled_when_its_lease_ends() {
    let (bench, _trunk) = Bench::new().await;
    let fax = bench.ready().await;
    let (call, _) = bench.in_call().await;
    let context = &bench.agent.context;
    assert_eq!(context.leases.held().len(), 1);
    // As a panic leaves it: the task is gone, the attempt is open.
    drop(call);
    assert!(context.leases.held().is_empty() && bench.line.free() == bench.line.channels);
    bench.test.clock.advance(LEASE);
    context.store.renew(&context.owner, &context.leases.held(), LEASE).await.unwrap();
    testing::expire(&*context.store).await;
    assert_eq!(context.store.orphans().await.unwrap()[0].fax.id, fax);
}

#[tokio::test]
async fn a_fax_that_a_call_to_its_number_keeps_from_beginning_is_given_back() {
    let (bench, _trunk) = Bench::new().await;
    let fax = bench.ready().await;
    let store = &bench.test.store;
    let work = store.claim_calls(&bench.agent.context.owner, 1, LEASE).await.unwrap().remove(0);
    // The claim is overtaken: a page is confirmed that it does not know of.
    let earlier = testing::attempt(1);
    store.begin_attempt(fax, work.token, earlier.clone()).await.unwrap();
    let again = Next::Again { not_before: Timestamp(0) };
    store.end_attempt(earlier.id, work.token, testing::busy(), again).await.unwrap();
    let stale = store.claim_calls(&bench.agent.context.owner, 1, LEASE).await.unwrap().remove(0);
    bench.confirm(earlier.id, 1..=1).await;
    bench.agent.start_call(stale, &mut Room::new(Vec::new(), None)).await.unwrap();
    bench.agent.calls.close();
    tokio::time::timeout(20 * SECOND, bench.agent.calls.wait()).await.unwrap();
    let fax = bench.fax(fax).await;
    assert_eq!((fax.state, fax.attempts, fax.not_before > store.now().await.unwrap()), (FaxState::Ready, 1, true));
}

#[tokio::test]
async fn a_dead_trunk_uses_up_no_calls_and_its_faxes_get_their_answer_in_time() {
    let (bench, _trunk) = Bench::new().await;
    let fax = bench.ready().await;
    assert_eq!(bench.agent.step().await.unwrap(), 1);
    bench.agent.calls.close();
    tokio::time::timeout(20 * SECOND, bench.agent.calls.wait()).await.unwrap();
    let waiting = bench.fax(fax).await;
    assert_eq!((waiting.state, waiting.cause), (FaxState::Ready, Some(Cause::LineDown)));
    let soon = bench.test.store.now().await.unwrap().plus(10 * SECOND);
    assert!(waiting.not_before < soon && !bench.line.is_up());
    bench.test.clock.advance(30 * SECOND);
    assert_eq!(bench.agent.step().await.unwrap(), 0, "nothing is tried on a line that is down");
    assert_eq!(bench.agent.give_up_overdue().await.unwrap(), 0);

    bench.test.clock.advance(testing::fax(NUMBER).give_up_after);
    assert_eq!(bench.agent.give_up_overdue().await.unwrap(), 1);
    let record = bench.test.store.fax(fax).await.unwrap();
    assert_eq!((record.fax.state, record.fax.cause), (FaxState::Failed, Some(Cause::LineDown)));
    assert_eq!(record.notices.len(), 1);
}

#[tokio::test]
async fn documents_of_calls_that_a_crash_ended_are_removed_at_the_start() {
    let (bench, _trunk) = Bench::new().await;
    assert_eq!(std::fs::read_dir(&bench.agent.context.spool).unwrap().count(), 0);
}

fn trained() -> CallEvent {
    CallEvent::Trained { rate_bps: 14_400, ecm: true, remote_id: String::new(), subaddress: None }
}

fn confirmed(page: u32) -> CallEvent {
    CallEvent::Page { page, rate_bps: 14_400, ecm: true, duration: SECOND, blocks_resent: 0 }
}

/// A whole call of three pages as it goes well.
fn goes_well() -> Vec<CallEvent> {
    vec![trained(), confirmed(1), confirmed(2), CallEvent::AllPagesSent, confirmed(3)]
}

/// The report of a call that the observer ended after `pages`.
fn ended_by_us(pages: u32) -> foip::CallReport {
    let sip = SipStatus { code: 200, phrase: "OK".into(), q850: None, retry_after_s: None, rang: true, local: false };
    let refused = Some("words".to_owned());
    foip::CallReport {
        sip: Some(sip),
        fax_seen: true,
        last_page_confirmed: pages,
        refused,
        ..foip::CallReport::default()
    }
}

#[tokio::test]
async fn a_connected_call_goes_on_while_the_store_is_away_and_every_page_is_on_record_when_it_is_back() {
    let (bench, _trunk) = Bench::new().await;
    let fax = bench.ready().await;
    let (call, attempt) = bench.in_call().await;
    let away = bench.test.away().await;
    assert_eq!(bench.tell(&call, attempt, goes_well()).await, None, "no page waits for the store");
    assert_eq!(bench.fax(fax).await.pages_confirmed, 0);
    let journal = &bench.agent.context.journal;
    assert!(!journal.pending().is_empty());
    away.back().await;
    bench.on_record(fax, 3).await;
    call.write_back(attempt, foip::CallReport { refused: None, ..ended_by_us(3) }).await.unwrap();
    assert_eq!(bench.fax(fax).await.state, FaxState::Sent);
    assert!(journal.pending().is_empty());
}

#[tokio::test]
async fn an_agent_that_dies_while_the_store_is_away_sends_no_confirmed_page_again() {
    let (bench, _trunk) = Bench::new().await;
    let fax = bench.ready().await;
    let (call, attempt) = bench.in_call().await;
    let away = bench.test.away().await;
    assert_eq!(bench.tell(&call, attempt, vec![trained(), confirmed(1), confirmed(2)]).await, None);
    // The process ends: a new one has the file alone.
    let folder = bench.test.directory.path().join("journal");
    let next_life = Journal::open(&folder, bench.test.clock.clone()).unwrap();
    away.back().await;
    next_life.replay(&*bench.test.store, "gw-a").await.unwrap();
    assert_eq!(bench.fax(fax).await.pages_confirmed, 2);
    drop(call);
}

#[tokio::test]
async fn without_a_journal_the_store_keeps_the_page_and_without_both_the_call_ends() {
    let (bench, _trunk) = Bench::new().await;
    let file = bench.test.directory.path().join("journal/calls.log");
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    let full = Journal::open(file.parent().unwrap(), bench.test.clock.clone()).unwrap();
    let bench = Bench { agent: with_journal(bench.agent, full), ..bench };
    let fax = bench.ready().await;
    let (call, attempt) = bench.in_call().await;
    assert_eq!(bench.tell(&call, attempt, vec![trained(), confirmed(1)]).await, None);
    assert_eq!(bench.fax(fax).await.pages_confirmed, 1, "on record before the next page begins");
    let away = bench.test.away().await;
    let refusal = bench.tell(&call, attempt, vec![confirmed(2), confirmed(3)]).await.unwrap();
    assert!(refusal.contains("neither the call journal"), "{refusal}");
    away.back().await;
    bench.on_record(fax, 2).await;
    call.write_back(attempt, ended_by_us(2)).await.unwrap();
    let fax = bench.fax(fax).await;
    assert_eq!((fax.state, fax.pages_confirmed), (FaxState::Ready, 2), "page 3 has never begun");
}

fn with_journal(agent: LineAgent, journal: Journal) -> LineAgent {
    LineAgent { context: Context { journal: Arc::new(journal), ..agent.context }, ..agent }
}

#[tokio::test]
async fn an_agent_whose_leases_are_not_renewed_dials_nobody_and_begins_no_page() {
    let (holding, held_until) = Holding::new(Uptime::now().plus(1_000_000 * SECOND));
    let (bench, _trunk) = Bench::held(held_until).await;
    let fax = bench.ready().await;
    let (call, attempt) = bench.in_call().await;
    assert_eq!(bench.tell(&call, attempt, vec![trained(), confirmed(1)]).await, None);
    holding.set(Uptime::now());
    let refusal = bench.tell(&call, attempt, vec![confirmed(2), confirmed(3)]).await;
    assert!(refusal.unwrap().contains("away for too long"));
    bench.on_record(fax, 2).await;
    call.write_back(attempt, ended_by_us(2)).await.unwrap();
    let again = bench.fax(fax).await;
    assert_eq!((again.state, again.pages_confirmed), (FaxState::Ready, 2));
    assert_eq!(bench.agent.step().await.unwrap(), 0, "nothing is claimed");
    assert_eq!(bench.fax(fax).await.attempts, 1);

    // The last page is confirmed past the deadline: there is nothing more to begin.
    holding.set(Uptime::now().plus(1_000_000 * SECOND));
    let (call, attempt) = bench.in_call().await;
    assert_eq!(bench.tell(&call, attempt, vec![trained(), CallEvent::AllPagesSent]).await, None);
    holding.set(Uptime::now());
    assert_eq!(bench.tell(&call, attempt, vec![confirmed(3)]).await, None);
    bench.on_record(fax, 3).await;
}

#[tokio::test]
async fn an_agent_begins_no_page_of_a_fax_that_was_taken_from_it_although_its_other_leases_hold() {
    let (bench, _trunk) = Bench::new().await;
    let (first, second) = (bench.ready().await, bench.ready_for("+99910201").await);
    let calls = [bench.in_call().await, bench.in_call().await];
    for (call, attempt) in &calls {
        assert_eq!(bench.tell(call, *attempt, vec![trained()]).await, None);
    }
    let Context { store, owner, leases, .. } = &bench.agent.context;
    // An outage and the grace after it, both within the page that is on the wire: the store frees what was not renewed.
    bench.test.clock.advance(LEASE - SECOND);
    let kept: Vec<Lease> =
        leases.held().into_iter().filter(|lease| matches!(lease, Lease::Fax(id, _) if *id == second)).collect();
    store.renew(owner, &kept, LEASE).await.unwrap();
    bench.test.clock.advance(SECOND);
    testing::expire(&**store).await;
    assert_eq!(store.orphans().await.unwrap()[0].fax.id, first);

    let keeper = LeaseKeeper::start(store.clone(), owner.clone(), leases.clone(), LEASE);
    let mut held = keeper.held_until();
    let before = held.latest();
    assert!(held.beyond(before).await, "the deadline of the node moves on");
    for (call, attempt) in &calls {
        let refusal = bench.tell(call, *attempt, vec![confirmed(1)]).await;
        match call.fax() == first {
            true => assert!(refusal.unwrap().contains("taken away")),
            false => assert_eq!(refusal, None),
        }
        bench.on_record(call.fax(), 1).await;
    }
}

#[tokio::test]
async fn a_rejected_page_does_not_begin_anew_when_a_person_has_cancelled_its_fax() {
    let (bench, _trunk) = Bench::new().await;
    let fax = bench.ready().await;
    let (call, attempt) = bench.in_call().await;
    assert_eq!(
        bench.tell(&call, attempt, vec![trained(), confirmed(1), CallEvent::PageRejected { page: 2 }]).await,
        None
    );
    bench.test.order(fax, Order::Cancel).await;
    bench.agent.look_for_orders().await.unwrap();
    let refusal = bench.tell(&call, attempt, vec![CallEvent::PageRejected { page: 2 }]).await;
    assert!(refusal.unwrap().contains("between pages"));
    bench.on_record(fax, 1).await;
    call.write_back(attempt, foip::CallReport { page_rejected: true, ..ended_by_us(1) }).await.unwrap();
    let fax = bench.fax(fax).await;
    assert_eq!((fax.state, fax.pages_confirmed), (FaxState::Cancelled, 1));
}

#[tokio::test]
async fn the_keeper_of_a_store_that_is_away_lets_the_deadline_pass() {
    let test = testing::impatient().await;
    let lease = Duration::from_millis(300);
    let keeper = LeaseKeeper::start(test.store.clone(), testing::owner("gw-a"), Leases::new(), lease);
    let mut held = keeper.held_until();
    let first = held.latest();
    assert!(held.beyond(first).await);
    let away = test.away().await;
    let over = async {
        while !held.is_over() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(20 * SECOND, over).await.expect("it passes");
    away.back().await;
    let last = held.latest();
    assert!(held.beyond(last).await && !held.is_over(), "and is moved again by the first renewal");
}

#[tokio::test]
async fn an_order_during_a_call_is_carried_out_when_the_page_on_the_wire_is_confirmed() {
    for (order, confirmed_then, state) in
        [(Order::Cancel, 1, FaxState::Cancelled), (Order::Cancel, 3, FaxState::Sent), (Order::Hold, 1, FaxState::Ready)]
    {
        let (bench, _trunk) = Bench::new().await;
        let fax = bench.ready().await;
        let (call, attempt) = bench.in_call().await;
        assert_eq!(bench.tell(&call, attempt, vec![trained()]).await, None);
        bench.test.order(fax, order).await;
        bench.agent.look_for_orders().await.unwrap();
        assert!(!call.is_given_up(), "the page is finished");
        let pages = (1..=confirmed_then).map(confirmed).collect();
        let refusal = bench.tell(&call, attempt, pages).await;
        bench.on_record(fax, 1).await;
        if confirmed_then == 3 {
            // The order came with the last page: it is sent already.
            bench.confirm(attempt, 2..=3).await;
        }
        assert!(refusal.unwrap().contains("between pages"), "{order}");
        call.write_back(attempt, ended_by_us(confirmed_then)).await.unwrap();
        let record = bench.test.store.fax(fax).await.unwrap();
        assert_eq!(record.fax.state, state, "{order}: {:?}", record.fax);
        let told = record.notices.iter().filter(|notice| notice.kind.as_str() == state.as_str()).count();
        assert_eq!(told, usize::from(state.is_final()), "{order}");
        assert!(bench.test.store.claim_calls(&testing::owner("gw-b"), 9, LEASE).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn an_order_for_a_call_that_only_rings_gives_it_up_at_once() {
    let (bench, _trunk) = Bench::new().await;
    let fax = bench.ready().await;
    let (call, attempt) = bench.in_call().await;
    bench.test.order(fax, Order::Cancel).await;
    bench.agent.look_for_orders().await.unwrap();
    assert!(call.is_given_up());
    call.write_back(attempt, given_up()).await.unwrap();
    let fax = bench.fax(fax).await;
    assert_eq!((fax.state, fax.cause), (FaxState::Cancelled, Some(Cause::Cancelled)));
}

#[tokio::test]
async fn a_call_whose_lease_is_lost_tells_how_it_ended_and_the_settler_may_use_it() {
    let (bench, _trunk) = Bench::new().await;
    let fax = bench.ready().await;
    let (call, attempt) = bench.in_call().await;
    // Its node is taken for dead.
    bench.test.store.take_back(&testing::owner("gw-a")).await.unwrap();
    assert!(call.write_back(attempt, given_up()).await.is_err());
    let attempt = bench.test.store.fax(fax).await.unwrap().attempts.remove(0);
    assert_eq!(attempt.ended_at, None);
    assert_eq!(attempt.told_end.unwrap().sip_code, None);
    assert!(bench.agent.context.journal.pending().is_empty());
}

#[tokio::test]
async fn what_a_dead_call_left_in_the_journal_is_told_when_no_call_is_under_way() {
    let (bench, _trunk) = Bench::new().await;
    let fax = bench.ready().await;
    let (call, attempt) = bench.in_call().await;
    let journal = &bench.agent.context.journal;
    journal.write(attempt, JournalFact::Fact(AttemptFact::AllPagesSent), journal::Keep::Durably).unwrap();
    bench.agent.look_after_lines().await.unwrap();
    assert!(!journal.pending().is_empty(), "its own writer may be at it");
    drop(call);
    bench.agent.look_after_lines().await.unwrap();
    assert!(journal.pending().is_empty());
    assert!(bench.test.store.fax(fax).await.unwrap().attempts[0].all_pages_sent);
}

#[tokio::test]
async fn a_number_that_t38_failed_with_is_called_over_audio_and_they_take_turns() {
    let (bench, _trunk) = Bench::new().await;
    bench.ready().await;
    let t38 = foip::CallReport { t38_refused: true, ..ended_by_us(0) };
    let no_training = foip::T30Status { code: 12, text: "no training".into() };
    let audio = foip::CallReport { t30: Some(no_training), refused: None, ..ended_by_us(0) };
    for (report, avoided) in [(t38.clone(), true), (audio, false), (t38, true)] {
        let (call, attempt) = bench.in_call().await;
        call.write_back(attempt, report).await.unwrap();
        drop(call);
        bench.test.clock.advance(600 * SECOND);
        let store = &bench.test.store;
        let work = store.claim_calls(&testing::owner("gw-b"), 1, LEASE).await.unwrap().remove(0);
        assert_eq!(work.avoid_t38.is_some(), avoided, "{:?}", work.avoid_t38);
        store.call_again(work.fax.id, work.token, Timestamp(0), "only looking").await.unwrap();
    }
}
