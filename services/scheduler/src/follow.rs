//! What follows an extract and an event: confirmation by the mail's acceptance, reminders, the notice to delete on the
//! day after, and the alarms.

use domain::{DepartmentId, EmailAddress, Reference};
use jiff::{SignedDuration, Timestamp};
use ledger::{EventRow, ExtractRow, NewDuty};
use letter::Notice;
use vault::Code;

use crate::Scheduler;

/// After how many days the department is reminded of a list that it has not confirmed; the last raises an alarm.
const REMINDERS: [i64; 3] = [1, 3, 7];
/// How long before the end of an event an alarm says that registrations were never extracted.
const BEFOREHAND: SignedDuration = SignedDuration::from_hours(3 * 24);
/// How long after the notice to delete an alarm says that nobody has answered.
const UNANSWERED: SignedDuration = SignedDuration::from_hours(7 * 24);
/// The most references in one notice.
const MOST: usize = 2_000;

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Confirms, reminds, tells and warns. One that fails delays no other.
pub(crate) async fn run(scheduler: &Scheduler, now: Timestamp) -> anyhow::Result<String> {
    let (mut confirmed, mut reminded, mut overdue) = (0, 0, 0);
    for extract in scheduler.ledger.extracts(None).await? {
        if !extract.awaited {
            continue;
        }
        if extract.confirm == "mail" {
            if extract.mail == "done" {
                let covered = scheduler.ledger.confirm_extract(extract.id, "mail", now).await?;
                confirmed += usize::from(covered.is_some());
            }
            continue;
        }
        overdue += i32::from(now.duration_since(extract.made_at) >= DAY * 7);
        match scheduler.remind(&extract, now).await {
            Ok(sent) => reminded += usize::from(sent),
            Err(error) => tracing::error!(
                extract.id,
                error = format!("{error:#}"),
                "no reminder of an extract could be made"
            ),
        }
    }
    metrics::gauge!("kvit_extracts_unconfirmed_overdue").set(f64::from(overdue));
    scheduler.ledger.discharge_superseded(now).await?;
    let told = scheduler.tell_of_ends(now).await?;
    scheduler.warn(now).await?;
    Ok(format!(
        "{confirmed} confirmed by mail, {reminded} reminders, {told} notices to delete"
    ))
}

impl Scheduler {
    /// Reminds a department of a list when another day of reminders has come.
    async fn remind(&self, extract: &ExtractRow, now: Timestamp) -> anyhow::Result<bool> {
        let waited = now.duration_since(extract.made_at);
        let due = REMINDERS.iter().filter(|days| waited.as_hours() >= **days * 24).count();
        let due = i64::try_from(due).unwrap_or(0);
        if due <= extract.reminded {
            return Ok(false);
        }
        if waited >= DAY * 7 {
            tracing::error!(
                event = extract.event,
                extract.id,
                "a department has not confirmed its list for 7 days: its registrations cannot be deleted; ask it for the code, then kvit registration confirm"
            );
        }
        let Some(event) = self.ledger.event(extract.event.clone()).await? else {
            return Ok(false);
        };
        let notice = Notice::ExtractAwaitsCode {
            event: event.tag.clone().unwrap_or_default(),
            since: extract.made_at,
        };
        let department = extract.department.parse()?;
        let duty = self
            .event_notice(&event, &department, &notice, extract.test, now)
            .await?;
        self.ledger.reminded(extract.id.clone(), due, duty, now).await?;
        Ok(true)
    }

    async fn event_notice(
        &self,
        event: &EventRow,
        department: &DepartmentId,
        notice: &Notice,
        test: bool,
        now: Timestamp,
    ) -> anyhow::Result<NewDuty> {
        let test: Option<EmailAddress> = test.then(|| self.test_mail(event)).transpose()?;
        self.notices.duty(department, notice, &[], test.as_ref(), now).await
    }

