//! Taking a submission: lineage, and the one transaction.

use domain::lineage::{Known, Order};
use domain::{DutyKind, DutyState, Reason, Reference, SubmissionId};
use jiff::Timestamp;
use store::{StoreError, Tx, Value};

use crate::counter::{Counter, Scope};
use crate::outbox::{SiteEvent, leaf, tell_of};
use crate::read::time;
use crate::{EventDates, Ledger, NewDuty, NewSubmission};

/// What is known under one identity.
#[derive(Debug, Clone, Default)]
pub struct Lineage {
    /// Every version, oldest first.
    pub known: Vec<Known>,
    /// The reference that they share.
    pub reference: Option<Reference>,
    /// The latest version, the first version, and the department's mail that both belong to.
    pub latest: Option<SubmissionId>,
    /// The latest version's field digests, and their epoch.
    pub fields: Option<(i64, Vec<u8>)>,
    /// Whether a receipt was sent, or is on its way.
    pub has_receipt: bool,
    /// Every version's id, oldest first.
    pub ids: Vec<SubmissionId>,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// It is in the ledger.
    Accepted,
    /// Another replica recorded a version of it meanwhile: judge again.
    Overtaken,
}

/// Columns of the lineage query, in order.
const LINEAGE: &str =
    "SELECT id, reference, version, latest, answers, epoch, fields, sequence, changed FROM submission";

fn lineage(tx: &mut Tx<'_>, identities: &[Vec<u8>], answers: &[Vec<u8>]) -> Result<Lineage, StoreError> {
    let mut found = Lineage::default();
    let mut versions = Vec::new();
    for identity in identities {
        for row in tx.query(&format!("{LINEAGE} WHERE identity = $1"), &[identity.as_slice().into()])? {
            let id: SubmissionId = row.parse(0)?;
            found.reference = Some(row.parse(1)?);
            let same = row
                .opt_blob(4)?
                .is_some_and(|digest| answers.iter().any(|mine| mine == digest));
            let known = Known {
                version: u32::try_from(row.int(2)?).unwrap_or(u32::MAX),
                same_answers: same,
                order: Order {
                    sequence: row.opt_int(7)?,
                    changed: row.opt_int(8)?.map(time),
                },
                latest: row.int(3)? != 0,
            };
            if known.latest {
                found.latest = Some(id);
                found.fields = row.opt_int(5)?.zip(row.opt_blob(6)?.map(<[u8]>::to_vec));
            }
            versions.push((known, id));
        }
    }
    versions.sort_by_key(|(known, _)| known.version);
    for (_, id) in &versions {
        let sent = tx.one(
            "SELECT COUNT(*) FROM duty WHERE submission = $1 AND kind = 'receipt' AND state <> 'cancelled'",
            &[id.to_string().into()],
        )?;
        found.has_receipt |= sent.map_or(Ok(0), |row| row.int(0))? > 0;
    }
    (found.known, found.ids) = versions.into_iter().unzip();
    Ok(found)
}

