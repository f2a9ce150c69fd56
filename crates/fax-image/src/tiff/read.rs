//! Finding the pages of a TIFF file.
//!
//! In: the octets of a file from anywhere. Out: a header for each page, its raw strip, its pixels. Failure: [`TiffError`].
//! Standard: TIFF 6.0; RFC 3249 §5.2 lists what a reader puts up with.

use std::collections::HashSet;

use super::fields::{ByteOrder, Entry, Octets, tag};
use super::{PAGES_MAX, Raster, Resolution, TiffError, compression, strips};
use crate::Bitmap;
use crate::codec::{BitOrder, Coding, Decoded, Tolerance};

/// T4Options bit 0: two-dimensional coding.
const T4_TWO_DIMENSIONAL: u32 = 1;
/// NewSubfileType bits of images that are no pages: reduced versions (bit 0) and transparency masks (bit 2).
const SUBFILE_NO_PAGE: u32 = 0b101;
/// Fields of an IFD; TIFF 6.0 and its fax extensions know fewer than 100.
const FIELDS_MAX: u64 = 1024;
/// Resolutions above this are mistakes.
const DPI_MAX: u32 = 9600;

/// A TIFF file, opened.
pub struct TiffReader<'a> {
    octets: Octets<'a>,
    pages: Vec<Page>,
}

/// What the fields of a page say, defaults filled in. Nothing of it is checked against the limits before decoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageHeader {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Dots per inch; values per centimetre are converted and rounded.
    pub resolution: Resolution,
    /// Whether the file names a resolution.
    pub resolution_source: ResolutionSource,
    /// TIFF compression number, see [`compression`].
    pub compression: u32,
    /// TIFF photometric interpretation: 0 white is zero, 1 black is zero, others are not bilevel.
    pub photometric: u32,
    /// The order of bits in the octets.
    pub bit_order: BitOrder,
    /// Samples per pixel.
    pub samples: u32,
    /// Bits per sample.
    pub bits: u32,
    /// Rows in each strip but the last, at most the height.
    pub rows_per_strip: u32,
    /// T4Options, 0 when missing.
    pub t4_options: u32,
    /// TIFF orientation: 1 (and 0 for missing) is upright, 3 upside down, 6 and 8 lie on a side. Decoding does not turn.
    pub orientation: u32,
}

/// Where the resolution of a page comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResolutionSource {
    /// From the file.
    Declared,
    /// It is missing or absurd; fine fax resolution is assumed.
    Assumed,
}

impl PageHeader {
    /// The fax coding of the page, or `None` when it has another compression.
    pub fn coding(&self) -> Option<Coding> {
        match self.compression {
            compression::CCITT_RLE => Some(Coding::Mh),
            compression::T4 if self.t4_options & T4_TWO_DIMENSIONAL == 0 => Some(Coding::Mh),
            compression::T4 => Some(Coding::MR4),
            compression::T6 => Some(Coding::Mmr),
            _ => None,
        }
    }
}

pub(super) struct Page {
    pub(super) header: PageHeader,
    pub(super) fields: Vec<(u16, Entry)>,
    pub(super) strip_offsets: Option<Entry>,
    pub(super) strip_byte_counts: Option<Entry>,
    pub(super) is_tiled: bool,
    is_no_page: bool,
}

impl Page {
    pub(super) fn field(&self, tag: u16) -> Option<Entry> {
        self.fields.iter().find(|(found, _)| *found == tag).map(|(_, entry)| *entry)
    }
}

impl<'a> TiffReader<'a> {
    /// Reads the header and all IFDs. An image that is only a reduced version or a mask of a page is left out.
    pub fn open(file: &'a [u8]) -> Result<Self, TiffError> {
        let order = match file.get(..2) {
            Some(b"II") => ByteOrder::Little,
            Some(b"MM") => ByteOrder::Big,
            _ => return Err(TiffError::NotTiff),
        };
        let octets = Octets { all: file, order };
        if octets.short(2) != Some(42) {
            return Err(TiffError::NotTiff);
        }
        let mut next = octets.long(4).ok_or(TiffError::NotTiff)?;
        let mut seen = HashSet::new();
        let mut pages = Vec::new();
        while next != 0 {
            if pages.len() == PAGES_MAX {
                return Err(TiffError::TooManyPages);
            }
            if !seen.insert(next) {
                return Err(TiffError::Loop { offset: next });
            }
            let page;
            (page, next) = read_ifd(&octets, pages.len(), next)?;
            pages.push(page);
        }
        if pages.iter().any(|page| !page.is_no_page) {
            pages.retain(|page| !page.is_no_page);
        }
        if pages.is_empty() { Err(TiffError::NoPages) } else { Ok(Self { octets, pages }) }
    }

    /// How many pages there are, at least 1.
    pub fn page_count(&self) -> usize {
        self.pages.len()
    }

    /// The header of a page, from 0.
    pub fn page(&self, index: usize) -> Result<&PageHeader, TiffError> {
        Ok(&self.entry(index)?.header)
    }

    /// The pixels of a page. A damaged page is an error.
    pub fn decode(&self, index: usize) -> Result<Bitmap, TiffError> {
        Ok(self.decode_with(index, Tolerance::Strict)?.bitmap)
    }

