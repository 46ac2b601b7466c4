//! What a person sees of duties, and may do with them.

use domain::{DepartmentId, DutyId, Reason};
use jiff::Timestamp;
use serde::Serialize;
use store::{Row, StoreError, Tx, Value};

use super::settle::{Outcome, settle};
use crate::Ledger;
use crate::act::of_departments;
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

/// The statement's condition for a filter; a missing part matches everything. PostgreSQL must be told a parameter's type
/// where nothing else says it.
const MATCHES: &str = "(CAST($1 AS TEXT) IS NULL OR duty.id = $1)
    AND (CAST($2 AS TEXT) IS NULL OR duty.submission = $2)
    AND (CAST($3 AS TEXT) IS NULL OR duty.kind = $3) AND (CAST($4 AS TEXT) IS NULL OR duty.state = $4)
    AND (CAST($5 AS TEXT) IS NULL OR duty.reason = $5) AND (CAST($6 AS TEXT) IS NULL OR submission.form = $6)
    AND (CAST($7 AS TEXT) IS NULL OR submission.site = $7)
    AND (CAST($8 AS BIGINT) IS NULL OR duty.created_at >= $8)";

/// The department that a duty concerns.
const DEPARTMENT: &str = "COALESCE(duty.department, submission.department)";

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
    /// Duties, newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn duties(&self, filter: DutyFilter, limit: u32) -> Result<Vec<DutyRow>, StoreError> {
        self.read(move |tx| {
            let mut given = values(&filter);
            given.push(limit.into());
            let sql = format!(
                "{VIEW} WHERE {MATCHES}{} ORDER BY duty.created_at DESC, duty.id LIMIT $9",
                of_departments(DEPARTMENT, &filter.departments)
            );
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
        "SELECT duty.id FROM duty LEFT JOIN submission ON submission.id = duty.submission WHERE {MATCHES} AND {}{}
         ORDER BY duty.submission, duty.id",
        decision.applies(),
        of_departments(DEPARTMENT, &filter.departments)
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
        leaf_of_duty(tx, (row.opt_text(0)?, &text), &event, now, None)?;
    }
    Ok(changed > 0)
}
