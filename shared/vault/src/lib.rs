//! Data keys: made, wrapped by purpose, used, destroyed. What is destroyed here cannot be read again anywhere.
//!
//! Every submission has a random data key for each purpose that it needs; every payload is sealed under one of them with
//! XChaCha20-Poly1305. The data keys are wrapped by the key of their purpose and live in a store of their own, so that
//! a service opens only what its purpose allows, and a copy of the ledger reads nothing once a data key is gone.
//!
//! The SQLite store runs with `secure_delete` and a truncated rollback journal: in a write-ahead log deleted keys were
//! found again.
//!
//! What this crate is not: it holds no payload, and decides nothing about when a key goes.

mod code;
mod index;
mod keys;
mod mark;
mod ring;
mod rotate;
mod seal;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use store::{Batch, Insert, Journal, Migration, Options, Store, StoreError, Tx, Url, Value};
use uuid::Uuid;

pub use code::{Code, NotACode};
pub use index::{Digest, Index, epoch_of};
pub use keys::{Purpose, WrappingKeys};
pub use ring::{KeyId, Ring};
pub use rotate::{Reread, Rewrapped};
pub use seal::DataKey;

/// Why a key could not be made, found or used. Holds no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The key store did not answer.
    #[error("the key store failed")]
    Store(#[from] StoreError),
    /// This program was not given the wrapping key of that purpose.
    #[error("this service has no {0} key: see the [vault] section")]
    NoWrappingKey(Purpose),
    /// The wrapping key does not open it: another key file, or a damaged store.
    #[error("a data key cannot be unwrapped: is the {0} key the one that it was made with?")]
    WrongWrappingKey(Purpose),
    /// A sealed payload does not open: damaged, or moved from elsewhere.
    #[error("a sealed payload cannot be opened: it is damaged or not what it should be")]
    Damaged,
    /// The machine gave no randomness.
    #[error("the operating system gave no random bytes")]
    NoRandomness,
    /// This program was not given the index key.
    #[error("this service has no index key: see the [vault] section")]
    NoIndexKey,
}

impl VaultError {
    /// Whether the same call may succeed later without anybody changing a key.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_transient())
    }
}

const OPTIONS: Options = Options {
    schema: "kvit_keys",
    journal: Journal::Truncate,
    migrations: &[
        Migration {
            sql: "CREATE TABLE data_key (
                      owner TEXT NOT NULL, purpose TEXT NOT NULL, wrapped {bytes} NOT NULL, created_at BIGINT NOT NULL,
                      PRIMARY KEY (owner, purpose));
                  CREATE INDEX data_key_created ON data_key (created_at);
                  CREATE TABLE epoch (id BIGINT PRIMARY KEY, wrapped {bytes} NOT NULL)",
        },
        // Which wrapping key wraps it, by its id; null where a version before this one did.
        Migration {
            sql: "ALTER TABLE data_key ADD COLUMN wrapped_by {bytes};
                  CREATE INDEX data_key_wrapped ON data_key (purpose, wrapped_by);
                  CREATE TABLE evidence (origin TEXT PRIMARY KEY, size BIGINT NOT NULL)",
        },
    ],
    writers: 4,
    readers: 2,
};

/// The key store, with the wrapping keys that this program was given. Clones share its threads.
#[derive(Clone)]
pub struct Vault {
    store: Store,
    made: Batch<Vec<NewKey>, ()>,
    sought: Batch<(Uuid, Purpose), Option<Vec<u8>>>,
    wrapping: Arc<RwLock<Arc<WrappingKeys>>>,
    source: Option<rotate::Source>,
    index: Arc<index::Cache>,
}

impl Vault {
    /// A vault on the key store at this address; nothing is opened before it is needed.
    #[must_use]
    pub fn new(url: &Url, wrapping: WrappingKeys) -> Self {
        let store = Store::new(url, OPTIONS);
        Self {
            made: Batch::writing(&store, insert),
            sought: Batch::reading(&store, find),
            store,
            wrapping: Arc::new(RwLock::new(Arc::new(wrapping))),
            source: None,
            index: Arc::default(),
        }
    }

