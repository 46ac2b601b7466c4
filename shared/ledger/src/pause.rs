//! Pauses: what a person has put to rest, why, and until when.
//!
//! A pause that is over stays as a row, so that a duty's time to be given up can be counted without it.

use domain::{DutyId, Pausable};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use store::{Row, StoreError, Tx};

use crate::Ledger;
use crate::outbox::leaf_by;
use crate::read::time;

/// A pause in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pause {
    /// What kind of thing rests.
    pub what: Pausable,
    /// Which one.
    pub name: String,
    /// The reason that the person gave.
    pub why: String,
    /// Who: an opaque id.
    pub actor: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself; never, where there is none.
    pub until: Option<Timestamp>,
}

impl Pause {
    /// It in words, without the person.
    #[must_use]
    pub fn words(&self) -> String {
        let until = self.until.map(|until| format!(" until {until}")).unwrap_or_default();
        format!("{} {} is paused{until}: {}", self.what, self.name, self.why)
    }

    /// It for a page that anybody on the network may read: what, and since when. A reason is a person's own words, and
    /// may hold anything.
    #[must_use]
    pub fn public_words(&self) -> String {
        format!("{} {} is paused since {}", self.what, self.name, self.since)
    }
}

const COLUMNS: &str = "pause.what, pause.name, pause.why, pause.actor, pause.since, pause.until";

/// Whether a pause is in force at `$now`, which is a parameter of the statement.
fn in_force(now: &str) -> String {
    format!("pause.ended_at IS NULL AND (pause.until IS NULL OR pause.until > {now})")
}

/// Whether a pause is about a duty. The queues are those that wake-ups of the duty's kind go through.
const ABOUT_DUTY: &str = "((pause.what = 'department' AND pause.name = duty.department)
    OR (pause.what = 'form'
        AND pause.name = (SELECT submission.form FROM submission WHERE submission.id = duty.submission))
    OR (pause.what = 'queue'
        AND pause.name = CASE duty.kind WHEN 'journal' THEN 'kvit.duties.journal' ELSE 'kvit.duties.mail' END))";

/// The condition that a row of `duty` is not paused at `$now`, a parameter of the statement.
pub(crate) fn not_paused(now: &str) -> String {
    format!(
        "NOT EXISTS (SELECT 1 FROM pause WHERE {} AND {ABOUT_DUTY})",
        in_force(now)
    )
}

/// The pause that keeps a submission's duties waiting, where one does.
pub(crate) fn of_submission(tx: &mut Tx<'_>, id: &str, now: Timestamp) -> Result<Option<Pause>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM pause JOIN duty ON {ABOUT_DUTY}
         WHERE {} AND duty.submission = $1 AND duty.state = 'ready' ORDER BY pause.seq LIMIT 1",
        in_force("$2")
    );
    let row = tx.one(&sql, &[id.into(), now.as_millisecond().into()])?;
    row.map(|row| pause(&row)).transpose()
}

fn pause(row: &Row) -> Result<Pause, StoreError> {
    Ok(Pause {
        what: row.parse(0)?,
        name: row.text(1)?.to_owned(),
        why: row.text(2)?.to_owned(),
        actor: row.opt_text(3)?.map(str::to_owned),
        since: time(row.int(4)?),
        until: row.opt_int(5)?.map(time),
    })
}

