//! What outlives a call: facts that no row takes, what calls have taught about a number, orders for calls under way.

use super::error::{Place, unknown_value};
use super::intake::{event, event_line};
use super::{Conn, Row, Tx, reading, sql, statements};
use crate::domain::{FaxId, Timestamp};
use crate::store::{AttemptFact, JournalFact, Order, Owner, ParkedFact, Result};

/// Facts in one answer; the rest come when these are dealt with.
const PARKED_MAX: u32 = 1000;

statements! {
    PARK = "-- parked_facts.park
        INSERT INTO parked_facts (id, node, attempt_id, fact, why, happened_at, parked_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING";
    // The store may know the call, and its fax, although the fact does not fit.
    TELL_PARKED = "-- events.parked
        INSERT INTO events (at, node, fax_id, kind, text)
        VALUES ($1, $2, (SELECT fax_id FROM attempts WHERE id = $3), 'parked', $4)";
    PARKED = "-- parked_facts.list
        SELECT id, node, attempt_id, fact, why, happened_at, parked_at FROM parked_facts {use parked_facts_open}
        WHERE applied_at IS NULL ORDER BY parked_at, id LIMIT $1";
    UNPARK = "-- parked_facts.applied\nUPDATE parked_facts SET applied_at = $2 WHERE id = $1 AND applied_at IS NULL";
    AVOID = "-- destinations.avoid_t38
        INSERT INTO destinations (number, avoid_t38_until, detail, updated_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (number) DO UPDATE SET avoid_t38_until = $2, detail = $3, updated_at = $4";
    FORGET = "-- destinations.forget_one\nDELETE FROM destinations WHERE number = $1";
    ORDERS = "-- faxes.orders
        SELECT id, ordered FROM faxes {use faxes_leased}
        WHERE lease_node = $1 AND lease_epoch = $2 AND ordered IS NOT NULL";
}

pub(super) async fn park(tx: &mut Tx, fact: &ParkedFact) -> Result<()> {
    let done = sql(&PARK)
        .bind(fact.id.to_string())
        .bind(&fact.node)
        .bind(fact.attempt.to_string())
        .bind(serde_json::to_string(&fact.fact).expect("a fact is always JSON"))
        .bind(&fact.why)
        .bind(fact.happened_at.0)
        .bind(tx.now().await?.0)
        .execute(&mut tx.conn)
        .await
        .place("parked_facts.park")?;
    if done.rows_affected() == 0 {
        return Ok(());
    }
    let text = format!("a fact of call {} is kept aside: {}; {}", fact.attempt, words(&fact.fact), fact.why);
    sql(&TELL_PARKED)
        .bind(tx.now().await?.0)
        .bind(&fact.node)
        .bind(fact.attempt.to_string())
        .bind(event_line(&text))
        .later(&mut tx.conn)
        .await
        .place("events.parked")?;
    Ok(())
}

fn words(fact: &JournalFact) -> String {
    match fact {
        JournalFact::Page(page) => format!("page {} was confirmed", page.page),
        JournalFact::Fact(AttemptFact::Ringing) => "it rang".to_owned(),
        JournalFact::Fact(AttemptFact::Answered) => "it was answered".to_owned(),
        JournalFact::Fact(AttemptFact::Carried { transport }) => format!("it was carried by {transport}"),
        JournalFact::Fact(AttemptFact::Trained { rate_bps, .. }) => format!("it ran at {rate_bps} bit/s"),
        JournalFact::Fact(AttemptFact::PageStarted { page }) => format!("page {page} began"),
        JournalFact::Fact(AttemptFact::AllPagesSent) => "all pages were sent".to_owned(),
        JournalFact::Fact(AttemptFact::PageRefused { page }) => format!("page {page} was asked for again"),
        JournalFact::Fact(AttemptFact::Ended(end)) => format!("it was over: {}", end.detail),
    }
}

pub(super) async fn parked(c: &mut Conn, limit: u32) -> Result<Vec<ParkedFact>> {
    let query = sql(&PARKED).bind(limit.min(PARKED_MAX));
    query.fetch_all(c).await.place("parked_facts.list")?.iter().map(parked_fact).collect()
}

fn parked_fact(row: &Row) -> Result<ParkedFact> {
    let fact: &str = row.col("fact")?;
    Ok(ParkedFact {
        id: row.parsed("id")?,
        node: row.col("node")?,
        attempt: row.parsed("attempt_id")?,
        fact: serde_json::from_str(fact).map_err(|e| unknown_value("fact", &e.to_string()))?,
        why: row.col("why")?,
        happened_at: row.time("happened_at")?,
        parked_at: row.time("parked_at")?,
    })
}

pub(super) async fn unpark(tx: &mut Tx, id: uuid::Uuid) -> Result<()> {
    let query = sql(&UNPARK).bind(id.to_string()).bind(tx.now().await?.0);
    query.execute(&mut tx.conn).await.place("parked_facts.applied")?;
    Ok(())
}

pub(super) async fn avoid_t38(tx: &mut Tx, fax: FaxId, until: Timestamp, why: &str) -> Result<()> {
    let row = reading::fax_row(&mut tx.conn, fax).await?;
    let number = row.fax.number.as_str();
    let text = if until > tx.now().await? {
        let query = sql(&AVOID).bind(number).bind(until.0).bind(why).bind(tx.now().await?.0);
        query.execute(&mut tx.conn).await.place("destinations.avoid_t38")?;
        format!("calls to {number} go over audio at once until {until}: {why}")
    } else {
        let done = sql(&FORGET).bind(number).execute(&mut tx.conn).await.place("destinations.forget_one")?;
        if done.rows_affected() == 0 {
            return Ok(());
        }
        format!("calls to {number} try T.38 again: {why}")
    };
    event(tx, &fax.to_string(), row.lease_node.as_deref(), "destination", &text).await
}

pub(super) async fn orders(c: &mut Conn, owner: &Owner) -> Result<Vec<(FaxId, Order)>> {
    let query = sql(&ORDERS).bind(&owner.node).bind(owner.epoch.to_string());
    let rows = query.fetch_all(c).await.place("faxes.orders")?;
    rows.iter().map(|row| Ok((row.parsed("id")?, row.parsed("ordered")?))).collect()
}
