//! `log`: what happened, from the journal of the store; one fax's whole story, or everybody's.

use std::time::Duration;

use clap::Args;

use super::client::{Client, encoded};
use super::exit::{Exit, Failed, Outcome};
use super::fax::since_time;
use super::out::{Out, local_time_with_zone, localised};
use super::place::Place;
use crate::console::view::{EventList, EventView};

/// Show what happened, oldest first: all of one fax, or the newest of everybody
#[derive(Debug, Args)]
#[command(after_help = "Example: faxwell log F-8KQ2XW4DZP --follow")]
pub(super) struct LogArgs {
    /// A fax (F-…), a received fax (R-…) or a message (M-…); everybody's newest events without it
    id: Option<String>,
    /// Go on until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Only what happened since: an age as in 2h, or a time as in 2024-01-31T10:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

/// Events of everybody that are shown when nothing else is asked for.
const NEWEST: u32 = 50;
/// How often the journal is asked for more.
const PERIOD: Duration = Duration::from_millis(500);
/// A gateway that starts anew is waited for this many periods; nothing is missed meanwhile.
const AWAY_MAX: u32 = 240;

pub(super) async fn run(args: LogArgs, place: Place, out: Out) -> Outcome {
    let client = Client::new(&place.socket()?);
    let of = args.id.as_deref().map(|id| format!("&of={}", encoded(id))).unwrap_or_default();
    let first = match (&args.since, &args.id) {
        (Some(since), _) => format!("since={}{of}", encoded(&since_time(since)?)),
        (None, Some(_)) => format!("after=0{of}"),
        (None, None) => format!("last={NEWEST}"),
    };
    let mut part: EventList = client.get(&format!("/api/v1/events?{first}")).await?;
    let mut shown = 0_usize;
    let mut away = 0;
    loop {
        part.events.iter().try_for_each(|event| print(event, out))?;
        shown += part.events.len();
        if !part.more {
            if !args.follow {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(PERIOD) => {}
                _ = tokio::signal::ctrl_c() => return Ok(Exit::Ok),
            }
        }
        match client.get(&format!("/api/v1/events?after={}{of}", part.after)).await {
            Ok(next) => (part, away) = (next, 0),
            Err(failed) if args.follow && failed.exit == Exit::Unreachable && away < AWAY_MAX => {
                away += 1;
                part = EventList { events: Vec::new(), more: false, ..part };
            }
            Err(failed) => return Err(failed),
        }
    }
    if shown == 0 {
        out.remark("nothing happened")?;
    }
    Ok(Exit::Ok)
}

fn print(event: &EventView, out: Out) -> Result<(), Failed> {
    if out.json() {
        return out.object(event);
    }
    let node = event.node.as_deref().unwrap_or("-");
    let of = event.of.as_deref().unwrap_or("-");
    out.line(&format!("{}  {of:<12}  {node}  {}", local_time_with_zone(&event.at), localised(&event.text)))
}
