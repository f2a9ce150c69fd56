//! Finding the primary, and the pool's connections to it.
//!
//! Every host is asked at once; the one that takes writes is the primary. Where two say so, as after a partition has
//! healed, the one with the higher timeline was promoted later. A load balancer's address is asked in the same way: what it
//! leads to must take writes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use futures_util::StreamExt as _;
use futures_util::stream::{self, FuturesUnordered};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

use super::PostgresSettings;
use super::error::Error;
use crate::store::sql::{BoxFuture, Conn, Dialect, Place, sql, statements};
use crate::store::{Result, StoreError, StoreHealth};

statements! {
    COPIES = "-- replication.copies
        SELECT (SELECT CASE
                         -- A role that may not see them sees that they are there, without their state.
                         WHEN count(*) > 0 AND count(state) = 0 THEN NULL
                         ELSE count(*) FILTER (WHERE state = 'streaming' AND sync_state IN ('sync', 'quorum')) END
                  FROM pg_stat_replication) AS copies,
               pg_database_size(current_database()) AS size_bytes";
}

/// How long a second primary is waited for when one has answered: long enough to notice two on a busy machine. Standbys
/// answer at once; it is waited out only while a host is away, and only when the primary is looked for.
const SECOND_LOOK: Duration = Duration::from_millis(500);
/// A peer that does not acknowledge for this long is gone.
const PEER_GONE: Duration = Duration::from_secs(6);
/// A connection that is given up has this long for its last answer; then its socket is closed under a silent peer.
const FAREWELL: Duration = Duration::from_secs(1);
/// Rows that a statement returns are read at once; nothing of ours sits in a transaction and thinks. Each statement is planned
/// once: for the search for the next call the planner would rather plan each time, which costs ten times the search.
const SESSION: &str = "SET idle_in_transaction_session_timeout = '30s'; SET lock_timeout = '5s'; SET timezone = 'UTC'; \
    SET search_path = public; SET jit = off; \
    SET plan_cache_mode = force_generic_plan; \
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')";
const PROBE: &str = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on' AS reads, \
    CASE WHEN pg_is_in_recovery() THEN '' ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END AS timeline";

/// One connection, and what was prepared on it.
pub(super) struct Session {
    pub(super) client: Arc<Client>,
    /// By the address of the statement and how it is spelled.
    pub(super) statements: HashMap<(usize, Dialect), tokio_postgres::Statement>,
    /// A commit's wait for its copy was cancelled.
    not_replicated: Arc<AtomicBool>,
    /// Of the connector, when this was made.
    pub(super) epoch: u64,
    /// Ends the task that moves the messages.
    _closing: DropGuard,
}

impl Session {
    /// What the server has warned of so far is no commit's: of the connection itself, say.
    pub(super) fn forget_warnings(&self) {
        self.not_replicated.store(false, Ordering::SeqCst);
    }

    /// Whether the server has warned that a commit is on it alone.
    pub(super) fn was_not_replicated(&self) -> bool {
        self.not_replicated.load(Ordering::SeqCst)
    }
}

/// Makes connections.
pub(super) struct Connector {
    base: Config,
    hosts: Vec<(Host, u16)>,
    tls: Option<MakeRustlsConnect>,
    connect_timeout: Duration,
    /// Rises whenever the primary was lost: older connections are not used again.
    epoch: AtomicU64,
    primary: Mutex<Option<usize>>,
}

impl Connector {
    pub(super) fn new(settings: &PostgresSettings) -> Result<Self> {
        let unusable = |what: String| StoreError::Unusable(format!("store.database: {what}"));
        let (url, mode) = split_ssl_mode(&settings.url).map_err(unusable)?;
        let named: Config = url.parse().map_err(|error: tokio_postgres::Error| unusable(error.to_string()))?;
        let hosts = hosts(&named, &settings.hosts).map_err(unusable)?;
        let mut base = without_hosts(&named);
        if let Some(password) = &settings.password {
            base.password(password);
        }
        base.keepalives(true)
            .keepalives_idle(PEER_GONE)
            .keepalives_interval(PEER_GONE / 3)
            .keepalives_retries(2)
            .tcp_user_timeout(PEER_GONE)
            .connect_timeout(settings.connect_timeout);
        if base.get_application_name().is_none() {
            base.application_name("faxwell");
        }
        let here = hosts.iter().all(|(host, _)| is_here(host));
        let encrypted = mode.unwrap_or(!here);
        base.ssl_mode(if encrypted { SslMode::Require } else { SslMode::Disable });
        let tls = encrypted.then(|| tls(settings.tls_ca.as_deref())).transpose()?;
        let (connect_timeout, epoch, primary) = (settings.connect_timeout, AtomicU64::new(0), Mutex::default());
        Ok(Self { base, hosts, tls, connect_timeout, epoch, primary })
    }

