//! Runs a schedule: each planned time once, across replicas and restarts, by a row for each planned run.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use store::StoreError;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::Scheduler;
use crate::cron::{Job, Schedule};

/// The longest that the clock is not looked at: bounds how late a run is after the clock was set.
const LOOK: Duration = Duration::from_secs(20);

/// How the outcome of a run begins that failed.
pub(crate) const FAILED: &str = "failed: ";

/// Runs a schedule until shutdown. A time that was missed while nothing ran is made good once, and not for each missed
/// time.
pub async fn run(scheduler: Arc<Scheduler>, schedule: Schedule, shutdown: CancellationToken) {
    let mut since = None;
    loop {
        let now = scheduler.clock.now();
        let from = match since {
            Some(since) => since,
            None => match scheduler.last_planned(&schedule).await {
                Ok(last) => last.unwrap_or(now),
                Err(error) => {
                    tracing::warn!(schedule = schedule.name, %error, "a schedule cannot be looked up; trying again");
                    if pause(&shutdown, Duration::from_secs(2)).await {
                        continue;
                    }
                    return;
                }
            },
        };
        since = Some(from);
        let Some(planned) = schedule.expression.due(from, now) else {
            let next = schedule.expression.after(from);
            let wait = next.map_or(LOOK, |next| next.duration_since(now).try_into().unwrap_or(LOOK));
            if pause(&shutdown, wait.min(LOOK)).await {
                continue;
            }
            return;
        };
        match scheduler.run_once(&schedule, planned, &shutdown).await {
            Ok(_) => since = Some(planned),
            Err(error) => {
                tracing::warn!(schedule = schedule.name, %error, "a planned run cannot be recorded; trying again");
                if !pause(&shutdown, Duration::from_secs(2)).await {
                    return;
                }
            }
        }
        if shutdown.is_cancelled() {
            return;
        }
    }
}

async fn pause(shutdown: &CancellationToken, wait: Duration) -> bool {
    tokio::select! {
        () = shutdown.cancelled() => false,
        () = sleep(wait) => true,
    }
}

impl Scheduler {
    async fn last_planned(&self, schedule: &Schedule) -> Result<Option<Timestamp>, StoreError> {
        let runs = self.ledger.runs(schedule.name.to_owned(), 1).await?;
        Ok(runs.first().map(|run| run.planned_at))
    }

    /// Does a job, now and whatever was planned. Answers how it went, in plain words.
    ///
    /// # Errors
    ///
    /// Where it failed.
    pub async fn run_job(&self, job: Job, shutdown: &CancellationToken) -> anyhow::Result<String> {
        match job {
            Job::Purge => crate::purge::run(self, shutdown).await,
            Job::Extract => crate::extract::run(self, shutdown).await,
            Job::Keys => crate::keys::run(self).await,
            Job::Checkpoint => crate::checkpoint::run(self).await,
        }
    }

    /// Runs a schedule for a planned time, and answers how it went; `None` where another replica has it.
    pub(crate) async fn run_once(
        &self,
        schedule: &Schedule,
        planned: Timestamp,
        shutdown: &CancellationToken,
    ) -> Result<Option<String>, StoreError> {
        let began = self.clock.now();
        if !self
            .ledger
            .begin_run(schedule.name, planned, self.worker, began)
            .await?
        {
            return Ok(None); // another replica has it
        }
        failpoint::reached("scheduler.run_begun").await;
        let outcome = self.run_job(schedule.job, shutdown).await;
        failpoint::reached("scheduler.run_done").await;
        let ended = self.clock.now();
        let words = match outcome {
            Ok(words) => words,
            Err(error) => {
                tracing::error!(
                    schedule = schedule.name,
                    error = format!("{error:#}"),
                    "a scheduled run failed"
                );
                format!("{FAILED}{error}")
            }
        };
        tracing::info!(schedule = schedule.name, planned_at = %planned, outcome = words, "scheduled run");
        self.ledger
            .end_run(schedule.name, planned, words.clone(), ended)
            .await?;
        Ok(Some(words))
    }
}
