//! Mails as they occur, and as they should not.

mod corpus;
mod properties;

use super::*;

fn mail(text: &str) -> Mail {
    read(text.replace('\n', "\r\n").as_bytes()).unwrap()
}

fn error(raw: &[u8]) -> MimeError {
    read(raw).unwrap_err()
}

fn plain(mail: &Mail) -> &str {
    match &mail.body {
        Some(Body::Plain(text)) => text,
        other => panic!("expected plain text, got {other:?}"),
    }
}

fn names(mail: &Mail) -> Vec<(&str, &str)> {
    mail.attachments.iter().map(|a| (a.name.as_str(), a.media.as_str())).collect()
}

/// A multipart mail with boundary B; each part is header, empty line, content.
fn multipart(kind: &str, parts: &[&str]) -> String {
    let mut text = format!("Subject: x\nMIME-Version: 1.0\nContent-Type: multipart/{kind}; boundary=B\n\npreamble\n");
    for part in parts {
        text.push_str(&format!("--B\n{part}\n"));
    }
    text + "--B--\nepilogue\n"
}

fn nested(kind: &str, boundary: &str, parts: &[&str]) -> String {
    multipart(kind, parts)
        .replace("Subject: x\nMIME-Version: 1.0\n", "")
        .replace("boundary=B", &format!("boundary={boundary}"))
        .replace("--B\n", &format!("--{boundary}\n"))
        .replace("--B--\n", &format!("--{boundary}--\n"))
}

const PDF: &str = "Content-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64\n\nJVBERi0=";
const LOGO: &str =
    "Content-Type: image/png; name=logo.png\nContent-ID: <logo@x>\nContent-Transfer-Encoding: base64\n\niVBORw==";
const PLAIN: &str = "Content-Type: text/plain\n\nthe plain form";
const HTML: &str = "Content-Type: text/html\n\n<p>the html form</p><img src=\"cid:logo@x\">";

#[test]
fn a_line_that_only_looks_like_a_boundary_stays_text() {
    for line in ["say --B in a line", "--Bxyz", "--B--xyz", " --B", "-- B", "--b", "x--B"] {
        let text = multipart("mixed", &[&format!("Content-Type: text/plain\n\nbefore\n{line}\nafter"), PDF]);
        let mail = mail(&text);
        assert_eq!(plain(&mail), format!("before\n{line}\nafter"), "{line}");
        assert_eq!(names(&mail), [("a.pdf", "application/pdf")], "{line}");
    }
}

#[test]
fn white_space_after_a_boundary_does_not_hide_it() {
    let mail = mail(&multipart("mixed", &[PLAIN, PDF]).replace("--B\n", "--B \t\n").replace("--B--\n", "--B--  \n"));
    assert_eq!((plain(&mail), mail.attachments.len()), ("the plain form", 1));
}

#[test]
fn an_inner_boundary_may_begin_with_the_outer_one() {
    let inner = nested("alternative", "B1", &[PLAIN, HTML]);
    let mail = mail(&multipart("mixed", &[&inner, PDF]));
    assert_eq!((plain(&mail), names(&mail)), ("the plain form", vec![("a.pdf", "application/pdf")]));
}

