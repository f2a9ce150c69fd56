//! What is done to the cluster: by a seed, one fault at a time, each noted with its begin and end.

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;

use super::database::SERVERS;
use super::gateway::Gateway;
use super::lab::Lab;
use super::net::Host;
use super::wait::within;
use crate::chaos::faults::{FILLING, fill, pass};
use crate::chaos::ledger::{FaultKind, now_ms};

/// Every kind that a cluster knows, once.
const KINDS: &[FaultKind] = &[
    FaultKind::GatewayKill,
    FaultKind::GatewayStop,
    FaultKind::GatewayCutOff,
    FaultKind::StoreCutOff,
    FaultKind::PrimaryKill,
    FaultKind::PrimaryCutOff,
    FaultKind::ReplicaCutOff,
    FaultKind::ReplicaSlow,
    FaultKind::DiskFull,
    FaultKind::WrongClock,
    FaultKind::BalancerKill,
    FaultKind::DocumentsAway,
    FaultKind::Switchover,
    FaultKind::Drain,
    FaultKind::RollingRestart,
    FaultKind::GatewayDeath,
];

/// What each run has, whatever the others take of its time: they come among the first [`AT_LEAST`].
const ALWAYS: &[FaultKind] = &[
    FaultKind::GatewayDeath,
    FaultKind::PrimaryKill,
    FaultKind::PrimaryCutOff,
    FaultKind::Drain,
    FaultKind::RollingRestart,
];

/// Faults of a run, however long they take.
pub(crate) const AT_LEAST: usize = 12;

/// A call's lease and grace are 135 s; then the other node may call, and has the channels of the dead one, too. What came
/// meanwhile is called in turn.
const TAKEN_OVER: Duration = Duration::from_secs(240);

/// For an ordered end of a node: its calls end first.
const ENDS: Duration = Duration::from_secs(150);

/// Longer than a lease of a call (45 s): a node that wakes up has lost its work.
const STOPPED: std::ops::Range<u64> = 48..56;

/// Which faults, in which order.
pub(crate) fn storm(random: &mut Rng) -> Vec<FaultKind> {
    let mut all = KINDS.to_vec();
    random.shuffle(&mut all);
    let mut early: Vec<usize> = (0..AT_LEAST).filter(|at| !ALWAYS.contains(&all[*at])).collect();
    for late in AT_LEAST..all.len() {
        if ALWAYS.contains(&all[late])
            && let Some(at) = early.pop()
        {
            all.swap(at, late);
        }
    }
    all
}

/// These alone, for whoever looks into one of them: names as in the ledger.
pub(crate) fn named(names: &str) -> Vec<FaultKind> {
    let kind = |name: &str| serde_json::from_value(name.into()).unwrap_or_else(|error| panic!("{name}: {error}"));
    names.split_whitespace().map(kind).collect()
}

fn seconds(random: &mut Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(random.u64(range.start * 1000..range.end * 1000))
}

