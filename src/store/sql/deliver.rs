//! Claims for the notices that are owed, and what became of them.

use std::time::Duration;

use super::error::Place;
use super::intake::event;
use super::rows::{self, notice_columns};
use super::{Query, Row, Tx, reading, received, returned, sql, statements};
use crate::domain::{NoticeId, Timestamp};
use crate::store::{About, Instead, LeaseToken, Notice, NoticeWork, Owner, Result, StoreError};

/// Most notices in one claim.
const CLAIM_MAX: u32 = 256;

statements! {
    DUE = "-- notices.due
        SELECT id FROM notices {use notices_owed}
        WHERE state = 'owed' AND not_before <= $1 AND lease_node IS NULL
        ORDER BY not_before, id LIMIT $2", locking "FOR NO KEY UPDATE SKIP LOCKED";
    // Counted before it is tried: a crash in the middle must not grant a free try.
    CLAIM = concat!("-- notices.claim
        UPDATE notices SET lease_node = $2, lease_epoch = $3, lease_expires_at = $4, lease_token = lease_token + 1,
            suspect_at = NULL, tries = tries + 1
        WHERE id = $1 RETURNING ", notice_columns!());
    OF_RECEIVED = "-- notices.of_received\nSELECT received_fax_id FROM notices WHERE id = $1";
    LOCK = concat!("-- notices.lock\nSELECT ", notice_columns!(), " FROM notices WHERE id = $1"),
        locking "FOR NO KEY UPDATE";
    SENT = "-- notices.sent
        UPDATE notices SET state = 'sent', sent_at = $3, detail = $4,
            lease_node = NULL, lease_epoch = NULL, lease_expires_at = NULL, suspect_at = NULL
        WHERE id = $1 AND lease_token = $2 AND lease_node IS NOT NULL AND state = 'owed'";
    AGAIN = "-- notices.again
        UPDATE notices SET not_before = $3, detail = $4,
            lease_node = NULL, lease_epoch = NULL, lease_expires_at = NULL, suspect_at = NULL
        WHERE id = $1 AND lease_token = $2 AND lease_node IS NOT NULL AND state = 'owed'";
    DEAD = "-- notices.dead
        UPDATE notices SET state = 'dead', detail = $3,
            lease_node = NULL, lease_epoch = NULL, lease_expires_at = NULL, suspect_at = NULL
        WHERE id = $1 AND lease_token = $2 AND lease_node IS NOT NULL AND state = 'owed'";
    WITHDRAWN = "-- notices.withdrawn
        UPDATE notices SET state = 'withheld', detail = $3,
            lease_node = NULL, lease_epoch = NULL, lease_expires_at = NULL, suspect_at = NULL
        WHERE id = $1 AND lease_token = $2 AND lease_node IS NOT NULL AND state = 'owed'";
}

pub(super) async fn claim(tx: &mut Tx, owner: &Owner, limit: u32, lease: Duration) -> Result<Vec<NoticeWork>> {
    let query = sql(&DUE).bind(tx.now.0).bind(limit.min(CLAIM_MAX));
    let due = query.fetch_all(&mut tx.conn).await.place("notices.due")?;
    let mut claimed = Vec::with_capacity(due.len());
    for row in &due {
        let row = sql(&CLAIM)
            .bind(row.col::<&str>("id")?)
            .bind(&owner.node)
            .bind(owner.epoch.to_string())
            .bind(tx.now.plus(lease).0)
            .fetch_one(&mut tx.conn)
            .await
            .place("notices.claim")?;
        let notice = rows::notice(&row)?;
        let about = about(tx, &notice).await?;
        claimed.push(NoticeWork { notice, token: row.col("lease_token")?, about });
    }
    Ok(claimed)
}

async fn about(tx: &mut Tx, notice: &Notice) -> Result<About> {
    match (notice.fax, notice.received) {
        (Some(fax), _) => Ok(About::Fax(Box::new(reading::record(&mut tx.conn, fax, tx.now).await?))),
        (None, Some(fax)) => Ok(About::Received(Box::new(received::record(&mut tx.conn, fax).await?))),
        (None, None) => Err(StoreError::Refused(format!("the notice {} tells of no fax", notice.id))),
    }
}

pub(super) async fn sent(tx: &mut Tx, id: NoticeId, token: LeaseToken, taken_by: &str) -> Result<()> {
    let query = sql(&SENT).bind(id.to_string()).bind(token).bind(tx.now.0).bind(taken_by);
    let text = format!("taken by {taken_by}");
    let notice = write_back(tx, id, token, query, "notice-sent", &text).await?;
    returned::settle(tx, &notice).await
}

pub(super) async fn again(
    tx: &mut Tx,
    id: NoticeId,
    token: LeaseToken,
    not_before: Timestamp,
    why: &str,
) -> Result<()> {
    let query = sql(&AGAIN).bind(id.to_string()).bind(token).bind(not_before.0).bind(why);
    let text = format!("tried again at {not_before}: {why}");
    write_back(tx, id, token, query, "notice-waits", &text).await.map(drop)
}

pub(super) async fn dead(tx: &mut Tx, id: NoticeId, token: LeaseToken, why: &str, instead: &Instead) -> Result<()> {
    let query = sql(&DEAD).bind(id.to_string()).bind(token).bind(why);
    let text = format!("nobody takes it: {why}");
    let notice = write_back(tx, id, token, query, "notice-dead", &text).await?;
    returned::owe_instead(tx, &notice, instead).await?;
    returned::settle(tx, &notice).await
}

pub(super) async fn withdrawn(tx: &mut Tx, id: NoticeId, token: LeaseToken, why: &str) -> Result<()> {
    let query = sql(&WITHDRAWN).bind(id.to_string()).bind(token).bind(why);
    let text = format!("withdrawn: {why}");
    write_back(tx, id, token, query, "notice-withdrawn", &text).await.map(drop)
}

async fn write_back(
    tx: &mut Tx,
    id: NoticeId,
    token: LeaseToken,
    query: Query<'_>,
    kind: &str,
    text: &str,
) -> Result<Notice> {
    let row = lock(tx, id).await?;
    let notice = rows::notice(&row)?;
    let node: Option<String> = row.col("lease_node")?;
    if node.is_none() || row.col::<i64>("lease_token")? != token {
        return Err(StoreError::LeaseLost(format!("notice {id}")));
    }
    let done = query.execute(&mut tx.conn).await.place("notices.write_back")?;
    if done.rows_affected() != 1 {
        return Err(StoreError::LeaseLost(format!("notice {id}")));
    }
    told(tx, &notice, node.as_deref(), kind, text).await?;
    Ok(notice)
}

/// Adds a line to the story of what the notice tells of.
pub(super) async fn told(tx: &mut Tx, notice: &Notice, node: Option<&str>, kind: &str, text: &str) -> Result<()> {
    match (notice.fax, notice.received) {
        (Some(fax), _) => event(tx, &fax.to_string(), node, kind, &format!("report \"{}\" {text}", notice.kind)).await,
        (None, Some(fax)) => {
            let to = notice.recipient.as_deref().unwrap_or_default();
            received::event(tx, fax, node, kind, &format!("mail for {to} {text}")).await
        }
        (None, None) => Ok(()),
    }
}

/// The row of a notice, which nobody else changes until this transaction is over; and the received fax that it carries
/// before it: whether that is delivered depends on all its notices.
pub(super) async fn lock(tx: &mut Tx, id: NoticeId) -> Result<Row> {
    let missing = || StoreError::NotFound { kind: "notice", id: id.to_string() };
    let of = sql(&OF_RECEIVED).bind(id.to_string()).fetch_optional(&mut tx.conn).await.place("notices.of_received")?;
    if let Some(fax) = of.ok_or_else(missing)?.parsed_opt("received_fax_id")? {
        received::lock(tx, fax).await?;
    }
    let row = sql(&LOCK).bind(id.to_string()).fetch_optional(&mut tx.conn).await.place("notices.lock")?;
    row.ok_or_else(missing)
}
