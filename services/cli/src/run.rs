//! `kvit schedule run`: a schedule now, by the scheduler that has the keys; or, dry, what it would do.

use domain::SubmissionId;
use domain::retention::{Retention, retention};
use jiff::Timestamp;
use kvit_scheduler::cron::schedules;
use kvit_scheduler::requests::{OfSchedule, RUN_SCHEDULE};
use ledger::{EventRow, Forecast};
use runtime::Exit;
use serde::Serialize;
use serde_json::json;

use crate::app::{App, unavailable};
use crate::request::ask;
use crate::table::{cell, table};

/// How many are looked at in one transaction.
const BATCH: u32 = 500;
/// How many of those that stay are listed in words; JSON has all.
const SHOWN: usize = 100;

pub(crate) async fn run(app: &App, name: &str, dry_run: bool) -> anyhow::Result<()> {
    let known = schedules(&app.loaded.config)?;
    if !known.iter().any(|schedule| schedule.name == name) {
        let names: Vec<_> = known.iter().map(|schedule| schedule.name).collect();
        let message = format!("no schedule is named {name:?}: there are {}", names.join(", "));
        return Err(Exit::usage(anyhow::anyhow!(message)).into());
    }
    match (dry_run, name) {
        (false, _) => run_now(app, name).await,
        (true, "purge") => purge(app).await,
        (true, "extract") => extract(app).await,
        (true, _) => {
            let message = format!("{name} has no dry run: it deletes nothing, and mails no registration");
            Err(Exit::usage(anyhow::anyhow!(message)).into())
        }
    }
}

async fn run_now(app: &App, name: &str) -> anyhow::Result<()> {
    let asked = OfSchedule { name: name.to_owned() };
    let answer = ask(app, "scheduler", RUN_SCHEDULE, &asked).await?;
    let outcome = answer["outcome"]
        .as_str()
        .or(answer["error"].as_str())
        .unwrap_or("it runs elsewhere");
    if answer["error"].is_string() || outcome.starts_with("failed") {
        return Err(Exit::unavailable(anyhow::anyhow!("{name}: {outcome}")).into());
    }
    app.print(&answer, || format!("{name}: {outcome}"))
}

/// What the purge would delete, and for the rest, why not and when: submissions, what is kept of registrations, and
/// journal entries of closed cases.
async fn purge(app: &App) -> anyhow::Result<()> {
    let now = app.clock.now();
    let (goes, stays) = submissions(app, now).await?;
    let kept = kept(app, now).await?;
    let (journal_goes, journal_stays) = journal(app, now).await?;
    let value = json!({
        "dry_run": true, "goes": goes, "stays": stays, "kept": kept,
        "journal": {"goes": journal_goes, "stays": journal_stays},
    });
    app.print(&value, || {
        let rows = |some: &[Forecast]| -> Vec<_> {
            let row = |one: &Forecast| [one.reference.clone(), one.form.clone(), cell(one.at), one.why.clone()];
            some.iter().take(SHOWN).map(row).collect()
        };
        let heading = ["reference", "form", "at the latest", "why"];
        let entries = |some: &[OfEntry]| -> Vec<_> {
            let row = |one: &OfEntry| [one.reference.clone(), one.case.clone(), cell(one.at), one.why.clone()];
            some.iter().take(SHOWN).map(row).collect()
        };
        let of_entries = ["reference", "case", "period over", "why"];
        let of_events: Vec<_> = kept
            .iter()
            .map(|one| [one.event.clone(), one.registrations.to_string(), cell(one.at)])
            .collect();
        [
            format!("{} would be deleted now", goes.len()),
            table(heading, &rows(&goes), "–"),
            format!("\n{} would stay", stays.len()),
            table(heading, &rows(&stays), "–"),
            "\nkept of registrations until their event has been held".to_owned(),
            table(["event", "registrations", "until"], &of_events, "–"),
            format!("\n{} journal entries would be deleted now", journal_goes.len()),
            table(of_entries, &entries(&journal_goes), "–"),
            format!("\n{} journal entries of closed cases would stay", journal_stays.len()),
            table(of_entries, &entries(&journal_stays), "–"),
        ]
        .join("\n")
    })
}

/// Those that would go, and those that would stay.
async fn submissions(app: &App, now: Timestamp) -> anyhow::Result<(Vec<Forecast>, Vec<Forecast>)> {
    let mut all: Vec<Forecast> = Vec::new();
    let mut after: Option<SubmissionId> = None;
    loop {
        let batch = app.ledger.forecast(after, now, BATCH).await.map_err(unavailable)?;
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

async fn kept(app: &App, now: Timestamp) -> anyhow::Result<Vec<Kept>> {
    let events = app.ledger.events().await.map_err(unavailable)?;
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
    /// When its period is over.
    at: Option<Timestamp>,
    #[serde(skip)]
    goes: bool,
}

/// Those that would go, and those that would stay (D4, D6).
async fn journal(app: &App, now: Timestamp) -> anyhow::Result<(Vec<OfEntry>, Vec<OfEntry>)> {
    let zone = &app.loaded.config.controller.time_zone;
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let batch = app
            .ledger
            .journal_archived(after.clone(), BATCH)
            .await
            .map_err(unavailable)?;
        let Some(last) = batch.last() else { break };
        after.clone_from(&last.id);
        all.extend(batch.into_iter().map(|entry| OfEntry {
            goes: matches!(retention(&entry.facts(), zone, now), Retention::Ends(_)),
            why: entry.why(zone, now),
            at: entry.due_at,
            id: entry.id,
            reference: entry.reference,
            case: entry.case,
        }));
    }
    Ok(all.into_iter().partition(|entry: &OfEntry| entry.goes))
}

/// Which events would have a list made.
async fn extract(app: &App) -> anyhow::Result<()> {
    let now = app.clock.now();
    let mut due = Vec::new();
    for event in app.ledger.events().await.map_err(unavailable)? {
        if event.deadline.is_none_or(|deadline| deadline > now) {
            continue;
        }
        let waiting = app
            .ledger
            .registered(event.id.clone(), true)
            .await
            .map_err(unavailable)?;
        if !waiting.is_empty() {
            due.push((event.id, waiting.len()));
        }
    }
    let value: Vec<_> = due
        .iter()
        .map(|(event, registrations)| json!({"event": event, "registrations": registrations}))
        .collect();
    app.print(&json!({"dry_run": true, "extracts": value}), || {
        let rows: Vec<_> = due
            .iter()
            .map(|(event, count)| [event.clone(), count.to_string()])
            .collect();
        table(
            ["event", "registrations"],
            &rows,
            "no event has a registration that waits for a list",
        )
    })
}
