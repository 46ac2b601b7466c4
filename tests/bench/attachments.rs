//! Attachments: submissions with three files of 1 to 4 MB each, as Remote Post sends them.

use std::time::Instant;

use serde::Serialize;

use crate::ceilings::{self, Ceilings, Shape};
use crate::load;
use crate::process::peak_bytes;
use crate::rig::{Plan, Rig, until_deleted};

/// The most memory that intake may have resident, in bytes.
pub(crate) const BAR_INTAKE_BYTES: u64 = 256 * 1024 * 1024;
/// The part of the composite limit that they reach.
pub(crate) const BAR_OF_LIMIT: f64 = 0.4;
/// How many large messages wait for their confirms at a time.
const IN_FLIGHT: u64 = 4;

/// How large submissions went through.
#[derive(Debug, Serialize)]
pub(crate) struct Attachments {
    pub(crate) submissions: u64,
    pub(crate) message_bytes: u64,
    pub(crate) seconds: f64,
    /// Of message bodies, until deleted.
    pub(crate) megabytes_per_second: f64,
    /// Milliseconds of CPU a megabyte, by process.
    pub(crate) cpu_ms_per_megabyte: Vec<(&'static str, f64)>,
    pub(crate) intake_peak_bytes: u64,
    /// What cannot be left out of such a submission, measured before.
    pub(crate) limit: Ceilings,
}

impl Attachments {
    /// The part of the composite limit that was reached.
    #[expect(clippy::cast_precision_loss, reason = "a number of submissions")]
    pub(crate) fn of_limit(&self) -> f64 {
        self.submissions as f64 / self.seconds / self.limit.composite
    }
}

/// Drains so many large submissions.
#[expect(clippy::cast_precision_loss, reason = "bytes of a run are far below 2^53")]
pub(crate) async fn run(submissions: u64) -> anyhow::Result<Attachments> {
    let limit = ceilings::run(&Shape::large()).await?;
    let rig = Rig::prepare(Plan::SQLITE).await?;
    let mut message_bytes = 0;
    // A few at a time: what waits in the bench's own memory is not Kvit's.
    for first in (0..submissions).step_by(usize::try_from(IN_FLIGHT)?) {
        let some: Vec<_> = (first..submissions.min(first + IN_FLIGHT)).map(load::large).collect();
        message_bytes += some.iter().map(|message| message.body.len() as u64).sum::<u64>();
        rig.publish(some.into_iter()).await?;
    }
    let start = Instant::now();
    let mut services = rig.start().await?;
    let before = rig.costs(&services)?;
    until_deleted(&rig, &mut services, submissions).await?;
    let seconds = start.elapsed().as_secs_f64();
    let spent = rig.costs(&services)?.since(&before);
    let megabytes = message_bytes as f64 / 1e6;
    let intake = services.0.iter().find(|(name, _)| *name == "kvit-intake");
    Ok(Attachments {
        submissions,
        message_bytes,
        seconds,
        megabytes_per_second: megabytes / seconds,
        cpu_ms_per_megabyte: spent
            .into_iter()
            .map(|(name, seconds)| (name, seconds * 1e3 / megabytes))
            .collect(),
        intake_peak_bytes: intake.map_or(Ok(0), |(_, program)| peak_bytes(program.pid()))?,
        limit,
    })
}
