//! What the encoder writes, the decoder reads back.

use fax_image::codec::{
    BitOrder, Coding, DecodeError, DecodeParams, Decoded, EncodeOptions, Ending, Eol, RowStart, Tolerance, decode,
    encode, smallest,
};
use fax_image::{Bitmap, Ink};
use proptest::prelude::*;

use crate::made;

pub(crate) const CODINGS: [Coding; 4] = [Coding::Mh, Coding::MR2, Coding::MR4, Coding::Mmr];

/// A page by runs: each row is either new runs, the row above with its runs' ends moved a little, or the row above again.
pub(crate) fn run_page() -> impl Strategy<Value = Bitmap> {
    let run = prop_oneof![0u32..4, 0u32..70, 0u32..700, Just(64u32), Just(2560u32)];
    let row = (0u32..4, prop::collection::vec(run, 0..40), prop::collection::vec(-4i32..=4, 40));
    (1u32..2600, prop::collection::vec(row, 0..24)).prop_map(|(width, rows)| {
        let mut page = Bitmap::white(width, rows.len() as u32).unwrap();
        let mut ends: Vec<u32> = Vec::new();
        for (y, (kind, runs, moves)) in rows.into_iter().enumerate() {
            match kind {
                0 => {}
                1 => ends.iter_mut().zip(moves).for_each(|(end, by)| *end = end.saturating_add_signed(by)),
                _ => {
                    ends.clear();
                    runs.iter().for_each(|run| ends.push(ends.last().unwrap_or(&0) + run));
                }
            }
            for pair in ends.chunks(2) {
                let end = pair.get(1).copied().unwrap_or(width);
                page.fill_rect(pair[0], y as u32, end.saturating_sub(pair[0]), 1, Ink::Black);
            }
        }
        page
    })
}

fn noise(width: u32, height: u32) -> Bitmap {
    let mut page = Bitmap::white(width, height).unwrap();
    let mut dice = made::Dice::new(7);
    for y in 0..height {
        page.row_mut(y).fill_with(|| dice.below(256) as u8);
    }
    page
}

/// Pixels by chance.
fn chance_page() -> impl Strategy<Value = Bitmap> {
    (1u32..300, 0u32..12).prop_flat_map(|(width, height)| {
        let stride = width.div_ceil(8) as usize;
        prop::collection::vec(any::<u8>(), stride * height as usize)
            .prop_map(move |bits| Bitmap::from_packed(width, height, stride, &bits).unwrap())
    })
}

fn any_options() -> impl Strategy<Value = EncodeOptions> {
    let eol = prop_oneof![Just(Eol::None), Just(Eol::AnyBit), Just(Eol::OctetEnd)];
    let row_start = prop_oneof![Just(RowStart::AnyBit), Just(RowStart::Octet)];
    let ending = prop_oneof![Just(Ending::None), Just(Ending::Marker)];
    let order = prop_oneof![Just(BitOrder::MsbFirst), Just(BitOrder::LsbFirst)];
    (eol, row_start, ending, 0u32..400, order).prop_map(|(eol, row_start, ending, row_bits_min, bit_order)| {
        EncodeOptions { eol, row_start, ending, row_bits_min, bit_order }
    })
}

/// How to read what `options` wrote.
fn params(coding: Coding, width: u32, rows: Option<u32>, options: &EncodeOptions) -> DecodeParams {
    // Rows begin at octets only where the encoder made them: in MMR, and in MH without EOLs.
    let aligned = coding == Coding::Mmr || (coding == Coding::Mh && options.eol == Eol::None);
    let row_start = if aligned { options.row_start } else { RowStart::AnyBit };
    DecodeParams { row_start, bit_order: options.bit_order, ..DecodeParams::new(coding, width, rows) }
}

fn check(page: &Bitmap, options: &EncodeOptions) {
    for coding in CODINGS {
        let octets = encode(page, coding, options);
        let known = params(coding, page.width(), Some(page.height()), options);
        let expected = Ok(Decoded { bitmap: page.clone(), bad_rows: 0 });
        assert_eq!(decode(&octets, known), expected, "{coding:?} {options:?}");
        // A page that ends with a marker, or with a row that no fill can be mistaken for, also says how long it is.
        if options.ending == Ending::Marker {
            let unknown = DecodeParams { rows: None, ..known };
            assert_eq!(decode(&octets, unknown), expected, "{coding:?} {options:?}, rows unknown");
        }
        let concealing = DecodeParams { tolerance: Tolerance::Conceal, ..known };
        assert_eq!(decode(&octets, concealing), expected, "{coding:?} {options:?}, concealing");
    }
}

