//! Claiming, settling and dispatching duties, and what a person may do with them.

use domain::{DepartmentId, DutyId, DutyKind, DutyState, FormId, Reason, SiteId, SubmissionId};
use jiff::Timestamp;
use serde::Serialize;
use store::{Row, StoreError, Tx, Value};

use crate::counter::{Counter, Scope};
use crate::deletion::reserve;
use crate::intake::add_duty;
use crate::outbox::{SiteEvent, leaf, tell_of};
use crate::read::time;
use crate::{Ledger, NewDuty, Payload, WorkerId};

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
    /// The sealed payload; `None` where it is gone.
    pub payload: Option<Payload>,
}

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

/// What settling a duty led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settled {
    /// Whether this settle is the one that counts.
    pub counted: bool,
    /// The submission whose deletion began with it: its keys are to be destroyed now.
    pub deleting: Option<SubmissionId>,
}

/// Which duties a command is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DutyFilter {
    /// This one.
    pub id: Option<String>,
    /// Of this submission.
    pub submission: Option<String>,
    /// Of this kind.
    pub kind: Option<String>,
    /// In this state.
    pub state: Option<String>,
    /// With this reason.
    pub reason: Option<String>,
    /// Of this form.
    pub form: Option<String>,
    /// Of this site.
    pub site: Option<String>,
    /// Begun at or after this time.
    pub since: Option<Timestamp>,
}

/// A duty as a person sees it.
#[derive(Debug, Clone, Serialize)]
pub struct DutyRow {
    /// Its id.
    pub id: String,
    /// Its submission.
    pub submission: Option<String>,
    /// The submission's reference.
    pub reference: Option<String>,
    /// The producer.
    pub site: Option<String>,
    /// The form.
    pub form: Option<String>,
    /// What is owed.
    pub kind: String,
    /// Which mail of its kind.
    pub role: String,
    /// How far it has come.
    pub state: String,
    /// Why it is held, failed or cancelled.
    pub reason: Option<String>,
    /// What the person who decided said.
    pub why: Option<String>,
    /// How often it was tried.
    pub attempts: i64,
    /// When it began.
    pub created_at: Timestamp,
    /// When it is tried next.
    pub next_at: Option<Timestamp>,
    /// When it was discharged.
    pub done_at: Option<Timestamp>,
}

const VIEW: &str = "SELECT duty.id, duty.submission, submission.reference, submission.site, submission.form, duty.kind,
    duty.role, duty.state, duty.reason, duty.attempts, duty.created_at, duty.next_at, duty.done_at, duty.why
    FROM duty LEFT JOIN submission ON submission.id = duty.submission";

/// The statement's condition for a filter; a missing part matches everything. PostgreSQL must be told a parameter's type
/// where nothing else says it.
const MATCHES: &str = "(CAST($1 AS TEXT) IS NULL OR duty.id = $1)
    AND (CAST($2 AS TEXT) IS NULL OR duty.submission = $2)
    AND (CAST($3 AS TEXT) IS NULL OR duty.kind = $3) AND (CAST($4 AS TEXT) IS NULL OR duty.state = $4)
    AND (CAST($5 AS TEXT) IS NULL OR duty.reason = $5) AND (CAST($6 AS TEXT) IS NULL OR submission.form = $6)
    AND (CAST($7 AS TEXT) IS NULL OR submission.site = $7)
    AND (CAST($8 AS BIGINT) IS NULL OR duty.created_at >= $8)";

fn values(filter: &DutyFilter) -> Vec<Value> {
    vec![
        filter.id.clone().into(),
        filter.submission.clone().into(),
        filter.kind.clone().into(),
        filter.state.clone().into(),
        filter.reason.clone().into(),
        filter.form.clone().into(),
        filter.site.clone().into(),
        filter.since.map(Timestamp::as_millisecond).into(),
    ]
}

fn view(row: &Row) -> Result<DutyRow, StoreError> {
    let owned = |column| row.opt_text(column).map(|text| text.map(str::to_owned));
    Ok(DutyRow {
        id: row.text(0)?.to_owned(),
        submission: owned(1)?,
        reference: owned(2)?,
        site: owned(3)?,
        form: owned(4)?,
        kind: row.text(5)?.to_owned(),
        role: row.text(6)?.to_owned(),
        state: row.text(7)?.to_owned(),
        reason: owned(8)?,
        why: owned(13)?,
        attempts: row.int(9)?,
        created_at: time(row.int(10)?),
        next_at: row.opt_int(11)?.map(time),
        done_at: row.opt_int(12)?.map(time),
    })
}

