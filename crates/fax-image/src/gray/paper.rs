//! The paper of a scan made white.
//!
//! A scan, or a photograph of a sheet, is a picture of paper: most of it is of one light shade that changes slowly, brighter under the
//! lamp and darker towards an edge. Tiles whose lighter half is of one shade are paper with or without writing; neighbours of nearly
//! the same shade belong to one sheet. The largest sheet is the paper, and with it others that are written on as it is (paper
//! under a shadow). If that is enough of the picture, the paper's shade is known there, and is guessed from around where
//! something else lies on it (a photograph, a stamp). Dividing by that shade makes paper white and leaves photographs on it
//! what they were.

use super::{Gray, PAPER};

/// Edge of a tile, pixels: 2 mm, about one letter.
const TILE: usize = 16;
/// Paper is at least this light; a darker sheet is a picture of something.
const LIGHT_MIN: u8 = 72;
/// Pixels of one shade: within this part of the tile's light end, in percent.
const SAME_PERCENT: u32 = 84;
/// Neighbouring tiles of one sheet differ by this at most, in percent.
const STEP_PERCENT: u32 = 3;
/// Written paper covers this much of the picture, in percent.
const PAPER_MIN_PERCENT: usize = 25;
/// Tiles of written paper on which something is written, in percent.
const WRITTEN_MIN_PERCENT: usize = 4;
/// Paper covers this much when nothing is written on it: a clear sky is as plain, so that paper must be light and evenly so as well.
const BLANK_MIN_PERCENT: usize = 60;
const BLANK_LIGHT_MIN: u8 = 150;
const BLANK_EVEN_PERCENT: u32 = 75;
/// A sheet of its own, as under a shadow, covers this much of the picture, in percent.
const SHEET_MIN_PERCENT: usize = 2;
/// A shadow leaves this much of the light, in percent; what is darker has a colour.
const SHADOW_PERCENT: u64 = 50;
/// Tiles of a picture that can be a sheet of paper: 7 cm × 7 cm. Smaller ones are logos and snapshots.
const TILES_MIN: usize = 1200;
/// What is nearly white already needs nothing.
const WHITE: u8 = 250;

/// One tile of the picture.
#[derive(Debug, Clone, Copy, Default)]
struct Tile {
    /// The shade that a fifth of the pixels are lighter than.
    light: u8,
    /// How far down from there the next half of the pixels reaches: the roughness of the paper.
    spread: u8,
    /// Whether most of it is of one shade.
    is_plain: bool,
    /// Whether something clearly darker stands on it.
    is_written: bool,
}

pub(super) fn whiten(gray: &mut Gray) {
    let (wide, high) = (gray.width.div_ceil(TILE), gray.height.div_ceil(TILE));
    if wide * high < TILES_MIN {
        return;
    }
    let tiles = tiles(gray, wide);
    let Some(sheet) = paper(&tiles, wide) else { return };
    if is_white(&tiles, &sheet) {
        return;
    }
    let white = smooth(&fill(&tiles, &sheet, wide), wide);
    divide(gray, &white, wide);
}

fn tiles(gray: &Gray, wide: usize) -> Vec<Tile> {
    let mut tiles = Vec::with_capacity(wide * gray.height.div_ceil(TILE));
    for rows in gray.data.chunks(gray.width * TILE) {
        for left in (0..gray.width).step_by(TILE) {
            // Paper is of one shade: neighbours are counted apart, so that none waits for the one before it.
            let mut counts = [[0_u16; 256]; 4];
            for row in rows.chunks_exact(gray.width) {
                let (fours, rest) = row[left..(left + TILE).min(gray.width)].as_chunks::<4>();
                for four in fours {
                    counts.iter_mut().zip(four).for_each(|(counts, value)| counts[usize::from(*value)] += 1);
                }
                rest.iter().for_each(|value| counts[0][usize::from(*value)] += 1);
            }
            let mut all = [0_u16; 256];
            for (at, count) in all.iter_mut().enumerate() {
                *count = counts.iter().map(|counts| counts[at]).sum();
            }
            tiles.push(tile(&all));
        }
    }
    tiles
}

