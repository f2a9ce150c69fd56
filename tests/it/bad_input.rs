//! Bad input gets a clear answer during SMTP or in a report, and costs nothing else: after each case a good mail goes
//! through the same sandbox.

use crate::harness::{Report, Sandbox, Smtp, mail};

/// A mail with one attachment, to a good number; answers the reply to its data.
fn send_attachment(sandbox: &Sandbox, id: &str, name: &str, media: &str, bytes: &[u8]) -> String {
    let to = "+99910200@fax.local";
    Smtp::connect(sandbox.smtp).send("anna@example.com", &[to], &mail(id, to, "", &[(name, media, bytes)]))
}

/// The report of a fax that was accepted and could not be rendered.
fn refused_later(sandbox: &Sandbox, id: &str, name: &str, media: &str, bytes: &[u8]) -> Report {
    let reply = send_attachment(sandbox, id, name, media, bytes);
    assert!(reply.starts_with("250"), "{name}: {reply}");
    let report = sandbox.report_on(id);
    assert_eq!(report.status("Action"), "failed", "{name}");
    assert!(report.text().contains(name), "{name} is named: {}", report.text());
    report
}

fn still_works(sandbox: &Sandbox, id: &str) {
    let reply = send_attachment(sandbox, id, "good.txt", "text/plain", b"still works");
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(sandbox.report_on(id).status("Action"), "delivered");
}

#[test]
fn addresses_that_cannot_be_dialled_are_refused_at_rcpt_with_cause_and_fix() {
    let sandbox = Sandbox::start_with(
        &["--no-first-mail"],
        &[("FAXWELL_SIP__SANDBOX__PACE", "max"), ("FAXWELL_DIAL__DENY", "+4144")],
    );
    let mut smtp = Smtp::connect(sandbox.smtp);
    smtp.say("EHLO client.test");
    smtp.say("MAIL FROM:<anna@example.com>");
    for (recipient, code, slug) in [
        ("+41 44 12@fax.local", "501", ""),
        ("\"+41 44 12\"@fax.local", "550 5.1.3", "(number-invalid)"),
        ("anna@fax.local", "550 5.1", "(number-invalid)"),
        ("FAX=9+12145551212@fax.local", "501 5.1.3", "(number-invalid)"),
        ("+99910200@elsewhere.test", "550 5.7.1", "(relay-denied)"),
        ("+41441234567@fax.local", "550 5.7.1", "(number-not-allowed)"),
        ("IMCEAFAX-+ZZ@fax.local", "501 5.1.3", "(number-invalid)"),
        ("VOICE=+3940226338@fax.local", "550 5.1.1", "(number-invalid)"),
        ("112@fax.local", "550", ")"),
    ] {
        let reply = smtp.say(&format!("RCPT TO:<{recipient}>"));
        assert!(reply.starts_with(code), "{recipient}: {reply}");
        assert!(reply.trim_end().ends_with(slug), "{recipient}: {reply}");
    }
    assert!(smtp.say("DATA").starts_with("554 5.5.1"), "no recipient, no data");
    assert!(smtp.say("RSET").starts_with("250"));
    still_works(&sandbox, "after-addresses");
}

#[test]
fn ten_thousand_recipients_get_what_the_limit_allows_and_a_reason_for_the_rest() {
    let sandbox = Sandbox::start();
    let mut smtp = Smtp::connect(sandbox.smtp);
    smtp.say("EHLO client.test");
    smtp.say("MAIL FROM:<anna@example.com>");
    let mut accepted = 0;
    for n in 0..10_000 {
        let reply = smtp.say(&format!("RCPT TO:<+9995550{n:04}@fax.local>"));
        if reply.starts_with("250") {
            accepted += 1;
        } else {
            assert!(reply.starts_with("452 4.5.3"), "{reply}");
        }
    }
    assert!((100..=1000).contains(&accepted), "RFC 5321 asks for 100 at the least: {accepted}");
    assert!(smtp.say("RSET").starts_with("250"));
    still_works(&sandbox, "after-recipients");
}

#[test]
fn a_mail_over_the_limit_is_refused_before_and_after_its_data() {
    let sandbox = Sandbox::start_with(
        &["--no-first-mail"],
        &[("FAXWELL_SIP__SANDBOX__PACE", "max"), ("FAXWELL_SMTP__MAX_SIZE", "1MB")],
    );
    let mut smtp = Smtp::connect(sandbox.smtp);
    assert!(smtp.say("EHLO client.test").contains("SIZE 1"), "the limit is announced");
    let reply = smtp.say("MAIL FROM:<anna@example.com> SIZE=99999999");
    assert!(reply.starts_with("552 5.3.4") && reply.contains("(too-large)"), "{reply}");
    let big = vec![b'x'; 3_000_000];
    let reply = send_attachment(&sandbox, "too-big", "big.txt", "text/plain", &big);
    assert!(reply.starts_with("552 5.3.4") && reply.contains("(too-large)"), "{reply}");
    still_works(&sandbox, "after-size");
}

