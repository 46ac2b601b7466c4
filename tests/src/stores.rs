//! What a bed's ledger and keys are kept in.

use std::path::Path;
use std::sync::Arc;

use store::{Journal, Options, Row, Store, StoreError, Url};

use crate::postgres::{Server, shared};

/// The engine of the beds that do not say which.
const VARIABLE: &str = "KVIT_TEST_STORE";

/// One of the two engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Files in the bed's folder.
    Sqlite,
    /// A database of the server that the tests of a process share.
    Postgres,
}

impl Engine {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Sqlite, Self::Postgres];
}

impl Default for Engine {
    /// `SQLite`, unless `KVIT_TEST_STORE=postgres`: so one suite runs on both.
    fn default() -> Self {
        match std::env::var(VARIABLE).as_deref() {
            Ok("postgres") => Self::Postgres,
            Ok("sqlite") | Err(_) => Self::Sqlite,
            Ok(other) => panic!("{VARIABLE} is sqlite or postgres, not {other:?}"),
        }
    }
}

/// The two stores of a bed.
#[derive(Debug)]
pub struct Stores {
    database: Option<(Arc<Server>, String)>,
}

impl Stores {
    /// Stores of this engine, or in a new database of this server. Blocks while a server starts.
    ///
    /// # Errors
    ///
    /// Where there is no `PostgreSQL`.
    pub(crate) fn make(engine: Engine, server: Option<Arc<Server>>) -> anyhow::Result<Self> {
        let server = match (engine, server) {
            (_, Some(own)) => own,
            (Engine::Postgres, None) => shared()?,
            (Engine::Sqlite, None) => return Ok(Self { database: None }),
        };
        let url = server.database()?;
        Ok(Self {
            database: Some((server, url)),
        })
    }

    /// Which engine it is.
    #[must_use]
    pub fn engine(&self) -> Engine {
        match self.database {
            None => Engine::Sqlite,
            Some(_) => Engine::Postgres,
        }
    }

    /// The server, where there is one.
    #[must_use]
    pub fn server(&self) -> Option<&Arc<Server>> {
        self.database.as_ref().map(|(server, _)| server)
    }

    /// As the configuration writes them: the ledger's, the keys'.
    pub(crate) fn urls(&self) -> (&str, &str) {
        match &self.database {
            None => ("sqlite:kvit.db", "sqlite:kvit-keys.db"),
            Some((_, url)) => (url, url),
        }
    }

    /// The ledger's, from anywhere.
    pub(crate) fn ledger(&self, dir: &Path) -> anyhow::Result<Url> {
        self.absolute(dir, "kvit.db")
    }

    fn absolute(&self, dir: &Path, file: &str) -> anyhow::Result<Url> {
        Ok(match &self.database {
            None => format!("sqlite:{}", dir.join(file).display()).parse()?,
            Some((_, url)) => url.parse()?,
        })
    }

    /// The rows of a query on the ledger, for what only a test asks: whether anything is left that should not be.
    ///
    /// # Errors
    ///
    /// Where the store does not answer.
    pub async fn ask_ledger(&self, dir: &Path, sql: &'static str) -> anyhow::Result<Vec<Row>> {
        ask(&self.absolute(dir, "kvit.db")?, "kvit", Journal::Wal, sql).await
    }

    /// Changes the ledger as nothing but time or an earlier version would.
    ///
    /// # Errors
    ///
    /// As [`Stores::ask_ledger`].
    pub async fn change_ledger(&self, dir: &Path, statements: &[&str]) -> anyhow::Result<()> {
        let statements: Vec<String> = statements.iter().map(|sql| (*sql).to_owned()).collect();
        let changed: Result<(), StoreError> = ledger_at(&self.ledger(dir)?)
            .write(move |tx| statements.iter().try_for_each(|sql| tx.execute(sql, &[]).map(drop)))
            .await;
        Ok(changed?)
    }

    /// The rows of a query on the key store.
    ///
    /// # Errors
    ///
    /// As [`Stores::ask_ledger`].
    pub async fn ask_keys(&self, dir: &Path, sql: &'static str) -> anyhow::Result<Vec<Row>> {
        ask(
            &self.absolute(dir, "kvit-keys.db")?,
            "kvit_keys",
            Journal::Truncate,
            sql,
        )
        .await
    }
}

/// A ledger that is there, to look at or change past what Kvit does with it.
#[must_use]
pub fn ledger_at(url: &Url) -> Store {
    Store::new(url, options("kvit", Journal::Wal))
}

async fn ask(url: &Url, schema: &'static str, journal: Journal, sql: &'static str) -> anyhow::Result<Vec<Row>> {
    let store = Store::new(url, options(schema, journal));
    let rows: Result<Vec<Row>, StoreError> = store.read(move |tx| tx.query(sql, &[])).await;
    Ok(rows?)
}

/// To look at a store that is there.
fn options(schema: &'static str, journal: Journal) -> Options {
    Options {
        schema,
        journal,
        migrations: &[],
        writers: 1,
        readers: 1,
    }
}
