//! Received faxes whose agent is gone in the middle of their call.
//!
//! The far end was told that their pages are received, so they are delivered like any other, marked as incomplete. The
//! agent may come back first and end its fax itself; whoever is first tells the end, and the other finds it told.

use std::sync::Arc;

use crate::config::inbound::Mailboxes;
use crate::domain::Cause;
use crate::domain::inbound::Rule;
use crate::store::{ReceivedEnd, Result, StaleReceived, Store, StoreError};
use crate::work::Hint;

/// What is told of the end of such a call.
const STOPPED: &str = "the gateway stopped in the middle of the call";

/// Settles received faxes that nobody holds.
pub struct ReceivedSettler {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The gateway's domain, for the `Message-ID` of the mails.
    pub domain: String,
    /// Whom received faxes go to.
    pub mailboxes: Mailboxes,
    /// Wakes the stage that delivers the mails.
    pub deliver: Hint,
}

impl ReceivedSettler {
    /// Settles every received fax that nobody holds. Answers how many.
    ///
    /// # Errors
    /// The store's; what is not settled is found again.
    pub async fn step(&self) -> Result<usize> {
        let stale = self.store.stale_received().await?;
        if stale.is_empty() {
            return Ok(0);
        }
        let stored: Vec<Rule> = self.store.inbound_routes().await?.into_iter().map(|route| route.rule).collect();
        let mut settled = 0;
        for fax in &stale {
            if self.settle(fax, stored.clone()).await? {
                settled += 1;
            }
        }
        if settled > 0 {
            self.deliver.wake();
        }
        Ok(settled)
    }

    async fn settle(&self, stale: &StaleReceived, stored: Vec<Rule>) -> Result<bool> {
        let received = &stale.record.received;
        let fax = received.id.short();
        let to = self.mailboxes.choose(received.incoming(), received.started_at, stored);
        if to.to.is_empty() {
            // The file was changed since the call was answered.
            tracing::error!(%fax, "a received fax has no mailbox; fix: set inbound.default, and it is delivered");
            return Ok(false);
        }
        let end = ReceivedEnd::new(received.id, &to, Some(Cause::RemoteHangup), STOPPED.to_owned(), &self.domain);
        match self.store.end_received(received.id, stale.token, end).await {
            Ok(()) => {
                tracing::info!(%fax, pages = received.page_count, "settled a fax that its agent left half received");
                Ok(true)
            }
            // Its agent, or another settler, was quicker.
            Err(StoreError::LeaseLost(_)) => Ok(false),
            // Judged anew with the next step; the others go on.
            Err(StoreError::Refused(why)) => {
                tracing::error!(%fax, why, "a received fax is not settled yet");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use jiff::tz::TimeZone;

    use super::*;
    use crate::config::Config;
    use crate::domain::{ReceivedFaxId, ReceivedState};
    use crate::store::testing;
    use crate::store::{NewReceived, ReceivedPage};

    const LEASE: Duration = Duration::from_secs(45);

    #[tokio::test]
    async fn what_a_dead_agent_has_confirmed_goes_to_its_mailbox_as_incomplete() {
        let test = testing::sqlite().await;
        let mut config = Config::sandbox(PathBuf::from("/data"), 1);
        config.inbound.did.insert("+41440000001".to_owned(), vec!["sales@example.com".to_owned()]);
        let (store, owner) = (&test.store, testing::owner("gw-a"));
        let fax = NewReceived {
            id: ReceivedFaxId::new(),
            call_no: 1,
            line: "sandbox".to_owned(),
            called_number: "0440000001".to_owned(),
            calling_number: None,
            remote_id: None,
            subaddress: None,
            transport: None,
        };
        let id = fax.id;
        let document = testing::document(b"page 1");
        let page = ReceivedPage {
            page: 1,
            document,
            width_px: 1728,
            height_px: 1,
            rate_bps: 14_400,
            ecm: true,
            damaged_lines: 0,
        };
        store.begin_received(&owner, fax, page, LEASE).await.unwrap();
        let settler = ReceivedSettler {
            store: store.clone(),
            domain: "fax.example.com".to_owned(),
            mailboxes: Mailboxes::new(&config, TimeZone::UTC),
            deliver: Hint::new(),
        };
        assert_eq!(settler.step().await.unwrap(), 0, "its agent holds it");
        store.take_back(&testing::owner("gw-a")).await.unwrap();
        assert_eq!(settler.step().await.unwrap(), 1);
        assert_eq!(settler.step().await.unwrap(), 0);
        let record = store.received(id).await.unwrap();
        let received = &record.received;
        assert_eq!((received.state, received.complete, received.page_count), (ReceivedState::Received, Some(false), 1));
        assert_eq!((received.cause, received.detail.as_deref()), (Some(Cause::RemoteHangup), Some(STOPPED)));
        assert_eq!(received.route.as_deref(), Some("did-41440000001"));
        let to: Vec<_> = record.notices.iter().map(|notice| notice.recipient.as_deref()).collect();
        assert_eq!(to, [Some("sales@example.com")]);
    }
}
