//! Publishing: with a confirm where it matters, without where it is only a hint.

use std::collections::HashMap;
use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::DutyId;
use futures::future::maybe_done;
use futures::poll;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, PublisherConfirm};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::address::Endpoint;
use crate::backoff::Backoff;
use crate::message::Properties;
use crate::session::{self, Session, Sessions};
use crate::state::{Board, Part, State};
use crate::topology::{DUTIES, Topology};
use crate::wake;

/// How long a publish may take, waiting for the connection included.
const PUBLISHING: Duration = Duration::from_secs(10);
/// How long a hint may take.
const WAKING: Duration = Duration::from_secs(1);
/// So many messages may wait for their confirms at a time.
const IN_FLIGHT: usize = 32;

/// Why a message is not known to be safe with the broker.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The broker could not be reached in time.
    #[error("the broker cannot be reached")]
    NotConnected,
    /// The broker is short of memory or disk and takes no messages.
    #[error("the broker takes no messages at present")]
    Blocked,
    /// No queue takes messages with this exchange and routing key.
    #[error("no queue takes messages for {exchange:?} with routing key {routing_key:?}")]
    Unroutable {
        /// The exchange that was published to.
        exchange: String,
        /// The routing key.
        routing_key: String,
    },
    /// The broker refused the message (nack): a queue is full or could not write it.
    #[error("the broker refused the message")]
    Refused,
    /// The broker did not answer in time; it may have the message.
    #[error("the broker did not confirm the message in time")]
    NotConfirmed,
    /// A name or a property is longer than AMQP's 255 bytes.
    #[error("an exchange, routing key or property is longer than 255 bytes")]
    TooLong,
    /// The channel or the connection failed: no such exchange, no right to write there, connection lost.
    #[error("publishing failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl PublishError {
    /// The word for it where it is counted.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::NotConnected => "not_connected",
            Self::Blocked => "blocked",
            Self::Unroutable { .. } => "unroutable",
            Self::Refused => "refused",
            Self::NotConfirmed => "not_confirmed",
            Self::TooLong => "too_long",
            Self::Failed(_) => "failed",
        }
    }
}

impl From<lapin::Error> for PublishError {
    fn from(error: lapin::Error) -> Self {
        Self::Failed(Box::new(error))
    }
}

/// One of several messages that are published together.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// Its routing key.
    pub routing_key: &'a str,
    /// Its content.
    pub body: &'a [u8],
    /// Its properties.
    pub properties: &'a Properties,
}

