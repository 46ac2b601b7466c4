//! Taking a submission: the one transaction.

use domain::event::{Dated, Source, after_message};
use domain::{DutyKind, DutyState, SubmissionId};
use jiff::Timestamp;
use store::rows::rows;
use store::{StoreError, Tx, Value};

use crate::arrival::{arrive, event_dates, scope};
use crate::counter::Counter;
use crate::lineage::lineage;
use crate::outbox::{EventData, SiteEvent, leaf, tell};
use crate::{EventSaid, Ledger, Lineage, NewDuty, NewSubmission, ReceiptAddress};

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It is in the ledger.
    Accepted,
    /// Another replica recorded a version of it meanwhile, its address has had its receipts meanwhile, or its reference is
    /// taken: judge again.
    Overtaken,
}

impl Ledger {
    /// Records a submission with its duties, payloads, leaves and counts: all of it, or nothing. `drift` says that it has
    /// fields that its form does not declare.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then nothing was recorded.
    pub async fn record(&self, new: NewSubmission, drift: bool, now: Timestamp) -> Result<Recorded, StoreError> {
        self.write(move |tx| record(tx, &new, drift, now)).await
    }

    /// What a message is judged by, at one moment: what is known under its identity (as [`Ledger::lineage`]), and how many
    /// receipts its address has had.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn standing(
        &self,
        identities: Vec<Vec<u8>>,
        answers: Vec<Vec<u8>>,
        address: Option<ReceiptAddress>,
    ) -> Result<(Lineage, i64), StoreError> {
        self.read(move |tx| {
            let known = lineage(tx, &identities, &answers)?;
            let receipts = address.map(|address| receipts_since(tx, &address.digests, address.since));
            Ok((known, receipts.transpose()?.unwrap_or(0)))
        })
        .await
    }
}

fn receipts_since(tx: &mut Tx<'_>, digests: &[Vec<u8>], since: Timestamp) -> Result<i64, StoreError> {
    let mut count = 0;
    for digest in digests {
        let row = tx.one(
            "SELECT COUNT(*) FROM receipt_window WHERE address = $1 AND at > $2",
            &[digest.as_slice().into(), since.as_millisecond().into()],
        )?;
        count += row.map_or(Ok(0), |row| row.int(0))?;
    }
    Ok(count)
}

fn record(tx: &mut Tx<'_>, new: &NewSubmission, drift: bool, now: Timestamp) -> Result<Recorded, StoreError> {
    if !is_still_so(tx, new)? {
        return Ok(Recorded::Overtaken);
    }
    insert(tx, new)?;
    add_duties(tx, Some(new.id), &new.duties, now)?;
    if let Some(receipt) = &new.receipt {
        tx.execute(
            "INSERT INTO receipt_window (address, at) VALUES ($1, $2)",
            &[receipt.digest.as_slice().into(), now.as_millisecond().into()],
        )?;
    }
    if let Some(event) = &new.event {
        note_event(tx, new, event)?;
    }
    arrive(tx, &new.arrival, Counter::Accepted, now)?;
    if drift {
        scope(&new.arrival).add(tx, Counter::FormDrift, 1)?;
    }
    let id = new.id.to_string();
    leaf(tx, Some(&id), "accepted", now, None, Some(&new.mac))?;
    for note in &new.notes {
        leaf(tx, Some(&id), note, now, None, None)?;
    }
    let data = EventData::of(&new.arrival.ids, Some(id), Some(new.reference.to_string()));
    let (site, form) = (new.arrival.site.as_str(), new.arrival.form.as_str());
    tell(tx, site, form, SiteEvent::Accepted, now, &data)?;
    if new.duties.iter().any(waits_for_somebody) {
        tell(tx, site, form, SiteEvent::Held, now, &data)?;
    }
    Ok(Recorded::Accepted)
}

/// A registration's extract and a journal copy that may be marked wait by nature; a mail or a file does not.
fn waits_for_somebody(duty: &NewDuty) -> bool {
    duty.state == DutyState::Held && matches!(duty.kind, DutyKind::DepartmentMail | DutyKind::Files)
}

/// Whether what the submission was judged by still holds; where it does, supersedes what came before.
fn is_still_so(tx: &mut Tx<'_>, new: &NewSubmission) -> Result<bool, StoreError> {
    tx.lock(new.lock)?;
    if let Some(receipt) = &new.receipt
        && !has_room(tx, receipt)?
    {
        return Ok(false);
    }
    let known = lineage(tx, &new.identities, &[])?;
    if known.known.len() != new.known {
        return Ok(false);
    }
    if known.known.is_empty() {
        let taken = tx.one(
            "SELECT 1 FROM submission WHERE reference = $1 LIMIT 1",
            &[new.reference.as_str().into()],
        )?;
        return Ok(taken.is_none());
    }
    if new.latest {
        for id in &known.ids {
            tx.execute(
                "UPDATE submission SET latest = 0 WHERE id = $1",
                &[id.to_string().into()],
            )?;
            if new.brings_files {
                discharge_files(tx, *id, new.received_at)?;
            }
        }
    }
    Ok(true)
}

