//! PostgreSQL forgets what it had committed, as after a failover to a copy that was behind: its data directory is put back
//! as it was, while the gateway that said 250 goes on. The listener's ring of accepted mails makes it no loss.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;

use crate::chaos::process::Process;
use crate::harness::{Smtp, faxwell, free_ports, mail, mails, tray_files, wait_for};
use crate::postgres::Server;

/// Mails that the store has when it is copied, that it loses, and that come when it is back.
const BEFORE: [&str; 1] = ["+99956101"];
const LOST: [&str; 3] = ["+99956111", "+99956112", "+99956113"];
const AFTER: [&str; 1] = ["+99956121"];

/// A listener and a worker, two nodes over one store, and a pretend fax machine.
struct Nodes {
    dir: tempfile::TempDir,
    port: u16,
    server: Server,
    listener: Process,
    worker: Process,
    far_end: Process,
}

impl Nodes {
    fn start(fault: &str) -> Self {
        let (dir, port, server) = (tempfile::tempdir().unwrap(), free_ports(), Server::start());
        let (listener, worker, far_end) = (Process::new(), Process::new(), Process::new());
        let nodes = Self { dir, port, server, listener, worker, far_end };
        let mut command = faxwell();
        command.args(["far-end", "--listen", &format!("127.0.0.1:{}", port + 2), "--pace", "max", "--tray"]);
        command.arg(nodes.dir.path().join("tray")).stdout(Stdio::null()).stderr(Stdio::null());
        nodes.far_end.put(command.spawn().unwrap());
        nodes.serve(&nodes.listener, "gw-a", "smtp", fault);
        wait_for("the listener", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        nodes.work();
        nodes
    }

    /// Everything that the listener does not do.
    fn work(&self) {
        self.serve(&self.worker, "gw-b", "render,line,deliver,maintain", "");
    }

    fn serve(&self, process: &Process, node: &str, roles: &str, fault: &str) {
        let folder = self.dir.path();
        let text = format!(
            r#"domain = "fax.local"
node = "{node}"
data = "{data}"
[store]
database = "{url}"
documents = "documents"
[smtp]
listen = ["127.0.0.1:{port}"]
relay = ["127.0.0.0/8"]
[render]
cover = "none"
[sip.sandbox]
server = "127.0.0.1:{sip}"
bind = "127.0.0.1:0"
number = "+9990000"
channels = 4
sandbox = true
pace = "max"
[delivery]
maildir = "mailbox"
"#,
            data = folder.join(node).display(),
            url = self.server.url(),
            port = self.port,
            sip = self.port + 2,
        );
        let config = folder.join(format!("{node}.toml"));
        fs::write(&config, text).unwrap();
        let log = fs::OpenOptions::new().create(true).append(true).open(folder.join(format!("{node}.log"))).unwrap();
        let mut command = faxwell();
        command.args(["serve", "--roles", roles, "-c"]).arg(config).env("FAXWELL_FAULT", fault);
        process.put(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }

    /// The answer to a mail for this number; the Message-ID is the number.
    fn send(&self, number: &str) -> String {
        let to = format!("{number}@fax.local");
        let mut client = Smtp::connect(([127, 0, 0, 1], self.port).into());
        client.say("EHLO client.test");
        let reply = client.say("MAIL FROM:<anna@example.com>");
        if !reply.starts_with("250") {
            return reply;
        }
        client.send("anna@example.com", &[&to], &mail(number, &to, &format!("for {number}"), &[]))
    }

    fn accept(&self, numbers: &[&str]) {
        for number in numbers {
            let reply = self.send(number);
            assert!(reply.starts_with("250"), "{number}: {reply}");
        }
    }

    /// How many final reports each number has.
    fn reports(&self) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        for mail in mails(&self.dir.path().join("mailbox")) {
            *found.entry(mail.status("Final-Recipient")).or_default() += 1;
        }
        found
    }

    fn reports_on(&self, number: &str) -> usize {
        self.reports().iter().filter(|(recipient, _)| recipient.contains(number)).map(|(_, count)| count).sum()
    }

    fn wait_for_reports(&self, numbers: &[&str]) {
        wait_for(&format!("a report on each of {numbers:?}\n{}", self.logs()), || {
            numbers.iter().all(|number| self.reports_on(number) > 0).then_some(())
        });
    }

    fn logs(&self) -> String {
        let log = |node: &str| fs::read_to_string(self.dir.path().join(format!("{node}.log"))).unwrap_or_default();
        format!("--- listener ---\n{}\n--- worker ---\n{}", log("gw-a"), log("gw-b"))
    }
}

/// Accepts mails, takes the store back to before them while the listener runs, accepts another one, and waits for a
/// report on each of `awaited`. Answers which accepted mails have no report or no fax, and which have more than one.
fn taken_back(fault: &str, awaited: &[&str]) -> (Vec<&'static str>, Vec<&'static str>) {
    let mut nodes = Nodes::start(fault);
    nodes.accept(&BEFORE);
    nodes.wait_for_reports(&BEFORE);
    // Nobody works on what is lost: otherwise no one could know of a call that the store has forgotten.
    nodes.worker.kill();
    nodes.server.copy();
    nodes.accept(&LOST);
    nodes.server.stop();
    wait_for("a mail to be put off", || nodes.send(AFTER[0]).starts_with("451").then_some(()));
    nodes.server.go_back();
    nodes.server.run();
    wait_for("a mail to be taken", || nodes.send(AFTER[0]).starts_with("250").then_some(()));
    nodes.work();
    nodes.wait_for_reports(awaited);

    let accepted = BEFORE.into_iter().chain(LOST).chain(AFTER);
    let counts: Vec<_> = accepted
        .map(|number| (number, nodes.reports_on(number), tray_files(&nodes.dir.path().join("tray"), number).len()))
        .collect();
    let lost = counts.iter().filter(|(_, reports, faxes)| reports.min(faxes) == &0).map(|(number, ..)| *number);
    let twice = counts.iter().filter(|(_, reports, faxes)| reports.max(faxes) > &1).map(|(number, ..)| *number);
    (lost.collect(), twice.collect())
}

#[test]
fn a_store_taken_back_in_time_loses_no_accepted_mail_and_sends_none_twice() {
    let all: Vec<&str> = BEFORE.into_iter().chain(LOST).chain(AFTER).collect();
    assert_eq!(taken_back("", &all), (vec![], vec![]));
}

#[test]
fn without_the_ring_of_accepted_mails_a_store_taken_back_in_time_loses_them_and_the_test_says_so() {
    assert_eq!(taken_back("no-ring", &AFTER), (LOST.to_vec(), vec![]));
}
