//! Schedule `extract`: at an event's deadline its registrations go to the department, as an encrypted list; what comes
//! later and was sent in time goes as a supplement (E2). A list counts when it is confirmed.

use std::sync::Arc;

use anyhow::Context as _;
use domain::form::Confirm;
use domain::submission::Kept;
use domain::{DepartmentId, DutyId, DutyKind, DutyState, EmailAddress, Form, Reference, Submission};
use jiff::Timestamp;
use ledger::{EventRow, NewDuty, NewExtract, Payload, Registered};
use letter::{ExtractInput, ExtractPurpose, LetterError, Parcel};
use openpgp::{Certificate, Sealing};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vault::{Code, Purpose};
use worker::DepartmentState;

use crate::Scheduler;

/// The most registrations in one list.
const MOST: usize = 5_000;

/// A list to be made.
pub(crate) struct List {
    pub(crate) event: EventRow,
    pub(crate) form: Arc<Form>,
    pub(crate) department: DepartmentId,
    pub(crate) purpose: ExtractPurpose,
    /// `code`, `mail`, or `none` where it confirms nothing.
    pub(crate) confirm: &'static str,
    pub(crate) supplement: bool,
    pub(crate) test: bool,
}

/// What stands in a list.
#[derive(Default)]
pub(crate) struct Content {
    pub(crate) registrations: Vec<Submission>,
    pub(crate) addresses: Vec<(Reference, EmailAddress)>,
}

/// What became of making a list.
pub(crate) enum Made {
    /// So many mails are on their way.
    Mails(usize),
    /// The department cannot be written to.
    Held(domain::Reason),
}

pub(crate) async fn run(scheduler: &Scheduler, shutdown: &CancellationToken) -> anyhow::Result<String> {
    let now = scheduler.clock.now();
    scheduler.certificates.refresh(&scheduler.ledger).await?;
    let (mut made, mut failed) = (0, 0);
    for (event, _) in scheduler.ledger.to_extract(now).await? {
        if shutdown.is_cancelled() {
            break;
        }
        match scheduler.extract(&event, now).await {
            Ok(lists) => made += lists,
            Err(error) => {
                failed += 1;
                tracing::error!(
                    event,
                    error = format!("{error:#}"),
                    "an event's registrations could not be extracted; trying again"
                );
            }
        }
    }
    metrics::gauge!("kvit_extracts_failed").set(f64::from(failed));
    let followed = crate::follow::run(scheduler, now).await?;
    Ok(match failed {
        0 => format!("{made} lists on their way, {followed}"),
        count => format!("{made} lists on their way, {count} events could not be extracted, {followed}"),
    })
}

impl Scheduler {
    /// Extracts what no list covers, tests apart. Answers how many lists are on their way.
    async fn extract(&self, id: &str, now: Timestamp) -> anyhow::Result<usize> {
        let event = self.ledger.event(id.to_owned()).await?.context("the event is gone")?;
        let form = self.form_of(&event)?;
        let waiting = self.ledger.registered(id.to_owned(), true).await?;
        let before = self.ledger.extracts(Some(id.to_owned())).await?;
        let confirm = match form.event.as_ref().map(|rule| rule.confirm).unwrap_or_default() {
            Confirm::Code => "code",
            Confirm::Mail => "mail",
        };
        let mut mails = 0;
        for test in [false, true] {
            let those: Vec<Registered> = waiting.iter().filter(|one| one.test == test).cloned().collect();
            if those.is_empty() {
                continue;
            }
            let list = List {
                event: event.clone(),
                form: Arc::clone(&form),
                department: form.department.clone(),
                purpose: ExtractPurpose::Extract,
                confirm,
                supplement: before.iter().any(|one| one.test == test && one.confirm != "none"),
                test,
            };
            match self.make(&list, &those, Vec::new(), now).await? {
                Made::Mails(count) => mails += count,
                Made::Held(reason) => anyhow::bail!(
                    "department {} cannot be written to ({reason}): see kvit key list",
                    list.department
                ),
            }
        }
        Ok(mails)
    }

