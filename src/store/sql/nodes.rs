//! Nodes and lines: how they do, and who is to be out of service.

use super::error::Place;
use super::intake::event_of_nobody;
use super::rows;
use super::{Conn, Tx, sql, statements};
use crate::store::{DrainOrder, LineState, NodeState, Result, StoreError, migrations};

statements! {
    // An order of a person is not the node's to change.
    NODE_SEEN = "-- nodes.seen
        INSERT INTO nodes (name, epoch, version, roles, started_at, seen_at, draining, drained, schema)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (name) DO UPDATE SET epoch = $2, version = $3, roles = $4, started_at = $5, seen_at = $6,
            draining = $7, drained = $8, schema = $9";
    LINE_SEEN = "-- lines.seen
        INSERT INTO lines (line, node, channels, calls, up, detail, seen_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (line, node) DO UPDATE SET channels = $3, calls = $4, up = $5, detail = $6, seen_at = $7";
    NODES = "-- nodes.all
        SELECT name, epoch, version, roles, started_at, seen_at, draining, drained, drain_ordered_at, drain_ordered_by
        FROM nodes ORDER BY name";
    LINES = "-- lines.all
        SELECT line, node, channels, calls, up, detail, seen_at FROM lines ORDER BY line, node";
    KNOWN = "-- nodes.known\nSELECT EXISTS (SELECT 1 FROM nodes WHERE name = $1) AS known";
    DRAIN = "-- nodes.drain
        UPDATE nodes SET drain_ordered_at = $2, drain_ordered_by = $3 WHERE name = $1 AND drain_ordered_at IS NULL";
    RESUME = "-- nodes.resume
        UPDATE nodes SET drain_ordered_at = NULL, drain_ordered_by = NULL
        WHERE name = $1 AND drain_ordered_at IS NOT NULL";
    ORDER = "-- nodes.drain_order
        SELECT drain_ordered_at, drain_ordered_by FROM nodes WHERE name = $1";
}

pub(super) async fn node_seen(tx: &mut Tx, node: &NodeState) -> Result<()> {
    sql(&NODE_SEEN)
        .bind(&node.owner.node)
        .bind(node.owner.epoch.to_string())
        .bind(&node.version)
        .bind(&node.roles)
        .bind(node.started_at.0)
        .bind(tx.now().await?.0)
        .bind(node.draining)
        .bind(node.drained)
        .bind(migrations::NEWEST)
        .execute(&mut tx.conn)
        .await
        .place("nodes.seen")?;
    Ok(())
}

pub(super) async fn line_seen(tx: &mut Tx, line: &LineState) -> Result<()> {
    sql(&LINE_SEEN)
        .bind(&line.line)
        .bind(&line.node)
        .bind(line.channels)
        .bind(line.calls)
        .bind(line.up)
        .bind(&line.detail)
        .bind(tx.now().await?.0)
        .execute(&mut tx.conn)
        .await
        .place("lines.seen")?;
    Ok(())
}

pub(super) async fn nodes_and_lines(c: &mut Conn) -> Result<(Vec<NodeState>, Vec<LineState>)> {
    let nodes = sql(&NODES).fetch_all(&mut *c).await.place("nodes.all")?;
    let lines = sql(&LINES).fetch_all(&mut *c).await.place("lines.all")?;
    let nodes = nodes.iter().map(rows::node).collect::<Result<_>>()?;
    Ok((nodes, lines.iter().map(rows::line).collect::<Result<_>>()?))
}

pub(super) async fn drain(tx: &mut Tx, node: &str, by: &str) -> Result<()> {
    demand_known(tx, node).await?;
    let query = sql(&DRAIN).bind(node).bind(tx.now().await?.0).bind(by);
    if query.execute(&mut tx.conn).await.place("nodes.drain")?.rows_affected() == 1 {
        event_of_nobody(tx, Some(node), "drain", &format!("{by} takes the node out of service")).await?;
    }
    Ok(())
}

pub(super) async fn resume(tx: &mut Tx, node: &str, by: &str) -> Result<()> {
    demand_known(tx, node).await?;
    if sql(&RESUME).bind(node).execute(&mut tx.conn).await.place("nodes.resume")?.rows_affected() == 1 {
        event_of_nobody(tx, Some(node), "resume", &format!("{by} takes the node into service again")).await?;
    }
    Ok(())
}

async fn demand_known(tx: &mut Tx, node: &str) -> Result<()> {
    let row = sql(&KNOWN).bind(node).fetch_one(&mut tx.conn).await.place("nodes.known")?;
    if row.col("known")? { Ok(()) } else { Err(StoreError::NotFound { kind: "node", id: node.to_owned() }) }
}

pub(super) async fn order(c: &mut Conn, node: &str) -> Result<Option<DrainOrder>> {
    let row = sql(&ORDER).bind(node).fetch_optional(c).await.place("nodes.drain_order")?;
    row.map_or(Ok(None), |row| rows::drain_order(&row))
}
