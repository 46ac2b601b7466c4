//! `kvit duty`: what is owed, and what a person decides about it.

use ledger::{DutyFilter, DutyRow};
use runtime::{ConfigArgs, exit};
use serde_json::json;

use crate::app::{App, unavailable};
use crate::args::{DutyCommand, DutyMatch};
use crate::table::{cell, table};

pub(crate) async fn run(config: &ConfigArgs, command: DutyCommand, json: bool) -> anyhow::Result<u8> {
    let app = App::open(config, json)?;
    match command {
        DutyCommand::List { matching, limit } => {
            let duties = app.ledger.duties(filter(matching), limit).await.map_err(unavailable)?;
            app.print(&duties, || words(&duties))?;
            Ok(exit::OK)
        }
        DutyCommand::Retry { matching, dry_run } => decide(&app, "duty.retry", matching, None, dry_run).await,
        DutyCommand::Hold { matching, dry_run } => decide(&app, "duty.hold", matching, None, dry_run).await,
        DutyCommand::Release { matching, dry_run } => decide(&app, "duty.release", matching, None, dry_run).await,
        DutyCommand::Discard { matching, why, dry_run } => {
            decide(&app, "duty.discard", matching, Some(why), dry_run).await
        }
    }
}

fn filter(matching: DutyMatch) -> DutyFilter {
    DutyFilter {
        id: matching.id,
        submission: matching.submission,
        kind: matching.kind.map(|kind| kind.to_string()),
        state: matching.state.map(|state| state.to_string()),
        reason: matching.reason.map(|reason| reason.to_string()),
        form: matching.form.map(String::from),
        site: matching.site.map(String::from),
        since: matching.since,
        ..DutyFilter::default()
    }
}

async fn decide(
    app: &App,
    action: &str,
    matching: DutyMatch,
    why: Option<String>,
    dry_run: bool,
) -> anyhow::Result<u8> {
    let args = json!({
        "id": matching.id,
        "submission": matching.submission,
        "kind": matching.kind,
        "state": matching.state,
        "reason": matching.reason.map(|reason| reason.to_string()),
        "form": matching.form.map(String::from),
        "site": matching.site.map(String::from),
        "since": matching.since,
        "why": why,
        "dry_run": dry_run,
    });
    let answer = app.perform(action, args).await?;
    let word = if dry_run { "would change" } else { "changed" };
    app.print(&answer, || format!("{} {word}", answer["matched"]))?;
    Ok(exit::OK)
}

fn words(duties: &[DutyRow]) -> String {
    let rows: Vec<_> = duties
        .iter()
        .map(|duty| {
            [
                duty.id.clone(),
                cell(duty.reference.as_ref()),
                cell(duty.form.as_ref()),
                duty.kind.clone(),
                duty.state.clone(),
                cell(duty.reason.as_ref()),
                duty.attempts.to_string(),
                cell(duty.done_at.or(duty.next_at)),
            ]
        })
        .collect();
    table(
        [
            "id",
            "reference",
            "form",
            "kind",
            "state",
            "reason",
            "attempts",
            "done or next",
        ],
        &rows,
        "no duty matches",
    )
}
