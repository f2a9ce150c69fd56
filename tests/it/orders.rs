//! Orders of people against a running gateway: what they ask for happens, once, and is told truly.

use std::fs;
use std::process::Output;

use serde_json::Value;

use crate::harness::{Sandbox, Smtp, faxwell, mail, received, wait_for};

const TEXT: &str = "First page\u{c}Second page\u{c}Third page";
/// Every fax waits for hours after its first call, as long as nobody orders something else.
const PATIENT: &[(&str, &str)] = &[
    ("FAXWELL_SIP__SANDBOX__PACE", "max"),
    ("FAXWELL_DIAL__RETRY__BUSY", "3x 2h"),
    ("FAXWELL_DIAL__RETRY__OTHER", "3x 2h"),
    ("FAXWELL_DIAL__RETRY__GIVE_UP", "24h"),
];

impl Sandbox {
    fn with(environment: &[(&str, &str)]) -> Self {
        Self::start_with(&["--no-first-mail"], environment)
    }

    /// Sends three pages to a number and answers the id of its fax.
    fn fax(&self, message_id: &str, number: &str) -> String {
        let to = format!("{number}@fax.local");
        let mail = mail(message_id, &to, "", &[("pages.txt", "text/plain", TEXT.as_bytes())]);
        let reply = Smtp::connect(self.smtp).send("anna@example.com", &[&to], &mail);
        assert!(reply.starts_with("250"), "{reply}");
        self.json_lines(&["fax", "list", "--to", number])[0]["short"].as_str().unwrap().to_owned()
    }

    fn show(&self, id: &str) -> Value {
        self.json_lines(&["fax", "show", id]).remove(0)
    }

    fn wait_until(&self, id: &str, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        wait_for(&format!("{id} to be {what}: {}", self.show(id)), || Some(self.show(id)).filter(|fax| condition(fax)))
    }

    /// It has been called and waits for its next call.
    fn wait_until_waiting(&self, id: &str) -> Value {
        self.wait_until(id, "waiting", |fax| fax["state"] == "ready" && fax["attempts"] == 1 && fax["in_call"] == false)
    }

    fn wait_until_ended(&self, id: &str) -> Value {
        self.wait_until(id, "over", |fax| !fax["ended_at"].is_null())
    }

    fn wait_until_mailed(&self, id: &str) -> Value {
        self.wait_until(id, "reported", |fax| fax["notices"][0]["state"] == "sent")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        faxwell().args(arguments).arg("--data").arg(self.data()).output().unwrap()
    }

    /// An order that ends with this exit code; answers what it printed.
    #[track_caller]
    fn order(&self, arguments: &[&str], exit: i32) -> String {
        let output = self.run(&[&["fax"], arguments].concat());
        let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {printed}");
        if exit != 0 {
            assert!(printed.contains("cause: ") && printed.contains("fix: "), "{arguments:?}: {printed}");
        }
        printed
    }

    /// The new fax that a retry made.
    fn retry(&self, arguments: &[&str]) -> String {
        let answer = self.json_lines(&[&["fax", "retry"], arguments].concat()).remove(0);
        assert_eq!(answer["result"], "new", "{answer}");
        answer["fax"].as_str().unwrap().to_owned()
    }

    /// Message-IDs of the delivered reports on this fax.
    fn reports(&self, id: &str) -> Vec<String> {
        let ids = self.mails().into_iter().map(|mail| mail.header("Message-ID"));
        ids.filter(|message_id| message_id.contains(id)).collect()
    }
}