impl Ledger {
    /// What is known under an identity (given under every live epoch), and whether any of it has these answers.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn lineage(&self, identities: Vec<Vec<u8>>, answers: Vec<Vec<u8>>) -> Result<Lineage, StoreError> {
        self.read(move |tx| lineage(tx, &identities, &answers)).await
    }

    /// Records a submission with its duties, payloads, leaves and counts: all of it, or nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then nothing was recorded.
    pub async fn record(&self, new: NewSubmission) -> Result<Recorded, StoreError> {
        let shard = self.shard;
        self.write(move |tx| record(tx, &new, shard)).await
    }

    /// Counts a message that changes nothing: a repeat, a draft. Tells the site of a repeat.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn count(
        &self,
        counter: Counter,
        (site, form, test): (String, String, bool),
        of: Option<SubmissionId>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let shard = self.shard;
        self.write(move |tx| {
            let scope = Scope {
                site: &site,
                form: &form,
                test,
                shard,
            };
            scope.add(tx, Counter::Arrived, 1)?;
            scope.add(tx, counter, 1)?;
            match of {
                Some(id) => tell_of(tx, id, SiteEvent::Duplicate, now),
                None => Ok(()),
            }
        })
        .await
    }

    /// Counts messages whose fields their form does not declare, apart from what becomes of them.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn count_drift(&self, (site, form, test): (String, String, bool)) -> Result<(), StoreError> {
        let shard = self.shard;
        self.write(move |tx| {
            let scope = Scope {
                site: &site,
                form: &form,
                test,
                shard,
            };
            scope.add(tx, Counter::FormDrift, 1)
        })
        .await
    }

    /// The site says that its own copy is gone: recorded for every version, and counted as a repeat.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn site_copy_gone(
        &self,
        (site, form, test): (String, String, bool),
        ids: Vec<SubmissionId>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let shard = self.shard;
        self.write(move |tx| {
            let scope = Scope {
                site: &site,
                form: &form,
                test,
                shard,
            };
            scope.add(tx, Counter::Arrived, 1)?;
            scope.add(tx, Counter::Duplicates, 1)?;
            for id in ids {
                let id = id.to_string();
                let changed = tx.execute(
                    "UPDATE submission SET site_copy = 'gone' WHERE id = $1 AND site_copy <> 'gone'",
                    &[id.as_str().into()],
                )?;
                if changed > 0 {
                    leaf(tx, Some(&id), "site_copy_gone", now, None, None)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// A known submission was withdrawn: recorded, counted as a repeat, and the notice to the department put on its
    /// way once; a registration's extract is no longer owed. Answers whether it was news.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn withdraw(
        &self,
        (site, form, test): (String, String, bool),
        ids: Vec<SubmissionId>,
        notice: Option<NewDuty>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let shard = self.shard;
        self.write(move |tx| {
            let scope = Scope {
                site: &site,
                form: &form,
                test,
                shard,
            };
            scope.add(tx, Counter::Arrived, 1)?;
            scope.add(tx, Counter::Duplicates, 1)?;
            let mut told = false;
            for id in &ids {
                let id = id.to_string();
                let known = tx.one(
                    "SELECT 1 FROM leaf WHERE submission = $1 AND event = 'withdrawn'",
                    &[id.as_str().into()],
                )?;
                if known.is_some() {
                    continue;
                }
                told = true;
                leaf(tx, Some(&id), "withdrawn", now, None, None)?;
                // Not kept for its event any more: the sweep lets it go as it does a message.
                tx.execute(
                    "UPDATE submission SET late = 1 WHERE id = $1 AND kind = 'registration'",
                    &[id.as_str().into()],
                )?;
                tx.execute(
                    "UPDATE duty SET state = 'cancelled', reason = $2, done_at = $3
                     WHERE submission = $1 AND kind = 'extract' AND state NOT IN ('done', 'cancelled')",
                    &[
                        id.into(),
                        Reason::Operator.to_string().into(),
                        now.as_millisecond().into(),
                    ],
                )?;
            }
            if let (true, Some(duty)) = (told, notice) {
                add_duty(tx, None, &duty, now)?;
            }
            Ok(told)
        })
        .await
    }

    /// What is recorded of an event's dates.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn event_dates(&self, id: String) -> Result<Option<EventDates>, StoreError> {
        self.read(move |tx| {
            let row = tx.one(
                "SELECT deadline, held, source FROM event WHERE id = $1",
                &[id.as_str().into()],
            )?;
            row.map(|row| {
                Ok(EventDates {
                    deadline: row.opt_int(0)?.map(time),
                    held: row.opt_int(1)?.map(time),
                    from_message: row.text(2)? != "form",
                    id,
                })
            })
            .transpose()
        })
        .await
    }

    /// How many receipts went to an address, by its keyed digests, since a time.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn receipts_since(&self, digests: Vec<Vec<u8>>, since: Timestamp) -> Result<i64, StoreError> {
        self.read(move |tx| {
            let mut count = 0;
            for digest in digests {
                let row = tx.one(
                    "SELECT COUNT(*) FROM receipt_window WHERE address = $1 AND at > $2",
                    &[digest.into(), since.as_millisecond().into()],
                )?;
                count += row.map_or(Ok(0), |row| row.int(0))?;
            }
            Ok(count)
        })
        .await
    }
}

