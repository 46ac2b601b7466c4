//! Registrations from the site's message to the department's word that it has deleted its copies.

use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use kvit_cli::demo::inbox::{Behaviour, Mail, Times};
use kvit_tests::{Entity, Message, TestBed, kvit, kvit_fails, opened, reads, report, until};
use ledger::SubmissionView;
use serde_json::{Value, json};

use crate::canary::listen;

const DEPARTMENT: &str = "teknik@kommune.example";
const EVENT: &str = "eksempel/tilmelding_borgermoede";
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// What no place of ours may hold once the registration is gone.
const ANSWERS: [&str; 3] = ["Ærø Kanariefugl", "kanarie@borger.example", "Snabel Deltager"];

fn registration(number: u8, completed: Timestamp) -> Message {
    let mut body = report(&format!("6b5e4f3e-0000-4000-8000-00000000000{number}"), &json!({}));
    body["webform_id"] = json!("tilmelding_borgermoede");
    body["completed"] = json!(completed.as_second());
    body["data"] = json!({
        "navn": "Ærø Kanariefugl", "e_mail": "kanarie@borger.example", "antal": number, "pris": "=1+1",
        "deltagere": [{"deltager_navn": "Snabel Deltager", "alder": "7", "vegetar": "1", "skole": "nord"}],
        "aktiviteter": ["workshop"], "kost": "veg", "transport": ["bus"], "hold": ["2"], "samtykke": "1"
    });
    Message::json(&body)
}

/// Sets one of the event's dates, so long from now.
async fn set(bed: &TestBed, date: &str, ahead: SignedDuration) -> anyhow::Result<()> {
    let at = (bed.clock().now() + ahead).to_string();
    kvit(&bed.config(), &["event", "set", EVENT, date, &at]).await.map(drop)
}

async fn run(bed: &TestBed, schedule: &str) -> anyhow::Result<String> {
    let answer = kvit(&bed.config(), &["schedule", "run", schedule]).await?;
    Ok(answer["outcome"].as_str().unwrap_or_default().to_owned())
}

/// The list in the next mail to the department, and its code.
async fn next_list(bed: &TestBed, before: usize) -> anyhow::Result<(Entity, Option<String>)> {
    let mail = next_mail(bed, before).await?;
    let inner = opened(&mail, bed.key("teknik-miljoe"))?;
    let code = code_in(&inner.text("text/plain"));
    Ok((inner, code))
}

async fn next_mail(bed: &TestBed, before: usize) -> anyhow::Result<Mail> {
    until("the department has another mail", async || {
        Ok(bed.mails_to(DEPARTMENT).get(before).cloned())
    })
    .await
}

pub(crate) fn code_in(text: &str) -> Option<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let is_code = |word: &&str| word.len() == 9 && word.as_bytes()[4] == b'-' && vault::Code::read(word).is_ok();
    words.filter(is_code).map(str::to_owned).next()
}

async fn shown(bed: &TestBed, id: &str) -> anyhow::Result<Value> {
    kvit(&bed.config(), &["submission", "show", id]).await
}

async fn until_state(bed: &TestBed, id: &str, state: &str) -> anyhow::Result<SubmissionView> {
    until("a submission is in a state", async || {
        Ok(bed
            .submissions()
            .await?
            .into_iter()
            .find(|one| one.id == id && one.state == state))
    })
    .await
}

fn told(heard: &Arc<Mutex<Vec<Vec<u8>>>>, event: &str) -> usize {
    let heard = heard.lock().expect("no listener panics");
    let kinds = heard
        .iter()
        .filter_map(|body| serde_json::from_slice::<Value>(body).ok());
    kinds
        .filter(|said| said["type"] == format!("dk.kvit.submission.{event}"))
        .count()
}

