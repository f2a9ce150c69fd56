//! One fax page as bits.
//!
//! In: dimensions, packed rows, grey samples or other bitmaps. Out: rows that the codec reads 64 pixels at a time.
//! Failure: only sizes can be wrong; they are checked before memory is taken, so a hostile width or height costs nothing.
//! Drawing outside the page is clipped and never an error. Standard: T.4 §2 (scan lines), T.30 Table 2 (page widths).
//!
//! What never happens: a bit beyond the width is never black, so two bitmaps are equal exactly when their pixels are.

use std::ops::{Deref, DerefMut, Range};

use thiserror::Error;

/// Widest page in pixels. The widest of T.30 is A3 at 1200 dpi, 14,592 pixels.
pub const WIDTH_MAX: u32 = 16_384;
/// Longest page in rows: 1.06 m at 391 dpi, 2.1 m at 196 dpi, and an A4 or Letter scan at 1200 dpi.
/// Together with [`WIDTH_MAX`] it bounds a page to 32 MiB.
pub const HEIGHT_MAX: u32 = 16_384;

/// Rows start at multiples of this many octets, so that a row is a whole number of 64-pixel words.
const STRIDE_ALIGN: usize = 8;

/// Why a bitmap cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BitmapError {
    /// The width is zero or above [`WIDTH_MAX`].
    #[error("page width {width} px is outside 1..={WIDTH_MAX}")]
    Width {
        /// The refused width in pixels.
        width: u32,
    },
    /// The height is above [`HEIGHT_MAX`].
    #[error("page height {height} rows is above {HEIGHT_MAX}")]
    Height {
        /// The refused height in rows.
        height: u64,
    },
    /// The samples do not fill the page.
    #[error("{got} octets of samples for a page that needs {expected}")]
    Short {
        /// Octets needed for width, height and stride.
        expected: usize,
        /// Octets given.
        got: usize,
    },
    /// A row of the source is shorter than the width.
    #[error("row stride of {stride} octets is too small for {width} px")]
    Stride {
        /// The stride given, in octets.
        stride: usize,
        /// The width in pixels.
        width: u32,
    },
}

/// A page of bilevel pixels: rows packed most significant bit first, 1 = black, each row [`Bitmap::stride`] octets long
/// (a multiple of 8), bits beyond the width always 0. The width is 1..=[`WIDTH_MAX`]; the height may be 0 while a page is
/// being built.
#[derive(Clone, PartialEq, Eq)]
pub struct Bitmap {
    width: u32,
    height: u32,
    stride: usize,
    bits: Vec<u8>,
}

impl Bitmap {
    /// An all-white page of `width` pixels and `height` rows.
    pub fn white(width: u32, height: u32) -> Result<Self, BitmapError> {
        let stride = stride_for(width)?;
        check_height(u64::from(height))?;
        Ok(Self { width, height, stride, bits: vec![0; stride * height as usize] })
    }

    /// Whether a page of this size may be made.
    pub fn check_size(width: u32, height: u32) -> Result<(), BitmapError> {
        stride_for(width).and_then(|_| check_height(u64::from(height)))
    }

    /// A page from packed rows of `stride` octets (at least `width.div_ceil(8)`), most significant bit first, 1 = black.
    /// Bits beyond the width and octets beyond `stride * height` are ignored; the last row may end with its last pixel.
    pub fn from_packed(width: u32, height: u32, stride: usize, bits: &[u8]) -> Result<Self, BitmapError> {
        let mut page = Self::white(width, height)?;
        let used = width.div_ceil(8) as usize;
        if stride < used {
            return Err(BitmapError::Stride { stride, width });
        }
        let expected = (height as usize)
            .checked_sub(1)
            .map_or(Some(0), |rows| rows.checked_mul(stride).and_then(|octets| octets.checked_add(used)));
        if expected.is_none_or(|expected| bits.len() < expected) {
            return Err(BitmapError::Short { expected: expected.unwrap_or(usize::MAX), got: bits.len() });
        }
        let tail = page.tail_mask();
        for (target, source) in page.bits.chunks_exact_mut(page.stride).zip(bits.chunks(stride)) {
            target[..used].copy_from_slice(&source[..used]);
            target[used - 1] &= tail;
        }
        Ok(page)
    }

