//! What happens in the calls of the line agents.
//!
//! Decisions are fenced by the lease token; facts are not: what the far end was told stays true whoever owns the row.

use super::error::Place;
use super::intake::event;
use super::ownership::{self, demand_one, lost};
use super::{Tx, fetch_each, limits, reading, sql, statements};
use crate::domain::{AttemptId, FaxId, FaxState, Timestamp};
use crate::store::{Attempt, AttemptFact, ConfirmedPage, LeaseToken, NewAttempt, Result, StoreError};

statements! {
    BEGIN = "-- attempts.begin
        INSERT INTO attempts (id, fax_id, attempt_no, node, epoch, lease_token, line, number, first_page, started_at)
        SELECT $1, id, attempts + 1, lease_node, lease_epoch, lease_token, $3, number, $4, $5 FROM faxes WHERE id = $2
        RETURNING attempt_no";
    COUNT = "-- faxes.count_attempt
        UPDATE faxes SET attempts = attempts + 1 WHERE id = $1 AND lease_token = $2 RETURNING attempts";
    NUMBER_IN_CALL = "-- attempts.number_in_call
        SELECT fax_id FROM attempts WHERE number = (SELECT number FROM faxes WHERE id = $1) AND ended_at IS NULL";
    // Each fact answers what its event needs, when it changed something.
    RINGING = "-- attempts.ringing
        UPDATE attempts SET ringing_at = $2 WHERE id = $1 AND ringing_at IS NULL
        RETURNING fax_id, attempt_no, node";
    ANSWERED = "-- attempts.answered
        UPDATE attempts SET answered_at = $2 WHERE id = $1 AND answered_at IS NULL
        RETURNING fax_id, attempt_no, node";
    // While the attempt is open the latest word counts, afterwards only what is missing is filled in.
    CARRIED = "-- attempts.carried
        UPDATE attempts SET transport = $2 WHERE id = $1 AND transport IS DISTINCT FROM $2
           AND (ended_at IS NULL OR transport IS NULL)
        RETURNING fax_id, attempt_no, node";
    TRAINED = "-- attempts.trained
        UPDATE attempts SET rate_bps = $2, ecm = $3, remote_id = $4
        WHERE id = $1 AND (rate_bps IS DISTINCT FROM $2 OR ecm IS DISTINCT FROM $3 OR remote_id IS DISTINCT FROM $4)
          AND (ended_at IS NULL OR rate_bps IS NULL)
        RETURNING fax_id, attempt_no, node";
    PAGE_STARTED = "-- attempts.page_started
        UPDATE attempts SET page_started = $2 WHERE id = $1 AND page_started < $2
        RETURNING fax_id, attempt_no, node";
    ALL_PAGES_SENT = "-- attempts.all_pages_sent
        UPDATE attempts SET all_pages_sent = TRUE WHERE id = $1 AND NOT all_pages_sent
        RETURNING fax_id, attempt_no, node";
    PAGE_REFUSED = "-- attempts.page_refused
        UPDATE attempts SET all_pages_sent = FALSE WHERE id = $1 AND all_pages_sent = TRUE AND ended_at IS NULL
        RETURNING fax_id, attempt_no, node";
    // The first word counts: how a call ended does not change.
    TOLD_END = "-- attempts.told_end
        UPDATE attempts SET told_end = $2 WHERE id = $1 AND told_end IS NULL AND ended_at IS NULL
        RETURNING fax_id, attempt_no, node";
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

pub(super) async fn begin(tx: &mut Tx, fax: FaxId, token: LeaseToken, attempt: &NewAttempt) -> Result<u32> {
    let key = fax.to_string();
    let asked = [ownership::lock_query(fax), reading::attempt_query(attempt.id), sql(&NUMBER_IN_CALL).bind(&key)];
    let [locked, begun, in_call] = fetch_each(asked, &mut tx.conn).await;
    let row = ownership::locked(fax, &locked.place("faxes.lock")?)?;
    ownership::demand_held(&row, token, FaxState::Ready)?;
    let now = tx.now().await?;
    // Past its lease an agent does not dial: the fax may be taken from it at any moment.
    if row.lease_expires_at.is_none_or(|at| at <= now) {
        return Err(lost(fax));
    }
    match reading::attempt_of(attempt.id, &begun.place("attempts.get")?) {
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
    if let Some(open) = in_call.place("attempts.number_in_call")?.first() {
        return Err(match open.parsed::<FaxId>("fax_id")? {
            of if of == fax => StoreError::Refused(format!("{} has an open attempt", fax.short())),
            _ => number_in_call(fax),
        });
    }
    limits::demand_free(tx, &attempt.line, &attempt.limits).await?;
    let begin = sql(&BEGIN).bind(attempt.id.to_string()).bind(&key).bind(&attempt.line);
    let asked = [begin.bind(attempt.first_page).bind(now.0), sql(&COUNT).bind(&key).bind(token)];
    let [begun, counted] = fetch_each(asked, &mut tx.conn).await;
    let begun = match begun {
        // Another node's attempt for the number was committed since it was looked for: its unique index says so.
        Err(error) if error.is_unique_violation() => return Err(number_in_call(fax)),
        begun => begun.place("attempts.begin")?,
    };
    counted.place("faxes.count_attempt")?.first().ok_or_else(|| lost(fax))?;
    let number: u32 = begun.first().ok_or_else(|| lost(fax))?.int("attempt_no")?;
    let text =
        format!("attempt {number} to {} on line {}, from page {}", row.fax.number, attempt.line, attempt.first_page);
    event(tx, &key, row.lease_node.as_deref(), "attempt", &text).await?;
    Ok(number)
}

fn number_in_call(fax: FaxId) -> StoreError {
    StoreError::NotNow(format!("a call to the number of {} is open", fax.short()))
}

pub(super) async fn fact(tx: &mut Tx, attempt: AttemptId, fact: &AttemptFact) -> Result<()> {
    let id = attempt.to_string();
    let (query, kind, text) = match fact {
        AttemptFact::Ringing => {
            (sql(&RINGING).bind(id).bind(tx.now().await?.0), Some("ringing"), "it rings".to_owned())
        }
        AttemptFact::Answered => {
            (sql(&ANSWERED).bind(id).bind(tx.now().await?.0), Some("answered"), "answered".to_owned())
        }
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
    let changed = query.fetch_optional(&mut tx.conn).await.place("attempts.fact")?;
    match (changed, kind) {
        // It is known already, unless the attempt is not.
        (None, _) => reading::attempt(&mut tx.conn, attempt).await.map(drop),
        (Some(_), None) => Ok(()),
        (Some(of), Some(kind)) => {
            let text = format!("attempt {}: {text}", of.int::<u32>("attempt_no")?);
            event(tx, of.col("fax_id")?, of.col("node")?, kind, &text).await
        }
    }
}

pub(super) async fn page_confirmed(tx: &mut Tx, id: AttemptId, page: &ConfirmedPage) -> Result<()> {
    let (row, attempt, _) = ownership::lock_called(tx, id).await?;
    let fax = row.fax.id;
    let done = sql(&CONFIRM)
        .bind(fax.to_string())
        .bind(page.page)
        .bind(id.to_string())
        .bind(tx.now().await?.0)
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
    sql(&CONFIRMED).bind(fax.to_string()).later(&mut tx.conn).await.place("faxes.pages_confirmed")?;
    // A confirmed page was sent, whether or not anybody had the time to say so.
    if attempt.page_started < page.page {
        let started = sql(&PAGE_STARTED).bind(id.to_string()).bind(page.page);
        started.later(&mut tx.conn).await.place("attempts.page_started")?;
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
