//! Claims for the notices that are owed, and what became of them.

use std::time::Duration;

use super::error::{Place, unknown_value};
use super::intake::{self, event};
use super::rows::{self, notice_columns};
use super::{Query, Row, Tx, fetch_each, fetch_list, reading, received, returned, sql, statements};
use crate::domain::{FaxId, NoticeId, Timestamp};
use crate::store::{About, Instead, LeaseToken, Notice, NoticeWork, Owner, Result, StoreError};

/// Most notices in one claim.
const CLAIM_MAX: u32 = 256;

statements! {
    DUE = "-- notices.due
        SELECT id, fax_id FROM notices {use notices_owed}
        WHERE state = 'owed' AND not_before <= $1 AND lease_node IS NULL
        ORDER BY not_before, id LIMIT $2", locking "FOR NO KEY UPDATE SKIP LOCKED";
    // Counted before it is tried: a crash in the middle must not grant a free try.
    CLAIM = concat!("-- notices.claim
        UPDATE notices SET lease_node = $2, lease_epoch = $3, lease_expires_at = $4, lease_token = lease_token + 1,
            suspect_at = NULL, tries = tries + 1
        WHERE id = $1 RETURNING ", notice_columns!());
    TOLD = "-- events.add_of_answer
        INSERT INTO events (at, node, message_id, kind, text) SELECT $1, $2, message_id, $3, $4 FROM notices WHERE id = $5";
    OF_RECEIVED = "-- notices.of_received\nSELECT received_fax_id FROM notices WHERE id = $1";
    LOCK = concat!("-- notices.lock\nSELECT ", notice_columns!(), " FROM notices WHERE id = $1"),
        locking "FOR NO KEY UPDATE";
    LOCK_OF_FAX = concat!("-- notices.lock_of_fax\nSELECT ", notice_columns!(), " FROM notices
        WHERE id = $1 AND received_fax_id IS NULL"), locking "FOR NO KEY UPDATE";
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
    let query = sql(&DUE).bind(tx.now().await?.0).bind(limit.min(CLAIM_MAX));
    let due = query.fetch_all(&mut tx.conn).await.place("notices.due")?;
    let (now, epoch) = (tx.now().await?, owner.epoch.to_string());
    let (mut asked, mut faxes) = (Vec::new(), Vec::new());
    for row in &due {
        let claim = sql(&CLAIM).bind(row.col::<&str>("id")?).bind(&owner.node).bind(&epoch);
        asked.push(claim.bind(now.plus(lease).0));
        faxes.extend(row.parsed_opt::<FaxId>("fax_id")?);
    }
    // What they tell of is read behind their claims: it shows this try, too.
    asked.extend(faxes.iter().flat_map(|fax| reading::record_queries(*fax, now)));
    let mut answers = fetch_list(asked, &mut tx.conn).await.into_iter();
    let notices: Vec<_> = answers.by_ref().take(due.len()).collect();
    let mut claimed = Vec::with_capacity(due.len());
    for found in notices {
        let found = found.place("notices.claim")?;
        let row =
            found.first().ok_or_else(|| unknown_value("notices.claim", "a notice that was locked is not there"))?;
        let notice = rows::notice(row)?;
        let about = match (notice.fax, notice.received) {
            (Some(fax), _) => About::Fax(Box::new(reading::record_of(fax, &mut answers)?)),
            (None, Some(fax)) => About::Received(Box::new(received::record(&mut tx.conn, fax).await?)),
            (None, None) => About::Message(Box::new(reading::answered(&mut tx.conn, notice.id).await?)),
        };
        claimed.push(NoticeWork { notice, token: row.col("lease_token")?, about });
    }
    Ok(claimed)
}

pub(super) async fn sent(tx: &mut Tx, id: NoticeId, token: LeaseToken, taken_by: &str) -> Result<()> {
    let held = hold(tx, id, token).await?;
    let query = sql(&SENT).bind(id.to_string()).bind(token).bind(tx.now().await?.0).bind(taken_by);
    let text = format!("taken by {taken_by}");
    write_back(tx, &held, query, "notice-sent", &text).await?;
    returned::settle(tx, &held.notice).await
}

pub(super) async fn again(
    tx: &mut Tx,
    id: NoticeId,
    token: LeaseToken,
    not_before: Timestamp,
    why: &str,
) -> Result<()> {
    let held = hold(tx, id, token).await?;
    let query = sql(&AGAIN).bind(id.to_string()).bind(token).bind(not_before.0).bind(why);
    let text = format!("tried again at {not_before}: {why}");
    write_back(tx, &held, query, "notice-waits", &text).await
}

pub(super) async fn dead(tx: &mut Tx, id: NoticeId, token: LeaseToken, why: &str, instead: &Instead) -> Result<()> {
    let held = hold(tx, id, token).await?;
    let query = sql(&DEAD).bind(id.to_string()).bind(token).bind(why);
    let text = format!("nobody takes it: {why}");
    write_back(tx, &held, query, "notice-dead", &text).await?;
    returned::owe_instead(tx, &held.notice, instead).await?;
    returned::settle(tx, &held.notice).await
}

pub(super) async fn withdrawn(tx: &mut Tx, id: NoticeId, token: LeaseToken, why: &str) -> Result<()> {
    let held = hold(tx, id, token).await?;
    let query = sql(&WITHDRAWN).bind(id.to_string()).bind(token).bind(why);
    let text = format!("withdrawn: {why}");
    write_back(tx, &held, query, "notice-withdrawn", &text).await
}

/// A notice under its lease, locked.
struct Held {
    notice: Notice,
    node: Option<String>,
}

/// The notice, when `token` is its lease's.
async fn hold(tx: &mut Tx, id: NoticeId, token: LeaseToken) -> Result<Held> {
    let row = lock(tx, id).await?;
    let held = Held { notice: rows::notice(&row)?, node: row.col("lease_node")? };
    if held.node.is_none() || row.col::<i64>("lease_token")? != token {
        return Err(StoreError::LeaseLost(format!("notice {id}")));
    }
    Ok(held)
}

async fn write_back(tx: &mut Tx, held: &Held, query: Query<'_>, kind: &str, text: &str) -> Result<()> {
    let done = query.execute(&mut tx.conn).await.place("notices.write_back")?;
    if done.rows_affected() != 1 {
        return Err(StoreError::LeaseLost(format!("notice {}", held.notice.id)));
    }
    told(tx, &held.notice, held.node.as_deref(), kind, text).await
}

/// Adds a line to the story of what the notice tells of.
pub(super) async fn told(tx: &mut Tx, notice: &Notice, node: Option<&str>, kind: &str, text: &str) -> Result<()> {
    match (notice.fax, notice.received) {
        (Some(fax), _) => event(tx, &fax.to_string(), node, kind, &format!("report \"{}\" {text}", notice.kind)).await,
        (None, Some(fax)) => {
            let to = notice.recipient.as_deref().unwrap_or_default();
            received::event(tx, fax, node, kind, &format!("mail for {to} {text}")).await
        }
        (None, None) => {
            let text = intake::event_line(&format!("\"{}\" {text}", notice.kind));
            let query = sql(&TOLD).bind(tx.now().await?.0).bind(node).bind(kind).bind(text).bind(notice.id.to_string());
            query.later(&mut tx.conn).await.place("events.add_of_answer")?;
            Ok(())
        }
    }
}

/// The row of a notice, which nobody else changes until this transaction is over; and the received fax that it carries
/// before it: whether that is delivered depends on all its notices.
pub(super) async fn lock(tx: &mut Tx, id: NoticeId) -> Result<Row> {
    let missing = || StoreError::NotFound { kind: "notice", id: id.to_string() };
    let key = id.to_string();
    let asked = [sql(&OF_RECEIVED).bind(&key), sql(&LOCK_OF_FAX).bind(&key)];
    let [of, row] = fetch_each(asked, &mut tx.conn).await;
    let of = of.place("notices.of_received")?.into_iter().next().ok_or_else(missing)?;
    let row = row.place("notices.lock_of_fax")?.into_iter().next();
    match (of.parsed_opt("received_fax_id")?, row) {
        (None, Some(row)) => return Ok(row),
        (Some(fax), _) => drop(received::lock(tx, fax).await?),
        (None, None) => {}
    }
    let row = sql(&LOCK).bind(&key).fetch_optional(&mut tx.conn).await.place("notices.lock")?;
    row.ok_or_else(missing)
}