#[test]
fn transfer_encodings_are_undone_or_refused_with_the_name_of_the_part() {
    let part = |encoding: &str, content: &str| {
        let part = format!(
            "Content-Type: text/plain; name=t.txt\nContent-Disposition: attachment\nContent-Transfer-Encoding: {encoding}\n\n{content}"
        );
        read(multipart("mixed", &[&part]).replace('\n', "\r\n").as_bytes())
    };
    for (encoding, content, expected) in [
        ("base64", "YWJjZA==", "abcd"),
        ("base64", "YWJjZA", "abcd"),
        ("BASE64", "YWJj\nZGVm\n", "abcdef"),
        ("base64", "YWI=Y2Q=", "abcd"),
        ("base64", "", ""),
        ("quoted-printable", "a=3Db=\n c", "a=b c"),
        ("quoted-printable", "a==b =ZZ =4 =", "a==b =ZZ =4 "),
        ("quoted-printable", "f=c3=bcr  \t\nx", "für\r\nx"),
        ("x-uuencode", "begin 644 cat.txt\n#0V%T\n`\nend\n", "Cat"),
        ("x-uue", "text\nbegin 644 a b\n&0V%T0V%T\n!80\n \nend", "CatCata"),
        ("8bit", "für", "für"),
        ("7bit (comment)", "x", "x"),
        ("", "x", "x"),
    ] {
        let mail = part(encoding, content).unwrap();
        assert_eq!(String::from_utf8_lossy(&mail.attachments[0].bytes), expected, "{encoding}: {content}");
    }
    for (encoding, content, cause) in [
        ("base64", "YWJj*ZGVm", Cause::DocumentDamaged),
        ("base64", "YWJjZ", Cause::DocumentDamaged),
        ("base64", "YWJj\n-- \nunsubscribe here", Cause::DocumentDamaged),
        ("x-uuencode", "begin 644 x\n#0V%T", Cause::DocumentDamaged),
        ("x-uuencode", "#0V%T\nend", Cause::DocumentDamaged),
        ("x-uuencode", "begin 644 x\n#0~%T\nend", Cause::DocumentDamaged),
        ("x-binhex", "(This file", Cause::DocumentUnsupported),
    ] {
        let error = part(encoding, content).unwrap_err();
        assert_eq!(error.cause, cause, "{encoding}: {content}");
        assert!(error.detail.contains("part 1 \"t.txt\""), "{}", error.detail);
    }
}

#[test]
fn file_names_read_as_their_sender_sees_them() {
    for (fields, expected) in [
        ("Content-Type: application/pdf;\n name=\n \"x.pdf\"", "x.pdf"),
        ("Content-Disposition: attachment; filename*=utf-8''O'Brien.pdf", "O'Brien.pdf"),
        ("Content-Disposition: attachment; filename*=UTF-8''na%C3%AFve%20f.pdf", "naïve f.pdf"),
        ("Content-Disposition: attachment; filename*0*=utf-8''%E2%82;\n filename*1*=%AC; filename*2=\".pdf\"", "€.pdf"),
        ("Content-Disposition: attachment; filename=\"=?utf-8?Q?Angebot_f=C3=BCr.pdf?=\"", "Angebot für.pdf"),
        ("Content-Disposition: attachment; filename=\"=?utf-8?B?8J+T?=\n =?utf-8?B?oC5wZGY=?=\"", "📠.pdf"),
        ("Content-Disposition: attachment; filename=\"=?utf-8?Q?a=22;b.pdf?=\"", "a\";b.pdf"),
        ("Content-Disposition: attachment; filename=\"a;b.pdf\"", "a;b.pdf"),
        ("Content-Disposition: attachment; filename=\"a\\\"b.pdf\"", "a\"b.pdf"),
        ("Content-Disposition: attachment; filename=\"für.pdf\"", "für.pdf"),
        ("Content-Disposition: attachment; filename=\"a\x0b\u{202e}fdp.exe\"", "a  fdp.exe"),
        ("Content-Disposition: attachment", "attachment 1"),
        ("Content-Disposition: attachment; filename=\"\"", "attachment 1"),
    ] {
        let mail = mail(&multipart("mixed", &[&format!("{fields}\n\n%PDF")]));
        assert_eq!(mail.attachments[0].name, expected, "{fields}");
    }
}

#[test]
fn a_raw_eight_bit_name_is_read_too() {
    let raw =
        multipart("mixed", &["Content-Disposition: attachment; filename=\"f?r.pdf\"\n\n%PDF"]).replace('?', "\u{fc}");
    let latin: Vec<u8> = raw.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    assert_eq!(read(&latin).unwrap().attachments[0].name, "für.pdf");
}

