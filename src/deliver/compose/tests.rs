//! Reports of every kind, read back by other readers than the one that made them.

use mailparse::{MailHeaderMap, ParsedMail};

use super::super::testing::*;
use super::*;
use crate::domain::Cause;
use crate::mail::build::Letter;
use crate::mail::mime::{self, Body};
use crate::store::{FaxRecord, Ret};

fn material() -> Material {
    Material {
        pdf: Some(PDF.into()),
        thumbnail: Some(PNG.into()),
        original: Some(ORIGINAL.into()),
        ..Material::default()
    }
}

fn compose(work: &NoticeWork) -> Vec<u8> {
    composer().compose(work, &material()).unwrap().mail.octets
}

fn structure(part: &ParsedMail<'_>) -> String {
    let kind = part.ctype.mimetype.rsplit('/').next().unwrap_or_default();
    match part.subparts.as_slice() {
        [] => kind.to_owned(),
        parts => format!("{kind}({})", parts.iter().map(structure).collect::<Vec<_>>().join(" ")),
    }
}

fn leaf(octets: &[u8], media: &str) -> String {
    let parsed = mailparse::parse_mail(octets).unwrap();
    let found = parsed.parts().find(|p| p.ctype.mimetype == media).map(|p| p.get_body().unwrap());
    found.unwrap_or_else(|| panic!("no {media}")).replace("\r\n", "\n")
}

fn status_fields(octets: &[u8]) -> Vec<(String, String)> {
    let text = leaf(octets, "message/delivery-status");
    text.lines().filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

fn status_field(octets: &[u8], name: &str) -> Option<String> {
    status_fields(octets).into_iter().find(|(n, _)| n == name).map(|(_, v)| v)
}

/// What every mail must be that a relay takes unchanged.
fn check_wire_form(octets: &[u8]) {
    assert!(octets.is_ascii(), "7-bit");
    assert!(octets.ends_with(b"\r\n"));
    let text = std::str::from_utf8(octets).unwrap();
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "no bare LF");
    assert_eq!(text.matches('\r').count(), text.matches("\r\n").count(), "no bare CR");
    assert!(text.lines().all(|l| l.len() <= 998), "short lines");
    assert!(!octets.contains(&0));
}

#[test]
fn a_failure_report_has_exactly_the_fields_of_the_sample() {
    let octets = compose(&busy());
    let id = record(&busy()).fax.id.short().to_string();
    let expected = [
        ("Reporting-MTA", "dns; gw1.fax.test"),
        ("Original-Envelope-Id", "QQ314159"),
        ("Arrival-Date", "Sun, 22 Nov 2026 10:00:00 +0000"),
        ("Original-Recipient", "rfc822;FAX=+12145551212/T33S=1387@fax.test"),
        ("Final-Recipient", "rfc822;FAX=+12145551212/T33S=1387@fax.test"),
        ("Action", "failed"),
        ("Status", "4.4.1"),
        ("Diagnostic-Code", "x-sip; 486 Busy Here"),
        ("Last-Attempt-Date", "Sun, 22 Nov 2026 10:31:04 +0000"),
        ("X-Faxwell-Job", &id),
        ("X-Faxwell-Number", "+12145551212"),
        ("X-Faxwell-Outcome", "failed"),
        ("X-Faxwell-Cause", "busy"),
        ("X-Faxwell-Attempts", "5"),
        ("X-Faxwell-Pages-Sent", "0"),
        ("X-Faxwell-Pages-Total", "3"),
        ("X-Faxwell-Sip-Code", "486"),
    ];
    let got = status_fields(&octets);
    let got: Vec<(&str, &str)> = got.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(got, expected);
    let text = leaf(&octets, "message/delivery-status");
    assert!(text.contains("+0000\n\nOriginal-Recipient"), "an empty line parts message and recipient: {text}");
}