proptest! {
    #[test]
    fn a_page_of_runs_comes_back(page in run_page(), options in any_options()) {
        check(&page, &options);
    }

    #[test]
    fn a_page_of_chance_comes_back(page in chance_page(), options in any_options()) {
        check(&page, &options);
    }

    #[test]
    fn each_row_is_at_least_as_long_as_asked(page in run_page(), row_bits_min in 0u32..2000) {
        // Counted as the receiver does: from EOL to EOL.
        let options = EncodeOptions { row_bits_min, ..EncodeOptions::default() };
        let octets = encode(&page, Coding::Mh, &options);
        let (mut zeros, mut last_eol, mut position, mut rows) = (0, None, 0u64, 0);
        for bit in octets.iter().flat_map(|octet| (0..8).map(move |place| octet & (0x80 >> place) != 0)) {
            position += 1;
            if !bit {
                zeros += 1;
                continue;
            }
            if zeros >= 11
                && let Some(last) = last_eol.replace(position)
                && rows < page.height()
            {
                prop_assert!(position - last >= u64::from(row_bits_min), "row {} has {} bits", rows, position - last);
                rows += 1;
            }
            zeros = 0;
        }
        prop_assert_eq!(rows, page.height());
    }
}

#[test]
fn white_and_black_pages_of_every_width_come_back() {
    for width in (1..2601).step_by(7).chain([64, 1728, 2432, 2560, 2623, 2624, 5183, 5184, 5185, 16_384]) {
        for ink in [Ink::White, Ink::Black] {
            let mut page = Bitmap::white(width, 5).unwrap();
            page.fill_rect(0, 0, width, 5, ink);
            check(&page, &EncodeOptions::default());
        }
    }
}

#[test]
fn whole_pages_come_back_from_each_coding() {
    for page in [made::text(1728, 1143, 1), made::diffused(864, 400)] {
        check(&page, &EncodeOptions::default());
    }
}

#[test]
fn text_is_smallest_in_mmr_and_chance_in_mh() {
    let (coding, octets) = smallest(&made::text(1728, 1143, 1));
    assert_eq!(coding, Coding::Mmr);
    assert!(octets.len() < 1728 * 1143 / 8 / 5, "{} octets", octets.len());
    assert_eq!(smallest(&noise(1728, 400)).0, Coding::Mh);
}

#[test]
fn the_code_words_are_those_of_the_standard() {
    // T.4 §4.1.1 and §4.2.1.3, T.6 §2.2: 20 pixels, black from 4 to 8, then the same moved right by one.
    let mut page = Bitmap::white(20, 2).unwrap();
    page.fill_rect(4, 0, 4, 1, Ink::Black);
    page.fill_rect(5, 1, 4, 1, Ink::Black);
    let bare = EncodeOptions { eol: Eol::None, ending: Ending::None, ..EncodeOptions::default() };
    let bits = |text: &str| {
        let bits: Vec<u8> = text.bytes().filter(|&bit| bit != b' ').map(|bit| bit - b'0').collect();
        let octet = |part: &[u8]| part.iter().enumerate().map(|(place, bit)| bit << (7 - place)).sum();
        bits.chunks(8).map(octet).collect::<Vec<u8>>()
    };
    // White 4, black 4, white 12; white 5, black 4, white 11.
    assert_eq!(encode(&page, Coding::Mh, &bare), bits("1011 011 001000 1100 011 01000"));
    // Horizontal white 4, black 4, V0 for the end; VR1, VR1, V0.
    assert_eq!(encode(&page, Coding::Mmr, &bare), bits("001 1011 011 1 011 011 1"));
    let (eol, options) = ("000000000001", EncodeOptions { ending: Ending::None, ..EncodeOptions::default() });
    let expected = bits(&format!("{eol} 1 1011 011 001000 {eol} 0 011 011 1"));
    assert_eq!(encode(&page, Coding::MR2, &options), expected);
    let marked = encode(&Bitmap::white(8, 0).unwrap(), Coding::Mmr, &EncodeOptions::default());
    assert_eq!(marked, bits(&format!("{eol} {eol}")));
    let marked = encode(&Bitmap::white(8, 0).unwrap(), Coding::MR2, &EncodeOptions::default());
    assert_eq!(marked, bits(&[format!("{eol} 1").as_str(); 6].join(" ")));
}

