//! How many connections one client has, and how many mails it begins within a minute: nobody keeps all others out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);
/// More clients than begin mails within a minute anywhere; beyond them all are counted anew.
const CLIENTS_MAX: usize = 100_000;

/// Counts connections by client. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clients(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection; it is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    clients: Clients,
    client: IpAddr,
}

impl Clients {
    /// Counts one more, unless the client has `max` already.
    pub(crate) fn enter(&self, address: IpAddr, max: usize) -> Option<Counted> {
        let client = client_of(address);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(client).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Counted { clients: self.clone(), client })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.clients.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

/// Mails that each client began within its present minute.
#[derive(Debug, Default)]
pub(crate) struct Rates(Mutex<HashMap<IpAddr, Minute>>);

#[derive(Debug)]
struct Minute {
    since: Instant,
    mails: u32,
}

impl Rates {
    /// Counts one more mail, unless the client has begun `most` within its minute.
    pub(crate) fn begins(&self, address: IpAddr, most: u32, now: Instant) -> bool {
        let over = |minute: &Minute| now.saturating_duration_since(minute.since) >= MINUTE;
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= CLIENTS_MAX {
            clients.retain(|_, minute| !over(minute));
        }
        if clients.len() >= CLIENTS_MAX {
            clients.clear();
        }
        let minute = clients.entry(client_of(address)).or_insert(Minute { since: now, mails: 0 });
        if over(minute) {
            *minute = Minute { since: now, mails: 0 };
        }
        if minute.mails >= most {
            return false;
        }
        minute.mails += 1;
        true
    }
}

/// An IPv4 address, or the /64 that an IPv6 host gets as a whole.
fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s12_a_client_is_counted_until_its_connection_ends_and_then_forgotten() {
        let clients = Clients::default();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = clients.enter(address("192.0.2.1"), 2).unwrap();
        let second = clients.enter(address("::ffff:192.0.2.1"), 2).unwrap();
        assert!(clients.enter(address("192.0.2.1"), 2).is_none());
        assert!(clients.enter(address("192.0.2.2"), 2).is_some());
        drop(first);
        let third = clients.enter(address("192.0.2.1"), 2);
        assert!(third.is_some());
        drop((second, third));
        assert!(clients.0.lock().unwrap().is_empty());
    }

    #[test]
    fn s12_addresses_of_one_network_of_ipv6_are_one_client() {
        let clients = Clients::default();
        let _first = clients.enter("2001:db8::1".parse().unwrap(), 1).unwrap();
        assert!(clients.enter("2001:db8::2".parse().unwrap(), 1).is_none());
        assert!(clients.enter("2001:db8:0:1::1".parse().unwrap(), 1).is_some());
    }

    #[test]
    fn s12_a_client_begins_so_many_mails_within_a_minute_and_others_are_not_counted_with_it() {
        let (rates, start) = (Rates::default(), Instant::now());
        let at = |address: &str, seconds: u64| {
            rates.begins(address.parse().unwrap(), 2, start + Duration::from_secs(seconds))
        };
        assert!(at("192.0.2.1", 0) && at("192.0.2.1", 59) && !at("192.0.2.1", 59));
        assert!(at("192.0.2.2", 59), "another client");
        assert!(at("192.0.2.1", 60) && at("::ffff:192.0.2.1", 61) && !at("192.0.2.1", 119));
        assert!(at("192.0.2.1", 1000));
    }
}
