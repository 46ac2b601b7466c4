//! The journal's copies before they are entries: marked by a person, given up, or waiting for their target.

use domain::{DutyId, Reason, SubmissionId};
use jiff::Timestamp;
use store::{StoreError, Tx, Value};
use uuid::Uuid;

use super::NewCase;
use crate::duty::{reserve_duties, settle};
use crate::outbox::{leaf, leaf_by};
use crate::read::time;
use crate::{Ledger, Outcome};

/// What became of marking a submission for the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    /// So many copies are on their way.
    Now(u64),
    /// It was marked before, or needs no mark.
    Before,
    /// No copy waits: given up, or never made.
    NoCopy,
}

impl Ledger {
    /// Marks a submission for the journal (J1), as an audited act: its copies, which waited for that, are due now.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn mark(
        &self,
        submission: SubmissionId,
        case: Option<NewCase>,
        actor: String,
        now: Timestamp,
    ) -> Result<Marked, StoreError> {
        self.write(move |tx| {
            let id = submission.to_string();
            let marked = tx.execute(
                "UPDATE duty SET state = 'ready', next_at = $2, expires_at = NULL
                 WHERE submission = $1 AND kind = 'journal' AND state = 'held' AND reason IS NULL",
                &[id.as_str().into(), now.as_millisecond().into()],
            )?;
            if marked == 0 {
                let others = tx.one(
                    "SELECT 1 FROM duty WHERE submission = $1 AND kind = 'journal' AND state <> 'cancelled' LIMIT 1",
                    &[id.into()],
                )?;
                return Ok(if others.is_some() {
                    Marked::Before
                } else {
                    Marked::NoCopy
                });
            }
            if let Some(case) = case {
                tx.execute(
                    "INSERT INTO journal_marked (submission, case_number, title) VALUES ($1, $2, $3)
                     ON CONFLICT (submission) DO UPDATE SET case_number = $2, title = $3",
                    &[id.as_str().into(), case.number.into(), case.title.into()],
                )?;
            }
            leaf_by(tx, None, "journal.mark", now, Some(&id), Some(&actor))?;
            leaf(tx, Some(&id), "journal_marked", now, None, None)?;
            Ok(Marked::Now(marked))
        })
        .await
    }

    /// Gives up copies that nobody marked in time: their payloads go here, and their keys must be destroyed now. Answers
    /// whose they are.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then nothing was given up.
    pub async fn give_up_unmarked(&self, now: Timestamp, limit: u32) -> Result<Vec<Uuid>, StoreError> {
        self.write(move |tx| {
            let rows = tx.query(
                "SELECT id, submission FROM duty WHERE expires_at IS NOT NULL AND expires_at <= $1
                 AND state = 'held' AND reason IS NULL ORDER BY submission, id LIMIT $2",
                &[now.as_millisecond().into(), limit.into()],
            )?;
            let mut owners = Vec::new();
            for row in &rows {
                let duty: DutyId = row.parse(0)?;
                settle(tx, duty, None, Outcome::Cancel(Reason::Unmarked), now)?;
                owners.extend(row.opt_text(1)?.and_then(|id| id.parse::<Uuid>().ok()));
            }
            owners.dedup();
            Ok(owners)
        })
        .await
    }

    /// Which of these submissions have no copy left that waits for a journal: their journal key can go.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn without_journal_copy(&self, owners: Vec<Uuid>) -> Result<Vec<Uuid>, StoreError> {
        self.read(move |tx| {
            let mut without = Vec::new();
            for owner in owners {
                if !has_copy(tx, &owner.to_string())? {
                    without.push(owner);
                }
            }
            Ok(without)
        })
        .await
    }

    /// The target can be written to again: what waited for it is due now. Answers how many.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn target_is_back(&self, target: String, reasons: &[Reason], now: Timestamp) -> Result<u64, StoreError> {
        let words: Vec<String> = reasons.iter().map(|reason| format!("'{reason}'")).collect();
        self.write(move |tx| {
            let waits = format!(
                "kind = 'journal' AND role = $1
                 AND ((state = 'ready' AND next_at > $2 AND attempts > 0) OR (state = 'held' AND reason IN ({})))",
                words.join(", ")
            );
            let values: [Value; 2] = [target.into(), now.as_millisecond().into()];
            let waiting = tx.query(&format!("SELECT id FROM duty WHERE {waits}"), &values)?;
            let ids = waiting.iter().map(|row| row.parse(0)).collect::<Result<_, _>>()?;
            reserve_duties(tx, ids)?;
            tx.execute(
                &format!("UPDATE duty SET state = 'ready', next_at = $2, reason = NULL WHERE {waits}"),
                &values,
            )
        })
        .await
    }

    /// Sends what failed or waits for one target to another, as an audited act. Answers how many duties changed.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn retarget(
        &self,
        submission: Option<SubmissionId>,
        (from, to): (String, String),
        actor: String,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.write(move |tx| {
            let submission = submission.map(|id| id.to_string());
            let rows = tx.query(
                "SELECT id, submission FROM duty WHERE kind = 'journal' AND role = $1 AND state IN ('ready', 'held', 'failed')
                 AND NOT (state = 'held' AND reason IS NULL) AND (CAST($2 AS TEXT) IS NULL OR submission = $2)",
                &[from.as_str().into(), submission.into()],
            )?;
            let ids = rows.iter().map(|row| row.parse(0)).collect::<Result<_, _>>()?;
            reserve_duties(tx, ids)?;
            let mut changed = 0;
            for row in &rows {
                let moved = tx.execute(
                    "UPDATE duty SET role = $2, state = 'ready', reason = NULL, next_at = $3
                     WHERE id = $1 AND state IN ('ready', 'held', 'failed')",
                    &[row.text(0)?.into(), to.as_str().into(), now.as_millisecond().into()],
                )?;
                if moved > 0 {
                    tx.execute("DELETE FROM journal_progress WHERE duty = $1", &[row.text(0)?.into()])?;
                    leaf(tx, row.opt_text(1)?, "journal_retargeted", now, None, None)?;
                }
                changed += moved;
            }
            if changed > 0 {
                let on = format!("from {from} to {to}, matched {changed}");
                leaf_by(tx, None, "journal.retarget", now, Some(&on), Some(&actor))?;
            }
            Ok(changed)
        })
        .await
    }

    /// When the oldest submission came that belongs in a journal and is in none yet (J2); one that waits to be marked
    /// does not count.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn oldest_unjournalised(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|tx| {
            let row = tx.one(
                "SELECT MIN(created_at) FROM duty WHERE kind = 'journal' AND test = 0
                 AND (state IN ('ready', 'sending', 'failed') OR (state = 'held' AND reason IS NOT NULL))",
                &[],
            )?;
            Ok(row.map(|row| row.opt_int(0)).transpose()?.flatten().map(time))
        })
        .await
    }

    /// How far a sequence with an outside journal has come, where it was left half done.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn journal_progress(&self, duty: DutyId) -> Result<Option<String>, StoreError> {
        self.read(move |tx| {
            let row = tx.one(
                "SELECT step FROM journal_progress WHERE duty = $1",
                &[duty.to_string().into()],
            )?;
            row.map(|row| row.text(0).map(str::to_owned)).transpose()
        })
        .await
    }

    /// Remembers how far a sequence with an outside journal has come: ids of theirs alone.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn note_journal_progress(&self, duty: DutyId, step: String) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(
                "INSERT INTO journal_progress (duty, step) VALUES ($1, $2) ON CONFLICT (duty) DO UPDATE SET step = $2",
                &[duty.to_string().into(), step.into()],
            )
            .map(drop)
        })
        .await
    }
}

fn has_copy(tx: &mut Tx<'_>, owner: &str) -> Result<bool, StoreError> {
    let row = tx.one(
        "SELECT 1 FROM payload WHERE owner = $1 AND purpose = 'journal' LIMIT 1",
        &[owner.into()],
    )?;
    Ok(row.is_some())
}
