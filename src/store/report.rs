//! Making the end of a fax: the outcome together with the one final report that belongs to it.

use crate::domain::{Cause, FaxState, NoticeId, NoticeKind, Outcome, ReportStyle, Timestamp};
use crate::store::model::{Fax, FinalEnd, Message, NewMessage, NewNotice};

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
        let notice = NewNotice { id: NoticeId::new(), kind, recipient, header_message_id, withheld };
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
        };
        let faxes = self.faxes.into_iter().map(fax).collect();
        (message, faxes)
    }
}
