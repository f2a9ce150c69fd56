//! Machines of a small network, each a network namespace, joined by a bridge in one more. Packets between two of them can
//! be dropped on the bridge, as a broken switch drops them: silently, and without either end being told.
//!
//! Everything carries this process's id in its name. Namespaces of a process that is gone are removed by the next run,
//! with whatever still runs in them.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::chaos::faults::NAME;

/// How the names of all namespaces begin.
const PREFIX: &str = "faxwell-";

/// A machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Host {
    Db1,
    Db2,
    Db3,
    Balancer,
    NodeA,
    NodeB,
    /// Mail clients, fax machines, the mail server that takes reports, the document store.
    Outside,
}

impl Host {
    pub(crate) const ALL: [Self; 7] =
        [Self::Db1, Self::Db2, Self::Db3, Self::Balancer, Self::NodeA, Self::NodeB, Self::Outside];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Db1 => "db1",
            Self::Db2 => "db2",
            Self::Db3 => "db3",
            Self::Balancer => "lb",
            Self::NodeA => "gw-a",
            Self::NodeB => "gw-b",
            Self::Outside => "out",
        }
    }

    pub(crate) fn address(self) -> Ipv4Addr {
        let last = match self {
            Self::Db1 => 11,
            Self::Db2 => 12,
            Self::Db3 => 13,
            Self::Balancer => 20,
            Self::NodeA => 31,
            Self::NodeB => 32,
            Self::Outside => 40,
        };
        Ipv4Addr::new(10, 99, 7, last)
    }
}

/// The network of all of them: the bridge is nowhere else, so that the addresses are free in every run.
pub(crate) const SUBNET: &str = "10.99.7.0/24";

/// What the bridge drops: pairs of sender and receiver.
const FILTER: &str = "table bridge faults {
 set cut { type ipv4_addr . ipv4_addr; }
 chain forward { type filter hook forward priority 0; policy accept;
  ip saddr . ip daddr @cut counter drop
 }
}
";

/// A running network; dropped, nothing of it is left.
pub(crate) struct Network {
    id: u32,
}

impl Network {
    pub(crate) fn up() -> Self {
        sweep();
        let network = Self { id: std::process::id() };
        let hub = network.hub();
        ip(&["netns", "add", &hub]);
        ip(&["-n", &hub, "link", "add", "bridge", "type", "bridge"]);
        ip(&["-n", &hub, "link", "set", "bridge", "up"]);
        for host in Host::ALL {
            let name = network.name(host);
            let port = format!("to-{}", host.name());
            ip(&["netns", "add", &name]);
            ip(&["-n", &name, "link", "set", "lo", "up"]);
            ip(&["link", "add", "eth0", "netns", &name, "type", "veth", "peer", "name", &port, "netns", &hub]);
            ip(&["-n", &name, "addr", "add", &format!("{}/24", host.address()), "dev", "eth0"]);
            ip(&["-n", &name, "link", "set", "eth0", "up"]);
            ip(&["-n", &hub, "link", "set", &port, "master", "bridge", "up"]);
        }
        network.filter(FILTER);
        network
    }

    fn hub(&self) -> String {
        format!("{PREFIX}{}-hub", self.id)
    }

    fn name(&self, host: Host) -> String {
        format!("{PREFIX}{}-{}", self.id, host.name())
    }

    /// The same command, on that machine.
    pub(crate) fn on(&self, host: Host, command: &Command) -> Command {
        let mut there = Command::new("nsenter");
        there.arg(format!("--net=/run/netns/{}", self.name(host))).arg("--");
        there.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => there.env(name, value),
                None => there.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            there.current_dir(folder);
        }
        there
    }

    /// Moves the calling thread, and the threads and processes that it starts, to that machine.
    pub(crate) fn enter(&self, host: Host) {
        let space = File::open(PathBuf::from("/run/netns").join(self.name(host))).unwrap();
        move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    /// No packet passes between one and the others any more.
    pub(crate) fn cut(&self, one: Host, others: &[Host]) {
        self.pairs("add", one, others);
    }

    pub(crate) fn heal(&self, one: Host, others: &[Host]) {
        self.pairs("delete", one, others);
    }

    fn pairs(&self, verb: &str, one: Host, others: &[Host]) {
        let pairs = others.iter().flat_map(|other| [(one, *other), (*other, one)]);
        let pairs: Vec<String> = pairs.map(|(from, to)| format!("{} . {}", from.address(), to.address())).collect();
        self.filter(&format!("{verb} element bridge faults cut {{ {} }}\n", pairs.join(", ")));
    }

    fn filter(&self, rules: &str) {
        use std::io::Write;
        let mut nft = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{}", self.hub()))
            .args(["--", "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        assert!(nft.wait().unwrap().success(), "nft refused: {rules}");
    }

    /// Every process on that machine.
    pub(crate) fn pids(&self, host: Host) -> Vec<u32> {
        pids(&self.name(host))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        remove(&format!("{PREFIX}{}-", self.id));
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(output.status.success(), "ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
}

fn pids(space: &str) -> Vec<u32> {
    let output = Command::new("ip").args(["netns", "pids", space]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Kills one process. It may be gone already.
pub(crate) fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Removes what runs of other processes have left, when these are gone.
fn sweep() {
    let is_gone = |id: &str| id.parse::<u32>().is_ok() && !Path::new("/proc").join(id).exists();
    for space in spaces() {
        if let Some(id) = space.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()).filter(|id| is_gone(id)) {
            remove(&format!("{PREFIX}{id}-"));
        }
    }
    for folder in [std::env::temp_dir(), PathBuf::from("/dev/shm")] {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().strip_prefix(NAME).is_some_and(is_gone) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
    for mount in std::fs::read_to_string("/proc/self/mounts").unwrap_or_default().lines() {
        let mut words = mount.split(' ');
        let (source, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if source.strip_prefix(NAME).is_some_and(is_gone) {
            let _ = Command::new("umount").args(["-l", target]).status();
        }
    }
}

fn spaces() -> Vec<String> {
    let found = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    found.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn remove(prefix: &str) {
    for space in spaces().into_iter().filter(|space| space.starts_with(prefix)) {
        // This process's own threads may be inside: they leave with their end.
        pids(&space).into_iter().filter(|pid| *pid != std::process::id()).for_each(kill);
        let _ = Command::new("ip").args(["netns", "del", &space]).status();
    }
}
