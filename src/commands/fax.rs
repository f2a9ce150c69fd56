//! `fax list|show|watch|pages`; what changes a fax is in `orders`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::client::{Client, encoded};
use super::exit::{Exit, Failed, Outcome};
use super::follow::{self, Follow};
use super::orders::{self, OrderArgs, RedeliverArgs, RetryArgs};
use super::out::{Out, Paint, cut, local_time, localised};
use super::place::Place;
use crate::config::values;
use crate::console::view::{FaxDetail, FaxList, FaxView, OrderName};
use crate::domain::{Clock as _, FaxState, SystemClock};

/// List, show and follow faxes; hold, cancel or send them once more
#[derive(Debug, Subcommand)]
pub(super) enum FaxCommand {
    /// List faxes, newest first
    #[command(after_help = "Example: faxwell fax list --failed --since 2h")]
    List(ListArgs),
    /// Show one fax: facts, calls, pages, cause and fix
    #[command(after_help = "Example: faxwell fax show F-8KQ2XW4DZP")]
    Show {
        /// Its id
        id: String,
    },
    /// Follow a fax until its report is on its way; without an id the newest one
    #[command(after_help = "Example: faxwell fax watch F-8KQ2XW4DZP --json")]
    Watch {
        /// Its id
        id: Option<String>,
    },
    /// Fetch the pages as they are sent: TIFF, PDF, or one page as PNG
    #[command(after_help = "Example: faxwell fax pages F-8KQ2XW4DZP --page 1 -o page1.png")]
    Pages(PagesArgs),
    /// Call now what waits, or send an ended fax once more, from the first page that did not arrive, as a new fax
    #[command(after_help = "Example: faxwell fax retry F-8KQ2XW4DZP F-9M3T5VXZ01")]
    Retry(RetryArgs),
    /// End faxes; a page on the wire is finished first
    #[command(after_help = "Example: faxwell fax cancel F-8KQ2XW4DZP --by anna")]
    Cancel(OrderArgs),
    /// Keep faxes back until they are released; their time to give up stands still
    #[command(after_help = "Example: faxwell fax hold F-8KQ2XW4DZP")]
    Hold(OrderArgs),
    /// Let held faxes go on
    #[command(after_help = "Example: faxwell fax release F-8KQ2XW4DZP")]
    Release(OrderArgs),
    /// Deliver the report of a fax, or a received fax, once more, under the same Message-ID
    #[command(after_help = "Example: faxwell fax redeliver F-8KQ2XW4DZP --to anna@example.com")]
    Redeliver(RedeliverArgs),
    /// Keep faxes from retention until told otherwise: a legal hold
    #[command(after_help = "Example: faxwell fax keep F-8KQ2XW4DZP")]
    Keep(super::keep::KeepArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only these states, with commas: accepted, ready, held, sent, partial, failed, unknown, cancelled
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Only what did not arrive or may not have: failed, partial, unknown
    #[arg(long, conflicts_with = "state")]
    failed: bool,
    /// Only numbers that begin so
    #[arg(long, value_name = "NUMBER")]
    to: Option<String>,
    /// Only senders whose address holds this
    #[arg(long, value_name = "TEXT")]
    from: Option<String>,
    /// Only what was accepted since: an age as in 2h, or a time as in 2024-01-31T10:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// At most this many
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=999))]
    limit: u32,
}

#[derive(Debug, Args)]
pub(super) struct PagesArgs {
    /// The fax's id
    id: String,
    /// File to write; its ending chooses the format (.tif, .pdf, .png)
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// This page only, as PNG, counted from 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    page: Option<u32>,
}

pub(super) async fn run(command: FaxCommand, place: Place, out: Out) -> Outcome {
    let client = Client::new(&place.socket()?);
    match command {
        FaxCommand::List(args) => list(args, &client, out).await,
        FaxCommand::Show { id } => show(&id, &client, out).await,
        FaxCommand::Watch { id } => watch(id, &client, out).await,
        FaxCommand::Pages(args) => pages(args, &client, out).await,
        FaxCommand::Retry(args) => orders::retry(args, &client, out).await,
        FaxCommand::Cancel(args) => orders::simple(OrderName::Cancel, args, &client, out).await,
        FaxCommand::Hold(args) => orders::simple(OrderName::Hold, args, &client, out).await,
        FaxCommand::Release(args) => orders::simple(OrderName::Release, args, &client, out).await,
        FaxCommand::Redeliver(args) => orders::redeliver(args, &client, out).await,
        FaxCommand::Keep(args) => super::keep::keep(args, &client, out).await,
    }
}

