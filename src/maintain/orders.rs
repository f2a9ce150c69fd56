//! Orders of people that had to wait for a worker.

use std::sync::Arc;

use crate::store::{Result, Store};
use crate::work::Hint;

/// Carries out orders for faxes that nobody works on any more: a call has ended, pages are made, a lease is freed.
pub struct OrderKeeper {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The gateway's domain, for the `Message-ID` of reports.
    pub domain: String,
    /// Wakes the stage that sends the reports of cancelled faxes.
    pub deliver: Hint,
}

impl OrderKeeper {
    /// Carries out what can be. Answers how many.
    ///
    /// # Errors
    /// The store's; what was ordered still waits then.
    pub async fn step(&self) -> Result<u64> {
        let done = self.store.carry_out_orders(&self.domain).await?;
        if done > 0 {
            tracing::info!(done, "orders that had waited are carried out");
            self.deliver.wake();
        }
        Ok(done)
    }
}
