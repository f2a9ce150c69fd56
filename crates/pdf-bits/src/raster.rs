//! Shapes into runs of pixels, by the exact share of each pixel that a shape covers.
//!
//! Each edge adds what it covers to the pixels it crosses, signed by its direction; summed along a row this is the winding
//! of the shape in each pixel, in parts (the accumulation that font rasterizers use, kept sparse so that a long thin
//! shape costs what its outline costs). A pixel is inked from a given share on.

use hayro::hayro_interpret::FillRule;
use hayro::kurbo::{Affine, BezPath, PathEl, Point};

/// Pixels `x0..x1` of row `y`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub y: i32,
    pub x0: i32,
    pub x1: i32,
}

/// What an edge adds to a pixel and all to its right.
#[derive(Debug, Clone, Copy)]
struct Step {
    // Pages have 16,384 rows and columns at most.
    y: u16,
    x: u16,
    cover: f32,
}

/// Most steps of one shape: 8 octets each, and as much again to sort them. A line down the page has some 5000.
const STEPS_MAX: usize = 4 << 20;
/// How far a curve may leave its chords, pixels.
const TOLERANCE: f64 = 0.1;

/// Kept between shapes for its memory.
#[derive(Default)]
pub(crate) struct Raster {
    steps: Vec<Step>,
    sorted: Vec<Step>,
    starts: Vec<u32>,
    bounds: Bounds,
    /// A shape had more steps than are kept, and was not drawn whole.
    pub overflowed: bool,
}

/// Pixels that are looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub x0: i32,
    pub y0: i32,
    pub x1: i32,
    pub y1: i32,
}

impl Raster {
    /// The pixels of the path's fill, transformed, of which at least `share` is covered; appended to `runs` from top to
    /// bottom and left to right. Answers the covered area, pixels.
    pub(crate) fn fill(
        &mut self,
        path: &BezPath,
        transform: Affine,
        rule: FillRule,
        bounds: Bounds,
        share: f32,
        runs: &mut Vec<Run>,
    ) -> f32 {
        self.begin(bounds);
        lines(path, transform, |from, to| self.edge(from, to));
        self.end(rule, share, runs)
    }

    fn begin(&mut self, bounds: Bounds) {
        self.steps.clear();
        self.bounds = bounds;
    }

    /// One edge, cut at the bounds. What is left of them counts at their left rim, what is right of them not at all.
    fn edge(&mut self, from: Point, to: Point) {
        let (top, bottom) = (f64::from(self.bounds.y0), f64::from(self.bounds.y1));
        let (left, right) = (f64::from(self.bounds.x0), f64::from(self.bounds.x1));
        if from.y == to.y || from.y.max(to.y) <= top || from.y.min(to.y) >= bottom {
            return;
        }
        if self.steps.len() > STEPS_MAX {
            self.overflowed = true;
            return;
        }
        if !(from.is_finite() && to.is_finite()) {
            return;
        }
        let (sign, a, b) = if from.y < to.y { (1.0, from, to) } else { (-1.0, to, from) };
        let slope = (b.x - a.x) / (b.y - a.y);
        let at = |y: f64| a.x + (y - a.y) * slope;
        let (y0, y1) = (a.y.max(top), b.y.min(bottom));
        // Where it crosses the left and the right bound it changes from "at the rim" to "inside".
        let mut cuts = [y0, y1, y1, y1];
        if slope != 0.0 {
            let crossing = |x: f64| (a.y + (x - a.x) / slope).clamp(y0, y1);
            let (one, other) = (crossing(left), crossing(right));
            cuts = [y0, one.min(other), one.max(other), y1];
        }
        for part in cuts.windows(2) {
            if part[0] < part[1] {
                let (x0, x1) = (at(part[0]).clamp(left, right), at(part[1]).clamp(left, right));
                self.inside(part[0], x0, part[1], x1, sign);
            }
        }
    }

    /// A piece of an edge inside the bounds, downwards.
    fn inside(&mut self, y0: f64, x0: f64, y1: f64, x1: f64, sign: f64) {
        let slope = (x1 - x0) / (y1 - y0);
        let (mut y, mut x) = (y0, x0);
        let first = y0.floor() as i32;
        let last = (y1.ceil() as i32).min(self.bounds.y1);
        for row in first..last {
            let below = f64::from(row + 1).min(y1);
            let next = if below == y1 { x1 } else { (x0 + (below - y0) * slope).clamp(x0.min(x1), x0.max(x1)) };
            self.row(row, x, next, (below - y) * sign);
            (y, x) = (below, next);
        }
    }

