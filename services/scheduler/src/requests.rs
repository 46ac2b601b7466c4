//! What programs without keys ask of the scheduler: to run a schedule now, to export an event's registrations, to withdraw
//! one.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use ledger::Request;
pub use ledger::requests::{EXPORT, Export, OfSchedule, RUN_SCHEDULE, WITHDRAW, Withdraw};
use letter::{ExtractPurpose, Notice};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::Scheduler;
use crate::extract::{List, Made};

/// How often requests are looked for.
const LOOK: Duration = Duration::from_millis(250);
/// Requests older than this have nobody waiting for them.
const FRESH: SignedDuration = SignedDuration::from_mins(10);

/// Serves requests until shutdown.
pub(crate) async fn serve(scheduler: Arc<Scheduler>, shutdown: CancellationToken) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let since = scheduler.clock.now() - FRESH;
        let Ok(requests) = scheduler.ledger.asked(&[RUN_SCHEDULE, EXPORT, WITHDRAW], since).await else {
            continue;
        };
        for request in requests {
            let answer = scheduler.answer(&request, &shutdown).await;
            let answer = answer.unwrap_or_else(|error| {
                tracing::error!(request.id = %request.id, error = format!("{error:#}"), "a request could not be served");
                json!({"error": error.to_string()})
            });
            let now = scheduler.clock.now();
            if let Err(error) = scheduler.ledger.answer(request.id, answer.to_string(), now).await {
                tracing::warn!(request.id = %request.id, %error, "a request's answer cannot be recorded");
            }
        }
    }
}

impl Scheduler {
    /// Serves one request.
    ///
    /// # Errors
    ///
    /// Where it could not be served; its display says why without any value.
    pub async fn answer(&self, request: &Request, shutdown: &CancellationToken) -> anyhow::Result<Value> {
        match request.kind.as_str() {
            RUN_SCHEDULE => {
                let OfSchedule { name } = serde_json::from_str(&request.args)?;
                self.run_now(&name, shutdown).await
            }
            EXPORT => self.export(serde_json::from_str(&request.args)?).await,
            _ => self.withdraw(serde_json::from_str(&request.args)?).await,
        }
    }

    async fn run_now(&self, name: &str, shutdown: &CancellationToken) -> anyhow::Result<Value> {
        let schedules = crate::cron::schedules(&self.loaded.config)?;
        let Some(schedule) = schedules.iter().find(|schedule| schedule.name == name) else {
            return Ok(json!({"error": "no such schedule"}));
        };
        let outcome = self.run_once(schedule, self.clock.now(), shutdown).await?;
        Ok(json!({"schedule": name, "outcome": outcome}))
    }

    /// Everything that is kept for an event, encrypted to a department. After the deadline, to the form's own department,
    /// it carries a code and counts like any extract: the way to send a lost list again.
    async fn export(&self, asked: Export) -> anyhow::Result<Value> {
        let now = self.clock.now();
        self.certificates.refresh(&self.ledger).await?;
        let Some(event) = self.ledger.event(asked.event.clone()).await? else {
            return Ok(json!({"error": "no such event"}));
        };
        let form = self.form_of(&event)?;
        let closed = event.deadline.is_some_and(|deadline| deadline <= now);
        let counts = closed && asked.to == form.department;
        let registered = self.ledger.registered(event.id.clone(), false).await?;
        let registered: Vec<_> = registered.into_iter().filter(|one| !one.test).collect();
        let addresses = self.addresses(&event.id).await?;
        let counted = (registered.len(), addresses.len());
        let list = List {
            event,
            form,
            department: asked.to,
            purpose: ExtractPurpose::Export,
            confirm: if counts && !registered.is_empty() {
                "code"
            } else {
                "none"
            },
            supplement: false,
            test: false,
        };
        Ok(match self.make(&list, &registered, addresses, now).await? {
            Made::Held(reason) => json!({"reason": reason.to_string()}),
            Made::Mails(mails) => json!({
                "event": list.event.id,
                "department": list.department,
                "mails": mails,
                "registrations": counted.0,
                "addresses": counted.1,
                "confirm": list.confirm,
            }),
        })
    }

    /// Withdraws a registration by an operator's act; the department is told where anything of it reached it (E4).
    async fn withdraw(&self, asked: Withdraw) -> anyhow::Result<Value> {
        let now = self.clock.now();
        let Some((ids, facts)) = self.ledger.versions_of_registration(asked.id).await? else {
            return Ok(json!({"error": "no such registration"}));
        };
        let told = self.ledger.is_withdrawn(ids.clone()).await?;
        let mut notice = None;
        if !told && self.ledger.reached_department(ids.clone()).await? {
            let site = self.loaded.config.sites.get(&facts.site);
            let test = facts
                .test
                .then(|| site.and_then(|site| site.test_mail.clone()))
                .flatten();
            let said = Notice::Withdrawn {
                reference: facts.reference.clone(),
            };
            let duty = self.notices.duty(&facts.department, &said, &[], test.as_ref(), now);
            notice = Some(duty.await?);
        }
        let wakes: Vec<_> = notice.iter().map(|duty| duty.id).collect();
        let news = self.ledger.withdraw_registration(ids, notice, now).await?;
        self.link.wake(broker::MAIL_DUTIES, &wakes).await;
        Ok(json!({"reference": facts.reference, "withdrawn": news, "department_told": news && !wakes.is_empty()}))
    }
}
