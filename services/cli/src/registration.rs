//! `kvit registration`: the extract's confirmation, an export at any time, and a withdrawal by an operator.

use anyhow::Context as _;
use domain::{DepartmentId, SubmissionId};
use kvit_scheduler::requests::{EXPORT, Export, WITHDRAW, Withdraw};
use runtime::{ConfigArgs, Exit, exit};
use serde_json::{Value, json};
use vault::Code;

use crate::app::{App, unavailable};
use crate::args::RegistrationCommand;
use crate::event::find;
use crate::request::ask;

pub(crate) async fn run(config: &ConfigArgs, command: RegistrationCommand, json: bool) -> anyhow::Result<u8> {
    let app = App::open(config, json)?;
    match command {
        RegistrationCommand::Export { event, to } => export(&app, &event, to).await?,
        RegistrationCommand::Confirm { event, code } => confirm(&app, &event, &code).await?,
        RegistrationCommand::Withdraw { id } => withdraw(&app, &id).await?,
    }
    Ok(exit::OK)
}

/// Asks the scheduler, which has the registrations' key, and refuses what it refuses (65).
async fn asked(app: &App, kind: &'static str, args: &impl serde::Serialize) -> anyhow::Result<Value> {
    let answer = ask(app, "scheduler", kind, args).await?;
    match answer["error"].as_str() {
        Some(error) => Err(Exit::data(anyhow::anyhow!("the scheduler refused: {error}")).into()),
        None => Ok(answer),
    }
}

async fn export(app: &App, event: &str, to: DepartmentId) -> anyhow::Result<()> {
    if !app.loaded.config.departments.contains_key(&to) {
        return Err(Exit::data(anyhow::anyhow!("no department {to} is configured")).into());
    }
    let event = find(app, event).await?.id;
    let answer = asked(app, EXPORT, &Export { event, to: to.clone() }).await?;
    if let Some(reason) = answer["reason"].as_str() {
        let message = format!("{to} cannot be written to ({reason}): see kvit key list");
        return Err(Exit::data(anyhow::anyhow!(message)).into());
    }
    app.print(&answer, || {
        format!(
            "{} registrations and {} addresses of deleted ones are on their way to {to}, encrypted, in {} mails",
            answer["registrations"], answer["addresses"], answer["mails"]
        )
    })
}

async fn confirm(app: &App, event: &str, code: &str) -> anyhow::Result<()> {
    let row = find(app, event).await?;
    let code = Code::read(code).map_err(Exit::usage)?;
    let extracts = app.ledger.extracts(Some(row.id.clone())).await.map_err(unavailable)?;
    let found = extracts
        .into_iter()
        .find(|extract| extract.code.as_ref() == Some(&code.digest(&extract.id)));
    let extract = found.with_context(|| format!("that is not the code of a list of {}", row.id));
    let extract = extract.map_err(Exit::data)?;
    let confirmed = app
        .ledger
        .confirm_extract(extract.id.clone(), "code", app.clock.now())
        .await
        .map_err(unavailable)?;
    let value = json!({
        "event": row.id,
        "extract": extract.id,
        "covers": extract.covers,
        "news": confirmed.is_some(),
    });
    app.print(&value, || match confirmed {
        Some(_) => format!(
            "confirmed: the list of {} registrations; they are deleted once the deadline has passed",
            extract.covers
        ),
        None => "confirmed before".to_owned(),
    })
}

async fn withdraw(app: &App, id: &str) -> anyhow::Result<()> {
    let shown = crate::submission::show(app, id).await?;
    let shown = shown
        .with_context(|| format!("no registration {id}"))
        .map_err(Exit::data)?;
    let id: SubmissionId = shown.id.parse()?;
    let answer = asked(app, WITHDRAW, &Withdraw { id }).await?;
    app.print(&answer, || {
        let told = if answer["department_told"] == true {
            "; its department, which has it, is told"
        } else {
            ""
        };
        if answer["withdrawn"] == true {
            format!("withdrawn: {}{told}", answer["reference"].as_str().unwrap_or_default())
        } else {
            "withdrawn before".to_owned()
        }
    })
}
