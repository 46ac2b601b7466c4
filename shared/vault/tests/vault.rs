//! The vault on a real SQLite file.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use store::{Journal, Options, Store, StoreError};
use uuid::Uuid;
use vault::{Purpose, Reread, Ring, Vault, VaultError, WrappingKeys, epoch_of};

fn keys(fill: u8) -> WrappingKeys {
    let key = |n: u8| Some([fill.wrapping_add(n); 32].into());
    WrappingKeys {
        intake: key(1),
        mail: key(2),
        journal: key(3),
        registration: key(4),
        index: key(5),
    }
}

fn at(path: &Path, keys: WrappingKeys) -> Vault {
    Vault::new(&format!("sqlite:{}", path.display()).parse().expect("a url"), keys)
}

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

#[tokio::test]
async fn a_payload_opens_with_its_key_and_context_alone() -> Result<(), VaultError> {
    let dir = tempfile::tempdir().expect("a folder");
    let vault = at(&dir.path().join("keys.db"), keys(0));
    let owner = Uuid::now_v7();
    let made = vault
        .create(owner, &[Purpose::Mail, Purpose::Journal], time("2026-11-22T10:00:00Z"))
        .await?;
    let sealed = made[0].seal(b"duty 1", b"payload")?;
    assert!(!sealed.windows(7).any(|window| window == b"payload"));
    let key = vault.key(owner, Purpose::Mail).await?.expect("a key");
    assert_eq!(key.open(b"duty 1", &sealed)?, b"payload");
    assert_eq!(key.open(b"duty 2", &sealed), Err(VaultError::Damaged));
    assert_eq!(made[1].open(b"duty 1", &sealed), Err(VaultError::Damaged));
    assert!(vault.key(owner, Purpose::Intake).await?.is_none());
    Ok(())
}

/// D1: with the key destroyed nothing reads the payload, and the key is not left in the file.
#[tokio::test]
async fn a_destroyed_key_is_gone_from_the_file_and_the_journals_stays() -> Result<(), VaultError> {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("keys.db");
    let vault = at(&file, keys(0));
    let owner = Uuid::now_v7();
    vault
        .create(owner, &[Purpose::Mail, Purpose::Journal], time("2026-11-22T10:00:00Z"))
        .await?;
    vault.destroy(vec![owner]).await?;
    assert!(vault.key(owner, Purpose::Mail).await?.is_none());
    assert!(vault.key(owner, Purpose::Journal).await?.is_some());
    vault.destroy_one(owner, Purpose::Journal).await?;
    let needle = owner.to_string();
    for entry in std::fs::read_dir(dir.path()).expect("listed") {
        let bytes = std::fs::read(entry.expect("a file").path()).expect("read");
        assert!(!bytes.windows(needle.len()).any(|window| window == needle.as_bytes()));
    }
    Ok(())
}

#[tokio::test]
async fn a_service_without_the_wrapping_key_opens_nothing() -> Result<(), VaultError> {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("keys.db");
    let owner = Uuid::now_v7();
    at(&file, keys(0))
        .create(owner, &[Purpose::Registration], time("2026-11-22T10:00:00Z"))
        .await?;
    let mailer = at(
        &file,
        WrappingKeys {
            mail: keys(0).mail,
            ..WrappingKeys::default()
        },
    );
    let refused = mailer.key(owner, Purpose::Registration).await.map(drop);
    assert_eq!(refused, Err(VaultError::NoWrappingKey(Purpose::Registration)));
    let other = at(&file, keys(100)).key(owner, Purpose::Registration).await.map(drop);
    assert_eq!(other, Err(VaultError::WrongWrappingKey(Purpose::Registration)));
    Ok(())
}

#[tokio::test]
async fn an_epochs_digests_are_found_until_its_key_dies() -> Result<(), VaultError> {
    let dir = tempfile::tempdir().expect("a folder");
    let vault = at(&dir.path().join("keys.db"), keys(0));
    let november = time("2026-11-30T23:59:59Z");
    let december = time("2026-12-01T00:00:00Z");
    let link = SignedDuration::from_hours(90 * 24);
    let old = vault.index(november).await?.digest("uuid", &[b"a", b"b"]);
    assert_eq!(old.epoch, epoch_of(november));
    let index = vault.index(december).await?;
    assert!(index.digests("uuid", &[b"a", b"b"]).contains(&old));
    assert!(!index.digests("uuid", &[b"ab", b""]).contains(&old));
    assert_eq!(index.digest("uuid", &[b"a"]).epoch, epoch_of(december));

    assert!(
        vault
            .forget_epochs(link, None, time("2027-02-28T23:59:59Z"))
            .await?
            .is_empty()
    );
    assert_eq!(
        vault.forget_epochs(link, None, time("2027-03-01T00:00:00Z")).await?,
        [old.epoch]
    );
    let later = vault.index(time("2027-03-01T00:00:00Z")).await?;
    assert!(!later.digests("uuid", &[b"a", b"b"]).contains(&old));
    Ok(())
}

#[tokio::test]
async fn names_stay_the_same_across_epochs_and_restarts() -> Result<(), VaultError> {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("keys.db");
    let first = at(&file, keys(0))
        .index(time("2026-11-22T10:00:00Z"))
        .await?
        .name("message", &[b"x"]);
    let second = at(&file, keys(0))
        .index(time("2027-11-22T10:00:00Z"))
        .await?
        .name("message", &[b"x"]);
    assert_eq!(first, second);
    Ok(())
}

/// As a version before wrapping keys had ids left its rows.
async fn forget_who_wraps(path: &Path) {
    let options = Options {
        schema: "kvit_keys",
        journal: Journal::Truncate,
        migrations: &[],
        writers: 1,
        readers: 1,
    };
    let url = format!("sqlite:{}", path.display()).parse().expect("a url");
    let done: Result<u64, StoreError> = Store::new(&url, options)
        .write(|tx| tx.execute("UPDATE data_key SET wrapped_by = NULL", &[]))
        .await;
    assert_eq!(done, Ok(1));
}

/// A wrapping key that is still needed is not given up: by a data key of an earlier version, which does not say which key
/// wraps it, nor by the epochs of the index.
#[tokio::test]
async fn a_key_that_is_needed_is_not_given_up() -> Result<(), VaultError> {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("keys.db");
    let (now, owner) = (time("2026-11-22T10:00:00Z"), Uuid::now_v7());
    let vault = at(&file, keys(0));
    vault.create(owner, &[Purpose::Mail], now).await?;
    forget_who_wraps(&file).await;
    vault.index(now).await?;
    let reading = |given: WrappingKeys| at(&file, keys(0)).reading(move || Some(given.clone()));

    let other = |purpose: &str| WrappingKeys {
        mail: Some([if purpose == "mail" { 99 } else { 2 }; 32].into()),
        index: Some([if purpose == "index" { 99 } else { 5 }; 32].into()),
        ..keys(0)
    };
    assert_eq!(reading(other("mail")).reread().await?, Reread::Needed("mail"));
    assert_eq!(reading(other("index")).reread().await?, Reread::Needed("index"));
    let both = WrappingKeys {
        mail: Ring::new([[99; 32], [2; 32]]),
        index: Ring::new([[99; 32], [5; 32]]),
        ..keys(0)
    };
    let changed = reading(both);
    assert_eq!(changed.reread().await?, Reread::Changed);
    assert_eq!(changed.unreachable(Purpose::Mail).await?, 0);
    assert!(changed.key(owner, Purpose::Mail).await?.is_some());
    let lost = at(&file, other("mail"));
    assert_eq!(lost.unreachable(Purpose::Mail).await?, 1);
    Ok(())
}
