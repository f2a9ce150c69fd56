//! A running sandbox, a plain SMTP client, and readers for the mailbox and the tray.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than anything here takes on a slow machine; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The binary under test.
pub(crate) fn faxwell() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_faxwell"));
    // Settings of whoever runs the tests are not settings of the gateway under test.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FAXWELL_")) {
        command.env_remove(name);
    }
    command
}

/// Waits until `condition` answers something.
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::yield_now();
        #[expect(clippy::disallowed_methods, reason = "polling another process's files, with a deadline above")]
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// To the terminal: the test runner keeps what tests print.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// First of a few TCP and UDP ports that nobody uses.
pub(crate) fn free_ports() -> u16 {
    for _ in 0..200 {
        let first = 20_000 + fastrand::u16(0..20_000);
        let free = (first..first + 8).all(|port| {
            TcpListener::bind(("127.0.0.1", port)).is_ok() && std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok()
        });
        if free {
            return first;
        }
    }
    panic!("no free ports");
}

/// `faxwell demo`, running.
pub(crate) struct Sandbox {
    child: Child,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) smtp: SocketAddr,
    pub(crate) mailbox: PathBuf,
    pub(crate) tray: PathBuf,
    pub(crate) first_line: Value,
}

impl Sandbox {
    /// As fast as the machine can, without a first mail.
    pub(crate) fn start() -> Self {
        Self::start_with(&["--no-first-mail"], &[("FAXWELL_SIP__SANDBOX__PACE", "max")])
    }

    /// With further arguments and environment.
    pub(crate) fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let mut child = faxwell()
            .args(["demo", "--json", "--port", &free_ports().to_string(), "--data"])
            .arg(dir.path().join("data"))
            .args(arguments)
            .env("FAXWELL_LOG", "info,foip=debug")
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let first_line: Value = serde_json::from_str(&line).unwrap_or_else(|e| {
            panic!("the first line {line:?} is not JSON: {e}\n{}", fs::read_to_string(dir.path().join("log")).unwrap())
        });
        let path = |key: &str| PathBuf::from(first_line[key].as_str().unwrap());
        Self {
            smtp: first_line["smtp"].as_str().unwrap().parse().unwrap(),
            mailbox: path("mailbox"),
            tray: path("tray"),
            first_line,
            child,
            dir,
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// SIGKILL: nothing of it gets to run.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Runs a list command against this sandbox and parses what it prints, one object a line.
    pub(crate) fn json_lines(&self, arguments: &[&str]) -> Vec<Value> {
        let output = faxwell().args(arguments).arg("--json").arg("--data").arg(self.data()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Every mail that the gateway delivered so far.
    pub(crate) fn mails(&self) -> Vec<Report> {
        mails(&self.mailbox)
    }

    /// The one final report that answers the mail with this Message-ID.
    pub(crate) fn report_on(&self, message_id: &str) -> Report {
        wait_for(&format!("the report on {message_id}\n{}", self.tail()), || {
            self.mails().into_iter().find(|mail| mail.header("In-Reply-To").contains(message_id))
        })
    }

    fn tail(&self) -> String {
        let log = self.log();
        log.lines().rev().take(30).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the sandbox ---\n{}", self.log());
        }
    }
}

/// A delivered mail.
pub(crate) struct Report {
    pub(crate) raw: Vec<u8>,
}

impl Report {
    /// A header field, unfolded and decoded; empty when there is none.
    pub(crate) fn header(&self, name: &str) -> String {
        use mailparse::MailHeaderMap;
        let mail = mailparse::parse_mail(&self.raw).unwrap();
        mail.headers.get_first_value(name).unwrap_or_default()
    }

    /// The decoded content of the first part of this type.
    pub(crate) fn part(&self, media: &str) -> Option<Vec<u8>> {
        fn find(mail: &mailparse::ParsedMail<'_>, media: &str) -> Option<Vec<u8>> {
            if mail.ctype.mimetype == media {
                return Some(mail.get_body_raw().unwrap());
            }
            mail.subparts.iter().find_map(|part| find(part, media))
        }
        find(&mailparse::parse_mail(&self.raw).unwrap(), media)
    }

    /// The text part.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.part("text/plain").expect("every report has a text part")).unwrap()
    }

    /// A field of the delivery status, any group.
    pub(crate) fn status(&self, field: &str) -> String {
        let status = self.part("message/delivery-status").expect("every report has a delivery status");
        let status = String::from_utf8(status).unwrap();
        let found = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(": "));
        found.unwrap_or_else(|| panic!("no {field} in {status}")).trim().to_owned()
    }
}

/// Every mail of a Maildir.
pub(crate) fn mails(mailbox: &Path) -> Vec<Report> {
    let mut found = Vec::new();
    for folder in ["new", "cur"] {
        for entry in fs::read_dir(mailbox.join(folder)).into_iter().flatten().flatten() {
            found.push(Report { raw: fs::read(entry.path()).unwrap() });
        }
    }
    found
}

