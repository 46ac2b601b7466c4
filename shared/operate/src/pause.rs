//! Pauses: what rests waits in its place, is not tried, and is not given up.

use broker::{JOURNAL_DUTIES, MAIL_DUTIES, submissions_queue};
use domain::Pausable;
use jiff::Timestamp;
use ledger::Pause;
use serde_json::{Value, json};

use crate::args::{Pausing, Resuming};
use crate::times::moment;
use crate::{Actor, Because, Call, Desk, data, unavailable, usage};

pub(crate) async fn pause(call: Call<'_>, args: Pausing) -> anyhow::Result<Pause> {
    if args.why.trim().is_empty() {
        return Err(usage(Because::SayWhy, &[], "--why is empty: say why, for the record"));
    }
    let known = names(call.desk, args.what);
    if !known.contains(&args.name) {
        let known = known.join(", ");
        let message = format!("no {} {} is configured; there are: {known}", args.what, args.name);
        return Err(data(Because::NotPausable, &[("name", args.name.as_str())], message));
    }
    concerns(call, args.what, &args.name)?;
    let now = call.now();
    let pause = Pause {
        until: until(call.desk, args.until.as_deref(), now)?,
        what: args.what,
        name: args.name,
        why: args.why,
        actor: Some(call.actor.id.clone()),
        since: now,
    };
    // The ledger's own leaf names the actor.
    call.desk.ledger.pause(pause.clone()).await.map_err(unavailable)?;
    Ok(pause)
}

pub(crate) async fn resume(call: Call<'_>, args: Resuming) -> anyhow::Result<Value> {
    let Resuming { what, name, why } = args;
    concerns(call, what, &name)?;
    let by = (Some(call.actor.id.clone()), why);
    let resumed = call.desk.ledger.resume(what, name.clone(), by, call.now()).await;
    if !resumed.map_err(unavailable)? {
        let words = format!("{what} {name} is not paused: see kvit status");
        return Err(data(Because::NotPaused, &[("name", name.as_str())], words));
    }
    Ok(json!({"what": what, "name": name, "resumed": true}))
}

/// What a person sees of pauses: those of the person's departments and their forms, and of the person's own; and that a
/// queue rests, without the words of whoever lets it.
#[must_use]
pub fn seen(desk: &Desk, actor: &Actor, pauses: Vec<Pause>) -> Vec<Pause> {
    let seen = |mut pause: Pause| {
        let theirs = match pause.what {
            Pausable::Queue => actor.departments.is_empty(),
            Pausable::Department => pause.name.parse().is_ok_and(|department| actor.concerns(&department)),
            Pausable::Form => {
                let mut forms = desk.loaded.forms.iter();
                actor.departments.is_empty()
                    || forms.any(|form| form.id.as_str() == pause.name && actor.concerns(&form.department))
            }
        };
        if theirs || pause.actor.as_ref() == Some(&actor.id) {
            return Some(pause);
        }
        pause.why.clear();
        (pause.what == Pausable::Queue).then_some(pause)
    };
    pauses.into_iter().filter_map(seen).collect()
}

fn concerns(call: Call<'_>, what: Pausable, name: &str) -> anyhow::Result<()> {
    match what {
        Pausable::Queue => call.concerns_all("a queue"),
        Pausable::Department => {
            let Ok(department) = name.parse() else {
                let words = format!("no department {name} is configured");
                return Err(data(Because::NoDepartment, &[("name", name)], words));
            };
            call.concerns(&department)
        }
        Pausable::Form => {
            let forms = call.desk.loaded.forms.iter();
            let mut departments = forms
                .filter(|form| form.id.as_str() == name)
                .map(|form| &form.department);
            departments.try_for_each(|department| call.concerns(department))
        }
    }
}

/// What there is to pause.
#[must_use]
pub(crate) fn names(desk: &Desk, what: Pausable) -> Vec<String> {
    let config = &desk.loaded.config;
    let mut names: Vec<String> = match what {
        Pausable::Queue => {
            let duties = [MAIL_DUTIES, JOURNAL_DUTIES].map(str::to_owned);
            config.sites.keys().map(submissions_queue).chain(duties).collect()
        }
        Pausable::Department => config.departments.keys().map(ToString::to_string).collect(),
        Pausable::Form => desk.loaded.forms.iter().map(|form| form.id.to_string()).collect(),
    };
    names.sort_unstable();
    names.dedup();
    names
}

fn until(desk: &Desk, until: Option<&str>, now: Timestamp) -> anyhow::Result<Option<Timestamp>> {
    let Some(text) = until else { return Ok(None) };
    let until = moment(text, &desk.loaded.config.controller.time_zone)?;
    if until <= now {
        return Err(usage(Because::TimePast, &[], format!("--until {until} has passed")));
    }
    Ok(Some(until))
}
