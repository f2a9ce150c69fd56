//! What is over long enough goes, in small transactions: first bytes of documents, later the rows.
//!
//! A message is over when each of its faxes has ended, none is under a legal hold and no mail is owed for any of them;
//! its documents go together. A received fax is over when it is delivered and none of its mails is owed: one that nobody
//! has stays, because its sender was told that it is received. A document that several name
//! stays until the last of them lets it go. Rows go before files: a crash in between leaves files that no row needs,
//! which the sweep of the repository finds. Documents that nobody names any more lose their bytes with the last row that
//! named them; their own row is forgotten later.

use std::time::Duration;

use super::error::Place;
use super::{Conn, Row, Statement, Tx, intake, received, rows, sql, statements};
use crate::domain::Timestamp;
use crate::store::{DocumentKey, DocumentRow, EventsOf, Marked, ObjectName, PruneRules, Pruned, Result, StoreError};

/// Whether a message must stay: some fax of it is not over since `$before`, is held, or a mail is owed.
macro_rules! message_stays {
    ($message:literal, $before:literal) => {
        concat!(
            "(EXISTS (SELECT 1 FROM faxes o WHERE o.message_id = ",
            $message,
            "
                AND (o.ended_at IS NULL OR o.ended_at >= ",
            $before,
            " OR o.legal_hold = TRUE
                     OR EXISTS (SELECT 1 FROM notices n WHERE n.fax_id = o.id AND n.state = 'owed')))
              OR EXISTS (SELECT 1 FROM notices n WHERE n.message_id = ",
            $message,
            " AND n.state = 'owed'))"
        )
    };
}

/// The same of a received fax `r`.
macro_rules! received_stays {
    ($before:literal) => {
        concat!(
            "(r.state <> 'delivered' OR r.legal_hold = TRUE OR r.delivered_at >= ",
            $before,
            "
              OR EXISTS (SELECT 1 FROM notices n WHERE n.received_fax_id = r.id AND n.state = 'owed'))"
        )
    };
}

/// Whether any row names the document `d`.
macro_rules! named {
    () => {
        "(EXISTS (SELECT 1 FROM messages WHERE raw_document = d.key)
          OR EXISTS (SELECT 1 FROM faxes WHERE document = d.key)
          OR EXISTS (SELECT 1 FROM received_pages WHERE document = d.key))"
    };
}

