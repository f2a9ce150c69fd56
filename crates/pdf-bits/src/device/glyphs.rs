//! Text: a stamp for each glyph, made once for each size and quarter of a pixel.

use std::collections::HashMap;
use std::rc::Rc;

use hayro::hayro_interpret::font::{Glyph, GlyphRun, HintingCache, OutlineGlyph};
use hayro::hayro_interpret::{DrawProps, Paint, StrokeProps};
use hayro::kurbo::{Affine, BezPath, Rect};

use super::{NONZERO, Outlines, Pen, Shade, control_box};
use crate::canvas::{Mix, RIM, Stamp};
use crate::ink::{self, Ink, Solid};
use crate::raster::{Bounds, Raster};

/// Glyphs larger than this are drawn as shapes: nothing is gained by keeping them.
const STAMP_PX_MAX: f64 = 160.0;
/// Letters from this height on are areas when they are pale: a watermark must not hide the text.
const LARGE_PX: f64 = 90.0;
/// Lightness from which on large letters are pale. Watermarks are silver and lighter; coloured titles of slides are darker.
const PALE_MIN: u8 = 180;
/// Octets of stamps that are kept; then it starts anew.
const CACHE_MAX_BYTES: usize = 6 << 20;
/// Outlines that are kept.
const OUTLINES_MAX: usize = 20_000;
/// How far dots are kept off a line of text at its sides, pixels.
const BAND_PX: i32 = 5;
/// Heights of an em at which level strokes are moved to whole rows.
const HINTED_ROWS: std::ops::RangeInclusive<f64> = 4.0..=128.0;
/// A hinted glyph is inked from halfway between the page's share and this one on: its level strokes need no help, and more
/// than these would grow too bold.
const HINTED_SHARE: f32 = 0.32;
/// Places of a glyph within a pixel that are told apart.
const PLACES: f64 = 4.0;

/// Glyphs of one document.
#[derive(Default)]
pub(crate) struct GlyphCache {
    outlines: Outlines,
    hinting: HintingCache,
    stamps: HashMap<Key, Option<Placed>>,
    rims: HashMap<Key, Stamp>,
    size_bytes: usize,
    raster: Raster,
}

/// Glyph, the four numbers of its transform, its place within a pixel.
type Key = (u128, [u32; 4], u8);

#[derive(Clone)]
struct Placed {
    left: i32,
    top: i32,
    stamp: Stamp,
}

impl GlyphCache {
    fn outline(&mut self, glyph: &OutlineGlyph, id: u128) -> Rc<BezPath> {
        if self.outlines.len() > OUTLINES_MAX {
            self.outlines.clear();
            self.hinting = HintingCache::new();
        }
        Rc::clone(self.outlines.entry(id).or_insert_with(|| Rc::new(glyph.outline())))
    }

    /// The outline with its level strokes moved to whole rows, for upright text of common sizes.
    fn hinted(&self, glyph: &OutlineGlyph, transform: Affine) -> Option<BezPath> {
        let [_, b, c, d, _, _] = transform.as_coeffs();
        let rows = -d * 1000.0;
        let is_upright = b == 0.0 && c == 0.0 && HINTED_ROWS.contains(&rows);
        if is_upright { glyph.hinted_outline(rows as f32, &self.hinting) } else { None }
    }

    /// The stamp of a glyph, with the place of its upper left corner relative to the pixel of its origin. Nothing for a blank.
    fn stamp(&mut self, glyph: &OutlineGlyph, key: Key, transform: Affine, share: f32) -> Option<Placed> {
        if let Some(known) = self.stamps.get(&key) {
            return known.clone();
        }
        let placed = match self.hinted(glyph, transform) {
            // Its level strokes fill whole rows, and upright ones have 204 dots to the inch at every density.
            Some(hinted) => rasterize(&mut self.raster, &hinted, transform, (share + HINTED_SHARE) / 2.0),
            None => {
                let outline = self.outline(glyph, key.0);
                rasterize(&mut self.raster, &outline, transform, share)
            }
        };
        self.size_bytes += placed.as_ref().map_or(0, |placed| placed.stamp.size_bytes()) + size_of::<(Key, Placed)>();
        if self.size_bytes > CACHE_MAX_BYTES {
            self.stamps.clear();
            self.rims.clear();
            self.size_bytes = 0;
        }
        self.stamps.insert(key, placed.clone());
        placed
    }
}

