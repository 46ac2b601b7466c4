//! A ledger that comes back from a backup: refused until it is up to its evidence, and nothing is sent or kept that was
//! sent or deleted since.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use kvit_cli::demo::inbox::{Behaviour, Times};
use kvit_tests::{Engine, Message, Peers, Service, TestBed, kvit, kvit_fails, program, report, until};
use ledger::Ledger;
use serde_json::json;

const DEPARTMENT: &str = "teknik@kommune.example";
/// What a cold backup copies, by the beginning of its name.
const STORES: [&str; 2] = ["kvit.db", "kvit-keys.db"];

fn citizen(number: u8) -> String {
    format!("borger{number}@borger.example")
}

pub(crate) fn message(number: u8) -> Message {
    let uuid = format!("5b5e4f3e-0000-4000-8000-00000000000{number}");
    Message::json(&report(
        &uuid,
        &json!({"e_mail": citizen(number), "beskrivelse": format!("Hul nummer {number}")}),
    ))
}

/// Lets mails to these wait, and takes those to all others, whatever was said before.
fn wait_with(bed: &TestBed, recipients: &[String]) {
    let wait = Behaviour::Refuse {
        recipients: recipients.to_vec(),
        code: 451,
        text: "4.7.1 later".to_owned(),
    };
    bed.inbox.behave(Behaviour::Accept, Times::All);
    bed.inbox.behave(wait, Times::All);
}

/// A bed whose stores can be copied as files.
pub(crate) async fn on_files() -> anyhow::Result<TestBed> {
    TestBed::prepare_with(&Peers {
        engine: Engine::Sqlite,
        ..Peers::default()
    })
    .await
}

pub(crate) fn copy_stores(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    let stores = |folder: &Path| -> anyhow::Result<Vec<_>> {
        let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name()));
        let names: Vec<_> = names.collect::<anyhow::Result<_>>()?;
        let is_store = |name: &str| STORES.iter().any(|store| name.starts_with(store));
        Ok(names
            .into_iter()
            .filter(|name| is_store(&name.to_string_lossy()))
            .collect())
    };
    for name in stores(to)? {
        fs::remove_file(to.join(name))?;
    }
    for name in stores(from)? {
        fs::copy(from.join(&name), to.join(&name))?;
    }
    Ok(())
}

pub(crate) async fn until_signed(bed: &TestBed) -> anyhow::Result<()> {
    until("the evidence is signed", async || {
        Ok((!bed.ledger.has_unsigned_leaves().await?).then_some(()))
    })
    .await
}

/// The exit status of a service that does not start, and what it says.
async fn refusal(bed: &TestBed, name: &str) -> anyhow::Result<(Option<i32>, String)> {
    let mut command = Command::new(program(name)?);
    command.arg("--config").arg(bed.config());
    let ended = tokio::task::spawn_blocking(move || command.output()).await??;
    Ok((ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned()))
}

/// A bed whose stores are those of a backup, with all that happened since in the evidence alone: 1 was deleted before the
/// backup; 2 and 3 waited. Since then 2 went, 3's department mail was taken and its receipt waits, 4 came and went, 5 came
/// and is not delivered.
async fn after_the_loss() -> anyhow::Result<TestBed> {
    let mut bed = on_files().await?;
    let running = bed.run(&Service::ALL).await?;
    bed.post(&message(1)).await?;
    bed.until_deleted(1).await?;
    wait_with(&bed, &[DEPARTMENT.to_owned(), citizen(2), citizen(3)]);
    bed.post(&message(2)).await?;
    bed.post(&message(3)).await?;
    until_signed(&bed).await?;
    running.stop().await?;
    copy_stores(&bed.path(""), &bed.path("backup"))?;

    wait_with(&bed, &[citizen(3), citizen(5)]);
    let running = bed.run(&Service::ALL).await?;
    bed.post(&message(4)).await?;
    bed.post(&message(5)).await?;
    let mut seen = String::new();
    let found = until("all but two are gone, and their departments have them", async || {
        let (figures, duties) = (bed.figures().await?, bed.duties().await?);
        seen = format!("{figures:?} {duties:?}");
        let sent = |duty: &&ledger::DutyRow| duty.kind == "department_mail" && duty.state == "done";
        Ok((figures.deleted == 3 && duties.iter().filter(sent).count() == 5).then_some(()))
    })
    .await;
    found.context(seen)?;
    until_signed(&bed).await?;
    running.stop().await?;
    copy_stores(&bed.path("backup"), &bed.path(""))?;
    let url = format!("sqlite:{}", bed.path("kvit.db").display());
    bed.ledger = Ledger::new(&url.parse()?);
    Ok(bed)
}

