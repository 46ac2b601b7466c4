//! Waiting for a condition.

use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, interval};

/// How long anything may take that is not measured: long enough for two busy cores.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until `look` gives something, and gives that.
///
/// # Errors
///
/// Where it gave nothing within [`DEADLINE`], or failed.
pub async fn until<T>(what: &str, look: impl AsyncFnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    within(DEADLINE, what, look).await
}

/// As [`until`], with a deadline of one's own.
///
/// # Errors
///
/// As [`until`].
pub async fn within<T>(
    deadline: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let started = Instant::now();
    let mut ticks = interval(LOOK);
    loop {
        ticks.tick().await;
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if started.elapsed() > deadline {
            bail!("not within {} seconds: {what}", deadline.as_secs_f32());
        }
    }
}