/// Does it, undoes it, waits until everything has its place again, and notes both times.
pub(crate) fn strike(lab: &Lab, kind: FaultKind, random: &mut Rng) {
    let gateway = &lab.gateways[random.usize(..2)];
    match kind {
        FaultKind::GatewayKill => kill(lab, gateway, seconds(random, 0..20)),
        FaultKind::GatewayDeath => die(lab, gateway),
        FaultKind::GatewayStop => {
            let at = now_ms();
            gateway.process.signal(Signal::STOP);
            pass(seconds(random, STOPPED));
            gateway.process.signal(Signal::CONT);
            lab.note(kind, Some(gateway.host), at, "SIGSTOP, SIGCONT");
        }
        FaultKind::GatewayCutOff => {
            let others: Vec<Host> = Host::ALL.into_iter().filter(|host| *host != gateway.host).collect();
            cut(lab, kind, gateway.host, &others, seconds(random, 20..40));
        }
        FaultKind::StoreCutOff => {
            let store = [&SERVERS[..], &[Host::Balancer]].concat();
            cut(lab, kind, gateway.host, &store, seconds(random, 20..40));
        }
        FaultKind::DiskFull => {
            let at = now_ms();
            let filled = fill(&gateway.data);
            pass(seconds(random, 8..15));
            std::fs::remove_file(gateway.data.join(FILLING)).unwrap();
            lab.note(kind, Some(gateway.host), at, &format!("{filled} bytes written until no space was left"));
        }
        FaultKind::WrongClock => wrong_clock(lab, gateway, random),
        FaultKind::BalancerKill => {
            let at = now_ms();
            lab.balancer.kill();
            pass(seconds(random, 2..8));
            lab.balancer.again(&lab.network);
            lab.note(kind, None, at, "kill -9, started again");
        }
        FaultKind::DocumentsAway => {
            let at = now_ms();
            lab.documents.signal(Signal::STOP);
            pass(seconds(random, 10..25));
            lab.documents.signal(Signal::CONT);
            lab.note(kind, None, at, "SIGSTOP, SIGCONT");
        }
        FaultKind::Drain => drain(lab, gateway),
        FaultKind::RollingRestart => lab.gateways.iter().for_each(|gateway| restart(lab, gateway)),
        FaultKind::PrimaryKill
        | FaultKind::PrimaryCutOff
        | FaultKind::ReplicaCutOff
        | FaultKind::ReplicaSlow
        | FaultKind::Switchover => strike_databases(lab, kind, random),
        one_node => unreachable!("{one_node:?} wants one node"),
    }
    lab.wait_until_it_works();
}

fn strike_databases(lab: &Lab, kind: FaultKind, random: &mut Rng) {
    let primary = lab.databases.primary().expect("the databases have recovered from the last fault");
    let replica = *lab.databases.replicas().first().expect("two replicas follow");
    let at = now_ms();
    match kind {
        FaultKind::PrimaryKill => {
            lab.databases.kill(&lab.network, primary);
            await_another(lab, primary);
            lab.note(kind, None, at, &format!("kill -9 of PostgreSQL and Patroni on {}", primary.name()));
            lab.databases.start_agent(&lab.network, primary);
        }
        FaultKind::PrimaryCutOff | FaultKind::ReplicaCutOff => {
            let host = if kind == FaultKind::PrimaryCutOff { primary } else { replica };
            let others: Vec<Host> = Host::ALL.into_iter().filter(|other| *other != host).collect();
            lab.network.cut(host, &others);
            if kind == FaultKind::PrimaryCutOff {
                await_another(lab, primary);
            }
            pass(seconds(random, 5..15));
            lab.network.heal(host, &others);
            lab.note(kind, None, at, &format!("{} cut off", host.name()));
        }
        FaultKind::ReplicaSlow => {
            let stopped = lab.databases.signal_receiver(&lab.network, replica, Signal::STOP);
            pass(seconds(random, 5..12));
            lab.databases.signal_receiver(&lab.network, replica, Signal::CONT);
            lab.note(kind, None, at, &format!("{}: receiver stopped: {stopped}", replica.name()));
        }
        _ => {
            let said = lab.databases.switch_over(&lab.network).unwrap_or_else(|error| error);
            lab.note(kind, None, at, &said);
        }
    }
    lab.databases.recover();
}

/// Until another server than this one takes writes.
fn await_another(lab: &Lab, dead: Host) {
    let limit = Duration::from_secs(90);
    let other = within(limit, || lab.databases.primary().filter(|primary| *primary != dead));
    assert!(other.is_some(), "no other primary than {} within {limit:?}; see {}", dead.name(), lab.folder.display());
}

fn cut(lab: &Lab, kind: FaultKind, host: Host, others: &[Host], time: Duration) {
    let at = now_ms();
    lab.network.cut(host, others);
    pass(time);
    lab.network.heal(host, others);
    lab.note(kind, Some(host), at, &format!("no packet for {} s", time.as_secs()));
}

/// Kills a node and starts it again after this time.
fn kill(lab: &Lab, gateway: &Gateway, dead: Duration) {
    let at = now_ms();
    gateway.process.kill();
    pass(dead);
    lab.note(FaultKind::GatewayKill, Some(gateway.host), at, &format!("kill -9, dead for {} s", dead.as_secs()));
    gateway.start(&lab.network, &[]);
    lab.wait_until_ready(gateway);
}

