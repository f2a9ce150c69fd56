//! Claims for the line agents, and what happens in their calls.
//!
//! Decisions are fenced by the lease token; facts are not: what the far end was told stays true whoever owns the row.

use std::collections::HashSet;
use std::time::Duration;

use super::error::Place;
use super::intake::event;
use super::ownership::{self, demand_one, lost};
use super::rows::{self, fax_columns};
use super::{Tx, facts, limits, reading, sql, statements};
use crate::domain::{AttemptId, FaxId, FaxState, Timestamp};
use crate::store::{
    Attempt, AttemptFact, CallWork, ConfirmedPage, LeaseToken, NewAttempt, Owner, Reach, Result, StoreError,
};

/// Most calls in one claim: more channels claim again.
const CLAIM_MAX: u32 = 256;

statements! {
    // Few priorities are in use; asking for each of them keeps the search inside the part of the index that is due.
    NEXT_PRIORITY = "-- faxes.next_priority
        SELECT min(priority) AS priority FROM faxes {use faxes_to_call} WHERE state = 'ready' AND priority > $1";
    NEXT = "-- faxes.next_to_call
        SELECT f.id, f.number FROM faxes f {use faxes_to_call}
        WHERE f.state = 'ready' AND f.priority = $2 AND f.not_before <= $1 AND f.ordered IS NULL
          AND f.lease_node IS NULL
          AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.number = f.number AND a.ended_at IS NULL)
          AND NOT EXISTS (SELECT 1 FROM faxes o {use faxes_leased_number}
                          WHERE o.number = f.number AND o.lease_node IS NOT NULL AND o.state = 'ready')
          AND (CAST($3 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM json_each($3) r
                WHERE substr(f.number, 1, length(r.value ->> 'prefix')) = r.value ->> 'prefix'
                  AND NOT EXISTS (SELECT 1 FROM json_each(r.value, '$.except') x
                                  WHERE substr(f.number, 1, length(x.value)) = x.value)))
        ORDER BY f.not_before, f.id LIMIT $4",
        postgres "-- faxes.next_to_call
        SELECT f.id, f.number FROM faxes f
        WHERE f.state = 'ready' AND f.priority = $2 AND f.not_before <= $1 AND f.ordered IS NULL
          AND f.lease_node IS NULL
          AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.number = f.number AND a.ended_at IS NULL)
          AND NOT EXISTS (SELECT 1 FROM faxes o
                          WHERE o.number = f.number AND o.lease_node IS NOT NULL AND o.state = 'ready')
          AND (CAST($3 AS JSONB) IS NULL OR EXISTS (SELECT 1 FROM jsonb_array_elements(CAST($3 AS JSONB)) AS r (reach)
                WHERE starts_with(f.number, r.reach ->> 'prefix')
                  AND NOT EXISTS (SELECT 1 FROM jsonb_array_elements_text(r.reach -> 'except') AS x (prefix)
                                  WHERE starts_with(f.number, x.prefix))))
        ORDER BY f.not_before, f.id LIMIT $4
        FOR NO KEY UPDATE OF f SKIP LOCKED";
    OVERDUE = "-- faxes.overdue
        SELECT f.id FROM faxes f {use faxes_to_call}
        WHERE f.state = 'ready' AND f.give_up_at <= $1 AND f.ordered IS NULL AND f.lease_node IS NULL
          AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.fax_id = f.id AND a.ended_at IS NULL)
        LIMIT $2", locking "FOR NO KEY UPDATE OF f SKIP LOCKED";
    CLAIM = concat!("-- faxes.claim_call
        UPDATE faxes SET lease_node = $2, lease_epoch = $3, lease_expires_at = $4, lease_token = lease_token + 1,
            suspect_at = NULL
        WHERE id = $1 RETURNING ", fax_columns!());
    BEGIN = "-- attempts.begin
        INSERT INTO attempts (id, fax_id, attempt_no, node, epoch, lease_token, line, number, first_page, started_at)
        SELECT $1, id, attempts + 1, lease_node, lease_epoch, lease_token, $3, number, $4, $5 FROM faxes WHERE id = $2
        RETURNING attempt_no";
    COUNT = "-- faxes.count_attempt\nUPDATE faxes SET attempts = attempts + 1 WHERE id = $1 AND lease_token = $2";
    NUMBER_IN_CALL = "-- attempts.number_in_call
        SELECT fax_id FROM attempts WHERE number = $1 AND ended_at IS NULL";
    RINGING = "-- attempts.ringing\nUPDATE attempts SET ringing_at = $2 WHERE id = $1 AND ringing_at IS NULL";
    ANSWERED = "-- attempts.answered\nUPDATE attempts SET answered_at = $2 WHERE id = $1 AND answered_at IS NULL";
    // While the attempt is open the latest word counts, afterwards only what is missing is filled in.
    CARRIED = "-- attempts.carried
        UPDATE attempts SET transport = $2 WHERE id = $1 AND transport IS DISTINCT FROM $2
           AND (ended_at IS NULL OR transport IS NULL)";
    TRAINED = "-- attempts.trained
        UPDATE attempts SET rate_bps = $2, ecm = $3, remote_id = $4
        WHERE id = $1 AND (rate_bps IS DISTINCT FROM $2 OR ecm IS DISTINCT FROM $3 OR remote_id IS DISTINCT FROM $4)
          AND (ended_at IS NULL OR rate_bps IS NULL)";
    PAGE_STARTED = "-- attempts.page_started
        UPDATE attempts SET page_started = $2 WHERE id = $1 AND page_started < $2";
    ALL_PAGES_SENT = "-- attempts.all_pages_sent
        UPDATE attempts SET all_pages_sent = TRUE WHERE id = $1 AND NOT all_pages_sent";
    PAGE_REFUSED = "-- attempts.page_refused
        UPDATE attempts SET all_pages_sent = FALSE WHERE id = $1 AND all_pages_sent = TRUE AND ended_at IS NULL";
    // The first word counts: how a call ended does not change.
    TOLD_END = "-- attempts.told_end
        UPDATE attempts SET told_end = $2 WHERE id = $1 AND told_end IS NULL AND ended_at IS NULL";
    CONFIRM = "-- fax_pages.confirm
        INSERT INTO fax_pages (fax_id, page_no, attempt_id, confirmed_at, rate_bps, ecm, duration_ms, blocks_resent)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (fax_id, page_no) DO NOTHING";
    // The highest k such that pages 1 to k are there; those before begin_page arrived with the fax that this one retries.
    CONFIRMED = "-- faxes.pages_confirmed
        UPDATE faxes SET pages_confirmed = (SELECT coalesce(max(page_no), begin_page - 1) FROM
            (SELECT page_no, row_number() OVER (ORDER BY page_no) AS nth FROM fax_pages
              WHERE fax_id = $1 AND page_no >= begin_page) AS confirmed
            WHERE page_no = nth + begin_page - 1)
        WHERE id = $1";
    AGAIN = "-- faxes.call_again
        UPDATE faxes SET not_before = $3, detail = $4,
            lease_node = NULL, lease_epoch = NULL, lease_expires_at = NULL, suspect_at = NULL
        WHERE id = $1 AND lease_token = $2 AND lease_node IS NOT NULL AND state = 'ready'";
    HAS_OPEN = "-- attempts.has_open
        SELECT EXISTS (SELECT 1 FROM attempts WHERE fax_id = $1 AND ended_at IS NULL) AS open";
}

