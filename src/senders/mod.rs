//! Who submits: every mail belongs to exactly one identity, or is refused.
//!
//! In: what is known of a client (certificate, login, address) and, where none of these is known, what the mail itself proves
//! ([`authenticity`]). Out: an [`Identity`] with what it may send. Default deny: what no table names is nobody. The order is that of
//! strength: certificate, login, network, signed domain, SPF, a trusted sealer. The `From` field alone proves nothing
//! (RFC 3965 §5.2.4); where a domain is the proof, the `From` that is looked at is the one that the signature covers.
//!
//! Failure: accounts, keys or name servers that cannot be asked are told as such, so that the client tries again; nobody is let in
//! meanwhile.

pub mod authenticity;
mod keys;
mod logins;
pub mod passwords;
mod results;
pub mod token;

use std::net::IpAddr;

pub use crate::config::senders::Policy;
use crate::config::senders::{Proof, SendersConfig};
use crate::domain::{FaxNumber, matches_pattern};
use crate::store::SubmitLimits;
pub use keys::{Fetch, KeySource};
pub use logins::{LoginError, Logins};

/// Somebody who may submit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `account:copier-2`, `sender:erp`, or an entry of `smtp.relay` as it is written.
    pub name: String,
    /// What it may send.
    pub policy: Policy,
}

/// Why an identity may not fax a number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotForYou {
    /// No prefix of its list holds the number.
    #[error("{identity} may not fax {number}; ask the administrator to add its prefix to allow of {identity}")]
    NotAllowed {
        /// Who.
        identity: String,
        /// The number.
        number: FaxNumber,
    },
    /// A prefix forbids it.
    #[error("{identity} may not fax {number}: deny of {identity} has {prefix}")]
    Denied {
        /// Who.
        identity: String,
        /// The number.
        number: FaxNumber,
        /// The prefix.
        prefix: String,
    },
}

impl Identity {
    /// Whether it may use this address, as reverse-path or in `From`.
    pub fn may_send_as(&self, address: &str) -> bool {
        self.policy.from.is_empty() || self.policy.from.iter().any(|pattern| matches_pattern(pattern, address))
    }

    /// Whether it may fax this number, as far as its own lists say. The dial plan is asked besides.
    ///
    /// # Errors
    /// [`NotForYou`].
    pub fn may_fax(&self, number: &FaxNumber) -> Result<(), NotForYou> {
        let holds = |prefix: &&String| !prefix.is_empty() && number.as_str().starts_with(prefix.as_str());
        let identity = self.name.clone();
        if let Some(prefix) = self.policy.deny.iter().find(holds) {
            return Err(NotForYou::Denied { identity, number: number.clone(), prefix: prefix.clone() });
        }
        if self.policy.allow.is_empty() || self.policy.allow.iter().any(|prefix| holds(&prefix)) {
            return Ok(());
        }
        Err(NotForYou::NotAllowed { identity, number: number.clone() })
    }

    /// What the store counts.
    pub fn limits(&self) -> SubmitLimits {
        SubmitLimits {
            faxes_per_hour: self.policy.faxes_per_hour,
            faxes_per_day: self.policy.faxes_per_day,
            faxes_per_hour_each: self.policy.faxes_per_hour_each,
            faxes_per_day_each: self.policy.faxes_per_day_each,
            pages_per_hour: self.policy.pages_per_hour,
            pages_per_day: self.policy.pages_per_day,
        }
    }
}

/// Everybody who is known by something else than a login.
#[derive(Debug, Clone, Default)]
pub struct Senders {
    entries: Vec<(Proof, Identity)>,
    sealers: Vec<String>,
}

impl Senders {
    /// From the configuration.
    pub fn new(config: &SendersConfig) -> Self {
        let of = |(name, sender): (&String, &crate::config::senders::SenderConfig)| {
            let identity = Identity { name: name.clone(), policy: sender.policy.clone() };
            sender.relay.iter().map(|proof| (proof.clone(), identity.clone())).collect::<Vec<_>>()
        };
        Self { entries: config.senders.iter().flat_map(of).collect(), sealers: config.arc_sealers.clone() }
    }

