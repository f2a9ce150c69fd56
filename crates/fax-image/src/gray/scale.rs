//! Rows of grey brought to the size of their place: each pixel is the mean of the source's area under it.
//!
//! Rows are pushed as a decoder gives them, so that a large picture is never in memory at full size for this.

use super::Gray;

/// Lengths of source under one target pixel, in [`ALONG`]ths of it all: cells from `first`, the first and the last in part.
struct Span {
    first: usize,
    head: u32,
    inner: u32,
    tail: u32,
    /// Cells: head, some inner ones, tail.
    count: usize,
}

/// What one source row gives to a target row: `DOWN`ths, all rows of a target row together `DOWN`.
fn row_weight(row: usize, target: usize, from: usize, to: usize) -> u16 {
    // How much of the target row lies above a source row's edge. Rounded there, weights add up to exactly one.
    let share = |edge: usize| {
        let (above, start) = (edge as u64 * to as u64, target as u64 * from as u64);
        (above.saturating_sub(start).min(from as u64) * u64::from(DOWN) + from as u64 / 2) / from as u64
    };
    (share(row + 1) - share(row)) as u16
}

/// Cells and weights of each target pixel; the weights of one add up to [`ALONG`].
fn spans(from: usize, to: usize) -> Vec<Span> {
    let unit = ALONG;
    let scale = from as f64 / to as f64;
    (0..to)
        .map(|i| {
            let (start, end) = (i as f64 * scale, ((i + 1) as f64 * scale).min(from as f64));
            let first = (start.floor() as usize).min(from - 1);
            let last = ((end.ceil() as usize).max(first + 1) - 1).min(from - 1);
            let count = last - first + 1;
            let per = f64::from(unit) / (end - start);
            if count == 1 {
                return Span { first, head: unit, inner: 0, tail: 0, count };
            }
            let inner = per as u32;
            let head = ((first as f64 + 1.0 - start) * per) as u32;
            let tail = unit.saturating_sub(head + inner * (count as u32 - 2));
            Span { first, head, inner, tail, count }
        })
        .collect()
}

/// Three weights of each target pixel, when none needs more: scans at 300 dpi are shrunk by half.
fn three_taps(columns: &[Span]) -> Option<Vec<(usize, [u32; 3])>> {
    let taps = |span: &Span| match span.count {
        1 => Some((span.first, [span.head, 0, 0])),
        2 => Some((span.first, [span.head, span.tail, 0])),
        3 => Some((span.first, [span.head, span.inner, span.tail])),
        _ => None,
    };
    columns.iter().map(taps).collect()
}

/// Weights down a column add up to this: 255 times it fits into the 16 bits of a sum.
const DOWN: u32 = 256;
/// Weights along a row.
const ALONG: u32 = 1 << 15;

/// Scales a picture whose rows come one by one from the top.
pub struct Scaler {
    from: (usize, usize),
    columns: Vec<Span>,
    taps: Option<Vec<(usize, [u32; 3])>>,
    /// Rows that have come.
    seen: usize,
    /// Target rows that are finished.
    done: usize,
    /// The unfinished target row at the source's width; two more, so that three can be read everywhere.
    sums: Vec<u16>,
    out: Gray,
}

impl Scaler {
    /// From `from` = (width, height) to `to`. Sizes of 0 are taken for 1.
    pub fn new(from: (usize, usize), to: (usize, usize)) -> Self {
        let (from, to) = ((from.0.max(1), from.1.max(1)), (to.0.max(1), to.1.max(1)));
        let columns = spans(from.0, to.0);
        Self {
            from,
            taps: three_taps(&columns),
            columns,
            seen: 0,
            done: 0,
            sums: vec![0; from.0 + 2],
            out: Gray { width: to.0, height: to.1, data: Vec::with_capacity(to.0 * to.1) },
        }
    }

    /// The next source row, as wide as the source. Missing pixels are white, more of them and rows below the last are left out.
    pub fn row(&mut self, row: &[u8]) {
        let (from, to) = (self.from.1, self.out.height);
        let y = self.seen;
        self.seen += 1;
        let known = row.len().min(self.from.0);
        // The target rows that this one lies under: from the unfinished one to the one with its lower edge.
        while y < from && self.done < to && self.done * from < (y + 1) * to {
            let weight = row_weight(y, self.done, from, to);
            for (sum, value) in self.sums.iter_mut().zip(&row[..known]) {
                *sum += u16::from(*value) * weight;
            }
            self.sums[known..self.from.0].iter_mut().for_each(|sum| *sum += 255 * weight);
            if (self.done + 1) * from > (y + 1) * to {
                return;
            }
            self.finish_row();
        }
    }

