//! From a checked message to the one transaction that records it: its version, its duties, its sealed payloads.

use std::sync::Arc;

use domain::lineage::{Verdict, judge};
use domain::submission::Kept;
use domain::{DutyKind, DutyState, Form, Kind, Reason, Submission, SubmissionId};
use ledger::{Arrival, Counter, EventSaid, Lineage, NewDuty, NewSubmission, Recorded};
use letter::Notice;
use vault::Purpose;

use crate::case::{Case, ReceiptPlan, Sealer, wakes};
use crate::check::Checked;
use crate::compose::{Composed, Department, Job, message_id};
use crate::event;
use crate::identity::Identity;
use crate::message::Message;
use crate::shapes::{Headers, Incoming};
use crate::take::{Fate, Intake, Trouble};

/// How often a message is judged again because another replica was faster.
const ROUNDS: usize = 8;

impl Intake {
    /// Judges a checked message against what is known, and records it, or counts it.
    pub(crate) async fn record(
        &self,
        message: &Message,
        headers: Headers,
        incoming: Incoming,
        checked: Checked,
        form: Arc<Form>,
        arrival: Arrival,
    ) -> Result<Fate, Trouble> {
        let now = self.clock.now();
        let index = self.vault.index(now).await?;
        let identity = Identity::of(&index, message, &headers, &incoming, &checked, &form);
        let (event, late) = self.event(message, &headers, &incoming, &form).await?;
        let case = Case {
            message,
            headers,
            incoming,
            checked,
            form,
            arrival,
            index,
            identity,
            event,
            late,
            now,
        };
        let address = case.receipt_address();
        for _ in 0..ROUNDS {
            let sought = (case.identity.sought.clone(), case.identity.answers_sought.clone());
            let limit = address.as_ref().map(|(_, limit)| limit.clone());
            let (lineage, receipts) = self.ledger.standing(sought.0, sought.1, limit).await?;
            let known = if failpoint::mutant("no_idempotency_digest") {
                &[]
            } else {
                lineage.known.as_slice()
            };
            let (version, latest) = match judge(known, case.order()) {
                Verdict::Duplicate => return self.counted(case.arrival, Counter::Duplicates, lineage.latest).await,
                Verdict::First => (1, true),
                Verdict::Version { number, latest } => (number, latest),
            };
            let receipt = case.receipt_plan(&lineage, address.as_ref(), receipts);
            if let Some(id) = self.accept(&case, &lineage, (version, latest), receipt).await? {
                return Ok(Fate::Accepted(id));
            }
        }
        Err(Trouble::internal(
            "others recorded versions of the same submission all the time",
        ))
    }

    /// The event of a registration, and whether the registration comes too late for it.
    async fn event(
        &self,
        message: &Message,
        headers: &Headers,
        incoming: &Incoming,
        form: &Form,
    ) -> Result<(Option<EventSaid>, bool), Trouble> {
        if form.kind != Kind::Registration {
            return Ok((None, false));
        }
        let zone = &self.loaded.config.controller.time_zone;
        let said = event::said(message.site.as_str(), form, headers, incoming, zone);
        let recorded = self.ledger.event_dates(said.id.clone()).await?;
        let sent = event::sent_at(headers, incoming, message.received_at);
        let late = event::is_late(recorded, &said, sent);
        Ok((Some(said), late))
    }

