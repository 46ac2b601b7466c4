//! Refuses to work on a ledger that was restored from a backup and not brought up to its evidence: what was sent since
//! would be sent again, and what was deleted would be kept.
//!
//! The scheduler compares every leaf. The others know two things: the evidence folder, where they can read it, and what
//! the scheduler notes in the key store, which is not restored with the ledger.

use std::time::Duration;

use ledger::Ledger;
use runtime::{Config, Exit};
use store::StoreError;
use tokio_util::sync::CancellationToken;
use vault::Vault;

/// How soon a store that does not answer is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// The refusal: it says what to do.
#[must_use]
pub fn behind(origin: &str, size: u64, signed: u64) -> anyhow::Error {
    anyhow::anyhow!(
        "the ledger is behind its evidence: it has {size} leaves of {origin}, and a checkpoint over {signed} was signed. \
         Was it restored from a backup? Then run kvit restore first, so that what was deleted since is deleted again"
    )
}

/// Compares the ledger with how far its evidence is known to have come, before any work is taken. A store that does not
/// answer is asked again until shutdown.
///
/// # Errors
///
/// Where the ledger is behind (78).
pub async fn refuse_another_past(
    config: &Config,
    ledger: &Ledger,
    vault: &Vault,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    loop {
        match another_past(config, ledger, vault).await {
            Ok(None) => return Ok(()),
            Ok(Some(refusal)) => return Err(Exit::config(refusal).into()),
            // The heartbeat says so.
            Err(_) => tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(AGAIN) => {}
            },
        }
    }
}

/// The [refusal](behind), where the ledger is behind its evidence as far as a service without the evidence key can know.
///
/// # Errors
///
/// Where the store or the key store did not answer.
pub async fn another_past(
    config: &Config,
    ledger: &Ledger,
    vault: &Vault,
) -> Result<Option<anyhow::Error>, StoreError> {
    let mut signed = vault.noted_evidence().await?;
    signed.extend(in_folder(config));
    let logs = ledger.evidence_logs().await?;
    for (origin, signed) in signed {
        let size = logs.iter().find(|log| log.origin == origin).map_or(0, |log| log.size);
        if size < signed {
            return Ok(Some(behind(&origin, size, signed)));
        }
    }
    Ok(None)
}

/// What stands in the evidence folder, where this service may read it. Who believes the key beside a checkpoint can be
/// made to stop by it, and to nothing else.
fn in_folder(config: &Config) -> Vec<(String, u64)> {
    let logs = evidence::logs_in(&config.evidence.dir).unwrap_or_default();
    let size = |log: &evidence::Log| {
        let trust = evidence::Trust::new(vec![log.verifier_key().ok()?.parse().ok()?]);
        let checkpoint = log.checkpoint(&trust).ok()??.checkpoint;
        Some((checkpoint.origin, checkpoint.size))
    };
    logs.iter().filter_map(size).collect()
}
