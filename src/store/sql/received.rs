//! Faxes that come in: each page with its document in one transaction, the end together with the mails that are owed.
//!
//! A received fax begins leased to the agent that answered. When that lease is freed, nobody claims it again: it is
//! settled as far as its pages were stored. The agent may come back first and end it itself, with the same token; what
//! it may not do any more is add pages, because the settler counts those that are there.

use std::time::Duration;

use super::error::Place;
use super::intake::{event_line, put_document};
use super::rows::{self, notice_columns};
use super::{Conn, Statement, Tx, sql, statements};
use crate::domain::{NoticeKind, ReceivedFaxId, ReceivedState, ShortId};
use crate::store::{
    LeaseToken, NewNotice, NewReceived, Notice, Owner, Received, ReceivedEnd, ReceivedFilter, ReceivedPage,
    ReceivedPageRecord, ReceivedRecord, Result, StaleReceived, StoreError,
};

/// Lines of a list when none are asked for, and the most there are.
const LIST_DEFAULT: u32 = 50;
const LIST_MAX: u32 = 1000;
/// Stale faxes in one answer; the rest come with the next.
const STALE_MAX: i64 = 200;
/// Mailboxes of one received fax.
const NOTICES_MAX: usize = 100;

macro_rules! received_columns {
    () => {
        "id, node, line, called_number, calling_number, remote_id, subaddress, transport, state, complete, \
         (SELECT count(*) FROM received_pages p WHERE p.received_fax_id = received_faxes.id) AS pages, route, cause, \
         detail, started_at, received_at, delivered_at, legal_hold, lease_node, lease_token"
    };
}

