//! Which office document something is: by its content, and where that is damaged by what it claims.

use crate::compound;
use crate::kind::Kind;
use crate::zip::Archive;

/// Formats of word processors, spreadsheets and presentations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OfficeKind {
    /// Word, since 2007; with or without macros, templates too.
    Docx,
    /// Excel, since 2007.
    Xlsx,
    /// PowerPoint, since 2007.
    Pptx,
    /// Excel, since 2007, binary.
    Xlsb,
    /// Word, 97 to 2003.
    Doc,
    /// Excel, 97 to 2003.
    Xls,
    /// PowerPoint, 97 to 2003.
    Ppt,
    /// OpenDocument text.
    Odt,
    /// OpenDocument table.
    Ods,
    /// OpenDocument presentation.
    Odp,
    /// OpenDocument drawing.
    Odg,
    /// Rich Text Format.
    Rtf,
}

use OfficeKind::{Doc, Docx, Odg, Odp, Ods, Odt, Ppt, Pptx, Rtf, Xls, Xlsb, Xlsx};

/// Kind, extensions (the first one is what its file is called in the sandbox), media types.
const TABLE: &[(OfficeKind, &[&str], &[&str])] = &[
    (
        Docx,
        &["docx", "docm", "dotx", "dotm"],
        &[
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.template",
            "application/vnd.ms-word.document.macroenabled.12",
        ],
    ),
    (
        Xlsx,
        &["xlsx", "xlsm", "xltx", "xltm"],
        &[
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            "application/vnd.openxmlformats-officedocument.spreadsheetml.template",
            "application/vnd.ms-excel.sheet.macroenabled.12",
        ],
    ),
    (
        Pptx,
        &["pptx", "pptm", "ppsx", "potx"],
        &[
            "application/vnd.openxmlformats-officedocument.presentationml.presentation",
            "application/vnd.openxmlformats-officedocument.presentationml.slideshow",
            "application/vnd.ms-powerpoint.presentation.macroenabled.12",
        ],
    ),
    (Xlsb, &["xlsb"], &["application/vnd.ms-excel.sheet.binary.macroenabled.12"]),
    (Doc, &["doc", "dot"], &["application/msword"]),
    (Xls, &["xls", "xlt"], &["application/vnd.ms-excel", "application/msexcel"]),
    (Ppt, &["ppt", "pps", "pot"], &["application/vnd.ms-powerpoint"]),
    (
        Odt,
        &["odt", "ott"],
        &["application/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.text-template"],
    ),
    (
        Ods,
        &["ods", "ots"],
        &["application/vnd.oasis.opendocument.spreadsheet", "application/vnd.oasis.opendocument.spreadsheet-template"],
    ),
    (
        Odp,
        &["odp", "otp"],
        &[
            "application/vnd.oasis.opendocument.presentation",
            "application/vnd.oasis.opendocument.presentation-template",
        ],
    ),
    (
        Odg,
        &["odg", "otg"],
        &["application/vnd.oasis.opendocument.graphics", "application/vnd.oasis.opendocument.graphics-template"],
    ),
    (Rtf, &["rtf"], &["application/rtf", "text/rtf", "text/richtext"]),
];

/// The main part's content type in `[Content_Types].xml`, without `.main+xml` (ECMA-376-1 §11.3, §12.3, §13.3).
const MAIN_PARTS: &[(OfficeKind, &str)] = &[
    (Docx, "openxmlformats-officedocument.wordprocessingml.document.main"),
    (Docx, "openxmlformats-officedocument.wordprocessingml.template.main"),
    (Docx, "ms-word.document.macroEnabled.main"),
    (Docx, "ms-word.template.macroEnabledTemplate.main"),
    (Xlsx, "openxmlformats-officedocument.spreadsheetml.sheet.main"),
    (Xlsx, "openxmlformats-officedocument.spreadsheetml.template.main"),
    (Xlsx, "ms-excel.sheet.macroEnabled.main"),
    (Xlsx, "ms-excel.template.macroEnabled.main"),
    (Xlsb, "ms-excel.sheet.binary.macroEnabled.main"),
    (Pptx, "openxmlformats-officedocument.presentationml.presentation.main"),
    (Pptx, "openxmlformats-officedocument.presentationml.slideshow.main"),
    (Pptx, "openxmlformats-officedocument.presentationml.template.main"),
    (Pptx, "ms-powerpoint.presentation.macroEnabled.main"),
    (Pptx, "ms-powerpoint.slideshow.macroEnabled.main"),
];

