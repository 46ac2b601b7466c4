//! Serves `kvit key rotate`: the service that opens a purpose wraps its data keys by the new wrapping key.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use ledger::Ledger;
use runtime::Clock;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use vault::{Purpose, Vault, VaultError};

/// What intake wraps anew: what it opens, the journal's copies, and the epochs of the index.
pub const OF_INTAKE: &[&str] = &[INTAKE, JOURNAL, INDEX];
/// What the mailer wraps anew.
pub const OF_MAILER: &[&str] = &[MAIL];
/// What the scheduler wraps anew.
pub const OF_SCHEDULER: &[&str] = &[REGISTRATION];

/// The request for what waits for intake.
pub const INTAKE: &str = "key_rotate_intake";
/// The request for mails.
pub const MAIL: &str = "key_rotate_mail";
/// The request for the journal's copies.
pub const JOURNAL: &str = "key_rotate_journal";
/// The request for registrations.
pub const REGISTRATION: &str = "key_rotate_registration";
/// The request for the epochs of the index.
pub const INDEX: &str = "key_rotate_index";

/// How often requests are looked for.
const LOOK: Duration = Duration::from_millis(500);
/// Requests older than this have nobody waiting for them.
const FRESH: SignedDuration = SignedDuration::from_mins(10);
/// How long one request is worked on; the command asks again for what is left.
const SLICE: Duration = Duration::from_secs(20);

/// Serves until `ended`, also after a panic: a service that answers no request any more is otherwise not noticed.
pub async fn serve(
    kinds: &'static [&'static str],
    ledger: Ledger,
    vault: Vault,
    clock: Clock,
    ended: CancellationToken,
) {
    let until = ended.clone();
    let part = move || answer(kinds, ledger.clone(), vault.clone(), clock.clone(), ended.clone());
    crate::forever("rotation", until, part).await;
}

async fn answer(kinds: &'static [&'static str], ledger: Ledger, vault: Vault, clock: Clock, ended: CancellationToken) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let Ok(requests) = ledger.asked(kinds, clock.now() - FRESH).await else {
            continue;
        };
        for request in requests {
            let answer = rotate(&vault, &request.kind, &ended).await.unwrap_or_else(|error| {
                tracing::error!(request.id = %request.id, %error, "data keys could not be wrapped anew");
                json!({"error": error.to_string()})
            });
            if let Err(error) = ledger.answer(request.id, answer.to_string(), clock.now()).await {
                tracing::warn!(request.id = %request.id, %error, "a request's answer cannot be recorded");
            }
        }
    }
}

async fn rotate(vault: &Vault, kind: &str, ended: &CancellationToken) -> Result<Value, VaultError> {
    vault.reread().await?;
    let purpose = match kind {
        INTAKE => Purpose::Intake,
        MAIL => Purpose::Mail,
        JOURNAL => Purpose::Journal,
        REGISTRATION => Purpose::Registration,
        _ => {
            let changed = vault.rewrap_epochs().await?;
            return Ok(json!({"rewrapped": changed, "unreadable": 0, "left": 0}));
        }
    };
    let began = Instant::now();
    let done = vault
        .rewrap(purpose, || began.elapsed() < SLICE && !ended.is_cancelled())
        .await?;
    tracing::info!(%purpose, data_keys = done.changed, "data keys are wrapped by the current key");
    let key = vault.key_ids().into_iter().find(|(one, _)| *one == purpose);
    Ok(json!({
        "rewrapped": done.changed,
        "unreadable": done.unreadable,
        "left": done.left,
        "key": key.map(|(_, id)| id.to_string()),
    }))
}
