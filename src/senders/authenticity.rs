//! What a mail proves by itself: DKIM, SPF, DMARC and ARC, for senders that nothing stronger has identified.
//!
//! In: a mail as it came, and who gave it to us. Out: an `Authentication-Results` field (RFC 8601), and either the identity that is proved
//! or why none is, with the codes of RFC 7372. The domain that is looked at is that of the one address in the one `From` field;
//! DMARC (RFC 9989) must say that a signature or SPF is aligned with it. A domain without a DMARC record proves nothing.
//!
//! A signature does not cover the envelope, so that whoever has a signed mail could have it faxed to a number of his choice. Hence:
//! a signature lets in one fax a number, and none that is older than a week ([`SIGNATURE_AGE_MAX`]); it covers `From`,
//! `Subject` (directives stand there) and every `To` and `Cc`, and the envelope's recipients are among these; where it does not cover
//! `To`, as with Exchange Online, SPF must be aligned as well, so that the mail comes from the domain itself. A signature
//! over a part of the body (`l=`) counts as none (RFC 6376 §8.2).
//!
//! Failure: a name server that does not answer is 451, never a proof.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{
    ArcOutput, AuthenticatedMessage, AuthenticationResults, DkimOutput, DkimResult, DmarcOutput, DmarcResult,
    MessageAuthenticator, SpfOutput, SpfResult,
};
use sha2::{Digest as _, Sha256};

use super::results::dmarc_passed;
pub use super::results::without_forged;
use super::{Identity, Senders};
use crate::domain::{Cause, Timestamp};

/// All look-ups of one mail together; the client waits for its answer (RFC 5321 §4.5.3.2.6: 10 minutes).
const LOOKUPS_MAX: Duration = Duration::from_secs(30);
/// One question to one name server.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(3);
/// Each costs a look-up and a public-key operation; forwarders add one or two.
const SIGNATURES_MAX: usize = 8;
/// No signature that is older lets a mail in. The store remembers used ones a day longer.
pub const SIGNATURE_AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Clocks of signers are wrong by hours, not by days.
const SIGNATURE_AHEAD_MAX: Duration = Duration::from_secs(6 * 3600);

/// Who gave us a mail.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The client.
    pub client: IpAddr,
    /// What it called itself.
    pub hello: &'a str,
    /// The reverse-path; none for a null sender.
    pub reverse_path: Option<&'a str>,
}

/// An identity that a mail has proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proved {
    /// Who.
    pub identity: Identity,
    /// Hash of the signature that proves it; none for SPF.
    pub signature: Option<[u8; 32]>,
    /// Whether every recipient must stand in `To` or `Cc`, which the signature covers.
    pub recipients_in_header: bool,
}

/// Why a mail proves nothing: an SMTP reply in parts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct NotProved {
    /// SMTP reply code.
    pub code: u16,
    /// Enhanced status (RFC 7372).
    pub status: &'static str,
    /// The entry of the catalogue.
    pub cause: Cause,
    /// What is missing and what would do: one line.
    pub text: String,
}

/// What was looked up of a mail.
#[derive(Debug)]
pub struct Examined {
    /// `Authentication-Results`, with its line end; none when the mail has no author to speak of.
    pub field: Option<String>,
    /// Whose it is.
    pub proved: Result<Proved, NotProved>,
}

/// Asks name servers about mails.
pub struct Authenticator {
    resolver: MessageAuthenticator,
    domain: String,
}

impl Authenticator {
    /// `domain` is ours: it stands in `Authentication-Results`. Without `servers` the system's are asked.
    ///
    /// # Errors
    /// When the system says of no name server.
    pub fn new(domain: &str, servers: &[SocketAddr]) -> Result<Self, String> {
        let words = |error: &dyn std::fmt::Display| format!("no name server can be asked: {error}");
        let resolver = if servers.is_empty() {
            MessageAuthenticator::new_system_conf().map_err(|error| words(&error))?
        } else {
            let mut options = ResolverOpts::default();
            options.timeout = LOOKUP_TIMEOUT;
            let servers = servers.iter().map(name_server).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            MessageAuthenticator::new(config, options).map_err(|error| words(&error))?
        };
        Ok(Self { resolver, domain: domain.to_owned() })
    }

