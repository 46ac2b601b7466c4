//! The conservation figures as metrics, so that whoever watches sees what `kvit status` says.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use ledger::Figures;

use crate::engine::FAILED;
use crate::{Scheduler, cron};

/// A worker that was not heard of for so long does not run.
const HEARD: SignedDuration = SignedDuration::from_secs(15);
/// Who beats.
const SERVICES: [&str; 4] = ["intake", "mailer", "journaliser", "scheduler"];

/// What is remembered from one measuring to the next.
pub(crate) struct Measured {
    /// When the first was: a schedule that never ran is due since then.
    since: Timestamp,
    /// The gaps that were said of each site.
    gaps: HashMap<String, i64>,
}

impl Measured {
    /// Nothing yet.
    pub(crate) fn new(now: Timestamp) -> Self {
        let gaps = HashMap::new();
        Self { since: now, gaps }
    }
}

impl Scheduler {
    /// Sets every gauge from the ledger, and warns when an equation does not hold or a site's count has gaps.
    pub(crate) async fn measure(&self, measured: &mut Measured) -> anyhow::Result<()> {
        let figures = self.ledger.figures(false, self.clock.now()).await?;
        measure(&figures);
        if figures.arrived_difference() != 0 || figures.accepted_difference() != 0 {
            tracing::error!(
                arrived.difference = figures.arrived_difference(),
                accepted.difference = figures.accepted_difference(),
                "the conservation figures do not add up: report this"
            );
        }
        // A site that has sent nothing yet has none: from nothing to one is a step that no alarm sees.
        let sites = self.loaded.config.sites.keys();
        let mut gaps: BTreeMap<String, i64> = sites.map(|site| (site.to_string(), 0)).collect();
        gaps.extend(self.ledger.sequence_gaps().await?);
        for (site, gaps) in gaps {
            if measured.gaps.insert(site.clone(), gaps).unwrap_or(0) < gaps {
                tracing::warn!(site, gaps, "numbers are missing in a site's count of its messages");
            }
            metrics::gauge!("kvit_sequence_gaps", "site" => site).set(number(gaps));
        }
        self.measure_backlog().await?;
        self.measure_journal().await?;
        self.measure_schedules(measured.since).await
    }

    async fn measure_backlog(&self) -> anyhow::Result<()> {
        let now = self.clock.now();
        let backlog = self.ledger.backlog(now).await?;
        let sequenced = |count: i64| if self.sequencer.is_some() { count } else { 0 };
        let totals = [
            ("kvit_submissions_missed", backlog.missed),
            ("kvit_quarantine_waiting", backlog.quarantine_waiting),
            ("kvit_quarantine_oldest_seconds", backlog.quarantine_oldest_seconds),
            (
                "kvit_registrations_past_their_time",
                backlog.registrations_past_their_time,
            ),
            (
                "kvit_evidence_unsequenced_leaves",
                sequenced(backlog.unsequenced_leaves),
            ),
            (
                "kvit_evidence_lag_seconds",
                sequenced(backlog.unsequenced_oldest_seconds),
            ),
        ];
        for (name, value) in totals {
            metrics::gauge!(name).set(number(value));
        }
        for (kind, seconds) in backlog.oldest_duties {
            metrics::gauge!("kvit_duties_oldest_seconds", "kind" => kind).set(number(seconds));
        }
        for site in self.loaded.config.sites.keys() {
            let waiting = backlog.events_waiting.get(site.as_str()).copied().unwrap_or(0);
            metrics::gauge!("kvit_events_waiting", "site" => site.to_string()).set(number(waiting));
        }
        let workers = self.ledger.workers(now - HEARD).await?;
        for service in SERVICES {
            let live = workers.iter().filter(|worker| worker.service == service).count();
            metrics::gauge!("kvit_workers", "service" => service).set(number(i64::try_from(live).unwrap_or(0)));
        }
        Ok(())
    }

    /// From the rows of the runs, so that a restart or another replica changes nothing; of a schedule that has none, from
    /// `since`.
    async fn measure_schedules(&self, since: Timestamp) -> anyhow::Result<()> {
        for schedule in cron::schedules(&self.loaded.config)? {
            let name = schedule.name;
            let due = if let Some((planned, ended)) = self.ledger.last_good_run(name, FAILED).await? {
                metrics::gauge!("kvit_schedule_last_success_timestamp_seconds", "schedule" => name)
                    .set(number(ended.as_second()));
                schedule.expression.after(planned)
            } else {
                let first = self.ledger.first_planned(name).await?;
                first.or_else(|| schedule.expression.after(since))
            };
            // One that is never planned again is never due.
            metrics::gauge!("kvit_schedule_due_timestamp_seconds", "schedule" => name)
                .set(due.map_or(f64::NAN, |due| number(due.as_second())));
        }
        Ok(())
    }
}

/// How long a site that confirms deletions has for it.
const CONFIRMS_WITHIN: SignedDuration = SignedDuration::from_hours(24);

impl Scheduler {
    /// Warns of sites that promised to say when their own copies are gone, and have not.
    pub(crate) async fn miss_confirmations(&self) -> anyhow::Result<()> {
        let before = self.clock.now() - CONFIRMS_WITHIN;
        for (site, settings) in &self.loaded.config.sites {
            if !settings.confirms_deletion {
                continue;
            }
            let kept = self.ledger.site_copies_kept(site.to_string(), before).await?;
            if kept > 0 {
                tracing::error!(%site, submissions = kept, "a site has not said within 24 hours that its own copies are gone: does it read its events and delete what was delivered?");
            }
            metrics::gauge!("kvit_site_copies_unconfirmed", "site" => site.to_string()).set(number(kept));
        }
        Ok(())
    }
}

fn measure(figures: &Figures) {
    let totals = [
        ("kvit_submissions_arrived", figures.arrived),
        ("kvit_submissions_accepted", figures.accepted),
        ("kvit_submissions_open", figures.open),
        ("kvit_submissions_deleted", figures.deleted),
        ("kvit_submissions_quarantined", figures.quarantined),
        ("kvit_submissions_duplicates", figures.duplicates.ignored),
        ("kvit_submissions_drafts", figures.drafts_ignored),
        ("kvit_mails_possible_duplicates", figures.duplicates.possible_mail),
        ("kvit_submissions_form_drift", figures.form_drift),
        ("kvit_submissions_oldest_open_seconds", figures.oldest_open_seconds),
        ("kvit_conservation_arrived_difference", figures.arrived_difference()),
        ("kvit_conservation_accepted_difference", figures.accepted_difference()),
    ];
    for (name, value) in totals {
        metrics::gauge!(name).set(number(value));
    }
    for (kind, counts) in &figures.duties {
        let states = [
            ("ready", counts.ready),
            ("sending", counts.sending),
            ("done", counts.done),
            ("held", counts.held),
            ("failed", counts.failed),
            ("cancelled", counts.cancelled),
        ];
        for (state, count) in states {
            metrics::gauge!("kvit_duties", "kind" => kind.clone(), "state" => state).set(number(count));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn number(count: i64) -> f64 {
    count as f64
}
