//! `kvit restore`: brings a ledger that was restored from a backup up to its evidence.
//!
//! The evidence is checked whole first, and the ledger's own leaves must be its beginning. Then what the later leaves
//! record is done again: deletions in their order (payloads, keys, the record), mails that were sent, registrations that
//! ended, messages that were discarded. The leaves get their places last; until then no service starts. Whoever is
//! interrupted runs it again.

mod log;

use std::collections::BTreeSet;

use anyhow::{Context as _, anyhow};
use ledger::{EvidenceLeaf, Replayed};
use runtime::{ConfigArgs, Exit, exit};
use serde::Serialize;
use store::StoreError;
use vault::{Vault, WrappingKeys};
use worker::HEARD;

use crate::app::{App, unavailable};
use crate::args::RestoreArgs;
use crate::restore::log::Signed;

/// Leaves are read and done again so many at a time.
const BATCH: u64 = 1024;

/// What was done, for people and programs.
#[derive(Debug, Default, Serialize)]
struct Report {
    dry_run: bool,
    /// How many leaves the ledger lacked.
    leaves: u64,
    /// Submissions that were deleted again.
    deletions: u64,
    /// Duties that were done, or given up, since the backup.
    settled: u64,
    /// Mails that wait: they may have been sent in the last moments, and are counted when they go out.
    doubtful: u64,
    /// Submissions that were accepted after the backup, were not delivered as far as the evidence says, and are gone.
    lost: BTreeSet<String>,
    /// Messages that stand in quarantine again.
    quarantined_again: u64,
    /// Acts of operators that are to be done again.
    to_do_again: u64,
}

pub(crate) async fn run(config: &ConfigArgs, args: RestoreArgs, json: bool) -> anyhow::Result<u8> {
    let app = App::open(config, json)?;
    nothing_runs(&app).await?;
    let vault_url = app.loaded.config.vault.url().map_err(Exit::config)?;
    // Destroying keys needs none.
    let vault = Vault::new(&vault_url.parse().map_err(Exit::config)?, WrappingKeys::default());
    let logs = log::signed(&app.loaded.config)?;
    is_whole(&vault, &logs).await?;
    let restore = Restore {
        app: &app,
        vault,
        dry_run: args.dry_run,
    };
    let report = restore.run(&logs).await?;
    app.print(&report, || words(&report))?;
    Ok(exit::OK)
}

/// Services that work on the ledger meanwhile would send what is about to be known as sent.
async fn nothing_runs(app: &App) -> anyhow::Result<()> {
    let workers = app.ledger.workers(app.clock.now() - HEARD).await.map_err(unavailable)?;
    let mut services: Vec<_> = workers.into_iter().map(|worker| worker.service).collect();
    services.dedup();
    if services.is_empty() {
        return Ok(());
    }
    Err(Exit::unavailable(anyhow!(
        "{} still runs on this ledger, or did until a moment ago: stop every service first, and wait {} seconds",
        services.join(", "),
        HEARD.as_secs()
    ))
    .into())
}

/// The folder must not be behind what the key store knows to have been signed: what it lacks cannot be done again.
async fn is_whole(vault: &Vault, logs: &[Signed]) -> anyhow::Result<()> {
    for (origin, noted) in vault.noted_evidence().await.map_err(key_store)? {
        let size = logs.iter().find(|log| log.origin == origin).map(|log| log.size);
        // A year's log may have been dropped whole.
        if let Some(size) = size.filter(|size| *size < noted) {
            return Err(log::older(&origin, size, noted).into());
        }
    }
    Ok(())
}

fn key_store(error: StoreError) -> Exit {
    Exit::unavailable(anyhow::Error::new(error).context("asking the key store"))
}

struct Restore<'a> {
    app: &'a App,
    vault: Vault,
    dry_run: bool,
}

