//! The plug is pulled in the middle of a call: `kill -9` of the gateway, while the far end lives on in a process of its
//! own and keeps a ledger of every page that it confirmed.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Smtp, below_header, faxwell, free_ports, mail, mails, pixels, tray_files, wait_for};

/// A gateway and a pretend fax machine in two processes.
struct Pair {
    dir: tempfile::TempDir,
    port: u16,
    far_end: Child,
    gateway: Option<Child>,
}

impl Pair {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_ports();
        let far_end = faxwell()
            .args(["far-end", "--listen", &format!("127.0.0.1:{}", port + 2), "--pace", "30x"])
            .arg("--tray")
            .arg(dir.path().join("tray"))
            .arg("--ledger")
            .arg(dir.path().join("ledger.jsonl"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.path().join("far-end.log")).unwrap())
            .spawn()
            .unwrap();
        // Slow enough to be hit in the middle: a call of a minute takes two seconds.
        let config = format!(
            r#"domain = "fax.local"
node = "gw-a"
data = "{data}"
[smtp]
listen = ["127.0.0.1:{port}"]
relay = ["127.0.0.0/8"]
[render]
cover = "none"
[sip.sandbox]
server = "127.0.0.1:{sip}"
bind = "127.0.0.1:0"
number = "+9990000"
channels = 8
sandbox = true
pace = "30x"
[dial]
retry = {{ busy = "3x 1s", no_answer = "3x 1s", other = "5x 1s", give_up = "10m" }}
[delivery]
maildir = "mailbox"
"#,
            data = dir.path().join("data").display(),
            sip = port + 2
        );
        fs::write(dir.path().join("faxwell.toml"), config).unwrap();
        let mut pair = Self { dir, port, far_end, gateway: None };
        pair.start_gateway();
        pair
    }

    fn start_gateway(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("gateway.log")).unwrap();
        let child = faxwell()
            .args(["serve", "-c"])
            .arg(self.dir.path().join("faxwell.toml"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.gateway = Some(child);
        wait_for("the gateway to listen", || std::net::TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    fn kill_gateway(&mut self) {
        let mut gateway = self.gateway.take().unwrap();
        // SIGKILL: nothing of it gets to run.
        gateway.kill().unwrap();
        gateway.wait().unwrap();
    }

    fn send(&self, id: &str, number: &str, pages: u32) {
        let to = format!("{number}@fax.local");
        let text: Vec<String> =
            (1..=pages).map(|page| format!("{id} page {page} {}", "lorem ipsum ".repeat(80))).collect();
        let mail = mail(id, &to, "", &[("pages.txt", "text/plain", text.join("\u{c}").as_bytes())]);
        let reply = Smtp::connect(([127, 0, 0, 1], self.port).into()).send("anna@example.com", &[&to], &mail);
        assert!(reply.starts_with("250"), "{reply}");
    }

    /// Lines of the far end's ledger: one for each page that it confirmed.
    fn ledger(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.dir.path().join("ledger.jsonl")).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        lines.filter(|line: &Value| line["event"] == "page").collect()
    }

    fn mailbox(&self) -> std::path::PathBuf {
        self.dir.path().join("mailbox")
    }

    /// Everything that the gateway knows of the fax to a number.
    fn record(&self, number: &str) -> Value {
        let list = self.command(&["fax", "list", "--to", number]);
        let short = list["short"].as_str().unwrap().to_owned();
        self.command(&["fax", "show", &short])
    }

    fn command(&self, arguments: &[&str]) -> Value {
        let data = self.dir.path().join("data");
        let output = faxwell().args(arguments).arg("--json").arg("--data").arg(data).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{arguments:?} printed {text:?}: {e}"))
    }

    /// What a command that lists prints: one object a line.
    fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        let data = self.dir.path().join("data");
        let output = faxwell().args(arguments).arg("--json").arg("--data").arg(data).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line:?}: {e}"))).collect()
    }

    fn tray(&self) -> std::path::PathBuf {
        self.dir.path().join("tray")
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for child in self.gateway.iter_mut().chain([&mut self.far_end]) {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            for log in ["gateway.log", "far-end.log", "ledger.jsonl"] {
                eprintln!("--- {log} ---\n{}", fs::read_to_string(self.dir.path().join(log)).unwrap_or_default());
            }
        }
    }
}

