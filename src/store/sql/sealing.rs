//! Keys of documents: which wrapped them, wrapping them anew, and sealing what lies in the clear.

use super::error::Place;
use super::{Conn, Tx, rows, sql, statements};
use crate::store::{DocumentKey, Placement, Result, Rewrapped, SealedKey};

statements! {
    SEALERS = "-- documents.sealers
        SELECT sealed_by, count(*) AS n FROM documents WHERE sealed_by IS NOT NULL GROUP BY sealed_by ORDER BY sealed_by";
    SEALED_OTHERWISE = "-- documents.sealed_otherwise
        SELECT key, sealed_key, sealed_by FROM documents
         WHERE sealed_by IS NOT NULL AND sealed_by <> $1 AND key > $2 ORDER BY key LIMIT $3";
    REWRAP = "-- documents.rewrap
        UPDATE documents SET sealed_key = $3, sealed_by = $4 WHERE key = $1 AND sealed_key = $2";
    UNSEALED = "-- documents.unsealed
        SELECT key, size_bytes, inline, location, sealed_key, sealed_by FROM documents
         WHERE sealed_by IS NULL AND pruned_at IS NULL AND key > $1 ORDER BY key LIMIT $2";
    SEAL = "-- documents.seal
        UPDATE documents SET inline = $2, location = $3, sealed_key = $4, sealed_by = $5
         WHERE key = $1 AND pruned_at IS NULL AND sealed_by IS NULL";
}

/// How many documents each key has wrapped.
pub(super) async fn sealers(c: &mut Conn) -> Result<Vec<(String, u64)>> {
    let rows = sql(&SEALERS).fetch_all(c).await.place("documents.sealers")?;
    rows.iter().map(|row| Ok((row.col("sealed_by")?, row.int("n")?))).collect()
}

pub(super) async fn sealed_otherwise(
    c: &mut Conn,
    by: &str,
    after: Option<DocumentKey>,
    limit: u32,
) -> Result<Vec<(DocumentKey, SealedKey)>> {
    let query = sql(&SEALED_OTHERWISE).bind(by).bind(from(after)).bind(limit);
    let rows = query.fetch_all(c).await.place("documents.sealed_otherwise")?;
    let key = |row: &super::Row| {
        Ok((row.parsed("key")?, SealedKey { by: row.col("sealed_by")?, wrapped: row.col("sealed_key")? }))
    };
    rows.iter().map(key).collect()
}

/// Answers how many were wrapped anew: whoever was pruned or rewrapped meanwhile is left alone.
pub(super) async fn rewrap(tx: &mut Tx, rewrapped: &[Rewrapped]) -> Result<u64> {
    let mut done = 0;
    for one in rewrapped {
        let query = sql(&REWRAP)
            .bind(one.key.to_string())
            .bind(&one.was.wrapped[..])
            .bind(&one.becomes.wrapped[..])
            .bind(&one.becomes.by);
        done += query.execute(&mut tx.conn).await.place("documents.rewrap")?.rows_affected();
    }
    Ok(done)
}

pub(super) async fn unsealed(
    c: &mut Conn,
    after: Option<DocumentKey>,
    limit: u32,
) -> Result<Vec<(DocumentKey, u64, Placement)>> {
    let rows = sql(&UNSEALED).bind(from(after)).bind(limit).fetch_all(c).await.place("documents.unsealed")?;
    rows.iter().map(|row| Ok((row.parsed("key")?, row.int("size_bytes")?, rows::placement(row)?))).collect()
}

/// Whether it was in the clear until now; else nothing has changed.
pub(super) async fn seal(tx: &mut Tx, key: DocumentKey, placement: &Placement) -> Result<bool> {
    let sealed = placement.sealed.as_ref();
    let query = sql(&SEAL)
        .bind(key.to_string())
        .bind(placement.inline.as_deref())
        .bind(placement.drawn.map(|name| name.simple().to_string()))
        .bind(sealed.map(|sealed| &sealed.wrapped[..]))
        .bind(sealed.map(|sealed| &sealed.by));
    Ok(query.execute(&mut tx.conn).await.place("documents.seal")?.rows_affected() == 1)
}

fn from(after: Option<DocumentKey>) -> String {
    after.map(|key| key.to_string()).unwrap_or_default()
}
