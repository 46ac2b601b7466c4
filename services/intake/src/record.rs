//! From a checked message to the one transaction that records it: its version, its duties, its sealed payloads.

use std::sync::Arc;

use domain::lineage::{Verdict, judge};
use domain::{DutyId, DutyKind, DutyState, EmailAddress, Form, Kind, Reason, SubmissionId};
use jiff::SignedDuration;
use ledger::{Counter, EventDates, Lineage, NewDuty, Recorded};
use letter::Notice;
use vault::Purpose;

use crate::case::{Case, ReceiptPlan, Sealer, wakes};
use crate::check::{Checked, receipt_address};
use crate::compose::{Composed, Department, Job, message_id};
use crate::event;
use crate::identity::Identity;
use crate::message::{Decided, Message};
use crate::shapes::{Event, Headers, Incoming};
use crate::take::{Fate, Intake, Trouble};

/// How often a message is judged again because another replica was faster.
const ROUNDS: usize = 8;
/// How many receipts go to one address within [`RATE_WINDOW`], so that a form cannot be used to flood a mailbox.
const RATE: i64 = 10;
const RATE_WINDOW: SignedDuration = SignedDuration::from_hours(1);

impl Intake {
    /// Judges a checked message against what is known, and records it, or counts it.
    pub(crate) async fn record(
        &self,
        message: &Message,
        headers: Headers,
        incoming: Incoming,
        checked: Checked,
        form: Arc<Form>,
        (scope, was): ((String, String, bool), Option<SubmissionId>),
    ) -> Result<Fate, Trouble> {
        let now = self.clock.now();
        let index = self.vault.index(now).await?;
        let identity = Identity::of(&index, message, &headers, &incoming, &checked, &form);
        let (event, late) = self.event(message, &headers, &incoming, &form).await?;
        let test = scope.2;
        let case = Case {
            message,
            headers,
            incoming,
            checked,
            form,
            index,
            identity,
            event,
            late,
            test,
            now,
            was,
        };
        for _ in 0..ROUNDS {
            let sought = (case.identity.sought.clone(), case.identity.answers_sought.clone());
            let lineage = self.ledger.lineage(sought.0, sought.1).await?;
            if case.incoming.event == Some(Event::Withdrawn) && !lineage.known.is_empty() {
                return self.withdraw(&case, &lineage, scope).await;
            }
            let (version, latest) = match judge(&lineage.known, case.order()) {
                Verdict::Duplicate => return self.counted(scope, Counter::Duplicates, lineage.latest, was).await,
                Verdict::First => (1, true),
                Verdict::Version { number, latest } => (number, latest),
            };
            if let Some(id) = self.accept(&case, &lineage, version, latest).await? {
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
    ) -> Result<(Option<EventDates>, bool), Trouble> {
        if form.kind != Kind::Registration {
            return Ok((None, false));
        }
        let zone = &self.loaded.config.controller.time_zone;
        let dates = event::dates(message.site.as_str(), form, headers, incoming, zone);
        let recorded = self.ledger.event_dates(dates.id.clone()).await?;
        let deadline = event::deadline(recorded.as_ref(), &dates);
        let sent = event::sent_at(headers, incoming, message.received_at);
        Ok((Some(dates), deadline.is_some_and(|deadline| sent > deadline)))
    }

    /// Composes, seals and records one version. `None` where another replica was faster.
    async fn accept(
        &self,
        case: &Case<'_>,
        lineage: &Lineage,
        version: u32,
        latest: bool,
    ) -> Result<Option<SubmissionId>, Trouble> {
        let submission = case.submission(self.loaded.config.controller.language, lineage, version);
        let id = submission.id;
        let references = self.references(case, lineage);
        let receipt = self.receipt_plan(case, lineage).await?;
        let job = Job {
            form: Arc::clone(&case.form),
            department: case.form.department.clone(),
            references: references.clone(),
            test_mail: self.test_mail(case),
            receipt: match &receipt {
                ReceiptPlan::Send(address, _) => Some((address.clone(), case.receipt_key())),
                _ => None,
            },
            mails_department: case.mails_department(),
            submission,
        };
        let submission = job.submission.clone();
        let composed = self.compose(job, Arc::clone(&case.index), case.now).await?;
        let purposes = case.purposes(&composed);
        let keys = self.vault.create(id.0, &purposes, case.now).await?;
        let decided = Decided {
            version,
            changed: submission.changed.clone(),
            withdrawn: submission.withdrawn,
            references,
        };
        let sealer = Sealer {
            id,
            purposes: &purposes,
            keys: &keys,
        };
        let duties = self.duties(case, composed, &receipt, &sealer, &decided).await?;
        let wakes = wakes(&duties);
        let new = case.new_submission(&submission, duties, lineage, latest, &keys, &receipt);
        if self.ledger.record(new).await? == Recorded::Overtaken {
            self.vault.destroy(vec![id.0]).await?;
            self.vault.destroy_one(id.0, Purpose::Journal).await?;
            return Ok(None);
        }
        tracing::info!(submission.id = %id, site = %case.message.site, form = %case.form.id, version, "accepted");
        self.link.wake(broker::MAIL_DUTIES, &wakes).await;
        Ok(Some(id))
    }

    /// What becomes of the receipt.
    async fn receipt_plan(&self, case: &Case<'_>, lineage: &Lineage) -> Result<ReceiptPlan, Trouble> {
        if case.form.receipt.is_none() || lineage.has_receipt {
            return Ok(ReceiptPlan::None);
        }
        let Some(address) = receipt_address(&case.checked, &case.form) else {
            return Ok(ReceiptPlan::Cancel(Reason::Undeliverable));
        };
        let lower = address.expose().to_lowercase();
        let parts: [&[u8]; 1] = [lower.as_bytes()];
        let digests = case
            .index
            .digests("receipt address", &parts)
            .into_iter()
            .map(|digest| digest.bytes)
            .collect();
        let sent = self.ledger.receipts_since(digests, case.now - RATE_WINDOW).await?;
        if sent >= RATE {
            return Ok(ReceiptPlan::Cancel(Reason::RateLimited));
        }
        Ok(ReceiptPlan::Send(
            address,
            case.index.digest("receipt address", &parts).bytes,
        ))
    }

    fn test_mail(&self, case: &Case<'_>) -> Option<EmailAddress> {
        let site = self.loaded.config.sites.get(&case.message.site)?;
        case.test.then(|| site.test_mail.clone()).flatten()
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
        decided: &Decided,
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
                let waits = case.message.encode(Some(decided.clone()));
                duties.push(sealer.with(duty, Purpose::Intake, &waits)?);
            }
            None => {}
        }
        match (receipt, composed.receipt) {
            (ReceiptPlan::Cancel(reason), _) => {
                duties.push(case.duty(DutyKind::Receipt, "receipt", DutyState::Cancelled, Some(*reason)));
                if *reason == Reason::Undeliverable && !case.late {
                    duties.push(self.notice_undeliverable(case, sealer.id).await?);
                }
            }
            (_, Some(parcel)) => duties.push(case.mail(DutyKind::Receipt, &parcel, sealer)?),
            _ => {}
        }
        case.other_duties(sealer, &mut duties)?;
        Ok(duties)
    }

