//! Tells departments of messages in quarantine, many in one notice: of the first at once, of later ones within minutes.

use jiff::SignedDuration;
use letter::Notice;

use crate::Scheduler;

/// How long after a notice a department is not sent another: a broken form must not flood it.
const QUIET: SignedDuration = SignedDuration::from_mins(15);

impl Scheduler {
    /// Puts every notice on its way that a department is owed.
    pub(crate) async fn tell_departments(&self) -> anyhow::Result<()> {
        self.tell_of_quarantine().await?;
        self.tell_of_corrections().await
    }

    /// Puts a notice on its way to every department with messages that nobody has been told of.
    async fn tell_of_quarantine(&self) -> anyhow::Result<()> {
        let now = self.clock.now();
        for waiting in self.ledger.untold_quarantine(now - QUIET).await? {
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
