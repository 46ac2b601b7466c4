//! What a person sees of the journal: metadata, times and states, never content.

use domain::SubmissionId;
use domain::form::Archive;
use domain::retention::{Facts, retention};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use store::{Row, StoreError, Tx, Value};
use uuid::Uuid;

use crate::Ledger;
use crate::read::time;

/// Which entries a list is about.
#[derive(Debug, Clone, Default)]
pub struct EntryFilter {
    /// Of this case.
    pub case: Option<String>,
    /// Of this form.
    pub form: Option<String>,
    /// In this state.
    pub state: Option<String>,
    /// Received at or after this time.
    pub since: Option<Timestamp>,
    /// With this party, by its keyed digest.
    pub party: Option<Vec<u8>>,
}

/// A version of an entry.
#[derive(Debug, Clone, Serialize)]
pub struct VersionRow {
    /// Its id.
    pub id: String,
    /// Its number, from 1.
    pub number: i64,
    /// When it was added.
    pub made_at: Timestamp,
    /// The sealed file, below the journal's folder.
    pub file: String,
    /// How large the file is.
    pub bytes: i64,
    /// The digest of the file as it lies there, in hexadecimal.
    pub sha256: String,
}

/// An annotation, sealed to the journal's key.
#[derive(Debug, Clone)]
pub struct AnnotationRow {
    /// When it was added.
    pub at: Timestamp,
    /// The words, sealed.
    pub sealed: Vec<u8>,
}

/// What an outside journal answered.
#[derive(Debug, Clone, Serialize)]
pub struct FilingRow {
    /// The target.
    pub target: String,
    /// What it calls the entry.
    pub reference: String,
    /// When.
    pub at: Timestamp,
}

/// What was delivered under a reference.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// The submission.
    pub id: SubmissionId,
    /// Its number among the versions.
    pub version: u32,
    /// When it was received.
    pub received_at: Timestamp,
    /// The keyed digest of its answers, and the epoch of the key.
    pub answers: Option<(i64, Vec<u8>)>,
}

/// A journal entry as a person sees it.
#[derive(Debug, Clone, Serialize)]
pub struct EntryRow {
    /// Its id: that of the submission that it began with.
    pub id: String,
    /// What the citizen quotes.
    pub reference: String,
    /// Its case.
    pub case: String,
    /// What the case is about.
    pub case_title: String,
    /// The producer.
    pub site: String,
    /// The form.
    pub form: String,
    /// The department that was given it.
    pub department: String,
    /// How it came.
    pub channel: String,
    /// What it is about.
    pub theme: String,
    /// The KLE number.
    pub kle: Option<String>,
    /// When it was received.
    pub received_at: Timestamp,
    /// When it was journalised.
    pub journalised_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
    /// `active`, `archived`, `ending`, `deleted` or `transferred` (D7).
    pub state: String,
    /// When its case was closed.
    pub closed_at: Option<Timestamp>,
    /// How long it is kept from then.
    pub period: String,
    /// `discard` or `preserve`.
    pub archive: String,
    /// When its period is over.
    pub due_at: Option<Timestamp>,
    /// When the last package that holds it was made.
    pub handed_over_at: Option<Timestamp>,
    /// When the archive acknowledged that package.
    pub acknowledged_at: Option<Timestamp>,
    /// When its content went.
    pub ended_at: Option<Timestamp>,
    /// How many versions it has.
    pub versions: i64,
    /// How many annotations.
    pub annotations: i64,
}

impl EntryRow {
    /// What retention must know of it.
    #[must_use]
    pub fn facts(&self) -> Facts {
        Facts {
            closed_at: self.closed_at,
            period: self.period.clone(),
            archive: if self.archive == "preserve" {
                Archive::Preserve
            } else {
                Archive::Discard
            },
            changed_at: self.changed_at,
            handed_over_at: self.handed_over_at,
            acknowledged: self.acknowledged_at.is_some(),
        }
    }