#[test]
fn mime_nested_a_thousand_deep_is_refused() {
    let sandbox = Sandbox::start();
    let mut nested = String::from("From: a@example.com\r\nSubject: deep\r\nMIME-Version: 1.0\r\n");
    for level in 0..1000 {
        nested.push_str(&format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n"));
    }
    nested.push_str("Content-Type: text/plain\r\n\r\nbottom\r\n");
    let reply = Smtp::connect(sandbox.smtp).send("anna@example.com", &["+99910200@fax.local"], nested.as_bytes());
    assert!(reply.starts_with("554 5.6"), "{reply}");
    still_works(&sandbox, "after-nesting");
}

#[test]
fn documents_that_cannot_be_rendered_are_named_in_the_answer_and_cost_nothing_else() {
    let sandbox = Sandbox::start();
    let cut_pdf =
        b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n2 0 obj\n<< /Type /Pages /Kids [3 0 R]";
    let report = refused_later(&sandbox, "cut-pdf", "cut.pdf", "application/pdf", cut_pdf);
    assert!(report.text().contains("document-damaged") || report.text().contains("damaged"), "{}", report.text());

    // A TIFF header whose first directory lies nowhere: no page at all.
    let empty_tiff = b"II*\0\0\0\0\0";
    refused_later(&sandbox, "empty-tiff", "empty.tif", "image/tiff", empty_tiff);

    // One page of 14,400 × 14,400 inches and more is clamped before anything is drawn.
    let giant = giant_pdf();
    let reply = send_attachment(&sandbox, "giant", "giant.pdf", "application/pdf", &giant);
    assert!(reply.starts_with("250"), "{reply}");
    sandbox.report_on("giant");

    refused_later(&sandbox, "png-bomb", "bomb.png", "image/png", &png_bomb());

    let reply = send_attachment(&sandbox, "unknown", "setup.exe", "application/x-msdownload", b"MZ\x90\0");
    assert!(reply.starts_with("554 5.6.1") && reply.contains("setup.exe"), "{reply}");
    still_works(&sandbox, "after-documents");
}

#[test]
fn control_characters_reach_neither_page_nor_mail_nor_log() {
    let sandbox = Sandbox::start();
    let to = "+99910200@fax.local";
    let hostile = "From: =?utf-8?q?Ev=0D=0ABcc=3A_x=40y=1B=5B2J?= <anna@example.com>\r\nTo: =?utf-8?q?To=0D=0AX=3A_y=00?= <+99910200@fax.local>\r\n\
         Subject: =?utf-8?q?Hello=0D=0AX-Injected=3A_yes=1B=5B31m=E2=80=AEgnp?=\r\nMessage-ID: <hostile@client.test>\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\nText with \x1b[31m and \x07 bell\r\n";
    let mut smtp = Smtp::connect(sandbox.smtp);
    smtp.say("EHLO \x1b[2Jclient");
    smtp.say("RSET");
    let reply = Smtp::connect(sandbox.smtp).send("anna@example.com", &[to], hostile.as_bytes());
    assert!(reply.starts_with("250"), "{reply}");
    let report = sandbox.report_on("hostile");
    assert_eq!(report.header("X-Injected"), "");
    assert_eq!(report.header("Bcc"), "");
    for forbidden in ['\u{1b}', '\u{7}', '\u{202e}', '\0'] {
        assert!(!report.text().contains(forbidden), "{forbidden:?} in {}", report.text());
        assert!(!report.header("Subject").contains(forbidden));
        assert!(!sandbox.log().contains(forbidden), "{forbidden:?} in the log");
    }
}

/// A PDF whose page is a hundred kilometres wide.
fn giant_pdf() -> Vec<u8> {
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300000000 300000000] /Contents 4 0 R >>",
        "<< /Length 28 >>\nstream\n0 0 150000000 150000000 re f\nendstream",
    ];
    let mut pdf = String::from("%PDF-1.4\n");
    let mut offsets = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        offsets.push(pdf.len());
        pdf.push_str(&format!("{} 0 obj\n{object}\nendobj\n", index + 1));
    }
    let xref = pdf.len();
    pdf.push_str(&format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1));
    for offset in offsets {
        pdf.push_str(&format!("{offset:010} 00000 n \n"));
    }
    pdf.push_str(&format!("trailer << /Size {} /Root 1 0 R >>\nstartxref\n{xref}\n%%EOF\n", objects.len() + 1));
    pdf.into_bytes()
}

/// A PNG header that promises 60,000 × 60,000 pixels, with a correct checksum and a few bytes of data.
fn png_bomb() -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], data: &[u8]| {
        png.extend((data.len() as u32).to_be_bytes());
        let body: Vec<u8> = kind.iter().chain(data).copied().collect();
        png.extend(&body);
        png.extend(crc32(&body).to_be_bytes());
    };
    let mut header = Vec::new();
    header.extend(60_000_u32.to_be_bytes());
    header.extend(60_000_u32.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    chunk(b"IHDR", &header);
    chunk(b"IDAT", &[0x78, 0x9c, 0x03, 0, 0, 0, 0, 1]);
    chunk(b"IEND", &[]);
    png
}

/// PNG's checksum (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 })
    })
}
