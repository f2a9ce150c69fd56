//! The schema: looked at when the store is opened, set up in an empty database, brought up to date by a person's command.

use super::PostgresSettings;
use super::connect::Connector;
use crate::store::Result;
use crate::store::migrations::{self, Allowed, Schema, Target};

/// Sets up an empty database, whichever of many nodes comes first. `Unusable` for a schema that this program cannot
/// work with: an older one waits for `faxwell db migrate`.
pub(super) async fn check(connector: &Connector, url: &str) -> Result<()> {
    bring_up(connector, url, Allowed::SetUp).await?.complete(url).map(|_| ())
}

/// Looks at the schema of a store and applies what is allowed, beside the nodes that work with it.
///
/// [`crate::store::StoreError::Unusable`] when this program and the store do not fit, or a migration is refused; then
/// that one has changed nothing. [`crate::store::StoreError::Unavailable`] when no server takes writes.
pub async fn migrate_postgres(settings: &PostgresSettings, allowed: Allowed) -> Result<Schema> {
    bring_up(&Connector::new(settings)?, &settings.url, allowed).await
}

async fn bring_up(connector: &Connector, url: &str, allowed: Allowed) -> Result<Schema> {
    // A connection of its own: whatever becomes of it, none of the pool's is inside a transaction.
    let session = connector.connect().await.map_err(|error| error.meaning("open"))?;
    migrations::bring_up(Target::Postgres(&session.client), migrations::of_postgres(), url, allowed).await
}
