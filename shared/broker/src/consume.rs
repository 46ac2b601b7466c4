//! Consuming: two consumers a queue, each on a channel of its own (see [`Ahead`]), a handler a message, until told to stop.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::{FutureExt, StreamExt};
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Acker, Channel, Consumer};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::acks::Acks;
use crate::address::Endpoint;
use crate::ahead::Ahead;
use crate::backoff::{Backoff, jitter};
use crate::count;
use crate::message::{Delivery, Verdict};
use crate::session::{self, Session, Sessions};
use crate::state::{Board, Part, State};
use crate::topology::{Rejected, Topology, rejected};
use crate::words;

/// How long declaring and opening a queue may take.
const OPENING: Duration = Duration::from_secs(15);
/// How long the broker may take to say goodbye.
const PARTING: Duration = Duration::from_secs(2);
/// How long handlers may go on after the shutdown began.
const DRAINING: Duration = Duration::from_secs(25);
/// How long a message is held for another attempt; the broker closes a channel whose message waits for 30 minutes.
const HOLDING: Duration = Duration::from_mins(20);
/// How long a message whose handler panicked waits before it is put back.
const AFTER_PANIC: Duration = Duration::from_secs(2);
/// A queue that was consumed so long is opened again quickly.
const STEADY: Duration = Duration::from_secs(10);

/// What consuming needs from its link.
pub(crate) struct Line {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) board: Board,
    pub(crate) topology: Arc<Topology>,
    pub(crate) paused: Paused,
}

/// The queues that are to rest.
pub(crate) type Paused = watch::Receiver<BTreeSet<String>>;

/// What all queues of one call share.
struct Work<H> {
    handler: H,
    slots: Semaphore,
    shutdown: CancellationToken,
}

/// See [`crate::Link::consume`].
pub(crate) async fn consume<H, F>(
    line: Line,
    queues: Vec<String>,
    prefetch: u16,
    shutdown: CancellationToken,
    handler: H,
) where
    H: Fn(Delivery) -> F + Send + Sync + 'static,
    F: Future<Output = Verdict> + Send + 'static,
{
    let role = match queues.as_slice() {
        [] => return shutdown.cancelled().await,
        [only] => format!("consume {only}"),
        [first, rest @ ..] => format!("consume {first} and {} more", rest.len()),
    };
    count::panicked(0);
    let (sessions_in, sessions) = watch::channel(None);
    let work = Arc::new(Work {
        handler,
        slots: Semaphore::new(usize::from(prefetch.max(1))),
        shutdown,
    });
    let feeds = queues.into_iter().flat_map(|queue| {
        let ahead = Arc::new(Ahead::new(prefetch));
        let (few, more) = ahead.prefetches();
        let feed = |turn, prefetch| Feed {
            queue: queue.clone(),
            turn,
            prefetch,
            ahead: ahead.clone(),
            work: work.clone(),
            board: line.board.clone(),
            topology: line.topology.clone(),
            paused: line.paused.clone(),
        };
        let first = feed(Turn::First, few);
        first.say(State::Down(format!("queue {queue} is not consumed yet")));
        let second = (more > 0).then(|| feed(Turn::Second, more));
        [Some(first), second].into_iter().flatten()
    });
    let feeds = feeds.map(|feed| feed.run(sessions.clone()));
    let feeds = join_all(feeds);
    tokio::select! {
        () = session::keep(line.endpoint, &role, line.board.clone(), sessions_in) => {}
        _ = feeds => {}
    }
    line.board.remove(&Part::Connection(role));
    part_with(&sessions).await;
}

/// Says goodbye, so that the broker sees an orderly end.
async fn part_with(sessions: &Sessions) {
    let session = sessions.borrow().clone();
    if let Some(session) = session {
        let goodbye = session.connection.close(200, "OK".into());
        if !matches!(timeout(PARTING, goodbye).await, Ok(Ok(()))) {
            debug!("the broker did not answer to the goodbye");
        }
    }
}

