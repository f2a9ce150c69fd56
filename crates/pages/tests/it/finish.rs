//! The pages of one fax as they are sent.

use crate::common::*;
use pages::{ConvertOrder, CoverFields, ErrorKind, FinishOrder, HeaderLine, Paper, Quality, RestampOrder, Text};

fn header() -> HeaderLine {
    HeaderLine {
        remark: String::new(),
        date: "2026-11-22 04:31 +0100".to_owned(),
        sender: "Contoso Ltd".to_owned(),
        sender_number: "+1 214 555 0100".to_owned(),
        to_number: "+41441234567".to_owned(),
    }
}

fn cover(note: &str) -> CoverFields {
    CoverFields {
        template: "plain".to_owned(),
        to_name: Some("Anna Meier".to_owned()),
        to_number: "+41441234567".to_owned(),
        from_name: Some("株式会社 Contoso".to_owned()),
        subject: "Offer 4711".to_owned(),
        date: "22 November 2026".to_owned(),
        note: Some(Text::Plain(note.to_owned())),
        ..CoverFields::default()
    }
}

fn order(document: Option<Vec<u8>>) -> FinishOrder {
    FinishOrder {
        max_pages: 50,
        document,
        cover: Some(cover("Hello")),
        header: Some(header()),
        ..FinishOrder::default()
    }
}

async fn document(pages: usize) -> Vec<u8> {
    convert(vec![part("a.pdf", simple_pdf(pages))]).await.unwrap().bytes
}

#[tokio::test]
async fn cover_document_and_header_line_make_a_fax_and_the_same_order_gives_the_same_octets() {
    let document = document(2).await;
    let once = converter().finish(order(Some(document.clone()))).await.unwrap();
    assert_eq!(once.pages, ["cover page", "pages of the document", "pages of the document"]);
    let again = converter().finish(order(Some(document))).await.unwrap();
    assert!(once == again);
    for page in bitmaps(&once.bytes) {
        assert!(ink(&page, (30, 2, 970, 15)) > 0.01, "the header line is there");
    }
}

#[tokio::test]
async fn another_header_line_changes_its_page_above_the_content_alone() {
    // 5 mm of 3.85, 7.7 and 15.4 rows.
    for (quality, band) in [(Quality::Standard, 19), (Quality::Fine, 39), (Quality::Superfine, 77)] {
        let document = document(3).await;
        let fax = converter().finish(FinishOrder { quality, ..order(Some(document)) }).await.unwrap().bytes;
        let header = HeaderLine { remark: "continued, call 2".to_owned(), ..header() };
        let restamp = |page| RestampOrder { document: fax.clone(), page, header: header.clone() };
        let again = converter().restamp(restamp(3)).await.unwrap();
        assert_eq!(again.page_count(), 4);
        let (before, after) = (bitmaps(&fax), bitmaps(&again.bytes));
        for (index, (before, after)) in before.iter().zip(&after).enumerate() {
            assert_eq!(before.height(), after.height());
            let changed: Vec<u32> = (0..before.height()).filter(|y| before.row(*y) != after.row(*y)).collect();
            assert_eq!(changed.is_empty(), index != 2, "page {index}");
            assert!(changed.iter().all(|y| *y < band), "page {index}: {changed:?}");
        }
        for page in [0, 5] {
            assert_eq!(converter().restamp(restamp(page)).await.unwrap_err().kind, ErrorKind::Damaged);
        }
    }
}

