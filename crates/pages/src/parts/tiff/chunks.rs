//! Strips and tiles unpacked.
//!
//! In: a strip or tile as it is in the file. Out: its samples as rows of octets; rows at the end may be missing. Failure: data that
//! no writer makes, a compression that is not read (the message says what to do). Memory is bounded by the size that
//! the caller asks for. Standard: TIFF 6.0 §13 (LZW), §14 (predictor), technical note 2 (JPEG), RFC 1950 (Deflate).

use std::borrow::Cow;
use std::io::Read;

use fax_image::tiff::{Chunk, Raster, compression};
use flate2::read::ZlibDecoder;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::order::{ConvertError, ErrorKind, Result, damaged};

/// A strip or tile with its samples in the open.
pub(super) struct Unpacked<'a> {
    pub octets: Cow<'a, [u8]>,
    /// Samples of a pixel that are there: JPEG gives the luminance alone.
    pub samples: usize,
}

/// The strip or tile `across` and `down` of `plane`. `needed` octets are enough.
pub(super) fn unpack<'a>(
    raster: &Raster<'a>,
    (plane, across, down): (u32, u32, u32),
    needed: usize,
) -> Result<Unpacked<'a>> {
    let chunk = raster.chunk(plane, across, down).map_err(|error| damaged(error.to_string()))?;
    let samples = raster.chunk_samples() as usize;
    let coded = match chunk {
        Chunk::Unpacked(octets) => return Ok(Unpacked { octets, samples }),
        Chunk::Packed(coded) => coded,
    };
    let octets = match raster.header.compression {
        compression::LZW => lzw(&coded, needed)?,
        compression::DEFLATE | compression::OLD_DEFLATE => deflate(&coded, needed)?,
        compression::JPEG => return jpeg(&coded, raster, down),
        other => return Err(unknown(other)),
    };
    Ok(Unpacked { octets: Cow::Owned(octets), samples })
}

fn unknown(number: u32) -> ConvertError {
    let name = match number {
        compression::OLD_JPEG => "the JPEG of 1992",
        34_712 => "JPEG 2000",
        34_925 => "LZMA",
        50_000 => "Zstandard",
        50_001 => "WebP",
        _ => "",
    };
    let named = if name.is_empty() { String::new() } else { format!(" ({name})") };
    let detail = format!("its compression {number}{named} is not read; fix: save it with LZW, Deflate or as PDF");
    ConvertError::new(ErrorKind::Unsupported, detail)
}

fn lzw(coded: &[u8], needed: usize) -> Result<Vec<u8>> {
    // Before TIFF 6.0 codes came least significant bit first; the clear code shows it, as it begins every strip.
    let mut decoder = match coded {
        [0, second, ..] if second & 1 == 1 => weezl::decode::Decoder::new(weezl::BitOrder::Lsb, 8),
        _ => weezl::decode::Decoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8),
    };
    let mut out = vec![0; needed];
    let (mut from, mut to) = (0, 0);
    while to < needed {
        let step = decoder.decode_bytes(&coded[from..], &mut out[to..]);
        (from, to) = (from + step.consumed_in, to + step.consumed_out);
        match step.status {
            Ok(weezl::LzwStatus::Ok) if step.consumed_in + step.consumed_out > 0 => {}
            Ok(_) => break,
            Err(_) if to > 0 => break,
            Err(error) => return Err(damaged(format!("its LZW data cannot be read: {error}"))),
        }
    }
    out.truncate(to);
    Ok(out)
}

fn deflate(coded: &[u8], needed: usize) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(needed);
    let read = ZlibDecoder::new(coded).take(needed as u64).read_to_end(&mut out);
    match read {
        Err(error) if out.is_empty() => Err(damaged(format!("its Deflate data cannot be read: {error}"))),
        // What came before the damage is there; rows that are missing are counted.
        _ => Ok(out),
    }
}

fn jpeg<'a>(coded: &[u8], raster: &Raster<'_>, down: u32) -> Result<Unpacked<'a>> {
    let unreadable = |error: zune_jpeg::errors::DecodeErrors| damaged(format!("its JPEG data cannot be read: {error}"));
    let file = match raster.jpeg_tables {
        // A file with the tables and without a picture, then one with a picture and without tables: without the end of the
        // first and the beginning of the second they are one.
        Some(tables) if tables.len() > 4 && coded.len() > 2 => [&tables[..tables.len() - 2], &coded[2..]].concat(),
        _ => coded.to_vec(),
    };
    let (width, rows) = (raster.chunk.0 as usize, raster.chunk_rows(down) as usize);
    // Tiles at the edge and last strips may be stored at full size.
    let side_max = |side: usize| side.max(raster.chunk.1 as usize).max(1);
    let options = DecoderOptions::default().set_max_width(width).set_max_height(side_max(rows));
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&file), options);
    decoder.decode_headers().map_err(unreadable)?;
    let input = decoder.input_colorspace().unwrap_or(ColorSpace::Luma);
    // Only the luminance is wanted of YCbCr; other colours come as they are stored.
    let is_ycbcr = raster.header.photometric == 6 && input == ColorSpace::YCbCr;
    let output = if is_ycbcr { ColorSpace::Luma } else { input };
    decoder.set_options(options.jpeg_set_out_colorspace(output));
    let (found, _) = decoder.dimensions().ok_or_else(|| damaged("its JPEG data have no size"))?;
    if found != width {
        return Err(damaged(format!("a strip of JPEG data is {found} pixels wide, and the page says {width}")));
    }
    let octets = decoder.decode().map_err(unreadable)?;
    Ok(Unpacked { octets: Cow::Owned(octets), samples: output.num_components() })
}