statements! {
    SHORT_ID_TAKEN = "-- received_faxes.taken
        SELECT EXISTS (SELECT 1 FROM received_faxes WHERE short_id = $1) AS taken";
    BEGIN = "-- received_faxes.begin
        INSERT INTO received_faxes (id, short_id, node, epoch, call_no, line, called_number, calling_number, remote_id,
            subaddress, transport, state, started_at, lease_node, lease_epoch, lease_expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'receiving', $12, $3, $4, $13)";
    PAGE = "-- received_pages.add
        INSERT INTO received_pages (received_fax_id, page_no, document, width_px, height_px, rate_bps, ecm,
            damaged_lines, stored_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    END = "-- received_faxes.end
        UPDATE received_faxes SET state = 'received', complete = $3, cause = $4, detail = $5, route = $6,
            received_at = $7,
            page_count = (SELECT count(*) FROM received_pages WHERE received_fax_id = $1),
            lease_node = NULL, lease_epoch = NULL, lease_expires_at = NULL, suspect_at = NULL
        WHERE id = $1 AND lease_token = $2 AND state = 'receiving'";
    NOTICE = "-- notices.owe_received
        INSERT INTO notices (id, received_fax_id, kind, state, recipient, format, header_message_id, created_at,
            not_before)
        VALUES ($1, $2, 'received', 'owed', $3, $4, $5, $6, $6)";
    EVENT = "-- events.add_received
        INSERT INTO events (at, node, received_fax_id, kind, text) VALUES ($1, $2, $3, $4, $5)";
    GET = concat!("-- received_faxes.get\nSELECT ", received_columns!(), " FROM received_faxes WHERE id = $1");
    LOCK = concat!("-- received_faxes.lock\nSELECT ", received_columns!(), " FROM received_faxes WHERE id = $1"),
        locking "FOR NO KEY UPDATE";
    FIND = "-- received_faxes.find\nSELECT id FROM received_faxes WHERE short_id = $1";
    PAGES = "-- received_pages.of_fax
        SELECT page_no, document, width_px, height_px, rate_bps, ecm, damaged_lines, stored_at FROM received_pages
        WHERE received_fax_id = $1 ORDER BY page_no";
    NOTICES = concat!("-- notices.of_received_fax
        SELECT ", notice_columns!(), " FROM notices WHERE received_fax_id = $1 ORDER BY created_at, id");
    LIST = concat!("-- received_faxes.list\nSELECT ", received_columns!(), " FROM received_faxes
        WHERE (CAST($1 AS TEXT) IS NULL OR substr(called_number, 1, length($1)) = $1)
          AND (CAST($2 AS TEXT) IS NULL OR substr(calling_number, 1, length($2)) = $2)
          AND (CAST($3 AS BIGINT) IS NULL OR started_at >= $3)
        ORDER BY started_at DESC, id DESC LIMIT $4");
    STALE = "-- received_faxes.stale
        SELECT id FROM received_faxes WHERE state = 'receiving' AND lease_node IS NULL ORDER BY started_at LIMIT $1";
}

/// A received fax and what only the store needs to know of it.
pub(super) struct Row {
    received: Received,
    lease_node: Option<String>,
    lease_token: LeaseToken,
}

pub(super) async fn begin(
    tx: &mut Tx,
    owner: &Owner,
    fax: &NewReceived,
    first: &ReceivedPage,
    lease: Duration,
) -> Result<LeaseToken> {
    match lock(tx, fax.id).await {
        // The answer to the first call of this method got lost.
        Ok(begun) => {
            add_page(tx, &begun, begun.lease_token, first).await?;
            return Ok(begun.lease_token);
        }
        Err(StoreError::NotFound { .. }) => {}
        Err(other) => return Err(other),
    }
    let short = fax.id.short();
    let taken = sql(&SHORT_ID_TAKEN).bind(short.as_str()).fetch_one(&mut tx.conn).await;
    if taken.place("received_faxes.taken")?.col("taken")? {
        return Err(StoreError::IdTaken(short.to_string()));
    }
    sql(&BEGIN)
        .bind(fax.id.to_string())
        .bind(short.as_str())
        .bind(&owner.node)
        .bind(owner.epoch.to_string())
        .bind(fax.call_no)
        .bind(&fax.line)
        .bind(&fax.called_number)
        .bind(fax.calling_number.as_deref())
        .bind(fax.remote_id.as_deref())
        .bind(fax.subaddress.as_deref())
        .bind(fax.transport.map(|transport| transport.as_str()))
        .bind(tx.now().await?.0)
        .bind(tx.now().await?.plus(lease).0)
        .execute(&mut tx.conn)
        .await
        .place("received_faxes.begin")?;
    event(tx, fax.id, Some(&owner.node), "call-in", &call_text(fax)).await?;
    let begun = lock(tx, fax.id).await?;
    add_page(tx, &begun, begun.lease_token, first).await?;
    Ok(begun.lease_token)
}

fn call_text(fax: &NewReceived) -> String {
    let mut text = format!("call for {} on line {}", fax.called_number, fax.line);
    for (name, value) in [("from", &fax.calling_number), ("remote id", &fax.remote_id), ("subaddress", &fax.subaddress)]
    {
        if let Some(value) = value {
            text.push_str(&format!(", {name} \"{value}\""));
        }
    }
    text
}

pub(super) async fn page(tx: &mut Tx, fax: ReceivedFaxId, token: LeaseToken, page: &ReceivedPage) -> Result<()> {
    let row = lock(tx, fax).await?;
    add_page(tx, &row, token, page).await
}

async fn add_page(tx: &mut Tx, row: &Row, token: LeaseToken, page: &ReceivedPage) -> Result<()> {
    let fax = row.received.id;
    // Asked first: a page that is stored may be confirmed whatever became of the lease since, it will be delivered.
    let pages = pages(&mut tx.conn, fax).await?;
    if let Some(stored) = pages.iter().find(|stored| stored.page == page.page) {
        return if stored.document == page.document.key {
            Ok(())
        } else {
            Err(StoreError::Refused(format!("page {} of {} is another one", page.page, fax.short())))
        };
    }
    if row.lease_node.is_none() || row.lease_token != token || row.received.state != ReceivedState::Receiving {
        return Err(lost(fax));
    }
    let next = u32::try_from(pages.len()).unwrap_or(u32::MAX).saturating_add(1);
    if page.page != next {
        return Err(StoreError::Refused(format!("{} goes on with page {next}, not {}", fax.short(), page.page)));
    }
    put_document(tx, &page.document).await?;
    sql(&PAGE)
        .bind(fax.to_string())
        .bind(page.page)
        .bind(page.document.key.to_string())
        .bind(page.width_px)
        .bind(page.height_px)
        .bind(page.rate_bps)
        .bind(page.ecm)
        .bind(page.damaged_lines)
        .bind(tx.now().await?.0)
        .execute(&mut tx.conn)
        .await
        .place("received_pages.add")?;
    let text = format!("page {} stored ({})", page.page, super::line::speed(page.rate_bps, page.ecm));
    event(tx, fax, row.lease_node.as_deref(), "page-in", &text).await
}

pub(super) async fn end(tx: &mut Tx, fax: ReceivedFaxId, token: LeaseToken, end: &ReceivedEnd) -> Result<()> {
    let row = lock(tx, fax).await?;
    if row.received.state != ReceivedState::Receiving {
        return ended_before(tx, fax, end).await;
    }
    if row.lease_token != token {
        return Err(lost(fax));
    }
    if end.notices.is_empty() || end.notices.len() > NOTICES_MAX {
        let count = end.notices.len();
        return Err(StoreError::Refused(format!("{} goes to 1 to {NOTICES_MAX} mailboxes, not {count}", fax.short())));
    }
    // Notices first, then the state: the trigger on the state looks for them.
    for notice in &end.notices {
        owe(tx, fax, notice).await?;
    }
    let done = sql(&END)
        .bind(fax.to_string())
        .bind(token)
        .bind(end.complete)
        .bind(end.cause.map(|cause| cause.as_str()))
        .bind(end.detail.as_deref())
        .bind(end.route.as_deref())
        .bind(tx.now().await?.0)
        .execute(&mut tx.conn)
        .await
        .place("received_faxes.end")?;
    if done.rows_affected() != 1 {
        return Err(lost(fax));
    }
    event(tx, fax, row.lease_node.as_deref(), "received", &end_text(&row.received, end)).await
}

/// The same end once more is no error; somebody else's end is.
async fn ended_before(tx: &mut Tx, fax: ReceivedFaxId, end: &ReceivedEnd) -> Result<()> {
    let owed = notices(&mut tx.conn, fax).await?;
    let ours = |notice: &NewNotice| owed.iter().any(|owed| owed.id == notice.id);
    if !end.notices.is_empty() && end.notices.iter().all(ours) { Ok(()) } else { Err(lost(fax)) }
}

fn end_text(received: &Received, end: &ReceivedEnd) -> String {
    let whole = if end.complete { "complete" } else { "incomplete" };
    let by = end.route.as_ref().map_or("no route".to_owned(), |route| format!("route \"{route}\""));
    let to: Vec<&str> = end.notices.iter().filter_map(|notice| notice.recipient.as_deref()).collect();
    let why: String = [end.cause.map(|cause| cause.to_string()), end.detail.clone()]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(": ");
    let why = if why.is_empty() { why } else { format!(" ({why})") };
    let pages = if received.page_count == 1 { "1 page".to_owned() } else { format!("{} pages", received.page_count) };
    format!("{pages}, {whole}{why}; {by}: {}", to.join(", "))
}

pub(super) async fn owe(tx: &mut Tx, fax: ReceivedFaxId, notice: &NewNotice) -> Result<()> {
    let (NoticeKind::Received, Some(recipient), Some(format)) = (notice.kind, &notice.recipient, notice.format) else {
        return Err(StoreError::Refused(format!("the notice of {} names no mailbox or no format", fax.short())));
    };
    sql(&NOTICE)
        .bind(notice.id.to_string())
        .bind(fax.to_string())
        .bind(recipient)
        .bind(format.as_str())
        .bind(&notice.header_message_id)
        .bind(tx.now().await?.0)
        .execute(&mut tx.conn)
        .await
        .place("notices.owe_received")?;
    Ok(())
}

/// Adds one line to the story of a received fax, in the transaction of what it tells.
pub(super) async fn event(tx: &mut Tx, fax: ReceivedFaxId, node: Option<&str>, kind: &str, text: &str) -> Result<()> {
    sql(&EVENT)
        .bind(tx.now().await?.0)
        .bind(node)
        .bind(fax.to_string())
        .bind(kind)
        .bind(event_line(text))
        .later(&mut tx.conn)
        .await
        .place("events.add_received")?;
    Ok(())
}

fn lost(fax: ReceivedFaxId) -> StoreError {
    StoreError::LeaseLost(fax.short().to_string())
}

// ---- reading

async fn row(c: &mut Conn, statement: &'static Statement, id: ReceivedFaxId) -> Result<Row> {
    let row = sql(statement).bind(id.to_string()).fetch_optional(c).await.place("received_faxes.get")?;
    let row = row.ok_or_else(|| StoreError::NotFound { kind: "received fax", id: id.short().to_string() })?;
    Ok(Row { received: received(&row)?, lease_node: row.col("lease_node")?, lease_token: row.col("lease_token")? })
}

/// The received fax, which nobody else changes until this transaction is over.
pub(super) async fn lock(tx: &mut Tx, id: ReceivedFaxId) -> Result<Row> {
    row(&mut tx.conn, &LOCK, id).await
}

fn received(row: &super::Row) -> Result<Received> {
    Ok(Received {
        id: row.parsed("id")?,
        node: row.col("node")?,
        line: row.col("line")?,
        called_number: row.col("called_number")?,
        calling_number: row.col("calling_number")?,
        remote_id: row.col("remote_id")?,
        subaddress: row.col("subaddress")?,
        transport: row.parsed_opt("transport")?,
        state: row.parsed("state")?,
        complete: row.col("complete")?,
        page_count: row.int("pages")?,
        route: row.col("route")?,
        cause: row.parsed_opt("cause")?,
        detail: row.col("detail")?,
        started_at: row.time("started_at")?,
        received_at: row.time_opt("received_at")?,
        delivered_at: row.time_opt("delivered_at")?,
        legal_hold: row.col("legal_hold")?,
    })
}

async fn pages(c: &mut Conn, fax: ReceivedFaxId) -> Result<Vec<ReceivedPageRecord>> {
    let rows = sql(&PAGES).bind(fax.to_string()).fetch_all(c).await.place("received_pages.of_fax")?;
    let page = |row: &super::Row| -> Result<ReceivedPageRecord> {
        Ok(ReceivedPageRecord {
            page: row.int("page_no")?,
            document: row.parsed("document")?,
            width_px: row.int("width_px")?,
            height_px: row.int("height_px")?,
            rate_bps: row.int("rate_bps")?,
            ecm: row.col("ecm")?,
            damaged_lines: row.int("damaged_lines")?,
            stored_at: row.time("stored_at")?,
        })
    };
    rows.iter().map(page).collect()
}

pub(super) async fn notices(c: &mut Conn, fax: ReceivedFaxId) -> Result<Vec<Notice>> {
    let rows = sql(&NOTICES).bind(fax.to_string()).fetch_all(c).await.place("notices.of_received_fax")?;
    rows.iter().map(rows::notice).collect()
}

pub(super) async fn record(c: &mut Conn, id: ReceivedFaxId) -> Result<ReceivedRecord> {
    let received = row(c, &GET, id).await?.received;
    Ok(ReceivedRecord { received, pages: pages(c, id).await?, notices: notices(c, id).await? })
}

pub(super) async fn find(c: &mut Conn, id: &ShortId) -> Result<ReceivedFaxId> {
    let row = sql(&FIND).bind(id.as_str()).fetch_optional(c).await.place("received_faxes.find")?;
    let row = row.ok_or_else(|| StoreError::NotFound { kind: "received fax", id: id.to_string() })?;
    row.parsed("id")
}

pub(super) async fn list(c: &mut Conn, filter: &ReceivedFilter) -> Result<Vec<Received>> {
    let limit = if filter.limit == 0 { LIST_DEFAULT } else { filter.limit.min(LIST_MAX) };
    let rows = sql(&LIST)
        .bind(filter.did.as_deref())
        .bind(filter.from.as_deref())
        .bind(filter.since.map(|at| at.0))
        .bind(limit)
        .fetch_all(c)
        .await
        .place("received_faxes.list")?;
    rows.iter().map(received).collect()
}

pub(super) async fn stale(c: &mut Conn) -> Result<Vec<StaleReceived>> {
    let found = sql(&STALE).bind(STALE_MAX).fetch_all(&mut *c).await.place("received_faxes.stale")?;
    let mut stale = Vec::with_capacity(found.len());
    for found in &found {
        let id: ReceivedFaxId = found.parsed("id")?;
        let token = row(c, &GET, id).await?.lease_token;
        stale.push(StaleReceived { record: record(c, id).await?, token });
    }
    Ok(stale)
}
