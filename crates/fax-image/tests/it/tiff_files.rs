//! The TIFF writer's octets, and files as other writers make them.

use fax_image::codec::{BitOrder, Coding, EncodeOptions, Ending, Eol, Tolerance, encode};
use fax_image::tiff::{
    CodedStrip, Profile, ResolutionSource, TiffError, TiffPage, TiffReader, WriteError, compression, write_document,
};
use fax_image::{Bitmap, Resolution};

use crate::made;

/// A field of a hand-made IFD: number, type, values.
type Field = (u16, u16, Vec<u32>);

/// Codes the rows of one strip.
type Coder = Box<dyn Fn(&Bitmap) -> Vec<u8>>;

/// A big-endian file of one page as no orderly writer makes it: strips first, at odd offsets and out of order, then the values
/// of long fields, the IFD last.
pub(crate) fn untidy_file(strips: &[Vec<u8>], mut fields: Vec<Field>) -> Vec<u8> {
    let mut file = b"MM\0*\0\0\0\0\xff".to_vec();
    let mut offsets = vec![0; strips.len()];
    for (number, strip) in strips.iter().enumerate().rev() {
        offsets[number] = file.len() as u32;
        file.extend_from_slice(strip);
    }
    fields.push((273, 4, offsets));
    fields.push((279, 3, strips.iter().map(|strip| strip.len() as u32).collect()));
    let mut ifd = (fields.len() as u16).to_be_bytes().to_vec();
    for (tag, kind, values) in fields {
        let count = if kind == 5 { values.len() / 2 } else { values.len() } as u32;
        let mut octets: Vec<u8> = match kind {
            3 => values.iter().flat_map(|&value| (value as u16).to_be_bytes()).collect(),
            _ => values.iter().flat_map(|value| value.to_be_bytes()).collect(),
        };
        if octets.len() > 4 {
            let place = file.len() as u32;
            file.append(&mut octets);
            octets = place.to_be_bytes().to_vec();
        }
        octets.resize(4, 0);
        ifd.extend(tag.to_be_bytes());
        ifd.extend(kind.to_be_bytes());
        ifd.extend(count.to_be_bytes());
        ifd.extend(octets);
    }
    let place = file.len() as u32;
    file[4..8].copy_from_slice(&place.to_be_bytes());
    file.extend(ifd);
    file.extend([0; 4]);
    file
}

fn packed(page: &Bitmap) -> Vec<u8> {
    page.rows().flat_map(|row| row[..page.width().div_ceil(8) as usize].to_vec()).collect()
}

#[test]
fn a_document_of_profile_s_is_laid_out_as_the_standard_says() {
    let page = made::text(1728, 300, 2);
    let pages = [Resolution::STANDARD, Resolution::FINE].map(|resolution| TiffPage::new(&page, resolution, Profile::S));
    let file = write_document(&pages).unwrap();
    assert_eq!(&file[..8], b"II*\0\x08\0\0\0");
    let short = |at: usize| u32::from(u16::from_le_bytes([file[at], file[at + 1]]));
    let long = |at: usize| u32::from_le_bytes([file[at], file[at + 1], file[at + 2], file[at + 3]]);
    let mut ifd = 8;
    for (number, y_dpi) in [(0, 98), (1, 196)] {
        let count = short(ifd) as usize;
        let fields: Vec<(u32, u32, u32)> = (0..count)
            .map(|index| ifd + 2 + index * 12)
            .map(|at| (short(at), long(at + 4), if short(at + 2) == 3 { short(at + 8) } else { long(at + 8) }))
            .collect();
        let value = |tag| fields.iter().find(|field| field.0 == tag).unwrap().2;
        assert!(fields.is_sorted(), "fields in the order of their numbers");
        // RFC 3949 §3: these fields with these values and no others.
        for (tag, expected) in [
            (254, 2),
            (256, 1728),
            (257, 300),
            (258, 1),
            (259, 3),
            (262, 0),
            (266, 2),
            (277, 1),
            (278, 300),
            (292, 0),
            (296, 2),
            (297, number),
        ] {
            assert_eq!(value(tag), expected, "field {tag} of page {number}");
        }
        assert_eq!(count, 16);
        assert_eq!((long(value(282) as usize), long(value(283) as usize)), (204, y_dpi));
        let page_number = (0..count).map(|index| ifd + 2 + index * 12).find(|&at| short(at) == 297).unwrap();
        assert_eq!((short(page_number + 8), short(page_number + 10)), (number, 2));
        let (strip, length) = (value(273) as usize, value(279) as usize);
        assert!(strip > ifd, "the IFD stands before its data");
        // The first EOL, least significant bit first; no RTC at the end.
        assert_eq!((file[strip], file[strip + 1] & 0x0f), (0x00, 0x08));
        let tail: u128 =
            file[strip + length - 9..strip + length].iter().fold(0, |all, &octet| (all << 8) | u128::from(octet));
        assert!(tail.count_ones() > 6, "no RTC");
        ifd = long(ifd + 2 + count * 12) as usize;
    }
    assert_eq!(ifd, 0);
}

