//! Leases: who works on what, until when, and what becomes of it when the owner is gone.
//!
//! Only a row without a lease can be claimed or settled. A lease goes with the write-back of its owner, with the next
//! start of its owner's node ([`take_back`]), or some time after it has run out (`expiry`).

use std::time::Duration;

use super::error::Place;
use super::rows::{self, FaxRow, attempt_columns, fax_columns};
use super::{Conn, Done, Query, Row, Tx, execute_list, fetch_each, reading, sql, statements};
use crate::domain::{AttemptId, FaxId, FaxState};
use crate::store::{Attempt, Lease, LeaseToken, Orphan, Owner, Result, StoreError, TakenBack};

/// Orphans in one answer; the rest come with the next.
const ORPHANS_MAX: i64 = 500;

statements! {
    // A heartbeat must not shorten what a claim has promised.
    RENEW_FAXES = "-- faxes.renew
        UPDATE faxes SET lease_expires_at = {greatest}(lease_expires_at, $5), suspect_at = NULL
        WHERE id = $3 AND lease_token = $4 AND lease_node = $1 AND lease_epoch = $2";
    RENEW_NOTICES = "-- notices.renew
        UPDATE notices SET lease_expires_at = {greatest}(lease_expires_at, $5), suspect_at = NULL
        WHERE id = $3 AND lease_token = $4 AND lease_node = $1 AND lease_epoch = $2";
    RENEW_RECEIVED = "-- received_faxes.renew
        UPDATE received_faxes SET lease_expires_at = {greatest}(lease_expires_at, $5), suspect_at = NULL
        WHERE id = $3 AND lease_token = $4 AND lease_node = $1 AND lease_epoch = $2";
    RENEW_INCOMING = "-- incoming_calls.renew
        UPDATE incoming_calls SET lease_expires_at = {greatest}(lease_expires_at, $5), suspect_at = NULL
        WHERE id = $3 AND lease_token = $4 AND lease_node = $1 AND lease_epoch = $2";
    COUNT_ORPHANED = "-- attempts.orphaned_by_restart
        SELECT count(*) AS orphans FROM faxes f JOIN attempts a ON a.fax_id = f.id AND a.ended_at IS NULL
        WHERE f.lease_node = $1 AND f.lease_epoch <> $2";
    FREE_FAXES = "-- faxes.take_back
        UPDATE faxes SET lease_node = NULL, lease_epoch = NULL, lease_expires_at = NULL, suspect_at = NULL
        WHERE lease_node = $1 AND lease_epoch <> $2";
    FREE_NOTICES = "-- notices.take_back
        UPDATE notices SET lease_node = NULL, lease_epoch = NULL, lease_expires_at = NULL, suspect_at = NULL
        WHERE lease_node = $1 AND lease_epoch <> $2";
    FREE_RECEIVED = "-- received_faxes.take_back
        UPDATE received_faxes SET lease_node = NULL, lease_epoch = NULL, lease_expires_at = NULL, suspect_at = NULL
        WHERE state = 'receiving' AND lease_node = $1 AND lease_epoch <> $2";
    FREE_INCOMING = "-- incoming_calls.take_back
        DELETE FROM incoming_calls WHERE lease_node = $1 AND lease_epoch <> $2";
    LOCK = concat!("-- faxes.lock\nSELECT ", fax_columns!(), " FROM faxes WHERE id = $1"), locking "FOR NO KEY UPDATE";
    LOCK_CALLED = concat!("-- faxes.lock_called\nSELECT ", fax_columns!(), " FROM faxes
        WHERE id = (SELECT fax_id FROM attempts WHERE id = $1)"), locking "FOR NO KEY UPDATE";
    ORPHANS = concat!("-- attempts.orphans
        SELECT ", attempt_columns!(), " FROM attempts
        WHERE ended_at IS NULL AND EXISTS (SELECT 1 FROM faxes f WHERE f.id = fax_id AND f.lease_node IS NULL)
        ORDER BY started_at, id LIMIT $1");
}

/// The fax, which nobody else changes until this transaction is over. Whoever changes a fax, or what belongs to it, begins
/// here.
pub(super) async fn lock(tx: &mut Tx, fax: FaxId) -> Result<FaxRow> {
    locked(fax, &lock_query(fax).fetch_all(&mut tx.conn).await.place("faxes.lock")?)
}

/// The same, to be sent together with what follows.
pub(super) fn lock_query(fax: FaxId) -> Query<'static> {
    sql(&LOCK).bind(fax.to_string())
}

/// What its answer is.
pub(super) fn locked(fax: FaxId, found: &[Row]) -> Result<FaxRow> {
    let row = found.first().ok_or_else(|| StoreError::NotFound { kind: "fax", id: fax.short().to_string() })?;
    rows::fax_row(row)
}

/// The fax that an attempt is for, locked, and the attempt with the token that it was begun under.
pub(super) async fn lock_called(tx: &mut Tx, attempt: AttemptId) -> Result<(FaxRow, Attempt, LeaseToken)> {
    let id = attempt.to_string();
    let asked = [sql(&LOCK_CALLED).bind(&id), reading::attempt_query(attempt)];
    let [locked, called] = fetch_each(asked, &mut tx.conn).await;
    let locked = locked.place("faxes.lock_called")?;
    let (called, _, begun_under) = reading::attempt_of(attempt, &called.place("attempts.get")?)?;
    let row = locked.first().ok_or(StoreError::NotFound { kind: "attempt", id })?;
    Ok((rows::fax_row(row)?, called, begun_under))
}

/// The fax, when `token` is its lease's and it is in `state`.
pub(super) async fn hold(tx: &mut Tx, fax: FaxId, token: LeaseToken, state: FaxState) -> Result<FaxRow> {
    let row = lock(tx, fax).await?;
    demand_held(&row, token, state)?;
    Ok(row)
}

/// Errors unless `token` is the lease's of this fax and it is in `state`.
pub(super) fn demand_held(row: &FaxRow, token: LeaseToken, state: FaxState) -> Result<()> {
    let fax = row.fax.id;
    if row.lease_node.is_none() || row.lease_token != token {
        return Err(lost(fax));
    }
    if row.fax.state != state {
        return Err(StoreError::Refused(format!("{} is {}, not {state}", fax.short(), row.fax.state)));
    }
    Ok(())
}

/// The error for a token that is not the row's any more.
pub(super) fn lost(fax: FaxId) -> StoreError {
    StoreError::LeaseLost(fax.short().to_string())
}

/// A write-back changes exactly one row, or its lease is lost.
pub(super) fn demand_one(done: Done, fax: FaxId) -> Result<()> {
    if done.rows_affected() == 1 { Ok(()) } else { Err(lost(fax)) }
}

pub(super) async fn renew(tx: &mut Tx, owner: &Owner, held: &[Lease], term: Duration) -> Result<Vec<Lease>> {
    let until = tx.now().await?.plus(term).0;
    let epoch = owner.epoch.to_string();
    // One by one by their keys: a process holds no more than it has channels and workers.
    let query = |lease: &Lease| {
        let (statement, id, token) = match lease {
            Lease::Fax(id, token) => (&RENEW_FAXES, id.to_string(), *token),
            Lease::Notice(id, token) => (&RENEW_NOTICES, id.to_string(), *token),
            Lease::Received(id, token) => (&RENEW_RECEIVED, id.to_string(), *token),
            Lease::Incoming(id) => (&RENEW_INCOMING, id.to_string(), 1),
        };
        sql(statement).bind(&owner.node).bind(&epoch).bind(id).bind(token).bind(until)
    };
    let renewed = execute_list(held.iter().map(query).collect(), &mut tx.conn).await;
    let mut lost = Vec::new();
    for (lease, done) in held.iter().zip(renewed) {
        if done.place("leases.renew")?.rows_affected() == 0 {
            lost.push(*lease);
        }
    }
    Ok(lost)
}

pub(super) async fn take_back(tx: &mut Tx, owner: &Owner) -> Result<TakenBack> {
    let epoch = owner.epoch.to_string();
    let counted = sql(&COUNT_ORPHANED).bind(&owner.node).bind(&epoch).fetch_one(&mut tx.conn).await;
    let orphans: u64 = counted.place("attempts.orphaned_by_restart")?.int("orphans")?;
    let mut freed = 0;
    for statement in [&FREE_FAXES, &FREE_NOTICES, &FREE_RECEIVED, &FREE_INCOMING] {
        let query = sql(statement).bind(&owner.node).bind(&epoch);
        freed += query.execute(&mut tx.conn).await.place("leases.take_back")?.rows_affected();
    }
    Ok(TakenBack { leases: freed - orphans, orphans })
}

pub(super) async fn orphans(c: &mut Conn) -> Result<Vec<Orphan>> {
    let query = sql(&ORPHANS).bind(ORPHANS_MAX);
    let found = query.fetch_all(&mut *c).await.place("attempts.orphans")?;
    let mut orphans = Vec::with_capacity(found.len());
    for row in &found {
        let fax = reading::fax_row(c, row.parsed("fax_id")?).await?;
        orphans.push(Orphan {
            attempt: rows::attempt(row)?,
            message: reading::message(c, fax.fax.message).await?,
            token: fax.lease_token,
            earlier: reading::causes(c, fax.fax.id).await?,
            fax: fax.fax,
        });
    }
    Ok(orphans)
}
