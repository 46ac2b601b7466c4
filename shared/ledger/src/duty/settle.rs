//! How an attempt ended, and what follows from it.

use std::collections::{BTreeMap, HashMap, HashSet};

use domain::{DutyId, DutyKind, DutyState, Reason, SubmissionId};
use jiff::Timestamp;
use store::{Row, StoreError, Tx, Value};

use super::claim::{count_possible, read_claim};
use crate::backlog::{IN_TIME, OWED_MAIL};
use crate::counter::{Counter, Counts};
use crate::deletion::begin_all;
use crate::duty::add::add_duty;
use crate::facts::SubmissionFacts;
use crate::outbox::{Leaf, SiteEvent, leaf_of_duty, leaves, tell};
use crate::read::time;
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
        if let (Outcome::Done, None) = (outcome, &follows) {
            return self.batches.done.run(DoneDuty { id, at: now }).await;
        }
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
        Outcome::Done => {
            let settled = done(tx, &[DoneDuty { id, at: now }])?;
            return settled.into_iter().next().ok_or(StoreError::Panicked);
        }
        Outcome::Retry { at, reason } => (DutyState::Ready, reason, Some(at)),
        Outcome::Unknown { at } => (DutyState::Ready, None, Some(at)),
        Outcome::Hold(reason) => (DutyState::Held, Some(reason), None),
        Outcome::Fail(reason) => (DutyState::Failed, reason, None),
        Outcome::Cancel(reason) => (DutyState::Cancelled, Some(reason), None),
    };
    // What did not happen is only said by the one who holds the lease. A person does not decide over what a worker has in
    // hand.
    let mine = match worker {
        None => " AND state <> 'sending'",
        Some(_) => " AND lease_owner = $6",
    };
    let mut values: Vec<Value> = vec![
        text.as_str().into(),
        state.as_str().into(),
        reason.map(|reason| reason.to_string()).into(),
        next_at.map(Timestamp::as_millisecond).into(),
        state.is_discharged().then(|| now.as_millisecond()).into(),
    ];
    values.extend(worker.map(|worker| Value::from(worker.0.to_string())));
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

/// What follows from an attempt that did not do the duty.
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
    let (event, rule) = match outcome {
        Outcome::Cancel(reason) => ("cancelled", Some(reason.to_string())),
        Outcome::Hold(reason) => ("held", Some(reason.to_string())),
        Outcome::Fail(_) => ("failed", None),
        Outcome::Done | Outcome::Retry { .. } | Outcome::Unknown { .. } => return Ok(settled),
    };
    let of = submission.map(|submission| submission.id.as_str());
    leaf_of_duty(tx, (of, id), &format!("{kind}_{event}"), now, rule.as_deref())?;
    let is_cancelled = matches!(outcome, Outcome::Cancel(_));
    if is_cancelled {
        tx.execute("DELETE FROM payload WHERE duty = $1", &[id.into()])?;
    }
    let Some(submission) = submission else {
        return Ok(settled);
    };
    if is_cancelled {
        count_late(tx, [(kind, submission, now)].into_iter())?;
    } else {
        tell(tx, &[submission.told(SiteEvent::Held, now)])?;
    }
    if crate::deletion::begin(tx, submission, now)? {
        settled.deleting = submission.id.parse().ok();
    }
    Ok(settled)
}

/// A duty that was done.
pub(crate) struct DoneDuty {
    id: DutyId,
    at: Timestamp,
}

/// Settles duties that were done, each at its own time: what happened counts whoever did it.
pub(crate) fn done(tx: &mut Tx<'_>, duties: &[DoneDuty]) -> Result<Vec<Settled>, StoreError> {
    let mut settled: HashMap<DutyId, Settled> = HashMap::new();
    // By id, for all replicas lock in one order; of a duty that is said to be done twice the first counts.
    let mut times: BTreeMap<DutyId, Timestamp> = BTreeMap::new();
    for done in duties {
        let at = times.entry(done.id).or_insert(done.at);
        *at = done.at.min(*at);
    }
    let times: Vec<(DutyId, Timestamp)> = times.into_iter().collect();
    for times in times.chunks(TOGETHER) {
        settled.extend(done_together(tx, times)?);
    }
    // One that is said to be done twice was done once.
    Ok(duties
        .iter()
        .map(|done| settled.remove(&done.id).unwrap_or_default())
        .collect())
}

/// How many duties are settled with one statement.
const TOGETHER: usize = 64;

