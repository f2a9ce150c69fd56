//! The pixels of a page from its strips.
//!
//! In: a page whose fields have been read. Out: its bitmap. Failure: [`TiffError`]; with [`Tolerance::Conceal`] a strip that
//! leaves the file is cut at its end and damaged rows are replaced and counted. Time is bounded by the length of the file.
//! Standard: TIFF 6.0 §3 (strips), §9 (PackBits), §10 and §11 (modified Huffman, T.4, T.6).

use std::borrow::Cow;

use super::fields::Octets;
use super::read::Page;
use super::{TiffError, compression};
use crate::Bitmap;
use crate::codec::{self, BitOrder, DecodeError, DecodeParams, Decoded, RowStart, Tolerance, reverse_bits};

/// Strips may share octets, but together they are at most this many times as long as the file.
pub(super) const SHARING_MAX: u64 = 16;

/// Decodes all strips of a page.
pub(super) fn decode(
    octets: &Octets<'_>,
    index: usize,
    page: &Page,
    tolerance: Tolerance,
) -> Result<Decoded, TiffError> {
    let header = &page.header;
    let known = header.coding().is_some() || matches!(header.compression, compression::NONE | compression::PACK_BITS);
    if !known || header.bits != 1 || header.samples != 1 || header.photometric > 1 || page.is_tiled {
        return Err(TiffError::NotBilevel {
            page: index,
            compression: header.compression,
            bits: header.bits,
            samples: header.samples,
            photometric: header.photometric,
        });
    }
    let size = |source| TiffError::Size { page: index, source };
    let mut whole;
    if header.rows_per_strip == header.height {
        let strip = find(octets, index, page, 0, tolerance)?;
        whole = decode_strip(strip, index, page, header.height, tolerance)?;
    } else {
        let bitmap = Bitmap::white(header.width, header.height).map_err(size)?;
        whole = Decoded { bitmap, bad_rows: 0 };
        let mut length = 0;
        for (number, y) in (0..header.height).step_by(header.rows_per_strip as usize).enumerate() {
            let strip = find(octets, index, page, number as u32, tolerance)?;
            length += strip.len() as u64;
            if length > octets.all.len() as u64 * SHARING_MAX {
                return Err(TiffError::Overlap { page: index });
            }
            let rows = header.rows_per_strip.min(header.height - y);
            let part = decode_strip(strip, index, page, rows, tolerance)?;
            whole.bitmap.put_rows(y, &part.bitmap);
            whole.bad_rows += part.bad_rows;
        }
    }
    if header.photometric == 1 {
        whole.bitmap.invert();
    }
    Ok(whole)
}

/// The octets of one strip.
pub(super) fn find<'a>(
    octets: &Octets<'a>,
    index: usize,
    page: &Page,
    number: u32,
    tolerance: Tolerance,
) -> Result<&'a [u8], TiffError> {
    let missing = |field| TiffError::Field { page: index, field };
    let offset = page.strip_offsets.and_then(|entry| entry.integer(octets, number));
    let offset = u64::from(offset.ok_or(missing("StripOffsets"))?);
    let left = (octets.all.len() as u64).saturating_sub(offset);
    let length = match page.strip_byte_counts {
        Some(entry) => u64::from(entry.integer(octets, number).ok_or(missing("StripByteCounts"))?),
        // Old single-strip files leave the length out: the strip may reach to the end of the file.
        None if page.header.rows_per_strip == page.header.height => left,
        None => return Err(missing("StripByteCounts")),
    };
    let length = if tolerance == Tolerance::Conceal { length.min(left) } else { length };
    octets.slice(offset, length).ok_or(TiffError::Outside { page: index, what: "a strip", offset, length })
}

fn decode_strip(
    strip: &[u8],
    index: usize,
    page: &Page,
    rows: u32,
    tolerance: Tolerance,
) -> Result<Decoded, TiffError> {
    let header = &page.header;
    let Some(coding) = header.coding() else {
        return packed(strip, index, page, rows, tolerance);
    };
    let row_start = if header.compression == compression::CCITT_RLE { RowStart::Octet } else { RowStart::AnyBit };
    let params = DecodeParams {
        coding,
        width: header.width,
        rows: Some(rows),
        row_start,
        bit_order: header.bit_order,
        tolerance,
    };
    codec::decode(strip, params).map_err(|error| match error {
        DecodeError::Size(source) => TiffError::Size { page: index, source },
        source => TiffError::Damaged { page: index, source },
    })
}

/// Uncompressed and PackBits strips: rows of whole octets.
fn packed(strip: &[u8], index: usize, page: &Page, rows: u32, tolerance: Tolerance) -> Result<Decoded, TiffError> {
    let header = &page.header;
    let size = |source| TiffError::Size { page: index, source };
    Bitmap::check_size(header.width, rows).map_err(size)?;
    let stride = header.width.div_ceil(8) as usize;
    let needed = stride * rows as usize;
    let mut strip = Cow::Borrowed(strip);
    if header.bit_order == BitOrder::LsbFirst {
        reverse_bits(strip.to_mut());
    }
    if header.compression == compression::PACK_BITS {
        strip = Cow::Owned(unpack_bits(&strip, needed));
    }
    let complete = (strip.len() / stride).min(rows as usize) as u32;
    if complete < rows {
        if tolerance == Tolerance::Strict {
            return Err(TiffError::Damaged { page: index, source: DecodeError::Truncated { row: complete } });
        }
        // A missing row is white, whichever value white has.
        let white = if header.photometric == 1 { 0xff } else { 0 };
        strip.to_mut().truncate(complete as usize * stride);
        strip.to_mut().resize(needed, white);
    }
    let bitmap = Bitmap::from_packed(header.width, rows, stride, &strip).map_err(size)?;
    Ok(Decoded { bitmap, bad_rows: rows - complete })
}

/// PackBits, TIFF 6.0 §9. Stops at `needed` octets or at the end of the data.
pub(super) fn unpack_bits(mut packed: &[u8], needed: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(needed.min(packed.len().saturating_mul(64)));
    while out.len() < needed
        && let Some((&head, rest)) = packed.split_first()
    {
        let room = needed - out.len();
        packed = rest;
        match head {
            0..=127 => {
                let literal = &rest[..rest.len().min(usize::from(head) + 1)];
                packed = &rest[literal.len()..];
                out.extend_from_slice(&literal[..literal.len().min(room)]);
            }
            128 => {}
            129..=255 => {
                if let Some((&octet, rest)) = rest.split_first() {
                    packed = rest;
                    out.resize(out.len() + room.min(257 - usize::from(head)), octet);
                }
            }
        }
    }
    out
}