/// Which consumer of its queue it is: see [`Ahead`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    First,
    Second,
}

/// One consumer of one queue, over all sessions.
struct Feed<H> {
    queue: String,
    turn: Turn,
    /// How many messages it is given ahead.
    prefetch: u16,
    ahead: Arc<Ahead>,
    work: Arc<Work<H>>,
    board: Board,
    topology: Arc<Topology>,
    paused: Paused,
}

/// Why a queue is no longer consumed.
enum End {
    Shutdown,
    Paused,
    Lost(String),
}

impl<H, F> Feed<H>
where
    H: Fn(Delivery) -> F + Send + Sync + 'static,
    F: Future<Output = Verdict> + Send + 'static,
{
    async fn run(self, mut sessions: Sessions) {
        let mut backoff = Backoff::connecting();
        let mut tasks = JoinSet::new();
        // Kept until the handlers in hand are done: without their channel they could not ack.
        let mut kept = None;
        while let Some(session) = self.next_session(&mut sessions).await {
            let opened = Instant::now();
            let end = match self.open(&session).await {
                Ok((channel, consumer)) => {
                    self.say(State::Up);
                    kept = Some(channel.clone());
                    self.take(&channel, consumer, &mut tasks).await
                }
                Err(words) => End::Lost(words),
            };
            let words = match end {
                End::Lost(words) => words,
                // What is in hand is finished, and acknowledged on its channel.
                End::Shutdown => break,
                End::Paused => {
                    give_back(kept.take()).await;
                    continue;
                }
            };
            // Where only the consumer is lost, what it was given goes back with its channel.
            give_back(kept.take()).await;
            // What waits in the queue after an outage may be of any size.
            self.ahead.forget();
            self.say(State::Down(words));
            if opened.elapsed() >= STEADY {
                backoff.reset();
            }
            if self
                .work
                .shutdown
                .run_until_cancelled(sleep(backoff.next()))
                .await
                .is_none()
            {
                break;
            }
        }
        if self.turn == Turn::First {
            self.board.remove(&self.part());
        }
        self.drain(tasks).await;
        drop(kept);
    }

    fn part(&self) -> Part {
        Part::Queue(self.queue.clone())
    }

    /// Says how it stands with the queue. That is the first consumer's to say: without the second, all goes on.
    fn say(&self, state: State) {
        match (self.turn, &state) {
            (Turn::First, _) => self.board.set(self.part(), state),
            (Turn::Second, State::Down(words)) => debug!(%words, "the second consumer is away"),
            (Turn::Second, _) => {}
        }
    }

    /// The session to consume on, once it is not to rest.
    async fn next_session(&self, sessions: &mut Sessions) -> Option<Session> {
        let serves = |session: &Session| self.turn == Turn::First || !session.cautious;
        tokio::select! {
            biased;
            () = self.work.shutdown.cancelled() => None,
            session = async {
                if self.is_paused() {
                    self.say(State::Up);
                }
                self.until(false).await;
                sessions.wait_for(|session| session.as_ref().is_some_and(serves)).await.ok()?.clone()
            } => session,
        }
    }

    fn is_paused(&self) -> bool {
        self.paused.borrow().contains(&self.queue)
    }

    /// Waits until it is to rest, or is not: because the queue is paused, or because few messages are to wait in memory. The
    /// link that says so lives as long as its consumers.
    async fn until(&self, to_rest: bool) {
        let (mut paused, mut small) = (self.paused.clone(), self.ahead.small());
        loop {
            let is_paused = paused.borrow_and_update().contains(&self.queue);
            let is_wide = self.ahead.is_enough(*small.borrow_and_update());
            if (is_paused || (self.turn == Turn::Second && !is_wide)) == to_rest {
                return;
            }
            let changed = tokio::select! {
                changed = paused.changed() => changed,
                changed = small.changed() => changed,
            };
            if changed.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Declares the queue where wanted and starts consuming it on a channel of its own: quorum queues know no prefetch
    /// over several consumers.
    async fn open(&self, session: &Session) -> Result<(Channel, Consumer), String> {
        let late = || format!("queue {}: the broker does not answer", self.queue);
        let opening = async {
            self.topology.declare_queue(&session.connection, &self.queue).await?;
            session
                .connection
                .create_channel()
                .await
                .map_err(|error| self.words(&error))
        };
        let channel = timeout(OPENING, opening).await.unwrap_or_else(|_| Err(late()))?;
        let prefetch = if session.cautious { 1 } else { self.prefetch };
        let started = timeout(OPENING, self.start(&channel, prefetch)).await;
        match started.map_or_else(|_| Err(late()), |started| started.map_err(|error| self.words(&error))) {
            Ok(consumer) => Ok((channel, consumer)),
            Err(words) => {
                // A consumer that comes to be after all would be given messages that nobody takes.
                give_back(Some(channel)).await;
                Err(words)
            }
        }
    }

    fn words(&self, error: &lapin::Error) -> String {
        words::channel(&format!("queue {}", self.queue), error)
    }

    async fn start(&self, channel: &Channel, prefetch: u16) -> Result<Consumer, lapin::Error> {
        channel.basic_qos(prefetch, BasicQosOptions { global: false }).await?;
        let options = BasicConsumeOptions::default();
        channel
            .basic_consume(self.queue.as_str().into(), TAG.into(), options, FieldTable::default())
            .await
    }

    /// Gives deliveries to handlers until the shutdown, until the queue is to rest and what came is done, or until the
    /// consumer is lost.
    async fn take(&self, channel: &Channel, mut consumer: Consumer, tasks: &mut JoinSet<()>) -> End {
        let lost = CancellationToken::new();
        let _at_the_end = lost.clone().drop_guard();
        let mut resting = false;
        let acks = Arc::new(Acks::default());
        loop {
            tokio::select! {
                biased;
                () = self.work.shutdown.cancelled() => return End::Shutdown,
                () = self.until(true), if !resting => {
                    resting = true;
                    // Where the connection is lost meanwhile, lapin may never answer: how it ended is what the consumer says.
                    let cancelling = channel.basic_cancel(TAG.into(), BasicCancelOptions::default());
                    if let Ok(Err(error)) = timeout(PARTING, cancelling).await {
                        return End::Lost(self.words(&error));
                    }
                }
                _ = tasks.join_next(), if !tasks.is_empty() => {}
                delivery = consumer.next() => match delivery {
                    Some(Ok(delivery)) => {
                        self.ahead.came(delivery.data.len());
                        let (properties, body) = (delivery.properties, delivery.data);
                        let seen = Delivery::new(&self.queue, delivery.redelivered, &properties, body);
                        let answer = Answer {
                            acks: Arc::clone(&acks),
                            tag: delivery.delivery_tag,
                            acker: delivery.acker,
                        };
                        tasks.spawn(handle(self.work.clone(), seen, answer, lost.clone()));
                    }
                    Some(Err(error)) => return End::Lost(self.words(&error)),
                    None if resting => {
                        let finished = async { while tasks.join_next().await.is_some() {} };
                        // What cannot be done now, because a store is away, goes back when the channel closes: soon where the
                        // queue is paused. Where only fewer messages are to wait, what came is done in its time.
                        let most = if self.is_paused() { DRAINING } else { HOLDING };
                        let waited = self.work.shutdown.run_until_cancelled(timeout(most, finished)).await;
                        return if waited.is_some() { End::Paused } else { End::Shutdown };
                    }
                    None => return End::Lost(format!("queue {}: the broker ended the consumer (was it deleted?)", self.queue)),
                },
            }
        }
    }

    /// Waits for the handlers in hand; the consumer is gone by now, and lapin has cancelled it with the broker.
    async fn drain(&self, mut tasks: JoinSet<()>) {
        let drained = async { while tasks.join_next().await.is_some() {} };
        if timeout(DRAINING, drained).await.is_err() {
            let handlers = tasks.len();
            error!(broker.queue = %self.queue, handlers, "handlers were not done in time; their messages come again");
        }
    }
}

/// Closes a channel: what no handler was done with is in the queue again.
async fn give_back(channel: Option<Channel>) {
    if let Some(channel) = channel {
        let closed = timeout(PARTING, channel.close(200, "OK".into())).await;
        if !matches!(closed, Ok(Ok(()))) {
            debug!("a channel could not be closed; it goes with its connection");
        }
    }
}

/// The consumer's name on its channel.
const TAG: &str = "kvit";

/// What tells the broker of one message.
struct Answer {
    acks: Arc<Acks>,
    tag: u64,
    acker: Acker,
}

impl Answer {
    async fn ack(self) {
        self.acks.ack(self.tag, self.acker).await;
    }

    async fn nack(self, requeue: bool) {
        self.acks.nack(self.tag, &self.acker, requeue).await;
    }
}

/// Runs the handler until it has a verdict, and tells the broker.
async fn handle<H, F>(work: Arc<Work<H>>, mut delivery: Delivery, answer: Answer, lost: CancellationToken)
where
    H: Fn(Delivery) -> F + Send + Sync + 'static,
    F: Future<Output = Verdict> + Send + 'static,
{
    let arrived = Instant::now();
    let mut pauses = Backoff::holding();
    // What has not begun when the shutdown comes, or when its channel is lost, comes again another time.
    let Some(slot) = unless_over(&work.shutdown, &lost, work.slots.acquire()).await else {
        return;
    };
    let _slot = slot.expect("the semaphore is never closed");
    loop {
        let attempt = AssertUnwindSafe(async { (work.handler)(delivery.clone()).await });
        match attempt.catch_unwind().await {
            Ok(Verdict::Ack) => {
                answer.ack().await;
                count::processed(&delivery.queue, "ack", arrived.elapsed());
                return failpoint::reached("broker.acked").await;
            }
            Ok(Verdict::Requeue) if arrived.elapsed() < HOLDING => {
                if unless_over(&work.shutdown, &lost, sleep(pauses.next())).await.is_none() {
                    return;
                }
                // A commit whose answer was lost may have happened: as after a redelivery, it may be known already.
                delivery.redelivered = true;
            }
            Ok(Verdict::Requeue) => {
                answer.nack(true).await;
                return count::processed(&delivery.queue, "requeue", arrived.elapsed());
            }
            Err(_) => return panicked(&work.shutdown, &delivery, answer).await,
        }
    }
}

/// What the future gives, or nothing when the work is over before.
async fn unless_over<T>(
    shutdown: &CancellationToken,
    lost: &CancellationToken,
    future: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        () = shutdown.cancelled() => None,
        () = lost.cancelled() => None,
        value = future => Some(value),
    }
}

/// Puts a message back once; one that came before goes to the dead letters, where that loses nothing.
///
/// The panic's text is not logged: it may quote what the message says.
async fn panicked(shutdown: &CancellationToken, delivery: &Delivery, answer: Answer) {
    count::panicked(1);
    count::processed(&delivery.queue, "panic", Duration::ZERO);
    let again = !delivery.redelivered || rejected(&delivery.queue) == Rejected::IsLost;
    error!(
        broker.queue = %delivery.queue,
        message.bytes = delivery.body.len(),
        message.delivery_count = delivery.delivery_count,
        message.requeued = again,
        "a handler panicked"
    );
    if again && shutdown.run_until_cancelled(sleep(jitter(AFTER_PANIC))).await.is_none() {
        return; // it goes back with the connection
    }
    answer.nack(again).await;
}