    /// Looks at a mail, as it came and without anything that we put in front.
    pub async fn examine(&self, raw: &[u8], origin: &Origin<'_>, senders: &Senders, now: Timestamp) -> Examined {
        match tokio::time::timeout(LOOKUPS_MAX, self.look(raw, origin, senders, now)).await {
            Ok(examined) => examined,
            Err(_) => Examined { field: None, proved: Err(not_now("4.4.3", "name servers do not answer in time")) },
        }
    }

    async fn look(&self, raw: &[u8], origin: &Origin<'_>, senders: &Senders, now: Timestamp) -> Examined {
        let nothing = |proved| Examined { field: None, proved: Err(proved) };
        let Some(mut message) = AuthenticatedMessage::parse(raw) else {
            return nothing(refused("5.7.20", "the mail has no header that could be signed"));
        };
        message.dkim_headers.truncate(SIGNATURES_MAX);
        let author = match author(&message) {
            Ok(author) => author,
            Err(refused) => return nothing(refused),
        };
        let reverse_path = origin.reverse_path.unwrap_or_default();
        let dkim = self.resolver.verify_dkim(&message).await;
        let spf = SpfParameters::verify_mail_from(origin.client, origin.hello, &self.domain, reverse_path);
        let spf = self.resolver.verify_spf(spf).await;
        let envelope_domain = reverse_path.rsplit_once('@').map_or(origin.hello, |(_, domain)| domain);
        let dmarc = self.resolver.verify_dmarc(DmarcParameters::new(&message, &dkim, envelope_domain, &spf)).await;
        let arc = if message.as_headers.is_empty() { None } else { Some(self.resolver.verify_arc(&message).await) };
        let mut field = AuthenticationResults::new(&self.domain)
            .with_dkim_results(&dkim, &author)
            .with_spf_mailfrom_result(&spf, origin.client, reverse_path, origin.hello)
            .with_dmarc_result(&dmarc);
        if let Some(arc) = &arc {
            field = field.with_arc_result(arc, origin.client);
        }
        let field = Some(format!("Authentication-Results: {field}\r\n"));
        let found =
            Found { message: &message, author: &author, dkim: &dkim, spf: &spf, dmarc: &dmarc, arc: arc.as_ref() };
        Examined { field, proved: found.judge(senders, now) }
    }
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.to_vec())
}

/// The one address of the one `From` field. RFC 5322 §3.6 has one field; several are how filters and readers are made to see
/// different authors.
fn author(message: &AuthenticatedMessage<'_>) -> Result<String, NotProved> {
    let fields = message.headers.iter().filter(|(name, _)| name.trim_ascii().eq_ignore_ascii_case(b"from")).count();
    match (fields, message.from.as_slice()) {
        (1, [one]) if one.contains('@') => Ok(one.clone()),
        (0, _) => Err(refused("5.7.1", "the mail has no From field; write one")),
        (1, []) => Err(refused("5.7.1", "the From field has no address; write one")),
        _ => Err(refused("5.7.1", "the mail has several authors in From; write one field with one address")),
    }
}

/// Everything that was found out about a mail.
struct Found<'a> {
    message: &'a AuthenticatedMessage<'a>,
    author: &'a str,
    dkim: &'a [DkimOutput<'a>],
    spf: &'a SpfOutput,
    dmarc: &'a DmarcOutput,
    arc: Option<&'a ArcOutput<'a>>,
}

/// A signature that has been verified.
struct Signed<'s> {
    fields: &'s [String],
    octets: &'s [u8],
    at_s: u64,
}

