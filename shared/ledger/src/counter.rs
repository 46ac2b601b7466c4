//! What is counted as it happens, in the transaction in which it happens.

use store::rows::rows;
use store::{StoreError, Tx, Value};

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
    /// Adds to the row of the writing connection, so that no writer waits for another's count.
    pub(crate) fn add(&self, tx: &mut Tx<'_>, counter: Counter, by: i64) -> Result<(), StoreError> {
        self.add_to(tx, &[counter], by)
    }

    /// As [`Scope::add`], to each of several counters, of which no two are the same.
    pub(crate) fn add_to(&self, tx: &mut Tx<'_>, counters: &[Counter], by: i64) -> Result<(), StoreError> {
        let lane = tx.lane();
        let mut values = vec![
            self.site.into(),
            self.form.into(),
            self.test.into(),
            lane.into(),
            by.into(),
        ];
        let places = rows("$1, $2, $3, $4, $5, ", values.len() + 1, 1, counters.len());
        values.extend(counters.iter().map(|counter| Value::from(counter.as_str())));
        let sql = format!(
            "INSERT INTO counter (site, form, test, shard, value, name) VALUES {places}
             ON CONFLICT (name, site, form, test, shard) DO UPDATE SET value = counter.value + $5"
        );
        tx.execute(&sql, &values).map(drop)
    }
}
