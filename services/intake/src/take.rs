//! The story of one message: open, read, check, judge, compose, record; and what becomes of one that cannot be taken.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use broker::{Delivery, Link, Verdict};
use domain::quarantine::QuarantineReason;
use domain::{DepartmentId, FormId, SubmissionId};
use futures::FutureExt as _;
use ledger::{Counter, Ledger, NewQuarantined, WorkerId};
use letter::Letters;
use openpgp::{SigningKey, UnsealKey};
use runtime::config::Site;
use runtime::{Clock, Loaded};
use store::StoreError;
use tokio::sync::{RwLock, Semaphore};
use vault::{Purpose, Vault, VaultError};
use worker::{Certificates, Notices};

use crate::check::check;
use crate::message::Message;
use crate::shapes::{self, Event, Headers, Incoming, Limits, Refusal, SiteRules};

/// How often a message that came alone may end this process before it is put aside unparsed.
const ALONE: i64 = 3;

/// What intake works with.
pub(crate) struct Intake {
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) ledger: Ledger,
    pub(crate) vault: Vault,
    pub(crate) letters: Arc<Letters>,
    pub(crate) notices: Notices,
    pub(crate) certificates: Certificates,
    pub(crate) signer: Option<SigningKey>,
    pub(crate) unseal: Option<UnsealKey>,
    pub(crate) link: Link,
    pub(crate) worker: WorkerId,
    pub(crate) clock: Clock,
    pub(crate) message_domain: String,
    /// How much public-key work is done at once.
    pub(crate) crypto: Arc<Semaphore>,
    /// Held for writing by a message that came back uncounted times: it is taken alone.
    pub(crate) alone: RwLock<()>,
}

