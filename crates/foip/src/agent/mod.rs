//! A SIP user agent that places and answers fax calls.
//!
//! ```text
//! Agent::call(order) ─► outgoing: INVITE (audio) ─► ringing ─► 200 ─┐
//! Agent::incoming(handler) ─► IncomingCall::answer ─► 200 ─► ACK ───┴─► session: media thread, re-INVITEs, BYE
//!                                                                        └─► CallReport
//! ```
//!
//! Whatever happens to a call ends in its [`CallReport`]; only starting an agent, asking for a server's health and reading
//! its address can fail. Standards: RFC 3261, RFC 3264, T.38 Annex D. Session timers (RFC 4028) are never offered, so that
//! refreshing is the far end's work by that RFC's §4; its refreshes are answered with the SDP that is in force.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::call::{CallOrder, CallReport, SipStatus, TrunkSettings};
use crate::media::{Faults, Observer};
use crate::sip::{Binding, Registrar, Server, ServerError, Stack};

mod incoming;
mod outgoing;
mod session;

pub use incoming::{AnswerOrder, CallHandler, IncomingCall};

/// How long BYEs and CANCELs may still take when the agent stops.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// What we ask of a registrar, in seconds; it may grant less.
const REGISTER_EXPIRES_S: u32 = 600;

/// Where an agent lives.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// SIP over UDP and TCP, and the address of the media sockets. Port 0 takes a free one.
    pub bind: SocketAddr,
    /// Our address as trunks see it, when a router translates it.
    pub advertised: Option<IpAddr>,
    /// Ports of RTP and UDPTL; any free one when absent.
    pub media_ports: Option<RangeInclusive<u16>>,
    /// User-Agent header.
    pub user_agent: String,
    /// Calls that come in and are handled at once; more are answered 503.
    pub incoming_max: usize,
    /// Starts the random choices (session ids, delays after a collision of re-INVITEs).
    pub seed: u64,
}

/// Why an agent cannot do what was asked outside a call.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The address is taken or not ours.
    #[error("cannot listen for SIP on {bind}: {cause}; choose a free address of this machine")]
    Bind {
        /// As asked for.
        bind: SocketAddr,
        /// The system's words.
        cause: String,
    },
    /// The server's text is none.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The name of the server has no address that this agent can reach.
    #[error("cannot find the address of \"{host}\": {cause}")]
    Resolve {
        /// Its name.
        host: String,
        /// The resolver's words.
        cause: String,
    },
    /// The request could not be sent.
    #[error("cannot send to \"{host}\": {cause}")]
    Send {
        /// Its name.
        host: String,
        /// The stack's words.
        cause: String,
    },
    /// A registration needs user and password.
    #[error("trunk \"{0}\" has no user or no password to register with")]
    NoCredential(String),
}

/// One SIP user agent. Clones share it.
#[derive(Clone)]
pub struct Agent {
    inner: Arc<Inner>,
}

struct Inner {
    settings: AgentSettings,
    stack: Stack,
    /// Ends all calls and registrations.
    stop: CancellationToken,
    next: AtomicU64,
    handler: watch::Sender<Option<Arc<dyn CallHandler>>>,
}

/// What a registrar said last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistrationState {
    /// Nothing yet.
    Trying,
    /// It knows where we are.
    Registered,
    /// It refused, or did not answer; tried again by itself.
    Failed(String),
}

/// A registration that is kept up until this is dropped.
#[derive(Debug)]
pub struct RegistrationGuard {
    /// What the registrar said last; changes are announced.
    pub state: watch::Receiver<RegistrationState>,
    stop: CancellationToken,
}

impl Drop for RegistrationGuard {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Agent {
    /// Opens the sockets and begins to serve. Must be called in a tokio runtime.
    pub async fn start(settings: AgentSettings) -> Result<Self, AgentError> {
        let bind = settings.bind;
        let binding = Binding { bind, advertised: settings.advertised, user_agent: settings.user_agent.clone() };
        let (stack, invites) = Stack::start(binding).await.map_err(|cause| AgentError::Bind { bind, cause })?;
        let (handler, handlers) = watch::channel(None);
        let stop = CancellationToken::new();
        let next = AtomicU64::new(settings.seed);
        let agent = Self { inner: Arc::new(Inner { settings, stack, stop, next, handler }) };
        info!(address = %agent.local_addr(), "SIP agent listens");
        incoming::serve(&agent, invites, handlers);
        Ok(agent)
    }

    /// The address that SIP listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.stack.local()
    }

    /// Places one call and returns its evidence. The token ends it: CANCEL while it rings, DCN and BYE after that.
    pub async fn call(&self, order: CallOrder, observer: Observer, cancel: CancellationToken) -> CallReport {
        self.call_with(order, Faults::default(), observer, cancel).await
    }

    /// The same for a caller that does something wrong on purpose.
    pub(crate) async fn call_with(
        &self,
        order: CallOrder,
        faults: Faults,
        observer: Observer,
        cancel: CancellationToken,
    ) -> CallReport {
        Box::pin(outgoing::place(self, order, faults, observer, cancel)).await
    }

