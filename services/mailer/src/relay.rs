//! The relay: connections to it, and whether it can be reached.
//!
//! lettre reads without a time limit, so every step has one here. What a relay says in words is never kept: a reply is
//! its code.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use domain::EmailAddress;
use futures::future::join_all;
use letter::Parcel;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::Ehlo;
use lettre::transport::smtp::extension::{ClientId, Extension};
use runtime::config::Smtp;
use runtime::{Check, Exit};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::transaction::{Offers, RelayError, failure, transact};

/// How long a TCP connection may take, and saying good-bye; and after how long a relay that has not yet said that it is
/// ready is reported.
const CONNECT: Duration = Duration::from_secs(30);
/// How long a relay may take from the connection to its readiness: what RFC 5321 (4.5.3.2.1) gives its greeting alone.
const READINESS: Duration = Duration::from_mins(5);
/// How long a mail in hand may still wait for a connection when the mailer is to stop.
const PARTING: Duration = Duration::from_secs(5);
/// A connection that has been idle for longer is tried before it is trusted.
const IDLE: Duration = Duration::from_secs(5);
/// How long the lanes pause after the relay turned them away, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// How long a mail in hand waits for a relay that was lost, or that asks to slow down.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often a relay that nothing is sent through is looked at.
const LOOK: Duration = Duration::from_mins(1);

/// How the relay is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Security {
    /// As it is; the configuration allows it on this machine alone (P12).
    Plain,
    /// TLS from the first byte.
    Implicit,
    /// TLS after STARTTLS, and nothing without it.
    StartTls,
}

/// The configured relay.
pub(crate) struct Relay {
    host: String,
    port: u16,
    security: Security,
    credentials: Option<Credentials>,
    hello: ClientId,
    bounce: EmailAddress,
    check: Check,
    /// When the relay last took something.
    seen: Mutex<Option<Instant>>,
    /// When the lanes may go on; `None` while the relay cannot be reached.
    open_at: watch::Sender<Option<Instant>>,
}

impl Relay {
    /// The relay of the configuration; not yet connected to.
    pub(crate) fn new(smtp: &Smtp, check: Check) -> anyhow::Result<Self> {
        let text = smtp.url().map_err(Exit::config)?;
        let url = url::Url::parse(&text)
            .map_err(Exit::config)
            .context("reading smtp.url")?;
        let (security, port) = match url.scheme() {
            "smtps" => (Security::Implicit, 465),
            "smtp+starttls" => (Security::StartTls, 587),
            _ => (Security::Plain, 25),
        };
        let decode = |text: &str| {
            percent_encoding::percent_decode_str(text)
                .decode_utf8_lossy()
                .into_owned()
        };
        let credentials = (!url.username().is_empty())
            .then(|| Credentials::new(decode(url.username()), decode(url.password().unwrap_or_default())));
        Ok(Self {
            host: url
                .host_str()
                .unwrap_or("127.0.0.1")
                .trim_matches(['[', ']'])
                .to_owned(),
            port: url.port().unwrap_or(port),
            security,
            credentials,
            hello: ClientId::Domain(smtp.bounce.domain().to_owned()),
            bounce: smtp.bounce.clone(),
            check,
            seen: Mutex::new(None),
            open_at: watch::Sender::new(None),
        })
    }

    /// So many connections, each opened when it is first needed.
    pub(crate) fn connections(self: &Arc<Self>, count: usize, shutdown: CancellationToken) -> Connections {
        Connections {
            relay: Arc::clone(self),
            shutdown,
            turns: Semaphore::new(count),
            idle: Mutex::default(),
        }
    }

