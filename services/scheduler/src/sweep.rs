//! The sweep: wakes duties that are due, finishes deletions, and forgets what is no longer needed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use broker::{JOURNAL_DUTIES, MAIL_DUTIES};
use domain::{DutyId, DutyKind, SubmissionId};
use jiff::SignedDuration;
use runtime::{Health, Work};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::Scheduler;
use crate::figures::Measured;

/// How often duties and deletions are looked at.
const SWEEP: Duration = Duration::from_secs(2);
/// How soon a duty that was woken and is still due is woken again: its wake-up was lost, or its worker is busy.
const AGAIN: Duration = Duration::from_secs(10);
/// Which worker does what.
const QUEUES: [(&str, &[DutyKind]); 2] = [
    (
        MAIL_DUTIES,
        &[DutyKind::DepartmentMail, DutyKind::Receipt, DutyKind::Notice],
    ),
    (JOURNAL_DUTIES, &[DutyKind::Journal]),
];
/// How many are looked at in one sweep.
const BATCH: u32 = 2000;
/// How often what departments are to be told is looked at.
const NOTIFY: Duration = Duration::from_secs(10);
/// How often the figures are measured.
const MEASURE: Duration = Duration::from_secs(15);
/// For so long a look may show no progress before the service counts as hanging. A store that is away ends a look within a
/// minute; much that waits, in a store that is slow, takes longer.
const STILL: Duration = Duration::from_mins(30);
/// How often what is no longer needed is forgotten, and what sites have not confirmed is counted.
const FORGET: Duration = Duration::from_hours(1);
/// A key without data is swept after a day: its data may be on its way.
const ORPHAN: SignedDuration = SignedDuration::from_hours(24);
/// Receipts are counted for an hour, and requests waited for for minutes; a day is plenty for both.
const WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// The sweep's work, for the watchdog.
pub(crate) fn work(health: &Health) -> Work {
    worker::work(health, "sweep", STILL)
}

/// Sweeps until shutdown.
pub(crate) async fn run(scheduler: Arc<Scheduler>, work: Work, shutdown: CancellationToken) {
    let mut woken: HashMap<DutyId, Instant> = HashMap::new();
    let mut measured = Measured::new(scheduler.clock.now());
    let mut sweeps = ticks(SWEEP);
    let mut notices = ticks(NOTIFY);
    let mut measures = ticks(MEASURE);
    let mut forgets = ticks(FORGET);
    let mut confirmations = ticks(FORGET);
    loop {
        let (_in_hand, what, swept) = tokio::select! {
            () = shutdown.cancelled() => return,
            _ = sweeps.tick() => (work.begin(), "duties and deletions", scheduler.sweep(&mut woken).await),
            _ = measures.tick() => (work.begin(), "the figures", scheduler.measure(&mut measured).await),
            _ = notices.tick() => (work.begin(), "notices", scheduler.tell_departments().await),
            _ = forgets.tick() => (work.begin(), "what is to be forgotten", scheduler.forget(&work).await),
            _ = confirmations.tick() => (work.begin(), "the sites' confirmations", scheduler.miss_confirmations().await),
        };
        if let Err(error) = swept {
            tracing::warn!(error = format!("{error:#}"), "{what} could not be swept; trying again");
        }
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

impl Scheduler {
    async fn sweep(&self, woken: &mut HashMap<DutyId, Instant>) -> anyhow::Result<()> {
        self.wake(woken).await?;
        let now = self.clock.now();
        let discharged = self.ledger.discharged(BATCH).await?;
        if !discharged.is_empty() {
            self.ledger.begin_deletion(discharged, now).await?;
        }
        let deleting = self.ledger.deleting(BATCH).await?;
        if !deleting.is_empty() {
            failpoint::reached("scheduler.deletion_begun").await;
            self.finish(deleting).await?;
        }
        let overdue = self.ledger.overdue(now).await?;
        #[expect(clippy::cast_precision_loss, reason = "a count of submissions is far below 2^53")]
        metrics::gauge!("kvit_submissions_overdue").set(overdue as f64);
        Ok(())
    }

    /// Wakes duties that are due and in nobody's hands, queue by queue: what one worker leaves undone delays no other's.
    async fn wake(&self, woken: &mut HashMap<DutyId, Instant>) -> anyhow::Result<()> {
        woken.retain(|_, at| at.elapsed() < AGAIN);
        for (queue, kinds) in QUEUES {
            let due = self.ledger.due(kinds, self.clock.now(), BATCH).await?;
            let asleep: Vec<DutyId> = due.into_iter().filter(|id| !woken.contains_key(id)).collect();
            if !asleep.is_empty() {
                self.link.wake(queue, &asleep).await;
                failpoint::reached("scheduler.woken").await;
                woken.extend(asleep.into_iter().map(|id| (id, Instant::now())));
            }
        }
        Ok(())
    }

    /// Deletion's second and third step.
    pub(crate) async fn finish(&self, ids: Vec<SubmissionId>) -> anyhow::Result<()> {
        let begun = self.clock.now();
        self.vault.destroy(ids.iter().map(|id| id.0).collect()).await?;
        failpoint::reached("scheduler.key_destroyed").await;
        self.ledger.finish_deletion(ids.clone(), self.clock.now()).await?;
        for id in ids {
            self.traces.deletion(id, begun, || self.clock.now());
        }
        Ok(())
    }

    /// Forgets epochs that nothing may be recognised by any more, windows, old requests, and keys without data.
    async fn forget(&self, work: &Work) -> anyhow::Result<()> {
        let now = self.clock.now();
        let link = self.loaded.config.retention.link;
        let needed = self.ledger.oldest_needed_epoch(now - link).await?;
        let epochs = self.vault.forget_epochs(link, needed, now).await?;
        if !epochs.is_empty() {
            tracing::info!(
                epochs = epochs.len(),
                "the keys of epochs are destroyed: their tombstones link to nobody now"
            );
        }
        // Said anew each time: an earlier process may have died between the two steps.
        self.ledger.forget_epochs(self.vault.epochs(now).await?).await?;
        self.ledger.forget_windows(now - WINDOW).await?;
        self.ledger.forget_requests(now - WINDOW).await?;
        self.destroy_orphans(now - ORPHAN, work).await
    }

    async fn destroy_orphans(&self, before: jiff::Timestamp, work: &Work) -> anyhow::Result<()> {
        // A ledger that knows of nothing is more likely the wrong one (a mistyped address) than one whose keys are all
        // orphans: destroying keys cannot be undone.
        if self.ledger.is_empty().await? {
            return Ok(());
        }
        let mut after: Option<Uuid> = None;
        loop {
            let owners = self.vault.owners_since_before(before, after, 500).await?;
            let Some(last) = owners.last() else { return Ok(()) };
            work.goes_on();
            after = Some(*last);
            let orphans = self.ledger.without_payload(owners).await?;
            if !orphans.is_empty() {
                metrics::counter!("kvit_orphan_keys_total").increment(u64::try_from(orphans.len()).unwrap_or(0));
                self.vault.destroy_all(orphans).await?;
            }
        }
    }
}
