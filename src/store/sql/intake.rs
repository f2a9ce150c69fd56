//! A message comes in: documents, message, faxes and their first events, or nothing at all.

use super::error::Place;
use super::{DbError, Done, Query, Tx, execute_list, orders, senders, sql, statements};
use crate::domain::{ShortId, Timestamp};
use crate::store::{DocumentRef, NewFax, NewMessage, NewNotice, Result, StoreError, Submitted};

statements! {
    KNOWN = "-- messages.known
        SELECT id, raw_document, accepted_at FROM messages WHERE id = $1 OR idem_key = $2";
    SHORT_ID_TAKEN = "-- ids.taken
        SELECT EXISTS (SELECT 1 FROM messages WHERE short_id = $1)
            OR EXISTS (SELECT 1 FROM faxes WHERE short_id = $1 OR id = $2) AS taken";
    // A document that was about to be removed is wanted again, and one that retention removed is there again.
    DOCUMENT = "-- documents.put
        INSERT INTO documents (key, size_bytes, media, inline, stored_at, location, sealed_key, sealed_by)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (key) DO UPDATE SET gc_after = NULL, pruned_at = NULL,
            inline = CASE WHEN documents.pruned_at IS NULL THEN documents.inline ELSE excluded.inline END,
            location = CASE WHEN documents.pruned_at IS NULL THEN documents.location ELSE excluded.location END,
            sealed_key = CASE WHEN documents.pruned_at IS NULL THEN documents.sealed_key ELSE excluded.sealed_key END,
            sealed_by = CASE WHEN documents.pruned_at IS NULL THEN documents.sealed_by ELSE excluded.sealed_by END,
            stored_at = CASE WHEN documents.pruned_at IS NULL THEN documents.stored_at ELSE excluded.stored_at END";
    MESSAGE = "-- messages.submit
        INSERT INTO messages (id, short_id, idem_key, source, client, reverse_path, ret, envid, header_message_id,
            subject, from_name, from_address, automatic, options, raw_document, accepted_at, identity, billing)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)";
    FAX = "-- faxes.submit
        INSERT INTO faxes (id, short_id, message_id, recipient, number, subaddress, post_dial, to_name, to_company,
            original_recipient, notify_success, notify_failure, notify_delay, state, priority, not_before,
            first_call_at, give_up_at, accepted_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 'accepted', $14, $15, $16, $17, $15)";
    ANSWER = "-- notices.owe_answer
        INSERT INTO notices (id, message_id, kind, state, recipient, header_message_id, created_at, not_before)
        VALUES ($1, $2, $3, 'owed', $4, $5, $6, $6)";
    EVENT = "-- events.add
        INSERT INTO events (at, node, fax_id, kind, text) VALUES ($1, $2, $3, $4, $5)";
    EVENT_OF_MESSAGE = "-- events.add_of_message
        INSERT INTO events (at, message_id, kind, text) VALUES ($1, $2, $3, $4)";
    EVENT_OF_NOBODY = "-- events.add_of_nobody\nINSERT INTO events (at, node, kind, text) VALUES ($1, $2, $3, $4)";
}

/// Longest text of an event; details come from far ends and must not fill the disk.
const EVENT_CHARS_MAX: usize = 400;