impl Restore<'_> {
    async fn run(&self, logs: &[Signed]) -> anyhow::Result<Report> {
        let mut report = Report {
            dry_run: self.dry_run,
            ..Report::default()
        };
        let known = self.app.ledger.evidence_logs().await.map_err(unavailable)?;
        let has = |log: &Signed| {
            known
                .iter()
                .find(|one| one.origin == log.origin)
                .map_or(0, |one| one.size)
        };
        for log in logs {
            self.is_its_beginning(log, has(log)).await?;
            report.leaves += log.size.saturating_sub(has(log));
        }
        if report.leaves == 0 {
            return Ok(report);
        }
        if !self.dry_run {
            self.app.record("restore", format!("leaves {}", report.leaves)).await?;
        }
        for log in logs {
            self.replay(log, has(log), &mut report).await?;
        }
        if self.dry_run {
            return Ok(report);
        }
        report.doubtful = self.app.ledger.doubt_unsent().await.map_err(unavailable)?;
        failpoint::reached("restore.doubted").await;
        for log in logs {
            self.adopt(log, has(log)).await?;
        }
        Ok(report)
    }

    /// Another past is not overwritten.
    async fn is_its_beginning(&self, log: &Signed, size: u64) -> anyhow::Result<()> {
        let mut from = 0;
        while from < size.min(log.size) {
            let wanted = (size.min(log.size) - from).min(BATCH);
            let own = self
                .app
                .ledger
                .evidence_leaves(log.year, from, u32::try_from(wanted).unwrap_or(u32::MAX))
                .await
                .map_err(unavailable)?;
            let signed = log.leaves(from, wanted)?;
            let same = own.len() == signed.len() && own.iter().zip(&signed).all(|(own, signed)| own == signed);
            if !same {
                return Err(Exit::data(anyhow!(
                    "the ledger's leaves from {from} on are not those of {}: it is not an earlier state of this \
                     installation. Nothing was changed",
                    log.origin
                ))
                .into());
            }
            from += wanted;
        }
        Ok(())
    }

    /// Does again what the leaves from `size` on record; destroys the keys of what is gone anywhere in the log, since the
    /// key store may be older still.
    async fn replay(&self, log: &Signed, size: u64, report: &mut Report) -> anyhow::Result<()> {
        let mut from = 0;
        while from < log.size {
            let leaves = log.leaves(from, BATCH)?;
            let count = u64::try_from(leaves.len()).unwrap_or(0);
            let (before, since): (Vec<_>, Vec<_>) = (from..).zip(leaves).partition(|(index, _)| *index < size);
            from += count;
            if self.dry_run {
                foresee(since.iter().map(|(_, leaf)| leaf), report);
                continue;
            }
            let gone = before.into_iter().filter(|(_, leaf)| leaf.event == "deleted");
            let gone = gone.filter_map(|(_, leaf)| leaf.submission?.parse().ok()).collect();
            self.vault
                .destroy(gone)
                .await
                .context("destroying keys")
                .map_err(Exit::unavailable)?;
            let since = since.into_iter().map(|(_, leaf)| leaf).collect();
            self.replay_some(since, report).await?;
        }
        Ok(())
    }

    /// Payloads, then keys, then the record: as when it was done first.
    async fn replay_some(&self, leaves: Vec<EvidenceLeaf>, report: &mut Report) -> anyhow::Result<()> {
        let replayed = self.app.ledger.replay(leaves).await.map_err(unavailable)?;
        failpoint::reached("restore.replayed").await;
        self.destroy(&replayed)
            .await
            .context("destroying keys")
            .map_err(Exit::unavailable)?;
        failpoint::reached("restore.keys_destroyed").await;
        report.deletions += replayed.deletions;
        report.settled += replayed.settled;
        report.quarantined_again += replayed.quarantined_again;
        report.to_do_again += replayed.to_do_again;
        for (id, _) in &replayed.deleted {
            report.lost.remove(&id.to_string());
        }
        report.lost.extend(replayed.unknown.iter().cloned());
        self.app.ledger.replayed(replayed).await.map_err(unavailable)?;
        failpoint::reached("restore.recorded").await;
        Ok(())
    }

    async fn destroy(&self, replayed: &Replayed) -> Result<(), vault::VaultError> {
        let gone = replayed
            .deleted
            .iter()
            .map(|(id, _)| id.0)
            .chain(replayed.discarded.iter().copied());
        self.vault.destroy(gone.collect()).await?;
        self.vault.destroy_all(replayed.registrations.clone()).await?;
        for owner in &replayed.journalised {
            self.vault.destroy_one(*owner, vault::Purpose::Journal).await?;
        }
        Ok(())
    }

    async fn adopt(&self, log: &Signed, size: u64) -> anyhow::Result<()> {
        let mut from = size;
        while from < log.size {
            let leaves = log.leaves(from, BATCH)?;
            let count = u64::try_from(leaves.len()).unwrap_or(0);
            self.app
                .ledger
                .adopt(log.year, log.origin.clone(), from, leaves)
                .await
                .map_err(unavailable)?;
            failpoint::reached("restore.adopted").await;
            from += count;
        }
        Ok(())
    }
}

/// What leaves would lead to, as far as they alone say it.
fn foresee<'l>(leaves: impl Iterator<Item = &'l EvidenceLeaf>, report: &mut Report) {
    for leaf in leaves {
        match leaf.event.as_str() {
            "deleted" => report.deletions += 1,
            "event_cancelled" | "event_dates_set" | "certificate_added" => report.to_do_again += 1,
            event if leaf.duty.is_some() && (event.ends_with("_done") || event.ends_with("_cancelled")) => {
                report.settled += 1;
            }
            _ => {}
        }
    }
}

fn words(report: &Report) -> String {
    if report.leaves == 0 {
        return "the ledger is not behind its evidence: there is nothing to restore".to_owned();
    }
    let done = if report.dry_run {
        "would be brought up to"
    } else {
        "is up to"
    };
    // The leaves alone do not say which of them the backup has.
    let most = if report.dry_run { "at most " } else { "" };
    let mut lines = vec![
        format!(
            "the ledger {done} its evidence: {} leaves it did not have",
            report.leaves
        ),
        format!(
            "{most}{} submissions deleted, {} duties settled",
            report.deletions, report.settled
        ),
    ];
    if !report.dry_run {
        lines.push(format!(
            "{} mails wait to be sent; one that went out in the last moments before the loss goes out again, under the \
             same Message-ID, and is counted as possible_mail",
            report.doubtful
        ));
    }
    if report.quarantined_again > 0 {
        lines.push(format!(
            "{} messages stand in quarantine again, though they were tried again after the backup: ask the department \
             before you try or discard them",
            report.quarantined_again
        ));
    }
    if report.to_do_again > 0 {
        lines.push(format!(
            "{} acts after the backup are to be done again: dates of events (kvit event set, cancel), certificates \
             (kvit key add)",
            report.to_do_again
        ));
    }
    if !report.lost.is_empty() {
        lines.push(format!(
            "{} submissions were accepted after the backup, were not delivered as far as the evidence says, and are \
             gone with the lost ledger: the sites still have them, for they were never told that they may go.",
            report.lost.len()
        ));
        let ids: Vec<_> = report.lost.iter().cloned().collect();
        lines.push(format!("Let the sites send them again: {}", ids.join(" ")));
    }
    lines.join("\n")
}
