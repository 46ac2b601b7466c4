//! `kvit journal`: the embedded journal, as a caseworker or an archivist uses it.
//!
//! No key is read here. What only the journal may see (a person's number, an annotation, a correction) is sealed to the
//! journal's certificate before it goes into the ledger; what the journal opens comes back sealed to a key that this
//! process made a moment ago, and forgets.

pub(crate) mod args;

mod content;
mod package;
mod sealed;

use std::io::Read as _;

use anyhow::Context as _;
use domain::{SubmissionId, cpr};
use kvit_journaliser::requests::{self, Party};
use ledger::{Closed, EntryFilter, EntryRow, Marked, NewCase};
use runtime::{ConfigArgs, Exit, exit};
use serde_json::{Value, json};

use crate::app::{App, actor, unavailable};
use crate::request::ask;
use crate::table::{cell, table};
use args::{CaseArgs, JournalCommand, ListArgs};

pub(crate) async fn run(config: &ConfigArgs, command: JournalCommand, json: bool) -> anyhow::Result<u8> {
    let app = App::open(config, json)?;
    match command {
        JournalCommand::List(args) => list(&app, args).await?,
        JournalCommand::Show { id } => show(&app, &id).await?,
        JournalCommand::Mark { id, case } => mark(&app, &id, case).await?,
        JournalCommand::Add {
            reference,
            content,
            case,
        } => content::add(&app, &reference, &content, new_case(case)?).await?,
        JournalCommand::Annotate { id } => annotate(&app, &id).await?,
        JournalCommand::Correct { id, content } => content::correct(&app, &id, &content).await?,
        JournalCommand::CloseCase { number } => close_case(&app, number).await?,
        JournalCommand::Explain { id } => explain(&app, &id).await?,
        JournalCommand::Handover { out } => package::hand_over(&app, &out).await?,
        JournalCommand::Acknowledge { package } => package::acknowledge(&app, package).await?,
        JournalCommand::Export { ids, case, out } => package::export(&app, ids, case, &out).await?,
        JournalCommand::Retarget { from, to, submission } => retarget(&app, from, to, submission).await?,
    }
    Ok(exit::OK)
}

/// The entry of this id or reference (65 where there is none).
async fn find(app: &App, id: &str) -> anyhow::Result<EntryRow> {
    let found = app.ledger.journal_entry(id.to_owned()).await.map_err(unavailable)?;
    found
        .with_context(|| format!("no journal entry {id}"))
        .map_err(Exit::data)
        .map_err(Into::into)
}

/// Asks the journaliser, and refuses what it refuses (65).
async fn asked(app: &App, kind: &'static str, args: &impl serde::Serialize) -> anyhow::Result<Value> {
    let answer = ask(app, "journaliser", kind, args).await?;
    match answer["error"].as_str() {
        Some(error) => Err(Exit::data(anyhow::anyhow!("the journaliser refused: {error}")).into()),
        None => Ok(answer),
    }
}

fn standard_input(what: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(Exit::io)
        .context("reading standard input")?;
    let text = text.trim().to_owned();
    if text.is_empty() {
        return Err(Exit::usage(anyhow::anyhow!("give {what} on standard input")).into());
    }
    Ok(text)
}

/// A case's number and title are found without a key, so neither may name a person.
fn new_case(args: CaseArgs) -> anyhow::Result<Option<NewCase>> {
    let Some(number) = args.case else { return Ok(None) };
    let number = number.trim().to_owned();
    for (what, text) in [("number", Some(&number)), ("title", args.title.as_ref())] {
        if text.is_some_and(|text| text.is_empty() || !cpr::find(text).is_empty()) {
            let message = format!("the case's {what} is empty, or holds what looks like a CPR number");
            return Err(Exit::usage(anyhow::anyhow!(message)).into());
        }
    }
    Ok(Some(NewCase {
        number,
        title: args.title,
    }))
}

