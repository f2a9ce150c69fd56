//! A node on PostgreSQL as its administrator meets it: ordered out of service and back, told by its service manager to end,
//! one version behind its store.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::chaos::process::Process;
use crate::harness::{PATIENCE, Smtp, faxwell, free_ports, mail, wait_for};
use crate::postgres::Server;

/// A gateway that takes mail.
struct Node {
    dir: tempfile::TempDir,
    port: u16,
    gateway: Process,
    _far_end: Process,
    server: Server,
}

impl Node {
    fn new() -> Self {
        let (dir, port, server) = (tempfile::tempdir().unwrap(), free_ports(), Server::start());
        let text = format!(
            r#"domain = "fax.local"
node = "gw-a"
data = "{data}"
drain_grace = "0s"
[store]
database = "{url}"
[smtp]
listen = ["127.0.0.1:{port}"]
relay = ["127.0.0.0/8"]
[sip.sandbox]
server = "127.0.0.1:{sip}"
bind = "127.0.0.1:0"
number = "+9990000"
sandbox = true
pace = "30x"
[delivery]
maildir = "mailbox"
[web]
health = "127.0.0.1:{health}"
proxy_protocol_from = ["127.0.0.0/8"]
"#,
            data = dir.path().join("data").display(),
            url = server.url(),
            sip = port + 2,
            health = port + 5,
        );
        fs::write(dir.path().join("faxwell.toml"), text).unwrap();
        let far_end = Process::new();
        let mut command = faxwell();
        command.args(["far-end", "--listen", &format!("127.0.0.1:{}", port + 2), "--pace", "30x", "--tray"]);
        command.arg(dir.path().join("tray")).stdout(Stdio::null()).stderr(Stdio::null());
        far_end.put(command.spawn().unwrap());
        Self { dir, port, gateway: Process::new(), _far_end: far_end, server }
    }

    fn serve(&self) -> Command {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        let mut command = faxwell();
        command.args(["serve", "-c"]).arg(self.dir.path().join("faxwell.toml")).stdout(Stdio::null()).stderr(log);
        command
    }

    fn start(&self) {
        self.gateway.put(self.serve().spawn().unwrap());
    }

