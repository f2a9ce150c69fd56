//! Paths: what stands between the angle brackets of MAIL and RCPT (RFC 5321 §4.1.2, RFC 6531 §3.3).
//!
//! Limits on local parts are those of senders; we take what Exchange really sends (encapsulated fax addresses are longer
//! than the 64 octets of §4.5.3.1.1, and §4.5.3.1 asks receivers to be generous).

use std::fmt;

/// RFC 5321 §4.5.3.1.3 says 256; encapsulated addresses need more.
pub const PATH_MAX: usize = 2000;
/// RFC 5321 §4.5.3.1.2.
const DOMAIN_MAX: usize = 255;

/// A path that is not empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path {
    text: String,
    local: String,
    domain: Option<String>,
}

impl Path {
    /// As it was written between the brackets, without a source route. RFC 3464 §2.3.2 wants reports to repeat it exactly.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The local part without quotes and backslashes.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The domain or `[address literal]`; none for `<postmaster>` alone (RFC 5321 §4.1.1.3).
    pub fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a path cannot be read; the text says what and how to write it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Not of the form `<local@domain>`.
    #[error("{0}")]
    Syntax(&'static str),
    /// Characters outside US-ASCII without SMTPUTF8, or octets that are no UTF-8.
    #[error("{0}")]
    NotAscii(&'static str),
    /// Longer than is allowed.
    #[error("{0}")]
    TooLong(&'static str),
}

/// Whether addresses may be in UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Utf8 {
    /// MAIL had SMTPUTF8.
    Allowed,
    /// It had not.
    Refused,
}

/// Reads `<…>` at the start of `input`. Answers the path (none for `<>`) and what follows the closing bracket.
pub fn parse(input: &str, utf8: Utf8) -> Result<(Option<Path>, &str), PathError> {
    let inner = input
        .strip_prefix('<')
        .ok_or(PathError::Syntax("the address is not in angle brackets; write it as <user@example.com>"))?;
    let end = closing_bracket(inner)
        .ok_or(PathError::Syntax("the address has no closing angle bracket; write it as <user@example.com>"))?;
    let (text, rest) = (&inner[..end], &inner[end + 1..]);
    if text.is_empty() {
        return Ok((None, rest));
    }
    if text.len() > PATH_MAX {
        return Err(PathError::TooLong("the address has more than 2000 octets; shorten it"));
    }
    if utf8 == Utf8::Refused && !text.is_ascii() {
        return Err(PathError::NotAscii("the address is not ASCII; use an ASCII address or give SMTPUTF8 with MAIL"));
    }
    let text = without_route(text)?;
    mailbox(text).map(|path| (Some(path), rest))
}

/// Where `>` stands outside of a quoted string.
fn closing_bracket(inner: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, octet) in inner.bytes().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// RFC 5321 §4.1.2, appendix C: `@a,@b:user@c` is accepted and its route ignored.
fn without_route(text: &str) -> Result<&str, PathError> {
    if !text.starts_with('@') {
        return Ok(text);
    }
    let (route, rest) =
        text.split_once(':').ok_or(PathError::Syntax("the source route has no colon; leave the route out"))?;
    for hop in route.split(',') {
        let domain = hop.strip_prefix('@').unwrap_or_default();
        check_domain(domain)?;
    }
    Ok(rest)
}

fn mailbox(text: &str) -> Result<Path, PathError> {
    let (local, rest) = if text.starts_with('"') { quoted_local(text)? } else { dot_local(text)? };
    if local.is_empty() {
        return Err(PathError::Syntax("nothing stands before the @ of the address; write it as <user@example.com>"));
    }
    if rest.is_empty() {
        // RFC 5321 §4.1.1.3: the one address without a domain.
        return if local.eq_ignore_ascii_case("postmaster") {
            Ok(Path { text: text.to_owned(), local, domain: None })
        } else {
            Err(PathError::Syntax("the address has no domain; write it as <user@example.com>"))
        };
    }
    let domain = rest
        .strip_prefix('@')
        .ok_or(PathError::Syntax("the address has something between its quotes and the @; remove it"))?;
    check_domain(domain)?;
    Ok(Path { text: text.to_owned(), local, domain: Some(domain.to_owned()) })
}

/// A dot-string. More generous than the grammar about dots: `a..b` and `a.` are in use.
fn dot_local(text: &str) -> Result<(String, &str), PathError> {
    let end = text.find('@').unwrap_or(text.len());
    let local = &text[..end];
    let good = |c: char| c == '.' || is_atext(c);
    if local.chars().all(good) {
        Ok((local.to_owned(), &text[end..]))
    } else {
        Err(PathError::Syntax("the address has a space or special character; put its local part in double quotes"))
    }
}

/// A quoted string, without its quotes and backslashes.
fn quoted_local(text: &str) -> Result<(String, &str), PathError> {
    let mut local = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((local, &text[at + 1..])),
            '\\' => local.push(chars.next().map_or('\\', |(_, escaped)| escaped)),
            c if c.is_control() => break,
            c => local.push(c),
        }
    }
    Err(PathError::Syntax("the address has quotes that do not close; write it as <\"user\"@example.com>"))
}

