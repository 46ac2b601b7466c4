//! Tells the sites: events from the ledger to `kvit.events`, as `CloudEvents` 1.0, at least once and in order.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use broker::{EVENTS, Message, Properties};
use jiff::Timestamp;
use ledger::Outgoing;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use worker::{Fact, SpanKind, Step};

use crate::Scheduler;

/// How often the outbox is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How many events are told in one round.
const ROUND: u32 = 500;
/// How many are told at once at most.
const TOGETHER: usize = 200;
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
            let (told, failed) = self.publish(events).await;
            failpoint::reached("scheduler.told").await;
            self.ledger.told(told).await?;
            if let Some(error) = failed {
                return Err(error);
            }
        }
    }

    /// Publishes events in their order, and answers those that the broker has for sure.
    async fn publish(&self, events: Vec<Outgoing>) -> (Vec<Outgoing>, Option<anyhow::Error>) {
        let mut told = Vec::with_capacity(events.len());
        let mut rest = events.as_slice();
        while !rest.is_empty() {
            let (group, after) = rest.split_at(together(rest));
            // Where one of them was not taken, one after the other shows which.
            if self.publish_together(group).await.is_ok() {
                told.extend_from_slice(group);
            } else {
                for event in group {
                    if let Err(error) = self.publish_together(std::slice::from_ref(event)).await {
                        return (told, Some(error));
                    }
                    told.push(event.clone());
                }
            }
            rest = after;
        }
        (told, None)
    }

    async fn publish_together(&self, events: &[Outgoing]) -> anyhow::Result<()> {
        // A site that is no longer configured has no queue to be told by.
        let known = |event: &&Outgoing| {
            let site = event.site.parse::<domain::SiteId>();
            site.is_ok_and(|site| self.loaded.config.sites.contains_key(&site))
        };
        let letters: Vec<Letter> = events.iter().filter(known).map(Letter::of).collect();
        if letters.is_empty() {
            return Ok(());
        }
        let messages: Vec<_> = letters.iter().map(Letter::message).collect();
        let begun = self.clock.now();
        self.link.publish_all(EVENTS, &messages).await?;
        for event in events.iter().filter(known) {
            self.trace(event, begun);
        }
        Ok(())
    }

    /// Tells the trace of its submission of an event that the broker has. A message that became none has no trace.
    fn trace(&self, event: &Outgoing, begun: Timestamp) {
        let id = event.data.id.as_deref().and_then(|id| id.parse().ok());
        let Some(submission) = id else { return };
        self.traces.step(submission, || Step {
            name: format!("publish {EVENTS}"),
            kind: SpanKind::Producer,
            at: (begun, self.clock.now()),
            failed: false,
            facts: vec![
                Fact::Event(event.event.clone()),
                Fact::Messaging(EVENTS.to_owned(), "publish", "send"),
            ],
        });
    }
}

/// How many of the first events are told at once: each of another submission, since the broker may refuse one and take the
/// next, and what became of a submission is told in its order.
fn together(events: &[Outgoing]) -> usize {
    let mut seen = HashSet::new();
    let alone = |event: &&Outgoing| event.data.id.as_ref().is_none_or(|id| seen.insert(id.clone()));
    events.iter().take(TOGETHER).take_while(alone).count()
}

/// An event as the broker gets it.
struct Letter {
    routing_key: String,
    body: Vec<u8>,
    properties: Properties,
}

impl Letter {
    fn of(event: &Outgoing) -> Self {
        let form = if event.form.is_empty() { "unknown" } else { &event.form };
        Self {
            routing_key: format!("{}.{form}.{}", event.site, event.event),
            body: cloud_event(event),
            properties: Properties {
                content_type: Some("application/cloudevents+json".to_owned()),
                message_id: Some(id_of(event)),
                ..Properties::default()
            },
        }
    }

    fn message(&self) -> Message<'_> {
        Message {
            routing_key: &self.routing_key,
            body: &self.body,
            properties: &self.properties,
        }
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

#[cfg(test)]
mod tests {
    use ledger::EventData;

    use super::*;

    fn event(id: Option<&str>) -> Outgoing {
        Outgoing {
            seq: 1,
            site: "eksempel".to_owned(),
            form: String::new(),
            event: "accepted".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            data: EventData {
                id: id.map(str::to_owned),
                ..EventData::default()
            },
            evidence: None,
        }
    }

    /// A submission's events are never under way together, and every round tells something.
    #[test]
    fn what_is_told_at_once_is_of_different_submissions() {
        let events = |ids: &[Option<&str>]| ids.iter().copied().map(event).collect::<Vec<_>>();
        assert_eq!(together(&events(&[Some("a"), Some("b"), Some("a"), Some("c")])), 2);
        assert_eq!(together(&events(&[Some("a"), Some("a")])), 1);
        assert_eq!(
            together(&events(&[None, Some("a"), None])),
            3,
            "those about no submission"
        );
        assert_eq!(together(&vec![event(None); 10 * TOGETHER]), TOGETHER);
    }
}
