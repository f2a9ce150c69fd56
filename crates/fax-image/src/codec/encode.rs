//! Rows to code words.
//!
//! In: a page, a coding and what stands between its rows. Out: octets, the last filled with zeros. Nothing can fail.
//! Each row is turned into its colour changes once; a row equal to the one above it is known before that, and costs a handful
//! of bits in the two-dimensional codings. Standard: T.4 §4.1 (one-dimensional), §4.2 (two-dimensional), T.6 §2 (MMR).

use super::bits::{BitWriter, reverse_bits};
use super::changes::Changes;
use super::tables::{self, Code, HORIZONTAL, MAKE_UP_MAX, PASS, RunCodes, VERTICAL};
use super::{BitOrder, Coding, EncodeOptions, Ending, Eol, RowStart};
use crate::Bitmap;

/// Codes a page. See [`EncodeOptions`] for what surrounds the rows.
pub fn encode(page: &Bitmap, coding: Coding, options: &EncodeOptions) -> Vec<u8> {
    let mut encoder = Encoder::new(page, options);
    match coding {
        Coding::Mh => encoder.t4_page(page, None),
        Coding::Mr { k } => encoder.t4_page(page, Some(u32::from(k.get()))),
        Coding::Mmr => encoder.t6_page(page),
    }
    let mut octets = encoder.out.finish();
    if options.bit_order == BitOrder::LsbFirst {
        reverse_bits(&mut octets);
    }
    octets
}

struct Encoder<'a> {
    out: BitWriter,
    options: &'a EncodeOptions,
    /// Changes of the row being coded and of the row above it.
    current: Changes,
    above: Changes,
}

impl<'a> Encoder<'a> {
    fn new(page: &Bitmap, options: &'a EncodeOptions) -> Self {
        let white = Changes::white(page.width());
        let capacity = page.height() as usize * 16 + 64;
        Self { out: BitWriter::with_capacity(capacity), options, current: white.clone(), above: white }
    }

    /// MH without `k`; with it MR, in which each group of `k` rows begins with a one-dimensional one.
    fn t4_page(&mut self, page: &Bitmap, k: Option<u32>) {
        // MR cannot be read without EOLs: the tag bit that names a row's coding follows them (T.4 §4.2.2).
        let eol = if k.is_some() && self.options.eol == Eol::None { Eol::AnyBit } else { self.options.eol };
        let mut above: Option<&[u8]> = None;
        let mut line_start = 0;
        for (y, row) in page.rows().enumerate() {
            let repeated = above.replace(row) == Some(row);
            if !repeated {
                std::mem::swap(&mut self.current, &mut self.above);
                self.current.read_row(row);
            }
            let one_dimensional = k.is_none_or(|k| (y as u32).is_multiple_of(k));
            let tag = k.map(|_| u32::from(one_dimensional));
            line_start = self.separate(eol, tag, line_start, y > 0);
            if one_dimensional {
                row_1d(&mut self.out, self.current.with_sentinels());
            } else if repeated {
                self.repeat_2d();
            } else {
                row_2d(&mut self.out, &self.current, &self.above);
            }
        }
        if self.options.ending == Ending::Marker {
            let tag = k.map(|_| 1);
            self.separate(eol, tag, line_start, page.height() > 0);
            // T.4 §4.1.4: RTC is six EOLs, in MR each with the tag bit 1. The first one also ended the last row.
            let missing = if eol == Eol::None { 6 } else { 5 };
            for _ in 0..missing {
                put(&mut self.out, tables::EOL);
                tag.into_iter().for_each(|tag| self.out.put(tag, 1));
            }
        }
    }