    /// A page from `width * height` grey samples (0 = black, 255 = white), one octet each, rows without padding.
    /// A sample below `threshold` becomes black.
    pub fn from_gray_threshold(width: u32, height: u32, gray: &[u8], threshold: u8) -> Result<Self, BitmapError> {
        let mut page = Self::white(width, height)?;
        let expected = width as usize * height as usize;
        if gray.len() < expected {
            return Err(BitmapError::Short { expected, got: gray.len() });
        }
        for (target, source) in page.bits.chunks_exact_mut(page.stride).zip(gray.chunks_exact(width as usize)) {
            for (octet, samples) in target.iter_mut().zip(source.chunks(8)) {
                let mut packed = 0;
                for (place, &sample) in samples.iter().enumerate() {
                    packed |= u8::from(sample < threshold) << (7 - place);
                }
                *octet = packed;
            }
        }
        Ok(page)
    }

    /// Width in pixels, 1..=[`WIDTH_MAX`].
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in rows, 0..=[`HEIGHT_MAX`].
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Octets from one row to the next, a multiple of 8.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// All rows, `stride * height` octets.
    pub fn bits(&self) -> &[u8] {
        &self.bits
    }

    /// The `stride` octets of row `y`. Panics when `y >= height`.
    pub fn row(&self, y: u32) -> &[u8] {
        let start = y as usize * self.stride;
        &self.bits[start..start + self.stride]
    }