pub(super) async fn claim(
    tx: &mut Tx,
    owner: &Owner,
    reach: &[Reach],
    limit: u32,
    lease: Duration,
) -> Result<Vec<CallWork>> {
    let limit = limit.min(CLAIM_MAX) as usize;
    // None where every number will do: nothing is compared then.
    let reach = (!reach.iter().any(Reach::is_everywhere))
        .then(|| serde_json::to_string(reach).expect("lists of prefixes are always JSON"));
    let mut claimed = Vec::new();
    let mut above = i64::MIN;
    while claimed.len() < limit {
        let row = sql(&NEXT_PRIORITY).bind(above).fetch_one(&mut tx.conn).await.place("faxes.next_priority")?;
        let Some(priority) = row.col::<Option<i64>>("priority")? else { break };
        above = priority;
        // Of several faxes for one number the first is claimed; its lease keeps the next search away from the others.
        loop {
            let wanted = u32::try_from(limit - claimed.len()).unwrap_or(CLAIM_MAX);
            let query = sql(&NEXT).bind(tx.now.0).bind(priority).bind(reach.as_deref()).bind(wanted);
            let found = query.fetch_all(&mut tx.conn).await.place("faxes.next_to_call")?;
            let mut numbers = HashSet::new();
            for row in found.iter() {
                if numbers.insert(row.col::<String>("number")?) {
                    claimed.push(claim_one(tx, owner, row.parsed("id")?, lease).await?);
                }
            }
            if found.is_empty() || claimed.len() >= limit {
                break;
            }
        }
    }
    Ok(claimed)
}

pub(super) async fn claim_overdue(tx: &mut Tx, owner: &Owner, limit: u32, lease: Duration) -> Result<Vec<CallWork>> {
    let query = sql(&OVERDUE).bind(tx.now.0).bind(limit.min(CLAIM_MAX));
    let overdue = query.fetch_all(&mut tx.conn).await.place("faxes.overdue")?;
    let mut claimed = Vec::with_capacity(overdue.len());
    for row in &overdue {
        claimed.push(claim_one(tx, owner, row.parsed("id")?, lease).await?);
    }
    Ok(claimed)
}

