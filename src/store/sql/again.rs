//! Submissions that come again: a store that was taken back in time is told what it had confirmed, and a key that
//! absorbed a client's second try is forgotten some day.

use super::error::Place;
use super::{Conn, Tx, sql, statements};
use crate::domain::{MessageId, Timestamp};
use crate::store::Result;

statements! {
    MISSING = "-- messages.missing
        SELECT value AS id FROM {ids $1} AS asked WHERE NOT EXISTS (SELECT 1 FROM messages WHERE id = asked.value)";
    FORGET = "-- messages.forget_idem_keys
        UPDATE messages SET idem_key = NULL WHERE id IN
            (SELECT id FROM messages {use messages_with_key} WHERE idem_key IS NOT NULL AND accepted_at < $1 LIMIT $2)";
}

pub(super) async fn missing(c: &mut Conn, messages: &[MessageId]) -> Result<Vec<MessageId>> {
    let ids: Vec<String> = messages.iter().map(|id| id.to_string()).collect();
    let ids = serde_json::to_string(&ids).expect("texts are JSON");
    let missing = sql(&MISSING).bind(ids).fetch_all(c).await.place("messages.missing")?;
    missing.iter().map(|row| row.parsed("id")).collect()
}

pub(super) async fn forget_idem_keys(tx: &mut Tx, before: Timestamp, limit: u32) -> Result<u64> {
    let query = sql(&FORGET).bind(before.0).bind(limit);
    Ok(query.execute(&mut tx.conn).await.place("messages.forget_idem_keys")?.rows_affected())
}