    /// Row `y` for writing; bits set beyond the width are cleared when the guard is dropped. Panics when `y >= height`.
    pub fn row_mut(&mut self, y: u32) -> RowMut<'_> {
        let start = y as usize * self.stride;
        let (last, tail) = (self.width.div_ceil(8) as usize - 1, self.tail_mask());
        RowMut { octets: &mut self.bits[start..start + self.stride], last, tail }
    }

    /// All rows from the top.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.bits.chunks_exact(self.stride)
    }

    /// Whether the pixel is black; `false` outside the page.
    pub fn get(&self, x: u32, y: u32) -> bool {
        x < self.width && y < self.height && self.row(y)[x as usize / 8] & (0x80 >> (x % 8)) != 0
    }

    /// Makes one pixel black or white; nothing happens outside the page.
    pub fn set(&mut self, x: u32, y: u32, ink: Ink) {
        if x >= self.width || y >= self.height {
            return;
        }
        let octet = &mut self.bits[y as usize * self.stride + x as usize / 8];
        let bit = 0x80 >> (x % 8);
        match ink {
            Ink::Black => *octet |= bit,
            Ink::White => *octet &= !bit,
        }
    }

    /// Fills the rectangle with its upper left corner at (`x`, `y`), clipped to the page.
    pub fn fill_rect(&mut self, x: u32, y: u32, width: u32, height: u32, ink: Ink) {
        let (x_end, y_end) = (x.saturating_add(width).min(self.width), y.saturating_add(height).min(self.height));
        if x >= x_end {
            return;
        }
        let (first, last) = (x as usize / 8, (x_end as usize - 1) / 8);
        let (head, tail) = (0xffu8 >> (x % 8), 0xffu8 << (7 - (x_end - 1) % 8));
        for y in y..y_end {
            let start = y as usize * self.stride;
            let octets = &mut self.bits[start + first..=start + last];
            let end = octets.len() - 1;
            for (place, octet) in octets.iter_mut().enumerate() {
                let mask = (if place == 0 { head } else { 0xff }) & (if place == end { tail } else { 0xff });
                match ink {
                    Ink::Black => *octet |= mask,
                    Ink::White => *octet &= !mask,
                }
            }
        }
    }

    /// Whether row `y` holds no black pixel. Panics when `y >= height`.
    pub fn is_row_white(&self, y: u32) -> bool {
        self.row(y).iter().all(|&octet| octet == 0)
    }

    /// The page cut down to these rows, clipped to the page. An empty or reversed range gives a page of no rows.
    pub fn crop_rows(&self, rows: Range<u32>) -> Self {
        let end = rows.end.min(self.height);
        let start = rows.start.min(end);
        let bits = self.bits[start as usize * self.stride..end as usize * self.stride].to_vec();
        Self { width: self.width, height: end - start, stride: self.stride, bits }
    }

    /// Adds `count` white rows at the bottom.
    pub fn extend_rows(&mut self, count: u32) -> Result<(), BitmapError> {
        let height = u64::from(self.height) + u64::from(count);
        check_height(height)?;
        self.height += count;
        self.bits.resize(self.stride * self.height as usize, 0);
        Ok(())
    }

    /// Copies `source` (its white pixels too) with its upper left corner at (`x`, `y`), clipped to the page.
    pub fn blit(&mut self, source: &Self, x: i32, y: i32) {
        self.combine(source, x, y, |under, over, mask| (under & !mask) | over);
    }

    /// Adds the black pixels of `source` with its upper left corner at (`x`, `y`), clipped to the page.
    pub fn blit_black(&mut self, source: &Self, x: i32, y: i32) {
        self.combine(source, x, y, |under, over, _| under | over);
    }

    /// The number of black pixels.
    pub fn black_pixels(&self) -> u64 {
        self.bits.iter().map(|octet| u64::from(octet.count_ones())).sum()
    }

    /// Makes black pixels white and white ones black.
    pub fn invert(&mut self) {
        for y in 0..self.height {
            self.row_mut(y).iter_mut().for_each(|octet| *octet = !*octet);
        }
    }

    /// Replaces the rows from `y` on by those of a page of the same width. Panics when they do not fit.
    pub(crate) fn put_rows(&mut self, y: u32, source: &Self) {
        assert_eq!(self.width, source.width, "rows of another width");
        let start = y as usize * self.stride;
        self.bits[start..start + source.bits.len()].copy_from_slice(&source.bits);
    }

    /// Runs `mix(octet under, shifted source octet, its covered pixels)` over each target octet that `source` touches.
    fn combine(&mut self, source: &Self, x: i32, y: i32, mix: impl Fn(u8, u8, u8) -> u8) {
        let (x, y) = (i64::from(x), i64::from(y));
        let rows = (-y).max(0)..i64::from(source.height).min(i64::from(self.height) - y);
        let columns = x.max(0)..(x + i64::from(source.width)).min(i64::from(self.width));
        if columns.is_empty() {
            return;
        }
        for row in rows {
            let from = source.row(row as u32);
            let start = (y + row) as usize * self.stride;
            for octet in columns.start / 8..=(columns.end - 1) / 8 {
                let left = octet * 8;
                // The eight source pixels under this octet straddle two source octets unless x is a multiple of 8.
                let at = left - x;
                let (place, shift) = (at.div_euclid(8), at.rem_euclid(8) as u32);
                let pair = u16::from_be_bytes([octet_at(from, place), octet_at(from, place + 1)]);
                let head = 0xffu8 >> (columns.start - left).max(0);
                let tail = 0xffu8 << (left + 8 - columns.end).clamp(0, 7);
                let mask = head & tail;
                let target = &mut self.bits[start + octet as usize];
                *target = mix(*target, ((pair << shift) >> 8) as u8 & mask, mask);
            }
        }
    }

    /// The bits of a row's last used octet that are pixels.
    fn tail_mask(&self) -> u8 {
        0xff << ((8 - self.width % 8) % 8)
    }
}

impl std::fmt::Debug for Bitmap {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Bitmap({} x {}, {} black)", self.width, self.height, self.black_pixels())
    }
}

/// The colour of a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// 1 in the packed rows.
    Black,
    /// 0 in the packed rows.
    White,
}

/// One row of a [`Bitmap`] for writing. Dropping it clears whatever was set beyond the width.
pub struct RowMut<'a> {
    octets: &'a mut [u8],
    last: usize,
    tail: u8,
}

impl Deref for RowMut<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.octets
    }
}

impl DerefMut for RowMut<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.octets
    }
}

impl Drop for RowMut<'_> {
    fn drop(&mut self) {
        self.octets[self.last] &= self.tail;
        self.octets[self.last + 1..].fill(0);
    }
}

fn octet_at(row: &[u8], place: i64) -> u8 {
    usize::try_from(place).ok().and_then(|place| row.get(place)).copied().unwrap_or(0)
}

fn stride_for(width: u32) -> Result<usize, BitmapError> {
    if width == 0 || width > WIDTH_MAX {
        return Err(BitmapError::Width { width });
    }
    Ok((width as usize).div_ceil(8 * STRIDE_ALIGN) * STRIDE_ALIGN)
}

