//! The queues and exchanges, and how they are declared.
//!
//! Written for RabbitMQ 3.10 and 4.x. Every arrow has a named exchange of its own, so that a broker user can be given
//! just `kvit.duties` to write to: whoever may write to the default exchange may write to every queue.

use domain::SiteId;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{Channel, Connection, ExchangeKind};
use tokio::sync::watch;

use crate::words;

/// The queue whose wake-ups the mailer takes.
pub const MAIL_DUTIES: &str = "kvit.duties.mail";
/// The queue whose wake-ups the journaliser takes.
pub const JOURNAL_DUTIES: &str = "kvit.duties.journal";
/// The topic exchange of the events to sites.
pub const EVENTS: &str = "kvit.events";

/// The direct exchange of the wake-ups; the routing key is the queue's name.
pub(crate) const DUTIES: &str = "kvit.duties";
/// The direct exchange of what came too often; the routing key is the queue's name.
const DEAD: &str = "kvit.dead";

/// After so many deliveries a submission goes to the dead-letter queue. A backstop: a low limit punishes the innocent.
const DELIVERY_LIMIT: i32 = 50;
/// Practically never: 4.x would drop after 20, and 3.10 knows no "unlimited".
const NO_DELIVERY_LIMIT: i32 = 1_000_000_000;
/// So many hints are kept for workers that are away.
const MOST_HINTS: i32 = 10_000;

/// The queue that a site publishes to.
#[must_use]
pub fn submissions_queue(site: &SiteId) -> String {
    format!("kvit.submissions.{site}")
}

/// The queue for a site's submissions that were delivered too often.
#[must_use]
pub fn dead_queue(site: &SiteId) -> String {
    format!("{DEAD}.{site}")
}

/// The queue that a site reads its events from.
#[must_use]
pub fn events_queue(site: &SiteId) -> String {
    format!("{EVENTS}.{site}")
}

/// Every queue of Kvit where these sites are: three of each site, and the two of the wake-ups.
pub fn all_queues<'s>(sites: impl IntoIterator<Item = &'s SiteId>) -> Vec<String> {
    let of_site = |site| [submissions_queue(site), dead_queue(site), events_queue(site)];
    let of_sites = sites.into_iter().flat_map(of_site);
    of_sites
        .chain([MAIL_DUTIES, JOURNAL_DUTIES].map(str::to_owned))
        .collect()
}

/// What happens to a message of this queue that is rejected for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// It is kept elsewhere (a submission) or was only a hint.
    IsSafe,
    /// It would be lost.
    IsLost,
}

/// Whether a message of this queue may be rejected without losing it.
pub(crate) fn rejected(queue: &str) -> Rejected {
    if queue.starts_with("kvit.submissions.") || queue.starts_with("kvit.duties.") {
        Rejected::IsSafe
    } else {
        Rejected::IsLost
    }
}

/// Something that the link wants to find on the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Site(SiteId),
    Duties,
    Events(SiteId),
}

/// Everything that the link wants, in the order in which it was asked for.
pub(crate) struct Topology {
    items: watch::Sender<Vec<Item>>,
    declare: bool,
}

impl Topology {
    pub(crate) fn new(declare: bool) -> Self {
        Self {
            items: watch::Sender::new(Vec::new()),
            declare,
        }
    }

    pub(crate) fn want(&self, item: Item) {
        self.items.send_if_modified(|items| {
            let new = !items.contains(&item);
            if new {
                items.push(item);
            }
            new
        });
    }

    pub(crate) fn items(&self) -> Vec<Item> {
        self.items.borrow().clone()
    }

    pub(crate) fn changes(&self) -> watch::Receiver<Vec<Item>> {
        self.items.subscribe()
    }

    /// Declares (or looks for) every item; the words of each that failed. One failing holds up no other.
    pub(crate) async fn declare(&self, connection: &Connection, items: &[Item]) -> Vec<String> {
        let mut faults = Vec::new();
        for item in items {
            if let Err(words) = self.declare_one(connection, item).await {
                faults.push(words);
            }
        }
        faults
    }

    /// Declares what a queue needs before it can be consumed, when it is one that the link wants.
    pub(crate) async fn declare_queue(&self, connection: &Connection, queue: &str) -> Result<(), String> {
        let wanted = self.items().into_iter().find(|item| item.has_queue(queue));
        match wanted {
            Some(item) => self.declare_one(connection, &item).await,
            None => Ok(()),
        }
    }

    /// A refusal closes the channel, so each item has a new one.
    async fn declare_one(&self, connection: &Connection, item: &Item) -> Result<(), String> {
        let channel = connection
            .create_channel()
            .await
            .map_err(|error| words::channel("a channel", &error))?;
        let declaring = Declaring {
            channel,
            passive: !self.declare,
        };
        declaring.item(item).await
    }
}

