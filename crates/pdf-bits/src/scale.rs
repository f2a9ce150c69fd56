//! Pictures brought to the size of their place: each pixel is the mean of the source's area under it.

/// Lengths of source under one target pixel, in 256ths of it all: from `first`, `weights` of the cells in order.
struct Span {
    first: usize,
    head: u32,
    inner: u32,
    tail: u32,
    /// Cells: head, some inner ones, tail.
    count: usize,
}

/// Cells and weights of each target pixel; the weights of one add up to `unit` nearly, never more.
fn spans(from: usize, to: usize, unit: u32) -> Vec<Span> {
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

/// First cell and three weights of each target pixel, when none needs more: scans at 300 dpi are shrunk by half.
fn three_taps(columns: &[Span]) -> Option<Vec<(usize, [u32; 3])>> {
    let taps = |span: &Span| match span.count {
        1 => Some((span.first, [span.head, 0, 0])),
        2 => Some((span.first, [span.head, span.tail, 0])),
        3 => Some((span.first, [span.head, span.inner, span.tail])),
        _ => None,
    };
    columns.iter().map(taps).collect()
}

/// A small picture is made smooth when it is enlarged by these factors: blocks would be steps in its letters. What is enlarged
/// further is meant as blocks.
const SMOOTH: std::ops::Range<f64> = 1.25..8.0;

/// Cells and weights for enlarging: each pixel between the two cells whose middles are nearest.
fn smooth_spans(from: usize, to: usize, unit: u32) -> Vec<Span> {
    let scale = from as f64 / to as f64;
    (0..to)
        .map(|i| {
            let middle = ((i as f64 + 0.5) * scale - 0.5).clamp(0.0, from as f64 - 1.0);
            let first = (middle.floor() as usize).min(from - 1);
            let tail = ((middle - first as f64) * f64::from(unit)) as u32;
            let count = if tail > 0 && first + 1 < from { 2 } else { 1 };
            Span { first, head: if count == 2 { unit - tail } else { unit }, inner: 0, tail, count }
        })
        .collect()
}

/// Rows of grey, `width` × `height`, scaled to `to_width` × `to_height`. `row(y)` gives a source row. All sizes are at least 1.
pub(crate) fn gray<'s>(
    (width, height): (usize, usize),
    (to_width, to_height): (usize, usize),
    mut row: impl FnMut(usize, &mut Vec<u8>) -> Option<&'s [u8]>,
) -> Vec<u8> {
    let enlarged = (to_width as f64 / width as f64).min(to_height as f64 / height as f64);
    let spans = if SMOOTH.contains(&enlarged) { smooth_spans } else { spans };
    let columns = spans(width, to_width, 1 << 15);
    let taps = three_taps(&columns);
    let rows = spans(height, to_height, 256);
    let mut out = Vec::with_capacity(to_width * to_height);
    // Two more than the row has, so that three can be read everywhere.
    let mut sums = vec![0_u16; width + 2];
    let mut own = Vec::new();
    for span in &rows {
        sums.fill(0);
        for cell in 0..span.count {
            let weight = match cell {
                0 => span.head,
                _ if cell + 1 == span.count => span.tail,
                _ => span.inner,
            } as u16;
            let borrowed = row(span.first + cell, &mut own);
            let source = borrowed.unwrap_or(&own);
            for (sum, value) in sums.iter_mut().zip(source) {
                // 255 × 256 at most in all.
                *sum += u16::from(*value) * weight;
            }
        }
        if width == to_width {
            out.extend(sums[..width].iter().map(|sum| (sum >> 8) as u8 + u8::from(sum & 0x80 != 0 && *sum < 0xff00)));
            continue;
        }
        match &taps {
            Some(taps) => out.extend(taps.iter().map(|(first, weights)| {
                let cells = &sums[*first..*first + 3];
                let sum: u32 = cells.iter().zip(weights).map(|(cell, weight)| u32::from(*cell) * weight).sum();
                // 255 × 256 × 32768 at most.
                ((sum + (1 << 22)) >> 23) as u8
            })),
            None => out.extend(columns.iter().map(|span| {
                let cells = &sums[span.first..span.first + span.count];
                let mut sum = u64::from(cells[0]) * u64::from(span.head);
                if let [_, inner @ .., last] = cells {
                    sum += inner.iter().map(|cell| u64::from(*cell)).sum::<u64>() * u64::from(span.inner);
                    sum += u64::from(*last) * u64::from(span.tail);
                }
                ((sum + (1 << 22)) >> 23).min(255) as u8
            })),
        }
    }
    out
}

/// Rows of packed bits as a picture lies in a PDF.
pub(crate) struct Packed<'s> {
    pub width: usize,
    pub height: usize,
    /// Most significant bit first, rows of whole octets.
    pub data: &'s [u8],
    /// All bits of this octet turned over: what is 1 then is ink.
    pub flip: u8,
}

