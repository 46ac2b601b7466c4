//! What a purge would do, and for what stays, why and until when: submissions, what is kept of registrations, and journal
//! entries of closed cases.

use domain::SubmissionId;
use domain::form::Archive;
use domain::retention::{Ending, Retention, retention};
use jiff::Timestamp;
use ledger::{Because, EventRow, Forecast};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{Call, unavailable};

/// How many are looked at in one transaction.
const BATCH: u32 = 500;

pub(crate) async fn purge(call: Call<'_>) -> anyhow::Result<Value> {
    let (goes, stays) = submissions(call).await?;
    let kept = kept(call).await?;
    let (journal_goes, journal_stays) = journal(call).await?;
    Ok(json!({
        "dry_run": true, "goes": goes, "stays": stays, "kept": kept,
        "journal": {"goes": journal_goes, "stays": journal_stays},
    }))
}

/// Those that would go, and those that would stay.
async fn submissions(call: Call<'_>) -> anyhow::Result<(Vec<Forecast>, Vec<Forecast>)> {
    let mut all: Vec<Forecast> = Vec::new();
    let mut after: Option<SubmissionId> = None;
    loop {
        let batch = call.desk.ledger.forecast(after, call.now(), BATCH).await;
        let batch = batch.map_err(unavailable)?;
        let Some(last) = batch.last() else { break };
        after = Some(last.id.parse()?);
        all.extend(batch);
    }
    Ok(all.into_iter().partition(|one| one.goes))
}

/// What is kept of an event's registrations.
#[derive(Serialize)]
struct Kept {
    event: String,
    registrations: i64,
    /// Whether it would go now.
    goes: bool,
    /// When it goes, where that is known.
    at: Option<Timestamp>,
}

async fn kept(call: Call<'_>) -> anyhow::Result<Vec<Kept>> {
    let now = call.now();
    let events = call.desk.ledger.events().await.map_err(unavailable)?;
    let of = |event: EventRow| Kept {
        goes: event.held.is_some_and(|held| held <= now),
        at: event.held,
        registrations: event.kept,
        event: event.id,
    };
    Ok(events.into_iter().filter(|event| event.kept > 0).map(of).collect())
}

/// What the purge would do with a journal entry of a closed case.
#[derive(Serialize)]
struct OfEntry {
    id: String,
    reference: String,
    case: String,
    /// By which rule, or why not: one sentence.
    why: String,
    /// The same for programs, and for pages in other languages.
    because: Because,
    /// When its period is over.
    at: Option<Timestamp>,
    #[serde(skip)]
    goes: bool,
}

/// Why the purge would do that with an entry: one of [`OF_ENTRIES`], and the time that it is about.
fn because(retention: &Retention) -> Because {
    let (code, until) = match retention {
        Retention::CaseOpen => ("journal_case_open", None),
        Retention::Until(due, Archive::Discard) => ("journal_until", Some(*due)),
        Retention::Until(due, Archive::Preserve) => ("journal_until_archived", Some(*due)),
        Retention::AwaitsHandover(due) => ("journal_awaits_handover", Some(*due)),
        Retention::AwaitsAcknowledgement(due) => ("journal_awaits_acknowledgement", Some(*due)),
        Retention::Ends(Ending::Deleted) => ("journal_over", None),
        Retention::Ends(Ending::Transferred) => ("journal_over_archived", None),
        Retention::UnknownPeriod => ("journal_unknown_period", None),
    };
    Because {
        code,
        until,
        ..Because::default()
    }
}

/// Every code of why the purge would delete a journal entry, or would not.
pub const OF_ENTRIES: [&str; 8] = [
    "journal_case_open",
    "journal_until",
    "journal_until_archived",
    "journal_awaits_handover",
    "journal_awaits_acknowledgement",
    "journal_over",
    "journal_over_archived",
    "journal_unknown_period",
];

/// Those that would go, and those that would stay (D4, D6).
async fn journal(call: Call<'_>) -> anyhow::Result<(Vec<OfEntry>, Vec<OfEntry>)> {
    let zone = &call.desk.loaded.config.controller.time_zone;
    let now = call.now();
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let batch = call.desk.ledger.journal_archived(after.clone(), BATCH).await;
        let batch = batch.map_err(unavailable)?;
        let Some(last) = batch.last() else { break };
        after.clone_from(&last.id);
        all.extend(batch.into_iter().map(|entry| {
            let retention = retention(&entry.facts(), zone, now);
            OfEntry {
                goes: matches!(retention, Retention::Ends(_)),
                why: entry.why(zone, now),
                because: because(&retention),
                at: entry.due_at,
                id: entry.id,
                reference: entry.reference,
                case: entry.case,
            }
        }));
    }
    Ok(all.into_iter().partition(|entry: &OfEntry| entry.goes))
}
