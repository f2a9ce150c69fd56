//! Leases whose owners are gone are freed, so that others go on with their work.
//!
//! Each step marks the leases that have run out and frees those whose grace is over. The grace is counted from when the
//! store has answered without a gap, too: after an outage, a failover or a suspended machine the owners need a moment for
//! their renewals, and nothing may be taken from them before. A step that fails begins that time anew.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::Timestamp;
use crate::store::{Expired, ExpiryRules, Result, Store};
use crate::work::Hint;

/// How long owners of expired leases may still come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Graces {
    /// For pages and mails.
    pub work: Duration,
    /// For calls: longer than an ordinary page takes, which an agent that is cut off finishes on the wire.
    pub call: Duration,
    /// Steps further apart than this are a gap: nobody knows whether the store answered in between.
    pub gap_max: Duration,
}

impl Graces {
    /// 15 s and 90 s, for steps that are `poll` apart.
    pub fn new(poll: Duration) -> Self {
        // Two polls may fail to come in time, with their jitter, and be no outage yet.
        Self { work: Duration::from_secs(15), call: Duration::from_secs(90), gap_max: poll * 3 }
    }
}

/// Frees leases.
pub struct Expiry {
    store: Arc<dyn Store>,
    graces: Graces,
    hints: Vec<Hint>,
    reached: Option<Reached>,
}

/// Since when, and when last, the store has answered.
#[derive(Debug, Clone, Copy)]
struct Reached {
    since: Timestamp,
    last: Timestamp,
}

impl Expiry {
    /// It has not asked the store yet. `hints` wakes the stages that go on with what is freed.
    pub fn new(store: Arc<dyn Store>, graces: Graces, hints: Vec<Hint>) -> Self {
        Self { store, graces, hints, reached: None }
    }

    /// Looks once at every lease.
    ///
    /// # Errors
    /// When the store does not answer; the graces begin anew then.
    pub async fn step(&mut self) -> Result<Expired> {
        // Taken out: whatever error ends this step also ends the time without a gap.
        let before = self.reached.take();
        let now = self.store.now().await?;
        let since = match before {
            Some(Reached { since, last }) if now <= last.plus(self.graces.gap_max) => since,
            _ => now,
        };
        let Graces { work: grace, call: call_grace, .. } = self.graces;
        let expired = self.store.expire_leases(ExpiryRules { grace, call_grace, reachable_since: since }).await?;
        self.reached = Some(Reached { since, last: now });
        if expired.suspects > 0 {
            tracing::warn!(leases = expired.suspects, "leases have run out; their owners may still come back");
        }
        if expired.freed > 0 {
            tracing::warn!(leases = expired.freed, "freed the leases of workers that are gone; others go on with it");
            self.hints.iter().for_each(Hint::wake);
        }
        Ok(expired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{self, TestStore};

    const SECOND: Duration = Duration::from_secs(1);
    const LEASE: Duration = Duration::from_secs(60);
    const NOTHING: Expired = Expired { suspects: 0, freed: 0 };
    const SUSPECT: Expired = Expired { suspects: 1, freed: 0 };
    const FREED: Expired = Expired { suspects: 0, freed: 1 };

    fn expiry(test: &TestStore) -> Expiry {
        Expiry::new(test.store.clone(), Graces::new(5 * SECOND), Vec::new())
    }

    /// A message whose renderer is gone.
    async fn leased(test: &TestStore) {
        test.store.submit(testing::message(&["+99910200"])).await.unwrap();
        test.store.claim_render(&testing::owner("gw-a"), LEASE).await.unwrap().unwrap();
    }

    /// Steps every five seconds, as the loop does, until something happens; answers when, and what.
    async fn next(test: &TestStore, expiry: &mut Expiry) -> (Duration, Expired) {
        for step in 1..=100 {
            test.clock.advance(5 * SECOND);
            let expired = expiry.step().await.unwrap();
            if expired != NOTHING {
                return (5 * step * SECOND, expired);
            }
        }
        panic!("nothing happened");
    }

    #[tokio::test]
    async fn a_lease_that_ran_out_is_marked_and_then_freed_after_its_grace() {
        let test = testing::sqlite().await;
        leased(&test).await;
        let mut expiry = expiry(&test);
        assert_eq!(expiry.step().await.unwrap(), NOTHING);
        assert_eq!(next(&test, &mut expiry).await, (60 * SECOND, SUSPECT));
        assert_eq!(next(&test, &mut expiry).await, (15 * SECOND, FREED));
        assert!(test.store.claim_render(&testing::owner("gw-b"), LEASE).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_gap_between_two_steps_begins_every_grace_anew() {
        let test = testing::sqlite().await;
        leased(&test).await;
        let mut expiry = expiry(&test);
        expiry.step().await.unwrap();
        assert_eq!(next(&test, &mut expiry).await, (60 * SECOND, SUSPECT));
        // A suspended machine: the first step afterwards sees a lease whose grace is long over.
        test.clock.advance(3600 * SECOND);
        assert_eq!(expiry.step().await.unwrap(), NOTHING);
        assert_eq!(next(&test, &mut expiry).await, (15 * SECOND, FREED));
    }

    #[tokio::test]
    async fn a_store_that_did_not_answer_begins_every_grace_anew() {
        let test = testing::sqlite().await;
        leased(&test).await;
        let mut expiry = expiry(&test);
        expiry.step().await.unwrap();
        assert_eq!(next(&test, &mut expiry).await, (60 * SECOND, SUSPECT));
        test.store.close().await;
        test.clock.advance(5 * SECOND);
        assert!(expiry.step().await.is_err());
        let again = testing::open(&test).await;
        expiry.store = again.clone();
        test.clock.advance(5 * SECOND);
        // Ten seconds after the mark, and the first time that the store answers again.
        assert_eq!(expiry.step().await.unwrap(), NOTHING);
        assert_eq!(next(&test, &mut expiry).await, (15 * SECOND, FREED));
    }
}
