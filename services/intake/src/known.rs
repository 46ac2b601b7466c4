//! What a site says about a submission that is known already: its copy is gone, or the citizen took it back.

use domain::{EmailAddress, Form, SubmissionId};
use ledger::{Arrival, Counter, Lineage};
use letter::Notice;

use crate::compose::message_id;
use crate::identity;
use crate::shapes::Incoming;
use crate::take::{Fate, Intake, Trouble};

impl Intake {
    /// Every version under the message's uuid.
    pub(crate) async fn known(&self, arrival: &Arrival, incoming: &Incoming) -> Result<Lineage, Trouble> {
        let Some(uuid) = &incoming.envelope.uuid else {
            return Ok(Lineage::default());
        };
        let index = self.vault.index(self.clock.now()).await?;
        let sought = identity::of_uuid(&index, &arrival.site, uuid);
        Ok(self.ledger.lineage(sought, Vec::new()).await?)
    }

    /// The site's own copy is gone; nothing is cancelled by that.
    pub(crate) async fn site_deleted(&self, arrival: Arrival, incoming: &Incoming) -> Result<Fate, Trouble> {
        let ids = self.known(&arrival, incoming).await?.ids;
        self.ledger.site_copy_gone(arrival, ids, self.clock.now()).await?;
        Ok(Fate::Counted(Counter::Duplicates))
    }

    /// A known submission is withdrawn: its department is told once, without content, where anything of it reached the
    /// department.
    pub(crate) async fn withdraw(&self, arrival: Arrival, form: &Form, lineage: Lineage) -> Result<Fate, Trouble> {
        let now = self.clock.now();
        let ids = lineage.ids.clone();
        let told = self.ledger.is_withdrawn(ids.clone()).await?;
        let notice = match (&lineage.reference, ids.first()) {
            (Some(reference), Some(first)) if !told && self.ledger.reached_department(ids.clone()).await? => {
                let notice = Notice::Withdrawn {
                    reference: reference.clone(),
                };
                let references = [self.first_mail(*first).await?];
                let test = self.test_mail_of(&arrival);
                let duty = self
                    .notices
                    .duty(&form.department, &notice, &references, test.as_ref(), now);
                Some(duty.await.map_err(Trouble::Internal)?)
            }
            _ => None,
        };
        let wakes: Vec<_> = notice.iter().map(|duty| duty.id).collect();
        if self.ledger.withdraw(arrival, ids, notice, now).await? {
            self.link.wake(broker::MAIL_DUTIES, &wakes).await;
        }
        Ok(Fate::Counted(Counter::Duplicates))
    }

    /// The `Message-ID` of a submission's first mail to the department.
    async fn first_mail(&self, id: SubmissionId) -> Result<String, Trouble> {
        let index = self.vault.index(self.clock.now()).await?;
        Ok(message_id(&index, id, "department", &self.message_domain))
    }

    /// Where a test's mails go instead.
    pub(crate) fn test_mail_of(&self, arrival: &Arrival) -> Option<EmailAddress> {
        let site = self.loaded.config.sites.get(&arrival.site)?;
        arrival.test.then(|| site.test_mail.clone()).flatten()
    }
}
