//! F6: TIFF of every compression and layout, made by libtiff's tools from one picture: each gives the same page.

use std::path::{Path, PathBuf};
use std::process::Command;

use fax_image::Bitmap;
use pages::ErrorKind;

use crate::common::*;

const WIDTH: u32 = 300;
const HEIGHT: u32 = 200;

/// A dark bar, a light bar, a wedge from black to white.
fn shade(x: u32, y: u32) -> u8 {
    match y {
        0..60 => (x * 255 / (WIDTH - 1)) as u8,
        60..100 if x < 150 => 0,
        100..140 if x > 100 => 40,
        _ => 255,
    }
}

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        let samples = |count: usize| {
            let pixel = move |at: u32| vec![shade(at % WIDTH, at / WIDTH); count];
            (0..WIDTH * HEIGHT).flat_map(pixel).collect::<Vec<u8>>()
        };
        let netpbm = |kind: &str, data: Vec<u8>| [format!("{kind} {WIDTH} {HEIGHT} 255\n").into_bytes(), data].concat();
        bench.write("grey.pgm", &netpbm("P5", samples(1)));
        bench.write("colour.ppm", &netpbm("P6", samples(3)));
        let inks: Vec<u8> = samples(1).iter().flat_map(|shade| [0, 0, 0, 255 - shade]).collect();
        bench.write("inks.raw", &inks);
        let words: Vec<u8> = samples(1).iter().flat_map(|shade| [0x5a, *shade]).collect();
        bench.write("words.raw", &words);
        bench.run("ppm2tiff", &["-c", "none", "-R", "100"], &["grey.pgm", "grey.tif"]);
        bench.run("ppm2tiff", &["-c", "none", "-R", "100"], &["colour.ppm", "colour.tif"]);
        let size = ["-w", "300", "-l", "200", "-c", "none"];
        let raw = |extra: &[&'static str]| [&size[..], extra].concat();
        bench.run("raw2tiff", &raw(&["-b", "4", "-p", "cmyk"]), &["inks.raw", "inks.tif"]);
        bench.run("raw2tiff", &raw(&["-d", "short"]), &["words.raw", "words.tif"]);
        bench.run("tiffdither", &["-c", "none", "-t", "128"], &["grey.tif", "bits.tif"]);
        bench.run("tiffmedian", &["-c", "none"], &["colour.tif", "palette.tif"]);
        for name in ["inks.tif", "words.tif"] {
            bench.run("tiffset", &["-s", "282", "100.0"], &[name]);
            bench.run("tiffset", &["-s", "283", "100.0"], &[name]);
            bench.run("tiffset", &["-s", "296", "2"], &[name]);
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, octets: &[u8]) {
        std::fs::write(self.path(name), octets).unwrap();
    }

    fn run(&self, tool: &str, options: &[&str], files: &[&str]) {
        let files: Vec<PathBuf> = files.iter().map(|name| self.path(name)).collect();
        let output = Command::new(tool).args(options).args(&files).output();
        let output = output.unwrap_or_else(|error| panic!("{tool}: {error}; fix: apt install libtiff-tools"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{tool} {options:?}: {said}");
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }
}

async fn page_of(name: &str, tiff: Vec<u8>) -> Bitmap {
    let converted = convert(vec![part(name, tiff)]).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(converted.notes.is_empty(), "{name}: {:?}", converted.notes);
    bitmaps(&converted.bytes).remove(0)
}

/// Share of pixels that differ.
fn difference(one: &Bitmap, other: &Bitmap) -> f64 {
    assert_eq!((one.width(), one.height()), (other.width(), other.height()));
    let differing: u32 = one.bits().iter().zip(other.bits()).map(|(one, other)| (one ^ other).count_ones()).sum();
    f64::from(differing) / (f64::from(one.width()) * f64::from(one.height()))
}

/// By how much the tone differs, as the share of ink in squares of 48 pixels: dots fall elsewhere when a shade is one off.
fn tone_difference(one: &Bitmap, other: &Bitmap) -> f64 {
    let squares = |page: &Bitmap| {
        let mut ink = vec![0_u32; 36 * page.height().div_ceil(48) as usize];
        for y in 0..page.height() {
            (0..1728).filter(|x| page.get(*x, y)).for_each(|x| ink[(y / 48 * 36 + x / 48) as usize] += 1);
        }
        ink
    };
    let (one, other) = (squares(one), squares(other));
    let most = one.iter().zip(&other).map(|(one, other)| one.abs_diff(*other)).max().unwrap_or(0);
    f64::from(most) / f64::from(48 * 48)
}

fn is_lossless(options: &[&str]) -> bool {
    !options.iter().any(|option| option.starts_with("jpeg"))
}

#[tokio::test]
async fn f6_every_compression_and_layout_gives_the_same_page() {
    let bench = Bench::new();
    let expected = page_of("grey.tif", bench.read("grey.tif")).await;
    // 300 pixels at 100 dpi are 76 mm, drawn twice as large.
    assert!(ink(&expected, (200, 112, 450, 165)) > 0.99, "the dark bar is black");
    assert!(ink(&expected, (300, 250, 700, 900)) < 0.001, "below there is paper");
    let layouts: [&[&str]; 16] = [
        &["-c", "none", "-B"],
        &["-c", "none", "-L", "-r", "7"],
        &["-c", "lzw"],
        &["-c", "lzw:2", "-r", "33", "-B"],
        &["-c", "zip:2"],
        &["-c", "zip", "-t", "-w", "64", "-l", "32"],
        &["-c", "packbits", "-r", "1"],
        &["-c", "none", "-t", "-w", "16", "-l", "16", "-B"],
        &["-c", "lzw:2", "-t", "-w", "400", "-l", "256"],
        &["-c", "lzw", "-f", "lsb2msb"],
        &["-c", "packbits", "-f", "lsb2msb", "-t", "-w", "48", "-l", "48"],
        &["-c", "none", "-p", "separate"],
        &["-c", "lzw:2", "-p", "separate", "-r", "10"],
        &["-c", "zip", "-p", "separate", "-t", "-w", "32", "-l", "64"],
        &["-c", "jpeg:100", "-r", "16"],
        &["-c", "jpeg:r:100", "-t", "-w", "64", "-l", "64"],
    ];
    for source in ["grey.tif", "colour.tif", "inks.tif", "words.tif", "palette.tif"] {
        for options in layouts {
            // What tiffcp cannot write: JPEG of palettes, inks or 16 bits, planes of 16 bits.
            let is_plain = matches!(source, "grey.tif" | "colour.tif");
            if !is_lossless(options) && !is_plain || source == "words.tif" && options.contains(&"separate") {
                continue;
            }
            bench.run("tiffcp", options, &[source, "copy.tif"]);
            let page = page_of("copy.tif", bench.read("copy.tif")).await;
            // Colours and inks are rounded and JPEG loses a little: the same tones then, else the same dots. tiffmedian's
            // palette has other shades.
            let (found, allowed) = match source {
                "grey.tif" | "words.tif" if is_lossless(options) => (difference(&page, &expected), 0.0),
                "palette.tif" => (difference(&page, &expected), 0.05),
                _ => (tone_difference(&page, &expected), 0.1),
            };
            assert!(found <= allowed, "{source} {options:?}: {found} of the ink differs");
        }
    }
}

#[tokio::test]
async fn f6_every_layout_of_bits_gives_the_same_page() {
    let bench = Bench::new();
    let expected = page_of("bits.tif", bench.read("bits.tif")).await;
    assert!(expected.black_pixels() > 10_000);
    let layouts: [&[&str]; 13] = [
        &["-c", "g3:1d", "-B", "-f", "lsb2msb"],
        &["-c", "g3:2d:fill", "-r", "31"],
        &["-c", "g4", "-L", "-f", "lsb2msb"],
        &["-c", "g4", "-t", "-w", "64", "-l", "64"],
        &["-c", "g3", "-t", "-w", "128", "-l", "16", "-f", "lsb2msb"],
        &["-c", "lzw"],
        &["-c", "lzw", "-f", "lsb2msb", "-B"],
        &["-c", "zip", "-r", "3"],
        &["-c", "zip", "-t", "-w", "48", "-l", "16"],
        &["-c", "packbits", "-t", "-w", "32", "-l", "32"],
        &["-c", "none", "-f", "lsb2msb"],
        &["-c", "none", "-t", "-w", "16", "-l", "16", "-f", "lsb2msb"],
        &["-c", "packbits", "-r", "200"],
    ];
    for options in layouts {
        bench.run("tiffcp", options, &["bits.tif", "copy.tif"]);
        let page = page_of("copy.tif", bench.read("copy.tif")).await;
        assert!(page == expected, "{options:?}: {} of the pixels differ", difference(&page, &expected));
    }
}

/// A file of one strip, as libtiff's tools cannot make it.
fn made(bits: u32, photometric: u32, fields: &[(u16, u32)], strip: &[u8]) -> Vec<u8> {
    let mut all = fields.to_vec();
    let given = |tag| fields.iter().any(|(field, _)| *field == tag);
    let usual = [(256, WIDTH), (257, HEIGHT), (258, bits), (259, 1), (262, photometric), (277, 1), (278, HEIGHT)];
    all.extend(usual.into_iter().filter(|(tag, _)| !given(*tag)));
    let start = 8 + 2 + (all.len() + 2) * 12 + 4;
    all.extend([(273, start as u32), (279, strip.len() as u32)]);
    all.sort_unstable();
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    file.extend((all.len() as u16).to_le_bytes());
    for (tag, value) in all {
        file.extend([&tag.to_le_bytes()[..], &[4, 0, 1, 0, 0, 0], &value.to_le_bytes()].concat());
    }
    file.extend([0; 4]);
    file.extend_from_slice(strip);
    file
}

#[tokio::test]
async fn f6_samples_of_one_two_and_four_bits_are_read_in_either_photometric() {
    for bits in [1_usize, 2, 4, 8] {
        let pack = |inverted: bool| {
            let mut strip = Vec::new();
            for y in 0..HEIGHT {
                let mut row = vec![0_u8; (WIDTH as usize * bits).div_ceil(8)];
                for x in 0..WIDTH as usize {
                    let value = (if inverted { 255 - shade(x as u32, y) } else { shade(x as u32, y) }) >> (8 - bits);
                    row[x * bits / 8] |= value << (8 - bits - x * bits % 8);
                }
                strip.extend(row);
            }
            strip
        };
        let one = page_of("black is zero", made(bits as u32, 1, &[], &pack(false))).await;
        let other = page_of("white is zero", made(bits as u32, 0, &[], &pack(true))).await;
        assert!(difference(&one, &other) < 0.001, "{bits} bits: {}", difference(&one, &other));
        assert!(ink(&one, (200, 112, 450, 165)) > 0.99, "{bits} bits: the dark bar is black");
        assert!(ink(&one, (300, 300, 700, 900)) < 0.001, "{bits} bits: below there is paper");
    }
}

#[tokio::test]
async fn f6_shared_colour_differences_and_old_lzw_are_read() {
    // Blocks of 2 × 2 luminances, Cb, Cr: TIFF 6.0 §21.
    let mut blocks = Vec::new();
    for (y, x) in (0..HEIGHT).step_by(2).flat_map(|y| (0..WIDTH).step_by(2).map(move |x| (y, x))) {
        blocks.extend([shade(x, y), shade(x + 1, y), shade(x, y + 1), shade(x + 1, y + 1), 128, 128]);
    }
    let plain: Vec<u8> = (0..WIDTH * HEIGHT).map(|at| shade(at % WIDTH, at / WIDTH)).collect();
    let expected = page_of("grey", made(8, 1, &[], &plain)).await;
    let mut tiff = made(8, 6, &[], &blocks);
    // SamplesPerPixel is the seventh field.
    tiff[8 + 2 + 6 * 12 + 8] = 3;
    assert!(page_of("ycbcr", tiff).await == expected);
    let coded = weezl::encode::Encoder::new(weezl::BitOrder::Lsb, 8).encode(&plain).unwrap();
    let mut tiff = made(8, 1, &[], &coded);
    tiff[8 + 2 + 3 * 12 + 8] = 5;
    assert!(page_of("old lzw", tiff).await == expected);
}

#[tokio::test]
async fn f6_fax2tiffs_files_and_pages_without_rtc_are_read() {
    let bench = Bench::new();
    // Raw MH as fax2tiff takes it: EOLs, no RTC.
    let mut page = Bitmap::white(1728, 300).unwrap();
    (0..300).for_each(|y| page.fill_rect(y * 5, y, 40, 1, fax_image::Ink::Black));
    let options = fax_image::codec::EncodeOptions { ending: fax_image::codec::Ending::None, ..Default::default() };
    bench.write("page.g3", &fax_image::codec::encode(&page, fax_image::codec::Coding::Mh, &options));
    for kind in ["-7", "-8"] {
        let out = bench.path("fax.tif");
        let files = ["page.g3"].map(|name| bench.path(name));
        let output = Command::new("fax2tiff").args(["-M", "-X", "1728", kind, "-o"]).arg(&out).args(&files).output();
        let output = output.unwrap_or_else(|error| panic!("fax2tiff: {error}; fix: apt install libtiff-tools"));
        assert!(Path::new(&out).exists(), "fax2tiff {kind}: {}", String::from_utf8_lossy(&output.stderr));
        let read = page_of("fax.tif", bench.read("fax.tif")).await;
        assert_eq!(read.crop_rows(0..300), page, "fax2tiff {kind}");
    }
}

#[tokio::test]
async fn f6_pages_of_several_kinds_keep_their_order() {
    let bench = Bench::new();
    bench.run("tiffcp", &["-c", "lzw"], &["colour.tif", "bits.tif", "grey.tif", "all.tif"]);
    bench.run("tiffcp", &["-a", "-c", "g4"], &["bits.tif", "all.tif"]);
    let converted = convert(vec![part("all.tif", bench.read("all.tif"))]).await.unwrap();
    let pages = bitmaps(&converted.bytes);
    assert_eq!(pages.len(), 4);
    assert!(pages[1] == pages[3] && pages[1] != pages[2]);
}

#[tokio::test]
async fn f6_what_cannot_be_read_is_refused_with_its_page_and_a_remedy() {
    let bench = Bench::new();
    let plain = vec![0; (WIDTH * HEIGHT * 4) as usize];
    for (name, kind, tiff, reason) in [
        ("float.tif", ErrorKind::Unsupported, made(32, 1, &[(339, 3)], &plain), "not whole numbers"),
        ("odd.tif", ErrorKind::Unsupported, made(12, 1, &[], &plain), "12 bits"),
        ("filter.tif", ErrorKind::Unsupported, made(8, 32_803, &[], &plain), "kind of colours"),
        ("bits-of-jpeg.tif", ErrorKind::Damaged, made(1, 1, &[(259, 7)], &plain), "those of JPEG have 8"),
        ("short.tif", ErrorKind::Damaged, made(8, 1, &[], &plain[..3000]), "damaged or missing"),
        ("outside.tif", ErrorKind::Damaged, made(8, 1, &[(322, 16), (323, 16), (324, 99_000_000)], &plain), "outside"),
    ] {
        let error = convert(vec![part(name, tiff)]).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.detail.contains("page 1") && error.detail.contains(reason), "{name}: {}", error.detail);
    }
    let mut old = bench.read("grey.tif");
    let field = old.windows(4).position(|four| four == [3, 1, 3, 0]).unwrap();
    old[field + 8] = 6;
    let error = convert(vec![part("old.tif", old)]).await.unwrap_err();
    assert!(error.detail.contains("JPEG of 1992") && error.detail.contains("fix:"), "{}", error.detail);
}