    /// Why it is still there, or how it went: one sentence.
    #[must_use]
    pub fn why(&self, zone: &TimeZone, now: Timestamp) -> String {
        let ended = self.ended_at.map(|at| at.to_string()).unwrap_or_default();
        match self.state.as_str() {
            "deleted" => format!("deleted on {ended}: its period was over"),
            "transferred" => format!("deleted on {ended}: its period was over, and the archive has it"),
            "ending" => "its period is over; its content is being removed".to_owned(),
            _ => retention(&self.facts(), zone, now).to_string(),
        }
    }
}

pub(super) const ENTRY: &str =
    "SELECT e.id, e.reference, e.case_number, c.title, e.site, e.form, e.department, e.channel,
    e.theme, e.kle, e.received_at, e.journalised_at, e.changed_at, e.state, c.closed_at, e.period, e.archive, e.due_at,
    (SELECT MAX(h.made_at) FROM journal_handover h JOIN journal_handed d ON d.handover = h.id WHERE d.entry = e.id),
    (SELECT h.acknowledged_at FROM journal_handover h JOIN journal_handed d ON d.handover = h.id WHERE d.entry = e.id
        ORDER BY h.made_at DESC LIMIT 1),
    e.ended_at,
    (SELECT COUNT(*) FROM journal_version v WHERE v.entry = e.id),
    (SELECT COUNT(*) FROM journal_annotation a WHERE a.entry = e.id)
    FROM journal_entry e JOIN journal_case c ON c.number = e.case_number";

pub(super) fn entry(row: &Row) -> Result<EntryRow, StoreError> {
    let text = |column| row.text(column).map(str::to_owned);
    let at = |column| Ok::<_, StoreError>(row.opt_int(column)?.map(time));
    Ok(EntryRow {
        id: text(0)?,
        reference: text(1)?,
        case: text(2)?,
        case_title: text(3)?,
        site: text(4)?,
        form: text(5)?,
        department: text(6)?,
        channel: text(7)?,
        theme: text(8)?,
        kle: row.opt_text(9)?.map(str::to_owned),
        received_at: time(row.int(10)?),
        journalised_at: time(row.int(11)?),
        changed_at: time(row.int(12)?),
        state: text(13)?,
        closed_at: at(14)?,
        period: text(15)?,
        archive: text(16)?,
        due_at: at(17)?,
        handed_over_at: at(18)?,
        acknowledged_at: at(19)?,
        ended_at: at(20)?,
        versions: row.int(21)?,
        annotations: row.int(22)?,
    })
}