async fn list(app: &App, args: ListArgs) -> anyhow::Result<()> {
    let found = if args.party {
        let text = standard_input("what identifies the party")?;
        let sealed = sealed::to_journal(app, &Party { text }).await?;
        let answer = asked(
            app,
            requests::FIND,
            &requests::Find {
                sealed,
                limit: args.limit,
            },
        )
        .await?;
        answer["entries"].clone()
    } else {
        let filter = EntryFilter {
            case: args.case,
            form: args.form.map(String::from),
            state: args.state,
            since: args.since,
            party: None,
        };
        let rows = app
            .ledger
            .journal_entries(filter, args.limit)
            .await
            .map_err(unavailable)?;
        serde_json::to_value(rows)?
    };
    app.print(&found, || words(&found))
}

fn words(entries: &Value) -> String {
    let text = |entry: &Value, key: &str| cell(entry[key].as_str());
    let rows: Vec<_> = entries
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| {
            [
                text(entry, "reference"),
                text(entry, "case"),
                text(entry, "theme"),
                text(entry, "received_at"),
                text(entry, "state"),
                entry["versions"].to_string(),
                text(entry, "id"),
            ]
        })
        .collect();
    let heading = ["reference", "case", "theme", "received", "state", "versions", "id"];
    table(heading, &rows, "no entries")
}

async fn show(app: &App, id: &str) -> anyhow::Result<()> {
    let entry = find(app, id).await?;
    let versions = app
        .ledger
        .journal_versions(entry.id.clone())
        .await
        .map_err(unavailable)?;
    let annotations = app
        .ledger
        .journal_annotations(entry.id.clone())
        .await
        .map_err(unavailable)?;
    let filings = app
        .ledger
        .journal_filings(entry.id.clone())
        .await
        .map_err(unavailable)?;
    // J5: the chain of the submission, which the entry's own leaves continue.
    let submission: SubmissionId = entry.id.parse()?;
    let now = app.clock.now();
    let shown = app.ledger.show(submission, now).await.map_err(unavailable)?;
    let evidence = shown.map(|shown| shown.evidence).unwrap_or_default();
    let zone = &app.loaded.config.controller.time_zone;
    let mut value = serde_json::to_value(&entry)?;
    value["why"] = entry.why(zone, now).into();
    value["versions"] = serde_json::to_value(&versions)?;
    value["annotations"] = annotations.iter().map(|one| json!({"at": one.at})).collect();
    value["filed"] = serde_json::to_value(&filings)?;
    value["evidence"] = serde_json::to_value(&evidence)?;
    app.print(&value, || {
        let mut lines = vec![
            format!("{} · {}", entry.theme, entry.reference),
            format!("entry {} in case {} ({})", entry.id, entry.case, entry.case_title),
            format!(
                "received {} by {}, journalised {}",
                entry.received_at, entry.channel, entry.journalised_at
            ),
            format!("{}: {}", entry.state, entry.why(zone, now)),
        ];
        for version in &versions {
            lines.push(format!(
                "version {}  {}  {}",
                version.number, version.made_at, version.file
            ));
        }
        lines.extend(annotations.iter().map(|one| format!("annotation  {}", one.at)));
        lines.extend(
            filings
                .iter()
                .map(|one| format!("filed  {}  {} {}", one.at, one.target, one.reference)),
        );
        lines.extend(
            evidence
                .iter()
                .map(|leaf| format!("{}  {}  {}", cell(leaf.index), leaf.at, leaf.event)),
        );
        lines.join("\n")
    })
}

async fn submission(app: &App, id: &str) -> anyhow::Result<SubmissionId> {
    let shown = crate::submission::show(app, id).await?;
    let shown = shown.context("no submission is known by that id").map_err(Exit::data)?;
    Ok(shown.id.parse()?)
}

