//! The end of entries: the purge decides, the journaliser removes the content, and what is left says so (D4–D7).

use domain::retention::{Retention, retention};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use store::StoreError;

use super::JOURNAL_LOCK;
use super::view::{ENTRY, EntryRow, entry, versions};
use crate::Ledger;
use crate::outbox::leaf;

/// An entry whose content is to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndingEntry {
    /// The entry.
    pub id: String,
    /// The files of its versions, below the journal's folder.
    pub files: Vec<String>,
}

impl Ledger {
    /// Entries whose period is over, after this one in order: those that the purge decides about.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn journal_due(&self, after: String, now: Timestamp, limit: u32) -> Result<Vec<EntryRow>, StoreError> {
        self.read(move |tx| {
            let sql =
                format!("{ENTRY} WHERE e.state = 'archived' AND e.due_at <= $1 AND e.id > $2 ORDER BY e.id LIMIT $3");
            let rows = tx.query(&sql, &[now.as_millisecond().into(), after.into(), limit.into()])?;
            rows.iter().map(entry).collect()
        })
        .await
    }

    /// Entries of closed cases that still have their content, after this one in order: those that a purge decides about,
    /// now or later.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn journal_archived(&self, after: String, limit: u32) -> Result<Vec<EntryRow>, StoreError> {
        self.read(move |tx| {
            let sql = format!("{ENTRY} WHERE e.state = 'archived' AND e.id > $1 ORDER BY e.id LIMIT $2");
            let rows = tx.query(&sql, &[after.into(), limit.into()])?;
            rows.iter().map(entry).collect()
        })
        .await
    }

    /// Begins the end of those entries that retention lets go now; answers how many. The journaliser removes the content.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then none began.
    pub async fn begin_ending(&self, ids: Vec<String>, zone: TimeZone, now: Timestamp) -> Result<usize, StoreError> {
        self.write(move |tx| {
            tx.lock(JOURNAL_LOCK)?;
            let mut begun = 0;
            for id in ids {
                let row = tx.one(
                    &format!("{ENTRY} WHERE e.id = $1 AND e.state = 'archived'"),
                    &[id.as_str().into()],
                )?;
                let Some(row) = row else { continue };
                let Retention::Ends(ending) = retention(&entry(&row)?.facts(), &zone, now) else {
                    continue;
                };
                tx.execute(
                    "UPDATE journal_entry SET state = 'ending', ending = $2 WHERE id = $1",
                    &[id.as_str().into(), ending.as_str().into()],
                )?;
                begun += 1;
            }
            Ok(begun)
        })
        .await
    }

    /// Entries whose end has begun.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn journal_ending(&self, limit: u32) -> Result<Vec<EndingEntry>, StoreError> {
        self.read(move |tx| {
            let rows = tx.query(
                "SELECT id FROM journal_entry WHERE state = 'ending' ORDER BY id LIMIT $1",
                &[limit.into()],
            )?;
            rows.iter()
                .map(|row| {
                    let id = row.text(0)?.to_owned();
                    let files = versions(tx, &id)?.into_iter().map(|version| version.file).collect();
                    Ok(EndingEntry { id, files })
                })
                .collect()
        })
        .await
    }

    /// The content of an entry is gone. What stays is that it was there, and the rule by which it went; parties and
    /// annotations go with the content.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn journal_ended(&self, id: String, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| {
            let row = tx.one(
                "SELECT ending FROM journal_entry WHERE id = $1 AND state = 'ending'",
                &[id.as_str().into()],
            )?;
            let Some(row) = row else { return Ok(()) };
            let ending = row.opt_text(0)?.unwrap_or("deleted").to_owned();
            tx.execute(
                "UPDATE journal_entry SET state = $2, ended_at = $3 WHERE id = $1",
                &[id.as_str().into(), ending.as_str().into(), now.as_millisecond().into()],
            )?;
            tx.execute("DELETE FROM journal_party WHERE entry = $1", &[id.as_str().into()])?;
            tx.execute("DELETE FROM journal_annotation WHERE entry = $1", &[id.as_str().into()])?;
            leaf(
                tx,
                Some(&id),
                &format!("journal_{ending}"),
                now,
                Some("period_over"),
                None,
            )
        })
        .await
    }
}
