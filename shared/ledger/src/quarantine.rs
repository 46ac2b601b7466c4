//! Messages that could not be taken: kept sealed until a person decides.

use domain::quarantine::QuarantineReason;
use domain::{DepartmentId, FormId, SiteId, SubmissionId};
use jiff::Timestamp;
use serde::Serialize;
use store::{Row, StoreError, Tx, Value};

use crate::act::{DecideError, as_expected, of_departments};
use crate::counter::{Counter, Scope};
use crate::duty::add::add_duty;
use crate::outbox::{EventData, Leaf, SiteEvent, Told, leaf, leaves, tell};
use crate::read::time;
use crate::{Ledger, NewDuty};

/// A message to be put aside.
#[derive(Clone)]
pub struct NewQuarantined {
    /// Its id.
    pub id: SubmissionId,
    /// The producer.
    pub site: SiteId,
    /// The form, where it is known.
    pub form: Option<FormId>,
    /// The form's department, where it is known.
    pub department: Option<DepartmentId>,
    /// Counted apart.
    pub test: bool,
    /// Why.
    pub reason: QuarantineReason,
    /// The message's size.
    pub bytes: usize,
    /// When it came.
    pub received_at: Timestamp,
    /// A keyed digest of the message, and under every live epoch.
    pub body: Vec<u8>,
    /// The same under every live epoch, to look for.
    pub bodies: Vec<Vec<u8>>,
    /// The epoch of the digest.
    pub epoch: i64,
    /// Whether the broker says that it delivered the message before: then one put aside already is the same.
    pub redelivered: bool,
    /// The message, sealed for intake under its own key.
    pub sealed: Vec<u8>,
    /// The site's uuid, sid and serial, where they could be read.
    pub ids: [Option<String>; 3],
}

/// A message in quarantine, without its content.
#[derive(Debug, Clone, Serialize)]
pub struct QuarantineRow {
    /// Its id.
    pub id: String,
    /// The producer.
    pub site: String,
    /// The form, where it is known.
    pub form: Option<String>,
    /// The form's department, where it is known.
    pub department: Option<String>,
    /// Why.
    pub reason: String,
    /// `waiting`, `retried` or `discarded`.
    pub state: String,
    /// The message's size.
    pub bytes: i64,
    /// When it came.
    pub received_at: Timestamp,
    /// When somebody decided.
    pub decided_at: Option<Timestamp>,
    /// Why it was discarded, in that person's words.
    pub why: Option<String>,
}

/// Which messages a command is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuarantineFilter {
    /// This one.
    pub id: Option<String>,
    /// Of this form.
    pub form: Option<String>,
    /// Of this site.
    pub site: Option<String>,
    /// With this reason.
    pub reason: Option<String>,
    /// That came at or after this time.
    pub since: Option<Timestamp>,
    /// Listed after this one, by whose id a list goes on: newer.
    pub after: Option<String>,
    /// Only those that wait for a decision.
    pub waiting: bool,
    /// Of these departments; of all where there is none.
    pub departments: Vec<DepartmentId>,
}

/// A sealed message and where it stands.
#[derive(Clone)]
pub struct Sealed {
    /// Its id, and the owner of its data key.
    pub id: SubmissionId,
    /// The bytes.
    pub sealed: Vec<u8>,
    /// When it came.
    pub received_at: Timestamp,
}

/// Messages that a department has not been told of, by the oldest of them.
#[derive(Debug, Clone)]
pub struct Untold {
    /// The department.
    pub department: DepartmentId,
    /// The producer.
    pub site: SiteId,
    /// Whether they are tests.
    pub test: bool,
    /// The oldest.
    pub id: SubmissionId,
    /// Why it was put aside.
    pub reason: QuarantineReason,
    /// When it came.
    pub since: Timestamp,
}

const COLUMNS: &str = "id, site, form, department, reason, state, bytes, received_at, decided_at, why";

fn view(row: &Row) -> Result<QuarantineRow, StoreError> {
    let owned = |column| row.opt_text(column).map(|text| text.map(str::to_owned));
    Ok(QuarantineRow {
        id: row.text(0)?.to_owned(),
        site: row.text(1)?.to_owned(),
        form: owned(2)?,
        department: owned(3)?,
        reason: row.text(4)?.to_owned(),
        state: row.text(5)?.to_owned(),
        bytes: row.int(6)?,
        received_at: time(row.int(7)?),
        decided_at: row.opt_int(8)?.map(time),
        why: owned(9)?,
    })
}

