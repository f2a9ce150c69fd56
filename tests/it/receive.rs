//! Faxes that come in: a gateway in one process, the machine that calls it in another, whose ledger says what it was told.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use foip::far_end::{raster_sha256, test_document};
use serde_json::Value;
use sqlx::{Connection, SqliteConnection};

use crate::harness::{Sandbox, faxwell, free_ports, pixels, wait_for};

const DID: &str = "+41440000001";

/// A gateway that answers calls.
struct Receiving {
    dir: tempfile::TempDir,
    port: u16,
    gateway: Option<Child>,
}

impl Receiving {
    fn start(pace: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_ports();
        let config = format!(
            r#"domain = "fax.local"
node = "gw-a"
data = "{data}"
roles = ["line", "maintain"]
[sip.sandbox]
server = "127.0.0.1:{nobody}"
bind = "127.0.0.1:{port}"
number = "+9990000"
channels = 4
sandbox = true
pace = "{pace}"
[inbound]
default = ["office@example.com"]
[inbound.did]
"{DID}" = ["sales@example.com"]
"#,
            data = dir.path().join("data").display(),
            nobody = port + 1,
        );
        fs::write(dir.path().join("faxwell.toml"), config).unwrap();
        let mut receiving = Self { dir, port, gateway: None };
        receiving.start_gateway();
        receiving
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn start_gateway(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("gateway.log")).unwrap();
        let child = faxwell().args(["serve", "-c"]).arg(self.path("faxwell.toml")).stderr(log).spawn().unwrap();
        self.gateway = Some(child);
        wait_for("the gateway to answer", || {
            let status = faxwell().args(["status", "--data"]).arg(self.path("data")).output().unwrap();
            status.status.success().then_some(())
        });
    }

    fn kill_gateway(&mut self) {
        let mut gateway = self.gateway.take().unwrap();
        // SIGKILL: nothing of it gets to run.
        gateway.kill().unwrap();
        gateway.wait().unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("gateway.log")).unwrap_or_default()
    }

    /// The machine begins to call; what it prints comes with its end.
    fn call(&self, token: &str, pages: u32, pace: &str, more: &[&str]) -> Child {
        faxwell()
            .args(["far-end", "send", "--gateway", &format!("127.0.0.1:{}", self.port), "--did", DID])
            .args(["--from", "+41310000002", "--pages", &pages.to_string(), "--token", token, "--pace", pace])
            .arg("--ledger")
            .arg(self.path(token))
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// SHA-256 of the pages that this call's machine was told are received.
    fn confirmed(&self, token: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(token)).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let pages = lines.filter(|line| line["event"] == "send-page");
        pages.map(|line| line["sha256"].as_str().unwrap().to_owned()).collect()
    }

    /// What the gateway says, one object a line.
    fn command(&self, arguments: &[&str]) -> Vec<Value> {
        let output = faxwell().args(arguments).arg("--json").arg("--data").arg(self.path("data")).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The only received fax, when its call is over at this end too.
    fn received(&self) -> Value {
        wait_for("a received fax", || {
            let list = self.command(&["inbound", "list"]);
            assert!(list.len() <= 1, "{list:?}");
            let over = list.first().filter(|fax| fax["state"] != "receiving")?;
            self.command(&["inbound", "show", over["short"].as_str().unwrap()]).pop()
        })
    }

    /// SHA-256 of its pages as they are stored.
    fn stored(&self, fax: &Value) -> Vec<String> {
        let short = fax["fax"]["short"].as_str().unwrap();
        let count = fax["pages"].as_array().unwrap().len();
        let file = self.path("page.tif");
        let page = |number: usize| {
            let number = number.to_string();
            self.command(&["inbound", "pages", short, "--page", &number, "-o", file.to_str().unwrap()]);
            sha256(&fs::read(&file).unwrap()).remove(0)
        };
        (1..=count).map(page).collect()
    }

    /// Nobody else can write the store until this is dropped.
    fn lock_store(&self) -> Lock {
        Lock::take(&self.path("data").join("faxwell.db"))
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        if let Some(gateway) = &mut self.gateway {
            let _ = gateway.kill();
            let _ = gateway.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of the gateway ---\n{}", self.log());
        }
    }
}

/// A foreign program with a write transaction on the store's file.
struct Lock {
    runtime: tokio::runtime::Runtime,
    connection: SqliteConnection,
}

impl Lock {
    fn take(database: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let url = format!("sqlite://{}", database.display());
        let connection = runtime.block_on(async {
            let mut connection = SqliteConnection::connect(&url).await.unwrap();
            sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
            connection
        });
        Self { runtime, connection }
    }

    fn release(self) {
        self.runtime.block_on(self.connection.close()).unwrap();
    }
}

fn sha256(tiff: &[u8]) -> Vec<String> {
    pixels(tiff).iter().map(raster_sha256).collect()
}

/// What the pages of this token look like.
fn sent(token: &str, pages: u32) -> Vec<String> {
    sha256(&test_document(token, pages).unwrap())
}

