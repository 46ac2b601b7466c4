//! What a person has put to rest, as a worker sees it: said by its readiness and its metrics, and told to its work.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::Pausable;
use ledger::{Ledger, Pause};
use runtime::{Check, Clock};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How soon a pause, or its end, is noticed.
const LOOK: Duration = Duration::from_secs(2);

/// Looks at the pauses.
#[derive(Clone)]
pub struct Pauses {
    /// Where they stand.
    pub ledger: Ledger,
    /// The check `pauses`: up, or a warning that says what rests and since when.
    pub check: Check,
    /// The time.
    pub clock: Clock,
}

impl Pauses {
    /// Looks until `ended`, and gives what is in force to `act` each time. What held when the ledger went away holds on;
    /// before its first answer nothing is known, and the check says so.
    pub async fn watch(self, ended: CancellationToken, act: impl Fn(&[Pause])) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said = BTreeMap::new();
        loop {
            tokio::select! {
                () = ended.cancelled() => return,
                _ = ticks.tick() => {}
            }
            match self.ledger.pauses(self.clock.now()).await {
                Ok(pauses) => {
                    act(&pauses);
                    self.say(&pauses);
                    measure(&mut said, &pauses);
                }
                Err(_) if self.check.is_up() => {} // the check `store` says that
                Err(error) => self
                    .check
                    .down(&format!("what is paused is not known yet: {error}; trying again")),
            }
        }
    }

    fn say(&self, pauses: &[Pause]) {
        if pauses.is_empty() {
            self.check.up();
        } else {
            let words: Vec<String> = pauses.iter().map(Pause::public_words).collect();
            self.check.warn(&words.join("; "));
        }
    }
}

/// One gauge for each thing that rests; what rests no more is 0.
fn measure(said: &mut BTreeMap<(Pausable, String), bool>, pauses: &[Pause]) {
    for paused in said.values_mut() {
        *paused = false;
    }
    for pause in pauses {
        said.insert((pause.what, pause.name.clone()), true);
    }
    for ((what, name), paused) in said {
        metrics::gauge!("kvit_paused", "what" => what.as_str(), "name" => name.clone())
            .set(f64::from(u8::from(*paused)));
    }
}