    /// The wrapping keys as they are now.
    pub(crate) fn keys(&self) -> Arc<WrappingKeys> {
        let keys = self.wrapping.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&keys)
    }

    /// Makes a data key for each purpose and answers them once they are committed.
    ///
    /// # Errors
    ///
    /// [`VaultError`] where nothing was made.
    pub async fn create(&self, owner: Uuid, purposes: &[Purpose], now: Timestamp) -> Result<Vec<DataKey>, VaultError> {
        let mut keys = Vec::with_capacity(purposes.len());
        let mut rows = Vec::with_capacity(purposes.len());
        let wrapping = self.keys();
        for purpose in purposes {
            let key = DataKey::random()?;
            rows.push(NewKey {
                owner,
                purpose: *purpose,
                wrapped: wrapping.wrap(owner, *purpose, &key)?,
                by: wrapping.ring(*purpose).ok_or(VaultError::NoWrappingKey(*purpose))?.id(),
                at: now,
            });
            keys.push(key);
        }
        self.made.run(rows).await?;
        Ok(keys)
    }

    /// Whether the key store can be written to.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it cannot.
    pub async fn ping(&self) -> Result<(), StoreError> {
        // A statement that changes nothing writes nothing, and would not notice a full disk.
        self.store
            .write(|tx| {
                tx.execute(
                    "INSERT INTO epoch (id, wrapped) VALUES (-1, $1) ON CONFLICT (id) DO NOTHING",
                    &[Vec::<u8>::new().into()],
                )?;
                tx.execute("DELETE FROM epoch WHERE id = -1", &[]).map(drop)
            })
            .await
    }

    /// The data key of one owner and purpose; `None` where it was destroyed or never made.
    ///
    /// # Errors
    ///
    /// [`VaultError`] where that could not be told.
    pub async fn key(&self, owner: Uuid, purpose: Purpose) -> Result<Option<DataKey>, VaultError> {
        let found = self.sought.run((owner, purpose)).await?;
        let Some(wrapped) = found else { return Ok(None) };
        match self.keys().unwrap(owner, purpose, &wrapped) {
            // Another process may have begun to use a new wrapping key that this one has not read yet. Whoever reads it,
            // this call or another at the same time: what counts is the ring as it is afterwards.
            Err(VaultError::WrongWrappingKey(_)) => {
                self.reread().await?;
                self.keys().unwrap(owner, purpose, &wrapped).map(Some)
            }
            unwrapped => unwrapped.map(Some),
        }
    }

    /// Destroys every key of these owners but the journal's, whose copy lives on its own.
    ///
    /// # Errors
    ///
    /// [`VaultError`] where the keys may still be there.
    pub async fn destroy(&self, owners: Vec<Uuid>) -> Result<(), VaultError> {
        self.destroy_but(owners, Some(Purpose::Journal)).await
    }

    /// Destroys every key of these owners: of those that have nothing left that a key would open.
    ///
    /// # Errors
    ///
    /// [`VaultError`] where the keys may still be there.
    pub async fn destroy_all(&self, owners: Vec<Uuid>) -> Result<(), VaultError> {
        self.destroy_but(owners, None).await
    }

    async fn destroy_but(&self, mut owners: Vec<Uuid>, kept: Option<Purpose>) -> Result<(), VaultError> {
        owners.sort_unstable(); // all replicas lock in one order
        let kept = kept.map_or("", Purpose::as_str);
        self.store
            .write(move |tx| {
                for owners in Value::lists(owners.iter().map(Uuid::to_string)) {
                    tx.reserve("data_key", "owner", &owners)?;
                    tx.execute(
                        "DELETE FROM data_key WHERE owner = ANY($1) AND purpose <> $2",
                        &[owners, kept.into()],
                    )?;
                }
                Ok(())
            })
            .await
            .map_err(|error: StoreError| error.into())
    }

    /// Destroys one key.
    ///
    /// # Errors
    ///
    /// [`VaultError`] where it may still be there.
    pub async fn destroy_one(&self, owner: Uuid, purpose: Purpose) -> Result<(), VaultError> {
        self.store
            .write(move |tx| {
                tx.execute(
                    "DELETE FROM data_key WHERE owner = $1 AND purpose = $2",
                    &[owner.to_string().into(), purpose.as_str().into()],
                )
                .map(drop)
            })
            .await
            .map_err(|error: StoreError| error.into())
    }

    /// Owners after this one, in order, that have had keys since before this time: candidates for a sweep of keys whose
    /// data never came, or is gone.
    ///
    /// # Errors
    ///
    /// [`VaultError`] where the key store did not answer.
    pub async fn owners_since_before(
        &self,
        time: Timestamp,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<Uuid>, VaultError> {
        self.store
            .read(move |tx| {
                let after = after.map_or_else(String::new, |owner| owner.to_string());
                let rows = tx.query(
                    "SELECT DISTINCT owner FROM data_key WHERE created_at < $1 AND owner > $2 ORDER BY owner LIMIT $3",
                    &[time.as_millisecond().into(), after.into(), limit.into()],
                )?;
                rows.iter().map(|row| row.parse(0)).collect()
            })
            .await
            .map_err(|error: StoreError| error.into())
    }
}

/// A data key to be kept, wrapped.
struct NewKey {
    owner: Uuid,
    purpose: Purpose,
    wrapped: Vec<u8>,
    by: KeyId,
    at: Timestamp,
}

/// Keeps data keys.
fn insert(tx: &mut Tx<'_>, made: &[Vec<NewKey>]) -> Result<Vec<()>, StoreError> {
    let row = |key: &NewKey| {
        [
            key.owner.to_string().into(),
            key.purpose.as_str().into(),
            key.wrapped.as_slice().into(),
            key.at.as_millisecond().into(),
            key.by.bytes().into(),
        ]
    };
    tx.insert(
        Insert::into("data_key (owner, purpose, wrapped, created_at, wrapped_by)"),
        &made.iter().flatten().map(row).collect::<Vec<_>>(),
    )?;
    Ok(vec![(); made.len()])
}

/// Finds wrapped data keys: a statement for many.
fn find(tx: &mut Tx<'_>, sought: &[(Uuid, Purpose)]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
    let mut found = HashMap::new();
    let purposes: BTreeSet<&str> = sought.iter().map(|(_, purpose)| purpose.as_str()).collect();
    let purposes = Value::list(purposes.into_iter().map(Value::from).collect());
    // The purpose is not compared as it stands: there is an index of all keys by their purpose, which PostgreSQL may read through.
    let sql = "SELECT owner, purpose, wrapped FROM data_key WHERE owner = ANY($1) AND purpose || '' = ANY($2)";
    for owners in Value::lists(sought.iter().map(|(owner, _)| owner.to_string())) {
        for row in tx.query(sql, &[owners, purposes.clone()])? {
            let owner: Uuid = row.parse(0)?;
            found.insert((owner, row.text(1)?.to_owned()), row.blob(2)?.to_vec());
        }
    }
    let wrapped = |(owner, purpose): &(Uuid, Purpose)| found.get(&(*owner, purpose.as_str().to_owned())).cloned();
    Ok(sought.iter().map(wrapped).collect())
}