    /// What stands before a row: fill, EOL and tag bit, or the way to the next octet. `line_start` is where the row before it
    /// began; returns where the coming row begins.
    fn separate(&mut self, eol: Eol, tag: Option<u32>, line_start: u64, after_a_row: bool) -> u64 {
        if eol == Eol::None {
            if self.options.row_start == RowStart::Octet {
                self.out.align();
            }
            return self.out.position();
        }
        let marker_bits = u64::from(tables::EOL.1) + tag.map_or(0, |_| 1);
        if after_a_row {
            // T.4 §4.1.3: fill stands between data and EOL; data, fill and EOL together reach the minimum.
            let coded = self.out.position() + marker_bits - line_start;
            self.out.put_zeros(u64::from(self.options.row_bits_min).saturating_sub(coded));
        }
        if eol == Eol::OctetEnd {
            // TIFF 6.0 T4Options bit 2: fill before the EOL makes it end with an octet (the tag bit then follows it).
            self.out.put_zeros((self.out.position() + u64::from(tables::EOL.1)).wrapping_neg() % 8);
        }
        put(&mut self.out, tables::EOL);
        tag.into_iter().for_each(|tag| self.out.put(tag, 1));
        // The first EOL belongs to no row, the later ones to the row that they end.
        self.out.position()
    }

    fn t6_page(&mut self, page: &Bitmap) {
        let mut above: Option<&[u8]> = None;
        for row in page.rows() {
            if above.replace(row) == Some(row) {
                self.repeat_2d();
            } else {
                std::mem::swap(&mut self.current, &mut self.above);
                self.current.read_row(row);
                row_2d(&mut self.out, &self.current, &self.above);
            }
            if self.options.row_start == RowStart::Octet {
                self.out.align();
            }
        }
        if self.options.ending == Ending::Marker {
            // T.6 §2.2.4: EOFB is two EOLs.
            put(&mut self.out, tables::EOL);
            put(&mut self.out, tables::EOL);
        }
    }

    /// The row above once more: every change lies right below its like, so V0 for each of them and for the end of the row.
    fn repeat_2d(&mut self) {
        self.out.put_ones(self.current.count() as u32 + 1);
    }
}

#[inline(always)]
fn put(out: &mut BitWriter, (code, length): Code) {
    out.put(u32::from(code), u32::from(length));
}

#[inline(always)]
fn put_run(out: &mut BitWriter, codes: &RunCodes, mut run: u32) {
    while run > MAKE_UP_MAX + 63 {
        put(out, codes[tables::code_index(MAKE_UP_MAX)]);
        run -= MAKE_UP_MAX;
    }
    if run >= 64 {
        put(out, codes[tables::code_index(run & !63)]);
        run &= 63;
    }
    put(out, codes[run as usize]);
}

/// T.4 §4.1: white and black runs in turn, the first of them white and perhaps of no pixels.
fn row_1d(out: &mut BitWriter, changes: &[u32]) {
    let width = changes[changes.len() - 1];
    let (mut before, mut at) = (0, 0);
    loop {
        let codes = if at % 2 == 0 { &tables::WHITE } else { &tables::BLACK };
        put_run(out, codes, changes[at] - before);
        before = changes[at];
        if before == width {
            return;
        }
        at += 1;
    }
}

/// T.4 §4.2.1.3 and T.6 §2.2.1, the same procedure.
fn row_2d(out: &mut BitWriter, current: &Changes, above: &Changes) {
    let (current, above) = (current.with_sentinels(), above.with_sentinels());
    let width = current[current.len() - 1];
    // `at` is the index of a1, whose parity is the colour of a0; `below` that of b1, which has the same parity.
    let (mut a0, mut at, mut below) = (0, 0, 0);
    loop {
        let (a1, b1, b2) = (current[at], above[below], above[below + 1]);
        if b2 < a1 {
            put(out, PASS);
            a0 = b2;
            below += 2;
            continue;
        }
        let distance = a1.wrapping_sub(b1).wrapping_add(3);
        if let Some(&code) = VERTICAL.get(distance as usize) {
            put(out, code);
            a0 = a1;
            at += 1;
            // b1 has the other colour now. Only when a1 lies left of the old b1 can the change before that be it.
            below = if a1 >= b1 || below == 0 { below + 1 } else { below - 1 };
        } else {
            let a2 = current[at + 1];
            put(out, HORIZONTAL);
            let (first, second) =
                if at % 2 == 0 { (&tables::WHITE, &tables::BLACK) } else { (&tables::BLACK, &tables::WHITE) };
            put_run(out, first, a1 - a0);
            put_run(out, second, a2 - a1);
            a0 = a2;
            at += 2;
        }
        if a0 >= width {
            return;
        }
        while above[below] <= a0 {
            below += 2;
        }
    }
}
