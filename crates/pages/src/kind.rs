//! Which converter a document needs: its content decides, then the media type, then the file name.
//!
//! The table of formats is here and in `parts/mod.rs`: a new format is one variant, one signature, one arm there. Office
//! documents and archives begin alike: `office/kind.rs` tells them apart.

use crate::compound;
use crate::office::OfficeKind;
use crate::office::kind::{of_compound, of_zip};

/// A kind of document that can become pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// text/plain in any charset.
    Text,
    /// text/html; nothing in it is fetched.
    Html,
    /// application/pdf.
    Pdf,
    /// image/tiff.
    Tiff,
    /// image/png.
    Png,
    /// image/jpeg.
    Jpeg,
    /// image/gif.
    Gif,
    /// image/bmp.
    Bmp,
    /// image/webp.
    WebP,
    /// image/heic, image/avif.
    Heif,
    /// Of a word processor, a spreadsheet, a presentation.
    Office(OfficeKind),
    /// An office document that a password locks.
    Locked,
    /// An archive of files.
    Zip,
}

/// How far into a file PDF viewers look for `%PDF-` (PDF 32000-1 annex H, implementation note 13).
const PDF_HEADER_WITHIN: usize = 1024;

/// The kind of a document, or none when there is no converter for it.
///
/// `media` is `type/subtype` in lower case, `name` the file name, `bytes` the whole of it: what tells office documents and
/// archives apart is at their end.
pub fn kind_of(media: &str, name: &str, bytes: &[u8]) -> Option<Kind> {
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return of_zip(media, name, bytes);
    }
    if bytes.starts_with(compound::SIGNATURE) {
        return of_compound(media, name, bytes);
    }
    if let Some(signature) = signature(bytes) {
        return signature;
    }
    let head = &bytes[..bytes.len().min(PDF_HEADER_WITHIN)];
    let by_media = match media {
        // Somebody says PDF, TIFF, …, and its content is nothing we know by a signature: the converter will say
        // "damaged", which is nearer to the truth than "unsupported".
        "application/pdf" | "application/x-pdf" => Some(Kind::Pdf),
        "image/tiff" | "image/tiff-fx" => Some(Kind::Tiff),
        "image/png" => Some(Kind::Png),
        "image/jpeg" | "image/jpg" | "image/pjpeg" => Some(Kind::Jpeg),
        "image/gif" => Some(Kind::Gif),
        "image/bmp" | "image/x-ms-bmp" | "image/x-bmp" => Some(Kind::Bmp),
        "image/webp" => Some(Kind::WebP),
        "text/html" | "application/xhtml+xml" => Some(Kind::Html),
        "text/plain" => Some(Kind::Text),
        "application/zip" | "application/x-zip-compressed" => Some(Kind::Zip),
        _ => OfficeKind::claimed(media, "").map(Kind::Office),
    };
    if by_media.is_some() {
        return by_media;
    }
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    match extension.as_deref() {
        Some("pdf") => Some(Kind::Pdf),
        Some("tif" | "tiff") => Some(Kind::Tiff),
        Some("png") => Some(Kind::Png),
        Some("jpg" | "jpeg") => Some(Kind::Jpeg),
        Some("gif") => Some(Kind::Gif),
        Some("bmp") => Some(Kind::Bmp),
        Some("webp") => Some(Kind::WebP),
        Some("htm" | "html") if looks_like_text(head) => Some(Kind::Html),
        Some("txt" | "text" | "log" | "md" | "asc") if looks_like_text(head) => Some(Kind::Text),
        Some("zip") => Some(Kind::Zip),
        _ => OfficeKind::claimed("", name).map(Kind::Office),
    }
}

