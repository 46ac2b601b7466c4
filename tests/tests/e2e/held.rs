//! What waits: for a certificate, for files, for a seal, for a form.

use jiff::SignedDuration;
use kvit_tests::{DEADLINE, Message, Service, TestBed, encrypted, kvit, opened, payload, reads, report, until};
use openpgp::{Sealing, UnsealKey};
use serde_json::{Value, json};

const DEPARTMENT: &str = "teknik@kommune.example";

fn to_technical(n: u32) -> Message {
    Message::json(&report(&uuid_of(n), &json!({"e_mail": format!("c{n}@borger.example")})))
}

fn uuid_of(n: u32) -> String {
    format!("5b5e4f3e-0000-4000-8000-0000000003{n:02}")
}

/// A form whose mails go to the other department.
const SOCIAL: &str = r#"
id = "henvendelse_social"
site = "eksempel"
title = { da = "Henvendelse" }
department = "social"
purpose = { da = "behandle din henvendelse" }
legal_basis = ["gdpr-6-1-e"]
[fields.besked]
label = { da = "Besked" }
"#;

fn to_social(n: u32) -> Message {
    Message::json(&json!({"besked": format!("Hej {n}"), "uuid": uuid_of(n), "webform_id": "henvendelse_social"}))
}

/// P1
#[tokio::test(flavor = "multi_thread")]
async fn a_department_without_a_usable_certificate_waits_sealed_and_no_other_does() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    bed.add_form("henvendelse_social", SOCIAL)?;
    let (expired, _) = openpgp::generate(
        "teknik <teknik@kommune.example>",
        bed.clock().now() - SignedDuration::from_hours(48),
        Some(SignedDuration::from_hours(24)),
    )?;
    let good = std::fs::read(bed.path("keys/teknik-miljoe.asc"))?;
    let fingerprint = bed.key("teknik-miljoe").fingerprint();
    let other = openpgp::Certificate::read(&expired, None)
        .map_err(|state| anyhow::anyhow!("{}", state.as_str()))?
        .fingerprint();
    std::fs::write(bed.path("keys/teknik-miljoe.asc"), &expired)?;
    bed.configure(&fingerprint, &other)?;
    let running = bed.run(&Service::ALL).await?;
    bed.post(&to_technical(1)).await?;
    bed.post(&to_social(2)).await?;

    // A receipt, the other department's mail, and the notice that this one's is held.
    let mails = bed.inbox.wait_for(3, DEADLINE).await?;
    assert_eq!(bed.mails_to("social@kommune.example").len(), 1);
    let held = bed.until_duty("department_mail", "held").await?;
    assert_eq!(held.reason.as_deref(), Some("expired"));
    let notice = mails.iter().find(|mail| mail.recipients == [DEPARTMENT]).map(reads);
    let notice = notice.expect("a notice");
    assert!(notice.contains("venter") && !notice.contains("hul i vejen"), "{notice}");
    let open = bed
        .submissions()
        .await?
        .into_iter()
        .find(|view| view.state == "open")
        .expect("one waits");
    assert!(!open.why.is_empty());
    let found = bed.files_with(&["Et stort hul i vejen"])?;
    assert!(found.is_empty(), "{found:?}");

    // A person records another certificate: what waited is composed and sent by itself.
    std::fs::write(bed.path("new.asc"), &good)?;
    kvit(
        &bed.config(),
        &["key", "add", "teknik-miljoe", &bed.path("new.asc").to_string_lossy()],
    )
    .await?;
    bed.until_deleted(2).await?;
    let mails = encrypted(bed.mails_to(DEPARTMENT));
    assert_eq!(mails.len(), 1);
    let text = opened(&mails[0], bed.key("teknik-miljoe"))?.text("text/plain");
    assert!(text.contains("Et stort hul i vejen ved kirken"), "{text}");
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_file_that_is_put_right_lets_its_mails_go() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let file = bed.path("keys/teknik-miljoe.asc");
    let good = std::fs::read(&file)?;
    std::fs::write(&file, "no certificate")?;
    let running = bed.run(&Service::ALL).await?;
    bed.post(&to_technical(1)).await?;
    let held = bed.until_duty("department_mail", "held").await?;
    assert_eq!(held.reason.as_deref(), Some("unreadable"));
    std::fs::write(&file, &good)?;
    bed.until_deleted(1).await?;
    assert_eq!(encrypted(bed.mails_to(DEPARTMENT)).len(), 1);
    running.stop().await
}

