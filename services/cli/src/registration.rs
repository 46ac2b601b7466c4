//! `kvit registration`: the extract's confirmation, an export at any time, and a withdrawal by an operator.

use runtime::{ConfigArgs, exit};
use serde_json::json;

use crate::app::App;
use crate::args::RegistrationCommand;

pub(crate) async fn run(config: &ConfigArgs, command: RegistrationCommand, json: bool) -> anyhow::Result<u8> {
    let app = App::open(config, json)?;
    match command {
        RegistrationCommand::Export { event, to } => {
            let answer = app
                .perform("registration.export", json!({"event": event, "to": to}))
                .await?;
            app.print(&answer, || {
                format!(
                    "{} registrations and {} addresses of deleted ones are on their way to {to}, encrypted, in {} mails",
                    answer["registrations"], answer["addresses"], answer["mails"]
                )
            })?;
        }
        RegistrationCommand::Confirm { event, code } => {
            let answer = app
                .perform("registration.confirm", json!({"event": event, "code": code}))
                .await?;
            app.print(&answer, || {
                if answer["news"] == true {
                    let covers = &answer["covers"];
                    format!(
                        "confirmed: the list of {covers} registrations; they are deleted once the deadline has passed"
                    )
                } else {
                    "confirmed before".to_owned()
                }
            })?;
        }
        RegistrationCommand::Withdraw { id } => withdraw(&app, &id).await?,
    }
    Ok(exit::OK)
}

async fn withdraw(app: &App, id: &str) -> anyhow::Result<()> {
    let answer = app.perform("registration.withdraw", json!({"id": id})).await?;
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
