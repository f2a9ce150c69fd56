//! What people write as a telephone number, to E.164.
//!
//! "Possible" is asked for, not "valid" (its length fits the country): new number ranges appear all the time, and RFC 3192's
//! own example is not valid by the tables. Nothing is guessed: what needs an area code, has letters or does not fit
//! is refused with what would fit. The country tables are those of the `phonenumber` crate; only its metadata is used, as its
//! parser drops leading zeros where they matter.

use std::panic::{AssertUnwindSafe, catch_unwind};

use phonenumber::metadata::DATABASE;

use super::AddressError;
use crate::config::forbidden::{self, subscriber_kinds};
use crate::domain::FaxNumber;

/// Longer texts are no number in any spelling.
const TEXT_MAX: usize = 64;
/// Country codes whose numbers keep their leading zero after the country code (Italy, San Marino, Vatican).
const ZERO_KEPT: &[&str] = &["39", "378", "379"];

/// How a country is called in a sentence, and a number there that shows the form: ISO 3166 code, article and adjective, number.
const COUNTRIES: &[(&str, &str, &str)] = &[
    ("AT", "an Austrian", "+4312345678"),
    ("AU", "an Australian", "+61212345678"),
    ("BE", "a Belgian", "+3223456789"),
    ("BR", "a Brazilian", "+551123456789"),
    ("CA", "a Canadian", "+16045551212"),
    ("CH", "a Swiss", "+41441234567"),
    ("CZ", "a Czech", "+420212345678"),
    ("DE", "a German", "+493012345678"),
    ("DK", "a Danish", "+4532123456"),
    ("ES", "a Spanish", "+34912345678"),
    ("FI", "a Finnish", "+358912345678"),
    ("FR", "a French", "+33123456789"),
    ("GB", "a British", "+442079460123"),
    ("IE", "an Irish", "+35312345678"),
    ("IT", "an Italian", "+390612345678"),
    ("JP", "a Japanese", "+81312345678"),
    ("LI", "a Liechtenstein", "+4232345678"),
    ("LU", "a Luxembourg", "+35227123456"),
    ("NL", "a Dutch", "+31101234567"),
    ("NO", "a Norwegian", "+4721234567"),
    ("PL", "a Polish", "+48123456789"),
    ("PT", "a Portuguese", "+351212345678"),
    ("SE", "a Swedish", "+468123456"),
    ("US", "a North American", "+12015550123"),
];

/// Reads a number. `country` is the ISO 3166 code whose national and international prefixes are understood.
///
/// # Errors
/// `number-invalid`, or `number-not-allowed` for emergency numbers and dial strings; the text says what would do.
pub(super) fn read(text: &str, country: Option<&str>, domain: &str) -> Result<FaxNumber, AddressError> {
    let context = Context { text, country, domain };
    let digits = context.digits()?;
    // The crate's tables come from regular expressions; a panic in there must cost one recipient, not the connection.
    let number = catch_unwind(AssertUnwindSafe(|| match digits {
        Digits::International(digits) => context.international(&digits),
        Digits::National(digits) => context.national(&digits),
    }));
    number.unwrap_or_else(|_| Err(context.invalid("cannot be read as a number")))
}

enum Digits {
    International(String),
    National(String),
}

struct Context<'a> {
    text: &'a str,
    country: Option<&'a str>,
    domain: &'a str,
}

