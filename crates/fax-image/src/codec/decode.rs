//! Code words to rows.
//!
//! In: octets and what is known of the page. Out: the page, or with [`Tolerance::Conceal`] as much of it as can be saved.
//! Failure: see [`DecodeError`]. Every step of every loop passes bits of the input or finishes a row, and the input gives
//! zeros behind its end, which are no code: so hostile data cost no more time than honest ones of the same length.
//! Standard: T.4 §4.1 (MH), §4.2 (MR), T.6 §2 (MMR).

use super::bits::{BitReader, reverse_bits};
use super::changes::Changes;
use super::tables::{self, Mode};
use super::{BitOrder, Coding, DecodeError, DecodeParams, Decoded, RowStart, Tolerance};
use crate::Bitmap;
use crate::bitmap::HEIGHT_MAX;

/// T.4 §4.1.2: an EOL is at least so many zeros and a one; no other code begins so.
const EOL_ZEROS: u32 = 11;
/// T.4 §4.1.4: so many EOLs in a row are RTC.
const RTC_EOLS: u32 = 6;
/// Colours as the parity of changes before a pixel.
const WHITE: usize = 0;
const BLACK: usize = 1;
/// Rows by which the page grows when their number is not known.
const GROWTH_ROWS: u32 = 1024;

/// Decodes one page.
pub fn decode(octets: &[u8], params: DecodeParams) -> Result<Decoded, DecodeError> {
    let turned;
    let octets = match params.bit_order {
        BitOrder::MsbFirst => octets,
        BitOrder::LsbFirst => {
            let mut copy = octets.to_vec();
            reverse_bits(&mut copy);
            turned = copy;
            &turned
        }
    };
    let mut decoder = Decoder::new(octets, params)?;
    match params.coding {
        Coding::Mh => decoder.t4_page(Tags::Absent)?,
        Coding::Mr { .. } => decoder.t4_page(Tags::Present)?,
        Coding::Mmr => decoder.t6_page()?,
    }
    decoder.finish()
}

/// Whether a tag bit follows each EOL.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tags {
    Present,
    Absent,
}

/// What stands at the start of a T.4 row.
enum Start {
    /// EOLs, so many that stand for rows without data, and the tag bit of the last one.
    Row { empty_rows: u32, one_dimensional: bool },
    /// No EOL.
    NoEol,
    /// RTC or the end of the data.
    End,
}

/// Why a row is bad. The reader stands where it was noticed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RowError {
    BadCode,
    Uncompressed,
}

struct Decoder<'a> {
    params: DecodeParams,
    bits: BitReader<'a>,
    page: Bitmap,
    /// Finished rows.
    y: u32,
    rows_max: u32,
    bad_rows: u32,
    /// The row being decoded and the last finished one.
    current: Changes,
    above: Changes,
    /// The pixels of the last finished row.
    words: Vec<u64>,
}

impl<'a> Decoder<'a> {
    fn new(octets: &'a [u8], params: DecodeParams) -> Result<Self, DecodeError> {
        // A height above the limit is refused here; without one the page grows as rows come.
        let page = Bitmap::white(params.width, params.rows.unwrap_or(0))?;
        let (words, white) = (vec![0; page.stride() / 8], Changes::white(params.width));
        Ok(Self {
            params,
            bits: BitReader::new(octets),
            page,
            y: 0,
            rows_max: params.rows.unwrap_or(HEIGHT_MAX),
            bad_rows: 0,
            current: white.clone(),
            above: white,
            words,
        })
    }

    fn t4_page(&mut self, tags: Tags) -> Result<(), DecodeError> {
        // After a bad row, MR waits for the next row that does not build on it.
        let mut reference_lost = false;
        while self.y < self.rows_max {
            if self.params.row_start == RowStart::Octet {
                // Before looking for an EOL: the zeros up to the boundary and those of a long code could look like one.
                self.bits.align();
            }
            let mut one_dimensional = true;
            match self.row_start(tags) {
                Start::End => break,
                Start::Row { empty_rows, one_dimensional: tag } => {
                    self.bad_rows_without_data(empty_rows)?;
                    one_dimensional = tag;
                    if self.y == self.rows_max {
                        break;
                    }
                }
                Start::NoEol if tags == Tags::Present => {
                    self.check(DecodeError::MissingEol { row: self.y })?;
                    reference_lost = true;
                    // Bits in front of the first EOL are no row.
                    if self.y > 0 {
                        self.conceal_row()?;
                    }
                    self.seek_eol();
                    continue;
                }
                Start::NoEol => {}
            }
            if reference_lost && !one_dimensional {
                self.conceal_row()?;
                self.seek_eol();
                continue;
            }
            let decoded = if one_dimensional { self.row_1d() } else { self.row_2d() };
            match decoded {
                Ok(()) if !self.bits.is_overrun() => {
                    reference_lost = false;
                    self.finish_row()?;
                }
                result => {
                    let error = self.row_error(result);
                    self.check(error)?;
                    reference_lost = true;
                    self.conceal_row()?;
                    self.seek_eol();
                }
            }
        }
        Ok(())
    }

