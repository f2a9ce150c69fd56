//! `make chaos-local`: hundreds of faxes through one gateway while everything around it breaks, by a seed.
//!
//! Load and faults run side by side; then everything is left alone until each accepted mail has its report. One line says
//! how it went; on a violation the ledgers stay, and the seed gives the same mails and the same faults once more.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::Signal;

use super::checker::{self, Score};
use super::faults::{self, Disk};
use super::ledger::{FaultKind, now_ms};
use super::load::{Order, hand_in};
use super::pages::Form;
use super::site::{Plan, Site};
use crate::harness::{say, wait_for};

/// Mails handed in.
const MAILS: usize = 330;
/// Calls that come in.
const CALLS_IN: u32 = 110;
/// How long the load lasts.
const LOAD: Duration = Duration::from_secs(230);
/// Machines that call at once.
const CALLERS: usize = 3;
/// Clients at once.
const CLIENTS: usize = 6;
/// For the last reports, when nothing breaks any more.
const DRAIN: Duration = Duration::from_secs(120);
/// A client tries no longer than the load and this.
const PATIENT_CLIENT: Duration = Duration::from_secs(60);

/// Numbers that do not simply receive, each used for some of the mails.
const ODD_NUMBERS: &[&str] = &[
    "+99910486",
    "+99910404",
    "+99910403",
    "+99910488",
    "+99920002",
    "+99920102",
    "+99920200",
    "+99930001",
    "+99930004",
];

#[test]
#[ignore = "takes minutes: make chaos-local"]
fn hundreds_of_faxes_survive_a_storm_of_faults() {
    let seed = std::env::var("CHAOS_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..1_000_000));
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{seed}-{}", now_ms()));
    std::fs::create_dir_all(&folder).unwrap();
    let score = run(&folder, seed);
    say(&format!(
        "work went on after a fault: next 250 within {} ms, next page within {} ms; {} unknown, {} reports sent again; \
         {} calls came in with {} confirmed pages",
        score.slowest_250_ms, score.slowest_page_ms, score.unknown, score.resent, score.calls_in, score.pages_in
    ));
    say(&score.to_string());
    if score.violations.is_empty() {
        std::fs::remove_dir_all(&folder).unwrap();
        return;
    }
    for violation in &score.violations {
        say(&format!("{}: {}", violation.rule, violation.what));
    }
    panic!("violations; once more with SEED={seed}; the ledgers are in {}", folder.display());
}

fn run(folder: &Path, seed: u64) -> Score {
    let mut random = Rng::with_seed(seed);
    let data = folder.join("data");
    let disk = Disk::mount(&data);
    let orders = orders(&mut random);
    let mut storm = faults::storm(&mut random);
    if let Err(why) = &disk {
        say(&format!("no fault disk-full: {why}"));
        storm.retain(|kind| *kind != FaultKind::DiskFull);
    }
    say(&format!("seed {seed}: {} mails, {} faults, ledgers in {}", orders.len(), storm.len(), folder.display()));
    let site =
        Site::new(Plan { folder: folder.to_owned(), data: data.clone(), pace: "30x", channels: 12, database: None });
    site.start_gateway(&[]);
    site.wait_until_it_listens();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| supervise(&site, &over));
        let loading = scope.spawn(|| load(&site, orders));
        let calling = scope.spawn(|| call_in(&site, seed));
        break_things(&site, &storm, &mut random);
        loading.join().unwrap();
        calling.join().unwrap();
        drain(&site);
        over.store(true, Ordering::Release);
    });
    let score = checker::check(&site.evidence());
    end(&site, score)
}

/// Restarts what ends by itself, as a service manager does.
fn supervise(site: &Site, over: &AtomicBool) {
    while !over.load(Ordering::Acquire) {
        let alive_ms = now_ms();
        faults::pass(Duration::from_millis(100));
        if let Some(status) = site.gateway.ended() {
            say(&format!("the gateway ended by itself: {status}"));
            site.note_fault(FaultKind::GatewayKill, alive_ms.saturating_sub(100), "ended by itself");
            faults::pass(Duration::from_millis(500));
            site.start_gateway(&[]);
        }
    }
}

