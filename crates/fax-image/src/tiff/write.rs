//! Writing fax documents.
//!
//! In: pages as bitmaps or as coded strips. Out: a file of one IFD, two resolutions and one strip for each page, in this order
//! and in page order, the first IFD at 8; the same pages give the same octets. Failure: [`WriteError`].
//! Standard: RFC 3949 §3 (profile S), §4 (profile F).

use thiserror::Error;

use super::fields::{kind, tag};
use super::{PAGES_MAX, Resolution, compression};
use crate::Bitmap;
use crate::codec::{self, BitOrder, Coding, EncodeOptions, Ending, Eol};

/// RFC 3949 §3: the only width of profile S.
const PROFILE_S_WIDTH: u32 = 1728;
/// NewSubfileType: one page of several.
const SUBFILE_PAGE: u32 = 2;
/// Where the header names the first IFD.
const FIRST_LINK: usize = 4;

/// What a bitmap is coded as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Profile S, which every Internet fax reads: MH with EOLs, least significant bit first, 1728 pixels, 98 or 196 dpi.
    S,
    /// Profile F with MMR, most significant bit first: small, and what PDF takes as it is.
    F,
}

/// One page to write.
#[derive(Debug, Clone, Copy)]
pub struct TiffPage<'a> {
    content: Content<'a>,
    resolution: Resolution,
}

/// A page that has been coded elsewhere, such as one that came over the telephone line.
#[derive(Debug, Clone, Copy)]
pub struct CodedStrip<'a> {
    /// The code words of the whole page.
    pub octets: &'a [u8],
    /// Their coding; MH and MR with an EOL before each row.
    pub coding: Coding,
    /// Whether EOLs end with an octet. Without meaning for MMR.
    pub eol: Eol,
    /// The order of bits in the octets.
    pub bit_order: BitOrder,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

#[derive(Debug, Clone, Copy)]
enum Content<'a> {
    Bitmap(&'a Bitmap, Profile),
    Coded(CodedStrip<'a>),
}

/// Why a document cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WriteError {
    /// A document has at least one page.
    #[error("a document without pages cannot be written")]
    NoPages,
    /// More than [`PAGES_MAX`] pages.
    #[error("a document of more than {PAGES_MAX} pages cannot be written")]
    TooManyPages,
    /// A page without rows or pixels.
    #[error("a page of {width} x {height} pixels cannot be written")]
    EmptyPage {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The page is not what profile S allows.
    #[error(
        "profile S needs {PROFILE_S_WIDTH} px at 204x98, 204x196, 200x100 or 200x200 dpi, got {width} px at {x_dpi}x{y_dpi} dpi; \
         fix: use profile F"
    )]
    NotProfileS {
        /// Pixels in a row.
        width: u32,
        /// Dots per inch along the row.
        x_dpi: u32,
        /// Rows per inch.
        y_dpi: u32,
    },
    /// The file would not fit into 32-bit offsets.
    #[error("a document of more than 4 GiB cannot be written")]
    TooLarge,
}

impl<'a> TiffPage<'a> {
    /// A page to be coded as `profile` says.
    pub fn new(bitmap: &'a Bitmap, resolution: Resolution, profile: Profile) -> Self {
        Self { content: Content::Bitmap(bitmap, profile), resolution }
    }

    /// A page that is coded already; its octets are written as they are.
    pub fn coded(strip: CodedStrip<'a>, resolution: Resolution) -> Self {
        Self { content: Content::Coded(strip), resolution }
    }
}

