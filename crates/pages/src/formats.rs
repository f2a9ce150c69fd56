//! Which documents this gateway turns into pages, and by which way: its policy and what is installed beside it.
//!
//! Asked twice, with the same answer: before a mail is accepted, and when its pages are made.

use crate::kind::{Kind, kind_of};
use crate::office::suite::PACKAGES;
use crate::office::{Heif, OfficeKind, Suite};
use crate::order::{ConvertError, ErrorKind, Result};
use crate::zip::Archive;

/// What lays office documents out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OfficePolicy {
    /// LibreOffice, where it is installed; where it is not they are refused with the packages' names.
    #[default]
    LibreOffice,
    /// Nothing: they are refused.
    Off,
}

/// What is done with an archive of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ZipPolicy {
    /// Refused, with the names of its members.
    #[default]
    Refuse,
    /// A page with the names and sizes of its members.
    List,
    /// Its members become pages in its order; archives in it too.
    Render,
}

/// Policy, and LibreOffice where it can be had.
#[derive(Debug, Clone, Default)]
pub struct Formats {
    /// For office documents.
    pub office: OfficePolicy,
    /// For archives.
    pub zip: ZipPolicy,
    /// LibreOffice, or why not; none: nobody looked, as where another process makes the pages.
    pub suite: Option<std::result::Result<Suite, String>>,
    /// What decodes HEIC and AVIF, or why not; none: nobody looked.
    pub heif: Option<std::result::Result<Heif, String>>,
}

/// What whoever took the picture can do.
const HEIF_REMEDY: &str = "fix: send it as JPEG or PDF (on an iPhone: Settings, Camera, Formats, Most Compatible)";
/// Names that a refusal shows.
const NAMES_MAX: usize = 5;

/// Where a part goes next.
#[derive(Debug, Clone)]
pub(crate) enum Route {
    /// To the converter process, as it is.
    Converter,
    /// To LibreOffice first.
    Suite(OfficeKind, Suite),
    /// To libheif first.
    Heif(Heif),
    /// Its members go on instead of it.
    Unpack,
}

impl Formats {
    /// An error that says why and what to do when no pages are made of it. Where nobody looked for LibreOffice, its
    /// documents pass. `media` is `type/subtype` in lower case, `name` the file name, `bytes` the whole document; its
    /// structure alone is looked at.
    pub fn check(&self, media: &str, name: &str, bytes: &[u8]) -> Result<()> {
        match kind_of(media, name, bytes) {
            Some(Kind::Office(_)) if self.suite.is_none() && self.office != OfficePolicy::Off => Ok(()),
            Some(Kind::Heif) if self.heif.is_none() => Ok(()),
            _ => self.route(media, name, bytes).map(drop),
        }
    }

    pub(crate) fn route(&self, media: &str, name: &str, bytes: &[u8]) -> Result<Route> {
        match kind_of(media, name, bytes) {
            None => {
                let media = if media.is_empty() { "no media type" } else { media };
                Err(unsupported(format!(
                    "no converter for this kind of file ({media}); fix: send it as PDF, TIFF, PNG, JPEG, GIF or plain text"
                )))
            }
            Some(Kind::Zip) => match self.zip {
                ZipPolicy::Refuse => Err(unsupported(refused(bytes))),
                ZipPolicy::List => Ok(Route::Converter),
                ZipPolicy::Render => Ok(Route::Unpack),
            },
            Some(Kind::Office(kind)) => self.office(kind),
            Some(Kind::Heif) => match &self.heif {
                Some(Ok(heif)) => Ok(Route::Heif(*heif)),
                Some(Err(reason)) => {
                    Err(unsupported(format!("HEIC and AVIF need libheif on the gateway: {reason}; {HEIF_REMEDY}")))
                }
                None => Err(unsupported(format!("HEIC and AVIF need libheif on the gateway; {HEIF_REMEDY}"))),
            },
            Some(Kind::Locked) if self.office == OfficePolicy::Off => Err(switched_off()),
            Some(_) => Ok(Route::Converter),
        }
    }

    fn office(&self, kind: OfficeKind) -> Result<Route> {
        match (self.office, &self.suite) {
            (OfficePolicy::Off, _) => Err(switched_off()),
            (_, Some(Ok(suite))) => Ok(Route::Suite(kind, suite.clone())),
            (_, reason) => {
                let reason = match reason {
                    Some(Err(reason)) => reason.clone(),
                    _ => format!("fix: install {PACKAGES}"),
                };
                let extension = kind.extension().to_uppercase();
                Err(unsupported(format!("{extension} needs LibreOffice on the gateway: {reason}; or send it as PDF")))
            }
        }
    }
}

fn refused(bytes: &[u8]) -> String {
    let Ok(archive) = Archive::open(bytes) else {
        return "archives are not opened here; fix: attach the files themselves".to_owned();
    };
    let names: Vec<&str> = archive.members.iter().take(NAMES_MAX).map(|member| member.name.as_str()).collect();
    let more = archive.members.len().saturating_sub(NAMES_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("archives are not opened here; it holds {}{more}; fix: attach the files themselves", names.join(", "))
}

fn switched_off() -> ConvertError {
    unsupported("office documents are not taken here; fix: send it as PDF")
}

fn unsupported(detail: impl Into<String>) -> ConvertError {
    ConvertError::new(ErrorKind::Unsupported, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zip::tests::archive;

    #[test]
    fn a_refused_archive_names_its_members() {
        let names: Vec<String> = (1..=12).map(|n| format!("scan {n}.pdf")).collect();
        let members: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
        let error = Formats::default().check("application/zip", "a.zip", &archive(&members, Some(6))).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported);
        assert!(error.detail.contains("scan 1.pdf, scan 2.pdf") && error.detail.contains("and 7 more"), "{error}");
    }

    #[test]
    fn a_document_for_libreoffice_is_refused_with_the_packages_where_it_is_missing() {
        let letter = include_bytes!("../tests/data/letter.doc");
        let error = Formats::default().route("", "letter.doc", letter).unwrap_err();
        assert!(error.detail.contains("libreoffice-writer-nogui"), "{error}");
        assert!(Formats::default().check("", "letter.doc", letter).is_ok(), "somebody else makes the pages");
        let broken = Formats { suite: Some(Err("no user namespaces".to_owned())), ..Formats::default() };
        assert!(broken.check("", "letter.doc", letter).unwrap_err().detail.contains("no user namespaces"));
        let off = Formats { office: OfficePolicy::Off, ..Formats::default() };
        assert!(off.check("", "a.docx", b"PK\x03\x04").unwrap_err().detail.contains("not taken here"));
    }
}
