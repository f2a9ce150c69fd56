//! Lines, areas, clips, patterns.

use pdf_writer::types::{BlendMode, MaskType, PaintType, TilingType};
use pdf_writer::{Finish, Name, Rect};

use crate::common::*;

#[test]
fn a_thin_rule_is_one_row_wherever_it_lies() {
    for offset in [0.0, 0.1, 0.25, 0.5, 0.6, 0.9] {
        for width in [0.0, 0.1, 0.5, 1.0, 1.2] {
            let page = drawn(|c| {
                c.set_line_width(width).move_to(10.0, 50.0 + offset).line_to(90.0, 50.0 + offset).stroke();
            });
            let rows = (0..100).filter(|y| !page.is_row_white(*y)).count();
            assert_eq!((rows, page.black_pixels()), (1, 81), "width {width} at {offset}");
        }
    }
}

#[test]
fn a_rule_drawn_as_a_rectangle_is_never_lost_and_equal_ones_are_equal() {
    let page = drawn(|c| {
        for line in 0..8 {
            c.rect(10.0, 10.0 + 10.13 * line as f32, 80.0, 0.3).fill_nonzero();
        }
    });
    let rows: Vec<u32> = (0..100).filter(|y| !page.is_row_white(*y)).collect();
    assert_eq!(rows.len(), 8, "{rows:?}");
    assert_eq!(page.black_pixels(), 8 * 80);
}

#[test]
fn exact_pixels_of_a_box_and_a_wide_line() {
    let page = drawn(|c| {
        c.rect(2.0, 90.0, 6.0, 4.0).fill_nonzero();
        c.set_line_width(3.0).move_to(12.0, 92.0).line_to(12.0, 98.0).stroke();
    });
    let expected = "\
...............
...............
...........###.
...........###.
...........###.
...........###.
..######...###.
..######...###.
..######.......
..######.......
...............";
    assert_eq!(picture(&page, (0, 0, 15, 11)), expected);
}

#[test]
fn a_diagonal_hairline_has_a_pixel_in_every_row_and_no_gap() {
    let page = drawn(|c| {
        c.set_line_width(0.2).move_to(10.0, 10.0).line_to(60.0, 90.0).stroke();
    });
    let row = |y: u32| (0..100).filter(|x| page.get(*x, y)).collect::<Vec<u32>>();
    for y in 11..89 {
        let (now, next) = (row(y), row(y + 1));
        assert_eq!(now.len(), 1, "row {y}");
        assert!(next.is_empty() || now[0].abs_diff(next[0]) <= 1, "row {y}: {now:?} {next:?}");
    }
}

#[test]
fn dashes_are_as_long_as_they_should_be() {
    let page = drawn(|c| {
        c.set_line_width(1.0).set_dash_pattern([6.0, 4.0], 0.0).move_to(10.0, 50.5).line_to(90.0, 50.5).stroke();
    });
    let row: String = (10..90).map(|x| if page.get(x, 49) { '#' } else { '.' }).collect();
    let blacks = row.matches('#').count();
    assert!((48..=56).contains(&blacks), "{row}");
    assert_eq!(row.split('.').filter(|dash| !dash.is_empty()).count(), 8, "{row}");
}

#[test]
fn areas_keep_their_shade_as_ordered_dots() {
    for gray in [0.0_f32, 0.3, 0.5, 0.8, 1.0] {
        let page = drawn(|c| {
            c.set_fill_gray(gray).rect(10.0, 10.0, 64.0, 64.0).fill_nonzero();
        });
        let got = ink(&page, (16, 32, 64, 80));
        assert!((got - f64::from(1.0 - gray)).abs() < 0.03, "{gray}: {got}");
    }
}

#[test]
fn a_tint_over_most_of_the_page_is_its_paper() {
    let page = drawn(|c| {
        c.set_fill_gray(0.85).rect(0.0, 0.0, 100.0, 100.0).fill_nonzero();
        c.set_fill_gray(0.0).rect(40.0, 40.0, 20.0, 20.0).fill_nonzero();
    });
    assert_eq!(page.black_pixels(), 400);
}

#[test]
fn coloured_lines_are_solid_and_white_ones_show_on_black() {
    for (red, green, blue) in [(1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.5, 0.0), (0.5, 0.5, 0.5)] {
        let page = drawn(|c| {
            c.set_stroke_rgb(red, green, blue).set_line_width(2.0).move_to(10.0, 50.0).line_to(90.0, 50.0).stroke();
        });
        assert_eq!(page.black_pixels(), 160, "{red} {green} {blue}");
    }
    let page = drawn(|c| {
        c.rect(0.0, 0.0, 100.0, 100.0).fill_nonzero();
        c.set_stroke_gray(1.0).set_line_width(2.0).move_to(10.0, 50.0).line_to(90.0, 50.0).stroke();
    });
    assert_eq!(page.black_pixels(), 10_000 - 160);
}

