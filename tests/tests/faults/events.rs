//! The scheduler killed between the steps of an event's life: list, confirmation, deletion, end.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use jiff::SignedDuration;
use kvit_scheduler::requests::RUN_SCHEDULE;
use kvit_tests::{Engine, Message, Peers, TestBed, kvit, report, within};
use serde_json::json;

use crate::bed::{Fleet, Tally};
use crate::oracle::nothing_is_left;

/// How long a step may take, a restart of the scheduler included.
const STEP: Duration = Duration::from_mins(1);

/// Each event's list counts as confirmed once the relay has its mail.
const FORM: &str = r#"
id = "fest"
site = "eksempel"
title = { da = "Sommerfest" }
kind = "registration"
department = "teknik-miljoe"
purpose = { da = "holde festen" }
legal_basis = ["gdpr-6-1-a"]
[fields.navn]
label = { da = "Navn" }
[fields.e_mail]
label = { da = "E-mail" }
type = "email"
[receipt]
to = "e_mail"
[event]
deadline = "2099-01-15T23:59:00"
held = "2099-01-20T21:00:00"
confirm = "mail"
formats = ["csv"]
"#;

/// One event with two registrations.
struct Event<'b> {
    bed: &'b TestBed,
    number: u32,
}

impl Event<'_> {
    fn id(&self) -> String {
        format!("eksempel/fest/{}", self.number)
    }

    /// Publishes its registrations, and waits until they have their receipts.
    async fn register(&self) -> anyhow::Result<()> {
        let before = self.bed.figures().await?.accepted;
        for n in 0..2_u32 {
            let uuid = uuid::Uuid::from_u128(0xe000 + u128::from(2 * self.number + n)).to_string();
            let mut body = report(&uuid, &json!({}));
            body["webform_id"] = json!("fest");
            body["entity_type"] = json!("node");
            body["entity_id"] = json!(self.number.to_string());
            body["data"] = json!({"navn": "Åse", "e_mail": format!("e{}-{n}@borger.example", self.number)});
            self.bed.publish(&Message::json(&body)).await?;
        }
        within(STEP, "the registrations are taken", async || {
            Ok((self.bed.figures().await?.accepted == before + 2).then_some(()))
        })
        .await
    }

    /// Its date, so many hours ago.
    async fn set(&self, which: &str, hours: i64) -> anyhow::Result<()> {
        let at = (self.bed.clock().now() - SignedDuration::from_hours(hours)).to_string();
        kvit(&self.bed.config(), &["event", "set", &self.id(), which, &at]).await?;
        Ok(())
    }
}

async fn run(bed: &TestBed, schedule: &str) -> anyhow::Result<()> {
    let args = json!({"name": schedule}).to_string();
    bed.ledger.ask(RUN_SCHEDULE, args, bed.clock().now()).await?;
    Ok(())
}

/// Asks for a schedule until the scheduler has died at its point, and then until what is wanted is so.
async fn through(
    fleet: &mut Fleet<'_>,
    bed: &TestBed,
    (schedule, point): (&str, Option<&str>),
    mut is_so: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    if let Some(point) = point {
        let plan = format!("{point}=kill");
        fleet.replace("kvit-scheduler", &[("KVIT_FAILPOINTS", &plan)]).await?;
        within(STEP, "the scheduler dies at its point", async || {
            run(bed, schedule).await?;
            let died = within(Duration::from_secs(5), "it dies", async || {
                Ok(fleet.get("kvit-scheduler")?.was_killed()?.then_some(()))
            })
            .await;
            Ok(died.ok())
        })
        .await
        .with_context(|| format!("killing the scheduler at {point}"))?;
        fleet.replace("kvit-scheduler", &[]).await?;
    }
    within(STEP, "the step is done", async || {
        run(bed, schedule).await?;
        let done = within(Duration::from_secs(5), "it is so", async || {
            Ok(is_so().await?.then_some(()))
        })
        .await;
        Ok(done.ok())
    })
    .await
    .with_context(|| format!("{schedule} after {point:?}"))
}

/// Deadline, list, deletion, end: with the scheduler killed at one point of it.
async fn live(fleet: &mut Fleet<'_>, event: &Event<'_>, point: &str) -> anyhow::Result<()> {
    let bed = event.bed;
    let deleted = bed.figures().await?.deleted;
    let at = |points: &[&str]| points.contains(&point).then_some(point);
    event.register().await?;
    event.set("--deadline", 72).await?;
    let listed = at(&[
        "scheduler.extract_key_committed",
        "scheduler.extract_recorded",
        "scheduler.run_begun",
        "scheduler.run_done",
    ]);
    // The first run makes the list, a later one sees that its mail was accepted: then the submissions may go.
    through(fleet, bed, ("extract", listed), async || {
        let lists = bed.ledger.extracts(Some(event.id())).await?;
        Ok(lists.iter().any(|list| list.confirmed_at.is_some()))
    })
    .await?;
    through(fleet, bed, ("purge", at(&["scheduler.purge_begun"])), async || {
        Ok(bed.figures().await?.deleted == deleted + 2)
    })
    .await?;
    event.set("--held", 48).await?;
    through(
        fleet,
        bed,
        ("extract", at(&["scheduler.end_key_committed"])),
        async || {
            let found = bed.ledger.event(event.id()).await?.context("the event")?;
            Ok(found.notified_at.is_some())
        },
    )
    .await?;
    let ended = at(&["scheduler.registration_begun", "scheduler.registration_key_destroyed"]);
    through(fleet, bed, ("purge", ended), async || {
        let kept = bed.ledger.addresses(event.id()).await?;
        Ok(kept.is_empty())
    })
    .await
}

/// E1, E2, E3: killed at every point of an event's life, each registration stands in a confirmed list and is deleted; what
/// was kept of it goes with the event.
async fn an_event_survives(engine: Engine) -> anyhow::Result<()> {
    const POINTS: [&str; 8] = [
        "scheduler.extract_key_committed",
        "scheduler.extract_recorded",
        "scheduler.run_begun",
        "scheduler.run_done",
        "scheduler.purge_begun",
        "scheduler.end_key_committed",
        "scheduler.registration_begun",
        "scheduler.registration_key_destroyed",
    ];
    let bed = TestBed::prepare_with(&Peers {
        engine,
        ..Peers::default()
    })
    .await?;
    bed.add_form("fest", FORM)?;
    let mut fleet = Fleet::start(&bed).await?;
    for (number, point) in (1..).zip(POINTS) {
        live(&mut fleet, &Event { bed: &bed, number }, point)
            .await
            .with_context(|| point.to_owned())?;
    }
    let figures = bed.figures().await?;
    let registrations = 2 * i64::try_from(POINTS.len())?;
    ensure!((figures.accepted, figures.open) == (registrations, 0), "{figures:?}");
    nothing_is_left(&bed).await?;
    Tally::nothing_lost(registrations, 0, i64::try_from(POINTS.len())?)
        .say("scheduler killed in an event's life", engine);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_survives_a_scheduler_that_dies_on_sqlite() -> anyhow::Result<()> {
    an_event_survives(Engine::Sqlite).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_survives_a_scheduler_that_dies_on_postgres() -> anyhow::Result<()> {
    an_event_survives(Engine::Postgres).await
}
