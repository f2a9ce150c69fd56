//! A small SMTP client for the sandbox: real SMTP on loopback, without TLS and login.

use std::net::SocketAddr;
use std::time::Duration;

use lettre::address::Envelope;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};

use super::exit::{Exit, Failed};

/// RFC 5321 §4.5.3.2 allows minutes; a sandbox that needs this long is broken.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Sends a mail. Answers with the text of the reply to DATA.
pub(super) async fn send(server: SocketAddr, from: &str, to: &[String], mail: &[u8]) -> Result<String, Failed> {
    let envelope = envelope(from, to)?;
    let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(server.ip().to_string())
        .port(server.port())
        .timeout(Some(TIMEOUT))
        .build();
    match transport.send_raw(&envelope, mail).await {
        Ok(reply) => Ok(reply.message().collect::<Vec<_>>().join(" ")),
        Err(error) if error.is_permanent() || error.is_transient() => Err(refused(&error)),
        Err(error) => {
            let fix = "start it with: faxwell demo";
            Err(Failed::new(
                Exit::Unreachable,
                format!("the SMTP server at {server} does not answer"),
                words(&error),
                fix,
            ))
        }
    }
}

fn envelope(from: &str, to: &[String]) -> Result<Envelope, Failed> {
    let address = |text: &str| {
        text.parse::<Address>().map_err(|error| {
            let fix = "write it as in +99910200@fax.local";
            Failed::new(Exit::Usage, format!("\"{text}\" is not a mail address"), error.to_string(), fix)
        })
    };
    let to = to.iter().map(|to| address(to)).collect::<Result<Vec<_>, _>>()?;
    Envelope::new(Some(address(from)?), to).map_err(|error| {
        Failed::new(Exit::Usage, "nobody to send to", error.to_string(), "name a number with --to NUMBER")
    })
}

fn refused(error: &lettre::transport::smtp::Error) -> Failed {
    // The gateway's replies say cause and fix in words and end in the slug.
    let fix = "as the reply says; faxwell dial explain NUMBER shows what a number means";
    Failed::new(Exit::NotAllowed, "the gateway refused the mail", words(error), fix)
}

fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

/// Longest reply that is looked through.
const REPLY_CHARS_MAX: usize = 10_000;

/// The ids a reply names, as in `accepted as F-8KQ2XW4DZP: 1 fax`.
pub(super) fn ids(reply: &str) -> Vec<crate::domain::ShortId> {
    let reply: String = reply.chars().take(REPLY_CHARS_MAX).collect();
    let words = reply.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let mut ids: Vec<crate::domain::ShortId> = words.filter_map(|word| word.parse().ok()).collect();
    ids.dedup();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_of_a_reply_are_found() {
        let found = ids("2.0.0 accepted as F-8KQ2XW4DZP, F-0000000001: 2 faxes, 3 attachments");
        assert_eq!(found.iter().map(|id| id.as_str()).collect::<Vec<_>>(), ["F-8KQ2XW4DZP", "F-0000000001"]);
        assert!(ids("2.0.0 accepted").is_empty());
    }

    #[test]
    fn sandbox_addresses_fit_an_envelope() {
        let to = ["+99910200@fax.local".to_owned(), "FAX=+99910200/T33S=12@fax.local".to_owned()];
        assert!(envelope("visitor@example.com", &to).is_ok());
        assert_eq!(envelope("visitor@example.com", &["no address".to_owned()]).unwrap_err().exit, Exit::Usage);
    }
}
