//! Limits of trunks that hold over every node: channels, and calls that begin within a minute.
//!
//! Whoever begins a call locks the row of its trunk, then counts, then writes: on PostgreSQL nobody else counts until that
//! is committed. The order of locks is the fax's row, its trunk's, that of all trunks; nothing takes them otherwise.

use std::time::Duration;

use uuid::Uuid;

use super::error::Place;
use super::{Tx, sql, statements};
use crate::store::{CallLimits, LineUse, NewIncoming, Owner, Result, StoreError};

/// What a rate is counted over.
const MINUTE_MS: i64 = 60_000;

/// Stands for every trunk together.
const EVERY_LINE: &str = "*";

statements! {
    MAKE = "-- trunks.make\nINSERT INTO trunks (line) VALUES ($1) ON CONFLICT (line) DO NOTHING";
    LOCK = "-- trunks.lock\nSELECT line FROM trunks WHERE line = $1", locking "FOR UPDATE";
    CALLS = "-- trunks.calls
        SELECT (SELECT count(*) FROM attempts WHERE line = $1 AND ended_at IS NULL)
             + (SELECT count(*) FROM incoming_calls WHERE line = $1) AS n";
    BEGUN = "-- trunks.begun
        SELECT count(*) AS n FROM attempts WHERE started_at > $2 AND (line = $1 OR $1 = '*')";
    USE = "-- trunks.use
        SELECT line, CAST(sum(calls) AS BIGINT) AS calls, CAST(sum(begun) AS BIGINT) AS begun FROM (
            SELECT line, count(*) AS calls, 0 AS begun FROM attempts WHERE ended_at IS NULL GROUP BY line
            UNION ALL SELECT line, count(*), 0 FROM incoming_calls GROUP BY line
            UNION ALL SELECT line, 0, count(*) FROM attempts WHERE started_at > $1 GROUP BY line) AS used
        GROUP BY line ORDER BY line";
    KNOWN = "-- incoming_calls.known\nSELECT EXISTS (SELECT 1 FROM incoming_calls WHERE id = $1) AS known";
    BEGIN = "-- incoming_calls.begin
        INSERT INTO incoming_calls (id, line, begun_at, lease_node, lease_epoch, lease_expires_at)
        VALUES ($1, $2, $3, $4, $5, $6)";
    END = "-- incoming_calls.end\nDELETE FROM incoming_calls WHERE id = $1";
}

/// Refuses a call to a number when it would exceed a limit; its attempt is written in this transaction.
pub(super) async fn demand_free(tx: &mut Tx, line: &str, limits: &CallLimits) -> Result<()> {
    if limits.channels.is_some() || limits.line_per_minute.is_some() {
        lock(tx, line).await?;
    }
    if let Some(channels) = limits.channels {
        demand_channel(tx, line, channels).await?;
    }
    if let Some(most) = limits.line_per_minute {
        demand_rate(tx, line, most, "on this line").await?;
    }
    if let Some(most) = limits.all_per_minute {
        lock(tx, EVERY_LINE).await?;
        demand_rate(tx, EVERY_LINE, most, "on all lines").await?;
    }
    Ok(())
}

pub(super) async fn begin_incoming(tx: &mut Tx, owner: &Owner, call: &NewIncoming, lease: Duration) -> Result<()> {
    lock(tx, &call.line).await?;
    let known = sql(&KNOWN).bind(call.id.to_string()).fetch_one(&mut tx.conn).await.place("incoming_calls.known")?;
    if known.col("known")? {
        return Ok(());
    }
    demand_channel(tx, &call.line, call.channels).await?;
    sql(&BEGIN)
        .bind(call.id.to_string())
        .bind(&call.line)
        .bind(tx.now().await?.0)
        .bind(&owner.node)
        .bind(owner.epoch.to_string())
        .bind(tx.now().await?.plus(lease).0)
        .execute(&mut tx.conn)
        .await
        .place("incoming_calls.begin")?;
    Ok(())
}

pub(super) async fn end_incoming(tx: &mut Tx, id: Uuid) -> Result<()> {
    sql(&END).bind(id.to_string()).execute(&mut tx.conn).await.place("incoming_calls.end")?;
    Ok(())
}

pub(super) async fn line_use(tx: &mut Tx) -> Result<Vec<LineUse>> {
    let rows = sql(&USE).bind(tx.now().await?.0 - MINUTE_MS).fetch_all(&mut tx.conn).await.place("trunks.use")?;
    let used = rows.iter().map(|row| {
        Ok(LineUse { line: row.col("line")?, calls: row.int("calls")?, begun_last_minute: row.int("begun")? })
    });
    used.collect()
}

/// Nobody else counts the calls of this trunk until the transaction is over.
async fn lock(tx: &mut Tx, line: &str) -> Result<()> {
    if sql(&LOCK).bind(line).fetch_optional(&mut tx.conn).await.place("trunks.lock")?.is_none() {
        sql(&MAKE).bind(line).execute(&mut tx.conn).await.place("trunks.make")?;
        sql(&LOCK).bind(line).fetch_one(&mut tx.conn).await.place("trunks.lock")?;
    }
    Ok(())
}

async fn demand_channel(tx: &mut Tx, line: &str, channels: u32) -> Result<()> {
    let calls: u32 = sql(&CALLS).bind(line).fetch_one(&mut tx.conn).await.place("trunks.calls")?.int("n")?;
    if calls >= channels {
        return Err(StoreError::NotNow(format!("all {channels} channels of line {line} are taken")));
    }
    Ok(())
}

async fn demand_rate(tx: &mut Tx, line: &str, most: u32, place: &str) -> Result<()> {
    let query = sql(&BEGUN).bind(line).bind(tx.now().await?.0 - MINUTE_MS);
    let begun: u32 = query.fetch_one(&mut tx.conn).await.place("trunks.begun")?.int("n")?;
    if begun >= most {
        return Err(StoreError::NotNow(format!("{begun} calls began within a minute {place}, and {most} may")));
    }
    Ok(())
}
