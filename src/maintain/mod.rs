//! Maintenance: what crashed workers left is freed ([`Expiry`]) and settled ([`Settler`]), and orders that had to wait are
//! carried out ([`OrderKeeper`]).
//!
//! An attempt that was open when its agent died has no owner. It is closed as far as pages were confirmed, and its fax
//! goes on by the duplicate policy:
//!
//! | recorded | the fax becomes |
//! |---|---|
//! | every page confirmed | `sent` |
//! | last page and end of procedure left, confirmation outstanding | `unknown`: never sent again silently |
//! | how the call ended, told by the agent's journal | what that cause makes of it: called again later, or over |
//! | anything less | `ready` again at once, from the first page that was not confirmed |
//!
//! Facts of calls that no row took are told again from time to time: the store may have got its rows back. Faxes that wait
//! for long are told to their senders by [`Delayed`], and what is over for long enough is removed ([`retention`]).

pub mod backup;
mod delayed;
mod expiry;
mod keys;
mod orders;
mod received;
pub mod retention;
#[cfg(test)]
mod tests;
pub mod verify;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::config::RetryConfig;
use crate::config::retry::{self, Decision};
use crate::domain::{Cause, Outcome, Timestamp};
use crate::fault::crash_point;
use crate::store::{AttemptEnd, FinalEnd, Next, Orphan, Result, Store, StoreError};
use crate::work::Hint;
pub use delayed::Delayed;
pub use expiry::{Expiry, Graces};
pub use keys::forget_keys;
pub use orders::OrderKeeper;
pub use received::ReceivedSettler;

/// Settles orphans.
pub struct Settler {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The gateway's domain, for the `Message-ID` of reports.
    pub domain: String,
    /// When to call again.
    pub retry: RetryConfig,
    /// Wakes the stages that go on with what was settled.
    pub hints: Vec<Hint>,
    /// Steps so far.
    pub steps: AtomicU32,
}

/// Steps from one telling of parked facts to the next: a minute.
const PARKED_EVERY: u32 = 12;
/// Parked facts that are told again at once.
const PARKED_MAX: u32 = 100;

impl Settler {
    /// Settles every orphan there is. Answers how many.
    pub async fn step(&self) -> Result<usize> {
        if self.steps.fetch_add(1, Ordering::Relaxed).is_multiple_of(PARKED_EVERY) {
            self.tell_parked().await?;
        }
        let orphans = self.store.orphans().await?;
        let mut settled = 0;
        for orphan in orphans {
            let now = self.store.now().await?;
            let (end, next) = self.judge(&orphan, now);
            tracing::info!(
                fax = %orphan.fax.id.short(), attempt = orphan.attempt.number, confirmed = orphan.fax.pages_confirmed,
                detail = %end.detail, "settling a call that its agent left open"
            );
            crash_point!("maintain.settling");
            match self.store.settle(&orphan, end, next).await {
                Ok(()) => {
                    crash_point!("maintain.settled");
                    settled += 1;
                }
                // Somebody else was quicker.
                Err(StoreError::LeaseLost(_)) => {}
                // A fact came in between: it is read and judged anew with the next step, and the others go on.
                Err(StoreError::Refused(why)) => tracing::warn!(fax = %orphan.fax.id.short(), why, "not settled yet"),
                Err(error) => return Err(error),
            }
        }
        if settled > 0 {
            self.hints.iter().for_each(Hint::wake);
        }
        Ok(settled)
    }

    fn judge(&self, orphan: &Orphan, now: Timestamp) -> (AttemptEnd, Next) {
        let Orphan { attempt, fax, message, earlier, .. } = orphan;
        let complete = fax.page_count.is_some_and(|count| fax.pages_confirmed >= count);
        if complete {
            let end = AttemptEnd { detail: "every page was confirmed".to_owned(), ..attempt.end.clone() };
            return (end, Next::Final(FinalEnd::new(message, fax, Outcome::Sent, None, None, &self.domain)));
        }
        let ended = Ended::of(orphan);
        let (cause, detail) = (ended.cause, ended.end.detail.clone());
        let over = |outcome| FinalEnd::new(message, fax, outcome, Some(cause), Some(detail.clone()), &self.domain);
        let not_sent = || FinalEnd::not_sent(message, fax, cause, Some(detail.clone()), &self.domain);
        let next = match ended.cause {
            Cause::ConfirmationLost => Next::Final(over(Outcome::Unknown)),
            Cause::Cancelled => Next::Final(over(Outcome::Cancelled)),
            _ => match retry::decide(&self.retry, cause, earlier, now, fax.give_up_at, 0.0) {
                // Our own crash is no reason to wait: only the number of calls is limited.
                Decision::Again(_) if ended.by_crash => Next::Again { not_before: now },
                Decision::Again(not_before) => Next::Again { not_before },
                Decision::GiveUp => Next::Final(not_sent()),
            },
        };
        (ended.end, next)
    }

    /// Tells facts again that no row took. Answers how many were taken.
    async fn tell_parked(&self) -> Result<usize> {
        let mut taken = 0;
        for parked in self.store.parked_facts(PARKED_MAX).await? {
            match parked.fact.tell(&*self.store, parked.attempt).await {
                Ok(()) => {
                    self.store.unpark_fact(parked.id).await?;
                    tracing::info!(attempt = %parked.attempt, fact = ?parked.fact, "a parked fact of a call has its row");
                    taken += 1;
                }
                Err(StoreError::Unavailable(why)) => return Err(StoreError::Unavailable(why)),
                // It stays, and the status shows it.
                Err(_) => {}
            }
        }
        Ok(taken)
    }
}

/// How an orphaned call ended, as far as anybody can know.
struct Ended {
    end: AttemptEnd,
    cause: Cause,
    /// Nobody has said how: the agent was gone first.
    by_crash: bool,
}

impl Ended {
    fn of(orphan: &Orphan) -> Self {
        let attempt = &orphan.attempt;
        let told = attempt.told_end.clone();
        let by_crash = told.is_none();
        let end = told.unwrap_or_else(|| attempt.end.clone());
        let outstanding = attempt.all_pages_sent && end.cause != Some(Cause::PageRejected);
        let (cause, crash_detail) = match end.cause {
            // The agent knew of confirmations that are not on record: they may lie on paper over there.
            None if !by_crash => (Cause::ConfirmationLost, "confirmations of pages are missing in the record"),
            _ if outstanding => {
                (Cause::ConfirmationLost, "the gateway stopped while the last confirmation was outstanding")
            }
            Some(cause) => (cause, ""),
            None => (Cause::RemoteHangup, "the gateway stopped in the middle of the call"),
        };
        let detail = if by_crash || end.detail.is_empty() { crash_detail.to_owned() } else { end.detail.clone() };
        Self { end: AttemptEnd { detail, cause: Some(cause), ..end }, cause, by_crash }
    }
}