fn tile(counts: &[u16; 256]) -> Tile {
    let all: u32 = counts.iter().map(|count| u32::from(*count)).sum();
    // The shades that a fifth and a half of the pixels are lighter than.
    let (mut sum, mut light, mut middle) = (0, None, 0);
    for (shade, count) in counts.iter().enumerate().rev() {
        sum += u32::from(*count);
        if light.is_none() && sum * 5 > all {
            light = Some(shade as u8);
        }
        if sum * 2 > all {
            middle = shade as u8;
            break;
        }
    }
    let light = light.unwrap_or(0);
    let count = |limit: u32| counts[..limit as usize].iter().map(|count| u32::from(*count)).sum::<u32>();
    let other = count(u32::from(light) * SAME_PERCENT / 100);
    let dark = count(u32::from(light) * 60 / 100);
    Tile {
        light,
        spread: light - middle.min(light),
        is_plain: light >= LIGHT_MIN && other * 100 <= all * 60,
        is_written: dark * 100 >= all * 2,
    }
}

/// A connected piece of paper.
struct Sheet {
    number: u32,
    tiles: usize,
    written: usize,
    /// The light of all its tiles.
    light: u64,
}

/// The tiles that are paper, if there is any.
fn paper(tiles: &[Tile], wide: usize) -> Option<Vec<bool>> {
    let mut number = vec![0_u32; tiles.len()];
    let mut sheets = Vec::new();
    let mut open = Vec::new();
    for start in 0..tiles.len() {
        if number[start] != 0 || !tiles[start].is_plain {
            continue;
        }
        let mut sheet = Sheet { number: sheets.len() as u32 + 1, tiles: 0, written: 0, light: 0 };
        number[start] = sheet.number;
        open.push(start);
        while let Some(at) = open.pop() {
            sheet.tiles += 1;
            sheet.written += usize::from(tiles[at].is_written);
            sheet.light += u64::from(tiles[at].light);
            for neighbour in neighbours(at, wide, tiles.len()) {
                let (a, b) = (u32::from(tiles[at].light), u32::from(tiles[neighbour].light));
                let is_near = a.abs_diff(b) * 100 <= a.max(b) * STEP_PERCENT;
                if number[neighbour] == 0 && tiles[neighbour].is_plain && is_near {
                    number[neighbour] = sheet.number;
                    open.push(neighbour);
                }
            }
        }
        sheets.push(sheet);
    }
    let main = sheets.iter().max_by_key(|sheet| sheet.tiles)?;
    let is_paper = |sheet: &Sheet| {
        let is_large = sheet.tiles * 100 >= tiles.len() * SHEET_MIN_PERCENT;
        let is_light = sheet.light * main.tiles as u64 * 100 >= main.light * sheet.tiles as u64 * SHADOW_PERCENT;
        let is_written = sheet.written * main.tiles * 2 >= main.written * sheet.tiles;
        sheet.number == main.number || is_large && is_light && is_written
    };
    let chosen: Vec<bool> = sheets.iter().map(is_paper).collect();
    let count: usize = sheets.iter().zip(&chosen).filter(|(_, chosen)| **chosen).map(|(sheet, _)| sheet.tiles).sum();
    let is_enough = if main.written * 100 >= main.tiles * WRITTEN_MIN_PERCENT {
        count * 100 >= tiles.len() * PAPER_MIN_PERCENT
    } else {
        let mut lights: Vec<u8> =
            tiles.iter().zip(&number).filter(|(_, n)| **n == main.number).map(|(tile, _)| tile.light).collect();
        lights.sort_unstable();
        let at = |percent: usize| lights[(lights.len() - 1) * percent / 100];
        let is_even = u32::from(at(5)) * 100 >= u32::from(at(95)) * BLANK_EVEN_PERCENT;
        count * 100 >= tiles.len() * BLANK_MIN_PERCENT && at(50) >= BLANK_LIGHT_MIN && is_even
    };
    is_enough.then(|| number.iter().map(|n| *n > 0 && chosen[*n as usize - 1]).collect())
}

fn neighbours(at: usize, wide: usize, all: usize) -> impl Iterator<Item = usize> {
    let (left, right) = (!at.is_multiple_of(wide), at % wide + 1 < wide);
    let candidates = [left.then(|| at.wrapping_sub(1)), right.then_some(at + 1), at.checked_sub(wide), Some(at + wide)];
    candidates.into_iter().flatten().filter(move |at| *at < all)
}

/// Rendered pages have white paper already.
fn is_white(tiles: &[Tile], sheet: &[bool]) -> bool {
    let on_sheet = || tiles.iter().zip(sheet).filter(|(_, on)| **on).map(|(tile, _)| tile);
    let white = on_sheet().filter(|tile| tile.light >= WHITE && tile.spread < 8).count();
    white * 100 >= on_sheet().count() * 90
}