async fn claim_one(tx: &mut Tx, owner: &Owner, fax: FaxId, lease: Duration) -> Result<CallWork> {
    let lease_until = tx.now.plus(lease);
    let row = sql(&CLAIM)
        .bind(fax.to_string())
        .bind(&owner.node)
        .bind(owner.epoch.to_string())
        .bind(lease_until.0)
        .fetch_one(&mut tx.conn)
        .await
        .place("faxes.claim_call")?;
    let row = rows::fax_row(&row)?;
    Ok(CallWork {
        message: reading::message(&mut tx.conn, row.fax.message).await?,
        earlier: reading::causes(&mut tx.conn, fax).await?,
        avoid_t38: facts::avoided(tx, &row.fax.number).await?,
        token: row.lease_token,
        lease_until,
        fax: row.fax,
    })
}

pub(super) async fn begin(tx: &mut Tx, fax: FaxId, token: LeaseToken, attempt: &NewAttempt) -> Result<u32> {
    let row = ownership::hold(tx, fax, token, FaxState::Ready).await?;
    // Past its lease an agent does not dial: the fax may be taken from it at any moment.
    if row.lease_expires_at.is_none_or(|at| at <= tx.now) {
        return Err(lost(fax));
    }
    match reading::attempt(&mut tx.conn, attempt.id).await {
        // The answer to the first call of this method got lost.
        Ok((begun, of, under)) if of == fax && under == token && begun.ended_at.is_none() => return Ok(begun.number),
        Ok(_) => return Err(StoreError::IdTaken(attempt.id.to_string())),
        Err(StoreError::NotFound { .. }) => {}
        Err(other) => return Err(other),
    }
    let next_page = row.fax.pages_confirmed + 1;
    if attempt.first_page != next_page {
        return Err(StoreError::Refused(format!(
            "an attempt of {} begins with page {next_page}, not {}: a confirmed page is never sent again",
            fax.short(),
            attempt.first_page
        )));
    }
    if let Some(order) = row.fax.ordered {
        // Ordered after the claim: nobody is called any more, and the order is carried out when the fax is given back.
        return Err(StoreError::Refused(format!("{} is not called: a person's order ({order}) waits", fax.short())));
    }
    let query = sql(&NUMBER_IN_CALL).bind(row.fax.number.as_str());
    if let Some(open) = query.fetch_optional(&mut tx.conn).await.place("attempts.number_in_call")? {
        return Err(match open.parsed::<FaxId>("fax_id")? {
            of if of == fax => StoreError::Refused(format!("{} has an open attempt", fax.short())),
            _ => number_in_call(fax),
        });
    }
    limits::demand_free(tx, &attempt.line, &attempt.limits).await?;
    let begun = sql(&BEGIN)
        .bind(attempt.id.to_string())
        .bind(fax.to_string())
        .bind(&attempt.line)
        .bind(attempt.first_page)
        .bind(tx.now.0)
        .fetch_one(&mut tx.conn)
        .await;
    let begun = match begun {
        // Another node's attempt for the number was committed since it was looked for: its unique index says so.
        Err(error) if error.is_unique_violation() => return Err(number_in_call(fax)),
        begun => begun.place("attempts.begin")?,
    };
    let number: u32 = begun.int("attempt_no")?;
    let query = sql(&COUNT).bind(fax.to_string()).bind(token);
    demand_one(query.execute(&mut tx.conn).await.place("faxes.count_attempt")?, fax)?;
    let text =
        format!("attempt {number} to {} on line {}, from page {}", row.fax.number, attempt.line, attempt.first_page);
    event(tx, &fax.to_string(), row.lease_node.as_deref(), "attempt", &text).await?;
    Ok(number)
}

fn number_in_call(fax: FaxId) -> StoreError {
    StoreError::NotNow(format!("a call to the number of {} is open", fax.short()))
}

