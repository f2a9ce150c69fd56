//! Making the end of a fax: the outcome together with the one final report that belongs to it.

use sha2::{Digest, Sha256};

use crate::domain::inbound::{Destination, Incoming};
use crate::domain::{
    Cause, FaxState, NoticeId, NoticeKind, Outcome, ReceivedFaxId, ReceivedFormat, ReportStyle, Timestamp,
};
use crate::store::model::{Fax, FinalEnd, Message, NewMessage, NewNotice, Received, ReceivedEnd};

/// Octets of a mailbox's hash in a `Message-ID`: enough to keep the mailboxes of one fax apart.
const MAILBOX_MARK_BYTES: usize = 6;

impl FinalEnd {
    /// The end of `fax` with its final report, or with the reason why no mail may be sent.
    ///
    /// `domain` is the gateway's domain, for the report's `Message-ID`. The id is made of the fax's id and the kind
    /// alone, so that whoever writes this end again writes the same one.
    pub fn new(
        message: &Message,
        fax: &Fax,
        outcome: Outcome,
        cause: Option<Cause>,
        detail: impl Into<Option<String>>,
        domain: &str,
    ) -> Self {
        let kind = NoticeKind::from(outcome);
        let withheld = withheld(message, fax, kind);
        let recipient = if withheld.is_none() { message.reverse_path.clone() } else { None };
        let header_message_id = format!("{}.{kind}@{domain}", fax.id.short());
        let notice = NewNotice { id: NoticeId::new(), kind, recipient, header_message_id, withheld, format: None };
        Self { outcome, cause, detail: detail.into(), notice }
    }

    /// The end of a fax that cannot be sent (further): `partial` when pages have arrived, else `failed`.
    pub fn not_sent(
        message: &Message,
        fax: &Fax,
        cause: Cause,
        detail: impl Into<Option<String>>,
        domain: &str,
    ) -> Self {
        let outcome = if fax.pages_confirmed > 0 { Outcome::Partial } else { Outcome::Failed };
        Self::new(message, fax, outcome, Some(cause), detail, domain)
    }

    /// The state that the fax takes.
    pub fn state(&self) -> FaxState {
        self.outcome.into()
    }
}

impl NewNotice {
    /// The mail that carries a received fax to one mailbox. It is always owed: who sends faxes is not who reads them.
    ///
    /// The `Message-ID` is made of the fax's id and the mailbox alone, so that whoever writes this end again writes the
    /// same one, and a second mail for the mailbox cannot exist.
    pub fn received(fax: ReceivedFaxId, mailbox: &str, format: ReceivedFormat, domain: &str) -> Self {
        let digest = Sha256::digest(mailbox.as_bytes());
        let mark = data_encoding::HEXLOWER.encode(&digest[..MAILBOX_MARK_BYTES]);
        Self {
            id: NoticeId::new(),
            kind: NoticeKind::Received,
            recipient: Some(mailbox.to_owned()),
            header_message_id: format!("{}.received.{mark}@{domain}", fax.short()),
            withheld: None,
            format: Some(format),
        }
    }
}

impl ReceivedEnd {
    /// The end of a received fax with a mail for each mailbox of `to`. `cause` is why the call broke; none when the end
    /// of the document was confirmed.
    pub fn new(
        fax: ReceivedFaxId,
        to: &Destination,
        cause: Option<Cause>,
        detail: impl Into<Option<String>>,
        domain: &str,
    ) -> Self {
        Self {
            complete: cause.is_none(),
            cause,
            detail: detail.into(),
            route: to.route.clone(),
            notices: to.to.iter().map(|mailbox| NewNotice::received(fax, mailbox, to.format, domain)).collect(),
        }
    }
}

impl Received {
    /// What the rules ask about.
    pub fn incoming(&self) -> Incoming {
        Incoming {
            did: self.called_number.clone(),
            caller: self.calling_number.clone(),
            tsi: self.remote_id.clone(),
            subaddress: self.subaddress.clone(),
        }
    }
}

/// Why this report is recorded but must not be mailed.
fn withheld(message: &Message, fax: &Fax, kind: NoticeKind) -> Option<String> {
    // RFC 3461 §5.2: no report ever goes to a null reverse-path.
    if message.reverse_path.is_none() {
        return Some("the sender's address is empty".to_owned());
    }
    // RFC 3834 §2: automatic and bulk mail is not answered.
    if message.automatic {
        return Some("the mail was sent automatically or in bulk".to_owned());
    }
    if !fax.notify.wants(kind) {
        return Some("the sender asked for no report of this kind".to_owned());
    }
    (message.options.report == ReportStyle::Off).then(|| "reports are switched off for this message".to_owned())
}

impl NewMessage {
    /// What the store holds after it has accepted this at `at`.
    pub fn accepted(self, at: Timestamp) -> (Message, Vec<Fax>) {
        let message = Message {
            id: self.id,
            accepted_at: at,
            source: self.source,
            client: self.client,
            reverse_path: self.reverse_path,
            ret: self.ret,
            envid: self.envid,
            header_message_id: self.header_message_id,
            subject: self.subject,
            from_name: self.from_name,
            from_address: self.from_address,
            automatic: self.automatic,
            options: self.options,
            raw: self.raw.key,
        };
        let fax = |new: super::NewFax| Fax {
            id: new.id,
            message: message.id,
            recipient: new.recipient,
            number: new.number,
            subaddress: new.subaddress,
            post_dial: new.post_dial,
            to_name: new.to_name,
            to_company: new.to_company,
            original_recipient: new.original_recipient,
            notify: new.notify,
            state: FaxState::Accepted,
            priority: self.priority,
            not_before: new.not_before.unwrap_or(at),
            give_up_at: at.plus(new.give_up_after),
            document: None,
            page_count: None,
            pages_confirmed: 0,
            attempts: 0,
            cause: None,
            detail: None,
            accepted_at: at,
            ended_at: None,
            retry_of: None,
            begin_page: 1,
            ordered: None,
            legal_hold: false,
        };
        let faxes = self.faxes.into_iter().map(fax).collect();
        (message, faxes)
    }
}
