//! Scales pictures to fax pixels by area, and pastes them onto pages.

use fax_image::Bitmap;
use pdf_bits::Gray;

use crate::order::{Paper, Quality, Result, damaged};
use crate::size::{Placement, Turned, WIDTH_PX, coverage_share, page_rows};

/// A white page of the chosen size.
pub(crate) fn blank(paper: Paper, quality: Quality) -> Result<Bitmap> {
    Bitmap::white(WIDTH_PX, page_rows(paper, quality)).map_err(|e| damaged(e.to_string()))
}

/// A full page with the picture at its place: top, centred.
pub(crate) fn on_page(picture: &Bitmap, place: &Placement, paper: Paper, quality: Quality) -> Result<Bitmap> {
    let mut page = blank(paper, quality)?;
    page.blit(picture, place.left as i32, 0);
    Ok(page)
}

/// A grey picture made black and white, at its place on a full page.
pub(crate) fn gray_on_page(gray: &Gray, place: &Placement, paper: Paper, quality: Quality) -> Result<Bitmap> {
    let bits = gray.to_bitmap(coverage_share(quality)).map_err(|e| damaged(e.to_string()))?;
    on_page(&bits, place, paper, quality)
}

/// The source scaled (and turned) to its place. `shade(x, y)` is the source's grey.
pub(crate) fn scale(width: usize, height: usize, place: &Placement, shade: impl Fn(usize, usize) -> u8) -> Gray {
    let (to_width, to_height) = (place.width as usize, place.height as usize);
    match place.turned {
        Turned::Not => scale_upright(width, height, to_width, to_height, shade),
        // Clockwise: the left edge becomes the top, read from below.
        Turned::Clockwise => scale_upright(height, width, to_width, to_height, |x, y| shade(y, height - 1 - x)),
    }
}

/// Mean of the source area under each pixel, in integers so that every machine gets the same.
fn scale_upright(
    width: usize,
    height: usize,
    to_width: usize,
    to_height: usize,
    shade: impl Fn(usize, usize) -> u8,
) -> Gray {
    if (width, height) == (to_width, to_height) {
        let data = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| shade(x, y)).collect();
        return Gray { width, height, data };
    }
    let columns = spans(width, to_width);
    let rows = spans(height, to_height);
    let mut data = Vec::with_capacity(to_width * to_height);
    let mut sums = vec![0_u64; to_width];
    let mut narrow = Narrow { row: usize::MAX, values: vec![0; to_width] };
    for span in &rows {
        sums.fill(0);
        for (y, weight) in span.cells() {
            narrow.fill(y, &columns, width, |x| shade(x, y));
            for (sum, value) in sums.iter_mut().zip(&narrow.values) {
                *sum += u64::from(*value) * weight;
            }
        }
        let total = span.total() * 256;
        data.extend(sums.iter().map(|sum| ((sum + total / 2) / total).min(255) as u8));
    }
    Gray { width: to_width, height: to_height, data }
}

/// A source row scaled in width, in 256ths of a grey; kept while the target rows share it.
struct Narrow {
    row: usize,
    values: Vec<u32>,
}

impl Narrow {
    fn fill(&mut self, y: usize, columns: &[Span], width: usize, shade: impl Fn(usize) -> u8) {
        if self.row == y {
            return;
        }
        self.row = y;
        debug_assert!(width > 0);
        for (value, span) in self.values.iter_mut().zip(columns) {
            let sum: u64 = span.cells().map(|(x, weight)| u64::from(shade(x)) * weight).sum();
            *value = (sum * 256 / span.total()) as u32;
        }
    }
}

/// The source cells under one target pixel: `from..=to`, the first and last of them in part.
struct Span {
    from: usize,
    to: usize,
    first: u64,
    last: u64,
    whole: u64,
}

impl Span {
    fn cells(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        (self.from..=self.to).map(|cell| {
            let weight = if cell == self.from {
                self.first
            } else if cell == self.to {
                self.last
            } else {
                self.whole
            };
            (cell, weight)
        })
    }

    fn total(&self) -> u64 {
        let inner = (self.to - self.from).saturating_sub(1) as u64;
        if self.from == self.to { self.first } else { self.first + self.last + inner * self.whole }
    }
}

fn spans(from: usize, to: usize) -> Vec<Span> {
    let (from, to) = (from as u64, to as u64);
    // In units of 1/to of a source cell: target pixel i covers i*from .. (i+1)*from.
    (0..to)
        .map(|i| {
            let (start, end) = (i * from, (i + 1) * from);
            let (first_cell, last_cell) = (start / to, (end - 1) / to);
            let first = (end.min((first_cell + 1) * to)) - start;
            Span { from: first_cell as usize, to: last_cell as usize, first, last: end - last_cell * to, whole: to }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_keeps_the_mean_and_every_cell_counts_once() {
        for (from, to) in [(7, 3), (3, 7), (1000, 1728), (1728, 1000), (1, 5), (5, 1), (5, 5)] {
            let sum: u64 = spans(from, to).iter().map(Span::total).sum();
            assert_eq!(sum, (from * to) as u64, "{from} to {to}");
        }
        let place = Placement { turned: Turned::Not, left: 0, width: 100, height: 50 };
        let gray = scale(333, 77, &place, |x, _| if x < 111 { 0 } else { 255 });
        let mean = gray.data.iter().map(|v| f64::from(*v)).sum::<f64>() / 5000.0;
        assert!((mean - 170.0).abs() < 1.0, "{mean}");
    }

    #[test]
    fn a_turned_picture_has_its_left_edge_on_top() {
        let place = Placement { turned: Turned::Clockwise, left: 0, width: 2, height: 3 };
        // Source 3 wide, 2 high:  1 2 3 / 4 5 6
        let gray = scale(3, 2, &place, |x, y| (1 + x + 3 * y) as u8);
        assert_eq!(gray.data, [4, 1, 5, 2, 6, 3]);
    }
}
