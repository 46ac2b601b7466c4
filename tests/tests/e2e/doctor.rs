//! What `kvit doctor` finds on a machine where something is not as it should be: its disks and its evidence.

use std::fs;

use anyhow::Context as _;
use kvit_tests::tmpfs::Tmpfs;
use kvit_tests::{Service, TestBed, kvit_exits};
use serde_json::Value;

use crate::restore::{copy_stores, message, on_files, until_signed};

/// The exit status, and what it says of this check, which one probe alone is of.
async fn said(bed: &TestBed, check: &str, about: &str) -> anyhow::Result<(i32, Value)> {
    let (code, answer) = kvit_exits(&bed.config(), &["doctor"]).await?;
    let checks = answer["checks"].as_array().context("checks")?;
    let of_check = |probe: &&Value| {
        let found = probe["found"].as_str().unwrap_or_default();
        probe["check"] == check && found.contains(about)
    };
    let found: Vec<_> = checks.iter().filter(of_check).collect();
    let [probe] = found.as_slice() else {
        anyhow::bail!("{check}, about {about}: {answer}");
    };
    Ok((code, (*probe).clone()))
}

/// A disk with little room is named with what Kvit keeps there, and with what to do.
#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_names_a_disk_that_is_full() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let (code, well) = said(&bed, "disk space", "journal").await?;
    assert_eq!((code, &well["state"]), (0, &"ok".into()), "{well}");

    let _disk = Tmpfs::mount(&bed.path("journal"), 1024)?;
    let (code, full) = said(&bed, "disk space", "(journal)").await?;
    assert_eq!((code, &full["state"]), (69, &"fail".into()), "{full}");
    let next = full["next"].as_str().context("what to do")?;
    assert!(next.starts_with("make room on the disk of "), "{next}");
    Ok(())
}

/// G2: the head of the signed log is compared with the ledger: a folder that is gone, one that is damaged, and a ledger that
/// is behind.
#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_compares_the_evidence_with_the_ledger() -> anyhow::Result<()> {
    let bed = on_files().await?;
    let (_, new) = said(&bed, "evidence", "").await?;
    assert_eq!(new["found"], "nothing is recorded yet");
    let running = bed.run(&Service::ALL).await?;
    bed.post(&message(1)).await?;
    bed.until_deleted(1).await?;
    until_signed(&bed).await?;
    running.stop().await?;
    copy_stores(&bed.path(""), &bed.path("backup"))?;
    let running = bed.run(&Service::ALL).await?;
    bed.post(&message(2)).await?;
    bed.until_deleted(2).await?;
    until_signed(&bed).await?;
    running.stop().await?;
    let (code, well) = said(&bed, "evidence", "signed by the configured key").await?;
    assert_eq!((code, &well["state"]), (0, &"ok".into()), "{well}");

    let (folder, aside) = (bed.path("evidence"), bed.path("aside"));
    fs::rename(&folder, &aside)?;
    let (code, gone) = said(&bed, "evidence", "covers 0").await?;
    assert_eq!((code, &gone["state"]), (0, &"warn".into()), "{gone}");
    fs::rename(&aside, &folder)?;

    let year = fs::read_dir(&folder)?.next().context("a year")??.path();
    let checkpoint = fs::read_to_string(year.join("checkpoint"))?;
    fs::write(year.join("checkpoint"), checkpoint.replacen('\n', "\n1", 1))?;
    let (code, damaged) = said(&bed, "evidence", "is not valid").await?;
    assert_eq!((code, &damaged["state"]), (69, &"fail".into()), "{damaged}");
    fs::write(year.join("checkpoint"), checkpoint)?;

    copy_stores(&bed.path("backup"), &bed.path(""))?;
    let (code, behind) = said(&bed, "evidence", "the ledger is behind its evidence").await?;
    assert_eq!((code, &behind["state"]), (69, &"fail".into()), "{behind}");
    let next = behind["next"].as_str().context("what to do")?;
    assert!(next.contains("kvit restore"), "{next}");
    Ok(())
}
