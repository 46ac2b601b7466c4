//! Five programs that are wrong on purpose, and whether the suite notices.
//!
//! A suite that passes them shows nothing by passing. Each mutant runs through the row that should catch it, which must
//! fail, and for the reason that the mutant has; the same row passes without it.

use std::time::Duration;

use anyhow::{bail, ensure};
use kvit_cli::demo::inbox::{Behaviour, Step, Times};
use kvit_tests::{TestBed, within};

use crate::bed::{Load, PATIENCE, SERVICES, numbered};
use crate::canary::{Canaries, scan};
use crate::oracle::came_through;

/// How long a program that is right may take, and one that is wrong: what is lost is never there.
fn patience(mutant: &str) -> Duration {
    if mutant.is_empty() {
        PATIENCE
    } else {
        Duration::from_secs(15)
    }
}

/// Programs with a deliberate fault, or without.
struct Mutated<'b> {
    bed: &'b TestBed,
    mutant: &'static str,
    programs: Vec<kvit_tests::Program>,
}

impl<'b> Mutated<'b> {
    async fn start(bed: &'b TestBed, mutant: &'static str) -> anyhow::Result<Self> {
        let mut all = Self {
            bed,
            mutant,
            programs: Vec::new(),
        };
        for name in SERVICES {
            all.add(name, "").await?;
        }
        Ok(all)
    }

    async fn add(&mut self, name: &'static str, points: &str) -> anyhow::Result<()> {
        let environment = [("KVIT_MUTANT", self.mutant), ("KVIT_FAILPOINTS", points)];
        self.programs.push(self.bed.spawn_with(name, &environment).await?);
        Ok(())
    }

    /// Replaces one with one that dies at a point, sends, waits for its end, and replaces it with one that does not.
    async fn die(&mut self, at: usize, points: &str, load: &mut Load, count: u32) -> anyhow::Result<()> {
        drop(self.programs.remove(at));
        self.add(SERVICES[at], points).await?;
        let mut armed = self.programs.pop().expect("it was added");
        load.send(self.bed, count).await?;
        within(PATIENCE, "it dies at its point", async || {
            Ok(armed.was_killed()?.then_some(()))
        })
        .await?;
        self.add(SERVICES[at], "").await?;
        let healthy = self.programs.pop().expect("it was added");
        self.programs.insert(at, healthy);
        Ok(())
    }
}

/// Killed between the two commits, intake must not have told the broker that it is done.
async fn ack_before_commit(mutant: &'static str) -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let (mut all, mut load) = (Mutated::start(&bed, mutant).await?, Load::default());
    all.die(0, "intake.key_committed=kill@2", &mut load, 6).await?;
    came_through(&bed, &load, patience(mutant)).await.map(drop)
}

/// The same message again is the same message.
async fn no_idempotency_digest(mutant: &'static str) -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let _all = Mutated::start(&bed, mutant).await?;
    for _ in 0..5 {
        bed.publish(&numbered(0)).await?;
    }
    bed.until_arrived(5).await?;
    let load = Load {
        reports: 1,
        malformed: 0,
    };
    came_through(&bed, &load, patience(mutant)).await.map(drop)
}

/// Killed before the relay has answered, the mailer must not have settled.
async fn settle_before_send(mutant: &'static str) -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let (mut all, mut load) = (Mutated::start(&bed, mutant).await?, Load::default());
    all.die(1, "mailer.data=kill@2", &mut load, 4).await?;
    came_through(&bed, &load, patience(mutant)).await.map(drop)
}

/// D2: a receipt that is owed binds.
async fn purge_ignores_a_duty(mutant: &'static str) -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let citizen = Behaviour::Refuse {
        recipients: vec![crate::bed::address(0)],
        code: 451,
        text: "4.7.1 greylisted".to_owned(),
    };
    bed.inbox.behave(citizen, Times::Next(1));
    let (_all, mut load) = (Mutated::start(&bed, mutant).await?, Load::default());
    load.send(&bed, 1).await?;
    came_through(&bed, &load, patience(mutant)).await.map(drop)
}

/// What is stored can be read by nobody else.
async fn payload_unsealed(mutant: &'static str) -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let step = Step::Connect;
    bed.inbox
        .behave(Behaviour::reply(step, 421, "4.3.2 closing"), Times::All);
    let _all = Mutated::start(&bed, mutant).await?;
    let canaries = Canaries::new();
    bed.publish(&canaries.message(0)).await?;
    bed.until_arrived(1).await?;
    let found = scan(&bed, &canaries, &[])?;
    ensure!(found.is_empty(), "canaries were found: {found:?}");
    Ok(())
}

/// The row that must catch a mutant, with it and without; `words` are in what it says of it.
async fn caught<F, Fut>(row: F, mutant: &'static str, words: &str) -> anyhow::Result<()>
where
    F: Fn(&'static str) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    row("").await?;
    match row(mutant).await {
        Ok(()) => bail!("the suite does not notice the mutant {mutant}"),
        Err(error) => {
            let said = format!("{error:#}");
            ensure!(said.contains(words), "{mutant} fails for another reason: {said}");
            println!(
                "faults | mutant {mutant} | caught: {}",
                said.lines().next().unwrap_or_default()
            );
            Ok(())
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_before_the_commit_is_noticed() -> anyhow::Result<()> {
    caught(ack_before_commit, "ack_before_commit", "lost").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_idempotency_digest_is_noticed() -> anyhow::Result<()> {
    caught(no_idempotency_digest, "no_idempotency_digest", "are accepted").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settle_before_the_send_is_noticed() -> anyhow::Result<()> {
    caught(settle_before_send, "settle_before_send", "lost").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_ignores_a_duty_is_noticed() -> anyhow::Result<()> {
    caught(purge_ignores_a_duty, "purge_ignores_a_duty", "lost").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_is_not_sealed_is_noticed() -> anyhow::Result<()> {
    caught(payload_unsealed, "payload_unsealed", "canaries").await
}
