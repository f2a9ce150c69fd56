//! The mails that are owed.

use serde::Serialize;

use super::{FaxRecord, Lease, LeaseToken, Message, ReceivedRecord};
use crate::domain::{FaxId, NoticeId, NoticeKind, NoticeState, ReceivedFaxId, ReceivedFormat, Timestamp};

/// A mail that we shall owe somebody.
#[derive(Debug, Clone)]
pub struct NewNotice {
    /// Made by the caller.
    pub id: NoticeId,
    /// What it tells.
    pub kind: NoticeKind,
    /// Whom it goes to; none when it is withheld.
    pub recipient: Option<String>,
    /// `Message-ID` without angle brackets; the same whenever this notice is sent again.
    pub header_message_id: String,
    /// Why it is recorded but not mailed.
    pub withheld: Option<String>,
    /// What the mail of a received fax carries; none for every other kind.
    pub format: Option<ReceivedFormat>,
}

/// A stored notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// Its id.
    pub id: NoticeId,
    /// The fax it reports on.
    pub fax: Option<FaxId>,
    /// The received fax it carries.
    pub received: Option<ReceivedFaxId>,
    /// What it tells.
    pub kind: NoticeKind,
    /// Where it is.
    pub state: NoticeState,
    /// Whom it goes to.
    pub recipient: Option<String>,
    /// `Message-ID` without angle brackets.
    pub header_message_id: String,
    /// When it became owed: the `Date` of the mail, so that every copy is the same.
    pub created_at: Timestamp,
    /// When it was taken.
    pub sent_at: Option<Timestamp>,
    /// Tries so far.
    pub tries: u32,
    /// Last error, or why it is withheld, dead or bounced, or who took it.
    pub detail: Option<String>,
    /// What the mail of a received fax carries.
    pub format: Option<ReceivedFormat>,
}

/// A notice to compose and deliver.
#[derive(Debug, Clone)]
pub struct NoticeWork {
    /// The notice.
    pub notice: Notice,
    /// Token of its lease.
    pub token: LeaseToken,
    /// Everything about what it tells of.
    pub about: About,
}

/// What a notice tells of.
#[derive(Debug, Clone)]
pub enum About {
    /// A fax that was to be sent.
    Fax(Box<FaxRecord>),
    /// A fax that came in.
    Received(Box<ReceivedRecord>),
    /// A mail that is no fax: a preview, or the instructions.
    Message(Box<Message>),
}

impl NoticeWork {
    /// The lease that came with it.
    pub fn lease(&self) -> Lease {
        Lease::Notice(self.notice.id, self.token)
    }
}