    /// Composes, seals and records one version. `None` where another replica was faster.
    async fn accept(
        &self,
        case: &Case<'_>,
        lineage: &Lineage,
        (version, latest): (u32, bool),
        receipt: ReceiptPlan,
    ) -> Result<Option<SubmissionId>, Trouble> {
        let submission = case.submission(self.loaded.config.controller.language, lineage, version);
        let id = submission.id;
        let references = self.references(case, lineage);
        let job = Job {
            form: Arc::clone(&case.form),
            department: case.form.department.clone(),
            references: references.clone(),
            test_mail: self.test_mail_of(&case.arrival),
            receipt: match &receipt {
                ReceiptPlan::Send(address, _) => Some((address.clone(), case.receipt_key())),
                _ => None,
            },
            mails_department: case.mails_department(),
            submission,
        };
        let submission = job.submission.clone();
        // The keys wait for the disk while the mails are made.
        let mut purposes = case.purposes();
        let composing = async {
            let composed = self.compose(job, Arc::clone(&case.index), case.now).await?;
            failpoint::reached("intake.composed").await;
            Ok::<_, Trouble>(composed)
        };
        let making = async {
            let keys = self.vault.create(id.0, &purposes, case.now).await?;
            failpoint::reached("intake.key_committed").await;
            Ok::<_, Trouble>(keys)
        };
        let (composed, keys) = tokio::join!(composing, making);
        let mut keys = keys?;
        let composed = match composed {
            Ok(composed) => composed,
            Err(trouble) => {
                // Nothing is recorded under this id, and never will be. Keys that this does not reach are swept.
                let _ = self.vault.destroy_all(vec![id.0]).await;
                return Err(trouble);
            }
        };
        // Only now is it known whether the answers have to wait.
        if matches!(composed.department, Some(Department::Held(_))) {
            keys.extend(self.vault.create(id.0, &[Purpose::Intake], case.now).await?);
            purposes.push(Purpose::Intake);
        }
        let notes = if composed.key_ignored {
            vec!["receipt_key_ignored"]
        } else {
            Vec::new()
        };
        case.message.passed("compose", || self.clock.now());
        let sealer = Sealer {
            id,
            purposes: &purposes,
            keys: &keys,
        };
        let kept = Kept { submission, references };
        let duties = self.duties(case, composed, &receipt, &sealer, &kept).await?;
        let wakes = wakes(&duties);
        case.message.passed("seal", || self.clock.now());
        let new = NewSubmission {
            notes,
            ..case.new_submission(&kept.submission, duties, lineage, latest, &keys, receipt)
        };
        if self.ledger.record(new, case.checked.drift, case.now).await? == Recorded::Overtaken {
            self.vault.destroy_all(vec![id.0]).await?;
            return Ok(None);
        }
        case.message.passed("commit", || self.clock.now());
        self.trace(case, id, version);
        failpoint::reached("intake.recorded").await;
        tracing::info!(submission.id = %id, site = %case.message.site, form = %case.form.id, version, "accepted");
        self.link.wake(broker::MAIL_DUTIES, &wakes).await;
        Ok(Some(id))
    }

    /// The `Message-ID` of the first version's mail, which later ones refer to.
    fn references(&self, case: &Case<'_>, lineage: &Lineage) -> Vec<String> {
        let first = lineage.ids.first();
        first
            .map(|id| message_id(&case.index, *id, "department", &self.message_domain))
            .into_iter()
            .collect()
    }

    /// Every duty of the submission, with its sealed payload.
    async fn duties(
        &self,
        case: &Case<'_>,
        composed: Composed,
        receipt: &ReceiptPlan,
        sealer: &Sealer<'_>,
        kept: &Kept,
    ) -> Result<Vec<NewDuty>, Trouble> {
        let mut duties = Vec::new();
        match composed.department {
            Some(Department::Mails(parcels)) => {
                for parcel in parcels {
                    duties.push(case.mail(DutyKind::DepartmentMail, &parcel, sealer)?);
                }
            }
            Some(Department::Held(reason)) => {
                let duty = case.duty(DutyKind::DepartmentMail, "department", DutyState::Held, Some(reason));
                duties.push(sealer.with(duty, Purpose::Intake, &kept.encode())?);
            }
            None => {}
        }
        match (receipt, composed.receipt) {
            (ReceiptPlan::Cancel(reason), _) => {
                duties.push(case.duty(DutyKind::Receipt, "receipt", DutyState::Cancelled, Some(*reason)));
                if *reason == Reason::Undeliverable && !case.late {
                    duties.push(self.notice_undeliverable(case, &kept.submission).await?);
                }
            }
            (_, Some(parcel)) => duties.push(case.mail(DutyKind::Receipt, &parcel, sealer)?),
            _ => {}
        }
        case.other_duties(sealer, kept, &mut duties)?;
        Ok(duties)
    }

    async fn notice_undeliverable(&self, case: &Case<'_>, submission: &Submission) -> Result<NewDuty, Trouble> {
        let notice = Notice::ReceiptUndeliverable {
            reference: submission.reference.clone(),
        };
        let references = [message_id(
            &case.index,
            submission.id,
            "department",
            &self.message_domain,
        )];
        let test = self.test_mail_of(&case.arrival);
        self.notices
            .duty(&case.form.department, &notice, &references, test.as_ref(), case.now)
            .await
            .map_err(Trouble::Internal)
    }
}
