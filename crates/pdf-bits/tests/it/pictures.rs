//! Pictures in every form.

use pdf_bits::Bitmap;
use pdf_writer::{Content, Filter, Finish, Pdf, Ref};

use crate::common::*;

fn place(content: &mut Content, (x, y, width, height): (f32, f32, f32, f32)) {
    content.save_state().transform([width, 0.0, 0.0, height, x, y]).x_object(PICTURE).restore_state();
}

fn gray(width: usize, height: usize, shade: impl Fn(usize, usize) -> u8) -> impl FnOnce(&mut Pdf, Ref) {
    let data: Vec<u8> = (0..width * height).map(|i| shade(i % width, i / width)).collect();
    move |pdf, place| {
        let mut image = pdf.image_xobject(place, &data);
        image.width(width as i32).height(height as i32).bits_per_component(8).color_space().device_gray();
        image.finish();
    }
}

fn page(object: impl FnOnce(&mut Pdf, Ref), draw: impl FnOnce(&mut Content)) -> Bitmap {
    bits(pdf_with((128.0, 128.0), object, |_| {}, draw), 128, 128)
}

/// 16 × 16 bits: an F, so that every way to turn it shows.
const LETTER: [u16; 16] =
    [0, 0, 0x3ffc, 0x3ffc, 0x3000, 0x3000, 0x3000, 0x3fe0, 0x3fe0, 0x3000, 0x3000, 0x3000, 0x3000, 0x3000, 0, 0];

fn letter(pdf: &mut Pdf, place: Ref) {
    // A 1 is white in DeviceGray.
    let data: Vec<u8> = LETTER.iter().flat_map(|row| (!row).to_be_bytes()).collect();
    let mut image = pdf.image_xobject(place, &data);
    image.width(16).height(16).bits_per_component(1).color_space().device_gray();
    image.finish();
}

fn stencil(pdf: &mut Pdf, place: Ref) {
    let data: Vec<u8> = LETTER.iter().flat_map(|row| (!row).to_be_bytes()).collect();
    let mut image = pdf.image_xobject(place, &data);
    image.width(16).height(16).bits_per_component(1).image_mask(true);
    image.finish();
}

fn is_letter(x: u32, y: u32) -> bool {
    LETTER[y as usize] << x & 0x8000 != 0
}

#[test]
fn a_bilevel_picture_at_its_own_size_keeps_its_pixels() {
    for object in [letter as fn(&mut Pdf, Ref), stencil] {
        let page = page(object, |c| place(c, (32.0, 64.0, 16.0, 16.0)));
        for (x, y) in (0..16).flat_map(|y| (0..16).map(move |x| (x, y))) {
            assert_eq!(page.get(32 + x, 48 + y), is_letter(x, y), "{x} {y}");
        }
    }
}

#[test]
fn a_picture_is_turned_and_mirrored_as_its_matrix_says() {
    // (matrix, source pixel of the target pixel (x, y))
    type Case = ([f32; 6], fn(u32, u32) -> (u32, u32));
    let cases: [Case; 4] = [
        ([16.0, 0.0, 0.0, 16.0, 32.0, 64.0], |x, y| (x, y)),
        ([-16.0, 0.0, 0.0, 16.0, 48.0, 64.0], |x, y| (15 - x, y)),
        ([16.0, 0.0, 0.0, -16.0, 32.0, 80.0], |x, y| (x, 15 - y)),
        // Counterclockwise: what was right is up now.
        ([0.0, 16.0, -16.0, 0.0, 48.0, 64.0], |x, y| (15 - y, x)),
    ];
    for object in [letter as fn(&mut Pdf, Ref), stencil] {
        for (matrix, source) in cases {
            let page = page(object, |c| {
                c.save_state().transform(matrix).x_object(PICTURE).restore_state();
            });
            for (x, y) in (0..16).flat_map(|y| (0..16).map(move |x| (x, y))) {
                let (from_x, from_y) = source(x, y);
                assert_eq!(page.get(32 + x, 48 + y), is_letter(from_x, from_y), "{matrix:?} {x} {y}");
            }
        }
    }
}

