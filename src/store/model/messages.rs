//! Mails that were accepted, their faxes, and how a fax gets its pages and its end.

use serde::{Deserialize, Serialize};

use super::{DocumentKey, DocumentRef, Lease, LeaseToken, NewNotice, Order, OverLimit, Submitter};
use crate::domain::page::words;
use crate::domain::{Cause, FaxId, FaxNumber, FaxOptions, FaxState, MessageId, NotifyOn, Outcome, Timestamp};

/// Which way a message came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// SMTP.
    Smtp,
    /// `faxwell send`.
    Command,
}
words!(Source { Smtp = "smtp", Command = "command" });

/// RFC 3461 §4.3 RET.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ret {
    /// The whole message, in failure reports.
    Full,
    /// Its header only.
    Hdrs,
}
words!(Ret { Full = "full", Hdrs = "hdrs" });

/// A message to store.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// Made by the caller.
    pub id: MessageId,
    /// Absorbs a client that sends again because the 250 got lost (RFC 1047).
    pub idem_key: Option<[u8; 32]>,
    /// Which way it came in.
    pub source: Source,
    /// Who gave it to us, as in `10.0.5.7 (mail.example.com)`.
    pub client: String,
    /// Whom reports go to; none for a null sender.
    pub reverse_path: Option<String>,
    /// RFC 3461 RET.
    pub ret: Option<Ret>,
    /// RFC 3461 ENVID, decoded.
    pub envid: Option<String>,
    /// `Message-ID` of the mail, without angle brackets.
    pub header_message_id: Option<String>,
    /// `Subject`, decoded and without directives.
    pub subject: String,
    /// Display name of `From`.
    pub from_name: Option<String>,
    /// Address of `From`.
    pub from_address: Option<String>,
    /// Whether reports must not be mailed (bulk or automatic mail, RFC 3834).
    pub automatic: bool,
    /// How to render and report.
    pub options: FaxOptions,
    /// Lower is sooner; 5 is normal.
    pub priority: i16,
    /// The mail as it came, CRLF line ends.
    pub raw: DocumentRef,
    /// On whose account it goes; none for what an administrator submits.
    pub submitter: Option<Submitter>,
    /// Whether its faxes wait until somebody releases them.
    pub held: bool,
    /// One for each recipient; empty for a mail that is answered alone.
    pub faxes: Vec<NewFax>,
    /// The mail that answers it, where it is no fax: a preview, or the instructions.
    pub answer: Option<NewNotice>,
}

/// One recipient of a message to store.
#[derive(Debug, Clone)]
pub struct NewFax {
    /// Made by the caller.
    pub id: FaxId,
    /// The forward-path exactly as it was accepted (RFC 3464 §2.3.2).
    pub recipient: String,
    /// What to dial.
    pub number: FaxNumber,
    /// T.33 subaddress: digits, as written.
    pub subaddress: Option<String>,
    /// DTMF after the answer. Never printed.
    pub post_dial: Option<String>,
    /// Name for the cover.
    pub to_name: Option<String>,
    /// Company for the cover.
    pub to_company: Option<String>,
    /// RFC 3461 ORCPT, decoded, as in `rfc822;…`.
    pub original_recipient: Option<String>,
    /// Which reports were asked for.
    pub notify: NotifyOn,
    /// When the first call may start at the earliest; none means at once.
    pub not_before: Option<Timestamp>,
    /// When to give up, counted from when the first call may start.
    pub give_up_after: std::time::Duration,
}

/// What became of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// It is stored.
    Accepted {
        /// When, by the store's clock.
        at: Timestamp,
    },
    /// It was stored before, under this id.
    Duplicate {
        /// The first one.
        message: MessageId,
    },
    /// Its submitter has sent too much; nothing is stored.
    OverLimit(OverLimit),
    /// The signature that would let it in has let a fax to the same number in before; nothing is stored.
    Replayed {
        /// The number.
        number: FaxNumber,
    },
}

