//! `kvit act`: who did what, as the evidence has it.

use runtime::{ConfigArgs, exit};
use serde_json::{Value, json};

use crate::app::App;
use crate::args::ActCommand;
use crate::table::{cell, table};

pub(crate) async fn run(config: &ConfigArgs, command: ActCommand, json: bool) -> anyhow::Result<u8> {
    let app = App::open(config, json)?;
    let ActCommand::List { since, limit } = command;
    let acts = app.perform("act.list", json!({"since": since, "limit": limit})).await?;
    app.print(&acts, || words(&acts))?;
    Ok(exit::OK)
}

fn words(acts: &Value) -> String {
    let text = |act: &Value, key: &str| cell(act[key].as_str());
    let rows: Vec<_> = acts
        .as_array()
        .into_iter()
        .flatten()
        .map(|act| {
            [
                text(act, "at"),
                text(act, "event"),
                text(act, "rule"),
                text(act, "actor"),
                cell(act["index"].as_i64()),
            ]
        })
        .collect();
    table(["at", "did", "on", "who", "evidence"], &rows, "nobody did anything")
}
