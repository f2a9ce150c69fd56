//! Health, and the figures.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::Place;
use super::{Tx, sql, statements};
use crate::domain::{FaxState, NoticeState};
use crate::store::{Counts, Result};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

statements! {
    // Committed and not rolled back: before the commit SQLite has written nothing that could fail.
    PROBE = "-- probe.write
        INSERT INTO probe (one, written_at) VALUES (1, $1) ON CONFLICT (one) DO UPDATE SET written_at = $1";
    FAX_COUNTS = "-- faxes.counts\nSELECT state AS word, count(*) AS n FROM faxes GROUP BY state";
    NOTICE_COUNTS = "-- notices.counts\nSELECT state AS word, count(*) AS n FROM notices GROUP BY state";
    CAUSE_COUNTS = "-- faxes.causes
        SELECT cause AS word, count(*) AS n FROM faxes
        WHERE state IN ('sent', 'partial', 'failed', 'unknown', 'cancelled') AND ended_at >= $1 AND cause IS NOT NULL
        GROUP BY cause";
    CALLS = "-- attempts.open\nSELECT count(*) AS n FROM attempts WHERE ended_at IS NULL";
    PARKED = "-- parked_facts.open\nSELECT count(*) AS n FROM parked_facts WHERE applied_at IS NULL";
    OLDEST = "-- faxes.oldest_waiting
        SELECT min(accepted_at) AS at FROM faxes {use faxes_waiting} WHERE state IN ('accepted', 'ready')";
}

pub(super) async fn probe(tx: &mut Tx) -> Result<()> {
    sql(&PROBE).bind(tx.now().await?.0).execute(&mut tx.conn).await.place("probe.write")?;
    Ok(())
}

/// Every state has its figure, zero too, so that whoever draws them finds the same names each time.
pub(super) async fn counts(tx: &mut Tx) -> Result<Counts> {
    let now = tx.now().await?;
    let c = &mut tx.conn;
    let mut faxes: BTreeMap<String, u64> = FaxState::ALL.iter().map(|state| (state.to_string(), 0)).collect();
    let mut notices: BTreeMap<String, u64> = NoticeState::ALL.iter().map(|state| (state.to_string(), 0)).collect();
    let mut causes_24h = BTreeMap::new();
    let yesterday = now.0.saturating_sub(i64::try_from(DAY.as_millis()).unwrap_or(i64::MAX));
    for (into, query) in [
        (&mut faxes, sql(&FAX_COUNTS)),
        (&mut notices, sql(&NOTICE_COUNTS)),
        (&mut causes_24h, sql(&CAUSE_COUNTS).bind(yesterday)),
    ] {
        for row in query.fetch_all(&mut *c).await.place("counts")? {
            into.insert(row.col("word")?, row.int("n")?);
        }
    }
    let calls = sql(&CALLS).fetch_one(&mut *c).await.place("attempts.open")?.int("n")?;
    let parked_facts = sql(&PARKED).fetch_one(&mut *c).await.place("parked_facts.open")?.int("n")?;
    let oldest = sql(&OLDEST).fetch_one(&mut *c).await.place("faxes.oldest_waiting")?;
    Ok(Counts { faxes, calls, parked_facts, notices, oldest_waiting: oldest.time_opt("at")?, causes_24h })
}
