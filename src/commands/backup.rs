//! `backup` and `restore`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::client::Client;
use super::exit::{Exit, Failed, Outcome};
use super::out::Out;
use super::place::Place;
use crate::config::{self, Around};
use crate::console::view::CopyView;
use crate::domain::SystemClock;
use crate::maintain::backup::{self, BackupError, Source};
use crate::maintain::verify;
use crate::store::Unended;

/// Copy everything into a directory while the gateway runs; again into the same one adds what is new
#[derive(Debug, Args)]
#[command(after_help = "Example: faxwell backup /backup/faxwell\nThe configuration and its secrets are not in it.")]
pub(super) struct BackupArgs {
    /// Directory: new, empty, or holding an earlier backup
    directory: PathBuf,
}

/// Restore a backup into an empty data directory; what had not ended is held, since calls may have been made meanwhile
#[derive(Debug, Args)]
#[command(after_help = "Example: faxwell restore /backup/faxwell --data /var/lib/faxwell")]
pub(super) struct RestoreArgs {
    /// Directory that faxwell backup wrote
    backup: PathBuf,
    /// Let faxes that had not ended go on at once; some may be sent twice
    #[arg(long)]
    release: bool,
}

pub(super) async fn run_backup(args: BackupArgs, place: Place, out: Out) -> Outcome {
    let target = std::path::absolute(&args.directory).unwrap_or(args.directory);
    let client = Client::new(&place.socket()?);
    let spinner = out.spinner("copying the store and its documents");
    // As long as this lives the gateway removes nothing that the copy names.
    let (copy, held) = client.copy().await?;
    let CopyView { store, documents, data, node, taken_at } = copy;
    let source = Source { copy: store, documents, data, node, taken_at };
    let written = backup::write(&source, &target).await;
    let still_held = held.end().await;
    spinner.finish_and_clear();
    let manifest = written.map_err(|error| failed("cannot write the backup", error))?;
    still_held?;
    if out.json() {
        out.object(&manifest)?;
    } else {
        out.line(&format!(
            "backup of {} in {}: store of {} octets, {} documents of {} octets",
            manifest.taken_at,
            target.display(),
            manifest.store_bytes,
            manifest.documents,
            manifest.documents_bytes
        ))?;
    }
    if manifest.damaged.is_empty() {
        return Ok(Exit::Ok);
    }
    let message = format!("the backup is whole but for {} documents that were damaged already", manifest.damaged.len());
    let fix = "see them with: faxwell db verify --deep; an older backup may hold them";
    Err(Failed::new(Exit::SomeFailed, message, manifest.damaged[0].clone(), fix))
}

pub(super) async fn run_restore(args: RestoreArgs, place: Place, out: Out) -> Outcome {
    let (data, place) = target(&place)?;
    let unended = if args.release { Unended::GoOn } else { Unended::Hold };
    let spinner = out.spinner("checking and copying every document");
    let restored = backup::restore(&args.backup, &data, &place, unended, Arc::new(SystemClock)).await;
    spinner.finish_and_clear();
    let restored = restored.map_err(|error| failed("cannot restore", error))?;
    if out.json() {
        out.object(&restored)?;
        return Ok(Exit::Ok);
    }
    out.line(&format!("restored into {}", data.display()))?;
    out.line(&format!(
        "{} faxes are held, {} are settled at the start, {} reports go out",
        restored.held, restored.to_settle, restored.notices_owed
    ))?;
    if restored.held > 0 {
        out.remark("see them with: faxwell fax list --state held; each goes on with: faxwell fax release ID")?;
    }
    Ok(Exit::Ok)
}

/// What is restored to: never by default, since it is the one place where a mistake costs something.
fn target(place: &Place) -> Result<(PathBuf, verify::Place), Failed> {
    if let Some(file) = &place.config {
        let around = Around { data: place.data.clone(), ..Around::default() };
        let loaded = config::load(file, &around).map_err(|problems| Failed::from(super::place::BadConfig(problems)))?;
        let store = loaded.config.store;
        return Ok((loaded.config.data, verify::Place { database: store.database, documents: store.documents }));
    }
    let Some(data) = &place.data else {
        let fix = "name an empty directory with --data DIR, or the configuration with --config FILE";
        return Err(Failed::new(Exit::Usage, "there is nowhere to restore to", "no data directory is named", fix));
    };
    let data = std::path::absolute(data).unwrap_or_else(|_| data.clone());
    let below = |name: &str| -> PathBuf { Path::new(&data).join(name) };
    let place = verify::Place { database: below("faxwell.db"), documents: below("documents") };
    Ok((data, place))
}

fn failed(message: &str, error: BackupError) -> Failed {
    let (exit, fix) = match &error {
        BackupError::Unfit { fix, .. } => (Exit::WrongState, *fix),
        BackupError::File { .. } => {
            (Exit::Failed, "make room and let this user read and write there, then run it again")
        }
        BackupError::Store(_) => (Exit::Failed, "see the cause, then run it again"),
    };
    Failed::new(exit, message, error.to_string(), fix)
}
