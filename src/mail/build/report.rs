//! The machine's parts of a report: its status fields (RFC 3464, RFC 6533) and what it returns of the mail (RFC 3461 §4.3).

use mail_builder::headers::content_type::ContentType;
use mail_builder::mime::MimePart;

use super::HeaderText;

/// RFC 5322 §2.1.1, without CRLF.
const LINE_BYTES_MAX: usize = 998;
/// RET=FULL returns an original up to this size, its header alone beyond.
const ORIGINAL_BYTES_MAX: usize = 1024 * 1024;
/// Of an original's header this much is returned.
const ORIGINAL_HEADER_BYTES_MAX: usize = 64 * 1024;

/// What octets a mail may have outside encoded parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// ASCII: any relay takes it.
    SevenBit,
    /// A returned mail keeps its 8-bit lines; the relay must offer 8BITMIME (RFC 6152).
    EightBit,
    /// To an internationalised address: UTF-8 in addresses, fields and returned headers (RFC 6532, RFC 6533). The relay must offer SMTPUTF8.
    International,
}

/// A field of message/delivery-status.
pub type StatusField = (&'static str, HeaderText);

/// The machine's part of a report (RFC 3464): one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeliveryStatus {
    /// About the message: `Reporting-MTA`, `Original-Envelope-Id`, `Arrival-Date`.
    pub message: Vec<StatusField>,
    /// About the recipient: `Final-Recipient`, `Action`, `Status`, …
    pub recipient: Vec<StatusField>,
    /// `Original-Recipient` and `Final-Recipient`: exactly what was in the transaction, of any length.
    pub addresses: Vec<(&'static str, RecipientField)>,
}

/// A type and the address exactly as it was accepted (RFC 3464 §2.3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientField {
    kind: String,
    address: String,
}

impl RecipientField {
    /// From an address of the envelope.
    pub fn of(address: &str) -> Self {
        // RFC 6533 §3: an internationalised address has a type of its own.
        let kind = if address.is_ascii() { "rfc822" } else { "utf-8" };
        Self { kind: kind.to_owned(), address: address.to_owned() }
    }

    /// From a decoded ORCPT, type included (`rfc822;…`).
    pub fn original(orcpt: &str) -> Self {
        let (kind, address) = orcpt.split_once(';').unwrap_or(("unknown", orcpt));
        Self { kind: kind.to_owned(), address: address.to_owned() }
    }

    fn to_field(&self, form: Form) -> String {
        let address = match form {
            Form::International => shown(&self.address),
            Form::SevenBit | Form::EightBit if self.kind.eq_ignore_ascii_case("utf-8") => xtext(&self.address),
            Form::SevenBit | Form::EightBit => ascii(&self.address),
        };
        format!("{};{address}", ascii(&self.kind))
    }
}

/// What to return of the mail that the report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Return {
    /// Its header.
    Header,
    /// All of it, when it is small enough and can be returned unchanged.
    Full,
}

/// What a letter that reports on a mail adds for machines.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    /// The fields of RFC 3464.
    pub status: DeliveryStatus,
    /// The mail that is reported on, as it came; none when it is not available.
    pub original: Option<&'a [u8]>,
    /// How much of it is returned.
    pub ret: Return,
}

impl Report<'_> {
    /// The second part and, where there is one, the third.
    pub(super) fn parts(&self, form: Form) -> Vec<MimePart<'static>> {
        let returned = self.original.map(|raw| original(raw, self.ret, form));
        std::iter::once(self.delivery_status(form)).chain(returned).collect()
    }

    fn delivery_status(&self, form: Form) -> MimePart<'static> {
        let (media, encoding, text_of): (_, _, fn(&str) -> String) = match form {
            Form::International => ("message/global-delivery-status", "8bit", shown),
            Form::SevenBit | Form::EightBit => ("message/delivery-status", "7bit", ascii),
        };
        let mut text = String::new();
        for (name, value) in &self.status.message {
            push_field(&mut text, name, &text_of(value.as_str()));
        }
        text.push_str("\r\n");
        for (name, address) in &self.status.addresses {
            push_field(&mut text, name, &address.to_field(form));
        }
        for (name, value) in &self.status.recipient {
            push_field(&mut text, name, &text_of(value.as_str()));
        }
        // RFC 2046 §5.2: message/* takes no encoding but 7bit, 8bit and binary.
        MimePart::new(ContentType::new(media), text.into_bytes()).transfer_encoding(encoding)
    }
}

/// Without control characters.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// ASCII without control characters: `\x{20AC}` for what ASCII does not have.
fn ascii(text: &str) -> String {
    encoded(text, |c| c.is_ascii())
}

