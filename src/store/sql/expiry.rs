//! Leases that have run out: first marked, then freed.
//!
//! After a failover or an outage every lease looks expired at once, though its owner may live and come back with its
//! next renewal. So a lease that has run out is marked when maintenance first sees it, and freed only after a grace in
//! which the store was reachable all the time. A renewal takes the mark away. Freeing changes no token: a write-back of
//! the old owner finds no lease and is lost, before somebody else claims the row and after.

use std::time::Duration;

use super::error::Place;
use super::{Tx, sql, statements};
use crate::fault;
use crate::store::{Expired, ExpiryRules, Result};

statements! {
    SUSPECT_FAXES = "-- faxes.suspect
        UPDATE faxes {use faxes_leased} SET suspect_at = $1
        WHERE lease_node IS NOT NULL AND lease_expires_at <= $1 AND suspect_at IS NULL";
    SUSPECT_NOTICES = "-- notices.suspect
        UPDATE notices {use notices_leased} SET suspect_at = $1
        WHERE lease_node IS NOT NULL AND lease_expires_at <= $1 AND suspect_at IS NULL";
    SUSPECT_RECEIVED = "-- received_faxes.suspect
        UPDATE received_faxes {use received_faxes_by_state} SET suspect_at = $1
        WHERE state = 'receiving' AND lease_node IS NOT NULL AND lease_expires_at <= $1 AND suspect_at IS NULL";
    SUSPECT_INCOMING = "-- incoming_calls.suspect
        UPDATE incoming_calls SET suspect_at = $1 WHERE lease_expires_at <= $1 AND suspect_at IS NULL";
    // $2: marked no later than this. $3: the same where a call is open, whose page on the wire may still be finished.
    FREE_FAXES = "-- faxes.free
        UPDATE faxes {use faxes_leased}
        SET lease_node = NULL, lease_epoch = NULL, lease_expires_at = NULL, suspect_at = NULL
        WHERE lease_node IS NOT NULL AND lease_expires_at <= $1
          AND suspect_at <= CASE WHEN EXISTS (SELECT 1 FROM attempts a WHERE a.fax_id = faxes.id AND a.ended_at IS NULL)
                            THEN CAST($3 AS BIGINT) ELSE CAST($2 AS BIGINT) END";
    FREE_NOTICES = "-- notices.free
        UPDATE notices {use notices_leased}
        SET lease_node = NULL, lease_epoch = NULL, lease_expires_at = NULL, suspect_at = NULL
        WHERE lease_node IS NOT NULL AND lease_expires_at <= $1 AND suspect_at <= $2";
    // A fax that is being received has its call open as long as its lease.
    FREE_RECEIVED = "-- received_faxes.free
        UPDATE received_faxes {use received_faxes_by_state}
        SET lease_node = NULL, lease_epoch = NULL, lease_expires_at = NULL, suspect_at = NULL
        WHERE state = 'receiving' AND lease_node IS NOT NULL AND lease_expires_at <= $1 AND suspect_at <= $2";
    FREE_INCOMING = "-- incoming_calls.free
        DELETE FROM incoming_calls WHERE lease_expires_at <= $1 AND suspect_at <= $2";
}

pub(super) async fn expire(tx: &mut Tx, rules: ExpiryRules) -> Result<Expired> {
    // A lease that protects nobody, for a test that must see the damage.
    let now = if fault::is_on("no-lease") { i64::MAX } else { tx.now().await?.0 };
    let mut expired = Expired::default();
    for statement in [&SUSPECT_FAXES, &SUSPECT_NOTICES, &SUSPECT_RECEIVED, &SUSPECT_INCOMING] {
        let query = sql(statement).bind(now);
        expired.suspects += query.execute(&mut tx.conn).await.place("leases.suspect")?.rows_affected();
    }
    let (work, calls) = (marked_before(now, rules, rules.grace), marked_before(now, rules, rules.call_grace));
    for query in [
        sql(&FREE_FAXES).bind(now).bind(work).bind(calls),
        sql(&FREE_NOTICES).bind(now).bind(work),
        sql(&FREE_RECEIVED).bind(now).bind(calls),
        sql(&FREE_INCOMING).bind(now).bind(calls),
    ] {
        expired.freed += query.execute(&mut tx.conn).await.place("leases.free")?.rows_affected();
    }
    Ok(expired)
}

/// The latest mark whose grace is over, counted from the mark or from when the store became reachable, whichever is
/// later; before every mark while the latter's grace lasts.
fn marked_before(now: i64, rules: ExpiryRules, grace: Duration) -> i64 {
    let begun = now.saturating_sub(i64::try_from(grace.as_millis()).unwrap_or(i64::MAX));
    if now == i64::MAX {
        now
    } else if rules.reachable_since.0 <= begun {
        begun
    } else {
        i64::MIN
    }
}