impl Ledger {
    /// Takes a duty that is due, or one whose worker let its lease run out. `None` where there is nothing to do.
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
        self.write(move |tx| claim(tx, id, worker, (now, until))).await
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
                && let Some((claim, _)) = read_claim(tx, &id.to_string())?
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

    /// Puts a notice about no single submission on its way.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn add_notice(&self, notice: NewDuty, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| add_duty(tx, None, &notice, now)).await
    }

    /// Duties of these kinds that are due and in nobody's hands, oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn due(&self, kinds: &'static [DutyKind], now: Timestamp, limit: u32) -> Result<Vec<DutyId>, StoreError> {
        self.read(move |tx| {
            let words: Vec<String> = kinds.iter().map(|kind| format!("'{kind}'")).collect();
            let sql = format!(
                "SELECT id FROM duty WHERE kind IN ({})
                 AND ((state = 'ready' AND next_at <= $1) OR (state = 'sending' AND lease_until < $1))
                 ORDER BY next_at LIMIT $2",
                words.join(", ")
            );
            let rows = tx.query(&sql, &[now.as_millisecond().into(), limit.into()])?;
            rows.iter().map(|row| row.parse(0)).collect()
        })
        .await
    }

    /// Department mails that wait for a certificate or another configuration, whose answers are sealed for intake: their
    /// ids, departments and reasons, oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn waiting_for_intake(&self) -> Result<Vec<(DutyId, DepartmentId, Option<Reason>)>, StoreError> {
        self.read(|tx| {
            let rows = tx.query(
                "SELECT duty.id, duty.department, duty.reason FROM duty JOIN payload ON payload.duty = duty.id
                 WHERE duty.state = 'held' AND duty.kind = 'department_mail' AND payload.purpose = 'intake'
                 AND duty.department IS NOT NULL ORDER BY duty.created_at",
                &[],
            )?;
            rows.iter()
                .map(|row| {
                    let reason = row.opt_text(2)?.and_then(|reason| reason.parse().ok());
                    Ok((row.parse(0)?, row.parse(1)?, reason))
                })
                .collect()
        })
        .await
    }

    /// A duty that is held, with its payload; `None` where it is held no more.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn held(&self, id: DutyId) -> Result<Option<Claim>, StoreError> {
        self.read(move |tx| {
            let found = read_claim(tx, &id.to_string())?;
            Ok(found
                .filter(|(_, state)| *state == DutyState::Held)
                .map(|(claim, _)| claim))
        })
        .await
    }

    /// Says anew why a duty is held.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn held_because(&self, id: DutyId, reason: Reason) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(
                "UPDATE duty SET reason = $2 WHERE id = $1 AND state = 'held'",
                &[id.to_string().into(), reason.to_string().into()],
            )
            .map(drop)
        })
        .await
    }

    /// Replaces a held duty by the mails that were composed from it.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then the duty is held as before.
    pub async fn composed(
        &self,
        held: DutyId,
        submission: SubmissionId,
        mails: Vec<NewDuty>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.write(move |tx| {
            // A submission that goes has no key for them any more.
            if reserve(tx, &submission.to_string())?.as_deref() != Some("open") {
                return Ok(false);
            }
            let gone = tx.execute(
                "DELETE FROM duty WHERE id = $1 AND state = 'held'",
                &[held.to_string().into()],
            )?;
            if gone == 0 {
                return Ok(false);
            }
            tx.execute("DELETE FROM payload WHERE duty = $1", &[held.to_string().into()])?;
            for duty in &mails {
                add_duty(tx, Some(submission), duty, now)?;
            }
            leaf(tx, Some(&submission.to_string()), "composed", now, None, None)?;
            Ok(true)
        })
        .await
    }

    /// Duties, newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn duties(&self, filter: DutyFilter, limit: u32) -> Result<Vec<DutyRow>, StoreError> {
        self.read(move |tx| {
            let mut given = values(&filter);
            given.push(limit.into());
            let sql = format!("{VIEW} WHERE {MATCHES} ORDER BY duty.created_at DESC, duty.id LIMIT $9");
            tx.query(&sql, &given)?.iter().map(view).collect()
        })
        .await
    }

    /// How many duties a decision would change.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn count_decidable(&self, filter: DutyFilter, decision: Decision) -> Result<usize, StoreError> {
        self.read(move |tx| Ok(decidable(tx, &filter, decision)?.len())).await
    }

    /// A person's decision about all duties that match: try again now, hold, or give up, with that person's reason for
    /// the record. Answers how many changed. What nothing binds any more is deleted: the scheduler's sweep finishes that.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then nothing changed.
    pub async fn decide(
        &self,
        filter: DutyFilter,
        decision: Decision,
        why: Option<String>,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        self.write(move |tx| {
            let mut changed = 0;
            for id in decidable(tx, &filter, decision)? {
                changed += usize::from(decide(tx, id, decision, why.as_deref(), now)?);
            }
            Ok(changed)
        })
        .await
    }
}

