//! Where the samples of a page are, whatever they are: strips or tiles, together or plane by plane.
//!
//! In: a page whose fields have been read. Out: what its samples mean, and the packed octets of each strip or tile. What is
//! packed by CCITT or PackBits, or not at all, is unpacked here; for other compressions the caller has the means.
//! Failure: [`TiffError`]; no field is believed that would take more octets than the file has.
//! Standard: TIFF 6.0 §3 (strips), §15 (tiles), §14 (predictor), §18 (alpha), §21 (subsampling).

use std::borrow::Cow;

use super::fields::{ByteOrder, Octets, tag};
use super::read::{Page, PageHeader};
use super::strips::{SHARING_MAX, unpack_bits};
use super::{TiffError, compression};
use crate::codec::{self, BitOrder, DecodeParams, RowStart, Tolerance, reverse_bits};

/// Samples of a pixel; RGB with alpha and CMYK with alpha are the most that mean something.
const SAMPLES_MAX: u32 = 16;
/// Longest side of a strip or tile, pixels.
const SIDE_MAX: u32 = 1 << 20;

/// How the samples of a pixel lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planes {
    /// One beside the other.
    Together,
    /// Each sample of all pixels in strips or tiles of its own.
    Apart,
}

/// What a sample beyond the colours says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpha {
    /// There is none, or it says nothing about the picture.
    None,
    /// How solid the pixel is; its colours are multiplied by that.
    Premultiplied,
    /// How solid the pixel is.
    Straight,
}

/// The samples of a page.
pub struct Raster<'a> {
    octets: Octets<'a>,
    index: usize,
    /// What the fields of the page say.
    pub header: PageHeader,
    /// Size of a strip or tile in pixels, 1 or more each. The last strip may have fewer rows than this, a tile never has.
    pub chunk: (u32, u32),
    /// Strips or tiles side by side, and one above the other, for each plane.
    pub chunks: (u32, u32),
    /// How samples lie.
    pub planes: Planes,
    /// What stands behind the colours.
    pub alpha: Alpha,
    /// TIFF predictor: 1 none, 2 differences along the row, 3 floating point.
    pub predictor: u32,
    /// TIFF sample format: 1 whole numbers.
    pub sample_format: u32,
    /// Across and down so many pixels share their colour differences; for YCbCr that is not JPEG.
    pub subsampling: (u32, u32),
    /// Red, green and blue of each value, 16 bits each; empty without a palette.
    pub palette: Vec<[u16; 3]>,
    /// Tables for all JPEG strips or tiles: a JPEG file without picture.
    pub jpeg_tables: Option<&'a [u8]>,
    is_tiled: bool,
    offsets: super::fields::Entry,
    byte_counts: Option<super::fields::Entry>,
}

