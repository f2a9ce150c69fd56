//! Bits in and out of octets, most significant bit first.
//!
//! Failure: the reader never fails; beyond the end it gives zeros, which no run or mode code consists of, and says so by
//! [`BitReader::is_overrun`]. Least-significant-first data (TIFF FillOrder 2) is turned round before or after.

/// Collects code words.
pub(super) struct BitWriter {
    out: Vec<u8>,
    /// The pending bits, right aligned; bits above `pending` are stale.
    word: u64,
    pending: u32,
}

impl BitWriter {
    pub(super) fn with_capacity(octets: usize) -> Self {
        Self { out: Vec::with_capacity(octets), word: 0, pending: 0 }
    }

    /// Appends the lower `length` bits of `code`; `length` is at most 32 and the bits above it are 0.
    #[inline(always)]
    pub(super) fn put(&mut self, code: u32, length: u32) {
        self.word = (self.word << length) | u64::from(code);
        self.pending += length;
        if self.pending >= 32 {
            self.pending -= 32;
            self.out.extend_from_slice(&((self.word >> self.pending) as u32).to_be_bytes());
        }
    }

    /// Appends `count` ones.
    pub(super) fn put_ones(&mut self, mut count: u32) {
        while count > 31 {
            self.put(0x7fff_ffff, 31);
            count -= 31;
        }
        self.put((1 << count) - 1, count);
    }

    /// Appends `count` zeros.
    pub(super) fn put_zeros(&mut self, mut count: u64) {
        while count > 32 {
            self.put(0, 32);
            count -= 32;
        }
        self.put(0, count as u32);
    }

    /// Bits written so far.
    pub(super) fn position(&self) -> u64 {
        self.out.len() as u64 * 8 + u64::from(self.pending)
    }

    /// Fills the last octet with zeros.
    pub(super) fn align(&mut self) {
        self.put_zeros(self.position().wrapping_neg() % 8);
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.align();
        let octets = self.pending as usize / 8;
        let rest = (self.word << (64 - self.pending.max(1))).to_be_bytes();
        self.out.extend_from_slice(&rest[..octets]);
        self.out
    }
}

/// Reads code words.
#[derive(Clone)]
pub(super) struct BitReader<'a> {
    octets: &'a [u8],
    /// The next octet to load.
    next: usize,
    /// Loaded bits, left aligned; 0 below `loaded`.
    word: u64,
    loaded: u32,
    /// Zero bits handed out beyond the end.
    beyond: u64,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(octets: &'a [u8]) -> Self {
        Self { octets, next: 0, word: 0, loaded: 0, beyond: 0 }
    }

    /// The coming bits, left aligned; at least 56 of them are meant.
    #[inline(always)]
    pub(super) fn peek(&mut self) -> u64 {
        if self.loaded < 56 {
            self.refill();
        }
        self.word
    }

    /// Passes `count` bits, at most 56, after a [`BitReader::peek`] that covered them.
    #[inline(always)]
    pub(super) fn skip(&mut self, count: u32) {
        self.word <<= count;
        self.loaded -= count;
    }

    /// Passes zeros up to the next octet boundary (whatever bits there are, in fact).
    pub(super) fn align(&mut self) {
        self.peek();
        self.skip(self.loaded % 8);
    }

    /// Bits passed so far, zeros beyond the end included.
    pub(super) fn position(&self) -> u64 {
        self.next as u64 * 8 + self.beyond - u64::from(self.loaded)
    }

    /// Whether bits beyond the end have been passed.
    pub(super) fn is_overrun(&self) -> bool {
        self.position() > self.octets.len() as u64 * 8
    }

    /// Whether every bit has been passed.
    pub(super) fn is_at_end(&self) -> bool {
        self.position() >= self.octets.len() as u64 * 8
    }

    /// Passes zeros and stops before the next one. `None` when there is none; the reader is then at the end.
    pub(super) fn skip_zeros(&mut self) -> Option<u64> {
        let start = self.position();
        loop {
            let zeros = self.peek().leading_zeros();
            if zeros < self.loaded {
                self.skip(zeros);
                return Some(self.position() - start);
            }
            // All loaded bits are zeros, so `word` is 0 already.
            self.loaded = 0;
            if self.next == self.octets.len() {
                return None;
            }
        }
    }

    #[inline(always)]
    fn refill(&mut self) {
        if let Some(octets) = self.octets.get(self.next..self.next + 8) {
            let mut eight = [0; 8];
            eight.copy_from_slice(octets);
            let count = (64 - self.loaded) / 8;
            let kept = u64::from_be_bytes(eight) & (u64::MAX << (64 - count * 8));
            self.word |= kept >> self.loaded;
            self.next += count as usize;
            self.loaded += count * 8;
        } else {
            self.refill_slowly();
        }
    }

    #[cold]
    fn refill_slowly(&mut self) {
        while self.loaded <= 56 {
            if let Some(&octet) = self.octets.get(self.next) {
                self.word |= u64::from(octet) << (56 - self.loaded);
                self.next += 1;
            } else {
                self.beyond += 8;
            }
            self.loaded += 8;
        }
    }
}

/// Turns the bit order of every octet round.
pub fn reverse_bits(octets: &mut [u8]) {
    for octet in octets {
        *octet = octet.reverse_bits();
    }
}
