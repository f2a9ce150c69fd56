//! TIFF into pages: fax pages as they are, others scaled.
//!
//! A bilevel page that is 1728 pixels wide, of the chosen density and not longer than the paper keeps its pixels. Other pages are scaled to
//! their size on paper by their resolution (a fax page's pixels are not square). CCITT, uncompressed and PackBits
//! bilevel pages are read by `fax-image`, everything else (LZW, Deflate, JPEG; grey, colour, palette) by the crate `tiff`.

use std::io::Cursor;

use fax_image::Bitmap;
use fax_image::codec::Tolerance;
use fax_image::tiff::{PageHeader, Resolution, ResolutionSource, TiffError, TiffReader};
use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;

use super::Job;
use crate::order::{Result, damaged};
use crate::paste;
use crate::size::{ENLARGE_PAGE, Turned, WIDTH_PX, page_rows, place};
use crate::tiff_f::{resolution, unreadable};

/// Memory that the pixels of one page may take.
const PAGE_MAX_BYTES: usize = 240 << 20;
/// A page of which more than one row in so many is damaged is no page to send.
const BAD_ROWS_ONE_IN: u32 = 20;
/// A fax page is as long as the sheet that went through the machine: this much over the paper is kept, in percent.
const LONGER_PERCENT: u32 = 5;

pub(super) fn pages(bytes: &[u8], job: &mut Job<'_>) -> Result<()> {
    let reader = TiffReader::open(bytes).map_err(unreadable)?;
    job.allow(reader.page_count())?;
    let mut others = None;
    for index in 0..reader.page_count() {
        let header = reader.page(index).map_err(unreadable)?;
        match reader.decode_with(index, Tolerance::Conceal) {
            Ok(decoded) => {
                if decoded.bad_rows > 0 {
                    let (bad, rows) = (decoded.bad_rows, decoded.bitmap.height());
                    let remark = format!("page {}: {bad} of {rows} rows are damaged or missing", index + 1);
                    if bad * BAD_ROWS_ONE_IN > rows {
                        return Err(damaged(remark));
                    }
                    job.notes.push(remark);
                }
                job.add(bilevel(decoded.bitmap, header, job)?)?;
            }
            Err(TiffError::NotBilevel { .. }) => {
                let others = match &mut others {
                    Some(others) => others,
                    none => none.insert(Others::open(bytes)?),
                };
                let page = others.page(index, header, job);
                job.add(page.map_err(|e| damaged(format!("page {}: {}", index + 1, e.detail)))?)?;
            }
            Err(error) => return Err(unreadable(error)),
        }
    }
    Ok(())
}

fn bilevel(page: Bitmap, header: &PageHeader, job: &Job<'_>) -> Result<Bitmap> {
    let rows = page_rows(job.paper, job.quality);
    let density = resolution(job.quality);
    // 100 and 200 dpi are how some programs write 98 and 196 (RFC 3949 §3).
    let same_density = header.resolution.y_dpi.abs_diff(density.y_dpi) <= density.y_dpi / 25;
    let longest = rows + rows * LONGER_PERCENT / 100;
    if page.width() == WIDTH_PX && same_density && page.height() <= longest && turn(header) == Turn::None {
        let mut page = page;
        let missing = rows.saturating_sub(page.height());
        page.extend_rows(missing).map_err(|e| damaged(e.to_string()))?;
        return Ok(page);
    }
    let (width, height) = (page.width() as usize, page.height() as usize);
    scaled(width, height, header, job, |x, y| if page.get(x as u32, y as u32) { 0 } else { 255 })
}

/// How a page must be turned to stand upright (TIFF 6.0, Orientation). Mirrored ones do not occur in faxes and are taken as
/// the turned ones they are nearest to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    None,
    Half,
    Clockwise,
    Counterclockwise,
}

fn turn(header: &PageHeader) -> Turn {
    match header.orientation {
        3 | 4 => Turn::Half,
        5 | 6 => Turn::Clockwise,
        7 | 8 => Turn::Counterclockwise,
        _ => Turn::None,
    }
}

fn scaled(
    width: usize,
    height: usize,
    header: &PageHeader,
    job: &Job<'_>,
    shade: impl Fn(usize, usize) -> u8,
) -> Result<Bitmap> {
    let Resolution { x_dpi, y_dpi } = match header.resolution_source {
        ResolutionSource::Declared => header.resolution,
        // Nothing said: a fax if it is as wide as one, else square pixels.
        ResolutionSource::Assumed if width == WIDTH_PX as usize => header.resolution,
        ResolutionSource::Assumed => Resolution { x_dpi: 96, y_dpi: 96 },
    };
    let (width_mm, height_mm) = (width as f64 * 25.4 / f64::from(x_dpi), height as f64 * 25.4 / f64::from(y_dpi));
    let sized = |w: f64, h: f64| place(w, h, ENLARGE_PAGE, job.paper, job.quality);
    let (last_x, last_y) = (width.saturating_sub(1), height.saturating_sub(1));
    let (place, mut gray) = match turn(header) {
        Turn::None => {
            let place = sized(width_mm, height_mm);
            (place, paste::scale(width, height, &place, shade))
        }
        Turn::Half => {
            let place = sized(width_mm, height_mm);
            (place, paste::scale(width, height, &place, |x, y| shade(last_x - x, last_y - y)))
        }
        Turn::Clockwise => {
            let place = sized(height_mm, width_mm);
            (place, paste::scale(height, width, &place, |x, y| shade(y, last_y - x)))
        }
        Turn::Counterclockwise => {
            let place = sized(height_mm, width_mm);
            (place, paste::scale(height, width, &place, |x, y| shade(last_x - y, x)))
        }
    };
    debug_assert!(matches!(place.turned, Turned::Not | Turned::Clockwise));
    gray.whiten();
    paste::gray_on_page(&gray, &place, job.paper, job.quality)
}

