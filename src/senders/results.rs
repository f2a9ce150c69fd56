//! Reading `Authentication-Results` (RFC 8601). Those of others that claim to be ours are taken away (§5): readers believe ours. What a
//! trusted sealer says is read strictly: a stranger's words stand in comments and quotes of its field.

use std::borrow::Cow;

/// More fields than any mail has; the rest of the header is left as it is.
const FIELDS_MAX: usize = 10_000;

/// The mail without `Authentication-Results` fields of this authserv-id, in any case and with or without a version.
pub fn without_forged<'m>(mail: &'m [u8], authserv_id: &str) -> Cow<'m, [u8]> {
    let forged: Vec<(usize, usize)> =
        fields(mail).filter(|(from, to)| claims(&mail[*from..*to], authserv_id)).collect();
    if forged.is_empty() {
        return Cow::Borrowed(mail);
    }
    let mut kept = Vec::with_capacity(mail.len());
    let mut at = 0;
    for (from, to) in forged {
        kept.extend_from_slice(&mail[at..from]);
        at = to;
    }
    kept.extend_from_slice(&mail[at..]);
    Cow::Owned(kept)
}

/// Where each field of the header begins and ends, its continuation lines included.
fn fields(mail: &[u8]) -> impl Iterator<Item = (usize, usize)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= mail.len() || mail[at..].starts_with(b"\r\n") || mail[at] == b'\n' {
            return None;
        }
        let from = at;
        loop {
            at += mail[at..].iter().position(|b| *b == b'\n').map_or(mail.len() - at, |end| end + 1);
            if !matches!(mail.get(at), Some(b' ' | b'\t')) {
                return Some((from, at));
            }
        }
    })
    .take(FIELDS_MAX)
}

fn claims(field: &[u8], authserv_id: &str) -> bool {
    let text = String::from_utf8_lossy(field);
    let Some((name, value)) = text.split_once(':') else { return false };
    if !name.trim().eq_ignore_ascii_case("authentication-results") {
        return false;
    }
    // Comments may stand before the id.
    let plain = plain(value);
    let id = plain.split(';').next().unwrap_or_default().split_whitespace().next().unwrap_or_default();
    id.trim_end_matches('.').eq_ignore_ascii_case(authserv_id)
}

/// Whether a field says, once and clearly, that DMARC passed for a mail whose `From` is of this domain (in lower case).
pub(super) fn dmarc_passed(value: &str, domain: &str) -> bool {
    let plain = plain(value).to_ascii_lowercase();
    let results = plain.split(';').map(|result| result.split_whitespace().collect::<Vec<_>>());
    let dmarc: Vec<_> =
        results.filter(|words| words.first().is_some_and(|method| method.starts_with("dmarc"))).collect();
    let [words] = dmarc.as_slice() else { return false };
    let from: Vec<_> = words.iter().filter_map(|word| word.strip_prefix("header.from=")).collect();
    words.first() == Some(&"dmarc=pass") && from == [domain]
}

/// The text without comments, and without what would end a word within quotes.
fn plain(value: &str) -> String {
    let (mut depth, mut quoted, mut escaped, mut plain) = (0_u32, false, false, String::new());
    for c in value.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted || depth > 0 => escaped = true,
            '"' if depth == 0 => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            c if quoted => plain.push(if c == ';' || c.is_whitespace() { '_' } else { c }),
            c if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn z4_results_that_claim_to_be_ours_are_removed_and_others_stay() {
        for (field, kept) in [
            ("Authentication-Results: fax.test; dkim=pass\r\n", false),
            ("authentication-results:\r\n\t(a comment) FAX.test 1;\r\n\tdmarc=pass\r\n", false),
            ("Authentication-Results : \"fax.test\"; none\r\n", false),
            ("Authentication-Results: fax.test.; none\r\n", false),
            ("Authentication-Results: mx.fax.test; dkim=pass\r\n", true),
            ("Authentication-Results: mx.example.com; dkim=pass (fax.test)\r\n", true),
            ("X-Authentication-Results: fax.test; dkim=pass\r\n", true),
        ] {
            let mail = |field: &str| {
                format!("From: a@example.com\r\n{field}Subject: s\r\n\r\nAuthentication-Results: fax.test; x\r\n")
            };
            let expected = if kept { mail(field) } else { mail("") };
            let got = without_forged(mail(field).as_bytes(), "fax.test").into_owned();
            assert_eq!(String::from_utf8(got).unwrap(), expected, "{field:?}");
        }
        assert_eq!(&*without_forged(b"", "fax.test"), b"");
        assert_eq!(&*without_forged(b"no header at all", "fax.test"), b"no header at all");
    }

    #[test]
    fn z3_what_a_stranger_wrote_into_a_sealers_field_is_not_what_the_sealer_says() {
        for (value, passed) in [
            ("i=1; mx.test; dkim=fail; dmarc=pass header.from=example.com policy=reject", true),
            ("i=1; mx.test; dmarc=pass (p=reject dis=none) header.from=EXAMPLE.com", true),
            ("i=1; mx.test; dmarc=pass header.from=\"example.com\"", true),
            ("i=1; mx.test; dmarc=pass header.from=sub.example.com", false),
            ("i=1; mx.test; dmarc=pass header.from=example.com.evil.test", false),
            ("i=1; mx.test; dmarc=pass", false),
            ("i=1; mx.test; dmarc=fail header.from=example.com", false),
            ("i=1; mx.test; dmarc=fail header.from=evil.test; dmarc=pass header.from=example.com", false),
            ("i=1; mx.test; dmarc=pass header.from=evil.test header.from=example.com", false),
            ("i=1; mx.test; spf=pass smtp.mailfrom=\"x; dmarc=pass header.from=example.com\"@evil.test", false),
            ("i=1; mx.test; spf=pass smtp.mailfrom=\"x\\\"; dmarc=pass header.from=example.com\"@evil.test", false),
            ("i=1; mx.test; spf=pass (of x; dmarc=pass header.from=example.com)", false),
            ("i=1; mx.test; spf=pass (of (x); dmarc=pass header.from=example.com)", false),
            ("i=1; mx.test; spf=pass (of \\) ; dmarc=pass header.from=example.com)", false),
            ("", false),
        ] {
            assert_eq!(dmarc_passed(value, "example.com"), passed, "{value}");
        }
    }
}
