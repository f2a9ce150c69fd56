//! Who may submit, and to whom. Default deny: a network that `smtp.relay` does not name sends nothing.

use std::net::IpAddr;

use smtp::{MailFrom, OriginalRecipient, RcptTo};
use tracing::{debug, info};

use super::submission::Recipient;
use super::{IntakeSettings, address, masked_address};
use crate::config::dialplan;
use crate::domain::{Cause, NotifyOn};
use crate::intake::refusal::Refusal;

/// Whether this address may submit at all.
pub(crate) fn is_relay(settings: &IntakeSettings, peer: IpAddr) -> bool {
    // ::ffff:10.0.0.1 is 10.0.0.1 on a socket that listens on both families.
    let peer = peer.to_canonical();
    settings.smtp.relay.iter().any(|network| network.contains(&peer))
}

/// `MAIL FROM`: network, then sender.
pub(crate) fn sender(settings: &IntakeSettings, peer: IpAddr, mail: &MailFrom) -> Result<(), Refusal> {
    if !is_relay(settings, peer) {
        info!(%peer, "refused a mail: the network is not in smtp.relay");
        let text = format!("{peer} may not send faxes here; ask the administrator to add your network to smtp.relay");
        return Err(Refusal::new(550, Cause::SenderNotAllowed, text));
    }
    let sender = mail.path.as_ref().map_or("", |path| path.as_str());
    let patterns = &settings.smtp.senders;
    if !patterns.is_empty() && !patterns.iter().any(|pattern| matches_pattern(pattern, sender)) {
        info!(%peer, sender = %masked_address(Some(sender)), "refused a mail: the sender is not in smtp.senders");
        let shown = if sender.is_empty() { "the null sender".to_owned() } else { address::quoted(sender) };
        let text = format!("{shown} may not send faxes here; ask the administrator to add it to smtp.senders");
        return Err(Refusal::new(550, Cause::SenderNotAllowed, text));
    }
    Ok(())
}

/// `RCPT TO`: address, then dial plan.
pub(crate) fn recipient(settings: &IntakeSettings, rcpt: &RcptTo) -> Result<Recipient, Refusal> {
    let address = address::parse(&rcpt.path, &settings.address)?;
    dialplan::plan(&settings.dial, &settings.sip, &address.number).map_err(|refusal| {
        info!(to = %address.number.masked(), why = %refusal.cause(), "refused a recipient: the dial plan does not allow it");
        Refusal::new(550, refusal.cause(), refusal.to_string())
    })?;
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

/// `*@example.com`: `*` stands for any characters; upper and lower case are the same.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_lowercase(), text.to_lowercase());
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, text, expected) in [
            ("*@example.com", "anna@example.com", true),
            ("*@example.com", "anna@EXAMPLE.com", true),
            ("*@example.com", "anna@sub.example.com", false),
            ("*@example.com", "anna@example.com.evil.test", false),
            ("*@*.example.com", "anna@sub.example.com", true),
            ("copier-*@example.com", "copier-2@example.com", true),
            ("copier-*@example.com", "copier-@example.com", true),
            ("anna@example.com", "anna@example.com", true),
            ("anna@example.com", "xanna@example.com", false),
            ("*", "", true),
            ("*@example.com", "", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches_pattern(pattern, text), expected, "{pattern} {text}");
        }
    }
}
