//! Drafts, repeats, corrections, withdrawals, and what the site says of its own copy.

use kvit_tests::{DEADLINE, Message, TestBed, kvit, opened, report, until};
use serde_json::{Value, json};

const UUID: &str = "5b5e4f3e-0000-4000-8000-000000000002";
const DEPARTMENT: &str = "teknik@kommune.example";
const CITIZEN: &str = "aase@borger.example";

fn first() -> Value {
    report(UUID, &json!({}))
}

fn corrected() -> Value {
    let mut body = report(UUID, &json!({"beskrivelse": "Hullet er nu endnu større"}));
    body["changed"] = json!(1_795_304_999);
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_is_ignored_and_counted() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    let mut draft = first();
    draft["in_draft"] = json!("1");
    bed.post(&Message::json(&draft)).await?;
    let by_event = Message::json(&report("5b5e4f3e-0000-4000-8000-000000000003", &json!({})))
        .with("x-kvit-event", "draft_created");
    bed.post(&by_event).await?;
    bed.post(&Message::json(&first())).await?;
    let figures = bed.until_deleted(3).await?;

    assert_eq!((figures.drafts_ignored, figures.accepted), (2, 1));
    assert_eq!(bed.mails_to(DEPARTMENT).len(), 1);
    running.stop().await
}

/// P2
#[tokio::test(flavor = "multi_thread")]
async fn a_correction_is_a_second_mail_under_the_same_reference_and_no_second_receipt() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    bed.post(&Message::json(&first())).await?;
    bed.until_deleted(1).await?;
    bed.post(&Message::json(&corrected()).with("x-kvit-event", "updated"))
        .await?;
    let figures = bed.until_deleted(2).await?;

    assert_eq!(figures.accepted, 2);
    let versions = bed.submissions().await?;
    assert_eq!(versions[0].reference, versions[1].reference);
    assert_eq!((versions[0].version, versions[1].version), (1, 2));
    assert!(versions[0].superseded && !versions[1].superseded);
    let mails = bed.mails_to(DEPARTMENT);
    assert_eq!((mails.len(), bed.mails_to(CITIZEN).len()), (2, 1));
    let correction = opened(&mails[1], bed.key("teknik-miljoe"))?.text("text/plain");
    assert!(
        correction.contains("RETTELSE") && correction.contains("Hullet er nu endnu større"),
        "{correction}"
    );
    assert!(correction.contains("Beskrivelse"), "{correction}");

    // Either name shows the latest version; a repeat of either version is nothing new.
    let by_uuid = kvit(&bed.config(), &["submission", "show", &format!("eksempel/{UUID}")]).await?;
    assert_eq!(
        (&by_uuid["version"], &by_uuid["id"]),
        (&json!(2), &json!(versions[1].id))
    );
    let reference = versions[0].reference.clone().expect("a reference");
    assert_eq!(
        kvit(&bed.config(), &["submission", "show", &reference]).await?["version"],
        2
    );
    bed.post(&Message::json(&first())).await?;
    bed.post(&Message::json(&corrected())).await?;
    assert_eq!(bed.figures().await?.duplicates.ignored, 2);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_changed_and_changed_back_is_three_versions() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    let mut back = first();
    back["changed"] = json!(1_795_305_555);
    for body in [first(), corrected(), back] {
        bed.post(&Message::json(&body)).await?;
    }
    let figures = bed.until_deleted(3).await?;
    assert_eq!((figures.accepted, figures.duplicates.ignored), (3, 0));
    assert_eq!(bed.mails_to(DEPARTMENT).len(), 3);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_version_that_comes_late_supersedes_nothing() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    bed.post(&Message::json(&corrected())).await?;
    bed.post(&Message::json(&first())).await?;
    bed.until_deleted(2).await?;
    let found = kvit(&bed.config(), &["submission", "show", &format!("eksempel/{UUID}")]).await?;
    let versions = bed.submissions().await?;
    assert_eq!(found["id"], json!(versions[0].id));
    assert!(!versions[0].superseded && versions[1].superseded);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_message_is_said_to_the_department_and_counts_as_a_repeat() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    bed.post(&Message::json(&first())).await?;
    bed.until_deleted(1).await?;
    bed.post(&Message::json(&first()).with("x-kvit-event", "withdrawn"))
        .await?;
    let mails = bed.inbox.wait_for(3, DEADLINE).await?;

    let figures = bed.figures().await?;
    assert_eq!((figures.accepted, figures.duplicates.ignored), (1, 1));
    let notice = kvit_tests::reads(&mails[2]);
    let reference = bed.only_submission().await?.reference.expect("a reference");
    assert!(
        notice.contains(&reference) && !notice.contains("hul i vejen"),
        "{notice}"
    );
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_message_that_nobody_knew_is_mailed_as_withdrawn() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    bed.post(&Message::json(&first()).with("x-kvit-event", "withdrawn"))
        .await?;
    bed.until_deleted(1).await?;
    let mails = bed.mails_to(DEPARTMENT);
    let text = opened(&mails[0], bed.key("teknik-miljoe"))?.text("text/plain");
    assert!(text.contains("TRUKKET TILBAGE"), "{text}");
    running.stop().await
}

/// D1: the site's confirmation is recorded.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_on_the_site_is_recorded_and_cancels_nothing() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    bed.post(&Message::json(&first())).await?;
    bed.until_deleted(1).await?;
    assert_eq!(bed.only_submission().await?.site_copy, "unknown");
    bed.post(&Message::json(&first()).with("x-kvit-event", "deleted"))
        .await?;
    let mut other = report("5b5e4f3e-0000-4000-8000-000000000009", &json!({}));
    other["kvit_event"] = json!("deleted");
    bed.post(&Message::json(&other).with("x-kvit-event", "deleted")).await?;

    until("the site's copy is gone", async || {
        Ok((bed.only_submission().await?.site_copy == "gone").then_some(()))
    })
    .await?;
    let figures = bed.figures().await?;
    assert_eq!((figures.accepted, figures.duplicates.ignored), (1, 2));
    assert_eq!(bed.inbox.count(), 2);
    running.stop().await
}

/// Two citizens may give equal answers: without a uuid neither is a repeat.
#[tokio::test(flavor = "multi_thread")]
async fn equal_answers_without_a_name_are_two_submissions_and_with_a_message_id_one() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    let bare = Message::json(&first()["data"]).with("x-kvit-form", "anmeldelse_teknik_miljoe");
    bed.post(&bare).await?;
    bed.post(&bare).await?;
    let mut named = bare;
    named.message_id = Some("besked-1".to_owned());
    bed.post(&named).await?;
    bed.post(&named).await?;
    let figures = bed.until_deleted(4).await?;
    assert_eq!((figures.accepted, figures.duplicates.ignored), (3, 1));
    running.stop().await
}
