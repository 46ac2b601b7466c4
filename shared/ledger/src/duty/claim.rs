//! Taking a duty in hand, for as long as its worker says that it lives.

use std::collections::{BTreeMap, HashMap, HashSet};

use domain::{DepartmentId, DutyId, DutyKind, DutyState, FormId, Reason, SiteId, SubmissionId};
use jiff::Timestamp;
use store::{Row, StoreError, Tx, Value};
use uuid::Uuid;

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
        let claiming = Claiming {
            id,
            most,
            worker,
            now,
            until,
        };
        self.batches.claim.run(claiming).await
    }

    /// Keeps the leases of what a worker has in hand alive.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn extend(&self, worker: WorkerId, ids: Vec<DutyId>, until: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| extend(tx, worker, ids, until)).await
    }
}

/// A duty that a worker wants to take.
pub(crate) struct Claiming {
    id: DutyId,
    /// A payload of more bytes is not read.
    most: usize,
    worker: WorkerId,
    now: Timestamp,
    until: Timestamp,
}

/// A duty with what a worker needs of it; its payload where it has at most so many bytes.
pub(super) fn read_claim(tx: &mut Tx<'_>, id: &str, most: usize) -> Result<Option<(Claim, DutyState)>, StoreError> {
    Ok(read_claims(tx, &[id.to_owned()], most)?.pop())
}

fn read_claims(tx: &mut Tx<'_>, ids: &[String], most: usize) -> Result<Vec<(Claim, DutyState)>, StoreError> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut claims = Vec::new();
    for ids in Value::lists(ids) {
        let rows = tx.query(
            "SELECT duty.submission, duty.kind, duty.role, duty.department, duty.attempts, duty.created_at, duty.state,
                 payload.owner, payload.purpose,
                 CASE WHEN LENGTH(payload.sealed) <= CAST($1 AS BIGINT) THEN payload.sealed END,
                 submission.reference, submission.test, submission.site, submission.form, duty.reason,
                 LENGTH(payload.sealed), duty.id
             FROM duty LEFT JOIN payload ON payload.duty = duty.id
                 LEFT JOIN submission ON submission.id = duty.submission
             WHERE duty.id = ANY($2)",
            &[most.into(), ids],
        )?;
        for row in rows {
            claims.push(claim_of(row, most)?);
        }
    }
    Ok(claims)
}

fn claim_of(mut row: Row, most: i64) -> Result<(Claim, DutyState), StoreError> {
    let larger = row.opt_int(15)?.filter(|bytes| *bytes > most);
    let sealed = row.take_blob(9)?;
    let payload = match (row.opt_text(7)?, row.opt_text(8)?, sealed) {
        (Some(owner), Some(purpose), Some(sealed)) => Some(Payload {
            owner: owner.parse().map_err(|_| StoreError::Unexpected { column: 7 })?,
            purpose: purpose.to_owned(),
            sealed,
        }),
        _ => None,
    };
    let claim = Claim {
        id: row.parse(16)?,
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
    Ok((claim, row.parse(6)?))
}

/// See [`Ledger::claim_up_to`].
pub(crate) fn claim(tx: &mut Tx<'_>, claiming: &[Claiming]) -> Result<Vec<Option<Claim>>, StoreError> {
    let mut alike: BTreeMap<(Uuid, usize), Vec<&Claiming>> = BTreeMap::new();
    for claiming in claiming {
        alike
            .entry((claiming.worker.0, claiming.most))
            .or_default()
            .push(claiming);
    }
    let mut claimed = HashMap::new();
    for ((worker, most), alike) in alike {
        let claims = claim_alike(tx, &alike, worker, most)?;
        claimed.extend(claims.into_iter().map(|claim| ((worker, most, claim.id), claim)));
    }
    let of = |claiming: &Claiming| claimed.remove(&(claiming.worker.0, claiming.most, claiming.id));
    Ok(claiming.iter().map(of).collect())
}

/// Claims what one worker wants, for as long as the first to run out.
fn claim_alike(tx: &mut Tx<'_>, claiming: &[&Claiming], worker: Uuid, most: usize) -> Result<Vec<Claim>, StoreError> {
    let (now, until) = (
        claiming.iter().map(|claiming| claiming.now).max(),
        claiming.iter().map(|claiming| claiming.until).min(),
    );
    let (Some(now), Some(until)) = (now, until) else {
        return Ok(Vec::new());
    };
    let mut wanted: Vec<DutyId> = claiming.iter().map(|claiming| claiming.id).collect();
    wanted.sort_unstable(); // all replicas lock in one order
    let due = take(tx, &wanted, worker, (now, until), DUE)?;
    wanted.retain(|id| !due.contains(id));
    let run_out = take(tx, &wanted, worker, (now, until), RUN_OUT)?;
    // Read after they were taken: what is read now is what the worker has in hand.
    let taken: Vec<String> = due.iter().chain(&run_out).map(DutyId::to_string).collect();
    let mut claims = Vec::new();
    for (mut claim, _) in read_claims(tx, &taken, most)? {
        claim.ambiguous = run_out.contains(&claim.id);
        if claim.ambiguous {
            count_possible(tx, &claim)?;
        }
        claims.push(claim);
    }
    Ok(claims)
}

/// Keeps the leases of a worker's duties alive.
fn extend(tx: &mut Tx<'_>, worker: WorkerId, mut ids: Vec<DutyId>, until: Timestamp) -> Result<(), StoreError> {
    ids.sort_unstable(); // all replicas lock in one order
    let sql = format!("UPDATE duty SET lease_until = $1 WHERE id = ANY($3) AND {SENDING} AND lease_owner = $2");
    for ids in Value::lists(ids.iter().map(DutyId::to_string)) {
        tx.reserve("duty", "id", &ids)?;
        tx.execute(&sql, &[until.as_millisecond().into(), worker.0.to_string().into(), ids])?;
    }
    Ok(())
}

/// The states are not compared as they stand: for a state alone there is an index of all duties in it, which PostgreSQL
/// would rather read through than look for each id.
const SENDING: &str = "state || '' = 'sending'";
const DUE: &str = "state || '' = 'ready' AND (next_at IS NULL OR next_at <= $3)";
const RUN_OUT: &str = "state || '' = 'sending' AND (lease_until IS NULL OR lease_until < $3)";

/// Takes those of these duties that are in a certain state: of several workers at once, the statement's condition lets one.
fn take(
    tx: &mut Tx<'_>,
    ids: &[DutyId],
    worker: Uuid,
    (now, until): (Timestamp, Timestamp),
    condition: &str,
) -> Result<HashSet<DutyId>, StoreError> {
    let mut taken = HashSet::new();
    let sql = format!(
        "UPDATE duty SET state = 'sending', attempts = attempts + 1, lease_owner = $1, lease_until = $2
         WHERE id = ANY($4) AND {condition} AND {} RETURNING id",
        not_paused("$3")
    );
    for list in Value::lists(ids.iter().map(DutyId::to_string)) {
        // One alone is locked by its own update.
        if ids.len() > 1 {
            tx.reserve("duty", "id", &list)?;
        }
        let values = [
            worker.to_string().into(),
            until.as_millisecond().into(),
            now.as_millisecond().into(),
            list,
        ];
        for row in tx.query(&sql, &values)? {
            taken.insert(row.parse(0)?);
        }
    }
    Ok(taken)
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