#[test]
fn a_picture_at_an_angle_covers_what_it_should() {
    let (sin, cos) = 0.5_f32.sin_cos();
    let page = page(gray(50, 50, |_, _| 0), |c| {
        let (sin, cos) = (60.0 * sin, 60.0 * cos);
        c.save_state().transform([cos, sin, -sin, cos, 50.0, 20.0]).x_object(PICTURE).restore_state();
    });
    let got = page.black_pixels() as f64;
    assert!((got - 3600.0).abs() < 100.0, "{got}");
    assert!(page.get(52, 128 - 60), "its middle is black");
}

#[test]
fn a_photograph_is_diffused_and_keeps_its_shade() {
    for shade in [60_u8, 128, 200] {
        let noise = move |x: usize, y: usize| shade.wrapping_add(((x * 7 + y * 13) % 9) as u8);
        let page = page(gray(300, 300, noise), |c| place(c, (0.0, 48.0, 80.0, 80.0)));
        let expected = 1.0 - f64::from(shade + 4) / 255.0;
        assert!((ink(&page, (8, 8, 72, 72)) - expected).abs() < 0.03, "{shade}");
    }
}

#[test]
fn a_grey_scan_of_text_becomes_solid_text_on_clean_paper() {
    // Strokes of brown ink on yellowed paper, at 600 dpi: a sheet, and no small picture, which would keep its shades.
    const SIDE: f32 = 640.0;
    let scan = |x: usize, y: usize| if x % 30 < 6 { 80 + (y % 5) as u8 } else { 225 + (x * y % 7) as u8 };
    let sheet = pdf_with((SIDE, SIDE), gray(1920, 1920, scan), |_| {}, |c| place(c, (0.0, 0.0, SIDE, SIDE)));
    let page = bits(sheet, 640, 640);
    for y in 4..636 {
        for stroke in 1..63 {
            assert!(page.get(stroke * 10 + 1, y), "stroke {stroke} row {y}");
            assert!(!page.get(stroke * 10 + 6, y), "paper after {stroke} row {y}");
        }
    }
}

#[test]
fn clear_pixels_leave_what_lies_below() {
    let shape: Vec<u8> = (0..64).map(|i| if i % 8 < 4 { 0 } else { 255 }).collect();
    let object = move |pdf: &mut Pdf, place| {
        let mut mask = pdf.image_xobject(SPARE, &shape);
        mask.width(8).height(8).bits_per_component(8).color_space().device_gray();
        mask.finish();
        let mut image = pdf.image_xobject(place, &[255; 64]);
        image.width(8).height(8).bits_per_component(8).s_mask(SPARE).color_space().device_gray();
        image.finish();
    };
    let page = page(object, |c| {
        c.rect(0.0, 0.0, 128.0, 128.0).fill_nonzero();
        place(c, (32.0, 32.0, 64.0, 64.0));
    });
    assert_eq!(ink(&page, (32, 32, 64, 96)), 1.0, "the clear half shows the black below");
    assert_eq!(ink(&page, (64, 32, 96, 96)), 0.0, "the other half is white");
}

#[test]
fn a_picture_far_larger_than_the_page_is_cut_and_not_made() {
    let page = page(gray(8, 8, |x, _| if x < 4 { 0 } else { 255 }), |c| place(c, (-1e6, -1e6, 2e6, 2e6)));
    assert_eq!(page.black_pixels(), 0);
    let page = self::page(gray(8, 8, |_, _| 0), |c| place(c, (-1e6, -1e6, 2e6, 2e6)));
    assert_eq!(page.black_pixels(), 128 * 128);
}

#[test]
fn a_picture_that_cannot_be_decoded_is_an_error_not_a_hole() {
    let object = |pdf: &mut Pdf, place| {
        let mut image = pdf.image_xobject(place, b"\xff\xd8 no JPEG at all");
        image.width(8).height(8).bits_per_component(8).color_space().device_gray();
        image.filter(Filter::DctDecode);
        image.finish();
    };
    let bytes = pdf_with((128.0, 128.0), object, |_| {}, |c| place(c, (0.0, 0.0, 128.0, 128.0)));
    let error = try_draw(bytes, frame(128, 128)).unwrap_err();
    assert_eq!(error.to_string(), "a picture on it cannot be read");
}