/// P1: of two certificates one is not enough, unless the department says so.
#[tokio::test(flavor = "multi_thread")]
async fn every_certificate_must_be_usable_or_any_as_the_department_says() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let (expired, _) = openpgp::generate(
        "to <to@kommune.example>",
        bed.clock().now() - SignedDuration::from_hours(48),
        Some(SignedDuration::from_hours(24)),
    )?;
    std::fs::write(bed.path("keys/to.asc"), &expired)?;
    let other = openpgp::Certificate::read(&expired, None)
        .map_err(|state| anyhow::anyhow!("{}", state.as_str()))?
        .fingerprint();
    let first = bed.key("teknik-miljoe").fingerprint();
    bed.configure(
        &format!("fingerprint = \"{first}\" }}]"),
        &format!("fingerprint = \"{first}\" }}, {{ file = \"keys/to.asc\", fingerprint = \"{other}\" }}]"),
    )?;
    let running = bed.run(&Service::ALL).await?;
    bed.post(&to_technical(31)).await?;
    let held = bed.until_duty("department_mail", "held").await?;
    assert_eq!(held.reason.as_deref(), Some("expired"));
    running.stop().await?;

    bed.configure("mail = \"teknik@", "require = \"any\"\nmail = \"teknik@")?;
    let running = bed.run(&Service::ALL).await?;
    bed.until_deleted(1).await?;
    let mails = encrypted(bed.mails_to(DEPARTMENT));
    assert_eq!(mails.len(), 1);
    opened(&mails[0], bed.key("teknik-miljoe"))?;
    running.stop().await
}

/// P1: the department held the certificate when the mail was made; what is encrypted to it harms nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_was_encrypted_still_goes_out_when_its_certificate_can_no_longer_be_used() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let intake = bed.run(&[Service::Intake]).await?;
    bed.post(&to_technical(21)).await?;
    bed.until_duty("department_mail", "ready").await?;
    intake.stop().await?;

    std::fs::write(bed.path("keys/teknik-miljoe.asc"), "no certificate")?;
    let running = bed.run(&Service::ALL).await?;
    bed.until_deleted(1).await?;
    let mails = bed.mails_to(DEPARTMENT);
    assert_eq!(mails.len(), 1);
    let text = opened(&mails[0], bed.key("teknik-miljoe"))?.text("text/plain");
    assert!(text.contains("Et stort hul i vejen"), "{text}");

    // The next one waits.
    bed.post(&to_technical(22)).await?;
    let held = bed.until_duty("department_mail", "held").await?;
    assert_eq!(held.reason.as_deref(), Some("unreadable"));
    running.stop().await
}

