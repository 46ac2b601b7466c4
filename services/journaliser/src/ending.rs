//! The end of entries: the purge has decided, and their files are removed here.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::story::Journaliser;

/// How often entries that end are looked for.
const LOOK: Duration = Duration::from_secs(2);
/// How many at once.
const BATCH: u32 = 200;

/// Removes what ends until `ended`.
pub(crate) async fn run(journaliser: Arc<Journaliser>, ended: CancellationToken) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = remove(&journaliser).await {
            tracing::warn!(
                error = format!("{error:#}"),
                "entries whose period is over could not be removed; trying again"
            );
        }
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