    /// Tells departments, the day after an event was held, to delete what they were sent.
    async fn tell_of_ends(&self, now: Timestamp) -> anyhow::Result<usize> {
        let zone = &self.loaded.config.controller.time_zone;
        let today = now.to_zoned(zone.clone()).date();
        let mut told = 0;
        for event in self.ledger.held_and_untold(now).await? {
            let Some(held) = event.held else { continue };
            if held.to_zoned(zone.clone()).date() >= today {
                continue;
            }
            match self.tell_of_end(&event, held, now).await {
                Ok(sent) => told += sent,
                Err(error) => tracing::error!(
                    event = event.id,
                    error = format!("{error:#}"),
                    "a department could not be told to delete its copies; trying again"
                ),
            }
        }
        Ok(told)
    }

    async fn tell_of_end(&self, event: &EventRow, held: Timestamp, now: Timestamp) -> anyhow::Result<usize> {
        let code = Code::random()?;
        let mut notices = Vec::new();
        for test in [false, true] {
            let (sent, references) = self.ledger.sent_of_event(event.id.clone(), test).await?;
            if !sent {
                continue;
            }
            let department = self.form_of(event)?.department.clone();
            let references: Vec<Reference> = references.into_iter().take(MOST).collect();
            let notice = Notice::EventHeld {
                event: event.tag.clone().unwrap_or_default(),
                held,
                references,
                code: code.to_string(),
            };
            notices.push(self.event_notice(event, &department, &notice, test, now).await?);
        }
        let (sent, ids): (usize, Vec<_>) = (notices.len(), notices.iter().map(|duty| duty.id).collect());
        failpoint::reached("scheduler.end_key_committed").await;
        let digest = (sent > 0).then(|| code.digest(&event.id));
        self.ledger.told_of_end(event.id.clone(), notices, digest, now).await?;
        self.link.wake(broker::MAIL_DUTIES, &ids).await;
        Ok(sent)
    }

    /// Says what somebody must do: as figures each time, as words once a day.
    async fn warn(&self, now: Timestamp) -> anyhow::Result<()> {
        let say = self.is_first_of_day(now).await?;
        let (mut dateless, mut ending, mut unanswered) = (0, 0, 0);
        for event in self.ledger.events().await? {
            let id = event.id.as_str();
            if event.open > 0 && event.deadline.is_none() {
                dateless += 1;
                if say {
                    tracing::error!(
                        event = id,
                        "registrations are kept for an event without a deadline: kvit event set"
                    );
                }
            }
            let ends = event.held.is_some_and(|held| held > now && held - BEFOREHAND <= now);
            if event.unextracted > 0 && ends {
                ending += 1;
                if say {
                    tracing::error!(
                        event = id,
                        "an event ends within 3 days and has registrations that no confirmed extract covers: they will be deleted all the same"
                    );
                }
            }
            let told = event.notified_at.filter(|_| event.erased_at.is_none());
            if told.is_some_and(|told| told + UNANSWERED <= now) {
                unanswered += 1;
                if say {
                    tracing::error!(
                        event = id,
                        "a department has not said that it has deleted its copies: kvit event erased"
                    );
                }
            }
        }
        metrics::gauge!("kvit_events_without_deadline").set(f64::from(dateless));
        metrics::gauge!("kvit_events_ending_unextracted").set(f64::from(ending));
        metrics::gauge!("kvit_events_not_erased").set(f64::from(unanswered));
        Ok(())
    }

    /// Whether no earlier run of this schedule was planned today.
    async fn is_first_of_day(&self, now: Timestamp) -> anyhow::Result<bool> {
        let zone = &self.loaded.config.controller.time_zone;
        let day = |at: Timestamp| at.to_zoned(zone.clone()).date();
        let runs = self.ledger.runs("extract".to_owned(), 2).await?;
        Ok(runs.get(1).is_none_or(|before| day(before.planned_at) < day(now)))
    }
}
