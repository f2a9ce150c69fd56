//! A row as its colour changes, the form that T.4 and T.6 think in.
//!
//! A change is the position of a pixel whose colour differs from the one before it; the pixel before the first is white
//! (T.4 §4.2.1.1). Positions rise strictly and lie below the width. After the last change stand [`SENTINELS`] entries equal
//! to the width: the imaginary changing elements behind the row, as many as one step of a coder can look ahead.

/// Entries equal to the width behind the last change.
pub(super) const SENTINELS: usize = 4;

/// The changes of one row.
#[derive(Clone)]
pub(super) struct Changes {
    width: u32,
    /// Room for a change at every pixel and at the width, and for the sentinels.
    places: Vec<u32>,
    /// Changes among `places`, from the front.
    count: usize,
}

impl Changes {
    /// The changes of a white row.
    pub(super) fn white(width: u32) -> Self {
        Self { width, places: vec![width; width as usize + 1 + SENTINELS], count: 0 }
    }

    /// How many changes there are, sentinels not counted.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The changes with their sentinels.
    pub(super) fn with_sentinels(&self) -> &[u32] {
        &self.places[..self.count + SENTINELS]
    }

    /// Takes the changes from a packed row, whose length is a multiple of 8 octets and whose bits beyond the width are 0.
    pub(super) fn read_row(&mut self, row: &[u8]) {
        self.count = 0;
        let mut before = 0u64;
        let mut base = 0;
        for octets in row.chunks_exact(8) {
            let mut eight = [0; 8];
            eight.copy_from_slice(octets);
            let pixels = u64::from_be_bytes(eight);
            let mut differs = pixels ^ ((pixels >> 1) | (before << 63));
            while differs != 0 {
                let place = differs.leading_zeros();
                self.add(base + place);
                differs ^= 1 << (63 - place);
            }
            before = pixels & 1;
            base += 64;
        }
        self.close();
    }

    /// Starts a row that is filled by [`Changes::push`] and closed by [`Changes::close`].
    pub(super) fn open(&mut self) {
        self.count = 0;
    }

    /// Adds a change at `place`, which is not left of the one before it and not right of the width. A run of no pixels vanishes
    /// together with the change before it, so positions keep rising strictly and the colour is still the parity of their number.
    #[inline(always)]
    pub(super) fn push(&mut self, place: u32) {
        if self.count > 0 && self.places[self.count - 1] == place {
            self.count -= 1;
        } else {
            self.add(place);
        }
    }

    /// Ends a row: a change at the width, where a black run ends with the row, becomes a sentinel.
    pub(super) fn close(&mut self) {
        if self.count > 0 && self.places[self.count - 1] >= self.width {
            self.count -= 1;
        }
        self.places[self.count..self.count + SENTINELS].fill(self.width);
    }

    /// Strictly rising places up to the width never outgrow the room.
    #[inline(always)]
    fn add(&mut self, place: u32) {
        self.places[self.count] = place;
        self.count += 1;
    }

    /// Paints the row into `words`, 64 pixels each, most significant bit first.
    pub(super) fn paint(&self, words: &mut [u64]) {
        words.fill(0);
        for &place in &self.places[..self.count] {
            words[place as usize / 64] |= 1 << (63 - place % 64);
        }
        // A pixel is black when an odd number of changes lies at or left of it.
        let mut carried = 0;
        for word in words.iter_mut() {
            if *word != 0 {
                let mut pixels = *word;
                for shift in [1, 2, 4, 8, 16, 32] {
                    pixels ^= pixels >> shift;
                }
                *word = pixels ^ carried;
                carried = if *word & 1 == 1 { u64::MAX } else { 0 };
            } else {
                *word = carried;
            }
        }
        let beyond = words.len() as u32 * 64 - self.width;
        if let (Some(last), 1..=63) = (words.last_mut(), beyond) {
            *last &= u64::MAX << beyond;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Bitmap;

    proptest! {
        #[test]
        fn a_row_painted_from_its_changes_is_the_row(width in 1u32..300, bits in prop::collection::vec(any::<u8>(), 38)) {
            let page = Bitmap::from_packed(width, 1, 38, &bits).unwrap();
            let mut changes = Changes::white(width);
            changes.read_row(page.row(0));
            let mut words = vec![u64::MAX; page.stride() / 8];
            changes.paint(&mut words);
            let painted: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            prop_assert_eq!(painted, page.row(0));
            let mut before = false;
            let expected = (0..width).filter(|&x| std::mem::replace(&mut before, page.get(x, 0)) != page.get(x, 0)).count();
            prop_assert_eq!(changes.count(), expected);
        }
    }

    #[test]
    fn a_run_of_no_pixels_vanishes() {
        let mut changes = Changes::white(10);
        changes.open();
        for place in [0, 0, 3, 5, 5, 8, 10] {
            changes.push(place);
        }
        changes.close();
        assert_eq!(&changes.with_sentinels()[..changes.count()], [3, 8]);
    }
}
