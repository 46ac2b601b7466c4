//! The evidence log's side of the ledger: the order of the leaves, and how much of each year's log is signed.
//!
//! A leaf gets its place once, in a transaction, and keeps it; tiles and checkpoints are made from the rows afterwards,
//! and can be made again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use store::{StoreError, Tx, Value};

use crate::read::time;
use crate::{Ledger, WorkerId};

/// Serialises the replicas that sequence: "leaf" in ASCII.
const SEQUENCER_LOCK: i64 = 0x6c65_6166;

/// One year's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceLog {
    /// The year of its leaves, in UTC.
    pub year: i16,
    /// The first line of its checkpoints; chosen with the first leaf, and kept.
    pub origin: String,
    /// How many leaves have a place in it.
    pub size: u64,
    /// How many of them the last checkpoint that was written covers.
    pub signed: u64,
    /// How many of them the last checkpoint that was mailed covers.
    pub mailed: u64,
}

/// What a leaf of the log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceLeaf {
    /// Kvit's id of the submission or quarantined message, where it is about one.
    pub submission: Option<String>,
    /// What happened.
    pub event: String,
    /// When.
    pub at: Timestamp,
    /// By which rule.
    pub rule: Option<String>,
    /// By whom: an opaque id.
    pub actor: Option<String>,
    /// The content's digest under the submission's own key.
    pub mac: Option<Vec<u8>>,
    /// Kvit's id of the duty, where it is about one.
    pub duty: Option<String>,
}

/// What became of an attempt to sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sequenced {
    /// Another worker sequences.
    Elsewhere,
    /// So many leaves got their place.
    Leaves(usize),
}

impl Ledger {
    /// Whether there is anything for a sequencer to do.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn has_unsigned_leaves(&self) -> Result<bool, StoreError> {
        self.read(|tx| {
            let unsequenced = tx.one("SELECT 1 FROM leaf WHERE log_index IS NULL LIMIT 1", &[])?;
            let unsigned = tx.one("SELECT 1 FROM evidence_log WHERE signed < size LIMIT 1", &[])?;
            Ok(unsequenced.is_some() || unsigned.is_some())
        })
        .await
    }

    /// Gives the oldest leaves their places, each in the log of its year, where this worker is the sequencer or no other
    /// has been since `now`; it then is until `until`. A year's first leaf begins a log of the origin `BASE/YEAR`.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then no leaf got a place.
    pub async fn sequence(
        &self,
        worker: WorkerId,
        base: String,
        (now, until): (Timestamp, Timestamp),
        limit: u32,
    ) -> Result<Sequenced, StoreError> {
        self.write(move |tx| {
            tx.lock(SEQUENCER_LOCK)?;
            if !take_sequencer(tx, worker, now, until)? {
                return Ok(Sequenced::Elsewhere);
            }
            let rows = tx.query(
                "SELECT seq, at FROM leaf WHERE log_index IS NULL ORDER BY seq LIMIT $1",
                &[limit.into()],
            )?;
            let mut years: BTreeMap<i16, Vec<i64>> = BTreeMap::new();
            for row in &rows {
                years.entry(year_of(time(row.int(1)?))).or_default().push(row.int(0)?);
            }
            for (year, leaves) in years {
                place(tx, &leaves, year, &base)?;
            }
            Ok(Sequenced::Leaves(rows.len()))
        })
        .await
    }

    /// Lets another worker sequence at once.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn stop_sequencing(&self, worker: WorkerId) -> Result<(), StoreError> {
        self.write(move |tx| {
            let worker = worker.0.to_string();
            tx.execute("DELETE FROM sequencer WHERE worker = $1", &[worker.into()])
                .map(drop)
        })
        .await
    }

    /// Every year's log, oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn evidence_logs(&self) -> Result<Vec<EvidenceLog>, StoreError> {
        self.read(|tx| {
            let rows = tx.query(
                "SELECT year, origin, size, signed, mailed FROM evidence_log ORDER BY year",
                &[],
            )?;
            let count = |number: i64, column| u64::try_from(number).map_err(|_| StoreError::Unexpected { column });
            rows.iter()
                .map(|row| {
                    Ok(EvidenceLog {
                        year: i16::try_from(row.int(0)?).map_err(|_| StoreError::Unexpected { column: 0 })?,
                        origin: row.text(1)?.to_owned(),
                        size: count(row.int(2)?, 2)?,
                        signed: count(row.int(3)?, 3)?,
                        mailed: count(row.int(4)?, 4)?,
                    })
                })
                .collect()
        })
        .await
    }

    /// Leaves of a year's log from an index on, in order.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn evidence_leaves(&self, year: i16, from: u64, limit: u32) -> Result<Vec<EvidenceLeaf>, StoreError> {
        let from = i64::try_from(from).unwrap_or(i64::MAX);
        self.read(move |tx| {
            let rows = tx.query(
                "SELECT submission, event, at, rule, actor, mac, duty FROM leaf
                 WHERE log_year = $1 AND log_index >= $2 AND log_index IS NOT NULL ORDER BY log_index LIMIT $3",
                &[i64::from(year).into(), from.into(), limit.into()],
            )?;
            rows.iter()
                .map(|row| {
                    let owned = |column| row.opt_text(column).map(|text| text.map(str::to_owned));
                    Ok(EvidenceLeaf {
                        submission: owned(0)?,
                        event: row.text(1)?.to_owned(),
                        at: time(row.int(2)?),
                        rule: owned(3)?,
                        actor: owned(4)?,
                        mac: row.opt_blob(5)?.map(<[u8]>::to_vec),
                        duty: owned(6)?,
                    })
                })
                .collect()
        })
        .await
    }

    /// Where the leaves of a submission stand, in order: the year of the log, and the index in it. What is not sequenced yet
    /// stands nowhere.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn evidence_places(&self, submission: String) -> Result<Vec<(i16, u64)>, StoreError> {
        self.read(move |tx| {
            let rows = tx.query(
                "SELECT log_year, log_index FROM leaf
                 WHERE submission = $1 AND log_index IS NOT NULL ORDER BY log_year, log_index",
                &[submission.into()],
            )?;
            rows.iter()
                .map(|row| {
                    let year = i16::try_from(row.int(0)?).map_err(|_| StoreError::Unexpected { column: 0 })?;
                    let index = u64::try_from(row.int(1)?).map_err(|_| StoreError::Unexpected { column: 1 })?;
                    Ok((year, index))
                })
                .collect()
        })
        .await
    }

    /// A checkpoint over so many leaves of a year's log stands in its folder.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn checkpoint_signed(&self, year: i16, size: u64) -> Result<(), StoreError> {
        self.note_checkpoint(
            "UPDATE evidence_log SET signed = $2 WHERE year = $1 AND signed < $2",
            year,
            size,
        )
        .await
    }

    /// A checkpoint over so many leaves of a year's log is on its way to the officer.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn checkpoint_mailed(&self, year: i16, size: u64) -> Result<(), StoreError> {
        self.note_checkpoint(
            "UPDATE evidence_log SET mailed = $2 WHERE year = $1 AND mailed < $2",
            year,
            size,
        )
        .await
    }

    async fn note_checkpoint(&self, sql: &'static str, year: i16, size: u64) -> Result<(), StoreError> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        self.write(move |tx| tx.execute(sql, &[i64::from(year).into(), size.into()]).map(drop))
            .await
    }
}