/// D2
#[tokio::test(flavor = "multi_thread")]
async fn files_whose_content_did_not_come_hold_the_submission_until_a_person_decides() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    bed.post(&Message::bytes(payload("001"))).await?;
    bed.until_duty("department_mail", "done").await?;
    bed.until_duty("receipt", "done").await?;
    let files = bed.until_duty("files", "held").await?;
    assert_eq!(files.reason.as_deref(), Some("files_missing"));
    assert_eq!(bed.only_submission().await?.state, "open");
    let text = opened(&bed.mails_to(DEPARTMENT)[0], bed.key("teknik-miljoe"))?.text("text/plain");
    assert!(text.contains("BILAG MANGLER"), "{text}");

    kvit(
        &bed.config(),
        &["duty", "discard", &files.id, "--why", "billedet er set på stedet"],
    )
    .await?;
    bed.until_deleted(1).await?;
    let duty = bed.until_duty("files", "cancelled").await?;
    assert_eq!(duty.reason.as_deref(), Some("operator"));
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_submission_with_its_files_discharges_what_waited_for_them() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    let mut without = report(&uuid_of(7), &json!({"billede": 7}));
    bed.post(&Message::json(&without)).await?;
    // Its mail is to be the first that comes.
    bed.until_duty("department_mail", "done").await?;
    bed.until_duty("files", "held").await?;
    let data = without["data"].take();
    let mut with = without;
    with.as_object_mut().expect("an object").remove("data");
    for (key, value) in data.as_object().into_iter().flatten() {
        with[key] = value.clone();
    }
    with["changed"] = json!(1_795_304_999);
    with["_billede"] = json!({"id": 7, "name": "hul.png", "uri": "private://hul.png", "mime": "image/png", "uuid": "x", "data": "aGVqIGhlag=="});
    bed.post(&Message::json(&with)).await?;
    let figures = bed.until_deleted(2).await?;
    assert_eq!(figures.accepted, 2);
    let mails = bed.mails_to(DEPARTMENT);
    let inner = opened(&mails[mails.len() - 1], bed.key("teknik-miljoe"))?;
    assert_eq!(inner.file("hul.png").expect("the file").content, b"hej hej");
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_sealed_to_intake_is_opened_and_an_unsealed_one_refused_where_seals_are_required()
-> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    bed.configure("require_sealed = false", "require_sealed = true")?;
    let running = bed.run(&Service::ALL).await?;
    let seal = |certificate| {
        openpgp::encrypt(
            report(&uuid_of(8), &json!({})).to_string().as_bytes(),
            &Sealing {
                recipients: &[certificate],
                signer: None,
                rfc9580: false,
                now: bed.clock().now(),
            },
        )
    };
    let sealed = seal(bed.intake_certificate().clone())?;
    bed.post(&Message::bytes(sealed.clone()).typed("application/pgp-encrypted"))
        .await?;
    let foreign = seal(bed.key("social").certificate())?;
    bed.post(&Message::bytes(foreign).typed("application/pgp-encrypted"))
        .await?;
    bed.post(&to_technical(9)).await?;
    bed.post(&Message::bytes(sealed)).await?;

    bed.until_deleted(4).await?;
    let reasons: Vec<_> = bed.quarantine().await?.into_iter().map(|row| row.reason).collect();
    assert_eq!(reasons, ["undecryptable", "not_sealed", "not_sealed"]);
    assert_eq!(bed.mails_to(DEPARTMENT).len(), 1);
    running.stop().await
}

