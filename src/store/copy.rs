//! A whole store from one engine to the other: every row as it is, then compared.
//!
//! In: a connection that reads a snapshot, and one inside a transaction on an empty store. The rows come over table by table in
//! the order in which they name one another; the triggers that watch moves are off meanwhile, since these rows have made
//! their moves, and every CHECK, unique index and foreign key holds all the same. Then both sides are read again and each
//! table's rows and fingerprints must be the same; only after that the caller commits. Failure: an error, and nothing was
//! copied.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use sqlx::Connection as _;

use super::sql::{Conn, Place, Row, Statement, Value, sql};
use super::{Result, SqliteSettings, StoreError, sqlite};
use crate::domain::Timestamp;

/// Tables and what their rows are ordered by, parents first.
pub(in crate::store) const TABLES: &[(&str, &[&str])] = &[
    ("documents", &["key"]),
    ("messages", &["id"]),
    ("faxes", &["id"]),
    ("attempts", &["id"]),
    ("fax_pages", &["fax_id", "page_no"]),
    ("parked_facts", &["id"]),
    ("destinations", &["number"]),
    ("inbound_routes", &["name"]),
    ("received_faxes", &["id"]),
    ("received_pages", &["received_fax_id", "page_no"]),
    ("notices", &["id"]),
    ("events", &["seq"]),
    ("secrets", &["name"]),
    ("accounts", &["name"]),
    ("signatures", &["signature", "number"]),
];

/// Tables that say how a cluster does now; a new one says it anew.
#[cfg(test)]
pub(in crate::store) const NOT_COPIED: &[&str] = &[
    "probe",
    "duties",
    "login_failures",
    "submitters",
    "nodes",
    "lines",
    "trunks",
    "incoming_calls",
    "fax_moves",
    "notice_moves",
    "received_fax_moves",
    "schema_history",
];

/// Rows read and written at once: with 16 KiB inline at most, 4 MiB.
const ROWS_AT_ONCE: usize = 256;

/// What came over of a table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Copied {
    /// Its name.
    pub table: &'static str,
    /// Its rows.
    pub rows: u64,
    /// SHA-256 of all of them, hex.
    pub fingerprint: String,
}

/// Copies every table and compares both sides. `Refused` when `to` is not empty or what came over is not the same.
pub(in crate::store) async fn copy(from: &mut Conn, to: &mut Conn) -> Result<Vec<Copied>> {
    let tables = tables(from, to).await?;
    for table in &tables {
        if !table.page(to, None).await?.is_empty() {
            let cause = format!("its table {} holds rows already", table.name);
            return Err(StoreError::Refused(format!("nothing was copied: {cause}; fix: name an empty database")));
        }
    }
    let watched = stop_watching(to, &tables).await?;
    for table in &tables {
        let mut last = None;
        loop {
            let rows = table.page(from, last.as_ref()).await?;
            table.insert(to, &rows).await?;
            let Some(row) = rows.into_iter().next_back() else { break };
            last = Some(row);
        }
    }
    watch_again(to, watched).await?;
    let mut copied = Vec::with_capacity(tables.len());
    for table in &tables {
        let (ours, theirs) = (table.fingerprint(from).await?, table.fingerprint(to).await?);
        if ours != theirs {
            let (name, here, there) = (table.name, ours.rows, theirs.rows);
            return Err(StoreError::Refused(format!(
                "nothing was copied: the table {name} came over as {there} rows of {here}, or with other values"
            )));
        }
        copied.push(ours);
    }
    Ok(copied)
}

/// Copies a file that nobody writes to.
pub(in crate::store) async fn from_file(file: &Path, to: &mut Conn) -> Result<Vec<Copied>> {
    let mut from = sqlite::verify::open_file(file).await?;
    sqlite::verify::begin(&mut from).await?;
    copy(&mut from, to).await
}

