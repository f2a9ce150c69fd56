//! Octets become Unicode: charsets by their MIME and everyday names, guesses where none is named, format=flowed.
//!
//! An unknown charset is an error as soon as it matters. Octets that a known charset does not have become U+FFFD,
//! which shows on the page. RFC 2045 §5.2, RFC 2152 (UTF-7), RFC 2781 (UTF-16), RFC 3676 (flowed).

use encoding_rs::{Encoding, ISO_2022_JP, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

/// Names that say nothing.
const NO_NAMES: [&str; 6] = ["", "us-ascii", "ascii", "unknown-8bit", "x-unknown", "default"];

/// Names in use that the WHATWG list, which `encoding_rs` knows, lacks.
const ALIASES: [(&str, &str); 10] = [
    ("cp932", "shift_jis"),
    ("cp936", "gbk"),
    ("cp949", "euc-kr"),
    ("cp950", "big5"),
    ("cp50220", "iso-2022-jp"),
    ("cp50221", "iso-2022-jp"),
    ("iso-2022-jp-ms", "iso-2022-jp"),
    ("iso-2022-jp-1", "iso-2022-jp"),
    ("utf8mb4", "utf-8"),
    ("cp65001", "utf-8"),
];

enum Charset {
    Guess,
    Utf7,
    Utf16,
    Utf32,
    Known(&'static Encoding),
}

fn charset(name: &str) -> Option<Charset> {
    let name = name.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'')).to_ascii_lowercase();
    // A comment or a second parameter without semicolon.
    let name = name.split([' ', '(', ',']).next().unwrap_or_default();
    if NO_NAMES.contains(&name) {
        return Some(Charset::Guess);
    }
    match name {
        "utf-7" | "utf7" | "unicode-1-1-utf-7" => return Some(Charset::Utf7),
        "utf-16" | "utf16" => return Some(Charset::Utf16),
        "utf-32" | "utf-32be" | "utf-32le" | "utf32" => return Some(Charset::Utf32),
        _ => {}
    }
    let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, real)| *real);
    let with_hyphens = name.replace('_', "-");
    let windows = name
        .strip_prefix("windows")
        .or(name.strip_prefix("win"))
        .map(|n| format!("windows-{}", n.trim_start_matches('-')));
    [name, with_hyphens.as_str(), name.strip_prefix("x-").unwrap_or(name), windows.as_deref().unwrap_or(name)]
        .into_iter()
        .find_map(|n| Encoding::for_label_no_replacement(n.as_bytes()))
        .map(Charset::Known)
}

/// Whether text in this charset can be read.
pub(super) fn is_known(name: &str) -> bool {
    charset(name).is_some()
}

/// Text in a charset; none or `us-ascii` means a guess when octets above 127 occur.
///
/// # Errors
/// The charset is not known and the text is not plain ASCII.
pub(super) fn decode(octets: &[u8], name: Option<&str>) -> Result<String, String> {
    let name = name.unwrap_or_default();
    match charset(name) {
        Some(Charset::Guess) => Ok(guess(octets)),
        Some(Charset::Utf7) => utf7(octets),
        Some(Charset::Utf16) => Ok(utf16(octets)),
        Some(Charset::Utf32) => Ok(utf32(octets, name)),
        Some(Charset::Known(encoding)) if encoding == UTF_8 => Ok(utf8(octets)),
        // The `replacement` and `x-user-defined` of browsers never get here.
        Some(Charset::Known(encoding)) => Ok(encoding.decode(octets).0.into_owned()),
        None if octets.is_ascii() && !octets.contains(&0x1b) => Ok(guess(octets)),
        None => {
            let shown: String = super::clean(name).chars().take(40).collect();
            Err(format!("the charset \"{shown}\" is not known; fix: send the text as UTF-8"))
        }
    }
}

/// UTF-8 when it is, ISO-2022-JP when its escapes occur, Windows-1252 otherwise.
pub(super) fn guess(octets: &[u8]) -> String {
    let japanese = octets.is_ascii() && [&b"\x1b$B"[..], b"\x1b$@"].iter().any(|e| octets.windows(3).any(|w| w == *e));
    if japanese {
        return ISO_2022_JP.decode_without_bom_handling(octets).0.into_owned();
    }
    match std::str::from_utf8(octets) {
        Ok(text) => text.trim_start_matches('\u{feff}').to_owned(),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(octets).0.into_owned(),
    }
}