#[test]
fn subjects_are_decoded_and_made_harmless() {
    for (subject, expected) in [
        (&b"Offer 4711"[..], "Offer 4711"),
        (b"=?iso-8859-1?q?Gr=FC=DFe?=", "Grüße"),
        (b"=?utf-8?B?R3LDvMOfZQ==?= x", "Grüße x"),
        (b"=?utf-8?Q?a?= =?utf-8?Q?b?=", "ab"),
        (b"=?utf-8?B?4oI=?=\r\n =?utf-8?B?rA==?=", "€"),
        (b"=?iso-2022-jp?B?GyRCJDMkcyRLJEEkTxsoQg==?=", "こんにちは"),
        (b"=?utf-8*de?Q?Gr=C3=BC?=", "Grü"),
        (b"Gr\xfc\xdfe \x93x\x94", "Grüße “x”"),
        ("Grüße".as_bytes(), "Grüße"),
        (b"=?x-nonsense?Q?abc?=", "=?x-nonsense?Q?abc?="),
        (b"=?utf-8?B?*?= =? =?utf-8", "=?utf-8?B?*?= =? =?utf-8"),
        (b"a =?utf-8?Q?=0D=0ABcc:_x@y=00?=", "a   Bcc: x@y"),
        ("a\u{202e}b\u{2028}c\u{7f}d\u{85}e".as_bytes(), "a b c d e"),
        (b"folded\r\n\tover\r\n  lines", "folded\tover  lines"),
        (b"", ""),
    ] {
        let mut raw = b"Subject: ".to_vec();
        raw.extend_from_slice(subject);
        raw.extend_from_slice(b"\r\n\r\nx");
        let got = read(&raw).unwrap().subject;
        assert_eq!(got, expected.replace('\t', " "), "{}", String::from_utf8_lossy(subject));
    }
}

#[test]
fn mailboxes_keep_their_names_and_addresses() {
    let mail = mail(
        "From: =?utf-8?Q?M=C3=BCller=2C_Anna?= <anna@corp.test>\n\
         To: \"Meier, Acme AG\" <+41441234567@fax.test>, plain@fax.test\n\
         Cc: Team: a@x.test, B <b@x.test>;\nBcc: secret@x.test\nReply-To: <r@x.test>\n\
         Message-ID: <abc@corp.test>\nReceived: a\nReceived: b\nX-Fax-Quality: fine\nX-FAX-Cover: no\n\nhello\n",
    );
    let who =
        |name: Option<&str>, address: &str| Mailbox { name: name.map(str::to_owned), address: address.to_owned() };
    assert_eq!(mail.from, Some(who(Some("Müller, Anna"), "anna@corp.test")));
    assert_eq!(
        mail.to,
        [
            who(Some("Meier, Acme AG"), "+41441234567@fax.test"),
            who(None, "plain@fax.test"),
            who(None, "a@x.test"),
            who(Some("B"), "b@x.test")
        ]
    );
    assert_eq!(mail.reply_to, Some(who(None, "r@x.test")));
    assert_eq!(mail.message_id.as_deref(), Some("abc@corp.test"));
    assert_eq!(mail.received_count, 2);
    assert_eq!(mail.fax_fields, [("x-fax-quality".into(), "fine".into()), ("x-fax-cover".into(), "no".into())]);
}

#[test]
fn broken_address_lists_still_give_the_address() {
    for from in
        ["Anna, Meier <anna@corp.test>", "\"Anna <anna@corp.test>", "<anna@corp.test>", "Anna (x <anna@corp.test>"]
    {
        let mail = mail(&format!("From: {from}\n\nx"));
        assert!(mail.from.is_some_and(|m| m.address.contains("an") || m.address.contains("An")), "{from}");
    }
}

#[test]
fn s17_automatic_mail_is_recognised() {
    for (field, expected) in [
        ("Auto-Submitted: auto-replied", true),
        ("Auto-Submitted: auto-generated; x=y", true),
        ("Auto-Submitted: no", false),
        ("Auto-Submitted: NO (really)", false),
        ("Precedence: bulk", true),
        ("Precedence: first-class", false),
        ("List-Id: <l.x.test>", true),
        ("X-Auto-Response-Suppress: OOF, AutoReply", true),
        ("X-Auto-Response-Suppress: OOF", false),
        ("Content-Type: multipart/report; boundary=B", true),
        ("Subject: bulk", false),
    ] {
        assert_eq!(mail(&format!("{field}\n\n--B\n\nx\n--B--\n")).automatic, expected, "{field}");
    }
}

