//! Duties: what one node does for all of them, by a lease that the others see.

use std::time::Duration;

use super::error::Place;
use super::{Tx, sql, statements};
use crate::store::{Owner, Result};

statements! {
    TAKE = "-- duties.take
        INSERT INTO duties (name, lease_node, lease_epoch, lease_expires_at) VALUES ($1, $2, $3, $5)
        ON CONFLICT (name) DO UPDATE SET lease_node = $2, lease_epoch = $3, lease_expires_at = $5
         WHERE duties.lease_expires_at <= $4 OR duties.lease_node = $2";
    GIVE_BACK = "-- duties.give_back
        DELETE FROM duties WHERE name = $1 AND lease_node = $2 AND lease_epoch = $3";
}

/// Takes a duty that nobody has, or extends one that this node has, in an earlier life too. Answers whether it is its own now.
pub(super) async fn take(tx: &mut Tx, owner: &Owner, name: &str, lease: Duration) -> Result<bool> {
    let query = sql(&TAKE)
        .bind(name)
        .bind(&owner.node)
        .bind(owner.epoch.to_string())
        .bind(tx.now().await?.0)
        .bind(tx.now().await?.plus(lease).0);
    Ok(query.execute(&mut tx.conn).await.place("duties.take")?.rows_affected() == 1)
}

pub(super) async fn give_back(tx: &mut Tx, owner: &Owner, name: &str) -> Result<()> {
    let query = sql(&GIVE_BACK).bind(name).bind(&owner.node).bind(owner.epoch.to_string());
    query.execute(&mut tx.conn).await.place("duties.give_back").map(|_| ())
}
