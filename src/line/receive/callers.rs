//! Who may call in on a line: its trunk's server and the networks of `accept_from`, nobody else. A SIP port that takes
//! every call is found within hours, and a fax that anybody may send fills disks and mailboxes.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::time::Instant;

use crate::config::SipConfig;

/// How long the addresses of the server's name are believed.
const RESOLVED_FOR: Duration = Duration::from_secs(60);

/// How long a name may take; the INVITE waits for it.
const RESOLVE_WAIT: Duration = Duration::from_secs(3);

/// The gate of one line.
pub(in crate::line) struct Callers {
    host: String,
    networks: Vec<IpNet>,
    resolved: Mutex<Option<(Instant, Vec<IpAddr>)>>,
}

impl Callers {
    pub(in crate::line) fn new(settings: &SipConfig) -> Self {
        let host = host(&settings.server).to_owned();
        Self { host, networks: settings.accept_from.clone(), resolved: Mutex::new(None) }
    }

    /// Whether a call from this address is for us to take.
    pub(super) async fn allow(&self, from: IpAddr) -> bool {
        let from = from.to_canonical();
        self.networks.iter().any(|network| network.contains(&from)) || self.server().await.contains(&from)
    }

    /// The server's addresses: those of its name a moment ago when it cannot be resolved now.
    async fn server(&self) -> Vec<IpAddr> {
        if let Ok(address) = self.host.parse() {
            return vec![address];
        }
        let known = self.resolved.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((at, addresses)) = &known
            && at.elapsed() < RESOLVED_FOR
        {
            return addresses.clone();
        }
        let looked_up = tokio::time::timeout(RESOLVE_WAIT, tokio::net::lookup_host((self.host.as_str(), 0))).await;
        match looked_up {
            Ok(Ok(found)) => {
                let addresses: Vec<IpAddr> = found.map(|address| address.ip().to_canonical()).collect();
                *self.resolved.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some((Instant::now(), addresses.clone()));
                addresses
            }
            Ok(Err(_)) | Err(_) => known.map(|(_, addresses)| addresses).unwrap_or_default(),
        }
    }
}

/// `host[:port][;parameters]` without the rest; an IPv6 address stands in brackets.
fn host(server: &str) -> &str {
    let server = server.split(';').next().unwrap_or(server);
    match server.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => server.split_once(':').map_or(server, |(host, _)| host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn callers(server: &str, networks: &[&str]) -> Callers {
        let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
        Callers { host: host(server).to_owned(), networks, resolved: Mutex::new(None) }
    }

    #[tokio::test]
    async fn the_trunk_and_the_networks_that_are_named_may_call_and_nobody_else() {
        let trunk = callers("203.0.113.7:5060", &["198.51.100.0/24", "2001:db8::/32"]);
        for (from, allowed) in [
            ("203.0.113.7", true),
            ("::ffff:203.0.113.7", true),
            ("203.0.113.8", false),
            ("198.51.100.77", true),
            ("2001:db8::5", true),
            ("127.0.0.1", false),
        ] {
            assert_eq!(trunk.allow(from.parse().unwrap()).await, allowed, "{from}");
        }
    }

    #[tokio::test]
    async fn a_name_stands_for_its_addresses() {
        let trunk = callers("localhost:5060;transport=udp", &[]);
        assert!(trunk.allow("127.0.0.1".parse().unwrap()).await);
        assert!(!trunk.allow("192.0.2.1".parse().unwrap()).await);
    }

    #[test]
    fn the_host_of_a_server_is_found_in_every_form() {
        for (server, expected) in [
            ("sip.example.net", "sip.example.net"),
            ("sip.example.net:5061;transport=tls", "sip.example.net"),
            ("[2001:db8::1]:5060", "2001:db8::1"),
            ("192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(host(server), expected);
        }
    }
}