/// What a person may do with duties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Try again now.
    Retry,
    /// Do not send until released.
    Hold,
    /// Go on after a hold.
    Release,
    /// Give up: it becomes `cancelled`.
    Discard,
}

impl Decision {
    /// Which duties the decision can be about, as SQL. An extract is discharged by its confirmation alone, and a journal
    /// copy that waits to be marked (held without a reason) by its mark. What waits for a certificate has nothing yet
    /// that could be sent; what was too large for the configuration of its time is looked at again.
    fn applies(self) -> &'static str {
        match self {
            Self::Retry => {
                "duty.state IN ('ready', 'held', 'failed') AND duty.kind <> 'extract'
                 AND NOT (duty.state = 'held' AND duty.reason IS NULL) AND EXISTS
                 (SELECT 1 FROM payload WHERE payload.duty = duty.id
                     AND (payload.purpose <> 'intake' OR duty.reason = 'too_large'))"
            }
            Self::Release => {
                "duty.state = 'held' AND duty.kind <> 'extract' AND duty.reason IS NOT NULL AND EXISTS
                 (SELECT 1 FROM payload WHERE payload.duty = duty.id AND payload.purpose <> 'intake')"
            }
            Self::Hold => "duty.state IN ('ready', 'failed')",
            Self::Discard => "duty.state IN ('ready', 'held', 'failed')",
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Discard => "discard",
        }
    }
}

fn decidable(tx: &mut Tx<'_>, filter: &DutyFilter, decision: Decision) -> Result<Vec<DutyId>, StoreError> {
    let sql = format!(
        "SELECT duty.id FROM duty LEFT JOIN submission ON submission.id = duty.submission WHERE {MATCHES} AND {}
         ORDER BY duty.submission, duty.id",
        decision.applies()
    );
    tx.query(&sql, &values(filter))?
        .iter()
        .map(|row| row.parse(0))
        .collect()
}

/// Carries one decision out; `false` where a worker was faster.
fn decide(
    tx: &mut Tx<'_>,
    id: DutyId,
    decision: Decision,
    why: Option<&str>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let text = id.to_string();
    let row = tx.one(
        "SELECT submission, kind FROM duty WHERE id = $1",
        &[text.as_str().into()],
    )?;
    let Some(row) = row else { return Ok(false) };
    let changed = match decision {
        // What waits sealed for intake stays held without its reason: intake composes it anew.
        Decision::Retry | Decision::Release => tx.execute(
            "UPDATE duty SET next_at = $2, created_at = $2, why = $3,
                 state = CASE WHEN EXISTS (SELECT 1 FROM payload WHERE payload.duty = duty.id
                     AND payload.purpose = 'intake') THEN 'held' ELSE 'ready' END,
                 reason = NULL
             WHERE id = $1 AND state IN ('ready', 'held', 'failed')",
            &[text.as_str().into(), now.as_millisecond().into(), why.into()],
        )?,
        Decision::Hold => tx.execute(
            "UPDATE duty SET state = 'held', reason = 'operator', why = $2
             WHERE id = $1 AND state IN ('ready', 'failed')",
            &[text.as_str().into(), why.into()],
        )?,
        Decision::Discard => {
            let settled = settle(tx, id, None, Outcome::Cancel(Reason::Operator), now)?;
            if settled.counted {
                tx.execute(
                    "UPDATE duty SET why = $2 WHERE id = $1",
                    &[text.as_str().into(), why.into()],
                )?;
            }
            u64::from(settled.counted)
        }
    };
    if changed > 0 && decision != Decision::Discard {
        let event = format!("{}_{}", row.text(1)?, decision.as_str());
        leaf(tx, row.opt_text(0)?, &event, now, None, None)?;
    }
    Ok(changed > 0)
}

