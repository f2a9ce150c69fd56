//! Console: API, health and pages for people.
//!
//! ```text
//! <data>/control.sock (mode 0600)  everything: the commands come in here; who may open the socket is the administrator
//! web.listen, sandbox on loopback  reading everything, and buttons for orders: there is nothing real to protect
//! web.listen, otherwise            health, and a status page with masked numbers: there is no login yet
//! web.health                       health alone, from every process whatever its roles
//! ```
//! What goes in are [`Services`], traits of what other stages do, so that no stage is imported. A store that does not
//! answer is a 503 with cause and fix; health says so too (`/readyz`), while `/livez` only says that the process turns.
//! Problems are RFC 9457 documents. Nothing here acts on GET, and no other site can make a browser act (`orders`).

pub mod accounts;
mod api;
mod journal;
pub mod nodes;
mod orders;
mod page;
mod problem;
pub mod received;
mod received_page;
mod storage;
pub mod view;
mod watch;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Role};
use crate::domain::{Cause, FaxId, MessageId};
use crate::proxy::Door;
use crate::store::{DocumentKey, Store};
use crate::work::Hint;

pub use orders::OrderBody;
pub use problem::Problem;
pub use storage::{Storage, StoreCopy};

/// A mail that somebody gives to the gateway without SMTP.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Whom reports go to; none: nobody.
    pub reverse_path: Option<String>,
    /// Addresses as in SMTP, or bare numbers.
    pub recipients: Vec<String>,
    /// The mail, CRLF line ends.
    pub mail: Vec<u8>,
    /// Who asks, for the record.
    pub client: String,
    /// The same key a second time is the same submission.
    pub idempotency_key: Option<String>,
}

/// A submission that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The message.
    pub message: MessageId,
    /// One for each recipient, in order.
    pub faxes: Vec<FaxId>,
    /// In words, as SMTP would have said.
    pub text: String,
}

/// A submission that was not taken; nothing is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The entry of the catalogue.
    pub cause: Cause,
    /// The evidence, one line.
    pub detail: String,
}

/// Takes submissions: intake's work.
#[async_trait]
pub trait Submit: Send + Sync + 'static {
    /// Answers when it is durable.
    async fn submit(&self, submission: Submission) -> Result<Accepted, Refusal>;
}

/// Why there are no pages to show.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PagesError {
    /// No such document or page.
    #[error("{0}")]
    NotFound(String),
    /// Retention has removed them.
    #[error("{0}")]
    Removed(String),
    /// The repository or a codec failed.
    #[error("{0}")]
    Failed(String),
}

/// Reads stored pages: documents and fax images.
#[async_trait]
pub trait Pages: Send + Sync + 'static {
    /// The TIFF-F as it is sent.
    async fn tiff(&self, key: &DocumentKey) -> Result<Vec<u8>, PagesError>;
    /// The same pages as PDF.
    async fn pdf(&self, key: &DocumentKey) -> Result<Vec<u8>, PagesError>;
    /// One page as PNG, counted from 1, with square pixels.
    async fn png(&self, key: &DocumentKey, page: u32) -> Result<Vec<u8>, PagesError>;
    /// The pages of a received fax, each a document of its own, as one PDF: their octets as they came.
    async fn bound(&self, keys: &[DocumentKey]) -> Result<Vec<u8>, PagesError>;
}

/// Whether this process does its work.
pub trait Readiness: Send + Sync + 'static {
    /// `Ok`, or why not: `draining`, `starting`, or that the role does not run here.
    fn ready(&self, role: Option<Role>) -> Result<(), String>;
}

/// Figures for a monitoring system.
#[async_trait]
pub trait Figures: Send + Sync + 'static {
    /// All of them as OpenMetrics text. Waits for nothing for long.
    async fn text(&self) -> String;
}

/// What the console needs of the rest.
#[derive(Clone)]
pub struct Services {
    /// The configuration in force.
    pub config: Arc<Config>,
    /// The store.
    pub store: Arc<dyn Store>,
    /// Takes submissions.
    pub submit: Arc<dyn Submit>,
    /// Reads pages.
    pub pages: Arc<dyn Pages>,
    /// Keeps the store tidy.
    pub storage: Arc<dyn Storage>,
    /// Counts.
    pub figures: Arc<dyn Figures>,
    /// Knows whether the stages run.
    pub readiness: Arc<dyn Readiness>,
    /// Woken when an order to a node was given here.
    pub node_ordered: Hint,
    /// Lets the pretend fax machine call; the sandbox only.
    pub test_calls: Option<Arc<dyn received::TestCalls>>,
}

