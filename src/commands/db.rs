//! `db`: the schema, retention now, and the audit of store and documents.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::client::Client;
use super::db_move::{self, MoveArgs};
use super::exit::{Exit, Failed, Outcome};
use super::gateway::{self, GONE_AFTER};
use super::out::{Out, Paint};
use super::place::Place;
use super::storage;
use crate::config::Database;
use crate::console::view::PruneView;
use crate::documents::Repository;
use crate::domain::{Clock as _, SystemClock};
use crate::maintain::verify::{self, Depth, Verdict};
use crate::store::{
    Allowed, Inspection, NodeState, PostgresSettings, Restored, SqlStore, Store, StoreError, Unended, migrate_postgres,
    migrate_sqlite,
};

/// Look after the store: what is kept, and whether it is whole
#[derive(Debug, Subcommand)]
pub(super) enum DbCommand {
    /// Bring the store's schema up to what this program needs; on PostgreSQL while the gateway runs
    #[command(
        after_help = "Example: faxwell db migrate --check\nExit: 0 up to date, 7 something is left to apply or refused"
    )]
    Migrate(MigrateArgs),
    /// Remove what store.retain says is over, now; the gateway does it every hour by itself
    #[command(after_help = "Example: faxwell db prune --dry-run")]
    Prune(PruneArgs),
    /// Check the store's rules, and documents against rows both ways; also while the gateway runs
    #[command(after_help = "Example: faxwell db verify --deep\nExit: 0 clean, 1 damage found")]
    Verify(VerifyArgs),
    /// Take over an SQLite store into the empty PostgreSQL that the configuration names; every row is compared
    #[command(
        after_help = "Example: faxwell db move\nStop the gateway first. The file is renamed to FILE.moved when everything has come over; until then nothing counts."
    )]
    Move(MoveArgs),
    /// Hold what had not ended, in a store that was taken back in time by other means than faxwell restore
    #[command(
        after_help = "Example: faxwell db restored --to 2026-11-22T09:00:00Z\nEvery gateway is stopped meanwhile, but for those that do smtp or web alone. Faxes that wait may have been sent since: a person releases or cancels each."
    )]
    Restored(RestoredArgs),
}

#[derive(Debug, Args)]
pub(super) struct MigrateArgs {
    /// Only say what would be applied
    #[arg(long, conflicts_with = "contract")]
    check: bool,
    /// Apply also what takes away the shape that older programs need, when none of them runs
    #[arg(long)]
    contract: bool,
    /// PostgreSQL in place of the configured store, as in postgres://owner@db1/faxwell
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// File with the password for --database
    #[arg(long, value_name = "FILE", requires = "database")]
    password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct RestoredArgs {
    /// The moment that the store was taken back to, for the record of each fax
    #[arg(long, value_name = "TIME")]
    to: jiff::Timestamp,
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
        DbCommand::Migrate(args) => migrate(&args, &place, out).await,
        DbCommand::Prune(args) => prune(&args, &Client::new(&place.socket()?), out).await,
        DbCommand::Verify(args) => Box::pin(verify(&args, &place, out)).await,
        DbCommand::Move(args) => Box::pin(db_move::run(args, place, out)).await,
        DbCommand::Restored(args) => Box::pin(restored(&args, &place, out)).await,
    }
}

async fn migrate(args: &MigrateArgs, place: &Place, out: Out) -> Outcome {
    let allowed = match (args.check, args.contract) {
        (true, _) => Allowed::Nothing,
        (false, true) => Allowed::Contract,
        (false, false) => Allowed::Expand,
    };
    let spinner = out.spinner("looking at the schema");
    let schema = match &args.database {
        Some(url) => {
            let mut settings = PostgresSettings::new(url);
            settings.password = args.password_file.as_deref().map(password_of).transpose()?;
            migrate_postgres(&settings, allowed).await
        }
        None => match place.load_for_questions()?.config.store.database {
            Database::File(path) => migrate_sqlite(&path, SystemClock.now(), allowed).await,
            Database::Postgres(postgres) => migrate_postgres(&gateway::postgres_settings(&postgres), allowed).await,
        },
    };
    spinner.finish_and_clear();
    let schema = schema.map_err(cannot_migrate)?;
    let exit = if schema.pending.is_empty() { Exit::Ok } else { Exit::WrongState };
    if out.json() {
        out.object(&schema)?;
        return Ok(exit);
    }
    for step in &schema.applied {
        out.line(&format!("{}: {}", out.paint("applied", Paint::Good), step.name))?;
    }
    for step in &schema.pending {
        out.line(&format!("{}: {}", out.paint("pending", Paint::Wait), step.name))?;
    }
    out.line(&format!("the store has schema version {}, and this program knows {}", schema.version, schema.known))?;
    if exit != Exit::Ok {
        out.line(&format!("fix: run {}", schema.command()))?;
    }
    Ok(exit)
}

fn password_of(file: &Path) -> Result<String, Failed> {
    let read = std::fs::read_to_string(file).map_err(|error| {
        let message = format!("cannot read the password file {}", file.display());
        Failed::new(Exit::Usage, message, error.to_string(), "name a file that this user may read")
    })?;
    Ok(read.trim_end_matches(['\r', '\n']).to_owned())
}

