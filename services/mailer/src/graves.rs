//! Ends deletions: destroys the keys of what nothing binds any more, and leaves the tombstones.
//!
//! Many at once: a key store that promises that a deleted key is nowhere pays for each commit, not for each key. What is
//! not ended here, because a store is away or the process dies, the scheduler's sweep ends.

use std::sync::Arc;
use std::time::Duration;

use domain::SubmissionId;
use ledger::Ledger;
use runtime::Clock;
use tokio::sync::{Mutex, mpsc};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use vault::Vault;
use worker::Traces;

/// The most that are ended together.
const MOST: usize = 256;

/// How long the first waits for others: a key store's commit keeps everybody from its keys.
const GATHERING: Duration = Duration::from_millis(200);

/// Where those who settle a submission's last duty leave it.
pub(crate) type Graves = mpsc::Sender<SubmissionId>;

/// Who ends deletions.
pub(crate) struct Digger {
    pub(crate) ledger: Ledger,
    pub(crate) vault: Vault,
    pub(crate) clock: Clock,
    pub(crate) traces: Traces,
    /// Its own while it serves; a lock, so that one that panicked can begin anew.
    pub(crate) waiting: Mutex<mpsc::Receiver<SubmissionId>>,
}

/// A place to leave submissions, which holds up those who bring them while it is full.
pub(crate) fn graves() -> (Graves, mpsc::Receiver<SubmissionId>) {
    mpsc::channel(4 * MOST)
}

impl Digger {
    /// Ends deletions until `ended`, also after a panic in one, and those that wait by then.
    pub(crate) async fn serve(self, ended: CancellationToken) {
        let (digger, until) = (Arc::new(self), ended.clone());
        let part = move || Arc::clone(&digger).dig(ended.clone());
        worker::forever("graves", until, part).await;
    }

    async fn dig(self: Arc<Self>, ended: CancellationToken) {
        let mut waiting = self.waiting.lock().await;
        let mut ids = Vec::with_capacity(MOST);
        loop {
            tokio::select! {
                biased;
                count = waiting.recv_many(&mut ids, MOST) => if count == 0 { return },
                () = ended.cancelled() => return,
            }
            tokio::select! {
                () = ended.cancelled() => {}
                () = sleep(GATHERING) => {}
            }
            while ids.len() < MOST
                && let Ok(id) = waiting.try_recv()
            {
                ids.push(id);
            }
            let count = ids.len();
            if let Err(error) = self.end(std::mem::take(&mut ids)).await {
                tracing::warn!(
                    submissions = count,
                    error = format!("{error:#}"),
                    "deletions could not be ended; the scheduler ends them"
                );
            }
        }
    }

    /// Deletion's second and third step: the keys, then the tombstones.
    async fn end(&self, ids: Vec<SubmissionId>) -> anyhow::Result<()> {
        let begun = self.clock.now();
        self.vault.destroy(ids.iter().map(|id| id.0).collect()).await?;
        failpoint::reached("mailer.key_destroyed").await;
        self.ledger.finish_deletion(ids.clone(), self.clock.now()).await?;
        for id in ids {
            tracing::info!(submission.id = %id, "deleted");
            self.traces.deletion(id, begun, || self.clock.now());
        }
        Ok(())
    }
}
