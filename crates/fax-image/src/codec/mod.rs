//! The facsimile codings: MH and MR of T.4, MMR of T.6.
//!
//! Encoding: a [`Bitmap`], a [`Coding`] and [`EncodeOptions`] give octets; it cannot fail. Decoding: octets and
//! [`DecodeParams`] give a [`Decoded`] page. Bad codes either end it with a [`DecodeError`] or, with [`Tolerance::Conceal`],
//! repeat the row above and are counted, as a fax machine does. Memory is bounded by the declared size of the page, time by
//! the octets given plus the rows declared. The uncompressed mode that T.4 and T.6 allow as an extension is refused by name.

mod bits;
mod changes;
mod decode;
mod encode;
mod tables;

use std::num::NonZeroU8;

use thiserror::Error;

pub use bits::reverse_bits;
pub use decode::decode;
pub use encode::encode;

use crate::{Bitmap, BitmapError};

/// How rows become code words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// Modified Huffman, T.4 one-dimensional.
    Mh,
    /// Modified READ, T.4 two-dimensional.
    Mr {
        /// The first of every `k` rows is coded one-dimensionally: 2 at standard resolution, 4 at finer ones (T.4 §4.2).
        /// Decoding does not need it: every row says how it is coded.
        k: NonZeroU8,
    },
    /// Modified modified READ, T.6.
    Mmr,
}

impl Coding {
    /// MR as T.4 §4.2 has it for standard resolution.
    pub const MR2: Self = Self::Mr { k: NonZeroU8::new(2).expect("2 is not 0") };
    /// MR as T.4 §4.2 has it for 7.7 lines/mm.
    pub const MR4: Self = Self::Mr { k: NonZeroU8::new(4).expect("4 is not 0") };
}

/// What stands between the rows of MH and MR. MMR has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Eol {
    /// Nothing. MR is given [`Eol::AnyBit`] all the same, for it cannot be read without.
    None,
    /// An EOL before the first row and after each row but the last.
    #[default]
    AnyBit,
    /// The same, each EOL preceded by zeros so that it ends with an octet (TIFF T4Options bit 2).
    OctetEnd,
}

/// Where rows begin that have no EOL between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RowStart {
    /// Right after the row before.
    #[default]
    AnyBit,
    /// At an octet boundary (TIFF compression 2, PDF EncodedByteAlign).
    Octet,
}

/// What stands behind the last row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ending {
    /// Nothing.
    None,
    /// RTC for MH and MR, EOFB for MMR.
    #[default]
    Marker,
}

/// Which bit of an octet comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BitOrder {
    /// The most significant one (TIFF FillOrder 1, PDF).
    #[default]
    MsbFirst,
    /// The least significant one, as on the telephone line (TIFF FillOrder 2).
    LsbFirst,
}

/// What surrounds coded rows. The default is a page as T.30 sends it, most significant bit first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EncodeOptions {
    /// Between the rows of MH and MR.
    pub eol: Eol,
    /// Where rows of MMR, and of MH without EOL, begin.
    pub row_start: RowStart,
    /// Behind the last row.
    pub ending: Ending,
    /// T.30 minimum scan line time in bits (time × bit rate): data, fill and EOL of a row are at least this long.
    /// 0 for none; without meaning when there are no EOLs.
    pub row_bits_min: u32,
    /// The order of bits in the octets.
    pub bit_order: BitOrder,
}

/// What a decoder has to know beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeParams {
    /// The coding. The `k` of MR does not matter.
    pub coding: Coding,
    /// Pixels in a row, 1..=[`crate::bitmap::WIDTH_MAX`].
    pub width: u32,
    /// Rows of the page, at most [`crate::bitmap::HEIGHT_MAX`]; without it decoding runs to RTC, EOFB or the end of the data.
    pub rows: Option<u32>,
    /// Where rows begin that have no EOL between them. EOLs are recognised whether they are aligned or not.
    pub row_start: RowStart,
    /// The order of bits in the octets.
    pub bit_order: BitOrder,
    /// What to do about bad rows.
    pub tolerance: Tolerance,
}

impl DecodeParams {
    /// Strict decoding of most-significant-bit-first data.
    pub fn new(coding: Coding, width: u32, rows: Option<u32>) -> Self {
        let (row_start, bit_order) = (RowStart::AnyBit, BitOrder::MsbFirst);
        Self { coding, width, rows, row_start, bit_order, tolerance: Tolerance::Strict }
    }
}

/// What to do about bad rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tolerance {
    /// The first bad row ends decoding with an error, and so do missing rows.
    #[default]
    Strict,
    /// A bad row repeats the row above. MH goes on behind the next EOL, MR behind the next EOL of a one-dimensional row; MMR
    /// cannot go on. Missing rows are white. All of them are counted.
    Conceal,
}

/// A decoded page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The page: as many rows as declared, or as many as were there.
    pub bitmap: Bitmap,
    /// Rows that were concealed or missing. 0 after strict decoding.
    pub bad_rows: u32,
}

/// Why a page cannot be decoded. Rows count from 0.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The declared size is outside the limits.
    #[error(transparent)]
    Size(#[from] BitmapError),
    /// No code word begins so, or its run leaves the row.
    #[error("row {row} holds a bad code")]
    BadCode {
        /// The bad row.
        row: u32,
    },
    /// The data end in the middle of a row or before the declared rows.
    #[error("coded data end in row {row}")]
    Truncated {
        /// The first incomplete row.
        row: u32,
    },
    /// An EOL that has to be there is missing.
    #[error("row {row} does not begin with an EOL")]
    MissingEol {
        /// The row without EOL.
        row: u32,
    },
    /// The page switches to the uncompressed mode of T.4 and T.6.
    #[error("row {row} uses the uncompressed mode extension, which is not supported; fix: save the page without it")]
    UncompressedMode {
        /// The row with the extension code.
        row: u32,
    },
}

/// The smallest of MH, MR (k = 4) and MMR with their default surroundings, and its octets. Text is smallest in MMR, diffused
/// photographs often in MH.
pub fn smallest(page: &Bitmap) -> (Coding, Vec<u8>) {
    let options = EncodeOptions::default();
    let coded = |coding| (coding, encode(page, coding, &options));
    let mut best = coded(Coding::Mmr);
    for other in [coded(Coding::MR4), coded(Coding::Mh)] {
        if other.1.len() < best.1.len() {
            best = other;
        }
    }
    best
}
