//! How every program starts and ends: command line, configuration, logs, probes, signals.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use clap::{Args, CommandFactory, FromArgMatches, Parser};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::{Config, DEFAULT_PATH, Findings, Layers, Loaded};
use crate::exit::{self, code_of};
use crate::{Clock, Health, Probes, harden, logging, probes, supervised};

/// After SIGTERM the services have 25 seconds for what is in hand; what hangs longer is cut off.
const HARD_STOP: Duration = Duration::from_secs(30);

/// How long a thread that hangs may hold up the end of a process that is done.
const PARTING: Duration = Duration::from_secs(2);

/// What a service gets from its program.
#[derive(Debug, Clone)]
pub struct Context {
    /// Cancelled when the service is to stop taking, finish what is in hand, and return.
    pub shutdown: CancellationToken,
    /// The checks behind `/readyz`.
    pub health: Health,
    /// The time.
    pub clock: Clock,
}

impl Context {
    /// A context on the machine's clock.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shutdown: CancellationToken::new(),
            health: Health::new(),
            clock: Clock::system(),
        }
    }

    /// The same for one of several services in this process: its checks are named `service.check`.
    #[must_use]
    pub fn scoped(&self, service: &str) -> Self {
        Self {
            health: self.health.scoped(service),
            ..self.clone()
        }
    }
}

impl Default for Context {
    fn default() -> Self {
        Self::new()
    }
}

/// The flags that say which configuration holds; `kvit` has them too.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigArgs {
    /// The configuration file [default: /etc/kvit/kvit.toml]
    #[arg(
        long,
        value_name = "PATH",
        env = "KVIT_CONFIG",
        hide_env_values = true,
        global = true
    )]
    pub config: Option<PathBuf>,
    /// Sets a key of the configuration, as broker.prefetch=16; secrets belong in files or the environment
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value, global = true)]
    pub set: Vec<(String, String)>,
    /// Only looks for queues and exchanges, and declares none
    #[arg(long, global = true)]
    pub no_declare: bool,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it is not KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

impl ConfigArgs {
    /// The file that these flags name.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| DEFAULT_PATH.into())
    }

    /// Loads it, with the environment and then these flags over it.
    ///
    /// # Errors
    ///
    /// Every fault, and the warnings too.
    pub fn load(&self) -> Result<Loaded, Findings> {
        Loaded::load_with(&self.path(), &self.layers())
    }

    /// What can be read of it, with every fault and warning.
    #[must_use]
    pub fn examine(&self) -> (Option<Loaded>, Findings) {
        Loaded::examine(&self.path(), &self.layers())
    }

    fn layers(&self) -> Layers {
        let mut layers = Layers::from_environment();
        for (key, value) in &self.set {
            layers = layers.with_flag(key, value);
        }
        if self.no_declare {
            layers = layers.with_flag("broker.declare", "false");
        }
        layers
    }
}

/// The command line of a service.
#[derive(Debug, Parser)]
#[command(version, disable_help_subcommand = true)]
struct Line {
    #[command(flatten)]
    config: ConfigArgs,
    /// Checks configuration and forms, lists every fault, and exits (78 where there is one)
    #[arg(long)]
    check_config: bool,
}

/// Runs a service from its command line to its exit status.
///
/// `listen` says which of the configuration's addresses answers the probes; `run` is the service.
pub async fn start<F, Fut>(name: &'static str, listen: fn(&Config) -> &str, run: F) -> ExitCode
where
    F: FnOnce(Arc<Loaded>, Context) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    start_page(name, listen, |_, _| Ok(Router::new()), run).await
}

/// As [`start`], for a service that serves a page beside its probes.
pub async fn start_page<P, F, Fut>(name: &'static str, listen: fn(&Config) -> &str, page: P, run: F) -> ExitCode
where
    P: FnOnce(&Arc<Loaded>, &Context) -> anyhow::Result<Router>,
    F: FnOnce(Arc<Loaded>, Context) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let code = start_from(name, std::env::args_os(), listen, page, run).await;
    // The runtime waits for its threads; one that hangs would keep the process for ever.
    std::thread::spawn(move || {
        std::thread::sleep(PARTING);
        std::process::exit(code.into());
    });
    code.into()
}

