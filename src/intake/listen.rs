//! The listeners: connections come in, each is let in or turned away, and served until the process ends.
//!
//! A place is held for each connection: of all, of those that may not submit, and of its client, so that nobody keeps all others out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use smtp::Channel;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::clients::Clients;
use super::{Intake, connection, policy};
use crate::config::SmtpConfig;
use crate::domain::Cause;
use crate::proxy::Door;

/// Networks that may not submit share this part of the connections, so that they cannot keep others out.
const STRANGERS_SHARE: usize = 4;

/// A door, and whether TLS comes first behind it.
#[derive(Debug)]
pub struct Entrance {
    door: Door,
    channel: Channel,
}

impl Entrance {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.door.local_addr()
    }
}

/// Listens on every address of `smtp.listen`, then on every one of `smtp.listen_tls`.
///
/// # Errors
/// When one of them cannot be had; the error names it.
pub async fn bind(smtp: &SmtpConfig) -> io::Result<Vec<Entrance>> {
    let clear = smtp.listen.iter().map(|address| ("smtp.listen", address, Channel::Clear));
    let tls = smtp.listen_tls.iter().map(|address| ("smtp.listen_tls", address, Channel::Tls));
    let mut entrances = Vec::with_capacity(smtp.listen.len() + smtp.listen_tls.len());
    for (key, address, channel) in clear.chain(tls) {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            io::Error::new(error.kind(), format!("{key} {address}: {error}; fix: free the port or choose another one"))
        })?;
        entrances.push(Entrance { door: Door::open(listener, &smtp.proxy_protocol_from)?, channel });
    }
    Ok(entrances)
}

/// Serves SMTP until `shutdown`; then no new mail begins, those under way may end, and it returns.
pub async fn run(intake: Arc<Intake>, entrances: Vec<Entrance>, shutdown: CancellationToken) {
    let connections = TaskTracker::new();
    let acceptors = TaskTracker::new();
    let max = intake.settings.smtp.max_connections.max(1);
    let places = Places {
        all: Arc::new(Semaphore::new(max)),
        strangers: Arc::new(Semaphore::new((max / STRANGERS_SHARE).max(1))),
        clients: Clients::default(),
    };
    for entrance in entrances {
        let (intake, shutdown) = (Arc::clone(&intake), shutdown.clone());
        acceptors.spawn(accept(intake, entrance, shutdown, connections.clone(), places.clone()));
    }
    if let Some(tls) = intake.tls.clone() {
        let shutdown = shutdown.clone();
        acceptors.spawn(async move { tls.watch(&shutdown).await });
    }
    acceptors.close();
    acceptors.wait().await;
    connections.close();
    if tokio::time::timeout(intake.settings.timeouts.drain, connections.wait()).await.is_err() {
        warn!(
            connections = connections.len(),
            "SMTP connections did not end in time and are cut; their clients send again"
        );
    }
}

#[derive(Clone)]
struct Places {
    all: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    clients: Clients,
}

async fn accept(
    intake: Arc<Intake>,
    entrance: Entrance,
    shutdown: CancellationToken,
    connections: TaskTracker,
    places: Places,
) {
    let Entrance { mut door, channel } = entrance;
    info!(address = %door.local_addr(), ?channel, "SMTP is listening");
    loop {
        let client = tokio::select! {
            () = shutdown.cancelled(), if !door.is_closed() => {
                // Who had connected is told 421 in the dialogue.
                door.close();
                continue;
            }
            client = door.accept() => client,
        };
        let Some((stream, peer)) = client else { return };
        let kind = if policy::is_relay(&intake.settings, peer.ip()) { &places.all } else { &places.strangers };
        let Ok(place) = Arc::clone(kind).try_acquire_owned() else {
            turn_away(&intake, &stream, peer, channel, Full::Gateway);
            continue;
        };
        let Some(counted) = places.clients.enter(peer.ip(), intake.settings.smtp.max_connections_per_client) else {
            turn_away(&intake, &stream, peer, channel, Full::Client);
            continue;
        };
        let (intake, shutdown) = (Arc::clone(&intake), shutdown.clone());
        connections.spawn(async move {
            let _held = (place, counted);
            connection::serve(intake, stream, peer, channel, shutdown).await;
        });
    }
}

/// What has no room for another connection.
#[derive(Debug, Clone, Copy)]
enum Full {
    Gateway,
    Client,
}

/// One short line into an empty socket buffer: it is not waited for. Where TLS comes first, nobody could read it.
fn turn_away(intake: &Intake, stream: &TcpStream, peer: SocketAddr, channel: Channel, full: Full) {
    let domain = &intake.settings.address.domain;
    let reply = match full {
        Full::Gateway => {
            warn!(%peer, "turned an SMTP connection away: smtp.max_connections is reached");
            let text = format!("{domain} has too many connections; try again in a minute");
            smtp::Reply::new(421, "4.3.2", text).slug(Cause::Draining.slug())
        }
        Full::Client => {
            warn!(%peer, "turned an SMTP connection away: smtp.max_connections_per_client is reached");
            let text = format!("{domain} has too many connections from your address; close some and try again");
            smtp::Reply::new(421, "4.7.0", text).slug(Cause::ProtocolError.slug())
        }
    };
    if channel == Channel::Clear {
        // A client that cannot be told sees the connection close, which means the same to it.
        let _ = stream.try_write(reply.to_wire(smtp::Charset::Ascii).as_bytes());
    }
}
