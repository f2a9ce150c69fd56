//! Compressed rich text (MS-OXRTFCP): references into the last 4096 octets, a dictionary known in advance.

use crate::budget::Budget;
use crate::reader::Reader;

/// MS-OXRTFCP §2.1.2.1: what the dictionary begins with.
const DICTIONARY: &[u8; 207] = b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \
    \\fmodern \\fscript \\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\
    \\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx";
const WINDOW_BYTES: usize = 4096;
/// `LZFu`: compressed. `MELA`: as it is.
const COMPRESSED: u32 = 0x7546_5a4c;
const STORED: u32 = 0x414c_454d;
/// The length field does not count itself.
const LENGTH_BYTES: usize = 4;
const HEADER_BYTES: usize = 16;

/// Rich text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unpacked {
    pub(crate) octets: Vec<u8>,
    /// Whether the checksum is right.
    pub(crate) intact: bool,
}

/// Undoes the compression.
///
/// # Errors
/// One line: the header is cut off or names another compression, the content is cut off or too large.
pub(crate) fn decompress(octets: &[u8], budget: &mut Budget) -> Result<Unpacked, String> {
    let header = || {
        let mut reader = Reader::new(octets);
        let (length, raw, kind, crc) = (reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?);
        Some((usize::try_from(length).ok()?, usize::try_from(raw).ok()?, kind, crc))
    };
    let (length, raw, kind, crc) = header().ok_or("it is cut off")?;
    let end = length.saturating_add(LENGTH_BYTES).min(octets.len());
    let content = octets.get(HEADER_BYTES..end).unwrap_or_default();
    match kind {
        STORED => {
            budget.take(content.len()).map_err(|e| e.to_string())?;
            let taken = content.get(..raw).ok_or("it is cut off")?;
            Ok(Unpacked { octets: taken.to_vec(), intact: true })
        }
        COMPRESSED => {
            let octets = unpack(content, raw, budget)?;
            Ok(Unpacked { octets, intact: checksum(content) == crc })
        }
        _ => Err("its compression is not known".to_owned()),
    }
}

fn unpack(content: &[u8], raw: usize, budget: &mut Budget) -> Result<Vec<u8>, String> {
    /// 2 octets stand for at most 17, and each 8 pairs have an octet of flags (MS-OXRTFCP §2.1.3.1.5).
    const GROWTH_MAX: usize = 9;
    let limit = raw.min(content.len().saturating_mul(GROWTH_MAX));
    budget.take(limit).map_err(|e| e.to_string())?;
    let mut out = Vec::with_capacity(limit);
    let mut window = [b' '; WINDOW_BYTES];
    window[..DICTIONARY.len()].copy_from_slice(DICTIONARY);
    let mut at = DICTIONARY.len();
    let mut put = |octet: u8, window: &mut [u8; WINDOW_BYTES], at: &mut usize| {
        window[*at] = octet;
        *at = (*at + 1) % WINDOW_BYTES;
        out.push(octet);
        out.len() > limit
    };
    let mut input = content.iter().copied();
    'runs: while let Some(flags) = input.next() {
        for bit in 0..8 {
            let Some(first) = input.next() else { break 'runs };
            if flags >> bit & 1 == 0 {
                if put(first, &mut window, &mut at) {
                    break 'runs;
                }
                continue;
            }
            let Some(second) = input.next() else { break 'runs };
            // MS-OXRTFCP §2.1.3.1.4: 12 bits of offset, 4 of length less 2; an offset to the write position ends it.
            let offset = usize::from(first) << 4 | usize::from(second) >> 4;
            if offset == at {
                break 'runs;
            }
            for step in 0..usize::from(second & 0xf) + 2 {
                if put(window[(offset + step) % WINDOW_BYTES], &mut window, &mut at) {
                    break 'runs;
                }
            }
        }
    }
    if out.len() < raw {
        return Err(format!("{} octets of {raw} are there", out.len()));
    }
    out.truncate(raw);
    Ok(out)
}

/// MS-OXRTFCP §2.1.3.1.2: CRC-32 that begins with 0 and is not inverted at its end.
fn checksum(octets: &[u8]) -> u32 {
    octets.iter().fold(0u32, |crc, octet| {
        (0..8).fold(crc ^ u32::from(*octet), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MS-OXRTFCP §4.1.1 and §4.2.1: `{\rtf1\ansi\ansicpg1252\pard hello world}` and a run that overlaps itself.
    const SIMPLE: &str = "2d 00 00 00 2b 00 00 00 4c 5a 46 75 f1 c5 c7 a7 03 00 0a 00 72 63 70 67 31 32 35 42 32 0a \
        f3 20 68 65 6c 09 00 20 62 77 05 b0 6c 64 7d 0a 80 0f a0";
    const OVERLAP: &str = "1a 00 00 00 1c 00 00 00 4c 5a 46 75 e2 d4 4b 51 41 00 04 20 57 58 59 5a 0d 6e 7d 01 0e b0";

    fn octets(hex: &str) -> Vec<u8> {
        hex.split_whitespace().map(|h| u8::from_str_radix(h, 16).unwrap()).collect()
    }

    fn unpack(octets: &[u8]) -> Result<Unpacked, String> {
        decompress(octets, &mut Budget::of(octets.len()))
    }

    #[test]
    fn the_standards_examples_unpack() {
        let simple = unpack(&octets(SIMPLE)).unwrap();
        assert_eq!(String::from_utf8_lossy(&simple.octets), "{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n");
        assert!(simple.intact);
        let overlap = unpack(&octets(OVERLAP)).unwrap();
        assert_eq!(String::from_utf8_lossy(&overlap.octets), "{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}");
        assert!(overlap.intact);
    }

    #[test]
    fn a_cut_or_false_one_is_an_error_and_a_wrong_checksum_is_seen() {
        let whole = octets(SIMPLE);
        for end in 0..whole.len() - 2 {
            assert!(unpack(&whole[..end]).is_err(), "cut at {end}");
        }
        let mut wrong = whole.clone();
        wrong[12] ^= 1;
        assert!(!unpack(&wrong).unwrap().intact);
        wrong[8] ^= 1;
        assert!(unpack(&wrong).is_err());
        let stored = [&[16, 0, 0, 0, 4, 0, 0, 0][..], b"MELA\0\0\0\0{\\x}"].concat();
        assert_eq!(unpack(&stored).unwrap().octets, b"{\\x}");
    }

    #[test]
    fn a_size_that_is_a_lie_costs_nothing() {
        let mut lie = octets(SIMPLE);
        lie[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(unpack(&lie).is_err());
    }
}
