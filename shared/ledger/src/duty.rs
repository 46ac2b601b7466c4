//! Duties: what is owed, who has it in hand, how it ended, and what a person may do with it.

pub(crate) mod add;
pub(crate) mod claim;
mod decide;
mod held;
pub(crate) mod settle;
mod untold;

use domain::{DutyId, DutyKind};
use jiff::Timestamp;
use store::{StoreError, Tx, Value};

pub use claim::Claim;
pub use decide::{Decision, DutyFilter, DutyRow};
pub use settle::{Outcome, Settled};
pub use untold::{CertificateEnd, UntoldHeld};

pub(crate) use settle::settle;

use crate::duty::add::add_duty;
use crate::pause::not_paused;
use crate::{Ledger, NewDuty};

/// Keeps other writers from duties until the transaction ends, in the order of all.
pub(crate) fn reserve_duties(tx: &mut Tx<'_>, mut ids: Vec<DutyId>) -> Result<(), StoreError> {
    ids.sort_unstable();
    let mut lists = Value::lists(ids.iter().map(DutyId::to_string));
    lists.try_for_each(|ids| tx.reserve("duty", "id", &ids))
}

impl Ledger {
    /// Puts a notice about no single submission on its way.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn add_notice(&self, notice: NewDuty, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| add_duty(tx, None, &notice, now)).await
    }

    /// Duties of these kinds that are due, in nobody's hands and not paused, oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn due(&self, kinds: &'static [DutyKind], now: Timestamp, limit: u32) -> Result<Vec<DutyId>, StoreError> {
        self.read(move |tx| {
            let words: Vec<String> = kinds.iter().map(|kind| format!("'{kind}'")).collect();
            let sql = format!(
                "SELECT id FROM duty WHERE kind IN ({})
                 AND ((state = 'ready' AND next_at <= $1) OR (state = 'sending' AND lease_until < $1)) AND {}
                 ORDER BY next_at LIMIT $2",
                words.join(", "),
                not_paused("$1")
            );
            let rows = tx.query(&sql, &[now.as_millisecond().into(), limit.into()])?;
            rows.iter().map(|row| row.parse(0)).collect()
        })
        .await
    }
}