/// Coded rows of chance with four octets of row 2 overwritten, so that its code words break but no EOL appears.
fn damaged(coding: Coding, page: &Bitmap) -> Vec<u8> {
    let options = EncodeOptions { ending: Ending::None, ..EncodeOptions::default() };
    let upper = encode(&page.crop_rows(0..2), coding, &options);
    let mut octets = encode(page, coding, &options);
    octets[upper.len() + 20..][..4].fill(0x01);
    octets
}

#[test]
fn a_bad_row_repeats_the_row_above_and_is_counted() {
    let page = noise(800, 24);
    for (coding, bad_rows) in [(Coding::Mh, 1), (Coding::MR2, 2), (Coding::MR4, 2)] {
        let octets = damaged(coding, &page);
        let strict = DecodeParams::new(coding, 800, Some(24));
        assert_eq!(decode(&octets, strict), Err(DecodeError::BadCode { row: 2 }), "{coding:?}");
        let decoded = decode(&octets, DecodeParams { tolerance: Tolerance::Conceal, ..strict }).unwrap();
        // In MR also the row that builds on the bad one, up to the next one-dimensional row.
        assert_eq!(decoded.bad_rows, bad_rows, "{coding:?}");
        for y in 0..24 {
            let source = if (2..2 + bad_rows).contains(&y) { 1 } else { y };
            assert_eq!(decoded.bitmap.row(y), page.row(source), "{coding:?} row {y}");
        }
    }
    let octets = damaged(Coding::Mmr, &page);
    let strict = DecodeParams::new(Coding::Mmr, 800, Some(24));
    assert!(decode(&octets, strict).is_err());
    let decoded = decode(&octets, DecodeParams { tolerance: Tolerance::Conceal, ..strict }).unwrap();
    assert_eq!(decoded.bitmap.crop_rows(0..2), page.crop_rows(0..2));
    assert!(decoded.bad_rows > 0, "MMR cannot be read on behind a bad row");
}

#[test]
fn missing_rows_are_an_error_or_white_and_counted() {
    let page = made::text(800, 100, 3);
    for coding in CODINGS {
        let octets = encode(&page, coding, &EncodeOptions::default());
        let params = DecodeParams::new(coding, 800, Some(120));
        assert_eq!(decode(&octets, params), Err(DecodeError::Truncated { row: 100 }), "{coding:?}");
        let decoded = decode(&octets, DecodeParams { tolerance: Tolerance::Conceal, ..params }).unwrap();
        assert_eq!((decoded.bad_rows, decoded.bitmap.height()), (20, 120), "{coding:?}");
        assert_eq!(decoded.bitmap.crop_rows(0..100), page);
        assert!((100..120).all(|y| decoded.bitmap.is_row_white(y)));
        // Cut in the middle, the upper part is still there.
        let half =
            decode(&octets[..octets.len() / 2], DecodeParams { tolerance: Tolerance::Conceal, ..params }).unwrap();
        let whole = (0..100).take_while(|&y| half.bitmap.row(y) == page.row(y)).count();
        assert!(whole > 20, "{coding:?}: {whole} rows");
    }
}

#[test]
fn the_uncompressed_mode_is_refused_by_name() {
    // 0000001111 in two-dimensional rows (T.6 §2.3), 000000001111 in one-dimensional ones (T.4 §4.2.1.4).
    for (coding, octets) in [(Coding::Mmr, [0x03, 0xff, 0xff]), (Coding::Mh, [0x00, 0xff, 0xff])] {
        let result = decode(&octets, DecodeParams::new(coding, 100, Some(4)));
        assert_eq!(result, Err(DecodeError::UncompressedMode { row: 0 }), "{coding:?}");
    }
}

#[test]
fn a_page_longer_than_any_page_is_refused() {
    // Each bit is a white row of MMR.
    let octets = vec![0xff; 1 << 20];
    let result = decode(&octets, DecodeParams::new(Coding::Mmr, 1728, None));
    assert!(matches!(result, Err(DecodeError::Size(_))));
    assert!(decode(&[], DecodeParams::new(Coding::Mmr, 1728, Some(u32::MAX))).is_err());
    assert!(decode(&[], DecodeParams::new(Coding::Mmr, 0, Some(1))).is_err());
}
