//! Documents as a whole: sizes, turns, passwords, forms.

use pdf_bits::{Document, Error, Fonts, Frame};
use pdf_writer::types::{AnnotationFlags, AnnotationType};
use pdf_writer::{Content, Finish, Name, Pdf, Rect, Ref};

use crate::common::*;

fn corner(content: &mut Content, height: f32, size: f32) {
    content.rect(0.0, height - size, size, size).fill_nonzero();
}

#[test]
fn pages_of_every_size_fill_their_frame_and_take_no_more_than_it() {
    for (width, height) in [(3.0, 3.0), (595.0, 842.0), (14_400.0, 14_400.0), (1e7, 1e7), (2.0, 14_400.0)] {
        let bytes = pdf((width, height), |c| {
            c.rect(0.0, height / 2.0, width / 2.0, height / 2.0).fill_nonzero();
        });
        let page = bits(bytes, 1000, 1000);
        assert_eq!(ink(&page, (0, 0, 500, 500)), 1.0, "{width} × {height}");
        assert_eq!(page.black_pixels(), 250_000, "{width} × {height}");
    }
}

#[test]
fn a_page_stands_at_its_place_on_the_sheet_and_draws_nothing_beside_it() {
    let bytes = pdf((100.0, 100.0), |c| {
        c.rect(-500.0, -500.0, 1000.0, 1000.0).fill_nonzero();
    });
    let place = Frame { sheet: (300, 200), left: 50, width: 100, height: 120, turned: false, share: 0.37 };
    let page = try_draw(bytes.clone(), place).unwrap().bits;
    assert_eq!((page.width(), page.height(), page.black_pixels()), (300, 200, 12_000));
    assert_eq!(ink(&page, (50, 0, 150, 120)), 1.0);
    let off = Frame { left: 250, ..place };
    assert!(matches!(try_draw(bytes, off), Err(Error::Damaged(_))));
}

#[test]
fn a_landscape_page_is_turned_clockwise_when_the_frame_says_so() {
    let bytes = pdf((200.0, 100.0), |c| corner(c, 100.0, 20.0));
    let turned = Frame { turned: true, ..frame(100, 200) };
    let page = try_draw(bytes, turned).unwrap().bits;
    // The upper left corner is at the upper right now.
    assert_eq!(page.black_pixels(), 400);
    assert_eq!(ink(&page, (80, 0, 100, 20)), 1.0);
}

#[test]
fn a_page_that_says_it_is_turned_is_turned() {
    let bytes = pdf((200.0, 100.0), |c| corner(c, 100.0, 20.0));
    let at = bytes.windows(10).position(|w| w == b"/MediaBox[" || w == b"/MediaBox ").unwrap();
    let mut turned = bytes;
    turned.splice(at..at, b"/Rotate 90".iter().copied());
    let document = Document::open(turned).unwrap();
    assert_eq!(document.page_size(0), (100.0, 200.0));
    let page = document.painter(&Fonts::default()).draw(0, frame(100, 200)).unwrap().bits;
    assert_eq!(ink(&page, (80, 0, 100, 20)), 1.0);
    assert_eq!(page.black_pixels(), 400);
}

/// A page with a square, encrypted: RC4 of 128 bits, the owner's password `owner`, the user's password empty or not.
const LOCKED: &[u8] = include_bytes!("locked.pdf");
const OPEN_WITHOUT_PASSWORD: &[u8] = include_bytes!("empty-password.pdf");

#[test]
fn an_empty_password_opens_and_any_other_is_asked_for() {
    let document = Document::open(OPEN_WITHOUT_PASSWORD.to_vec()).unwrap();
    let page = document.painter(&Fonts::default()).draw(0, frame(200, 200)).unwrap();
    assert!(page.bits.black_pixels() > 1000, "{:?}", page.bits);
    let Err(error) = Document::open(LOCKED.to_vec()) else { panic!("it opened without its password") };
    assert_eq!(error, Error::Encrypted("a password is needed to open it".to_owned()));
}

#[test]
fn what_is_no_pdf_says_so() {
    for bytes in [&b""[..], b"%PDF-1.7\nrubbish", b"\0\0\0\0", &OPEN_WITHOUT_PASSWORD[..100]] {
        assert!(matches!(Document::open(bytes.to_vec()), Err(Error::Damaged(_))));
    }
}

#[test]
fn form_fields_and_notes_show_with_their_appearance_and_hidden_ones_do_not() {
    for (flags, shown) in [(AnnotationFlags::PRINT, true), (AnnotationFlags::HIDDEN, false)] {
        let mut pdf = Pdf::new();
        let [catalog, pages, page, content, field, look] = [1, 2, 3, 4, 5, 6].map(Ref::new);
        pdf.catalog(catalog).pages(pages);
        pdf.pages(pages).kids([page]).count(1);
        pdf.page(page)
            .parent(pages)
            .media_box(Rect::new(0.0, 0.0, 100.0, 100.0))
            .contents(content)
            .annotations([field]);
        pdf.stream(content, b"");
        let mut annotation = pdf.annotation(field);
        annotation.subtype(AnnotationType::Widget).rect(Rect::new(20.0, 20.0, 60.0, 40.0)).flags(flags);
        annotation.appearance().normal().stream(look);
        annotation.finish();
        pdf.form_xobject(look, b"0 0 10 5 re f").bbox(Rect::new(0.0, 0.0, 20.0, 10.0));
        let page = bits(pdf.finish(), 100, 100);
        assert_eq!(page.black_pixels(), if shown { 20 * 10 } else { 0 });
    }
}

#[test]
fn the_same_document_gives_the_same_bits() {
    let bytes = pdf((595.0, 842.0), |c| {
        for line in 0..60 {
            write(c, "The quick brown fox jumps over the lazy dog", 11.3, (50.3, 800.7 - 12.7 * line as f32));
        }
    });
    let document = Document::open(bytes).unwrap();
    let mut painter = document.painter(&Fonts::default());
    let first = painter.draw(0, frame(1688, 2287)).unwrap();
    assert_eq!(painter.draw(0, frame(1688, 2287)).unwrap(), first, "with warm caches");
    assert_eq!(document.painter(&Fonts::default()).draw(0, frame(1688, 2287)).unwrap(), first);
}

#[test]
fn a_value_that_nobody_would_see_is_an_error() {
    for (value, expected) in [("Erika Mustermann", false), ("", true), ("  ", true)] {
        let mut pdf = Pdf::new();
        let [catalog, pages, page, field] = [1, 2, 3, 4].map(Ref::new);
        pdf.catalog(catalog).pages(pages);
        pdf.pages(pages).kids([page]).count(1);
        let media = Rect::new(0.0, 0.0, 100.0, 100.0);
        pdf.page(page).parent(pages).media_box(media).annotations([field]);
        let mut annotation = pdf.annotation(field);
        annotation.subtype(AnnotationType::Widget).rect(Rect::new(20.0, 20.0, 60.0, 40.0));
        annotation.insert(Name(b"FT")).primitive(Name(b"Tx"));
        annotation.insert(Name(b"V")).primitive(pdf_writer::Str(value.as_bytes()));
        annotation.finish();
        let drawn = try_draw(pdf.finish(), frame(100, 100));
        assert_eq!(drawn.is_ok(), expected, "{value:?}: {drawn:?}");
    }
}
