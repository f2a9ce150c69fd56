//! Pictures of grey into black and white.
//!
//! In: rows of grey from any source, scaled to fax pixels by [`Scaler`]. Out: bits. Nothing can fail but the size.
//!
//! 1. [`Gray::whiten`] finds the paper of a scan or of a photographed sheet, however uneven its light, and makes it white
//!    (`paper`).
//! 2. Photographs are told from text and line art, tile by tile (`photos`).
//! 3. Text and line art by threshold, photographs by error diffusion (`diffuse`).
//!
//! The threshold is on *coverage*: a pixel is inked when ink covers 37 % of it at 196 and 391 lines to the inch, 20 % at 98, where
//! thin horizontals would vanish otherwise (measured by OCR). How dark the ink is, is looked up around the pixel, so that pale
//! and coloured text comes out solid instead of dotted or not at all.

mod diffuse;
mod paper;
mod photos;
mod scale;

pub use scale::Scaler;

use crate::{Bitmap, BitmapError};
use diffuse::Diffuser;

/// Rows of grey: 0 black, 255 white, no padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gray {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `width * height` octets.
    pub data: Vec<u8>,
}

/// Edge of the cells in which the darkest and the lightest pixel are kept.
const CELL: usize = 4;
/// A photograph tile's edge, cells.
const TILE_CELLS: usize = 4;
/// The same in pixels.
const TILE: usize = CELL * TILE_CELLS;
/// What is lighter is paper.
const PAPER: u8 = 236;
/// What is darker is ink.
const INK: u8 = 24;
/// Less contrast than this is no ink on paper.
const CONTRAST_MIN: u8 = 32;
/// Where there is no paper around, ink is what is darker.
const MIDDLE: u8 = 160;

/// What the pixels of a cell are made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// All white.
    Blank,
    /// Black below this.
    Below(u8),
    /// Diffused.
    Photo,
}

/// The luminance of a colour: the weights of ITU-R BT.601, 0 black to 255 white.
pub fn luma(red: u8, green: u8, blue: u8) -> u8 {
    ((u32::from(red) * 77 + u32::from(green) * 150 + u32::from(blue) * 29 + 128) >> 8) as u8
}

/// A shade seen through `alpha` (0 clear, 255 solid) on white paper.
pub fn over_white(shade: u8, alpha: u8) -> u8 {
    ((u32::from(shade) * u32::from(alpha) + 255 * (255 - u32::from(alpha)) + 127) / 255) as u8
}

impl Gray {
    /// Makes the paper of a scan white: tinted, dirty or unevenly lit paper would cost ink and line time for nothing, and hide
    /// what is written on it. A picture without paper, and one whose paper is white already, stays as it is.
    pub fn whiten(&mut self) {
        paper::whiten(self);
    }

    /// As a page of its own. See [`Gray::rows`] for `share`.
    pub fn to_bitmap(&self, share: f32) -> Result<Bitmap, BitmapError> {
        let stride = self.width.div_ceil(64) * 8;
        let mut octets = Vec::with_capacity(stride * self.height);
        self.rows(share, |_, words| octets.extend(words.iter().flat_map(|word| word.to_be_bytes())));
        let size = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Bitmap::from_packed(size(self.width), size(self.height), stride, &octets)
    }

    /// Turned clockwise by 90°: the left edge becomes the top, read from below.
    #[must_use]
    pub fn turned_clockwise(&self) -> Self {
        self.moved((self.height, self.width), |x, y| (y, self.height - 1 - x))
    }

    /// Turned counterclockwise by 90°.
    #[must_use]
    pub fn turned_counterclockwise(&self) -> Self {
        self.moved((self.height, self.width), |x, y| (self.width - 1 - y, x))
    }

    /// Turned upside down.
    #[must_use]
    pub fn turned_around(&self) -> Self {
        let data = self.data.iter().rev().copied().collect();
        Self { data, ..*self }
    }

    /// As in a mirror: left and right change places.
    #[must_use]
    pub fn mirrored(&self) -> Self {
        self.moved((self.width, self.height), |x, y| (self.width - 1 - x, y))
    }

    fn moved(&self, (width, height): (usize, usize), from: impl Fn(usize, usize) -> (usize, usize)) -> Self {
        let mut data = Vec::with_capacity(self.data.len());
        for y in 0..height {
            data.extend((0..width).map(|x| {
                let (x, y) = from(x, y);
                self.data[y * self.width + x]
            }));
        }
        Self { width, height, data }
    }

