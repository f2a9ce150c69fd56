//! Delivery: notices become mails.
//!
//! Reports go out with a null reverse-path. The mail of a received fax has a return address of its own: when it comes
//! back, or nobody takes it, the default mailboxes are owed the fax.
//!
//! `claim` a notice that is owed → [`compose`] it from `templates/mail/` → send it by [`smarthost`]s in order, or
//! into a [`maildir`] → record it as sent, as due again, or as dead. Each copy of a notice is the same mail with the
//! same Message-ID, so a crash between the acceptance and its record gives at most one recognisable duplicate
//! (RFC 5321 §6.1, RFC 1047); in a Maildir not even that.

pub mod compose;
pub mod maildir;
pub mod smarthost;
mod step;
#[cfg(test)]
mod testing;
mod view;
mod words;

use async_trait::async_trait;

use crate::domain::{Cause, Timestamp};
use crate::store::{DocumentKey, Message};
pub use compose::{Composer, Material, Settings, Withheld};
pub use step::{Deliverer, Deliveries, Step};

/// Where the octets come from that a notice carries. The program wires it to documents and converters.
#[async_trait]
pub trait Images: Send + Sync + 'static {
    /// The pages of a TIFF-F document as PDF.
    async fn pdf(&self, document: &DocumentKey) -> Result<Vec<u8>, ImagesError>;

    /// A page (from 1) of a TIFF-F document as PNG, `width_px` wide.
    async fn thumbnail(&self, document: &DocumentKey, page: u32, width_px: u32) -> Result<Vec<u8>, ImagesError>;

    /// The pages of a received fax, each a document of its own, as one file.
    async fn bound(&self, pages: &[DocumentKey], form: Bound) -> Result<Vec<u8>, ImagesError>;

    /// The pages that would be sent for a message that asks for a preview.
    async fn preview(&self, message: &Message) -> Result<Preview, PreviewError>;

    /// A mail as it came in.
    async fn mail(&self, document: &DocumentKey) -> Result<Vec<u8>, ImagesError>;
}

/// The pages of a fax that is not sent.
#[derive(Debug, Clone, Default)]
pub struct Preview {
    /// The number that it is for, as in `+41441234567`.
    pub number: String,
    /// The pages.
    pub pdf: Vec<u8>,
    /// Page 1 as PNG.
    pub thumbnail: Vec<u8>,
    /// Encoded octets of each page: what a call carries.
    pub pages_bytes: Vec<usize>,
}

/// Why there is no preview.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// The mail would not become a fax.
    #[error("{detail} ({cause})")]
    Final {
        /// The entry of the catalogue.
        cause: Cause,
        /// What and why, one line.
        detail: String,
    },
    /// Not now.
    #[error("{0}")]
    Again(String),
}

/// What the pages of a received fax become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// A PDF whose images are the pages' octets as they came.
    Pdf,
    /// TIFF-F: profile S where the pages allow it.
    Tiff,
}

/// Why octets are not to be had.
#[derive(Debug, thiserror::Error)]
pub enum ImagesError {
    /// Retention has removed them: waiting does not bring them back.
    #[error("removed by retention on {at}")]
    Removed {
        /// When.
        at: Timestamp,
    },
    /// Not now.
    #[error("{0}")]
    Failed(String),
}

/// A mail on its way.
#[derive(Debug, Clone)]
pub struct Outgoing<'a> {
    /// Names its file in a Maildir.
    pub notice: crate::domain::NoticeId,
    /// When it became owed.
    pub created_at: Timestamp,
    /// Where it comes back to when nobody takes it; none for a report, which must not loop (RFC 5321 §4.5.5).
    pub reverse_path: Option<&'a crate::mail::build::MailAddress>,
    /// The one recipient.
    pub to: &'a crate::mail::build::MailAddress,
    /// The mail.
    pub mail: &'a crate::mail::build::Encoded,
}

/// Why nobody took a mail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The recipient or the mail was refused for good.
    #[error("{0}")]
    Refused(String),
    /// It is too large for whom it was given to.
    #[error("{0}")]
    TooLarge(String),
    /// It may be taken later.
    #[error("{0}")]
    Again(String),
}

/// Whom mails are given to.
#[derive(Debug)]
pub enum Transport {
    /// Smart hosts in order.
    Smarthosts(smarthost::Smarthosts),
    /// A Maildir (the sandbox).
    Maildir(maildir::Maildir),
}

impl Transport {
    /// As configured. `hello` is what the gateway calls itself in EHLO.
    ///
    /// # Errors
    /// A host that is not `host[:port]`, or TLS that cannot be set up.
    pub fn new(target: &crate::config::DeliveryTarget, hello: &str) -> Result<Self, SendError> {
        match target {
            crate::config::DeliveryTarget::Smarthosts(hosts) => {
                smarthost::Smarthosts::new(hosts, hello).map(Self::Smarthosts)
            }
            crate::config::DeliveryTarget::Maildir(root) => Ok(Self::Maildir(maildir::Maildir::new(root.clone()))),
        }
    }

    /// Gives the mail to the first who takes it. Answers who that was and what he said.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send(&self, mail: &Outgoing<'_>) -> Result<String, SendError> {
        match self {
            Self::Smarthosts(hosts) => hosts.send(mail).await,
            Self::Maildir(maildir) => maildir.put(mail).await,
        }
    }
}
