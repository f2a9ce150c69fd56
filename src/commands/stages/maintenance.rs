//! Starts what looks after the store, each kind of work in a loop of its own with its own pace.
//!
//! | loop | pace | until |
//! |---|---|---|
//! | expired leases, orphans, received faxes of dead agents | 5 s | the last call is over |
//! | orders that had to wait | 1 s | the last call is over |
//! | notices that a fax waits | 20 s | the last call is over |
//! | retention | its own | the drain begins |
//!
//! Each term of the node's service has them anew.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::tz::TimeZone;

use super::{Hints, Parts, pace, spawn};
use crate::config::inbound::Mailboxes;
use crate::config::{Config, Role};
use crate::lifecycle::{Lifecycle, Term};
use crate::maintain::retention::{self, Retention, Tidying};
use crate::maintain::{self, Delayed, Expiry, Graces, OrderKeeper, ReceivedSettler, Settler};
use crate::store::Store;
use crate::work::{self, Hint, Pace, Progress, WorkError, Worker};

/// How often leases that ran out and orphans are looked for.
const SETTLE: Duration = Duration::from_secs(5);
/// How often orders that had to wait are looked at.
const CARRY_OUT: Duration = Duration::from_secs(1);
/// How often is looked for faxes that wait for long.
const TELL_DELAYED: Duration = Duration::from_secs(20);

/// Starts the role. Settling goes on as long as calls do; retention stops with the first sign of the end.
pub(super) fn start(life: &mut Lifecycle, parts: &Parts, hints: &Hints) {
    let keeping = Keeping {
        config: Arc::clone(&parts.config),
        store: Arc::clone(&parts.store),
        retention: Arc::clone(&parts.retention),
        hints: hints.clone(),
    };
    spawn(life, &parts.service, Role::Maintain, move |term| {
        let (settling, ordering, telling) = (keeping.settling(), keeping.ordering(), keeping.telling());
        let tidying = Tidying(Arc::clone(&keeping.retention));
        let Term { leaving, lines_over: end, .. } = term;
        async move {
            let telling = async {
                if let Some(telling) = telling {
                    work::run("delayed", telling, every(TELL_DELAYED), Hint::new(), end.clone()).await;
                }
            };
            tokio::join!(
                telling,
                work::run("maintain", settling, every(SETTLE), Hint::new(), end.clone()),
                work::run("orders", ordering, every(CARRY_OUT), Hint::new(), end.clone()),
                work::run("retention", tidying, every(retention::PERIOD), Hint::new(), leaving),
            );
            Ok(())
        }
    });
}

fn every(poll: Duration) -> Pace {
    Pace { poll, ..pace() }
}

/// What the loops are made of, anew in each term.
struct Keeping {
    config: Arc<Config>,
    store: Arc<dyn Store>,
    retention: Arc<Retention>,
    hints: Hints,
}

impl Keeping {
    fn settling(&self) -> Settling {
        let freed = vec![self.hints.render.clone(), self.hints.line.clone(), self.hints.deliver.clone()];
        Settling {
            expiry: Expiry::new(Arc::clone(&self.store), Graces::new(SETTLE), freed),
            settler: Settler {
                store: Arc::clone(&self.store),
                domain: self.config.domain.clone(),
                retry: self.config.dial.retry,
                hints: vec![self.hints.line.clone(), self.hints.deliver.clone()],
                steps: Default::default(),
            },
            received: ReceivedSettler {
                store: Arc::clone(&self.store),
                domain: self.config.domain.clone(),
                mailboxes: Mailboxes::new(&self.config, TimeZone::system()),
                deliver: self.hints.deliver.clone(),
            },
        }
    }

    fn ordering(&self) -> Ordering {
        let (store, domain) = (Arc::clone(&self.store), self.config.domain.clone());
        Ordering(OrderKeeper { store, domain, deliver: self.hints.deliver.clone() })
    }

    /// None where nobody is to be told.
    fn telling(&self) -> Option<Telling> {
        let (store, domain) = (Arc::clone(&self.store), self.config.domain.clone());
        let after = self.config.delivery.delayed?;
        Some(Telling(Delayed { store, domain, after, hint: self.hints.deliver.clone() }))
    }
}

/// Expiry and settler as one worker: what the one frees, the other settles at once.
struct Settling {
    expiry: Expiry,
    settler: Settler,
    received: ReceivedSettler,
}

#[async_trait]
impl Worker for Settling {
    async fn step(&mut self) -> Result<Progress, WorkError> {
        self.expiry.step().await?;
        self.settler.step().await?;
        self.received.step().await?;
        maintain::forget_keys(&*self.settler.store).await?;
        // Orphans are looked for at the pace of this loop, however many there were.
        Ok(Progress::Idle)
    }
}

/// The keeper of orders as a worker.
struct Ordering(OrderKeeper);

#[async_trait]
impl Worker for Ordering {
    async fn step(&mut self) -> Result<Progress, WorkError> {
        Ok(if self.0.step().await? > 0 { Progress::Worked } else { Progress::Idle })
    }
}

/// The look for faxes that wait for long, as a worker.
struct Telling(Delayed);

#[async_trait]
impl Worker for Telling {
    async fn step(&mut self) -> Result<Progress, WorkError> {
        // A full batch says that there may be more.
        Ok(if self.0.step().await? { Progress::Worked } else { Progress::Idle })
    }
}
