//! Idempotency keys are forgotten after a day: a client that sends the same mail later means it (RFC 1047 is about the
//! minutes after a lost reply, and senders keep a mail in their queues for hours at most).

use std::time::Duration;

use crate::domain::Timestamp;
use crate::store::{Result, Store};

/// How long a mail that comes again is the same mail.
const WINDOW: Duration = Duration::from_secs(24 * 60 * 60);
/// Keys in one transaction: a long one would hold up everybody.
const AT_ONCE: u32 = 2000;

/// Forgets the keys of mails that are older than [`WINDOW`]. Answers how many.
pub async fn forget_keys(store: &dyn Store) -> Result<u64> {
    let window = i64::try_from(WINDOW.as_millis()).unwrap_or(i64::MAX);
    let before = Timestamp(store.now().await?.0.saturating_sub(window));
    store.forget_idem_keys(before, AT_ONCE).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Submitted, testing};

    #[tokio::test]
    async fn the_same_mail_is_a_duplicate_for_a_day_and_a_new_one_afterwards() {
        let test = testing::sqlite().await;
        let mail = || {
            let mut message = testing::message(&["+99910200"]);
            message.idem_key = Some([7; 32]);
            message
        };
        let first = mail();
        test.store.submit(first.clone()).await.unwrap();
        test.clock.advance(WINDOW);
        assert_eq!(forget_keys(&*test.store).await.unwrap(), 0);
        assert_eq!(test.store.submit(mail()).await.unwrap(), Submitted::Duplicate { message: first.id });
        test.clock.advance(Duration::from_millis(1));
        assert_eq!(forget_keys(&*test.store).await.unwrap(), 1);
        assert!(matches!(test.store.submit(mail()).await.unwrap(), Submitted::Accepted { .. }));
    }
}