/// Who may reach a router, and so what it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Whoever may open the control socket: everything.
    Control,
    /// Everybody on this machine, sandbox only: reading everything, and giving orders on the page of a fax.
    Sandbox,
    /// Everybody: health, and masked states.
    Public,
    /// Load balancers: health alone.
    Health,
}

impl Access {
    /// What `web.listen` shows under this configuration.
    pub fn of_web(config: &Config) -> Self {
        let loopback = config.web.listen.is_some_and(|address| address.ip().is_loopback());
        let sandbox = !config.sip.is_empty() && config.sip.values().all(|line| line.sandbox);
        if loopback && sandbox { Self::Sandbox } else { Self::Public }
    }

    /// Whether mails, pages and whole numbers are shown.
    fn shows_content(self) -> bool {
        matches!(self, Self::Control | Self::Sandbox)
    }
}

/// State of every handler.
#[derive(Clone)]
struct Console {
    services: Services,
    access: Access,
    watchers: Arc<Semaphore>,
    /// In every form of our pages: nobody who cannot read them can send one.
    form_token: Arc<str>,
}

/// Watches at once: each reads the store a few times a second.
const WATCHERS_MAX: usize = 64;
/// A mail on the control socket may be this much larger than one over SMTP: MIME that a command makes, not a sender.
const SUBMIT_SLACK_BYTES: u64 = 1 << 20;

/// The body of an order, octets.
const ORDER_BYTES_MAX: usize = 4096;
/// A route with as many mailboxes as it may have, octets.
const ROUTE_BYTES_MAX: usize = 64 << 10;

/// The routes that this access may use.
pub fn router(services: Services, access: Access) -> Router {
    let body_max = usize::try_from(services.config.smtp.max_size_bytes + SUBMIT_SLACK_BYTES).unwrap_or(usize::MAX);
    let mut router = Router::new()
        .route("/livez", get(api::livez))
        .route("/readyz", get(api::readyz))
        .route("/metrics", get(api::metrics));
    if access != Access::Health {
        router = router
            .route("/", get(page::overview))
            .route("/style.css", get(page::style))
            .route("/api/v1/status", get(api::status));
    }
    if access.shows_content() {
        router = router
            .route("/faxes/{id}", get(page::fax))
            .route("/nodes", get(nodes::show))
            .route("/api/v1/nodes", get(nodes::list))
            .route("/received", get(received_page::list))
            .route("/received/{id}", get(received_page::one))
            .route("/tray", get(page::tray))
            .route("/tray/{name}", get(page::tray_file))
            .route("/mailbox", get(page::mailbox))
            .route("/mailbox/{name}", get(page::mailbox_file))
            .route("/api/v1/faxes", get(api::faxes))
            .route("/api/v1/faxes/{id}", get(api::fax))
            .route("/api/v1/events", get(journal::events))
            .route("/api/v1/faxes/{id}/watch", get(watch::watch))
            .route("/api/v1/faxes/{id}/document.tiff", get(api::tiff))
            .route("/api/v1/faxes/{id}/document.pdf", get(api::pdf))
            .route("/api/v1/faxes/{id}/pages/{page}", get(api::png))
            .route("/api/v1/received", get(received::list))
            .route("/api/v1/received/{id}", get(received::show))
            .route("/api/v1/received/{id}/document.pdf", get(received::pdf))
            .route("/api/v1/received/{id}/pages/{page}", get(received::page))
            .route("/api/v1/inbound/routes", get(received::routes))
            .route("/api/v1/inbound/explain", get(received::explain));
    }
    if access == Access::Control {
        router = router
            .route("/api/v1/inbound/routes", post(received::set_route).layer(DefaultBodyLimit::max(ROUTE_BYTES_MAX)))
            .route("/api/v1/inbound/routes/{name}", delete(received::remove_route))
            .route("/api/v1/accounts", get(accounts::list))
            .route(
                "/api/v1/accounts/{name}",
                post(accounts::set).delete(accounts::remove).layer(DefaultBodyLimit::max(ROUTE_BYTES_MAX)),
            )
            .route("/api/v1/sandbox/receive", post(received::test_call).layer(DefaultBodyLimit::max(ORDER_BYTES_MAX)))
            .route("/api/v1/submit", post(api::submit).layer(DefaultBodyLimit::max(body_max)))
            .route("/api/v1/faxes/{id}/{order}", post(orders::order).layer(DefaultBodyLimit::max(ORDER_BYTES_MAX)))
            .route("/api/v1/nodes/{name}/{order}", post(nodes::order).layer(DefaultBodyLimit::max(ORDER_BYTES_MAX)))
            .route("/api/v1/faxes/{id}/keep", post(storage::keep))
            .route("/api/v1/prune", post(storage::prune))
            .route("/api/v1/storage/rotate-keys", post(storage::rotate_keys))
            .route("/api/v1/storage/seal", post(storage::seal))
            .route("/api/v1/backup", post(storage::backup));
    }
    if access == Access::Sandbox {
        router =
            router.route("/faxes/{id}/{order}", post(orders::pressed).layer(DefaultBodyLimit::max(ORDER_BYTES_MAX)));
    }
    let form_token = uuid::Uuid::new_v4().simple().to_string().into();
    let console = Console { services, access, watchers: Arc::new(Semaphore::new(WATCHERS_MAX)), form_token };
    router
        .fallback(api::no_such_page)
        .layer(middleware::from_fn_with_state(console.clone(), guard))
        .layer(DefaultBodyLimit::max(body_max))
        .with_state(console)
}

