//! What waits, and how long already: the figures that an alarm is made of.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use store::{Row, StoreError, Tx};

use crate::Ledger;
use crate::deletion::past_and_there;
use crate::read::time;

/// Within what time all mails of a submission are to be done.
///
/// The objective is that 99 of 100 accepted submissions are, counted over all that were accepted, so that a lost one shows.
pub const IN_TIME: SignedDuration = SignedDuration::from_mins(5);

/// Whether a row of `duty` is a mail that is neither done nor cancelled.
pub(crate) const OWED_MAIL: &str =
    "duty.kind IN ('department_mail', 'receipt') AND duty.state NOT IN ('done', 'cancelled')";

/// What waits in production; tests are not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Submissions whose mails were done later than [`IN_TIME`], or are not yet and should be.
    pub missed: i64,
    /// The age in seconds of the oldest duty of each kind that is neither done nor cancelled.
    pub oldest_duties: BTreeMap<String, i64>,
    /// Messages in quarantine that wait for a decision.
    pub quarantine_waiting: i64,
    /// The age in seconds of the oldest of them.
    pub quarantine_oldest_seconds: i64,
    /// Registrations of which something is kept although disposal lets it go.
    pub registrations_past_their_time: i64,
    /// Leaves without a place in the signed log.
    pub unsequenced_leaves: i64,
    /// The age in seconds of the oldest of them.
    pub unsequenced_oldest_seconds: i64,
    /// Events that a site has not been told, for each site that has any.
    pub events_waiting: BTreeMap<String, i64>,
}

impl Ledger {
    /// What waits now.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn backlog(&self, now: Timestamp) -> Result<Backlog, StoreError> {
        self.read(move |tx| {
            let (quarantine_waiting, quarantine_oldest_seconds) = waiting(
                tx,
                "SELECT COUNT(*), MIN(received_at) FROM quarantine WHERE state = 'waiting' AND test = 0",
                now,
            )?;
            // The first in order is the oldest, and an index has it; that of all of them would be looked up in each.
            let (unsequenced_leaves, unsequenced_oldest_seconds) = waiting(
                tx,
                "SELECT COUNT(*), (SELECT at FROM leaf WHERE log_index IS NULL ORDER BY seq LIMIT 1)
                 FROM leaf WHERE log_index IS NULL",
                now,
            )?;
            Ok(Backlog {
                missed: missed(tx, now)?,
                oldest_duties: oldest_duties(tx, now)?,
                quarantine_waiting,
                quarantine_oldest_seconds,
                registrations_past_their_time: past_and_there(tx, now)?,
                unsequenced_leaves,
                unsequenced_oldest_seconds,
                events_waiting: by_name(tx, "SELECT site, COUNT(*) FROM outbox GROUP BY site", |row| row.int(1))?,
            })
        })
        .await
    }

    /// How many messages of each site's queue were taken, tests among them.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn taken(&self) -> Result<BTreeMap<String, i64>, StoreError> {
        self.read(|tx| {
            let sql = "SELECT site, CAST(SUM(value) AS BIGINT) FROM counter WHERE name = 'arrived' GROUP BY site";
            by_name(tx, sql, |row| row.int(1))
        })
        .await
    }
}

/// How many seconds ago a time in milliseconds was.
pub(crate) fn age(since: i64, now: Timestamp) -> i64 {
    now.duration_since(time(since)).as_secs().max(0)
}

/// How many there are, and the age of the oldest in seconds.
fn waiting(tx: &mut Tx<'_>, sql: &str, now: Timestamp) -> Result<(i64, i64), StoreError> {
    let Some(row) = tx.one(sql, &[])? else {
        return Ok((0, 0));
    };
    Ok((row.int(0)?, row.opt_int(1)?.map_or(0, |since| age(since, now))))
}

fn by_name(
    tx: &mut Tx<'_>,
    sql: &str,
    value: impl Fn(&Row) -> Result<i64, StoreError>,
) -> Result<BTreeMap<String, i64>, StoreError> {
    let rows = tx.query(sql, &[])?;
    rows.iter()
        .map(|row| Ok((row.text(0)?.to_owned(), value(row)?)))
        .collect()
}

fn missed(tx: &mut Tx<'_>, now: Timestamp) -> Result<i64, StoreError> {
    let late = tx.one(
        "SELECT CAST(COALESCE(SUM(value), 0) AS BIGINT) FROM counter WHERE name = 'late' AND test = 0",
        &[],
    )?;
    // A duty is no older than its submission, and younger where a person began it anew: of the young ones each submission
    // is asked for, of the others none.
    let sql = format!(
        "SELECT COUNT(*) FROM (
             SELECT submission FROM duty WHERE duty.test = 0 AND {OWED_MAIL} AND created_at < $1
             UNION SELECT submission.id FROM duty JOIN submission ON submission.id = duty.submission
             WHERE duty.test = 0 AND {OWED_MAIL} AND duty.created_at >= $1 AND submission.received_at < $1) AS missed"
    );
    let owing = tx.one(&sql, &[(now - IN_TIME).as_millisecond().into()])?;
    let number = |row: Option<Row>| row.map_or(Ok(0), |row| row.int(0));
    Ok(number(late)? + number(owing)?)
}

fn oldest_duties(tx: &mut Tx<'_>, now: Timestamp) -> Result<BTreeMap<String, i64>, StoreError> {
    let mut ages = BTreeMap::new();
    // One look for each kind, which an index answers with its first entry.
    for kind in domain::DutyKind::ALL {
        let row = tx.one(
            "SELECT MIN(created_at) FROM duty WHERE test = 0 AND kind = $1 AND state NOT IN ('done', 'cancelled')",
            &[kind.as_str().into()],
        )?;
        let since = row.map_or(Ok(None), |row| row.opt_int(0))?;
        ages.insert(kind.as_str().to_owned(), since.map_or(0, |since| age(since, now)));
    }
    Ok(ages)
}
