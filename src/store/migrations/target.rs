//! The store that is migrated, on either engine.

use sqlx::{AssertSqlSafe, SqliteConnection};
use tokio_postgres::error::SqlState;

use super::{Applied, Migration};
use crate::domain::Timestamp;
use crate::store::{StoreError, sqlite};

/// The table of what was applied.
pub(super) const HISTORY: &str = "schema_history";

const MAKE_HISTORY: &str = "-- schema_history.make
    CREATE TABLE IF NOT EXISTS schema_history (
        version    bigint NOT NULL PRIMARY KEY,
        name       text   NOT NULL,
        checksum   text   NOT NULL,
        kind       text   NOT NULL CHECK (kind IN ('expand', 'contract')),
        oldest     bigint NOT NULL CHECK (oldest >= 1 AND oldest <= version),
        applied_at bigint NOT NULL,
        applied_by text   NOT NULL
    )";
const READ_HISTORY: &str = "-- schema_history.read
    SELECT version, checksum, oldest FROM schema_history ORDER BY version";
const RECORD: &str = "-- schema_history.record
    INSERT INTO schema_history (version, name, checksum, kind, oldest, applied_at, applied_by)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";
const SQLITE_TABLES: &str = "-- schema_history.tables_sqlite
    SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name LIMIT 1000";
const POSTGRES_TABLES: &str = "-- schema_history.tables_postgres
    SELECT relname::text FROM pg_catalog.pg_class
     WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') ORDER BY relname LIMIT 1000";
const OLDER_NODES: &str = "-- nodes.older
    SELECT name || ' (' || version || ')' FROM nodes WHERE schema < $1 AND seen_at >= $2 ORDER BY name LIMIT 20";
const POSTGRES_NOW: &str = "-- schema_history.now
    SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
// One migrates at a time; the number is this lock's name. A migration may take its time, but it never waits long for a
// table: whoever comes after a waiting ALTER TABLE waits behind it, and all traffic would stand.
const POSTGRES_BEGIN: &str = "-- schema_history.begin
    BEGIN;
    SET LOCAL statement_timeout = 0;
    SET LOCAL lock_timeout = '30s';
    SELECT pg_advisory_xact_lock(7308332045);
    SET LOCAL lock_timeout = '5s'";

/// A connection of its own, outside a transaction.
pub(in crate::store) enum Target<'c> {
    /// A file; this process holds its lock, and `now` is its clock.
    Sqlite {
        /// The writing connection, or a reading one for a look.
        connection: &'c mut SqliteConnection,
        /// The time that the history notes.
        now: Timestamp,
    },
    /// A server that takes writes; the tables are in the first schema of the search path.
    Postgres(&'c tokio_postgres::Client),
}

/// An error of either driver.
pub(super) enum Error {
    Sqlite(sqlx::Error),
    Postgres(tokio_postgres::Error),
}

type Answer<T> = Result<T, Error>;

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