impl Packed<'_> {
    /// Calls with the first and the last+1 column of every run of ink in a row.
    fn runs(&self, y: usize, mut each: impl FnMut(usize, usize)) {
        let stride = self.width.div_ceil(8);
        let row = self.data.get(y * stride..).unwrap_or_default();
        let row = &row[..row.len().min(stride)];
        let mut open = None;
        let mut at = 0;
        for chunk in row.chunks(8) {
            let mut octets = [0; 8];
            for (to, from) in octets.iter_mut().zip(chunk) {
                *to = from ^ self.flip;
            }
            let word = u64::from_be_bytes(octets);
            let bits = (chunk.len() * 8).min(self.width - at);
            let mut place = 0;
            while place < bits {
                let rest = word << place;
                let same = if open.is_some() { (!rest).leading_zeros() } else { rest.leading_zeros() } as usize;
                place += same.min(bits - place);
                if place < bits {
                    match open.take() {
                        Some(start) => each(start, at + place),
                        None => open = Some(at + place),
                    }
                }
            }
            at += bits;
        }
        if let Some(start) = open {
            each(start, at.min(self.width));
        }
    }

    /// Scales to `to_width` × `to_height`; calls for each target row with its words, in which a pixel is set when ink covers
    /// `share` of it.
    pub(crate) fn scale(&self, (to_width, to_height): (usize, usize), share: f32, mut each: impl FnMut(usize, &[u64])) {
        let rows = spans(self.height, to_height, 256);
        let ratio = to_width as f64 / self.width as f64;
        // Ink of a pixel: 256 across × 256 down; `sums` holds what each step adds for all pixels to its right.
        let mut sums = vec![0_i32; to_width + 2];
        let mut words = vec![0_u64; to_width.div_ceil(64)];
        let limit = (share * 65536.0) as i32;
        let mut touched = vec![false; to_width.div_ceil(64) + 1];
        let place: Vec<u32> = (0..=self.width).map(|x| (x as f64 * ratio * 256.0).round() as u32).collect();
        for (y, span) in rows.iter().enumerate() {
            let mut any = false;
            for cell in 0..span.count {
                let weight = match cell {
                    0 => span.head,
                    _ if cell + 1 == span.count => span.tail,
                    _ => span.inner,
                } as i32;
                self.runs(span.first + cell, |from, to| {
                    any = true;
                    for (x, sign) in [(place[from], weight), (place[to], -weight)] {
                        let (pixel, part) = ((x >> 8) as usize, (x & 0xff) as i32);
                        sums[pixel] += sign * (256 - part);
                        sums[pixel + 1] += sign * part;
                        touched[pixel / 64] = true;
                        touched[(pixel + 1) / 64] = true;
                    }
                });
            }
            words.fill(0);
            if any {
                let mut ink = 0;
                let blocks = words.iter_mut().zip(sums[..to_width].chunks_mut(64)).zip(&mut touched);
                for ((word, steps), touched) in blocks {
                    if !std::mem::take(touched) {
                        *word = if ink >= limit { u64::MAX } else { 0 };
                        continue;
                    }
                    let mut bits = 0_u64;
                    let count = steps.len();
                    for step in steps {
                        ink += *step;
                        *step = 0;
                        bits = bits << 1 | u64::from(ink >= limit);
                    }
                    *word = bits << (64 - count);
                }
                sums[to_width..].fill(0);
            }
            each(y, &words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_keeps_the_mean_and_stays_in_range() {
        for (from, to) in
            [((7, 3), (3, 7)), ((333, 77), (100, 50)), ((100, 50), (333, 77)), ((1, 5), (5, 1)), ((9, 9), (9, 9))]
        {
            let source: Vec<u8> = (0..from.0 * from.1).map(|i| if i % from.0 * 3 < from.0 { 0 } else { 255 }).collect();
            let scaled = gray(from, to, |y, _| Some(&source[y * from.0..(y + 1) * from.0]));
            let mean = |data: &[u8]| data.iter().map(|v| f64::from(*v)).sum::<f64>() / data.len() as f64;
            assert_eq!(scaled.len(), to.0 * to.1);
            assert!(
                (mean(&scaled) - mean(&source)).abs() < 3.0,
                "{from:?} {to:?}: {} {}",
                mean(&scaled),
                mean(&source)
            );
        }
        let white = gray((2550, 33), (1728, 20), |_, own| {
            own.clear();
            own.resize(2550, 255);
            None
        });
        assert!(white.iter().all(|value| *value == 255), "white stays white");
    }

    #[test]
    fn a_small_picture_is_enlarged_without_steps() {
        let slope = gray((8, 4), (32, 16), |_, own| {
            own.clear();
            own.extend((0..8).map(|x| x * 30));
            None
        });
        for row in slope.chunks(32) {
            assert!(row.windows(2).all(|pair| pair[0] <= pair[1] && pair[1] - pair[0] <= 8), "{row:?}");
        }
    }

    #[test]
    fn packed_rows_scale_like_their_grey_picture() {
        let (width, height) = (130, 40);
        let stride = 17;
        let data: Vec<u8> = (0..stride * height).map(|i| (i * 37 % 251) as u8).collect();
        let packed = Packed { width, height, data: &data, flip: 0 };
        for (to_width, to_height) in [(130, 40), (65, 20), (88, 27), (150, 45)] {
            let grey = gray((width, height), (to_width, to_height), |y, own| {
                own.clear();
                own.extend((0..width).map(|x| if data[y * stride + x / 8] << (x % 8) & 0x80 != 0 { 255 } else { 0 }));
                None
            });
            let mut differing = 0;
            packed.scale((to_width, to_height), 0.5, |y, words| {
                for x in 0..to_width {
                    let value = i32::from(grey[y * to_width + x]);
                    let set = words[x / 64] >> (63 - x % 64) & 1 == 1;
                    differing += usize::from((value - 128).abs() > 4 && set != (value > 128));
                }
            });
            assert_eq!(differing, 0, "{to_width} × {to_height}");
        }
    }
}
