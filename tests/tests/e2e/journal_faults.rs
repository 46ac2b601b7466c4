//! The journal when its disk is full, its folder read-only, its server not who it should be, or away for a day.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use domain::form::Archive;
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use kvit_tests::apache::Apache;
use kvit_tests::tmpfs::Tmpfs;
use kvit_tests::{Running, Service, TestBed, kvit_reads, until, within};
use ledger::{NewEntry, NewVersion, Theme};
use runtime::Clock;
use sha2::{Digest as _, Sha256};

use crate::journal::{CASE, application, entries};

/// How many a measured run has: `make journal-bench` asks for the numbers of the promise.
fn count(name: &str, usual: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(usual)
}

/// Waits until what is for the journal is held for this reason, and readiness says so in these words.
async fn held_and_said(bed: &TestBed, running: &Running, reason: &str, words: &str) -> anyhow::Result<()> {
    let held = bed.until_duty("journal", "held").await?;
    assert_eq!(held.reason.as_deref(), Some(reason));
    let said = running.until_down("journal embedded").await?;
    assert!(said.contains(words), "{said}");
    Ok(())
}

/// A full disk and a read-only folder hold what is for the journal, with their reason, and say so; nothing is lost, and it
/// goes on by itself. Submissions are deleted on time all the while.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_and_a_read_only_folder_hold_and_let_go() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let disk = Tmpfs::mount(&bed.path("journal"), 1024)?;
    bed.add_form("ansoegning", CASE)?;
    let running = bed.run(&Service::ALL).await?;

    disk.fill(true)?;
    bed.post(&application(1, "Jeg har brug for hjælp")).await?;
    bed.until_deleted(1).await?;
    held_and_said(&bed, &running, "disk_full", "its disk is full").await?;
    assert!(bed.data_keys().await? > 0, "the copy is kept");
    disk.fill(false)?;
    entries(&bed, 1).await?;

    disk.read_only(true)?;
    bed.post(&application(2, "Også jeg")).await?;
    bed.until_deleted(2).await?;
    held_and_said(&bed, &running, "read_only", "its folder is read-only").await?;
    disk.read_only(false)?;
    assert_eq!(entries(&bed, 2).await?.len(), 2);
    until("no copy is left", async || {
        Ok((bed.data_keys().await? == 0).then_some(()))
    })
    .await?;
    running.stop().await
}

/// A form whose only journal is this server's.
pub(crate) fn journalise_at(bed: &TestBed, server: &Apache) -> anyhow::Result<()> {
    let target = format!(
        "[journal_targets.ude]\nkind = \"webdav\"\nprocessor_agreement = \"sag 1\"\ndisclosure_ground = \"gdpr-6-1-e\"\n\
         url = \"{}\"\n[scheduler]",
        server.url()
    );
    bed.configure("[scheduler]", &target)?;
    bed.add_form("ansoegning", &CASE.replace("theme =", "target = \"ude\"\ntheme ="))
}

/// A server whose certificate is not trusted gets nothing; what is for it is held, and goes when it is trusted.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_certificate_holds_what_is_for_the_journal() -> anyhow::Result<()> {
    let server = Apache::start_tls().await?;
    let bed = TestBed::prepare().await?;
    journalise_at(&bed, &server)?;
    let running = bed.run_unready(&Service::ALL)?;
    bed.post(&application(1, "Jeg har brug for hjælp")).await?;
    bed.until_deleted(1).await?;
    let held = bed.until_duty("journal", "held").await?;
    assert_eq!(held.reason.as_deref(), Some("certificate_refused"));
    assert!(
        running
            .until_down("journal ude")
            .await?
            .contains("its certificate is not trusted")
    );
    assert!(std::fs::read_dir(server.root())?.next().is_none(), "nothing was sent");
    running.stop().await?;

    let trusted = format!(
        "url = \"{}\"\nca_file = \"{}\"",
        server.url(),
        server.certificate().display()
    );
    bed.configure(&format!("url = \"{}\"", server.url()), &trusted)?;
    let running = bed.run(&Service::ALL).await?;
    bed.until_duty("journal", "done").await?;
    running.stop().await
}

