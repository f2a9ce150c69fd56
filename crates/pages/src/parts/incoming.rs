//! A picture on its way to a page: its rows come one by one, and only what fits on the page is kept.

use fax_image::Bitmap;
use fax_image::gray::{Gray, Scaler};

use super::Job;
use crate::order::Result;
use crate::paste;
use crate::size::{Placement, Turned};

/// How a picture is held: the numbers of TIFF 6.0 and EXIF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Orientation(u32);

impl Orientation {
    /// 1 to 8; what is neither is upright.
    pub(super) fn new(number: u32) -> Self {
        Self(if (1..=8).contains(&number) { number } else { 1 })
    }

    /// Whether the picture stands as it is stored.
    pub(super) fn is_upright(self) -> bool {
        self.0 == 1
    }

    /// Whether width and height change places.
    pub(super) fn is_on_its_side(self) -> bool {
        self.0 >= 5
    }

    fn upright(self, gray: Gray) -> Gray {
        match self.0 {
            2 => gray.mirrored(),
            3 => gray.turned_around(),
            4 => gray.turned_around().mirrored(),
            5 => gray.turned_clockwise().mirrored(),
            6 => gray.turned_clockwise(),
            7 => gray.turned_counterclockwise().mirrored(),
            8 => gray.turned_counterclockwise(),
            _ => gray,
        }
    }
}

/// Takes the rows of a picture as it is stored.
pub(super) struct Incoming {
    scaler: Scaler,
    orientation: Orientation,
    place: Placement,
}

impl Incoming {
    /// A picture of `from` = (width, height) pixels as stored; `place` is where it goes when it is upright.
    pub(super) fn new(from: (usize, usize), orientation: Orientation, place: Placement) -> Self {
        let (mut width, mut height) = (place.width as usize, place.height as usize);
        if (place.turned == Turned::Clockwise) != orientation.is_on_its_side() {
            (width, height) = (height, width);
        }
        Self { scaler: Scaler::new(from, (width, height)), orientation, place }
    }

    /// The next row: 0 black, 255 white.
    pub(super) fn row(&mut self, row: &[u8]) {
        self.scaler.row(row);
    }

    /// The page.
    pub(super) fn finish(self, job: &Job<'_>) -> Result<Bitmap> {
        let mut gray = self.orientation.upright(self.scaler.finish());
        if self.place.turned == Turned::Clockwise {
            gray = gray.turned_clockwise();
        }
        gray.whiten();
        paste::gray_on_page(&gray, &self.place, job.paper, job.quality)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_orientation_brings_the_picture_upright() {
        // 1 2 3 / 4 5 6 as it is seen, and as TIFF 6.0 stores it: (row 0, column 0) is (top, left), (top, right), …
        let stored: [(usize, &[u8]); 8] = [
            (3, &[1, 2, 3, 4, 5, 6]),
            (3, &[3, 2, 1, 6, 5, 4]),
            (3, &[6, 5, 4, 3, 2, 1]),
            (3, &[4, 5, 6, 1, 2, 3]),
            (2, &[1, 4, 2, 5, 3, 6]),
            (2, &[3, 6, 2, 5, 1, 4]),
            (2, &[6, 3, 5, 2, 4, 1]),
            (2, &[4, 1, 5, 2, 6, 3]),
        ];
        for (number, (width, data)) in (1..).zip(stored) {
            let gray = Gray { width, height: 6 / width, data: data.to_vec() };
            let seen = Orientation::new(number).upright(gray);
            assert_eq!((seen.width, &seen.data[..]), (3, &[1, 2, 3, 4, 5, 6][..]), "orientation {number}");
        }
    }
}
