//! Bombs and crashes cost one document. The gateway lives on and knows whose fault it was.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::common::*;
use pages::{Converter, ErrorKind, Limits, Part, Sandbox};

/// A PNG that says it is this large: header, a little data, end.
fn huge_png(width: u32, height: u32) -> Vec<u8> {
    let mut png = encoded(&half_black(8, 8), image::ImageFormat::Png);
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let crc = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&crc.to_be_bytes());
    png
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

/// A GIF89a header for this size and a frame without data.
fn huge_gif() -> Vec<u8> {
    let mut gif = b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff".to_vec();
    gif.extend(b",\0\0\0\0\xff\xff\xff\xff\0\x08\x01\0\0;");
    gif
}

fn looping_tiff() -> Vec<u8> {
    let mut tiff = b"II*\0\x08\0\0\0".to_vec();
    tiff.extend([1, 0, 0, 1, 3, 0, 1, 0, 0, 0, 64, 0, 0, 0]);
    tiff.extend(8_u32.to_le_bytes());
    tiff
}

/// Form `n` draws form `n + 1` twice: 2^60 drawings.
fn exponential_pdf() -> Vec<u8> {
    let mut pdf = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n\
        2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n\
        3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Resources<</XObject<</X 10 0 R>>>>/Contents 4 0 R>>endobj\n\
        4 0 obj<</Length 11>>stream\n/X Do /X Do\nendstream endobj\n"
        .to_vec();
    for n in 10..70 {
        let next = n + 1;
        pdf.extend(
            format!(
                "{n} 0 obj<</Type/XObject/Subtype/Form/BBox[0 0 600 800]/Resources<</XObject<</X {next} 0 R>>>>\
                 /Length 11>>stream\n/X Do /X Do\nendstream endobj\n"
            )
            .bytes(),
        );
    }
    pdf.extend(
        b"70 0 obj<</Type/XObject/Subtype/Form/BBox[0 0 600 800]/Length 9>>stream\n0 0 9 9 re\nendstream endobj\n",
    );
    pdf.extend(b"trailer<</Root 1 0 R>>\n%%EOF");
    pdf
}

fn recursive_pdf() -> Vec<u8> {
    String::from_utf8(exponential_pdf()).unwrap().replace("/X 11 0 R", "/X 10 0 R").into_bytes()
}

fn deep_html() -> Part {
    Part { media: "text/html".to_owned(), ..part("deep.html", "<div>".repeat(100_000) + "x") }
}

#[tokio::test]
async fn the_process_is_locked_up_completely() {
    // Needs Linux 5.13 with landlock switched on, as Debian and every other current distribution have it.
    assert_eq!(convert(vec![text("hello")]).await.unwrap().unlocked, None);
}

#[tokio::test]
async fn a_page_as_large_as_a_country_costs_no_more_than_any_other() {
    let sizes = [(14_400_000.0, 14_400_000.0), (1e30, 1e30), (0.001, 0.001), (1e9, 1.0)];
    for size in sizes {
        let giant = pdf(&[size], |_, content, (width, height)| {
            content.rect(0.0, 0.0, width, height).fill_nonzero();
        });
        let result = limited(Limits::default()).convert(order(vec![part("giant.pdf", giant)])).await;
        match result {
            Ok(converted) => assert_eq!(converted.page_count(), 1, "{size:?}"),
            Err(error) => assert_eq!(error.kind, ErrorKind::Damaged, "{size:?} {error}"),
        }
    }
}

#[tokio::test]
async fn bombs_are_damaged_documents() {
    let limits = Limits { wall: Duration::from_secs(20), ..Limits::default() };
    for bomb in [
        part("wide.png", huge_png(60_000, 60_000)),
        part("largest.png", huge_png(0x7fff_ffff, 0x7fff_ffff)),
        part("wide.gif", huge_gif()),
        part("loop.tif", looping_tiff()),
    ] {
        let name = bomb.name.clone();
        let error = limited(limits.clone()).convert(order(vec![text("fine"), bomb])).await.unwrap_err();
        assert_eq!((error.kind, error.part.as_deref()), (ErrorKind::Damaged, Some(name.as_str())), "{error}");
    }
}

