//! PDFs made on the spot. A point is a pixel: coordinates in the tests are those of the page's bits, from below.

use pdf_bits::{Bitmap, Document, Drawn, Error, Fonts, Frame};
use pdf_writer::{Content, Finish, Name, Pdf, Rect, Ref};

pub(crate) const FONT: Name<'static> = Name(b"F");
pub(crate) const PICTURE: Name<'static> = Name(b"P");
const PAGE: Ref = Ref::new(3);
const CONTENT: Ref = Ref::new(4);
const HELVETICA: Ref = Ref::new(5);
const OBJECT: Ref = Ref::new(6);
const STATE: Ref = Ref::new(7);
pub(crate) const SPARE: Ref = Ref::new(8);

/// A page with Helvetica as `F`, whatever `object` writes at the given place as `P`, and an graphics state `G`.
pub(crate) fn pdf_with(
    (width, height): (f32, f32),
    object: impl FnOnce(&mut Pdf, Ref),
    state: impl FnOnce(&mut pdf_writer::writers::ExtGraphicsState<'_>),
    draw: impl FnOnce(&mut Content),
) -> Vec<u8> {
    let mut pdf = Pdf::new();
    pdf.catalog(Ref::new(1)).pages(Ref::new(2));
    pdf.pages(Ref::new(2)).kids([PAGE]).count(1);
    let mut page = pdf.page(PAGE);
    page.parent(Ref::new(2)).media_box(Rect::new(0.0, 0.0, width, height)).contents(CONTENT);
    let mut resources = page.resources();
    resources.fonts().pair(FONT, HELVETICA);
    resources.x_objects().pair(PICTURE, OBJECT);
    resources.patterns().pair(PICTURE, OBJECT);
    resources.ext_g_states().pair(Name(b"G"), STATE);
    resources.finish();
    page.finish();
    pdf.type1_font(HELVETICA).base_font(Name(b"Helvetica"));
    state(&mut pdf.ext_graphics(STATE));
    object(&mut pdf, OBJECT);
    let mut content = Content::new();
    draw(&mut content);
    pdf.stream(CONTENT, &content.finish());
    pdf.finish()
}

pub(crate) fn pdf(size: (f32, f32), draw: impl FnOnce(&mut Content)) -> Vec<u8> {
    pdf_with(size, |pdf, place| drop(pdf.stream(place, b"")), |_| {}, draw)
}

pub(crate) fn frame(width: u32, height: u32) -> Frame {
    Frame { sheet: (width, height), left: 0, width, height, turned: false, share: 0.37 }
}

pub(crate) fn try_draw(bytes: Vec<u8>, frame: Frame) -> Result<Drawn, Error> {
    Document::open(bytes)?.painter(&Fonts::default()).draw(0, frame)
}

/// The first page, drawn in bits, a point to a pixel.
pub(crate) fn bits(bytes: Vec<u8>, width: u32, height: u32) -> Bitmap {
    let drawn = try_draw(bytes, frame(width, height)).expect("the page is drawn");
    assert_eq!(drawn.in_colour, None);
    drawn.bits
}

/// A page of 100 × 100 as drawn.
pub(crate) fn drawn(draw: impl FnOnce(&mut Content)) -> Bitmap {
    bits(pdf((100.0, 100.0), draw), 100, 100)
}

/// The black pixels of a page as text, a line for each row of the given part.
pub(crate) fn picture(page: &Bitmap, (x0, y0, x1, y1): (u32, u32, u32, u32)) -> String {
    let row = |y| (x0..x1).map(|x| if page.get(x, y) { '#' } else { '.' }).collect::<String>();
    (y0..y1).map(row).collect::<Vec<_>>().join("\n")
}

/// Black pixels in a part of a page.
pub(crate) fn black(page: &Bitmap, (x0, y0, x1, y1): (u32, u32, u32, u32)) -> usize {
    (y0..y1).flat_map(|y| (x0..x1).map(move |x| (x, y))).filter(|(x, y)| page.get(*x, *y)).count()
}

/// Share of black pixels in a part of a page.
pub(crate) fn ink(page: &Bitmap, part: (u32, u32, u32, u32)) -> f64 {
    black(page, part) as f64 / f64::from((part.2 - part.0) * (part.3 - part.1))
}

/// A line of text with its base line's beginning at (`x`, `y`).
pub(crate) fn write(content: &mut Content, text: &str, size: f32, (x, y): (f32, f32)) {
    content.begin_text().set_font(FONT, size).next_line(x, y).show(pdf_writer::Str(text.as_bytes())).end_text();
}