impl Found<'_> {
    fn judge(&self, senders: &Senders, now: Timestamp) -> Result<Proved, NotProved> {
        let domain = self.author.rsplit_once('@').map_or("", |(_, domain)| domain);
        let (by_dkim, by_spf) = (senders.by_dkim(domain), senders.by_spf(domain));
        if by_dkim.is_none() && by_spf.is_none() {
            let text = format!(
                "{domain} may not send faxes here; ask the administrator to add dkim:{domain} to smtp.relay, or log in"
            );
            return Err(NotProved { code: 550, status: "5.7.1", cause: Cause::SenderNotAllowed, text });
        }
        let spf_aligned = *self.dmarc.spf_result() == DmarcResult::Pass;
        let mut why = None;
        if let Some(identity) = by_dkim {
            match self
                .by_signature(domain, spf_aligned, now)
                .or_else(|direct| self.by_sealer(domain, senders, now).ok_or(direct))
            {
                Ok((signature, recipients_in_header)) => {
                    let (identity, signature) = (identity.clone(), Some(signature));
                    return Ok(Proved { identity, signature, recipients_in_header });
                }
                Err(refused) => why = Some(refused),
            }
        }
        match by_spf {
            Some(identity) if spf_aligned => {
                Ok(Proved { identity: identity.clone(), signature: None, recipients_in_header: false })
            }
            _ => Err(self.temporary().or(why).unwrap_or_else(|| self.spf_failed(domain))),
        }
    }

    /// A signature of the domain that DMARC finds aligned.
    fn by_signature(&self, domain: &str, spf_aligned: bool, now: Timestamp) -> Result<([u8; 32], bool), NotProved> {
        let good = self.dkim.iter().filter(|output| *output.result() == DkimResult::Pass);
        let good: Vec<_> = good.filter_map(DkimOutput::signature).collect();
        if good.is_empty() {
            let text = format!("no DKIM signature of this mail holds; sign it as {domain}");
            let status = if self.message.dkim_headers.is_empty() || self.spf.result() != SpfResult::Fail {
                "5.7.20"
            } else {
                "5.7.26"
            };
            return Err(refused(status, text));
        }
        let ours = |d: &str| {
            let d = d.to_ascii_lowercase();
            d == domain || domain.strip_suffix(&d).is_some_and(|rest| rest.ends_with('.'))
        };
        let mut aligned = good.iter().filter(|signature| ours(&signature.d)).peekable();
        if *self.dmarc.dkim_result() != DmarcResult::Pass || aligned.peek().is_none() {
            let text = format!(
                "no DKIM signature is of {domain}, whose From it is, by its DMARC record; sign it as {domain} and publish one"
            );
            return Err(refused("5.7.22", text));
        }
        let mut why = None;
        for signature in aligned {
            let signed = Signed { fields: &signature.h, octets: &signature.b, at_s: signature.t };
            match self.acceptable(&signed, spf_aligned, now) {
                Ok(covers_recipients) => return Ok((Sha256::digest(&signature.b).into(), covers_recipients)),
                Err(text) => why = Some(text),
            }
        }
        Err(refused("5.7.21", why.unwrap_or_default()))
    }

    /// A sealer that is believed says that DMARC had passed where it took the mail (RFC 8617 §5.2).
    fn by_sealer(&self, domain: &str, senders: &Senders, now: Timestamp) -> Option<([u8; 32], bool)> {
        let arc = self.arc.filter(|arc| *arc.result() == DkimResult::Pass)?;
        let newest = arc.sets().iter().max_by_key(|set| set.seal.header.i)?;
        let signature = newest.signature.header;
        if !senders.trusts_sealer(&newest.seal.header.d) || signature.d != newest.seal.header.d || signature.l > 0 {
            return None;
        }
        let passed = dmarc_passed(&String::from_utf8_lossy(newest.results.value), domain);
        let signed = Signed { fields: &signature.h, octets: &signature.b, at_s: signature.t };
        // The sealer's own SPF says nothing about the recipients: they must be covered.
        let covers = self.acceptable(&signed, false, now).ok()?;
        passed.then(|| (Sha256::digest(signed.octets).into(), covers))
    }

    /// Whether a signature is one that a mail is let in by. Answers whether it covers the recipients.
    fn acceptable(&self, signed: &Signed<'_>, spf_aligned: bool, now: Timestamp) -> Result<bool, String> {
        for field in ["from", "subject"] {
            if !self.covers(signed, field, 1) {
                return Err(format!("the DKIM signature does not cover {field}; let the signer include it"));
            }
        }
        let recipients = self.covers(signed, "to", 1) && self.covers(signed, "cc", 0);
        if !recipients && !spf_aligned {
            return Err(
                "the DKIM signature does not cover To and Cc, and SPF does not say that the mail comes from its \
                        domain; let the signer include them"
                    .to_owned(),
            );
        }
        let at_s = if signed.at_s > 0 { signed.at_s } else { self.date_s(signed).unwrap_or(0) };
        let at = Timestamp(i64::try_from(at_s.saturating_mul(1000)).unwrap_or(i64::MAX));
        if now.since(at) > SIGNATURE_AGE_MAX || at.since(now) > SIGNATURE_AHEAD_MAX {
            return Err("the DKIM signature is older than 7 days, or has no time; send a new mail".to_owned());
        }
        Ok(recipients)
    }

    /// Whether every field of this name is signed, and there are at least so many. RFC 6376 §5.4.2: each mention covers one, from
    /// the last upwards.
    fn covers(&self, signed: &Signed<'_>, field: &str, least: usize) -> bool {
        let present = |(name, _): &&(&[u8], &[u8])| name.trim_ascii().eq_ignore_ascii_case(field.as_bytes());
        let there = self.message.headers.iter().filter(present).count();
        let mentioned = signed.fields.iter().filter(|name| name.trim().eq_ignore_ascii_case(field)).count();
        mentioned >= there.max(least)
    }

    /// `Date`, where the signature covers it: Exchange Online signs without a time of its own.
    fn date_s(&self, signed: &Signed<'_>) -> Option<u64> {
        if !self.covers(signed, "date", 1) {
            return None;
        }
        let field = self.message.headers.iter().find(|(name, _)| name.trim_ascii().eq_ignore_ascii_case(b"date"))?;
        let text = String::from_utf8_lossy(field.1);
        u64::try_from(mailparse::dateparse(text.trim()).ok()?).ok()
    }

    /// What could not be looked up.
    fn temporary(&self) -> Option<NotProved> {
        let dkim = self.dkim.iter().any(|output| matches!(output.result(), DkimResult::TempError(_)));
        let dmarc = [self.dmarc.dkim_result(), self.dmarc.spf_result()]
            .into_iter()
            .any(|result| matches!(result, DmarcResult::TempError(_)));
        if dkim || dmarc {
            return Some(not_now("4.4.3", "a name server did not say which keys and rules the sender has"));
        }
        // RFC 7372 §3.2.
        (self.spf.result() == SpfResult::TempError)
            .then(|| not_now("4.7.24", "a name server did not say whether this address may send for the sender"))
    }

    fn spf_failed(&self, domain: &str) -> NotProved {
        let text = format!(
            "SPF does not say that this mail comes from {domain}, by its DMARC record; send it by its own servers"
        );
        refused("5.7.23", text)
    }
}

fn refused(status: &'static str, text: impl Into<String>) -> NotProved {
    NotProved { code: 550, status, cause: Cause::MailNotAuthentic, text: text.into() }
}

fn not_now(status: &'static str, what: &str) -> NotProved {
    let text = format!("{what}, nothing was accepted; try again in a few minutes");
    NotProved { code: 451, status, cause: Cause::StoreUnavailable, text }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
