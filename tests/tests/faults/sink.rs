//! A foreign peer: Postfix's `smtp-sink`, which nobody of us has written.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};
use kvit_tests::{Engine, Peers, TestBed, until, within};
use tokio::task::block_in_place;

use crate::bed::{Fleet, Load, PATIENCE, Tally, scaled};

/// What it is told to do: put off, and hang up, at each of these commands.
const FAULTS: [[&str; 2]; 5] = [
    ["-r", "mail"],
    ["-r", "rcpt"],
    ["-r", "data"],
    ["-q", "data"],
    ["-q", "."],
];

/// A running sink; killed when dropped.
struct Sink(Child);

impl Sink {
    fn start(port: u16, arguments: &[&str]) -> anyhow::Result<Self> {
        // `scripts/fault-tools` unpacks it.
        let postfix = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/postfix/usr");
        // Root must say whom it becomes.
        let is_root = std::fs::metadata("/proc/self")?.uid() == 0;
        let user: &[&str] = if is_root { &["-u", "nobody"] } else { &[] };
        let child = Command::new(postfix.join("sbin/smtp-sink"))
            .args(user)
            .env("LD_LIBRARY_PATH", postfix.join("lib/postfix"))
            .args(arguments)
            .arg(format!("127.0.0.1:{port}"))
            .arg("64")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("smtp-sink is not there: run scripts/fault-tools")?;
        Ok(Self(child))
    }

    async fn until_there(&mut self, port: u16) -> anyhow::Result<()> {
        until("smtp-sink listens", async || {
            ensure!(self.0.try_wait()?.is_none(), "smtp-sink ended");
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok().then_some(()))
        })
        .await
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// The messages that it has kept, by `Message-ID`.
fn kept(folder: &Path) -> anyhow::Result<BTreeMap<String, Vec<PathBuf>>> {
    let mut by_id: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
        let id = text.lines().find_map(|line| line.strip_prefix("Message-ID:"));
        if let Some(id) = id {
            by_id.entry(id.trim().to_owned()).or_default().push(path);
        }
    }
    Ok(by_id)
}

/// A relay of other people's that puts off and hangs up: 0 lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_relay_that_puts_off_and_hangs_up_loses_nothing() -> anyhow::Result<()> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let bed = TestBed::prepare_with(&Peers {
        relay: Some(port),
        ..Peers::default()
    })
    .await?;
    let folder = tempfile::tempdir()?;
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o777))?;
    let template = format!("{}/%s.", folder.path().display());
    let mut fleet = Fleet::start(&bed).await?;
    let mut load = Load::default();
    for fault in FAULTS {
        let mut sink = block_in_place(|| Sink::start(port, &fault))?;
        sink.until_there(port).await?;
        let before = attempts(&bed).await?;
        load.send(&bed, scaled(1, 10)).await?;
        until("a mail was tried", async || {
            Ok((attempts(&bed).await? > before).then_some(()))
        })
        .await?;
        drop(sink);
    }
    let mut sink = block_in_place(|| Sink::start(port, &["-d", &template]))?;
    sink.until_there(port).await?;
    let owed = 2 * load.reports as usize;
    within(PATIENCE, "every mail is kept", async || {
        let figures = bed.figures().await?;
        Ok((figures.open == 0 && figures.deleted == i64::from(load.reports)).then_some(()))
    })
    .await?;
    fleet.ensure_alive()?;
    drop(sink);
    let by_id = kept(folder.path())?;
    ensure!(
        by_id.len() == owed,
        "lost: {owed} mails are owed, and {} were kept",
        by_id.len()
    );
    let mails: usize = by_id.values().map(Vec::len).sum();
    let sent = i64::from(load.reports);
    Tally::nothing_lost(sent, i64::try_from(mails - owed)?, i64::try_from(FAULTS.len())?)
        .say("relay: Postfix's smtp-sink puts off and hangs up", Engine::default());
    Ok(())
}

async fn attempts(bed: &TestBed) -> anyhow::Result<i64> {
    Ok(bed.duties().await?.iter().map(|duty| duty.attempts).sum())
}