/// D1, D2, P2, G2: with the key store from the same backup, which is the worst case: every key is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_ledger_is_refused_and_then_brought_up_to_its_evidence() -> anyhow::Result<()> {
    let bed = after_the_loss().await?;
    for name in ["kvit-intake", "kvit-mailer", "kvit-scheduler"] {
        let (code, said) = refusal(&bed, name).await?;
        assert_eq!(code, Some(78), "{name}: {said}");
        assert!(said.contains("kvit restore"), "{name}: {said}");
    }
    let sent = bed.inbox.count();
    let ids: Vec<_> = bed.submissions().await?.into_iter().map(|one| one.id).collect();
    let second = ids.get(1).context("the second submission")?;

    let foreseen = kvit(&bed.config(), &["restore", "--dry-run"]).await?;
    assert_eq!(bed.figures().await?.deleted, 1, "a dry run changes nothing");
    let done = kvit(&bed.config(), &["restore"]).await?;
    assert_eq!(foreseen["leaves"], done["leaves"]);
    assert_eq!(done["deletions"], 1, "{done}");
    assert_eq!(done["doubtful"], 1, "the receipt that was not accepted: {done}");
    let lost = done["lost"].as_array().context("a list")?;
    assert_eq!(
        lost.len(),
        1,
        "the one that came after the backup and was not delivered: {done}"
    );
    let keys = vault::Vault::new(
        &format!("sqlite:{}", bed.path("kvit-keys.db").display()).parse()?,
        vault::WrappingKeys::default(),
    );
    let owners = keys.owners_since_before(bed.clock().now(), None, 100).await?;
    assert!(
        !owners.iter().any(|owner| owner.to_string() == *second),
        "its key is back"
    );
    let again = kvit(&bed.config(), &["restore"]).await?;
    assert_eq!(again["leaves"], 0);
    let acts = bed.ledger.acted(ledger::ActFilter::default(), 100).await?;
    let acts: Vec<_> = acts.iter().filter(|act| act.event == "restore").collect();
    assert!(acts.len() == 1 && acts[0].actor.starts_with("uid:"), "{acts:?}");

    bed.inbox.behave(Behaviour::Accept, Times::All);
    let running = bed.run(&Service::ALL).await?;
    let figures = bed.until_deleted(3).await?;
    assert_eq!((figures.accepted, figures.deleted), (3, 3));
    assert_eq!(figures.duplicates.possible_mail, 1);
    assert_eq!(bed.inbox.count(), sent + 1, "the third's receipt alone");
    assert_eq!(bed.mails_to(&citizen(3)).len(), 1);
    for number in [1, 2, 4] {
        assert_eq!(bed.mails_to(&citizen(number)).len(), 1, "{number}");
    }
    until_signed(&bed).await?;

    // The log goes on from what was signed before the loss, and proves the deletion that the backup did not have.
    let shown = kvit(&bed.config(), &["submission", "show", second]).await?;
    let certificate = bed.path("certificate.json");
    let certificate = certificate.to_str().context("a path")?;
    kvit(&bed.config(), &["evidence", "prove", second, "--out", certificate]).await?;
    let key = kvit(&bed.config(), &["evidence", "key"]).await?;
    let key = key[0].as_str().context("a key")?;
    let evidence = bed.path("evidence");
    let evidence = evidence.to_str().context("a path")?;
    kvit(&bed.config(), &["evidence", "verify", evidence, "--key", key]).await?;
    let proved = kvit(&bed.config(), &["evidence", "verify", certificate, "--key", key]).await?;
    assert_eq!(proved["deleted_at"], shown["deleted_at"]);

    // What was lost was never said to be delivered: the site sends it again, and it is new.
    bed.post(&message(5)).await?;
    bed.until_deleted(4).await?;
    running.stop().await
}

