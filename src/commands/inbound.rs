//! `inbound list|show|pages` and `inbound route list|set|rm|explain`: faxes that came in, and who gets them.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::client::{Client, encoded};
use super::exit::{Exit, Failed, Outcome};
use super::fax::{since_time, write_file};
use super::out::{Out, local_time, localised};
use super::place::Place;
use crate::config::inbound::Source;
use crate::console::received::{
    ReceivedDetail, ReceivedList, ReceivedView, RouteExplanation, RouteList, RouteView, SetRoute,
};
use crate::domain::ReceivedFormat;
use crate::domain::inbound::{Rule, USUAL_PRIORITY};

/// Show faxes that came in, and set who gets them
#[derive(Debug, Subcommand)]
pub(super) enum InboundCommand {
    /// List received faxes, newest first
    #[command(after_help = "Example: faxwell inbound list --did +4144 --since 24h")]
    List(ListArgs),
    /// Show one received fax: call, pages, mails
    #[command(after_help = "Example: faxwell inbound show R-8KQ2XW4DZP")]
    Show {
        /// Its id
        id: String,
    },
    /// Fetch the pages: PDF as the mail has it; TIFF as each came, or PNG, and several become FILE-1.tif, FILE-2.tif, …
    #[command(after_help = "Example: faxwell inbound pages R-8KQ2XW4DZP -o fax.pdf")]
    Pages(PagesArgs),
    /// Say who gets received faxes
    #[command(subcommand)]
    Route(RouteCommand),
}

/// Routes of received faxes
#[derive(Debug, Subcommand)]
pub(super) enum RouteCommand {
    /// List the routes in the order they are asked, those of the configuration too
    #[command(after_help = "Example: faxwell inbound route list")]
    List,
    /// Set a route, in place of one with its name; all conditions that are given must hold
    #[command(
        after_help = "Example: faxwell inbound route set night --did '+4144*' --times 'mon-fri 18:00-08:00; sat,sun' --to night@example.com"
    )]
    Set(Box<SetArgs>),
    /// Remove a route that was set
    #[command(after_help = "Example: faxwell inbound route rm night")]
    Rm {
        /// Its name
        name: String,
    },
    /// Show who would get a fax, and why the other routes do not take it
    #[command(after_help = "Example: faxwell inbound route explain +41440000001 --at 2027-01-04T19:00")]
    Explain(ExplainArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only called numbers that begin so
    #[arg(long, value_name = "NUMBER")]
    did: Option<String>,
    /// Only calling numbers that begin so
    #[arg(long, value_name = "NUMBER")]
    from: Option<String>,
    /// Only what came in since: an age as in 2h, or a time as in 2024-01-31T10:00:00Z
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
    /// File to write; its ending chooses the format (.pdf, .tif, .png)
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// This page only, counted from 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    page: Option<u32>,
}

#[derive(Debug, Args)]
pub(super) struct SetArgs {
    /// Name: lower-case letters, digits and hyphens
    name: String,
    /// Called number, or its beginning with a star, as in '+4144*'
    #[arg(long, value_name = "NUMBER")]
    did: Option<String>,
    /// Calling number, or its beginning with a star
    #[arg(long, value_name = "NUMBER")]
    from: Option<String>,
    /// Station ID of the sending machine; * stands for any characters
    #[arg(long, value_name = "TEXT")]
    tsi: Option<String>,
    /// Subaddress that the sender asked for
    #[arg(long, value_name = "DIGITS")]
    sub: Option<String>,
    /// When it holds, as in 'mon-fri 08:00-18:00; sat 09:00-12:00'
    #[arg(long, value_name = "TIMES")]
    times: Option<String>,
    /// Routes with a lower number are asked first
    #[arg(long, value_name = "N", default_value_t = USUAL_PRIORITY)]
    priority: i32,
    /// Mailboxes, with commas
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', required = true)]
    to: Vec<String>,
    /// What the mail carries: pdf, tiff, both or text
    #[arg(long, value_name = "FORMAT", default_value = "pdf")]
    format: ReceivedFormat,
}

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// Called number
    did: String,
    /// Calling number
    #[arg(long, value_name = "NUMBER")]
    from: Option<String>,
    /// Station ID of the sending machine
    #[arg(long, value_name = "TEXT")]
    tsi: Option<String>,
    /// Subaddress
    #[arg(long, value_name = "DIGITS")]
    sub: Option<String>,
    /// At this time instead of now, as in 2027-01-04T19:00 on this machine's clocks
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

