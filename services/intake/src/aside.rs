//! Puts a message aside that cannot be taken: sealed for intake, under a key of its own.

use std::sync::Arc;

use domain::SubmissionId;
use ledger::NewQuarantined;
use vault::{DataKey, Digest, Index, Purpose};

use crate::message::Message;
use crate::take::{Intake, Refused, Trouble, is_test};

/// What its digests in quarantine are of.
const LABEL: &str = "quarantined";

/// What the ledger keeps of a message.
struct Kept {
    sealed: Vec<u8>,
    body: Digest,
    /// Its digests under every live epoch, to look for.
    bodies: Vec<Digest>,
}

impl Intake {
    pub(crate) async fn put_aside(&self, message: &Message, refused: &Refused) -> Result<(), Trouble> {
        let now = self.clock.now();
        let id = SubmissionId::new();
        let index = self.vault.index(now).await?;
        let keys = self.vault.create(id.0, &[Purpose::Intake], now).await?;
        failpoint::reached("intake.aside_key_committed").await;
        let key = keys
            .into_iter()
            .next()
            .ok_or(Trouble::internal("the vault made no key"))?;
        let Kept { sealed, body, bodies } = self.kept(message.clone(), id, index, key).await?;
        let site = self.loaded.config.sites.get(&message.site);
        let form = refused.refusal.form.as_ref();
        let known = form.and_then(|form| self.loaded.forms.get(&message.site, form));
        let reason = refused.refusal.reason;
        let new = NewQuarantined {
            id,
            site: message.site.clone(),
            form: known.map(|form| form.id.clone()),
            department: known.map(|form| form.department.clone()),
            test: site.is_some_and(|site| is_test(site, &message.headers())),
            reason,
            bytes: message.body.len(),
            received_at: message.received_at,
            body: body.bytes,
            bodies: bodies.into_iter().map(|digest| digest.bytes).collect(),
            epoch: body.epoch,
            redelivered: message.redelivered,
            sealed,
            ids: refused.ids.clone(),
        };
        if self.ledger.quarantine(new).await? {
            metrics::counter!("kvit_quarantined_total", "reason" => reason.as_str()).increment(1);
            tracing::warn!(quarantine.id = %id, site = %message.site, %reason, "a message is put aside: kvit quarantine list");
        } else {
            // A redelivery of one that was put aside: its new key came to no use.
            self.vault.destroy(vec![id.0]).await?;
        }
        Ok(())
    }

    /// Seals and digests a message apart from the other messages' work: it may have any size.
    async fn kept(&self, message: Message, id: SubmissionId, index: Arc<Index>, key: DataKey) -> Result<Kept, Trouble> {
        let _turn = self
            .crypto
            .acquire()
            .await
            .map_err(|_| Trouble::internal("the pool is closed"))?;
        let keep = move || {
            let parts: [&[u8]; 2] = [message.site.as_str().as_bytes(), &message.body];
            Ok(Kept {
                sealed: key.seal_parts(id.0.as_bytes(), &[&message.encode_head(), &message.body])?,
                body: index.digest(LABEL, &parts),
                // Only a redelivery can be one that was put aside already.
                bodies: if message.redelivered {
                    index.digests(LABEL, &parts)
                } else {
                    Vec::new()
                },
            })
        };
        tokio::task::spawn_blocking(keep)
            .await
            .map_err(|_| Trouble::internal("sealing panicked"))?
    }
}
