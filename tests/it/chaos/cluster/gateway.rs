//! A node of the gateway: one process with all roles, its journal and spool on a small disk of its own.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::balancer::PRIMARY;
use super::database::SERVERS;
use super::net::{Host, Network, SUBNET};
use super::wait::get;
use crate::chaos::faults::Disk;
use crate::chaos::process::Process;
use crate::harness::faxwell;

pub(crate) const NODES: [Host; 2] = [Host::NodeA, Host::NodeB];

/// Health and metrics.
pub(crate) const WEB: u16 = 8080;
/// Calls from and to the world.
pub(crate) const SIP: u16 = 5060;
/// The far end answers here, the smart host takes reports here, documents lie here: all of it outside.
pub(crate) const SMART_HOST: u16 = 2525;
pub(crate) const DOCUMENTS: u16 = 9000;

/// Calls at once over both nodes: a real call of some pages takes the better part of a minute.
const CHANNELS: u32 = 96;

pub(crate) struct Gateway {
    pub(crate) host: Host,
    pub(crate) data: PathBuf,
    configuration: PathBuf,
    log: PathBuf,
    pub(crate) process: Process,
    _disk: Disk,
}

impl Gateway {
    /// Everything but the process.
    pub(crate) fn new(host: Host, folder: &Path) -> Self {
        let data = folder.join(host.name());
        let disk = Disk::mount(&data).unwrap();
        let configuration = folder.join(format!("{}.toml", host.name()));
        fs::write(&configuration, settings(host, &data)).unwrap();
        let log = folder.join(format!("{}.log", host.name()));
        Self { host, data, configuration, log, process: Process::new(), _disk: disk }
    }

    /// The number that its calls show, by which the far end's ledger tells the nodes from each other.
    pub(crate) fn number(host: Host) -> String {
        format!("+4143000{:04}", host.address().octets()[3])
    }

    /// The number that reaches it.
    pub(crate) fn did(host: Host) -> String {
        format!("+4155000{:04}", host.address().octets()[3])
    }

    pub(crate) fn line(&self) -> SocketAddr {
        (self.host.address(), SIP).into()
    }

    /// Starts it with these variables and does not wait for it.
    pub(crate) fn start(&self, network: &Network, variables: &[(&str, &str)]) {
        let mut command = faxwell();
        command.args(["serve", "-c"]).arg(&self.configuration).envs(variables.iter().copied());
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let mut there = network.on(self.host, &command);
        there.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.process.put(there.spawn().unwrap());
    }

    /// Whether the balancer may send it mail. Must be asked from a machine of the network.
    pub(crate) fn is_ready(&self) -> bool {
        get((self.host.address(), WEB).into(), "/readyz?role=smtp").is_some_and(|(status, _)| status == 200)
    }

    /// Runs one of its commands on its machine.
    pub(crate) fn command(&self, network: &Network, arguments: &[&str]) -> Result<String, String> {
        let mut command: Command = faxwell();
        command.args(arguments).arg("-c").arg(&self.configuration);
        let output = network.on(self.host, &command).output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(said);
        }
        Err(format!("{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr)))
    }
}

fn settings(host: Host, data: &Path) -> String {
    let (name, outside) = (host.name(), Host::Outside.address());
    let number = Gateway::number(host);
    // One node goes through the balancer, the other one finds the primary by itself: both ways are in every run.
    let store = if host == Host::NodeA {
        format!("database = \"postgres://faxwell@{}:{PRIMARY}/faxwell?sslmode=disable\"", Host::Balancer.address())
    } else {
        let hosts = SERVERS.map(|host| format!("\"{}:5432\"", host.address())).join(", ");
        format!("database = \"postgres://faxwell@/faxwell?sslmode=disable\"\nhosts = [{hosts}]")
    };
    format!(
        r#"domain = "fax.local"
node = "{name}"
data = "{data}"
[store]
{store}
documents = "s3://fax-docs?endpoint=http://{outside}:{DOCUMENTS}&region=us-east-1"
s3 = {{ access_key = {{ file = "s3-access" }}, secret_key = {{ file = "s3-secret" }} }}
keys = {{ file = "store.keys" }}
[smtp]
listen = ["{address}:25"]
relay = ["{SUBNET}"]
proxy_protocol_from = ["{balancer}/32"]
[web]
listen = "{address}:{WEB}"
[render]
cover = "none"
[sip.carrier]
server = "{outside}:{SIP}"
bind = "{address}:{SIP}"
number = "{number}"
channels = {CHANNELS}
[dial]
allow = ["+4144"]
retry = {{ busy = "5x 5s", no_answer = "5x 5s", other = "8x 5s", give_up = "30m" }}
[inbound]
default = ["office@example.com"]
format = "tiff"
[delivery]
smarthost = ["{outside}:{SMART_HOST}"]
"#,
        data = data.display(),
        address = host.address(),
        balancer = Host::Balancer.address(),
    )
}
