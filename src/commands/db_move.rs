//! `db move`: an installation on SQLite becomes one on PostgreSQL.

use std::path::{Path, PathBuf};

use clap::Args;

use super::exit::{Exit, Failed, Outcome};
use super::gateway;
use super::out::Out;
use super::place::Place;
use crate::config::Database;
use crate::store::{Copied, SqlStore, StoreError, lock_file};

#[derive(Debug, Args)]
pub(super) struct MoveArgs {
    /// The store's file; left out: faxwell.db in the data directory
    file: Option<PathBuf>,
}

pub(super) async fn run(args: MoveArgs, place: Place, out: Out) -> Outcome {
    let config = place.load()?.config;
    let file = args.file.unwrap_or_else(|| config.data.join("faxwell.db"));
    let spinner = out.spinner("copying and comparing every row");
    let copied = take_over(&config.store.database, &file).await;
    spinner.finish_and_clear();
    let copied = copied?;
    if out.json() {
        out.object(&serde_json::json!({ "database": config.store.database.to_string(), "tables": copied }))?;
        return Ok(Exit::Ok);
    }
    for table in &copied {
        out.line(&format!("{:<16} {:>9} rows, the same on both sides", table.table, table.rows))?;
    }
    out.line(&format!("moved to {}; the file is now {}", config.store.database, moved(&file).display()))?;
    out.remark("start the gateway: faxwell serve; documents are not moved by this, see store.documents")?;
    Ok(Exit::Ok)
}

/// Copies, compares, commits, and only then puts the file away, so that no gateway starts with it again.
pub(super) async fn take_over(database: &Database, file: &Path) -> Result<Vec<Copied>, Failed> {
    let Database::Postgres(postgres) = database else {
        let fix = "write store.database = \"postgres://…\" into the configuration, then run this again";
        return Err(Failed::new(Exit::Usage, "nothing was moved", "the configuration names a file as its store", fix));
    };
    let refused = |error: StoreError| {
        let fix = "stop every gateway of both stores, then run it again; nothing has changed on either side";
        Failed::because(Exit::WrongState, "nothing was moved", &error, fix)
    };
    let lock = lock_file(file).await.map_err(refused)?;
    let opened = SqlStore::open_postgres(gateway::postgres_settings(postgres)).await;
    let store = opened.map_err(|error| gateway::store_unusable(database, &error))?;
    let copied = store.take_over(file).await;
    store.close().await;
    let copied = copied.map_err(refused)?;
    std::fs::rename(file, moved(file)).map_err(|error| {
        let message = "everything was moved, and the file cannot be put away";
        Failed::new(Exit::Failed, message, error.to_string(), "rename it by hand: no gateway may start with it again")
    })?;
    drop(lock);
    Ok(copied)
}

fn moved(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".moved");
    name.into()
}
