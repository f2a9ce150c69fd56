//! Filling the queue: rows as `submit` and `rendered` leave them, written in bulk, past the store: a million of them one by one
//! would take longer than what is measured. What is written wrong here shows at once: each life works on such rows.

use std::time::{Duration, Instant};

use faxwell::domain::{FaxId, MessageId};
use serde_json::{Value, json};
use sqlx::Connection;

use crate::Result;
use crate::bed::{Bed, made_at};

/// Rows that one statement carries.
const CHUNK: u64 = 2_000;
/// How long a filled fax may wait; those that are due later wait for a day.
const DAY_MS: i64 = 24 * 3600 * 1000;

/// Brings the number of ready faxes up to `depth`: every second one is due now, the others tomorrow.
pub(crate) async fn up_to(bed: &Bed, depth: u64) -> Result<Duration> {
    let start = Instant::now();
    match bed {
        Bed::Sqlite { .. } => sqlite(bed, depth).await?,
        Bed::Postgres { .. } => postgres(bed, depth).await?,
    }
    Ok(start.elapsed())
}

/// One row of each table: ids, names, a number that no other has, and when it is due.
fn rows(from: u64, to: u64) -> Result<String> {
    let row = |nth: u64| -> Result<Value> {
        let (message, fax) = (MessageId::new(), FaxId::new());
        let now = made_at(message)?.0;
        let due = if nth.is_multiple_of(2) { now - DAY_MS / 24 } else { now + DAY_MS };
        let key = format!("{}{}", message.0.simple(), fax.0.simple());
        let number = format!("+49{:012}", fax.0.as_u128() % 1_000_000_000_000);
        Ok(json!([message, message.short(), fax, fax.short(), key, number, now - DAY_MS / 24, due]))
    };
    Ok(serde_json::to_string(&(from..to).map(row).collect::<Result<Vec<_>>>()?)?)
}

/// Of the pages that all of them send.
const PAGES_KEY: &str = "00000000000000000000000000000000000000000000000000000000000000aa";

/// Through the schema's own triggers: accepted first, ready after that.
async fn sqlite(bed: &Bed, depth: u64) -> Result<()> {
    const PAGES: &str = "INSERT INTO documents (key, size_bytes, media, stored_at)
        VALUES ($1, 98304, 'image/tiff', 0) ON CONFLICT DO NOTHING";
    const DOCUMENTS: &str = "INSERT INTO documents (key, size_bytes, media, stored_at)
        SELECT r.value ->> 4, 60000, 'message/rfc822', r.value ->> 6 FROM json_each($1) r";
    const MESSAGES: &str = "INSERT INTO messages (id, short_id, source, client, reverse_path, subject, automatic,
            options, raw_document, accepted_at)
        SELECT r.value ->> 0, r.value ->> 1, 'smtp', '10.0.5.7 (mail.example.com)', 'anna@example.com', 'Offer 4711', 0,
            $2, r.value ->> 4, r.value ->> 6 FROM json_each($1) r";
    const FAXES: &str =
        "INSERT INTO faxes (id, short_id, message_id, recipient, number, notify_success, notify_failure,
            notify_delay, state, priority, not_before, first_call_at, give_up_at, accepted_at)
        SELECT r.value ->> 2, r.value ->> 3, r.value ->> 0, r.value ->> 5 || '@fax.example.com', r.value ->> 5, 1, 1, 1,
            'accepted', 5, r.value ->> 7, r.value ->> 7, (r.value ->> 7) + 86400000, r.value ->> 6
        FROM json_each($1) r";
    const READY: &str = "UPDATE faxes SET state = 'ready', document = $1, page_count = 3 WHERE state = 'accepted'";
    const EVENTS: &str = "INSERT INTO events (at, fax_id, kind, text)
        SELECT r.value ->> 6, r.value ->> 2, 'accepted', 'accepted from anna@example.com' FROM json_each($1) r";
    let mut file = bed.sqlite("faxwell.db").await?;
    let waiting: i64 =
        sqlx::query_scalar("SELECT count(*) FROM faxes WHERE state = 'ready'").fetch_one(&mut file).await?;
    let mut filled = u64::try_from(waiting)?;
    sqlx::query(PAGES).bind(PAGES_KEY).execute(&mut file).await?;
    let options = options()?;
    while filled < depth {
        let to = depth.min(filled + CHUNK);
        let rows = rows(filled, to)?;
        let mut tx = file.begin().await?;
        sqlx::query(DOCUMENTS).bind(&rows).execute(&mut *tx).await?;
        sqlx::query(MESSAGES).bind(&rows).bind(&options).execute(&mut *tx).await?;
        sqlx::query(FAXES).bind(&rows).execute(&mut *tx).await?;
        sqlx::query(READY).bind(PAGES_KEY).execute(&mut *tx).await?;
        sqlx::query(EVENTS).bind(&rows).execute(&mut *tx).await?;
        tx.commit().await?;
        filled = to;
    }
    file.close().await?;
    Ok(())
}

