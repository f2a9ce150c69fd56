//! Keys of the authorization server: from a file or a URL, kept, and fetched again when a token names one that is not there.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, Uri, header};
use hyper_util::rt::TokioIo;
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tracing::warn;

use super::token::KeySet;
use crate::domain::Timestamp;

/// Servers change their keys within days and publish new ones before.
const KEPT_FOR: Duration = Duration::from_secs(3600);
/// Tokens with made-up key ids must not make us ask the server each time.
const ASKED_EVERY: Duration = Duration::from_secs(60);
/// How long old keys hold while the server cannot be reached.
const OLD_HOLD_FOR: Duration = Duration::from_secs(24 * 3600);
/// A login waits no longer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// Key sets have some kilobytes.
const BYTES_MAX: usize = 1024 * 1024;

/// Where a key set comes from.
#[async_trait]
pub trait Fetch: Send + Sync {
    /// The key set as it is now.
    ///
    /// # Errors
    /// Why it cannot be had, one line.
    async fn fetch(&self) -> Result<Vec<u8>, String>;
}

/// A file, or an https URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file.
    File(PathBuf),
    /// `https://…`.
    Url(Uri),
}

impl KeySource {
    /// From the configuration: what begins with `https://` is a URL.
    ///
    /// # Errors
    /// When it is a URL that cannot be read.
    pub fn new(text: &str) -> Result<Self, String> {
        if !text.starts_with("https://") {
            return Ok(Self::File(PathBuf::from(text)));
        }
        let uri: Uri = text.parse().map_err(|error| format!("{text}: {error}"))?;
        if uri.host().is_some() { Ok(Self::Url(uri)) } else { Err(format!("{text} has no host")) }
    }
}

#[async_trait]
impl Fetch for KeySource {
    async fn fetch(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::File(path) => {
                let unreadable = |error: std::io::Error| format!("{}: {error}", path.display());
                if tokio::fs::metadata(path).await.map_err(unreadable)?.len() > BYTES_MAX as u64 {
                    return Err(format!("{} is larger than 1 MiB", path.display()));
                }
                tokio::fs::read(path).await.map_err(unreadable)
            }
            Self::Url(uri) => match tokio::time::timeout(FETCH_TIMEOUT, get(uri)).await {
                Ok(got) => got.map_err(|why| format!("{uri}: {why}")),
                Err(_) => Err(format!("{uri}: no answer within 10 s")),
            },
        }
    }
}

async fn get(uri: &Uri) -> Result<Vec<u8>, String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(443));
    let stream = TcpStream::connect((host, port)).await.map_err(|error| words(&error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_platform_verifier())
        .map_err(|error| words(&error))?
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from(host.to_owned()).map_err(|error| words(&error))?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| words(&error))?;
    request(uri, host, stream).await
}

async fn request(
    uri: &Uri,
    host: &str,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<Vec<u8>, String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| words(&error))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(header::HOST, host)
        .header(header::ACCEPT, "application/json")
        .body(Empty::<Bytes>::new())
        .map_err(|error| words(&error))?;
    // The connection ends with its answer.
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(|error| words(&error))?;
    if !answer.status().is_success() {
        return Err(format!("it answers {}", answer.status()));
    }
    let body = Limited::new(answer.into_body(), BYTES_MAX).collect().await.map_err(|error| words(&error))?;
    connection.abort();
    Ok(body.to_bytes().to_vec())
}

/// The keys as they are known.
pub(super) struct Keys {
    source: Arc<dyn Fetch>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    set: Arc<KeySet>,
    /// When the set was fetched.
    fetched_at: Option<Timestamp>,
    /// When it was asked for last, with or without success.
    asked_at: Option<Timestamp>,
}

impl Keys {
    pub(super) fn new(source: Arc<dyn Fetch>) -> Self {
        Self { source, known: Mutex::default() }
    }

    /// The keys, with this one if the server has it.
    ///
    /// # Errors
    /// Why they cannot be had, when none are known that may still be used.
    pub(super) async fn with(&self, id: Option<&str>, now: Timestamp) -> Result<Arc<KeySet>, String> {
        // Whoever comes meanwhile waits for this one fetch.
        let mut known = self.known.lock().await;
        let age = known.fetched_at.map(|at| now.since(at));
        let fresh = age.is_some_and(|age| age < KEPT_FOR) && known.set.holds(id);
        let usable = age.is_some_and(|age| age < OLD_HOLD_FOR);
        let asked_just_now = known.asked_at.is_some_and(|at| now.since(at) < ASKED_EVERY);
        if fresh || (asked_just_now && usable) {
            return Ok(Arc::clone(&known.set));
        }
        if asked_just_now {
            return Err("no keys are known that may still be used; they are asked for once a minute".to_owned());
        }
        known.asked_at = Some(now);
        let fetched = self.source.fetch().await.and_then(|text| KeySet::parse(&text));
        match fetched {
            Ok(set) => {
                known.set = Arc::new(set);
                known.fetched_at = Some(now);
            }
            Err(why) if usable => {
                warn!(%why, "the keys of smtp.oauth2 cannot be read again; the ones before hold");
            }
            Err(why) => return Err(why),
        }
        Ok(Arc::clone(&known.set))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::token::testing::Issuer;
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    #[derive(Default)]
    struct Server {
        answer: std::sync::Mutex<Option<Vec<u8>>>,
        asked: AtomicUsize,
    }

    #[async_trait]
    impl Fetch for Server {
        async fn fetch(&self) -> Result<Vec<u8>, String> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.answer.lock().unwrap().clone().ok_or_else(|| "it is away".to_owned())
        }
    }

    fn after(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    #[tokio::test]
    async fn t3_an_unknown_key_is_asked_for_and_not_more_than_once_a_minute() {
        let server = Arc::new(Server::default());
        let keys = Keys::new(Arc::clone(&server) as Arc<dyn Fetch>);
        assert!(keys.with(Some("ec"), NOW).await.is_err(), "the server is away");
        *server.answer.lock().unwrap() = Some(Issuer::new().jwks().to_string().into_bytes());
        assert!(keys.with(Some("ec"), after(1)).await.is_err(), "asked a second ago");
        assert!(keys.with(Some("ec"), after(60)).await.unwrap().holds(Some("ec")));
        for seconds in 61..100 {
            assert!(!keys.with(Some("made-up"), after(seconds)).await.unwrap().holds(Some("made-up")));
        }
        assert_eq!(server.asked.load(Ordering::SeqCst), 2);
        keys.with(Some("made-up"), after(121)).await.unwrap();
        assert_eq!(server.asked.load(Ordering::SeqCst), 3);
        // Away for a day: the keys hold. Longer: they do not.
        *server.answer.lock().unwrap() = None;
        assert!(keys.with(Some("ec"), after(80_000)).await.is_ok());
        for seconds in [0, 1, 59] {
            assert!(keys.with(Some("ec"), after(121 + 86_400 + seconds)).await.is_err(), "{seconds} s later");
        }
    }

    #[tokio::test]
    async fn keys_come_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        std::fs::write(&path, Issuer::new().jwks().to_string()).unwrap();
        let source = KeySource::new(path.to_str().unwrap()).unwrap();
        assert!(Keys::new(Arc::new(source)).with(Some("rsa"), NOW).await.unwrap().holds(Some("rsa")));
        assert!(KeySource::new("https://").is_err());
        assert!(matches!(KeySource::new("https://login.example.com/keys").unwrap(), KeySource::Url(_)));
        assert!(
            matches!(KeySource::new("http://login.example.com/keys").unwrap(), KeySource::File(_)),
            "never in the clear"
        );
    }
}