/// The pages that are no fax images.
struct Others<'a> {
    decoder: Decoder<Cursor<&'a [u8]>>,
    /// For each page its place in the file: reduced images and masks are no pages.
    places: Vec<usize>,
}

impl<'a> Others<'a> {
    /// The chain of IFDs has been found to be finite by then.
    fn open(bytes: &'a [u8]) -> Result<Self> {
        let mut limits = Limits::default();
        limits.decoding_buffer_size = PAGE_MAX_BYTES;
        limits.intermediate_buffer_size = PAGE_MAX_BYTES;
        let decoder = Decoder::new(Cursor::new(bytes)).map_err(bad)?;
        let mut decoder = decoder.with_limits(limits);
        let (mut places, mut all) = (Vec::new(), Vec::new());
        for place in 0..fax_image::tiff::PAGES_MAX {
            let subfile = decoder.find_tag_unsigned::<u32>(Tag::NewSubfileType).map_err(bad)?.unwrap_or(0);
            all.push(place);
            if subfile & 0b101 == 0 {
                places.push(place);
            }
            if !decoder.more_images() {
                break;
            }
            decoder.next_image().map_err(bad)?;
        }
        Ok(Self { decoder, places: if places.is_empty() { all } else { places } })
    }

    fn page(&mut self, index: usize, header: &PageHeader, job: &Job<'_>) -> Result<Bitmap> {
        let place = *self.places.get(index).ok_or_else(|| damaged("it cannot be found in the file"))?;
        self.decoder.seek_to_image(place).map_err(bad)?;
        let (width, height) = self.decoder.dimensions().map_err(bad)?;
        let color = self.decoder.colortype().map_err(bad)?;
        let planes = self.decoder.find_tag_unsigned::<u32>(Tag::PlanarConfiguration).map_err(bad)?.unwrap_or(1);
        if planes != 1 && color.num_samples() > 1 {
            return Err(damaged("its colours are stored apart from each other, which is not supported"));
        }
        let palette = match color {
            ColorType::Palette(_) => self.decoder.get_tag_u16_vec(Tag::ColorMap).map_err(bad)?,
            _ => Vec::new(),
        };
        let pixels = match self.decoder.read_image().map_err(bad)? {
            DecodingResult::U8(octets) => octets,
            DecodingResult::U16(words) => words.into_iter().map(|word| (word >> 8) as u8).collect(),
            _ => return Err(damaged("its samples are neither of 8 nor of 16 bits")),
        };
        let samples = Samples::new(width as usize, height as usize, color, palette, &pixels)?;
        scaled(width as usize, height as usize, header, job, |x, y| samples.shade(x, y))
    }
}

/// Decoded samples, one octet each, or packed when they are smaller.
struct Samples<'a> {
    stride: usize,
    color: ColorType,
    count: usize,
    palette: Vec<u8>,
    pixels: &'a [u8],
}

impl<'a> Samples<'a> {
    fn new(width: usize, height: usize, color: ColorType, palette: Vec<u16>, pixels: &'a [u8]) -> Result<Self> {
        let count = usize::from(color.num_samples());
        let bits = usize::from(color.bit_depth());
        let stride = if bits < 8 { (width * count * bits).div_ceil(8) } else { width * count };
        if pixels.len() < stride * height || bits < 8 && count > 1 {
            return Err(damaged("its pixels are not all there"));
        }
        let third = palette.len() / 3;
        let palette = (0..third)
            .map(|i| {
                luma((palette[i] >> 8) as u8, (palette[third + i] >> 8) as u8, (palette[2 * third + i] >> 8) as u8)
            })
            .collect();
        Ok(Self { stride, color, count, palette, pixels })
    }

    fn shade(&self, x: usize, y: usize) -> u8 {
        let row = &self.pixels[y * self.stride..(y + 1) * self.stride];
        let bits = usize::from(self.color.bit_depth());
        if bits < 8 {
            let value = row[x * bits / 8] >> (8 - bits - x * bits % 8) & ((1 << bits) - 1) as u8;
            if matches!(self.color, ColorType::Palette(_)) {
                return self.palette.get(usize::from(value)).copied().unwrap_or(255);
            }
            return (u32::from(value) * 255 / ((1 << bits) - 1)) as u8;
        }
        let s = &row[x * self.count..(x + 1) * self.count];
        let over_white =
            |shade: u8, alpha: u8| ((u32::from(shade) * u32::from(alpha) + 255 * (255 - u32::from(alpha))) / 255) as u8;
        match self.color {
            ColorType::Gray(_) => s[0],
            ColorType::GrayA(_) => over_white(s[0], s[1]),
            ColorType::Palette(_) => self.palette.get(usize::from(s[0])).copied().unwrap_or(255),
            ColorType::RGB(_) => luma(s[0], s[1], s[2]),
            ColorType::RGBA(_) => over_white(luma(s[0], s[1], s[2]), s[3]),
            ColorType::CMYK(_) | ColorType::CMYKA(_) => {
                let ink = |c: u8| (u32::from(255 - c) * u32::from(255 - s[3]) / 255) as u8;
                luma(ink(s[0]), ink(s[1]), ink(s[2]))
            }
            // Luminance comes first in these.
            ColorType::YCbCr(_) | ColorType::Lab(_) | ColorType::Multiband { .. } => s[0],
            _ => s[0],
        }
    }
}

fn luma(r: u8, g: u8, b: u8) -> u8 {
    ((u32::from(r) * 77 + u32::from(g) * 150 + u32::from(b) * 29 + 128) >> 8) as u8
}

fn bad(error: tiff::TiffError) -> crate::order::ConvertError {
    damaged(error.to_string())
}
