//! Notices that a fax waits: owed once, when it has waited for a while and its sender may hear of it.

use std::time::Duration;

use super::error::Place;
use super::intake::event;
use super::{Tx, sql, statements};
use crate::domain::{FaxId, NoticeId, NoticeKind};
use crate::store::Result;

/// Most notices in one transaction.
const LIMIT_MAX: u32 = 500;

statements! {
    // Who asked for a later time is not told that it has not come. A fax in a call is about to end or to wait on. RFC 3461
    // §5.2: nothing to a null reverse-path and nothing without NOTIFY=DELAY; RFC 3834 §2: nothing to automatic mail.
    WAITING = "-- faxes.delayed
        SELECT f.id, m.reverse_path FROM faxes f {use faxes_waiting} JOIN messages m ON m.id = f.message_id
        WHERE f.state IN ('accepted', 'ready') AND f.accepted_at <= $1 AND f.first_call_at <= $1 AND f.notify_delay = TRUE
          AND m.reverse_path IS NOT NULL AND m.automatic = FALSE AND m.options ->> 'report' <> 'off'
          AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.fax_id = f.id AND a.ended_at IS NULL)
          AND NOT EXISTS (SELECT 1 FROM notices n WHERE n.fax_id = f.id AND n.kind = 'delayed')
        ORDER BY f.accepted_at LIMIT $2";
    OWE = "-- notices.owe_delayed
        INSERT INTO notices (id, fax_id, kind, state, recipient, header_message_id, created_at, not_before)
        VALUES ($1, $2, 'delayed', 'owed', $3, $4, $5, $5) ON CONFLICT DO NOTHING";
}

pub(super) async fn owe(tx: &mut Tx, after: Duration, domain: &str, limit: u32) -> Result<u64> {
    let since = tx.now().await?.0.saturating_sub(i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
    let query = sql(&WAITING).bind(since).bind(limit.min(LIMIT_MAX));
    let waiting = query.fetch_all(&mut tx.conn).await.place("faxes.delayed")?;
    let mut count = 0;
    for row in &waiting {
        let fax: FaxId = row.parsed("id")?;
        let owed = sql(&OWE)
            .bind(NoticeId::new().to_string())
            .bind(fax.to_string())
            .bind(row.col::<&str>("reverse_path")?)
            .bind(format!("{}.{}@{domain}", fax.short(), NoticeKind::Delayed))
            .bind(tx.now().await?.0)
            .execute(&mut tx.conn)
            .await
            .place("notices.owe_delayed")?;
        // Another node's maintenance may have owed it just now.
        if owed.rows_affected() == 1 {
            event(tx, &fax.to_string(), None, "delayed", "waits for long: its sender is told").await?;
            count += 1;
        }
    }
    Ok(count)
}