pub(super) async fn submit(tx: &mut Tx, message: &NewMessage) -> Result<Submitted> {
    if message.faxes.is_empty() == message.answer.is_none() {
        return Err(StoreError::Refused("a message without recipients, or one that is sent and answered".to_owned()));
    }
    if let Some(before) = known(tx, message).await? {
        return Ok(before);
    }
    if let Some(submitter) = &message.submitter
        && let Some(refused) = senders::refuse(tx, submitter, message).await?
    {
        return Ok(refused);
    }
    // The time has come with the first answer.
    let at = tx.now().await?;
    let mut asked = vec![document_query(&message.raw, at), message_query(message, at)];
    asked.extend(message.faxes.iter().map(|fax| fax_query(message, fax, at)));
    asked.extend(message.answer.iter().map(|answer| answer_query(message, answer, at)));
    let mut done = execute_list(asked, &mut tx.conn).await.into_iter();
    let mut next = move || done.next().expect("each query has its answer");
    next().place("documents.put")?;
    unless_taken(next(), "messages.submit", &message.id.short())?;
    for fax in &message.faxes {
        unless_taken(next(), "faxes.submit", &fax.id.short())?;
    }
    if let Some(answer) = &message.answer {
        next().place("notices.owe_answer")?;
        let from = message.reverse_path.as_deref().unwrap_or("<>");
        let text = format!("{} asked for by {from}, {} by {}", answer.kind, message.client, message.source);
        event_of_message(tx, &message.id.to_string(), "accepted", &text).await?;
    }
    for fax in &message.faxes {
        let from = message.reverse_path.as_deref().unwrap_or("<>");
        let text = format!("accepted from {from}, {} by {}, for {}", message.client, message.source, fax.number);
        event(tx, &fax.id.to_string(), None, "accepted", &text).await?;
        if message.held {
            orders::hold_now(tx, fax.id, from).await?;
        }
    }
    Ok(Submitted::Accepted { at })
}

/// What became of a submission that comes again: of the same mail under another id, or of itself when its first answer
/// got lost.
async fn known(tx: &mut Tx, message: &NewMessage) -> Result<Option<Submitted>> {
    let id = message.id.to_string();
    let query = sql(&KNOWN).bind(&id).bind(message.idem_key.map(|key| key.to_vec()));
    let rows = query.fetch_all(&mut tx.conn).await.place("messages.known")?;
    let (itself, others): (Vec<_>, Vec<_>) =
        rows.iter().partition(|row| row.col::<&str>("id").is_ok_and(|of| of == id));
    if let Some(other) = others.first() {
        return Ok(Some(Submitted::Duplicate { message: other.parsed("id")? }));
    }
    match itself.first() {
        None => Ok(None),
        Some(row) if row.col::<&str>("raw_document")? == message.raw.key.to_string() => {
            Ok(Some(Submitted::Accepted { at: row.time("accepted_at")? }))
        }
        Some(_) => Err(StoreError::IdTaken(message.id.short().to_string())),
    }
}

/// The unique indexes know which ids are taken: asking first would cost a statement for each.
fn unless_taken(done: std::result::Result<Done, DbError>, name: &str, short: &ShortId) -> Result<()> {
    match done {
        Err(error) if error.is_unique_violation() => Err(StoreError::IdTaken(short.as_str().to_owned())),
        other => other.place(name).map(|_| ()),
    }
}

/// Errors when a short id that people read, or the fax's id behind it, is there already.
pub(super) async fn refuse_taken(tx: &mut Tx, short: &str, id: &str) -> Result<()> {
    let query = sql(&SHORT_ID_TAKEN).bind(short).bind(id);
    let row = query.fetch_one(&mut tx.conn).await.place("ids.taken")?;
    if row.col("taken")? { Err(StoreError::IdTaken(short.to_owned())) } else { Ok(()) }
}

/// Stores the row of a document whose bytes are durable already or come along.
pub(in crate::store) async fn put_document(tx: &mut Tx, document: &DocumentRef) -> Result<()> {
    let now = tx.now().await?;
    document_query(document, now).execute(&mut tx.conn).await.place("documents.put").map(|_| ())
}

/// The same, to be sent together with what names the document: it changes one row.
pub(super) fn document_query(document: &DocumentRef, now: Timestamp) -> Query<'_> {
    let sealed = document.placement.sealed.as_ref();
    sql(&DOCUMENT)
        .bind(document.key.to_string())
        .bind(i64::try_from(document.size_bytes).unwrap_or(i64::MAX))
        .bind(&document.media)
        .bind(document.placement.inline.as_deref())
        .bind(now.0)
        .bind(document.placement.drawn.map(|name| name.simple().to_string()))
        .bind(sealed.map(|sealed| &sealed.wrapped[..]))
        .bind(sealed.map(|sealed| &sealed.by))
}

