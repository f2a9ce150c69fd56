//! Fills with a pattern: tiles drawn again and again, and shades that change from place to place.

use hayro::hayro_interpret::pattern::{Pattern, ShadingPattern, TilingPattern};
use hayro::kurbo::{Affine, Point, Rect};

use super::{NONZERO, Pen};
use crate::canvas::Mix;
use crate::ink::{Ink, luma};
use crate::raster::{Bounds, Run};

/// Most tiles that are drawn on a page, each from its instructions: more are finer than they can be seen.
pub(super) const TILES_MAX: u32 = 4_000;
/// Tilings inside tiles.
const NESTED_MAX: usize = 3;
/// Edge of the squares in which a shading is looked up, pixels.
const SQUARE: i32 = 4;

impl<'c> Pen<'c> {
    pub(super) fn paint_pattern(&mut self, runs: &[Run], pattern: &Pattern<'_>, mix: Mix, is_line: bool) {
        let clip = self.clip().within_runs(runs);
        if clip.is_empty() {
            return;
        }
        if self.in_glyph > 0 {
            return self.canvas.runs(runs, &Ink::BLACK, mix, &clip);
        }
        self.push_clip(clip);
        match pattern {
            Pattern::Shading(shading) => self.shading(shading, mix),
            Pattern::Tiling(tiling) => self.tiles(tiling, is_line),
        }
        self.clips.pop();
    }

    fn tiles(&mut self, tiling: &TilingPattern<'_>, is_line: bool) {
        let clip = self.bounds();
        let area = Rect::new(clip.x0.into(), clip.y0.into(), clip.x1.into(), clip.y1.into());
        let inverse = tiling.matrix.inverse();
        let area = inverse.transform_rect_bbox(area);
        let (step_x, step_y) = (f64::from(tiling.x_step.abs()), f64::from(tiling.y_step.abs()));
        if !(area.is_finite() && step_x > 0.0 && step_y > 0.0) {
            return;
        }
        let columns = (((area.x0 - tiling.bbox.x1) / step_x).ceil(), ((area.x1 - tiling.bbox.x0) / step_x).floor());
        let rows = (((area.y0 - tiling.bbox.y1) / step_y).ceil(), ((area.y1 - tiling.bbox.y0) / step_y).floor());
        let count = (columns.1 - columns.0 + 1.0).max(0.0) * (rows.1 - rows.0 + 1.0).max(0.0);
        if count > f64::from(self.tiles_left) || self.in_tile >= NESTED_MAX {
            return self.cannot("a pattern of very many tiles");
        }
        if tiling.opacity < 0.99 {
            let outer = self.group();
            self.groups.push(super::Group { opacity: outer.opacity * tiling.opacity, ..outer });
        }
        self.tiles_left -= count as u32;
        self.in_tile += 1;
        for row in rows.0 as i64..=rows.1 as i64 {
            for column in columns.0 as i64..=columns.1 as i64 {
                let offset = Affine::translate((column as f64 * step_x, row as f64 * step_y));
                self.tile(tiling, tiling.matrix * offset, is_line);
            }
        }
        self.in_tile -= 1;
        if tiling.opacity < 0.99 {
            self.groups.pop();
        }
    }

    fn tile(&mut self, tiling: &TilingPattern<'_>, transform: Affine, is_line: bool) {
        // What a tile leaves open must not stay open in the next one.
        let (clips, groups) = (self.clips.len(), self.groups.len());
        if !self.is_done() && !self.misses(transform.transform_rect_bbox(tiling.bbox)) {
            interpret(tiling, self, transform, is_line);
        }
        self.clips.truncate(clips);
        self.groups.truncate(groups);
    }

    /// The shading over all of the clip.
    fn shading(&mut self, pattern: &ShadingPattern, mix: Mix) {
        let mut clip = self.clip();
        if let Some(path) = &pattern.shading.clip_path {
            let mut runs = Vec::new();
            let bounds = self.bounds();
            self.raster.fill(path, Affine::IDENTITY, NONZERO, bounds, self.share, &mut runs);
            clip = clip.within_runs(&runs);
        }
        let encoded = pattern.encode();
        let group = self.group();
        let Bounds { x0, y0, x1, y1 } = Bounds { x0: clip.x0, y0: clip.y0, x1: clip.x1, y1: clip.y1 };
        let mut y = y0 - y0.rem_euclid(SQUARE);
        while y < y1 {
            let mut x = x0 - x0.rem_euclid(SQUARE);
            while x < x1 {
                let middle = Point::new(f64::from(x + SQUARE / 2), f64::from(y + SQUARE / 2));
                let octet = |value: f32| (value * 255.0).round().clamp(0.0, 255.0) as u8;
                let [red, green, blue, alpha] = encoded.sample(encoded.base_transform * middle);
                let alpha = alpha * group.opacity;
                if alpha > 0.02 {
                    let bare = f32::from(luma(octet(red), octet(green), octet(blue)));
                    let shade = octet((255.0 - (255.0 - bare) * alpha) / 255.0);
                    let mix = if mix == Mix::Cover && alpha < 0.5 { Mix::Darken } else { mix };
                    let end = (x + SQUARE).min(x1);
                    self.canvas.rect((x, y, end, y + SQUARE), &Ink::area(shade), mix, &clip);
                    let row = y + SQUARE / 2;
                    if (clip.y0..clip.y1).contains(&row) {
                        self.canvas.note_shade(row, x.max(clip.x0), end, shade);
                    }
                }
                x += SQUARE;
            }
            y += SQUARE;
        }
    }
}

/// Not a method, so that the lifetime of the page is the pattern's own.
fn interpret<'a>(tiling: &TilingPattern<'a>, pen: &mut Pen<'_>, transform: Affine, is_line: bool) {
    tiling.interpret(pen, transform, is_line);
}
