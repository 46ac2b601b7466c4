//! What a person sees of duties, and may do with them.

use std::collections::BTreeSet;

use domain::{DepartmentId, DutyId, Reason};
use jiff::Timestamp;
use serde::Serialize;
use store::{Row, StoreError, Tx, Value};

use super::reserve_duties;
use super::settle::{Outcome, settle};
use crate::Ledger;
use crate::act::{DecideError, as_expected, conditions, of_departments};
use crate::outbox::leaf_of_duty;
use crate::read::time;

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
    /// Listed after this one, by whose id a list goes on: older.
    pub after: Option<String>,
    /// Of these departments; of all where there is none.
    pub departments: Vec<DepartmentId>,
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

/// The department that a duty concerns.
const DEPARTMENT: &str = "COALESCE(duty.department, submission.department)";

/// The statement's condition for a filter, after another, and its values.
fn matches(filter: &DutyFilter) -> (String, Vec<Value>) {
    let text = |text: &Option<String>| text.clone().map(Into::into);
    let (conditions, values) = conditions([
        ("duty.id =", text(&filter.id)),
        ("duty.submission =", text(&filter.submission)),
        ("duty.kind =", text(&filter.kind)),
        ("duty.state =", text(&filter.state)),
        ("duty.reason =", text(&filter.reason)),
        ("submission.form =", text(&filter.form)),
        ("submission.site =", text(&filter.site)),
        ("duty.id <", text(&filter.after)),
        ("duty.created_at >=", filter.since.map(|at| at.as_millisecond().into())),
    ]);
    (conditions + &of_departments(DEPARTMENT, &filter.departments), values)
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
    /// Duties, newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn duties(&self, filter: DutyFilter, limit: u32) -> Result<Vec<DutyRow>, StoreError> {
        self.read(move |tx| {
            let (matches, mut values) = matches(&filter);
            values.push(limit.into());
            // Ids are in order of time.
            let sql = format!(
                "{VIEW} WHERE 1 = 1{matches} ORDER BY duty.id DESC LIMIT ${}",
                values.len()
            );
            tx.query(&sql, &values)?.iter().map(view).collect()
        })
        .await
    }

    /// How many duties a decision would change.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn count_decidable(&self, filter: DutyFilter, decision: Decision) -> Result<usize, StoreError> {
        self.read(move |tx| {
            let (sql, values) = decidable("COUNT(*)", &filter, decision);
            let count = tx.one(&sql, &values)?.map_or(Ok(0), |row| row.int(0))?;
            Ok(usize::try_from(count).unwrap_or_default())
        })
        .await
    }

    /// A person's decision about all duties that match any of these: try again now, hold, or give up, with that person's
    /// reason for the record. Answers how many changed. What nothing binds any more is deleted: the scheduler's sweep
    /// finishes that.
    ///
    /// # Errors
    ///
    /// [`DecideError`], also where the person expected another number; then nothing changed.
    pub async fn decide(
        &self,
        filters: Vec<DutyFilter>,
        decision: Decision,
        why: Option<String>,
        expected: Option<u32>,
        now: Timestamp,
    ) -> Result<usize, DecideError> {
        let done = self.store.write(move |tx| {
            let (mut ids, mut submissions) = (Vec::new(), BTreeSet::new());
            for filter in &filters {
                let (sql, values) = decidable("duty.id, duty.submission", filter, decision);
                let rows = tx.query(&format!("{sql} ORDER BY duty.submission, duty.id"), &values)?;
                for row in rows {
                    ids.push(row.parse(0)?);
                    submissions.extend(row.opt_text(1)?.map(str::to_owned));
                }
            }
            as_expected(expected, ids.len())?;
            reserve(tx, submissions, &ids, decision)?;
            let mut changed = 0;
            for id in ids {
                changed += usize::from(decide(tx, id, decision, why.as_deref(), now)?);
            }
            // A worker may have been faster.
            as_expected(expected, changed)?;
            Ok(changed)
        });
        done.await
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

/// The statement for something of the duties that a decision would change, with its values.
fn decidable(what: &str, filter: &DutyFilter, decision: Decision) -> (String, Vec<Value>) {
    let (matches, values) = matches(filter);
    let sql = format!(
        "SELECT {what} FROM duty LEFT JOIN submission ON submission.id = duty.submission WHERE {}{matches}",
        decision.applies(),
    );
    (sql, values)
}

/// Keeps other writers from what a decision is about, in the order of all: submissions, then duties, each by its id.
fn reserve(
    tx: &mut Tx<'_>,
    submissions: BTreeSet<String>,
    ids: &[DutyId],
    decision: Decision,
) -> Result<(), StoreError> {
    if decision == Decision::Discard {
        for ids in Value::lists(submissions) {
            tx.reserve("submission", "id", &ids)?;
        }
    }
    reserve_duties(tx, ids.to_vec())
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
        leaf_of_duty(tx, (row.opt_text(0)?, &text), &event, now, None)?;
    }
    Ok(changed > 0)
}