    /// The pixels of a page. With [`Tolerance::Conceal`] damaged and missing rows are replaced and counted.
    pub fn decode_with(&self, index: usize, tolerance: Tolerance) -> Result<Decoded, TiffError> {
        strips::decode(&self.octets, index, self.entry(index)?, tolerance)
    }

    /// Where the samples of a page of any kind are.
    pub fn raster(&self, index: usize) -> Result<Raster<'a>, TiffError> {
        Raster::open(self.octets, index, self.entry(index)?)
    }

    /// The coded octets of a page as they stand in the file, or `None` when the page has several strips. The header says what
    /// they are.
    pub fn strip(&self, index: usize) -> Result<Option<&'a [u8]>, TiffError> {
        let page = self.entry(index)?;
        if page.is_tiled || page.header.rows_per_strip < page.header.height {
            return Ok(None);
        }
        strips::find(&self.octets, index, page, 0, Tolerance::Strict).map(Some)
    }

    fn entry(&self, page: usize) -> Result<&Page, TiffError> {
        self.pages.get(page).ok_or(TiffError::NoSuchPage { page })
    }
}

/// Reads one IFD; returns the page and where the next IFD is.
fn read_ifd(octets: &Octets<'_>, page: usize, offset: u32) -> Result<(Page, u32), TiffError> {
    let start = u64::from(offset);
    let outside = |length| TiffError::Outside { page, what: "the IFD", offset: start, length };
    let count = u64::from(octets.short(start).ok_or(outside(2))?);
    if count > FIELDS_MAX {
        return Err(TiffError::Field { page, field: "IFD" });
    }
    let length = 2 + count * 12;
    octets.slice(start, length).ok_or(outside(length))?;
    // The offset of the next IFD is missing at the end of some files; then there is none.
    let next = octets.long(start + length).unwrap_or(0);
    let entries = |index| Entry::read(octets, start + 2 + index * 12);
    let fields: Vec<(u16, Entry)> = (0..count).filter_map(entries).collect();
    let field = |tag| fields.iter().find(|(found, _)| *found == tag).map(|(_, entry)| *entry);
    let integer = |tag| field(tag).and_then(|entry| entry.integer(octets, 0));
    let needed = |tag, name| integer(tag).filter(|&n| n > 0).ok_or(TiffError::Field { page, field: name });
    let height = needed(tag::IMAGE_LENGTH, "ImageLength")?;
    let fraction = |tag| field(tag).and_then(|entry| entry.fraction(octets));
    let unit = integer(tag::RESOLUTION_UNIT).unwrap_or(2);
    let (resolution, resolution_source) = resolution(fraction(tag::X_RESOLUTION), fraction(tag::Y_RESOLUTION), unit);
    let header = PageHeader {
        width: needed(tag::IMAGE_WIDTH, "ImageWidth")?,
        height,
        resolution,
        resolution_source,
        compression: integer(tag::COMPRESSION).unwrap_or(compression::NONE),
        photometric: integer(tag::PHOTOMETRIC).unwrap_or(0),
        bit_order: if integer(tag::FILL_ORDER) == Some(2) { BitOrder::LsbFirst } else { BitOrder::MsbFirst },
        samples: integer(tag::SAMPLES_PER_PIXEL).unwrap_or(1),
        bits: integer(tag::BITS_PER_SAMPLE).unwrap_or(1),
        rows_per_strip: integer(tag::ROWS_PER_STRIP).filter(|&rows| rows > 0).unwrap_or(height).min(height),
        t4_options: integer(tag::T4_OPTIONS).unwrap_or(0),
        orientation: integer(tag::ORIENTATION).unwrap_or(0),
    };
    let is_no_page = match integer(tag::NEW_SUBFILE_TYPE) {
        Some(bits) => bits & SUBFILE_NO_PAGE != 0,
        // The older field has numbers instead of bits; 2 is a reduced version.
        None => integer(tag::SUBFILE_TYPE) == Some(2),
    };
    let page = Page {
        header,
        strip_offsets: field(tag::STRIP_OFFSETS),
        strip_byte_counts: field(tag::STRIP_BYTE_COUNTS),
        is_tiled: field(tag::TILE_WIDTH).is_some(),
        is_no_page,
        fields,
    };
    Ok((page, next))
}

fn resolution(x: Option<(u32, u32)>, y: Option<(u32, u32)>, unit: u32) -> (Resolution, ResolutionSource) {
    let dpi = |fraction: Option<(u32, u32)>| {
        let (over, under) = fraction.filter(|&(_, under)| under > 0)?;
        // TIFF 6.0 ResolutionUnit 3 is the centimetre.
        let inch = if unit == 3 { 2.54 } else { 1.0 };
        let dpi = (f64::from(over) / f64::from(under) * inch).round();
        // Unit 1 gives only an aspect ratio; small numbers like 1 over 1 are no resolution of a scan.
        let dpi_min = if unit == 1 { 50.0 } else { 1.0 };
        (dpi_min..=f64::from(DPI_MAX)).contains(&dpi).then_some(dpi as u32)
    };
    match (dpi(x), dpi(y)) {
        (Some(x_dpi), Some(y_dpi)) => (Resolution { x_dpi, y_dpi }, ResolutionSource::Declared),
        _ => (Resolution::FINE, ResolutionSource::Assumed),
    }
}