    /// An edge within one row, `height` of it covered.
    fn row(&mut self, y: i32, xa: f64, xb: f64, height: f64) {
        if height == 0.0 {
            return;
        }
        let (x0, x1) = (xa.min(xb), xa.max(xb));
        let first = x0.floor();
        let cell = first as i32;
        let end = x1.ceil() as i32;
        let mut add = |x: i32, cover: f64| {
            if x < self.bounds.x1 {
                self.steps.push(Step { y: y as u16, x: x as u16, cover: cover as f32 });
            }
        };
        if end <= cell + 1 {
            let middle = (x0 + x1) * 0.5 - first;
            add(cell, height * (1.0 - middle));
            add(cell + 1, height * middle);
            return;
        }
        // The edge crosses several pixels: each gets the trapezoid to its right.
        let per_pixel = height / (x1 - x0);
        let mut before = 0.0;
        let mut total = 0.0;
        for pixel in cell..end {
            let (left, right) = (x0.max(f64::from(pixel)), x1.min(f64::from(pixel + 1)));
            let (inside, share) = ((right - left) * per_pixel, f64::from(pixel + 1) - (left + right) * 0.5);
            let cover = total + inside * share;
            add(pixel, cover - before);
            (before, total) = (cover, total + inside);
        }
        add(end, height - before);
    }

    fn end(&mut self, rule: FillRule, share: f32, runs: &mut Vec<Run>) -> f32 {
        let Bounds { y0, y1, x1, .. } = self.bounds;
        if self.steps.is_empty() {
            return 0.0;
        }
        self.sort_rows(y0, (y1 - y0) as usize);
        let mut area = 0.0;
        for row in self.starts.windows(2) {
            let steps = &mut self.sorted[row[0] as usize..row[1] as usize];
            if steps.is_empty() {
                continue;
            }
            steps.sort_unstable_by_key(|step| step.x);
            let y = i32::from(steps[0].y);
            let (mut winding, mut open) = (0.0_f32, None);
            let mut index = 0;
            while index < steps.len() {
                let x = steps[index].x;
                while index < steps.len() && steps[index].x == x {
                    winding += steps[index].cover;
                    index += 1;
                }
                let x = i32::from(x);
                let cover = match rule {
                    FillRule::NonZero => winding.abs().min(1.0),
                    FillRule::EvenOdd => {
                        let rest = winding.abs() % 2.0;
                        if rest > 1.0 { 2.0 - rest } else { rest }
                    }
                };
                // A winding that does not end at the last step ends right of the bounds.
                let next = steps.get(index).map_or(if cover > 0.01 { x1 } else { x }, |step| step.x.into());
                area += cover * (next - x) as f32;
                match (cover >= share, open) {
                    (true, None) => open = Some(x),
                    (false, Some(start)) => {
                        runs.push(Run { y, x0: start, x1: x });
                        open = None;
                    }
                    _ => {}
                }
            }
            if let Some(start) = open {
                runs.push(Run { y, x0: start, x1 });
            }
        }
        area
    }

    /// By row, with a count for each: `starts` are the places of the rows in `sorted`.
    fn sort_rows(&mut self, y0: i32, rows: usize) {
        self.starts.clear();
        self.starts.resize(rows + 2, 0);
        for step in &self.steps {
            self.starts[(i32::from(step.y) - y0) as usize + 2] += 1;
        }
        for row in 1..self.starts.len() {
            self.starts[row] += self.starts[row - 1];
        }
        self.sorted.clear();
        self.sorted.resize(self.steps.len(), Step { y: 0, x: 0, cover: 0.0 });
        for step in &self.steps {
            let place = &mut self.starts[(i32::from(step.y) - y0) as usize + 1];
            self.sorted[*place as usize] = *step;
            *place += 1;
        }
        self.starts.truncate(rows + 1);
    }
}

/// Every edge of the path as straight lines, each figure closed.
fn lines(path: &BezPath, transform: Affine, mut edge: impl FnMut(Point, Point)) {
    let (mut start, mut at) = (Point::ZERO, Point::ZERO);
    for element in path.elements() {
        match transform * *element {
            PathEl::MoveTo(to) => {
                edge(at, start);
                (start, at) = (to, to);
            }
            PathEl::LineTo(to) => {
                edge(at, to);
                at = to;
            }
            PathEl::QuadTo(c, to) => {
                curve(
                    at,
                    to,
                    deviation(at, c, to),
                    |t| {
                        let u = 1.0 - t;
                        mix(&[(u * u, at), (2.0 * u * t, c), (t * t, to)])
                    },
                    &mut edge,
                );
                at = to;
            }
            PathEl::CurveTo(c, d, to) => {
                let bend = deviation(at, c, d).max(deviation(c, d, to)) * 2.5;
                curve(
                    at,
                    to,
                    bend,
                    |t| {
                        let u = 1.0 - t;
                        mix(&[(u * u * u, at), (3.0 * u * u * t, c), (3.0 * u * t * t, d), (t * t * t, to)])
                    },
                    &mut edge,
                );
                at = to;
            }
            PathEl::ClosePath => {
                edge(at, start);
                at = start;
            }
        }
    }
    edge(at, start);
}

fn deviation(a: Point, b: Point, c: Point) -> f64 {
    ((a.x - 2.0 * b.x + c.x).abs() + (a.y - 2.0 * b.y + c.y).abs()) * 0.25
}

fn mix(parts: &[(f64, Point)]) -> Point {
    parts
        .iter()
        .fold(Point::ZERO, |sum, (weight, point)| Point::new(sum.x + weight * point.x, sum.y + weight * point.y))
}

