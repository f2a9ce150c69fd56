//! Mails that come back to the return address of a received fax's mail.
//!
//! RCPT: the address proves itself, wherever it comes from; the sender is null (RFC 5321 §4.5.5). Content: its beginning is
//! read, never faxed, never kept. A failure makes the fax owed to the default mailboxes, in one transaction and before
//! the 250; a delay or an automatic answer changes nothing. Store away: 451, and the host sends it again.

use smtp::{RcptTo, Reply};
use tracing::{info, warn};

use super::Intake;
use super::refusal::Refusal;
use crate::domain::{Cause, NoticeId};
use crate::mail::returned::{self, Returned};
use crate::store::StoreError;

/// What of a returned mail is read: hosts put the status before our own mail.
pub(super) const READ_BYTES_MAX: u64 = 1024 * 1024;

/// The notice whose mail comes back to this recipient; none when it is no return address.
pub(super) fn recipient(intake: &Intake, rcpt: &RcptTo) -> Result<Option<NoticeId>, Refusal> {
    intake.returns.read(rcpt.path.as_str(), intake.clock.now()).map_err(|error| {
        info!(%error, "refused a returned mail");
        // RFC 3463 §3.2 X.1.1: there is no such mailbox, or none any more.
        Refusal { code: 550, status: "5.1.1", cause: Cause::ProtocolError, text: error.to_string() }
    })
}

/// A return address takes nothing but what comes back.
pub(super) fn not_null_sender() -> Refusal {
    let text = "this address takes returned mails only; send faxes to the number, as in +41441234567@ this domain";
    Refusal::new(550, Cause::SenderNotAllowed, text)
}

/// One mail comes back to one address, and is no fax.
pub(super) fn not_together() -> Refusal {
    let text = "a returned mail has one recipient; send it to each in a transaction of its own";
    Refusal { code: 452, status: "4.5.3", cause: Cause::TooManyRecipients, text: text.to_owned() }
}

/// The end of the content: what it says is recorded.
pub(super) async fn take(intake: &Intake, notice: NoticeId, raw: &[u8]) -> Result<Reply, Refusal> {
    let why = match returned::read(raw) {
        Returned::Failed(why) => why,
        Returned::Nothing(what) => {
            info!(%notice, what, "a host tells of a mail without giving it back");
            return Ok(Reply::new(250, "2.0.0", "noted"));
        }
    };
    match intake.store.notice_bounced(notice, &why, &intake.settings.instead).await {
        Ok(true) => {
            warn!(%notice, why, "a mail with a received fax came back; the default mailboxes get it instead");
            Ok(Reply::new(250, "2.0.0", "noted: others get the fax instead"))
        }
        Ok(false) => Ok(Reply::new(250, "2.0.0", "noted before")),
        // Retention has forgotten it, or it never carried a fax: nothing is left to do, and sending it again would not help.
        Err(error @ (StoreError::NotFound { .. } | StoreError::Refused(_))) => {
            warn!(%notice, %error, "a mail came back that nothing is known of");
            Ok(Reply::new(250, "2.0.0", "nothing is known of this mail any more"))
        }
        Err(error) => {
            warn!(%notice, %error, "a returned mail could not be recorded; the host was told to try again");
            Err(Refusal::store_unavailable())
        }
    }
}
