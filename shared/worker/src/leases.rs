//! The duties that a worker has in hand: their leases live as long as the work, and no longer.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use domain::DutyId;
use jiff::SignedDuration;

/// The leases of one worker. Clones share them.
#[derive(Clone)]
pub struct Leases {
    /// How long a lease lasts without a heartbeat.
    pub lease: SignedDuration,
    in_hand: Arc<Mutex<HashSet<DutyId>>>,
}

impl Leases {
    /// No duty in hand yet.
    #[must_use]
    pub fn new(lease: SignedDuration) -> Self {
        Self {
            lease,
            in_hand: Arc::default(),
        }
    }

    /// Takes a duty in hand until the answer is dropped, however the work ends.
    #[must_use]
    pub fn hold(&self, id: DutyId) -> Held {
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        Held {
            leases: self.clone(),
            id,
        }
    }

    pub(crate) fn in_hand(&self) -> Vec<DutyId> {
        let held = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().copied().collect()
    }
}

/// A duty in hand.
pub struct Held {
    leases: Leases,
    id: DutyId,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.leases.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        held.remove(&self.id);
    }
}
