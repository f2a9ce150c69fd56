//! The listeners: connections come in, each is let in or turned away, and served until the process ends.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use smtp::Channel;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::places::{Full, Kind, Places};
use super::{Intake, connection, policy};
use crate::config::SmtpConfig;
use crate::domain::Cause;
use crate::proxy::Door;

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
    let smtp = &intake.settings.smtp;
    let places = Places::new(smtp.max_connections, smtp.max_connections_per_client);
    for entrance in entrances {
        let (intake, shutdown) = (Arc::clone(&intake), shutdown.clone());
        acceptors.spawn(accept(intake, entrance, shutdown, connections.clone(), places.clone()));
    }
    if let Some(tls) = intake.tls.clone() {
        let (every, shutdown) = (intake.settings.timeouts.certificate, shutdown.clone());
        acceptors.spawn(async move { tls.watch(every, &shutdown).await });
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
        match places.enter(peer.ip(), kind(&intake, peer)) {
            Ok(place) => {
                let (intake, shutdown) = (Arc::clone(&intake), shutdown.clone());
                connections.spawn(connection::serve(intake, stream, peer, channel, place, shutdown));
            }
            Err(full) => turn_away(&intake, &stream, peer, channel, full),
        }
    }
}

fn kind(intake: &Intake, peer: SocketAddr) -> Kind {
    if policy::is_proxy(&intake.settings, peer.ip()) {
        Kind::Proxy
    } else if policy::identify(&intake.settings, peer.ip(), &policy::Who::default()).is_some() {
        Kind::Known
    } else {
        Kind::Stranger
    }
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
        Full::Client => too_many_of(domain, peer),
    };
    if channel == Channel::Clear {
        // A client that cannot be told sees the connection close, which means the same to it.
        let _ = stream.try_write(reply.to_wire(smtp::Charset::Ascii).as_bytes());
    }
}

/// What a client is told that has all connections which one may have.
pub(crate) fn too_many_of(domain: &str, peer: SocketAddr) -> smtp::Reply {
    warn!(%peer, "turned an SMTP connection away: smtp.max_connections_per_client is reached");
    let text = format!("{domain} has too many connections from your address; close some and try again");
    smtp::Reply::new(421, "4.7.0", text).slug(Cause::ProtocolError.slug())
}