async fn list(args: ListArgs, client: &Client, out: Out) -> Outcome {
    let found: FaxList = client.get(&format!("/api/v1/faxes?{}", query(&args)?)).await?;
    if out.json() {
        found.faxes.iter().try_for_each(|fax| out.object(fax))?;
        return Ok(Exit::Ok);
    }
    if found.faxes.is_empty() {
        out.remark("no faxes")?;
    }
    let row = |fax: &FaxView| {
        let pages = fax.pages.map_or_else(|| "-".to_owned(), |pages| format!("{}/{pages}", fax.pages_confirmed));
        let why = fax.cause.as_ref().map_or_else(String::new, |cause| format!("{}: ", cause.title));
        let subject = fax.subject.as_deref().unwrap_or("");
        let state = if fax.in_call { "calling".to_owned() } else { fax.state.to_string() };
        let state = if fax.legal_hold { format!("{state}, kept") } else { state };
        vec![
            fax.short.clone(),
            state,
            fax.number.clone(),
            pages,
            local_time(&fax.accepted_at),
            cut(&format!("{why}{subject}"), 60),
        ]
    };
    out.table(
        &["FAX", "STATE", "TO", "PAGES", "ACCEPTED", "SUBJECT"],
        &found.faxes.iter().map(row).collect::<Vec<_>>(),
    )?;
    if found.truncated {
        let more = found.more.map_or_else(|| "more".to_owned(), |more| format!("{more} more"));
        out.remark(&format!("… and {more}: narrow the list (--state, --to, --since), or ask for more with --limit"))?;
    }
    Ok(Exit::Ok)
}

fn query(args: &ListArgs) -> Result<String, Failed> {
    let mut parts = vec![format!("limit={}", args.limit)];
    let states = if args.failed { Some("failed,partial,unknown") } else { args.state.as_deref() };
    if let Some(states) = states {
        if let Some(error) = states.split(',').find_map(|word| word.parse::<FaxState>().err()) {
            return Err(Failed::new(Exit::Usage, "unknown state", error.to_string(), "see: faxwell fax list --help"));
        }
        parts.push(format!("state={}", encoded(states)));
    }
    for (name, value) in [("to", &args.to), ("from", &args.from)] {
        parts.extend(value.as_deref().map(|value| format!("{name}={}", encoded(value))));
    }
    if let Some(since) = &args.since {
        parts.push(format!("since={}", encoded(&since_time(since)?)));
    }
    Ok(parts.join("&"))
}

pub(super) fn since_time(text: &str) -> Result<String, Failed> {
    if let Ok(age) = values::duration(text) {
        let now = SystemClock.now();
        let since = crate::domain::Timestamp(now.0.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)));
        return Ok(since.to_string());
    }
    let parsed = text.parse::<jiff::Timestamp>().map(|time| time.to_string());
    parsed.map_err(|_| {
        let fix = "write an age as in 2h or 3d, or a time as in 2024-01-31T10:00:00Z";
        Failed::new(
            Exit::Usage,
            format!("--since \"{text}\" is not a time"),
            "it is neither an age nor an RFC 3339 time",
            fix,
        )
    })
}

async fn show(id: &str, client: &Client, out: Out) -> Outcome {
    let detail: FaxDetail = client.get(&format!("/api/v1/faxes/{}", encoded(id))).await?;
    if out.json() {
        out.object(&detail)?;
        return Ok(Exit::Ok);
    }
    print_facts(&detail.fax, out)?;
    if let Some(next) = &detail.retried_as {
        out.line(&format!("Sent again    as {next}"))?;
    }
    if let Some(memory) = &detail.destination {
        let until = local_time(&memory.avoid_t38_until);
        out.line(&format!("Number        audio alone until {until}: {}", memory.detail))?;
    }
    for call in &detail.calls {
        let carried = call.transport.as_deref().unwrap_or("not carried");
        let rate = call.rate_bps.map_or_else(String::new, |rate| format!(", {rate} bit/s"));
        let far = call.remote_id.as_deref().map_or_else(String::new, |far| format!(", far end {far}"));
        out.line(&format!(
            "Call {:<8} {} on {}, {carried}{rate}{far}: {}",
            call.number,
            local_time(&call.started_at),
            call.line,
            call.detail
        ))?;
    }
    for page in &detail.confirmed {
        let resent =
            if page.blocks_resent > 0 { format!(", {} blocks resent", page.blocks_resent) } else { String::new() };
        let time = page.duration_ms as f64 / 1000.0;
        out.line(&format!(
            "Page {:<8} confirmed {} in call {}, {time:.1} s{resent}",
            page.page,
            local_time(&page.confirmed_at),
            page.call
        ))?;
    }
    for notice in &detail.notices {
        let whom = notice.recipient.as_deref().unwrap_or("nobody");
        out.line(&format!(
            "Mail          {} to {whom}: {} {}",
            notice.kind,
            notice.state,
            notice.detail.as_deref().unwrap_or("")
        ))?;
    }
    detail.events.iter().try_for_each(|event| {
        out.line(&format!("              {} {}", local_time(&event.at), localised(&event.text)))
    })?;
    Ok(Exit::Ok)
}

