//! Who did what: each act of a person is a leaf that names its actor.

use domain::DepartmentId;
use jiff::Timestamp;
use serde::Serialize;
use store::StoreError;

use crate::Ledger;
use crate::outbox::leaf_by;
use crate::read::time;

/// An act of a person.
#[derive(Debug, Clone, Serialize)]
pub struct ActRow {
    /// Its place in the signed log; none before it is sequenced.
    pub index: Option<i64>,
    /// What was done.
    pub event: String,
    /// To what.
    pub rule: Option<String>,
    /// By whom: an opaque id.
    pub actor: String,
    /// When.
    pub at: Timestamp,
}

impl Ledger {
    /// Records that a person acts, before anything comes of it: an act without a record cannot be.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then the act is not to be done.
    pub async fn acts(&self, actor: String, act: &'static str, on: String, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| leaf_by(tx, None, act, now, Some(&on), Some(&actor)))
            .await
    }

    /// What persons did, newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn acted(&self, limit: u32) -> Result<Vec<ActRow>, StoreError> {
        self.read(move |tx| {
            let rows = tx.query(
                "SELECT log_index, event, rule, actor, at FROM leaf WHERE actor IS NOT NULL ORDER BY seq DESC LIMIT $1",
                &[limit.into()],
            )?;
            rows.iter()
                .map(|row| {
                    Ok(ActRow {
                        index: row.opt_int(0)?,
                        event: row.text(1)?.to_owned(),
                        rule: row.opt_text(2)?.map(str::to_owned),
                        actor: row.text(3)?.to_owned(),
                        at: time(row.int(4)?),
                    })
                })
                .collect()
        })
        .await
    }
}

/// The statement's condition that a row is of one of these departments; nothing where all are meant. Ids hold letters,
/// digits, `_` and `-` alone.
pub(crate) fn of_departments(column: &str, departments: &[DepartmentId]) -> String {
    if departments.is_empty() {
        return String::new();
    }
    let ids: Vec<String> = departments.iter().map(|id| format!("'{id}'")).collect();
    format!(" AND {column} IN ({})", ids.join(", "))
}