fn rasterize(raster: &mut Raster, outline: &BezPath, transform: Affine, share: f32) -> Option<Placed> {
    let area = control_box(outline, transform)?;
    let (left, top) = (area.x0.floor() as i32, area.y0.floor() as i32);
    let (width, height) = ((area.x1.ceil() as i32 - left).clamp(1, 1000), (area.y1.ceil() as i32 - top).clamp(1, 1000));
    let mut runs = Vec::new();
    let bounds = Bounds { x0: 0, y0: 0, x1: width, y1: height };
    let moved = Affine::translate((f64::from(-left), f64::from(-top))) * transform;
    let area = raster.fill(outline, moved, NONZERO, bounds, share, &mut runs);
    let inked: i32 = runs.iter().map(|run| run.x1 - run.x0).sum();
    if (inked as f32) < area * 0.6 {
        runs.clear();
        raster.fill(outline, moved, NONZERO, bounds, 0.12, &mut runs);
    }
    let stamp = Stamp::from_runs(width as u32, height as u32, &runs);
    (!stamp.is_blank()).then_some(Placed { left, top, stamp })
}

impl<'c> Pen<'c> {
    pub(super) fn fill_glyphs<'a>(&mut self, run: &GlyphRun<'_, 'a>, props: &DrawProps<'a>) {
        let Some(mix) = self.mix(props.blend_mode, props.soft_mask.as_ref()) else { return };
        let shade = self.color(&props.paint, mix);
        let mut rims: Vec<(Stamp, i32, i32, Ink)> = Vec::new();
        let mut bands: Vec<((i32, i32, i32, i32), Ink)> = Vec::new();
        let mut bodies: Vec<(Stamp, i32, i32, Ink)> = Vec::new();
        for glyph in run.glyphs() {
            match &**glyph {
                Glyph::Outline(outline) => {
                    let transform = props.transform * glyph.transform();
                    let size = height_px(transform);
                    // Small text in a pattern is one ink: there is no room for the pattern.
                    let is_area = size > LARGE_PX && shade.is_none_or(|shade| shade.luma >= PALE_MIN);
                    let Some(shade) = shade.filter(|_| size <= STAMP_PX_MAX && !is_area) else {
                        self.large_glyph(outline, transform, &props.paint, mix, is_area);
                        continue;
                    };
                    let Some((placed, x, y, key)) = self.placed(outline, transform) else { continue };
                    let Solid { ink, rim } = self.text_ink(shade, &placed, x, y);
                    if let Some(rim) = rim {
                        bands.push((band(&placed, x, y, transform), rim));
                        let grown = self.glyphs.rims.entry(key).or_insert_with(|| placed.stamp.grown()).clone();
                        rims.push((grown, x - RIM as i32, y - RIM as i32, rim));
                    }
                    bodies.push((placed.stamp, x, y, ink));
                }
                Glyph::Type3(drawn) => {
                    self.in_glyph += 1;
                    drawn.interpret(self, props.transform, glyph.transform(), &props.paint);
                    self.in_glyph -= 1;
                }
            }
        }
        let clip = self.clip();
        let mix = shade.map_or(mix, |shade| shade.mix);
        // All grounds first: a rim must not cut the neighbour's body.
        for (area, ink) in bands {
            self.canvas.calm(area, ink, &clip);
        }
        for (stamp, x, y, ink) in rims {
            self.canvas.stamp(&stamp, x, y, &ink, Mix::Cover, &clip);
        }
        for (stamp, x, y, ink) in bodies {
            self.canvas.stamp(&stamp, x, y, &ink, if ink == Ink::WHITE { Mix::Cover } else { mix }, &clip);
        }
    }

    /// The stamp of a glyph and where its upper left corner goes; nothing when it is blank or outside.
    fn placed(&mut self, outline: &OutlineGlyph, transform: Affine) -> Option<(Placed, i32, i32, Key)> {
        let [a, b, c, d, x, y] = transform.as_coeffs();
        let clip = self.bounds();
        // An em is 1000 units; glyphs reach little further.
        let reach = STAMP_PX_MAX * 3.0;
        let area = Rect::new(x - reach, y - reach, x + reach, y + reach);
        if !area.is_finite() || self.misses(area) || clip.x0 >= clip.x1 {
            return None;
        }
        // Upright text stands on whole rows, so that equal letters of a line look equal.
        let place = ((x - x.floor()) * PLACES).floor() as u8;
        let row = y.round();
        let id = outline.identifier().cache_key();
        let key = (id, [a, b, c, d].map(|v| (v as f32).to_bits()), place);
        let at = Affine::new([a, b, c, d, (f64::from(place) + 0.5) / PLACES, 0.0]);
        let placed = self.glyphs.stamp(outline, key, at, self.share)?;
        let (x, y) = (x.floor() as i32 + placed.left, row as i32 + placed.top);
        Some((placed, x, y, key))
    }

    fn text_ink(&self, shade: Shade, placed: &Placed, x: i32, y: i32) -> Solid {
        let (middle_x, middle_y) = (x + placed.stamp.width as i32 / 2, y + placed.stamp.height as i32 / 2);
        ink::solid(shade.luma, self.canvas.shade_at(middle_x, middle_y))
    }

    fn large_glyph(&mut self, glyph: &OutlineGlyph, transform: Affine, paint: &Paint<'_>, mix: Mix, is_area: bool) {
        let outline = self.glyphs.outline(glyph, glyph.identifier().cache_key());
        let Some(area) = control_box(&outline, transform) else { return };
        if self.misses(area) {
            return;
        }
        let runs = self.rasterize(&outline, transform, NONZERO);
        self.in_glyph += usize::from(!is_area);
        self.paint_runs(&runs, paint, mix, !is_area);
        self.in_glyph -= usize::from(!is_area);
        self.runs = runs;
    }

    pub(super) fn stroke_glyphs<'a>(&mut self, run: &GlyphRun<'_, 'a>, props: &DrawProps<'a>, stroke: &StrokeProps) {
        for glyph in run.glyphs() {
            match &**glyph {
                Glyph::Outline(outline) => {
                    let path = self.glyphs.outline(outline, outline.identifier().cache_key());
                    self.in_glyph += 1;
                    self.stroke(&(glyph.transform() * path.as_ref().clone()), props, stroke);
                    self.in_glyph -= 1;
                }
                Glyph::Type3(drawn) => {
                    self.in_glyph += 1;
                    drawn.interpret(self, props.transform, glyph.transform(), &props.paint);
                    self.in_glyph -= 1;
                }
            }
        }
    }
}

/// The area around a glyph that its line takes: letters next to each other share one strip without dots.
fn band(placed: &Placed, x: i32, y: i32, transform: Affine) -> (i32, i32, i32, i32) {
    let [_, b, c, d, _, _] = transform.as_coeffs();
    let (width, height) = (placed.stamp.width as i32, placed.stamp.height as i32);
    let (mut top, mut bottom) = (y - BAND_PX, y + height + BAND_PX);
    if b == 0.0 && c == 0.0 && d < 0.0 {
        let (em, base) = (height_px(transform), y - placed.top);
        (top, bottom) = (base - em as i32, base + (em * 0.4) as i32);
    }
    (x - BAND_PX, top, x + width + BAND_PX, bottom)
}

/// Height of an em on the page, pixels: an em is 1000 units.
fn height_px(transform: Affine) -> f64 {
    let [a, b, c, d, _, _] = transform.as_coeffs();
    a.hypot(b).max(c.hypot(d)) * 1000.0
}
