//! The story of one journal copy: claim, open, write, settle, and destroy the copy's key.

use std::sync::Arc;
use std::time::Duration;

use domain::form::EMBEDDED;
use domain::submission::Kept;
use domain::{DutyId, Reason, Submission, SubmissionId};
use jiff::Timestamp;
use ledger::{Claim, Journalised, Ledger, NewEntry, Outcome, WorkerId};
use letter::{LetterError, Letters};
use runtime::{Clock, Loaded};
use store::StoreError;
use tokio::time::sleep;
use uuid::Uuid;
use vault::{Purpose, Vault, VaultError};
use worker::{Leases, Traces};

use crate::entry::{Entry, Rule, parties, party_digest};
use crate::targets::{Answer, Receipt, Targets};

/// What the journaliser works with.
pub(crate) struct Journaliser {
    pub(crate) ledger: Ledger,
    pub(crate) vault: Vault,
    pub(crate) letters: Arc<Letters>,
    pub(crate) targets: Targets,
    pub(crate) worker: WorkerId,
    pub(crate) leases: Leases,
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) clock: Clock,
    pub(crate) traces: Traces,
}

/// Why a copy was not journalised, by what happens next.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The ledger did not answer: the lease runs out, and the sweep brings it back.
    #[error("using the ledger")]
    Ledger(#[from] StoreError),
    /// The vault did not answer.
    #[error("using the vault")]
    Vault(#[from] VaultError),
    /// The copy is not what it should be.
    #[error("opening the journal's copy")]
    Unusable,
    /// The document could not be made.
    #[error("making the document")]
    Document(#[from] LetterError),
    /// Something that a person must see to.
    #[error("the copy is held: {0}")]
    Held(Reason),
}

impl Journaliser {
    /// Discharges a duty, or leaves it for later; logs a failure once.
    pub(crate) async fn discharge(&self, id: DutyId) {
        if let Err(error) = self.journalise(id).await {
            let cause: &dyn std::error::Error = &error;
            let source = cause.source().map(ToString::to_string);
            tracing::warn!(duty.id = %id, %error, cause = source, "a journal copy could not be settled; it is tried again");
        }
    }

    async fn journalise(&self, id: DutyId) -> Result<(), Failure> {
        let now = self.clock.now();
        let _held = self.leases.hold(id);
        let Some(claim) = self.ledger.claim(id, self.worker, now, now + self.leases.lease).await? else {
            return Ok(()); // done, not due, or in another worker's hands
        };
        failpoint::reached("journaliser.claimed").await;
        let written = self.write(&claim, now).await;
        failpoint::reached("journaliser.written").await;
        let outcome = self.settle(&claim, written).await?;
        self.traces.attempt(&claim, outcome, now, || self.clock.now());
        Ok(())
    }

    /// Opens the copy, and gives it to its target.
    async fn write(&self, claim: &Claim, now: Timestamp) -> Result<(Arc<Entry>, Answer), Failure> {
        let target = self
            .targets
            .get(&claim.role)
            .ok_or(Failure::Held(Reason::UnknownTarget))?;
        let mut entry = self.entry(claim, now).await?;
        if claim.role != EMBEDDED {
            // What goes outside is the same to the byte however often it is tried: nothing in it is of this attempt.
            entry.now = claim.created_at;
            entry.evidence.retain(|leaf| leaf.event == "accepted");
            entry.evidence.iter_mut().for_each(|leaf| leaf.index = None);
        }
        let entry = Arc::new(entry);
        let answer = target.put(Some(claim.id), Arc::clone(&entry)).await;
        Ok((entry, answer))
    }

    /// The copy of a claim, opened in memory, with what is said of it.
    async fn entry(&self, claim: &Claim, now: Timestamp) -> Result<Entry, Failure> {
        let payload = claim.payload.as_ref().ok_or(Failure::Unusable)?;
        let key = self.vault.key(payload.owner, Purpose::Journal).await?;
        let copy = key
            .ok_or(Failure::Unusable)?
            .open(claim.id.0.as_bytes(), &payload.sealed)?;
        let kept = Kept::decode(&copy).ok_or(Failure::Unusable)?;
        let id = kept.submission.id.0;
        self.entry_of(kept.submission, id, "form", now).await
    }

    /// An entry of a submission, under the version's id, with what its form's rule says now.
    pub(crate) async fn entry_of(
        &self,
        submission: Submission,
        id: Uuid,
        channel: &'static str,
        now: Timestamp,
    ) -> Result<Entry, Failure> {
        let form = self.loaded.forms.get(&submission.site, &submission.form).cloned();
        let form = form.ok_or(Failure::Held(Reason::UnknownForm))?;
        let controller = &self.loaded.config.controller;
        let department = self.loaded.config.departments.get(&form.department);
        let name = department.map(|department| department.name.clone()).unwrap_or_default();
        let shown = self.ledger.show(submission.id, now).await?;
        Ok(Entry {
            id,
            record: self.letters.record(&submission, &form, &name)?,
            rule: Rule::of(&form, controller.language).map_err(Failure::Held)?,
            parties: parties(&submission, &form),
            channel,
            evidence: shown.map(|shown| shown.evidence).unwrap_or_default(),
            controller: controller.name.clone(),
            language: controller.language,
            submission,
            form,
            now,
        })
    }

    /// Settles a duty, and answers how.
    async fn settle(&self, claim: &Claim, written: Result<(Arc<Entry>, Answer), Failure>) -> Result<Outcome, Failure> {
        let now = self.clock.now();
        let (entry, answer) = match written {
            Ok(written) => written,
            Err(failure) => {
                return self
                    .put_off(claim, self.consequence(claim, &failure, now), Some(&failure), now)
                    .await;
            }
        };
        let receipt = match answer {
            Answer::Done(receipt) | Answer::Exists(receipt) => receipt,
            Answer::Away(Some(reason), _) | Answer::Refused(reason) => {
                return self.put_off(claim, Outcome::Hold(reason), None, now).await;
            }
            Answer::Away(None, _) | Answer::Pending => {
                let outcome = self.later(claim, None, now);
                return self.put_off(claim, outcome, None, now).await;
            }
        };
        self.record(claim, &entry, receipt, now).await?;
        failpoint::reached("journaliser.recorded").await;
        self.destroy_copy(entry.submission.id).await?;
        failpoint::reached("journaliser.key_destroyed").await;
        metrics::counter!("kvit_journal_entries_total", "target" => claim.role.clone()).increment(1);
        tracing::info!(duty.id = %claim.id, submission.id = %entry.submission.id, target = claim.role, "journalised");
        Ok(Outcome::Done)
    }

    /// Records what a target has taken, however long the ledger is away: the target has it, and only the end of the
    /// process ends this.
    async fn record(&self, claim: &Claim, entry: &Entry, receipt: Receipt, now: Timestamp) -> Result<(), Failure> {
        let index = self.vault.index(now).await?;
        let mut pause = Duration::from_millis(100);
        loop {
            let recorded = if let Some(version) = &receipt.version {
                let new = new_entry(entry, version.clone(), &index);
                let zone = self.loaded.config.controller.time_zone.clone();
                let whose = Some((claim.id, self.worker));
                let done = self.ledger.journalise(whose, new, zone, now).await;
                done.map(|done| done == Journalised::Unwanted)
            } else {
                let whose = (entry.submission.id, claim.role.clone());
                let reference = receipt.reference.clone();
                let filed = self.ledger.filed(claim.id, self.worker, whose, reference, now).await;
                filed.map(|_| false)
            };
            match recorded {
                Ok(false) => return Ok(()),
                Ok(true) => {
                    // A person has given it up meanwhile: no entry, so no file.
                    let _ = self.targets.embedded().remove(&[receipt.reference]);
                    return Ok(());
                }
                Err(error) if error.is_transient() => {
                    tracing::warn!(duty.id = %claim.id, %error, "an entry cannot be recorded yet; trying again");
                    sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Destroys the key of a submission's journal copies once no copy is left that a target waits for.
    pub(crate) async fn destroy_copy(&self, submission: SubmissionId) -> Result<(), Failure> {
        // Losing this only leaves a key without data, which the sweep finds.
        for owner in self.ledger.without_journal_copy(vec![submission.0]).await? {
            self.vault.destroy_one(owner, Purpose::Journal).await?;
        }
        Ok(())
    }

    async fn put_off(
        &self,
        claim: &Claim,
        outcome: Outcome,
        failure: Option<&Failure>,
        now: Timestamp,
    ) -> Result<Outcome, Failure> {
        let cause = failure.and_then(std::error::Error::source).map(ToString::to_string);
        match outcome {
            Outcome::Retry { at, .. } => {
                tracing::debug!(duty.id = %claim.id, target = claim.role, next_at = %at, cause, "not journalised yet");
            }
            Outcome::Hold(reason) => {
                tracing::error!(duty.id = %claim.id, target = claim.role, %reason, cause, "a journal copy is held");
            }
            _ => {
                tracing::error!(duty.id = %claim.id, target = claim.role, cause, "a journal copy waits for a person: kvit duty list");
            }
        }
        self.ledger.settle(claim.id, self.worker, outcome, None, now).await?;
        Ok(outcome)
    }

    /// What a failure means for a duty. The journal never gives a copy up by itself.
    fn consequence(&self, claim: &Claim, failure: &Failure, now: Timestamp) -> Outcome {
        match failure {
            Failure::Held(reason) => Outcome::Hold(*reason),
            Failure::Ledger(_) => self.later(claim, None, now),
            Failure::Vault(error) if error.is_transient() => self.later(claim, None, now),
            Failure::Vault(_) | Failure::Unusable | Failure::Document(_) => Outcome::Fail(None),
        }
    }

    fn later(&self, claim: &Claim, reason: Option<Reason>, now: Timestamp) -> Outcome {
        let jitter = f64::from(claim.id.0.as_bytes()[15]) / 255.0;
        let retry = &self.loaded.config.retry;
        Outcome::Retry {
            at: now + worker::pause(claim.attempts, retry.first, retry.most, jitter),
            reason,
        }
    }
}

/// What the ledger is told of an entry: no content, and persons as keyed digests alone.
pub(crate) fn new_entry(entry: &Entry, version: ledger::NewVersion, index: &vault::Index) -> NewEntry {
    let submission = &entry.submission;
    NewEntry {
        version,
        submission: submission.id,
        reference: submission.reference.clone(),
        site: submission.site.clone(),
        form: submission.form.clone(),
        department: entry.form.department.clone(),
        channel: entry.channel,
        theme: entry.rule.theme.clone(),
        kle: entry.rule.kle.clone(),
        received_at: submission.received_at,
        case: None,
        period: entry.rule.period.clone(),
        archive: entry.rule.archive,
        parties: entry.parties.iter().map(|party| party_digest(index, party)).collect(),
    }
}
