//! Drawing instructions of a PDF page onto the canvas.
//!
//! In: what the interpreter calls. Out: a page of bits, or the reason why this device cannot draw it (then the caller draws it in
//! colour and thresholds, see `stock`): soft masks and the blend modes that need colours. Nothing is skipped silently.

mod glyphs;
mod paths;
mod patterns;
mod pictures;

use std::collections::HashMap;

use fax_image::{Bitmap, BitmapError};
use hayro::hayro_interpret::font::GlyphRun;
use hayro::hayro_interpret::{
    BlendMode, ClipPath, Device, DrawMode, DrawProps, FillRule, Image, ImageDrawProps, Paint, SoftMask,
};
use hayro::kurbo::{Affine, BezPath, PathEl, Rect, Shape};

use crate::canvas::{Canvas, Mix};
use crate::clip::Clip;
use crate::ink::luma;
use crate::raster::{Bounds, Raster, Run};

pub(crate) use glyphs::GlyphCache;

/// Deepest nesting of clips and groups; each clip may hold a mask of a page.
const DEPTH_MAX: usize = 120;

/// Draws one page.
pub(crate) struct Pen<'c> {
    canvas: Canvas,
    raster: Raster,
    runs: Vec<Run>,
    clips: Vec<Clip>,
    groups: Vec<Group>,
    glyphs: &'c mut GlyphCache,
    /// Share of a pixel from which on it is inked.
    share: f32,
    unable: Option<&'static str>,
    /// Inside a glyph that is drawn by instructions: everything is text.
    in_glyph: usize,
    /// Nested tilings.
    in_tile: usize,
    tiles_left: u32,
}

#[derive(Debug, Clone, Copy)]
struct Group {
    opacity: f32,
    mix: Mix,
}

/// A colour as this device sees it.
#[derive(Debug, Clone, Copy)]
struct Shade {
    /// 0 black to 255 white, mixed with white paper by its opacity.
    luma: u8,
    /// 0 to 1.
    alpha: f32,
    mix: Mix,
}

impl<'c> Pen<'c> {
    /// `share`: coverage from which on a pixel is inked, 0 to 1.
    pub(crate) fn new(width: u32, height: u32, share: f32, glyphs: &'c mut GlyphCache) -> Self {
        let canvas = Canvas::new(width, height);
        let clips = vec![Clip::page(canvas.width(), canvas.height())];
        let runs = Vec::new();
        Self {
            canvas,
            raster: Raster::default(),
            runs,
            clips,
            groups: vec![Group { opacity: 1.0, mix: Mix::Cover }],
            glyphs,
            share,
            unable: None,
            in_glyph: 0,
            in_tile: 0,
            tiles_left: patterns::TILES_MAX,
        }
    }

    /// The page, or why it cannot be drawn here.
    pub(crate) fn finish(self) -> Result<Result<Bitmap, BitmapError>, &'static str> {
        match self.unable {
            Some(reason) => Err(reason),
            None if self.raster.overflowed => Err("a shape of very many edges"),
            None => Ok(self.canvas.into_bitmap()),
        }
    }

    fn cannot(&mut self, reason: &'static str) {
        self.unable.get_or_insert(reason);
    }

    fn clip(&self) -> Clip {
        self.clips.last().cloned().unwrap_or(Clip::page(0, 0))
    }

    fn group(&self) -> Group {
        self.groups.last().copied().unwrap_or(Group { opacity: 1.0, mix: Mix::Cover })
    }

    /// How blend mode and soft mask of an instruction come out here; nothing when they do not.
    fn mix(&mut self, blend: BlendMode, mask: Option<&SoftMask<'_>>) -> Option<Mix> {
        if mask.is_some() {
            self.cannot("a soft mask");
            return None;
        }
        let own = match blend {
            BlendMode::Normal => Mix::Cover,
            BlendMode::Multiply | BlendMode::Darken => Mix::Darken,
            BlendMode::Screen | BlendMode::Lighten => Mix::Lighten,
            _ => {
                self.cannot("a blend mode that needs colours");
                return None;
            }
        };
        Some(if own == Mix::Cover { self.group().mix } else { own })
    }

    fn shade(&self, rgba: [u8; 4], mix: Mix) -> Shade {
        let alpha = f32::from(rgba[3]) / 255.0 * self.group().opacity;
        let bare = luma(rgba[0], rgba[1], rgba[2]);
        let over_white = 255.0 - (255.0 - f32::from(bare)) * alpha;
        // A light veil would wipe out what it lies on, and a dark one is dots between which it stays readable.
        let mix = if mix == Mix::Cover && alpha < 0.9 && (bare < 128 || alpha < 0.6) { Mix::Darken } else { mix };
        Shade { luma: over_white.round().clamp(0.0, 255.0) as u8, alpha, mix }
    }

    /// The colour of a paint; nothing for a pattern or for what is wholly transparent.
    fn color(&self, paint: &Paint<'_>, mix: Mix) -> Option<Shade> {
        match paint {
            Paint::Color(color) => Some(self.shade(color.to_rgba().to_rgba8(), mix)).filter(|shade| shade.alpha > 0.01),
            Paint::Pattern(_) => None,
        }
    }

    fn bounds(&self) -> Bounds {
        self.clips.last().map_or(Bounds::default(), |clip| Bounds {
            x0: clip.x0,
            y0: clip.y0,
            x1: clip.x1,
            y1: clip.y1,
        })
    }

    fn push_clip(&mut self, clip: Clip) {
        if self.clips.len() > DEPTH_MAX {
            self.cannot("clips nested too deeply");
        }
        self.clips.push(clip);
    }

    fn is_done(&self) -> bool {
        self.unable.is_some()
    }
}

