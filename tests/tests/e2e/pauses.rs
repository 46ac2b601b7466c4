//! Pausing a queue, a department or a form: what rests waits, and goes on afterwards.

use anyhow::Context as _;
use kvit_cli::demo::inbox::{Behaviour, Step, Times};
use kvit_tests::{Message, Service, TestBed, kvit, kvit_fails, report, until};
use serde_json::{Value, json};

use crate::alarms::age;

const QUEUE: &str = "kvit.submissions.eksempel";

fn numbered(n: u32) -> Message {
    let uuid = uuid::Uuid::from_u128(0x7000 + u128::from(n)).to_string();
    Message::json(&report(&uuid, &json!({"e_mail": format!("c{n}@borger.example")})))
}

/// How many messages wait in the site's queue, and how many consume it.
fn waiting(bed: &TestBed) -> anyhow::Result<(u32, u32)> {
    let listed = tokio::task::block_in_place(|| {
        let arguments = [
            "list_queues",
            "-q",
            "-p",
            &bed.host.name,
            "name",
            "messages_ready",
            "consumers",
        ];
        bed.host.node.rabbit.ctl(&arguments)
    })?;
    let line = listed.lines().find(|line| line.starts_with(QUEUE));
    let mut words = line.context("the site's queue")?.split_ascii_whitespace().skip(1);
    let mut number = || anyhow::Ok(words.next().context("a number")?.parse()?);
    Ok((number()?, number()?))
}

async fn until_three_wait(bed: &TestBed) -> anyhow::Result<()> {
    until("the messages wait, and nobody takes them", async || {
        Ok((waiting(bed)? == (3, 0)).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_queue_is_not_consumed_and_its_messages_wait_in_the_broker() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let mut intake = bed.spawn("kvit-intake").await?;
    let _mailer = bed.spawn("kvit-mailer").await?;
    intake.until_ready().await?;
    bed.publish(&numbered(1)).await?;
    bed.until_deleted(1).await?;

    let why = "the forms are being changed";
    let paused = kvit(&bed.config(), &["pause", "queue", QUEUE, "--why", why]).await?;
    assert_eq!((&paused["what"], &paused["name"]), (&json!("queue"), &json!(QUEUE)));
    let words = format!("pauses: queue {QUEUE} is paused since 20");
    until("intake says what rests, and is ready", async || {
        let (code, text) = intake.probe("/readyz?verbose").await?;
        anyhow::ensure!(!text.contains(why), "a person's own words are for no probe: {text}");
        Ok((code == 200 && text.contains(&words)).then_some(()))
    })
    .await?;
    for n in 2..5 {
        bed.publish(&numbered(n)).await?;
    }
    until_three_wait(&bed).await?;
    assert_eq!(bed.figures().await?.arrived, 1);
    let (_, metrics) = intake.probe("/metrics").await?;
    assert!(
        metrics.contains(&format!("kvit_paused{{what=\"queue\",name=\"{QUEUE}\"}} 1")),
        "{metrics}"
    );

    // A restart changes nothing: what is paused is known before anything is taken.
    assert_eq!(intake.terminate().await?.code(), Some(0));
    let mut intake = bed.spawn("kvit-intake").await?;
    intake.until_ready().await?;
    until_three_wait(&bed).await?;

    kvit(&bed.config(), &["resume", "queue", QUEUE]).await?;
    let figures = bed.until_deleted(4).await?;
    assert_eq!((figures.accepted, figures.duplicates.ignored), (4, 0));
    assert_eq!(bed.inbox.count(), 8);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_department_gets_no_mail_until_the_pause_is_over() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let pause = ["pause", "department", "teknik-miljoe", "--why", "they move"];
    kvit(&bed.config(), &pause).await?;
    let running = bed.run(&Service::ALL).await?;
    bed.post(&numbered(1)).await?;
    let shown = bed.only_submission().await?;
    assert_eq!(shown.state, "open");
    assert!(
        shown.why.ends_with("department teknik-miljoe is paused: they move"),
        "{}",
        shown.why
    );

    // Said anew, with an end in three seconds, which comes by itself.
    let soon = bed.clock().now() + jiff::SignedDuration::from_secs(3);
    let until = soon.to_string();
    kvit(&bed.config(), &[&pause[..], &["--until", &until]].concat()).await?;
    let status = kvit(&bed.config(), &["status"]).await?;
    assert_eq!(status["paused"].as_array().map(Vec::len), Some(1), "{status}");
    assert_eq!(status["paused"][0]["why"], "they move");
    assert_eq!(bed.inbox.count(), 0);
    bed.until_deleted(1).await?;
    assert!(bed.clock().now() >= soon);
    let status = kvit(&bed.config(), &["status"]).await?;
    assert_eq!(status["paused"], Value::Array(Vec::new()));
    let duties = bed.duties().await?;
    assert!(
        duties.iter().all(|duty| duty.state == "done" && duty.attempts == 1),
        "{duties:?}"
    );
    running.stop().await
}

/// D2: a pause that lasts longer than a mail is tried for gives nothing up.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_is_not_given_up_because_it_was_paused() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let running = bed.run(&[Service::Intake]).await?;
    let pause = ["pause", "form", "anmeldelse_teknik_miljoe", "--why", "the relay moves"];
    kvit(&bed.config(), &pause).await?;
    bed.post(&numbered(1)).await?;
    // Ten days pass for what waits, and for the pause that it waits for.
    age(
        &bed,
        &[
            "UPDATE duty SET created_at = created_at - 864000000",
            "UPDATE pause SET since = since - 864000000",
        ],
    )
    .await?;
    kvit(&bed.config(), &["resume", "form", "anmeldelse_teknik_miljoe"]).await?;
    bed.inbox
        .behave(Behaviour::reply(Step::Mail, 451, "not now"), Times::Next(2));
    running.stop().await?;
    let running = bed.run(&[Service::Mailer, Service::Scheduler]).await?;
    bed.until_deleted(1).await?;
    let duties = bed.duties().await?;
    assert!(duties.iter().all(|duty| duty.state == "done"), "{duties:?}");
    assert_eq!(duties.iter().map(|duty| duty.attempts).sum::<i64>(), 4);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_there_is_can_be_paused() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let config = bed.config();
    for (arguments, code, words) in [
        (
            &["pause", "department", "teknik", "--why", "x"][..],
            65,
            "teknik-miljoe",
        ),
        (&["pause", "queue", "kvit.submissions.other", "--why", "x"], 65, QUEUE),
        (
            &["pause", "form", "nothing", "--why", "x"],
            65,
            "anmeldelse_teknik_miljoe",
        ),
        (&["pause", "department", "social", "--why", " "], 64, "--why is empty"),
        (&["pause", "department", "social"], 64, "--why"),
        (&["pause", "site", "social", "--why", "x"], 64, "department"),
        (
            &[
                "pause",
                "department",
                "social",
                "--why",
                "x",
                "--until",
                "2020-01-01T00:00",
            ],
            64,
            "has passed",
        ),
        (&["resume", "department", "social"], 65, "is not paused"),
    ] {
        let (status, said) = kvit_fails(&config, arguments).await?;
        assert_eq!(status, code, "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    Ok(())
}
