//! Pictures of every format, on their sides, with alpha, without end.

use image::{DynamicImage, ImageFormat};
use pages::{ErrorKind, Quality};

use crate::common::*;

#[tokio::test]
async fn every_picture_format_shows_its_picture() {
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::Bmp, ImageFormat::WebP] {
        let image = half_black(1000, 500);
        let image = if format == ImageFormat::Gif { image.to_rgb8().into() } else { image };
        let image = if format == ImageFormat::WebP { image.to_rgba8().into() } else { image };
        let converted = convert(vec![part("x.bin", encoded(&image, format))]).await;
        let converted = converted.unwrap_or_else(|error| panic!("{format:?}: {error}"));
        let [page] = <[_; 1]>::try_from(bitmaps(&converted.bytes)).unwrap();
        // 1000 × 500 pixels are 265 × 132 mm: larger turned than upright. The left half is on top then.
        assert!(ink(&page, (200, 20, 800, 400)) > 0.98, "{format:?}");
        assert!(ink(&page, (200, 460, 800, 900)) < 0.02, "{format:?}");
    }
}

#[tokio::test]
async fn transparent_pixels_are_paper_and_only_the_first_gif_picture_is_drawn() {
    let mut clear = image::RgbaImage::from_pixel(400, 400, image::Rgba([0, 0, 0, 0]));
    clear.put_pixel(200, 200, image::Rgba([0, 0, 0, 255]));
    let clear = encoded(&clear.into(), ImageFormat::Png);
    let mut gif = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut gif);
    for shade in [0, 255] {
        let frame = image::RgbaImage::from_pixel(400, 400, image::Rgba([shade, shade, shade, 255]));
        encoder.encode_frame(image::Frame::new(frame)).unwrap();
    }
    drop(encoder);
    let converted = convert(vec![part("clear.png", clear), part("logo.gif", gif)]).await.unwrap();
    let [clear, gif] = <[_; 2]>::try_from(bitmaps(&converted.bytes)).unwrap();
    assert!(clear.black_pixels() < 200);
    assert!(ink(&gif, (300, 0, 700, 300)) > 0.99);
    assert_eq!(converted.notes, ["logo.gif: first of several pictures"]);
}

#[tokio::test]
async fn exif_orientation_is_obeyed() {
    let mut jpeg = encoded(&half_black(640, 480), ImageFormat::Jpeg);
    // APP1 with one IFD entry: orientation 6, to be turned clockwise. Big-endian TIFF inside.
    let exif = b"\xff\xe1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    jpeg.splice(2..2, exif.iter().copied());
    let converted = convert(vec![part("photo.jpg", jpeg)]).await.unwrap();
    let [page] = <[_; 1]>::try_from(bitmaps(&converted.bytes)).unwrap();
    // 480 × 640 now, 127 × 169 mm: black above, white below.
    assert!(ink(&page, (300, 10, 700, 270)) > 0.98);
    assert!(ink(&page, (300, 300, 700, 560)) < 0.02);
}