/// The store's errors name the fix behind the cause.
fn cannot_migrate(error: StoreError) -> Failed {
    let exit = if matches!(error, StoreError::Unusable(_)) { Exit::WrongState } else { Exit::Failed };
    let told = error.to_string();
    let (cause, fix) =
        told.split_once("; fix: ").unwrap_or((&told, "see that the store can be reached, then try again"));
    Failed::new(exit, "the store's schema was not brought up to date", cause, fix)
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

async fn restored(args: &RestoredArgs, place: &Place, out: Out) -> Outcome {
    let loaded = place.load()?;
    let store = gateway::open_store(&loaded.config).await?;
    let outcome = hold_unended(&*store, args.to).await;
    store.close().await;
    let restored = outcome?;
    if out.json() {
        out.object(&restored)?;
        return Ok(Exit::Ok);
    }
    out.line(&format!(
        "{} faxes are held, {} are settled at the start, {} reports go out",
        restored.held, restored.to_settle, restored.notices_owed
    ))?;
    if restored.held > 0 {
        out.remark("see them with: faxwell fax list --state held; each goes on with: faxwell fax release ID")?;
    }
    Ok(Exit::Ok)
}

/// Nothing is changed while a node may work: it would be calling what is held under it.
async fn hold_unended(store: &dyn Store, to: jiff::Timestamp) -> Result<Restored, Failed> {
    let failed = |error: StoreError| {
        let fix = "let the database answer, and check it with: faxwell db verify; then run it again";
        Failed::because(Exit::Failed, "the store does not work", &error, fix)
    };
    let now = store.now().await.map_err(failed)?;
    let (nodes, _) = store.nodes_and_lines().await.map_err(failed)?;
    // Listeners may stay: they take nothing while the store is away, and remember what it has lost.
    let works = |node: &&NodeState| node.roles.split(',').any(|role| !matches!(role, "smtp" | "web"));
    if let Some(node) = nodes.iter().filter(works).find(|node| node.seen_at.plus(GONE_AFTER) > now) {
        let cause = format!("the store has just heard of node {}", node.owner.node);
        let fix = format!(
            "stop every gateway that does more than smtp and web, wait {} s, and run it again",
            GONE_AFTER.as_secs()
        );
        return Err(Failed::new(Exit::WrongState, "a gateway may work on this store", cause, fix));
    }
    let why = format!("the store was taken back to {to}: calls may have been made since; release it to send it");
    store.restored(Unended::Hold, &why).await.map_err(failed)
}

async fn verify(args: &VerifyArgs, place: &Place, out: Out) -> Outcome {
    let loaded = place.load_for_questions()?;
    let store = loaded.config.store;
    let inspection = inspection(&store.database).await?;
    let depth = if args.deep { Depth::Bytes } else { Depth::Lengths };
    let spinner = out.spinner("checking the store");
    let documents = storage::read_keys(store.keys.as_deref().filter(|_| args.deep))
        .and_then(|keys| Repository::look_at(&store.documents, keys))
        .map_err(|error| cannot_look(StoreError::Unavailable(error.to_string())))?;
    let verdict = verify::verify(inspection, &documents, depth, SystemClock.now()).await.map_err(cannot_look)?;
    spinner.finish_and_clear();
    if out.json() {
        out.object(&verdict)?;
    } else {
        print(&verdict, out)?;
    }
    Ok(if verdict.damaged == 0 { Exit::Ok } else { Exit::Failed })
}

/// A file beside its gateway, or PostgreSQL, whichever the configuration names.
async fn inspection(database: &Database) -> Result<Inspection, Failed> {
    match database {
        Database::File(path) => Inspection::open(path).await.map_err(cannot_look),
        Database::Postgres(postgres) => {
            let store = SqlStore::open_postgres(gateway::postgres_settings(postgres)).await;
            store.map(Inspection::of).map_err(|error| gateway::store_unusable(database, &error))
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{FaxState, Timestamp};
    use crate::store::testing;

    #[tokio::test]
    async fn what_had_not_ended_is_held_once_no_node_works_any_more() {
        let test = testing::sqlite().await;
        let message = testing::message(&["+99910200"]);
        let fax = message.faxes[0].id;
        test.store.submit(message).await.unwrap();
        let node = |name: &str, roles: &str| NodeState {
            owner: testing::owner(name),
            version: "1".to_owned(),
            roles: roles.to_owned(),
            started_at: Timestamp(0),
            seen_at: Timestamp(0),
            draining: false,
            drained: false,
            ordered: None,
        };
        test.store.node_seen(&node("gw-a", "smtp,line")).await.unwrap();
        let to: jiff::Timestamp = "2026-11-22T09:00:00Z".parse().unwrap();
        let refused = hold_unended(&*test.store, to).await.unwrap_err();
        assert!(refused.exit == Exit::WrongState && refused.to_string().contains("gw-a"), "{refused}");
        assert_eq!(test.store.fax(fax).await.unwrap().fax.state, FaxState::Accepted, "nothing has changed");
        test.clock.advance(GONE_AFTER);
        test.store.node_seen(&node("gw-b-smtp", "smtp,web")).await.unwrap();
        assert_eq!(hold_unended(&*test.store, to).await.unwrap().held, 1);
        let held = test.store.fax(fax).await.unwrap().fax;
        assert_eq!(held.state, FaxState::Held);
        assert!(held.detail.unwrap().contains("2026-11-22T09:00:00Z"));
    }
}
