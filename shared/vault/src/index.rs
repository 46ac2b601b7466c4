//! Keyed digests: how a repeat is recognised, and a deleted submission found, without keeping what was digested.
//!
//! A month is an epoch with a random key of its own, wrapped by the index key. When an epoch's key is destroyed, its
//! digests link to nobody: they cannot be tried against guesses any more.

use std::sync::{Arc, RwLock};

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use sha2::Sha256;
use store::StoreError;
use zeroize::Zeroizing;

use crate::ring::Ring;
use crate::seal::{DataKey, NONCE, nonce};
use crate::{Reread, Vault, VaultError};

/// How old a copy of the epochs' keys may be: bounds how long a destroyed epoch can still be used.
const FRESH: SignedDuration = SignedDuration::from_secs(60);

/// A digest, and the epoch whose key made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// The epoch: months since the year 0.
    pub epoch: i64,
    /// 32 bytes.
    pub bytes: Vec<u8>,
}

/// The keys of all live epochs, and what the index key itself gives.
pub struct Index {
    /// The newest last.
    epochs: Vec<(i64, DataKey)>,
    root: DataKey,
    read_at: Timestamp,
}

#[derive(Default)]
pub(crate) struct Cache(RwLock<Option<Arc<Index>>>);

impl Cache {
    pub(crate) fn forget(&self) {
        if let Ok(mut cached) = self.0.write() {
            *cached = None;
        }
    }
}

/// The row of the secret that names are made with; it stays when the index key is changed. Epochs are positive.
const ROOT: i64 = -2;

impl Index {
    /// The digest under the current epoch.
    #[must_use]
    pub fn digest(&self, label: &str, parts: &[&[u8]]) -> Digest {
        let (epoch, key) = self.epochs.last().expect("an index has its current epoch");
        Digest {
            epoch: *epoch,
            bytes: hmac(key.bytes(), label, parts),
        }
    }

    /// The digests under every live epoch: what to look for.
    #[must_use]
    pub fn digests(&self, label: &str, parts: &[&[u8]]) -> Vec<Digest> {
        let digest = |(epoch, key): &(i64, DataKey)| Digest {
            epoch: *epoch,
            bytes: hmac(key.bytes(), label, parts),
        };
        self.epochs.iter().map(digest).collect()
    }

    /// A name that stays the same for ever, such as a Message-ID: a digest under the index key itself.
    #[must_use]
    pub fn name(&self, label: &str, parts: &[&[u8]]) -> Vec<u8> {
        hmac(self.root.bytes(), label, parts)
    }
}

/// The epoch of a time: its month in UTC, counted from the year 0.
#[must_use]
pub fn epoch_of(time: Timestamp) -> i64 {
    let date = time.to_zoned(TimeZone::UTC);
    i64::from(date.year()) * 12 + i64::from(date.month()) - 1
}

