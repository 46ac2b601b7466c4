//! What is counted as it happens, in the transaction in which it happens.

use std::collections::BTreeMap;

use store::{Insert, StoreError, Tx};

/// A figure of the conservation equations, or one that the equations leave to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// Messages that came.
    Arrived,
    /// Messages that became a submission.
    Accepted,
    /// Submissions that are gone.
    Deleted,
    /// Messages in quarantine, or discarded from it.
    Quarantined,
    /// Messages that were known already.
    Duplicates,
    /// Drafts.
    Drafts,
    /// Mails that may have gone out twice.
    PossibleMail,
    /// Messages with fields that their form does not declare.
    FormDrift,
    /// Submissions whose mails were all done, and not in time.
    Late,
}

impl Counter {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Arrived => "arrived",
            Self::Accepted => "accepted",
            Self::Deleted => "deleted",
            Self::Quarantined => "quarantined",
            Self::Duplicates => "duplicates",
            Self::Drafts => "drafts",
            Self::PossibleMail => "possible_mail",
            Self::FormDrift => "form_drift",
            Self::Late => "late",
        }
    }
}

/// Whose counters these are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scope<'a> {
    pub(crate) site: &'a str,
    pub(crate) form: &'a str,
    pub(crate) test: bool,
}

impl Scope<'_> {
    /// Adds to one counter.
    pub(crate) fn add(&self, tx: &mut Tx<'_>, counter: Counter, by: i64) -> Result<(), StoreError> {
        let mut counts = Counts::default();
        counts.count(*self, counter, by);
        counts.add(tx)
    }
}

/// What is to be added to counters.
#[derive(Default)]
pub(crate) struct Counts<'a>(BTreeMap<(&'static str, Scope<'a>), i64>);

impl<'a> Counts<'a> {
    /// Counts so many more.
    pub(crate) fn count(&mut self, scope: Scope<'a>, counter: Counter, by: i64) {
        *self.0.entry((counter.as_str(), scope)).or_default() += by;
    }

    /// Adds to the rows of the writing connection, so that no writer waits for another's count.
    pub(crate) fn add(self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let lane = tx.lane();
        let row = |((name, scope), by): ((&str, Scope<'_>), i64)| {
            [
                lane.into(),
                name.into(),
                scope.site.into(),
                scope.form.into(),
                scope.test.into(),
                by.into(),
            ]
        };
        let insert = Insert {
            on_conflict: Some("(name, site, form, test, shard) DO UPDATE SET value = counter.value + excluded.value"),
            ..Insert::into("counter (shard, name, site, form, test, value)")
        };
        tx.insert(insert, &self.0.into_iter().map(row).collect::<Vec<_>>())
    }
}
