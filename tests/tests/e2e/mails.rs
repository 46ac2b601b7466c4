//! Both mails, and the end of the submission.

use kvit_cli::demo::inbox::{Behaviour, Step, Times};
use kvit_tests::{DEADLINE, Entity, Message, TestBed, encrypted, opened, reads, report, until};
use serde_json::json;

const DEPARTMENT: &str = "teknik@kommune.example";
const CITIZEN: &str = "aase@borger.example";

/// Words of the answers of [`report`]: of none may anything be readable without the department's key.
const ANSWERS: [&str; 4] = [
    "Åse Ærø",
    "aase@borger.example",
    "Et stort hul i vejen ved kirken",
    "hul_i_vej",
];

fn a_report() -> Message {
    Message::json(&report("5b5e4f3e-0000-4000-8000-000000000001", &json!({})))
}

/// P1
#[tokio::test(flavor = "multi_thread")]
async fn the_department_gets_the_answers_in_a_mail_that_only_its_key_opens() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    bed.post(&a_report()).await?;
    bed.until_deleted(1).await?;

    let mails = bed.mails_to(DEPARTMENT);
    assert_eq!(mails.len(), 1);
    let outside = reads(&mails[0]);
    for word in ANSWERS.iter().chain(&["Teknik", "Hul i vejen", "Anmeldelse"]) {
        assert!(!outside.contains(word), "{word} can be read");
    }
    let submission = bed.only_submission().await?;
    let reference = submission.reference.expect("a reference");
    let outer = Entity::read(&mails[0].data);
    assert_eq!(outer.header("subject"), format!("Formular {reference}"));
    assert!(!mails[0].mail_from.contains("aase"));

    let inner = opened(&mails[0], bed.key("teknik-miljoe"))?;
    let text = inner.text("text/plain");
    for word in [
        "Åse Ærø",
        "Hul i vejen",
        "Et stort hul i vejen ved kirken",
        reference.as_str(),
    ] {
        assert!(text.contains(word), "{word} is not in: {text}");
    }
    let answers = inner.file("indsendelse.json").expect("indsendelse.json");
    let answers: serde_json::Value = serde_json::from_slice(&answers.content)?;
    assert!(answers.to_string().contains("Et stort hul i vejen ved kirken"));
    assert!(!answers.to_string().contains("127.0.0.1"));
    assert!(opened(&mails[0], bed.key("social")).is_err());
    running.stop().await
}

/// P2, P9
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_again_and_again_gives_one_mail_and_one_receipt() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    for _ in 0..5 {
        bed.publish(&a_report()).await?;
    }
    let figures = bed.until_deleted(5).await?;

    assert_eq!((figures.accepted, figures.duplicates.ignored), (1, 4));
    assert_eq!(bed.mails_to(DEPARTMENT).len(), 1);
    let receipts = bed.mails_to(CITIZEN);
    assert_eq!(receipts.len(), 1);
    let receipt = Entity::read(&receipts[0].data);
    assert_eq!(receipt.header("auto-submitted"), "auto-generated");
    let text = receipt.text("text/plain");
    for word in [
        "Eksempel Kommune",
        "https://dpo.kommune.example",
        "Datatilsynet",
        "behandle din anmeldelse",
    ] {
        assert!(text.contains(word), "{word} is not in: {text}");
    }
    for answer in ["Åse Ærø", "Et stort hul i vejen", "Hul i vejen"] {
        assert!(!reads(&receipts[0]).contains(answer), "{answer} is in the receipt");
    }
    running.stop().await
}

/// D1
#[tokio::test(flavor = "multi_thread")]
async fn when_both_mails_are_accepted_nothing_of_the_answers_is_left() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    bed.post(&a_report()).await?;
    let figures = bed.until_deleted(1).await?;

    assert_eq!((figures.accepted, figures.deleted), (1, 1));
    let submission = bed.only_submission().await?;
    assert_eq!(submission.state, "deleted");
    assert!(submission.deleted_at.is_some());
    let found = bed.files_with(&ANSWERS)?;
    // The control, and the one exception: an option's key stands in its form, which is no answer.
    assert!(found.iter().any(|line| line.contains("/forms/")), "{found:?}");
    let found: Vec<_> = found.iter().filter(|line| !line.contains("/forms/")).collect();
    assert!(found.is_empty(), "{found:?}");
    let events: Vec<&str> = submission.evidence.iter().map(|leaf| leaf.event.as_str()).collect();
    assert!(
        events.first() == Some(&"accepted") && events.last() == Some(&"deleted"),
        "{events:?}"
    );
    running.stop().await?;
    let found = bed.files_with(&ANSWERS)?;
    assert!(found.iter().all(|line| line.contains("/forms/")), "{found:?}");
    Ok(())
}

