//! The broker killed, restarted, and gone with all that it had.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use kvit_cli::demo::rabbit::PrivateRabbit;
use kvit_tests::{Engine, Peers, TestBed, within};
use tempfile::TempDir;
use tokio::task::block_in_place;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bed::{Fleet, Load, PATIENCE, SERVICES, Tally, is_full, numbered, scaled};
use crate::oracle::came_through;

/// How soon intake consumes again once the broker takes connections.
const AGAIN: Duration = Duration::from_secs(15);

/// A broker of a test's own, and a bed that uses it.
struct Broken {
    rabbit: PrivateRabbit,
    bed: TestBed,
    _dir: TempDir,
}

impl Broken {
    async fn prepare() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let rabbit = block_in_place(|| PrivateRabbit::start(dir.path()))?;
        let bed = TestBed::prepare_with(&Peers {
            own_broker: Some(rabbit.url()),
            ..Peers::default()
        })
        .await?;
        Ok(Self { rabbit, bed, _dir: dir })
    }
}

/// Publishes report after report until told to stop, each until the broker has confirmed it.
async fn keep_sending(bed: &TestBed, load: &mut Load, most: u32, enough: CancellationToken) {
    while !enough.is_cancelled() && load.reports < most {
        // A broker that is away confirms nothing: the site keeps the message, and sends it again.
        if bed.publish(&numbered(load.reports)).await.is_ok() {
            load.reports += 1;
        } else {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Kills and restarts the broker in turn, and waits each time until intake consumes again.
async fn break_it(rabbit: &mut PrivateRabbit, fleet: &mut Fleet<'_>, times: u32) -> anyhow::Result<Duration> {
    let mut longest = Duration::ZERO;
    for n in 0..2 * times {
        if n % 2 == 0 {
            rabbit.kill()?;
        } else {
            block_in_place(|| rabbit.stop())?;
        }
        fleet.get("kvit-intake")?.until_not_ready("broker: ").await?;
        block_in_place(|| rabbit.restart())?;
        let there = Instant::now();
        fleet.get("kvit-intake")?.until_ready().await?;
        longest = longest.max(there.elapsed());
    }
    Ok(longest)
}

/// The broker killed 20 times and restarted 20 times under load.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_and_restarted_loses_nothing_confirmed() -> anyhow::Result<()> {
    let mut broken = Broken::prepare().await?;
    let bed = &broken.bed;
    let mut fleet = Fleet::start(bed).await?;
    let mut load = Load::default();
    load.send(bed, 2).await?;
    // Each service has declared its queues by then: one that is declared after this and lost in the kill is a queue that
    // RabbitMQ 3.10 never finds a leader for again.
    bed.until_deleted(2).await?;
    for service in SERVICES {
        fleet.get(service)?.until_ready().await?;
    }
    block_in_place(|| broken.rabbit.settle())?;
    let times = scaled(1, 20);
    let enough = CancellationToken::new();
    let breaking = async {
        let _at_the_end = enough.clone().drop_guard();
        break_it(&mut broken.rabbit, &mut fleet, times).await
    };
    let (longest, ()) = tokio::join!(
        breaking,
        keep_sending(bed, &mut load, scaled(300, 4_000), enough.clone())
    );
    let longest = longest?;
    let again = came_through(bed, &load, PATIENCE).await?;
    fleet.ensure_alive()?;
    println!("faults | consuming again after at most {longest:.1?}");
    ensure!(!is_full() || longest < AGAIN, "consuming again only after {longest:?}");
    let sent = i64::from(load.reports);
    Tally::nothing_lost(sent, again, 2 * i64::from(times)).say("broker killed and restarted", Engine::default());
    Ok(())
}

/// The ledger is the truth: with the broker's whole data folder gone after intake's ack, every duty is still done.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_lost_everything_after_the_ack_takes_no_duty_with_it() -> anyhow::Result<()> {
    let mut broken = Broken::prepare().await?;
    let bed = &broken.bed;
    let mut fleet = Fleet::start(bed).await?;
    fleet.kill("kvit-mailer")?;
    let mut load = Load::default();
    load.send(bed, scaled(10, 200)).await?;
    bed.until_arrived(i64::from(load.reports)).await?;
    until_acked(&broken.rabbit).await?;

    broken.rabbit.kill()?;
    std::fs::remove_dir_all(broken.rabbit.dir().join("data")).context("the broker's data")?;
    block_in_place(|| broken.rabbit.restart())?;
    fleet.start_one("kvit-mailer", &[]).await?;
    let again = came_through(bed, &load, PATIENCE).await?;
    fleet.get("kvit-intake")?.until_ready().await?;
    // And what comes next is taken as before.
    let before = load.reports;
    load.send(bed, 2).await?;
    came_through(bed, &load, PATIENCE).await?;
    let sent = i64::from(load.reports);
    Tally::nothing_lost(sent, again, 1).say("the broker's data deleted after the ack", Engine::default());
    ensure!(load.reports == before + 2);
    Ok(())
}

/// Waits until the broker holds no submission any more, unacked ones included.
async fn until_acked(rabbit: &PrivateRabbit) -> anyhow::Result<()> {
    within(Duration::from_mins(1), "every message is acked", async || {
        let listed =
            block_in_place(|| rabbit.ctl(&["list_queues", "--quiet", "--no-table-headers", "name", "messages"]))?;
        let waiting = listed.lines().any(|line| {
            let mut words = line.split_ascii_whitespace();
            words.next() == Some("kvit.submissions.eksempel") && words.next() != Some("0")
        });
        Ok((!waiting).then_some(()))
    })
    .await
}
