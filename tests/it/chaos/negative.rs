//! The harness finds what it is there to find: with a guarantee switched off, the checker that is silent about the
//! gateway as it is speaks up. Each case runs both ways, so that the scenario and not the noise is what it finds.

use std::time::{Duration, Instant};

use super::checker::{self, Score};
use super::faults::{self, StoreLocked};
use super::ledger::{FaultKind, now_ms};
use super::load::{Order, hand_in};
use super::pages::Form;
use super::site::{Plan, Site};
use crate::harness::{PATIENCE, wait_for};

fn site(folder: &std::path::Path, pace: &'static str) -> Site {
    Site::new(Plan { pace, ..Plan::quick(folder) })
}

fn accept(site: &Site, pages: u32) {
    let order = Order { token: "one".into(), number: "+99957001".into(), pages, form: Form::Tiff };
    assert!(hand_in(site.smtp(), &order, &site.sent, Instant::now() + PATIENCE));
}

fn confirmed(site: &Site) -> usize {
    site.seen().calls.iter().map(|call| call.confirmed.len()).sum()
}

fn finish(site: &Site) -> Score {
    wait_for(&format!("the report\n{}", site.tails()), || {
        (site.unanswered().is_empty() && site.is_quiet()).then_some(())
    });
    checker::check(&site.evidence())
}

/// The store is away for three pages of a call, then the gateway dies: the journal alone knows of them.
fn three_pages_that_the_store_does_not_hear_of(fault: &str) -> Score {
    let folder = tempfile::tempdir().unwrap();
    // A page takes about a second: the store is away between the first one and the last.
    let site = site(folder.path(), "20x");
    let variables = [("FAXWELL_FAULT", fault)];
    site.start_gateway(&variables);
    accept(&site, 5);
    wait_for(&format!("the first page\n{}", site.tails()), || (confirmed(&site) >= 1).then_some(()));
    let locked = StoreLocked::from(&site, FaultKind::StoreLock);
    wait_for(&format!("three pages more\n{}", site.tails()), || (confirmed(&site) >= 4).then_some(()));
    let at = now_ms();
    site.gateway.kill();
    site.note_fault(FaultKind::GatewayKill, at, "kill -9");
    locked.release(&site);
    site.start_gateway(&variables);
    finish(&site)
}

#[test]
fn without_the_call_journal_pages_are_confirmed_twice_and_the_checker_says_so() {
    let with = three_pages_that_the_store_does_not_hear_of("");
    assert_eq!(with.violations, [], "{with}");
    let without = three_pages_that_the_store_does_not_hear_of("no-journal");
    assert!(without.breaks("I5"), "{without}: {:#?}", without.violations);
    assert!(without.pages_confirmed_twice > without.allowed, "{without}");
}

/// Calls long enough for maintenance to pass by several times.
fn a_call_of_many_seconds(fault: &str) -> Score {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path(), "6x");
    site.start_gateway(&[("FAXWELL_FAULT", fault)]);
    accept(&site, 5);
    // Left to itself for as long as leases that protect nobody need to do their damage, or until all is well.
    let until = Instant::now() + Duration::from_secs(40);
    wait_for("damage, or the report", || {
        let damage = checker::check(&site.seen()).breaks("I7");
        (damage || site.unanswered().is_empty() || Instant::now() >= until).then_some(())
    });
    faults::pass(Duration::from_millis(500));
    checker::check(&site.evidence())
}

#[test]
fn without_leases_a_fax_is_called_during_its_call_and_the_checker_says_so() {
    let with = a_call_of_many_seconds("");
    assert_eq!(with.violations, [], "{with}");
    let without = a_call_of_many_seconds("no-lease");
    assert!(without.breaks("I7"), "{without}: {:#?}", without.violations);
    assert!(without.calls_overlapping > 0, "{without}");
}
