//! A gateway that starts while its database is away: after a power cut machines come back in any order.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{faxwell, free_ports, wait_for};

#[test]
fn a_gateway_waits_for_a_database_that_is_away_and_ends_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("faxwell.toml");
    let text = format!(
        r#"domain = "fax.local"
data = "{data}"
[store]
database = "postgres://faxwell@127.0.0.1:{nobody}/faxwell?sslmode=disable"
documents = "{documents}"
[smtp]
listen = ["127.0.0.1:0"]
[delivery]
maildir = "mailbox"
"#,
        data = dir.path().join("data").display(),
        nobody = free_ports(),
        documents = dir.path().join("documents").display(),
    );
    std::fs::write(&config, text).unwrap();
    let log = dir.path().join("log");
    let mut command = faxwell();
    command.args(["serve", "--roles", "smtp", "-c"]).arg(config).stdout(Stdio::null());
    let mut gateway = command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    let told = wait_for("the second try", || {
        let told = std::fs::read_to_string(&log).unwrap();
        assert_eq!(gateway.try_wait().unwrap(), None, "{told}");
        (told.matches("it is tried again").count() >= 2).then_some(told)
    });
    assert!(told.contains("start the database"), "the fix is told: {told}");

    kill_process(Pid::from_child(&gateway), Signal::TERM).unwrap();
    let status = wait_for("its end", || gateway.try_wait().unwrap());
    assert!(status.success(), "{status:?}: {told}");
}