impl Ledger {
    /// The entries that match, the newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn journal_entries(&self, filter: EntryFilter, limit: u32) -> Result<Vec<EntryRow>, StoreError> {
        self.read(move |tx| {
            let mut values: Vec<Value> = vec![
                filter.case.into(),
                filter.form.into(),
                filter.state.into(),
                filter.since.map(Timestamp::as_millisecond).into(),
                limit.into(),
            ];
            // By a party through its index alone, however large the journal is.
            let party = filter.party.map_or("", |digest| {
                values.push(digest.into());
                "JOIN journal_party p ON p.entry = e.id AND p.digest = $6"
            });
            let sql = format!(
                "{ENTRY} {party} WHERE (CAST($1 AS TEXT) IS NULL OR e.case_number = $1)
                 AND (CAST($2 AS TEXT) IS NULL OR e.form = $2) AND (CAST($3 AS TEXT) IS NULL OR e.state = $3)
                 AND (CAST($4 AS BIGINT) IS NULL OR e.received_at >= $4)
                 ORDER BY e.received_at DESC, e.id LIMIT $5"
            );
            tx.query(&sql, &values)?.iter().map(entry).collect()
        })
        .await
    }

    /// One entry, by its id, or the newest under a reference.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn journal_entry(&self, id: String) -> Result<Option<EntryRow>, StoreError> {
        self.read(move |tx| {
            let sql = format!("{ENTRY} WHERE e.id = $1 OR e.reference = $1 ORDER BY e.journalised_at DESC LIMIT 1");
            tx.one(&sql, &[id.into()])?.as_ref().map(entry).transpose()
        })
        .await
    }

    /// The versions of an entry, in order.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn journal_versions(&self, entry: String) -> Result<Vec<VersionRow>, StoreError> {
        self.read(move |tx| versions(tx, &entry)).await
    }

    /// The annotations of an entry, in order, sealed.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn journal_annotations(&self, entry: String) -> Result<Vec<AnnotationRow>, StoreError> {
        self.read(move |tx| {
            let rows = tx.query(
                "SELECT at, sealed FROM journal_annotation WHERE entry = $1 ORDER BY at, id",
                &[entry.into()],
            )?;
            rows.iter()
                .map(|row| {
                    Ok(AnnotationRow {
                        at: time(row.int(0)?),
                        sealed: row.blob(1)?.to_vec(),
                    })
                })
                .collect()
        })
        .await
    }

    /// Where outside journals have a submission.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn journal_filings(&self, submission: String) -> Result<Vec<FilingRow>, StoreError> {
        self.read(move |tx| {
            let rows = tx.query(
                "SELECT target, reference, at FROM journal_filing WHERE submission = $1 ORDER BY at",
                &[submission.into()],
            )?;
            rows.iter()
                .map(|row| {
                    Ok(FilingRow {
                        target: row.text(0)?.to_owned(),
                        reference: row.text(1)?.to_owned(),
                        at: time(row.int(2)?),
                    })
                })
                .collect()
        })
        .await
    }

    /// The versions that were delivered under a reference, in order, with the keyed digests of their answers while those
    /// live.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn delivered(&self, reference: String) -> Result<Vec<Delivered>, StoreError> {
        self.read(move |tx| {
            let rows = tx.query(
                "SELECT id, version, received_at, epoch, answers FROM submission WHERE reference = $1 ORDER BY version",
                &[reference.into()],
            )?;
            rows.iter()
                .map(|row| {
                    let (epoch, answers) = (row.opt_int(3)?, row.opt_blob(4)?);
                    Ok(Delivered {
                        id: row.parse(0)?,
                        version: u32::try_from(row.int(1)?).unwrap_or(1),
                        received_at: time(row.int(2)?),
                        answers: epoch.zip(answers.map(<[u8]>::to_vec)),
                    })
                })
                .collect()
        })
        .await
    }

    /// Whether a version of this id is in the journal.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn is_journalised(&self, version: Uuid) -> Result<bool, StoreError> {
        self.read(move |tx| {
            let row = tx.one(
                "SELECT 1 FROM journal_version WHERE id = $1",
                &[version.to_string().into()],
            )?;
            Ok(row.is_some())
        })
        .await
    }

    /// Records the public half of the journal's key, so that what only the journal may read can be sealed to it.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn set_journal_key(
        &self,
        fingerprint: String,
        certificate: Vec<u8>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(
                "INSERT INTO journal_key (fingerprint, certificate, since) VALUES ($1, $2, $3)
                 ON CONFLICT (fingerprint) DO UPDATE SET certificate = $2, since = $3",
                &[fingerprint.into(), certificate.into(), now.as_millisecond().into()],
            )
            .map(drop)
        })
        .await
    }

    /// The public half of the journal's key, once a journaliser has run.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn journal_certificate(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|tx| {
            let row = tx.one("SELECT certificate FROM journal_key ORDER BY since DESC LIMIT 1", &[])?;
            row.map(|row| row.blob(0).map(<[u8]>::to_vec)).transpose()
        })
        .await
    }
}

pub(super) fn versions(tx: &mut Tx<'_>, entry: &str) -> Result<Vec<VersionRow>, StoreError> {
    let rows = tx.query(
        "SELECT id, number, made_at, file, bytes, sha256 FROM journal_version WHERE entry = $1 ORDER BY number",
        &[entry.into()],
    )?;
    rows.iter()
        .map(|row| {
            Ok(VersionRow {
                id: row.text(0)?.to_owned(),
                number: row.int(1)?,
                made_at: time(row.int(2)?),
                file: row.text(3)?.to_owned(),
                bytes: row.int(4)?,
                sha256: hex::encode(row.blob(5)?),
            })
        })
        .collect()
}
