//! Extracts: which registrations wait for one, which one covers them, and when that is confirmed.

use domain::{DepartmentId, DutyId, SubmissionId};
use jiff::Timestamp;
use serde::Serialize;
use store::{Row, StoreError, Tx};
use uuid::Uuid;

use crate::duty::add::add_duty;
use crate::event::{tag, tags};
use crate::outbox::leaf;
use crate::read::time;
use crate::{Ledger, NewDuty, Payload};

/// Serialises the replicas that record extracts: "list" in ASCII.
const EXTRACT_LOCK: i64 = 0x6c69_7374;

/// A registration as it counts: the version that is valid, in time and not withdrawn.
#[derive(Debug, Clone)]
pub struct Registered {
    /// Its id.
    pub id: SubmissionId,
    /// The duty whose payload holds its answers.
    pub duty: DutyId,
    /// Whether it is a test.
    pub test: bool,
    /// Whether an extract that is confirmed, or on its way, covers it.
    pub covered: bool,
}

/// What is kept of a registration when its submission is gone: reference and address, sealed under a key of its own.
#[derive(Clone)]
pub struct KeptRegistration {
    /// Of this submission.
    pub submission: SubmissionId,
    /// The owner of its data key, which is also its id.
    pub payload: Payload,
}

/// An extract to be recorded.
#[derive(Clone)]
pub struct NewExtract {
    /// Its id.
    pub id: Uuid,
    /// The event.
    pub event: String,
    /// The department that it goes to.
    pub department: DepartmentId,
    /// Whether it is of tests.
    pub test: bool,
    /// `code`, `mail`, or `none` for an export that confirms nothing.
    pub confirm: &'static str,
    /// The digest of its code.
    pub code: Option<Vec<u8>>,
    /// The encrypted mail.
    pub mail: NewDuty,
    /// The registrations in it.
    pub covers: Vec<SubmissionId>,
    /// What is kept of them later.
    pub kept: Vec<KeptRegistration>,
    /// Whether it must be the only one that covers them; one that is sent again need not.
    pub alone: bool,
}

/// An extract that was made.
#[derive(Debug, Clone, Serialize)]
pub struct ExtractRow {
    /// Its id.
    pub id: String,
    /// The event.
    pub event: String,
    /// The department that it went to.
    pub department: String,
    /// Whether it is of tests.
    pub test: bool,
    /// `code`, `mail` or `none`.
    pub confirm: String,
    /// The state of its mail.
    pub mail: String,
    /// How many registrations are in it.
    pub covers: i64,
    /// When it was made.
    pub made_at: Timestamp,
    /// When it was confirmed.
    pub confirmed_at: Option<Timestamp>,
    /// How often the department was reminded.
    pub reminded: i64,
    /// Whether a registration in it waits for its confirmation.
    pub awaited: bool,
    /// The digest of its code.
    #[serde(skip)]
    pub code: Option<Vec<u8>>,
}

const EXTRACT: &str = "SELECT event_extract.id, event_extract.event, event_extract.department, event_extract.test,
    event_extract.confirm, duty.state, event_extract.covers, event_extract.made_at, event_extract.confirmed_at,
    event_extract.reminded, event_extract.code,
    CASE WHEN event_extract.confirmed_at IS NULL AND duty.state <> 'cancelled' AND event_extract.confirm <> 'none'
        AND EXISTS (SELECT 1 FROM event_extracted JOIN duty held ON held.submission = event_extracted.submission
            WHERE event_extracted.extract = event_extract.id AND held.kind = 'extract'
            AND held.state NOT IN ('done', 'cancelled')) THEN 1 ELSE 0 END
    FROM event_extract JOIN duty ON duty.id = event_extract.duty";

fn extract(row: &Row) -> Result<ExtractRow, StoreError> {
    Ok(ExtractRow {
        id: row.text(0)?.to_owned(),
        event: row.text(1)?.to_owned(),
        department: row.text(2)?.to_owned(),
        test: row.int(3)? != 0,
        confirm: row.text(4)?.to_owned(),
        mail: row.text(5)?.to_owned(),
        covers: row.int(6)?,
        made_at: time(row.int(7)?),
        confirmed_at: row.opt_int(8)?.map(time),
        reminded: row.int(9)?,
        code: row.opt_blob(10)?.map(<[u8]>::to_vec),
        awaited: row.int(11)? != 0,
    })
}

/// Whether another version of the same registration counts instead: in time, and later.
const SUPERSEDED: &str = "EXISTS (SELECT 1 FROM submission newer WHERE newer.reference = submission.reference
    AND newer.late = 0 AND newer.id <> submission.id AND (newer.latest > submission.latest
    OR (newer.latest = submission.latest AND newer.version > submission.version)))";

