//! Messages that end, stop or panic their reader, among good ones.

use std::time::Duration;

use anyhow::ensure;
use kvit_tests::{Engine, Message, TestBed, report, within};
use serde_json::json;
use tokio::time::Instant;

use crate::bed::{Fleet, Load, Tally, is_full, scaled};
use crate::oracle::came_through;

/// A message that does this to whoever composes it.
fn poison(n: u32, action: &str) -> Message {
    let uuid = uuid::Uuid::from_u128(0x9000_0000 + u128::from(n)).to_string();
    Message::json(&report(
        &uuid,
        &json!({"beskrivelse": format!("kvit-poison:{action} nr. {n}")}),
    ))
}

/// A message beyond every limit.
fn too_large(n: u32) -> Message {
    let mut body = format!("{{\"n\": {n}, \"data\": \"").into_bytes();
    body.resize(17 * 1024 * 1024, b'x');
    Message::bytes(body)
}

/// Publishes a batch of reports and measures how many a second are accepted.
async fn rate(bed: &TestBed, load: &mut Load, count: u32) -> anyhow::Result<f64> {
    let before = bed.figures().await?.accepted;
    let began = Instant::now();
    load.send(bed, count).await?;
    let wanted = before + i64::from(count);
    within(Duration::from_mins(5), "a batch is accepted", async || {
        Ok((bed.figures().await?.accepted >= wanted).then_some(()))
    })
    .await?;
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}

/// What a course of good messages came to, with poison among them or without.
struct Course {
    sent: i64,
    again: i64,
    deaths: i64,
    /// How many a second are accepted afterwards.
    rate: f64,
}

async fn course(poisoned: bool) -> anyhow::Result<Course> {
    let bed = TestBed::prepare().await?;
    let mut fleet = Fleet::start(&bed).await?;
    fleet.get("kvit-intake")?.until_ready().await?;
    let mut load = Load::default();
    let actions = ["panic", "kill", "hang"];
    let poisons = scaled(4, 8_u32);
    let good = scaled(10, 99);
    for n in 0..poisons {
        load.send(&bed, good / 2).await?;
        if poisoned {
            match actions.get(n as usize % 4) {
                Some(action) => bed.publish(&poison(n, action)).await?,
                None => bed.publish(&too_large(n)).await?,
            }
            load.malformed += 1;
        }
        load.send(&bed, good - good / 2).await?;
    }
    let deaths = until_put_aside(&bed, &mut fleet, &load).await?;
    let again = came_through(&bed, &load, Duration::from_mins(5)).await?;
    let reasons = bed.quarantine().await?;
    ensure!(
        reasons
            .iter()
            .all(|row| row.reason == "internal" || row.reason == "too_large"),
        "a good message is in quarantine"
    );
    fleet.get("kvit-intake")?.until_ready().await?;
    rate(&bed, &mut load, scaled(5, 50)).await?; // what is made once is made
    let rate = rate(&bed, &mut load, scaled(20, 300)).await?;
    came_through(&bed, &load, Duration::from_mins(5)).await?;
    Ok(Course {
        sent: i64::from(load.reports + load.malformed),
        again,
        deaths,
        rate,
    })
}

/// 1 % poison (panic, abort, hang, out-of-range sizes) at prefetch 64: each is quarantined, no good message is, and the rest
/// keeps 90 % of its rate once the poison is out: of the rate of a course as long without poison, since a ledger that holds
/// more is slower.
#[tokio::test(flavor = "multi_thread")]
async fn poison_is_put_aside_and_no_good_message_with_it() -> anyhow::Result<()> {
    let clean = course(false).await?;
    let poisoned = course(true).await?;
    let kept = 100.0 * poisoned.rate / clean.rate;
    println!(
        "faults | poison | {:.0} a second without, {:.0} once it was out: {kept:.0} %",
        clean.rate, poisoned.rate
    );
    ensure!(!is_full() || kept >= 90.0, "only {kept:.0} % of the rate is kept");
    Tally::nothing_lost(poisoned.sent, poisoned.again, poisoned.deaths)
        .say("1 % poison at prefetch 64", Engine::default());
    Ok(())
}

/// What cannot be composed leaves no data key but that of its quarantine: its keys were made meanwhile, for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_composed_leaves_no_key() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let _intake = bed.spawn_with("kvit-intake", &[]).await?;
    bed.publish(&poison(0, "panic")).await?;
    within(Duration::from_mins(1), "the poison is put aside", async || {
        Ok((bed.figures().await?.quarantined == 1).then_some(()))
    })
    .await?;
    let keys = "SELECT owner FROM data_key";
    let keys = bed.stores().ask_keys(&bed.path(""), keys).await?.len();
    ensure!(keys == 1, "{keys} keys");
    Ok(())
}

/// Starts intake again whenever it dies, as a supervisor does, until every poison is in quarantine. Answers how often it
/// died.
async fn until_put_aside(bed: &TestBed, fleet: &mut Fleet<'_>, load: &Load) -> anyhow::Result<i64> {
    let mut deaths = 0;
    within(Duration::from_secs(400), "every poison is put aside", async || {
        if fleet.get("kvit-intake")?.was_killed()? {
            deaths += 1;
            fleet.replace("kvit-intake", &[]).await?;
        }
        let figures = bed.figures().await?;
        Ok((figures.quarantined >= i64::from(load.malformed)).then_some(()))
    })
    .await?;
    Ok(deaths)
}
