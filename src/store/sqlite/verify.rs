//! A look at a store file without being its owner: read-only, beside a running gateway or on a stopped one.
//!
//! What comes out is what is wrong: SQLite's own checks of pages, indexes and CHECKs, foreign keys, and the rules that no
//! CHECK can hold because they concern several rows. Nothing is changed, and no lock of the gateway's is taken.

use std::path::Path;

use super::{SqliteSettings, open};
use crate::domain::Timestamp;
use crate::store::migrations::Allowed;
use crate::store::sql::verify::NAMED_MAX;
use crate::store::sql::{Conn, Place, sql, statements, verify};
use crate::store::{Broken, Result, StoreError};

statements! {
    BEGIN = "-- verify.begin\nBEGIN";
    COMMIT = "-- verify.commit\nCOMMIT";
    INTEGRITY = "-- verify.integrity\nPRAGMA integrity_check(100)";
    FOREIGN_KEYS = "-- verify.foreign_keys\nPRAGMA foreign_key_check";
}

/// Opens the file for reading only. `Unusable` when it is no store, or one of a schema that this program does not know.
pub(in crate::store) async fn open_file(path: &Path) -> Result<Conn> {
    if !path.is_file() {
        let name = path.display();
        return Err(StoreError::Unusable(format!("there is no store {name}; fix: name the gateway's data directory")));
    }
    let settings = SqliteSettings::default();
    let options = open::reading_options(path, &settings);
    let mut connection = open::connect(&options, settings.statement_timeout).await?;
    // The time is for what is applied, and a look applies nothing.
    let schema = open::schema(path, &mut connection, Timestamp(0), Allowed::Nothing).await?;
    schema.complete(&path.display().to_string())?;
    Ok(Conn::Sqlite(connection))
}

/// What the engine itself finds wrong with its file, and the rules that concern several rows. Reads the whole file.
pub(in crate::store) async fn broken(conn: &mut Conn) -> Result<Vec<Broken>> {
    let mut found = Vec::new();
    for row in sql(&INTEGRITY).fetch_all(conn).await.place("verify.integrity")? {
        let what: String = row.col("integrity_check")?;
        if what != "ok" {
            found.push(Broken { rule: "integrity", what, cause: "the database file is damaged" });
        }
    }
    let rows = sql(&FOREIGN_KEYS).fetch_all(conn).await.place("verify.foreign_keys")?;
    for row in rows.iter().take(NAMED_MAX as usize) {
        let what = format!("{} {}", row.col::<&str>("table")?, row.col::<Option<i64>>("rowid")?.unwrap_or_default());
        found.push(Broken { rule: "foreign-key", what, cause: "the row names another one that does not exist" });
    }
    // One snapshot: between two statements a running gateway goes on.
    begin(conn).await?;
    found.extend(verify::broken(conn).await?);
    commit(conn).await?;
    Ok(found)
}

/// From here on the connection sees one state of the file.
pub(in crate::store) async fn begin(conn: &mut Conn) -> Result<()> {
    sql(&BEGIN).execute(conn).await.place("verify.begin").map(|_| ())
}

/// Ends what [`begin`] began.
pub(in crate::store) async fn commit(conn: &mut Conn) -> Result<()> {
    sql(&COMMIT).execute(conn).await.place("verify.commit").map(|_| ())
}