/// A curve as chords: so many that none is further from it than the tolerance.
fn curve(from: Point, to: Point, bend: f64, at: impl Fn(f64) -> Point, edge: &mut impl FnMut(Point, Point)) {
    const PIECES_MAX: f64 = 100.0;
    let pieces = (bend / TOLERANCE).sqrt().ceil().clamp(1.0, PIECES_MAX) as u32;
    let mut last = from;
    for piece in 1..pieces {
        let next = at(f64::from(piece) / f64::from(pieces));
        edge(last, next);
        last = next;
    }
    edge(last, to);
}

/// Every straight piece of the path, figures closed only where the path closes them: for lines one pixel wide.
pub(crate) fn segments(path: &BezPath, transform: Affine, mut each: impl FnMut(Point, Point)) {
    let (mut start, mut at) = (Point::ZERO, Point::ZERO);
    for element in path.elements() {
        match transform * *element {
            PathEl::MoveTo(to) => (start, at) = (to, to),
            PathEl::LineTo(to) => {
                each(at, to);
                at = to;
            }
            PathEl::QuadTo(c, to) => {
                curve(
                    at,
                    to,
                    deviation(at, c, to) * 0.5,
                    |t| {
                        let u = 1.0 - t;
                        mix(&[(u * u, at), (2.0 * u * t, c), (t * t, to)])
                    },
                    &mut each,
                );
                at = to;
            }
            PathEl::CurveTo(c, d, to) => {
                let bend = deviation(at, c, d).max(deviation(c, d, to)) * 1.5;
                curve(
                    at,
                    to,
                    bend,
                    |t| {
                        let u = 1.0 - t;
                        mix(&[(u * u * u, at), (3.0 * u * u * t, c), (3.0 * u * t * t, d), (t * t * t, to)])
                    },
                    &mut each,
                );
                at = to;
            }
            PathEl::ClosePath => {
                each(at, start);
                at = start;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hayro::kurbo::{Circle, Rect, Shape};

    use super::*;

    const PAGE: Bounds = Bounds { x0: 0, y0: 0, x1: 100, y1: 50 };

    fn fill(path: &BezPath, rule: FillRule, share: f32) -> Vec<Run> {
        let mut runs = Vec::new();
        Raster::default().fill(path, Affine::IDENTITY, rule, PAGE, share, &mut runs);
        runs
    }

    #[test]
    fn a_rectangle_inks_the_pixels_that_it_covers_enough() {
        // 40 % of column 10 and 30 % of column 20, 50 % of row 3.
        let path = Rect::new(10.6, 3.5, 20.3, 6.0).to_path(0.1);
        let expected: Vec<Run> = (4..6).map(|y| Run { y, x0: 10, x1: 20 }).collect();
        let all = fill(&path, FillRule::NonZero, 0.37);
        assert_eq!(all[1..], expected);
        assert_eq!(all[0], Run { y: 3, x0: 11, x1: 20 }, "a corner has 20 % only");
        assert_eq!(fill(&path, FillRule::NonZero, 0.6)[0], Run { y: 4, x0: 11, x1: 20 });
    }

    #[test]
    fn shapes_are_cut_at_the_page_and_their_area_is_right() {
        let mut runs = Vec::new();
        let mut raster = Raster::default();
        for (circle, area) in [
            (Circle::new((50.0, 25.0), 20.0), 20.0 * 20.0 * std::f64::consts::PI),
            (Circle::new((0.0, 25.0), 20.0), 200.0 * std::f64::consts::PI),
            (Circle::new((100.0, 50.0), 20.0), 100.0 * std::f64::consts::PI),
            (Circle::new((-50.0, 25.0), 20.0), 0.0),
            (Circle::new((50.0, 25.0), 1e9), 5000.0),
        ] {
            runs.clear();
            let path = circle.to_path(0.01);
            let got = raster.fill(&path, Affine::IDENTITY, FillRule::NonZero, PAGE, 0.5, &mut runs);
            assert!((f64::from(got) - area).abs() < area * 0.01 + 0.1, "{circle:?}: {got} of {area}");
            let pixels: i32 = runs.iter().map(|run| run.x1 - run.x0).sum();
            assert!((f64::from(pixels) - area).abs() < area * 0.02 + 0.1, "{circle:?}: {pixels} of {area}");
            assert!(runs.iter().all(|run| run.x0 >= 0 && run.x1 <= 100 && (0..50).contains(&run.y)));
        }
    }

    #[test]
    fn even_odd_leaves_the_hole_that_nonzero_fills() {
        let mut path = Rect::new(10.0, 10.0, 40.0, 40.0).to_path(0.1);
        path.extend(Rect::new(20.0, 20.0, 30.0, 30.0).to_path(0.1));
        let count = |rule| fill(&path, rule, 0.5).iter().map(|run| run.x1 - run.x0).sum::<i32>();
        assert_eq!((count(FillRule::NonZero), count(FillRule::EvenOdd)), (900, 800));
    }
}
