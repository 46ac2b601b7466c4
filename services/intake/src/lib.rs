//! Takes submissions from the sites' queues: open, read, check, compose, seal, record, and only then ack.
//!
//! What is read here is personal; it exists in this process's memory alone, from the broker's delivery to the sealed
//! payload in the ledger. A message that cannot be taken is put aside, sealed; a store that is away holds the message in
//! the broker.
//!
//! What this service is not: it sends nothing, and deletes nothing but keys that came to no use.

pub mod check;
pub mod coerce;
pub mod digest;
pub mod json;
pub mod shapes;

mod aside;
mod case;
mod compose;
mod event;
mod held;
mod identity;
mod key_test;
mod known;
mod message;
mod record;
pub mod requests;
mod take;
mod trace;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use broker::{Delivery, Verdict, dead_queue, submissions_queue};
use domain::Pausable;
use ledger::{Pause, WorkerId};
use openpgp::UnsealKey;
use runtime::{Context, Exit, Loaded};
use tokio::sync::{RwLock, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use worker::{Certificates, Keys, Notices, Pauses, Presence, Traces};

use crate::take::{Intake, ROOM_KIB};

/// For so long no message in hand may get on before the service counts as hanging. One whose store is away is out of hand
/// within a minute, and between its attempts.
const STILL: Duration = Duration::from_mins(30);

/// Runs the service until it is told to stop; what is in hand then is finished first.
///
/// # Errors
///
/// Where the configuration cannot be used (78).
pub async fn run(loaded: Arc<Loaded>, context: Context) -> anyhow::Result<()> {
    let config = &loaded.config;
    let link = worker::link(config, "kvit-intake", context.health.check("broker"))?;
    let (traces, exporting) = worker::traces(config, "kvit-intake")?;
    let intake = Arc::new(open(Arc::clone(&loaded), &context, link.clone(), traces)?);

    take::begin_counting(&loaded);
    let idle = CancellationToken::new();
    let background = TaskTracker::new();
    background.spawn(exporting.serve(idle.clone()));
    background.spawn(
        Presence {
            ledger: intake.ledger.clone(),
            vault: intake.vault.clone(),
            worker: intake.worker,
            service: "intake",
            checks: ["store", "vault"].map(|name| context.health.check(name)),
            leases: None,
            clock: context.clock.clone(),
        }
        .keep(idle.clone()),
    );
    let (keys, watched, ended) = (context.health.check("keys"), Arc::clone(&intake), idle.clone());
    background.spawn(worker::forever("certificates", idle.clone(), move || {
        held::watch(Arc::clone(&watched), keys.clone(), ended.clone())
    }));
    let (served, ended) = (Arc::clone(&intake), idle.clone());
    background.spawn(worker::forever("requests", idle.clone(), move || {
        requests::serve(Arc::clone(&served), ended.clone())
    }));

    background.spawn(worker::rotate::serve(
        worker::rotate::OF_INTAKE,
        intake.ledger.clone(),
        intake.vault.clone(),
        context.clock.clone(),
        idle.clone(),
    ));
    // Before anything is taken: a restored ledger does not know what it has taken already.
    let refused = worker::refuse_another_past(config, &intake.ledger, &intake.vault, &context.shutdown).await;
    if refused.is_err() {
        idle.cancel();
        background.close();
        background.wait().await;
        return refused;
    }

    let queues: BTreeSet<String> = config.sites.keys().map(submissions_queue).collect();
    // Nothing is taken before it is known what is paused.
    link.pause(queues.clone());
    let pauses = Pauses {
        ledger: intake.ledger.clone(),
        check: context.health.check("pauses"),
        clock: context.clock.clone(),
    };
    let (paused, ended) = (link.clone(), idle.clone());
    background.spawn(worker::forever("pauses", idle.clone(), move || {
        let paused = paused.clone();
        let rest = move |pauses: &[Pause]| paused.pause(queues_of(pauses));
        pauses.clone().watch(ended.clone(), rest)
    }));

    link.declare_duties();
    let sites: Vec<_> = config.sites.keys().collect();
    for site in &sites {
        link.declare_site(site);
    }
    let consume = |what: &str, queues: Vec<String>| {
        let intake = Arc::clone(&intake);
        let work = worker::work(&context.health, what, STILL);
        let take = move |delivery: Delivery| {
            let (intake, work) = (Arc::clone(&intake), work.clone());
            async move {
                if failpoint::mutant("ack_before_commit") {
                    tokio::spawn(async move { intake.take(delivery).await });
                    return Verdict::Ack;
                }
                let _in_hand = work.begin();
                intake.take(delivery).await
            }
        };
        link.consume(queues, config.broker.prefetch, context.shutdown.clone(), take)
    };
    // Dead letters come by a connection of their own, and hold up no submission.
    tokio::join!(
        consume("messages", queues.into_iter().collect()),
        consume("dead letters", sites.iter().map(|site| dead_queue(site)).collect()),
    );
    idle.cancel();
    background.close();
    background.wait().await;
    Ok(())
}

fn queues_of(pauses: &[Pause]) -> BTreeSet<String> {
    let queues = pauses.iter().filter(|pause| pause.what == Pausable::Queue);
    queues.map(|pause| pause.name.clone()).collect()
}

fn open(loaded: Arc<Loaded>, context: &Context, link: broker::Link, traces: Traces) -> anyhow::Result<Intake> {
    let config = &loaded.config;
    let keys = Keys {
        intake: true,
        mail: true,
        journal: true,
        registration: true,
        index: true,
    };
    let vault = worker::vault(config, keys)?;
    let letters = Arc::new(worker::letters(config)?);
    let unseal = config.intake.unseal_key().map_err(Exit::config)?;
    let from = openpgp::Mailbox::parse(&config.smtp.from).map_err(Exit::config)?;
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    Ok(Intake {
        ledger: worker::ledger(config)?,
        notices: Notices::new(Arc::clone(&loaded), Arc::clone(&letters), vault.clone())?,
        vault,
        letters,
        certificates: Certificates::new(Arc::clone(&loaded)),
        signer: worker::signer(config)?,
        unseal: unseal
            .map(|bytes| UnsealKey::read(&bytes).map_err(Exit::config))
            .transpose()?,
        link,
        worker: WorkerId::new(),
        clock: context.clock.clone(),
        traces,
        message_domain: from.address.domain().to_owned(),
        crypto: Arc::new(Semaphore::new(cores)),
        room: Semaphore::new(ROOM_KIB as usize),
        alone: RwLock::new(()),
        loaded,
    })
}