fn message_query(message: &NewMessage, at: Timestamp) -> Query<'_> {
    let options = serde_json::to_string(&message.options).expect("options are plain words and texts");
    sql(&MESSAGE)
        .bind(message.id.to_string())
        .bind(message.id.short().to_string())
        .bind(message.idem_key.map(|key| key.to_vec()))
        .bind(message.source.as_str())
        .bind(&message.client)
        .bind(message.reverse_path.as_deref())
        .bind(message.ret.map(|ret| ret.as_str()))
        .bind(message.envid.as_deref())
        .bind(message.header_message_id.as_deref())
        .bind(&message.subject)
        .bind(message.from_name.as_deref())
        .bind(message.from_address.as_deref())
        .bind(message.automatic)
        .bind(options)
        .bind(message.raw.key.to_string())
        .bind(at.0)
        .bind(message.submitter.as_ref().map(|submitter| submitter.identity.as_str()))
        .bind(message.submitter.as_ref().and_then(|submitter| submitter.billing.as_deref()))
}

fn fax_query<'m>(message: &'m NewMessage, fax: &'m NewFax, at: Timestamp) -> Query<'m> {
    let first_call_at = fax.not_before.map_or(at, |wanted| wanted.max(at));
    sql(&FAX)
        .bind(fax.id.to_string())
        .bind(fax.id.short().to_string())
        .bind(message.id.to_string())
        .bind(&fax.recipient)
        .bind(fax.number.as_str())
        .bind(fax.subaddress.as_deref())
        .bind(fax.post_dial.as_deref())
        .bind(fax.to_name.as_deref())
        .bind(fax.to_company.as_deref())
        .bind(fax.original_recipient.as_deref())
        .bind(fax.notify.success)
        .bind(fax.notify.failure)
        .bind(fax.notify.delay)
        .bind(message.priority)
        .bind(at.0)
        .bind(first_call_at.0)
        // Counted from the first call that is allowed: "at 18:00" must not be given up at noon.
        .bind(first_call_at.plus(fax.give_up_after).0)
}

fn answer_query<'m>(message: &'m NewMessage, answer: &'m NewNotice, at: Timestamp) -> Query<'m> {
    sql(&ANSWER)
        .bind(answer.id.to_string())
        .bind(message.id.to_string())
        .bind(answer.kind.as_str())
        .bind(answer.recipient.as_deref())
        .bind(&answer.header_message_id)
        .bind(at.0)
}

/// Adds one line to the story of a fax, in the transaction of what it tells.
pub(super) async fn event(tx: &mut Tx, fax: &str, node: Option<&str>, kind: &str, text: &str) -> Result<()> {
    sql(&EVENT)
        .bind(tx.now().await?.0)
        .bind(node)
        .bind(fax)
        .bind(kind)
        .bind(event_line(text))
        .later(&mut tx.conn)
        .await
        .place("events.add")?;
    Ok(())
}

/// An event of a message that has no fax.
pub(super) async fn event_of_message(tx: &mut Tx, message: &str, kind: &str, text: &str) -> Result<()> {
    let query = sql(&EVENT_OF_MESSAGE).bind(tx.now().await?.0).bind(message).bind(kind).bind(event_line(text));
    query.later(&mut tx.conn).await.place("events.add_of_message")?;
    Ok(())
}

/// An event that concerns no fax: a route, a node.
pub(super) async fn event_of_nobody(tx: &mut Tx, node: Option<&str>, kind: &str, text: &str) -> Result<()> {
    let query = sql(&EVENT_OF_NOBODY).bind(tx.now().await?.0).bind(node).bind(kind).bind(event_line(text));
    query.later(&mut tx.conn).await.place("events.add_of_nobody")?;
    Ok(())
}

/// The text of an event: one line of bounded length.
pub(super) fn event_line(text: &str) -> String {
    text.chars().take(EVENT_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