#[test]
fn a_clip_lets_nothing_through_outside_and_ends_with_its_state() {
    let page = drawn(|c| {
        c.save_state();
        c.move_to(50.0, 90.0).line_to(90.0, 10.0).line_to(10.0, 10.0).close_path().clip_nonzero().end_path();
        c.rect(0.0, 0.0, 100.0, 100.0).fill_nonzero();
        c.restore_state();
        c.rect(0.0, 96.0, 4.0, 4.0).fill_nonzero();
    });
    let triangle = 80.0 * 80.0 / 2.0;
    let inside = black(&page, (10, 10, 90, 90)) as f64;
    assert!((inside - triangle).abs() < 120.0, "{inside}");
    assert_eq!(page.black_pixels() as f64 - inside, 16.0, "the last square is whole, nothing else is outside");
}

#[test]
fn tiles_fill_the_shape_and_nothing_else() {
    let pattern = |pdf: &mut pdf_writer::Pdf, place| {
        let mut tile = pdf.tiling_pattern(place, b"0 0 2 4 re f");
        tile.paint_type(PaintType::Colored).tiling_type(TilingType::ConstantSpacing);
        tile.bbox(Rect::new(0.0, 0.0, 4.0, 4.0)).x_step(4.0).y_step(4.0).resources();
    };
    let bytes = pdf_with(
        (100.0, 100.0),
        pattern,
        |_| {},
        |c| {
            c.set_fill_color_space(pdf_writer::types::ColorSpaceOperand::Pattern);
            c.set_fill_pattern(None, PICTURE).rect(20.0, 20.0, 40.0, 40.0).fill_nonzero();
        },
    );
    let page = bits(bytes, 100, 100);
    assert_eq!(picture(&page, (18, 60, 34, 61)), "..##..##..##..##");
    assert_eq!(page.black_pixels(), 40 * 20);
}

#[test]
fn multiplied_areas_never_wipe_out_what_lies_below() {
    let state = |g: &mut pdf_writer::writers::ExtGraphicsState<'_>| {
        g.blend_mode(BlendMode::Multiply);
    };
    let bytes = pdf_with(
        (100.0, 100.0),
        |pdf, place| drop(pdf.stream(place, b"")),
        state,
        |c| {
            c.rect(20.0, 20.0, 20.0, 20.0).fill_nonzero();
            c.set_parameters(Name(b"G")).set_fill_rgb(1.0, 1.0, 0.0).rect(0.0, 0.0, 100.0, 100.0).fill_nonzero();
        },
    );
    assert_eq!(ink(&bits(bytes, 100, 100), (20, 60, 40, 80)), 1.0);
}

#[test]
fn a_page_with_a_soft_mask_is_drawn_in_colour_and_says_so() {
    let group = |pdf: &mut pdf_writer::Pdf, place| {
        let mut form = pdf.form_xobject(place, b"1 g 0 0 50 100 re f");
        form.bbox(Rect::new(0.0, 0.0, 100.0, 100.0));
        form.group().transparency().color_space().device_gray();
        form.finish();
    };
    let state = |g: &mut pdf_writer::writers::ExtGraphicsState<'_>| {
        g.soft_mask().subtype(MaskType::Luminosity).group(pdf_writer::Ref::new(6));
    };
    let bytes = pdf_with((100.0, 100.0), group, state, |c| {
        c.set_parameters(Name(b"G")).rect(0.0, 0.0, 100.0, 100.0).fill_nonzero();
    });
    let drawn = try_draw(bytes, frame(100, 100)).unwrap();
    assert_eq!(drawn.in_colour, Some("a soft mask"));
    assert!(ink(&drawn.bits, (0, 0, 48, 100)) > 0.99 && ink(&drawn.bits, (52, 0, 100, 100)) < 0.01);
}

#[test]
fn numbers_out_of_all_bounds_draw_something_or_nothing_but_end() {
    for number in [1e30_f32, -1e30, 3.4e38, 1e-30, f32::MAX] {
        drawn(|c| {
            c.set_line_width(number.abs()).move_to(number, number).line_to(10.0, -number).stroke();
            c.rect(number, 0.0, number, number).fill_nonzero();
            c.set_dash_pattern([1e-9, 1e-9], 0.0).move_to(0.0, 0.0).line_to(number, 50.0).stroke();
            c.transform([number, 0.0, 0.0, number, 0.0, 0.0]).rect(0.0, 0.0, 1.0, 1.0).fill_nonzero();
            write(c, "text", number, (0.0, 0.0));
        });
    }
}
