//! The extract's confirmation, an export at any time, and a withdrawal by an operator.

use domain::{DepartmentId, SubmissionId};
use ledger::requests::{EXPORT, Export, WITHDRAW, Withdraw};
use runtime::Exit;
use serde::Serialize;
use serde_json::{Value, json};
use vault::Code;

use crate::args::{Coded, Exporting, Id};
use crate::event::{concerns, find, name};
use crate::{Because, Call, ask, data, look, unavailable};

/// Asks the scheduler, which has the registrations' key, and refuses what it refuses (65).
async fn asked(call: Call<'_>, kind: &'static str, args: &impl Serialize) -> anyhow::Result<Value> {
    let answer = ask(call.desk, "scheduler", kind, args).await?;
    match answer["error"].as_str() {
        Some(error) => {
            let words = format!("the scheduler refused: {error}");
            Err(data(Because::SchedulerRefused, &[("why", error)], words))
        }
        None => Ok(answer),
    }
}

pub(crate) async fn export(call: Call<'_>, args: Exporting) -> anyhow::Result<Value> {
    let Exporting { event, to } = args;
    is_configured(call, &to)?;
    call.concerns(&to)?;
    let row = find(call.desk, &event).await?;
    concerns(call, &row)?;
    call.record(format!("{} to {to}", name(&row))).await?;
    let export = Export {
        event: row.id,
        to: to.clone(),
    };
    let answer = asked(call, EXPORT, &export).await?;
    match answer["reason"].as_str() {
        Some(reason) => {
            let words = format!("{to} cannot be written to ({reason}): see kvit key list");
            let about = [("department", to.as_str()), ("reason", reason)];
            Err(data(Because::NotWritable, &about, words))
        }
        None => Ok(answer),
    }
}

/// Refuses a department that is not in the configuration (65).
pub(crate) fn is_configured(call: Call<'_>, department: &DepartmentId) -> anyhow::Result<()> {
    let known = &call.desk.loaded.config.departments;
    if known.contains_key(department) {
        return Ok(());
    }
    let known: Vec<_> = known.keys().map(ToString::to_string).collect();
    let known = known.join(", ");
    let words = format!("no department {department} is configured: there are {known}");
    Err(data(Because::NoDepartment, &[("name", department.as_str())], words))
}

pub(crate) async fn confirm(call: Call<'_>, args: Coded) -> anyhow::Result<Value> {
    let ledger = &call.desk.ledger;
    let row = find(call.desk, &args.event).await?;
    concerns(call, &row)?;
    let code = Code::read(&args.code).map_err(Exit::usage)?;
    let extracts = ledger.extracts(Some(row.id.clone())).await.map_err(unavailable)?;
    let found = extracts
        .into_iter()
        .find(|extract| extract.code.as_ref() == Some(&code.digest(&extract.id)));
    let Some(extract) = found else {
        let words = format!("that is not the code of a list of {}", row.id);
        return Err(data(Because::WrongCode, &[("event", row.id.as_str())], words));
    };
    call.record(name(&row)).await?;
    let confirmed = ledger.confirm_extract(extract.id.clone(), "code", call.now()).await;
    Ok(json!({
        "event": row.id,
        "extract": extract.id,
        "covers": extract.covers,
        "news": confirmed.map_err(unavailable)?.is_some(),
    }))
}

pub(crate) async fn withdraw(call: Call<'_>, args: Id) -> anyhow::Result<Value> {
    let Some(shown) = look::find(call.desk, &args.id).await? else {
        let words = format!("no registration {}", args.id);
        return Err(data(Because::NoRegistration, &[("id", args.id.as_str())], words));
    };
    look::concerns(call, &shown)?;
    let id: SubmissionId = shown.id.parse()?;
    call.record(shown.id).await?;
    asked(call, WITHDRAW, &Withdraw { id }).await
}
