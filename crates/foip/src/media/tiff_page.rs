//! Takes one page out of the TIFF file that spandsp appends received pages to, as a TIFF of its own.
//!
//! The coded strip is taken over octet by octet, so that its pixels cannot change. A file that lacks the page (because the
//! disk is full) or that is damaged is an error: the page is not confirmed then.

use std::io;
use std::path::Path;

use fax_image::codec::Eol;
use fax_image::tiff::{CodedStrip, Profile, TiffError, TiffPage, TiffReader, WriteError, write_document};

/// Why a page cannot be taken out.
#[derive(Debug, thiserror::Error)]
pub(super) enum TiffPageError {
    #[error("the received page cannot be read back: {0}; fix: check the disk")]
    Io(#[from] io::Error),
    #[error(
        "the received file has {found} pages, expected {expected}: the page was not stored; fix: check for a full disk"
    )]
    Missing { found: usize, expected: u32 },
    #[error("the received file is damaged: {0}; fix: check the disk")]
    Damaged(#[from] TiffError),
    #[error("the received page cannot be written: {0}")]
    Write(#[from] WriteError),
}

/// A page taken out.
pub(super) struct TakenPage {
    /// Single-page TIFF.
    pub(super) image: Vec<u8>,
    pub(super) width_px: u32,
    pub(super) height_px: u32,
}

/// Page `page` (from 1) of the file, as a single-page TIFF.
pub(super) fn take(path: &Path, page: u32) -> Result<TakenPage, TiffPageError> {
    let file = std::fs::read(path)?;
    let reader = TiffReader::open(&file)?;
    let index = page as usize - 1;
    if reader.page_count() != page as usize {
        return Err(TiffPageError::Missing { found: reader.page_count(), expected: page });
    }
    let header = reader.page(index)?;
    // libtiff writes a fax page as one strip. If it ever does not, coding it anew keeps the pixels as well.
    let Some((octets, coding)) = reader.strip(index)?.zip(header.coding()) else {
        let bitmap = reader.decode(index)?;
        let image = write_document(&[TiffPage::new(&bitmap, header.resolution, Profile::F)])?;
        return Ok(TakenPage { image, width_px: header.width, height_px: header.height });
    };
    let strip = CodedStrip {
        octets,
        coding,
        // Without meaning for the MMR that we let spandsp write.
        eol: Eol::default(),
        bit_order: header.bit_order,
        width: header.width,
        height: header.height,
    };
    let image = write_document(&[TiffPage::coded(strip, header.resolution)])?;
    Ok(TakenPage { image, width_px: header.width, height_px: header.height })
}
