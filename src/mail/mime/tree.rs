//! The structure of a mail: parts cut at their boundaries, with limits on depth, count and header size.
//!
//! A boundary is a whole line (RFC 2046 §5.1.1's grammar: `--`, the boundary, `--` at the end, white space). The prose
//! there would take each line that begins so; that loses text of mails whose inner boundary begins with the outer one.

use super::header::{self, Field, Structured};
use super::{MimeError, transfer};

/// Multiparts in multiparts. Mail programs make 5 at most, forwarding adds none: attached mails count by themselves.
const DEPTH_MAX: usize = 32;
/// Parts of one mail.
const PARTS_MAX: usize = 500;
/// Header octets of the mail and its parts together.
const HEADER_BYTES_MAX: usize = 1024 * 1024;
/// Header fields of the mail and its parts together.
const FIELDS_MAX: usize = 10_000;

/// What a mail may still cost.
#[derive(Debug, Default)]
pub(super) struct Budget {
    parts: usize,
    header_bytes: usize,
    fields: usize,
}

impl Budget {
    /// Counts one part, of the mail or of a container in it.
    pub(super) fn spend_part(&mut self) -> Result<(), MimeError> {
        self.parts += 1;
        if self.parts > PARTS_MAX {
            return Err(MimeError::unsupported(format!("the mail has too many parts: {PARTS_MAX} are allowed")));
        }
        Ok(())
    }

    /// Counts one field of a header.
    pub(super) fn spend_header(&mut self, name: &[u8], bytes: usize, field_bytes_max: usize) -> Result<(), MimeError> {
        if bytes > field_bytes_max {
            let name: String = String::from_utf8_lossy(name).chars().take(64).collect();
            return Err(MimeError::unsupported(format!(
                "the header field {name} is {bytes} octets long, {field_bytes_max} are allowed"
            )));
        }
        self.fields += 1;
        self.header_bytes += bytes;
        if self.header_bytes > HEADER_BYTES_MAX || self.fields > FIELDS_MAX {
            return Err(MimeError::unsupported(format!(
                "the header is too large: {HEADER_BYTES_MAX} octets and {FIELDS_MAX} fields are allowed"
            )));
        }
        Ok(())
    }
}

/// What a part is.
#[derive(Debug)]
pub(super) struct Media {
    /// `type/subtype`, lower case.
    pub(super) kind: String,
    /// The field with its parameters.
    pub(super) field: Structured,
}

/// One part; the whole mail is one too.
#[derive(Debug)]
pub(super) struct Part<'a> {
    /// `2.1`: the first part of the second part. Empty for the mail itself.
    pub(super) place: String,
    pub(super) fields: Vec<Field<'a>>,
    pub(super) media: Media,
    pub(super) disposition: Structured,
    /// As it is in the mail, still encoded.
    body: &'a [u8],
    /// Of a multipart.
    pub(super) parts: Vec<Part<'a>>,
}

impl Part<'_> {
    /// The name its sender gave it.
    pub(super) fn file_name(&self) -> Option<String> {
        self.disposition.file_name("filename").or_else(|| self.media.field.file_name("name"))
    }

    /// For errors: `part 2.1 "offer.pdf" (application/pdf)`.
    pub(super) fn called(&self) -> String {
        let place =
            if self.place.is_empty() { "the mail's content".to_owned() } else { format!("part {}", self.place) };
        let name = self.file_name().map(|n| format!(" \"{n}\"")).unwrap_or_default();
        format!("{place}{name} ({})", self.media.kind.chars().take(80).collect::<String>())
    }

    /// First field of this name.
    pub(super) fn field(&self, name: &str) -> Option<&Field<'_>> {
        self.fields.iter().find(|f| f.name == name)
    }

    /// Its octets with the transfer encoding undone.
    pub(super) fn octets(&self) -> Result<Vec<u8>, MimeError> {
        let encoding =
            self.field("content-transfer-encoding").map(Field::text).unwrap_or_default().to_ascii_lowercase();
        let damaged = |error: String| MimeError::damaged(format!("{}: {error}", self.called()));
        // Comments and parameters are not allowed there, and occur.
        match encoding.split([';', ' ', '(']).next().unwrap_or_default() {
            "" | "7bit" | "8bit" | "binary" => Ok(self.body.to_vec()),
            "base64" => transfer::base64(self.body).map_err(damaged),
            "x-uuencode" | "uuencode" | "x-uue" => transfer::uuencode(self.body).map_err(damaged),
            "quoted-printable" => Ok(transfer::quoted_printable(self.body, transfer::LineEnds::Lines)),
            other => {
                let other: String = other.chars().take(40).collect();
                Err(MimeError::unsupported(format!("{}: transfer encoding \"{other}\" is not known", self.called())))
            }
        }
    }
}

