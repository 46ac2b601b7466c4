//! SIGKILL of each service at every fail point, and then at any moment.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use kvit_tests::{Engine, Peers, TestBed, within};

use crate::bed::{Fleet, Load, PATIENCE, SERVICES, Tally, is_full, scaled};
use crate::oracle::{came_through, each_copy_has_its_kill};
use crate::points::{POINTS, Way};

/// How long a service may take to come by a point.
const TO_THE_POINT: Duration = Duration::from_secs(90);
/// How many reports are sent while a point is waited for, each time nothing happens.
const FEED: u32 = 4;
/// How long nothing happens before more is sent.
const QUIET: Duration = Duration::from_secs(3);

/// D2, P2: 2,000 submissions; each service killed 5 times at every fail point, then 100 times at random.
async fn nothing_is_lost_by_kills(engine: Engine) -> anyhow::Result<()> {
    let bed = TestBed::prepare_with(&Peers {
        engine,
        ..Peers::default()
    })
    .await?;
    let mut fleet = Fleet::start(&bed).await?;
    let mut load = Load::default();
    let mut kills = 0;
    for round in 0..scaled(1, 5) {
        for (n, (point, service, way)) in POINTS.into_iter().enumerate() {
            let elsewhere = matches!(
                way,
                Way::Event | Way::Certificate | Way::Notice | Way::Journal | Way::Restore
            );
            // Scaled down, each engine has every other point.
            let other = !is_full() && (n % 2 == 0) != (engine == Engine::Sqlite);
            if elsewhere || other {
                continue;
            }
            // Not at the first time: what a kill left in hand comes back alone and first, and must not die for ever.
            let plan = format!("{point}=kill@{}", 2 + round % 3);
            die_at(&mut fleet, &mut load, &bed, (service, &plan, way))
                .await
                .with_context(|| format!("killing {service} at {point}"))?;
            kills += 1;
        }
    }
    kills += die_at_random(&mut fleet, &mut load, &bed).await?;
    let rest = scaled(40, 2_000_u32).saturating_sub(load.reports);
    load.send(&bed, rest).await?;
    let again = came_through(&bed, &load, PATIENCE).await?;
    let explained = each_copy_has_its_kill(&bed, &fleet.deaths("kvit-mailer"))?;
    ensure!(
        explained == again,
        "{again} went out again, and {explained} have their kill"
    );
    fleet.ensure_alive()?;
    let sent = i64::from(load.reports + load.malformed);
    Tally::nothing_lost(sent, again, kills).say("kills at every fail point and at random", engine);
    Ok(())
}

/// Starts a service that ends itself at a point, sends what makes it come by, and starts it again.
async fn die_at(
    fleet: &mut Fleet<'_>,
    load: &mut Load,
    bed: &TestBed,
    (service, plan, way): (&'static str, &str, Way),
) -> anyhow::Result<()> {
    match way {
        Way::NoMailer => fleet.kill("kvit-mailer")?,
        Way::HalfDeleted => {
            // The scheduler is away, or it would finish at once what the mailer leaves behind.
            fleet.kill("kvit-scheduler")?;
            let plan = ("kvit-mailer", "mailer.deletion_begun=kill", Way::Report);
            Box::pin(die_at(fleet, load, bed, plan)).await?;
            fleet.kill("kvit-mailer")?;
        }
        _ => {}
    }
    let plan = if way == Way::HalfDeleted {
        plan.split('@').next().unwrap_or(plan)
    } else {
        plan
    };
    fleet.replace(service, &[("KVIT_FAILPOINTS", plan)]).await?;
    within(TO_THE_POINT, "the service dies at its point", async || {
        for _ in 0..FEED {
            match way {
                Way::Malformed => load.send_malformed(bed).await?,
                _ => load.send(bed, 1).await?,
            }
        }
        let died = within(QUIET, "it dies", async || {
            Ok(fleet.get(service)?.was_killed()?.then_some(()))
        });
        // It may have died between the last look and now; an end of another kind is an error.
        let _quiet = died.await;
        Ok(fleet.get(service)?.was_killed()?.then_some(()))
    })
    .await?;
    for other in ["kvit-mailer", service] {
        if fleet.get(other).is_err() || other == service {
            fleet.replace(other, &[]).await?;
        }
    }
    Ok(())
}

/// Kills one service after another at moments that chance chooses, under load. Answers how often.
async fn die_at_random(fleet: &mut Fleet<'_>, load: &mut Load, bed: &TestBed) -> anyhow::Result<i64> {
    let kills = scaled(6, 100_usize);
    for n in 0..kills {
        let chance = uuid::Uuid::new_v4().as_u128();
        let service = SERVICES[n % SERVICES.len()];
        load.send(bed, scaled(2, 6)).await?;
        let before = bed.inbox.count();
        // So many mails later, or a moment later where nothing goes out.
        let wanted = before + usize::try_from(chance % 7)?;
        let moment = Duration::from_millis(200 + u64::try_from(chance % 900)?);
        let _either = bed.inbox.wait_for(wanted, moment).await;
        fleet.replace(service, &[]).await?;
        ensure!(bed.figures().await.is_ok(), "the figures do not add up after kill {n}");
    }
    Ok(i64::try_from(kills)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_nothing_on_sqlite() -> anyhow::Result<()> {
    nothing_is_lost_by_kills(Engine::Sqlite).await
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_nothing_on_postgres() -> anyhow::Result<()> {
    nothing_is_lost_by_kills(Engine::Postgres).await
}
