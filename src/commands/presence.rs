//! A node among others: it says that it lives, sees whether others do, and heeds the orders to it.
//!
//! An order to leave or to come back is a row of the store, so that it works from every node, for every node, and
//! survives a restart. It is looked for every second, and at once when it was given on this node's own socket. While the
//! store is away the node stays as it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::stages::Parts;
use crate::lifecycle::Service;
use crate::store::{NodeState, Store};
use crate::work::Hint;

/// How often a node says that it lives.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);
/// How often it looks for its orders.
const LOOK: Duration = Duration::from_secs(1);
/// A node that was seen within this lives.
const ALIVE: Duration = Duration::from_secs(30);
/// How long a draining node still takes connections where the configuration does not say.
const GRACE: Duration = Duration::from_secs(10);

/// How this node stands among the others. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Presence {
    configured: Option<Duration>,
    others: Arc<AtomicBool>,
}

impl Presence {
    pub(super) fn new(configured: Option<Duration>) -> Self {
        Self { configured, others: Arc::default() }
    }

    /// How long connections are still taken after an order to leave.
    pub(super) fn grace(&self) -> Duration {
        self.configured.unwrap_or(GRACE)
    }

    /// The same when the process is told to stop: where nobody else takes the connections, waiting would help nobody.
    pub(super) fn last_grace(&self) -> Duration {
        let usual = if self.others.load(Ordering::Relaxed) { GRACE } else { Duration::ZERO };
        self.configured.unwrap_or(usual)
    }
}

/// Goes on until `stop`. `ordered` is woken when an order was given here.
pub(super) fn start(parts: &Parts, presence: Presence, ordered: &Hint, stop: CancellationToken) {
    let (store, service) = (Arc::clone(&parts.store), parts.service.clone());
    let roles: Vec<&str> = parts.config.roles.iter().map(|role| role.as_str()).collect();
    let mut node = NodeState {
        owner: parts.owner.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        roles: roles.join(","),
        started_at: parts.clock.now(),
        seen_at: parts.clock.now(),
        draining: false,
        drained: false,
        ordered: None,
    };
    let mut ordered = ordered.listen();
    tokio::spawn(async move {
        let mut beat_at = Instant::now();
        while !stop.is_cancelled() {
            heed(&*store, &node.owner.node, &service, &presence).await;
            let (draining, drained) = (service.is_leaving(), service.is_drained());
            let changed = (draining, drained) != (node.draining, node.drained);
            if changed || Instant::now() >= beat_at {
                (node.draining, node.drained) = (draining, drained);
                beat(&*store, &node, &presence).await;
                beat_at = Instant::now() + HEARTBEAT.mul_f64(0.8 + 0.4 * fastrand::f64());
            }
            let leaving = service.term().leaving;
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = ordered.woken() => {}
                // Said at once.
                () = leaving.cancelled(), if !node.draining => {}
                () = stop.cancelled() => {}
            }
        }
    });
}

async fn heed(store: &dyn Store, node: &str, service: &Service, presence: &Presence) {
    match store.drain_order(node).await {
        Ok(Some(order)) if !service.is_leaving() => {
            tracing::info!(by = order.by, "this node leaves the service: an order");
            service.leave(presence.grace());
        }
        Ok(None) if service.is_leaving() => service.resume(),
        Ok(_) => {}
        Err(error) => tracing::debug!(%error, "orders to this node cannot be read; it goes on as it is"),
    }
}

async fn beat(store: &dyn Store, node: &NodeState, presence: &Presence) {
    if let Err(error) = store.node_seen(node).await {
        tracing::warn!(%error, "cannot say that this node lives");
        return;
    }
    let Ok((nodes, _)) = store.nodes_and_lines().await else { return };
    // By the store's clock: what was just written is now.
    let Some(now) = nodes.iter().find(|seen| seen.owner.node == node.owner.node).map(|seen| seen.seen_at) else {
        return;
    };
    let others = nodes.iter().any(|other| other.owner.node != node.owner.node && now.since(other.seen_at) < ALIVE);
    presence.others.store(others, Ordering::Relaxed);
}
