//! The story of one mail: claim, open, send, settle, and leave what nothing binds any more to be deleted.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use domain::{DutyId, DutyKind, Reason};
use jiff::Timestamp;
use ledger::{Claim, Ledger, NewDuty, Outcome, Settled, WorkerId};
use letter::{Notice, Parcel};
use runtime::config::Retry;
use runtime::{Clock, Loaded, Work};
use store::StoreError;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use vault::{Purpose, Vault, VaultError};
use worker::{Leases, Notices, Traces};

use crate::graves::Graves;
use crate::relay::Connections;
use crate::transaction::RelayError;

/// A mail of at most so many bytes is read as it is claimed; a larger one when there is room for it.
const LIGHT: usize = 128 << 10;

/// How much of larger mails is in memory at once, in KiB, while they are opened and sent: a few of the largest.
pub(crate) const ROOM_KIB: u32 = 96 << 10;

/// What the mailer works with.
pub(crate) struct Mailer {
    pub(crate) ledger: Ledger,
    pub(crate) vault: Vault,
    pub(crate) relay: Connections,
    pub(crate) graves: Graves,
    /// How much more of larger mails may be in memory, in KiB.
    pub(crate) room: Semaphore,
    pub(crate) notices: Notices,
    pub(crate) worker: WorkerId,
    pub(crate) retry: Retry,
    pub(crate) leases: Leases,
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) clock: Clock,
    pub(crate) traces: Traces,
    /// The mails in hand, for the watchdog.
    pub(crate) mails: Work,
}

