//! Department mails that wait for a certificate: composed by themselves once there is one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use domain::submission::Kept;
use domain::{DepartmentId, DutyId, DutyKind, DutyState, Reason};
use ledger::{NewDuty, Payload};
use runtime::Check;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use vault::Purpose;
use worker::DepartmentState;

use crate::compose::{Department, Job};
use crate::take::{Intake, Trouble};

/// How often certificates are looked at: a changed file or an added certificate is noticed within this.
const LOOK: Duration = Duration::from_secs(3);
/// Looks at the certificates until `ended`, says which departments cannot be written to, and composes what waited.
pub(crate) async fn watch(intake: Arc<Intake>, check: Check, ended: CancellationToken) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut first = true;
    let mut said = BTreeSet::new();
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            _ = ticks.tick() => {}
        }
        // A ledger that is away is said by the check `store`; the files are read all the same.
        let _ = intake.certificates.refresh(&intake.ledger).await;
        intake.report_certificates(&check, &mut said);
        if let Err(trouble) = intake.compose_waiting(first).await {
            tracing::warn!(error = %trouble, "mails that wait for a certificate could not be looked at; trying again");
        }
        first = false;
    }
}

impl Intake {
    /// `said` is of which certificates it was said when they expire.
    fn report_certificates(&self, check: &Check, said: &mut BTreeSet<String>) {
        let now = self.clock.now();
        let mut held = Vec::new();
        for department in self.loaded.config.departments.keys() {
            let state = self.certificates.of(department, now);
            let usable = matches!(state, DepartmentState::Usable(_));
            metrics::gauge!("kvit_department_usable", "department" => department.to_string())
                .set(f64::from(u8::from(usable)));
            if let DepartmentState::Held(reason) = state {
                held.push(format!(
                    "department {department} has no usable certificate ({reason}): its mails are held"
                ));
            }
        }
        let listed = self.certificates.list(now).into_iter();
        let ends: BTreeMap<_, _> = listed.filter_map(|one| Some((one.fingerprint, one.expires?))).collect();
        said.extend(ends.keys().cloned());
        for fingerprint in said.iter() {
            // One that was removed or revoked, or is good for ever now, has no end that an alarm could look at.
            #[expect(clippy::cast_precision_loss, reason = "a time in seconds is far below 2^53")]
            let end = ends.get(fingerprint).map_or(f64::NAN, |end| end.as_second() as f64);
            metrics::gauge!("kvit_certificate_expiry_timestamp_seconds", "fingerprint" => fingerprint.clone()).set(end);
        }
        if held.is_empty() {
            check.up();
        } else {
            check.warn(&held.join("; "));
        }
    }

    /// Composes what waited, department by department: one that cannot be composed delays no other. What was too large is
    /// looked at once, at the start: only another configuration changes it.
    async fn compose_waiting(&self, first: bool) -> Result<(), Trouble> {
        let now = self.clock.now();
        for (duty, department, reason) in self.ledger.waiting_for_intake().await? {
            let waits = match reason {
                Some(Reason::Operator) => true,
                Some(Reason::TooLarge) => !first,
                _ => false,
            };
            if waits || !matches!(self.certificates.of(&department, now), DepartmentState::Usable(_)) {
                continue;
            }
            if let Err(trouble) = self.compose_held(duty, department).await {
                tracing::warn!(duty.id = %duty, error = %trouble, "a mail that waits for a certificate could not be composed; trying again");
            }
        }
        Ok(())
    }

    /// Composes a held mail from the answers that were sealed for intake.
    async fn compose_held(&self, duty: DutyId, department: DepartmentId) -> Result<(), Trouble> {
        let now = self.clock.now();
        let Some(claim) = self.ledger.held(duty).await? else {
            return Ok(()); // another replica was faster
        };
        let (Some(id), Some(payload)) = (claim.submission, claim.payload.as_ref()) else {
            return Err(Trouble::internal(
                "a held mail has nothing that it could be composed from",
            ));
        };
        let key = self.vault.key(payload.owner, Purpose::Intake).await?;
        let key = key.ok_or(Trouble::internal("the key of a held mail is gone"))?;
        let kept = Kept::decode(&key.open(duty.0.as_bytes(), &payload.sealed)?);
        let kept = kept.ok_or(Trouble::internal("a held mail cannot be read"))?;
        let job = self.job(kept, department.clone())?;
        let index = self.vault.index(now).await?;
        let parcels = match self.compose(job, index, now).await?.department {
            Some(Department::Mails(parcels)) => parcels,
            Some(Department::Held(reason)) => return Ok(self.ledger.held_because(duty, reason).await?),
            None => return Err(Trouble::internal("a held mail was not composed")),
        };
        let mail_key = self.vault.key(id.0, Purpose::Mail).await?;
        let mail_key = mail_key.ok_or(Trouble::internal("a submission has no mail key"))?;
        let duties = parcels
            .iter()
            .map(|parcel| {
                let id = DutyId::new();
                Ok(NewDuty {
                    id,
                    kind: DutyKind::DepartmentMail,
                    role: parcel.role.clone(),
                    department: Some(department.clone()),
                    state: DutyState::Ready,
                    reason: None,
                    expires_at: None,
                    payload: Some(Payload {
                        owner: payload.owner,
                        purpose: Purpose::Mail.as_str().to_owned(),
                        sealed: mail_key.seal(id.0.as_bytes(), &parcel.encode())?,
                    }),
                })
            })
            .collect::<Result<Vec<_>, Trouble>>()?;
        let ids: Vec<DutyId> = duties.iter().map(|duty| duty.id).collect();
        if self.ledger.composed(duty, id, duties, now).await? {
            failpoint::reached("intake.held_composed").await;
            self.vault.destroy_one(id.0, Purpose::Intake).await?;
            tracing::info!(submission.id = %id, "composed: its department has a usable certificate now");
            self.link.wake(broker::MAIL_DUTIES, &ids).await;
        }
        Ok(())
    }

    fn job(&self, kept: Kept, department: DepartmentId) -> Result<Job, Trouble> {
        let submission = kept.submission;
        let form = self.loaded.forms.get(&submission.site, &submission.form);
        let form = form.ok_or(Trouble::internal("the form of a held mail is not configured any more"))?;
        let site = self.loaded.config.sites.get(&submission.site);
        let test_mail = site.and_then(|site| site.test_mail.clone());
        if submission.test && test_mail.is_none() {
            return Err(Trouble::internal("a test's mail has no address to go to any more"));
        }
        Ok(Job {
            form: Arc::clone(form),
            department,
            references: kept.references,
            test_mail: if submission.test { test_mail } else { None },
            receipt: None,
            mails_department: true,
            submission,
        })
    }
}
