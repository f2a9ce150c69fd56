//! A fax number in E.164 form. Reading what people write is `intake::address`'s work; this type only holds the result.

use std::fmt;
use std::str::FromStr;

/// `+` and 7 to 15 digits (E.164 §6.2.1 allows at most 15).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FaxNumber(String);

/// The text is not `+` with 7 to 15 digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not an international number; write it as in +41441234567")]
pub struct NotE164(pub String);

/// E.164 §6.2.1.
const DIGITS_MAX: usize = 15;
/// The shortest international numbers in use (Niue, Saint Helena) have seven digits with their country code.
const DIGITS_MIN: usize = 7;

impl FaxNumber {
    /// With the plus sign, as in `+41441234567`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the plus sign.
    pub fn digits(&self) -> &str {
        &self.0[1..]
    }

    /// Whether this is one of the sandbox's numbers: +999 is no country and never dialled on a real line.
    pub fn is_sandbox(&self) -> bool {
        self.0.starts_with("+999")
    }

    /// For logs: the country code's first digits and the last two, the rest as dots.
    pub fn masked(&self) -> String {
        let digits = self.digits();
        format!("+{}…{}", &digits[..3], &digits[digits.len() - 2..])
    }
}

impl FromStr for FaxNumber {
    type Err = NotE164;

    fn from_str(text: &str) -> Result<Self, NotE164> {
        let error = || NotE164(text.chars().take(64).collect());
        let digits = text.strip_prefix('+').ok_or_else(error)?;
        let fits = (DIGITS_MIN..=DIGITS_MAX).contains(&digits.len());
        if fits && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0') {
            Ok(Self(text.to_owned()))
        } else {
            Err(error())
        }
    }
}

impl TryFrom<String> for FaxNumber {
    type Error = NotE164;
    fn try_from(text: String) -> Result<Self, NotE164> {
        text.parse()
    }
}

impl From<FaxNumber> for String {
    fn from(number: FaxNumber) -> Self {
        number.0
    }
}

impl fmt::Display for FaxNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_plus_and_seven_to_fifteen_digits() {
        for good in ["+41441234567", "+99910200", "+123456789012345", "+3940226338"] {
            assert_eq!(good.parse::<FaxNumber>().unwrap().as_str(), good);
        }
        for bad in ["", "+", "41441234567", "+41 44", "+041441234567", "+1234567890123456", "+12345a789", "+４１44123"]
        {
            assert!(bad.parse::<FaxNumber>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_masked_number_keeps_its_ends_only() {
        assert_eq!("+41441234567".parse::<FaxNumber>().unwrap().masked(), "+414…67");
    }
}
