//! Containers as they occur, and as they should not.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod writer;

use std::fs;
use std::path::{Path, PathBuf};

use outlook::{Attachment, Content, Error, Loss, Message, content_bytes_max, open_msg, open_tnef};
use proptest::prelude::*;
use writer::*;

fn data(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
}

fn files(message: &Message) -> Vec<(&str, &[u8])> {
    let mut found = Vec::new();
    for attachment in &message.attachments {
        if let (Some(name), Content::File(octets)) = (&attachment.name, &attachment.content) {
            found.push((name.as_str(), octets.as_slice()));
        }
    }
    found
}

fn nested(attachment: &Attachment) -> &Message {
    match &attachment.content {
        Content::Message(message) => message,
        other => panic!("expected a message, got {other:?}"),
    }
}

/// A letter with a file, an inline picture, and a message with a file of its own.
fn letter() -> Vec<u8> {
    let inner = tnef(&[text(0x37, "inner"), text(0x1000, "inner text")], &[file("deep.pdf", b"%PDF-deep")]);
    let picture =
        [file("logo.png", b"\x89PNG"), vec![text(0x3712, "<logo@x>"), number(0x3714, 4), text(0x370e, "Image/PNG")]];
    let html = r"{\rtf1\ansi\ansicpg1252\fromhtml1 {\*\htmltag64 <p>}f\'fcr{\*\htmltag72 </p>}}";
    tnef(
        &[
            text(0x37, "Angebot für Ärzte"),
            binary(0x1009, &stored_rtf(html)),
            text(0x0c1a, "Anna"),
            text(0x5d01, "a@x"),
        ],
        &[file("Preisliste – März.pdf", b"%PDF-1.7"), picture.concat(), nested_tnef("fwd", &inner)],
    )
}

fn message_file() -> Vec<u8> {
    let inner = message(24, &[text(0x37, "inner")], vec![attached(&file("deep.pdf", &[7; 5000]))]);
    compound(message(
        32,
        &[text(0x37, "Bericht"), text(0x1000, "hello"), binary(0x1013, b"<p>hello"), number(0x3fde, 65001)],
        vec![attached(&file("größer.bin", &[42; 70_000])), attached_message("fwd", inner), attached(&file("e", b""))],
    ))
}

#[test]
fn a_tnef_letter_opens_to_its_last_nested_file() {
    let message = open_tnef(&letter()).unwrap();
    assert_eq!((message.subject.as_str(), message.html.as_deref()), ("Angebot für Ärzte", Some("<p>für</p>")));
    assert_eq!(message.from.as_ref().unwrap().address.as_deref(), Some("a@x"));
    assert_eq!(files(&message), [("Preisliste – März.pdf", &b"%PDF-1.7"[..]), ("logo.png", b"\x89PNG")]);
    let logo = &message.attachments[1];
    assert_eq!(
        (logo.inline, logo.content_id.as_deref(), logo.media.as_deref()),
        (true, Some("logo@x"), Some("image/png"))
    );
    let inner = nested(&message.attachments[2]);
    assert_eq!((inner.plain.as_deref(), files(inner)), (Some("inner text"), vec![("deep.pdf", &b"%PDF-deep"[..])]));
    assert_eq!(message.problems, []);
}

#[test]
fn a_message_file_opens_to_its_last_nested_file() {
    let message = open_msg(&message_file()).unwrap();
    assert_eq!((message.subject.as_str(), message.plain.as_deref()), ("Bericht", Some("hello")));
    assert_eq!(message.html.as_deref(), Some("<p>hello"));
    assert_eq!(files(&message), [("größer.bin", &[42; 70_000][..]), ("e", b"")]);
    assert_eq!(files(nested(&message.attachments[1])), [("deep.pdf", &[7; 5000][..])]);
    assert_eq!(message.lost(), None);
}