/// The end of a call as its machine tells it.
fn told(call: Child) -> Value {
    let output = call.wait_with_output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

fn mailboxes(fax: &Value) -> Vec<&str> {
    fax["notices"].as_array().unwrap().iter().map(|notice| notice["recipient"].as_str().unwrap()).collect()
}

#[test]
fn every_page_arrives_as_it_was_sent_and_is_owed_to_its_mailbox() {
    let gateway = Receiving::start("max");
    let call = gateway.call("whole", 4, "max", &["--tsi", "+41 31 22", "--sub", "42"]);
    assert_eq!(told(call)["outcome"], "sent");
    let fax = gateway.received();
    assert_eq!(fax["fax"]["complete"], true, "{fax}");
    assert_eq!(gateway.stored(&fax), sent("whole", 4));
    assert_eq!(gateway.confirmed("whole"), sent("whole", 4));
    assert_eq!(mailboxes(&fax), ["sales@example.com"]);
    let of = &fax["fax"];
    let seen = ["called", "caller", "remote_id", "subaddress", "route"].map(|name| of[name].as_str().unwrap());
    assert_eq!(seen, [DID, "+41310000002", "+41 31 22", "42", "did-41440000001"]);
    let kinds: Vec<&str> =
        fax["events"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds[..6], ["call-in", "page-in", "page-in", "page-in", "page-in", "received"]);
}

#[test]
fn a_call_that_breaks_is_delivered_with_its_pages_as_incomplete() {
    let gateway = Receiving::start("max");
    let call = gateway.call("broken", 5, "max", &["--hang-up-in-page", "3"]);
    let told = told(call);
    assert_eq!((&told["outcome"], &told["pages_confirmed"]), (&"broken".into(), &2.into()));
    let fax = gateway.received();
    assert_eq!(fax["fax"]["complete"], false, "{fax}");
    assert_eq!(fax["fax"]["cause"]["slug"], "remote-hangup", "{fax}");
    assert_eq!(gateway.stored(&fax), sent("broken", 2)[..2]);
    assert_eq!(mailboxes(&fax), ["sales@example.com"]);
}

#[test]
fn a_killed_gateway_has_every_page_that_it_confirmed_and_delivers_them() {
    let mut gateway = Receiving::start("30x");
    let call = gateway.call("killed", 40, "30x", &[]);
    wait_for("two confirmed pages", || (gateway.confirmed("killed").len() >= 2).then_some(()));
    gateway.kill_gateway();
    let told = told(call);
    assert_ne!(told["outcome"], "sent", "it was killed in the middle");
    gateway.start_gateway();
    let fax = gateway.received();
    let (stored, confirmed) = (gateway.stored(&fax), gateway.confirmed("killed"));
    assert!(confirmed.len() >= 2 && stored.len() >= confirmed.len(), "{} stored of {}", stored.len(), confirmed.len());
    assert_eq!(stored, sent("killed", 40)[..stored.len()]);
    assert_eq!(fax["fax"]["complete"], false);
    assert_eq!(fax["fax"]["detail"], "the gateway stopped in the middle of the call");
    assert_eq!(mailboxes(&fax), ["sales@example.com"]);
}

#[test]
fn while_the_store_is_away_the_sender_is_held_and_then_goes_on() {
    // In real time: the sender's patience is T.30's, not that of the test machine.
    let gateway = Receiving::start("real-time");
    let call = gateway.call("held", 2, "real-time", &[]);
    wait_for("a confirmed page", || (!gateway.confirmed("held").is_empty()).then_some(()));
    let lock = gateway.lock_store();
    wait_for("the sender to be held", || gateway.log().contains("the sender is held").then_some(()));
    assert_eq!(gateway.confirmed("held").len(), 1, "no confirmation without the store");
    lock.release();
    assert_eq!(told(call)["outcome"], "sent");
    let fax = gateway.received();
    assert_eq!(fax["fax"]["complete"], true, "{fax}");
    assert_eq!(gateway.stored(&fax), sent("held", 2));
}

#[test]
fn a_page_that_cannot_be_stored_is_never_confirmed() {
    let gateway = Receiving::start("30x");
    let call = gateway.call("refused", 40, "30x", &[]);
    wait_for("a confirmed page", || (!gateway.confirmed("refused").is_empty()).then_some(()));
    let lock = gateway.lock_store();
    // Nothing can be stored from here until the sender has given up.
    let told = told(call);
    assert_eq!(told["outcome"], "broken", "{told}");
    let confirmed = gateway.confirmed("refused");
    lock.release();
    let fax = gateway.received();
    let stored = gateway.stored(&fax);
    assert!(stored.len() >= confirmed.len() && stored.len() < 40, "{} of {}", stored.len(), confirmed.len());
    assert_eq!(stored, sent("refused", 40)[..stored.len()]);
    assert_eq!(fax["fax"]["complete"], false);
}

#[test]
fn in_the_sandbox_a_received_fax_lands_in_the_mailbox_of_its_route() {
    let sandbox = Sandbox::start();
    let data = sandbox.data();
    let data = data.to_str().unwrap();
    let set =
        ["inbound", "route", "set", "lab", "--did", "+4144*", "--sub", "7", "--to", "lab@fax.local", "--data", data];
    assert!(faxwell().args(set).status().unwrap().success());
    let call = ["demo", "receive", "--pages", "2", "--did", "0440000001", "--sub", "7"];
    let call = sandbox.json_lines(&call).remove(0);
    assert_eq!((&call["call"]["outcome"], &call["received"]["route"]), (&"sent".into(), &"lab".into()), "{call}");
    let mail = wait_for("its mail", || sandbox.mails().into_iter().find(|mail| mail.header("To").contains("lab@")));
    assert_eq!(mail.header("X-Fax-Id"), call["received"]["short"]);
    assert!(mail.part("application/pdf").is_some_and(|pdf| pdf.starts_with(b"%PDF")));
    wait_for("its end", || (sandbox.json_lines(&["inbound", "list"])[0]["state"] == "delivered").then_some(()));
}

#[test]
fn a_gateway_that_cannot_store_answers_no_call() {
    let gateway = Receiving::start("max");
    let lock = gateway.lock_store();
    let told = told(gateway.call("away", 1, "max", &[]));
    assert_eq!((&told["outcome"], &told["sip"]), (&"not-answered".into(), &503.into()));
    lock.release();
    assert!(gateway.command(&["inbound", "list"]).is_empty());
}
