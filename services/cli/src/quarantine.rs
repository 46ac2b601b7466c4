//! `kvit quarantine`: messages that could not be taken, and what a person decides about them.

use ledger::{QuarantineFilter, QuarantineRow};
use runtime::{ConfigArgs, Exit, exit};
use serde_json::{Value, json};

use crate::app::{App, unavailable};
use crate::args::{QuarantineCommand, QuarantineMatch};
use crate::table::{cell, table};

/// More than an operator can look at, and few enough for one answer.
const MOST: u32 = 10_000;

pub(crate) async fn run(config: &ConfigArgs, command: QuarantineCommand, json: bool) -> anyhow::Result<u8> {
    let app = App::open(config, json)?;
    match command {
        QuarantineCommand::List { matching, all } => {
            let found = find(&app, filter(matching, !all)).await?;
            app.print(&found, || words(&found))?;
        }
        QuarantineCommand::Show { id } => {
            let filter = QuarantineFilter {
                id: Some(id),
                ..QuarantineFilter::default()
            };
            let found = find(&app, filter).await?;
            let one = found.first().ok_or_else(not_found)?;
            app.print(one, || describe(one))?;
        }
        QuarantineCommand::Retry { matching, dry_run } => retry(&app, args(matching, None, dry_run)).await?,
        QuarantineCommand::Discard { matching, why, dry_run } => {
            discard(&app, args(matching, Some(&why), dry_run)).await?;
        }
    }
    Ok(exit::OK)
}

fn filter(matching: QuarantineMatch, waiting: bool) -> QuarantineFilter {
    QuarantineFilter {
        id: matching.id,
        form: matching.form.map(String::from),
        site: matching.site.map(String::from),
        reason: matching.reason.map(|reason| reason.to_string()),
        since: matching.since,
        waiting,
        ..QuarantineFilter::default()
    }
}

fn args(matching: QuarantineMatch, why: Option<&str>, dry_run: bool) -> Value {
    json!({
        "id": matching.id,
        "form": matching.form.map(String::from),
        "site": matching.site.map(String::from),
        "reason": matching.reason.map(|reason| reason.to_string()),
        "since": matching.since,
        "why": why,
        "dry_run": dry_run,
    })
}

fn not_found() -> anyhow::Error {
    Exit::data(anyhow::anyhow!(
        "no message in quarantine has that id: see kvit quarantine list --all"
    ))
    .into()
}

async fn find(app: &App, filter: QuarantineFilter) -> anyhow::Result<Vec<QuarantineRow>> {
    Ok(app.ledger.quarantined(filter, MOST).await.map_err(unavailable)?)
}

async fn retry(app: &App, args: Value) -> anyhow::Result<()> {
    let answer = app.perform("quarantine.retry", args).await?;
    app.print(&answer, || {
        let Some(results) = answer["results"].as_array() else {
            return format!("{} would be tried again", answer["matched"]);
        };
        let lines = results.iter().map(|result| {
            let text = |key: &str| result[key].as_str().unwrap_or("–").to_owned();
            [text("id"), text("outcome"), text("submission")]
        });
        table(
            ["id", "outcome", "submission"],
            &lines.collect::<Vec<_>>(),
            "nothing was tried",
        )
    })
}

async fn discard(app: &App, args: Value) -> anyhow::Result<()> {
    let answer = app.perform("quarantine.discard", args).await?;
    app.print(&answer, || {
        let word = if answer["dry_run"] == true {
            "would be discarded"
        } else {
            "discarded"
        };
        format!("{} {word}", answer["matched"])
    })
}

fn words(found: &[QuarantineRow]) -> String {
    let rows: Vec<_> = found
        .iter()
        .map(|row| {
            [
                row.id.clone(),
                row.site.clone(),
                cell(row.form.as_ref()),
                row.reason.clone(),
                row.state.clone(),
                row.bytes.to_string(),
                row.received_at.to_string(),
            ]
        })
        .collect();
    table(
        ["id", "site", "form", "reason", "state", "bytes", "received"],
        &rows,
        "nothing is in quarantine",
    )
}

fn describe(row: &QuarantineRow) -> String {
    let mut text = format!(
        "{}\nsite {} · form {} · {} bytes · received {}\nstate {} · reason {}: {}",
        row.id,
        row.site,
        cell(row.form.as_ref()),
        row.bytes,
        row.received_at,
        row.state,
        row.reason,
        meaning(&row.reason),
    );
    if let Some(why) = &row.why {
        text.push_str("\ndiscarded: ");
        text.push_str(why);
    }
    text
}

/// What a reason means, and what to do next.
fn meaning(reason: &str) -> &'static str {
    match reason {
        "malformed" => "not JSON of a shape that sites send; ask the site what it sent, then discard it",
        "too_large" => "larger than intake.max_message_bytes; raise it and retry, or discard it",
        "unknown_form" => "no form file has this id; add one (kvit form import), restart intake and retry",
        "unknown_field" => "the form refuses undeclared fields; declare the field, restart intake and retry",
        "missing_field" => "the form is strict and a required field is empty",
        "invalid_field" => "the form is strict and a value is not of its declared type",
        "undecryptable" => "not sealed to this intake's key; give the site the right certificate",
        "not_sealed" => "the site must seal its messages and did not",
        _ => "a fault of Kvit's: see intake's log, report it, and retry after an upgrade",
    }
}
