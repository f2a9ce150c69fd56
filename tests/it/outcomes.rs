//! Every sandbox number from SMTP to its confirmation: the report is true, and the tray holds what was confirmed.

use std::fs;

use crate::harness::{Sandbox, Smtp, below_header, mail, pixels, received, wait_for};

/// What the sender of a three-page fax to a number is told.
struct Expected {
    number: &'static str,
    action: &'static str,
    status: &'static str,
    /// A word of the subject or text.
    says: &'static str,
    pages: &'static str,
    attempts: Attempts,
}

enum Attempts {
    Exactly(u32),
    AtLeast(u32),
}

use Attempts::{AtLeast, Exactly};

const EXPECTED: &[Expected] = &[
    Expected {
        number: "+99910200",
        action: "delivered",
        status: "2.1.5",
        says: "sent",
        pages: "3",
        attempts: Exactly(1),
    },
    Expected { number: "+99910486", action: "failed", status: "4.4.1", says: "busy", pages: "0", attempts: Exactly(4) },
    Expected {
        number: "+99910480",
        action: "failed",
        status: "4.4.1",
        says: "answer",
        pages: "0",
        attempts: Exactly(4),
    },
    Expected {
        number: "+99910404",
        action: "failed",
        status: "5.1.1",
        says: "not assigned",
        pages: "0",
        attempts: Exactly(1),
    },
    Expected {
        number: "+99910403",
        action: "failed",
        status: "5.7.1",
        says: "refused",
        pages: "0",
        attempts: Exactly(1),
    },
    Expected {
        number: "+99910488",
        action: "delivered",
        status: "2.1.5",
        says: "sent",
        pages: "3",
        attempts: Exactly(1),
    },
    Expected { number: "+99910503", action: "failed", status: "4.4", says: "", pages: "0", attempts: Exactly(6) },
    Expected { number: "+99910408", action: "failed", status: "4.4", says: "", pages: "0", attempts: AtLeast(4) },
    Expected {
        number: "+99920001",
        action: "failed",
        status: "4.4.2",
        says: "connection lost",
        pages: "0",
        attempts: Exactly(6),
    },
    Expected {
        number: "+99920002",
        action: "delivered",
        status: "2.1.5",
        says: "sent",
        pages: "3",
        attempts: Exactly(3),
    },
    Expected {
        number: "+99920003",
        action: "delivered",
        status: "2.1.5",
        says: "sent",
        pages: "3",
        attempts: Exactly(2),
    },
    Expected {
        number: "+99920102",
        action: "delivered",
        status: "2.1.5",
        says: "sent",
        pages: "3",
        attempts: AtLeast(1),
    },
    Expected {
        number: "+99920200",
        action: "failed",
        status: "4.4.2",
        says: "check",
        pages: "2",
        attempts: Exactly(1),
    },
    Expected {
        number: "+99930001",
        action: "failed",
        status: "5.1.2",
        says: "person",
        pages: "0",
        attempts: Exactly(1),
    },
    Expected {
        number: "+99930002",
        action: "delivered",
        status: "2.1.5",
        says: "sent",
        pages: "3",
        attempts: Exactly(1),
    },
    Expected {
        number: "+99930003",
        action: "delivered",
        status: "2.1.5",
        says: "2400",
        pages: "3",
        attempts: Exactly(1),
    },
    Expected {
        number: "+99930004",
        action: "delivered",
        status: "2.1.5",
        says: "sent",
        pages: "3",
        attempts: Exactly(2),
    },
    Expected {
        number: "+99940002",
        action: "delivered",
        status: "2.1.5",
        says: "sent",
        pages: "3",
        attempts: Exactly(1),
    },
    Expected {
        number: "+99955501",
        action: "delivered",
        status: "2.1.5",
        says: "sent",
        pages: "3",
        attempts: Exactly(1),
    },
];

fn message_id(number: &str) -> String {
    format!("n{}", &number[1..])
}

#[test]
fn every_sandbox_number_ends_in_exactly_one_true_report() {
    let sandbox = Sandbox::start();
    for expected in EXPECTED {
        let to = format!("{}@fax.local", expected.number);
        let text = "First page\u{c}Second page\u{c}Third page";
        let mail = mail(&message_id(expected.number), &to, "", &[("pages.txt", "text/plain", text.as_bytes())]);
        let reply = Smtp::connect(sandbox.smtp).send("anna@example.com", &[&to], &mail);
        assert!(reply.starts_with("250 2.0.0 accepted as F-"), "{}: {reply}", expected.number);
    }
    for expected in EXPECTED {
        check(&sandbox, expected);
    }
    let reports = sandbox.mails().len();
    assert_eq!(reports, EXPECTED.len(), "exactly one report for each accepted recipient");
}

