//! PNG into rows of grey, read row by row. Standard: PNG 1.2; eXIf and pHYs are obeyed.

use std::io::Cursor;

use png::{Decoder, DecodingError, Limits, Transformations, Unit};

use super::{DECODER_MAX_BYTES, Head, exif, greys};
use crate::order::{ConvertError, Result, damaged};
use crate::parts::Job;
use crate::parts::incoming::{Incoming, Orientation};

const INCHES_PER_METRE: f64 = 1.0 / 0.0254;

pub(super) fn draw(bytes: &[u8], job: &Job<'_>) -> Result<Incoming> {
    let limits = Limits { bytes: DECODER_MAX_BYTES as usize };
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), limits);
    // Palettes and small samples as whole octets, 16 bits as 8.
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let mut reader = decoder.read_info().map_err(unreadable)?;
    let info = reader.info();
    let density = info.pixel_dims.filter(|dims| dims.unit == Unit::Meter && dims.xppu > 0 && dims.yppu > 0);
    let orientation = info.exif_metadata.as_deref().and_then(exif::orientation).unwrap_or(1);
    let head = Head {
        width: info.width as usize,
        height: info.height as usize,
        density: density.map(|dims| (f64::from(dims.xppu) / INCHES_PER_METRE, f64::from(dims.yppu) / INCHES_PER_METRE)),
        orientation: Orientation::new(orientation),
    };
    let is_interlaced = info.interlaced;
    let mut incoming = head.incoming(job)?;
    let samples = reader.output_color_type().0.samples();
    let mut shades = vec![255; head.width];
    if is_interlaced {
        let size = reader.output_buffer_size().filter(|size| *size as u64 <= DECODER_MAX_BYTES);
        let size = size.ok_or_else(|| damaged("the picture needs too much memory"))?;
        let mut pixels = vec![0; size];
        reader.next_frame(&mut pixels).map_err(unreadable)?;
        for row in pixels.chunks_exact(head.width * samples) {
            greys(row, samples, &mut shades);
            incoming.row(&shades);
        }
        return Ok(incoming);
    }
    while let Some(row) = reader.next_row().map_err(unreadable)? {
        greys(row.data(), samples, &mut shades);
        incoming.row(&shades);
    }
    Ok(incoming)
}

fn unreadable(error: DecodingError) -> ConvertError {
    match error {
        DecodingError::LimitsExceeded => damaged("the picture needs too much memory"),
        other => damaged(format!("the picture cannot be read: {other}")),
    }
}