/// The statement's condition for a filter; a missing part matches everything.
const MATCHES: &str = "(CAST($1 AS TEXT) IS NULL OR id = $1) AND (CAST($2 AS TEXT) IS NULL OR form = $2)
    AND (CAST($3 AS TEXT) IS NULL OR site = $3) AND (CAST($4 AS TEXT) IS NULL OR reason = $4)
    AND (CAST($5 AS BIGINT) IS NULL OR received_at >= $5) AND (CAST($6 AS BIGINT) = 0 OR state = 'waiting')
    AND (CAST($7 AS TEXT) IS NULL
        OR (received_at, id) > ((SELECT last.received_at FROM quarantine last WHERE last.id = $7), $7))";

fn values(filter: &QuarantineFilter) -> [Value; 7] {
    [
        filter.id.clone().into(),
        filter.form.clone().into(),
        filter.site.clone().into(),
        filter.reason.clone().into(),
        filter.since.map(Timestamp::as_millisecond).into(),
        filter.waiting.into(),
        filter.after.clone().into(),
    ]
}

/// The statement for something of the messages that match; [`values`] has its values.
fn matching(what: &str, filter: &QuarantineFilter) -> String {
    let departments = of_departments("department", &filter.departments);
    format!("SELECT {what} FROM quarantine WHERE {MATCHES}{departments}")
}

impl Ledger {
    /// Puts a message aside, with its leaf and counts. Answers `false` where a redelivery was put aside already; then
    /// it is counted as a repeat.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then nothing was recorded.
    pub async fn quarantine(&self, mut new: NewQuarantined) -> Result<bool, StoreError> {
        self.write(move |tx| {
            let form = new.form.as_ref().map_or("", FormId::as_str);
            let scope = Scope {
                site: new.site.as_str(),
                form,
                test: new.test,
            };
            if new.redelivered {
                // Two replicas may have the same delivery in hand.
                tx.lock(lock_of(&new.body))?;
            }
            scope.add(tx, Counter::Arrived, 1)?;
            if new.redelivered && is_known(tx, &new.bodies)? {
                scope.add(tx, Counter::Duplicates, 1)?;
                return Ok(false);
            }
            scope.add(tx, Counter::Quarantined, 1)?;
            // Moved, for it may be large.
            let sealed = std::mem::take(&mut new.sealed);
            insert(tx, &new, sealed)?;
            let id = new.id.to_string();
            leaf(
                tx,
                Some(&id),
                "quarantined",
                new.received_at,
                Some(new.reason.as_str()),
                None,
            )?;
            let data = EventData::of(&new.ids, Some(id), None);
            let told = Told {
                site: new.site.as_str(),
                form,
                event: SiteEvent::Quarantined,
                at: new.received_at,
                data: &data,
            };
            tell(tx, &[told])?;
            Ok(true)
        })
        .await
    }

