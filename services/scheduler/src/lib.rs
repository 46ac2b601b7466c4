//! The clock of Kvit: dispatches due duties, finishes deletions, forgets what is no longer needed, runs the schedules,
//! and tells the sites what became of their submissions.
//!
//! Wake-ups may be lost, and workers may die between two steps: everything here reads the ledger, which is the truth, and
//! does again what can be done twice without harm.
//!
//! What this service is not: it opens no submission. The one thing that it composes is a notice without content.

pub mod cron;

mod engine;
mod keys;
mod notify;
mod purge;
mod sweep;
mod tell;

use std::sync::Arc;

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
    let scheduler = Arc::new(Scheduler {
        ledger: worker::ledger(config)?,
        notices: Notices::new(Arc::clone(&loaded), letters, vault.clone())?,
        certificates: Certificates::new(Arc::clone(&loaded)),
        vault,
        link,
        worker: WorkerId::new(),
        clock: context.clock.clone(),
        loaded: Arc::clone(&loaded),
    });

    let idle = CancellationToken::new();
    let presence = Presence {
        ledger: scheduler.ledger.clone(),
        vault: scheduler.vault.clone(),
        worker: scheduler.worker,
        service: "scheduler",
        check: context.health.check("store"),
        lease: None,
        clock: context.clock.clone(),
    };
    let beating = tokio::spawn(presence.keep(idle.clone()));
    let tasks = TaskTracker::new();
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
