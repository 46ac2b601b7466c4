//! What is added to the journal: entries, versions, annotations, the closure of cases.

use domain::form::Archive;
use domain::{DepartmentId, DutyId, FormId, Reference, SiteId, SubmissionId};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use store::{StoreError, Tx, Value};
use uuid::Uuid;

use super::JOURNAL_LOCK;
use crate::duty::settle;
use crate::outbox::{leaf, leaf_by};
use crate::read::time;
use crate::{Ledger, NewDuty, Outcome, Settled, WorkerId};

/// The short description that offentlighedsloven § 15 wants; never empty (J2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Theme(String);

impl Theme {
    /// `None` where nothing is said.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// The words.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A case to put an entry into; opened where there is none of that number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCase {
    /// Its number.
    pub number: String,
    /// What it is about; the theme where nothing is said.
    pub title: Option<String>,
}

/// The sealed file of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVersion {
    /// Its id: the submission's, or that of the request that brought it.
    pub id: Uuid,
    /// The file, below the journal's folder.
    pub file: String,
    /// How large it is.
    pub bytes: u64,
    /// The digest of the file as it lies there, sealed.
    pub sha256: Vec<u8>,
}

/// What is to be journalised.
#[derive(Debug, Clone)]
pub struct NewEntry {
    /// Its content.
    pub version: NewVersion,
    /// The submission that it is of.
    pub submission: SubmissionId,
    /// What the citizen quotes.
    pub reference: Reference,
    /// The producer.
    pub site: SiteId,
    /// The form.
    pub form: FormId,
    /// The department that was given it.
    pub department: DepartmentId,
    /// How it came: `form`, or `mail` where a caseworker added it (J3).
    pub channel: &'static str,
    /// What it is about (J2).
    pub theme: Theme,
    /// The KLE number.
    pub kle: Option<String>,
    /// When it was received (J2).
    pub received_at: Timestamp,
    /// The case; else the one that it was marked for, else one of its own.
    pub case: Option<NewCase>,
    /// How long it is kept from the case's closure.
    pub period: String,
    /// Whether an archive takes it over.
    pub archive: Archive,
    /// Keyed digests of the parties.
    pub parties: Vec<Vec<u8>>,
}

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Journalised {
    /// It is in the journal.
    Written {
        /// The entry.
        entry: String,
        /// Its number among the entry's versions.
        number: i64,
    },
    /// It was there already.
    Known,
    /// Its duty was ended meanwhile, by a person or another worker: its file is nobody's.
    Unwanted,
}

/// What became of closing a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// There is none of that number.
    Unknown,
    /// It was closed before, at this time.
    Before(Timestamp),
    /// Its entries' periods run from now.
    Now(usize),
}

impl Ledger {
    /// Puts a version into the journal and discharges the duty that it was written for: both, or neither. A version of a
    /// reference that has a living entry joins it (C1).
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then nothing was written.
    pub async fn journalise(
        &self,
        duty: Option<(DutyId, WorkerId)>,
        new: NewEntry,
        zone: TimeZone,
        now: Timestamp,
    ) -> Result<Journalised, StoreError> {
        self.write(move |tx| {
            tx.lock(JOURNAL_LOCK)?;
            if let Some((duty, worker)) = duty
                && !settle(tx, duty, Some(worker), Outcome::Done, now)?.counted
            {
                return Ok(if has_version(tx, new.version.id)? {
                    Journalised::Known
                } else {
                    Journalised::Unwanted
                });
            }
            journalise(tx, &new, &zone, now)
        })
        .await
    }

    /// Adds a version to an entry: a correction by a person (C1). The earlier versions stay as they are, and those who
    /// were given what it corrects are owed a notice (C3), which the scheduler makes.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then nothing was written.
    pub async fn correct(&self, entry: String, version: NewVersion, now: Timestamp) -> Result<Journalised, StoreError> {
        self.write(move |tx| {
            tx.lock(JOURNAL_LOCK)?;
            if has_version(tx, version.id)? {
                return Ok(Journalised::Known);
            }
            let owed = tx.execute(
                "INSERT INTO journal_owed (version, department, reference, made_at)
                 SELECT $2, department, reference, $3 FROM journal_entry WHERE id = $1 AND state IN ('active', 'archived')",
                &[
                    entry.as_str().into(),
                    version.id.to_string().into(),
                    now.as_millisecond().into(),
                ],
            )?;
            if owed == 0 {
                return Ok(Journalised::Unwanted);
            }
            let number = add_version(tx, &entry, &version, now)?;
            leaf(tx, Some(&entry), "journal_corrected", now, None, Some(&version.sha256))?;
            Ok(Journalised::Written { entry, number })
        })
        .await
    }

