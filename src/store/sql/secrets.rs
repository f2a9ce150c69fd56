//! Secrets that every node of a gateway has alike.

use super::error::Place;
use super::{Tx, sql, statements};
use crate::store::Result;

statements! {
    KEEP = "-- secrets.keep
        INSERT INTO secrets (name, value, made_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING";
    READ = "-- secrets.read\nSELECT value FROM secrets WHERE name = $1";
}

/// What is there stays: of two nodes that start at once, both go on with what the first one made.
pub(super) async fn secret(tx: &mut Tx, name: &str, fresh: &[u8]) -> Result<Vec<u8>> {
    sql(&KEEP).bind(name).bind(fresh).bind(tx.now().await?.0).execute(&mut tx.conn).await.place("secrets.keep")?;
    let row = sql(&READ).bind(name).fetch_one(&mut tx.conn).await.place("secrets.read")?;
    row.col::<Vec<u8>>("value")
}