#[test]
fn s17_x9_each_machine_is_known_by_its_marks() {
    for (fields, expected) in [
        ("X-Fax-Id: F-1\nX-Fax-Status: sent", Some(Machine::Gateway)),
        ("Content-Type: multipart/report; boundary=B", Some(Machine::Report)),
        ("X-MS-Journal-Report: ", Some(Machine::Journal)),
        ("Auto-Submitted: auto-replied", Some(Machine::Answer)),
        ("X-Autoreply: yes", Some(Machine::Answer)),
        ("Precedence: auto_reply", Some(Machine::Answer)),
        ("Auto-Submitted: auto-generated", Some(Machine::Program)),
        ("Auto-Submitted: auto-notified; owner-email=x", Some(Machine::Program)),
        ("Precedence: bulk", Some(Machine::Bulk)),
        ("List-Id: <l.x.test>", Some(Machine::Bulk)),
        ("Auto-Submitted: no\nX-Fax-Quality: fine", None),
        ("X-Auto-Response-Suppress: All", None),
    ] {
        assert_eq!(mail(&format!("{fields}\n\n--B\n\nx\n--B--\n")).machine, expected, "{fields}");
    }
}

#[test]
fn x8_importance_is_read_in_every_form() {
    for (field, expected) in [
        ("Importance: High", 1),
        ("Importance: low", -1),
        ("Importance: normal", 0),
        ("X-Priority: 1 (Highest)", 1),
        ("X-Priority: 2", 1),
        ("X-Priority: 3", 0),
        ("X-Priority: 5", -1),
        ("X-MSMail-Priority: High", 1),
        ("Priority: urgent", 1),
        ("Priority: non-urgent", -1),
        ("Importance: low\nX-Priority: 1", -1),
        ("Subject: urgent", 0),
    ] {
        assert_eq!(mail(&format!("{field}\n\nx\n")).importance, expected, "{field}");
    }
}

#[test]
fn x7_a_signatures_banner_is_no_page_and_a_scan_in_the_text_is() {
    let png = |width: u32, height: u32, padding: usize| {
        let head = [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice(), &width.to_be_bytes(), &height.to_be_bytes()].concat();
        let octets = [head, b"\x08\x06\0\0\0".to_vec(), vec![9; padding]].concat();
        let lines = data_encoding::BASE64.encode(&octets);
        format!(
            "Content-Type: image/png; name=image001.png\nContent-ID: <logo@x>\nContent-Transfer-Encoding: base64\n\n{lines}"
        )
    };
    let outlook = nested("alternative", "C", &[PLAIN, HTML]);
    for (width, height, octets, is_page) in [
        (600, 160, 90_000, false),
        (1000, 300, 90_000, false),
        (1654, 2339, 90_000, true),
        (3000, 299, 90_000, true),
        (2000, 1500, 4000, false),
    ] {
        let mail = mail(&multipart("related", &[&outlook, &png(width, height, octets)]));
        assert_eq!(mail.attachments.len(), usize::from(is_page), "{width} x {height}, {octets} octets");
        assert_eq!(mail.left_out.len(), usize::from(!is_page));
    }
}