/// A stored message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// Which way it came in.
    pub source: Source,
    /// Who gave it to us.
    pub client: String,
    /// Whom reports go to; none for a null sender.
    pub reverse_path: Option<String>,
    /// RFC 3461 RET.
    pub ret: Option<Ret>,
    /// RFC 3461 ENVID, decoded.
    pub envid: Option<String>,
    /// `Message-ID` of the mail.
    pub header_message_id: Option<String>,
    /// `Subject`, decoded and without directives.
    pub subject: String,
    /// Display name of `From`.
    pub from_name: Option<String>,
    /// Address of `From`.
    pub from_address: Option<String>,
    /// Whether reports must not be mailed.
    pub automatic: bool,
    /// How to render and report.
    pub options: FaxOptions,
    /// The mail as it came.
    pub raw: DocumentKey,
}

/// A stored fax.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fax {
    /// Its id.
    pub id: FaxId,
    /// The message it belongs to.
    pub message: MessageId,
    /// The forward-path exactly as it was accepted.
    pub recipient: String,
    /// What to dial.
    pub number: FaxNumber,
    /// T.33 subaddress.
    pub subaddress: Option<String>,
    /// DTMF after the answer.
    #[serde(skip)]
    pub post_dial: Option<String>,
    /// Name for the cover.
    pub to_name: Option<String>,
    /// Company for the cover.
    pub to_company: Option<String>,
    /// RFC 3461 ORCPT, decoded.
    pub original_recipient: Option<String>,
    /// Which reports were asked for.
    pub notify: NotifyOn,
    /// Where it is.
    pub state: FaxState,
    /// Lower is sooner.
    pub priority: i16,
    /// Not worked on before.
    pub not_before: Timestamp,
    /// Given up after.
    pub give_up_at: Timestamp,
    /// The pages as they are sent: TIFF-F, header line included.
    pub document: Option<DocumentKey>,
    /// Pages of the document.
    pub page_count: Option<u32>,
    /// Pages 1..=this are confirmed.
    pub pages_confirmed: u32,
    /// Calls begun.
    pub attempts: u32,
    /// Why it failed or waits.
    pub cause: Option<Cause>,
    /// The evidence behind the cause, one line: `486 Busy Here`, or a file name and what is wrong with it.
    pub detail: Option<String>,
    /// When the message was accepted.
    pub accepted_at: Timestamp,
    /// When it became final.
    pub ended_at: Option<Timestamp>,
    /// A person had this ended fax sent once more.
    pub retry_of: Option<FaxId>,
    /// First page to send; those before it arrived with [`Self::retry_of`].
    pub begin_page: u32,
    /// What a person ordered and nobody has carried out yet.
    pub ordered: Option<Order>,
    /// Whether retention leaves it alone.
    pub legal_hold: bool,
}

impl Fax {
    /// Whether all its pages are confirmed.
    pub fn is_complete(&self) -> bool {
        self.page_count == Some(self.pages_confirmed)
    }
}

/// What a renderer works on: one message and those of its faxes that wait for pages.
#[derive(Debug, Clone)]
pub struct RenderWork {
    /// The message.
    pub message: Message,
    /// Its faxes, each with the token of its lease.
    pub faxes: Vec<(Fax, LeaseToken)>,
    /// How often a worker has died over this message: after two a document is damaged, not the worker.
    pub crashes: u32,
}

impl RenderWork {
    /// The leases that came with it.
    pub fn leases(&self) -> Vec<Lease> {
        self.faxes.iter().map(|(fax, token)| Lease::Fax(fax.id, *token)).collect()
    }
}

/// Pages that a renderer made.
#[derive(Debug, Clone)]
pub struct RenderedPages {
    /// TIFF-F as it will be sent.
    pub document: DocumentRef,
    /// Its pages, 1 or more.
    pub page_count: u32,
}

/// The end of a fax.
#[derive(Debug, Clone)]
pub struct FinalEnd {
    /// How it ended.
    pub outcome: Outcome,
    /// Why; none for `sent`.
    pub cause: Option<Cause>,
    /// The evidence, one line.
    pub detail: Option<String>,
    /// The final report.
    pub notice: NewNotice,
}
