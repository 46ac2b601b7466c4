//! PostgreSQL goes away under load and comes back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use kvit_tests::postgres::Server;
use ledger::{Ledger, Recorded};
use store::Url;

use crate::bed::{at, message};

/// How soon the ledger must be usable once the server is.
const RECOVERY: Duration = Duration::from_secs(30);

/// What was answered as recorded is there after restarts and a power cut; the same handle goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_restarted_under_load_loses_nothing() -> anyhow::Result<()> {
    let server = tokio::task::block_in_place(Server::start_private)?;
    let url: Url = tokio::task::block_in_place(|| server.database())?.parse()?;
    let ledger = Ledger::new(&url);
    let stop = AtomicBool::new(false);
    let load = join_all((0..16).map(|_| async {
        let (mut kept, mut refused) = (Vec::new(), 0);
        while !stop.load(Ordering::Relaxed) {
            let new = message();
            let (id, identity) = (new.id, new.identities.clone());
            match ledger.record(new, false, at(0)).await {
                Ok(recorded) => {
                    assert_eq!(recorded, Recorded::Accepted);
                    kept.push((id, identity));
                }
                Err(error) => {
                    assert!(error.is_transient(), "{error}");
                    refused += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
        (kept, refused)
    }));
    let outages = async {
        for power_cut in [false, true, false, true, false] {
            until_recorded(&ledger).await?;
            tokio::task::block_in_place(|| {
                if power_cut {
                    server.kill()?;
                }
                server.restart()
            })?;
        }
        until_recorded(&ledger).await?;
        stop.store(true, Ordering::Relaxed);
        anyhow::Ok(())
    };
    let (done, outages) = tokio::join!(load, outages);
    outages?;
    let attempted: usize = done.iter().map(|(kept, refused)| kept.len() + refused).sum();
    let kept: Vec<_> = done.into_iter().flat_map(|(kept, _)| kept).collect();
    let mut lost = 0;
    for (id, identity) in &kept {
        if ledger.lineage(identity.clone(), Vec::new()).await?.ids != [*id] {
            lost += 1;
        }
    }
    let figures = ledger.figures(false, at(1)).await?;
    println!(
        "postgres restarted 5 times: attempted {attempted}, acknowledged {}, lost {lost}",
        kept.len()
    );
    assert_eq!(lost, 0);
    assert_eq!((figures.arrived_difference(), figures.accepted_difference()), (0, 0));
    Ok(())
}

async fn until_recorded(ledger: &Ledger) -> anyhow::Result<()> {
    let deadline = Instant::now() + RECOVERY;
    let mut more = 20;
    while more > 0 {
        match ledger.record(message(), false, at(0)).await {
            Ok(_) => more -= 1,
            Err(error) => anyhow::ensure!(Instant::now() < deadline, "it did not recover: {error}"),
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// A connection that broke while nobody used it is no error of the job that comes next.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_that_broke_is_opened_anew() -> anyhow::Result<()> {
    let server = tokio::task::block_in_place(Server::start_private)?;
    let url: Url = tokio::task::block_in_place(|| server.database())?.parse()?;
    let ledger = Ledger::new(&url);
    for _ in 0..3 {
        ledger.record(message(), false, at(0)).await?;
        assert!(ledger.figures(false, at(0)).await?.arrived > 0);
        tokio::task::block_in_place(|| server.restart())?;
    }
    Ok(())
}
