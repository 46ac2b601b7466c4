//! One way to run SQL on SQLite and on PostgreSQL, with grouped commits.
//!
//! The ledger and the vault write their statements once, with `$1` parameters and the types that both engines share
//! (64-bit integers, text, bytes, and lists of these as keys). A *job* is a synchronous function over a [`Tx`];
//! [`Store::write`] runs it in a transaction on a thread of the store's own and answers after the commit. On SQLite, jobs that wait at the same moment
//! share one commit, each in a savepoint of its own: that is what makes `synchronous=FULL` affordable. On PostgreSQL
//! several connections write, and the server shares the flush among them.
//!
//! A job that is answered with `Ok` is committed. A job that is answered with an error is not, but for one case that no
//! store can exclude: the connection was lost after the commit was sent and before its answer came. Whoever repeats a
//! job must recognise that it was done.
//!
//! What this crate is not: it has no tables, and knows nothing of submissions or keys.

mod batch;
mod dialect;
mod engine;
mod error;
mod insert;
mod tx;
mod url;
mod value;
mod worker;

use std::sync::Arc;

use tokio::sync::oneshot;

pub use batch::{Batch, BatchJob};
pub use error::{StoreError, UrlError};
pub use insert::Insert;
pub use tx::Tx;
pub use url::Url;
pub use value::{Row, Value, text};
use worker::{Pool, Work};

/// One step of a schema's growth. Steps are never changed once released, only added to.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Statements separated by `;`. `{bytes}` and `{serial}` stand for the engine's own types.
    pub sql: &'static str,
}

/// How SQLite keeps its rollback journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Journal {
    /// Write-ahead log: readers and the writer do not wait for each other.
    Wal,
    /// A rollback journal truncated at each commit: deleted rows are nowhere once the commit is done, which a
    /// write-ahead log does not promise.
    Truncate,
}

/// What a store is for.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The PostgreSQL schema that holds the tables; on SQLite the file is the schema.
    pub schema: &'static str,
    /// SQLite's journal.
    pub journal: Journal,
    /// The schema's growth, in order.
    pub migrations: &'static [Migration],
    /// How many PostgreSQL connections write at once. SQLite has one writer.
    pub writers: usize,
    /// How many connections read at once.
    pub readers: usize,
}

/// A handle on a store; clones share its threads.
#[derive(Clone)]
pub struct Store {
    writers: Arc<Pool>,
    readers: Arc<Pool>,
}

impl Store {
    /// A store at this address. Nothing is opened before the first job, so that a store that cannot be reached at the
    /// start is an error of the job, and recovers by itself.
    #[must_use]
    pub fn new(url: &Url, options: Options) -> Self {
        let writers = if url.is_sqlite() { 1 } else { options.writers };
        Self {
            writers: Arc::new(Pool::new(url, options, writers, false)),
            readers: Arc::new(Pool::new(url, options, options.readers, true)),
        }
    }

    /// Whether it is one file, with one writer at a time.
    pub(crate) fn is_sqlite(&self) -> bool {
        self.writers.is_sqlite()
    }

    /// Runs a job in a transaction and answers after its commit. An `Err` of the job undoes what it did.
    ///
    /// # Errors
    ///
    /// What the job says, or [`StoreError`] where the store could not be reached or did not commit, or where a statement
    /// failed and the job passed over it.
    pub async fn write<T, E, F>(&self, job: F) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        submit(&self.writers, job).await
    }

    /// Runs a job that only reads.
    ///
    /// # Errors
    ///
    /// What the job says, or [`StoreError`] where the store could not be reached.
    pub async fn read<T, E, F>(&self, job: F) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        submit(&self.readers, job).await
    }
}

async fn submit<T, E, F>(pool: &Pool, job: F) -> Result<T, E>
where
    F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    let (answer, answered) = oneshot::channel();
    let work: Work = Box::new(move |tx| {
        let outcome = match tx {
            Ok(tx) => job(tx),
            Err(error) => Err(E::from(error)),
        };
        let succeeded = outcome.is_ok();
        let reply = Box::new(move |committed: Result<(), StoreError>| {
            // The one who asked may have gone away; the commit stands all the same.
            let _ = answer.send(committed.map_err(E::from).and(outcome));
        });
        (succeeded, reply)
    });
    pool.send(work);
    answered.await.unwrap_or_else(|_| Err(E::from(StoreError::Panicked)))
}