async fn mark(app: &App, id: &str, case: CaseArgs) -> anyhow::Result<()> {
    let case = new_case(case)?;
    let submission = submission(app, id).await?;
    let marked = app
        .ledger
        .mark(submission, case, actor(), app.clock.now())
        .await
        .map_err(unavailable)?;
    let (news, words) = match marked {
        Marked::Now(_) => (true, "marked: the journaliser writes it now"),
        Marked::Before => (false, "marked before, or journalised by the form's own rule"),
        Marked::NoCopy => {
            let message = "no copy waits to be marked: nobody marked it in time, or its form keeps none; \
                           kvit journal add takes it from the department's mail";
            return Err(Exit::data(anyhow::anyhow!(message)).into());
        }
    };
    app.print(&json!({"submission": submission, "news": news}), || words.to_owned())
}

async fn annotate(app: &App, id: &str) -> anyhow::Result<()> {
    let entry = find(app, id).await?;
    let text = standard_input("the annotation")?;
    let sealed = sealed::to_journal(app, &requests::Annotation { text }).await?;
    let added = app
        .ledger
        .annotate(entry.id.clone(), sealed.into_bytes(), actor(), app.clock.now())
        .await
        .map_err(unavailable)?;
    if !added {
        return Err(Exit::data(anyhow::anyhow!("the entry's content is gone")).into());
    }
    app.print(&json!({"entry": entry.id, "annotated": true}), || {
        format!("annotated: {}", entry.reference)
    })
}

async fn close_case(app: &App, number: String) -> anyhow::Result<()> {
    let zone = app.loaded.config.controller.time_zone.clone();
    let now = app.clock.now();
    let closed = app
        .ledger
        .close_case(number.clone(), zone, actor(), now)
        .await
        .map_err(unavailable)?;
    let (at, entries) = match closed {
        Closed::Unknown => return Err(Exit::data(anyhow::anyhow!("no case {number}")).into()),
        Closed::Before(at) => (at, None),
        Closed::Now(entries) => (now, Some(entries)),
    };
    let value = json!({"case": number, "closed_at": at, "news": entries.is_some(), "entries": entries});
    app.print(&value, || match entries {
        Some(entries) => format!("closed: case {number} with {entries} entries; their periods run from now"),
        None => format!("closed before, on {at}"),
    })
}

async fn explain(app: &App, id: &str) -> anyhow::Result<()> {
    let entry = find(app, id).await?;
    let zone = &app.loaded.config.controller.time_zone;
    let why = entry.why(zone, app.clock.now());
    let rule = format!(
        "form {} of site {}: journal.period = {}, journal.archive = {}",
        entry.form, entry.site, entry.period, entry.archive
    );
    let value = json!({
        "entry": entry.id, "reference": entry.reference, "case": entry.case, "state": entry.state,
        "closed_at": entry.closed_at, "due_at": entry.due_at, "period": entry.period, "archive": entry.archive,
        "handed_over_at": entry.handed_over_at, "acknowledged_at": entry.acknowledged_at,
        "ended_at": entry.ended_at, "rule": rule, "why": why,
    });
    app.print(&value, || {
        let closed = match entry.closed_at {
            Some(at) => format!("closed {at}"),
            None => "open".to_owned(),
        };
        format!(
            "{}: {why}\nrule: {rule}\ncase {}: {closed}",
            entry.reference, entry.case
        )
    })
}

async fn retarget(app: &App, from: String, to: String, id: Option<String>) -> anyhow::Result<()> {
    let targets = &app.loaded.config.journal_targets;
    if to != domain::form::EMBEDDED && !targets.contains_key(&to) {
        return Err(Exit::usage(anyhow::anyhow!("there is no journal target {to}")).into());
    }
    let submission = match id {
        Some(id) => Some(submission(app, &id).await?),
        None => None,
    };
    let names = (from.clone(), to.clone());
    let moved = app
        .ledger
        .retarget(submission, names, actor(), app.clock.now())
        .await
        .map_err(unavailable)?;
    app.print(&json!({"from": from, "to": to, "moved": moved}), || {
        format!("{moved} copies go from {from} to {to} now")
    })
}
