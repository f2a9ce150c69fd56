//! How long the pages of a fax file are in each coding: `coded FILE.tif` prints a line for each page with the octets of MH, MR and
//! MMR. `tests/perf/bench-wire.py` compares with it.

use fax_image::codec::{Coding, EncodeOptions, encode};
use fax_image::tiff::TiffReader;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).ok_or("a file is missing")?;
    let file = std::fs::read(path)?;
    let reader = TiffReader::open(&file)?;
    for index in 0..reader.page_count() {
        let page = reader.decode(index)?;
        let octets = |coding| encode(&page, coding, &EncodeOptions::default()).len();
        println!("{} {} {}", octets(Coding::Mh), octets(Coding::MR4), octets(Coding::Mmr));
    }
    Ok(())
}
