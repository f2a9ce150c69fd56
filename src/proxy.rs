//! The PROXY protocol, versions 1 and 2: a load balancer says which client it speaks for.
//!
//! What comes in is a connection; what goes out is the same connection with the client's address, no octet of what the
//! client said taken. From the networks that are configured the header is demanded: who connects from there and does not
//! send one in time and within its size is closed. From everywhere else it is never read, since everybody could write
//! one: such octets are the protocol's own affair then. A header that names nobody (`LOCAL`, `UNKNOWN`: the balancer's
//! own health check) leaves the balancer's address. Standard: HAProxy's `proxy-protocol.txt` of 2020/03/05.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use ipnet::IpNet;
use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// §2: the header comes at once, within one segment; a balancer that needs longer is broken.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// §2.1: the longest line of version 1, with its end.
const V1_BYTES_MAX: usize = 107;
/// What follows the fixed part of version 2: addresses and a few TLVs. Balancers send less than 300 octets.
const V2_REST_BYTES_MAX: usize = 2048;
/// §2.2.
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version, family, length.
const V2_FIXED_BYTES: usize = 16;
/// Connections whose header is being read; more wait in the listener's queue.
const READING_MAX: usize = 256;
/// After an error of accept (no file descriptors left) the next try waits.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Why a header was not taken.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The connection broke or ended.
    #[error("the connection broke within the PROXY header: {0}")]
    Broken(#[from] io::Error),
    /// Nothing whole within this time.
    #[error("no whole PROXY header within {0:?}")]
    Late(Duration),
    /// Something else came.
    #[error("no PROXY header: {0}; fix: let the balancer send it, or remove its address from proxy_protocol_from")]
    NotOne(&'static str),
}

/// A connection with its client's address.
type Client = (TcpStream, SocketAddr);

/// A listener that knows its clients behind balancers. Dropping it closes the socket and forgets who has not said yet who
/// he is.
#[derive(Debug)]
pub struct Door {
    local: SocketAddr,
    clients: mpsc::Receiver<Client>,
    closing: CancellationToken,
    _task: JoinSet<()>,
}

impl Door {
    /// Accepts from this listener; `balancers` are the networks that a header is demanded from.
    ///
    /// # Errors
    /// When the socket has no local address.
    pub fn open(listener: TcpListener, balancers: &[IpNet]) -> io::Result<Self> {
        let local = listener.local_addr()?;
        let balancers: Arc<[IpNet]> = balancers.into();
        // One at a time: who accepts slowly lets the others wait in the kernel's queue.
        let (found, clients) = mpsc::channel(1);
        let mut task = JoinSet::new();
        let closing = CancellationToken::new();
        let hall = Hall { balancers, found, places: Arc::new(Semaphore::new(READING_MAX)), reading: JoinSet::new() };
        task.spawn(hall.run(listener, closing.clone()));
        Ok(Self { local, clients, closing, _task: task })
    }

    /// The next client with its own address; none when the door is closed and everybody who had come is in.
    pub async fn accept(&mut self) -> Option<Client> {
        self.clients.recv().await
    }

    /// Closes the listening socket. Who connected before is still let in by [`Door::accept`].
    pub fn close(&self) {
        self.closing.cancel();
    }

    /// Whether it is closed, or about to be.
    pub fn is_closed(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

/// Who has connected and is not let in yet.
struct Hall {
    balancers: Arc<[IpNet]>,
    found: mpsc::Sender<Client>,
    places: Arc<Semaphore>,
    reading: JoinSet<()>,
}

impl Hall {
    async fn run(mut self, listener: TcpListener, closing: CancellationToken) {
        loop {
            while self.reading.try_join_next().is_some() {}
            let accepted = tokio::select! {
                () = closing.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.receive(stream, peer).await,
                Err(error) => {
                    warn!(%error, "accepting a connection failed; it is tried again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        // The kernel would reset those that it has connected already.
        while let Some(Ok((stream, peer))) = listener.accept().now_or_never() {
            self.receive(stream, peer).await;
        }
        drop(listener);
        while self.reading.join_next().await.is_some() {}
    }

    async fn receive(&mut self, mut stream: TcpStream, peer: SocketAddr) {
        if !is_balancer(&self.balancers, peer) {
            // Nobody receives when the door is gone, and this task with it.
            let _ = self.found.send((stream, peer)).await;
            return;
        }
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
        let found = self.found.clone();
        self.reading.spawn(async move {
            match client_of(&mut stream, peer, HEADER_TIME).await {
                Ok(client) => drop(found.send((stream, client)).await),
                // A balancer that only looks whether somebody listens says nothing.
                Err(HeaderError::Broken(error)) => {
                    debug!(%peer, %error, "a balancer's connection ended without a header");
                }
                Err(error) => warn!(%peer, %error, "closed a connection of a balancer"),
            }
            drop(place);
        });
    }
}

fn is_balancer(balancers: &[IpNet], peer: SocketAddr) -> bool {
    let address = peer.ip().to_canonical();
    balancers.iter().any(|network| network.contains(&address))
}

/// Reads the header and not one octet more. Answers the client's address, or `peer` when the header names nobody.
async fn client_of(
    stream: &mut (impl AsyncRead + Unpin),
    peer: SocketAddr,
    limit: Duration,
) -> Result<SocketAddr, HeaderError> {
    match tokio::time::timeout(limit, read(stream)).await {
        Ok(client) => Ok(client?.unwrap_or(peer)),
        Err(_) => Err(HeaderError::Late(limit)),
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, HeaderError> {
    // Both versions are longer than the signature; "PROXY UNKNOWN" and its end are 15 octets.
    let mut header = vec![0; V2_SIGNATURE.len()];
    read_like(stream, &mut header, &[V2_SIGNATURE, b"PROXY "]).await?;
    if header == V2_SIGNATURE {
        read_rest_of_v2(stream, &mut header).await?
    } else {
        read_rest_of_v1(stream, &mut header).await?
    }
    let (parsed, length) =
        ProxyHeader::parse(&header, ParseConfig::default()).map_err(|_| HeaderError::NotOne("it cannot be read"))?;
    if length != header.len() {
        return Err(HeaderError::NotOne("its length is not what it says"));
    }
    Ok(parsed.proxied_address().map(|address| address.source))
}

/// Fills `header`; stops at the first octet that no beginning has, so that somebody who speaks first and then waits for
/// us is told at once.
async fn read_like(
    stream: &mut (impl AsyncRead + Unpin),
    header: &mut [u8],
    beginnings: &[&[u8]],
) -> Result<(), HeaderError> {
    let mut filled = 0;
    while filled < header.len() {
        let count = stream.read(&mut header[filled..]).await?;
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        filled += count;
        let fits = |beginning: &&[u8]| beginning.iter().zip(&header[..filled]).all(|(wanted, came)| wanted == came);
        if !beginnings.iter().any(fits) {
            return Err(HeaderError::NotOne("the connection begins with something else"));
        }
    }
    Ok(())
}

async fn read_rest_of_v2(stream: &mut (impl AsyncRead + Unpin), header: &mut Vec<u8>) -> Result<(), HeaderError> {
    let begun = header.len();
    header.resize(V2_FIXED_BYTES, 0);
    stream.read_exact(&mut header[begun..]).await?;
    let rest = usize::from(u16::from_be_bytes([header[14], header[15]]));
    if rest > V2_REST_BYTES_MAX {
        return Err(HeaderError::NotOne("it is too long"));
    }
    header.resize(V2_FIXED_BYTES + rest, 0);
    stream.read_exact(&mut header[V2_FIXED_BYTES..]).await?;
    Ok(())
}

/// Octet by octet: what follows the line's end is the client's.
async fn read_rest_of_v1(stream: &mut (impl AsyncRead + Unpin), header: &mut Vec<u8>) -> Result<(), HeaderError> {
    while !header.ends_with(b"\r\n") {
        if header.len() >= V1_BYTES_MAX {
            return Err(HeaderError::NotOne("its line is too long"));
        }
        header.push(stream.read_u8().await?);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
