//! JPEG, PNG, GIF, BMP and WebP into one page each.
//!
//! A picture is drawn at 96 dots to the inch and made smaller when it does not fit: a screenshot or a logo keeps its size, a scan
//! fills its page; it is turned when that makes it larger. A page of a fax that was saved as a picture keeps its pixels. Alpha goes
//! over white, EXIF's orientation is obeyed. Sizes are looked at before pixels are: a bomb costs nothing. Rows go to the
//! scaler as the decoder gives them.

mod exif;
mod jpeg;
mod png;

use std::io::Cursor;

use fax_image::gray::{luma, over_white};
use image::codecs::gif::GifDecoder;
use image::{AnimationDecoder, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::Job;
use super::incoming::{Incoming, Orientation};
use crate::kind::Kind;
use crate::order::{ConvertError, Result, damaged};
use crate::size::{ENLARGE_PICTURE, Placement, Turned, WIDTH_PX, check_pixels, keeps_its_rows, place};
use crate::tiff_f::resolution;

const MM_PER_PIXEL: f64 = 25.4 / 96.0;
/// Memory that a decoder of whole pictures may take: 60 megapixels of RGBA.
const DECODER_MAX_BYTES: u64 = 240 << 20;
/// Pixels are at most so many times as long as wide, or the other way round; what says more is wrong.
const STRETCH_MAX: f64 = 4.0;

pub(super) fn pages(bytes: &[u8], kind: Kind, job: &mut Job<'_>) -> Result<()> {
    job.allow(1)?;
    let incoming = match kind {
        Kind::Jpeg => jpeg::draw(bytes, job)?,
        Kind::Png => png::draw(bytes, job)?,
        Kind::Gif => whole(bytes, ImageFormat::Gif, job)?,
        Kind::Bmp => whole(bytes, ImageFormat::Bmp, job)?,
        Kind::WebP => whole(bytes, ImageFormat::WebP, job)?,
        _ => return Err(damaged("it is no picture")),
    };
    if kind == Kind::Gif && frames(bytes) > 1 {
        job.notes.push("first of several pictures".to_owned());
    }
    let page = incoming.finish(job)?;
    job.add(page)
}

/// What a decoder knows about a picture before its pixels.
struct Head {
    /// Pixels in a row, as stored.
    width: usize,
    /// Rows, as stored.
    height: usize,
    /// Dots per inch across and down, as stored; none when nothing is said.
    density: Option<(f64, f64)>,
    orientation: Orientation,
}

impl Head {
    /// Where the picture goes. An error when it has too many pixels.
    fn incoming(&self, job: &Job<'_>) -> Result<Incoming> {
        check_pixels(self.width as u64, self.height as u64)?;
        let place = if self.is_fax(job) {
            Placement { turned: Turned::Not, left: 0, width: WIDTH_PX, height: self.height as u32 }
        } else {
            // What is said of the density is rarely meant; only that pixels are not square can be believed.
            let stretch = self.density.map_or(1.0, |(across, down)| across / down);
            let stretch = if (1.0 / STRETCH_MAX..=STRETCH_MAX).contains(&stretch) { stretch } else { 1.0 };
            let mut size = (self.width as f64 * MM_PER_PIXEL, self.height as f64 * MM_PER_PIXEL * stretch);
            if self.orientation.is_on_its_side() {
                size = (size.1, size.0);
            }
            place(size.0, size.1, ENLARGE_PICTURE, job.paper, job.quality)
        };
        Ok(Incoming::new((self.width, self.height), self.orientation, place))
    }

    /// Whether it is a page of a fax of the wanted density.
    fn is_fax(&self, job: &Job<'_>) -> bool {
        let wanted = resolution(job.quality);
        let is_near = |dpi: f64, wanted: u32| (dpi - f64::from(wanted)).abs() <= f64::from(wanted) / 25.0;
        let has_density = self.density.is_some_and(|(x, y)| is_near(x, wanted.x_dpi) && is_near(y, wanted.y_dpi));
        let is_upright = self.orientation.is_upright();
        self.width == WIDTH_PX as usize
            && has_density
            && is_upright
            && u32::try_from(self.height).is_ok_and(|rows| keeps_its_rows(rows, job.paper, job.quality))
    }
}

/// Formats whose decoder gives the whole picture at once.
fn whole(bytes: &[u8], format: ImageFormat, job: &Job<'_>) -> Result<Incoming> {
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODER_MAX_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(unreadable)?;
    let (width, height) = decoder.dimensions();
    let exif = decoder.exif_metadata().ok().flatten();
    let orientation = Orientation::new(exif.as_deref().and_then(exif::orientation).unwrap_or(1));
    let head = Head { width: width as usize, height: height as usize, density: None, orientation };
    let mut incoming = head.incoming(job)?;
    if decoder.total_bytes() > DECODER_MAX_BYTES {
        return Err(damaged(format!("{width} × {height} pixels need too much memory")));
    }
    decoder.set_limits(limits).map_err(unreadable)?;
    let image = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    let image = match image {
        DynamicImage::ImageRgb8(_) | DynamicImage::ImageRgba8(_) | DynamicImage::ImageLuma8(_) => image,
        other => other.into_rgba8().into(),
    };
    let samples = usize::from(image.color().channel_count());
    let mut shades = vec![255; head.width];
    for row in image.as_bytes().chunks_exact((head.width * samples).max(1)) {
        greys(row, samples, &mut shades);
        incoming.row(&shades);
    }
    Ok(incoming)
}

/// A row of 1 to 4 samples to the pixel (grey, grey and alpha, RGB, RGBA) as grey over white.
fn greys(row: &[u8], samples: usize, shades: &mut [u8]) {
    let pixels = shades.iter_mut().zip(row.chunks_exact(samples.max(1)));
    match samples {
        1 => pixels.for_each(|(shade, p)| *shade = p[0]),
        2 => pixels.for_each(|(shade, p)| *shade = over_white(p[0], p[1])),
        3 => pixels.for_each(|(shade, p)| *shade = luma(p[0], p[1], p[2])),
        _ => pixels.for_each(|(shade, p)| *shade = over_white(luma(p[0], p[1], p[2]), p[3])),
    }
}

fn unreadable(error: ImageError) -> ConvertError {
    match error {
        ImageError::Limits(_) => damaged("the picture needs too much memory"),
        other => damaged(format!("the picture cannot be read: {other}")),
    }
}

/// At most two are counted.
fn frames(bytes: &[u8]) -> usize {
    GifDecoder::new(Cursor::new(bytes)).map(|decoder| decoder.into_frames().take(2).count()).unwrap_or(0)
}
