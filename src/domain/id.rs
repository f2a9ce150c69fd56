//! Identifiers. The application makes them (UUIDv7), never the store: a store that lost commits after a
//! failover can then never hand one out a second time.
//!
//! People see the short form, `F-` and ten Crockford base32 digits, taken from the random tail of the UUID.
//! The store holds a unique index on it; a submission that meets a collision is repeated with a new id.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id: UUIDv7, so ids sort by the time they were made.
            #[expect(clippy::new_without_default, reason = "a fresh id is not a default value")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

uuid_id!(
    /// One accepted mail (or command line, API or console submission).
    MessageId
);
uuid_id!(
    /// One message for one recipient number: the thing that has a state.
    FaxId
);
uuid_id!(
    /// One call for one fax.
    AttemptId
);
uuid_id!(
    /// One mail that we owe somebody.
    NoticeId
);
uuid_id!(
    /// One fax that somebody sent to us.
    ReceivedFaxId
);

impl FaxId {
    /// The form shown to people.
    pub fn short(self) -> ShortId {
        ShortId::of('F', self.0)
    }
}

impl MessageId {
    /// The form shown to people.
    pub fn short(self) -> ShortId {
        ShortId::of('M', self.0)
    }
}

impl ReceivedFaxId {
    /// The form shown to people.
    pub fn short(self) -> ShortId {
        ShortId::of('R', self.0)
    }
}

/// A letter, a hyphen and ten Crockford base32 digits, as in `F-8KQ2XW4DZP`: 50 random bits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct ShortId(String);

/// Crockford's alphabet has no I, L, O and U: it can be read out over the telephone.
const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const SHORT_DIGITS: u32 = 10;

impl ShortId {
    fn of(letter: char, id: Uuid) -> Self {
        let tail = id.as_u128();
        let mut text = String::with_capacity(2 + SHORT_DIGITS as usize);
        text.push(letter);
        text.push('-');
        for digit in (0..SHORT_DIGITS).rev() {
            let index = (tail >> (digit * 5)) & 31;
            text.push(char::from(CROCKFORD[index as usize]));
        }
        Self(text)
    }

    /// The text, upper case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ShortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not a short id; it should look like `F-8KQ2XW4DZP`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not an id; ids look like F-8KQ2XW4DZP")]
pub struct NotAnId(pub String);

impl FromStr for ShortId {
    type Err = NotAnId;

    /// Any case; `I` and `L` are read as 1 and `O` as 0, as Crockford asks.
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let error = || NotAnId(text.chars().take(64).collect());
        let upper = text.trim().to_ascii_uppercase();
        let (letter, digits) = upper.split_once('-').ok_or_else(error)?;
        if !matches!(letter, "F" | "M" | "R") || digits.len() != SHORT_DIGITS as usize {
            return Err(error());
        }
        let digits: String = digits
            .chars()
            .map(|c| match c {
                'I' | 'L' => '1',
                'O' => '0',
                other => other,
            })
            .collect();
        if digits.bytes().all(|b| CROCKFORD.contains(&b)) {
            Ok(Self(format!("{letter}-{digits}")))
        } else {
            Err(error())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_id_reads_back_in_any_case_and_with_look_alikes() {
        let id = FaxId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0011_2233_4455));
        let short = id.short();
        assert_eq!(short.as_str().len(), 12);
        assert_eq!(short.as_str().to_lowercase().parse::<ShortId>(), Ok(short));
        assert_eq!("f-o1il000000".parse::<ShortId>().unwrap().as_str(), "F-0111000000");
    }

    #[test]
    fn what_is_not_an_id_is_named_in_the_error() {
        for text in ["", "F-", "X-8KQ2XW4DZP", "F-8KQ2XW4DZU", "8KQ2XW4DZP", "F-8KQ2XW4DZPP"] {
            assert_eq!(text.parse::<ShortId>(), Err(NotAnId(text.to_owned())));
        }
    }
}
