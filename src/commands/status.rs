//! `status`: one screen about the gateway.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;

use super::client::Client;
use super::exit::{Exit, Failed, Outcome};
use super::out::{Out, Paint, local_time};
use super::place::Place;
use crate::console::view::StatusView;

/// Show the gateway on one screen: lines, calls, what waits, what failed
#[derive(Debug, Args)]
#[command(after_help = "Example: faxwell status --watch")]
pub(super) struct StatusArgs {
    /// Show it again every two seconds until Ctrl-C
    #[arg(long)]
    watch: bool,
}

const PERIOD: Duration = Duration::from_secs(2);

pub(super) async fn run(args: StatusArgs, place: Place, out: Out) -> Outcome {
    let client = Client::new(&place.socket()?);
    show(&client, out).await?;
    if !args.watch {
        return Ok(Exit::Ok);
    }
    loop {
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Ok),
        }
        if !out.json() && std::io::stdout().is_terminal() {
            // Home and clear to the end: the screen does not flicker. Ours, not part of any text.
            print!("\u{1b}[H\u{1b}[J");
        }
        show(&client, out).await?;
    }
}

async fn show(client: &Client, out: Out) -> Result<(), Failed> {
    let status: StatusView = client.get("/api/v1/status").await?;
    if out.json() {
        return out.object(&status);
    }
    let counted = |counts: &BTreeMap<String, u64>| {
        let parts: Vec<String> =
            counts.iter().filter(|(_, count)| **count > 0).map(|(name, count)| format!("{count} {name}")).collect();
        if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
    };
    let mut lines = vec![
        (
            "Gateway",
            format!(
                "{} {}, domain {}{}",
                status.node,
                status.version,
                status.domain,
                if status.sandbox { " (sandbox: nothing is dialled)" } else { "" }
            ),
        ),
        ("SMTP", status.smtp.join(", ")),
        ("Web", status.web.clone().unwrap_or_else(|| "off".to_owned())),
        ("Faxes", counted(&status.faxes)),
        ("Calls now", status.calls.to_string()),
        (
            "Longest wait",
            status
                .oldest_waiting
                .as_deref()
                .map_or_else(|| "nobody waits".to_owned(), |time| format!("since {}", local_time(time))),
        ),
        ("Mails", counted(&status.notices)),
        ("Causes, 24 h", counted(&status.causes_24h)),
    ];
    if status.parked_facts > 0 {
        let words = format!("{} of calls that the store has lost; told again every minute", status.parked_facts);
        lines.push(("Parked facts", out.paint(&words, Paint::Bad)));
    }
    if let Some(storage) = &status.storage {
        let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
        let documents = match (storage.documents, storage.documents_bytes) {
            (Some(count), Some(bytes)) => format!(", {count} documents of {}", megabytes(bytes)),
            _ => String::new(),
        };
        lines.push(("Store", format!("{}{documents}", megabytes(storage.database_bytes))));
        let oldest = storage.oldest.as_deref().map_or_else(|| "nothing".to_owned(), local_time);
        let next = storage.next_prune.as_deref().map_or_else(|| "soon".to_owned(), local_time);
        lines.push(("Oldest kept", format!("{oldest}, next prune about {next}")));
    }
    for line in &status.lines {
        let word = if line.up { out.paint("up", Paint::Good) } else { out.paint("DOWN", Paint::Bad) };
        lines.push((
            "Line",
            format!(
                "{} on {}: {word}, {} of {} calls {}",
                line.line, line.node, line.calls, line.channels, line.detail
            ),
        ));
    }
    for node in &status.nodes {
        let seen = local_time(&node.seen_at);
        lines.push(("Node", format!("{} ({}), {}, seen {seen}", node.node, node.roles, node.standing)));
    }
    lines.iter().try_for_each(|(name, text)| out.line(format!("{name:<13} {text}").trim_end()))
}
