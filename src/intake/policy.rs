//! Who may submit, and to whom. Default deny: who has not logged in and is not in `smtp.relay`, by network or certificate, sends nothing.

use std::net::IpAddr;

use ipnet::IpNet;
use smtp::{MailFrom, OriginalRecipient, RcptTo};
use tracing::{debug, info};

use super::address::FaxAddress;
use super::submission::{Envelope, Recipient};
use super::tls::Presented;
use super::{IntakeSettings, address, masked_address};
use crate::config::dialplan;
use crate::domain::{Cause, FaxNumber, NotifyOn, matches_pattern};
use crate::intake::refusal::Refusal;
use crate::senders::{Identity, Policy};

/// What is known of a client beside its address.
#[derive(Debug, Clone, Default)]
pub(crate) struct Who {
    /// Its certificate.
    pub(crate) presented: Presented,
    /// Who has logged in.
    pub(crate) account: Option<Identity>,
}

/// Whether anybody can log in here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logins {
    /// There are no accounts.
    None,
    /// There are.
    Taken,
}

/// Whether this address may submit at all.
pub(crate) fn is_relay(settings: &IntakeSettings, peer: IpAddr) -> bool {
    is_in(&settings.smtp.relay, peer)
}

/// Whether this address may say for whom it speaks (XCLIENT).
pub(crate) fn is_proxy(settings: &IntakeSettings, peer: IpAddr) -> bool {
    is_in(&settings.smtp.xclient_from, peer)
}

fn is_in(networks: &[IpNet], peer: IpAddr) -> bool {
    // ::ffff:10.0.0.1 is 10.0.0.1 on a socket that listens on both families.
    let peer = peer.to_canonical();
    networks.iter().any(|network| network.contains(&peer))
}

/// Who this is, by what is stronger than anything that a mail can say: certificate, login, network.
pub(crate) fn identify(settings: &IntakeSettings, peer: IpAddr, who: &Who) -> Option<Identity> {
    let named = |name: String| Identity { name, policy: Policy::default() };
    if let Presented::Good(certificate) = &who.presented {
        if let Some(identity) = settings.senders.by_certificate(&certificate.names, &certificate.fingerprint) {
            return Some(identity.clone());
        }
        if let Some(name) = known_certificate(settings, &who.presented) {
            return Some(named(format!("cert:{name}")));
        }
    }
    let login = who.account.as_ref();
    let sender = login.or_else(|| settings.senders.by_network(peer)).cloned();
    sender.or_else(|| is_relay(settings, peer).then(|| named("smtp.relay".to_owned())))
}

/// `MAIL FROM`: who, then sender. Nobody is answered where the mail itself may still prove whose it is.
pub(crate) fn sender(
    settings: &IntakeSettings,
    peer: IpAddr,
    who: &Who,
    logins: Logins,
    mail: &MailFrom,
) -> Result<Option<Identity>, Refusal> {
    let sender = mail.path.as_ref().map_or("", |path| path.as_str());
    let identity = identify(settings, peer, who);
    match &identity {
        // RFC 6409 §6.1: a login may send as its own addresses.
        Some(identity) if !identity.may_send_as(sender) => {
            info!(identity = %identity.name, sender = %masked_address(Some(sender)), "refused a mail: not a sender of this identity");
            let text = format!("{} may not be used by this account; send from one of its addresses", shown(sender));
            return Err(Refusal::new(553, Cause::SenderNotAllowed, text));
        }
        Some(_) => {}
        None if settings.senders.any_domain() && matches!(who.presented, Presented::Nothing) && !sender.is_empty() => {}
        None => {
            info!(%peer, "refused a mail: neither the network nor a certificate is in smtp.relay, and nobody has logged in");
            return Err(stranger(peer, &who.presented, logins));
        }
    }
    if !fits(&settings.smtp.senders, sender) {
        info!(%peer, sender = %masked_address(Some(sender)), "refused a mail: the sender is not in smtp.senders");
        let text =
            format!("{} may not send faxes here; ask the administrator to add it to smtp.senders", shown(sender));
        return Err(Refusal::new(550, Cause::SenderNotAllowed, text));
    }
    Ok(identity)
}

fn shown(sender: &str) -> String {
    if sender.is_empty() { "the null sender".to_owned() } else { address::quoted(sender) }
}

/// RFC 6125 §6.4.4: the alternative names, and no other field, say whose a certificate is.
fn known_certificate<'s>(settings: &'s IntakeSettings, presented: &Presented) -> Option<&'s String> {
    let Presented::Good(certificate) = presented else { return None };
    let known = settings.smtp.relay_certificates.iter();
    known.into_iter().find(|known| **known == certificate.fingerprint || certificate.names.contains(known))
}