#[test]
fn texts_are_read_in_the_charsets_that_mail_uses() {
    let euro = "für 5 €";
    let encoded: [(&str, Vec<u8>, &str); 24] = [
        ("utf-8", euro.into(), euro),
        ("UTF8", euro.into(), euro),
        ("iso-8859-15", b"f\xfcr 5 \xa4".to_vec(), euro),
        ("iso_8859-15", b"f\xfcr 5 \xa4".to_vec(), euro),
        ("windows-1252", b"f\xfcr 5 \x80".to_vec(), euro),
        ("cp1252", b"f\xfcr 5 \x80".to_vec(), euro),
        ("us-ascii", b"f\xfcr 5 \x80".to_vec(), euro),
        ("us-ascii", euro.into(), euro),
        ("utf-8", b"f\xfcr 5 \x80".to_vec(), euro),
        ("iso-8859-2", b"\xe8\xf9".to_vec(), "čů"),
        ("koi8-r", b"\xf0\xd2\xc9\xd7\xc5\xd4".to_vec(), "Привет"),
        ("koi8-u", b"\xe7\xa6".to_vec(), "Гі"),
        ("windows-1251", b"\xcf\xf0".to_vec(), "Пр"),
        ("gb2312", b"\xc4\xe3\xba\xc3".to_vec(), "你好"),
        ("gb18030", b"\x81\x30\x81\x30".to_vec(), "\u{80}"),
        ("big5", b"\xa7A\xa6n".to_vec(), "你好"),
        ("euc-jp", b"\xa4\xb3".to_vec(), "こ"),
        ("iso-2022-jp", b"\x1b$B$3\x1b(B".to_vec(), "こ"),
        ("cp932", b"\x82\xb1".to_vec(), "こ"),
        ("euc-kr", b"\xb0\xa1".to_vec(), "가"),
        ("ks_c_5601-1987", b"\xb0\xa1".to_vec(), "가"),
        ("utf-7", b"A+ImIDkQ- 1 +- 2".to_vec(), "A≢Α 1 + 2"),
        ("utf-16", b"\xfe\xff\0A\0\xfc".to_vec(), "Aü"),
        ("utf-16le", b"A\0\xfc\0".to_vec(), "Aü"),
    ];
    for (charset, octets, expected) in encoded {
        let head =
            format!("Content-Type: text/plain; charset=\"{charset}\"\r\nContent-Transfer-Encoding: base64\r\n\r\n");
        let raw = head + &data_encoding::BASE64.encode(&octets);
        assert_eq!(plain(&read(raw.as_bytes()).unwrap()), expected, "{charset}");
    }
    assert_eq!(plain(&read(b"Subject: x\r\n\r\n\x1b$B$3\x1b(B").unwrap()), "こ");
}

#[test]
fn an_unknown_charset_is_refused_unless_it_does_not_matter() {
    assert_eq!(plain(&read(b"Content-Type: text/plain; charset=x-klingon\r\n\r\nplain").unwrap()), "plain");
    let error = error(b"Content-Type: text/plain; charset=x-klingon\r\n\r\nf\xfcr");
    assert_eq!(error.cause, Cause::DocumentUnsupported);
    assert!(error.detail.contains("x-klingon") && error.detail.contains("fix:"), "{}", error.detail);
}

#[test]
fn flowed_text_is_unwrapped() {
    for (params, text, expected) in [
        ("format=flowed", "a long \nline \nends\nnext", "a long line ends\nnext"),
        ("format=flowed; delsp=yes", "lon \ng\nnext", "long\nnext"),
        ("format=flowed", "> quoted \n> text\nmine", "> quoted text\nmine"),
        ("format=flowed", "> quoted \nmine", "> quoted \nmine"),
        (">> format", "x \ny", "x \ny"),
        ("format=flowed", " >stuffed\n From x", ">stuffed\nFrom x"),
        ("format=flowed", "text \n-- \nAnna", "text \n-- \nAnna"),
        ("format=flowed", ">> a \n>> b\n> c", ">> a b\n> c"),
        ("format=fixed", "a \nb", "a \nb"),
    ] {
        let mail = mail(&format!("Content-Type: text/plain; {params}\n\n{text}"));
        assert_eq!(plain(&mail), expected, "{params}: {text:?}");
    }
}

