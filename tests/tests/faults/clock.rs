//! The machine's clock set forward and back under way.

use anyhow::ensure;
use jiff::SignedDuration;
use kvit_cli::demo::inbox::{Behaviour, Times};
use kvit_tests::{Engine, Peers, Service, TestBed, until};
use runtime::Clock;

use crate::bed::{Load, PATIENCE, Tally, address, scaled};
use crate::oracle::came_through;

/// In hours: forward and back by an hour and by a day.
const JUMPS: [i64; 4] = [1, -1, 24, -24];

/// D2: an hour and a day forward and back under load, with two mailers: nothing is deleted before its duty, and no lease is
/// taken from a live worker without the ambiguity being counted.
async fn jumps_delete_nothing_early(engine: Engine) -> anyhow::Result<()> {
    let bed = TestBed::prepare_with(&Peers {
        engine,
        clock: Clock::offset(SignedDuration::ZERO),
        ..Peers::default()
    })
    .await?;
    let put_off = Behaviour::Refuse {
        recipients: vec![address(0)],
        code: 451,
        text: "4.7.1 greylisted".to_owned(),
    };
    bed.inbox.behave(put_off, Times::All);
    let running = bed.run(&Service::ALL).await?;
    let second = bed.run(&[Service::Mailer]).await?;
    let mut load = Load::default();
    load.send(&bed, 1).await?;
    bed.until_duty("department_mail", "done").await?;
    for hours in JUMPS {
        load.send(&bed, scaled(8, 100)).await?;
        bed.until_arrived(i64::from(load.reports) - 3).await?;
        bed.clock().advance(SignedDuration::from_hours(hours));
        load.send(&bed, scaled(2, 20)).await?;
        bed.until_arrived(i64::from(load.reports)).await?;
        let receipt = bed
            .duties()
            .await?
            .into_iter()
            .find(|duty| duty.kind == "receipt" && duty.attempts > 0 && duty.state != "done");
        ensure!(
            receipt.is_some(),
            "the receipt that is put off is owed no more after {hours} hours"
        );
        ensure!(
            bed.figures().await?.open >= 1,
            "its submission was deleted after {hours} hours"
        );
    }
    bed.inbox.behave(Behaviour::Accept, Times::All);
    // What was put off while the clock was ahead is due then, and not lost.
    bed.clock().advance(SignedDuration::from_hours(25));
    until("all is deleted", async || {
        Ok((bed.figures().await?.open == 0).then_some(()))
    })
    .await?;
    let again = came_through(&bed, &load, PATIENCE).await?;
    running.stop().await?;
    second.stop().await?;
    let sent = i64::from(load.reports);
    Tally::nothing_lost(sent, again, 4).say("clock an hour and a day forward and back", engine);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_deletes_nothing_early_on_sqlite() -> anyhow::Result<()> {
    jumps_delete_nothing_early(Engine::Sqlite).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_deletes_nothing_early_on_postgres() -> anyhow::Result<()> {
    jumps_delete_nothing_early(Engine::Postgres).await
}
