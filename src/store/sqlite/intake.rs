//! A message comes in: documents, message, faxes and their first events, or nothing at all.

use super::error::Place;
use super::rows::Columns;
use super::{Tx, statements};
use crate::domain::{MessageId, Timestamp};
use crate::store::{DocumentRef, NewFax, NewMessage, Result, StoreError, Submitted};

statements! {
    BY_IDEM_KEY = "-- messages.by_idem_key\nSELECT id FROM messages WHERE idem_key = $1";
    BY_ID = "-- messages.by_id
        SELECT raw_document, accepted_at FROM messages WHERE id = $1";
    SHORT_ID_TAKEN = "-- ids.taken
        SELECT EXISTS (SELECT 1 FROM messages WHERE short_id = $1)
            OR EXISTS (SELECT 1 FROM faxes WHERE short_id = $1 OR id = $2) AS taken";
    // A document that was about to be removed is wanted again.
    DOCUMENT = "-- documents.put
        INSERT INTO documents (key, size_bytes, media, inline, stored_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (key) DO UPDATE SET gc_after = NULL";
    MESSAGE = "-- messages.submit
        INSERT INTO messages (id, short_id, idem_key, source, client, reverse_path, ret, envid, header_message_id,
            subject, from_name, from_address, automatic, options, raw_document, accepted_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";
    FAX = "-- faxes.submit
        INSERT INTO faxes (id, short_id, message_id, recipient, number, subaddress, post_dial, to_name, to_company,
            original_recipient, notify_success, notify_failure, notify_delay, state, priority, not_before,
            first_call_at, give_up_at, accepted_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 'accepted', $14, $15, $16, $17, $15)";
    EVENT = "-- events.add
        INSERT INTO events (at, node, fax_id, kind, text) VALUES ($1, $2, $3, $4, $5)";
}

/// Longest text of an event; details come from far ends and must not fill the disk.
const EVENT_CHARS_MAX: usize = 400;

pub(super) async fn submit(tx: &mut Tx, message: &NewMessage) -> Result<Submitted> {
    if message.faxes.is_empty() {
        return Err(StoreError::Refused("a message without recipients".to_owned()));
    }
    if let Some(first) = duplicate(tx, message).await? {
        return Ok(Submitted::Duplicate { message: first });
    }
    if let Some(at) = stored_already(tx, message).await? {
        return Ok(Submitted::Accepted { at });
    }
    let at = tx.now;
    put_document(tx, &message.raw).await?;
    insert_message(tx, message, at).await?;
    for fax in &message.faxes {
        insert_fax(tx, message, fax, at).await?;
    }
    Ok(Submitted::Accepted { at })
}

async fn duplicate(tx: &mut Tx, message: &NewMessage) -> Result<Option<MessageId>> {
    let Some(key) = message.idem_key else { return Ok(None) };
    let query = sqlx::query(BY_IDEM_KEY).bind(key.to_vec());
    let row = query.fetch_optional(&mut tx.conn).await.place("messages.by_idem_key")?;
    let first: Option<MessageId> = row.map(|row| row.parsed("id")).transpose()?;
    // The same id is the same submission once more, not a second one.
    Ok(first.filter(|first| *first != message.id))
}

/// A submission whose first answer got lost is repeated with its id: it was accepted then.
async fn stored_already(tx: &mut Tx, message: &NewMessage) -> Result<Option<Timestamp>> {
    let query = sqlx::query(BY_ID).bind(message.id.to_string());
    match query.fetch_optional(&mut tx.conn).await.place("messages.by_id")? {
        None => Ok(None),
        Some(row) if row.col::<&str>("raw_document")? == message.raw.key.to_string() => {
            row.time("accepted_at").map(Some)
        }
        Some(_) => Err(StoreError::IdTaken(message.id.short().to_string())),
    }
}

async fn refuse_taken(tx: &mut Tx, short: &str, id: &str) -> Result<()> {
    let query = sqlx::query(SHORT_ID_TAKEN).bind(short).bind(id);
    let row = query.fetch_one(&mut tx.conn).await.place("ids.taken")?;
    if row.col("taken")? { Err(StoreError::IdTaken(short.to_owned())) } else { Ok(()) }
}

/// Stores the row of a document whose bytes are durable already or come along.
pub(super) async fn put_document(tx: &mut Tx, document: &DocumentRef) -> Result<()> {
    sqlx::query(DOCUMENT)
        .bind(document.key.to_string())
        .bind(i64::try_from(document.size_bytes).unwrap_or(i64::MAX))
        .bind(&document.media)
        .bind(document.inline.as_deref())
        .bind(tx.now.0)
        .execute(&mut tx.conn)
        .await
        .place("documents.put")?;
    Ok(())
}

async fn insert_message(tx: &mut Tx, message: &NewMessage, at: Timestamp) -> Result<()> {
    let short = message.id.short();
    refuse_taken(tx, short.as_str(), "").await?;
    let options = serde_json::to_string(&message.options).expect("options are plain words and texts");
    sqlx::query(MESSAGE)
        .bind(message.id.to_string())
        .bind(short.as_str())
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
        .execute(&mut tx.conn)
        .await
        .place("messages.submit")?;
    Ok(())
}

async fn insert_fax(tx: &mut Tx, message: &NewMessage, fax: &NewFax, at: Timestamp) -> Result<()> {
    let short = fax.id.short();
    refuse_taken(tx, short.as_str(), &fax.id.to_string()).await?;
    let first_call_at = fax.not_before.map_or(at, |wanted| wanted.max(at));
    sqlx::query(FAX)
        .bind(fax.id.to_string())
        .bind(short.as_str())
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
        .execute(&mut tx.conn)
        .await
        .place("faxes.submit")?;
    let from = message.reverse_path.as_deref().unwrap_or("<>");
    let text = format!("accepted from {from}, {} by {}, for {}", message.client, message.source, fax.number);
    event(tx, &fax.id.to_string(), None, "accepted", &text).await
}

/// Adds one line to the story of a fax, in the transaction of what it tells.
pub(super) async fn event(tx: &mut Tx, fax: &str, node: Option<&str>, kind: &str, text: &str) -> Result<()> {
    let line: String = text.chars().take(EVENT_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    sqlx::query(EVENT)
        .bind(tx.now.0)
        .bind(node)
        .bind(fax)
        .bind(kind)
        .bind(line)
        .execute(&mut tx.conn)
        .await
        .place("events.add")?;
    Ok(())
}
