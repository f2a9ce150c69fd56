//! Pastes pictures onto pages.

use fax_image::{Bitmap, Gray};

use crate::order::{Paper, Quality, Result, damaged};
use crate::size::{Placement, WIDTH_PX, coverage_share, page_rows};

/// A white page of the chosen size.
pub(crate) fn blank(paper: Paper, quality: Quality) -> Result<Bitmap> {
    Bitmap::white(WIDTH_PX, page_rows(paper, quality)).map_err(|e| damaged(e.to_string()))
}

/// A full page with the picture at its place: top, centred.
pub(crate) fn on_page(picture: &Bitmap, place: &Placement, paper: Paper, quality: Quality) -> Result<Bitmap> {
    let mut page = blank(paper, quality)?;
    page.blit(picture, place.left as i32, 0);
    Ok(page)
}

/// A grey picture made black and white, at its place on a full page.
pub(crate) fn gray_on_page(gray: &Gray, place: &Placement, paper: Paper, quality: Quality) -> Result<Bitmap> {
    let bits = gray.to_bitmap(coverage_share(quality)).map_err(|e| damaged(e.to_string()))?;
    on_page(&bits, place, paper, quality)
}
