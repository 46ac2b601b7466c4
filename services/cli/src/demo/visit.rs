//! After the story: everything stays up for the visitor, who is told what to try and sees what it does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use ledger::{QuarantineFilter, QuarantineRow};
use runtime::Exit;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::page::Page;
use super::stage::{Services, Stage};
use super::story::{BY_HAND, BY_HAND_FORM, SITE, Timeline, views};
use crate::app::unavailable;

/// How often it is looked for something new; nobody waits for it.
const LOOK: Duration = Duration::from_millis(200);

/// Says what to try, and tells what happens until Ctrl-C.
///
/// # Errors
///
/// Where the services end by themselves, or the store is away.
pub(crate) async fn until(
    page: &mut Page,
    stage: &Stage,
    services: &mut Services,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let shown = views(stage).await?.pop().and_then(|view| view.reference);
    suggest(page, stage, &shown.unwrap_or_default())?;
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        failed = services.end() => Err(failed),
        watched = watch(page, stage) => watched,
    }
}

fn suggest(page: &mut Page, stage: &Stage, reference: &str) -> anyhow::Result<()> {
    let message = stage.folder.join("message.json");
    std::fs::write(&message, BY_HAND)
        .map_err(Exit::io)
        .context("writing a message to send")?;
    let config = stage.created.config.display();
    let kvit = std::env::current_exe().map_or_else(|_| "kvit".to_owned(), |path| path.display().to_string());
    let kvit = format!("{kvit} --config {config}");
    let home = stage.gpg.home().display();
    page.heading("Now you");
    for (what, command) in [
        ("the figures", format!("{kvit} status")),
        ("what came", format!("{kvit} submission list")),
        ("one timeline", format!("{kvit} submission show {reference}")),
        ("what was put aside", format!("{kvit} quarantine list")),
        (
            "send one more, as often as you like",
            format!(
                "{kvit} submission send --site {SITE} --form {BY_HAND_FORM} {}",
                message.display()
            ),
        ),
        (
            "read a mail as the department does",
            format!(
                "gpg --homedir {home} --decrypt {}",
                stage.mails().join("1.asc").display()
            ),
        ),
    ] {
        page.line(&format!("  {what}:"));
        page.line(&format!("    {command}"));
    }
    let listen = &stage.loaded.config.console.listen;
    page.line("  is all well, and how much was done:");
    page.line(&format!("    http://{listen}/readyz?verbose   http://{listen}/metrics"));
    page.line("");
    page.line("  Everything runs until Ctrl-C. What you send is told here:");
    Ok(())
}

/// Tells what happens, for ever.
async fn watch(page: &mut Page, stage: &Stage) -> anyhow::Result<()> {
    let old: BTreeSet<String> = views(stage).await?.into_iter().map(|view| view.id).collect();
    let mut aside: BTreeSet<String> = quarantined(stage).await?.into_iter().map(|row| row.id).collect();
    let mut timelines: BTreeMap<String, Timeline> = BTreeMap::new();
    loop {
        let mut new = views(stage).await?;
        new.retain(|view| !old.contains(&view.id));
        new.reverse();
        for view in new {
            timelines.entry(view.id.clone()).or_default().tell(page, stage, &view);
        }
        for row in quarantined(stage).await? {
            if aside.insert(row.id) {
                let words = format!("in quarantine as {}: sealed, until a person decides", row.reason);
                page.event(row.received_at, &stage.loaded.config.controller.time_zone, &words);
            }
        }
        sleep(LOOK).await;
    }
}

async fn quarantined(stage: &Stage) -> anyhow::Result<Vec<QuarantineRow>> {
    let found = stage.ledger.quarantined(QuarantineFilter::default(), 1000);
    Ok(found.await.map_err(unavailable)?)
}