    /// Waits until the relay can be reached and does not ask to slow down.
    pub(crate) async fn available(&self) {
        let mut opened = self.open_at.subscribe();
        loop {
            let open_at = *opened.borrow_and_update();
            match open_at {
                Some(at) if at <= Instant::now() => return,
                Some(at) => sleep_until(at).await,
                None => {
                    if opened.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Looks at the relay until `ended`: at once and often while it cannot be reached, else now and then.
    pub(crate) async fn watch(self: Arc<Self>, ended: CancellationToken) {
        let mut pause = PAUSE.0;
        loop {
            // A relay that takes mails need not be asked whether it does.
            if !self.check.is_up() || self.idle() {
                let connected = tokio::select! {
                    () = ended.cancelled() => return,
                    connected = self.connect() => connected,
                };
                match connected {
                    Ok(mut open) => {
                        self.reached();
                        pause = PAUSE.0;
                        let _ = timeout(CONNECT, open.smtp.quit()).await;
                    }
                    Err(error) => {
                        self.lost(error);
                        pause = (pause * 2).min(PAUSE.1);
                    }
                }
            }
            let wait = if self.check.is_up() { LOOK } else { pause };
            let mut state = self.open_at.subscribe();
            tokio::select! {
                () = ended.cancelled() => return,
                () = sleep(wait) => {}
                // A lane lost the relay: look at it at once rather than at the next round.
                _ = state.wait_for(Option::is_none), if self.check.is_up() => {}
            }
        }
    }

    fn idle(&self) -> bool {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.is_none_or(|seen| seen.elapsed() >= LOOK)
    }

    fn reached(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        if !self.check.is_up() {
            tracing::info!(relay = %self.address(), "the relay can be reached");
        }
        self.check.up();
        self.open_at.send_if_modified(|at| {
            let closed = at.is_none();
            if closed {
                *at = Some(Instant::now());
            }
            closed
        });
    }

    fn lost(&self, error: RelayError) {
        let words = format!("cannot use the relay at {}: {error}; trying again", self.address());
        if self.check.is_up() {
            tracing::warn!(relay = %self.address(), %error, "the relay cannot be used; trying again");
        }
        self.check.down(&words);
        self.open_at.send_replace(None);
    }

    /// The relay took a connection, or was asked for one, and has not said for long that it is ready.
    fn slow(&self) {
        let words = format!(
            "the relay at {} has not said within {} s that it is ready; waiting for it",
            self.address(),
            CONNECT.as_secs()
        );
        if self.check.is_up() {
            tracing::warn!(relay = %self.address(), "the relay is slow to say that it is ready; waiting for it");
        }
        self.check.down(&words);
    }

    /// The relay turned a lane away with 421: all lanes pause.
    fn slow_down(&self) {
        metrics::counter!("kvit_relay_slow_downs_total").increment(1);
        self.open_at.send_replace(Some(Instant::now() + PAUSE.1));
    }

    fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    async fn connect(&self) -> Result<Open, RelayError> {
        let mut opening = pin!(self.connect_unbounded());
        if let Ok(opened) = timeout(CONNECT, &mut opening).await {
            return opened;
        }
        // It may only be slow: who looks is told, and it has its time.
        self.slow();
        timeout(READINESS.saturating_sub(CONNECT), opening)
            .await
            .unwrap_or(Err(RelayError::Unreachable))
    }

    async fn connect_unbounded(&self) -> Result<Open, RelayError> {
        let tls = || TlsParameters::new(self.host.clone()).map_err(|_| RelayError::Unreachable);
        let server = (self.host.as_str(), self.port);
        let connected = if self.security == Security::Implicit {
            AsyncSmtpConnection::connect_tokio1(server, Some(CONNECT), &self.hello, Some(tls()?), None).await
        } else {
            let connected = timeout(CONNECT, TcpStream::connect(server)).await;
            let stream = connected
                .map_err(|_| RelayError::Unreachable)?
                .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
                .map_err(|_| RelayError::Unreachable)?;
            AsyncSmtpConnection::connect_with_transport(Box::new(stream), &self.hello).await
        };
        let mut smtp = connected.map_err(|error| failure(&error))?;
        if self.security == Security::StartTls {
            // A relay that does not offer it, or breaks it off, is not spoken to in the clear.
            smtp.starttls(tls()?, &self.hello)
                .await
                .map_err(|error| failure(&error))?;
        }
        if let Some(credentials) = &self.credentials {
            smtp.auth(DEFAULT_MECHANISMS, credentials)
                .await
                .map_err(|error| failure(&error))?;
        }
        // lettre keeps neither SIZE nor DSN of the answer, so it is asked for once more; a relay that does not answer
        // twice is taken to offer neither.
        let hello = smtp.command(Ehlo::new(self.hello.clone())).await;
        let offers = match hello {
            Ok(hello) => Offers::read(&hello),
            Err(error) if error.status().is_some() => Offers {
                smtp_utf8: smtp.server_info().supports_feature(Extension::SmtpUtfEight),
                eight_bit: smtp.server_info().supports_feature(Extension::EightBitMime),
                ..Offers::default()
            },
            Err(error) => return Err(failure(&error)),
        };
        Ok(Open {
            smtp,
            offers,
            used: Instant::now(),
        })
    }
}

struct Open {
    smtp: AsyncSmtpConnection,
    offers: Offers,
    used: Instant,
}

/// The connections to the relay, each in one hand at a time.
pub(crate) struct Connections {
    relay: Arc<Relay>,
    shutdown: CancellationToken,
    turns: Semaphore,
    /// The one that was used last is used next: what there is too much of stays closed.
    idle: Mutex<Vec<Open>>,
}

impl Connections {
    /// Gives a mail to the relay as soon as a connection is free; `Ok` once the relay has accepted it for its recipient.
    pub(crate) async fn send(&self, parcel: &Parcel) -> Result<(), RelayError> {
        let _turn = self.turns.acquire().await.expect("the semaphore is never closed");
        // A connection that broke off is no reason to put off every mail that waits for a turn: the watch looks at the
        // relay at once.
        let available = timeout(PATIENCE, self.relay.available()).await;
        available.map_err(|_| RelayError::Unreachable)?;
        let mut open = self.ready().await?;
        let mut confused = false;
        let sent = transact(&mut open.smtp, open.offers, &self.relay.bounce, parcel, &mut confused).await;
        match sent {
            Ok(()) => {
                self.relay.reached();
                open.used = Instant::now();
                self.idle().push(open);
            }
            Err(RelayError::Unreachable | RelayError::Unknown) => {
                // The others are as old: a relay that was started again knows none of them.
                self.idle().clear();
                self.relay.lost(RelayError::Unreachable);
            }
            Err(RelayError::Later(421)) => self.relay.slow_down(),
            Err(_) if confused => {}
            // The relay answered: it is well, and this mail's transaction is over with the connection.
            Err(_) => {
                let _ = timeout(CONNECT, open.smtp.quit()).await;
            }
        }
        sent
    }

    /// Says good-bye.
    pub(crate) async fn quit(&self) {
        let idle = std::mem::take(&mut *self.idle());
        let goodbyes = idle.into_iter().map(|mut open| async move {
            let _ = timeout(Duration::from_secs(2), open.smtp.quit()).await;
        });
        join_all(goodbyes).await;
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Open>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ready(&self) -> Result<Open, RelayError> {
        let idle = self.idle().pop();
        if let Some(mut open) = idle {
            let fresh = open.used.elapsed() < IDLE;
            if fresh || timeout(CONNECT, open.smtp.test_connected()).await.unwrap_or(false) {
                return Ok(open);
            }
        }
        // Nothing was given to the relay yet, so a mailer that is to stop does not wait long for it.
        let hurried = async {
            self.shutdown.cancelled().await;
            sleep(PARTING).await;
        };
        let opened = tokio::select! {
            opened = self.relay.connect() => opened,
            () = hurried => return Err(RelayError::Unreachable),
        };
        match &opened {
            Ok(_) => self.relay.reached(),
            Err(RelayError::Later(421)) => self.relay.slow_down(),
            Err(error) => self.relay.lost(*error),
        }
        // What a relay says before it has heard of a mail is about the way to it: a wrong password, a full house.
        opened.map_err(|error| match error {
            RelayError::Later(421) => error,
            _ => RelayError::Unreachable,
        })
    }
}
