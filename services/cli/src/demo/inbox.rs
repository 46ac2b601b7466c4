//! A small SMTP inbox: where the demonstration's mails end, and the peer that the tests give orders to.
//!
//! It speaks RFC 5321 with PIPELINING, SIZE, 8BITMIME, SMTPUTF8, DSN and ENHANCEDSTATUSCODES, on the loopback alone,
//! and keeps what it accepts in memory. It is strict: what a relay may refuse (a command out of order, a parameter
//! nobody offered, an address that needs SMTPUTF8 without it) is refused, so that the mailer's mistakes show.
//!
//! By default it accepts everything. [`Inbox::behave`] makes it refuse, fall silent or hang up at a [`Step`], for the
//! next times or for good. It never logs: mails are personal.

mod session;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use session::Session;

/// A place in the dialogue where the inbox may be told to do something else than accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The greeting of a new connection.
    Connect,
    /// `EHLO` or `HELO`.
    Ehlo,
    /// `MAIL FROM`.
    Mail,
    /// Each `RCPT TO`.
    Rcpt,
    /// `DATA`.
    Data,
    /// The dot that ends a message: it is not kept, unless the reply says it is.
    FinalDot,
    /// After a message was kept, before the client hears of it: SMTP's own gap.
    Accepted,
}

/// What the inbox does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// Accepts; as an order it takes back all others.
    Accept,
    /// Answers with this code and text; a line break in the text makes several lines. Below 400 the step passes, 421
    /// hangs up afterwards, as RFC 5321 says.
    Reply {
        /// Where.
        step: Step,
        /// Three digits.
        code: u16,
        /// What follows the code, an enhanced status code included.
        text: String,
    },
    /// Closes the connection instead of answering.
    Disconnect {
        /// Where.
        step: Step,
    },
    /// Answers nothing, ever, until the client goes away.
    Silence {
        /// Where.
        step: Step,
    },
    /// Refuses these recipients.
    Refuse {
        /// Addresses, in any case.
        recipients: Vec<String>,
        /// Three digits.
        code: u16,
        /// What follows the code.
        text: String,
    },
}

impl Behaviour {
    /// Answers with this code and text at this step.
    #[must_use]
    pub fn reply(step: Step, code: u16, text: &str) -> Self {
        Self::Reply {
            step,
            code,
            text: text.to_owned(),
        }
    }

    /// Whether it is about this step, and this recipient where the step has one.
    fn concerns(&self, at: Step, recipient: Option<&str>) -> bool {
        match self {
            Self::Accept => false,
            Self::Reply { step, .. } | Self::Disconnect { step } | Self::Silence { step } => *step == at,
            Self::Refuse { recipients, .. } => {
                let is_named = |to: &str| recipients.iter().any(|refused| refused.eq_ignore_ascii_case(to));
                at == Step::Rcpt && recipient.is_some_and(is_named)
            }
        }
    }
}

/// How often an order is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// The next so many times.
    Next(usize),
    /// Until [`Behaviour::Accept`].
    All,
}

/// An accepted message.
#[derive(Clone)]
pub struct Mail {
    /// The number of the connection it came by.
    pub connection: usize,
    /// The envelope's sender.
    pub mail_from: String,
    /// The parameters of `MAIL FROM`, as they came.
    pub mail_params: Vec<String>,
    /// The envelope's accepted recipients.
    pub recipients: Vec<String>,
    /// The parameters of each accepted `RCPT TO`, as they came.
    pub recipient_params: Vec<Vec<String>>,
    /// The message: dots un-stuffed, its last line break included.
    pub data: Arc<[u8]>,
    /// When it was accepted.
    pub at: Instant,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Mail");
        shown
            .field("connection", &self.connection)
            .field("recipients", &self.recipients.len());
        shown.field("bytes", &self.data.len()).finish_non_exhaustive()
    }
}

/// What came over one connection.
#[derive(Clone, Default)]
pub struct Connection {
    /// How many commands.
    pub commands: usize,
    /// How many messages were accepted.
    pub messages: usize,
    /// The commands themselves, without their messages.
    pub transcript: Vec<String>,
    /// Whether it is over.
    pub closed: bool,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Connection");
        shown
            .field("commands", &self.commands)
            .field("messages", &self.messages);
        shown.field("closed", &self.closed).finish_non_exhaustive()
    }
}

/// What all connections share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Told whenever the state changes.
    changed: Notify,
}

