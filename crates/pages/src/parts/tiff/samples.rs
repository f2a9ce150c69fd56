//! The samples of a TIFF page as rows of grey.
//!
//! In: a page of any kind. Out: its rows from the top, 0 black to 255 white; rows that are missing are white and counted.
//! Failure: a kind of samples that is not read, or a page that is too large. What is in memory at once is one row of strips or tiles.
//! Standard: TIFF 6.0 §4 to §6 (bilevel, grey, palette), §14 (predictor), §16 (CMYK), §18 (alpha), §21 (YCbCr).

use fax_image::gray::{luma, over_white};
use fax_image::tiff::{Alpha, Planes, Raster, compression};

use super::chunks::{self, Unpacked};
use crate::order::{ConvertError, ErrorKind, Result, damaged};
use crate::size::check_pixels;

/// Samples that are unpacked at once: strips of a page may be the whole page.
const SAMPLES_MAX: u64 = 240 << 20;

/// TIFF's photometric interpretations.
mod photometric {
    pub(super) const WHITE_IS_ZERO: u32 = 0;
    pub(super) const BLACK_IS_ZERO: u32 = 1;
    pub(super) const RGB: u32 = 2;
    pub(super) const PALETTE: u32 = 3;
    pub(super) const CMYK: u32 = 5;
    pub(super) const YCBCR: u32 = 6;
    pub(super) const CIE_LAB: u32 = 8;
    pub(super) const ICC_LAB: u32 = 9;
}

/// Whether it is black and white.
pub(super) fn is_bilevel(raster: &Raster<'_>) -> bool {
    let header = &raster.header;
    header.bits == 1 && header.samples == 1 && header.photometric <= photometric::BLACK_IS_ZERO
}

/// Calls with each row of the page; returns how many of them were missing.
pub(super) fn each_row(raster: &Raster<'_>, mut each: impl FnMut(&[u8])) -> Result<u32> {
    let header = &raster.header;
    check(raster)?;
    raster.check_length().map_err(|error| damaged(error.to_string()))?;
    let planes = if raster.planes == Planes::Apart { header.samples } else { 1 };
    let (chunk_width, samples) = (raster.chunk.0 as usize, header.samples as usize);
    let (width, wide) = (header.width as usize, chunk_width * raster.chunks.0 as usize);
    let mut shade = vec![255; width];
    let mut missing = 0;
    for down in 0..raster.chunks.1 {
        let rows = raster.chunk_rows(down) as usize;
        let wanted = rows.min(header.height as usize - (down * raster.chunk.1) as usize);
        let mut band = Band { wide, samples, octets: Vec::new(), there: wanted };
        for plane in 0..planes {
            for across in 0..raster.chunks.0 {
                let rows_of = chunk_octets(raster, rows);
                let unpacked = chunks::unpack(raster, (plane, across, down), rows_of)?;
                band.take(raster, unpacked, (plane as usize, across as usize), rows);
            }
        }
        for y in 0..wanted {
            if y < band.there {
                let from = y * wide * band.samples;
                grey(raster, &band.octets[from..from + wide * band.samples], band.samples, &mut shade);
            } else {
                shade.fill(255);
                missing += 1;
            }
            each(&shade);
        }
    }
    Ok(missing)
}

/// Whether the page is of a kind that is read, before anything is unpacked.
fn check(raster: &Raster<'_>) -> Result<()> {
    let header = &raster.header;
    check_pixels(u64::from(header.width), u64::from(header.height))?;
    let band = u64::from(raster.chunk.0) * u64::from(raster.chunks.0) * u64::from(raster.chunk.1);
    if band * u64::from(header.samples) > SAMPLES_MAX {
        return Err(damaged(format!("its strips of {} rows need too much memory", raster.chunk.1)));
    }
    let unsupported = |what: String| {
        Err(ConvertError::new(ErrorKind::Unsupported, format!("{what}; fix: save it with 8 bits to the sample")))
    };
    if !matches!(raster.sample_format, 1 | 4) || raster.predictor == 3 {
        return unsupported("its samples are not whole numbers, which is not read".to_owned());
    }
    if !matches!(header.bits, 1 | 2 | 4 | 8 | 16) || raster.predictor == 2 && header.bits < 8 {
        return unsupported(format!("its samples have {} bits, which is not read", header.bits));
    }
    if header.compression == compression::JPEG && header.bits != 8 {
        return Err(damaged(format!("its samples have {} bits, and those of JPEG have 8", header.bits)));
    }
    let colours = match header.photometric {
        photometric::WHITE_IS_ZERO | photometric::BLACK_IS_ZERO => 1,
        photometric::PALETTE if !raster.palette.is_empty() => 1,
        photometric::RGB | photometric::YCBCR | photometric::CIE_LAB | photometric::ICC_LAB => 3,
        photometric::CMYK => 4,
        other => return unsupported(format!("its kind of colours ({other}) is not read")),
    };
    if header.samples < colours {
        return Err(damaged(format!("its pixels have {} samples and need {colours}", header.samples)));
    }
    Ok(())
}

fn is_subsampled(raster: &Raster<'_>) -> bool {
    let header = &raster.header;
    header.photometric == photometric::YCBCR
        && header.compression != compression::JPEG
        && raster.planes == Planes::Together
        && raster.subsampling != (1, 1)
}

/// Octets of an unpacked strip or tile of so many rows.
fn chunk_octets(raster: &Raster<'_>, rows: usize) -> usize {
    let (width, samples) = (raster.chunk.0 as usize, raster.chunk_samples() as usize);
    if is_subsampled(raster) {
        let (h, v) = (raster.subsampling.0 as usize, raster.subsampling.1 as usize);
        return width.div_ceil(h) * rows.div_ceil(v) * (h * v + 2);
    }
    (width * samples * raster.header.bits as usize).div_ceil(8) * rows
}