    fn t6_page(&mut self) -> Result<(), DecodeError> {
        while self.y < self.rows_max {
            if self.params.row_start == RowStart::Octet {
                self.bits.align();
            }
            let next = self.bits.peek();
            // T.6 §2.2.4: EOFB is two EOLs. One is as good, for no row begins with eleven zeros; nor do fill and the end.
            if next.leading_zeros() >= EOL_ZEROS {
                break;
            }
            // V0 for each change and for the end of the row: the row above once more. Ones are never beyond the end.
            let repeated = self.above.count() as u32 + 1;
            if repeated <= next.leading_ones().min(56) {
                self.bits.skip(repeated);
                self.repeat_row()?;
                continue;
            }
            match self.row_2d() {
                Ok(()) if !self.bits.is_overrun() => self.finish_row()?,
                Err(RowError::Uncompressed) => return Err(DecodeError::UncompressedMode { row: self.y }),
                result => {
                    let error = self.row_error(result);
                    self.check(error)?;
                    // T.6 has no way to find the next row again.
                    self.conceal_row()?;
                    break;
                }
            }
        }
        Ok(())
    }

    /// Looks at the start of a T.4 row and passes its EOLs and tag bits. Nothing is passed when there is no EOL.
    fn row_start(&mut self, tags: Tags) -> Start {
        let mut eols = 0;
        let mut one_dimensional = true;
        while self.bits.peek().leading_zeros() >= EOL_ZEROS {
            if self.bits.skip_zeros().is_none() {
                // Nothing but fill up to the end.
                return Start::End;
            }
            self.bits.skip(1);
            eols += 1;
            if tags == Tags::Present {
                one_dimensional = self.bits.peek() >> 63 == 1;
                self.bits.skip(1);
            }
            if eols == RTC_EOLS || self.bits.is_at_end() {
                return Start::End;
            }
        }
        match eols {
            0 => Start::NoEol,
            eols => Start::Row { empty_rows: eols - 1, one_dimensional },
        }
    }

    /// Rows of which only the EOL has come through.
    fn bad_rows_without_data(&mut self, rows: u32) -> Result<(), DecodeError> {
        for _ in 0..rows.min(self.rows_max - self.y) {
            self.check(DecodeError::BadCode { row: self.y })?;
            self.conceal_row()?;
        }
        Ok(())
    }

    /// Passes bits up to the next EOL, which is left for [`Decoder::row_start`].
    fn seek_eol(&mut self) {
        loop {
            let before = self.bits.clone();
            match self.bits.skip_zeros() {
                None => return,
                Some(zeros) if zeros >= u64::from(EOL_ZEROS) => {
                    self.bits = before;
                    return;
                }
                Some(_) => {
                    let ones = self.bits.peek().leading_ones().min(56);
                    self.bits.skip(ones);
                }
            }
        }
    }

    /// Decodes runs into `current` until they fill the row.
    fn row_1d(&mut self) -> Result<(), RowError> {
        let (width, mut place) = (self.params.width, 0);
        self.current.open();
        loop {
            place += self.run(WHITE)?;
            if place >= width {
                break;
            }
            self.current.push(place);
            place += self.run(BLACK)?;
            if place >= width {
                break;
            }
            self.current.push(place);
        }
        if place > width {
            return Err(RowError::BadCode);
        }
        self.current.push(place);
        self.current.close();
        Ok(())
    }

    /// Decodes modes into `current` until they fill the row.
    fn row_2d(&mut self) -> Result<(), RowError> {
        let width = self.params.width;
        // `below` is the index of b1 in the row above; its parity is the colour of a0: 0 white, 1 black.
        let (mut a0, mut below) = (0, 0);
        self.current.open();
        while a0 < width {
            let next = self.bits.peek();
            let (mode, length) = tables::MODES[(next >> (64 - tables::MODE_BITS)) as usize];
            self.bits.skip(u32::from(length));
            match mode {
                Mode::Vertical(distance) => {
                    let a1 = self.above.with_sentinels()[below].wrapping_add_signed(i32::from(distance));
                    // Also refuses what wraps below 0.
                    if a1 > width || a1 < a0 {
                        return Err(RowError::BadCode);
                    }
                    self.current.push(a1);
                    a0 = a1;
                    // b1 has the other colour now. Only when a1 lies left of the old b1 can the change before that be it.
                    below = if distance >= 0 || below == 0 { below + 1 } else { below - 1 };
                }
                Mode::Horizontal => {
                    let colour = below & 1;
                    let a1 = a0 + self.run(colour)?;
                    let a2 = a1 + self.run(colour ^ 1)?;
                    if a2 > width {
                        return Err(RowError::BadCode);
                    }
                    self.current.push(a1);
                    self.current.push(a2);
                    a0 = a2;
                }
                Mode::Pass => a0 = self.above.with_sentinels()[below + 1],
                Mode::Extension => return Err(extension(next << 7)),
                Mode::Invalid => return Err(RowError::BadCode),
            }
            let above = self.above.with_sentinels();
            while a0 < width && above[below] <= a0 {
                below += 2;
            }
        }
        self.current.close();
        Ok(())
    }

