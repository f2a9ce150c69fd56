//! Everybody's events, read so that a follower misses none.
//!
//! A number is drawn before its transaction commits: an event with a lower number can appear after one with a higher
//! number has been read, and a follower that asks for what comes behind the higher one would never see it. So where
//! numbers are missing, whoever may still commit one of them is waited for. Who draws a number holds a lock on the table
//! before that and until its transaction has ended; every transaction that could own a number below one that was read is
//! therefore among those that hold it afterwards, or has ended. Numbers that are missing then stay so.
//! Source: PostgreSQL 15 documentation §13.3.1 (`ROW EXCLUSIVE`), §54.12 (`pg_locks`), §9.17 (`nextval` is not undone).

use std::collections::BTreeSet;
use std::time::Duration;

use super::Postgres;
use crate::store::sql::{Place, reading, sql, statements};
use crate::store::{Event, EventsOf, Result};

statements! {
    WRITERS = "-- events.writers
        SELECT DISTINCT virtualtransaction AS writer FROM pg_locks
         WHERE locktype = 'relation' AND relation = 'events'::regclass AND mode = 'RowExclusiveLock' AND granted
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
}

/// Transactions take milliseconds. One that waits for a synchronous copy takes longer: then there is less to read now.
const WAITS_MAX: usize = 20;
const WAIT: Duration = Duration::from_millis(25);

impl Postgres {
    /// Events behind `after`, none of which can come to stand behind one that was not there yet.
    pub(in crate::store) async fn all_events(&self, after: i64, limit: u32) -> Result<Vec<Event>> {
        let mut seen = self.events_now(after, limit).await?;
        let Some(last) = seen.last().map(|event| event.seq) else { return Ok(seen) };
        let whole = without_gap(after, &seen);
        if whole == seen.len() {
            return Ok(seen);
        }
        let mut open = self.writers().await?;
        for _ in 0..WAITS_MAX {
            if open.is_empty() {
                seen = self.events_now(after, limit).await?;
                seen.retain(|event| event.seq <= last);
                return Ok(seen);
            }
            tokio::time::sleep(WAIT).await;
            let still = self.writers().await?;
            open.retain(|writer| still.contains(writer));
        }
        seen.truncate(whole);
        Ok(seen)
    }

    async fn events_now(&self, after: i64, limit: u32) -> Result<Vec<Event>> {
        self.read("events.list", move |tx| Box::pin(reading::events(&mut tx.conn, EventsOf::All, after, limit))).await
    }

    async fn writers(&self) -> Result<BTreeSet<String>> {
        let rows = self.read("events.writers", |tx| {
            Box::pin(async move { sql(&WRITERS).fetch_all(&mut tx.conn).await.place("events.writers") })
        });
        rows.await?.iter().map(|row| row.col("writer")).collect()
    }
}

/// How many stand before the first number that is missing.
fn without_gap(after: i64, events: &[Event]) -> usize {
    events.iter().zip(after + 1..).take_while(|(event, expected)| event.seq == *expected).count()
}
