//! What the purge would do now, without doing it: what would go, and for the rest, why not and when.

use domain::disposal::{Rule, Why};
use domain::{Disposal, DutyKind, SubmissionId};
use jiff::Timestamp;
use serde::Serialize;
use store::{StoreError, Tx};

use crate::Ledger;
use crate::deletion::judge;
use crate::read::{Because, time};

/// What the purge would do with one submission.
#[derive(Debug, Clone, Serialize)]
pub struct Forecast {
    /// Kvit's id.
    pub id: String,
    /// What the citizen quotes.
    pub reference: String,
    /// The form.
    pub form: String,
    /// The event that it is for.
    pub event: Option<String>,
    /// Whether it would go now.
    pub goes: bool,
    /// By which rule, or why not: one sentence.
    pub why: String,
    /// The same for programs, and for pages in other languages.
    pub because: Because,
    /// When at the latest time alone lets it go, where that is known.
    pub at: Option<Timestamp>,
}

impl Ledger {
    /// What the purge would do with the open submissions after this one, in order.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn forecast(
        &self,
        after: Option<SubmissionId>,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Forecast>, StoreError> {
        self.read(move |tx| {
            let after = after.map_or_else(String::new, |id| id.to_string());
            let rows = tx.query(
                "SELECT submission.id, submission.reference, submission.form, submission.event, event.held
                 FROM submission LEFT JOIN event ON event.id = submission.event
                 WHERE submission.state = 'open' AND submission.id > $1 ORDER BY submission.id LIMIT $2",
                &[after.into(), limit.into()],
            )?;
            let mut all = Vec::with_capacity(rows.len());
            for row in &rows {
                let id = row.text(0)?;
                let held = row.opt_int(4)?.map(time);
                let (disposal, at) = foresee(tx, id, held, now)?;
                let (goes, why, because) = match disposal {
                    None => (false, String::new(), Because::default()),
                    Some(Disposal::Delete(rule)) => (true, rule.to_string(), Because::of(rule.as_str())),
                    Some(Disposal::Keep(why)) => (false, why.to_string(), Because::keeps(&why)),
                };
                all.push(Forecast {
                    id: id.to_owned(),
                    reference: row.text(1)?.to_owned(),
                    form: row.text(2)?.to_owned(),
                    event: row.opt_text(3)?.map(str::to_owned),
                    goes,
                    why,
                    because,
                    at,
                });
            }
            Ok(all)
        })
        .await
    }
}

/// What disposal will say, and when at the latest time alone lets it go.
fn foresee(
    tx: &mut Tx<'_>,
    id: &str,
    held: Option<Timestamp>,
    now: Timestamp,
) -> Result<(Option<Disposal>, Option<Timestamp>), StoreError> {
    let said = judge(tx, id, now)?;
    Ok(match &said {
        Some(Disposal::Keep(Why::Duty(duty))) if duty.kind == DutyKind::Extract => {
            let ended = held.is_some_and(|held| held <= now);
            if ended && only_the_extract_binds(tx, id)? {
                (Some(Disposal::Delete(Rule::EventHeld)), None)
            } else {
                (said, held.filter(|held| *held > now))
            }
        }
        Some(Disposal::Keep(Why::BeforeDeadline(deadline))) => {
            let deadline = *deadline;
            (said, Some(deadline))
        }
        _ => (said, None),
    })
}

/// Whether the event's end, which cancels the extract (E3), leaves nothing that binds.
fn only_the_extract_binds(tx: &mut Tx<'_>, id: &str) -> Result<bool, StoreError> {
    let other = tx.one(
        "SELECT 1 FROM duty WHERE submission = $1 AND kind IN ('department_mail', 'receipt', 'files')
         AND state NOT IN ('done', 'cancelled') LIMIT 1",
        &[id.into()],
    )?;
    Ok(other.is_none())
}