fn check(sandbox: &Sandbox, expected: &Expected) {
    let number = expected.number;
    let report = sandbox.report_on(&message_id(number));
    let text = report.text();
    assert_eq!(report.status("Action"), expected.action, "{number}: {text}");
    assert!(report.status("Status").starts_with(expected.status), "{number}: {}", report.status("Status"));
    let told = format!("{}\n{text}", report.header("Subject")).to_lowercase();
    assert!(told.contains(expected.says), "{number}: {told}");
    assert_eq!(report.status("X-Faxwell-Pages-Sent"), expected.pages, "{number}");
    let attempts: u32 = report.status("X-Faxwell-Attempts").parse().unwrap();
    match expected.attempts {
        Exactly(count) => assert_eq!(attempts, count, "{number}: {text}"),
        AtLeast(count) => assert!(attempts >= count, "{number}: {attempts} calls\n{text}"),
    }
    assert_eq!(report.header("Return-Path"), "<>", "{number}: the null reverse-path");
    assert_eq!(report.header("Auto-Submitted"), "auto-replied", "{number}");
    check_tray(sandbox, expected);
}

/// The far end's own record: the pages it confirmed, in order and once each, are those that the fax has.
fn check_tray(sandbox: &Sandbox, expected: &Expected) {
    let received = received(&sandbox.tray, expected.number);
    let list = sandbox.json_lines(&["fax", "list", "--to", expected.number]);
    let id = list[0]["short"].as_str().expect("a list line has the short id").to_owned();
    let sent = sandbox.dir.path().join(format!("{id}.tif"));
    let output = crate::harness::faxwell()
        .args(["fax", "pages", &id, "-o"])
        .arg(&sent)
        .arg("--data")
        .arg(sandbox.data())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let sent = pixels(&fs::read(&sent).unwrap());
    assert_eq!(sent.len(), 3, "{}", expected.number);
    // The far end of +999 2 0200 has the last page too: only its confirmation got lost.
    let arrived = if expected.number == "+99920200" { 3 } else { expected.pages.parse().unwrap() };
    assert_eq!(received.len(), arrived, "{}: pages in the tray", expected.number);
    let record = sandbox.json_lines(&["fax", "show", &id]).remove(0);
    let calls = record["calls"].as_array().unwrap();
    for (page, (ours, theirs)) in (1_u64..).zip(sent.iter().zip(&received)) {
        let number = expected.number;
        assert!(below_header(ours) == below_header(theirs), "{number}: page {page} differs");
        // The first page of a call that goes on says so, and no other does.
        let continued = page > 1 && calls.iter().any(|call| call["first_page"] == page);
        assert_eq!(ours != theirs, continued, "{number}: header line of page {page}");
    }
}

#[test]
fn reports_that_the_configuration_switches_off_are_recorded_and_not_mailed() {
    let sandbox = Sandbox::start_with(
        &["--no-first-mail"],
        &[("FAXWELL_SIP__SANDBOX__PACE", "max"), ("FAXWELL_DELIVERY__NOTIFY__SUCCESS", "off")],
    );
    for (id, number) in [("quiet", "+99910200"), ("told", "+99910404")] {
        let to = format!("{number}@fax.local");
        let reply = Smtp::connect(sandbox.smtp).send("anna@example.com", &[&to], &mail(id, &to, "Hello", &[]));
        assert!(reply.starts_with("250"), "{reply}");
    }
    assert_eq!(sandbox.report_on("told").status("Action"), "failed");
    let sent = wait_for("the fax to be sent", || {
        sandbox.json_lines(&["fax", "list", "--to", "+99910200"]).pop().filter(|fax| fax["state"] == "sent")
    });
    let shown = sandbox.json_lines(&["fax", "show", sent["short"].as_str().unwrap()]).remove(0);
    assert_eq!(shown["notices"][0]["state"], "withheld", "{shown}");
    assert_eq!(sandbox.mails().len(), 1, "only the failure is told");
}
