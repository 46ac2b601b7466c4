//! The two engines behind one transaction type.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use postgres::types::ToSql;
use rusqlite::types::ValueRef;

use crate::{Journal, Options, Row, StoreError, UrlError, Value};

/// How long a statement waits for another process's lock on a SQLite file.
const BUSY: Duration = Duration::from_secs(10);

/// The advisory lock that lets one process at a time grow a PostgreSQL schema: "kvit" in ASCII.
const MIGRATION_LOCK: i64 = 0x6b76_6974;

/// A store's address. `Debug` shows no password.
#[derive(Clone, PartialEq, Eq)]
pub enum Url {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL server, as its clients write it.
    Postgres(String),
}

impl Url {
    /// Whether it is a SQLite file.
    #[must_use]
    pub fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }
}

impl FromStr for Url {
    type Err = UrlError;
    fn from_str(text: &str) -> Result<Self, UrlError> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() {
                Err(UrlError)
            } else {
                Ok(Self::Sqlite(path.into()))
            };
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(text.to_owned()));
        }
        Err(UrlError)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Self::Postgres(_) => f.write_str("Postgres(…)"),
        }
    }
}

/// An open connection.
pub(crate) enum Connection {
    Sqlite(Box<rusqlite::Connection>),
    Postgres(Box<PostgresConnection>),
}

/// A PostgreSQL connection with the statements that it has prepared.
pub(crate) struct PostgresConnection {
    client: postgres::Client,
    statements: HashMap<String, postgres::Statement>,
}

impl PostgresConnection {
    fn prepare(&mut self, sql: &str) -> Result<postgres::Statement, StoreError> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql)?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

impl Connection {
    /// Opens the store, grows its schema where needed, and answers the connection.
    pub(crate) fn open(url: &Url, options: Options, read_only: bool) -> Result<Self, StoreError> {
        let mut connection = match url {
            Url::Sqlite(path) => Self::Sqlite(Box::new(open_sqlite(path, options.journal)?)),
            Url::Postgres(url) => Self::Postgres(Box::new(open_postgres(url, options.schema)?)),
        };
        connection.migrate(options)?;
        if let (Self::Sqlite(connection), true) = (&connection, read_only) {
            connection.pragma_update(None, "query_only", true)?;
        }
        Ok(connection)
    }

    /// Runs `work` between BEGIN and COMMIT; rolls back where it fails.
    pub(crate) fn transact<T>(
        &mut self,
        read_only: bool,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut tx = Tx { engine: self };
        tx.batch(match (&*tx.engine, read_only) {
            (Self::Sqlite(_), false) => "BEGIN IMMEDIATE",
            (Self::Sqlite(_), true) => "BEGIN DEFERRED",
            (Self::Postgres(_), _) => "BEGIN",
        })?;
        let done = work(&mut tx);
        let ended = tx.batch(if done.is_ok() { "COMMIT" } else { "ROLLBACK" });
        if ended.is_err() {
            // A failed COMMIT may leave the transaction open; a failed ROLLBACK has nothing left to undo.
            let _ = tx.batch("ROLLBACK");
        }
        let done = done?;
        ended.map(|()| done)
    }

