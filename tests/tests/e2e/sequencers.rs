//! The log with two schedulers at once: one sequencer at a time, whichever lives.

use std::collections::BTreeSet;

use anyhow::Context as _;
use kvit_tests::{Engine, Message, Peers, Program, Service, TestBed, kvit, report, until};
use serde_json::json;

async fn scheduler(bed: &TestBed, number: u32) -> anyhow::Result<Program> {
    let log = bed.path(&format!("kvit-scheduler-{number}.log"));
    let mut program = Program::start_with("kvit-scheduler", &bed.config(), &log, &[("KVIT_LOG", "info")]).await?;
    program.until_ready().await?;
    Ok(program)
}

/// Sends so many, and waits until they are gone and everything that happened is signed.
async fn live(bed: &TestBed, sent: &mut u32, many: u32) -> anyhow::Result<()> {
    for _ in 0..many {
        let uuid = uuid::Uuid::from_u128(0xa000 + u128::from(*sent)).to_string();
        bed.publish(&Message::json(&report(&uuid, &json!({})))).await?;
        *sent += 1;
    }
    bed.until_deleted(i64::from(*sent)).await?;
    until("everything is signed", async || {
        Ok((!bed.ledger.has_unsigned_leaves().await?).then_some(()))
    })
    .await
}

/// G2: two schedulers sign into one folder by turns, also when the one that does is killed: each leaf has one place, and
/// the log holds for whoever has only the folder and the key.
async fn by_turns(engine: Engine) -> anyhow::Result<()> {
    let bed = TestBed::prepare_with(&Peers {
        engine,
        ..Peers::default()
    })
    .await?;
    let running = bed.run(&[Service::Intake, Service::Mailer]).await?;
    let mut sent = 0;
    let (mut first, mut second) = (scheduler(&bed, 1).await?, scheduler(&bed, 2).await?);
    live(&bed, &mut sent, 20).await?;
    first.kill()?;
    live(&bed, &mut sent, 10).await?;
    let mut third = scheduler(&bed, 3).await?;
    second.kill()?;
    live(&bed, &mut sent, 10).await?;
    third.ensure_alive()?;
    running.stop().await?;

    let rows = bed
        .stores()
        .ask_ledger(&bed.path(""), "SELECT log_year, log_index FROM leaf")
        .await?;
    let places: Vec<(i64, i64)> = rows
        .iter()
        .map(|row| Ok::<_, store::StoreError>((row.int(0)?, row.int(1)?)))
        .collect::<Result<_, _>>()?;
    let each: BTreeSet<_> = places.iter().copied().collect();
    assert_eq!(each.len(), places.len(), "each leaf has a place of its own");
    let years: BTreeSet<i64> = each.iter().map(|(year, _)| *year).collect();
    for year in years {
        let of_year = each.iter().filter(|(one, _)| *one == year).map(|(_, index)| *index);
        let indexes: Vec<i64> = of_year.collect();
        let wanted: Vec<i64> = (0..i64::try_from(indexes.len())?).collect();
        assert_eq!(indexes, wanted, "without a gap");
    }
    let key = kvit(&bed.config(), &["evidence", "key"]).await?;
    let (key, folder) = (key[0].as_str().context("a key")?, bed.path("evidence"));
    kvit(
        &bed.config(),
        &["evidence", "verify", &folder.to_string_lossy(), "--key", key],
    )
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_schedulers_sign_one_log_on_postgres() -> anyhow::Result<()> {
    by_turns(Engine::Postgres).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_schedulers_sign_one_log_on_sqlite() -> anyhow::Result<()> {
    by_turns(Engine::Sqlite).await
}
