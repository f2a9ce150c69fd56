//! The header block: octets in, fields out; the text of a field in Unicode, its mailboxes, its parameters.
//!
//! A line that is no field ends the block where the text of the mail seems to begin, so that a missing empty line
//! loses no text. RFC 5322 §2.2, §3.4, RFC 2047, RFC 2231.

use std::collections::BTreeMap;

use super::tree::Budget;
use super::{Mailbox, MimeError, text, transfer};

/// One field may be this long: longer than any trace field seen, short enough to be cheap.
const FIELD_BYTES_MAX: usize = 64 * 1024;
/// A structured field (type, disposition) of a real mail has some hundred octets; reading one is quadratic in it.
const STRUCTURED_BYTES_MAX: usize = 8 * 1024;
/// A file name longer than any file system allows is cut.
const NAME_CHARS_MAX: usize = 255;

/// One header field.
#[derive(Debug)]
pub(super) struct Field<'a> {
    /// Lower case.
    pub(super) name: String,
    raw: &'a [u8],
}

impl Field<'_> {
    /// Unicode, unfolded, encoded words still encoded.
    fn unfolded(&self) -> String {
        text::guess(self.raw).replace(['\r', '\n'], "")
    }

    /// For people: decoded, control characters as spaces, trimmed.
    pub(super) fn text(&self) -> String {
        clean(&decode_words(&self.unfolded()))
    }

    /// The mailboxes of an address list; groups give their members.
    pub(super) fn mailboxes(&self) -> Vec<Mailbox> {
        let value = format!("to: {}", self.unfolded());
        let parsed = mailparse::parse_header(value.as_bytes()).and_then(|(h, _)| mailparse::addrparse_header(&h));
        let Ok(list) = parsed else { return bare_mailbox(&value[4..]).into_iter().collect() };
        let mut found = Vec::new();
        for entry in list.into_inner() {
            match entry {
                mailparse::MailAddr::Single(one) => found.push(one),
                mailparse::MailAddr::Group(group) => found.extend(group.addrs),
            }
        }
        found.into_iter().map(|one| mailbox(one.display_name.as_deref(), &one.addr)).collect()
    }

    /// What stands between the angle brackets of a message id; none when it holds spaces or nothing.
    pub(super) fn message_id(&self) -> Option<String> {
        let value = self.unfolded();
        let inner =
            value.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or(value.as_str(), |(id, _)| id);
        let id = inner.trim();
        let fits = !id.is_empty() && id.len() <= 900 && id.chars().all(|c| !c.is_whitespace() && !c.is_control());
        fits.then(|| id.to_owned())
    }

    /// Value and parameters of a structured field, parameters decoded (RFC 2231, and RFC 2047 as many programs do).
    pub(super) fn structured(&self) -> Result<Structured, MimeError> {
        if self.raw.len() > STRUCTURED_BYTES_MAX {
            return Err(MimeError::unsupported(format!(
                "the header field {} is {} octets long, {STRUCTURED_BYTES_MAX} are read at most",
                self.name,
                self.raw.len()
            )));
        }
        let parsed = mailparse::parse_content_type(&self.unfolded());
        let params = parsed.params.into_iter().map(|(name, value)| (name, decode_words(&value))).collect();
        Ok(Structured { value: clean(&parsed.mimetype), params })
    }
}

/// A field such as `Content-Type`.
#[derive(Debug, Default)]
pub(super) struct Structured {
    /// Lower case.
    pub(super) value: String,
    /// Lower-case names.
    params: BTreeMap<String, String>,
}

impl Structured {
    /// A parameter as written.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(String::as_str)
    }

    /// A file name for people; none when it is empty.
    pub(super) fn file_name(&self, param: &str) -> Option<String> {
        let name: String = clean(self.param(param)?).chars().take(NAME_CHARS_MAX).collect();
        (!name.is_empty()).then_some(name)
    }
}

fn mailbox(name: Option<&str>, address: &str) -> Mailbox {
    let name = name.map(|n| clean(&decode_words(n))).filter(|n| !n.is_empty());
    Mailbox { name, address: clean(address) }
}

/// What can be had from an address field that breaks the grammar: the first thing in angle brackets.
fn bare_mailbox(value: &str) -> Option<Mailbox> {
    let (name, rest) = value.split_once('<')?;
    let (address, _) = rest.split_once('>')?;
    address.contains('@').then(|| mailbox(Some(name.trim().trim_matches('"')), address))
}

/// Makes a header's text safe to print, to log and to put into another header.
///
/// Control characters (C0, DEL, C1), line and paragraph separators and bidirectional overrides (they make
/// `gpj.exe` of `exe.jpg`) become spaces; both ends are trimmed.
pub(crate) fn clean(text: &str) -> String {
    let harmless = |c: char| {
        let hidden =
            c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if hidden { ' ' } else { c }
    };
    text.chars().map(harmless).collect::<String>().trim().to_owned()
}