#[derive(Default)]
struct State {
    mails: Vec<Mail>,
    connections: Vec<Connection>,
    orders: Vec<(Behaviour, Times)>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state());
        self.changed.notify_waiters();
        changed
    }

    /// The oldest order about this step, counted as followed.
    fn order(&self, step: Step, recipient: Option<&str>) -> Option<Behaviour> {
        let mut state = self.state();
        let at = state
            .orders
            .iter()
            .position(|(order, _)| order.concerns(step, recipient))?;
        let (order, times) = &mut state.orders[at];
        let order = order.clone();
        match times {
            Times::All => {}
            Times::Next(left) if *left > 1 => *left -= 1,
            Times::Next(_) => {
                state.orders.remove(at);
            }
        }
        Some(order)
    }
}

/// An SMTP server on a free port of the loopback. It stops when it is dropped.
pub struct Inbox {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
    listener: JoinHandle<()>,
}

impl Inbox {
    /// Starts one on a free port.
    ///
    /// # Errors
    ///
    /// Where no port could be opened.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Starts one where another was, so that a relay comes back.
    ///
    /// # Errors
    ///
    /// Where the port could not be opened.
    pub async fn start_at(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .context("cannot open a port for the inbox")?;
        let address = listener.local_addr().context("cannot read the inbox's port")?;
        let shared = Arc::new(Shared::default());
        let stop = CancellationToken::new();
        let listener = tokio::spawn(listen(listener, Arc::clone(&shared), stop.clone()));
        Ok(Self {
            address,
            shared,
            stop,
            listener,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as the configuration's `smtp.url`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// Closes the port and every connection.
    ///
    /// # Errors
    ///
    /// Where a connection panicked.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        (&mut self.listener).await.context("the inbox failed")
    }

    /// Gives an order. The oldest one that concerns a step is followed; [`Behaviour::Accept`] takes back all.
    pub fn behave(&self, behaviour: Behaviour, times: Times) {
        self.shared.change(|state| match (behaviour, times) {
            (Behaviour::Accept, _) => state.orders.clear(),
            (_, Times::Next(0)) => {}
            order => state.orders.push(order),
        });
    }

    /// Every accepted message, the oldest first.
    #[must_use]
    pub fn mails(&self) -> Vec<Mail> {
        self.shared.state().mails.clone()
    }

    /// How many messages were accepted.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.state().mails.len()
    }

    /// Every connection there was, the oldest first.
    #[must_use]
    pub fn connections(&self) -> Vec<Connection> {
        self.shared.state().connections.clone()
    }

    /// Waits until at least `n` messages were accepted, and gives all of them.
    ///
    /// # Errors
    ///
    /// Where fewer were when the deadline passed.
    pub async fn wait_for(&self, n: usize, deadline: Duration) -> anyhow::Result<Vec<Mail>> {
        let arrived = self.wait_until(deadline, |mails, _| mails.len() >= n).await;
        if !arrived {
            bail!(
                "{} of {n} mails arrived in {} seconds",
                self.count(),
                deadline.as_secs_f32()
            );
        }
        Ok(self.mails())
    }

    /// Waits until messages and connections are as wanted; `false` where they were not by the deadline.
    pub async fn wait_until(&self, deadline: Duration, is_so: impl Fn(&[Mail], &[Connection]) -> bool) -> bool {
        let wait = async {
            loop {
                // Listening begins before looking, so that no change falls between the two.
                let mut changed = pin!(self.shared.changed.notified());
                changed.as_mut().enable();
                let reached = {
                    let state = self.shared.state();
                    is_so(&state.mails, &state.connections)
                };
                if reached {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(deadline, wait).await.is_ok()
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Takes connections until told to stop, and then waits for those there are to end.
async fn listen(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    let sessions = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        // A connection that failed before it was taken is the client's to repeat.
        let Ok((stream, _)) = accepted else { continue };
        let number = shared.change(|state| {
            state.connections.push(Connection::default());
            state.connections.len() - 1
        });
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        sessions.spawn(async move {
            let session = Session::new(stream, Arc::clone(&shared), number);
            // How a connection ended is the client's to tell; here it is only over.
            let _ended = stop.run_until_cancelled(session.run()).await;
            shared.change(|state| state.connections[number].closed = true);
        });
    }
    drop(listener);
    sessions.close();
    sessions.wait().await;
}
