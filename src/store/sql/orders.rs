//! Orders of people: hold, release, cancel, retry, redeliver.
//!
//! In: an order and who gives it. A fax that nobody works on takes it at once. Where somebody holds its lease, or a call
//! is open for it, the order is noted in `ordered`: from then on no claim takes the fax and no call begins for it, and
//! [`carry_out`] follows the order when the worker has given the fax back, ended its attempt or lost its lease. Out: the
//! new state with its event, and with its final report when it ends. Failure: what the state does not allow is
//! `WrongState`, says why and what to do, and changes nothing.
//!
//! The time of a fax stands still while it is held: it is given up as much later as it was held. A fax that has ended is
//! never opened again. It is sent once more as a new fax of the same message with a report of its own, and only once: the
//! next retry is that of the new one, so that what arrived with it is not sent again.

use std::time::Duration;

use super::error::Place;
use super::intake::{event, refuse_taken};
use super::rows::FaxRow;
use super::{Conn, Tx, line, ownership, reading, received, settle, sql, statements};
use crate::domain::{Cause, FaxId, FaxState, Outcome, Timestamp};
use crate::store::{
    DocumentKey, EventsOf, Fax, FinalEnd, Order, Ordered, Result, Retried, RetryPages, StoreError, wrong_state,
};

/// Orders carried out in one transaction; the rest follow with the next.
const CARRY_OUT_MAX: i64 = 256;
/// New ids that are tried when a short id is taken: two of 2^50 meet hardly ever.
const IDS_MAX: u32 = 8;

statements! {
    NOTE = "-- faxes.order
        UPDATE faxes SET ordered = $2, ordered_by = $3 WHERE id = $1";
    HOLD = "-- faxes.hold
        UPDATE faxes SET state = 'held', held_at = $2, ordered = NULL, ordered_by = NULL WHERE id = $1";
    RELEASE = "-- faxes.release
        UPDATE faxes SET state = CASE WHEN document IS NULL THEN 'accepted' ELSE 'ready' END,
            give_up_at = give_up_at + {greatest}(0, $2 - held_at), held_at = NULL
        WHERE id = $1 RETURNING give_up_at, state";
    ORDERED = "-- faxes.ordered
        SELECT id, ordered_by FROM faxes f {use faxes_ordered}
        WHERE ordered IS NOT NULL AND lease_node IS NULL
          AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.fax_id = f.id AND a.ended_at IS NULL)
        LIMIT $1", locking "FOR NO KEY UPDATE SKIP LOCKED";
    ANY = "-- faxes.any_ordered
        SELECT EXISTS (SELECT 1 FROM faxes {use faxes_ordered} WHERE ordered IS NOT NULL) AS found";
    DUE_NOW = "-- faxes.retry_now
        UPDATE faxes SET not_before = {least}(not_before, $2), first_call_at = {least}(first_call_at, $2) WHERE id = $1";
    // Locked: retention must not take the bytes of a document that a new fax is about to name.
    PRUNED = "-- documents.pruned
        SELECT pruned_at FROM documents WHERE key = $1", locking "FOR NO KEY UPDATE";
    SEND_ONCE_MORE = "-- faxes.retry
        INSERT INTO faxes (id, short_id, message_id, recipient, number, subaddress, post_dial, to_name, to_company,
            original_recipient, notify_success, notify_failure, notify_delay, state, priority, not_before,
            first_call_at, give_up_at, document, page_count, pages_confirmed, accepted_at, retry_of, begin_page)
        SELECT $2, $3, message_id, recipient, number, subaddress, post_dial, to_name, to_company,
            original_recipient, notify_success, notify_failure, notify_delay, 'accepted', priority, $4, $4, $5,
            $6, CASE WHEN CAST($6 AS TEXT) IS NULL THEN NULL ELSE page_count END, $7 - 1, $4, id, $7
        FROM faxes WHERE id = $1";
    // A fax begins as accepted; this one has its pages already.
    HAS_PAGES = "-- faxes.retry_ready\nUPDATE faxes SET state = 'ready' WHERE id = $1 AND document IS NOT NULL";
    MAILS = "-- notices.to_redeliver
        SELECT state, recipient, detail FROM notices
        WHERE (fax_id = $1 OR received_fax_id = $1) AND (CAST($2 AS TEXT) IS NULL OR lower(recipient) = lower($2))
          AND kind IN ('sent', 'partial', 'failed', 'unknown', 'cancelled', 'received')
        ORDER BY created_at, id";
    REDELIVER = "-- notices.redeliver
        UPDATE notices SET state = 'owed', sent_at = NULL, not_before = $3, detail = NULL
        WHERE (fax_id = $1 OR received_fax_id = $1) AND (CAST($2 AS TEXT) IS NULL OR lower(recipient) = lower($2))
          AND kind IN ('sent', 'partial', 'failed', 'unknown', 'cancelled', 'received')
          AND state IN ('sent', 'dead', 'bounced')
        RETURNING kind, recipient";
}

