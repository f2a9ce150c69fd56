//! Health, nodes and lines, and the figures.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::SqliteConnection;

use super::error::Place;
use super::rows::{self, Columns};
use super::{Tx, statements};
use crate::domain::{FaxState, NoticeState, Timestamp};
use crate::store::{Counts, LineState, NodeState, Result};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

statements! {
    // Committed and not rolled back: before the commit SQLite has written nothing that could fail.
    PROBE = "-- probe.write
        INSERT INTO probe (one, written_at) VALUES (1, $1) ON CONFLICT (one) DO UPDATE SET written_at = $1";
    NODE_SEEN = "-- nodes.seen
        INSERT INTO nodes (name, epoch, version, roles, started_at, seen_at, draining)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (name) DO UPDATE SET epoch = $2, version = $3, roles = $4, started_at = $5, seen_at = $6,
            draining = $7";
    LINE_SEEN = "-- lines.seen
        INSERT INTO lines (line, node, channels, calls, up, detail, seen_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (line, node) DO UPDATE SET channels = $3, calls = $4, up = $5, detail = $6, seen_at = $7";
    NODES = "-- nodes.all
        SELECT name, epoch, version, roles, started_at, seen_at, draining FROM nodes ORDER BY name";
    LINES = "-- lines.all
        SELECT line, node, channels, calls, up, detail, seen_at FROM lines ORDER BY line, node";
    FAX_COUNTS = "-- faxes.counts\nSELECT state AS word, count(*) AS n FROM faxes GROUP BY state";
    NOTICE_COUNTS = "-- notices.counts\nSELECT state AS word, count(*) AS n FROM notices GROUP BY state";
    CAUSE_COUNTS = "-- faxes.causes
        SELECT cause AS word, count(*) AS n FROM faxes
        WHERE state IN ('sent', 'partial', 'failed', 'unknown', 'cancelled') AND ended_at >= $1 AND cause IS NOT NULL
        GROUP BY cause";
    CALLS = "-- attempts.open\nSELECT count(*) AS n FROM attempts WHERE ended_at IS NULL";
    PARKED = "-- parked_facts.open\nSELECT count(*) AS n FROM parked_facts WHERE applied_at IS NULL";
    OLDEST = "-- faxes.oldest_waiting
        SELECT min(accepted_at) AS at FROM faxes INDEXED BY faxes_waiting WHERE state IN ('accepted', 'ready')";
}

pub(super) async fn probe(tx: &mut Tx) -> Result<()> {
    sqlx::query(PROBE).bind(tx.now.0).execute(&mut tx.conn).await.place("probe.write")?;
    Ok(())
}

pub(super) async fn node_seen(tx: &mut Tx, node: &NodeState) -> Result<()> {
    sqlx::query(NODE_SEEN)
        .bind(&node.owner.node)
        .bind(node.owner.epoch.to_string())
        .bind(&node.version)
        .bind(&node.roles)
        .bind(node.started_at.0)
        .bind(tx.now.0)
        .bind(node.draining)
        .execute(&mut tx.conn)
        .await
        .place("nodes.seen")?;
    Ok(())
}

pub(super) async fn line_seen(tx: &mut Tx, line: &LineState) -> Result<()> {
    sqlx::query(LINE_SEEN)
        .bind(&line.line)
        .bind(&line.node)
        .bind(line.channels)
        .bind(line.calls)
        .bind(line.up)
        .bind(&line.detail)
        .bind(tx.now.0)
        .execute(&mut tx.conn)
        .await
        .place("lines.seen")?;
    Ok(())
}

pub(super) async fn nodes_and_lines(c: &mut SqliteConnection) -> Result<(Vec<NodeState>, Vec<LineState>)> {
    let nodes = sqlx::query(NODES).fetch_all(&mut *c).await.place("nodes.all")?;
    let lines = sqlx::query(LINES).fetch_all(&mut *c).await.place("lines.all")?;
    let nodes = nodes.iter().map(rows::node).collect::<Result<_>>()?;
    Ok((nodes, lines.iter().map(rows::line).collect::<Result<_>>()?))
}

/// Every state has its figure, zero too, so that whoever draws them finds the same names each time.
pub(super) async fn counts(c: &mut SqliteConnection, now: Timestamp) -> Result<Counts> {
    let mut faxes: BTreeMap<String, u64> = FaxState::ALL.iter().map(|state| (state.to_string(), 0)).collect();
    let mut notices: BTreeMap<String, u64> = NoticeState::ALL.iter().map(|state| (state.to_string(), 0)).collect();
    let mut causes_24h = BTreeMap::new();
    let yesterday = now.0.saturating_sub(i64::try_from(DAY.as_millis()).unwrap_or(i64::MAX));
    for (into, query) in [
        (&mut faxes, sqlx::query(FAX_COUNTS)),
        (&mut notices, sqlx::query(NOTICE_COUNTS)),
        (&mut causes_24h, sqlx::query(CAUSE_COUNTS).bind(yesterday)),
    ] {
        for row in query.fetch_all(&mut *c).await.place("counts")? {
            into.insert(row.col("word")?, row.int("n")?);
        }
    }
    let calls = sqlx::query(CALLS).fetch_one(&mut *c).await.place("attempts.open")?.int("n")?;
    let parked_facts = sqlx::query(PARKED).fetch_one(&mut *c).await.place("parked_facts.open")?.int("n")?;
    let oldest = sqlx::query(OLDEST).fetch_one(&mut *c).await.place("faxes.oldest_waiting")?;
    Ok(Counts { faxes, calls, parked_facts, notices, oldest_waiting: oldest.time_opt("at")?, causes_24h })
}
