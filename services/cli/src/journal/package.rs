//! Entries written out as bags: for a person who needs them, or for an archive (D6).

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kvit_journaliser::requests::{self, Export, Opened};
use ledger::{EntryFilter, EntryRow};
use runtime::Exit;
use serde_json::json;

use super::sealed::Ephemeral;
use super::{asked, find};
use crate::app::{App, actor, unavailable};

/// As many entries as one package holds.
const MOST: u32 = 10_000;

pub(super) async fn export(app: &App, ids: Vec<String>, case: Option<String>, out: &Path) -> anyhow::Result<()> {
    let mut entries = Vec::new();
    for id in ids {
        entries.push(find(app, &id).await?);
    }
    if let Some(case) = case {
        let filter = EntryFilter {
            case: Some(case),
            ..EntryFilter::default()
        };
        entries.extend(app.ledger.journal_entries(filter, MOST).await.map_err(unavailable)?);
    }
    entries.retain(|entry| matches!(entry.state.as_str(), "active" | "archived"));
    if entries.is_empty() {
        return Err(Exit::usage(anyhow::anyhow!("name entries, or a case, that the journal has")).into());
    }
    is_empty(out)?;
    // What leaves the journal, leaves with the name of whoever took it.
    let on = match entries.as_slice() {
        [one] => one.id.clone(),
        several => format!("entries {}", several.len()),
    };
    app.record("journal.export", on).await?;
    let bags = write(app, &entries, out).await?;
    app.print(&json!({"out": out, "bags": bags}), || {
        format!(
            "{} bags in {}: they are not encrypted, delete them when you are done",
            bags.len(),
            out.display()
        )
    })
}

pub(super) async fn hand_over(app: &App, out: &Path) -> anyhow::Result<()> {
    // What changes from now on is not in the package, and is handed over again.
    let begun = app.clock.now();
    let entries = app.ledger.to_hand_over(MOST).await.map_err(unavailable)?;
    if entries.is_empty() {
        return app.print(&json!({"package": null, "bags": []}), || {
            "nothing is to be handed over: no closed case has an entry that an archive is to have".to_owned()
        });
    }
    is_empty(out)?;
    let bags = write(app, &entries, out).await?;
    let package = requests::package_id();
    let ids = entries.into_iter().map(|entry| entry.id).collect();
    app.ledger
        .handed_over(package.clone(), ids, actor(), begun)
        .await
        .map_err(unavailable)?;
    app.print(&json!({"package": package, "out": out, "bags": bags}), || {
        format!(
            "package {package}: {} bags in {}; when the archive has them: kvit journal acknowledge {package}",
            bags.len(),
            out.display()
        )
    })
}

pub(super) async fn acknowledge(app: &App, id: String) -> anyhow::Result<()> {
    let package = app
        .ledger
        .acknowledge(id.clone(), actor(), app.clock.now())
        .await
        .map_err(unavailable)?;
    let package = package
        .with_context(|| format!("no package {id}"))
        .map_err(Exit::data)?;
    app.print(&package, || {
        format!(
            "acknowledged: package {id} with {} entries; each goes when its period is over",
            package.entries
        )
    })
}

/// Refuses a folder that holds something (64).
fn is_empty(out: &Path) -> anyhow::Result<()> {
    let taken = out.read_dir().is_ok_and(|mut found| found.next().is_some());
    if taken {
        return Err(Exit::usage(anyhow::anyhow!("{} is not empty", out.display())).into());
    }
    Ok(())
}

/// Asks the journaliser for each entry, sealed to a key of this moment, and writes what it opens to.
async fn write(app: &App, entries: &[EntryRow], out: &Path) -> anyhow::Result<Vec<String>> {
    let key = Ephemeral::new(app)?;
    let mut bags = Vec::new();
    for entry in entries {
        let request = Export {
            entry: entry.id.clone(),
            certificate: key.certificate.clone(),
        };
        let answer = asked(app, requests::EXPORT, &request).await?;
        let sealed = answer["sealed"]
            .as_str()
            .context("the journaliser's answer has no content")?;
        let opened: Opened = serde_json::from_slice(&key.open(sealed)?)?;
        let bag = out.join(&entry.id);
        for (path, content) in opened.files {
            place(&bag, &path, &STANDARD.decode(content)?)?;
        }
        bags.push(entry.id.clone());
    }
    Ok(bags)
}

/// Writes a file of a bag, for its user alone.
fn place(bag: &Path, path: &str, content: &[u8]) -> anyhow::Result<()> {
    let path = Path::new(path);
    let is_below = path.components().all(|part| matches!(part, Component::Normal(_)));
    anyhow::ensure!(is_below, "a bag's file lies outside the bag");
    let path = bag.join(path);
    let folder = path.parent().unwrap_or(bag);
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    let opened = made.and_then(|()| OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path));
    opened
        .and_then(|mut file| file.write_all(content))
        .map_err(Exit::io)
        .with_context(|| format!("writing {}", path.display()))
}
