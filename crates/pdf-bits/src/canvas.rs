//! The page while it is drawn: rows of 64-pixel words, most significant bit first, 1 = black.
//!
//! Everything is painted as "these pixels of this word in this ink", an ink being eight rows of a pattern that repeats;
//! black, white and every shade between are the same code. The dots of tinted areas lie in a plane of their own, so that
//! they can be kept off text without touching the lines around it. Beside the bits stands, once something other than white
//! was filled, how light the page is there (a sample for each 4 × 4 pixels), so that text knows what it stands on.

use std::rc::Rc;

use fax_image::{Bitmap, BitmapError};

use crate::clip::Clip;
use crate::ink::Ink;
use crate::raster::Run;

/// How paint meets what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mix {
    /// It covers.
    Cover,
    /// It can only darken: transparent dark paint, the blend modes Multiply and Darken.
    Darken,
    /// It can only lighten: Screen and Lighten.
    Lighten,
}

/// Edge of a sample of lightness, pixels.
const SAMPLE: usize = 4;

pub(crate) struct Canvas {
    width: usize,
    height: usize,
    /// Words in a row.
    words: usize,
    bits: Vec<u64>,
    /// The dots of areas; empty until there are any.
    dots: Vec<u64>,
    shades: Vec<u8>,
}

/// Where paint goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plane {
    /// Text, lines, pictures, black and white areas.
    Solid,
    /// Dots of tinted areas.
    Dots,
}

impl Canvas {
    /// A white page.
    pub(crate) fn new(width: u32, height: u32) -> Self {
        let (width, height) = (width as usize, height as usize);
        let words = width.div_ceil(64);
        Self { width, height, words, bits: vec![0; words * height], dots: Vec::new(), shades: Vec::new() }
    }

    pub(crate) fn width(&self) -> i32 {
        self.width as i32
    }

    pub(crate) fn height(&self) -> i32 {
        self.height as i32
    }

    /// The finished page.
    pub(crate) fn into_bitmap(self) -> Result<Bitmap, BitmapError> {
        let dots = self.dots.iter().copied().chain(std::iter::repeat(0));
        let octets: Vec<u8> = self.bits.iter().zip(dots).flat_map(|(word, dots)| (word | dots).to_be_bytes()).collect();
        Bitmap::from_packed(self.width as u32, self.height as u32, self.words * 8, &octets)
    }

    /// How light the page is around a pixel: 0 black, 255 white.
    pub(crate) fn shade_at(&self, x: i32, y: i32) -> u8 {
        if self.shades.is_empty() || x < 0 || y < 0 || x >= self.width() || y >= self.height() {
            return 255;
        }
        self.shades[y as usize / SAMPLE * self.samples() + x as usize / SAMPLE]
    }

    fn samples(&self) -> usize {
        self.width.div_ceil(SAMPLE)
    }

    /// Notes that these pixels of a row are so light now. Only every fourth row counts.
    pub(crate) fn note_shade(&mut self, y: i32, x0: i32, x1: i32, shade: u8) {
        if y % SAMPLE as i32 != SAMPLE as i32 / 2 && y + 1 != self.height() || (shade == 255 && self.shades.is_empty())
        {
            return;
        }
        let samples = self.samples();
        if self.shades.is_empty() {
            self.shades = vec![255; samples * self.height.div_ceil(SAMPLE)];
        }
        let start = y as usize / SAMPLE * samples;
        // A sample belongs to the run that holds its middle.
        let (from, to) = ((x0 + 1) as usize / SAMPLE, (x1 + 1) as usize / SAMPLE);
        if from < to.min(samples) {
            self.shades[start + from..start + to.min(samples)].fill(shade);
        }
    }