/// Many, with the target away for a day of the injected clock: every one is journalised once, each submission was
/// deleted on time, and no copy is left (`make journal-bench`: a thousand).
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_away_for_a_day_gets_everything_once() -> anyhow::Result<()> {
    let many = count("KVIT_JOURNAL_SUBMISSIONS", 20);
    let mut server = Apache::start().await?;
    let mut bed = TestBed::prepare().await?;
    let clock = Clock::fixed(bed.clock().now());
    bed.set_clock(clock.clone());
    journalise_at(&bed, &server)?;
    server.stop()?;
    let running = bed.run_unready(&Service::ALL)?;
    let patience = Duration::from_secs(60 + many as u64);
    for n in 0..many {
        if n == many / 2 {
            within(patience, "the first half is there before time goes on", async || {
                Ok((bed.figures().await?.arrived == i64::try_from(n)?).then_some(()))
            })
            .await?;
            clock.advance(SignedDuration::from_hours(12));
        }
        bed.publish(&numbered(n)).await?;
    }
    within(patience, "all are deleted while the journal is away", async || {
        let figures = bed.figures().await?;
        Ok((figures.deleted == i64::try_from(many)?).then_some(()))
    })
    .await?;
    clock.advance(SignedDuration::from_hours(12));
    let oldest = bed.ledger.oldest_unjournalised().await?.context("all are owed")?;
    assert!(clock.now().duration_since(oldest) >= SignedDuration::from_hours(24));

    server.begin().await?;
    let started = Instant::now();
    let mut places = BTreeSet::new();
    within(patience * 4, "all are in the journal", async || {
        // Time goes on, so that what the sweep woke in vain is due again.
        clock.advance(SignedDuration::from_secs(1));
        Ok(bed.ledger.oldest_unjournalised().await?.is_none().then_some(()))
    })
    .await?;
    println!(
        "{many} entries in {:.1} s after the target was back",
        started.elapsed().as_secs_f32()
    );
    for submission in bed.submissions().await? {
        let filings = bed.ledger.journal_filings(submission.id.clone()).await?;
        assert_eq!(filings.len(), 1, "{}", submission.id);
        places.insert(filings[0].reference.clone());
        assert!(
            server
                .root()
                .join(&filings[0].reference)
                .join("tagmanifest-sha256.txt")
                .exists()
        );
    }
    assert_eq!(places.len(), many);
    let cases = std::fs::read_dir(server.root())?.count();
    assert_eq!(cases, many, "no case twice");
    until("no copy is left", async || {
        Ok((bed.data_keys().await? == 0).then_some(()))
    })
    .await?;
    running.stop().await
}

pub(crate) fn numbered(n: usize) -> kvit_tests::Message {
    let mut body: serde_json::Value = serde_json::from_slice(&application(0, "Hjælp").body).expect("JSON");
    body["uuid"] = format!("5b5e4f3e-0000-4000-8000-{n:012}").into();
    kvit_tests::Message::json(&body)
}

/// A large journal is searched by a person through the keyed index alone (`make journal-bench`: a hundred thousand
/// entries, answered in under 100 ms).
#[tokio::test(flavor = "multi_thread")]
async fn a_large_journal_is_searched_by_a_party() -> anyhow::Result<()> {
    let many = count("KVIT_JOURNAL_ENTRIES", 300);
    let bed = TestBed::prepare().await?;
    bed.add_form("ansoegning", CASE)?;
    let running = bed.run(&Service::ALL).await?;
    bed.post(&application(1, "Jeg har brug for hjælp")).await?;
    let mine = entries(&bed, 1).await?.remove(0);
    seed(&bed, many).await?;
    let config = bed.config();
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let begun = Instant::now();
        let found = kvit_reads(&config, &["journal", "list", "--party"], "0101901234").await?;
        fastest = fastest.min(begun.elapsed());
        assert_eq!(found.as_array().map(Vec::len), Some(1));
        assert_eq!(found[0]["id"], mine["id"]);
    }
    println!(
        "{many} entries; a party is found in {} ms, command and all",
        fastest.as_millis()
    );
    if std::env::var("KVIT_JOURNAL_ENTRIES").is_ok() {
        assert!(fastest < Duration::from_millis(100), "{fastest:?}");
    }
    running.stop().await
}

/// Entries as the journaliser records them, without their files.
async fn seed(bed: &TestBed, many: usize) -> anyhow::Result<()> {
    let mut written = tokio::task::JoinSet::new();
    for n in 0..many {
        let (ledger, now) = (bed.ledger.clone(), bed.clock().now());
        written.spawn(async move {
            let submission = domain::SubmissionId::new();
            let bits = Sha256::digest(n.to_be_bytes());
            let new = NewEntry {
                version: NewVersion {
                    id: submission.0,
                    file: format!("entries/2026/00/{submission}.tar.asc"),
                    bytes: 1,
                    sha256: bits.to_vec(),
                },
                submission,
                reference: domain::Reference::from_random(bits[..5].try_into()?),
                site: "eksempel".parse()?,
                form: "ansoegning".parse()?,
                department: "social".parse()?,
                channel: "form",
                theme: Theme::new("Ansøgning").context("a theme")?,
                kle: None,
                received_at: now,
                case: None,
                period: "P5Y".to_owned(),
                archive: Archive::Discard,
                parties: vec![bits.to_vec()],
            };
            anyhow::Ok(ledger.journalise(None, new, TimeZone::UTC, now).await?)
        });
        if written.len() >= 256 {
            written.join_next().await.context("a task")???;
        }
    }
    while let Some(done) = written.join_next().await {
        done??;
    }
    Ok(())
}
