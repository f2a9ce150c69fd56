//! A consistent copy of the store while everything goes on, and what a restored copy needs before it may go on itself.

use std::fs::File;
use std::path::Path;

use sqlx::Connection;
use sqlx::sqlite::SqliteConnectOptions;

use super::error::Place;
use super::rows::Columns;
use super::{SqliteSettings, Tx, open, statements};
use crate::store::{Restored, Result, StoreError, Unended};

statements! {
    // A snapshot in one file, without a log beside it.
    COPY = "-- backup.copy\nVACUUM INTO $1";
    END_CALLS = "-- restore.end_calls
        UPDATE attempts SET ended_at = $1, cause = 'remote-hangup', detail = $2
         WHERE ended_at IS NULL AND all_pages_sent = 0
           AND EXISTS (SELECT 1 FROM faxes f WHERE f.id = fax_id AND f.pages_confirmed IS NOT f.page_count)";
    TELL = "-- restore.tell
        INSERT INTO events (at, fax_id, kind, text)
        SELECT $1, f.id, 'held', $2 FROM faxes f WHERE f.state IN ('accepted', 'ready')
           AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.fax_id = f.id AND a.ended_at IS NULL)";
    HOLD = "-- restore.hold
        UPDATE faxes SET state = 'held', held_at = $2,
            detail = $1 || iif(ordered = 'cancel', '; ' || ordered_by || ' had ordered to cancel it', ''),
            ordered = NULL, ordered_by = NULL,
            lease_node = NULL, lease_epoch = NULL, lease_expires_at = NULL, suspect_at = NULL
         WHERE state IN ('accepted', 'ready')
           AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.fax_id = faxes.id AND a.ended_at IS NULL)";
    FREE_FAXES = "-- restore.free_faxes
        UPDATE faxes SET lease_node = NULL, lease_epoch = NULL, lease_expires_at = NULL, suspect_at = NULL
         WHERE lease_node IS NOT NULL";
    FREE_NOTICES = "-- restore.free_notices
        UPDATE notices SET lease_node = NULL, lease_epoch = NULL, lease_expires_at = NULL, suspect_at = NULL
         WHERE lease_node IS NOT NULL";
    FREE_RECEIVED = "-- restore.free_received
        UPDATE received_faxes SET lease_node = NULL, lease_epoch = NULL, lease_expires_at = NULL, suspect_at = NULL
         WHERE lease_node IS NOT NULL";
    COUNT = "-- restore.count
        SELECT (SELECT count(*) FROM attempts WHERE ended_at IS NULL) AS calls,
               (SELECT count(*) FROM notices WHERE state = 'owed') AS owed";
}

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
    let path = path.to_owned();
    let sync = move || -> std::io::Result<()> {
        File::open(&path)?.sync_all()?;
        path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    };
    let synced = tokio::task::spawn_blocking(sync).await.map_err(|error| StoreError::Unavailable(error.to_string()))?;
    synced.map_err(|error| StoreError::Unavailable(format!("backup.sync: {error}; fix: make room where it is written")))
}

/// Nobody holds anything any more, and what had not ended waits for a person: calls may have been made since the backup.
///
/// Two kinds of calls stay open for the settler, which knows their truth: every page confirmed is `sent`, and a last
/// page without its confirmation is `unknown`.
pub(super) async fn restored(tx: &mut Tx, unended: Unended, why: &str) -> Result<Restored> {
    let mut restored = Restored::default();
    if unended == Unended::Hold {
        sqlx::query(END_CALLS).bind(tx.now.0).bind(why).execute(&mut tx.conn).await.place("restore.end_calls")?;
        sqlx::query(TELL).bind(tx.now.0).bind(why).execute(&mut tx.conn).await.place("restore.tell")?;
        let held = sqlx::query(HOLD).bind(why).bind(tx.now.0).execute(&mut tx.conn).await.place("restore.hold")?;
        restored.held = held.rows_affected();
    }
    for statement in [FREE_FAXES, FREE_NOTICES, FREE_RECEIVED] {
        sqlx::query(statement).execute(&mut tx.conn).await.place("restore.free")?;
    }
    let row = sqlx::query(COUNT).fetch_one(&mut tx.conn).await.place("restore.count")?;
    restored.to_settle = row.int("calls")?;
    restored.notices_owed = row.int("owed")?;
    Ok(restored)
}