#[tokio::test]
async fn what_never_ends_is_ended_and_what_recurses_stops_somewhere() {
    let limits = Limits { wall: Duration::from_secs(3), ..Limits::default() };
    for bomb in [part("exponential.pdf", exponential_pdf()), part("recursive.pdf", recursive_pdf()), deep_html()] {
        let name = bomb.name.clone();
        match limited(limits.clone()).convert(order(vec![bomb])).await {
            Ok(converted) => assert!(converted.page_count() <= 50, "{name}"),
            Err(error) => {
                assert_eq!((error.kind, error.part.as_deref()), (ErrorKind::Damaged, Some(name.as_str())), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn too_little_memory_is_damage_and_not_a_crash_of_the_gateway() {
    let limits = Limits { memory_bytes: 120 << 20, ..Limits::default() };
    let photo = encoded(&half_black(6000, 6000), image::ImageFormat::Bmp);
    let error = limited(limits).convert(order(vec![part("large.bmp", photo)])).await.unwrap_err();
    assert_eq!((error.kind, error.part.as_deref()), (ErrorKind::Damaged, Some("large.bmp")), "{error}");
    assert!(error.detail.contains("memory"), "{error}");
}

#[tokio::test]
async fn too_many_octets_are_refused() {
    let limits = Limits { output_bytes: 1000, ..Limits::default() };
    let noise = image::GrayImage::from_fn(1000, 1000, |x, y| image::Luma([((x * 7919 + y * 104_729) % 251) as u8]));
    let noise = encoded(&noise.into(), image::ImageFormat::Png);
    let error = limited(limits).convert(order(vec![part("noise.png", noise)])).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooLarge, "{error}");
}

/// A pretend converter: says that it is working on `b.pdf` and then does this.
fn pretend(script: &str) -> (tempfile::TempDir, Converter) {
    let directory = tempfile::tempdir().unwrap();
    let header = br#"{"answer":"working","part":"b.pdf"}"#;
    let mut frame = (header.len() as u32).to_be_bytes().to_vec();
    frame.extend([0; 4]);
    frame.extend(header);
    std::fs::write(directory.path().join("frame"), frame).unwrap();
    let program = directory.path().join("converter");
    let frame = directory.path().join("frame");
    std::fs::write(&program, format!("#!/bin/sh\ncat {}\n{script}\n", frame.display())).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let limits = Limits { wall: Duration::from_secs(2), ..Limits::default() };
    (directory, Converter::new(program, Vec::new(), limits))
}

#[tokio::test]
async fn every_way_in_which_a_converter_can_end_names_the_guilty_part() {
    for (script, reason) in [
        ("kill -SEGV $$", "crashed on it (signal 11)"),
        ("kill -KILL $$", "crashed on it (signal 9)"),
        ("echo memory allocation of 99999 bytes failed >&2; kill -ABRT $$", "needs more than 512 MiB of memory"),
        ("exit 101", "gave up on it (exit code 101)"),
        ("exec sleep 60", "needs more than 2 s"),
        ("kill -XCPU $$", "needs more than 2 s"),
        ("printf garbage; exit 0", "gave up on it (exit code 0)"),
        ("exec cat /dev/zero", "gave up on it (it babbles)"),
    ] {
        let (_directory, converter) = pretend(script);
        let parts = vec![part("a.pdf", simple_pdf(1)), part("b.pdf", simple_pdf(1))];
        let error = converter.convert(order(parts)).await.unwrap_err();
        assert_eq!((error.kind, error.part.as_deref()), (ErrorKind::Damaged, Some("b.pdf")), "{script}: {error}");
        assert!(error.detail.contains(reason), "{script}: {error}");
    }
}

#[tokio::test]
async fn a_converter_that_does_not_start_is_no_fault_of_a_document() {
    let nowhere = Converter::new(PathBuf::from("/nonexistent/converter"), Vec::new(), Limits::default());
    let error = nowhere.convert(order(vec![text("hello")])).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    assert!(error.part.is_none());
}

/// A converter that crashes over its first order and then is the real one.
fn crashes_once() -> (tempfile::TempDir, Converter) {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("converter");
    let (once, real) = (directory.path().join("once"), env!("CARGO_BIN_EXE_pages-worker"));
    let script = format!("#!/bin/sh\nif mkdir {}; then kill -SEGV $$; fi\nexec {real}\n", once.display());
    let script = script.replace("mkdir", "/bin/mkdir");
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    (directory, Converter::new(program, Vec::new(), Limits::default()))
}

#[tokio::test]
async fn one_crash_is_an_accident_and_the_second_one_the_documents_fault() {
    let (_directory, converter) = crashes_once();
    assert_eq!(converter.convert(order(vec![text("hello")])).await.unwrap().page_count(), 1);
    assert_eq!(converter.crashes(), 1);
    let (_directory, converter) = pretend("kill -SEGV $$");
    assert_eq!(converter.convert(order(vec![text("hello")])).await.unwrap_err().kind, ErrorKind::Damaged);
    assert_eq!(converter.crashes(), 2);
}

/// The real converter, which writes a line for each process.
fn counted(directory: &std::path::Path, orders: u32) -> Converter {
    let program = directory.join("converter");
    let real = env!("CARGO_BIN_EXE_pages-worker");
    std::fs::write(&program, format!("#!/bin/sh\necho >> {}\nexec {real}\n", directory.join("count").display()))
        .unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    Converter::new(program, Vec::new(), Limits { orders, processes: 1, ..Limits::default() })
}

#[tokio::test]
async fn processes_are_ready_before_the_order_and_replaced_after_some_and_after_every_failure() {
    let directory = tempfile::tempdir().unwrap();
    let processes = || std::fs::read_to_string(directory.path().join("count")).unwrap_or_default().len();
    let converter = counted(directory.path(), 2);
    assert_eq!(converter.warm_up().await.unwrap(), None);
    assert_eq!(processes(), 1);
    let same = |converter: Converter| async move { converter.convert(order(vec![text("hello")])).await.unwrap() };
    let first = same(converter.clone()).await;
    assert!(first == same(converter.clone()).await, "what a process did before changes nothing");
    assert!(first == same(converter.clone()).await, "nor does another process");
    assert_eq!(processes(), 2, "two orders each");
    let bomb = order(vec![part("wide.png", huge_png(60_000, 60_000))]);
    assert_eq!(converter.convert(bomb).await.unwrap_err().kind, ErrorKind::Damaged);
    assert!(first == same(converter).await);
    assert_eq!(processes(), 3, "nothing goes on after a failure");
}

#[tokio::test]
async fn a_kernel_that_cannot_lock_a_process_up_gets_no_document_unless_allowed() {
    let answer = br#"{"answer":"locked","open":"landlock: this kernel does not have it"}"#;
    let directory = tempfile::tempdir().unwrap();
    let mut frame = (answer.len() as u32).to_be_bytes().to_vec();
    frame.extend([0; 4]);
    frame.extend(answer);
    std::fs::write(directory.path().join("frame"), frame).unwrap();
    let program = directory.path().join("converter");
    let script = format!("#!/bin/sh\ncat {}\nexec sleep 600\n", directory.path().join("frame").display());
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let with = |sandbox| {
        let limits = Limits { sandbox, wall: Duration::from_secs(5), ..Limits::default() };
        Converter::new(program.clone(), Vec::new(), limits)
    };
    for error in [
        with(Sandbox::Required).warm_up().await.unwrap_err(),
        with(Sandbox::Required).convert(order(vec![text("hello")])).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
        assert!(error.detail.contains("this kernel does not have it") && error.detail.contains("fix:"), "{error}");
    }
    let open = with(Sandbox::BestEffort).warm_up().await.unwrap();
    assert_eq!(open.as_deref(), Some("landlock: this kernel does not have it"));
}

#[tokio::test]
async fn the_gateway_goes_on_after_a_crash() {
    let converter = limited(Limits { wall: Duration::from_secs(30), processes: 1, ..Limits::default() });
    for _ in 0..2 {
        assert!(converter.convert(order(vec![part("wide.png", huge_png(60_000, 60_000))])).await.is_err());
        assert_eq!(converter.convert(order(vec![text("fine")])).await.unwrap().page_count(), 1);
    }
}
