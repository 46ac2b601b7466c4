//! Taking a duty in hand, for as long as its worker says that it lives.

use domain::{DepartmentId, DutyId, DutyKind, DutyState, FormId, Reason, SiteId, SubmissionId};
use jiff::Timestamp;
use store::{StoreError, Tx};

use crate::counter::{Counter, Scope};
use crate::pause::not_paused;
use crate::read::time;
use crate::{Ledger, Payload, WorkerId};

/// A duty in a worker's hands, with what it needs.
#[derive(Clone)]
pub struct Claim {
    /// The duty.
    pub id: DutyId,
    /// Its submission; a notice about no single one has none.
    pub submission: Option<SubmissionId>,
    /// What is owed.
    pub kind: DutyKind,
    /// Which mail of its kind it is.
    pub role: String,
    /// The department that it concerns.
    pub department: Option<DepartmentId>,
    /// Why it is held.
    pub reason: Option<Reason>,
    /// How often it was claimed, this time included.
    pub attempts: i64,
    /// When the duty began.
    pub created_at: Timestamp,
    /// Another worker had it and never said how it ended: its effect may have happened.
    pub ambiguous: bool,
    /// The submission's reference.
    pub reference: Option<String>,
    /// The producer.
    pub site: Option<SiteId>,
    /// The form.
    pub form: Option<FormId>,
    /// Whether it is a test.
    pub test: bool,
    /// The sealed payload; `None` where it is gone, or larger than was asked for.
    pub payload: Option<Payload>,
    /// How many bytes a payload has that is larger than was asked for; [`Ledger::payload`] reads it.
    pub larger: Option<usize>,
}

impl Ledger {
    /// Takes a duty that is due, or one whose worker let its lease run out. `None` where there is nothing to do,
    /// or where it is paused.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn claim(
        &self,
        id: DutyId,
        worker: WorkerId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Claim>, StoreError> {
        self.claim_up_to(usize::MAX, id, worker, now, until).await
    }

    /// As [`Ledger::claim`], with the payload only where it has at most so many bytes: who has many duties in hand chooses
    /// how many large ones are in memory.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn claim_up_to(
        &self,
        most: usize,
        id: DutyId,
        worker: WorkerId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Claim>, StoreError> {
        self.write(move |tx| claim(tx, id, most, worker, (now, until))).await
    }

    /// Keeps the leases of what a worker has in hand alive.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn extend(&self, worker: WorkerId, ids: Vec<DutyId>, until: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| {
            for id in ids {
                tx.execute(
                    "UPDATE duty SET lease_until = $3 WHERE id = $1 AND state = 'sending' AND lease_owner = $2",
                    &[
                        id.to_string().into(),
                        worker.0.to_string().into(),
                        until.as_millisecond().into(),
                    ],
                )?;
            }
            Ok(())
        })
        .await
    }
}

const CLAIM: &str = "SELECT duty.submission, duty.kind, duty.role, duty.department, duty.attempts, duty.created_at,
    duty.state, payload.owner, payload.purpose,
    CASE WHEN LENGTH(payload.sealed) <= CAST($2 AS BIGINT) THEN payload.sealed END,
    submission.reference, submission.test, submission.site, submission.form, duty.reason, LENGTH(payload.sealed)
    FROM duty LEFT JOIN payload ON payload.duty = duty.id LEFT JOIN submission ON submission.id = duty.submission
    WHERE duty.id = $1";

/// A duty with what a worker needs of it; its payload where it has at most so many bytes.
pub(super) fn read_claim(tx: &mut Tx<'_>, id: &str, most: usize) -> Result<Option<(Claim, DutyState)>, StoreError> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let Some(row) = tx.one(CLAIM, &[id.into(), most.into()])? else {
        return Ok(None);
    };
    let larger = row.opt_int(15)?.filter(|bytes| *bytes > most);
    let payload = match (row.opt_text(7)?, row.opt_text(8)?, row.opt_blob(9)?) {
        (Some(owner), Some(purpose), Some(sealed)) => Some(Payload {
            owner: owner.parse().map_err(|_| StoreError::Unexpected { column: 7 })?,
            purpose: purpose.to_owned(),
            sealed: sealed.to_vec(),
        }),
        _ => None,
    };
    let claim = Claim {
        id: id.parse().map_err(|_| StoreError::Unexpected { column: 0 })?,
        submission: row.opt_text(0)?.and_then(|id| id.parse().ok()),
        kind: row.parse(1)?,
        role: row.text(2)?.to_owned(),
        department: row.opt_text(3)?.and_then(|id| id.parse().ok()),
        reason: row.opt_text(14)?.and_then(|reason| reason.parse().ok()),
        attempts: row.int(4)?,
        created_at: time(row.int(5)?),
        ambiguous: false,
        reference: row.opt_text(10)?.map(str::to_owned),
        site: row.opt_text(12)?.and_then(|site| site.parse().ok()),
        form: row.opt_text(13)?.and_then(|form| form.parse().ok()),
        test: row.opt_int(11)?.unwrap_or(0) != 0,
        payload,
        larger: larger.and_then(|bytes| usize::try_from(bytes).ok()),
    };
    Ok(Some((claim, row.parse(6)?)))
}

fn claim(
    tx: &mut Tx<'_>,
    id: DutyId,
    most: usize,
    worker: WorkerId,
    times: (Timestamp, Timestamp),
) -> Result<Option<Claim>, StoreError> {
    let text = id.to_string();
    let ambiguous = if take(tx, &text, worker, times, DUE)? {
        false
    } else if take(tx, &text, worker, times, RUN_OUT)? {
        true
    } else {
        return Ok(None);
    };
    // Read after it was taken: what is read now is what the worker has in hand.
    let Some((mut claim, _)) = read_claim(tx, &text, most)? else {
        return Ok(None);
    };
    claim.ambiguous = ambiguous;
    if ambiguous {
        count_possible(tx, &claim)?;
    }
    Ok(Some(claim))
}

const DUE: &str = "state = 'ready' AND (next_at IS NULL OR next_at <= $4)";
const RUN_OUT: &str = "state = 'sending' AND (lease_until IS NULL OR lease_until < $4)";

/// Takes a duty in a certain state: of several workers at once, the statement's condition lets one.
fn take(
    tx: &mut Tx<'_>,
    id: &str,
    worker: WorkerId,
    (now, until): (Timestamp, Timestamp),
    condition: &str,
) -> Result<bool, StoreError> {
    let taken = tx.execute(
        &format!(
            "UPDATE duty SET state = 'sending', attempts = attempts + 1, lease_owner = $2, lease_until = $3
             WHERE id = $1 AND {condition} AND {}",
            not_paused("$4")
        ),
        &[
            id.into(),
            worker.0.to_string().into(),
            until.as_millisecond().into(),
            now.as_millisecond().into(),
        ],
    )?;
    Ok(taken > 0)
}

/// Counts a mail that may have gone out and goes out again.
pub(super) fn count_possible(tx: &mut Tx<'_>, claim: &Claim) -> Result<(), StoreError> {
    let scope = Scope {
        site: claim.site.as_ref().map_or("", SiteId::as_str),
        form: claim.form.as_ref().map_or("", FormId::as_str),
        test: claim.test,
    };
    scope.add(tx, Counter::PossibleMail, 1)
}