#[test]
fn each_kind_says_its_outcome_to_people_and_machines() {
    for (work, subject, action, status, text) in [
        (
            sent(),
            "✔ Fax sent to +1 214-555-1212 (4 pages): Offer 4711",
            "delivered",
            "2.1.5",
            "was received completely",
        ),
        (busy(), "✖ Fax NOT sent to +1 214-555-1212: line busy", "failed", "4.4.1", "was not sent"),
        (
            partial(),
            "✖ Fax to +1 214-555-1212 sent only in part (2 of 5 pages): connection lost",
            "failed",
            "4.4.2",
            "Pages 1 to 2 of 5 arrived; pages 3 to 5 did not",
        ),
        (unknown(), "? Fax to +1 214-555-1212 probably sent: please check", "failed", "4.4.2", "We did NOT send again"),
        (cancelled(), "✖ Fax to +1 214-555-1212 cancelled: Offer 4711", "failed", "5.0.0", "was cancelled"),
    ] {
        let kind = work.notice.kind;
        let octets = compose(&work);
        check_wire_form(&octets);
        let parsed = mailparse::parse_mail(&octets).unwrap();
        assert_eq!(
            structure(&parsed),
            "report(mixed(alternative(plain related(html png)) pdf) delivery-status rfc822-headers)",
            "{kind}"
        );
        assert_eq!(parsed.headers.get_first_value("Subject").unwrap(), subject);
        assert_eq!(parsed.ctype.params["report-type"], "delivery-status");
        assert_eq!(status_field(&octets, "Action").unwrap(), action, "{kind}");
        assert_eq!(status_field(&octets, "Status").unwrap(), status, "{kind}");
        assert_eq!(status_field(&octets, "Diagnostic-Code").is_some(), kind != NoticeKind::Sent, "{kind}");
        for media in ["text/plain", "text/html"] {
            let body = leaf(&octets, media);
            assert!(body.contains(text), "{kind} {media}: {body}");
            assert!(body.contains("What to do") && body.contains("What is next"), "{kind} {media}");
            assert!(
                body.contains("it@corp.test") && body.contains(record(&work).fax.id.short().as_str()),
                "{kind} {media}"
            );
            assert!(!body.contains("{{") && !body.contains("none none"), "{kind} {media}");
        }
        let mail = mime::read(&octets).unwrap();
        assert!(mail.automatic && matches!(mail.body, Some(Body::Plain(_))), "{kind}");
        assert_eq!(mail.attachments[0].bytes, PDF, "{kind}");
        assert_eq!(mail.left_out, ["page-1.png"], "the thumbnail belongs to the HTML");
    }
}

#[test]
fn every_cause_is_told_with_reason_fix_and_what_comes_next() {
    for cause in Cause::ALL {
        let mut work = busy();
        record_mut(&mut work).fax.cause = Some(*cause);
        let octets = compose(&work);
        for media in ["text/plain", "text/html"] {
            let body = leaf(&octets, media).replace("&#x27;", "'").replace("&quot;", "\"");
            assert!(body.contains(cause.entry().cause) && body.contains(cause.slug()), "{cause} {media}: {body}");
            assert!(
                !body.contains("calls again") && !body.contains("tries again"),
                "{cause} {media}: a final report: {body}"
            );
        }
        let status = status_field(&octets, "Status").unwrap();
        assert!(status.starts_with(['4', '5']), "{cause}: {status} is no failure");
    }
}

#[test]
fn headers_thread_the_report_and_keep_robots_quiet() {
    let octets = compose(&sent());
    let parsed = mailparse::parse_mail(&octets).unwrap();
    for (name, value) in [
        ("From", "\"Fax\" <fax@fax.test>"),
        ("To", "<jean@corp.test>"),
        ("Date", "Sun, 22 Nov 2026 10:32:00 +0000"),
        ("Message-ID", "<F-TEST.final@fax.test>"),
        ("In-Reply-To", "<abc@corp.test>"),
        ("References", "<abc@corp.test>"),
        ("Auto-Submitted", "auto-replied"),
        ("MIME-Version", "1.0"),
        ("X-Fax-Status", "sent"),
        ("X-Fax-To", "+12145551212"),
        ("X-Fax-Pages", "4/4"),
    ] {
        assert_eq!(parsed.headers.get_all_values(name), [value], "{name}");
    }
}

