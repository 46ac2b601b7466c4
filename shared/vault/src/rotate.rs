//! Changing wrapping keys while services run: the keys are read again where they changed, and what an earlier key
//! wrapped is wrapped anew, row by row, so that whoever dies in the middle has done no harm.

use std::sync::Arc;

use store::{StoreError, Value};
use uuid::Uuid;

use crate::ring::KeyId;
use crate::{Purpose, Vault, VaultError, WrappingKeys};

/// How many data keys are wrapped anew in one transaction.
const BATCH: u32 = 500;

/// Reads the wrapping keys again, from wherever they are kept.
pub(crate) type Source = Arc<dyn Fn() -> Option<WrappingKeys> + Send + Sync>;

/// What came of wrapping anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// How many data keys the current key wraps now, and another did before.
    pub changed: u64,
    /// How many no key of the ring opens.
    pub unreadable: u64,
    /// How many there were not time for.
    pub left: u64,
}

/// What became of reading the wrapping keys again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reread {
    /// They are as they were, or cannot be read now.
    Same,
    /// They changed, and are in use.
    Changed,
    /// They changed, and are not used: what these keys are for (a purpose, or the index) is still wrapped by one that is
    /// not among them.
    Needed(&'static str),
}

impl Vault {
    /// The same vault, which reads its wrapping keys again from this source when they may have changed.
    #[must_use]
    pub fn reading(mut self, source: impl Fn() -> Option<WrappingKeys> + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Reads the wrapping keys again, and uses them where they changed. A ring that lacks a key which is still needed is
    /// not taken: the old one serves on.
    ///
    /// # Errors
    ///
    /// [`VaultError`] where the key store did not say what is needed; then nothing changed.
    pub async fn reread(&self) -> Result<Reread, VaultError> {
        let Some(keys) = self.source.as_ref().and_then(|source| source()) else {
            return Ok(Reread::Same);
        };
        if keys == *self.keys() {
            return Ok(Reread::Same);
        }
        let current = self.keys();
        for purpose in Purpose::ALL {
            // What the old ring does not open either is no reason to keep it.
            let lost = self.beyond(&keys, purpose).await?;
            if lost > self.beyond(&current, purpose).await? {
                return Ok(Reread::Needed(purpose.as_str()));
            }
        }
        let lost = self.epochs_beyond(keys.index.as_ref()).await?;
        if lost > self.epochs_beyond(current.index.as_ref()).await? {
            return Ok(Reread::Needed("index"));
        }
        if let Ok(mut current) = self.wrapping.write() {
            *current = Arc::new(keys);
        }
        self.index.forget();
        Ok(Reread::Changed)
    }

    /// How many data keys of a purpose are wrapped by a key that this program was not given; 0 where it was given none.
    ///
    /// # Errors
    ///
    /// [`VaultError`] where the key store did not answer.
    pub async fn unreachable(&self, purpose: Purpose) -> Result<u64, VaultError> {
        self.beyond(&self.keys(), purpose).await
    }

    async fn beyond(&self, keys: &WrappingKeys, purpose: Purpose) -> Result<u64, VaultError> {
        let Some(ring) = keys.ring(purpose) else { return Ok(0) };
        let known: Vec<Vec<u8>> = ring.ids().into_iter().map(KeyId::bytes).collect();
        let counted: Result<(u64, bool), StoreError> = self
            .store
            .read(move |tx| {
                let rows = tx.query(
                    "SELECT wrapped_by, COUNT(*) FROM data_key WHERE purpose = $1 GROUP BY wrapped_by",
                    &[purpose.as_str().into()],
                )?;
                let (mut beyond, mut unsaid) = (0, false);
                for row in &rows {
                    match row.opt_blob(0)? {
                        None => unsaid = true,
                        Some(by) if known.iter().any(|id| id == by) => {}
                        Some(_) => beyond += u64::try_from(row.int(1)?).unwrap_or(0),
                    }
                }
                Ok((beyond, unsaid))
            })
            .await;
        let (beyond, unsaid) = counted?;
        let unsaid = if unsaid {
            self.unsaid_beyond(keys, purpose).await?
        } else {
            0
        };
        Ok(beyond + unsaid)
    }

    /// Of the data keys that an earlier version wrapped, which did not say by which key: how many none of these opens.
    async fn unsaid_beyond(&self, keys: &WrappingKeys, purpose: Purpose) -> Result<u64, VaultError> {
        let (mut beyond, mut after) = (0, String::new());
        loop {
            let from = after.clone();
            let rows: Result<Vec<(Uuid, Vec<u8>)>, StoreError> = self
                .store
                .read(move |tx| {
                    let rows = tx.query(
                        "SELECT owner, wrapped FROM data_key WHERE purpose = $1 AND owner > $2 AND wrapped_by IS NULL
                         ORDER BY owner LIMIT $3",
                        &[purpose.as_str().into(), from.into(), BATCH.into()],
                    )?;
                    rows.iter()
                        .map(|row| Ok((row.parse(0)?, row.blob(1)?.to_vec())))
                        .collect()
                })
                .await;
            let rows = rows?;
            let Some((last, _)) = rows.last() else {
                return Ok(beyond);
            };
            after = last.to_string();
            let closed = |(owner, wrapped): &&(Uuid, Vec<u8>)| keys.unwrap(*owner, purpose, wrapped).is_err();
            beyond += u64::try_from(rows.iter().filter(closed).count()).unwrap_or(0);
        }
    }

    /// The ids of the keys that this program wraps with now.
    #[must_use]
    pub fn key_ids(&self) -> Vec<(Purpose, KeyId)> {
        let keys = self.keys();
        let of = |purpose: Purpose| Some((purpose, keys.ring(purpose)?.id()));
        Purpose::ALL.into_iter().filter_map(of).collect()
    }

    /// Wraps by the current key what an earlier one of the ring wrapped, as long as `go_on` says so.
    ///
    /// # Errors
    ///
    /// [`VaultError`]; what was wrapped anew before it stays so.
    pub async fn rewrap(&self, purpose: Purpose, go_on: impl Fn() -> bool) -> Result<Rewrapped, VaultError> {
        let keys = self.keys();
        let ring = keys.ring(purpose).ok_or(VaultError::NoWrappingKey(purpose))?;
        let mut done = Rewrapped::default();
        let mut after = String::new();
        loop {
            let rows = self.not_wrapped_by(ring.id(), purpose, after).await?;
            let Some((last, _)) = rows.last() else { return Ok(done) };
            after = last.to_string();
            let mut anew = Vec::with_capacity(rows.len());
            for (owner, old) in rows {
                match keys.unwrap(owner, purpose, &old) {
                    Ok(key) => anew.push((owner, old, keys.wrap(owner, purpose, &key)?)),
                    Err(_) => done.unreadable += 1,
                }
            }
            done.changed += self.replace(purpose, ring.id(), anew).await?;
            if !go_on() {
                // One that could not be read may have been deleted meanwhile.
                let left = self.count_not_wrapped_by(ring.id(), purpose).await?;
                done.left = left.saturating_sub(done.unreadable);
                return Ok(done);
            }
        }
    }

    async fn not_wrapped_by(
        &self,
        id: KeyId,
        purpose: Purpose,
        after: String,
    ) -> Result<Vec<(Uuid, Vec<u8>)>, VaultError> {
        let found: Result<Vec<_>, StoreError> = self
            .store
            .read(move |tx| {
                let rows = tx.query(
                    "SELECT owner, wrapped FROM data_key WHERE purpose = $1 AND owner > $2
                     AND (wrapped_by IS NULL OR wrapped_by <> $3) ORDER BY owner LIMIT $4",
                    &[purpose.as_str().into(), after.into(), id.bytes().into(), BATCH.into()],
                )?;
                rows.iter()
                    .map(|row| Ok((row.parse(0)?, row.blob(1)?.to_vec())))
                    .collect()
            })
            .await;
        Ok(found?)
    }

    async fn count_not_wrapped_by(&self, id: KeyId, purpose: Purpose) -> Result<u64, VaultError> {
        let counted: Result<i64, StoreError> = self
            .store
            .read(move |tx| {
                let row = tx.one(
                    "SELECT COUNT(*) FROM data_key WHERE purpose = $1 AND (wrapped_by IS NULL OR wrapped_by <> $2)",
                    &[purpose.as_str().into(), id.bytes().into()],
                )?;
                row.map_or(Ok(0), |row| row.int(0))
            })
            .await;
        Ok(u64::try_from(counted?).unwrap_or(0))
    }

    /// Replaces wraps that are still those that were read: a key that was destroyed meanwhile does not come back.
    async fn replace(
        &self,
        purpose: Purpose,
        id: KeyId,
        anew: Vec<(Uuid, Vec<u8>, Vec<u8>)>,
    ) -> Result<u64, VaultError> {
        let replaced: Result<u64, StoreError> = self
            .store
            .write(move |tx| {
                let mut changed = 0;
                for (owner, old, new) in anew {
                    changed += tx.execute(
                        "UPDATE data_key SET wrapped = $4, wrapped_by = $5
                         WHERE owner = $1 AND purpose = $2 AND wrapped = $3",
                        &[
                            owner.to_string().into(),
                            purpose.as_str().into(),
                            Value::from(old),
                            new.into(),
                            id.bytes().into(),
                        ],
                    )?;
                }
                Ok(changed)
            })
            .await;
        Ok(replaced?)
    }
}
