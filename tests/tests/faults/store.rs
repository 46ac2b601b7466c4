//! The store restarted, and without room.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use kvit_tests::postgres::Server;
use kvit_tests::{Engine, Peers, TestBed, within};
use tokio::task::block_in_place;
use tokio::time::Instant;

use crate::bed::{Fleet, Load, PATIENCE, SERVICES, Tally, is_full, scaled};
use crate::oracle::came_through;

/// PostgreSQL restarted 10 times under load, by turns in good order and by SIGKILL.
#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_restarted_loses_nothing() -> anyhow::Result<()> {
    let server = Arc::new(block_in_place(Server::start_private)?);
    let bed = TestBed::prepare_with(&Peers {
        server: Some(Arc::clone(&server)),
        ..Peers::default()
    })
    .await?;
    let mut fleet = Fleet::start(&bed).await?;
    let mut load = Load::default();
    let times = scaled(2, 10);
    for n in 0..times {
        load.send(&bed, scaled(10, 50)).await?;
        bed.until_arrived(i64::from(load.reports) - 5).await?;
        block_in_place(|| if n % 2 == 0 { server.kill() } else { server.stop() })?;
        load.send(&bed, 5).await?;
        block_in_place(|| server.restart())?;
    }
    let again = came_through(&bed, &load, PATIENCE).await?;
    fleet.ensure_alive()?;
    let sent = i64::from(load.reports);
    Tally::nothing_lost(sent, again, times).say("PostgreSQL killed and restarted", Engine::Postgres);
    Ok(())
}

/// A small file system of its own; unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(place: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(place)?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "kvit-faults"])
            .arg(place)
            .output()?;
        ensure!(
            mounted.status.success(),
            "a small file system could not be mounted (it needs root): {}",
            String::from_utf8_lossy(&mounted.stderr).trim()
        );
        Ok(Self(place.to_owned()))
    }

    /// Takes all the room that there is; the file is the room.
    fn fill(&self) -> anyhow::Result<PathBuf> {
        let path = self.0.join("filler");
        let mut filler = std::fs::File::create(&path)?;
        let zeros = [0_u8; 4096];
        while std::io::Write::write_all(&mut filler, &zeros).is_ok() {}
        Ok(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a service that is being killed may still have a file open.
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.0.display());
        }
    }
}

/// The disk full, for the ledger and for the keys: no ack without a commit, `/readyz` says so within 5 seconds, and it
/// goes on within 30 seconds of room, without a restart.
async fn full_disk(what: &str) -> anyhow::Result<()> {
    let bed = TestBed::prepare_with(&Peers {
        engine: Engine::Sqlite,
        ..Peers::default()
    })
    .await?;
    let disk = SmallDisk::mount(&bed.path("small"))?;
    bed.configure(&format!("\"sqlite:{what}.db\""), &format!("\"sqlite:small/{what}.db\""))?;
    let ledger = if what == "kvit" {
        ledger::Ledger::new(&format!("sqlite:{}", bed.path("small/kvit.db").display()).parse()?)
    } else {
        bed.ledger.clone()
    };
    let mut fleet = Fleet::start(&bed).await?;
    let mut load = Load::default();
    load.send(&bed, 5).await?;
    let deleted = async |count: i64, patience: Duration| {
        within(patience, "all is deleted", async || {
            let figures = ledger.figures(false, bed.clock().now()).await?;
            Ok((figures.deleted >= count).then_some(figures))
        })
        .await
    };
    deleted(5, PATIENCE).await?;

    let filler = disk.fill()?;
    let filled = Instant::now();
    load.send(&bed, 5).await?;
    for name in SERVICES {
        let service = fleet.get(name)?;
        service
            .until_not_ready(if what == "kvit" { "store: " } else { "vault: " })
            .await?;
    }
    let said = filled.elapsed();
    let figures = ledger.figures(false, bed.clock().now()).await?;
    ensure!(
        figures.arrived == 5,
        "something was taken that could not be written: {figures:?}"
    );

    std::fs::remove_file(filler).context("the filler")?;
    let room = Instant::now();
    deleted(10, PATIENCE).await?;
    let went_on = room.elapsed();
    for name in SERVICES {
        fleet.get(name)?.until_ready().await?;
    }
    fleet.ensure_alive()?;
    println!("faults | disk of {what}.db full: said after {said:.1?}, went on {went_on:.1?} after there was room");
    ensure!(!is_full() || said < Duration::from_secs(5), "said only after {said:?}");
    ensure!(
        !is_full() || went_on < Duration::from_secs(30),
        "went on only after {went_on:?}"
    );
    ensure!(
        bed.inbox.count() == 20,
        "{} mails went out for ten reports",
        bed.inbox.count()
    );
    Tally::nothing_lost(10, 0, 1).say(&format!("disk of {what}.db full"), Engine::Sqlite);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_the_ledger_is_said_and_waited_for() -> anyhow::Result<()> {
    full_disk("kvit").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_the_keys_is_said_and_waited_for() -> anyhow::Result<()> {
    full_disk("kvit-keys").await
}
