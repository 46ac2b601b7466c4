//! Load without a fault of anybody's: services told to stop under it, and one message that comes again and again.

use std::time::Duration;

use anyhow::ensure;
use kvit_tests::{Engine, Peers, TestBed};
use tokio::time::Instant;

use crate::bed::{Fleet, Load, PATIENCE, SERVICES, Tally, numbered, scaled};
use crate::oracle::came_through;

/// SIGTERM under load 50 times: exit 0 within 30 s, and nothing comes again that was done.
#[tokio::test(flavor = "multi_thread")]
async fn services_that_are_told_to_stop_under_load_leave_nothing_half_done() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let mut fleet = Fleet::start(&bed).await?;
    let mut load = Load::default();
    let times = scaled(6, 50_usize);
    let mut longest = Duration::ZERO;
    for n in 0..times {
        load.send(&bed, scaled(6, 20)).await?;
        let service = SERVICES[n % SERVICES.len()];
        let told = Instant::now();
        let ended = fleet.take(service)?.terminate().await?;
        longest = longest.max(told.elapsed());
        ensure!(ended.code() == Some(0), "{service} ended with {ended} the {n}th time");
        fleet.start_one(service, &[]).await?;
    }
    let again = came_through(&bed, &load, PATIENCE).await?;
    fleet.ensure_alive()?;
    println!("faults | ended {longest:.1?} after SIGTERM at most");
    ensure!(longest < Duration::from_secs(30), "one ended only after {longest:?}");
    let figures = bed.figures().await?;
    let repeated = figures.duplicates;
    ensure!(
        (again, repeated.ignored, repeated.possible_mail) == (0, 0, 0),
        "what was done came again: {repeated:?}"
    );
    let sent = i64::from(load.reports);
    Tally::nothing_lost(sent, again, i64::try_from(times)?).say("SIGTERM under load", Engine::default());
    Ok(())
}

/// P2: the same message 100 times at 8 workers: one set of effects, 99 counted as duplicates.
async fn one_set_of_effects(engine: Engine) -> anyhow::Result<()> {
    const TIMES: i64 = 100;
    let bed = TestBed::prepare_with(&Peers {
        engine,
        ..Peers::default()
    })
    .await?;
    let mut others = Vec::new();
    let mut fleet = Fleet::start(&bed).await?;
    for _ in 1..8 {
        others.push(bed.spawn_with("kvit-intake", &[]).await?);
    }
    fleet.get("kvit-intake")?.until_ready().await?;
    for other in &mut others {
        other.until_ready().await?;
    }
    for _ in 0..TIMES {
        bed.publish(&numbered(0)).await?;
    }
    bed.until_arrived(TIMES).await?;
    let load = Load {
        reports: 1,
        malformed: 0,
    };
    let again = came_through(&bed, &load, PATIENCE).await?;
    let figures = bed.figures().await?;
    ensure!(figures.duplicates.ignored == TIMES - 1, "{figures:?}");
    ensure!(bed.inbox.count() == 2, "{} mails went out", bed.inbox.count());
    Tally::nothing_lost(TIMES, again, 0).say("one message 100 times at 8 intakes", engine);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_a_hundred_times_has_one_set_of_effects_on_sqlite() -> anyhow::Result<()> {
    one_set_of_effects(Engine::Sqlite).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_a_hundred_times_has_one_set_of_effects_on_postgres() -> anyhow::Result<()> {
    one_set_of_effects(Engine::Postgres).await
}