/// RFC 5322 §3.2.3 atext, and RFC 6531 §3.3: everything beyond ASCII.
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || (!c.is_ascii() && !c.is_control())
}

/// Letters, digits, hyphens and dots (underscores too: they are in use), or an address literal.
fn check_domain(domain: &str) -> Result<(), PathError> {
    if domain.len() > DOMAIN_MAX {
        return Err(PathError::TooLong("the domain has more than 255 octets; correct it"));
    }
    let error = Err(PathError::Syntax("the domain of the address is not a domain; write it as <user@example.com>"));
    if let Some(literal) = domain.strip_prefix('[') {
        let inner = literal.strip_suffix(']').unwrap_or_default();
        let good = |c: char| c.is_ascii_graphic() && !"[]\\".contains(c);
        return if !inner.is_empty() && inner.chars().all(good) { Ok(()) } else { error };
    }
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_' || (!c.is_ascii() && !c.is_control()))
    };
    // A final dot names the root and is tolerated.
    if domain.strip_suffix('.').unwrap_or(domain).split('.').all(label) { Ok(()) } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, local: &str, domain: Option<&str>) {
        let (path, rest) = parse(input, Utf8::Allowed).unwrap_or_else(|e| panic!("{input}: {e}"));
        let path = path.unwrap_or_else(|| panic!("{input}"));
        assert_eq!((path.local(), path.domain(), rest), (local, domain, ""), "{input}");
    }

    #[test]
    fn paths_give_their_local_part_unquoted() {
        check("<FAX=+3940226338@fax.test>", "FAX=+3940226338", Some("fax.test"));
        check("<\"/FAX=+33188335215/ATTN=J. Smith/\"@fax.test>", "/FAX=+33188335215/ATTN=J. Smith/", Some("fax.test"));
        check("<\"a\\\"@b>\"@c>", "a\"@b>", Some("c"));
        check("<(214)@c>".replace("(214)", "\"(214)\"").as_str(), "(214)", Some("c"));
        check("<postmaster>", "postmaster", None);
        check("<a@[IPv6:::1]>", "a", Some("[IPv6:::1]"));
        check("<a..b.@fax.test.>", "a..b.", Some("fax.test."));
        check("<müller@exämple.test>", "müller", Some("exämple.test"));
    }

    #[test]
    fn a19_a_source_route_is_accepted_and_ignored() {
        check("<@relay.test:FAX=+12145551212@fax.test>", "FAX=+12145551212", Some("fax.test"));
        check("<@a.test,@b.test:x@fax.test>", "x", Some("fax.test"));
        let (path, _) = parse("<@a.test:x@fax.test>", Utf8::Refused).unwrap();
        assert_eq!(path.unwrap().as_str(), "x@fax.test");
    }

    #[test]
    fn the_empty_path_is_none() {
        assert_eq!(parse("<> SIZE=1", Utf8::Refused).unwrap(), (None, " SIZE=1"));
    }

    #[test]
    fn what_is_no_path_is_an_error() {
        for bad in [
            "",
            "a@b",
            "<a@b",
            "<a>",
            "<@b>",
            "<a@>",
            "<a b@c>",
            "<a@b@c>",
            "<a@b c>",
            "<\"a@c>",
            "<\"a\"x@c>",
            "<a@[]>",
            "<a@[x>",
            "<a@b..c>",
            "<a@-b>",
            "<@:a@b>",
            "<@a@b>",
            "<(1)@c>",
            "<a\u{7f}@c>",
            "<\"a\u{0}\"@c>",
        ] {
            assert!(parse(bad, Utf8::Allowed).is_err(), "{bad:?}");
        }
        let long = format!("<{}@c>", "x".repeat(PATH_MAX));
        assert!(matches!(parse(&long, Utf8::Allowed), Err(PathError::TooLong(_))));
        let long = format!("<a@{}>", "x.".repeat(200));
        assert!(matches!(parse(&long, Utf8::Allowed), Err(PathError::TooLong(_))));
        assert!(matches!(parse("<ü@c>", Utf8::Refused), Err(PathError::NotAscii(_))));
    }

    #[test]
    fn a_path_of_1024_octets_is_taken() {
        let local = "x".repeat(1015);
        check(&format!("<{local}@fax.test>"), &local, Some("fax.test"));
    }
}
