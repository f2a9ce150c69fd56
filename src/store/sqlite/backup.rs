//! A consistent copy of the store's file while everything goes on.

use std::fs::File;
use std::path::Path;

use sqlx::Connection;
use sqlx::sqlite::SqliteConnectOptions;

use super::{SqliteSettings, open};
use crate::store::sql::Place;
use crate::store::{Result, StoreError};

// A snapshot in one file, without a log beside it.
const COPY: &str = "-- backup.copy\nVACUUM INTO $1";

/// Writes the copy and syncs it with its directory. No time limit: a large store takes minutes, and nobody waits for it.
pub(super) async fn copy(options: &SqliteConnectOptions, settings: &SqliteSettings, path: &Path) -> Result<()> {
    let target = path
        .to_str()
        .ok_or_else(|| StoreError::Refused(format!("the path {} is not Unicode; fix: name another", path.display())))?;
    open::make_private(path)?;
    let mut connection = open::connect(options, settings.statement_timeout).await?;
    let done = sqlx::query(COPY).bind(target).execute(&mut connection).await.place("backup.copy");
    let _ = connection.close().await;
    done?;
    sync(path).await
}

/// Makes a file and its name durable.
pub(in crate::store) async fn sync(path: &Path) -> Result<()> {
    let path = path.to_owned();
    let sync = move || -> std::io::Result<()> {
        File::open(&path)?.sync_all()?;
        path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    };
    let synced = tokio::task::spawn_blocking(sync).await.map_err(|error| StoreError::Unavailable(error.to_string()))?;
    synced.map_err(|error| StoreError::Unavailable(format!("backup.sync: {error}; fix: make room where it is written")))
}
