//! What nobody has done in time is said: by a metric, from which Prometheus makes the alarm, and in the log.

use std::time::Duration;

use anyhow::Context as _;
use jiff::SignedDuration;
use kvit_tests::apache::Apache;
use kvit_tests::{Entity, Message, Program, Service, TestBed, kvit, report, until};
use serde_json::json;

use crate::events::code_in;
use crate::journal::application;
use crate::journal_faults::journalise_at;
use crate::purge::{DEPARTMENT, FORM};

const EVENT: &str = "eksempel/fest";

/// Changes the ledger as the time that passes would.
pub(crate) async fn age(bed: &TestBed, statements: &[&str]) -> anyhow::Result<()> {
    bed.stores().change_ledger(&bed.path(""), statements).await
}

/// The value of a metric, by its name and its labels.
async fn metric(program: &Program, name: &str) -> anyhow::Result<Option<f64>> {
    let (_, page) = program.probe("/metrics").await?;
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|value| value.trim().parse().context("a number")).transpose()
}

async fn until_metric(program: &Program, name: &str, is: impl Fn(f64) -> bool) -> anyhow::Result<()> {
    let mut seen = None;
    let found = until("a metric says so", async || {
        seen = metric(program, name).await?;
        Ok(seen.filter(|value| is(*value)))
    })
    .await;
    found.map(drop).with_context(|| format!("{name} is {seen:?}"))
}

/// E4: seven days after the department was told to delete its mails, and has not said that it has: an alarm, until it does.
#[tokio::test(flavor = "multi_thread")]
async fn a_department_that_does_not_say_that_it_has_deleted_raises_an_alarm() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    bed.add_form("fest", FORM)?;
    let running = bed.run(&[Service::Intake, Service::Mailer]).await?;
    let mut scheduler = bed.spawn_with("kvit-scheduler", &[]).await?;
    scheduler.until_ready().await?;
    let mut body = report("6d5e4f3e-0000-4000-8000-000000000001", &json!({}));
    body["webform_id"] = json!("fest");
    body["data"] = json!({"navn": "Åse", "e_mail": "aase@borger.example"});
    bed.post(&Message::json(&body)).await?;
    let mail = async |count: usize| {
        until("the department has its mail", async || {
            Ok(bed.mails_to(DEPARTMENT).get(count).cloned())
        })
        .await
    };
    mail(0).await?;
    let held = (bed.clock().now() - SignedDuration::from_hours(48)).to_string();
    let config = bed.config();
    kvit(&config, &["event", "set", EVENT, "--deadline", &held]).await?;
    kvit(&config, &["event", "set", EVENT, "--held", &held]).await?;
    let extract = async || kvit(&config, &["schedule", "run", "extract"]).await.map(drop);
    extract().await?;
    let notice = until("the department is told to delete", async || {
        let mut texts = bed
            .mails_to(DEPARTMENT)
            .into_iter()
            .map(|mail| Entity::read(&mail.data).text("text/plain"));
        Ok(texts.find_map(|text| code_in(&text)))
    })
    .await?;

    // The event too: a department that was told before it was held is told again.
    let told = |days: u32| {
        let past = days * 86_400_000;
        format!("UPDATE event SET notified_at = notified_at - {past}, held = held - {past}")
    };
    let yesterday = "UPDATE run SET planned_at = planned_at - 86400000";
    age(&bed, &[&told(6), yesterday]).await?;
    extract().await?;
    until_metric(&scheduler, "kvit_events_not_erased", |value| value < 0.5).await?;
    age(&bed, &[&told(1), yesterday]).await?;
    extract().await?;
    until_metric(&scheduler, "kvit_events_not_erased", |value| value > 0.5).await?;
    assert!(scheduler.log().contains("has not said that it has deleted its copies"));

    kvit(&config, &["event", "erased", EVENT, &notice]).await?;
    extract().await?;
    until_metric(&scheduler, "kvit_events_not_erased", |value| value < 0.5).await?;
    running.stop().await
}

