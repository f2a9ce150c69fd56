//! A bad line, for a fault of the sandbox's far end: image signal goes in, damaged image signal comes out.
//!
//! Only the image of a page without error correction is damaged, so that T.30 itself goes on and rejects the page.

use super::leg::is_image;
use crate::rtp::SAMPLES;

/// A bad line, the same each time.
pub(super) struct Noise {
    state: u32,
    /// Since the damage was asked for and silence has come: how many frames of signal.
    loud_frames: Option<u32>,
}

/// Training of V.17 (short) and V.29 takes 142 and 253 ms (ITU-T V.17 §5.1, V.29 §8).
const TRAINING_FRAMES: u32 = 15;
/// 1 ms in each 10: short enough that ends of lines survive, so that bad lines are counted.
const CRACKLE_SAMPLES: usize = 8;

impl Default for Noise {
    fn default() -> Self {
        Self { state: 0x2545_f491, loud_frames: None }
    }
}

impl Noise {
    /// Marsaglia's xorshift.
    fn next(&mut self) -> u32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        self.state
    }

    /// Crackling as loud as the signal, which damages nearly each line of an image; V.21 with its long bits survives.
    ///
    /// Left alone are what remains of the command before the image (else the end of its carrier would not be seen) and
    /// the training (else spandsp would take the page for one that it has confirmed already).
    pub(super) fn damage_audio(&mut self, samples: &mut [i16; SAMPLES], wanted: bool) {
        let loud = samples.iter().any(|sample| sample.unsigned_abs() > 500);
        self.loud_frames = match self.loud_frames {
            _ if !wanted => None,
            _ if !loud => Some(0),
            frames => frames.map(|frames| frames + 1),
        };
        if loud && self.loud_frames > Some(TRAINING_FRAMES) {
            for sample in samples.chunks_mut(80).flat_map(|ten_ms| &mut ten_ms[..CRACKLE_SAMPLES]) {
                *sample = sample.saturating_add((self.next() % 12_001) as i16 - 6000);
            }
        }
    }

    /// Damages image data without error correction, and nothing else.
    pub(super) fn damage_ifp(&mut self, ifp: &mut [u8], version: u8) {
        let image = is_image(ifp);
        // One field; its type is of 3 bits in version 0, else of 4.
        let [_, 1, field, _, _, data @ ..] = ifp else { return };
        let kind = if version == 0 { *field >> 4 & 7 } else { *field >> 3 & 0xf };
        // 6 is t4-non-ecm-data.
        if image && *field & 0x80 != 0 && kind == 6 {
            // Not all of it: where no end of line survives, there are no bad lines to count.
            data.iter_mut().step_by(4).for_each(|octet| *octet ^= self.next() as u8);
        }
    }
}
