//! Error diffusion of photographs.

use super::{CELL, Rule};

/// From here on a pixel is pure white, and from the other end pure black.
const PURE: u8 = 4;

/// Serpentine Floyd-Steinberg over the photograph cells; the error starts anew at pure black and white, so that blank
/// margins of a scan get no snow.
pub(super) struct Diffuser {
    now: Vec<i32>,
    next: Vec<i32>,
}

impl Diffuser {
    pub(super) fn new(width: usize) -> Self {
        Self { now: vec![0; width + 2], next: vec![0; width + 2] }
    }

    /// A row without photographs: nothing is carried over it.
    pub(super) fn clear(&mut self) {
        self.now.fill(0);
    }

    /// Adds the black pixels of row `y` to `words`.
    pub(super) fn row(&mut self, y: usize, row: &[u8], rules: &[Rule], words: &mut [u64]) {
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
        if value > 255 - PURE || value <= PURE {
            *carry = 0;
            if value <= PURE {
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
