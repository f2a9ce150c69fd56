//! Texts as mails have them: HTML with its pictures, quotes, long runs, and nothing from elsewhere.

use std::io::ErrorKind as IoErrorKind;
use std::net::TcpListener;

use crate::common::*;
use pages::{ConvertOrder, Converted, CoverFields, ErrorKind, FinishOrder, Inline, Paper, Text};

async fn laid_out(html: &str, inline: Vec<Inline>) -> Result<Converted, pages::ConvertError> {
    let order = ConvertOrder { body: Some(Text::Html(html.to_owned())), inline, ..order(Vec::new()) };
    converter().convert(order).await
}

fn black(width: u32, height: u32) -> Vec<u8> {
    let image = image::GrayImage::from_pixel(width, height, image::Luma([0]));
    encoded(&image.into(), image::ImageFormat::Png)
}

fn inline(id: &str, bytes: Vec<u8>) -> Inline {
    Inline { id: id.to_owned(), name: format!("{id}.png"), bytes }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let sextets = |chunk: &[u8]| {
        let octet = |n: usize| u32::from(chunk.get(n).copied().unwrap_or(0));
        let word = octet(0) << 16 | octet(1) << 8 | octet(2);
        (0..4)
            .map(|n| char::from(DIGITS[(word >> (18 - 6 * n) & 63) as usize]))
            .take(chunk.len() + 1)
            .collect::<String>()
    };
    bytes.chunks(3).map(sextets).collect()
}

#[tokio::test]
async fn pictures_of_the_mail_stand_in_their_places_in_their_size() {
    // 300 × 150 at 96 dots to the inch: 79 × 40 mm of the 215 × 297 mm page, at its left margin of 18 mm.
    for html in [
        "<p>above</p><img src=\"cid:photo@x\"><p>below</p>".to_owned(),
        "<p>above</p><img src=\"cid:photo%40x\" width=\"300\"><p>below</p>".to_owned(),
        "<p>above</p><img src='cid:photo@x' style='width:300px;height:auto'><p>below</p>".to_owned(),
        format!("<p>above</p><img src=\"data:image/png;base64,{}\"><p>below</p>", base64(&black(300, 150))),
    ] {
        let converted = laid_out(&html, vec![inline("photo@x", black(300, 150))]).await.unwrap();
        let shown: String = html.chars().take(90).collect();
        assert_eq!(converted.page_count(), 1, "{shown}");
        let [page] = <[_; 1]>::try_from(bitmaps(&converted.bytes)).unwrap();
        let rows: Vec<u32> = (0..page.height()).filter(|y| ink_of_row(&page, *y) > 500).collect();
        // 39.7 mm of 7.7 rows.
        assert!((296..=316).contains(&rows.len()), "{shown}: {} rows", rows.len());
        let row = rows[rows.len() / 2];
        // 79.4 mm of 8.04 pixels.
        assert!((620..=655).contains(&ink_of_row(&page, row)), "{shown}: {} pixels", ink_of_row(&page, row));
        assert!(ink(&page, (80, 30, 250, rows[0] * 1000 / page.height())) > 0.001, "the text above is there");
    }
}

fn ink_of_row(page: &fax_image::Bitmap, y: u32) -> usize {
    (0..page.width()).filter(|x| page.get(*x, y)).count()
}

#[tokio::test]
async fn a_picture_wider_than_the_page_is_made_to_fit() {
    let converted = laid_out("<p>above</p><img src=cid:wide>", vec![inline("wide", black(4000, 1000))]).await.unwrap();
    let [page] = <[_; 1]>::try_from(bitmaps(&converted.bytes)).unwrap();
    let widest = (0..page.height()).map(|y| ink_of_row(&page, y)).max().unwrap();
    // 179 mm between the margins.
    assert!((1400..=1445).contains(&widest), "{widest}");
    assert!(ink(&page, (930, 0, 1000, 1000)) < 0.0001, "nothing in the margin");
}

#[tokio::test]
async fn a_layout_wider_than_the_page_is_made_smaller_and_loses_nothing() {
    let html = "<style>@page { size: 50mm 50mm; margin: 0 }</style><table width=\"1000\" style=\"width:1000px\"><tr>\
                <td>left</td><td style=\"text-align:right\"><div style=\"background:#000;width:40px;height:40px;\
                margin-left:400px\"></div></td></tr></table>";
    let converted = laid_out(html, Vec::new()).await.unwrap();
    assert!(converted.notes.iter().any(|note| note.contains("wider than the page")), "{:?}", converted.notes);
    let [page] = <[_; 1]>::try_from(bitmaps(&converted.bytes)).unwrap();
    assert!(ink(&page, (500, 0, 920, 200)) > 0.001, "the right side is there");
    assert!(ink(&page, (930, 0, 1000, 1000)) < 0.0001, "nothing in the margin");
}

