//! Claims for the line agents: the faxes that are to be called next.
//!
//! In: who asks, which numbers its lines reach, how many. Out: faxes with everything that a call needs, under a lease. Of the
//! faxes for one number one is given at a time, and none while a call to it is open.

use std::collections::HashSet;
use std::time::Duration;

use super::error::Place;
use super::ownership::lost;
use super::rows::{self, fax_columns};
use super::{Row, Tx, fetch_list, reading, sql, statements};
use crate::domain::FaxId;
use crate::store::{CallWork, Owner, Reach, Result};

/// Most calls in one claim: more channels claim again.
const CLAIM_MAX: u32 = 256;

statements! {
    // Few priorities are in use; asking for each of them keeps the search inside the part of the index that is due.
    NEXT_PRIORITY = "-- faxes.next_priority
        SELECT min(priority) AS priority FROM faxes {use faxes_to_call}
        WHERE state = 'ready' AND lease_node IS NULL AND priority > $1";
    // OFFSET 0 has PostgreSQL look for the number of each candidate in turn, instead of reading all calls first.
    NEXT = "-- faxes.next_to_call
        SELECT f.id, f.number, f.message_id, f.attempts FROM faxes f {use faxes_to_call}
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
        SELECT f.id, f.number, f.message_id, f.attempts FROM faxes f
        WHERE f.state = 'ready' AND f.priority = $2 AND f.not_before <= $1 AND f.ordered IS NULL
          AND f.lease_node IS NULL
          AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.number = f.number AND a.ended_at IS NULL
                          OFFSET 0)
          AND NOT EXISTS (SELECT 1 FROM faxes o
                          WHERE o.number = f.number AND o.lease_node IS NOT NULL AND o.state = 'ready'
                          OFFSET 0)
          AND (CAST($3 AS JSONB) IS NULL OR EXISTS (SELECT 1 FROM jsonb_array_elements(CAST($3 AS JSONB)) AS r (reach)
                WHERE starts_with(f.number, r.reach ->> 'prefix')
                  AND NOT EXISTS (SELECT 1 FROM jsonb_array_elements_text(r.reach -> 'except') AS x (prefix)
                                  WHERE starts_with(f.number, x.prefix))))
        ORDER BY f.not_before, f.id LIMIT $4
        FOR NO KEY UPDATE OF f SKIP LOCKED";
    OVERDUE = "-- faxes.overdue
        SELECT f.id, f.number, f.message_id, f.attempts FROM faxes f {use faxes_to_call}
        WHERE f.state = 'ready' AND f.give_up_at <= $1 AND f.ordered IS NULL AND f.lease_node IS NULL
          AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.fax_id = f.id AND a.ended_at IS NULL)
        LIMIT $2", locking "FOR NO KEY UPDATE OF f SKIP LOCKED";
    CLAIM = concat!("-- faxes.claim_call
        UPDATE faxes SET lease_node = $2, lease_epoch = $3, lease_expires_at = $4, lease_token = lease_token + 1,
            suspect_at = NULL
        WHERE id = $1 RETURNING ", fax_columns!(), ",
            (SELECT d.detail FROM destinations d WHERE d.number = faxes.number AND d.avoid_t38_until > $5) AS avoid_t38");
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
            let query = sql(&NEXT).bind(tx.now().await?.0).bind(priority).bind(reach.as_deref()).bind(wanted);
            let found = query.fetch_all(&mut tx.conn).await.place("faxes.next_to_call")?;
            let mut numbers = HashSet::new();
            let mut chosen = Vec::with_capacity(found.len());
            for row in &found {
                if numbers.insert(row.col::<&str>("number")?) {
                    chosen.push(row);
                }
            }
            claimed.extend(claim_each(tx, owner, &chosen, lease).await?);
            if found.is_empty() || claimed.len() >= limit {
                break;
            }
        }
    }
    Ok(claimed)
}

pub(super) async fn claim_overdue(tx: &mut Tx, owner: &Owner, limit: u32, lease: Duration) -> Result<Vec<CallWork>> {
    let query = sql(&OVERDUE).bind(tx.now().await?.0).bind(limit.min(CLAIM_MAX));
    let overdue = query.fetch_all(&mut tx.conn).await.place("faxes.overdue")?;
    claim_each(tx, owner, &overdue.iter().collect::<Vec<_>>(), lease).await
}

/// Claims faxes that are locked; each row has `id`, `message_id` and `attempts`.
async fn claim_each(tx: &mut Tx, owner: &Owner, chosen: &[&Row], lease: Duration) -> Result<Vec<CallWork>> {
    let (now, epoch) = (tx.now().await?, owner.epoch.to_string());
    let lease_until = now.plus(lease);
    let mut asked = Vec::with_capacity(chosen.len() * 3);
    for row in chosen {
        let fax: FaxId = row.parsed("id")?;
        let id = fax.to_string();
        asked.push(sql(&CLAIM).bind(id).bind(&owner.node).bind(&epoch).bind(lease_until.0).bind(now.0));
        asked.push(reading::message_query(row.parsed("message_id")?));
        // Nothing has ended of a fax that was never called.
        if row.col::<i64>("attempts")? > 0 {
            asked.push(reading::causes_query(fax));
        }
    }
    let mut answers = fetch_list(asked, &mut tx.conn).await.into_iter();
    let mut next = move |place| answers.next().expect("each query has its answer").place(place);
    let mut claimed = Vec::with_capacity(chosen.len());
    for row in chosen {
        let (id, found) = (row.parsed("id")?, next("faxes.claim_call")?);
        let of = found.first().ok_or_else(|| lost(id))?;
        let row = rows::fax_row(of)?;
        claimed.push(CallWork {
            message: reading::message_of(row.fax.message, &next("messages.get")?)?,
            earlier: if row.fax.attempts > 0 { reading::causes_of(&next("attempts.causes")?)? } else { Vec::new() },
            avoid_t38: of.col("avoid_t38")?,
            token: row.lease_token,
            lease_until,
            fax: row.fax,
        });
    }
    Ok(claimed)
}