/// `kvit restore`, which dies at this point.
async fn dies(bed: &TestBed, point: &str) -> anyhow::Result<()> {
    let mut command = Command::new(program("kvit")?);
    command.args(["restore", "--config"]).arg(bed.config());
    command.env("KVIT_FAILPOINTS", format!("{point}=kill"));
    let ended = tokio::task::spawn_blocking(move || command.output()).await??;
    let said = String::from_utf8_lossy(&ended.stderr);
    anyhow::ensure!(ended.status.signal() == Some(9), "{point}: {} {said}", ended.status);
    Ok(())
}

/// D1, D2, P2: killed between any two of its effects and begun again, a restore comes to the same; no service starts
/// before it is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_killed_anywhere_is_run_again() -> anyhow::Result<()> {
    let bed = after_the_loss().await?;
    let sent = bed.inbox.count();
    for point in [
        "restore.replayed",
        "restore.keys_destroyed",
        "restore.recorded",
        "restore.doubted",
    ] {
        dies(&bed, point).await?;
        let (code, said) = refusal(&bed, "kvit-mailer").await?;
        assert_eq!(code, Some(78), "after {point}: {said}");
    }
    dies(&bed, "restore.adopted").await?;
    kvit(&bed.config(), &["restore"]).await?;
    assert_eq!(kvit(&bed.config(), &["restore"]).await?["leaves"], 0);

    bed.inbox.behave(Behaviour::Accept, Times::All);
    let running = bed.run(&Service::ALL).await?;
    let figures = bed.until_deleted(3).await?;
    assert_eq!((figures.accepted, figures.deleted), (3, 3));
    assert_eq!(figures.duplicates.possible_mail, 1);
    assert_eq!(bed.inbox.count(), sent + 1, "the third's receipt alone");
    until_signed(&bed).await?;
    let key = kvit(&bed.config(), &["evidence", "key"]).await?;
    let (key, folder) = (key[0].as_str().context("a key")?, bed.path("evidence"));
    kvit(
        &bed.config(),
        &["evidence", "verify", &folder.to_string_lossy(), "--key", key],
    )
    .await?;
    running.stop().await
}

/// An evidence folder that is itself an old copy, and a ledger of another installation, are no ground to restore on.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_on_an_older_or_another_evidence_changes_nothing() -> anyhow::Result<()> {
    let bed = on_files().await?;
    let running = bed.run(&Service::ALL).await?;
    bed.post(&message(1)).await?;
    bed.until_deleted(1).await?;
    until_signed(&bed).await?;
    let (code, said) = kvit_fails(&bed.config(), &["restore"]).await?;
    assert_eq!(code, 69, "services run: {said}");
    assert!(said.contains("stop every service"), "{said}");
    running.stop().await?;
    let year = fs::read_dir(bed.path("evidence"))?.next().context("a year")??.path();
    let earlier = bed.path("earlier");
    let copy = evidence::Log::at(&year).copy_to(&evidence::Log::at(&earlier))?;
    assert!(copy.is_some());

    let running = bed.run(&Service::ALL).await?;
    bed.post(&message(2)).await?;
    bed.until_deleted(2).await?;
    until_signed(&bed).await?;
    running.stop().await?;
    fs::remove_dir_all(&year)?;
    fs::rename(&earlier, &year)?;
    let (code, said) = kvit_fails(&bed.config(), &["restore"]).await?;
    assert_eq!(code, 65, "{said}");
    assert!(said.contains("older than what was signed"), "{said}");
    Ok(())
}
