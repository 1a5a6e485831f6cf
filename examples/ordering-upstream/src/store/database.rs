//! What the rest of the store asks of a database, whichever it is.
//!
//! Each statement is written once and runs on both. Parameters are `?1`, `?2` …; where the two databases have no words
//! in common, a statement says `{now}` (this moment, RFC 3339 in UTC with milliseconds) or `{minutes}` (how many have
//! passed since `created_at`), and the database puts its own there.

use super::StoreError;

/// A parameter, or what stands in a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// SQL's NULL.
    Null,
    /// A whole number, or a truth value as 0 or 1.
    Integer(i64),
    /// A number with a fraction.
    Real(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

/// A row that a statement returned.
#[derive(Debug, Clone, PartialEq)]
pub struct Row(pub(super) Vec<Value>);

impl Row {
    /// Takes a column's value out of the row.
    pub fn take<T: FromValue>(&mut self, column: usize) -> Result<T, StoreError> {
        let value = self
            .0
            .get_mut(column)
            .map(|value| std::mem::replace(value, Value::Null));
        value
            .and_then(T::from_value)
            .ok_or(StoreError::Unexpected("a column has another type"))
    }
}

/// A type that a column can be read as.
pub trait FromValue: Sized {
    /// Returns `None` where the column holds something else.
    fn from_value(value: Value) -> Option<Self>;
}

impl FromValue for i64 {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Integer(number) => Some(number),
            _ => None,
        }
    }
}

impl FromValue for u32 {
    fn from_value(value: Value) -> Option<Self> {
        i64::from_value(value)?.try_into().ok()
    }
}

impl FromValue for bool {
    fn from_value(value: Value) -> Option<Self> {
        i64::from_value(value).map(|number| number != 0)
    }
}

impl FromValue for f64 {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Real(number) => Some(number),
            _ => None,
        }
    }
}

impl FromValue for String {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Blob(bytes) => Some(bytes),
            _ => None,
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<&Vec<u8>> for Value {
    fn from(bytes: &Vec<u8>) -> Self {
        Self::Blob(bytes.clone())
    }
}

impl<T> From<Option<T>> for Value
where
    Self: From<T>,
{
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, <Self as From<T>>::from)
    }
}

impl<'a, T> From<&'a Option<T>> for Value
where
    Self: From<&'a T>,
{
    fn from(value: &'a Option<T>) -> Self {
        value
            .as_ref()
            .map_or(Self::Null, <Self as From<&'a T>>::from)
    }
}

/// A place where statements run.
pub trait Statements {
    /// Runs a statement to its end and returns its rows.
    fn rows(&mut self, statement: &str, parameters: &[Value]) -> Result<Vec<Row>, StoreError>;
}

impl dyn Statements + '_ {
    /// Runs a statement and returns its first row, where there is one.
    pub fn first(
        &mut self,
        statement: &str,
        parameters: &[Value],
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(statement, parameters)?.into_iter().next())
    }
}

/// A connection to a database, with transactions. Of two that write, the second waits until the first is done.
pub(super) trait Backend: Statements {
    /// Begins a transaction.
    fn begin(&mut self) -> Result<(), StoreError>;

    /// Ends it. After `Ok`, what it wrote is on disk. After an error it may be there or not, but it is decided by the
    /// time the next statement runs.
    fn commit(&mut self) -> Result<(), StoreError>;

    /// Forgets it.
    fn rollback(&mut self);

    /// Ends the connection.
    fn close(self: Box<Self>);
}