/// J2: the age of the oldest submission that belongs in a journal and is in none is a metric with an alarm; what is in its
/// journal ends both.
#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_that_is_in_no_journal_is_a_metric_with_an_alarm() -> anyhow::Result<()> {
    let mut server = Apache::start().await?;
    let bed = TestBed::prepare().await?;
    journalise_at(&bed, &server)?;
    server.stop()?;
    let running = bed.run_unready(&[Service::Intake, Service::Mailer, Service::Journaliser])?;
    let scheduler = bed.spawn_with("kvit-scheduler", &[]).await?;
    bed.post(&application(1, "Jeg har brug for hjælp")).await?;
    bed.until_deleted(1).await?;
    let late = Duration::from_hours(48).as_secs_f64();
    until_metric(&scheduler, "kvit_journal_oldest_seconds", |age| age > 0.0 && age < late).await?;
    until_metric(&scheduler, "kvit_journal_overdue", |overdue| overdue < 0.5).await?;

    age(
        &bed,
        &["UPDATE duty SET created_at = created_at - 172800000 WHERE kind = 'journal'"],
    )
    .await?;
    until_metric(&scheduler, "kvit_journal_oldest_seconds", |age| age > late).await?;
    until_metric(&scheduler, "kvit_journal_overdue", |overdue| overdue > 0.5).await?;
    assert!(
        scheduler
            .log()
            .contains("submissions that belong in a journal are in none")
    );

    server.begin().await?;
    until_metric(&scheduler, "kvit_journal_overdue", |overdue| overdue < 0.5).await?;
    until_metric(&scheduler, "kvit_journal_oldest_seconds", |age| age < 0.5).await?;
    running.stop().await
}

/// A schedule is late by its own plan, however many of its runs have failed since the last good one, and also where none was good.
#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_due_since_it_should_have_run_well() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    // On leap days, so that nothing runs meanwhile.
    let rare = [
        ("KVIT_SCHEDULES__KEYS", "0 0 29 2 *"),
        ("KVIT_SCHEDULES__CHECKPOINT", "0 0 29 2 *"),
    ];
    let scheduler = bed.spawn_with("kvit-scheduler", &rare).await?;
    let due = |schedule: &str| format!("kvit_schedule_due_timestamp_seconds{{schedule=\"{schedule}\"}}");
    let now = bed.clock().now().as_duration().as_secs_f64();
    for schedule in ["keys", "checkpoint"] {
        until_metric(&scheduler, &due(schedule), |due| due > now).await?;
    }

    // A good run on 28 February 2020, and a failed one on each day from the 29th on.
    let run = |schedule: &str, planned: i64, outcome: &str| {
        format!(
            "INSERT INTO run (schedule, planned_at, worker, started_at, ended_at, outcome)
             VALUES ('{schedule}', {planned}000, 'worker', {planned}000, {planned}000, '{outcome}')"
        )
    };
    let (good, leap_day) = (1_582_851_600, 1_582_930_800);
    let mut runs = vec![run("keys", good, "all are well")];
    for day in 0..60 {
        for schedule in ["keys", "checkpoint"] {
            runs.push(run(schedule, leap_day + day * 86_400, "failed: using the ledger"));
        }
    }
    let runs: Vec<&str> = runs.iter().map(String::as_str).collect();
    age(&bed, &runs).await?;
    let is = |time: i32| move |value: f64| (value - f64::from(time)).abs() < 0.5;
    for schedule in ["keys", "checkpoint"] {
        until_metric(&scheduler, &due(schedule), is(1_582_930_800)).await?;
    }
    let succeeded = "kvit_schedule_last_success_timestamp_seconds{schedule=\"keys\"}";
    until_metric(&scheduler, succeeded, is(1_582_851_600)).await
}

/// A certificate that is removed has no expiry any more, and so no alarm.
#[tokio::test(flavor = "multi_thread")]
async fn a_removed_certificate_does_not_expire() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let (now, days) = (bed.clock().now(), SignedDuration::from_hours(10 * 24));
    let (ending, _) = openpgp::generate("teknik <teknik@kommune.example>", now, Some(days))?;
    let read = openpgp::Certificate::read(&ending, None);
    let read = read.map_err(|state| anyhow::anyhow!("{}", state.as_str()))?;
    std::fs::write(bed.path("keys/teknik-miljoe.asc"), &ending)?;
    bed.configure(&bed.key("teknik-miljoe").fingerprint(), &read.fingerprint())?;
    let intake = bed.spawn_with("kvit-intake", &[]).await?;
    let expiry = format!(
        "kvit_certificate_expiry_timestamp_seconds{{fingerprint=\"{}\"}}",
        read.fingerprint()
    );
    let now = now.as_duration().as_secs_f64();
    until_metric(&intake, &expiry, |end| end > now).await?;
    std::fs::remove_file(bed.path("keys/teknik-miljoe.asc"))?;
    until_metric(&intake, &expiry, f64::is_nan).await
}
