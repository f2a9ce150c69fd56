//! Senders of faxes that wait for long are told so, once for each fax (RFC 3461 §6.3, `Action: delayed`).

use std::sync::Arc;
use std::time::Duration;

use crate::store::{Result, Store};
use crate::work::Hint;

/// Notices in one transaction: a long outage of a line makes many faxes wait at once.
const BATCH: u32 = 200;

/// Looks for faxes that wait for long.
pub struct Delayed {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The gateway's domain, for the `Message-ID` of the notices.
    pub domain: String,
    /// How long a fax waits until its sender is told.
    pub after: Duration,
    /// Wakes delivery.
    pub hint: Hint,
}

impl Delayed {
    /// Owes the notices that have become due. Answers whether there may be more.
    ///
    /// # Errors
    /// The store's.
    pub async fn step(&self) -> Result<bool> {
        let owed = self.store.owe_delayed(self.after, &self.domain, BATCH).await?;
        if owed > 0 {
            tracing::info!(faxes = owed, "faxes wait for long: their senders are told");
            self.hint.wake();
        }
        Ok(owed >= u64::from(BATCH))
    }
}
