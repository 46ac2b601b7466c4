//! Tells departments of messages in quarantine, many in one notice, within the hour.

use letter::Notice;

use crate::Scheduler;

impl Scheduler {
    /// Puts a notice on its way to every department with messages that nobody has been told of.
    pub(crate) async fn tell_of_quarantine(&self) -> anyhow::Result<()> {
        for waiting in self.ledger.untold_quarantine().await? {
            let now = self.clock.now();
            let department = waiting.department.clone();
            let notice = Notice::Quarantined {
                id: waiting.id,
                site: waiting.site.clone(),
                reason: waiting.reason,
                since: waiting.since,
            };
            let site = self.loaded.config.sites.get(&waiting.site);
            let test = waiting
                .test
                .then(|| site.and_then(|site| site.test_mail.clone()))
                .flatten();
            match self.notices.duty(&department, &notice, &[], test.as_ref(), now).await {
                Ok(duty) => self.ledger.tell_of_quarantine(waiting, duty, now).await?,
                Err(error) => tracing::error!(%department, %error, "no notice of a quarantined message could be made"),
            }
        }
        Ok(())
    }
}
