//! Opening either engine, and growing its schema.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use crate::tx::Tx;
use crate::{Insert, Journal, Options, StoreError, Url, Value};

/// How often a statement looks whether another process's lock is gone, soon after it met it and later. SQLite's own
/// handler sleeps up to 100 ms, in which several others may have had the lock.
const LOOKS: (Duration, Duration) = (Duration::from_micros(250), Duration::from_millis(1));

/// So many looks are soon, and so many are made in all: ten seconds.
const PATIENCE: (i32, i32) = (20, 10_000);

/// At so many pages of the write-ahead log their content moves into the database. What is written often moves once.
const CHECKPOINT_PAGES: i64 = 4000;

/// How much of the database a connection that writes keeps in memory, and one that reads, in KiB (SQLite counts it as a
/// negative number of pages). The inner pages of the indexes of a million submissions fit into the first. After another
/// process's commit all of it is read anew, from the system's cache, so a reader's need not hold more than a look needs.
const CACHE_KIB: (i64, i64) = (16 * 1024, 2 * 1024);

/// The advisory lock that lets one process at a time grow a PostgreSQL schema: "kvit" in ASCII.
const MIGRATION_LOCK: i64 = 0x6b76_6974;

/// The space of the advisory locks that number writing connections; apart from the locks of one number.
const LANES: i32 = 0x6b76_6974;

/// What every PostgreSQL session is told: a commit is on disk when it is said, nobody waits for ever, and no server
/// message, which may hold a row's values, is sent unasked. A plan that was made while a table was small is kept while it
/// grows, and would read all of it to find a few keys: where there is an index it is used.
const SESSION: &str = "SET synchronous_commit TO on; SET lock_timeout TO '10s'; SET client_min_messages TO error; \
                       SET idle_in_transaction_session_timeout TO '60s'; SET enable_seqscan TO off; SET jit TO off";

/// An open connection.
pub(crate) struct Connection {
    pub(crate) engine: Engine,
    /// A number that no other open connection that writes to this store has.
    pub(crate) lane: i64,
}

pub(crate) enum Engine {
    Sqlite(Box<rusqlite::Connection>),
    Postgres(Box<PostgresConnection>),
}

/// A PostgreSQL connection with the statements that it has prepared.
pub(crate) struct PostgresConnection {
    pub(crate) client: postgres::Client,
    statements: HashMap<String, postgres::Statement>,
}

impl PostgresConnection {
    pub(crate) fn prepare(&mut self, sql: &str) -> Result<postgres::Statement, StoreError> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql)?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// The statement that inserts many rows of so many values. What types they have is what the server says of one row's.
    pub(crate) fn prepare_insert(
        &mut self,
        insert: Insert<'_>,
        width: usize,
    ) -> Result<postgres::Statement, StoreError> {
        let of_one = insert.of_one(width);
        // A name that no statement has: the one for a single row is another.
        let name = format!("many: {of_one}");
        if let Some(statement) = self.statements.get(&name) {
            return Ok(statement.clone());
        }
        let types: Vec<postgres::types::Type> = self.client.prepare(&of_one)?.params().to_vec();
        let types: Vec<&str> = types.iter().map(postgres::types::Type::name).collect();
        let statement = self.client.prepare(&insert.of_many(&types))?;
        self.statements.insert(name, statement.clone());
        Ok(statement)
    }
}

impl Connection {
    /// Opens the store, grows its schema where needed, and answers the connection.
    pub(crate) fn open(url: &Url, options: Options, read_only: bool) -> Result<Self, StoreError> {
        let engine = match url {
            Url::Sqlite(path) => Engine::Sqlite(Box::new(open_sqlite(path, options.journal, read_only)?)),
            Url::Postgres(url) => Engine::Postgres(Box::new(open_postgres(url, options.schema)?)),
        };
        let mut connection = Self { engine, lane: 0 };
        connection.migrate(options)?;
        match (&mut connection.engine, read_only) {
            (Engine::Sqlite(connection), true) => connection.pragma_update(None, "query_only", true)?,
            (Engine::Postgres(postgres), false) => connection.lane = free_lane(postgres)?,
            _ => {}
        }
        Ok(connection)
    }

    /// Begins a transaction. One that only reads sees one state of the store throughout.
    pub(crate) fn begin(&mut self, read_only: bool) -> Result<Tx<'_>, StoreError> {
        let sql = match (&self.engine, read_only) {
            (Engine::Sqlite(_), false) => "BEGIN IMMEDIATE",
            (Engine::Sqlite(_), true) => "BEGIN DEFERRED",
            // The ledger locks a row and then reads what others have committed meanwhile.
            (Engine::Postgres(_), false) => "BEGIN ISOLATION LEVEL READ COMMITTED",
            (Engine::Postgres(_), true) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        let mut tx = Tx::new(self);
        tx.batch(sql)?;
        Ok(tx)
    }

