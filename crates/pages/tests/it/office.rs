//! Office documents through LibreOffice, and archives: real files, real sandbox. What is not installed is an error of these
//! tests and not a reason to skip them: `tools/install-packages` installs it.

use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::common::*;
use pages::{Converter, ErrorKind, Formats, Limits, Part, Suite, SuiteSettings, ZipPolicy};

const PROGRAM: &str = "/usr/lib/libreoffice/program";

macro_rules! data {
    ($name:literal) => {
        part($name, &include_bytes!(concat!("../data/", $name))[..])
    };
}

fn suite(documents_max: u32) -> Suite {
    Suite::new(SuiteSettings { program: PathBuf::from(PROGRAM), documents_max, memory_bytes: 2 << 30 })
}

fn formats(suite: &Suite, zip: ZipPolicy) -> Formats {
    Formats { zip, suite: Some(Ok(suite.clone())), ..Formats::default() }
}

fn office(suite: &Suite) -> Converter {
    let limits = Limits { wall: Duration::from_secs(120), processes: 1, ..Limits::default() };
    limited(limits).with_formats(formats(suite, ZipPolicy::Render))
}

/// Whether a process has ended.
fn is_gone(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.is_empty() || stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

/// Every process below this one.
fn descendants(process: u32) -> Vec<u32> {
    let mut found = vec![process];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        let tasks = std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        }
        next += 1;
    }
    found
}

async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn every_office_format_becomes_its_pages_from_one_warm_libreoffice() {
    let suite = suite(20);
    suite.check().await.unwrap();
    let parts = vec![
        data!("letter.doc"),
        data!("letter.docx"),
        data!("letter.odt"),
        data!("letter.rtf"),
        data!("table.xls"),
        data!("table.xlsx"),
        data!("table.ods"),
        data!("slides.odp"),
        data!("slides.pptx"),
        data!("slides.ppt.zip"),
    ];
    let converted = office(&suite).convert(order(parts)).await.unwrap();
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for page in &converted.pages {
        match counts.last_mut() {
            Some((name, count)) if name == page => *count += 1,
            _ => counts.push((page, 1)),
        }
    }
    assert_eq!(
        counts,
        [
            ("letter.doc", 2),
            ("letter.docx", 2),
            ("letter.odt", 2),
            ("letter.rtf", 2),
            ("table.xls", 1),
            ("table.xlsx", 1),
            ("table.ods", 1),
            ("slides.odp", 1),
            ("slides.pptx", 1),
            ("slides.ppt.zip/slides.ppt", 1),
        ]
    );
    let pages = bitmaps(&converted.bytes);
    assert!(pages.iter().all(|page| page.black_pixels() > 300), "no page is empty");
    // The same letter looks the same whatever it was saved as: its heading stands in the upper left.
    for letter in [0, 2, 4, 6] {
        assert!(ink(&pages[letter], (80, 50, 500, 120)) > 0.01, "letter {letter}");
        assert!(ink(&pages[letter], (0, 500, 1000, 1000)) < 0.001, "letter {letter}");
    }
    assert_eq!(suite.idle_processes().len(), 1, "all ten went through one");
}

#[tokio::test]
async fn a_password_is_a_password_and_rubbish_is_damage() {
    let suite = suite(20);
    let converter = office(&suite);
    for locked in [data!("locked.doc"), data!("locked.docx"), data!("locked.odt"), data!("locked.xls")] {
        let name = locked.name.clone();
        let error = converter.convert(order(vec![locked])).await.unwrap_err();
        assert_eq!((error.kind, error.part.as_deref()), (ErrorKind::Encrypted, Some(name.as_str())), "{error}");
    }
    let mut cut = data!("letter.docx");
    cut.bytes.truncate(2000);
    let error = converter.convert(order(vec![text("fine"), cut])).await.unwrap_err();
    assert_eq!((error.kind, error.part.as_deref()), (ErrorKind::Damaged, Some("letter.docx")), "{error}");
    // And the next document finds a LibreOffice that works.
    assert_eq!(converter.convert(order(vec![data!("letter.odt")])).await.unwrap().page_count(), 2);
}

