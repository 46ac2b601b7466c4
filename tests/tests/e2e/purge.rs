//! The purge: what it takes stays shut for whoever kept a copy from before, and it takes much at once beside the intake.
//!
//! `make purge` runs the second test at the size of the promise, in release.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::ensure;
use jiff::SignedDuration;
use kvit_cli::demo::inbox::{Behaviour, Times};
use kvit_tests::{Engine, Message, Peers, Program, TestBed, kvit, ledger_at, opened, report, seen, until};
use runtime::Loaded;
use serde_json::{Value, json};
use store::{Store, StoreError};
use uuid::Uuid;
use vault::{Purpose, Vault};

pub(crate) const DEPARTMENT: &str = "teknik@kommune.example";
const EVENT: &str = "eksempel/fest";
/// What no place of ours may hold once the registrations are gone; the last is in the addresses.
const CANARIES: [&str; 3] = ["Ærø Kanariefugl", "Kanariesang i haven", "kanarie-adresse"];

/// Registrations of which each is mailed, and whose list counts as confirmed once the relay has it.
pub(crate) const FORM: &str = r#"
id = "fest"
site = "eksempel"
title = { da = "Sommerfest" }
kind = "registration"
department = "teknik-miljoe"
purpose = { da = "holde festen" }
legal_basis = ["gdpr-6-1-a"]
[fields.navn]
label = { da = "Navn" }
[fields.besked]
label = { da = "Besked" }
[fields.e_mail]
label = { da = "E-mail" }
type = "email"
[receipt]
to = "e_mail"
[event]
deadline = "2099-01-15T23:59:00"
held = "2099-01-20T21:00:00"
notify = "each"
confirm = "mail"
formats = ["csv"]
"#;

fn address(number: u8) -> String {
    format!("{}-{number}@borger.example", CANARIES[2])
}

fn registration(number: u8) -> Message {
    let mut body = report(&format!("6c5e4f3e-0000-4000-8000-00000000000{number}"), &json!({}));
    body["webform_id"] = json!("fest");
    body["data"] = json!({"navn": CANARIES[0], "besked": CANARIES[1], "e_mail": address(number)});
    Message::json(&body)
}

async fn set(bed: &TestBed, date: &str, hours: i64) -> anyhow::Result<()> {
    let at = (bed.clock().now() - SignedDuration::from_hours(hours)).to_string();
    kvit(&bed.config(), &["event", "set", EVENT, date, &at]).await.map(drop)
}

async fn run(bed: &TestBed, schedule: &str) -> anyhow::Result<()> {
    kvit(&bed.config(), &["schedule", "run", schedule]).await.map(drop)
}

/// Lets these wait with the relay, or nobody.
fn put_off(bed: &TestBed, recipients: Vec<String>) {
    bed.inbox.behave(Behaviour::Accept, Times::All);
    if !recipients.is_empty() {
        let later = Behaviour::Refuse {
            recipients,
            code: 451,
            text: "4.7.1 later".to_owned(),
        };
        bed.inbox.behave(later, Times::All);
    }
}

/// Copies the ledger as `docs/backup.md` says.
fn back_up(bed: &TestBed, name: &str) -> anyhow::Result<PathBuf> {
    let (from, to) = (bed.path("kvit.db"), bed.path(name));
    let script = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('VACUUM INTO ?', (sys.argv[2],))";
    let copied =
        tokio::task::block_in_place(|| Command::new("python3").args(["-c", script]).args([&from, &to]).status())?;
    ensure!(copied.success(), "the ledger could not be copied");
    Ok(to)
}

/// A sealed payload of a copy.
struct Sealed {
    context: Uuid,
    owner: Uuid,
    purpose: String,
    bytes: Vec<u8>,
}

/// A ledger's file as it lies, to be read.
pub(crate) fn file(ledger: &Path) -> anyhow::Result<Store> {
    Ok(ledger_at(&format!("sqlite:{}", ledger.display()).parse()?))
}

