//! Grey pictures into black and white.
//!
//! Text and line art in them by threshold, photographs by error diffusion, told apart tile by tile: a tile of which most
//! pixels are mid grey is photograph. The threshold is on *coverage*: a pixel is inked when ink covers 37 % of it at 196
//! and 391 lines to the inch, 20 % at 98, where thin horizontals would vanish otherwise (measured by OCR). How dark the
//! ink is, is looked up around the pixel, so that pale and coloured text comes out solid instead of dotted or not at all.

use fax_image::{Bitmap, BitmapError};

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
/// How far spots inside a photograph are filled, in tiles.
const FILL_ROUNDS: usize = 8;
/// What is lighter is paper.
const PAPER: u8 = 236;
/// What is darker is ink.
const INK: u8 = 24;
/// Less contrast than this is no ink on paper.
const CONTRAST_MIN: u8 = 32;
/// Where there is no paper around, ink is what is darker.
const MIDDLE: u8 = 160;

/// What a row of pixels of a cell is made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// All white.
    Blank,
    /// Black below this.
    Below(u8),
    /// Diffused.
    Photo,
}

impl Gray {
    /// Makes tinted paper white: where more than half of the pixels are of one light shade, that shade is the paper of a
    /// scan or a background, and would cost ink and line time for nothing.
    pub fn whiten(&mut self) {
        let mut counts = [0_usize; 256];
        // A row of four tells enough.
        let rows = self.data.chunks(self.width.max(1)).step_by(4);
        rows.flatten().for_each(|value| counts[usize::from(*value)] += 1);
        let all: usize = counts.iter().sum();
        let near = |shade: usize| counts[shade.saturating_sub(10)..(shade + 11).min(256)].iter().sum::<usize>();
        let Some(paper) = (190..250).max_by_key(|shade| near(*shade)) else { return };
        if near(paper) * 2 <= all || counts[250..].iter().sum::<usize>() * 4 > all {
            return;
        }
        let white = paper as u32 - 8;
        let map: [u8; 256] = std::array::from_fn(|value| (value as u32 * 255 / white).min(255) as u8);
        for value in &mut self.data {
            *value = map[usize::from(*value)];
        }
    }

