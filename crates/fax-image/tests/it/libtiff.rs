//! Our files in libtiff's tools, libtiff's files in our reader.

use std::path::{Path, PathBuf};
use std::process::Command;

use fax_image::codec::{BitOrder, Coding, EncodeOptions, Ending, Eol, encode};
use fax_image::tiff::{CodedStrip, Profile, TiffPage, TiffReader, write_document};
use fax_image::{Bitmap, Resolution};
use proptest::prelude::*;

use crate::made;
use crate::roundtrip::{CODINGS, run_page};

/// Runs a tool; its messages must be empty. Returns what it prints.
fn run(tool: &str, arguments: &[&str], files: &[&Path]) -> String {
    let output = Command::new(tool)
        .args(arguments)
        .args(files)
        .output()
        .unwrap_or_else(|error| panic!("{tool} cannot be started ({error}); fix: apt install libtiff-tools"));
    let messages = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{tool} {arguments:?}: {messages}{printed}");
    assert_eq!(messages, "", "{tool} {arguments:?}");
    printed
}

fn written(folder: &Path, name: &str, octets: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, octets).unwrap();
    path
}

fn pages() -> Vec<Bitmap> {
    vec![
        made::text(1728, 400, 11),
        made::diffused(1728, 150),
        Bitmap::white(1728, 100).unwrap(),
        made::text(1728, 401, 12),
    ]
}

fn document(profile: Profile, resolution: Resolution) -> Vec<u8> {
    let pages = pages();
    let list: Vec<TiffPage<'_>> = pages.iter().map(|page| TiffPage::new(page, resolution, profile)).collect();
    write_document(&list).unwrap()
}

/// The pages of a file as libtiff sees them.
fn unpacked_by_libtiff(folder: &Path, file: &Path) -> Vec<Bitmap> {
    let plain = folder.join("plain.tif");
    run("tiffcp", &["-c", "none"], &[file, &plain]);
    let octets = std::fs::read(&plain).unwrap();
    let reader = TiffReader::open(&octets).unwrap();
    (0..reader.page_count()).map(|number| reader.decode(number).unwrap()).collect()
}

#[test]
fn our_files_are_read_by_libtiff_without_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    for (profile, scheme) in [(Profile::S, "CCITT Group 3"), (Profile::F, "CCITT Group 4")] {
        for resolution in [Resolution::STANDARD, Resolution::FINE] {
            let file = written(folder.path(), "ours.tif", &document(profile, resolution));
            let listed = run("tiffinfo", &["-D"], &[&file]);
            for line in [
                format!("Compression Scheme: {scheme}"),
                format!("Resolution: 204, {} pixels/inch", resolution.y_dpi),
                "Photometric Interpretation: min-is-white".to_owned(),
                "Subfile Type: multi-page document (2 = 0x2)".to_owned(),
                "Page Number: 0-4".to_owned(),
                "Page Number: 3-4".to_owned(),
            ] {
                assert!(listed.contains(&line), "{line} is missing in\n{listed}");
            }
            assert_eq!(unpacked_by_libtiff(folder.path(), &file), pages(), "{profile:?}");
        }
    }
}

#[test]
fn coded_strips_of_ours_are_read_by_libtiff() {
    let folder = tempfile::tempdir().unwrap();
    let page = made::text(2432, 300, 13);
    for coding in [Coding::Mh, Coding::MR2, Coding::MR4, Coding::Mmr] {
        for (eol, bit_order) in [(Eol::AnyBit, BitOrder::LsbFirst), (Eol::OctetEnd, BitOrder::MsbFirst)] {
            let options = EncodeOptions { eol, bit_order, row_bits_min: 96, ..EncodeOptions::default() };
            let octets = encode(&page, coding, &options);
            let strip = CodedStrip { octets: &octets, coding, eol, bit_order, width: 2432, height: 300 };
            let file = write_document(&[TiffPage::coded(strip, Resolution::SUPERFINE)]).unwrap();
            let file = written(folder.path(), "coded.tif", &file);
            assert_eq!(
                unpacked_by_libtiff(folder.path(), &file)[..],
                *std::slice::from_ref(&page),
                "{coding:?} {eol:?} {bit_order:?}"
            );
        }
    }
}