/// Copies into a new SQLite file, synced with its directory, whose schema is made now.
pub(in crate::store) async fn into_file(from: &mut Conn, file: PathBuf, now: Timestamp) -> Result<()> {
    sqlite::open::make_private(&file)?;
    let path = file.clone();
    let made = tokio::task::spawn_blocking(move || {
        let settings = SqliteSettings::default();
        let options = sqlite::open::options(&path, &settings);
        let opening = sqlite::open::first_connection(&path, &options, settings.statement_timeout, now);
        tokio::runtime::Handle::current().block_on(opening)
    });
    let connection = made.await.map_err(|error| StoreError::Unavailable(error.to_string()))??;
    let mut to = Conn::Sqlite(connection);
    sqlite::verify::begin(&mut to).await?;
    copy(from, &mut to).await?;
    sqlite::verify::commit(&mut to).await?;
    if let Conn::Sqlite(connection) = to {
        connection.close().await.place("copy.close")?;
    }
    sqlite::backup::sync(&file).await
}

/// A table with the statements that copy it. They are made once a copy and live as long as the program.
struct Table {
    name: &'static str,
    columns: Vec<String>,
    order: &'static [&'static str],
    first: &'static Statement,
    next: &'static Statement,
    many: &'static Statement,
    one: &'static Statement,
}

async fn tables(from: &mut Conn, to: &mut Conn) -> Result<Vec<Table>> {
    let mut tables = Vec::with_capacity(TABLES.len());
    for (name, order) in TABLES {
        let (columns, there) = (columns(from, name).await?, columns(to, name).await?);
        if columns != there {
            return Err(StoreError::Unusable(format!(
                "the table {name} has other columns there: {columns:?}, {there:?}; fix: bring both to this version with \
                 faxwell db migrate"
            )));
        }
        tables.push(Table::new(name, columns, order));
    }
    Ok(tables)
}

