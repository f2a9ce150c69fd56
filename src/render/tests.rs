//! The stage against a real store and documents. The converter is a script that answers as the real one does; what the real one
//! makes of documents is tested in its crate and end to end.

use crate::domain::FaxId;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fax_image::Bitmap;
use fax_image::tiff::{Profile, Resolution, TiffPage, write_document};
use jiff::tz::TimeZone;

use super::*;
use crate::config::Config;
use crate::documents::DocumentsSettings;
use crate::domain::{BodyPlace, FaxOptions, FaxState, NoticeState};
use crate::store::testing::{TestStore, expire, message, owner, sqlite};
use crate::store::{FaxRecord, NewMessage};

const MAIL: &[u8] = b"From: Anna <anna@example.com>\r\nSubject: Offer\r\n\r\nDear Sir\r\n";

struct Stage {
    test: TestStore,
    documents: Documents,
    renderer: Renderer,
}

/// A stage whose converter answers with this and, when it is well, with these octets.
async fn stage(answer: &str, blob: &[u8]) -> Stage {
    let test = sqlite().await;
    let script = pretend(test.directory.path(), answer, blob);
    stage_with(test, script).await
}

async fn stage_with(test: TestStore, program: PathBuf) -> Stage {
    let settings = DocumentsSettings { free_bytes_min: 0, ..DocumentsSettings::default() };
    let store: Arc<dyn Store> = test.store.clone();
    let documents = Documents::open(test.directory.path().join("documents"), store.clone(), settings).unwrap();
    let limits = pages::Limits { wall: Duration::from_secs(20), ..pages::Limits::default() };
    let converter = Converter::new(program, Vec::new(), limits);
    let config = Config::sandbox(test.directory.path().to_path_buf(), 2525);
    let settings = RenderSettings::new(&config, TimeZone::UTC);
    let renderer = Renderer::new(store, documents.clone(), converter, settings, owner("a"), Leases::default());
    Stage { test, documents, renderer }
}

fn pretend(directory: &Path, answer: &str, blob: &[u8]) -> PathBuf {
    let mut frame = (answer.len() as u32).to_be_bytes().to_vec();
    frame.extend(1_u32.to_be_bytes());
    frame.extend((blob.len() as u64).to_be_bytes());
    frame.extend(answer.bytes());
    frame.extend(blob);
    let (answer, program) = (directory.join("answer"), directory.join("converter"));
    std::fs::write(&answer, frame).unwrap();
    std::fs::write(&program, format!("#!/bin/sh\ncat {}\n", answer.display())).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    program
}

fn tiff() -> Vec<u8> {
    let page = Bitmap::white(1728, 100).unwrap();
    write_document(&[TiffPage::new(&page, Resolution::FINE, Profile::F)]).unwrap()
}

const DONE: &str = r#"{"answer":"done","pages":["a"],"notes":[]}"#;