#[test]
fn the_tables_tell_each_call_and_each_page() {
    let octets = compose(&partial());
    let text = leaf(&octets, "text/plain");
    for line in [
        "1. 22 Nov 2026 10:05 UTC  trunk1, T.38, 14400 bit/s: 2 pages confirmed, then connection lost (the connection ended in page 3)",
        "2. 22 Nov 2026 10:15 UTC  trunk1: no answer (480 Temporarily Unavailable)",
        "Page  Time        Speed         ECM   Confirmed  Note",
        "1     10:05:15    14400 bit/s   yes   yes",
        "2     10:05:30    14400 bit/s   yes   yes        repaired (2 blocks sent again)",
        "3     -           -             -     no",
    ] {
        assert!(text.lines().any(|l| l == line), "{line:?} is missing in\n{text}");
    }
    let html = leaf(&octets, "text/html");
    assert!(html.contains("scope=\"col\"") && html.contains("scope=\"row\"") && html.contains("<html lang=\"en\">"));
    assert_eq!(html.matches("<tr><th scope=\"row\"").count(), 2 + 5 + 6, "calls, pages and facts");
    assert!(leaf(&compose(&unknown()), "text/plain").contains("4     -           -             -     not known"));
}

#[test]
fn html_loads_nothing_and_every_picture_has_a_text() {
    let work = sent();
    let octets = compose(&work);
    let html = leaf(&octets, "text/html");
    for remote in ["http:", "https:", "<script", "<link", "url(", "@import"] {
        assert!(!html.contains(remote), "{remote}");
    }
    assert_eq!(html.matches("<img").count(), html.matches("alt=\"Page 1 of your fax\"").count());
    let cid = Letter::picture_cid(work.notice.id);
    assert!(html.contains(&format!("src=\"cid:{cid}\"")));
    let parsed = mailparse::parse_mail(&octets).unwrap();
    let picture = parsed.parts().find(|p| p.ctype.mimetype == "image/png").unwrap();
    assert_eq!(picture.headers.get_first_value("Content-ID").unwrap(), format!("<{cid}>"));
    assert_eq!(picture.get_body_raw().unwrap(), PNG);
}

#[test]
fn the_same_notice_is_the_same_mail() {
    assert_eq!(compose(&busy()), compose(&busy()));
    let mut another = busy();
    another.notice.id = crate::domain::NoticeId::new();
    assert_ne!(compose(&another), compose(&busy()));
}

#[test]
fn a_report_without_images_has_the_facts_and_nothing_to_look_at() {
    let mut work = busy();
    record_mut(&mut work).message.options.report = ReportStyle::Text;
    record_mut(&mut work).message.ret = Some(Ret::Full);
    let mut by_configuration = settings();
    by_configuration.failure = ReportStyle::Text;
    let configured = Composer::new(by_configuration).unwrap().compose(&busy(), &material()).unwrap().mail.octets;
    for octets in [compose(&work), configured] {
        assert_eq!(
            structure(&mailparse::parse_mail(&octets).unwrap()),
            "report(alternative(plain html) delivery-status rfc822-headers)"
        );
        assert!(leaf(&octets, "text/plain").contains("reports without pages were asked for"));
        assert!(!leaf(&octets, "text/html").contains("<img"));
    }
}

#[test]
fn a_station_id_that_is_the_callers_number_is_not_said_twice() {
    for (id, from) in [
        ("+41 31 333 22 11", "Fax +41 31 333 22 11"),
        ("+41-31-333.22.11", "Fax +41 31 333 22 11"),
        ("+41 31 333 22 12", "Fax +41 31 333 22 11 (+41 31 333 22 12)"),
    ] {
        let mut work = received(true, ReceivedFormat::Pdf);
        received_mut(&mut work).received.calling_number = Some("+41313332211".to_owned());
        received_mut(&mut work).received.remote_id = Some(id.to_owned());
        let octets = composer().compose(&work, &Material::default()).unwrap().mail.octets;
        assert!(String::from_utf8_lossy(&octets).contains(&format!("From: \"{from}\" <")), "{id}");
        assert_eq!(leaf(&octets, "text/plain").contains("called itself"), from.ends_with(')'), "{id}");
    }
}

