//! The pretend fax machine of the sandbox: a second SIP agent that answers every number.
//!
//! A call comes in, its number says what happens (`numbers`, one table), a received page goes durably into the tray's work
//! file and into the ledger before it is confirmed (`receive`, `tray`, `ledger`), and a finished fax becomes one TIFF. A
//! tray or ledger that cannot be written ends the call without confirming the page, as a machine out of memory would.
//! Nothing here is known to the caller: it meets this end over SIP, RTP and UDPTL alone. It also calls by itself (`send`),
//! as the people do who send faxes to a gateway.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::agent::{AgentError, AnswerOrder, CallHandler, IncomingCall};
use crate::call::{CallReport, Pace};

mod ledger;
mod numbers;
mod pages;
mod receive;
mod send;
mod tray;

pub use ledger::raster_sha256;
pub use pages::{TestPageError, read_stripe, stripe, test_document};
pub use send::{Caller, CallerSettings, SendFax, SendOutcome};

use ledger::{Call, Ledger};
use numbers::{Behaviour, FirstCall, Receive, behaviour};
use receive::Receiver;
use tray::{FaxName, Tray};

/// In real time the called side asks for T.38 while its answer tone (CED, 2.6 to 4 s) still sounds.
const REINVITE_AFTER: Duration = Duration::from_millis(1500);
/// Calls at once; more are answered 503.
const CALLS_MAX: usize = 1000;
/// Faxes whose first call is remembered.
const FIRST_CALLS_MAX: usize = 10_000;

/// Where the pretend fax machine lives.
#[derive(Clone)]
pub struct FarEndSettings {
    /// SIP and media address. Port 0 takes a free one.
    pub bind: SocketAddr,
    /// Folder for received faxes, made if it is missing.
    pub tray: PathBuf,
    /// JSON lines for calls and confirmed pages, when a test needs a witness outside.
    pub ledger: Option<PathBuf>,
    /// Lock-step with callers that can do so too.
    pub pace: Pace,
    /// How long it rings before it answers.
    pub ring_delay: Duration,
    /// CSI.
    pub station_id: String,
    /// The time, for the ledger.
    pub now: fn() -> SystemTime,
    /// Starts the random choices.
    pub seed: u64,
}

/// Why the pretend fax machine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum FarEndError {
    /// Its SIP agent cannot.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// Its folder or ledger cannot be written.
    #[error("cannot use {path}: {cause}; make it writable or choose another folder")]
    Storage {
        /// Folder or file.
        path: PathBuf,
        /// The system's words.
        cause: std::io::Error,
    },
    /// What it is to send cannot be read.
    #[error("cannot send {path}: {cause}; give it a TIFF-F document with that many pages")]
    Document {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
}

impl FarEndError {
    fn storage(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Storage { path, cause }
    }
}

/// A running pretend fax machine.
pub struct FarEnd {
    caller: Caller,
}

impl FarEnd {
    /// Recovers what a killed predecessor had confirmed and begins to answer. Must be called in a tokio runtime.
    pub async fn start(settings: FarEndSettings) -> Result<Self, FarEndError> {
        let tray = Tray::open(&settings.tray).map_err(FarEndError::storage(&settings.tray))?;
        let caller = Caller::start(CallerSettings {
            bind: settings.bind,
            ledger: settings.ledger.clone(),
            now: settings.now,
            seed: settings.seed,
        })
        .await?;
        let machine = Machine {
            random: Mutex::new(fastrand::Rng::with_seed(settings.seed)),
            settings,
            tray,
            ledger: caller.ledger().cloned(),
            failed_once: Mutex::new(VecDeque::new()),
        };
        caller.agent().incoming(Arc::new(machine));
        Ok(Self { caller })
    }

    /// Sends a fax; see [`Caller::send`].
    ///
    /// # Errors
    /// When the document cannot be read or the ledger cannot be written.
    pub async fn send(&self, fax: SendFax) -> Result<CallReport, FarEndError> {
        self.caller.send(fax).await
    }

