//! A look at a store file without being its owner: read-only, beside a running gateway or on a stopped one.
//!
//! What comes out is what is wrong: SQLite's own checks of pages, indexes and CHECKs, foreign keys, and the rules that no
//! CHECK can hold because they concern several rows. Nothing is changed, and no lock of the gateway's is taken.

use std::path::Path;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use super::error::Place;
use super::open;
use super::rows::Columns;
use super::{SqliteSettings, reading, retention, statements};
use crate::store::{Broken, DocumentKey, DocumentRow, Result, StoreError, StoredDocument};

/// Rows of one broken rule that are named; where there are more, a hundred tell as much.
const NAMED_MAX: u32 = 100;

statements! {
    INTEGRITY = "-- verify.integrity\nPRAGMA integrity_check(100)";
    FOREIGN_KEYS = "-- verify.foreign_keys\nPRAGMA foreign_key_check";
    VERSION = "-- verify.version\nSELECT max(version) AS version FROM _sqlx_migrations";
    FINAL_NOTICE = "-- verify.final_notice
        SELECT short_id AS what FROM faxes f WHERE f.ended_at IS NOT NULL
           AND (SELECT count(*) FROM notices n WHERE n.fax_id = f.id AND n.kind = f.state) <> 1";
    EARLY_NOTICE = "-- verify.early_notice
        SELECT f.short_id AS what FROM notices n JOIN faxes f ON f.id = n.fax_id
         WHERE n.kind IN ('sent', 'partial', 'failed', 'unknown', 'cancelled') AND n.kind <> f.state";
    OPEN_ATTEMPT = "-- verify.open_attempt
        SELECT f.short_id AS what FROM attempts a JOIN faxes f ON f.id = a.fax_id
         WHERE a.ended_at IS NULL AND f.state <> 'ready'";
    CONFIRMED_PAGES = "-- verify.confirmed_pages
        SELECT f.short_id AS what FROM faxes f
         WHERE (SELECT count(*) FROM fax_pages p
                 WHERE p.fax_id = f.id AND p.page_no BETWEEN f.begin_page AND f.pages_confirmed)
               <> f.pages_confirmed - f.begin_page + 1
            OR EXISTS (SELECT 1 FROM fax_pages p WHERE p.fax_id = f.id AND p.page_no = f.pages_confirmed + 1)";
    // A confirmation may come in after the end: it is kept as a fact, and the end stays. So `sent` alone is strict.
    TRUE_END = "-- verify.true_end
        SELECT short_id AS what FROM faxes
         WHERE (state = 'sent' AND pages_confirmed IS NOT page_count) OR (state = 'partial' AND pages_confirmed = 0)";
    RECEIVED_PAGES = "-- verify.received_pages
        SELECT short_id AS what FROM received_faxes r WHERE r.state <> 'receiving'
           AND r.page_count IS NOT (SELECT count(*) FROM received_pages p WHERE p.received_fax_id = r.id)";
    RECEIVED_NOTICE = "-- verify.received_notice
        SELECT short_id AS what FROM received_faxes r WHERE r.state <> 'receiving'
           AND NOT EXISTS (SELECT 1 FROM notices n WHERE n.received_fax_id = r.id AND n.kind = 'received')";
    PRUNED_TOO_EARLY = "-- verify.pruned_too_early
        SELECT f.short_id AS what FROM faxes f WHERE f.ended_at IS NULL
           AND EXISTS (SELECT 1 FROM documents d WHERE d.pruned_at IS NOT NULL
                          AND d.key IN (f.document, (SELECT raw_document FROM messages m WHERE m.id = f.message_id)))";
}