/// Both directions of a connection.
pub(crate) trait Duplex: Read + Write {}
impl<T: Read + Write> Duplex for T {}

/// A plain SMTP client: says what it is told and keeps what it hears.
pub(crate) struct Smtp {
    stream: BufReader<Box<dyn Duplex>>,
}

impl Smtp {
    pub(crate) fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut smtp = Self { stream: BufReader::new(Box::new(stream)) };
        assert!(smtp.reply().starts_with("220 "), "the greeting");
        smtp
    }

    /// The same connection within something else: TLS.
    pub(crate) fn wrapped(self, wrap: impl FnOnce(Box<dyn Duplex>) -> Box<dyn Duplex>) -> Self {
        assert!(self.stream.buffer().is_empty(), "nothing was said ahead");
        Self { stream: BufReader::new(wrap(self.stream.into_inner())) }
    }

    /// One reply, all its lines.
    pub(crate) fn reply(&mut self) -> String {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.stream.read_line(&mut line).unwrap(), 0, "the connection closed after {all:?}");
            let last = line.as_bytes().get(3) == Some(&b' ');
            all.push_str(&line);
            if last {
                return all;
            }
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
        self.stream.get_mut().flush().unwrap();
    }

    /// Sends a command and answers its reply.
    pub(crate) fn say(&mut self, command: &str) -> String {
        self.write(format!("{command}\r\n").as_bytes());
        self.reply()
    }

    /// A whole transaction; answers the reply to the data.
    pub(crate) fn send(&mut self, from: &str, to: &[&str], mail: &[u8]) -> String {
        self.say("EHLO client.test");
        let reply = self.say(&format!("MAIL FROM:<{from}>"));
        assert!(reply.starts_with("250"), "{reply}");
        for recipient in to {
            let reply = self.say(&format!("RCPT TO:<{recipient}>"));
            assert!(reply.starts_with("250"), "{recipient}: {reply}");
        }
        self.data(mail)
    }

    /// DATA with dot-stuffing; answers the final reply.
    pub(crate) fn data(&mut self, mail: &[u8]) -> String {
        let reply = self.say("DATA");
        assert!(reply.starts_with("354"), "{reply}");
        for line in mail.split_inclusive(|byte| *byte == b'\n') {
            if line.first() == Some(&b'.') {
                self.write(b".");
            }
            self.write(line);
        }
        self.write(b".\r\n");
        self.reply()
    }
}

/// The content of a mail up to the final dot, dots unstuffed.
pub(crate) fn read_content(lines: &mut BufReader<TcpStream>) -> std::io::Result<Vec<u8>> {
    let mut raw = Vec::new();
    loop {
        let mut line = Vec::new();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line == b".\r\n" {
            return Ok(raw);
        }
        raw.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
}

/// A mail with a text and attachments, CRLF line ends.
pub(crate) fn mail(message_id: &str, to: &str, text: &str, attachments: &[(&str, &str, &[u8])]) -> Vec<u8> {
    let mut mail = format!(
        "From: Anna Meier <anna@example.com>\r\nTo: <{to}>\r\nSubject: Offer {message_id} [fax: no cover]\r\n\
         Message-ID: <{message_id}@client.test>\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"bound\"\r\n\r\n--bound\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{text}\r\n"
    );
    for (name, media, bytes) in attachments {
        let encoded = data_encoding::BASE64.encode(bytes);
        let lines: Vec<&str> = encoded.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
        mail.push_str(&format!(
            "--bound\r\nContent-Type: {media}; name=\"{name}\"\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n{}\r\n",
            lines.join("\r\n")
        ));
    }
    mail.push_str("--bound--\r\n");
    mail.into_bytes()
}

/// The pages of a TIFF as pixels.
pub(crate) fn pixels(tiff: &[u8]) -> Vec<fax_image::Bitmap> {
    let reader = fax_image::tiff::TiffReader::open(tiff).unwrap();
    (0..reader.page_count()).map(|page| reader.decode(page).unwrap()).collect()
}

/// A page without its header line, which says "continued" where a later call began.
pub(crate) fn below_header(page: &fax_image::Bitmap) -> fax_image::Bitmap {
    // The line's band is 5 of 297 mm.
    page.crop_rows(page.height() / 50..page.height())
}

/// Tray files for a number, in the order in which they were written.
pub(crate) fn tray_files(tray: &Path, number: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(tray)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with(&format!("{number}-")) && name.ends_with(".tif")
        })
        .collect();
    found.sort_by_key(|path| fs::metadata(path).unwrap().modified().unwrap());
    found
}

/// Pages of every call for a number that the pretend fax machine has, in the order in which they came.
pub(crate) fn received(tray: &Path, number: &str) -> Vec<fax_image::Bitmap> {
    tray_files(tray, number).iter().flat_map(|path| pixels(&fs::read(path).unwrap())).collect()
}