impl Item {
    fn has_queue(&self, queue: &str) -> bool {
        match self {
            Self::Site(site) => queue == submissions_queue(site) || queue == dead_queue(site),
            Self::Duties => queue == MAIL_DUTIES || queue == JOURNAL_DUTIES,
            Self::Events(site) => queue == events_queue(site),
        }
    }
}

/// One item on one channel.
struct Declaring {
    channel: Channel,
    passive: bool,
}

impl Declaring {
    async fn item(&self, item: &Item) -> Result<(), String> {
        match item {
            Item::Site(site) => self.site(site).await,
            Item::Duties => self.duties().await,
            Item::Events(site) => self.events(site).await,
        }
    }

    async fn site(&self, site: &SiteId) -> Result<(), String> {
        let dead = dead_queue(site);
        self.exchange(DEAD, ExchangeKind::Direct).await?;
        self.queue(&dead, kept(NO_DELIVERY_LIMIT)).await?;
        self.bind(&dead, DEAD, &dead).await?;
        self.queue(&submissions_queue(site), submissions(&dead)).await
    }

    async fn duties(&self) -> Result<(), String> {
        self.exchange(DUTIES, ExchangeKind::Direct).await?;
        for queue in [MAIL_DUTIES, JOURNAL_DUTIES] {
            self.queue(queue, hints()).await?;
            self.bind(queue, DUTIES, queue).await?;
        }
        Ok(())
    }

    async fn events(&self, site: &SiteId) -> Result<(), String> {
        let queue = events_queue(site);
        self.exchange(EVENTS, ExchangeKind::Topic).await?;
        self.queue(&queue, kept(NO_DELIVERY_LIMIT)).await?;
        self.bind(&queue, EVENTS, &format!("{site}.#")).await
    }

    async fn exchange(&self, name: &str, kind: ExchangeKind) -> Result<(), String> {
        let options = ExchangeDeclareOptions {
            durable: true,
            passive: self.passive,
            ..ExchangeDeclareOptions::default()
        };
        self.channel
            .exchange_declare(name.into(), kind, options, FieldTable::default())
            .await
            .map_err(|error| words::channel(&format!("exchange {name}"), &error))
    }

    async fn queue(&self, name: &str, arguments: FieldTable) -> Result<(), String> {
        let options = QueueDeclareOptions {
            durable: true,
            passive: self.passive,
            ..QueueDeclareOptions::default()
        };
        self.channel
            .queue_declare(name.into(), options, arguments)
            .await
            .map(drop)
            .map_err(|error| words::channel(&format!("queue {name}"), &error))
    }

    /// A binding cannot be looked for, so a passive link takes it for granted.
    async fn bind(&self, queue: &str, exchange: &str, key: &str) -> Result<(), String> {
        if self.passive {
            return Ok(());
        }
        let options = QueueBindOptions::default();
        self.channel
            .queue_bind(
                queue.into(),
                exchange.into(),
                key.into(),
                options,
                FieldTable::default(),
            )
            .await
            .map_err(|error| words::channel(&format!("the binding of {queue} to {exchange}"), &error))
    }
}

/// A site's submissions: dead-lettered at least once, which RabbitMQ does only together with `reject-publish`.
fn submissions(dead: &str) -> FieldTable {
    let mut arguments = kept(DELIVERY_LIMIT);
    arguments
        .insert("x-dead-letter-exchange".into(), text(DEAD))
        .insert("x-dead-letter-routing-key".into(), text(dead))
        .insert("x-dead-letter-strategy".into(), text("at-least-once"))
        .insert("x-overflow".into(), text("reject-publish"));
    arguments
}

/// What must survive a restart and, where the broker is a cluster, the loss of a machine.
fn kept(delivery_limit: i32) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments
        .insert("x-queue-type".into(), text("quorum"))
        .insert("x-delivery-limit".into(), AMQPValue::LongInt(delivery_limit));
    arguments
}

/// Wake-ups: a classic queue, because nothing is lost with them.
fn hints() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments
        .insert(ShortString::from("x-queue-type"), text("classic"))
        .insert("x-max-length".into(), AMQPValue::LongInt(MOST_HINTS))
        .insert("x-overflow".into(), text("drop-head"));
    arguments
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_kept_elsewhere_may_be_rejected() {
        let site: SiteId = "eksempel".parse().unwrap();
        assert_eq!(rejected(&submissions_queue(&site)), Rejected::IsSafe);
        assert_eq!(rejected(MAIL_DUTIES), Rejected::IsSafe);
        assert_eq!(rejected(&dead_queue(&site)), Rejected::IsLost);
        assert_eq!(rejected("anything"), Rejected::IsLost);
    }

    #[test]
    fn an_item_is_wanted_once() {
        let topology = Topology::new(true);
        topology.want(Item::Duties);
        topology.want(Item::Duties);
        assert_eq!(topology.items(), [Item::Duties]);
    }
}
