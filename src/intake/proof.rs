//! A mail from nobody known: what it proves by itself, at the end of its content.

use tracing::info;

use super::submission::Envelope;
use super::{Intake, Refusal};
use crate::domain::Cause;
use crate::senders::authenticity::{NotProved, Origin, Proved};

/// What a mail has proved, and the field that says how.
pub(super) struct Proof {
    proved: Proved,
    field: String,
}

/// Asks what the mail proves.
///
/// # Errors
/// Why it proves nothing; temporary when a name server does not answer.
pub(super) async fn prove(intake: &Intake, origin: &Origin<'_>, content: &[u8]) -> Result<Proof, Refusal> {
    let Some(authenticator) = &intake.authenticator else {
        let text = "mails cannot prove whose they are here; log in, or ask the administrator to add your network";
        return Err(Refusal::new(550, Cause::SenderNotAllowed, text));
    };
    let examined = authenticator.examine(content, origin, &intake.settings.senders, intake.clock.now()).await;
    match examined.proved {
        Ok(proved) => Ok(Proof { proved, field: examined.field.unwrap_or_default() }),
        Err(not) => {
            let results = examined.field.as_deref().unwrap_or_default().replace("\r\n", " ");
            info!(client = %origin.client, status = not.status, results = results.trim_end(), "refused a mail: it does not prove whose it is");
            Err(not.into())
        }
    }
}

impl Proof {
    /// Makes the envelope that identity's. Answers the field.
    ///
    /// # Errors
    /// When the identity may not fax one of the recipients.
    pub(super) fn apply(self, envelope: &mut Envelope) -> Result<String, Refusal> {
        let Proved { identity, signature, recipients_in_header } = self.proved;
        for recipient in &envelope.recipients {
            let refuse = |why: crate::senders::NotForYou| Refusal::new(550, Cause::NumberNotAllowed, why.to_string());
            identity.may_fax(&recipient.address.number).map_err(refuse)?;
        }
        envelope.identity = Some(identity);
        envelope.signature = signature;
        envelope.recipients_in_header = recipients_in_header;
        Ok(self.field)
    }
}

impl From<NotProved> for Refusal {
    fn from(not: NotProved) -> Self {
        Self { code: not.code, status: not.status, cause: not.cause, text: not.text }
    }
}
