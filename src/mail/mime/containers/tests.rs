//! Mails with mails in them.

use super::super::{Mail, read};
use super::writer::*;
use super::*;
use crate::domain::Cause;

/// A mail with a text, or none, and one attachment.
fn carrying(text: &str, media: &str, name: &str, octets: &[u8]) -> Vec<u8> {
    let coded = data_encoding::BASE64.encode(octets);
    format!(
        "Subject: outer\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\n\r\n{text}\r\n--B\r\n\
         Content-Type: {media}; name=\"{name}\"\r\nContent-Disposition: attachment\r\nContent-Transfer-Encoding: base64\r\n\r\n{coded}\r\n--B--\r\n"
    )
    .into_bytes()
}

fn opened(text: &str, media: &str, name: &str, octets: &[u8]) -> Mail {
    read(&carrying(text, media, name, octets)).unwrap()
}

fn refused(media: &str, name: &str, octets: &[u8]) -> MimeError {
    read(&carrying("x", media, name, octets)).unwrap_err()
}

fn listed(mail: &Mail) -> Vec<(&str, &str, String)> {
    let text = |a: &Attachment| String::from_utf8_lossy(&a.bytes).into_owned();
    mail.attachments.iter().map(|a| (a.name.as_str(), a.media.as_str(), text(a))).collect()
}

fn plain(mail: &Mail) -> &str {
    match &mail.body {
        Some(Body::Plain(text)) => text,
        other => panic!("expected plain text, got {other:?}"),
    }
}

const PDF: &[u8] = b"%PDF-1.7";

#[test]
fn winmail_is_replaced_by_what_is_in_it_whatever_it_is_called() {
    let stream = tnef(&[text(0x1000, "the text")], &[file("Angebot für Sie.pdf", PDF), file("b.txt", b"b")]);
    for (media, name) in [
        ("application/ms-tnef", "winmail.dat"),
        ("application/vnd.ms-tnef", "x.bin"),
        ("application/octet-stream", "WINMAIL.DAT"),
        ("application/octet-stream", "ATT00001.dat"),
    ] {
        let mail = opened("the text\r\n-- \r\nlist footer", media, name, &stream);
        assert_eq!(plain(&mail), "the text\n-- \nlist footer", "{media} {name}");
        let names: Vec<&str> = mail.attachments.iter().map(|a| a.name.as_str()).collect();
        assert_eq!(names, ["Angebot für Sie.pdf", "b.txt"], "{media} {name}");
        assert_eq!(mail.attachments[0].bytes, PDF);
    }
}

#[test]
fn the_text_of_winmail_counts_where_the_mail_does_not_say_the_same() {
    let html = r"{\rtf1\ansi\fromhtml1 {\*\htmltag64 <p>}the whole offer{\*\htmltag72 </p>}}";
    for (held, text, body, attached) in [
        (vec![text(0x1000, "the whole offer")], "", "the whole offer", vec![]),
        (vec![binary(0x1009, &stored_rtf(html))], " ", "<p>the whole offer</p>", vec![]),
        (vec![text(0x1000, "the whole offer")], "The  whole\r\noffer!", "The  whole\noffer!", vec![]),
        (vec![binary(0x1009, &stored_rtf(html))], "the whole offer", "the whole offer", vec![]),
        (vec![text(0x1000, "the whole offer")], "see below", "see below", vec!["the whole offer"]),
        (vec![], "see below", "see below", vec![]),
    ] {
        let mail = opened(text, "application/ms-tnef", "winmail.dat", &tnef(&held, &[]));
        let (Some(Body::Plain(found)) | Some(Body::Html(found))) = &mail.body else { panic!("no text: {text}") };
        assert_eq!(found, body, "{text}");
        let extra: Vec<_> = listed(&mail).into_iter().map(|(.., text)| text).collect();
        assert_eq!(extra, attached, "{text}");
    }
}

