//! Starts what looks after the store, each kind of work in a loop of its own with its own pace.
//!
//! | loop | pace | until |
//! |---|---|---|
//! | expired leases, orphans, received faxes of dead agents | 5 s | the last call is over |
//! | orders that had to wait | 1 s | the last call is over |
//! | notices that a fax waits | 20 s | the last call is over |
//! | retention | its own | the drain begins |

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::tz::TimeZone;
use tokio_util::sync::CancellationToken;

use super::{Hints, Parts, pace, spawn};
use crate::config::Role;
use crate::config::inbound::Mailboxes;
use crate::lifecycle::Lifecycle;
use crate::maintain::retention::{self, Tidying};
use crate::maintain::{self, Delayed, Expiry, Graces, OrderKeeper, ReceivedSettler, Settler};
use crate::work::{self, Hint, Pace, Progress, WorkError, Worker};

/// How often leases that ran out and orphans are looked for.
const SETTLE: Duration = Duration::from_secs(5);
/// How often orders that had to wait are looked at.
const CARRY_OUT: Duration = Duration::from_secs(1);
/// How often is looked for faxes that wait for long.
const TELL_DELAYED: Duration = Duration::from_secs(20);

/// Starts the role. Settling goes on until `end`, as long as calls do; retention stops with the first sign of the end.
pub(super) fn start(life: &mut Lifecycle, parts: &Parts, hints: &Hints, end: CancellationToken) {
    let (settling, ordering) = (settling(parts, hints), ordering(parts, hints));
    let (telling, tidying) = (telling(parts, hints), Tidying(Arc::clone(&parts.retention)));
    let drain = life.drain();
    spawn(life, Role::Maintain, async move {
        let telling = async {
            if let Some(telling) = telling {
                work::run("delayed", telling, every(TELL_DELAYED), Hint::new(), end.clone()).await;
            }
        };
        tokio::join!(
            telling,
            work::run("maintain", settling, every(SETTLE), Hint::new(), end.clone()),
            work::run("orders", ordering, every(CARRY_OUT), Hint::new(), end.clone()),
            work::run("retention", tidying, every(retention::PERIOD), Hint::new(), drain),
        );
    });
}

fn every(poll: Duration) -> Pace {
    Pace { poll, ..pace() }
}

fn settling(parts: &Parts, hints: &Hints) -> Settling {
    let freed = vec![hints.render.clone(), hints.line.clone(), hints.deliver.clone()];
    Settling {
        expiry: Expiry::new(Arc::clone(&parts.store), Graces::new(SETTLE), freed),
        settler: Settler {
            store: Arc::clone(&parts.store),
            domain: parts.config.domain.clone(),
            retry: parts.config.dial.retry,
            hints: vec![hints.line.clone(), hints.deliver.clone()],
            steps: Default::default(),
        },
        received: ReceivedSettler {
            store: Arc::clone(&parts.store),
            domain: parts.config.domain.clone(),
            mailboxes: Mailboxes::new(&parts.config, TimeZone::system()),
            deliver: hints.deliver.clone(),
        },
    }
}

fn ordering(parts: &Parts, hints: &Hints) -> Ordering {
    let (store, domain) = (Arc::clone(&parts.store), parts.config.domain.clone());
    Ordering(OrderKeeper { store, domain, deliver: hints.deliver.clone() })
}

/// None where nobody is to be told.
fn telling(parts: &Parts, hints: &Hints) -> Option<Telling> {
    let (store, domain) = (Arc::clone(&parts.store), parts.config.domain.clone());
    let after = parts.config.delivery.delayed?;
    Some(Telling(Delayed { store, domain, after, hint: hints.deliver.clone() }))
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