async fn start_from<P, F, Fut>(
    name: &'static str,
    line: impl IntoIterator<Item = OsString>,
    listen: fn(&Config) -> &str,
    page: P,
    run: F,
) -> u8
where
    P: FnOnce(&Arc<Loaded>, &Context) -> anyhow::Result<Router>,
    F: FnOnce(Arc<Loaded>, Context) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    harden();
    let line = match parsed(name, line) {
        Ok(line) => line,
        Err(error) => return usage(&error),
    };
    let loaded = match line.config.load() {
        Ok(loaded) => loaded,
        Err(findings) => {
            eprintln!("{findings}");
            return exit::CONFIG;
        }
    };
    if line.check_config {
        if !loaded.warnings.is_empty() {
            eprintln!("{}", loaded.warnings);
        }
        println!("{}: no fault, {} forms", loaded.path.display(), loaded.forms.len());
        return exit::OK;
    }
    logging::init();
    for warning in loaded.warnings.iter() {
        warn!("{warning}");
    }
    match serve(name, Arc::new(loaded), listen, page, run).await {
        Ok(()) => exit::OK,
        Err(failure) => {
            error!("{name} ends: {failure:#}");
            code_of(&failure)
        }
    }
}

/// The command line of a service, for its manual page and its completions.
#[must_use]
pub fn command(name: &'static str) -> clap::Command {
    let about = match name {
        "kvit-intake" => "Takes submissions, checks, composes, seals, and records what is owed",
        "kvit-mailer" => "Sends the sealed mails",
        "kvit-journaliser" => "Writes the journal",
        "kvit-console" => "Serves the web page and the JSON API for operations",
        "kvit-scheduler" => "Does what time decides: dispatches, closes, extracts, purges",
        _ => "A service of Kvit",
    };
    Line::command().name(name).bin_name(name).about(about)
}

fn parsed(name: &'static str, line: impl IntoIterator<Item = OsString>) -> Result<Line, clap::Error> {
    Line::from_arg_matches(&command(name).try_get_matches_from(line)?)
}

/// Prints what clap has to say: help and version are no faults.
fn usage(error: &clap::Error) -> u8 {
    // A closed pipe leaves nobody to tell.
    let _ = error.print();
    if error.use_stderr() { exit::USAGE } else { exit::OK }
}

async fn serve<P, F, Fut>(
    name: &str,
    loaded: Arc<Loaded>,
    listen: fn(&Config) -> &str,
    page: P,
    run: F,
) -> anyhow::Result<()>
where
    P: FnOnce(&Arc<Loaded>, &Context) -> anyhow::Result<Router>,
    F: FnOnce(Arc<Loaded>, Context) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let context = Context::new();
    let router = probes::router(context.health.clone()).merge(page(&loaded, &context)?);
    let probes = Probes::bind_with(listen(&loaded.config), router).await?;
    info!(listen = %probes.address(), "{name} {} starts", env!("CARGO_PKG_VERSION"));
    // The probes answer until the very end, so that a supervisor sees the draining.
    let served = CancellationToken::new();
    let probing = tokio::spawn(probes.serve(served.clone()));
    let health = context.health.clone();
    let telling = tokio::spawn(supervised(health, context.shutdown.clone(), served.clone()));
    let result = until_done(context.shutdown.clone(), run(loaded, context)).await;
    served.cancel();
    let _ = tokio::join!(probing, telling);
    result
}

/// Runs a service, or several at once, until it returns; SIGTERM and SIGINT cancel `shutdown`.
///
/// What has not returned 30 seconds after that, or at a second signal, is cut off with the process (status 69): a
/// thread that hangs would keep it alive for ever.
///
/// # Errors
///
/// The service's own failure.
pub async fn until_done<Fut>(shutdown: CancellationToken, run: Fut) -> anyhow::Result<()>
where
    Fut: Future<Output = anyhow::Result<()>>,
{
    tokio::pin!(run);
    // The signals first: one that comes while the service is still opening what it needs drains it, too.
    tokio::select! {
        biased;
        result = signalled() => result?,
        () = shutdown.cancelled() => {}
        result = &mut run => return result,
    }
    info!("stopping: what is in hand is finished");
    shutdown.cancel();
    tokio::select! {
        result = &mut run => result,
        _ = signalled() => cut_off("a second signal"),
        () = tokio::time::sleep(HARD_STOP) => cut_off("something hangs"),
    }
}