/// The options of a message, as `submit` writes them.
fn options() -> Result<String> {
    Ok(serde_json::to_string(&faxwell::domain::FaxOptions::default())?)
}

/// Past the triggers, which would cost more than the rows: what is written obeys them.
async fn postgres(bed: &Bed, depth: u64) -> Result<()> {
    const PAGES: &str = "INSERT INTO documents (key, size_bytes, media, stored_at)
        VALUES ($1, 98304, 'image/tiff', 0) ON CONFLICT DO NOTHING";
    const DOCUMENTS: &str = "INSERT INTO documents (key, size_bytes, media, stored_at)
        SELECT r ->> 4, 60000, 'message/rfc822', (r ->> 6)::bigint FROM jsonb_array_elements($1::text::jsonb) r";
    const MESSAGES: &str = "INSERT INTO messages (id, short_id, source, client, reverse_path, subject, automatic,
            options, raw_document, accepted_at)
        SELECT (r ->> 0)::uuid, r ->> 1, 'smtp', '10.0.5.7 (mail.example.com)', 'anna@example.com', 'Offer 4711', false,
            $2::text::jsonb, r ->> 4, (r ->> 6)::bigint FROM jsonb_array_elements($1::text::jsonb) r";
    const FAXES: &str =
        "INSERT INTO faxes (id, short_id, message_id, recipient, number, notify_success, notify_failure,
            notify_delay, state, priority, not_before, first_call_at, give_up_at, accepted_at, document, page_count)
        SELECT (r ->> 2)::uuid, r ->> 3, (r ->> 0)::uuid, (r ->> 5) || '@fax.example.com', r ->> 5, true, true, true,
            'ready', 5, (r ->> 7)::bigint, (r ->> 7)::bigint, (r ->> 7)::bigint + 86400000, (r ->> 6)::bigint, $2, 3
        FROM jsonb_array_elements($1::text::jsonb) r";
    const EVENTS: &str = "INSERT INTO events (at, fax_id, kind, text)
        SELECT (r ->> 6)::bigint, (r ->> 2)::uuid, 'accepted', 'accepted from anna@example.com'
        FROM jsonb_array_elements($1::text::jsonb) r";
    let mut client = bed.postgres().await?;
    let waiting = client.query_one("SELECT count(*) FROM faxes WHERE state = 'ready'", &[]).await?;
    let mut filled = u64::try_from(waiting.try_get::<_, i64>(0)?)?;
    client.batch_execute("SET synchronous_commit = off").await?;
    client.execute(PAGES, &[&PAGES_KEY]).await?;
    client.batch_execute("SET session_replication_role = replica").await?;
    let options = options()?;
    while filled < depth {
        let to = depth.min(filled + CHUNK);
        let rows = rows(filled, to)?;
        let tx = client.transaction().await?;
        tx.execute(DOCUMENTS, &[&rows]).await?;
        tx.execute(MESSAGES, &[&rows, &options]).await?;
        tx.execute(FAXES, &[&rows, &PAGES_KEY]).await?;
        tx.execute(EVENTS, &[&rows]).await?;
        tx.commit().await?;
        filled = to;
    }
    // As autovacuum leaves a queue that grew over hours; and the next slices do not pay for the fill's dirty pages.
    client.batch_execute("VACUUM (ANALYZE)").await?;
    client.batch_execute("CHECKPOINT").await?;
    Ok(())
}
