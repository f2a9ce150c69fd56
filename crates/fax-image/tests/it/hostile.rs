//! Bytes from enemies: no panic, and an answer at once.
//!
//! The time of one case is not judged here; a loop without end shows as a test that never ends.

use fax_image::codec::{BitOrder, Coding, DecodeParams, EncodeOptions, RowStart, Tolerance, decode, encode};
use fax_image::tiff::{Profile, TiffPage, TiffReader, write_document};
use fax_image::{Bitmap, Resolution};
use proptest::prelude::*;

use crate::made;
use crate::roundtrip::CODINGS;

/// What mutations do: overwrite, insert, cut out.
type Mutation = (usize, u8, u8);

fn mutate(octets: &mut Vec<u8>, mutations: &[Mutation]) {
    for &(place, kind, value) in mutations {
        if octets.is_empty() {
            return;
        }
        let place = place % octets.len();
        match kind % 4 {
            0 => octets[place] = value,
            1 => octets[place] ^= 1 << (value % 8),
            2 => octets.insert(place, value),
            _ => drop(octets.drain(place..(place + usize::from(value) / 16).min(octets.len()))),
        }
    }
}

fn decode_every_way(octets: &[u8], width: u32, rows: u32) {
    for coding in CODINGS {
        for tolerance in [Tolerance::Strict, Tolerance::Conceal] {
            for row_start in [RowStart::AnyBit, RowStart::Octet] {
                for rows in [Some(rows), None] {
                    let bit_order = BitOrder::MsbFirst;
                    let decoded = decode(octets, DecodeParams { coding, width, rows, row_start, bit_order, tolerance });
                    if let (Ok(decoded), Some(rows)) = (&decoded, rows) {
                        assert_eq!((decoded.bitmap.width(), decoded.bitmap.height()), (width, rows));
                        assert!(decoded.bad_rows <= rows);
                    }
                    if let Ok(decoded) = decoded {
                        let clean = decoded.bitmap.clone();
                        let again = Bitmap::from_packed(width, clean.height(), clean.stride(), clean.bits()).unwrap();
                        assert_eq!(again, clean, "bits beyond the width stay white");
                        assert!(tolerance == Tolerance::Conceal || decoded.bad_rows == 0);
                    }
                }
            }
        }
    }
}

fn read_every_page(file: &[u8]) {
    let Ok(reader) = TiffReader::open(file) else { return };
    for page in 0..reader.page_count().min(8) {
        let header = reader.page(page).unwrap();
        // Pages up to the limits are legal but slow in numbers; the largest are tried by name elsewhere.
        if header.width <= 4096 && header.height <= 4096 {
            for tolerance in [Tolerance::Strict, Tolerance::Conceal] {
                let _either = reader.decode_with(page, tolerance);
            }
        }
        let _either = reader.strip(page);
    }
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    prop::collection::vec(any::<Mutation>(), 1..12)
}

proptest! {
    #[test]
    fn random_bytes_decode_to_something_or_an_error(
        octets in prop::collection::vec(prop_oneof![3 => any::<u8>(), 1 => Just(0u8), 1 => Just(0xffu8)], 0..600),
        width in 1u32..3000, rows in 0u32..64,
    ) {
        decode_every_way(&octets, width, rows);
    }

    #[test]
    fn mutated_pages_decode_to_something_or_an_error(seed in 0u64..8, mutations in mutations(), wrong_width in 0u32..3) {
        let page = made::text(400, 90, seed);
        for coding in CODINGS {
            let mut octets = encode(&page, coding, &EncodeOptions::default());
            mutate(&mut octets, &mutations);
            decode_every_way(&octets, 400 + wrong_width, 90);
        }
    }

    #[test]
    fn random_bytes_behind_a_tiff_header_are_read_or_refused(octets in prop::collection::vec(any::<u8>(), 0..300), big in 0..2) {
        let mut file = if big == 1 { b"MM\0*\0\0\0\x08".to_vec() } else { b"II*\0\x08\0\0\0".to_vec() };
        file.extend(octets);
        read_every_page(&file);
    }

    #[test]
    fn mutated_files_are_read_or_refused(mutations in mutations(), into_fields in 0..2) {
        let pages = [made::text(1728, 60, 1), made::text(1728, 61, 2)];
        for profile in [Profile::S, Profile::F] {
            let list = pages.each_ref().map(|page| TiffPage::new(page, Resolution::FINE, profile));
            let mut file = write_document(&list).unwrap();
            // Half of the cases hit the first IFD and nothing else.
            let aimed: Vec<Mutation> = mutations
                .iter()
                .map(|&(place, kind, value)| if into_fields == 1 { (8 + place % 220, kind % 2, value) } else { (place, kind, value) })
                .collect();
            mutate(&mut file, &aimed);
            read_every_page(&file);
        }
    }
}

#[test]
fn a_page_of_the_largest_size_in_a_file_of_a_few_bytes_is_bounded() {
    for coding in CODINGS {
        let params = DecodeParams { tolerance: Tolerance::Conceal, ..DecodeParams::new(coding, 16_384, Some(16_384)) };
        let decoded = decode(&[0x35], params).unwrap();
        assert_eq!(decoded.bad_rows, 16_384, "{coding:?}");
        assert_eq!(decoded.bitmap.black_pixels(), 0);
    }
}

#[test]
fn long_fill_is_passed_once() {
    // 4 MiB of zeros, then a page: fill is legal before any EOL (T.4 §4.1.3).
    let page = made::text(1728, 60, 1);
    let mut octets = vec![0; 4 << 20];
    octets.extend(encode(&page, Coding::Mh, &EncodeOptions::default()));
    assert_eq!(decode(&octets, DecodeParams::new(Coding::Mh, 1728, None)).unwrap().bitmap, page);
}
