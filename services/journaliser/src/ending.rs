//! The end of entries: the purge has decided, and their files are removed here.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::story::Journaliser;

/// How often entries that end are looked for.
const LOOK: Duration = Duration::from_secs(2);
/// How many at once.
const BATCH: u32 = 200;
/// How often drafts of attempts that ended and were not made again are looked for.
const LOOK_FOR_DRAFTS: Duration = Duration::from_hours(1);

/// Removes what ends until `ended`.
pub(crate) async fn run(journaliser: Arc<Journaliser>, ended: CancellationToken) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looked_for_drafts: Option<Instant> = None;
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if looked_for_drafts.is_none_or(|at| at.elapsed() >= LOOK_FOR_DRAFTS) {
            looked_for_drafts = Some(Instant::now());
            remove_drafts(&journaliser).await;
        }
        if let Err(error) = remove(&journaliser).await {
            tracing::warn!(
                error = format!("{error:#}"),
                "entries whose period is over could not be removed; trying again"
            );
        }
    }
}

async fn remove_drafts(journaliser: &Journaliser) {
    let journal = journaliser.targets.embedded().clone();
    match spawn_blocking(move || journal.remove_forgotten_drafts()).await {
        Ok(Ok(0)) => {}
        Ok(Ok(drafts)) => tracing::info!(
            drafts,
            "drafts of attempts that were ended are removed from the journal"
        ),
        Ok(Err(error)) => tracing::warn!(%error, "the journal's folder could not be looked through for drafts"),
        Err(error) => tracing::error!(%error, "looking for drafts ended"),
    }
}

async fn remove(journaliser: &Journaliser) -> anyhow::Result<()> {
    for entry in journaliser.ledger.journal_ending(BATCH).await? {
        let journal = journaliser.targets.embedded().clone();
        spawn_blocking(move || journal.remove(&entry.files)).await??;
        journaliser
            .ledger
            .journal_ended(entry.id.clone(), journaliser.clock.now())
            .await?;
        tracing::info!(entry.id, "a journal entry's period is over; its content is removed");
    }
    Ok(())
}