/// Bounds of what a path may cover, without following its curves.
fn control_box(path: &BezPath, transform: Affine) -> Option<Rect> {
    let mut points = path.elements().iter().flat_map(|element| match *element {
        PathEl::MoveTo(p) | PathEl::LineTo(p) => vec![p],
        PathEl::QuadTo(c, p) => vec![c, p],
        PathEl::CurveTo(c, d, p) => vec![c, d, p],
        PathEl::ClosePath => Vec::new(),
    });
    let first = transform * points.next()?;
    let all = points.fold(Rect::from_points(first, first), |all, point| all.union_pt(transform * point));
    all.is_finite().then_some(all)
}

/// The rectangle that a path is, when its sides are level and upright.
fn as_rect(path: &BezPath) -> Option<Rect> {
    let (first, rest) = match path.elements() {
        [PathEl::MoveTo(a), rest @ .., PathEl::ClosePath] if (3..=4).contains(&rest.len()) => (*a, rest),
        [PathEl::MoveTo(a), rest @ ..] if rest.len() == 4 => (*a, rest),
        _ => return None,
    };
    let mut at = first;
    let mut level = Vec::with_capacity(4);
    for element in rest {
        let PathEl::LineTo(to) = *element else { return None };
        match (to.x == at.x, to.y == at.y) {
            (true, true) => {}
            (false, true) => level.push(true),
            (true, false) => level.push(false),
            (false, false) => return None,
        }
        at = to;
    }
    let alternate = matches!(level.as_slice(), [a, b, c] | [a, b, c, _] if a != b && b != c);
    (alternate && level.len() >= 3 && (at == first || level.len() == 3)).then(|| path.bounding_box())
}

impl<'a> Device<'a> for Pen<'_> {
    fn draw_path(&mut self, path: &BezPath, props: DrawProps<'a>, mode: &DrawMode) {
        if self.is_done() {
            return;
        }
        match mode {
            DrawMode::Fill(rule) => self.fill(path, &props, *rule),
            DrawMode::Stroke(stroke) => self.stroke(path, &props, stroke),
            DrawMode::FillAndStroke(rule, stroke) => {
                self.fill(path, &props, *rule);
                self.stroke(path, &props, stroke);
            }
            DrawMode::Invisible => {}
        }
    }

    fn push_clip_path(&mut self, path: &ClipPath) {
        if let Some(rect) = as_rect(&path.path) {
            return self.push_clip_rect(&rect);
        }
        let clip = self.clip();
        let mut runs = std::mem::take(&mut self.runs);
        runs.clear();
        let bounds = self.bounds();
        // A clip lets a pixel through that it covers in part: what it clips decides by its own share.
        self.raster.fill(&path.path, Affine::IDENTITY, path.fill, bounds, 0.25, &mut runs);
        self.push_clip(clip.within_runs(&runs));
        self.runs = runs;
    }

    fn push_clip_rect(&mut self, rect: &Rect) {
        let low = |v: f64| (v + 0.25).floor().clamp(-1e6, 1e6) as i32;
        let high = |v: f64| (v - 0.25).ceil().clamp(-1e6, 1e6) as i32;
        let bounds = (low(rect.x0), low(rect.y0), high(rect.x1), high(rect.y1));
        let clip = self.clip().within(bounds);
        self.push_clip(clip);
    }

    fn push_transparency_group(&mut self, opacity: f32, mask: Option<SoftMask<'a>>, blend: BlendMode) {
        let outer = self.group();
        let mix = self.mix(blend, mask.as_ref()).unwrap_or(outer.mix);
        if self.groups.len() > DEPTH_MAX {
            self.cannot("groups nested too deeply");
        }
        self.groups.push(Group { opacity: outer.opacity * opacity, mix });
    }

    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, 'a>, props: DrawProps<'a>, mode: &DrawMode) {
        if self.is_done() {
            return;
        }
        match mode {
            DrawMode::Fill(_) => self.fill_glyphs(run, &props),
            DrawMode::Stroke(stroke) => self.stroke_glyphs(run, &props, stroke),
            DrawMode::FillAndStroke(_, stroke) => {
                self.fill_glyphs(run, &props);
                self.stroke_glyphs(run, &props, stroke);
            }
            DrawMode::Invisible => {}
        }
    }

    fn draw_image(&mut self, image: Image<'a, '_>, props: ImageDrawProps<'a>) {
        if !self.is_done() {
            self.picture(&image, &props);
        }
    }

    fn pop_clip(&mut self) {
        if self.clips.len() > 1 {
            self.clips.pop();
        }
    }

    fn pop_transparency_group(&mut self) {
        if self.groups.len() > 1 {
            self.groups.pop();
        }
    }

    fn draw_rect(&mut self, rect: &Rect, props: DrawProps<'a>, mode: &DrawMode) {
        if let (DrawMode::Fill(_), Paint::Color(_), false) = (mode, &props.paint, self.is_done()) {
            let [_, b, c, _, _, _] = props.transform.as_coeffs();
            let [a, _, _, d, _, _] = props.transform.as_coeffs();
            if (b == 0.0 && c == 0.0) || (a == 0.0 && d == 0.0) {
                return self.fill_rect(props.transform.transform_rect_bbox(*rect), &props);
            }
        }
        self.draw_path(&rect.to_path(0.1), props, mode);
    }
}

/// Outlines by glyph, so that a font's program is run once for each.
type Outlines = HashMap<u128, std::rc::Rc<BezPath>>;

const NONZERO: FillRule = FillRule::NonZero;