#[test]
fn an_alternative_is_rendered_once_plain_before_html() {
    for parts in [[PLAIN, HTML], [HTML, PLAIN]] {
        let mail = mail(&multipart("alternative", &parts));
        assert_eq!((plain(&mail), mail.attachments.len()), ("the plain form", 0));
    }
    for excuse in ["", " \n ", "This is an HTML message; your client does not support it.", "HTML only"] {
        let empty = format!("Content-Type: text/plain\n\n{excuse}");
        let mail = mail(&multipart("alternative", &[&empty, HTML]));
        assert!(matches!(&mail.body, Some(Body::Html(html)) if html.contains("the html form")), "{excuse:?}");
        assert!(mail.attachments.is_empty());
    }
}

#[test]
fn a_logo_of_the_unused_html_is_left_out_by_name_and_a_picture_of_the_used_one_is_kept() {
    let outlook = nested("alternative", "C", &[PLAIN, HTML]);
    let related_outside = mail(&multipart("related", &[&outlook, LOGO]));
    let related_inside = mail(&multipart("alternative", &[PLAIN, &nested("related", "C", &[HTML, LOGO])]));
    for mail in [related_outside, related_inside] {
        assert_eq!((plain(&mail), names(&mail)), ("the plain form", vec![]));
        assert_eq!(mail.left_out, ["logo.png"]);
    }
    let photo = format!("{LOGO}{}", "QUJD".repeat(6000));
    let kept = mail(&multipart("related", &[&outlook, &photo]));
    assert_eq!((names(&kept), kept.left_out.len()), (vec![("logo.png", "image/png")], 0), "too large for a logo");
    let html_only = mail(&multipart("related", &[HTML, LOGO]));
    assert!(matches!(html_only.body, Some(Body::Html(_))));
    assert_eq!((names(&html_only), html_only.inline.len()), (vec![], 1), "the HTML shows it in its place");
    assert_eq!((html_only.inline[0].id.as_str(), html_only.inline[0].name.as_str()), ("logo@x", "logo.png"));
    let not_shown = LOGO.replace("logo@x", "scan@x");
    let scan = mail(&multipart("related", &[&outlook, &not_shown]));
    assert_eq!((names(&scan), scan.left_out.len()), (vec![("logo.png", "image/png")], 0));
}

#[test]
fn files_between_the_pieces_of_an_unused_html_are_kept_once() {
    let apple = nested("mixed", "C", &[HTML, PDF, "Content-Type: text/html\n\n<p>more</p>"]);
    assert_eq!(names(&mail(&multipart("alternative", &[PLAIN, &apple]))), [("a.pdf", "application/pdf")]);
    let both = nested("mixed", "D", &[PLAIN, PDF]);
    assert_eq!(names(&mail(&multipart("alternative", &[&both, &apple]))), [("a.pdf", "application/pdf")]);
    let invitation = "Content-Type: text/calendar; method=REQUEST\n\nBEGIN:VCALENDAR";
    assert!(mail(&multipart("alternative", &[PLAIN, HTML, invitation])).attachments.is_empty());
}

#[test]
fn further_texts_and_everything_else_are_attachments_in_order() {
    let mail = mail(&multipart(
        "mixed",
        &[
            PLAIN,
            PDF,
            "Content-Type: text/plain\n\n  \n",
            "Content-Type: text/plain; charset=utf-8\n\nsecond text",
            "Content-Type: text/plain\nContent-Disposition: inline; filename=notes.txt\n\nnotes",
            "Content-Type: message/rfc822\n\nSubject: forwarded\n\ninner",
            "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogeA==",
            "Content-Type: text/calendar\n\nBEGIN:VCALENDAR",
            "Content-Type: pdf\n\nx",
            "Content-Type: application/pdf\nContent-Disposition: inline\n\n",
        ],
    ));
    assert_eq!(plain(&mail), "the plain form");
    assert_eq!(
        names(&mail),
        [
            ("a.pdf", "application/pdf"),
            ("attachment 2", "text/plain"),
            ("notes.txt", "text/plain"),
            ("attachment 4", "text/plain"),
            ("attachment 5", "text/plain"),
            ("attachment 6", "text/calendar"),
            ("attachment 7", "application/octet-stream"),
            ("attachment 8", "application/pdf"),
        ]
    );
    assert_eq!(mail.attachments[1].charset.as_deref(), Some("utf-8"));
    assert_eq!(mail.attachments[3].bytes, b"Subject: forwarded\n\ninner");
    assert_eq!(mail.attachments[4].bytes, b"Subject: x\n\n");
    assert!(mail.attachments[7].bytes.is_empty(), "an empty attachment is an attachment");
}

