//! What goes into a statement and what comes out of it, whichever engine runs it.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use super::error::unknown_value;
use crate::domain::Timestamp;
use crate::store::Result;

/// A value of a column or parameter. PostgreSQL's `uuid` and `jsonb` are text here.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::store) enum Value<'v> {
    /// NULL.
    Null,
    /// An integer, or a time in milliseconds.
    Int(i64),
    /// A boolean; SQLite has 0 and 1 instead.
    Bool(bool),
    /// Text.
    Text(Cow<'v, str>),
    /// Octets.
    Bytes(Cow<'v, [u8]>),
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u32> for Value<'_> {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

impl From<i32> for Value<'_> {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}

impl From<i16> for Value<'_> {
    fn from(value: i16) -> Self {
        Self::Int(value.into())
    }
}

impl From<u16> for Value<'_> {
    fn from(value: u16) -> Self {
        Self::Int(value.into())
    }
}

impl From<u8> for Value<'_> {
    fn from(value: u8) -> Self {
        Self::Int(value.into())
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<String> for Value<'_> {
    fn from(value: String) -> Self {
        Self::Text(Cow::Owned(value))
    }
}

impl<'v> From<&'v str> for Value<'v> {
    fn from(value: &'v str) -> Self {
        Self::Text(Cow::Borrowed(value))
    }
}

impl<'v> From<&'v String> for Value<'v> {
    fn from(value: &'v String) -> Self {
        Self::Text(Cow::Borrowed(value))
    }
}

impl From<Vec<u8>> for Value<'_> {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(Cow::Owned(value))
    }
}

impl<'v> From<&'v [u8]> for Value<'v> {
    fn from(value: &'v [u8]) -> Self {
        Self::Bytes(Cow::Borrowed(value))
    }
}

impl<'v, T: Into<Value<'v>>> From<Option<T>> for Value<'v> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// What a column can be read as.
pub(in crate::store) trait Field<'r>: Sized {
    /// The value, or none when it is of another kind.
    fn read(value: &'r Value<'static>) -> Option<Self>;
}

impl<'r> Field<'r> for i64 {
    fn read(value: &'r Value<'static>) -> Option<Self> {
        match value {
            Value::Int(value) => Some(*value),
            _ => None,
        }
    }
}

impl<'r> Field<'r> for bool {
    fn read(value: &'r Value<'static>) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(*value),
            Value::Int(value @ (0 | 1)) => Some(*value == 1),
            _ => None,
        }
    }
}

impl<'r> Field<'r> for &'r str {
    fn read(value: &'r Value<'static>) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl<'r> Field<'r> for String {
    fn read(value: &'r Value<'static>) -> Option<Self> {
        <&str>::read(value).map(str::to_owned)
    }
}

impl<'r> Field<'r> for &'r [u8] {
    fn read(value: &'r Value<'static>) -> Option<Self> {
        match value {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

impl<'r> Field<'r> for Vec<u8> {
    fn read(value: &'r Value<'static>) -> Option<Self> {
        <&[u8]>::read(value).map(<[u8]>::to_vec)
    }
}

impl<'r, T: Field<'r>> Field<'r> for Option<T> {
    fn read(value: &'r Value<'static>) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            other => T::read(other).map(Some),
        }
    }
}

/// One row. A value that cannot be read is an error that names its column, never a default.
#[derive(Debug, Clone)]
pub(in crate::store) struct Row {
    /// Names of the columns, shared by the rows of one answer.
    pub(in crate::store) names: Arc<[String]>,
    /// Their values, in the same order.
    pub(in crate::store) values: Vec<Value<'static>>,
}

impl Row {
    /// A column as it is held.
    pub(in crate::store) fn col<'r, T: Field<'r>>(&'r self, name: &str) -> Result<T> {
        let at = self.names.iter().position(|of| of == name).ok_or_else(|| unknown_value(name, "no such column"))?;
        T::read(&self.values[at]).ok_or_else(|| unknown_value(name, &format!("{:?}", self.values[at])))
    }

    /// Text that a domain type reads: an id, a word, a number.
    pub(in crate::store) fn parsed<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T> {
        parse(name, self.col::<&str>(name)?)
    }

    /// The same, or NULL.
    pub(in crate::store) fn parsed_opt<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>> {
        self.col::<Option<&str>>(name)?.map(|text| parse(name, text)).transpose()
    }

    /// An integer that fits `T`.
    pub(in crate::store) fn int<T: TryFrom<i64>>(&self, name: &str) -> Result<T> {
        narrow(name, self.col::<i64>(name)?)
    }

    /// The same, or NULL.
    pub(in crate::store) fn int_opt<T: TryFrom<i64>>(&self, name: &str) -> Result<Option<T>> {
        self.col::<Option<i64>>(name)?.map(|value| narrow(name, value)).transpose()
    }

    /// Milliseconds since the epoch.
    pub(in crate::store) fn time(&self, name: &str) -> Result<Timestamp> {
        self.col(name).map(Timestamp)
    }

    /// The same, or NULL.
    pub(in crate::store) fn time_opt(&self, name: &str) -> Result<Option<Timestamp>> {
        Ok(self.col::<Option<i64>>(name)?.map(Timestamp))
    }
}

fn parse<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T> {
    text.parse().map_err(|e: T::Err| unknown_value(name, &e.to_string()))
}

fn narrow<T: TryFrom<i64>>(name: &str, value: i64) -> Result<T> {
    value.try_into().map_err(|_| unknown_value(name, &value.to_string()))
}