/// One strip or tile of one plane.
#[derive(Debug, Clone)]
pub enum Chunk<'a> {
    /// Rows of samples, each row of whole octets; the last rows may be missing.
    Unpacked(Cow<'a, [u8]>),
    /// Still packed, most significant bit first.
    Packed(Cow<'a, [u8]>),
}

impl<'a> Raster<'a> {
    pub(super) fn open(octets: Octets<'a>, index: usize, page: &Page) -> Result<Self, TiffError> {
        let header = page.header.clone();
        let unusable = |field| TiffError::Field { page: index, field };
        let integer = |tag| page.field(tag).and_then(|entry| entry.integer(&octets, 0));
        let side = |tag, name| integer(tag).filter(|side| (1..=SIDE_MAX).contains(side)).ok_or(unusable(name));
        let (chunk, offsets, byte_counts) = if page.is_tiled {
            let size = (side(tag::TILE_WIDTH, "TileWidth")?, side(tag::TILE_LENGTH, "TileLength")?);
            // Some writers keep tiles in the fields of strips.
            let offsets = page.field(tag::TILE_OFFSETS).or(page.strip_offsets).ok_or(unusable("TileOffsets"))?;
            (size, offsets, page.field(tag::TILE_BYTE_COUNTS).or(page.strip_byte_counts))
        } else {
            let offsets = page.strip_offsets.ok_or(unusable("StripOffsets"))?;
            ((header.width, header.rows_per_strip), offsets, page.strip_byte_counts)
        };
        if !(1..=SAMPLES_MAX).contains(&header.samples) {
            return Err(unusable("SamplesPerPixel"));
        }
        let alpha = match page.field(tag::EXTRA_SAMPLES).and_then(|entry| entry.integer(&octets, 0)) {
            Some(1) => Alpha::Premultiplied,
            Some(2) => Alpha::Straight,
            _ => Alpha::None,
        };
        let subsampling = page.field(tag::YCBCR_SUBSAMPLING);
        let subsampling = |index| {
            let value = subsampling.map_or(Some(2), |entry| entry.integer(&octets, index));
            value.filter(|value| matches!(value, 1 | 2 | 4)).ok_or(unusable("YCbCrSubSampling"))
        };
        let planes = match integer(tag::PLANAR_CONFIGURATION) {
            Some(2) if header.samples > 1 => Planes::Apart,
            _ => Planes::Together,
        };
        Ok(Self {
            chunk,
            chunks: (header.width.div_ceil(chunk.0), header.height.div_ceil(chunk.1)),
            planes,
            alpha,
            predictor: integer(tag::PREDICTOR).unwrap_or(1),
            sample_format: integer(tag::SAMPLE_FORMAT).unwrap_or(1),
            subsampling: (subsampling(0)?, subsampling(1)?),
            palette: palette(&octets, page, &header),
            jpeg_tables: page.field(tag::JPEG_TABLES).and_then(|entry| entry.octets(&octets)),
            is_tiled: page.is_tiled,
            offsets,
            byte_counts,
            octets,
            index,
            header,
        })
    }

    /// Whether samples of 16 bits have their low octet first.
    pub fn is_little_endian(&self) -> bool {
        self.octets.order == ByteOrder::Little
    }

    /// Samples of a pixel in one strip or tile.
    pub fn chunk_samples(&self) -> u32 {
        if self.planes == Planes::Apart { 1 } else { self.header.samples }
    }

    /// Rows of a strip or tile of row `down`: those of the last strip end with the page.
    pub fn chunk_rows(&self, down: u32) -> u32 {
        if self.is_tiled { self.chunk.1 } else { self.chunk.1.min(self.header.height - (down * self.chunk.1)) }
    }

    /// The octets of all strips and tiles together; a file whose strips overlap to cost time is an error.
    pub fn check_length(&self) -> Result<(), TiffError> {
        let planes = if self.planes == Planes::Apart { self.header.samples } else { 1 };
        let count = u64::from(self.chunks.0) * u64::from(self.chunks.1) * u64::from(planes);
        let file = self.octets.all.len() as u64;
        let overlap = TiffError::Overlap { page: self.index };
        // Each has an offset in the file, unless there is only one.
        if count > 1 && count * 2 > file {
            return Err(overlap);
        }
        let mut length = 0;
        for number in 0..count as u32 {
            length += self.coded(number)?.len() as u64;
            if length > file * SHARING_MAX {
                return Err(overlap);
            }
        }
        Ok(())
    }

    /// The strip or tile `across` and `down` of `plane` (0 when samples lie together).
    pub fn chunk(&self, plane: u32, across: u32, down: u32) -> Result<Chunk<'a>, TiffError> {
        let number = (plane * self.chunks.1 + down) * self.chunks.0 + across;
        let coded = self.coded(number)?;
        let rows = self.chunk_rows(down);
        let is_lsb_first = self.header.bit_order == BitOrder::LsbFirst;
        // Samples of 8 bits and more too: TIFF 6.0 does not ask for it, but libtiff writes and reads them so.
        let turned = || {
            let mut octets = Cow::Borrowed(coded);
            if is_lsb_first && self.header.compression != compression::JPEG {
                reverse_bits(octets.to_mut());
            }
            octets
        };
        Ok(match self.header.compression {
            compression::NONE => Chunk::Unpacked(turned()),
            compression::PACK_BITS => {
                let row = u64::from(self.chunk.0) * u64::from(self.header.bits) * u64::from(self.chunk_samples());
                let needed = usize::try_from(row.div_ceil(8) * u64::from(rows)).unwrap_or(usize::MAX);
                Chunk::Unpacked(Cow::Owned(unpack_bits(&turned(), needed)))
            }
            compression::CCITT_RLE | compression::T4 | compression::T6 if self.header.bits == 1 => {
                self.faxed(coded, rows)?
            }
            _ => Chunk::Packed(turned()),
        })
    }

    /// Bad rows are replaced by the ones above them: a scanner's file is worth reading to the end.
    fn faxed(&self, coded: &[u8], rows: u32) -> Result<Chunk<'a>, TiffError> {
        let header = &self.header;
        let coding = header.coding().ok_or(TiffError::Field { page: self.index, field: "Compression" })?;
        let row_start = match header.compression {
            compression::CCITT_RLE => RowStart::Octet,
            _ => RowStart::AnyBit,
        };
        let params = DecodeParams {
            coding,
            width: self.chunk.0,
            rows: Some(rows),
            row_start,
            bit_order: header.bit_order,
            tolerance: Tolerance::Conceal,
        };
        let page =
            codec::decode(coded, params).map_err(|source| TiffError::Damaged { page: self.index, source })?.bitmap;
        let used = self.chunk.0.div_ceil(8) as usize;
        let octets = page.rows().flat_map(|row| row[..used].iter().copied()).collect();
        Ok(Chunk::Unpacked(Cow::Owned(octets)))
    }

    fn coded(&self, number: u32) -> Result<&'a [u8], TiffError> {
        let missing = |field| TiffError::Field { page: self.index, field };
        let offset = u64::from(self.offsets.integer(&self.octets, number).ok_or(missing("StripOffsets"))?);
        let left = (self.octets.all.len() as u64).saturating_sub(offset);
        let length = match self.byte_counts {
            Some(entry) => u64::from(entry.integer(&self.octets, number).ok_or(missing("StripByteCounts"))?),
            None => left,
        };
        let outside = TiffError::Outside { page: self.index, what: "a strip", offset, length };
        self.octets.slice(offset, length).ok_or(outside)
    }
}

/// TIFF 6.0 ColorMap: all reds, all greens, all blues.
fn palette(octets: &Octets<'_>, page: &Page, header: &PageHeader) -> Vec<[u16; 3]> {
    let Some(entry) = page.field(tag::COLOR_MAP).filter(|_| header.bits <= 8) else { return Vec::new() };
    let colours = 1_u32 << header.bits;
    let at = |index| entry.integer(octets, index).map(|value| value as u16);
    (0..colours).map_while(|n| Some([at(n)?, at(colours + n)?, at(2 * colours + n)?])).collect()
}
