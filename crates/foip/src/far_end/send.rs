//! The far end calls: a document goes to a gateway as anybody's fax machine would send it.
//!
//! In: a TIFF-F file and whom to call. Out: the call's report, and in the ledger what a witness must know: that the call
//! began, each page that the gateway confirmed (durable before the next page begins), how it ended. A ledger that cannot be
//! written ends the call.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use fax_image::tiff::TiffReader;
use tokio_util::sync::CancellationToken;

use super::ledger::{Call, Ledger, raster_sha256};
use super::tray::FaxName;
use super::{CALLS_MAX, FarEndError};
use crate::agent::{Agent, AgentSettings};
use crate::call::{CallEvent, CallObserver, CallOrder, CallReport, Pace, Refusal, TrunkSettings};
use crate::media::Faults;

/// A fax to send.
#[derive(Debug, Clone)]
pub struct SendFax {
    /// SIP address of the gateway.
    pub gateway: SocketAddr,
    /// The number that it is to answer for (DID).
    pub number: String,
    /// The calling number.
    pub caller: String,
    /// TSI, at most 20 characters of digits, plus and space.
    pub station_id: String,
    /// T.33 subaddress, sent as T.30 SUB.
    pub subaddress: Option<String>,
    /// TIFF-F, fine or standard, 1728 pixels wide.
    pub document: PathBuf,
    /// Pages of it to send.
    pub page_count: u32,
    /// Goes with the call as `X-Fax-Id`, and into the ledger; a random one when absent.
    pub fax_id: Option<String>,
    /// Hang up in the middle of this page, counted from 1.
    pub hang_up_in_page: Option<u32>,
    /// Whether T.38 is accepted.
    pub t38: bool,
    /// Whether error correction is used.
    pub ecm: bool,
    /// Lock-step when the gateway can do so too.
    pub pace: Pace,
}

/// How such a call ended, as far as its sender can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendOutcome {
    /// All pages are confirmed.
    Sent,
    /// The last page has left, and its confirmation did not come.
    LastPageUnconfirmed,
    /// The call broke before.
    Broken,
    /// It was not answered.
    NotAnswered,
}

impl SendOutcome {
    /// What a report says about a document of so many pages.
    #[must_use]
    pub fn of(report: &CallReport, page_count: u32) -> Self {
        let answered = report.sip.as_ref().is_some_and(|sip| (200..300).contains(&sip.code));
        match () {
            () if report.last_page_confirmed >= page_count => Self::Sent,
            () if !answered => Self::NotAnswered,
            () if report.all_pages_sent => Self::LastPageUnconfirmed,
            () => Self::Broken,
        }
    }

    /// As ledgers and programs read it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::LastPageUnconfirmed => "last-page-unconfirmed",
            Self::Broken => "broken",
            Self::NotAnswered => "not-answered",
        }
    }
}

/// Where a [`Caller`] lives.
#[derive(Debug, Clone)]
pub struct CallerSettings {
    /// SIP and media address. Port 0 takes a free one.
    pub bind: SocketAddr,
    /// JSON lines are appended to this file.
    pub ledger: Option<PathBuf>,
    /// The time, for the ledger.
    pub now: fn() -> SystemTime,
    /// Starts the random choices.
    pub seed: u64,
}

/// A fax machine that only calls.
pub struct Caller {
    agent: Agent,
    ledger: Option<Ledger>,
    ledger_path: PathBuf,
    now: fn() -> SystemTime,
    random: Mutex<fastrand::Rng>,
}