#[test]
fn a_document_comes_back_page_by_page() {
    let pages: Vec<Bitmap> = (0..5).map(|seed| made::text(1728, 200 + seed as u32, seed)).collect();
    let resolutions = [Resolution::STANDARD, Resolution::FINE, Resolution::SUPERFINE];
    let list: Vec<TiffPage<'_>> = pages
        .iter()
        .enumerate()
        .map(|(number, page)| TiffPage::new(page, resolutions[number % 3], Profile::F))
        .collect();
    let file = write_document(&list).unwrap();
    assert_eq!(file, write_document(&list).unwrap());
    let reader = TiffReader::open(&file).unwrap();
    assert_eq!(reader.page_count(), 5);
    for (number, page) in pages.iter().enumerate() {
        let header = reader.page(number).unwrap();
        assert_eq!((header.width, header.height), (page.width(), page.height()));
        assert_eq!(
            (header.resolution, header.resolution_source),
            (resolutions[number % 3], ResolutionSource::Declared)
        );
        assert_eq!(header.coding(), Some(Coding::Mmr));
        assert_eq!(&reader.decode(number).unwrap(), page);
        assert_eq!(reader.strip(number).unwrap().unwrap(), encode(page, Coding::Mmr, &EncodeOptions::default()));
    }
    assert_eq!(reader.decode(5), Err(TiffError::NoSuchPage { page: 5 }));
}

#[test]
fn coded_strips_are_written_as_they_are() {
    let page = made::text(2048, 300, 4);
    for coding in [Coding::Mh, Coding::MR2, Coding::Mmr] {
        for eol in [Eol::AnyBit, Eol::OctetEnd] {
            for bit_order in [BitOrder::MsbFirst, BitOrder::LsbFirst] {
                let octets = encode(&page, coding, &EncodeOptions { eol, bit_order, ..EncodeOptions::default() });
                let strip = CodedStrip { octets: &octets, coding, eol, bit_order, width: 2048, height: 300 };
                let file = write_document(&[TiffPage::coded(strip, Resolution::FINE)]).unwrap();
                let reader = TiffReader::open(&file).unwrap();
                assert_eq!(reader.strip(0).unwrap(), Some(&octets[..]));
                assert_eq!(reader.decode(0).unwrap(), page, "{coding:?} {eol:?} {bit_order:?}");
            }
        }
    }
}

