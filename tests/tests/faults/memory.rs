//! What the services hold in memory: under many small messages for long, and under few large ones at once.

use std::time::Duration;

use anyhow::ensure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kvit_tests::{Engine, Message, TestBed, report, within};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::bed::{Fleet, Load, PATIENCE, SERVICES, is_full, scaled};
use crate::oracle::came_through;

/// What intake may hold while sixteen messages of 12 MB are there at once.
const LARGE: u64 = 512_000_000;
/// How many reports a second.
const RATE: u32 = 50;

/// A report with a file, so that the message has so many bytes.
fn large(n: u32, bytes: usize) -> Message {
    let mut body = report(&uuid::Uuid::from_u128(0xb000 + u128::from(n)).to_string(), &json!({}));
    let data = body["data"].take();
    body.as_object_mut().expect("an object").remove("data");
    for (key, value) in data.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    body["e_mail"] = json!(format!("stor{n}@borger.example"));
    body["billede"] = json!(7);
    let content = STANDARD.encode(vec![u8::try_from(n).unwrap_or(0); bytes / 4 * 3]);
    body["_billede"] =
        json!({"id": 7, "name": "stor.png", "uri": "x", "mime": "image/png", "uuid": "x", "data": content});
    Message::json(&body)
}

/// 16 messages of 12 MB at once stay under 512 MB for intake.
#[tokio::test(flavor = "multi_thread")]
async fn sixteen_messages_of_twelve_megabytes_stay_under_512_megabytes() -> anyhow::Result<()> {
    let count = scaled(4, 16_u32);
    let bed = TestBed::prepare().await?;
    // A relay's usual limit holds no mail of this size: here it is to be sent.
    bed.configure("connections = 4", "connections = 2\nmax_message_bytes = 60000000")?;
    for n in 0..count {
        bed.publish(&large(n, 12_000_000)).await?;
    }
    let mut fleet = Fleet::start(&bed).await?;
    within(Duration::from_mins(5), "all are taken", async || {
        fleet.ensure_alive()?;
        Ok((bed.figures().await?.accepted == i64::from(count)).then_some(()))
    })
    .await?;
    let peak = fleet.get("kvit-intake")?.peak_bytes()?;
    println!(
        "faults | memory | {count} messages of 12 MB at once | intake at most {} MB",
        peak / 1_000_000
    );
    ensure!(peak < LARGE, "intake had {peak} bytes");
    within(Duration::from_mins(5), "all are sent", async || {
        Ok((bed.figures().await?.open == 0).then_some(()))
    })
    .await?;
    Ok(())
}

/// 10 minutes at 50 submissions a second grow no service's resident size by more than 10 %. Only in full.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_load_grows_no_service() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let mut fleet = Fleet::start(&bed).await?;
    let (seconds, rate) = scaled((4, 10), (600, RATE));
    let mut load = Load::default();
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let began = Instant::now();
    // The first fifth warms up: caches, threads, the allocator's own arenas.
    let mut warm = Vec::new();
    for n in 0..seconds * rate {
        ticks.tick().await;
        load.send(&bed, 1).await?;
        if n == seconds * rate / 5 {
            for name in SERVICES {
                warm.push(fleet.get(name)?.resident_bytes()?.0);
            }
        }
    }
    let took = began.elapsed().as_secs_f64();
    for (name, warm) in SERVICES.into_iter().zip(warm) {
        let resident = fleet.get(name)?.resident_bytes()?.0;
        #[expect(clippy::cast_precision_loss, reason = "a percentage of megabytes")]
        let grown = 100.0 * (resident as f64 / warm as f64 - 1.0);
        println!(
            "faults | memory | {name} | {} reports in {took:.0} s | {} MB, {grown:+.1} %",
            load.reports,
            resident / 1_000_000
        );
        ensure!(!is_full() || grown <= 10.0, "{name} grew by {grown:.1} %");
    }
    came_through(&bed, &load, PATIENCE * 3).await?;
    println!("faults | memory | engine {:?}", Engine::default());
    Ok(())
}
