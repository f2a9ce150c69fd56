//! What a command hands in: a mail and its recipients take the same way as one from SMTP, and [`preview`] goes that way up to
//! the store without storing anything, so that a preview shows what would be sent.

use super::address::{self, FaxAddress};
use super::refusal::Refusal;
use super::submission::{self, Accepted, Envelope, Recipient, Wanted};
use super::{Intake, IntakeSettings, Readers, directive};
use crate::config::dialplan;
use crate::domain::{Cause, MessageId, NotifyOn, Timestamp};
use crate::store::{Fax, Message, Source};

/// A submission of a command.
#[derive(Debug, Clone, Default)]
pub struct Handed {
    /// Whom reports go to; none: nobody, the command shows them.
    pub from: Option<String>,
    /// Numbers or addresses, in any form that SMTP takes too.
    pub recipients: Vec<String>,
    /// The mail, CRLF line ends.
    pub mail: Vec<u8>,
    /// The same key a second time is the same submission.
    pub idempotency_key: Option<String>,
}

/// Submits a mail. `client` says who asks, for the record. All recipients are accepted or none.
///
/// # Errors
/// Those of SMTP: the same checks, the same words.
pub async fn submit_mail(intake: &Intake, client: &str, handed: Handed) -> Result<Accepted, Refusal> {
    let settings = &intake.settings;
    check_size(settings, &handed.mail)?;
    let envelope = envelope(settings, client, &handed)?;
    let id = MessageId::new();
    // The key is a directive like any other.
    let mut raw = match &handed.idempotency_key {
        Some(key) if key.chars().any(char::is_control) => {
            let text = "a control character stands in the idempotency key; remove it";
            return Err(Refusal::new(554, Cause::DirectiveUnknown, text));
        }
        Some(key) => format!("X-Fax-Idempotency-Key: {key}\r\n").into_bytes(),
        None => Vec::new(),
    };
    let head_bytes = raw.len();
    raw.extend_from_slice(&handed.mail);
    let _place = intake.place_to_finish(raw.len() as u64).await?;
    submission::submit(intake, &envelope, Wanted::Fax, id, raw, head_bytes).await
}

/// The message and the faxes that [`submit_mail`] would store at `at`. Nothing is stored.
///
/// # Errors
/// The same.
pub fn preview(
    settings: &IntakeSettings,
    readers: Readers,
    handed: &Handed,
    at: Timestamp,
) -> Result<(Message, Vec<Fax>), Refusal> {
    check_size(settings, &handed.mail)?;
    let envelope = envelope(settings, "preview", handed)?;
    let mail = (readers.read_mail)(&handed.mail).map_err(|error| Refusal::new(554, error.cause, error.detail))?;
    Ok(submission::check(settings, &readers, mail)?.preview(settings, &envelope, at))
}

/// The moment that `--at` means, by clocks of this zone.
///
/// # Errors
/// `directive-unknown` for what is no time, has passed, or is more than 30 days ahead.
pub fn earliest(text: &str, now: Timestamp, zone: &jiff::tz::TimeZone) -> Result<Timestamp, Refusal> {
    directive::at(text, text)?.resolve_in(now, Some(zone.clone()))
}

fn check_size(settings: &IntakeSettings, mail: &[u8]) -> Result<(), Refusal> {
    let (size, max) = (mail.len() as u64, settings.smtp.max_size_bytes);
    if size > max {
        let text = format!("the mail has {size} octets, at most {max} are taken; send fewer or smaller files");
        return Err(Refusal::new(552, Cause::TooLarge, text));
    }
    Ok(())
}

fn envelope(settings: &IntakeSettings, client: &str, handed: &Handed) -> Result<Envelope, Refusal> {
    if handed.recipients.is_empty() || handed.recipients.len() > settings.smtp.max_recipients {
        let (count, max) = (handed.recipients.len(), settings.smtp.max_recipients);
        return Err(Refusal::new(550, Cause::TooManyRecipients, format!("{count} recipients; give 1 to {max}")));
    }
    let mut envelope = Envelope {
        source: Source::Command,
        client: client.to_owned(),
        reverse_path: handed.from.clone(),
        ret: None,
        envid: None,
        identity: None,
        signature: None,
        recipients_in_header: false,
        when: submission::When::default(),
        recipients: Vec::new(),
    };
    for text in &handed.recipients {
        let local = text.strip_suffix(&format!("@{}", settings.address.domain)).unwrap_or(text);
        let address = address::parse_local(local, &settings.address)?;
        dialplan::plan(&settings.dial, &settings.sip, &address.number)
            .and_then(|_| dialplan::tones(&settings.dial, &address.number, address.post_dial.as_deref()))
            .map_err(|refusal| Refusal::new(550, refusal.cause(), refusal.to_string()))?;
        let path = format!("{}@{}", canonical(&address), settings.address.domain);
        envelope.add(Recipient { path, address, original: None, notify: NotifyOn::default() });
    }
    Ok(envelope)
}

/// An address that says the same in the form of RFC 3192; names go to the cover by other ways.
fn canonical(address: &FaxAddress) -> String {
    match &address.subaddress {
        Some(subaddress) => format!("FAX={}/T33S={subaddress}", address.number),
        None => address.number.to_string(),
    }
}
