//! The line at the top of every page: date and time, sender, the sender's number, the recipient's, page of pages
//! (47 CFR 68.318(d)). It never covers content: it goes into white rows, or the content gives way.

use fax_image::Bitmap;

use crate::fonts::Fonts;
use crate::layout::{self, Content, Sheet};
use crate::order::{HeaderLine, Quality, Result, damaged};
use crate::pictures::Pictures;
use crate::size::rows_per_mm;

/// Height of the band that the line takes at the top of the page: 3 mm of text between 1 mm of white.
const BAND_MM: f64 = 5.0;
/// Longest sender shown, characters.
const SENDER_MAX_CHARS: usize = 40;
/// Lines on one sheet: 32 bands of 5 mm are as tall as half an A4 page.
const LINES_AT_ONCE: usize = 32;

const CSS: &str = "
    .line { position: absolute; left: 10mm; width: 195mm; height: 3.4mm; overflow: hidden; display: flex;
            justify-content: space-between; font-size: 8.5pt; line-height: 1; white-space: nowrap; padding-top: 1.2mm }
";

/// Puts the line onto the pages of a fax, in their order.
pub(crate) struct Stamp<'a> {
    header: &'a HeaderLine,
    total: usize,
    quality: Quality,
    fonts: &'a Fonts,
    /// Rows of a band, and how tall that is.
    rows: u32,
    band_mm: f64,
    /// The lines of [`LINES_AT_ONCE`] pages below each other: a layout for each would take most of the time.
    sheet: Option<Bitmap>,
}

impl<'a> Stamp<'a> {
    /// For a fax of this many pages.
    pub(crate) fn new(header: &'a HeaderLine, total: usize, quality: Quality, fonts: &'a Fonts) -> Self {
        let rows = (BAND_MM * rows_per_mm(quality)).round() as u32;
        let band_mm = f64::from(rows) / rows_per_mm(quality);
        Self { header, total, quality, fonts, rows, band_mm, sheet: None }
    }

    /// Page `index` (from 0) with its line. Pages come in their order.
    pub(crate) fn stamp(&mut self, index: usize, page: Bitmap) -> Result<Bitmap> {
        let place = index % LINES_AT_ONCE;
        let sheet = match self.sheet.take() {
            Some(sheet) if place > 0 => sheet,
            _ => self.draw(index - place)?,
        };
        let top = place as u32 * self.rows;
        let stamped = put(page, &sheet.crop_rows(top..top + self.rows));
        self.sheet = Some(sheet);
        stamped
    }

    /// Page `index` with this line in place of the one it has: the band is the line's alone.
    pub(crate) fn restamp(&self, index: usize, mut page: Bitmap) -> Result<Bitmap> {
        let place = index % LINES_AT_ONCE;
        let sheet = self.draw(index - place)?;
        let top = place as u32 * self.rows;
        page.blit(&sheet.crop_rows(top..top + self.rows), 0, 0);
        Ok(page)
    }

    fn draw(&self, first: usize) -> Result<Bitmap> {
        let lines = first + 1..=self.total.min(first + LINES_AT_ONCE);
        let count = lines.clone().count() as u32;
        let (mut html, mut shown) = ("<html><body>".to_owned(), String::new());
        lines.for_each(|page| line(self.header, page, self.total, self.band_mm, &mut html, &mut shown));
        html.push_str("</body></html>");
        let sheet = Sheet::strip(self.band_mm * f64::from(count), self.rows * count, self.quality);
        let content = Content { html: &html, css: CSS, shown: &shown, pictures: &Pictures::default() };
        let drawn = layout::draw(&sheet, &content, 1, self.fonts)?;
        let [sheet] = <[Bitmap; 1]>::try_from(drawn).map_err(|_| damaged("the header line does not fit"))?;
        Ok(sheet)
    }
}

fn line(header: &HeaderLine, page: usize, total: usize, band_mm: f64, html: &mut String, shown: &mut String) {
    let mut sender: String = header.sender.trim().chars().take(SENDER_MAX_CHARS).collect();
    if sender.len() < header.sender.trim().len() {
        sender.push('…');
    }
    // Two spaces between things, as no-break spaces: HTML would make one of them.
    let gap = "\u{a0}\u{a0} ";
    let left = [&header.date, &sender, &header.sender_number];
    let left = left.map(|s| s.trim()).into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>().join(gap);
    let to = if header.to_number.is_empty() { String::new() } else { format!("To: {}{gap}", header.to_number) };
    let remark = if header.remark.is_empty() { String::new() } else { format!("{}{gap}", header.remark.trim()) };
    let right = format!("{to}{remark}p.\u{a0}{page}/{total}");
    // Placed by hand, so that a line that is too long cannot push the next one down.
    let top = band_mm * ((page - 1) % LINES_AT_ONCE) as f64;
    html.push_str(&format!("<div class=\"line\" style=\"top: {top:.4}mm\">"));
    html.push_str("<div class=\"left\">");
    html.push_str(&layout::escape(&left));
    html.push_str("</div><div class=\"right\">");
    html.push_str(&layout::escape(&right));
    html.push_str("</div></div>");
    if shown.is_empty() {
        shown.push_str(&left);
        shown.push_str(&right);
    }
}

/// Into the white band at the top; else the content moves down into the white at the bottom; else the page grows.
fn put(page: Bitmap, strip: &Bitmap) -> Result<Bitmap> {
    let band = strip.height();
    let white = |rows: std::ops::Range<u32>| rows.into_iter().take_while(|y| page.is_row_white(*y)).count() as u32;
    let above = white(0..page.height().min(band));
    let mut stamped = if above == band {
        page
    } else {
        let needed = band - above;
        let below = (0..page.height()).rev().take_while(|y| page.is_row_white(*y)).count() as u32;
        let height = (page.height() + needed.saturating_sub(below)).max(band);
        let mut moved = Bitmap::white(page.width(), height).map_err(|e| damaged(e.to_string()))?;
        moved.blit(&page, 0, needed as i32);
        moved
    };
    stamped.blit(strip, 0, 0);
    Ok(stamped)
}

#[cfg(test)]
mod tests {
    use fax_image::Ink;

    use super::*;

    fn page(height: u32, rows: &[u32]) -> Bitmap {
        let mut page = Bitmap::white(64, height).unwrap();
        rows.iter().for_each(|y| page.fill_rect(0, *y, 64, 1, Ink::Black));
        page
    }

    /// The rows that are all black, below the strip.
    fn content(page: &Bitmap) -> Vec<u32> {
        (0..page.height()).filter(|y| page.row(*y)[0] == 0xff).collect()
    }

    #[test]
    fn the_line_covers_no_content() {
        let strip = {
            let mut strip = Bitmap::white(64, 10).unwrap();
            strip.fill_rect(3, 2, 2, 6, Ink::Black);
            strip
        };
        for (height, rows, expected_height, expected_rows) in [
            (100, vec![10, 99], 100, vec![10, 99]), // white on top: it stays
            (100, vec![3, 50], 100, vec![10, 57]),  // white at the bottom: it moves down
            (100, vec![0, 95], 106, vec![10, 105]), // some white at the bottom: it moves and grows
            (100, vec![0, 99], 110, vec![10, 109]), // none: it grows
            (5, vec![0, 4], 15, vec![10, 14]),      // lower than the line
            (5, vec![], 10, vec![]),
        ] {
            let put = put(page(height, &rows), &strip).unwrap();
            assert_eq!((put.height(), content(&put)), (expected_height, expected_rows), "{height} {rows:?}");
            assert!(put.get(3, 2), "the line is there");
        }
    }
}
