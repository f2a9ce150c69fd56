//! G.711: A-law and µ-law, 8 bits a sample, both ways by table.
//!
//! The tables are computed at compile time from the segments of ITU-T G.711: linear samples are the 13-bit (A-law) and
//! 14-bit (µ-law) values of the standard, shifted to fill 16 bits.

/// The companding law of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Law {
    /// RTP payload type 0.
    Mu,
    /// RTP payload type 8.
    A,
}

impl Law {
    /// RTP payload type (RFC 3551 table 4).
    #[must_use]
    pub(crate) fn payload_type(self) -> u8 {
        match self {
            Self::Mu => 0,
            Self::A => 8,
        }
    }

    /// The law of a payload type.
    #[must_use]
    pub(crate) fn of_payload_type(payload_type: u8) -> Option<Self> {
        match payload_type {
            0 => Some(Self::Mu),
            8 => Some(Self::A),
            _ => None,
        }
    }

    /// One octet to a linear sample.
    #[must_use]
    pub(crate) fn expand(self, octet: u8) -> i16 {
        match self {
            Self::Mu => MU_TO_LINEAR[usize::from(octet)],
            Self::A => A_TO_LINEAR[usize::from(octet)],
        }
    }

    /// A linear sample to one octet.
    #[must_use]
    pub(crate) fn compress(self, sample: i16) -> u8 {
        match self {
            // The tables are indexed by the sample without the bits that no code of the law can express.
            Self::Mu => LINEAR_TO_MU[(sample as u16 >> 2) as usize],
            Self::A => LINEAR_TO_A[(sample as u16 >> 3) as usize],
        }
    }
}

static MU_TO_LINEAR: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = mu_expand(code as u8);
        code += 1;
    }
    table
};

static A_TO_LINEAR: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = a_expand(code as u8);
        code += 1;
    }
    table
};

static LINEAR_TO_MU: [u8; 1 << 14] = {
    let mut table = [0; 1 << 14];
    let mut index = 0;
    while index < 1 << 14 {
        table[index] = mu_compress((index << 2) as u16 as i16);
        index += 1;
    }
    table
};

static LINEAR_TO_A: [u8; 1 << 13] = {
    let mut table = [0; 1 << 13];
    let mut index = 0;
    while index < 1 << 13 {
        table[index] = a_compress((index << 3) as u16 as i16);
        index += 1;
    }
    table
};

/// G.711 table 2: all bits inverted, sign, 3 bits of segment, 4 bits of step; the bias is 33 of 14 bits.
const fn mu_expand(code: u8) -> i16 {
    let code = !code;
    let magnitude = (((((code & 0x0f) as i16) << 1) + 33) << ((code >> 4) & 7)) - 33;
    if code & 0x80 != 0 { -(magnitude << 2) } else { magnitude << 2 }
}

/// G.711 table 1: even bits inverted, sign, 3 bits of segment, 4 bits of step; 13 bits.
const fn a_expand(code: u8) -> i16 {
    let code = code ^ 0x55;
    let step = ((code & 0x0f) as i16) << 1;
    let magnitude = match (code >> 4) & 7 {
        0 => step + 1,
        segment => (step + 33) << (segment - 1),
    };
    if code & 0x80 != 0 { magnitude << 3 } else { -(magnitude << 3) }
}

const fn mu_compress(sample: i16) -> u8 {
    let (sign, magnitude) = if sample < 0 { (0x80, -(sample as i32)) } else { (0, sample as i32) };
    let biased = (magnitude >> 2) + 33;
    let biased = if biased > 0x1fff { 0x1fff } else { biased };
    // The segment is the place of the highest bit above the bias.
    let segment = 26 - (biased as u32).leading_zeros() as i32;
    let code = (segment << 4) as u8 | ((biased >> (segment + 1)) & 0x0f) as u8;
    !(sign | code)
}

const fn a_compress(sample: i16) -> u8 {
    // A negative sample of 13 bits, -1 to -4096, has the magnitude of its complement.
    let (sign, magnitude) = if sample < 0 { (0, !sample >> 3) } else { (0x80, sample >> 3) };
    let segment = 11 - ((magnitude as u16 | 0x1f).leading_zeros() as i16);
    let code = if segment == 0 { magnitude >> 1 } else { segment << 4 | ((magnitude >> segment) & 0x0f) };
    (sign | code as u8) ^ 0x55
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_values_of_the_standard() {
        // G.711 tables 1a to 2b: character signals and decoder output values (13 and 14 bits).
        for (law, code, value) in [
            (Law::Mu, 0x80, 8031 * 4),
            (Law::Mu, 0x8f, 4191 * 4),
            (Law::Mu, 0xff, 0),
            (Law::Mu, 0xfe, 2 * 4),
            (Law::Mu, 0x7f, 0),
            (Law::Mu, 0x00, -8031 * 4),
            (Law::Mu, 0xef, 33 * 4),
            (Law::A, 0xaa, 4032 * 8),
            (Law::A, 0xd5, 8),
            (Law::A, 0x55, -8),
            (Law::A, 0x2a, -4032 * 8),
            (Law::A, 0xc5, 33 * 8),
        ] {
            assert_eq!(i32::from(law.expand(code)), value, "{law:?} {code:#04x}");
        }
    }

    #[test]
    fn each_code_survives_both_ways() {
        for law in [Law::Mu, Law::A] {
            for code in 0..=255u8 {
                let back = law.compress(law.expand(code));
                // µ-law has two zeros.
                let same = back == code || (law == Law::Mu && code == 0x7f && back == 0xff);
                assert!(same, "{law:?} {code:#04x} came back as {back:#04x}");
            }
        }
    }

    /// Decision values between the codes of one sign, in units of 14 (µ-law, G.711 table 2a) or 13 bits (A-law, table 1a).
    fn decision_values(law: Law) -> Vec<i32> {
        let step = |code: u32| match law {
            Law::Mu if code == 0 => 1,
            Law::Mu => 2 << (code / 16),
            Law::A => 2 << (code / 16).saturating_sub(1),
        };
        (0..128).scan(0, |value, code| Some(std::mem::replace(value, *value + step(code)))).collect()
    }

    #[test]
    fn each_sample_gets_the_code_between_its_decision_values() {
        assert_eq!(decision_values(Law::Mu)[127], 7903);
        assert_eq!(decision_values(Law::A)[127], 3968);
        for (law, shift, positive, negative) in [(Law::Mu, 2, 0xff, 0x7f), (Law::A, 3, 0xd5, 0x55)] {
            let decisions = decision_values(law);
            let inverted = if law == Law::Mu { 0x7f } else { 0x55 };
            for value in 0..(32_768 >> shift) {
                let step = decisions.partition_point(|&decision| decision <= value) as u8 - 1;
                let code = |sign: u8| sign ^ inverted ^ step;
                let sample = (value << shift) as i16;
                assert_eq!(law.compress(sample), code(positive ^ inverted), "{law:?} {sample}");
                // The magnitude of a negative A-law sample is that of its complement.
                let mirrored = if law == Law::Mu { -sample } else { -sample - 1 };
                let negative = if mirrored == 0 { positive } else { negative };
                assert_eq!(law.compress(mirrored), code(negative ^ inverted), "{law:?} {mirrored}");
            }
        }
    }
}