#[test]
fn signed_mail_is_read_and_encrypted_mail_is_refused() {
    let signature =
        "Content-Type: application/pkcs7-signature; name=smime.p7s\nContent-Transfer-Encoding: base64\n\nMIIx";
    let signed = mail(&multipart("signed", &[&nested("mixed", "C", &[PLAIN, PDF]), signature]));
    assert_eq!((plain(&signed), names(&signed)), ("the plain form", vec![("a.pdf", "application/pdf")]));
    let p7m = "Content-Type: application/pkcs7-mime; name=smime.p7m\n\nx";
    for text in [
        multipart(
            "encrypted",
            &["Content-Type: application/pgp-encrypted\n\nVersion: 1", "Content-Type: application/octet-stream\n\nx"],
        ),
        multipart("mixed", &[p7m]),
        multipart("alternative", &[PLAIN, p7m]),
        format!("Subject: x\n{p7m}"),
        "Subject: x\n\n-----BEGIN PGP MESSAGE-----\nabc".to_owned(),
        multipart("mixed", &["Content-Type: application/x-microsoft-rpmsg-message; name=message.rpmsg\n\nx"]),
    ] {
        assert_eq!(error(text.as_bytes()).cause, Cause::DocumentUnsupported, "{text}");
    }
}

#[test]
fn mails_that_break_the_rules_keep_their_text() {
    for (raw, subject, body) in [
        (&b"Subject: lf only\n\nline 1\nline 2\n"[..], "lf only", Some("line 1\nline 2\n")),
        (
            b"Subject: x\r\nno empty line before this\r\nand this\r\n",
            "x",
            Some("no empty line before this\nand this\n"),
        ),
        (b"no header at all", "", Some("no header at all")),
        (b"\r\nbody first", "", Some("body first")),
        (b"Subject: only", "only", None),
        (b"", "", None),
        (b"\r\n", "", None),
        (b"From mbox Mon Jan 1 00:00:00 2026\r\nSubject: x\r\n\r\ny", "x", Some("y")),
        (b"Subject: x\r\nodd line\r\nFrom: a@b\r\n\r\ny", "x", Some("y")),
        (b"Subject : space before the colon\r\n\r\ny", "space before the colon", Some("y")),
        (b" leading space\r\nSubject: x\r\n\r\ny", "", Some(" leading space\nSubject: x\n\ny")),
        (b"Content-Type: text/plain; charset\r\nContent-Type: image/png\r\n\r\nfirst wins", "", Some("first wins")),
    ] {
        let mail = read(raw).unwrap();
        let shown = String::from_utf8_lossy(raw);
        assert_eq!(mail.subject, subject, "{shown}");
        let expected = body.map(|b| Body::Plain(b.to_owned()));
        assert_eq!(mail.body, expected, "{shown}");
    }
}

#[test]
fn a_missing_closing_boundary_keeps_the_last_part_whole() {
    let text =
        multipart("mixed", &[PLAIN, "Content-Type: text/plain\nContent-Disposition: attachment\n\nline 1\nline 2"]);
    let cut = text.replace("\n--B--\nepilogue\n", "");
    assert_eq!(mail(&cut).attachments[0].bytes, b"line 1\r\nline 2");
}

#[test]
fn parts_that_cannot_be_told_apart_are_refused() {
    for text in [
        "Content-Type: multipart/mixed\n\n--B\n\nx\n--B--\n",
        "Content-Type: multipart/mixed; boundary=\"\"\n\n--\n\nx\n",
        "Content-Type: multipart/mixed; boundary=B\n\n--C\n\nx\n--C--\n",
    ] {
        assert_eq!(error(text.as_bytes()).cause, Cause::DocumentDamaged, "{text}");
    }
}