pub(super) async fn hold(tx: &mut Tx, fax: FaxId, by: &str) -> Result<Ordered> {
    let row = ownership::lock(tx, fax).await?;
    match (row.fax.state, row.fax.ordered) {
        (FaxState::Held, _) => return Ok(Ordered::Done),
        (_, Some(Order::Hold)) => return Ok(Ordered::Soon),
        (_, Some(Order::Cancel)) => return Err(being_cancelled(&row.fax)),
        (state, None) if state.is_final() => return Err(ended(&row.fax, "held")),
        (_, None) => {}
    }
    if row.fax.is_complete() {
        return Err(wrong_state(
            format!("{} cannot be held", fax.short()),
            "every page of it is confirmed, and it ends as sent just now",
            "nothing is left to do",
        ));
    }
    if is_idle(tx, &row).await? {
        hold_now(tx, fax, by).await?;
        return Ok(Ordered::Done);
    }
    note(tx, &row, Order::Hold, by).await
}

pub(super) async fn release(tx: &mut Tx, fax: FaxId, by: &str) -> Result<()> {
    let row = ownership::lock(tx, fax).await?;
    if row.fax.ordered == Some(Order::Hold) {
        note_order(tx, fax, None, None).await?;
        return event(tx, &fax.to_string(), None, "released", &format!("the order to hold it is withdrawn by {by}"))
            .await;
    }
    if row.fax.state != FaxState::Held {
        let cause = format!("it is {}, and only what is held can be released", row.fax.state);
        let fix = format!("see: faxwell fax show {}", fax.short());
        return Err(wrong_state(format!("{} cannot be released", fax.short()), cause, fix));
    }
    let query = sql(&RELEASE).bind(fax.to_string()).bind(tx.now().await?.0);
    let released = query.fetch_one(&mut tx.conn).await.place("faxes.release")?;
    let (state, give_up_at): (FaxState, Timestamp) = (released.parsed("state")?, released.time("give_up_at")?);
    let text = format!("released by {by}: {state} again, given up at {give_up_at}");
    event(tx, &fax.to_string(), None, "released", &text).await
}

pub(super) async fn cancel(tx: &mut Tx, fax: FaxId, by: &str, domain: &str) -> Result<Ordered> {
    let row = ownership::lock(tx, fax).await?;
    if row.fax.state.is_final() {
        return Err(ended(&row.fax, "cancelled"));
    }
    if is_idle(tx, &row).await? {
        cancel_now(tx, &row, by, domain).await?;
        return Ok(Ordered::Done);
    }
    if row.fax.ordered == Some(Order::Cancel) {
        return Ok(Ordered::Soon);
    }
    note(tx, &row, Order::Cancel, by).await
}

/// Whether any order waits.
pub(super) async fn any(c: &mut Conn) -> Result<bool> {
    sql(&ANY).fetch_one(c).await.place("faxes.any_ordered")?.col("found")
}

/// Follows the orders for faxes that nobody works on any more.
pub(super) async fn carry_out(tx: &mut Tx, domain: &str) -> Result<u64> {
    let found = sql(&ORDERED).bind(CARRY_OUT_MAX).fetch_all(&mut tx.conn).await.place("faxes.ordered")?;
    for ordered in &found {
        let row = ownership::lock(tx, ordered.parsed("id")?).await?;
        let by: String = ordered.col("ordered_by")?;
        match row.fax.ordered {
            // What has arrived has arrived: it ends as sent, whatever was ordered meanwhile.
            Some(Order::Hold) if !row.fax.is_complete() => hold_now(tx, row.fax.id, &by).await?,
            _ => cancel_now(tx, &row, &by, domain).await?,
        }
    }
    Ok(found.len() as u64)
}

/// Whether nobody can be working on it: an expired lease is still its owner's until it is freed.
async fn is_idle(tx: &mut Tx, row: &FaxRow) -> Result<bool> {
    Ok(row.lease_node.is_none() && !line::in_call(tx, row.fax.id).await?)
}

pub(super) async fn hold_now(tx: &mut Tx, fax: FaxId, by: &str) -> Result<()> {
    let query = sql(&HOLD).bind(fax.to_string()).bind(tx.now().await?.0);
    query.execute(&mut tx.conn).await.place("faxes.hold")?;
    event(tx, &fax.to_string(), None, "held", &format!("held by {by}")).await
}