/// The shade that becomes white under each tile; where something else lies on the sheet, as around it.
fn fill(tiles: &[Tile], sheet: &[bool], wide: usize) -> Vec<u16> {
    let rough = {
        let mut counts = [0_usize; 256];
        tiles.iter().zip(sheet).filter(|(_, on)| **on).for_each(|(tile, _)| counts[usize::from(tile.spread)] += 1);
        let all: usize = counts.iter().sum();
        let mut sum = 0;
        (0..256_u16).find(|spread| {
            sum += counts[usize::from(*spread)];
            sum * 2 >= all
        })
    }
    .unwrap_or(0);
    let white = |tile: &Tile| {
        let light = u16::from(tile.light);
        // Three standard deviations below the middle of the paper's shades.
        light.saturating_sub(2 + rough * 3).clamp(light * 3 / 4, light * 97 / 100)
    };
    let mut known: Vec<Option<u16>> = tiles.iter().zip(sheet).map(|(tile, on)| on.then(|| white(tile))).collect();
    // From the rim inwards: each tile is the mean of its neighbours that are known.
    let mut rim: Vec<usize> = (0..known.len()).filter(|at| known[*at].is_some()).collect();
    while !rim.is_empty() {
        let mut found: Vec<(usize, u16)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for at in rim.iter().flat_map(|at| neighbours(*at, wide, known.len())) {
            if known[at].is_none() && seen.insert(at) {
                let (mut sum, mut count) = (0_u32, 0);
                for value in neighbours(at, wide, known.len()).filter_map(|at| known[at]) {
                    sum += u32::from(value);
                    count += 1;
                }
                found.push((at, (sum / count.max(1)) as u16));
            }
        }
        found.iter().for_each(|(at, value)| known[*at] = Some(*value));
        rim = found.into_iter().map(|(at, _)| at).collect();
    }
    known.into_iter().map(|value| value.unwrap_or(255)).collect()
}

/// The mean of each tile and its eight neighbours, twice: light changes slowly, writing does not.
fn smooth(values: &[u16], wide: usize) -> Vec<u16> {
    let once = |values: &[u16]| -> Vec<u16> {
        let high = values.len() / wide;
        (0..values.len())
            .map(|at| {
                let (x, y) = (at % wide, at / wide);
                let (xs, ys) = (x.saturating_sub(1)..(x + 2).min(wide), y.saturating_sub(1)..(y + 2).min(high));
                let count = (xs.len() * ys.len()) as u32;
                let sum: u32 = ys.flat_map(|y| xs.clone().map(move |x| u32::from(values[y * wide + x]))).sum();
                ((sum + count / 2) / count) as u16
            })
            .collect()
    };
    once(&once(values))
}

/// What a pixel is multiplied by when paper of each shade becomes white, in 65536ths. Rounded up: the quotient of two octets comes out
/// as a division would give it.
const WHITER: [u32; 256] = {
    let mut whiter = [255 << 16; 256];
    let mut shade = 1;
    while shade < 256 {
        whiter[shade] = (255_u32 << 16).div_ceil(shade as u32);
        shade += 1;
    }
    whiter
};

/// Divides each pixel by the paper's shade there, which changes evenly between the middles of tiles.
fn divide(gray: &mut Gray, white: &[u16], wide: usize) {
    const PARTS: u32 = 2 * TILE as u32;
    let high = white.len() / wide;
    let mut across = vec![0_u32; wide];
    for (y, row) in gray.data.chunks_exact_mut(gray.width).enumerate() {
        // Where the row is between the middles of two tiles: the first of them, and how far on, in parts.
        let place = (2 * y + 1).saturating_sub(TILE);
        let (above, part) = (place / (2 * TILE), (place % (2 * TILE)) as u32);
        let (above, below, part) = if above + 1 < high { (above, above + 1, part) } else { (high - 1, high - 1, 0) };
        for (x, value) in across.iter_mut().enumerate() {
            let (top, bottom) = (u32::from(white[above * wide + x]), u32::from(white[below * wide + x]));
            *value = top * (PARTS - part) + bottom * part;
        }
        let (first, rest) = row.split_at_mut((TILE / 2).min(row.len()));
        divide_run(first, across[0] * PARTS, 0);
        for (at, run) in rest.chunks_mut(TILE).enumerate() {
            let (left, right) = (across[at], across.get(at + 1).copied().unwrap_or(across[at]));
            let step = right.wrapping_sub(left);
            divide_run(run, (left * PARTS).wrapping_add(step), step.wrapping_mul(2));
        }
    }
}

/// Divides neighbours by shades that begin with `paper` and grow by `step`, in parts of parts.
fn divide_run(run: &mut [u8], mut paper: u32, step: u32) {
    const SHIFT: u32 = 2 * (2 * TILE).ilog2();
    for value in run {
        let factor = WHITER[(paper >> SHIFT).min(255) as usize];
        *value = ((u32::from(*value) * factor) >> 16).min(255) as u8;
        paper = paper.wrapping_add(step);
    }
}

