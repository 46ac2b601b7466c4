//! What departments have not been told of yet: mails that are held, and certificates that end.

use domain::{DepartmentId, Reason, Reference, SiteId};
use jiff::Timestamp;
use store::{StoreError, Tx};

use crate::duty::add::add_duty;
use crate::{Ledger, NewDuty};

/// Held mails that a department has not been told of, by the oldest of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UntoldHeld {
    /// The department.
    pub department: DepartmentId,
    /// The producer.
    pub site: SiteId,
    /// Whether they are tests.
    pub test: bool,
    /// The oldest one's submission.
    pub reference: Reference,
    /// Why it is held.
    pub reason: Reason,
}

/// Held for a reason that is news to the department. What an operator holds, somebody knows of.
const UNTOLD: &str = "duty.state = 'held' AND duty.kind = 'department_mail' AND duty.told_at IS NULL
    AND duty.reason IS NOT NULL AND duty.reason <> 'operator'";

impl Ledger {
    /// The oldest held mail of each department, site and kind of submission that the department has not been told of, but
    /// for departments that were told of others since this time.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn untold_held(&self, told_since: Timestamp) -> Result<Vec<UntoldHeld>, StoreError> {
        self.read(move |tx| {
            let sql = format!(
                "SELECT duty.department, submission.site, duty.test, submission.reference, duty.reason
                 FROM duty JOIN submission ON submission.id = duty.submission
                 WHERE {UNTOLD} AND duty.department IS NOT NULL
                 AND duty.department NOT IN (SELECT told.department FROM duty AS told
                     WHERE told.told_at > $1 AND told.department IS NOT NULL)
                 ORDER BY duty.department, submission.site, duty.test, duty.created_at"
            );
            let rows = tx.query(&sql, &[told_since.as_millisecond().into()])?;
            let mut untold = rows
                .iter()
                .map(|row| {
                    Ok(UntoldHeld {
                        department: row.parse(0)?,
                        site: row.parse(1)?,
                        test: row.int(2)? != 0,
                        reference: row.parse(3)?,
                        reason: row.parse(4)?,
                    })
                })
                .collect::<Result<Vec<_>, StoreError>>()?;
            // In the order of the statement: the oldest of each stays.
            untold.dedup_by(|next, oldest| {
                (&oldest.department, &oldest.site, oldest.test) == (&next.department, &next.site, next.test)
            });
            Ok(untold)
        })
        .await
    }

    /// Puts the notice to a department on its way, and marks what it speaks of: every held mail of that site that the
    /// department has not been told of. `false` where none is left, and the notice is not kept.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn tell_of_held(&self, of: UntoldHeld, notice: NewDuty, now: Timestamp) -> Result<bool, StoreError> {
        self.write(move |tx| {
            let sql = format!(
                "UPDATE duty SET told_at = $1 WHERE {UNTOLD} AND department = $2 AND test = $3
                 AND submission IN (SELECT id FROM submission WHERE site = $4 AND state = 'open')"
            );
            let marked = tx.execute(
                &sql,
                &[
                    now.as_millisecond().into(),
                    of.department.as_str().into(),
                    of.test.into(),
                    of.site.as_str().into(),
                ],
            )?;
            // Another replica may have told it, or the mail may have gone out meanwhile.
            if marked > 0 {
                add_duty(tx, None, &notice, now)?;
            }
            Ok(marked > 0)
        })
        .await
    }

    /// Whether a department was warned that its certificate ends at this time, so many days ahead or fewer.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn was_warned(&self, of: CertificateEnd) -> Result<bool, StoreError> {
        self.read(move |tx| was_warned(tx, &of)).await
    }

    /// Puts the warning on its way, where nobody has since. `false` where somebody has, and the notice is not kept.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn warn(&self, of: CertificateEnd, notice: Option<NewDuty>, now: Timestamp) -> Result<bool, StoreError> {
        self.write(move |tx| {
            if was_warned(tx, &of)? {
                return Ok(false);
            }
            let recorded = tx.execute(
                "INSERT INTO certificate_warning (department, fingerprint, ends_at, days, warned_at)
                 VALUES ($1, $2, $3, $4, $5) ON CONFLICT (department, fingerprint, ends_at, days) DO NOTHING",
                &[
                    of.department.into(),
                    of.fingerprint.into(),
                    of.ends_at.as_millisecond().into(),
                    of.days.into(),
                    now.as_millisecond().into(),
                ],
            )?;
            if let Some(notice) = notice.filter(|_| recorded > 0) {
                add_duty(tx, None, &notice, now)?;
            }
            Ok(recorded > 0)
        })
        .await
    }
}

/// A certificate's end, and how many days ahead it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateEnd {
    /// The department; empty for the recovery certificate.
    pub department: String,
    /// Which certificate.
    pub fingerprint: String,
    /// When it ends.
    pub ends_at: Timestamp,
    /// One of the steps of the warnings.
    pub days: i64,
}

fn was_warned(tx: &mut Tx<'_>, of: &CertificateEnd) -> Result<bool, StoreError> {
    let row = tx.one(
        "SELECT 1 FROM certificate_warning
         WHERE department = $1 AND fingerprint = $2 AND ends_at = $3 AND days <= $4",
        &[
            of.department.as_str().into(),
            of.fingerprint.as_str().into(),
            of.ends_at.as_millisecond().into(),
            of.days.into(),
        ],
    )?;
    Ok(row.is_some())
}