/// Longest list of content types that is read.
const CONTENT_TYPES_MAX_BYTES: u64 = 1 << 20;

impl OfficeKind {
    /// As its file is called.
    pub(crate) fn extension(self) -> &'static str {
        TABLE.iter().find(|(kind, _, _)| *kind == self).map_or("bin", |(_, extensions, _)| extensions[0])
    }

    /// What media type (lower case) or name claim.
    pub(crate) fn claimed(media: &str, name: &str) -> Option<Self> {
        let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default();
        let by_media = TABLE.iter().find(|(_, _, types)| types.contains(&media));
        let row = by_media.or_else(|| TABLE.iter().find(|(_, extensions, _)| extensions.contains(&extension.as_str())));
        row.map(|(kind, _, _)| *kind)
    }
}

/// What a zip archive is: an office document by its list of content types or its `mimetype`, or an archive of files.
pub(crate) fn of_zip(media: &str, name: &str, bytes: &[u8]) -> Option<Kind> {
    let Ok(mut archive) = Archive::open(bytes) else {
        return Some(OfficeKind::claimed(media, name).map_or(Kind::Zip, Kind::Office));
    };
    if let Some(types) = archive.small("[Content_Types].xml", CONTENT_TYPES_MAX_BYTES) {
        let types = String::from_utf8_lossy(&types);
        return MAIN_PARTS.iter().find(|(_, part)| types.contains(part)).map(|(kind, _)| Kind::Office(*kind));
    }
    // OpenDocument 1.3 part 2 §3.3; e-books have one too.
    if let Some(media) = archive.small("mimetype", 1024) {
        let media = String::from_utf8_lossy(&media).trim().to_ascii_lowercase();
        // OpenDocument 1.3 part 2 §4.8.
        let manifest = archive.small("META-INF/manifest.xml", CONTENT_TYPES_MAX_BYTES).unwrap_or_default();
        if String::from_utf8_lossy(&manifest).contains("encryption-data") {
            return Some(Kind::Locked);
        }
        return TABLE
            .iter()
            .find(|(_, _, types)| types.contains(&media.as_str()))
            .map(|(kind, _, _)| Kind::Office(*kind));
    }
    Some(Kind::Zip)
}

/// What an OLE compound file is.
pub(crate) fn of_compound(media: &str, name: &str, bytes: &[u8]) -> Option<Kind> {
    let Some(root) = compound::root(bytes) else {
        return OfficeKind::claimed(media, name).map(Kind::Office);
    };
    let find = |wanted: &str| root.iter().find(|entry| entry.name.eq_ignore_ascii_case(wanted));
    // MS-OFFCRYPTO §2.3: what a password makes of DOCX, XLSX and PPTX.
    let (kind, locked) = if find("EncryptedPackage").is_some() {
        return Some(Kind::Locked);
    } else if let Some(stream) = find("WordDocument") {
        (Doc, doc_is_locked(stream.head))
    } else if find("Workbook").or_else(|| find("Book")).is_some() {
        // Excel locks tables that are only write-protected with a password that every program knows (MS-XLS §2.2.10):
        // LibreOffice finds out.
        (Xls, false)
    } else if find("PowerPoint Document").is_some() {
        // MS-PPT §2.3.2: the token of the current user says so; its stream is too small for a sector of its own.
        (Ppt, bytes.windows(4).any(|four| four == [0xdf, 0xc4, 0xd1, 0xf3]))
    } else {
        return None;
    };
    Some(if locked { Kind::Locked } else { Kind::Office(kind) })
}

