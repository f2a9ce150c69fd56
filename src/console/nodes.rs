//! Nodes: what each does, and the orders that take it out of service and back.
//!
//! An order is a row of the store, so that it may be given on any node for any node. The node that is meant obeys within a
//! second; this one at once.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::orders::{self, OrderBody};
use super::view::NodeView;
use super::{Console, Problem, page};
use crate::domain::Timestamp;
use crate::domain::page::words;
use crate::store::NodeState;

/// A node that was not seen for so long is gone, as far as others can tell.
const GONE_AFTER: std::time::Duration = std::time::Duration::from_secs(30);

/// What is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeOrder {
    /// Out of service, until it is resumed.
    Drain,
    /// Into service again.
    Resume,
}
words!(NodeOrder { Drain = "drain", Resume = "resume" });

/// How a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// In service.
    Serving,
    /// On its way out of service: what it works on is finished.
    Draining,
    /// Out of service, nothing is left.
    Drained,
    /// Not seen for a while.
    Gone,
}
words!(Standing { Serving = "serving", Draining = "draining", Drained = "drained", Gone = "gone" });

impl Standing {
    /// As the others see it at this time by the store's clock.
    pub fn of(node: &NodeState, now: Timestamp) -> Self {
        match () {
            () if now.since(node.seen_at) >= GONE_AFTER => Self::Gone,
            () if node.drained => Self::Drained,
            () if node.draining || node.ordered.is_some() => Self::Draining,
            () => Self::Serving,
        }
    }
}

/// Every node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeList {
    /// By name.
    pub nodes: Vec<NodeView>,
}

/// `GET /api/v1/nodes`
pub(super) async fn list(State(console): State<Console>) -> Result<Json<NodeList>, Problem> {
    Ok(Json(NodeList { nodes: nodes(&console).await? }))
}

async fn nodes(console: &Console) -> Result<Vec<NodeView>, Problem> {
    let (nodes, _) = console.services.store.nodes_and_lines().await?;
    let now = console.services.store.now().await?;
    Ok(nodes.iter().map(|node| NodeView::new(node, now)).collect())
}

/// `POST /api/v1/nodes/NAME/drain` or `…/resume`; answers with the node.
pub(super) async fn order(
    State(console): State<Console>,
    Path((name, order)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<NodeView>, Problem> {
    let order = order
        .parse::<NodeOrder>()
        .map_err(|error| Problem::bad_request(format!("order: {error}"), "order drain or resume"))?;
    let body: OrderBody = orders::body(&headers, &body)?;
    let (store, by) = (&console.services.store, orders::who(body.by.as_deref()));
    tracing::info!(node = name, %order, by, "ordered");
    match order {
        NodeOrder::Drain => store.drain_node(&name, &by).await?,
        NodeOrder::Resume => store.resume_node(&name, &by).await?,
    }
    console.services.node_ordered.wake();
    let found = nodes(&console).await?.into_iter().find(|node| node.node == name);
    found.map(Json).ok_or_else(|| Problem::not_found(format!("there is no node {name}")))
}

/// `GET /nodes`
pub(super) async fn show(State(console): State<Console>) -> Response {
    match nodes(&console).await {
        Ok(nodes) => page::page(console.access, "nodes.html", json!({ "title": "Nodes", "nodes": nodes })),
        Err(problem) => page::problem(&problem).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{DrainOrder, Owner};

    #[test]
    fn a_node_stands_as_its_row_and_the_stores_clock_say() {
        let order = || Some(DrainOrder { by: "anna".to_owned(), at: Timestamp(0) });
        let cases = [
            (false, false, None, 29, Standing::Serving),
            // Ordered, and not yet obeyed.
            (false, false, order(), 1, Standing::Draining),
            (true, false, None, 1, Standing::Draining),
            (true, true, order(), 1, Standing::Drained),
            (true, true, order(), 30, Standing::Gone),
        ];
        for (draining, drained, ordered, seconds_ago, expected) in cases {
            let node = NodeState {
                owner: Owner { node: "gw-a".to_owned(), epoch: uuid::Uuid::nil() },
                version: "0.1.0".to_owned(),
                roles: "smtp".to_owned(),
                started_at: Timestamp(0),
                seen_at: Timestamp(1_000_000),
                draining,
                drained,
                ordered,
            };
            let now = node.seen_at.plus(std::time::Duration::from_secs(seconds_ago));
            assert_eq!(Standing::of(&node, now), expected, "{node:?}");
        }
    }
}
