//! A look at a store without being its owner: at a file beside a running gateway or on a stopped one, or at PostgreSQL.
//!
//! Nothing is changed, and no lock of the gateway's is taken.

use std::path::Path;
use std::time::Duration;

use sqlx::Connection as _;

use super::sql::{Conn, SqlStore, reading, retention, verify};
use super::{Broken, DocumentKey, DocumentRow, ObjectName, Result, Store as _, StoredDocument, sqlite};

/// A store that is only read.
pub struct Inspection {
    looks_at: LooksAt,
}

enum LooksAt {
    File(Box<Conn>),
    Store(Box<SqlStore>),
}

impl Inspection {
    /// Opens a file. `Unusable` when it is no store, or one of a schema that this program does not know.
    pub async fn open(path: &Path) -> Result<Self> {
        Ok(Self { looks_at: LooksAt::File(Box::new(sqlite::verify::open_file(path).await?)) })
    }

    /// Looks through a store that is open.
    pub fn of(store: SqlStore) -> Self {
        Self { looks_at: LooksAt::Store(Box::new(store)) }
    }

    /// Everything that is wrong with the rows themselves. Reads all of them: minutes for a large store.
    pub async fn broken(&mut self) -> Result<Vec<Broken>> {
        match &mut self.looks_at {
            LooksAt::File(conn) => sqlite::verify::broken(conn).await,
            LooksAt::Store(store) => store.read("verify", |tx| Box::pin(verify::broken(&mut tx.conn))).await,
        }
    }

    /// Documents in order of their keys, after this one.
    pub async fn document_rows(&mut self, after: Option<DocumentKey>, limit: u32) -> Result<Vec<DocumentRow>> {
        match &mut self.looks_at {
            LooksAt::File(conn) => retention::document_rows(conn, after, limit).await,
            LooksAt::Store(store) => store.document_rows(after, limit).await,
        }
    }

    /// Where a document is now.
    pub async fn document(&mut self, key: &DocumentKey) -> Result<StoredDocument> {
        match &mut self.looks_at {
            LooksAt::File(conn) => reading::document(conn, *key).await,
            LooksAt::Store(store) => store.document(key).await,
        }
    }

    /// Those of `names` that some row needs now.
    pub async fn needed(&mut self, names: &[ObjectName]) -> Result<Vec<ObjectName>> {
        match &mut self.looks_at {
            LooksAt::File(conn) => retention::needed(conn, names).await,
            LooksAt::Store(store) => store.needed_objects(names).await,
        }
    }

    /// Ends it.
    pub async fn close(self) {
        match self.looks_at {
            LooksAt::File(file) => {
                if let Conn::Sqlite(connection) = *file {
                    let _ = tokio::time::timeout(Duration::from_secs(5), connection.close()).await;
                }
            }
            LooksAt::Store(store) => store.close().await,
        }
    }
}
