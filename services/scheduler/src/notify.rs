//! Tells departments of messages in quarantine and of mails that are held, many in one notice: of the first at once, of
//! later ones within minutes.

use domain::{EmailAddress, SiteId};
use jiff::SignedDuration;
use letter::Notice;

use crate::Scheduler;

/// How long after a notice a department is not sent another: a broken form must not flood it.
const QUIET: SignedDuration = SignedDuration::from_mins(15);

impl Scheduler {
    /// Puts every notice on its way that a department is owed.
    pub(crate) async fn tell_departments(&self) -> anyhow::Result<()> {
        self.tell_of_quarantine().await?;
        self.tell_of_held().await?;
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
            let test = self.tests_go_to(&waiting.site, waiting.test);
            match self.notices.duty(&department, &notice, &[], test, now).await {
                Ok(duty) => {
                    let id = duty.id;
                    let kept = self.ledger.tell_of_quarantine(waiting, duty, now).await?;
                    self.notices.withdraw_unless(kept, id).await?;
                }
                Err(error) => tracing::error!(%department, %error, "no notice of a quarantined message could be made"),
            }
        }
        Ok(())
    }

    /// Puts a notice on its way to every department whose mails are held without its knowing.
    async fn tell_of_held(&self) -> anyhow::Result<()> {
        let now = self.clock.now();
        for held in self.ledger.untold_held(now - QUIET).await? {
            let department = held.department.clone();
            let notice = Notice::MailHeld {
                reference: held.reference.clone(),
                reason: held.reason,
            };
            let test = self.tests_go_to(&held.site, held.test);
            match self.notices.duty(&department, &notice, &[], test, now).await {
                Ok(duty) => {
                    let id = duty.id;
                    let kept = self.ledger.tell_of_held(held, duty, now).await?;
                    self.notices.withdraw_unless(kept, id).await?;
                }
                Err(error) => tracing::error!(%department, %error, "no notice of a held mail could be made"),
            }
        }
        Ok(())
    }

    /// Where the notices about a site's tests go.
    fn tests_go_to(&self, site: &SiteId, test: bool) -> Option<&EmailAddress> {
        let site = self.loaded.config.sites.get(site).filter(|_| test)?;
        site.test_mail.as_ref()
    }
}