/// Splits a header block from what follows it.
pub(super) fn split<'a>(raw: &'a [u8], budget: &mut Budget) -> Result<(Vec<Field<'a>>, &'a [u8]), MimeError> {
    let mut fields: Vec<Field<'a>> = Vec::new();
    let mut at = 0;
    if raw.starts_with(b"From ")
        && raw.iter().position(|b| *b == b'\n').is_some_and(|n| field_name(line(raw, n + 1)).is_some())
    {
        // The line that a mailbox file puts before each mail.
        at = line(raw, 0).len();
    }
    while at < raw.len() {
        let first = line(raw, at);
        if first.iter().all(|b| matches!(b, b'\r' | b'\n')) {
            return Ok((fields, &raw[at + first.len()..]));
        }
        let mut end = at + first.len();
        while matches!(raw.get(end), Some(b' ' | b'\t')) && !is_blank(line(raw, end)) {
            end += line(raw, end).len();
        }
        match field_name(first) {
            Some((name, colon)) => {
                budget.spend_header(name, end - at, FIELD_BYTES_MAX)?;
                let name = String::from_utf8_lossy(name).to_ascii_lowercase();
                fields.push(Field { name, raw: &raw[at + colon + 1..end] });
            }
            None if !fields.is_empty() && header_goes_on(&raw[end..]) => {}
            // No field, and no more of the header after it: the text begins without an empty line before it.
            None => return Ok((fields, &raw[at..])),
        }
        at = end;
    }
    Ok((fields, &raw[raw.len()..]))
}

/// The line that begins at `at`, with its line end.
pub(super) fn line(raw: &[u8], at: usize) -> &[u8] {
    let rest = raw.get(at..).unwrap_or_default();
    &rest[..rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |n| n + 1)]
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

/// Name and place of the colon. RFC 5322 §3.6.8: printable ASCII but colon; §4.5 allows white space before the colon.
fn field_name(line: &[u8]) -> Option<(&[u8], usize)> {
    let colon = line.iter().position(|b| *b == b':')?;
    let name = line[..colon].trim_ascii_end();
    (!name.is_empty() && name.iter().all(u8::is_ascii_graphic)).then_some((name, colon))
}

/// Whether a field that only headers have comes before the next empty line: then the odd line before it was a slip.
fn header_goes_on(rest: &[u8]) -> bool {
    const KNOWN: [&str; 12] = [
        "content-",
        "mime-version",
        "from",
        "to",
        "cc",
        "subject",
        "date",
        "message-id",
        "received",
        "reply-to",
        "x-",
        "dkim-",
    ];
    // Looks at no more than a header may have.
    rest.split_inclusive(|b| *b == b'\n').take(1000).take_while(|l| !is_blank(l)).any(|l| {
        field_name(l).is_some_and(|(name, _)| {
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            KNOWN.iter().any(|known| if known.ends_with('-') { name.starts_with(known) } else { name == *known })
        })
    })
}

/// RFC 2047: encoded words become text; what is no valid word stays as it is.
///
/// Neighbours in one charset are joined before decoding: programs cut multi-octet characters in two.
pub(super) fn decode_words(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut run: Option<(String, Vec<u8>)> = None;
    let mut rest = value;
    while !rest.is_empty() {
        let Some(start) = rest.find("=?") else { break };
        let Some((charset, octets, after)) = encoded_word(&rest[start..]) else {
            flush(&mut run, &mut out);
            out.push_str(&rest[..start + 2]);
            rest = &rest[start + 2..];
            continue;
        };
        let between = &rest[..start];
        // RFC 2047 §6.2: white space between two encoded words is not shown.
        let neighbours = run.is_some() && between.chars().all(char::is_whitespace);
        if !neighbours {
            flush(&mut run, &mut out);
            out.push_str(between);
        }
        match &mut run {
            Some((same, collected)) if same.eq_ignore_ascii_case(&charset) => collected.extend(octets),
            _ => {
                flush(&mut run, &mut out);
                run = Some((charset, octets));
            }
        }
        rest = &rest[start + after..];
    }
    flush(&mut run, &mut out);
    out.push_str(rest);
    out
}

fn flush(run: &mut Option<(String, Vec<u8>)>, out: &mut String) {
    if let Some((charset, octets)) = run.take() {
        // The charset was found to be known when the word was read.
        out.push_str(&text::decode(&octets, Some(&charset)).unwrap_or_else(|_| text::guess(&octets)));
    }
}

/// `=?charset?B?text?=` at the start: charset, octets, length.
fn encoded_word(at: &str) -> Option<(String, Vec<u8>, usize)> {
    let inner = at.strip_prefix("=?")?;
    let (charset, rest) = inner.split_once('?')?;
    let (encoding, rest) = rest.split_once('?')?;
    let (encoded, _) = rest.split_once("?=")?;
    let length = 2 + charset.len() + 1 + encoding.len() + 1 + encoded.len() + 2;
    // RFC 2231 §5: a language may follow the charset.
    let charset = charset.split('*').next().unwrap_or_default();
    let octets = match encoding {
        "B" | "b" => transfer::base64(encoded.as_bytes()).ok()?,
        // RFC 2047 §4.2 (2): the underscore stands for a space.
        "Q" | "q" => transfer::quoted_printable(encoded.replace('_', " ").as_bytes(), transfer::LineEnds::None),
        _ => return None,
    };
    text::is_known(charset).then(|| (charset.to_owned(), octets, length))
}