    /// Calls with each row's words, 1 = black, most significant bit first. `share`: coverage from which on a pixel is
    /// inked, 0 to 1.
    pub fn rows(&self, share: f32, mut each: impl FnMut(usize, &[u64])) {
        let rules = self.rules(share);
        let cells_wide = self.width.div_ceil(CELL).max(1);
        let mut words = vec![0_u64; self.width.div_ceil(64)];
        let mut diffuse = Diffuser::new(self.width, self.height);
        for (y, row) in self.data.chunks_exact(self.width.max(1)).enumerate() {
            words.fill(0);
            let rules = &rules[y / CELL * cells_wide..][..cells_wide];
            let mut has_photo = false;
            for (cell, rule) in rules.iter().enumerate() {
                match rule {
                    Rule::Blank => {}
                    Rule::Photo => has_photo = true,
                    Rule::Below(limit) => {
                        let x = cell * CELL;
                        let bits = row[x..(x + CELL).min(self.width)]
                            .iter()
                            .enumerate()
                            .fold(0_u64, |bits, (place, value)| bits | u64::from(value < limit) << (3 - place));
                        words[x / 64] |= bits << (60 - x % 64);
                    }
                }
            }
            if has_photo {
                diffuse.row(y, row, rules, &mut words);
            } else {
                diffuse.clear();
            }
            each(y, &words);
        }
    }

    /// For each cell how its pixels are made.
    fn rules(&self, share: f32) -> Vec<Rule> {
        let (wide, high) = (self.width.div_ceil(CELL).max(1), self.height.div_ceil(CELL));
        let (mut darkest, mut lightest) = (vec![255_u8; wide * high], vec![0_u8; wide * high]);
        for (y, row) in self.data.chunks_exact(self.width.max(1)).enumerate() {
            let start = y / CELL * wide;
            let mut cells = darkest[start..start + wide].iter_mut().zip(&mut lightest[start..start + wide]);
            let (whole, rest) = row.as_chunks::<CELL>();
            let extremes = |dark: &mut u8, light: &mut u8, pixels: &[u8]| {
                for value in pixels {
                    (*dark, *light) = ((*dark).min(*value), (*light).max(*value));
                }
            };
            for (pixels, (dark, light)) in whole.iter().zip(&mut cells) {
                extremes(dark, light, pixels);
            }
            cells.for_each(|(dark, light)| extremes(dark, light, rest));
        }
        let photo = photos::tiles(self, &darkest, wide, high);
        let tiles_wide = wide.div_ceil(TILE_CELLS);
        let around_dark = around(&darkest, wide, high, u8::min);
        let around_light = around(&lightest, wide, high, u8::max);
        (0..wide * high)
            .map(|at| {
                if photo[at / wide / TILE_CELLS * tiles_wide + at % wide / TILE_CELLS] {
                    return Rule::Photo;
                }
                if darkest[at] >= PAPER {
                    return Rule::Blank;
                }
                let (ink, paper) = (around_dark[at], around_light[at]);
                let contrast = paper - ink;
                // White on black looks the other way round, and a dark fill is a fill: halfway decides there.
                if paper >= PAPER && contrast > CONTRAST_MIN {
                    let limit = f32::from(paper) - f32::from(contrast) * share;
                    return Rule::Below((limit as u8).clamp(INK, PAPER));
                }
                if darkest[at] >= MIDDLE { Rule::Blank } else { Rule::Below(MIDDLE) }
            })
            .collect()
    }
}

