//! Values to PostgreSQL's types and back: `uuid` and `jsonb` are text on our side.

use std::borrow::Cow;
use std::error::Error as StdError;

use bytes::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::store::sql::Value;

type Failure = Box<dyn StdError + Sync + Send>;

/// A value that does not fit its parameter, or a column that we do not read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unfit(String);

fn unfit(why: impl std::fmt::Display) -> Failure {
    Box::new(Unfit(why.to_string()))
}

/// A parameter of its own, so that a request may outlive the call that made it.
#[derive(Debug)]
pub(super) struct Parameter(pub(super) Value<'static>);

impl Parameter {
    pub(super) fn new(value: &Value<'_>) -> Self {
        Self(match value {
            Value::Null => Value::Null,
            Value::Int(value) => Value::Int(*value),
            Value::Bool(value) => Value::Bool(*value),
            Value::Text(text) => Value::Text(Cow::Owned(without_nul(text))),
            Value::Bytes(bytes) => Value::Bytes(Cow::Owned(bytes.clone().into_owned())),
        })
    }
}

/// PostgreSQL keeps no U+0000 in a text, nor its escape in JSON: what a far end or a mail brings must not be refused for it.
fn without_nul(text: &str) -> String {
    let text = text.replace('\0', "\u{FFFD}");
    if text.contains("\\u0000") { text.replace("\\u0000", "\\ufffd") } else { text }
}

impl ToSql for Parameter {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        match (&self.0, ty) {
            (Value::Null, _) => Ok(IsNull::Yes),
            (Value::Int(value), &Type::INT8) => value.to_sql(ty, out),
            (Value::Int(value), &Type::INT4) => i32::try_from(*value).map_err(unfit)?.to_sql(ty, out),
            (Value::Int(value), &Type::INT2) => i16::try_from(*value).map_err(unfit)?.to_sql(ty, out),
            (Value::Int(value @ (0 | 1)), &Type::BOOL) => (*value == 1).to_sql(ty, out),
            (Value::Bool(value), &Type::BOOL) => value.to_sql(ty, out),
            (Value::Text(text), &Type::UUID) => uuid::Uuid::try_parse(text).map_err(unfit)?.to_sql(ty, out),
            (Value::Text(text), &Type::JSONB) => {
                // Version 1 of the binary form is the text behind it.
                out.extend_from_slice(&[1]);
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
            (Value::Text(text), &Type::TEXT | &Type::VARCHAR | &Type::NAME) => text.as_ref().to_sql(ty, out),
            (Value::Bytes(bytes), &Type::BYTEA) => bytes.as_ref().to_sql(ty, out),
            (value, ty) => Err(unfit(format!("{} does not fit a parameter of type {ty}", kind(value)))),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A column of a row.
pub(super) struct Field(pub(super) Value<'static>);

impl<'r> FromSql<'r> for Field {
    fn from_sql(ty: &Type, raw: &'r [u8]) -> Result<Self, Failure> {
        Ok(Self(match *ty {
            Type::INT8 => Value::Int(i64::from_sql(ty, raw)?),
            Type::INT4 => Value::Int(i32::from_sql(ty, raw)?.into()),
            Type::INT2 => Value::Int(i16::from_sql(ty, raw)?.into()),
            Type::BOOL => Value::Bool(bool::from_sql(ty, raw)?),
            Type::UUID => Value::from(uuid::Uuid::from_sql(ty, raw)?.to_string()),
            Type::JSONB => match raw.split_first() {
                Some((1, text)) => Value::from(String::from_utf8(text.to_vec())?),
                _ => return Err(unfit("an unknown form of jsonb")),
            },
            Type::BYTEA => Value::from(raw.to_vec()),
            Type::TEXT | Type::VARCHAR | Type::NAME | Type::UNKNOWN => Value::from(String::from_utf8(raw.to_vec())?),
            _ => return Err(unfit(format!("a column of type {ty} is not one that we read"))),
        }))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Failure> {
        Ok(Self(Value::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// What a value is, without what it says.
fn kind(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Int(_) => "a number",
        Value::Bool(_) => "a truth value",
        Value::Text(_) => "a text",
        Value::Bytes(_) => "bytes",
    }
}