fn has_room(tx: &mut Tx<'_>, receipt: &ReceiptAddress) -> Result<bool, StoreError> {
    tx.lock(receipt.lock)?;
    Ok(receipts_since(tx, &receipt.digests, receipt.since)? < receipt.most)
}

fn insert(tx: &mut Tx<'_>, new: &NewSubmission) -> Result<(), StoreError> {
    let [uuid, sid, serial] = new.arrival.ids.clone();
    let values: [Value; 25] = [
        new.id.to_string().into(),
        new.reference.as_str().into(),
        new.arrival.site.as_str().into(),
        new.arrival.form.as_str().into(),
        new.kind.as_str().into(),
        new.department.as_str().into(),
        new.version.into(),
        new.latest.into(),
        new.late.into(),
        new.arrival.test.into(),
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
    add_duties(tx, submission, std::slice::from_ref(duty), now)
}

/// Adds duties with their payloads: one statement for the duties, and one for each payload, of which one at a time is copied.
/// A submission has few duties, so few statements are prepared.
fn add_duties(
    tx: &mut Tx<'_>,
    submission: Option<SubmissionId>,
    duties: &[NewDuty],
    now: Timestamp,
) -> Result<(), StoreError> {
    if duties.is_empty() {
        return Ok(());
    }
    let now = now.as_millisecond();
    let mut values: Vec<Value> = vec![submission.map(|id| id.to_string()).into(), now.into()];
    for duty in duties {
        let own: [Value; DUTY] = [
            duty.id.to_string().into(),
            duty.kind.as_str().into(),
            duty.role.as_str().into(),
            duty.department.as_ref().map(domain::DepartmentId::as_str).into(),
            duty.state.as_str().into(),
            duty.reason.map(|reason| reason.to_string()).into(),
            duty.state.is_discharged().then_some(now).into(),
            duty.expires_at.map(Timestamp::as_millisecond).into(),
        ];
        values.extend(own);
    }
    let test = "COALESCE((SELECT test FROM submission WHERE submission.id = $1), 0)";
    let places = rows(&format!("$1, $2, $2, 0, {test}, "), 3, DUTY, duties.len());
    let sql = format!(
        "INSERT INTO duty (submission, created_at, next_at, attempts, test, id, kind, role, department, state, reason, done_at,
             expires_at) VALUES {places}"
    );
    tx.execute(&sql, &values)?;
    for duty in duties {
        let Some(payload) = &duty.payload else { continue };
        tx.execute(
            "INSERT INTO payload (duty, owner, purpose, sealed) VALUES ($1, $2, $3, $4)",
            &[
                duty.id.to_string().into(),
                payload.owner.to_string().into(),
                payload.purpose.as_str().into(),
                payload.sealed.as_slice().into(),
            ],
        )?;
    }
    Ok(())
}

/// How many values a duty has of its own.
const DUTY: usize = 8;

/// The content came with a later version: an earlier one need not wait for it. Its deletion follows with the sweep.
fn discharge_files(tx: &mut Tx<'_>, id: SubmissionId, now: Timestamp) -> Result<(), StoreError> {
    let id = id.to_string();
    let discharged = tx.execute(
        "UPDATE duty SET state = 'done', reason = NULL, done_at = $2
         WHERE submission = $1 AND kind = $3 AND state NOT IN ('done', 'cancelled')",
        &[
            id.as_str().into(),
            now.as_millisecond().into(),
            DutyKind::Files.as_str().into(),
        ],
    )?;
    if discharged > 0 {
        leaf(tx, Some(&id), "files_done", now, None, None)?;
    }
    Ok(())
}

/// Records what is known of an event's dates after this message.
fn note_event(tx: &mut Tx<'_>, new: &NewSubmission, said: &EventSaid) -> Result<(), StoreError> {
    // Two registrations at once must not both replace the same dates.
    tx.execute(
        "INSERT INTO event (id, site, form) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING",
        &[
            said.id.as_str().into(),
            new.arrival.site.as_str().into(),
            new.arrival.form.as_str().into(),
        ],
    )?;
    tx.one_for_update("SELECT 1 FROM event WHERE id = $1", &[said.id.as_str().into()])?;
    let dates = after_message(event_dates(tx, &said.id)?, said.message, said.form);
    let at = |date: Option<Dated>| Value::from(date.map(|(at, _)| at.as_millisecond()));
    let by = |date: Option<Dated>| {
        Value::from(date.map(|(_, source)| match source {
            Source::Form => "form",
            Source::Message => "message",
            Source::Operator => "operator",
        }))
    };
    tx.execute(
        "UPDATE event SET deadline = $2, deadline_source = $3, held = $4, held_source = $5 WHERE id = $1",
        &[
            said.id.as_str().into(),
            at(dates.deadline),
            by(dates.deadline),
            at(dates.held),
            by(dates.held),
        ],
    )
    .map(drop)
}
