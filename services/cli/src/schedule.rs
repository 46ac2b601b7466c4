//! `kvit schedule`: what runs when, and how it went the last time.

use domain::Language;
use jiff::tz::TimeZone;
use operate::schedule::{Last, Listed, planned};
use runtime::{Clock, Config, ConfigArgs, Exit, exit};
use worker::cron::Expression;

use crate::app::{App, print};
use crate::args::ScheduleCommand;
use crate::table::{cell, table};

/// More planned times than anybody reads, and few enough to compute at once.
const MOST: usize = 10_000;

pub(crate) async fn run(config: &ConfigArgs, command: ScheduleCommand, json: bool) -> anyhow::Result<u8> {
    match command {
        ScheduleCommand::List => list(&App::open(config, json)?).await?,
        ScheduleCommand::History { name } => {
            let app = App::open(config, json)?;
            let runs = operate::schedule::history(&app.desk(), &name).await?;
            app.print(&runs, || history(&runs))?;
        }
        ScheduleCommand::Run { name, dry_run } => crate::run::run(&App::open(config, json)?, &name, dry_run).await?,
        ScheduleCommand::Next {
            name_or_expression,
            count,
            from,
        } => {
            let (expression, zone) = expression(config, &name_or_expression)?;
            let from = from.unwrap_or_else(|| Clock::system().now());
            let planned = planned(&expression, &zone, from, count.min(MOST));
            print(json, &planned, || {
                let times: Vec<_> = planned.iter().map(|time| time.local.as_str()).collect();
                if times.is_empty() {
                    "never".to_owned()
                } else {
                    format!("{}\n{}", expression.describe(Language::En), times.join("\n"))
                }
            })?;
        }
    }
    Ok(exit::OK)
}

async fn list(app: &App) -> anyhow::Result<()> {
    let listed = operate::schedule::list(&app.desk()).await?;
    app.print(&listed, || words(&listed))
}

fn words(listed: &[Listed]) -> String {
    let rows: Vec<_> = listed
        .iter()
        .map(|schedule| {
            let last = schedule.last.as_ref();
            [
                schedule.name.to_owned(),
                schedule.cron.clone(),
                schedule.words.clone(),
                cell(schedule.next.as_ref().map(|next| &next.local)),
                cell(last.map(|last| last.run.started_at)),
                cell(last.and_then(took)),
                cell(last.map(outcome)),
            ]
        })
        .collect();
    let zone = listed.first().map_or("UTC", |schedule| schedule.time_zone.as_str());
    let rows = table(
        ["name", "cron", "in words", "next", "last", "took", "outcome"],
        &rows,
        "nothing is scheduled",
    );
    format!("{rows}\n\ntimes of the schedules are in {zone}")
}

fn took(run: &Last) -> Option<String> {
    run.seconds.map(|seconds| format!("{seconds:.1} s"))
}

fn outcome(run: &Last) -> &str {
    run.run.outcome.as_deref().unwrap_or("began, and did not end")
}

fn history(runs: &[Last]) -> String {
    let row = |run: &Last| {
        [
            run.run.planned_at.to_string(),
            run.run.started_at.to_string(),
            cell(run.run.ended_at),
            cell(took(run)),
            outcome(run).to_owned(),
        ]
    };
    let rows: Vec<_> = runs.iter().map(row).collect();
    table(
        ["planned", "began", "ended", "took", "outcome"],
        &rows,
        "it has not run yet",
    )
}

/// The schedule of this name, or these five fields; with the time zone that it is in.
fn expression(config: &ConfigArgs, text: &str) -> anyhow::Result<(Expression, TimeZone)> {
    let is_expression = text.split_whitespace().nth(1).is_some();
    // An expression needs no more than a time zone: where there is no configuration, it is the one that holds unsaid.
    if is_expression && config.config.is_none() && !config.path().exists() {
        let zone = TimeZone::get("Europe/Copenhagen").map_err(Exit::io)?;
        return Ok((read(text, &zone)?, zone));
    }
    let loaded = config.load().map_err(Exit::config)?;
    let zone = loaded.config.controller.time_zone.clone();
    let text = if is_expression {
        text
    } else {
        named(&loaded.config, text)?
    };
    Ok((read(text, &zone)?, zone))
}

fn named<'a>(config: &'a Config, name: &str) -> anyhow::Result<&'a str> {
    let given = &config.schedules;
    match name {
        "purge" => Ok(&given.purge),
        "extract" => Ok(&given.extract),
        "keys" => Ok(&given.keys),
        "checkpoint" => Ok(&given.checkpoint),
        _ => Err(Exit::usage(anyhow::anyhow!(
            "no schedule is named {name:?}: give purge, extract, keys, checkpoint, or five cron fields in quotes"
        ))
        .into()),
    }
}

fn read(text: &str, zone: &TimeZone) -> anyhow::Result<Expression> {
    Ok(Expression::read(text, zone).map_err(Exit::usage)?)
}

#[cfg(test)]
mod tests {
    use ledger::RunRow;

    use super::*;

    fn local(text: &str, from: &str, count: usize) -> Vec<String> {
        let zone = TimeZone::get("Europe/Copenhagen").unwrap();
        let expression = Expression::read(text, &zone).unwrap();
        let planned = planned(&expression, &zone, from.parse().unwrap(), count);
        planned.into_iter().map(|time| time.local).collect()
    }

    #[test]
    fn a_planned_time_shows_the_offset_that_holds_then() {
        assert_eq!(
            local("0 6 * * *", "2026-10-24T00:00:00Z", 2),
            ["2026-10-24T06:00:00+02:00", "2026-10-25T06:00:00+01:00"]
        );
    }

    #[test]
    fn a_date_that_never_comes_has_no_planned_time() {
        assert_eq!(local("0 0 31 2 *", "2026-01-01T00:00:00Z", 3), Vec::<String>::new());
    }

    #[test]
    fn a_run_that_did_not_end_says_so() {
        let at = "2026-11-22T05:00:00Z".parse().unwrap();
        let run = RunRow {
            schedule: "keys".into(),
            planned_at: at,
            started_at: at,
            ended_at: None,
            outcome: None,
        };
        assert!(history(&[Last::new(run.clone())]).contains("began, and did not end"));
        let listed = Listed {
            name: "keys",
            cron: "0 6 * * *".into(),
            words: "At 06:00.".into(),
            time_zone: "Europe/Copenhagen".into(),
            last: Some(Last::new(run)),
            next: None,
        };
        assert!(words(&[listed]).contains("began, and did not end"));
    }
}
