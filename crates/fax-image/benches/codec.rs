//! How long coding a page takes, ours beside the `fax` crate in the same run.
//!
//! `cargo bench -p fax-image` prints the median of many runs, the size, and for MMR how many times faster ours is.

#[path = "../tests/it/made.rs"]
mod made;

use std::hint::black_box;
use std::time::{Duration, Instant};

use fax::encoder::Encoder;
use fax::{Color, VecWriter, decoder};
use fax_image::codec::{Coding, DecodeParams, EncodeOptions, decode, encode};
use fax_image::{Bitmap, Resolution, tiff};

/// Pixels of an A4 row at 204 dpi.
const A4_WIDTH: u32 = 1728;
/// Rows of an A4 page at 196 dpi.
const A4_HEIGHT: u32 = 2292;
/// Runs of each measurement; the median is shown.
const RUNS: usize = 31;

fn main() {
    let pages = [
        ("text", made::text(A4_WIDTH, A4_HEIGHT, 1)),
        ("diffused", made::diffused(A4_WIDTH, A4_HEIGHT)),
        ("white", Bitmap::white(A4_WIDTH, A4_HEIGHT).expect("an A4 page is inside the limits")),
    ];
    println!(
        "{:9} {:4} {:>9} {:>10} {:>10} {:>14} {:>14}",
        "page", "", "octets", "encode ms", "decode ms", "encode x fax", "decode x fax"
    );
    for (name, page) in &pages {
        for (label, coding) in [("MH", Coding::Mh), ("MR4", Coding::MR4), ("MMR", Coding::Mmr)] {
            let octets = encode(page, coding, &EncodeOptions::default());
            let params = DecodeParams::new(coding, page.width(), Some(page.height()));
            let encoding = median(|| encode(page, coding, &EncodeOptions::default()).len());
            let decoding = median(|| decode(&octets, params).map_or(0, |decoded| decoded.bitmap.stride()));
            let (mut encode_ratio, mut decode_ratio) = (String::new(), String::new());
            if coding == Coding::Mmr {
                encode_ratio = ratio(median(|| encode_with_fax(page).len()), encoding);
                decode_ratio = ratio(median(|| decode_with_fax(&octets, page)), decoding);
            }
            let (size, encoding, decoding) = (octets.len(), milliseconds(encoding), milliseconds(decoding));
            println!(
                "{name:9} {label:4} {size:>9} {encoding:>10.3} {decoding:>10.3} {encode_ratio:>14} {decode_ratio:>14}"
            );
        }
        let list = [tiff::TiffPage::new(page, Resolution::FINE, tiff::Profile::F); 10];
        let written = median(|| tiff::write_document(&list).map_or(0, |file| file.len()));
        println!("{name:9} TIFF of 10 pages written in {:.3} ms", milliseconds(written));
    }
}

fn median(mut action: impl FnMut() -> usize) -> Duration {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            black_box(action());
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[RUNS / 2]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn ratio(theirs: Duration, ours: Duration) -> String {
    format!("{:.1}", theirs.as_secs_f64() / ours.as_secs_f64())
}

/// Feeds the encoder from packed rows, as ours is.
fn encode_with_fax(page: &Bitmap) -> Vec<u8> {
    let mut encoder = Encoder::new(VecWriter::new());
    for row in page.rows() {
        let pixels = (0..page.width() as usize).map(|x| match row[x / 8] & (0x80 >> (x % 8)) {
            0 => Color::White,
            _ => Color::Black,
        });
        let Ok(()) = encoder.encode_line(pixels, page.width());
    }
    let Ok(writer) = encoder.finish();
    writer.finish()
}

/// Decodes to colour changes, which is less than the pixels that ours gives.
fn decode_with_fax(octets: &[u8], page: &Bitmap) -> usize {
    let mut changes = 0;
    decoder::decode_g4(octets.iter().copied(), page.width(), Some(page.height()), |row| changes += row.len());
    changes
}
