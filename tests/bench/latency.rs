//! Latency: from a publish to the moment when the relay has accepted both mails, at a steady rate.

use std::time::Duration;

use anyhow::ensure;
use kvit_tests::Message;
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

use crate::load;
use crate::rig::{Plan, Rig, until_deleted};

/// Submissions a second.
const RATE: u64 = 50;
/// What a citizen waits at most, 99 times of 100.
pub(crate) const BAR_P99_MS: i64 = 250;

/// How long submissions took, in milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) per_second: u64,
    pub(crate) submissions: u64,
    pub(crate) p50_ms: i64,
    pub(crate) p99_ms: i64,
    pub(crate) p999_ms: i64,
    pub(crate) most_ms: i64,
}

/// Publishes at the rate for so many seconds. The ledger says when the relay's last answer came.
pub(crate) async fn run(seconds: u64) -> anyhow::Result<Latency> {
    let rig = Rig::prepare(Plan::SQLITE).await?;
    let mut services = rig.start().await?;
    // Everything has been used once: certificates are warm, connections open.
    let warm = 20;
    rig.publish((0..warm).map(|number| numbered(1_000_000 + number)))
        .await?;
    until_deleted(&rig, &mut services, warm).await?;

    let count = RATE * seconds;
    let mut published = Vec::new();
    let mut ticks = interval(Duration::from_secs(1) / u32::try_from(RATE)?);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 0..count {
        ticks.tick().await;
        published.push(rig.bed.clock().now().as_millisecond());
        rig.bed.publish(&numbered(number)).await?;
    }
    until_deleted(&rig, &mut services, warm + count).await?;
    let mut took = Vec::new();
    for (number, accepted) in rig.accepted_at().await? {
        if let Some(begun) = usize::try_from(number).ok().and_then(|number| published.get(number)) {
            took.push(accepted - begun);
        }
    }
    ensure!(
        took.len() == published.len(),
        "{} of {} submissions were seen",
        took.len(),
        published.len()
    );
    took.sort_unstable();
    let at = |permille: usize| took[(took.len() * permille / 1000).min(took.len() - 1)];
    Ok(Latency {
        per_second: RATE,
        submissions: count,
        p50_ms: at(500),
        p99_ms: at(990),
        p999_ms: at(999),
        most_ms: at(1000),
    })
}

/// A report that the ledger knows by its number.
fn numbered(number: u64) -> Message {
    load::small(number).with("x-kvit-sequence", number.to_string())
}