#[test]
fn a_logo_that_only_unused_html_shows_is_left_out_and_a_photo_is_kept() {
    let picture = |name: &str, id: &str, size: usize| {
        [file(name, &vec![7; size]), vec![text(0x3712, id), text(0x370e, "image/png")]].concat()
    };
    let html = "<p>the text<img src=\"cid:logo@x\"><img src=\"cid:photo@x\">";
    let pictures = [
        picture("logo.png", "logo@x", 900),
        picture("photo.png", "photo@x", 90_000),
        picture("other.png", "other@x", 900),
    ];
    let mail =
        opened("the text", "application/ms-tnef", "winmail.dat", &tnef(&[binary(0x1013, html.as_bytes())], &pictures));
    let names: Vec<&str> = mail.attachments.iter().map(|a| a.name.as_str()).collect();
    assert_eq!((names, mail.left_out), (vec!["photo.png", "other.png"], vec!["logo.png".to_owned()]));
}

#[test]
fn an_attached_mail_becomes_its_text_under_a_heading_and_then_its_attachments() {
    let mail = "From: Anna <a@x.test>\r\nTo: b@y.test\r\nBcc: secret@z.test\r\nDate: Mon, 2 Nov 2026 10:00:00 +0100\r\n\
                Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\nContent-Type: multipart/mixed; boundary=C\r\n\r\n\
                --C\r\n\r\nhello\r\n--C\r\nContent-Type: application/pdf; name=in.pdf\r\n\r\n%PDF\r\n--C--\r\n";
    let heading = "From: Anna <a@x.test>\nTo: b@y.test\nDate: Mon, 2 Nov 2026 10:00:00 +0100\nSubject: Grüße\n\nhello";
    for (media, name) in [
        ("message/rfc822", "fwd.eml"),
        ("message/global", "x"),
        ("application/octet-stream", "A.EML"),
        ("text/plain", "b.eml"),
    ] {
        let mail = opened("outer text", media, name, mail.as_bytes());
        assert_eq!(plain(&mail), "outer text");
        let expected = [(name, "text/plain", heading.to_owned()), ("in.pdf", "application/pdf", "%PDF".to_owned())];
        assert_eq!(listed(&mail), expected, "{media}");
        assert_eq!(mail.attachments[0].charset.as_deref(), Some("utf-8"));
    }
}

#[test]
fn an_attached_outlook_message_is_read_like_a_mail() {
    let inner = message(24, &[text(0x37, "inner"), text(0x1000, "inner text")], vec![attached(&file("deep.pdf", PDF))]);
    let sent = Property(0x39, 0x40, 132_000_000_000_000_000_u64.to_le_bytes().to_vec());
    let list = [
        text(0x37, "Bericht <1>"),
        text(0x0c1a, "Anna"),
        text(0x5d01, "a@x.test"),
        text(0x0e04, "Bert"),
        sent,
        binary(0x1013, "<html><BODY class=x>für alle".as_bytes()),
        number(0x3fde, 65001),
    ];
    let octets = compound(message(32, &list, vec![attached(&file("a.pdf", PDF)), attached_message("fwd", inner)]));
    for (media, name) in [("application/vnd.ms-outlook", "x"), ("application/octet-stream", "Bericht.msg")] {
        let mail = opened("outer", media, name, &octets);
        let html = "<html><BODY class=x><p><b>From:</b> Anna &lt;a@x.test&gt;<br><b>To:</b> Bert<br>\
                    <b>Date:</b> Wed, 17 Apr 2019 18:40 UTC<br><b>Subject:</b> Bericht &lt;1&gt;<br></p><hr>für alle";
        let pdf = || "%PDF-1.7".to_owned();
        let expected = [
            (name, "text/html", html.to_owned()),
            ("a.pdf", "application/octet-stream", pdf()),
            ("fwd", "text/plain", "Subject: inner\n\ninner text".to_owned()),
            ("deep.pdf", "application/octet-stream", pdf()),
        ];
        assert_eq!(listed(&mail), expected, "{media}");
    }
}