    /// The primary's name, when one is known.
    pub(super) fn primary(&self) -> Option<String> {
        let primary = *self.primary.lock().unwrap_or_else(PoisonError::into_inner);
        primary.map(|at| name(&self.hosts[at]))
    }

    /// The primary that a connection of this epoch leads to is not one any more, or cannot be reached: it is looked for
    /// anew, and no connection to it is used again. Those that are of a later epoch have been looked for since.
    pub(super) fn forget_primary(&self, epoch: u64) {
        if self.epoch.compare_exchange(epoch, epoch + 1, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            self.set_primary(None);
        }
    }

    fn set_primary(&self, at: Option<usize>) -> Option<usize> {
        std::mem::replace(&mut *self.primary.lock().unwrap_or_else(PoisonError::into_inner), at)
    }

    /// A connection to the primary.
    pub(super) async fn connect(&self) -> std::result::Result<Session, Error> {
        let epoch = self.epoch.load(Ordering::SeqCst);
        let known = *self.primary.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = known
            && let Ok((session, _)) = self.ask(at, epoch).await
        {
            return Ok(session);
        }
        let mut asked: FuturesUnordered<_> =
            (0..self.hosts.len()).map(|at| async move { (at, self.ask(at, epoch).await) }).collect();
        let (mut best, mut refusals): (Option<(usize, Session, String)>, Vec<String>) = (None, Vec::new());
        loop {
            // The first that takes writes is nearly always the only one.
            let limit = if best.is_some() { SECOND_LOOK } else { self.connect_timeout * 2 };
            let Ok(Some((at, answer))) = tokio::time::timeout(limit, asked.next()).await else { break };
            match answer {
                Ok((session, timeline)) => match &best {
                    Some((_, _, other)) if *other >= timeline => {}
                    _ => best = Some((at, session, timeline)),
                },
                Err(error) => refusals.push(format!("{}: {error}", name(&self.hosts[at]))),
            }
        }
        let Some((at, session, timeline)) = best else {
            refusals.sort();
            self.set_primary(None);
            return Err(Error::NoPrimary(format!("no server takes writes ({})", refusals.join("; "))));
        };
        if self.set_primary(Some(at)) != Some(at) {
            info!(primary = name(&self.hosts[at]), timeline, "the store's primary is found");
        }
        Ok(session)
    }

    /// Connects to one host and asks whether it takes writes; answers its timeline.
    async fn ask(&self, at: usize, epoch: u64) -> std::result::Result<(Session, String), Error> {
        let work = async {
            let (host, port) = &self.hosts[at];
            let mut config = self.base.clone();
            match host {
                Host::Tcp(host) => config.host(host),
                Host::Unix(path) => config.host_path(path),
            };
            config.port(*port);
            let not_replicated = Arc::new(AtomicBool::new(false));
            let (client, closing) = match &self.tls {
                Some(tls) => drive(config.connect(tls.clone()).await?, &not_replicated),
                None => drive(config.connect(NoTls).await?, &not_replicated),
            };
            let row = client.query_one(PROBE, &[]).await?;
            if row.try_get::<_, bool>("reads")? {
                return Err(Error::NoPrimary("it only reads".to_owned()));
            }
            client.batch_execute(SESSION).await?;
            let timeline = row.try_get("timeline")?;
            let (client, statements) = (Arc::new(client), HashMap::new());
            Ok((Session { client, statements, not_replicated, epoch, _closing: closing }, timeline))
        };
        match tokio::time::timeout(self.connect_timeout, work).await {
            Ok(session) => session,
            Err(_) => Err(Error::Late(self.connect_timeout)),
        }
    }
}

/// The pool's side.
pub(super) struct Manager(pub(super) Arc<Connector>);

impl managed::Manager for Manager {
    type Type = Session;
    type Error = Error;

    async fn create(&self) -> std::result::Result<Session, Error> {
        self.0.connect().await
    }

    async fn recycle(&self, session: &mut Session, _: &Metrics) -> RecycleResult<Error> {
        if session.client.is_closed() || session.epoch != self.0.epoch.load(Ordering::SeqCst) {
            return Err(RecycleError::message("the connection is of another time"));
        }
        Ok(())
    }
}