/// E1, E2, E3, E4, D1, G2
#[tokio::test(flavor = "multi_thread")]
async fn a_registration_is_extracted_confirmed_and_deleted_and_so_is_what_was_kept_of_it() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    let heard = listen(&bed, "kvit.events", "#").await?;
    let before = bed.clock().now() - HOUR * 100;
    bed.post(&registration(1, before)).await?;
    bed.until_duty("receipt", "done").await?;
    let id = bed.only_submission().await?.id;
    run(&bed, "extract").await?;
    run(&bed, "purge").await?;
    assert!(bed.mails_to(DEPARTMENT).is_empty(), "nothing goes before the deadline");
    assert_eq!(shown(&bed, &id).await?["state"], "open");

    set(&bed, "--deadline", -HOUR * 72).await?;
    run(&bed, "extract").await?;
    let (list, code) = next_list(&bed, 0).await?;
    let outside = reads(&bed.mails_to(DEPARTMENT)[0]);
    for answer in ANSWERS {
        assert!(!outside.contains(answer), "{answer} can be read");
    }
    let csv = list.file("tilmeldinger.csv").context("a CSV file")?;
    let csv = String::from_utf8_lossy(&csv.content);
    assert!(csv.starts_with('\u{feff}') && csv.contains("Ærø Kanariefugl"), "{csv}");
    assert!(csv.contains("'=1+1"), "a formula is text: {csv}");
    assert!(list.file("tilmeldinger.xlsx").is_some());
    run(&bed, "purge").await?;
    assert_eq!(shown(&bed, &id).await?["state"], "open", "the list is not confirmed");
    let (status, _) = kvit_fails(&bed.config(), &["registration", "confirm", EVENT, "0000-0000"]).await?;
    assert_eq!(status, 65);

    // E2: sent before the deadline, and taken after the list was made.
    bed.post(&registration(2, before)).await?;
    run(&bed, "extract").await?;
    let (_, second) = next_list(&bed, 1).await?;
    let code = code.context("a code")?;
    kvit(&bed.config(), &["registration", "confirm", EVENT, &code]).await?;
    run(&bed, "purge").await?;
    until_state(&bed, &id, "deleted").await?;
    assert_eq!(bed.figures().await?.open, 1, "the second is in another list");
    kvit(
        &bed.config(),
        &["registration", "confirm", EVENT, &second.context("a code")?],
    )
    .await?;
    run(&bed, "purge").await?;
    bed.until_deleted(2).await?;
    let gone = shown(&bed, &id).await?;
    assert_eq!(
        (&gone["state"], &gone["registration"]),
        (&json!("deleted"), &json!("kept"))
    );

    // E3, E4: held two days ago.
    set(&bed, "--held", -HOUR * 48).await?;
    run(&bed, "purge").await?;
    assert_eq!(shown(&bed, &id).await?["registration"], "deleted");
    run(&bed, "extract").await?;
    let notice = Entity::read(&next_mail(&bed, 2).await?.data).text("text/plain");
    let erased = code_in(&notice).context("a code to say that it is erased")?;
    kvit(&bed.config(), &["event", "erased", EVENT, &erased]).await?;
    assert!(kvit(&bed.config(), &["event", "show", EVENT]).await?["erased_at"].is_string());

    until("the site is told", async || {
        Ok((told(&heard, "delivered") == 2 && told(&heard, "deleted") == 2).then_some(()))
    })
    .await?;
    running.stop().await?;
    let found = bed.files_with(&ANSWERS)?;
    assert!(found.is_empty(), "{found:?}");
    Ok(())
}

/// E4: a late one is told so, counted, and goes; nothing of it reaches the list.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_registration_is_told_so_counted_and_deleted() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    set(&bed, "--deadline", -HOUR * 2).await?;
    bed.post(&registration(1, bed.clock().now() - HOUR)).await?;
    bed.until_deleted(1).await?;
    let receipts = bed.mails_to("kanarie@borger.example");
    let text = Entity::read(&receipts[0].data).text("text/plain");
    assert!(text.to_lowercase().contains("frist"), "{text}");
    run(&bed, "extract").await?;
    assert!(bed.mails_to(DEPARTMENT).is_empty());
    running.stop().await
}

/// E4: withdrawn after its list went out: the department is told, by reference alone, and the registration goes.
#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_registration_goes_and_the_department_that_has_it_is_told() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    let before = bed.clock().now() - HOUR * 2;
    bed.post(&registration(1, before)).await?;
    bed.post(&registration(2, before)).await?;
    set(&bed, "--deadline", -HOUR).await?;
    run(&bed, "extract").await?;
    next_list(&bed, 0).await?;
    bed.post(&registration(1, before).with("x-kvit-event", "withdrawn"))
        .await?;
    let notice = reads(&next_mail(&bed, 1).await?);
    let submissions = bed.submissions().await?;
    let reference = submissions[0].reference.clone().context("a reference")?;
    assert!(notice.contains(&reference), "{notice}");
    for answer in ANSWERS {
        assert!(!notice.contains(answer), "{answer} is in the notice");
    }
    until_state(&bed, &submissions[0].id, "deleted").await?;
    run(&bed, "purge").await?;
    assert_eq!(shown(&bed, &submissions[0].id).await?["registration"], "deleted");
    assert_eq!(bed.figures().await?.open, 1);
    running.stop().await
}

/// E3: a list that the relay never takes keeps the registration, until the event has been held.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_list_that_arrived_a_registration_stays_until_the_event_is_held() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    let refuse = Behaviour::Refuse {
        recipients: vec![DEPARTMENT.to_owned()],
        code: 451,
        text: "4.7.1 later".to_owned(),
    };
    bed.inbox.behave(refuse, Times::All);
    bed.post(&registration(1, bed.clock().now() - HOUR * 2)).await?;
    bed.until_duty("receipt", "done").await?;
    set(&bed, "--deadline", -HOUR).await?;
    run(&bed, "extract").await?;
    run(&bed, "purge").await?;
    assert_eq!(bed.figures().await?.open, 1);
    let foreseen = kvit(&bed.config(), &["schedule", "run", "purge", "--dry-run"]).await?;
    assert_eq!(foreseen["goes"].as_array().map(Vec::len), Some(0), "{foreseen}");
    assert_eq!(foreseen["stays"].as_array().map(Vec::len), Some(1), "{foreseen}");
    set(&bed, "--held", -HOUR).await?;
    // It may find the purge done: that one runs by itself, too.
    run(&bed, "purge").await?;
    bed.until_deleted(1).await?;
    running.stop().await
}
