//! Exchange's encapsulation of non-SMTP addresses: `IMCEAFAX-+2B41+20441234567@…` is Outlook's `[FAX:+41 441234567]`.
//!
//! MS-OXCMAIL §2.1.3.1.8: letters, digits, `-` and `=` stand for themselves, `/` is written `_`, every other octet `+HH`. The value
//! has the form `Dialable | Name @ Canonical | Special`; the canonical number wins over the dialable one.

/// Address types whose value is a fax number: Exchange's, the Microsoft fax service's, and two of other vendors.
const TYPES: &[&str] = &["FAX", "MSFAX", "RFAX", "GFAX"];

/// What an encapsulated address says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct OneOff {
    /// The number as it was written.
    pub(super) number: String,
    /// Name in front of it.
    pub(super) name: Option<String>,
    /// T.33 subaddress (`#546`, TIA/EIA).
    pub(super) subaddress: Option<String>,
    /// Tones after the answer; a comma is a pause, written `p`.
    pub(super) post_dial: Option<String>,
}

/// Why it cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not `type-value`, or a `+` without two hexadecimal digits.
    Malformed,
    /// A type that is no fax address.
    OtherType,
}

/// Reads a local part that begins with `IMCEA` in any case; none for others.
pub(super) fn read(local: &str) -> Option<Result<OneOff, Fault>> {
    let head = local.get(..5)?;
    head.eq_ignore_ascii_case("IMCEA").then(|| decapsulate(&local[5..]))
}

fn decapsulate(rest: &str) -> Result<OneOff, Fault> {
    let (kind, value) = rest.split_once('-').ok_or(Fault::Malformed)?;
    if !TYPES.iter().any(|t| t.eq_ignore_ascii_case(kind)) {
        return Err(Fault::OtherType);
    }
    one_off(&decode(value).ok_or(Fault::Malformed)?)
}

/// `None` for a `+` without two hexadecimal digits (A25) and for control characters.
fn decode(value: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'_' => b'/',
            b'+' => {
                let (high, low) = (hex(rest.next()?)?, hex(rest.next()?)?);
                high << 4 | low
            }
            other => other,
        });
    }
    let text = match String::from_utf8(octets) {
        Ok(text) => text,
        // Older servers encode in the code page of the client; for western names that is this one.
        Err(error) => encoding_rs::WINDOWS_1252.decode(error.as_bytes()).0.into_owned(),
    };
    (!text.chars().any(char::is_control)).then_some(text)
}

fn hex(octet: u8) -> Option<u8> {
    char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn one_off(value: &str) -> Result<OneOff, Fault> {
    let parts: Vec<&str> = value.split('|').collect();
    // The canonical number stands behind the last "@" of its part (a name may hold one) and begins with "+".
    let number_of = |part: &&str| part.rsplit('@').next().unwrap_or_default().trim().starts_with('+');
    let at = parts.iter().position(number_of).or_else(|| parts.iter().position(|part| part.contains('@')));
    let at = at.unwrap_or(0);
    let (name, number) = parts[at].rsplit_once('@').map_or((None, parts[at]), |(name, number)| (Some(name), number));
    // Without a second bar special dialling begins at the first character that belongs to no number.
    let end = number.trim().find(|c: char| !(c.is_ascii_digit() || "+-.() ".contains(c)));
    let (number, tail) = number.trim().split_at(end.unwrap_or(number.trim().len()));
    let special = [&[tail], &parts[at + 1..]].concat().concat();
    let mut found = OneOff {
        number: number.trim().to_owned(),
        name: name.map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned),
        ..OneOff::default()
    };
    let special = special.trim();
    if let Some(subaddress) = special.strip_prefix('#') {
        found.subaddress = Some(subaddress.trim().to_owned());
    } else if !special.is_empty() {
        found.post_dial = Some(special.replace(',', "p"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(local: &str, number: &str, name: &str, extra: &str) {
        let found = read(local).unwrap().unwrap_or_else(|e| panic!("{local}: {e:?}"));
        let got = found.subaddress.map(|s| format!("#{s}")).or(found.post_dial).unwrap_or_default();
        assert_eq!(
            (found.number.as_str(), found.name.unwrap_or_default().as_str(), got.as_str()),
            (number, name, extra),
            "{local}"
        );
    }

    #[test]
    fn a24_all_vectors_are_read() {
        check("IMCEAFAX-1234567890", "1234567890", "", "");
        check("IMCEAFAX-+2B14255551212", "+14255551212", "", "");
        check("IMCEAFAX-John+20Doe+40+2B1+20+28425+29+20555-1212", "+1 (425) 555-1212", "John Doe", "");
        check("IMCEAFAX-936-7329+20+7C+20tedst+40+2B1+20+28206+29+20936-7329", "+1 (206) 936-7329", "tedst", "");
        check(
            "IMCEAFAX-936-7329+20+7C+20+2B1+20+28206+29+209364344+7C+2C+2C+2C+2C+2C567",
            "+1 (206) 9364344",
            "",
            "ppppp567",
        );
        check("IMCEAFAX-936-7329+20+7C+20+2B1+20+28206+29+209367329+7C+23546", "+1 (206) 9367329", "", "#546");
        check("IMCEAFAX-M+C3+BCller+2C+20J+C3+B6rg+40+2B49+20+2830+29+20901820", "+49 (30) 901820", "Müller, Jörg", "");
        check("IMCEAFAX-A_B+20Corp+40+2B44+20+2820+29+2079460123", "+44 (20) 79460123", "A/B Corp", "");
        check("imceafax-+2b41+20441234567", "+41 441234567", "", "");
        check("IMCEAMSFAX-+2B41+20441234567", "+41 441234567", "", "");
        check("IMCEARFAX-+2B41441234567", "+41441234567", "", "");
        check("IMCEAGFAX-+2B41441234567", "+41441234567", "", "");
    }

    #[test]
    fn names_in_the_western_code_page_are_read_too() {
        check("IMCEAFAX-M+FCller+40+2B4930901820", "+4930901820", "Müller", "");
    }

    #[test]
    fn without_a_second_bar_special_dialling_begins_at_the_first_other_character() {
        check("IMCEAFAX-+2B12069367329+23546", "+12069367329", "", "#546");
        check("IMCEAFAX-a+40b+40+2B12069367329", "+12069367329", "a@b", "");
    }

    #[test]
    fn a25_malformed_encodings_are_errors() {
        for bad in ["IMCEAFAX", "IMCEAFAX-+4", "IMCEAFAX-1+ZZ", "IMCEAFAX-1+", "IMCEAFAX-1+0D+0A2", "IMCEA"] {
            assert_eq!(read(bad), Some(Err(Fault::Malformed)), "{bad}");
        }
        assert_eq!(read("IMCEAX400-c=us"), Some(Err(Fault::OtherType)));
        assert_eq!(read("anna"), None);
        assert_eq!(read("é"), None);
    }
}
