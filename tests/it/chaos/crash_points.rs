//! One gateway is killed at each named point of its code, by itself, and its successor finishes: the ledgers of the load
//! client, the far end and the smart host then say whether anything was lost or done twice.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::checker;
use super::ledger::{FaultKind, now_ms};
use super::load::{Order, hand_in};
use super::pages::Form;
use super::site::{Plan, Site};
use crate::harness::{PATIENCE, wait_for};
use crate::postgres::Server;

/// Every point, and on which pass the process ends: in the middle of the work of the second fax, or between two pages.
const POINTS: &[&str] = &[
    "intake.document-kept:2",
    "intake.committed:2",
    "render.claimed:2",
    "render.pages-made:2",
    "render.document-kept:2",
    "render.written-back:2",
    "line.claimed:2",
    "line.attempt-begun:2",
    "line.answered:2",
    "line.page-confirmed:2",
    "line.page-journaled:2",
    "journal.unsynced:3",
    "journal.fact-stored:4",
    "line.last-page-out:1",
    "line.last-page-noted:1",
    "line.page-confirmed:6",
    "line.page-journaled:6",
    "line.call-over:1",
    "line.written-back:1",
    "deliver.claimed:2",
    "deliver.composed:2",
    "deliver.taken:2",
    "deliver.written-back:2",
    "documents.unwritten:2",
    "documents.unsynced:2",
    "store.before-commit:12",
    "store.after-commit:12",
    "store.before-commit:25",
    "store.after-commit:25",
];

/// Points that are passed only after a crash: the first of each pair ends a call in the middle.
const AFTER_A_CRASH: &[(&str, &str)] = &[
    ("line.page-journaled:2", "maintain.settling:1"),
    ("line.page-journaled:2", "maintain.settled:1"),
    ("line.last-page-noted:1", "maintain.settled:1"),
    ("line.page-journaled:3", "journal.replayed-one:1"),
];

/// Points of a call that comes in.
const RECEIVING: &[&str] =
    &["receive.document-kept:2", "receive.page-stored:2", "receive.call-over:1", "receive.ended:1"];

/// Points that are passed differently where the store is another process: around what it commits, and where the gateway's
/// next life has to take back what this one held.
const ON_POSTGRES: &[&str] = &[
    "intake.committed:2",
    "line.page-journaled:2",
    "journal.fact-stored:4",
    "line.call-over:1",
    "deliver.taken:2",
    "store.before-commit:12",
    "store.after-commit:12",
    "store.after-commit:25",
];

/// Sites at once. Each has three processes, most of the time waiting.
const AT_ONCE: usize = 2;

#[test]
fn a_gateway_that_dies_at_any_named_point_loses_nothing_and_does_nothing_twice() {
    let alone = POINTS.iter().map(|point| vec![*point]);
    let chains = AFTER_A_CRASH.iter().map(|(first, second)| vec![*first, *second]);
    check_each(alone.chain(chains).collect(), |points| sending(points, None));
}

#[test]
fn a_gateway_on_postgres_that_dies_at_a_point_of_store_line_or_intake_loses_nothing_and_does_nothing_twice() {
    let server = Server::start();
    check_each(ON_POSTGRES.to_vec(), |point| sending(&[*point], Some(server.new_database())));
}

#[test]
fn a_gateway_that_dies_while_a_fax_comes_in_delivers_each_page_that_it_confirmed() {
    check_each(RECEIVING.to_vec(), |point| receiving(point));
}