/// The extreme of each cell and its eight neighbours.
fn around(cells: &[u8], wide: usize, high: usize, pick: impl Fn(u8, u8) -> u8) -> Vec<u8> {
    // Row by row, so that many cells go at once.
    let mut down = cells.to_vec();
    for y in 0..high {
        let own = &mut down[y * wide..][..wide];
        for other in [y.saturating_sub(1), (y + 1).min(high - 1)] {
            own.iter_mut().zip(&cells[other * wide..][..wide]).for_each(|(own, other)| *own = pick(*own, *other));
        }
    }
    let mut all = down.clone();
    for (to, from) in all.chunks_exact_mut(wide).zip(down.chunks_exact(wide)) {
        to[1..].iter_mut().zip(from).for_each(|(own, left)| *own = pick(*own, *left));
        to.iter_mut().zip(&from[1..]).for_each(|(own, right)| *own = pick(*own, *right));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(shade: impl Fn(usize, usize) -> u8) -> Gray {
        let (width, height) = (256, 128);
        let data = (0..width * height).map(|i| shade(i % width, i / width)).collect();
        Gray { width, height, data }
    }

    fn black(gray: &Gray) -> f64 {
        gray.to_bitmap(0.37).unwrap().black_pixels() as f64 / (gray.width * gray.height) as f64
    }

    #[test]
    fn a_grey_picture_keeps_its_mean_shade() {
        for shade in [40_u8, 90, 128, 200] {
            let got = black(&page(|x, y| shade.wrapping_add(((x * 7 + y * 13) % 9) as u8)));
            let expected = 1.0 - f64::from(shade + 4) / 255.0;
            assert!((got - expected).abs() < 0.02, "{shade}: {got} for {expected}");
        }
    }

    #[test]
    fn a_photograph_is_diffused_up_to_its_last_row_and_column() {
        for (width, height) in [(250, 101), (245, 99), (241, 97)] {
            let data = (0..width * height).map(|i| 120 + (i * 7 % 11) as u8).collect();
            let bits = Gray { width, height, data }.to_bitmap(0.37).unwrap();
            let last_row = (0..width as u32).filter(|x| bits.get(*x, height as u32 - 1)).count();
            let last_column = (0..height as u32).filter(|y| bits.get(width as u32 - 1, *y)).count();
            assert!((width / 4..width * 3 / 4).contains(&last_row), "{last_row} of {width}");
            assert!((height / 4..height * 3 / 4).contains(&last_column), "{last_column} of {height}");
        }
    }

    #[test]
    fn pale_text_is_solid_and_paper_stays_white() {
        for ink in [0_u8, 60, 120, 170, 200] {
            // Strokes of three pixels with half-covered edges.
            let edge = (255 + u16::from(ink)) as u8 / 2 + if ink % 2 == 0 { 0 } else { 1 };
            let edge = edge.max(ink);
            let text = page(|x, _| match x % 16 {
                5..=7 => ink,
                4 | 8 => edge.max(128),
                _ => 255,
            });
            let bits = text.to_bitmap(0.37).unwrap();
            for x in 0..256 {
                let expected = match x % 16 {
                    5..=7 => Some(true),
                    4 | 8 => None,
                    _ => Some(false),
                };
                assert!(expected.is_none_or(|e| bits.get(x, 64) == e), "ink {ink} at {x}");
            }
        }
        assert_eq!(black(&page(|_, _| 240)), 0.0, "a tint of paper is paper");
        assert_eq!(black(&page(|_, _| 0)), 1.0);
    }

    #[test]
    fn a_photograph_takes_fewer_octets_than_single_dots_and_its_lines_stay() {
        let (width, height) = (512_usize, 512_usize);
        let is_line = |x: usize, y: usize| x == 100 + y / 8;
        let shade = |x: usize, y: usize| if is_line(x, y) { 10 } else { (120 + (x * 7 + y * 13) % 31) as u8 };
        let data = (0..width * height).map(|i| shade(i % width, i / width)).collect();
        let bits = Gray { width, height, data }.to_bitmap(0.37).unwrap();
        // Single dots change colour at more than every second pixel.
        let changes = |y| (1..512).filter(|x| bits.get(x - 1, y) != bits.get(*x, y)).count();
        let changes: usize = (0..512).map(changes).sum();
        assert!(changes * 3 < width * height, "{changes} changes");
        let drawn = (0..512).filter(|y| bits.get(100 + y / 8, *y)).count();
        assert!(drawn >= 450, "{drawn} of 512 pixels of the line");
    }

    #[test]
    fn a_picture_is_turned_the_right_way() {
        // 1 2 3 / 4 5 6
        let gray = Gray { width: 3, height: 2, data: (1..7).collect() };
        assert_eq!(gray.turned_clockwise().data, [4, 1, 5, 2, 6, 3]);
        assert_eq!(gray.turned_counterclockwise().data, [3, 6, 2, 5, 1, 4]);
        assert_eq!(gray.turned_around().data, [6, 5, 4, 3, 2, 1]);
        assert_eq!(gray.mirrored().data, [3, 2, 1, 6, 5, 4]);
        assert_eq!((gray.turned_clockwise().width, gray.turned_clockwise().height), (2, 3));
    }
}