    /// Ends it with a signal and waits.
    fn end(&self) {
        self.gateway.signal(Signal::TERM);
        wait_for(&format!("the end\n{}", self.log()), || self.gateway.ended());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn listens(&self) -> bool {
        std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }

    fn wait_until_it_listens(&self) {
        wait_for(&format!("the listener\n{}", self.log()), || self.listens().then_some(()));
    }

    fn send(&self, id: &str) -> String {
        let to = "+99910200@fax.local";
        let mut client = Smtp::connect(([127, 0, 0, 1], self.port).into());
        client.send("anna@example.com", &[to], &mail(id, to, "text", &[]))
    }

    fn order(&self, order: &str) {
        let data = self.dir.path().join("data");
        let output = faxwell().args(["node", order, "gw-a", "--by", "anna", "--data"]).arg(data).output().unwrap();
        assert!(output.status.success(), "{order}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Waits until `node list` says this of it; answers who ordered it out of service.
    fn wait_until_it_stands(&self, standing: &str) -> Option<String> {
        wait_for(&format!("the node to be {standing}\n{}", self.log()), || {
            let data = self.dir.path().join("data");
            let output = faxwell().args(["node", "list", "--json", "--data"]).arg(data).output().unwrap();
            let node: Value = serde_json::from_slice(&output.stdout).ok()?;
            (node["standing"] == standing).then(|| node["drain_ordered_by"].as_str().map(str::to_owned))
        })
    }

    /// The status of an address on `web.health`, asked without a PROXY header.
    fn health(&self, path: &str) -> Option<u16> {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port + 5)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.split(' ').nth(1)?.parse().ok()
    }
}

#[test]
fn a_drained_node_stays_drained_over_a_restart_until_it_is_resumed() {
    let node = Node::new();
    node.start();
    node.wait_until_it_listens();
    assert!(node.send("before").starts_with("250"));
    assert_eq!(["/livez", "/readyz", "/metrics", "/"].map(|path| node.health(path)), [200, 200, 200, 404].map(Some));
    node.order("drain");
    assert_eq!(node.wait_until_it_stands("drained").as_deref(), Some("anna"));
    wait_for("the port to close", || (!node.listens()).then_some(()));

    node.end();
    node.start();
    wait_for(&format!("the order to be read\n{}", node.log()), || {
        node.log().contains("out of service, as ordered").then_some(())
    });
    assert_eq!(node.wait_until_it_stands("drained").as_deref(), Some("anna"));
    assert!(!node.listens(), "{}", node.log());
    assert_eq!(node.health("/readyz"), Some(503));
    assert_eq!(node.health("/livez"), Some(200), "the service manager leaves it alone");

    node.order("resume");
    node.wait_until_it_listens();
    node.wait_until_it_stands("serving");
    assert!(node.send("after").starts_with("250"));
}

#[test]
fn the_service_manager_hears_of_the_stop_when_it_begins_and_not_when_it_is_over() {
    let node = Node::new();
    let path = node.dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let heard = || {
        let mut text = [0; 256];
        let length = socket.recv(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    node.gateway.put(node.serve().env("NOTIFY_SOCKET", &path).spawn().unwrap());
    assert!(heard().starts_with("READY=1"));
    // Two mails are half said: the drain lasts for as long as the client does.
    let mut client = Smtp::connect(([127, 0, 0, 1], node.port).into());
    client.say("EHLO client.test");
    client.say("MAIL FROM:<anna@example.com>");
    client.say("RCPT TO:<+99910200@fax.local>");
    assert!(client.say("DATA").starts_with("354"));
    node.gateway.signal(Signal::TERM);
    assert!(heard().starts_with("STOPPING=1"));
    assert!(node.gateway.ended().is_none(), "it is still at work");
    client.write(b"Subject: last\r\n\r\ntext\r\n.\r\n");
    assert!(client.reply().starts_with("250"));
    drop(client);
    wait_for(&format!("the end\n{}", node.log()), || node.gateway.ended());
}

#[test]
fn a_process_for_one_role_is_refused_when_the_others_cannot_read_its_documents() {
    let node = Node::new();
    let mut serve = node.serve();
    let output = serve.args(["--roles", "smtp"]).stderr(Stdio::piped()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("cause: documents lie in") && told.contains("fix: write store.documents"), "{told}");
}

/// What `db migrate` of a newer program leaves: a change, and its row in the history.
fn newer(version: u32, kind: &str, oldest: u32, change: &str) -> String {
    format!(
        "BEGIN; {change}; INSERT INTO schema_history (version, name, checksum, kind, oldest, applied_at, applied_by)
         VALUES ((SELECT max(version) FROM schema_history) + 1, 'newer_{version}', 'newer', '{kind}',
                 (SELECT max(version) FROM schema_history) + {oldest}, 1, '99.0.0'); COMMIT"
    )
}

#[test]
fn an_older_program_works_on_an_expanded_store_and_is_refused_once_it_is_contracted() {
    let node = Node::new();
    node.start();
    node.wait_until_it_listens();
    assert!(node.send("before").starts_with("250"));
    node.server.run_sql(&newer(1, "expand", 0, "ALTER TABLE messages ADD COLUMN mood text"));
    assert!(node.send("beside").starts_with("250"), "it runs on: {}", node.log());
    node.end();
    node.start();
    node.wait_until_it_listens();
    assert!(node.send("restarted").starts_with("250"), "it starts: {}", node.log());
    node.end();

    node.server.run_sql(&newer(2, "contract", 1, "ALTER TABLE messages DROP COLUMN mood"));
    let output = node.serve().stderr(Stdio::piped()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{told}");
    assert!(told.contains("cause:") && told.contains("fix: run a newer faxwell"), "{told}");
}
