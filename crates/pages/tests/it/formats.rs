//! Every format and charset becomes the pages it should.

use crate::common::*;
use fax_image::Ink;
use fax_image::tiff::{Profile, Resolution, TiffPage, write_document};
use image::ImageFormat;
use pages::{ConvertOrder, ErrorKind, Paper, Part, Quality, Text};

#[tokio::test]
async fn parts_become_pages_in_the_order_of_the_mail() {
    let photo = encoded(&half_black(800, 600), ImageFormat::Jpeg);
    let parts = vec![part("a.pdf", simple_pdf(2)), text("hello"), part("photo", photo)];
    let order = ConvertOrder { body: Some(Text::Plain("Dear Sir".to_owned())), ..order(parts) };
    let converted = converter().convert(order).await.unwrap();
    assert_eq!(converted.pages, ["text of the mail", "a.pdf", "a.pdf", "note.txt", "photo"]);
    for page in bitmaps(&converted.bytes) {
        assert_eq!((page.width(), page.height()), (1728, rows(Quality::Fine)));
        assert!(page.black_pixels() > 100);
    }
}

#[tokio::test]
async fn pages_have_the_chosen_paper_and_density() {
    for (paper, quality) in [(Paper::Letter, Quality::Standard), (Paper::Legal, Quality::Superfine)] {
        let parts = vec![part("a.pdf", simple_pdf(1)), text("hello")];
        let converted = converter().convert(ConvertOrder { paper, quality, ..order(parts) }).await.unwrap();
        for page in bitmaps(&converted.bytes) {
            assert_eq!(page.height(), pages::page_rows(paper, quality), "{paper:?} {quality:?}");
            assert!(page.black_pixels() > 100);
        }
    }
}

#[tokio::test]
async fn a_pdf_page_stands_where_it_should_and_landscape_is_turned() {
    let landscape = pdf(&[(A4.1, A4.0)], |_, content, (_, height)| {
        content.rect(0.0, height - 100.0, 100.0, 100.0).fill_nonzero();
    });
    let parts = vec![part("upright.pdf", simple_pdf(1)), part("landscape.pdf", landscape)];
    let converted = convert(parts).await.unwrap();
    let [upright, turned] = <[_; 2]>::try_from(bitmaps(&converted.bytes)).unwrap();
    assert!(ink(&upright, (15, 0, 170, 115)) > 0.99, "the square is at the upper left");
    assert!(ink(&upright, (200, 0, 1000, 200)) < 0.001);
    // Clockwise: the upper left corner goes to the upper right.
    assert!(ink(&turned, (830, 0, 985, 115)) > 0.99, "the square is at the upper right");
    assert!(ink(&turned, (0, 0, 800, 1000)) < 0.001);
}

#[tokio::test]
async fn fax_pages_keep_their_pixels() {
    let mut fine = fax_image::Bitmap::white(1728, 1100).unwrap();
    (0..1100).for_each(|y| fine.set(y * 3 % 1728, y, Ink::Black));
    let standard = fine.crop_rows(0..900);
    let tiff = write_document(&[
        TiffPage::new(&fine, Resolution::FINE, Profile::S),
        TiffPage::new(&standard, Resolution::STANDARD, Profile::S),
    ])
    .unwrap();
    let converted = convert(vec![part("fax.tif", tiff)]).await.unwrap();
    let [first, second] = <[_; 2]>::try_from(bitmaps(&converted.bytes)).unwrap();
    assert_eq!(first.crop_rows(0..1100), fine, "same density: the same pixels");
    assert_eq!(first.height(), rows(Quality::Fine));
    assert!((1100..first.height()).all(|y| first.is_row_white(y)));
    // 900 rows at 3.85 lines to the millimetre are 1800 at 7.7.
    let last = (0..second.height()).rev().find(|y| !second.is_row_white(*y)).unwrap();
    assert!((1780..1820).contains(&last), "{last}");
}

/// Two texts of the same length in each script: without glyphs both would be the same row of boxes.
#[tokio::test]
async fn every_script_has_glyphs() {
    for (script, one, other) in [
        ("Latin", "Grüße aus Łódź", "Ærøskøbing čeká"),
        ("Greek", "Καλημέρα", "Ευχαριστ"),
        ("Cyrillic", "Привет", "Спасиб"),
        ("Hebrew", "שלום", "תודה"),
        ("Arabic", "مرحبا", "شكراه"),
        ("Devanagari", "नमस्ते", "धन्यवा"),
        ("Thai", "สวัสดี", "ขอบคุณ"),
        ("Tamil", "வணக்கம்", "நன்றியுடன"),
        ("Bengali", "নমস্কার", "ধন্যবাদ"),
        ("Georgian", "გამარჯობა", "მადლობააა"),
        ("Armenian", "Բարեւ", "Շնորհ"),
        ("Han", "你好世界", "谢谢朋友"),
        ("Kana", "こんにちは", "ありがとう"),
        ("Hangul", "안녕하세요", "감사합니다"),
        ("symbols", "→✓☎€", "←✗✉£"),
        ("emoji", "😀😀", "😂😂"),
        ("box drawing", "┌──┐", "└──┘"),
    ] {
        let converted = convert(vec![text(one), text(other)]).await.unwrap();
        let [one, other] = <[_; 2]>::try_from(bitmaps(&converted.bytes)).unwrap();
        assert!(one.black_pixels() > 80 && other.black_pixels() > 80, "{script}: nothing is drawn");
        assert!(one != other, "{script}: only boxes are drawn");
    }
}

