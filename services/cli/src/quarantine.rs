//! `kvit quarantine`: messages that could not be taken, and what a person decides about them.

use anyhow::Context as _;
use domain::SubmissionId;
use kvit_intake::requests::{DESTROY_KEYS, Ids, RETRY_QUARANTINE};
use ledger::{QuarantineFilter, QuarantineRow};
use runtime::{ConfigArgs, Exit, exit};
use serde_json::json;

use crate::app::{App, unavailable};
use crate::args::{QuarantineCommand, QuarantineMatch};
use crate::request::ask;
use crate::table::{cell, table};

/// More than an operator can look at, and few enough for one answer.
const MOST: u32 = 10_000;
/// So many are tried again by one request: intake answers it within the time that a command waits.
const TOGETHER: usize = 100;

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
        QuarantineCommand::Retry { matching, dry_run } => retry(&app, chosen(matching)?, dry_run).await?,
        QuarantineCommand::Discard { matching, why, dry_run } => discard(&app, chosen(matching)?, why, dry_run).await?,
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
    }
}

/// A decision is never about everything by accident.
fn chosen(matching: QuarantineMatch) -> anyhow::Result<QuarantineFilter> {
    let filter = filter(matching, true);
    let everything = QuarantineFilter {
        waiting: true,
        ..QuarantineFilter::default()
    };
    if filter == everything {
        let message = "say which: an id, or --form, --site, --reason, --since";
        return Err(Exit::usage(anyhow::anyhow!(message)).into());
    }
    Ok(filter)
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

async fn retry(app: &App, filter: QuarantineFilter, dry_run: bool) -> anyhow::Result<()> {
    let one = filter.id.is_some();
    let found = find(app, filter).await?;
    if one && found.is_empty() {
        return Err(not_found());
    }
    if dry_run || found.is_empty() {
        return app.print(&json!({"matched": found.len(), "dry_run": dry_run}), || {
            format!("{} would be tried again", found.len())
        });
    }
    let mut results = Vec::new();
    for some in ids(&found)?.chunks(TOGETHER) {
        let ids = some.to_vec();
        let mut answer = ask(app, "intake", RETRY_QUARANTINE, &Ids { ids }).await?;
        results.extend(answer["results"].as_array_mut().map(std::mem::take).unwrap_or_default());
    }
    app.print(
        &json!({"matched": found.len(), "dry_run": false, "results": results}),
        || {
            let lines = results.iter().map(|result| {
                let text = |key: &str| result[key].as_str().unwrap_or("–").to_owned();
                [text("id"), text("outcome"), text("submission")]
            });
            table(
                ["id", "outcome", "submission"],
                &lines.collect::<Vec<_>>(),
                "nothing was tried",
            )
        },
    )
}

async fn discard(app: &App, filter: QuarantineFilter, why: String, dry_run: bool) -> anyhow::Result<()> {
    if why.trim().is_empty() {
        return Err(Exit::usage(anyhow::anyhow!("--why is empty: say why, for the record")).into());
    }
    let one = filter.id.is_some();
    if dry_run {
        let found = find(app, filter).await?;
        return app.print(&json!({"matched": found.len(), "dry_run": true}), || {
            format!("{} would be discarded", found.len())
        });
    }
    let now = app.clock.now();
    let gone = app
        .ledger
        .discard_quarantined(filter, why, now)
        .await
        .map_err(unavailable)?;
    if one && gone.is_empty() {
        return Err(not_found());
    }
    // The content is gone with that; its keys go as soon as intake hears of it, and with the daily sweep otherwise.
    let args = serde_json::to_string(&Ids { ids: gone.clone() }).context("asking for the keys' destruction")?;
    app.ledger.ask(DESTROY_KEYS, args, now).await.map_err(unavailable)?;
    app.print(&json!({"matched": gone.len(), "dry_run": false}), || {
        format!("{} discarded", gone.len())
    })
}

fn ids(found: &[QuarantineRow]) -> anyhow::Result<Vec<SubmissionId>> {
    found
        .iter()
        .map(|row| row.id.parse().context("reading an id of the ledger"))
        .collect()
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