/// Nothing of ours runs scripts, is framed or is kept by a cache.
const SECURITY_FIELDS: &[(header::HeaderName, &str)] = &[
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // With "no-referrer" a browser would not say which site a form comes from (Fetch, "append a request Origin header").
    (header::REFERRER_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

async fn guard(State(console): State<Console>, request: Request, next: Next) -> Response {
    let mut response = match console.access {
        // A web page elsewhere can make a browser ask 127.0.0.1 under a name of its own (DNS rebinding); its Host
        // field tells.
        Access::Sandbox if !local_host(&request) => {
            Problem::not_allowed("this sandbox answers to 127.0.0.1 and localhost only").into_response()
        }
        _ => next.run(request).await,
    };
    for (name, value) in SECURITY_FIELDS {
        response.headers_mut().entry(name).or_insert(header::HeaderValue::from_static(value));
    }
    response
}

fn local_host(request: &Request) -> bool {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let name = host
        .rsplit_once(':')
        .map_or(host, |(name, port)| if port.bytes().all(|b| b.is_ascii_digit()) { name } else { host });
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Why the console cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// Another process serves this data directory.
    #[error("another gateway already serves {0}")]
    InUse(String),
    /// The operating system refused.
    #[error("cannot listen on {place}: {source}")]
    Listen {
        /// Address or path.
        place: String,
        /// Its words.
        source: std::io::Error,
        /// What to do.
        fix: &'static str,
    },
}

impl ConsoleError {
    /// What to do about it.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::InUse(_) => "stop it, or use another --data",
            Self::Listen { fix, .. } => fix,
        }
    }
}

/// Opens the control socket, mode 0600. A socket file that nobody answers on is left from a crash and replaced.
pub async fn bind_control(path: &Path) -> Result<UnixListener, ConsoleError> {
    use std::os::unix::fs::PermissionsExt as _;
    let place = path.display().to_string();
    let fix = "let the gateway write its data directory; the path may have 107 octets at most";
    let refused = |source| ConsoleError::Listen { place: place.clone(), source, fix };
    if tokio::net::UnixStream::connect(path).await.is_ok() {
        return Err(ConsoleError::InUse(place));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(refused(error)),
        _ => {}
    }
    // Made under another name and renamed when its mode is right: at no time can anybody else open it.
    let fresh = path.with_extension("new");
    let _ = std::fs::remove_file(&fresh);
    let listener = UnixListener::bind(&fresh).map_err(refused)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600)).map_err(refused)?;
    std::fs::rename(&fresh, path).map_err(refused)?;
    Ok(listener)
}

/// Opens `web.listen` or `web.health`, where `balancers` say who the client is.
pub async fn bind_web(address: SocketAddr, balancers: &[ipnet::IpNet]) -> Result<WebDoor, ConsoleError> {
    let opened = TcpListener::bind(address).await.and_then(|listener| Door::open(listener, balancers));
    opened.map(WebDoor).map_err(|source| ConsoleError::Listen {
        place: address.to_string(),
        source,
        fix: "use another port (web.listen, web.health, or demo --port N), or stop what listens there",
    })
}

/// `web.listen`, opened.
#[derive(Debug)]
pub struct WebDoor(Door);

impl axum::serve::Listener for WebDoor {
    type Io = tokio::net::TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.0.accept().await {
            Some(client) => client,
            // Nobody closes it; it is dropped when the server ends.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(self.0.local_addr())
    }
}

/// How long requests under way may take after the stop.
const DRAIN: Duration = Duration::from_secs(2);

/// Serves until `stop`; requests under way get two seconds.
pub async fn serve<L>(listener: L, router: Router, stop: CancellationToken) -> std::io::Result<()>
where
    L: axum::serve::Listener,
    L::Addr: std::fmt::Debug,
{
    let graceful = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        done = graceful.into_future() => done,
        () = late => Ok(()),
    }
}
