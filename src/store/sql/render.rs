//! Claims for the renderers and what they write back.
//!
//! `renders_unfinished` rises with each claim and falls with each write-back: what is left over counts the workers
//! that died over the message.

use std::time::Duration;

use super::error::Place;
use super::ownership::{self, demand_one};
use super::rows::{self, FaxRow, fax_columns};
use super::{Tx, execute_list, fetch_each, intake, reading, sql, statements};
use crate::domain::{FaxId, FaxState, MessageId, Timestamp};
use crate::store::{LeaseToken, Owner, RenderWork, RenderedPages, Result};

/// Messages that a claim looks at when others are faster: the next poll goes on.
const CLAIM_TRIES: u32 = 8;

statements! {
    // The index is named here and in the other claims: SQLite's planner would rather sort all rows of a state.
    NEXT = "-- faxes.next_to_render
        SELECT message_id FROM faxes {use faxes_to_render}
        WHERE state = 'accepted' AND not_before <= $1 AND lease_node IS NULL AND ordered IS NULL
        ORDER BY priority, not_before, id LIMIT 1",
        postgres "-- faxes.next_to_render
        SELECT f.message_id FROM faxes f JOIN messages m ON m.id = f.message_id
        WHERE f.state = 'accepted' AND f.not_before <= $1 AND f.lease_node IS NULL AND f.ordered IS NULL
        ORDER BY f.priority, f.not_before, f.id LIMIT 1
        FOR NO KEY UPDATE OF m SKIP LOCKED";
    CLAIM = concat!("-- faxes.claim_render
        UPDATE faxes SET lease_node = $2, lease_epoch = $3, lease_expires_at = $4, lease_token = lease_token + 1,
            suspect_at = NULL, renders_unfinished = renders_unfinished + 1
        WHERE message_id = $5 AND state = 'accepted' AND not_before <= $1 AND lease_node IS NULL AND ordered IS NULL
        RETURNING ", fax_columns!());
    RENDERED = "-- faxes.rendered
        UPDATE faxes SET state = 'ready', document = $3, page_count = $4, not_before = {greatest}($5, first_call_at),
            renders_unfinished = 0, cause = NULL, detail = NULL,
            lease_node = NULL, lease_epoch = NULL, lease_expires_at = NULL, suspect_at = NULL
        WHERE id = $1 AND lease_token = $2 AND lease_node IS NOT NULL AND state = 'accepted'";
    AGAIN = "-- faxes.render_again
        UPDATE faxes SET not_before = $3, detail = $4, renders_unfinished = {greatest}(0, renders_unfinished - 1),
            lease_node = NULL, lease_epoch = NULL, lease_expires_at = NULL, suspect_at = NULL
        WHERE id = $1 AND lease_token = $2 AND lease_node IS NOT NULL AND state = 'accepted'";
}

pub(super) async fn claim(tx: &mut Tx, owner: &Owner, lease: Duration) -> Result<Option<RenderWork>> {
    for _ in 0..CLAIM_TRIES {
        let next =
            sql(&NEXT).bind(tx.now().await?.0).fetch_optional(&mut tx.conn).await.place("faxes.next_to_render")?;
        let Some(next) = next else { return Ok(None) };
        if let Some(work) = claim_message(tx, owner, next.parsed("message_id")?, lease).await? {
            return Ok(Some(work));
        }
    }
    Ok(None)
}

/// None when somebody else has claimed the message between the search and its lock.
async fn claim_message(tx: &mut Tx, owner: &Owner, message: MessageId, lease: Duration) -> Result<Option<RenderWork>> {
    let now = tx.now().await?;
    let claim = sql(&CLAIM)
        .bind(now.0)
        .bind(&owner.node)
        .bind(owner.epoch.to_string())
        .bind(now.plus(lease).0)
        .bind(message.to_string());
    let [claimed, mail] = fetch_each([claim, reading::message_query(message)], &mut tx.conn).await;
    let claimed = claimed.place("faxes.claim_render")?;
    if claimed.is_empty() {
        return Ok(None);
    }
    let mut faxes = claimed.iter().map(rows::fax_row).collect::<Result<Vec<FaxRow>>>()?;
    faxes.sort_by_key(|row| row.fax.id);
    // This claim has counted itself.
    let crashes = faxes.iter().map(|row| row.renders_unfinished.saturating_sub(1)).max().unwrap_or(0);
    let message = reading::message_of(message, &mail.place("messages.get")?)?;
    let faxes = faxes.into_iter().map(|row| (row.fax, row.lease_token)).collect();
    Ok(Some(RenderWork { message, faxes, crashes }))
}

pub(super) async fn rendered(tx: &mut Tx, fax: FaxId, token: LeaseToken, pages: &RenderedPages) -> Result<()> {
    let row = ownership::hold(tx, fax, token, FaxState::Accepted).await?;
    let now = tx.now().await?;
    let done = sql(&RENDERED)
        .bind(fax.to_string())
        .bind(token)
        .bind(pages.document.key.to_string())
        .bind(pages.page_count)
        .bind(now.0);
    for done in execute_list(vec![intake::document_query(&pages.document, now), done], &mut tx.conn).await {
        demand_one(done.place("faxes.rendered")?, fax)?;
    }
    let text = format!("{} pages are ready", pages.page_count);
    intake::event(tx, &fax.to_string(), row.lease_node.as_deref(), "rendered", &text).await
}

pub(super) async fn again(tx: &mut Tx, fax: FaxId, token: LeaseToken, not_before: Timestamp, why: &str) -> Result<()> {
    let row = ownership::hold(tx, fax, token, FaxState::Accepted).await?;
    let done = sql(&AGAIN)
        .bind(fax.to_string())
        .bind(token)
        .bind(not_before.0)
        .bind(why)
        .execute(&mut tx.conn)
        .await
        .place("faxes.render_again")?;
    demand_one(done, fax)?;
    let text = format!("pages are tried again at {not_before}: {why}");
    intake::event(tx, &fax.to_string(), row.lease_node.as_deref(), "waits", &text).await
}
