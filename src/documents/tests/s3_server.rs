//! An S3 server for tests: one for each test process, on a free port of 127.0.0.1, with a bucket for each test.
//!
//! `tools/install-s3-server` installs it when it is missing. A shell that waits on a pipe of this process ends it with the
//! process, however that ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Runs a program until standard input ends; its words come on standard output.
const UNTIL_CLOSED: &str = r#""$@" </dev/null 2>&1 & program=$!; cat >/dev/null; kill "$program""#;
/// What the server says when it answers.
const READY: &str = "Running on http://127.0.0.1:";

/// A running server.
pub(crate) struct S3Server {
    port: u16,
    buckets: AtomicU32,
    // Its pipe holds the server.
    _shell: Child,
}

/// This process's server.
pub(crate) fn s3_server() -> &'static S3Server {
    static SERVER: OnceLock<S3Server> = OnceLock::new();
    SERVER.get_or_init(start)
}

fn start() -> S3Server {
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/install-s3-server");
    let installed = Command::new(tool).stderr(Stdio::inherit()).output().unwrap();
    assert!(installed.status.success(), "{tool} failed");
    let modules = String::from_utf8(installed.stdout).unwrap().trim().to_owned();
    let mut shell = Command::new("sh")
        .args(["-c", UNTIL_CLOSED, "sh", "/usr/bin/python3", "-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"])
        .env("PYTHONPATH", modules)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut words = BufReader::new(shell.stdout.take().unwrap());
    let mut said = String::new();
    let port = loop {
        let mut line = String::new();
        assert_ne!(words.read_line(&mut line).unwrap(), 0, "the S3 server ended: {said}");
        said.push_str(&line);
        if let Some((_, port)) = line.split_once(READY) {
            let digits: String = port.chars().take_while(char::is_ascii_digit).collect();
            break digits.parse().unwrap();
        }
    };
    // A server whose words nobody reads would stop.
    std::thread::spawn(move || std::io::copy(&mut words, &mut std::io::sink()));
    S3Server { port, buckets: AtomicU32::new(0), _shell: shell }
}

impl S3Server {
    /// Where it listens on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Makes an empty bucket.
    pub(crate) fn fresh_bucket(&self) -> String {
        let name = format!("faxwell-{}", self.buckets.fetch_add(1, Ordering::SeqCst));
        self.ask("PUT", &format!("/{name}"));
        name
    }

    /// The keys of a bucket's objects.
    pub(crate) fn keys(&self, bucket: &str) -> Vec<String> {
        let listing = self.ask("GET", &format!("/{bucket}?list-type=2"));
        let keys = listing.split("<Key>").skip(1).filter_map(|part| part.split("</Key>").next());
        keys.map(str::to_owned).collect()
    }

    /// One request without a body; the whole answer, lossily as text.
    pub(crate) fn ask(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.port
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert!(text.starts_with("HTTP/1.1 2"), "{method} {path}: {text}");
        text
    }
}