    /// The address that SIP listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.caller.agent().local_addr()
    }

    /// Dialogs that are open, for tests.
    #[must_use]
    pub fn dialog_count(&self) -> usize {
        self.caller.agent().dialog_count()
    }

    /// Ends all calls and closes the sockets.
    pub async fn stop(&self) {
        self.caller.agent().stop().await;
    }
}

/// What all calls share.
struct Machine {
    settings: FarEndSettings,
    tray: Tray,
    ledger: Option<Ledger>,
    random: Mutex<fastrand::Rng>,
    /// Faxes whose first call has failed on purpose.
    failed_once: Mutex<VecDeque<String>>,
}

#[async_trait]
impl CallHandler for Machine {
    async fn incoming(&self, mut call: IncomingCall) {
        let ring_delay = self.settings.ring_delay;
        let behaviour = behaviour(call.number());
        let (rings, wait) = match &behaviour {
            Behaviour::Refuse { rings, .. } => (*rings, ring_delay),
            Behaviour::Receive(receive) => (true, receive.answer_after.unwrap_or(ring_delay)),
        };
        if rings {
            call.ring();
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = call.cancelled() => return,
        }
        match behaviour {
            Behaviour::Refuse { code, q850, .. } => call.reject(code, Some(q850)),
            Behaviour::Receive(receive) => self.receive(call, receive).await,
        }
    }
}

impl Machine {
    async fn receive(&self, call: IncomingCall, receive: Receive) {
        let name = self.name(&call);
        let mut faults = receive.faults;
        if receive.first_call == FirstCall::Fails && self.is_first(&call) {
            faults.hang_up_in_page = Some(1);
        }
        let work = match self.tray.begin(name.clone()) {
            Ok(work) => work,
            Err(error) => {
                warn!(%error, "the tray cannot be written");
                // Q.850 cause 42: switching equipment congestion.
                return call.reject(503, Some(42));
            }
        };
        let order = AnswerOrder {
            station_id: self.settings.station_id.clone(),
            receive_dir: work.folder().to_owned(),
            ecm: receive.ecm,
            max_rate_bps: receive.max_rate_bps,
            t38: receive.t38,
            reinvite_after: receive.t38.then_some(REINVITE_AFTER),
            t38_version: 0,
            max_datagram: None,
            pace: self.settings.pace,
            faults,
        };
        let work = Arc::new(Mutex::new(work));
        let seen = Call { id: self.random(), name, caller: call.caller().to_owned(), now: self.settings.now };
        let note = |note: fn(&Ledger, &Call) -> std::io::Result<()>| {
            let noted = self.ledger.as_ref().map_or(Ok(()), |ledger| note(ledger, &seen));
            if let Err(error) = noted {
                warn!(%error, "the ledger cannot be written");
            }
        };
        note(Ledger::begin);
        let observer = Receiver::new(seen.clone(), work.clone(), self.ledger.clone());
        let report = call.answer(order, Box::new(observer), CancellationToken::new()).await;
        note(Ledger::end);
        let closed = tokio::task::spawn_blocking(move || close(&work, &report)).await;
        if let Ok(Err(error)) = closed {
            warn!(%error, "the fax stays in the tray's work file until the next start");
        }
    }

    fn name(&self, call: &IncomingCall) -> FaxName {
        FaxName::new(call.number(), call.fax_id(), self.random())
    }

    fn random(&self) -> u64 {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).u64(..)
    }

    /// Whether this fax was never seen before. Its id names it, or who calls whom.
    fn is_first(&self, call: &IncomingCall) -> bool {
        let key = match call.fax_id() {
            Some(id) => id.to_owned(),
            None => format!("{} {}", call.caller(), call.number()),
        };
        let mut seen = self.failed_once.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains(&key) {
            return false;
        }
        if seen.len() == FIRST_CALLS_MAX {
            seen.pop_front();
        }
        seen.push_back(key);
        true
    }
}

/// A complete fax was closed by its last page; what is still open now was broken off.
fn close(work: &Mutex<tray::Work>, report: &CallReport) -> std::io::Result<()> {
    let broken = work.lock().unwrap_or_else(PoisonError::into_inner).close(false)?;
    let code = report.t30.as_ref().map(|t30| t30.code);
    info!(?code, pages = report.last_page_confirmed, partial = ?broken, "call received");
    Ok(())
}