    /// Paints the pixels `x0..x1` of row `y` where the clip lets it.
    pub(crate) fn run(&mut self, y: i32, x0: i32, x1: i32, ink: &Ink, mix: Mix, clip: &Clip) {
        let (x0, x1) = (x0.max(clip.x0), x1.min(clip.x1));
        if x0 >= x1 || y < clip.y0 || y >= clip.y1 {
            return;
        }
        let (first, last) = (x0 as usize / 64, (x1 as usize - 1) / 64);
        let head = u64::MAX >> (x0 % 64);
        let tail = u64::MAX << (63 - (x1 - 1) % 64);
        let pattern = ink.row(y);
        for place in first..=last {
            let mask = (if place == first { head } else { u64::MAX }) & (if place == last { tail } else { u64::MAX });
            self.put(y as usize * self.words + place, pattern, mask & clip.word(place, y), (mix, ink.plane()));
        }
    }

    /// Paints runs.
    pub(crate) fn runs(&mut self, runs: &[Run], ink: &Ink, mix: Mix, clip: &Clip) {
        for run in runs {
            self.run(run.y, run.x0, run.x1, ink, mix, clip);
        }
    }

    /// Paints a rectangle.
    pub(crate) fn rect(&mut self, (x0, y0, x1, y1): (i32, i32, i32, i32), ink: &Ink, mix: Mix, clip: &Clip) {
        for y in y0.max(clip.y0)..y1.min(clip.y1) {
            self.run(y, x0, x1, ink, mix, clip);
        }
    }

    /// Paints the set pixels of a stamp whose upper left corner is at (`x`, `y`).
    pub(crate) fn stamp(&mut self, stamp: &Stamp, x: i32, y: i32, ink: &Ink, mix: Mix, clip: &Clip) {
        let (left, shift) = (x.div_euclid(64), x.rem_euclid(64));
        let rows = (clip.y0 - y).max(0)..(clip.y1 - y).min(stamp.height as i32);
        let (whole, words) = (clip.holds_columns(x, x + stamp.width as i32), self.words as i32);
        for row in rows {
            let (pattern, at) = (ink.row(y + row), (y + row) as usize * self.words);
            for (place, &word) in stamp.row(row as usize).iter().enumerate() {
                let place = left + place as i32;
                for (place, mask) in
                    [(place, word >> shift), (place + 1, if shift == 0 { 0 } else { word << (64 - shift) })]
                {
                    if mask != 0 && (0..words).contains(&place) {
                        let allowed = if whole {
                            u64::MAX
                        } else {
                            clip.columns(place as usize) & clip.word(place as usize, y + row)
                        };
                        self.put(at + place as usize, pattern, mask & allowed, (mix, ink.plane()));
                    }
                }
            }
        }
    }

    /// Paints the columns `span` of a row word by word: `color` gives the pixels of a word of the page, `shown` which of them are
    /// painted.
    pub(crate) fn words_of_row(
        &mut self,
        y: i32,
        span: (i32, i32),
        (color, shown): (impl Fn(usize) -> u64, impl Fn(usize) -> u64),
        how: (Mix, Plane),
        clip: &Clip,
    ) {
        let (x0, x1) = (span.0.max(clip.x0), span.1.min(clip.x1));
        if x0 >= x1 || y < clip.y0 || y >= clip.y1 {
            return;
        }
        let (first, last) = (x0 as usize / 64, (x1 as usize - 1) / 64);
        for place in first..=last {
            let head = if place == first { u64::MAX >> (x0 % 64) } else { u64::MAX };
            let tail = if place == last { u64::MAX << (63 - (x1 - 1) % 64) } else { u64::MAX };
            let mask = head & tail & clip.word(place, y) & shown(place);
            self.put(y as usize * self.words + place, color(place), mask, how);
        }
    }

