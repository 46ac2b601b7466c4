//! Fail points as a build for tests has them.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What each point does in this process.
const POINTS: &str = "KVIT_FAILPOINTS";
/// The deliberate fault of this process.
const MUTANT: &str = "KVIT_MUTANT";
/// What a poisoned message holds, before what it does to its reader.
const POISON: &[u8] = b"kvit-poison:";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Kill,
    Panic,
    Hang,
    Delay(Duration),
}

/// An action at the n-th time.
#[derive(Debug)]
struct Plan {
    action: Action,
    at: u64,
    reached: AtomicU64,
}

impl Plan {
    /// What happens this time.
    fn now(&self) -> Option<Action> {
        let reached = self.reached.fetch_add(1, Ordering::Relaxed) + 1;
        let again = matches!(self.action, Action::Delay(_)) && reached > self.at;
        (reached == self.at || again).then_some(self.action)
    }
}

/// A moment between two effects, by its name.
pub async fn reached(point: &'static str) {
    static PLANS: OnceLock<HashMap<String, Plan>> = OnceLock::new();
    let plans = PLANS.get_or_init(|| {
        let said = std::env::var(POINTS).unwrap_or_default();
        // A test that asks for something else than it believes must not pass.
        plans(&said).unwrap_or_else(|fault| panic!("{POINTS}: {fault}"))
    });
    if let Some(action) = plans.get(point).and_then(Plan::now) {
        act(action, point).await;
    }
}

/// Whether this process is to have this fault.
#[must_use]
pub fn mutant(name: &'static str) -> bool {
    static NAME: OnceLock<Option<String>> = OnceLock::new();
    let wanted = NAME.get_or_init(|| std::env::var(MUTANT).ok());
    wanted.as_deref() == Some(name)
}

/// Does to this thread what a poisoned message says that it does to its reader: `kvit-poison:` and an action, anywhere in
/// what the reader has of it.
pub fn poisoned(content: impl FnOnce() -> Vec<u8>) {
    let content = content();
    let Some(at) = content.windows(POISON.len()).position(|window| window == POISON) else {
        return;
    };
    let rest = &content[at + POISON.len()..];
    let word: Vec<u8> = rest.iter().copied().take_while(u8::is_ascii_lowercase).collect();
    match action(&String::from_utf8_lossy(&word)) {
        Some(Action::Kill) => end(),
        Some(Action::Panic) => panic!("a poisoned message: as the test wants"),
        Some(Action::Hang) => loop {
            std::thread::park();
        },
        Some(Action::Delay(_)) | None => {}
    }
}

/// Ends the process as a power cut does.
fn end() {
    kill(Pid::this(), Signal::SIGKILL).expect("a process may kill itself");
    std::thread::park();
}

async fn act(action: Action, place: &str) {
    match action {
        Action::Kill => end(),
        Action::Panic => panic!("{place}: as the test wants"),
        Action::Hang => std::future::pending().await,
        Action::Delay(pause) => tokio::time::sleep(pause).await,
    }
}

fn plans(said: &str) -> Result<HashMap<String, Plan>, String> {
    let parts = said.split(';').map(str::trim).filter(|part| !part.is_empty());
    parts.map(plan).collect()
}

fn plan(part: &str) -> Result<(String, Plan), String> {
    let fault = || format!("{part:?} is not POINT=ACTION or POINT=ACTION@N");
    let (point, what) = part.split_once('=').ok_or_else(fault)?;
    let (word, at) = what.split_once('@').unwrap_or((what, "1"));
    let plan = Plan {
        action: action(word).ok_or_else(fault)?,
        at: at.parse().ok().filter(|at| *at > 0).ok_or_else(fault)?,
        reached: AtomicU64::new(0),
    };
    Ok((point.to_owned(), plan))
}

fn action(word: &str) -> Option<Action> {
    match word {
        "kill" => Some(Action::Kill),
        "panic" => Some(Action::Panic),
        "hang" => Some(Action::Hang),
        _ => {
            let milliseconds = word.strip_prefix("delay:")?.parse().ok()?;
            Some(Action::Delay(Duration::from_millis(milliseconds)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_happens_at_its_time_and_a_delay_from_then_on() {
        let plans = plans("a.b=kill@2; c.d=delay:5@2;e=panic").expect("three plans");
        let killed: Vec<_> = (0..4).map(|_| plans["a.b"].now()).collect();
        assert_eq!(killed, [None, Some(Action::Kill), None, None]);
        let delay = Some(Action::Delay(Duration::from_millis(5)));
        let delayed: Vec<_> = (0..3).map(|_| plans["c.d"].now()).collect();
        assert_eq!(delayed, [None, delay, delay]);
        assert_eq!(plans["e"].now(), Some(Action::Panic));
    }

    #[test]
    fn what_is_no_plan_is_refused() {
        for said in ["a", "a=kill@0", "a=kill@x", "a=die", "a=delay:soon"] {
            assert!(plans(said).is_err(), "{said} was taken");
        }
        assert!(plans("").expect("no plans").is_empty());
    }
}
