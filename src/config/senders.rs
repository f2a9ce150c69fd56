//! Who may submit: `[account.NAME]` logs in, `[sender.NAME]` is known by its network, certificate or signed domain.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Everything that says who may submit.
#[derive(Debug, Clone, Default)]
pub struct SendersConfig {
    /// `[account.NAME]`, by name in lower case.
    pub accounts: BTreeMap<String, AccountConfig>,
    /// `[sender.NAME]`, by name; an entry of `smtp.relay` is a sender of its own, called as it is written.
    pub senders: BTreeMap<String, SenderConfig>,
    /// Domains whose ARC seals are believed.
    pub arc_sealers: Vec<String>,
    /// Name servers for DKIM, SPF and DMARC; empty: the system's.
    pub resolvers: Vec<SocketAddr>,
    /// Whose tokens let somebody log in; none: nobody's.
    pub oauth2: Option<OAuth2Config>,
}

/// `[account.NAME]`
#[derive(Clone, Default)]
pub struct AccountConfig {
    /// Its password; none: it logs in by token alone.
    pub password: Option<String>,
    /// What it may send.
    pub policy: Policy,
}

impl fmt::Debug for AccountConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without its password.
        f.debug_struct("AccountConfig").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// `[sender.NAME]`
#[derive(Debug, Clone, Default)]
pub struct SenderConfig {
    /// What proves that a mail is its: one of them does.
    pub relay: Vec<Proof>,
    /// What it may send.
    pub policy: Policy,
}

/// What proves who submits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// The client's address.
    Network(IpNet),
    /// A client certificate: a DNS name of its subject alternative names in lower case, or its SHA-256 in hexadecimal digits.
    Certificate(String),
    /// The domain of `From`, signed by DKIM with DMARC's alignment.
    Dkim(String),
    /// The domain of `From`, by SPF with DMARC's alignment.
    Spf(String),
}

/// The text is none of `network`, `cert:NAME`, `dkim:DOMAIN`, `spf:DOMAIN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoProof;

impl FromStr for Proof {
    type Err = NoProof;

    fn from_str(text: &str) -> Result<Self, NoProof> {
        let domain = |name: &str| {
            let name = name.to_ascii_lowercase();
            let label = |label: &str| {
                !label.is_empty()
                    && label.len() <= 63
                    && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            };
            let good = name.len() <= 253 && name.contains('.') && name.split('.').all(label);
            if good { Ok(name) } else { Err(NoProof) }
        };
        match text.split_once(':') {
            Some(("dkim", name)) => domain(name).map(Self::Dkim),
            Some(("spf", name)) => domain(name).map(Self::Spf),
            Some(("cert", name)) if name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()) => {
                Ok(Self::Certificate(name.to_ascii_lowercase()))
            }
            Some(("cert", name)) => domain(name).map(Self::Certificate),
            _ => super::values::network(text).map(Self::Network).map_err(|_| NoProof),
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::Certificate(name) => write!(f, "cert:{name}"),
            Self::Dkim(domain) => write!(f, "dkim:{domain}"),
            Self::Spf(domain) => write!(f, "spf:{domain}"),
        }
    }
}

/// What an identity may send.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Reverse-paths and From addresses, with `*` as wildcard; empty: any.
    pub from: Vec<String>,
    /// Prefixes of numbers; empty: all that `dial.allow` has.
    pub allow: Vec<String>,
    /// Prefixes that win over `allow`.
    pub deny: Vec<String>,
    /// Faxes within an hour; none: no limit.
    pub faxes_per_hour: Option<u32>,
    /// Faxes within 24 hours.
    pub faxes_per_day: Option<u32>,
    /// Faxes of one reverse-path within an hour.
    pub faxes_per_hour_each: Option<u32>,
    /// Faxes of one reverse-path within 24 hours.
    pub faxes_per_day_each: Option<u32>,
    /// Pages within an hour.
    pub pages_per_hour: Option<u32>,
    /// Pages within 24 hours.
    pub pages_per_day: Option<u32>,
    /// Whether mails that programs make and null senders are faxed; answers and reports never are.
    pub automatic: bool,
    /// Cover page instead of `render.cover`.
    pub cover: Option<String>,
    /// What accounting calls it.
    pub billing: Option<String>,
}

/// `smtp.oauth2`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuth2Config {
    /// `iss` of its tokens, exactly.
    pub issuer: String,
    /// `aud` that they must have.
    pub audience: String,
    /// Keys as a JWKS: a path, or an https URL.
    pub keys: String,
    /// A scope or role that they must have.
    pub scope: Option<String>,
    /// The claim that names the account.
    pub claim: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn z1_a_proof_is_a_network_a_certificate_or_a_domain() {
        for (text, shown) in [
            ("10.0.5.0/24", Some("10.0.5.0/24")),
            ("cert:Exchange.Example.com", Some("cert:exchange.example.com")),
            ("dkim:Example.com", Some("dkim:example.com")),
            ("spf:example.com", Some("spf:example.com")),
            ("dkim:com", None),
            ("dkim:*.example.com", None),
            ("dkim:", None),
            ("arc:example.com", None),
            ("10.0.5.1/24", None),
        ] {
            assert_eq!(text.parse::<Proof>().ok().map(|proof| proof.to_string()).as_deref(), shown, "{text}");
        }
    }
}
