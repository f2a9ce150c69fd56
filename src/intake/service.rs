//! Addresses of the gateway itself: `help@`, `preview@` and `…@preview.domain`, `retry+…@` and `cancel+…@`.
//!
//! Who may not send faxes may not ask either: nobody else gets mail by it. What asks for an answer is stored with the answer that is
//! owed, in one transaction, before its 250. An order is carried out before its 250 and answered by it; what becomes of
//! the fax is told by its report. A null sender cannot be answered and orders nothing; automatic mail neither.

use smtp::{RcptTo, Reply};
use tracing::{info, warn};

use super::address::{self, AddressError};
use super::refusal::Refusal;
use super::submission::{self, Envelope, Recipient};
use super::{Intake, IntakeSettings, policy};
use crate::domain::{Cause, ShortId};
use crate::mail::order_address::Verb;
use crate::store::{FaxRecord, Ordered, Retried, RetryPages, StoreError};

/// What a mail asks of the gateway.
#[derive(Debug, Clone)]
pub(super) enum Service {
    /// The instructions.
    Help,
    /// The pages that would be sent: to this recipient, or to the one that `[fax: to …]` names.
    Preview(Option<Box<Recipient>>),
    /// Something is done with a fax.
    Order(Verb, ShortId),
}

/// What this recipient asks for; none when it is a fax.
pub(super) fn recipient(
    intake: &Intake,
    envelope: Option<&Envelope>,
    rcpt: &RcptTo,
) -> Result<Option<Service>, Refusal> {
    let settings = &intake.settings;
    let (local, domain) = (rcpt.path.local(), rcpt.path.domain().unwrap_or(&settings.address.domain));
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    let answerable = || {
        let text = "a mail without a sender cannot be answered; send it from an address";
        let nobody = envelope.is_some_and(|envelope| envelope.reverse_path.is_none());
        if nobody { Err(Refusal::new(550, Cause::SenderNotAllowed, text)) } else { Ok(()) }
    };
    let service = if is_preview_domain(domain, &settings.address.domain) {
        answerable()?;
        let address = address::parse_local(local, &settings.address)?;
        let recipient = policy::allowed(settings, envelope, address, rcpt)?;
        // As the fax itself would be addressed.
        let recipient = Recipient { path: format!("{local}@{}", settings.address.domain), ..recipient };
        Service::Preview(Some(Box::new(recipient)))
    } else if !domain.eq_ignore_ascii_case(&settings.address.domain) {
        return Ok(None);
    } else if local.eq_ignore_ascii_case("help") {
        Service::Help
    } else if local.eq_ignore_ascii_case("preview") {
        Service::Preview(None)
    } else {
        let order = intake.orders.read(local, intake.clock.now()).map_err(|error| {
            info!(%error, "refused an order by mail");
            // RFC 3463 §3.2 X.1.1: there is no such mailbox, or none any more.
            Refusal { code: 550, status: "5.1.1", cause: Cause::SenderNotAllowed, text: error.to_string() }
        })?;
        match order {
            Some((verb, fax)) => Service::Order(verb, fax),
            None => return Ok(None),
        }
    };
    answerable()?;
    Ok(Some(service))
}

/// `preview.` before our domain.
fn is_preview_domain(domain: &str, ours: &str) -> bool {
    domain.to_ascii_lowercase().strip_prefix("preview.").is_some_and(|rest| rest.eq_ignore_ascii_case(ours))
}

/// The number that a preview is for, by directive: the same rules as for a recipient.
pub(super) fn preview_recipient(
    settings: &IntakeSettings,
    envelope: &Envelope,
    number: &str,
) -> Result<Recipient, Refusal> {
    let local = number.rsplit_once('@').map_or(number, |(local, _)| local);
    let address = address::parse_local(local, &settings.address).map_err(|error: AddressError| {
        Refusal::new(554, Cause::DirectiveUnknown, format!("[fax: to {}]: {error}", address::quoted(number)))
    })?;
    policy::permitted(settings, Some(envelope), &address)?;
    let path = format!("{}@{}", address.number, settings.address.domain);
    Ok(Recipient { path, address, original: None, notify: crate::domain::NotifyOn::default() })
}

