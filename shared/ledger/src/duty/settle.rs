//! How an attempt ended, and what follows from it.

use domain::{DutyId, DutyKind, DutyState, Reason, SubmissionId};
use jiff::Timestamp;
use store::{StoreError, Tx, Value};

use super::claim::{count_possible, read_claim};
use crate::backlog::{IN_TIME, OWED_MAIL};
use crate::counter::Counter;
use crate::facts::SubmissionFacts;
use crate::intake::add_duty;
use crate::outbox::{SiteEvent, leaf_of_duty};
use crate::{Ledger, NewDuty, WorkerId};

/// How a worker's attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Done,
    /// To be tried again.
    Retry {
        /// When.
        at: Timestamp,
        /// What the last attempt met.
        reason: Option<Reason>,
    },
    /// Given over, and never answered: it may have happened. To be tried again, and counted as a possible duplicate.
    Unknown {
        /// When.
        at: Timestamp,
    },
    /// Waits for a person or a certificate.
    Hold(Reason),
    /// Given up, with an alarm.
    Fail(Option<Reason>),
    /// Never to be done.
    Cancel(Reason),
}

impl Outcome {
    /// What became of the attempt, as metrics and traces say it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "accepted",
            Self::Retry { .. } => "retried",
            Self::Unknown { .. } => "unknown",
            Self::Hold(_) => "held",
            Self::Fail(_) => "failed",
            Self::Cancel(_) => "cancelled",
        }
    }

    /// Why, where the ledger has a code for it.
    #[must_use]
    pub fn reason(self) -> Option<Reason> {
        match self {
            Self::Done | Self::Unknown { .. } => None,
            Self::Retry { reason, .. } | Self::Fail(reason) => reason,
            Self::Hold(reason) | Self::Cancel(reason) => Some(reason),
        }
    }
}

/// What settling a duty led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settled {
    /// Whether this settle is the one that counts.
    pub counted: bool,
    /// The submission whose deletion began with it: its keys are to be destroyed now.
    pub deleting: Option<SubmissionId>,
}

impl Ledger {
    /// Settles a duty, adds what follows from it, and begins the submission's deletion where that was the last one.
    /// A duty that is discharged already stays so: the first settle wins, lease or not.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then nothing was settled.
    pub async fn settle(
        &self,
        id: DutyId,
        worker: WorkerId,
        outcome: Outcome,
        follows: Option<NewDuty>,
        now: Timestamp,
    ) -> Result<Settled, StoreError> {
        self.write(move |tx| {
            let settled = settle(tx, id, Some(worker), outcome, now)?;
            if let (true, Outcome::Unknown { .. }) = (settled.counted, outcome)
                && let Some((claim, _)) = read_claim(tx, &id.to_string(), 0)?
            {
                count_possible(tx, &claim)?;
            }
            if settled.counted
                && let Some(duty) = follows
            {
                add_duty(tx, None, &duty, now)?;
            }
            Ok(settled)
        })
        .await
    }
}

/// Settles one duty. Without a worker it is a person's decision.
///
/// The submission is reserved first: of two last duties that are settled at the same moment, the later one sees that the
/// other is done, and begins the deletion.
pub(crate) fn settle(
    tx: &mut Tx<'_>,
    id: DutyId,
    worker: Option<WorkerId>,
    outcome: Outcome,
    now: Timestamp,
) -> Result<Settled, StoreError> {
    let text = id.to_string();
    let (state, reason, next_at) = match outcome {
        Outcome::Done => (DutyState::Done, None, None),
        Outcome::Retry { at, reason } => (DutyState::Ready, reason, Some(at)),
        Outcome::Unknown { at } => (DutyState::Ready, None, Some(at)),
        Outcome::Hold(reason) => (DutyState::Held, Some(reason), None),
        Outcome::Fail(reason) => (DutyState::Failed, reason, None),
        Outcome::Cancel(reason) => (DutyState::Cancelled, Some(reason), None),
    };
    // What happened counts whoever did it; what did not happen is only said by the one who holds the lease.
    // A person does not decide over what a worker has in hand.
    let mine = match worker {
        None => " AND state <> 'sending'",
        Some(_) if outcome == Outcome::Done => "",
        Some(_) => " AND lease_owner = $6",
    };
    let mut values: Vec<Value> = vec![
        text.as_str().into(),
        state.as_str().into(),
        reason.map(|reason| reason.to_string()).into(),
        next_at.map(Timestamp::as_millisecond).into(),
        state.is_discharged().then(|| now.as_millisecond()).into(),
    ];
    if let (Some(worker), true) = (worker, outcome != Outcome::Done) {
        values.push(worker.0.to_string().into());
    }
    let submission = SubmissionFacts::reserve_by_duty(tx, &text)?;
    let changed = tx.one(
        &format!(
            "UPDATE duty SET state = $2, reason = $3, next_at = $4, done_at = $5, lease_owner = NULL, lease_until = NULL
             WHERE id = $1 AND state NOT IN ('done', 'cancelled'){mine} RETURNING kind"
        ),
        &values,
    )?;
    match changed {
        Some(row) => after_settling(tx, (&text, row.parse(0)?), submission.as_ref(), outcome, now),
        None => Ok(Settled::default()),
    }
}

fn after_settling(
    tx: &mut Tx<'_>,
    (id, kind): (&str, DutyKind),
    submission: Option<&SubmissionFacts>,
    outcome: Outcome,
    now: Timestamp,
) -> Result<Settled, StoreError> {
    let mut settled = Settled {
        counted: true,
        deleting: None,
    };
    let event = match outcome {
        Outcome::Done => "done",
        Outcome::Cancel(_) => "cancelled",
        Outcome::Hold(_) => "held",
        Outcome::Fail(_) => "failed",
        Outcome::Retry { .. } | Outcome::Unknown { .. } => return Ok(settled),
    };
    let rule = match outcome {
        Outcome::Hold(reason) | Outcome::Cancel(reason) => Some(reason.to_string()),
        _ => None,
    };
    let of = submission.map(|submission| submission.id.as_str());
    leaf_of_duty(tx, (of, id), &format!("{kind}_{event}"), now, rule.as_deref())?;
    if matches!(outcome, Outcome::Done | Outcome::Cancel(_)) {
        tx.execute("DELETE FROM payload WHERE duty = $1", &[id.into()])?;
    }
    let Some(submission) = submission else {
        return Ok(settled);
    };
    match outcome {
        Outcome::Done | Outcome::Cancel(_) => count_late(tx, submission, kind, now)?,
        _ => submission.tell(tx, SiteEvent::Held, now)?,
    }
    if crate::deletion::begin(tx, submission, now)? {
        settled.deleting = submission.id.parse().ok();
    }
    Ok(settled)
}

/// Counts a submission whose last mail is done now, and should have been earlier.
fn count_late(tx: &mut Tx<'_>, submission: &SubmissionFacts, kind: DutyKind, now: Timestamp) -> Result<(), StoreError> {
    let is_mail = matches!(kind, DutyKind::DepartmentMail | DutyKind::Receipt);
    let is_late = now.duration_since(submission.received_at) > IN_TIME;
    if !is_mail || !is_late || owes_mail(tx, &submission.id)? {
        return Ok(());
    }
    submission.scope().add(tx, Counter::Late, 1)
}

/// Whether a mail of a submission is neither done nor cancelled.
fn owes_mail(tx: &mut Tx<'_>, submission: &str) -> Result<bool, StoreError> {
    let sql = format!("SELECT 1 FROM duty WHERE submission = $1 AND {OWED_MAIL} LIMIT 1");
    Ok(tx.one(&sql, &[submission.into()])?.is_some())
}