async fn payloads(copy: &Path) -> anyhow::Result<Vec<Sealed>> {
    let store = file(copy)?;
    let read = store.read(|tx| {
        let rows = tx.query("SELECT duty, owner, purpose, sealed FROM payload", &[])?;
        let sealed = rows.iter().map(|row| {
            Ok(Sealed {
                context: row.parse(0)?,
                owner: row.parse(1)?,
                purpose: row.text(2)?.to_owned(),
                bytes: row.blob(3)?.to_vec(),
            })
        });
        sealed.collect::<Result<Vec<_>, StoreError>>()
    });
    let found: Result<_, StoreError> = read.await;
    Ok(found?)
}

/// What a copy shows to whoever has the key store and the wrapping keys as they are now, and the department's private key:
/// every data key that is left is tried on every payload, and the department's on what comes out, or lies there bare.
async fn read_with_every_key(bed: &TestBed, copy: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let loaded = Loaded::load(&bed.config()).map_err(|findings| anyhow::anyhow!("{findings}"))?;
    let keys = worker::Keys {
        intake: true,
        mail: true,
        journal: true,
        registration: true,
        index: true,
    };
    let vault = worker::vault(&loaded.config, keys)?;
    let later = bed.clock().now() + SignedDuration::from_hours(1);
    let owners = vault.owners_since_before(later, None, 1000).await?;
    let department = bed.key("teknik-miljoe");
    let mut read = Vec::new();
    let mut encrypted = vec![std::fs::read(copy)?];
    for payload in payloads(copy).await? {
        for owner in &owners {
            for purpose in Purpose::ALL {
                if let Some(plain) = open(&vault, *owner, purpose, &payload).await? {
                    ensure!(purpose.as_str() == payload.purpose, "a key of another purpose opens it");
                    encrypted.push(plain.clone());
                    read.push(plain);
                }
            }
        }
        encrypted.push(payload.bytes);
    }
    for bytes in encrypted {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (begin, end) = ("-----BEGIN PGP MESSAGE-----", "-----END PGP MESSAGE-----");
        let armored = text.find(begin).zip(text.find(end));
        let message = armored.map_or(bytes.as_slice(), |(from, to)| &text.as_bytes()[from..to + end.len()]);
        read.extend(department.open(message, 10_000_000));
    }
    Ok(read)
}

async fn open(vault: &Vault, owner: Uuid, purpose: Purpose, payload: &Sealed) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(key) = vault.key(owner, purpose).await? else {
        return Ok(None);
    };
    let contexts = [payload.context.as_bytes().as_slice(), payload.owner.as_bytes()];
    Ok(contexts
        .into_iter()
        .find_map(|context| key.open(context, &payload.bytes).ok()))
}

fn shows(read: &[Vec<u8>], word: &str) -> usize {
    let words = [word.to_owned()];
    read.iter().filter(|bytes| !seen(bytes, &words).is_empty()).count()
}

/// Every file below the bed that shows a canary in any way of writing: store, write-ahead log, key store, evidence, logs,
/// temporary folder, copies.
fn scan(bed: &TestBed) -> anyhow::Result<Vec<String>> {
    let canaries = CANARIES.map(str::to_owned);
    bed.files_that(|bytes| seen(bytes, &canaries).into_iter().map(str::to_owned).collect())
}

async fn start(bed: &TestBed) -> anyhow::Result<Vec<Program>> {
    let place = bed.path("tmp").display().to_string();
    std::fs::create_dir_all(&place)?;
    let mut programs = Vec::new();
    for name in ["kvit-intake", "kvit-mailer", "kvit-scheduler"] {
        let environment = [("TMPDIR", place.as_str()), ("KVIT_LOG", "trace")];
        programs.push(bed.spawn_with(name, &environment).await?);
    }
    for program in &mut programs {
        program.until_ready().await?;
    }
    Ok(programs)
}

async fn has_mails(bed: &TestBed, count: usize) -> anyhow::Result<()> {
    until("the department has its mails", async || {
        Ok((bed.mails_to(DEPARTMENT).len() >= count).then_some(()))
    })
    .await
}

