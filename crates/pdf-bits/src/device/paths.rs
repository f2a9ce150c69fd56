//! Fills, strokes and rectangles.

use hayro::hayro_interpret::{DrawProps, FillRule, Paint, StrokeProps};
use hayro::kurbo::{self, Affine, BezPath, Cap, Join, Point, Rect, Stroke, StrokeOpts};

use super::{NONZERO, Pen, Shade, control_box};
use crate::canvas::Mix;
use crate::ink::{self, Ink};
use crate::raster::{self, Run};

/// What has runs shorter than this on average is lines or letters, pixels.
const THIN_PX: i32 = 9;
/// A line up to this width is drawn one pixel wide along its middle.
const HAIRLINE_PX: f64 = 1.5;
/// How light the tint of a whole page may be taken for white.
const PAPER_MIN: u8 = 190;
/// Longest line followed pixel by pixel after it was cut at the page: the diagonal of the largest page.
const LINE_STEPS_MAX: i32 = 40_000;

impl Pen<'_> {
    pub(super) fn fill(&mut self, path: &BezPath, props: &DrawProps<'_>, rule: FillRule) {
        let Some(mix) = self.mix(props.blend_mode, props.soft_mask.as_ref()) else { return };
        let Some(bounds) = control_box(path, props.transform) else { return };
        if self.misses(bounds) {
            return;
        }
        let runs = self.rasterize(path, props.transform, rule);
        self.paint_runs(&runs, &props.paint, mix, false);
        self.runs = runs;
    }

    /// Whether nothing of it is inside the clip.
    pub(super) fn misses(&self, area: Rect) -> bool {
        let clip = self.bounds();
        area.x1 < f64::from(clip.x0)
            || area.y1 < f64::from(clip.y0)
            || area.x0 > f64::from(clip.x1)
            || area.y0 > f64::from(clip.y1)
            || clip.x0 >= clip.x1
            || clip.y0 >= clip.y1
    }

    /// Runs of a filled path; give them back to `self.runs` when done.
    pub(super) fn rasterize(&mut self, path: &BezPath, transform: Affine, rule: FillRule) -> Vec<Run> {
        let mut runs = std::mem::take(&mut self.runs);
        runs.clear();
        let bounds = self.bounds();
        let area = self.raster.fill(path, transform, rule, bounds, self.share, &mut runs);
        let inked: i32 = runs.iter().map(|run| run.x1 - run.x0).sum();
        // Finer than a pixel: better too bold than gone.
        if (inked as f32) < area * 0.6 && self.share > 0.12 {
            runs.clear();
            self.raster.fill(path, transform, rule, bounds, 0.12, &mut runs);
        }
        runs
    }

    /// Paints what a shape covers: thin shapes in a solid ink, areas in their shade.
    pub(super) fn paint_runs(&mut self, runs: &[Run], paint: &Paint<'_>, mix: Mix, is_line: bool) {
        let Some(first) = runs.first() else { return };
        let Some(shade) = self.color(paint, mix) else {
            if let Paint::Pattern(pattern) = paint {
                self.paint_pattern(runs, pattern, mix, is_line);
            }
            return;
        };
        let inked: i32 = runs.iter().map(|run| run.x1 - run.x0).sum();
        let rows = runs.last().map_or(1, |last| last.y - first.y + 1);
        let is_thin = self.in_glyph > 0 || inked < THIN_PX * runs.len() as i32 || rows < THIN_PX;
        let clip = self.clip();
        if is_thin {
            let middle = runs[runs.len() / 2];
            let ink = self.thin_ink(shade, (middle.x0 + middle.x1) / 2, middle.y);
            self.canvas.runs(runs, &ink, shade.mix, &clip);
        } else {
            let shade = self.paper(shade, inked);
            self.canvas.runs(runs, &Ink::area(shade.luma), shade.mix, &clip);
            self.note(runs, shade);
        }
    }

    /// A light area over more than half of the page is its paper: as dots it would cost line time for nothing.
    fn paper(&self, shade: Shade, pixels: i32) -> Shade {
        let page = self.canvas.width() * self.canvas.height();
        if shade.luma >= PAPER_MIN && pixels > page / 2 { Shade { luma: 255, ..shade } } else { shade }
    }

    /// The ink of a line or letter here. Light lines on paper become dots, light letters do not.
    pub(super) fn thin_ink(&self, shade: Shade, x: i32, y: i32) -> Ink {
        let ground = self.canvas.shade_at(x, y);
        if self.in_glyph > 0 { ink::solid(shade.luma, ground).ink } else { ink::thin(shade.luma, ground) }
    }

    /// Remembers how light the page is there now.
    fn note(&mut self, runs: &[Run], shade: Shade) {
        let clip = self.clip();
        for run in runs.iter().filter(|run| (clip.y0..clip.y1).contains(&run.y)) {
            let (x0, x1) = (run.x0.max(clip.x0), run.x1.min(clip.x1));
            if x0 < x1 {
                let luma = match shade.mix {
                    Mix::Cover => shade.luma,
                    Mix::Darken => shade.luma.min(self.canvas.shade_at((x0 + x1) / 2, run.y)),
                    Mix::Lighten => shade.luma.max(self.canvas.shade_at((x0 + x1) / 2, run.y)),
                };
                self.canvas.note_shade(run.y, x0, x1, luma);
            }
        }
    }

    /// A level rectangle, in pixels. Its sides go to whole pixels, so that neighbours meet and rules are equally thick; it is never
    /// thinner than one pixel.
    pub(super) fn fill_rect(&mut self, rect: Rect, props: &DrawProps<'_>) {
        let Some(mix) = self.mix(props.blend_mode, props.soft_mask.as_ref()) else { return };
        if self.misses(rect) || !rect.is_finite() {
            return;
        }
        let Some(shade) = self.color(&props.paint, mix) else { return };
        let (x0, x1) = snap(rect.x0, rect.x1);
        let (y0, y1) = snap(rect.y0, rect.y1);
        let clip = self.clip();
        if x1 - x0 < THIN_PX || y1 - y0 < THIN_PX || self.in_glyph > 0 {
            let ink = self.thin_ink(shade, (x0 + x1) / 2, (y0 + y1) / 2);
            return self.canvas.rect((x0, y0, x1, y1), &ink, shade.mix, &clip);
        }
        let (width, height) = (x1.min(clip.x1) - x0.max(clip.x0), y1.min(clip.y1) - y0.max(clip.y0));
        let shade = self.paper(shade, width.max(0) * height.max(0));
        self.canvas.rect((x0, y0, x1, y1), &Ink::area(shade.luma), shade.mix, &clip);
        let runs: Vec<Run> = (y0.max(clip.y0)..y1.min(clip.y1)).map(|y| Run { y, x0, x1 }).collect();
        self.note(&runs, shade);
    }

    pub(super) fn stroke(&mut self, path: &BezPath, props: &DrawProps<'_>, stroke: &StrokeProps) {
        let Some(mix) = self.mix(props.blend_mode, props.soft_mask.as_ref()) else { return };
        let Some(bounds) = control_box(path, props.transform) else { return };
        let (across, down) = widths(props.transform, f64::from(stroke.line_width));
        let reach = across.max(down) * f64::from(stroke.miter_limit).clamp(1.5, 20.0);
        if self.misses(bounds.inflate(reach + 1.0, reach + 1.0)) || !reach.is_finite() {
            return;
        }
        let dashed = stroke.dash_array.iter().any(|length| *length > 0.0);
        let thin = across.max(down) <= HAIRLINE_PX;
        if let (true, Some(shade)) = (thin, self.color(&props.paint, mix)) {
            if dashed {
                self.hairline(&dash(path, stroke, props.transform), props.transform, shade);
            } else {
                self.hairline(path, props.transform, shade);
            }
            return;
        }
        if !dashed && self.level_lines(path, props, stroke, (across, down), mix) {
            return;
        }
        let outline = outline(path, props.transform, stroke, across.min(down));
        let runs = self.rasterize(&outline, props.transform, NONZERO);
        self.paint_runs(&runs, &props.paint, mix, true);
        self.runs = runs;
    }

    /// A single level or upright line as the rectangle that it is, its sides at whole pixels. Answers whether it was one.
    fn level_lines(
        &mut self,
        path: &BezPath,
        props: &DrawProps<'_>,
        stroke: &StrokeProps,
        width: (f64, f64),
        mix: Mix,
    ) -> bool {
        let [kurbo::PathEl::MoveTo(a), kurbo::PathEl::LineTo(b)] = path.elements() else { return false };
        if stroke.line_cap == Cap::Round {
            return false;
        }
        let (a, b) = (props.transform * *a, props.transform * *b);
        let (across, down) = width;
        let cap = if stroke.line_cap == Cap::Square { 0.5 } else { 0.0 };
        let rect = if (a.y - b.y).abs() < 0.05 && a.x != b.x {
            let (x, y) = ((a.x.min(b.x) - across * cap, a.x.max(b.x) + across * cap), (a.y + b.y) / 2.0);
            let y = around(y, down);
            Rect::new(x.0, y.0, x.1, y.1)
        } else if (a.x - b.x).abs() < 0.05 && a.y != b.y {
            let (x, y) = ((a.x + b.x) / 2.0, (a.y.min(b.y) - down * cap, a.y.max(b.y) + down * cap));
            let x = around(x, across);
            Rect::new(x.0, y.0, x.1, y.1)
        } else {
            return false;
        };
        let (x0, x1) = snap(rect.x0, rect.x1);
        let (y0, y1) = snap(rect.y0, rect.y1);
        let clip = self.clip();
        let rows: Vec<Run> = (y0.max(clip.y0)..y1.min(clip.y1)).map(|y| Run { y, x0, x1 }).collect();
        self.paint_runs(&rows, &props.paint, mix, true);
        true
    }

    /// Lines one pixel wide, followed pixel by pixel.
    fn hairline(&mut self, path: &BezPath, transform: Affine, shade: Shade) {
        let clip = self.clip();
        let mut ink = None;
        let (left, right) = (f64::from(clip.x0) - 1.0, f64::from(clip.x1) + 1.0);
        let (top, bottom) = (f64::from(clip.y0) - 1.0, f64::from(clip.y1) + 1.0);
        let mut pieces = Vec::new();
        raster::segments(path, transform, |a, b| {
            if let Some((a, b)) = cut(a, b, Rect::new(left, top, right, bottom)) {
                pieces.push((a, b));
            }
        });
        for (a, b) in pieces {
            let (x, y) = (((a.x + b.x) / 2.0) as i32, ((a.y + b.y) / 2.0) as i32);
            let ink = *ink.get_or_insert_with(|| self.thin_ink(shade, x, y));
            self.line(a, b, &ink, shade.mix, &clip);
        }
    }

    fn line(&mut self, a: Point, b: Point, ink: &Ink, mix: Mix, clip: &crate::clip::Clip) {
        let (dx, dy) = (b.x - a.x, b.y - a.y);
        if dx.abs() >= dy.abs() {
            let (a, b) = if dx >= 0.0 { (a, b) } else { (b, a) };
            let (x0, x1) = (a.x.floor() as i32, b.x.floor() as i32);
            let slope = if dx == 0.0 { 0.0 } else { (b.y - a.y) / (b.x - a.x) };
            // One run for each row that the line passes.
            let row = |x: i32| {
                let at = (f64::from(x) + 0.5).clamp(a.x, b.x);
                (a.y + (at - a.x) * slope).floor() as i32
            };
            let (mut start, mut y) = (x0, row(x0));
            for x in (x0 + 1)..=x1.min(x0 + LINE_STEPS_MAX) {
                let now = row(x);
                if now != y {
                    self.canvas.run(y, start, x, ink, mix, clip);
                    (start, y) = (x, now);
                }
            }
            self.canvas.run(y, start, x1 + 1, ink, mix, clip);
        } else {
            let (a, b) = if dy >= 0.0 { (a, b) } else { (b, a) };
            let (y0, y1) = (a.y.floor() as i32, b.y.floor() as i32);
            let slope = (b.x - a.x) / (b.y - a.y);
            for y in y0..=y1.min(y0 + LINE_STEPS_MAX) {
                let at = (f64::from(y) + 0.5).clamp(a.y, b.y);
                let x = (a.x + (at - a.y) * slope).floor() as i32;
                self.canvas.run(y, x, x + 1, ink, mix, clip);
            }
        }
    }
}