pub(super) async fn run(command: InboundCommand, place: Place, out: Out) -> Outcome {
    let client = Client::new(&place.socket()?);
    match command {
        InboundCommand::List(args) => list(args, &client, out).await,
        InboundCommand::Show { id } => show(&id, &client, out).await,
        InboundCommand::Pages(args) => pages(args, &client, out).await,
        InboundCommand::Route(RouteCommand::List) => routes(&client, out).await,
        InboundCommand::Route(RouteCommand::Set(args)) => set(*args, &client, out).await,
        InboundCommand::Route(RouteCommand::Rm { name }) => remove(&name, &client, out).await,
        InboundCommand::Route(RouteCommand::Explain(args)) => explain(args, &client, out).await,
    }
}

async fn list(args: ListArgs, client: &Client, out: Out) -> Outcome {
    let mut query = vec![format!("limit={}", args.limit)];
    query.extend(args.did.map(|did| format!("did={}", encoded(&did))));
    query.extend(args.from.map(|from| format!("from={}", encoded(&from))));
    if let Some(since) = &args.since {
        query.push(format!("since={}", encoded(&since_time(since)?)));
    }
    let found: ReceivedList = client.get(&format!("/api/v1/received?{}", query.join("&"))).await?;
    if out.json() {
        found.received.iter().try_for_each(|fax| out.object(fax))?;
        return Ok(Exit::Ok);
    }
    if found.received.is_empty() {
        out.remark("no received faxes")?;
    }
    let row = |fax: &ReceivedView| {
        vec![
            fax.short.clone(),
            state_words(fax),
            fax.called.clone(),
            sender(fax),
            fax.pages.to_string(),
            local_time(&fax.started_at),
            fax.route.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = found.received.iter().map(row).collect();
    out.table(&["FAX", "STATE", "TO", "FROM", "PAGES", "RECEIVED", "ROUTE"], &rows)?;
    if found.truncated {
        out.remark("… and more: narrow the list (--did, --since), or ask for more with --limit")?;
    }
    Ok(Exit::Ok)
}

fn state_words(fax: &ReceivedView) -> String {
    let incomplete = if fax.complete == Some(false) { ", incomplete" } else { "" };
    format!("{}{incomplete}", fax.state)
}

/// Who sent it, as far as anybody says.
fn sender(fax: &ReceivedView) -> String {
    fax.caller.clone().or_else(|| fax.remote_id.clone()).unwrap_or_else(|| "unknown".to_owned())
}

async fn show(id: &str, client: &Client, out: Out) -> Outcome {
    let detail: ReceivedDetail = client.get(&format!("/api/v1/received/{}", encoded(id))).await?;
    if out.json() {
        out.object(&detail)?;
        return Ok(Exit::Ok);
    }
    print_received(&detail.fax, out)?;
    for page in &detail.pages {
        let ecm = if page.ecm { "ECM" } else { "no ECM" };
        let size = format!("{} x {}, {} bit/s, {ecm}", page.width_px, page.height_px, page.rate_bps);
        out.line(&format!("Page {:<8} stored {}, {size}", page.page, local_time(&page.stored_at)))?;
    }
    for notice in &detail.notices {
        let whom = notice.recipient.as_deref().unwrap_or("nobody");
        let detail = notice.detail.as_deref().unwrap_or("");
        out.line(&format!("Mail          to {whom}: {} {detail}", notice.state))?;
    }
    detail.events.iter().try_for_each(|event| {
        out.line(&format!("              {} {}", local_time(&event.at), localised(&event.text)))
    })?;
    Ok(Exit::Ok)
}

/// The facts of a received fax, one a line, with cause and fix.
pub(super) fn print_received(fax: &ReceivedView, out: Out) -> Result<(), Failed> {
    let mut lines = vec![
        ("Fax", fax.short.clone()),
        ("State", state_words(fax)),
        ("To", format!("{} on line {}", fax.called, fax.line)),
        ("From", sender(fax)),
        ("Pages", fax.pages.to_string()),
        ("Received", local_time(&fax.started_at)),
        ("Route", fax.route.clone().unwrap_or_else(|| "none: the default mailboxes".to_owned())),
    ];
    lines.extend(fax.remote_id.clone().map(|id| ("Station ID", id)));
    lines.extend(fax.subaddress.clone().map(|sub| ("Subaddress", sub)));
    if fax.legal_hold {
        lines.push(("Legal hold", "kept until the hold is ended".to_owned()));
    }
    if let Some(cause) = &fax.cause {
        let detail = fax.detail.as_deref().map_or_else(String::new, |detail| format!(" ({detail})"));
        lines.push(("cause:", format!("{}{detail} [{}]", cause.cause, cause.slug)));
        lines.push(("fix:", "ask the sender for the pages that are missing".to_owned()));
    }
    lines.iter().try_for_each(|(name, text)| out.line(&format!("{name:<13} {text}")))
}

async fn pages(args: PagesArgs, client: &Client, out: Out) -> Outcome {
    let file = args.output.unwrap_or_else(|| PathBuf::from(format!("{}.tif", args.id)));
    let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or("tif").to_ascii_lowercase();
    let format = match ending.as_str() {
        "tif" | "tiff" => "tiff",
        "png" => "png",
        "pdf" => "pdf",
        other => {
            let cause = format!("\".{other}\" is not one of its formats");
            let fix = "end the file in .pdf, .tif or .png";
            return Err(Failed::new(Exit::Usage, "cannot write these pages", cause, fix));
        }
    };
    if format == "pdf" && args.page.is_none() {
        let bytes = client.bytes(&format!("/api/v1/received/{}/document.pdf", encoded(&args.id))).await?;
        return wrote(None, &file, &bytes, out);
    }
    let detail: ReceivedDetail = client.get(&format!("/api/v1/received/{}", encoded(&args.id))).await?;
    let numbers: Vec<u32> = match args.page {
        Some(page) => vec![page],
        None => detail.pages.iter().map(|page| page.page).collect(),
    };
    for number in &numbers {
        let path = format!("/api/v1/received/{}/pages/{number}.{format}", encoded(&args.id));
        let bytes = client.bytes(&path).await?;
        let file = if numbers.len() == 1 { file.clone() } else { numbered(&file, *number) };
        wrote(Some(*number), &file, &bytes, out)?;
    }
    Ok(Exit::Ok)
}

/// Writes a file and says so; without a page it holds them all.
fn wrote(page: Option<u32>, file: &Path, bytes: &[u8], out: Out) -> Outcome {
    write_file(file, bytes)?;
    if out.json() {
        out.object(&serde_json::json!({ "page": page, "file": file, "size_bytes": bytes.len() }))?;
    } else {
        out.remark(&format!("wrote {} ({} octets)", file.display(), bytes.len()))?;
    }
    Ok(Exit::Ok)
}

/// `fax.tif` is `fax-2.tif` for page 2.
fn numbered(file: &Path, page: u32) -> PathBuf {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let ending = file.extension().map(|ending| format!(".{}", ending.to_string_lossy())).unwrap_or_default();
    file.with_file_name(format!("{stem}-{page}{ending}"))
}

async fn routes(client: &Client, out: Out) -> Outcome {
    let list: RouteList = client.get("/api/v1/inbound/routes").await?;
    if out.json() {
        list.routes.iter().try_for_each(|route| out.object(route))?;
        return Ok(Exit::Ok);
    }
    let row = |route: &RouteView| {
        let from = match route.source {
            Source::Configuration => "file".to_owned(),
            Source::Stored => route.changed_by.clone().unwrap_or_default(),
        };
        let rule = &route.rule;
        vec![
            rule.name.clone(),
            rule.priority.to_string(),
            conditions(rule),
            rule.to.join(", "),
            rule.format.to_string(),
            from,
        ]
    };
    let rows: Vec<_> = list.routes.iter().map(row).collect();
    out.table(&["ROUTE", "PRIORITY", "WHEN", "TO", "FORMAT", "SET BY"], &rows)?;
    if list.default.is_empty() {
        out.remark("inbound.default is not set: no call is answered")?;
    } else {
        out.remark(&format!("what no route takes goes to {}", list.default.join(", ")))?;
    }
    Ok(Exit::Ok)
}

fn conditions(rule: &Rule) -> String {
    let all = [
        ("to", &rule.did),
        ("from", &rule.caller),
        ("station", &rule.tsi),
        ("subaddress", &rule.subaddress),
        ("at", &rule.times),
    ];
    let words: Vec<String> =
        all.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?))).collect();
    if words.is_empty() { "always".to_owned() } else { words.join(", ") }
}