#[test]
fn a_gateway_killed_in_the_middle_of_calls_finishes_every_fax_with_one_report_and_no_page_twice() {
    let mut pair = Pair::start();
    let numbers = ["+99955511", "+99955512", "+99955513", "+99955514"];
    for (index, number) in numbers.iter().enumerate() {
        pair.send(&format!("crash-{index}"), number, 4);
    }
    // Some pages are confirmed and some are not: the calls are under way.
    wait_for("the first confirmed pages", || (pair.ledger().len() >= 6).then_some(()));
    let before = pair.ledger().len();
    pair.kill_gateway();
    assert!(before < 16, "the kill comes before the end: {before} pages");
    assert!(mails(&pair.mailbox()).len() < numbers.len(), "not every fax is over yet");
    pair.start_gateway();

    let reports = wait_for("a report on every fax", || {
        let mails = mails(&pair.mailbox());
        (mails.len() >= numbers.len()).then_some(mails)
    });
    let mut by_fax: BTreeMap<String, usize> = BTreeMap::new();
    for report in &reports {
        *by_fax.entry(report.header("In-Reply-To")).or_default() += 1;
    }
    assert_eq!(by_fax.len(), numbers.len(), "{by_fax:?}");
    assert!(by_fax.values().all(|count| *count == 1), "exactly one report each: {by_fax:?}");
    for number in numbers {
        check(&pair, &reports, number);
    }
}

/// Outcomes of every kind, and a call that takes some time.
const UNDER_FIRE: [&str; 8] =
    ["+99955521", "+99955522", "+99910486", "+99910404", "+99920002", "+99920200", "+99930001", "+99910200"];

#[test]
fn twenty_kills_under_load_leave_one_report_on_each_accepted_mail_and_nothing_half_done() {
    let mut pair = Pair::start();
    let mut random = fastrand::Rng::with_seed(20);
    let mut accepted = 0;
    for _ in 0..20 {
        for _ in 0..2 {
            pair.send(&format!("fire-{accepted}"), UNDER_FIRE[accepted % UNDER_FIRE.len()], 2);
            accepted += 1;
        }
        // From before the first page is made to after the last report of the round.
        let strike = Instant::now() + Duration::from_millis(random.u64(0..900));
        wait_for("the moment to strike", || (Instant::now() >= strike).then_some(()));
        pair.kill_gateway();
        pair.start_gateway();
    }

    let faxes = wait_for("every fax to end and be reported on", || {
        let faxes = pair.lines(&["fax", "list", "--limit", "200"]);
        let over = faxes.iter().all(|fax| !matches!(fax["state"].as_str(), Some("accepted" | "ready")));
        (over && mails(&pair.mailbox()).len() >= accepted).then_some(faxes)
    });
    assert_eq!(faxes.len(), accepted);
    let reports = mails(&pair.mailbox());
    let mut by_mail: BTreeMap<String, usize> = BTreeMap::new();
    for report in &reports {
        *by_mail.entry(report.header("In-Reply-To")).or_default() += 1;
    }
    assert_eq!((by_mail.len(), reports.len()), (accepted, accepted), "exactly one report each: {by_mail:?}");
    for fax in &faxes {
        check_end(&pair, fax);
    }
    let spooled = fs::read_dir(pair.dir.path().join("data/calls")).unwrap().count();
    assert_eq!(spooled, 0, "no document of a call is left over");
}

/// The end of a fax is one that its number or our crashes explain, and what is called sent lies in the tray.
fn check_end(pair: &Pair, fax: &Value) {
    let (number, short) = (fax["number"].as_str().unwrap(), fax["short"].as_str().unwrap());
    let (state, cause) = (fax["state"].as_str().unwrap(), fax["cause"]["slug"].as_str().unwrap_or_default());
    let by_number = match number {
        "+99910486" => ("failed", "busy"),
        "+99910404" => ("failed", "number-unassigned"),
        "+99930001" => ("failed", "voice-answered"),
        "+99920200" => ("unknown", "confirmation-lost"),
        _ => ("sent", ""),
    };
    // Killed in too many of its calls, or behind the last page.
    let by_crashes = [("failed", "remote-hangup"), ("partial", "remote-hangup"), ("unknown", "confirmation-lost")];
    assert!((state, cause) == by_number || by_crashes.contains(&(state, cause)), "{fax}");
    let record = pair.command(&["fax", "show", short]);
    assert!(record["calls"].as_array().unwrap().iter().all(|call| !call["ended_at"].is_null()), "{record}");
    if state == "sent" {
        assert_eq!(fax["pages"], fax["pages_confirmed"], "{fax}");
        let ends = |path: &std::path::PathBuf| path.to_string_lossy().ends_with(&format!("{short}.tif"));
        assert!(tray_files(&pair.tray(), number).iter().any(ends), "{short} lies in the tray");
    }
}