#[test]
fn a_report_says_why_it_carries_no_pages() {
    for (withheld, text) in [(Withheld::Size, "too large for mail"), (Withheld::Unavailable, "could not be read")] {
        let bare = Material { withheld: Some(withheld), original: Some(ORIGINAL.into()), ..Material::default() };
        let octets = composer().compose(&busy(), &bare).unwrap().mail.octets;
        assert!(leaf(&octets, "text/plain").contains(text));
    }
    let mut unrendered = work(NoticeKind::Failed, None);
    record_mut(&mut unrendered).fax.cause = Some(Cause::DocumentEncrypted);
    record_mut(&mut unrendered).fax.detail = Some("offer.pdf is locked by a password".into());
    let octets = composer().compose(&unrendered, &Material::default()).unwrap().mail.octets;
    let text = leaf(&octets, "text/plain");
    assert!(
        text.contains("No call was made") && text.contains("no pages were made") && text.contains("offer.pdf"),
        "{text}"
    );
    assert_eq!(
        status_field(&octets, "Diagnostic-Code").unwrap(),
        "x-faxwell; document-encrypted offer.pdf is locked by a password"
    );
    assert_eq!(structure(&mailparse::parse_mail(&octets).unwrap()), "report(alternative(plain html) delivery-status)");
}

#[test]
fn ret_full_returns_the_whole_mail_for_failures_only_and_never_bcc() {
    for (mut work, full) in [(busy(), true), (sent(), false)] {
        record_mut(&mut work).message.ret = Some(Ret::Full);
        let octets = compose(&work);
        let media = if full { "message/rfc822" } else { "text/rfc822-headers" };
        let returned = leaf(&octets, media);
        assert!(returned.contains("Subject: Offer 4711") && returned.contains("Received:"));
        assert_eq!(returned.contains("The offer."), full);
        assert!(!returned.contains("+41440000009") && !returned.contains("other@x.test"), "{returned}");
    }
}

#[test]
fn the_last_real_reason_is_given_when_the_time_is_over() {
    let mut work = busy();
    record_mut(&mut work).fax.cause = Some(Cause::Expired);
    assert_eq!(status_field(&compose(&work), "Status").unwrap(), "4.4.1");
    record_mut(&mut work).attempts.clear();
    assert_eq!(status_field(&compose(&work), "Status").unwrap(), "4.4.7");
}

#[test]
fn nothing_that_a_peer_says_becomes_a_header_or_markup() {
    const EVIL: &str = "x\r\nBcc: evil@x.test\r\n\r\n<script>alert(1)</script>\u{0}\u{7f}\u{202e}\u{85}y";
    let mut work = partial();
    let record = record_mut(&mut work);
    record.message.subject = EVIL.into();
    record.message.envid = Some(EVIL.into());
    record.message.header_message_id = Some("abc@corp.test>\r\nBcc: evil@x.test".into());
    record.message.options.reference = Some(EVIL.into());
    record.fax.to_name = Some(EVIL.into());
    record.fax.to_company = Some(EVIL.into());
    record.fax.recipient = format!("+1214{EVIL}@fax.test");
    record.fax.original_recipient = Some(format!("rfc822;{EVIL}"));
    record.fax.detail = Some(EVIL.into());
    record.fax.subaddress = Some(EVIL.into());
    for attempt in &mut record.attempts {
        attempt.line = EVIL.into();
        attempt.end.detail = EVIL.into();
        attempt.end.remote_id = Some(EVIL.into());
    }
    for kind in [NoticeKind::Sent, NoticeKind::Partial, NoticeKind::Failed, NoticeKind::Unknown, NoticeKind::Cancelled]
    {
        work.notice.kind = kind;
        let octets = compose(&work);
        check_wire_form(&octets);
        let parsed = mailparse::parse_mail(&octets).unwrap();
        assert!(parsed.headers.get_first_header("Bcc").is_none());
        assert!(parsed.headers.get_first_header("In-Reply-To").is_none(), "an unusable id is not repeated");
        let expected = "report(mixed(alternative(plain related(html png)) pdf) delivery-status rfc822-headers)";
        assert_eq!(structure(&parsed), expected);
        let names: Vec<String> = status_fields(&octets).into_iter().map(|(n, _)| n).collect();
        assert!(!names.iter().any(|n| n == "Bcc"), "{names:?}");
        assert!(!leaf(&octets, "text/html").contains("<script>"));
        for media in ["text/plain", "text/html"] {
            let body = leaf(&octets, media);
            assert!(!body.lines().any(|l| l.starts_with("Bcc:")), "{body}");
            assert!(!body.contains(['\0', '\u{7f}', '\u{202e}', '\r']), "{body:?}");
        }
    }
}

