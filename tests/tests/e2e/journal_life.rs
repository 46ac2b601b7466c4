//! The journal over time: marked, added, corrected, annotated, closed, explained, handed over.

use anyhow::Context as _;
use kvit_tests::{Message, Service, TestBed, kvit, kvit_fails, opened, reads, until};
use serde_json::{Value, json};

use crate::journal::{CASE, application, entries, validate};

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

/// J1: a person marks it while its copy waits, and names the case.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_marks_what_belongs_to_a_case() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let marked = CASE.replace("when = \"always\"", "when = \"marked\"\nwait = \"P14D\"");
    bed.add_form("ansoegning", &marked)?;
    let running = bed.run(&Service::ALL).await?;
    bed.post(&application(1, "Jeg har brug for hjælp")).await?;
    bed.until_deleted(1).await?;
    let submission = bed.only_submission().await?;
    let duty = bed.until_duty("journal", "held").await?;
    assert_eq!((duty.role.as_str(), duty.reason), ("embedded", None));
    assert_eq!(kvit(&bed.config(), &["journal", "list"]).await?, json!([]));

    let (code, _) = kvit_fails(
        &bed.config(),
        &["journal", "mark", &submission.id, "--case", "0101901234"],
    )
    .await?;
    assert_eq!(code, 64, "a case's number names no person");
    let mark = [
        "journal",
        "mark",
        &submission.id,
        "--case",
        "2026-017",
        "--title",
        "Hjemmehjælp",
    ];
    assert_eq!(kvit(&bed.config(), &mark).await?["news"], true);
    let entry = &entries(&bed, 1).await?[0];
    assert_eq!(
        (text(entry, "case"), text(entry, "case_title")),
        ("2026-017", "Hjemmehjælp")
    );
    assert_eq!(kvit(&bed.config(), &mark).await?["news"], false);
    running.stop().await
}

/// C1, C2, C3: a correction is added and the old version stays byte for byte; the department is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_correction_is_added_and_the_department_is_told() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    bed.add_form("ansoegning", CASE)?;
    let running = bed.run(&Service::ALL).await?;
    bed.post(&application(1, "Jeg har brug for hjælp")).await?;
    let entry = entries(&bed, 1).await?.remove(0);
    let shown = kvit(&bed.config(), &["journal", "show", text(&entry, "id")]).await?;
    let first = bed.path("journal").join(text(&shown["versions"][0], "file"));
    let before = std::fs::read(&first)?;

    std::fs::write(
        bed.path("rettet.json"),
        json!({"navn": "Åse Ærø", "cpr": "010190-1234", "besked": "Rettet"}).to_string(),
    )?;
    let file = bed.path("rettet.json");
    let corrected = kvit(
        &bed.config(),
        &["journal", "correct", text(&entry, "id"), &file.to_string_lossy()],
    )
    .await?;
    assert_eq!(
        (&corrected["version"], &corrected["told"]),
        (&json!(2), &json!("social"))
    );
    assert_eq!(std::fs::read(&first)?, before, "the old version stays");

    let told = until("the department is told", async || {
        let mails = bed.mails_to("social@kommune.example");
        Ok(mails
            .into_iter()
            .map(|mail| reads(&mail))
            .find(|text| text.contains("rettet i journalen")))
    })
    .await?;
    assert!(
        told.contains(text(&entry, "reference")) && !told.contains("Rettet\""),
        "{told}"
    );

    let out = bed.path("ud");
    kvit(
        &bed.config(),
        &["journal", "export", text(&entry, "id"), "--out", &out.to_string_lossy()],
    )
    .await?;
    let bag = out.join(text(&entry, "id"));
    validate(&bag)?;
    assert!(std::fs::read_to_string(bag.join("data/1/indsendelse.html"))?.contains("Jeg har brug for hjælp"));
    assert!(std::fs::read_to_string(bag.join("data/2/indsendelse.html"))?.contains("Rettet"));
    running.stop().await
}