    /// One run: make-up codes, then a terminating code. At most `WIDTH_MAX` and one code more, so sums stay far below 2^32.
    #[inline(always)]
    fn run(&mut self, colour: usize) -> Result<u32, RowError> {
        let mut total = 0;
        loop {
            let next = self.bits.peek();
            let entry = if colour == WHITE {
                tables::WHITE_RUNS[(next >> (64 - tables::WHITE_BITS)) as usize]
            } else {
                tables::BLACK_RUNS[(next >> (64 - tables::BLACK_BITS)) as usize]
            };
            if entry == 0 {
                // T.4 §4.1: 000000001 and three bits announce an extension.
                return Err(if next >> 55 == 1 { extension(next << 9) } else { RowError::BadCode });
            }
            self.bits.skip(u32::from(entry & 15));
            let run = u32::from(entry >> 4);
            total += run;
            if run < 64 {
                return Ok(total);
            }
            if total > self.params.width {
                return Err(RowError::BadCode);
            }
        }
    }

    /// Keeps `current` as the next row.
    fn finish_row(&mut self) -> Result<(), DecodeError> {
        std::mem::swap(&mut self.current, &mut self.above);
        if self.above.count() > 0 {
            self.above.paint(&mut self.words);
        }
        self.repeat_row()
    }

    /// Keeps the last row once more as the next one.
    fn repeat_row(&mut self) -> Result<(), DecodeError> {
        if self.y == self.page.height() {
            self.page.extend_rows(GROWTH_ROWS.min(HEIGHT_MAX - self.y))?;
        }
        // Rows of the page are white from the beginning.
        if self.above.count() > 0 {
            let mut row = self.page.row_mut(self.y);
            for (octets, word) in row.chunks_exact_mut(8).zip(&self.words) {
                octets.copy_from_slice(&word.to_be_bytes());
            }
        }
        self.y += 1;
        Ok(())
    }

    fn conceal_row(&mut self) -> Result<(), DecodeError> {
        self.bad_rows += 1;
        self.repeat_row()
    }

    /// Ends strict decoding with the error.
    fn check(&self, error: DecodeError) -> Result<(), DecodeError> {
        match self.params.tolerance {
            Tolerance::Strict => Err(error),
            Tolerance::Conceal => Ok(()),
        }
    }

    fn row_error(&self, result: Result<(), RowError>) -> DecodeError {
        let row = self.y;
        match result {
            _ if self.bits.is_at_end() => DecodeError::Truncated { row },
            Err(RowError::Uncompressed) => DecodeError::UncompressedMode { row },
            _ => DecodeError::BadCode { row },
        }
    }

    /// Accounts for missing rows.
    fn finish(mut self) -> Result<Decoded, DecodeError> {
        match self.params.rows {
            Some(rows) if self.y < rows => {
                self.check(DecodeError::Truncated { row: self.y })?;
                self.bad_rows += rows - self.y;
            }
            Some(_) => {}
            None => {
                if self.y == HEIGHT_MAX && !self.bits.is_at_end() {
                    // The page may be exactly this long; then only its end marker is left.
                    let mut rest = self.bits.clone();
                    let only_marker = rest.skip_zeros().is_none_or(|zeros| zeros >= u64::from(EOL_ZEROS));
                    if !only_marker {
                        return Err(DecodeError::Size(crate::BitmapError::Height {
                            height: u64::from(HEIGHT_MAX) + 1,
                        }));
                    }
                }
                self.page = self.page.crop_rows(0..self.y);
            }
        }
        Ok(Decoded { bitmap: self.page, bad_rows: self.bad_rows })
    }
}

/// What the three bits that name an extension say; 111 is the uncompressed mode, the only one defined.
fn extension(name: u64) -> RowError {
    if name >> 61 == 7 { RowError::Uncompressed } else { RowError::BadCode }
}
