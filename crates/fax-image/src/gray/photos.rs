//! Which tiles of a picture are photograph.
//!
//! Most of such a tile is mid grey and none of it paper (paper and grey together are bold coloured letters); then its rim and
//! the spots inside.

use super::{Gray, INK, PAPER, TILE, TILE_CELLS};

/// How far spots inside a photograph are filled, in tiles.
const FILL_ROUNDS: usize = 8;

/// For each tile whether it is photograph. `darkest` holds the darkest pixel of each cell.
pub(super) fn tiles(gray: &Gray, darkest: &[u8], cells_wide: usize, cells_high: usize) -> Vec<bool> {
    let (wide, high) = (cells_wide.div_ceil(TILE_CELLS), cells_high.div_ceil(TILE_CELLS));
    let (mut mids, mut papers) = (vec![0_usize; wide * high], vec![0_usize; wide * high]);
    for (y, row) in gray.data.chunks_exact(gray.width.max(1)).enumerate() {
        let cells = &darkest[y / super::CELL * cells_wide..][..cells_wide];
        let start = y / TILE * wide;
        for (tile, (pixels, cells)) in row.chunks(TILE).zip(cells.chunks(TILE_CELLS)).enumerate() {
            if cells.iter().all(|dark| *dark >= PAPER) {
                papers[start + tile] += pixels.len();
                continue;
            }
            let (mut mid, mut paper) = (0_u32, 0_u32);
            for value in pixels {
                paper += u32::from(*value >= PAPER);
                mid += u32::from((INK..PAPER).contains(value));
            }
            mids[start + tile] += mid as usize;
            papers[start + tile] += paper as usize;
        }
    }
    let pixels = |index: usize| {
        let (x, y) = (index % wide * TILE, index / wide * TILE);
        TILE.min(gray.width - x) * TILE.min(gray.height - y)
    };
    let sizes: Vec<usize> = (0..wide * high).map(pixels).collect();
    grow(&mids, &papers, &sizes, wide)
}

/// From the pixels of each tile that are mid grey and that are paper, and all it has: at the rims a tile has fewer.
fn grow(mids: &[usize], papers: &[usize], sizes: &[usize], wide: usize) -> Vec<bool> {
    let high = sizes.len() / wide.max(1);
    let share = |count: usize, size: usize, percent: usize| count * 100 > size * percent;
    let tiles = || mids.iter().zip(papers).zip(sizes);
    let mut photo: Vec<bool> = tiles().map(|((m, p), s)| share(*m, *s, 70) && !share(*p, *s, 5)).collect();
    let neighbours = |photo: &[bool], index: usize| {
        let (x, y) = (index % wide, index / wide);
        let (xs, ys) = (x.saturating_sub(1)..(x + 2).min(wide), y.saturating_sub(1)..(y + 2).min(high));
        ys.flat_map(|y| xs.clone().map(move |x| y * wide + x)).filter(|neighbour| photo[*neighbour]).count()
    };
    // The rim of a photograph, and light or dark spots inside one. A straight rim has three neighbours in the photograph,
    // so asking for four keeps the filling of spots from growing into text beside it.
    let rim = |m: usize, p: usize, s: usize| share(m, s, 35) || share(m, s, 5) && m * 4 > (s - p.min(s)) * 3;
    for round in 0..FILL_ROUNDS {
        if !photo.contains(&true) {
            break;
        }
        let before = photo.clone();
        for index in 0..photo.len() {
            let count = neighbours(&before, index);
            photo[index] |= round == 0 && count >= 1 && rim(mids[index], papers[index], sizes[index])
                || count >= 4 && share(mids[index], sizes[index], 8);
        }
        if photo == before {
            break;
        }
    }
    photo
}
