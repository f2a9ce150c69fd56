//! PNG, JPEG, GIF, BMP and WebP into one page each.
//!
//! A picture is drawn at 96 dots to the inch and made smaller when it does not fit: a screenshot or a logo keeps its size, a scan
//! fills its page. Alpha goes over white, EXIF's orientation is obeyed.

use std::io::Cursor;

use fax_image::Bitmap;
use image::codecs::gif::GifDecoder;
use image::{AnimationDecoder, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::Job;
use crate::kind::Kind;
use crate::order::{Result, damaged};
use crate::paste;
use crate::size::{ENLARGE_PICTURE, place};

const MM_PER_PIXEL: f64 = 25.4 / 96.0;
/// Memory that a decoder may take: 80 megapixels of RGB.
const DECODER_MAX_BYTES: u64 = 240 << 20;

pub(super) fn pages(bytes: &[u8], kind: Kind, job: &mut Job<'_>) -> Result<Vec<Bitmap>> {
    job.allow(1)?;
    if kind == Kind::Gif && frames(bytes) > 1 {
        job.notes.push("first of several pictures".to_owned());
    }
    let image = decode(bytes, kind)?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    if width == 0 || height == 0 {
        return Err(damaged("the picture has no pixels"));
    }
    let luma = over_white(image);
    let place =
        place(width as f64 * MM_PER_PIXEL, height as f64 * MM_PER_PIXEL, ENLARGE_PICTURE, job.paper, job.quality);
    let mut gray = paste::scale(width, height, &place, |x, y| luma[y * width + x]);
    gray.whiten();
    Ok(vec![paste::on_page(&gray.to_bits(job.quality)?, &place, job.paper, job.quality)?])
}

fn decode(bytes: &[u8], kind: Kind) -> Result<DynamicImage> {
    let format = match kind {
        Kind::Png => ImageFormat::Png,
        Kind::Jpeg => ImageFormat::Jpeg,
        Kind::Gif => ImageFormat::Gif,
        Kind::Bmp => ImageFormat::Bmp,
        Kind::WebP => ImageFormat::WebP,
        _ => return Err(damaged("it is no picture")),
    };
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODER_MAX_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(unreadable)?;
    let (width, height) = decoder.dimensions();
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    if decoder.total_bytes() > DECODER_MAX_BYTES {
        return Err(damaged(format!("{width} × {height} pixels need too much memory")));
    }
    decoder.set_limits(limits).map_err(unreadable)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    image.apply_orientation(orientation);
    Ok(image)
}

fn unreadable(error: ImageError) -> crate::order::ConvertError {
    match error {
        ImageError::Limits(_) => damaged("the picture needs too much memory"),
        other => damaged(format!("the picture cannot be read: {other}")),
    }
}

/// Grey over white, row by row so that the large image is the only one in memory at full depth.
fn over_white(image: DynamicImage) -> Vec<u8> {
    if !image.color().has_alpha() {
        return image.into_luma8().into_raw();
    }
    let blend =
        |luma: u8, alpha: u8| ((u32::from(luma) * u32::from(alpha) + 255 * (255 - u32::from(alpha))) / 255) as u8;
    image.into_luma_alpha8().into_raw().chunks_exact(2).map(|la| blend(la[0], la[1])).collect()
}

/// At most two are counted.
fn frames(bytes: &[u8]) -> usize {
    GifDecoder::new(Cursor::new(bytes)).map(|decoder| decoder.into_frames().take(2).count()).unwrap_or(0)
}
