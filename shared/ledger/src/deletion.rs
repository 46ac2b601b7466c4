//! Deletion, in the order that a crash cannot spoil: payloads, then keys (the vault's part), then the tombstone.

use std::collections::{BTreeMap, HashMap};

use domain::disposal::{DutyFacts, EventFacts, Hold};
use domain::{Disposal, DutyKind, SubmissionId, disposal};
use jiff::Timestamp;
use store::{StoreError, Tx, Value};

use crate::Ledger;
use crate::counter::{Counter, Counts};
use crate::facts::SubmissionFacts;
use crate::outbox::{SiteEvent, record_all};
use crate::read::time;
use crate::registration::end_unextracted;

/// What disposal says of a submission now.
pub(crate) fn judge(tx: &mut Tx<'_>, id: &str, now: Timestamp) -> Result<Option<Disposal>, StoreError> {
    let facts = SubmissionFacts::read(tx, id)?;
    facts.map(|facts| judge_by(tx, &facts, now)).transpose()
}

fn judge_by(tx: &mut Tx<'_>, facts: &SubmissionFacts, now: Timestamp) -> Result<Disposal, StoreError> {
    let duties = duty_facts(tx, &[facts])?;
    judge_of(tx, facts, duties.get(&facts.id).map_or(&[], Vec::as_slice), now)
}

fn judge_of(
    tx: &mut Tx<'_>,
    facts: &SubmissionFacts,
    duties: &[DutyFacts],
    now: Timestamp,
) -> Result<Disposal, StoreError> {
    let event = facts.event.as_deref().map(|event| event_facts(tx, event)).transpose()?;
    let holds: &[Hold] = if facts.is_frozen { &[Hold] } else { &[] };
    Ok(disposal(facts.kind, duties, event.flatten(), holds, now))
}

fn event_facts(tx: &mut Tx<'_>, event: &str) -> Result<Option<EventFacts>, StoreError> {
    let row = tx.one("SELECT deadline, held FROM event WHERE id = $1", &[event.into()])?;
    row.map(|row| {
        Ok(EventFacts {
            deadline: row.opt_int(0)?.map(time),
            held: row.opt_int(1)?.map(time),
        })
    })
    .transpose()
}

/// The duties of each of these submissions, by its id.
fn duty_facts(tx: &mut Tx<'_>, of: &[&SubmissionFacts]) -> Result<HashMap<String, Vec<DutyFacts>>, StoreError> {
    let mut duties: HashMap<String, Vec<DutyFacts>> = HashMap::new();
    let sql = "SELECT submission, kind, state, reason FROM duty WHERE submission = ANY($1) ORDER BY id";
    for ids in Value::lists(of.iter().map(|facts| facts.id.as_str())) {
        for row in tx.query(sql, &[ids])? {
            let duty = DutyFacts {
                kind: row.parse(1)?,
                state: row.parse(2)?,
                reason: row.opt_text(3)?.and_then(|reason| reason.parse().ok()),
            };
            if duty.kind == DutyKind::Receipt && failpoint::mutant("purge_ignores_a_duty") {
                continue;
            }
            duties.entry(row.text(0)?.to_owned()).or_default().push(duty);
        }
    }
    Ok(duties)
}

/// Begins the deletion of a submission that is reserved, where disposal says so: step (a). Answers whether it began.
pub(crate) fn begin(tx: &mut Tx<'_>, reserved: &SubmissionFacts, now: Timestamp) -> Result<bool, StoreError> {
    Ok(!begin_all(tx, &[reserved], now)?.is_empty())
}

/// As [`begin`], of several; answers which began.
pub(crate) fn begin_all(
    tx: &mut Tx<'_>,
    reserved: &[&SubmissionFacts],
    now: Timestamp,
) -> Result<Vec<SubmissionId>, StoreError> {
    let open: Vec<&SubmissionFacts> = reserved.iter().copied().filter(|facts| facts.is_open()).collect();
    let duties = duty_facts(tx, &open)?;
    let mut gone: BTreeMap<&str, Vec<&SubmissionFacts>> = BTreeMap::new();
    for facts in open {
        let duties = duties.get(&facts.id).map_or(&[][..], Vec::as_slice);
        if let Disposal::Delete(rule) = judge_of(tx, facts, duties, now)? {
            gone.entry(rule.as_str()).or_default().push(facts);
        }
    }
    let mut begun = Vec::new();
    for (rule, gone) in gone {
        for ids in Value::lists(gone.iter().map(|facts| facts.id.as_str())) {
            begin_by(tx, rule, ids)?;
        }
        let gone: Vec<_> = gone.into_iter().map(|facts| (facts, Some(rule))).collect();
        record_all(tx, SiteEvent::Delivered, &gone, now)?;
        begun.extend(
            gone.iter()
                .filter_map(|(facts, _)| facts.id.parse::<SubmissionId>().ok()),
        );
    }
    Ok(begun)
}