impl Table {
    fn new(name: &'static str, columns: Vec<String>, order: &'static [&'static str]) -> Self {
        let (list, by) = (columns.join(", "), order.join(", "));
        let after: Vec<String> = (1..=order.len()).map(|at| format!("${at}")).collect();
        let read = |name: &str, filter: &str| {
            format!("-- copy.{name}\nSELECT {list} FROM {name} {filter} ORDER BY {by} LIMIT {ROWS_AT_ONCE}")
        };
        let write = |rows: usize| {
            let values = |row: usize| {
                let values: Vec<String> =
                    (1..=columns.len()).map(|at| format!("${}", row * columns.len() + at)).collect();
                format!("({})", values.join(", "))
            };
            let all: Vec<String> = (0..rows).map(values).collect();
            format!("-- copy.{name}\nINSERT INTO {name} ({list}) VALUES {}", all.join(", "))
        };
        let (first, next) = (read(name, ""), read(name, &format!("WHERE ({by}) > ({})", after.join(", "))));
        let (many, one) = (write(ROWS_AT_ONCE), write(1));
        Self { name, first: made(first), next: made(next), many: made(many), one: made(one), columns, order }
    }

    /// The rows after this one, in order.
    async fn page(&self, conn: &mut Conn, after: Option<&Row>) -> Result<Vec<Row>> {
        let query = match after {
            None => sql(self.first),
            Some(row) => {
                let place =
                    |column: &&str| self.columns.iter().position(|of| of == column).map(|at| row.values[at].clone());
                self.order.iter().filter_map(place).fold(sql(self.next), |query, value| query.bind(value))
            }
        };
        query.fetch_all(conn).await.place(self.name)
    }

    async fn insert(&self, conn: &mut Conn, rows: &[Row]) -> Result<()> {
        let whole = rows.len() / ROWS_AT_ONCE * ROWS_AT_ONCE;
        let (many, rest) = rows.split_at(whole);
        let pieces =
            many.chunks(ROWS_AT_ONCE).map(|rows| (self.many, rows)).chain(rest.chunks(1).map(|rows| (self.one, rows)));
        for (statement, rows) in pieces {
            let values = rows.iter().flat_map(|row| row.values.iter().cloned());
            values.fold(sql(statement), |query, value| query.bind(value)).execute(conn).await.place(self.name)?;
        }
        Ok(())
    }

    async fn fingerprint(&self, conn: &mut Conn) -> Result<Copied> {
        let (mut hash, mut count, mut last) = (Sha256::new(), 0, None);
        loop {
            let rows = self.page(conn, last.as_ref()).await?;
            count += rows.len() as u64;
            for row in &rows {
                row.values.iter().for_each(|value| hash_value(&mut hash, value));
            }
            let Some(row) = rows.into_iter().next_back() else { break };
            last = Some(row);
        }
        let fingerprint = data_encoding::HEXLOWER.encode(&hash.finalize());
        Ok(Copied { table: self.name, rows: count, fingerprint })
    }
}

/// The same for both engines: SQLite has 0 and 1 for booleans, and PostgreSQL orders the members of JSON.
fn hash_value(hash: &mut Sha256, value: &Value<'_>) {
    let (kind, bytes) = match value {
        Value::Null => (0, Vec::new()),
        Value::Int(value) => (1, value.to_be_bytes().to_vec()),
        Value::Bool(value) => (1, i64::from(*value).to_be_bytes().to_vec()),
        Value::Text(text) => (2, in_order(text)),
        Value::Bytes(bytes) => (3, bytes.to_vec()),
    };
    hash.update([kind]);
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

fn in_order(text: &str) -> Vec<u8> {
    if text.starts_with(['{', '['])
        && let Ok(json) = serde_json::from_str::<serde_json::Value>(text)
    {
        return json.to_string().into_bytes();
    }
    text.as_bytes().to_vec()
}

fn made(text: String) -> &'static Statement {
    Box::leak(Box::new(Statement::new(Box::leak(text.into_boxed_str()))))
}

async fn columns(conn: &mut Conn, table: &str) -> Result<Vec<String>> {
    let statement = match conn {
        Conn::Postgres(_) => {
            "-- copy.columns
             SELECT column_name AS name FROM information_schema.columns
              WHERE table_schema = current_schema() AND table_name = $1 ORDER BY column_name"
        }
        _ => "-- copy.columns\nSELECT name FROM pragma_table_info($1) ORDER BY name",
    };
    let rows = sql(made(statement.to_owned())).bind(table).fetch_all(conn).await.place("copy.columns")?;
    rows.iter().map(|row| row.col("name")).collect()
}

/// Takes the triggers away; answers how they come back.
async fn stop_watching(conn: &mut Conn, tables: &[Table]) -> Result<Vec<String>> {
    let mut back = Vec::new();
    if matches!(conn, Conn::Postgres(_)) {
        for table in tables {
            run(conn, format!("-- copy.unwatch\nALTER TABLE {} DISABLE TRIGGER USER", table.name)).await?;
            back.push(format!("-- copy.watch\nALTER TABLE {} ENABLE TRIGGER USER", table.name));
        }
        // The events that come next follow those that were copied.
        back.push(
            "-- copy.next_event
             SELECT setval(pg_get_serial_sequence('events', 'seq'), (SELECT coalesce(max(seq), 0) + 1 FROM events), false)"
                .to_owned(),
        );
        return Ok(back);
    }
    let triggers = "-- copy.triggers\nSELECT name, sql FROM sqlite_schema WHERE type = 'trigger'";
    for row in sql(made(triggers.to_owned())).fetch_all(conn).await.place("copy.triggers")? {
        run(conn, format!("-- copy.unwatch\nDROP TRIGGER {}", row.col::<&str>("name")?)).await?;
        back.push(format!("-- copy.watch\n{}", row.col::<&str>("sql")?));
    }
    Ok(back)
}

async fn watch_again(conn: &mut Conn, back: Vec<String>) -> Result<()> {
    for text in back {
        run(conn, text).await?;
    }
    Ok(())
}

async fn run(conn: &mut Conn, text: String) -> Result<()> {
    sql(made(text)).execute(conn).await.place("copy.triggers").map(|_| ())
}
