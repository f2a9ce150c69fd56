//! Places for connections: one of all, one of those that may not submit, and one of the client, so that nobody keeps all others out.
//!
//! Who proves after the greeting that it may submit moves from the strangers' places to the common ones.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::clients::{Clients, Counted};

/// Clients that may not submit share this part of the connections.
const STRANGERS_SHARE: usize = 4;

/// All places of the listeners. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    all: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    clients: Clients,
    per_client: usize,
}

/// What has no room for another connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    Gateway,
    Client,
}

/// What is known of a client when it connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It may submit.
    Known,
    /// It may not, yet.
    Stranger,
    /// It speaks for others, each of which is counted when it is named.
    Proxy,
}

/// The place of one connection, until this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    held: OwnedSemaphorePermit,
    stranger: bool,
    counted: Option<Counted>,
}

impl Places {
    /// `max` connections, and `per_client` of each client.
    pub(crate) fn new(max: usize, per_client: usize) -> Self {
        let max = max.max(1);
        Self {
            all: Arc::new(Semaphore::new(max)),
            strangers: Arc::new(Semaphore::new((max / STRANGERS_SHARE).max(1))),
            clients: Clients::default(),
            per_client,
        }
    }

    /// A place for a client, when there is one.
    pub(crate) fn enter(&self, client: IpAddr, kind: Kind) -> Result<Place, Full> {
        let stranger = kind == Kind::Stranger;
        let share = if stranger { &self.strangers } else { &self.all };
        let held = Arc::clone(share).try_acquire_owned().map_err(|_| Full::Gateway)?;
        let mut place = Place { places: self.clone(), held, stranger, counted: None };
        if kind == Kind::Proxy || place.counts_for(client) { Ok(place) } else { Err(Full::Client) }
    }
}

impl Place {
    /// The connection is this client's from now on. Answers whether the client may have another one.
    pub(crate) fn counts_for(&mut self, client: IpAddr) -> bool {
        // First the old one goes: a client may be named that was counted already.
        self.counted = None;
        self.counted = self.places.clients.enter(client, self.places.per_client);
        self.counted.is_some()
    }

    /// The client may submit: it stands in the strangers' way no longer. Without room elsewhere it stays where it is.
    pub(crate) fn is_known(&mut self) {
        if self.stranger
            && let Ok(held) = Arc::clone(&self.places.all).try_acquire_owned()
        {
            (self.held, self.stranger) = (held, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn s12_strangers_share_a_quarter_and_who_becomes_known_makes_room_for_another() {
        let places = Places::new(8, 100);
        let mut first = places.enter(HOME, Kind::Stranger).unwrap();
        let _second = places.enter(HOME, Kind::Stranger).unwrap();
        assert_eq!(places.enter(HOME, Kind::Stranger).unwrap_err(), Full::Gateway);
        first.is_known();
        first.is_known();
        let _third = places.enter(HOME, Kind::Stranger).unwrap();
        assert_eq!(places.enter(HOME, Kind::Stranger).unwrap_err(), Full::Gateway);
        let known: Vec<_> = (0..7).map(|_| places.enter(HOME, Kind::Known).unwrap()).collect();
        assert_eq!(places.enter(HOME, Kind::Known).unwrap_err(), Full::Gateway, "one of eight was a stranger");
        drop((first, known));
        assert_eq!(places.all.available_permits(), 8);
    }

    #[test]
    fn p3_connections_of_a_proxy_are_counted_for_the_clients_that_it_names() {
        let (places, proxy) = (Places::new(8, 1), IpAddr::from([10, 0, 0, 1]));
        let mut first = places.enter(proxy, Kind::Proxy).unwrap();
        let mut second = places.enter(proxy, Kind::Proxy).unwrap();
        assert!(first.counts_for(HOME) && first.counts_for(HOME));
        assert!(!second.counts_for(HOME));
        assert!(second.counts_for([192, 0, 2, 2].into()));
        assert_eq!(places.enter(HOME, Kind::Stranger).unwrap_err(), Full::Client);
        drop(first);
        assert!(places.enter(HOME, Kind::Stranger).is_ok());
    }
}