impl Context<'_> {
    /// Takes separators away. RFC 3191 §2: `-` and `.` are ignored; people also write spaces and parentheses.
    fn digits(&self) -> Result<Digits, AddressError> {
        let text = self.text.trim();
        if text.chars().count() > TEXT_MAX {
            return Err(self.invalid("is too long for a number"));
        }
        let (plus, rest) = text.strip_prefix('+').map_or((false, text), |rest| (true, rest));
        let rest = without_trunk_zero(rest, plus);
        let mut digits = String::new();
        let mut other = None;
        for c in rest.chars() {
            match c {
                '0'..='9' => digits.push(c),
                '-' | '.' | ' ' | '(' | ')' | '\u{a0}' | '\u{2010}'..='\u{2013}' => {}
                // A11: "+" begins an international number and stands nowhere else.
                '+' => return Err(self.malformed("has a plus sign in the middle")),
                c => other = Some(c),
            }
        }
        match other {
            Some(c) if is_dial_string(&rest) && !plus && !digits.is_empty() => Err(AddressError::not_allowed(format!(
                "{} is a local dial string ({c:?} in it), and raw dial strings are not allowed; {}",
                self.quoted(),
                self.fix()
            ))),
            // Digits of other scripts are not guessed at: another number could be dialled.
            Some(c) if !c.is_ascii() => Err(AddressError::not_ascii(format!(
                "{} has characters that are no digits 0 to 9; {}",
                self.quoted(),
                self.fix()
            ))),
            Some(_) => Err(self.invalid("is not a fax number")),
            None if digits.is_empty() => Err(self.invalid("has no digits")),
            None if plus => Ok(Digits::International(digits)),
            None => Ok(Digits::National(digits)),
        }
    }

    fn international(&self, digits: &str) -> Result<FaxNumber, AddressError> {
        if digits.starts_with("999") {
            // +999 is no country: the sandbox's numbers are taken as they are.
            return self.finish(digits).map_err(|_| self.too("short", "a number of the sandbox", "+99910200"));
        }
        let Some((code, national)) = split_country_code(digits) else {
            return Err(AddressError::no_such_number(format!(
                "{} does not begin with the code of a country; {}",
                self.quoted(),
                self.fix()
            )));
        };
        let regions = regions(code);
        let national = strip_trunk_prefix(code, national);
        let region = self.name_region(&regions);
        match fit(&regions, national) {
            Fit::Possible => self.finish(&format!("{code}{national}")),
            Fit::Short => Err(self.wrong_length("short", region, code)),
            Fit::Long => Err(self.wrong_length("long", region, code)),
            Fit::Never => Err(self.wrong_length("short or too long", region, code)),
        }
    }

    fn national(&self, digits: &str) -> Result<FaxNumber, AddressError> {
        if forbidden::is_emergency(digits, self.country) {
            let text = format!("{} reaches an emergency service; faxes are never sent there", self.quoted());
            return Err(AddressError::not_allowed(text));
        }
        let meta = self.country.and_then(|country| DATABASE.by_id(country.to_ascii_uppercase().as_str()));
        let Some(meta) = meta else {
            return Err(self.invalid("is not international, and no dial.country says how to read it"));
        };
        let code = meta.country_code().to_string();
        // The 00 form: the country's international prefix (00, 011, 010 …), then an international number.
        if let Some(found) = meta.international_prefix().and_then(|prefix| prefix.find(digits))
            && found.start() == 0
            && found.end() > 0
            && digits.len() > found.end()
        {
            return self.international(&digits[found.end()..]);
        }
        let regions = vec![meta.id()];
        let stripped = meta.national_prefix().and_then(|prefix| digits.strip_prefix(prefix));
        for candidate in stripped.into_iter().chain([digits]) {
            if fit(&regions, candidate) == Fit::Possible {
                return self.international(&format!("{code}{candidate}"));
            }
        }
        // The international form without its plus sign, as in 41441234567: only for the own country, where it is not a guess.
        if let Some(rest) = digits.strip_prefix(code.as_str())
            && fit(&regions, rest) == Fit::Possible
        {
            return self.international(digits);
        }
        let national = stripped.unwrap_or(digits);
        let local = meta
            .descriptors()
            .fixed_line()
            .is_some_and(|fixed| fixed.possible_local_length().iter().any(|len| usize::from(*len) == national.len()));
        if local {
            return Err(AddressError::no_such_number(format!("{} needs its area code; {}", self.quoted(), self.fix())));
        }
        let way = if fit(&regions, national) == Fit::Long { "long" } else { "short" };
        Err(self.wrong_length(way, Some(meta.id().to_owned()), &code))
    }

    fn finish(&self, digits: &str) -> Result<FaxNumber, AddressError> {
        format!("+{digits}").parse().map_err(|_| self.invalid("does not have 7 to 15 digits"))
    }

    /// The country that a sentence can name: the configured one when the code is shared, else the first of the list.
    fn name_region(&self, regions: &[&str]) -> Option<String> {
        let own = self.country.map(str::to_ascii_uppercase);
        let own = own.filter(|country| regions.contains(&country.as_str()));
        own.or_else(|| regions.first().map(ToString::to_string))
    }

    fn wrong_length(&self, way: &str, region: Option<String>, code: &str) -> AddressError {
        let known = region.and_then(|region| COUNTRIES.iter().find(|(id, ..)| *id == region));
        match known {
            Some((_, adjective, example)) => self.too(way, &format!("{adjective} fax number"), example),
            None => self.too(way, &format!("a fax number in +{code}"), "+41441234567"),
        }
    }

    /// `"+41 44 12" is too short for a Swiss fax number; use the full number, as in +41441234567@fax.example.com`
    fn too(&self, way: &str, what: &str, example: &str) -> AddressError {
        AddressError::invalid(format!(
            "{} is too {way} for {what}; use the full number, as in {example}@{}",
            self.quoted(),
            self.domain
        ))
    }

    fn invalid(&self, what: &str) -> AddressError {
        AddressError::invalid(format!("{} {what}; {}", self.quoted(), self.fix()))
    }

    fn malformed(&self, what: &str) -> AddressError {
        AddressError::malformed(format!("{} {what}; {}", self.quoted(), self.fix()))
    }

    fn quoted(&self) -> String {
        super::quoted(self.text)
    }

    fn fix(&self) -> String {
        super::full_number(self.domain)
    }
}