fn record(tx: &mut Tx<'_>, new: &NewSubmission, shard: i64) -> Result<Recorded, StoreError> {
    if new.identity.is_some() {
        tx.lock(new.lock)?;
        let known = lineage(tx, &new.identities, &[])?;
        if known.known.len() != new.known {
            return Ok(Recorded::Overtaken);
        }
        if new.latest {
            for id in &known.ids {
                tx.execute(
                    "UPDATE submission SET latest = 0 WHERE id = $1",
                    &[id.to_string().into()],
                )?;
            }
        }
        if new.brings_files {
            discharge_files(tx, &known.ids, new.received_at)?;
        }
    }
    insert(tx, new)?;
    for duty in &new.duties {
        add_duty(tx, Some(new.id), duty, new.received_at)?;
    }
    if let Some(address) = &new.receipt_address {
        tx.execute(
            "INSERT INTO receipt_window (address, at) VALUES ($1, $2)",
            &[address.as_slice().into(), new.received_at.as_millisecond().into()],
        )?;
    }
    if let Some(event) = &new.event {
        note_event(tx, new, event)?;
    }
    if let Some(sequence) = new.sequence {
        note_sequence(tx, new.site.as_str(), sequence)?;
    }
    count_accepted(tx, new, shard)?;
    leaf(
        tx,
        Some(&new.id.to_string()),
        "accepted",
        new.received_at,
        None,
        Some(&new.mac),
    )?;
    tell_of(tx, new.id, SiteEvent::Accepted, new.received_at)?;
    if new.duties.iter().any(|duty| duty.state == DutyState::Held) {
        tell_of(tx, new.id, SiteEvent::Held, new.received_at)?;
    }
    Ok(Recorded::Accepted)
}

fn count_accepted(tx: &mut Tx<'_>, new: &NewSubmission, shard: i64) -> Result<(), StoreError> {
    let scope = Scope {
        site: new.site.as_str(),
        form: new.form.as_str(),
        test: new.test,
        shard,
    };
    scope.add(tx, Counter::Accepted, 1)?;
    match new.was_quarantined {
        // It arrived when it was quarantined.
        Some(id) => crate::quarantine::leave(tx, id, "retried", None, new.received_at, shard),
        None => scope.add(tx, Counter::Arrived, 1),
    }
}

fn insert(tx: &mut Tx<'_>, new: &NewSubmission) -> Result<(), StoreError> {
    let [uuid, sid, serial] = new.site_ids.clone();
    let values: [Value; 25] = [
        new.id.to_string().into(),
        new.reference.as_str().into(),
        new.site.as_str().into(),
        new.form.as_str().into(),
        new.kind.as_str().into(),
        new.department.as_str().into(),
        new.version.into(),
        new.latest.into(),
        new.late.into(),
        new.test.into(),
        "open".into(),
        new.received_at.as_millisecond().into(),
        new.alarm_at.as_millisecond().into(),
        "unknown".into(),
        uuid.into(),
        sid.into(),
        serial.into(),
        new.identity.clone().into(),
        new.answers.as_slice().into(),
        new.fields.as_slice().into(),
        new.epoch.into(),
        new.order.sequence.into(),
        new.order.changed.map(Timestamp::as_millisecond).into(),
        new.event.as_ref().map(|event| event.id.clone()).into(),
        Value::Null,
    ];
    tx.execute(
        "INSERT INTO submission (id, reference, site, form, kind, department, version, latest, late, test, state,
             received_at, alarm_at, site_copy, site_uuid, sid, serial, identity, answers, fields, epoch, sequence,
             changed, event, hold)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
             $23, $24, $25)",
        &values,
    )
    .map(drop)
}

