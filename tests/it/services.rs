//! What mails ask of the gateway itself, end to end: previews and instructions come back as mail, orders are followed.

use crate::harness::{Report, Sandbox, Smtp, mail, received, tray_files, wait_for};

const TEXT: &str = "First page\u{c}Second page";

impl Sandbox {
    fn answered(&self, message_id: &str, to: &str, subject: &str) -> (String, Report) {
        let letter = mail(message_id, to, "", &[("pages.txt", "text/plain", TEXT.as_bytes())]);
        let letter = String::from_utf8(letter).unwrap().replace("[fax: no cover]", subject);
        let reply = Smtp::connect(self.smtp).send("anna@example.com", &[to], letter.as_bytes());
        assert!(reply.starts_with("250 2.0.0"), "{reply}");
        (reply, self.report_on(message_id))
    }

    fn order_by_mail(&self, address: &str) -> String {
        let mail = b"From: anna@example.com\r\nMessage-ID: <order@client.test>\r\n\r\n";
        Smtp::connect(self.smtp).send("anna@example.com", &[address], mail)
    }
}

/// The address that a report has for an order.
fn address_in(report: &Report, verb: &str) -> String {
    let text = report.text();
    let word = text.split_whitespace().find(|word| word.starts_with(&format!("{verb}+")));
    word.unwrap_or_else(|| panic!("no {verb} in {text}")).to_owned()
}

#[test]
fn a_preview_shows_the_pages_that_the_same_mail_then_sends_and_dials_nothing() {
    let sandbox = Sandbox::start();
    let to = "preview@fax.local";
    let (reply, preview) = sandbox.answered("look", to, "[fax: no cover, to +99910200]");
    assert!(reply.contains("nothing is dialled"), "{reply}");
    assert!(preview.header("Subject").starts_with("Preview: 2 pages to +999 1 0200"), "{}", preview.header("Subject"));
    assert_eq!(preview.header("Auto-Submitted"), "auto-replied");
    let pdf = preview.part("application/pdf").unwrap();
    assert!(pdf.starts_with(b"%PDF-") && preview.part("image/png").is_some());
    assert!(sandbox.json_lines(&["fax", "list"]).is_empty() && tray_files(&sandbox.tray, "+99910200").is_empty());

    let (_, refused) = sandbox.answered("broken", "+99910200@preview.fax.local", "[fax: no cover]");
    assert!(refused.text().contains("This is what the fax"), "{}", refused.text());
    let locked = mail("locked", to, "", &[("broken.pdf", "application/pdf", b"%PDF-1.4 no more than this")]);
    let locked = String::from_utf8(locked).unwrap().replace("[fax: no cover]", "[fax: to +99910200]");
    let reply = Smtp::connect(sandbox.smtp).send("anna@example.com", &[to], locked.as_bytes());
    assert!(reply.starts_with("250"), "{reply}");
    let report = sandbox.report_on("locked");
    assert!(
        report.text().contains("would not become a fax") && report.text().contains("broken.pdf"),
        "{}",
        report.text()
    );
    assert!(tray_files(&sandbox.tray, "+99910200").is_empty());
}

#[test]
fn help_comes_back_once_and_says_how() {
    let sandbox = Sandbox::start();
    let (_, help) = sandbox.answered("help-1", "help@fax.local", "");
    assert!(help.text().contains("+41441234567@fax.local") && help.text().contains("only offer.pdf"));
    assert_eq!(sandbox.mails().len(), 1);
}

#[test]
fn a_report_has_the_address_that_sends_the_rest_again_and_another_that_stops_a_fax() {
    let sandbox = Sandbox::start_with(
        &["--no-first-mail"],
        &[
            ("FAXWELL_SIP__SANDBOX__PACE", "max"),
            ("FAXWELL_DIAL__RETRY__BUSY", "3x 2h"),
            ("FAXWELL_DIAL__RETRY__OTHER", "3x 2h"),
            ("FAXWELL_DIAL__RETRY__GIVE_UP", "24h"),
            ("FAXWELL_DELIVERY__NOTIFY__DELAYED", "1m"),
        ],
    );
    // A person answers: final at once.
    let (_, failed) = sandbox.answered("voice", "+99930001@fax.local", "[fax: no cover]");
    let retry = address_in(&failed, "retry");
    let reply = sandbox.order_by_mail(&retry);
    assert!(reply.starts_with("250 2.0.0") && reply.contains("sent once more"), "{reply}");
    wait_for("the second fax to fail too", || {
        let faxes = sandbox.json_lines(&["fax", "list", "--to", "+99930001"]);
        (faxes.len() == 2 && faxes.iter().all(|fax| fax["state"] == "failed")).then_some(())
    });

    let to = "+99910486@fax.local";
    let busy = mail("busy", to, "", &[("pages.txt", "text/plain", TEXT.as_bytes())]);
    assert!(Smtp::connect(sandbox.smtp).send("anna@example.com", &[to], &busy).starts_with("250"));
    let delayed = sandbox.report_on("busy");
    assert_eq!(delayed.status("Action"), "delayed");
    let reply = sandbox.order_by_mail(&address_in(&delayed, "cancel"));
    assert!(reply.starts_with("250 2.0.0") && reply.contains("is cancelled"), "{reply}");
    wait_for("the report that it is cancelled", || {
        sandbox.mails().into_iter().find(|mail| mail.header("X-Fax-Status") == "cancelled")
    });
    assert!(received(&sandbox.tray, "+99910486").is_empty());
}

#[test]
fn only_the_attachment_that_was_asked_for_is_sent() {
    let sandbox = Sandbox::start();
    let to = "+99910200@fax.local";
    let files: &[(&str, &str, &[u8])] =
        &[("logo.txt", "text/plain", b"not this"), ("Offer 1.txt", "text/plain", TEXT.as_bytes())];
    let letter = String::from_utf8(mail("only", to, "", files)).unwrap();
    let letter = letter.replace("[fax: no cover]", "[fax: no cover, only offer*.txt]");
    let reply = Smtp::connect(sandbox.smtp).send("anna@example.com", &[to], letter.as_bytes());
    assert!(reply.starts_with("250"), "{reply}");
    sandbox.report_on("only");
    assert_eq!(received(&sandbox.tray, "+99910200").len(), 2, "the two pages of one attachment");
}
