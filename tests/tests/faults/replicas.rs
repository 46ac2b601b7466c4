//! Several replicas of every service on one PostgreSQL.

use anyhow::ensure;
use kvit_tests::{CASE, Engine, Peers, TestBed, application, until};
use ledger::EntryFilter;

use crate::bed::{Fleet, Load, PATIENCE, SERVICES, Tally, scaled};
use crate::oracle::{came_through, each_copy_has_its_kill};

/// P2, J2: two of every service share the work; when the first of each is killed, the second does all of it. Nothing is
/// lost, no mail goes out again but for the kill, and each entry is written once.
#[tokio::test(flavor = "multi_thread")]
async fn two_of_every_service_share_one_ledger_and_one_is_enough() -> anyhow::Result<()> {
    let bed = TestBed::prepare_with(&Peers {
        engine: Engine::Postgres,
        ..Peers::default()
    })
    .await?;
    bed.add_form("ansoegning", CASE)?;
    let mut first = Fleet::start(&bed).await?;
    first.start_one("kvit-journaliser", &[]).await?;
    let mut second = Fleet::start(&bed).await?;
    second.start_one("kvit-journaliser", &[]).await?;
    for name in SERVICES {
        first.get(name)?.until_ready().await?;
        second.get(name)?.until_ready().await?;
    }
    let mut load = Load::default();
    load.send(&bed, scaled(20, 1000)).await?;
    let some = i64::from(load.reports / 4);
    until("some are taken", async || {
        Ok((bed.figures().await?.accepted >= some).then_some(()))
    })
    .await?;
    for name in SERVICES {
        first.kill(name)?;
    }
    load.send(&bed, scaled(10, 500)).await?;
    let again = came_through(&bed, &load, PATIENCE).await?;
    let explained = each_copy_has_its_kill(&bed, &first.deaths("kvit-mailer"))?;
    ensure!(
        explained == again,
        "{again} went out again, and {explained} have their kill"
    );

    let (before, cases) = (bed.figures().await?.accepted, scaled(10, 90_u32));
    for n in 0..cases {
        bed.publish(&application(n, "Jeg har brug for hjælp")).await?;
        if n == cases / 2 {
            first.kill("kvit-journaliser")?;
        }
    }
    let wanted = usize::try_from(cases)?;
    until("each entry is written", async || {
        let written = bed.ledger.journal_entries(EntryFilter::default(), 1000).await?;
        let owed = bed.ledger.oldest_unjournalised().await?;
        Ok((written.len() >= wanted && owed.is_none()).then_some(()))
    })
    .await?;
    let written = bed.ledger.journal_entries(EntryFilter::default(), 1000).await?;
    ensure!(
        written.len() == wanted && written.iter().all(|entry| entry.versions == 1),
        "{} entries of {wanted} submissions",
        written.len()
    );
    let accepted = bed.figures().await?.accepted - before;
    ensure!(accepted == i64::from(cases), "{accepted} of {cases} are accepted");
    second.ensure_alive()?;
    let sent = i64::from(load.reports + cases);
    Tally::nothing_lost(sent, again, 4).say("two of every service, one of each killed", Engine::Postgres);
    Ok(())
}
