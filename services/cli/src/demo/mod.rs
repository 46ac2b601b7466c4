//! `kvit demo`: real submissions on their way from a queue to two mails, and then gone, on this machine alone.
//!
//! Everything is private and temporary: the broker, the inbox, the keys, the stores. `stage` sets them up and takes
//! them down, `story` posts the messages and tells what becomes of them, `proof` shows what is left. The broker and
//! the inbox serve the end-to-end tests too.

pub mod inbox;
pub mod rabbit;

mod gpg;
mod guard;
mod page;
mod proof;
mod stage;
mod story;
mod traces;
mod visit;

pub use traces::read_apart;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use runtime::{Exit, exit};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::page::Page;
use self::stage::Stage;
use crate::args::DemoArgs;

/// Something that was promised did not hold, or was not shown.
const NOT_HELD: u8 = 1;
/// The path of a socket, such as gpg's agent has, takes 108 bytes at most.
const LONGEST: usize = 60;

/// Runs the demonstration.
pub(crate) async fn run(args: &DemoArgs) -> anyhow::Result<u8> {
    let stop = interrupted()?;
    let mut page = Page::new();
    let gpg = gpg::version()?;
    let folder = folder()?;
    page.line("Kvit: from a queue to two mails, and then quit of the data.");
    page.line("Real payloads of a real Drupal; invented persons; nothing leaves this machine.");

    let told = perform(&mut page, folder.path(), &gpg, args.once, &stop).await;
    if told.is_err() || !page.failed().is_empty() {
        last_words(&folder.path().join(stage::LOG));
    }
    folder.close().map_err(Exit::io).context("removing the folder")?;
    let whole = told?;
    page.line("");
    page.line("Everything is stopped, and the folder removed.");
    if !whole {
        page.line("Interrupted before the end of the story.");
        return Ok(NOT_HELD);
    }
    Ok(verdict(&mut page))
}

/// Sets up, tells, proves, and takes down, also where one of them fails. `false` where it was interrupted.
async fn perform(
    page: &mut Page,
    folder: &Path,
    gpg: &str,
    once: bool,
    stop: &CancellationToken,
) -> anyhow::Result<bool> {
    page.heading("Setting up");
    let (stage, mut services) = match Stage::set(page, folder, stop).await {
        Ok(Some(set)) => set,
        // Ctrl-C ends the services too, which is then no failure of theirs.
        Err(_) if stop.is_cancelled() => return Ok(false),
        Ok(None) => return Ok(false),
        Err(error) => return Err(error),
    };
    let told = tokio::select! {
        biased;
        () = stop.cancelled() => Ok(false),
        failed = services.end() => Err(failed),
        told = tell(page, &stage, gpg) => told.map(|()| true),
    };
    let told = match told {
        Ok(true) if !once => visit::until(page, &stage, &mut services, stop).await.map(|()| true),
        told => told,
    };
    page.progress("stopping the services and the broker");
    services.stop().await;
    stage.strike().await?;
    told
}

async fn tell(page: &mut Page, stage: &Stage, gpg: &str) -> anyhow::Result<()> {
    let posted = story::tell(page, stage).await?;
    proof::show(page, stage, &posted, gpg).await
}

fn verdict(page: &mut Page) -> u8 {
    if page.failed().is_empty() {
        page.line("Everything that was promised held.");
        return exit::OK;
    }
    page.line("These did not hold:");
    for promise in page.failed().to_vec() {
        page.line(&format!("  ✗ {promise}"));
    }
    NOT_HELD
}

/// A folder that only this user can look into.
fn folder() -> anyhow::Result<TempDir> {
    let wanted = std::env::temp_dir();
    let base = if wanted.as_os_str().len() > LONGEST {
        Path::new("/tmp")
    } else {
        &wanted
    };
    tempfile::Builder::new()
        .prefix("kvit-demo-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(base)
        .map_err(Exit::io)
        .context("making a folder for the demonstration")
}

/// Cancelled at Ctrl-C and SIGTERM, from the first moment on: a broker that was started is always stopped.
fn interrupted() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let told = stop.clone();
    let mut terminate = signal(SignalKind::terminate()).map_err(Exit::io)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Exit::io)?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        told.cancel();
    });
    Ok(stop)
}

/// The end of the services' log, which goes with the folder, where something went wrong.
fn last_words(log: &Path) {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let wrong: Vec<&str> = text.lines().filter(|line| !line.contains("\"INFO\"")).collect();
    for line in &wrong[wrong.len().saturating_sub(20)..] {
        eprintln!("log: {line}");
    }
}