/// Moves the connection's messages, in order: a warning is noted before the answer that it comes before. The task ends
/// with what is answered: by itself it would wait for a silent peer's answers for ever.
fn drive<S, T>(
    (client, mut connection): (Client, Connection<S, T>),
    not_replicated: &Arc<AtomicBool>,
) -> (Client, DropGuard)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let not_replicated = Arc::clone(not_replicated);
    let closing = CancellationToken::new();
    let guard = closing.clone().drop_guard();
    let mut work = Box::pin(async move {
        let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
        while let Some(message) = messages.next().await {
            match message {
                // 01000 is the plain warning: "canceling wait for synchronous replication due to user request".
                Ok(AsyncMessage::Notice(notice)) if notice.code().code() == "01000" => {
                    warn!(message = notice.message(), "the database warns");
                    not_replicated.store(true, Ordering::SeqCst);
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
    });
    tokio::spawn(async move {
        tokio::select! {
            () = &mut work => {}
            () = closing.cancelled() => {
                let _ = tokio::time::timeout(FAREWELL, work).await;
            }
        }
    });
    (client, guard)
}

/// How many synchronous copies the primary has now, and how large the database is.
pub(super) fn health(conn: &mut Conn) -> BoxFuture<'_, Result<StoreHealth>> {
    Box::pin(async move {
        let row = sql(&COPIES).fetch_one(conn).await.place("replication.copies")?;
        Ok(StoreHealth { host: None, copies: row.int_opt("copies")?, size_bytes: Some(row.int("size_bytes")?) })
    })
}

fn name((host, port): &(Host, u16)) -> String {
    match host {
        Host::Tcp(host) => format!("{host}:{port}"),
        Host::Unix(path) => format!("{}:{port}", path.display()),
    }
}

/// On this machine nobody listens in between.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
    }
}

/// Who connects to what: the driver would ask the hosts of the URL before the one that it is told.
fn without_hosts(named: &Config) -> Config {
    let mut base = Config::new();
    if let Some(user) = named.get_user() {
        base.user(user);
    }
    if let Some(password) = named.get_password() {
        base.password(password);
    }
    if let Some(database) = named.get_dbname() {
        base.dbname(database);
    }
    if let Some(options) = named.get_options() {
        base.options(options);
    }
    if let Some(name) = named.get_application_name() {
        base.application_name(name);
    }
    base
}

fn hosts(base: &Config, named: &[String]) -> std::result::Result<Vec<(Host, u16)>, String> {
    let port_of = |at: usize| base.get_ports().get(at).or(base.get_ports().first()).copied().unwrap_or(5432);
    if named.is_empty() {
        let hosts: Vec<_> =
            base.get_hosts().iter().cloned().enumerate().map(|(at, host)| (host, port_of(at))).collect();
        return if hosts.is_empty() {
            Ok(vec![(Host::Unix("/var/run/postgresql".into()), port_of(0))])
        } else {
            Ok(hosts)
        };
    }
    let host = |text: &String| {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, port.parse().map_err(|_| format!("\"{text}\" has no port number behind its colon"))?)
            }
            _ => (text.as_str(), port_of(0)),
        };
        Ok((Host::Tcp(host.trim_matches(['[', ']']).to_owned()), port))
    };
    named.iter().map(host).collect()
}

/// Takes `sslmode` out of the URL, whose reader knows fewer modes: whether to encrypt, when it says so.
fn split_ssl_mode(url: &str) -> std::result::Result<(String, Option<bool>), String> {
    let Some((address, query)) = url.split_once('?') else { return Ok((url.to_owned(), None)) };
    let (mut kept, mut mode) = (Vec::new(), None);
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("sslmode", "disable")) => mode = Some(false),
            Some(("sslmode", "require" | "verify-ca" | "verify-full")) => mode = Some(true),
            Some(("sslmode", other)) => {
                return Err(format!(
                    "sslmode={other} is not known; fix: disable, or verify-full for an encrypted connection"
                ));
            }
            _ => kept.push(pair),
        }
    }
    let url = if kept.is_empty() { address.to_owned() } else { format!("{address}?{}", kept.join("&")) };
    Ok((url, mode))
}

/// Certificates are always verified, against the named authority or the system's.
fn tls(authority: Option<&Path>) -> Result<MakeRustlsConnect> {
    let unusable =
        |what: &dyn std::fmt::Display| StoreError::Unusable(format!("the store's TLS cannot be set up: {what}"));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?;
    let config = match authority {
        None => builder.with_platform_verifier().map_err(|error| unusable(&error))?.with_no_client_auth(),
        Some(path) => {
            let mut roots = rustls::RootCertStore::empty();
            let unreadable = |error: &dyn std::fmt::Display| unusable(&format!("{}: {error}", path.display()));
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))? {
                let certificate = certificate.map_err(|error| unreadable(&error))?;
                roots.add(certificate).map_err(|error| unreadable(&error))?;
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    };
    Ok(MakeRustlsConnect::new(config))
}
