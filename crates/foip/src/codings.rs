//! Which coding a document takes the fewest octets in.
//!
//! T.30 settles one coding before the first page, and to settle another costs a retraining: the choice is one for all pages of a
//! call. Text is shortest in MMR, then MR; diffused photographs, where no row is like the one above it, in MH.

use std::path::Path;

use fax_image::codec::{Coding, EncodeOptions, encode};
use fax_image::tiff::TiffReader;
use spandsp::Codings;

/// A page of fewer octets in MMR is no photograph, and shortest as it is.
const NOISY_BYTES: usize = 60_000;

/// The two-dimensional codings that pay off for the pages from `first_page` (from 1) on. A file that cannot be read is the
/// call's to report, and any coding is as good for it.
pub(crate) fn shortest(document: &Path, first_page: u32) -> Codings {
    let sizes = std::fs::read(document).ok().and_then(|tiff| sizes(&tiff, first_page.max(1) as usize - 1));
    let Some([mh, mr, mmr]) = sizes else { return Codings::default() };
    Codings { mr: mr <= mh, mmr: mmr <= mh.min(mr) }
}

/// Octets of all pages in MH, MR and MMR; none when no page is noisy.
fn sizes(tiff: &[u8], first: usize) -> Option<[usize; 3]> {
    let reader = TiffReader::open(tiff).ok()?;
    let pages = first..reader.page_count();
    let is_noisy = |page: usize| reader.strip(page).is_ok_and(|strip| strip.is_some_and(|s| s.len() > NOISY_BYTES));
    if !pages.clone().any(is_noisy) {
        return None;
    }
    let mut sizes = [0; 3];
    for page in pages {
        let bits = reader.decode(page).ok()?;
        for (size, coding) in sizes.iter_mut().zip([Coding::Mh, Coding::MR4, Coding::Mmr]) {
            *size += encode(&bits, coding, &EncodeOptions::default()).len();
        }
    }
    Some(sizes)
}

#[cfg(test)]
mod tests {
    use fax_image::tiff::{Profile, Resolution, TiffPage, write_document};
    use fax_image::{Bitmap, Ink};

    use super::*;

    fn page(is_black: impl Fn(u32, u32) -> bool) -> Bitmap {
        let mut page = Bitmap::white(1728, 2200).unwrap();
        for y in 0..2200 {
            for x in 0..1728 {
                page.set(x, y, if is_black(x, y) { Ink::Black } else { Ink::White });
            }
        }
        page
    }

    #[test]
    fn noise_goes_in_mh_and_everything_else_in_mmr() {
        let scattered = |x: u32, y: u32| {
            (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503).wrapping_mul(x | 1)) >> 13 & 7 == 0
        };
        let (noise, text) = (page(scattered), page(|x, y| x % 40 < 8 && y % 50 < 30));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fax.tif");
        let codings = |pages: &[&Bitmap], first_page| {
            let pages: Vec<_> = pages.iter().map(|page| TiffPage::new(page, Resolution::FINE, Profile::F)).collect();
            std::fs::write(&path, write_document(&pages).unwrap()).unwrap();
            shortest(&path, first_page)
        };
        assert_eq!(codings(&[&text], 1), Codings::default());
        assert_eq!(codings(&[&noise], 1), Codings { mr: false, mmr: false });
        assert_eq!(codings(&[&noise, &text], 2), Codings::default(), "what has arrived does not count");
        assert_eq!(shortest(Path::new("/nowhere"), 1), Codings::default());
    }
}