impl Caller {
    /// Opens its sockets and its ledger. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When the address is taken or the ledger cannot be written.
    pub async fn start(settings: CallerSettings) -> Result<Self, FarEndError> {
        let ledger_path = settings.ledger.clone().unwrap_or_default();
        let ledger = match &settings.ledger {
            Some(path) => Some(Ledger::open(path).map_err(FarEndError::storage(path))?),
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
        // Not the stream of numbers that the agent draws from.
        let random = Mutex::new(fastrand::Rng::with_seed(!settings.seed));
        Ok(Self { agent, ledger, ledger_path, now: settings.now, random })
    }

    /// Places one call and returns its evidence; [`SendOutcome::of`] reads it.
    ///
    /// # Errors
    /// When the document cannot be read or the ledger cannot be written; a call that fails is a report.
    pub async fn send(&self, fax: SendFax) -> Result<CallReport, FarEndError> {
        let storage = || FarEndError::storage(&self.ledger_path);
        let hashes = page_hashes(&fax).await?;
        let (id, name) = {
            let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
            (random.u64(..), FaxName::new(&fax.number, fax.fax_id.as_deref(), random.u64(..)))
        };
        let call = Call { id, name, caller: fax.caller.clone(), now: self.now };
        if let Some(ledger) = &self.ledger {
            ledger.send_begin(&call, fax.page_count).map_err(storage())?;
        }
        let page_count = fax.page_count;
        let faults = Faults { hang_up_in_page: fax.hang_up_in_page, ..Faults::default() };
        let observer = Sender { call: call.clone(), ledger: self.ledger.clone(), hashes };
        let order = order(fax, call.name.id());
        let report = self.agent.call_with(order, faults, Box::new(observer), CancellationToken::new()).await;
        if let Some(ledger) = &self.ledger {
            let outcome = SendOutcome::of(&report, page_count).as_str();
            ledger.send_end(&call, report.last_page_confirmed, outcome).map_err(storage())?;
        }
        Ok(report)
    }

    /// Ends all calls and closes the sockets.
    pub async fn stop(&self) {
        self.agent.stop().await;
    }

    pub(super) fn agent(&self) -> &Agent {
        &self.agent
    }

    pub(super) fn ledger(&self) -> Option<&Ledger> {
        self.ledger.as_ref()
    }
}

fn order(fax: SendFax, fax_id: &str) -> CallOrder {
    let trunk = TrunkSettings {
        name: "far end".to_owned(),
        server: fax.gateway.to_string(),
        user: None,
        password: None,
        number: fax.caller,
        t38: fax.t38,
        fallback_g711: true,
        // The called side asks for T.38.
        reinvite_after: None,
        ecm: fax.ecm,
        max_rate_bps: 14_400,
        t38_version: 0,
        max_datagram: None,
        pace: fax.pace,
        invite_timeout: Duration::from_secs(5),
        ring_timeout: Duration::from_secs(60),
    };
    CallOrder {
        trunk,
        number: fax.number,
        station_id: fax.station_id,
        document: fax.document,
        page_count: fax.page_count,
        first_page: 1,
        subaddress: fax.subaddress,
        allow_t38: fax.t38,
        fax_id: fax_id.to_owned(),
    }
}

/// Of each page to send, in order.
async fn page_hashes(fax: &SendFax) -> Result<Vec<String>, FarEndError> {
    let (path, count) = (fax.document.clone(), fax.page_count as usize);
    let read = move || {
        let file = std::fs::read(&path).map_err(|error| error.to_string())?;
        let reader = TiffReader::open(&file).map_err(|error| error.to_string())?;
        if count == 0 || reader.page_count() < count {
            return Err(format!("it has {} pages, asked for {count}", reader.page_count()));
        }
        let hash = |page| reader.decode(page).map(|raster| raster_sha256(&raster)).map_err(|error| error.to_string());
        (0..count).map(hash).collect::<Result<Vec<_>, String>>()
    };
    let read = tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| Err(error.to_string()));
    read.map_err(|cause| FarEndError::Document { path: fax.document.clone(), cause })
}

/// Notes what the gateway confirms.
struct Sender {
    call: Call,
    ledger: Option<Ledger>,
    hashes: Vec<String>,
}

impl CallObserver for Sender {
    fn event(&mut self, event: CallEvent) -> Result<(), Refusal> {
        if let (CallEvent::Page { page, .. }, Some(ledger)) = (event, &self.ledger) {
            let hash = page.checked_sub(1).and_then(|index| self.hashes.get(index as usize));
            let noted = ledger.send_page(&self.call, page, hash.map_or("", String::as_str));
            noted.map_err(|error| Refusal(format!("the ledger cannot be written: {error}")))?;
        }
        Ok(())
    }
}
