//! Packages for an archive, and its acknowledgement (D6).

use jiff::Timestamp;
use serde::Serialize;
use store::StoreError;

use super::view::{ENTRY, EntryRow, entry};
use crate::Ledger;
use crate::outbox::{leaf, leaf_by};
use crate::read::time;

/// A package that was made for an archive.
#[derive(Debug, Clone, Serialize)]
pub struct Package {
    /// Its id, which the archive acknowledges.
    pub id: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// When it was acknowledged.
    pub acknowledged_at: Option<Timestamp>,
    /// How many entries it holds.
    pub entries: i64,
}

impl Ledger {
    /// Entries of closed cases that an archive is to have and was not given as they stand now.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn to_hand_over(&self, limit: u32) -> Result<Vec<EntryRow>, StoreError> {
        self.read(move |tx| {
            let sql = format!(
                "{ENTRY} WHERE e.state = 'archived' AND e.archive = 'preserve' AND NOT EXISTS
                     (SELECT 1 FROM journal_handover h JOIN journal_handed d ON d.handover = h.id
                         WHERE d.entry = e.id AND h.made_at >= e.changed_at)
                 ORDER BY e.received_at, e.id LIMIT $1"
            );
            tx.query(&sql, &[limit.into()])?.iter().map(entry).collect()
        })
        .await
    }

    /// Records that a package with these entries was made, as an audited act.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn handed_over(
        &self,
        id: String,
        entries: Vec<String>,
        actor: String,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            leaf_by(tx, None, "journal.handover", now, Some(&id), Some(&actor))?;
            tx.execute(
                "INSERT INTO journal_handover (id, made_at) VALUES ($1, $2)",
                &[id.as_str().into(), now.as_millisecond().into()],
            )?;
            for entry in &entries {
                tx.execute(
                    "INSERT INTO journal_handed (handover, entry) VALUES ($1, $2)",
                    &[id.as_str().into(), entry.as_str().into()],
                )?;
                leaf(tx, Some(entry), "journal_handed_over", now, None, None)?;
            }
            Ok(())
        })
        .await
    }

    /// Records that the archive has a package, as an audited act; `None` where there is none of that id.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn acknowledge(&self, id: String, actor: String, now: Timestamp) -> Result<Option<Package>, StoreError> {
        self.write(move |tx| {
            let news = tx.execute(
                "UPDATE journal_handover SET acknowledged_at = $2 WHERE id = $1 AND acknowledged_at IS NULL",
                &[id.as_str().into(), now.as_millisecond().into()],
            )?;
            let row = tx.one(
                "SELECT made_at, acknowledged_at FROM journal_handover WHERE id = $1",
                &[id.as_str().into()],
            )?;
            let Some(row) = row else { return Ok(None) };
            let entries = tx.query(
                "SELECT entry FROM journal_handed WHERE handover = $1",
                &[id.as_str().into()],
            )?;
            if news > 0 {
                leaf_by(tx, None, "journal.acknowledge", now, Some(&id), Some(&actor))?;
                for entry in &entries {
                    leaf(tx, Some(entry.text(0)?), "journal_acknowledged", now, None, None)?;
                }
            }
            Ok(Some(Package {
                made_at: time(row.int(0)?),
                acknowledged_at: row.opt_int(1)?.map(time),
                entries: i64::try_from(entries.len()).unwrap_or(i64::MAX),
                id,
            }))
        })
        .await
    }
}
