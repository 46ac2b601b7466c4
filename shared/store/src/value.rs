//! The values that both engines share.

use std::fmt;
use std::sync::Arc;

use postgres::types::{FromSql, IsNull, ToSql, Type, private::BytesMut, to_sql_checked};
use rusqlite::types::{ToSqlOutput, ValueRef};

use crate::StoreError;

/// A parameter or a column: null, a 64-bit integer, text, or bytes; or a list of keys, which is a parameter alone. `Debug`
/// shows what it is and not what it says.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A 64-bit integer; times are milliseconds since 1970, truth is 0 or 1.
    Int(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
    /// Keys of one type that a statement looks for: `key = ANY($1)`.
    List(Arc<[Value]>),
}

/// The most keys that a statement looks for: more are several statements' (see [`Value::lists`]).
pub(crate) const MOST_KEYS: usize = 128;

impl Value {
    /// Keys that one statement looks for: 128 at most.
    #[must_use]
    pub fn list(keys: Vec<Self>) -> Self {
        debug_assert!(keys.len() <= MOST_KEYS, "more keys than a statement is for");
        Self::List(keys.into())
    }

    /// Keys, however many, in lists of at most 128 in their order: each for a statement.
    pub fn lists(keys: impl IntoIterator<Item = impl Into<Self>>) -> impl Iterator<Item = Self> {
        let mut keys = keys.into_iter();
        std::iter::from_fn(move || {
            let list: Vec<Self> = keys.by_ref().take(MOST_KEYS).map(Into::into).collect();
            (!list.is_empty()).then(|| Self::list(list))
        })
    }
}

macro_rules! from {
    ($($type:ty => $make:expr),+ $(,)?) => {
        $(impl From<$type> for Value {
            fn from(value: $type) -> Self { ($make)(value) }
        })+
    };
}

from! {
    i64 => Value::Int,
    i32 => |value: i32| Value::Int(value.into()),
    u32 => |value: u32| Value::Int(value.into()),
    bool => |value: bool| Value::Int(value.into()),
    String => |value: String| Value::Text(text(value)),
    &str => |value: &str| Value::Text(text(value.to_owned())),
    &String => |value: &String| Value::Text(text(value.clone())),
    Vec<u8> => Value::Blob,
    &[u8] => |value: &[u8]| Value::Blob(value.to_vec()),
}

/// Text that both engines take, as every text is kept: PostgreSQL has no NUL in it, and a site's own ids may hold one.
#[must_use]
pub fn text(value: String) -> String {
    if value.contains('\0') {
        value.replace('\0', "\u{fffd}")
    } else {
        value
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "Null",
            Self::Int(_) => "Int(…)",
            Self::Text(_) => "Text(…)",
            Self::Blob(_) => "Blob(…)",
            Self::List(_) => "List(…)",
        })
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
            Self::List(_) => {
                return Err(rusqlite::Error::ToSqlConversionFailure(
                    "a list is no single value".into(),
                ));
            }
        }))
    }
}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match (self, ty) {
            (Self::Null, _) => Ok(IsNull::Yes),
            (Self::Int(number), &Type::INT8) => number.to_sql(ty, out),
            (Self::Text(text), &Type::TEXT | &Type::VARCHAR) => text.to_sql(ty, out),
            (Self::Blob(bytes), &Type::BYTEA) => bytes.to_sql(ty, out),
            (Self::List(keys), &Type::INT8_ARRAY | &Type::TEXT_ARRAY | &Type::BYTEA_ARRAY) => {
                keys.as_ref().to_sql(ty, out)
            }
            _ => Err("a parameter of another type".into()),
        }
    }

    fn accepts(ty: &Type) -> bool {
        let lists = [Type::INT8_ARRAY, Type::TEXT_ARRAY, Type::BYTEA_ARRAY];
        [Type::INT8, Type::TEXT, Type::VARCHAR, Type::BYTEA].contains(ty) || lists.contains(ty)
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(match *ty {
            Type::INT8 => Self::Int(i64::from_sql(ty, raw)?),
            Type::INT4 => Self::Int(i32::from_sql(ty, raw)?.into()),
            Type::BYTEA => Self::Blob(raw.to_vec()),
            _ => Self::Text(<&str>::from_sql(ty, raw)?.to_owned()),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self::Null)
    }

    fn accepts(ty: &Type) -> bool {
        [Type::INT8, Type::INT4, Type::TEXT, Type::VARCHAR, Type::BYTEA].contains(ty)
    }
}

/// One row of an answer, its columns by their place in the statement.
#[derive(Debug, Clone)]
pub struct Row(pub(crate) Vec<Value>);

impl Row {
    /// An integer.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unexpected`] where the column holds something else; likewise below.
    pub fn int(&self, column: usize) -> Result<i64, StoreError> {
        self.opt_int(column)?.ok_or(StoreError::Unexpected { column })
    }

    /// An integer or null.
    ///
    /// # Errors
    ///
    /// As [`Row::int`].
    pub fn opt_int(&self, column: usize) -> Result<Option<i64>, StoreError> {
        match self.0.get(column) {
            Some(Value::Int(number)) => Ok(Some(*number)),
            Some(Value::Null) => Ok(None),
            _ => Err(StoreError::Unexpected { column }),
        }
    }

    /// Text.
    ///
    /// # Errors
    ///
    /// As [`Row::int`].
    pub fn text(&self, column: usize) -> Result<&str, StoreError> {
        self.opt_text(column)?.ok_or(StoreError::Unexpected { column })
    }

    /// Text or null.
    ///
    /// # Errors
    ///
    /// As [`Row::int`].
    pub fn opt_text(&self, column: usize) -> Result<Option<&str>, StoreError> {
        match self.0.get(column) {
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Null) => Ok(None),
            _ => Err(StoreError::Unexpected { column }),
        }
    }

    /// Text that is parsed into a type of its own.
    ///
    /// # Errors
    ///
    /// As [`Row::int`], also where the text is none of the type's.
    pub fn parse<T: std::str::FromStr>(&self, column: usize) -> Result<T, StoreError> {
        self.text(column)?
            .parse()
            .map_err(|_| StoreError::Unexpected { column })
    }

    /// Bytes.
    ///
    /// # Errors
    ///
    /// As [`Row::int`].
    pub fn blob(&self, column: usize) -> Result<&[u8], StoreError> {
        self.opt_blob(column)?.ok_or(StoreError::Unexpected { column })
    }

    /// Bytes or null.
    ///
    /// # Errors
    ///
    /// As [`Row::int`].
    pub fn opt_blob(&self, column: usize) -> Result<Option<&[u8]>, StoreError> {
        match self.0.get(column) {
            Some(Value::Blob(bytes)) => Ok(Some(bytes)),
            Some(Value::Null) => Ok(None),
            _ => Err(StoreError::Unexpected { column }),
        }
    }

    /// Bytes or null, moved out of the row, for they may be many; then the column is null.
    ///
    /// # Errors
    ///
    /// As [`Row::int`].
    pub fn take_blob(&mut self, column: usize) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.0.get_mut(column).ok_or(StoreError::Unexpected { column })?;
        match std::mem::replace(value, Value::Null) {
            Value::Null => Ok(None),
            Value::Blob(bytes) => Ok(Some(bytes)),
            _ => Err(StoreError::Unexpected { column }),
        }
    }
}
