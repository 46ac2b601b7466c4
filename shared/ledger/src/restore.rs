//! Bringing a ledger that was restored from a backup up to its evidence: what the leaves record is done again, and the
//! leaves get their places last, so that a ledger is behind until nothing of it is left to do.
//!
//! What a leaf does not say cannot be done again: what was accepted since the backup is gone with the lost ledger, and
//! dates that an operator set are to be set again. [`Replayed`] counts both.

use std::collections::BTreeSet;

use domain::SubmissionId;
use jiff::Timestamp;
use store::{StoreError, Tx, Value};
use uuid::Uuid;

use crate::counter::{Counter, Scope};
use crate::facts::SubmissionFacts;
use crate::outbox::{SiteEvent, tell};
use crate::{EvidenceLeaf, Ledger};

/// What came of doing again what leaves record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Submissions whose keys are to be destroyed now, with the time at which the evidence says that they were deleted;
    /// `None` for a deletion that was begun.
    pub deleted: Vec<(SubmissionId, Option<Timestamp>)>,
    /// Kept registrations whose keys are to be destroyed now.
    pub registrations: Vec<Uuid>,
    /// Discarded messages whose keys are to be destroyed now.
    pub discarded: Vec<Uuid>,
    /// Owners of journal copies that were written, whose journal keys are to be destroyed now.
    pub journalised: Vec<Uuid>,
    /// Submissions that were deleted in the ledger by this.
    pub deletions: u64,
    /// Duties that were settled by this.
    pub settled: u64,
    /// Submissions that the ledger does not have, by Kvit's id: accepted after the backup.
    pub unknown: BTreeSet<String>,
    /// Messages that were tried again since, and stand in quarantine again.
    pub quarantined_again: u64,
    /// Acts of operators that leaves do not hold whole: dates of events, certificates.
    pub to_do_again: u64,
}

impl Ledger {
    /// Does again what these leaves record, and writes no leaf. Doing it twice changes nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then nothing was done.
    pub async fn replay(&self, leaves: Vec<EvidenceLeaf>) -> Result<Replayed, StoreError> {
        self.write(move |tx| {
            let mut replayed = Replayed::default();
            for leaf in &leaves {
                replay(tx, leaf, &mut replayed)?;
            }
            Ok(replayed)
        })
        .await
    }

    /// The keys are destroyed: ends what [`Ledger::replay`] began.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then nothing was ended.
    pub async fn replayed(&self, replayed: Replayed) -> Result<(), StoreError> {
        self.write(move |tx| {
            for (id, at) in &replayed.deleted {
                if let Some(at) = at {
                    tx.execute(
                        "UPDATE submission SET state = 'deleted', deleted_at = $2 WHERE id = $1 AND state = 'deleting'",
                        &[id.to_string().into(), at.as_millisecond().into()],
                    )?;
                }
            }
            for id in &replayed.registrations {
                tx.execute("DELETE FROM registration WHERE id = $1", &[id.to_string().into()])?;
            }
            Ok(())
        })
        .await
    }

    /// Gives leaves of a year's log their places from `from` on, adding those that the ledger lacks.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] where the log does not end at `from`: somebody else writes this ledger.
    pub async fn adopt(
        &self,
        year: i16,
        origin: String,
        from: u64,
        leaves: Vec<EvidenceLeaf>,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(
                "INSERT INTO evidence_log (year, origin, size, signed, mailed) VALUES ($1, $2, 0, 0, 0)
                 ON CONFLICT (year) DO NOTHING",
                &[i64::from(year).into(), origin.into()],
            )?;
            let mut index = i64::try_from(from).unwrap_or(i64::MAX);
            let size = tx.one_for_update(
                "SELECT size FROM evidence_log WHERE year = $1",
                &[i64::from(year).into()],
            )?;
            if size.map(|row| row.int(0)).transpose()? != Some(index) {
                return Err(StoreError::Conflict);
            }
            for leaf in &leaves {
                adopt(tx, leaf, i64::from(year), index)?;
                index += 1;
            }
            tx.execute(
                "UPDATE evidence_log SET size = $2, signed = $2 WHERE year = $1",
                &[i64::from(year).into(), index.into()],
            )
            .map(drop)
        })
        .await
    }

    /// Marks every mail that is still to be sent as one that may have gone out already: what was sent in the last moments
    /// of the lost ledger left no leaf. It goes out under the same Message-ID, and is counted. Answers how many.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn doubt_unsent(&self) -> Result<u64, StoreError> {
        self.write(move |tx| {
            tx.execute(
                "UPDATE duty SET state = 'sending', lease_owner = NULL, lease_until = 0
                 WHERE state = 'ready' AND kind IN ('department_mail', 'receipt', 'notice')",
                &[],
            )
        })
        .await
    }
}

