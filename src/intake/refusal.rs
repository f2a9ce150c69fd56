//! A refusal: what SMTP and commands say when something is not accepted.

use smtp::Reply;

use crate::domain::{Cause, Class};
use crate::intake::address::AddressError;

/// Why something was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// SMTP reply code.
    pub code: u16,
    /// Enhanced status.
    pub status: &'static str,
    /// The entry of the catalogue.
    pub cause: Cause,
    /// What is wrong and what would do: one line.
    pub text: String,
}

impl Refusal {
    /// With the status that the catalogue has for the cause.
    pub(crate) fn new(code: u16, cause: Cause, text: impl Into<String>) -> Self {
        Self { code, status: cause.status(), cause, text: text.into() }
    }

    /// Store or documents are away: the client tries again by itself.
    pub(crate) fn store_unavailable() -> Self {
        let text = "mails cannot be stored safely at the moment, nothing was stored; try again in a few minutes";
        Self::new(451, Cause::StoreUnavailable, text)
    }

    /// Whether trying the same again later can help.
    pub fn is_temporary(&self) -> bool {
        self.code < 500 || self.cause.class() == Class::Retry
    }

    pub(crate) fn to_reply(&self) -> Reply {
        Reply::new(self.code, self.status, self.text.clone()).slug(self.cause.slug())
    }
}

impl From<AddressError> for Refusal {
    fn from(error: AddressError) -> Self {
        Self { code: error.code, status: error.status, cause: error.cause, text: error.text }
    }
}