/// `Some(None)`: a signature we know, of a kind that we cannot convert.
fn signature(head: &[u8]) -> Option<Option<Kind>> {
    const SIGNATURES: &[(&[u8], Option<Kind>)] = &[
        (b"\x89PNG\r\n\x1a\n", Some(Kind::Png)),
        (b"\xff\xd8\xff", Some(Kind::Jpeg)),
        (b"GIF87a", Some(Kind::Gif)),
        (b"GIF89a", Some(Kind::Gif)),
        (b"II*\0", Some(Kind::Tiff)),
        (b"MM\0*", Some(Kind::Tiff)),
        (b"{\\rtf", Some(Kind::Office(OfficeKind::Rtf))),
        (b"MZ", None),
        (b"\x7fELF", None),
        (b"\x1f\x8b", None),
        (b"Rar!", None),
        (b"7z\xbc\xaf\x27\x1c", None),
        (b"%!PS", None),
        (b"\x78\x9f\x3e\x22", None), // TNEF
    ];
    if let Some((_, kind)) = SIGNATURES.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Some(*kind);
    }
    if head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP") {
        return Some(Some(Kind::WebP));
    }
    if is_heif(head) {
        return Some(Some(Kind::Heif));
    }
    // "BM" begins many an English text: take it only with the header's reserved zeros.
    if head.starts_with(b"BM") && head.get(6..10) == Some(&[0; 4]) {
        return Some(Some(Kind::Bmp));
    }
    let window = &head[..head.len().min(PDF_HEADER_WITHIN)];
    let offset = window.windows(5).position(|w| w == b"%PDF-")?;
    // A text that talks about "%PDF-" is no PDF: before the header only rubbish is tolerated.
    (offset == 0 || !looks_like_text(&window[..offset])).then_some(Some(Kind::Pdf))
}

/// ISO/IEC 23008-12: a box "ftyp" with one of the brands of still pictures.
fn is_heif(head: &[u8]) -> bool {
    const BRANDS: &[&[u8]] = &[b"heic", b"heix", b"heim", b"heis", b"mif1", b"avif"];
    head.get(4..8) == Some(b"ftyp") && head.get(8..12).is_some_and(|brand| BRANDS.contains(&brand))
}

/// No zero octets (or a UTF-16 mark), few control characters.
fn looks_like_text(head: &[u8]) -> bool {
    if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) {
        return true;
    }
    let odd = head.iter().filter(|b| matches!(b, 0..=6 | 14..=26 | 28..=31 | 127)).count();
    !head.contains(&0) && odd * 50 <= head.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_goes_before_media_type_and_name() {
        for (media, name, head, expected) in [
            ("application/octet-stream", "scan", &b"%PDF-1.7\n"[..], Some(Kind::Pdf)),
            ("text/plain", "x.txt", b"\x89PNG\r\n\x1a\n....", Some(Kind::Png)),
            ("image/png", "photo.png", b"\xff\xd8\xff\xe0", Some(Kind::Jpeg)),
            ("image/tiff", "fax.tif", b"MM\0*\0\0\0\x08", Some(Kind::Tiff)),
            ("application/pdf", "order.pdf", b"this is no PDF", Some(Kind::Pdf)),
            ("application/octet-stream", "ORDER.PDF", b"\0\0\0", Some(Kind::Pdf)),
            ("application/octet-stream", "notes.txt", b"hello\r\n", Some(Kind::Text)),
            ("application/octet-stream", "notes.txt", b"\0\x01\x02\x03", None),
            ("application/pdf", "x.pdf", b"\0\0junk\x01\x02 %PDF-1.4", Some(Kind::Pdf)),
            ("text/plain", "howto.txt", b"A file begins with %PDF-1.4 when", Some(Kind::Text)),
            ("text/plain", "bm.txt", b"BMW offers a car", Some(Kind::Text)),
            ("application/pdf", "x.pdf", b"PK\x03\x04", Some(Kind::Zip)),
            ("application/msword", "x.doc", b"{\\rtf1 x}", Some(Kind::Office(OfficeKind::Rtf))),
            (
                "application/msword",
                "x.doc",
                b"<html>as some programs save it</html>",
                Some(Kind::Office(OfficeKind::Doc)),
            ),
            ("application/x-msdownload", "setup.exe", b"MZ\x90", None),
            ("application/octet-stream", "picture.webp", b"RIFF\0\0\0\0WEBPVP8 ", Some(Kind::WebP)),
            ("application/octet-stream", "photo", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Some(Kind::Heif)),
            ("application/octet-stream", "film.mp4", b"\0\0\0\x18ftypisom\0\0\0\0", None),
            ("application/octet-stream", "", b"", None),
        ] {
            assert_eq!(kind_of(media, name, head), expected, "{media} {name}");
        }
    }
}
