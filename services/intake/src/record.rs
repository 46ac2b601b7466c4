//! From a checked message to the one transaction that records it: its version, its duties, its sealed payloads.

use std::sync::Arc;

use domain::form::{JournalWhen, JournalWord, Notify};
use domain::lineage::{Order, Verdict, judge};
use domain::{
    DutyId, DutyKind, DutyState, EmailAddress, Form, Kind, Language, Reason, Reference, Submission, SubmissionId, Value,
};
use jiff::{SignedDuration, Timestamp};
use ledger::{Counter, EventDates, Lineage, NewDuty, NewSubmission, Payload, Recorded};
use letter::{Notice, Parcel};
use vault::{DataKey, Index, Purpose};

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

/// A message that is ready to be recorded.
struct Case<'a> {
    message: &'a Message,
    headers: Headers,
    incoming: Incoming,
    checked: Checked,
    form: Arc<Form>,
    index: Arc<Index>,
    identity: Identity,
    event: Option<EventDates>,
    late: bool,
    test: bool,
    now: Timestamp,
    was: Option<SubmissionId>,
}

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
        let submission = case.submission(self.loaded.config.controller.language, lineage, version)?;
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
        let new = case.new_submission(
            &submission,
            duties,
            lineage,
            latest,
            &keys,
            &receipt,
            self.alarm_at(case),
        );
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

    fn alarm_at(&self, case: &Case<'_>) -> Timestamp {
        let after = case.form.alarm_after.as_deref().and_then(domain::form::parse_duration);
        case.message.received_at + after.unwrap_or(domain::form::DEFAULT_ALARM_AFTER)
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

/// What becomes of the receipt.
enum ReceiptPlan {
    /// The form sends none, or the first version's is enough.
    None,
    /// To this address, whose keyed digest counts it.
    Send(EmailAddress, Vec<u8>),
    /// Never.
    Cancel(Reason),
}

/// Seals payloads under the submission's own keys.
struct Sealer<'a> {
    id: SubmissionId,
    purposes: &'a [Purpose],
    keys: &'a [DataKey],
}

impl Sealer<'_> {
    fn with(&self, duty: NewDuty, purpose: Purpose, payload: &[u8]) -> Result<NewDuty, Trouble> {
        let key = self
            .purposes
            .iter()
            .zip(self.keys)
            .find(|(of, _)| **of == purpose)
            .map(|(_, key)| key);
        let key = key.ok_or(Trouble::internal("no key was made for a payload"))?;
        Ok(NewDuty {
            payload: Some(Payload {
                owner: self.id.0,
                purpose: purpose.as_str().to_owned(),
                sealed: key.seal(duty.id.0.as_bytes(), payload)?,
            }),
            ..duty
        })
    }
}

/// The duties that the mailer can do now.
fn wakes(duties: &[NewDuty]) -> Vec<DutyId> {
    let now = |duty: &&NewDuty| {
        duty.state == DutyState::Ready
            && matches!(
                duty.kind,
                DutyKind::DepartmentMail | DutyKind::Receipt | DutyKind::Notice
            )
    };
    duties.iter().filter(now).map(|duty| duty.id).collect()
}

