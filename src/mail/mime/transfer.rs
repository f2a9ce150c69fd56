//! Content-Transfer-Encoding undone: base64 and quoted-printable (RFC 2045 §6.7, §6.8), and uuencode (POSIX), which old clients send.
//!
//! What is certain is repaired (missing padding, a stray `=`); what is not is an error, never half a document.

use data_encoding::{BASE64, Encoding};

/// Whether the input has lines, whose trailing white space is not content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineEnds {
    /// A body.
    Lines,
    /// An encoded word.
    None,
}

/// White space is ignored and the padding may be missing. Anything else outside the alphabet is an error: RFC 2045
/// §6.8 would have it ignored, but it may as well be a cut or overwritten document.
pub(super) fn base64(encoded: &[u8]) -> Result<Vec<u8>, String> {
    let mut symbols: Vec<u8> = encoded.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    while symbols.last() == Some(&b'=') {
        symbols.pop();
    }
    let strict = |input: &[u8], encoding: &Encoding| encoding.decode(input).map_err(|e| format!("not base64: {e}"));
    if symbols.contains(&b'=') {
        // Encoded piece by piece, each with its own padding.
        while !symbols.len().is_multiple_of(4) {
            symbols.push(b'=');
        }
        return strict(&symbols, &lenient(&BASE64));
    }
    strict(&symbols, &lenient(&data_encoding::BASE64_NOPAD))
}

/// Bits that the last symbol has too many are no content (RFC 4648 §3.5 lets decoders choose).
fn lenient(encoding: &Encoding) -> Encoding {
    let mut specification = encoding.specification();
    specification.check_trailing_bits = false;
    specification.encoding().expect("a specification of the library with one check less is valid")
}

/// Never fails: `=` that begins neither an octet nor a soft line break stands for itself (RFC 2045 §6.7, note 2).
pub(super) fn quoted_printable(encoded: &[u8], ends: LineEnds) -> Vec<u8> {
    let mut out = Vec::with_capacity(encoded.len());
    for line in encoded.split_inclusive(|b| *b == b'\n') {
        let content = line.strip_suffix(b"\n").map_or(line, |l| l.strip_suffix(b"\r").unwrap_or(l));
        let end = &line[content.len()..];
        let content = match ends {
            // RFC 2045 §6.7 (3): white space at the end of a line was added on the way.
            LineEnds::Lines => trim_blanks(content),
            LineEnds::None => content,
        };
        // An `=` as the last octet is a soft break, at the very end of the input as well.
        let (content, end) = match content.strip_suffix(b"=") {
            Some(soft) if ends == LineEnds::Lines => (soft, &b""[..]),
            _ => (content, end),
        };
        octets(content, &mut out);
        out.extend_from_slice(end);
    }
    out
}

/// The octets between `begin MODE NAME` and `end`. Trailing spaces of a line may be missing, which mail servers cut off; anything else is an
/// error.
pub(super) fn uuencode(encoded: &[u8]) -> Result<Vec<u8>, String> {
    let damaged = |why: &str| format!("not uuencode: {why}");
    let mut lines = encoded.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.find(|line| line.starts_with(b"begin ")).ok_or_else(|| damaged("no line begins it"))?;
    let mut out = Vec::with_capacity(encoded.len() / 4 * 3);
    for line in lines {
        if line.trim_ascii_end() == b"end" {
            return Ok(out);
        }
        let Some((length, symbols)) = line.split_first() else { continue };
        let octets = usize::from(length.wrapping_sub(b' ') & 63);
        let value = |symbol: u8| {
            (b' '..=b'`').contains(&symbol).then(|| (symbol - b' ') & 63).ok_or_else(|| damaged("an invalid symbol"))
        };
        let begun = out.len();
        let count = octets.div_ceil(3) * 4;
        let padded = symbols.iter().copied().chain(std::iter::repeat(b' ')).take(count);
        let values = padded.map(value).collect::<Result<Vec<u8>, String>>()?;
        for four in values.chunks_exact(4) {
            out.extend([four[0] << 2 | four[1] >> 4, four[1] << 4 | four[2] >> 2, four[2] << 6 | four[3]]);
        }
        out.truncate(begun + octets);
        // Lines of nothing but missing spaces are a trick.
        if out.len() > encoded.len() {
            return Err(damaged("its lines are too short"));
        }
    }
    Err(damaged("its end is missing"))
}

fn trim_blanks(line: &[u8]) -> &[u8] {
    let kept = line.iter().rposition(|b| !matches!(b, b' ' | b'\t')).map_or(0, |n| n + 1);
    &line[..kept]
}

fn octets(content: &[u8], out: &mut Vec<u8>) {
    let nibble = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let mut at = 0;
    while at < content.len() {
        if content[at] == b'='
            && let (Some(high), Some(low)) = (nibble(content.get(at + 1)), nibble(content.get(at + 2)))
        {
            out.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits make an octet"));
            at += 3;
        } else {
            out.push(content[at]);
            at += 1;
        }
    }
}
