//! `db`: retention now, and the audit of store and documents.

use clap::{Args, Subcommand};

use super::client::Client;
use super::exit::{Exit, Failed, Outcome};
use super::out::{Out, Paint};
use super::place::Place;
use crate::console::view::PruneView;
use crate::domain::{Clock as _, SystemClock};
use crate::maintain::verify::{self, Depth, Verdict};
use crate::store::StoreError;

/// Look after the store: what is kept, and whether it is whole
#[derive(Debug, Subcommand)]
pub(super) enum DbCommand {
    /// Remove what store.retain says is over, now; the gateway does it every hour by itself
    #[command(after_help = "Example: faxwell db prune --dry-run")]
    Prune(PruneArgs),
    /// Check the store's rules, and documents against rows both ways; also while the gateway runs
    #[command(after_help = "Example: faxwell db verify --deep\nExit: 0 clean, 1 damage found")]
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
pub(super) struct PruneArgs {
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Read every document and check its SHA-256
    #[arg(long)]
    deep: bool,
}

pub(super) async fn run(command: DbCommand, place: Place, out: Out) -> Outcome {
    match command {
        DbCommand::Prune(args) => prune(&args, &Client::new(&place.socket()?), out).await,
        DbCommand::Verify(args) => verify(&args, &place, out).await,
    }
}

async fn prune(args: &PruneArgs, client: &Client, out: Out) -> Outcome {
    let spinner = out.spinner("removing what is over");
    let mut pruned: PruneView = client.post_empty(&format!("/api/v1/prune?dry_run={}", args.dry_run)).await?;
    // One request does a few seconds of it, so that none takes too long.
    while !pruned.done {
        pruned = client.post_empty("/api/v1/prune").await?;
    }
    spinner.finish_and_clear();
    if out.json() {
        out.object(&pruned)?;
        return Ok(Exit::Ok);
    }
    let verb = if args.dry_run { "would lose their bytes" } else { "have lost their bytes" };
    let gone = if args.dry_run { "would be forgotten" } else { "were forgotten" };
    out.line(&format!("{} documents {verb}", pruned.documents))?;
    out.line(&format!("{} messages and {} received faxes {gone}", pruned.messages, pruned.received))?;
    if !args.dry_run {
        out.line(&format!("{} files went, {} octets", pruned.files, pruned.size_bytes))?;
    }
    if pruned.held > 0 {
        out.line(&format!("{} faxes are over and stay: legal hold", pruned.held))?;
    }
    Ok(Exit::Ok)
}

async fn verify(args: &VerifyArgs, place: &Place, out: Out) -> Outcome {
    let loaded = place.load_for_questions()?;
    let store = loaded.config.store;
    let place = verify::Place { database: store.database, documents: store.documents };
    let depth = if args.deep { Depth::Bytes } else { Depth::Lengths };
    let spinner = out.spinner("checking the store");
    let verdict = verify::verify(&place, depth, SystemClock.now()).await.map_err(cannot_look)?;
    spinner.finish_and_clear();
    if out.json() {
        out.object(&verdict)?;
    } else {
        print(&verdict, out)?;
    }
    Ok(if verdict.damaged == 0 { Exit::Ok } else { Exit::Failed })
}

fn print(verdict: &Verdict, out: Out) -> Result<(), Failed> {
    for finding in &verdict.findings {
        let word = if finding.damage { out.paint("damage", Paint::Bad) } else { out.paint("untidy", Paint::Wait) };
        out.line(&format!(
            "{word}: {} {}\ncause: {}\nfix: {}",
            finding.kind, finding.what, finding.cause, finding.fix
        ))?;
    }
    let named = verdict.findings.len() as u64;
    if verdict.found > named {
        out.line(&format!("… and {} more", verdict.found - named))?;
    }
    let word = if verdict.damaged == 0 {
        out.paint("clean", Paint::Good)
    } else {
        out.paint(&format!("{} damaged", verdict.damaged), Paint::Bad)
    };
    out.line(&format!(
        "{word}: {} documents of {} octets, {} more whose pages retention removed",
        verdict.documents, verdict.size_bytes, verdict.pruned
    ))
}

fn cannot_look(error: StoreError) -> Failed {
    let fix = "name the gateway's configuration or data directory, and run this as its user";
    match &error {
        StoreError::Unusable(_) => Failed::new(Exit::NotFound, "there is no store to check", error.to_string(), fix),
        _ => Failed::new(Exit::Failed, "the store cannot be checked", error.to_string(), fix),
    }
}
