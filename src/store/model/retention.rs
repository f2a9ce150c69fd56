//! What is kept for how long, what is checked, and what a restore changes.

use serde::{Deserialize, Serialize};

use super::{DocumentKey, ObjectName, Placement, SealedKey};
use crate::domain::Timestamp;

/// What retention may remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneRules {
    /// Documents of messages and received faxes that were over before this lose their bytes.
    pub images_before: Timestamp,
    /// Messages with their faxes, and received faxes, that were over before this are forgotten altogether.
    pub records_before: Timestamp,
    /// Rows in one transaction: a long one would hold up everybody.
    pub limit: u32,
}

/// What retention removed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pruned {
    /// Documents that have lost their bytes.
    pub documents: u64,
    /// Messages that were forgotten with their faxes.
    pub messages: u64,
    /// Received faxes that were forgotten.
    pub received: u64,
    /// Faxes and received faxes that are old enough and stay because of a legal hold.
    pub held: u64,
    /// The objects that may go now.
    #[serde(skip)]
    pub gone: Vec<ObjectName>,
}

impl Pruned {
    /// Whether anything was removed.
    pub fn is_nothing(&self) -> bool {
        self.documents + self.messages + self.received == 0
    }
}

/// A row of the documents, for the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentRow {
    /// Its name.
    pub key: DocumentKey,
    /// Its length.
    pub size_bytes: u64,
    /// Where its bytes are.
    pub placement: Placement,
    /// Retention removed the bytes then.
    pub pruned_at: Option<Timestamp>,
    /// Whether any row names it.
    pub referenced: bool,
}

impl DocumentRow {
    /// The object that has its bytes; none when they are in the row or gone.
    pub fn object(&self) -> Option<ObjectName> {
        if self.pruned_at.is_some() { None } else { self.placement.object(&self.key) }
    }
}

/// A document's key that is wrapped anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrapped {
    /// Which document.
    pub key: DocumentKey,
    /// As it was read.
    pub was: SealedKey,
    /// As it becomes.
    pub becomes: SealedKey,
}

/// What one look at the documents found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marked {
    /// Documents that no row names, marked now.
    pub marked: u64,
    /// Documents that were looked at and have their bytes.
    pub documents: u64,
    /// Their octets.
    pub size_bytes: u64,
    /// Where to go on; none at the end.
    pub next: Option<DocumentKey>,
}

/// A rule of the store that a row breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// Which rule, as in `final-notice`.
    pub rule: &'static str,
    /// The row, or the words of the database.
    pub what: String,
    /// What is wrong with it.
    pub cause: &'static str,
}

/// What a restore does with faxes that had not ended when the backup was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unended {
    /// They are held: a person decides, since calls may have been made after the backup.
    Hold,
    /// They go on.
    GoOn,
}

/// What a restore changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Restored {
    /// Faxes that are held now.
    pub held: u64,
    /// Faxes in a call whose outcome the backup knows or cannot know: they are settled at the start.
    pub to_settle: u64,
    /// Reports that are owed.
    pub notices_owed: u64,
}
