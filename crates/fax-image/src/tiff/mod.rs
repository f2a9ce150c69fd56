//! TIFF for facsimile: the documents that the gateway keeps, sends and receives.
//!
//! Writing: pages become one little-endian file, each IFD before its data, pages in order ([`write_document`],
//! [`TiffWriter`]). Reading: [`TiffReader`] takes what mail brings: either byte order, IFDs and strips anywhere, many strips,
//! either fill order and photometric, the bilevel compressions. Pages of other kinds are named by [`TiffError::NotBilevel`]:
//! [`TiffReader::raster`] finds their strips and tiles for those who can unpack them; everything else that is wrong is an error with its page, never a crash or unbounded memory.
//! Standard: TIFF 6.0, RFC 3949 §3 (profile S) and §4 (profile F), RFC 3249 §5.2 (what readers put up with).

mod fields;
mod raster;
mod read;
mod strips;
mod write;

use thiserror::Error;

use crate::BitmapError;
use crate::codec::DecodeError;

pub use raster::{Alpha, Chunk, Planes, Raster};
pub use read::{PageHeader, ResolutionSource, TiffReader};
pub use write::{CodedStrip, Profile, TiffPage, TiffWriter, WriteError, write_document};

/// Most pages that a file may have, ours or others'.
pub const PAGES_MAX: usize = 4096;

/// Compressions by their TIFF numbers.
pub mod compression {
    /// Packed rows.
    pub const NONE: u32 = 1;
    /// MH, each row beginning with an octet, no EOLs.
    pub const CCITT_RLE: u32 = 2;
    /// T.4: MH, or MR when T4Options says so.
    pub const T4: u32 = 3;
    /// T.6: MMR.
    pub const T6: u32 = 4;
    /// LZW.
    pub const LZW: u32 = 5;
    /// JPEG as TIFF 6.0 had it; given up since, because nobody could read it.
    pub const OLD_JPEG: u32 = 6;
    /// JPEG (TIFF technical note 2).
    pub const JPEG: u32 = 7;
    /// Deflate.
    pub const DEFLATE: u32 = 8;
    /// Deflate under its older number.
    pub const OLD_DEFLATE: u32 = 32_946;
    /// Runs of equal octets.
    pub const PACK_BITS: u32 = 32_773;
}

/// Dots per inch in both directions, whole numbers. Fax pixels are rarely square.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Resolution {
    /// Along the row, 204 for fax.
    pub x_dpi: u32,
    /// Rows per inch.
    pub y_dpi: u32,
}

impl Resolution {
    /// 8 pixels/mm × 3.85 lines/mm.
    pub const STANDARD: Self = Self { x_dpi: 204, y_dpi: 98 };
    /// 8 pixels/mm × 7.7 lines/mm.
    pub const FINE: Self = Self { x_dpi: 204, y_dpi: 196 };
    /// 8 pixels/mm × 15.4 lines/mm.
    pub const SUPERFINE: Self = Self { x_dpi: 204, y_dpi: 391 };
}

/// Why a file or one of its pages cannot be read. Pages count from 1 in messages, as people do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TiffError {
    /// No TIFF header with the number 42.
    #[error("not a TIFF file (expected \"II\" or \"MM\" and the number 42)")]
    NotTiff,
    /// The chain of IFDs is empty.
    #[error("the TIFF file has no page")]
    NoPages,
    /// More than [`PAGES_MAX`] pages.
    #[error("the TIFF file has more than {PAGES_MAX} pages")]
    TooManyPages,
    /// The IFDs form a loop.
    #[error("the pages of the TIFF file form a loop at offset {offset}")]
    Loop {
        /// The IFD that is met twice.
        offset: u32,
    },
    /// Something lies outside the file.
    #[error("{what} of page {page} lies outside the TIFF file (offset {offset}, {length} octets)", page = page + 1)]
    Outside {
        /// The page, from 0.
        page: usize,
        /// What is missing.
        what: &'static str,
        /// Where it should be.
        offset: u64,
        /// How long it should be.
        length: u64,
    },
    /// A field is missing or has no usable value.
    #[error("page {page} of the TIFF file has no usable {field}", page = page + 1)]
    Field {
        /// The page, from 0.
        page: usize,
        /// The field's name in TIFF 6.0.
        field: &'static str,
    },
    /// The file has fewer pages.
    #[error("the TIFF file has no page {page}", page = page + 1)]
    NoSuchPage {
        /// The page asked for, from 0.
        page: usize,
    },
    /// The page is larger than a [`crate::Bitmap`] may be.
    #[error("page {page} of the TIFF file: {source}", page = page + 1)]
    Size {
        /// The page, from 0.
        page: usize,
        /// The limit.
        source: BitmapError,
    },
    /// The page is not bilevel in a compression read here; another decoder may read it.
    #[error(
        "page {page} of the TIFF file is not a fax image (compression {compression}, {bits} bits, {samples} samples, \
         photometric {photometric})", page = page + 1
    )]
    NotBilevel {
        /// The page, from 0.
        page: usize,
        /// TIFF compression number.
        compression: u32,
        /// Bits per sample.
        bits: u32,
        /// Samples per pixel.
        samples: u32,
        /// TIFF photometric interpretation number.
        photometric: u32,
    },
    /// The strips together are many times longer than the file: they overlap to cost time.
    #[error("the strips of page {page} are longer than the TIFF file allows", page = page + 1)]
    Overlap {
        /// The page, from 0.
        page: usize,
    },
    /// The coded rows are damaged.
    #[error("page {page} of the TIFF file is damaged: {source}", page = page + 1)]
    Damaged {
        /// The page, from 0.
        page: usize,
        /// What is wrong; its rows count from the strip's first.
        source: DecodeError,
    },
}
