//! After a run with deletions and an abrupt end, nothing that a citizen wrote is anywhere of ours.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kvit_cli::demo::inbox::{Behaviour, Times};
use kvit_cli::demo::rabbit::PrivateRabbit;
use kvit_tests::{Engine, Message, Peers, Program, TestBed, report, seen, until};
use serde_json::json;
use tokio::task::block_in_place;

use crate::bed::{SERVICES, scaled, word};

/// What a citizen fills in, each with a word of its own.
const PLACES: [&str; 10] = [
    "navn", "adresse", "postnr", "by", "tekst", "fil", "indhold", "ukendt", "telefon", "mail",
];

/// A word for each place, which nothing else in the world holds.
pub(crate) struct Canaries(Vec<String>);

impl Canaries {
    pub(crate) fn new() -> Self {
        let word = |place: &&str| {
            let chance = uuid::Uuid::new_v4().simple().to_string();
            // Not in an address: a letter that quoted-printable and percents write in their own ways.
            let letter = if *place == "mail" { "" } else { "æ" };
            format!("{place}{letter}{}", &chance[..14])
        };
        Self(PLACES.iter().map(word).collect())
    }

    fn at(&self, place: &str) -> &str {
        let at = PLACES.iter().position(|other| *other == place).expect("a place");
        &self.0[at]
    }

    /// The address that the n-th receipt goes to.
    fn address(&self, n: u32) -> String {
        format!("{}-{n}@borger.example", self.at("mail"))
    }

    /// A submission that holds them all.
    pub(crate) fn message(&self, n: u32) -> Message {
        let mut body = report(&uuid::Uuid::from_u128(0x7000 + u128::from(n)).to_string(), &json!({}));
        body.as_object_mut().expect("an object").remove("data");
        let answers = json!({
            "navn": self.at("navn"), "e_mail": self.address(n), "telefon": self.at("telefon"), "kategori": "andet",
            "adresse": {"address": self.at("adresse"), "postal_code": self.at("postnr"), "city": self.at("by")},
            "beskrivelse": format!("{} {n}", self.at("tekst")), "billede": 7, "ukendt": self.at("ukendt"),
            "_billede": {
                "id": 7, "name": format!("{}.png", self.at("fil")), "uri": "x", "mime": "image/png", "uuid": "x",
                "data": STANDARD.encode(self.at("indhold").repeat(50)),
            },
        });
        for (key, value) in answers.as_object().into_iter().flatten() {
            body[key] = value.clone();
        }
        Message::json(&body)
    }
}

/// Where canaries are seen: every file of the bed, of these folders, and what each process was started with.
pub(crate) fn scan(bed: &TestBed, canaries: &Canaries, others: &[&Path]) -> anyhow::Result<Vec<String>> {
    let mut folders: Vec<PathBuf> = others.iter().map(|path| (*path).to_owned()).collect();
    folders.push(bed.path(""));
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            // A journal may go away while one looks.
            let bytes = std::fs::read(&path).unwrap_or_default();
            let hits = seen(&bytes, &canaries.0);
            found.extend(hits.into_iter().map(|hit| format!("{hit} in {}", path.display())));
        }
    }
    Ok(found)
}

/// Seals to intake's certificate, as a site may.
fn sealed(bed: &TestBed, message: &Message) -> anyhow::Result<Message> {
    let recipients = [bed.intake_certificate().clone()];
    let sealing = openpgp::Sealing {
        recipients: &recipients,
        signer: None,
        rfc9580: false,
        now: bed.clock().now(),
    };
    let sealed = openpgp::encrypt(&message.body, &sealing)?;
    Ok(Message::bytes(sealed).typed("application/pgp-encrypted"))
}

/// D1: store, write-ahead log, temporary folders, logs, core files, process arguments; and the broker's own folder, since
/// the messages were sealed. The last service ends as one that aborts.
async fn nothing_is_seen(engine: Engine) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let rabbit = block_in_place(|| PrivateRabbit::start(dir.path()))?;
    let bed = TestBed::prepare_with(&Peers {
        own_broker: Some(rabbit.url()),
        engine,
        ..Peers::default()
    })
    .await?;
    let canaries = Canaries::new();
    let count = scaled(6, 60);
    // Two are still open at the end: their receipts are put off.
    let open = [count - 2, count - 1];
    let put_off = Behaviour::Refuse {
        recipients: open.map(|n| canaries.address(n)).to_vec(),
        code: 451,
        text: "4.7.1 greylisted".to_owned(),
    };
    bed.inbox.behave(put_off, Times::All);
    let temporary = bed.path("tmp");
    std::fs::create_dir(&temporary)?;
    let place = temporary.display().to_string();
    let mut programs = Vec::new();
    for name in SERVICES {
        programs.push(
            bed.spawn_with(name, &[("TMPDIR", &place), ("KVIT_LOG", "trace")])
                .await?,
        );
    }
    for n in 0..count {
        bed.publish(&sealed(&bed, &canaries.message(n))?).await?;
    }
    let deleted = i64::from(count) - 2;
    until("all but two are deleted", async || {
        let figures = bed.figures().await?;
        Ok((figures.deleted == deleted && figures.open == 2).then_some(()))
    })
    .await?;
    for program in &programs {
        let line = std::fs::read(format!("/proc/{}/cmdline", program.pid()))?;
        ensure!(seen(&line, &canaries.0).is_empty(), "canaries in a command line");
    }
    let cores = abort_all(programs)?;
    ensure!(cores == 0, "{cores} services left a core file: a copy of their memory");

    // The control: what is searched is found where it is.
    let control = dir.path().join("control");
    std::fs::write(&control, &canaries.message(0).body)?;
    let found = seen(&std::fs::read(&control)?, &canaries.0);
    ensure!(found.len() >= PLACES.len() - 1, "the search finds only {found:?}");
    std::fs::remove_file(control)?;

    let mut places = vec![dir.path()];
    let data = bed.stores().server().and_then(|server| server.folder());
    places.extend(data.as_deref());
    let found = scan(&bed, &canaries, &places)?;
    ensure!(found.is_empty(), "{} hits: {found:?}", found.len());
    println!(
        "faults | canary scan | {} | {count} submissions, {deleted} deleted, abrupt end | 0 hits",
        word(engine)
    );
    Ok(())
}

/// Ends every service as `abort` does, and counts those that left a core file.
fn abort_all(programs: Vec<Program>) -> anyhow::Result<usize> {
    let mut cores = 0;
    for mut program in programs {
        cores += usize::from(program.abort().context("aborting a service")?);
    }
    Ok(cores)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_answers_is_seen_after_an_abrupt_end_on_sqlite() -> anyhow::Result<()> {
    nothing_is_seen(Engine::Sqlite).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_answers_is_seen_after_an_abrupt_end_on_postgres() -> anyhow::Result<()> {
    nothing_is_seen(Engine::Postgres).await
}
