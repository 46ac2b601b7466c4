//! Receipts as the services send them: to the submitter's own key, and not too many to one address.

use kvit_tests::{Entity, Message, TestBed, opened, reads, report};
use openpgp::UnsealKey;
use serde_json::{Value, json};

const DEPARTMENT: &str = "teknik@kommune.example";

/// Asks for a certificate, and with `discreet` says nothing of itself.
fn form(discreet: bool) -> String {
    format!(
        "id = \"med_noegle\"\nsite = \"eksempel\"\ntitle = {{ da = \"Særlig henvendelse\" }}\ndepartment = \"teknik-miljoe\"\n\
         purpose = {{ da = \"at behandle din henvendelse\" }}\nlegal_basis = [\"gdpr-6-1-e\"]\ndiscreet = {discreet}\n\
         [fields.e_mail]\nlabel = {{ da = \"E-mail\" }}\ntype = \"email\"\n\
         [fields.noegle]\nlabel = {{ da = \"Nøgle\" }}\n\
         [receipt]\nto = \"e_mail\"\nkey = \"noegle\"\n[journal]\nwhen = \"never\"\n"
    )
}

/// Submission `n`, by the citizen of that number, with this in the field for a certificate.
fn with_key(n: usize, key: &str) -> Message {
    let mut message = report(&uuid(n), &json!({}));
    message["webform_id"] = json!("med_noegle");
    message["data"] = json!({"e_mail": citizen(n), "noegle": key});
    Message::json(&message)
}

fn uuid(n: usize) -> String {
    format!("5b5e4f3e-0000-4000-8000-0000000009{n:02}")
}

fn citizen(n: usize) -> String {
    format!("c{n}@borger.example")
}

/// P2, P9
#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_encrypted_to_a_usable_certificate_and_a_bad_one_is_noted() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    bed.add_form("med_noegle", &form(false))?;
    let running = bed.run(&kvit_tests::Service::ALL).await?;
    let now = bed.clock().now();
    let (good, secret) = openpgp::generate("Åse <aase@borger.example>", now, None)?;
    let long_ago = now - jiff::SignedDuration::from_hours(48);
    let day = Some(jiff::SignedDuration::from_hours(24));
    let (expired, _) = openpgp::generate("Åse <aase@borger.example>", long_ago, day)?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("an armored key is text");
    let keys = [text(good), text(expired), "ingen nøgle".to_owned(), String::new()];
    for (n, key) in keys.iter().enumerate() {
        bed.post(&with_key(n, key)).await?;
    }
    bed.until_deleted(4).await?;

    let receipt = |n: usize| bed.mails_to(&citizen(n)).pop().expect("a receipt");
    let sealed = receipt(0);
    assert!(!reads(&sealed).contains("Dine rettigheder") && !reads(&sealed).contains("Særlig"));
    let inner = opened(&sealed, &UnsealKey::read(&secret)?)?;
    assert!(inner.text("text/plain").contains("Dine rettigheder"));
    assert!(opened(&sealed, bed.key("teknik-miljoe")).is_err());
    for n in 1..4 {
        assert!(
            Entity::read(&receipt(n).data)
                .text("text/plain")
                .contains("Dine rettigheder")
        );
    }
    let noted: Vec<bool> = bed
        .submissions()
        .await?
        .iter()
        .map(|submission| {
            submission
                .evidence
                .iter()
                .any(|leaf| leaf.event == "receipt_key_ignored")
        })
        .collect();
    assert_eq!(noted, [false, true, true, false]);
    running.stop().await
}

/// P9
#[tokio::test(flavor = "multi_thread")]
async fn a_discreet_forms_receipt_says_nothing_of_the_form() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    bed.add_form("med_noegle", &form(true))?;
    let running = bed.run(&kvit_tests::Service::ALL).await?;
    bed.post(&with_key(1, "")).await?;
    bed.until_deleted(1).await?;

    let receipt = reads(&bed.mails_to(&citizen(1))[0]);
    assert!(receipt.contains("din formular") && receipt.contains("https://dpo.kommune.example"));
    for word in [
        "Særlig henvendelse",
        "behandle",
        "Teknik",
        "databeskyttelsesforordningens artikel 6",
    ] {
        assert!(!receipt.contains(word), "{word} is in the receipt");
    }
    running.stop().await
}

/// P2: a form cannot be used to flood somebody's mailbox; the department's mails go all the same.
#[tokio::test(flavor = "multi_thread")]
async fn ten_receipts_an_hour_go_to_one_address_and_every_mail_to_the_department() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    let victim = |n: usize| -> Value {
        // However the address is written.
        let address = if n.is_multiple_of(2) {
            "offer@borger.example"
        } else {
            " Offer@Borger.example "
        };
        report(
            &uuid(n),
            &json!({"e_mail": address, "beskrivelse": format!("Hul nummer {n}")}),
        )
    };
    for n in 0..13 {
        bed.publish(&Message::json(&victim(n))).await?;
    }
    bed.publish(&Message::json(&report(&uuid(50), &json!({"e_mail": citizen(50)}))))
        .await?;
    bed.until_deleted(14).await?;

    let mails = bed.inbox.mails();
    let to_victim =
        |mail: &&kvit_cli::demo::inbox::Mail| mail.recipients[0].eq_ignore_ascii_case("offer@borger.example");
    assert_eq!(mails.iter().filter(to_victim).count(), 10);
    assert_eq!(bed.mails_to(&citizen(50)).len(), 1);
    // No notice either: the receipt could be delivered, and is not.
    assert_eq!(bed.mails_to(DEPARTMENT).len(), 14);
    let duties = bed.duties().await?;
    let limited = duties
        .iter()
        .filter(|duty| duty.kind == "receipt" && duty.state == "cancelled");
    let reasons: Vec<_> = limited.map(|duty| duty.reason.as_deref()).collect();
    assert_eq!(reasons, [Some("rate_limited"); 3]);
    running.stop().await
}
