//! A gateway is copied while it works, its copy is restored elsewhere, and nobody gets a page twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::harness::{Sandbox, Smtp, faxwell, free_ports, mail, mails, received, wait_for};

/// What a busy number waits for would be over before anybody has looked.
const PATIENT: &[(&str, &str)] = &[
    ("FAXWELL_SIP__SANDBOX__PACE", "max"),
    ("FAXWELL_DIAL__RETRY__BUSY", "3x 1h"),
    ("FAXWELL_DIAL__RETRY__GIVE_UP", "24h"),
];

fn run(arguments: &[&str], data: &Path) -> Output {
    faxwell().args(arguments).arg("--data").arg(data).output().unwrap()
}

fn json(arguments: &[&str], data: &Path) -> Value {
    let output = run(&[arguments, &["--json"]].concat(), data);
    let (text, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {text}{told}");
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{arguments:?} printed {text:?}: {e}"))
}

/// What a refused command says.
fn refusal(output: &Output) -> String {
    assert!(!output.status.success(), "it must fail: {output:?}");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("cause:") && told.contains("fix:"), "{told}");
    told
}

/// A mail too large for its row, so that it lies in a file.
fn letter(id: &str, number: &str) -> (String, Vec<u8>) {
    let to = format!("{number}@fax.local");
    let text: Vec<String> = (0..200).map(|line| format!("{id} line {line} {}", "lorem ipsum ".repeat(5))).collect();
    let mail = mail(id, &to, "", &[("pages.txt", "text/plain", text.join("\n").as_bytes())]);
    (to, mail)
}

fn send(smtp: std::net::SocketAddr, id: &str, number: &str) {
    let (to, mail) = letter(id, number);
    let reply = Smtp::connect(smtp).send("anna@example.com", &[&to], &mail);
    assert!(reply.starts_with("250"), "{reply}");
}

/// A sandbox on a data directory that is there already.
struct Again(Child);