#[test]
fn files_of_real_programs_open() {
    let exchange = open_tnef(&data("exchange.tnef")).unwrap();
    assert_eq!(exchange.subject, "Testing TNEF Message");
    assert_eq!((exchange.to.as_str(), exchange.lost()), ("Gaggletest2", None));
    assert!(exchange.html.unwrap().contains("This is the message body."));
    let outlook = open_msg(&data("outlook.msg")).unwrap();
    assert_eq!(outlook.subject, "MIME registry use cases");
    assert_eq!(outlook.from.unwrap().address.as_deref(), Some("jukka.zitting@gmail.com"));
    assert_eq!(outlook.sent_s, Some(1_233_256_600));
    assert!(outlook.plain.unwrap().starts_with("Hi,"));
}

#[test]
fn what_is_no_container_is_refused_and_not_guessed_at() {
    for octets in [&b""[..], b"x", b"\x78\x9f\x3e", b"PK\x03\x04"] {
        assert_eq!(open_tnef(octets), Err(Error::OtherFormat("TNEF stream")));
        assert_eq!(open_msg(octets), Err(Error::OtherFormat("compound file")));
    }
    let word = compound(vec![Node::Stream("WordDocument".to_owned(), vec![0; 5000])]);
    assert_eq!(open_msg(&word), Err(Error::OtherFormat("message file")));
    assert!(matches!(open_msg(&word[..600]), Err(Error::Damaged(_))));
}

#[test]
fn a_wrong_checksum_is_a_warning_and_a_cut_is_a_loss() {
    let mut stream = tnef(&[text(0x37, "x")], &[file("a.pdf", b"%PDF-1.7")]);
    *stream.last_mut().unwrap() ^= 1;
    let message = open_tnef(&stream).unwrap();
    assert_eq!((message.lost(), message.problems.len(), message.attachments.len()), (None, 1, 1));
    for end in stream.len() - 40..stream.len() - 2 {
        let message = open_tnef(&stream[..end]).unwrap();
        assert!(message.lost().is_some(), "cut at {end} of {}: {message:?}", stream.len());
    }
    let followed = [&stream[..], b"\r\n-- \r\nmailing list footer"].concat();
    assert_eq!(open_tnef(&followed).unwrap().lost(), None);
    let damaged = [&stream[..], b"???", &attribute(2, 0x0006_9002, &[0; 14])].concat();
    assert!(open_tnef(&damaged).unwrap().lost().is_some(), "an attachment begins behind the damage");
}

#[test]
fn attributes_without_properties_say_the_same() {
    let mut stream = b"\x78\x9f\x3e\x22\x01\0".to_vec();
    stream.extend(attribute(1, 0x0006_9007, &[0xe3, 4, 0, 0, 0, 0, 0, 0]));
    stream.extend(attribute(1, 0x0001_8004, b"\xcf\xf0\xe8\0"));
    stream.extend(attribute(1, 0x0002_800c, b"text\0"));
    stream.extend(attribute(1, 0x0003_8005, &[0xe4, 7, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 0, 0]));
    stream.extend(attribute(1, 0x0000_8000, b"\x04\0\x0d\0\x04\0\x09\0Ann\0SMTP:a@b\0"));
    // Data before the name, no beginning, no type in the tag.
    stream.extend(attribute(2, 0x0000_800f, b"octets"));
    stream.extend(attribute(2, 0x0000_8010, b"A.TXT\0"));
    let message = open_tnef(&stream).unwrap();
    assert_eq!((message.subject.as_str(), message.plain.as_deref()), ("При", Some("text")));
    assert_eq!((message.sent_s, message.from.as_ref().unwrap().address.as_deref()), (Some(1_577_934_245), Some("a@b")));
    assert_eq!(files(&message), [("A.TXT", &b"octets"[..])]);
}

#[test]
fn what_is_not_in_the_container_is_named_and_not_left_out() {
    let link = vec![number(0x3705, 7), text(0x3707, "cloud.docx"), text(0x370d, "https://x.test/cloud.docx")];
    let message = open_tnef(&tnef(&[], &[link])).unwrap();
    assert!(matches!(&message.attachments[0].content, Content::Missing(why) if why.contains("https://x.test")));
    let object = vec![Node::Stream("CONTENTS".to_owned(), vec![1])];
    let file = compound(message_with_object(object));
    let message = open_msg(&file).unwrap();
    assert!(matches!(&message.attachments[0].content, Content::Missing(why) if why.contains("object")));
    let gone = compound(writer::message(32, &[], vec![attached(&[number(0x3705, 1), text(0x3707, "gone.pdf")])]));
    assert!(matches!(&open_msg(&gone).unwrap().attachments[0].content, Content::Missing(_)));
}