/// Marks submissions that are reserved and open as going by this rule, and deletes their payloads.
fn begin_by(tx: &mut Tx<'_>, rule: &str, ids: Value) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM payload WHERE owner = ANY($1) AND purpose <> 'journal'",
        std::slice::from_ref(&ids),
    )?;
    tx.execute(
        "UPDATE submission SET state = 'deleting', rule = $1 WHERE id = ANY($2)",
        &[rule.into(), ids],
    )
    .map(drop)
}

/// How many registrations time and duties let go before this, and are there all the same: of submissions that are not
/// frozen, and of what is kept of those that went. The join looks at events first, in SQLite's words, so that it passes over
/// the registrations of all whose time has not come.
pub(crate) fn past_and_there(tx: &mut Tx<'_>, before: Timestamp) -> Result<i64, StoreError> {
    let row = tx.one(
        "SELECT (SELECT COUNT(*) FROM event CROSS JOIN submission WHERE submission.event = event.id
             AND (event.held <= $1 OR event.deadline <= $1)
             AND submission.state = 'open' AND submission.kind = 'registration' AND submission.late = 0
             AND submission.hold IS NULL
             AND (event.held <= $1 OR (event.deadline <= $1 AND NOT EXISTS (SELECT 1 FROM duty
                 WHERE duty.submission = submission.id
                 AND duty.kind IN ('department_mail', 'receipt', 'files', 'extract')
                 AND duty.state NOT IN ('done', 'cancelled')))))
         + (SELECT COUNT(*) FROM registration JOIN event ON event.id = registration.event
             WHERE event.held <= $1 OR registration.ended IS NOT NULL)",
        &[before.as_millisecond().into()],
    )?;
    row.map_or(Ok(0), |row| row.int(0))
}

impl Ledger {
    /// Begins the deletion of those submissions that disposal lets go (a), and answers which began. First it ends what an
    /// event's end ends of them (E3).
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn begin_deletion(
        &self,
        mut ids: Vec<SubmissionId>,
        now: Timestamp,
    ) -> Result<Vec<SubmissionId>, StoreError> {
        // All replicas reserve in one order, so that none waits for one that waits for it.
        ids.sort_unstable();
        self.write(move |tx| {
            let mut begun = Vec::new();
            for id in ids {
                let Some(reserved) = SubmissionFacts::reserve(tx, &id.to_string())? else {
                    continue;
                };
                if !reserved.is_open() {
                    continue;
                }
                end_unextracted(tx, &reserved.id, now)?;
                if begin(tx, &reserved, now)? {
                    begun.push(id);
                }
            }
            Ok(begun)
        })
        .await
    }