#[test]
fn what_cannot_be_written_is_refused() {
    let (narrow, empty) = (made::text(1000, 100, 1), Bitmap::white(1728, 0).unwrap());
    assert_eq!(write_document(&[]), Err(WriteError::NoPages));
    let refused = |page, resolution, profile| write_document(&[TiffPage::new(page, resolution, profile)]).unwrap_err();
    assert!(matches!(refused(&narrow, Resolution::FINE, Profile::S), WriteError::NotProfileS { width: 1000, .. }));
    let page = Bitmap::white(1728, 1).unwrap();
    assert!(matches!(refused(&page, Resolution::SUPERFINE, Profile::S), WriteError::NotProfileS { y_dpi: 391, .. }));
    assert_eq!(refused(&empty, Resolution::FINE, Profile::F), WriteError::EmptyPage { width: 1728, height: 0 });
}

#[test]
fn an_untidy_big_endian_file_of_many_strips_is_read() {
    let page = made::text(803, 250, 6);
    let parts: Vec<Bitmap> = (0..9).map(|part| page.crop_rows(part * 30..(part + 1) * 30)).collect();
    let bare = EncodeOptions { ending: Ending::None, ..EncodeOptions::default() };
    let codings: [(u32, u32, Coder); 5] = [
        (compression::NONE, 0, Box::new(packed)),
        (
            compression::CCITT_RLE,
            0,
            Box::new(move |part| {
                let row_start = fax_image::codec::RowStart::Octet;
                encode(part, Coding::Mh, &EncodeOptions { eol: Eol::None, row_start, ..bare })
            }),
        ),
        (compression::T4, 0, Box::new(move |part| encode(part, Coding::Mh, &bare))),
        (
            compression::T4,
            5,
            Box::new(move |part| encode(part, Coding::MR4, &EncodeOptions { eol: Eol::OctetEnd, ..bare })),
        ),
        (compression::T6, 0, Box::new(move |part| encode(part, Coding::Mmr, &bare))),
    ];
    for (compression, t4_options, code) in codings {
        for photometric in [0, 1] {
            let strips: Vec<Vec<u8>> = parts.iter().map(&code).collect();
            let fields = vec![
                (256, 3, vec![803]),
                (257, 3, vec![250]),
                (259, 3, vec![compression]),
                (262, 3, vec![photometric]),
                (278, 3, vec![30]),
                (282, 5, vec![8030, 100]),
                (283, 5, vec![77, 1]),
                (292, 3, vec![t4_options]),
                (296, 3, vec![3]),
            ];
            let file = untidy_file(&strips, fields);
            let reader = TiffReader::open(&file).unwrap();
            let mut expected = page.clone();
            if photometric == 1 {
                expected.invert();
            }
            assert_eq!(reader.decode(0).unwrap(), expected, "compression {compression} photometric {photometric}");
            // 80.3 pixels and 77 rows per centimetre are the 8.03 × 7.7 per millimetre of T.4.
            assert_eq!(reader.page(0).unwrap().resolution, Resolution::FINE);
            assert_eq!(reader.strip(0), Ok(None));
        }
    }
}

#[test]
fn missing_fields_have_defaults() {
    let page = made::text(803, 60, 6);
    let file = untidy_file(&[packed(&page)], vec![(256, 4, vec![803]), (257, 4, vec![60])]);
    let reader = TiffReader::open(&file).unwrap();
    let header = reader.page(0).unwrap();
    assert_eq!((header.resolution, header.resolution_source), (Resolution::FINE, ResolutionSource::Assumed));
    assert_eq!((header.compression, header.photometric, header.bits, header.rows_per_strip), (1, 0, 1, 60));
    assert_eq!(reader.decode(0).unwrap(), page);
}