/// Cuts a whole mail.
pub(super) fn parse<'a>(raw: &'a [u8], budget: &mut Budget) -> Result<Part<'a>, MimeError> {
    parse_part(raw, String::new(), "text/plain", 0, budget)
}

fn parse_part<'a>(
    raw: &'a [u8],
    place: String,
    default_media: &str,
    depth: usize,
    budget: &mut Budget,
) -> Result<Part<'a>, MimeError> {
    budget.spend_part()?;
    let (fields, body) = header::split(raw, budget)?;
    let media = media_of(&fields, default_media)?;
    let disposition = fields.iter().find(|f| f.name == "content-disposition").map(Field::structured).transpose()?;
    let mut part = Part { place, fields, media, disposition: disposition.unwrap_or_default(), body, parts: Vec::new() };
    if part.media.kind.starts_with("multipart/") {
        if depth == DEPTH_MAX {
            return Err(MimeError::unsupported(format!(
                "the mail's parts are nested too deep: {DEPTH_MAX} are allowed"
            )));
        }
        let called = part.called();
        let boundary = part.media.field.param("boundary").unwrap_or_default().trim_end().to_owned();
        // RFC 2046 §5.1.5: the parts of a digest are messages unless they say otherwise.
        let default = if part.media.kind == "multipart/digest" { "message/rfc822" } else { "text/plain" };
        for (number, piece) in cut(body, &boundary, &called)?.into_iter().enumerate() {
            let dot = if part.place.is_empty() { "" } else { "." };
            let place = format!("{}{dot}{}", part.place, number + 1);
            part.parts.push(parse_part(piece, place, default, depth + 1, budget)?);
        }
    }
    Ok(part)
}

fn media_of(fields: &[Field<'_>], default_media: &str) -> Result<Media, MimeError> {
    let Some(field) = fields.iter().find(|f| f.name == "content-type") else {
        return Ok(Media { kind: default_media.to_owned(), field: Structured::default() });
    };
    let field = field.structured()?;
    let well_formed =
        |kind: &str| kind.split_once('/').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty() && !b.contains(' '));
    let kind = match field.value.as_str() {
        // Types from before MIME had subtypes.
        "" | "text" => "text/plain".to_owned(),
        kind if well_formed(kind) => kind.to_owned(),
        // RFC 2045 §5.2 would call it text; it is more likely a document, and its name may tell.
        _ => "application/octet-stream".to_owned(),
    };
    Ok(Media { kind, field })
}

/// What lies between the boundary lines. Text before the first and after the last is for readers without MIME.
fn cut<'a>(body: &'a [u8], boundary: &str, called: &str) -> Result<Vec<&'a [u8]>, MimeError> {
    if boundary.is_empty() {
        return Err(MimeError::damaged(format!("{called} names no boundary for its parts")));
    }
    let delimiter = format!("--{boundary}");
    let mut pieces = Vec::new();
    let mut start = None;
    let mut at = 0;
    while at < body.len() {
        let line = header::line(body, at);
        if let Some(kind) = delimiter_kind(line, delimiter.as_bytes()) {
            if let Some(start) = start {
                pieces.push(without_line_end(&body[start..at.max(start)]));
            }
            start = (kind == Delimiter::Next).then_some(at + line.len());
            if kind == Delimiter::Close || pieces.len() > PARTS_MAX {
                break;
            }
        }
        at += line.len();
    }
    // The closing line is missing: everything up to the end belongs to the last part.
    if let Some(start) = start.filter(|s| *s < body.len()) {
        pieces.push(&body[start..]);
    }
    if pieces.is_empty() && !body.trim_ascii().is_empty() {
        let shown: String = boundary.chars().take(80).collect();
        return Err(MimeError::damaged(format!("{called} has no line --{shown} to begin its parts")));
    }
    Ok(pieces)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delimiter {
    Next,
    Close,
}

fn delimiter_kind(line: &[u8], delimiter: &[u8]) -> Option<Delimiter> {
    let rest = line.strip_prefix(delimiter)?.trim_ascii_end();
    match rest {
        b"" => Some(Delimiter::Next),
        b"--" => Some(Delimiter::Close),
        _ => None,
    }
}

/// RFC 2046 §5.1.1: the line end before a boundary belongs to the boundary.
fn without_line_end(piece: &[u8]) -> &[u8] {
    piece.strip_suffix(b"\n").map_or(piece, |p| p.strip_suffix(b"\r").unwrap_or(p))
}