/// When an epoch ends: the first instant of the next month in UTC.
fn end_of(epoch: i64) -> Option<Timestamp> {
    let next = epoch + 1;
    let date = jiff::civil::Date::new(i16::try_from(next / 12).ok()?, i8::try_from(next % 12 + 1).ok()?, 1).ok()?;
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// HMAC-SHA-256 over a label and parts, each with its length before it, so that parts cannot run into each other.
fn hmac(key: &[u8], label: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes any key");
    for part in std::iter::once(&label.as_bytes()).chain(parts) {
        mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

impl Vault {
    /// The index with the current epoch, making its key where it is the first of its month.
    ///
    /// # Errors
    ///
    /// [`VaultError`] where the key store did not answer, or this program has no index key.
    pub async fn index(&self, now: Timestamp) -> Result<Arc<Index>, VaultError> {
        let cached = self.index.0.read().ok().and_then(|cached| cached.clone());
        if let Some(index) = cached
            && now.duration_since(index.read_at).abs() < FRESH
            && index.epochs.last().is_some_and(|(epoch, _)| *epoch == epoch_of(now))
        {
            return Ok(index);
        }
        let read = match self.read_index(now).await {
            // Another process may have begun to use a new index key that this one has not read yet.
            Err(VaultError::Damaged) if self.reread().await? == Reread::Changed => self.read_index(now).await,
            read => read,
        };
        let index = Arc::new(read?);
        if let Ok(mut cached) = self.index.0.write() {
            *cached = Some(Arc::clone(&index));
        }
        Ok(index)
    }

    async fn read_index(&self, now: Timestamp) -> Result<Index, VaultError> {
        let keys = self.keys();
        let ring = keys.index.as_ref().ok_or(VaultError::NoIndexKey)?;
        let current = epoch_of(now);
        let mut rows = self.read_epochs().await?;
        for missing in [ROOT, current] {
            if !rows.iter().any(|(id, _)| *id == missing) {
                let key = match missing {
                    ROOT => {
                        DataKey::from_bytes(&*derive(ring.oldest(), b"kvit index root")).ok_or(VaultError::Damaged)?
                    }
                    _ => DataKey::random()?,
                };
                self.add_epoch(missing, wrap_epoch(ring, missing, &key)?).await?;
                rows = self.read_epochs().await?;
            }
        }
        let open = |(id, wrapped): (i64, Vec<u8>)| Ok((id, unwrap_epoch(ring, id, &wrapped)?));
        let mut epochs: Vec<_> = rows.into_iter().map(open).collect::<Result<_, VaultError>>()?;
        let root = epochs
            .iter()
            .position(|(id, _)| *id == ROOT)
            .map(|place| epochs.remove(place));
        let (_, root) = root.ok_or(VaultError::Damaged)?;
        // A clock that went back must not digest under an epoch of the future.
        epochs.sort_by_key(|(id, _)| (*id == current, *id));
        Ok(Index {
            epochs,
            root,
            read_at: now,
        })
    }

    async fn read_epochs(&self) -> Result<Vec<(i64, Vec<u8>)>, VaultError> {
        self.store
            .read(|tx| {
                let rows = tx.query("SELECT id, wrapped FROM epoch ORDER BY id", &[])?;
                rows.iter()
                    .map(|row| Ok((row.int(0)?, row.blob(1)?.to_vec())))
                    .collect()
            })
            .await
            .map_err(|error: StoreError| error.into())
    }

    /// How many epochs a ring does not open; 0 where there is none.
    pub(crate) async fn epochs_beyond(&self, ring: Option<&Ring>) -> Result<usize, VaultError> {
        let Some(ring) = ring else { return Ok(0) };
        let epochs = self.read_epochs().await?;
        let closed = |(id, wrapped): &&(i64, Vec<u8>)| unwrap_epoch(ring, *id, wrapped).is_err();
        Ok(epochs.iter().filter(closed).count())
    }

    async fn add_epoch(&self, id: i64, wrapped: Vec<u8>) -> Result<(), VaultError> {
        self.store
            .write(move |tx| {
                tx.execute(
                    "INSERT INTO epoch (id, wrapped) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING",
                    &[id.into(), wrapped.into()],
                )
                .map(drop)
            })
            .await
            .map_err(|error: StoreError| error.into())
    }

    /// The epochs whose keys live, the current one among them.
    ///
    /// # Errors
    ///
    /// [`VaultError`] where the key store did not answer.
    pub async fn epochs(&self, now: Timestamp) -> Result<Vec<i64>, VaultError> {
        let index = self.index(now).await?;
        Ok(index.epochs.iter().map(|(id, _)| *id).collect())
    }

    /// Destroys the keys of epochs that ended longer than `link` ago and are older than `needed`, under which something is
    /// still to be recognised; answers which they were.
    ///
    /// # Errors
    ///
    /// [`VaultError`] where they may still be there.
    pub async fn forget_epochs(
        &self,
        link: SignedDuration,
        needed: Option<i64>,
        now: Timestamp,
    ) -> Result<Vec<i64>, VaultError> {
        let over = |id: &i64| {
            *id >= 0
                && end_of(*id).is_some_and(|end| now.duration_since(end) >= link)
                && needed.is_none_or(|needed| *id < needed)
        };
        let ids: Vec<i64> = self
            .read_epochs()
            .await?
            .into_iter()
            .map(|(id, _)| id)
            .filter(over)
            .collect();
        let gone = ids.clone();
        self.store
            .write(move |tx| {
                for id in gone {
                    tx.execute("DELETE FROM epoch WHERE id = $1", &[id.into()])?;
                }
                Ok(())
            })
            .await
            .map_err(|error: StoreError| VaultError::from(error))?;
        self.index.forget();
        Ok(ids)
    }

    /// Wraps the epochs' keys by the current index key; answers how many another one wrapped before.
    ///
    /// # Errors
    ///
    /// [`VaultError`]; what was wrapped anew before it stays so.
    pub async fn rewrap_epochs(&self) -> Result<u64, VaultError> {
        let keys = self.keys();
        let ring = keys.index.as_ref().ok_or(VaultError::NoIndexKey)?;
        let mut anew = Vec::new();
        for (id, old) in self.read_epochs().await? {
            if open_epoch(&cipher_of(ring.current()), id, &old).is_none() {
                let key = unwrap_epoch(ring, id, &old)?;
                anew.push((id, old, wrap_epoch(ring, id, &key)?));
            }
        }
        let replaced: Result<u64, StoreError> = self
            .store
            .write(move |tx| {
                let mut changed = 0;
                for (id, old, new) in anew {
                    changed += tx.execute(
                        "UPDATE epoch SET wrapped = $3 WHERE id = $1 AND wrapped = $2",
                        &[id.into(), old.into(), new.into()],
                    )?;
                }
                Ok(changed)
            })
            .await;
        Ok(replaced?)
    }
}

fn derive(key: &[u8; 32], info: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut derived = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, key)
        .expand(info, derived.as_mut_slice())
        .expect("32 bytes are within HKDF's limit");
    derived
}

fn cipher_of(key: &[u8; 32]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new((&*derive(key, b"kvit index epochs")).into())
}

fn wrap_epoch(ring: &Ring, id: i64, key: &DataKey) -> Result<Vec<u8>, VaultError> {
    let nonce = nonce()?;
    let aad = id.to_be_bytes();
    let wrapped = cipher_of(ring.current())
        .encrypt(
            &nonce,
            Payload {
                msg: key.bytes(),
                aad: &aad,
            },
        )
        .map_err(|_| VaultError::Damaged)?;
    Ok([nonce.as_slice(), &wrapped].concat())
}

fn unwrap_epoch(ring: &Ring, id: i64, wrapped: &[u8]) -> Result<DataKey, VaultError> {
    ring.all()
        .find_map(|key| open_epoch(&cipher_of(key), id, wrapped))
        .ok_or(VaultError::Damaged)
}

fn open_epoch(cipher: &XChaCha20Poly1305, id: i64, wrapped: &[u8]) -> Option<DataKey> {
    let (nonce, sealed) = wrapped.split_at_checked(NONCE)?;
    let nonce = XNonce::try_from(nonce).ok()?;
    let aad = id.to_be_bytes();
    let key = cipher.decrypt(&nonce, Payload { msg: sealed, aad: &aad }).ok()?;
    DataKey::from_bytes(&Zeroizing::new(key))
}