/// D2
#[tokio::test(flavor = "multi_thread")]
async fn while_the_relay_refuses_the_departments_mail_nothing_is_deleted() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    let refuse = Behaviour::Refuse {
        recipients: vec![DEPARTMENT.to_owned()],
        code: 550,
        text: "5.1.1 no such mailbox".to_owned(),
    };
    bed.inbox.behave(refuse, Times::All);
    bed.post(&a_report()).await?;
    bed.until_duty("receipt", "done").await?;
    let held = bed.until_duty("department_mail", "held").await?;

    assert_eq!(held.reason.as_deref(), Some("smtp_550"));
    let submission = bed.only_submission().await?;
    assert_eq!(submission.state, "open");
    assert!(!submission.why.is_empty());

    bed.inbox.behave(Behaviour::Accept, Times::All);
    kvit_tests::kvit(&bed.config(), &["duty", "retry", &held.id]).await?;
    bed.until_deleted(1).await?;
    // The notice that it was held may have come through, too.
    let mails = encrypted(bed.mails_to(DEPARTMENT));
    assert_eq!((mails.len(), bed.mails_to(CITIZEN).len()), (1, 1));
    running.stop().await
}

/// D2
#[tokio::test(flavor = "multi_thread")]
async fn while_the_relay_asks_to_wait_with_the_receipt_nothing_is_deleted() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    let wait = Behaviour::Refuse {
        recipients: vec![CITIZEN.to_owned()],
        code: 451,
        text: "4.7.1 greylisted".to_owned(),
    };
    bed.inbox.behave(wait, Times::All);
    bed.post(&a_report()).await?;
    bed.until_duty("department_mail", "done").await?;
    until("the receipt was tried twice", async || {
        let duties = bed.duties().await?;
        Ok(duties
            .into_iter()
            .find(|duty| duty.kind == "receipt" && duty.attempts >= 2))
    })
    .await?;
    assert_eq!(bed.only_submission().await?.state, "open");

    bed.inbox.behave(Behaviour::Accept, Times::All);
    bed.until_deleted(1).await?;
    assert_eq!((bed.mails_to(DEPARTMENT).len(), bed.mails_to(CITIZEN).len()), (1, 1));
    running.stop().await
}

/// D3
#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_cannot_be_delivered_is_cancelled_and_the_department_told() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    let refuse = Behaviour::Refuse {
        recipients: vec![CITIZEN.to_owned()],
        code: 550,
        text: "5.1.1 no such mailbox".to_owned(),
    };
    bed.inbox.behave(refuse, Times::All);
    bed.post(&a_report()).await?;
    bed.until_deleted(1).await?;
    let mails = bed.inbox.wait_for(2, DEADLINE).await?;

    let receipt = bed.until_duty("receipt", "cancelled").await?;
    assert_eq!(receipt.reason.as_deref(), Some("undeliverable"));
    let notice = mails
        .iter()
        .map(reads)
        .find(|mail| !mail.contains("multipart/encrypted"));
    let notice = notice.expect("a notice");
    let reference = bed.only_submission().await?.reference.expect("a reference");
    assert!(notice.contains(&reference), "{notice}");
    for answer in ANSWERS {
        assert!(!notice.contains(answer), "{answer} is in the notice");
    }
    running.stop().await
}

/// D3: an address that cannot be used.
#[tokio::test(flavor = "multi_thread")]
async fn a_submitter_without_a_usable_address_gets_no_receipt_and_the_department_its_mail() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    for (n, address) in ["", "ingen adresse", "a@b.example\r\nBcc: c@d.example"]
        .iter()
        .enumerate()
    {
        let uuid = format!("5b5e4f3e-0000-4000-8000-00000000000{n}");
        bed.post(&Message::json(&report(&uuid, &json!({"e_mail": address}))))
            .await?;
    }
    bed.until_deleted(3).await?;
    // Three mails, and three notices that no receipt went out.
    let mails = bed.inbox.wait_for(6, DEADLINE).await?;

    let to: Vec<_> = mails.iter().flat_map(|mail| mail.recipients.clone()).collect();
    assert!(to.iter().all(|to| to == DEPARTMENT), "{to:?}");
    let cancelled = bed.until_duty("receipt", "cancelled").await?;
    assert_eq!(cancelled.reason.as_deref(), Some("undeliverable"));
    running.stop().await
}

/// P2
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_tried_again_is_the_same_to_the_byte() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    // Each is kept by the relay, whose answer is then lost: SMTP's own gap.
    bed.inbox
        .behave(Behaviour::Disconnect { step: Step::Accepted }, Times::Next(2));
    bed.post(&a_report()).await?;
    let figures = bed.until_deleted(1).await?;

    for address in [DEPARTMENT, CITIZEN] {
        let mails = bed.mails_to(address);
        let (first, last) = (&mails[0], &mails[mails.len() - 1]);
        assert!(!Entity::read(&first.data).header("message-id").is_empty());
        assert_eq!(first.data, last.data);
        assert_eq!(
            (&first.recipients, &first.mail_from),
            (&last.recipients, &last.mail_from)
        );
    }
    assert_eq!(bed.inbox.count(), 4);
    assert_eq!(figures.duplicates.possible_mail, 2);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_the_relay_puts_off_at_the_final_dot_arrives_once_later() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    bed.inbox
        .behave(Behaviour::reply(Step::FinalDot, 451, "4.3.0 later"), Times::Next(2));
    bed.post(&a_report()).await?;
    let figures = bed.until_deleted(1).await?;

    assert_eq!((bed.mails_to(DEPARTMENT).len(), bed.mails_to(CITIZEN).len()), (1, 1));
    assert_eq!(figures.duplicates.possible_mail, 0);
    let attempts: i64 = bed.duties().await?.iter().map(|duty| duty.attempts).sum();
    assert_eq!(attempts, 4);
    running.stop().await
}
