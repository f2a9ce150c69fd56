//! Octets in a Windows code page become Unicode.

use encoding_rs::{
    BIG5, EUC_JP, EUC_KR, Encoding, GB18030, GBK, IBM866, ISO_2022_JP, ISO_8859_2, ISO_8859_3, ISO_8859_4, ISO_8859_5,
    ISO_8859_6, ISO_8859_7, ISO_8859_8, ISO_8859_10, ISO_8859_13, ISO_8859_14, ISO_8859_15, KOI8_R, KOI8_U, MACINTOSH,
    SHIFT_JIS, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_874, WINDOWS_1250, WINDOWS_1251, WINDOWS_1252, WINDOWS_1253,
    WINDOWS_1254, WINDOWS_1255, WINDOWS_1256, WINDOWS_1257, WINDOWS_1258,
};

/// What everything without a code page is read as.
pub(crate) const WESTERN: u32 = 1252;

/// The upper halves of the two code pages of DOS that Western Outlooks wrote.
const DOS: [(u32, &str); 2] = [
    (
        437,
        "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}",
    ),
    (
        850,
        "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐└┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u{ad}±‗¾¶§÷¸°¨·¹³²■\u{a0}",
    ),
];

/// Text of these octets. A code page that is not known is read as UTF-8 if it is, else as Windows-1252.
pub(crate) fn decode(octets: &[u8], code_page: u32) -> String {
    if octets.is_ascii() && !matches!(code_page, 1200 | 1201 | 50220..=50222) {
        return octets.iter().map(|b| char::from(*b)).collect();
    }
    if let Some((_, upper)) = DOS.iter().find(|(number, _)| *number == code_page) {
        let upper: Vec<char> = upper.chars().collect();
        let letter = |b: &u8| b.checked_sub(128).map_or(char::from(*b), |n| upper[usize::from(n)]);
        return octets.iter().map(letter).collect();
    }
    match encoding(code_page) {
        Some(encoding) => encoding.decode_without_bom_handling(octets).0.into_owned(),
        None => match std::str::from_utf8(octets) {
            Ok(text) => text.to_owned(),
            Err(_) => WINDOWS_1252.decode_without_bom_handling(octets).0.into_owned(),
        },
    }
}

/// UTF-16, little endian.
pub(crate) fn wide(octets: &[u8]) -> String {
    let (units, _) = octets.as_chunks::<2>();
    let units = units.iter().map(|u| u16::from_le_bytes(*u));
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

fn encoding(code_page: u32) -> Option<&'static Encoding> {
    Some(match code_page {
        866 => IBM866,
        874 => WINDOWS_874,
        932 | 50932 => SHIFT_JIS,
        936 | 20936 => GBK,
        949 | 1361 | 51949 | 50949 => EUC_KR,
        950 | 50950 => BIG5,
        1200 => UTF_16LE,
        1201 => UTF_16BE,
        1250 => WINDOWS_1250,
        1251 => WINDOWS_1251,
        // 28591 is ISO-8859-1 and 20127 US-ASCII: everybody who says so writes Windows-1252.
        1252 | 20127 | 28591 => WINDOWS_1252,
        1253 => WINDOWS_1253,
        1254 | 28599 => WINDOWS_1254,
        1255 => WINDOWS_1255,
        1256 => WINDOWS_1256,
        1257 => WINDOWS_1257,
        1258 => WINDOWS_1258,
        10000 => MACINTOSH,
        20866 => KOI8_R,
        21866 => KOI8_U,
        20932 | 51932 => EUC_JP,
        28592 => ISO_8859_2,
        28593 => ISO_8859_3,
        28594 => ISO_8859_4,
        28595 => ISO_8859_5,
        28596 => ISO_8859_6,
        28597 => ISO_8859_7,
        28598 | 38598 => ISO_8859_8,
        28600 => ISO_8859_10,
        28603 => ISO_8859_13,
        28604 => ISO_8859_14,
        28605 => ISO_8859_15,
        50220..=50222 => ISO_2022_JP,
        54936 | 52936 => GB18030,
        65001 => UTF_8,
        _ => return None,
    })
}

/// The code page of a font's character set in RTF (`\fcharset`); none means the document's own.
pub(crate) fn of_font(charset: i32) -> Option<u32> {
    Some(match charset {
        77 => 10000,
        128 => 932,
        129 | 130 => 949,
        134 => 936,
        136 => 950,
        161 => 1253,
        162 => 1254,
        163 => 1258,
        177 => 1255,
        178 => 1256,
        186 => 1257,
        204 => 1251,
        222 => 874,
        238 => 1250,
        255 => 850,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_read_as_their_code_page_says() {
        for (octets, code_page, expected) in [
            (&b"plain"[..], 1252, "plain"),
            (b"f\xfcr", 1252, "für"),
            (b"f\x81r", 850, "für"),
            (b"f\x81r\xff", 437, "für\u{a0}"),
            (b"\xcf\xf0\xe8", 1251, "При"),
            (b"\x93\xfa", 932, "日"),
            (b"f\xc3\xbcr", 65001, "für"),
            (b"f\xc3\xbcr", 4711, "für"),
            (b"f\xfcr", 4711, "für"),
        ] {
            assert_eq!(decode(octets, code_page), expected, "{code_page}");
        }
        assert!(DOS.iter().all(|(_, upper)| upper.chars().count() == 128));
        assert_eq!(wide(b"f\0\xfc\0\0"), "fü");
        assert_eq!(wide(b"\x3d\xd8\xe0\xdc\x3d\xd8"), "📠\u{fffd}");
    }
}
