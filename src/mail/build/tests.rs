//! The typed values and what is returned of an original.

use super::*;

#[test]
fn addresses_that_could_break_out_of_a_command_are_none() {
    for good in
        ["jean@corp.test", "FAX=+1214/T33S=1@fax.test", "\"a b\"@c.test", "a@[10.0.0.1]", "ü@bücher.test", "\"a@b\"@c"]
    {
        assert_eq!(MailAddress::parse(good).map(|a| a.as_str().to_owned()).as_deref(), Some(good));
    }
    for bad in [
        "",
        "a",
        "@b",
        "a@",
        "a b@c",
        "a@b c",
        "a@b>",
        "<a@b",
        "a\r\n@b",
        "a@b\0",
        "a@b,c",
        "a\"@b",
        &format!("{}@b", "a".repeat(1000)),
    ] {
        assert_eq!(MailAddress::parse(bad), None, "{bad:?}");
    }
    let quoted = MailAddress::parse("\"a@b\"@c").unwrap();
    assert_eq!((quoted.local(), quoted.domain()), ("\"a@b\"", "c"));
}

#[test]
fn mailboxes_have_a_name_or_none() {
    for (text, name, address) in [
        ("Fax <fax@x.test>", Some("Fax"), "fax@x.test"),
        ("\"Fax, Acme\" <fax@x.test>", Some("Fax, Acme"), "fax@x.test"),
        ("<fax@x.test>", None, "fax@x.test"),
        (" fax@x.test ", None, "fax@x.test"),
    ] {
        let parsed = NamedAddress::parse(text).unwrap();
        assert_eq!((parsed.name.as_ref().map(HeaderText::as_str), parsed.address.as_str()), (name, address));
    }
    for bad in ["Fax <fax@x.test", "Fax fax@x.test", "Fax <>", ""] {
        assert_eq!(NamedAddress::parse(bad), None, "{bad}");
    }
}

#[test]
fn message_ids_are_repeated_only_when_they_are_harmless() {
    assert!(MessageIdText::parse("abc$1@corp.test").is_some());
    for bad in ["", "a b@c", "a>@b", "a\r\n@b", "ü@b", &"a".repeat(901)] {
        assert_eq!(MessageIdText::parse(bad), None, "{bad:?}");
    }
}

fn returned(raw: &[u8], ret: Return) -> String {
    let mut out = Vec::new();
    original(raw, ret).write_part(&mut out);
    String::from_utf8(out).expect("ASCII")
}

#[test]
fn an_original_is_returned_whole_only_when_that_changes_nothing() {
    let head = b"Subject: x\r\n\r\n";
    for (body, whole) in [
        (&b"plain\r\n"[..], true),
        (b"\xfc 8 bit\r\n", false),
        (b"bare LF\nx\r\n", false),
        (b"bare CR\rx\r\n", false),
        (b"nul \0\r\n", false),
        (&[b'x'; 999], false),
        (&b"0123456789abcdef\r\n".repeat(ORIGINAL_BYTES_MAX / 18 + 1), false),
    ] {
        let raw = [&head[..], body].concat();
        let got = returned(&raw, Return::Full);
        assert_eq!(
            got.starts_with("Content-Type: message/rfc822"),
            whole,
            "{}",
            String::from_utf8_lossy(&body[..20.min(body.len())])
        );
        assert!(got.is_ascii() && got.contains("Subject: x"));
    }
}

#[test]
fn the_returned_header_is_ascii_has_a_limit_and_no_bcc() {
    let raw = [
        &b"Subject: f\xfcr\r\nBCC: a@b,\r\n\tc@d\r\nResent-Bcc: e@f\r\nTo: x@y\r\n"[..],
        &b"X-A: 1\r\n".repeat(20_000),
        b"\r\nbody",
    ]
    .concat();
    let got = returned(&raw, Return::Header);
    assert!(got.is_ascii() && got.contains("quoted-printable") && got.contains("To: x@y"));
    assert!(!got.contains("a@b") && !got.contains("c@d") && !got.contains("e@f") && !got.contains("body"));
    assert!(got.len() < 100_000);
}

#[test]
fn long_fields_are_folded_at_a_place_that_means_nothing() {
    let mut out = String::new();
    push_field(&mut out, "X", &format!("{} {}", "a".repeat(500), "b".repeat(600)));
    assert_eq!(out, format!("X: {} \r\n {}\r\n", "a".repeat(500), "b".repeat(600)));
}
