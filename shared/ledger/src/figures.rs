//! The conservation figures.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use store::{StoreError, Tx};

use crate::Ledger;
use crate::backlog::age;

/// How many duties of one kind are in each state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StateCounts {
    /// To be done.
    pub ready: i64,
    /// In a worker's hands.
    pub sending: i64,
    /// Done.
    pub done: i64,
    /// Waiting for something or somebody.
    pub held: i64,
    /// Given up with an alarm.
    pub failed: i64,
    /// Never to be done.
    pub cancelled: i64,
}

/// What was the same again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Duplicates {
    /// Messages that changed nothing.
    pub ignored: i64,
    /// Mails that may have gone out twice.
    pub possible_mail: i64,
}

/// `arrived = accepted + quarantined + duplicates.ignored + drafts_ignored`; `accepted = open + deleted`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Messages that came.
    pub arrived: i64,
    /// Messages that became a submission.
    pub accepted: i64,
    /// Submissions that are not deleted.
    pub open: i64,
    /// Submissions that are.
    pub deleted: i64,
    /// Messages in quarantine, or discarded from it.
    pub quarantined: i64,
    /// What was the same again.
    pub duplicates: Duplicates,
    /// Drafts.
    pub drafts_ignored: i64,
    /// Duties by kind and state.
    pub duties: BTreeMap<String, StateCounts>,
    /// The age of the oldest open submission.
    pub oldest_open_seconds: i64,
    /// Messages with fields that their form does not declare.
    pub form_drift: i64,
}

impl Figures {
    /// What the first equation is off by; anything but 0 is a fault of ours.
    #[must_use]
    pub fn arrived_difference(&self) -> i64 {
        self.arrived - self.accepted - self.quarantined - self.duplicates.ignored - self.drafts_ignored
    }

    /// What the second equation is off by.
    #[must_use]
    pub fn accepted_difference(&self) -> i64 {
        self.accepted - self.open - self.deleted
    }
}

impl Ledger {
    /// How many numbers each site's messages skipped, by the site's own count (`x-kvit-sequence`).
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn sequence_gaps(&self) -> Result<Vec<(String, i64)>, StoreError> {
        self.read(|tx| {
            let rows = tx.query("SELECT site, gaps FROM site_sequence ORDER BY site", &[])?;
            rows.iter()
                .map(|row| Ok((row.text(0)?.to_owned(), row.int(1)?)))
                .collect()
        })
        .await
    }

    /// The figures of production, or of tests, which are counted apart.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn figures(&self, test: bool, now: Timestamp) -> Result<Figures, StoreError> {
        self.read(move |tx| {
            let mut figures = counted(tx, test)?;
            (figures.open, figures.oldest_open_seconds) = open(tx, test, now)?;
            figures.duties = duties(tx, test)?;
            Ok(figures)
        })
        .await
    }
}

fn counted(tx: &mut Tx<'_>, test: bool) -> Result<Figures, StoreError> {
    let rows = tx.query(
        "SELECT name, CAST(SUM(value) AS BIGINT) FROM counter WHERE test = $1 GROUP BY name",
        &[test.into()],
    )?;
    let mut figures = Figures::default();
    for row in rows {
        let value = row.int(1)?;
        match row.text(0)? {
            "arrived" => figures.arrived = value,
            "accepted" => figures.accepted = value,
            "deleted" => figures.deleted = value,
            "quarantined" => figures.quarantined = value,
            "duplicates" => figures.duplicates.ignored = value,
            "drafts" => figures.drafts_ignored = value,
            "possible_mail" => figures.duplicates.possible_mail = value,
            "form_drift" => figures.form_drift = value,
            _ => {}
        }
    }
    Ok(figures)
}

/// How many submissions are not deleted, and the age of the oldest in seconds. Each state has an index of its own.
fn open(tx: &mut Tx<'_>, test: bool, now: Timestamp) -> Result<(i64, i64), StoreError> {
    let (mut count, mut oldest) = (0, None);
    for state in ["open", "deleting"] {
        let sql = format!("SELECT COUNT(*), MIN(received_at) FROM submission WHERE state = '{state}' AND test = $1");
        if let Some(row) = tx.one(&sql, &[test.into()])? {
            count += row.int(0)?;
            oldest = [oldest, row.opt_int(1)?].into_iter().flatten().min();
        }
    }
    Ok((count, oldest.map_or(0, |at| age(at, now))))
}

fn duties(tx: &mut Tx<'_>, test: bool) -> Result<BTreeMap<String, StateCounts>, StoreError> {
    let mut duties: BTreeMap<String, StateCounts> = domain::DutyKind::ALL
        .iter()
        .map(|kind| (kind.as_str().to_owned(), StateCounts::default()))
        .collect();
    let rows = tx.query(
        "SELECT kind, state, COUNT(*) FROM duty WHERE test = $1 GROUP BY kind, state",
        &[test.into()],
    )?;
    for row in rows {
        let counts = duties.entry(row.text(0)?.to_owned()).or_default();
        let count = row.int(2)?;
        match row.text(1)? {
            "ready" => counts.ready = count,
            "sending" => counts.sending = count,
            "done" => counts.done = count,
            "held" => counts.held = count,
            "failed" => counts.failed = count,
            "cancelled" => counts.cancelled = count,
            _ => {}
        }
    }
    Ok(duties)
}
