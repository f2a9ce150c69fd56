//! Any octets decode in every way to a page of the declared size or to an error, and what was decoded codes and decodes back.
#![no_main]

use fax_image::codec::{
    BitOrder, Coding, DecodeParams, EncodeOptions, RowStart, Tolerance, decode, encode,
};

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    // Four octets say how to read the rest.
    let Some((&[ways, wide, width, rows], coded)) = octets.split_first_chunk::<4>() else { return };
    let coding = [Coding::Mh, Coding::MR2, Coding::MR4, Coding::Mmr][usize::from(ways) & 3];
    let row_start = if ways & 4 == 0 { RowStart::AnyBit } else { RowStart::Octet };
    let bit_order = if ways & 8 == 0 { BitOrder::MsbFirst } else { BitOrder::LsbFirst };
    let tolerance = if ways & 16 == 0 { Tolerance::Strict } else { Tolerance::Conceal };
    let rows = (ways & 32 == 0).then_some(u32::from(rows));
    let width = if ways & 64 == 0 { 1728 } else { u32::from(wide) << 4 | u32::from(width) };
    let params = DecodeParams { coding, width, rows, row_start, bit_order, tolerance };
    let Ok(decoded) = decode(coded, params) else { return };
    let page = decoded.bitmap;
    assert_eq!(page.width(), width);
    assert!(rows.is_none_or(|rows| rows == page.height()));
    let again = encode(&page, coding, &EncodeOptions::default());
    let known = DecodeParams::new(coding, width, Some(page.height()));
    assert_eq!(decode(&again, known).map(|decoded| decoded.bitmap), Ok(page));
});
