//! Journals outside Kvit: a real `WebDAV` server, the mail gateway's inbox, and a double of `GetOrganized`.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use kvit_tests::apache::Apache;
use kvit_tests::{Service, TestBed, kvit, opened, until};
use openpgp::UnsealKey;
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::journal::{CASE, CPR, application, validate};

/// A bed whose form is journalised in one outside journal.
async fn bed_with(target: &str) -> anyhow::Result<TestBed> {
    let bed = TestBed::prepare().await?;
    let section = format!(
        "[journal_targets.ude]\nprocessor_agreement = \"sag 2026-1\"\ndisclosure_ground = \"gdpr-6-1-e\"\n{target}\n[scheduler]"
    );
    bed.configure("[scheduler]", &section)?;
    bed.add_form("ansoegning", &CASE.replace("theme =", "target = \"ude\"\ntheme ="))?;
    Ok(bed)
}

async fn filed(bed: &TestBed) -> anyhow::Result<Value> {
    until("the outside journal has it", async || {
        let Some(first) = bed.submissions().await?.into_iter().next() else {
            return Ok(None);
        };
        let filings = bed.ledger.journal_filings(first.id).await?;
        Ok(filings.into_iter().next().map(|filing| json!(filing)))
    })
    .await
}

/// J4: the bag's files lie in a collection of their case, whole, and the copy is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_webdav_server_gets_the_bag() -> anyhow::Result<()> {
    let mut server = Apache::start().await?;
    let bed = bed_with(&format!("kind = \"webdav\"\nurl = \"{}\"", server.url())).await?;
    server.stop()?;
    let running = bed.run_unready(&Service::ALL)?;
    bed.post(&application(1, "Jeg har brug for hjælp")).await?;
    // The submission is deleted on time whether the journal can be reached or not.
    bed.until_deleted(1).await?;
    running.until_down("journal ude").await?;
    assert_eq!(bed.until_duty("journal", "ready").await?.role, "ude");

    server.begin().await?;
    let filing = filed(&bed).await?;
    let submission = bed.only_submission().await?;
    let reference = submission.reference.context("a reference")?;
    assert_eq!(filing["reference"], format!("{reference}/{}", submission.id));
    let bag = server.root().join(&reference).join(&submission.id);
    validate(&bag)?;
    assert!(std::fs::read_to_string(bag.join("data/indsendelse.html"))?.contains("Jeg har brug for hjælp"));
    until("the copy's key is gone", async || {
        Ok((bed.data_keys().await? == 0).then_some(()))
    })
    .await?;
    running.stop().await
}

/// J4: an upload that was cut off is gone on with, and a whole one is recognised.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_cut_off_is_gone_on_with() -> anyhow::Result<()> {
    let server = Apache::start().await?;
    let bed = bed_with(&format!("kind = \"webdav\"\nurl = \"{}\"", server.url())).await?;
    let running = bed.run(&[Service::Intake, Service::Mailer, Service::Scheduler]).await?;
    bed.post(&application(1, "Jeg har brug for hjælp")).await?;
    bed.until_deleted(1).await?;
    let submission = bed.only_submission().await?;
    let reference = submission.reference.context("a reference")?;
    let bag = server.root().join(&reference).join(&submission.id);
    // What an attempt left behind: a folder, and a file that was cut short.
    std::fs::create_dir_all(bag.join("data"))?;
    std::fs::write(bag.join("data/indsendelse.html"), "<!DOCTYPE")?;
    open_to_all(&server.root())?;
    let journaliser = bed.run(&[Service::Journaliser]).await?;
    filed(&bed).await?;
    validate(&bag)?;
    journaliser.stop().await?;
    running.stop().await
}

fn open_to_all(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777))?;
    if folder.is_dir() {
        for entry in std::fs::read_dir(folder)? {
            open_to_all(&entry?.path())?;
        }
    }
    Ok(())
}