/// Documents that are named, and by nobody who still needs their bytes; `$1` is the time, `$2` the limit.
macro_rules! spent_documents {
    () => {
        concat!(
            "SELECT d.key FROM documents d WHERE d.pruned_at IS NULL AND d.stored_at < $1 AND ",
            named!(),
            "
              AND NOT EXISTS (SELECT 1 FROM messages m
                               WHERE m.raw_document = d.key AND ",
            message_stays!("m.id", "$1"),
            ")
              AND NOT EXISTS (SELECT 1 FROM faxes f
                               WHERE f.document = d.key AND ",
            message_stays!("f.message_id", "$1"),
            ")
              AND NOT EXISTS (SELECT 1 FROM received_pages p JOIN received_faxes r ON r.id = p.received_fax_id
                               WHERE p.document = d.key AND ",
            received_stays!("$1"),
            ")
              LIMIT $2"
        )
    };
}

macro_rules! old_messages {
    () => {
        concat!(
            "SELECT m.id FROM messages m WHERE m.accepted_at < $1 AND NOT ",
            message_stays!("m.id", "$1"),
            " LIMIT $2"
        )
    };
}

macro_rules! old_received {
    () => {
        concat!(
            "SELECT r.id FROM received_faxes r
              WHERE r.state = 'delivered' AND r.started_at < $1 AND NOT ",
            received_stays!("$1"),
            " LIMIT $2"
        )
    };
}

statements! {
    PRUNE_DOCUMENTS = concat!("-- documents.prune
        UPDATE documents SET pruned_at = $3, inline = NULL, sealed_key = NULL, sealed_by = NULL WHERE key IN (", spent_documents!(), ") RETURNING key, location");
    OLD_MESSAGES = concat!("-- messages.old\n", old_messages!());
    OLD_RECEIVED = concat!("-- received_faxes.old\n", old_received!());
    COUNT_DOCUMENTS = concat!("-- documents.prunable\nSELECT count(*) AS n FROM (", spent_documents!(), ") AS spent");
    COUNT_MESSAGES = concat!("-- messages.prunable\nSELECT count(*) AS n FROM (", old_messages!(), ") AS old");
    COUNT_RECEIVED = concat!("-- received_faxes.prunable\nSELECT count(*) AS n FROM (", old_received!(), ") AS old");
    COUNT_HELD = "-- faxes.legal_holds
        SELECT (SELECT count(*) FROM faxes WHERE legal_hold = TRUE AND ended_at < $1)
             + (SELECT count(*) FROM received_faxes
                 WHERE legal_hold = TRUE AND coalesce(delivered_at, received_at) < $1) AS n";
    FORGET_EVENTS = "-- events.forget
        DELETE FROM events WHERE message_id IN {ids $1}
            OR fax_id IN (SELECT f.id FROM faxes f WHERE f.message_id IN {ids $1})";
    FORGET_NOTICES = "-- notices.forget
        DELETE FROM notices WHERE message_id IN {ids $1}
            OR fax_id IN (SELECT f.id FROM faxes f WHERE f.message_id IN {ids $1})";
    FORGET_PAGES = "-- fax_pages.forget
        DELETE FROM fax_pages
         WHERE fax_id IN (SELECT f.id FROM faxes f WHERE f.message_id IN {ids $1})";
    FORGET_ATTEMPTS = "-- attempts.forget
        DELETE FROM attempts
         WHERE fax_id IN (SELECT f.id FROM faxes f WHERE f.message_id IN {ids $1})";
    FORGET_FAXES = "-- faxes.forget
        DELETE FROM faxes WHERE message_id IN {ids $1}";
    FORGET_MESSAGES = "-- messages.forget
        DELETE FROM messages WHERE id IN {ids $1}";
    FORGET_RECEIVED_EVENTS = "-- events.forget_received
        DELETE FROM events WHERE received_fax_id IN {ids $1}";
    FORGET_RECEIVED_NOTICES = "-- notices.forget_received
        DELETE FROM notices WHERE received_fax_id IN {ids $1}";
    FORGET_RECEIVED_PAGES = "-- received_pages.forget
        DELETE FROM received_pages WHERE received_fax_id IN {ids $1}";
    FORGET_RECEIVED = "-- received_faxes.forget
        DELETE FROM received_faxes WHERE id IN {ids $1}";
    DOCUMENTS_OF_MESSAGES = "-- documents.of_messages
        SELECT raw_document AS key FROM messages WHERE id IN {ids $1}
        UNION SELECT f.document FROM faxes f WHERE f.message_id IN {ids $1} AND f.document IS NOT NULL";
    DOCUMENTS_OF_RECEIVED = "-- documents.of_received
        SELECT DISTINCT document AS key FROM received_pages
         WHERE received_fax_id IN {ids $1}";
    // At once, and not with the sweep: marking them takes room, which a full disk does not have.
    PRUNE_UNNAMED = concat!("-- documents.prune_unnamed
        UPDATE documents AS d SET pruned_at = $2, inline = NULL, sealed_key = NULL, sealed_by = NULL
         WHERE key IN {words $1} AND pruned_at IS NULL AND NOT ", named!(), " RETURNING key, location");
    // What belongs to no fax: words of nodes, facts that were dealt with, what was learned about numbers.
    FORGET_OTHER_EVENTS = "-- events.forget_other
        DELETE FROM events WHERE seq IN
            (SELECT seq FROM events
              WHERE at < $1 AND fax_id IS NULL AND message_id IS NULL AND received_fax_id IS NULL LIMIT $2)";
    FORGET_FACTS = "-- parked_facts.forget
        DELETE FROM parked_facts WHERE id IN (SELECT id FROM parked_facts WHERE applied_at < $1 LIMIT $2)";
    FORGET_DESTINATIONS = "-- destinations.forget
        DELETE FROM destinations WHERE number IN
            (SELECT number FROM destinations WHERE avoid_t38_until < $1 AND updated_at < $1 LIMIT $2)";
    ROWS = concat!("-- documents.rows
        SELECT key, size_bytes, inline, location, sealed_key, sealed_by, pruned_at, ", named!(), " AS named
        FROM documents d WHERE key > $1 ORDER BY key LIMIT $2");
    LOOK = concat!("-- documents.look
        SELECT key, size_bytes, pruned_at, gc_after, ", named!(), " AS named
        FROM documents d WHERE key > $1 ORDER BY key LIMIT $2");
    MARK = "-- documents.mark
        UPDATE documents SET gc_after = $2 WHERE key IN {words $1}";
    SWEEP = concat!("-- documents.sweep
        DELETE FROM documents WHERE key IN
            (SELECT d.key FROM documents d WHERE d.gc_after <= $1 AND NOT ", named!(), " LIMIT $2)
        RETURNING key, location");
    NEEDED = "-- documents.needed
        SELECT key FROM documents
         WHERE key IN {words $1} AND pruned_at IS NULL AND inline IS NULL AND location IS NULL";
    NEEDED_DRAWN = "-- documents.needed_drawn
        SELECT location FROM documents WHERE location IN {words $1} AND pruned_at IS NULL";
    HOLD_FAX = "-- faxes.legal_hold\nUPDATE faxes SET legal_hold = $2 WHERE id = $1 AND legal_hold <> $2";
    HOLD_RECEIVED = "-- received_faxes.legal_hold
        UPDATE received_faxes SET legal_hold = $2 WHERE id = $1 AND legal_hold <> $2";
    FAX_THERE = "-- faxes.there\nSELECT count(*) AS n FROM faxes WHERE id = $1";
    RECEIVED_THERE = "-- received_faxes.there\nSELECT count(*) AS n FROM received_faxes WHERE id = $1";
    OLDEST = "-- messages.oldest\nSELECT min(accepted_at) AS at FROM messages";
}

pub(super) async fn prune(tx: &mut Tx, rules: PruneRules) -> Result<Pruned> {
    let limit = rules.limit.max(1);
    // Records first: what is forgotten altogether needs no mark, its documents are swept.
    let messages = ids(&mut tx.conn, &OLD_MESSAGES, rules.records_before, limit).await?;
    let mut left = documents_of(tx, &DOCUMENTS_OF_MESSAGES, &messages).await?;
    for statement in [&FORGET_EVENTS, &FORGET_NOTICES, &FORGET_PAGES, &FORGET_ATTEMPTS, &FORGET_FAXES, &FORGET_MESSAGES]
    {
        forget(tx, statement, &messages).await?;
    }
    let received = ids(&mut tx.conn, &OLD_RECEIVED, rules.records_before, limit).await?;
    left.extend(documents_of(tx, &DOCUMENTS_OF_RECEIVED, &received).await?);
    for statement in [&FORGET_RECEIVED_EVENTS, &FORGET_RECEIVED_NOTICES, &FORGET_RECEIVED_PAGES, &FORGET_RECEIVED] {
        forget(tx, statement, &received).await?;
    }
    for statement in [&FORGET_OTHER_EVENTS, &FORGET_FACTS, &FORGET_DESTINATIONS] {
        let query = sql(statement).bind(rules.records_before.0).bind(limit);
        query.execute(&mut tx.conn).await.place("prune.others")?;
    }
    let mut gone = prune_unnamed(tx, &left).await?;
    if messages.len().max(received.len()) < limit as usize {
        let query = sql(&PRUNE_DOCUMENTS).bind(rules.images_before.0).bind(limit).bind(tx.now().await?.0);
        let rows = query.fetch_all(&mut tx.conn).await.place("documents.prune")?;
        for row in &rows {
            gone.push(rows::object(row)?);
        }
    }
    let held = count(&mut tx.conn, &COUNT_HELD, rules.images_before, None).await?;
    Ok(Pruned {
        documents: gone.len() as u64,
        messages: messages.len() as u64,
        received: received.len() as u64,
        held,
        gone,
    })
}

/// What [`prune`] would remove, at most the limit of each.
pub(super) async fn prunable(c: &mut Conn, rules: PruneRules) -> Result<Pruned> {
    let limit = Some(rules.limit.max(1));
    Ok(Pruned {
        documents: count(c, &COUNT_DOCUMENTS, rules.images_before, limit).await?,
        messages: count(c, &COUNT_MESSAGES, rules.records_before, limit).await?,
        received: count(c, &COUNT_RECEIVED, rules.records_before, limit).await?,
        held: count(c, &COUNT_HELD, rules.images_before, None).await?,
        gone: Vec::new(),
    })
}

async fn count(c: &mut Conn, statement: &'static Statement, before: Timestamp, limit: Option<u32>) -> Result<u64> {
    let query = sql(statement).bind(before.0);
    let query = if let Some(limit) = limit { query.bind(limit) } else { query };
    query.fetch_one(c).await.place("prune.count")?.int("n")
}

async fn ids(c: &mut Conn, statement: &'static Statement, before: Timestamp, limit: u32) -> Result<Vec<String>> {
    let rows = sql(statement).bind(before.0).bind(limit).fetch_all(c).await.place("prune.old")?;
    rows.iter().map(|row| row.col("id")).collect()
}

async fn forget(tx: &mut Tx, statement: &'static Statement, ids: &[String]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    sql(statement).bind(list(ids)).execute(&mut tx.conn).await.place("prune.forget")?;
    Ok(())
}

async fn documents_of(tx: &mut Tx, statement: &'static Statement, ids: &[String]) -> Result<Vec<String>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sql(statement).bind(list(ids)).fetch_all(&mut tx.conn).await.place("documents.of")?;
    rows.iter().map(|row| row.col("key")).collect()
}

async fn prune_unnamed(tx: &mut Tx, keys: &[String]) -> Result<Vec<ObjectName>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let query = sql(&PRUNE_UNNAMED).bind(list(keys)).bind(tx.now().await?.0);
    let rows = query.fetch_all(&mut tx.conn).await.place("documents.prune_unnamed")?;
    rows.iter().map(rows::object).collect()
}

fn list(texts: &[String]) -> String {
    serde_json::to_string(texts).expect("a list of texts is always JSON")
}

/// Keys as the statements compare them; nothing sorts before the empty text.
fn from(after: Option<DocumentKey>) -> String {
    after.map(|key| key.to_string()).unwrap_or_default()
}

pub(in crate::store) async fn document_rows(
    c: &mut Conn,
    after: Option<DocumentKey>,
    limit: u32,
) -> Result<Vec<DocumentRow>> {
    let rows = sql(&ROWS).bind(from(after)).bind(limit).fetch_all(c).await.place("documents.rows")?;
    let document = |row: &Row| -> Result<DocumentRow> {
        Ok(DocumentRow {
            key: row.parsed("key")?,
            size_bytes: row.int("size_bytes")?,
            placement: rows::placement(row)?,
            pruned_at: row.time_opt("pruned_at")?,
            referenced: row.col("named")?,
        })
    };
    rows.iter().map(document).collect()
}

pub(super) async fn mark(tx: &mut Tx, after: Option<DocumentKey>, limit: u32, wait: Duration) -> Result<Marked> {
    let limit = limit.max(1);
    let query = sql(&LOOK).bind(from(after)).bind(limit);
    let rows = query.fetch_all(&mut tx.conn).await.place("documents.look")?;
    let (mut to_mark, mut to_keep) = (Vec::new(), Vec::new());
    let mut marked = Marked::default();
    for row in &rows {
        let (named, waits): (bool, bool) = (row.col("named")?, row.time_opt("gc_after")?.is_some());
        match (named, waits) {
            (false, false) => to_mark.push(row.col::<String>("key")?),
            (true, true) => to_keep.push(row.col::<String>("key")?),
            _ => {}
        }
        if row.time_opt("pruned_at")?.is_none() {
            marked.documents += 1;
            marked.size_bytes += row.int::<u64>("size_bytes")?;
        }
    }
    for (keys, at) in [(&to_mark, Some(tx.now().await?.plus(wait).0)), (&to_keep, None)] {
        if !keys.is_empty() {
            let query = sql(&MARK).bind(list(keys)).bind(at);
            query.execute(&mut tx.conn).await.place("documents.mark")?;
        }
    }
    marked.marked = to_mark.len() as u64;
    if rows.len() as u64 == u64::from(limit) {
        marked.next = rows.last().map(|row| row.parsed("key")).transpose()?;
    }
    Ok(marked)
}

pub(super) async fn sweep(tx: &mut Tx, limit: u32) -> Result<Vec<ObjectName>> {
    let rows = sql(&SWEEP).bind(tx.now().await?.0).bind(limit.max(1)).fetch_all(&mut tx.conn).await;
    rows.place("documents.sweep")?.iter().map(rows::object).collect()
}

/// Those of `names` that some row needs.
pub(in crate::store) async fn needed(c: &mut Conn, names: &[ObjectName]) -> Result<Vec<ObjectName>> {
    let (drawn, by_content): (Vec<_>, Vec<_>) = names.iter().partition(|name| matches!(name, ObjectName::Drawn(_)));
    let texts = |names: Vec<&ObjectName>| names.into_iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut needed = Vec::new();
    if !by_content.is_empty() {
        let rows = sql(&NEEDED).bind(list(&texts(by_content))).fetch_all(&mut *c).await.place("documents.needed")?;
        for row in &rows {
            needed.push(ObjectName::Content(row.parsed("key")?));
        }
    }
    if !drawn.is_empty() {
        let rows = sql(&NEEDED_DRAWN).bind(list(&texts(drawn))).fetch_all(c).await.place("documents.needed_drawn")?;
        for row in &rows {
            needed.push(ObjectName::Drawn(row.parsed("location")?));
        }
    }
    Ok(needed)
}

pub(super) async fn legal_hold(tx: &mut Tx, of: EventsOf, held: bool, by: &str) -> Result<()> {
    let (hold, there, id, kind, short) = match of {
        EventsOf::Fax(id) => (&HOLD_FAX, &FAX_THERE, id.to_string(), "fax", id.short()),
        EventsOf::Received(id) => (&HOLD_RECEIVED, &RECEIVED_THERE, id.to_string(), "received fax", id.short()),
        EventsOf::Message(_) | EventsOf::All => {
            return Err(StoreError::Refused("a legal hold is of one fax".to_owned()));
        }
    };
    let done = sql(hold).bind(&id).bind(held).execute(&mut tx.conn).await.place("faxes.legal_hold")?;
    if done.rows_affected() == 0 {
        let row = sql(there).bind(&id).fetch_one(&mut tx.conn).await.place("faxes.there")?;
        let known: u64 = row.int("n")?;
        // It is so already: nothing has happened that an event could tell.
        return if known == 1 { Ok(()) } else { Err(StoreError::NotFound { kind, id: short.to_string() }) };
    }
    let text = format!("legal hold {} by {by}", if held { "set" } else { "ended" });
    match of {
        EventsOf::Received(fax) => received::event(tx, fax, None, "legal-hold", &text).await,
        _ => intake::event(tx, &id, None, "legal-hold", &text).await,
    }
}

/// When the oldest message that is kept was accepted.
pub(super) async fn oldest(c: &mut Conn) -> Result<Option<Timestamp>> {
    sql(&OLDEST).fetch_one(c).await.place("messages.oldest")?.time_opt("at")
}
