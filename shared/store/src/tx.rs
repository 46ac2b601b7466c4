//! An open transaction.

use postgres::types::ToSql;
use rusqlite::types::ValueRef;

use crate::dialect;
use crate::engine::{Connection, Engine};
use crate::{Insert, Row, StoreError, Value};

/// An open transaction.
pub struct Tx<'c> {
    connection: &'c mut Connection,
    /// The first statement of the job in hand that failed. PostgreSQL undoes a job of which any statement failed, so on
    /// both engines a job cannot pass over a failure.
    failure: Option<StoreError>,
    /// Why there is no transaction any more: a full disk ends SQLite's, and a lost connection PostgreSQL's. What ran
    /// after that would be committed by itself, so nothing runs.
    lost: Option<StoreError>,
    /// Whether the connection must be opened anew.
    broken: bool,
}

impl<'c> Tx<'c> {
    pub(crate) fn new(connection: &'c mut Connection) -> Self {
        Self {
            connection,
            failure: None,
            lost: None,
            broken: false,
        }
    }

    /// A number that no other transaction has at the same time, small and used again: rows that are kept one a lane are
    /// never waited for.
    #[must_use]
    pub fn lane(&self) -> i64 {
        self.connection.lane
    }

    /// Whether the engine is PostgreSQL, where several writers may meet.
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        matches!(self.connection.engine, Engine::Postgres(_))
    }

    /// Runs a statement and answers how many rows it changed.
    ///
    /// # Errors
    ///
    /// [`StoreError`] without any value.
    pub fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, StoreError> {
        self.run(|engine| match engine {
            Engine::Sqlite(connection) => {
                let (sql, values) = dialect::sqlite(sql, values);
                let mut statement = connection.prepare_cached(&sql)?;
                let changed = statement.execute(rusqlite::params_from_iter(values))?;
                Ok(u64::try_from(changed).unwrap_or(u64::MAX))
            }
            Engine::Postgres(connection) => {
                let statement = connection.prepare(&dialect::postgres(sql, values))?;
                Ok(connection.client.execute(&statement, &references(values))?)
            }
        })
    }

    /// Inserts rows, in order. PostgreSQL takes all with one statement, prepared once for however many: their values as an
    /// array for each column. SQLite takes them one by one, which costs it little more.
    ///
    /// # Errors
    ///
    /// [`StoreError`] without any value.
    pub fn insert<const N: usize>(&mut self, insert: Insert<'_>, rows: &[[Value; N]]) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        self.run(|engine| match engine {
            Engine::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(&insert.of_one(N).replace('$', "?"))?;
                rows.iter().try_for_each(|row| {
                    statement.execute(rusqlite::params_from_iter(row))?;
                    Ok(())
                })
            }
            Engine::Postgres(connection) => {
                let statement = connection.prepare_insert(insert, N)?;
                let columns: Vec<Vec<&Value>> = (0..N)
                    .map(|column| rows.iter().map(|row| &row[column]).collect())
                    .collect();
                let columns: Vec<&(dyn ToSql + Sync)> = columns.iter().map(|column| column as _).collect();
                connection.client.execute(&statement, &columns)?;
                Ok(())
            }
        })
    }

    /// Runs a statement and answers its rows.
    ///
    /// # Errors
    ///
    /// [`StoreError`] without any value.
    pub fn query(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        self.run(|engine| match engine {
            Engine::Sqlite(connection) => {
                let (sql, values) = dialect::sqlite(sql, values);
                let mut statement = connection.prepare_cached(&sql)?;
                let columns = statement.column_count();
                let rows = statement.query_map(rusqlite::params_from_iter(values), |row| sqlite_row(row, columns))?;
                rows.map(|row| Ok(row?)).collect()
            }
            Engine::Postgres(connection) => {
                let statement = connection.prepare(&dialect::postgres(sql, values))?;
                let rows = connection.client.query(&statement, &references(values))?;
                rows.iter().map(postgres_row).collect()
            }
        })
    }

    /// Runs a statement and answers its first row, where there is one.
    ///
    /// # Errors
    ///
    /// [`StoreError`] without any value.
    pub fn one(&mut self, sql: &str, values: &[Value]) -> Result<Option<Row>, StoreError> {
        Ok(self.query(sql, values)?.into_iter().next())
    }

    /// Serialises what concerns one key among all writers until the transaction ends. SQLite has one writer anyway.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store was lost.
    pub fn lock(&mut self, key: i64) -> Result<(), StoreError> {
        if self.is_postgres() {
            self.query("SELECT CAST(pg_advisory_xact_lock($1) AS TEXT)", &[key.into()])?;
        }
        Ok(())
    }

    /// As [`Tx::lock`], of several keys, which all transactions take in one order.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store was lost.
    pub fn lock_all(&mut self, mut keys: Vec<i64>) -> Result<(), StoreError> {
        if !self.is_postgres() {
            return Ok(());
        }
        keys.sort_unstable();
        let sql = "SELECT CAST(pg_advisory_xact_lock(key) AS TEXT) FROM unnest(CAST($1 AS BIGINT[])) AS keys (key)";
        Value::lists(keys).try_for_each(|keys| self.query(sql, &[keys]).map(drop))
    }

    /// Reads one row and keeps every other writer from it until the transaction ends. What is read afterwards is what
    /// those before have committed.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store was lost.
    pub fn one_for_update(&mut self, sql: &str, values: &[Value]) -> Result<Option<Row>, StoreError> {
        if self.is_postgres() {
            self.one(&format!("{sql} FOR UPDATE"), values)
        } else {
            self.one(sql, values)
        }
    }

    /// Keeps every other writer from the rows with the keys of this list until the transaction ends. All replicas take them in
    /// one order, so that none waits for one that waits for it: that of numbers, or of bytes, whatever language the database
    /// sorts in. SQLite has one writer anyway.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store was lost.
    pub fn reserve(&mut self, table: &str, key: &str, keys: &Value) -> Result<(), StoreError> {
        if !self.is_postgres() {
            return Ok(());
        }
        let is_text = matches!(keys, Value::List(keys) if matches!(keys.first(), Some(Value::Text(_))));
        let order = if is_text { " COLLATE \"C\"" } else { "" };
        let sql = format!("SELECT 1 FROM {table} WHERE {key} = ANY($1) ORDER BY {key}{order} FOR UPDATE");
        self.query(&sql, std::slice::from_ref(keys)).map(drop)
    }

    /// Begins a part of the transaction that can be undone by itself.
    pub(crate) fn save(&mut self) -> Result<(), StoreError> {
        self.execute("SAVEPOINT job", &[]).map(drop)
    }

    /// Ends the part that [`Tx::save`] began: keeps what it did, or undoes it.
    pub(crate) fn end_saved(&mut self, keep: bool) -> Result<(), StoreError> {
        if !keep {
            self.execute("ROLLBACK TO SAVEPOINT job", &[])?;
        }
        self.execute("RELEASE SAVEPOINT job", &[]).map(drop)
    }

    /// Runs statements without parameters or answers.
    pub(crate) fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        self.run(|engine| match engine {
            Engine::Sqlite(connection) => Ok(connection.execute_batch(sql)?),
            Engine::Postgres(connection) => Ok(connection.client.batch_execute(sql)?),
        })
    }

    pub(crate) fn commit(&mut self) -> Result<(), StoreError> {
        self.batch("COMMIT")
    }

    /// Undoes everything; where that fails there is nothing left to undo.
    pub(crate) fn roll_back(&mut self) {
        if self.lost.is_none() {
            let _ = self.batch("ROLLBACK");
        }
    }

    /// Forgets the failure of an earlier job, and answers it.
    pub(crate) fn take_failure(&mut self) -> Option<StoreError> {
        self.failure.take()
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken || !self.connection.is_idle()
    }

    fn run<T>(&mut self, statement: impl FnOnce(&mut Engine) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if let Some(lost) = &self.lost {
            return Err(lost.clone());
        }
        statement(&mut self.connection.engine).inspect_err(|error| {
            self.broken |= error.breaks_connection();
            let gone = match &self.connection.engine {
                Engine::Sqlite(connection) => connection.is_autocommit(),
                Engine::Postgres(connection) => connection.client.is_closed(),
            };
            if gone {
                self.lost = Some(error.clone());
            }
            self.failure.get_or_insert_with(|| error.clone());
        })
    }
}

fn references(values: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

fn sqlite_row(row: &rusqlite::Row<'_>, columns: usize) -> rusqlite::Result<Row> {
    let value = |column| {
        Ok(match row.get_ref(column)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => Value::Int(number),
            ValueRef::Real(_) => Value::Text(String::new()),
            ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
        })
    };
    (0..columns).map(value).collect::<rusqlite::Result<_>>().map(Row)
}

fn postgres_row(row: &postgres::Row) -> Result<Row, StoreError> {
    let value = |column| row.try_get(column).map_err(|_| StoreError::Unexpected { column });
    (0..row.len()).map(value).collect::<Result<_, _>>().map(Row)
}