const CLAIM: &str = "SELECT duty.submission, duty.kind, duty.role, duty.department, duty.attempts, duty.created_at,
    duty.state, payload.owner, payload.purpose, payload.sealed,
    submission.reference, submission.test, submission.site, submission.form, duty.reason
    FROM duty LEFT JOIN payload ON payload.duty = duty.id LEFT JOIN submission ON submission.id = duty.submission
    WHERE duty.id = $1";

fn read_claim(tx: &mut Tx<'_>, id: &str) -> Result<Option<(Claim, DutyState)>, StoreError> {
    let Some(row) = tx.one(CLAIM, &[id.into()])? else {
        return Ok(None);
    };
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
    };
    Ok(Some((claim, row.parse(6)?)))
}

fn claim(
    tx: &mut Tx<'_>,
    id: DutyId,
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
    let Some((mut claim, _)) = read_claim(tx, &text)? else {
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
             WHERE id = $1 AND {condition}"
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
fn count_possible(tx: &mut Tx<'_>, claim: &Claim) -> Result<(), StoreError> {
    let scope = Scope {
        site: claim.site.as_ref().map_or("", SiteId::as_str),
        form: claim.form.as_ref().map_or("", FormId::as_str),
        test: claim.test,
    };
    scope.add(tx, Counter::PossibleMail, 1)
}

/// Settles one duty. Without a worker it is a person's decision.
///
/// The submission is reserved first: of two last duties that are settled at the same moment, the later one sees that the
/// other is done, and begins the deletion.
fn settle(
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
    reserve_of(tx, &text)?;
    let changed = tx.execute(
        &format!(
            "UPDATE duty SET state = $2, reason = $3, next_at = $4, done_at = $5, lease_owner = NULL, lease_until = NULL
             WHERE id = $1 AND state NOT IN ('done', 'cancelled'){mine}"
        ),
        &values,
    )?;
    if changed == 0 {
        return Ok(Settled::default());
    }
    after_settling(tx, &text, outcome, now)
}

/// Reserves the submission of a duty.
fn reserve_of(tx: &mut Tx<'_>, duty: &str) -> Result<(), StoreError> {
    let row = tx.one("SELECT submission FROM duty WHERE id = $1", &[duty.into()])?;
    match row.as_ref().map(|row| row.opt_text(0)).transpose()?.flatten() {
        Some(submission) => reserve(tx, submission).map(drop),
        None => Ok(()),
    }
}

fn after_settling(tx: &mut Tx<'_>, id: &str, outcome: Outcome, now: Timestamp) -> Result<Settled, StoreError> {
    let row = tx.one("SELECT submission, kind FROM duty WHERE id = $1", &[id.into()])?;
    let Some(row) = row else { return Ok(Settled::default()) };
    let (submission, kind) = (row.opt_text(0)?, row.text(1)?);
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
    leaf(tx, submission, &format!("{kind}_{event}"), now, rule.as_deref(), None)?;
    if matches!(outcome, Outcome::Done | Outcome::Cancel(_)) {
        tx.execute("DELETE FROM payload WHERE duty = $1", &[id.into()])?;
    }
    let Some(submission) = submission else {
        return Ok(settled);
    };
    if matches!(outcome, Outcome::Hold(_) | Outcome::Fail(_))
        && let Ok(id) = submission.parse()
    {
        tell_of(tx, id, SiteEvent::Held, now)?;
    }
    if crate::deletion::begin(tx, submission, now)? {
        settled.deleting = submission.parse().ok();
    }
    Ok(settled)
}
