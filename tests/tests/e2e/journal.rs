//! The journal: what belongs to a case goes into it, and is found, while the submission is deleted on time.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
pub(crate) use kvit_tests::{CASE, CPR, application};
use kvit_tests::{TestBed, kvit, kvit_reads, until};
use serde_json::{Value, json};

/// Waits until the journal has so many entries, and gives them.
pub(crate) async fn entries(bed: &TestBed, count: usize) -> anyhow::Result<Vec<Value>> {
    until("the journal has its entries", async || {
        let found = kvit(&bed.config(), &["journal", "list"]).await?;
        let found = found.as_array().cloned().unwrap_or_default();
        Ok((found.len() >= count).then_some(found))
    })
    .await
}

/// Validates a bag with the Python library that archives use.
pub(crate) fn validate(bag: &Path) -> anyhow::Result<()> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/bagit/bin/python");
    let done = Command::new(python)
        .args(["-m", "bagit", "--validate"])
        .arg(bag)
        .output()
        .context("no bagit: run scripts/bagit-tool")?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// J1, J2, J3, J5, D1: the entry holds what § 15 wants, is found by its party, and its copy goes with the acknowledgement;
/// no number stands anywhere in the clear.
#[tokio::test(flavor = "multi_thread")]
async fn a_submission_that_belongs_to_a_case_is_journalised_and_deleted() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    bed.add_form("ansoegning", CASE)?;
    let running = bed.run(&kvit_tests::Service::ALL).await?;
    bed.post(&application(1, "Jeg har brug for hjælp")).await?;
    bed.until_deleted(1).await?;
    let found = entries(&bed, 1).await?;
    let entry = &found[0];
    let submission = bed.only_submission().await?;
    assert_eq!(entry["id"], submission.id);
    assert_eq!(entry["reference"].as_str(), submission.reference.as_deref());
    assert_eq!(entry["theme"], "Ansøgning om hjælp i hjemmet");
    assert_eq!((&entry["channel"], &entry["kle"]), (&json!("form"), &json!("27.36.04")));
    assert_eq!((&entry["state"], &entry["versions"]), (&json!("active"), &json!(1)));
    assert_eq!(entry["received_at"], json!(submission.received_at));

    // Its copy is gone with the acknowledgement: payload and key.
    let owner = submission.id.parse()?;
    until("the journal's copy and its key are gone", async || {
        let without = bed.ledger.without_journal_copy(vec![owner]).await?;
        Ok((!without.is_empty() && bed.data_keys().await? == 0).then_some(()))
    })
    .await?;

    let by_party = kvit_reads(&bed.config(), &["journal", "list", "--party"], "0101901234").await?;
    assert_eq!(by_party.as_array().map(Vec::len), Some(1));
    assert_eq!(by_party[0]["id"], submission.id);
    let by_another = kvit_reads(&bed.config(), &["journal", "list", "--party"], "0101901235").await?;
    assert_eq!(by_another, json!([]));

    let shown = kvit(&bed.config(), &["journal", "show", &submission.id]).await?;
    let events: Vec<_> = shown["evidence"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|leaf| leaf["event"].clone())
        .collect();
    for event in [
        "accepted",
        "department_mail_done",
        "journal_done",
        "journal_written",
        "deleted",
    ] {
        assert!(events.contains(&json!(event)), "{event}: {events:?}");
    }
    let clear = bed.files_with(&["0101901234", CPR, "Jeg har brug for", "Åse", "laegebrev"])?;
    assert!(clear.is_empty(), "{clear:?}");
    running.stop().await
}

/// J1, G6: an exported bag is valid for others, holds what was sent and what people read, and names no file by a person.
#[tokio::test(flavor = "multi_thread")]
async fn an_exported_entry_is_a_valid_bag() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    bed.add_form("ansoegning", CASE)?;
    let running = bed.run(&kvit_tests::Service::ALL).await?;
    bed.post(&application(1, "Jeg har brug for hjælp")).await?;
    let entry = entries(&bed, 1).await?[0]["id"].as_str().context("an id")?.to_owned();
    kvit_reads(&bed.config(), &["journal", "annotate", &entry], "Borgeren er uenig.").await?;
    let out = bed.path("ud");
    let done = kvit(
        &bed.config(),
        &["journal", "export", &entry, "--out", &out.to_string_lossy()],
    )
    .await?;
    assert_eq!(done["bags"], json!([entry]));
    let bag = out.join(&entry);
    validate(&bag)?;

    let text = |path: &str| std::fs::read_to_string(bag.join(path)).with_context(|| path.to_owned());
    assert!(text("data/1/indsendelse.html")?.contains("Jeg har brug for hjælp"));
    let answers: Value = serde_json::from_str(&text("data/1/indsendelse.json")?)?;
    assert_eq!(answers["besked"], "Jeg har brug for hjælp");
    assert_eq!(std::fs::read(bag.join("data/1/bilag-1.pdf"))?, b"hej hej");
    assert!(text("metadata/1/premis.xml")?.contains("laegebrev.pdf"));
    assert!(text("metadata/1/dublin-core.xml")?.contains("Ansøgning om hjælp i hjemmet"));
    assert!(text("metadata/premis.xml")?.contains("journal_written"));
    assert!(text("data/annotations.json")?.contains("Borgeren er uenig."));
    running.stop().await
}

/// G6: nothing is opened where no journaliser runs, and the command says so.
#[tokio::test(flavor = "multi_thread")]
async fn what_needs_the_journals_key_says_that_no_journaliser_runs() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    bed.run(&[kvit_tests::Service::Journaliser]).await?.stop().await?;
    let out = bed.path("ud");
    let arguments = ["journal", "export", "K-0000-0000", "--out", &out.to_string_lossy()];
    let (code, _) = kvit_tests::kvit_fails(&bed.config(), &arguments).await?;
    assert_eq!(code, 65, "no such entry");
    let party = kvit_reads(&bed.config(), &["journal", "list", "--party"], "0101901234").await;
    let said = format!("{:#}", party.err().context("it must fail")?);
    assert!(said.contains("no journaliser service runs"), "{said}");
    Ok(())
}