    /// The form of an event as it is configured now.
    pub(crate) fn form_of(&self, event: &EventRow) -> anyhow::Result<Arc<Form>> {
        let (site, form) = (event.site.parse()?, event.form.parse()?);
        let found = self.loaded.forms.get(&site, &form).cloned();
        found.with_context(|| format!("form {form} of site {site} is not configured any more"))
    }

    /// Opens registrations and puts them on their way, in as many mails as they need.
    pub(crate) async fn make(
        &self,
        list: &List,
        registered: &[Registered],
        mut addresses: Vec<(Reference, EmailAddress)>,
        now: Timestamp,
    ) -> anyhow::Result<Made> {
        let recipients = match self.certificates.of(&list.department, now) {
            DepartmentState::Usable(recipients) => recipients,
            DepartmentState::Held(reason) => return Ok(Made::Held(reason)),
        };
        let most_bytes = self.loaded.config.smtp.max_message_bytes / 4;
        let (mut batch, mut bytes, mut mails) = (Vec::new(), 0, 0);
        for one in registered {
            let Some((submission, size)) = self.registration(one).await? else {
                tracing::error!(submission.id = %one.id, "a registration cannot be opened: its payload or key is gone");
                continue;
            };
            if !batch.is_empty() && (bytes + size > most_bytes || batch.len() >= MOST) {
                let content = Content {
                    registrations: std::mem::take(&mut batch),
                    addresses: std::mem::take(&mut addresses),
                };
                mails += self.send(list, content, &recipients, now).await?;
                bytes = 0;
            }
            bytes += size;
            batch.push(submission);
        }
        if !batch.is_empty() || !addresses.is_empty() || (mails == 0 && list.confirm == "none") {
            let content = Content {
                registrations: batch,
                addresses,
            };
            mails += self.send(list, content, &recipients, now).await?;
        }
        Ok(Made::Mails(mails))
    }

    async fn registration(&self, one: &Registered) -> anyhow::Result<Option<(Submission, usize)>> {
        let Some(payload) = self.ledger.payload(one.duty).await? else {
            return Ok(None);
        };
        let Some(key) = self.vault.key(payload.owner, Purpose::Registration).await? else {
            return Ok(None);
        };
        let opened = key.open(one.duty.0.as_bytes(), &payload.sealed)?;
        Ok(Kept::decode(&opened).map(|kept| (kept.submission, opened.len())))
    }

    /// Composes and records; what is too large for one mail becomes two of half as many registrations.
    async fn send(
        &self,
        list: &List,
        content: Content,
        recipients: &[Certificate],
        now: Timestamp,
    ) -> anyhow::Result<usize> {
        let (mut stack, mut mails) = (vec![content], 0);
        while let Some(content) = stack.pop() {
            let (id, code) = (Uuid::now_v7(), Code::random()?);
            let code = (list.confirm == "code").then_some(code);
            match self
                .compose(list, content, recipients, (id, code.as_ref()), now)
                .await?
            {
                (Ok(parcel), content) => {
                    let digest = code.as_ref().map(|code| code.digest(&id.to_string()));
                    mails += usize::from(self.record(list, &content, &parcel, (id, digest), now).await?);
                }
                (Err(LetterError::TooLarge), mut content) if content.registrations.len() > 1 => {
                    let half = content.registrations.len() / 2;
                    let registrations = content.registrations.split_off(half);
                    stack.push(Content {
                        registrations,
                        addresses: Vec::new(),
                    });
                    stack.push(content);
                }
                (Err(LetterError::TooLarge), content) => {
                    for submission in &content.registrations {
                        tracing::error!(submission.id = %submission.id, "a registration alone is larger than the relay takes: smtp.max_message_bytes");
                    }
                }
                (Err(error), _) => return Err(anyhow::Error::new(error).context("composing a list")),
            }
        }
        Ok(mails)
    }