/// Writes a document of these pages.
pub fn write_document(pages: &[TiffPage<'_>]) -> Result<Vec<u8>, WriteError> {
    let mut writer = TiffWriter::new();
    for page in pages {
        writer.push(page)?;
    }
    writer.finish()
}

/// Writes a document page by page.
pub struct TiffWriter {
    out: Vec<u8>,
    /// Where the offset of the coming IFD goes.
    link: usize,
    /// Where each page names the number of pages.
    totals: Vec<usize>,
}

impl Default for TiffWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl TiffWriter {
    /// An empty document.
    pub fn new() -> Self {
        Self { out: b"II*\0\0\0\0\0".to_vec(), link: FIRST_LINK, totals: Vec::new() }
    }

    /// Appends a page.
    pub fn push(&mut self, page: &TiffPage<'_>) -> Result<(), WriteError> {
        if self.totals.len() == PAGES_MAX {
            return Err(WriteError::TooManyPages);
        }
        match page.content {
            Content::Coded(strip) => self.push_strip(&strip, page.resolution),
            Content::Bitmap(bitmap, profile) => {
                let (width, height) = (bitmap.width(), bitmap.height());
                let (coding, options) = match profile {
                    Profile::S => (Coding::Mh, profile_s(width, page.resolution)?),
                    Profile::F => (Coding::Mmr, EncodeOptions::default()),
                };
                let octets = codec::encode(bitmap, coding, &options);
                let (eol, bit_order) = (options.eol, options.bit_order);
                let strip = CodedStrip { octets: &octets, coding, eol, bit_order, width, height };
                self.push_strip(&strip, page.resolution)
            }
        }
    }

    /// Ends the document: each page learns how many there are.
    pub fn finish(mut self) -> Result<Vec<u8>, WriteError> {
        if self.totals.is_empty() {
            return Err(WriteError::NoPages);
        }
        let total = (self.totals.len() as u16).to_le_bytes();
        for &place in &self.totals {
            self.out[place..place + 2].copy_from_slice(&total);
        }
        Ok(self.out)
    }

    fn push_strip(&mut self, strip: &CodedStrip<'_>, resolution: Resolution) -> Result<(), WriteError> {
        let (width, height) = (strip.width, strip.height);
        if width == 0 || height == 0 {
            return Err(WriteError::EmptyPage { width, height });
        }
        let (options_tag, compression, options) = match strip.coding {
            Coding::Mmr => (tag::T6_OPTIONS, compression::T6, 0),
            Coding::Mh => (tag::T4_OPTIONS, compression::T4, t4_options(0, strip.eol)),
            Coding::Mr { .. } => (tag::T4_OPTIONS, compression::T4, t4_options(1, strip.eol)),
        };
        let fill_order = if strip.bit_order == BitOrder::LsbFirst { 2 } else { 1 };
        // An IFD begins at an even offset (TIFF 6.0 §2).
        let ifd = self.out.len().next_multiple_of(2);
        let page_number = self.totals.len() as u32;
        let mut fields = [
            (tag::NEW_SUBFILE_TYPE, kind::LONG, 1, SUBFILE_PAGE),
            (tag::IMAGE_WIDTH, kind::LONG, 1, width),
            (tag::IMAGE_LENGTH, kind::LONG, 1, height),
            (tag::BITS_PER_SAMPLE, kind::SHORT, 1, 1),
            (tag::COMPRESSION, kind::SHORT, 1, compression),
            (tag::PHOTOMETRIC, kind::SHORT, 1, 0),
            (tag::FILL_ORDER, kind::SHORT, 1, fill_order),
            (tag::STRIP_OFFSETS, kind::LONG, 1, 0),
            (tag::SAMPLES_PER_PIXEL, kind::SHORT, 1, 1),
            (tag::ROWS_PER_STRIP, kind::LONG, 1, height),
            (tag::STRIP_BYTE_COUNTS, kind::LONG, 1, strip.octets.len() as u32),
            (tag::X_RESOLUTION, kind::RATIONAL, 1, 0),
            (tag::Y_RESOLUTION, kind::RATIONAL, 1, 0),
            (options_tag, kind::LONG, 1, options),
            (tag::RESOLUTION_UNIT, kind::SHORT, 1, 2),
            (tag::PAGE_NUMBER, kind::SHORT, 2, page_number),
        ];
        let ifd_end = ifd + 2 + fields.len() * 12 + 4;
        let strip_start = ifd_end + 16;
        if u32::try_from(strip_start + strip.octets.len()).is_err() {
            return Err(WriteError::TooLarge);
        }
        for (tag, _, _, value) in &mut fields {
            match *tag {
                tag::STRIP_OFFSETS => *value = strip_start as u32,
                tag::X_RESOLUTION => *value = ifd_end as u32,
                tag::Y_RESOLUTION => *value = ifd_end as u32 + 8,
                _ => {}
            }
        }
        self.out.resize(ifd, 0);
        self.out[self.link..self.link + 4].copy_from_slice(&(ifd as u32).to_le_bytes());
        self.out.extend((fields.len() as u16).to_le_bytes());
        for (tag, kind, count, value) in fields {
            self.out.extend(tag.to_le_bytes());
            self.out.extend(kind.to_le_bytes());
            self.out.extend(u32::to_le_bytes(count));
            self.out.extend(value.to_le_bytes());
        }
        self.link = self.out.len();
        // PageNumber is the last field: its second value ends right before the link.
        self.totals.push(self.link - 2);
        for number in [0, resolution.x_dpi, 1, resolution.y_dpi, 1] {
            self.out.extend(number.to_le_bytes());
        }
        self.out.extend_from_slice(strip.octets);
        Ok(())
    }
}

/// How RFC 3949 §3 wants a page of profile S coded, if it can be one.
fn profile_s(width: u32, resolution: Resolution) -> Result<EncodeOptions, WriteError> {
    let Resolution { x_dpi, y_dpi } = resolution;
    if width != PROFILE_S_WIDTH || !matches!((x_dpi, y_dpi), (204, 98 | 196) | (200, 100 | 200)) {
        return Err(WriteError::NotProfileS { width, x_dpi, y_dpi });
    }
    // RFC 3949 §3: an EOL before each row; a reader counts rows by ImageLength, so RTC is left out.
    Ok(EncodeOptions { ending: Ending::None, bit_order: BitOrder::LsbFirst, ..EncodeOptions::default() })
}

fn t4_options(two_dimensional: u32, eol: Eol) -> u32 {
    two_dimensional | if eol == Eol::OctetEnd { 4 } else { 0 }
}