/// J4: the gateway gets its XML, and nobody else can read it.
#[tokio::test(flavor = "multi_thread")]
async fn the_mail_gateway_gets_its_xml_encrypted() -> anyhow::Result<()> {
    let (certificate, secret) = openpgp::generate("sbsys <sbsys@kommune.example>", kvit_tests_now(), None)?;
    let key = UnsealKey::read(&secret)?;
    let target = format!(
        "kind = \"sbsys_mail\"\nmail = \"sbsys@kommune.example\"\ncase_template = \"17\"\n\
         certificate = {{ file = \"keys/sbsys.asc\", fingerprint = \"{}\" }}",
        key.fingerprint()
    );
    let bed = bed_with(&target).await?;
    std::fs::write(bed.path("keys/sbsys.asc"), certificate)?;
    let running = bed.run(&Service::ALL).await?;
    bed.post(&application(1, "Jeg har brug for hjælp")).await?;
    let filing = filed(&bed).await?;
    let mails = bed.mails_to("sbsys@kommune.example");
    assert_eq!(mails.len(), 1);
    let inner = opened(&mails[0], &key)?;
    let xml = inner.file("os2forms.xml").context("os2forms.xml")?;
    let xml = String::from_utf8(xml.content.clone())?;
    for part in [
        "<os2formsFormular>",
        "<OS2FormsId>ansoegning</OS2FormsId>",
        "<PrimaerPartCprNummer>0101901234</PrimaerPartCprNummer>",
        "<KLe>27.36.04</KLe>",
        "<SagSkabelonId>17</SagSkabelonId>",
        "Jeg har brug for hjælp",
    ] {
        assert!(xml.contains(part), "{part}: {xml}");
    }
    let outside = String::from_utf8_lossy(&mails[0].data).into_owned();
    for part in ["0101901234", CPR, "os2forms"] {
        assert!(!outside.contains(part), "{part}");
    }
    let id = bed.only_submission().await?.id.replace('-', "");
    assert_eq!(filing["reference"], format!("journal.{id}@kommune.example"));
    running.stop().await
}

fn kvit_tests_now() -> jiff::Timestamp {
    runtime::Clock::system().now()
}

/// The steps of a double that does what it is asked.
async fn go_takes_everything(server: &MockServer) {
    for (step, answer) in [
        ("/_goapi/Cases/FindByCaseProperties", json!({"CasesInfo": []})),
        ("/_goapi/Cases/", json!({"CaseID": "GEO-2026-000017"})),
        ("/_goapi/Documents/AddToDocumentLibrary", json!({"DocId": 4711})),
        ("/_goapi/Documents/Finalize/ByDocumentId", json!({})),
    ] {
        let mock = Mock::given(method("POST")).and(path(step));
        mock.respond_with(ResponseTemplate::new(200).set_body_json(answer))
            .mount(server)
            .await;
    }
}

/// Answers a step with this, so many times, before anything else does.
async fn go_first(server: &MockServer, step: &str, times: u64, answer: ResponseTemplate) {
    let mock = Mock::given(method("POST")).and(path(step));
    mock.respond_with(answer)
        .up_to_n_times(times)
        .with_priority(1)
        .mount(server)
        .await;
}

async fn go_requests(server: &MockServer, step: &str) -> Vec<Value> {
    let all = server.received_requests().await.unwrap_or_default();
    let those = all.iter().filter(|request| request.url.path() == step);
    those
        .filter_map(|request| serde_json::from_slice(&request.body).ok())
        .collect()
}

fn go_target(server: &MockServer) -> String {
    let url = server.uri().replace("http://", "http://kvit:hemmelig@");
    format!("kind = \"get_organized\"\nurl = \"{url}\"\ncase_type = \"GEO\"\ntimeout = \"PT0.5S\"")
}

/// J4: a case is opened, each document added and finalised; the shapes are those of the interface.
#[tokio::test(flavor = "multi_thread")]
async fn get_organized_gets_a_case_with_finalised_documents() -> anyhow::Result<()> {
    let server = MockServer::start().await;
    go_takes_everything(&server).await;
    let bed = bed_with(&go_target(&server)).await?;
    let running = bed.run(&Service::ALL).await?;
    bed.post(&application(1, "Jeg har brug for hjælp")).await?;
    assert_eq!(filed(&bed).await?["reference"], "GEO-2026-000017");
    let added = go_requests(&server, "/_goapi/Documents/AddToDocumentLibrary").await;
    assert_eq!(added.len(), 3, "the document, the answers, the attachment");
    assert!(added[0]["Bytes"][0].is_u64() && added[0]["CaseId"] == "GEO-2026-000017");
    assert!(
        added[0]["Metadata"]
            .as_str()
            .is_some_and(|row| row.starts_with("<z:row xmlns:z="))
    );
    let attachment: Vec<u8> = serde_json::from_value(added[2]["Bytes"].clone())?;
    assert_eq!(attachment, b"hej hej");
    let finalised = go_requests(&server, "/_goapi/Documents/Finalize/ByDocumentId").await;
    assert_eq!(finalised, vec![json!({"DocId": 4711}); 3]);
    let names: Vec<_> = added.iter().map(|document| document["FileName"].to_string()).collect();
    assert!(names.iter().all(|name| !name.contains("0101901234")), "{names:?}");
    running.stop().await
}