/// MS-DOC §2.5.2: the ninth of the flags at octet 10.
fn doc_is_locked(head: &[u8]) -> bool {
    head.get(11).is_some_and(|flags| flags & 1 != 0)
}

/// Whether a document that LibreOffice could not open is an older table with a password: MS-XLS §2.4.117, a FilePass
/// record among the first ones.
pub(crate) fn is_locked_table(bytes: &[u8]) -> bool {
    const FILE_PASS: u16 = 0x2f;
    const RECORDS_MAX: usize = 8;
    let root = compound::root(bytes).unwrap_or_default();
    let Some(stream) = root.iter().find(|entry| matches!(entry.name.as_str(), "Workbook" | "Book")) else {
        return false;
    };
    let mut rest = stream.head;
    for _ in 0..RECORDS_MAX {
        let [a, b, c, d, ..] = rest else { return false };
        if u16::from_le_bytes([*a, *b]) == FILE_PASS {
            return true;
        }
        rest = rest.get(4 + usize::from(u16::from_le_bytes([*c, *d]))..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::kind_of;
    use crate::zip::tests::archive;

    #[test]
    fn content_types_and_mimetype_tell_office_documents_from_archives() {
        let types = |part: &str| {
            format!("<Types><Override PartName=\"/x\" ContentType=\"application/vnd.{part}+xml\"/></Types>")
        };
        for (kind, part) in MAIN_PARTS {
            let bytes = archive(&[("x", b"y"), ("[Content_Types].xml", types(part).as_bytes())], Some(6));
            assert_eq!(kind_of("application/zip", "a.zip", &bytes), Some(Kind::Office(*kind)), "{part}");
        }
        for (media, expected) in [
            ("application/vnd.oasis.opendocument.text", Some(Kind::Office(Odt))),
            ("application/vnd.oasis.opendocument.spreadsheet\n", Some(Kind::Office(Ods))),
            ("application/epub+zip", None),
        ] {
            let bytes = archive(&[("mimetype", media.as_bytes()), ("content.xml", b"<x/>")], None);
            assert_eq!(kind_of("", "a.bin", &bytes), expected, "{media}");
        }
        let drawing = archive(&[("[Content_Types].xml", types("ms-visio.drawing.main").as_bytes())], Some(6));
        assert_eq!(kind_of("", "a.vsdx", &drawing), None);
        assert_eq!(kind_of("", "a.docx", &archive(&[("a.txt", b"x")], None)), Some(Kind::Zip), "content decides");
    }

    #[test]
    fn what_is_cut_off_is_what_it_claims_to_be() {
        assert_eq!(kind_of("", "a.docx", b"PK\x03\x04 cut"), Some(Kind::Office(Docx)));
        assert_eq!(kind_of("", "a.zip", b"PK\x03\x04 cut"), Some(Kind::Zip));
        assert_eq!(kind_of("application/msword", "a", compound::SIGNATURE), Some(Kind::Office(Doc)));
        assert_eq!(kind_of("", "Thumbs.db", compound::SIGNATURE), None);
    }

    #[test]
    fn what_a_password_locks_is_known_before_anything_opens_it() {
        for (name, bytes) in [
            ("locked.doc", &include_bytes!("../../tests/data/locked.doc")[..]),
            ("locked.odt", include_bytes!("../../tests/data/locked.odt")),
            ("locked.docx", include_bytes!("../../tests/data/locked.docx")),
        ] {
            assert_eq!(kind_of("", name, bytes), Some(Kind::Locked), "{name}");
        }
        let (table, locked) =
            (include_bytes!("../../tests/data/table.xls"), include_bytes!("../../tests/data/locked.xls"));
        for bytes in [&table[..], locked] {
            assert_eq!(kind_of("", "table.xls", bytes), Some(Kind::Office(Xls)));
        }
        assert!(is_locked_table(locked) && !is_locked_table(table));
    }

    #[test]
    fn an_older_word_file_is_known_whatever_it_is_called() {
        let letter = include_bytes!("../../tests/data/letter.doc");
        assert_eq!(kind_of("application/vnd.ms-excel", "table.xls", letter), Some(Kind::Office(Doc)));
    }
}
