//! Statements on SQLite, through sqlx.

use std::sync::Arc;

use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Column, Row as _, Sqlite, SqliteConnection, TypeInfo, ValueRef};

use crate::store::sql::{DbError, Row, Value};

type Answer<T> = Result<T, DbError>;

/// Runs a statement for its effect; answers how many rows it changed.
pub(in crate::store) async fn execute(
    connection: &mut SqliteConnection,
    text: &'static str,
    values: &[Value<'_>],
) -> Answer<u64> {
    Ok(bound(text, values).execute(connection).await?.rows_affected())
}

/// Runs a statement for its rows.
pub(in crate::store) async fn rows(
    connection: &mut SqliteConnection,
    text: &'static str,
    values: &[Value<'_>],
) -> Answer<Vec<Row>> {
    let found = bound(text, values).fetch_all(connection).await?;
    let Some(first) = found.first() else { return Ok(Vec::new()) };
    let names: Arc<[String]> = first.columns().iter().map(|column| column.name().to_owned()).collect();
    found.iter().map(|row| Ok(Row { names: Arc::clone(&names), values: values_of(row)? })).collect()
}

fn bound(text: &'static str, values: &[Value<'_>]) -> sqlx::query::Query<'static, Sqlite, SqliteArguments> {
    values.iter().fold(sqlx::query(text), |query, value| match value {
        Value::Null => query.bind(None::<i64>),
        Value::Int(value) => query.bind(*value),
        Value::Bool(value) => query.bind(*value),
        Value::Text(text) => query.bind(text.clone().into_owned()),
        Value::Bytes(bytes) => query.bind(bytes.clone().into_owned()),
    })
}

fn values_of(row: &SqliteRow) -> Answer<Vec<Value<'static>>> {
    (0..row.len()).map(|at| value(row, at)).collect()
}

fn value(row: &SqliteRow, at: usize) -> Answer<Value<'static>> {
    let raw = row.try_get_raw(at)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    Ok(match raw.type_info().name() {
        "TEXT" => Value::from(row.try_get_unchecked::<String, _>(at)?),
        "BLOB" => Value::from(row.try_get_unchecked::<Vec<u8>, _>(at)?),
        _ => Value::Int(row.try_get_unchecked::<i64, _>(at)?),
    })
}