    /// Messages in quarantine, oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn quarantined(&self, filter: QuarantineFilter, limit: u32) -> Result<Vec<QuarantineRow>, StoreError> {
        self.read(move |tx| {
            let mut given = values(&filter).to_vec();
            given.push(limit.into());
            let sql = matching(COLUMNS, &filter) + " ORDER BY received_at, id LIMIT $8";
            tx.query(&sql, &given)?.iter().map(view).collect()
        })
        .await
    }

    /// How many messages match.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn count_quarantined(&self, filter: QuarantineFilter) -> Result<usize, StoreError> {
        self.read(move |tx| {
            let row = tx.one(&matching("COUNT(*)", &filter), &values(&filter))?;
            let count = row.map_or(Ok(0), |row| row.int(0))?;
            Ok(usize::try_from(count).unwrap_or_default())
        })
        .await
    }

    /// The ids of all messages that match, the oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn quarantined_ids(&self, filter: QuarantineFilter) -> Result<Vec<SubmissionId>, StoreError> {
        self.read(move |tx| {
            let sql = matching("id", &filter) + " ORDER BY received_at, id";
            let rows = tx.query(&sql, &values(&filter))?;
            rows.iter().map(|row| row.parse(0)).collect()
        })
        .await
    }

    /// The sealed content of a message that waits.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn quarantined_content(&self, id: SubmissionId) -> Result<Option<Sealed>, StoreError> {
        self.read(move |tx| {
            let row = tx.one(
                "SELECT sealed, received_at FROM quarantine WHERE id = $1 AND state = 'waiting'",
                &[id.to_string().into()],
            )?;
            row.map(|row| {
                Ok(Sealed {
                    id,
                    sealed: row.blob(0)?.to_vec(),
                    received_at: time(row.int(1)?),
                })
            })
            .transpose()
        })
        .await
    }

    /// A message that was tried again and is refused again, with a reason that may be another.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn quarantined_again(&self, id: SubmissionId, reason: QuarantineReason) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(
                "UPDATE quarantine SET reason = $2 WHERE id = $1 AND state = 'waiting'",
                &[id.to_string().into(), reason.as_str().into()],
            )
            .map(drop)
        })
        .await
    }

    /// A person gives up the messages that wait and match any of these: their content goes; they stay counted as
    /// quarantined. Answers the ids whose keys are to be destroyed.
    ///
    /// # Errors
    ///
    /// [`DecideError`], also where the person expected another number; then nothing was given up.
    pub async fn discard_quarantined(
        &self,
        filters: Vec<QuarantineFilter>,
        why: String,
        expected: Option<u32>,
        now: Timestamp,
    ) -> Result<Vec<SubmissionId>, DecideError> {
        let done = self.store.write(move |tx| {
            let mut discarded = Vec::new();
            for filter in filters {
                discarded.extend(discard(tx, filter, &why, now)?);
            }
            as_expected(expected, discarded.len())?;
            Ok(discarded)
        });
        done.await
    }

    /// The oldest message that each department has not been told of, but for departments that were told of others since
    /// this time.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn untold_quarantine(&self, told_since: Timestamp) -> Result<Vec<Untold>, StoreError> {
        self.read(move |tx| {
            let rows = tx.query(
                "SELECT department, site, test, id, reason, received_at FROM quarantine
                 WHERE state = 'waiting' AND notified_at IS NULL AND department IS NOT NULL
                 AND department NOT IN (SELECT department FROM quarantine
                     WHERE notified_at > $1 AND department IS NOT NULL)
                 ORDER BY department, site, test, received_at",
                &[told_since.as_millisecond().into()],
            )?;
            let mut untold = rows
                .iter()
                .map(|row| {
                    Ok(Untold {
                        department: row.parse(0)?,
                        site: row.parse(1)?,
                        test: row.int(2)? != 0,
                        id: row.parse(3)?,
                        reason: row.parse(4)?,
                        since: time(row.int(5)?),
                    })
                })
                .collect::<Result<Vec<_>, StoreError>>()?;
            // In the order of the statement: the oldest of each stays.
            untold.dedup_by(|next, oldest| {
                (&oldest.department, &oldest.site, oldest.test) == (&next.department, &next.site, next.test)
            });
            Ok(untold)
        })
        .await
    }

    /// Puts the notice to a department on its way, and marks what it speaks of: every message of that site that the
    /// department has not been told of. `false` where none is left, and the notice is not kept.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn tell_of_quarantine(&self, of: Untold, notice: NewDuty, now: Timestamp) -> Result<bool, StoreError> {
        self.write(move |tx| {
            let marked = tx.execute(
                "UPDATE quarantine SET notified_at = $1
                 WHERE department = $2 AND site = $3 AND test = $4 AND state = 'waiting' AND notified_at IS NULL",
                &[
                    now.as_millisecond().into(),
                    of.department.as_str().into(),
                    of.site.as_str().into(),
                    of.test.into(),
                ],
            )?;
            // Another replica may have told it meanwhile.
            if marked > 0 {
                add_duty(tx, None, &notice, now)?;
            }
            Ok(marked > 0)
        })
        .await
    }

    /// A message that came alone was finished after all.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn finished_alone(&self, body: Vec<u8>) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute("DELETE FROM alone WHERE body = $1", &[body.into()])
                .map(drop)
        })
        .await
    }

    /// Counts that a message came alone and was not finished, and answers how often that has happened.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn came_alone(&self, body: Vec<u8>, now: Timestamp) -> Result<i64, StoreError> {
        self.write(move |tx| {
            tx.execute(
                "INSERT INTO alone (body, times, at) VALUES ($1, 1, $2)
                 ON CONFLICT (body) DO UPDATE SET times = alone.times + 1, at = $2",
                &[body.as_slice().into(), now.as_millisecond().into()],
            )?;
            let row = tx.one("SELECT times FROM alone WHERE body = $1", &[body.as_slice().into()])?;
            row.map_or(Ok(0), |row| row.int(0))
        })
        .await
    }
}