fn take_sequencer(tx: &mut Tx<'_>, worker: WorkerId, now: Timestamp, until: Timestamp) -> Result<bool, StoreError> {
    let taken = tx.execute(
        "INSERT INTO sequencer (id, worker, until) VALUES (1, $1, $2)
         ON CONFLICT (id) DO UPDATE SET worker = $1, until = $2
         WHERE sequencer.worker = $1 OR sequencer.until <= $3",
        &[
            worker.0.to_string().into(),
            until.as_millisecond().into(),
            now.as_millisecond().into(),
        ],
    )?;
    Ok(taken > 0)
}

fn year_of(at: Timestamp) -> i16 {
    at.to_zoned(TimeZone::UTC).year()
}

/// Gives leaves, in their order, the next places of a year's log.
fn place(tx: &mut Tx<'_>, leaves: &[i64], year: i16, base: &str) -> Result<(), StoreError> {
    let year_value = i64::from(year);
    let count = i64::try_from(leaves.len()).unwrap_or(i64::MAX);
    tx.execute(
        "INSERT INTO evidence_log (year, origin, size, signed, mailed) VALUES ($1, $2, $3, 0, 0)
         ON CONFLICT (year) DO UPDATE SET size = evidence_log.size + $3",
        &[year_value.into(), format!("{base}/{year}").into(), count.into()],
    )?;
    let size = tx.one("SELECT size FROM evidence_log WHERE year = $1", &[year_value.into()])?;
    let first = size.map_or(Ok(count), |row| row.int(0))? - count;
    // A join with a list of places would be planned by how many leaves there were at first, and read all of them later.
    let sql = "UPDATE leaf SET log_year = $1, log_index = NTH(seq, $2, $3) WHERE seq = ANY($2)";
    Value::lists(leaves.iter().copied())
        .zip(Value::lists(first..first + count))
        .try_for_each(|(leaves, places)| tx.execute(sql, &[year_value.into(), leaves, places]).map(drop))
}
