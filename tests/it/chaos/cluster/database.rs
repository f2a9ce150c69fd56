//! Three database servers: on each an etcd member, Patroni and PostgreSQL, with one synchronous replica at least.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::net::{self, Host, Network, SUBNET};
use super::wait::{get, within};
use crate::chaos::faults::own_name;
use crate::chaos::process::Process;

pub(crate) const SERVERS: [Host; 3] = [Host::Db1, Host::Db2, Host::Db3];

/// From nothing to a primary with replicas, on a busy machine.
const START: Duration = Duration::from_secs(90);
/// For a failover (Patroni's shortest time to live is 20 s), and for a server that comes back by pg_rewind.
const RECOVERY: Duration = Duration::from_secs(90);
/// Patroni's own interface.
const PATRONI: u16 = 8008;

/// All three of them.
pub(crate) struct Databases {
    /// Configurations and the servers' files: a folder that the database's user can reach.
    folder: PathBuf,
    /// etcd's files, in memory: three servers on one disk would starve its elections.
    elections: PathBuf,
    logs: PathBuf,
    /// Where Patroni is installed.
    patroni: PathBuf,
    members: [Process; 3],
    agents: [Process; 3],
}

/// A server as Patroni sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) host: Host,
    /// `leader`, `sync_standby`, `replica`.
    pub(crate) role: String,
    /// `running`, `streaming`, …
    pub(crate) state: String,
}

impl Databases {
    /// Starts all three and makes the gateway's database. Must be called on a machine of the network.
    pub(crate) fn start(network: &Network, programs: &Path, logs: &Path) -> Self {
        let name = own_name();
        let all = || std::array::from_fn(|_| Process::new());
        let databases = Self {
            folder: std::env::temp_dir().join(&name),
            elections: Path::new("/dev/shm").join(&name),
            logs: logs.to_owned(),
            patroni: programs.join("patroni"),
            members: all(),
            agents: all(),
        };
        for host in SERVERS {
            databases.configure(host);
        }
        for host in SERVERS {
            databases.start_member(network, host);
        }
        for host in SERVERS {
            databases.start_agent(network, host);
        }
        databases.settle("the databases to start", START);
        databases.sql(network, "postgres", "CREATE ROLE faxwell LOGIN");
        databases.sql(network, "postgres", "CREATE DATABASE faxwell OWNER faxwell");
        databases
    }