    async fn notice_undeliverable(&self, case: &Case<'_>, id: SubmissionId) -> Result<NewDuty, Trouble> {
        let reference = case.reference(id);
        let notice = Notice::ReceiptUndeliverable { reference };
        let references = [message_id(&case.index, id, "department", &self.message_domain)];
        let test = self.test_mail(case);
        self.notices
            .duty(&case.form.department, &notice, &references, test.as_ref(), case.now)
            .await
            .map_err(Trouble::Internal)
    }

    /// A known submission is withdrawn: the department is told without content.
    async fn withdraw(
        &self,
        case: &Case<'_>,
        lineage: &Lineage,
        scope: (String, String, bool),
    ) -> Result<Fate, Trouble> {
        if case.was.is_some() {
            return self.counted(scope, Counter::Duplicates, lineage.latest, case.was).await;
        }
        let notice = match (&lineage.reference, case.late) {
            (Some(reference), false) => {
                let notice = Notice::Withdrawn {
                    reference: reference.clone(),
                };
                let references = self.references(case, lineage);
                let test = self.test_mail(case);
                let duty = self
                    .notices
                    .duty(&case.form.department, &notice, &references, test.as_ref(), case.now)
                    .await;
                Some(duty.map_err(Trouble::Internal)?)
            }
            _ => None,
        };
        let wakes: Vec<DutyId> = notice.iter().map(|duty| duty.id).collect();
        if self
            .ledger
            .withdraw(scope, lineage.ids.clone(), notice, case.now)
            .await?
        {
            self.link.wake(broker::MAIL_DUTIES, &wakes).await;
        }
        Ok(Fate::Counted(Counter::Duplicates))
    }
}
