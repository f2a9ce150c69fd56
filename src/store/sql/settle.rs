//! The ends: of an attempt, and of a fax together with its one final notice.

use super::error::Place;
use super::intake::event;
use super::line::refuse_open_attempt;
use super::ownership::{self, demand_one, lost};
use super::rows::FaxRow;
use super::{Query, Tx, execute_list, sql, statements};
use crate::domain::{AttemptId, FaxId, FaxState, NoticeKind, NoticeState, Outcome, Timestamp};
use crate::store::{Attempt, AttemptEnd, FinalEnd, LeaseToken, NewNotice, Next, Result, StoreError};

statements! {
    CLOSE = "-- attempts.close
        UPDATE attempts SET ended_at = $2, transport = coalesce($3, transport), rate_bps = coalesce($4, rate_bps),
            ecm = coalesce($5, ecm), remote_id = coalesce($6, remote_id), sip_code = $7, q850 = $8, t30_code = $9,
            detail = $10, cause = $11
        WHERE id = $1 AND ended_at IS NULL";
    AGAIN = "-- faxes.again
        UPDATE faxes SET not_before = $3, cause = $4, detail = $5,
            lease_node = NULL, lease_epoch = NULL, lease_expires_at = NULL, suspect_at = NULL
        WHERE id = $1 AND lease_token = $2 AND state = 'ready'";
    // An agent that ends a call for an order does not know whose it was.
    FINISH = "-- faxes.finish
        UPDATE faxes SET state = $3, cause = $4,
            detail = coalesce($5, CASE WHEN $3 = 'cancelled' THEN 'by ' || ordered_by END),
            ended_at = $6, ordered = NULL, ordered_by = NULL, held_at = NULL,
            lease_node = NULL, lease_epoch = NULL, lease_expires_at = NULL, suspect_at = NULL
        WHERE id = $1 AND lease_token = $2 AND ended_at IS NULL";
    NOTICE = "-- notices.owe
        INSERT INTO notices (id, fax_id, kind, state, recipient, header_message_id, created_at, not_before, detail)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8)";
}

/// The owner's end of an attempt: the lease must still be the one the attempt was begun under.
pub(super) async fn end_attempt(
    tx: &mut Tx,
    id: AttemptId,
    token: LeaseToken,
    end: &AttemptEnd,
    next: &Next,
) -> Result<()> {
    let (row, attempt, begun_under) = ownership::lock_called(tx, id).await?;
    let fax = row.fax.id;
    ownership::demand_held(&row, token, FaxState::Ready)?;
    if begun_under != token || attempt.ended_at.is_some() {
        return Err(lost(fax));
    }
    close(tx, &attempt, &row, end, next).await
}

/// The settler's end of an attempt: nobody may have claimed, renewed or settled since the orphan was read.
pub(super) async fn settle(tx: &mut Tx, id: AttemptId, token: LeaseToken, end: &AttemptEnd, next: &Next) -> Result<()> {
    let (row, attempt, _) = ownership::lock_called(tx, id).await?;
    let fax = row.fax.id;
    if attempt.ended_at.is_some() || row.lease_token != token || row.lease_node.is_some() {
        return Err(lost(fax));
    }
    close(tx, &attempt, &row, end, next).await
}

/// The end of a fax that no call is open for.
pub(super) async fn end_without_call(
    tx: &mut Tx,
    fax: FaxId,
    token: LeaseToken,
    state: FaxState,
    end: &FinalEnd,
) -> Result<()> {
    let row = ownership::hold(tx, fax, token, state).await?;
    refuse_open_attempt(tx, fax).await?;
    finish(tx, &row, end).await
}

async fn close(tx: &mut Tx, attempt: &Attempt, row: &FaxRow, end: &AttemptEnd, next: &Next) -> Result<()> {
    let (fax, now) = (row.fax.id, tx.now().await?);
    let close = sql(&CLOSE)
        .bind(attempt.id.to_string())
        .bind(now.0)
        .bind(end.transport.map(|transport| transport.as_str()))
        .bind(end.rate_bps)
        .bind(end.ecm)
        .bind(end.remote_id.as_deref())
        .bind(end.sip_code)
        .bind(end.q850)
        .bind(end.t30_code)
        .bind(&end.detail)
        .bind(end.cause.map(|cause| cause.as_str()));
    let mut asked = vec![close];
    match next {
        Next::Again { not_before } => asked.push(again(row, end, *not_before)?),
        Next::Final(end) => asked.extend(finish_queries(row, end, now)?),
    }
    each_changes_one(tx, asked, fax).await?;
    let cause = end.cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
    let text = format!("attempt {} ended: {}{cause}", attempt.number, end.detail);
    event(tx, &fax.to_string(), Some(&attempt.node), "attempt-ended", &text).await?;
    match next {
        Next::Again { not_before } => {
            let text = format!("called again at {not_before}, from page {}", row.fax.pages_confirmed + 1);
            event(tx, &fax.to_string(), row.lease_node.as_deref(), "waits", &text).await
        }
        Next::Final(end) => tell_end(tx, row, end).await,
    }
}

