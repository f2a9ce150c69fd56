//! PostgreSQL for tests: a private server for each test process, and an empty database for each test.
//!
//! The server is made by `initdb` when the first test asks for it (about a second), listens on a free port of 127.0.0.1
//! and on a socket in its own directory, and is gone, files included, when the test process is: a shell that holds the
//! server waits on a pipe of the process. As root it runs as the user `postgres`, because PostgreSQL refuses root.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tokio_postgres::{Client, NoTls};

use crate::store::Allowed;
use crate::store::migrations::{Target, bring_up, of_postgres};

/// The server says this when it answers.
const READY: [&str; 2] =
    ["database system is ready to accept connections", "database system is ready to accept read-only connections"];
/// Longer than `initdb` and the first start take on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Another program may take the port between its choice and the start.
const STARTS_MAX: usize = 3;
/// Nothing survives a crash of the machine, and commits cost no sync: for tests of logic.
const LOGIC: [&str; 4] = ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off"];
const TEMPLATE: &str = "faxwell_template";

/// A running server; it is stopped when this is dropped.
pub(crate) struct Server {
    shell: Child,
    port: u16,
    directory: PathBuf,
    databases: AtomicU32,
    template: tokio::sync::OnceCell<()>,
}

/// A database of a server; dropped with this.
pub(crate) struct Database {
    url: String,
    admin: String,
    name: String,
}

/// An empty, migrated store on this process's server, within some 50 ms.
pub(crate) async fn fresh_database() -> Database {
    Server::for_logic().fresh_database().await
}

/// A connection that is driven until its client is dropped.
pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap_or_else(|e| panic!("{url}: {e}"));
    tokio::spawn(connection);
    client
}