/// E1, D1: `notify = "each"` mails each registration, and with `confirm = "mail"` the relay's acceptance of the list, and
/// nothing before it, lets them go. After the purge nothing of them is found anywhere of ours, and copies of the data from
/// before read nothing with the wrapping keys and the key store of after, nor with the department's private key.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_purge_took_is_nowhere_and_shut_in_copies_from_before() -> anyhow::Result<()> {
    let bed = TestBed::prepare_with(&Peers {
        engine: Engine::Sqlite,
        ..Peers::default()
    })
    .await?;
    bed.add_form("fest", FORM)?;
    put_off(&bed, vec![DEPARTMENT.to_owned(), address(1), address(2)]);
    let programs = start(&bed).await?;
    for number in [1, 2] {
        bed.post(&registration(number)).await?;
    }
    let whole = back_up(&bed, "whole.db")?;
    // The control: with the keys of now, all three payloads of each are read, and the department's mails with its key.
    let read = read_with_every_key(&bed, &whole).await?;
    assert!(shows(&read, CANARIES[1]) >= 4, "two registrations, and their mails");
    assert!(shows(&read, CANARIES[2]) >= 6, "their receipts, too");

    put_off(&bed, Vec::new());
    has_mails(&bed, 2).await?;
    for mail in bed.mails_to(DEPARTMENT) {
        let inner = opened(&mail, bed.key("teknik-miljoe"))?;
        assert!(
            inner.text("text/plain").contains(CANARIES[0]),
            "each registration is mailed"
        );
    }
    for number in [1, 2] {
        until("each has its receipt", async || {
            Ok((bed.mails_to(&address(number)).len() == 1).then_some(()))
        })
        .await?;
    }
    set(&bed, "--deadline", 72).await?;
    put_off(&bed, vec![DEPARTMENT.to_owned()]);
    run(&bed, "extract").await?;
    until("the list was put off", async || {
        let duties = bed.duties().await?;
        Ok(duties
            .iter()
            .any(|duty| duty.state == "ready" && duty.attempts > 0)
            .then_some(()))
    })
    .await?;
    run(&bed, "extract").await?;
    run(&bed, "purge").await?;
    assert_eq!(bed.figures().await?.open, 2, "nobody has the list");
    put_off(&bed, Vec::new());
    has_mails(&bed, 3).await?;
    until("the list counts as confirmed", async || {
        run(&bed, "extract").await?;
        let lists = bed.ledger.extracts(Some(EVENT.to_owned())).await?;
        Ok((lists.len() == 1 && lists[0].confirmed_at.is_some()).then_some(()))
    })
    .await?;
    run(&bed, "purge").await?;
    assert_eq!(bed.figures().await?.deleted, 2);

    let kept = back_up(&bed, "kept.db")?;
    let read = read_with_every_key(&bed, &kept).await?;
    assert_eq!(
        (shows(&read, CANARIES[2]), shows(&read, CANARIES[1])),
        (2, 0),
        "addresses alone"
    );
    let foreseen: Value = kvit(&bed.config(), &["schedule", "run", "purge", "--dry-run"]).await?;
    assert_eq!(
        (&foreseen["kept"][0]["registrations"], &foreseen["kept"][0]["goes"]),
        (&json!(2), &json!(false))
    );
    set(&bed, "--held", 48).await?;
    run(&bed, "purge").await?;
    assert!(bed.ledger.addresses(EVENT.to_owned()).await?.is_empty());

    for copy in [&whole, &kept] {
        let left = payloads(copy).await?.len();
        assert!(left >= 2, "a copy without payloads proves nothing");
        let read = read_with_every_key(&bed, copy).await?;
        let read: usize = CANARIES.iter().map(|word| shows(&read, word)).sum();
        assert_eq!(read, 0, "of {left} payloads");
    }
    for program in programs {
        program.terminate().await?;
    }
    let control = bed.path("control");
    std::fs::write(&control, &registration(1).body)?;
    assert_eq!(
        scan(&bed)?.len(),
        CANARIES.len(),
        "what is searched is found where it is"
    );
    std::fs::remove_file(control)?;
    let found = scan(&bed)?;
    assert!(found.is_empty(), "{found:?}");
    Ok(())
}