/// Text that calls itself UTF-8: when none of its octets above 127 is, it is Windows-1252 under a wrong name.
fn utf8(octets: &[u8]) -> String {
    let (text, _, damaged) = UTF_8.decode(octets);
    if damaged && !text.chars().any(|c| !c.is_ascii() && c != '\u{fffd}') {
        return WINDOWS_1252.decode_without_bom_handling(octets).0.into_owned();
    }
    text.into_owned()
}

/// RFC 2781 §4.3: the mark decides, big endian without it. Where that gives no Latin text, but the other order does,
/// the other one is right.
fn utf16(octets: &[u8]) -> String {
    let zeros = |odd: usize| octets.iter().skip(odd).step_by(2).filter(|b| **b == 0).count();
    let encoding = if zeros(1) > zeros(0) { UTF_16LE } else { UTF_16BE };
    encoding.decode(octets).0.into_owned()
}

fn utf32(octets: &[u8], name: &str) -> String {
    let little = octets.starts_with(&[0xff, 0xfe, 0, 0]) || name.to_ascii_lowercase().ends_with("le");
    let code = |c: &[u8; 4]| if little { u32::from_le_bytes(*c) } else { u32::from_be_bytes(*c) };
    let (quads, rest) = octets.as_chunks::<4>();
    let cut = (!rest.is_empty()).then_some('\u{fffd}');
    quads
        .iter()
        .map(|c| char::from_u32(code(c)).unwrap_or('\u{fffd}'))
        .filter(|c| *c != '\u{feff}')
        .chain(cut)
        .collect()
}

/// RFC 2152: ASCII, and UTF-16BE in base64 between `+` and `-`.
fn utf7(octets: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(octets).map_err(|_| "not UTF-7: octets above 127".to_owned())?;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, shifted)) = rest.split_once('+') {
        out.push_str(plain);
        let end = shifted.find(|c: char| !c.is_ascii_alphanumeric() && c != '+' && c != '/').unwrap_or(shifted.len());
        let (coded, after) = shifted.split_at(end);
        if coded.is_empty() && after.starts_with('-') {
            out.push('+');
        } else {
            let units = super::transfer::base64(coded.as_bytes()).map_err(|e| format!("not UTF-7: {e}"))?;
            out.push_str(&UTF_16BE.decode_without_bom_handling(&units[..units.len() & !1]).0);
        }
        rest = after.strip_prefix('-').unwrap_or(after);
    }
    out.push_str(rest);
    Ok(out)
}

/// CRLF and lone CR become LF.
pub(super) fn with_lf(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// What `DelSp` says (RFC 3676 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DelSp {
    /// The space at a soft break belongs to the text.
    Keep,
    /// It belongs to the break.
    Delete,
}

/// RFC 3676 §4: soft breaks are undone, in quoted text as well. Lines end in LF.
pub(super) fn unflow(text: &str, delsp: DelSp) -> String {
    let mut out = String::with_capacity(text.len());
    // The paragraph that the line before left open, and how deep it is quoted.
    let mut open: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let line = line.strip_suffix('\n').unwrap_or(line);
        let depth = line.bytes().take_while(|b| *b == b'>').count();
        let content = &line[depth..];
        // §4.4: one space was stuffed before content that begins with a space, `>` or `From `.
        let content = content.strip_prefix(' ').unwrap_or(content);
        // §4.3: the signature separator is a fixed line although it ends in a space.
        let signature = content == "-- ";
        // §4.5: a change of the quote depth ends a paragraph whatever its last line says.
        if open.is_some_and(|d| d != depth || signature) {
            out.push('\n');
            open = None;
        }
        if open.is_none() && depth > 0 {
            out.extend(std::iter::repeat_n('>', depth));
            out.push(' ');
        }
        let flowed = content.ends_with(' ') && !signature;
        match (flowed, delsp) {
            (true, DelSp::Delete) => out.push_str(&content[..content.len() - 1]),
            _ => out.push_str(content),
        }
        if flowed {
            open = Some(depth);
        } else {
            out.push('\n');
            open = None;
        }
    }
    if !text.ends_with('\n') && out.ends_with('\n') {
        out.pop();
    }
    out
}