#[test]
fn long_and_foreign_values_keep_the_lines_short() {
    let mut work = busy();
    record_mut(&mut work).fax.recipient = format!("IMCEAFAX-{}@fax.test", "Müller+20".repeat(200));
    record_mut(&mut work).message.subject = "Ä€漢".repeat(400);
    let octets = compose(&work);
    check_wire_form(&octets);
    let text = leaf(&octets, "message/delivery-status");
    assert!(text.contains("Final-Recipient: utf-8;\n IMCEAFAX-M\\x{FC}ller\\x{2B}20"), "{text}");
    let long_ascii = format!("{}@fax.test", "a".repeat(980));
    record_mut(&mut work).fax.recipient = long_ascii.clone();
    let octets = compose(&work);
    check_wire_form(&octets);
    assert!(leaf(&octets, "message/delivery-status").contains(&format!("Final-Recipient: rfc822;\n {long_ascii}\n")));
}

#[test]
fn a_report_to_an_internationalised_sender_is_one_of_rfc_6533() {
    let mut work = busy();
    let record = record_mut(&mut work);
    record.message.reverse_path = Some("jörg@bücher.test".into());
    record.message.ret = Some(Ret::Full);
    record.fax.recipient = "FAX=+12145551212/ATTN=Jörg@fax.test".into();
    record.fax.original_recipient = Some("utf-8;fax-für-jörg@bücher.test".into());
    work.notice.recipient = record_mut(&mut work).message.reverse_path.clone();
    let original = Some(String::from_utf8_lossy(ORIGINAL).replace("Offer 4711", "Grüße").into_bytes());
    let composed = composer().compose(&work, &Material { original, ..Material::default() }).unwrap();
    assert_eq!(composed.mail.seven_bit, None, "no other form of it can be mailed to this address");
    let octets = composed.mail.octets;
    let text = std::str::from_utf8(&octets).expect("UTF-8");
    assert!(text.contains("\r\nTo: <jörg@bücher.test>\r\n"), "RFC 6532: {text}");
    assert!(text.lines().all(|line| line.len() <= 998));
    let parsed = mailparse::parse_mail(&octets).unwrap();
    assert_eq!(structure(&parsed), "report(alternative(plain html) global-delivery-status global)");
    assert!(text.contains("\r\nOriginal-Recipient: utf-8;fax-für-jörg@bücher.test\r\n"), "{text}");
    assert!(text.contains("\r\nFinal-Recipient: utf-8;FAX=+12145551212/ATTN=Jörg@fax.test\r\n"), "D5: {text}");
    assert!(text.contains("\r\nSubject: Grüße\r\n"), "the mail that it was");
}

#[test]
fn d7_a_returned_mail_keeps_its_8_bit_lines_where_the_relay_takes_them() {
    let mut work = busy();
    record_mut(&mut work).message.ret = Some(Ret::Full);
    let original = Some([ORIGINAL, b"Gr\xfc\xdfe\r\n"].concat());
    let mail = composer().compose(&work, &Material { original, ..Material::default() }).unwrap().mail;
    assert!(mail.octets.windows(5).any(|w| w == b"Gr\xfc\xdfe"));
    let parsed = mailparse::parse_mail(&mail.octets).unwrap();
    assert_eq!(structure(&parsed), "report(alternative(plain html) delivery-status rfc822)");
    let seven_bit = mail.seven_bit.expect("another form");
    check_wire_form(&seven_bit);
    let parsed = mailparse::parse_mail(&seven_bit).unwrap();
    assert_eq!(structure(&parsed), "report(alternative(plain html) delivery-status rfc822-headers)");
}