/// Why a message was not recorded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// A store is away: the message waits.
    #[error("using the ledger")]
    Ledger(#[from] StoreError),
    /// The key store is away, or a key is missing.
    #[error("using the vault")]
    Vault(#[from] VaultError),
    /// A fault of ours.
    #[error("taking the message")]
    Internal(#[source] anyhow::Error),
}

impl Trouble {
    pub(crate) fn internal(what: &'static str) -> Self {
        Self::Internal(anyhow::anyhow!(what))
    }

    /// Whether the message can be expected to be taken later without anybody changing the program.
    fn is_transient(&self) -> bool {
        match self {
            Self::Ledger(error) => error.is_transient(),
            // A missing or wrong key is the operator's to mend, and the message must wait for that.
            Self::Vault(_) => true,
            Self::Internal(_) => false,
        }
    }
}

/// What a message came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// A submission.
    Accepted(SubmissionId),
    /// Counted and forgotten.
    Counted(Counter),
    /// Not to be taken.
    Refused(Refusal),
}

impl Intake {
    /// Takes a delivery. While a store is away, the broker's link holds the message and gives it here again.
    pub(crate) async fn take(&self, delivery: Delivery) -> Verdict {
        let came_back = delivery.delivery_count > 0;
        let Some(message) = Message::from_delivery(delivery, self.clock.now()) else {
            return Verdict::Requeue;
        };
        let taken = if came_back {
            self.take_alone(&message).await
        } else {
            self.take_among_others(&message).await
        };
        match taken {
            Ok(()) => Verdict::Ack,
            Err(trouble) => {
                let error: &dyn std::error::Error = &trouble;
                let cause = error.source().map(ToString::to_string);
                tracing::warn!(site = %message.site, error = %trouble, cause, "a message waits; trying again");
                Verdict::Requeue
            }
        }
    }

    async fn take_among_others(&self, message: &Message) -> Result<(), Trouble> {
        let _others = self.alone.read().await;
        self.taken(message).await
    }

    /// A message that an earlier process did not finish: taken alone, so that if it ends this one too, no other message
    /// is suspected; and after it has done so several times, put aside unparsed.
    async fn take_alone(&self, message: &Message) -> Result<(), Trouble> {
        let _nobody_else = self.alone.write().await;
        let now = self.clock.now();
        let body = self.vault.index(now).await?.digest("alone", &[&message.body]).bytes;
        if self.ledger.came_alone(body.clone(), now).await? > ALONE {
            tracing::error!(site = %message.site, "a message has ended this service several times: put aside unparsed");
            self.put_aside(message, &refusal(QuarantineReason::Internal, None))
                .await?;
        } else if let Err(trouble) = self.taken(message).await {
            // A store that is away ended nothing: only a process that died here leaves the count behind.
            self.ledger.finished_alone(body).await?;
            return Err(trouble);
        }
        Ok(self.ledger.finished_alone(body).await?)
    }

    async fn taken(&self, message: &Message) -> Result<(), Trouble> {
        match self.guarded(message, None).await? {
            Fate::Refused(refusal) => self.put_aside(message, &refusal).await,
            Fate::Accepted(_) | Fate::Counted(_) => Ok(()),
        }
    }

    /// Processes a message; a panic is a fault of ours in this message alone.
    pub(crate) async fn guarded(&self, message: &Message, was: Option<SubmissionId>) -> Result<Fate, Trouble> {
        let outcome = AssertUnwindSafe(self.process(message, was)).catch_unwind().await;
        let outcome = outcome.unwrap_or(Err(Trouble::internal("the message made intake panic")));
        match outcome {
            Err(trouble) if !trouble.is_transient() => {
                let error: &dyn std::error::Error = &trouble;
                let cause = error.source().map(ToString::to_string);
                tracing::error!(site = %message.site, error = %trouble, cause, "a message is put aside: a fault of ours");
                Ok(Fate::Refused(refusal(QuarantineReason::Internal, None)))
            }
            outcome => outcome,
        }
    }

    async fn process(&self, message: &Message, was: Option<SubmissionId>) -> Result<Fate, Trouble> {
        let Some(site) = self.loaded.config.sites.get(&message.site) else {
            return Ok(Fate::Refused(refusal(QuarantineReason::Internal, None)));
        };
        if message.dead && was.is_none() {
            return Ok(Fate::Refused(refusal(QuarantineReason::Internal, None)));
        }
        let headers = message.headers();
        let body = match self.open(message, site).await? {
            Ok(body) => body,
            Err(reason) => return Ok(Fate::Refused(refusal(reason, headers.form.as_deref()))),
        };
        let incoming = match self.read(message, &headers, &body, site) {
            Ok(incoming) => incoming,
            Err(refusal) => return Ok(Fate::Refused(refusal)),
        };
        self.judge(message, headers, incoming, site, was).await
    }

    /// The message's content, unsealed where it is sealed.
    async fn open(&self, message: &Message, site: &Site) -> Result<Result<Vec<u8>, QuarantineReason>, Trouble> {
        let limit = self.loaded.config.intake.max_message_bytes;
        if message.body.len() > limit {
            return Ok(Err(QuarantineReason::TooLarge));
        }
        if !message.is_sealed() {
            let refused = site.require_sealed;
            return Ok(if refused {
                Err(QuarantineReason::NotSealed)
            } else {
                Ok(message.body.clone())
            });
        }
        let Some(key) = self.unseal.clone() else {
            return Ok(Err(QuarantineReason::Undecryptable));
        };
        let sealed = message.body.clone();
        let _turn = self
            .crypto
            .acquire()
            .await
            .map_err(|_| Trouble::internal("the pool is closed"))?;
        let opened = tokio::task::spawn_blocking(move || key.open(&sealed, limit))
            .await
            .map_err(|_| Trouble::internal("unsealing panicked"))?;
        Ok(opened.map_err(|_| QuarantineReason::Undecryptable))
    }

    pub(crate) fn read(
        &self,
        message: &Message,
        headers: &Headers,
        body: &[u8],
        site: &Site,
    ) -> Result<Incoming, Refusal> {
        let limits = Limits {
            max_bytes: self.loaded.config.intake.max_message_bytes,
        };
        let rules = SiteRules {
            custom_data: &site.custom_data,
        };
        let forms = &self.loaded.forms;
        shapes::read(body, headers, &limits, &rules, &|form| {
            forms.get(&message.site, form).cloned()
        })
    }

    /// The content and reading of a message that was kept.
    pub(crate) async fn reopen(&self, message: &Message) -> Result<Result<Incoming, Refusal>, Trouble> {
        let Some(site) = self.loaded.config.sites.get(&message.site) else {
            return Ok(Err(refusal(QuarantineReason::Internal, None)));
        };
        let headers = message.headers();
        Ok(match self.open(message, site).await? {
            Ok(body) => self.read(message, &headers, &body, site),
            Err(reason) => Err(refusal(reason, headers.form.as_deref())),
        })
    }

    async fn judge(
        &self,
        message: &Message,
        headers: Headers,
        incoming: Incoming,
        site: &Site,
        was: Option<SubmissionId>,
    ) -> Result<Fate, Trouble> {
        let Some(form) = self.loaded.forms.get(&message.site, &incoming.form).cloned() else {
            return Ok(Fate::Refused(refusal(
                QuarantineReason::UnknownForm,
                Some(incoming.form.as_str()),
            )));
        };
        let test = is_test(site, &headers);
        let scope = (message.site.to_string(), form.id.to_string(), test);
        if incoming.is_draft() {
            return self.counted(scope, Counter::Drafts, None, was).await;
        }
        if incoming.event == Some(Event::Deleted) {
            return self.site_deleted(message, &headers, &incoming, scope, was).await;
        }
        let unknown = form.unknown_fields.unwrap_or(site.unknown_fields);
        let checked = match check(&incoming, &form, unknown) {
            Ok(checked) => checked,
            Err(refusal) => return Ok(Fate::Refused(refusal)),
        };
        if checked.drift {
            metrics::counter!("kvit_form_drift_total", "site" => scope.0.clone(), "form" => scope.1.clone())
                .increment(1);
            tracing::warn!(site = %message.site, form = %form.id, "form drift: a message has fields that its form does not declare");
            self.ledger.count_drift(scope.clone()).await?;
        }
        self.record(message, headers, incoming, checked, form, (scope, was))
            .await
    }

    /// Counts a message that changes nothing.
    pub(crate) async fn counted(
        &self,
        scope: (String, String, bool),
        counter: Counter,
        of: Option<SubmissionId>,
        was: Option<SubmissionId>,
    ) -> Result<Fate, Trouble> {
        let now = self.clock.now();
        match was {
            Some(id) => self.ledger.quarantined_was(id, counter, now).await?,
            None => self.ledger.count(counter, scope, of, now).await?,
        }
        Ok(Fate::Counted(counter))
    }

    /// The site's own copy is gone; nothing is cancelled by that.
    async fn site_deleted(
        &self,
        message: &Message,
        headers: &Headers,
        incoming: &Incoming,
        scope: (String, String, bool),
        was: Option<SubmissionId>,
    ) -> Result<Fate, Trouble> {
        let now = self.clock.now();
        let index = self.vault.index(now).await?;
        let ids = match headers.uuid.as_ref().or(incoming.envelope.uuid.as_ref()) {
            Some(uuid) => {
                let sought = crate::identity::of_uuid(&index, &message.site, uuid);
                self.ledger.lineage(sought, Vec::new()).await?.ids
            }
            None => Vec::new(),
        };
        if was.is_some() {
            return self.counted(scope, Counter::Duplicates, None, was).await;
        }
        self.ledger.site_copy_gone(scope, ids, now).await?;
        Ok(Fate::Counted(Counter::Duplicates))
    }

    /// Puts a message aside, sealed under a key of its own.
    async fn put_aside(&self, message: &Message, refusal: &Refusal) -> Result<(), Trouble> {
        let now = self.clock.now();
        let id = SubmissionId::new();
        let index = self.vault.index(now).await?;
        let parts: [&[u8]; 2] = [message.site.as_str().as_bytes(), &message.body];
        let body = index.digest("quarantined", &parts);
        let keys = self.vault.create(id.0, &[Purpose::Intake], now).await?;
        let key = keys.first().ok_or(Trouble::internal("the vault made no key"))?;
        let headers = message.headers();
        let site = self.loaded.config.sites.get(&message.site);
        let form: Option<FormId> = refusal.form.clone();
        let known = form
            .as_ref()
            .and_then(|form| self.loaded.forms.get(&message.site, form));
        let department: Option<DepartmentId> = known.map(|form| form.department.clone());
        let new = NewQuarantined {
            id,
            site: message.site.clone(),
            form: known.map(|form| form.id.clone()),
            department,
            test: site.is_some_and(|site| is_test(site, &headers)),
            reason: refusal.reason,
            bytes: message.body.len(),
            received_at: message.received_at,
            body: body.bytes,
            bodies: index
                .digests("quarantined", &parts)
                .into_iter()
                .map(|digest| digest.bytes)
                .collect(),
            epoch: body.epoch,
            redelivered: message.redelivered,
            sealed: key.seal(id.0.as_bytes(), &message.encode(None))?,
        };
        if self.ledger.quarantine(new).await? {
            metrics::counter!("kvit_quarantined_total", "reason" => refusal.reason.as_str()).increment(1);
            tracing::warn!(quarantine.id = %id, site = %message.site, reason = %refusal.reason, "a message is put aside: kvit quarantine list");
        } else {
            // A redelivery of one that was put aside: its new key came to no use.
            self.vault.destroy(vec![id.0]).await?;
        }
        Ok(())
    }
}

/// A site's test environment, or a message that says that it is a test.
pub(crate) fn is_test(site: &Site, headers: &Headers) -> bool {
    site.environment == runtime::config::Environment::Test || headers.test
}

pub(crate) fn refusal(reason: QuarantineReason, form: Option<&str>) -> Refusal {
    Refusal {
        reason,
        form: form.and_then(|form| form.parse().ok()),
    }
}
