//! The one field of EXIF that matters. Standard: EXIF 2.3 §4.6.4 (Orientation), inside a TIFF file.

const ORIENTATION: u16 = 0x0112;
/// Fields that are looked through.
const FIELDS_MAX: usize = 256;

/// How the picture is held, 1 to 8; none when nothing is said.
pub(super) fn orientation(exif: &[u8]) -> Option<u32> {
    let is_little = match exif.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let number = |at: usize, length: usize| {
        let octets = exif.get(at..at.checked_add(length)?)?;
        let fold = |sum: usize, octet: &u8| sum << 8 | usize::from(*octet);
        Some(if is_little { octets.iter().rev().fold(0, fold) } else { octets.iter().fold(0, fold) })
    };
    let start = number(4, 4)?;
    let count = number(start, 2)?.min(FIELDS_MAX);
    let field = (0..count).map(|index| start + 2 + index * 12).find(|at| number(*at, 2) == Some(ORIENTATION.into()))?;
    number(field + 8, 2).filter(|value| (1..=8).contains(value)).map(|value| value as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_orientation_is_found_in_either_byte_order_and_nothing_else_is_read() {
        let big = b"MM\0*\0\0\0\x08\0\x02\x01\x0f\0\x02\0\0\0\0\0\0\0\0\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        assert_eq!(orientation(big), Some(6));
        let little = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x03\0\0\0\0\0\0\0";
        assert_eq!(orientation(little), Some(3));
        for length in 0..little.len() - 8 {
            assert_eq!(orientation(&little[..length]), None, "{length} octets");
        }
        assert_eq!(orientation(b"II*\0\xff\xff\xff\xff"), None);
        assert_eq!(orientation(b"MM\0*\0\0\0\x08\xff\xff"), None);
    }
}