    /// Calls with each row's words, 1 = black, most significant bit first. `share`: coverage from which on a pixel is
    /// inked, 0 to 1.
    pub fn rows(&self, share: f32, mut each: impl FnMut(usize, &[u64])) {
        let rules = self.rules(share);
        let cells_wide = self.width.div_ceil(CELL).max(1);
        let mut words = vec![0_u64; self.width.div_ceil(64)];
        let mut diffuse = Diffuser::new(self.width);
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
        // Four rows become one first: whole rows at a time are what processors are quick at.
        let (mut darks, mut lights) = (vec![0_u8; self.width], vec![0_u8; self.width]);
        for (index, rows) in self.data.chunks(self.width.max(1) * CELL).enumerate() {
            darks.fill(255);
            lights.fill(0);
            for row in rows.chunks_exact(self.width.max(1)) {
                for ((dark, light), value) in darks.iter_mut().zip(&mut lights).zip(row) {
                    (*dark, *light) = ((*dark).min(*value), (*light).max(*value));
                }
            }
            let cells = index * wide..(index + 1) * wide;
            for (cell, values) in darkest[cells.clone()].iter_mut().zip(darks.chunks(CELL)) {
                *cell = values.iter().copied().fold(255, u8::min);
            }
            for (cell, values) in lightest[cells].iter_mut().zip(lights.chunks(CELL)) {
                *cell = values.iter().copied().fold(0, u8::max);
            }
        }
        let photo = self.photo_tiles(&darkest, wide, high);
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

    /// For each tile whether it is photograph: most of it mid grey and none of it paper (paper and grey together are bold
    /// coloured letters); then its rim and the spots inside.
    fn photo_tiles(&self, darkest: &[u8], cells_wide: usize, cells_high: usize) -> Vec<bool> {
        let (wide, high) = (cells_wide.div_ceil(TILE_CELLS), cells_high.div_ceil(TILE_CELLS));
        let (mut mids, mut papers) = (vec![0_usize; wide * high], vec![0_usize; wide * high]);
        for (y, row) in self.data.chunks_exact(self.width.max(1)).enumerate() {
            let cells = &darkest[y / CELL * cells_wide..][..cells_wide];
            let start = y / TILE * wide;
            for (tile, (pixels, cells)) in row.chunks(TILE).zip(cells.chunks(TILE_CELLS)).enumerate() {
                if cells.iter().all(|dark| *dark >= PAPER) {
                    papers[start + tile] += pixels.len();
                    continue;
                }
                let (mut mid, mut paper) = (0_u32, 0_u32);
                for value in pixels {
                    paper += u32::from(*value >= PAPER);
                    mid += u32::from((INK..PAPER).contains(value));
                }
                mids[start + tile] += mid as usize;
                papers[start + tile] += paper as usize;
            }
        }
        let pixels = |index: usize| {
            let (x, y) = (index % wide * TILE, index / wide * TILE);
            TILE.min(self.width - x) * TILE.min(self.height - y)
        };
        let sizes: Vec<usize> = (0..wide * high).map(pixels).collect();
        grow_photos(&mids, &papers, &sizes, wide)
    }
}

/// From the pixels of each tile that are mid grey and that are paper, and all it has: at the rims a tile has fewer.
fn grow_photos(mids: &[usize], papers: &[usize], sizes: &[usize], wide: usize) -> Vec<bool> {
    let high = sizes.len() / wide.max(1);
    let share = |count: usize, size: usize, percent: usize| count * 100 > size * percent;
    let tiles = || mids.iter().zip(papers).zip(sizes);
    let mut photo: Vec<bool> = tiles().map(|((m, p), s)| share(*m, *s, 70) && !share(*p, *s, 5)).collect();
    let neighbours = |photo: &[bool], index: usize| {
        let (x, y) = (index % wide, index / wide);
        let (xs, ys) = (x.saturating_sub(1)..(x + 2).min(wide), y.saturating_sub(1)..(y + 2).min(high));
        ys.flat_map(|y| xs.clone().map(move |x| y * wide + x)).filter(|neighbour| photo[*neighbour]).count()
    };
    // The rim of a photograph, and light or dark spots inside one. A straight rim has three neighbours in the photograph,
    // so asking for four keeps the filling of spots from growing into text beside it.
    let rim = |m: usize, p: usize, s: usize| share(m, s, 35) || share(m, s, 5) && m * 4 > (s - p.min(s)) * 3;
    for round in 0..FILL_ROUNDS {
        if !photo.contains(&true) {
            break;
        }
        let before = photo.clone();
        for index in 0..photo.len() {
            let count = neighbours(&before, index);
            photo[index] |= round == 0 && count >= 1 && rim(mids[index], papers[index], sizes[index])
                || count >= 4 && share(mids[index], sizes[index], 8);
        }
        if photo == before {
            break;
        }
    }
    photo
}

/// The extreme of each cell and its eight neighbours.
fn around(cells: &[u8], wide: usize, high: usize, pick: fn(u8, u8) -> u8) -> Vec<u8> {
    let mut across = cells.to_vec();
    for (to, from) in across.chunks_exact_mut(wide).zip(cells.chunks_exact(wide)) {
        for x in 0..wide {
            let left = from[x.saturating_sub(1)];
            let right = from[(x + 1).min(wide - 1)];
            to[x] = pick(pick(left, from[x]), right);
        }
    }
    let mut all = across.clone();
    for y in 0..high {
        let (above, below) = (y.saturating_sub(1) * wide, (y + 1).min(high - 1) * wide);
        for x in 0..wide {
            all[y * wide + x] = pick(pick(across[above + x], across[y * wide + x]), across[below + x]);
        }
    }
    all
}

/// Serpentine Floyd-Steinberg over the photograph cells; the error starts anew at pure black and white, so that blank
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

    fn row(&mut self, y: usize, row: &[u8], rules: &[Rule], words: &mut [u64]) {
        self.next.fill(0);
        let rightwards = y.is_multiple_of(2);
        let mut carry = 0;
        let cells = rules.len();
        for step in 0..cells {
            let cell = if rightwards { step } else { cells - 1 - step };
            if rules[cell] != Rule::Photo {
                carry = 0;
                continue;
            }
            let (from, to) = (cell * CELL, (cell * CELL + CELL).min(row.len()));
            if rightwards {
                (from..to).for_each(|x| self.pixel(x, row[x], 1, &mut carry, words));
            } else {
                (from..to).rev().for_each(|x| self.pixel(x, row[x], -1, &mut carry, words));
            }
        }
        std::mem::swap(&mut self.now, &mut self.next);
    }

    fn pixel(&mut self, x: usize, value: u8, ahead: isize, carry: &mut i32, words: &mut [u64]) {
        let bit = 1_u64 << (63 - x % 64);
        if value >= 250 || value <= 4 {
            *carry = 0;
            if value <= 4 {
                words[x / 64] |= bit;
            }
            return;
        }
        let want = i32::from(value) + (*carry + self.now[x + 1] + 8) / 16;
        let got = if want < 128 {
            words[x / 64] |= bit;
            0
        } else {
            255
        };
        let error = want - got;
        *carry = error * 7;
        let (front, back) = ((x as isize + 1 + ahead) as usize, (x as isize + 1 - ahead) as usize);
        self.next[back] += error * 3;
        self.next[x + 1] += error * 5;
        self.next[front] += error;
    }
}

impl Gray {
    /// As a page of its own. See [`Gray::rows`] for `share`.
    pub fn to_bitmap(&self, share: f32) -> Result<Bitmap, BitmapError> {
        let stride = self.width.div_ceil(64) * 8;
        let mut octets = Vec::with_capacity(stride * self.height);
        self.rows(share, |_, words| octets.extend(words.iter().flat_map(|word| word.to_be_bytes())));
        let size = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Bitmap::from_packed(size(self.width), size(self.height), stride, &octets)
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
}