#[test]
fn pages_for_other_decoders_are_named() {
    for (extra, expected) in [
        ((258, 3, vec![8]), (1, 8, 1, 0)),
        ((259, 3, vec![5]), (5, 1, 1, 0)),
        ((262, 3, vec![3]), (1, 1, 1, 3)),
        ((277, 3, vec![3]), (1, 1, 3, 0)),
    ] {
        let file = untidy_file(&[vec![0; 10]], vec![(256, 4, vec![8]), (257, 4, vec![10]), extra]);
        match TiffReader::open(&file).unwrap().decode(0) {
            Err(TiffError::NotBilevel { page: 0, compression, bits, samples, photometric }) => {
                assert_eq!((compression, bits, samples, photometric), expected);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_reduced_version_of_a_page_is_no_page() {
    let (page, small) = (made::text(1728, 100, 1), made::text(172, 10, 1));
    let pages = [&small, &page].map(|page| TiffPage::new(page, Resolution::FINE, Profile::F));
    let mut file = write_document(&pages).unwrap();
    // NewSubfileType is the first field; its value begins 10 octets into the IFD.
    file[8 + 10] = 1;
    let reader = TiffReader::open(&file).unwrap();
    assert_eq!((reader.page_count(), reader.page(0).unwrap().width), (1, 1728));
}

#[test]
fn broken_files_are_errors() {
    let page = made::text(1728, 100, 1);
    let good = write_document(&[TiffPage::new(&page, Resolution::FINE, Profile::F)]).unwrap();
    let with = |at: usize, octets: &[u8]| {
        let mut file = good.clone();
        file[at..at + octets.len()].copy_from_slice(octets);
        file
    };
    let opened = |file: &[u8]| TiffReader::open(file).map(|reader| reader.page_count());
    assert_eq!(opened(b""), Err(TiffError::NotTiff));
    assert_eq!(opened(&with(2, b"+\0")), Err(TiffError::NotTiff), "big TIFF");
    assert_eq!(opened(&with(4, &[0; 4])), Err(TiffError::NoPages));
    assert!(matches!(opened(&with(4, &[0xff; 4])), Err(TiffError::Outside { page: 0, .. })));
    assert_eq!(opened(&with(8, &[0xff, 0x7f])), Err(TiffError::Field { page: 0, field: "IFD" }), "32,767 fields");
    let link = 8 + 2 + 16 * 12;
    assert_eq!(opened(&with(link, &[8, 0, 0, 0])), Err(TiffError::Loop { offset: 8 }));
    // Entries: number, type, count, value; ImageWidth is the second, ImageLength the third, StripOffsets the eighth.
    let value = |index: usize| 8 + 2 + index * 12 + 8;
    assert_eq!(opened(&with(value(1), &[0; 4])), Err(TiffError::Field { page: 0, field: "ImageWidth" }));
    let decoded = |file: &[u8]| TiffReader::open(file).unwrap().decode(0).unwrap_err();
    for index in [1, 2] {
        assert!(matches!(decoded(&with(value(index), &[0xff; 4])), TiffError::Size { page: 0, .. }));
    }
    assert!(matches!(decoded(&with(value(7), &[0xff; 4])), TiffError::Outside { what: "a strip", .. }));
    let cut = &good[..good.len() - 100];
    assert!(matches!(decoded(cut), TiffError::Outside { what: "a strip", .. }));
    let saved = TiffReader::open(cut).unwrap().decode_with(0, Tolerance::Conceal).unwrap();
    assert!(saved.bad_rows > 0 && saved.bad_rows < 100, "{} bad rows", saved.bad_rows);
}

#[test]
fn strips_that_share_octets_to_cost_time_are_refused() {
    let mut fields = vec![(256, 4, vec![1728]), (257, 4, vec![2000]), (259, 3, vec![3]), (278, 3, vec![1])];
    let file = untidy_file(&vec![vec![0; 1]; 2000], fields.clone());
    assert!(TiffReader::open(&file).unwrap().decode(0).is_err());
    // The same file, in which every strip is the whole file.
    fields.push((273, 4, vec![0; 2000]));
    fields.push((279, 4, vec![30_000; 2000]));
    let mut shared = untidy_file(&[vec![0; 30_000]], fields);
    shared.extend(vec![0; 1000]);
    let reader = TiffReader::open(&shared).unwrap();
    let result = reader.decode_with(0, Tolerance::Conceal);
    assert_eq!(result, Err(TiffError::Overlap { page: 0 }));
}