/// How wide a line of this width is across and down the page, pixels.
fn widths(transform: Affine, width: f64) -> (f64, f64) {
    let [a, b, c, d, _, _] = transform.as_coeffs();
    (a.hypot(c) * width, b.hypot(d) * width)
}

/// An interval at whole pixels, one at least.
fn snap(from: f64, to: f64) -> (i32, i32) {
    let clamp = |v: f64| v.clamp(-1e6, 1e6);
    let (from, to) = (clamp(from), clamp(to));
    if to - from < HAIRLINE_PX {
        let at = ((from + to) / 2.0).floor() as i32;
        return (at, at + 1);
    }
    (from.round() as i32, to.round() as i32)
}

/// An interval of whole width around a middle.
fn around(middle: f64, width: f64) -> (f64, f64) {
    let width = width.round().max(1.0);
    let start = (middle - width / 2.0).round();
    (start, start + width)
}

/// The part of a line inside a rectangle (Liang and Barsky).
fn cut(a: Point, b: Point, area: Rect) -> Option<(Point, Point)> {
    let (d, mut from, mut to) = (b - a, 0.0_f64, 1.0_f64);
    if !(a.is_finite() && b.is_finite()) {
        return None;
    }
    for (step, room) in [(-d.x, a.x - area.x0), (d.x, area.x1 - a.x), (-d.y, a.y - area.y0), (d.y, area.y1 - a.y)] {
        if step == 0.0 {
            if room < 0.0 {
                return None;
            }
        } else if step < 0.0 {
            from = from.max(room / step);
        } else {
            to = to.min(room / step);
        }
    }
    (from <= to).then(|| (a + d * from, a + d * to))
}

