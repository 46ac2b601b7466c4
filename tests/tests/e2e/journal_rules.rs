//! What makes an entry, and what ends one: the form's rule, the theme, the period.

use anyhow::Context as _;
use kvit_tests::{Service, TestBed, kvit, kvit_reads, until};
use serde_json::{Value, json};

use crate::journal::{CASE, CPR, application, entries};
use crate::journal_life::walk;

/// J2: what says not what it is about is not journalised: it is held with its reason, its copy kept and its submission
/// deleted on time; with a theme it goes, and says when it was received.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_theme_there_is_no_entry() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let theme = "theme = { da = \"Ansøgning om hjælp i hjemmet\" }\n";
    assert!(CASE.contains(theme));
    bed.add_form("ansoegning", &CASE.replace(theme, ""))?;
    let warned = kvit(&bed.config(), &["check"]).await?.to_string();
    assert!(warned.contains("journal.theme"), "{warned}");
    let running = bed.run(&Service::ALL).await?;
    bed.post(&application(1, "Jeg har brug for hjælp")).await?;
    bed.until_deleted(1).await?;
    let held = bed.until_duty("journal", "held").await?;
    assert_eq!(held.reason.as_deref(), Some("theme_missing"));
    assert_eq!(kvit(&bed.config(), &["journal", "list"]).await?, json!([]));
    assert!(bed.data_keys().await? > 0, "its copy is kept");
    running.stop().await?;

    bed.add_form("ansoegning", CASE)?;
    let running = bed.run(&Service::ALL).await?;
    kvit(&bed.config(), &["duty", "retry", &held.id]).await?;
    let entry = entries(&bed, 1).await?.remove(0);
    let submission = bed.only_submission().await?;
    assert_eq!(entry["theme"], "Ansøgning om hjælp i hjemmet");
    assert_eq!(entry["received_at"], json!(submission.received_at));
    running.stop().await
}

/// J1: the form's rule decides by a field's value; what it does not name leaves no copy, no duty and no key.
#[tokio::test(flavor = "multi_thread")]
async fn a_fields_value_decides_what_belongs_to_a_case() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let by_field = CASE.replace("when = \"always\"", "when = { field = \"besked\", equals = \"sag\" }");
    bed.add_form("ansoegning", &by_field)?;
    let running = bed.run(&Service::ALL).await?;
    bed.post(&application(1, "ikke en sag")).await?;
    bed.until_deleted(1).await?;
    let duties = bed.duties().await?;
    assert!(duties.iter().all(|duty| duty.kind != "journal"), "{duties:?}");
    assert_eq!(bed.data_keys().await?, 0);
    bed.post(&application(2, "sag")).await?;
    bed.until_deleted(2).await?;
    let found = entries(&bed, 1).await?;
    let submissions = bed.submissions().await?;
    assert_eq!((found.len(), &found[0]["id"]), (1, &json!(submissions[1].id)));
    running.stop().await
}

fn in_list<'v>(foreseen: &'v Value, list: &str) -> Vec<&'v Value> {
    let listed = foreseen["journal"][list].as_array();
    listed.into_iter().flatten().collect()
}

/// D4, D7: an entry whose period is over is foreseen by the dry run and ended by the purge: its file, its parties and its
/// key are gone, and what is left says when and why.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_no_archive_wants_ends_with_its_period() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    bed.add_form("ansoegning", &CASE.replace("P5Y", "PT1S"))?;
    let running = bed.run(&Service::ALL).await?;
    bed.post(&application(1, "Jeg har brug for hjælp")).await?;
    let entry = entries(&bed, 1).await?.remove(0);
    let id = entry["id"].as_str().context("an id")?.to_owned();
    let config = bed.config();
    let foresee = async || kvit(&config, &["schedule", "run", "purge", "--dry-run"]).await;
    kvit(&config, &["schedule", "run", "purge"]).await?;
    let foreseen = foresee().await?;
    assert!(in_list(&foreseen, "goes").is_empty(), "its case is open: {foreseen}");

    let number = entry["case"].as_str().context("a case")?;
    kvit(&config, &["journal", "close-case", number]).await?;
    let foreseen = until("its period is over", async || {
        let foreseen = foresee().await?;
        Ok((!in_list(&foreseen, "goes").is_empty()).then_some(foreseen))
    })
    .await?;
    let goes = in_list(&foreseen, "goes");
    assert_eq!((goes.len(), &goes[0]["id"]), (1, &json!(id)));
    assert!(
        goes[0]["why"]
            .as_str()
            .is_some_and(|why| why.contains("its period is over")),
        "{foreseen}"
    );
    assert_eq!(
        walk(&bed.path("journal/entries"))?.len(),
        1,
        "a dry run removes nothing"
    );

    kvit(&config, &["schedule", "run", "purge"]).await?;
    let ended = until("its content is gone", async || {
        let shown = kvit(&config, &["journal", "show", &id]).await?;
        Ok((shown["state"] == "deleted").then_some(shown))
    })
    .await?;
    assert!(walk(&bed.path("journal/entries"))?.is_empty());
    let events: Vec<_> = ended["evidence"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|leaf| &leaf["event"])
        .collect();
    assert!(events.contains(&&json!("journal_deleted")), "{events:?}");
    let explained = kvit(&config, &["journal", "explain", &id]).await?;
    assert!(
        explained["why"]
            .as_str()
            .is_some_and(|why| why.contains("its period was over")),
        "{explained}"
    );
    let found = kvit_reads(&config, &["journal", "list", "--party"], CPR).await?;
    assert_eq!(found, json!([]), "its parties are gone");
    running.stop().await
}

/// D6: what an archive must have stays until it was acknowledged, and the dry run says so.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_to_be_preserved_stays_until_the_archive_has_it() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let preserved = CASE.replace("\"discard\"", "\"preserve\"").replace("P5Y", "PT1S");
    bed.add_form("ansoegning", &preserved)?;
    let running = bed.run(&Service::ALL).await?;
    bed.post(&application(1, "Jeg har brug for hjælp")).await?;
    let entry = entries(&bed, 1).await?.remove(0);
    let config = bed.config();
    kvit(
        &config,
        &["journal", "close-case", entry["case"].as_str().context("a case")?],
    )
    .await?;
    let why = async || {
        let foreseen = kvit(&config, &["schedule", "run", "purge", "--dry-run"]).await?;
        anyhow::ensure!(in_list(&foreseen, "goes").is_empty(), "{foreseen}");
        let stays = in_list(&foreseen, "stays");
        let why = stays.first().context("it stays")?["why"].as_str();
        anyhow::Ok(why.unwrap_or_default().to_owned())
    };
    until("its period is over", async || {
        Ok(why().await?.contains("no archive was given it").then_some(()))
    })
    .await?;
    let out = bed.path("arkiv");
    let package = kvit(&config, &["journal", "handover", "--out", &out.to_string_lossy()]).await?;
    assert!(why().await?.contains("has not acknowledged it"));
    kvit(&config, &["schedule", "run", "purge"]).await?;
    assert_eq!(walk(&bed.path("journal/entries"))?.len(), 1, "it stays");

    let package = package["package"].as_str().context("a package")?;
    kvit(&config, &["journal", "acknowledge", package]).await?;
    let foreseen = kvit(&config, &["schedule", "run", "purge", "--dry-run"]).await?;
    assert_eq!(
        (in_list(&foreseen, "goes").len(), in_list(&foreseen, "stays").len()),
        (1, 0)
    );
    running.stop().await
}
