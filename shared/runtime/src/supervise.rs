//! What systemd hears: that the service runs, what it waits for, and, as long as it makes progress, that it lives.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::oneshot;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::Health;

/// How often the state is said where no watchdog asks for it more often.
const SAY: Duration = Duration::from_secs(5);
/// So much may wait to be said; what comes while a supervisor does not listen is not said.
const WAITING: usize = 8;

/// How long the end of a service waits for its supervisor to hear of it.
const PARTING: Duration = Duration::from_secs(1);

/// Something to tell the supervisor.
enum Said {
    Ready,
    Alive,
    Stopping,
    Status(String),
}

/// Tells the supervisor, where there is one (`NOTIFY_SOCKET`), until `ended`.
///
/// The service is started when this begins: a peer that is away is waited for, and is no reason to start it anew. The
/// watchdog is fed only while everything that said it would be heard of regularly is ([`crate::Check::expect_news`]), and
/// what is in hand gets on ([`crate::Work`]): a service that hangs is ended by systemd, and what it had in hand is taken up
/// again.
pub async fn supervised(health: Health, shutdown: CancellationToken, ended: CancellationToken) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let (supervisor, told) = listen();
    say(&supervisor, Said::Ready);
    let watchdog = sd_notify::watchdog_enabled();
    let mut ticks = interval(watchdog.map_or(SAY, |within| (within / 4).min(SAY)));
    let mut stopping = false;
    let mut said_stuck = false;
    loop {
        tokio::select! {
            // A service that ends at once has still been told to stop.
            biased;
            () = shutdown.cancelled(), if !stopping => {
                stopping = true;
                say(&supervisor, Said::Stopping);
            }
            () = ended.cancelled() => break,
            _ = ticks.tick() => {
                say(&supervisor, Said::Status(status(&health)));
                match health.overdue() {
                    None if watchdog.is_some() => say(&supervisor, Said::Alive),
                    Some(part) if !said_stuck => {
                        error!(part, "no progress: the watchdog is not fed any more");
                        said_stuck = true;
                    }
                    _ => {}
                }
            }
        }
    }
    drop(supervisor);
    let _heard = timeout(PARTING, told).await;
}

/// One line for `systemctl status`.
fn status(health: &Health) -> String {
    let waits: Vec<String> = health
        .list()
        .into_iter()
        .filter_map(|(name, why)| Some(format!("{name}: {}", why?)))
        .collect();
    if waits.is_empty() {
        "ready".to_owned()
    } else {
        waits.join("; ")
    }
}

/// A thread that tells the supervisor, because telling waits while the supervisor does not listen, and nothing of the
/// service may wait for that. It ends with the sender, and then the receiver has its answer.
fn listen() -> (SyncSender<Said>, oneshot::Receiver<()>) {
    let (supervisor, said) = sync_channel::<Said>(WAITING);
    let (done, told) = oneshot::channel();
    std::thread::spawn(move || {
        for one in said {
            tell(&one);
        }
        let _ = done.send(());
    });
    (supervisor, told)
}

fn say(supervisor: &SyncSender<Said>, said: Said) {
    if supervisor.try_send(said).is_err() {
        debug!("the supervisor does not listen");
    }
}

fn tell(said: &Said) {
    let state = match said {
        Said::Ready => NotifyState::Ready,
        Said::Alive => NotifyState::Watchdog,
        Said::Stopping => NotifyState::Stopping,
        Said::Status(text) => NotifyState::Status(text),
    };
    if let Err(error) = sd_notify::notify(&[state]) {
        debug!(%error, "the supervisor could not be told");
    }
}