/// One row of strips or tiles with a whole octet for each sample.
struct Band {
    /// Pixels in a row, those beyond the page's edge too.
    wide: usize,
    samples: usize,
    octets: Vec<u8>,
    /// Rows that are there.
    there: usize,
}

impl Band {
    fn take(&mut self, raster: &Raster<'_>, unpacked: Unpacked<'_>, (plane, across): (usize, usize), rows: usize) {
        let width = raster.chunk.0 as usize;
        let (octets, samples) = if is_subsampled(raster) {
            (luminance(&unpacked.octets, raster, rows), 1)
        } else {
            (whole_octets(&unpacked, raster), unpacked.samples)
        };
        if raster.planes == Planes::Together {
            self.samples = samples;
        }
        self.there = self.there.min(octets.len() / (width * samples).max(1));
        if self.wide == width && self.samples == samples {
            self.octets = octets;
            return;
        }
        let stride = self.wide * self.samples;
        self.octets.resize(stride * rows, 0);
        for (y, row) in octets.chunks_exact(width * samples).take(rows).enumerate() {
            let to = &mut self.octets[y * stride + across * width * self.samples..][..width * self.samples];
            if samples == self.samples {
                to.copy_from_slice(row);
            } else {
                to.iter_mut().skip(plane).step_by(self.samples).zip(row).for_each(|(to, from)| *to = *from);
            }
        }
    }
}

/// Each sample in an octet of its own, differences added up; whole rows only.
fn whole_octets(unpacked: &Unpacked<'_>, raster: &Raster<'_>) -> Vec<u8> {
    let (width, bits, samples) = (raster.chunk.0 as usize, raster.header.bits as usize, unpacked.samples);
    let is_jpeg = raster.header.compression == compression::JPEG;
    let bits = if is_jpeg { 8 } else { bits };
    let stride = (width * samples * bits).div_ceil(8);
    let adds = raster.predictor == 2 && !is_jpeg;
    let mut out = Vec::with_capacity(unpacked.octets.len() / stride.max(1) * width * samples);
    for row in unpacked.octets.chunks_exact(stride.max(1)) {
        let start = out.len();
        match bits {
            8 => {
                out.extend_from_slice(row);
                if adds {
                    let row = &mut out[start..];
                    (samples..row.len()).for_each(|at| row[at] = row[at].wrapping_add(row[at - samples]));
                }
            }
            16 => {
                let word = |pair: &[u8]| match raster.is_little_endian() {
                    true => u16::from_le_bytes([pair[0], pair[1]]),
                    false => u16::from_be_bytes([pair[0], pair[1]]),
                };
                let mut words: Vec<u16> = row.chunks_exact(2).map(word).collect();
                if adds {
                    (samples..words.len()).for_each(|at| words[at] = words[at].wrapping_add(words[at - samples]));
                }
                out.extend(words.into_iter().map(|word| (word >> 8) as u8));
            }
            _ => {
                let value = |at: usize| row[at * bits / 8] >> (8 - bits - at * bits % 8) & ((1_u16 << bits) - 1) as u8;
                out.extend((0..width * samples).map(value));
            }
        }
    }
    out
}

/// The luminance of YCbCr blocks that share their colour differences; whole rows only.
fn luminance(octets: &[u8], raster: &Raster<'_>, rows: usize) -> Vec<u8> {
    let (h, v) = (raster.subsampling.0 as usize, raster.subsampling.1 as usize);
    let width = raster.chunk.0 as usize;
    let (unit, units) = (h * v + 2, width.div_ceil(h));
    let mut out = Vec::with_capacity(width * rows);
    for (block, line) in octets.chunks_exact(units * unit).enumerate() {
        for y in 0..v.min(rows - (block * v).min(rows)) {
            out.extend((0..width).map(|x| line[x / h * unit + y * h + x % h]));
        }
    }
    out
}

/// One row of samples, an octet each, into grey.
fn grey(raster: &Raster<'_>, row: &[u8], samples: usize, shade: &mut [u8]) {
    let header = &raster.header;
    let scale = |value: u8| match header.bits {
        1 => value * 255,
        2 => value * 85,
        4 => value * 17,
        _ => value,
    };
    let colours = match header.photometric {
        photometric::RGB => 3,
        photometric::CMYK => 4,
        photometric::YCBCR | photometric::CIE_LAB | photometric::ICC_LAB if samples > 1 => 3,
        _ => 1,
    };
    for (shade, pixel) in shade.iter_mut().zip(row.chunks_exact(samples)) {
        let value = match header.photometric {
            photometric::WHITE_IS_ZERO => 255 - scale(pixel[0]),
            photometric::PALETTE => {
                let [r, g, b] = raster.palette.get(usize::from(pixel[0])).copied().unwrap_or([u16::MAX; 3]);
                luma((r >> 8) as u8, (g >> 8) as u8, (b >> 8) as u8)
            }
            photometric::RGB => luma(scale(pixel[0]), scale(pixel[1]), scale(pixel[2])),
            photometric::CMYK => {
                let light = |ink: u8| (u32::from(255 - scale(ink)) * u32::from(255 - scale(pixel[3])) / 255) as u8;
                luma(light(pixel[0]), light(pixel[1]), light(pixel[2]))
            }
            // Luminance and lightness come first in the others.
            _ => scale(pixel[0]),
        };
        *shade = match (raster.alpha, pixel.get(colours)) {
            (Alpha::Straight, Some(alpha)) => over_white(value, scale(*alpha)),
            (Alpha::Premultiplied, Some(alpha)) => value.saturating_add(255 - scale(*alpha)),
            _ => value,
        };
    }
}