#[test]
fn settings_and_notices_that_cannot_be_used_are_named() {
    let mut wrong = settings();
    wrong.from = "Fax <fax>".into();
    assert!(matches!(Composer::new(wrong), Err(ComposeError::From(_))));
    for recipient in [None, Some(""), Some("no address"), Some("a@b\r\nRCPT TO:<evil@x>"), Some("a@b>"), Some("a b@c")]
    {
        let mut work = busy();
        work.notice.recipient = recipient.map(str::to_owned);
        assert!(matches!(composer().compose(&work, &material()), Err(ComposeError::Recipient(_))), "{recipient:?}");
    }
    let mut work = busy();
    work.notice.header_message_id = "a@b>\r\nBcc: x".into();
    assert!(matches!(composer().compose(&work, &material()), Err(ComposeError::MessageId(_))));
    let unmade = composer().compose(&answer(NoticeKind::Preview), &Material::default());
    assert!(matches!(unmade, Err(ComposeError::Kind(NoticeKind::Preview))), "a preview without pages or a reason");
}

/// Every kind of mail, with a name.
fn samples() -> Vec<(&'static str, NoticeWork)> {
    let mut unrendered = work(NoticeKind::Failed, None);
    let fax = &mut record_mut(&mut unrendered).fax;
    (fax.cause, fax.detail) = (Some(Cause::DocumentEncrypted), Some("offer.pdf is locked by a password".into()));
    vec![
        ("sent", sent()),
        ("sent-repeated", repeated()),
        ("partial", partial()),
        ("failed", busy()),
        ("failed-unrendered", unrendered),
        ("unknown", unknown()),
        ("cancelled", cancelled()),
        ("delayed", delayed()),
        ("received", received(true, ReceivedFormat::Both)),
        ("received-incomplete", received(false, ReceivedFormat::Pdf)),
        ("received-text", received(true, ReceivedFormat::Text)),
        ("preview", answer(NoticeKind::Preview)),
        ("preview-refused", answer(NoticeKind::Preview)),
        ("help", answer(NoticeKind::Help)),
    ]
}

/// `tests/mail/NAME.txt` holds subject and text, `NAME.html` the HTML. With `FAXWELL_BLESS=1` they are written anew, and with
/// `FAXWELL_MAIL_SAMPLES=DIR` whole mails go there, for mail programs.
#[test]
fn every_kind_of_mail_reads_as_its_golden_file() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mail");
    let bless = std::env::var_os("FAXWELL_BLESS").is_some();
    let mut different = Vec::new();
    for (name, work) in samples() {
        let mut material = material();
        material.pdf = material.pdf.filter(|_| record_of(&work).is_none_or(|record| record.fax.document.is_some()));
        material.thumbnail = material.thumbnail.filter(|_| material.pdf.is_some());
        material.tiff = (work.notice.format == Some(ReceivedFormat::Both)).then(|| TIFF.to_vec());
        match name {
            "preview" => material.preview = Some(Ok(preview())),
            "preview-refused" => {
                let detail = "offer.pdf is locked by a password".into();
                let preview = Some(Err(NoPreview { cause: Cause::DocumentEncrypted, detail }));
                material = Material { preview, ..Material::default() };
            }
            "help" => material = Material::default(),
            _ => {}
        }
        let octets = composer().compose(&work, &material).unwrap().mail.octets;
        check_wire_form(&octets);
        let subject = mailparse::parse_mail(&octets).unwrap().headers.get_first_value("Subject").unwrap();
        let text = format!("Subject: {subject}\n\n{}", leaf(&octets, "text/plain"));
        for (ending, now) in [("txt", text), ("html", leaf(&octets, "text/html"))] {
            let path = folder.join(format!("{name}.{ending}"));
            if bless {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&path, &now).unwrap();
            } else if std::fs::read_to_string(&path).unwrap_or_default() != now {
                different.push(format!("{}:\n{now}", path.display()));
            }
        }
        if let Some(folder) = std::env::var_os("FAXWELL_MAIL_SAMPLES") {
            std::fs::write(std::path::Path::new(&folder).join(format!("{name}.eml")), &octets).unwrap();
        }
    }
    assert!(different.is_empty(), "look at it, then FAXWELL_BLESS=1:\n{}", different.join("\n"));
}