async fn set(args: SetArgs, client: &Client, out: Out) -> Outcome {
    let rule = Rule {
        name: args.name,
        did: args.did,
        caller: args.from,
        tsi: args.tsi,
        subaddress: args.sub,
        times: args.times,
        priority: args.priority,
        to: args.to,
        format: args.format,
    };
    if let Some(fault) = rule.faults().into_iter().next() {
        let title = format!("route \"{}\" is not set", rule.name);
        return Err(Failed::new(Exit::Usage, title, format!("{}: {}", fault.field, fault.message), fault.fix));
    }
    let set: SetRoute = client.post("/api/v1/inbound/routes", &SetRoute { rule, by: by() }).await?;
    if out.json() {
        out.object(&set.rule)?;
    } else {
        let Rule { name, to, .. } = &set.rule;
        out.line(&format!("route \"{name}\" holds from now: {}: {}", conditions(&set.rule), to.join(", ")))?;
    }
    Ok(Exit::Ok)
}

async fn remove(name: &str, client: &Client, out: Out) -> Outcome {
    client.delete(&format!("/api/v1/inbound/routes/{}?by={}", encoded(name), encoded(&by()))).await?;
    if out.json() {
        out.object(&serde_json::json!({ "removed": name }))?;
    } else {
        out.line(&format!("route \"{name}\" is removed"))?;
    }
    Ok(Exit::Ok)
}

