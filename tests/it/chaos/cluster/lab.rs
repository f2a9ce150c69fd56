//! The whole of it: network, databases, document store, balancer, two gateways, and the world outside with its ledgers.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::balancer::Balancer;
use super::database::Databases;
use super::gateway::{DOCUMENTS, Gateway, NODES, SIP, SMART_HOST};
use super::net::{Host, Network};
use super::wait::within;
use crate::chaos::control;
use crate::chaos::evidence::{Call, Evidence};
use crate::chaos::ledger::{Fault, FaultKind, Ledger, now_ms};
use crate::chaos::process::Process;
use crate::chaos::smart_host::SmartHost;
use crate::harness::faxwell;

/// For a gateway to come up beside everything else.
pub(crate) const READY: Duration = Duration::from_secs(60);
/// For the system to accept and finish again after a fault, and for what is left to finish.
const WORKS: Duration = Duration::from_secs(150);

/// Fields end in this order: the network with whatever runs on it after its users, then the files of the databases.
pub(crate) struct Lab {
    pub(crate) folder: PathBuf,
    pub(crate) gateways: [Gateway; 2],
    far_end: Process,
    pub(crate) documents: Process,
    _smart_host: SmartHost,
    pub(crate) balancer: Balancer,
    pub(crate) databases: Databases,
    pub(crate) sent: Ledger,
    faults: Ledger,
    /// Rules broken that no ledger shows.
    pub(crate) found: Mutex<Vec<String>>,
    pub(crate) network: Network,
    _files: Files,
}