fn message_with_object(object: Vec<Node>) -> Vec<Node> {
    let mut attachment = attached(&[number(0x3705, 6), text(0x3707, "chart")]);
    attachment.push(Node::Storage("__substg1.0_3701000D".to_owned(), object));
    message(32, &[], vec![attachment])
}

#[test]
fn messages_in_messages_end_at_the_limit_and_say_so() {
    let mut stream = tnef(&[text(0x37, "innermost")], &[]);
    for _ in 0..200 {
        stream = tnef(&[], &[nested_tnef("deeper", &stream)]);
    }
    let outermost = open_tnef(&stream).unwrap();
    let mut message = &outermost;
    let mut depth = 0;
    while let Content::Message(inner) = &message.attachments[0].content {
        message = inner;
        depth += 1;
    }
    assert_eq!(depth, outlook::DEPTH_MAX);
    assert!(matches!(&message.attachments[0].content, Content::Missing(why) if why.contains("deep")));
}

#[test]
fn more_attachments_than_allowed_are_a_loss() {
    let many = vec![file("x", b"1"); 501];
    let message = open_tnef(&tnef(&[], &many)).unwrap();
    assert_eq!(message.attachments.len(), 500);
    assert_eq!(message.lost().unwrap().loss, Loss::Content);
}

#[test]
fn tables_that_go_in_circles_or_lie_end() {
    let whole = message_file();
    for table in (512..whole.len() - 512).step_by(512) {
        for value in [0u32, 1, 2, 0xffff_fffe] {
            let mut broken = whole.clone();
            broken[table..table + 512].copy_from_slice(&value.to_le_bytes().repeat(128));
            bounded(&broken);
        }
    }
    bounded(&data("grows.tnef"));
}

fn bounded(octets: &[u8]) {
    for message in [open_tnef(octets), open_msg(octets)].into_iter().flatten() {
        assert!(message.content_bytes() <= content_bytes_max(octets.len()));
    }
}

/// What fuzzing kept: each input was once new to the reader.
#[test]
fn inputs_that_fuzzing_kept_end_in_an_answer() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let inputs: Vec<PathBuf> = ["tnef", "msg"]
        .iter()
        .flat_map(|target| fs::read_dir(root.join(target)).unwrap().map(|entry| entry.unwrap().path()))
        .collect();
    assert!(inputs.len() > 10, "the corpus is there: {}", inputs.len());
    inputs.iter().for_each(|path| bounded(&fs::read(path).unwrap()));
}

proptest! {
    #[test]
    fn any_octets_end_in_a_bounded_answer(octets in prop::collection::vec(any::<u8>(), 0..2000), of in 0..2) {
        let signature: &[u8] = if of == 0 { b"\x78\x9f\x3e\x22" } else { b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" };
        bounded(&[signature, &octets].concat());
    }

    #[test]
    fn any_cut_and_any_change_of_a_good_file_ends_in_a_bounded_answer(
        cut in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), octet in any::<u8>(),
    ) {
        for mut good in [letter(), message_file(), data("exchange.tnef"), data("outlook.msg")] {
            let at = at.index(good.len());
            good[at] = octet;
            bounded(&good);
            good.truncate(cut.index(good.len()));
            bounded(&good);
        }
    }

    #[test]
    fn files_come_out_as_they_went_in(octets in prop::collection::vec(any::<u8>(), 1..6000), name in "[a-zA-Zäöü0-9 ]{0,20}x") {
        let stream = tnef(&[], &[file(&name, &octets)]);
        let compound = compound(message(32, &[], vec![attached(&file(&name, &octets))]));
        for opened in [open_tnef(&stream).unwrap(), open_msg(&compound).unwrap()] {
            prop_assert_eq!(files(&opened), [(name.trim(), &octets[..])]);
        }
    }
}