#[test]
fn twenty_thousand_nested_multiparts_are_refused_at_once() {
    for depth in [33, 1_000, 20_000] {
        let mut raw = String::new();
        for level in 0..depth {
            raw.push_str(&format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n"));
        }
        let error = error(raw.as_bytes());
        assert!(error.detail.contains("nested too deep"), "{}", error.detail);
        assert_eq!(error.cause, Cause::DocumentUnsupported);
    }
}

#[test]
fn counts_and_sizes_have_limits() {
    let many_parts = multipart("mixed", &[PLAIN; 501]);
    assert!(error(many_parts.as_bytes()).detail.contains("too many parts"));
    let long_field = format!("Subject: {}\n\nx", "x".repeat(64 * 1024));
    assert!(error(long_field.as_bytes()).detail.contains("header field Subject"));
    let long_header = format!("{}\nx", format!("X-A: {}\n", "x".repeat(60_000)).repeat(18));
    assert!(error(long_header.as_bytes()).detail.contains("header is too large"));
    let many_fields = format!("{}\nx", "A:\n".repeat(10_001));
    assert!(error(many_fields.as_bytes()).detail.contains("header is too large"));
    let long_type = format!("Content-Type: text/plain; {}\n\nx", "a*0*=x;".repeat(2_000));
    assert!(error(long_type.as_bytes()).detail.contains("content-type"));
    let thousand_hops = format!("{}\nx", "Received: from a by b\n".repeat(1_000));
    assert_eq!(read(thousand_hops.as_bytes()).unwrap().received_count, 1_000);
    let as_many_as_allowed = multipart("mixed", &[PLAIN; 499]);
    assert_eq!(mail(&as_many_as_allowed).attachments.len(), 498);
}

#[test]
fn a_digest_holds_messages() {
    let mail = mail(&multipart("digest", &["\nSubject: inner\n\nx"]));
    assert_eq!(names(&mail), [("attachment 1", "text/plain")]);
    assert_eq!(mail.attachments[0].bytes, b"Subject: inner\n\nx");
}

proptest::proptest! {
    #[test]
    fn no_octets_make_it_panic(octets in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
        let _ = read(&octets);
    }

    #[test]
    fn no_mail_made_of_usual_pieces_makes_it_panic(pieces in proptest::collection::vec(0..PIECES.len(), 0..40)) {
        let raw: String = pieces.into_iter().map(|p| PIECES[p]).collect();
        let _ = read(raw.as_bytes());
    }

    #[test]
    fn attachments_come_out_as_they_went_in(octets in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        let coded = data_encoding::BASE64.encode(&octets);
        let part = format!("Content-Type: image/tiff\nContent-Transfer-Encoding: base64\n\n{coded}");
        let mail = mail(&multipart("mixed", &[&part]));
        proptest::prop_assert_eq!(&mail.attachments[0].bytes, &octets);
    }
}

const PIECES: [&str; 24] = [
    "Content-Type: multipart/mixed; boundary=B\r\n",
    "Content-Type: multipart/alternative; boundary=C\r\n",
    "Content-Type: multipart/related; boundary=B; start=\"<x>\"\r\n",
    "Content-Type: text/html\r\n",
    "\r\n",
    "\n",
    "--B\r\n",
    "--B--\r\n",
    "--C\r\n",
    "--C--\r\n",
    "text",
    "Subject: =?utf-8?B?",
    "?=",
    "Content-Transfer-Encoding: base64\r\n",
    "Content-Transfer-Encoding: quoted-printable\r\n",
    "=",
    "=?",
    "charset=utf-7\r\n",
    "; name*0*=utf-8''%41; name*1=\"b",
    "\"",
    ":",
    " ",
    "From: a <b@c>, \"",
    "Content-Type: text/plain; format=flowed; delsp=yes\r\n",
];
