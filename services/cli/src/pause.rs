//! `kvit pause` and `kvit resume`: what rests waits in its place, is not tried, and is not given up.

use runtime::{ConfigArgs, exit};
use serde_json::json;

use crate::app::App;
use crate::args::{PauseArgs, ResumeArgs};

pub(crate) async fn pause(config: &ConfigArgs, args: PauseArgs, json: bool) -> anyhow::Result<u8> {
    let app = App::open(config, json)?;
    let PauseArgs { what, name, why, until } = args;
    let given = json!({"what": what, "name": name, "why": why, "until": until});
    let pause = app.perform("pause", given).await?;
    app.print(&pause, || {
        let until = pause["until"]
            .as_str()
            .map(|until| format!(" until {until}"))
            .unwrap_or_default();
        format!("{what} {name} is paused{until}: {why}")
    })?;
    Ok(exit::OK)
}

pub(crate) async fn resume(config: &ConfigArgs, args: ResumeArgs, json: bool) -> anyhow::Result<u8> {
    let app = App::open(config, json)?;
    let ResumeArgs { what, name, why } = args;
    let resumed = app
        .perform("resume", json!({"what": what, "name": name, "why": why}))
        .await?;
    app.print(&resumed, || format!("{what} {name} goes on"))?;
    Ok(exit::OK)
}