    fn configure(&self, host: Host) {
        for folder in [&self.folder, &self.elections] {
            fs::create_dir_all(folder).unwrap();
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
            let own = folder.join(host.name());
            fs::create_dir_all(&own).unwrap();
            fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).unwrap();
            run(Command::new("chown").arg("postgres:").arg(&own));
        }
        fs::write(self.configuration(host), self.settings(host)).unwrap();
    }

    fn configuration(&self, host: Host) -> PathBuf {
        self.folder.join(format!("{}.yml", host.name()))
    }

    fn settings(&self, host: Host) -> String {
        let (name, address) = (host.name(), host.address());
        let etcd = SERVERS.map(|host| format!("\"{}:2379\"", host.address())).join(", ");
        let folder = self.folder.join(name);
        let folder = folder.display();
        let programs = postgres_programs();
        let programs = programs.display();
        format!(
            r#"scope: faxwell
name: {name}
restapi: {{listen: "{address}:{PATRONI}", connect_address: "{address}:{PATRONI}"}}
etcd3: {{hosts: [{etcd}]}}
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 2
    retry_timeout: 5
    maximum_lag_on_failover: 1048576
    synchronous_mode: true
    postgresql:
      use_pg_rewind: true
      use_slots: true
      parameters: {{wal_level: replica, hot_standby: "on", max_connections: 150, max_wal_senders: 10, max_replication_slots: 10,
        wal_log_hints: "on", wal_keep_size: 256MB, shared_buffers: 128MB, log_min_duration_statement: 3000}}
  initdb: [{{encoding: UTF8}}, data-checksums, {{locale: C.UTF-8}}]
postgresql:
  listen: "{address},127.0.0.1:5432"
  connect_address: "{address}:5432"
  data_dir: {folder}/data
  bin_dir: {programs}
  pgpass: {folder}/pgpass
  authentication:
    superuser: {{username: postgres, password: super}}
    replication: {{username: replicator, password: replicate}}
    rewind: {{username: rewinder, password: rewind}}
  parameters: {{unix_socket_directories: "{folder}"}}
  pg_hba:
    - local all all trust
    - host replication replicator {SUBNET} scram-sha-256
    - host replication replicator 127.0.0.1/32 scram-sha-256
    - host all all {SUBNET} trust
    - host all all 127.0.0.1/32 trust
watchdog: {{mode: "off"}}
"#
        )
    }

    fn start_member(&self, network: &Network, host: Host) {
        let url = |host: Host, port: u16| format!("http://{}:{port}", host.address());
        let peers = SERVERS.map(|host| format!("{}={}", host.name(), url(host, 2380))).join(",");
        let mut etcd = as_postgres("etcd");
        // Without a vote before the vote a member that was cut off forces elections when it comes back.
        etcd.args(["--pre-vote=true", "--heartbeat-interval=100", "--election-timeout=1000", "--logger=zap"]);
        etcd.args(["--name", host.name(), "--data-dir"]).arg(self.elections.join(host.name()).join("member"));
        etcd.args(["--listen-peer-urls", &url(host, 2380), "--initial-advertise-peer-urls", &url(host, 2380)]);
        etcd.args(["--listen-client-urls", &url(host, 2379), "--advertise-client-urls", &url(host, 2379)]);
        etcd.args([
            "--initial-cluster",
            &peers,
            "--initial-cluster-token",
            "faxwell",
            "--initial-cluster-state",
            "new",
        ]);
        self.members[index(host)].put(self.spawn(network, host, &etcd, "etcd"));
    }

    /// Patroni, which starts PostgreSQL.
    pub(crate) fn start_agent(&self, network: &Network, host: Host) {
        let mut patroni = as_postgres("/usr/bin/python3");
        patroni.arg(self.patroni.join("bin/patroni")).arg(self.configuration(host));
        patroni.env("PYTHONPATH", &self.patroni).env("HOME", self.folder.join(host.name()));
        patroni.env("PATH", "/usr/bin:/bin");
        self.agents[index(host)].put(self.spawn(network, host, &patroni, "patroni"));
    }

    fn spawn(&self, network: &Network, host: Host, command: &Command, log: &str) -> std::process::Child {
        let path = self.logs.join(format!("{log}-{}.log", host.name()));
        let log = File::options().create(true).append(true).open(path).unwrap();
        let mut there = network.on(host, command);
        there.current_dir(&self.folder).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        there.spawn().unwrap()
    }

    /// What the cluster is, as the first server that answers tells it.
    pub(crate) fn members(&self) -> Option<Vec<Member>> {
        let (_, body) = SERVERS.into_iter().find_map(|host| get(patroni(host), "/cluster"))?;
        let told: Value = serde_json::from_slice(&body).ok()?;
        let member = |told: &Value| {
            let text = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
            let host = SERVERS.into_iter().find(|host| host.name() == text("name"))?;
            Some(Member { host, role: text("role"), state: text("state") })
        };
        Some(told["members"].as_array()?.iter().filter_map(member).collect())
    }

    /// The server that takes writes.
    pub(crate) fn primary(&self) -> Option<Host> {
        SERVERS.into_iter().find(|host| get(patroni(*host), "/primary").is_some_and(|(status, _)| status == 200))
    }

    /// Those that are not, the synchronous one first.
    pub(crate) fn replicas(&self) -> Vec<Host> {
        let mut members = self.members().unwrap_or_default();
        members.retain(|member| member.role != "leader");
        members.sort_by_key(|member| member.role != "sync_standby");
        members.into_iter().map(|member| member.host).collect()
    }

    /// Until there is a primary, with two replicas that follow it, one of them synchronous.
    pub(crate) fn recover(&self) {
        self.settle("the databases to recover", RECOVERY);
    }

    fn settle(&self, what: &str, limit: Duration) {
        let whole = within(limit, || {
            let members = self.members()?;
            let count = |role: &str, state: &str| {
                members.iter().filter(|member| member.role == role && member.state == state).count()
            };
            let followers = count("sync_standby", "streaming") + count("replica", "streaming");
            (count("leader", "running") == 1 && followers == 2 && count("sync_standby", "streaming") >= 1).then_some(())
        });
        if whole.is_none() {
            panic!("waited {limit:?} for {what}: {:?}; see {}", self.members(), self.logs.display());
        }
    }

    /// Kills PostgreSQL and Patroni of a server at once; the member of the election lives on.
    pub(crate) fn kill(&self, network: &Network, host: Host) {
        let spared = self.members[index(host)].pid();
        self.agents[index(host)].kill();
        network.pids(host).into_iter().filter(|pid| Some(*pid) != spared).for_each(net::kill);
    }

    /// Stops what takes the primary's changes on a replica, or lets it go on. Answers whether there was one.
    pub(crate) fn signal_receiver(&self, network: &Network, host: Host, signal: Signal) -> bool {
        let receives = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains("walreceiver")
        };
        let Some(pid) = network.pids(host).into_iter().find(receives) else { return false };
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
        kill_process(pid, signal).is_ok()
    }

    /// Makes the synchronous replica the primary, on purpose. Answers what was said, an error for a refusal.
    pub(crate) fn switch_over(&self, network: &Network) -> Result<String, String> {
        let leader = self.primary().ok_or("no primary")?;
        let candidate = *self.replicas().first().ok_or("no replica")?;
        let mut command = as_postgres("/usr/bin/python3");
        command.arg(self.patroni.join("bin/patronictl")).arg("-c").arg(self.configuration(leader));
        command.args(["switchover", "--leader", leader.name(), "--candidate", candidate.name(), "--force"]);
        command.env("PYTHONPATH", &self.patroni);
        let output = network.on(leader, &command).current_dir(&self.folder).output().unwrap();
        let said = format!("{} to {}", leader.name(), candidate.name());
        if output.status.success() {
            Ok(said)
        } else {
            Err(format!("{said}: {}", String::from_utf8_lossy(&output.stderr)))
        }
    }

    /// Whether whoever answers here, as a balancer, leads to the primary.
    pub(crate) fn is_reached_at(network: &Network, address: SocketAddr) -> bool {
        let mut psql = Command::new("psql");
        psql.args(["-qXtA", "-U", "postgres", "-d", "postgres", "-h", &address.ip().to_string()]);
        psql.args(["-p", &address.port().to_string(), "-c", "SELECT pg_is_in_recovery()"]);
        let output = network.on(Host::Outside, &psql).output().unwrap();
        output.status.success() && output.stdout.starts_with(b"f")
    }

    fn sql(&self, network: &Network, database: &str, statement: &str) {
        let primary = self.primary().expect("settled");
        let mut psql = Command::new("psql");
        psql.args(["-qX", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-h"]);
        psql.arg(primary.address().to_string()).args(["-c", statement]);
        run(&mut network.on(Host::Balancer, &psql));
    }
}

impl Drop for Databases {
    fn drop(&mut self) {
        for process in self.agents.iter().chain(&self.members) {
            process.kill();
        }
        // PostgreSQL itself ends with the network, which kills what is left.
        let _ = fs::remove_dir_all(&self.elections);
    }
}

/// The folder of the databases, for whoever removes it when nothing writes there any more.
impl Databases {
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.clone()
    }
}

fn index(host: Host) -> usize {
    SERVERS.iter().position(|server| *server == host).expect("a database server")
}

fn patroni(host: Host) -> SocketAddr {
    (host.address(), PATRONI).into()
}

/// PostgreSQL and Patroni refuse to run as root.
fn as_postgres(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", program]);
    command
}

/// Of the newest version that is installed.
fn postgres_programs() -> PathBuf {
    let found = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path());
    let newest = found.max_by_key(|path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()));
    newest.expect("PostgreSQL is installed").join("bin")
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