fn record_of(work: &NoticeWork) -> Option<&FaxRecord> {
    match &work.about {
        About::Fax(record) => Some(record),
        About::Received(_) | About::Message(_) => None,
    }
}

fn compose_received(work: &NoticeWork) -> Vec<u8> {
    composer().compose(work, &Material { tiff: Some(TIFF.into()), original: None, ..material() }).unwrap().mail.octets
}

#[test]
fn a_received_fax_is_a_plain_mail_with_the_fields_of_internet_fax() {
    let octets = compose_received(&received(true, ReceivedFormat::Both));
    check_wire_form(&octets);
    let parsed = mailparse::parse_mail(&octets).unwrap();
    assert_eq!(structure(&parsed), "mixed(alternative(plain related(html png)) pdf tiff)");
    for (name, value) in [
        ("From", "\"Fax +41 31 333 22 11 (MUELLER AG)\" <fax@fax.test>"),
        ("To", "<sales@corp.test>"),
        ("Subject", "Fax from +41 31 333 22 11 (MUELLER AG), 3 pages"),
        ("Date", "Sun, 22 Nov 2026 10:32:00 +0000"),
        ("Auto-Submitted", "auto-generated"),
        ("Message-Context", "fax-message"),
        ("Caller-ID", "41313332211"),
        ("X-Fax-From", "+41313332211"),
        ("X-Fax-Remote-Id", "MUELLER AG"),
        ("X-Fax-To", "+41440000001"),
        ("X-Fax-Pages", "3"),
        ("X-Fax-Status", "complete"),
    ] {
        assert_eq!(parsed.headers.get_all_values(name), [value], "{name}");
    }
    for absent in ["In-Reply-To", "References"] {
        assert!(parsed.headers.get_first_header(absent).is_none(), "{absent}");
    }
    let part = |media: &str| parsed.parts().find(|p| p.ctype.mimetype == media).unwrap();
    assert_eq!(part("application/pdf").get_body_raw().unwrap(), PDF);
    assert_eq!(part("image/tiff").get_body_raw().unwrap(), TIFF);
    assert_eq!(part("image/tiff").ctype.params["application"], "faxbw");
    let id = parsed.headers.get_first_value("X-Fax-Id").unwrap();
    let name = |media: &str| part(media).get_content_disposition().params["filename"].clone();
    assert_eq!((name("application/pdf"), name("image/tiff")), (format!("fax-{id}.pdf"), format!("fax-{id}.tif")));
}

#[test]
fn what_is_not_known_of_a_caller_is_not_made_up() {
    for (calling, remote_id, subject, from) in [
        (None, None, "Fax from an unknown number, 3 pages", "\"Fax\" <fax@fax.test>"),
        (None, Some("ACME"), "Fax from ACME, 3 pages", "\"Fax ACME\" <fax@fax.test>"),
        (Some("anonymous"), None, "Fax from anonymous, 3 pages", "\"Fax anonymous\" <fax@fax.test>"),
        (Some("+41313332211"), None, "Fax from +41 31 333 22 11, 3 pages", "\"Fax +41 31 333 22 11\" <fax@fax.test>"),
    ] {
        let mut work = received(true, ReceivedFormat::Pdf);
        let fax = &mut received_mut(&mut work).received;
        (fax.calling_number, fax.remote_id) = (calling.map(str::to_owned), remote_id.map(str::to_owned));
        let octets = compose_received(&work);
        let headers = mailparse::parse_mail(&octets).unwrap().headers;
        let parsed = mailparse::parse_headers(&octets).unwrap().0;
        assert_eq!(parsed.get_first_value("Subject").unwrap(), subject);
        assert_eq!(parsed.get_first_value("From").unwrap(), from);
        let digits = calling.is_some_and(|calling| calling.starts_with('+'));
        assert_eq!(headers.get_first_value("Caller-ID").is_some(), digits, "digits or nothing");
    }
}

