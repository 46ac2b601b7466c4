//! A message that is ready to be recorded, and what follows from it: its submission, its duties, its row.

use std::sync::Arc;

use domain::form::{JournalRule, JournalWhen, JournalWord, Notify};
use domain::lineage::Order;
use domain::submission::Kept;
use domain::{
    DutyId, DutyKind, DutyState, EmailAddress, Form, Kind, Language, Reason, Reference, Submission, SubmissionId, Value,
};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use ledger::{Arrival, EventSaid, Lineage, NewDuty, NewSubmission, Payload, ReceiptAddress};
use letter::Parcel;
use vault::{DataKey, Index, Purpose};

use crate::check::{Checked, receipt_address};
use crate::identity::{Identity, lock};
use crate::message::Message;
use crate::shapes::{Event, Headers, Incoming};
use crate::take::Trouble;

/// A message that is ready to be recorded.
pub(crate) struct Case<'a> {
    pub(crate) message: &'a Message,
    pub(crate) headers: Headers,
    pub(crate) incoming: Incoming,
    pub(crate) checked: Checked,
    pub(crate) form: Arc<Form>,
    pub(crate) arrival: Arrival,
    pub(crate) index: Arc<Index>,
    pub(crate) identity: Identity,
    pub(crate) event: Option<EventSaid>,
    pub(crate) late: bool,
    pub(crate) now: Timestamp,
}

/// What becomes of the receipt.
pub(crate) enum ReceiptPlan {
    /// The form sends none, or the first version's is enough.
    None,
    /// To this address, counted against its limit.
    Send(EmailAddress, ReceiptAddress),
    /// Never.
    Cancel(Reason),
}

/// Seals payloads under the submission's own keys.
pub(crate) struct Sealer<'a> {
    pub(crate) id: SubmissionId,
    pub(crate) purposes: &'a [Purpose],
    pub(crate) keys: &'a [DataKey],
}

