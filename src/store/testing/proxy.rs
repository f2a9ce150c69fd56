//! A network in front of a PostgreSQL server that fails on demand: it falls silent, or loses a COMMIT or its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A simple query, as the engine commits: PostgreSQL 15 documentation §55.7, message `Query`.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
/// `ReadyForQuery` outside a transaction.
const READY: &[u8] = b"Z\0\0\0\x05I";

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Everything passes.
    Fair,
    /// Nothing comes through any more, and nobody is told; connections that saw it stay so.
    Silent,
    /// The next COMMIT does not reach the server, and its connection breaks. Fair after that.
    LosesCommit,
    /// The next COMMIT is carried out, and its connection breaks before the answer. Fair after that.
    LosesAnswer,
}

/// A proxy on a port of its own of 127.0.0.1.
pub(crate) struct Proxy {
    port: u16,
    weather: watch::Sender<Weather>,
    open: Arc<AtomicUsize>,
}

impl Proxy {
    /// In front of this port of 127.0.0.1.
    pub(crate) async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let weather = watch::Sender::new(Weather::Fair);
        let open = Arc::new(AtomicUsize::new(0));
        let (changes, count) = (weather.clone(), Arc::clone(&open));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (weather, count) = (changes.clone(), Arc::clone(&count));
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await {
                        // An error of either side ends both.
                        let _ = carry(client, server, &weather).await;
                    }
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, weather, open }
    }

    /// Where it listens on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Connections that the client has not closed.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

async fn carry(mut client: TcpStream, mut server: TcpStream, weather: &watch::Sender<Weather>) -> std::io::Result<()> {
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut silent = false;
    loop {
        tokio::select! {
            count = client.read(&mut up) => {
                let sent = &up[..count?];
                if sent.is_empty() {
                    return Ok(());
                }
                let now = *weather.borrow();
                silent |= now == Weather::Silent;
                if silent {
                    continue;
                }
                let commits = sent.windows(COMMIT.len()).any(|part| part == COMMIT);
                match now {
                    Weather::LosesCommit if commits => {
                        weather.send_replace(Weather::Fair);
                        return Ok(());
                    }
                    Weather::LosesAnswer if commits => {
                        server.write_all(sent).await?;
                        weather.send_replace(Weather::Fair);
                        return swallow_answer(&mut server).await;
                    }
                    _ => server.write_all(sent).await?,
                }
            }
            count = server.read(&mut down) => {
                let answered = &down[..count?];
                silent |= *weather.borrow() == Weather::Silent;
                // A server that has gone is not seen through a silent network either.
                if answered.is_empty() && !silent {
                    return Ok(());
                } else if answered.is_empty() {
                    while client.read(&mut up).await? > 0 {}
                    return Ok(());
                } else if !silent {
                    client.write_all(answered).await?;
                }
            }
        }
    }
}

/// Reads until the server has ended the transaction.
async fn swallow_answer(server: &mut TcpStream) -> std::io::Result<()> {
    let mut answer = Vec::new();
    while !answer.windows(READY.len()).any(|part| part == READY) {
        if server.read_buf(&mut answer).await? == 0 {
            break;
        }
    }
    Ok(())
}