#[tokio::test]
async fn a_letter_with_more_pages_than_allowed_is_said_to_have_them() {
    let suite = suite(1);
    let one_page = pages::ConvertOrder { max_pages: 1, ..order(vec![data!("letter.docx")]) };
    let error = office(&suite).convert(one_page).await.unwrap_err();
    assert_eq!((error.kind, error.part.as_deref()), (ErrorKind::TooManyPages, Some("letter.docx")), "{error}");
}

#[tokio::test]
async fn libreoffice_ends_after_its_number_of_documents_and_with_its_owner() {
    let suite = suite(2);
    let converter = office(&suite);
    converter.convert(order(vec![data!("letter.odt")])).await.unwrap();
    let [process] = suite.idle_processes()[..] else { panic!("one waits") };
    let everything = descendants(process);
    assert!(everything.len() >= 4, "bubblewrap, its first process, python and soffice: {everything:?}");
    converter.convert(order(vec![data!("letter.odt")])).await.unwrap();
    assert!(suite.idle_processes().is_empty(), "two were allowed");
    wait_until("all are killed", || everything.iter().all(|process| is_gone(*process))).await;
    // Whoever drops the suite ends what waits.
    converter.convert(order(vec![data!("letter.odt")])).await.unwrap();
    let [process] = suite.idle_processes()[..] else { panic!("one waits") };
    let everything = descendants(process);
    drop((converter, suite));
    wait_until("all are killed", || everything.iter().all(|process| is_gone(*process))).await;
}

#[tokio::test]
async fn what_takes_too_long_is_killed_with_everything_it_started() {
    let suite = suite(5);
    office(&suite).convert(order(vec![data!("letter.odt")])).await.unwrap();
    let [process] = suite.idle_processes()[..] else { panic!("one waits") };
    let everything = descendants(process);
    let limits = Limits { wall: Duration::from_millis(1), ..Limits::default() };
    let hasty = limited(limits).with_formats(formats(&suite, ZipPolicy::Refuse));
    let error = hasty.convert(order(vec![data!("slides.pptx")])).await.unwrap_err();
    assert_eq!((error.kind, error.part.as_deref()), (ErrorKind::Damaged, Some("slides.pptx")), "{error}");
    wait_until("all are killed", || everything.iter().all(|process| is_gone(*process))).await;
}

/// An OpenDocument text with this body.
fn odt(body: &str) -> Vec<u8> {
    let names = "xmlns:office=\"urn:oasis:names:tc:opendocument:xmlns:office:1.0\" \
        xmlns:text=\"urn:oasis:names:tc:opendocument:xmlns:text:1.0\" \
        xmlns:draw=\"urn:oasis:names:tc:opendocument:xmlns:drawing:1.0\" \
        xmlns:svg=\"urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0\" \
        xmlns:xlink=\"http://www.w3.org/1999/xlink\"";
    let content = format!(
        "<?xml version=\"1.0\"?><office:document-content {names} office:version=\"1.3\"><office:body><office:text>{body}\
         </office:text></office:body></office:document-content>"
    );
    let manifest = "<?xml version=\"1.0\"?><m:manifest xmlns:m=\"urn:oasis:names:tc:opendocument:xmlns:manifest:1.0\">\
         <m:file-entry m:full-path=\"/\" m:media-type=\"application/vnd.oasis.opendocument.text\"/>\
         <m:file-entry m:full-path=\"content.xml\" m:media-type=\"text/xml\"/></m:manifest>";
    stored_zip(&[
        ("mimetype", b"application/vnd.oasis.opendocument.text"),
        ("content.xml", content.as_bytes()),
        ("META-INF/manifest.xml", manifest.as_bytes()),
    ])
}

/// An archive of stored members.
fn stored_zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut zip, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let size = (content.len() as u32).to_le_bytes();
        let mut shared = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        shared.extend(crc32fast::hash(content).to_le_bytes());
        shared.extend([size, size].concat());
        shared.extend([name.len() as u8, 0, 0, 0]);
        directory.extend([&b"PK\x01\x02\x14\0"[..], &shared, &[0; 10], &(zip.len() as u32).to_le_bytes()].concat());
        directory.extend(name.bytes());
        zip.extend([&b"PK\x03\x04"[..], &shared, name.as_bytes(), content].concat());
    }
    let (start, count) = ((zip.len() as u32).to_le_bytes(), (files.len() as u16).to_le_bytes());
    let size = (directory.len() as u32).to_le_bytes();
    zip.extend(directory);
    zip.write_all(&[&b"PK\x05\x06\0\0\0\0"[..], &count, &count, &size, &start, &[0, 0]].concat()).unwrap();
    zip
}

