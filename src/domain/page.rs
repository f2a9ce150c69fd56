//! Paper and line density of a fax page.

/// Paper of the pages we make. The width is always 1728 pixels (T.4, ISO A4 and North American Letter alike).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Paper {
    /// 210 × 297 mm.
    #[default]
    A4,
    /// 8.5 × 11 in.
    Letter,
    /// 8.5 × 14 in.
    Legal,
}

/// Line density. T.4 §2: 3.85, 7.7 or 15.4 lines to the millimetre at 8.04 pixels to the millimetre.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// 204 × 98 dpi.
    Standard,
    /// 204 × 196 dpi.
    #[default]
    Fine,
    /// 204 × 391 dpi.
    Superfine,
}

/// Gives an enum of unit variants its words: `as_str`, `ALL`, `Display` and `FromStr`.
macro_rules! words {
    ($name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word used in configuration, SQL, JSON and commands.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::domain::page::UnknownWord;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|v| v.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
                    $crate::domain::page::UnknownWord {
                        got: text.chars().take(64).collect(),
                        expected: Self::ALL.iter().map(|v| v.as_str()).collect::<Vec<_>>().join(", "),
                    }
                })
            }
        }
    };
}
pub(crate) use words;

/// A word that is none of the expected ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("got \"{got}\", expected one of {expected}")]
pub struct UnknownWord {
    /// What was written, cut at 64 characters.
    pub got: String,
    /// The words that would do, with commas.
    pub expected: String,
}

words!(Paper { A4 = "a4", Letter = "letter", Legal = "legal" });
words!(Quality { Standard = "standard", Fine = "fine", Superfine = "superfine" });
