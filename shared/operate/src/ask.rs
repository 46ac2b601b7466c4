//! Asks something of the service that has the keys, and waits for its answer.

use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use worker::HEARD;

use crate::{Because, Desk, away, unavailable};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(10);

/// Asks, and answers the answer.
///
/// # Errors
///
/// Where no such service runs, or none answered (69).
pub async fn ask(desk: &Desk, service: &str, kind: &'static str, args: &impl Serialize) -> anyhow::Result<Value> {
    let now = desk.clock.now();
    let workers = desk.ledger.workers(now - HEARD).await.map_err(unavailable)?;
    if !workers.iter().any(|worker| worker.service == service) {
        let words =
            format!("no {service} service runs, and only it has the key for this: start kvit-{service} or kvit up");
        return Err(away(Because::NoService, &[("service", service)], words));
    }
    let args = serde_json::to_string(args)?;
    let id = desk.ledger.ask(kind, args, now).await.map_err(unavailable)?;
    let asked = Instant::now();
    while asked.elapsed() < PATIENCE {
        if let Some(answer) = desk.ledger.answered(id).await.map_err(unavailable)? {
            return serde_json::from_str(&answer).context("reading the service's answer");
        }
        sleep(LOOK).await;
    }
    let words = format!("the {service} service did not answer within a minute: see its log");
    Err(away(Because::NoAnswer, &[("service", service)], words))
}
