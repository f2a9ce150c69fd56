//! TIFF into pages: fax pages as they are, others scaled.
//!
//! A bilevel page that is 1728 pixels wide, of the chosen density and not longer than the paper keeps its pixels. Other pages are
//! scaled to their size on paper by their resolution (a fax page's pixels are not square). Bilevel strips in the fax codings are
//! read by `fax-image` whole; everything else strip by strip or tile by tile (`chunks` unpacks, `samples` makes rows of grey).
//! Failure: a page that is damaged, too large or of a kind that is not read, named by its number.

mod chunks;
mod samples;

use fax_image::Bitmap;
use fax_image::codec::Tolerance;
use fax_image::tiff::{PageHeader, Resolution, ResolutionSource, TiffError, TiffReader};

use super::Job;
use super::incoming::{Incoming, Orientation};
use crate::order::{ConvertError, Result, damaged};
use crate::size::{ENLARGE_PAGE, WIDTH_PX, keeps_its_rows, page_rows, place};
use crate::tiff_f::{resolution, unreadable};

/// A page of which more than one row in so many is damaged is no page to send.
const BAD_ROWS_ONE_IN: u32 = 20;

pub(super) fn pages(bytes: &[u8], job: &mut Job<'_>) -> Result<()> {
    let reader = TiffReader::open(bytes).map_err(unreadable)?;
    job.allow(reader.page_count())?;
    for index in 0..reader.page_count() {
        let header = reader.page(index).map_err(unreadable)?;
        let page = match reader.decode_with(index, Tolerance::Conceal) {
            Ok(decoded) => {
                check_rows(decoded.bad_rows, decoded.bitmap.height(), index, job)?;
                bilevel(decoded.bitmap, header, job)?
            }
            Err(TiffError::NotBilevel { .. }) => other(&reader, index, job).map_err(|error| {
                let of_page = |detail| format!("page {}: {detail}", index + 1);
                ConvertError { detail: of_page(error.detail), ..error }
            })?,
            Err(error) => return Err(unreadable(error)),
        };
        job.add(page)?;
    }
    Ok(())
}

/// Notes bad rows, and refuses a page with too many of them.
fn check_rows(bad: u32, rows: u32, index: usize, job: &mut Job<'_>) -> Result<()> {
    if bad > 0 {
        let remark = format!("page {}: {bad} of {rows} rows are damaged or missing", index + 1);
        if bad * BAD_ROWS_ONE_IN > rows {
            return Err(damaged(remark));
        }
        job.notes.push(remark);
    }
    Ok(())
}

/// A page of grey or colours, or one whose bits are packed as no fax is.
fn other(reader: &TiffReader<'_>, index: usize, job: &mut Job<'_>) -> Result<Bitmap> {
    let raster = reader.raster(index).map_err(|error| damaged(error.to_string()))?;
    let header = raster.header.clone();
    if samples::is_bilevel(&raster) {
        let mut page = Bitmap::white(header.width, header.height).map_err(|error| damaged(error.to_string()))?;
        let mut y = 0;
        let bad = samples::each_row(&raster, |row| {
            let mut octets = page.row_mut(y);
            for (octet, samples) in octets.iter_mut().zip(row.chunks(8)) {
                let bit = |(place, shade): (usize, &u8)| u8::from(*shade < 128) << (7 - place);
                *octet = samples.iter().enumerate().map(bit).sum();
            }
            y += 1;
        })?;
        check_rows(bad, header.height, index, job)?;
        return bilevel(page, &header, job);
    }
    let mut incoming = incoming(&header, job);
    let bad = samples::each_row(&raster, |row| incoming.row(row))?;
    check_rows(bad, header.height, index, job)?;
    incoming.finish(job)
}

fn bilevel(page: Bitmap, header: &PageHeader, job: &Job<'_>) -> Result<Bitmap> {
    let density = resolution(job.quality);
    // 100 and 200 dpi are how some programs write 98 and 196 (RFC 3949 §3).
    let is_same_density = header.resolution.y_dpi.abs_diff(density.y_dpi) <= density.y_dpi / 25;
    let is_upright = Orientation::new(header.orientation).is_upright();
    if page.width() == WIDTH_PX
        && is_same_density
        && is_upright
        && keeps_its_rows(page.height(), job.paper, job.quality)
    {
        let mut page = page;
        let missing = page_rows(job.paper, job.quality).saturating_sub(page.height());
        page.extend_rows(missing).map_err(|e| damaged(e.to_string()))?;
        return Ok(page);
    }
    let mut incoming = incoming(header, job);
    let mut shades = vec![0; page.width() as usize];
    for row in page.rows() {
        for (shades, octet) in shades.chunks_mut(8).zip(row) {
            for (place, shade) in shades.iter_mut().enumerate() {
                *shade = if octet << place & 0x80 == 0 { 255 } else { 0 };
            }
        }
        incoming.row(&shades);
    }
    incoming.finish(job)
}

fn incoming(header: &PageHeader, job: &Job<'_>) -> Incoming {
    let (width, height) = (header.width as usize, header.height as usize);
    let Resolution { x_dpi, y_dpi } = match header.resolution_source {
        ResolutionSource::Declared => header.resolution,
        // Nothing said: a fax if it is as wide as one, else square pixels.
        ResolutionSource::Assumed if header.width == WIDTH_PX => header.resolution,
        ResolutionSource::Assumed => Resolution { x_dpi: 96, y_dpi: 96 },
    };
    let orientation = Orientation::new(header.orientation);
    let mut size = (width as f64 * 25.4 / f64::from(x_dpi), height as f64 * 25.4 / f64::from(y_dpi));
    if orientation.is_on_its_side() {
        size = (size.1, size.0);
    }
    Incoming::new((width, height), orientation, place(size.0, size.1, ENLARGE_PAGE, job.paper, job.quality))
}
