//! What a person sees of submissions: ids, states and times, never content.

use domain::disposal::{Rule, Why};
use domain::{DepartmentId, Disposal, DutyState, SubmissionId};
use jiff::Timestamp;
use serde::Serialize;
use store::{Row, StoreError, Tx, Value};

use crate::Ledger;
use crate::act::of_departments;

/// A time from its milliseconds.
pub(crate) fn time(millisecond: i64) -> Timestamp {
    Timestamp::from_millisecond(millisecond).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A duty within its submission's timeline.
#[derive(Debug, Clone, Serialize)]
pub struct DutyView {
    /// Its id.
    pub id: String,
    /// What is owed.
    pub kind: String,
    /// Which mail of its kind.
    pub role: String,
    /// How far it has come.
    pub state: String,
    /// How often it was tried.
    pub attempts: i64,
    /// Why it is held, failed or cancelled.
    pub reason: Option<String>,
    /// When it is tried next.
    pub next_at: Option<Timestamp>,
    /// When it was discharged.
    pub done_at: Option<Timestamp>,
}

/// A leaf of the evidence log.
#[derive(Debug, Clone, Serialize)]
pub struct EvidenceView {
    /// Its place in the signed log; none before it is sequenced.
    pub index: Option<i64>,
    /// What happened.
    pub event: String,
    /// When.
    pub at: Timestamp,
}

/// A submission's timeline, without content.
#[derive(Debug, Clone, Serialize)]
pub struct SubmissionView {
    /// Kvit's id.
    pub id: String,
    /// What the citizen quotes; a quarantined message has none.
    pub reference: Option<String>,
    /// The producer.
    pub site: String,
    /// The form.
    pub form: Option<String>,
    /// The department that acts on it. Not in the timeline that sites and people are shown.
    #[serde(skip)]
    pub department: Option<String>,
    /// `message` or `registration`.
    pub kind: Option<String>,
    /// Its number among the versions.
    pub version: i64,
    /// Whether a later version supersedes it.
    pub superseded: bool,
    /// `open`, `deleting`, `deleted` or `quarantined`.
    pub state: String,
    /// When it was taken.
    pub received_at: Timestamp,
    /// When it was gone.
    pub deleted_at: Option<Timestamp>,
    /// `unknown` or `gone`.
    pub site_copy: String,
    /// Of a registration: `kept` while anything of it is, then `deleted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration: Option<&'static str>,
    /// Whether it is a test.
    pub test: bool,
    /// What is owed, in order.
    pub duties: Vec<DutyView>,
    /// Why it is kept, or was deleted: one sentence.
    pub why: String,
    /// The same for programs, and for pages in other languages.
    pub because: Because,
    /// What happened, in order.
    pub evidence: Vec<EvidenceView>,
}

/// Why a submission is kept, or was deleted.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Because {
    /// `duty`, `before_deadline`, `no_deadline`, `held`, `next_sweep`, a rule of deletion (`discharged`, `extracted`,
    /// `event_held`), or what became of it in quarantine (`waiting`, `discarded`, `retried`).
    pub code: &'static str,
    /// The duty that binds it: its kind, its state, and its reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duty: Option<(String, String, Option<String>)>,
    /// The deadline that it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Whether a person has paused what the duty waits for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
}

impl Because {
    /// Every code.
    pub const CODES: [&'static str; 11] = [
        "duty",
        "before_deadline",
        "no_deadline",
        "held",
        "next_sweep",
        "discharged",
        "extracted",
        "event_held",
        "waiting",
        "discarded",
        "retried",
    ];

    pub(crate) fn of(code: &'static str) -> Self {
        Self {
            code,
            ..Self::default()
        }
    }

    pub(crate) fn keeps(why: &Why) -> Self {
        match why {
            Why::Held => Self::of("held"),
            Why::NoDeadline => Self::of("no_deadline"),
            Why::BeforeDeadline(deadline) => Self {
                until: Some(*deadline),
                ..Self::of("before_deadline")
            },
            Why::Duty(duty) => Self {
                duty: Some((
                    duty.kind.to_string(),
                    duty.state.to_string(),
                    duty.reason.map(|reason| reason.to_string()),
                )),
                ..Self::of("duty")
            },
        }
    }
}

