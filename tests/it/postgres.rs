//! A PostgreSQL server that a test owns with its files: stopped, taken back in time, started again on the same port.
//!
//! It is made by `initdb`, listens on 127.0.0.1 without passwords, and its kernel stops it when the test's thread ends.
//! As root it runs as the user `postgres`, because PostgreSQL refuses root.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::wait_for;

/// A running server and its folder; both go with it.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    programs: PathBuf,
    port: u16,
    running: Option<Child>,
    databases: AtomicU32,
}

impl Server {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { folder, programs: programs(), port, running: None, databases: AtomicU32::new(0) };
        if rustix::process::geteuid().is_root() {
            done(Command::new("chown").arg("postgres:").arg(server.folder.path()));
        }
        done(server.program("initdb").args("-D data -U postgres -A trust -E UTF8 --no-sync".split(' ')));
        server.run();
        server
    }

    /// The address of its database `postgres`.
    pub(crate) fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The address of an empty database.
    pub(crate) fn new_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.run_sql(&format!("CREATE DATABASE {name}"));
        self.url_of(&name)
    }

    /// Runs statements in the database `postgres`.
    pub(crate) fn run_sql(&self, statements: &str) {
        let arguments =
            ["-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres"];
        done(self.program("psql").args(arguments).args(["-c", statements]));
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// Copies the whole data directory while it is in use.
    pub(crate) fn copy(&self) {
        let port = self.port.to_string();
        let copy = "-D copy -h 127.0.0.1 -U postgres -c fast --no-sync";
        done(self.program("pg_basebackup").args(copy.split(' ')).args(["-p", &port]));
    }

    /// Breaks every connection; nobody can connect until it runs again.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.running.take() {
            let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
            // Immediate shutdown: nothing is told to anybody.
            let _ = kill_process(pid, Signal::QUIT);
            let _ = child.wait();
        }
    }

    /// Puts the copy in the place of what is there: what was committed since is gone. The server must be stopped.
    pub(crate) fn go_back(&self) {
        assert!(self.running.is_none());
        let data = self.folder.path().join("data");
        std::fs::remove_dir_all(&data).unwrap();
        std::fs::rename(self.folder.path().join("copy"), data).unwrap();
    }

    /// Starts it and waits until it takes connections.
    pub(crate) fn run(&mut self) {
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let (folder, port) = (self.folder.path().display().to_string(), self.port.to_string());
        let mut command = self.program("postgres");
        command.args(["-D", "data", "-p", &port, "-k", &folder]);
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=200"]);
        self.running = Some(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        wait_for("PostgreSQL to take connections", || {
            let ready = self.program("pg_isready").args(["-q", "-h", "127.0.0.1", "-p", &port]).status().unwrap();
            ready.success().then_some(())
        });
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "QUIT"]);
        if rustix::process::geteuid().is_root() {
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
        }
        command.arg(self.programs.join(name)).current_dir(self.folder.path()).env("LC_ALL", "C.UTF-8");
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            eprintln!("--- PostgreSQL ---\n{log}");
        }
        self.stop();
    }
}

fn done(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The newest installed server of Debian's layout.
fn programs() -> PathBuf {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = installed.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).max();
    let newest = newest.expect("PostgreSQL is below /usr/lib/postgresql; fix: run tools/install-packages");
    Path::new("/usr/lib/postgresql").join(newest.to_string()).join("bin")
}
