//! `kvit duty`: what is owed, and what a person decides about it.

use ledger::{Decision, DutyFilter, DutyRow};
use runtime::{ConfigArgs, Exit, exit};
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
        DutyCommand::Retry { matching, dry_run } => decide(&app, matching, Decision::Retry, None, dry_run).await,
        DutyCommand::Hold { matching, dry_run } => decide(&app, matching, Decision::Hold, None, dry_run).await,
        DutyCommand::Release { matching, dry_run } => decide(&app, matching, Decision::Release, None, dry_run).await,
        DutyCommand::Discard { matching, why, dry_run } => {
            if why.trim().is_empty() {
                return Err(Exit::usage(anyhow::anyhow!("--why is empty: say why, for the record")).into());
            }
            decide(&app, matching, Decision::Discard, Some(why), dry_run).await
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
    }
}

async fn decide(
    app: &App,
    matching: DutyMatch,
    decision: Decision,
    why: Option<String>,
    dry_run: bool,
) -> anyhow::Result<u8> {
    let filter = filter(matching);
    if filter == DutyFilter::default() {
        let message = "say which: an id, or --kind, --state, --reason, --form, --site, --submission, --since";
        return Err(Exit::usage(anyhow::anyhow!(message)).into());
    }
    let one = filter.id.is_some();
    let matched = if dry_run {
        app.ledger
            .count_decidable(filter, decision)
            .await
            .map_err(unavailable)?
    } else {
        app.ledger
            .decide(filter, decision, why, app.clock.now())
            .await
            .map_err(unavailable)?
    };
    if one && matched == 0 {
        return Err(Exit::data(anyhow::anyhow!(
            "no duty with that id is in a state for this: see kvit duty list"
        ))
        .into());
    }
    let word = if dry_run { "would change" } else { "changed" };
    app.print(&json!({"matched": matched, "dry_run": dry_run}), || {
        format!("{matched} {word}")
    })?;
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
