//! Text: always solid, always legible.

use pdf_bits::Bitmap;

use crate::common::*;

fn line(draw: impl FnOnce(&mut pdf_writer::Content)) -> Bitmap {
    bits(pdf((400.0, 100.0), draw), 400, 100)
}

#[test]
fn exact_pixels_of_two_letters() {
    let page = drawn(|c| write(c, "il", 16.0, (10.0, 80.0)));
    let expected = "\
.........
..##..#..
..#...#..
......#..
..##..#..
..##..#..
..##..#..
..##..#..
..##..#..
..##..#..
..##..#..
..##..#..
..##..#..
.........";
    assert_eq!(picture(&page, (9, 7, 18, 21)), expected);
}

#[test]
fn the_same_line_looks_the_same_wherever_it_stands() {
    let page = line(|c| {
        write(c, "Hamburgefonts", 12.0, (20.0, 70.3));
        write(c, "Hamburgefonts", 12.0, (20.0, 30.4));
    });
    assert_eq!(picture(&page, (0, 10, 400, 40)), picture(&page, (0, 50, 400, 80)));
}

#[test]
fn coloured_text_has_the_pixels_of_black_text() {
    let black = line(|c| write(c, "The quick brown fox", 14.0, (20.0, 50.0)));
    for (red, green, blue) in [(1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.6, 0.6, 0.6), (1.0, 0.8, 0.0)] {
        let coloured = line(|c| {
            c.set_fill_rgb(red, green, blue);
            write(c, "The quick brown fox", 14.0, (20.0, 50.0));
        });
        assert_eq!(coloured, black, "{red} {green} {blue}");
    }
}

#[test]
fn text_on_a_tint_stands_in_a_clean_rim() {
    let bare = line(|c| write(c, "Total 1,234.50", 14.0, (20.0, 50.0)));
    for (ground, ink) in [(0.8, 0.0), (0.6, 0.0), (0.3, 1.0), (0.7, 1.0)] {
        let page = line(|c| {
            c.set_fill_gray(ground).rect(0.0, 0.0, 400.0, 100.0).fill_nonzero();
            c.set_fill_gray(ink);
            write(c, "Total 1,234.50", 14.0, (20.0, 50.0));
        });
        // White letters on middle grey are drawn black: either way letter and rim differ.
        let is_black = ground > 0.5;
        for y in 1..99 {
            for x in 1..399 {
                if bare.get(x, y) {
                    assert_eq!(page.get(x, y), is_black, "letter at {x} {y} on {ground}");
                } else if (0..9).any(|n| bare.get(x + n % 3 - 1, y + n / 3 - 1)) {
                    assert_eq!(page.get(x, y), !is_black, "rim at {x} {y} on {ground}");
                }
            }
        }
    }
}

#[test]
fn white_text_on_black_is_the_negative_of_black_text() {
    let mut negative = line(|c| {
        c.rect(0.0, 0.0, 400.0, 100.0).fill_nonzero();
        c.set_fill_gray(1.0);
        write(c, "Price list 2026", 14.0, (20.0, 50.0));
    });
    negative.invert();
    assert_eq!(negative, line(|c| write(c, "Price list 2026", 14.0, (20.0, 50.0))));
}

#[test]
fn a_pale_watermark_does_not_hide_the_text() {
    let page = bits(
        pdf((400.0, 200.0), |c| {
            c.set_fill_gray(0.85);
            write(c, "DRAFT", 140.0, (0.0, 50.0));
            c.set_fill_gray(0.0);
            write(c, "the text", 14.0, (40.0, 100.0));
        }),
        400,
        200,
    );
    assert!(ink(&page, (0, 40, 400, 160)) < 0.2, "{}", ink(&page, (0, 40, 400, 160)));
}

#[test]
fn the_title_of_a_slide_is_solid_in_every_colour_that_is_not_pale() {
    for size in [100.0, 170.0] {
        let title = |gray: f32| {
            let draw = move |c: &mut pdf_writer::Content| {
                c.set_fill_gray(gray);
                write(c, "Title", size, (0.0, 50.0));
            };
            bits(pdf((400.0, 200.0), draw), 400, 200)
        };
        assert_eq!(title(0.55), title(0.0), "{size} pixels");
    }
}

#[test]
fn thin_strokes_survive_at_98_lines_to_the_inch() {
    let bytes = pdf((595.0, 842.0), |c| write(c, "eeee EEEE tttt ffff", 10.0, (72.0, 700.0)));
    let draw = |lines: u32, share: f32| {
        let frame = pdf_bits::Frame { share, ..frame(1688, 842 * lines / 72) };
        try_draw(bytes.clone(), frame).unwrap().bits
    };
    let (fine, standard) = (draw(196, 0.37), draw(98, 0.2));
    let ratio = standard.black_pixels() as f64 * 2.0 / fine.black_pixels() as f64;
    assert!((0.95..1.5).contains(&ratio), "{ratio}");
}

#[test]
fn invisible_text_is_invisible() {
    let page = line(|c| {
        c.set_text_rendering_mode(pdf_writer::types::TextRenderingMode::Invisible);
        write(c, "recognised text of a scan", 14.0, (20.0, 50.0));
    });
    assert_eq!(page.black_pixels(), 0);
}
