//! Schedule `purge`: deletes what time lets go. Disposal decides; this only asks it about those that wait for a time.

use domain::SubmissionId;
use tokio_util::sync::CancellationToken;

use crate::Scheduler;

/// How many are asked about in one transaction.
const BATCH: u32 = 500;

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
        gone += begun.len();
        scheduler.finish(begun).await?;
    }
    Ok(match gone {
        0 => "nothing was past its time".to_owned(),
        1 => "1 submission deleted".to_owned(),
        count => format!("{count} submissions deleted"),
    })
}
