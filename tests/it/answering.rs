//! A gateway that answers calls, in a process of its own, and the machine that calls it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use foip::far_end::{raster_sha256, test_document};
use serde_json::Value;
use sqlx::{Connection, SqliteConnection};

use crate::harness::{faxwell, free_ports, pixels, wait_for};

/// A called number with a route of its own.
pub(crate) const DID: &str = "+41440000001";

/// A gateway that answers calls.
pub(crate) struct Receiving {
    dir: tempfile::TempDir,
    port: u16,
    gateway: Option<Child>,
}

impl Receiving {
    /// Takes calls and delivers nothing.
    pub(crate) fn start(pace: &str) -> Self {
        Self::with_channels(pace, 4)
    }

    /// Takes so many calls at once.
    pub(crate) fn with_channels(pace: &str, channels: u32) -> Self {
        Self::with(pace, r#"["line", "maintain"]"#, channels, "")
    }

    /// Delivers to this smart host, and takes mail at [`Self::smtp`].
    pub(crate) fn delivering(pace: &str, channels: u32, smart_host: SocketAddr) -> Self {
        let delivery = format!("[delivery]\nsmarthost = [\"{smart_host}\"]\n");
        Self::with(pace, r#"["smtp", "line", "deliver", "maintain"]"#, channels, &delivery)
    }

    fn with(pace: &str, roles: &str, channels: u32, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_ports();
        let config = format!(
            r#"domain = "fax.local"
node = "gw-a"
data = "{data}"
roles = {roles}
[smtp]
listen = ["127.0.0.1:{smtp}"]
[sip.sandbox]
server = "127.0.0.1:{nobody}"
bind = "127.0.0.1:{port}"
number = "+9990000"
channels = {channels}
sandbox = true
pace = "{pace}"
[inbound]
default = ["office@example.com"]
[inbound.did]
"{DID}" = ["sales@example.com"]
{more}"#,
            data = dir.path().join("data").display(),
            nobody = port + 1,
            smtp = port + 2,
        );
        fs::write(dir.path().join("faxwell.toml"), config).unwrap();
        let mut receiving = Self { dir, port, gateway: None };
        receiving.start_gateway();
        receiving
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn start_gateway(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("gateway.log")).unwrap();
        let child = faxwell().args(["serve", "-c"]).arg(self.path("faxwell.toml")).stderr(log).spawn().unwrap();
        self.gateway = Some(child);
        wait_for("the gateway to answer", || {
            let status = faxwell().args(["status", "--data"]).arg(self.path("data")).output().unwrap();
            status.status.success().then_some(())
        });
    }

    /// Where it takes mail.
    pub(crate) fn smtp(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port + 2).into()
    }

    /// SIGTERM: it may end what it has begun.
    pub(crate) fn drain_gateway(&self) {
        let id = rustix::process::Pid::from_raw(self.gateway.as_ref().unwrap().id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    }

    /// Its exit code, when it has ended by itself.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let gateway = self.gateway.as_mut().unwrap();
        wait_for("the gateway to end", || gateway.try_wait().unwrap()).code()
    }

    pub(crate) fn kill_gateway(&mut self) {
        let mut gateway = self.gateway.take().unwrap();
        // SIGKILL: nothing of it gets to run.
        gateway.kill().unwrap();
        gateway.wait().unwrap();
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("gateway.log")).unwrap_or_default()
    }

    /// The machine begins to call; what it prints comes with its end.
    pub(crate) fn call(&self, token: &str, pages: u32, pace: &str, more: &[&str]) -> Child {
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
    pub(crate) fn confirmed(&self, token: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(token)).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let pages = lines.filter(|line| line["event"] == "send-page");
        pages.map(|line| line["sha256"].as_str().unwrap().to_owned()).collect()
    }

    /// What the gateway says, one object a line.
    pub(crate) fn command(&self, arguments: &[&str]) -> Vec<Value> {
        let output = faxwell().args(arguments).arg("--json").arg("--data").arg(self.path("data")).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The only received fax, when its call is over at this end too.
    pub(crate) fn received(&self) -> Value {
        wait_for("a received fax", || {
            let list = self.command(&["inbound", "list"]);
            assert!(list.len() <= 1, "{list:?}");
            let over = list.first().filter(|fax| fax["state"] != "receiving")?;
            self.command(&["inbound", "show", over["short"].as_str().unwrap()]).pop()
        })
    }

    /// SHA-256 of its pages as they are stored.
    pub(crate) fn stored(&self, fax: &Value) -> Vec<String> {
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
    pub(crate) fn lock_store(&self) -> Lock {
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
pub(crate) struct Lock {
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

    pub(crate) fn release(self) {
        self.runtime.block_on(self.connection.close()).unwrap();
    }
}

/// SHA-256 of the pages of a TIFF.
pub(crate) fn sha256(tiff: &[u8]) -> Vec<String> {
    pixels(tiff).iter().map(raster_sha256).collect()
}

/// What the pages of this token look like.
pub(crate) fn sent(token: &str, pages: u32) -> Vec<String> {
    sha256(&test_document(token, pages).unwrap())
}

/// The end of a call as its machine tells it.
pub(crate) fn told(call: Child) -> Value {
    let output = call.wait_with_output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

/// Whom the mails of a received fax go to.
pub(crate) fn mailboxes(fax: &Value) -> Vec<&str> {
    fax["notices"].as_array().unwrap().iter().map(|notice| notice["recipient"].as_str().unwrap()).collect()
}
