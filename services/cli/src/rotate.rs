//! `kvit key rotate`: has each data key wrapped by the wrapping key that stands first in its file now.
//!
//! A new key is put before the old one in the file; services read it within seconds. This command has what the old one
//! wrapped wrapped anew by the service that opens it, and says whether the old one may go: not before every running
//! service that wraps with that purpose's key has read the new one. It reads no key itself.

use std::time::Duration;

use ledger::WorkerRow;
use runtime::{Exit, exit};
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, sleep};
use worker::{HEARD, rotate};

use crate::app::{App, unavailable};
use crate::args::RotatedKey;
use crate::request::ask;
use crate::table::table;

/// How long services are waited for that still wrap with an earlier key: they look at their files every two seconds.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often they are looked at.
const LOOK: Duration = Duration::from_millis(250);

const ALL: [RotatedKey; 5] = [
    RotatedKey::Intake,
    RotatedKey::Mail,
    RotatedKey::Journal,
    RotatedKey::Registration,
    RotatedKey::Index,
];

impl RotatedKey {
    fn word(self) -> &'static str {
        match self {
            Self::Intake => "intake",
            Self::Mail => "mail",
            Self::Journal => "journal",
            Self::Registration => "registration",
            Self::Index => "index",
        }
    }

    /// Which service is asked, and what.
    fn request(self) -> (&'static str, &'static str) {
        match self {
            Self::Intake => ("intake", rotate::INTAKE),
            Self::Mail => ("mailer", rotate::MAIL),
            Self::Journal => ("intake", rotate::JOURNAL),
            Self::Registration => ("scheduler", rotate::REGISTRATION),
            Self::Index => ("intake", rotate::INDEX),
        }
    }
}

/// What became of one purpose.
#[derive(Debug, Serialize)]
struct Rotated {
    purpose: &'static str,
    /// The current key's id; none for the index.
    key: Option<String>,
    rewrapped: u64,
    /// How many data keys no key opens.
    unreadable: u64,
    /// Services that still wrap with another key.
    behind: Vec<String>,
}

impl Rotated {
    fn is_done(&self) -> bool {
        self.unreadable == 0 && self.behind.is_empty()
    }
}

pub(crate) async fn run(app: &App, purposes: &[RotatedKey]) -> anyhow::Result<u8> {
    let purposes = if purposes.is_empty() { &ALL } else { purposes };
    let mut all = Vec::new();
    let named: Vec<_> = purposes.iter().map(|purpose| purpose.word()).collect();
    app.record("key.rotate", named.join(", ")).await?;
    for purpose in purposes {
        all.push(rotated(app, *purpose).await?);
    }
    let done = all.iter().all(Rotated::is_done);
    app.print(&json!({"done": done, "keys": all}), || words(&all, done))?;
    Ok(if done { exit::OK } else { exit::UNAVAILABLE })
}

async fn rotated(app: &App, purpose: RotatedKey) -> anyhow::Result<Rotated> {
    let mut done = rewrap(app, purpose).await?;
    let waiting = Instant::now();
    while let Some(key) = &done.key {
        done.behind = behind(app, purpose.word(), key).await?;
        if done.behind.is_empty() {
            // What they wrapped until they read the new key.
            done.rewrapped += rewrap(app, purpose).await?.rewrapped;
            break;
        }
        if waiting.elapsed() > PATIENCE {
            break;
        }
        sleep(LOOK).await;
    }
    Ok(done)
}

async fn rewrap(app: &App, purpose: RotatedKey) -> anyhow::Result<Rotated> {
    let (service, kind) = purpose.request();
    let mut rewrapped = 0;
    loop {
        let answer = ask(app, service, kind, &json!({})).await?;
        if let Some(error) = answer["error"].as_str() {
            let message = format!("{service} could not wrap the {} keys anew: {error}", purpose.word());
            return Err(Exit::unavailable(anyhow::anyhow!(message)).into());
        }
        rewrapped += answer["rewrapped"].as_u64().unwrap_or(0);
        if answer["left"].as_u64().unwrap_or(0) == 0 {
            return Ok(Rotated {
                purpose: purpose.word(),
                key: answer["key"].as_str().map(str::to_owned),
                rewrapped,
                unreadable: answer["unreadable"].as_u64().unwrap_or(0),
                behind: Vec::new(),
            });
        }
    }
}

/// Running services that were given this purpose's key, and wrap with another one.
async fn behind(app: &App, purpose: &str, key: &str) -> anyhow::Result<Vec<String>> {
    let workers = app.ledger.workers(app.clock.now() - HEARD).await.map_err(unavailable)?;
    let other = |worker: &WorkerRow| {
        let keys = worker.keys.as_deref().unwrap_or_default();
        let own = keys
            .split(' ')
            .find_map(|one| one.strip_prefix(purpose)?.strip_prefix('='));
        own.is_some_and(|own| own != key)
    };
    Ok(workers.into_iter().filter(other).map(|worker| worker.service).collect())
}

fn words(all: &[Rotated], done: bool) -> String {
    let rows: Vec<_> = all
        .iter()
        .map(|one| {
            let state = match one {
                Rotated { unreadable: 1.., .. } => "some are wrapped by a key that is not in the file: put it back",
                Rotated { behind, .. } if !behind.is_empty() => "a service still wraps with an earlier key",
                _ => "all are wrapped by the first key",
            };
            [
                one.purpose.to_owned(),
                one.rewrapped.to_string(),
                one.unreadable.to_string(),
                one.behind.join(", "),
                state.to_owned(),
            ]
        })
        .collect();
    let table = table(["key", "wrapped anew", "unreadable", "behind", "state"], &rows, "");
    let next = if done {
        "the lines after the first may go from these keys' files"
    } else {
        "leave every line in the keys' files; give each service the same files, and run this again"
    };
    format!("{table}\n\n{next}")
}