#[test]
fn containers_in_containers_open_whatever_lies_in_what() {
    let winmail = tnef(&[text(0x1000, "deep text")], &[file("deep.pdf", PDF)]);
    let mail = carrying("middle text", "application/ms-tnef", "winmail.dat", &winmail);
    let msg = compound(message(32, &[text(0x1000, "t")], vec![attached(&file("fwd.eml", &mail))]));
    let names: Vec<_> = listed(&opened("x", "application/octet-stream", "a.msg", &msg))
        .into_iter()
        .map(|(name, _, text)| format!("{name}: {text}"))
        .collect();
    assert_eq!(
        names,
        ["a.msg: \nt", "fwd.eml: Subject: outer\n\nmiddle text", "winmail.dat: deep text", "deep.pdf: %PDF-1.7"]
    );
}

#[test]
fn what_cannot_be_opened_is_refused_by_its_name() {
    let whole = tnef(&[], &[file("a.pdf", PDF)]);
    let link = tnef(&[], &[vec![number(0x3705, 7), text(0x3707, "cloud.docx"), text(0x370d, "https://x.test/c")]]);
    let card = tnef(&[], &[nested_tnef("Anna's card", &tnef(&[text(0x1a, "IPM.Contact"), text(0x37, "Anna")], &[]))]);
    let encrypted = b"Subject: x\r\nContent-Type: application/pkcs7-mime\r\n\r\nx";
    for (media, name, octets, cause, says) in [
        ("application/ms-tnef", "winmail.dat", &b"x"[..], Cause::DocumentDamaged, "no TNEF"),
        ("application/ms-tnef", "winmail.dat", &whole[..whole.len() - 20], Cause::DocumentDamaged, "cut off"),
        ("application/vnd.ms-outlook", "a.msg", b"text", Cause::DocumentDamaged, "no compound file"),
        ("application/ms-tnef", "winmail.dat", &link, Cause::DocumentUnsupported, "\"cloud.docx\": only a link"),
        ("application/ms-tnef", "winmail.dat", &card, Cause::DocumentUnsupported, "IPM.Contact"),
        ("message/rfc822", "fwd.eml", encrypted, Cause::DocumentUnsupported, "S/MIME"),
        ("message/rfc822", "fwd.eml", b"", Cause::DocumentDamaged, "no mail in it"),
    ] {
        let error = refused(media, name, octets);
        assert_eq!(error.cause, cause, "{name} {says}: {error}");
        assert!(error.detail.contains(&format!("attachment \"{name}\"")), "{error}");
        assert!(error.detail.contains(says), "{says}: {error}");
    }
}

#[test]
fn mails_in_mails_end_at_the_limits() {
    let mut mail = b"Subject: innermost\r\n\r\nx".to_vec();
    for _ in 0..DEPTH_MAX {
        mail = [&b"Content-Type: message/rfc822\r\n\r\n"[..], &mail].concat();
    }
    assert!(read(&mail).is_ok());
    mail = [&b"Content-Type: message/rfc822\r\n\r\n"[..], &mail].concat();
    assert!(read(&mail).unwrap_err().detail.contains("deep"));
    let many = tnef(&[], &vec![file("x", b"1"); 499]);
    let error = refused("application/ms-tnef", "winmail.dat", &many);
    assert!(error.detail.contains("too many parts"), "{error}");
}

proptest::proptest! {
    #[test]
    fn any_change_of_a_container_ends_in_an_answer(
        at in proptest::prelude::any::<proptest::sample::Index>(), octet in proptest::prelude::any::<u8>(), cut in 0..400_usize,
    ) {
        let inner = tnef(&[text(0x1000, "t")], &[file("a.pdf", PDF)]);
        for mut octets in [tnef(&[], &[nested_tnef("n", &inner)]), compound(message(32, &[], vec![attached(&file("a", PDF))]))] {
            let at = at.index(octets.len());
            octets[at] = octet;
            octets.truncate(octets.len() - cut.min(octets.len()));
            let _ = read(&carrying("x", "application/octet-stream", "a.msg", &octets));
        }
    }
}
