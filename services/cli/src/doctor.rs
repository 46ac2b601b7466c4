//! `kvit doctor`: `kvit check`, and whether what the configuration names is there and works.
//!
//! Every probe says what it found and, where that is not well, what to do next. It reads every secret, sends no mail,
//! publishes and declares nothing, and leaves nothing behind in the stores.

mod broker;
mod clock;
mod disk;
mod evidence;
mod expiry;
mod relay;
mod rights;
mod stores;

use runtime::{Clock, ConfigArgs, Findings, Loaded, exit};
use serde::Serialize;
use serde_json::json;

use crate::app::print;
use crate::check::{Examined, examine, examine_secrets};
use crate::table::table;

/// How a probe went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// As it should be.
    Ok,
    /// It works, and deserves a look.
    Warn,
    /// It does not work.
    Fail,
}

/// What a probe found.
#[derive(Debug, Serialize)]
struct Probe {
    check: String,
    state: State,
    /// What was found; never a secret.
    found: String,
    /// What to do next, where there is something to do.
    next: Option<String>,
}

impl Probe {
    fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            state: State::Ok,
            found: found.into(),
            next: None,
        }
    }

    fn warn(check: impl Into<String>, found: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            state: State::Warn,
            next: Some(next.into()),
            ..Self::ok(check, found)
        }
    }

    fn fail(check: impl Into<String>, found: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            state: State::Fail,
            ..Self::warn(check, found, next)
        }
    }
}

pub(crate) async fn run(config: &ConfigArgs, json: bool) -> anyhow::Result<u8> {
    let clock = Clock::system();
    let mut examined = examine(config, clock.now());
    examine_secrets(&mut examined, clock.now());
    let Examined { loaded, findings } = examined;
    let mut probes = configuration(loaded.as_ref(), &findings);
    if let Some(loaded) = &loaded {
        probes.extend(rights::probe(loaded));
        probes.extend(disk::probe(loaded));
        let (at_broker, at_relay, in_stores) = tokio::join!(
            broker::probe(loaded),
            relay::probe(loaded),
            stores::probe(loaded, &clock)
        );
        probes.extend(at_broker);
        probes.extend(at_relay);
        probes.extend(in_stores);
        probes.extend(clock::probe(loaded, &clock));
    }
    let ok = probes.iter().all(|probe| probe.state != State::Fail);
    print(json, &json!({"ok": ok, "checks": probes}), || words(&probes))?;
    Ok(if findings.has_errors() {
        exit::CONFIG
    } else if ok {
        exit::OK
    } else {
        exit::UNAVAILABLE
    })
}

fn configuration(loaded: Option<&Loaded>, findings: &Findings) -> Vec<Probe> {
    let mut probes: Vec<Probe> = findings
        .iter()
        .map(|finding| {
            if finding.is_error() {
                let next = "mend it; nothing starts before that";
                Probe::fail("configuration", finding.to_string(), next)
            } else {
                Probe::warn("configuration", finding.to_string(), "see whether it is meant so")
            }
        })
        .collect();
    if let Some(loaded) = loaded {
        let config = &loaded.config;
        let found = format!(
            "{}; sites: {}, departments: {}, forms: {}",
            loaded.path.display(),
            config.sites.len(),
            config.departments.len(),
            loaded.forms.len()
        );
        probes.insert(0, Probe::ok("configuration", found));
    }
    probes
}

fn words(probes: &[Probe]) -> String {
    let rows: Vec<_> = probes
        .iter()
        .map(|probe| {
            let state = match probe.state {
                State::Ok => "ok",
                State::Warn => "warn",
                State::Fail => "FAIL",
            };
            [state.to_owned(), probe.check.clone(), probe.found.clone()]
        })
        .collect();
    let text = table(["state", "check", "found"], &rows, "nothing was checked");
    let to_do: Vec<_> = to_do(probes)
        .into_iter()
        .map(|(next, checks)| format!("  {}: {next}\n", checks.join(", ")))
        .collect();
    if to_do.is_empty() {
        return text;
    }
    format!("{text}\n\nwhat to do next:\n{}", to_do.concat())
}

/// What there is to do, each once, with the checks that it would mend.
fn to_do(probes: &[Probe]) -> Vec<(&str, Vec<&str>)> {
    let mut all: Vec<(&str, Vec<&str>)> = Vec::new();
    for probe in probes {
        let Some(next) = probe.next.as_deref() else { continue };
        match all.iter_mut().find(|(known, _)| *known == next) {
            Some((_, checks)) => checks.push(&probe.check),
            None => all.push((next, vec![&probe.check])),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_is_said_once_with_everything_it_mends() {
        let probes = [
            Probe::warn("a", "away", "start it"),
            Probe::ok("b", "well"),
            Probe::fail("c", "away", "start it"),
        ];
        assert!(words(&probes).ends_with("what to do next:\n  a, c: start it\n"));
    }
}