/// Most dashes of one path; more are not told apart on paper.
const DASHES_MAX: usize = 50_000;

/// The path cut into its dashes, in its own space.
fn dash(path: &BezPath, stroke: &StrokeProps, transform: Affine) -> BezPath {
    let lengths: Vec<f64> = stroke.dash_array.iter().map(|length| f64::from(length.max(0.0))).collect();
    let period: f64 = lengths.iter().sum();
    let (across, down) = widths(transform, period);
    // Dashes finer than two pixels are a line.
    if across.max(down) < 2.0 || period <= 0.0 || transform.determinant() == 0.0 {
        return path.clone();
    }
    let inverse = transform.inverse();
    let mut dashes = Dashes::new(&lengths, f64::from(stroke.dash_offset));
    raster::segments(path, transform, |a, b| dashes.line(inverse * a, inverse * b));
    dashes.out
}

/// Walks along lines and keeps what lies under the dashes. An odd number of lengths is used twice (ISO 32000-1 §8.4.3.6).
struct Dashes<'l> {
    lengths: &'l [f64],
    offset: f64,
    index: usize,
    left: f64,
    at: Option<Point>,
    pieces: usize,
    out: BezPath,
}

impl<'l> Dashes<'l> {
    fn new(lengths: &'l [f64], offset: f64) -> Self {
        let period: f64 = lengths.iter().sum::<f64>() * if lengths.len().is_multiple_of(2) { 1.0 } else { 2.0 };
        let offset = offset.rem_euclid(period);
        Self { lengths, offset, index: 0, left: 0.0, at: None, pieces: 0, out: BezPath::new() }
    }

