//! The pretend fax machine alone, for tests that drive it from outside.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use foip::far_end::{FarEnd, FarEndSettings};

use super::exit::{Exit, Failed, Outcome};
use super::out::Out;
use crate::config::values;

/// Answers calls as the sandbox's pretend fax machine does
#[derive(Debug, Args)]
#[command(hide = true, after_help = "Example: faxwell far-end --listen 127.0.0.1:5070 --tray /tmp/tray")]
pub(super) struct FarEndArgs {
    /// SIP address; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Folder for received faxes
    #[arg(long, value_name = "DIR")]
    tray: PathBuf,
    /// One line for each confirmed page
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
    let far_end = start(args.listen, args.tray.clone(), args.ledger, args.pace).await?;
    let object = serde_json::json!({ "sip": far_end.local_addr().to_string(), "tray": args.tray });
    if out.json() {
        out.object(&object)?;
    } else {
        out.line(&format!("listening on {}, tray {}", far_end.local_addr(), args.tray.display()))?;
    }
    super::gateway::stop_signal().await?;
    far_end.stop().await;
    Ok(Exit::Ok)
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