#[test]
fn a_held_fax_is_not_called_until_it_is_released() {
    let sandbox = Sandbox::with(PATIENT);
    // Its first call fails, its second works.
    let id = sandbox.fax("held", "+99930004");
    sandbox.wait_until_waiting(&id);
    assert!(sandbox.order(&["hold", &id, "--by", "anna"], 0).contains("is held"));
    sandbox.order(&["hold", &id], 0);
    assert!(sandbox.order(&["retry", &id], 7).contains(&format!("faxwell fax release {id}")));
    let held = sandbox.show(&id);
    assert_eq!((&held["state"], &held["attempts"]), (&"held".into(), &1.into()));
    sandbox.order(&["release", &id], 0);
    sandbox.order(&["release", &id], 7);
    sandbox.order(&["retry", &id], 0);
    let sent = sandbox.wait_until_mailed(&id);
    assert_eq!((&sent["state"], &sent["attempts"]), (&"sent".into(), &2.into()));
    assert_eq!(sandbox.reports(&id).len(), 1);

    let story = String::from_utf8(sandbox.run(&["log", &id]).stdout).unwrap();
    let lines: Vec<&str> = story.lines().collect();
    let told = [
        "accepted from",
        "pages are ready",
        "attempt 1 to",
        "held by anna",
        "released by",
        "tried now instead",
        "attempt 2 to",
        "page 3 of 3 confirmed",
        "sent, 3 of 3",
        "is owed to anna@example.com",
        "taken by",
    ];
    let mut from = 0;
    for what in told {
        let at = lines[from..].iter().position(|line| line.contains(what));
        from += at.unwrap_or_else(|| panic!("\"{what}\" is not told, or not in order:\n{story}"));
    }
    let zoned = |line: &&&str| jiff::fmt::strtime::parse("%Y-%m-%d %H:%M:%S %:z", &line[..26]).is_ok();
    assert_eq!(lines.iter().filter(zoned).count(), lines.len(), "each line has its time with its zone:\n{story}");
    assert!(lines.iter().all(|line| line.contains(&id)), "{story}");
    let message = sent["message"].as_str().unwrap();
    let of_message = sandbox.json_lines(&["log", message]);
    assert_eq!(of_message.len(), lines.len(), "it is the message's only fax");
    assert!(sandbox.json_lines(&["log"]).len() >= lines.len());
}

#[test]
fn a_waiting_fax_is_cancelled_at_once_with_its_one_report() {
    let sandbox = Sandbox::with(PATIENT);
    let (one, two) = (sandbox.fax("one", "+99910486"), sandbox.fax("two", "+99930004"));
    sandbox.wait_until_waiting(&one);
    sandbox.order(&["cancel", &one], 0);
    let report = sandbox.report_on("one");
    assert_eq!(report.status("Action"), "failed");
    assert!(report.header("Subject").contains("cancelled"), "{}", report.header("Subject"));
    assert_eq!(sandbox.show(&one)["state"], "cancelled");

    // Exit codes: wrong state, not found, some of several.
    assert!(sandbox.order(&["cancel", &one], 7).contains("ended already"));
    sandbox.order(&["cancel", "F-0000000000"], 3);
    sandbox.order(&["redeliver", "R-0000000000"], 3);
    sandbox.order(&["hold", &one, &one], 7);
    sandbox.wait_until_waiting(&two);
    let some = sandbox.order(&["cancel", &one, &two, "F-0000000000"], 6);
    assert!(some.contains("ended already") && some.contains("there is no fax F-0000000000"), "{some}");
    assert_eq!(sandbox.wait_until_mailed(&two)["state"], "cancelled");
    assert_eq!((sandbox.reports(&one).len(), sandbox.reports(&two).len()), (1, 1));
}

#[test]
fn a_fax_that_is_cancelled_in_its_call_ends_once_and_as_the_far_end_has_it() {
    // The first rings for a minute, passing in seconds; the second has a page when it is cancelled.
    let sandbox = Sandbox::with(&[("FAXWELL_SIP__SANDBOX__PACE", "10x"), ("FAXWELL_DIAL__RETRY__OTHER", "3x 2h")]);
    for (number, least) in [("+99940050", 0), ("+99955502", 1)] {
        let id = sandbox.fax(&format!("call{least}"), number);
        sandbox.wait_until(&id, "called", |fax| {
            !fax["ended_at"].is_null() || fax["in_call"] == true && fax["pages_confirmed"].as_u64().unwrap() >= least
        });
        let answer = sandbox.json_lines(&["fax", "cancel", &id, "--by", "anna"]).remove(0);
        assert_eq!(answer["result"], "soon", "{answer}");
        let ended = sandbox.wait_until_ended(&id);
        assert!(ended["ordered"].is_null(), "{ended}");
        let confirmed = ended["pages_confirmed"].as_u64().unwrap();
        match ended["state"].as_str().unwrap() {
            // The page on the wire was the last one.
            "sent" => assert_eq!(confirmed, 3),
            state => {
                assert_eq!((state, confirmed < 3), ("cancelled", true), "{ended}");
                assert_eq!(ended["detail"], "by anna", "{ended}");
            }
        }
        assert!(confirmed >= least, "{ended}");
        assert_eq!(ended["attempts"], 1, "nobody is called again: {ended}");
        assert_eq!(received(&sandbox.tray, number).len() as u64, confirmed, "{ended}");
        sandbox.wait_until_mailed(&id);
        assert_eq!(sandbox.reports(&id).len(), 1);
    }
}

