//! The database under the store: where it is, how it is opened, how large it is.

use std::path::PathBuf;
use std::sync::Arc;

use faxwell::domain::{MessageId, SystemClock, Timestamp};
use faxwell::store::{PostgresSettings, SqlStore, SqliteSettings, Store};
use sqlx::{Connection, SqliteConnection};
use tokio_postgres::NoTls;

use crate::{EngineName, Options, Result};

/// The database under the store.
pub(crate) enum Bed {
    /// A directory with the store's file and one for the bare commits.
    Sqlite { directory: PathBuf, _own: Option<tempfile::TempDir> },
    /// A database of its own.
    Postgres { url: String },
}

impl Bed {
    pub(crate) async fn make(options: &Options) -> Result<Self> {
        let bed = match (&options.engine, &options.url, &options.directory) {
            (EngineName::Postgres, Some(url), _) => Self::Postgres { url: url.clone() },
            (_, _, Some(directory)) => Self::Sqlite { directory: directory.clone(), _own: None },
            (_, _, None) => {
                let own = tempfile::tempdir()?;
                Self::Sqlite { directory: own.path().to_owned(), _own: Some(own) }
            }
        };
        // The schema is there once the store was open.
        let store = bed.store(1).await?;
        let messages = store.oldest_message().await?;
        store.close().await;
        match messages {
            None => Ok(bed),
            Some(at) => Err(format!("the store holds messages since {at}; fix: give it an empty one").into()),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "sqlite",
            Self::Postgres { .. } => "postgres",
        }
    }

    /// The store itself, with as many connections where its engine has several.
    pub(crate) async fn store(&self, connections: u32) -> Result<Arc<SqlStore>> {
        Ok(Arc::new(match self {
            Self::Sqlite { directory, .. } => {
                let path = directory.join("faxwell.db");
                SqlStore::open_sqlite(path, Arc::new(SystemClock), SqliteSettings::default()).await?
            }
            Self::Postgres { url } => {
                let settings = PostgresSettings { connections: connections as usize, ..PostgresSettings::new(url) };
                SqlStore::open_postgres(settings).await?
            }
        }))
    }

    /// A connection to the store's own tables, past the store: it must not be open on SQLite.
    pub(crate) async fn sqlite(&self, file: &str) -> Result<SqliteConnection> {
        use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
        let Self::Sqlite { directory, .. } = self else { return Err("the store is not on SQLite".into()) };
        let options = SqliteConnectOptions::new()
            .filename(directory.join(file))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        Ok(SqliteConnection::connect_with(&options).await?)
    }

    /// A connection to the same database.
    pub(crate) async fn postgres(&self) -> Result<tokio_postgres::Client> {
        let Self::Postgres { url } = self else { return Err("the store is not on PostgreSQL".into()) };
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        // It ends with its client.
        tokio::spawn(connection);
        Ok(client)
    }

    /// Of the store's tables and indexes, without the log and without the rows of the bare commits. The store is closed.
    pub(crate) async fn size_bytes(&self) -> Result<u64> {
        let bytes = match self {
            Self::Sqlite { .. } => {
                let mut file = self.sqlite("faxwell.db").await?;
                let pages = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()";
                let bytes: i64 = sqlx::query_scalar(pages).fetch_one(&mut file).await?;
                file.close().await?;
                bytes
            }
            Self::Postgres { .. } => {
                let size = "SELECT pg_database_size(current_database())
                    - coalesce(pg_total_relation_size(to_regclass('bench_commits')), 0)";
                self.postgres().await?.query_one(size, &[]).await?.try_get(0)?
            }
        };
        Ok(u64::try_from(bytes)?)
    }

    /// The version of the engine, for the report.
    pub(crate) async fn version(&self) -> Result<String> {
        match self {
            Self::Sqlite { .. } => {
                let mut file = self.sqlite("bare.db").await?;
                let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut file).await?;
                file.close().await?;
                Ok(version)
            }
            Self::Postgres { .. } => {
                Ok(self.postgres().await?.query_one("SHOW server_version", &[]).await?.try_get(0)?)
            }
        }
    }
}

/// Now, as the ids that this process makes say it: rows that are filled in need a time, and no clock is read past the
/// store's.
pub(crate) fn made_at(id: MessageId) -> Result<Timestamp> {
    let (seconds, nanoseconds) = id.0.get_timestamp().ok_or("an id without its time")?.to_unix();
    Ok(Timestamp(i64::try_from(seconds * 1000 + u64::from(nanoseconds) / 1_000_000)?))
}
