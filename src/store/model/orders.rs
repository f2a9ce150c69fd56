//! What a person orders about a fax, and what becomes of it.

use serde::{Deserialize, Serialize};

use crate::domain::FaxId;
use crate::domain::page::words;

/// An order that waits until nobody works on the fax.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Keep it back until it is released.
    Hold,
    /// End it. A page on the wire is finished first.
    Cancel,
}
words!(Order { Hold = "hold", Cancel = "cancel" });

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ordered {
    /// It is carried out.
    Done,
    /// A worker holds the fax: it is carried out when the page on the wire is finished, or the pages are made.
    Soon,
}

/// Which pages of an ended fax are sent once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RetryPages {
    /// From the first page that was not confirmed.
    Rest,
    /// All of them.
    All,
}

/// What `retry` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "retried")]
pub enum Retried {
    /// It waited for its next call, which may begin now.
    Now,
    /// It had ended: this is a new fax with a report of its own.
    As {
        /// The new one.
        fax: FaxId,
    },
}