/// Runs every case, two at a time, and says which went wrong.
fn check_each<T: std::fmt::Debug + Send>(cases: Vec<T>, check: impl Fn(&T) -> Result<(), String> + Sync) {
    let work = Mutex::new(cases);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(points) = work.lock().unwrap().pop() else { return };
                    if let Err(what) = check(&points) {
                        failures.lock().unwrap().push(format!("{points:?}: {what}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Dies at each of the points in turn, then runs to the end.
fn sending(points: &[&str], database: Option<String>) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::new(Plan { database, ..Plan::quick(folder.path()) });
    let orders = orders();
    std::thread::scope(|scope| {
        let handing_in = scope.spawn(|| {
            let until = Instant::now() + PATIENCE;
            orders.iter().all(|order| hand_in(site.smtp(), order, &site.sent, until))
        });
        points.iter().try_for_each(|point| die_at(&site, point))?;
        site.start_gateway(&[]);
        assert!(handing_in.join().unwrap(), "every mail is accepted in the end\n{}", site.tails());
        Ok::<(), String>(())
    })?;
    finish(&site, orders.len())
}

/// Starts a gateway and waits until it has died where it was told to.
fn die_at(site: &Site, point: &str) -> Result<(), String> {
    site.start_gateway(&[("FAXWELL_CRASH_AT", point)]);
    let mut alive_ms = now_ms();
    let deadline = Instant::now() + Duration::from_secs(30);
    let dead = wait_for("the crash or its deadline", || {
        let looked_ms = now_ms();
        let dead = site.gateway.ended();
        alive_ms = if dead.is_some() { alive_ms } else { looked_ms };
        (dead.is_some() || Instant::now() >= deadline).then_some(dead)
    });
    // Aborted, and not ended because it could not even start.
    if dead.and_then(|status| status.signal()) != Some(Signal::ABORT.as_raw()) {
        return Err(format!("{point} was not passed: {dead:?}\n{}", site.tails()));
    }
    site.note_fault(FaultKind::GatewayKill, alive_ms, point);
    Ok(())
}

/// Dies in a call that comes in; the caller calls again, with other pages, until a call is taken to its end.
fn receiving(point: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::new(Plan::quick(folder.path()));
    std::thread::scope(|scope| {
        let calling = scope.spawn(|| {
            let until = Instant::now() + PATIENCE;
            let mut tokens = (1..).map(|call| format!("{}-{call}", point.replace([':', '.'], "-")));
            tokens.find(|token| site.call_in(token, 3).success() || Instant::now() >= until)
        });
        die_at(&site, point)?;
        site.start_gateway(&[]);
        calling.join().unwrap();
        Ok::<(), String>(())
    })?;
    wait_for(&format!("every confirmed page to come as mail\n{}", site.tails()), || {
        (checker::check(&site.seen()).mcf_without_mail == 0 && site.is_quiet()).then_some(())
    });
    let evidence = site.evidence();
    let pages: usize = evidence.inbound.iter().map(|call| call.confirmed.len()).sum();
    let score = checker::check(&evidence);
    if score.violations.is_empty() && pages >= 3 {
        return Ok(());
    }
    Err(format!("{pages} pages confirmed; {score}\n{:#?}\n{}", score.violations, site.tails()))
}

/// Waits for the last report and judges.
fn finish(site: &Site, mails: usize) -> Result<(), String> {
    wait_for(&format!("every report\n{}", site.tails()), || {
        (site.unanswered().is_empty() && site.is_quiet()).then_some(())
    });
    let score = checker::check(&site.evidence());
    if score.violations.is_empty() && score.accepted == mails {
        site.gateway.kill();
        return site.verify();
    }
    Err(format!("{score}\n{:#?}\n{}", score.violations, site.tails()))
}

/// Two of three pages and one that nobody answers, one after the other.
fn orders() -> Vec<Order> {
    let order =
        |token: &str, number: &str, pages, form| Order { token: token.into(), number: number.into(), pages, form };
    vec![
        order("crash-a", "+99910001", 3, Form::Tiff),
        order("crash-b", "+99910002", 3, Form::Text),
        order("crash-c", "+99910404", 1, Form::Body),
    ]
}

#[test]
fn the_table_of_crash_points_names_each_that_the_sources_have() {
    let mut found = BTreeSet::new();
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            // Both engines of the store have the same points; the table goes through them on SQLite.
            let is_second_engine = path.components().any(|part| part.as_os_str() == "postgres");
            for (at, start) in text.match_indices("crash_point!(\"") {
                let name = text[at + start.len()..].split('"').next().unwrap();
                if !path.ends_with("src/fault.rs") && !is_second_engine {
                    assert!(found.insert(name.to_owned()), "{name} stands at two places");
                }
            }
        }
    }
    let chained = AFTER_A_CRASH.iter().flat_map(|(first, second)| [*first, *second]);
    let listed = POINTS.iter().chain(RECEIVING).copied().chain(chained);
    let listed: BTreeSet<String> = listed.map(|point| point.split(':').next().unwrap().to_owned()).collect();
    assert_eq!(found, listed, "the sources, and the table of this test");
}