/// Compile-time reminder that white paper counts as paper.
const _: () = assert!(WHITE > PAPER);

#[cfg(test)]
mod tests {
    use super::*;

    /// A sheet under a lamp: light falls from one corner to the other; strokes on it have a fixed share of the light.
    fn lit(ink_percent: u32) -> Gray {
        let (width, height) = (640, 480);
        let shade = |x: usize, y: usize| {
            let paper = 230 - (x * 90 / width + y * 50 / height) as u32;
            let grain = (x * 7919 + y * 104_729) as u32 % 9;
            let is_ink = y % 40 > 12 && y % 40 < 30 && x % 11 < 3 && x > 60 && x < 560;
            (if is_ink { paper * ink_percent / 100 } else { paper } + grain - 4) as u8
        };
        let data = (0..width * height).map(|i| shade(i % width, i / width)).collect();
        Gray { width, height, data }
    }

    #[test]
    fn unevenly_lit_paper_becomes_white_and_writing_stays() {
        let mut gray = lit(30);
        gray.whiten();
        let (mut paper, mut ink) = (Vec::new(), Vec::new());
        for (at, value) in gray.data.iter().enumerate() {
            let (x, y) = (at % 640, at / 640);
            let is_ink = y % 40 > 12 && y % 40 < 30 && x % 11 < 3 && x > 60 && x < 560;
            if is_ink { ink.push(*value) } else { paper.push(*value) }
        }
        let white = paper.iter().filter(|value| **value >= PAPER).count();
        assert!(white * 1000 >= paper.len() * 995, "{white} of {} pixels of paper are white", paper.len());
        assert!(ink.iter().all(|value| *value < 128), "ink is at most {:?}", ink.iter().max());
    }

    #[test]
    fn white_pages_and_pictures_without_paper_stay_as_they_are() {
        let (width, height) = (640, 640);
        let texture = |x: usize, y: usize| ((x * x + y * 31 + x * y) % 200) as u8 + 20;
        let rendered = |_: usize, y: usize| if y % 20 < 2 { 0 } else { 255 };
        let dark = |x: usize, _: usize| (x / 40) as u8 + 30;
        let sky = |_: usize, y: usize| 240 - (y / 4) as u8;
        for (name, shade) in [
            ("texture", &texture as &dyn Fn(usize, usize) -> u8),
            ("rendered", &rendered),
            ("dark", &dark),
            ("sky", &sky),
        ] {
            let data = (0..width * height).map(|i| shade(i % width, i / width)).collect();
            let before = Gray { width, height, data };
            let mut after = before.clone();
            after.whiten();
            assert!(after == before, "{name}");
        }
    }

    #[test]
    fn a_photograph_on_the_paper_keeps_its_shades() {
        let mut gray = lit(30);
        for y in 100..300 {
            for x in 200..420 {
                gray.data[y * 640 + x] = 40 + ((x - 200) / 3) as u8;
            }
        }
        let before = gray.clone();
        gray.whiten();
        let inside = |gray: &Gray| gray.data[200 * 640 + 310];
        // Brighter by what the paper around was darker than white, and no more.
        let (was, is) = (u32::from(inside(&before)), u32::from(inside(&gray)));
        assert!(is > was && is < was * 2, "{was} became {is}");
    }

    #[test]
    fn coloured_fields_on_white_keep_their_shades() {
        let (width, height) = (800, 640);
        let field = |x: usize, y: usize| (200..500).contains(&x) && (200..500).contains(&y);
        let writing = |x: usize, y: usize| y % 30 < 6 && x % 14 < 5;
        let shade = |x: usize, y: usize| match (field(x, y), writing(x, y)) {
            (true, false) => 90,
            (true, true) => 20,
            (false, false) => 243,
            (false, true) => 0,
        };
        let data = (0..width * height).map(|i| shade(i % width, i / width)).collect();
        let mut gray = Gray { width, height, data };
        gray.whiten();
        assert!((88..=110).contains(&gray.data[310 * width + 313]), "{}", gray.data[310 * width + 313]);
        assert!(gray.data[620 * width + 13] >= PAPER);
    }

    #[test]
    fn the_smallest_pictures_are_no_problem() {
        for (width, height) in [(1, 1), (3, 1), (1, 40), (17, 15), (0, 0)] {
            let mut gray = Gray { width, height, data: vec![200; width * height] };
            gray.whiten();
            assert_eq!(gray.data.len(), width * height);
        }
    }
}
