//! The pretend fax machine alone, for tests that drive it from outside: it answers calls, or sends one fax.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use clap::{Args, Subcommand};
use foip::CallReport;
use foip::far_end::{Caller, CallerSettings, FarEnd, FarEndError, FarEndSettings, SendFax, SendOutcome, test_document};

use tokio::sync::watch;

use super::exit::{Exit, Failed, Outcome};
use super::out::Out;
use crate::config::values;
use crate::console::received::{TestCall, TestCallEnd, TestCalls};

/// Answers calls as the sandbox's pretend fax machine does, or calls as one
#[derive(Debug, Args)]
#[command(
    hide = true,
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true,
    after_help = "Example: faxwell far-end --listen 127.0.0.1:5070 --tray /tmp/tray"
)]
pub(super) struct FarEndArgs {
    #[command(subcommand)]
    order: Option<FarEndOrder>,
    /// SIP address; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", required = true)]
    listen: Option<SocketAddr>,
    /// Folder for received faxes
    #[arg(long, value_name = "DIR", required = true)]
    tray: Option<PathBuf>,
    /// JSON lines for calls and confirmed pages
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// real-time, or lock-step at most this many times faster, as in 30x, or max
    #[arg(long, default_value = "real-time", value_parser = pace)]
    pace: foip::call::Pace,
}

#[derive(Debug, Subcommand)]
enum FarEndOrder {
    #[command(hide = true)]
    Send(SendArgs),
}

/// Sends one fax to a gateway and prints how it ended
#[derive(Debug, Args)]
#[command(
    after_help = "Example: faxwell far-end send --gateway 127.0.0.1:5060 --did +41441234567 --from +41440000001 \
                        --pages 3 --token a17"
)]
struct SendArgs {
    /// SIP address of the gateway
    #[arg(long, value_name = "ADDRESS")]
    gateway: SocketAddr,
    /// Number to call
    #[arg(long, value_name = "NUMBER")]
    did: String,
    /// Calling number
    #[arg(long, value_name = "NUMBER")]
    from: String,
    /// Station ID; the calling number when absent
    #[arg(long, value_name = "TEXT")]
    tsi: Option<String>,
    /// T.33 subaddress
    #[arg(long, value_name = "DIGITS")]
    sub: Option<String>,
    /// Send so many pages that no other token has
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "document")]
    pages: u32,
    /// Makes the pages; a random one when absent
    #[arg(long, value_name = "TEXT", conflicts_with = "document")]
    token: Option<String>,
    /// Send this TIFF-F document
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
    /// Sent as X-Fax-Id, and noted in the ledger
    #[arg(long, value_name = "TEXT")]
    fax_id: Option<String>,
    /// Hang up in the middle of this page
    #[arg(long, value_name = "N")]
    hang_up_in_page: Option<u32>,
    /// Do without error correction
    #[arg(long)]
    no_ecm: bool,
    /// Stay on audio
    #[arg(long)]
    g711: bool,
    /// JSON lines for the call and its confirmed pages
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// real-time, or lock-step at most this many times faster, as in 30x, or max
    #[arg(long, default_value = "real-time", value_parser = pace)]
    pace: foip::call::Pace,
}

fn pace(text: &str) -> Result<foip::call::Pace, String> {
    values::pace(text).map_err(|fault| fault.message)
}

pub(super) async fn run(args: FarEndArgs, out: Out) -> Outcome {
    let FarEndArgs { order, listen, tray, ledger, pace } = args;
    if let Some(FarEndOrder::Send(args)) = order {
        return send(args, out).await;
    }
    let (listen, tray) = listen.zip(tray).expect("required without a subcommand");
    let far_end = start(listen, tray.clone(), ledger, pace).await?;
    let object = serde_json::json!({ "sip": far_end.local_addr().to_string(), "tray": tray });
    if out.json() {
        out.object(&object)?;
    } else {
        out.line(&format!("listening on {}, tray {}", far_end.local_addr(), tray.display()))?;
    }
    super::gateway::stop_signal().await?;
    far_end.stop().await;
    Ok(Exit::Ok)
}

/// Always one JSON object: programs alone use this.
async fn send(args: SendArgs, out: Out) -> Outcome {
    let made = tempfile::tempdir().map_err(|error| document_failed("a temporary folder", &error))?;
    let (document, page_count) = match &args.document {
        Some(path) => (path.clone(), page_count(path)?),
        None => (make(made.path(), &args)?, args.pages),
    };
    let fax = SendFax {
        gateway: args.gateway,
        number: args.did,
        station_id: args.tsi.unwrap_or_else(|| args.from.clone()),
        caller: args.from,
        subaddress: args.sub,
        document,
        page_count,
        fax_id: args.fax_id,
        hang_up_in_page: args.hang_up_in_page,
        t38: !args.g711,
        ecm: !args.no_ecm,
        pace: args.pace,
    };
    let settings = CallerSettings {
        bind: SocketAddr::new(address_towards(args.gateway.ip()), 0),
        ledger: args.ledger,
        now: machine_time,
        seed: fastrand::u64(..),
    };
    let caller = Caller::start(settings).await.map_err(call_failed)?;
    let report = caller.send(fax).await.map_err(call_failed)?;
    caller.stop().await;
    let outcome = SendOutcome::of(&report, page_count);
    out.object(&told(&report, outcome, page_count))?;
    Ok(match outcome {
        SendOutcome::Sent => Exit::Ok,
        SendOutcome::LastPageUnconfirmed => Exit::OutcomeUnknown,
        SendOutcome::Broken | SendOutcome::NotAnswered => Exit::FaxFailed,
    })
}