    /// Whether it is open, and no transaction is.
    pub(crate) fn is_idle(&self) -> bool {
        match &self.engine {
            Engine::Sqlite(connection) => connection.is_autocommit(),
            Engine::Postgres(connection) => !connection.client.is_closed(),
        }
    }

    fn transact<T>(
        &mut self,
        read_only: bool,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut tx = self.begin(read_only)?;
        let done = work(&mut tx).and_then(|done| tx.commit().map(|()| done));
        if done.is_err() {
            tx.roll_back();
        }
        done
    }

    fn migrate(&mut self, options: Options) -> Result<(), StoreError> {
        // A store that a later program has grown is as good: steps only add.
        if self
            .transact(true, schema_version)
            .is_ok_and(|version| version >= options.migrations.len())
        {
            return Ok(());
        }
        let sqlite = matches!(self.engine, Engine::Sqlite(_));
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

fn open_sqlite(path: &Path, journal: Journal, read_only: bool) -> Result<rusqlite::Connection, StoreError> {
    create_private(path);
    let mut connection = rusqlite::Connection::open(path)?;
    connection.busy_handler(Some(wait_for_lock))?;
    let wanted = match journal {
        Journal::Wal => "wal",
        Journal::Truncate => "truncate",
    };
    let set = set_journal_mode(&connection, wanted)?;
    if set != wanted {
        // What deletion promises depends on it.
        return Err(StoreError::Unavailable {
            code: "sqlite journal mode".to_owned(),
        });
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    let cache = if read_only { CACHE_KIB.1 } else { CACHE_KIB.0 };
    connection.pragma_update(None, "cache_size", -cache)?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
    // A plan that depends on bound values is made anew at every call: a tenth of the mailer's time.
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(256);
    Ok(connection)
}

/// Sets the mode, and answers the one that is set. Of several processes that do so to a new file at once, SQLite refuses
/// all but one without asking the busy handler: each has begun to read and wants to be alone, so none could wait for the
/// others.
fn set_journal_mode(connection: &rusqlite::Connection, wanted: &str) -> Result<String, StoreError> {
    let mut looks = 0;
    loop {
        let set = connection.pragma_update_and_check(None, "journal_mode", wanted, |row| row.get(0));
        match set.map_err(StoreError::from) {
            Err(StoreError::Busy) if wait_for_lock(looks) => looks += 1,
            set => return set,
        }
    }
}

/// Waits a moment for another's lock; `false` gives up.
fn wait_for_lock(looks: i32) -> bool {
    std::thread::sleep(if looks < PATIENCE.0 { LOOKS.0 } else { LOOKS.1 });
    looks < PATIENCE.1
}

/// Creates the file for its owner alone; where that fails, opening it says why. One that root makes in another's folder is
/// that other's: else an operator's command as root would leave a store that no service may open. (SQLite gives its own
/// files beside it the same owner.)
fn create_private(path: &Path) {
    use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
    let made = std::fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).metadata();
    if let (Ok(file), Ok(folder)) = (made, folder)
        && file.metadata().is_ok_and(|made| made.uid() == 0 && folder.uid() != 0)
    {
        let _ = fchown(&file, Some(folder.uid()), Some(folder.gid()));
    }
}

fn open_postgres(url: &str, schema: &str) -> Result<PostgresConnection, StoreError> {
    let unreachable = |code: &str| StoreError::Unavailable { code: code.to_owned() };
    let mut config: postgres::Config = url.parse().map_err(|_| unreachable("postgres url"))?;
    config
        .application_name("kvit")
        .connect_timeout(Duration::from_secs(5))
        // A server whose machine has gone says nothing; it is noticed all the same.
        .keepalives_idle(Duration::from_secs(10))
        .keepalives_interval(Duration::from_secs(5))
        .keepalives_retries(3)
        .tcp_user_timeout(Duration::from_secs(25))
        .notice_callback(|_| {});
    let tls = native_tls::TlsConnector::new().map_err(|_| unreachable("tls"))?;
    let mut client = config
        .connect(postgres_native_tls::MakeTlsConnector::new(tls))
        .map_err(|error| {
            error.code().map_or_else(
                || unreachable("postgres connection"),
                |code| unreachable(&format!("postgres {}", code.code())),
            )
        })?;
    client.batch_execute(&format!("SET search_path TO {schema}; {SESSION}"))?;
    Ok(PostgresConnection {
        client,
        statements: HashMap::new(),
    })
}

/// Takes the lowest number that no other connection holds; the server gives it back when the connection ends.
fn free_lane(postgres: &mut PostgresConnection) -> Result<i64, StoreError> {
    let sql =
        format!("SELECT lane FROM generate_series(0, 9999) AS lane WHERE pg_try_advisory_lock({LANES}, lane) LIMIT 1");
    let row = postgres.client.query_opt(&sql, &[])?;
    match row.map(|row| row.try_get::<_, Value>(0)) {
        Some(Ok(Value::Int(lane))) => Ok(lane),
        _ => Err(StoreError::Unavailable {
            code: "postgres connections".to_owned(),
        }),
    }
}
