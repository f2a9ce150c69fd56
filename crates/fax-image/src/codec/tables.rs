//! The code tables of T.4 and T.6, and the look-up tables made from them at compile time.
//!
//! Standard: T.4 Table 2 (terminating codes), Tables 3a and 3b (make-up codes); T.6 Table 1 (two-dimensional modes).
//! Run codes are listed by run: entries 0..=63 are runs of 0..=63 pixels, entry 63 + n is the make-up code for 64 n pixels.

/// A code word: its bits, right aligned, and how many there are.
pub(super) type Code = (u16, u8);

/// Terminating and make-up codes of one colour, by [`code_index`].
pub(super) type RunCodes = [Code; 104];

/// The longest make-up run; longer runs repeat it (T.4 §4.1.1).
pub(super) const MAKE_UP_MAX: u32 = 2560;

/// EOL: eleven zeros and a one (T.4 §4.1.2).
pub(super) const EOL: Code = (1, 12);
/// Pass mode (T.6 Table 1).
pub(super) const PASS: Code = (1, 4);
/// Horizontal mode, followed by two run codes.
pub(super) const HORIZONTAL: Code = (1, 3);
/// Vertical modes VL3, VL2, VL1, V0, VR1, VR2, VR3: index 3 + (a1 - b1).
pub(super) const VERTICAL: [Code; 7] = [(2, 7), (2, 6), (2, 3), (1, 1), (3, 3), (3, 6), (3, 7)];

/// Codes for white runs.
#[rustfmt::skip]
pub(super) const WHITE: RunCodes = [
    (0b00110101, 8), (0b000111, 6), (0b0111, 4), (0b1000, 4), (0b1011, 4), (0b1100, 4), (0b1110, 4), (0b1111, 4),
    (0b10011, 5), (0b10100, 5), (0b00111, 5), (0b01000, 5), (0b001000, 6), (0b000011, 6), (0b110100, 6),
    (0b110101, 6), (0b101010, 6), (0b101011, 6), (0b0100111, 7), (0b0001100, 7), (0b0001000, 7), (0b0010111, 7),
    (0b0000011, 7), (0b0000100, 7), (0b0101000, 7), (0b0101011, 7), (0b0010011, 7), (0b0100100, 7), (0b0011000, 7),
    (0b00000010, 8), (0b00000011, 8), (0b00011010, 8), (0b00011011, 8), (0b00010010, 8), (0b00010011, 8),
    (0b00010100, 8), (0b00010101, 8), (0b00010110, 8), (0b00010111, 8), (0b00101000, 8), (0b00101001, 8),
    (0b00101010, 8), (0b00101011, 8), (0b00101100, 8), (0b00101101, 8), (0b00000100, 8), (0b00000101, 8),
    (0b00001010, 8), (0b00001011, 8), (0b01010010, 8), (0b01010011, 8), (0b01010100, 8), (0b01010101, 8),
    (0b00100100, 8), (0b00100101, 8), (0b01011000, 8), (0b01011001, 8), (0b01011010, 8), (0b01011011, 8),
    (0b01001010, 8), (0b01001011, 8), (0b00110010, 8), (0b00110011, 8), (0b00110100, 8), (0b11011, 5), (0b10010, 5),
    (0b010111, 6), (0b0110111, 7), (0b00110110, 8), (0b00110111, 8), (0b01100100, 8), (0b01100101, 8),
    (0b01101000, 8), (0b01100111, 8), (0b011001100, 9), (0b011001101, 9), (0b011010010, 9), (0b011010011, 9),
    (0b011010100, 9), (0b011010101, 9), (0b011010110, 9), (0b011010111, 9), (0b011011000, 9), (0b011011001, 9),
    (0b011011010, 9), (0b011011011, 9), (0b010011000, 9), (0b010011001, 9), (0b010011010, 9), (0b011000, 6),
    (0b010011011, 9), (0b00000001000, 11), (0b00000001100, 11), (0b00000001101, 11), (0b000000010010, 12),
    (0b000000010011, 12), (0b000000010100, 12), (0b000000010101, 12), (0b000000010110, 12), (0b000000010111, 12),
    (0b000000011100, 12), (0b000000011101, 12), (0b000000011110, 12), (0b000000011111, 12),
];

