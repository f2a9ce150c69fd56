//! Whether a page that came without error correction is good enough to be confirmed.
//!
//! spandsp counts the lines that it could not decode, and rejects a page (RTN) when they are more than 15 %. It does not
//! see lines that never came: a packet that is lost in an image takes whole lines with it and leaves nothing to be decoded
//! badly. So the gaps of the network are counted, too. A confirmed page is never sent again; in doubt the call ends without
//! confirmation and the sender calls again.

use spandsp::Statistics;

use crate::call::Transport;

/// More bad lines than one in so many are too many; T.30 leaves the measure to the receiver, and this is the one of TSB-85.
const BAD_LINES_ONE_IN: u64 = 20;
/// More bad lines in a row may be a line of text: 2.5 mm at 7.7 lines/mm.
const BAD_LINES_RUN_MAX: u32 = 20;
/// Over audio, more missing packets of 20 ms than one in so many are too many.
const PACKETS_LOST_ONE_IN: u64 = 100;
/// Over audio, 20 ms are at most 288 bits, some lines of text; two in a row are too many.
const PACKETS_LOST_RUN_MAX: u64 = 1;

/// Packets that were lost while an image came in.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    heard: u64,
    lost: u64,
    run: u64,
    longest_run: u64,
}

impl Gaps {
    pub(super) fn lose(&mut self, count: u64) {
        self.lost += count;
        self.run += count;
        self.longest_run = self.longest_run.max(self.run);
    }

    pub(super) fn hear(&mut self) {
        self.heard += 1;
        self.run = 0;
    }

    /// Whether lines may be missing of which nobody knows.
    pub(super) fn matter(&self, transport: Option<Transport>) -> bool {
        match transport {
            // A packet may be 40 ms and more of image, and with redundancy it takes an outage to lose one.
            Some(Transport::T38) => self.lost > 0,
            _ => self.longest_run > PACKETS_LOST_RUN_MAX || self.lost * PACKETS_LOST_ONE_IN > self.heard + self.lost,
        }
    }

    /// Why a page of `height` lines cannot be confirmed, in words.
    pub(super) fn damage(&self, page: &Statistics, height: u32, transport: Option<Transport>) -> Option<String> {
        let &Statistics { ecm, bad_rows, longest_bad_run, .. } = page;
        if height == 0 {
            Some("it has no lines".to_owned())
        } else if ecm {
            None
        } else if u64::from(bad_rows) * BAD_LINES_ONE_IN > u64::from(height) {
            Some(format!("{bad_rows} of its {height} lines are damaged"))
        } else if longest_bad_run > BAD_LINES_RUN_MAX {
            Some(format!("{longest_bad_run} lines in a row are damaged"))
        } else if self.matter(transport) {
            Some(format!("{} packets of its image are lost, {} of them in a row", self.lost, self.longest_run))
        } else {
            None
        }
    }
}
