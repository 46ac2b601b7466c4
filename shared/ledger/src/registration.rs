//! What is kept of a registration when its submission is gone, until its event has been held: reference and address.

use domain::SubmissionId;
use jiff::Timestamp;
use store::{StoreError, Tx};
use uuid::Uuid;

use crate::duty::add::add_duty;
use crate::extract::{KeptRegistration, payload};
use crate::outbox::leaf;
use crate::{Ledger, NewDuty, Payload};

/// A registration of which only reference and address are left.
#[derive(Clone)]
pub struct Address {
    /// Whether it is a test.
    pub test: bool,
    /// Reference and address, sealed.
    pub payload: Payload,
}

/// Records what is kept, once for each submission. A key that is not needed then is swept as an orphan.
pub(crate) fn keep(tx: &mut Tx<'_>, event: &str, kept: &KeptRegistration) -> Result<(), StoreError> {
    let id = kept.payload.owner.to_string();
    let made = tx.execute(
        "INSERT INTO registration (id, submission, event) VALUES ($1, $2, $3) ON CONFLICT (submission) DO NOTHING",
        &[id.as_str().into(), kept.submission.to_string().into(), event.into()],
    )?;
    if made == 0 {
        return Ok(());
    }
    tx.execute(
        "INSERT INTO payload (duty, owner, purpose, sealed) VALUES ($1, $1, $2, $3)",
        &[
            id.into(),
            kept.payload.purpose.as_str().into(),
            kept.payload.sealed.as_slice().into(),
        ],
    )
    .map(drop)
}

/// Ends what is kept of a withdrawn registration; its key goes with the purge.
pub(crate) fn end_withdrawn(tx: &mut Tx<'_>, submission: &str) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM payload WHERE duty IN (SELECT id FROM registration WHERE submission = $1)",
        &[submission.into()],
    )?;
    tx.execute(
        "UPDATE registration SET ended = 'withdrawn' WHERE submission = $1 AND ended IS NULL",
        &[submission.into()],
    )
    .map(drop)
}

/// Whether anything of a registration is kept: the submission, or what is kept of it until its event has been held.
pub(crate) fn shown(
    tx: &mut Tx<'_>,
    submission: &str,
    kind: Option<&str>,
    state: &str,
) -> Result<Option<&'static str>, StoreError> {
    if kind != Some("registration") {
        return Ok(None);
    }
    let kept = state != "deleted"
        || tx
            .one("SELECT 1 FROM registration WHERE submission = $1", &[submission.into()])?
            .is_some();
    Ok(Some(if kept { "kept" } else { "deleted" }))
}

impl Ledger {
    /// Withdraws every version of a registration by an operator's act, and puts the notice to its department on its way.
    /// Answers whether it was news.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then nothing changed.
    pub async fn withdraw_registration(
        &self,
        mut ids: Vec<SubmissionId>,
        notice: Option<NewDuty>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        ids.sort_unstable(); // all replicas lock in one order
        self.write(move |tx| {
            let mut news = false;
            for id in &ids {
                news |= crate::arrival::withdraw(tx, &id.to_string(), now)?;
            }
            if let (true, Some(duty)) = (news, notice) {
                add_duty(tx, None, &duty, now)?;
            }
            Ok(news)
        })
        .await
    }