fn again<'e>(row: &FaxRow, end: &'e AttemptEnd, not_before: Timestamp) -> Result<Query<'e>> {
    let fax = row.fax.id;
    if row.fax.page_count == Some(row.fax.pages_confirmed) {
        return Err(StoreError::Refused(format!("every page of {} is confirmed: it is sent", fax.short())));
    }
    Ok(sql(&AGAIN)
        .bind(fax.to_string())
        .bind(row.lease_token)
        .bind(not_before.0)
        .bind(end.cause.map(|cause| cause.as_str()))
        .bind(&end.detail))
}

/// The end of a fax whose row is locked.
pub(super) async fn finish(tx: &mut Tx, row: &FaxRow, end: &FinalEnd) -> Result<()> {
    let asked = finish_queries(row, end, tx.now().await?)?;
    each_changes_one(tx, asked.into(), row.fax.id).await?;
    tell_end(tx, row, end).await
}

/// Notice first, then the state: the trigger on the state looks for the notice.
fn finish_queries<'e>(row: &FaxRow, end: &'e FinalEnd, now: Timestamp) -> Result<[Query<'e>; 2]> {
    let fax = row.fax.id;
    if end.notice.kind != NoticeKind::from(end.outcome) {
        let (kind, outcome) = (end.notice.kind, end.outcome);
        return Err(StoreError::Refused(format!("a notice of kind {kind} for a fax that ends as {outcome}")));
    }
    let finish = sql(&FINISH)
        .bind(fax.to_string())
        .bind(row.lease_token)
        .bind(FaxState::from(end.outcome).as_str())
        .bind(end.cause.map(|cause| cause.as_str()))
        .bind(end.detail.as_deref())
        .bind(now.0);
    Ok([owe(fax, &end.notice, now), finish])
}

/// Each of the queries writes one row, or the lease is lost.
async fn each_changes_one(tx: &mut Tx, queries: Vec<Query<'_>>, fax: FaxId) -> Result<()> {
    for done in execute_list(queries, &mut tx.conn).await {
        demand_one(done.place("faxes.end")?, fax)?;
    }
    Ok(())
}

async fn tell_end(tx: &mut Tx, row: &FaxRow, end: &FinalEnd) -> Result<()> {
    let (fax, node) = (row.fax.id.to_string(), row.lease_node.as_deref());
    event(tx, &fax, node, end.outcome.as_str(), &final_text(row, end)).await?;
    let (kind, text) = report_text(&end.notice);
    event(tx, &fax, node, kind, &text).await
}

/// What becomes of the report, for the story of the fax.
fn report_text(notice: &NewNotice) -> (&'static str, String) {
    match (&notice.withheld, &notice.recipient) {
        (None, Some(whom)) => ("notice-owed", format!("report \"{}\" is owed to {whom}", notice.kind)),
        (why, _) => {
            let why = why.as_deref().unwrap_or("it has no recipient");
            ("notice-withheld", format!("report \"{}\" is not mailed: {why}", notice.kind))
        }
    }
}

fn final_text(row: &FaxRow, end: &FinalEnd) -> String {
    let pages = match (end.outcome, row.fax.page_count) {
        (Outcome::Sent | Outcome::Partial | Outcome::Unknown, Some(count)) => {
            format!(", {} of {count} pages confirmed", row.fax.pages_confirmed)
        }
        _ => String::new(),
    };
    let cause = end.cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
    let detail = end.detail.as_deref().map(|detail| format!(": {detail}")).unwrap_or_default();
    format!("{}{cause}{pages}{detail}", end.outcome)
}

fn owe(fax: FaxId, notice: &NewNotice, now: Timestamp) -> Query<'_> {
    let state = if notice.withheld.is_some() { NoticeState::Withheld } else { NoticeState::Owed };
    sql(&NOTICE)
        .bind(notice.id.to_string())
        .bind(fax.to_string())
        .bind(notice.kind.as_str())
        .bind(state.as_str())
        .bind(notice.recipient.as_deref())
        .bind(&notice.header_message_id)
        .bind(now.0)
        .bind(notice.withheld.as_deref())
}