fn cut_off(why: &str) -> ! {
    error!("{why}: cut off; what was in hand is taken up again at the next start");
    std::process::exit(exit::UNAVAILABLE.into())
}

/// Waits for SIGTERM or SIGINT.
async fn signalled() -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
        [controller]
        name = "Eksempel Kommune"
        address = "Rådhuspladsen 1, 9999 Eksempel"
        dpo = "https://dpo.eksempel.example"
        contact_url = "https://eksempel.example/digital-post"
        privacy_url = "https://eksempel.example/databeskyttelse"
        complaint = "Datatilsynet"
        [smtp]
        from = "kvittering@eksempel.example"
        bounce = "bounce@eksempel.example"
        [intake]
        listen = "127.0.0.1:0"
    "#;

    /// The status of a program on this command line, whose service ends like this.
    async fn status(line: &[&str], end: fn(&Loaded) -> anyhow::Result<()>) -> u8 {
        let line = std::iter::once("kvit-intake")
            .chain(line.iter().copied())
            .map(OsString::from);
        let run = |loaded: Arc<Loaded>, _: Context| async move { end(&loaded) };
        start_from(
            "kvit-intake",
            line.collect::<Vec<_>>(),
            |config| &config.intake.listen,
            |_, _| Ok(Router::new()),
            run,
        )
        .await
    }

    fn never(_: &Loaded) -> anyhow::Result<()> {
        panic!("the service is not to run")
    }

    fn written(text: &str) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("forms")).unwrap();
        let path = folder.path().join("kvit.toml");
        std::fs::write(&path, text).unwrap();
        (folder, path.display().to_string())
    }

    #[tokio::test]
    async fn what_is_asked_on_the_command_line_is_answered_without_a_configuration() {
        assert_eq!(status(&["--help"], never).await, exit::OK);
        assert_eq!(status(&["--version"], never).await, exit::OK);
        assert_eq!(status(&["--nonsense"], never).await, exit::USAGE);
        assert_eq!(status(&["--set", "broker.prefetch"], never).await, exit::USAGE);
    }

    #[tokio::test]
    async fn a_faulty_configuration_ends_with_seventy_eight() {
        assert_eq!(
            status(&["--config", "/nonexistent/kvit.toml"], never).await,
            exit::CONFIG
        );
        let (_folder, path) = written("[controler]");
        assert_eq!(status(&["--config", &path], never).await, exit::CONFIG);
        assert_eq!(
            status(&["--config", &path, "--check-config"], never).await,
            exit::CONFIG
        );
    }

    #[tokio::test]
    async fn checking_runs_nothing() {
        let (_folder, path) = written(CONFIG);
        assert_eq!(status(&["--config", &path, "--check-config"], never).await, exit::OK);
        let bad = ["--config", &path, "--check-config", "--set", "broker.prefetch=0"];
        assert_eq!(status(&bad, never).await, exit::CONFIG);
    }

    #[tokio::test]
    async fn the_service_decides_how_its_program_ends() {
        let (_folder, path) = written(CONFIG);
        let line = ["--config", path.as_str()];
        assert_eq!(status(&line, |_| Ok(())).await, exit::OK);
        let code = status(&line, |_| {
            Err(crate::Exit::io(anyhow::anyhow!("the disk is full")).into())
        });
        assert_eq!(code.await, exit::IO);
        let code = status(&line, |loaded| {
            loaded.config.vault.mail_key().map(|_| ()).map_err(Into::into)
        });
        assert_eq!(
            code.await,
            exit::CONFIG,
            "a key that is missing is a fault of the configuration"
        );
        let quiet = ["--config", path.as_str(), "--no-declare", "--set", "broker.prefetch=5"];
        let code = status(&quiet, |loaded| {
            anyhow::ensure!(!loaded.config.broker.declare && loaded.config.broker.prefetch == 5);
            Ok(())
        });
        assert_eq!(code.await, exit::OK);
    }

    #[tokio::test]
    async fn an_address_in_use_ends_with_seventy_four() {
        let (_folder, path) = written(CONFIG);
        let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listen = format!("intake.listen={}", taken.local_addr().unwrap());
        assert_eq!(status(&["--config", &path, "--set", &listen], never).await, exit::IO);
    }
}