/// The same picture, stored as each of the eight orientations has it: turned back and mirrored.
#[tokio::test]
async fn every_orientation_of_exif_gives_the_same_page() {
    let mut seen = half_black(600, 400).to_rgb8();
    (0..100).for_each(|i| seen.put_pixel(500 + i % 10, 20 + i / 10, image::Rgb([0; 3])));
    let seen = DynamicImage::from(seen);
    let stored = [
        seen.clone(),
        seen.fliph(),
        seen.rotate180(),
        seen.flipv(),
        seen.rotate90().fliph(),
        seen.rotate270(),
        seen.rotate270().fliph(),
        seen.rotate90(),
    ];
    let mut pages = Vec::new();
    for (number, image) in (1_u8..).zip(stored) {
        let mut png = encoded(&image, ImageFormat::Png);
        let exif = [b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0", &[number][..], &[0; 6]].concat();
        // After the signature and IHDR.
        png.splice(33..33, chunk(b"eXIf", &exif));
        let converted = convert(vec![part("x.png", png)]).await.unwrap();
        pages.push(bitmaps(&converted.bytes).remove(0));
    }
    for (number, page) in (1..).zip(&pages) {
        let differing = (0..page.height()).filter(|y| page.row(*y) != pages[0].row(*y)).count();
        assert!(differing < 4, "orientation {number}: {differing} rows differ");
    }
}

/// A chunk of PNG with its checksum.
fn chunk(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let body = [&kind[..], content].concat();
    let crc = !body.iter().fold(!0_u32, |crc, octet| {
        (0..8).fold(crc ^ u32::from(*octet), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    });
    [&(content.len() as u32).to_be_bytes()[..], &body, &crc.to_be_bytes()].concat()
}

#[tokio::test]
async fn a_fax_page_saved_as_png_keeps_its_pixels() {
    let rows = rows(Quality::Fine) - 100;
    let picture =
        image::GrayImage::from_fn(1728, rows, |x, y| image::Luma([if (x / 3 + y) % 7 < 2 { 0 } else { 255 }]));
    let mut png = encoded(&picture.clone().into(), ImageFormat::Png);
    // 204 and 196 dots to the inch are 8031 and 7717 to the metre.
    let phys = [&8031_u32.to_be_bytes()[..], &7717_u32.to_be_bytes(), &[1]].concat();
    png.splice(33..33, chunk(b"pHYs", &phys));
    let converted = convert(vec![part("fax.png", png)]).await.unwrap();
    let [page] = <[_; 1]>::try_from(bitmaps(&converted.bytes)).unwrap();
    for (x, y, shade) in picture.enumerate_pixels() {
        assert_eq!(page.get(x, y), shade.0[0] == 0, "{x} {y}");
    }
    assert!((rows..page.height()).all(|y| page.is_row_white(y)));
}

#[tokio::test]
async fn pixels_that_are_not_square_are_stretched() {
    // A square on paper: 204 dots to the inch across and 98 down.
    let mut png = encoded(&DynamicImage::from(image::GrayImage::new(816, 392)), ImageFormat::Png);
    let phys = [&8031_u32.to_be_bytes()[..], &3858_u32.to_be_bytes(), &[1]].concat();
    png.splice(33..33, chunk(b"pHYs", &phys));
    let converted = convert(vec![part("square.png", png)]).await.unwrap();
    let [page] = <[_; 1]>::try_from(bitmaps(&converted.bytes)).unwrap();
    let down = (0..page.height()).filter(|y| !page.is_row_white(*y)).count() as f64 / 7.7;
    let across = (0..1728).filter(|x| page.get(*x, 100)).count() as f64 * 215.0 / 1728.0;
    assert!((across - down).abs() < 2.0, "{across:.1} mm across, {down:.1} mm down");
}

#[tokio::test]
async fn colours_of_jpeg_are_what_adobes_segment_says() {
    // Three components of which the encoder thinks that they are YCbCr: grey, no colour.
    let picture = half_black(640, 480).to_rgb8();
    let jpeg = encoded(&DynamicImage::from(picture), ImageFormat::Jpeg);
    let adobe = |transform: u8| [b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0", &[transform][..]].concat();
    let ycbcr = [&jpeg[..2], &adobe(1), &jpeg[2..]].concat();
    let rgb = [&jpeg[..2], &adobe(0), &jpeg[2..]].concat();
    let mut pages = Vec::new();
    for (name, jpeg) in [("ycbcr.jpg", ycbcr), ("rgb.jpg", rgb)] {
        let converted = convert(vec![part(name, jpeg)]).await.unwrap_or_else(|error| panic!("{error}"));
        pages.push(bitmaps(&converted.bytes).remove(0));
    }
    let halves = |page| (ink(page, (150, 10, 450, 400)), ink(page, (550, 10, 850, 400)));
    let (dark, light) = halves(&pages[0]);
    assert!(dark > 0.99 && light < 0.01, "{dark} and {light}");
    // Red 0 and 255, green and blue 128: two greys, each diffused.
    let (dark, light) = halves(&pages[1]);
    assert!((0.55..0.75).contains(&dark) && (0.25..0.45).contains(&light), "{dark} and {light}");
}

#[tokio::test]
async fn pictures_with_too_many_pixels_are_refused_before_they_are_decoded() {
    // A header that promises 60,000 × 60,000 pixels and holds none of them.
    let header = [&60_000_u32.to_be_bytes()[..], &60_000_u32.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    let png = [b"\x89PNG\r\n\x1a\n", &chunk(b"IHDR", &header)[..], &chunk(b"IDAT", b""), &chunk(b"IEND", b"")].concat();
    let mut jpeg = encoded(&half_black(16, 16), ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|pair| pair == b"\xff\xc0").unwrap();
    jpeg[frame + 5..frame + 9].fill(0xff);
    let mut bmp = encoded(&half_black(16, 16), ImageFormat::Bmp);
    bmp[18..26].copy_from_slice(&[0x60, 0xea, 0, 0, 0x60, 0xea, 0, 0]);
    let mut gif = encoded(&half_black(16, 16).to_rgb8().into(), ImageFormat::Gif);
    gif[6..10].fill(0xff);
    for (name, bytes) in [("bomb.png", png), ("bomb.jpg", jpeg), ("bomb.bmp", bmp), ("bomb.gif", gif)] {
        let error = convert(vec![part(name, bytes)]).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Damaged, "{error}");
        assert!(error.detail.contains("million") && error.detail.contains("fix:"), "{name}: {}", error.detail);
    }
}

#[tokio::test]
async fn heic_is_read_where_libheif_is_and_else_refused_with_a_remedy() {
    let picture = include_bytes!("../data/half-black.heic");
    let error = convert(vec![part("IMG_0001.HEIC", picture.to_vec())]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert!(error.detail.contains("fix: send it as JPEG"), "{}", error.detail);

    // What is not installed is an error of this test and no reason to skip it: `tools/install-packages` installs it.
    let formats = pages::Formats { heif: Some(Ok(pages::Heif::find().await.unwrap())), ..pages::Formats::default() };
    let converter = converter().with_formats(formats);
    let mut asked = order(vec![part("IMG_0001.HEIC", picture.to_vec())]);
    let converted = converter.convert(asked.clone()).await.unwrap();
    let [page] = <[_; 1]>::try_from(bitmaps(&converted.bytes)).unwrap();
    assert!(ink(&page, (200, 20, 800, 400)) > 0.98 && ink(&page, (200, 460, 800, 900)) < 0.02);

    asked.parts[0].bytes.truncate(picture.len() / 2);
    let error = converter.convert(asked).await.unwrap_err();
    assert_eq!((error.kind, error.part.as_deref()), (ErrorKind::Damaged, Some("IMG_0001.HEIC")), "{error}");
}

/// A page of text under a lamp, with a photograph on it: paper is white, text solid, the photograph diffused.
#[tokio::test]
async fn a_photographed_sheet_becomes_a_clean_page() {
    let (width, height) = (1240, 1754);
    let sheet = image::GrayImage::from_fn(width, height, |x, y| {
        let paper = 235 - x * 70 / width - y * 60 / height;
        let grain = (x * 7919 + y * 104_729 + x * y) % 11;
        let is_text = (200..700).contains(&y) && y % 30 < 14 && x % 17 < 4 && (100..1140).contains(&x);
        let is_photo = (900..1400).contains(&y) && (300..900).contains(&x);
        let shade = match () {
            () if is_text => paper / 4,
            () if is_photo => 30 + x / 60 % 4 * 20 + y / 50 % 2 * 30 + if x > 600 { 60 } else { 0 },
            () => paper,
        };
        image::Luma([(shade + grain - 5) as u8])
    });
    let converted = convert(vec![part("sheet.jpg", encoded(&sheet.into(), ImageFormat::Jpeg))]).await.unwrap();
    let [page] = <[_; 1]>::try_from(bitmaps(&converted.bytes)).unwrap();
    assert!(ink(&page, (50, 20, 950, 100)) < 0.001, "the margin is white");
    assert!(ink(&page, (50, 850, 950, 990)) < 0.001, "in the dark corner too");
    let text = ink(&page, (120, 120, 880, 390));
    // 14 of 30 rows, 4 of 17 columns.
    assert!((0.08..0.16).contains(&text), "text covers {text}");
    let (dark, light) = (ink(&page, (260, 530, 400, 780)), ink(&page, (580, 530, 700, 780)));
    assert!((0.4..0.95).contains(&dark) && (0.05..0.6).contains(&light) && dark > light + 0.2, "{dark} and {light}");
}