    /// Asks the trunk's server whether it is there (OPTIONS). Any answer of it is `Ok`; no answer is a local 408.
    pub async fn options(&self, trunk: &TrunkSettings) -> Result<SipStatus, AgentError> {
        let server = Server::parse(&trunk.server)?;
        let to = self.resolve(&server).await?;
        let from = trunk.user.as_deref().unwrap_or(&trunk.number);
        let asked = tokio::time::timeout(trunk.invite_timeout, self.inner.stack.options(&server, to, from)).await;
        match asked {
            Ok(Ok(answer)) => Ok(answer.status(false)),
            Ok(Err(cause)) => Err(AgentError::Send { host: server.host, cause }),
            Err(_) => Ok(local_status(408, format!("no answer from {}", trunk.server), false)),
        }
    }

    /// Registers at the trunk's server and keeps it up until the guard is dropped.
    pub fn register(&self, trunk: &TrunkSettings) -> Result<RegistrationGuard, AgentError> {
        let server = Server::parse(&trunk.server)?;
        let credential = trunk.user.clone().zip(trunk.password.clone());
        let credential = credential.ok_or_else(|| AgentError::NoCredential(trunk.name.clone()))?;
        let registrar = Registrar { server, credential, expires_s: REGISTER_EXPIRES_S };
        let stop = self.inner.stop.child_token();
        let (told, state) = watch::channel(RegistrationState::Trying);
        let (agent, until, name) = (self.clone(), stop.clone(), trunk.name.clone());
        tokio::spawn(async move {
            let told = |result: Result<(), String>| {
                let state = match result {
                    Ok(()) => RegistrationState::Registered,
                    Err(cause) => {
                        warn!(trunk = %name, %cause, "registration failed");
                        RegistrationState::Failed(cause)
                    }
                };
                told.send_if_modified(|now| std::mem::replace(now, state.clone()) != state);
            };
            agent.inner.stack.register(registrar, until, told).await;
        });
        Ok(RegistrationGuard { state, stop })
    }

    /// From here on this handler gets the calls that come in. Before, they are answered 480.
    pub fn incoming(&self, handler: Arc<dyn CallHandler>) {
        self.inner.handler.send_replace(Some(handler));
    }

    /// Ends all calls, waits a little for their BYEs, and closes the sockets.
    pub async fn stop(&self) {
        self.inner.stop.cancel();
        self.inner.stack.stop(STOP_GRACE).await;
    }

    /// Dialogs that the stack still knows. Zero when no call is under way, or dialogs leak.
    #[must_use]
    pub fn dialog_count(&self) -> usize {
        self.inner.stack.dialog_count()
    }

    async fn resolve(&self, server: &Server) -> Result<SocketAddr, AgentError> {
        let error = |cause: String| AgentError::Resolve { host: server.host.clone(), cause };
        let found = tokio::net::lookup_host((server.host.as_str(), server.port)).await;
        let mut found = found.map_err(|cause| error(cause.to_string()))?;
        let ours = self.local_addr();
        found
            .find(|address| address.is_ipv4() == ours.is_ipv4())
            .ok_or_else(|| error(format!("it has none of the family of {}", ours.ip())))
    }

    /// A socket for RTP and UDPTL of one call, and its address as the far end at `remote` shall see it.
    fn media_socket(&self, remote: SocketAddr) -> std::io::Result<(UdpSocket, SocketAddr)> {
        let settings = &self.inner.settings;
        let ip = settings.bind.ip();
        let socket = match &settings.media_ports {
            None => UdpSocket::bind((ip, 0))?,
            Some(ports) => self.bind_in(ip, ports)?,
        };
        let port = socket.local_addr()?.port();
        Ok((socket, SocketAddr::new(self.advertised_to(remote)?, port)))
    }

    /// Tries each port of the range once, from a different one each time.
    fn bind_in(&self, ip: IpAddr, ports: &RangeInclusive<u16>) -> std::io::Result<UdpSocket> {
        let size = u64::from(ports.end().saturating_sub(*ports.start())) + 1;
        let start = self.random() % size;
        let mut last = std::io::Error::from(std::io::ErrorKind::AddrInUse);
        for step in 0..size {
            let offset = u16::try_from((start + step) % size).expect("smaller than a range of u16");
            match UdpSocket::bind((ip, ports.start() + offset)) {
                Ok(socket) => return Ok(socket),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Our address for Contact and SDP: as configured, or the one that packets to `remote` leave from.
    fn advertised_to(&self, remote: SocketAddr) -> std::io::Result<IpAddr> {
        let settings = &self.inner.settings;
        if let Some(ip) = settings.advertised {
            return Ok(ip);
        }
        let ip = settings.bind.ip();
        if !ip.is_unspecified() {
            return Ok(ip);
        }
        // Connecting a datagram socket sends nothing; it only asks the routing table.
        let probe = UdpSocket::bind((ip, 0))?;
        probe.connect(remote)?;
        Ok(probe.local_addr()?.ip())
    }

    fn random(&self) -> u64 {
        fastrand::Rng::with_seed(self.inner.next.fetch_add(1, Ordering::Relaxed)).u64(..)
    }

    /// o= line of a call: positive and short enough for parsers that keep it in 32 bits.
    fn session_id(&self) -> u64 {
        self.random() % u64::from(u32::MAX >> 1) + 1
    }
}

/// A final answer that we made up ourselves.
fn local_status(code: u16, phrase: String, rang: bool) -> SipStatus {
    SipStatus { code, phrase, q850: None, retry_after_s: None, rang, local: true }
}