#[tokio::test]
async fn charsets_look_the_same_as_unicode() {
    for (charset, bytes, unicode) in [
        ("iso-8859-1", &b"Gr\xfc\xdfe"[..], "Grüße"),
        ("koi8-r", b"\xf0\xd2\xc9\xd7\xc5\xd4", "Привет"),
        ("iso-2022-jp", b"\x1b$B$3$s\x1b(B", "こん"),
        ("gb18030", b"\xc4\xe3\xba\xc3", "你好"),
        ("utf-16", b"\xff\xfeG\0r\0", "Gr"),
    ] {
        let other = Part { charset: Some(charset.to_owned()), ..Part { bytes: bytes.to_vec(), ..text("") } };
        let converted = convert(vec![other, text(unicode)]).await.unwrap();
        let pages = bitmaps(&converted.bytes);
        assert!(pages[0] == pages[1] && pages[0].black_pixels() > 50, "{charset}");
    }
}

#[tokio::test]
async fn form_feeds_break_pages_and_long_lines_wrap() {
    let converted = convert(vec![text("one\u{c}two\u{c}three\n")]).await.unwrap();
    assert_eq!(converted.page_count(), 3);
    let long = format!("{}\n{}", "word ".repeat(300), "x".repeat(600));
    let converted = convert(vec![text(&long)]).await.unwrap();
    let [page] = <[_; 1]>::try_from(bitmaps(&converted.bytes)).unwrap();
    assert!(ink(&page, (0, 0, 60, 1000)) == 0.0 && ink(&page, (940, 0, 1000, 1000)) == 0.0, "the margins are free");
    assert!(ink(&page, (100, 100, 900, 250)) > 0.02);
}

#[tokio::test]
async fn long_texts_take_many_pages_and_lose_no_line() {
    let lines: String = (1..=120).map(|n| format!("Line {n} of a letter with a § and an ü\n")).collect();
    let converted = convert(vec![text(&lines)]).await.unwrap();
    let pages = bitmaps(&converted.bytes);
    assert_eq!(pages.len(), 3);
    // Lines of text are bands of ink between white rows.
    let bands = pages
        .iter()
        .map(|page| (1..page.height()).filter(|y| page.is_row_white(y - 1) && !page.is_row_white(*y)).count());
    let bands: usize = bands.sum();
    assert!((120..=260).contains(&bands), "{bands} bands of ink");
}

#[tokio::test]
async fn a_run_of_text_on_which_the_layout_engine_would_panic_is_drawn() {
    // 180 kB in one block made krilla 0.7 cut a string inside a character.
    let block = "§ paragraph with an ü and more words to fill the line ".repeat(3400);
    let converted = converter().convert(ConvertOrder { max_pages: 200, ..order(vec![text(&block)]) }).await.unwrap();
    assert!(converted.page_count() > 20, "{}", converted.page_count());
}

#[tokio::test]
async fn html_is_laid_out_and_fetches_nothing() {
    let html = "<html><body><h1>Offer</h1><p style=\"font-family: Calibri\">Price &euro; 5</p>\
                <img src=\"http://127.0.0.1:9/pixel.png\"><img src=\"file:///etc/passwd\"></body></html>";
    let page = Part { media: "text/html".to_owned(), ..part("mail.html", html) };
    let converted = convert(vec![page]).await.unwrap();
    assert!(bitmaps(&converted.bytes)[0].black_pixels() > 500);
    assert_eq!(converted.notes, ["mail.html: pictures elsewhere on the network are not fetched: 1"]);
}

