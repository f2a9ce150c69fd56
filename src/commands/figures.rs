//! What `/metrics` tells: the registry of this process, filled from the store when somebody asks.
//!
//! The store is read every few seconds at most, however often is asked, and never waited for long: a store that is away
//! is a figure itself.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::stages::Parts;
use crate::console::nodes::Standing;
use crate::console::{Figures, Storage};
use crate::intake::Intake;
use crate::lifecycle::{Health, Service};
use crate::store::{Result as StoreResult, Store};
use crate::telemetry::metrics::{self, Metrics};
use crate::work::{self, Leases};

/// How old figures of the store may be.
const FRESH: Duration = Duration::from_secs(5);
/// How long the store may take for them.
const READ_MAX: Duration = Duration::from_secs(2);

/// Gathers them.
pub(super) struct Gathered {
    metrics: Arc<Metrics>,
    store: Arc<dyn Store>,
    storage: Arc<dyn Storage>,
    converter: pages::Converter,
    service: Service,
    health: Health,
    leases: Leases,
    intake: Arc<Intake>,
    read_at: Mutex<Option<Instant>>,
}

impl Gathered {
    pub(super) fn new(parts: &Parts, intake: Arc<Intake>, storage: Arc<dyn Storage>, health: Health) -> Self {
        Self {
            metrics: Arc::clone(&parts.metrics),
            store: Arc::clone(&parts.store),
            storage,
            converter: parts.converter.clone(),
            service: parts.service.clone(),
            health,
            leases: parts.leases.clone(),
            intake,
            read_at: Mutex::new(None),
        }
    }

    fn of_this_process(&self) {
        let metrics = &self.metrics;
        let (worked, failed, panicked) = work::tally();
        for (result, steps) in [("worked", worked), ("failed", failed), ("panicked", panicked)] {
            metrics.counted("faxwell_work_steps", &[result], steps);
        }
        metrics.counted(metrics::LEASES_LOST, &[], self.leases.lost_so_far());
        for ((at, class), count) in self.intake.refusals() {
            metrics.counted(metrics::SMTP_REFUSALS, &[at, class], count);
        }
        metrics.counted("faxwell_converter_crashes", &[], self.converter.crashes());
        let seen = self.health.seen();
        metrics.counted("faxwell_store_outages", &[], seen.store_outages);
        metrics.set_one("faxwell_store_up", Some(one(seen.store.is_ok())));
        metrics.set_one("faxwell_store_copies", seen.store.ok().flatten().map(f64::from));
        metrics.set_one("faxwell_documents_up", Some(one(seen.documents.is_ok())));
        metrics.set_one("faxwell_draining", Some(one(self.service.is_leaving())));
    }

    async fn of_the_store(&self) -> StoreResult<()> {
        let metrics = &self.metrics;
        let (now, counts) = (self.store.now().await?, self.store.counts().await?);
        metrics.set("faxwell_faxes", counts.faxes.iter().map(|(state, count)| ([state], *count as f64)));
        metrics.set("faxwell_notices", counts.notices.iter().map(|(state, count)| ([state], *count as f64)));
        let age = counts.oldest_waiting.map_or(0.0, |oldest| now.since(oldest).as_secs_f64());
        metrics.set_one("faxwell_queue_age_seconds", Some(age));
        metrics.set_one("faxwell_parked_facts", Some(counts.parked_facts as f64));
        let (nodes, lines) = self.store.nodes_and_lines().await?;
        let used = self.store.line_use().await?;
        let calls = |line: &str| used.iter().find(|used| used.line == line).map_or(0, |used| used.calls);
        metrics.set("faxwell_calls", lines.iter().map(|line| ([&line.line], f64::from(calls(&line.line)))));
        metrics.set("faxwell_line_channels", lines.iter().map(|line| ([&line.line], f64::from(line.channels))));
        metrics.set("faxwell_line_up", lines.iter().map(|line| ([&line.line, &line.node], one(line.up))));
        metrics.set("faxwell_line_calls", lines.iter().map(|line| ([&line.line, &line.node], f64::from(line.calls))));
        let standing = |wanted| nodes.iter().filter(|node| Standing::of(node, now) == wanted).count() as f64;
        metrics.set("faxwell_nodes", Standing::ALL.iter().map(|of| ([of.as_str()], standing(*of))));
        let kept = self.storage.state().await;
        metrics.set_one("faxwell_documents", kept.documents.map(|count| count as f64));
        metrics.set_one("faxwell_documents_bytes", kept.documents_bytes.map(|bytes| bytes as f64));
        Ok(())
    }
}

fn one(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

#[async_trait]
impl Figures for Gathered {
    async fn text(&self) -> String {
        let mut read_at = self.read_at.lock().await;
        if read_at.is_none_or(|at| at.elapsed() >= FRESH) {
            // Also after a failure: who asks again at once would wait once more.
            *read_at = Some(Instant::now());
            match tokio::time::timeout(READ_MAX, self.of_the_store()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "the store's figures stay as they were"),
                Err(_) => tracing::debug!("the store's figures stay as they were: it did not answer in time"),
            }
        }
        self.of_this_process();
        self.metrics.text()
    }
}
