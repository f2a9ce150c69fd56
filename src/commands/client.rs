//! The commands' side of the control API: HTTP over the gateway's Unix socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::exit::{Exit, Failed};
use crate::console::Problem;
use crate::console::view::{CopyLine, CopyView, WatchLine};

/// Talks to one gateway.
#[derive(Debug, Clone)]
pub(super) struct Client {
    socket: PathBuf,
}

/// Time for everything but a watch and a submission: the gateway's own limits are shorter.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Time for a submission, which may be as large as a mail may be and waits for the disk.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(120);
/// Time for a call of the pretend fax machine: minutes of signal, at many times their speed.
const CALL_TIMEOUT: Duration = Duration::from_secs(300);
/// Largest answer, octets: a long fax as PDF or TIFF.
const ANSWER_BYTES_MAX: usize = 512 << 20;
/// Longest line of a watch, octets.
const LINE_BYTES_MAX: usize = 1 << 20;

impl Client {
    /// The gateway behind this socket. Nothing is sent yet.
    pub(super) fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// GET, an object back.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failed> {
        let bytes = self.bytes(path).await?;
        self.parse(&bytes)
    }

    /// GET, octets back.
    pub(super) async fn bytes(&self, path: &str) -> Result<Bytes, Failed> {
        let request = self.request(Method::GET, path, Bytes::new(), &[])?;
        self.within(TIMEOUT, self.exchange(request)).await
    }

    /// POST of an object, an object back.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failed> {
        self.post_within(TIMEOUT, path, body).await
    }

    async fn post_within<T: DeserializeOwned>(
        &self,
        limit: Duration,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failed> {
        let body = serde_json::to_vec(body).map_err(|error| {
            Failed::new(Exit::Failed, "cannot ask the gateway", error.to_string(), "report this as a bug")
        })?;
        let request = self.request(Method::POST, path, body.into(), &[("content-type", "application/json")])?;
        let bytes = self.within(limit, self.exchange(request)).await?;
        self.parse(&bytes)
    }

    /// POST without a body, an object back.
    pub(super) async fn post_empty<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failed> {
        let request = self.request(Method::POST, path, Bytes::new(), &[])?;
        let bytes = self.within(TIMEOUT, self.exchange(request)).await?;
        self.parse(&bytes)
    }

    /// POST without a body, nothing back.
    pub(super) async fn order(&self, path: &str) -> Result<(), Failed> {
        let request = self.request(Method::POST, path, Bytes::new(), &[])?;
        self.within(TIMEOUT, self.exchange(request)).await.map(drop)
    }

    /// A copy of the store for a backup; the gateway keeps what it names until the answer ends.
    pub(super) async fn copy(&self) -> Result<(CopyView, HeldCopy), Failed> {
        let request = self.request(Method::POST, "/api/v1/backup", Bytes::new(), &[])?;
        let body = self.within(TIMEOUT, self.send(request)).await?.into_body();
        let mut lines = Lines { body, rest: Vec::new(), socket: self.socket.clone() };
        // No limit: a large store takes minutes, and the connection breaks when the gateway ends.
        match lines.next::<CopyLine>().await? {
            Some(CopyLine::Copy(view)) => Ok((view, HeldCopy(tokio::spawn(hold(lines))))),
            Some(CopyLine::Failed(why)) => {
                let fix = "make room in the gateway's data directory for a copy of its store";
                Err(Failed::new(Exit::Failed, "the gateway cannot copy its store", why, fix))
            }
            Some(CopyLine::Kept) | None => Err(self.unreachable("the answer ended before the copy was there")),
        }
    }

    /// The same for an order that lasts as long as a call.
    pub(super) async fn post_call<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failed> {
        self.post_within(CALL_TIMEOUT, path, body).await
    }

    /// DELETE, nothing back.
    pub(super) async fn delete(&self, path: &str) -> Result<(), Failed> {
        let request = self.request(Method::DELETE, path, Bytes::new(), &[])?;
        self.within(TIMEOUT, self.exchange(request)).await.map(drop)
    }

    /// Gives a mail to the gateway.
    pub(super) async fn submit<T: DeserializeOwned>(&self, path: &str, mail: Vec<u8>, key: &str) -> Result<T, Failed> {
        let fields = [("content-type", "message/rfc822"), ("idempotency-key", key)];
        let request = self.request(Method::POST, path, mail.into(), &fields)?;
        let bytes = self.within(SUBMIT_TIMEOUT, self.exchange(request)).await?;
        self.parse(&bytes)
    }

    /// Follows a fax.
    pub(super) async fn watch(&self, fax: &str, query: &str) -> Result<Watch, Failed> {
        let request =
            self.request(Method::GET, &format!("/api/v1/faxes/{}/watch?{query}", encoded(fax)), Bytes::new(), &[])?;
        let body = self.within(TIMEOUT, self.send(request)).await?.into_body();
        Ok(Watch(Lines { body, rest: Vec::new(), socket: self.socket.clone() }))
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        fields: &[(&str, &str)],
    ) -> Result<Request<Full<Bytes>>, Failed> {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(Full::new(body)).map_err(|error| {
            Failed::new(
                Exit::Usage,
                "cannot ask the gateway",
                error.to_string(),
                "check the numbers and ids on the command line",
            )
        })
    }

    async fn within<T>(&self, limit: Duration, answer: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(self.unreachable(&format!("no answer within {limit:?}"))),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Bytes, Failed> {
        let response = self.send(request).await?;
        let body = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let collected =
            body.collect().await.map_err(|error| self.unreachable(&format!("the answer broke off: {error}")))?;
        Ok(collected.to_bytes())
    }

    /// Sends, and turns a problem into a refusal.
    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failed> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.unreachable(&error.to_string()))?;
        let broke = |error: hyper::Error| self.unreachable(&format!("the connection broke: {error}"));
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
        tokio::spawn(async move {
            // Its error reaches the sender as well.
            let _ = connection.await;
        });
        let response = sender.send_request(request).await.map_err(broke)?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refused(response).await)
    }

    async fn refused(&self, response: Response<Incoming>) -> Failed {
        let status = response.status();
        let body = http_body_util::Limited::new(response.into_body(), LINE_BYTES_MAX).collect().await;
        let problem = body.ok().and_then(|body| serde_json::from_slice::<Problem>(&body.to_bytes()).ok());
        match problem {
            Some(problem) => problem.into(),
            None if status == StatusCode::PAYLOAD_TOO_LARGE => {
                let fix = "send fewer or smaller files, or raise smtp.max_size";
                Failed::new(
                    Exit::Usage,
                    "the gateway does not take that much",
                    "the files are larger than smtp.max_size",
                    fix,
                )
            }
            None => {
                Failed::new(Exit::Failed, format!("the gateway answered {status}"), "it gave no reason", "see its log")
            }
        }
    }

    fn parse<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, Failed> {
        serde_json::from_slice(bytes).map_err(|error| {
            let cause = format!("command and gateway may be of different versions: {error}");
            Failed::new(
                Exit::Failed,
                "the gateway's answer cannot be read",
                cause,
                "use the faxwell command that belongs to the gateway",
            )
        })
    }

    fn unreachable(&self, cause: &str) -> Failed {
        unreachable(&self.socket, cause)
    }
}