    /// A new figure begins with the pattern's beginning.
    fn begin(&mut self, at: Point) {
        (self.index, self.left) = (0, self.lengths[0]);
        let mut skip = self.offset;
        while skip >= self.left {
            skip -= self.left;
            self.index += 1;
            self.left = self.lengths[self.index % self.lengths.len()];
        }
        self.left -= skip;
        if self.index.is_multiple_of(2) {
            self.out.move_to(at);
        }
    }

    fn line(&mut self, a: Point, b: Point) {
        let near = 1e-6 * (1.0 + a.x.abs() + a.y.abs());
        if self.at.is_none_or(|at| at.distance(a) > near) {
            self.begin(a);
        }
        self.at = Some(b);
        let length = a.distance(b);
        let mut done = 0.0;
        while length - done > self.left && self.pieces < DASHES_MAX {
            done += self.left;
            let point = a.lerp(b, done / length);
            if self.index.is_multiple_of(2) {
                self.out.line_to(point)
            } else {
                self.out.move_to(point)
            }
            self.index += 1;
            self.left = self.lengths[self.index % self.lengths.len()];
            self.pieces += 1;
        }
        self.left -= length - done;
        if self.index.is_multiple_of(2) {
            self.out.line_to(b);
        }
    }
}

fn outline(path: &BezPath, transform: Affine, stroke: &StrokeProps, width_px: f64) -> BezPath {
    let scale = transform.determinant().abs().sqrt().max(1e-9);
    // Never thinner than a pixel.
    let width = f64::from(stroke.line_width).max(1.0 / scale);
    let round = |join: Join| if width_px <= 2.0 && join == Join::Round { Join::Bevel } else { join };
    let style = Stroke {
        width,
        join: round(stroke.line_join),
        miter_limit: f64::from(stroke.miter_limit),
        start_cap: stroke.line_cap,
        end_cap: stroke.line_cap,
        dash_pattern: Default::default(),
        dash_offset: 0.0,
    };
    let dashed =
        if stroke.dash_array.iter().any(|length| *length > 0.0) { Some(dash(path, stroke, transform)) } else { None };
    let path = dashed.as_ref().unwrap_or(path);
    kurbo::stroke(path.elements().iter().copied(), &style, &StrokeOpts::default(), 0.2 / scale)
}
