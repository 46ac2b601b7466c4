//! How many jobs a second: printed, not judged (`--nocapture`).

use std::time::Instant;

use futures::future::try_join_all;

use crate::bed::{both, discharge, message};

const TASKS: usize = 64;
const EACH: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn jobs_a_second_with_64_tasks() -> anyhow::Result<()> {
    for bed in both()? {
        let engine = if bed.url.is_sqlite() { "sqlite" } else { "postgres" };
        bed.accept(message()).await?;
        let started = Instant::now();
        let bed = &bed;
        let recorded = (0..TASKS).map(|_| async move {
            let mut duties = Vec::new();
            for _ in 0..EACH {
                let new = message();
                duties.extend(new.duties.iter().map(|duty| duty.id));
                bed.accept(new).await?;
            }
            anyhow::Ok(duties)
        });
        let duties = try_join_all(recorded).await?;
        say(engine, "record", TASKS * EACH, started);
        let started = Instant::now();
        try_join_all(duties.iter().map(|duties| async move {
            for duty in duties {
                discharge(&bed.ledger, *duty).await?;
            }
            anyhow::Ok(())
        }))
        .await?;
        say(engine, "claim and settle", TASKS * EACH * 4, started);
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a printed rate")]
fn say(engine: &str, what: &str, jobs: usize, started: Instant) {
    let rate = jobs as f64 / started.elapsed().as_secs_f64();
    println!("{engine}: {rate:.0} {what} jobs a second");
}
