//! Leases of faxes that are being received, which their agents renew and expiry and restarts free like all others.

use sqlx::Executor;

use super::schema::foreign;
use crate::domain::{ReceivedFaxId, Timestamp};
use crate::store::testing::{self, TestStore};
use crate::store::*;

const LEASE: Duration = Duration::from_secs(60);
const CALL_GRACE: Duration = Duration::from_secs(90);

/// A fax that this owner receives, its lease ending in [`LEASE`].
async fn receiving(test: &TestStore, owner: &Owner) -> Lease {
    let (id, until) = (ReceivedFaxId::new(), test.store.now().await.unwrap().plus(LEASE));
    let insert = "INSERT INTO received_faxes (id, short_id, node, epoch, call_no, line, called_number, state, started_at,
        lease_node, lease_epoch, lease_token, lease_expires_at) VALUES ($1, $2, $3, $4, 1, 'sandbox', '+999', 'receiving',
        0, $3, $4, 1, $5)";
    let query = sqlx::query(insert).bind(id.to_string()).bind(id.short().to_string()).bind(owner.node.clone());
    foreign(test).await.execute(query.bind(owner.epoch.to_string()).bind(until.0)).await.unwrap();
    Lease::Received(id, 1)
}

async fn expire(test: &TestStore) -> (u64, u64) {
    let rules = ExpiryRules { grace: Duration::from_secs(15), call_grace: CALL_GRACE, reachable_since: Timestamp(0) };
    let expired = test.store.expire_leases(rules).await.unwrap();
    (expired.suspects, expired.freed)
}

#[tokio::test]
async fn the_lease_of_a_fax_that_is_being_received_has_the_grace_of_a_call() {
    let (test, owner) = (testing::sqlite().await, testing::owner("gw-a"));
    let lease = receiving(&test, &owner).await;
    test.clock.advance(LEASE);
    assert_eq!(expire(&test).await, (1, 0));
    assert_eq!(test.store.renew(&owner, &[lease], LEASE).await.unwrap(), []);
    assert_eq!(expire(&test).await, (0, 0), "renewed");
    test.clock.advance(LEASE);
    assert_eq!(expire(&test).await, (1, 0));
    test.clock.advance(CALL_GRACE - Duration::from_millis(1));
    assert_eq!(expire(&test).await, (0, 0));
    test.clock.advance(Duration::from_millis(1));
    assert_eq!(expire(&test).await, (0, 1));
    assert_eq!(test.store.renew(&owner, &[lease], LEASE).await.unwrap(), [lease]);
}

#[tokio::test]
async fn a_restart_takes_back_the_faxes_that_its_earlier_life_received() {
    let (test, earlier, other) = (testing::sqlite().await, testing::owner("gw-a"), testing::owner("gw-b"));
    let lease = receiving(&test, &earlier).await;
    receiving(&test, &other).await;
    let again = testing::owner("gw-a");
    assert_eq!(test.store.take_back(&again).await.unwrap(), TakenBack { leases: 1, orphans: 0 });
    assert_eq!(test.store.renew(&earlier, &[lease], LEASE).await.unwrap(), [lease]);
}
