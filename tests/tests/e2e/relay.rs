//! Relays that offer less: a smaller SIZE, no DSN, no SMTPUTF8, no 8BITMIME.
//!
//! The inbox refuses every parameter that it did not offer, and 8-bit data that was not announced.

use kvit_cli::demo::inbox::{Behaviour, Step, Times};
use kvit_tests::{DEADLINE, Message, TestBed, kvit, reads, report, until};
use serde_json::json;

const DEPARTMENT: &str = "teknik@kommune.example";

/// The answer to `EHLO` of a relay that offers this.
fn offering(extensions: &[&str]) -> Behaviour {
    let lines: Vec<&str> = std::iter::once("relay.example")
        .chain(extensions.iter().copied())
        .collect();
    Behaviour::reply(Step::Ehlo, 250, &lines.join("\n"))
}

fn a_report(n: u32, e_mail: &str) -> Message {
    let uuid = format!("5b5e4f3e-0000-4000-8000-0000000007{n:02}");
    Message::json(&report(&uuid, &json!({"e_mail": e_mail})))
}

/// D3, P2
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_with_a_smaller_size_holds_the_mail_with_a_reason_and_the_doctor_sees_it() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    // A receipt is below that, and an encrypted mail with a long answer above.
    bed.inbox
        .behave(offering(&["SIZE 16000", "8BITMIME", "DSN"]), Times::All);
    let running = bed.run(&kvit_tests::Service::ALL).await?;
    let mut body = report("5b5e4f3e-0000-4000-8000-000000000799", &json!({}));
    body["data"]["beskrivelse"] = json!("Et stort hul i vejen. ".repeat(2000));
    bed.post(&Message::json(&body)).await?;

    let held = bed.until_duty("department_mail", "held").await?;
    assert_eq!(held.reason.as_deref(), Some("too_large"));
    bed.until_duty("receipt", "done").await?;
    let shown = bed.only_submission().await?;
    assert_eq!(shown.state, "open");
    let doctor = kvit(&bed.config(), &["doctor"]).await?;
    let checks = doctor["checks"].as_array().expect("checks");
    let size = checks
        .iter()
        .find(|check| check["check"] == "relay's size limit")
        .expect("the check");
    assert_eq!(size["state"], "warn");
    assert!(size["found"].as_str().unwrap_or_default().contains("16000"), "{size}");

    // The department is told, once and without content.
    let mails = bed.inbox.wait_for(2, DEADLINE).await?;
    let notices: Vec<_> = mails.iter().filter(|mail| mail.recipients == [DEPARTMENT]).collect();
    assert_eq!(notices.len(), 1);
    let notice = reads(notices[0]);
    let reference = shown.reference.expect("a reference");
    assert!(
        notice.contains(&reference) && !notice.contains("hul i vejen"),
        "{notice}"
    );

    bed.inbox.behave(Behaviour::Accept, Times::All);
    // A connection that is open was told the smaller size, and ends with the refusal that it causes.
    until("the mail goes by a new connection", async || {
        if bed.only_submission().await?.state == "deleted" {
            return Ok(Some(()));
        }
        // It is refused while the duty is not held: nothing is lost by that.
        let _ = kvit(&bed.config(), &["duty", "retry", &held.id]).await;
        Ok(None)
    })
    .await?;
    assert_eq!(bed.mails_to(DEPARTMENT).len(), 2);
    running.stop().await
}

/// P2
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_without_extensions_gets_no_parameter_and_every_mail_that_it_can_carry() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    bed.inbox.behave(offering(&[]), Times::All);
    let running = bed.run(&kvit_tests::Service::ALL).await?;
    bed.post(&a_report(1, "aase@blåbærgrød.example")).await?;
    bed.post(&a_report(2, "søren@borger.example")).await?;
    bed.until_deleted(2).await?;
    // Two mails to the department, one receipt, and the notice that another could not be delivered.
    let mails = bed.inbox.wait_for(4, DEADLINE).await?;

    let receipts: Vec<_> = mails.iter().filter(|mail| mail.recipients != [DEPARTMENT]).collect();
    assert_eq!(receipts.len(), 1);
    assert_eq!(receipts[0].recipients, ["aase@xn--blbrgrd-fxak7p.example"]);
    for mail in &mails {
        assert!(mail.mail_params.is_empty(), "{:?}", mail.mail_params);
        assert!(
            mail.recipient_params.iter().all(Vec::is_empty),
            "{:?}",
            mail.recipient_params
        );
        assert!(mail.data.is_ascii(), "a mail is 7-bit where its addresses are");
    }
    let cancelled = bed.until_duty("receipt", "cancelled").await?;
    assert_eq!(cancelled.reason.as_deref(), Some("undeliverable"));
    running.stop().await
}

/// P2
#[tokio::test(flavor = "multi_thread")]
async fn what_a_relay_offers_is_used() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    bed.post(&a_report(3, "søren@blåbærgrød.example")).await?;
    bed.until_deleted(1).await?;

    let mails = bed.mails_to("søren@xn--blbrgrd-fxak7p.example");
    assert_eq!(mails.len(), 1);
    let parameters = &mails[0].mail_params;
    for wanted in ["SMTPUTF8", "BODY=8BITMIME", "RET=HDRS"] {
        assert!(parameters.iter().any(|one| one == wanted), "{wanted}: {parameters:?}");
    }
    for wanted in ["SIZE=", "ENVID="] {
        assert!(
            parameters.iter().any(|one| one.starts_with(wanted)),
            "{wanted}: {parameters:?}"
        );
    }
    assert_eq!(mails[0].recipient_params, [["NOTIFY=FAILURE"]]);
    assert!(mails[0].mail_from.starts_with("bounce+"), "{}", mails[0].mail_from);
    running.stop().await
}