/// J4: a sequence that was cut off at any step goes on where it was: nothing is opened or added twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_half_done_sequence_goes_on_where_it_was() -> anyhow::Result<()> {
    let server = MockServer::start().await;
    go_takes_everything(&server).await;
    let slow = || ResponseTemplate::new(200).set_delay(Duration::from_secs(5));
    go_first(&server, "/_goapi/Cases/", 1, ResponseTemplate::new(500)).await;
    go_first(
        &server,
        "/_goapi/Documents/AddToDocumentLibrary",
        1,
        ResponseTemplate::new(429),
    )
    .await;
    go_first(
        &server,
        "/_goapi/Documents/Finalize/ByDocumentId",
        1,
        ResponseTemplate::new(503),
    )
    .await;
    go_first(&server, "/_goapi/Documents/Finalize/ByDocumentId", 1, slow()).await;
    let bed = bed_with(&go_target(&server)).await?;
    let running = bed.run(&Service::ALL).await?;
    bed.post(&application(1, "Jeg har brug for hjælp")).await?;
    filed(&bed).await?;
    // Each failed once, and what had been done was not done again.
    assert_eq!(go_requests(&server, "/_goapi/Cases/").await.len(), 2);
    assert_eq!(
        go_requests(&server, "/_goapi/Documents/AddToDocumentLibrary")
            .await
            .len(),
        4
    );
    assert_eq!(
        go_requests(&server, "/_goapi/Documents/Finalize/ByDocumentId")
            .await
            .len(),
        5
    );
    running.stop().await
}

/// An HTTP error is never success; what refuses the credentials holds what is for it, says so, and goes on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_hold_what_is_for_the_journal_until_they_are_taken() -> anyhow::Result<()> {
    let server = MockServer::start().await;
    let bed = bed_with(&go_target(&server)).await?;
    let refuse = Mock::given(method("POST")).respond_with(ResponseTemplate::new(401));
    let refusing = refuse.with_priority(1).mount_as_scoped(&server).await;
    let running = bed.run_unready(&Service::ALL)?;
    bed.post(&application(1, "Jeg har brug for hjælp")).await?;
    bed.until_deleted(1).await?;
    let held = bed.until_duty("journal", "held").await?;
    assert_eq!(held.reason.as_deref(), Some("http_401"));
    let words = running.until_down("journal ude").await?;
    assert!(words.contains("it refuses the credentials (401)"), "{words}");
    drop(refusing);
    go_takes_everything(&server).await;
    filed(&bed).await?;
    running.stop().await
}

/// J4: several journals at once, and what failed in one goes to another by an operator's word.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_journal_refuses_goes_to_another() -> anyhow::Result<()> {
    let server = MockServer::start().await;
    go_takes_everything(&server).await;
    go_first(&server, "/_goapi/Cases/", 100, ResponseTemplate::new(400)).await;
    let bed = bed_with(&go_target(&server)).await?;
    bed.add_form(
        "ansoegning",
        &CASE.replace("theme =", "target = [\"embedded\", \"ude\"]\ntheme ="),
    )?;
    let running = bed.run(&Service::ALL).await?;
    bed.post(&application(1, "Jeg har brug for hjælp")).await?;
    crate::journal::entries(&bed, 1).await?;
    let held = bed.until_duty("journal", "held").await?;
    assert_eq!((held.role.as_str(), held.reason.as_deref()), ("ude", Some("http_400")));
    assert!(bed.data_keys().await? > 0, "the copy for the other journal is kept");
    let moved = kvit(&bed.config(), &["journal", "retarget", "ude", "embedded"]).await?;
    assert_eq!(moved["moved"], 1);
    until("no copy is left", async || {
        Ok((bed.data_keys().await? == 0).then_some(()))
    })
    .await?;
    assert_eq!(crate::journal::entries(&bed, 1).await?.len(), 1, "the same entry, once");
    running.stop().await
}

/// P12, G5, G6: what says too little, or would go in plaintext, does not start.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_says_too_little_is_refused() -> anyhow::Result<()> {
    for (target, words) in [
        (
            "kind = \"webdav\"\nurl = \"http://esdh.example/\"",
            "plaintext to another machine",
        ),
        ("kind = \"webdav\"", "needs `url`"),
        (
            "kind = \"sbsys_mail\"\nmail = \"sbsys@kommune.example\"",
            "it would be sent in plaintext",
        ),
        (
            "kind = \"get_organized\"\nurl = \"https://go.example/\"",
            "needs `case_type`",
        ),
    ] {
        let bed = bed_with(target).await?;
        let (code, said) = kvit_tests::kvit_fails(&bed.config(), &["status"]).await?;
        assert_eq!(code, 78, "{target}");
        assert!(said.contains(words), "{target}: {said}");
    }
    let bed = bed_with("kind = \"webdav\"\nurl = \"http://127.0.0.1:1/\"").await?;
    bed.configure("gdpr-6-1-e", "")?;
    let (_, said) = kvit_tests::kvit_fails(&bed.config(), &["status"]).await?;
    assert!(said.contains("ground for the disclosure"), "{said}");
    Ok(())
}