#[tokio::test]
async fn what_cannot_be_converted_is_refused_by_name_and_reason() {
    let zero_pages = pdf(&[], |_, _, _| {});
    let whole = simple_pdf(3);
    // Keys of 41h octets: no password that we know opens it.
    let (mut locked, key) = (simple_pdf(1), "41".repeat(32));
    let lock = format!("/ID[<{key}><{key}>]/Encrypt<</Filter/Standard/V 1/R 2/O<{key}>/U<{key}>/P -4>>");
    let at = locked.windows(10).position(|w| w == b"trailer\n<<").unwrap() + 10;
    locked.splice(at..at, lock.bytes());
    for (kind, bad, reason) in [
        (ErrorKind::Unsupported, part("offer.docx", &b"PK\x03\x04 and so on"[..]), "needs LibreOffice"),
        (ErrorKind::Unsupported, part("setup.exe", &b"MZ\x90\0"[..]), "no converter"),
        (ErrorKind::Encrypted, part("locked.pdf", locked), "a password is needed"),
        (ErrorKind::Empty, part("nothing.pdf", &b""[..]), "the file is empty"),
        (ErrorKind::Empty, part("zero.pdf", zero_pages), "no pages"),
        (ErrorKind::Empty, part("zero.tif", &b"II*\0\0\0\0\0"[..]), "no page"),
        (ErrorKind::Empty, text("  \n\t \u{c}\n"), "no text"),
        (ErrorKind::Damaged, part("cut.pdf", &whole[..40]), "cannot be read"),
        (ErrorKind::Damaged, part("cut.png", &encoded(&half_black(90, 90), ImageFormat::Png)[..60]), "cannot be read"),
        (ErrorKind::Damaged, part("cut.tif", &b"II*\0\xff\0\0\0"[..]), "outside"),
        (ErrorKind::Damaged, part("x.pdf", &b"%PDF-1.7\nrubbish"[..]), "cannot be read"),
    ] {
        let name = bad.name.clone();
        let error = convert(vec![text("a good part"), bad]).await.unwrap_err();
        assert_eq!((error.kind, error.part.as_deref()), (kind, Some(name.as_str())), "{error}");
        assert!(error.detail.contains(reason), "{name}: {}", error.detail);
    }
}

#[tokio::test]
async fn a_pdf_that_lost_a_page_is_damaged() {
    let mut bytes = simple_pdf(3);
    // The third page object is object 14: make its number point nowhere.
    let at = bytes.windows(9).position(|w| w == b"\n14 0 obj").unwrap();
    bytes[at + 1..at + 3].copy_from_slice(b"99");
    let error = convert(vec![part("lost.pdf", bytes)]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Damaged, "{error}");
}

#[tokio::test]
async fn more_pages_than_allowed_are_refused() {
    let order = |parts| ConvertOrder { max_pages: 3, ..order(parts) };
    let three = converter().convert(order(vec![part("a.pdf", simple_pdf(2)), text("one")])).await.unwrap();
    assert_eq!(three.page_count(), 3);
    for parts in [
        vec![part("a.pdf", simple_pdf(4))],
        vec![part("a.pdf", simple_pdf(2)), text("one\u{c}two")],
        vec![text(&"line\n".repeat(500))],
    ] {
        let error = converter().convert(order(parts)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooManyPages, "{error}");
    }
}

/// A PDF whose Japanese font is not in it, as older programs write them: the text in UTF-16.
fn japanese(text: &str) -> Vec<u8> {
    let code: String = text.encode_utf16().map(|unit| format!("{unit:04x}")).collect();
    let content = format!("BT /J 24 Tf 72 700 Td <{code}> Tj ET");
    format!(
        "%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n\
         3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</Font<</J 5 0 R>>>>/Contents 4 0 R>>endobj\n\
         4 0 obj<</Length {}>>stream\n{content}\nendstream endobj\n\
         5 0 obj<</Type/Font/Subtype/Type0/BaseFont/HeiseiKakuGo-W5/Encoding/UniJIS-UTF16-H/DescendantFonts[6 0 R]>>endobj\n\
         6 0 obj<</Type/Font/Subtype/CIDFontType0/BaseFont/HeiseiKakuGo-W5\
         /CIDSystemInfo<</Registry(Adobe)/Ordering(Japan1)/Supplement 2>>/FontDescriptor 7 0 R>>endobj\n\
         7 0 obj<</Type/FontDescriptor/FontName/HeiseiKakuGo-W5/Flags 4/FontBBox[0 -200 1000 900]/ItalicAngle 0\
         /Ascent 850/Descent -150/CapHeight 700/StemV 80>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n",
        content.len(),
    )
    .into_bytes()
}

#[tokio::test]
async fn japanese_text_without_its_font_is_drawn_with_ours() {
    let parts = vec![part("one.pdf", japanese("請求書")), part("other.pdf", japanese("見積書"))];
    let converted = convert(parts).await.unwrap();
    let [one, other] = <[_; 2]>::try_from(bitmaps(&converted.bytes)).unwrap();
    assert!(one.black_pixels() > 1000 && other.black_pixels() > 1000, "{one:?} {other:?}");
    assert!(one != other, "only boxes are drawn");
}

#[tokio::test]
async fn pages_that_need_colours_are_counted_and_named() {
    let page = "%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n\
        3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</ExtGState<</G<</BM/Difference>>>>>>\
        /Contents 4 0 R>>endobj\n4 0 obj<</Length 34>>stream\n/G gs 0 g 100 100 200 200 re f     \nendstream endobj\n\
        trailer<</Root 1 0 R>>\n%%EOF\n";
    let converted = convert(vec![part("mixed.pdf", page.as_bytes()), part("plain.pdf", simple_pdf(2))]).await.unwrap();
    assert_eq!(converted.in_colour, 1);
    let note = "mixed.pdf: 1 of 1 pages drawn in colour first (page 1: a blend mode that needs colours)";
    assert_eq!(converted.notes, [note]);
    assert!(ink(&bitmaps(&converted.bytes)[0], (220, 700, 450, 850)) > 0.95);
}