fn told(report: &CallReport, outcome: SendOutcome, pages: u32) -> serde_json::Value {
    serde_json::json!({
        "outcome": outcome.as_str(),
        "pages": pages,
        "pages_confirmed": report.last_page_confirmed,
        "sip": report.sip.as_ref().map(|sip| sip.code),
        "t30": report.t30.as_ref().map(|t30| t30.code),
        "transport": report.transport.map(|transport| format!("{transport:?}")),
        "ecm": report.ecm,
        "rate_bps": report.rate_bps,
        "remote_id": report.remote_id,
        "refused": report.refused,
        "duration_ms": u64::try_from(report.duration.as_millis()).unwrap_or(u64::MAX),
    })
}

fn make(folder: &Path, args: &SendArgs) -> Result<PathBuf, Failed> {
    let token = args.token.clone().unwrap_or_else(|| format!("{:016x}", fastrand::u64(..)));
    let octets = test_document(&token, args.pages).map_err(|error| document_failed("the test pages", &error))?;
    let path = folder.join("pages.tif");
    std::fs::write(&path, octets).map_err(|error| document_failed("the test pages", &error))?;
    Ok(path)
}

fn page_count(path: &Path) -> Result<u32, Failed> {
    let failed = |error: &dyn std::fmt::Display| document_failed(&path.display().to_string(), error);
    let file = std::fs::read(path).map_err(|error| failed(&error))?;
    let reader = fax_image::tiff::TiffReader::open(&file).map_err(|error| failed(&error))?;
    u32::try_from(reader.page_count()).map_err(|error| failed(&error))
}

/// Of the same family, and reachable from there.
fn address_towards(gateway: IpAddr) -> IpAddr {
    match gateway {
        address if address.is_loopback() => address,
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn document_failed(what: &str, error: &dyn std::fmt::Display) -> Failed {
    let fix = "give a TIFF-F document with --document, or 1 to 1000 pages with --pages";
    Failed::new(Exit::Failed, format!("cannot use {what}"), error.to_string(), fix)
}

fn call_failed(error: FarEndError) -> Failed {
    let fix = "check --gateway, and let it write its ledger";
    Failed::because(Exit::Failed, "the pretend fax machine cannot call", &error, fix)
}

/// As fast as both ends can; the line's own pace bounds it.
const SANDBOX_PACE: foip::call::Pace = foip::call::Pace::LockStep(30.0);

/// The pretend fax machine as a caller of the sandbox's own line.
pub(super) struct Calling {
    line: watch::Receiver<Option<SocketAddr>>,
}

impl Calling {
    /// Calls go to the address where the line listens then.
    pub(super) fn new(line: watch::Receiver<Option<SocketAddr>>) -> Self {
        Self { line }
    }

    async fn place(&self, call: TestCall) -> Result<TestCallEnd, String> {
        let line = (*self.line.borrow()).ok_or("the line takes no calls: this node is out of service")?;
        let made = tempfile::tempdir().map_err(|error| error.to_string())?;
        let document = made.path().join("pages.tif");
        let token = format!("{:016x}", fastrand::u64(..));
        let octets = test_document(&token, call.pages).map_err(|error| error.to_string())?;
        tokio::fs::write(&document, octets).await.map_err(|error| error.to_string())?;
        let settings = CallerSettings {
            bind: SocketAddr::new(address_towards(line.ip()), 0),
            ledger: None,
            now: machine_time,
            seed: fastrand::u64(..),
        };
        let caller = Caller::start(settings).await.map_err(|error| error.to_string())?;
        let fax = SendFax {
            gateway: line,
            number: call.did,
            station_id: call.tsi.unwrap_or_else(|| call.from.clone()),
            caller: call.from,
            subaddress: call.sub,
            document,
            page_count: call.pages,
            fax_id: None,
            hang_up_in_page: call.hang_up_in_page,
            t38: true,
            ecm: true,
            pace: SANDBOX_PACE,
        };
        let report = caller.send(fax).await;
        caller.stop().await;
        let report = report.map_err(|error| error.to_string())?;
        Ok(TestCallEnd {
            outcome: SendOutcome::of(&report, call.pages).as_str().to_owned(),
            pages_confirmed: report.last_page_confirmed,
            sip: report.sip.as_ref().map(|sip| sip.code),
        })
    }
}

#[async_trait]
impl TestCalls for Calling {
    async fn call(&self, call: TestCall) -> Result<TestCallEnd, String> {
        self.place(call).await
    }
}

/// How long the pretend machine rings.
const RING: Duration = Duration::from_millis(100);

/// Starts the pretend fax machine.
pub(super) async fn start(
    bind: SocketAddr,
    tray: PathBuf,
    ledger: Option<PathBuf>,
    pace: foip::call::Pace,
) -> Result<FarEnd, Failed> {
    let settings = FarEndSettings {
        bind,
        tray,
        ledger,
        pace,
        ring_delay: RING,
        station_id: "+999 SANDBOX".to_owned(),
        now: machine_time,
        seed: fastrand::u64(..),
    };
    FarEnd::start(settings).await.map_err(|error| {
        let fix = "use other ports with --port N, or a data directory of your own with --data DIR";
        Failed::new(Exit::Failed, "the pretend fax machine cannot start", error.to_string(), fix)
    })
}

#[expect(clippy::disallowed_methods, reason = "the far end is another machine: it has a clock of its own")]
fn machine_time() -> std::time::SystemTime {
    std::time::SystemTime::now()
}