/// Rules that concern several rows: the name, the statement that finds who breaks it, and what that means.
const RULES: &[(&str, &str, &str)] = &[
    ("final-notice", FINAL_NOTICE, "the fax has ended and does not have exactly one final report"),
    ("early-notice", EARLY_NOTICE, "the fax has a final report that is not of the state it is in"),
    ("open-attempt", OPEN_ATTEMPT, "the fax is not waiting for its call and has an open one"),
    ("confirmed-pages", CONFIRMED_PAGES, "the count of confirmed pages is not that of the pages on record"),
    ("true-end", TRUE_END, "the fax ended as sent or partial, and its pages say otherwise"),
    ("received-pages", RECEIVED_PAGES, "the received fax does not have all its pages"),
    ("received-notice", RECEIVED_NOTICE, "the received fax has no mail that carries it"),
    ("pruned-too-early", PRUNED_TOO_EARLY, "retention removed the pages of a fax that has not ended"),
];

/// A store file, opened for reading only.
pub struct Inspection {
    connection: SqliteConnection,
}

impl Inspection {
    /// Opens the file. `Unusable` when it is no store, or one of a schema that this program does not know.
    pub async fn open(path: &Path) -> Result<Self> {
        if !path.is_file() {
            let name = path.display();
            return Err(StoreError::Unusable(format!(
                "there is no store {name}; fix: name the gateway's data directory"
            )));
        }
        let settings = SqliteSettings::default();
        let options = open::reading_options(path, &settings);
        let mut connection = open::connect(&options, settings.statement_timeout).await?;
        let row = sqlx::query(VERSION).fetch_one(&mut connection).await.map_err(|error| {
            StoreError::Unusable(format!(
                "{} is no store of faxwell: {error}; fix: name its faxwell.db",
                path.display()
            ))
        })?;
        let (found, known) = (row.int::<i64>("version")?, open::schema_version());
        if found != known {
            return Err(StoreError::Unusable(format!(
                "the store {} has schema version {found}, and this program knows {known}; fix: use its own faxwell",
                path.display()
            )));
        }
        Ok(Self { connection })
    }

    /// Everything that is wrong with the rows themselves. Reads the whole file: minutes for a large one.
    pub async fn broken(&mut self) -> Result<Vec<Broken>> {
        let mut found = Vec::new();
        let rows = sqlx::query(INTEGRITY).fetch_all(&mut self.connection).await.place("verify.integrity")?;
        for row in rows {
            let what: String = row.col("integrity_check")?;
            if what != "ok" {
                found.push(Broken { rule: "integrity", what, cause: "the database file is damaged" });
            }
        }
        let rows = sqlx::query(FOREIGN_KEYS).fetch_all(&mut self.connection).await.place("verify.foreign_keys")?;
        for row in rows.iter().take(NAMED_MAX as usize) {
            let what =
                format!("{} {}", row.col::<&str>("table")?, row.col::<Option<i64>>("rowid")?.unwrap_or_default());
            found.push(Broken { rule: "foreign-key", what, cause: "the row names another one that does not exist" });
        }
        // One snapshot: between two statements a running gateway goes on.
        let mut snapshot = self.connection.begin().await.place("verify.begin")?;
        for (rule, sql, cause) in RULES {
            let limited = format!("{sql} LIMIT {NAMED_MAX}");
            let rows = sqlx::query(AssertSqlSafe(limited)).fetch_all(&mut *snapshot).await.place(rule)?;
            for row in rows {
                found.push(Broken { rule, what: row.col("what")?, cause });
            }
        }
        snapshot.commit().await.place("verify.commit")?;
        Ok(found)
    }

    /// Documents in order of their keys, after this one.
    pub async fn document_rows(&mut self, after: Option<DocumentKey>, limit: u32) -> Result<Vec<DocumentRow>> {
        retention::document_rows(&mut self.connection, after, limit).await
    }

    /// Where a document is now.
    pub async fn document(&mut self, key: &DocumentKey) -> Result<StoredDocument> {
        reading::document(&mut self.connection, *key).await
    }

    /// Those of `keys` whose file some row needs now.
    pub async fn needed(&mut self, keys: &[DocumentKey]) -> Result<Vec<DocumentKey>> {
        retention::needed(&mut self.connection, keys).await
    }

    /// Ends it.
    pub async fn close(self) {
        let _ = tokio::time::timeout(Duration::from_secs(5), self.connection.close()).await;
    }
}