impl Ledger {
    /// What is paused, the longest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn pauses(&self, now: Timestamp) -> Result<Vec<Pause>, StoreError> {
        self.read(move |tx| {
            let sql = format!(
                "SELECT {COLUMNS} FROM pause WHERE {} ORDER BY pause.seq",
                in_force("$1")
            );
            tx.query(&sql, &[now.as_millisecond().into()])?
                .iter()
                .map(pause)
                .collect()
        })
        .await
    }

    /// Pauses something, as an audited act. A pause of the same thing that is in force ends with that.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then nothing is paused.
    pub async fn pause(&self, new: Pause) -> Result<(), StoreError> {
        self.write(move |tx| {
            end(tx, (new.what, &new.name), (new.actor.as_deref(), None), new.since)?;
            tx.execute(
                "INSERT INTO pause (what, name, why, actor, since, until) VALUES ($1, $2, $3, $4, $5, $6)",
                &[
                    new.what.as_str().into(),
                    new.name.as_str().into(),
                    new.why.as_str().into(),
                    new.actor.clone().into(),
                    new.since.as_millisecond().into(),
                    new.until.map(Timestamp::as_millisecond).into(),
                ],
            )?;
            acted(tx, "paused", (new.what, &new.name), new.actor.as_deref(), new.since)
        })
        .await
    }

    /// Ends a pause, as an audited act by somebody, for a reason where one is given; `false` where there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then it is paused as before.
    pub async fn resume(
        &self,
        what: Pausable,
        name: String,
        (actor, why): (Option<String>, Option<String>),
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.write(move |tx| {
            let ended = end(tx, (what, &name), (actor.as_deref(), why.as_deref()), now)?;
            if ended {
                acted(tx, "resumed", (what, &name), actor.as_deref(), now)?;
            }
            Ok(ended)
        })
        .await
    }

    /// For how long, within these times, a duty was kept from being done by pauses.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn paused_within(
        &self,
        duty: DutyId,
        (from, to): (Timestamp, Timestamp),
    ) -> Result<SignedDuration, StoreError> {
        self.read(move |tx| {
            let sql = format!(
                "SELECT pause.since, pause.until, pause.ended_at FROM pause JOIN duty ON {ABOUT_DUTY}
                 WHERE duty.id = $1 ORDER BY pause.since"
            );
            let mut spans = Vec::new();
            for row in tx.query(&sql, &[duty.to_string().into()])? {
                let ends = [row.opt_int(1)?.map(time), row.opt_int(2)?.map(time), Some(to)];
                let end = ends.into_iter().flatten().min().unwrap_or(to);
                spans.push((time(row.int(0)?).max(from), end));
            }
            Ok(covered(&spans))
        })
        .await
    }
}

/// Ends what is in force of one thing; answers whether anything was.
fn end(
    tx: &mut Tx<'_>,
    (what, name): (Pausable, &str),
    (actor, why): (Option<&str>, Option<&str>),
    now: Timestamp,
) -> Result<bool, StoreError> {
    let sql = format!(
        "UPDATE pause SET ended_at = $3, ended_by = $4, ended_why = $5 WHERE pause.what = $1 AND pause.name = $2 AND {}",
        in_force("$3")
    );
    let values = [
        what.as_str().into(),
        name.into(),
        now.as_millisecond().into(),
        actor.into(),
        why.into(),
    ];
    let ended = tx.execute(&sql, &values)?;
    Ok(ended > 0)
}

fn acted(
    tx: &mut Tx<'_>,
    event: &str,
    (what, name): (Pausable, &str),
    actor: Option<&str>,
    at: Timestamp,
) -> Result<(), StoreError> {
    leaf_by(tx, None, event, at, Some(&format!("{what} {name}")), actor)
}

/// How much time the spans cover together; they are in the order of their beginnings and may overlap.
fn covered(spans: &[(Timestamp, Timestamp)]) -> SignedDuration {
    let mut sum = SignedDuration::ZERO;
    let mut reached = Timestamp::MIN;
    for (from, to) in spans {
        let from = (*from).max(reached);
        if from < *to {
            sum += to.duration_since(from);
            reached = *to;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn pauses_that_overlap_are_counted_once() {
        for (spans, seconds) in [
            (&[][..], 0),
            (&[(0, 10)], 10),
            (&[(0, 10), (5, 20)], 20),
            (&[(0, 30), (5, 20)], 30),
            (&[(0, 10), (20, 25)], 15),
            // One that was over before the time that is asked for.
            (&[(10, 5), (20, 25)], 5),
        ] {
            let spans: Vec<_> = spans.iter().map(|(from, to)| (at(*from), at(*to))).collect();
            assert_eq!(covered(&spans).as_secs(), seconds, "{spans:?}");
        }
    }
}