fn done_together(tx: &mut Tx<'_>, duties: &[(DutyId, Timestamp)]) -> Result<HashMap<DutyId, Settled>, StoreError> {
    let ids = Value::list(duties.iter().map(|(id, _)| id.to_string().into()).collect());
    let submissions = SubmissionFacts::reserve_by_duties(tx, ids.clone())?;
    tx.reserve("duty", "id", &ids)?;
    let of: HashMap<&str, &SubmissionFacts> = submissions.iter().map(|facts| (facts.id.as_str(), facts)).collect();
    let mut changed = mark_done(tx, ids, duties)?;
    // The rows come in any order; a leaf's place is for good.
    changed.sort_by(|one, other| one.text(0).unwrap_or_default().cmp(other.text(0).unwrap_or_default()));
    let ends: Vec<DoneRow<'_>> = changed
        .iter()
        .map(|row| DoneRow::of(row, &of))
        .collect::<Result<_, _>>()?;
    let said = ends.iter().map(|end| Leaf {
        duty: Some(end.id),
        ..Leaf::of(end.submission, &end.event, end.at)
    });
    leaves(tx, &said.collect::<Vec<_>>())?;
    for ids in Value::lists(ends.iter().map(|end| end.id)) {
        tx.execute("DELETE FROM payload WHERE duty = ANY($1)", &[ids])?;
    }
    count_late(tx, ends.iter().filter_map(|end| Some((end.kind, end.facts?, end.at))))?;
    let mut begun = begin_of(tx, &ends)?;
    let mut settled = HashMap::new();
    for end in ends {
        let submission: Option<SubmissionId> = end.submission.and_then(|id| id.parse().ok());
        // Of several duties of one submission, one says that its deletion began.
        let deleting = submission.filter(|id| begun.remove(id));
        let id = end.id.parse().map_err(|_| StoreError::Unexpected { column: 0 })?;
        settled.insert(
            id,
            Settled {
                counted: true,
                deleting,
            },
        );
    }
    Ok(settled)
}

/// Marks those as done that are not discharged, and answers their id, kind, submission and time.
fn mark_done(tx: &mut Tx<'_>, ids: Value, duties: &[(DutyId, Timestamp)]) -> Result<Vec<Row>, StoreError> {
    let times = duties.iter().map(|(_, at)| at.as_millisecond().into()).collect();
    tx.query(
        "UPDATE duty SET state = 'done', reason = NULL, next_at = NULL, done_at = NTH(id, $1, $2), lease_owner = NULL,
             lease_until = NULL
         WHERE id = ANY($1) AND state NOT IN ('done', 'cancelled') RETURNING id, kind, submission, done_at",
        &[ids, Value::list(times)],
    )
}

/// Begins the deletion of those submissions that nothing binds any more.
fn begin_of(tx: &mut Tx<'_>, ends: &[DoneRow<'_>]) -> Result<HashSet<SubmissionId>, StoreError> {
    let mut concerned: BTreeMap<&str, &SubmissionFacts> = BTreeMap::new();
    concerned.extend(ends.iter().filter_map(|end| Some((end.submission?, end.facts?))));
    let concerned: Vec<&SubmissionFacts> = concerned.into_values().collect();
    let Some(now) = ends.iter().map(|end| end.at).max() else {
        return Ok(HashSet::new());
    };
    Ok(begin_all(tx, &concerned, now)?.into_iter().collect())
}

/// A duty that is done now.
struct DoneRow<'a> {
    id: &'a str,
    kind: DutyKind,
    submission: Option<&'a str>,
    facts: Option<&'a SubmissionFacts>,
    /// As its leaf says it.
    event: String,
    at: Timestamp,
}

impl<'a> DoneRow<'a> {
    fn of(row: &'a Row, of: &HashMap<&str, &'a SubmissionFacts>) -> Result<Self, StoreError> {
        let (kind, submission): (DutyKind, _) = (row.parse(1)?, row.opt_text(2)?);
        Ok(Self {
            id: row.text(0)?,
            kind,
            submission,
            facts: submission.and_then(|id| of.get(id).copied()),
            event: format!("{kind}_done"),
            at: time(row.int(3)?),
        })
    }
}

/// Counts the submissions whose last mail is done or given up now, and should have been earlier.
fn count_late<'a>(
    tx: &mut Tx<'_>,
    ended: impl Iterator<Item = (DutyKind, &'a SubmissionFacts, Timestamp)>,
) -> Result<(), StoreError> {
    let is_late = |(kind, facts, at): &(DutyKind, &SubmissionFacts, Timestamp)| {
        let is_mail = matches!(kind, DutyKind::DepartmentMail | DutyKind::Receipt);
        is_mail && at.duration_since(facts.received_at) > IN_TIME
    };
    let late = ended.filter(is_late).map(|(_, facts, _)| (facts.id.as_str(), facts));
    let mut late: BTreeMap<&str, &SubmissionFacts> = late.collect();
    let owing = format!("SELECT DISTINCT submission FROM duty WHERE submission = ANY($1) AND {OWED_MAIL}");
    for ids in Value::lists(late.keys().copied().collect::<Vec<_>>()) {
        for row in tx.query(&owing, &[ids])? {
            late.remove(row.text(0)?);
        }
    }
    let mut counts = Counts::default();
    for facts in late.values() {
        counts.count(facts.scope(), Counter::Late, 1);
    }
    counts.add(tx)
}