    /// Composes on a thread of its own; gives back what it was made from.
    async fn compose(
        &self,
        list: &List,
        content: Content,
        recipients: &[Certificate],
        (id, code): (Uuid, Option<&Code>),
        now: Timestamp,
    ) -> anyhow::Result<(Result<Parcel, LetterError>, Content)> {
        let settings = self.loaded.config.departments.get(&list.department);
        let settings = settings.with_context(|| format!("no department {} is configured", list.department))?;
        let (name, reply_to, rfc9580) = (settings.name.clone(), settings.mail.clone(), settings.rfc9580);
        let to = if list.test {
            self.test_mail(&list.event)?
        } else {
            reply_to.clone()
        };
        let (letters, signer, recipients) = (Arc::clone(&self.letters), self.signer.clone(), recipients.to_vec());
        let max_bytes = self.loaded.config.smtp.max_message_bytes;
        let message_id = format!("extract.{}@{}", id.simple(), self.message_domain);
        let (form, event, code) = (
            Arc::clone(&list.form),
            list.event.clone(),
            code.map(ToString::to_string),
        );
        let (purpose, supplement, test) = (list.purpose, list.supplement, list.test);
        let composed = tokio::task::spawn_blocking(move || {
            let input = ExtractInput {
                purpose,
                form: &form,
                event: event.tag.as_deref().unwrap_or_default(),
                department: &name,
                to: &to,
                reply_to: &reply_to,
                message_id: &message_id,
                code: code.as_deref(),
                supplement,
                deadline: event.deadline,
                held: event.held,
                registrations: &content.registrations,
                addresses: &content.addresses,
                test,
            };
            let sealing = Sealing {
                recipients: &recipients,
                signer: signer.as_ref(),
                rfc9580,
                now,
            };
            (letters.extract(&input, &sealing, max_bytes), content)
        });
        composed.await.context("composing a list panicked")
    }

    /// Where a test's mails go instead.
    pub(crate) fn test_mail(&self, event: &EventRow) -> anyhow::Result<EmailAddress> {
        let site = self.loaded.config.sites.get(&event.site.parse::<domain::SiteId>()?);
        let address = site.and_then(|site| site.test_mail.clone());
        address.with_context(|| format!("site {} has no test_mail", event.site))
    }

    /// Records a list with its mail, under a data key of its own, and with what is kept of its registrations later.
    async fn record(
        &self,
        list: &List,
        content: &Content,
        parcel: &Parcel,
        (id, code): (Uuid, Option<Vec<u8>>),
        now: Timestamp,
    ) -> anyhow::Result<bool> {
        let duty = DutyId::new();
        let keys = self.vault.create(duty.0, &[Purpose::Mail], now).await?;
        failpoint::reached("scheduler.extract_key_committed").await;
        let key = keys.first().context("the vault made no key")?;
        let mail = NewDuty {
            id: duty,
            kind: DutyKind::Notice,
            role: "extract".to_owned(),
            department: Some(list.department.clone()),
            state: DutyState::Ready,
            reason: None,
            expires_at: None,
            payload: Some(Payload {
                owner: duty.0,
                purpose: Purpose::Mail.as_str().to_owned(),
                sealed: key.seal(duty.0.as_bytes(), &parcel.encode())?,
            }),
        };
        let counts = list.confirm != "none";
        let new = NewExtract {
            id,
            event: list.event.id.clone(),
            department: list.department.clone(),
            test: list.test,
            confirm: list.confirm,
            code,
            mail,
            covers: content.registrations.iter().map(|one| one.id).collect(),
            kept: if counts {
                self.keep(&list.form, &content.registrations, now).await?
            } else {
                Vec::new()
            },
            alone: counts && list.purpose == ExtractPurpose::Extract,
        };
        // Keys of what was not recorded are swept as orphans.
        let recorded = self.ledger.record_extract(new, now).await?;
        failpoint::reached("scheduler.extract_recorded").await;
        if recorded {
            self.link.wake(broker::MAIL_DUTIES, &[duty]).await;
        }
        Ok(recorded)
    }
}