    fn finish_row(&mut self) {
        let (sums, out) = (&self.sums, &mut self.out.data);
        // 255 × 256 × 32768 at most.
        let shade = |sum: u32| ((sum + (1 << 22)) >> 23) as u8;
        if self.from.0 == self.out.width {
            out.extend(sums[..self.from.0].iter().map(|sum| ((u32::from(*sum) + DOWN / 2) / DOWN).min(255) as u8));
        } else if let Some(taps) = &self.taps {
            out.extend(taps.iter().map(|(first, weights)| {
                let cells = &sums[*first..*first + 3];
                shade(cells.iter().zip(weights).map(|(cell, weight)| u32::from(*cell) * weight).sum())
            }));
        } else {
            out.extend(self.columns.iter().map(|span| {
                let cells = &sums[span.first..span.first + span.count];
                let mut sum = u64::from(cells[0]) * u64::from(span.head);
                if let [_, inner @ .., last] = cells {
                    sum += inner.iter().map(|cell| u64::from(*cell)).sum::<u64>() * u64::from(span.inner);
                    sum += u64::from(*last) * u64::from(span.tail);
                }
                ((sum + (1 << 22)) >> 23).min(255) as u8
            }));
        }
        self.sums.fill(0);
        self.done += 1;
    }

    /// The scaled picture. What rows did not come for is white.
    pub fn finish(mut self) -> Gray {
        self.out.data.resize(self.out.width * self.out.height, 255);
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaled(from: (usize, usize), to: (usize, usize), shade: impl Fn(usize, usize) -> u8) -> Gray {
        let mut scaler = Scaler::new(from, to);
        for y in 0..from.1 {
            scaler.row(&(0..from.0).map(|x| shade(x, y)).collect::<Vec<u8>>());
        }
        scaler.finish()
    }

    #[test]
    fn scaling_keeps_the_mean() {
        let sizes = [
            ((7, 3), (3, 7)),
            ((333, 77), (100, 50)),
            ((100, 50), (333, 77)),
            ((1, 5), (5, 1)),
            ((9, 9), (9, 9)),
            ((4000, 3000), (40, 30)),
            ((2550, 600), (1728, 396)),
        ];
        for (from, to) in sizes {
            let gray = scaled(from, to, |x, y| if x * 3 < from.0 || y * 5 < from.1 { 0 } else { 255 });
            let mean = |values: &mut dyn Iterator<Item = u8>| {
                let (sum, count) = values.fold((0.0, 0.0), |(sum, count), v| (sum + f64::from(v), count + 1.0));
                sum / count
            };
            let all = (0..from.1).flat_map(|y| (0..from.0).map(move |x| (x, y)));
            let expected = mean(&mut all.map(|(x, y)| if x * 3 < from.0 || y * 5 < from.1 { 0 } else { 255 }));
            let got = mean(&mut gray.data.iter().copied());
            assert_eq!((gray.width, gray.height, gray.data.len()), (to.0, to.1, to.0 * to.1));
            assert!((got - expected).abs() < 3.0, "{from:?} to {to:?}: {got} for {expected}");
        }
    }

    #[test]
    fn white_stays_white_and_black_black() {
        for to in [(1728, 2200), (500, 7), (2550, 3300), (3000, 4000)] {
            for shade in [0, 255] {
                let gray = scaled((2550, 330), to, |_, _| shade);
                assert!(gray.data.iter().all(|value| *value == shade), "{to:?} {shade}");
            }
        }
    }

    #[test]
    fn a_picture_of_its_own_size_stays_as_it_is() {
        let gray = scaled((37, 11), (37, 11), |x, y| (x * 7 + y * 3) as u8);
        assert!(gray.data.iter().enumerate().all(|(i, value)| *value == (i % 37 * 7 + i / 37 * 3) as u8));
    }

    #[test]
    fn missing_rows_and_pixels_are_white() {
        let mut scaler = Scaler::new((10, 10), (5, 5));
        (0..4).for_each(|_| scaler.row(&[0; 6]));
        let gray = scaler.finish();
        assert_eq!(&gray.data[..10], [0, 0, 0, 255, 255, 0, 0, 0, 255, 255]);
        assert!(gray.data[10..].iter().all(|value| *value == 255));
    }
}