/// Adds a duty with its payload.
pub(crate) fn add_duty(
    tx: &mut Tx<'_>,
    submission: Option<SubmissionId>,
    duty: &NewDuty,
    now: Timestamp,
) -> Result<(), StoreError> {
    let discharged = duty.state.is_discharged().then(|| now.as_millisecond());
    tx.execute(
        "INSERT INTO duty (id, submission, kind, role, department, state, reason, attempts, created_at, next_at, done_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $8, $9)",
        &[
            duty.id.to_string().into(),
            submission.map(|id| id.to_string()).into(),
            duty.kind.as_str().into(),
            duty.role.as_str().into(),
            duty.department.as_ref().map(domain::DepartmentId::as_str).into(),
            duty.state.as_str().into(),
            duty.reason.map(|reason| reason.to_string()).into(),
            now.as_millisecond().into(),
            discharged.into(),
        ],
    )?;
    let Some(payload) = &duty.payload else { return Ok(()) };
    tx.execute(
        "INSERT INTO payload (duty, owner, purpose, sealed) VALUES ($1, $2, $3, $4)",
        &[
            duty.id.to_string().into(),
            payload.owner.to_string().into(),
            payload.purpose.as_str().into(),
            payload.sealed.as_slice().into(),
        ],
    )
    .map(drop)
}

/// The content came with a later version: earlier ones need not wait for it. Their deletion follows with the sweep.
fn discharge_files(tx: &mut Tx<'_>, ids: &[SubmissionId], now: Timestamp) -> Result<(), StoreError> {
    for id in ids {
        tx.execute(
            "UPDATE duty SET state = 'done', reason = NULL, done_at = $2
             WHERE submission = $1 AND kind = $3 AND state NOT IN ('done', 'cancelled')",
            &[
                id.to_string().into(),
                now.as_millisecond().into(),
                DutyKind::Files.as_str().into(),
            ],
        )?;
    }
    Ok(())
}

/// Records an event's dates: the first message's date replaces the form's, later ones only postpone it.
fn note_event(tx: &mut Tx<'_>, new: &NewSubmission, event: &EventDates) -> Result<(), StoreError> {
    let source = if event.from_message { "message" } else { "form" };
    let millis = |time: Option<Timestamp>| Value::from(time.map(Timestamp::as_millisecond));
    tx.execute(
        "INSERT INTO event (id, site, form, deadline, held, source) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (id) DO UPDATE SET
             deadline = CASE WHEN event.source = 'operator' THEN event.deadline
                 WHEN $6 = 'message' AND (event.source = 'form' OR event.deadline IS NULL OR $4 > event.deadline) AND $4 IS NOT NULL THEN $4
                 WHEN $6 = 'form' AND event.source = 'form' THEN $4
                 ELSE event.deadline END,
             held = CASE WHEN event.source = 'operator' THEN event.held
                 WHEN $6 = 'message' AND (event.source = 'form' OR event.held IS NULL OR $5 > event.held) AND $5 IS NOT NULL THEN $5
                 WHEN $6 = 'form' AND event.source = 'form' THEN $5
                 ELSE event.held END,
             source = CASE WHEN event.source = 'operator' THEN event.source
                 WHEN $6 = 'message' THEN $6 ELSE event.source END",
        &[
            event.id.as_str().into(),
            new.site.as_str().into(),
            new.form.as_str().into(),
            millis(event.deadline),
            millis(event.held),
            source.into(),
        ],
    )
    .map(drop)
}

/// Notes the site's running number; a number that skips some is a gap.
fn note_sequence(tx: &mut Tx<'_>, site: &str, sequence: i64) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO site_sequence (site, highest, gaps) VALUES ($1, $2, 0)
         ON CONFLICT (site) DO UPDATE SET
             gaps = site_sequence.gaps + CASE
                 WHEN $2 > site_sequence.highest + 1 THEN $2 - site_sequence.highest - 1
                 WHEN $2 < site_sequence.highest AND site_sequence.gaps > 0 THEN -1
                 ELSE 0 END,
             highest = CASE WHEN $2 > site_sequence.highest THEN $2 ELSE site_sequence.highest END",
        &[site.into(), sequence.into()],
    )
    .map(drop)
}
