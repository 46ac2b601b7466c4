//! `kvit schedule run`: a schedule now, by the scheduler that has the keys; or, dry, what it would do.

use domain::SubmissionId;
use kvit_scheduler::cron::schedules;
use kvit_scheduler::requests::{OfSchedule, RUN_SCHEDULE};
use ledger::Forecast;
use runtime::Exit;
use serde_json::json;

use crate::app::{App, unavailable};
use crate::request::ask;
use crate::table::{cell, table};

/// How many submissions are looked at in one transaction.
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

/// What the purge would delete, and for the rest, why not and when.
async fn purge(app: &App) -> anyhow::Result<()> {
    let now = app.clock.now();
    let mut all: Vec<Forecast> = Vec::new();
    let mut after: Option<SubmissionId> = None;
    loop {
        let batch = app.ledger.forecast(after, now, BATCH).await.map_err(unavailable)?;
        let Some(last) = batch.last() else { break };
        after = Some(last.id.parse()?);
        all.extend(batch);
    }
    let (goes, stays): (Vec<Forecast>, Vec<Forecast>) = all.into_iter().partition(|one| one.goes);
    app.print(&json!({"dry_run": true, "goes": goes, "stays": stays}), || {
        let rows = |some: &[Forecast]| -> Vec<_> {
            let row = |one: &Forecast| [one.reference.clone(), one.form.clone(), cell(one.at), one.why.clone()];
            some.iter().take(SHOWN).map(row).collect()
        };
        let heading = ["reference", "form", "at the latest", "why"];
        format!(
            "{} would be deleted now\n{}\n\n{} would stay\n{}",
            goes.len(),
            table(heading, &rows(&goes), "–"),
            stays.len(),
            table(heading, &rows(&stays), "–"),
        )
    })
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