    fn migrate(&mut self, options: Options) -> Result<(), StoreError> {
        let sqlite = matches!(self, Self::Sqlite(_));
        if self
            .transact(true, schema_version)
            .is_ok_and(|version| version == options.migrations.len())
        {
            return Ok(());
        }
        self.transact(false, |tx| {
            if !sqlite {
                tx.lock(MIGRATION_LOCK)?;
                tx.batch(&format!("CREATE SCHEMA IF NOT EXISTS {}", options.schema))?;
            }
            tx.batch("CREATE TABLE IF NOT EXISTS migration (step BIGINT PRIMARY KEY)")?;
            let done = schema_version(tx)?;
            for (step, migration) in options.migrations.iter().enumerate().skip(done) {
                let (bytes, serial) = if sqlite {
                    ("BLOB", "INTEGER PRIMARY KEY AUTOINCREMENT")
                } else {
                    ("BYTEA", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY")
                };
                tx.batch(&migration.sql.replace("{bytes}", bytes).replace("{serial}", serial))?;
                let step = i64::try_from(step).unwrap_or(i64::MAX);
                tx.execute("INSERT INTO migration (step) VALUES ($1)", &[step.into()])?;
            }
            Ok(())
        })
    }
}

fn schema_version(tx: &mut Tx<'_>) -> Result<usize, StoreError> {
    let row = tx.one("SELECT COUNT(*) FROM migration", &[])?;
    let count = row.map_or(Ok(0), |row| row.int(0))?;
    Ok(usize::try_from(count).unwrap_or_default())
}

fn open_sqlite(path: &Path, journal: Journal) -> Result<rusqlite::Connection, StoreError> {
    create_private(path);
    let connection = rusqlite::Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    let mode = match journal {
        Journal::Wal => "WAL",
        Journal::Truncate => "TRUNCATE",
    };
    connection.pragma_update_and_check(None, "journal_mode", mode, |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

/// Creates the file for its owner alone; where that fails, opening it says why.
fn create_private(path: &Path) {
    use std::os::unix::fs::OpenOptionsExt;
    let _ = std::fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path);
}

fn open_postgres(url: &str, schema: &str) -> Result<PostgresConnection, StoreError> {
    let unreachable = |_| StoreError::Unavailable {
        code: "postgres url".to_owned(),
    };
    let mut config: postgres::Config = url.parse().map_err(unreachable)?;
    config.connect_timeout(Duration::from_secs(5));
    config.application_name("kvit");
    let tls = native_tls::TlsConnector::new().map_err(|_| StoreError::Unavailable { code: "tls".to_owned() })?;
    let mut client = config.connect(postgres_native_tls::MakeTlsConnector::new(tls))?;
    client.batch_execute(&format!("SET search_path TO {schema}; SET synchronous_commit TO on"))?;
    Ok(PostgresConnection {
        client,
        statements: HashMap::new(),
    })
}

/// An open transaction.
pub struct Tx<'c> {
    engine: &'c mut Connection,
}

impl Tx<'_> {
    /// Whether the engine is PostgreSQL, where several writers may meet.
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        matches!(self.engine, Connection::Postgres(_))
    }

    /// Runs a statement and answers how many rows it changed.
    ///
    /// # Errors
    ///
    /// [`StoreError`] without any value.
    pub fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, StoreError> {
        match self.engine {
            Connection::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(&numbered(sql))?;
                let changed = statement.execute(rusqlite::params_from_iter(values))?;
                Ok(u64::try_from(changed).unwrap_or(u64::MAX))
            }
            Connection::Postgres(connection) => {
                let statement = connection.prepare(sql)?;
                Ok(connection.client.execute(&statement, &references(values))?)
            }
        }
    }

    /// Runs a statement and answers its rows.
    ///
    /// # Errors
    ///
    /// [`StoreError`] without any value.
    pub fn query(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        match self.engine {
            Connection::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(&numbered(sql))?;
                let columns = statement.column_count();
                let rows = statement.query_map(rusqlite::params_from_iter(values), |row| sqlite_row(row, columns))?;
                rows.map(|row| Ok(row?)).collect()
            }
            Connection::Postgres(connection) => {
                let statement = connection.prepare(sql)?;
                let rows = connection.client.query(&statement, &references(values))?;
                rows.iter().map(postgres_row).collect()
            }
        }
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

    /// Runs statements without parameters or answers.
    pub(crate) fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        match self.engine {
            Connection::Sqlite(connection) => Ok(connection.execute_batch(sql)?),
            Connection::Postgres(connection) => Ok(connection.client.batch_execute(sql)?),
        }
    }
}

/// SQLite's way of writing numbered parameters.
fn numbered(sql: &str) -> String {
    sql.replace('$', "?")
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
