//! The broker: the queues of the sites, the wake-ups of the workers, and a link that mends itself.
//!
//! This is the only crate that knows AMQP. It holds no submission longer than a handler needs it, believes nothing a
//! message says, and logs neither a body nor a header.
//!
//! [`Link`] is the door. It keeps one connection for publishing, and each [`Link::consume`] keeps one of its own: a broker
//! that is short of memory blocks connections that publish, and a blocked connection would write no acks. Connections
//! are opened in the background and for ever: nothing here fails because the broker is away, it only waits, and says so
//! through [`State`].
//!
//! ```no_run
//! # async fn example(site: domain::SiteId, shutdown: tokio_util::sync::CancellationToken) {
//! use broker::{Link, Options, Verdict};
//!
//! let link = Link::new(
//!     "amqp://guest:guest@127.0.0.1:5672/%2f",
//!     Options { declare: true, name: "kvit-intake".to_owned(), on_state: std::sync::Arc::new(|_| {}) },
//! );
//! link.declare_site(&site);
//! link.consume(vec![broker::submissions_queue(&site)], 64, shutdown, |delivery| async move {
//!     let _bytes = delivery.body.len();
//!     Verdict::Ack
//! })
//! .await;
//! # }
//! ```

mod acks;
mod address;
mod ahead;
mod backoff;
mod consume;
mod count;
mod look;
mod message;
mod publish;
mod session;
mod state;
mod topology;
mod wake;
mod words;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use domain::{DutyId, SiteId};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub use address::{host_of, is_encrypted, is_local};
pub use look::{Depth, Looker, Seen, look};
pub use message::{Delivery, Properties, Verdict};
pub use publish::{Message, PublishError};
pub use state::State;
pub use topology::{EVENTS, JOURNAL_DUTIES, MAIL_DUTIES, all_queues, dead_queue, events_queue, submissions_queue};
pub use wake::wake_ids;

use address::Endpoint;
use publish::Publisher;
use state::Board;
use topology::{Item, Topology};

/// How a [`Link`] behaves.
#[derive(Clone)]
pub struct Options {
    /// Whether queues and exchanges are declared, or only looked for (`--no-declare`).
    pub declare: bool,
    /// Who this is, as the broker's operator sees it in the list of connections.
    pub name: String,
    /// Called whenever the link's state changes, and only then; it must not block.
    pub on_state: Arc<dyn Fn(State) + Send + Sync>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("declare", &self.declare)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A link to the broker that is kept up for ever; cheap to clone.
///
/// The connections end when the last clone is dropped and every [`Link::consume`] has returned.
#[derive(Clone)]
pub struct Link {
    inner: Arc<Inner>,
}

struct Inner {
    endpoint: Arc<Endpoint>,
    board: Board,
    topology: Arc<Topology>,
    paused: watch::Sender<BTreeSet<String>>,
    publisher: Publisher,
    _keeper: AbortOnDropHandle<()>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("broker", &self.inner.endpoint.host())
            .finish_non_exhaustive()
    }
}

impl Link {
    /// Starts connecting in the background; call it inside a Tokio runtime.
    ///
    /// It never fails: a URL that cannot be read is a [`State::Down`] as an unreachable broker is.
    #[must_use]
    pub fn new(url: impl AsRef<str>, options: Options) -> Self {
        let endpoint = Arc::new(Endpoint::new(url.as_ref(), options.name));
        let board = Board::new(options.on_state);
        let topology = Arc::new(Topology::new(options.declare));
        let (publisher, keeper) = publish::start(endpoint.clone(), board.clone(), topology.clone());
        Self {
            inner: Arc::new(Inner {
                endpoint,
                board,
                topology,
                paused: watch::Sender::default(),
                publisher,
                _keeper: AbortOnDropHandle::new(tokio::spawn(keeper)),
            }),
        }
    }

    /// Wants the queues of a site: `kvit.submissions.<site>` and `kvit.dead.<site>`, where its undeliverable ones go.
    ///
    /// Declared now or when the broker can be reached, and again on every new connection, so that a broker that lost its
    /// data folder gets them back. Both are durable quorum queues. A submission comes at most 50 times
    /// (`x-delivery-limit`, a backstop); then it goes to the dead-letter queue, at least once, which sheds nothing.
    pub fn declare_site(&self, site: &SiteId) {
        self.inner.topology.want(Item::Site(site.clone()));
    }

