//! `kvit up`: every service in one process, for one machine.

use std::sync::Arc;

use kvit_console::Console;
use runtime::{ConfigArgs, Context, Exit, Loaded, Probes, exit, logging, supervised};
use tokio::task::JoinSet;

pub(crate) async fn run(config: &ConfigArgs) -> anyhow::Result<u8> {
    logging::init();
    let loaded = config.load().map_err(Exit::config)?;
    serve(Arc::new(loaded), Context::new()).await?;
    Ok(exit::OK)
}

/// Runs all services until they are told to stop; the first that fails stops the others. The console and the probes of
/// all are on `console.listen`.
///
/// # Errors
///
/// Where a service cannot start, or the address is taken.
pub(crate) async fn serve(loaded: Arc<Loaded>, context: Context) -> anyhow::Result<()> {
    let console = Console::open(&loaded, &context.scoped("console"))?;
    let router = runtime::probes::router(context.health.clone()).merge(console.router());
    let probes = Probes::bind_with(&loaded.config.console.listen, router)
        .await
        .map_err(Exit::io)?;
    tracing::info!(listen = %probes.address(), "all services start; the console, and probes at /livez, /readyz and /metrics");
    let shutdown = context.shutdown.clone();
    runtime::until_done(shutdown.clone(), async move {
        let mut services = JoinSet::new();
        services.spawn(kvit_intake::run(Arc::clone(&loaded), context.scoped("intake")));
        services.spawn(kvit_mailer::run(Arc::clone(&loaded), context.scoped("mailer")));
        services.spawn(kvit_journaliser::run(
            Arc::clone(&loaded),
            context.scoped("journaliser"),
        ));
        services.spawn(kvit_scheduler::run(loaded, context.scoped("scheduler")));
        services.spawn(async move {
            console.run().await;
            Ok(())
        });
        // The probes outlive the services, so that a drain can be watched.
        let served = tokio_util::sync::CancellationToken::new();
        let serving = tokio::spawn(probes.serve(served.clone()));
        let telling = tokio::spawn(supervised(
            context.health.clone(),
            context.shutdown.clone(),
            served.clone(),
        ));
        let mut failed = None;
        while let Some(ended) = services.join_next().await {
            let outcome = ended.map_err(anyhow::Error::from).and_then(|outcome| outcome);
            if let Err(error) = outcome {
                failed.get_or_insert(error);
            }
            // A service ends when it is told to, or when it cannot go on: the others do not go on without it.
            context.shutdown.cancel();
        }
        served.cancel();
        serving.await?;
        telling.await?;
        failed.map_or(Ok(()), Err)
    })
    .await
}