/// Hands the mails in, each at its time.
fn load(site: &Site, orders: Vec<Order>) {
    let begun = Instant::now();
    let step = LOAD / u32::try_from(orders.len()).unwrap();
    let queue = Mutex::new(orders.into_iter().enumerate());
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let Some((index, order)) = queue.lock().unwrap().next() else { return };
                    let due = begun + step * u32::try_from(index).unwrap();
                    wait_for("the time of the next mail", || (Instant::now() >= due).then_some(()));
                    hand_in(site.smtp(), &order, &site.sent, begun + LOAD + PATIENT_CLIENT);
                }
            });
        }
    });
}

/// Calls the gateway as other people's machines do. What a call that breaks did not bring is nobody's loss here: each
/// call has pages of its own.
fn call_in(site: &Site, seed: u64) {
    let begun = Instant::now();
    let next = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::AcqRel);
                    if index >= CALLS_IN {
                        return;
                    }
                    let due = begun + LOAD / CALLS_IN * index;
                    wait_for("the time of the next call", || (Instant::now() >= due).then_some(()));
                    site.call_in(&format!("in-{seed}-{index:04}"), 1 + index % 5);
                }
            });
        }
    });
}

fn break_things(site: &Site, storm: &[FaultKind], random: &mut Rng) {
    let begun = Instant::now();
    let share = LOAD / u32::try_from(storm.len()).unwrap();
    for (index, kind) in storm.iter().enumerate() {
        // A share of the time each; a fault that took longer leaves less quiet time behind it.
        let due = begun + share * u32::try_from(index).unwrap() + Duration::from_millis(random.u64(0..4000));
        wait_for("the next fault", || (Instant::now() >= due).then_some(()));
        say(&format!("{:>4} s {kind:?}", begun.elapsed().as_secs()));
        faults::strike(site, *kind, random);
    }
}

/// Until each accepted mail has its report, and nothing is under way.
fn drain(site: &Site) {
    let begun = Instant::now();
    let deadline = begun + DRAIN;
    let mut left = usize::MAX;
    while Instant::now() < deadline {
        left = site.unanswered().len();
        if left == 0 && site.is_quiet() {
            break;
        }
        faults::pass(Duration::from_millis(500));
    }
    say(&format!("drained for {} s: {left} mails without a report", begun.elapsed().as_secs()));
}

/// A gateway that is asked to end does so, cleanly.
fn end(site: &Site, mut score: Score) -> Score {
    site.gateway.signal(Signal::TERM);
    let deadline = Instant::now() + Duration::from_secs(60);
    let ended = wait_for("the gateway to drain", || {
        let ended = site.gateway.ended();
        (ended.is_some() || Instant::now() >= deadline).then_some(ended)
    });
    if !ended.is_some_and(|status| status.success()) {
        score.find("I10", format!("a gateway with nothing to do was asked to end: {ended:?}"));
        site.gateway.kill();
    }
    if let Err(what) = site.verify() {
        score.find("I11", what);
    }
    score
}

fn orders(random: &mut Rng) -> Vec<Order> {
    let order = |index: usize| {
        let form = *random.choice([Form::Text, Form::Body, Form::Tiff, Form::Pdf].iter()).unwrap();
        let odd = index % 12 == 7;
        let number =
            if odd { (*random.choice(ODD_NUMBERS.iter()).unwrap()).to_owned() } else { format!("+99956{index:04}") };
        let pages = if form == Form::Body { 1 } else { random.u32(1..=5) };
        Order { token: format!("m{index:04}"), number, pages, form }
    };
    (0..MAILS).map(order).collect()
}
