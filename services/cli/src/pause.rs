//! `kvit pause` and `kvit resume`: what rests waits in its place, is not tried, and is not given up.

use broker::{JOURNAL_DUTIES, MAIL_DUTIES, submissions_queue};
use domain::Pausable;
use jiff::Timestamp;
use ledger::Pause;
use runtime::{ConfigArgs, Exit, exit};
use serde_json::json;

use crate::app::{App, unavailable};
use crate::args::{PauseArgs, ResumeArgs};
use crate::event::moment;

pub(crate) async fn pause(config: &ConfigArgs, args: PauseArgs, json: bool) -> anyhow::Result<u8> {
    let app = App::open(config, json)?;
    if args.why.trim().is_empty() {
        return Err(Exit::usage(anyhow::anyhow!("--why is empty: say why, for the record")).into());
    }
    let known = names(&app, args.what);
    if !known.contains(&args.name) {
        let message = format!(
            "no {} {} is configured; there are: {}",
            args.what,
            args.name,
            known.join(", ")
        );
        return Err(Exit::data(anyhow::anyhow!(message)).into());
    }
    let now = app.clock.now();
    let pause = Pause {
        until: until(&app, args.until.as_deref(), now)?,
        what: args.what,
        name: args.name,
        why: args.why,
        actor: Some(actor()),
        since: now,
    };
    app.ledger.pause(pause.clone()).await.map_err(unavailable)?;
    app.print(&pause, || pause.words())?;
    Ok(exit::OK)
}

pub(crate) async fn resume(config: &ConfigArgs, args: ResumeArgs, json: bool) -> anyhow::Result<u8> {
    let app = App::open(config, json)?;
    let ResumeArgs { what, name, why } = args;
    let resumed = app
        .ledger
        .resume(what, name.clone(), (Some(actor()), why), app.clock.now())
        .await
        .map_err(unavailable)?;
    if !resumed {
        return Err(Exit::data(anyhow::anyhow!("{what} {name} is not paused: see kvit status")).into());
    }
    app.print(&json!({"what": what, "name": name, "resumed": true}), || {
        format!("{what} {name} goes on")
    })?;
    Ok(exit::OK)
}

/// What there is to pause.
fn names(app: &App, what: Pausable) -> Vec<String> {
    let config = &app.loaded.config;
    let mut names: Vec<String> = match what {
        Pausable::Queue => {
            let duties = [MAIL_DUTIES, JOURNAL_DUTIES].map(str::to_owned);
            config.sites.keys().map(submissions_queue).chain(duties).collect()
        }
        Pausable::Department => config.departments.keys().map(ToString::to_string).collect(),
        Pausable::Form => app.loaded.forms.iter().map(|form| form.id.to_string()).collect(),
    };
    names.sort_unstable();
    names.dedup();
    names
}

fn until(app: &App, until: Option<&str>, now: Timestamp) -> anyhow::Result<Option<Timestamp>> {
    let Some(text) = until else { return Ok(None) };
    let until = moment(text, &app.loaded.config.controller.time_zone)?;
    if until <= now {
        return Err(Exit::usage(anyhow::anyhow!("--until {until} has passed")).into());
    }
    Ok(Some(until))
}

/// Who runs this command, as the evidence may name a person: an id that means nothing elsewhere.
pub(crate) fn actor() -> String {
    format!("uid:{}", nix::unistd::getuid())
}
