//! Documents: named by the hash of their bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

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

/// What an object of the repository is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectName {
    /// By its content.
    Content(DocumentKey),
    /// A name that was drawn for it and is in its row alone: it tells nothing of the content, and no other object ever
    /// has it.
    Drawn(Uuid),
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content(key) => key.fmt(f),
            Self::Drawn(name) => name.simple().fmt(f),
        }
    }
}

/// The key of one document, wrapped.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedKey {
    /// Which key of `store.keys` wrapped it.
    pub by: String,
    /// The wrapped key.
    pub wrapped: Vec<u8>,
}

impl fmt::Debug for SealedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedKey(by {})", self.by)
    }
}

/// Where the bytes of a document are, and how they are read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placement {
    /// The bytes when they are in the row (16 KiB at most), sealed if there is a key.
    pub inline: Option<Vec<u8>>,
    /// The drawn name of its object; none when it is inline or called by its content.
    pub drawn: Option<Uuid>,
    /// Its key; none when the bytes are in the clear.
    pub sealed: Option<SealedKey>,
}

impl Placement {
    /// The object that has the bytes; none when they are in the row.
    pub fn object(&self, key: &DocumentKey) -> Option<ObjectName> {
        match (&self.inline, self.drawn) {
            (Some(_), _) => None,
            (None, Some(name)) => Some(ObjectName::Drawn(name)),
            (None, None) => Some(ObjectName::Content(*key)),
        }
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
    /// Where its bytes are, unless the store has them elsewhere already.
    pub placement: Placement,
}

/// Where a document's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredDocument {
    /// They are there.
    Kept {
        /// Their length.
        size_bytes: u64,
        /// Where.
        placement: Placement,
    },
    /// Retention removed the bytes.
    Pruned {
        /// When.
        at: Timestamp,
    },
}