    /// Ends deletions whose keys are destroyed (c): what is left is a tombstone.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn finish_deletion(&self, mut ids: Vec<SubmissionId>, now: Timestamp) -> Result<(), StoreError> {
        ids.sort_unstable();
        self.write(move |tx| {
            Value::lists(ids.iter().map(SubmissionId::to_string)).try_for_each(|ids| finish(tx, ids, now))
        })
        .await
    }

    /// Submissions whose deletion was begun and not ended.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn deleting(&self, limit: u32) -> Result<Vec<SubmissionId>, StoreError> {
        self.read(move |tx| {
            let rows = tx.query(
                "SELECT id FROM submission WHERE state = 'deleting' ORDER BY received_at LIMIT $1",
                &[limit.into()],
            )?;
            rows.iter().map(|row| row.parse(0)).collect()
        })
        .await
    }

    /// Open messages for which nothing that binds is owed any more: a settle that crashed before disposal, or a duty
    /// that a later version discharged.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn discharged(&self, limit: u32) -> Result<Vec<SubmissionId>, StoreError> {
        self.read(move |tx| {
            let rows = tx.query(
                "SELECT id FROM submission WHERE state = 'open' AND hold IS NULL AND (kind = 'message' OR late = 1)
                 AND NOT EXISTS (SELECT 1 FROM duty WHERE duty.submission = submission.id
                     AND duty.kind IN ('department_mail', 'receipt', 'files', 'extract')
                     AND duty.state NOT IN ('done', 'cancelled')) LIMIT $1",
                &[limit.into()],
            )?;
            rows.iter().map(|row| row.parse(0)).collect()
        })
        .await
    }

    /// Open registrations after this one, in order, whose event's deadline has passed or which has been held: those that
    /// disposal may let go now.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn past_their_time(
        &self,
        after: Option<SubmissionId>,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<SubmissionId>, StoreError> {
        self.read(move |tx| {
            let after = after.map_or_else(String::new, |id| id.to_string());
            let rows = tx.query(
                "SELECT submission.id FROM submission JOIN event ON event.id = submission.event
                 WHERE submission.state = 'open' AND submission.event IS NOT NULL AND submission.id > $1
                 AND (event.deadline <= $2 OR event.held <= $2)
                 ORDER BY submission.id LIMIT $3",
                &[after.into(), now.as_millisecond().into(), limit.into()],
            )?;
            rows.iter().map(|row| row.parse(0)).collect()
        })
        .await
    }

    /// How many registrations are still there whose time came before this: of submissions, and of what is kept of them.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn past_and_there(&self, before: Timestamp) -> Result<i64, StoreError> {
        self.read(move |tx| past_and_there(tx, before)).await
    }

    /// How many submissions of a site were deleted before this time without a word from the site that its own copy is gone.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn site_copies_kept(&self, site: String, before: Timestamp) -> Result<i64, StoreError> {
        self.read(move |tx| {
            let row = tx.one(
                "SELECT COUNT(*) FROM submission WHERE site = $1 AND state = 'deleted' AND deleted_at < $2
                 AND site_copy <> 'gone' AND test = 0",
                &[site.into(), before.as_millisecond().into()],
            )?;
            row.map_or(Ok(0), |row| row.int(0))
        })
        .await
    }

    /// Whether the ledger knows of no submission at all.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn is_empty(&self) -> Result<bool, StoreError> {
        self.read(|tx| Ok(tx.one("SELECT 1 FROM submission LIMIT 1", &[])?.is_none()))
            .await
    }

    /// Which of these owners have nothing in the ledger that their key would open.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn without_payload(&self, owners: Vec<uuid::Uuid>) -> Result<Vec<uuid::Uuid>, StoreError> {
        self.read(move |tx| {
            let mut without = Vec::new();
            for owner in owners {
                let id = owner.to_string();
                let payload = tx.one("SELECT 1 FROM payload WHERE owner = $1 LIMIT 1", &[id.as_str().into()])?;
                let open = tx.one(
                    "SELECT 1 FROM submission WHERE id = $1 AND state <> 'deleted'",
                    &[id.as_str().into()],
                )?;
                let waiting = tx.one(
                    "SELECT 1 FROM quarantine WHERE id = $1 AND state = 'waiting'",
                    &[id.into()],
                )?;
                if payload.is_none() && open.is_none() && waiting.is_none() {
                    without.push(owner);
                }
            }
            Ok(without)
        })
        .await
    }

    /// The oldest epoch that something is still to be recognised under: of a submission that is not deleted, or was
    /// deleted since this time.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn oldest_needed_epoch(&self, deleted_since: Timestamp) -> Result<Option<i64>, StoreError> {
        self.read(move |tx| {
            let row = tx.one(
                "SELECT MIN(epoch) FROM submission WHERE epoch IS NOT NULL AND (state <> 'deleted' OR deleted_at > $1)",
                &[deleted_since.as_millisecond().into()],
            )?;
            row.map_or(Ok(None), |row| row.opt_int(0))
        })
        .await
    }

    /// Forgets the digests of all epochs but those whose keys still live.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn forget_epochs(&self, live: Vec<i64>) -> Result<(), StoreError> {
        self.write(move |tx| {
            let Some(oldest) = live.iter().min().copied() else {
                return Ok(());
            };
            tx.execute(
                "UPDATE submission SET identity = NULL, answers = NULL, fields = NULL, epoch = NULL,
                     sequence = NULL, changed = NULL, event = NULL WHERE epoch < $1",
                &[oldest.into()],
            )?;
            tx.execute(
                "UPDATE quarantine SET body = NULL, epoch = NULL WHERE epoch < $1",
                &[oldest.into()],
            )
            .map(drop)
        })
        .await
    }

    /// Forgets what is only needed for a while: receipts counted before this time, and messages that came alone.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn forget_windows(&self, before: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(
                "DELETE FROM receipt_window WHERE at < $1",
                &[before.as_millisecond().into()],
            )?;
            tx.execute("DELETE FROM alone WHERE at < $1", &[before.as_millisecond().into()])
                .map(drop)
        })
        .await
    }
}

/// Ends the deletion of those submissions of a list whose deletion was begun and not ended.
fn finish(tx: &mut Tx<'_>, ids: Value, now: Timestamp) -> Result<(), StoreError> {
    let ended = SubmissionFacts::reserve_deleting(tx, ids)?;
    let ids = Value::list(ended.iter().map(|facts| facts.id.as_str().into()).collect());
    tx.execute(
        "UPDATE submission SET state = 'deleted', deleted_at = COALESCE(deleted_at, $1) WHERE id = ANY($2)",
        &[now.as_millisecond().into(), ids],
    )?;
    // A restore that was cut short may have counted some by their leaves.
    let mut counts = Counts::default();
    for facts in ended.iter().filter(|facts| !facts.is_counted) {
        counts.count(facts.scope(), Counter::Deleted, 1);
    }
    counts.add(tx)?;
    let ended: Vec<_> = ended.iter().map(|facts| (facts, facts.rule.as_deref())).collect();
    record_all(tx, SiteEvent::Deleted, &ended, now)
}