#[test]
fn an_incomplete_fax_says_so_everywhere() {
    let octets = compose_received(&received(false, ReceivedFormat::Pdf));
    let parsed = mailparse::parse_mail(&octets).unwrap();
    assert!(parsed.headers.get_first_value("Subject").unwrap().ends_with(", 3 pages, incomplete"));
    assert_eq!(parsed.headers.get_first_value("X-Fax-Status").unwrap(), "incomplete");
    for media in ["text/plain", "text/html"] {
        let body = leaf(&octets, media);
        for text in ["NOT complete", "pages 1 to 3 arrived", "the far end hung up in page 4", "connection lost"] {
            assert!(body.contains(text), "{media} lacks {text}: {body}");
        }
    }
}

#[test]
fn a_received_fax_without_images_has_facts_and_the_way_to_its_pages() {
    let octets = compose_received(&received(true, ReceivedFormat::Text));
    assert_eq!(structure(&mailparse::parse_mail(&octets).unwrap()), "alternative(plain html)");
    assert!(leaf(&octets, "text/plain").contains("faxwell inbound pages R-"));
    let large = Material { withheld: Some(Withheld::Size), ..Material::default() };
    let octets = composer().compose(&received(true, ReceivedFormat::Pdf), &large).unwrap().mail.octets;
    let subject = mailparse::parse_mail(&octets).unwrap().headers.get_first_value("Subject").unwrap();
    assert!(subject.ends_with(", too large to attach"), "{subject}");
    assert!(leaf(&octets, "text/plain").contains("too large for mail; to fetch them"));
}

#[test]
fn nothing_that_a_caller_says_becomes_a_header_or_markup() {
    const EVIL: &str = "x\r\nBcc: evil@x.test\r\n\r\n<script>alert(1)</script>\u{0}\u{202e}y";
    let mut work = received(false, ReceivedFormat::Both);
    let fax = &mut received_mut(&mut work).received;
    fax.called_number = EVIL.into();
    for field in [&mut fax.calling_number, &mut fax.remote_id, &mut fax.subaddress, &mut fax.route, &mut fax.detail] {
        *field = Some(EVIL.into());
    }
    fax.line = EVIL.into();
    let octets = compose_received(&work);
    check_wire_form(&octets);
    let parsed = mailparse::parse_mail(&octets).unwrap();
    assert!(parsed.headers.get_first_header("Bcc").is_none());
    assert_eq!(parsed.headers.get_first_value("Caller-ID").unwrap(), "1", "digits alone");
    assert!(!leaf(&octets, "text/html").contains("<script>"));
    for media in ["text/plain", "text/html"] {
        let body = leaf(&octets, media);
        assert!(!body.lines().any(|l| l.starts_with("Bcc:")) && !body.contains(['\0', '\u{202e}', '\r']), "{body:?}");
    }
}

#[test]
fn a_delayed_report_says_what_was_tried_and_until_when() {
    let octets = compose(&delayed());
    let parsed = mailparse::parse_mail(&octets).unwrap();
    assert_eq!(structure(&parsed), "report(alternative(plain html) delivery-status rfc822-headers)");
    for (name, value) in [
        ("Action", "delayed"),
        ("Status", "4.4.1"),
        ("Diagnostic-Code", "x-sip; 486 Busy Here"),
        ("Will-Retry-Until", "Mon, 23 Nov 2026 10:00:00 +0000"),
    ] {
        assert_eq!(status_field(&octets, name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(status_field(&compose(&busy()), "Will-Retry-Until"), None, "RFC 3464 §2.3.9: in delayed reports only");
    let mut waiting = delayed();
    let record = record_mut(&mut waiting);
    record.attempts.clear();
    (record.fax.attempts, record.fax.cause, record.fax.detail) = (0, None, None);
    record.fax.not_before = ACCEPTED;
    let octets = compose(&waiting);
    assert_eq!(status_field(&octets, "Status").unwrap(), "4.4.7", "no call was made");
    let text = leaf(&octets, "text/plain");
    assert!(text.contains("No line was free") && text.contains("as soon as a line is free"), "{text}");
}