fn replay(tx: &mut Tx<'_>, leaf: &EvidenceLeaf, replayed: &mut Replayed) -> Result<(), StoreError> {
    if let Some(duty) = &leaf.duty {
        return replay_duty(tx, leaf, duty, replayed);
    }
    let id = leaf.submission.as_deref().unwrap_or_default();
    match leaf.event.as_str() {
        "accepted" => {
            if !is_known(tx, id)? {
                replayed.unknown.insert(id.to_owned());
            }
            Ok(())
        }
        "delivered" | "deleted" => replay_deletion(tx, leaf, id, replayed),
        "files_done" | "extract_done" | "extract_cancelled" => {
            let Some((kind, state)) = leaf.event.split_once('_') else {
                return Ok(());
            };
            replayed.settled += tx.execute(
                "UPDATE duty SET state = $3, reason = NULL, done_at = $4
                 WHERE submission = $1 AND kind = $2 AND state NOT IN ('done', 'cancelled')",
                &[id.into(), kind.into(), state.into(), leaf.at.as_millisecond().into()],
            )?;
            Ok(())
        }
        "extract_confirmed" => set_once(tx, "event_extract", "confirmed_at", id, leaf.at),
        "withdrawn" => replay_withdrawal(tx, id),
        "site_copy_gone" => {
            let sql = "UPDATE submission SET site_copy = 'gone' WHERE id = $1";
            tx.execute(sql, &[id.into()]).map(drop)
        }
        "registration_deleted" => end_registration(tx, id, replayed),
        "quarantine_discarded" => discard(tx, id, leaf.at, replayed),
        "quarantine_retried" => {
            let waits = "SELECT 1 FROM quarantine WHERE id = $1 AND state = 'waiting'";
            replayed.quarantined_again += u64::from(tx.one(waits, &[id.into()])?.is_some());
            Ok(())
        }
        "event_cancelled" | "event_dates_set" | "certificate_added" => {
            replayed.to_do_again += 1;
            Ok(())
        }
        "event_erased" => erase(tx, leaf),
        _ => Ok(()),
    }
}

fn is_known(tx: &mut Tx<'_>, submission: &str) -> Result<bool, StoreError> {
    let known = tx.one("SELECT 1 FROM submission WHERE id = $1", &[submission.into()])?;
    Ok(known.is_some())
}

/// A duty's leaf says how it was settled, or what a person decided.
fn replay_duty(tx: &mut Tx<'_>, leaf: &EvidenceLeaf, duty: &str, replayed: &mut Replayed) -> Result<(), StoreError> {
    let Some((kind, what)) = leaf.event.rsplit_once('_') else {
        return Ok(());
    };
    let (state, from) = match what {
        "done" | "cancelled" => (what, "NOT IN ('done', 'cancelled')"),
        "hold" => ("held", "= 'ready'"),
        // What was released or tried again is due; how that ended is told by a later leaf.
        "release" | "retry" => ("ready", "= 'held' AND reason = 'operator'"),
        _ => return Ok(()),
    };
    let over = matches!(what, "done" | "cancelled");
    let reason = if what == "hold" {
        Some("operator")
    } else {
        leaf.rule.as_deref()
    };
    let changed = tx.execute(
        &format!(
            "UPDATE duty SET state = $2, reason = $3, done_at = $4, lease_owner = NULL, lease_until = NULL
             WHERE id = $1 AND state {from}"
        ),
        &[
            duty.into(),
            state.into(),
            reason.into(),
            over.then(|| leaf.at.as_millisecond()).into(),
        ],
    )?;
    if over {
        tx.execute("DELETE FROM payload WHERE duty = $1", &[duty.into()])?;
        replayed.settled += changed;
        if kind == "journal"
            && let Some(Ok(owner)) = leaf.submission.as_deref().map(str::parse)
        {
            replayed.journalised.push(owner);
        }
    }
    Ok(())
}

/// A deletion's first step, or both of its steps in the ledger: between them its key goes.
fn replay_deletion(tx: &mut Tx<'_>, leaf: &EvidenceLeaf, id: &str, replayed: &mut Replayed) -> Result<(), StoreError> {
    let Ok(submission) = id.parse::<SubmissionId>() else {
        return Ok(());
    };
    let ended = (leaf.event == "deleted").then_some(leaf.at);
    // Also where the ledger does not have it: the key store may be older than the ledger.
    replayed.unknown.remove(id);
    replayed.deleted.push((submission, ended));
    let row = tx.one(
        "SELECT site, form, test FROM submission WHERE id = $1 AND state IN ('open', 'deleting')",
        &[id.into()],
    )?;
    let Some(row) = row else { return Ok(()) };
    tx.execute(
        "UPDATE submission SET state = 'deleting', rule = COALESCE($2, rule) WHERE id = $1",
        &[id.into(), Value::from(leaf.rule.as_deref())],
    )?;
    tx.execute(
        "DELETE FROM payload WHERE owner = $1 AND purpose <> 'journal'",
        &[id.into()],
    )?;
    if ended.is_none() {
        return Ok(());
    }
    // Counted with the mark that lets it be counted once: the evidence names no other.
    let marked = tx.execute(
        "UPDATE submission SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL",
        &[id.into(), leaf.at.as_millisecond().into()],
    )?;
    if marked > 0 {
        let scope = Scope {
            site: row.text(0)?,
            form: row.text(1)?,
            test: row.int(2)? != 0,
        };
        scope.add(tx, Counter::Deleted, 1)?;
        replayed.deletions += 1;
    }
    Ok(())
}

