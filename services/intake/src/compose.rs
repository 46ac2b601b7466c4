//! Composes both mails once, encrypts what must be encrypted, and says what is held instead.

use std::sync::Arc;
use std::time::Duration;

use domain::submission::Kept;
use domain::{DepartmentId, EmailAddress, Form, Reason, Submission, Words};
use jiff::Timestamp;
use letter::{DepartmentInput, LetterError, Letters, Parcel, ReceiptInput};
use openpgp::{Certificate, Sealing, SigningKey};
use tokio::time::timeout;
use vault::Index;
use worker::DepartmentState;

use crate::take::{Intake, Trouble};

/// How long one message may be composed: one whose mails are never done is put aside, and holds up no other.
const COMPOSING: Duration = Duration::from_mins(1);

/// The department's mails, or why they wait.
pub(crate) enum Department {
    /// Composed and encrypted.
    Mails(Vec<Parcel>),
    /// Waits for a certificate, or for a person.
    Held(Reason),
}

/// What composing needs, owned, so that it can go to a thread of the pool.
pub(crate) struct Job {
    pub(crate) submission: Submission,
    pub(crate) form: Arc<Form>,
    pub(crate) department: DepartmentId,
    pub(crate) references: Vec<String>,
    pub(crate) test_mail: Option<EmailAddress>,
    /// The submitter's address and, where one was given, certificate.
    pub(crate) receipt: Option<(EmailAddress, Option<Vec<u8>>)>,
    /// Whether the department is mailed at all.
    pub(crate) mails_department: bool,
}

/// What was composed.
pub(crate) struct Composed {
    pub(crate) department: Option<Department>,
    pub(crate) receipt: Option<Parcel>,
    /// The submitter gave a certificate that cannot be used: the receipt, which carries no answers, goes without.
    pub(crate) key_ignored: bool,
}

struct Desk {
    letters: Arc<Letters>,
    signer: Option<SigningKey>,
    recipients: DepartmentState,
    rfc9580: bool,
    name: Words,
    mail: EmailAddress,
    index: Arc<Index>,
    message_domain: String,
    max_bytes: usize,
    now: Timestamp,
}

impl Intake {
    /// Composes on a thread of the bounded pool: as many at once as there are cores.
    pub(crate) async fn compose(&self, job: Job, index: Arc<Index>, now: Timestamp) -> Result<Composed, Trouble> {
        let config = &self.loaded.config;
        let settings = config
            .departments
            .get(&job.department)
            .ok_or(Trouble::internal("no such department"))?;
        let desk = Desk {
            letters: Arc::clone(&self.letters),
            signer: self.signer.clone(),
            recipients: self.certificates.of(&job.department, now),
            rfc9580: settings.rfc9580,
            name: settings.name.clone(),
            mail: settings.mail.clone(),
            index,
            message_domain: self.message_domain.clone(),
            max_bytes: config.smtp.max_message_bytes,
            now,
        };
        let _turn = self
            .crypto
            .acquire()
            .await
            .map_err(|_| Trouble::internal("the pool is closed"))?;
        let composing = tokio::task::spawn_blocking(move || desk.compose(&job));
        timeout(COMPOSING, composing)
            .await
            .map_err(|_| Trouble::internal("composing did not end in time"))?
            .map_err(|_| Trouble::internal("composing panicked"))?
    }
}

/// A `Message-ID` without its brackets: the same for the same submission, version and role, for ever.
pub(crate) fn message_id(index: &Index, submission: domain::SubmissionId, role: &str, domain: &str) -> String {
    let name = index.name("message id", &[submission.0.as_bytes(), role.as_bytes()]);
    format!("{}@{domain}", hex::encode(&name[..16]))
}

impl Desk {
    fn compose(&self, job: &Job) -> Result<Composed, Trouble> {
        failpoint::poisoned(|| {
            let (submission, references) = (job.submission.clone(), Vec::new());
            Kept { submission, references }.encode()
        });
        let department = job.mails_department.then(|| self.department(job)).transpose()?;
        let (receipt, key_ignored) = match &job.receipt {
            Some((to, key)) => {
                // A test's mails are read by whoever tests, who has no citizen's key.
                let key = key.as_deref().filter(|_| job.test_mail.is_none());
                let own = self.own_certificate(key);
                let (receipt, sealed) = self.receipt(job, to, own.as_slice())?;
                (Some(receipt), key.is_some() && !sealed)
            }
            None => (None, false),
        };
        Ok(Composed {
            department,
            receipt,
            key_ignored,
        })
    }

    /// The submitter's own certificate, where it can be used.
    fn own_certificate(&self, key: Option<&[u8]>) -> Option<Certificate> {
        let own = Certificate::read(key?, None).ok()?;
        (own.state(self.now) == openpgp::CertificateState::Usable).then_some(own)
    }

    fn department(&self, job: &Job) -> Result<Department, Trouble> {
        let recipients = match &self.recipients {
            DepartmentState::Usable(recipients) => recipients,
            DepartmentState::Held(reason) => return Ok(Department::Held(*reason)),
        };
        let input = DepartmentInput {
            submission: &job.submission,
            form: &job.form,
            department: &self.name,
            to: job.test_mail.as_ref().unwrap_or(&self.mail),
            reply_to: &self.mail,
            message_id: &|role| message_id(&self.index, job.submission.id, role, &self.message_domain),
            references: &job.references,
        };
        match self
            .letters
            .department(&input, &self.sealing(recipients), self.max_bytes)
        {
            Ok(mails) => Ok(Department::Mails(mails)),
            Err(LetterError::TooLarge) => Ok(Department::Held(Reason::TooLarge)),
            Err(LetterError::Seal(openpgp::SealError::Certificate { state, .. })) => Ok(Department::Held(
                Option::<Reason>::from(state).unwrap_or(Reason::NoEncryptionKey),
            )),
            Err(error) => Err(Trouble::Internal(
                anyhow::Error::new(error).context("composing the department's mail"),
            )),
        }
    }

    /// The receipt, and whether it is encrypted to the submitter's own certificate.
    fn receipt(&self, job: &Job, to: &EmailAddress, own: &[Certificate]) -> Result<(Parcel, bool), Trouble> {
        // What the department's readers understand says nothing of the submitter's.
        let sealing = Sealing {
            rfc9580: false,
            ..self.sealing(own)
        };
        let make = |sealing| {
            self.letters.receipt(&ReceiptInput {
                submission: &job.submission,
                form: &job.form,
                department: &self.name,
                to: job.test_mail.as_ref().unwrap_or(to),
                message_id: &message_id(&self.index, job.submission.id, "receipt", &self.message_domain),
                date: job.submission.received_at,
                sealing,
            })
        };
        let made = match make((!own.is_empty()).then_some(&sealing)) {
            Err(LetterError::Seal(_)) => make(None).map(|receipt| (receipt, false)),
            made => made.map(|receipt| (receipt, !own.is_empty())),
        };
        made.map_err(|error| Trouble::Internal(anyhow::Error::new(error).context("composing the receipt")))
    }

    fn sealing<'a>(&'a self, recipients: &'a [Certificate]) -> Sealing<'a> {
        Sealing {
            recipients,
            signer: self.signer.as_ref(),
            rfc9580: self.rfc9580,
            now: self.now,
        }
    }
}
