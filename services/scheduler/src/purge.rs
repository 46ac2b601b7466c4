//! Schedule `purge`: deletes what time lets go. Disposal decides; this only asks it about those that wait for a time, and
//! ends what an event's end ends.

use domain::SubmissionId;
use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use crate::Scheduler;

/// How many are asked about in one transaction.
const BATCH: u32 = 500;
/// How long after its time a registration may still be there: a run or two.
const GRACE: SignedDuration = SignedDuration::from_mins(15);

pub(crate) async fn run(scheduler: &Scheduler, shutdown: &CancellationToken) -> anyhow::Result<String> {
    let mut gone = 0;
    let mut after: Option<SubmissionId> = None;
    loop {
        let now = scheduler.clock.now();
        let batch = scheduler.ledger.past_their_time(after, now, BATCH).await?;
        after = batch.last().copied();
        if batch.is_empty() || shutdown.is_cancelled() {
            break;
        }
        let begun = scheduler.ledger.begin_deletion(batch, now).await?;
        failpoint::reached("scheduler.purge_begun").await;
        gone += begun.len();
        scheduler.finish(begun).await?;
    }
    let registrations = end_registrations(scheduler, shutdown).await?;
    warn_of_the_rest(scheduler).await?;
    let submissions = match gone {
        0 => "nothing was past its time".to_owned(),
        1 => "1 submission deleted".to_owned(),
        count => format!("{count} submissions deleted"),
    };
    let done = match registrations {
        0 => submissions,
        count => format!("{submissions}, and what was kept of {count} registrations"),
    };
    Ok(match crate::journal::purge(scheduler, shutdown).await? {
        None => done,
        Some(journal) => format!("{done}; {journal}"),
    })
}

/// Says what should be gone and is not: a mail that waits, or a fault of ours. (The metric of it is with the figures.)
async fn warn_of_the_rest(scheduler: &Scheduler) -> anyhow::Result<()> {
    let there = scheduler.ledger.past_and_there(scheduler.clock.now() - GRACE).await?;
    if there > 0 {
        tracing::error!(
            registrations = there,
            "registrations are past their time and still there: kvit schedule run purge --dry-run says why"
        );
    }
    Ok(())
}

/// What is left of registrations when their event has been held, or they were withdrawn: payload, then key, then row.
async fn end_registrations(scheduler: &Scheduler, shutdown: &CancellationToken) -> anyhow::Result<usize> {
    let mut ended = 0;
    let mut after = None;
    while !shutdown.is_cancelled() {
        let now = scheduler.clock.now();
        let ids = scheduler.ledger.end_registrations(after, now, BATCH).await?;
        after = ids.last().copied();
        if ids.is_empty() {
            break;
        }
        ended += ids.len();
        failpoint::reached("scheduler.registration_begun").await;
        scheduler.vault.destroy_all(ids.clone()).await?;
        failpoint::reached("scheduler.registration_key_destroyed").await;
        scheduler.ledger.registrations_ended(ids, now).await?;
    }
    Ok(ended)
}