    /// Notices that are owed to those who were given what was corrected: the version, whom, and the reference.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn owed_corrections(&self) -> Result<Vec<(Uuid, DepartmentId, Reference)>, StoreError> {
        self.read(|tx| {
            let rows = tx.query(
                "SELECT version, department, reference FROM journal_owed ORDER BY made_at",
                &[],
            )?;
            rows.iter()
                .map(|row| Ok((row.parse(0)?, row.parse(1)?, row.parse(2)?)))
                .collect()
        })
        .await
    }

    /// The notice that was owed for a version is on its way. `false` where it was owed no longer, and is not kept.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then it is owed as before.
    pub async fn tell_of_correction(&self, version: Uuid, notice: NewDuty, now: Timestamp) -> Result<bool, StoreError> {
        self.write(move |tx| {
            let owed = tx.execute(
                "DELETE FROM journal_owed WHERE version = $1",
                &[version.to_string().into()],
            )?;
            if owed > 0 {
                crate::duty::add::add_duty(tx, None, &notice, now)?;
            }
            Ok(owed > 0)
        })
        .await
    }

    /// Adds an annotation, sealed to the journal's key (C2), as an audited act. `false` where there is no such living
    /// entry.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn annotate(
        &self,
        entry: String,
        sealed: Vec<u8>,
        actor: String,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.write(move |tx| {
            let changed = tx.execute(
                "UPDATE journal_entry SET changed_at = $2 WHERE id = $1 AND state IN ('active', 'archived')",
                &[entry.as_str().into(), now.as_millisecond().into()],
            )?;
            if changed == 0 {
                return Ok(false);
            }
            tx.execute(
                "INSERT INTO journal_annotation (id, entry, at, sealed) VALUES ($1, $2, $3, $4)",
                &[
                    Uuid::now_v7().to_string().into(),
                    entry.as_str().into(),
                    now.as_millisecond().into(),
                    sealed.into(),
                ],
            )?;
            leaf_by(tx, None, "journal.annotate", now, Some(&entry), Some(&actor))?;
            leaf(tx, Some(&entry), "journal_annotated", now, None, None)?;
            Ok(true)
        })
        .await
    }

    /// Closes a case, as an audited act: the periods of its entries run from now (D4).
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn close_case(
        &self,
        number: String,
        zone: TimeZone,
        actor: String,
        now: Timestamp,
    ) -> Result<Closed, StoreError> {
        self.write(move |tx| {
            tx.lock(JOURNAL_LOCK)?;
            let row = tx.one(
                "SELECT closed_at FROM journal_case WHERE number = $1",
                &[number.as_str().into()],
            )?;
            let Some(row) = row else { return Ok(Closed::Unknown) };
            if let Some(before) = row.opt_int(0)? {
                return Ok(Closed::Before(time(before)));
            }
            tx.execute(
                "UPDATE journal_case SET closed_at = $2 WHERE number = $1",
                &[number.as_str().into(), now.as_millisecond().into()],
            )?;
            let rows = tx.query(
                "SELECT id, period FROM journal_entry WHERE case_number = $1 AND state = 'active'",
                &[number.as_str().into()],
            )?;
            // Its number is a person's word; the leaves of its entries say which it was.
            let on = format!("entries {}", rows.len());
            leaf_by(tx, None, "journal.close-case", now, Some(&on), Some(&actor))?;
            for row in &rows {
                let due = domain::retention::due(now, row.text(1)?, &zone);
                tx.execute(
                    "UPDATE journal_entry SET state = 'archived', due_at = $2 WHERE id = $1",
                    &[row.text(0)?.into(), due.map(Timestamp::as_millisecond).into()],
                )?;
                leaf(tx, Some(row.text(0)?), "journal_archived", now, None, None)?;
            }
            Ok(Closed::Now(rows.len()))
        })
        .await
    }

    /// Records what an outside journal answered, and discharges the duty.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then nothing was recorded.
    pub async fn filed(
        &self,
        duty: DutyId,
        worker: WorkerId,
        (submission, target): (SubmissionId, String),
        reference: String,
        now: Timestamp,
    ) -> Result<Settled, StoreError> {
        self.write(move |tx| {
            let settled = settle(tx, duty, Some(worker), Outcome::Done, now)?;
            if settled.counted {
                tx.execute(
                    "INSERT INTO journal_filing (duty, submission, target, reference, at) VALUES ($1, $2, $3, $4, $5)",
                    &[
                        duty.to_string().into(),
                        submission.to_string().into(),
                        target.into(),
                        reference.into(),
                        now.as_millisecond().into(),
                    ],
                )?;
                tx.execute(
                    "DELETE FROM journal_progress WHERE duty = $1",
                    &[duty.to_string().into()],
                )?;
            }
            Ok(settled)
        })
        .await
    }
}

fn has_version(tx: &mut Tx<'_>, id: Uuid) -> Result<bool, StoreError> {
    let row = tx.one("SELECT 1 FROM journal_version WHERE id = $1", &[id.to_string().into()])?;
    Ok(row.is_some())
}

