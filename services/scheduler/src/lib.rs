//! The clock of Kvit: dispatches due duties, finishes deletions, forgets what is no longer needed, runs the schedules,
//! and tells the sites what became of their submissions.
//!
//! Wake-ups may be lost, and workers may die between two steps: everything here reads the ledger, which is the truth, and
//! does again what can be done twice without harm.
//!
//! What this service is not: it opens no submission but a registration, for the list that its department is sent. What it
//! composes besides is a notice without content.

pub mod engine;
pub mod requests;

mod checkpoint;
mod extract;
mod figures;
mod follow;
mod journal;
mod kept;
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
use letter::Letters;
use openpgp::{Mailbox, SigningKey};
use runtime::{Clock, Context, Exit, Loaded};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vault::Vault;
use worker::{Certificates, Keys, Notices, Presence, Traces};

pub use sequence::compare_with_evidence;
pub use worker::cron;

/// What the scheduler works with.
pub struct Scheduler {
    loaded: Arc<Loaded>,
    ledger: Ledger,
    vault: Vault,
    link: Link,
    notices: Notices,
    letters: Arc<Letters>,
    signer: Option<SigningKey>,
    message_domain: String,
    certificates: Certificates,
    /// Where an evidence key is configured: events then follow the signed log.
    sequencer: Option<Sequencer>,
    worker: WorkerId,
    clock: Clock,
    traces: Traces,
}

impl Scheduler {
    /// Opens what the configuration names; nothing runs yet.
    ///
    /// # Errors
    ///
    /// Where the configuration cannot be used (78).
    pub fn open(loaded: &Arc<Loaded>, context: &Context) -> anyhow::Result<Self> {
        let config = &loaded.config;
        let keys = Keys {
            mail: true,
            registration: true,
            index: true,
            ..Keys::default()
        };
        let vault = worker::vault(config, keys)?;
        let letters = Arc::new(worker::letters(config)?);
        let from = Mailbox::parse(&config.smtp.from).map_err(Exit::config)?;
        let (ledger, worker) = (worker::ledger(config)?, WorkerId::new());
        Ok(Self {
            notices: Notices::new(Arc::clone(loaded), Arc::clone(&letters), vault.clone())?,
            letters,
            signer: worker::signer(config)?,
            message_domain: from.address.domain().to_owned(),
            certificates: Certificates::new(Arc::clone(loaded)),
            sequencer: Sequencer::open(config, (&ledger, &vault), worker, &context.clock)?,
            link: worker::link(config, "kvit-scheduler", context.health.check("broker"))?,
            ledger,
            vault,
            worker,
            clock: context.clock.clone(),
            traces: Traces::default(),
            loaded: Arc::clone(loaded),
        })
    }
}

impl Scheduler {
    async fn refuse_another_past(&self, shutdown: &CancellationToken) -> anyhow::Result<()> {
        worker::refuse_another_past(&self.loaded.config, &self.ledger, &self.vault, shutdown).await?;
        match &self.sequencer {
            Some(sequencer) => sequencer.refuse_another_past(shutdown).await,
            None => Ok(()),
        }
    }
}

/// Runs the service until it is told to stop.
///
/// # Errors
///
/// Where the configuration cannot be used (78).
pub async fn run(loaded: Arc<Loaded>, context: Context) -> anyhow::Result<()> {
    let schedules = cron::schedules(&loaded.config)?;
    let (traces, exporting) = worker::traces(&loaded.config, "kvit-scheduler")?;
    let scheduler = Arc::new(Scheduler {
        traces,
        ..Scheduler::open(&loaded, &context)?
    });
    scheduler.link.declare_duties();
    for site in loaded.config.sites.keys() {
        scheduler.link.declare_events(site);
    }

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
    let background = TaskTracker::new();
    background.spawn(presence.keep(idle.clone()));
    background.spawn(exporting.serve(idle.clone()));
    background.close();
    // Before anything is done: what a restored ledger would do again must not be done.
    if let Err(refused) = scheduler.refuse_another_past(&context.shutdown).await {
        idle.cancel();
        background.wait().await;
        return Err(refused);
    }
    let tasks = TaskTracker::new();
    if scheduler.sequencer.is_some() {
        let check = context.health.check("evidence");
        tasks.spawn(part("evidence", &scheduler, &context, move |scheduler, shutdown| {
            let check = check.clone();
            async move {
                if let Some(sequencer) = &scheduler.sequencer {
                    sequencer.run(check, shutdown).await;
                }
            }
        }));
    }
    tasks.spawn(worker::rotate::serve(
        worker::rotate::OF_SCHEDULER,
        scheduler.ledger.clone(),
        scheduler.vault.clone(),
        context.clock.clone(),
        context.shutdown.clone(),
    ));
    let work = sweep::work(&context.health);
    tasks.spawn(part("sweep", &scheduler, &context, move |scheduler, shutdown| {
        sweep::run(scheduler, work.clone(), shutdown)
    }));
    tasks.spawn(part("requests", &scheduler, &context, requests::serve));
    tasks.spawn(part("events", &scheduler, &context, tell::run));
    for schedule in schedules {
        tasks.spawn(part(schedule.name, &scheduler, &context, move |scheduler, shutdown| {
            engine::run(scheduler, schedule.clone(), shutdown)
        }));
    }
    tasks.close();
    tasks.wait().await;
    idle.cancel();
    background.wait().await;
    Ok(())
}

/// A part of the service, which is begun anew where it panics: what it leaves half done the ledger knows.
fn part<F, Fut>(
    name: &'static str,
    scheduler: &Arc<Scheduler>,
    context: &Context,
    run: F,
) -> impl Future<Output = ()> + Send + use<F, Fut>
where
    F: Fn(Arc<Scheduler>, CancellationToken) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let (scheduler, shutdown) = (Arc::clone(scheduler), context.shutdown.clone());
    worker::forever(name, shutdown.clone(), move || {
        run(Arc::clone(&scheduler), shutdown.clone())
    })
}
