//! `make chaos`: two gateways, three database servers, balancer and document store while one after the other breaks.
//!
//! ```text
//!            out: mail clients ─► lb: HAProxy ─► gw-a, gw-b ─► out: far end, mail server for reports, S3
//!                                     ▲              │
//!                                     └── primary ───┴─► db1, db2, db3: etcd, Patroni, PostgreSQL
//! ```
//! Every box is a network namespace (`net`), every ledger is written outside, calls are T.38 in real time. The judge is the
//! one of the single node with what people notice of a cluster besides (`service`). It takes root.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::checker::{self, Score};
use super::evidence::Evidence;
use super::ledger::{FaultKind, now_ms};
use super::{faults as one_node, service};
use crate::harness::say;
use faults::AT_LEAST;
use lab::Lab;

mod balancer;
mod database;
mod faults;
mod gateway;
mod lab;
mod load;
mod net;
mod wait;

/// When this much of the storm has passed, no fault beyond [`AT_LEAST`] begins.
const STORM: Duration = Duration::from_secs(520);
/// For the last reports: what a dead node held is freed after lease and grace, 135 s for a call.
const DRAIN: Duration = Duration::from_secs(200);
/// The load goes on for so long before the first fault.
const CALM: Duration = Duration::from_secs(15);

#[test]
#[ignore = "takes a quarter of an hour and root: make chaos"]
fn two_nodes_survive_a_storm_of_faults_in_everything_around_them() {
    let seed = std::env::var("CHAOS_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..1_000_000));
    let programs =
        std::env::var_os("CHAOS_PROGRAMS").map(PathBuf::from).expect("the folder that tools/install-chaos prints");
    assert!(rustix::process::geteuid().is_root(), "network namespaces take root");
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-cluster-{seed}-{}", now_ms()));
    std::fs::create_dir_all(&folder).unwrap();
    say(&format!("seed {seed}: ledgers and logs in {}", folder.display()));
    let (score, table) = run(&folder, &programs, seed);
    say(&table);
    say(&score.to_string());
    if let Some(path) = std::env::var_os("CHAOS_RESULTS").filter(|path| !path.is_empty()) {
        let mut results = std::fs::File::options().create(true).append(true).open(path).unwrap();
        writeln!(results, "seed {seed}\n{table}{score}, {} violations\n", score.violations.len()).unwrap();
    }
    if score.violations.is_empty() {
        std::fs::remove_dir_all(&folder).unwrap();
        return;
    }
    for violation in &score.violations {
        say(&format!("{}: {}", violation.rule, violation.what));
    }
    panic!("violations; once more with SEED={seed}; ledgers and logs are in {}", folder.display());
}

fn run(folder: &Path, programs: &Path, seed: u64) -> (Score, String) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (lab, said) = Lab::up(folder, programs, &mut random);
    say(&said);
    let over = AtomicBool::new(false);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Whatever ends this part, by a panic too: the others end with it.
        let _over = Raise(&over);
        let _done = Raise(&done);
        scope.spawn(|| supervise(&lab, &done));
        let mails = scope.spawn(|| load::mails(&lab, seed, &over));
        let calls = scope.spawn(|| load::calls(&lab, seed, &over));
        one_node::pass(CALM);
        break_things(&lab, &mut random);
        over.store(true, Ordering::Release);
        mails.join().unwrap();
        calls.join().unwrap();
        let begun = Instant::now();
        let left = lab.drain(DRAIN);
        say(&format!("drained for {} s: {left} mails without a report", begun.elapsed().as_secs()));
    });
    let evidence = lab.evidence();
    let mut score = checker::check(&evidence);
    service::judge(&evidence, &mut score);
    end(&lab, &mut score);
    for what in lab.found.lock().unwrap().drain(..) {
        score.find("I10", what);
    }
    (score, table(&evidence))
}

/// Set when it goes.
struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Restarts what ends by itself, as a service manager does. None should.
fn supervise(lab: &Lab, done: &AtomicBool) {
    while !done.load(Ordering::Acquire) {
        let alive_ms = now_ms();
        one_node::pass(Duration::from_millis(200));
        for gateway in &lab.gateways {
            // One that was asked to end ends with success, and whoever asked starts it anew.
            let Some(status) = gateway.process.ended().filter(|status| !status.success()) else { continue };
            lab.find(format!("{} ended by itself: {status}", gateway.host.name()));
            lab.note(FaultKind::GatewayKill, Some(gateway.host), alive_ms.saturating_sub(200), "ended by itself");
            gateway.start(&lab.network, &[]);
        }
    }
}

fn break_things(lab: &Lab, random: &mut fastrand::Rng) {
    let begun = Instant::now();
    let storm = match std::env::var("CHAOS_FAULTS") {
        Ok(names) if !names.is_empty() => faults::named(&names),
        _ => faults::storm(random),
    };
    for (index, kind) in storm.iter().enumerate() {
        if index >= AT_LEAST && begun.elapsed() >= STORM {
            return say(&format!("{:>4} s time is up: {} of {} faults", begun.elapsed().as_secs(), index, storm.len()));
        }
        say(&format!("{:>4} s {kind:?}", begun.elapsed().as_secs()));
        faults::strike(lab, *kind, random);
    }
}

/// Gateways that are asked to end do so, cleanly.
fn end(lab: &Lab, score: &mut Score) {
    for gateway in &lab.gateways {
        gateway.process.signal(Signal::TERM);
    }
    for gateway in &lab.gateways {
        let ended = wait::within(Duration::from_secs(60), || gateway.process.ended());
        if !ended.is_some_and(|status| status.success()) {
            let name = gateway.host.name();
            score.find("I10", format!("{name} had nothing to do and was asked to end: {ended:?}"));
        }
    }
    if let Err(what) = lab.gateways[0].command(&lab.network, &["db", "verify", "--deep"]) {
        score.find("I11", what);
    }
}

/// How soon work went on, a line a kind of fault.
fn table(evidence: &Evidence) -> String {
    let mut text =
        "after the begin of            next mail  next page  next call  cut calls, called again\n".to_owned();
    for (kind, it) in service::take_overs(evidence) {
        let seconds = |ms: u64| format!("{}.{} s", ms / 1000, ms % 1000 / 100);
        let name = format!("{kind:?} ({})", it.times);
        let _ = write!(text, "{name:<28} {:>10}", seconds(it.mail_ms));
        let _ = write!(text, " {:>10} {:>10}", seconds(it.page_ms), seconds(it.call_ms));
        let _ = writeln!(text, "  {} within {}", it.cut, seconds(it.again_ms));
    }
    text
}