fn journalise(tx: &mut Tx<'_>, new: &NewEntry, zone: &TimeZone, now: Timestamp) -> Result<Journalised, StoreError> {
    if has_version(tx, new.version.id)? {
        return Ok(Journalised::Known);
    }
    let living = tx.one(
        "SELECT id FROM journal_entry WHERE reference = $1 AND state IN ('active', 'archived')
         ORDER BY journalised_at LIMIT 1",
        &[new.reference.as_str().into()],
    )?;
    let entry = match living {
        Some(row) => row.text(0)?.to_owned(),
        None => open_entry(tx, new, zone, now)?,
    };
    let number = add_version(tx, &entry, &new.version, now)?;
    for party in &new.parties {
        tx.execute(
            "INSERT INTO journal_party (digest, entry) VALUES ($1, $2) ON CONFLICT (digest, entry) DO NOTHING",
            &[party.as_slice().into(), entry.as_str().into()],
        )?;
    }
    tx.execute(
        "DELETE FROM journal_marked WHERE submission = $1",
        &[new.submission.to_string().into()],
    )?;
    leaf(
        tx,
        Some(&entry),
        "journal_written",
        now,
        None,
        Some(&new.version.sha256),
    )?;
    Ok(Journalised::Written { entry, number })
}

/// Opens an entry, and its case where there is none.
fn open_entry(tx: &mut Tx<'_>, new: &NewEntry, zone: &TimeZone, now: Timestamp) -> Result<String, StoreError> {
    let id = new.submission.to_string();
    let case = match &new.case {
        Some(case) => case.clone(),
        None => marked_for(tx, &id)?.unwrap_or(NewCase {
            number: new.reference.to_string(),
            title: None,
        }),
    };
    tx.execute(
        "INSERT INTO journal_case (number, title, kle, opened_at) VALUES ($1, $2, $3, $4) ON CONFLICT (number) DO NOTHING",
        &[
            case.number.as_str().into(),
            case.title.as_deref().unwrap_or(new.theme.as_str()).into(),
            new.kle.as_ref().into(),
            now.as_millisecond().into(),
        ],
    )?;
    let row = tx.one(
        "SELECT closed_at FROM journal_case WHERE number = $1",
        &[case.number.as_str().into()],
    )?;
    let closed_at = row.map(|row| row.opt_int(0)).transpose()?.flatten().map(time);
    let due = closed_at.and_then(|closed| domain::retention::due(closed, &new.period, zone));
    let values: [Value; 16] = [
        id.as_str().into(),
        new.reference.as_str().into(),
        case.number.into(),
        new.site.as_str().into(),
        new.form.as_str().into(),
        new.department.as_str().into(),
        new.channel.into(),
        new.theme.as_str().into(),
        new.kle.as_ref().into(),
        new.received_at.as_millisecond().into(),
        now.as_millisecond().into(),
        new.period.as_str().into(),
        archive_word(new.archive).into(),
        due.map(Timestamp::as_millisecond).into(),
        if closed_at.is_some() { "archived" } else { "active" }.into(),
        Value::Null,
    ];
    tx.execute(
        "INSERT INTO journal_entry (id, reference, case_number, site, form, department, channel, theme, kle, received_at,
             journalised_at, changed_at, period, archive, due_at, state, ended_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, $12, $13, $14, $15, $16)",
        &values,
    )?;
    Ok(id)
}

fn marked_for(tx: &mut Tx<'_>, submission: &str) -> Result<Option<NewCase>, StoreError> {
    let row = tx.one(
        "SELECT case_number, title FROM journal_marked WHERE submission = $1",
        &[submission.into()],
    )?;
    row.map(|row| {
        Ok(NewCase {
            number: row.text(0)?.to_owned(),
            title: row.opt_text(1)?.map(str::to_owned),
        })
    })
    .transpose()
}

fn add_version(tx: &mut Tx<'_>, entry: &str, version: &NewVersion, now: Timestamp) -> Result<i64, StoreError> {
    let row = tx.one("SELECT COUNT(*) FROM journal_version WHERE entry = $1", &[entry.into()])?;
    let number = row.map_or(Ok(0), |row| row.int(0))? + 1;
    tx.execute(
        "INSERT INTO journal_version (id, entry, number, made_at, file, bytes, sha256) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            version.id.to_string().into(),
            entry.into(),
            number.into(),
            now.as_millisecond().into(),
            version.file.as_str().into(),
            i64::try_from(version.bytes).unwrap_or(i64::MAX).into(),
            version.sha256.as_slice().into(),
        ],
    )?;
    tx.execute(
        "UPDATE journal_entry SET changed_at = $2 WHERE id = $1",
        &[entry.into(), now.as_millisecond().into()],
    )?;
    Ok(number)
}

pub(super) fn archive_word(archive: Archive) -> &'static str {
    match archive {
        Archive::Discard => "discard",
        Archive::Preserve => "preserve",
    }
}
