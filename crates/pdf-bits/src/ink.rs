//! Inks: black, white and ordered dots between them.
//!
//! Areas of a shade get dots in a fixed order, which code well and keep lines short; pictures are diffused elsewhere.
//! Text and thin lines are never dots: see [`solid`].

use crate::canvas::Plane;

/// Eight rows of 64 pixels that repeat over the page, 1 = black.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ink {
    rows: [u64; 8],
    plane: Plane,
}

/// What is darker is black, what is lighter is white, when an area is filled.
/// Dark headings and pale stripes of tables read better so, and take less time on the line.
const BLACK_MAX: u8 = 64;
const WHITE_MIN: u8 = 236;

/// Two dots growing in every 4 × 4 pixels, at 45°, white ones from the other side: the order of blackening, 0..16.
const DOTS: [[u8; 4]; 4] = [[0, 2, 14, 8], [4, 6, 10, 12], [15, 9, 1, 3], [11, 13, 5, 7]];
/// Of four such squares each takes its turn, so that there are 64 shades.
const TURNS: [[u8; 2]; 2] = [[0, 2], [3, 1]];

/// The place of a pixel in the order of blackening, 0..64.
const fn place(x: usize, y: usize) -> u8 {
    DOTS[y % 4][x % 4] * 4 + TURNS[y / 4 % 2][x / 4 % 2]
}

impl Ink {
    pub(crate) const BLACK: Self = Self { rows: [u64::MAX; 8], plane: Plane::Solid };
    pub(crate) const WHITE: Self = Self { rows: [0; 8], plane: Plane::Solid };
    /// Every other pixel: a light thin line.
    const DOTTED: Self = {
        let (even, odd) = (0xaaaa_aaaa_aaaa_aaaa, 0x5555_5555_5555_5555);
        Self { rows: [even, odd, even, odd, even, odd, even, odd], plane: Plane::Solid }
    };

    /// An area of this lightness, 0 black to 255 white.
    pub(crate) fn area(shade: u8) -> Self {
        if shade <= BLACK_MAX {
            return Self::BLACK;
        }
        if shade >= WHITE_MIN {
            return Self::WHITE;
        }
        let black = (255 - u32::from(shade)) * 64 / 255;
        let rows = std::array::from_fn(|y| {
            let octet = (0..8).fold(0_u64, |octet, x| octet << 1 | u64::from(u32::from(place(x, y)) < black));
            octet * 0x0101_0101_0101_0101
        });
        Self { rows, plane: Plane::Dots }
    }

    /// Where it is painted.
    pub(crate) fn plane(&self) -> Plane {
        self.plane
    }

    /// The pattern of row `y`.
    pub(crate) fn row(&self, y: i32) -> u64 {
        self.rows[(y & 7) as usize]
    }
}

/// How something thin is drawn, and what is put around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Solid {
    pub ink: Ink,
    /// The ground is neither black nor white: a rim keeps its dots off.
    pub rim: Option<Ink>,
}

/// The ink of text of lightness `shade` on a ground of lightness `ground`: as much contrast as one bit can give. What
/// cannot be told from its ground on paper cannot be told here.
pub(crate) fn solid(shade: u8, ground: u8) -> Solid {
    const SAME: u8 = 10;
    if shade.abs_diff(ground) < SAME {
        return Solid { ink: Ink::area(ground), rim: None };
    }
    // White letters on a middle grey would stand among dots: those are drawn dark.
    let ink = if shade < ground || ground > 150 { Ink::BLACK } else { Ink::WHITE };
    let rim = if ink == Ink::BLACK { Ink::WHITE } else { Ink::BLACK };
    let clean = if ink == Ink::BLACK { ground >= WHITE_MIN } else { ground <= BLACK_MAX };
    Solid { ink, rim: (!clean).then_some(rim) }
}

/// The ink of a thin line or a small shape.
pub(crate) fn thin(shade: u8, ground: u8) -> Ink {
    if ground >= 200 && (200..WHITE_MIN).contains(&shade) && shade < ground {
        return Ink::DOTTED;
    }
    if ground >= 200 && shade >= WHITE_MIN { Ink::WHITE } else { solid(shade, ground).ink }
}

/// Lightness of a colour, 0 black to 255 white (Rec. 601).
pub(crate) fn luma(red: u8, green: u8, blue: u8) -> u8 {
    ((u32::from(red) * 77 + u32::from(green) * 150 + u32::from(blue) * 29 + 128) >> 8) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shade_has_its_share_of_black_pixels_and_every_place_is_taken_once() {
        let mut places: Vec<u8> = (0..64).map(|i| place(i % 8, i / 8)).collect();
        places.sort_unstable();
        assert_eq!(places, (0..64).collect::<Vec<u8>>());
        for shade in BLACK_MAX + 1..WHITE_MIN {
            let black: u32 = Ink::area(shade).rows.iter().map(|row| row.count_ones()).sum();
            let want = (255 - u32::from(shade)) * 512 / 255;
            assert!(black.abs_diff(want) <= 8, "{shade}: {black} of {want}");
        }
    }

    #[test]
    fn coloured_text_is_never_dots() {
        for shade in 0..=255_u8 {
            for ground in 0..=255_u8 {
                let ink = solid(shade, ground).ink;
                assert!(shade.abs_diff(ground) < 10 || ink == Ink::BLACK || ink == Ink::WHITE, "{shade} {ground}");
            }
        }
        assert_eq!(solid(226, 255), Solid { ink: Ink::BLACK, rim: None }, "yellow on white");
        assert_eq!(solid(226, 15), Solid { ink: Ink::WHITE, rim: None }, "yellow on black");
        assert_eq!(solid(0, 200), Solid { ink: Ink::BLACK, rim: Some(Ink::WHITE) }, "black on grey");
    }
}
