//! A gateway, its far end and its smart host in one folder: started, struck, looked at, drained.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::control;
use super::evidence::Evidence;
use super::ledger::{Fault, FaultKind, Ledger, now_ms};
use super::process::Process;
use super::smart_host::SmartHost;
use crate::harness::{faxwell, free_ports, wait_for};

/// Where a site lies and how fast its calls are.
pub(crate) struct Plan {
    pub(crate) folder: PathBuf,
    /// Where the gateway writes: in the folder, or on a disk of its own.
    pub(crate) data: PathBuf,
    pub(crate) pace: &'static str,
    pub(crate) channels: u32,
    /// Where the store is when it is not a file in `data`, as in `postgres://…`.
    pub(crate) database: Option<String>,
}

impl Plan {
    pub(crate) fn quick(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), data: folder.join("data"), pace: "max", channels: 4, database: None }
    }
}

/// Everything of one run.
pub(crate) struct Site {
    pub(crate) plan: Plan,
    port: u16,
    pub(crate) gateway: Process,
    pub(crate) far_end: Process,
    pub(crate) smart_host: SmartHost,
    pub(crate) sent: Ledger,
    faults: Ledger,
}

impl Site {
    /// Far end and smart host run; the gateway is still to be started.
    pub(crate) fn new(plan: Plan) -> Self {
        fs::create_dir_all(&plan.data).unwrap();
        let port = free_ports();
        let site = Self {
            port,
            gateway: Process::new(),
            far_end: Process::new(),
            smart_host: SmartHost::start(&plan.folder, ([127, 0, 0, 1], port + 3).into()),
            sent: Ledger::open(&plan.folder.join("sent.jsonl")),
            faults: Ledger::open(&plan.folder.join("faults.jsonl")),
            plan,
        };
        fs::write(site.config(), site.configuration()).unwrap();
        site.start_far_end();
        site
    }

    fn config(&self) -> PathBuf {
        self.plan.folder.join("faxwell.toml")
    }

    fn configuration(&self) -> String {
        let Plan { data, pace, channels, .. } = &self.plan;
        let (data, port, sip, smart) = (data.display(), self.port, self.port + 2, self.smart_host.address);
        let line = self.line();
        let database = self.plan.database.iter().map(|url| format!("[store]\ndatabase = \"{url}\"\n"));
        let database: String = database.collect();
        format!(
            r#"domain = "fax.local"
node = "gw-a"
data = "{data}"
{database}[smtp]
listen = ["127.0.0.1:{port}"]
relay = ["127.0.0.0/8"]
[render]
cover = "none"
[sip.sandbox]
server = "127.0.0.1:{sip}"
bind = "{line}"
number = "+9990000"
channels = {channels}
sandbox = true
pace = "{pace}"
[dial]
retry = {{ busy = "3x 1s", no_answer = "3x 1s", other = "8x 1s", give_up = "10m" }}
[inbound]
default = ["office@example.com"]
format = "tiff"
[delivery]
smarthost = ["{smart}"]
"#
        )
    }

    pub(crate) fn smtp(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Where the gateway's line takes calls.
    fn line(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port + 4).into()
    }

    /// Calls the gateway with pages that no other token has. Answers when the call is over.
    pub(crate) fn call_in(&self, token: &str, pages: u32) -> std::process::ExitStatus {
        let mut command = faxwell();
        command.args(["far-end", "send", "--gateway", &self.line().to_string(), "--did", "+41445550001"]);
        command.args(["--from", "+41315550002", "--pages", &pages.to_string(), "--token", token, "--fax-id", token]);
        command.args(["--pace", self.plan.pace, "--ledger"]).arg(self.plan.folder.join("inbound.jsonl"));
        command.stdout(Stdio::null()).stderr(self.log("far-end.log")).status().unwrap()
    }

    fn log(&self, name: &str) -> fs::File {
        OpenOptions::new().create(true).append(true).open(self.plan.folder.join(name)).unwrap()
    }

    /// Starts the gateway with these variables and does not wait for it.
    pub(crate) fn start_gateway(&self, variables: &[(&str, &str)]) {
        let mut command = faxwell();
        command.args(["serve", "-c"]).arg(self.config()).envs(variables.iter().copied());
        command.stdout(Stdio::null()).stderr(self.log("gateway.log"));
        self.gateway.put(command.spawn().unwrap());
    }

    pub(crate) fn start_far_end(&self) {
        let mut command = faxwell();
        command.args(["far-end", "--listen", &format!("127.0.0.1:{}", self.port + 2), "--pace", self.plan.pace]);
        command.arg("--tray").arg(self.plan.folder.join("tray"));
        command.arg("--ledger").arg(self.plan.folder.join("farend.jsonl"));
        command.stdout(Stdio::null()).stderr(self.log("far-end.log"));
        self.far_end.put(command.spawn().unwrap());
    }

    /// Whether the gateway takes mail.
    pub(crate) fn listens(&self) -> bool {
        TcpStream::connect_timeout(&self.smtp(), Duration::from_secs(1)).is_ok()
    }

    pub(crate) fn wait_until_it_listens(&self) {
        wait_for(&format!("the gateway of {} to listen", self.plan.folder.display()), || self.listens().then_some(()));
    }

    pub(crate) fn note_fault(&self, kind: FaultKind, at_ms: u64, detail: &str) {
        self.faults.write(&Fault { kind, at_ms, until_ms: now_ms(), detail: detail.to_owned(), node: String::new() });
    }

    /// Accepted mails without a report.
    pub(crate) fn unanswered(&self) -> BTreeSet<String> {
        self.seen().unanswered()
    }

    /// Whether nothing is under way any more: no fax waits, no call is open, no mail is owed.
    pub(crate) fn is_quiet(&self) -> bool {
        control::is_quiet(&self.plan.data)
    }

    /// What was seen from outside until now.
    pub(crate) fn seen(&self) -> Evidence {
        Evidence::read(&self.plan.folder, BTreeMap::new())
    }

    /// What the gateway says of each fax that the ledgers name. Asked at the end, when nothing is under way.
    pub(crate) fn evidence(&self) -> Evidence {
        let mut evidence = self.seen();
        let faxes = evidence.faxes();
        evidence.records = faxes.into_iter().filter_map(|fax| control::record(&self.plan.data, fax)).collect();
        evidence
    }

    /// The gateway's own look at its store and documents, when it does not run: what is wrong with them.
    pub(crate) fn verify(&self) -> Result<(), String> {
        let output = faxwell().args(["db", "verify", "--deep", "-c"]).arg(self.config()).output().unwrap();
        if output.status.success() {
            return Ok(());
        }
        Err(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
    }

    /// The ends of the logs, for a person who looks for the cause.
    pub(crate) fn tails(&self) -> String {
        let tail = |name: &str| {
            let text = fs::read_to_string(self.plan.folder.join(name)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().rev().take(60).collect();
            format!("--- {name} ---\n{}\n", lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
        };
        ["gateway.log", "far-end.log", "sent.jsonl", "farend.jsonl", "mailbox.jsonl"].map(tail).concat()
    }
}
