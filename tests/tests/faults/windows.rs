//! The windows between two commits: what stands in the stores when a service dies in one, and what the sweep makes of it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use jiff::SignedDuration;
use kvit_tests::{Engine, Message, Peers, Program, Service, TestBed, until, within};
use runtime::Clock;

use crate::bed::{Load, PATIENCE, numbered};
use crate::oracle::{came_through, nothing_is_left};

/// Of the two stores: which submissions have payloads and keys, and the states.
struct Seen {
    payloads: BTreeSet<String>,
    keys: BTreeSet<String>,
    states: Vec<String>,
}

async fn look(bed: &TestBed) -> anyhow::Result<Seen> {
    let dir = bed.path("");
    let texts = |rows: Vec<store::Row>| -> anyhow::Result<Vec<String>> {
        rows.iter().map(|row| Ok(row.text(0)?.to_owned())).collect()
    };
    let stores = bed.stores();
    let payloads = stores.ask_ledger(&dir, "SELECT DISTINCT owner FROM payload").await?;
    let keys = stores.ask_keys(&dir, "SELECT DISTINCT owner FROM data_key").await?;
    let states = stores.ask_ledger(&dir, "SELECT state FROM submission").await?;
    Ok(Seen {
        payloads: texts(payloads)?.into_iter().collect(),
        keys: texts(keys)?.into_iter().collect(),
        states: texts(states)?,
    })
}

async fn killed(program: &mut Program) -> anyhow::Result<()> {
    within(Duration::from_mins(1), "the service dies at its point", async || {
        Ok(program.was_killed()?.then_some(()))
    })
    .await
}

async fn bed_on(engine: Engine, clock: Clock) -> anyhow::Result<TestBed> {
    TestBed::prepare_with(&Peers {
        engine,
        clock,
        ..Peers::default()
    })
    .await
}

/// D1, D2: SIGKILL between each of deletion's three steps; the sweep finishes what is left.
async fn deletion_is_finished(engine: Engine) -> anyhow::Result<()> {
    let bed = bed_on(engine, Clock::system()).await?;
    let _intake = bed.spawn_with("kvit-intake", &[]).await?;
    let mut load = Load::default();
    for (point, keys) in [("mailer.deletion_begun=kill", 1), ("mailer.key_destroyed=kill", 0)] {
        let deleted = load.reports as usize;
        let mut mailer = bed.spawn_with("kvit-mailer", &[("KVIT_FAILPOINTS", point)]).await?;
        load.send(&bed, 1).await?;
        killed(&mut mailer).await?;
        let seen = look(&bed).await?;
        ensure!(seen.payloads.is_empty(), "{point}: payloads are left");
        ensure!(seen.keys.len() == keys, "{point}: {} keys", seen.keys.len());
        ensure!(
            seen.states.iter().filter(|state| *state == "deleting").count() == 1,
            "{point}: {:?}",
            seen.states
        );
        let sweep = bed.spawn_with("kvit-scheduler", &[]).await?;
        until("the sweep has finished it", async || {
            let figures = bed.figures().await?;
            Ok((figures.deleted == i64::try_from(deleted + 1)?).then_some(()))
        })
        .await?;
        let seen = look(&bed).await?;
        ensure!(
            seen.payloads.is_empty() && seen.keys.is_empty(),
            "{point}: keys are left"
        );
        drop(sweep);
    }
    came_through(&bed, &load, PATIENCE).await.map(drop)
}

/// SIGKILL between the key's commit and the data's at intake: the message comes again, and the key that came to nothing is
/// swept after a day.
async fn a_key_without_data_is_swept(engine: Engine) -> anyhow::Result<()> {
    let clock = Clock::offset(SignedDuration::ZERO);
    let bed = bed_on(engine, clock.clone()).await?;
    let mut intake = bed
        .spawn_with("kvit-intake", &[("KVIT_FAILPOINTS", "intake.key_committed=kill")])
        .await?;
    bed.publish(&numbered(0)).await?;
    killed(&mut intake).await?;
    let seen = look(&bed).await?;
    ensure!(
        seen.keys.len() == 1 && seen.states.is_empty(),
        "a key, and nothing that it is for"
    );

    let running = bed.run(&Service::ALL).await?;
    let load = Load {
        reports: 1,
        malformed: 0,
    };
    came_through(&bed, &load, PATIENCE).await?;
    ensure!(look(&bed).await?.keys.len() == 1, "a key is not swept before its day");
    running.stop().await?;
    clock.advance(SignedDuration::from_hours(25));
    let running = bed.run(&[Service::Scheduler]).await?;
    until("the key is swept", async || {
        Ok(look(&bed).await?.keys.is_empty().then_some(()))
    })
    .await?;
    running.stop().await?;
    nothing_is_left(&bed).await
}