/// Shows sizes, never content.
impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("routing_key", &self.routing_key)
            .field("body.bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Which items have been tried on which session.
#[derive(Clone, Copy, Default)]
struct Declared {
    session: u64,
    items: usize,
}

/// The publishing half of a link.
pub(crate) struct Publisher {
    sessions: Sessions,
    declared: watch::Receiver<Declared>,
    in_flight: Semaphore,
    idle: Mutex<Vec<Channel>>,
    hints: tokio::sync::Mutex<Option<Channel>>,
    /// The duties of which nobody was told yet, by queue.
    asleep: Mutex<HashMap<String, Vec<DutyId>>>,
}

/// A publisher, and the future that keeps its connection.
pub(crate) fn start(
    endpoint: Arc<Endpoint>,
    board: Board,
    topology: Arc<Topology>,
) -> (Publisher, impl Future<Output = ()> + Send + 'static) {
    let (sessions_in, sessions) = watch::channel(None);
    let (declared_in, declared) = watch::channel(Declared::default());
    let publisher = Publisher {
        sessions: sessions.clone(),
        declared,
        in_flight: Semaphore::new(IN_FLIGHT),
        idle: Mutex::default(),
        hints: tokio::sync::Mutex::default(),
        asleep: Mutex::default(),
    };
    let keeper = async move {
        tokio::select! {
            () = session::keep(endpoint, "publish", board.clone(), sessions_in) => {}
            () = keep_declared(topology, sessions, board, declared_in) => {}
        }
    };
    (publisher, keeper)
}

/// Declares what is wanted on each new session, and what is wanted anew, until dropped.
async fn keep_declared(
    topology: Arc<Topology>,
    mut sessions: Sessions,
    board: Board,
    declared: watch::Sender<Declared>,
) {
    let mut changes = topology.changes();
    let mut backoff = Backoff::connecting();
    loop {
        let Ok(session) = sessions.wait_for(Option::is_some).await.map(|session| session.clone()) else {
            return; // the connection is kept no longer
        };
        let Some(session) = session else { continue };
        let items = changes.borrow_and_update().clone();
        let faults = match timeout(PUBLISHING, topology.declare(&session.connection, &items)).await {
            Ok(faults) => faults,
            Err(_) => vec!["the broker does not answer to declarations".to_owned()],
        };
        declared.send_replace(Declared {
            session: session.number,
            items: items.len(),
        });
        let failed = !faults.is_empty();
        if failed {
            board.set(Part::Declaring, State::Down(faults.join("; ")));
        } else {
            backoff.reset();
            board.remove(&Part::Declaring);
        }
        tokio::select! {
            () = sleep(backoff.next()), if failed => {}
            _ = changes.changed() => {}
            _ = sessions.wait_for(|now| now.as_ref().is_none_or(|now| now.number != session.number)) => {}
        }
    }
}

impl Publisher {
    /// Publishes one message; at most one is in flight on a channel, or the messages of one [`Publisher::publish_all`].
    ///
    /// One a channel, because lapin hands a returned message to whichever confirm it completes next: were two in flight,
    /// an acknowledgement of both at once could tell the sender of the lost one that it was routed.
    pub(crate) async fn publish(
        &self,
        topology: &Topology,
        exchange: &str,
        routing_key: &str,
        body: &[u8],
        properties: &Properties,
    ) -> Result<(), PublishError> {
        let address = (name(exchange)?, name(routing_key)?);
        let properties = properties.persistent().map_err(|_| PublishError::TooLong)?;

        let mut session = None;
        let attempt = async {
            let _permit = self.in_flight.acquire().await.expect("the semaphore is never closed");
            let open = self.ready(topology).await;
            if open.blocked {
                return Err(PublishError::Blocked);
            }
            let channel = self.channel(session.insert(open)).await?;
            let confirmation = unconfirmed(&channel, address, body, properties).await?.await?;
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
            Ok(confirmation)
        };
        let confirmation = match timeout(PUBLISHING, attempt).await {
            Ok(result) => result?,
            Err(_) => return Err(given_up(session)),
        };
        judged(&confirmation, exchange, routing_key)
    }

    /// Publishes messages in their order on one channel, and waits for all their confirms together: a quorum queue writes
    /// down at once what comes at once. An error is about at least one of them, and says not which (see
    /// [`Publisher::publish`]): then none is known to be safe.
    pub(crate) async fn publish_all(
        &self,
        topology: &Topology,
        exchange: &str,
        messages: &[Message<'_>],
    ) -> Result<(), PublishError> {
        let mut ready = Vec::with_capacity(messages.len());
        for message in messages {
            ready.push((
                (name(exchange)?, name(message.routing_key)?),
                message.properties.persistent().map_err(|_| PublishError::TooLong)?,
            ));
        }
        let mut session = None;
        let attempt = async {
            let _permit = self.in_flight.acquire().await.expect("the semaphore is never closed");
            let open = self.ready(topology).await;
            if open.blocked {
                return Err(PublishError::Blocked);
            }
            let channel = self.channel(session.insert(open)).await?;
            let mut sending = Vec::with_capacity(messages.len());
            for (message, (address, properties)) in messages.iter().zip(ready) {
                let mut publishing = Box::pin(maybe_done(unconfirmed(&channel, address, message.body, properties)));
                // The first poll hands it to the connection, in this order (which `join_all` does not promise); the rest of
                // the future only waits until it is written. Awaited one after the other, each were a write of its own.
                let _ = poll!(publishing.as_mut());
                sending.push((message, publishing));
            }
            let mut confirmations = Vec::with_capacity(messages.len());
            for (message, mut publishing) in sending {
                publishing.as_mut().await;
                let confirm = publishing.as_mut().take_output().expect("it was awaited")?;
                confirmations.push((message.routing_key, confirm.await?));
            }
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
            Ok(confirmations)
        };
        let confirmations = match timeout(PUBLISHING, attempt).await {
            Ok(result) => result?,
            Err(_) => return Err(given_up(session)),
        };
        confirmations
            .into_iter()
            .try_for_each(|(routing_key, confirmation)| judged(&confirmation, exchange, routing_key))
    }

    /// Waits for a session on which everything that is wanted now has been declared, or tried.
    async fn ready(&self, topology: &Topology) -> Session {
        let wanted = topology.items().len();
        let mut sessions = self.sessions.clone();
        let mut declared = self.declared.clone();
        loop {
            let session = sessions.borrow_and_update().clone();
            let done = *declared.borrow_and_update();
            match session {
                Some(session) if done.session == session.number && done.items >= wanted => return session,
                _ => {
                    let changed = tokio::select! {
                        changed = sessions.changed() => changed,
                        changed = declared.changed() => changed,
                    };
                    if changed.is_err() {
                        pending::<()>().await; // nobody keeps the connection: the caller's timeout ends this
                    }
                }
            }
        }
    }

    /// An idle channel, or a new one that confirms.
    async fn channel(&self, session: &Session) -> Result<Channel, lapin::Error> {
        while let Some(channel) = self.take_idle() {
            if channel.status().connected() {
                return Ok(channel);
            }
        }
        let channel = session.connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(channel)
    }

    fn take_idle(&self) -> Option<Channel> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Sends hints; what cannot be sent within a second is counted and forgotten.
    ///
    /// While one hint is being sent the next ones gather, and go in one message.
    pub(crate) async fn wake(&self, queue: &str, ids: &[DutyId]) {
        if ids.is_empty() {
            return;
        }
        self.asleep().entry(queue.to_owned()).or_default().extend(ids);
        let turn = timeout(WAKING, self.hints.lock()).await;
        let gathered = self.asleep().remove(queue).unwrap_or_default();
        if gathered.is_empty() {
            return; // gone with another's
        }
        let Ok(mut channel) = turn else {
            return lost(queue, gathered.len());
        };
        for ids in gathered.chunks(wake::MOST) {
            let sent = timeout(WAKING, self.hint(&mut channel, queue, &wake::body(ids))).await;
            if !matches!(sent, Ok(Ok(()))) {
                lost(queue, ids.len());
            }
        }
    }

    fn asleep(&self) -> MutexGuard<'_, HashMap<String, Vec<DutyId>>> {
        self.asleep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn hint(&self, kept: &mut Option<Channel>, queue: &str, body: &[u8]) -> Result<(), PublishError> {
        let queue = ShortString::try_new(queue).map_err(|_| PublishError::TooLong)?;
        let session = self.sessions.borrow().clone().ok_or(PublishError::NotConnected)?;
        if session.blocked {
            return Err(PublishError::Blocked);
        }
        let channel = match kept.take() {
            Some(channel) if channel.status().connected() => channel,
            _ => session.connection.create_channel().await?,
        };
        let options = BasicPublishOptions::default();
        let sent = channel
            .basic_publish(DUTIES.into(), queue, options, body, BasicProperties::default())
            .await?;
        sent.await?; // no confirm was asked for, so this is there at once
        *kept = Some(channel);
        Ok(())
    }
}

fn lost(queue: &str, duties: usize) {
    metrics::counter!("kvit_broker_wakes_lost_total").increment(1);
    debug!(broker.queue = %queue, duties, "wake-up not sent; the sweep will find its duties");
}

fn name(name: &str) -> Result<ShortString, PublishError> {
    ShortString::try_new(name).map_err(|_| PublishError::TooLong)
}

fn judged(confirmation: &Confirmation, exchange: &str, routing_key: &str) -> Result<(), PublishError> {
    match confirmation {
        Confirmation::Ack(None) => Ok(()),
        // Acked, and all the same in no queue: the broker has sent it back.
        Confirmation::Ack(Some(_)) => Err(PublishError::Unroutable {
            exchange: exchange.to_owned(),
            routing_key: routing_key.to_owned(),
        }),
        Confirmation::Nack(_) | Confirmation::NotRequested => Err(PublishError::Refused),
    }
}

/// Hands a message to the broker; what is answered waits for its confirm.
async fn unconfirmed(
    channel: &Channel,
    (exchange, routing_key): (ShortString, ShortString),
    body: &[u8],
    properties: BasicProperties,
) -> Result<PublisherConfirm, lapin::Error> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    channel
        .basic_publish(exchange, routing_key, options, body, properties)
        .await
}

/// A connection that stands and does not answer within the time is given up: the next one may be better.
fn given_up(session: Option<Session>) -> PublishError {
    match session {
        None => PublishError::NotConnected,
        Some(session) => {
            session.give_up.cancel();
            PublishError::NotConfirmed
        }
    }
}
