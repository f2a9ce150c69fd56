//! Our coded data in other decoders, other encoders' data in ours.

use fax::encoder::Encoder;
use fax::{Color, VecWriter, decoder};
use fax_image::codec::{Coding, DecodeParams, EncodeOptions, Ending, Eol, RowStart, decode, encode};
use fax_image::{Bitmap, Ink};
use hayro_ccitt::{DecodeSettings, Decoder, DecoderContext, EncodingMode};
use proptest::prelude::*;

use crate::made;
use crate::roundtrip::run_page;

/// The colour changes of each row, in both crates' form.
fn page_from_changes(width: u32, rows: &[Vec<u32>]) -> Bitmap {
    let mut page = Bitmap::white(width, rows.len() as u32).unwrap();
    for (y, row) in rows.iter().enumerate() {
        for run in row.chunks(2) {
            page.fill_rect(run[0], y as u32, run.get(1).unwrap_or(&width) - run[0], 1, Ink::Black);
        }
    }
    page
}

#[derive(Default)]
struct Rows(Vec<Vec<u32>>);

impl Decoder for Rows {
    fn push_row(&mut self, changes: &[u32]) {
        self.0.push(changes.to_vec());
    }
}

fn read_by_hayro(octets: &[u8], page: &Bitmap, encoding: EncodingMode, eol: Eol, row_start: RowStart) -> Bitmap {
    let settings = DecodeSettings {
        columns: page.width(),
        rows: page.height(),
        end_of_block: true,
        end_of_line: eol != Eol::None,
        rows_are_byte_aligned: row_start == RowStart::Octet,
        encoding,
        strict: true,
    };
    let mut rows = Rows::default();
    hayro_ccitt::decode(octets, &mut rows, &mut DecoderContext::new(settings)).unwrap();
    page_from_changes(page.width(), &rows.0)
}

fn written_by_fax(page: &Bitmap) -> Vec<u8> {
    let mut encoder = Encoder::new(VecWriter::new());
    for y in 0..page.height() {
        let pixels = (0..page.width()).map(|x| if page.get(x, y) { Color::Black } else { Color::White });
        encoder.encode_line(pixels, page.width()).unwrap();
    }
    encoder.finish().unwrap().finish()
}

fn check(page: &Bitmap) {
    let (width, height) = (page.width(), page.height());
    let mmr = encode(page, Coding::Mmr, &EncodeOptions::default());
    assert_eq!(mmr, written_by_fax(page), "MMR as another encoder writes it");

    let mut rows = Vec::new();
    decoder::decode_g4(mmr.iter().copied(), width, Some(height), |changes| rows.push(changes.to_vec())).unwrap();
    assert_eq!(&page_from_changes(width, &rows), page, "MMR in fax");
    assert_eq!(&read_by_hayro(&mmr, page, EncodingMode::Group4, Eol::None, RowStart::AnyBit), page, "MMR in hayro");

    let mh = encode(page, Coding::Mh, &EncodeOptions::default());
    let mut rows = Vec::new();
    decoder::decode_g3(mh.iter().copied(), |changes| rows.push(changes.to_vec())).unwrap();
    for row in &mut rows {
        // It leaves the end of the row among the changes.
        row.retain(|&change| change < width);
        if row.first() == Some(&0) && row.get(1) == Some(&0) {
            row.drain(..2);
        }
    }
    rows.truncate(height as usize);
    assert_eq!(&page_from_changes(width, &rows), page, "MH in fax");
    assert_eq!(&read_by_hayro(&mh, page, EncodingMode::Group3_1D, Eol::AnyBit, RowStart::AnyBit), page, "MH in hayro");

    for coding in [Coding::MR2, Coding::MR4] {
        let mr = encode(page, coding, &EncodeOptions::default());
        let read = read_by_hayro(&mr, page, EncodingMode::Group3_2D, Eol::AnyBit, RowStart::AnyBit);
        assert_eq!(&read, page, "{coding:?} in hayro");
    }

    let options = EncodeOptions { eol: Eol::None, ending: Ending::None, ..EncodeOptions::default() };
    for row_start in [RowStart::AnyBit, RowStart::Octet] {
        let bare = encode(page, Coding::Mh, &EncodeOptions { row_start, ..options });
        let read = read_by_hayro(&bare, page, EncodingMode::Group3_1D, Eol::None, row_start);
        assert_eq!(&read, page, "MH without EOLs in hayro, rows at {row_start:?}");
    }
}

proptest! {
    #[test]
    fn pages_of_runs_are_read_alike(page in run_page().prop_filter("rows", |page| page.height() > 0)) {
        check(&page);
    }
}

#[test]
fn whole_pages_are_read_alike() {
    check(&made::text(1728, 1143, 5));
    check(&made::diffused(864, 400));
}

#[test]
fn mmr_of_another_encoder_is_read() {
    let page = made::text(1001, 700, 9);
    let decoded = decode(&written_by_fax(&page), DecodeParams::new(Coding::Mmr, 1001, None)).unwrap();
    assert_eq!(decoded.bitmap, page);
}
