//! Maintenance: what crashed workers left is settled.
//!
//! An attempt that was open when its agent died has no owner. It is closed as far as pages were confirmed, and its fax
//! goes on by the duplicate policy:
//!
//! | recorded | the fax becomes |
//! |---|---|
//! | every page confirmed | `sent` |
//! | last page and end of procedure left, confirmation outstanding | `unknown`: never sent again silently |
//! | anything less | `ready` again, from the first page that was not confirmed |

use std::sync::Arc;

use crate::config::RetryConfig;
use crate::config::retry::{self, Decision};
use crate::domain::{Cause, Outcome, Timestamp};
use crate::store::{AttemptEnd, FinalEnd, Next, Orphan, Result, Store, StoreError};
use crate::work::Hint;

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
}

impl Settler {
    /// Settles every orphan there is. Answers how many.
    pub async fn step(&self) -> Result<usize> {
        let orphans = self.store.orphans().await?;
        let mut settled = 0;
        for orphan in orphans {
            let now = self.store.now().await?;
            let (end, next) = self.judge(&orphan, now);
            tracing::info!(
                fax = %orphan.fax.id.short(), attempt = orphan.attempt.number, confirmed = orphan.fax.pages_confirmed,
                detail = %end.detail, "settling a call that its agent left open"
            );
            match self.store.settle(&orphan, end, next).await {
                Ok(()) => settled += 1,
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
        let (cause, detail) = if attempt.all_pages_sent {
            (Cause::ConfirmationLost, "the gateway stopped while the last confirmation was outstanding")
        } else {
            (Cause::RemoteHangup, "the gateway stopped in the middle of the call")
        };
        let end = AttemptEnd { detail: detail.to_owned(), cause: Some(cause), ..attempt.end.clone() };
        let detail = Some(detail.to_owned());
        if attempt.all_pages_sent {
            let end_of_fax = FinalEnd::new(message, fax, Outcome::Unknown, Some(cause), detail, &self.domain);
            return (end, Next::Final(end_of_fax));
        }
        // Our own crash is no reason to wait: only the number of calls is limited.
        let next = match retry::decide(&self.retry, cause, earlier, now, fax.give_up_at, 0.0) {
            Decision::Again(_) => Next::Again { not_before: now },
            Decision::GiveUp => Next::Final(FinalEnd::not_sent(message, fax, cause, detail, &self.domain)),
        };
        (end, next)
    }
}