/// Which submissions a list is about.
#[derive(Debug, Clone, Default)]
pub struct SubmissionFilter {
    /// Of this site.
    pub site: Option<String>,
    /// Of this form.
    pub form: Option<String>,
    /// In this state.
    pub state: Option<String>,
    /// Taken at or after this time.
    pub since: Option<Timestamp>,
    /// Listed after this one, by whose id a list goes on: older.
    pub after: Option<String>,
    /// Of these departments; of all where there is none.
    pub departments: Vec<DepartmentId>,
}

const COLUMNS: &str = "id, reference, site, form, kind, version, latest, state, received_at, deleted_at, site_copy, test, rule, department";

impl Ledger {
    /// The newest submissions that match, with their duties and without their evidence.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn submissions(
        &self,
        filter: SubmissionFilter,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<SubmissionView>, StoreError> {
        self.read(move |tx| {
            let mut values: Vec<Value> = vec![
                filter.site.into(),
                filter.form.into(),
                filter.state.into(),
                filter.since.map(Timestamp::as_millisecond).into(),
                limit.into(),
            ];
            // Only where it is asked for, so that the engine begins there.
            let after = filter.after.map_or("", |id| {
                values.push(id.into());
                " AND id < $6"
            });
            let sql = format!(
                "SELECT {COLUMNS} FROM submission
                 WHERE (CAST($1 AS TEXT) IS NULL OR site = $1) AND (CAST($2 AS TEXT) IS NULL OR form = $2)
                 AND (CAST($3 AS TEXT) IS NULL OR state = $3) AND (CAST($4 AS BIGINT) IS NULL OR received_at >= $4){after}{}
                 ORDER BY id DESC LIMIT $5",
                of_departments("department", &filter.departments)
            );
            let rows = tx.query(&sql, &values)?;
            rows.iter().map(|row| view(tx, row, now, false)).collect()
        })
        .await
    }

    /// One submission or quarantined message by Kvit's id.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn show(&self, id: SubmissionId, now: Timestamp) -> Result<Option<SubmissionView>, StoreError> {
        self.read(move |tx| {
            let sql = format!("SELECT {COLUMNS} FROM submission WHERE id = $1");
            match tx.one(&sql, &[id.to_string().into()])? {
                Some(row) => view(tx, &row, now, true).map(Some),
                None => quarantined(tx, &id.to_string()),
            }
        })
        .await
    }

    /// The latest version under a reference.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn show_reference(
        &self,
        reference: String,
        now: Timestamp,
    ) -> Result<Option<SubmissionView>, StoreError> {
        self.read(move |tx| {
            let sql = format!(
                "SELECT {COLUMNS} FROM submission WHERE reference = $1 ORDER BY latest DESC, version DESC LIMIT 1"
            );
            let row = tx.one(&sql, &[reference.into()])?;
            row.map(|row| view(tx, &row, now, true)).transpose()
        })
        .await
    }

    /// Submissions whose mails are not delivered by their alarm time.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn overdue(&self, now: Timestamp) -> Result<i64, StoreError> {
        self.read(move |tx| {
            let row = tx.one(
                "SELECT COUNT(*) FROM submission WHERE state = 'open' AND kind = 'message' AND alarm_at < $1",
                &[now.as_millisecond().into()],
            )?;
            row.map_or(Ok(0), |row| row.int(0))
        })
        .await
    }
}

fn view(tx: &mut Tx<'_>, row: &Row, now: Timestamp, whole: bool) -> Result<SubmissionView, StoreError> {
    let id = row.text(0)?.to_owned();
    let state = row.text(7)?.to_owned();
    let rule = row.opt_text(12)?.map(str::to_owned);
    let (why, because) = why(tx, &id, &state, rule.as_deref(), now)?;
    Ok(SubmissionView {
        reference: row.opt_text(1)?.map(str::to_owned),
        site: row.text(2)?.to_owned(),
        form: row.opt_text(3)?.map(str::to_owned),
        department: row.opt_text(13)?.map(str::to_owned),
        kind: row.opt_text(4)?.map(str::to_owned),
        version: row.int(5)?,
        superseded: row.int(6)? == 0,
        received_at: time(row.int(8)?),
        deleted_at: row.opt_int(9)?.map(time),
        site_copy: row.text(10)?.to_owned(),
        registration: crate::registration::shown(tx, &id, row.opt_text(4)?, &state)?,
        test: row.int(11)? != 0,
        duties: duties(tx, &id)?,
        why,
        because,
        evidence: if whole { evidence(tx, &id)? } else { Vec::new() },
        state,
        id,
    })
}

