//! Two gateways on one data directory: the second is refused with cause and fix, and a killed one is in nobody's way.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::{Smtp, faxwell, free_ports, mail, wait_for};

/// `faxwell serve` that takes mails on this port and keeps them in `dir/data`.
fn serve(dir: &Path, port: u16) -> Command {
    let config = dir.join(format!("{port}.toml"));
    let text = format!(
        r#"domain = "fax.local"
node = "gw-a"
data = "{data}"
[smtp]
listen = ["127.0.0.1:{port}"]
relay = ["127.0.0.0/8"]
[sip.sandbox]
server = "127.0.0.1:{sip}"
bind = "127.0.0.1:0"
number = "+9990000"
sandbox = true
[delivery]
maildir = "mailbox"
"#,
        data = dir.join("data").display(),
        sip = port + 2
    );
    std::fs::write(&config, text).unwrap();
    let mut command = faxwell();
    command.args(["serve", "--roles", "smtp", "-c"]).arg(config).stdout(Stdio::null());
    command
}

/// The same, running and listening.
fn listening(dir: &Path, port: u16) -> Child {
    let log = std::fs::File::create(dir.join(format!("{port}.log"))).unwrap();
    let child = serve(dir, port).stderr(log).spawn().unwrap();
    wait_for("the gateway to listen", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    child
}

#[test]
fn a_second_gateway_on_one_data_directory_is_refused_and_a_killed_one_does_not_block_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (first_port, second_port) = (free_ports(), free_ports());
    let mut first = listening(dir.path(), first_port);

    let mut second = serve(dir.path(), second_port).stderr(Stdio::piped()).spawn().unwrap();
    let status = wait_for("the second gateway to give up", || second.try_wait().unwrap());
    let mut told = String::new();
    second.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(!status.success(), "{told}");
    let cause = told.lines().find(|line| line.starts_with("cause:")).unwrap_or_else(|| panic!("{told}"));
    assert!(cause.contains(&format!("in use by process {}", first.id())), "{told}");
    assert!(told.lines().any(|line| line.starts_with("fix:") && line.contains("--data")), "{told}");

    // The first one has noticed nothing of it.
    let to = "+99910200@fax.local";
    let send = |port: u16, id: &str| {
        Smtp::connect(([127, 0, 0, 1], port).into()).send("anna@example.com", &[to], &mail(id, to, "text", &[]))
    };
    assert!(send(first_port, "one").starts_with("250"));

    first.kill().unwrap();
    first.wait().unwrap();
    let mut third = listening(dir.path(), second_port);
    let reply = send(second_port, "one");
    assert!(reply.contains("duplicate-submission"), "it has what the killed one had: {reply}");
    third.kill().unwrap();
    third.wait().unwrap();
}