    /// By a client certificate that one of our authorities has issued: its DNS names in lower case, and its SHA-256 in
    /// hexadecimal digits.
    pub fn by_certificate(&self, names: &[String], fingerprint: &str) -> Option<&Identity> {
        let is = |proof: &Proof| matches!(proof, Proof::Certificate(known) if known == fingerprint || names.iter().any(|name| name == known));
        self.entries.iter().find(|(proof, _)| is(proof)).map(|(_, identity)| identity)
    }

    /// By address: the smallest network that holds it.
    pub fn by_network(&self, client: IpAddr) -> Option<&Identity> {
        // ::ffff:10.0.0.1 is 10.0.0.1 on a socket that listens on both families.
        let client = client.to_canonical();
        let networks = self.entries.iter().filter_map(|(proof, identity)| match proof {
            Proof::Network(network) if network.contains(&client) => Some((network.prefix_len(), identity)),
            _ => None,
        });
        networks.max_by_key(|(length, _)| *length).map(|(_, identity)| identity)
    }

    /// Whether a mail can prove by itself whose it is.
    pub fn any_domain(&self) -> bool {
        self.entries.iter().any(|(proof, _)| matches!(proof, Proof::Dkim(_) | Proof::Spf(_)))
    }

    /// By the domain of `From`, which DKIM and DMARC have proved.
    pub fn by_dkim(&self, domain: &str) -> Option<&Identity> {
        self.by(|proof| matches!(proof, Proof::Dkim(known) if known == domain))
    }

    /// By the domain of `From`, which SPF and DMARC have proved.
    pub fn by_spf(&self, domain: &str) -> Option<&Identity> {
        self.by(|proof| matches!(proof, Proof::Spf(known) if known == domain))
    }

    /// Whether this domain's ARC seals are believed.
    pub fn trusts_sealer(&self, domain: &str) -> bool {
        self.sealers.iter().any(|known| known.eq_ignore_ascii_case(domain))
    }

    fn by(&self, is: impl Fn(&Proof) -> bool) -> Option<&Identity> {
        self.entries.iter().find(|(proof, _)| is(proof)).map(|(_, identity)| identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::senders::SenderConfig;

    fn senders(list: &[(&str, &[&str])]) -> Senders {
        let sender = |(name, proofs): &(&str, &[&str])| {
            let relay = proofs.iter().map(|proof| proof.parse().unwrap()).collect();
            ((*name).to_owned(), SenderConfig { relay, ..SenderConfig::default() })
        };
        Senders::new(&SendersConfig { senders: list.iter().map(sender).collect(), ..SendersConfig::default() })
    }

    #[test]
    fn z1_nobody_is_somebody_without_a_table() {
        let none = senders(&[]);
        assert_eq!(none.by_network([127, 0, 0, 1].into()), None);
        assert_eq!(none.by_certificate(&["a.example.com".to_owned()], "ab"), None);
        assert!(!none.any_domain());
    }

    #[test]
    fn z1_the_smallest_network_says_who_it_is() {
        let known = senders(&[("everybody", &["10.0.0.0/8"]), ("erp", &["10.0.5.7", "cert:erp.example.com"])]);
        let name = |address: [u8; 4]| known.by_network(address.into()).map(|identity| identity.name.as_str());
        assert_eq!(name([10, 0, 5, 7]), Some("erp"));
        assert_eq!(name([10, 0, 5, 8]), Some("everybody"));
        assert_eq!(name([11, 0, 5, 8]), None);
        assert_eq!(known.by_network("::ffff:10.0.5.7".parse().unwrap()).map(|who| who.name.as_str()), Some("erp"));
        assert!(known.by_certificate(&["erp.example.com".to_owned()], "").is_some());
        assert!(known.by_certificate(&["erp.example.com.evil.test".to_owned()], "").is_none());
    }

    #[test]
    fn an_identity_faxes_what_its_lists_hold_and_deny_wins() {
        let policy = Policy { allow: vec!["+41".into()], deny: vec!["+4190".into()], ..Policy::default() };
        let limited = Identity { name: "account:copier".into(), policy };
        let free = Identity { name: "account:free".into(), policy: Policy::default() };
        for (number, allowed) in [("+41441234567", true), ("+41900123456", false), ("+493012345678", false)] {
            let number: FaxNumber = number.parse().unwrap();
            assert_eq!(limited.may_fax(&number).is_ok(), allowed, "{number}");
            assert_eq!(free.may_fax(&number), Ok(()));
        }
    }
}