fn replay_withdrawal(tx: &mut Tx<'_>, id: &str) -> Result<(), StoreError> {
    crate::registration::end_withdrawn(tx, id)?;
    tx.execute(
        "UPDATE submission SET late = 1 WHERE id = $1 AND kind = 'registration'",
        &[id.into()],
    )
    .map(drop)
}

fn end_registration(tx: &mut Tx<'_>, submission: &str, replayed: &mut Replayed) -> Result<(), StoreError> {
    let row = tx.one(
        "SELECT id FROM registration WHERE submission = $1",
        &[submission.into()],
    )?;
    let Some(row) = row else { return Ok(()) };
    tx.execute("DELETE FROM payload WHERE duty = $1", &[row.text(0)?.into()])?;
    replayed.registrations.push(row.parse(0)?);
    Ok(())
}

fn discard(tx: &mut Tx<'_>, id: &str, at: Timestamp, replayed: &mut Replayed) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE quarantine SET state = 'discarded', sealed = NULL, decided_at = $2 WHERE id = $1 AND state = 'waiting'",
        &[id.into(), at.as_millisecond().into()],
    )?;
    replayed.discarded.extend(id.parse::<Uuid>());
    Ok(())
}

fn set_once(tx: &mut Tx<'_>, table: &str, column: &str, id: &str, at: Timestamp) -> Result<(), StoreError> {
    tx.execute(
        &format!("UPDATE {table} SET {column} = $2 WHERE id = $1 AND {column} IS NULL"),
        &[id.into(), at.as_millisecond().into()],
    )
    .map(drop)
}

/// Whose department has deleted its copies is not told to again.
fn erase(tx: &mut Tx<'_>, leaf: &EvidenceLeaf) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE event SET erased_at = $2, notified_at = COALESCE(notified_at, $2) WHERE tag = $1 AND erased_at IS NULL",
        &[leaf.rule.clone().into(), leaf.at.as_millisecond().into()],
    )
    .map(drop)
}

fn adopt(tx: &mut Tx<'_>, leaf: &EvidenceLeaf, year: i64, index: i64) -> Result<(), StoreError> {
    // One that the backup holds without a place gets it now.
    let found = tx.one(
        "SELECT seq FROM leaf WHERE log_index IS NULL AND event = $1 AND at = $2 AND COALESCE(submission, '') = $3
             AND COALESCE(duty, '') = $4 AND COALESCE(rule, '') = $5 ORDER BY seq LIMIT 1",
        &[
            leaf.event.as_str().into(),
            leaf.at.as_millisecond().into(),
            leaf.submission.as_deref().unwrap_or_default().into(),
            leaf.duty.as_deref().unwrap_or_default().into(),
            leaf.rule.as_deref().unwrap_or_default().into(),
        ],
    )?;
    if let Some(row) = found {
        return tx
            .execute(
                "UPDATE leaf SET log_year = $2, log_index = $3 WHERE seq = $1",
                &[row.int(0)?.into(), year.into(), index.into()],
            )
            .map(drop);
    }
    insert(tx, leaf, year, index)?;
    // The site may have been told by the lost ledger: told twice is told.
    let event = match leaf.event.as_str() {
        "delivered" => SiteEvent::Delivered,
        "deleted" => SiteEvent::Deleted,
        _ => return Ok(()),
    };
    let facts = match &leaf.submission {
        Some(id) => SubmissionFacts::read(tx, id)?,
        None => None,
    };
    facts.map_or(Ok(()), |facts| tell(tx, &[facts.told(event, leaf.at)]))
}

fn insert(tx: &mut Tx<'_>, leaf: &EvidenceLeaf, year: i64, index: i64) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO leaf (submission, duty, event, at, rule, actor, mac, log_year, log_index)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        &[
            leaf.submission.clone().into(),
            leaf.duty.clone().into(),
            leaf.event.as_str().into(),
            leaf.at.as_millisecond().into(),
            leaf.rule.clone().into(),
            leaf.actor.clone().into(),
            leaf.mac.clone().into(),
            year.into(),
            index.into(),
        ],
    )
    .map(drop)
}
