//! Documents made on the spot, and a converter that runs the crate's own worker.

use std::path::PathBuf;
use std::time::Duration;

use fax_image::Bitmap;
use fax_image::tiff::TiffReader;
use pages::{ConvertError, ConvertOrder, Converted, Converter, Limits, Part, Quality};
use pdf_writer::{Content, Finish, Name, Pdf, Rect, Ref};

/// With limits that suit tests on a busy machine.
pub(crate) fn converter() -> Converter {
    limited(Limits { wall: Duration::from_secs(60), ..Limits::default() })
}

pub(crate) fn limited(limits: Limits) -> Converter {
    Converter::new(PathBuf::from(env!("CARGO_BIN_EXE_pages-worker")), Vec::new(), limits)
}

pub(crate) fn part(name: &str, bytes: impl Into<Vec<u8>>) -> Part {
    Part { name: name.to_owned(), bytes: bytes.into(), ..Part::default() }
}

pub(crate) fn text(content: &str) -> Part {
    Part { media: "text/plain".to_owned(), ..part("note.txt", content) }
}

pub(crate) fn order(parts: Vec<Part>) -> ConvertOrder {
    ConvertOrder { max_pages: 50, parts, ..ConvertOrder::default() }
}

pub(crate) async fn convert(parts: Vec<Part>) -> Result<Converted, ConvertError> {
    converter().convert(order(parts)).await
}

/// Every page of a TIFF-F.
pub(crate) fn bitmaps(tiff: &[u8]) -> Vec<Bitmap> {
    let reader = TiffReader::open(tiff).unwrap();
    (0..reader.page_count()).map(|page| reader.decode(page).unwrap()).collect()
}

pub(crate) fn rows(quality: Quality) -> u32 {
    pages::page_rows(pages::Paper::A4, quality)
}

/// Share of black pixels in a part of a page, given in thousandths of its width and height.
pub(crate) fn ink(page: &Bitmap, (left, top, right, bottom): (u32, u32, u32, u32)) -> f64 {
    let (xs, ys) = (left * page.width() / 1000..right * page.width() / 1000, top..bottom);
    let ys = ys.start * page.height() / 1000..ys.end * page.height() / 1000;
    let all = f64::from((xs.end - xs.start) * (ys.end - ys.start));
    ys.flat_map(|y| xs.clone().map(move |x| (x, y))).filter(|(x, y)| page.get(*x, *y)).count() as f64 / all
}

/// A PDF whose pages (sizes in points) are drawn by `draw(page, content)`.
pub(crate) fn pdf(sizes: &[(f32, f32)], draw: impl Fn(usize, &mut Content, (f32, f32))) -> Vec<u8> {
    let mut pdf = Pdf::new();
    let id = |n: usize| Ref::new(i32::try_from(n).unwrap());
    let page_ids: Vec<Ref> = (0..sizes.len()).map(|i| id(10 + 2 * i)).collect();
    pdf.catalog(id(1)).pages(id(2));
    pdf.pages(id(2)).kids(page_ids.iter().copied()).count(i32::try_from(sizes.len()).unwrap());
    pdf.type1_font(id(3)).base_font(Name(b"Helvetica"));
    for (index, size) in sizes.iter().enumerate() {
        let mut page = pdf.page(page_ids[index]);
        page.parent(id(2)).media_box(Rect::new(0.0, 0.0, size.0, size.1)).contents(id(11 + 2 * index));
        page.resources().fonts().pair(Name(b"F"), id(3));
        page.finish();
        let mut content = Content::new();
        draw(index, &mut content, *size);
        pdf.stream(id(11 + 2 * index), &content.finish());
    }
    pdf.finish()
}

pub(crate) const A4: (f32, f32) = (595.28, 841.89);

/// A page with a line of text and a black square in its upper left corner.
pub(crate) fn simple_pdf(pages: usize) -> Vec<u8> {
    pdf(&vec![A4; pages], |index, content, (_, height)| {
        content.begin_text().set_font(Name(b"F"), 24.0).next_line(72.0, height - 200.0);
        content.show(pdf_writer::Str(format!("Page {}", index + 1).as_bytes())).end_text();
        content.rect(0.0, height - 100.0, 100.0, 100.0).fill_nonzero();
    })
}

/// A picture, black on its left half and white on its right.
pub(crate) fn half_black(width: u32, height: u32) -> image::DynamicImage {
    let luma = |x: u32| image::Luma([if x < width / 2 { 0_u8 } else { 255 }]);
    image::GrayImage::from_fn(width, height, |x, _| luma(x)).into()
}

pub(crate) fn encoded(image: &image::DynamicImage, format: image::ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}
