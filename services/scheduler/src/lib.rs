//! The clock of Kvit: dispatches due duties, finishes deletions, forgets what is no longer needed, runs the schedules,
//! and tells the sites what became of their submissions.
//!
//! Wake-ups may be lost, and workers may die between two steps: everything here reads the ledger, which is the truth, and
//! does again what can be done twice without harm.
//!
//! What this service is not: it opens no submission. The one thing that it composes is a notice without content.

pub mod cron;

mod checkpoint;
mod engine;
mod figures;
mod keys;
mod notify;
mod purge;
mod sequence;
mod sweep;
mod tell;

use std::sync::Arc;

use crate::sequence::Sequencer;
use broker::Link;
use ledger::{Ledger, WorkerId};
use runtime::{Clock, Context, Loaded};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vault::Vault;
use worker::{Certificates, Keys, Notices, Presence};

/// What the scheduler works with.
pub(crate) struct Scheduler {
    loaded: Arc<Loaded>,
    ledger: Ledger,
    vault: Vault,
    link: Link,
    notices: Notices,
    certificates: Certificates,
    /// Where an evidence key is configured: events then follow the signed log.
    sequencer: Option<Sequencer>,
    worker: WorkerId,
    clock: Clock,
}

/// Runs the service until it is told to stop.
///
/// # Errors
///
/// Where the configuration cannot be used (78).
pub async fn run(loaded: Arc<Loaded>, context: Context) -> anyhow::Result<()> {
    let config = &loaded.config;
    let vault = worker::vault(
        config,
        Keys {
            mail: true,
            index: true,
            ..Keys::default()
        },
    )?;
    let letters = Arc::new(worker::letters(config)?);
    let link = worker::link(config, "kvit-scheduler", context.health.check("broker"))?;
    link.declare_duties();
    for site in config.sites.keys() {
        link.declare_events(site);
    }
    let schedules = cron::schedules(config)?;
    let (ledger, worker) = (worker::ledger(config)?, WorkerId::new());
    let scheduler = Arc::new(Scheduler {
        notices: Notices::new(Arc::clone(&loaded), letters, vault.clone())?,
        certificates: Certificates::new(Arc::clone(&loaded)),
        sequencer: Sequencer::open(config, &ledger, worker, &context.clock)?,
        ledger,
        vault,
        link,
        worker,
        clock: context.clock.clone(),
        loaded: Arc::clone(&loaded),
    });

    let idle = CancellationToken::new();
    let presence = Presence {
        ledger: scheduler.ledger.clone(),
        vault: scheduler.vault.clone(),
        worker: scheduler.worker,
        service: "scheduler",
        checks: ["store", "vault"].map(|name| context.health.check(name)),
        leases: None,
        clock: context.clock.clone(),
    };
    let beating = tokio::spawn(presence.keep(idle.clone()));
    if let Some(sequencer) = &scheduler.sequencer {
        // Before anything is done: what a restored ledger would do again must not be done.
        if let Err(refused) = sequencer.refuse_another_past(&context.shutdown).await {
            idle.cancel();
            beating.await?;
            return Err(refused);
        }
    }
    let tasks = TaskTracker::new();
    if scheduler.sequencer.is_some() {
        let check = context.health.check("evidence");
        let (scheduler, shutdown) = (Arc::clone(&scheduler), context.shutdown.clone());
        tasks.spawn(async move {
            if let Some(sequencer) = &scheduler.sequencer {
                sequencer.run(check, shutdown).await;
            }
        });
    }
    tasks.spawn(sweep::run(Arc::clone(&scheduler), context.shutdown.clone()));
    tasks.spawn(tell::run(Arc::clone(&scheduler), context.shutdown.clone()));
    for schedule in schedules {
        tasks.spawn(engine::run(Arc::clone(&scheduler), schedule, context.shutdown.clone()));
    }
    tasks.close();
    tasks.wait().await;
    idle.cancel();
    beating.await?;
    Ok(())
}