fn unreachable(socket: &Path, cause: &str) -> Failed {
    let message = format!("the gateway at {} does not answer", socket.display());
    let fix = "start it with: faxwell demo or faxwell serve; or name another with --config FILE or --data DIR";
    Failed::new(Exit::Unreachable, message, cause, fix)
}

/// A watch that is under way.
#[derive(Debug)]
pub(super) struct Watch(Lines);

impl Watch {
    /// The next line; none when the watch is over.
    pub(super) async fn next(&mut self) -> Result<Option<WatchLine>, Failed> {
        self.0.next().await
    }
}

/// A copy of the store that the gateway keeps everything for.
#[derive(Debug)]
pub(super) struct HeldCopy(tokio::task::JoinHandle<Failed>);

impl HeldCopy {
    /// Lets it go. An error when the gateway went away meanwhile: something may have been removed too early.
    pub(super) async fn end(self) -> Result<(), Failed> {
        if self.0.is_finished() {
            return Err(self.0.await.unwrap_or_else(|error| {
                Failed::new(Exit::Failed, "the backup is not sure to be whole", error.to_string(), "run it again")
            }));
        }
        self.0.abort();
        Ok(())
    }
}

/// Reads heartbeats for as long as they come; answers why they ended.
async fn hold(mut lines: Lines) -> Failed {
    loop {
        match lines.next::<CopyLine>().await {
            Ok(Some(_)) => {}
            Ok(None) => return unreachable(&lines.socket, "the gateway stopped before the backup was whole"),
            Err(failed) => return failed,
        }
    }
}

/// An answer of JSON lines.
#[derive(Debug)]
struct Lines {
    body: Incoming,
    rest: Vec<u8>,
    socket: PathBuf,
}

impl Lines {
    async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Failed> {
        loop {
            if let Some(end) = self.rest.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let parsed = serde_json::from_slice(&line);
                return parsed
                    .map(Some)
                    .map_err(|error| unreachable(&self.socket, &format!("a line cannot be read: {error}")));
            }
            if self.rest.len() > LINE_BYTES_MAX {
                return Err(unreachable(&self.socket, "a line does not end"));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => self.rest.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                Some(Err(error)) => return Err(unreachable(&self.socket, &format!("the watch broke off: {error}"))),
            }
        }
    }
}

/// RFC 3986 §2.1: everything but the unreserved characters is escaped.
pub(super) fn encoded(text: &str) -> String {
    let octet = |octet: u8| match octet {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(octet).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(octet).collect()
}
