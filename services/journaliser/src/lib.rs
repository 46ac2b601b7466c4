//! Journalises what belongs to a case: claim, write, settle.
//!
//! A submission that a form's rule, or a person, gives to the journal has a copy of its own, sealed at intake under the
//! journal's key: its deletion never waits for the journal, and a slow journal loses nothing. The copy goes when the target
//! has acknowledged it, and never before. A target that cannot be written to is watched, and what waited for it goes on by
//! itself when it is back.
//!
//! What this service is not: it mails no department, and opens nothing but journal copies and the journal itself. When an
//! entry ends is the purge's decision; this service only removes the content, because the folder is its own.

mod bag;
mod describe;
mod ending;
mod entry;
mod key;
pub mod requests;
mod story;
mod targets;

use std::sync::Arc;

use broker::{Delivery, JOURNAL_DUTIES, Verdict, wake_ids};
use futures::StreamExt as _;
use ledger::WorkerId;
use runtime::{Context, Loaded};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use worker::{Keys, Leases, Presence, Traces};

use crate::story::Journaliser;
use crate::targets::Targets;

/// How many wake-ups the broker may have under way to this service at once; each holds up to 500 ids.
const PREFETCH: u16 = 2;
/// How many entries of one wake-up are written at once.
const AT_ONCE: usize = 4;

/// Runs the service until it is told to stop; what is in hand then is finished first.
///
/// # Errors
///
/// Where the configuration cannot be used (78).
pub async fn run(loaded: Arc<Loaded>, context: Context) -> anyhow::Result<()> {
    let link = worker::link(&loaded.config, "kvit-journaliser", context.health.check("broker"))?;
    link.declare_duties();
    let (traces, exporting) = worker::traces(&loaded.config, "kvit-journaliser")?;
    let journaliser = Arc::new(open(Arc::clone(&loaded), &context, traces)?);

    let idle = CancellationToken::new();
    let background = TaskTracker::new();
    background.spawn(exporting.serve(idle.clone()));
    background.spawn(
        Presence {
            ledger: journaliser.ledger.clone(),
            vault: journaliser.vault.clone(),
            worker: journaliser.worker,
            service: "journaliser",
            checks: ["store", "vault"].map(|name| context.health.check(name)),
            leases: Some(journaliser.leases.clone()),
            clock: context.clock.clone(),
        }
        .keep(idle.clone()),
    );
    // Before anything is written: what a restored ledger would write again must not be written.
    let past = worker::refuse_another_past(
        &loaded.config,
        &journaliser.ledger,
        &journaliser.vault,
        &context.shutdown,
    );
    if let Err(refused) = past.await {
        idle.cancel();
        background.close();
        background.wait().await;
        return Err(refused);
    }

    let (watched, ended) = (Arc::clone(&journaliser), idle.clone());
    background.spawn(worker::forever("targets", idle.clone(), move || {
        targets::watch(Arc::clone(&watched), ended.clone())
    }));
    let (served, ended) = (Arc::clone(&journaliser), idle.clone());
    background.spawn(worker::forever("requests", idle.clone(), move || {
        requests::serve(Arc::clone(&served), ended.clone())
    }));
    let (removing, ended) = (Arc::clone(&journaliser), idle.clone());
    background.spawn(worker::forever("endings", idle.clone(), move || {
        ending::run(Arc::clone(&removing), ended.clone())
    }));

    let (writing, shutdown) = (Arc::clone(&journaliser), context.shutdown.clone());
    let wake = move |delivery: Delivery| {
        let (journaliser, shutdown) = (Arc::clone(&writing), shutdown.clone());
        async move {
            let ids = futures::stream::iter(wake_ids(&delivery.body));
            ids.take_until(shutdown.cancelled())
                .for_each_concurrent(AT_ONCE, |id| journaliser.discharge(id))
                .await;
            Verdict::Ack
        }
    };
    link.consume(
        vec![JOURNAL_DUTIES.to_owned()],
        PREFETCH,
        context.shutdown.clone(),
        wake,
    )
    .await;
    idle.cancel();
    background.close();
    background.wait().await;
    Ok(())
}

fn open(loaded: Arc<Loaded>, context: &Context, traces: Traces) -> anyhow::Result<Journaliser> {
    let config = &loaded.config;
    let keys = Keys {
        journal: true,
        index: true,
        ..Keys::default()
    };
    let vault = worker::vault(config, keys)?;
    let (ledger, letters) = (worker::ledger(config)?, Arc::new(worker::letters(config)?));
    Ok(Journaliser {
        targets: Targets::open(&loaded, context, (&ledger, &letters))?,
        ledger,
        letters,
        vault,
        worker: WorkerId::new(),
        leases: Leases::new(config.journaliser.lease),
        clock: context.clock.clone(),
        traces,
        loaded,
    })
}