fn of_a_new_form(n: u32) -> Message {
    let mut body: Value = report(&uuid_of(n), &json!({}));
    body["webform_id"] = json!("ny_formular");
    Message::json(&body)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_aside_is_taken_when_its_form_is_known_or_given_up_by_a_person() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let running = bed.run(&Service::ALL).await?;
    bed.post(&of_a_new_form(11)).await?;
    bed.post(&of_a_new_form(12)).await?;
    bed.post(&Message::bytes("{")).await?;
    let config = bed.config();
    let found = kvit(&config, &["quarantine", "list", "--reason", "unknown_form"]).await?;
    let ids: Vec<String> = found
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|row| row["id"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(ids.len(), 2);
    let counted = kvit(
        &config,
        &["quarantine", "retry", "--reason", "unknown_form", "--dry-run"],
    )
    .await?;
    assert_eq!(counted["matched"], 2);
    let again = kvit(&config, &["quarantine", "retry", &ids[0]]).await?;
    assert_eq!(again["results"][0]["outcome"], "refused again: unknown_form");
    running.stop().await?;

    let form = std::fs::read_to_string(bed.path("forms/anmeldelse_teknik_miljoe.toml"))?;
    bed.add_form(
        "ny_formular",
        &form.replacen("anmeldelse_teknik_miljoe", "ny_formular", 1),
    )?;
    let running = bed.run(&Service::ALL).await?;
    let taken = kvit(&config, &["quarantine", "retry", &ids[0]]).await?;
    assert_eq!(taken["results"][0]["outcome"], "accepted");
    let figures = bed.until_deleted(3).await?;
    assert_eq!((figures.accepted, figures.quarantined), (1, 2));
    assert_eq!(bed.mails_to(DEPARTMENT).len(), 1);

    let (code, _) = kvit_tests::kvit_fails(&config, &["quarantine", "discard", &ids[1], "--why", " "]).await?;
    assert_eq!(code, 64);
    kvit(&config, &["quarantine", "discard", &ids[1], "--why", "prøve"]).await?;
    let shown = kvit(&config, &["quarantine", "show", &ids[1]]).await?;
    assert_eq!((&shown["state"], &shown["why"]), (&json!("discarded"), &json!("prøve")));
    assert_eq!(bed.figures().await?.quarantined, 2);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_department_is_told_of_a_message_in_quarantine_without_its_content() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let form = std::fs::read_to_string(bed.path("forms/anmeldelse_teknik_miljoe.toml"))?;
    bed.add_form(
        "anmeldelse_teknik_miljoe",
        &form.replacen("legal_basis", "strict = true\nlegal_basis", 1),
    )?;
    let running = bed.run(&[Service::Intake, Service::Mailer]).await?;
    bed.post(&Message::json(&report(&uuid_of(13), &json!({"navn": ""}))))
        .await?;
    let found = bed.quarantine().await?;
    assert_eq!(
        (found[0].reason.as_str(), found[0].department.as_deref()),
        ("missing_field", Some("teknik-miljoe"))
    );

    let scheduler = bed.run(&[Service::Scheduler]).await?;
    let mails = bed.inbox.wait_for(1, DEADLINE).await?;
    let notice = reads(&mails[0]);
    assert_eq!(mails[0].recipients, [DEPARTMENT]);
    assert!(notice.contains(&found[0].id), "{notice}");
    for answer in ["Et stort hul", "aase@borger.example", "hul_i_vej"] {
        assert!(!notice.contains(answer), "{answer}");
    }
    scheduler.stop().await?;
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_message_is_mailed_as_a_test_and_counted_apart() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    bed.configure(
        "require_sealed = false",
        "require_sealed = false\ntest_mail = \"proeve@kommune.example\"",
    )?;
    let running = bed.run(&Service::ALL).await?;
    bed.publish(&to_technical(14).with("x-kvit-test", "1")).await?;
    let mails = bed.inbox.wait_for(2, DEADLINE).await?;
    until("the test is deleted", async || {
        let figures = bed.ledger.figures(true, bed.clock().now()).await?;
        Ok((figures.deleted == 1).then_some(()))
    })
    .await?;
    assert_eq!(bed.figures().await?.arrived, 0);
    for mail in &mails {
        assert_eq!(mail.recipients, ["proeve@kommune.example"]);
        assert!(
            kvit_tests::Entity::read(&mail.data)
                .header("subject")
                .starts_with("TEST")
        );
    }
    running.stop().await
}

/// The recovery key, kept offline, opens what went out, too.
#[tokio::test(flavor = "multi_thread")]
async fn the_recovery_key_opens_the_departments_mail() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let (certificate, secret) = openpgp::generate("recovery <recovery@kommune.example>", bed.clock().now(), None)?;
    let key = UnsealKey::read(&secret)?;
    std::fs::write(bed.path("keys/recovery.asc"), certificate)?;
    let section = format!(
        "[recovery]\ncertificate = {{ file = \"keys/recovery.asc\", fingerprint = \"{}\" }}\n[smtp]",
        key.fingerprint()
    );
    bed.configure("[smtp]", &section)?;
    let running = bed.run(&Service::ALL).await?;
    bed.post(&to_technical(15)).await?;
    bed.until_deleted(1).await?;
    let mails = bed.mails_to(DEPARTMENT);
    opened(&mails[0], &key)?;
    opened(&mails[0], bed.key("teknik-miljoe"))?;
    running.stop().await
}
