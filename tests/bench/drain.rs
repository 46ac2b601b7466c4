//! The drain: submissions wait in the broker, the services start, and the clock runs until the last is deleted.

use std::time::Instant;

use serde::Serialize;

use crate::load;
use crate::process::peak_bytes;
use crate::rig::{Engine, Plan, Rig, until_deleted};

/// As many as GC Forms' load test drained in 75 minutes.
pub(crate) const SUBMISSIONS: u64 = 15_692;

/// How a drain went.
#[derive(Debug, Serialize)]
pub(crate) struct Drain {
    pub(crate) engine: Engine,
    pub(crate) replicas: usize,
    pub(crate) finished: u64,
    pub(crate) submissions: u64,
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    /// Microseconds of CPU a submission, by process.
    pub(crate) cpu_us: Vec<(&'static str, f64)>,
    /// The most memory that was resident, in bytes, by process.
    pub(crate) peak_bytes: Vec<(&'static str, u64)>,
}

impl Drain {
    /// Microseconds of CPU a submission, all processes together.
    pub(crate) fn cpu_us_in_all(&self) -> f64 {
        self.cpu_us.iter().map(|(_, us)| us).sum()
    }
}

/// Drains so many small submissions.
#[expect(clippy::cast_precision_loss, reason = "a number of submissions is far below 2^53")]
pub(crate) async fn run(plan: Plan, submissions: u64) -> anyhow::Result<Drain> {
    let rig = Rig::prepare(plan).await?;
    rig.publish((0..submissions).map(load::small)).await?;
    let start = Instant::now();
    let mut services = rig.start().await?;
    let before = rig.costs(&services)?;
    until_deleted(&rig, &mut services, submissions).await?;
    let seconds = start.elapsed().as_secs_f64();
    let spent = rig.costs(&services)?.since(&before);
    let mut peaks = Vec::new();
    for (name, program) in &services.0 {
        peaks.push((*name, peak_bytes(program.pid())?));
    }
    for (_, program) in services.0 {
        program.terminate().await?;
    }
    Ok(Drain {
        engine: plan.engine,
        replicas: plan.replicas,
        finished: plan.finished,
        submissions,
        seconds,
        per_second: submissions as f64 / seconds,
        cpu_us: spent
            .into_iter()
            .map(|(name, seconds)| (name, seconds * 1e6 / submissions as f64))
            .collect(),
        peak_bytes: peaks,
    })
}
