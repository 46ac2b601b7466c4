//! A worker's heartbeat: the store's row that says it lives, the leases it holds, and the check `store`.

use std::time::Duration;

use jiff::SignedDuration;
use ledger::{Ledger, WorkerId};
use runtime::{Check, Clock, Health, Work};
use store::StoreError;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use vault::{Reread, Vault};

use crate::Leases;

/// How often a worker says that it lives. A store that cannot be written is noticed within twice this.
const BEAT: Duration = Duration::from_secs(2);

/// For so long a store may leave a heartbeat without an answer before the service counts as hanging.
const STILL: Duration = Duration::from_mins(1);

/// So soon work counts as hanging in a test, which cannot wait for as long as a service may.
const IMPATIENT: Duration = Duration::from_secs(5);

/// A worker that was not heard of for so long does not run.
pub const HEARD: SignedDuration = SignedDuration::from_secs(15);
/// How long a worker that is not heard of is remembered.
pub const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);

/// A service's work, which counts as hanging where some is in hand and nothing of it gets on for so long.
#[must_use]
pub fn work(health: &Health, name: &str, within: Duration) -> Work {
    let impatient = failpoint::mutant("impatient_watchdog");
    health.work(name, if impatient { IMPATIENT } else { within })
}

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

/// What was said of the wrapping keys, so that it is said once.
#[derive(Default)]
struct Said {
    keys: Option<String>,
    needed: Option<&'static str>,
}

impl Presence {
    /// Beats until `ended`, which comes when the last work in hand is done, so that leases live as long as the work.
    pub async fn keep(self, ended: CancellationToken) {
        // A service whose heart stands still makes no progress, whatever else runs.
        self.checks[0].expect_news(STILL);
        let mut ticks = interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said = Said::default();
        loop {
            tokio::select! {
                () = ended.cancelled() => break,
                _ = ticks.tick() => {
                    self.beat().await;
                    let _ = timeout(BEAT, self.look_at_keys(&mut said)).await;
                }
            }
        }
        self.checks[0].expect_no_news();
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
        // Leases live by this loop: a key store that does not answer must not end them.
        let pinged = timeout(BEAT, self.vault.ping()).await;
        self.say(vault, "key store", &pinged.unwrap_or(Err(StoreError::Busy)));
    }

    /// Takes new wrapping keys into use, and says which they are: `kvit key rotate` waits for that.
    async fn look_at_keys(&self, said: &mut Said) {
        let needed = match self.vault.reread().await {
            Ok(Reread::Needed(purpose)) => Some(purpose),
            Ok(Reread::Changed) => {
                tracing::info!(service = self.service, "the wrapping keys have changed and are in use");
                None
            }
            Ok(Reread::Same) => None,
            Err(_) => return, // the check says so
        };
        if let Some(purpose) = needed.filter(|purpose| said.needed != Some(*purpose)) {
            tracing::error!(
                service = self.service,
                purpose,
                "the new wrapping keys are not used: data keys are still wrapped by one that is not among them; put it back, then kvit key rotate"
            );
        }
        said.needed = needed;
        let keys: Vec<_> = self
            .vault
            .key_ids()
            .iter()
            .map(|(purpose, id)| format!("{purpose}={id}"))
            .collect();
        let keys = keys.join(" ");
        if said.keys.as_ref() == Some(&keys) {
            return;
        }
        for (purpose, _) in self.vault.key_ids() {
            if let Ok(lost @ 1..) = self.vault.unreachable(purpose).await {
                tracing::error!(service = self.service, %purpose, data_keys = lost, "data keys are wrapped by a key that this service was not given: what they seal cannot be opened until it is put back");
            }
        }
        if self.ledger.wraps_with(self.worker, keys.clone()).await.is_ok() {
            said.keys = Some(keys);
        }
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