/// Who sets a route, for the record.
fn by() -> String {
    std::env::var("USER").ok().filter(|user| !user.is_empty()).unwrap_or_else(|| "the administrator".to_owned())
}

async fn explain(args: ExplainArgs, client: &Client, out: Out) -> Outcome {
    let mut query = vec![format!("did={}", encoded(&args.did))];
    let optional = [("from", &args.from), ("tsi", &args.tsi), ("sub", &args.sub)];
    query.extend(optional.iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_deref()?)))));
    if let Some(at) = &args.at {
        query.push(format!("at={}", encoded(&moment(at)?)));
    }
    let explained: RouteExplanation = client.get(&format!("/api/v1/inbound/explain?{}", query.join("&"))).await?;
    if out.json() {
        out.object(&explained)?;
        return Ok(Exit::Ok);
    }
    let RouteExplanation { did, caller, at, destination, routes } = &explained;
    out.line(&format!("{:<13} {did} from {} at {}", "Fax to", caller.as_deref().unwrap_or("unknown"), local_time(at)))?;
    let taken = destination.route.as_deref();
    let mut after = false;
    for route in routes {
        let name = route.rule.name.as_str();
        let word = match &route.mismatch {
            Some(why) => format!("does not hold: {why}"),
            None if taken == Some(name) && !after => {
                after = true;
                "takes it".to_owned()
            }
            None => "holds too, and comes later in the order".to_owned(),
        };
        out.line(&format!("{:<13} {name}: {word}", "Route"))?;
    }
    if taken.is_none() {
        out.line(&format!("{:<13} none holds: the default mailboxes take it", "Route"))?;
    }
    let to =
        if destination.to.is_empty() { "nobody: no call is answered".to_owned() } else { destination.to.join(", ") };
    out.line(&format!("{:<13} {to} ({})", "Mail to", destination.format))?;
    Ok(Exit::Ok)
}

/// A time with its zone, or one on this machine's clocks.
fn moment(text: &str) -> Result<String, Failed> {
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Ok(instant.to_string());
    }
    let local = text.parse::<jiff::civil::DateTime>().ok();
    let local = local.and_then(|time| time.to_zoned(jiff::tz::TimeZone::system()).ok());
    local.map(|zoned| zoned.timestamp().to_string()).ok_or_else(|| {
        Failed::new(Exit::Usage, format!("\"{text}\" is not a time"), "--at cannot be read", "write 2027-01-04T19:00")
    })
}
