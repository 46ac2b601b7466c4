//! Sends the sealed mails of the duty ledger: claim, send, settle.
//!
//! Wake-ups from the broker are hints; the ledger says what is owed. A *lane* takes one duty at a time, and
//! a connection to the relay only for as long as that takes the mail. When the last duty that binds a submission is settled, its keys are destroyed here at once.
//!
//! What this service is not: it composes no letter but notices, opens nothing but composed mails, and sends a department
//! nothing that is not sealed.

mod graves;
mod lanes;
mod relay;
mod send;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use broker::{Delivery, MAIL_DUTIES, Verdict, wake_ids};
use ledger::WorkerId;
use runtime::{Context, Loaded};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use worker::{Keys, Leases, Notices, Pauses, Presence};

use crate::graves::{Digger, graves};
use crate::lanes::Lanes;
use crate::relay::Relay;
use crate::send::Mailer;

/// How many wake-ups the broker may have under way to this service at once; each holds up to 500 ids.
const PREFETCH: u16 = 4;

/// For so long no mail in hand may get on before the service counts as hanging. A relay that takes the time that RFC 5321
/// gives it for each step takes half of it; one that is away is waited for with nothing in hand.
const STILL: Duration = Duration::from_hours(1);

/// Runs the service until it is told to stop; what is in hand then is finished first.
///
/// # Errors
///
/// Where the configuration cannot be used (78).
pub async fn run(loaded: Arc<Loaded>, context: Context) -> anyhow::Result<()> {
    let config = &loaded.config;
    let ledger = worker::ledger(config)?;
    let vault = worker::vault(
        config,
        Keys {
            mail: true,
            ..Keys::default()
        },
    )?;
    let letters = Arc::new(worker::letters(config)?);
    let link = worker::link(config, "kvit-mailer", context.health.check("broker"))?;
    link.declare_duties();
    let relay = Arc::new(Relay::new(&config.smtp, context.health.check("relay"))?);
    let (traces, exporting) = worker::traces(config, "kvit-mailer")?;
    let (graves, waiting) = graves();
    let mailer = Arc::new(Mailer {
        ledger: ledger.clone(),
        relay: relay.connections(usize::from(config.smtp.connections.max(1)), context.shutdown.clone()),
        graves,
        room: Semaphore::new(send::ROOM_KIB as usize),
        notices: Notices::new(Arc::clone(&loaded), letters, vault.clone())?,
        vault: vault.clone(),
        worker: WorkerId::new(),
        retry: config.retry.clone(),
        leases: Leases::new(config.mailer.lease),
        loaded: Arc::clone(&loaded),
        clock: context.clock.clone(),
        traces: traces.clone(),
        mails: worker::work(&context.health, "mails", STILL),
    });

    send::begin_counting();
    let idle = CancellationToken::new();
    let background = TaskTracker::new();
    let digger = Digger {
        ledger: ledger.clone(),
        vault: vault.clone(),
        clock: context.clock.clone(),
        waiting: waiting.into(),
        traces,
    };
    background.spawn(exporting.serve(idle.clone()));
    background.spawn(digger.serve(idle.clone()));
    background.spawn(presence(&mailer, &context).keep(idle.clone()));
    let (watched, ended) = (Arc::clone(&relay), idle.clone());
    background.spawn(worker::forever("relay", idle.clone(), move || {
        Arc::clone(&watched).watch(ended.clone())
    }));

    background.spawn(worker::rotate::serve(
        worker::rotate::OF_MAILER,
        ledger.clone(),
        vault.clone(),
        context.clock.clone(),
        idle.clone(),
    ));
    // Before anything is sent: what a restored ledger would send again must not be sent.
    if let Err(refused) = worker::refuse_another_past(config, &ledger, &vault, &context.shutdown).await {
        idle.cancel();
        background.close();
        background.wait().await;
        return Err(refused);
    }

    // The ledger gives nobody a duty that is paused; here it is only said.
    let pauses = Pauses {
        ledger: mailer.ledger.clone(),
        check: context.health.check("pauses"),
        clock: context.clock.clone(),
    };
    let ended = idle.clone();
    background.spawn(worker::forever("pauses", idle.clone(), move || {
        pauses.clone().watch(ended.clone(), |_| {})
    }));

    let lanes = Arc::new(Lanes::open(
        usize::from(config.smtp.connections),
        &mailer,
        &relay,
        &context.shutdown,
    ));
    let into = Arc::clone(&lanes);
    let wake = move |delivery: Delivery| {
        let lanes = Arc::clone(&into);
        async move {
            lanes.take(wake_ids(&delivery.body)).await;
            Verdict::Ack
        }
    };
    link.consume(vec![MAIL_DUTIES.to_owned()], PREFETCH, context.shutdown.clone(), wake)
        .await;
    lanes.close().await;
    idle.cancel();
    background.close();
    background.wait().await;
    Ok(())
}

fn presence(mailer: &Mailer, context: &Context) -> Presence {
    Presence {
        ledger: mailer.ledger.clone(),
        vault: mailer.vault.clone(),
        worker: mailer.worker,
        service: "mailer",
        checks: ["store", "vault"].map(|name| context.health.check(name)),
        leases: Some(mailer.leases.clone()),
        clock: context.clock.clone(),
    }
}