/// Ends it as cancelled, or as sent when nothing is left to cancel.
async fn cancel_now(tx: &mut Tx, row: &FaxRow, by: &str, domain: &str) -> Result<()> {
    let fax = &row.fax;
    let message = reading::message(&mut tx.conn, fax.message).await?;
    let end = if fax.is_complete() {
        FinalEnd::new(&message, fax, Outcome::Sent, None, None, domain)
    } else {
        FinalEnd::new(&message, fax, Outcome::Cancelled, Some(Cause::Cancelled), format!("by {by}"), domain)
    };
    settle::finish(tx, row, &end).await
}

async fn note(tx: &mut Tx, row: &FaxRow, order: Order, by: &str) -> Result<Ordered> {
    let fax = row.fax.id;
    note_order(tx, fax, Some(order), Some(by)).await?;
    let when = if line::in_call(tx, fax).await? { "the page on the wire is finished" } else { "its worker is done" };
    let text = format!("{order} ordered by {by}: carried out when {when}");
    event(tx, &fax.to_string(), None, "ordered", &text).await?;
    Ok(Ordered::Soon)
}

async fn note_order(tx: &mut Tx, fax: FaxId, order: Option<Order>, by: Option<&str>) -> Result<()> {
    let query = sql(&NOTE).bind(fax.to_string()).bind(order.map(|order| order.as_str())).bind(by);
    query.execute(&mut tx.conn).await.place("faxes.order")?;
    Ok(())
}

pub(super) async fn retry(
    tx: &mut Tx,
    fax: FaxId,
    pages: RetryPages,
    by: &str,
    give_up_after: Duration,
) -> Result<Retried> {
    let row = ownership::lock(tx, fax).await?;
    if row.fax.state.is_final() {
        return send_once_more(tx, &row.fax, pages, by, give_up_after).await;
    }
    if row.fax.ordered == Some(Order::Cancel) {
        return Err(being_cancelled(&row.fax));
    }
    if row.fax.state == FaxState::Held || row.fax.ordered == Some(Order::Hold) {
        let fix = format!("let it go with: faxwell fax release {}", fax.short());
        return Err(wrong_state(format!("{} is not tried now", fax.short()), "it is held", fix));
    }
    if line::in_call(tx, fax).await? {
        let cause = "a call is open for it";
        return Err(wrong_state(format!("{} is not tried now", fax.short()), cause, "wait for the end of the call"));
    }
    let query = sql(&DUE_NOW).bind(fax.to_string()).bind(tx.now().await?.0);
    query.execute(&mut tx.conn).await.place("faxes.retry_now")?;
    event(tx, &fax.to_string(), None, "retried", &format!("tried now instead of later, ordered by {by}")).await?;
    Ok(Retried::Now)
}

async fn send_once_more(tx: &mut Tx, old: &Fax, pages: RetryPages, by: &str, wait: Duration) -> Result<Retried> {
    if let Some(next) = reading::retried_as(&mut tx.conn, old.id).await? {
        let fix = format!("retry that one: faxwell fax retry {}", next.short());
        let cause = format!("it was sent once more already, as {}", next.short());
        return Err(wrong_state(not_again(old), cause, fix));
    }
    let all = format!("to send all pages again: faxwell fax retry {} --all-pages", old.id.short());
    if pages == RetryPages::Rest && (old.state == FaxState::Sent || old.is_complete()) {
        return Err(wrong_state(not_again(old), "every page of it has arrived", all));
    }
    let document = kept_pages(tx, old).await?;
    let begin_page = match pages {
        RetryPages::All => 1,
        RetryPages::Rest => old.pages_confirmed + 1,
    };
    if begin_page > 1 && document.is_none() {
        // Pages that are made anew may break elsewhere: page 3 of them need not follow the page 2 that arrived.
        return Err(wrong_state(
            not_again(old),
            "its pages were removed after their time, so that nothing can go on",
            all,
        ));
    }
    let new = free_id(tx).await?;
    sql(&SEND_ONCE_MORE)
        .bind(old.id.to_string())
        .bind(new.to_string())
        .bind(new.short().as_str())
        .bind(tx.now().await?.0)
        .bind(tx.now().await?.plus(wait).0)
        .bind(document.map(|key| key.to_string()))
        .bind(begin_page)
        .execute(&mut tx.conn)
        .await
        .place("faxes.retry")?;
    sql(&HAS_PAGES).bind(new.to_string()).execute(&mut tx.conn).await.place("faxes.retry_ready")?;
    let text = format!("sent once more as {}, from page {begin_page}, ordered by {by}", new.short());
    event(tx, &old.id.to_string(), None, "retried", &text).await?;
    let (number, of) = (&old.number, old.id.short());
    let text = format!("accepted for {number}: sends {of} once more, from page {begin_page}, ordered by {by}");
    event(tx, &new.to_string(), None, "accepted", &text).await?;
    Ok(Retried::As { fax: new })
}

