//! Who did what: each act of a person is a leaf that names its actor.

use domain::{DepartmentId, FormId, SiteId};
use jiff::Timestamp;
use serde::Serialize;
use store::{StoreError, Value};

use crate::Ledger;
use crate::outbox::leaf_by;
use crate::read::time;

/// Which acts a list is about.
#[derive(Debug, Clone, Default)]
pub struct ActFilter {
    /// Of this person.
    pub actor: Option<String>,
    /// That did this.
    pub event: Option<String>,
    /// Done at or after this time.
    pub since: Option<Timestamp>,
    /// Listed after the one with this number, by which a list goes on: older.
    pub after: Option<i64>,
    /// Only what concerns this person; everything where there is none.
    pub of: Option<Concerned>,
}

/// A person who sees the acts of some departments: those on their submissions, messages, events, certificates and pauses;
/// and the person's own.
#[derive(Debug, Clone)]
pub struct Concerned {
    /// The person.
    pub actor: String,
    /// The departments; at least one.
    pub departments: Vec<DepartmentId>,
    /// The departments' forms.
    pub forms: Vec<(SiteId, FormId)>,
}

/// Why what a person decided was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecideError {
    /// Another number matches than the person saw.
    #[error("{matched} match, and not {expected}")]
    CountChanged {
        /// So many match.
        matched: usize,
        /// So many the person saw.
        expected: u32,
    },
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Refuses where another number matches than the person saw; within a transaction, that undoes it.
///
/// # Errors
///
/// [`DecideError::CountChanged`]
pub fn as_expected(expected: Option<u32>, matched: usize) -> Result<(), DecideError> {
    match expected {
        Some(expected) if usize::try_from(expected) != Ok(matched) => {
            Err(DecideError::CountChanged { matched, expected })
        }
        _ => Ok(()),
    }
}

/// An act of a person.
#[derive(Debug, Clone, Serialize)]
pub struct ActRow {
    /// Its number among all that happened, by which a list goes on.
    pub seq: i64,
    /// Its place in the signed log; none before it is sequenced.
    pub index: Option<i64>,
    /// What was done.
    pub event: String,
    /// To what.
    pub rule: Option<String>,
    /// By whom: an opaque id.
    pub actor: String,
    /// When.
    pub at: Timestamp,
}

impl Ledger {
    /// Records that a person acts, before anything comes of it: an act without a record cannot be.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then the act is not to be done.
    pub async fn acts(&self, actor: String, act: &'static str, on: String, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| leaf_by(tx, None, act, now, Some(&on), Some(&actor)))
            .await
    }

    /// What persons did, newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn acted(&self, filter: ActFilter, limit: u32) -> Result<Vec<ActRow>, StoreError> {
        self.read(move |tx| {
            let since = filter.since.map(Timestamp::as_millisecond);
            let (mut conditions, mut values) = conditions([
                ("actor =", filter.actor.map(Into::into)),
                ("event =", filter.event.map(Into::into)),
                ("at >=", since.map(Into::into)),
                ("seq <", filter.after.map(Into::into)),
            ]);
            if let Some(of) = &filter.of {
                values.push(of.actor.as_str().into());
                conditions.push_str(&concerning(of, &format!("${}", values.len())));
            }
            values.push(limit.into());
            let sql = format!(
                "SELECT log_index, event, rule, actor, at, seq FROM leaf WHERE actor IS NOT NULL{}
                 ORDER BY seq DESC LIMIT ${}",
                conditions,
                values.len()
            );
            let rows = tx.query(&sql, &values)?;
            rows.iter()
                .map(|row| {
                    Ok(ActRow {
                        seq: row.int(5)?,
                        index: row.opt_int(0)?,
                        event: row.text(1)?.to_owned(),
                        rule: row.opt_text(2)?.map(str::to_owned),
                        actor: row.text(3)?.to_owned(),
                        at: time(row.int(4)?),
                    })
                })
                .collect()
        })
        .await
    }
}

/// The statement's condition that an act concerns somebody. An act says what it was about as operators' commands have it: an
/// id alone, or after `submission`; an event's opaque name, alone or before `to` and a department; a department, alone or
/// before a fingerprint; what a pause is of.
fn concerning(of: &Concerned, actor: &str) -> String {
    let departments = quoted(of.departments.iter());
    let forms = quoted(of.forms.iter().map(|(site, form)| format!("{site}/{form}")));
    let paused = of.departments.iter().map(|id| format!("department {id}"));
    let paused = quoted(paused.chain(of.forms.iter().map(|(_, form)| format!("form {form}"))));
    let certificate = |id: &DepartmentId| {
        let length = id.as_str().len() + 1;
        format!(" OR leaf.rule = '{id}' OR substr(leaf.rule, 1, {length}) = '{id} '")
    };
    let certificates: Vec<String> = of.departments.iter().map(certificate).collect();
    let certificates = certificates.concat();
    let submission =
        "CASE substr(leaf.rule, 1, 11) WHEN 'submission ' THEN substr(leaf.rule, 12, 36) ELSE leaf.rule END";
    format!(
        " AND (leaf.actor = {actor} OR leaf.rule IN ({paused}){certificates}
         OR substr(leaf.rule, 1, 11) IN (SELECT tag FROM event WHERE site || '/' || form IN ({forms}))
         OR EXISTS (SELECT 1 FROM submission WHERE submission.id = {submission} AND submission.department IN ({departments}))
         OR EXISTS (SELECT 1 FROM quarantine WHERE quarantine.id = leaf.rule AND quarantine.department IN ({departments}))
         OR EXISTS (SELECT 1 FROM duty LEFT JOIN submission ON submission.id = duty.submission
             WHERE duty.id = leaf.rule AND COALESCE(duty.department, submission.department) IN ({departments})))"
    )
}

/// Ids as a statement lists them. They hold letters, digits, `_` and `-` alone.
fn quoted(ids: impl Iterator<Item = impl std::fmt::Display>) -> String {
    let ids: Vec<String> = ids.map(|id| format!("'{id}'")).collect();
    // A statement must list something, and nothing is called that.
    if ids.is_empty() {
        "''".to_owned()
    } else {
        ids.join(", ")
    }
}

/// The statement's conditions of a filter, after another, and their values: each what a value is compared by, as `at >=`.
/// What is not asked for is not in them, so that an engine joins and looks up only what it must.
pub(crate) fn conditions<const N: usize>(asked: [(&str, Option<Value>); N]) -> (String, Vec<Value>) {
    let asked = asked.into_iter().filter_map(|(what, value)| Some((what, value?)));
    let numbered = (1..).zip(asked);
    numbered
        .map(|(n, (what, value))| (format!(" AND {what} ${n}"), value))
        .unzip()
}

/// The statement's condition that a row is of one of these departments; nothing where all are meant.
pub(crate) fn of_departments(column: &str, departments: &[DepartmentId]) -> String {
    if departments.is_empty() {
        return String::new();
    }
    format!(" AND {column} IN ({})", quoted(departments.iter()))
}