    /// Makes the dots of tinted areas white or black in a rectangle; everything else stays.
    pub(crate) fn calm(&mut self, (x0, y0, x1, y1): (i32, i32, i32, i32), ink: Ink, clip: &Clip) {
        if self.dots.is_empty() {
            return;
        }
        let (x0, x1) = (x0.max(clip.x0), x1.min(clip.x1));
        if x0 >= x1 {
            return;
        }
        for y in y0.max(clip.y0)..y1.min(clip.y1) {
            for place in x0 as usize / 64..=(x1 as usize - 1) / 64 {
                let left = place as i32 * 64;
                let head = u64::MAX >> (x0 - left).clamp(0, 63);
                let tail = u64::MAX << (left + 64 - x1).clamp(0, 63);
                let mask = head & tail & clip.word(place, y);
                let dots = &mut self.dots[y as usize * self.words + place];
                *dots = if ink == Ink::WHITE { *dots & !mask } else { *dots | mask };
            }
        }
    }

    fn put(&mut self, at: usize, pattern: u64, mask: u64, (mix, plane): (Mix, Plane)) {
        if plane == Plane::Dots && self.dots.is_empty() {
            self.dots = vec![0; self.bits.len()];
        }
        let word = &mut self.bits[at];
        let mut none = 0;
        let dots = self.dots.get_mut(at).unwrap_or(&mut none);
        match (mix, plane) {
            (Mix::Cover, Plane::Solid) => (*word, *dots) = (*word & !mask | pattern & mask, *dots & !mask),
            (Mix::Cover, Plane::Dots) => (*word, *dots) = (*word & !mask, *dots & !mask | pattern & mask),
            (Mix::Darken, Plane::Solid) => *word |= pattern & mask,
            (Mix::Darken, Plane::Dots) => *dots |= pattern & mask,
            (Mix::Lighten, _) => (*word, *dots) = (*word & (pattern | !mask), *dots & (pattern | !mask)),
        }
    }
}

/// The word `place` of a page's row when `words` begin at column `x`.
pub(crate) fn shifted(words: &[u64], x: i32, place: usize) -> u64 {
    let at = place as i64 * 64 - i64::from(x);
    let (index, shift) = (at.div_euclid(64), at.rem_euclid(64));
    let word = |index: i64| usize::try_from(index).ok().and_then(|index| words.get(index)).copied().unwrap_or(0);
    if shift == 0 { word(index) } else { word(index) << shift | word(index + 1) >> (64 - shift) }
}

/// How far a rim keeps dots off a letter, pixels.
pub(crate) const RIM: u32 = 2;

/// A small picture of one ink: a glyph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub width: u32,
    pub height: u32,
    words: usize,
    bits: Rc<[u64]>,
}

impl Stamp {
    /// From runs whose origin is the upper left corner; what is outside is left out.
    pub(crate) fn from_runs(width: u32, height: u32, runs: &[Run]) -> Self {
        let words = (width as usize).div_ceil(64).max(1);
        let mut bits = vec![0; words * height as usize];
        for run in runs.iter().filter(|run| (0..height as i32).contains(&run.y)) {
            for x in run.x0.max(0)..run.x1.min(width as i32) {
                bits[run.y as usize * words + x as usize / 64] |= 1 << (63 - x % 64);
            }
        }
        Self { width, height, words, bits: bits.into() }
    }

    fn row(&self, y: usize) -> &[u64] {
        &self.bits[y * self.words..(y + 1) * self.words]
    }

    /// Octets that it takes.
    pub(crate) fn size_bytes(&self) -> usize {
        self.bits.len() * 8
    }

    pub(crate) fn is_blank(&self) -> bool {
        self.bits.iter().all(|word| *word == 0)
    }

    /// The stamp grown by [`RIM`] pixels on every side: its upper left corner is as much further left and up.
    pub(crate) fn grown(&self) -> Self {
        let (width, height) = (self.width + 2 * RIM, self.height + 2 * RIM);
        let mut runs = Vec::new();
        let reach = 2 * RIM as i32 + 1;
        for y in 0..self.height as i32 {
            let row = self.row(y as usize);
            for x in 0..self.width as i32 {
                if row[x as usize / 64] >> (63 - x % 64) & 1 == 1 {
                    runs.extend((y..y + reach).map(|y| Run { y, x0: x, x1: x + reach }));
                }
            }
        }
        Self::from_runs(width, height, &runs)
    }
}
