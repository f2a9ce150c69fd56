//! A small grey picture of a fax page, for mail and console.
//!
//! In: a page and its resolution. Out: a PNG of the wanted width whose height follows from the page's size on paper, so a
//! 204 × 98 dpi page does not look squashed. Each pixel is the share of black under it. Nothing can fail.
//! The greys are cut down to [`LEVELS`], which makes a page of text less than half as long.

use fax_image::{Bitmap, Resolution};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

/// Shades of grey in the picture.
const LEVELS: u32 = 16;
/// Widest and longest picture in pixels.
const SIDE_PX_MAX: u32 = 4096;
/// One pixel of the page or the picture in fixed-point positions and weights.
const ONE: u64 = 1 << 12;

/// Draws `bitmap` `width_px` pixels wide (1..=4096) as an 8-bit grey PNG.
pub(crate) fn png(bitmap: &Bitmap, resolution: Resolution, width_px: u32) -> Vec<u8> {
    let width = width_px.clamp(1, SIDE_PX_MAX);
    let height = height_px(bitmap, resolution, width);
    let gray = averaged(bitmap, width, height);
    let mut out = Vec::new();
    PngEncoder::new_with_quality(&mut out, CompressionType::Best, FilterType::NoFilter)
        .write_image(&gray, width, height, ExtendedColorType::L8)
        .expect("the samples fill the picture and memory takes every octet");
    out
}

/// The height that keeps the proportions of the paper.
fn height_px(bitmap: &Bitmap, resolution: Resolution, width: u32) -> u32 {
    let over = u64::from(bitmap.height()) * u64::from(resolution.x_dpi) * u64::from(width);
    let under = u64::from(bitmap.width()) * u64::from(resolution.y_dpi.max(1));
    u32::try_from((over + under / 2) / under).unwrap_or(u32::MAX).clamp(1, SIDE_PX_MAX)
}

/// Grey samples, 255 = white.
fn averaged(bitmap: &Bitmap, width: u32, height: u32) -> Vec<u8> {
    let columns = edges(bitmap.width(), width);
    let rows = edges(bitmap.height(), height);
    // Black under one row of the picture so far, and under one row of the page.
    let mut sums = vec![0u64; width as usize];
    let mut row_sums = vec![0u64; width as usize];
    let mut summed_row = None;
    let mut gray = Vec::with_capacity(width as usize * height as usize);
    for pair in rows.windows(2) {
        sums.fill(0);
        let (top, bottom) = (pair[0], pair[1]);
        for y in top / ONE..bottom.div_ceil(ONE).min(u64::from(bitmap.height())) {
            if bitmap.is_row_white(y as u32) {
                continue;
            }
            if summed_row.replace(y) != Some(y) {
                sum_row(bitmap.row(y as u32), &columns, &mut row_sums);
            }
            let weight = bottom.min((y + 1) * ONE) - top.max(y * ONE);
            sums.iter_mut().zip(&row_sums).for_each(|(sum, row)| *sum += row * weight);
        }
        for (sum, pair) in sums.iter().zip(columns.windows(2)) {
            let area = ((pair[1] - pair[0]) * (bottom - top)).max(1);
            gray.push(shade((sum * 255 / area) as u32));
        }
    }
    gray
}

/// Where the picture's pixels begin and end on the page, in fixed-point pixels of the page.
fn edges(page: u32, picture: u32) -> Vec<u64> {
    (0..=u64::from(picture)).map(|place| place * u64::from(page) * ONE / u64::from(picture)).collect()
}

/// Black under each pixel of the picture along one row of the page.
fn sum_row(row: &[u8], columns: &[u64], sums: &mut [u64]) {
    let is_black = |x: u64| u64::from(row.get(x as usize / 8).is_some_and(|octet| octet & (0x80 >> (x % 8)) != 0));
    for (sum, pair) in sums.iter_mut().zip(columns.windows(2)) {
        let (left, right) = (pair[0], pair[1]);
        *sum = (left / ONE..right.div_ceil(ONE))
            .map(|x| is_black(x) * (right.min((x + 1) * ONE) - left.max(x * ONE)))
            .sum();
    }
}

