//! The pretend fax machine of the sandbox: a second SIP agent that answers every number.
//!
//! A call comes in, its number says what happens (`numbers`, one table), a received page goes durably into the tray's work
//! file and into the ledger before it is confirmed (`receive`, `tray`, `ledger`), and a finished fax becomes one TIFF. A
//! tray or ledger that cannot be written ends the call without confirming the page, as a machine out of memory would.
//! Nothing here is known to the caller: it meets this end over SIP, RTP and UDPTL alone.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::agent::{Agent, AgentError, AgentSettings, AnswerOrder, CallHandler, IncomingCall};
use crate::call::{CallReport, Pace};

mod ledger;
mod numbers;
mod receive;
mod tray;

use ledger::Ledger;
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
    /// One line for each confirmed page, when a test needs a witness outside.
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
}

/// A running pretend fax machine.
pub struct FarEnd {
    agent: Agent,
}

impl FarEnd {
    /// Recovers what a killed predecessor had confirmed and begins to answer. Must be called in a tokio runtime.
    pub async fn start(settings: FarEndSettings) -> Result<Self, FarEndError> {
        let storage = |path: &PathBuf| {
            let path = path.clone();
            move |cause| FarEndError::Storage { path, cause }
        };
        let tray = Tray::open(&settings.tray).map_err(storage(&settings.tray))?;
        let ledger = match &settings.ledger {
            Some(path) => Some(Ledger::open(path).map_err(storage(path))?),
            None => None,
        };
        let agent = Agent::start(AgentSettings {
            bind: settings.bind,
            advertised: None,
            media_ports: None,
            user_agent: "faxwell-far-end".to_owned(),
            incoming_max: CALLS_MAX,
            seed: settings.seed,
        })
        .await?;
        let machine = Machine {
            random: Mutex::new(fastrand::Rng::with_seed(settings.seed)),
            settings,
            tray,
            ledger,
            failed_once: Mutex::new(VecDeque::new()),
        };
        agent.incoming(Arc::new(machine));
        Ok(Self { agent })
    }

    /// The address that SIP listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.agent.local_addr()
    }

    /// Dialogs that are open, for tests.
    #[must_use]
    pub fn dialog_count(&self) -> usize {
        self.agent.dialog_count()
    }

    /// Ends all calls and closes the sockets.
    pub async fn stop(&self) {
        self.agent.stop().await;
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
        let observer = Receiver::new(name, work.clone(), self.ledger.clone(), self.settings.now);
        let report = call.answer(order, Box::new(observer), CancellationToken::new()).await;
        let closed = tokio::task::spawn_blocking(move || close(&work, &report)).await;
        if let Ok(Err(error)) = closed {
            warn!(%error, "the fax stays in the tray's work file until the next start");
        }
    }

    fn name(&self, call: &IncomingCall) -> FaxName {
        let random = self.random.lock().unwrap_or_else(PoisonError::into_inner).u64(..);
        FaxName::new(call.number(), call.fax_id(), random)
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