/// Why a mail was not sent, by what happens next.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The relay, or the way to it.
    #[error("sending the mail")]
    Relay(#[from] RelayError),
    /// The ledger did not answer: the duty is no longer in hand, its lease runs out, and the sweep brings it back.
    #[error("using the ledger")]
    Ledger(#[from] StoreError),
    /// The vault did not answer.
    #[error("using the vault")]
    Vault(#[from] VaultError),
    /// The mail cannot be opened, or is not what may be sent.
    #[error("opening the sealed mail")]
    Unusable,
}

impl Mailer {
    /// Discharges a duty, or leaves it for later; logs a failure once.
    pub(crate) async fn discharge(&self, id: DutyId) {
        let _in_hand = self.mails.begin();
        if let Err(error) = self.send(id).await {
            let cause: &dyn std::error::Error = &error;
            let source = cause.source().map(ToString::to_string);
            tracing::warn!(duty.id = %id, %error, cause = source, "a mail could not be settled; it is tried again");
        }
    }

    async fn send(&self, id: DutyId) -> Result<(), Failure> {
        let now = self.clock.now();
        let _held = self.leases.hold(id);
        let until = now + self.leases.lease;
        let Some(claim) = self.ledger.claim_up_to(LIGHT, id, self.worker, now, until).await? else {
            return Ok(()); // done, not due, or in another worker's hands
        };
        failpoint::reached("mailer.claimed").await;
        let kib = claim
            .larger
            .map_or(0, |bytes| u32::try_from(bytes >> 10).unwrap_or(u32::MAX));
        let room = self.room.acquire_many(kib.min(ROOM_KIB)).await;
        let outcome = match self.open(&claim).await {
            Ok(parcel) if failpoint::mutant("settle_before_send") => {
                self.settle(&claim, now, Ok(())).await?;
                return Ok(self.relay.send(&parcel).await?);
            }
            Ok(parcel) => self.relay.send(&parcel).await.map_err(Failure::from),
            Err(failure) => Err(failure),
        };
        drop(room);
        failpoint::reached("mailer.answered").await;
        self.settle(&claim, now, outcome).await
    }

    /// The mail of a claim, opened in memory.
    async fn open(&self, claim: &Claim) -> Result<Parcel, Failure> {
        let payload = match claim.larger {
            Some(_) => self.ledger.payload(claim.id).await?.map(Cow::Owned),
            None => claim.payload.as_ref().map(Cow::Borrowed),
        };
        let payload = payload.ok_or(Failure::Unusable)?;
        let key = self
            .vault
            .key(payload.owner, Purpose::Mail)
            .await?
            .ok_or(Failure::Unusable)?;
        let parcel = key.open(claim.id.0.as_bytes(), &payload.sealed)?;
        let parcel = Parcel::decode(&parcel).map_err(|_| Failure::Unusable)?;
        // P1: a department's mail is sealed, or it is not sent.
        if claim.kind == DutyKind::DepartmentMail && !parcel.mail.is_sealed() {
            return Err(Failure::Unusable);
        }
        Ok(parcel)
    }

    async fn settle(&self, claim: &Claim, begun: Timestamp, sent: Result<(), Failure>) -> Result<(), Failure> {
        let now = self.clock.now();
        let outcome = match &sent {
            Ok(()) => Outcome::Done,
            Err(failure) => self.consequence(claim, failure, now).await,
        };
        let (outcome, follows) = match outcome {
            Outcome::Cancel(Reason::Undeliverable) => match self.undeliverable(claim, now).await {
                Ok(notice) => (outcome, notice),
                // D3 wants the notice recorded with it: without one, the receipt is not given up yet.
                Err(_) => (
                    Outcome::Retry {
                        at: self.next(claim, now),
                        reason: None,
                    },
                    None,
                ),
            },
            outcome => (outcome, None),
        };
        report(claim, outcome, sent.as_ref().err(), now);
        let settled = self.settle_for_sure(claim.id, outcome, follows, now).await?;
        self.traces.attempt(claim, outcome, begun, || self.clock.now());
        failpoint::reached("mailer.settled").await;
        if let Some(submission) = settled.deleting {
            failpoint::reached("mailer.deletion_begun").await;
            // Nobody takes it only when the service ends; then the scheduler ends the deletion.
            let _ = self.graves.send(submission).await;
        }
        if claim.kind == DutyKind::Notice && outcome == Outcome::Done {
            // Losing this only leaves a key without data, which the sweep finds.
            self.vault.destroy_one(claim.id.0, Purpose::Mail).await?;
        }
        Ok(())
    }

    /// Settles, however long the ledger is away: what the relay accepted must not go out again because of that. The lease
    /// lives meanwhile; only the end of the process ends this.
    async fn settle_for_sure(
        &self,
        id: DutyId,
        outcome: Outcome,
        follows: Option<NewDuty>,
        now: Timestamp,
    ) -> Result<Settled, Failure> {
        let mut pause = Duration::from_millis(100);
        loop {
            match self.ledger.settle(id, self.worker, outcome, follows.clone(), now).await {
                Err(error) if error.is_transient() => {
                    tracing::warn!(duty.id = %id, %error, "a mail's outcome cannot be recorded yet; trying again");
                    self.mails.goes_on();
                    sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
                settled => return Ok(settled?),
            }
        }
    }

    /// What a failure means for a duty.
    async fn consequence(&self, claim: &Claim, failure: &Failure, now: Timestamp) -> Outcome {
        match failure {
            Failure::Relay(RelayError::Unknown) => match self.later(claim, None, now).await {
                Outcome::Retry { at, .. } => Outcome::Unknown { at },
                given_up => given_up,
            },
            Failure::Relay(RelayError::Refused(code)) => permanent(claim.kind, Reason::Smtp(*code)),
            Failure::Relay(RelayError::TooLarge) => permanent(claim.kind, Reason::TooLarge),
            Failure::Relay(RelayError::NoSmtpUtf8) => permanent(claim.kind, Reason::Undeliverable),
            Failure::Relay(RelayError::Later(code)) => self.later(claim, Some(Reason::Smtp(*code)), now).await,
            Failure::Relay(RelayError::Unreachable) | Failure::Ledger(_) => self.later(claim, None, now).await,
            Failure::Vault(error) if error.is_transient() => self.later(claim, None, now).await,
            Failure::Vault(_) | Failure::Unusable => Outcome::Fail(None),
        }
    }

    /// Again later, until it has been tried for long enough.
    async fn later(&self, claim: &Claim, reason: Option<Reason>, now: Timestamp) -> Outcome {
        if !self.is_enough(claim, now).await {
            return Outcome::Retry {
                at: self.next(claim, now),
                reason,
            };
        }
        match claim.kind {
            DutyKind::Receipt => Outcome::Cancel(Reason::Undeliverable),
            _ => Outcome::Fail(reason),
        }
    }

    /// Whether a duty has been tried for long enough. Time in which it was paused does not count, and a ledger that does not
    /// say how much that was gives nothing up.
    async fn is_enough(&self, claim: &Claim, now: Timestamp) -> bool {
        let age = now.duration_since(claim.created_at);
        if age < self.retry.give_up {
            return false;
        }
        let paused = self.ledger.paused_within(claim.id, (claim.created_at, now)).await;
        paused.is_ok_and(|paused| age - paused >= self.retry.give_up)
    }

    fn next(&self, claim: &Claim, now: Timestamp) -> Timestamp {
        // The duty's id is random enough to keep what failed together from coming back together.
        let jitter = f64::from(claim.id.0.as_bytes()[15]) / 255.0;
        now + worker::pause(claim.attempts, self.retry.first, self.retry.most, jitter)
    }

    /// The notice that a receipt could not be delivered (D3); none where there is nobody to tell.
    async fn undeliverable(&self, claim: &Claim, now: Timestamp) -> anyhow::Result<Option<NewDuty>> {
        let reference = claim.reference.as_deref().and_then(|reference| reference.parse().ok());
        let (Some(reference), Some(department)) = (reference, &claim.department) else {
            return Ok(None);
        };
        let test = claim.test.then(|| self.test_address(claim)).flatten();
        let notice = Notice::ReceiptUndeliverable { reference };
        let duty = self.notices.duty(department, &notice, &[], test.as_ref(), now).await;
        if let Err(error) = &duty {
            tracing::error!(duty.id = %claim.id, %error, "no notice of an undeliverable receipt could be made; trying again");
        }
        duty.map(Some)
    }

    fn test_address(&self, claim: &Claim) -> Option<domain::EmailAddress> {
        let site = self.loaded.config.sites.get(claim.site.as_ref()?)?;
        site.test_mail.clone()
    }
}

/// What a refusal for good means: a department's mail waits for a person, a receipt is given up (D3).
fn permanent(kind: DutyKind, reason: Reason) -> Outcome {
    match kind {
        DutyKind::Receipt => Outcome::Cancel(Reason::Undeliverable),
        DutyKind::Notice => Outcome::Fail(Some(reason)),
        _ => Outcome::Hold(reason),
    }
}

/// Begins the counters at 0: from nothing to one is a step that no alarm sees.
pub(crate) fn begin_counting() {
    for kind in [DutyKind::DepartmentMail, DutyKind::Receipt, DutyKind::Notice] {
        for word in ["accepted", "retried", "unknown", "held", "failed", "cancelled"] {
            metrics::counter!("kvit_mails_total", "kind" => kind.as_str(), "outcome" => word).increment(0);
        }
    }
    metrics::counter!("kvit_relay_slow_downs_total").increment(0);
}

fn report(claim: &Claim, outcome: Outcome, failure: Option<&Failure>, now: Timestamp) {
    let cause = failure.and_then(std::error::Error::source).map(ToString::to_string);
    let kind = claim.kind.as_str();
    metrics::counter!("kvit_mails_total", "kind" => kind, "outcome" => outcome.as_str()).increment(1);
    if outcome == Outcome::Done {
        let taken = now.duration_since(claim.created_at).as_secs_f64();
        metrics::histogram!("kvit_mail_delivery_seconds", "kind" => kind).record(taken.max(0.0));
    }
    match outcome {
        Outcome::Done => tracing::info!(duty.id = %claim.id, duty.kind = kind, "mail accepted"),
        Outcome::Retry { at, .. } | Outcome::Unknown { at } => {
            tracing::warn!(duty.id = %claim.id, duty.kind = kind, next_at = %at, cause, "mail not accepted; trying again");
        }
        Outcome::Cancel(reason) => {
            tracing::warn!(duty.id = %claim.id, duty.kind = kind, %reason, cause, "mail given up");
        }
        Outcome::Hold(_) | Outcome::Fail(_) => {
            tracing::error!(duty.id = %claim.id, duty.kind = kind, cause, "mail waits for a person: kvit duty list");
        }
    }
}
