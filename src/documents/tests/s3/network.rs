//! A network in front of an HTTP server that fails request by request.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The server never sees it; the answer has this status and this code of S3.
    Answers(u16, &'static str),
    /// The connection breaks before the server sees it.
    CutsRequest,
    /// It is carried out, and the connection breaks before the answer.
    LosesAnswer,
    /// The connection breaks in the middle of the answer.
    CutsAnswer,
    /// Nobody ever answers.
    Silent,
}

#[derive(Debug, Default)]
struct Weather {
    next: VecDeque<Fault>,
    always: Option<Fault>,
}

/// A proxy on a port of its own of 127.0.0.1; each request has a connection to the server for itself.
pub(super) struct Network {
    port: u16,
    weather: Arc<Mutex<Weather>>,
}

impl Network {
    pub(super) async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let weather = Arc::<Mutex<Weather>>::default();
        let shared = Arc::clone(&weather);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // An error of either side ends both.
                let weather = Arc::clone(&shared);
                tokio::spawn(async move { carry(client, server, &weather).await });
            }
        });
        Self { port, weather }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The next requests that change or fetch something fail so, one after another.
    pub(super) fn next(&self, faults: Vec<Fault>) {
        self.lock().next = faults.into();
    }

    /// Every request fails so.
    pub(super) fn always(&self, fault: Fault) {
        self.lock().always = Some(fault);
    }

    pub(super) fn clears_up(&self) {
        self.lock().always = None;
    }

    /// Whether every fault has happened.
    pub(super) fn is_fair(&self) -> bool {
        let weather = self.lock();
        weather.next.is_empty() && weather.always.is_none()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Weather> {
        self.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn carry(mut client: TcpStream, server: u16, weather: &Mutex<Weather>) -> std::io::Result<()> {
    let Some(request) = read_request(&mut client).await? else { return Ok(()) };
    let fault = {
        let mut weather = weather.lock().unwrap_or_else(PoisonError::into_inner);
        weather.always.or_else(|| weather.next.pop_front())
    };
    match fault {
        Some(Fault::CutsRequest) => return Ok(()),
        Some(Fault::Silent) => {
            let mut nothing = Vec::new();
            // Until the client gives up.
            client.read_to_end(&mut nothing).await?;
            return Ok(());
        }
        Some(Fault::Answers(status, code)) => {
            let body = format!("<Error><Code>{code}</Code><Message>told so</Message></Error>");
            let head = format!("HTTP/1.1 {status} Told\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            client.write_all(head.as_bytes()).await?;
            return client.write_all(body.as_bytes()).await;
        }
        _ => {}
    }
    let mut upstream = TcpStream::connect(("127.0.0.1", server)).await?;
    upstream.write_all(&request).await?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).await?;
    match fault {
        Some(Fault::LosesAnswer) => Ok(()),
        Some(Fault::CutsAnswer) => client.write_all(&answer[..answer.len() / 2]).await,
        _ => client.write_all(&answer).await,
    }
}

/// A whole request, which asks for the end of the connection.
async fn read_request(client: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let mut request = Vec::new();
    let head = loop {
        if let Some(end) = request.windows(4).position(|part| part == b"\r\n\r\n") {
            break end;
        }
        if client.read_buf(&mut request).await? == 0 {
            return Ok(None);
        }
    };
    let text = String::from_utf8_lossy(&request[..head]).into_owned();
    let field = |line: &str| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok();
    let length = text.lines().find_map(field).unwrap_or(0);
    while request.len() < head + 4 + length {
        if client.read_buf(&mut request).await? == 0 {
            return Ok(None);
        }
    }
    let mut closing = text.into_bytes();
    closing.extend_from_slice(b"\r\nConnection: close");
    closing.extend_from_slice(&request[head..]);
    Ok(Some(closing))
}
