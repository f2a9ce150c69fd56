//! What may be painted: a rectangle, and inside it perhaps a mask.

use std::rc::Rc;

use crate::raster::Run;

/// Pixels `x0..x1`, `y0..y1`, always inside the page; where there is a mask, those of its pixels.
#[derive(Debug, Clone)]
pub(crate) struct Clip {
    pub x0: i32,
    pub y0: i32,
    pub x1: i32,
    pub y1: i32,
    mask: Option<Rc<Mask>>,
}

#[derive(Debug)]
struct Mask {
    first_word: usize,
    first_row: i32,
    words: usize,
    bits: Vec<u64>,
}

impl Clip {
    /// The whole page.
    pub(crate) fn page(width: i32, height: i32) -> Self {
        Self { x0: 0, y0: 0, x1: width, y1: height, mask: None }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.x0 >= self.x1 || self.y0 >= self.y1
    }

    /// The part inside this rectangle.
    pub(crate) fn within(&self, (x0, y0, x1, y1): (i32, i32, i32, i32)) -> Self {
        Self {
            x0: x0.max(self.x0),
            y0: y0.max(self.y0),
            x1: x1.min(self.x1).max(self.x0),
            y1: y1.min(self.y1).max(self.y0),
            mask: self.mask.clone(),
        }
    }

    /// The part that these runs cover. They lie inside the clip's rectangle.
    pub(crate) fn within_runs(&self, runs: &[Run]) -> Self {
        let bounds = runs.iter().fold((i32::MAX, i32::MAX, 0, 0), |(x0, y0, x1, y1), run| {
            (x0.min(run.x0), y0.min(run.y), x1.max(run.x1), y1.max(run.y + 1))
        });
        let inner = self.within(bounds);
        if inner.is_empty() || runs.is_empty() {
            return Self { x1: self.x0, y1: self.y0, mask: None, ..*self };
        }
        let first_word = inner.x0 as usize / 64;
        let words = (inner.x1 as usize - 1) / 64 + 1 - first_word;
        let mut mask =
            Mask { first_word, first_row: inner.y0, words, bits: vec![0; words * (inner.y1 - inner.y0) as usize] };
        for run in runs {
            let (x0, x1) = (run.x0.max(inner.x0), run.x1.min(inner.x1));
            if x0 >= x1 || run.y < inner.y0 || run.y >= inner.y1 {
                continue;
            }
            let (first, last) = (x0 as usize / 64, (x1 as usize - 1) / 64);
            for place in first..=last {
                let head = if place == first { u64::MAX >> (x0 % 64) } else { u64::MAX };
                let tail = if place == last { u64::MAX << (63 - (x1 - 1) % 64) } else { u64::MAX };
                let at = (run.y - inner.y0) as usize * words + place - first_word;
                mask.bits[at] |= head & tail & self.word(place, run.y);
            }
        }
        Self { mask: Some(Rc::new(mask)), ..inner }
    }

    /// Which pixels of a word the mask lets through. For words and rows that touch the rectangle.
    pub(crate) fn word(&self, place: usize, y: i32) -> u64 {
        let Some(mask) = &self.mask else { return u64::MAX };
        let Some(column) = place.checked_sub(mask.first_word).filter(|column| *column < mask.words) else { return 0 };
        let Ok(row) = usize::try_from(y - mask.first_row) else { return 0 };
        mask.bits.get(row * mask.words + column).copied().unwrap_or(0)
    }

    /// Which pixels of a word lie in the rectangle.
    pub(crate) fn columns(&self, place: usize) -> u64 {
        let left = place as i32 * 64;
        let head = (self.x0 - left).clamp(0, 64);
        let tail = (left + 64 - self.x1).clamp(0, 64);
        let head = if head == 64 { 0 } else { u64::MAX >> head };
        let tail = if tail == 64 { 0 } else { u64::MAX << tail };
        head & tail
    }

    /// Whether nothing of these columns is clipped.
    pub(crate) fn holds_columns(&self, x0: i32, x1: i32) -> bool {
        self.mask.is_none() && self.x0 <= x0 && x1 <= self.x1
    }
}