fn check_height(height: u64) -> Result<(), BitmapError> {
    if height > u64::from(HEIGHT_MAX) { Err(BitmapError::Height { height }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bitmap(width: u32, height: u32) -> impl Strategy<Value = Bitmap> {
        let stride = width.div_ceil(8) as usize;
        prop::collection::vec(any::<u8>(), stride * height as usize)
            .prop_map(move |bits| Bitmap::from_packed(width, height, stride, &bits).unwrap())
    }

    fn any_bitmap() -> impl Strategy<Value = Bitmap> {
        (1u32..150, 0u32..8).prop_flat_map(|(width, height)| bitmap(width, height))
    }

    #[test]
    fn sizes_outside_the_limits_are_refused_before_memory_is_taken() {
        for (width, height) in [(0, 10), (WIDTH_MAX + 1, 1), (u32::MAX, u32::MAX), (100, HEIGHT_MAX + 1)] {
            assert!(Bitmap::white(width, height).is_err(), "{width} x {height}");
        }
        let mut page = Bitmap::white(8, 2).unwrap();
        assert!(page.extend_rows(u32::MAX).is_err());
        assert_eq!(page.height(), 2);
        assert!(Bitmap::from_packed(16, 2, 1, &[0; 4]).is_err());
        assert!(Bitmap::from_packed(16, 2, usize::MAX, &[0; 4]).is_err());
        assert!(Bitmap::from_packed(16, 2, 2, &[0; 3]).is_err());
    }

    #[test]
    fn bits_beyond_the_width_stay_white() {
        let mut page = Bitmap::from_packed(13, 2, 2, &[0xff; 4]).unwrap();
        assert_eq!(page.black_pixels(), 26);
        page.row_mut(1).fill(0xff);
        assert_eq!(page.black_pixels(), 26);
        page.fill_rect(0, 0, u32::MAX, u32::MAX, Ink::Black);
        assert_eq!(page.black_pixels(), 26);
        assert!(page.get(12, 1) && !page.get(13, 1) && !page.get(0, 2));
    }

    #[test]
    fn a_grey_sample_below_the_threshold_is_black() {
        let page = Bitmap::from_gray_threshold(3, 1, &[127, 128, 0], 128).unwrap();
        assert_eq!((page.get(0, 0), page.get(1, 0), page.get(2, 0)), (true, false, true));
    }

    proptest! {
        #[test]
        fn a_blit_equals_copying_pixel_by_pixel(
            page in any_bitmap(), source in any_bitmap(), x in -170i32..170, y in -10i32..10,
        ) {
            let (mut copied, mut added) = (page.clone(), page.clone());
            copied.blit(&source, x, y);
            added.blit_black(&source, x, y);
            for py in 0..page.height() {
                for px in 0..page.width() {
                    let (sx, sy) = (px as i32 - x, py as i32 - y);
                    let inside = sx >= 0 && sy >= 0 && sx < source.width() as i32 && sy < source.height() as i32;
                    let over = inside && source.get(sx as u32, sy as u32);
                    prop_assert_eq!(copied.get(px, py), if inside { over } else { page.get(px, py) });
                    prop_assert_eq!(added.get(px, py), over || page.get(px, py));
                }
            }
        }

        #[test]
        fn a_filled_rectangle_equals_setting_its_pixels(
            page in any_bitmap(), x in 0u32..160, y in 0u32..9, width in 0u32..160, height in 0u32..9,
        ) {
            for ink in [Ink::Black, Ink::White] {
                let (mut filled, mut dotted) = (page.clone(), page.clone());
                filled.fill_rect(x, y, width, height, ink);
                for py in y..y + height {
                    for px in x..x + width {
                        dotted.set(px, py, ink);
                    }
                }
                prop_assert_eq!(filled, dotted);
            }
        }

        #[test]
        fn cropped_rows_put_back_together_are_the_page(page in any_bitmap(), cut in 0u32..9) {
            let mut joined = page.crop_rows(0..cut);
            let upper = joined.height();
            let lower = page.crop_rows(cut..u32::MAX);
            joined.extend_rows(lower.height()).unwrap();
            joined.blit(&lower, 0, upper as i32);
            prop_assert_eq!(joined, page);
        }
    }
}