impl Case<'_> {
    fn order(&self) -> Order {
        Order {
            sequence: self.headers.sequence,
            changed: self.incoming.envelope.changed,
        }
    }

    fn withdrawn(&self) -> bool {
        self.incoming.event == Some(Event::Withdrawn)
    }

    fn submission(&self, default: Language, lineage: &Lineage, version: u32) -> Result<Submission, Trouble> {
        let id = SubmissionId::new();
        let langcode = self.incoming.envelope.langcode.as_deref();
        Ok(Submission {
            reference: lineage.reference.clone().unwrap_or_else(|| self.reference(id)),
            site: self.message.site.clone(),
            form: self.form.id.clone(),
            version,
            received_at: self.message.received_at,
            language: langcode.and_then(Language::from_langcode).unwrap_or(default),
            answers: self.checked.answers.clone(),
            remarks: self.checked.remarks.clone(),
            changed: self.identity.changed_since(&self.index, lineage.fields.as_ref()),
            withdrawn: self.withdrawn(),
            late: self.late,
            test: self.test,
            id,
        })
    }

    /// What the citizen quotes: a keyed digest of a random id is as random as the id.
    fn reference(&self, id: SubmissionId) -> Reference {
        let name = self.index.name("reference", &[id.0.as_bytes()]);
        Reference::from_random(name[..5].try_into().expect("a digest has five bytes"))
    }

    fn mails_department(&self) -> bool {
        let each = self
            .form
            .event
            .as_ref()
            .is_some_and(|event| event.notify == Notify::Each);
        !self.late && (self.form.kind == Kind::Message || each)
    }

    fn receipt_key(&self) -> Option<Vec<u8>> {
        let field = self.form.receipt.as_ref()?.key.as_ref()?;
        match self.checked.answers.get(field)? {
            Value::Text(armored) => Some(armored.clone().into_bytes()),
            Value::File(file) => file.content.clone(),
            _ => None,
        }
    }

    fn is_registration(&self) -> bool {
        self.form.kind == Kind::Registration && !self.late && !self.withdrawn()
    }

    /// Whether and how the journal gets a copy of its own.
    fn journal(&self) -> Option<(DutyState, Option<Reason>)> {
        if self.test || self.late {
            return None;
        }
        match &self.form.journal.as_ref()?.when {
            JournalWhen::Word(JournalWord::Never) => None,
            JournalWhen::Word(JournalWord::Always) => Some((DutyState::Ready, None)),
            JournalWhen::Word(JournalWord::Marked) => Some((DutyState::Held, None)),
            JournalWhen::Field(condition) => {
                let given = match self.checked.answers.get(&condition.field)? {
                    Value::Text(text) | Value::Number(text) => text == &condition.equals,
                    Value::Boolean(yes) => {
                        condition.equals == if *yes { "true" } else { "false" }
                            || condition.equals == if *yes { "1" } else { "0" }
                    }
                    _ => false,
                };
                given.then_some((DutyState::Ready, None))
            }
        }
    }

    fn purposes(&self, composed: &Composed) -> Vec<Purpose> {
        let held = matches!(composed.department, Some(Department::Held(_)));
        let mut purposes = vec![Purpose::Mail];
        purposes.extend(held.then_some(Purpose::Intake));
        purposes.extend(self.is_registration().then_some(Purpose::Registration));
        purposes.extend(self.journal().map(|_| Purpose::Journal));
        purposes
    }

    fn duty(&self, kind: DutyKind, role: &str, state: DutyState, reason: Option<Reason>) -> NewDuty {
        NewDuty {
            id: DutyId::new(),
            kind,
            role: role.to_owned(),
            department: Some(self.form.department.clone()),
            state,
            reason,
            payload: None,
        }
    }

    fn mail(&self, kind: DutyKind, parcel: &Parcel, sealer: &Sealer<'_>) -> Result<NewDuty, Trouble> {
        sealer.with(
            self.duty(kind, &parcel.role, DutyState::Ready, None),
            Purpose::Mail,
            &parcel.encode(),
        )
    }

    fn other_duties(&self, sealer: &Sealer<'_>, duties: &mut Vec<NewDuty>) -> Result<(), Trouble> {
        if !self.checked.missing_content.is_empty() && !self.late {
            duties.push(self.duty(DutyKind::Files, "files", DutyState::Held, Some(Reason::FilesMissing)));
        }
        if self.is_registration() {
            let duty = self.duty(DutyKind::Extract, "extract", DutyState::Held, None);
            duties.push(sealer.with(duty, Purpose::Registration, &self.message.encode(None))?);
        }
        if let Some((state, reason)) = self.journal() {
            let duty = self.duty(DutyKind::Journal, "journal", state, reason);
            duties.push(sealer.with(duty, Purpose::Journal, &self.message.encode(None))?);
        }
        Ok(())
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "it is the one place where all that was found out comes together"
    )]
    fn new_submission(
        &self,
        submission: &Submission,
        duties: Vec<NewDuty>,
        lineage: &Lineage,
        latest: bool,
        keys: &[DataKey],
        receipt: &ReceiptPlan,
        alarm_at: Timestamp,
    ) -> NewSubmission {
        let envelope = &self.incoming.envelope;
        let uuid = self.headers.uuid.clone().or_else(|| envelope.uuid.clone());
        NewSubmission {
            id: submission.id,
            reference: submission.reference.clone(),
            site: submission.site.clone(),
            form: submission.form.clone(),
            kind: self.form.kind,
            department: self.form.department.clone(),
            version: submission.version,
            latest,
            late: self.late,
            test: self.test,
            received_at: submission.received_at,
            alarm_at,
            site_ids: [uuid, envelope.sid.clone(), envelope.serial.clone()],
            identity: Some(self.identity.current.bytes.clone()),
            identities: self.identity.sought.clone(),
            answers: self.identity.answers.bytes.clone(),
            fields: self.identity.fields(&self.index),
            epoch: self.identity.current.epoch,
            order: self.order(),
            known: lineage.known.len(),
            lock: self.identity.lock,
            event: self.event.clone(),
            duties,
            brings_files: self.checked.missing_content.is_empty(),
            mac: keys.first().map(|key| key.mac(&self.message.body)).unwrap_or_default(),
            receipt_address: match receipt {
                ReceiptPlan::Send(_, digest) => Some(digest.clone()),
                _ => None,
            },
            sequence: self.headers.sequence,
            was_quarantined: self.was,
        }
    }
}
