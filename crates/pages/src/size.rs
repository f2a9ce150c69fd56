//! Sizes of fax pages in pixels and millimetres.

use crate::order::{Paper, Quality, Result, damaged};

/// T.4 §2: 1728 black and white picture elements along the scan line of 215 mm.
pub const WIDTH_PX: u32 = 1728;

/// T.4 §2: 1728 picture elements on 215 mm.
pub(crate) const PX_PER_MM: f64 = 1728.0 / 215.0;

/// Rows of a page by paper and density: height in mm times 3.85, 7.7 or 15.4 (T.4 §2), rounded. An A4 page at
/// 7.7 lines to the millimetre has 2287 rows; some machines use 2292, which is within T.4's tolerance of ±1 %.
pub fn page_rows(paper: Paper, quality: Quality) -> u32 {
    (height_mm(paper) * rows_per_mm(quality)).round() as u32
}

pub(crate) fn height_mm(paper: Paper) -> f64 {
    match paper {
        Paper::A4 => 297.0,
        Paper::Letter => 279.4,
        Paper::Legal => 355.6,
    }
}

pub(crate) fn rows_per_mm(quality: Quality) -> f64 {
    match quality {
        Quality::Standard => 3.85,
        Quality::Fine => 7.7,
        Quality::Superfine => 15.4,
    }
}

/// Share of a pixel that ink has to cover for it to be inked: less at 98 lines to the inch, where thin horizontals would
/// vanish otherwise (measured by OCR).
pub(crate) fn coverage_share(quality: Quality) -> f32 {
    match quality {
        Quality::Standard => 0.2,
        Quality::Fine | Quality::Superfine => 0.37,
    }
}

/// A fax page is as long as the sheet that went through the machine: this much over the paper is kept, in percent.
const LONGER_PERCENT: u32 = 5;

/// Whether a page of fax pixels with so many rows is taken as it is.
pub(crate) fn keeps_its_rows(rows: u32, paper: Paper, quality: Quality) -> bool {
    let whole = page_rows(paper, quality);
    rows <= whole + whole * LONGER_PERCENT / 100
}

/// Pixels of a picture that are decoded at most: A4 at 1000 dpi, twice what cameras of telephones give.
const PIXELS_MAX: u64 = 100_000_000;

/// Refuses what has no pixels or too many, before any of them is decoded.
pub(crate) fn check_pixels(width: u64, height: u64) -> Result<()> {
    match width.saturating_mul(height) {
        0 => Err(damaged("the picture has no pixels")),
        pixels if pixels > PIXELS_MAX => {
            let (million, most) = (pixels / 1_000_000, PIXELS_MAX / 1_000_000);
            let detail = format!(
                "{width} × {height} pixels are {million} million, and {most} million are read; fix: send it smaller"
            );
            Err(damaged(detail))
        }
        _ => Ok(()),
    }
}

/// Where a picture of `width` × `height` millimetres goes on a page: as large as fits, its aspect kept, turned by
/// 90° when that makes it larger.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Placement {
    /// Whether it is turned clockwise by 90°.
    pub turned: Turned,
    /// Left edge, pixels.
    pub left: u32,
    /// Width on the page after turning, 1 to 1728 pixels.
    pub width: u32,
    /// Height on the page after turning, rows.
    pub height: u32,
}

/// Whether a page is turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turned {
    /// As it is.
    Not,
    /// Clockwise by 90°.
    Clockwise,
}

/// A page of a document may grow so much: more makes a stamp look like a poster.
pub(crate) const ENLARGE_PAGE: f64 = 2.0;
/// A picture keeps its size where it fits.
pub(crate) const ENLARGE_PICTURE: f64 = 1.0;

pub(crate) fn place(width_mm: f64, height_mm: f64, enlarge_max: f64, paper: Paper, quality: Quality) -> Placement {
    let fit = |w: f64, h: f64| {
        let scale = (f64::from(WIDTH_PX) / PX_PER_MM / w).min(self::height_mm(paper) / h);
        if scale.is_finite() { scale.clamp(0.0, enlarge_max) } else { 1.0 }
    };
    let (upright, turned) = (fit(width_mm, height_mm), fit(height_mm, width_mm));
    let (turned, scale, w, h) = if turned > upright * 1.01 {
        (Turned::Clockwise, turned, height_mm, width_mm)
    } else {
        (Turned::Not, upright, width_mm, height_mm)
    };
    let width = ((w * scale * PX_PER_MM).round() as u32).clamp(1, WIDTH_PX);
    let height = ((h * scale * rows_per_mm(quality)).round() as u32).clamp(1, page_rows(paper, quality));
    Placement { turned, left: (WIDTH_PX - width) / 2, width, height }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_follow_paper_and_density() {
        for (paper, rows) in
            [(Paper::A4, [1143, 2287, 4574]), (Paper::Letter, [1076, 2151, 4303]), (Paper::Legal, [1369, 2738, 5476])]
        {
            let got = [Quality::Standard, Quality::Fine, Quality::Superfine].map(|quality| page_rows(paper, quality));
            assert_eq!(got, rows, "{paper:?}");
        }
    }

    #[test]
    fn an_a4_page_keeps_its_size_and_a_landscape_page_is_turned() {
        let upright = place(210.0, 297.0, ENLARGE_PAGE, Paper::A4, Quality::Fine);
        assert_eq!(upright, Placement { turned: Turned::Not, left: 20, width: 1688, height: 2287 });
        let landscape = place(297.0, 210.0, ENLARGE_PAGE, Paper::A4, Quality::Fine);
        assert_eq!(landscape, Placement { turned: Turned::Clockwise, left: 20, width: 1688, height: 2287 });
    }

    #[test]
    fn extreme_sizes_stay_on_the_page() {
        for (w, h) in [(1e30, 1e30), (1e-9, 1e-9), (1e9, 1.0), (1.0, 1e9), (0.0, 0.0), (f64::NAN, 1.0)] {
            let p = place(w, h, ENLARGE_PAGE, Paper::Letter, Quality::Superfine);
            assert!(p.width >= 1 && p.left + p.width <= WIDTH_PX && (1..=4303).contains(&p.height), "{w} {h} {p:?}");
        }
    }
}
