//! Pictures and TIFF files with octets changed, cut out and put in: each ends in pages or in an error, never in a panic.
//!
//! The same in every run; `FAXWELL_MUTATIONS=2000` tries more of each. Coverage-guided: `make fuzz TARGET=converter`.

use std::path::Path;

use pages::worker::Unlocked;
use pages::{ConvertOrder, ErrorKind, Part};

use crate::common::*;

/// A small deterministic source of numbers (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % limit.max(1)
    }
}

fn mutate(octets: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..=dice.below(4) {
        // Heads hold what matters most.
        let reach = if dice.below(2) == 0 { octets.len().min(200) } else { octets.len() };
        let place = dice.below(reach);
        match dice.below(5) {
            0 => octets[place] = dice.below(256) as u8,
            1 => octets[place] ^= 1 << dice.below(8),
            2 => octets.insert(place, dice.below(256) as u8),
            3 => octets[place] = [0, 0x7f, 0x80, 0xff][dice.below(4)],
            _ => drop(octets.drain(place..(place + dice.below(16)).min(octets.len()))),
        }
        if octets.is_empty() {
            octets.push(0);
        }
    }
}

#[test]
fn changed_pictures_end_in_pages_or_in_an_error() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/converter");
    let count = std::env::var("FAXWELL_MUTATIONS").map_or(25, |count| count.parse().unwrap());
    let converter = Unlocked::open();
    let (mut seeds, mut pages, mut errors) = (0, 0, 0);
    let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    for path in
        names.iter().filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("seed")))
    {
        let seed = std::fs::read(path).unwrap();
        seeds += 1;
        for number in 0..count {
            let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (seeds << 32) ^ number);
            let mut octets = seed.clone();
            if number > 0 {
                mutate(&mut octets, &mut dice);
            }
            let part = Part { bytes: octets, ..Part::default() };
            match converter.convert(ConvertOrder { max_pages: 3, parts: vec![part], ..ConvertOrder::default() }) {
                Ok(tiff) => pages += bitmaps(&tiff).len(),
                Err(error) => {
                    assert!(number > 0, "{}: {error}", path.display());
                    assert!(error.kind != ErrorKind::Unavailable, "{}, change {number}: {error}", path.display());
                    errors += 1;
                }
            }
        }
    }
    assert!(seeds >= 14 && pages > 0 && errors > 0, "{seeds} seeds, {pages} pages, {errors} errors");
}