/// The grey for a share of black of `black` / 255. Half-covered pixels are shown somewhat darker than they are: thin strokes
/// would fade otherwise.
fn shade(black: u32) -> u8 {
    let darkened = black + black * (255 - black) / 510;
    let level = (darkened * (LEVELS - 1) + 127) / 255;
    (255 - level * 255 / (LEVELS - 1)) as u8
}

#[cfg(test)]
mod tests {
    use fax_image::Ink;

    use super::*;

    fn opened(png: &[u8]) -> image::GrayImage {
        image::load_from_memory(png).unwrap().into_luma8()
    }

    /// Words of 5 to 12 strokes in lines over a whole page.
    fn text(width: u32, height: u32) -> Bitmap {
        let mut page = Bitmap::white(width, height).unwrap();
        let mut chance = 1u32;
        for top in (100..height - 100).step_by(38) {
            let mut x = 150;
            while x < width - 150 {
                chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let (kind, tall) = (chance >> 28, 14 + (chance >> 20) % 10);
                page.fill_rect(x, top + 24 - tall, 3, tall, Ink::Black);
                page.fill_rect(x, top + (chance >> 10) % 20, 10, 3, Ink::Black);
                x += if kind < 3 { 34 } else { 15 };
            }
        }
        page
    }

    #[test]
    fn the_picture_has_the_proportions_of_the_paper() {
        for (rows, resolution) in
            [(1143, Resolution::STANDARD), (2287, Resolution::FINE), (4564, Resolution::SUPERFINE)]
        {
            let picture = opened(&png(&Bitmap::white(1728, rows).unwrap(), resolution, 480));
            // A4 is 297 mm long; 1728 pixels at 204 dpi are 215 mm wide.
            assert_eq!(picture.width(), 480);
            assert!((659..=665).contains(&picture.height()), "{} px high at {resolution:?}", picture.height());
        }
    }

    #[test]
    fn a_pixel_is_the_share_of_black_under_it() {
        let mut page = Bitmap::white(400, 400).unwrap();
        page.fill_rect(0, 0, 200, 400, Ink::Black);
        page.fill_rect(200, 200, 100, 200, Ink::Black);
        let square = Resolution { x_dpi: 200, y_dpi: 200 };
        let picture = opened(&png(&page, square, 2));
        let at = |x, y| picture.get_pixel(x, y).0[0];
        assert_eq!((at(0, 0), at(0, 1), at(1, 0)), (0, 0, 255));
        assert!((80..150).contains(&at(1, 1)), "{}", at(1, 1));
        // Edges between pixels of the page count in part: 3 pixels over 400.
        let picture = opened(&png(&page, square, 3));
        assert!((80..150).contains(&picture.get_pixel(1, 0).0[0]));
    }

    #[test]
    fn a_page_of_text_is_small() {
        let picture = png(&text(1728, 2292), Resolution::FINE, 480);
        assert!(picture.len() < 40_000, "{} octets", picture.len());
        assert!(opened(&picture).pixels().filter(|pixel| pixel.0[0] < 128).count() > 1000, "strokes are visible");
        assert_eq!(picture, png(&text(1728, 2292), Resolution::FINE, 480));
    }

    #[test]
    fn every_size_gives_a_picture() {
        for (width, height) in [(1, 0), (1, 1), (1, 16_384), (16_384, 1), (3, 5)] {
            for width_px in [0, 1, 7, u32::MAX] {
                let page = Bitmap::white(width, height).unwrap();
                let picture = opened(&png(&page, Resolution { x_dpi: 204, y_dpi: 0 }, width_px.min(300)));
                assert_eq!(picture.width(), width_px.clamp(1, 300));
            }
        }
    }
}