/// Codes for black runs.
#[rustfmt::skip]
pub(super) const BLACK: RunCodes = [
    (0b0000110111, 10), (0b010, 3), (0b11, 2), (0b10, 2), (0b011, 3), (0b0011, 4), (0b0010, 4), (0b00011, 5),
    (0b000101, 6), (0b000100, 6), (0b0000100, 7), (0b0000101, 7), (0b0000111, 7), (0b00000100, 8), (0b00000111, 8),
    (0b000011000, 9), (0b0000010111, 10), (0b0000011000, 10), (0b0000001000, 10), (0b00001100111, 11),
    (0b00001101000, 11), (0b00001101100, 11), (0b00000110111, 11), (0b00000101000, 11), (0b00000010111, 11),
    (0b00000011000, 11), (0b000011001010, 12), (0b000011001011, 12), (0b000011001100, 12), (0b000011001101, 12),
    (0b000001101000, 12), (0b000001101001, 12), (0b000001101010, 12), (0b000001101011, 12), (0b000011010010, 12),
    (0b000011010011, 12), (0b000011010100, 12), (0b000011010101, 12), (0b000011010110, 12), (0b000011010111, 12),
    (0b000001101100, 12), (0b000001101101, 12), (0b000011011010, 12), (0b000011011011, 12), (0b000001010100, 12),
    (0b000001010101, 12), (0b000001010110, 12), (0b000001010111, 12), (0b000001100100, 12), (0b000001100101, 12),
    (0b000001010010, 12), (0b000001010011, 12), (0b000000100100, 12), (0b000000110111, 12), (0b000000111000, 12),
    (0b000000100111, 12), (0b000000101000, 12), (0b000001011000, 12), (0b000001011001, 12), (0b000000101011, 12),
    (0b000000101100, 12), (0b000001011010, 12), (0b000001100110, 12), (0b000001100111, 12), (0b0000001111, 10),
    (0b000011001000, 12), (0b000011001001, 12), (0b000001011011, 12), (0b000000110011, 12), (0b000000110100, 12),
    (0b000000110101, 12), (0b0000001101100, 13), (0b0000001101101, 13), (0b0000001001010, 13), (0b0000001001011, 13),
    (0b0000001001100, 13), (0b0000001001101, 13), (0b0000001110010, 13), (0b0000001110011, 13),
    (0b0000001110100, 13), (0b0000001110101, 13), (0b0000001110110, 13), (0b0000001110111, 13),
    (0b0000001010010, 13), (0b0000001010011, 13), (0b0000001010100, 13), (0b0000001010101, 13),
    (0b0000001011010, 13), (0b0000001011011, 13), (0b0000001100100, 13), (0b0000001100101, 13), (0b00000001000, 11),
    (0b00000001100, 11), (0b00000001101, 11), (0b000000010010, 12), (0b000000010011, 12), (0b000000010100, 12),
    (0b000000010101, 12), (0b000000010110, 12), (0b000000010111, 12), (0b000000011100, 12), (0b000000011101, 12),
    (0b000000011110, 12), (0b000000011111, 12),
];

/// Bits that select an entry of [`WHITE_RUNS`]; the longest white code has 12.
pub(super) const WHITE_BITS: u32 = 12;
/// Bits that select an entry of [`BLACK_RUNS`]; the longest black code has 13.
pub(super) const BLACK_BITS: u32 = 13;
/// Bits that select an entry of [`MODES`]; the longest mode code has 7.
pub(super) const MODE_BITS: u32 = 7;

/// White runs by the next 12 bits: run in the upper 12 bits, code length in the lower 4; 0 where no code begins so.
pub(super) static WHITE_RUNS: [u16; 1 << WHITE_BITS] = run_lookup(&WHITE, WHITE_BITS);
/// Black runs by the next 13 bits, laid out like [`WHITE_RUNS`].
pub(super) static BLACK_RUNS: [u16; 1 << BLACK_BITS] = run_lookup(&BLACK, BLACK_BITS);

/// What the next bits of a two-dimensional row ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// a0 moves below b2.
    Pass,
    /// Two runs follow.
    Horizontal,
    /// a1 is this many pixels right of b1, -3..=3.
    Vertical(i8),
    /// 0000001: an extension, three bits follow that name it.
    Extension,
    /// No mode begins so.
    Invalid,
}

/// Modes by the next 7 bits, with their code length.
pub(super) static MODES: [(Mode, u8); 1 << MODE_BITS] = mode_lookup();

/// The place of a run in [`RunCodes`]: a run below 64, or a multiple of 64 up to [`MAKE_UP_MAX`].
pub(super) const fn code_index(run: u32) -> usize {
    (if run < 64 { run } else { 63 + run / 64 }) as usize
}

const fn run_lookup<const N: usize>(codes: &RunCodes, bits: u32) -> [u16; N] {
    let mut table = [0; N];
    let mut index = 0;
    while index < codes.len() {
        let (code, length) = codes[index];
        let run = if index < 64 { index } else { (index - 63) * 64 };
        let spare = bits - length as u32;
        let mut place = (code as usize) << spare;
        let end = place + (1 << spare);
        while place < end {
            table[place] = ((run as u16) << 4) | length as u16;
            place += 1;
        }
        index += 1;
    }
    table
}

const fn mode_lookup() -> [(Mode, u8); 1 << MODE_BITS] {
    let mut table = [(Mode::Invalid, 0); 1 << MODE_BITS];
    enter(&mut table, PASS, Mode::Pass);
    enter(&mut table, HORIZONTAL, Mode::Horizontal);
    enter(&mut table, (1, 7), Mode::Extension);
    let mut index = 0;
    while index < VERTICAL.len() {
        enter(&mut table, VERTICAL[index], Mode::Vertical(index as i8 - 3));
        index += 1;
    }
    table
}

const fn enter(table: &mut [(Mode, u8); 1 << MODE_BITS], (code, length): Code, mode: Mode) {
    let spare = MODE_BITS - length as u32;
    let mut place = (code as usize) << spare;
    let end = place + (1 << spare);
    while place < end {
        table[place] = (mode, length);
        place += 1;
    }
}