#[tokio::test]
async fn a_picture_that_cannot_be_read_is_refused_unless_it_may_be_a_logo() {
    let noise: Vec<u8> = (0..30_000_u32).map(|n| ((n * 7919) >> 3) as u8).collect();
    let html = "<p>text</p><img src=cid:a>";
    let error = laid_out(html, vec![inline("a", noise.clone())]).await.unwrap_err();
    assert_eq!((error.kind, error.part.as_deref()), (ErrorKind::Damaged, Some("text of the mail")), "{error}");
    assert!(error.detail.contains("a.png"), "{error}");
    let converted = laid_out(html, vec![inline("a", noise[..900].to_vec())]).await.unwrap();
    assert!(converted.notes.iter().any(|note| note.contains("left out")), "{:?}", converted.notes);
    let tracker = laid_out("<p>text</p><img src=cid:a>", vec![inline("a", black(1, 1))]).await.unwrap();
    let without = laid_out("<p>text</p>", Vec::new()).await.unwrap();
    assert!(bitmaps(&tracker.bytes) == bitmaps(&without.bytes), "a tracker changes nothing");
}

#[tokio::test]
async fn nothing_is_fetched_and_no_file_is_read() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let at = listener.local_addr().unwrap();
    let html = format!(
        "<html><head><link rel=stylesheet href=\"http://{at}/a.css\"><link rel=stylesheet href=\"file:///etc/passwd\">\
         <style>@import url(http://{at}/b.css); @font-face {{ font-family: x; src: url(http://{at}/c.ttf) }} \
         body {{ background: url(http://{at}/d.png) }}</style><script src=\"http://{at}/e.js\"></script></head>\
         <body background=\"http://{at}/f.png\"><p>Words that stay</p><img src=\"http://{at}/g.png\" width=1 height=1>\
         <img src=\"http://{at}/h.png\"><img src=\"file:///etc/passwd\"><iframe src=\"http://{at}/i\"></iframe>\
         <object data=\"http://{at}/j\"></object><embed src=\"http://{at}/k\"><video src=\"http://{at}/l\"></video>\
         <svg><image href=\"http://{at}/m.png\"/></svg></body></html>"
    );
    let converted = laid_out(&html, Vec::new()).await.unwrap();
    assert!(ink(&bitmaps(&converted.bytes)[0], (80, 40, 500, 100)) > 0.001, "the words are there");
    assert!(converted.notes.iter().any(|note| note.ends_with("are not fetched: 1")), "{:?}", converted.notes);
    // A cover too.
    let source = format!("<img src=\"http://{at}/n.png\">{{{{to_number}}}} {{{{date}}}} {{{{pages}}}} {{{{&note}}}}");
    let cover = CoverFields { template: "own".to_owned(), source: Some(source), ..CoverFields::default() };
    converter().finish(FinishOrder { max_pages: 5, cover: Some(cover), ..FinishOrder::default() }).await.unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), IoErrorKind::WouldBlock, "nobody asked");
}

#[tokio::test]
async fn hidden_text_stays_hidden_and_long_runs_lose_nothing() {
    let hidden = laid_out("<div style='display:none'>preheader</div><p>seen</p>", Vec::new()).await.unwrap();
    let seen = laid_out("<p>seen</p>", Vec::new()).await.unwrap();
    assert!(bitmaps(&hidden.bytes)[0].black_pixels() == bitmaps(&seen.bytes)[0].black_pixels());
    // What made the engine panic: one run of 180 kB with a character of two octets in it.
    let long = format!("{}§{}", "lorem ipsum ".repeat(9000), "dolor sit ".repeat(7000));
    let plain = converter().convert(ConvertOrder { body: Some(Text::Plain(long.clone())), ..order(Vec::new()) }).await;
    let plain = plain.unwrap();
    let html = laid_out(&format!("<pre>{long}</pre>"), Vec::new()).await.unwrap();
    for converted in [&plain, &html] {
        assert!((20..=50).contains(&converted.page_count()), "{} {:?}", converted.page_count(), converted.notes);
    }
}