impl Again {
    fn start(data: &Path) -> Self {
        let mut child = faxwell()
            .args(["demo", "--json", "--no-first-mail", "--port", &free_ports().to_string(), "--data"])
            .arg(data)
            .envs(PATIENT.iter().copied())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(data.join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("\"smtp\""), "{line}{}", fs::read_to_string(data.join("log")).unwrap());
        Self(child)
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// State by id of every fax.
fn states(data: &Path) -> BTreeMap<String, String> {
    let output = run(&["fax", "list", "--limit", "999", "--json"], data);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let faxes = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    faxes.map(|fax| (fax["short"].as_str().unwrap().to_owned(), fax["state"].as_str().unwrap().to_owned())).collect()
}

fn is_final(state: &str) -> bool {
    !matches!(state, "accepted" | "ready" | "held")
}

/// Final reports by fax: their Message-IDs, each once however often it was delivered.
fn reports(mailboxes: &[PathBuf]) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for mail in mailboxes.iter().flat_map(|mailbox| mails(mailbox)) {
        found.entry(mail.header("In-Reply-To")).or_default().insert(mail.header("Message-ID"));
    }
    found
}

#[test]
fn a_gateway_under_load_is_backed_up_and_restored_and_calls_nobody_twice() {
    let sandbox = Sandbox::start_with(&["--no-first-mail"], PATIENT);
    for number in 0..4 {
        send(sandbox.smtp, &format!("early-{number}"), &format!("+4144123450{number}"));
    }
    send(sandbox.smtp, "waits", "+99910486");
    wait_for("the first faxes to end and the busy one to wait", || {
        let states = states(&sandbox.data());
        let ended = states.values().filter(|state| *state == "sent").count();
        let called = !sandbox.json_lines(&["fax", "list", "--to", "+99910486"])[0]["cause"].is_null();
        (ended >= 4 && called).then_some(())
    });

    // Mail goes on coming in while the backup is written, twice.
    let stop = Arc::new(AtomicBool::new(false));
    let (smtp, stopped) = (sandbox.smtp, Arc::clone(&stop));
    let load = std::thread::spawn(move || {
        let mut sent = 0;
        while !stopped.load(Ordering::SeqCst) && sent < 60 {
            send(smtp, &format!("load-{sent}"), &format!("+4144765{sent:04}"));
            sent += 1;
        }
        sent
    });
    let backups = tempfile::tempdir().unwrap();
    let backup = backups.path().join("backup");
    let target = backup.to_str().unwrap();
    let first = json(&["backup", target], &sandbox.data());
    let verdict = json(&["db", "verify", "--deep"], &sandbox.data());
    assert_eq!(verdict["found"], 0, "a running gateway is clean: {verdict}");
    wait_for("more faxes to be sent after the first backup", || {
        let sent = states(&sandbox.data()).values().filter(|state| *state == "sent").count();
        (sent >= 6).then_some(())
    });
    let second = json(&["backup", target], &sandbox.data());
    stop.store(true, Ordering::SeqCst);
    assert!(load.join().unwrap() > 1, "there was load");
    assert!(second["documents"].as_u64() > first["documents"].as_u64(), "{first} {second}");
    assert!(!sandbox.data().join("copies").read_dir().is_ok_and(|mut left| left.next().is_some()), "no copy stays");
    let names = fs::read_dir(&backup).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let names: Vec<String> = names.filter(|name| name.starts_with("store-")).collect();
    assert_eq!(names.len(), 1, "the older copy is gone: {names:?}");
    let (old_tray, elsewhere) = (sandbox.tray.clone(), backups.path().join("restored"));

    // A directory that is not empty, the running one's above all, is refused and stays as it is.
    let told = refusal(&run(&["restore", target], &sandbox.data()));
    assert!(told.contains("not empty"), "{told}");
    let restored = json(&["restore", target], &elsewhere);
    assert!(restored["held"].as_u64() >= Some(1), "{restored}");
    let verdict = json(&["db", "verify", "--deep"], &elsewhere);
    assert_eq!(verdict["found"], 0, "{verdict}");
    assert!(verdict["documents"].as_u64() > Some(5), "{verdict}");

    let running = Again::start(&elsewhere);
    let known = states(&elsewhere);
    let told_later = wait_for("nothing to be owed any more", || {
        let status = json(&["status"], &elsewhere);
        let now = states(&elsewhere);
        let settled = now.values().all(|state| is_final(state) || state == "held");
        (status["notices"]["owed"] == 0 && status["calls"] == 0 && settled).then_some(now)
    });
    assert_eq!(told_later.len(), known.len());
    let waits = json(&["fax", "list", "--to", "+99910486"], &elsewhere);
    assert_eq!(waits["state"], "held");
    assert!(waits["detail"].as_str().unwrap().contains("restored from the backup"), "{waits}");

    // Nothing was called by the restored one.
    assert_eq!(
        fs::read_dir(elsewhere.join("tray"))
            .map_or(0, |tray| tray.flatten().filter(|f| f.path().extension().is_some_and(|e| e == "tif")).count()),
        0
    );
    for number in 0..4 {
        let number = format!("+4144123450{number}");
        assert_eq!(received(&old_tray, &number).len(), received_pages(&elsewhere, &number), "{number}");
    }
    // Reports that were owed at the backup went out from both, under one Message-ID. Of a fax that was in a call just then the
    // restored gateway cannot know what the other one learned later, and says so.
    for (original, ids) in reports(&[sandbox.mailbox.clone(), elsewhere.join("mailbox")]) {
        let surely = ids.iter().filter(|id| !id.contains(".unknown@")).count();
        assert!(surely <= 1 && ids.len() <= 2, "{original}: {ids:?}");
    }
    drop(running);

    what_was_released_goes_on(target, &backups.path().join("released"));
}

/// Asked for, faxes that had not ended go on at once.
fn what_was_released_goes_on(target: &str, released: &Path) {
    let restored = json(&["restore", target, "--release"], released);
    assert_eq!(restored["held"], 0);
    let _running = Again::start(released);
    wait_for("every fax but the busy one to end", || {
        let waiting = states(released).values().filter(|state| !is_final(state)).count();
        (waiting <= 1).then_some(())
    });
}

fn received_pages(data: &Path, number: &str) -> usize {
    let fax = json(&["fax", "list", "--to", number], data);
    usize::try_from(fax["pages_confirmed"].as_u64().unwrap()).unwrap()
}

#[test]
fn a_backup_that_was_cut_off_or_damaged_is_told_as_such_and_restores_nothing() {
    let sandbox = Sandbox::start();
    send(sandbox.smtp, "one", "+41441234500");
    wait_for("the fax", || states(&sandbox.data()).values().any(|state| state == "sent").then_some(()));
    let dir = tempfile::tempdir().unwrap();
    let backup = dir.path().join("backup");
    let (target, elsewhere) = (backup.to_str().unwrap(), dir.path().join("elsewhere"));
    json(&["backup", target], &sandbox.data());

    // Cut off: the marker is there and the manifest is not.
    let manifest = fs::read(backup.join("manifest.json")).unwrap();
    fs::remove_file(backup.join("manifest.json")).unwrap();
    fs::write(backup.join("incomplete"), "").unwrap();
    assert!(refusal(&run(&["restore", target], &elsewhere)).contains("cut off"));
    assert!(!elsewhere.exists());
    // The next backup into it makes it whole.
    json(&["backup", target], &sandbox.data());
    assert!(!backup.join("incomplete").exists());

    // A bit of a document.
    let verdict = json(&["db", "verify"], &sandbox.data());
    assert_eq!(verdict["damaged"], 0);
    let file = some_document(&backup);
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[1000] ^= 1;
    // Linked to the gateway's own file: written anew, so that this one alone is damaged.
    fs::remove_file(&file).unwrap();
    fs::write(&file, &flipped).unwrap();
    let refused = refusal(&run(&["restore", target], &elsewhere));
    assert!(refused.contains("its bytes have the hash"), "{refused}");
    assert!(!elsewhere.join("faxwell.db").exists());
    let not_started = run(&["demo", "--no-first-mail"], &elsewhere);
    assert!(refusal(&not_started).contains("was not finished"), "{not_started:?}");
    fs::write(&file, &whole).unwrap();
    json(&["restore", target], &elsewhere);
    assert!(!elsewhere.join("restoring").exists(), "the second try finishes it");

    // The store, and what is no backup at all.
    let other = dir.path().join("other");
    fs::write(backup.join("manifest.json"), manifest).unwrap();
    assert!(!run(&["restore", target], &other).status.success(), "an old manifest names a store that is gone");
    assert!(refusal(&run(&["restore", dir.path().to_str().unwrap()], &other)).contains("no backup"));
}

fn some_document(backup: &Path) -> PathBuf {
    let mut folders = vec![backup.join("documents")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                return entry.path();
            }
        }
    }
    panic!("the backup has no document in a file");
}

