//! `backup` and `restore`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::client::Client;
use super::db_move;
use super::exit::{Exit, Failed, Outcome};
use super::out::Out;
use super::place::Place;
use super::storage;
use crate::config::{self, Around, Database, DocumentsPlace};
use crate::console::view::CopyView;
use crate::documents::{DocumentsError, Repository};
use crate::domain::SystemClock;
use crate::maintain::backup::{self, BackupError, Source};
use crate::store::Unended;

/// Copy everything into a directory while the gateway runs; again into the same one adds what is new
#[derive(Debug, Args)]
#[command(
    after_help = "Example: faxwell backup /backup/faxwell\nThe configuration and its secrets, the keys of documents too, are not in it."
)]
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
    let CopyView { store, documents, keys, node, taken_at } = copy;
    let documents = match documents {
        Some(directory) => DocumentsPlace::Directory(directory),
        // Only the configuration has the credentials.
        None => place.load_for_questions()?.config.store.documents,
    };
    let keys = storage::read_keys(keys.as_deref());
    let documents = keys.and_then(|keys| Repository::look_at(&documents, keys)).map_err(cannot_read)?;
    let source = Source { copy: store, documents, node, taken_at };
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
    let (data, place, database) = target(&place)?;
    let unended = if args.release { Unended::GoOn } else { Unended::Hold };
    let spinner = out.spinner("checking and copying every document");
    let restored = backup::restore(&args.backup, &data, &place, unended, Arc::new(SystemClock)).await;
    spinner.finish_and_clear();
    let restored = restored.map_err(|error| failed("cannot restore", error))?;
    if let Database::Postgres(_) = &database {
        db_move::take_over(&database, &place.database).await?;
    }
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
fn target(place: &Place) -> Result<(PathBuf, backup::Place, Database), Failed> {
    if let Some(file) = &place.config {
        let around = Around { data: place.data.clone(), ..Around::default() };
        let loaded = config::load(file, &around).map_err(|problems| Failed::from(super::place::BadConfig(problems)))?;
        let store = loaded.config.store;
        let keys = storage::read_keys(store.keys.as_deref()).map_err(cannot_read)?;
        let data = loaded.config.data;
        // PostgreSQL takes the restored file over when it is whole.
        let file = store.database.file().map_or_else(|| data.join("restored.db"), Path::to_owned);
        return Ok((data, backup::Place { database: file, documents: store.documents, keys }, store.database));
    }
    let Some(data) = &place.data else {
        let fix = "name an empty directory with --data DIR, or the configuration with --config FILE";
        return Err(Failed::new(Exit::Usage, "there is nowhere to restore to", "no data directory is named", fix));
    };
    let data = std::path::absolute(data).unwrap_or_else(|_| data.clone());
    let below = |name: &str| -> PathBuf { Path::new(&data).join(name) };
    let place = backup::Place {
        database: below("faxwell.db"),
        documents: DocumentsPlace::Directory(below("documents")),
        keys: None,
    };
    let database = Database::File(place.database.clone());
    Ok((data, place, database))
}

fn cannot_read(error: DocumentsError) -> Failed {
    let fix = "name the gateway's configuration with --config FILE, and run this as its user";
    Failed::new(Exit::Failed, "the documents cannot be read", error.to_string(), fix)
}

fn failed(message: &str, error: BackupError) -> Failed {
    let (exit, fix) = match &error {
        BackupError::Unfit { fix, .. } => (Exit::WrongState, *fix),
        BackupError::File { .. } => {
            (Exit::Failed, "make room and let this user read and write there, then run it again")
        }
        BackupError::Store(_) => {
            (Exit::Failed, "let the database answer, and check it with: faxwell db verify; then run it again")
        }
    };
    Failed::because(exit, message, &error, fix)
}
