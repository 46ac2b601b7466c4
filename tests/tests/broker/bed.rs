//! A shared RabbitMQ, links that tell their state, consumers that tell what they got.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use broker::{Delivery, Link, Options, Properties, State, Verdict};
use domain::SiteId;
use kvit_cli::demo::rabbit::PrivateRabbit;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tempfile::TempDir;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// How long anything may take that is not measured.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);
/// How soon consuming goes on once the broker is there again.
pub(crate) const RECOVERY: Duration = Duration::from_secs(15);

/// A RabbitMQ and its folder.
pub(crate) struct Node {
    pub(crate) rabbit: PrivateRabbit,
    _dir: TempDir,
}

/// One node for the tests that run at the same time: starting one takes longer than most tests.
///
/// The last test that holds it ends it, which a static value could not.
pub(crate) fn node() -> anyhow::Result<Arc<RwLock<Node>>> {
    static SHARED: Mutex<Weak<RwLock<Node>>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(node) = shared.upgrade() {
        return Ok(node);
    }
    let dir = tempfile::tempdir()?;
    let rabbit = PrivateRabbit::start(dir.path())?;
    let node = Arc::new(RwLock::new(Node { rabbit, _dir: dir }));
    *shared = Arc::downgrade(&node);
    Ok(node)
}

/// The node, as it is.
pub(crate) async fn a_broker() -> anyhow::Result<OwnedRwLockReadGuard<Node>> {
    Ok(tokio::task::block_in_place(node)?.read_owned().await)
}

/// The node alone, to be broken.
pub(crate) async fn a_broker_to_break() -> anyhow::Result<OwnedRwLockWriteGuard<Node>> {
    Ok(tokio::task::block_in_place(node)?.write_owned().await)
}

/// A link, and what it says about itself.
pub(crate) struct Linked {
    pub(crate) link: Link,
    pub(crate) state: watch::Receiver<Option<State>>,
}

pub(crate) fn link(url: String, declare: bool) -> Linked {
    let (said, state) = watch::channel(None);
    let on_state = Arc::new(move |state| drop(said.send_replace(Some(state))));
    let name = "kvit-test".to_owned();
    Linked {
        link: Link::new(
            url,
            Options {
                declare,
                name,
                on_state,
            },
        ),
        state,
    }
}

impl Linked {
    pub(crate) async fn until_up(&mut self) -> anyhow::Result<()> {
        self.until(|state| *state == State::Up).await.map(drop)
    }

    pub(crate) async fn until_down(&mut self, words: &str) -> anyhow::Result<String> {
        let is_it = |state: &State| matches!(state, State::Down(said) if said.contains(words));
        match self.until(is_it).await? {
            State::Down(said) => Ok(said),
            State::Up => unreachable!(),
        }
    }

    pub(crate) async fn until(&mut self, is_it: impl Fn(&State) -> bool) -> anyhow::Result<State> {
        let last = self.state.clone();
        let found = self.state.wait_for(|state| state.as_ref().is_some_and(&is_it));
        let found = timeout(DEADLINE, found)
            .await
            .with_context(|| format!("the link says only {:?}", last.borrow()))??;
        found.clone().context("a state")
    }
}

/// A consumer whose deliveries arrive here, each with the verdict of `decide`.
pub(crate) struct Consuming {
    pub(crate) deliveries: mpsc::UnboundedReceiver<Delivery>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<()>,
}

pub(crate) fn consume<F>(
    link: &Link,
    queue: &str,
    prefetch: u16,
    decide: impl Fn(&Delivery) -> F + Send + Sync + 'static,
) -> Consuming
where
    F: Future<Output = Verdict> + Send + 'static,
{
    let (seen, deliveries) = mpsc::unbounded_channel();
    let shutdown = CancellationToken::new();
    let (link, queues, stop) = (link.clone(), vec![queue.to_owned()], shutdown.clone());
    let task = tokio::spawn(async move {
        link.consume(queues, prefetch, stop, move |delivery| {
            let verdict = decide(&delivery);
            seen.send(delivery).ok();
            verdict
        })
        .await;
    });
    Consuming {
        deliveries,
        shutdown,
        task,
    }
}

pub(crate) fn consume_and_ack(link: &Link, queue: &str) -> Consuming {
    consume(link, queue, 8, |_| async { Verdict::Ack })
}

impl Consuming {
    pub(crate) async fn next(&mut self) -> anyhow::Result<Delivery> {
        timeout(DEADLINE, self.deliveries.recv())
            .await
            .context("no delivery came")?
            .context("the consumer ended")
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        timeout(DEADLINE, self.task)
            .await
            .context("the consumer did not stop")??;
        Ok(())
    }
}

/// Each test has a site of its own, so that they can share a broker.
pub(crate) fn site(name: &str) -> SiteId {
    name.parse().expect("a site's name")
}

pub(crate) fn json() -> Properties {
    Properties {
        content_type: Some("application/json".to_owned()),
        message_id: Some("message-1".to_owned()),
        timestamp: Some(1_778_586_315),
        headers: BTreeMap::from([("x-kvit-form".to_owned(), "anmeldelse".to_owned())]),
        ..Properties::default()
    }
}

/// Waits until so many messages are ready in a queue; those that a consumer holds do not count.
pub(crate) async fn until_waiting(node: &Node, queue: &str, expected: u32) -> anyhow::Result<()> {
    let connection = lapin::Connection::connect(&node.rabbit.url(), lapin::ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let started = Instant::now();
    loop {
        let looking = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let found = channel
            .queue_declare(queue.into(), looking, FieldTable::default())
            .await?;
        if found.message_count() == expected {
            return Ok(());
        }
        ensure!(
            started.elapsed() < DEADLINE,
            "{} messages in {queue}, not {expected}",
            found.message_count()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
