//! Inbound routes that a person set, each a rule as JSON, and who set it.

use super::error::{Place, unknown_value};
use super::intake::event_of_nobody;
use super::{Conn, Row, Tx, sql, statements};
use crate::domain::inbound::Rule;
use crate::store::{Result, StoreError, StoredRoute};

/// Routes that a person may set: each call that comes in is matched against all of them.
const ROUTES_MAX: i64 = 10_000;

statements! {
    LIST = "-- inbound_routes.list
        SELECT name, rule, changed_at, changed_by FROM inbound_routes ORDER BY name";
    COUNT = "-- inbound_routes.count
        SELECT count(*) AS routes FROM inbound_routes WHERE name <> $1";
    SET = "-- inbound_routes.set
        INSERT INTO inbound_routes (name, rule, changed_at, changed_by) VALUES ($1, $2, $3, $4)
        ON CONFLICT (name) DO UPDATE SET rule = $2, changed_at = $3, changed_by = $4";
    REMOVE = "-- inbound_routes.remove\nDELETE FROM inbound_routes WHERE name = $1";
}

pub(super) async fn list(c: &mut Conn) -> Result<Vec<StoredRoute>> {
    let rows = sql(&LIST).fetch_all(c).await.place("inbound_routes.list")?;
    let route = |row: &Row| -> Result<StoredRoute> {
        let rule: &str = row.col("rule")?;
        Ok(StoredRoute {
            rule: serde_json::from_str(rule).map_err(|e| unknown_value("rule", &e.to_string()))?,
            changed_at: row.time("changed_at")?,
            changed_by: row.col("changed_by")?,
        })
    };
    rows.iter().map(route).collect()
}

pub(super) async fn set(tx: &mut Tx, rule: &Rule, by: &str) -> Result<()> {
    let counted = sql(&COUNT).bind(&rule.name).fetch_one(&mut tx.conn).await.place("inbound_routes.count")?;
    if counted.col::<i64>("routes")? >= ROUTES_MAX {
        return Err(StoreError::Refused(format!("there are {ROUTES_MAX} inbound routes already")));
    }
    let text = serde_json::to_string(rule).expect("a rule is plain words and texts");
    sql(&SET)
        .bind(&rule.name)
        .bind(&text)
        .bind(tx.now().await?.0)
        .bind(by)
        .execute(&mut tx.conn)
        .await
        .place("inbound_routes.set")?;
    event(tx, &format!("inbound route \"{}\" set by {by}: {text}", rule.name)).await
}

pub(super) async fn remove(tx: &mut Tx, name: &str, by: &str) -> Result<()> {
    let done = sql(&REMOVE).bind(name).execute(&mut tx.conn).await.place("inbound_routes.remove")?;
    if done.rows_affected() == 0 {
        return Err(StoreError::NotFound { kind: "inbound route", id: name.to_owned() });
    }
    event(tx, &format!("inbound route \"{name}\" removed by {by}")).await
}

async fn event(tx: &mut Tx, text: &str) -> Result<()> {
    event_of_nobody(tx, None, "inbound-route", text).await
}
