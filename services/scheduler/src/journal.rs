//! The journal's share of the scheduler: what nobody marked in time goes, what is past its period ends, whom a
//! correction concerns is told, and the oldest that is in no journal yet is watched (J2).

use letter::Notice;
use tokio_util::sync::CancellationToken;
use vault::Purpose;

use crate::Scheduler;

/// How many are looked at in one transaction.
const BATCH: u32 = 500;

/// What the purge did in the journal, in words; none where it did nothing.
pub(crate) async fn purge(scheduler: &Scheduler, shutdown: &CancellationToken) -> anyhow::Result<Option<String>> {
    let unmarked = give_up_unmarked(scheduler, shutdown).await?;
    let ended = end_entries(scheduler, shutdown).await?;
    Ok(match (unmarked, ended) {
        (0, 0) => None,
        (unmarked, 0) => Some(format!("{unmarked} journal copies that nobody marked")),
        (0, ended) => Some(format!("{ended} journal entries whose period is over")),
        (unmarked, ended) => Some(format!(
            "{unmarked} journal copies that nobody marked, {ended} journal entries whose period is over"
        )),
    })
}

/// J1: copies that nobody marked while they waited: payload, then key.
async fn give_up_unmarked(scheduler: &Scheduler, shutdown: &CancellationToken) -> anyhow::Result<usize> {
    let mut given_up = 0;
    while !shutdown.is_cancelled() {
        let owners = scheduler.ledger.give_up_unmarked(scheduler.clock.now(), BATCH).await?;
        if owners.is_empty() {
            break;
        }
        given_up += owners.len();
        for owner in scheduler.ledger.without_journal_copy(owners).await? {
            scheduler.vault.destroy_one(owner, Purpose::Journal).await?;
        }
    }
    Ok(given_up)
}

/// D4, D6: entries that retention lets go. The journaliser, whose folder it is, removes their content.
async fn end_entries(scheduler: &Scheduler, shutdown: &CancellationToken) -> anyhow::Result<usize> {
    let zone = &scheduler.loaded.config.controller.time_zone;
    let (mut ended, mut after) = (0, String::new());
    while !shutdown.is_cancelled() {
        let now = scheduler.clock.now();
        let due = scheduler.ledger.journal_due(after, now, BATCH).await?;
        let Some(last) = due.last() else { break };
        after = last.id.clone();
        let ids = due.into_iter().map(|entry| entry.id).collect();
        ended += scheduler.ledger.begin_ending(ids, zone.clone(), now).await?;
    }
    Ok(ended)
}

impl Scheduler {
    /// Puts the notices on their way that those are owed who were given what was corrected (C3).
    pub(crate) async fn tell_of_corrections(&self) -> anyhow::Result<()> {
        for (version, department, reference) in self.ledger.owed_corrections().await? {
            let now = self.clock.now();
            let notice = Notice::Corrected { reference };
            match self.notices.duty(&department, &notice, &[], None, now).await {
                Ok(duty) => {
                    let id = duty.id;
                    let kept = self.ledger.tell_of_correction(version, duty, now).await?;
                    self.notices.withdraw_unless(kept, id).await?;
                }
                Err(error) => tracing::error!(%department, %error, "no notice of a correction could be made"),
            }
        }
        Ok(())
    }

    /// Measures the age of the oldest submission that belongs in a journal and is in none, and raises its alarm.
    pub(crate) async fn measure_journal(&self) -> anyhow::Result<()> {
        let now = self.clock.now();
        let oldest = self.ledger.oldest_unjournalised().await?;
        let age = oldest.map_or(0, |since| now.duration_since(since).as_secs().max(0));
        let late = age > self.loaded.config.journaliser.alarm_after.as_secs();
        #[expect(clippy::cast_precision_loss, reason = "an age in seconds is far below 2^53")]
        metrics::gauge!("kvit_journal_oldest_seconds").set(age as f64);
        metrics::gauge!("kvit_journal_overdue").set(if late { 1.0 } else { 0.0 });
        if late {
            tracing::error!(
                oldest.seconds = age,
                "submissions that belong in a journal are in none: kvit duty list --kind journal"
            );
        }
        Ok(())
    }
}
