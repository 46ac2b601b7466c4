//! The story of one message: open, read, check, judge, compose, record; and what becomes of one that cannot be taken.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use broker::{Delivery, Link, Verdict};
use bytes::Bytes;
use domain::quarantine::QuarantineReason;
use domain::{FormId, SiteId, SubmissionId};
use futures::FutureExt as _;
use ledger::{Arrival, Counter, Ledger, WorkerId};
use letter::Letters;
use openpgp::{SigningKey, UnsealError, UnsealKey};
use runtime::config::{Environment, Site};
use runtime::{Clock, Loaded};
use store::StoreError;
use tokio::sync::{RwLock, Semaphore};
use vault::{Vault, VaultError};
use worker::{Certificates, Notices, Traces};

use crate::check::check;
use crate::message::Message;
use crate::shapes::{self, Event, Files, Headers, Incoming, Limits, Refusal, SiteRules};

/// How often a message that came alone may end this process before it is put aside unparsed.
const ALONE: i64 = 3;

/// How much of messages is read, composed and sealed at once, in KiB: one of the largest, or as many small ones as come. A
/// message takes some fifteen times its size while it is worked on.
pub(crate) const ROOM_KIB: u32 = 16 << 10;

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
    pub(crate) traces: Traces,
    pub(crate) message_domain: String,
    /// How much public-key work is done at once.
    pub(crate) crypto: Arc<Semaphore>,
    /// How much more of messages may be worked on, in KiB.
    pub(crate) room: Semaphore,
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

/// A message that is not taken, and what its site calls it where that could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    pub(crate) ids: [Option<String>; 3],
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            ids: Default::default(),
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
    Refused(Refused),
}

impl Fate {
    fn refused(reason: QuarantineReason, form: Option<&str>) -> Self {
        let form = form.and_then(|form| form.parse().ok());
        Self::Refused(Refusal { reason, form }.into())
    }
}

impl Intake {
    /// Takes a delivery. While a store is away, the broker's link holds the message and gives it here again.
    pub(crate) async fn take(&self, delivery: Delivery) -> Verdict {
        // Most of a large message's cost is what is made of it, so what waits here waits as it came.
        let size = u32::try_from(delivery.body.len() >> 10)
            .unwrap_or(u32::MAX)
            .clamp(1, ROOM_KIB);
        let Ok(_room) = self.room.acquire_many(size).await else {
            return Verdict::Requeue;
        };
        failpoint::reached("intake.delivered").await;
        let came_back = delivery.delivery_count > 0;
        let Some(mut message) = Message::from_delivery(delivery, self.clock.now()) else {
            return Verdict::Requeue;
        };
        message.way = self.traces.is_on().then(Arc::default);
        let taken = if came_back {
            self.take_alone(&message).await
        } else {
            self.take_among_others(&message).await
        };
        match taken {
            Ok(()) => {
                failpoint::reached("intake.taken").await;
                Verdict::Ack
            }
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
            self.put_aside(message, &internal()).await?;
        } else if let Err(trouble) = self.taken(message).await {
            // A store that is away ended nothing: only a process that died here leaves the count behind.
            self.ledger.finished_alone(body).await?;
            return Err(trouble);
        }
        Ok(self.ledger.finished_alone(body).await?)
    }