/// RFC 6533 §3, utf-8-addr-xtext: an address in a field of ASCII.
fn xtext(address: &str) -> String {
    encoded(address, |c| c.is_ascii() && !matches!(c, ' ' | '+' | '=' | '\\'))
}

fn encoded(text: &str, stands: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_control() => out.push(' '),
            c if stands(c) => out.push(c),
            c => out.push_str(&format!("\\x{{{:X}}}", u32::from(c))),
        }
    }
    out
}

/// One field, folded where a line would get too long.
fn push_field(out: &mut String, name: &str, value: &str) {
    let mut line = format!("{name}: {value}");
    while line.len() > LINE_BYTES_MAX {
        // After the type or at a space if there is one; an address longer than a line has to break somewhere.
        let most = line.floor_char_boundary(LINE_BYTES_MAX);
        let cut = line[..most].rfind([' ', ';']).filter(|n| *n > name.len() + 2).map_or(most, |n| n + 1);
        out.push_str(&line[..cut]);
        out.push_str("\r\n");
        line = format!(" {}", &line[cut..]);
    }
    out.push_str(&line);
    out.push_str("\r\n");
}

/// What is returned of the mail. Never its Bcc fields.
fn original(raw: &[u8], ret: Return, form: Form) -> MimePart<'static> {
    let (header, body) = raw.split_at(header_end(raw));
    let header = without_bcc(header);
    let whole = ret == Return::Full && raw.len() <= ORIGINAL_BYTES_MAX && plain_lines(raw);
    match whole.then(|| type_of_whole(&header, body, form)).flatten() {
        Some((media, encoding)) => {
            MimePart::new(ContentType::new(media), [&header, body].concat()).transfer_encoding(encoding)
        }
        None => returned_header(header, form),
    }
}

/// Type and encoding as which a mail can be returned as it is, in this form; none: it cannot.
fn type_of_whole(header: &[u8], body: &[u8], form: Form) -> Option<(&'static str, &'static str)> {
    match (header.is_ascii(), body.is_ascii(), form) {
        (true, true, _) => Some(("message/rfc822", "7bit")),
        (true, false, Form::EightBit | Form::International) => Some(("message/rfc822", "8bit")),
        // RFC 6532 §3.7: a header in UTF-8 makes it another type.
        (false, _, Form::International) if std::str::from_utf8(header).is_ok() => Some(("message/global", "8bit")),
        _ => None,
    }
}

fn returned_header(mut header: Vec<u8>, form: Form) -> MimePart<'static> {
    if header.len() > ORIGINAL_HEADER_BYTES_MAX {
        let cut = header[..ORIGINAL_HEADER_BYTES_MAX].iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
        header.truncate(cut);
    }
    if form == Form::International && !header.is_ascii() && plain_lines(&header) && std::str::from_utf8(&header).is_ok()
    {
        return MimePart::new(ContentType::new("message/global-headers"), header).transfer_encoding("8bit");
    }
    // The type is text: 8-bit octets and long lines are encoded as quoted-printable by the builder.
    MimePart::new(ContentType::new("text/rfc822-headers"), header)
}

/// Whether these are lines that no relay changes: CRLF at their ends, no NUL, none too long. Those of BINARYMIME need not be.
fn plain_lines(octets: &[u8]) -> bool {
    !octets.contains(&0)
        && octets.split(|b| *b == b'\n').all(|l| l.strip_suffix(b"\r").unwrap_or(l).len() <= LINE_BYTES_MAX)
        && octets.split_inclusive(|b| *b == b'\n').all(|l| l.ends_with(b"\r\n") || !l.contains(&b'\n'))
        && octets.iter().filter(|b| **b == b'\r').count() == octets.windows(2).filter(|w| w == b"\r\n").count()
}

/// Where the header ends: before the first empty line.
fn header_end(raw: &[u8]) -> usize {
    let mut at = 0;
    for line in raw.split_inclusive(|b| *b == b'\n') {
        if matches!(line, b"\n" | b"\r\n") {
            break;
        }
        at += line.len();
    }
    at
}

