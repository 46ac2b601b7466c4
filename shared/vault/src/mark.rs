//! How far the evidence has come, noted beside the keys: a ledger that is behind it was restored from a backup.

use store::StoreError;

use crate::Vault;

impl Vault {
    /// Notes that a log of the evidence was signed over so many leaves.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn note_evidence(&self, origin: String, size: u64) -> Result<(), StoreError> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        self.store
            .write(move |tx| {
                tx.execute(
                    "INSERT INTO evidence (origin, size) VALUES ($1, $2)
                     ON CONFLICT (origin) DO UPDATE SET size = $2 WHERE evidence.size < $2",
                    &[origin.into(), size.into()],
                )
                .map(drop)
            })
            .await
    }

    /// Each log of the evidence, and over how many leaves it is known to have been signed.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn noted_evidence(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.store
            .read(|tx| {
                let rows = tx.query("SELECT origin, size FROM evidence ORDER BY origin", &[])?;
                rows.iter()
                    .map(|row| Ok((row.text(0)?.to_owned(), u64::try_from(row.int(1)?).unwrap_or(0))))
                    .collect()
            })
            .await
    }
}
