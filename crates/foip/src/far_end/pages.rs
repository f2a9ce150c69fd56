//! Pages that no other call has, for calls that test a gateway.
//!
//! Each page carries a stripe of 64 fields near its top, black for 1, that spells a number made of the call's token and
//! the page's number, and below it marks strewn by that number, so that a page looks like text to the coders.

use fax_image::tiff::{Profile, TiffPage, WriteError, write_document};
use fax_image::{Bitmap, BitmapError, Ink, Resolution};

use super::tray::fnv64;

const WIDTH_PX: u32 = 1728;
/// Half a page of A4 in fine.
const HEIGHT_PX: u32 = 1100;
/// Below the header line that a gateway may add.
const STRIPE_TOP_PX: u32 = 100;
const STRIPE_HEIGHT_PX: u32 = 40;
const STRIPE_LEFT_PX: u32 = 96;
const FIELD_PX: u32 = 24;
/// More than any test sends in one call.
const PAGES_MAX: u32 = 1000;

/// Why there is no such document.
#[derive(Debug, thiserror::Error)]
pub enum TestPageError {
    /// None, or more than 1000.
    #[error("{0} pages are asked for, expected 1 to {PAGES_MAX}")]
    Pages(u32),
    /// Its size is wrong.
    #[error(transparent)]
    Size(#[from] BitmapError),
    /// It cannot be coded.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// A TIFF-F of so many pages, each unlike any page of another token.
///
/// # Errors
/// When there are no pages, or more than 1000.
pub fn test_document(token: &str, pages: u32) -> Result<Vec<u8>, TestPageError> {
    if !(1..=PAGES_MAX).contains(&pages) {
        return Err(TestPageError::Pages(pages));
    }
    let rasters = (1..=pages).map(|page| raster(stripe(token, page))).collect::<Result<Vec<_>, _>>()?;
    let coded: Vec<_> = rasters.iter().map(|page| TiffPage::new(page, Resolution::FINE, Profile::F)).collect();
    Ok(write_document(&coded)?)
}

/// The number on page `page` (from 1) of a token's document.
#[must_use]
pub fn stripe(token: &str, page: u32) -> u64 {
    fnv64(format!("{token} {page}").as_bytes())
}

/// The number that a page carries; none when it is too small to be one of ours. A page of another origin gives any number.
#[must_use]
pub fn read_stripe(page: &Bitmap) -> Option<u64> {
    let y = STRIPE_TOP_PX + STRIPE_HEIGHT_PX / 2;
    if page.width() < WIDTH_PX || page.height() <= y {
        return None;
    }
    Some((0..64).fold(0, |number, field| number << 1 | u64::from(page.get(middle(field), y))))
}

fn middle(field: u32) -> u32 {
    STRIPE_LEFT_PX + field * FIELD_PX + FIELD_PX / 2
}

fn raster(number: u64) -> Result<Bitmap, BitmapError> {
    let mut page = Bitmap::white(WIDTH_PX, HEIGHT_PX)?;
    for field in (0..64).filter(|field| number >> (63 - field) & 1 == 1) {
        page.fill_rect(STRIPE_LEFT_PX + field * FIELD_PX, STRIPE_TOP_PX, FIELD_PX, STRIPE_HEIGHT_PX, Ink::Black);
    }
    let mut random = fastrand::Rng::with_seed(number);
    for line in 0..26 {
        for column in 0..40 {
            let (x, y) = (STRIPE_LEFT_PX + column * 38, STRIPE_TOP_PX + 80 + line * 34);
            page.fill_rect(x + random.u32(0..12), y, random.u32(4..20), random.u32(3..16), Ink::Black);
        }
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use fax_image::tiff::TiffReader;

    use super::*;

    #[test]
    fn each_page_of_each_call_can_be_told_by_its_stripe_and_its_hash() {
        let mut hashes = HashSet::new();
        for token in ["a", "b", "fax 17"] {
            let document = test_document(token, 3).expect("three pages");
            let reader = TiffReader::open(&document).expect("a TIFF");
            for page in 1..=3 {
                let raster = reader.decode(page - 1).expect("a page");
                assert_eq!(read_stripe(&raster), Some(stripe(token, page as u32)));
                hashes.insert(crate::far_end::raster_sha256(&raster));
            }
        }
        assert_eq!(hashes.len(), 9);
        assert!(test_document("a", 0).is_err() && test_document("a", 1001).is_err());
    }
}