/// RFC 5322 §3.6.3: what a Bcc field says is nobody's business.
fn without_bcc(header: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(header.len());
    let mut dropping = false;
    for line in header.split_inclusive(|b| *b == b'\n') {
        if !matches!(line.first(), Some(b' ' | b'\t')) {
            let name = line.split(|b| *b == b':').next().unwrap_or_default().trim_ascii();
            dropping = name.eq_ignore_ascii_case(b"bcc") || name.eq_ignore_ascii_case(b"resent-bcc");
        }
        if !dropping {
            kept.extend_from_slice(line);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn returned(raw: &[u8], ret: Return, form: Form) -> String {
        let mut out = Vec::new();
        original(raw, ret, form).write_part(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn d7_an_original_is_returned_whole_only_when_that_changes_nothing() {
        use Form::{EightBit, International, SevenBit};
        let plain: &[u8] = b"Subject: x\r\n\r\n";
        let (foreign, latin) = ("Subject: Grüße\r\n\r\n".as_bytes(), &b"Subject: f\xfcr\r\n\r\n"[..]);
        let (headers, mail, global) = ("text/rfc822-headers", "message/rfc822", "message/global");
        for (head, body, form, expected) in [
            (plain, &b"plain\r\n"[..], SevenBit, mail),
            (plain, b"plain\r\n", International, mail),
            (plain, b"\xfc 8 bit\r\n", SevenBit, headers),
            (plain, b"\xfc 8 bit\r\n", EightBit, mail),
            (plain, b"\xfc 8 bit\r\n", International, mail),
            (foreign, b"plain\r\n", EightBit, headers),
            (foreign, b"\xfc\r\n", International, global),
            (latin, b"plain\r\n", International, headers),
            // What BINARYMIME allows, no line does.
            (plain, b"bare LF\nx\r\n", EightBit, headers),
            (plain, b"bare CR\rx\r\n", International, headers),
            (plain, b"nul \0\r\n", EightBit, headers),
            (plain, &[b'x'; 999], EightBit, headers),
            (plain, &b"0123456789abcdef\r\n".repeat(ORIGINAL_BYTES_MAX / 18 + 1), EightBit, headers),
        ] {
            let raw = [head, body].concat();
            let got = returned(&raw, Return::Full, form);
            let shown = String::from_utf8_lossy(&raw[..40.min(raw.len())]).into_owned();
            assert!(got.starts_with(&format!("Content-Type: {expected}\r\n")), "{form:?} {shown:?}: {got}");
            // The builder takes base64 where most of it is no ASCII.
            assert!(got.contains("Subject: ") || got.contains("U3ViamVjdDog"), "{got}");
            assert_eq!(got.is_ascii(), form == SevenBit || raw.is_ascii() || expected == headers, "{form:?} {shown:?}");
        }
        let got = returned(foreign, Return::Header, International);
        assert!(got.starts_with("Content-Type: message/global-headers\r\n") && got.contains("Grüße"), "{got}");
        assert!(returned(foreign, Return::Header, EightBit).starts_with("Content-Type: text/rfc822-headers\r\n"));
    }

    #[test]
    fn an_internationalised_address_has_its_type_and_the_form_of_the_field() {
        let field = |field: RecipientField, form| field.to_field(form);
        let of = |address: &str, form| field(RecipientField::of(address), form);
        assert_eq!(of("FAX=+41@fax.test", Form::SevenBit), "rfc822;FAX=+41@fax.test");
        assert_eq!(
            of("FAX=+41/ATTN=Jörg@fax.test", Form::EightBit),
            r"utf-8;FAX\x{3D}\x{2B}41/ATTN\x{3D}J\x{F6}rg@fax.test"
        );
        assert_eq!(of("FAX=+41/ATTN=Jörg@fax.test", Form::International), "utf-8;FAX=+41/ATTN=Jörg@fax.test");
        let orcpt = || RecipientField::original("utf-8;jörg@bücher.test");
        assert_eq!(field(orcpt(), Form::SevenBit), r"utf-8;j\x{F6}rg@b\x{FC}cher.test");
        assert_eq!(field(orcpt(), Form::International), "utf-8;jörg@bücher.test");
        assert_eq!(field(RecipientField::original("fax;+41\r\nX: y"), Form::SevenBit), "fax;+41  X: y");
    }

    #[test]
    fn the_returned_header_is_ascii_has_a_limit_and_no_bcc() {
        let raw = [
            &b"Subject: f\xfcr\r\nBCC: a@b,\r\n\tc@d\r\nResent-Bcc: e@f\r\nTo: x@y\r\n"[..],
            &b"X-A: 1\r\n".repeat(20_000),
            b"\r\nbody",
        ]
        .concat();
        let got = returned(&raw, Return::Header, Form::SevenBit);
        assert!(got.is_ascii() && got.contains("quoted-printable") && got.contains("To: x@y"));
        assert!(!got.contains("a@b") && !got.contains("c@d") && !got.contains("e@f") && !got.contains("body"));
        assert!(got.len() < 100_000);
    }

    #[test]
    fn long_fields_are_folded_at_a_place_that_means_nothing() {
        let mut out = String::new();
        push_field(&mut out, "X", &format!("{} {}", "a".repeat(500), "b".repeat(600)));
        assert_eq!(out, format!("X: {} \r\n {}\r\n", "a".repeat(500), "b".repeat(600)));
    }
}
