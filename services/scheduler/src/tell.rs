//! Tells the sites: events from the ledger to `kvit.events`, as `CloudEvents` 1.0, at least once and in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker::{EVENTS, Properties};
use ledger::Outgoing;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::Scheduler;

/// How often the outbox is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How many events are told in one round.
const ROUND: u32 = 500;
/// The longest pause after a broker that did not take an event.
const PAUSE: Duration = Duration::from_secs(10);

/// Tells until shutdown. What the broker does not confirm is told again.
pub(crate) async fn run(scheduler: Arc<Scheduler>, shutdown: CancellationToken) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pause = LOOK;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match scheduler.tell().await {
            Ok(()) => pause = LOOK,
            Err(error) => {
                // Once for each time that it begins: what is away stays away for a while.
                if pause == LOOK {
                    tracing::warn!(error = format!("{error:#}"), "events wait for the broker; trying again");
                }
                pause = (pause * 2).min(PAUSE);
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
    }
}

impl Scheduler {
    /// Tells every site what waits for it; one whose queue is missing or full holds up no other.
    async fn tell(&self) -> anyhow::Result<()> {
        let mut failed = None;
        for site in self.ledger.outgoing_sites().await? {
            if let Err(error) = self.tell_site(&site).await {
                metrics::counter!("kvit_events_failed_total", "site" => site.clone()).increment(1);
                failed.get_or_insert(error.context(format!("telling site {site}")));
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn tell_site(&self, site: &str) -> anyhow::Result<()> {
        loop {
            let events = self
                .ledger
                .outgoing(site.to_owned(), ROUND, self.sequencer.is_some())
                .await?;
            if events.is_empty() {
                return Ok(());
            }
            let mut told = Vec::with_capacity(events.len());
            let mut failed = None;
            for event in events {
                match self.publish(&event).await {
                    Ok(()) => told.push(event),
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            failpoint::reached("scheduler.told").await;
            self.ledger.told(told).await?;
            if let Some(error) = failed {
                return Err(error);
            }
        }
    }

    async fn publish(&self, event: &Outgoing) -> anyhow::Result<()> {
        let known = event
            .site
            .parse()
            .is_ok_and(|site| self.loaded.config.sites.contains_key::<domain::SiteId>(&site));
        if !known {
            return Ok(()); // a site that is no longer configured has no queue to be told by
        }
        let form = if event.form.is_empty() { "unknown" } else { &event.form };
        let key = format!("{}.{form}.{}", event.site, event.event);
        let properties = Properties {
            content_type: Some("application/cloudevents+json".to_owned()),
            message_id: Some(id_of(event)),
            headers: BTreeMap::new(),
            ..Properties::default()
        };
        self.link
            .publish(EVENTS, &key, &cloud_event(event), &properties)
            .await?;
        Ok(())
    }
}

/// Its number is its own until the ledger is restored from a backup, and then others get it: the time tells them apart.
fn id_of(event: &Outgoing) -> String {
    format!("{}-{}", event.at.as_millisecond(), event.seq)
}

/// The event as `CloudEvents` 1.0 writes it in JSON.
fn cloud_event(event: &Outgoing) -> Vec<u8> {
    let data = &event.data;
    let body = json!({
        "specversion": "1.0",
        "id": id_of(event),
        "source": format!("/kvit/{}", event.site),
        "type": format!("dk.kvit.submission.{}", event.event),
        "subject": data.id,
        "time": event.at.to_string(),
        "datacontenttype": "application/json",
        "data": {
            "uuid": data.uuid,
            "sid": data.sid,
            "serial": data.serial,
            "id": data.id,
            "reference": data.reference,
            "evidence": event.evidence,
        },
    });
    serde_json::to_vec(&body).unwrap_or_default()
}