#[tokio::test]
async fn the_header_line_covers_nothing() {
    // A page that is black up to its upper edge.
    let black = pdf(&[A4], |_, content, (width, height)| {
        content.rect(0.0, height - 300.0, width, 300.0).fill_nonzero();
    });
    for quality in [Quality::Standard, Quality::Fine] {
        let parts = vec![part("black.pdf", black.clone())];
        let order = ConvertOrder { quality, ..crate::common::order(parts) };
        let plain = converter().convert(order).await.unwrap().bytes;
        let bare = FinishOrder { quality, max_pages: 9, document: Some(plain.clone()), ..FinishOrder::default() };
        let unchanged = converter().finish(bare.clone()).await.unwrap();
        assert!(bitmaps(&unchanged.bytes) == bitmaps(&plain), "no cover, no header: the same pixels");
        let stamped = converter().finish(FinishOrder { header: Some(header()), ..bare }).await.unwrap();
        let [before, after] = [&plain, &stamped.bytes].map(|tiff| bitmaps(tiff).remove(0));
        let black = |page: &fax_image::Bitmap| (0..page.height()).filter(|y| page.get(864, *y)).count();
        assert!(after.black_pixels() > before.black_pixels());
        assert_eq!(black(&after), black(&before), "every black row is still there");
        assert_eq!(after.height(), before.height(), "there was white at the bottom to move into");
    }
}

#[tokio::test]
async fn the_cover_tells_the_true_number_of_pages() {
    let document = document(8).await;
    // One page of cover and eight of document are nine; a longer text makes it ten: the cover must differ from one that
    // says nine, and must be the same whatever way it got there.
    let short = converter().finish(order(Some(document.clone()))).await.unwrap();
    assert_eq!(short.page_count(), 9);
    let long = FinishOrder { cover: Some(cover(&"A line of text.\n".repeat(60))), ..order(Some(document)) };
    let long = converter().finish(long).await.unwrap();
    assert_eq!(long.page_count(), 10);
    assert_eq!(long.pages[..2], ["cover page", "cover page"]);
}

#[tokio::test]
async fn a_cover_alone_is_a_fax() {
    for paper in [Paper::A4, Paper::Letter, Paper::Legal] {
        let finished = converter().finish(FinishOrder { paper, ..order(None) }).await.unwrap();
        let [page] = <[_; 1]>::try_from(bitmaps(&finished.bytes)).unwrap();
        assert_eq!(page.height(), pages::page_rows(paper, Quality::Fine));
        assert!(ink(&page, (50, 50, 950, 500)) > 0.01);
    }
}

#[tokio::test]
async fn orders_that_cannot_be_finished_say_why() {
    let document = document(3).await;
    for (kind, order) in [
        (ErrorKind::Empty, FinishOrder { cover: None, ..order(None) }),
        (ErrorKind::TooManyPages, FinishOrder { max_pages: 3, ..order(Some(document.clone())) }),
        (ErrorKind::TooManyPages, FinishOrder { max_pages: 2, cover: None, ..order(Some(document.clone())) }),
        (ErrorKind::Damaged, order(Some(b"no TIFF".to_vec()))),
    ] {
        let error = converter().finish(order).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
    }
}

#[tokio::test]
async fn a_thumbnail_is_a_png_with_the_proportions_of_paper() {
    for quality in [Quality::Standard, Quality::Superfine] {
        let order = ConvertOrder { quality, ..crate::common::order(vec![part("a.pdf", simple_pdf(2))]) };
        let document = converter().convert(order).await.unwrap().bytes;
        let png = converter().thumbnail(document.clone(), 2, 300).await.unwrap();
        let image = image::load_from_memory(&png).unwrap();
        assert_eq!(image.width(), 300);
        assert!((410..=418).contains(&image.height()), "{quality:?}: {}", image.height());
        assert!(converter().thumbnail(document, 3, 300).await.is_err());
    }
}

#[tokio::test]
async fn fields_of_the_mail_are_never_markup() {
    let hostile = CoverFields {
        subject: "</td></table><h1>x</h1>{{to_number}}\u{1b}[2J\u{0}\u{202e}".to_owned(),
        to_name: Some("<img src=file:///etc/passwd>".repeat(100)),
        ..cover("<script>while(1);</script>\u{0}\u{7f}")
    };
    let finished = converter().finish(FinishOrder { cover: Some(hostile), ..order(None) }).await.unwrap();
    assert!(bitmaps(&finished.bytes)[0].black_pixels() > 1000);
}