/// Whether an extract covers it that is confirmed, or whose mail was not given up.
const COVERED: &str = "EXISTS (SELECT 1 FROM event_extracted
    JOIN event_extract ON event_extract.id = event_extracted.extract JOIN duty mail ON mail.id = event_extract.duty
    WHERE event_extracted.submission = submission.id AND event_extract.confirm <> 'none'
    AND (event_extract.confirmed_at IS NOT NULL OR mail.state <> 'cancelled'))";

const OPEN: &str = "submission.state = 'open' AND submission.kind = 'registration' AND submission.late = 0";

impl Ledger {
    /// Events whose deadline has passed and that have a registration which no extract covers yet; each has its opaque
    /// name.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn to_extract(&self, now: Timestamp) -> Result<Vec<(String, String)>, StoreError> {
        self.write(move |tx| {
            let rows = tx.query(
                &format!(
                    "SELECT event.id FROM event WHERE event.deadline <= $1 AND EXISTS (SELECT 1 FROM submission
                     JOIN duty owed ON owed.submission = submission.id WHERE submission.event = event.id AND {OPEN}
                     AND owed.kind = 'extract' AND owed.state NOT IN ('done', 'cancelled')
                     AND NOT {SUPERSEDED} AND NOT {COVERED}) ORDER BY event.deadline, event.id"
                ),
                &[now.as_millisecond().into()],
            )?;
            let ids: Vec<String> = rows
                .iter()
                .map(|row| row.text(0).map(str::to_owned))
                .collect::<Result<_, _>>()?;
            let names = tags(tx, &ids)?;
            Ok(ids.into_iter().zip(names).collect())
        })
        .await
    }

    /// The registrations for an event that are kept whole, in the order in which they came: of each the version that
    /// counts. `uncovered` leaves out those that an extract covers.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn registered(&self, event: String, uncovered: bool) -> Result<Vec<Registered>, StoreError> {
        self.read(move |tx| {
            let left = if uncovered {
                format!("AND duty.state NOT IN ('done', 'cancelled') AND NOT {COVERED}")
            } else {
                String::new()
            };
            let rows = tx.query(
                &format!(
                    "SELECT submission.id, duty.id, submission.test, CASE WHEN {COVERED} THEN 1 ELSE 0 END
                     FROM submission JOIN duty ON duty.submission = submission.id AND duty.kind = 'extract'
                     WHERE submission.event = $1 AND {OPEN} AND NOT {SUPERSEDED} {left}
                     ORDER BY submission.received_at, submission.id"
                ),
                &[event.into()],
            )?;
            rows.iter()
                .map(|row| {
                    Ok(Registered {
                        id: row.parse(0)?,
                        duty: row.parse(1)?,
                        test: row.int(2)? != 0,
                        covered: row.int(3)? != 0,
                    })
                })
                .collect()
        })
        .await
    }

    /// The sealed payload of a duty, as a mail or the answers of a registration; `None` where it is gone.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn payload(&self, duty: DutyId) -> Result<Option<Payload>, StoreError> {
        self.read(move |tx| payload(tx, &duty.to_string())).await
    }

    /// Records an extract with its mail, what it covers, and what is kept of that. `false` where another replica covered
    /// one of its registrations meanwhile; then nothing was recorded.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then nothing was recorded.
    pub async fn record_extract(&self, new: NewExtract, now: Timestamp) -> Result<bool, StoreError> {
        self.write(move |tx| record(tx, &new, now)).await
    }

    /// The extracts of an event, or of all, oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn extracts(&self, event: Option<String>) -> Result<Vec<ExtractRow>, StoreError> {
        self.read(move |tx| {
            let sql = format!(
                "{EXTRACT} WHERE (CAST($1 AS TEXT) IS NULL OR event_extract.event = $1)
                 ORDER BY event_extract.made_at, event_extract.id"
            );
            tx.query(&sql, &[event.into()])?.iter().map(extract).collect()
        })
        .await
    }

    /// An extract was received: the registrations in it are extracted, and so are the versions that they supersede.
    /// Answers how many were, or `None` where it was confirmed before. The purge deletes them.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then nothing was confirmed.
    pub async fn confirm_extract(
        &self,
        id: String,
        how: &'static str,
        now: Timestamp,
    ) -> Result<Option<u64>, StoreError> {
        self.write(move |tx| confirm(tx, &id, how, now)).await
    }

    /// Discharges the extracts of versions that are superseded by one which is extracted, and answers how many.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn discharge_superseded(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.write(move |tx| {
            let which = format!(
                "SELECT submission.id FROM submission JOIN duty owed ON owed.submission = submission.id
                 WHERE {OPEN} AND owed.kind = 'extract' AND owed.state = 'held' AND EXISTS (SELECT 1 FROM submission newer
                     JOIN duty ON duty.submission = newer.id WHERE newer.reference = submission.reference
                     AND newer.id <> submission.id AND newer.late = 0 AND duty.kind = 'extract' AND duty.state = 'done'
                     AND (newer.latest > submission.latest
                         OR (newer.latest = submission.latest AND newer.version > submission.version)))"
            );
            discharge(tx, &which, &[], "superseded", now)
        })
        .await
    }

    /// The department was reminded of an extract.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn reminded(&self, id: String, times: i64, notice: NewDuty, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| {
            let changed = tx.execute(
                "UPDATE event_extract SET reminded = $2 WHERE id = $1 AND reminded < $2",
                &[id.into(), times.into()],
            )?;
            if changed == 0 {
                return Ok(()); // another replica did
            }
            add_duty(tx, None, &notice, now)
        })
        .await
    }
}

