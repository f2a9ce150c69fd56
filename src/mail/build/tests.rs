//! The typed values.

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