    async fn taken(&self, message: &Message) -> Result<(), Trouble> {
        match self.guarded(message, None).await? {
            Fate::Refused(refused) => self.put_aside(message, &refused).await,
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
                Ok(Fate::refused(QuarantineReason::Internal, None))
            }
            outcome => outcome,
        }
    }

    async fn process(&self, message: &Message, was: Option<SubmissionId>) -> Result<Fate, Trouble> {
        let Some(site) = self.loaded.config.sites.get(&message.site) else {
            return Ok(Fate::refused(QuarantineReason::Internal, None));
        };
        if message.dead && was.is_none() {
            return Ok(Fate::refused(QuarantineReason::Internal, None));
        }
        let headers = message.headers();
        let body = match self.open(message, site).await? {
            Ok(body) => body,
            Err(reason) => return Ok(Fate::refused(reason, headers.form.as_deref())),
        };
        let incoming = match self.read(message, &headers, &body, site) {
            Ok(incoming) => incoming,
            Err(refusal) => return Ok(Fate::Refused(refusal.into())),
        };
        message.passed("read", || self.clock.now());
        self.judge(message, headers, incoming, site, was).await
    }

    /// The message's content, unsealed where it is sealed.
    async fn open(&self, message: &Message, site: &Site) -> Result<Result<Bytes, QuarantineReason>, Trouble> {
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
        Ok(opened.map(Bytes::from).map_err(|error| match error {
            UnsealError::TooLarge => QuarantineReason::TooLarge,
            _ => QuarantineReason::Undecryptable,
        }))
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

    async fn judge(
        &self,
        message: &Message,
        headers: Headers,
        mut incoming: Incoming,
        site: &Site,
        was: Option<SubmissionId>,
    ) -> Result<Fate, Trouble> {
        let Some(form) = self.loaded.forms.get(&message.site, &incoming.form).cloned() else {
            return Ok(Fate::refused(
                QuarantineReason::UnknownForm,
                Some(incoming.form.as_str()),
            ));
        };
        let envelope = &incoming.envelope;
        let arrival = Arrival {
            site: message.site.clone(),
            form: form.id.clone(),
            test: is_test(site, &headers),
            ids: [envelope.uuid.clone(), envelope.sid.clone(), envelope.serial.clone()],
            sequence: headers.sequence,
            was_quarantined: was,
        };
        if incoming.is_draft() {
            return self.counted(arrival, Counter::Drafts, None).await;
        }
        match incoming.event {
            Some(Event::Deleted) => return self.site_deleted(arrival, &incoming).await,
            Some(Event::Withdrawn) => {
                let known = self.known(&arrival, &incoming).await?;
                if !known.ids.is_empty() {
                    return self.withdraw(arrival, &form, known).await;
                }
            }
            _ => {}
        }
        let unknown = form.unknown_fields.unwrap_or(site.unknown_fields);
        let checked = match check(&incoming, &form, unknown) {
            Ok(checked) => checked,
            Err(refusal) => {
                return Ok(Fate::Refused(Refused {
                    refusal,
                    ids: arrival.ids,
                }));
            }
        };
        message.passed("check", || self.clock.now());
        // The answers hold them now, decoded.
        incoming.files = Files::default();
        if checked.drift {
            let (site, form) = (&message.site, &form.id);
            tracing::warn!(
                %site,
                %form,
                "form drift: a message has fields that its form does not declare"
            );
            drifted(site, form, 1);
        }
        self.record(message, headers, incoming, checked, form, arrival).await
    }

    /// Counts a message that changes nothing.
    pub(crate) async fn counted(
        &self,
        arrival: Arrival,
        counter: Counter,
        of: Option<SubmissionId>,
    ) -> Result<Fate, Trouble> {
        self.ledger.count(counter, arrival, of, self.clock.now()).await?;
        Ok(Fate::Counted(counter))
    }
}

/// Begins the counters at 0: from nothing to one is a step that no alarm sees.
pub(crate) fn begin_counting(loaded: &Loaded) {
    for form in loaded.forms.iter() {
        for site in form.sites() {
            drifted(site, &form.id, 0);
        }
    }
}

/// So many messages had fields that their form does not declare.
fn drifted(site: &SiteId, form: &FormId, messages: u64) {
    let (site, form) = (site.to_string(), form.to_string());
    metrics::counter!("kvit_form_drift_total", "site" => site, "form" => form).increment(messages);
}

/// A site's test environment, or a message that says that it is a test, where the site has an address for tests: without
/// one a mark in the message could not keep its mails from a citizen, and is not believed.
pub(crate) fn is_test(site: &Site, headers: &Headers) -> bool {
    site.environment == Environment::Test || (headers.test && site.test_mail.is_some())
}

/// A fault of ours.
fn internal() -> Refused {
    Refusal {
        reason: QuarantineReason::Internal,
        form: None,
    }
    .into()
}
