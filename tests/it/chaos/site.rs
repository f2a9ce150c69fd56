//! A gateway, its far end and its smart host in one folder: started, struck, looked at, drained.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::evidence::{Evidence, Record};
use super::ledger::{self, Delivered, Fault, FaultKind, Ledger, Sent, SentOutcome, now_ms};
use super::pages;
use super::smart_host::SmartHost;
use crate::harness::{PATIENCE, faxwell, free_ports, wait_for};

/// Where a site lies and how fast its calls are.
pub(crate) struct Plan {
    pub(crate) folder: PathBuf,
    /// Where the gateway writes: in the folder, or on a disk of its own.
    pub(crate) data: PathBuf,
    pub(crate) pace: &'static str,
    pub(crate) channels: u32,
}

impl Plan {
    pub(crate) fn quick(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), data: folder.join("data"), pace: "max", channels: 4 }
    }
}

/// A process that can be struck.
pub(crate) struct Process {
    child: Mutex<Option<Child>>,
}

impl Process {
    fn new() -> Self {
        Self { child: Mutex::new(None) }
    }

    fn put(&self, child: Child) {
        *self.child.lock().unwrap() = Some(child);
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.lock().unwrap().as_ref().map(Child::id)
    }

    /// SIGKILL: nothing of it gets to run.
    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            let _ = kill_process(pid, signal);
        }
    }

    /// How it ended, when it has.
    pub(crate) fn ended(&self) -> Option<std::process::ExitStatus> {
        self.child.lock().unwrap().as_mut().and_then(|child| child.try_wait().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
        self.kill();
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
            smart_host: SmartHost::start(&plan.folder, port + 3),
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
        format!(
            r#"domain = "fax.local"
node = "gw-a"
data = "{data}"
[smtp]
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
        self.faults.write(&Fault { kind, at_ms, until_ms: now_ms(), detail: detail.to_owned() });
    }

    /// Accepted mails without a report.
    pub(crate) fn unanswered(&self) -> BTreeSet<String> {
        let sent: Vec<Sent> = ledger::read(&self.plan.folder.join("sent.jsonl"));
        let mails: Vec<Delivered> = ledger::read(&self.plan.folder.join("mailbox.jsonl"));
        let answered: BTreeSet<String> = mails.into_iter().map(|mail| mail.in_reply_to).collect();
        let accepted = sent.into_iter().filter(|sent| sent.outcome == SentOutcome::Accepted).map(|sent| sent.token);
        accepted.filter(|token| !answered.iter().any(|id| id.contains(&format!("<{token}@")))).collect()
    }

    /// Whether nothing is under way any more: no fax waits, no call is open, no mail is owed.
    pub(crate) fn is_quiet(&self) -> bool {
        let Some(status) = self.json("/api/v1/status") else { return false };
        let count = |of: &str, state: &str| status[of][state].as_u64().unwrap_or(0);
        count("faxes", "accepted") + count("faxes", "ready") + count("notices", "owed") == 0
            && status["calls"].as_u64() == Some(0)
    }

    /// What the gateway's own interface answers, when it is there.
    fn get(&self, path: &str) -> Option<Vec<u8>> {
        let mut stream = UnixStream::connect(self.plan.data.join("control.sock")).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        // HTTP/1.0: the answer is whole when the connection ends.
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        head.lines().next()?.contains(" 200 ").then(|| answer[end + 4..].to_vec())
    }

    fn json(&self, path: &str) -> Option<Value> {
        serde_json::from_slice(&self.get(path)?).ok()
    }

    /// What was seen from outside until now.
    pub(crate) fn seen(&self) -> Evidence {
        Evidence::read(&self.plan.folder, BTreeMap::new())
    }

    /// What the gateway says of each fax that the ledgers name. Asked at the end, when nothing is under way.
    pub(crate) fn evidence(&self) -> Evidence {
        let mut evidence = self.seen();
        let sent = evidence.sent.iter().filter_map(|sent| sent.fax.as_deref());
        let mails = evidence.mails.iter().map(|mail| mail.fax.as_str());
        let calls = evidence.calls.iter().map(|call| call.fax.as_str());
        let faxes: BTreeSet<&str> = sent.chain(mails).chain(calls).filter(|fax| fax.starts_with("F-")).collect();
        let records = faxes.into_iter().filter_map(|fax| Some((fax.to_owned(), self.record(fax)?))).collect();
        evidence.records = records;
        evidence
    }

    fn record(&self, fax: &str) -> Option<Record> {
        let detail = self.json(&format!("/api/v1/faxes/{fax}"))?;
        let document = self.get(&format!("/api/v1/faxes/{fax}/document.tiff"));
        Some(Record {
            state: detail["state"].as_str().unwrap_or_default().to_owned(),
            pages_confirmed: detail["pages_confirmed"].as_u64().unwrap_or(0).try_into().unwrap(),
            bodies: document.map(|tiff| pages::bodies(&tiff)).unwrap_or_default(),
        })
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