fn failed(kind: &str) -> String {
    format!(r#"{{"answer":"failed","error":{{"kind":"{kind}","part":"offer.pdf","detail":"bad"}}}}"#)
}

impl Stage {
    async fn submit(&self, raw: &[u8], change: impl Fn(&mut NewMessage)) -> Vec<FaxId> {
        let mut message = message(&["+99910200", "+99910201"]);
        message.raw = self.documents.put(raw.to_vec(), "message/rfc822").await.unwrap();
        change(&mut message);
        let faxes = message.faxes.iter().map(|fax| fax.id).collect();
        self.test.store.submit(message).await.unwrap();
        faxes
    }

    async fn record(&self, fax: FaxId) -> FaxRecord {
        self.test.store.fax(fax).await.unwrap()
    }
}

#[tokio::test]
async fn a_message_becomes_the_pages_of_each_of_its_faxes() {
    let stage = stage(DONE, &tiff()).await;
    assert_eq!(stage.renderer.render_next().await.unwrap(), Progress::Idle);
    let faxes = stage.submit(MAIL, |_| ()).await;
    assert_eq!(stage.renderer.render_next().await.unwrap(), Progress::Worked);
    for fax in faxes {
        let fax = stage.record(fax).await.fax;
        assert_eq!((fax.state, fax.page_count), (FaxState::Ready, Some(1)));
        assert_eq!(stage.documents.get(&fax.document.unwrap()).await.unwrap(), tiff());
    }
    assert_eq!(stage.renderer.render_next().await.unwrap(), Progress::Idle);
}

/// Reads its orders as the real one does, writes down what they ask for, and answers each alike.
const CLERK: &str = r#"#!/usr/bin/python3
import json, os, struct, sys
folder = os.path.dirname(sys.argv[0])
answer = open(folder + "/answer", "rb").read()
def read():
    length, count = struct.unpack(">II", sys.stdin.buffer.read(8))
    sizes = struct.unpack(f">{count}Q", sys.stdin.buffer.read(8 * count))
    header = json.loads(sys.stdin.buffer.read(length))
    return header, [sys.stdin.buffer.read(size) for size in sizes]
read()
while True:
    header, _ = read()
    with open(folder + "/orders", "a") as orders:
        orders.write(header["job"]["job"] + "\n")
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()
"#;

#[tokio::test]
async fn a_document_is_converted_once_for_all_its_recipients() {
    let test = sqlite().await;
    let program = pretend(test.directory.path(), DONE, &tiff());
    std::fs::write(&program, CLERK).unwrap();
    let orders = test.directory.path().join("orders");
    let stage = stage_with(test, program).await;
    let faxes =
        stage.submit(MAIL, |message| message.faxes.extend(crate::store::testing::message(&["+99910202"]).faxes)).await;
    assert_eq!(faxes.len(), 3);
    assert_eq!(stage.renderer.render_next().await.unwrap(), Progress::Worked);
    assert_eq!(std::fs::read_to_string(orders).unwrap(), "convert\nfinish\nfinish\nfinish\n");
}

#[tokio::test]
async fn what_is_wrong_with_a_document_fails_every_fax_by_name_with_one_notice_each() {
    for (kind, cause) in [
        ("unsupported", Cause::DocumentUnsupported),
        ("encrypted", Cause::DocumentEncrypted),
        ("damaged", Cause::DocumentDamaged),
        ("empty", Cause::DocumentEmpty),
        ("too-many-pages", Cause::TooManyPages),
        ("too-large", Cause::TooLarge),
    ] {
        let stage = stage(&failed(kind), b"").await;
        let faxes = stage.submit(MAIL, |_| ()).await;
        stage.renderer.render_next().await.unwrap();
        for fax in faxes {
            let record = stage.record(fax).await;
            assert_eq!((record.fax.state, record.fax.cause), (FaxState::Failed, Some(cause)));
            assert_eq!(record.fax.detail.as_deref(), Some("offer.pdf: bad"));
            assert_eq!(record.notices.len(), 1);
            assert_eq!(record.notices[0].state, NoticeState::Owed);
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_machine_gives_the_faxes_back_for_later() {
    let test = sqlite().await;
    let stage = stage_with(test, PathBuf::from("/nonexistent/converter")).await;
    let faxes = stage.submit(MAIL, |_| ()).await;
    assert_eq!(stage.renderer.render_next().await.unwrap(), Progress::Worked);
    assert_eq!(stage.renderer.render_next().await.unwrap(), Progress::Idle, "not before its time");
    stage.test.clock.advance(AGAIN_AFTER + Duration::from_secs(1));
    assert_eq!(stage.renderer.render_next().await.unwrap(), Progress::Worked);
    for fax in &faxes {
        assert_eq!(stage.record(*fax).await.fax.state, FaxState::Accepted);
    }
    // Not for ever: when its time is over the sender is told.
    stage.test.clock.advance(Duration::from_secs(7200));
    pretend(stage.test.directory.path(), DONE, &tiff());
    let program = stage.test.directory.path().join("converter");
    let stage = stage_with(stage.test, program).await;
    stage.renderer.render_next().await.unwrap();
    for fax in faxes {
        assert_eq!(stage.record(fax).await.fax.cause, Some(Cause::Expired));
    }
}

#[tokio::test]
async fn a_mail_over_which_workers_die_is_damaged() {
    let stage = stage(DONE, &tiff()).await;
    let faxes = stage.submit(MAIL, |_| ()).await;
    for _ in 0..CRASHES_MAX {
        // A worker that claims and is never heard of again.
        assert!(stage.test.store.claim_render(&owner("b"), LEASE).await.unwrap().is_some());
        stage.test.clock.advance(LEASE + Duration::from_secs(1));
        expire(&*stage.test.store).await;
    }
    stage.renderer.render_next().await.unwrap();
    let fax = stage.record(faxes[0]).await.fax;
    assert_eq!((fax.state, fax.cause), (FaxState::Failed, Some(Cause::DocumentDamaged)));
}

#[tokio::test]
async fn a_mail_that_cannot_be_read_or_has_nothing_to_send_fails() {
    for (raw, cause) in [
        (&b"Subject: nothing\r\n\r\n \r\n"[..], Cause::DocumentEmpty),
        (b"Content-Transfer-Encoding: x-unknown\r\n\r\ntext\r\n", Cause::DocumentUnsupported),
    ] {
        let stage = stage(DONE, &tiff()).await;
        let faxes = stage.submit(raw, |_| ()).await;
        stage.renderer.render_next().await.unwrap();
        assert_eq!(stage.record(faxes[1]).await.fax.cause, Some(cause));
    }
}

#[tokio::test]
async fn no_report_goes_to_an_empty_reverse_path() {
    let stage = stage(&failed("damaged"), b"").await;
    let faxes = stage.submit(MAIL, |message| message.reverse_path = None).await;
    stage.renderer.render_next().await.unwrap();
    let record = stage.record(faxes[0]).await;
    assert_eq!(record.fax.state, FaxState::Failed);
    assert_eq!(record.notices[0].state, NoticeState::Withheld);
}

#[test]
fn the_text_goes_where_the_options_say_and_is_never_lost() {
    let config = Config::sandbox(PathBuf::from("/data"), 2525);
    let settings = RenderSettings::new(&config, TimeZone::UTC);
    let mail = || mime::read(MAIL).unwrap();
    let with_file = || mime::Mail {
        attachments: vec![mime::Attachment {
            name: "a.pdf".into(),
            media: "application/pdf".into(),
            charset: None,
            bytes: vec![1],
        }],
        ..mail()
    };
    for (body, cover, mail, note, page, parts) in [
        (BodyPlace::Cover, Some("plain"), mail(), true, false, 0),
        (BodyPlace::Cover, None, mail(), false, true, 0),
        (BodyPlace::Cover, Some("plain"), with_file(), true, false, 1),
        (BodyPlace::Page, Some("plain"), with_file(), false, true, 1),
        (BodyPlace::Drop, Some("plain"), with_file(), false, false, 1),
    ] {
        let options = FaxOptions { body, cover: cover.map(str::to_owned), ..FaxOptions::default() };
        let split = orders::split(mail, &options, &settings).unwrap();
        let order = split.order.unwrap_or_default();
        assert_eq!(
            (split.note.is_some(), order.body.is_some(), order.parts.len()),
            (note, page, parts),
            "{body} {cover:?}"
        );
    }
    let options = FaxOptions { body: BodyPlace::Drop, cover: Some("plain".into()), ..FaxOptions::default() };
    assert!(orders::split(mail(), &options, &settings).is_err(), "a cover alone is nothing to send");
}

#[tokio::test]
async fn a_page_names_its_own_recipient_and_no_pin() {
    let stage = stage(DONE, &tiff()).await;
    let faxes = stage
        .submit(MAIL, |message| {
            message.options.cover = Some("plain".to_owned());
            message.faxes[0].post_dial = Some("7005393".to_owned());
            message.faxes[0].to_name = Some("Bert".to_owned());
        })
        .await;
    let record = stage.record(faxes[0]).await;
    let order = orders::finish(&record.message, &record.fax, Prepared::default(), None, &stage.renderer.settings);
    let printed = format!("{order:?}");
    assert!(printed.contains("+99910200") && printed.contains("Bert") && printed.contains("Anna Meier"));
    assert!(!printed.contains("7005393") && !printed.contains("+99910201"), "{printed}");
    let header = order.header.unwrap();
    // The store's clock of the test stands at 2027-01-15 08:00 UTC.
    assert_eq!(header.date, "2027-01-15 08:00 +0000");
    assert!(!header.sender_number.is_empty());
}

#[test]
fn pictures_that_the_html_shows_go_with_it_and_all_others_get_pages() {
    const MAIL: &str = "Content-Type: multipart/related; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n\
        <p>text</p><img src=\"cid:shown@x\">\r\n--b\r\nContent-Type: image/png; name=a.png\r\nContent-ID: <shown@x>\r\n\r\n\
        a\r\n--b\r\nContent-Type: image/png; name=b.png\r\nContent-ID: <other@x>\r\n\r\nb\r\n--b--\r\n";
    let config = Config::sandbox(PathBuf::from("/data"), 2525);
    let settings = RenderSettings::new(&config, TimeZone::UTC);
    let split = |body, cover: Option<&str>| {
        let options = FaxOptions { body, cover: cover.map(str::to_owned), ..FaxOptions::default() };
        orders::split(mime::read(MAIL.as_bytes()).unwrap(), &options, &settings).unwrap().order.unwrap_or_default()
    };
    let names = |order: &pages::ConvertOrder| {
        let inline: Vec<String> = order.inline.iter().map(|one| format!("{} {}", one.id, one.name)).collect();
        (inline, order.parts.iter().map(|part| part.name.clone()).collect::<Vec<_>>())
    };
    let shown = names(&split(BodyPlace::Page, Some("plain")));
    assert_eq!(shown, (vec!["shown@x a.png".to_owned()], vec!["b.png".to_owned()]));
    // On a cover the words alone stand: a signature's logo is left out, a photo gets a page.
    let on_cover = names(&split(BodyPlace::Cover, Some("plain")));
    assert_eq!(on_cover, (vec![], vec!["b.png".to_owned()]));
    let photo = MAIL.replace("\r\n\r\na\r\n", &format!("\r\n\r\n{}\r\n", "a".repeat(20_000)));
    let options = FaxOptions { body: BodyPlace::Cover, cover: Some("plain".to_owned()), ..FaxOptions::default() };
    let order = orders::split(mime::read(photo.as_bytes()).unwrap(), &options, &settings).unwrap().order.unwrap();
    assert_eq!(names(&order), (vec![], vec!["a.png".to_owned(), "b.png".to_owned()]));
}

#[tokio::test]
async fn the_cover_says_the_time_of_the_senders_zone_when_the_mail_tells_it() {
    let stage = stage(DONE, &tiff()).await;
    let faxes = stage.submit(MAIL, |message| message.options.cover = Some("plain".to_owned())).await;
    let record = stage.record(faxes[0]).await;
    for (date, expected) in [
        ("Date: Fri, 15 Jan 2027 17:00:00 +0900\r\n", "15 January 2027, 17:00 +09:00"),
        ("Date: Fri, 15 Jan 2027 08:00:00 +0000\r\n", "15 January 2027, 08:00 +00:00"),
        ("Date: yesterday\r\n", "15 January 2027, 08:00 +00:00"),
        ("", "15 January 2027, 08:00 +00:00"),
    ] {
        let mail = mime::read(format!("{date}\r\ntext").as_bytes()).unwrap();
        let prepared = Prepared { zone: mail.zone(), ..Prepared::default() };
        let order = orders::finish(&record.message, &record.fax, prepared, None, &stage.renderer.settings);
        assert_eq!(order.cover.unwrap().date, expected, "{date}");
        assert_eq!(order.header.unwrap().date, "2027-01-15 08:00 +0000", "the line says the time of the machine");
    }
}