impl Server {
    /// This process's server without syncs, for tests of logic.
    pub(crate) fn for_logic() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(|| Self::start(&LOGIC))
    }

    /// This process's server that syncs each commit, for tests of durability and for measurements.
    pub(crate) fn durable() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(|| Self::start(&[]))
    }

    /// A server of the test's own, with these settings as in `name=value`: it may be stopped, broken and replaced.
    pub(crate) fn start(settings: &[&str]) -> Self {
        Self::start_as("", settings)
    }

    /// A copy of this server that follows it, and only reads until it is promoted.
    pub(crate) fn follower(&self, settings: &[&str]) -> Self {
        Self::start_as(&self.port.to_string(), settings)
    }

    fn start_as(original: &str, settings: &[&str]) -> Self {
        let mut told = String::new();
        for _ in 0..STARTS_MAX {
            match Self::try_start(original, settings) {
                Ok(server) => return server,
                Err(why) => told = why,
            }
        }
        panic!("PostgreSQL does not start:\n{told}");
    }

    fn try_start(original: &str, settings: &[&str]) -> Result<Self, String> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "sh"]);
            command
        } else {
            Command::new("sh")
        };
        command
            .args(["-c", include_str!("postgres.sh"), "postgres.sh"])
            .arg(programs())
            .arg(port.to_string())
            .arg(original);
        command.args(settings.iter().flat_map(|setting| ["-c", setting]));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).current_dir("/");
        // A key that interrupts the tests must not reach the shell: it has to clean up.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut shell = command.spawn().map_err(|e| format!("cannot run setpriv or sh: {e}"))?;

        // The server goes on telling for as long as it lives, and somebody must read that.
        let told = BufReader::new(shell.stdout.take().expect("it was piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in told.lines().map_while(Result::ok) {
                // After the start nobody listens.
                let _ = sender.send(line);
            }
        });
        let mut directory = PathBuf::new();
        let mut told = String::new();
        while let Ok(line) = lines.recv_timeout(START_TIMEOUT) {
            if let Some(path) = line.strip_prefix("directory ") {
                directory = path.into();
            } else if READY.iter().any(|ready| line.contains(ready)) {
                let template = tokio::sync::OnceCell::new();
                return Ok(Self { shell, port, directory, databases: AtomicU32::new(0), template });
            }
            told.push_str(&line);
            told.push('\n');
        }
        drop(shell.stdin.take());
        let _ = shell.wait();
        Err(told)
    }

    /// The address of one of its databases; the user may do everything, without a password.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Where its socket is, and its files below `data`.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where it listens on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// An empty, migrated store: a copy of one that is made once.
    pub(crate) async fn fresh_database(&self) -> Database {
        let make_template = || async {
            let admin = connect(&self.url("postgres")).await;
            admin.batch_execute(&format!("CREATE DATABASE {TEMPLATE}")).await.unwrap();
            let client = connect(&self.url(TEMPLATE)).await;
            bring_up(Target::Postgres(&client), of_postgres(), TEMPLATE, Allowed::SetUp).await.unwrap();
            // A template that somebody is connected to cannot be copied.
            drop(client);
            let gone = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = $1";
            admin.query(gone, &[&TEMPLATE]).await.unwrap();
        };
        self.template.get_or_init(make_template).await;
        self.copy_of(TEMPLATE).await
    }

    /// A database without any table.
    pub(crate) async fn empty_database(&self) -> Database {
        self.copy_of("template0").await
    }

    async fn copy_of(&self, template: &str) -> Database {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let admin = self.url("postgres");
        let make = format!("CREATE DATABASE {name} TEMPLATE {template}");
        connect(&admin).await.batch_execute(&make).await.unwrap();
        Database { url: self.url(&name), admin, name }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

impl Database {
    /// Its address, as in `postgres://postgres@127.0.0.1:40001/test_3`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Its name alone, as in `test_3`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A connection of a program that knows nothing of our rules.
    pub(crate) async fn connect(&self) -> Client {
        connect(&self.url).await
    }
}

impl Drop for Database {
    /// Nobody waits for it: it saves room while other tests run, and the server's end takes what is left.
    fn drop(&mut self) {
        let (admin, remove) = (self.admin.clone(), format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                if let Ok((client, connection)) = tokio_postgres::connect(&admin, NoTls).await {
                    tokio::spawn(connection);
                    let _ = client.batch_execute(&remove).await;
                }
            });
            Ok::<_, std::io::Error>(())
        });
    }
}

/// The newest installed server of Debian's layout, version 15 or later.
fn programs() -> PathBuf {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let versions = installed.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let usable = |version: &u32| programs_of(*version).join("initdb").is_file();
    let newest = versions.filter(|version| *version >= 15).filter(usable).max();
    programs_of(newest.unwrap_or_else(|| {
        panic!(
            "these tests need PostgreSQL 15 or newer, and there is none below /usr/lib/postgresql; \
             fix: run tools/install-packages"
        )
    }))
}

fn programs_of(version: u32) -> PathBuf {
    Path::new("/usr/lib/postgresql").join(version.to_string()).join("bin")
}

#[tokio::test]
async fn a_server_is_gone_with_its_files_when_it_is_dropped() {
    let server = Server::start(&LOGIC);
    let directory = server.directory().to_owned();
    let database = server.fresh_database().await;
    let version: i64 =
        database.connect().await.query_one("SELECT max(version) FROM schema_history", &[]).await.unwrap().get(0);
    assert_eq!(version, of_postgres().len() as i64);
    assert!(directory.join("data/PG_VERSION").exists() && server.port() != 0);
    drop(server);
    assert!(!directory.exists(), "{}", directory.display());
    assert!(tokio_postgres::connect(database.url(), NoTls).await.is_err());
}

#[tokio::test]
async fn a_durable_server_syncs_its_commits() {
    let database = Server::durable().empty_database().await;
    let client = database.connect().await;
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        let value: String = client.query_one(&format!("SHOW {setting}"), &[]).await.unwrap().get(0);
        assert_eq!(value, "on", "{setting}");
    }
}