    /// Wants the exchange `kvit.duties` and the queues of the wake-ups, [`MAIL_DUTIES`] and [`JOURNAL_DUTIES`].
    ///
    /// Hints are bounded: the oldest of ten thousand is dropped, because the ledger is the truth and its sweep finds all.
    pub fn declare_duties(&self) {
        self.inner.topology.want(Item::Duties);
    }

    /// Wants the topic exchange [`EVENTS`] and the durable queue `kvit.events.<site>`, bound to the site's events.
    pub fn declare_events(&self, site: &SiteId) {
        self.inner.topology.want(Item::Events(site.clone()));
    }

    /// Gives every message of the queues to `handler` until `shutdown`, across any number of lost connections.
    ///
    /// Up to `prefetch` (at least 1) handlers run at a time over all queues, and at most `prefetch` messages a queue wait in
    /// memory: four until as many small ones have come one after the other, and again soon after a large one (up to `prefetch`
    /// may have come by then) and after a lost connection. All queues of one call share a connection;
    /// another call has another one. A queue that is missing or refused is tried again for ever and holds up no other.
    ///
    /// What the verdicts mean is said at [`Verdict`]. A handler should catch its own panics and decide (quarantine); one
    /// that does panic is caught here, logged without the panic's text, and its message put back *once* after a pause;
    /// when it comes again and panics again, it goes to the site's dead-letter queue, and a wake-up is dropped.
    ///
    /// On `shutdown` the broker is told to send no more, the handlers in hand finish and are acked (25 s at most), and
    /// what no handler had begun stays in the queue.
    pub async fn consume<H, F>(&self, queues: Vec<String>, prefetch: u16, shutdown: CancellationToken, handler: H)
    where
        H: Fn(Delivery) -> F + Send + Sync + 'static,
        F: Future<Output = Verdict> + Send + 'static,
    {
        let line = consume::Line {
            endpoint: self.inner.endpoint.clone(),
            board: self.inner.board.clone(),
            topology: self.inner.topology.clone(),
            paused: self.inner.paused.subscribe(),
        };
        consume::consume(line, queues, prefetch, shutdown, handler).await;
    }

    /// Says which queues are not consumed until this is said anew. Their messages wait in the broker; what was delivered
    /// before is finished. A queue that rests is no fault: [`State`] does not say it.
    pub fn pause(&self, queues: BTreeSet<String>) {
        self.inner.paused.send_if_modified(|paused| {
            let changed = *paused != queues;
            *paused = queues;
            changed
        });
    }

    /// Publishes a persistent message and waits until the broker has it on disk (10 s at most, connecting included).
    ///
    /// `exchange` may be empty: the default exchange, whose routing key is a queue's name.
    ///
    /// # Errors
    /// Anything but a confirmed *and routed* message: see [`PublishError`]. After an error the message may have been
    /// taken all the same (a confirm can be lost), so the same content must be safe to publish again.
    pub async fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        body: &[u8],
        properties: &Properties,
    ) -> Result<(), PublishError> {
        let sent = self
            .inner
            .publisher
            .publish(&self.inner.topology, exchange, routing_key, body, properties)
            .await;
        // The exchange: a queue's name where it is the default one, and never a key that says more.
        let destination = if exchange.is_empty() { routing_key } else { exchange };
        count::sent(destination, sent.as_ref().err().map(PublishError::kind));
        sent
    }

    /// Publishes messages together, in their order, and waits until the broker has all of them on disk (10 s at most).
    ///
    /// # Errors
    /// As [`Link::publish`], for all of them together: which of them were taken is not known.
    pub async fn publish_all(&self, exchange: &str, messages: &[Message<'_>]) -> Result<(), PublishError> {
        let sent = self
            .inner
            .publisher
            .publish_all(&self.inner.topology, exchange, messages)
            .await;
        let failure = sent.as_ref().err().map(PublishError::kind);
        for _ in messages {
            count::sent(exchange, failure);
        }
        sent
    }

    /// Tells the workers of `queue` that these duties are due: a hint, never an error.
    ///
    /// Transient and unconfirmed, 500 ids a message. A hint that cannot be sent at once is counted
    /// (`kvit_broker_wakes_lost_total`) and forgotten: the scheduler's sweep finds the duty.
    pub async fn wake(&self, queue: &str, ids: &[DutyId]) {
        self.inner.publisher.wake(queue, ids).await;
    }
}