/// The facts of a fax, one a line, with cause and fix.
pub(super) fn print_facts(fax: &FaxView, out: Out) -> Result<(), Failed> {
    let state = state_word(fax, out);
    let pages = fax
        .pages
        .map_or_else(|| "not made yet".to_owned(), |pages| format!("{} of {pages} confirmed", fax.pages_confirmed));
    let mut lines = vec![
        ("Fax", fax.short.clone()),
        ("State", state),
        ("To", format!("{} ({})", fax.number, fax.recipient.as_deref().unwrap_or(""))),
        ("Subject", fax.subject.clone().unwrap_or_default()),
        ("From", fax.from.clone().unwrap_or_else(|| "nobody (no reports)".to_owned())),
        ("Pages", pages),
        ("Accepted", local_time(&fax.accepted_at)),
    ];
    match &fax.ended_at {
        Some(ended) => lines.push(("Ended", local_time(ended))),
        None => lines
            .push(("Next work", format!("{}, given up {}", local_time(&fax.not_before), local_time(&fax.give_up_at)))),
    }
    if let Some(first) = &fax.retry_of {
        lines.push(("Retry of", format!("{first}, from page {}", fax.begin_page)));
    }
    if let Some(order) = fax.ordered {
        lines.push(("Ordered", format!("{order}: done when nobody works on it any more")));
    }
    if fax.legal_hold {
        lines.push(("Legal hold", "kept until it is ended with: faxwell fax keep --off".to_owned()));
    }
    if let Some(cause) = &fax.cause {
        let detail = fax.detail.as_deref().map_or_else(String::new, |detail| format!(" ({detail})"));
        lines.push(("cause:", format!("{}{detail} [{}]", cause.cause, cause.slug)));
        lines.push(("fix:", cause.fix.clone()));
        lines.push(("next:", cause.next.clone()));
    }
    lines.iter().try_for_each(|(name, text)| out.line(&format!("{name:<13} {text}")))
}

/// The state in its colour, with the call that is open.
pub(super) fn state_word(fax: &FaxView, out: Out) -> String {
    let paint = match fax.state {
        FaxState::Sent => Paint::Good,
        FaxState::Failed | FaxState::Partial | FaxState::Unknown => Paint::Bad,
        FaxState::Accepted | FaxState::Ready | FaxState::Held | FaxState::Cancelled => Paint::Wait,
    };
    let calling = if fax.in_call { ", calling now" } else { "" };
    format!("{}{calling}", out.paint(fax.state.as_str(), paint))
}

async fn watch(id: Option<String>, client: &Client, out: Out) -> Outcome {
    let id = match id {
        Some(id) => id,
        None => newest(client).await?,
    };
    let end = follow::follow(client, &id, Follow::UntilReported, out).await?;
    Ok(Exit::of_fax(end.state))
}

async fn newest(client: &Client) -> Result<String, Failed> {
    let found: FaxList = client.get("/api/v1/faxes?limit=1").await?;
    let newest = found.faxes.into_iter().next().map(|fax| fax.short);
    newest.ok_or_else(|| {
        Failed::new(
            Exit::NotFound,
            "there is no fax to watch",
            "none was accepted yet",
            "send one with: faxwell send NUMBER FILE",
        )
    })
}

async fn pages(args: PagesArgs, client: &Client, out: Out) -> Outcome {
    let ending = args.output.as_deref().and_then(|path| path.extension()?.to_str()).map(str::to_ascii_lowercase);
    let id = encoded(&args.id);
    let (path, default_ending) = match (args.page, ending.as_deref()) {
        (Some(page), None | Some("png")) => (format!("/api/v1/faxes/{id}/pages/{page}.png"), "png"),
        (None, Some("png")) => (format!("/api/v1/faxes/{id}/pages/1.png"), "png"),
        (None, Some("pdf")) => (format!("/api/v1/faxes/{id}/document.pdf"), "pdf"),
        (None, None | Some("tif" | "tiff")) => (format!("/api/v1/faxes/{id}/document.tiff"), "tif"),
        (_, Some(other)) => {
            let cause = format!("\".{other}\" is not one of its formats");
            return Err(Failed::new(
                Exit::Usage,
                "cannot write these pages",
                cause,
                "end the file in .tif or .pdf; .png for one page",
            ));
        }
    };
    let bytes = client.bytes(&path).await?;
    let file = args.output.unwrap_or_else(|| PathBuf::from(format!("{}.{default_ending}", args.id)));
    write_file(&file, &bytes)?;
    if out.json() {
        out.object(&serde_json::json!({ "file": file, "size_bytes": bytes.len() }))?;
    } else {
        out.remark(&format!("wrote {} ({} octets)", file.display(), bytes.len()))?;
    }
    Ok(Exit::Ok)
}

/// Writes a result; `-` is standard output.
pub(super) fn write_file(file: &std::path::Path, bytes: &[u8]) -> Result<(), Failed> {
    use std::io::Write as _;
    let written =
        if file.as_os_str() == "-" { std::io::stdout().lock().write_all(bytes) } else { std::fs::write(file, bytes) };
    written.map_err(|error| {
        Failed::new(
            Exit::Failed,
            format!("cannot write {}", file.display()),
            error.to_string(),
            "name another file with -o",
        )
    })
}
