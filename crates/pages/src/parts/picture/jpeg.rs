//! JPEG into rows of grey: of YCbCr the luminance alone is decoded to pixels.
//!
//! Standards: ITU-T T.81, JFIF 1.02 (density), Adobe's APP14 segment (which colours are stored; CMYK is stored upside down).

use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{Head, exif, greys};
use crate::order::{ConvertError, Result, damaged};
use crate::parts::Job;
use crate::parts::incoming::{Incoming, Orientation};

/// T.81 has 16 bits for each side.
const SIDE_MAX: usize = 65_535;

pub(super) fn draw(bytes: &[u8], job: &Job<'_>) -> Result<Incoming> {
    let rewritten = rgb_as_ycbcr(bytes);
    let bytes = rewritten.as_deref().unwrap_or(bytes);
    let options = DecoderOptions::default().set_max_width(SIDE_MAX).set_max_height(SIDE_MAX).set_strict_mode(false);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(unreadable)?;
    let info = decoder.info().ok_or_else(|| damaged("the picture has no size"))?;
    let orientation = decoder.exif().and_then(|exif| exif::orientation(exif)).unwrap_or(1);
    let head = Head {
        width: usize::from(info.width),
        height: usize::from(info.height),
        density: density(info.pixel_density, info.x_density, info.y_density),
        orientation: Orientation::new(orientation),
    };
    let mut incoming = head.incoming(job)?;
    let output = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => ColorSpace::Luma,
        Some(ColorSpace::YCbCr) if rewritten.is_some() => ColorSpace::YCbCr,
        Some(ColorSpace::YCbCr) => ColorSpace::Luma,
        _ => ColorSpace::RGB,
    };
    decoder.set_options(options.jpeg_set_out_colorspace(output));
    let pixels = decoder.decode().map_err(unreadable)?;
    let samples = output.num_components();
    let mut shades = vec![255; head.width];
    for row in pixels.chunks_exact(head.width * samples) {
        if samples == 1 {
            incoming.row(row);
        } else {
            greys(row, samples, &mut shades);
            incoming.row(&shades);
        }
    }
    Ok(incoming)
}

/// The decoder takes three components for YCbCr even where Adobe's segment says RGB. Such a file is given to it as YCbCr,
/// and its components are taken as they come.
fn rgb_as_ycbcr(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut adobe, mut components) = (None, None);
    let mut at = 2;
    while let Some([0xff, marker, high, low]) = bytes.get(at..at + 4) {
        let length = usize::from(*high) << 8 | usize::from(*low);
        match marker {
            0xee if bytes.get(at + 4..at + 9) == Some(b"Adobe") => adobe = Some(at + 15),
            // Start of a frame: length, precision, height, width, components.
            0xc0..=0xc3 => components = bytes.get(at + 9),
            0xda | 0xd9 => break,
            _ => {}
        }
        at += 2 + length.max(2);
    }
    let transform = adobe.filter(|at| components == Some(&3) && bytes.get(*at) == Some(&0))?;
    let mut bytes = bytes.to_vec();
    bytes[transform] = 1;
    Some(bytes)
}

/// JFIF: unit 1 dots per inch, 2 dots per centimetre, 0 the shape of a pixel.
fn density(unit: u8, across: u16, down: u16) -> Option<(f64, f64)> {
    let per_inch = if unit == 2 { 2.54 } else { 1.0 };
    (across > 0 && down > 0).then(|| (f64::from(across) * per_inch, f64::from(down) * per_inch))
}

fn unreadable(error: DecodeErrors) -> ConvertError {
    damaged(format!("the picture cannot be read: {error}"))
}