impl Sealer<'_> {
    pub(crate) fn with(&self, duty: NewDuty, purpose: Purpose, payload: &[u8]) -> Result<NewDuty, Trouble> {
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
pub(crate) fn wakes(duties: &[NewDuty]) -> Vec<DutyId> {
    let now = |duty: &&NewDuty| {
        duty.state == DutyState::Ready
            && matches!(
                duty.kind,
                DutyKind::DepartmentMail | DutyKind::Receipt | DutyKind::Notice
            )
    };
    duties.iter().filter(now).map(|duty| duty.id).collect()
}

/// How many receipts go to one address within [`RATE_WINDOW`], so that a form cannot be used to flood a mailbox.
const RATE: i64 = 10;
const RATE_WINDOW: SignedDuration = SignedDuration::from_hours(1);

impl Case<'_> {
    pub(crate) fn order(&self) -> Order {
        Order {
            sequence: self.headers.sequence,
            changed: self.incoming.envelope.changed,
        }
    }

    pub(crate) fn alarm_at(&self) -> Timestamp {
        let after = self.form.alarm_after.as_deref().and_then(domain::form::parse_duration);
        self.message.received_at + after.unwrap_or(domain::form::DEFAULT_ALARM_AFTER)
    }

    /// Whether the content of its files came with it, of every one that it names.
    pub(crate) fn brings_files(&self) -> bool {
        let files = self.checked.answers.files();
        self.checked.missing_content.is_empty() && files.iter().any(|file| file.content.is_some())
    }

    pub(crate) fn withdrawn(&self) -> bool {
        self.incoming.event == Some(Event::Withdrawn)
    }

    pub(crate) fn submission(&self, default: Language, lineage: &Lineage, version: u32) -> Submission {
        let id = SubmissionId::new();
        let langcode = self.incoming.envelope.langcode.as_deref();
        Submission {
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
            test: self.arrival.test,
            id,
        }
    }

    /// What the citizen quotes: a keyed digest of a random id is as random as the id.
    pub(crate) fn reference(&self, id: SubmissionId) -> Reference {
        let name = self.index.name("reference", &[id.0.as_bytes()]);
        Reference::from_random(name[..5].try_into().expect("a digest has five bytes"))
    }

    pub(crate) fn mails_department(&self) -> bool {
        let each = self
            .form
            .event
            .as_ref()
            .is_some_and(|event| event.notify == Notify::Each);
        !self.late && (self.form.kind == Kind::Message || each)
    }

    /// Where a receipt goes, and what limits how many; `None` where the form has none, or nobody can be written to.
    pub(crate) fn receipt_address(&self) -> Option<(EmailAddress, ReceiptAddress)> {
        self.form.receipt.as_ref()?;
        let address = receipt_address(&self.checked, &self.form)?;
        let lower = address.expose().to_lowercase();
        let parts: [&[u8]; 1] = [lower.as_bytes()];
        let digests = self.index.digests("receipt address", &parts);
        let limit = ReceiptAddress {
            digest: self.index.digest("receipt address", &parts).bytes,
            digests: digests.into_iter().map(|digest| digest.bytes).collect(),
            lock: lock(&self.index, "receipt address", &parts),
            since: self.now - RATE_WINDOW,
            most: RATE,
        };
        Some((address, limit))
    }

    /// What becomes of the receipt, where its address has had so many.
    pub(crate) fn receipt_plan(
        &self,
        lineage: &Lineage,
        address: Option<&(EmailAddress, ReceiptAddress)>,
        had: i64,
    ) -> ReceiptPlan {
        if self.form.receipt.is_none() || lineage.has_receipt {
            return ReceiptPlan::None;
        }
        match address {
            None => ReceiptPlan::Cancel(Reason::Undeliverable),
            Some((_, limit)) if had >= limit.most => ReceiptPlan::Cancel(Reason::RateLimited),
            Some((address, limit)) => ReceiptPlan::Send(address.clone(), limit.clone()),
        }
    }

    pub(crate) fn receipt_key(&self) -> Option<Vec<u8>> {
        let field = self.form.receipt.as_ref()?.key.as_ref()?;
        match self.checked.answers.get(field)? {
            Value::Text(armored) => Some(armored.clone().into_bytes()),
            Value::File(file) => file.content.as_deref().map(<[u8]>::to_vec),
            _ => None,
        }
    }

    pub(crate) fn is_registration(&self) -> bool {
        self.form.kind == Kind::Registration && !self.late && !self.withdrawn()
    }

    /// Whether and how the journal gets a copy of its own (J1): held where a person must mark it first.
    pub(crate) fn journal(&self) -> Option<DutyState> {
        if self.arrival.test || self.late {
            return None;
        }
        match &self.form.journal.as_ref()?.when {
            JournalWhen::Word(JournalWord::Never) => None,
            JournalWhen::Word(JournalWord::Always) => Some(DutyState::Ready),
            JournalWhen::Word(JournalWord::Marked) => Some(DutyState::Held),
            JournalWhen::Field(condition) => {
                let given = match self.checked.answers.get(&condition.field)? {
                    Value::Text(text) | Value::Number(text) => text == &condition.equals,
                    Value::Boolean(yes) => {
                        condition.equals == if *yes { "true" } else { "false" }
                            || condition.equals == if *yes { "1" } else { "0" }
                    }
                    _ => false,
                };
                given.then_some(DutyState::Ready)
            }
        }
    }

    /// What its payloads are sealed for, whatever its mails come to.
    pub(crate) fn purposes(&self) -> Vec<Purpose> {
        let mut purposes = vec![Purpose::Mail];
        purposes.extend(self.is_registration().then_some(Purpose::Registration));
        purposes.extend(self.journal().map(|_| Purpose::Journal));
        purposes
    }

    pub(crate) fn duty(&self, kind: DutyKind, role: &str, state: DutyState, reason: Option<Reason>) -> NewDuty {
        NewDuty {
            id: DutyId::new(),
            kind,
            role: role.to_owned(),
            department: Some(self.form.department.clone()),
            state,
            reason,
            payload: None,
            expires_at: None,
        }
    }

    pub(crate) fn mail(&self, kind: DutyKind, parcel: &Parcel, sealer: &Sealer<'_>) -> Result<NewDuty, Trouble> {
        sealer.with(
            self.duty(kind, &parcel.role, DutyState::Ready, None),
            Purpose::Mail,
            &parcel.encode(),
        )
    }

    pub(crate) fn other_duties(
        &self,
        sealer: &Sealer<'_>,
        kept: &Kept,
        duties: &mut Vec<NewDuty>,
    ) -> Result<(), Trouble> {
        if !self.checked.missing_content.is_empty() && !self.late {
            duties.push(self.duty(DutyKind::Files, "files", DutyState::Held, Some(Reason::FilesMissing)));
        }
        if self.is_registration() {
            let duty = self.duty(DutyKind::Extract, "extract", DutyState::Held, None);
            duties.push(sealer.with(duty, Purpose::Registration, &kept.encode())?);
        }
        self.journal_duties(sealer, kept, duties)
    }

    /// A duty for each journal that the form names, with a copy of its own; the role says which (J4).
    fn journal_duties(&self, sealer: &Sealer<'_>, kept: &Kept, duties: &mut Vec<NewDuty>) -> Result<(), Trouble> {
        let (Some(state), Some(rule)) = (self.journal(), &self.form.journal) else {
            return Ok(());
        };
        let copy = kept.encode();
        for target in rule.targets() {
            let duty = NewDuty {
                expires_at: self.unmarked_until(state, rule),
                ..self.duty(DutyKind::Journal, target, state, None)
            };
            duties.push(sealer.with(duty, Purpose::Journal, &copy)?);
        }
        Ok(())
    }

    /// How long a copy waits to be marked, by the calendar in UTC.
    fn unmarked_until(&self, state: DutyState, rule: &JournalRule) -> Option<Timestamp> {
        let wait = rule.wait.as_deref().and_then(domain::form::parse_period)?;
        let received = self.message.received_at.to_zoned(TimeZone::UTC);
        let until = received.checked_add(wait).ok()?.timestamp();
        (state == DutyState::Held).then_some(until)
    }

    pub(crate) fn new_submission(
        &self,
        submission: &Submission,
        duties: Vec<NewDuty>,
        lineage: &Lineage,
        latest: bool,
        keys: &[DataKey],
        receipt: ReceiptPlan,
    ) -> NewSubmission {
        NewSubmission {
            id: submission.id,
            reference: submission.reference.clone(),
            arrival: self.arrival.clone(),
            kind: self.form.kind,
            department: self.form.department.clone(),
            version: submission.version,
            latest,
            // What is not kept for its event goes as a message does.
            late: self.late || (self.form.kind == Kind::Registration && self.withdrawn()),
            received_at: submission.received_at,
            alarm_at: self.alarm_at(),
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
            brings_files: self.brings_files(),
            notes: Vec::new(),
            mac: keys.first().map(|key| key.mac(&self.message.body)).unwrap_or_default(),
            receipt: match receipt {
                ReceiptPlan::Send(_, limit) => Some(limit),
                ReceiptPlan::None | ReceiptPlan::Cancel(_) => None,
            },
        }
    }
}
