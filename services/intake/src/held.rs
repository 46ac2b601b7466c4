//! Department mails that wait for a certificate: composed by themselves once there is one.

use std::sync::Arc;
use std::time::Duration;

use domain::{DepartmentId, DutyId, DutyKind, DutyState, Language, Reason, Submission, SubmissionId};
use ledger::{Claim, NewDuty, Payload};
use runtime::Check;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use vault::Purpose;
use worker::DepartmentState;

use crate::check::check;
use crate::compose::{Department, Job};
use crate::message::Message;
use crate::take::{Intake, Trouble, is_test};

/// How often certificates are looked at: a changed file or an added certificate is noticed within this.
const LOOK: Duration = Duration::from_secs(3);
/// How many waiting mails are looked at in one round.
const ROUND: u32 = 200;

/// Looks at the certificates until `ended`, says which departments cannot be written to, and composes what waited.
pub(crate) async fn watch(intake: Arc<Intake>, check: Check, ended: CancellationToken) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut first = true;
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            _ = ticks.tick() => {}
        }
        // A ledger that is away is said by the check `store`; the files are read all the same.
        let _ = intake.certificates.refresh(&intake.ledger).await;
        intake.report_certificates(&check);
        if let Err(trouble) = intake.compose_waiting(first).await {
            tracing::warn!(error = %trouble, "mails that wait for a certificate could not be looked at; trying again");
        }
        first = false;
    }
}

impl Intake {
    fn report_certificates(&self, check: &Check) {
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
        for listed in self.certificates.list(now) {
            if let Some(expires) = listed.expires {
                let days = expires.duration_since(now).as_hours() / 24;
                #[expect(clippy::cast_precision_loss, reason = "a count of days is small")]
                metrics::gauge!("kvit_certificate_expires_days", "fingerprint" => listed.fingerprint).set(days as f64);
            }
        }
        if held.is_empty() {
            check.up();
        } else {
            check.warn(&held.join("; "));
        }
    }

    /// Composes what waited. What was too large is looked at once, at the start: only another configuration changes it.
    async fn compose_waiting(&self, first: bool) -> Result<(), Trouble> {
        let now = self.clock.now();
        for claim in self.ledger.waiting_for_certificate(ROUND).await? {
            let Some(department) = claim.department.clone() else {
                continue;
            };
            let usable = matches!(self.certificates.of(&department, now), DepartmentState::Usable(_));
            let waits = match claim.reason {
                Some(Reason::Operator) => true,
                Some(Reason::TooLarge) => !first,
                _ => false,
            };
            if usable && !waits {
                self.compose_held(&claim, department).await?;
            }
        }
        Ok(())
    }

    /// Composes a held mail from the answers that were sealed for intake.
    async fn compose_held(&self, claim: &Claim, department: DepartmentId) -> Result<(), Trouble> {
        let now = self.clock.now();
        let (Some(id), Some(payload)) = (claim.submission, claim.payload.as_ref()) else {
            return Ok(());
        };
        let Some(key) = self.vault.key(payload.owner, Purpose::Intake).await? else {
            return Ok(());
        };
        let opened = key.open(claim.id.0.as_bytes(), &payload.sealed)?;
        let Some(job) = self.job_of(&opened, claim, id, department.clone()).await? else {
            return Ok(());
        };
        let index = self.vault.index(now).await?;
        let composed = self.compose(job, index, now).await?;
        let Some(Department::Mails(parcels)) = composed.department else {
            return Ok(());
        };
        let Some(mail_key) = self.vault.key(id.0, Purpose::Mail).await? else {
            return Ok(());
        };
        let mut duties = Vec::new();
        for parcel in parcels {
            let duty = DutyId::new();
            duties.push(NewDuty {
                id: duty,
                kind: DutyKind::DepartmentMail,
                role: parcel.role.clone(),
                department: Some(department.clone()),
                state: DutyState::Ready,
                reason: None,
                payload: Some(Payload {
                    owner: id.0,
                    purpose: Purpose::Mail.as_str().to_owned(),
                    sealed: mail_key.seal(duty.0.as_bytes(), &parcel.encode())?,
                }),
            });
        }
        let ids: Vec<DutyId> = duties.iter().map(|duty| duty.id).collect();
        if self.ledger.composed(claim.id, id, duties, now).await? {
            self.vault.destroy_one(id.0, Purpose::Intake).await?;
            tracing::info!(submission.id = %id, "composed: its department has a usable certificate now");
            self.link.wake(broker::MAIL_DUTIES, &ids).await;
        }
        Ok(())
    }

    async fn job_of(
        &self,
        opened: &[u8],
        claim: &Claim,
        id: SubmissionId,
        department: DepartmentId,
    ) -> Result<Option<Job>, Trouble> {
        let (Some((message, Some(decided))), Some(reference)) = (Message::decode(opened), &claim.reference) else {
            return Ok(None);
        };
        let Ok(incoming) = self.reopen(&message).await? else {
            return Ok(None);
        };
        let (Some(form), Some(site)) = (
            self.loaded.forms.get(&message.site, &incoming.form),
            self.loaded.config.sites.get(&message.site),
        ) else {
            return Ok(None);
        };
        // It was taken once; a form that has become stricter does not untake it.
        let lenient = domain::Form {
            strict: false,
            ..(**form).clone()
        };
        let Ok(checked) = check(&incoming, &lenient, domain::form::UnknownFields::Deliver) else {
            return Ok(None);
        };
        let Ok(reference) = reference.parse() else {
            return Ok(None);
        };
        let langcode = incoming.envelope.langcode.as_deref();
        let test = is_test(site, &message.headers());
        let submission = Submission {
            id,
            reference,
            site: message.site.clone(),
            form: form.id.clone(),
            version: decided.version,
            received_at: message.received_at,
            language: langcode
                .and_then(Language::from_langcode)
                .unwrap_or(self.loaded.config.controller.language),
            answers: checked.answers,
            remarks: checked.remarks,
            changed: decided.changed,
            withdrawn: decided.withdrawn,
            late: false,
            test,
        };
        Ok(Some(Job {
            submission,
            form: Arc::clone(form),
            department,
            references: decided.references,
            test_mail: test.then(|| site.test_mail.clone()).flatten(),
            receipt: None,
            mails_department: true,
        }))
    }
}
