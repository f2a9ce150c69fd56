//! HAProxy in front of both gateways' mail ports and of the database: one that can be killed and started again.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::database::SERVERS;
use super::gateway::{NODES, WEB};
use super::net::{Host, Network};
use crate::chaos::process::Process;

/// Where mail comes in.
pub(crate) const SMTP: u16 = 25;
/// Where the primary is found.
pub(crate) const PRIMARY: u16 = 5000;

pub(crate) struct Balancer {
    folder: PathBuf,
    process: Process,
}

impl Balancer {
    pub(crate) fn start(network: &Network, folder: &Path) -> Self {
        fs::write(folder.join("haproxy.cfg"), configuration()).unwrap();
        let balancer = Self { folder: folder.to_owned(), process: Process::new() };
        balancer.again(network);
        balancer
    }

    /// Starts it once more.
    pub(crate) fn again(&self, network: &Network) {
        let log = File::options().create(true).append(true).open(self.folder.join("haproxy.log")).unwrap();
        let mut haproxy = Command::new("haproxy");
        haproxy.args(["-db", "-f"]).arg(self.folder.join("haproxy.cfg"));
        let mut there = network.on(Host::Balancer, &haproxy);
        there.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.process.put(there.spawn().unwrap());
    }

    pub(crate) fn kill(&self) {
        self.process.kill();
    }

    /// Where the store is found behind it.
    pub(crate) fn store() -> SocketAddr {
        (Host::Balancer.address(), PRIMARY).into()
    }

    pub(crate) fn smtp() -> SocketAddr {
        (Host::Balancer.address(), SMTP).into()
    }
}

fn configuration() -> String {
    let gateways =
        NODES.map(|host| format!("    server {} {}:25 check port {WEB} send-proxy-v2\n", host.name(), host.address()));
    let databases = SERVERS.map(|host| format!("    server {} {}:5432 check port 8008\n", host.name(), host.address()));
    let address = Host::Balancer.address();
    format!(
        "defaults
    mode tcp
    retries 3
    option redispatch 1
    timeout connect 2s
    timeout client 10m
    timeout server 10m
    timeout check 2s
listen mail
    bind {address}:{SMTP}
    balance roundrobin
    option httpchk GET /readyz?role=smtp
    http-check expect status 200
    default-server inter 1s fall 2 rise 1 on-error mark-down observe layer4 error-limit 1
{}listen primary
    bind {address}:{PRIMARY}
    option httpchk OPTIONS /primary
    http-check expect status 200
    default-server inter 1s fall 2 rise 1 on-marked-down shutdown-sessions
{}",
        gateways.concat(),
        databases.concat()
    )
}