#[test]
fn an_ended_fax_is_sent_once_more_as_a_new_one_with_a_report_of_its_own() {
    let sandbox = Sandbox::with(&[
        ("FAXWELL_SIP__SANDBOX__PACE", "max"),
        ("FAXWELL_DIAL__RETRY__OTHER", "1x 1s"),
        ("FAXWELL_DIAL__RETRY__GIVE_UP", "24h"),
    ]);
    // Failed: nothing arrived, everything is sent again.
    let failed = sandbox.fax("failed", "+99910404");
    sandbox.wait_until_ended(&failed);
    let again = sandbox.retry(&[&failed]);
    assert!(sandbox.order(&["retry", &failed], 7).contains(&again), "the new one is named");
    let ended = sandbox.wait_until_mailed(&again);
    assert_eq!((&ended["state"], &ended["retry_of"]), (&"failed".into(), &Value::from(failed.as_str())));
    assert_eq!(sandbox.show(&failed)["retried_as"], again.as_str());
    assert_eq!((sandbox.reports(&failed).len(), sandbox.reports(&again).len()), (1, 1));

    // Partial: each call loses its second page, and there are two calls; the third page alone is sent again.
    let number = "+99920002";
    let partial = sandbox.fax("partial", number);
    let ended = sandbox.wait_until_ended(&partial);
    assert_eq!((&ended["state"], &ended["pages_confirmed"]), (&"partial".into(), &2.into()), "{ended}");
    let rest = sandbox.retry(&[&partial]);
    let ended = sandbox.wait_until_mailed(&rest);
    assert_eq!((&ended["state"], &ended["begin_page"]), (&"sent".into(), &3.into()), "{ended}");
    assert_eq!(ended["calls"][0]["first_page"], 3);
    assert_eq!(received(&sandbox.tray, number).len(), 3, "no page came twice");

    // Unknown: from the first page that was not confirmed, because a person wants it.
    let unknown = sandbox.fax("unknown", "+99920200");
    let ended = sandbox.wait_until_ended(&unknown);
    assert_eq!((&ended["state"], &ended["pages_confirmed"]), (&"unknown".into(), &2.into()), "{ended}");
    let rest = sandbox.retry(&[&unknown]);
    let ended = sandbox.wait_until_ended(&rest);
    assert_eq!((&ended["state"], &ended["calls"][0]["first_page"]), (&"unknown".into(), &3.into()), "{ended}");

    // Sent: only with all its pages.
    let number = "+99955501";
    let sent = sandbox.fax("sent", number);
    sandbox.wait_until_ended(&sent);
    assert!(sandbox.order(&["retry", &sent], 7).contains("--all-pages"));
    let all = sandbox.retry(&[&sent, "--all-pages"]);
    assert_eq!(sandbox.wait_until_mailed(&all)["state"], "sent");
    assert_eq!(received(&sandbox.tray, number).len(), 6);
}

#[test]
fn a_report_is_delivered_again_as_the_same_mail() {
    let sandbox = Sandbox::start();
    let id = sandbox.fax("again", "+99910200");
    sandbox.wait_until_mailed(&id);
    let first = sandbox.reports(&id);
    assert_eq!(first.len(), 1);
    for entry in fs::read_dir(sandbox.mailbox.join("new")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    sandbox.order(&["redeliver", &id, "--to", "bob@example.com"], 7);
    sandbox.order(&["redeliver", &id, "--to", "anna@example.com", "--by", "anna"], 0);
    wait_for("the report to come again", || (sandbox.reports(&id) == first).then_some(()));
    let story = sandbox.json_lines(&["log", &id]);
    assert!(story.iter().any(|event| event["text"].as_str().unwrap().contains("once more, ordered by anna")));
    assert_eq!(sandbox.show(&id)["notices"].as_array().unwrap().len(), 1, "still one report");
}
