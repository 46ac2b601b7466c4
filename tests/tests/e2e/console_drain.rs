//! What people at the console cost the drain: 20 browsers on the overview, each told of every change and asking for the page
//! again, as htmx does. `make console-bench` measures that in release; the suite runs the same with few.

use std::time::Instant;

use futures::future::try_join_all;
use kvit_tests::console::Served;
use kvit_tests::{Message, TestBed, report};
use serde_json::json;
use tokio::task::JoinSet;

const BROWSERS: usize = 20;
const SERVICES: [&str; 3] = ["kvit-intake", "kvit-mailer", "kvit-scheduler"];
/// So much of the rate without browsers must be left: what is less than that is a loss that can be measured.
const LEFT: f64 = 0.95;
/// How often each is measured when asked for.
const ROUNDS: usize = 4;

/// How many submissions are drained each time; `make console-bench` asks for many.
fn asked() -> Option<u32> {
    std::env::var("KVIT_CONSOLE_DRAIN").ok()?.parse().ok()
}

/// Publishes so many while nobody takes them, and answers how many a second were gone from when the services start.
async fn drained(bed: &TestBed, from: u32, many: u32) -> anyhow::Result<f64> {
    let messages: Vec<_> = (from..from + many)
        .map(|n| {
            let uuid = uuid::Uuid::from_u128(0xd000_0000 + u128::from(n)).to_string();
            Message::json(&report(&uuid, &json!({"e_mail": format!("d{n}@borger.example")})))
        })
        .collect();
    for some in messages.chunks(64) {
        try_join_all(some.iter().map(|message| bed.publish(message))).await?;
    }
    let started = Instant::now();
    let programs = try_join_all(SERVICES.map(|service| bed.spawn(service))).await?;
    bed.until_deleted((from + many).into()).await?;
    let rate = f64::from(many) / started.elapsed().as_secs_f64();
    for program in programs {
        program.terminate().await?;
    }
    Ok(rate)
}

/// Browsers that look at the overview until they are dropped.
fn browsers(console: &Served, cookie: &str) -> JoinSet<anyhow::Result<()>> {
    let mut all = JoinSet::new();
    for _ in 0..BROWSERS {
        let (live, page, cookie) = (console.url("/live"), console.url("/"), cookie.to_owned());
        all.spawn(async move {
            let client = reqwest::Client::new();
            let mut live = client.get(live).header("cookie", &cookie).send().await?;
            while live.chunk().await?.is_some() {
                let page = client.get(&page).header("cookie", &cookie).send().await?;
                anyhow::ensure!(page.status() == 200, "{}", page.status());
            }
            anyhow::bail!("the stream ended")
        });
    }
    all
}

/// G1: 20 people at the console do not slow what it shows. The suite only prints the rates: a machine that others use too
/// decides nothing by them. `make console-bench`, which has the machine to itself, asserts.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_browsers_look_on_while_it_drains() -> anyhow::Result<()> {
    let (many, rounds) = (asked().unwrap_or(50), asked().map_or(1, |_| ROUNDS));
    let bed = TestBed::prepare().await?;
    let console = Served::start(&bed).await?;
    let cookie = console.log_in("viewer").await?;
    let (mut alone, mut watched, mut done) = (Vec::new(), Vec::new(), 0);
    // The first drain is to warm up. Then now one of them is first and now the other: the ledger grows, and what this test asks
    // it grows with it.
    drained(&bed, done, many).await?;
    done += many;
    for round in 0..rounds {
        for turn in 0..2 {
            let mut looking = ((round + turn) % 2 == 1).then(|| browsers(&console, &cookie));
            let rate = drained(&bed, done, many).await?;
            done += many;
            match &mut looking {
                None => alone.push(rate),
                Some(looking) => {
                    watched.push(rate);
                    if let Some(ended) = looking.try_join_next() {
                        ended??;
                    }
                }
            }
        }
    }
    // A rate's mean over equal drains is the harmonic one.
    #[expect(clippy::cast_precision_loss, reason = "a handful of rounds")]
    let mean = |rates: &[f64]| rates.len() as f64 / rates.iter().map(|rate| 1.0 / rate).sum::<f64>();
    let (alone, watched) = (mean(&alone), mean(&watched));
    println!(
        "console | drain of {many} | nobody looks: {alone:.0} a second | {BROWSERS} browsers: {watched:.0} a second | ratio {:.2}",
        watched / alone
    );
    assert!(
        asked().is_none() || watched >= alone * LEFT,
        "{BROWSERS} browsers leave {watched:.0} of {alone:.0} submissions a second, less than {LEFT} of them: run it again \
         on a machine where nothing else runs, and look at what the overview asks the ledger (services/console/src/live.rs)"
    );
    Ok(())
}
