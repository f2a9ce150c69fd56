//! What a restored copy needs before it may go on itself.

use super::{Place, Tx, sql, statements};
use crate::store::{Restored, Result, Unended};

statements! {
    END_CALLS = "-- restore.end_calls
        UPDATE attempts SET ended_at = $1, cause = 'remote-hangup', detail = $2
         WHERE ended_at IS NULL AND all_pages_sent = FALSE
           AND EXISTS (SELECT 1 FROM faxes f WHERE f.id = fax_id AND f.pages_confirmed IS DISTINCT FROM f.page_count)";
    TELL = "-- restore.tell
        INSERT INTO events (at, fax_id, kind, text)
        SELECT $1, f.id, 'held', $2 FROM faxes f WHERE f.state IN ('accepted', 'ready')
           AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.fax_id = f.id AND a.ended_at IS NULL)";
    HOLD = "-- restore.hold
        UPDATE faxes SET state = 'held', held_at = $2,
            detail = $1 || CASE WHEN ordered = 'cancel' THEN '; ' || ordered_by || ' had ordered to cancel it' ELSE '' END,
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
    FREE_INCOMING = "-- restore.free_incoming\nDELETE FROM incoming_calls";
    FORGET_NODES = "-- restore.forget_nodes\nDELETE FROM nodes";
    FORGET_LINES = "-- restore.forget_lines\nDELETE FROM lines";
    COUNT = "-- restore.count
        SELECT (SELECT count(*) FROM attempts WHERE ended_at IS NULL) AS calls,
               (SELECT count(*) FROM notices WHERE state = 'owed') AS owed";
}

/// Nobody holds anything any more, and what had not ended waits for a person: calls may have been made since the backup.
///
/// Two kinds of calls stay open for the settler, which knows their truth: every page confirmed is `sent`, and a last
/// page without its confirmation is `unknown`.
pub(super) async fn restored(tx: &mut Tx, unended: Unended, why: &str) -> Result<Restored> {
    let mut restored = Restored::default();
    if unended == Unended::Hold {
        sql(&END_CALLS).bind(tx.now().await?.0).bind(why).execute(&mut tx.conn).await.place("restore.end_calls")?;
        sql(&TELL).bind(tx.now().await?.0).bind(why).execute(&mut tx.conn).await.place("restore.tell")?;
        let held = sql(&HOLD).bind(why).bind(tx.now().await?.0).execute(&mut tx.conn).await.place("restore.hold")?;
        restored.held = held.rows_affected();
    }
    // Who ran when the copy was taken does not run on the copy.
    for statement in [&FREE_FAXES, &FREE_NOTICES, &FREE_RECEIVED, &FREE_INCOMING, &FORGET_NODES, &FORGET_LINES] {
        sql(statement).execute(&mut tx.conn).await.place("restore.free")?;
    }
    let row = sql(&COUNT).fetch_one(&mut tx.conn).await.place("restore.count")?;
    restored.to_settle = row.int("calls")?;
    restored.notices_owed = row.int("owed")?;
    Ok(restored)
}