/// A held mail whose certificate comes, and intake killed when it was composed: it goes out once, and the answers that
/// waited are gone. So is the key of the notice that it was held, which the scheduler is late with.
async fn a_held_mail_goes_out(engine: Engine) -> anyhow::Result<()> {
    let bed = bed_on(engine, Clock::system()).await?;
    let (there, away) = (bed.path("keys/teknik-miljoe.asc"), bed.path("away.asc"));
    std::fs::rename(&there, &away).context("the department's certificate")?;
    let mut intake = bed
        .spawn_with("kvit-intake", &[("KVIT_FAILPOINTS", "intake.held_composed=kill")])
        .await?;
    let _mailer = bed.spawn_with("kvit-mailer", &[]).await?;
    let late = [("KVIT_FAILPOINTS", "notice.key_committed=delay:10000")];
    let _scheduler = bed.spawn_with("kvit-scheduler", &late).await?;
    let mut load = Load::default();
    load.send(&bed, 1).await?;
    bed.until_duty("department_mail", "held").await?;
    std::fs::rename(&away, &there)?;
    killed(&mut intake).await?;
    let _intake = bed.spawn_with("kvit-intake", &[]).await?;
    came_through(&bed, &load, PATIENCE).await?;
    // The department may have been told that its mail was held: that notice is plain, and a mail of its own.
    let mails = bed.mails_to("teknik@kommune.example");
    let sealed = mails
        .iter()
        .filter(|mail| String::from_utf8_lossy(&mail.data).contains("multipart/encrypted"))
        .count();
    ensure!(sealed == 1, "{sealed} mails with the answers");
    ensure!(mails.len() <= 2, "{} mails to the department", mails.len());
    let others = bed.inbox.count() - mails.len();
    ensure!(others == 1, "{others} receipts");
    until("no key is left", async || {
        Ok(look(&bed).await?.keys.is_empty().then_some(()))
    })
    .await
}

/// A scheduler that dies when it has made the key of a notice: the department is told once, and of everything.
async fn a_notice_is_sent(engine: Engine) -> anyhow::Result<()> {
    let bed = bed_on(engine, Clock::system()).await?;
    let environment = [("KVIT_FAILPOINTS", "notice.key_committed=kill")];
    let _intake = bed.spawn_with("kvit-intake", &[]).await?;
    let _mailer = bed.spawn_with("kvit-mailer", &[]).await?;
    let unreadable = Message::bytes("this was sealed to nobody").typed("application/pgp-encrypted");
    bed.post(&unreadable.with("x-kvit-form", "anmeldelse_teknik_miljoe"))
        .await?;
    let mut scheduler = bed.spawn_with("kvit-scheduler", &environment).await?;
    killed(&mut scheduler).await?;
    let _scheduler = bed.spawn_with("kvit-scheduler", &[]).await?;
    bed.inbox.wait_for(1, PATIENCE).await?;
    until("the notice is settled", async || {
        let duties = bed.duties().await?;
        Ok((duties.len() == 1 && duties[0].state == "done").then_some(()))
    })
    .await?;
    ensure!(bed.inbox.count() == 1, "{} notices", bed.inbox.count());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_whose_scheduler_dies_is_sent_once_on_both_engines() -> anyhow::Result<()> {
    for engine in Engine::BOTH {
        a_notice_is_sent(engine).await.with_context(|| format!("{engine:?}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_was_cut_short_is_finished_on_both_engines() -> anyhow::Result<()> {
    for engine in Engine::BOTH {
        deletion_is_finished(engine)
            .await
            .with_context(|| format!("{engine:?}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_data_never_came_is_swept_on_both_engines() -> anyhow::Result<()> {
    for engine in Engine::BOTH {
        a_key_without_data_is_swept(engine)
            .await
            .with_context(|| format!("{engine:?}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_mail_that_is_composed_goes_out_once_on_both_engines() -> anyhow::Result<()> {
    for engine in Engine::BOTH {
        a_held_mail_goes_out(engine)
            .await
            .with_context(|| format!("{engine:?}"))?;
    }
    Ok(())
}
