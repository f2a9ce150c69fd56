//! Pages made for tests and benchmarks, the same in every run.

use fax_image::{Bitmap, Ink};

/// A small deterministic source of numbers (xorshift).
pub(crate) struct Dice(u64);

impl Dice {
    /// The same seed gives the same numbers.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as u32 % limit
    }
}

/// Lines of letter-like shapes with blank lines, margins and rules between them.
pub(crate) fn text(width: u32, height: u32, seed: u64) -> Bitmap {
    let mut dice = Dice::new(seed);
    let mut page = Bitmap::white(width, height).expect("the size is inside the limits");
    let letters: Vec<Bitmap> = (0..40).map(|_| letter(&mut dice)).collect();
    let margin = width / 12;
    for top in (40..height.saturating_sub(40)).step_by(36) {
        if dice.below(6) == 0 {
            page.fill_rect(margin, top + 10, width - 2 * margin, 2, Ink::Black);
            continue;
        }
        let mut x = margin;
        let line_end = width - margin - dice.below(width / 3 + 1);
        while x + 20 < line_end {
            if dice.below(6) > 0 {
                page.blit_black(&letters[dice.below(40) as usize], x as i32, top as i32);
            }
            x += 17 + dice.below(3);
        }
    }
    page
}

/// A few strokes, straight, slanted and bowed, in a box of 16 × 24 pixels.
fn letter(dice: &mut Dice) -> Bitmap {
    let mut shape = Bitmap::white(16, 24).expect("the size is inside the limits");
    for _ in 0..2 + dice.below(3) {
        let (x, y, slope) = (dice.below(12), dice.below(8), dice.below(5) as i32 - 2);
        if dice.below(3) == 0 {
            shape.fill_rect(x / 2, y * 2, 10, 3, Ink::Black);
        } else {
            for row in 0..16u32.min(24 - y) {
                let shifted = x as i32 + slope * row as i32 / 4;
                shape.fill_rect(shifted.clamp(0, 13) as u32, y + row, 3, 1, Ink::Black);
            }
        }
    }
    shape
}

/// A grey wedge with a disc, error-diffused: what a photograph becomes.
pub(crate) fn diffused(width: u32, height: u32) -> Bitmap {
    let mut page = Bitmap::white(width, height).expect("the size is inside the limits");
    let mut errors = vec![0i32; width as usize + 2];
    for y in 0..height {
        let mut carried = 0;
        let mut next = vec![0i32; width as usize + 2];
        for x in 0..width {
            let (dx, dy) = (i64::from(x) - i64::from(width / 2), i64::from(y) - i64::from(height / 2));
            let in_disc = dx * dx + dy * dy < i64::from(width / 3).pow(2);
            let light = (x + y) * 255 / (width + height);
            let wanted = if in_disc { 255 - light } else { light } as i32;
            let value = wanted + carried + errors[x as usize + 1];
            let shown = if value < 128 { 0 } else { 255 };
            if shown == 0 {
                page.set(x, y, Ink::Black);
            }
            // Floyd and Steinberg's weights.
            let error = value - shown;
            carried = error * 7 / 16;
            next[x as usize] += error * 3 / 16;
            next[x as usize + 1] += error * 5 / 16;
            next[x as usize + 2] += error / 16;
        }
        errors = next;
    }
    page
}
