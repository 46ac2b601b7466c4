//! A worker's heartbeat: the store's row that says it lives, the leases it holds, and the check `store`.

use std::time::Duration;

use jiff::SignedDuration;
use ledger::{Ledger, WorkerId};
use runtime::{Check, Clock};
use store::StoreError;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use vault::Vault;

use crate::Leases;

/// How often a worker says that it lives. A store that cannot be written is noticed within twice this.
const BEAT: Duration = Duration::from_secs(2);

/// How long a worker that is not heard of is remembered.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);

/// A worker as others see it.
pub struct Presence {
    /// The store that it says so in.
    pub ledger: Ledger,
    /// The key store that it needs.
    pub vault: Vault,
    /// Its id.
    pub worker: WorkerId,
    /// Its service.
    pub service: &'static str,
    /// The checks `store` and `vault`.
    pub checks: [Check; 2],
    /// Its leases, where it takes any.
    pub leases: Option<Leases>,
    /// Its clock.
    pub clock: Clock,
}

impl Presence {
    /// Beats until `ended`, which comes when the last work in hand is done, so that leases live as long as the work.
    pub async fn keep(self, ended: CancellationToken) {
        let mut ticks = interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = ended.cancelled() => break,
                _ = ticks.tick() => self.beat().await,
            }
        }
        let stale = self.clock.now() - REMEMBERED;
        let _ = self.ledger.leave(self.worker, stale).await;
    }

    async fn beat(&self) {
        let now = self.clock.now();
        let mut beaten = self.ledger.beat(self.worker, self.service, now).await;
        if let (Ok(()), Some(leases)) = (&beaten, &self.leases) {
            beaten = self
                .ledger
                .extend(self.worker, leases.in_hand(), now + leases.lease)
                .await;
        }
        let [store, vault] = &self.checks;
        self.say(store, "store", &beaten);
        self.say(vault, "key store", &self.vault.ping().await);
    }

    fn say(&self, check: &Check, what: &str, beaten: &Result<(), StoreError>) {
        match beaten {
            Ok(()) => check.up(),
            Err(error) => {
                if check.is_up() {
                    tracing::warn!(service = self.service, %error, "the {what} cannot be used; trying again");
                }
                check.down(&format!("the {what} cannot be used: {error}; trying again"));
            }
        }
    }
}