/// What is asked of the gateway itself stands alone in its transaction.
pub(super) fn not_together() -> Refusal {
    let text = "help, previews and orders have one recipient; send this one in a mail of its own";
    Refusal { code: 452, status: "4.5.3", cause: Cause::TooManyRecipients, text: text.to_owned() }
}

/// Carries out an order whose mail is complete.
pub(super) async fn order(
    intake: &Intake,
    envelope: &Envelope,
    (verb, fax): (Verb, &ShortId),
    raw: Vec<u8>,
) -> Result<Reply, Refusal> {
    let mail = submission::read(intake, &std::sync::Arc::new(raw)).await?;
    if mail.automatic {
        let text = "an automatic mail gives no orders; send it by hand";
        return Err(Refusal::new(550, Cause::SenderNotAllowed, text));
    }
    submission::authorise(&intake.settings, envelope, &mail)?;
    let record = record(intake, fax).await?;
    let sender = envelope.reverse_path.as_deref().unwrap_or_default();
    // Whoever a report was passed on to is not whose fax it is.
    if !record.message.reverse_path.as_deref().is_some_and(|owner| owner.eq_ignore_ascii_case(sender)) {
        info!(%fax, "refused an order by mail: it is another sender's fax");
        let text = format!("{fax} was sent by somebody else, who alone may give orders for it");
        return Err(Refusal::new(550, Cause::SenderNotAllowed, text));
    }
    let by = format!("mail of {sender}");
    let done = match verb {
        Verb::Retry => {
            let number = &record.fax.number;
            policy::reachable(&intake.settings, envelope.identity.as_ref(), number)?;
            let wait = intake.settings.dial.retry.give_up;
            intake.store.retry(record.fax.id, RetryPages::Rest, &by, wait).await.map(|retried| match retried {
                Retried::As { fax: new } => format!("{fax} is sent once more as {}; you get a report", new.short()),
                Retried::Now => format!("{fax} is tried now"),
            })
        }
        Verb::Cancel => {
            let domain = &intake.settings.address.domain;
            intake.store.cancel(record.fax.id, &by, domain).await.map(|ordered| match ordered {
                Ordered::Done => format!("{fax} is cancelled; you get a report"),
                Ordered::Soon => format!("{fax} is cancelled as soon as nobody works on it; you get a report"),
            })
        }
    };
    match done {
        Ok(text) => {
            info!(%fax, verb = verb.as_str(), "an order by mail is carried out");
            intake.accepted.notify_one();
            Ok(Reply::new(250, "2.0.0", text))
        }
        Err(error @ StoreError::WrongState { .. }) => refused(intake, verb, fax, &error).await,
        Err(error) => Err(away(&error)),
    }
}

/// A client that sends the order again because the reply got lost is told that it is done.
async fn refused(intake: &Intake, verb: Verb, fax: &ShortId, error: &StoreError) -> Result<Reply, Refusal> {
    let record = record(intake, fax).await?;
    match (verb, record.retried_as) {
        (Verb::Retry, Some(new)) => {
            Ok(Reply::new(250, "2.0.0", format!("{fax} was sent once more before, as {}", new.short())))
        }
        (Verb::Cancel, _) if record.fax.state == crate::domain::FaxState::Cancelled => {
            Ok(Reply::new(250, "2.0.0", format!("{fax} was cancelled before")))
        }
        _ => {
            info!(%fax, %error, "an order by mail is not possible");
            Err(Refusal { code: 554, status: "5.7.1", cause: Cause::OrderNotPossible, text: error.to_string() })
        }
    }
}

async fn record(intake: &Intake, fax: &ShortId) -> Result<FaxRecord, Refusal> {
    let found = match intake.store.find_fax(fax).await {
        Ok(id) => intake.store.fax(id).await,
        Err(error) => Err(error),
    };
    found.map_err(|error| match error {
        StoreError::NotFound { .. } => {
            let text = format!("nothing is known of {fax} any more; send the document as a new fax");
            Refusal { code: 550, status: "5.1.1", cause: Cause::OrderNotPossible, text }
        }
        error => away(&error),
    })
}

fn away(error: &StoreError) -> Refusal {
    warn!(%error, "an order by mail could not be recorded; the client was told to try again");
    Refusal::store_unavailable()
}