struct Files(PathBuf);

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Lab {
    /// Starts everything and waits until both gateways are ready. The calling thread is outside from then on. Answers how
    /// long each part took.
    pub(crate) fn up(folder: &Path, programs: &Path, random: &mut fastrand::Rng) -> (Self, String) {
        let begun = Instant::now();
        let network = Network::up();
        network.enter(Host::Outside);
        let databases = Databases::start(&network, programs, folder);
        let databases_s = begun.elapsed().as_secs_f32();
        secrets(folder, random);
        let documents = Process::new();
        documents.put(start_documents(&network, programs, folder));
        let address = (Host::Outside.address(), SMART_HOST).into();
        let lab = Self {
            folder: folder.to_owned(),
            gateways: NODES.map(|host| Gateway::new(host, folder)),
            far_end: Process::new(),
            documents,
            _smart_host: SmartHost::start(folder, address),
            balancer: Balancer::start(&network, folder),
            _files: Files(databases.folder()),
            databases,
            sent: Ledger::open(&folder.join("sent.jsonl")),
            faults: Ledger::open(&folder.join("faults.jsonl")),
            found: Mutex::new(Vec::new()),
            network,
        };
        lab.make_bucket();
        // Until its first checks the balancer takes each server for the primary, in turn: twice around says that it knows.
        let knows = || (0..6).all(|_| Databases::is_reached_at(&lab.network, Balancer::store()));
        let found = within(READY, || knows().then_some(()));
        assert!(found.is_some(), "the balancer leads to no primary after {READY:?}; see {}", folder.display());
        lab.start_far_end();
        for gateway in &lab.gateways {
            gateway.start(&lab.network, &[]);
            lab.wait_until_ready(gateway);
        }
        let said = format!("databases after {databases_s:.1} s, all after {:.1} s", begun.elapsed().as_secs_f32());
        (lab, said)
    }

    fn make_bucket(&self) {
        let made = within(READY, || {
            let put = "PUT /fax-docs HTTP/1.0\r\nHost: documents\r\nContent-Length: 0\r\n\r\n";
            ask((Host::Outside.address(), DOCUMENTS).into(), put).filter(|reply| reply.contains(" 200 "))
        });
        assert!(made.is_some(), "no bucket within {READY:?}; see {}", self.folder.display());
    }

    fn start_far_end(&self) {
        let mut command = faxwell();
        command.args(["far-end", "--listen", &format!("{}:{SIP}", Host::Outside.address())]);
        command.arg("--tray").arg(self.folder.join("tray"));
        command.arg("--ledger").arg(self.folder.join("farend.jsonl"));
        self.far_end.put(self.spawn(Host::Outside, &command, "far-end.log"));
    }

    fn spawn(&self, host: Host, command: &Command, log: &str) -> std::process::Child {
        spawn(&self.network, host, command, &self.folder.join(log))
    }

    /// Calls a node with pages that no other token has. Answers whether the call was answered, when it is over.
    pub(crate) fn call_in(&self, gateway: &Gateway, token: &str, pages: u32) -> bool {
        let mut command = faxwell();
        command.args(["far-end", "send", "--gateway", &gateway.line().to_string()]);
        command.args(["--did", &Gateway::did(gateway.host), "--from", "+41315550002"]);
        command.args(["--pages", &pages.to_string(), "--token", token, "--fax-id", token]);
        command.arg("--ledger").arg(self.folder.join("inbound.jsonl"));
        let mut there = self.network.on(Host::Outside, &command);
        let output = there.stdin(Stdio::null()).stderr(Stdio::null()).output().unwrap();
        !String::from_utf8_lossy(&output.stdout).contains("not-answered")
    }

    pub(crate) fn wait_until_ready(&self, gateway: &Gateway) {
        let ready = within(READY, || gateway.is_ready().then_some(()));
        assert!(ready.is_some(), "{} is not ready after {READY:?}\n{}", gateway.host.name(), self.tail(gateway));
    }

    fn tail(&self, gateway: &Gateway) -> String {
        let text = fs::read_to_string(self.folder.join(format!("{}.log", gateway.host.name()))).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(30).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// `node` is the struck one, if it was one of the gateway's.
    pub(crate) fn note(&self, kind: FaultKind, node: Option<Host>, at_ms: u64, detail: &str) {
        let node = node.map_or("", Host::name).to_owned();
        self.faults.write(&Fault { kind, at_ms, until_ms: now_ms(), detail: detail.to_owned(), node });
    }

    /// A broken rule that no ledger shows.
    pub(crate) fn find(&self, what: String) {
        self.found.lock().unwrap().push(what);
    }

    /// Waits until mails are accepted, pages confirmed, calls begun and reports delivered that are younger than this.
    pub(crate) fn wait_until_it_works(&self) {
        let since = now_ms();
        let works = within(WORKS, || {
            let seen = self.seen();
            let accepted = seen
                .sent
                .iter()
                .any(|sent| sent.outcome == crate::chaos::ledger::SentOutcome::Accepted && sent.at_ms > since);
            let page = seen.calls.iter().flat_map(|call| &call.confirmed).any(|page| page.at_ms > since);
            let report = seen.mails.iter().any(|mail| mail.at_ms > since && mail.is_final());
            let call = seen.calls.iter().any(|call| call.begin_ms > since);
            (accepted && page && report && call).then_some(())
        });
        if works.is_none() {
            self.find(format!("{WORKS:?} after a fault was healed mails, calls, pages or reports still stood still"));
        }
    }

    /// Until every accepted mail has its report, and nothing is under way.
    pub(crate) fn drain(&self, limit: Duration) -> usize {
        let quiet = || self.gateways.iter().all(|gateway| control::is_quiet(&gateway.data));
        within(limit, || (self.seen().unanswered().is_empty() && quiet()).then_some(()));
        self.seen().unanswered().len()
    }

    /// What was seen from outside until now.
    pub(crate) fn seen(&self) -> Evidence {
        let mut evidence = Evidence::read(&self.folder, std::collections::BTreeMap::new());
        let of = |number: fn(Host) -> String, called: &str| {
            let node = NODES.into_iter().find(|host| number(*host) == called);
            node.map_or("", Host::name).to_owned()
        };
        let each = |calls: &mut Vec<Call>, of: &dyn Fn(&Call) -> String| {
            calls.iter_mut().for_each(|call| call.node = of(call));
        };
        each(&mut evidence.calls, &|call| of(Gateway::number, &call.caller));
        each(&mut evidence.inbound, &|call| of(Gateway::did, &call.number));
        evidence
    }

    /// Together with what the gateways say of each fax. Asked at the end, when nothing is under way.
    pub(crate) fn evidence(&self) -> Evidence {
        let mut evidence = self.seen();
        let record = |fax: &str| self.gateways.iter().find_map(|gateway| control::record(&gateway.data, fax));
        evidence.records = evidence.faxes().into_iter().filter_map(record).collect();
        evidence
    }
}

/// What the gateways' configurations name.
fn secrets(folder: &Path, random: &mut fastrand::Rng) {
    let key: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(32).collect();
    fs::write(folder.join("store.keys"), format!("k1 {}\n", data_encoding::BASE64.encode(&key))).unwrap();
    fs::write(folder.join("s3-access"), "chaos\n").unwrap();
    fs::write(folder.join("s3-secret"), "chaos-secret\n").unwrap();
    for name in ["store.keys", "s3-access", "s3-secret"] {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
}

fn start_documents(network: &Network, programs: &Path, folder: &Path) -> std::process::Child {
    let mut server = Command::new("/usr/bin/python3");
    server.arg(programs.join("moto/bin/moto_server")).env("PYTHONPATH", programs.join("moto"));
    server.args(["-H", &Host::Outside.address().to_string(), "-p", &DOCUMENTS.to_string()]);
    spawn(network, Host::Outside, &server, &folder.join("documents.log"))
}

fn spawn(network: &Network, host: Host, command: &Command, log: &Path) -> std::process::Child {
    let log = File::options().create(true).append(true).open(log).unwrap();
    let mut there = network.on(host, command);
    there.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

/// One request and the first line of the answer.
fn ask(address: std::net::SocketAddr, request: &str) -> Option<String> {
    use std::io::{BufRead, BufReader, Write};
    let mut stream = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    Some(line)
}
