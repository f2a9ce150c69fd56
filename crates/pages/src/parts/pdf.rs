//! PDF into pages: see the crate `pdf-bits`.
//!
//! Each page is clamped to fax pixels before anything is drawn. Pages that our device cannot draw are drawn in colour first;
//! they are counted and named in a remark.

use fax_image::Bitmap;
use pdf_bits::{Document, Fonts as PdfFonts, Frame, Painter};

use super::Job;
use crate::fonts::Fonts;
use crate::order::{ConvertError, ErrorKind, Paper, Quality, Result, damaged};
use crate::size::{ENLARGE_PAGE, Placement, Turned, WIDTH_PX, coverage_share, page_rows, place};

const MM_PER_POINT: f64 = 25.4 / 72.0;
/// So many reasons for pages drawn in colour are named in the remark.
const REASONS_MAX: usize = 3;

pub(super) fn pages(bytes: &[u8], job: &mut Job<'_>) -> Result<()> {
    let document = Document::open(bytes.to_vec()).map_err(refused)?;
    job.allow(document.page_count())?;
    let mut painter = painter(&document, job.fonts);
    let mut in_colour: Vec<(usize, &str)> = Vec::new();
    for index in 0..document.page_count() {
        let (width, height) = document.page_size(index);
        let place = place(width * MM_PER_POINT, height * MM_PER_POINT, ENLARGE_PAGE, job.paper, job.quality);
        let drawn = painter.draw(index, frame(&place, job.paper, job.quality));
        let drawn = drawn.map_err(|error| damaged(format!("page {}: {error}", index + 1)))?;
        in_colour.extend(drawn.in_colour.map(|reason| (index + 1, reason)));
        job.add(drawn.bits)?;
    }
    if !in_colour.is_empty() {
        job.in_colour += in_colour.len() as u32;
        job.notes.push(remark(&in_colour, document.page_count()));
    }
    Ok(())
}

/// `2 of 5 pages were drawn in colour first (page 2: a soft mask, page 4: a soft mask)`
fn remark(in_colour: &[(usize, &str)], pages: usize) -> String {
    let reasons: Vec<String> =
        in_colour.iter().take(REASONS_MAX).map(|(page, reason)| format!("page {page}: {reason}")).collect();
    let more = if in_colour.len() > REASONS_MAX { ", …" } else { "" };
    format!("{} of {pages} pages drawn in colour first ({}{more})", in_colour.len(), reasons.join(", "))
}

/// Our own PDFs: each page fills its place exactly, and the result is no larger.
pub(crate) fn draw_exact(
    bytes: Vec<u8>,
    place: &Placement,
    quality: Quality,
    pages_max: u32,
    fonts: &Fonts,
) -> Result<Vec<Bitmap>> {
    let document = Document::open(bytes).map_err(refused)?;
    let count = document.page_count();
    if count > pages_max as usize {
        let detail = format!("it has {count} pages, and {pages_max} are allowed in all its fax");
        return Err(ConvertError::new(ErrorKind::TooManyPages, detail));
    }
    let mut painter = painter(&document, fonts);
    let frame = exact(place, quality);
    (0..count).map(|index| painter.draw(index, frame).map(|drawn| drawn.bits).map_err(refused)).collect()
}

fn painter<'a>(document: &'a Document, fonts: &Fonts) -> Painter<'a> {
    document.painter(&PdfFonts { cjk: fonts.cjk() })
}

fn frame(place: &Placement, paper: Paper, quality: Quality) -> Frame {
    Frame { sheet: (WIDTH_PX, page_rows(paper, quality)), left: place.left, ..exact(place, quality) }
}

fn exact(place: &Placement, quality: Quality) -> Frame {
    Frame {
        sheet: (place.width, place.height),
        left: 0,
        width: place.width,
        height: place.height,
        turned: place.turned == Turned::Clockwise,
        share: coverage_share(quality),
    }
}

fn refused(error: pdf_bits::Error) -> ConvertError {
    let kind = match &error {
        pdf_bits::Error::Encrypted(_) => ErrorKind::Encrypted,
        pdf_bits::Error::Damaged(_) => ErrorKind::Damaged,
        pdf_bits::Error::Empty => ErrorKind::Empty,
    };
    ConvertError::new(kind, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remark_names_the_first_pages_and_says_how_many_there_are() {
        assert_eq!(remark(&[(2, "a soft mask")], 5), "1 of 5 pages drawn in colour first (page 2: a soft mask)");
        let many: Vec<(usize, &str)> = (1..=9).map(|page| (page, "x")).collect();
        let expected = "9 of 9 pages drawn in colour first (page 1: x, page 2: x, page 3: x, …)";
        assert_eq!(remark(&many, 9), expected);
    }
}
