//! What is kept of a registration when its submission is gone: its reference and the submitter's address, sealed under a
//! key of its own until the event has been held.

use domain::{EmailAddress, Form, Reference, Submission, Value};
use futures::future::try_join_all;
use jiff::Timestamp;
use ledger::{KeptRegistration, Payload};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vault::Purpose;

use crate::Scheduler;

/// So many keys are made at once: the key store commits them together.
const AT_ONCE: usize = 64;

#[derive(Serialize, Deserialize)]
struct Kept {
    reference: Reference,
    address: String,
}

impl Scheduler {
    /// Seals what is kept of registrations; nothing of one that has no address to be reached by.
    pub(crate) async fn keep(
        &self,
        form: &Form,
        registrations: &[Submission],
        now: Timestamp,
    ) -> anyhow::Result<Vec<KeptRegistration>> {
        let mut all = Vec::with_capacity(registrations.len());
        for some in registrations.chunks(AT_ONCE) {
            let sealed = some.iter().filter_map(|one| Some((one, address_in(form, one)?)));
            all.extend(try_join_all(sealed.map(|(one, address)| self.seal(one, address, now))).await?);
        }
        Ok(all)
    }

    async fn seal(
        &self,
        submission: &Submission,
        address: EmailAddress,
        now: Timestamp,
    ) -> anyhow::Result<KeptRegistration> {
        let owner = Uuid::now_v7();
        let keys = self.vault.create(owner, &[Purpose::Registration], now).await?;
        let kept = Kept {
            reference: submission.reference.clone(),
            address: address.expose().to_owned(),
        };
        let sealed = keys[0].seal(owner.as_bytes(), &serde_json::to_vec(&kept)?)?;
        Ok(KeptRegistration {
            submission: submission.id,
            payload: Payload {
                owner,
                purpose: Purpose::Registration.as_str().to_owned(),
                sealed,
            },
        })
    }

    /// References and addresses of registrations whose submissions are gone.
    pub(crate) async fn addresses(&self, event: &str) -> anyhow::Result<Vec<(Reference, EmailAddress)>> {
        let mut found = Vec::new();
        for one in self.ledger.addresses(event.to_owned()).await? {
            let owner = one.payload.owner;
            let Some(key) = self.vault.key(owner, Purpose::Registration).await? else {
                continue;
            };
            let kept: Kept = serde_json::from_slice(&key.open(owner.as_bytes(), &one.payload.sealed)?)?;
            if let (false, Ok(address)) = (one.test, EmailAddress::parse(&kept.address)) {
                found.push((kept.reference, address));
            }
        }
        Ok(found)
    }
}

fn address_in(form: &Form, submission: &Submission) -> Option<EmailAddress> {
    match submission.answers.get(&form.receipt.as_ref()?.to)? {
        Value::Text(text) => EmailAddress::parse(text).ok(),
        _ => None,
    }
}
