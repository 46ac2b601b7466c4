//! What systemd hears: that the service runs, what it waits for, and, as long as it makes progress, that it lives.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::Health;

/// How often the state is said where no watchdog asks for it more often.
const SAY: Duration = Duration::from_secs(5);

/// Tells the supervisor, where there is one (`NOTIFY_SOCKET`), until `ended`.
///
/// The service is started when this begins: a peer that is away is waited for, and is no reason to start it anew. The
/// watchdog is fed only while everything that said it would be heard of regularly is ([`crate::Check::expect_news`]): a
/// service that hangs is ended by systemd, and what it had in hand is taken up again.
pub async fn supervised(health: Health, shutdown: CancellationToken, ended: CancellationToken) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    tell(&[NotifyState::Ready]);
    let watchdog = sd_notify::watchdog_enabled();
    let mut ticks = interval(watchdog.map_or(SAY, |within| (within / 4).min(SAY)));
    let mut stopping = false;
    let mut said_stuck = false;
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            () = shutdown.cancelled(), if !stopping => {
                stopping = true;
                tell(&[NotifyState::Stopping]);
            }
            _ = ticks.tick() => {
                tell(&[NotifyState::Status(&status(&health))]);
                match health.overdue() {
                    None if watchdog.is_some() => tell(&[NotifyState::Watchdog]),
                    Some(part) if !said_stuck => {
                        error!(part, "no progress: the watchdog is not fed any more");
                        said_stuck = true;
                    }
                    _ => {}
                }
            }
        }
    }
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

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        debug!(%error, "the supervisor could not be told");
    }
}