/// RFC 3191 §2 local-phone: digits, `#`, `*`, A to D, `p`, `w`; a comma is what people write for a pause. A digit leads, so that
/// a word is not taken for one.
fn is_dial_string(text: &str) -> bool {
    let tone = |c: char| c.is_ascii_digit() || "#*ABCDabcdpPwW,-. ".contains(c);
    text.chars().all(tone) && text.starts_with(|c: char| c.is_ascii_digit() || "#*".contains(c))
}

/// `+41 (0)44 …`: the zero in parentheses is dialled inside the country only. Where numbers keep their zero it stays.
fn without_trunk_zero(text: &str, plus: bool) -> String {
    let kept = ZERO_KEPT.iter().any(|code| text.starts_with(code));
    if plus && !kept { text.replacen("(0)", "", 1) } else { text.to_owned() }
}

fn split_country_code(digits: &str) -> Option<(&str, &str)> {
    // Country codes are prefix-free (E.164 §6), so the first that exists is the one.
    (1..=3)
        .filter(|len| digits.len() > *len)
        .map(|len| digits.split_at(len))
        .find(|(code, _)| !regions(code).is_empty())
}

/// ISO codes of the countries that share a country code, the main one first; `001` for codes without a country.
fn regions(code: &str) -> Vec<&'static str> {
    if code.starts_with('0') {
        return Vec::new();
    }
    code.parse::<u16>().ok().and_then(|code| DATABASE.region(&code)).unwrap_or_default()
}

/// `+44 020 …`: many write the trunk prefix after the country code. It is taken away only where the number is none with it and
/// one without it.
fn strip_trunk_prefix<'a>(code: &str, national: &'a str) -> &'a str {
    let metas = code.parse::<u16>().ok().and_then(|code| DATABASE.by_code(&code)).unwrap_or_default();
    let fits = |text: &str| {
        metas.iter().any(|meta| lengths(meta).contains(&text.len()) && meta.descriptors().general().is_match(text))
    };
    if ZERO_KEPT.contains(&code) || fits(national) {
        return national;
    }
    let stripped = national.strip_prefix('0').filter(|_| metas.iter().any(|meta| meta.national_prefix() == Some("0")));
    stripped.filter(|stripped| fits(stripped)).unwrap_or(national)
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Fit {
    Possible,
    Short,
    Long,
    /// Between the lengths that are possible.
    Never,
}

/// Whether the length of a national number is one that the countries use.
fn fit(regions: &[&str], national: &str) -> Fit {
    let metas = regions.iter().filter_map(|region| DATABASE.by_id(*region));
    let lengths: Vec<usize> = metas.flat_map(lengths).collect();
    let (Some(min), Some(max)) = (lengths.iter().min(), lengths.iter().max()) else {
        // A code without a country (satellites): E.164's own limits are asked for later.
        return Fit::Possible;
    };
    match national.len() {
        len if lengths.contains(&len) => Fit::Possible,
        len if len < *min => Fit::Short,
        len if len > *max => Fit::Long,
        _ => Fit::Never,
    }
}

/// The lengths of national numbers that somebody may have a fax machine on. The general description has none in these tables, so
/// they come from the kinds of numbers.
fn lengths(meta: &phonenumber::Metadata) -> Vec<usize> {
    subscriber_kinds(meta).flat_map(|kind| kind.possible_length()).map(|len| usize::from(*len)).collect()
}