#[test]
fn damage_is_found_beside_a_running_gateway_and_on_a_stopped_one_and_held_faxes_are_kept() {
    let sandbox = Sandbox::start();
    send(sandbox.smtp, "one", "+41441234500");
    wait_for("the fax", || states(&sandbox.data()).values().any(|state| state == "sent").then_some(()));
    let id = states(&sandbox.data()).into_keys().next().unwrap();
    let kept = json(&["fax", "keep", &id], &sandbox.data());
    assert_eq!(kept["legal_hold"], true);
    assert_eq!(json(&["fax", "show", &id], &sandbox.data())["legal_hold"], true);
    json(&["fax", "keep", &id, "--off"], &sandbox.data());
    assert_eq!(json(&["fax", "show", &id], &sandbox.data())["legal_hold"], false);
    let unknown = run(&["fax", "keep", "F-0000000000"], &sandbox.data());
    assert_eq!(unknown.status.code(), Some(3), "{unknown:?}");
    let pruned = json(&["db", "prune"], &sandbox.data());
    assert_eq!((&pruned["documents"], &pruned["done"]), (&Value::from(0), &Value::from(true)));
    let data = sandbox.data();
    assert!(json(&["status"], &data)["storage"]["documents"].as_u64() > Some(0));

    let file = some_document(&data);
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[1000] ^= 1;
    let look = |arguments: &[&str]| -> Value {
        let output = run(&[&["db", "verify", "--json"], arguments].concat(), &data);
        let verdict: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{output:?}: {e}"));
        let damaged = verdict["damaged"].as_u64().unwrap() > 0;
        assert_eq!(output.status.code(), Some(i32::from(damaged)), "{output:?}");
        verdict
    };
    let check = || {
        fs::write(&file, &flipped).unwrap();
        assert_eq!(look(&[])["found"], 0, "the length is right");
        assert_eq!(look(&["--deep"])["findings"][0]["kind"], "damaged-file");
        fs::write(&file, &whole[..100]).unwrap();
        assert_eq!(look(&[])["findings"][0]["kind"], "damaged-file");
        fs::remove_file(&file).unwrap();
        let verdict = look(&[]);
        assert_eq!((&verdict["findings"][0]["kind"], &verdict["found"]), (&"missing-file".into(), &1.into()));
        fs::write(&file, &whole).unwrap();
        assert_eq!(look(&["--deep"])["found"], 0);
    };
    check();
    let mut sandbox = sandbox;
    sandbox.kill();
    check();
    let nothing = tempfile::tempdir().unwrap();
    assert_eq!(run(&["db", "verify"], nothing.path()).status.code(), Some(3));
}