/// Kills a node and starts it again when the other one has gone on with every call that the death cut.
fn die(lab: &Lab, gateway: &Gateway) {
    let at = now_ms();
    gateway.process.kill();
    let left = || {
        let seen = lab.seen();
        let reported: BTreeSet<&str> =
            seen.mails.iter().filter(|mail| mail.is_final()).map(|mail| &*mail.fax).collect();
        let cut = seen.calls.iter().filter(|call| call.node == gateway.host.name() && call.is_open_at(at));
        // Another fax to the number may come first.
        let again = |number: &str| seen.calls.iter().any(|call| call.number == number && call.begin_ms > at);
        cut.filter(|call| !reported.contains(&*call.fax) && !again(&call.number)).count()
    };
    if within(TAKEN_OVER, || (left() == 0).then_some(())).is_none() {
        let name = gateway.host.name();
        lab.find(format!("{TAKEN_OVER:?} after the death of {name} nobody has gone on with {} of its calls", left()));
    }
    lab.note(FaultKind::GatewayDeath, Some(gateway.host), at, "kill -9, dead until the other node had its calls");
    gateway.start(&lab.network, &[]);
    lab.wait_until_ready(gateway);
}

/// The node runs for a while with a clock that is minutes ahead or behind. It takes a restart to give it one.
fn wrong_clock(lab: &Lab, gateway: &Gateway, random: &mut Rng) {
    let minutes = random.i32(3..=9) * if random.bool() { 1 } else { -1 };
    let library = clock_library();
    let offset = format!("{minutes:+}m");
    let variables = [("LD_PRELOAD", library.as_str()), ("FAKETIME", &offset), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    let killed = now_ms();
    gateway.process.kill();
    lab.note(FaultKind::GatewayKill, Some(gateway.host), killed, "kill -9, for another clock");
    gateway.start(&lab.network, &variables);
    lab.wait_until_ready(gateway);
    lab.wait_until_it_works();
    pass(seconds(random, 15..25));
    lab.note(FaultKind::WrongClock, Some(gateway.host), killed, &format!("its clock was {offset} off"));
    kill(lab, gateway, Duration::ZERO);
}

fn clock_library() -> String {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let libraries = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    let found = libraries.into_iter().find(|path| path.exists()).expect("libfaketime is installed");
    found.to_string_lossy().into_owned()
}

/// Drains a node, and takes it back when nothing is left on it.
fn drain(lab: &Lab, gateway: &Gateway) {
    let at = now_ms();
    let name = gateway.host.name();
    if let Err(error) = gateway.command(&lab.network, &["node", "drain", name]) {
        return lab.find(error);
    }
    let drained = within(ENDS, || {
        let list = gateway.command(&lab.network, &["node", "list", "--json"]).ok()?;
        let nodes = list.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let own = nodes.into_iter().find(|node| node["node"] == name)?;
        (own["standing"] == "drained").then_some(())
    });
    if drained.is_none() {
        lab.find(format!("{name} is not drained after {ENDS:?}"));
    }
    if let Err(error) = gateway.command(&lab.network, &["node", "resume", name]) {
        lab.find(error);
    }
    lab.wait_until_ready(gateway);
    lab.note(FaultKind::Drain, Some(gateway.host), at, "drained, resumed");
}

/// Asks a node to end, waits for that, and starts it anew.
fn restart(lab: &Lab, gateway: &Gateway) {
    let at = now_ms();
    let name = gateway.host.name();
    gateway.process.signal(Signal::TERM);
    match within(ENDS, || gateway.process.ended()) {
        Some(status) if status.success() => {}
        ended => lab.find(format!("{name} was asked to end: {ended:?} within {ENDS:?}")),
    }
    gateway.process.kill();
    gateway.start(&lab.network, &[]);
    lab.wait_until_ready(gateway);
    lab.note(FaultKind::RollingRestart, Some(gateway.host), at, "SIGTERM, started anew");
    lab.wait_until_it_works();
}