#[tokio::test]
async fn nothing_a_document_links_to_is_fetched() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/pixel.png", listener.local_addr().unwrap());
    let body = format!(
        "<text:p>A linked picture:</text:p><text:p><draw:frame svg:width=\"5cm\" svg:height=\"5cm\"><draw:image \
         xlink:href=\"{url}\" xlink:type=\"simple\" xlink:show=\"embed\" xlink:actuate=\"onLoad\"/></draw:frame></text:p>"
    );
    let suite = suite(5);
    let converted = office(&suite).convert(order(vec![part("linked.odt", odt(&body))])).await.unwrap();
    assert_eq!(converted.page_count(), 1);
    let asked = listener.accept().map(drop).unwrap_err().kind();
    assert_eq!(asked, std::io::ErrorKind::WouldBlock, "nobody has connected");
}

#[tokio::test]
async fn a_document_sees_no_file_of_the_gateway() {
    let secret = tempfile::tempdir().unwrap();
    let path = secret.path().join("secret.png");
    std::fs::write(&path, encoded(&half_black(400, 400), image::ImageFormat::Png)).unwrap();
    let body = |href: &str| {
        format!(
            "<text:p>x</text:p><text:p><draw:frame svg:width=\"12cm\" svg:height=\"12cm\"><draw:image xlink:href=\"{href}\" \
             xlink:type=\"simple\" xlink:show=\"embed\" xlink:actuate=\"onLoad\"/></draw:frame></text:p>"
        )
    };
    let suite = suite(5);
    let linked = odt(&body(&format!("file://{}", path.display())));
    let converted = office(&suite).convert(order(vec![part("linked.odt", linked)])).await.unwrap();
    let [page] = <[_; 1]>::try_from(bitmaps(&converted.bytes)).unwrap();
    // The picture would be half black: 6 by 12 cm of a page of 21 by 29.
    assert!(ink(&page, (0, 0, 1000, 1000)) < 0.02, "the picture is not on the page");
}

#[tokio::test]
async fn a_macro_does_not_run() {
    // Opened by a LibreOffice that allows macros it never ends: it loops.
    let suite = suite(5);
    let converted = office(&suite).convert(order(vec![data!("macro.odt")])).await.unwrap();
    assert_eq!(converted.page_count(), 1);
}

#[tokio::test]
async fn an_archive_is_refused_listed_or_rendered() {
    let archive = stored_zip(&[("b.txt", b"second"), ("a/scan.pdf", &simple_pdf(2)), ("c.txt", b"third")]);
    let attached = |name: &str| Part { name: name.to_owned(), bytes: archive.clone(), ..Part::default() };
    let with = |zip| converter().with_formats(Formats { zip, ..Formats::default() });
    let error = with(ZipPolicy::Refuse).convert(order(vec![attached("x.zip")])).await.unwrap_err();
    assert_eq!((error.kind, error.part.as_deref()), (ErrorKind::Unsupported, Some("x.zip")), "{error}");
    assert!(error.detail.contains("b.txt, a/scan.pdf, c.txt"), "{error}");
    let listed = with(ZipPolicy::List).convert(order(vec![attached("x.zip"), text("after")])).await.unwrap();
    assert_eq!(listed.pages, ["x.zip", "note.txt"]);
    let rendered = with(ZipPolicy::Render).convert(order(vec![attached("x.zip"), text("after")])).await.unwrap();
    assert_eq!(rendered.pages, ["x.zip/b.txt", "x.zip/a/scan.pdf", "x.zip/a/scan.pdf", "x.zip/c.txt", "note.txt"]);
}

#[tokio::test]
async fn a_member_that_cannot_become_pages_refuses_the_whole_by_name() {
    let archive = stored_zip(&[("fine.txt", b"fine"), ("setup.exe", b"MZ\x90\0")]);
    let converter = converter().with_formats(Formats { zip: ZipPolicy::Render, ..Formats::default() });
    let error = converter.convert(order(vec![part("x.zip", archive)])).await.unwrap_err();
    assert_eq!((error.kind, error.part.as_deref()), (ErrorKind::Unsupported, Some("x.zip/setup.exe")), "{error}");
}