pub(crate) fn payload(tx: &mut Tx<'_>, duty: &str) -> Result<Option<Payload>, StoreError> {
    let row = tx.one(
        "SELECT owner, purpose, sealed FROM payload WHERE duty = $1",
        &[duty.into()],
    )?;
    row.map(|row| {
        Ok(Payload {
            owner: row.parse(0)?,
            purpose: row.text(1)?.to_owned(),
            sealed: row.blob(2)?.to_vec(),
        })
    })
    .transpose()
}

fn record(tx: &mut Tx<'_>, new: &NewExtract, now: Timestamp) -> Result<bool, StoreError> {
    tx.lock(EXTRACT_LOCK)?;
    if new.alone {
        let covered = format!("SELECT 1 FROM submission WHERE id = $1 AND {COVERED}");
        for submission in &new.covers {
            if tx.one(&covered, &[submission.to_string().into()])?.is_some() {
                return Ok(false);
            }
        }
    }
    let id = new.id.to_string();
    add_duty(tx, None, &new.mail, now)?;
    tx.execute(
        "INSERT INTO event_extract (id, event, department, test, confirm, code, duty, covers, made_at, reminded)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0)",
        &[
            id.as_str().into(),
            new.event.as_str().into(),
            new.department.as_str().into(),
            new.test.into(),
            new.confirm.into(),
            new.code.clone().into(),
            new.mail.id.to_string().into(),
            i64::try_from(new.covers.len()).unwrap_or(i64::MAX).into(),
            now.as_millisecond().into(),
        ],
    )?;
    for submission in &new.covers {
        tx.execute(
            "INSERT INTO event_extracted (extract, submission) VALUES ($1, $2)",
            &[id.as_str().into(), submission.to_string().into()],
        )?;
    }
    for kept in &new.kept {
        crate::registration::keep(tx, &new.event, kept)?;
    }
    let name = tag(tx, &new.event)?;
    let said = if new.confirm == "none" {
        "registration_exported"
    } else {
        "extract_made"
    };
    leaf(tx, Some(&id), said, now, Some(&name), None)?;
    Ok(true)
}

fn confirm(tx: &mut Tx<'_>, id: &str, how: &str, now: Timestamp) -> Result<Option<u64>, StoreError> {
    let changed = tx.execute(
        "UPDATE event_extract SET confirmed_at = $2 WHERE id = $1 AND confirmed_at IS NULL",
        &[id.into(), now.as_millisecond().into()],
    )?;
    if changed == 0 {
        return Ok(None);
    }
    leaf(tx, Some(id), "extract_confirmed", now, Some(how), None)?;
    let which = "SELECT submission FROM event_extracted WHERE extract = $3";
    discharge(tx, which, &[id.into()], how, now).map(Some)
}

/// Discharges the extracts of the submissions that a query names; its parameters are from $3 on. Submissions are reserved
/// before their duties.
fn discharge(
    tx: &mut Tx<'_>,
    which: &str,
    values: &[store::Value],
    rule: &str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let shifted = |from: usize| which.replace("$3", &format!("${from}"));
    tx.one_for_update(
        &format!("SELECT id FROM submission WHERE id IN ({}) ORDER BY id", shifted(1)),
        values,
    )?;
    let owed = |from: usize| {
        format!(
            "duty.kind = 'extract' AND duty.state NOT IN ('done', 'cancelled') AND duty.submission IN ({})",
            shifted(from)
        )
    };
    let mut given = vec![now.as_millisecond().into(), rule.into()];
    given.extend_from_slice(values);
    tx.execute(
        &format!(
            "INSERT INTO leaf (submission, event, at, rule)
             SELECT duty.submission, 'extract_done', CAST($1 AS BIGINT), CAST($2 AS TEXT) FROM duty WHERE {}
             ORDER BY duty.submission",
            owed(3)
        ),
        &given,
    )?;
    let mut given = vec![now.as_millisecond().into()];
    given.extend_from_slice(values);
    tx.execute(
        &format!(
            "UPDATE duty SET state = 'done', reason = NULL, done_at = $1 WHERE {}",
            owed(2)
        ),
        &given,
    )
}
