//! `kvit event`: the dates of events as an operator sets them, and the department's word that it has deleted its copies.

use operate::event::Shown;
use runtime::{ConfigArgs, exit};
use serde_json::{Value, json};

use crate::app::App;
use crate::args::EventCommand;
use crate::table::{cell, table};

pub(crate) async fn run(config: &ConfigArgs, command: EventCommand, json: bool) -> anyhow::Result<u8> {
    let app = App::open(config, json)?;
    match command {
        EventCommand::List => {
            let shown = operate::event::all(&app.desk()).await?;
            app.print(&shown, || list(&shown))?;
        }
        EventCommand::Show { event } => {
            let shown = operate::event::show(&app.desk(), &event).await?;
            app.print(&shown, || words(&shown))?;
        }
        EventCommand::Set { event, deadline, held } => {
            changed(
                &app,
                "event.set",
                json!({"event": event, "deadline": deadline, "held": held}),
            )
            .await?;
        }
        EventCommand::Cancel { event } => changed(&app, "event.cancel", json!({"event": event})).await?,
        EventCommand::Erased { event, code } => erased(&app, &event, &code).await?,
    }
    Ok(exit::OK)
}

fn words(shown: &Shown) -> String {
    let row = &shown.row;
    let mut lines = vec![
        format!("{} · {}", row.id, cell(row.tag.as_ref())),
        format!(
            "deadline  {}",
            dated(shown.deadline_local.as_ref(), row.deadline_source.as_ref())
        ),
        format!(
            "held      {}",
            dated(shown.held_local.as_ref(), row.held_source.as_ref())
        ),
    ];
    lines.extend(row.cancelled_at.map(|at| format!("cancelled {at}")));
    lines.push(format!(
        "{} registrations are kept, {} of them in no confirmed extract; of {} only the address is left",
        row.open, row.unextracted, row.kept
    ));
    lines.extend(shown.extracts.iter().map(|extract| {
        let confirmed = match (extract.confirmed_at, extract.confirm.as_str()) {
            (Some(at), _) => format!("confirmed {at}"),
            (None, "none") => "an export, which confirms nothing".to_owned(),
            (None, _) => "not confirmed".to_owned(),
        };
        format!(
            "list of {} to {} made {}: mail {}, {confirmed}",
            extract.covers, extract.department, extract.made_at, extract.mail
        )
    }));
    lines.extend(row.notified_at.map(|at| match row.erased_at {
        Some(erased) => format!("the department was told to delete {at}, and has {erased}"),
        None => format!("the department was told to delete {at}, and has not said that it has"),
    }));
    lines.join("\n")
}

fn dated(time: Option<&String>, source: Option<&String>) -> String {
    match time {
        Some(time) => format!("{time} (by {})", cell(source)),
        None => "–".to_owned(),
    }
}

fn list(events: &[Shown]) -> String {
    let rows: Vec<_> = events
        .iter()
        .map(|event| {
            [
                event.row.id.clone(),
                cell(event.row.tag.as_ref()),
                cell(event.deadline_local.as_ref()),
                cell(event.held_local.as_ref()),
                event.row.open.to_string(),
                event.row.unextracted.to_string(),
                event.row.kept.to_string(),
            ]
        })
        .collect();
    table(
        ["event", "name", "deadline", "held", "kept", "unextracted", "addresses"],
        &rows,
        "no event",
    )
}

async fn changed(app: &App, action: &str, args: Value) -> anyhow::Result<()> {
    let event = app.perform(action, args).await?;
    let id = event["id"].as_str().unwrap_or_default();
    let shown = operate::event::show(&app.desk(), id).await?;
    app.print(&event, || words(&shown))
}

async fn erased(app: &App, event: &str, code: &str) -> anyhow::Result<()> {
    let answer = app
        .perform("event.erased", json!({"event": event, "code": code}))
        .await?;
    app.print(&answer, || {
        let word = if answer["news"] == true {
            "recorded"
        } else {
            "known already"
        };
        let event = answer["event"].as_str().unwrap_or_default();
        format!("{word}: the department has deleted its copies of {event}")
    })
}
