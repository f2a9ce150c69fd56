//! Facts of calls on their way into the store, from whoever holds them.

use super::{JournalFact, Result, Store};
use crate::domain::AttemptId;

impl JournalFact {
    /// Records it. Accepted from a stale lease too; telling it again changes nothing.
    ///
    /// `NotFound` when the store does not know the attempt, `Refused` when the fax has no such page.
    pub async fn tell(&self, store: &dyn Store, attempt: AttemptId) -> Result<()> {
        match self {
            Self::Page(page) => store.page_confirmed(attempt, page.clone()).await,
            Self::Fact(fact) => store.record_fact(attempt, fact.clone()).await,
        }
    }
}