    /// Every version of a registration, oldest first, with its form's site and id and whether it is a test; none where
    /// the submission is no registration.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn versions_of_registration(
        &self,
        id: SubmissionId,
    ) -> Result<Option<(Vec<SubmissionId>, RegistrationFacts)>, StoreError> {
        self.read(move |tx| {
            let rows = tx.query(
                "SELECT submission.id, submission.reference, submission.department, submission.site, submission.test
                 FROM submission JOIN submission given ON given.reference = submission.reference
                 WHERE given.id = $1 AND submission.kind = 'registration' ORDER BY submission.version",
                &[id.to_string().into()],
            )?;
            let Some(first) = rows.first() else { return Ok(None) };
            let facts = RegistrationFacts {
                reference: first.parse(1)?,
                department: first.parse(2)?,
                site: first.parse(3)?,
                test: first.int(4)? != 0,
            };
            let ids = rows.iter().map(|row| row.parse(0)).collect::<Result<_, _>>()?;
            Ok(Some((ids, facts)))
        })
        .await
    }

    /// What is kept of the registrations for an event whose submissions are gone, in the order in which they came.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn addresses(&self, event: String) -> Result<Vec<Address>, StoreError> {
        self.read(move |tx| {
            let rows = tx.query(
                "SELECT registration.id, submission.test FROM registration
                 JOIN submission ON submission.id = registration.submission
                 WHERE registration.event = $1 AND registration.ended IS NULL AND submission.state <> 'open'
                 ORDER BY submission.received_at, submission.id",
                &[event.into()],
            )?;
            let mut found = Vec::new();
            for row in rows {
                let test = row.int(1)? != 0;
                if let Some(payload) = payload(tx, row.text(0)?)? {
                    found.push(Address { test, payload });
                }
            }
            Ok(found)
        })
        .await
    }

    /// Removes what is kept of registrations after this one, in order, whose event has been held, or which were withdrawn:
    /// their ids, whose keys are to be destroyed now.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn end_registrations(
        &self,
        after: Option<Uuid>,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Uuid>, StoreError> {
        self.write(move |tx| {
            let after = after.map_or_else(String::new, |id| id.to_string());
            let rows = tx.query(
                "SELECT registration.id FROM registration JOIN event ON event.id = registration.event
                 WHERE registration.id > $1 AND (registration.ended IS NOT NULL OR event.held <= $2)
                 ORDER BY registration.id LIMIT $3",
                &[after.into(), now.as_millisecond().into(), limit.into()],
            )?;
            let ids: Vec<Uuid> = rows.iter().map(|row| row.parse(0)).collect::<Result<_, _>>()?;
            for id in &ids {
                let id = id.to_string();
                tx.execute(
                    "UPDATE registration SET ended = 'event_held' WHERE id = $1 AND ended IS NULL",
                    &[id.as_str().into()],
                )?;
                tx.execute("DELETE FROM payload WHERE duty = $1", &[id.into()])?;
            }
            Ok(ids)
        })
        .await
    }

    /// The keys of these are destroyed: nothing is left of the registrations.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn registrations_ended(&self, ids: Vec<Uuid>, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| {
            for id in ids {
                let id = id.to_string();
                let row = tx.one(
                    "SELECT submission, ended FROM registration WHERE id = $1",
                    &[id.as_str().into()],
                )?;
                let Some(row) = row else { continue };
                let gone = tx.execute("DELETE FROM registration WHERE id = $1", &[id.into()])?;
                if gone > 0 {
                    leaf(
                        tx,
                        Some(row.text(0)?),
                        "registration_deleted",
                        now,
                        row.opt_text(1)?,
                        None,
                    )?;
                }
            }
            Ok(())
        })
        .await
    }
}

/// Cancels what is left of a registration's extract when its event has been held (E3), so that disposal lets it go. What
/// is frozen stays as it is.
pub(crate) fn end_unextracted(tx: &mut Tx<'_>, submission: &str, now: Timestamp) -> Result<(), StoreError> {
    let cancelled = tx.execute(
        "UPDATE duty SET state = 'cancelled', done_at = $2
         WHERE submission = $1 AND kind = 'extract' AND state = 'held' AND EXISTS (
             SELECT 1 FROM submission JOIN event ON event.id = submission.event
             WHERE submission.id = $1 AND submission.hold IS NULL AND event.held <= $2)",
        &[submission.into(), now.as_millisecond().into()],
    )?;
    if cancelled > 0 {
        leaf(tx, Some(submission), "extract_cancelled", now, Some("event_held"), None)?;
    }
    Ok(())
}

/// Whose a registration is.
#[derive(Debug, Clone)]
pub struct RegistrationFacts {
    /// What the citizen quotes.
    pub reference: domain::Reference,
    /// The department that acts on it.
    pub department: domain::DepartmentId,
    /// The producer.
    pub site: domain::SiteId,
    /// Whether it is a test.
    pub test: bool,
}
