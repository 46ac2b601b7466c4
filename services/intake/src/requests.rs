//! What programs without keys ask of intake: to try quarantined messages again, to find a submission by the site's
//! uuid, to destroy the keys of what was discarded, to send a department an encrypted test mail.

use std::sync::Arc;
use std::time::Duration;

use domain::SubmissionId;
use jiff::SignedDuration;
use ledger::Request;
pub use ledger::requests::{DESTROY_KEYS, FIND_BY_UUID, Ids, KEY_TEST, OfDepartment, RETRY_QUARANTINE, SiteUuid};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use vault::Purpose;

use crate::message::Message;
use crate::take::{Fate, Intake, Trouble};

/// How often requests are looked for.
const LOOK: Duration = Duration::from_millis(250);
/// Requests older than this have nobody waiting for them.
const FRESH: SignedDuration = SignedDuration::from_mins(10);

/// Serves requests until `ended`.
pub(crate) async fn serve(intake: Arc<Intake>, ended: CancellationToken) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let since = intake.clock.now() - FRESH;
        let Ok(requests) = intake
            .ledger
            .asked(&[RETRY_QUARANTINE, FIND_BY_UUID, DESTROY_KEYS, KEY_TEST], since)
            .await
        else {
            continue;
        };
        for request in requests {
            if let Err(trouble) = intake.serve(&request).await {
                tracing::warn!(request.id = %request.id, error = %trouble, "a request could not be served; trying again");
            }
        }
    }
}

impl Intake {
    async fn serve(&self, request: &Request) -> Result<(), Trouble> {
        let answer = match request.kind.as_str() {
            RETRY_QUARANTINE => self.retry_quarantined(&request.args).await?,
            FIND_BY_UUID => self.find_by_uuid(&request.args).await?,
            KEY_TEST => self.test_key(&request.args).await?,
            _ => self.destroy_keys(&request.args).await?,
        };
        self.ledger
            .answer(request.id, answer.to_string(), self.clock.now())
            .await?;
        Ok(())
    }

    async fn retry_quarantined(&self, args: &str) -> Result<serde_json::Value, Trouble> {
        let Ok(Ids { ids }) = serde_json::from_str(args) else {
            return Ok(json!({"error": "the request's arguments cannot be read"}));
        };
        let mut results = Vec::new();
        for id in ids {
            // One that cannot be tried says so, and the others are tried all the same.
            let tried = self.retry_one(id).await;
            let (outcome, taken) = tried.unwrap_or_else(|trouble| (format!("not tried: {trouble}"), None));
            results.push(json!({"id": id, "outcome": outcome, "submission": taken}));
        }
        Ok(json!({"results": results}))
    }

    async fn retry_one(&self, id: SubmissionId) -> Result<(String, Option<SubmissionId>), Trouble> {
        let Some(kept) = self.ledger.quarantined_content(id).await? else {
            return Ok(("not waiting".to_owned(), None));
        };
        let Some(key) = self.vault.key(id.0, Purpose::Intake).await? else {
            return Ok(("its key is gone".to_owned(), None));
        };
        let opened = key.open(id.0.as_bytes(), &kept.sealed)?;
        let Some(message) = Message::decode(&opened) else {
            return Ok(("it cannot be read".to_owned(), None));
        };
        match self.guarded(&message, Some(id)).await? {
            Fate::Accepted(submission) => {
                self.vault.destroy(vec![id.0]).await?;
                Ok(("accepted".to_owned(), Some(submission)))
            }
            Fate::Counted(_) => {
                self.vault.destroy(vec![id.0]).await?;
                Ok(("counted".to_owned(), None))
            }
            Fate::Refused(refused) => {
                let reason = refused.refusal.reason;
                self.ledger.quarantined_again(id, reason).await?;
                Ok((format!("refused again: {reason}"), None))
            }
        }
    }

    async fn find_by_uuid(&self, args: &str) -> Result<serde_json::Value, Trouble> {
        let Ok(SiteUuid { site, uuid }) = serde_json::from_str(args) else {
            return Ok(json!({"error": "the request's arguments cannot be read"}));
        };
        let index = self.vault.index(self.clock.now()).await?;
        let sought = crate::identity::of_uuid(&index, &site, &uuid);
        let lineage = self.ledger.lineage(sought, Vec::new()).await?;
        Ok(json!({"id": lineage.latest.or(lineage.ids.last().copied())}))
    }

    async fn destroy_keys(&self, args: &str) -> Result<serde_json::Value, Trouble> {
        let Ok(Ids { ids }) = serde_json::from_str(args) else {
            return Ok(json!({"error": "the request's arguments cannot be read"}));
        };
        // Only keys that open nothing any more: a request cannot destroy what is still owed.
        let owners = ids.iter().map(|id| id.0).collect();
        let idle = self.ledger.without_payload(owners).await?;
        self.vault.destroy(idle).await?;
        Ok(json!({}))
    }
}
