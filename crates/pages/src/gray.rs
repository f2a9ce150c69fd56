//! Grey pages into black and white.
//!
//! Text and line art by threshold, pictures by error diffusion, told apart tile by tile: a tile of which most pixels
//! are mid grey is picture. The threshold is on *coverage*: a pixel is inked when ink covers 37 % of it at 196 and 391
//! lines to the inch, 20 % at 98, where thin horizontals would vanish otherwise (measured by OCR). How dark the ink
//! is, is looked up around the pixel, so that pale and coloured text comes out solid instead of dotted or not at all.

use fax_image::Bitmap;

use crate::order::{Quality, Result, damaged};

/// A page of grey: 0 black, 255 white, rows without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gray {
    pub width: usize,
    pub height: usize,
    pub data: Vec<u8>,
}

/// A picture tile's edge, pixels.
const TILE: usize = 16;
/// How far spots inside a picture are filled, in tiles.
const FILL_ROUNDS: usize = 8;
/// What is lighter is paper.
const PAPER: u8 = 236;
/// What is darker is ink.
const INK: u8 = 24;
/// How far around a pixel its ink is looked for.
const REACH: usize = 3;

impl Gray {
    /// From RGBA, premultiplied on white.
    pub(crate) fn from_rgba(width: usize, height: usize, rgba: &[u8]) -> Self {
        let luma = |c: &[u8]| ((u32::from(c[0]) * 77 + u32::from(c[1]) * 150 + u32::from(c[2]) * 29 + 128) >> 8) as u8;
        Self { width, height, data: rgba.chunks_exact(4).map(luma).collect() }
    }

    /// Makes tinted paper white: where more than half of the pixels are of one light shade, that shade is the paper of a scan
    /// or a background, and would cost ink and line time for nothing.
    pub(crate) fn whiten(&mut self) {
        let mut counts = [0_usize; 256];
        self.data.iter().for_each(|value| counts[usize::from(*value)] += 1);
        let near = |shade: usize| counts[shade.saturating_sub(10)..(shade + 11).min(256)].iter().sum::<usize>();
        let Some(paper) = (190..250).max_by_key(|shade| near(*shade)) else { return };
        if near(paper) * 2 <= self.data.len() || counts[250..].iter().sum::<usize>() * 4 > self.data.len() {
            return;
        }
        let white = paper as u32 - 8;
        for value in &mut self.data {
            *value = (u32::from(*value) * 255 / white).min(255) as u8;
        }
    }

    /// As a page of the fax.
    pub(crate) fn to_bits(&self, quality: Quality) -> Result<Bitmap> {
        let picture = self.picture_tiles();
        let coverage_percent = match quality {
            Quality::Standard => 20,
            Quality::Fine | Quality::Superfine => 37,
        };
        let stride = self.width.div_ceil(8);
        let mut bits = vec![0_u8; stride * self.height];
        let mut diffuse = Diffuser::new(self.width);
        let tiles_wide = self.width.div_ceil(TILE);
        for y in 0..self.height {
            let row = &self.data[y * self.width..(y + 1) * self.width];
            let out = &mut bits[y * stride..(y + 1) * stride];
            let tiles = &picture[y / TILE * tiles_wide..][..tiles_wide];
            if tiles.contains(&true) {
                diffuse.row(y, row, tiles, out);
            } else {
                diffuse.clear();
            }
            for (x, value) in row.iter().enumerate() {
                if *value < PAPER && !tiles[x / TILE] && (*value < INK || self.is_inked(x, y, coverage_percent)) {
                    out[x / 8] |= 0x80 >> (x % 8);
                }
            }
        }
        let size = |n| u32::try_from(n).map_err(|_| damaged("the page is too large"));
        Bitmap::from_packed(size(self.width)?, size(self.height)?, stride, &bits).map_err(|e| damaged(e.to_string()))
    }

    /// Whether ink covers so much of the pixel, taking the darkest pixel around for the ink's shade.
    fn is_inked(&self, x: usize, y: usize, coverage_percent: u32) -> bool {
        let value = self.data[y * self.width + x];
        let (left, right) = (x.saturating_sub(REACH), (x + REACH + 1).min(self.width));
        let (top, bottom) = (y.saturating_sub(REACH), (y + REACH + 1).min(self.height));
        let (mut ink, mut paper) = (255, 0);
        for row in top..bottom {
            for shade in &self.data[row * self.width + left..row * self.width + right] {
                (ink, paper) = (ink.min(*shade), paper.max(*shade));
            }
        }
        // White on black looks the other way round, and a dark fill is a fill: halfway decides there.
        let contrast = u32::from(paper - ink);
        let threshold =
            if paper >= PAPER && contrast > 32 { u32::from(paper) - contrast * coverage_percent / 100 } else { 160 };
        u32::from(value) < threshold
    }

