//! Lanes: a bounded number of duties at once, some more than there are connections to the relay, so that no connection
//! waits for a commit.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::DutyId;
use futures::FutureExt as _;
use tokio::sync::{Mutex as Turn, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::relay::Relay;
use crate::send::Mailer;

/// How long a drain waits for what is in hand.
const DRAIN: Duration = Duration::from_secs(25);

/// How many duties are in hand for each connection: one is being sent, the others are being claimed or settled, and share
/// their commits. A commit costs the same for many as for one.
const IN_HAND: usize = 16;

/// The duties that wait for a lane, and the lanes.
pub(crate) struct Lanes {
    queue: Mutex<Option<mpsc::Sender<DutyId>>>,
    waiting: Arc<Mutex<HashSet<DutyId>>>,
    tasks: TaskTracker,
    mailer: Arc<Mailer>,
    shutdown: CancellationToken,
}

impl Lanes {
    /// Opens lanes for so many connections. They end when [`Lanes::close`] is called and nothing is in hand; on `shutdown` they drop
    /// what only waits, since the ledger still has it.
    pub(crate) fn open(
        connections: usize,
        mailer: &Arc<Mailer>,
        relay: &Arc<Relay>,
        shutdown: &CancellationToken,
    ) -> Self {
        let (queue, waiters) = mpsc::channel(4096);
        let waiters = Arc::new(Turn::new(waiters));
        let waiting: Arc<Mutex<HashSet<DutyId>>> = Arc::default();
        let tasks = TaskTracker::new();
        for _ in 0..connections.max(1) * IN_HAND {
            let lane = Lane {
                waiters: Arc::clone(&waiters),
                waiting: Arc::clone(&waiting),
                mailer: Arc::clone(mailer),
                relay: Arc::clone(relay),
                shutdown: shutdown.clone(),
            };
            tasks.spawn(lane.serve());
        }
        tasks.close();
        Self {
            queue: Mutex::new(Some(queue)),
            waiting,
            tasks,
            mailer: Arc::clone(mailer),
            shutdown: shutdown.clone(),
        }
    }

    /// Takes duties to be done; those that wait already are not taken twice. Waits for room.
    pub(crate) async fn take(&self, ids: Vec<DutyId>) {
        let Some(queue) = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone() else {
            return;
        };
        for id in ids {
            let new = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
            if !new {
                continue;
            }
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                sent = queue.send(id) => if sent.is_err() { return },
            }
        }
    }

    /// Takes no more, and waits until what is in hand is done, but not for a relay that does not answer: its mail goes out
    /// again, and is counted as a possible duplicate.
    pub(crate) async fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        if timeout(DRAIN, self.tasks.wait()).await.is_err() {
            tracing::warn!("the relay has not answered in time; what it was given goes out again");
        }
        self.mailer.relay.quit().await;
    }
}

struct Lane {
    waiters: Arc<Turn<mpsc::Receiver<DutyId>>>,
    waiting: Arc<Mutex<HashSet<DutyId>>>,
    mailer: Arc<Mailer>,
    relay: Arc<Relay>,
    shutdown: CancellationToken,
}

impl Lane {
    async fn serve(self) {
        while let Some(id) = self.next().await {
            let ready = tokio::select! {
                () = self.shutdown.cancelled() => false,
                () = self.relay.available() => true,
            };
            if ready {
                // A fault of ours in one duty is that duty's alone: its lease runs out, and the sweep brings it back.
                let _ = AssertUnwindSafe(self.mailer.discharge(id)).catch_unwind().await;
            }
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        }
    }

    async fn next(&self) -> Option<DutyId> {
        let mut waiters = self.waiters.lock().await;
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => None,
            id = waiters.recv() => id,
        }
    }
}
