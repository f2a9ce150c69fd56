//! Reads that several commands share. Each takes a connection: the writer's inside its transaction, or a reader's
//! inside a snapshot.

use super::error::Place;
use super::rows::{self, FaxRow, attempt_columns, event_columns, fax_columns, message_columns, notice_columns};
use super::{Conn, DbError, Query, Row, Tx, fetch_list, sql, statements};
use crate::domain::{AttemptId, Cause, FaxId, MessageId, NoticeId, ShortId, Timestamp};
use crate::store::{
    Attempt, Destination, DocumentKey, Event, EventsOf, FaxFilter, FaxRecord, FaxSummary, Message, Result, StoreError,
    StoredDocument,
};

/// Lines of a list when none are asked for, and the most there are.
const LIST_DEFAULT: u32 = 50;
const LIST_MAX: u32 = 1000;
/// Events in one answer; the rest come after the last of these.
const EVENTS_MAX: u32 = 2000;

statements! {
    FAX = concat!("-- faxes.get\nSELECT ", fax_columns!(), " FROM faxes WHERE id = $1");
    FIND = "-- faxes.find\nSELECT id FROM faxes WHERE short_id = $1";
    LIST = concat!("-- faxes.list\nSELECT ", fax_columns!(), ",
        (SELECT subject FROM messages m WHERE m.id = message_id) AS subject,
        (SELECT reverse_path FROM messages m WHERE m.id = message_id) AS reverse_path,
        EXISTS (SELECT 1 FROM attempts a WHERE a.fax_id = faxes.id AND a.ended_at IS NULL) AS in_call
        FROM faxes
        WHERE ($1 = '[]' OR state IN {words $1})
          AND (CAST($2 AS TEXT) IS NULL OR substr(number, 1, length($2)) = $2)
          AND (CAST($3 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM messages m
                                      WHERE m.id = message_id AND {position}(lower(m.reverse_path), lower($3)) > 0))
          AND (CAST($4 AS BIGINT) IS NULL OR accepted_at >= $4)
        ORDER BY accepted_at DESC, id DESC LIMIT $5");
    MESSAGE = concat!("-- messages.get\nSELECT ", message_columns!(), " FROM messages WHERE id = $1");
    MESSAGE_OF_FAX = concat!("-- messages.of_fax\nSELECT ", message_columns!(), " FROM messages
        WHERE id = (SELECT message_id FROM faxes WHERE id = $1)");
    ANSWERED = concat!("-- messages.answered\nSELECT ", message_columns!(), " FROM messages
        WHERE id = (SELECT message_id FROM notices WHERE id = $1)");
    ATTEMPT = concat!("-- attempts.get\nSELECT ", attempt_columns!(), " FROM attempts WHERE id = $1");
    ATTEMPTS = concat!(
        "-- attempts.of_fax\nSELECT ", attempt_columns!(), " FROM attempts WHERE fax_id = $1 ORDER BY attempt_no"
    );
    CAUSES = "-- attempts.causes
        SELECT cause FROM attempts WHERE fax_id = $1 AND ended_at IS NOT NULL AND cause IS NOT NULL
        ORDER BY attempt_no";
    PAGES = "-- fax_pages.of_fax
        SELECT p.page_no, p.attempt_id, a.attempt_no, p.confirmed_at, p.rate_bps, p.ecm, p.duration_ms, p.blocks_resent
        FROM fax_pages p JOIN attempts a ON a.id = p.attempt_id WHERE p.fax_id = $1 ORDER BY p.page_no";
    NOTICES = concat!(
        "-- notices.of_fax\nSELECT ", notice_columns!(), " FROM notices WHERE fax_id = $1 ORDER BY created_at, id"
    );
    RETRIED_AS = "-- faxes.retried_as\nSELECT id FROM faxes WHERE retry_of = $1";
    DESTINATION = "-- destinations.get
        SELECT avoid_t38_until, detail FROM destinations
        WHERE number = (SELECT number FROM faxes WHERE id = $1) AND avoid_t38_until > $2";
    FIND_ANY = "-- ids.find
        SELECT id FROM faxes WHERE short_id = $1
        UNION ALL SELECT id FROM received_faxes WHERE short_id = $1
        UNION ALL SELECT id FROM messages WHERE short_id = $1";
    EVENTS_OF_FAX = concat!("-- events.of_fax\nSELECT ", event_columns!(), " FROM events
        WHERE (fax_id = $1 OR message_id = (SELECT message_id FROM faxes WHERE id = $1)) AND seq > $2
        ORDER BY seq LIMIT $3");
    EVENTS_OF_RECEIVED = concat!("-- events.of_received\nSELECT ", event_columns!(), " FROM events
        WHERE received_fax_id = $1 AND seq > $2 ORDER BY seq LIMIT $3");
    EVENTS_OF_MESSAGE = concat!("-- events.of_message\nSELECT ", event_columns!(), " FROM events
        WHERE (message_id = $1 OR fax_id IN (SELECT id FROM faxes WHERE message_id = $1)) AND seq > $2
        ORDER BY seq LIMIT $3");
    EVENTS = concat!("-- events.all\nSELECT ", event_columns!(), " FROM events WHERE seq > $1 ORDER BY seq LIMIT $2");
    // From the newest back to the first that is older: the clock of the store never falls, so that is all there is.
    LAST_EVENT_BEFORE = "-- events.last_before
        SELECT seq FROM events WHERE at < $1 ORDER BY seq DESC LIMIT 1";
    DOCUMENT = "-- documents.get\nSELECT size_bytes, inline, location, sealed_key, sealed_by, pruned_at
        FROM documents WHERE key = $1";
}

pub(super) async fn fax_row(c: &mut Conn, id: FaxId) -> Result<FaxRow> {
    let row = sql(&FAX).bind(id.to_string()).fetch_optional(c).await.place("faxes.get")?;
    let row = row.ok_or_else(|| StoreError::NotFound { kind: "fax", id: id.short().to_string() })?;
    rows::fax_row(&row)
}

/// An attempt, its fax, and the token it was begun with.
pub(super) async fn attempt(c: &mut Conn, id: AttemptId) -> Result<(Attempt, FaxId, i64)> {
    attempt_of(id, &attempt_query(id).fetch_all(c).await.place("attempts.get")?)
}

/// The same, to be sent together with other queries.
pub(super) fn attempt_query(id: AttemptId) -> Query<'static> {
    sql(&ATTEMPT).bind(id.to_string())
}

/// What its answer is.
pub(super) fn attempt_of(id: AttemptId, found: &[Row]) -> Result<(Attempt, FaxId, i64)> {
    let row = found.first().ok_or_else(|| StoreError::NotFound { kind: "attempt", id: id.to_string() })?;
    Ok((rows::attempt(row)?, row.parsed("fax_id")?, row.col("lease_token")?))
}

pub(super) async fn message(c: &mut Conn, id: MessageId) -> Result<Message> {
    message_of(id, &message_query(id).fetch_all(c).await.place("messages.get")?)
}

/// The message that a notice answers.
pub(super) async fn answered(c: &mut Conn, notice: NoticeId) -> Result<Message> {
    let row = sql(&ANSWERED).bind(notice.to_string()).fetch_optional(c).await.place("messages.answered")?;
    let missing = || StoreError::Refused(format!("the notice {notice} tells of nothing"));
    rows::message(&row.ok_or_else(missing)?)
}

/// The same, to be sent together with other queries.
pub(super) fn message_query(id: MessageId) -> Query<'static> {
    sql(&MESSAGE).bind(id.to_string())
}

/// What its answer is.
pub(super) fn message_of(id: MessageId, found: &[Row]) -> Result<Message> {
    let row = found.first().ok_or_else(|| StoreError::NotFound { kind: "message", id: id.short().to_string() })?;
    rows::message(row)
}

/// Causes of the attempts that have ended, oldest first.
pub(super) async fn causes(c: &mut Conn, fax: FaxId) -> Result<Vec<Cause>> {
    causes_of(&causes_query(fax).fetch_all(c).await.place("attempts.causes")?)
}

/// The same, to be sent together with other queries.
pub(super) fn causes_query(fax: FaxId) -> Query<'static> {
    sql(&CAUSES).bind(fax.to_string())
}

/// What its answer is.
pub(super) fn causes_of(found: &[Row]) -> Result<Vec<Cause>> {
    found.iter().map(|row| row.parsed("cause")).collect()
}

/// The fax that sends this one once more.
pub(super) async fn retried_as(c: &mut Conn, fax: FaxId) -> Result<Option<FaxId>> {
    let query = sql(&RETRIED_AS).bind(fax.to_string());
    let row = query.fetch_optional(c).await.place("faxes.retried_as")?;
    row.map(|row| row.parsed("id")).transpose()
}

fn destination(row: &Row) -> Result<Destination> {
    Ok(Destination { avoid_t38_until: row.time("avoid_t38_until")?, detail: row.col("detail")? })
}

pub(super) async fn record(tx: &mut Tx, id: FaxId) -> Result<FaxRecord> {
    let asked = record_queries(id, tx.now().await?);
    record_of(id, &mut fetch_list(asked.into(), &mut tx.conn).await.into_iter())
}

/// What asks for all of a fax, to be sent together with other queries.
pub(super) fn record_queries(id: FaxId, now: Timestamp) -> [Query<'static>; 7] {
    let of_fax = |statement| sql(statement).bind(id.to_string());
    [
        of_fax(&FAX),
        of_fax(&MESSAGE_OF_FAX),
        of_fax(&ATTEMPTS),
        of_fax(&PAGES),
        of_fax(&NOTICES),
        of_fax(&RETRIED_AS),
        of_fax(&DESTINATION).bind(now.0),
    ]
}

/// What the next of the answers are.
pub(super) fn record_of(
    id: FaxId,
    answers: &mut impl Iterator<Item = std::result::Result<Vec<Row>, DbError>>,
) -> Result<FaxRecord> {
    let mut next = || answers.next().expect("each query has its answer").place("faxes.record");
    let missing = |kind| StoreError::NotFound { kind, id: id.short().to_string() };
    let fax = next()?.first().map(rows::fax).transpose()?.ok_or_else(|| missing("fax"))?;
    let message = next()?.first().map(rows::message).transpose()?.ok_or_else(|| missing("message of fax"))?;
    Ok(FaxRecord {
        fax,
        message,
        attempts: next()?.iter().map(rows::attempt).collect::<Result<_>>()?,
        pages: next()?.iter().map(rows::page).collect::<Result<_>>()?,
        notices: next()?.iter().map(rows::notice).collect::<Result<_>>()?,
        retried_as: next()?.first().map(|row| row.parsed("id")).transpose()?,
        destination: next()?.first().map(destination).transpose()?,
    })
}

pub(super) async fn find(c: &mut Conn, id: &ShortId) -> Result<FaxId> {
    let row = sql(&FIND).bind(id.as_str()).fetch_optional(c).await.place("faxes.find")?;
    let row = row.ok_or_else(|| StoreError::NotFound { kind: "fax", id: id.to_string() })?;
    row.parsed("id")
}

pub(super) async fn find_any(c: &mut Conn, id: &ShortId) -> Result<EventsOf> {
    let row = sql(&FIND_ANY).bind(id.as_str()).fetch_optional(c).await.place("ids.find")?;
    let kind = match id.as_str().as_bytes().first() {
        Some(b'R') => "received fax",
        Some(b'M') => "message",
        _ => "fax",
    };
    let row = row.ok_or_else(|| StoreError::NotFound { kind, id: id.to_string() })?;
    Ok(match kind {
        "received fax" => EventsOf::Received(row.parsed("id")?),
        "message" => EventsOf::Message(row.parsed("id")?),
        _ => EventsOf::Fax(row.parsed("id")?),
    })
}

pub(super) async fn list(c: &mut Conn, filter: &FaxFilter) -> Result<Vec<FaxSummary>> {
    let states: Vec<&str> = filter.states.iter().map(|state| state.as_str()).collect();
    let states = serde_json::to_string(&states).expect("a list of words is always JSON");
    let limit = if filter.limit == 0 { LIST_DEFAULT } else { filter.limit.min(LIST_MAX) };
    let rows = sql(&LIST)
        .bind(states)
        .bind(filter.to.as_deref())
        .bind(filter.from.as_deref())
        .bind(filter.since.map(|at| at.0))
        .bind(limit)
        .fetch_all(c)
        .await
        .place("faxes.list")?;
    let summary = |row| -> Result<FaxSummary> {
        Ok(FaxSummary {
            fax: rows::fax(row)?,
            subject: row.col("subject")?,
            reverse_path: row.col("reverse_path")?,
            in_call: row.col("in_call")?,
        })
    };
    rows.iter().map(summary).collect()
}

pub(in crate::store) async fn events(c: &mut Conn, of: EventsOf, after: i64, limit: u32) -> Result<Vec<Event>> {
    let query = match of {
        EventsOf::Fax(fax) => {
            fax_row(c, fax).await?;
            sql(&EVENTS_OF_FAX).bind(fax.to_string())
        }
        EventsOf::Received(fax) => sql(&EVENTS_OF_RECEIVED).bind(fax.to_string()),
        EventsOf::Message(of) => {
            message(c, of).await?;
            sql(&EVENTS_OF_MESSAGE).bind(of.to_string())
        }
        EventsOf::All => sql(&EVENTS),
    };
    let found = query.bind(after).bind(limit.min(EVENTS_MAX)).fetch_all(c).await.place("events.list")?;
    found.iter().map(rows::event).collect()
}

pub(super) async fn last_event_before(c: &mut Conn, time: Timestamp) -> Result<i64> {
    let query = sql(&LAST_EVENT_BEFORE).bind(time.0);
    query.fetch_optional(c).await.place("events.last_before")?.map_or(Ok(0), |row| row.col("seq"))
}

pub(in crate::store) async fn document(c: &mut Conn, key: DocumentKey) -> Result<StoredDocument> {
    let row = sql(&DOCUMENT).bind(key.to_string()).fetch_optional(c).await.place("documents.get")?;
    let row = row.ok_or_else(|| StoreError::NotFound { kind: "document", id: key.to_string() })?;
    match row.time_opt("pruned_at")? {
        Some(at) => Ok(StoredDocument::Pruned { at }),
        None => Ok(StoredDocument::Kept { size_bytes: row.int("size_bytes")?, placement: rows::placement(&row)? }),
    }
}