/// J1: later, from the mail itself: what the caseworker saved is what was delivered, and another text is not.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_caseworker_saved_is_journalised_when_it_is_what_was_delivered() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let marked = CASE.replace("when = \"always\"", "when = \"marked\"\nwait = \"PT1S\"");
    bed.add_form("ansoegning", &marked)?;
    let running = bed.run(&Service::ALL).await?;
    bed.post(&application(1, "Jeg har brug for hjælp")).await?;
    bed.until_deleted(1).await?;
    until("nobody marked it in time", async || {
        kvit(&bed.config(), &["schedule", "run", "purge"]).await?;
        let duties = bed.duties().await?;
        Ok(duties
            .into_iter()
            .find(|duty| duty.kind == "journal" && duty.state == "cancelled"))
    })
    .await?;
    assert_eq!(
        bed.until_duty("journal", "cancelled").await?.reason.as_deref(),
        Some("unmarked")
    );
    assert_eq!(bed.data_keys().await?, 0, "the copy's key went with it");

    let reference = bed.only_submission().await?.reference.context("a reference")?;
    let mail = &bed.mails_to("social@kommune.example")[0];
    let inner = opened(mail, bed.key("social"))?;
    let saved = |name: &str| anyhow::Ok(inner.file(name).context("an attachment")?.content.clone());
    let (answers, file) = (bed.path("indsendelse.json"), bed.path("0101901234 laegebrev.pdf"));
    std::fs::write(&answers, saved("indsendelse.json")?)?;
    std::fs::write(&file, saved("0101901234 laegebrev.pdf")?)?;
    let (answers, file) = (
        answers.to_string_lossy().into_owned(),
        file.to_string_lossy().into_owned(),
    );

    let (code, _) = kvit_fails(&bed.config(), &["journal", "add", &reference, &answers]).await?;
    assert_eq!(code, 65, "its attachment is missing");
    let added = kvit(&bed.config(), &["journal", "add", &reference, &answers, &file]).await?;
    assert_eq!((&added["checked"], &added["news"]), (&json!(true), &json!(true)));
    let again = kvit(&bed.config(), &["journal", "add", &reference, &answers, &file]).await?;
    assert_eq!((&again["checked"], &again["news"]), (&json!(true), &json!(false)));
    let found = entries(&bed, 1).await?;
    assert_eq!((found.len(), text(&found[0], "channel")), (1, "mail"));

    let other = std::fs::read_to_string(&answers)?.replace("Jeg har brug for", "Jeg ønsker");
    std::fs::write(&answers, other)?;
    let (code, said) = kvit_fails(&bed.config(), &["journal", "add", &reference, &answers, &file]).await?;
    assert_eq!(code, 65);
    assert!(said.contains("not what was delivered"), "{said}");
    running.stop().await
}

/// D4, D6, D7: what is preserved is handed over and acknowledged, and what happens to it can be explained.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_case_is_handed_over_and_acknowledged() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let preserved = CASE
        .replace("archive = \"discard\"", "archive = \"preserve\"")
        .replace("P5Y", "PT1S");
    bed.add_form("ansoegning", &preserved)?;
    let running = bed.run(&Service::ALL).await?;
    bed.post(&application(1, "Jeg har brug for hjælp")).await?;
    let entry = entries(&bed, 1).await?.remove(0);
    let id = text(&entry, "id").to_owned();
    let config = bed.config();
    let why = async || anyhow::Ok(text(&kvit(&config, &["journal", "explain", &id]).await?, "why").to_owned());
    assert!(why().await?.contains("its case is open"));

    let closed = kvit(&config, &["journal", "close-case", text(&entry, "case")]).await?;
    assert_eq!((&closed["news"], &closed["entries"]), (&json!(true), &json!(1)));
    until("its period is over", async || {
        Ok(why().await?.contains("journal handover").then_some(()))
    })
    .await?;
    kvit(&config, &["schedule", "run", "purge"]).await?;
    assert_eq!(
        text(&kvit(&config, &["journal", "show", &id]).await?, "state"),
        "archived"
    );

    let out = bed.path("arkiv");
    let package = kvit(&config, &["journal", "handover", "--out", &out.to_string_lossy()]).await?;
    validate(&out.join(&id))?;
    assert!(why().await?.contains("not acknowledged"));
    kvit(&config, &["schedule", "run", "purge"]).await?;
    assert_eq!(
        text(&kvit(&config, &["journal", "show", &id]).await?, "state"),
        "archived"
    );

    kvit(&config, &["journal", "acknowledge", text(&package, "package")]).await?;
    kvit(&config, &["schedule", "run", "purge"]).await?;
    until("its content is gone", async || {
        let shown = kvit(&config, &["journal", "show", &id]).await?;
        Ok((text(&shown, "state") == "transferred").then_some(()))
    })
    .await?;
    assert!(why().await?.contains("the archive has it"));
    // J5, G1: each is an act of whoever ran the command.
    let acts = kvit(&config, &["act", "list"]).await?;
    for act in ["journal.close-case", "journal.handover", "journal.acknowledge"] {
        let acts = acts.as_array().into_iter().flatten();
        let by: Vec<_> = acts
            .filter(|one| one["event"] == act)
            .map(|one| text(one, "actor"))
            .collect();
        assert!(by.len() == 1 && by[0].starts_with("uid:"), "{act}: {by:?}");
    }
    let file = bed.path("journal/entries");
    let left = walk(&file)?;
    assert!(left.is_empty(), "{left:?}");
    running.stop().await
}

pub(crate) fn walk(folder: &std::path::Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(walk(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

/// C1: a citizen's own correction joins the entry of the same reference.
#[tokio::test(flavor = "multi_thread")]
async fn a_later_version_joins_the_entry() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    bed.add_form("ansoegning", CASE)?;
    let running = bed.run(&Service::ALL).await?;
    bed.post(&application(1, "Jeg har brug for hjælp")).await?;
    entries(&bed, 1).await?;
    let mut later: Value = serde_json::from_slice(&application(1, "Jeg har fået det bedre").body)?;
    later["changed"] = json!(1_795_304_999);
    bed.post(&Message::json(&later)).await?;
    let entry = until("the entry has two versions", async || {
        let found = kvit(&bed.config(), &["journal", "list"]).await?;
        Ok((found[0]["versions"] == json!(2)).then(|| found[0].clone()))
    })
    .await?;
    assert_eq!(
        kvit(&bed.config(), &["journal", "list"])
            .await?
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    assert_eq!(text(&entry, "state"), "active");
    running.stop().await
}