/// RFC 4954 §6: whom a login would help is told so.
fn stranger(peer: IpAddr, presented: &Presented, logins: Logins) -> Refusal {
    let text = match presented {
        Presented::Nothing if logins == Logins::Taken => {
            let text = format!(
                "{peer} may not send faxes here without a login; log in with AUTH, after STARTTLS, or ask the administrator to add your network to smtp.relay"
            );
            return Refusal::new(530, Cause::LoginRequired, text);
        }
        Presented::Nothing => {
            format!("{peer} may not send faxes here; ask the administrator to add your network to smtp.relay")
        }
        Presented::Bad(why) => {
            format!(
                "the client certificate is not accepted: {why}; use one that the authority of smtp.tls.client_ca has issued"
            )
        }
        Presented::Good(certificate) => {
            let name = certificate.names.first().unwrap_or(&certificate.fingerprint);
            format!(
                "the client certificate of {name} may not send faxes here; ask the administrator to add cert:{name} to smtp.relay"
            )
        }
    };
    Refusal::new(550, Cause::SenderNotAllowed, text)
}

fn fits(patterns: &[String], sender: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| matches_pattern(pattern, sender))
}

/// `RCPT TO`: address, then dial plan.
pub(crate) fn recipient(
    settings: &IntakeSettings,
    envelope: Option<&Envelope>,
    rcpt: &RcptTo,
) -> Result<Recipient, Refusal> {
    let address = address::parse(&rcpt.path, &settings.address)?;
    allowed(settings, envelope, address, rcpt)
}

/// Whether this sender may fax this number, as far as dial plan and its own lists say.
pub(crate) fn reachable(
    settings: &IntakeSettings,
    identity: Option<&Identity>,
    number: &FaxNumber,
) -> Result<(), Refusal> {
    dialplan::plan(&settings.dial, &settings.sip, number).map_err(|refusal| {
        info!(to = %number.masked(), why = %refusal.cause(), "refused a recipient: the dial plan does not allow it");
        Refusal::new(550, refusal.cause(), refusal.to_string())
    })?;
    identity.map_or(Ok(()), |identity| {
        identity.may_fax(number).map_err(|why| {
            info!(to = %number.masked(), identity = %identity.name, "refused a recipient: its sender may not fax it");
            Refusal::new(550, Cause::NumberNotAllowed, why.to_string())
        })
    })
}

/// The same of an address, with the tones that follow the answer.
pub(crate) fn permitted(
    settings: &IntakeSettings,
    envelope: Option<&Envelope>,
    address: &FaxAddress,
) -> Result<(), Refusal> {
    reachable(settings, envelope.and_then(|envelope| envelope.identity.as_ref()), &address.number)?;
    dialplan::tones(&settings.dial, &address.number, address.post_dial.as_deref())
        .map_err(|refusal| Refusal::new(550, refusal.cause(), refusal.to_string()))
}

/// S17: a mail from nobody is a report or an answer; whose programs send so says it in their table.
fn refuse_null_sender(envelope: Option<&Envelope>) -> Result<(), Refusal> {
    let Some(envelope) = envelope.filter(|envelope| envelope.reverse_path.is_none()) else { return Ok(()) };
    if envelope.identity.as_ref().is_some_and(|identity| identity.policy.automatic) {
        return Ok(());
    }
    let text =
        "a mail without a sender is not faxed, since nobody could be told what became of it; send it from an address";
    Err(Refusal::new(550, Cause::AutomaticMail, text))
}

/// A recipient at this address, when it may be faxed.
pub(crate) fn allowed(
    settings: &IntakeSettings,
    envelope: Option<&Envelope>,
    address: FaxAddress,
    rcpt: &RcptTo,
) -> Result<Recipient, Refusal> {
    refuse_null_sender(envelope)?;
    permitted(settings, envelope, &address)?;
    let original = match &rcpt.params.orcpt {
        Some(OriginalRecipient::Typed(text)) => Some(text.clone()),
        Some(OriginalRecipient::Untyped(_)) => {
            debug!("an ORCPT without an address type was left out of the report");
            None
        }
        None => None,
    };
    let notify = rcpt.params.notify.map_or_else(NotifyOn::default, |notify| NotifyOn {
        success: notify.success,
        failure: notify.failure,
        delay: notify.delay,
    });
    Ok(Recipient { path: rcpt.path.as_str().to_owned(), address, original, notify })
}