#[test]
fn files_of_libtiff_are_read_bit_by_bit() {
    let folder = tempfile::tempdir().unwrap();
    let ours = written(folder.path(), "ours.tif", &document(Profile::F, Resolution::FINE));
    let theirs = folder.path().join("theirs.tif");
    let codings = ["g3:1d", "g3:2d", "g3:1d:fill", "g3:2d:fill", "g3", "g4", "packbits", "none"];
    for (number, coding) in codings.iter().enumerate() {
        for (order, fill) in [("-B", "msb2lsb"), ("-L", "lsb2msb"), ("-B", "lsb2msb"), ("-L", "msb2lsb")] {
            let rows = ["1", "37", "128", "100000"][number % 4];
            for rows in [rows, "100000"] {
                run("tiffcp", &["-c", coding, order, "-f", fill, "-r", rows], &[&ours, &theirs]);
                let octets = std::fs::read(&theirs).unwrap();
                let reader = TiffReader::open(&octets).unwrap();
                assert_eq!(reader.page_count(), 4);
                for (number, page) in pages().iter().enumerate() {
                    let read =
                        reader.decode(number).unwrap_or_else(|error| panic!("{coding} {order} {fill} {rows}: {error}"));
                    assert_eq!(&read, page, "{coding} {order} {fill} {rows} page {number}");
                    assert_eq!(reader.page(number).unwrap().resolution, Resolution::FINE);
                }
            }
        }
    }
}

#[test]
fn tiffcmp_finds_no_difference_between_profiles() {
    let folder = tempfile::tempdir().unwrap();
    let copies = [(Profile::S, "s.tif"), (Profile::F, "f.tif")].map(|(profile, name)| {
        let file = written(folder.path(), "ours.tif", &document(profile, Resolution::FINE));
        let copy = folder.path().join(name);
        run("tiffcp", &["-c", "g3:1d", "-f", "lsb2msb", "-r", "100000"], &[&file, &copy]);
        copy
    });
    // It names each page and, after it, every field and row that differs.
    let differences = run("tiffcmp", &[], &[&copies[0], &copies[1]]);
    assert_eq!(differences, "Directory 1:\nDirectory 2:\nDirectory 3:\n");
}

/// A page and all that may stand around its rows in a TIFF file.
fn coded_page() -> impl Strategy<Value = (Bitmap, Coding, EncodeOptions)> {
    let eol = prop_oneof![Just(Eol::AnyBit), Just(Eol::OctetEnd)];
    let ending = prop_oneof![Just(Ending::None), Just(Ending::Marker)];
    let order = prop_oneof![Just(BitOrder::MsbFirst), Just(BitOrder::LsbFirst)];
    let page = run_page().prop_filter("rows", |page| page.height() > 0);
    (page, prop::sample::select(&CODINGS[..]), eol, ending, 0u32..400, order).prop_map(
        |(page, coding, eol, ending, row_bits_min, bit_order)| {
            let options = EncodeOptions { eol, ending, row_bits_min, bit_order, ..EncodeOptions::default() };
            (page, coding, options)
        },
    )
}

proptest! {
    // Each case is a file of many pages and two programs.
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn pages_of_ours_in_every_coding_are_what_libtiff_reads(pages in prop::collection::vec(coded_page(), 1..16)) {
        let folder = tempfile::tempdir().unwrap();
        let coded: Vec<Vec<u8>> = pages.iter().map(|(page, coding, options)| encode(page, *coding, options)).collect();
        let list: Vec<TiffPage<'_>> = pages
            .iter()
            .zip(&coded)
            .map(|((page, coding, options), octets)| {
                let (coding, eol, bit_order) = (*coding, options.eol, options.bit_order);
                let strip = CodedStrip { octets, coding, eol, bit_order, width: page.width(), height: page.height() };
                TiffPage::coded(strip, Resolution::FINE)
            })
            .collect();
        let file = written(folder.path(), "ours.tif", &write_document(&list).unwrap());
        let read = unpacked_by_libtiff(folder.path(), &file);
        for (number, ((page, coding, options), read)) in pages.iter().zip(read).enumerate() {
            prop_assert!(*page == read, "page {number}, {coding:?} {options:?}");
        }
    }

    #[test]
    fn pages_of_libtiff_in_every_coding_are_what_we_read(
        pages in prop::collection::vec(run_page().prop_filter("rows", |page| page.height() > 0), 1..16),
        coding in prop::sample::select(&["g3:1d", "g3:2d", "g3:1d:fill", "g3:2d:fill", "g4", "packbits", "none"][..]),
        order in prop::sample::select(&["-B", "-L"][..]),
        fill in prop::sample::select(&["msb2lsb", "lsb2msb"][..]),
        rows in 1u32..30,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let list: Vec<TiffPage<'_>> =
            pages.iter().map(|page| TiffPage::new(page, Resolution::FINE, Profile::F)).collect();
        let ours = written(folder.path(), "ours.tif", &write_document(&list).unwrap());
        let theirs = folder.path().join("theirs.tif");
        run("tiffcp", &["-c", coding, order, "-f", fill, "-r", &rows.to_string()], &[&ours, &theirs]);
        let octets = std::fs::read(&theirs).unwrap();
        let reader = TiffReader::open(&octets).unwrap();
        for (number, page) in pages.iter().enumerate() {
            let read = reader.decode(number);
            prop_assert!(read.as_ref() == Ok(page), "page {number} {coding} {order} {fill} -r {rows}: {read:?}");
        }
    }
}