    /// For each tile whether it is picture: most of it mid grey and none of it paper (paper and grey together are bold
    /// coloured letters); then its rim and the spots inside.
    fn picture_tiles(&self) -> Vec<bool> {
        let (wide, high) = (self.width.div_ceil(TILE), self.height.div_ceil(TILE));
        let (mut mids, mut papers) = (vec![0_usize; wide * high], vec![0_usize; wide * high]);
        for (y, row) in self.data.chunks_exact(self.width.max(1)).enumerate() {
            for (tile, pixels) in row.chunks(TILE).enumerate() {
                mids[y / TILE * wide + tile] += pixels.iter().filter(|v| (INK..PAPER).contains(*v)).count();
                papers[y / TILE * wide + tile] += pixels.iter().filter(|v| **v >= PAPER).count();
            }
        }
        let share = |count: usize, percent: usize| count * 100 > TILE * TILE * percent;
        let mut picture: Vec<bool> = mids.iter().zip(&papers).map(|(m, p)| share(*m, 70) && !share(*p, 5)).collect();
        let around = |picture: &[bool], index: usize| {
            let (x, y) = (index % wide, index / wide);
            let (xs, ys) = (x.saturating_sub(1)..(x + 2).min(wide), y.saturating_sub(1)..(y + 2).min(high));
            ys.flat_map(|y| xs.clone().map(move |x| y * wide + x)).filter(|neighbour| picture[*neighbour]).count()
        };
        // The rim of a picture, and light or dark spots inside one. A straight rim has three neighbours in the picture, so
        // asking for four keeps the filling of spots from growing into text beside the picture.
        let rim = |m: usize, p: usize| share(m, 35) || share(m, 5) && m * 4 > (TILE * TILE - p.min(TILE * TILE)) * 3;
        for round in 0..FILL_ROUNDS {
            let before = picture.clone();
            for index in 0..picture.len() {
                let neighbours = around(&before, index);
                picture[index] |= round == 0 && neighbours >= 1 && rim(mids[index], papers[index])
                    || neighbours >= 4 && share(mids[index], 8);
            }
            if picture == before {
                break;
            }
        }
        picture
    }
}

/// Serpentine Floyd-Steinberg over the picture tiles; the error starts anew at pure black and white, so that blank
/// margins of a scan get no snow.
struct Diffuser {
    now: Vec<i32>,
    next: Vec<i32>,
}

impl Diffuser {
    fn new(width: usize) -> Self {
        Self { now: vec![0; width + 2], next: vec![0; width + 2] }
    }

    fn clear(&mut self) {
        self.now.fill(0);
    }

    fn row(&mut self, y: usize, row: &[u8], tiles: &[bool], out: &mut [u8]) {
        self.next.fill(0);
        let rightwards = y.is_multiple_of(2);
        let mut carry = 0;
        for step in 0..row.len() {
            let x = if rightwards { step } else { row.len() - 1 - step };
            let value = row[x];
            let pure = value >= 250 || value <= 4;
            if !tiles[x / TILE] || pure {
                carry = 0;
                if tiles[x / TILE] && value <= 4 {
                    out[x / 8] |= 0x80 >> (x % 8);
                }
                continue;
            }
            let want = i32::from(value) + (carry + self.now[x + 1] + 8) / 16;
            let got = if want < 128 { 0 } else { 255 };
            if got == 0 {
                out[x / 8] |= 0x80 >> (x % 8);
            }
            let error = want - got;
            carry = error * 7;
            let (ahead, behind) = if rightwards { (x + 2, x) } else { (x, x + 2) };
            self.next[behind] += error * 3;
            self.next[x + 1] += error * 5;
            self.next[ahead] += error;
        }
        std::mem::swap(&mut self.now, &mut self.next);
    }
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
        gray.to_bits(Quality::Fine).unwrap().black_pixels() as f64 / (gray.width * gray.height) as f64
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
            let bits = text.to_bits(Quality::Fine).unwrap();
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
}