#[tokio::test]
async fn frames_of_tables_and_bullets_of_lists_are_there() {
    let ink_of =
        |html: &'static str| async move { bitmaps(&laid_out(html, Vec::new()).await.unwrap().bytes)[0].black_pixels() };
    let (framed, bare) = (
        ink_of("<table border=1 width=400><tr><td>cell</td></tr></table>").await,
        ink_of("<table border=0 width=400><tr><td>cell</td></tr></table>").await,
    );
    // Two frames of 106 mm by some 8 mm, 2 pixels thick or so.
    assert!(framed > bare + 3000, "{framed} {bare}");
    let (with, without) = (
        ink_of("<ul><li>one</li><li>two</li></ul>").await,
        ink_of("<ul style='list-style:none'><li>one</li><li>two</li></ul>").await,
    );
    assert!(with > without + 50, "{with} {without}");
}

#[tokio::test]
async fn quotes_are_marked_at_their_side() {
    let page = |text: &str| {
        let order = ConvertOrder { body: Some(Text::Plain(text.to_owned())), ..order(Vec::new()) };
        async move { bitmaps(&converter().convert(order).await.unwrap().bytes).remove(0) }
    };
    let wrapped = format!("> {}", "quoted words ".repeat(20));
    let (quoted, plain) = (page(&wrapped).await, page(&wrapped.replace("> ", "")).await);
    // A bar along the margin: a column of ink as tall as the lines.
    let bar = |page: &fax_image::Bitmap| {
        (130..170).map(|x| (0..page.height()).filter(|y| page.get(x, *y)).count()).max().unwrap()
    };
    assert!(bar(&quoted) > 100 && bar(&quoted) > 2 * bar(&plain), "{} {}", bar(&quoted), bar(&plain));
}

#[tokio::test]
async fn each_script_is_drawn_with_its_own_letters() {
    // A script without its font would be boxes, all alike: two different words of it must differ.
    for (one, other) in [
        ("你好世界", "谢谢你们"),
        ("こんにちは", "ありがとう"),
        ("안녕하세요", "감사합니다"),
        ("مرحبا", "شكرا"),
        ("שלום", "תודה"),
        ("नमस्ते", "धन्यवाद"),
        ("สวัสดี", "ขอบคุณ"),
        ("বাংলা", "ধন্যবাদ"),
    ] {
        let page = |text: &str| {
            let html = format!("<p>{text}</p>");
            async move { laid_out(&html, Vec::new()).await.unwrap() }
        };
        let (first, second) = (page(one).await, page(other).await);
        assert!(bitmaps(&first.bytes)[0] != bitmaps(&second.bytes)[0], "{one}");
        assert!(first.notes.is_empty(), "{one}: {:?}", first.notes);
    }
}

#[tokio::test]
async fn every_cover_that_ships_fits_every_paper_and_a_broken_one_costs_no_fax() {
    for (name, _) in pages::shipped_covers() {
        for paper in [Paper::A4, Paper::Letter] {
            let cover = CoverFields {
                template: name.to_owned(),
                to_number: "+41441234567".to_owned(),
                date: "today".to_owned(),
                note: Some(Text::Plain("Hello\n> quoted\n".to_owned())),
                ..CoverFields::default()
            };
            let order = FinishOrder { paper, max_pages: 3, cover: Some(cover), ..FinishOrder::default() };
            let finished = converter().finish(order).await.unwrap();
            assert_eq!((finished.page_count(), finished.drawn_by), (1, vec![format!("cover {name}")]));
            assert!(finished.notes.is_empty(), "{name}: {:?}", finished.notes);
        }
    }
    for (source, why) in [("{{unknown}}", "no field"), ("<p style='height:9000mm'>{{to}}", "pages"), ("", "cover")] {
        let source = (!source.is_empty()).then(|| source.to_owned());
        let cover = CoverFields { template: "own".to_owned(), source, ..CoverFields::default() };
        let order = FinishOrder { max_pages: 3, cover: Some(cover), ..FinishOrder::default() };
        let finished = converter().finish(order).await.unwrap();
        assert_eq!(finished.drawn_by, ["cover plain"], "{why}");
        assert!(finished.notes[0].contains("the plain cover stands in for \"own\""), "{:?}", finished.notes);
        assert!(finished.notes[0].contains(why), "{:?}", finished.notes);
    }
}