/// The document of a fax when its bytes are still there; none when it has to be made from the mail.
async fn kept_pages(tx: &mut Tx, old: &Fax) -> Result<Option<DocumentKey>> {
    if let Some(key) = old.document
        && !is_pruned(tx, key).await?
    {
        return Ok(Some(key));
    }
    let raw = reading::message(&mut tx.conn, old.message).await?.raw;
    if is_pruned(tx, raw).await? {
        let cause = "retention has removed its pages and its mail";
        return Err(wrong_state(not_again(old), cause, "send the document as a new fax"));
    }
    Ok(None)
}

async fn is_pruned(tx: &mut Tx, key: DocumentKey) -> Result<bool> {
    let row = sql(&PRUNED).bind(key.to_string()).fetch_one(&mut tx.conn).await.place("documents.pruned")?;
    Ok(row.time_opt("pruned_at")?.is_some())
}

async fn free_id(tx: &mut Tx) -> Result<FaxId> {
    let mut taken = None;
    for _ in 0..IDS_MAX {
        let id = FaxId::new();
        match refuse_taken(tx, id.short().as_str(), &id.to_string()).await {
            Ok(()) => return Ok(id),
            Err(StoreError::IdTaken(short)) => taken = Some(short),
            Err(other) => return Err(other),
        }
    }
    Err(StoreError::IdTaken(taken.unwrap_or_default()))
}

pub(super) async fn redeliver(tx: &mut Tx, of: EventsOf, only: Option<&str>, by: &str) -> Result<u64> {
    let (id, short) = match of {
        EventsOf::Fax(fax) => {
            ownership::lock(tx, fax).await?;
            (fax.to_string(), fax.short())
        }
        EventsOf::Received(fax) => {
            received::lock(tx, fax).await?;
            (fax.to_string(), fax.short())
        }
        EventsOf::Message(_) | EventsOf::All => {
            return Err(StoreError::Refused("mails are delivered again for one fax at a time".to_owned()));
        }
    };
    let query = sql(&REDELIVER).bind(&id).bind(only).bind(tx.now().await?.0);
    let owed = query.fetch_all(&mut tx.conn).await.place("notices.redeliver")?;
    if owed.is_empty() {
        return Err(nothing_to_redeliver(tx, &id, short.as_str(), only).await?);
    }
    for mail in &owed {
        let (kind, whom): (&str, &str) = (mail.col("kind")?, mail.col("recipient")?);
        let text = format!("report \"{kind}\" is owed to {whom} once more, ordered by {by}");
        match of {
            EventsOf::Received(fax) => received::event(tx, fax, None, "notice-owed", &text).await?,
            _ => event(tx, &id, None, "notice-owed", &text).await?,
        }
    }
    Ok(owed.len() as u64)
}

/// Why no mail of this fax can be owed once more.
async fn nothing_to_redeliver(tx: &mut Tx, id: &str, short: &str, only: Option<&str>) -> Result<StoreError> {
    let rows = sql(&MAILS).bind(id).bind(only).fetch_all(&mut tx.conn).await.place("notices.to_redeliver")?;
    let what = format!("no mail of {short} is delivered again");
    let show = if short.starts_with('R') { "inbound show" } else { "fax show" };
    let Some(mail) = rows.first() else {
        let whom = only.map(|only| format!(" to {only}")).unwrap_or_default();
        let fix = format!("see whom its mails go to: faxwell {show} {short}");
        return Ok(wrong_state(what, format!("there is no mail{whom} yet"), fix));
    };
    if mail.col::<&str>("state")? == "owed" {
        let fix = format!("wait for it: faxwell log {short} --follow");
        return Ok(wrong_state(what, "it is owed already and being delivered", fix));
    }
    let why = mail.col::<Option<&str>>("detail")?.unwrap_or("by rule").to_owned();
    Ok(wrong_state(what, format!("it was never mailed: {why}"), format!("see it with: faxwell {show} {short}")))
}

fn ended(fax: &Fax, verb: &str) -> StoreError {
    let short = fax.id.short();
    let fix = match fax.state {
        FaxState::Sent => "nothing is left to do".to_owned(),
        _ => format!("to send it once more: faxwell fax retry {short}"),
    };
    wrong_state(format!("{short} cannot be {verb}"), format!("it has ended already: {}", fax.state), fix)
}

fn being_cancelled(fax: &Fax) -> StoreError {
    let short = fax.id.short();
    let fix = format!("wait for its end: faxwell fax watch {short}; then: faxwell fax retry {short}");
    wrong_state(format!("{short} is being cancelled"), "somebody ordered that before", fix)
}

fn not_again(fax: &Fax) -> String {
    format!("{} is not sent once more", fax.id.short())
}
