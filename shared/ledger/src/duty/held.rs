//! Mails that wait for a certificate or another configuration, until intake composes them.

use domain::{DepartmentId, DutyId, DutyState, Reason, SubmissionId};
use jiff::Timestamp;
use store::StoreError;

use super::claim::{Claim, read_claim};
use crate::duty::add::add_duty;
use crate::facts::SubmissionFacts;
use crate::outbox::leaf;
use crate::{Ledger, NewDuty};

impl Ledger {
    /// Department mails that wait for a certificate or another configuration, whose answers are sealed for intake: their
    /// ids, departments and reasons, oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn waiting_for_intake(&self) -> Result<Vec<(DutyId, DepartmentId, Option<Reason>)>, StoreError> {
        self.read(|tx| {
            let rows = tx.query(
                "SELECT duty.id, duty.department, duty.reason FROM duty JOIN payload ON payload.duty = duty.id
                 WHERE duty.state = 'held' AND duty.kind = 'department_mail' AND payload.purpose = 'intake'
                 AND duty.department IS NOT NULL ORDER BY duty.created_at",
                &[],
            )?;
            rows.iter()
                .map(|row| {
                    let reason = row.opt_text(2)?.and_then(|reason| reason.parse().ok());
                    Ok((row.parse(0)?, row.parse(1)?, reason))
                })
                .collect()
        })
        .await
    }

    /// A duty that is held, with its payload; `None` where it is held no more.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn held(&self, id: DutyId) -> Result<Option<Claim>, StoreError> {
        self.read(move |tx| {
            let found = read_claim(tx, &id.to_string(), usize::MAX)?;
            Ok(found
                .filter(|(_, state)| *state == DutyState::Held)
                .map(|(claim, _)| claim))
        })
        .await
    }

    /// Says anew why a duty is held.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn held_because(&self, id: DutyId, reason: Reason) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(
                "UPDATE duty SET reason = $2 WHERE id = $1 AND state = 'held'",
                &[id.to_string().into(), reason.to_string().into()],
            )
            .map(drop)
        })
        .await
    }

    /// Replaces a held duty by the mails that were composed from it.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then the duty is held as before.
    pub async fn composed(
        &self,
        held: DutyId,
        submission: SubmissionId,
        mails: Vec<NewDuty>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.write(move |tx| {
            // A submission that goes has no key for them any more.
            if !SubmissionFacts::reserve(tx, &submission.to_string())?.is_some_and(|facts| facts.is_open()) {
                return Ok(false);
            }
            let gone = tx.execute(
                "DELETE FROM duty WHERE id = $1 AND state = 'held'",
                &[held.to_string().into()],
            )?;
            if gone == 0 {
                return Ok(false);
            }
            tx.execute("DELETE FROM payload WHERE duty = $1", &[held.to_string().into()])?;
            for duty in &mails {
                add_duty(tx, Some(submission), duty, now)?;
            }
            leaf(tx, Some(&submission.to_string()), "composed", now, None, None)?;
            Ok(true)
        })
        .await
    }
}
