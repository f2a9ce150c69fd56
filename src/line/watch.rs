//! What ends a call of ours from our side: a person's order, a lease that may be somebody else's, a store and a journal
//! that keep nothing. A page on the wire is finished first; a call that only rings is given up at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use foip::call::Refusal;
use tokio_util::sync::CancellationToken;

use crate::domain::FaxId;
use crate::lifecycle::HeldUntil;
use crate::store::Order;

/// Why a call is ended by us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// A person wants it.
    Ordered(Order),
    /// The lease could not be renewed for too long.
    LeaseOver,
    /// It was freed meanwhile: somebody else may call for the fax.
    LeaseLost,
    /// A confirmation cannot be kept, and why.
    Storage(String),
}

impl Stop {
    /// For people, and for the record of the attempt.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Ordered(Order::Cancel) => "ended between pages: the fax was cancelled".to_owned(),
            Self::Ordered(Order::Hold) => "ended between pages: the fax is to be held".to_owned(),
            Self::LeaseOver => "ended between pages: the store was away for too long".to_owned(),
            Self::LeaseLost => "ended between pages: the fax was taken away while the store was not reached".to_owned(),
            Self::Storage(why) => format!("the page's confirmation cannot be kept: {why}"),
        }
    }
}

/// One call as those see it who may end it.
#[derive(Debug)]
pub(super) struct Watch {
    page_count: u32,
    held_until: HeldUntil,
    /// Cancelled when the lease of this call alone is gone.
    lost: CancellationToken,
    /// Gives the call up before its first page.
    give_up: CancellationToken,
    pages_began: AtomicBool,
    ordered: OnceLock<Order>,
    stopped: OnceLock<Stop>,
}

impl Watch {
    pub(super) fn new(
        page_count: u32,
        held_until: HeldUntil,
        lost: CancellationToken,
        give_up: CancellationToken,
    ) -> Self {
        let (ordered, stopped) = (OnceLock::new(), OnceLock::new());
        Self { page_count, held_until, lost, give_up, pages_began: AtomicBool::new(false), ordered, stopped }
    }

    pub(super) fn is_last(&self, page: u32) -> bool {
        page >= self.page_count
    }

    /// Whether the call may go on, now that no page is on the wire.
    pub(super) fn may_begin_page(&self) -> Result<(), Refusal> {
        if let Some(order) = self.ordered.get() {
            return Err(self.stop(Stop::Ordered(*order)));
        }
        self.surely_held().map_err(|why| self.stop(why))?;
        self.pages_began.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether nobody else can have the fax. The deadline is asked first: after an outage it moves on when the loss is
    /// known already.
    pub(super) fn surely_held(&self) -> Result<(), Stop> {
        if self.held_until.is_over() {
            return Err(Stop::LeaseOver);
        }
        if self.lost.is_cancelled() { Err(Stop::LeaseLost) } else { Ok(()) }
    }

    /// Notes why the call ends.
    pub(super) fn stop(&self, why: Stop) -> Refusal {
        let words = why.words();
        let _ = self.stopped.set(why);
        Refusal(words)
    }

    /// Why we ended the call, if we did.
    pub(super) fn stopped(&self) -> Option<&Stop> {
        self.stopped.get()
    }

    fn order(&self, order: Order) {
        if self.ordered.set(order).is_ok() && !self.pages_began.load(Ordering::Acquire) {
            let _ = self.stopped.set(Stop::Ordered(order));
            self.give_up.cancel();
        }
    }
}

/// The calls under way.
#[derive(Debug, Clone, Default)]
pub(super) struct UnderWay(Arc<Mutex<BTreeMap<FaxId, Arc<Watch>>>>);

impl UnderWay {
    /// Adds a call until the answer is dropped.
    pub(super) fn add(&self, fax: FaxId, watch: Arc<Watch>) -> Listed {
        self.lock().insert(fax, watch);
        Listed { fax, all: self.clone() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Passes an order on to its call.
    pub(super) fn order(&self, fax: FaxId, order: Order) {
        if let Some(watch) = self.lock().get(&fax) {
            watch.order(order);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<FaxId, Arc<Watch>>> {
        // Whoever panicked in between left a whole map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call in the list of those under way.
#[derive(Debug)]
pub(super) struct Listed {
    fax: FaxId,
    all: UnderWay,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.all.lock().remove(&self.fax);
    }
}