impl Target<'_> {
    /// Names of the tables that are there.
    pub(super) async fn tables(&mut self) -> Answer<Vec<String>> {
        Ok(match self {
            Self::Sqlite { connection, .. } => sqlx::query_scalar(SQLITE_TABLES).fetch_all(&mut **connection).await?,
            Self::Postgres(client) => {
                client.query(POSTGRES_TABLES, &[]).await?.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?
            }
        })
    }

    /// What was applied, in order.
    pub(super) async fn history(&mut self) -> Answer<Vec<Applied>> {
        let rows: Vec<(i64, String, i64)> = match self {
            Self::Sqlite { connection, .. } => sqlx::query_as(READ_HISTORY).fetch_all(&mut **connection).await?,
            Self::Postgres(client) => {
                let rows = client.query(READ_HISTORY, &[]).await?;
                let read = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
                rows.iter().map(read).collect::<Result<_, tokio_postgres::Error>>()?
            }
        };
        Ok(rows.into_iter().map(|(version, checksum, oldest)| Applied { version, checksum, oldest }).collect())
    }

    /// Begins a transaction and waits for whoever else migrates.
    pub(super) async fn begin(&mut self) -> Answer<()> {
        match self {
            Self::Sqlite { .. } => self.run("BEGIN IMMEDIATE").await,
            Self::Postgres(_) => self.run(POSTGRES_BEGIN).await,
        }
    }

    pub(super) async fn commit(&mut self) -> Answer<()> {
        self.run("COMMIT").await
    }

    pub(super) async fn rollback(&mut self) -> Answer<()> {
        self.run("ROLLBACK").await
    }

    /// Runs a migration and notes it.
    pub(super) async fn apply(&mut self, migration: &Migration) -> Answer<()> {
        let now = self.now().await?.0;
        let host = rustix::system::uname();
        let by = format!("faxwell {} on {}", env!("CARGO_PKG_VERSION"), host.nodename().to_string_lossy());
        self.run(MAKE_HISTORY).await?;
        self.run(migration.text).await?;
        let Migration { version, name, kind, oldest, checksum, .. } = migration;
        match self {
            Self::Sqlite { connection, .. } => {
                let record = sqlx::query(RECORD).bind(version).bind(*name).bind(checksum).bind(kind.as_str());
                record.bind(oldest).bind(now).bind(by).execute(&mut **connection).await?;
            }
            Self::Postgres(client) => {
                client.execute(RECORD, &[version, name, checksum, &kind.as_str(), oldest, &now, &by]).await?;
            }
        }
        Ok(())
    }

    /// Nodes seen since then whose program knows no schema as new as `oldest`. Only PostgreSQL has other nodes.
    pub(super) async fn older_nodes(&mut self, oldest: i64, since: Timestamp) -> Answer<Vec<String>> {
        match self {
            Self::Sqlite { .. } => Ok(Vec::new()),
            Self::Postgres(client) => {
                let rows = client.query(OLDER_NODES, &[&oldest, &since.0]).await?;
                Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
            }
        }
    }

    /// The store's clock.
    pub(super) async fn now(&mut self) -> Answer<Timestamp> {
        match self {
            Self::Sqlite { now, .. } => Ok(*now),
            Self::Postgres(client) => Ok(Timestamp(client.query_one(POSTGRES_NOW, &[]).await?.try_get(0)?)),
        }
    }

    async fn run(&mut self, script: &str) -> Answer<()> {
        match self {
            Self::Sqlite { connection, .. } => {
                sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut **connection).await?;
            }
            Self::Postgres(client) => client.batch_execute(script).await?,
        }
        Ok(())
    }
}

impl Error {
    /// It came up while the schema was read.
    pub(super) fn reading(&self, place: &str) -> StoreError {
        self.meaning(&format!("the schema of the store {place} cannot be read"), "give it a database of its own")
    }

    /// It came up on the way into or out of a transaction.
    pub(super) fn before(&self, place: &str) -> StoreError {
        if self.is_lock() {
            return StoreError::Unavailable(format!(
                "another process has been migrating the store {place} for 30 s; fix: wait for it, then try again"
            ));
        }
        self.meaning(&format!("the schema of the store {place} cannot be brought up to date"), "try again")
    }

    /// It came up in a migration.
    pub(super) fn applying(&self, place: &str, migration: &Migration) -> StoreError {
        let name = migration.name;
        if self.is_lock() {
            return StoreError::Unavailable(format!(
                "migration {name} of the store {place} waited 5 s for a table that a long transaction holds, and nothing \
                 has changed; fix: end that transaction (pg_stat_activity shows it), then run faxwell db migrate again"
            ));
        }
        let what = format!("the schema of the store {place} cannot be brought up to date by migration {name}");
        self.meaning(&what, "nothing has changed; report this with what stands here")
    }

    fn is_lock(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE))
    }

    /// What the statement itself caused makes the store unusable; the rest is the world's.
    fn meaning(&self, what: &str, fix: &str) -> StoreError {
        match self {
            Self::Sqlite(error) => match sqlite::error::meaning("migrations", error) {
                StoreError::Refused(why) => StoreError::Unusable(format!("{what}: {why}; fix: {fix}")),
                other => other,
            },
            Self::Postgres(error) => match error.as_db_error() {
                // Classes of what a statement says wrongly, may not do, or finds wrong in the rows.
                Some(told)
                    if ["22", "23", "2B", "42", "0A"].iter().any(|class| told.code().code().starts_with(class)) =>
                {
                    StoreError::Unusable(format!("{what}: {}; fix: {fix}", told.message()))
                }
                Some(told) => StoreError::Unavailable(format!("{what}: {}", told.message())),
                None => StoreError::Unavailable(format!("{what}: {error}")),
            },
        }
    }
}
