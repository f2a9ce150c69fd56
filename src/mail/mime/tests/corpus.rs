//! Mails that other readers of mail are tested with (`tests/mail/corpus`): what is read of each of them stands in a table, and whatever
//! Python's email package finds in one is found here too, or the mail is refused with its cause, or it stands below.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::{Body, Mail, MimeError, read, text};

/// A mail and the type of the leaf that is not found in it as Python finds it, and why that is right.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    ("mail-parser/legacy-026.eml", "text/plain", "text without a charset that is no UTF-8 is read as Windows-1252"),
    ("mail-parser/legacy-033.eml", "text/plain", "Windows-1252 that calls itself UTF-8 is read as what it is"),
    ("mail-parser/legacy-052.eml", "text/plain", "Windows-1252 that calls itself UTF-8 is read as what it is"),
    ("mail-parser/malformed-015.eml", "application/pgp-signature", "the signature of a multipart/signed is no page"),
    ("mail-parser/malformed-019.eml", "text/plain", "a line of the header that is none ends it there, and not here"),
    ("mail-parser/rfc-008.eml", "text/plain", "an attached mail in base64 is opened"),
    ("mail-parser/thirdparty-003.eml", "text/plain", "spaces after quoted-printable do not hide it"),
    ("mail-parser/thirdparty-009.eml", "text/plain", "a message/partial stays whole, and is refused later"),
    ("mail-parser/thirdparty-012.eml", "multipart/mixed", "a boundary with a folded space is found"),
    ("mail-parser/thirdparty-015.eml", "text/plain", "a line of the header that is none ends it there, and not here"),
    ("python/msg_15.txt", "multipart/alternative", "an alternative without parts holds an empty line"),
    ("python/msg_45.txt", "application/pgp-signature", "the signature of a multipart/signed is no page"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mail/corpus")
}

fn mails() -> Vec<(String, Vec<u8>)> {
    let mut mails = Vec::new();
    for kind in ["mail-parser", "python"] {
        for entry in std::fs::read_dir(folder().join(kind)).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{kind}/{}", path.file_name().unwrap().to_str().unwrap());
            mails.push((name, std::fs::read(path).unwrap()));
        }
    }
    mails.sort();
    mails
}

fn row(name: &str, read: &Result<Mail, MimeError>) -> String {
    let mut row = format!("{name}\n");
    match read {
        Err(error) => writeln!(row, "  refused {}: {}", error.cause.slug(), error.detail),
        Ok(mail) => {
            let from = mail.from.as_ref().map_or("nobody", |from| from.address.as_str());
            writeln!(row, "  from {from}: {}", mail.subject).unwrap();
            let begin = |text: &str| {
                super::super::clean(text)
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" ")
                    .chars()
                    .take(60)
                    .collect::<String>()
            };
            match &mail.body {
                None => writeln!(row, "  no text"),
                Some(Body::Plain(text)) => {
                    writeln!(row, "  plain {} characters: {}", text.chars().count(), begin(text))
                }
                Some(Body::Html(text)) => writeln!(row, "  html {} characters: {}", text.chars().count(), begin(text)),
            }
            .unwrap();
            for file in &mail.attachments {
                writeln!(row, "  file {} ({}, {} octets)", file.name, file.media, file.bytes.len()).unwrap();
            }
            for file in &mail.inline {
                writeln!(row, "  shown {} ({}, {} octets)", file.name, file.media, file.bytes.len()).unwrap();
            }
            mail.left_out.iter().try_for_each(|name| writeln!(row, "  left out {name}"))
        }
    }
    .unwrap();
    row
}

#[test]
fn each_mail_of_the_corpora_is_read_as_the_table_says() {
    let table: String = mails().iter().map(|(name, raw)| row(name, &read(raw))).collect();
    let path = folder().join("table.txt");
    if std::env::var_os("FAXWELL_BLESS").is_some() {
        std::fs::write(&path, &table).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    for (got, expected) in table.lines().zip(expected.lines()) {
        assert_eq!(got, expected);
    }
    assert_eq!(table.lines().count(), expected.lines().count());
}

/// As the script writes its samples.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace() && !c.is_control() && !matches!(c, '>' | '\u{feff}')).collect()
}

/// All that can be read in a mail, and the octets of all its files.
fn found(mail: &Mail) -> (String, Vec<&[u8]>) {
    let mut texts = match &mail.body {
        Some(Body::Plain(text) | Body::Html(text)) => plain(text),
        None => String::new(),
    };
    for file in mail.attachments.iter().filter(|file| file.media.starts_with("text/")) {
        texts.push_str(&plain(&text::decode(&file.bytes, file.charset.as_deref()).unwrap_or_default()));
    }
    let files = mail.attachments.iter().map(|file| file.bytes.as_slice());
    (texts, files.chain(mail.inline.iter().map(|file| file.bytes.as_slice())).collect())
}

fn is_found(leaf: &Value, texts: &str, files: &[&[u8]]) -> bool {
    use sha2::{Digest as _, Sha256};
    match leaf["samples"].as_array() {
        Some(samples) => samples.iter().all(|sample| texts.contains(sample.as_str().unwrap())),
        None => {
            let expected = leaf["sha256"].as_str().unwrap();
            files.iter().any(|octets| data_encoding::HEXLOWER.encode(&Sha256::digest(octets)) == expected)
        }
    }
}

#[test]
fn nothing_that_another_reader_finds_in_a_mail_is_lost_silently() {
    let oracle = std::fs::read_to_string(folder().join("oracle.jsonl")).unwrap();
    let mails = mails();
    assert_eq!((oracle.lines().count(), mails.len()), (155, 155));
    let (mut lost, mut used, mut leaves, mut refused) = (Vec::new(), BTreeSet::new(), 0, 0);
    for (line, (name, raw)) in oracle.lines().zip(&mails) {
        let expected: Value = serde_json::from_str(line).unwrap();
        assert_eq!(expected["mail"], name.as_str());
        let Ok(mail) = read(raw) else {
            refused += 1;
            continue;
        };
        let (texts, files) = found(&mail);
        for leaf in expected["leaves"].as_array().unwrap() {
            leaves += 1;
            let media = leaf["type"].as_str().unwrap();
            // One form of an alternative is used; its pictures are told by name.
            let is_other_form = leaf["alternative"] == true;
            let is_left_out = leaf["name"].as_str().is_some_and(|name| mail.left_out.iter().any(|left| left == name));
            let known = DIFFERENCES.iter().position(|(mail, kind, _)| mail == name && *kind == media);
            let is_lost = leaf["bytes"] != 0 && !is_found(leaf, &texts, &files);
            if is_lost && !is_other_form && !is_left_out {
                match known {
                    Some(known) => drop(used.insert(known)),
                    None => lost.push(format!("{name}: {leaf}")),
                }
            }
        }
    }
    println!("{leaves} leaves of {} mails compared; {refused} mails are refused with their cause", mails.len());
    assert!(lost.is_empty(), "{}", lost.join("\n"));
    assert_eq!(used.len(), DIFFERENCES.len(), "a difference is none any more");
}