/// Why, in words and for programs.
fn why(
    tx: &mut Tx<'_>,
    id: &str,
    state: &str,
    rule: Option<&str>,
    now: Timestamp,
) -> Result<(String, Because), StoreError> {
    if state != "open" {
        let rule = match rule {
            Some("extracted") => Rule::Extracted,
            Some("event_held") => Rule::EventHeld,
            _ => Rule::Discharged,
        };
        return Ok((rule.to_string(), Because::of(rule.as_str())));
    }
    Ok(match crate::deletion::judge(tx, id, now)? {
        Some(Disposal::Keep(why)) => {
            let mut because = Because::keeps(&why);
            match (&why, crate::pause::of_submission(tx, id, now)?) {
                (Why::Duty(duty), Some(pause)) if duty.state == DutyState::Ready => {
                    because.paused = true;
                    (format!("{why}; {}", pause.words()), because)
                }
                _ => (why.to_string(), because),
            }
        }
        Some(Disposal::Delete(_)) => {
            let words = "kept until the next sweep: everything that bound it is done";
            (words.to_owned(), Because::of("next_sweep"))
        }
        None => (String::new(), Because::default()),
    })
}

fn duties(tx: &mut Tx<'_>, id: &str) -> Result<Vec<DutyView>, StoreError> {
    let rows = tx.query(
        "SELECT id, kind, role, state, attempts, reason, next_at, done_at FROM duty WHERE submission = $1 ORDER BY created_at, id",
        &[id.into()],
    )?;
    rows.iter()
        .map(|row| {
            Ok(DutyView {
                id: row.text(0)?.to_owned(),
                kind: row.text(1)?.to_owned(),
                role: row.text(2)?.to_owned(),
                state: row.text(3)?.to_owned(),
                attempts: row.int(4)?,
                reason: row.opt_text(5)?.map(str::to_owned),
                next_at: row.opt_int(6)?.map(time),
                done_at: row.opt_int(7)?.map(time),
            })
        })
        .collect()
}

fn evidence(tx: &mut Tx<'_>, id: &str) -> Result<Vec<EvidenceView>, StoreError> {
    let rows = tx.query(
        "SELECT log_index, event, at FROM leaf WHERE submission = $1 ORDER BY seq",
        &[id.into()],
    )?;
    rows.iter()
        .map(|row| {
            Ok(EvidenceView {
                index: row.opt_int(0)?,
                event: row.text(1)?.to_owned(),
                at: time(row.int(2)?),
            })
        })
        .collect()
}

fn quarantined(tx: &mut Tx<'_>, id: &str) -> Result<Option<SubmissionView>, StoreError> {
    let row = tx.one(
        "SELECT site, form, state, reason, received_at, test, department FROM quarantine WHERE id = $1",
        &[id.into()],
    )?;
    let Some(row) = row else { return Ok(None) };
    let reason = row.text(3)?;
    let (why, code) = match row.text(2)? {
        "discarded" => (format!("discarded from quarantine ({reason})"), "discarded"),
        "retried" => ("tried again and taken, under an id of its own".to_owned(), "retried"),
        _ => (
            format!("kept in quarantine until a person decides ({reason})"),
            "waiting",
        ),
    };
    Ok(Some(SubmissionView {
        id: id.to_owned(),
        reference: None,
        site: row.text(0)?.to_owned(),
        form: row.opt_text(1)?.map(str::to_owned),
        department: row.opt_text(6)?.map(str::to_owned),
        kind: None,
        version: 1,
        superseded: false,
        state: "quarantined".to_owned(),
        received_at: time(row.int(4)?),
        deleted_at: None,
        site_copy: "unknown".to_owned(),
        registration: None,
        test: row.int(5)? != 0,
        duties: Vec::new(),
        because: Because::of(code),
        why,
        evidence: evidence(tx, id)?,
    }))
}
