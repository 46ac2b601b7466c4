//! Wrapping keys that are changed while Kvit works.

use std::fs;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kvit_cli::demo::inbox::{Behaviour, Times};
use kvit_tests::{Message, Service, TestBed, kvit, report};
use serde_json::json;

const PURPOSES: [&str; 5] = ["intake", "mail", "journal", "registration", "index"];

fn message(number: usize) -> Message {
    let uuid = format!("5b5e4f3e-0000-4000-8000-0000000000{number:02}");
    Message::json(&report(&uuid, &json!({"beskrivelse": format!("Hul nummer {number}")})))
}

/// The new key before the old one, moved into its place whole.
fn put_first(bed: &TestBed, purpose: &str, fill: u8) -> anyhow::Result<()> {
    let path = bed.path(&format!("secrets/{purpose}.key"));
    let old = fs::read_to_string(&path)?;
    let beside = bed.path(&format!("secrets/{purpose}.new"));
    fs::write(&beside, format!("{}\n{old}", STANDARD.encode([fill; 32])))?;
    Ok(fs::rename(beside, path)?)
}

fn drop_the_rest(bed: &TestBed, purpose: &str) -> anyhow::Result<()> {
    let path = bed.path(&format!("secrets/{purpose}.key"));
    let text = fs::read_to_string(&path)?;
    Ok(fs::write(path, text.lines().next().context("a key")?)?)
}

/// Every key is changed while mails wait and others come; then the old ones are taken away, and all goes on, also with
/// processes that never saw them.
#[tokio::test(flavor = "multi_thread")]
async fn wrapping_keys_are_changed_while_submissions_come_and_wait() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    let later = Behaviour::Refuse {
        recipients: vec!["teknik@kommune.example".to_owned()],
        code: 451,
        text: "4.7.1 later".to_owned(),
    };
    bed.inbox.behave(later, Times::All);
    for number in 0..5 {
        bed.post(&message(number)).await?;
    }
    for (fill, purpose) in (1..).zip(PURPOSES) {
        put_first(&bed, purpose, fill)?;
    }
    let config = bed.config();
    let (rotated, ()) = tokio::try_join!(kvit(&config, &["key", "rotate"]), async {
        for number in 5..15 {
            bed.post(&message(number)).await?;
        }
        Ok(())
    })?;
    assert_eq!(rotated["done"], true, "{rotated}");
    let changed = rotated["keys"].as_array().context("a list")?;
    let mail = changed.iter().find(|one| one["purpose"] == "mail").context("mail")?;
    assert!(mail["rewrapped"].as_u64() >= Some(5), "{rotated}");

    for purpose in PURPOSES {
        drop_the_rest(&bed, purpose)?;
    }
    let again = kvit(&bed.config(), &["key", "rotate"]).await?;
    assert_eq!(again["done"], true, "{again}");
    let acts = kvit(&bed.config(), &["act", "list"]).await?;
    let rotated = acts.as_array().into_iter().flatten();
    let rotated = rotated.filter(|act| act["event"] == "key.rotate" && act["rule"] == PURPOSES.join(", "));
    assert_eq!(rotated.count(), 2, "each with who did it: {acts}");
    running.stop().await?;

    let running = bed.run(&Service::ALL).await?;
    bed.inbox.behave(Behaviour::Accept, Times::All);
    let figures = bed.until_deleted(15).await?;
    assert_eq!((figures.accepted, figures.deleted), (15, 15));
    // A repeat is known by digests that were made before the index key was changed.
    bed.post(&message(0)).await?;
    assert_eq!(bed.figures().await?.duplicates.ignored, 1);
    running.stop().await
}

/// A key that is taken away while data keys need it is not missed by what runs: the files are not followed, and a person
/// is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_still_needed_is_not_forgotten() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    let later = Behaviour::Refuse {
        recipients: vec!["teknik@kommune.example".to_owned()],
        code: 451,
        text: "4.7.1 later".to_owned(),
    };
    bed.inbox.behave(later, Times::All);
    bed.post(&message(0)).await?;
    let path = bed.path("secrets/mail.key");
    let old = fs::read_to_string(&path)?;
    fs::write(&path, STANDARD.encode([9; 32]))?;
    let refused = kvit(&bed.config(), &["key", "rotate", "mail"]).await;
    assert!(refused.is_err() || refused.is_ok_and(|said| said["keys"][0]["rewrapped"] == 0));

    bed.inbox.behave(Behaviour::Accept, Times::All);
    bed.until_deleted(1).await?;
    fs::write(&path, old)?;
    running.stop().await
}