/// What the report says of a number is what the far end has, and what the gateway had on record is not sent again.
fn check(pair: &Pair, reports: &[crate::harness::Report], number: &str) {
    let report = reports.iter().find(|report| report.status("Final-Recipient").contains(number)).unwrap();
    let record = pair.record(number);
    let attempts = record["calls"].as_array().unwrap();
    let first_pages: Vec<u64> = attempts.iter().map(|attempt| attempt["first_page"].as_u64().unwrap()).collect();
    let files = tray_files(&pair.tray(), number);
    let read = |path: &std::path::PathBuf| pixels(&fs::read(path).unwrap());
    // Every later call begins at the first page that was not on record; the far end may have one page more, of which
    // the gateway was never told before it died.
    let mut expected_first = 1;
    for (attempt, first) in attempts.iter().zip(&first_pages) {
        assert_eq!(*first, expected_first, "{number}: {record}");
        let of_attempt = |page: &&Value| page["call"] == attempt["number"];
        expected_first += record["confirmed"].as_array().unwrap().iter().filter(of_attempt).count() as u64;
    }
    match report.status("Action").as_str() {
        "delivered" => {
            let whole = |path: &&std::path::PathBuf| !path.to_string_lossy().contains(".partial");
            let last = files.iter().find(whole).map(read).unwrap();
            let first = usize::try_from(*first_pages.last().unwrap()).unwrap();
            assert_eq!(last.len(), 4 - (first - 1), "{number}: the last call brings exactly what was missing");
        }
        // The kill hit between the last page and its confirmation: said so, and not sent again.
        _ => assert!(report.text().contains("confirmation-lost"), "{number}: {}", report.text()),
    }
    let twice = twice(&files);
    assert!(twice <= 1, "{number}: {twice} pages came twice; one kill leaves one page in flight");
}

/// How many pages came that had come before.
fn twice(files: &[std::path::PathBuf]) -> usize {
    let pages = files.iter().flat_map(|path| pixels(&fs::read(path).unwrap()));
    let all: Vec<_> = pages.map(|page| below_header(&page)).collect();
    (0..all.len()).filter(|index| all[..*index].contains(&all[*index])).count()
}

/// Keeps every other program from writing to the gateway's store until it is dropped.
struct StoreAway {
    runtime: tokio::runtime::Runtime,
    connection: Option<sqlx::SqliteConnection>,
}

impl StoreAway {
    fn new(pair: &Pair) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let url = format!("sqlite://{}", pair.dir.path().join("data/faxwell.db").display());
        let connection = runtime.block_on(async {
            let mut connection = <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await.unwrap();
            sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
            connection
        });
        Self { runtime, connection: Some(connection) }
    }
}

impl Drop for StoreAway {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            let _ = self.runtime.block_on(sqlx::Connection::close(connection));
        }
    }
}

#[test]
fn a_call_goes_on_while_the_store_is_away_and_a_kill_then_costs_no_page_that_was_confirmed() {
    const PAGES: u32 = 12;
    let mut pair = Pair::start();
    let number = "+99955531";
    pair.send("away", number, PAGES);
    wait_for("the call to be connected", || (!pair.ledger().is_empty()).then_some(()));
    let away = StoreAway::new(&pair);
    let before = pair.ledger().len();
    // Two pages more are confirmed: the second began although the store has the first nowhere.
    let confirmed = wait_for("pages without a store", || {
        let now = pair.ledger().len();
        (now >= before + 3).then_some(now)
    });
    assert!(confirmed < PAGES as usize, "the call is under way");
    pair.kill_gateway();
    let confirmed = pair.ledger().len();
    drop(away);
    pair.start_gateway();
    let report = wait_for("the report", || mails(&pair.mailbox()).pop());
    let calls = pair.record(number)["calls"].clone();
    let files = tray_files(&pair.tray(), number);
    if report.status("Action") == "delivered" {
        // Of what the far end had confirmed, the gateway may not have heard of the last page alone.
        let first = calls.as_array().unwrap().last().unwrap()["first_page"].as_u64().unwrap();
        assert!(first >= confirmed as u64, "{confirmed} pages were confirmed: {calls}");
        let last = pixels(&fs::read(files.last().unwrap()).unwrap());
        assert_eq!(last.len() as u64, u64::from(PAGES) + 1 - first, "the last call brings exactly what was missing");
    } else {
        assert!(report.text().contains("confirmation-lost"), "{}", report.text());
    }
    assert!(twice(&files) <= 1, "one kill leaves one page in flight");
}