pub(super) async fn fact(tx: &mut Tx, id: AttemptId, fact: &AttemptFact) -> Result<()> {
    let (attempt, fax, _) = reading::attempt(&mut tx.conn, id).await?;
    let (id, now) = (id.to_string(), tx.now.0);
    let (query, kind, text) = match fact {
        AttemptFact::Ringing => (sql(&RINGING).bind(id).bind(now), Some("ringing"), "it rings".to_owned()),
        AttemptFact::Answered => (sql(&ANSWERED).bind(id).bind(now), Some("answered"), "answered".to_owned()),
        AttemptFact::Carried { transport } => {
            let text = format!("carried by {transport}");
            (sql(&CARRIED).bind(id).bind(transport.as_str()), Some("carried"), text)
        }
        AttemptFact::Trained { rate_bps, ecm, remote_id } => {
            let text = format!("{}, remote id \"{remote_id}\"", speed(*rate_bps, *ecm));
            (sql(&TRAINED).bind(id).bind(*rate_bps).bind(*ecm).bind(remote_id.as_str()), Some("trained"), text)
        }
        // Every page would have its line: the confirmation has one already.
        AttemptFact::PageStarted { page } => (sql(&PAGE_STARTED).bind(id).bind(*page), None, String::new()),
        AttemptFact::PageRefused { page } => {
            (sql(&PAGE_REFUSED).bind(id), Some("refused"), format!("page {page} was asked for again"))
        }
        AttemptFact::Ended(end) => {
            let told = serde_json::to_string(end).expect("the end of an attempt is always JSON");
            (sql(&TOLD_END).bind(id).bind(told), Some("told-end"), format!("the call was over: {}", end.detail))
        }
        AttemptFact::AllPagesSent => (sql(&ALL_PAGES_SENT).bind(id), None, String::new()),
    };
    let changed = query.execute(&mut tx.conn).await.place("attempts.fact")?.rows_affected();
    match kind {
        Some(kind) if changed > 0 => {
            let text = format!("attempt {}: {text}", attempt.number);
            event(tx, &fax.to_string(), Some(&attempt.node), kind, &text).await
        }
        _ => Ok(()),
    }
}

pub(super) async fn page_confirmed(tx: &mut Tx, id: AttemptId, page: &ConfirmedPage) -> Result<()> {
    let (attempt, fax, _) = reading::attempt(&mut tx.conn, id).await?;
    let row = ownership::lock(tx, fax).await?;
    let done = sql(&CONFIRM)
        .bind(fax.to_string())
        .bind(page.page)
        .bind(id.to_string())
        .bind(tx.now.0)
        .bind(page.rate_bps)
        .bind(page.ecm)
        .bind(i64::try_from(page.duration_ms).unwrap_or(i64::MAX))
        .bind(page.blocks_resent)
        .execute(&mut tx.conn)
        .await
        .place("fax_pages.confirm")?;
    if done.rows_affected() == 0 {
        return Ok(());
    }
    // A confirmed page was sent, whether or not anybody had the time to say so.
    for query in [sql(&CONFIRMED).bind(fax.to_string()), sql(&PAGE_STARTED).bind(id.to_string()).bind(page.page)] {
        query.execute(&mut tx.conn).await.place("fax_pages.confirm")?;
    }
    let text = confirmed_text(&attempt, page, row.fax.page_count.unwrap_or(0), row.fax.ended_at);
    event(tx, &fax.to_string(), Some(&attempt.node), "page", &text).await
}

fn confirmed_text(attempt: &Attempt, page: &ConfirmedPage, pages: u32, fax_ended_at: Option<Timestamp>) -> String {
    let late = if fax_ended_at.is_some() { ", told after the fax had ended" } else { "" };
    format!(
        "page {} of {pages} confirmed in attempt {} ({}{late})",
        page.page,
        attempt.number,
        speed(page.rate_bps, page.ecm)
    )
}

pub(super) fn speed(rate_bps: u32, ecm: bool) -> String {
    format!("{rate_bps} bit/s, {}", if ecm { "ECM" } else { "no ECM" })
}

pub(super) async fn again(tx: &mut Tx, fax: FaxId, token: LeaseToken, not_before: Timestamp, why: &str) -> Result<()> {
    let row = ownership::hold(tx, fax, token, FaxState::Ready).await?;
    refuse_open_attempt(tx, fax).await?;
    let query = sql(&AGAIN).bind(fax.to_string()).bind(token).bind(not_before.0).bind(why);
    demand_one(query.execute(&mut tx.conn).await.place("faxes.call_again")?, fax)?;
    // Ten thousand faxes that wait for a line are given back every few seconds: their story is told once.
    if row.fax.detail.as_deref() == Some(why) {
        return Ok(());
    }
    let text = format!("not called yet, tried again at {not_before}: {why}");
    event(tx, &fax.to_string(), row.lease_node.as_deref(), "waits", &text).await
}

/// An attempt that has begun ends by `end_attempt` or by `settle`, never by the way.
pub(super) async fn refuse_open_attempt(tx: &mut Tx, fax: FaxId) -> Result<()> {
    if in_call(tx, fax).await? {
        return Err(StoreError::Refused(format!("{} has an open attempt", fax.short())));
    }
    Ok(())
}

/// Whether an attempt of this fax is open.
pub(super) async fn in_call(tx: &mut Tx, fax: FaxId) -> Result<bool> {
    let row = sql(&HAS_OPEN).bind(fax.to_string()).fetch_one(&mut tx.conn).await.place("attempts.has_open")?;
    row.col("open")
}
