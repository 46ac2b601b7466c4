//! What runs when, how it went the last time, and a run now: by the scheduler that has the keys, or, dry, what it would
//! do.

use domain::Language;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ledger::RunRow;
use ledger::requests::{OfSchedule, RUN_SCHEDULE};
use serde::Serialize;
use serde_json::{Value, json};
use worker::cron::{Expression, Schedule, schedules};

use crate::args::Running;
use crate::times::local;
use crate::{Because, Call, Desk, ask, away, forecast, unavailable, usage};

/// So many runs are shown of a schedule.
const HISTORY: u32 = 100;

/// A schedule with its last and next run.
#[derive(Debug, Serialize)]
pub struct Listed {
    /// Its name.
    pub name: &'static str,
    /// Its five fields.
    pub cron: String,
    /// The same in English words.
    pub words: String,
    /// The zone that its times are in.
    pub time_zone: String,
    /// How it went the last time.
    pub last: Option<Last>,
    /// When it runs next.
    pub next: Option<Planned>,
}

/// A run.
#[derive(Debug, Serialize)]
pub struct Last {
    /// The run.
    #[serde(flatten)]
    pub run: RunRow,
    /// How long it took.
    pub seconds: Option<f64>,
    /// `done`, `failed`, or `unended`: it runs still, or was cut short.
    pub state: &'static str,
}

/// A planned time.
#[derive(Debug, Serialize)]
pub struct Planned {
    /// RFC 3339, with the offset that holds then.
    pub local: String,
    /// The same in UTC.
    pub utc: Timestamp,
}

/// Every schedule.
///
/// # Errors
///
/// Where the ledger is away (69).
pub async fn list(desk: &Desk) -> anyhow::Result<Vec<Listed>> {
    let config = &desk.loaded.config;
    let zone = &config.controller.time_zone;
    let mut listed = Vec::new();
    for schedule in schedules(config)? {
        let runs = desk.ledger.runs(schedule.name.to_owned(), 1).await;
        listed.push(Listed {
            name: schedule.name,
            words: schedule.expression.describe(Language::En),
            cron: schedule.text,
            time_zone: zone.iana_name().unwrap_or("UTC").to_owned(),
            last: runs.map_err(unavailable)?.into_iter().next().map(Last::new),
            next: planned(&schedule.expression, zone, desk.clock.now(), 1).pop(),
        });
    }
    Ok(listed)
}

impl Last {
    /// A run with how long it took.
    #[must_use]
    pub fn new(run: RunRow) -> Self {
        let lasted = run.ended_at.map(|ended| ended.duration_since(run.started_at));
        Self {
            seconds: lasted.map(|lasted| lasted.as_secs_f64()),
            state: match &run.outcome {
                None => "unended",
                Some(outcome) if outcome.starts_with("failed") => "failed",
                Some(_) => "done",
            },
            run,
        }
    }
}

/// The last runs of a schedule, newest first.
///
/// # Errors
///
/// Where there is no such schedule (64), or the ledger is away (69).
pub async fn history(desk: &Desk, name: &str) -> anyhow::Result<Vec<Last>> {
    let schedule = named(desk, name)?.name.to_owned();
    let runs = desk.ledger.runs(schedule, HISTORY).await.map_err(unavailable)?;
    Ok(runs.into_iter().map(Last::new).collect())
}

fn named(desk: &Desk, name: &str) -> anyhow::Result<Schedule> {
    let known = schedules(&desk.loaded.config)?;
    let names: Vec<_> = known.iter().map(|schedule| schedule.name).collect();
    let found = known.into_iter().find(|schedule| schedule.name == name);
    found.ok_or_else(|| {
        let words = format!("no schedule is named {name:?}: there are {}", names.join(", "));
        usage(Because::NoSchedule, &[("name", name)], words)
    })
}

/// The next planned times, each after the one before.
#[must_use]
pub fn planned(expression: &Expression, zone: &TimeZone, from: Timestamp, count: usize) -> Vec<Planned> {
    let mut times = Vec::new();
    let mut time = from;
    while times.len() < count {
        let Some(next) = expression.after(time).filter(|next| *next > time) else {
            break;
        };
        times.push(Planned {
            local: local(next, zone),
            utc: next,
        });
        time = next;
    }
    times
}

pub(crate) async fn run(call: Call<'_>, args: Running) -> anyhow::Result<Value> {
    let Running { name, dry_run } = args;
    let schedule = named(call.desk, &name)?;
    call.concerns_all("a schedule")?;
    match (dry_run, schedule.name) {
        (false, _) => run_now(call, name).await,
        (true, "purge") => forecast::purge(call).await,
        (true, "extract") => extract(call).await,
        (true, _) => {
            let words = format!("{name} has no dry run: it deletes nothing, and mails no registration");
            Err(usage(Because::NoDryRun, &[("name", name.as_str())], words))
        }
    }
}

async fn run_now(call: Call<'_>, name: String) -> anyhow::Result<Value> {
    call.record(name.clone()).await?;
    let asked = OfSchedule { name: name.clone() };
    let answer = ask(call.desk, "scheduler", RUN_SCHEDULE, &asked).await?;
    let outcome = answer["outcome"].as_str().or(answer["error"].as_str());
    let outcome = outcome.unwrap_or("it runs elsewhere");
    if answer["error"].is_string() || outcome.starts_with("failed") {
        let about = [("name", name.as_str()), ("why", outcome)];
        return Err(away(Because::RunFailed, &about, format!("{name}: {outcome}")));
    }
    Ok(answer)
}

/// Which events would have a list made.
async fn extract(call: Call<'_>) -> anyhow::Result<Value> {
    let (ledger, now) = (&call.desk.ledger, call.now());
    let mut due = Vec::new();
    for event in ledger.events().await.map_err(unavailable)? {
        if event.deadline.is_none_or(|deadline| deadline > now) {
            continue;
        }
        let waiting = ledger.registered(event.id.clone(), true).await.map_err(unavailable)?;
        if !waiting.is_empty() {
            due.push(json!({"event": event.id, "registrations": waiting.len()}));
        }
    }
    Ok(json!({"dry_run": true, "extracts": due}))
}