/// What serialises deliveries of one message: the beginning of its digest.
fn lock_of(body: &[u8]) -> i64 {
    body.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes))
}

fn is_known(tx: &mut Tx<'_>, bodies: &[Vec<u8>]) -> Result<bool, StoreError> {
    for body in bodies {
        if tx
            .one("SELECT 1 FROM quarantine WHERE body = $1", &[body.as_slice().into()])?
            .is_some()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn insert(tx: &mut Tx<'_>, new: &NewQuarantined, sealed: Vec<u8>) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO quarantine (id, site, form, department, test, reason, state, bytes, received_at, body, epoch, sealed)
         VALUES ($1, $2, $3, $4, $5, $6, 'waiting', $7, $8, $9, $10, $11)",
        &[
            new.id.to_string().into(),
            new.site.as_str().into(),
            new.form.as_ref().map(FormId::as_str).into(),
            new.department.as_ref().map(DepartmentId::as_str).into(),
            new.test.into(),
            new.reason.as_str().into(),
            i64::try_from(new.bytes).unwrap_or(i64::MAX).into(),
            new.received_at.as_millisecond().into(),
            new.body.as_slice().into(),
            new.epoch.into(),
            sealed.into(),
        ],
    )
    .map(drop)
}

/// Gives up what waits and matches, with a leaf for each.
fn discard(
    tx: &mut Tx<'_>,
    filter: QuarantineFilter,
    why: &str,
    now: Timestamp,
) -> Result<Vec<SubmissionId>, StoreError> {
    let filter = QuarantineFilter {
        waiting: true,
        ..filter
    };
    let found = tx.query(&(matching("id", &filter) + " ORDER BY id"), &values(&filter))?;
    let ids: Vec<&str> = found.iter().map(|row| row.text(0)).collect::<Result<_, _>>()?;
    let mut discarded = Vec::new();
    for ids in Value::lists(ids) {
        tx.reserve("quarantine", "id", &ids)?;
        // One may have been tried again, and taken, since it was looked up.
        let changed = tx.query(
            "UPDATE quarantine SET state = 'discarded', sealed = NULL, decided_at = $1, why = $2
             WHERE id = ANY($3) AND state || '' = 'waiting' RETURNING id",
            &[now.as_millisecond().into(), why.into(), ids],
        )?;
        for row in changed {
            discarded.push(row.parse(0)?);
        }
    }
    let ids: Vec<String> = discarded.iter().map(SubmissionId::to_string).collect();
    let said = ids.iter().map(|id| Leaf::of(Some(id), "quarantine_discarded", now));
    leaves(tx, &said.collect::<Vec<_>>())?;
    Ok(discarded)
}

fn scope_of(tx: &mut Tx<'_>, id: SubmissionId) -> Result<Option<(String, String, bool)>, StoreError> {
    let row = tx.one(
        "SELECT site, form, test FROM quarantine WHERE id = $1",
        &[id.to_string().into()],
    )?;
    row.map(|row| {
        let form = row.opt_text(1)?.unwrap_or_default().to_owned();
        Ok((row.text(0)?.to_owned(), form, row.int(2)? != 0))
    })
    .transpose()
}

/// Takes a message that was tried again out of quarantine: its content goes, and it is no longer counted there, nor as
/// having arrived as what it was taken for then.
pub(crate) fn leave(tx: &mut Tx<'_>, id: SubmissionId, now: Timestamp) -> Result<(), StoreError> {
    let Some((site, form, test)) = scope_of(tx, id)? else {
        return Err(StoreError::Conflict);
    };
    let left = tx.execute(
        "UPDATE quarantine SET state = 'retried', sealed = NULL, decided_at = $2 WHERE id = $1 AND state = 'waiting'",
        &[id.to_string().into(), now.as_millisecond().into()],
    )?;
    if left == 0 {
        return Err(StoreError::Conflict);
    }
    leaf(tx, Some(&id.to_string()), "quarantine_retried", now, None, None)?;
    let scope = Scope {
        site: &site,
        form: &form,
        test,
    };
    scope.add(tx, Counter::Quarantined, -1)?;
    scope.add(tx, Counter::Arrived, -1)
}
