//! Documents: named by the hash of their bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;

/// SHA-256 of a document's bytes: its name everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DocumentKey(pub [u8; 32]);

impl fmt::Display for DocumentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl FromStr for DocumentKey {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|e| e.to_string())?;
        bytes.try_into().map(Self).map_err(|_| format!("\"{text}\" is not a SHA-256"))
    }
}

impl TryFrom<String> for DocumentKey {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<DocumentKey> for String {
    fn from(key: DocumentKey) -> Self {
        key.to_string()
    }
}

/// A document that `documents/` has made durable, or that is small enough to go into the same transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentRef {
    /// Its name.
    pub key: DocumentKey,
    /// Its length.
    pub size_bytes: u64,
    /// MIME type.
    pub media: String,
    /// The bytes themselves when they go into the row (16 KiB at most).
    pub inline: Option<Vec<u8>>,
}

/// Where a document's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredDocument {
    /// In the row.
    Inline(Vec<u8>),
    /// In the repository, this many bytes.
    Repository {
        /// Its length.
        size_bytes: u64,
    },
    /// Retention removed the bytes.
    Pruned {
        /// When.
        at: Timestamp,
    },
}
